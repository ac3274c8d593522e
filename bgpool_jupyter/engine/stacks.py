"""What is a run doing? Its live stack, as text."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from .runs import is_ours, with_labels

if TYPE_CHECKING:
    from .loop import LoopTask
    from .output import RunCapture

__all__ = ["InFlight", "stack_text"]


class InFlight(Protocol):
    """What is executed somewhere: a run or a job."""

    #: Its task on the event loop; None if it is executed by a thread.
    handle: LoopTask | None
    #: Identity of that thread.
    thread: int | None


#: Most frames of a stack that are shown; the innermost ones.
_MOST_FRAMES = 60


def stack_text(run: InFlight, capture: RunCapture | None) -> str:
    """Return the stack of a run or job in flight, outermost frame first, without this package; "" if it has none.

    Notes
    -----
    Threads: may be called from any thread; returns at once. It is a picture of a moving thing: what is shown was
    true at one moment.
    """
    handle = run.handle
    frames = _of_thread(run.thread) if handle is None else _of_task(handle.task, handle.thread)
    shown = frames[-_MOST_FRAMES:]
    if not shown:
        return ""
    summary = traceback.StackSummary.extract(iter(shown), limit=None, lookup_lines=True)
    return with_labels("".join(summary.format()), capture)


def _of_thread(identity: int | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a thread from the callback on, outermost first."""
    frame = None if identity is None else sys._current_frames().get(identity)
    frames = list(traceback.walk_stack(frame)) if frame is not None else []
    return _inner(frames[::-1])


def _of_task(task: asyncio.Task[Any] | None, thread: int | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a task and of the tasks that it awaits, outermost first; `thread` is that of the loop."""
    frames: list[tuple[FrameType, int]] = []
    while isinstance(task, asyncio.Task):
        if held_up := _of_step(task, thread):
            return _inner(frames) + held_up
        awaited: Any = task.get_coro()
        while awaited is not None:
            frame = next((f for kind in ("cr", "gi", "ag") if (f := getattr(awaited, f"{kind}_frame", None))), None)
            if frame is not None and frame.f_lineno is not None:
                frames.append((frame, frame.f_lineno))
            awaited = next(
                (a for kind in ("cr_await", "gi_yieldfrom", "ag_await") if (a := getattr(awaited, kind, None))), None
            )
        task = getattr(task, "_fut_waiter", None)
    return _inner(frames)


def _of_step(task: asyncio.Task[Any], thread: int | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a task that is executed now, and holds up the loop; [] for one that awaits.

    A coroutine that is executed does not tell what it awaits: its frames stand on the thread.
    """
    loop = task.get_loop()
    if asyncio.current_task(loop) is not task:
        return []
    frames = _of_thread(thread)
    return frames if asyncio.current_task(loop) is task else []  # it has gone on meanwhile


def _inner(frames: list[tuple[FrameType, int]]) -> list[tuple[FrameType, int]]:
    """Leave out what leads to the callback, and what of this package or of asyncio's waiting it called last."""
    files = [os.fspath(frame.f_code.co_filename) for frame, _ in frames]
    first = next((k for k, file in enumerate(files) if is_ours(file)), None)
    if first is None:
        return frames
    while first < len(files) and is_ours(files[first]):
        first += 1
    last = len(files)
    while last > first and is_ours(files[last - 1]):
        last -= 1
    return frames[first:last]
