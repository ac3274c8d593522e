"""An asyncio loop in a thread; callbacks run in the loop itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import math
import threading
from collections.abc import Callable

from .base import FAR, Contender, Task

__all__ = ["AsyncioThread"]


class AsyncioThread(Contender):
    """``call_at`` for instants, ``run_coroutine_threadsafe`` for jobs that can be waited for."""

    name = "asyncio"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True)
        self._thread.start()

    def _in_loop(self, action: Callable[[], None]) -> None:
        """Carry out `action` on the loop's thread and wait for it."""
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()

    def every(self, interval: float, task: Task) -> float:
        """Arm a timer that arms itself anew on the grid."""
        loop = self._loop
        first = loop.time() + interval

        def turn(due: float) -> None:
            task()
            due += interval
            now = loop.time()
            if due < now:
                due += math.ceil((now - due) / interval) * interval
            loop.call_at(due, turn, due)

        loop.call_soon_threadsafe(loop.call_at, first, turn, first)
        return first

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Return a loop of calls; those for now come one by one from this thread, as for the others."""
        loop = self._loop

        def arm() -> None:
            if due is None:
                for _ in range(count):
                    loop.call_soon_threadsafe(task)
            else:
                self._in_loop(functools.partial(_arm_all, loop, due, task, count))

        return arm

    def pairs(self, count: int) -> None:
        """Arm and cancel from this thread: both have to be handed to the loop's."""
        loop = self._loop
        for _ in range(count):
            handles: list[asyncio.TimerHandle] = []
            loop.call_soon_threadsafe(_arm, loop, handles)
            loop.call_soon_threadsafe(_cancel, handles)
        self._in_loop(_nothing)

    def submit(self, task: Task) -> concurrent.futures.Future[object]:
        """Hand a coroutine to the loop."""
        return asyncio.run_coroutine_threadsafe(_call(task), self._loop)

    def close(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()


async def _call(task: Task) -> object:
    return task()


def _arm_all(loop: asyncio.AbstractEventLoop, due: float, task: Task, count: int) -> None:
    for _ in range(count):
        loop.call_at(due, task)


def _arm(loop: asyncio.AbstractEventLoop, handles: list[asyncio.TimerHandle]) -> None:
    handles.append(loop.call_later(FAR, _nothing))


def _cancel(handles: list[asyncio.TimerHandle]) -> None:
    handles.pop().cancel()


def _nothing() -> None:
    return
