"""What goes when there is too much: the oldest first, now and then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bgpool_jupyter.engine import ErrorInfo, RunOutput, RunRecord
from bgpool_jupyter.journal import Limits, runs, size
from bgpool_jupyter.journal.rows import Batch
from bgpool_jupyter.journal.store import Store
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


class Book:
    """Writes runs to a journal without a pool."""

    def __init__(self, path, limits):
        self.store = Store(path, "", limits)
        self.batch = Batch()
        self.batch.move(self.store.session)

    def write(self, *ended):
        """Write runs, and take out what is too much if it is time for that."""
        self.batch.add_ended(ended)
        self.store.write(self.batch)
        self.batch.clear()
        if self.store.crowded:
            self.batch.forget_workers(self.store.prune())


def run(number, name="w", started=None, value=None):
    begin = float(number if started is None else started)
    record = RunRecord(number, 1, begin, begin, begin + 0.5, 0.5, "done", value, None, None)
    return SimpleNamespace(name=name), None, record


def long_run(number, length):
    """Return a run whose texts are as long as that together."""
    error = ErrorInfo("OSError", "boom", "t" * length)
    worker, _, record = run(number)
    return worker, None, record._replace(error=error)


@pytest.fixture(name="book")
def _book(path):
    made = []

    def make(**limits):
        made.append(Book(path, Limits(**limits)))
        return made[-1]

    yield make
    for book in made:
        book.store.close(for_good=True)


def numbers(path, name=None):
    return [run.number for run in runs(name, path=path)]


def test_of_a_worker_the_oldest_go(book, path):
    written = book(runs_of_a_worker=10)
    for number in range(1, 31):
        written.write(run(number), *[run(1000 + number, "rare", 5000 + number)][: number < 4])
        assert len(numbers(path, "w")) <= 11, "a tenth more at most"
    assert numbers(path, "w")[-10:] == list(range(21, 31))
    assert numbers(path, "rare") == [1001, 1002, 1003]


def test_workers_of_one_name_count_together(book, path):
    for session in range(3):
        written = book(runs_of_a_worker=5)
        written.write(*[run(number, started=100 * session + number) for number in range(1, 5)])
        written.store.close(for_good=True)
    found = runs(path=path)
    assert [(run.session, run.number) for run in found] == [(2, 4), (3, 1), (3, 2), (3, 3), (3, 4)]
    assert size(path).sessions == 2, "a kernel without runs is forgotten"


def test_of_all_the_oldest_go(book, path):
    written = book(runs=20)
    for number in range(1, 61):
        written.write(run(number, f"w{number % 7}"))
        assert len(numbers(path)) <= 22
    assert numbers(path)[-20:] == list(range(41, 61))


def test_the_file_stays_within_its_size(book, path):
    written = book(size=1_000_000)
    for number in range(1, 400):
        written.write(long_run(number, 20_000))
        assert path.stat().st_size < 1_200_000
    found = numbers(path)
    assert found == list(range(found[0], 400)), "the oldest went"
    assert len(found) > 20


def test_what_finished_prints_counts(book, path, query):
    limit = 200_000
    books = book(size=limit)
    output = RunOutput()
    output.write("stdout", "x" * 10_000)
    for number in range(60):
        worker, _, record = run(number)
        books.write((worker, None, record))
        books.batch.add_output(worker, record._replace(output=output))
        books.write()
    assert query(path, "SELECT sum(length(stdout)) FROM text")[0][0] < 1.2 * limit
    assert runs(path=path)[-1].number == 59


def test_texts_go_with_their_runs(book, path, query):
    written = book(runs=5)
    for number in range(1, 30):
        written.write(long_run(number, 10))
    assert query(path, "SELECT count(*) FROM text WHERE run NOT IN (SELECT id FROM run)") == [(0,)]
    assert query(path, "SELECT count(*) FROM text") == query(path, "SELECT count(*) FROM run")


def test_names_without_runs_are_forgotten_and_can_come_again(book, path, query):
    written = book(runs=5)
    for number in range(1, 40):
        written.write(run(number, f"name {number % 13}"))
    assert query(path, "SELECT count(*) FROM worker")[0][0] <= 6
    assert [run.name for run in runs(path=path)][-5:] == [f"name {number % 13}" for number in range(35, 40)]


def test_what_another_living_kernel_knows_stays(book, path, query):
    first, second = book(runs=5), book(runs=5)
    first.write(run(1, "mine", 0.5))
    for number in range(1, 20):
        second.write(run(number, "theirs"))
    assert numbers(path, "mine") == []
    first.write(run(2, "mine", 100))
    assert [(run.name, run.session) for run in runs("mine", path=path)] == [("mine", 1)]


def test_it_is_not_pruned_at_every_commit(book, monkeypatch):
    from bgpool_jupyter.journal.limits import prune

    calls = []
    monkeypatch.setattr("bgpool_jupyter.journal.store.prune", lambda *args: (calls.append(1), prune(*args))[1])
    written = book(runs_of_a_worker=1_000, runs=1_000)
    for number in range(1, 301):
        written.write(run(number))
    assert len(calls) == 3, "at the beginning, and after each hundred"


def test_a_journal_keeps_its_limits(keep, path):
    journal = keep(limits=Limits(runs_of_a_worker=10, runs=15))
    pool = make_pool()
    pool.recorder = journal
    for name in ("a", "b"):
        pool.new_worker(1, lambda: 1, name=name, max_count=100).start()
    for _ in range(20):
        pool.clock.advance(5)
        assert journal.flush(PATIENCE)
    pool.close()
    assert len(runs(path=path)) <= 17
    assert {run.number for run in runs(path=path)} <= set(range(85, 101))
