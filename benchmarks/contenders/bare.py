"""The floor: one thread, a heap, ``Condition.wait``, and nothing else."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable

from .base import FAR, Contender, Task

__all__ = ["Bare"]


class Bare(Contender):
    """What Python needs at least: no threads to hand over to, no states, no records, no way to cancel but a mark."""

    name = "bare"

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, float, list[Task | None]]] = []
        self._count = 0
        self._dead = 0
        self._condition = threading.Condition(threading.Lock())
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="bare", daemon=True)
        self._thread.start()

    def _push(self, due: float, interval: float, box: list[Task | None]) -> None:
        with self._condition:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, interval, box))
            if self._heap[0][3] is box:
                self._condition.notify()

    def _cancel(self, box: list[Task | None]) -> None:
        with self._condition:
            box[0] = None
            self._dead += 1
            if self._dead > 256 and self._dead * 2 > len(self._heap):  # noqa: PLR2004 - a small heap is left alone
                self._heap[:] = [entry for entry in self._heap if entry[3][0] is not None]
                heapq.heapify(self._heap)
                self._dead = 0

    def _next(self) -> tuple[float, float, list[Task | None]] | None:
        """Wait for the next entry and take it; None after close()."""
        heap = self._heap
        with self._condition:
            while not self._closed:
                left = heap[0][0] - time.monotonic() if heap else None
                if left is None or left > 0:
                    self._condition.wait(left)
                    continue
                due, _, interval, box = heapq.heappop(heap)
                return due, interval, box
        return None

    def _loop(self) -> None:
        while (entry := self._next()) is not None:
            due, interval, box = entry
            task = box[0]
            if task is None:
                continue
            task()
            if interval:
                due += interval
                now = time.monotonic()
                if due < now:
                    due += math.ceil((now - due) / interval) * interval
                self._push(due, interval, box)

    def every(self, interval: float, task: Task) -> float:
        """Run `task` periodically."""
        first = time.monotonic() + interval
        self._push(first, interval, [task])
        return first

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Return a loop of pushes."""
        boxes: list[list[Task | None]] = [[task] for _ in range(count)]

        def arm() -> None:
            for box in boxes:
                self._push(time.monotonic() if due is None else due, 0.0, box)

        return arm

    def pairs(self, count: int) -> None:
        """Push and mark."""
        for _ in range(count):
            box: list[Task | None] = [_nothing]
            self._push(time.monotonic() + FAR, 0.0, box)
            self._cancel(box)

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(5.0)


def _nothing() -> None:
    return
