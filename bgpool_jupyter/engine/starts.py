"""One start of a worker: what start() was given, and how far it came."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .arguments import safe_repr
from .errors import ArgumentTypeError
from .schedule import FixedRate, Once, Schedule
from .states import WorkerState

__all__ = ["Signature", "Start"]


class Signature(NamedTuple):
    """What start() needs to know of a function, found out once."""

    function: Callable[..., Any]
    #: Which of ``_data`` and ``_worker`` it names as parameters.
    injected: frozenset[str]
    #: None where Python knows none, as for some built-in functions.
    signature: inspect.Signature | None
    #: It can be called with the injected arguments alone.
    plain: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Look at `function`."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):
            return cls(function, frozenset(), None, plain=True)
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = signature.parameters.values()
        injected = frozenset(p.name for p in parameters if p.name in ("_data", "_worker") and p.kind in by_name)
        plain = all(p.default is not p.empty or p.kind in optional or p.name in injected for p in parameters)
        return cls(function, injected, signature, plain)

    def bound(self, kwargs: dict[str, Any], injectable: dict[str, Any], where: str, role: str) -> Callable[[], Any]:
        """Return the call of the function with `kwargs` and what it names of `injectable`.

        Raises
        ------
        ArgumentTypeError
            If the function cannot take these arguments; the message begins with `where` and `role`.
        """
        given = {**kwargs, **{name: injectable[name] for name in self.injected}} if self.injected else kwargs
        if self.signature is not None and (kwargs or not self.plain):
            try:
                self.signature.bind(**given)
            except TypeError as error:
                message = (
                    f"{where} was given {sorted(kwargs)!r}, but {role} {safe_repr(self.function)} says: {error}; "
                    "give it exactly the arguments that it needs"
                )
                raise ArgumentTypeError(message) from None
        return functools.partial(self.function, **given) if given else self.function


class Start:
    """One start of a worker: what start() was given and how far it came.

    Guarded by the pool's lock.
    """

    __slots__ = (
        "attempt",
        "call",
        "counted",
        "due",
        "ended",
        "finish_call",
        "finish_claimed",
        "index",
        "now",
        "previous",
        "retrying",
        "schedule",
        "state",
    )

    def __init__(self, schedule: Schedule, call: Callable[[], Any], finish_call: Callable[[], Any] | None) -> None:
        self.state = WorkerState.WAITING
        self.schedule = schedule
        self.call = call
        self.finish_call = finish_call
        #: An earlier start that this one ended; its `finished` is called first.
        self.previous: Start | None = None
        #: Number of the next slot.
        self.index = 0
        #: Instant of the next slot (monotonic seconds), or of the retry.
        self.due = schedule.first
        #: Runs that count towards max_count.
        self.counted = 0
        #: Number of the attempt that comes next or is in flight.
        self.attempt = 1
        #: `due` is that of a retry.
        self.retrying = False
        #: work_now() or unpause(immediately=True) asked for a run at once.
        self.now = False
        #: The end was noted and `finished` was queued.
        self.ended = False
        #: `finished` was taken up by a thread.
        self.finish_claimed = False

    def advance(self, end: float, interval: float, *, on_demand: bool) -> int:
        """Move on to the slot after a run that ended at `end`; return how many slots were dismissed.

        `interval` is the worker's present one: where it was changed, the grid is laid anew from the
        slot that was just run. A run on demand leaves the grid as it is.
        """
        schedule = self.schedule
        self.attempt, self.retrying = 1, False
        if isinstance(schedule, Once):
            self.due = math.inf
            return 0
        if schedule.interval != interval:
            first = self.due + interval if isinstance(schedule, FixedRate) else schedule.first
            self.schedule = schedule = schedule._replace(first=first, interval=interval)
            self.index = -1
        if on_demand and isinstance(schedule, FixedRate) and self.index >= 0:
            if self.due >= end or schedule.catch_up:
                return 0
            index = schedule.index_from(end)
            missed, self.index = index - self.index, index
            self.due = schedule.slot(index)
            return missed
        self.index, self.due, missed = schedule.after_run(self.index, end)
        return missed

    def resume(self, now: float) -> None:
        """Choose the next slot after a pause: slots that passed meanwhile are neither run nor counted."""
        schedule = self.schedule
        if self.due >= now or self.retrying or isinstance(schedule, Once):
            return
        if isinstance(schedule, FixedRate):
            self.index = schedule.index_from(now)
            self.due = schedule.slot(self.index)
        else:
            self.due = now + schedule.interval
