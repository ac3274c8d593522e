"""One call of a callback: its output led into the record, and whatever it raises taken down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import Any, NamedTuple

from .coroutines import run_coroutine
from .loop import LoopTask, LoopThread
from .output import RunCapture, RunOutput
from .runs import DONE, ENDED, FAILED, STOPPED, ErrorInfo

__all__ = ["HandOver", "Report", "Result", "call_captured", "hand_to_loop"]


#: Is told, after what the caller gave for it, what a call raised, as text and as it is.
Report = Callable[..., None]


#: Takes over a coroutine, given after what the caller gave for it; False if it cannot.
HandOver = Callable[..., bool]


class Result(NamedTuple):
    """How a call ended."""

    value: Any
    error: ErrorInfo | None
    #: "done", "failed", "ended" or "stopped".
    outcome: str
    #: The SystemExit that ended it, if one did. Not to be kept, as its frames hold their data.
    left: SystemExit | None = None


_NOTHING = Result(None, None, DONE)


def call_captured(
    call: Callable[[], Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
    hand_over: HandOver | None = None,
    *what: object,
) -> Result | None:
    """Call, on this thread, in a copy of its context: what a callback sets there is gone with the run.

    A coroutine that the call returns is given to `hand_over`, and None returned if that takes it; otherwise it
    is run here to its end. `report` is called for an error while output is still led away, so that a log handler
    that prints does so into the record.
    """
    return copy_context().run(_call_captured, call, capture, output, report, hand_over, what)


def _call_captured(
    call: Callable[[], Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
    hand_over: HandOver | None,
    what: tuple[object, ...],
) -> Result | None:
    token = capture.enter(output) if capture is not None and output is not None else None
    try:
        value = call()
        if type(value) is CoroutineType:
            if hand_over is not None and hand_over(*what, value):
                return None
            value = run_coroutine(value)
    except BaseException as raised:
        return _raised(raised, capture, report, *what)
    finally:
        if capture is not None and output is not None:
            capture.exit(token)
    return _NOTHING if value is None else Result(value, None, ENDED if value is False else DONE)


async def await_captured(
    coroutine: Coroutine[Any, Any, Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
) -> Result:
    """Do the same with a coroutine, on the event loop's thread; a task that is cancelled counts as stopped."""
    token = capture.enter(output) if capture is not None and output is not None else None
    try:
        value = await coroutine
    except asyncio.CancelledError:
        return Result(None, None, STOPPED)
    except BaseException as raised:
        return _raised(raised, capture, report)
    finally:
        if capture is not None and output is not None:
            capture.exit(token)
    return _NOTHING if value is None else Result(value, None, ENDED if value is False else DONE)


def hand_to_loop(
    loop: LoopThread,
    coroutine: Coroutine[Any, Any, Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
    ended: Callable[[Result], None],
) -> LoopTask | None:
    """Let a coroutine go on on the event loop, so that this thread is free for others.

    `ended` is called there with what became of it. None is returned, and nothing done, if no thread is to be
    had for the loop, or it was closed.
    """

    def over(task: asyncio.Task[Result]) -> None:
        coroutine.close()  # where the task was cancelled before it began, nobody has awaited it
        ended(Result(None, None, STOPPED) if task.cancelled() else task.result())

    awaiting = await_captured(coroutine, capture, output, report)
    try:
        return loop.run(awaiting, over)
    except RuntimeError:
        awaiting.close()
        return None


def _raised(raised: BaseException, capture: RunCapture | None, report: Report, *what: object) -> Result:
    if isinstance(raised, SystemExit):
        return Result(None, None, ENDED, raised)
    error = ErrorInfo.of(raised, capture)
    report(*what, error, raised)
    return Result(None, error, FAILED)
