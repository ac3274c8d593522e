"""What is said of a file that cannot be written, and whether there is hope."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["is_damaged", "sentence_of"]

_HOPELESS = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def is_damaged(error: Exception) -> bool:
    """Return whether the file itself is of no use, today and tomorrow."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _HOPELESS


def sentence_of(path: Path, error: Exception, kept: int) -> str:
    """Return what people are told; `kept` is the count of runs that wait in memory for a better time."""
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
