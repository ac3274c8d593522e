"""Journals in folders of their own, and pools that write to them."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.journal import Journal

#: Seconds after which a wait on a thread or a process has failed. Long, because the machine may be busy.
PATIENCE = 20.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kept" / "journal.sqlite"


@pytest.fixture
def warnings():
    """What journals of `keep` warned of."""
    return []


@pytest.fixture
def keep(path, warnings):
    """Makes journals, which leave no thread behind."""
    before = set(threading.enumerate())
    made = []

    def make(where=path, **more):
        journal = Journal(where, **{"warn": warnings.append} | more)
        made.append(journal)
        return journal

    yield make
    for journal in made:
        journal.close(PATIENCE)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "bgpool-journal"]


@pytest.fixture
def journal(keep):
    return keep()


@pytest.fixture
def pool(journal):
    """A pool on real threads whose runs the journal keeps."""
    made = WorkerPool()
    made.recorder = journal
    yield made
    made.check()
    made.close(PATIENCE)


def run_once(pool, callback, name="one", **settings):
    """Run an actor to its end, whatever comes of it."""
    done = threading.Event()
    pool.new_actor(callback, name=name, finished=done.set, **settings).start()
    assert done.wait(PATIENCE)


def query(path, statement):
    """Ask the file itself."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


@pytest.fixture(name="once")
def _once(pool):
    return lambda callback, name="one", **settings: run_once(pool, callback, name, **settings)


@pytest.fixture(name="query")
def _query():
    return query


@pytest.fixture(name="run_once")
def _run_once():
    return run_once
