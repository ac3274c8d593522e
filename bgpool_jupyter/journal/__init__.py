"""Run history that outlives the process, in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from .files import JournalRefused
from .limits import Limits
from .reader import FRAME_COLUMNS, JournalError, JournalRun, JournalSize, frame_of, measure, read
from .schema import open_file
from .writer import Journal

__all__ = [
    "FRAME_COLUMNS",
    "Journal",
    "JournalError",
    "JournalRefused",
    "JournalRun",
    "JournalSize",
    "Limits",
    "default_journal",
    "frame",
    "prepare",
    "runs",
    "set_default_journal",
    "size",
]

_default: Journal | None = None


def default_journal() -> Journal | None:
    """Return the journal of this kernel, None where it is switched off."""
    return _default


def set_default_journal(journal: Journal | None) -> None:
    """Have :func:`runs`, :func:`frame` and :func:`size` read this one where no path is given."""
    global _default  # noqa: PLW0603 - the one journal of the process
    _default = journal


def _place(path: str | os.PathLike[str] | None) -> Path:
    if path is not None:
        return Path(path).expanduser().absolute()
    if _default is None:
        raise JournalError("no journal is on; give path=…, or switch it on with %bgpool journal on")
    _default.flush()
    return _default.path


def runs(
    name: str | None = None, last: int | None = None, *, path: str | os.PathLike[str] | None = None
) -> list[JournalRun]:
    """Return the runs of a journal, of this kernel and of others, those that started first at the beginning.

    Parameters
    ----------
    name
        A glob for the names of workers, as in ``"poll*"``; None for all.
    last
        Most runs of each name, the latest, at least 1; None for all.
    path
        The file; None is the journal of this kernel, with everything that has happened until now.

    Raises
    ------
    JournalError
        If there is no such file, or it cannot be read, or `path` is None and this kernel keeps no journal.
    JournalRefused
        If the file is no journal, or of a newer version.

    Notes
    -----
    Threads: may be called from any thread; blocks while the file is read, for a few seconds at most where another
    process has locked it.
    """
    place = _place(path)
    if path is None and not place.exists():
        return []  # nothing has run yet
    return read(place, name, last)


def frame(name: str | None = None, last: int | None = None, *, path: str | os.PathLike[str] | None = None) -> Any:
    """Return the runs of a journal as a pandas DataFrame; everything else is as for :func:`runs`.

    Returns
    -------
    pandas.DataFrame
        One row a run with the columns of :meth:`WorkerPool.history_frame`, before them `session` and `kernel`, behind
        them `traceback` and `display`. `ended` and `duration` of a run that was lost are missing.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    return frame_of(runs(name, last, path=path))


def size(path: str | os.PathLike[str] | None = None) -> JournalSize:
    """Return how much is in a journal; everything else is as for :func:`runs`."""
    return measure(_place(path))


def prepare(path: str | os.PathLike[str]) -> None:
    """Make the file of a journal if there is none, and look whether it is one.

    Raises
    ------
    JournalError
        If it cannot be made or opened.
    JournalRefused
        If the file is no journal, of a newer version, or another user's. It is left as it is.

    Notes
    -----
    Threads: may be called from any thread; blocks as :func:`runs`.
    """
    place = Path(path).expanduser().absolute()
    try:
        open_file(place, create=True, timeout=1.0).close()
    except JournalRefused:
        raise
    except (sqlite3.Error, OSError) as error:
        raise JournalError(f"{place} cannot be the journal ({error}); give another path") from error
