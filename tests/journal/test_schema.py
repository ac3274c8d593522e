"""Versions of the tables."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.journal import Journal, JournalRefused, prepare, runs, schema

PATIENCE = 20.0
#: A journal that version 1 wrote: one session that was closed, one that was killed, a run that was cut off.
STORED = Path(__file__).with_name("version1.sqlite")


@pytest.fixture(name="stored")
def _stored(path):
    path.parent.mkdir()
    shutil.copyfile(STORED, path)
    path.chmod(0o600)
    return path


def outcomes(path):
    return [(run.session, run.kernel, run.name, run.number, run.outcome, run.value) for run in runs(path=path)]


EXPECTED = [
    (1, "first.ipynb", "poll", 1, "done", "1.5"),
    (1, "first.ipynb", "poll", 2, "failed", ""),
    (2, "second.ipynb", "poll", 1, "done", "2.5"),
    (2, "second.ipynb", "long", 1, "lost", ""),
]


def test_a_stored_file_of_version_1_is_read(stored, query):
    assert query(stored, "PRAGMA user_version") == [(1,)]
    assert outcomes(stored) == EXPECTED
    failed = runs(path=stored)[1]
    assert failed.error is not None
    assert failed.error.line == "ValueError: no answer"
    assert failed.stdout == "asked\n"


def test_a_stored_file_of_version_1_becomes_one_of_the_present(stored, query, keep, run_once):
    """With values of both versions in it."""
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: "short", "new")
        run_once(pool, lambda: "long" * 100, "new")
        assert journal.flush(PATIENCE)
    assert query(stored, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
    assert outcomes(stored) == [
        *EXPECTED,
        (3, "", "new", 1, "done", "'short'"),
        (3, "", "new", 1, "done", repr("long" * 100)),
    ]
    assert query(stored, "SELECT value FROM run WHERE value IS NOT NULL") == [("'short'",)], "one row is enough"
    assert query(stored, "SELECT count(*) FROM text WHERE run IN (SELECT id FROM run WHERE value != '')") == [(0,)]
    assert query(stored, "PRAGMA integrity_check") == [("ok",)]


def test_a_stored_file_becomes_one_of_a_version_to_come(stored, query, monkeypatch):
    """A pretended one, which adds a column."""
    following = (*schema.MIGRATIONS, ("ALTER TABLE session ADD COLUMN colour TEXT NOT NULL DEFAULT 'green'",))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", following)
        assert outcomes(stored) == EXPECTED
        assert outcomes(stored) == EXPECTED
    assert query(stored, "PRAGMA user_version") == [(len(following),)]
    assert query(stored, "SELECT DISTINCT colour FROM session") == [("green",)]
    assert query(stored, "PRAGMA integrity_check") == [("ok",)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(stored, query, monkeypatch):
    broken = (*schema.MIGRATIONS, ("ALTER TABLE session ADD COLUMN colour TEXT", "ALTER TABLE absent ADD COLUMN x"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(OSError, match="no such table: absent"):
            runs(path=stored)
    assert query(stored, "PRAGMA user_version") == [(1,)]
    assert outcomes(stored) == EXPECTED


def test_a_kernel_goes_on_while_a_later_version_adds_a_column(stored, query, monkeypatch, keep, run_once, warnings):
    journal = keep()
    following = (*schema.MIGRATIONS, ("ALTER TABLE run ADD COLUMN colour TEXT", "ALTER TABLE text ADD COLUMN x TEXT"))
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1, "before")
        assert journal.flush(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(schema, "MIGRATIONS", following)
            assert len(runs(path=stored)) == 5
        run_once(pool, lambda: 1 / 0, "after")
        assert journal.flush(PATIENCE)
    assert query(stored, "SELECT outcome, colour FROM run ORDER BY started DESC LIMIT 1") == [("failed", None)]
    assert warnings == []


def test_the_present_version_is_in_the_file(once, journal, path, query):
    once(lambda: 1)
    journal.close(PATIENCE)
    assert query(path, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_newer_version_is_refused_and_left_alone(stored, query, keep, warnings, run_once):
    connection = sqlite3.connect(stored)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = stored.read_bytes()
    known = len(schema.MIGRATIONS)
    sentence = f"{stored} was written by a newer bgpool-jupyter (version 7 of the tables, this one knows {known}); "
    for use in (lambda: runs(path=stored), lambda: prepare(stored)):
        with pytest.raises(JournalRefused) as caught:
            use()
        assert str(caught.value).startswith(sentence)
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
        run_once(pool, lambda: 2)
    assert journal.closed
    assert len(warnings) == 1
    assert warnings[0].startswith(sentence)
    assert warnings[0].endswith("runs go on without a journal")
    assert stored.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path, warnings, keep, run_once):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE session (notes TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefused, match="is a database of another program"):
        prepare(path)
    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
    assert len(warnings) == 1
    assert path.read_bytes() == before


def test_many_make_one_file_at_the_same_time(path, warnings, run_once):
    barrier = threading.Barrier(6)
    journals = [Journal(path, label=str(number), warn=warnings.append) for number in range(6)]

    def use(journal):
        with WorkerPool() as pool:
            pool.recorder = journal
            barrier.wait(PATIENCE)
            run_once(pool, lambda: 1, journal.label)
            journal.close(PATIENCE)

    threads = [threading.Thread(target=use, args=[journal]) for journal in journals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert warnings == []
    found = runs(path=path)
    assert sorted(run.name for run in found) == sorted(run.kernel for run in found) == [str(n) for n in range(6)]
    assert sorted(run.session for run in found) == [1, 2, 3, 4, 5, 6]
