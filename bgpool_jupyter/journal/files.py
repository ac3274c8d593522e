"""Files that nobody else can read, from the moment at which they are made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..engine.errors import PoolError

__all__ = ["JournalRefused", "check_owner", "make_private", "take_rights_away"]

_DIRECTORY = 0o700
_FILE = 0o600


class JournalRefused(PoolError, ValueError):
    """A file cannot be the journal. It was left as it is."""


def make_private(path: Path) -> None:
    """Make an empty file of mode 0600 if there is none, in directories of mode 0700 where they are made for it.

    Raises
    ------
    OSError
        If that cannot be done.
    """
    for directory in reversed(path.parents):
        if not directory.exists():
            directory.mkdir(mode=_DIRECTORY, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), _FILE)
    except FileExistsError:
        return
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, _FILE)  # a umask can only have taken too much away
    finally:
        os.close(descriptor)


def check_owner(path: Path) -> None:
    """Refuse what is no file, and another user's, who could read and change what is written to it.

    Raises
    ------
    JournalRefused
        If it cannot be the journal.
    OSError
        If it is not there.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise JournalRefused(f"{path} is no file, so that it cannot be the journal; give the path of a file")
    if hasattr(os, "geteuid") and os.geteuid() not in {about.st_uid, 0}:
        raise JournalRefused(f"{path} belongs to another user, so that it cannot be the journal; give a path of yours")


def take_rights_away(path: Path) -> None:
    """Let nobody but its owner read and write a journal.

    Raises
    ------
    OSError
        If that cannot be done.
    """
    # The companions take the mode of the file when they are made; those of a file that was open to others have its.
    for companion in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if companion.exists() and companion.stat().st_mode & 0o077:
            companion.chmod(_FILE)
