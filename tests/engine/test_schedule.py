"""The arithmetic of slots, without a clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpool_jupyter.engine.retry import Retry
from bgpool_jupyter.engine.schedule import FixedDelay, FixedRate, Once, duration_text


def dues(schedule, durations):
    """Return the due instants of runs that take `durations`, each started when due or when the one before ended."""
    k, due, end, seen = 0, schedule.first, -math.inf, []
    for duration in durations:
        seen.append(due)
        end = max(due, end) + duration
        k, due, _ = schedule.after_run(k, end)
    return seen


@pytest.mark.parametrize(
    ("schedule", "durations", "expected"),
    [
        (FixedRate(10, 1), [0, 0, 0], [10, 11, 12]),
        (FixedRate(10, 1), [0.5, 0.999, 1.0, 0], [10, 11, 12, 13]),
        (FixedRate(10, 1), [2.5, 0, 0], [10, 13, 14]),
        (FixedRate(10, 1), [3.0, 0], [10, 13]),
        (FixedRate(10, 1, catch_up=True), [2.5, 0, 0, 0], [10, 11, 12, 13]),
        (FixedDelay(10, 1), [2.5, 0, 4, 0], [10, 13.5, 14.5, 19.5]),
        (Once(10), [1, 1], [10, math.inf]),
    ],
)
def test_due_instants(schedule, durations, expected):
    assert dues(schedule, durations) == expected


@given(
    first=st.floats(-1e6, 1e9),
    interval=st.floats(1e-3, 1e6),
    later=st.floats(0, 1e9),
)
def test_the_next_slot_is_the_first_that_has_not_passed(first, interval, later):
    schedule = FixedRate(first, interval)
    k = schedule.index_from(first + later)
    assert schedule.slot(k) >= first + later
    assert k == 0 or schedule.slot(k - 1) < first + later


@given(
    interval=st.floats(1e-3, 1e4),
    k=st.integers(0, 10**6),
    duration=st.floats(0, 1e5),
)
def test_every_slot_is_run_or_counted_as_missed(interval, k, duration):
    schedule = FixedRate(1000.0, interval)
    following, due, missed = schedule.after_run(k, schedule.slot(k) + duration)
    assert following == k + 1 + missed
    assert due == schedule.slot(following)
    assert due >= schedule.slot(k) + duration or following == k + 1


def test_eight_hours_of_ten_millisecond_slots_are_found_by_division():
    schedule = FixedRate(0.0, 0.01)
    index, due, missed = schedule.after_run(0, 8 * 3600.0)
    assert index == missed + 1 == 2_880_000
    assert due == 28_800.0


def test_no_drift_in_thirty_days_at_ten_milliseconds():
    schedule = FixedRate(1e9, 0.01)
    k = 30 * 86400 * 100
    assert schedule.slot(k) == 1e9 + k * 0.01


def test_retry_delay_grows_and_is_bounded():
    assert [Retry().delay(n) for n in (1, 2, 3)] == [0.1, 0.2, 0.4]
    assert Retry().delay(1000) == Retry().delay(10**9) == 60.0
    assert Retry(first=0).delay(5) == 0.0
    assert 1.0 <= Retry(first=1, jitter=0.5).delay(1) <= 1.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0005, "0.5 ms"),
        (0.25, "250 ms"),
        (1, "1 s"),
        (59.5, "59.5 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (7200, "2 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_duration_text(seconds, text):
    assert duration_text(seconds) == text
