"""What ``%bgpool`` shows beside the workers: runs, jobs, and the log of a worker's last runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

from ..card import card, local_time, run_label
from ..engine import (
    BackgroundWorker,
    ErrorInfo,
    EventKind,
    Job,
    PoolEvent,
    RunningRun,
    RunOutput,
    RunRecord,
    WorkerState,
)
from ..engine.arguments import safe_repr
from ..overview import orphan_text
from ..table import (
    NOTHING,
    REMARK,
    SHAPES,
    Column,
    clean_text,
    format_duration,
    html_table,
    text_table,
)
from .ownership import place

__all__ = [
    "OUTCOME_SHAPES",
    "EventTable",
    "JobTable",
    "LogEntry",
    "PreviewTable",
    "RunTable",
    "job_log",
    "last_line",
    "quoted_name",
    "running_title",
    "worker_log",
]

_MILLISECOND = 1000  # in microseconds

#: A shape for each outcome of a run and each state of a job.
OUTCOME_SHAPES = {**SHAPES, "done": "✔", "ended": "■", "cancelled": "■", "overdue": "◔", "lost": "✖"}

_EVENT_SHAPES = {
    EventKind.REGISTERED: "○",
    EventKind.STARTED: "●",
    EventKind.RUN: "✔",
    EventKind.FAILED: "✖",
    EventKind.OVERDUE: "◔",
    EventKind.MISSED: "◌",
    EventKind.PAUSED: "‖",
    EventKind.UNPAUSED: "●",
    EventKind.STOPPED: "■",
    EventKind.REMOVED: "■",
}

RUN_COLUMNS = (
    Column("name", 32),
    Column("run", 9, right=True),
    Column("started", 19),
    Column("took", 9, right=True),
    Column("outcome", 12, state=True),
    Column("value", 40),
    Column("output", 40),
    Column("error", 48),
)
EVENT_COLUMNS = (
    Column("time", 19),
    Column("name", 32),
    Column("event", 12, state=True),
    Column("text", 80),
)
PREVIEW_COLUMNS = (
    Column("name", 32),
    Column("schedule", 40),
    Column("next runs", 36),
    Column("if", 11),
)
JOB_COLUMNS = (
    Column("id", 6, right=True),
    Column("name", 32),
    Column("state", 12, state=True),
    Column("started", 19),
    Column("took", 9, right=True),
    Column("error", 48),
)


T = TypeVar("T")


class _Report(list[T]):
    """A list that a notebook or a terminal shows as a table; the same for equal contents."""

    columns: ClassVar[Sequence[Column]]
    #: Whether the last rows are shown where there are too many.
    latest: ClassVar[bool] = False

    def __init__(self, items: Iterable[T], empty: str) -> None:
        super().__init__(items)
        #: What is shown instead of a table without rows.
        self.empty = empty

    def _rows(self) -> Sequence[tuple[str, ...]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return text_table(self._rows(), self.columns, self.empty, latest=self.latest)

    def _repr_html_(self) -> str:
        return html_table(self._rows(), self.columns, self.empty, latest=self.latest)


class RunTable(_Report[RunRecord]):
    """Records of runs, with the table of them as their text.

    Parameters
    ----------
    runs
        Workers' names with a record each.
    empty
        What is shown instead of a table without rows.
    """

    columns = RUN_COLUMNS
    latest = True

    def __init__(self, runs: Iterable[tuple[str, RunRecord]] = (), empty: str = "no runs yet") -> None:
        pairs = list(runs)
        super().__init__((record for _, record in pairs), empty)
        self.names = [name for name, _ in pairs]

    def _rows(self) -> list[tuple[str, ...]]:
        return [_run_row(name, record) for name, record in zip(self.names, self, strict=False)]


def _run_row(name: str, record: RunRecord) -> tuple[str, ...]:
    return (
        clean_text(name),
        run_label(record.number, record.attempt),
        local_time(record.started),
        format_duration(record.duration),
        f"{OUTCOME_SHAPES.get(record.outcome, '·')} {record.outcome}",
        NOTHING if record.value is None else clean_text(safe_repr(record.value)),
        clean_text(last_line(record.output.text())) if record.output is not None else "",
        clean_text(record.error.line) if record.error is not None else "",
    )


def last_line(text: str) -> str:
    """Return the last line of what a run printed."""
    return text.rstrip().rpartition("\n")[2]


class EventTable(_Report[PoolEvent]):
    """Events of a pool, with the table of them as their text.

    Parameters
    ----------
    events
        The rows.
    empty
        What is shown instead of a table without rows.
    """

    columns = EVENT_COLUMNS
    latest = True

    def __init__(self, events: Iterable[PoolEvent] = (), empty: str = "no events yet") -> None:
        super().__init__(events, empty)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                local_time(event.time),
                clean_text(event.name),
                f"{_EVENT_SHAPES[event.kind]} {event.kind.value}",
                clean_text(event.text),
            )
            for event in self
        ]


class PreviewTable(_Report[datetime]):
    """Instants at which workers will run, or would if they were started or resumed now, with the table of them.

    Parameters
    ----------
    previews
        Workers with their instants.
    empty
        What is shown instead of a table without rows.
    """

    columns = PREVIEW_COLUMNS

    def __init__(
        self, previews: Iterable[tuple[BackgroundWorker, list[datetime]]] = (), empty: str = "no runs to come"
    ) -> None:
        pairs = [(worker, instant) for worker, instants in previews for instant in instants]
        super().__init__((instant for _, instant in pairs), empty)
        self.workers = [worker for worker, _ in pairs]
        self._provided = [_provided(worker) for worker in self.workers]  # as it was when the instants were

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (clean_text(worker.name), worker.schedule, _dated(instant), provided)
            for worker, instant, provided in zip(self.workers, self, self._provided, strict=False)
        ]


def _provided(worker: BackgroundWorker) -> str:
    """Return what has to happen now so that a preview comes true."""
    if not worker.running:
        return "started now"
    return "resumed now" if worker.state is WorkerState.PAUSED else ""


def _dated(instant: datetime) -> str:
    """Return an instant with its weekday and time zone; milliseconds only where there are some."""
    fraction = f".{instant.microsecond // 1000:03}" if instant.microsecond >= _MILLISECOND else ""
    return f"{instant:%a %Y-%m-%d %H:%M:%S}{fraction} {instant:%Z}"


class JobTable(_Report[Job]):
    """Jobs, with the table of them as their text.

    Parameters
    ----------
    jobs
        The rows.
    empty
        What is shown instead of a table without rows.
    """

    columns = JOB_COLUMNS

    def __init__(self, jobs: Iterable[Job] = (), empty: str = "no jobs yet") -> None:
        super().__init__(jobs, empty)

    def _rows(self) -> list[tuple[str, ...]]:
        return [_job_row(job) for job in self]


def _job_row(job: Job) -> tuple[str, ...]:
    state = job.state.value
    return (
        str(job.id),
        clean_text(job.name),
        f"{OUTCOME_SHAPES.get(state, '·')} {state}",
        NOTHING if job.started is None else local_time(job.started),
        format_duration(_took(job)),
        clean_text(job.error.line) if job.error is not None else "",
    )


def _took(job: Job) -> float | None:
    """Return the seconds that a job took, or has taken up to now; None before its start."""
    return None if job.started is None else (job.ended or time.time()) - job.started


class LogEntry(NamedTuple):
    """One run, or one job, for people to read."""

    text: str
    #: Rich displays of the run, each a mapping from MIME type to data, oldest first.
    displays: list[dict[str, Any]]


def worker_log(worker: BackgroundWorker, count: int) -> list[LogEntry]:
    """Return the last `count` runs of a worker with their output and errors, oldest first, then the run in flight.

    Below the last run stands what happens next if it failed; then counts that are in no table, what its `on_event`
    printed, why the worker paused itself, and remarks.
    """
    title = _title(worker)
    where = f", from {place(worker)}" if worker.cell is not None else ""
    history = worker.history
    entries = [
        _entry(
            f"{title}, run {run_label(record.number, record.attempt)}",
            f"{local_time(record.started)}, {format_duration(record.duration)}, {record.outcome}{where}",
            record.output,
            record.error,
            _following(worker) if record is history[-1] and record.error is not None else "",
        )
        for record in history[-count:]
    ]
    run = worker.current
    if run is not None:
        entries.append(_entry(*running_title(worker, run), run.output, None))
    if not entries:
        entries.append(LogEntry(f"── {title}: no run yet", []))
    entries = entries[-count:]
    rarely = _rare_counts(worker)
    if rarely:
        entries.append(LogEntry(f"── {title}: {rarely} since its start", []))
    if worker.event_output is not None:
        entries.append(_entry(f"{title}, on_event", "what it printed", worker.event_output, None))
    if worker.pause_reason:
        way_out = f"%bgpool resume {quoted_name(worker)} lets it go on"
        entries.append(LogEntry(f"── {title}: {clean_text(worker.pause_reason)}; {way_out}", []))
    entries += [LogEntry(f"── {title}: {REMARK} {clean_text(lint.text)}", []) for lint in worker.lints()]
    if worker.orphan:
        entries.append(LogEntry(f"── {title}: {REMARK} {orphan_text(worker)}", []))
    return entries


def _rare_counts(worker: BackgroundWorker) -> str:
    """Return the counts that the table has no column for; "" if all are 0."""
    counts = {
        "retried": worker.retry_count,
        "overdue": worker.overdue_count,
        "skipped while it was paused": worker.skipped_count,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _title(worker: BackgroundWorker) -> str:
    return f"{clean_text(worker.name)} ({worker.schedule})"


def quoted_name(worker: BackgroundWorker) -> str:
    """Return the name as a word of a magic's line."""
    return shlex.quote(clean_text(worker.name))


def _following(worker: BackgroundWorker) -> str:
    """Return what happens after a run that failed, and where its debugger is; "" if the worker was started anew."""
    found = card(worker)
    if found is None or found.recovered:
        return ""
    # Why it paused itself stands below, with the way out.
    outlook = "" if worker.pause_reason or not found.outlook else f"next: {clean_text(found.outlook)}; "
    return f"{outlook}%bgdebug {quoted_name(worker)} opens the debugger"


def running_title(worker: BackgroundWorker, run: RunningRun) -> tuple[str, str]:
    """Return the title of a run in flight, and since when, how long and how far."""
    title = f"{_title(worker)}, run {run_label(run.number, run.attempt)}"
    return title, f"{local_time(run.started)}, running for {format_duration(run.elapsed())}{_progress(run)}"


def _progress(run: RunningRun) -> str:
    """Return how far a run says it has come, and that it is overdue, for the end of a line."""
    said = run.progress
    parts = []
    if said is not None:
        fraction = said.fraction
        parts.append(f"{said.done:g} done" if fraction is None else f"{fraction:.0%}".replace("%", " %"))
        if said.text:
            parts.append(clean_text(said.text))
    if run.overdue:
        parts.append("overdue")
    return "".join(f", {part}" for part in parts)


def job_log(job: Job) -> LogEntry:
    """Return a job with its output and its error."""
    if job.started is None:
        when = job.state.value
    else:
        when = f"{local_time(job.started)}, {format_duration(_took(job))}, {job.state.value}"
    return _entry(f"{clean_text(job.name)} (job)", when, job.output, job.error)


def _entry(title: str, when: str, output: RunOutput | None, error: ErrorInfo | None, following: str = "") -> LogEntry:
    lines = [f"── {title}: {when}"]
    text = output.text() if output is not None else ""
    if text:
        lines.append(text.rstrip("\n"))
    if error is not None:
        lines.append(error.traceback.rstrip("\n"))
    if following:
        lines.append(following)
    rich = [data for data in output.displays if data.keys() - {"text/plain"}] if output is not None else []
    return LogEntry("\n".join(lines), rich)
