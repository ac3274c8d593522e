"""Whatever happens to the file: one warning, and runs go on."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.journal import JournalError, prepare, runs, schema, size, writer

PATIENCE = 20.0


def fast_retries(monkeypatch):
    monkeypatch.setattr(writer, "_RETRY_FIRST", 0.01)
    monkeypatch.setattr(writer, "_RETRY_LAST", 0.02)
    monkeypatch.setattr(writer, "PERIOD", 0.01)


def until_kept(path, names):
    end = time.monotonic() + PATIENCE
    while [run.name for run in runs(path=path)] != names:
        assert time.monotonic() < end, runs(path=path)
        threading.Event().wait(0.01)


def test_a_locked_file_is_one_warning_and_is_written_later(path, keep, warnings, run_once, monkeypatch):
    fast_retries(monkeypatch)
    prepare(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        for number in range(3):
            run_once(pool, lambda: 1, f"run {number}")
            assert not journal.flush(PATIENCE)
        assert "database is locked" in journal.problem
        assert len(warnings) == 1
        assert warnings[0].startswith(f"the journal {path} cannot be written (database is locked); runs go on")
        other.execute("ROLLBACK")
        other.close()
        until_kept(path, ["run 0", "run 1", "run 2"])
        assert journal.flush(PATIENCE)
    assert journal.problem == ""
    assert len(warnings) == 1
    assert journal.dropped == 0


def test_close_waits_no_longer_than_it_says_where_the_file_is_locked(path, keep, run_once):
    prepare(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        begin = time.monotonic()
        journal.close(0.2)
        assert time.monotonic() - begin < 1
    other.execute("ROLLBACK")
    other.close()


def test_a_full_disk_is_one_warning_and_the_last_are_written_when_there_is_room(
    path, keep, warnings, run_once, monkeypatch
):
    fast_retries(monkeypatch)
    monkeypatch.setattr(writer, "ROWS_KEPT", 3)
    full = [True]

    def open_full(*args, **more):
        connection = schema.open_file(*args, **more)
        if full:
            connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr("bgpool_jupyter.journal.store.open_file", open_full)
    journal = keep()
    prepare(path)
    with WorkerPool() as pool:
        pool.recorder = journal
        for number in range(6):
            run_once(pool, lambda: "x" * 1_900, f"run {number}" + "x" * 5000)
            assert not journal.flush(PATIENCE)
        assert [warning.partition("; ")[0] for warning in warnings] == [
            f"the journal {path} cannot be written (database or disk is full)"
        ]
        full.clear()
        end = time.monotonic() + PATIENCE
        while not journal.flush(PATIENCE):
            assert time.monotonic() < end
    assert [run.name[:5] for run in runs(path=path)] == ["run 3", "run 4", "run 5"]
    assert [len(run.value) > 1_000 for run in runs(path=path)] == [True] * 3
    assert (journal.dropped, journal.problem) == (3, "")


def test_a_limit_of_the_system_on_the_size_of_files_is_borne(path):
    """As near to a full disk as a test comes without one: in a process of its own, whose files may not grow."""
    program = (
        "import resource, signal, time\n"
        "from bgpool_jupyter import WorkerPool\nfrom bgpool_jupyter.journal import Journal, prepare, runs\n"
        f"path = {str(path)!r}\n"
        "prepare(path)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))\n"
        "warnings = []\n"
        "journal = Journal(path, warn=warnings.append)\n"
        "with WorkerPool() as pool:\n"
        "    pool.recorder = journal\n"
        "    for number in range(200):\n"
        "        pool.new_actor(lambda: 'x' * 1_900, name=str(number)).start().result(timeout=20)\n"
        "        if number % 20 == 0: journal.flush(20)\n"
        "    assert not journal.flush(20)\n"
        "    assert len(warnings) == 1, warnings\n"
        "    print(warnings[0])\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    assert journal.flush(20)\n"
        "print(len(runs(path=path)), journal.dropped)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    warning, counts = answer.stdout.splitlines()
    assert f"the journal {path} cannot be written" in warning
    assert counts == "200 0"


@pytest.mark.parametrize("what", ["text", "torn"])
def test_a_damaged_file_is_one_warning_and_is_left_as_it_is(path, keep, warnings, run_once, what):
    if what == "text":
        path.parent.mkdir()
        path.write_text("this is no database, but long enough to look like the head of one" * 100)
    else:
        journal = keep()
        with WorkerPool() as pool:
            pool.recorder = journal
            for number in range(50):
                run_once(pool, lambda: "x" * 1_000, f"run {number}")
            journal.close(PATIENCE)
        content = bytearray(path.read_bytes())
        content[4096:] = b"\x55" * (len(content) - 4096)
        path.write_bytes(content)
    before = path.read_bytes()
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        for _ in range(3):
            run_once(pool, lambda: 1)
            assert not journal.flush(PATIENCE)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"the journal {path} is damaged or no journal (")
    assert "%bgpool journal on begins a new one" in warnings[0]
    assert journal.closed
    assert journal.problem == warnings[0]
    assert path.read_bytes() == before
    with pytest.raises(JournalError, match="cannot be read"):
        runs(path=path)


def test_a_place_where_nothing_can_be_made_is_one_warning(keep, warnings, run_once, tmp_path):
    (tmp_path / "file").touch()
    where = tmp_path / "file" / "below" / "journal.sqlite"
    journal = keep(where)
    with WorkerPool() as pool:
        pool.recorder = journal
        for _ in range(3):
            run_once(pool, lambda: 1)
            assert not journal.flush(PATIENCE)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"the journal {where} cannot be written (")
    with pytest.raises(JournalError, match="cannot be the journal"):
        prepare(where)


def test_a_read_only_directory_is_one_warning(keep, warnings, run_once):
    """The root of /proc lets nobody make a file, root included."""
    journal = keep("/proc/journal.sqlite")
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
    assert len(warnings) == 1
    assert warnings[0].startswith("the journal /proc/journal.sqlite cannot be written (")


@pytest.fixture(name="sealed")
def _sealed():
    """Takes all rights to write a directory away, from root too: for a while the tests are somebody else."""
    folder = Path(tempfile.mkdtemp())  # others may not look into the directories of pytest
    was_root = os.geteuid() == 0

    def seal():
        for entry in (*folder.iterdir(), folder):
            if was_root:
                os.chown(entry, 65534, 65534)
        folder.chmod(0o555)
        if was_root:
            os.seteuid(65534)
        with pytest.raises(PermissionError):
            (folder / "new").touch()

    yield folder, seal
    if was_root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


needs_users = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")


@needs_users
def test_a_journal_in_a_directory_that_cannot_be_written_is_read(keep, run_once, sealed):
    folder, seal = sealed
    path = folder / "journal.sqlite"
    journal = keep(path)
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 42)
    journal.close(PATIENCE)
    before = path.read_bytes()
    seal()
    assert [(run.outcome, run.value) for run in runs(path=path)] == [("done", "42")]
    assert size(path).runs == 1
    assert {entry.name for entry in folder.iterdir()} == {"journal.sqlite", "journal.sqlite-lock"}
    assert path.read_bytes() == before


@needs_users
@pytest.mark.parametrize("with_index", [True, False], ids=["with its index", "without its index"])
def test_a_journal_that_was_not_closed_in_such_a_directory(keep, run_once, sealed, tmp_path, with_index):
    folder, seal = sealed
    path = folder / "journal.sqlite"
    journal = keep(tmp_path / "journal.sqlite")
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 42)
        assert journal.flush(PATIENCE)
        for companion in ("", "-wal", *["-shm"][:with_index]):  # as a kill would leave it
            shutil.copyfile(f"{journal.path}{companion}", f"{path}{companion}")
    seal()
    if with_index:
        assert [run.value for run in runs(path=path)] == ["42"]
    else:
        with pytest.raises(JournalError, match="copy both files to another directory"):
            runs(path=path)


@needs_users
@pytest.mark.parametrize("what", ["directory", "file"])
def test_an_older_journal_that_cannot_be_written_is_read_in_memory(sealed, what):
    folder, seal = sealed
    path = folder / "journal.sqlite"
    shutil.copyfile(Path(__file__).with_name("version1.sqlite"), path)
    path.chmod(0o400)
    before = path.read_bytes()
    seal()
    if what == "file":
        folder.chmod(0o755)
    assert [run.value for run in runs(path=path)] == ["1.5", "", "2.5", ""]
    assert path.read_bytes() == before


@pytest.mark.parametrize("with_companions", [True, False])
def test_a_file_that_vanished_is_one_warning_and_begins_anew(path, keep, warnings, run_once, query, with_companions):
    journal = keep()
    entered, leave = threading.Event(), threading.Event()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1, "before")
        worker = pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="flying", dispose=False).start()
        assert entered.wait(PATIENCE)
        assert journal.flush(PATIENCE)
        for entry in list(path.parent.iterdir()) if with_companions else [path]:
            entry.unlink()
        run_once(pool, lambda: 1, "after")
        assert journal.flush(PATIENCE)
        assert [(run.name, run.outcome) for run in runs(path=path)] == [("after", "done")] or with_companions is None
        leave.set()
        worker.result(timeout=PATIENCE)
        assert journal.flush(PATIENCE)
    assert {(run.name, run.outcome) for run in runs(path=path)} == {("after", "done"), ("flying", "done")}
    assert warnings == [f"the journal {path} was deleted or replaced; it begins anew there"]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_what_was_committed_to_a_file_that_had_vanished_is_in_the_new_one(path, keep, run_once, monkeypatch):
    """It is looked at the file now and then, and not at each commit."""
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    monkeypatch.setattr(writer, "LINGER", 0.001)
    monkeypatch.setattr("bgpool_jupyter.journal.store._LOOK_EVERY", 1e6)
    journal = keep()
    entered, leave = threading.Event(), threading.Event()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1, "before")
        assert journal.flush(PATIENCE)
        path.unlink()
        store = journal._store
        for number in range(3):
            run_once(pool, lambda: 1, f"meanwhile {number}")
        flying = pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="flying", dispose=False).start()
        assert entered.wait(PATIENCE)
        end = time.monotonic() + PATIENCE
        while not any(row[7] is None for row in store._doubtful):  # the run in flight is committed
            assert time.monotonic() < end
            threading.Event().wait(0.001)
        assert not path.exists()
        leave.set()
        flying.result(timeout=PATIENCE)
        assert journal.flush(PATIENCE)
    assert [(run.name, run.outcome) for run in runs(path=path)] == [
        *[(f"meanwhile {number}", "done") for number in range(3)],
        ("flying", "done"),
    ]


@pytest.mark.parametrize("how", ["flush", "close"])
def test_what_is_committed_is_in_the_file_that_is_there(path, keep, run_once, monkeypatch, how):
    """A file that vanished before the last commit, and nothing comes after it."""
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    monkeypatch.setattr(writer, "LINGER", 0.001)
    monkeypatch.setattr("bgpool_jupyter.journal.store._LOOK_EVERY", 1e6)
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1, "before")
        assert journal.flush(PATIENCE)
        path.unlink()
        run_once(pool, lambda: 1, "after")
        end = time.monotonic() + PATIENCE
        while not journal._store._doubtful or journal._pending():  # it is committed
            assert time.monotonic() < end
            threading.Event().wait(0.001)
        assert not path.exists()
        if how == "flush":
            assert journal.flush(PATIENCE)
        else:
            journal.close(PATIENCE)
        assert [(run.name, run.outcome) for run in runs(path=path)] == [("after", "done")]


@pytest.mark.parametrize("last", [2**31 - 1, 2**63 - 1])
def test_numbers_of_sessions_that_leave_no_number(path, keep, run_once, warnings, last):
    prepare(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO session (id, pid, host, label, started) VALUES (?, 1, '', '', 1.0)", (last,))
    connection.close()
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
    assert warnings == [
        f"{path} has no number left for a session; give another path for the journal; runs go on without a journal"
    ]
    assert journal.closed


def test_that_a_file_vanished_is_noticed_without_being_asked(path, keep, run_once, monkeypatch, warnings):
    monkeypatch.setattr(writer, "PERIOD", 0.01)
    monkeypatch.setattr("bgpool_jupyter.journal.store._LOOK_EVERY", 0.02)
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert journal.flush(PATIENCE)
        path.unlink()
        pool.new_worker(0.01, lambda: 1).start()
        end = time.monotonic() + PATIENCE
        while not path.exists() or not warnings:
            assert time.monotonic() < end
            threading.Event().wait(0.01)


def test_two_who_lose_their_file_do_not_harm_the_new_one(path, keep, warnings, run_once, query):
    first, second = keep(), keep()
    with WorkerPool() as pool:
        for journal, name in ((first, "first"), (second, "second")):
            pool.recorder = journal
            run_once(pool, lambda: 1, name)
            assert journal.flush(PATIENCE)
        for entry in list(path.parent.iterdir()):
            entry.unlink()
        for turn in range(2):
            for journal, name in ((first, "first"), (second, "second")):
                pool.recorder = journal
                run_once(pool, lambda: 1, f"{name} {turn}")
                assert journal.flush(PATIENCE)
        first.close(PATIENCE)
        second.close(PATIENCE)
    assert [run.name for run in runs(path=path)] == ["first 0", "second 0", "first 1", "second 1"]
    assert len({run.session for run in runs(path=path)}) == 2
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert len(warnings) == 2


def test_the_warning_goes_to_the_logger_where_nobody_else_is_named(keep, run_once, caplog):
    journal = keep("/proc/journal.sqlite", warn=None)
    with caplog.at_level(logging.WARNING, "bgpool_jupyter"), WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        journal.flush(PATIENCE)
        journal.close(PATIENCE)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_warn_that_raises_harms_nothing(keep, run_once):
    journal = keep("/proc/journal.sqlite", warn=lambda _text: 1 / 0)
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
        run_once(pool, lambda: 1)


def test_runs_that_no_place_is_left_for_are_counted(keep, run_once, monkeypatch):
    monkeypatch.setattr(writer, "_QUEUED", 0)
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
    assert journal.dropped == 1
