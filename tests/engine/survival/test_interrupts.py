"""KeyboardInterrupt in any line of a call: no dead-lock, no lost entry."""

from __future__ import annotations

import _thread
import contextlib
import itertools
import random
import threading

import pytest

from bgpool_jupyter.engine import InvalidTransition, PoolError, WorkerState
from bgpool_jupyter.testing import make_pool

from .calls import CALLS
from .harness import PATIENCE, Crowd, all_run_again, interrupt_storm, short_or_long, switch_interval

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@short_or_long("hits", 300, 1000)
def test_a_storm_loses_no_entry(live, hits):
    """Every line of a command is hit sooner or later; after each interrupt the pool must be whole."""
    workers = [live.new_worker(3600, lambda: None, dispose=False, start_with_delay=True) for _ in range(8)]
    turn = itertools.count()
    pauses = itertools.cycle([0.0001 + k * 0.00001 for k in range(37)])

    def act():
        worker = workers[next(turn) % 8]
        worker.start()
        worker.pause()
        worker.unpause()
        worker.stop()

    interrupt_storm(hits, act, lambda: next(pauses))
    all_run_again(live, workers)


@short_or_long("hits", 300, 1000)
@pytest.mark.parametrize("switch", [1e-6, 5e-3])
def test_a_storm_amid_two_threads_that_do_the_same(live, switch, hits):
    dice = random.Random(4711)
    live.set_logger(lambda text: None)
    intervals = (0.0001, 0.001, 3600)
    workers = [live.new_worker(intervals[n % 3], lambda: None, finished=lambda: None, dispose=False) for n in range(6)]

    def act():
        worker = dice.choice(workers)
        commands = (worker.start, worker.stop, worker.pause, worker.unpause, worker.work_now, worker.restart)
        with contextlib.suppress(InvalidTransition):
            dice.choice(commands)()

    def act_on(n):
        act()
        live.run_job(lambda: None)

    with switch_interval(switch), Crowd(2, act_on):
        interrupt_storm(hits, act, lambda: dice.uniform(5e-5, 1e-3))
    all_run_again(live, workers)


@short_or_long("hits", 300, 1000)
def test_a_storm_over_every_public_call(live, hits):
    dice = random.Random(42)
    live.set_logger(lambda text: None)
    workers = [
        live.new_worker(0.001, lambda: None, name=f"w{n}", finished=lambda: None, dispose=False) for n in range(4)
    ]
    # What is made only to be left, as by `every` when an interrupt hits it, is none of the storm's.
    calls = [CALLS[name] for name in CALLS if name not in {"WorkerPool.every", "WorkerPool.check"}]

    def act():
        with contextlib.suppress(PoolError):
            dice.choice(calls)(live, dice.choice(workers))

    interrupt_storm(hits, act, lambda: dice.uniform(5e-5, 1e-3))
    live.resume()  # an interrupt between the two leaves it suspended
    all_run_again(live, workers)


@short_or_long("hits", 200, 1000)
def test_a_storm_while_jobs_are_given_loses_no_thread(live, hits):
    pauses = itertools.cycle([0.0002 + k * 0.00001 for k in range(29)])
    interrupt_storm(hits, lambda: live.run_job(lambda: None), lambda: next(pauses))
    assert live.run_job(lambda: "alive").result(PATIENCE) == "alive"


class TestWhatAnInterruptLeft:
    def test_is_mended_by_the_next_call(self, live):
        worker = live.new_worker(3600, lambda: None, start_with_delay=True).start()
        live._deadlines.cancel(worker)  # as if cut off between the new state and the queue entry
        live._touched = worker
        live.new_worker(3600, lambda: None).start()
        live.check()
        assert worker._token

    def test_a_stop_is_completed_by_the_next_call(self, pool):
        ends = []
        worker = pool.new_worker(10, lambda: None, finished=lambda: ends.append(1)).start()
        worker._state = WorkerState.STOPPED  # as if cut off right after the new state
        pool._touched = worker
        pool.new_worker(1, lambda: None, max_count=1).start()
        pool.check()
        assert worker._token == 0
        assert worker not in pool.find_workers()
        pool.clock.advance(20)
        assert ends == [1]
        assert worker.run_count == 0

    def test_who_runs_is_in_the_pool(self, pool, monkeypatch):
        """A worker that left the pool is started again, and that is cut off as soon as it is started."""
        worker = pool.new_worker(1, lambda: None).start().stop()
        assert worker not in pool.find_workers()

        def cut(self):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(worker), "_reset_counts", cut)
            with pytest.raises(KeyboardInterrupt):
                worker.start()
        pool.clock.advance(3)
        assert worker.running == (worker in pool.find_workers())
        pool.stop_workers()
        assert not worker.running

    def test_a_wake_up_is_completed(self, live):
        live.run_job(lambda: None).result(PATIENCE)
        executor = live._executor
        for _ in range(2000):
            with live._lock:
                if executor._idle:
                    seat = executor._idle[-1]
                    executor._waking = True
                    seat.woken = True
                    executor._searching = True
                    break
            _thread.allocate_lock().acquire(timeout=0.005)
        else:
            pytest.fail("no thread parked")
        assert live.run_job(lambda: "alive").result(PATIENCE) == "alive"


@short_or_long("hits", 200, 1000)
def test_a_storm_over_job_stop_leaves_none_that_never_ends(hits):
    """Who stops a job takes it away from the threads first: nobody else would ever end it."""
    pool = make_pool()
    job = None

    def act():
        nonlocal job
        job = pool.run_job(lambda: None)
        job.stop()
        pool._ready.clear()

    def pause():
        assert job is None or job.done or "_task" in vars(job)
        return next(pauses)

    pauses = itertools.cycle([0.00005 + k * 0.000003 for k in range(37)])
    interrupt_storm(hits, act, pause)


def test_a_resume_that_is_cut_off_is_done_or_not_begun(live, monkeypatch, eventually):
    live.suspend()
    ran = threading.Event()
    live.new_actor(ran.set).start()
    assert eventually(lambda: live._executor._idle)
    real = live._executor.armed

    def cut(due):
        monkeypatch.setattr(live._executor, "armed", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(live._executor, "armed", cut)
    with pytest.raises(KeyboardInterrupt):
        live.resume()
    live.new_actor(lambda: None, delay=3600).start()
    if live.suspended:
        live.resume()
    assert ran.wait(PATIENCE)


class TestRunDue:
    """The thread that calls run_due() executes runs, jobs and `finished` itself, and may be the main thread."""

    @short_or_long("hits", 300, 1000)
    def test_a_storm_loses_no_run_no_job_and_no_end(self, pool, hits):
        dice = random.Random(7)
        pool.set_logger(lambda text: None)
        ends = []
        workers = [pool.new_worker(1, lambda: None, finished=lambda: ends.append(1), dispose=False) for _ in range(4)]
        jobs = []

        def act():
            if len(jobs) < 10_000:
                jobs.append(pool.run_job(lambda: None))
            worker = dice.choice(workers)
            if not worker.running:
                worker.start()
            pool.clock.advance(1)
            dice.choice([worker.stop, worker.work_now, worker.restart, worker.pause])()

        def allowed():
            with contextlib.suppress(InvalidTransition):
                act()

        interrupt_storm(hits, allowed, lambda: dice.uniform(5e-5, 1e-3))
        pool.run_due()
        pool.check()
        assert all(job.done for job in jobs)
        for worker in workers:
            worker.stop()
        pool.run_due()
        ends.clear()
        for worker in workers:
            worker.start()
            pool.clock.advance(3)
            worker.stop()
        pool.run_due()
        assert [worker.run_count for worker in workers] == [4] * 4
        assert len(ends) == 4
