"""The error card: what people are told of a worker that failed, in text, HTML and panel alike."""

from __future__ import annotations

import time
from typing import NamedTuple

from .engine import BackgroundWorker, RunRecord

__all__ = ["ErrorCard", "card", "local_time", "run_label"]


class ErrorCard(NamedTuple):
    """The last failed run of a worker's present start, and what happens next."""

    #: Count of the runs of this start, from 1; None where the record was dropped, because 100 runs came after it.
    number: int | None
    #: Count of the attempts at this run, from 1; None as above.
    attempt: int | None
    #: When it started, in UTC epoch seconds; None as above.
    started: float | None
    #: The error in one line, as in ``ValueError: boom``.
    line: str
    #: The traceback as Python prints it, with the lines of the cell.
    traceback: str
    #: What the run printed before the error, stdout and stderr in order, in the bounds of a record; "" if nothing.
    output: str
    #: What happens next, as in ``tries again at 14:30:05 (attempt 2 of 5)``; "" if that is not known.
    outlook: str
    #: A later run did not fail.
    recovered: bool

    @property
    def title(self) -> str:
        """Which run failed and when, as in ``run 3, try 2 failed at 14:30:05``, in local time."""
        if self.number is None or self.attempt is None or self.started is None:
            return "an earlier run failed"
        return f"run {run_label(self.number, self.attempt)} failed at {local_time(self.started)}"


def card(worker: BackgroundWorker) -> ErrorCard | None:
    """Return the error card of a worker; None where no run of its present start has failed.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    error = worker.last_error
    if error is None:
        return None
    history = worker.history
    failed: RunRecord | None = next((record for record in reversed(history) if record.error is error), None)
    output = failed.output if failed is not None else None
    return ErrorCard(
        number=failed.number if failed is not None else None,
        attempt=failed.attempt if failed is not None else None,
        started=failed.started if failed is not None else None,
        line=error.line,
        traceback=error.traceback,
        output=output.text() if output is not None else "",
        outlook=worker.outlook,
        recovered=failed is None or failed is not history[-1],
    )


def run_label(number: int, attempt: int) -> str:
    """Return the number of a run for people, as in ``3`` or ``3, try 2``."""
    return str(number) if attempt == 1 else f"{number}, try {attempt}"


def local_time(epoch: float) -> str:
    """Return an instant (UTC epoch seconds) in local time, with the date if it is not today."""
    moment = time.localtime(epoch)
    today = moment[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", moment)
