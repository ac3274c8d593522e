"""What runs and jobs in flight do now: their live stacks, as people read them."""

from __future__ import annotations

import selectors
import sys
import traceback
from types import CodeType, FrameType

from ..card import local_time
from ..engine import BackgroundWorker, Job
from ..engine.output import RunCapture
from ..engine.runs import is_ours, with_labels
from ..table import REMARK, clean_text, format_duration
from .reports import LogEntry, running_title

__all__ = ["job_stack", "worker_stack"]

#: Said where a run is in flight and its thread has no frame of its callback: just before or after it, or in a wait.
_NO_FRAME = "(no line of its code is being executed: it begins, ends, or waits in an event loop)"
_EXECUTE: CodeType = Job.execute.__code__


def worker_stack(worker: BackgroundWorker) -> LogEntry | None:
    """Return where the run in flight of a worker stands, with its age, its progress and remarks; None without one."""
    run = worker.current
    if run is None:
        return None
    title, age = running_title(worker, run)
    lines = [f"── {title}: {age}", worker.stack().rstrip("\n") or _NO_FRAME]
    lines += [f"{REMARK} {clean_text(lint.text)}" for lint in worker.lints()]
    return LogEntry("\n".join(lines), [])


def job_stack(job: Job, capture: RunCapture | None, now: float) -> LogEntry | None:
    """Return where a job that runs stands, with its age; None if it does not run.

    Parameters
    ----------
    job
        The job.
    capture
        Knows the names of cells.
    now
        The instant by which its age is told, UTC epoch seconds.
    """
    if not job.running or job.started is None:
        return None
    shown = _frames(job)
    text = with_labels("".join(traceback.StackSummary.extract(iter(shown)).format()), capture)
    age = format_duration(max(0.0, now - job.started))
    head = f"── {clean_text(job.name)} (job): {local_time(job.started)}, running for {age}"
    return LogEntry(f"{head}\n{text.rstrip() or _NO_FRAME}", [])


def _frames(job: Job) -> list[tuple[FrameType, int]]:
    """Return the frames of the job's task, outermost first.

    A job does not know its thread. The thread that executes it is the one in which `execute` of this job stands.
    """
    for frame in sys._current_frames().values():  # noqa: SLF001 - there is no other way
        frames: list[tuple[FrameType, int]] = []
        for inner, line in traceback.walk_stack(frame):
            if inner.f_code is _EXECUTE and inner.f_locals.get("self") is job:
                return _without_ours(frames[::-1])
            frames.append((inner, line))
    return []


def _without_ours(frames: list[tuple[FrameType, int]]) -> list[tuple[FrameType, int]]:
    """Leave out what of this package or of asyncio leads to the task, and what of them it called last."""
    own = [k for k, (frame, _) in enumerate(frames) if not _is_waiting_or_ours(frame.f_code.co_filename)]
    return frames[own[0] : own[-1] + 1] if own else []


def _is_waiting_or_ours(filename: str) -> bool:
    return is_ours(filename) or filename == selectors.__file__
