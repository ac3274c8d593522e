"""The session of this process in a journal's file: what the writer's thread writes with."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from . import locks
from .limits import Limits, prune
from .rows import Row, Texts
from .schema import open_file

__all__ = ["FileVanished", "Store"]

#: Seconds for which a file that another process has locked is waited for at a time.
_PATIENCE = 1.0
#: One in so many of the runs that are kept may be too many before it is looked after them.
_SLACK = 10
_INSERT_RUN = "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_TEXT = "INSERT OR REPLACE INTO text VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class FileVanished(OSError):
    """The file was deleted, or another one put in its place."""


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
        self._names: dict[str, int] = {}
        self._connection = open_file(path, create=True, timeout=_PATIENCE)
        try:
            about = path.stat()
            self._file = about.st_dev, about.st_ino
            self.session = self._resumed(resume) or self._begin(label)
            if resume is not None and resume != self.session:
                locks.release(path, resume)
        except BaseException:
            self._connection.close()
            raise
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
            while not locks.hold(self._path, session):
                # The lock file may be older than the journal: others may still be in the one before.
                if not locks.is_held(self._path, session):
                    break  # no locks can be had in this directory: runs in flight will look lost to others
                session += 1
            self._connection.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?, NULL)",
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

    def write(self, rows: Collection[Row], texts: Collection[Texts]) -> None:
        """Commit runs: all of them, or none and an error.

        Raises
        ------
        FileVanished
            If the file is not there any more.
        sqlite3.Error
            If they cannot be written.
        """
        self._look()
        base = self.session << 32
        names = self._names
        fresh = {row[1] for row in rows} - names.keys()
        try:
            with self._transaction():
                for name in fresh:
                    names[name] = self._new_worker(name)
                runs = [(base | row[0], names[row[1]], *row[2:]) for row in rows]
                self._connection.executemany(_INSERT_RUN, runs)
                if texts:
                    self._connection.executemany(_INSERT_TEXT, [(base | text[0], *text[1:]) for text in texts])
        except BaseException:
            for name in fresh:
                names.pop(name, None)
            raise
        self._rows_until_prune -= len(rows)
        self._bytes_until_prune -= sum(len(part) for text in texts for part in text[1:])

    def _new_worker(self, name: str) -> int:
        cursor = self._connection.execute("INSERT INTO worker (session, name) VALUES (?, ?)", (self.session, name))
        return int(cursor.lastrowid or 0)

    def _look(self) -> None:
        """Notice that the file is gone: SQLite goes on to write where nobody will ever read."""
        try:
            about = os.stat(self._place)  # noqa: PTH116 - a tenth of Path.stat(), and it is called at each commit
        except FileNotFoundError:
            about = None
        if about is None or (about.st_dev, about.st_ino) != self._file:
            raise FileVanished(f"{self._path} was deleted or replaced")

    def prune(self) -> None:
        """Take out what is too much, if enough was written since the last time.

        Raises
        ------
        sqlite3.Error
            If that cannot be done now.
        """
        if self._rows_until_prune > 0 and self._bytes_until_prune > 0:
            return
        limits = self._limits
        self._rows_until_prune = max(1, min(limits.runs_of_a_worker, limits.runs) // _SLACK)
        self._bytes_until_prune = max(1, limits.size // _SLACK)
        for name in prune(self._connection, limits, self.session, lambda number: locks.is_held(self._path, number)):
            self._names.pop(name, None)

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
