"""Pool threads: how many there are, and what closing does to them. What they survive: tests/engine/survival."""

from __future__ import annotations

import threading
import time

from bgpool_jupyter.engine import WorkerPool, WorkerState
from bgpool_jupyter.engine.schedule import SLICE
from bgpool_jupyter.engine.watch import EARLY, LONG, _seconds_to

PATIENCE = 20.0


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]


class TestThreads:
    def test_all_are_daemons_with_a_name(self, live):
        live.new_worker(0.001, lambda: None).start()
        live.run_job(lambda: None).result(PATIENCE)
        assert threads()
        assert all(thread.daemon for thread in threads())

    def test_none_is_started_before_something_is(self, live):
        live.new_worker(1, lambda: None)
        assert threads() == []

    def test_blocked_workers_do_not_hold_up_others(self, live):
        release, often = threading.Event(), threading.Event()
        entered = threading.Barrier(65)

        def block():
            entered.wait(PATIENCE)
            release.wait(PATIENCE)

        for _ in range(64):
            live.new_actor(block).start()
        entered.wait(PATIENCE)
        live.new_worker(0.001, lambda _worker: often.set() if _worker.run_count > 50 else None).start()
        assert often.wait(PATIENCE)
        release.set()

    def test_one_worker_needs_few_threads(self, live):
        often = threading.Event()
        live.new_worker(0.001, lambda _worker: often.set() if _worker.run_count > 100 else None).start()
        assert often.wait(PATIENCE)
        assert len(threads()) <= 4

    def test_ten_thousand_due_at_once_all_run_once(self, live):
        ran = []
        done = threading.Event()

        def callback(n):
            ran.append(n)
            if len(ran) == 10_000:
                done.set()

        for n in range(10_000):
            live.new_actor(callback).start(n=n)
        assert done.wait(PATIENCE)
        assert sorted(ran) == list(range(10_000))
        assert len(threads()) <= 64

    def test_an_earlier_worker_overtakes_one_that_is_waited_for(self, live):
        live.new_actor(lambda: None, delay=3600).start()
        soon = threading.Event()
        live.new_actor(soon.set, delay=0.01).start()
        assert soon.wait(PATIENCE)


class TestGettingUpEarly:
    """After a long wait a thread gets up before the instant for which it waits; no run begins before it."""

    def test_for_a_long_wait_and_for_no_short_one(self):
        now = time.monotonic()
        assert 0 < _seconds_to(now + 1) <= 1 - EARLY
        assert _seconds_to(now + 1, early=0.0) > _seconds_to(now + 1) + EARLY / 2
        assert 0 <= _seconds_to(time.monotonic() + EARLY / 2) <= EARLY / 2
        assert _seconds_to(now - 1) == 0
        assert _seconds_to(now + 1000) == SLICE

    def test_no_run_begins_before_its_slot(self, live):
        enough = threading.Semaphore(0)
        late = []

        def run(_worker):
            late.append(time.monotonic() - _worker._start.due)
            enough.release()

        # Apart from each other, so that leader and deputy both wait for long; and two that are due nearly together.
        for interval in (2 * LONG, 3.1 * LONG, 3.1 * LONG + EARLY):
            live.new_worker(interval, run, start_with_delay=True).start()
        for _ in range(30):
            assert enough.acquire(timeout=PATIENCE)
        assert min(late) >= 0


class TestClose:
    def test_leaves_no_thread_and_may_be_called_again(self):
        pool = WorkerPool()
        for _ in range(20):
            pool.new_worker(0.001, lambda: None).start()
        pool.run_job(lambda: None).result(PATIENCE)
        pool.close(PATIENCE)
        pool.close(PATIENCE)
        assert threads() == []
        assert pool.closed

    def test_is_bounded_when_a_callback_blocks(self):
        pool = WorkerPool()
        entered, release = threading.Event(), threading.Event()
        worker = pool.new_worker(1, lambda: (entered.set(), release.wait(PATIENCE)), dispose=False).start()
        assert entered.wait(PATIENCE)
        begin = time.monotonic()
        pool.close(0.05)
        assert time.monotonic() - begin < PATIENCE / 2
        assert worker.state is WorkerState.STOPPING
        thread = threads()[0]
        release.set()
        thread.join(PATIENCE)
        assert threads() == []

    def test_calls_finished(self):
        pool = WorkerPool()
        ends = []
        pool.new_worker(1000, lambda: None, finished=lambda: ends.append(1)).start()
        pool.close(PATIENCE)
        assert ends == [1]

    def test_from_a_callback(self):
        pool = WorkerPool()
        closed = threading.Event()
        pool.new_actor(lambda: (pool.close(PATIENCE), closed.set())).start()
        assert closed.wait(PATIENCE)
        for thread in threads():
            thread.join(PATIENCE)
        assert threads() == []


class TestFairness:
    """Permanently overdue workers, and no further thread to be had."""

    @staticmethod
    def overdue_workers(pool, count, call):
        return [
            pool.new_worker(1e-4, call, run_past_events=True, dispose=False, finished=None).start()
            for _ in range(count)
        ]

    def test_jobs_do_not_starve(self, eventually):
        """The one thread that is free takes turns: a job after each run, a run after each job."""
        pool = WorkerPool(max_threads=2)
        go, end = threading.Event(), threading.Event()
        begun = []

        def busy():  # ten times as long as the interval: always overdue
            begun.append(1)
            time.sleep(0.001)

        blockers = [pool.new_actor(lambda event=event: event.wait(PATIENCE)).start() for event in (go, end)]
        assert eventually(lambda: all(blocker.executing for blocker in blockers))
        self.overdue_workers(pool, 4, busy)
        jobs = [pool.run_job(lambda: len(begun)) for _ in range(10)]
        go.set()
        seen = [job.result(PATIENCE) for job in jobs]
        end.set()
        assert seen == list(range(seen[0], seen[0] + 10))
        assert seen[0] <= 1
        pool.close(PATIENCE)

    def test_runs_do_not_starve(self, eventually):
        """Jobs that make jobs keep every thread busy: each looks at what is due after every job."""
        pool = WorkerPool(max_threads=2)
        stop = threading.Event()

        def again():
            if not stop.is_set():
                pool.run_job(again)

        for _ in range(4):
            pool.run_job(again)
        worker = pool.new_worker(1e-3, lambda: None, max_count=5, dispose=False).start()
        assert eventually(lambda: worker.run_count == 5 and not worker.running)
        stop.set()
        pool.close(PATIENCE)

    def test_who_is_told_and_finished_do_not_starve(self):
        pool = WorkerPool(max_threads=2)
        told, finished = threading.Event(), threading.Event()
        self.overdue_workers(pool, 4, lambda: sum(range(20_000)))
        pool.subscribe(lambda event: told.set())
        pool.new_worker(3600, lambda: None, finished=finished.set, start_with_delay=True).start().stop()
        assert told.wait(PATIENCE)
        assert finished.wait(PATIENCE)
        pool.close(PATIENCE)
