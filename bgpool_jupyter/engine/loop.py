"""The pool's one event loop, on a thread of its own: where coroutines of callbacks run beside each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["LoopThread"]

_logger = logging.getLogger("bgpool_jupyter")


class LoopThread:
    """An event loop on a daemon thread ``bgpool-loop``, which is started with the first coroutine.

    Notes
    -----
    Threads: every method may be called from any thread. Only :meth:`close` blocks.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Guards the first start alone. Whoever holds it calls no code of users.
        self._lock = threading.Lock()

    def run(
        self, coroutine: Coroutine[Any, Any, Any], ended: Callable[[asyncio.Task[Any]], None]
    ) -> Callable[[], None]:
        """Run `coroutine` as a task on the loop; `ended` is called there with the task when it has really ended.

        Returns
        -------
        Callable
            Cancels the task. It may be called from any thread and more than once.
        """
        loop = self._started()
        tasks: list[asyncio.Task[Any]] = []

        def begin() -> None:
            task = loop.create_task(coroutine)
            tasks.append(task)
            task.add_done_callback(ended)

        def cancel() -> None:
            # What is called on the loop keeps its order, so that the task is there.
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108 - tasks is filled on the loop

        loop.call_soon_threadsafe(begin)
        return cancel

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None:
            return loop
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._serve, args=(loop,), name="bgpool-loop", daemon=True)
                self._thread.start()
                self._loop = loop
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
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        ending = _end(loop)
        try:
            asyncio.run_coroutine_threadsafe(ending, loop)
        except RuntimeError:  # it has ended by itself
            ending.close()
        if thread is not threading.current_thread():
            thread.join(timeout)


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel every other task, let them end, and stop the loop."""
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    loop.stop()
