"""Coroutines that are run to their end on the calling thread: in virtual time, and where the pool has no loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

__all__ = ["close_runner", "run_coroutine"]

_local = threading.local()


def run_coroutine(coroutine: Coroutine[Any, Any, Any], context: Context | None = None) -> Any:
    """Run `coroutine` to its end on this thread and return its value.

    Notes
    -----
    Threads: blocks. The event loop is kept for the thread's next coroutine, because making one
    costs about ten times as much as running a short coroutine.
    """
    if context is None:
        context = copy_context()  # not the one that the thread's first coroutine had
    if asyncio._get_running_loop() is not None:
        return _run_beside(coroutine, context)
    runner: asyncio.Runner | None = getattr(_local, "runner", None)
    if runner is None:
        runner = _local.runner = asyncio.Runner()
    return runner.run(coroutine, context=context)


def _run_beside(coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Run a coroutine on a thread of its own while this one, whose event loop runs already, waits: as in a notebook."""
    outcome: list[Any] = []

    def run() -> None:
        with asyncio.Runner() as runner:
            try:
                outcome[:] = [runner.run(coroutine, context=context), None]
            except BaseException as error:
                outcome[:] = [None, error]

    thread = threading.Thread(target=run, name="bgpool-coroutine", daemon=True)
    thread.start()
    thread.join()
    value, error = outcome
    if error is not None:
        raise error
    return value


def close_runner() -> None:
    """Close the event loop of this thread, if it has one. A pool thread calls it before it ends."""
    runner: asyncio.Runner | None = getattr(_local, "runner", None)
    if runner is not None:
        del _local.runner
        runner.close()
