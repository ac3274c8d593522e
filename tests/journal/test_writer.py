"""What the journal keeps of runs, and when it has it."""

from __future__ import annotations

import threading
import time

import pytest

from bgpool_jupyter.engine import RunOutput, WorkerPool
from bgpool_jupyter.journal import Journal, Limits, runs
from bgpool_jupyter.journal.rows import MAX_STREAM, Batch
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


class Capture:
    """Writes into each run's output what a test says."""

    def __init__(self, *writes):
        self.writes = writes

    def enter(self, output):
        if not output.empty:
            return  # what `finished` prints is added to the last run
        for stream, text in self.writes:
            output.write(stream, text) if isinstance(text, str) else output.display(text)

    def exit(self, token):
        return None

    def label(self, filename):
        return None


def test_a_run_is_kept_with_everything(pool, journal, path):
    pool.capture = Capture(("stdout", "said\n"), ("stderr", "warned\n"), ("display", {"text/plain": "a picture"}))
    begin = time.time()
    worker = pool.new_worker(3600, lambda: {"answer": 42}, name="poll", max_count=1).start()
    assert worker.result(timeout=PATIENCE) == {"answer": 42}
    assert journal.flush(PATIENCE)
    (run,) = runs(path=path)
    record = worker.history[0]
    assert (run.name, run.number, run.attempt, run.outcome, run.value) == ("poll", 1, 1, "done", "{'answer': 42}")
    assert (run.due, run.started, run.ended, run.duration) == (
        record.due,
        record.started,
        record.ended,
        record.duration,
    )
    assert begin - 1 < run.started < time.time() + 1
    assert (run.stdout, run.stderr, run.display, run.error) == ("said\n", "warned\n", "a picture", None)
    assert (run.session, run.kernel, journal.session) == (1, "", 1)
    assert repr(run) == "JournalRun('poll', run 1, done)"


def test_an_error_is_kept_as_text(once, journal, path):
    def body():
        raise ValueError("no answer")

    once(body)
    journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert run.outcome == "failed"
    assert run.error is not None
    assert (run.error.type, run.error.message, run.error.line) == ("ValueError", "no answer", "ValueError: no answer")
    assert 'raise ValueError("no answer")' in run.error.traceback
    assert repr(run) == "JournalRun('one', run 1, failed, ValueError: no answer)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (False, "False"),
        ("x" * 100_000, None),
        (list(range(10_000)), None),
        ("\ud800", "'\\ud800'"),
        ("a\0b", "'a\\x00b'"),
    ],
    ids=["none", "false", "long", "many", "surrogate", "nul"],
)
def test_values_are_texts_in_bounds(once, journal, path, value, text):
    once(lambda: value)
    assert journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert len(run.value) <= 2_000
    assert run.value == text or text is None


def test_a_value_whose_repr_raises_harms_nothing(once, journal, path, warnings):
    class Hostile:
        def __repr__(self):
            raise SystemExit("no")

    once(Hostile)
    once(lambda: 1, "next")
    journal.flush(PATIENCE)
    assert [(run.name, run.value) for run in runs(path=path)] == [
        ("one", "<Hostile object whose repr failed>"),
        ("next", "1"),
    ]
    assert warnings == []


def test_output_is_cut_from_its_beginning_and_says_so(pool, journal, path, run_once):
    pool.capture = Capture(("stdout", "".join(f"line {n}\n" for n in range(2_500))), ("stderr", "x" * 50_000))
    run_once(pool, lambda: None)
    journal.flush(PATIENCE)
    (run,) = runs(path=path)
    first, _, rest = run.stdout.partition("\n")
    assert first.startswith("… ")
    assert first.endswith(" lines dropped")
    assert rest.endswith("line 2499\n")
    assert run.stderr.startswith("… start of a long line dropped\n")
    assert max(len(run.stdout), len(run.stderr)) < MAX_STREAM + 100


class Printer:
    """Has a run print "said", if it is asked to, and `finished` print "later"."""

    def __init__(self, run_prints):
        self.run_prints = run_prints
        self.calls = 0

    def enter(self, output):
        return output

    def exit(self, output):
        self.calls += 1
        if self.calls == 2:
            output.write("stdout", "later\n")
        elif self.run_prints:
            output.write("stdout", "said\n")

    def label(self, filename):
        return None


@pytest.mark.parametrize("committed", [True, False], ids=["run was committed", "all at once"])
@pytest.mark.parametrize("value", [None, 7, "x" * 500], ids=["none", "short", "long"])
@pytest.mark.parametrize("run_prints", [True, False], ids=["run prints", "run is silent"])
def test_what_finished_prints_is_kept_with_the_last_run(journal, path, run_prints, value, committed):
    pool = make_pool()
    pool.recorder = journal
    pool.new_worker(1, lambda: "another", name="one", max_count=2).start()
    pool.clock.advance(5)
    pool.capture = Printer(run_prints)
    finished = (lambda: journal.flush(PATIENCE)) if committed else (lambda: None)
    pool.new_actor(lambda: value, name="one", finished=finished).start()
    pool.clock.advance(5)
    pool.close()
    assert journal.flush(PATIENCE)
    found = runs(path=path)
    assert [(run.outcome, run.stdout) for run in found] == [
        ("done", ""),
        ("done", ""),
        ("done", "said\nlater\n" if run_prints else "later\n"),
    ]
    assert found[-1].value == ("" if value is None else repr(value))


def test_what_a_failed_finished_says_is_kept_too(journal, path):
    pool = make_pool()
    pool.set_logger(lambda text: None)
    pool.recorder = journal
    pool.new_actor(lambda: 1, name="one", finished=lambda: 1 / 0).start()
    pool.clock.advance(1)
    pool.close()
    assert journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert (run.outcome, run.error) == ("done", None)
    assert run.stderr.startswith("finished failed:\n")
    assert "ZeroDivisionError" in run.stderr


def test_the_count_of_dropped_lines_is_right(pool, journal, path, run_once):
    pool.capture = Capture(("stdout", "".join(f"line {n}\n" for n in range(1_200))))
    run_once(pool, lambda: None)
    journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert run.stdout.startswith("… 200 lines dropped\nline 200\n")


def test_attempts_are_runs_of_their_own(pool, journal, path):
    tries = []

    def body():
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return "there"

    worker = pool.new_actor(body, name="try", retry=3, dispose=False).start()
    while worker.run_count == 0 or worker.status not in {"stopped", "failed"} or len(tries) < 3:
        threading.Event().wait(0.01)
    journal.flush(PATIENCE)
    assert [(run.number, run.attempt, run.outcome) for run in runs(path=path)] == [
        (1, 1, "failed"),
        (1, 2, "failed"),
        (1, 3, "done"),
    ]


def test_a_run_in_flight_has_its_row_before_it_ends(pool, journal, path):
    entered, leave = threading.Event(), threading.Event()
    worker = pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="long").start()
    assert entered.wait(PATIENCE)
    assert journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert (run.outcome, run.ended, run.duration, run.value) == ("running", None, None, "")
    leave.set()
    worker.result(timeout=PATIENCE)
    assert journal.flush(PATIENCE)
    (run,) = runs(path=path)
    assert (run.outcome, run.number) == ("done", 1)


def test_it_is_committed_without_being_asked(once, journal, path, query):
    once(lambda: 1)
    end = time.monotonic() + PATIENCE
    while not path.exists() or query(path, "SELECT count(*) FROM sqlite_schema") == [(0,)] or not runs(path=path):
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    assert [run.outcome for run in runs(path=path)] == ["done"]


def test_a_run_that_is_lost_when_the_journal_is_closed(pool, journal, path):
    entered, leave = threading.Event(), threading.Event()
    pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="long").start()
    assert entered.wait(PATIENCE)
    journal.close(PATIENCE)
    assert [run.outcome for run in runs(path=path)] == ["lost"]
    leave.set()


def test_nothing_is_made_before_there_is_something_to_write(journal, path):
    assert journal.flush(PATIENCE)
    assert not path.exists()
    assert journal.session is None


def test_close_may_be_called_again_and_takes_nothing_more(pool, journal, path, run_once):
    run_once(pool, lambda: 1, "before")
    journal.close(PATIENCE)
    journal.close(PATIENCE)
    assert journal.closed
    run_once(pool, lambda: 1, "after")
    assert not journal.flush(0.5)
    assert [run.name for run in runs(path=path)] == ["before"]


def test_close_of_a_journal_commits_what_came_last(pool, keep, tmp_path, run_once):
    for number in range(10):
        place = tmp_path / f"{number}.sqlite"
        pool.recorder = journal = keep(place)
        run_once(pool, lambda: 1, f"run {number}")
        journal.close(PATIENCE)
        assert [run.name for run in runs(path=place)] == [f"run {number}"]


def test_one_journal_for_two_pools(journal, path, run_once):
    with WorkerPool() as first, WorkerPool() as second:
        for number, pool in enumerate((first, second)):
            pool.recorder = journal
            run_once(pool, lambda: 1, f"of {number}")
    journal.flush(PATIENCE)
    assert [run.name for run in runs(path=path)] == ["of 0", "of 1"]


def test_a_run_that_began_under_another_journal_is_whole_in_the_second(keep, tmp_path, pool):
    first, second = keep(tmp_path / "1.sqlite"), keep(tmp_path / "2.sqlite")
    entered, leave = threading.Event(), threading.Event()
    pool.recorder = first
    worker = pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE), "value")[2], name="long").start()
    assert entered.wait(PATIENCE)
    first.close(PATIENCE)
    pool.recorder = second
    leave.set()
    worker.result(timeout=PATIENCE)
    second.close(PATIENCE)
    assert [run.outcome for run in runs(path=first.path)] == ["lost"]
    assert [(run.outcome, run.value) for run in runs(path=second.path)] == [("done", "'value'")]


@pytest.mark.parametrize("known", [True, False], ids=["was noted in flight", "was not"])
def test_a_run_during_which_the_journal_was_off_is_one_row(keep, path, pool, known):
    first = keep()
    entered, leave = threading.Event(), threading.Event()
    pool.recorder = first
    worker = pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE), "value")[2], name="long").start()
    assert entered.wait(PATIENCE)
    assert not known or first.flush(PATIENCE)
    first.close(PATIENCE)
    assert [run.outcome for run in runs(path=path)] == ["lost"]
    pool.recorder = second = keep()
    leave.set()
    worker.result(timeout=PATIENCE)
    assert second.flush(PATIENCE)
    assert [(run.session, run.name, run.outcome, run.value) for run in runs(path=path)] == [
        (2, "long", "done", "'value'")
    ]


def test_many_runs_of_many_threads_are_all_there(pool, journal, path):
    workers = [pool.new_worker(0.001, lambda: 1, name=f"w{n}", max_count=50, dispose=False) for n in range(8)]
    done = threading.Semaphore(0)
    for worker in workers:
        worker.finished = done.release
        worker.start()
    for _ in workers:
        assert done.acquire(timeout=PATIENCE)
    assert journal.flush(PATIENCE)
    found = runs(path=path)
    assert sorted((run.name, run.number) for run in found) == [(f"w{n}", k) for n in range(8) for k in range(1, 51)]
    assert {run.outcome for run in found} == {"done"}


def test_of_a_burst_only_what_would_stay_is_written(keep, path):
    journal = keep(limits=Limits(runs_of_a_worker=10))
    pool = make_pool()
    pool.recorder = journal
    pool.new_worker(1, lambda: 1, name="fast", max_count=500).start()
    pool.new_worker(100, lambda: 1, name="slow", max_count=5).start()
    pool.clock.advance(600)
    pool.close()
    assert journal.flush(PATIENCE)
    found = runs(path=path)
    assert [run.number for run in found if run.name == "fast"][-10:] == list(range(491, 501))
    assert len([run for run in found if run.name == "slow"]) == 5
    assert journal.dropped == 0


def test_globs_and_last(pool, journal, path, run_once):
    for name in ("poll 1", "poll 2", "other") * 3:
        run_once(pool, lambda: 1, name)
    journal.flush(PATIENCE)
    assert [run.name for run in runs("poll*", path=path)] == ["poll 1", "poll 2"] * 3
    latest = runs("*", 1, path=path)
    assert [run.name for run in latest] == ["poll 1", "poll 2", "other"]
    assert latest == runs(path=path)[-3:]
    assert runs("nobody", path=path) == []


def test_the_hot_path_takes_no_lock_and_waits_for_nothing(keep):
    """The pool calls it under its lock: it must return at once also while the thread is stuck."""
    stuck, leave = threading.Event(), threading.Event()

    class Slow:
        def __repr__(self):
            stuck.set()
            leave.wait(PATIENCE)
            return "slow"

    journal = keep()
    with WorkerPool() as pool:
        pool.recorder = journal
        pool.new_actor(Slow).start()
        assert stuck.wait(PATIENCE)
        done = threading.Event()
        pool.new_worker(0.001, lambda: 1, max_count=20, finished=done.set).start()
        assert done.wait(PATIENCE)
        assert not journal.flush(0.05)
        begin = time.monotonic()
        journal.close(0.1)
        assert time.monotonic() - begin < 5
        leave.set()
        journal.close(PATIENCE)
    assert len(runs(path=journal.path)) == 21


def test_its_thread_is_a_daemon_of_its_own(journal):
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "bgpool-journal"]
    assert thread.daemon


def test_without_a_thread_runs_go_on(monkeypatch, path, warnings, run_once):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        journal = Journal(path, warn=warnings.append)
    assert journal.closed
    assert warnings == [f"the journal {path} has no thread (can't start new thread); runs go on without it"]
    with WorkerPool() as pool:
        pool.recorder = journal
        run_once(pool, lambda: 1)
    assert not journal.flush(0.1)
    journal.close()


def test_a_fault_of_the_journal_is_one_warning_and_ends_no_thread(keep, path, warnings, monkeypatch, run_once):
    journal = keep()
    with monkeypatch.context() as patch, WorkerPool() as pool:
        patch.setattr(Batch, "add_ended", lambda *_: 1 / 0)
        pool.recorder = journal
        run_once(pool, lambda: 1)
        assert not journal.flush(PATIENCE)
        patch.undo()
        run_once(pool, lambda: 1, "later")
        assert journal.flush(PATIENCE)
    assert [run.name for run in runs(path=path)] == ["later"]
    assert len(warnings) == 1
    assert "could not take down some runs" in warnings[0]


def test_a_frame_has_the_columns_of_a_history_and_the_kernel(keep, path):
    pytest.importorskip("pandas")
    from bgpool_jupyter.engine.frames import HISTORY_COLUMNS
    from bgpool_jupyter.journal import FRAME_COLUMNS, frame

    journal = keep(label="analysis.ipynb")
    entered, leave = threading.Event(), threading.Event()
    with WorkerPool() as pool:
        pool.recorder = journal
        pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="flying").start()
        assert entered.wait(PATIENCE)
        pool.new_actor(lambda: 7, name="ended").start().result(timeout=PATIENCE)
        journal.flush(PATIENCE)
        found = frame(path=path)
        leave.set()
    assert tuple(found.columns) == FRAME_COLUMNS == ("session", "kernel", *HISTORY_COLUMNS, "traceback", "display")
    assert list(found["outcome"]) == ["running", "done"]
    assert list(found["kernel"]) == ["analysis.ipynb"] * 2
    assert found["ended"].isna().tolist() == [True, False]
    assert str(found["started"].dtype).endswith("UTC]")
    assert list(frame("nobody", path=path).columns) == list(FRAME_COLUMNS)


def test_output_is_what_the_capture_gives():
    """RunOutput is what rows are made of: its displays have plain texts, whatever they are."""
    output = RunOutput()
    output.display({"text/html": "<script>1</script>"})
    assert output.displays == [{"text/html": "<script>1</script>"}]
