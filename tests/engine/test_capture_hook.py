"""The hook through which the output of runs, of `finished` and of jobs is led."""

from __future__ import annotations

import threading

import pytest

PATIENCE = 20.0


class Capture:
    """Notes who was led where, and lets callbacks write into the present output."""

    def __init__(self):
        self.here = threading.local()
        self.open = 0

    def enter(self, output, /):
        before = getattr(self.here, "output", None)
        self.here.output = output
        self.open += 1
        return before

    def exit(self, token, /):
        self.here.output = token
        self.open -= 1

    def label(self, filename, /):
        return "Here" if filename == __file__ else None

    def print(self, text):
        self.here.output.write("stdout", text)


@pytest.fixture
def capture(pool):
    pool.capture = Capture()
    return pool.capture


def test_each_run_has_its_own_output(pool, capture):
    worker = pool.new_worker(1, lambda: capture.print(f"run {worker.run_count}"), max_count=2, dispose=False).start()
    pool.clock.advance(5)
    assert [record.output.text() for record in worker.history] == ["run 1", "run 2"]
    assert capture.open == 0


def test_a_run_that_prints_nothing_keeps_no_output(pool, capture):
    worker = pool.new_worker(1, lambda: None, max_count=1, dispose=False).start()
    pool.clock.advance(5)
    assert worker.history[0].output is None


def test_the_output_of_a_run_in_flight_can_be_read(pool, capture):
    seen = []

    def callback(_worker):
        capture.print("so far")
        seen.append((_worker.current.output.text(), _worker.current.number, _worker.current.elapsed()))

    pool.new_actor(callback).start()
    pool.clock.advance(0)
    assert seen == [("so far", 1, 0.0)]


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(), KeyboardInterrupt()])
def test_what_was_printed_before_an_error_is_kept_and_the_hook_left(pool, capture, error):
    def bad():
        capture.print("before")
        raise error

    worker = pool.new_worker(1, bad, max_count=1, dispose=False).start()
    pool.clock.advance(0)
    assert worker.history[0].output.text() == "before"
    assert capture.open == 0


@pytest.mark.parametrize("run_prints", [True, False])
def test_what_finished_prints_is_added_to_the_last_record(pool, capture, run_prints):
    worker = pool.new_actor(
        lambda: capture.print("run\n") if run_prints else None,
        finished=lambda: capture.print("finished\n"),
        dispose=False,
    ).start()
    pool.clock.advance(0)
    assert worker.history[0].output.text() == ("run\nfinished\n" if run_prints else "finished\n")
    assert capture.open == 0


def test_a_traceback_names_sources_as_people_do(pool, capture):
    worker = pool.new_actor(lambda: [1 / n for n in (0,)], dispose=False).start()
    pool.clock.advance(0)
    assert "\n  Here, line " in worker.last_error.traceback
    assert __file__ not in worker.last_error.traceback


def test_an_error_of_finished_is_kept_and_seen_in_the_last_record(pool, capture):
    worker = pool.new_actor(lambda: None, finished=lambda: 1 / 0, dispose=False).start()
    pool.clock.advance(0)
    assert worker.finished_error.line == "ZeroDivisionError: division by zero"
    assert worker.last_error is None
    assert worker.history[0].output.stderr.startswith("finished failed:\nTraceback ")
    worker.start()
    assert worker.finished_error is None


def test_a_logger_that_prints_does_so_into_the_record_of_the_run(pool, capture):
    pool.set_logger(capture.print)
    worker = pool.new_worker(1, lambda: 1 / 0, name="w", max_count=1, dispose=False).start()
    pool.clock.advance(0)
    assert worker.history[0].output.text().startswith("run 1 of worker 'w' failed: ZeroDivisionError")


def test_jobs_have_output(live):
    live.capture = capture = Capture()
    job = live.run_job(lambda: capture.print("from the job"))
    job.result(PATIENCE)
    assert job.output.text() == "from the job"
    quiet = live.run_job(lambda: None)
    quiet.result(PATIENCE)
    assert quiet.output is None
    assert capture.open == 0
