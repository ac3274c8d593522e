"""The pool's one event loop, on a thread of its own: where coroutines of callbacks run beside each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from _thread import get_ident
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

__all__ = ["LoopTask", "LoopThread"]

_logger = logging.getLogger("bgpool_jupyter")


class LoopTask:
    """A coroutine that was handed to the loop.

    Notes
    -----
    Threads: may be used from any thread; returns at once.
    """

    __slots__ = ("_loop", "task", "thread")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: None until the loop has taken it up.
        self.task: asyncio.Task[Any] | None = None
        #: Identity of the loop's thread; None until then.
        self.thread: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the coroutine was cancelled while it ran, whatever it made of that."""
        return self.task is not None and self.task.cancelling() > 0

    def cancel(self) -> None:
        """Cancel the task. May be called more than once."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        # What is called on the loop keeps its order, so that the task is there.
        if self.task is not None:
            self.task.cancel()


class LoopThread:
    """An event loop on a daemon thread ``bgpool-loop``, which is started with the first coroutine.

    Notes
    -----
    Threads: every method may be called from any thread. Only :meth:`close` blocks.
    """

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        # The pool's own. It guards the fields here, and the order of what is posted to the loop: the end comes last.
        # Another lock might be taken in another order by a __del__ that closes the pool.
        self._lock = lock

    def run(self, coroutine: Coroutine[Any, Any, Any], ended: Callable[[asyncio.Task[Any]], None]) -> LoopTask:
        """Run `coroutine` as a task on the loop; `ended` is called there with the task when it has really ended.

        Raises
        ------
        RuntimeError
            If the loop was closed, or the system has no thread for it; the coroutine was not touched.
        """
        with self._lock:
            loop = self._started()
            handle = LoopTask(loop)

            def begin() -> None:
                handle.thread = get_ident()
                handle.task = task = loop.create_task(coroutine)
                task.add_done_callback(ended)

            loop.call_soon_threadsafe(begin)
        return handle

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            message = "the event loop of the pool was closed"
            raise RuntimeError(message)
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._serve, args=(loop,), name="bgpool-loop", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                loop.close()
                raise
            self._loop, self._thread = loop, thread
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while True:
                try:
                    loop.run_forever()
                except BaseException:
                    # A task that a callback left behind raised SystemExit or KeyboardInterrupt, which
                    # asyncio lets through. It must not take the other coroutines along.
                    _logger.exception("a task on the event loop raised")
                else:
                    return
        finally:
            loop.close()

    def close(self, timeout: float) -> None:
        """Cancel what runs, end the loop and its thread; wait at most `timeout` seconds. May be called again."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
            thread = self._thread
            if loop is not None:
                ending = _end(loop)
                try:
                    asyncio.run_coroutine_threadsafe(ending, loop)
                except RuntimeError:  # it has ended by itself
                    ending.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel every other task, let them end, and stop the loop."""
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # what became of a task that has ended in this very round is told in the next one
    await loop.shutdown_asyncgens()
    loop.stop()
