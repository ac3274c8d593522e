"""Coroutines of workers and of jobs, on the pool's one event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

import pytest

from bgpool_jupyter.engine import JobCancelled, JobState
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


def pool_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]


class TestJobs:
    def test_the_coroutine_of_a_job_is_awaited(self, live):
        async def task():
            return 7

        assert live.run_job(task).result(PATIENCE) == 7
        assert live.run_job(lambda: task()).result(PATIENCE) == 7

    def test_many_overlap_on_one_thread(self, live):
        """None of them ends before all have begun, and no pool thread waits for them."""
        count = 200
        begun = []
        names = set()
        all_have = asyncio.Event()

        async def task():
            begun.append(1)
            names.add(threading.current_thread().name)
            if len(begun) == count:
                all_have.set()
            await all_have.wait()
            return len(begun)

        jobs = [live.run_job(task) for _ in range(count)]
        assert [job.result(PATIENCE) for job in jobs] == [count] * count
        assert names == {"bgpool-loop"}
        assert len(pool_threads()) < count / 4
        assert live.count_jobs()[0] == 0

    def test_stop_cancels_one_that_runs(self, live):
        entered, ended = threading.Event(), []

        async def task():
            entered.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(1)

        job = live.run_job(task, name="long")
        assert entered.wait(PATIENCE)
        assert job.running
        assert job.stop() is False
        with pytest.raises(JobCancelled, match=r"^job 'long' was stopped; run_job\(\) makes a new one$"):
            job.result(PATIENCE)
        assert ended == [1]
        assert job.state is JobState.CANCELLED
        assert job.error is None
        assert job.stop() is True
        with pytest.raises(concurrent.futures.CancelledError):
            job.exception()

    def test_its_stack(self, live, eventually):
        async def inner():
            await asyncio.sleep(3600)

        async def outer():
            await inner()

        job = live.run_job(outer)
        assert eventually(lambda: "in inner" in job.stack())
        assert "in outer" in job.stack()
        job.stop()
        assert eventually(lambda: job.done)
        assert job.stack() == ""

    def test_the_stack_of_a_function(self, live):
        entered, release = threading.Event(), threading.Event()

        def wait_here():
            entered.set()
            release.wait(PATIENCE)

        job = live.run_job(wait_here)
        assert entered.wait(PATIENCE)
        assert "in wait_here" in job.stack()
        release.set()
        job.result(PATIENCE)
        assert job.stack() == ""

    def test_one_that_will_not_be_cancelled_goes_on(self, live):
        entered = threading.Event()

        async def task(_job):
            entered.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return _job.should_stop

        job = live.run_job(task)
        assert entered.wait(PATIENCE)
        job.stop()
        assert job.result(PATIENCE) is True
        assert job.state is JobState.DONE

    def test_a_stop_before_the_coroutine_is_there_cancels_it(self, live):
        ran = []

        async def rest():
            await asyncio.sleep(3600)
            ran.append(1)

        def task(_job):
            _job.stop()
            return rest()

        with pytest.raises(JobCancelled):
            live.run_job(task).result(PATIENCE)
        assert ran == []

    @pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(1)])
    def test_what_it_raises(self, live, error):
        told = []
        live.set_logger(told.append)

        async def task():
            await asyncio.sleep(0)
            raise error

        job = live.run_job(task, name="bad")
        assert job.exception(PATIENCE) is error
        assert job.state is JobState.FAILED
        assert "raise error" in job.error.traceback
        assert len(told) == 1

    def test_kill_jobs_and_close_cancel_them_all(self, live):
        entered = []

        async def task():
            entered.append(1)
            await asyncio.sleep(3600)

        def cancelled(jobs):
            for job in jobs:
                with pytest.raises(JobCancelled):
                    job.result(PATIENCE)

        first = [live.run_job(task) for _ in range(100)]  # more than those that jobs() lists after their end
        assert first[0] in live.jobs()
        live.kill_jobs()
        cancelled(first)
        second = [live.run_job(task) for _ in range(3)]
        live.close(PATIENCE)
        cancelled(second)
        assert live.jobs()[-1] is second[-1]

    def test_in_virtual_time_it_is_awaited_on_the_thread_that_runs_it(self):
        pool = make_pool()

        async def task():
            await asyncio.sleep(0)
            return threading.current_thread()

        job = pool.run_job(task)
        pool.run_due()
        assert job.result(0) is threading.current_thread()

    @pytest.mark.parametrize("as_job", [True, False])
    def test_one_that_is_given_during_close_is_cancelled(self, live, as_job):
        """There is no loop any more, and on its own thread nobody could cancel it."""
        entered, release = threading.Event(), threading.Event()

        def task():
            entered.set()
            release.wait(PATIENCE)
            return asyncio.sleep(3600)

        job = live.run_job(task) if as_job else None
        actor = None if as_job else live.new_actor(task, dispose=False).start()
        assert entered.wait(PATIENCE)
        live.close(0)
        release.set()
        if job is not None:
            with pytest.raises(JobCancelled):
                job.result(PATIENCE)
        if actor is not None:
            assert actor.result(PATIENCE) is None
            assert actor.history[0].outcome == "stopped"

    def test_one_for_which_there_is_no_loop_is_awaited_by_its_thread(self, live):
        async def task():
            await asyncio.sleep(0)
            return threading.current_thread().name

        live._loop.close(PATIENCE)
        assert live.run_job(task).result(PATIENCE).startswith("bgpool-")
        actor = live.new_actor(task, dispose=False).start()
        assert actor.result(PATIENCE).startswith("bgpool-")


class TestWorkers:
    def test_one_that_ends_as_the_loop_is_closed_is_recorded(self, live, eventually):
        """Its end and that of the loop come in one round of the loop, which somebody holds up until then."""
        entered, release, finished = threading.Event(), threading.Event(), threading.Event()

        def hold_up():
            entered.set()
            release.wait(PATIENCE)

        async def callback():
            asyncio.get_running_loop().call_soon(hold_up)
            await asyncio.sleep(3600)

        worker = live.new_actor(callback, dispose=False, finished=finished.set).start()
        assert entered.wait(PATIENCE)
        live.close(0)
        release.set()
        assert eventually(lambda: worker.history)
        assert worker.history[0].outcome == "stopped"
        assert finished.wait(PATIENCE)

    def test_a_coroutine_that_a_callback_returns_is_awaited(self, live):
        async def poll():
            return False

        ended = threading.Event()
        worker = live.new_worker(0.001, lambda: poll(), dispose=False, finished=ended.set).start()
        assert ended.wait(PATIENCE)
        assert worker.run_count == 1

    def test_an_async_callback_is_awaited(self, live):
        async def poll(_worker):
            await asyncio.sleep(0)
            return _worker.name

        worker = live.new_worker(0.001, poll, name="async", max_count=3, dispose=False)
        ended = threading.Event()
        worker.finished = lambda _worker: ended.set()
        worker.start()
        assert ended.wait(PATIENCE)
        assert [record.value for record in worker.history] == ["async"] * 3
