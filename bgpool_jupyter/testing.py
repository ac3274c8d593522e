"""Virtual time, for tests of your own workers: no sleep, no thread, no chance.

>>> from bgpool_jupyter.testing import make_pool
>>> pool = make_pool()
>>> worker = pool.new_worker(60, lambda: print("a minute has passed"), start_with_delay=True).start()
>>> pool.clock.advance(120)
a minute has passed
a minute has passed
"""

from __future__ import annotations

import math
from _thread import LockType
from typing import Any

from .engine.arguments import check_delay, check_number
from .engine.executors import InlineExecutor
from .engine.pool import WorkerPool

__all__ = ["ManualClock", "ManualPool", "make_pool"]


class ManualClock:
    """A clock that moves only when it is told to.

    Parameters
    ----------
    start
        The first reading of :meth:`monotonic`, in seconds.
    wall
        The first reading of :meth:`time`, in UTC epoch seconds.

    Notes
    -----
    Threads: a test uses it from one thread.
    """

    def __init__(self, start: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._now = check_number(start, "start", "give seconds")
        self._offset = check_number(wall, "wall", "give UTC epoch seconds") - self._now
        self._pools: list[WorkerPool] = []

    def monotonic(self) -> float:
        """Return the seconds of this clock."""
        return self._now

    def time(self) -> float:
        """Return the wall clock in UTC epoch seconds."""
        return self._now + self._offset

    def attach(self, pool: WorkerPool) -> None:
        """Have :meth:`advance` run what is due in `pool`."""
        self._pools.append(pool)

    def sleep(self, seconds: float) -> None:
        """Move on without running anything: what a callback calls that takes its time, or a machine that sleeps."""
        self._now += check_delay(seconds, "seconds")

    def wait(self, signal: LockType, seconds: float) -> None:
        """Move on by `seconds`, unless `signal` was released: what ``worker.sleep()`` does in virtual time."""
        if signal.locked():
            self.sleep(seconds)

    def set_wall(self, epoch: float) -> None:
        """Set the wall clock to `epoch` (UTC epoch seconds); the monotonic time stays."""
        self._offset = check_number(epoch, "epoch", "give UTC epoch seconds") - self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` (0 or greater) and run, on this thread, what becomes due, each at its own instant.

        A callback that moves the clock further (:meth:`sleep`) makes the rest late, as in life.
        """
        end = self._now + check_delay(seconds, "seconds")
        while True:
            # Not later than `end`, however far callbacks have moved the clock: the rest is for the next call.
            limit = min(self._now, end)
            dues = [due for pool in self._pools if (due := pool.run_due(limit)) is not None]
            nearest = min(dues, default=math.inf)
            if nearest > end:
                break
            self._now = max(self._now, nearest)
        self._now = max(self._now, end)


class ManualPool(WorkerPool):
    """A pool in virtual time; :func:`make_pool` makes one."""

    clock: ManualClock


def make_pool(clock: ManualClock | None = None, **settings: Any) -> ManualPool:
    """Return a pool in virtual time, which runs what is due on the thread that calls ``pool.clock.advance(seconds)``.

    Parameters
    ----------
    clock
        A clock to share; None makes a new one.
    **settings
        Passed on to :class:`WorkerPool`.
    """
    manual = ManualClock() if clock is None else clock
    pool = ManualPool(clock=manual, executor=InlineExecutor(), **settings)
    manual.attach(pool)
    return pool
