"""A worker as it was at one moment."""

from __future__ import annotations

from typing import NamedTuple

from .runs import Progress

__all__ = ["WorkerSnapshot"]


class WorkerSnapshot(NamedTuple):
    """A worker as it was at one moment. Instants are UTC epoch seconds."""

    id: int
    name: str
    #: For people, as in "every 5 s".
    schedule: str
    #: One of "new", "waiting", "running", "paused", "failed", "stopping", "stopped".
    status: str
    #: A run is in flight.
    executing: bool
    #: When the next run is due; None if none is.
    next_run: float | None
    run_count: int
    failure_count: int
    missed_count: int
    #: Seconds the last run took; None before the first has ended.
    last_duration: float | None
    #: Why the worker paused itself, or the last run's error in one line; "" if there is neither.
    last_error: str
    #: When the run in flight started; None if there is none.
    since: float | None
    is_actor: bool
    #: Started and not ended.
    running: bool
    #: Execution count of the cell that made the worker, if a cell did.
    cell: int | None
    #: How far the run in flight says it has come.
    progress: Progress | None = None
    #: The kinds of what :meth:`BackgroundWorker.lints` finds.
    lints: tuple[str, ...] = ()
    #: Why nothing in the notebook stands for the worker any more; "" where that is not known.
    orphan: str = ""
