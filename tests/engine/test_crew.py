"""Pool threads: limits, closing, interrupts, collectors, forks."""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from bgpool_jupyter.engine import EventKind, InvalidTransition, WorkerPool, WorkerState, crew

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


class TestNoMoreThreads:
    def test_a_run_waits_for_a_thread_that_becomes_free(self, live, monkeypatch):
        release, entered = threading.Event(), threading.Event()
        live.run_job(lambda: (entered.set(), release.wait(PATIENCE)))
        assert entered.wait(PATIENCE)

        def refuse(*_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(crew, "start_new_thread", refuse)
        ran = threading.Event()
        worker = live.new_actor(ran.set, dispose=False).start()
        job = live.run_job(lambda: "late")
        assert not job.done
        assert live.count_jobs()[0] <= 1
        release.set()
        assert ran.wait(PATIENCE)
        assert job.result(PATIENCE) == "late"
        assert worker.run_count == 1

    def test_the_same_when_the_thread_itself_cannot_be_started(self, live, monkeypatch):
        release, entered = threading.Event(), threading.Event()
        live.run_job(lambda: (entered.set(), release.wait(PATIENCE)))
        assert entered.wait(PATIENCE)
        refused = threading.Event()
        real = threading.Thread.start

        def refuse(self):
            if self.name.startswith("bgpool-"):
                refused.set()
                raise RuntimeError("can't start new thread")
            real(self)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        job = live.run_job(lambda: "late")
        assert refused.wait(PATIENCE)
        release.set()
        assert job.result(PATIENCE) == "late"


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

    def test_a_process_ends_at_once_with_a_callback_that_blocks(self):
        code = (
            "import time; from bgpool_jupyter import default_pool; p = default_pool()\n"
            "p.new_worker(1, lambda: time.sleep(3600)).start(); p.run_job(lambda: time.sleep(3600))\n"
            "while not p.find_workers()[0].executing: pass\n"
        )
        done = subprocess.run([sys.executable, "-c", code], timeout=PATIENCE, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


class Collected:
    """An object in a reference cycle whose end calls the pool."""

    def __init__(self, action):
        self.action = action
        self.me = self

    def __del__(self):
        self.action()


class TestCollector:
    def test_a_del_that_calls_the_pool_during_any_pool_call(self, live):
        """With a threshold of 1 the collector runs inside nearly every line of the pool's critical sections."""
        workers = [live.new_worker(3600, lambda: None, name=f"w{n}", dispose=False) for n in range(8)]
        calls = [0]

        def act():
            calls[0] += 1
            worker = workers[calls[0] % 8]
            (worker.start, worker.stop, live.find_workers, lambda: live.run_job(lambda: None))[calls[0] % 4]()

        limits = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for n in range(400):
                Collected(act)
                workers[n % 8].start()
                workers[n % 8].stop()
        finally:
            gc.set_threshold(*limits)
        assert calls[0] > 100
        for worker in workers:
            worker.stop()
        live.run_job(lambda: None).result(PATIENCE)
        live.check()

    def test_a_command_from_inside_a_critical_section_is_carried_out_by_the_next_call(self, pool):
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

    def test_a_job_from_inside_a_critical_section_runs(self, live):
        with live._lock:
            job = live.run_job(lambda: "ran")
        live.new_worker(3600, lambda: None).start()  # any other command
        assert job.result(PATIENCE) == "ran"


class TestInterrupt:
    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interval timers are not on this platform")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_storm_of_keyboard_interrupts_loses_no_entry(self, live):
        """Every line of a command is hit sooner or later; after each interrupt the pool must be whole."""
        workers = [live.new_worker(3600, lambda: None, dispose=False, start_with_delay=True) for _ in range(8)]
        hits = turns = 0
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            while hits < 300 and turns < 2_000_000:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + (turns % 37) * 0.00001)
                    for turns in range(turns, turns + 5000):  # noqa: B020 - a signal may be swallowed by somebody's __del__
                        worker = workers[turns % 8]
                        worker.start()
                        worker.pause()
                        worker.unpause()
                        worker.stop()
                except KeyboardInterrupt:
                    hits += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        assert hits == 300
        live.check()
        ran = [threading.Event() for _ in workers]
        for worker, event in zip(workers, ran, strict=True):
            worker.callback = event.set
            worker.start().work_now()
        assert all(event.wait(PATIENCE) for event in ran)

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interval timers are not on this platform")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("switch", [1e-6, 5e-3])
    def test_a_storm_amid_two_threads_that_do_the_same_loses_nothing(self, live, switch):
        dice = random.Random(4711)
        live.set_logger(lambda text: None)
        intervals = (0.0001, 0.001, 3600)
        workers = [
            live.new_worker(intervals[n % 3], lambda: None, finished=lambda: None, dispose=False) for n in range(6)
        ]
        stop = threading.Event()

        def act():
            worker = dice.choice(workers)
            commands = (worker.start, worker.stop, worker.pause, worker.unpause, worker.work_now, worker.restart)
            with contextlib.suppress(InvalidTransition):
                dice.choice(commands)()

        def act_on():
            while not stop.is_set():
                act()
                live.run_job(lambda: None)

        crowd = [threading.Thread(target=act_on) for _ in range(2)]
        hits = turns = 0
        interval = sys.getswitchinterval()
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        sys.setswitchinterval(switch)
        try:
            for thread in crowd:
                thread.start()
            while hits < 1500 and turns < 20_000:
                turns += 1
                try:
                    signal.setitimer(signal.ITIMER_REAL, dice.uniform(5e-5, 1e-3))
                    for _ in range(2000):
                        act()
                except KeyboardInterrupt:
                    hits += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            sys.setswitchinterval(interval)
            stop.set()
        for thread in crowd:
            thread.join(PATIENCE)
        assert hits == 1500
        live.check()
        ran = [threading.Event() for _ in workers]
        for worker, event in zip(workers, ran, strict=True):
            worker.callback = event.set
            worker.start()
        assert all(event.wait(PATIENCE) for event in ran)
        assert live.run_job(lambda: "alive").result(PATIENCE) == "alive"

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interval timers are not on this platform")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_storm_while_jobs_are_given_loses_no_thread(self, live):
        hits = turns = 0
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            while hits < 200 and turns < 10_000:
                turns += 1
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0002 + (turns % 29) * 0.00001)
                    for _ in range(5000):  # a signal may be swallowed by somebody's __del__
                        live.run_job(lambda: None)
                except KeyboardInterrupt:
                    hits += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        assert hits == 200
        assert live.run_job(lambda: "alive").result(PATIENCE) == "alive"

    def test_what_an_interrupt_left_is_mended_by_the_next_call(self, live):
        worker = live.new_worker(3600, lambda: None, start_with_delay=True).start()
        worker._token = 0  # as if cut off between the new state and the queue entry
        live._touched = worker
        live.new_worker(3600, lambda: None).start()
        live.check()
        assert worker._token

    def test_a_stop_that_was_cut_off_is_completed_by_the_next_call(self, pool):
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

    def test_a_wake_up_that_was_cut_off_is_completed(self, live):
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


class TestFork:
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is not on this platform")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_child_neither_hangs_nor_runs_the_parents_workers(self, live):
        ran = []
        live.new_worker(0.0005, lambda: ran.append(os.getpid())).start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    live.find_workers()
                    if live.closed and live.count_jobs() == (0, 0):
                        with_new = WorkerPool()
                        code = 0 if with_new.run_job(lambda: 7).result(PATIENCE) == 7 else 2
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
        assert set(ran) <= {os.getpid()}

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is not on this platform")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_child_of_a_fork_with_the_lock_held_does_not_hang(self, live):
        worker = live.new_worker(3600, lambda: None, start_with_delay=True).start()
        held, release = threading.Event(), threading.Event()

        def hold():
            with live._lock:
                held.set()
                release.wait(PATIENCE)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(PATIENCE)
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # a child that hangs is killed, which the parent sees
            worker.stop()
            live.close()
            os._exit(0)
        release.set()
        holder.join(PATIENCE)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


class TestRaces:
    def test_eight_threads_that_start_and_stop_one_worker(self, live):
        """At the shortest switch interval: no overlap, `finished` once for each start, at most one entry."""
        inside, overlaps, ends = [], [], []
        starts = [0] * 8

        def callback():
            inside.append(1)
            if len(inside) > 1:
                overlaps.append(len(inside))
            inside.pop()

        worker = live.new_worker(0.0001, callback, finished=lambda: ends.append(1), dispose=False)
        go = threading.Barrier(8)

        def work(n):
            go.wait(PATIENCE)
            for turn in range(150):
                worker.start()
                starts[n] += 1
                (worker.stop, worker.pause, worker.unpause, worker.work_now)[turn % 4]() if worker.running else None

        def guarded(n):
            try:
                work(n)
            except Exception as error:
                errors.append(error)

        errors = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            crowd = [threading.Thread(target=guarded, args=(n,)) for n in range(8)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join(PATIENCE * 2)
        finally:
            sys.setswitchinterval(interval)
        # pause() and work_now() may find that another thread stopped the worker in between.
        assert {type(error).__name__ for error in errors} <= {"InvalidTransition"}
        worker.stop()
        quiet = threading.Event()
        live.subscribe(lambda event: event.kind is EventKind.STARTED and quiet.set())
        live.close(PATIENCE)
        assert overlaps == []
        assert len(ends) == sum(starts)


class TestCoroutines:
    def test_the_coroutine_of_a_job_is_awaited(self, live):
        async def task():
            return 7

        assert live.run_job(task).result(PATIENCE) == 7
        assert live.run_job(lambda: task()).result(PATIENCE) == 7

    def test_a_coroutine_that_a_callback_returns_is_awaited(self, live):
        async def poll():
            return False

        ended = threading.Event()
        worker = live.new_worker(0.001, lambda: poll(), dispose=False, finished=ended.set).start()
        assert ended.wait(PATIENCE)
        assert worker.run_count == 1

    def test_an_async_callback_is_awaited(self, live):
        import asyncio

        async def poll(_worker):
            await asyncio.sleep(0)
            return _worker.name

        worker = live.new_worker(0.001, poll, name="async", max_count=3, dispose=False)
        ended = threading.Event()
        worker.finished = lambda _worker: ended.set()
        worker.start()
        assert ended.wait(PATIENCE)
        assert [record.value for record in worker.history] == ["async"] * 3
