"""The session of this process in a journal's file: what the writer's thread writes with."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from . import locks
from .files import JournalRefused
from .limits import Limits, prune
from .rows import Batch, Row
from .schema import open_file

__all__ = ["FileVanished", "Store", "is_damaged", "sentence_of"]

_HOPELESS = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: Seconds for which a file that another process has locked is waited for at a time.
_PATIENCE = 1.0
#: One in so many of the runs that are kept may be too many before it is looked after them.
_SLACK = 10
#: Sessions are the upper halves of ids of 64 bits with a sign.
_LAST_SESSION = 2**31 - 1
#: Seconds after which it is looked again whether the file is still there, and most runs of a commit without a look.
_LOOK_EVERY, _LOOK_ROWS = 5.0, 100
#: They name their columns: a later version may add one while this one is at work.
_INSERT_WORKER = "INSERT OR REPLACE INTO worker (id, session, name) VALUES (?, ?, ?)"
_INSERT_RUN = (
    "INSERT OR REPLACE INTO run (id, worker, number, attempt, due, started, duration, outcome, value) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_TEXT = (
    "INSERT OR REPLACE INTO text (run, value, error, message, traceback, stdout, stderr, display) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
#: From the newest run on, so that it is soon found.
_ADD_OUTPUT = (
    "INSERT OR REPLACE INTO text (run, value, error, message, traceback, stdout, stderr, display) "
    "SELECT id, coalesce(text.value, ''), coalesce(error, ''), coalesce(message, ''), coalesce(traceback, ''), ?, ?, ? "
    "FROM run LEFT JOIN text ON text.run = run.id "
    "WHERE worker = ? AND number = ? AND attempt = ? AND started = ? ORDER BY id DESC LIMIT 1"
)
#: It is found by more than its id: it may stand in another file.
_DELETE_INHERITED = "DELETE FROM run WHERE id = ? AND number = ? AND started = ? AND outcome IS NULL"


class FileVanished(OSError):
    """The file was deleted, or another one put in its place."""


def is_damaged(error: Exception) -> bool:
    """Return whether the file itself is of no use, today and tomorrow."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _HOPELESS


def sentence_of(path: Path, error: Exception, kept: int) -> str:
    """Return what people are told of a file that cannot be written; `kept` runs wait in memory for a better time."""
    if is_damaged(error):
        return (
            f"the journal {path} is damaged or no journal ({error}) and is left as it is; runs go on without a journal "
            "until it is moved away and %bgpool journal on begins a new one"
        )
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"the journal {path} cannot be written ({reason}); runs go on, and the last {kept:,} are kept in memory "
        "until it can"
    )


class Store:
    """An open journal with a session of its own in it.

    Parameters
    ----------
    path
        The file; it is made if there is none.
    label
        What people call this process, as in the name of its notebook.
    limits
        How much is kept.
    resume
        Number of a session of this process that goes on; None begins one.

    Raises
    ------
    JournalRefused, sqlite3.Error, OSError
        If the file cannot be used.

    Notes
    -----
    Threads: belongs to the thread that made it.
    """

    def __init__(self, path: Path, label: str, limits: Limits, resume: int | None = None) -> None:
        self._path = path
        self._place = os.fspath(path)
        self._limits = limits
        self._connection = open_file(path, create=True, timeout=_PATIENCE)
        self._cursor = self._connection.cursor()
        try:
            about = path.stat()
            self._file = about.st_dev, about.st_ino
            known = self._resumed(resume)
            #: Whether the session was there already, with its workers.
            self.resumed = known is not None
            self.session = self._begin(label) if known is None else known
            if resume is not None and resume != self.session:
                locks.release(path, resume)
        except BaseException:
            self._connection.close()
            raise
        self._look_at = monotonic() + _LOOK_EVERY
        #: What was committed since it was last looked whether the file is there.
        self._doubtful: list[Row] = []
        self._rows_until_prune = 0  # at the first chance: nobody else may come to it
        self._bytes_until_prune = 0

    def _resumed(self, session: int | None) -> int | None:
        known = self._connection.execute("SELECT id FROM session WHERE id = ? AND pid = ?", (session, os.getpid()))
        row = known.fetchone()
        return None if row is None else int(row[0])

    def _begin(self, label: str) -> int:
        """Make the row of a session, its byte held before anybody can see it."""
        with self._transaction():
            session = 1 + self._connection.execute("SELECT coalesce(max(id), 0) FROM session").fetchone()[0]
            while session <= _LAST_SESSION and not locks.hold(self._path, session):
                # The lock file may be older than the journal: others may still be in the one before.
                if not locks.is_held(self._path, session):
                    break  # no locks can be had in this directory: runs in flight will look lost to others
                session += 1
            if session > _LAST_SESSION:
                raise JournalRefused(
                    f"{self._path} has no number left for a session; give another path for the journal"
                )
            self._connection.execute(
                "INSERT INTO session (id, pid, host, label, started) VALUES (?, ?, ?, ?, ?)",
                (session, os.getpid(), socket.gethostname(), label, time.time()),
            )
        return int(session)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def write(self, batch: Batch, *, surely: bool = False) -> None:
        """Commit what waits: all of it, or nothing and an error.

        Parameters
        ----------
        batch
            What waits. It stays as it is.
        surely
            Whether it is looked before if the file is still there, instead of now and then. What was committed since
            the last look is put back into `batch` where it is not.

        Raises
        ------
        FileVanished
            If the file is not there any more.
        sqlite3.Error
            If it cannot be written.
        """
        runs, texts = batch.runs, batch.texts
        looked = surely or texts or batch.additions or len(runs) > _LOOK_ROWS or monotonic() > self._look_at
        if looked:
            self._look(batch)
        if not batch:
            return
        cursor = self._cursor
        try:
            cursor.execute("BEGIN IMMEDIATE")
            if batch.fresh:
                cursor.executemany(_INSERT_WORKER, batch.fresh)
            if batch.inherited:
                cursor.executemany(_DELETE_INHERITED, batch.inherited)
            cursor.executemany(_INSERT_RUN, runs)
            if texts:
                cursor.executemany(_INSERT_TEXT, texts)
                self._bytes_until_prune -= sum(len(part) for text in texts for part in text[1:])
            if batch.additions:
                cursor.executemany(_ADD_OUTPUT, batch.additions)
                self._bytes_until_prune -= sum(len(part) for added in batch.additions for part in added[:3])
            cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if not looked:
            self._doubtful += runs
        self._rows_until_prune -= len(runs)

    def _look(self, batch: Batch) -> None:
        """Notice that the file is gone: SQLite goes on to write where nobody will ever read."""
        try:
            about = os.stat(self._place)  # noqa: PTH116 - a tenth of Path.stat(), and it is called often
        except FileNotFoundError:
            about = None
        if about is None or (about.st_dev, about.st_ino) != self._file:
            batch.runs[:0] = self._doubtful
            raise FileVanished(f"{self._path} was deleted or replaced")
        self._doubtful.clear()
        self._look_at = monotonic() + _LOOK_EVERY

    @property
    def crowded(self) -> bool:
        """Whether so much was written that it is time to prune."""
        return self._rows_until_prune <= 0 or self._bytes_until_prune <= 0

    def prune(self) -> list[str]:
        """Take out what is too much, and return the names of the workers of this session that went with it.

        Raises
        ------
        sqlite3.Error
            If that cannot be done now.
        """
        limits = self._limits
        self._rows_until_prune = max(1, min(limits.runs_of_a_worker, limits.runs) // _SLACK)
        self._bytes_until_prune = max(1, limits.size // _SLACK)
        return prune(self._connection, limits, self.session, lambda number: locks.is_held(self._path, number))

    def close(self, *, for_good: bool) -> None:
        """Close the file; `for_good` notes that the session has ended. What goes wrong here is passed over."""
        if for_good:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("UPDATE session SET closed = ? WHERE id = ?", (time.time(), self.session))
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if for_good:
            self.release()

    def release(self) -> None:
        """Give back what tells others that the session lives."""
        with contextlib.suppress(OSError):
            locks.release(self._path, self.session)

    def abandon(self) -> None:
        """Never use the connection again, and never close it, not even at the end of the process.

        For a file that was deleted: with the last connection to it SQLite would delete its write-ahead file too, by
        its name, which by then may be that of the journal that another process made in its place.
        """
        import ctypes  # noqa: PLC0415 - it is large, and this is rare

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self.release()
