"""Waiting for results: what jobs and workers have in common."""

from __future__ import annotations

import asyncio
import contextlib
from _thread import allocate_lock
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Protocol

from .arguments import check_timeout
from .errors import JobTimeout

__all__ = ["Awaited", "Waiter", "await_until", "wake"]


class Waiter(Protocol):
    """What is released when there may be something new."""

    def release(self) -> object:
        """Wake whoever waits."""


class _LoopWaiter:
    """Wakes a coroutine on another thread's event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def release(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # its loop was closed: nobody waits any more
            return

    def wake(self) -> None:
        """Wake the coroutine, on its loop."""
        if not self.future.done():
            self.future.set_result(None)


#: Seconds between two attempts of who waits to help a pool that has no threads.
_RETRY = 0.05
#: Seconds after which who waits looks whether it came to that meanwhile.
_LOOK = 1.0


def await_until(
    ready: Callable[[], bool], waiters: list[Waiter], starved: Callable[[], bool]
) -> Generator[Any, None, None]:
    """Suspend the coroutine that awaits until `ready()` holds; `starved()` is asked as by who blocks."""
    longest = _RETRY
    while not ready():
        loop = asyncio.get_running_loop()
        waiter = _LoopWaiter(loop)
        waiters.append(waiter)
        timer = loop.call_later(longest, waiter.wake)
        try:
            if not ready():
                yield from waiter.future
                longest = _RETRY if starved() else _LOOK
        finally:
            timer.cancel()
            waiters.remove(waiter)


def wake(waiters: list[Waiter]) -> None:
    """Have everybody look again."""
    for waiter in waiters.copy():
        with contextlib.suppress(RuntimeError):  # a lock that was released already: its owner is on its way
            waiter.release()


class Awaited:
    """What has a result some day, for threads that block and for coroutines: the base of jobs and workers."""

    __slots__ = ()

    #: Those who wait.
    _waiters: list[Waiter]

    def _starved(self) -> bool:
        """Try again to start a thread, where work waits because none could be; return whether that is still so."""
        raise NotImplementedError

    def _inside(self) -> bool:
        """Return whether this thread is inside of a call of the pool, as in a ``__del__``: no result can come then."""
        raise NotImplementedError

    def _has_result(self) -> bool:
        raise NotImplementedError

    def _result(self) -> Any:
        """Return the result, or raise what stands for it."""
        raise NotImplementedError

    def _not_yet(self) -> str:
        """Return what a wait that was too short is told, in one sentence."""
        raise NotImplementedError

    def _wait(self, timeout: float | None) -> None:
        """Block until there is a result.

        After a moment `_starved()` is asked, and again every second, or more often while it is true: asking helps.

        The side that makes a result does so first and then wakes the waiters; this side lists its waiter first and
        then looks. One of the two always sees the other. Who waits for a task to begin waits for these lines too,
        as a pool thread needs the interpreter: so there are few before it is let go.
        """
        if timeout is not None:
            timeout = check_timeout(timeout)
        if self._has_result():
            return
        if self._inside():
            raise JobTimeout(self._not_yet())
        end = None if timeout is None else monotonic() + timeout
        waiter = allocate_lock()
        waiter.acquire()
        waiters = self._waiters
        waiters.append(waiter)
        longest = _RETRY
        try:
            while not self._has_result():
                wait = longest if end is None else min(longest, end - monotonic())
                if wait <= 0:
                    raise JobTimeout(self._not_yet())
                if not waiter.acquire(timeout=wait):
                    longest = _RETRY if self._starved() else _LOOK
        finally:
            waiters.remove(waiter)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in a coroutine, as ``await job``; the rest is as in ``result()``."""
        yield from await_until(self._has_result, self._waiters, self._starved)
        return self._result()
