"""What is sent of single workers while somebody looks at them: detail, remarks and stack, each at a bounded rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ..engine import BackgroundWorker, PoolError, WorkerPool
from . import wire

__all__ = ["Looks"]

#: A detail of more characters than this is sent at most once in so many seconds.
_LARGE_DETAIL, _LARGE_PAUSE = 16_000, 1.0
#: Least seconds between two messages about what looks wrong with a worker and what comes next.
_REMARKS_PAUSE = 1.0
#: Least seconds between two looks at the stack of a run.
_STACK_PAUSE = 1.0


class _Sent(NamedTuple):
    """The detail that was sent last."""

    key: tuple[Any, ...]
    size: int
    at: float


class Looks:
    """What was sent of which worker, so that nothing is said twice.

    Parameters
    ----------
    pool
        Where the workers are.
    send
        Called with each message.

    Notes
    -----
    Threads: one at a time; the panel calls it under its lock.
    """

    def __init__(self, pool: WorkerPool, send: Callable[[dict[str, Any]], None]) -> None:
        self._pool = pool
        self._send = send
        self._details: dict[int, _Sent] = {}
        #: When remarks and stacks were looked at last, and what was sent.
        self._remarks: dict[int, tuple[float, dict[str, Any]]] = {}
        self._stacks: dict[int, tuple[float, dict[str, Any]]] = {}

    def __len__(self) -> int:
        """Return the count of what is remembered."""
        return len(self._details) + len(self._remarks) + len(self._stacks)

    def forget(self) -> None:
        """Say everything anew: somebody got a new picture of the pool."""
        self._details.clear()
        self._remarks.clear()
        self._stacks.clear()

    def step(self, details: Collection[int], stacks: Collection[int]) -> None:
        """Send what is new of the workers with these ids, and forget the others."""
        self._details = {each: last for each, last in self._details.items() if each in details}
        self._remarks = {each: last for each, last in self._remarks.items() if each in details}
        self._stacks = {each: last for each, last in self._stacks.items() if each in stacks}
        for worker in self._known(details):
            self._step_detail(worker)
            self._step_remarks(worker)
        for worker in self._known(stacks):
            self._step_stack(worker)

    def show_detail(self, worker: BackgroundWorker) -> None:
        """Send detail and remarks, also if they were sent before."""
        self._details.pop(worker.id, None)
        self._remarks.pop(worker.id, None)
        self._step_detail(worker)
        self._step_remarks(worker)

    def show_stack(self, worker: BackgroundWorker) -> None:
        """Send the stack, also if it was sent before."""
        self._stacks.pop(worker.id, None)
        self._step_stack(worker)

    def _known(self, ids: Collection[int]) -> list[BackgroundWorker]:
        found = []
        for worker_id in ids:
            try:
                found.append(self._pool.worker(worker_id))
            except PoolError:
                continue
        return found

    def _step_detail(self, worker: BackgroundWorker) -> None:
        key, now = wire.detail_key(worker), time.monotonic()
        last = self._details.get(worker.id)
        if last is not None and (last.key == key or (last.size > _LARGE_DETAIL and now - last.at < _LARGE_PAUSE)):
            return
        content = wire.detail(worker)
        printed = [*content["runs"], content["events"] or {"text": ""}]
        size = sum(len(each["text"]) + sum(map(len, each.get("images", ()))) for each in printed)
        self._details[worker.id] = _Sent(key, size, now)
        self._send({"kind": "detail", "captures": self._pool.capture is not None, **content})

    def _step_remarks(self, worker: BackgroundWorker) -> None:
        last, now = self._remarks.get(worker.id), time.monotonic()
        if last is not None and now - last[0] < _REMARKS_PAUSE:
            return
        content = wire.remarks(worker)
        if last is None or last[1] != content:
            self._remarks[worker.id] = now, content
            self._send({"kind": "remarks", **content})

    def _step_stack(self, worker: BackgroundWorker) -> None:
        last, now = self._stacks.get(worker.id), time.monotonic()
        if last is not None and now - last[0] < _STACK_PAUSE:
            return
        content = wire.stack(worker)
        self._stacks[worker.id] = now, content
        if last is None or last[1] != content:
            self._send({"kind": "stack", "at": round(self._pool.clock.time(), 3), **content})
