"""What a journal tells: the runs of all kernels that wrote to it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..engine import ErrorInfo
from ..engine.arguments import check_count, check_pattern, log_text
from ..engine.errors import PoolError
from ..engine.frames import HISTORY_COLUMNS, history_frame
from ..engine.globs import matcher
from . import locks
from .files import JournalRefused
from .schema import open_file

__all__ = [
    "FRAME_COLUMNS",
    "LOST",
    "RUNNING",
    "JournalError",
    "JournalRun",
    "JournalSize",
    "frame_of",
    "measure",
    "read",
]

LOST = "lost"
RUNNING = "running"

#: The columns of a frame of runs of several kernels.
FRAME_COLUMNS = ("session", "kernel", *HISTORY_COLUMNS, "traceback", "display")

#: Seconds for which a file that another process has locked is waited for.
_PATIENCE = 5.0
_ALL = 2**62
#: The year 2200, in UTC epoch seconds. The frames of pandas end soon after it.
_LAST_INSTANT = 7.25e9
_SELECT = """
WITH chosen AS (
    SELECT run.*, worker.name AS name, worker.session AS session,
        row_number() OVER (PARTITION BY name ORDER BY started DESC, run.id DESC) AS place
    FROM run JOIN worker ON worker.id = run.worker
    WHERE run.worker IN (SELECT value FROM json_each(?)))
SELECT session.id, session.label, session.closed, chosen.name, number, attempt, due, chosen.started, duration, outcome,
    coalesce(chosen.value, text.value, ''), coalesce(error, ''), coalesce(message, ''), coalesce(traceback, ''),
    coalesce(stdout, ''), coalesce(stderr, ''), coalesce(display, '')
FROM chosen JOIN session ON session.id = chosen.session LEFT JOIN text ON text.run = chosen.id
WHERE place <= ? ORDER BY chosen.started, chosen.id"""


class JournalError(PoolError, OSError):
    """A journal cannot be read."""


class JournalRun(NamedTuple):
    """A run as a journal has it, of this kernel or another. Instants are UTC epoch seconds."""

    #: Count of the sessions of the journal; each kernel that wrote to it has one, and another one after a restart.
    session: int
    #: What people call the kernel: the path of its notebook where that is known, otherwise "".
    kernel: str
    #: Name of the worker.
    name: str
    number: int
    attempt: int
    due: float
    started: float
    #: None where it is not known, as `duration`.
    ended: float | None
    #: Seconds.
    duration: float | None
    #: As in :class:`RunRecord`; "running" in flight, "lost" where the end was not noted and never will be.
    outcome: str
    #: The repr of the value in bounds; "" for None.
    value: str
    error: ErrorInfo | None
    stdout: str
    stderr: str
    #: Plain text of rich displays.
    display: str

    def __repr__(self) -> str:
        """Return a text without instants, so that it is the same from run to run."""
        error = f", {self.error.line}" if self.error else ""
        words = " ".join(f"{self.outcome}{error}".split())
        return f"JournalRun({self.name!r}, run {self.number}, {log_text(words)})"


class JournalSize(NamedTuple):
    """How much is in a journal."""

    runs: int
    #: Names of workers.
    workers: int
    sessions: int
    #: The start of the oldest run, UTC epoch seconds; None without runs.
    oldest: float | None
    #: Of the file and its write-ahead file.
    size: int


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal for a moment, and put what goes wrong into one sentence."""
    if not path.exists():
        raise JournalError(f"there is no journal {path}; %bgpool journal says where runs are kept")
    try:
        connection = open_file(path, create=False, timeout=_PATIENCE)
        connection.text_factory = lambda stored: stored.decode("utf-8", "replace")
        try:
            yield connection
        finally:
            connection.close()
    except JournalRefused:
        raise
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"the journal {path} cannot be read ({error})") from error


def read(path: Path, name: str | None = None, last: int | None = None) -> list[JournalRun]:
    """Return the runs of a journal, those that started first at the beginning.

    Parameters
    ----------
    path
        The file.
    name
        A glob for the names of workers; None for all.
    last
        Most runs of each name, the latest; None for all.

    Raises
    ------
    JournalError
        If there is no such file, or it cannot be read.
    JournalRefused
        If it is no journal.
    """
    match = matcher("*" if name is None else check_pattern(name))
    most = check_count(last, "last")
    with _reading(path) as connection:
        names = connection.execute("SELECT id, name FROM worker").fetchall()
        chosen = [worker for worker, text in names if match(_text(text))]
        rows = connection.execute(_SELECT, (json.dumps(chosen), _ALL if most is None else most)).fetchall()
    alive: dict[int, bool] = {}
    return [_run(row, path, alive) for row in rows]


def _run(row: tuple[Any, ...], path: Path, alive: dict[int, bool]) -> JournalRun:
    session, label, closed, name = row[0], _text(row[1]), row[2], _text(row[3])
    number, attempt, due, started = int(_number(row[4])), int(_number(row[5])), _number(row[6]), _number(row[7])
    duration, outcome = None if row[8] is None else _number(row[8]), None if row[9] is None else _text(row[9])
    value, kind, message, traceback, stdout, stderr, display = map(_text, row[10:])
    if outcome is None:
        if session not in alive:
            alive[session] = closed is None and locks.is_held(path, session)
        outcome = RUNNING if alive[session] else LOST
    ended = None if duration is None else started + duration
    error = ErrorInfo(kind, message, traceback) if kind else None
    return JournalRun(
        session, label, name, number, attempt, due, started, ended, duration, outcome, value, error, stdout, stderr,
        display,
    )  # fmt: skip


def _text(value: object) -> str:
    """Return a text, whatever stands in its place: any program may have written into the file."""
    return value if isinstance(value, str) else f"<{type(value).__name__} in the journal>"


def _number(value: object) -> float:
    """Return a number that a calendar knows as an instant, 0 in the place of anything else."""
    return value if isinstance(value, int | float) and abs(value) < _LAST_INSTANT else 0


def frame_of(runs: list[JournalRun]) -> Any:
    """Return runs as a pandas DataFrame with :data:`FRAME_COLUMNS`.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    rows = [run._asdict() | {"worker": run.name, "error": run.error.line if run.error else ""} for run in runs]
    frame = history_frame(rows)
    frame.insert(0, "session", [run.session for run in runs])
    frame.insert(1, "kernel", [run.kernel for run in runs])
    frame["traceback"] = [run.error.traceback if run.error else "" for run in runs]
    frame["display"] = [run.display for run in runs]
    return frame


def measure(path: Path) -> JournalSize:
    """Return how much is in a journal; nothing where there is no file.

    Raises
    ------
    JournalError
        If it cannot be read.
    JournalRefused
        If it is no journal.
    """
    if not path.exists():
        return JournalSize(0, 0, 0, None, 0)
    with _reading(path) as connection:
        runs, oldest = connection.execute("SELECT count(*), min(started) FROM run").fetchone()
        workers = connection.execute("SELECT count(DISTINCT name) FROM worker").fetchone()[0]
        sessions = connection.execute("SELECT count(*) FROM session").fetchone()[0]
    files = (path, path.with_name(path.name + "-wal"))
    return JournalSize(runs, workers, sessions, oldest, sum(file.stat().st_size for file in files if file.exists()))
