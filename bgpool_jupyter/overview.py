"""What is shown of workers that nobody watches live: their table, the error cards of those that failed, and remarks."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .card import ErrorCard, card
from .engine import BackgroundWorker
from .table import (
    MAX_ROWS,
    NO_FORMULAS,
    REMARK,
    SHAPES,
    clean_text,
    cut_text,
    format_snapshot,
    html_table,
    text_table,
)

__all__ = ["SUSPENDED", "WorkerTable", "orphan_text"]

#: What is said where the whole pool is held.
SUSPENDED = "the pool is suspended, no run begins; %bgpool resume lets all go on"

#: Most error cards below a table in text and in HTML, and most remarks; the others are counted.
_TEXT_CARDS = 3
_HTML_CARDS = 10
_REMARKS = 5
#: Most lines of output and of traceback of a card in text and in HTML; the last ones are kept.
_TEXT_LINES = (4, 12)
_HTML_LINES = (40, 100)
#: Most terminal cells of a line of a card.
_LINE_WIDTH = 160


def _worker_row(worker: BackgroundWorker, now: float) -> tuple[str, ...]:
    snapshot = worker.snapshot()
    fraction = snapshot.progress.fraction if snapshot.progress is not None else None
    return format_snapshot(snapshot, now, fraction=fraction, pause_reason=worker.pause_reason)


def _card_lines(found: ErrorCard, most_output: int, most_traceback: int) -> list[str]:
    """Return what a card says of its run: the end of the output before the error, and of the traceback.

    Parameters
    ----------
    found
        The card.
    most_output
        Most lines of output.
    most_traceback
        Most lines of the traceback.
    """
    lines = _last_lines(found.output, most_output) + _last_lines(found.traceback, most_traceback)
    return [cut_text(clean_text(line), _LINE_WIDTH) for line in lines]


def _last_lines(text: str, count: int) -> list[str]:
    lines = text.splitlines()
    hidden = len(lines) - count
    return [f"… {hidden:,} lines before", *lines[-count:]] if hidden > 0 else lines


class _Failure(NamedTuple):
    """A card of a table, in words."""

    #: "✖ poll: run 3 failed at 14:30:05".
    head: str
    card: ErrorCard
    #: "next: runs again at 14:30:10", "" if that is not known.
    following: str


def _shows_failure(worker: BackgroundWorker) -> bool:
    """Return whether a worker's last run failed, and it was not stopped by a person since."""
    return worker.last_run_failed and worker.status not in {"new", "stopped", "stopping"}


def _failures(workers: Iterable[BackgroundWorker]) -> list[_Failure]:
    """Return the cards of these workers; one that was started anew meanwhile has none."""
    found = []
    for worker in workers:
        its_card = card(worker)
        if its_card is not None:
            following = f"next: {clean_text(its_card.outlook)}" if its_card.outlook else ""
            if worker.pause_reason:
                following += f"; %bgpool resume {_quoted_name(worker)} lets it go on"
            head = f"{SHAPES['failed']} {cut_text(clean_text(worker.name), 64)}: {its_card.title}"
            found.append(_Failure(head, its_card, following))
    return found


def _text_card(failure: _Failure) -> str:
    inner = ["    " + line for line in _card_lines(failure.card, *_TEXT_LINES)]
    return "\n".join([failure.head, *inner, *([f"    {failure.following}"] if failure.following else [])])


def _html_card(failure: _Failure) -> str:
    head = html.escape(" · ".join(filter(None, (failure.head, failure.following))))
    inner = html.escape("\n".join(_card_lines(failure.card, *_HTML_LINES)))
    return f'<details class="bgpool-card {NO_FORMULAS}"><summary>{head}</summary>\n<pre>{inner}</pre></details>'


def _remarks(workers: Iterable[BackgroundWorker]) -> list[str]:
    """Return a line for each remark on these workers."""
    seen = list(workers)
    return [
        f"{REMARK} {cut_text(clean_text(worker.name), 64)}: {clean_text(lint.text)}"
        for worker in seen
        for lint in worker.lints()
    ] + [f"{REMARK} {cut_text(clean_text(worker.name), 64)}: {orphan_text(worker)}" for worker in seen if worker.orphan]


def orphan_text(worker: BackgroundWorker) -> str:
    """Return why nothing in the notebook stands for a worker any more, and the way out; "" where that is not known."""
    if not worker.orphan:
        return ""
    return f"{clean_text(worker.orphan)}; %bgpool remove {_quoted_name(worker)} takes it out"


def _quoted_name(worker: BackgroundWorker) -> str:
    """Return the name as a word of a magic's line."""
    return shlex.quote(clean_text(worker.name))


class WorkerTable(list[BackgroundWorker]):
    """A list of workers that a notebook or a terminal shows as a table of their present state.

    Below the table stand the error cards of those whose last run failed (which run, its output and traceback,
    what happens next), and a line for each remark that a ⚠ in the table stands for. That the pool is suspended is said
    first of all below the table.

    Parameters
    ----------
    workers
        The rows, in this order.
    empty
        What is shown instead of a table without rows.
    clock
        Where the present instant is read, from which the next run is counted; UTC epoch seconds.
    details
        Whether cards and remarks are shown.
    most
        Most rows that are shown; the others are counted.

    Notes
    -----
    Threads: may be shown from any thread; a worker is shown as it is when the table is asked for.
    """

    def __init__(
        self,
        workers: Iterable[BackgroundWorker] = (),
        empty: str = "no workers",
        clock: Callable[[], float] = time.time,
        *,
        details: bool = True,
        most: int = MAX_ROWS,
    ) -> None:
        super().__init__(workers)
        self.empty = empty
        self._clock = clock
        self._details = details
        self._most = most

    def _look(self, most: int) -> tuple[list[tuple[str, ...]], list[_Failure], str, list[str]]:
        """Return rows, the first failures, how many more there are, and remarks."""
        now = self._clock()
        rows = [_worker_row(worker, now) for worker in self[: self._most]]
        rows += [()] * (len(self) - len(rows))  # they are only counted, there may be ten thousand
        if not self._details:
            return rows, [], "", []
        failed = [worker for worker in self if _shows_failure(worker)]
        others = len(failed) - most
        have = "has" if others == 1 else "have"
        hidden = f"… {others:,} more {have} failed: %bgpool log NAME" if others > 0 else ""
        remarks = _remarks(self)
        if len(remarks) > _REMARKS:
            remarks[_REMARKS:] = [f"… {len(remarks) - _REMARKS:,} more remarks: %bgpool log NAME"]
        return rows, _failures(failed[:most]), hidden, remarks

    def _held(self) -> str:
        return f"{SHAPES['paused']} {SUSPENDED}" if any(worker.suspended for worker in self) else ""

    def __repr__(self) -> str:
        rows, failures, hidden, remarks = self._look(_TEXT_CARDS)
        cards = map(_text_card, failures)
        held = self._held()
        parts = [text_table(rows, empty=self.empty, most=self._most), held, *cards, hidden, "\n".join(remarks)]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        rows, failures, hidden, remarks = self._look(_HTML_CARDS)
        cards = map(_html_card, failures)
        lines = [hidden, *remarks] if hidden else remarks
        notes = (f'<p class="bgpool-remark {NO_FORMULAS}">{html.escape(line)}</p>' for line in lines)
        held = [f"<p>{html.escape(line)}</p>" for line in [self._held()] if line]
        return "\n".join([html_table(rows, empty=self.empty, most=self._most), *held, *cards, *notes])
