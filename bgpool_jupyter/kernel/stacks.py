"""What runs and jobs in flight do now: their live stacks, as people read them."""

from __future__ import annotations

from ..card import local_time
from ..engine import BackgroundWorker, Job
from ..table import REMARK, clean_text, format_duration
from .reports import LogEntry, running_title

__all__ = ["job_stack", "worker_stack"]

#: Said where a run is in flight and its thread has no frame of its callback: just before or after it, or in a wait.
_NO_FRAME = "(no line of its code is being executed: it begins, ends, or waits in an event loop)"


def worker_stack(worker: BackgroundWorker) -> LogEntry | None:
    """Return where the run in flight of a worker stands, with its age, its progress and remarks; None without one."""
    run = worker.current
    if run is None:
        return None
    title, age = running_title(worker, run)
    lines = [f"── {title}: {age}", worker.stack().rstrip("\n") or _NO_FRAME]
    lines += [f"{REMARK} {clean_text(lint.text)}" for lint in worker.lints()]
    return LogEntry("\n".join(lines), [])


def job_stack(job: Job, now: float) -> LogEntry | None:
    """Return where a job that runs stands, with its age; None if it does not run.

    Parameters
    ----------
    job
        The job.
    now
        The instant by which its age is told, UTC epoch seconds.
    """
    if not job.running or job.started is None:
        return None
    age = format_duration(max(0.0, now - job.started))
    head = f"── {clean_text(job.name)} (job): {local_time(job.started)}, running for {age}"
    return LogEntry(f"{head}\n{job.stack().rstrip() or _NO_FRAME}", [])
