"""The locks of Windows, over a stand-in for its C library."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import types

import pytest

from bgpool_jupyter.journal import locks


class Locked:
    """Which bytes of which file are locked, and through which descriptor, for all processes of a test.

    As in Windows a region belongs to the handle that locked it, also against other handles of the same process; there
    are no shared ones; it is locked from the position of the file on; and to unlock what is not locked is an error.
    """

    def __init__(self):
        self.holders = {}

    def library(self):
        """Return the module ``msvcrt`` as a process sees it."""
        module = types.ModuleType("msvcrt")
        vars(module).update(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, locking=self.locking)
        return module

    def locking(self, descriptor, mode, count):
        assert count == 1
        about = os.fstat(descriptor)
        place = about.st_dev, about.st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if mode == 0:
            if self.holders.get(place) != descriptor:
                raise OSError(errno.EACCES, "Permission denied")
            del self.holders[place]
        else:
            assert mode == 2, "LK_LOCK waits for ten seconds"
            if place in self.holders:
                raise OSError(errno.EACCES, "Permission denied")
            self.holders[place] = descriptor


@pytest.fixture
def process(monkeypatch):
    """Makes processes: each has the module as Windows executes it, with descriptors of its own."""
    locked = Locked()

    def make(number):
        spec = importlib.util.spec_from_file_location(f"bgpool_jupyter.journal.locks_of_{number}", locks.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "win32")
            patch.setitem(sys.modules, "msvcrt", locked.library())
            patch.delattr(os, "register_at_fork", raising=False)
            spec.loader.exec_module(module)
        assert not hasattr(module, "fcntl")
        return module

    yield make
    assert not locked.holders, "a lock was left behind"


def test_one_process_holds_a_byte(path, process):
    path.parent.mkdir()
    mine, theirs = process(1), process(2)
    assert not mine.is_held(path, 3)
    assert not path.with_name("journal.sqlite-lock").exists(), "who only looks makes no file"
    assert mine.hold(path, 3)
    assert not mine.hold(path, 3)
    assert not theirs.hold(path, 3)
    assert mine.is_held(path, 3)
    assert theirs.is_held(path, 3)
    assert not mine.is_held(path, 4)
    assert not theirs.is_held(path, 4)
    assert theirs.hold(path, 4)
    assert mine.is_held(path, 4)
    assert theirs.is_held(path, 3), "looking does not lose it"
    mine.release(path, 3)
    mine.release(path, 3)
    assert not mine.is_held(path, 3)
    assert theirs.hold(path, 3)
    theirs.release(path, 3)
    theirs.release(path, 4)


def test_no_descriptor_is_left_open(path, process):
    path.parent.mkdir()
    module = process(1)
    assert module.hold(path, 1)
    descriptor = module._files[path.with_name("journal.sqlite-lock").resolve()].descriptor
    assert module.hold(path, 2)
    assert not module.is_held(path, 3)
    module.release(path, 1)
    os.fstat(descriptor)
    module.release(path, 2)
    assert module._files == {}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
