"""os.fork while the pool is busy: the child neither hangs nor runs the parent's workers, the parent goes on."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bgpool_jupyter.engine import WorkerPool

from .harness import PATIENCE, in_a_process, short_or_long

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@short_or_long("children", 20, 500)
def test_a_child_neither_hangs_nor_runs_the_parents_workers(live, children):
    ran = []
    live.new_worker(0.0005, lambda: ran.append(os.getpid())).start()
    for _ in range(children):
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


def test_a_child_of_a_fork_with_the_lock_held_does_not_hang(live):
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


BUSY = """
import asyncio, os, signal, sys, threading, warnings
from bgpool_jupyter import WorkerPool, default_pool
warnings.simplefilter("ignore", DeprecationWarning)
pool = default_pool()
pool.new_worker(0.0005, lambda: None, name="quick").start()
async def poll():
    await asyncio.sleep(0.0005)
pool.new_worker(0.0005, poll, name="async").start()
pool.subscribe(lambda event: None)
block = threading.Event()
for _ in range(8):
    pool.run_job(block.wait)
"""


@short_or_long("children", 10, 300)
def test_children_that_end_as_processes_do_and_a_parent_that_goes_on(children):
    """Each child uses a pool of its own and the default one, coroutines too, and ends as an interpreter does."""
    answer = in_a_process(
        BUSY
        + f"""
for _ in range({children}):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        assert pool.closed and default_pool() is not pool
        with WorkerPool() as own:
            worker = own.new_worker(0.001, poll, max_count=3, dispose=False).start()
            assert own.run_job(lambda: 7).result(10) == 7
            worker.result(10)
        assert default_pool().run_job(lambda: 8).result(10) == 8
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
count = [worker.run_count for worker in pool.find_workers()]
while any(worker.run_count < before + 20 for worker, before in zip(pool.find_workers(), count)):
    pool.run_job(lambda: None).result(10)
block.set()
pool.check()
pool.close(10)
print("went on")
""",
        timeout=PATIENCE * 3 + children,
    )
    assert answer == ["went", "on"]


def test_a_fork_inside_of_a_callback():
    """The child has one thread, the one that forked: it comes back from the callback, and ends."""
    answer = in_a_process(
        BUSY
        + """
codes = []
def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        return
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
worker = pool.new_worker(0.001, fork, max_count=20, dispose=False).start()
done = threading.Event()
worker.finished = lambda: None
while len(codes) < 20:
    pool.run_job(lambda: None).result(10)
block.set()
print(*sorted(set(codes)))
"""
    )
    assert answer == ["0"]


def test_a_fork_inside_of_a_callback_while_another_thread_holds_the_lock(live):
    entered, held, forked = threading.Event(), threading.Event(), threading.Event()
    pids = []

    def fork():
        entered.set()
        assert held.wait(PATIENCE)
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # a child that hangs is killed, which the parent sees
            return
        pids.append(pid)
        forked.set()

    job = live.run_job(fork)
    assert entered.wait(PATIENCE)
    with live._lock:
        held.set()
        assert forked.wait(PATIENCE)
    assert job.result(PATIENCE) is None
    _, status = os.waitpid(pids[0], 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_pool_that_is_dropped_in_a_child_touches_nothing_of_the_parents():
    answer = in_a_process(
        BUSY.replace("default_pool()", "WorkerPool()", 1).replace("import asyncio,", "import asyncio, gc,")
        + """
for _ in range(10):
    with pool._lock:  # as another thread may hold it
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        del pool
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
block.set()
pool.close(10)
print("whole")
"""
    )
    assert answer == ["whole"]
