"""The tables of a journal, how they came to be, and how a file is opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from . import locks
from .files import JournalRefused, check_owner, make_private, take_rights_away

__all__ = ["MIGRATIONS", "open_file"]

#: The statements that lead from one version of the tables to the next, oldest first. What was released is never
#: changed: a new version is a new entry at the end.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # A kernel that wrote here, and when it closed the journal (UTC epoch seconds, NULL: it did not).
        """CREATE TABLE session (
            id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, label TEXT NOT NULL,
            started REAL NOT NULL, closed REAL)""",
        # The name of a worker in a session.
        "CREATE TABLE worker (id INTEGER PRIMARY KEY, session INTEGER NOT NULL, name TEXT NOT NULL)",
        # A run. Its id is 2**32 * session + count. duration and outcome are NULL until its end is known.
        """CREATE TABLE run (
            id INTEGER PRIMARY KEY, worker INTEGER NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL,
            due REAL NOT NULL, started REAL NOT NULL, duration REAL, outcome TEXT)""",
        # What a run left beside that, where it left anything.
        """CREATE TABLE text (
            run INTEGER PRIMARY KEY, value TEXT NOT NULL, error TEXT NOT NULL, message TEXT NOT NULL,
            traceback TEXT NOT NULL, stdout TEXT NOT NULL, stderr TEXT NOT NULL, display TEXT NOT NULL)""",
    ),
    (
        # A short value stands here, a long one and all of version 1 in the other table, so that most runs are one row.
        "ALTER TABLE run ADD COLUMN value TEXT",
    ),
)
#: Says in the head of a SQLite file that it is a journal of this package ("bgpl").
_APPLICATION = 0x6267706C
#: The byte of the lock file that is held by whoever opens a file; those of sessions follow.
_OPENING = 0
#: Most bytes that the write-ahead file keeps when it is empty.
_WAL_BYTES = 4_000_000


def open_file(path: Path, *, create: bool, timeout: float) -> sqlite3.Connection:
    """Open a journal, bring its tables to the present version, and return the connection, in autocommit mode.

    Parameters
    ----------
    path
        The file.
    create
        Whether it is made if there is none, with mode 0600. If not, it is read where it cannot be written too.
    timeout
        Seconds for which a file that another process has locked is waited for.

    Raises
    ------
    JournalRefused
        If the file is no journal, of a newer version, or another user's. It is left as it is.
    sqlite3.Error, OSError
        If it cannot be opened.
    """
    if create:
        make_private(path)
    check_owner(path)
    place = path.resolve()
    sealed = not create and _is_sealed(place)
    mode = "mode=ro&immutable=1" if sealed else "mode=rw"
    connection = sqlite3.connect(f"{place.as_uri()}?{mode}", timeout=timeout, isolation_level=None, uri=True)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        version = _version(connection, path)
        with contextlib.nullcontext() if create else contextlib.suppress(OSError):  # who only reads may not be able to
            take_rights_away(path)
        if version < len(MIGRATIONS):
            if sealed or not (create or _may_write(place)):
                return _brought_up_to_date(connection, version)
            _migrate(connection, path, timeout)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")  # what people's workers print goes into no other file
    except BaseException:
        connection.close()
        raise
    return connection


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_sealed(path: Path) -> bool:
    """Return whether nothing can be written beside a journal, and nothing stands there that belongs to it.

    SQLite reads a file with a write-ahead file only where it can make or open its two companions.
    """
    if _may_write(path.parent):
        return False
    ahead = path.with_name(path.name + "-wal")
    if not ahead.exists() or not ahead.stat().st_size:
        return True
    if not path.with_name(path.name + "-shm").exists():
        raise PermissionError(
            "its directory cannot be written, and what stands in its -wal file is read only where it can; "
            "copy both files to another directory"
        )
    return False


def _brought_up_to_date(connection: sqlite3.Connection, version: int) -> sqlite3.Connection:
    """Return a copy in memory with the tables of the present version, of a file that cannot be written."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(copy)
    connection.close()
    copy.execute("PRAGMA trusted_schema = OFF")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            copy.execute(statement)
    return copy


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0 for an empty file; refuse what is none of ours."""
    # In one statement, because another process may make the tables between two.
    version, application, tables = connection.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema) "
        "FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if not (application == _APPLICATION or version == application == tables == 0):
        raise JournalRefused(f"{path} is a database of another program; give another path for the journal")
    known = len(MIGRATIONS)
    if version > known:
        raise JournalRefused(
            f"{path} was written by a newer bgpool-jupyter (version {version} of the tables, this one knows {known}); "
            "update this one, or give another path for the journal"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    """Bring the tables to the last version, in one transaction, while no other process does."""
    end = time.monotonic() + timeout
    # The mode of the journal cannot be changed in a transaction, nor does SQLite wait for that.
    while not locks.hold(path, _OPENING):
        if time.monotonic() > end:
            raise sqlite3.OperationalError("database is locked")
        time.sleep(0.01)
    try:
        if not _number(connection, "PRAGMA page_count"):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only an empty file can be told
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in MIGRATIONS[_version(connection, path) :]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    finally:
        locks.release(path, _OPENING)
