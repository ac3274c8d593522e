"""The standard library's sched in a thread."""

from __future__ import annotations

import math
import sched
import threading
import time
from collections.abc import Callable

from .base import FAR, Contender, Task

__all__ = ["SchedThread"]


class SchedThread(Contender):
    """``run(blocking=False)`` in a loop that waits on an Event, so that a new entry can shorten the wait."""

    name = "sched"

    def __init__(self) -> None:
        self._scheduler = sched.scheduler(time.monotonic)
        self._event = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="sched", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._closed:
            left = self._scheduler.run(blocking=False)
            if left is None or left > 0:
                self._event.wait(left)
                self._event.clear()

    def every(self, interval: float, task: Task) -> float:
        """Enter an event that enters itself anew on the grid."""
        first = time.monotonic() + interval

        def turn(due: float) -> None:
            task()
            due += interval
            now = time.monotonic()
            if due < now:
                due += math.ceil((now - due) / interval) * interval
            self._scheduler.enterabs(due, 0, turn, (due,))

        self._scheduler.enterabs(first, 0, turn, (first,))
        self._event.set()
        return first

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Return a loop of ``enterabs``."""

        def arm() -> None:
            for _ in range(count):
                self._scheduler.enterabs(time.monotonic() if due is None else due, 0, task)
                self._event.set()

        return arm

    def pairs(self, count: int) -> None:
        """Enter and cancel; cancelling looks through the whole queue."""
        scheduler = self._scheduler
        for _ in range(count):
            event = scheduler.enterabs(time.monotonic() + FAR, 0, _nothing)
            self._event.set()
            scheduler.cancel(event)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._event.set()
        self._thread.join(5.0)


def _nothing() -> None:
    return
