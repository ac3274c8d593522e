"""When is the next slot? Pure arithmetic: no clock is read, nothing waits.

All instants are monotonic seconds, but for those of :class:`CronTimes`, which are UTC epoch seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .cron import Cron

__all__ = ["SLICE", "CronTimes", "FixedDelay", "FixedRate", "Once", "Schedule", "duration_text"]

#: Longest wait in seconds, so that a suspend or a clock that was set is noticed.
SLICE = 60.0
#: Most dismissed slots of a cron expression that are counted after one run.
_MOST_COUNTED = 1000


class FixedRate(NamedTuple):
    """Slots on the grid ``first + k * interval``, by multiplication, so that nothing adds up."""

    first: float
    interval: float
    #: Passed slots are made up one after the other instead of dismissed.
    catch_up: bool = False

    def slot(self, k: int) -> float:
        """Return the instant of slot number `k` (0 is the first)."""
        return self.first + k * self.interval

    def index_from(self, now: float) -> int:
        """Return the number of the first slot that is not before `now`.

        A division finds it, whatever the distance; the two loops only mend its rounding.
        """
        if now <= self.first:
            return 0
        k = math.ceil((now - self.first) / self.interval)
        while self.slot(k) < now:
            k += 1
        while k > 0 and self.slot(k - 1) >= now:
            k -= 1
        return k

    def after_run(self, k: int, end: float) -> tuple[int, float, int]:
        """Return number and instant of the slot after the run of slot `k` that ended at `end`.

        The third value counts the slots in between that are dismissed. A slot that falls on `end`
        itself is not passed: it is due.
        """
        following = k + 1
        due = self.slot(following)
        if due >= end or self.catch_up:
            return following, due, 0
        index = max(following, self.index_from(end))
        return index, self.slot(index), index - following


class FixedDelay(NamedTuple):
    """`interval` seconds from the end of a run to the start of the next."""

    first: float
    interval: float

    def slot(self, k: int) -> float:
        """Return the first instant for 0; later ones are not known before a run has ended."""
        return self.first if k == 0 else math.inf

    def after_run(self, k: int, end: float) -> tuple[int, float, int]:
        """Return number and instant of the run after the one that ended at `end`; nothing is ever dismissed."""
        return k + 1, end + self.interval, 0


class Once(NamedTuple):
    """One slot."""

    first: float

    def slot(self, k: int) -> float:
        """Return the instant for 0 and infinity for any other number."""
        return self.first if k == 0 else math.inf

    def after_run(self, k: int, end: float) -> tuple[int, float, int]:  # noqa: ARG002 - one protocol for all schedules
        """Return infinity: there is no further slot."""
        return k + 1, math.inf, 0


class CronTimes(NamedTuple):
    """The slots of a cron expression: instants of the wall clock, `first` only the next look at that clock."""

    first: float
    cron: Cron
    #: Passed slots are made up one after the other instead of dismissed.
    catch_up: bool = False

    def after(self, slot: float, now: float) -> tuple[float, int]:
        """Return the slot after `slot` that is not before `now`, and how many in between are dismissed.

        Slots are counted one by one up to a thousand; beyond that, as after weeks of sleep, the rest is left out
        of the count.
        """
        following = self.cron.next_after(slot)
        missed = 0
        while following < now and not self.catch_up:
            missed += 1
            following = self.cron.next_after(now - 1e-6 if missed >= _MOST_COUNTED else following)
        return following, missed


Schedule = FixedRate | FixedDelay | Once | CronTimes


def duration_text(seconds: float) -> str:
    """Return a duration for people, as in "250 ms", "5 s", "1 min 30 s", "2 h"."""
    if seconds < 1:
        return f"{seconds * 1000:.4g} ms"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.4g} s"
    parts = []
    rest = round(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
