"""Durations and instants as people write them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpool_jupyter.engine import ArgumentValueError
from bgpool_jupyter.kernel.times import parse_duration, parse_instant, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1d2h3m4s5ms", 93784.005),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("0.1ms", 0.0001),
        ("10m", 600.0),
        ("90m", 5400.0),
    ],
)
def test_duration_is_read(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "INTERVAL needs a unit, '5' has none; write 5s for seconds or 5m for minutes"),
        ("0.5", "INTERVAL needs a unit, '0.5' has none; write 0.5s for seconds or 0.5m for minutes"),
        ("0s", "INTERVAL must be longer than 0, not '0s'; write for example 500ms, 5s, 1m30s or 2h"),
        ("0m0ms", "INTERVAL must be longer than 0, not '0m0ms'; write for example 500ms, 5s, 1m30s or 2h"),
        *[
            (text, f"INTERVAL must be a duration, not {text!r}; write for example 500ms, 5s, 1m30s or 2h")
            for text in (
                "",
                "s",
                "-5s",
                "+5s",
                "-5",
                "5S",
                "5 s",
                "1e3s",
                "infs",
                "nan",
                "1s1m",
                "5s5s",
                "1m30",
                "5sec",
            )
        ],
        ("\u0665s", "INTERVAL must be a duration, not '\u0665s'; write for example 500ms, 5s, 1m30s or 2h"),
        ("5s\n", "INTERVAL must be a duration, not '5s\\n'; write for example 500ms, 5s, 1m30s or 2h"),
    ],
)
def test_bad_duration_is_refused(text, message):
    with pytest.raises(ArgumentValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == message


def test_zero_is_a_duration_where_it_makes_sense():
    assert parse_duration("0s", "--delay", zero=True) == 0.0
    with pytest.raises(ArgumentValueError, match=r"^--delay must be a duration, not 'x'; "):
        parse_duration("x", "--delay", zero=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (5.0, "5s"), (90.0, "1m30s"), (7200.0, "2h"), (0.0001, "0.1ms"), (1.5, "1s500ms"), (0.0, "0s")],
)
def test_duration_is_written(seconds, text):
    assert write_duration(seconds) == text


@given(st.integers(min_value=1, max_value=10**13))
def test_written_duration_reads_as_itself(microseconds):
    seconds = microseconds / 1e6
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, rel=1e-9, abs=1e-9)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local time with an offset and with summer time."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    os.environ.pop("", None)
    time.tzset()


def at(text: str) -> float:
    """Return an instant written in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "now", "instant"),
    [
        ("14:30", "2026-11-22 10:00", "2026-11-22 13:30"),  # later today
        ("14:30", "2026-11-22 20:00", "2026-11-23 13:30"),  # it has passed: tomorrow
        ("14:30", "2026-11-22 13:30", "2026-11-23 13:30"),  # now is not next
        ("0:15", "2026-11-22 23:30", "2026-11-23 23:15"),  # the local day counts
        ("9:05:07", "2026-11-22 00:00", "2026-11-22 08:05:07"),
        ("12:00", "2026-03-28 12:00", "2026-03-29 10:00"),  # summer time begins in between
        ("2026-11-22T14:30", "2026-01-01 00:00", "2026-11-22 13:30"),  # naive: local
        ("2026-07-01 12:00:00", "2026-01-01 00:00", "2026-07-01 10:00"),
        ("2026-11-22T14:30Z", "2026-01-01 00:00", "2026-11-22 14:30"),
        ("2026-11-22T14:30+02:00", "2026-01-01 00:00", "2026-11-22 12:30"),
        ("2020-01-01T00:00Z", "2026-01-01 00:00", "2020-01-01 00:00"),  # past means now, which the engine knows
    ],
)
def test_instant_is_read(text, now, instant):
    assert parse_instant(text, at(now)) == at(instant)


@pytest.mark.parametrize(
    "text",
    ["", "now", "14", "14:3", "25:00", "14:60", "tomorrow", "2026-11-22", "1795358999", "2026-13-01T00:00", "-1:00"],
)
def test_bad_instant_is_refused(text):
    with pytest.raises(ArgumentValueError) as caught:
        parse_instant(text, 0.0)
    assert str(caught.value) == f"--at must be a time as in 14:30 or ISO 8601 as in 2026-11-22T14:30, not {text!r}"
