"""What the tests of survival share: two sizes of each, storms, and every call that a pool knows."""

from __future__ import annotations

import contextlib
import gc
import signal
import subprocess
import sys
import threading

import pytest

from bgpool_jupyter.engine import PoolError

#: Seconds after which a wait on a real thread has failed. Long, because the machine may be busy.
PATIENCE = 20.0
#: Most seconds for a long form.
_LONG = 4 * 3600


def short_or_long(names, short, long):
    """Run a test with `short` in every run of the tests, with `long` where ``-m long`` asks for it."""
    marks = [pytest.mark.long, pytest.mark.timeout(_LONG)]
    return pytest.mark.parametrize(names, [pytest.param(short, id="short"), pytest.param(long, id="long", marks=marks)])


def pool_threads():
    """Return the threads of pools; an interrupt inside of Thread.start() leaves its object behind without a thread."""
    return [thread for thread in threading.enumerate() if thread.is_alive() and thread.name.startswith("bgpool-")]


@contextlib.contextmanager
def switch_interval(seconds):
    """Have the interpreter change threads as often as it can, or as seldom as wanted."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def collector_everywhere():
    """Run the garbage collector inside nearly every line of the pool's critical sections."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def interrupt_storm(hits, act, pause):
    """Call `act()` again and again on this, the main thread, until `hits` KeyboardInterrupts came out of it.

    ``pause()`` gives the seconds to each next signal. A signal may be swallowed by somebody's ``__del__``:
    then the next one is waited for no longer than some thousands of calls.
    """
    count = 0
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(20 * hits):
            try:
                signal.setitimer(signal.ITIMER_REAL, pause())
                for _ in range(5000):
                    act()
            except KeyboardInterrupt:
                count += 1
            if count == hits:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert count == hits


class Crowd:
    """Threads that do `act(n)` until it is enough; what they raise, but for refusals of the pool, is kept."""

    def __init__(self, count, act):
        self.errors = []
        self._stop = threading.Event()
        self._act = act
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]

    def _run(self, n):
        try:
            while not self._stop.is_set():
                with contextlib.suppress(PoolError):
                    self._act(n)
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE * 2)
        assert not any(thread.is_alive() for thread in self._threads), "a dead-lock"
        assert self.errors == []


def in_turns(count, turns, act):
    """Do `act(n, turn)` for each turn on each of `count` threads, which begin together."""
    go = threading.Barrier(count)
    errors = []

    def work(n):
        try:
            go.wait(PATIENCE)
            for turn in range(turns):
                act(n, turn)
        except BaseException as error:
            errors.append(error)

    crowd = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(PATIENCE * 2 + turns)
    assert not any(thread.is_alive() for thread in crowd), "a dead-lock"
    assert errors == []


def in_a_process(program, *, timeout=PATIENCE * 3):
    """Run a program in a fresh interpreter, which must end well and complain of nothing; return its words."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], timeout=timeout, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    return done.stdout.split()


def all_run_again(pool, workers):
    """Assert that nothing was lost: the pool is whole, each worker runs when it is started, and so does a job."""
    pool.new_actor(print).stop()  # what was put off is done now, and not after a start below
    pool.check()
    ran = [threading.Event() for _ in workers]
    for worker, event in zip(workers, ran, strict=True):
        worker.callback = event.set
        worker.interval = 3600
        worker.start().work_now()
    assert all(event.wait(PATIENCE) for event in ran)
    assert pool.run_job(lambda: "alive").result(PATIENCE) == "alive"
    pool.check()
