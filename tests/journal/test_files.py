"""Nobody else can read a journal."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from bgpool_jupyter.journal import JournalRefused, prepare, runs

PATIENCE = 20.0


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_are_private_whatever_the_umask(path, umask):
    """In a process of its own, since the umask is the process's."""
    program = (
        "import os, pathlib, stat\n"
        f"os.umask({umask})\n"
        "from bgpool_jupyter import WorkerPool\nfrom bgpool_jupyter.journal import Journal, files\n"
        "seen = set()\n"
        "make = os.open\n"
        "def watched(path, flags, mode=0o777, **more):\n"
        "    seen.add((str(path).rpartition('journal.sqlite')[2], bool(flags & os.O_CREAT), mode))\n"
        "    return make(path, flags, mode, **more)\n"
        "os.open = watched\n"
        f"journal = Journal({str(path)!r})\n"
        "with WorkerPool() as pool:\n"
        "    pool.recorder = journal\n"
        "    pool.new_actor(lambda: 1).start().result(timeout=20)\n"
        "    assert journal.flush(20)\n"
        f"    folder = pathlib.Path({str(path.parent)!r})\n"
        "    for entry in [folder, *sorted(folder.iterdir())]:\n"
        "        print(entry.name, oct(stat.S_IMODE(entry.stat().st_mode)))\n"
        "print(sorted(seen))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    *modes, made = answer.stdout.splitlines()
    assert modes == [
        "kept 0o700" if umask != 0o777 else modes[0],
        "journal.sqlite 0o600",
        "journal.sqlite-lock 0o600",
        "journal.sqlite-shm 0o600",
        "journal.sqlite-wal 0o600",
    ]
    assert "('', True, 384)" in made, "made with 0600 from the first moment"


def test_rights_of_others_are_taken_away(path, once, journal):
    path.parent.mkdir()
    path.touch()
    path.chmod(0o666)
    once(lambda: 1)
    assert journal.flush(PATIENCE)
    assert mode(path) == 0o600
    assert mode(path.with_name("journal.sqlite-wal")) == 0o600


def test_what_is_no_journal_keeps_its_rights(path):
    path.parent.mkdir()
    path.write_text("my notes" * 1000)
    path.chmod(0o644)
    with pytest.raises(OSError, match="cannot be the journal"):
        prepare(path)
    assert mode(path) == 0o644


def test_a_directory_that_was_there_stays_as_it_is(path, once, journal):
    path.parent.mkdir(mode=0o755)
    before = mode(path.parent)
    once(lambda: 1)
    assert journal.flush(PATIENCE)
    assert mode(path.parent) == before


def test_a_file_of_another_user_is_refused(path, monkeypatch):
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(JournalRefused, match="belongs to another user"):
        prepare(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(JournalRefused, match="is no file"):
        prepare(tmp_path)


def test_reading_makes_no_file(path):
    with pytest.raises(OSError, match="there is no journal"):
        runs(path=path)
    assert not path.parent.exists()
