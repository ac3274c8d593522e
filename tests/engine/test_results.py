"""Values, results, await, the decorator and the context manager."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bgpool_jupyter.engine import ArgumentValueError, JobTimeout, PoolClosed, RunFailed, WorkerPool

PATIENCE = 20.0


class TestResult:
    def test_of_an_actor(self, live):
        worker = live.new_actor(lambda: 42, delay=0.01).start()
        assert worker.result(PATIENCE) == 42
        assert worker.result(0) == 42

    def test_of_a_worker_is_that_of_its_last_run(self, pool):
        worker = pool.new_worker(1, lambda: worker.run_count, dispose=False).start()
        pool.clock.advance(2)
        assert worker.result(0) == 3

    def test_of_a_new_start_is_waited_for(self, pool):
        worker = pool.new_actor(lambda n: n, dispose=False).start(n=1)
        pool.clock.advance(0)
        worker.start(n=2)
        with pytest.raises(JobTimeout, match=r"^no run of worker 'actor-1' has ended in time; wait again$"):
            worker.result(0)
        pool.clock.advance(0)
        assert worker.result(0) == 2

    def test_of_a_run_that_raised(self, pool):
        worker = pool.new_actor(lambda: 1 / 0, name="w", dispose=False).start()
        pool.clock.advance(0)
        with pytest.raises(
            RunFailed, match=r"^the last run of worker 'w' failed: ZeroDivisionError: division by zero; "
        ):
            worker.result(0)

    def test_of_a_start_without_a_run(self, pool):
        worker = pool.new_actor(lambda: 1, delay=5, name="w").start().stop()
        with pytest.raises(RunFailed, match=r"^worker 'w' ended before a run of it did; start\(\) it again$"):
            worker.result(0)

    def test_a_stop_ends_the_wait(self, live):
        worker = live.new_actor(lambda: 1, delay=3600).start()
        errors = []

        def wait():
            try:
                worker.result(PATIENCE)
            except RunFailed as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        worker.stop()
        thread.join(PATIENCE)
        assert len(errors) == 1

    def test_a_bad_timeout(self, pool):
        with pytest.raises(ArgumentValueError, match="^timeout must be 0 or greater"):
            pool.new_worker(1, print).result(-1)


class TestAwait:
    def test_worker_and_job(self, live):
        async def both():
            worker = live.new_actor(lambda: "actor", delay=0.01).start()
            job = live.run_job(lambda: "job")
            return await worker, await job, await job

        assert asyncio.run(both()) == ("actor", "job", "job")

    def test_errors_arrive(self, live):
        async def job():
            await live.run_job(lambda: 1 / 0)

        async def worker():
            await live.new_actor(lambda: 1 / 0).start()

        with pytest.raises(ZeroDivisionError):
            asyncio.run(job())
        with pytest.raises(RunFailed):
            asyncio.run(worker())

    def test_other_tasks_go_on_meanwhile(self, live):
        release = threading.Event()

        async def main():
            job = live.run_job(lambda: release.wait(PATIENCE))
            waiting = asyncio.ensure_future(asyncio.wait_for(_awaited(job), PATIENCE))
            await asyncio.sleep(0)
            release.set()
            return await waiting

        assert asyncio.run(main()) is True

    def test_a_wait_that_is_cancelled_harms_nobody(self, live):
        release = threading.Event()
        job = live.run_job(lambda: release.wait(PATIENCE))

        async def impatient():
            await asyncio.wait_for(_awaited(job), 0.01)

        with pytest.raises(TimeoutError):
            asyncio.run(impatient())
        release.set()
        assert job.result(PATIENCE) is True


async def _awaited(job):
    return await job


class TestValues:
    def test_with_their_times(self, pool):
        worker = pool.new_worker(1, lambda: worker.run_count if worker.run_count != 2 else None, dispose=False).start()
        begin = pool.clock.time()
        pool.clock.advance(2)
        assert worker.values == [(begin, 1), (begin + 2, 3)]

    def test_at_most_a_hundred(self, pool):
        worker = pool.new_worker(1, lambda: 1).start()
        pool.clock.advance(500)
        assert len(worker.values) == 100

    def test_as_a_frame(self, pool):
        worker = pool.new_worker(1, lambda: worker.run_count, dispose=False).start()
        pool.clock.advance(2)
        frame = worker.to_frame()
        assert list(frame["value"]) == [1, 2, 3]
        assert str(frame.index.dtype).startswith("datetime64[")
        assert frame.index.tz is not None

    def test_a_dict_gives_a_column_a_key(self, pool):
        worker = pool.new_worker(1, lambda: {"cpu": 1, "memory": 2}, dispose=False).start()
        pool.clock.advance(1)
        assert list(worker.to_frame().columns) == ["cpu", "memory"]
        assert len(pool.new_worker(1, print).to_frame()) == 0


class TestDecorator:
    def test_makes_and_starts_a_worker(self, pool):
        ran = []

        @pool.every(5)
        def poll():
            ran.append(1)

        pool.clock.advance(10)
        assert len(ran) == 3
        assert [worker.name for worker in pool.find_workers()] == ["poll"]
        assert callable(poll)

    def test_again_replaces_what_it_made_before(self, pool):
        other = pool.new_worker(1, print, name="poll")
        for interval in (5, 7):

            @pool.every(interval)
            def poll():
                pass

        workers = pool.find_workers("poll")
        assert other in workers
        assert [worker.interval for worker in workers if worker is not other] == [7]

    def test_bad_input_replaces_nothing(self, pool):
        @pool.every(5)
        def poll():
            pass

        with pytest.raises(ArgumentValueError):
            pool.every(0)(poll)
        assert [worker.interval for worker in pool.find_workers("poll")] == [5]


class TestContextManager:
    def test_closes_at_the_end(self):
        with WorkerPool() as pool:
            assert pool.run_job(lambda: 1).result(PATIENCE) == 1
        with pytest.raises(PoolClosed):
            pool.run_job(print)

    def test_pause_everything_and_go_on(self, pool):
        worker = pool.new_worker(1, lambda: None).start()
        pool.clock.advance(0)
        pool.suspend()
        pool.clock.advance(5.5)
        assert worker.run_count == 1
        pool.resume()
        pool.clock.advance(0)
        assert worker.run_count == 2


class TestEventLoop:
    def test_coroutines_overlap_on_one_thread(self, live):
        names, together = set(), []
        count = [0]

        async def poll():
            names.add(threading.current_thread().name)
            count[0] += 1
            together.append(count[0])
            await asyncio.sleep(0.01)
            count[0] -= 1

        workers = [live.new_worker(3600, poll, max_count=1, dispose=False).start() for _ in range(20)]
        for worker in workers:
            worker.result(PATIENCE)
        assert names == {"bgpool-loop"}
        assert max(together) > 1

    def test_stop_cancels(self, live, eventually):
        entered, cleaned = threading.Event(), threading.Event()

        async def wait():
            entered.set()
            try:
                await asyncio.sleep(PATIENCE * 10)
            finally:
                cleaned.set()

        worker = live.new_worker(1, wait, dispose=False).start()
        assert entered.wait(PATIENCE)
        worker.stop()
        assert cleaned.wait(PATIENCE)
        assert eventually(lambda: worker.history)
        assert worker.history[0].outcome == "stopped"
        assert eventually(lambda: worker.status == "stopped")

    def test_a_timeout_cancels(self, live):
        async def wait():
            await asyncio.sleep(PATIENCE * 10)

        worker = live.new_actor(wait, timeout=0.02, dispose=False).start()
        worker.result(PATIENCE)
        assert worker.history[0].outcome == "overdue"

    def test_a_stop_at_any_moment_leaves_the_worker_stopped(self, live, eventually):
        async def wait():
            await asyncio.sleep(0.001)

        workers = [live.new_worker(0.001, wait, dispose=False).start() for _ in range(50)]
        for _ in range(20):
            for worker in workers:
                worker.stop()
                worker.start()
        for worker in workers:
            worker.stop()
        assert eventually(lambda: {worker.status for worker in workers} == {"stopped"})
        live.check()

    def test_never_overlaps_itself(self, live):
        inside, overlaps = [], []

        async def poll():
            inside.append(1)
            overlaps.append(len(inside))
            await asyncio.sleep(0.002)
            inside.pop()

        worker = live.new_worker(0.0005, poll, max_count=20, dispose=False)
        done = threading.Event()
        worker.finished = done.set
        worker.start()
        assert done.wait(PATIENCE)
        assert set(overlaps) == {1}

    def test_an_error_is_kept(self, live):
        async def bad():
            await asyncio.sleep(0)
            raise ValueError("boom")

        worker = live.new_actor(bad, dispose=False).start()
        with pytest.raises(RunFailed, match="ValueError: boom"):
            worker.result(PATIENCE)
        assert 'raise ValueError("boom")' in worker.last_error.traceback

    @pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()])
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_task_left_behind_cannot_end_the_loop(self, live, error):
        raised, kept = threading.Event(), []

        async def leave_behind():
            async def bad():
                raised.set()
                raise error

            kept.append(asyncio.ensure_future(bad()))

        async def fine():
            await asyncio.sleep(0.001)
            return "fine"

        live.new_actor(leave_behind).start().result(PATIENCE)
        assert raised.wait(PATIENCE)
        assert live.new_actor(fine).start().result(PATIENCE) == "fine"
        assert kept[0].exception() is error

    def test_close_cancels_and_leaves_no_thread(self):
        pool = WorkerPool()
        entered, cleaned = threading.Event(), threading.Event()

        async def wait():
            entered.set()
            try:
                await asyncio.sleep(PATIENCE * 10)
            finally:
                cleaned.set()

        pool.new_worker(1, wait).start()
        assert entered.wait(PATIENCE)
        pool.close(PATIENCE)
        assert cleaned.wait(PATIENCE)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]
