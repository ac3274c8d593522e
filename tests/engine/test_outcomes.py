"""How the end of a run is told: done, ended, failed, overdue or stopped."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bgpool_jupyter.engine import RunFailed, WorkerPool

from .conftest import PATIENCE


def look_until_asked(_worker):
    """Work until it is seen that the run is to end."""
    while not _worker.should_stop:
        pass
    return "a part"


def sleep_until_asked(_worker):
    """Wait until the wait is cut short."""
    assert not _worker.sleep(PATIENCE * 10)
    return "a part"


SEEING = pytest.mark.parametrize("callback", [look_until_asked, sleep_until_asked])


@pytest.fixture
def in_flight(live, eventually):
    """Start a worker and wait for its run; the worker stays known after its end."""

    def begin(callback, **settings):
        worker = live.new_worker(3600, callback, name="w", dispose=False, **settings).start()
        assert eventually(lambda: worker.current is not None and worker._start.looked)
        return worker

    return begin


def ended(worker, eventually):
    assert eventually(lambda: worker.history and not worker.executing)
    return worker.history[-1]


#: Everything that asks a run to end but its timeout.
ASKING = {
    "stop": lambda pool, worker: worker.stop(),
    "restart": lambda pool, worker: worker.restart(),
    "remove": lambda pool, worker: pool.remove(worker),
    "close": lambda pool, worker: pool.close(PATIENCE),
}


class TestStopped:
    @SEEING
    @pytest.mark.parametrize("asking", ASKING)
    def test_a_run_that_saw_it_and_returned(self, live, in_flight, eventually, callback, asking):
        worker = in_flight(callback)
        ASKING[asking](live, worker)
        assert eventually(lambda: worker.history)
        record = worker.history[0]
        assert (record.outcome, record.value, record.error) == ("stopped", "a part", None)
        worker.stop()

    def test_one_that_never_looked_is_done(self, pool):
        worker = pool.new_worker(1, lambda _worker: _worker.stop() and "whole", dispose=False).start()
        pool.clock.advance(5)
        assert [(record.outcome, record.value) for record in worker.history] == [("done", "whole")]

    def test_one_that_looked_too_early_is_done(self, pool):
        def call(_worker):
            assert not _worker.should_stop
            assert _worker.sleep(1)
            _worker.stop()

        worker = pool.new_worker(1, call, dispose=False).start()
        pool.clock.advance(5)
        assert worker.history[0].outcome == "done"

    def test_one_that_was_asked_twice_has_still_seen_it(self, pool):
        def call(_worker):
            _worker.stop()
            assert _worker.should_stop
            pool.close()

        worker = pool.new_worker(1, call, dispose=False).start()
        pool.clock.advance(5)
        assert worker.history[0].outcome == "stopped"

    @pytest.mark.parametrize("answer", [False, SystemExit()])
    def test_one_that_would_have_ended_its_worker(self, pool, answer):
        """Its start had ended before: the answer ended nothing."""

        def call(_worker):
            _worker.restart()
            assert _worker.should_stop
            if answer is not False:
                raise answer
            return answer

        worker = pool.new_worker(1, call, max_count=1).start()
        worker.callback = lambda: "new"
        pool.clock.advance(1)
        assert [record.outcome for record in worker.history] == ["stopped", "done"]

    def test_one_that_returns_false_without_a_look_says_that_it_ended(self, pool):
        def call(_worker):
            _worker.stop()
            return False

        worker = pool.new_worker(1, call, dispose=False).start()
        pool.clock.advance(1)
        assert worker.history[0].outcome == "ended"

    def test_one_that_raised_is_failed(self, pool):
        def call(_worker):
            _worker.stop()
            if _worker.should_stop:
                raise ValueError("boom")

        worker = pool.new_worker(1, call, dispose=False).start()
        pool.clock.advance(1)
        assert worker.history[0].outcome == "failed"
        assert worker.failure_count == 1

    def test_a_timeout_is_overdue_whatever_was_seen(self, in_flight, eventually):
        worker = in_flight(look_until_asked, timeout=0.01)
        assert ended(worker, eventually).outcome == "overdue"
        assert worker.running

    def test_a_stop_after_the_timeout_is_overdue_too(self, pool):
        def call(_worker):
            _worker.sleep(5)
            _worker.stop()
            assert _worker.should_stop

        worker = pool.new_worker(10, call, timeout=2, dispose=False).start()
        pool.clock.advance(1)
        assert worker.history[0].outcome == "overdue"
        assert worker.overdue_count == 1

    def test_a_look_from_a_cell_is_not_the_callbacks(self, live, eventually):
        entered, leave = threading.Event(), threading.Event()

        def call():
            entered.set()
            leave.wait(PATIENCE)

        worker = live.new_worker(3600, call, dispose=False).start()
        assert entered.wait(PATIENCE)
        worker.stop()
        assert worker.should_stop
        leave.set()
        assert ended(worker, eventually).outcome == "done"

    def test_a_thread_of_the_callback_looks_for_it(self, in_flight, eventually):
        def call(_worker):
            helper = threading.Thread(target=look_until_asked, args=(_worker,))
            helper.start()
            helper.join(PATIENCE)

        worker = in_flight(call)
        worker.stop()
        assert ended(worker, eventually).outcome == "stopped"

    def test_a_coroutine_that_looked(self, in_flight, eventually):
        async def call(_worker):
            while True:
                try:
                    await asyncio.sleep(0)
                    if _worker.should_stop:
                        return "a part"
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()

        worker = in_flight(call)
        worker.stop()
        record = ended(worker, eventually)
        assert (record.outcome, record.value) == ("stopped", "a part")

    def test_a_coroutine_that_came_to_its_end_in_spite_of_being_cancelled(self, live, eventually):
        entered = threading.Event()

        async def call():
            entered.set()
            try:
                await asyncio.sleep(PATIENCE * 10)
            except asyncio.CancelledError:
                return "a part"

        worker = live.new_worker(3600, call, dispose=False).start()
        assert entered.wait(PATIENCE)
        worker.stop()
        record = ended(worker, eventually)
        assert (record.outcome, record.value) == ("stopped", "a part")


class TestValueOfAStoppedRun:
    def test_is_a_value_like_any_other(self, in_flight, eventually):
        worker = in_flight(sleep_until_asked)
        worker.stop()
        assert worker.result(PATIENCE) == "a part"
        ended(worker, eventually)
        assert worker.last_value == "a part"
        assert [value for _, value in worker.values] == ["a part"]
        assert list(worker.to_frame()["value"]) == ["a part"]

    def test_is_not_that_of_the_start_after_it(self, live, in_flight, eventually):
        worker = in_flight(sleep_until_asked)
        worker.callback = lambda: "whole"
        worker.restart()
        assert worker.result(PATIENCE) == "whole"
        assert eventually(lambda: [value for _, value in worker.values] == ["a part", "whole"])

    def test_is_none_for_a_coroutine_that_was_cancelled(self, live, eventually):
        entered = threading.Event()

        async def call():
            entered.set()
            await asyncio.sleep(PATIENCE * 10)

        worker = live.new_worker(3600, call, dispose=False).start()
        assert entered.wait(PATIENCE)
        worker.stop()
        assert worker.result(PATIENCE) is None
        assert worker.values == []

    def test_a_worker_that_was_stopped_before_a_run_has_none(self, pool):
        worker = pool.new_worker(1, lambda: 1, start_with_delay=True, dispose=False).start().stop()
        with pytest.raises(RunFailed, match="ended before a run of it did"):
            worker.result(0)


def test_a_pool_that_is_closed_tells_of_it_before_it_is_gone():
    """What close() ends within its time is told truthfully; the recorder hears it too."""
    told = []

    class Book:
        def began(self, worker, run):
            began.set()

        def ended(self, worker, run, record):
            told.append((record.outcome, record.value))

    began = threading.Event()
    pool = WorkerPool()
    pool.recorder = Book()
    pool.new_worker(3600, sleep_until_asked).start()
    assert began.wait(PATIENCE)
    pool.close(PATIENCE)
    assert told == [("stopped", "a part")]
