"""One start of a worker: what start() was given, and how far it came."""

from __future__ import annotations

import functools
import inspect
import math
import random
from collections.abc import Callable
from copy import copy
from types import FunctionType, MethodType
from typing import Any

from .arguments import safe_repr
from .errors import ArgumentTypeError
from .runs import ErrorInfo
from .schedule import SLICE, CronTimes, FixedDelay, FixedRate, Once, Schedule
from .states import RUNNING, WAITING, next_state

__all__ = ["Signature", "Start"]

_INJECTABLE = ("_data", "_worker")


class Signature:
    """What start() needs to know of a function, found out once."""

    __slots__ = ("_inspected", "function", "injected", "plain")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._inspected: inspect.Signature | None = None
        known = _read_off(function)
        if known is None:
            known = self._inspect()
        #: Which of ``_data`` and ``_worker`` it names as parameters.
        self.injected: tuple[str, ...] = known[0]
        #: It can be called with the injected arguments alone.
        self.plain: bool = known[1]

    def _inspect(self) -> tuple[tuple[str, ...], bool]:
        signature = self._signature()
        if signature is None:
            return (), True
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = signature.parameters.values()
        injected = tuple(p.name for p in parameters if p.name in _INJECTABLE and p.kind in by_name)
        plain = all(p.default is not p.empty or p.kind in optional or p.name in injected for p in parameters)
        return injected, plain

    def _signature(self) -> inspect.Signature | None:
        """Return what :func:`inspect.signature` finds; None where it knows nothing, as for some built-in functions."""
        if self._inspected is None:
            try:
                found = inspect.signature(self.function, follow_wrapped=False)
                if any(p.kind is p.VAR_KEYWORD for p in found.parameters.values()):
                    # What a decorator hands on is for the function behind it.
                    found = inspect.signature(self.function)
                self._inspected = found
            except (TypeError, ValueError):
                return None
        return self._inspected

    def bound(self, kwargs: dict[str, Any], injectable: dict[str, Any], where: str, role: str) -> Callable[[], Any]:
        """Return the call of the function with `kwargs` and what it names of `injectable`.

        Raises
        ------
        ArgumentTypeError
            If the function cannot take these arguments; the message begins with `where` and `role`.
        """
        given = {**kwargs, **{name: injectable[name] for name in self.injected}} if self.injected else kwargs
        if (kwargs or not self.plain) and (signature := self._signature()) is not None:
            try:
                signature.bind(**given)
            except TypeError as error:
                message = (
                    f"{where} was given {sorted(kwargs)!r}, but {role} {safe_repr(self.function)} says: {error}; "
                    "give it exactly the arguments that it needs"
                )
                raise ArgumentTypeError(message) from None
        return functools.partial(self.function, **given) if given else self.function


def _read_off(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool] | None:
    """Return `injected` and `plain` of an ordinary function or method from its code; None for everything else.

    :func:`inspect.signature` takes ten times as long and leaves 1 kB, too much for each of ten
    thousand workers. A function with attributes may be wrapped or have a signature set: that is left to it.
    """
    bound = 0
    if type(function) is MethodType:
        function, bound = function.__func__, 1  # its first parameter is not for the caller
    if type(function) is not FunctionType or function.__dict__:
        return None
    code = function.__code__
    positional, keyword = code.co_argcount, code.co_kwonlyargcount
    if positional == bound and not keyword:
        return (), True
    if positional < bound:
        return None
    names = code.co_varnames[: positional + keyword]
    injected = tuple(name for name in names[max(bound, code.co_posonlyargcount) :] if name in _INJECTABLE)
    given = function.__kwdefaults__ or {}
    required = {
        *names[bound : max(bound, positional - len(function.__defaults__ or ()))],
        *(n for n in names[positional:] if n not in given),
    }
    return injected, required.issubset(injected)


class Start:
    """One start of a worker: what start() was given and how far it came.

    Guarded by the pool's lock.
    """

    __slots__ = (
        "asked",
        "attempt",
        "beside",
        "call",
        "counted",
        "due",
        "ended",
        "failures",
        "finish_call",
        "finish_claimed",
        "heard",
        "index",
        "jitter",
        "last",
        "looked",
        "moved",
        "now",
        "previous",
        "retry_at",
        "schedule",
        "state",
        "wall",
    )

    def __init__(
        self,
        schedule: Schedule,
        call: Callable[[], Any],
        finish_call: Callable[[], Any] | None,
        *,
        wall: float | None = None,
        jitter: float = 0.0,
        heard: float = 0.0,
    ) -> None:
        self.state = WAITING
        self.schedule = schedule
        self.call = call
        self.finish_call = finish_call
        #: An earlier start that this one ended; its `finished` is called first.
        self.previous: Start | None = None
        #: Number of the next slot.
        self.index = 0
        #: Instant of the next slot (monotonic seconds), or of the next look at the wall clock.
        self.due = schedule.first
        #: Instant of the next slot where that is one of the wall clock (UTC epoch seconds), else None.
        self.wall = wall
        #: Seconds by which chance moves the next run behind its slot.
        self.jitter = random.uniform(0.0, jitter) if jitter else 0.0
        #: When it was started, went on after a pause, or a run of it ended, the latest of them (monotonic seconds).
        self.heard = heard
        #: A run of it has looked at the stop flag.
        self.looked = False
        #: Runs that count towards max_count.
        self.counted = 0
        #: Value and error of the last run that ended; None before.
        self.last: tuple[Any, ErrorInfo | None] | None = None
        #: Failed runs in a row.
        self.failures = 0
        #: Number of the attempt that comes next or is in flight.
        self.attempt = 1
        #: Instant of the next attempt at a run that failed (monotonic seconds); None if there is none.
        self.retry_at: float | None = None
        #: The run in flight, with its attempts, is beside the grid: work_now() asked for it.
        self.beside = False
        #: Instant to which reschedule() moved the next run (monotonic seconds), until that begins; None if it did not.
        self.moved: float | None = None
        #: work_now() or unpause(immediately=True) asked for a run at once.
        self.now = False
        #: The same, until a run begins, also where that is one of a slot which was due: it begins however late it is.
        self.asked = False
        #: The end was noted and `finished` was queued.
        self.ended = False
        #: `finished` was taken up by a thread.
        self.finish_claimed = False

    def look_at_wall(self, now: float, wall_now: float) -> float:
        """Return the seconds to the slot on the wall clock; look again then, at the latest in a minute."""
        left = 0.0 if self.wall is None else self.wall + self.jitter - wall_now
        self.due = now + min(max(0.0, left), SLICE)
        return left

    def reach(self, first: float) -> None:
        """Lay the grid whose first slot was an instant of the wall clock at `first`, one of the monotonic clock.

        From there on that one counts: a clock that is set later moves no slot.
        """
        if isinstance(self.schedule, FixedRate | FixedDelay):
            self.schedule = self.schedule._replace(first=first)
            self.due, self.wall, self.heard = first, None, first

    def _is_before_first(self, now: float, wall_now: float) -> bool:
        """Return whether the first slot of a grid is an instant of the wall clock and still to come."""
        if self.wall is None or isinstance(self.schedule, CronTimes | Once):
            return False
        left = self.look_at_wall(now, wall_now)
        if left > 0:
            return True
        self.reach(now + left - self.jitter)
        return False

    def next_due(self, now: float) -> float:
        """Return the monotonic instant at which the next run begins, or at which the wall clock is looked at."""
        if self.now:
            return now
        if self.retry_at is not None:
            return self.retry_at
        return self.due if self.wall is not None else self.due + self.jitter

    def lateness(self, now: float, wall_now: float) -> float:
        """Return the seconds since the instant of the next slot; less than 0 where that is still to come."""
        return (now - self.due if self.wall is None else wall_now - self.wall) - self.jitter

    def is_too_late(self, now: float, wall_now: float, most: float | None) -> bool:
        """Return whether the next run is that of a slot that is more than `most` seconds late, and not asked for."""
        return most is not None and not self.asked and self.retry_at is None and self.lateness(now, wall_now) > most

    def is_early(self, now: float) -> bool:
        """Return whether what comes next without work_now() is not due yet, so that a run at once is one beside it."""
        if self.retry_at is not None:
            return self.retry_at > now
        return (self.due if self.wall is not None else self.due + self.jitter) > now

    def begin(self, name: str) -> None:
        """Note that a run of the worker called `name` begins. An attempt at a failed run belongs where that run did."""
        waits = self.state is WAITING  # the common case, without the look-up
        self.state = RUNNING if waits else next_state(self.state, "begin", name)
        if self.retry_at is None:
            self.beside = self.now
            if not self.now:
                self.moved = None
        self.now = self.asked = False
        self.retry_at = None

    def next_slot(self) -> float | None:
        """Return the monotonic instant of the slot after the run in flight; None if it is not known yet."""
        schedule = self.schedule
        if not isinstance(schedule, FixedRate):
            return None
        return schedule.slot(self.index if self.beside else self.index + 1)

    def advance(self, end: float, wall_end: float, interval: float, jitter: float) -> int:
        """Move on to the slot after a run that ended at `end`; return how many slots were dismissed.

        `interval` and `jitter` are the worker's present ones: where the interval was changed, the grid
        is laid anew from the slot that was just run. A run beside the grid leaves it as it is, and so does each run
        an instant to which the next one was moved.
        """
        schedule = self.schedule
        self.attempt = 1
        if type(schedule) is FixedRate and not jitter and not self.beside and self.moved is None:
            first, step, _ = schedule
            due = first + (self.index + 1) * step
            if due >= end and step == interval:  # by far the most common case
                self.jitter = 0.0
                self.index += 1
                self.due = due
                return 0
        self.jitter = random.uniform(0.0, jitter) if jitter else 0.0
        # Beside the grid before what was moved: the slot that was moved is still to come, and keeps its number.
        missed = 0 if self.beside and self.moved is not None else self._advance(end, wall_end, interval)
        if self.moved is not None:
            self.move(end, wall_end)
        return missed

    def move(self, now: float, wall_now: float) -> None:
        """Put the next run to the instant `moved`; the slots after it are as they were."""
        if self.wall is not None:
            self.reach(now + (self.wall - wall_now))
        if self.moved is not None:
            self.due, self.wall, self.jitter = self.moved, None, 0.0

    def dismiss(self, now: float, wall_now: float, interval: float, jitter: float, most: float) -> int:
        """Leave out the next slot, and what is more than `most` seconds late after it; return how many these are."""
        twin, schedule = copy(self), self.schedule
        twin.beside, twin.moved = False, None
        if isinstance(schedule, FixedRate | CronTimes):
            twin.schedule = schedule._replace(catch_up=False)  # what is too late is not made up
            missed = 1 + twin.advance(now - most, wall_now - most, interval, jitter)
        else:
            missed = 1 + twin.advance(now, wall_now, interval, jitter)
        made = twin.schedule
        if isinstance(made, FixedRate | CronTimes) and isinstance(schedule, FixedRate | CronTimes):
            made = made._replace(catch_up=schedule.catch_up)
        # Nothing is called from here on: no KeyboardInterrupt comes between two of them.
        self.schedule, self.index, self.due, self.wall = made, twin.index, twin.due, twin.wall
        self.jitter, self.attempt, self.beside, self.moved = twin.jitter, 1, False, None
        return missed

    def _advance(self, end: float, wall_end: float, interval: float) -> int:
        if self._is_before_first(end, wall_end):  # the run that ended was beside the grid
            return 0
        schedule = self.schedule
        if isinstance(schedule, Once):
            self.due = math.inf
            return 0
        if isinstance(schedule, CronTimes):
            return self._advance_wall(schedule, end, wall_end)
        if self.beside and isinstance(schedule, FixedRate):
            index = self.index if schedule.catch_up else max(self.index, schedule.index_from(end))
            missed, self.index, self.due = index - self.index, index, schedule.slot(index)
            return missed
        if schedule.interval != interval:
            first = schedule.slot(self.index) + interval if isinstance(schedule, FixedRate) else schedule.first
            self.schedule = schedule = schedule._replace(first=first, interval=interval)
            self.index = -1
        self.index, self.due, missed = schedule.after_run(self.index, end)
        return missed

    def _advance_wall(self, schedule: CronTimes, end: float, wall_end: float) -> int:
        slot = wall_end if self.wall is None else self.wall
        missed = 0
        if not self.beside:
            self.wall, missed = schedule.after(slot, wall_end)
        elif slot < wall_end and not schedule.catch_up:
            self.wall, missed = schedule.after(slot, wall_end)
            missed += 1
        self.look_at_wall(end, wall_end)
        return missed

    def resume(self, now: float, wall_now: float, interval: float) -> int:
        """Choose the next slot after a pause; return how many slots of the grid passed meanwhile and are left out.

        `interval` is the worker's present one. A fixed delay has no grid that would go on with the old one.
        """
        before_first = self._is_before_first(now, wall_now)  # looked at first: it may lay the grid
        schedule, self.heard = self.schedule, now
        if isinstance(schedule, Once) and self.wall is not None:
            self.look_at_wall(now, wall_now)
        moved_ahead = self.moved is not None and self.due >= now
        if before_first or isinstance(schedule, Once) or self.retry_at is not None or moved_ahead:
            return 0
        self.moved = None
        if isinstance(schedule, CronTimes):
            skipped = 0
            if self.wall is None:
                self.wall = schedule.cron.next_after(wall_now)
            elif self.wall < wall_now:
                self.wall, skipped = schedule._replace(catch_up=False).after(self.wall, wall_now)
                skipped += 1
            self.look_at_wall(now, wall_now)
            return skipped
        if self.due >= now:
            return 0
        if isinstance(schedule, FixedDelay):
            self.due = now + interval
            return 0
        # Never back: of a run that was moved the slot is still to come, and those before it have had their runs.
        before, self.index = self.index, max(self.index, schedule.index_from(now))
        self.due = schedule.slot(self.index)
        return self.index - before
