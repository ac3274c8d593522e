"""Pools that are dropped without close()."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from bgpool_jupyter.engine import WorkerPool

PATIENCE = 20.0


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bgpool-")]


@pytest.fixture(autouse=True)
def _no_thread_is_left(eventually):
    assert threads() == []
    yield
    assert eventually(lambda: gc.collect() >= 0 and threads() == [])


def test_an_idle_one_is_collected_and_its_threads_end(eventually):
    pool = WorkerPool()
    jobs = [pool.run_job(lambda: threading.current_thread()) for _ in range(20)]
    assert {job.result(PATIENCE).daemon for job in jobs} == {True}
    pool.new_worker(3600, lambda: None)
    gone = weakref.ref(pool)
    del pool, jobs
    assert eventually(lambda: gc.collect() >= 0 and gone() is None)


def test_one_whose_worker_was_stopped_is_collected(eventually):
    pool = WorkerPool()
    worker = pool.new_worker(0.001, lambda: None).start()
    worker.result(PATIENCE)
    worker.stop()
    gone = weakref.ref(pool)
    del pool, worker
    assert eventually(lambda: gc.collect() >= 0 and gone() is None)


def test_one_whose_far_worker_was_stopped_is_collected(eventually):
    pool = WorkerPool()
    crew: Any = pool._executor
    worker = pool.new_worker(3600, lambda: None, start_with_delay=True).start()
    assert eventually(lambda: crew._leader is not None)
    worker.stop()
    gone = weakref.ref(pool)
    del pool, worker
    assert eventually(lambda: gc.collect() >= 0 and gone() is None)


def test_one_with_a_started_worker_goes_on_until_that_ends(eventually):
    ran, release = [], threading.Event()
    pool = WorkerPool()
    pool.new_worker(0.001, lambda: ran.append(1) or not release.is_set()).start()
    gone = weakref.ref(pool)
    del pool
    for _ in range(3):
        gc.collect()
        count = len(ran)
        assert eventually(lambda count=count: len(ran) > count + 5)
    assert gone() is not None
    release.set()
    assert eventually(lambda: gc.collect() >= 0 and gone() is None)


def test_one_with_an_actor_that_waits_runs_it():
    ran = threading.Event()
    WorkerPool().new_actor(ran.set, delay=0.05).start()
    gc.collect()
    assert ran.wait(PATIENCE)


def test_one_with_a_job_that_runs_ends_after_it():
    entered, release, ended = threading.Event(), threading.Event(), threading.Event()
    WorkerPool().run_job(lambda: (entered.set(), release.wait(PATIENCE), ended.set()))
    assert entered.wait(PATIENCE)
    gc.collect()
    release.set()
    assert ended.wait(PATIENCE)


def test_one_with_coroutines_ends_with_its_loop(eventually):
    ended = threading.Event()

    async def task():
        for _ in range(5):
            await asyncio.sleep(0.001)
            gc.collect()
        ended.set()

    WorkerPool().run_job(task)
    assert ended.wait(PATIENCE)


def test_who_holds_a_worker_or_a_job_holds_the_pool():
    pool = WorkerPool()
    worker = pool.new_actor(lambda: 5, dispose=False)
    job = pool.run_job(lambda: 6)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is not None
    assert worker.start().result(PATIENCE) == 5
    assert job.result(PATIENCE) == 6


def test_many_that_come_and_go_leave_no_thread(eventually):
    for n in range(50):
        pool = WorkerPool()
        assert pool.run_job(lambda n=n: n).result(PATIENCE) == n
        pool.new_actor(lambda: None).start()
        del pool
    assert eventually(lambda: gc.collect() >= 0 and threads() == [])
