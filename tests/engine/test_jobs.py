"""Jobs, pooled threads and their balance."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import gc
import threading
import traceback
import weakref

import pytest

from bgpool_jupyter.engine import (
    ArgumentTypeError,
    ArgumentValueError,
    JobCancelled,
    JobState,
    JobTimeout,
    WorkerPool,
)
from bgpool_jupyter.engine.jobs import JOBS_KEPT, Balance

PATIENCE = 20.0


@dataclasses.dataclass(frozen=True)
class Unchangeable(Exception):
    number: int = 1


class NoNotes(Exception):
    def add_note(self, note):
        message = "it takes none"
        raise TypeError(message)


class Proxy:
    """As one of a web framework, outside of a request."""

    def __getattr__(self, name):
        message = "outside of a request"
        raise RuntimeError(message)

    def __call__(self):
        return "called"


def blockers(pool, count):
    """Start jobs that block; return them and the event that releases them, once all of them run."""
    release = threading.Event()
    entered = threading.Barrier(count + 1)

    def block():
        entered.wait(PATIENCE)
        release.wait(PATIENCE)

    jobs = [pool.run_job(block) for _ in range(count)]
    entered.wait(PATIENCE)
    return jobs, release


class TestJob:
    def test_result(self, live):
        job = live.run_job(lambda: 42, name="answer")
        assert job.result(PATIENCE) == 42
        assert (job.name, job.state, job.done, job.running) == ("answer", JobState.DONE, True, False)
        assert job.exception() is None
        assert job.ended >= job.started

    def test_a_job_without_a_name_has_one(self, live):
        job = live.run_job(lambda: None)
        assert job.name == f"job-{job.id}"

    def test_exception(self, live):
        told = []
        live.set_logger(told.append)

        def bad():
            raise ValueError("boom")

        job = live.run_job(bad, name="bad")
        assert isinstance(job.exception(PATIENCE), ValueError)
        with pytest.raises(ValueError, match="boom"):
            job.result()
        assert job.state is JobState.FAILED
        assert 'raise ValueError("boom")' in job.error.traceback
        live.run_job(lambda: None).result(PATIENCE)
        live.close(PATIENCE)
        assert len(told) == 1
        assert told[0].startswith("job 'bad' failed: ValueError: boom\n")

    @pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
    def test_a_task_that_raises_loses_no_thread_and_does_not_count(self, live, error):
        def bad():
            raise error

        assert live.run_job(bad).exception(PATIENCE) is error
        assert live.count_jobs() == (0, 1)
        assert live.run_job(lambda: threading.current_thread().name).result(PATIENCE).startswith("bgpool-")
        assert live.count_jobs() == (0, 1)

    @pytest.mark.parametrize("kind", [Unchangeable, NoNotes])
    def test_an_error_that_lets_nothing_be_changed_ends_its_job(self, live, kind):
        def bad():
            raise kind

        job = live.run_job(bad)
        with pytest.raises(kind) as caught:
            job.result(PATIENCE)
        assert "in bad\n" not in "".join(traceback.format_exception(caught.value)), "its frames are gone"
        assert job.state is JobState.FAILED
        assert "in bad\n" in job.error.traceback

    def test_a_task_that_refuses_every_look_is_run(self, live):
        assert live.run_job(Proxy()).result(PATIENCE) == "called"

    def test_timeout(self, live):
        (job,), release = blockers(live, 1)
        for wait in (job.result, job.exception):
            with pytest.raises(JobTimeout, match="has not ended in time and goes on; wait again or stop"):
                wait(0.01)
        with pytest.raises(TimeoutError):
            job.result(0)
        release.set()
        assert job.result(PATIENCE) is None

    @pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", True])
    def test_a_bad_timeout_is_refused(self, live, timeout):
        job = live.run_job(lambda: 1)
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^timeout must be "):
            job.result(timeout)

    def test_stop_takes_back_a_job_that_waits(self):
        pool = WorkerPool(max_threads=2)
        _, release = blockers(pool, 2)
        ran = []
        job = pool.run_job(lambda: ran.append(1), name="late")
        assert job.state is JobState.WAITING
        assert job.stop() is True
        assert job.stop() is True
        with pytest.raises(
            JobCancelled, match=r"^job 'late' was stopped before it began; run_job\(\) makes a new one$"
        ):
            job.result()
        with pytest.raises(concurrent.futures.CancelledError):
            job.exception()
        release.set()
        pool.run_job(lambda: None).result(PATIENCE)
        pool.close(PATIENCE)
        assert ran == []

    @pytest.mark.parametrize("error", [ValueError, SystemExit])
    def test_a_logger_may_wait_for_another_job(self, live, error):
        answers = []

        def task():
            raise error("gone")

        live.set_logger(lambda _text: answers.append(live.run_job(lambda: "ok").result(5)))
        assert isinstance(live.run_job(task).exception(PATIENCE), error)
        assert answers == ["ok"]

    def test_an_error_that_followed_another_keeps_no_frame_of_either(self, live):
        class Data:
            pass

        gone = []

        def task():
            data = Data()
            gone.append(weakref.ref(data))
            try:
                raise KeyError(1)
            except KeyError as error:
                raise ValueError("boom") from error

        job = live.run_job(task)
        error = job.exception(PATIENCE)
        gc.collect()
        assert gone[0]() is None
        assert isinstance(error.__cause__, KeyError)
        assert "KeyError: 1" in job.error.traceback

    def test_stop_asks_a_running_job_to_end(self, live):
        entered = threading.Event()

        def polite(_job):
            entered.set()
            while not _job.should_stop:
                pass
            return "ended"

        job = live.run_job(polite)
        assert entered.wait(PATIENCE)
        assert job.running
        assert job.stop() is False
        assert job.result(PATIENCE) == "ended"

    def test_many_waiters(self, live):
        (job,), release = blockers(live, 1)
        results = []
        threads = [threading.Thread(target=lambda: results.append(job.result(PATIENCE))) for _ in range(8)]
        for thread in threads:
            thread.start()
        release.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert results == [None] * 8

    def test_every_one_of_many_runs_once(self, live):
        ran = []
        jobs = [live.run_job(lambda n=n: ran.append(n)) for n in range(5000)]
        for job in jobs:
            job.result(PATIENCE)
        assert sorted(ran) == list(range(5000))

    def test_jobs_lists_what_waits_runs_and_ended_lately(self, live):
        for _ in range(60):
            live.run_job(lambda: None).result(PATIENCE)
        running, release = blockers(live, 60)
        listed = live.jobs()
        assert set(running) <= set(listed)
        assert [job.id for job in listed] == sorted(job.id for job in listed)
        release.set()

    def test_of_those_that_ended_the_last_ones_are_listed_and_few_more_are_kept(self, live, eventually):
        made = []
        for n in range(200):
            job = live.run_job(lambda: None)
            job.stop() if n % 3 == 0 else job.result(PATIENCE)
            made.append(job)
        assert live.jobs() == made[-JOBS_KEPT:]
        assert eventually(lambda: len(live._jobs) < 2 * JOBS_KEPT)  # the list is shortened after the result is there

    def test_a_burst_leaves_no_more_than_that(self, live, eventually):
        running, release = blockers(live, 3)
        waiting = [live.run_job(lambda: None) for _ in range(500)]
        release.set()
        for job in running + waiting:
            job.result(PATIENCE)
        assert live.jobs() == waiting[-JOBS_KEPT:]
        assert eventually(lambda: len(live._jobs) < 2 * JOBS_KEPT)


class TestCounts:
    def test_running_and_paused(self, live):
        assert live.count_jobs() == (0, 0)
        jobs, release = blockers(live, 3)
        assert live.count_jobs() == (3, 0)
        release.set()
        for job in jobs:
            job.result(PATIENCE)
        assert live.count_jobs() == (0, 3)

    def test_a_paused_thread_is_taken_before_a_new_one_is_made(self, live):
        names = {live.run_job(lambda: threading.current_thread().name).result(PATIENCE) for _ in range(50)}
        assert len(names) == 1
        assert live.count_jobs() == (0, 1)

    def test_an_accepted_job_counts_at_once(self, live):
        release = threading.Event()
        live.run_job(lambda: release.wait(PATIENCE))
        assert live.count_jobs() == (1, 0)
        release.set()

    def test_the_thread_that_watches_the_clock_is_not_paused(self, live, eventually):
        live.new_actor(lambda: None, delay=3600).start()
        live.run_job(lambda: None).result(PATIENCE)

        def threads():
            return len([thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")])

        assert eventually(lambda: live._executor._leader is not None and live.count_jobs() == (0, threads() - 1))

    def test_work_beyond_max_threads_waits_and_runs(self):
        pool = WorkerPool(max_threads=2)
        jobs, release = blockers(pool, 2)
        later = [pool.run_job(lambda n=n: n) for n in range(10)]
        assert pool.count_jobs() == (2, 0)
        assert not any(job.done for job in later)
        release.set()
        assert [job.result(PATIENCE) for job in [*jobs, *later]] == [None, None, *range(10)]
        pool.close(PATIENCE)


class TestBalance:
    @pytest.mark.parametrize(
        ("running", "paused", "ends"),
        [(0, 3, 0), (0, 4, 2), (1, 3, 0), (1, 4, 2), (2, 6, 0), (2, 7, 3), (0, 0, 0), (10, 1, 0)],
    )
    def test_surplus(self, running, paused, ends):
        assert Balance(3.0, 1000, 2.0).surplus(running, paused) == ends

    def test_paused_threads_end_after_every_so_many_requests(self, live, eventually):
        jobs, release = blockers(live, 8)
        release.set()
        for job in jobs:
            job.result(PATIENCE)
        assert live.count_jobs() == (0, 8)
        live.set_job_balance(3.0, 10, 2.0)
        for _ in range(9):
            live.run_job(lambda: None).result(PATIENCE)
        assert live.count_jobs() == (0, 8)
        live.run_job(lambda: None).result(PATIENCE)
        # At the tenth request 1 runs and 7 are paused: 7 // 2 end.
        assert eventually(lambda: live.count_jobs() == (0, 5))

    def test_none_is_the_default(self, live):
        live.set_job_balance(None, None, None)
        assert live._executor._balance == Balance(3.0, 1000, 2.0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((-1, 10, 2), "balance_target must be 0 or greater, not -1.0; give 3.0 for example"),
            (("3", 10, 2), "balance_target must be a number, not str '3'; give 3.0 for example"),
            ((3, 0, 2), "balance_latency must be at least 1, not 0; give 1000 for example"),
            ((3, 1.5, 2), "balance_latency must be a whole number, not 1.5; give 1000 for example"),
            ((3, True, 2), "balance_latency must be a whole number, not True; give 1000 for example"),
            ((3, 10, 0), "balance_reduce_factor must be at least 1, not 0.0; give 2.0 for example"),
            ((3, 10, float("nan")), "balance_reduce_factor must be a finite number, not nan; give 2.0 for example"),
        ],
    )
    def test_bad_figures_change_nothing(self, live, arguments, message):
        with pytest.raises((ArgumentTypeError, ArgumentValueError)) as caught:
            live.set_job_balance(*arguments)
        assert str(caught.value) == message
        assert live._executor._balance == Balance()


class TestKill:
    def test_takes_paused_threads_and_waiting_tasks_and_asks_running_ones(self):
        pool = WorkerPool(max_threads=4)
        entered, asked = threading.Event(), threading.Event()

        def polite(_job):
            entered.set()
            while not _job.should_stop:
                pass
            asked.set()

        pool.run_job(polite)
        assert entered.wait(PATIENCE)
        blocked, release = blockers(pool, 3)
        waiting = [pool.run_job(lambda: None) for _ in range(5)]
        pool.kill_jobs()
        assert asked.wait(PATIENCE)
        assert [job.state for job in waiting] == [JobState.CANCELLED] * 5
        release.set()
        for job in blocked:
            job.result(PATIENCE)
        pool.kill_jobs(PATIENCE)
        pool.close(PATIENCE)
        assert pool.count_jobs() == (0, 0)

    def test_paused_threads_are_gone_when_it_returns(self, live):
        jobs, release = blockers(live, 5)
        release.set()
        for job in jobs:
            job.result(PATIENCE)
        live.kill_jobs(PATIENCE)
        assert live.count_jobs() == (0, 0)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]
        assert live.run_job(lambda: 1).result(PATIENCE) == 1

    def test_from_a_job(self, live):
        assert live.run_job(lambda: live.kill_jobs(PATIENCE)).exception(PATIENCE) is None

    def test_workers_go_on(self, live):
        twice = threading.Event()
        worker = live.new_worker(0.001, lambda _worker: twice.set() if _worker.run_count > 20 else None).start()
        for _ in range(10):
            live.kill_jobs(PATIENCE)
        assert twice.wait(PATIENCE)
        assert worker.running
