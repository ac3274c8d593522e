"""A ``__del__`` that calls the pool, run by the garbage collector during any call of the pool."""

from __future__ import annotations

import gc
import heapq
import itertools
import threading

import pytest

from bgpool_jupyter.engine import InvalidTransition, JobTimeout, WorkerPool, machine, seats
from bgpool_jupyter.engine.states import next_state

from .calls import CALLS, ELSEWHERE, attributes, call, public_calls
from .harness import PATIENCE, all_run_again, collector_everywhere, pool_threads, short_or_long


class Garbage:
    """Dies with each run of the collector, calls `action`, and leaves the next of its kind behind."""

    def __init__(self, action):
        self.action = action
        self.me = self

    def __del__(self):
        if self.action():
            Garbage(self.action)


def test_every_public_call_has_its_row():
    assert public_calls() - set(CALLS) - set(ELSEWHERE) == set()


def make_workers(pool, count=4):
    intervals = (3600, 0.001)
    return [
        pool.new_worker(intervals[n % 2], lambda: None, name=f"w{n}", dispose=False, finished=lambda: None)
        for n in range(count)
    ]


@pytest.mark.parametrize("name", CALLS)
@short_or_long("turns", 40, 2000)
def test_during_any_call(live, name, turns, eventually):
    """In the middle of `name`, with the lock held or not, objects die whose ends make every other call."""
    live.set_logger(lambda text: None)
    workers = make_workers(live)
    others = itertools.cycle(CALLS)
    ends = [0, 0]  # outside and inside of a section of the pool

    def act():
        acting.append(1)
        if left[0] > 0:
            left[0] -= 1
            ends[live._lock._is_owned()] += 1
            call(next(others), live, workers[sum(ends) % len(workers)])
        acting.pop()
        return left[0] > 0

    left, acting = [0], []
    with collector_everywhere():
        for turn in range(turns):
            # So many and no more: each command that is put off costs memory too, and would be followed by another.
            left[0] = 1 + turn % 40
            Garbage(act)
            worker = workers[turn % len(workers)]
            if turn % 3 == 0:
                worker.start()
            call(name, live, worker)
            attributes(worker)
        left[0] = 0
    gc.collect()
    assert eventually(lambda: not acting)  # the collector runs on the pool's threads too
    assert sum(ends) > turns
    assert ends[True] > 0
    all_run_again(live, workers)


@short_or_long("turns", 50, 2000)
def test_one_that_closes_the_pool(turns):
    """An owner that dies closes its pool, whatever that pool is doing on this very thread."""
    inside = 0
    for turn in range(turns):
        pool = WorkerPool()
        pool.set_logger(lambda text: None)
        workers = make_workers(pool)
        left = [turn % 40]

        def act(pool=pool, left=left):
            nonlocal inside
            left[0] -= pool._lock._is_owned()
            if left[0] < 0:
                inside += 1
                pool.close(0)
            return left[0] >= 0

        with collector_everywhere():
            Garbage(act)
            for worker in workers:
                call("BackgroundWorker.start", pool, worker)
            for name in itertools.islice(itertools.cycle(CALLS), turn, turn + 20):
                call(name, pool, workers[turn % 4])
        left[0] = -1
        pool.close(PATIENCE)
        assert pool.closed
        assert not any(worker.running or worker.executing for worker in workers)
    assert pool_threads() == []
    assert inside > turns // 2


class TestCommandsFromInside:
    def test_a_command_is_carried_out_by_the_next_call(self, pool):
        worker = pool.new_worker(1, lambda: None)
        other = pool.new_worker(1, lambda: None)
        with pool._lock:
            worker.start()
            pool.new_worker(1, lambda: None).stop()
            worker.work_now()
            assert worker.status == "new"
        other.start()
        assert worker.status == "waiting"
        pool.check()

    def test_one_that_is_refused_is_logged(self, pool):
        told = []
        pool.set_logger(told.append)
        worker = pool.new_worker(1, lambda: None, name="w")
        with pool._lock:
            worker.pause()
        pool.new_worker(1, lambda: None).start()
        assert told == ["a call from within the pool was refused: worker 'w' is new and cannot pause; start() it first"]

    def test_a_job_runs(self, live):
        with live._lock:
            job = live.run_job(lambda: "ran")
        live.new_worker(3600, lambda: None).start()  # any other command
        assert job.result(PATIENCE) == "ran"

    @pytest.mark.parametrize("call", [lambda pool: pool.kill_jobs(0), lambda pool: pool.run_due(0)])
    def test_a_call_that_changes_no_worker_carries_it_out_too(self, pool, call):
        worker = pool.new_worker(1, lambda: None)
        with pool._lock:
            worker.start()
        call(pool)
        assert worker.running

    @pytest.mark.parametrize("make", [lambda pool: pool.run_job(print), lambda pool: pool.new_worker(1, print)])
    @pytest.mark.parametrize("timeout", [None, 5])
    def test_a_result_that_cannot_come_is_not_waited_for(self, pool, make, timeout):
        """Threads need the lock that this one holds, to bring it."""
        awaited = make(pool)
        with pool._lock, pytest.raises(JobTimeout):
            awaited.result(timeout)

    def test_suspend_and_resume_keep_their_order(self, pool):
        with pool._lock:
            pool.suspend()
            pool.resume()
        pool.run_due()
        assert not pool.suspended
        with pool._lock:
            pool.resume()
            pool.suspend()
        pool.run_due()
        assert pool.suspended

    def test_a_look_at_what_is_due_leaves_a_half_made_entry_alone(self, pool, monkeypatch):
        """An entry is pushed before it is made live: in between it looks dead."""
        push, looks = heapq.heappush, []

        def pushed(heap, entry):
            push(heap, entry)
            looks.append(pool.run_due())
            pool.resume()

        monkeypatch.setattr(heapq, "heappush", pushed)
        worker = pool.new_worker(1, lambda: None).start()
        pool.check()
        pool.clock.advance(3)
        assert looks
        assert worker.run_count == 4

    def test_virtual_time_comes_to_an_end_there(self, pool):
        worker = pool.new_worker(1, lambda: None).start()
        with pool._lock:
            pool.clock.advance(5)
        assert worker.run_count == 0
        pool.clock.advance(0)
        assert worker.run_count == 2  # that of the beginning, late, and that of now

    def test_a_call_that_is_refused_carries_it_out_too(self, pool, monkeypatch):
        worker, other = pool.new_worker(1, lambda: None), pool.new_worker(1, lambda: None)

        def refuse(*what):
            monkeypatch.undo()
            worker.start()
            return next_state(*what)

        monkeypatch.setattr(machine, "next_state", refuse)
        with pytest.raises(InvalidTransition):
            other.pause()
        assert worker.running

    def test_a_job_that_is_given_carries_it_out_too(self, live, monkeypatch):
        """While the thread for it is started, with the lock held."""
        worker, start = live.new_worker(3600, lambda: None), seats.Seat.start

        def meanwhile(seat, loop):
            monkeypatch.undo()
            worker.start()
            start(seat, loop)

        monkeypatch.setattr(seats.Seat, "start", meanwhile)
        live.run_job(lambda: None)
        assert worker.running


def test_what_is_put_off_while_the_threads_are_counted_does_not_wait_for_the_task(live, monkeypatch):
    """Every so often the thread that has taken a task counts the others; a __del__ may run then."""
    counts, ran = live._executor.counts, threading.Event()
    put_off = []

    def collect():
        if live._lock._is_owned() and not put_off:
            put_off.append(live.run_job(ran.set))  # as a __del__ would
        return counts()

    monkeypatch.setattr(live._executor, "counts", collect)
    live.set_job_balance(3.0, 1, 2.0)
    assert live.run_job(lambda: ran.wait(5)).result(PATIENCE)
    assert put_off
