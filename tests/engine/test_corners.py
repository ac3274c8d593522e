"""Corners where two rules meet."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading

import pytest

from bgpool_jupyter.engine import ArgumentTypeError, ArgumentValueError, PoolClosed, WorkerPool, WorkerState

PATIENCE = 20.0


def moments_of(pool, worker):
    return [round(record.started - 1_800_000_000.0, 6) for record in worker.history]


class TestGrid:
    def test_pause_and_unpause_during_a_run_lose_no_slot(self, pool):
        def callback(_worker):
            if _worker.run_count == 1:
                pool.clock.sleep(1)
                _worker.pause()
                pool.clock.sleep(1)
                _worker.unpause()
                pool.clock.sleep(1)

        worker = pool.new_worker(10, callback).start()
        pool.clock.advance(35)
        assert moments_of(pool, worker) == [0, 10, 20, 30]
        assert worker.missed_count == 0

    def test_a_new_interval_and_work_now_leave_the_coming_slot(self, pool):
        worker = pool.new_worker(10, lambda: None).start()
        pool.clock.advance(3)
        worker.interval = 5
        worker.work_now()
        pool.clock.advance(20)
        assert moments_of(pool, worker) == [0, 3, 10, 15, 20]

    def test_the_retry_of_a_run_beside_the_grid_is_beside_it_too(self, pool):
        outcomes = iter([None, ValueError(), None, None, None])

        def callback():
            error = next(outcomes)
            if error is not None:
                raise error

        worker = pool.new_worker(10, callback, ignore_exception=True).start()
        pool.clock.advance(3)
        worker.work_now()
        pool.clock.advance(20)
        assert moments_of(pool, worker) == [0, 3, 3.1, 10, 20]

    def test_work_now_takes_the_place_of_a_retry(self, pool):
        worker = pool.new_worker(10, lambda: 1 / 0 if worker.failure_count < 6 else None, ignore_exception=True).start()
        pool.clock.advance(4)
        worker.work_now()
        pool.clock.advance(17)
        assert moments_of(pool, worker)[-4:] == [3.1, 4, 10, 20]

    def test_the_next_run_time_during_a_run_beside_the_grid(self, pool):
        told = []

        def callback(_worker):
            told.append(_worker.next_run_time - 1_800_000_000.0)

        worker = pool.new_worker(10, callback).start()
        pool.clock.advance(7)
        worker.work_now()
        pool.clock.advance(0)
        assert told == pytest.approx([10, 10])

    def test_max_count_below_what_was_done_gives_no_further_run(self, pool):
        worker = pool.new_worker(1, lambda: None, dispose=False).start()
        pool.clock.advance(4)
        worker.max_count = 3
        pool.clock.advance(10)
        assert worker.run_count == 5
        assert worker.state is WorkerState.STOPPED

    def test_reschedule_during_a_run_moves_the_one_after_it(self, pool):
        worker = pool.new_worker(
            10, lambda: pool.reschedule(worker, pool.clock.time() + 3) if worker.run_count == 1 else None
        ).start()
        pool.clock.advance(12)
        assert moments_of(pool, worker)[:2] == [0, 3]

    def test_a_callback_slower_than_its_interval_does_not_hold_up_virtual_time(self, pool):
        worker = pool.new_worker(1, lambda: pool.clock.sleep(3)).start()
        begin = pool.clock.monotonic()
        pool.clock.advance(10)
        assert worker.run_count == 4
        assert pool.clock.monotonic() == begin + 12


class TestActors:
    def test_max_count_of_an_actor_cannot_be_set(self, pool):
        actor = pool.new_actor(print, name="a")
        for value in (None, 2):
            with pytest.raises(
                ArgumentValueError, match=rf"^max_count of the actor 'a' is 1 and cannot be {value}; make a worker with"
            ):
                actor.maxCount = value
        assert actor.max_count == 1

    @pytest.mark.parametrize("at", [-1e11, 1e12])
    def test_an_instant_outside_of_the_calendar_is_refused(self, pool, at):
        with pytest.raises(ArgumentValueError, match="^at must be UTC epoch seconds, not "):
            pool.new_actor(print, at=at)
        assert pool.find_workers() == []

    def test_at_is_checked_when_it_is_written(self, pool):
        actor = pool.new_actor(print, at=5)
        with pytest.raises(ArgumentTypeError, match="^at must be a number, not str 'x'"):
            actor.at = "x"
        assert actor.at == 5
        pool.snapshot()


class Worst(Exception):
    def __str__(self):
        raise SystemExit

    __repr__ = __str__


class TestHostile:
    def test_an_exception_whose_text_ends_the_thread(self, live, eventually):
        def bad():
            raise Worst

        worker = live.new_worker(0.001, bad, max_count=3, dispose=False).start()
        job = live.run_job(bad)
        live.subscribe(lambda event: bad())
        assert isinstance(job.exception(PATIENCE), Worst)
        assert eventually(lambda: worker.status == "failed" and worker.run_count == 3)
        assert worker.last_error.type == "Worst"
        assert eventually(lambda: live.count_jobs()[0] == 0)

    def test_lone_surrogates_are_escaped_in_texts_and_refused_in_names(self, pool):
        def bad():
            raise ValueError("\ud800")

        worker = pool.new_actor(bad, dispose=False).start()
        pool.clock.advance(0)
        worker.last_error.traceback.encode()
        assert worker.last_error.message == "\\ud800"
        with pytest.raises(ArgumentValueError, match="^name must be a text that can be encoded"):
            pool.new_actor(print, name="\ud800")

    def test_numbers_too_long_to_print(self, pool):
        with pytest.raises(ArgumentValueError, match="^max_count must be at least 1"):
            pool.new_worker(1, print, max_count=-(10**5000))

    def test_a_start_argument_may_be_called_self(self, pool):
        seen = []
        pool.new_actor(lambda **given: seen.append(given)).start(self=3)
        pool.clock.advance(0)
        assert seen == [{"self": 3}]

    def test_a_decorator_that_takes_no_arguments_is_given_none(self, pool):
        def inner(_worker):
            return _worker

        @functools.wraps(inner)
        def outer():
            return "outer"

        worker = pool.new_actor(outer, dispose=False).start()
        pool.clock.advance(0)
        assert worker.last_value == "outer"

    def test_a_decorator_that_hands_on_is_given_what_the_function_names(self, pool):
        def inner(_worker):
            return _worker.name

        @functools.wraps(inner)
        def outer(*args, **given):
            return inner(*args, **given)

        worker = pool.new_actor(outer, name="w", dispose=False).start()
        pool.clock.advance(0)
        assert worker.last_value == "w"

    def test_a_callable_object_may_name_its_job(self, live):
        class Task:
            def __call__(self, _job):
                return _job.name

        assert live.run_job(Task(), name="t").result(PATIENCE) == "t"
        assert live.run_job(functools.partial(Task()), name="u").result(PATIENCE) == "u"


class TestContexts:
    def test_what_a_run_sets_in_its_context_is_gone_with_it(self, live):
        variable = contextvars.ContextVar("variable", default=0)

        def callback():
            before = variable.get()
            variable.set(before + 1)
            return before

        async def coroutine():
            return callback()

        ended = threading.Event()
        worker = live.new_worker(0.001, callback, max_count=5, dispose=False, finished=ended.set).start()
        assert ended.wait(PATIENCE)
        assert [record.value for record in worker.history] == [0] * 5
        assert [live.run_job(coroutine).result(PATIENCE) for _ in range(3)] == [0] * 3
        assert [live.run_job(callback).result(PATIENCE) for _ in range(3)] == [0] * 3

    def test_what_subscribers_set_in_their_context_is_gone_with_each_event(self, pool):
        variable = contextvars.ContextVar("variable", default=0)
        before = []

        def hear(event):
            before.append(variable.get())
            variable.set(1)

        pool.subscribe(hear)
        pool.new_worker(1, lambda: None, on_event=hear, finished=lambda: hear(None), max_count=2).start()
        pool.clock.advance(3)
        assert before == [0] * 13
        assert variable.get() == 0

    def test_a_coroutine_in_virtual_time_inside_of_a_running_loop(self, pool):
        async def callback():
            await asyncio.sleep(0)
            return "ran"

        worker = pool.new_actor(callback, dispose=False).start()

        async def notebook():
            pool.clock.advance(0)

        asyncio.run(notebook())
        assert worker.last_value == "ran"

    def test_the_result_of_a_failed_job_does_not_grow_and_says_where(self, live):
        def bad():
            raise ValueError("boom")

        job = live.run_job(bad)
        depths = []
        for _ in range(5):
            with pytest.raises(ValueError, match="boom") as caught:
                job.result(PATIENCE)
            depth, frames = 0, caught.value.__traceback__
            while frames is not None:
                depth, frames = depth + 1, frames.tb_next
            depths.append(depth)
        assert len(set(depths)) == 1
        assert 'raise ValueError("boom")' in caught.value.__notes__[0]

    def test_looking_often_leaves_nothing_behind(self, live):
        release = threading.Event()
        job = live.run_job(lambda: release.wait(PATIENCE))
        for timeout in [0] * 100 + [0.001] * 5:
            with pytest.raises(TimeoutError):
                job.result(timeout)
        assert job._waiters == []
        release.set()


class TestClosing:
    def test_a_start_that_races_with_close_leaves_neither_entry_nor_thread(self):
        for _ in range(30):
            pool = WorkerPool()
            go = threading.Barrier(4)

            def begin(pool=pool, go=go):
                go.wait(PATIENCE)
                try:
                    for _ in range(100):
                        pool.new_worker(30, lambda: None, start_with_delay=True, dispose=False).start()
                except PoolClosed:
                    return

            crowd = [threading.Thread(target=begin) for _ in range(3)]
            for thread in crowd:
                thread.start()
            go.wait(PATIENCE)
            pool.close(PATIENCE)
            for thread in crowd:
                thread.join(PATIENCE)
            assert pool.find_workers(running=True) == []
            pool.close(PATIENCE)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]

    def test_a_closed_pool_keeps_the_interval_of_a_restart(self):
        pool = WorkerPool()
        worker = pool.new_worker(5, print)
        pool.close()
        with pytest.raises(PoolClosed):
            worker.restart(7)
        assert worker.interval == 5

    def test_a_second_close_waits_as_well(self):
        pool = WorkerPool()
        entered, release = threading.Event(), threading.Event()
        pool.run_job(lambda: (entered.set(), release.wait(PATIENCE)))
        assert entered.wait(PATIENCE)
        pool.close(0)
        release.set()
        pool.close(PATIENCE)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]


class TestBulk:
    def test_one_that_cannot_start_does_not_hold_up_the_others(self, pool):
        told = []
        pool.set_logger(told.append)
        a = pool.new_worker(1, lambda: None, name="a")
        pool.new_worker(1, lambda x: x, name="b")
        c = pool.new_worker(1, lambda: None, name="c")
        assert pool.start_workers() == [a, c]
        assert told[0].startswith("worker 'b' was passed over: start() of 'b' was given []")
