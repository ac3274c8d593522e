"""How much a journal keeps, and how the rest is taken out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Limits", "prune"]

#: One in so many of the oldest runs goes at a time while the file is too large.
_SHARE = 10


class Limits(NamedTuple):
    """How much a journal keeps. What is older goes first, now and then, so that for a while there may be a tenth more.

    The runs of all kernels count, those of workers of one name together.
    """

    runs_of_a_worker: int = 10_000
    runs: int = 100_000
    #: Of the file, without its write-ahead file.
    size: int = 100_000_000


def prune(connection: sqlite3.Connection, limits: Limits, own: int, is_alive: Callable[[int], bool]) -> list[str]:
    """Take out what is too much: runs, then the workers and sessions that are left without any.

    Parameters
    ----------
    connection
        An open journal.
    limits
        What is kept.
    own
        The session of the caller.
    is_alive
        Whether the session of that number is open: its workers stay.

    Returns
    -------
    list[str]
        The workers of `own` that were forgotten.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _prune_workers(connection, limits.runs_of_a_worker)
        count = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        _delete_oldest(connection, count - limits.runs)
        count = min(count, limits.runs)
        while count and _size(connection) > limits.size:
            share = max(1, count // _SHARE)
            _delete_oldest(connection, share)
            count -= share
        forgotten = _prune_names(connection, own, is_alive)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA incremental_vacuum").fetchall()
    return forgotten


def _size(connection: sqlite3.Connection) -> int:
    """Return the bytes that are in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _prune_workers(connection: sqlite3.Connection, most: int) -> None:
    crowded = connection.execute(
        "SELECT name FROM run JOIN worker ON worker.id = run.worker GROUP BY name HAVING count(*) > ?", (most,)
    ).fetchall()
    for (name,) in crowded:
        _delete(
            connection,
            "SELECT id FROM run WHERE worker IN (SELECT id FROM worker WHERE name = ?) "
            "ORDER BY started DESC, id DESC LIMIT -1 OFFSET ?",
            (name, most),
        )


def _delete_oldest(connection: sqlite3.Connection, count: int) -> None:
    if count > 0:
        _delete(connection, "SELECT id FROM run ORDER BY started, id LIMIT ?", (count,))


def _delete(connection: sqlite3.Connection, chosen: str, values: tuple[object, ...]) -> None:
    """Delete the runs that a query chooses, with their texts."""
    connection.execute(f"CREATE TEMP TABLE gone AS {chosen}", values)
    connection.execute("DELETE FROM text WHERE run IN (SELECT id FROM gone)")
    connection.execute("DELETE FROM run WHERE id IN (SELECT id FROM gone)")
    connection.execute("DROP TABLE gone")


def _prune_names(connection: sqlite3.Connection, own: int, is_alive: Callable[[int], bool]) -> list[str]:
    """Forget workers without runs, and sessions without runs that have ended; return the names of the own ones."""
    idle = connection.execute(
        "SELECT id, session, name FROM worker WHERE id NOT IN (SELECT worker FROM run)"
    ).fetchall()
    alive = {session: is_alive(session) for session in {row[1] for row in idle} - {own}}
    gone = [row for row in idle if not alive.get(row[1])]  # what another kernel knows by its id, it forgets itself
    connection.executemany("DELETE FROM worker WHERE id = ?", [(row[0],) for row in gone])
    for (session,) in connection.execute(
        "SELECT id FROM session WHERE id NOT IN (SELECT session FROM worker)"
    ).fetchall():
        if session != own and not is_alive(session):
            connection.execute("DELETE FROM session WHERE id = ?", (session,))
    return [row[2] for row in gone if row[1] == own]
