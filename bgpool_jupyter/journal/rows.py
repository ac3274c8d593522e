"""What the journal keeps of a run: numbers, and texts in bounds. Never an object."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from ..engine.frames import value_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..engine import BackgroundWorker, ErrorInfo, RunningRun, RunOutput, RunRecord

__all__ = ["MAX_STREAM", "Batch", "Row", "Texts", "newest_of_each"]

#: Most characters of each of stdout, stderr and display of a run; the last ones are kept.
MAX_STREAM = 16_000
#: Most characters of a value that stands in the row of its run; a longer one is among the texts.
_SHORT = 100
#: What is larger is written as a text of many digits, if it can be written at all.
_PLAIN = 2**63
#: An id is that of its session and a count, each in 32 bits.
_BITS = 32
_COUNT = 2**_BITS - 1

#: A run as its table has it: id, worker, number, attempt, due, started, duration, outcome and value. Duration and
#: outcome are None in flight. A plain tuple, because there may be very many.
Row = tuple[int, int, int, int, float, float, float | None, str | None, str | None]
#: The texts of a run, "" where there is none: id, value, error, message, traceback, stdout, stderr, display.
Texts = tuple[int, str, str, str, str, str, str, str]


class _Ticket(NamedTuple):
    """Which row a run in flight has."""

    batch: Batch
    #: The part of the row's id that is its own.
    place: int


class Batch:
    """What waits to be written, as rows of the tables.

    Ids are chosen here and not by the file, so that a run becomes its row in one step. As long as no session is known
    they are those of a session 0; :meth:`move` puts that right.

    Notes
    -----
    Threads: belongs to one thread.
    """

    def __init__(self) -> None:
        #: 2**32 times the session.
        self.base = 0
        self.runs: list[Row] = []
        self.texts: list[Texts] = []
        #: Names of workers that are not in the file yet: id, session, name.
        self.fresh: list[tuple[int, int, str]] = []
        #: What `finished` added to a run: its four last texts, then what its row is found by.
        self.additions: list[tuple[str, str, str, int, int, int, float]] = []
        #: Rows that another journal began: id, number, started.
        self.inherited: list[tuple[int, int, float]] = []
        self._workers: dict[str, int] = {}
        self._counter = itertools.count(1)

    def __bool__(self) -> bool:
        """Whether there is something to write."""
        return bool(self.runs or self.additions)

    def add_ended(self, runs: Iterable[tuple[BackgroundWorker, RunningRun | None, RunRecord]]) -> None:
        """Make rows of runs that have ended, None for those that have none yet. Calls the ``__repr__`` of values."""
        base, workers, counter, add = self.base, self._workers, self._counter, self.runs.append
        for worker, run, record in runs:
            number, attempt, due, started, _, duration, outcome, value, error, output = record
            row = base | next(counter) if run is None else self._row_of(run)
            name = worker.name
            known = workers.get(name) or self._new_worker(name)
            text = None if value is None else _text_of(value)
            if error is not None or output is not None or (text is not None and len(text) > _SHORT):
                text = self._add_texts(row, text, error, output)
            add((row, known, number, attempt, due, started, duration, outcome, text))

    def add_begun(self, worker: BackgroundWorker, run: RunningRun) -> None:
        """Make a row of a run in flight."""
        row = self._row_of(run)
        run.ticket = _Ticket(self, row & _COUNT)
        known = self._workers.get(worker.name) or self._new_worker(worker.name)
        self.runs.append((row, known, run.number, run.attempt, run.due, run.started, None, None, None))

    def add_output(self, worker: BackgroundWorker, record: RunRecord) -> None:
        """Put what was printed after the end of a run into the place of its output."""
        known = self._workers.get(worker.name)
        if known is not None and record.output is not None:
            found_by = known, record.number, record.attempt, record.started
            self.additions.append((*_streams(record.output), *found_by))

    def _row_of(self, run: RunningRun) -> int:
        """Return the id of a run's row: that which it was given when it was noted in flight, or a new one."""
        ticket = run.ticket
        if type(ticket) is _Ticket:
            row = ticket.batch.base | ticket.place
            if ticket.batch is self:
                return row
            self.inherited.append((row, run.number, run.started))
        return self.base | next(self._counter)

    def _new_worker(self, name: str) -> int:
        self._workers[name] = known = self.base | next(self._counter)
        self.fresh.append((known, self.base >> _BITS, name))
        return known

    def _add_texts(self, row: int, value: str | None, error: ErrorInfo | None, output: RunOutput | None) -> str | None:
        """Take down the texts of a run, and return what remains of its value for its row."""
        short = value is None or len(value) <= _SHORT
        kind, message, traceback = error if error is not None else ("", "", "")
        streams = ("", "", "") if output is None else _streams(output)
        self.texts.append((row, "" if short else str(value), kind, message, traceback, *streams))
        return value if short else None

    def move(self, session: int) -> None:
        """Have everything belong to a session, in whose place in the file nothing is yet."""
        self.base = base = session << _BITS
        self._workers = {name: base | (known & _COUNT) for name, known in self._workers.items()}
        self.fresh = [(known, session, name) for name, known in self._workers.items()]
        self.runs = [(base | (row[0] & _COUNT), base | (row[1] & _COUNT), *row[2:]) for row in self.runs]
        self.texts = [(base | (row[0] & _COUNT), *row[1:]) for row in self.texts]
        self.additions = [(*row[:3], base | (row[3] & _COUNT), *row[4:]) for row in self.additions]

    def keep_newest(self, most: int) -> int:
        """Forget the oldest runs until there are no more than `most`; return how many went."""
        surplus = max(0, len(self.runs) - most)
        if surplus:
            del self.runs[:surplus]
            kept = {row[0] for row in self.runs}
            self.texts = [texts for texts in self.texts if texts[0] in kept]
        del self.additions[: max(0, len(self.additions) - most)]
        return surplus

    def forget_workers(self, names: Iterable[str]) -> None:
        """Give workers of these names new rows when they come again."""
        for name in names:
            self._workers.pop(name, None)

    def clear(self) -> None:
        """Have nothing to write any more."""
        self.runs, self.texts = [], []
        if self.fresh or self.additions or self.inherited:
            self.fresh, self.additions, self.inherited = [], [], []


def _text_of(value: object) -> str:
    """Return a value's text; of numbers without the detour of texts in bounds."""
    kind = type(value)
    if kind is float or kind is bool or (kind is int and -_PLAIN < value < _PLAIN):  # type: ignore[operator]
        return repr(value)
    return value_text(value)


def newest_of_each(runs: list[tuple[BackgroundWorker, Any, Any]], most: int) -> list[tuple[BackgroundWorker, Any, Any]]:
    """Return the runs, oldest first, without those that have `most` newer ones of the same name."""
    if len(runs) <= most:
        return runs
    left: dict[str, int] = {}
    kept = []
    for item in reversed(runs):
        name = item[0].name
        left[name] = left.get(name, most) - 1
        if left[name] >= 0:
            kept.append(item)
    kept.reverse()
    return kept


def _streams(output: RunOutput) -> tuple[str, str, str]:
    """Return stdout, stderr and the plain text of displays; the first that is not empty tells what was dropped."""
    displays = (str(bundle.get("text/plain", "<display>")) for bundle in output.displays)
    dropped = output.dropped_lines
    kept = []
    for text in (output.stdout, output.stderr, "\n".join(displays)):
        kept.append(_tail(text, dropped) if text else "")
        dropped = 0 if text else dropped
    return kept[0], kept[1], kept[2]


def _tail(text: str, dropped: int) -> str:
    """Return the end of a text, with a first line that says how many lines are missing."""
    if len(text) > MAX_STREAM:
        dropped += text.count("\n", 0, -MAX_STREAM)
        text = text[-MAX_STREAM:]
        if not dropped:
            return f"… start of a long line dropped\n{text}"
    lines = f"{dropped:,} lines" if dropped != 1 else "1 line"
    return f"… {lines} dropped\n{text}" if dropped else text
