"""Which sessions live: each holds a lock on one byte of a file beside the journal.

The system takes a lock back when its process is gone, however it went. A process number could not tell that: it is
given to another process one day. A forked child does not hold the locks of its parent.

A process loses all its locks on a file as soon as it closes any descriptor of it. So there is one descriptor for
each file, it is kept as long as a lock is held, and everything goes through this module.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Lock

from .files import make_private

__all__ = ["hold", "is_held", "release"]


class _LockFile:
    """The one descriptor of a lock file, and which bytes this process holds. Under `_guard`."""

    def __init__(self, path: Path) -> None:
        make_private(path)
        self.descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        self.held: set[int] = set()


_files: dict[Path, _LockFile] = {}
_guard = Lock()

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int, byte: int, *, shared: bool) -> None:  # noqa: ARG001 - Windows has no shared ones
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _give_back(descriptor: int, byte: int) -> None:
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(descriptor: int, byte: int, *, shared: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, 1, byte)

    def _give_back(descriptor: int, byte: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


def _lock_file(journal: Path) -> Path:
    return journal.with_name(journal.name + "-lock").resolve()


def hold(journal: Path, byte: int) -> bool:
    """Hold a byte for this process until :func:`release`; False if somebody holds it already, here or elsewhere.

    Raises
    ------
    OSError
        If the lock file cannot be made or opened.
    """
    path = _lock_file(journal)
    with _guard:
        file = _files.get(path) or _LockFile(path)
        _files[path] = file
        try:
            if byte in file.held:
                return False
            _take(file.descriptor, byte, shared=False)
            file.held.add(byte)
        except OSError:
            return False
        finally:
            _close_unused(path)
        return True


def release(journal: Path, byte: int) -> None:
    """Give a byte back that hold() took; one that is not held changes nothing."""
    path = _lock_file(journal)
    with _guard:
        file = _files.get(path)
        if file is None or byte not in file.held:
            return
        file.held.discard(byte)
        try:
            _give_back(file.descriptor, byte)
        finally:
            _close_unused(path)


def is_held(journal: Path, byte: int) -> bool:
    """Return whether a living process holds the byte, this one included."""
    path = _lock_file(journal)
    with _guard:
        if path not in _files and not path.exists():
            return False
        try:
            file = _files.get(path) or _LockFile(path)
        except OSError:
            return False
        _files[path] = file
        if byte in file.held:
            return True
        try:
            # A shared one, so that two who look at the same time do not take each other for the holder.
            _take(file.descriptor, byte, shared=True)
            _give_back(file.descriptor, byte)
        except OSError:
            return True
        finally:
            _close_unused(path)
        return False


def _close_unused(path: Path) -> None:
    if not _files[path].held:
        os.close(_files.pop(path).descriptor)


def _after_fork_in_child() -> None:
    global _guard  # noqa: PLW0603 - a thread of the parent may have held it
    _guard = Lock()
    for file in _files.values():
        os.close(file.descriptor)  # the parent keeps its locks: they are its own, not the descriptor's
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
