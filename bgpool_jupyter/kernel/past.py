"""What ``%bgpool`` shows of the journal: the runs of all kernels, and how the journal is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from ..card import local_time, run_label
from ..journal import Journal, JournalRun, JournalSize
from ..journal import size as size_of
from ..table import NOTHING, Column, clean_text, format_duration, html_table, text_table
from .reports import OUTCOME_SHAPES, RUN_COLUMNS, last_line

__all__ = ["JournalReport", "JournalTable", "format_size"]

COLUMNS = (RUN_COLUMNS[0], Column("kernel", 24), *RUN_COLUMNS[1:])
_UNITS = ("bytes", "kB", "MB", "GB")
_THOUSAND = 1000


class JournalTable(list[JournalRun]):
    """Runs of several kernels, with the table of them as their text.

    Parameters
    ----------
    runs
        The rows.
    session
        The session of this kernel, None if it has none.
    empty
        What is shown instead of a table without rows.
    """

    def __init__(
        self, runs: Iterable[JournalRun] = (), session: int | None = None, empty: str = "no runs in the journal yet"
    ) -> None:
        super().__init__(runs)
        self.session = session
        self.empty = empty

    def _rows(self) -> list[tuple[str, ...]]:
        return [_row(run, self.session) for run in self]

    def __repr__(self) -> str:
        return text_table(self._rows(), COLUMNS, self.empty, latest=True)

    def _repr_html_(self) -> str:
        return html_table(self._rows(), COLUMNS, self.empty, latest=True)


def _row(run: JournalRun, own: int | None) -> tuple[str, ...]:
    kernel = "this one" if run.session == own else " ".join([str(run.session), PurePath(run.kernel).name]).strip()
    return (
        clean_text(run.name),
        clean_text(kernel),
        run_label(run.number, run.attempt),
        local_time(run.started),
        format_duration(run.duration),
        f"{OUTCOME_SHAPES.get(run.outcome, '·')} {clean_text(run.outcome)}",
        clean_text(run.value) or NOTHING,
        clean_text(last_line(run.stdout + run.stderr + run.display)),
        clean_text(run.error.line) if run.error is not None else "",
    )


class JournalReport:
    """How the journal is, for people to read.

    Parameters
    ----------
    journal
        The journal of this kernel; None where it is switched off.
    """

    def __init__(self, journal: Journal | None) -> None:
        self.journal = journal
        #: What is in it; None where it is off or cannot be read.
        self.size: JournalSize | None = None
        lines = ["journal: off; %bgpool journal on switches it on"] if journal is None else self._describe(journal)
        self.text = "\n".join(lines)

    def _describe(self, journal: Journal) -> list[str]:
        limits = journal.limits
        lines = [f"journal: {clean_text(str(journal.path))}"]
        if journal.problem:
            lines.append(f"trouble: {clean_text(journal.problem)}")
        if journal.dropped:
            lines.append(f"dropped: {journal.dropped:,} runs had no place")
        try:
            self.size = size = size_of(journal.path)
        except OSError as error:
            return [*lines, f"cannot be read: {clean_text(str(error))}"]
        except ValueError:  # no journal: the trouble says so
            return lines
        since = f", since {local_time(size.oldest)}" if size.oldest is not None else ""
        runs, workers, kernels = (
            _count(size.runs, "run"),
            _count(size.workers, "worker"),
            _count(size.sessions, "kernel"),
        )
        most = f"{limits.runs_of_a_worker:,} runs of a worker, {limits.runs:,} in all, {format_size(limits.size)}"
        return [
            *lines,
            f"holds: {runs} of {workers} in {kernels}{since}; {format_size(size.size)}",
            f"keeps: at most {most}; the oldest go first",
        ]

    def __repr__(self) -> str:
        return self.text


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def format_size(number: float) -> str:
    """Return a count of bytes in three figures, as in "78.3 kB"."""
    for unit in _UNITS[:-1]:
        if number < _THOUSAND - 0.5:  # what would be rounded up to the next unit is written in it
            return f"{number:.3g} {unit}"
        number /= _THOUSAND
    return f"{number:.3g} {_UNITS[-1]}"
