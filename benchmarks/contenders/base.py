"""What every contender can be asked to do, and the clock that all of them are measured with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

__all__ = ["FAR", "Contender", "Task", "monotonic_of"]

Task = Callable[[], object]

#: Seconds until a one-shot that is never to run during a measurement.
FAR = 3600.0


class Contender:
    """A scheduler or executor behind one face.

    A contender overrides what it can do. Loops whose single turn takes microseconds stand in the
    adapter and not in the measurement, so that no adapter pays for the common face.
    """

    #: What the tables call it.
    name: ClassVar[str]

    def every(self, interval: float, task: Task) -> float:
        """Run `task` every `interval` seconds, first in one interval; return that instant in monotonic seconds."""
        raise NotImplementedError

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Return a function that arms `count` one-shots for the monotonic instant `due`, None for at once.

        What the contender lets people make beforehand is made before the function is returned.
        """
        raise NotImplementedError

    def fill(self, count: int) -> None:
        """Arm `count` one-shots that are far away and stay."""
        self.prepared(count, _nothing, time.monotonic() + FAR)()

    def pairs(self, count: int) -> None:
        """Arm and cancel a far one-shot, `count` times; made once, where the contender lets people do that."""
        raise NotImplementedError

    def fresh_pairs(self, count: int) -> None:
        """Do the same with a one-shot that is made anew each time."""
        self.pairs(count)

    def submit(self, task: Task) -> Any:
        """Have `task` run as soon as possible; return a handle for :meth:`wait`."""
        raise NotImplementedError

    def wait(self, handle: Any) -> None:
        """Wait until what :meth:`submit` returned is done."""
        handle.result()

    def close(self) -> None:
        """End all threads."""
        raise NotImplementedError


def _nothing() -> None:
    return


def monotonic_of(read: Callable[[], float]) -> float:
    """Return in monotonic seconds the instant that `read` returns in UTC epoch seconds.

    The difference of the clocks is taken several times, because the thread may lose the processor
    between two readings.
    """
    return statistics.median(read() - time.time() + time.monotonic() for _ in range(5))
