"""The engine of this package, as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable

from bgpool_jupyter.engine import WorkerPool

from .base import FAR, Contender, Task, monotonic_of

__all__ = ["Engine"]


class Engine(Contender):
    """A :class:`WorkerPool` with every default: states, records, events, the hook for output."""

    name = "engine"

    def __init__(self) -> None:
        self.pool = WorkerPool(name="benchmark")
        self.submit = self.pool.run_job  # type: ignore[method-assign]  # no call of ours in between

    def every(self, interval: float, task: Task) -> float:
        """Run `task` periodically."""
        worker = self.pool.new_worker(interval, task, start_with_delay=True).start()
        return monotonic_of(lambda: worker.next_run_time or 0.0)

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Make actors now; the function that is returned starts them."""
        at = None if due is None else time.time() + (due - time.monotonic())
        actors = [self.pool.new_actor(task, at=at) for _ in range(count)]

        def arm() -> None:
            for actor in actors:
                actor.start()

        return arm

    def pairs(self, count: int) -> None:
        """Start and stop one actor."""
        actor = self.pool.new_actor(_nothing, FAR)
        for _ in range(count):
            actor.start()
            actor.stop()

    def fresh_pairs(self, count: int) -> None:
        """Make, start and stop an actor."""
        make = self.pool.new_actor
        for _ in range(count):
            make(_nothing, FAR).start().stop()

    def close(self) -> None:
        """Close the pool."""
        self.pool.close(5.0)


def _nothing() -> None:
    return
