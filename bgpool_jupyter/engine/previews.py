"""When will it run? The instants of a schedule, before it is started and after."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from itertools import count

from .cron import Cron
from .schedule import CronTimes, FixedDelay, FixedRate, Once
from .starts import Start

__all__ = ["if_started", "of_start"]


def if_started(first: float, interval: float | None, cron: Cron | None) -> Iterator[float]:
    """Yield the instants of a worker that is started now.

    Parameters
    ----------
    first
        The first instant in UTC epoch seconds; with `cron`, the instant from which on slots are looked for.
    interval
        Seconds from each to the next; None: there is no next one.
    cron
        The expression that it follows instead.
    """
    if cron is not None:
        yield from _slots(cron, cron.next_after(first))
        return
    yield first
    k = 0
    while interval is not None:
        k += 1
        yield first + k * interval


def of_start(
    start: Start, *, now: float, wall: float, interval: float, most: float | None, in_flight: bool, paused: bool
) -> Iterator[float]:
    """Yield the instants (UTC epoch seconds) at which the runs of a start are to come; each is taken to need no time.

    Parameters
    ----------
    start
        The start; it is not changed.
    now, wall
        This moment, in monotonic and in UTC epoch seconds.
    interval
        The worker's present interval in seconds, which may differ from the one that the start began with.
    most
        The worker's max_lateness in seconds.
    in_flight
        Whether a run of it is in flight, which does not count.
    paused
        Whether it is paused; the instants are those that come if it went on now.
    """
    start = copy(start)  # moved on as the pool would do it
    if start.wall is not None and (start.wall <= wall or start.moved is not None):
        start.reach(now + (start.wall - wall))
    schedule = start.schedule
    resumes = paused and not isinstance(schedule, Once)  # then no slot that passed is waited for
    if not in_flight and not resumes and start.is_too_late(now, wall, most):
        if isinstance(schedule, Once):
            return
        start.dismiss(now, wall, interval, 0.0, most or 0.0)
        schedule = start.schedule
    if isinstance(schedule, CronTimes):
        yield from _of_cron(start, schedule, now, wall, in_flight=in_flight, paused=paused)
        return
    if isinstance(schedule, Once):
        dues = _of_once(start, now, wall, in_flight=in_flight)
    elif start.wall is not None:
        grid = schedule._replace(first=now + (start.wall - wall), interval=interval)
        dues = _before_first(grid, _asked_for(start, now, in_flight=in_flight))
    elif isinstance(schedule, FixedDelay):
        dues = _of_delay(start, now, interval, in_flight=in_flight, paused=paused)
    else:
        dues = _of_grid(start, schedule, now, interval, most, in_flight=in_flight, paused=paused)
    for due in dues:
        yield wall + (max(due, now) - now)


def _asked_for(start: Start, now: float, *, in_flight: bool) -> float | None:
    """Return the monotonic instant of a run that comes before the schedule's next one: on request, or a retry."""
    if start.now:
        return now
    return None if in_flight else start.retry_at


def _moved_to(start: Start, now: float, *, in_flight: bool, paused: bool) -> float | None:
    """Return the monotonic instant to which the next run was moved; None if it was not, or passed during a pause."""
    moved = start.moved
    if moved is not None and moved < now and paused and not in_flight and start.retry_at is None:
        return None
    return moved


def _slots(cron: Cron, slot: float) -> Iterator[float]:
    while slot < math.inf:
        yield slot
        slot = cron.next_after(slot)


def _of_cron(
    start: Start, schedule: CronTimes, now: float, wall: float, *, in_flight: bool, paused: bool
) -> Iterator[float]:
    asked = _asked_for(start, now, in_flight=in_flight)
    moved = _moved_to(start, now, in_flight=in_flight, paused=paused)
    slot = start.wall
    first = now if asked is None else max(asked, now)
    if asked is not None:
        yield wall + (first - now)
    if moved is not None:
        first = max(moved, first)
        yield wall + (first - now)
    if moved is not None or slot is None:  # the slots come after what was moved
        yield from _slots(schedule.cron, schedule.cron.next_after(wall + (first - now)))
        return
    if (in_flight or start.retry_at is not None) and not start.beside:
        slot = schedule.cron.next_after(slot)
    elif asked is None and not in_flight and not paused:  # the run that is waited for comes even if it is late
        yield max(slot, wall)
        slot = schedule.cron.next_after(slot)
    if slot < wall and (not schedule.catch_up or (paused and not in_flight)):
        slot = schedule.cron.next_after(wall)
    for each in _slots(schedule.cron, slot):
        yield max(each, wall + (first - now))


def _of_once(start: Start, now: float, wall: float, *, in_flight: bool) -> Iterator[float]:
    asked = _asked_for(start, now, in_flight=in_flight)
    if asked is not None:
        yield asked
    elif not in_flight:
        yield start.due if start.wall is None else now + (start.wall - wall)


def _before_first(schedule: FixedRate | FixedDelay, asked: float | None) -> Iterator[float]:
    """Yield what comes where the first slot is an instant of the wall clock that is still to come."""
    first, interval, *_ = schedule
    if asked is not None:
        yield asked
        if isinstance(schedule, FixedDelay) and asked > first:
            first = asked + interval
    for k in count():
        due = first + k * interval
        if asked is None or due >= asked:
            yield due
        elif isinstance(schedule, FixedRate) and schedule.catch_up:
            yield asked


def _of_delay(start: Start, now: float, interval: float, *, in_flight: bool, paused: bool) -> Iterator[float]:
    asked = _asked_for(start, now, in_flight=in_flight)
    moved = _moved_to(start, now, in_flight=in_flight, paused=paused)
    due = now
    if asked is not None:
        yield asked
        due = max(asked, now)
    if moved is not None:
        due = max(moved, due)
    elif asked is not None or in_flight or (paused and start.due < now):
        due += interval
    else:
        due = start.due
    while True:
        yield due
        due = max(due, now) + interval


def _of_grid(
    start: Start,
    schedule: FixedRate,
    now: float,
    interval: float,
    most: float | None,
    *,
    in_flight: bool,
    paused: bool,
) -> Iterator[float]:
    asked = _asked_for(start, now, in_flight=in_flight)
    moved = _moved_to(start, now, in_flight=in_flight, paused=paused)
    has_slot = (in_flight or start.retry_at is not None) and not start.beside
    k = start.index + has_slot
    first = asked
    if asked is not None:
        yield asked
    if moved is None and asked is None and not in_flight and not (paused and start.due < now):
        moved = start.due
    if moved is not None:
        first = moved if asked is None else max(asked, moved)
        yield first
        k += 1
    passed = now if first is None else max(first, now)
    after_pause = paused and not in_flight and start.due < now and start.retry_at is None
    grid, origin = schedule, start.index
    if k == origin and (after_pause or not schedule.catch_up):  # also where the grid changes then
        k = origin = max(k, schedule.index_from(passed))
    if schedule.interval != interval:
        if k == origin:  # the slot that was chosen stays, the new grid begins at it
            yield schedule.slot(k)
            k += 1
        grid, k = FixedRate(schedule.slot(origin) + interval, interval, schedule.catch_up), k - origin - 1
    made_up = 0.0 if after_pause or not schedule.catch_up else most  # what passed during a pause is not made up
    if made_up is not None:
        k = max(k, grid.index_from(passed - made_up))
    while True:
        due = grid.slot(k)
        if first is None or due > first or schedule.catch_up:
            yield due if first is None else max(due, first)
        k += 1
