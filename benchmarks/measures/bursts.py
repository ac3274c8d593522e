"""Ten thousand one-shots that are due now, or armed beforehand for one instant."""

from __future__ import annotations

import functools
import itertools
import math
import threading
import time
from collections.abc import Mapping

from ..contenders import CONTENDERS
from ..works import Metric, Scale, Work, hide_from_collector

__all__ = ["BURSTS"]

#: Seconds for arming beforehand, for each one-shot, and at least.
_LEAD_EACH, _LEAD = 0.0002, 0.25
_PATIENCE = 30.0


class _Tally:
    """The callback of a burst: notes the first run and the last, and the most threads seen on the way."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.first = math.nan
        self.last = math.nan
        self.threads = 0
        self.done = threading.Event()
        self._numbers = itertools.count(1)

    def __call__(self) -> None:
        number = next(self._numbers)
        if number == 1:
            self.first = time.monotonic()
        if number % 100 == 0:
            self.threads = max(self.threads, threading.active_count())
        if number == self.count:
            self.last = time.monotonic()
            self.done.set()

    def missing(self) -> int:
        """Return how many runs did not happen; to be asked once, at the end."""
        return self.count - (next(self._numbers) - 1)


def _measure(name: str, scale: Scale, *, armed: bool) -> Mapping[str, float]:
    before = threading.active_count()
    contender = CONTENDERS[name]()
    tally = _Tally(scale.burst)
    try:
        due = time.monotonic() + _LEAD + scale.burst * _LEAD_EACH * (2 if name == "APScheduler" else 1)
        arm = contender.prepared(scale.burst, tally.__call__, due if armed else None)
        hide_from_collector()
        begin = time.monotonic()
        arm()
        if armed:
            begin = max(due, time.monotonic())
        tally.done.wait(_PATIENCE)
        time.sleep(0.01)
    finally:
        contender.close()
    return {
        "all": (tally.last - begin) * 1e3,
        "first": max(0.0, tally.first - begin) * 1e3,
        "threads": max(0, tally.threads - before),
        "lost": tally.missing(),
    }


_METRICS = (Metric("all", "ms"), Metric("first", "ms late"), Metric("threads", "at most"), Metric("lost", "runs"))
_PEERS = ("engine", "bare", "APScheduler", "asyncio", "sched")

BURSTS = (
    Work("burst-now", "10,000 one-shots due now", _METRICS, _PEERS, functools.partial(_measure, armed=False)),
    Work("burst-armed", "10,000 armed for one instant", _METRICS, _PEERS, functools.partial(_measure, armed=True)),
)
