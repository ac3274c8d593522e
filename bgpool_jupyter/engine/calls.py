"""One call of a callback: its output led into the record, and whatever it raises taken down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import CoroutineType
from typing import Any, NamedTuple

from .coroutines import run_coroutine
from .output import RunCapture, RunOutput
from .runs import DONE, ENDED, FAILED, STOPPED, ErrorInfo

__all__ = ["Report", "Result", "await_captured", "call_captured"]


#: Is told of what a call raised, as text and as it is.
Report = Callable[[ErrorInfo, BaseException], None]


class Result(NamedTuple):
    """How a call ended."""

    value: Any
    error: ErrorInfo | None
    #: "done", "failed", "ended" or "stopped".
    outcome: str


def _returned(value: object) -> Result:
    return Result(value, None, ENDED if value is False else DONE)


def call_captured(
    call: Callable[[], Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
    hand_over: Callable[[Coroutine[Any, Any, Any]], None] | None = None,
) -> Result | None:
    """Call, on this thread, in a copy of its context: what a callback sets there is gone with the run.

    A coroutine that the call returns is given to `hand_over`, and None returned; without one it is run
    here to its end. `report` is called for an error while output is still led away, so that a log handler
    that prints does so into the record.
    """
    return copy_context().run(_call_captured, call, capture, output, report, hand_over)


def _call_captured(
    call: Callable[[], Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
    hand_over: Callable[[Coroutine[Any, Any, Any]], None] | None,
) -> Result | None:
    token = capture.enter(output) if capture is not None and output is not None else None
    try:
        value = call()
        if type(value) is CoroutineType:
            if hand_over is not None:
                hand_over(value)
                return None
            value = run_coroutine(value)
    except SystemExit:
        return Result(None, None, ENDED)
    except BaseException as raised:
        return _failed(raised, capture, report)
    finally:
        if capture is not None and output is not None:
            capture.exit(token)
    return _returned(value)


async def await_captured(
    coroutine: Coroutine[Any, Any, Any],
    capture: RunCapture | None,
    output: RunOutput | None,
    report: Report,
) -> Result:
    """Await a coroutine, on the event loop's thread; a task that is cancelled counts as stopped."""
    token = capture.enter(output) if capture is not None and output is not None else None
    try:
        value = await coroutine
    except asyncio.CancelledError:
        return Result(None, None, STOPPED)
    except SystemExit:
        return Result(None, None, ENDED)
    except BaseException as raised:
        return _failed(raised, capture, report)
    finally:
        if capture is not None and output is not None:
            capture.exit(token)
    return _returned(value)


def _failed(raised: BaseException, capture: RunCapture | None, report: Report) -> Result:
    error = ErrorInfo.of(raised, capture)
    report(error, raised)
    return Result(None, error, FAILED)
