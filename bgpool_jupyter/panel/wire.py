"""The messages that the kernel sends to the page: rows, trends and the detail of one worker.

Rows travel as one JSON text in a binary buffer. The widget's own encoding would walk every cell in
Python and hold the interpreter for one long dump; here it is let go after every few hundred rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..card import card
from ..engine import BackgroundWorker, Progress, RunOutput, RunRecord, WorkerSnapshot
from ..engine.arguments import encodable
from ..table import clean_text

__all__ = ["ROW_FIELDS", "TREND_LENGTH", "detail", "detail_key", "encode", "remarks", "row", "stack", "trend"]

#: The values of a row, in their order. The page learns it from each snapshot. The last three are rare: they are
#: left out of a row in which all three are empty.
ROW_FIELDS = (
    "id",
    "name",
    "schedule",
    "status",
    "executing",
    "next_run",
    "run_count",
    "failure_count",
    "missed_count",
    "last_duration",
    "last_error",
    "since",
    "running",
    "is_actor",
    "cell",
    "progress",
    "lints",
    "orphan",
)

#: Most runs in the little picture of a row.
TREND_LENGTH = 32
#: Most runs in the detail of a worker.
DETAIL_RUNS = 30
#: Most characters of output in one detail, and of one run in it.
DETAIL_TEXT = 32_000
RUN_TEXT = 12_000
#: Most characters of what on_event printed: room of its own, so that runs which print much do not push it out.
EVENT_TEXT = 8_000
#: Most characters of the pictures (base64) in one detail.
DETAIL_IMAGES = 600_000
MAX_ERROR_LINE = 300
MAX_NOTE = 200
#: Most characters of a traceback, of what the failed run printed, and of a stack: their ends.
MAX_TRACEBACK = 16_000
CARD_TEXT = 4_000
MAX_STACK = 16_000
#: Most characters of a sentence about a worker, and of the text of a progress in a row.
MAX_SENTENCE = 500
MAX_PROGRESS = 80
#: Most lints of a worker.
MAX_LINTS = 8
#: Numbers of steps below this one are written out.
_PLAIN = 1e12
_ROWS_A_DUMP = 250


def row(snapshot: WorkerSnapshot) -> tuple[Any, ...]:
    """Return the values of a worker, in the order of :data:`ROW_FIELDS`; instants in epoch seconds."""
    values = (
        snapshot.id,
        snapshot.name,
        snapshot.schedule,
        snapshot.status,
        int(snapshot.executing),
        None if snapshot.next_run is None else round(snapshot.next_run, 3),
        snapshot.run_count,
        snapshot.failure_count,
        snapshot.missed_count,
        None if snapshot.last_duration is None else _figures(snapshot.last_duration),
        _line(snapshot.last_error, MAX_ERROR_LINE) if snapshot.last_error else "",
        None if snapshot.since is None else round(snapshot.since, 3),
        int(snapshot.running),
        int(snapshot.is_actor),
        snapshot.cell,
    )
    if snapshot.progress is None and not snapshot.lints and not snapshot.orphan:
        return values
    kinds = [kind[:MAX_PROGRESS] for kind in snapshot.lints[:MAX_LINTS]]
    return (*values, _progress(snapshot.progress), kinds, _line(snapshot.orphan, MAX_ERROR_LINE))


def _progress(said: Progress | None) -> tuple[float | None, str] | None:
    """Return how far a run says it has come, from 0 to 1 (None: it cannot be told), and its words."""
    if said is None:
        return None
    fraction = said.fraction
    words = _number(said.done)
    if said.total is not None:
        words += f"/{_number(said.total)}"
    if said.text:
        words += f" {_line(said.text, MAX_PROGRESS)}"
    return None if fraction is None else round(fraction, 3), words


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) and abs(value) < _PLAIN else f"{value:.4g}"


def _figures(seconds: float) -> float:
    """Return a duration with three figures: more are not shown, and would be sent."""
    if seconds <= 0 or not math.isfinite(seconds):
        return 0.0
    return round(seconds, 2 - math.floor(math.log10(seconds)))


def encode(head: dict[str, Any], snapshots: Iterable[WorkerSnapshot]) -> bytes:
    """Return one JSON object as bytes: the entries of `head`, and the rows.

    Notes
    -----
    Threads: may be called from any thread. The interpreter is let go between pieces, so that the
    workers of a large pool are not late because somebody looks at them.
    """
    start = json.dumps(head, allow_nan=False)
    return b"".join([start[:-1].encode(), b', "rows": [', b",".join(_pieces(snapshots)), b"]}"])


def _pieces(snapshots: Iterable[WorkerSnapshot]) -> Iterator[bytes]:
    piece: list[tuple[Any, ...]] = []
    for snapshot in snapshots:
        piece.append(row(snapshot))
        if len(piece) == _ROWS_A_DUMP:
            yield _dump(piece)
            piece = []
    if piece:
        yield _dump(piece)


def _dump(rows: Sequence[tuple[Any, ...]]) -> bytes:
    return json.dumps(rows, allow_nan=False, separators=(",", ":"))[1:-1].encode()


def trend(history: Sequence[RunRecord]) -> list[tuple[float, int]]:
    """Return the last runs for the little picture: the duration in seconds, and whether the run failed."""
    return [(_figures(run.duration), int(run.outcome in ("failed", "overdue"))) for run in history[-TREND_LENGTH:]]


def detail_key(worker: BackgroundWorker) -> tuple[Any, ...]:
    """Return a value that is another one when the detail of the worker would be."""
    history, current = worker.history, worker.current
    output = None if current is None else current.output
    last = history[-1] if history else None
    heard = worker.event_output
    return (
        # Of the last record what no other one has: the object itself is made anew by each look at the history.
        None if last is None else (last.number, last.attempt, last.started, last.ended, last.outcome),
        None if last is None or last.output is None else last.output.version,  # finished adds to it
        len(history),
        None if current is None else (current.number, current.attempt, current.started),
        None if output is None else output.version,
        None if heard is None else (id(heard), heard.version),
        worker.last_error,
        worker.source,
    )


def detail(worker: BackgroundWorker) -> dict[str, Any]:
    """Return what the page shows of one worker, newest run first, in bounds.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    budget = _Budget()
    current = worker.current
    now: dict[str, Any] | None = None
    if current is not None:
        now = {
            "number": current.number,
            "attempt": current.attempt,
            "started": current.started,
            "outcome": "running",
            "overdue": current.overdue,
        }
        now |= budget.take(current.output)
    runs = []
    for run in reversed(worker.history[-DETAIL_RUNS:]):
        seen = {
            "number": run.number,
            "attempt": run.attempt,
            "started": run.started,
            "duration": _figures(run.duration),
            "outcome": run.outcome,
        }
        runs.append(seen | budget.take(run.output) | {"note": _note(run)})
    heard = _Budget(EVENT_TEXT, budget.images)
    events = heard.take(worker.event_output)
    return {
        "worker": worker.id,
        "current": now,
        "runs": runs,
        "events": events if events["text"] or events.get("images") else None,
        "error": _card(worker),
        "source": None if worker.source is None else encodable(worker.source),
        "cut": budget.cut or heard.cut,
    }


def _card(worker: BackgroundWorker) -> dict[str, Any] | None:
    """Return the error card in bounds; None if no run of this start has failed."""
    known = card(worker)
    if known is None:
        return None
    return {
        "number": known.number,
        "attempt": known.attempt,
        "started": known.started,
        "line": _line(known.line, MAX_SENTENCE),
        "traceback": _end(known.traceback, MAX_TRACEBACK),
        "output": _end(known.output, CARD_TEXT),
        "recovered": known.recovered,
    }


def remarks(worker: BackgroundWorker) -> dict[str, Any]:
    """Return what looks wrong with a worker, in sentences, and what happens next.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    lints = [(lint.kind[:MAX_PROGRESS], _line(lint.text, MAX_SENTENCE)) for lint in worker.lints()[:MAX_LINTS]]
    return {"worker": worker.id, "outlook": _line(worker.outlook, MAX_SENTENCE), "lints": lints}


def stack(worker: BackgroundWorker) -> dict[str, Any]:
    """Return where the run in flight stands; a text that is empty if none is in flight, or it has no frames.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    current = worker.current
    if current is None:
        return {"worker": worker.id, "run": None, "text": ""}
    run = {"number": current.number, "attempt": current.attempt, "started": current.started, "outcome": "running"}
    return {"worker": worker.id, "run": run, "text": _end(worker.stack(), MAX_STACK)}


def _line(text: str, room: int) -> str:
    """Return the start of a text in one line, in which nothing is hidden and nothing turns the writing direction."""
    return clean_text(text[:room])[:room]


def _end(text: str, room: int) -> str:
    """Return the end of a text, with a first line that says what is missing."""
    return text if len(text) <= room else f"… {len(text) - room:,} characters before\n{text[-room:]}"


def _note(run: RunRecord) -> str:
    """Return the error of a run, or its value if it is a plain one: the repr of anything else may be slow or large."""
    if run.error is not None:
        return _line(run.error.line, MAX_NOTE)
    if run.value is None or type(run.value) not in {bool, int, float, complex, str}:
        return ""
    if type(run.value) is int and run.value.bit_length() > MAX_NOTE:
        return "a large number"
    return repr(run.value[:MAX_NOTE] if type(run.value) is str else run.value)


class _Budget:
    """How much text and how many pictures still go into a detail."""

    def __init__(self, text: int = DETAIL_TEXT, images: int = DETAIL_IMAGES) -> None:
        self.text = text
        self.images = images
        self.cut = False

    def take(self, output: RunOutput | None) -> dict[str, Any]:
        """Return the end of a run's text and its pictures, as much as there is room for."""
        if output is None or output.empty:
            return {"text": ""}
        text = output.text()
        room = min(RUN_TEXT, self.text)
        if len(text) > room:
            self.cut = True
            text = _end(text, room) if room else ""
        self.text = max(0, self.text - len(text))
        return {"text": text, "images": self._images(output)}

    def _images(self, output: RunOutput) -> list[str]:
        images: list[str] = []
        for bundle in reversed(output.displays):
            data = bundle.get("image/png")
            if isinstance(data, str) and len(data) <= self.images:
                self.images -= len(data)
                images.insert(0, data)
        return images
