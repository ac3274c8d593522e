"""When is the next slot? Pure arithmetic: no clock is read, nothing waits.

All instants are monotonic seconds but for :attr:`Once.at`, which is UTC epoch seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = [
    "RETRY_FIRST",
    "RETRY_LONGEST",
    "FixedDelay",
    "FixedRate",
    "Once",
    "Schedule",
    "duration_text",
    "retry_delay",
]

#: Delay before the first retry of a failed run, in seconds; it doubles with each further one …
RETRY_FIRST = 0.1
#: … and never becomes longer than this.
RETRY_LONGEST = 60.0


def retry_delay(attempt: int) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (1 is the first)."""
    return min(RETRY_LONGEST, RETRY_FIRST * 2.0 ** min(attempt - 1, 32))


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
    """One slot. With `at` it is an instant of the wall clock and `first` only the next look at that clock."""

    first: float
    at: float | None = None

    def slot(self, k: int) -> float:
        """Return the instant for 0 and infinity for any other number."""
        return self.first if k == 0 else math.inf

    def after_run(self, k: int, end: float) -> tuple[int, float, int]:  # noqa: ARG002 - one protocol for all schedules
        """Return infinity: there is no further slot."""
        return k + 1, math.inf, 0


Schedule = FixedRate | FixedDelay | Once


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
