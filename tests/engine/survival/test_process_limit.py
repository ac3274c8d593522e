"""A process that may have no more threads: every run and every job is carried out by those that there are."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bgpool_jupyter.engine import seats

from .harness import PATIENCE, in_a_process, short_or_long

#: A process that nobody else shares its limit with: root has none, so it becomes a user who owns nothing.
LIMITED = """
import asyncio, logging, os, resource, threading, time, traceback
import bgpool_jupyter.engine.crew, bgpool_jupyter.engine.stacks, concurrent.futures.thread
from bgpool_jupyter import WorkerPool
HARD = resource.getrlimit(resource.RLIMIT_NPROC)[1]
def limit(threads):
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, HARD))
def room():
    "Return how many threads more there may be."
    threads, release = [], threading.Event()
    try:
        while len(threads) < 100:
            thread = threading.Thread(target=release.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
    release.set()
    for thread in threads:
        thread.join()
    return len(threads)
if os.getuid() == 0:
    os.setgid(54321)
    os.setuid(54321)
"""


@short_or_long("actors", 300, 20_000)
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_no_run_is_lost_with_a_few_threads(threads, actors):
    """A burst of actors, jobs that take their time, a periodic worker, and `finished`: all of it."""
    answer = in_a_process(
        LIMITED
        + f"""
limit({threads})
assert room() < {threads}, "the limit binds"
pool = WorkerPool()
ran, ends = [], []
periodic = pool.new_worker(0.001, lambda: None, finished=lambda: ends.append(1)).start()
jobs = [pool.run_job(lambda n=n: time.sleep(0.001) or n) for n in range(50)]
for n in range({actors}):
    pool.new_actor(lambda n: ran.append(n), finished=lambda n: ends.append(1)).start(n=n)
while len(ran) < {actors} or len(ends) < {actors} or periodic.run_count < 20:
    pool.count_jobs()
    time.sleep(0.001)
assert [job.result(10) for job in jobs] == list(range(50))
assert sorted(ran) == list(range({actors}))
pool.check()
periodic.stop()
pool.close(10)
assert len(ends) == {actors} + 1
print("whole")
""",
        timeout=PATIENCE * 3 + actors / 50,
    )
    assert answer == ["whole"]


def test_what_found_no_thread_at_all_begins_with_the_next_call_that_finds_one():
    answer = in_a_process(
        LIMITED
        + """
limit(1)
assert room() == 0
pool = WorkerPool()
ran = []
worker = pool.new_worker(0.001, lambda: ran.append(1), max_count=3, dispose=False).start()
actor = pool.new_actor(lambda: 7, dispose=False).start()
job = pool.run_job(lambda: 8)
assert not ran and pool.count_jobs() == (0, 0), pool.count_jobs()
limit(100)
assert pool.run_job(lambda: 9).result(10) == 9
assert (actor.result(10), job.result(10)) == (7, 8)
while len(ran) < 3:
    time.sleep(0.001)
pool.check()
pool.close(10)
print("late")
"""
    )
    assert answer == ["late"]


def test_a_coroutine_without_a_thread_for_the_loop_is_awaited_where_it_is():
    answer = in_a_process(
        LIMITED
        + """
pool = WorkerPool()
pool.run_job(lambda: None).result(10)
limit(1)
assert room() == 0
async def poll():
    await asyncio.sleep(0.001)
    return 5
worker = pool.new_actor(poll, dispose=False).start()
assert worker.result(10) == 5, worker.last_error
assert pool.run_job(poll).result(10) == 5
limit(100)
pool.close(10)
print("awaited")
"""
    )
    assert answer == ["awaited"]


def seven():
    return 7


async def awaited(what):
    """Await it in a loop of its own, as a cell does."""
    return await what


#: The ways to wait for a worker or a job.
WAITS = [
    pytest.param(lambda what: what.result(PATIENCE / 2), id="blocked"),
    pytest.param(lambda what: asyncio.run(asyncio.wait_for(awaited(what), PATIENCE / 2)), id="awaited"),
]


class TestRefusals:
    """The same with a refusal at a chosen place."""

    def test_a_run_waits_for_a_thread_that_becomes_free(self, live, monkeypatch):
        release, entered = threading.Event(), threading.Event()
        live.run_job(lambda: (entered.set(), release.wait(PATIENCE)))
        assert entered.wait(PATIENCE)

        def refuse(*_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(seats.Seat, "start", refuse)
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

    @pytest.mark.parametrize("wait", WAITS)
    @pytest.mark.parametrize("make", [lambda pool: pool.run_job(lambda: 7), lambda pool: pool.new_actor(seven).start()])
    def test_who_waits_helps_until_there_is_a_thread(self, live, monkeypatch, make, wait):
        """Nobody else calls the pool: the refusal is over while the one call waits."""
        real, refusals = seats.Seat.start, []

        def refuse(seat, loop):
            refusals.append(1)
            if len(refusals) > 3:
                real(seat, loop)
            else:
                raise RuntimeError("can't start new thread")

        monkeypatch.setattr(seats.Seat, "start", refuse)
        assert wait(make(live)) == 7
        assert len(refusals) >= 4

    @pytest.mark.parametrize("wait", WAITS)
    def test_who_waits_helps_as_well_when_the_refusal_comes_later(self, live, monkeypatch, eventually, wait):
        """What is to be waited for is not due yet when the wait begins, and no thread is missed before it is."""
        release, entered = threading.Event(), threading.Event()
        live.run_job(lambda: None).result(PATIENCE)
        real = seats.Seat.start
        refused = threading.Event()

        def refuse(*_):
            refused.set()
            raise RuntimeError("can't start new thread")

        def block():
            entered.set()
            release.wait(PATIENCE)

        live.new_actor(block, delay=0.3).start()
        late = live.new_actor(lambda: "late", delay=0.6, dispose=False).start()
        assert eventually(lambda: live._executor._leader is not None)
        monkeypatch.setattr(seats.Seat, "start", refuse)
        assert eventually(lambda: live.kill_jobs() or len(live._executor._seats) == 1)
        assert not entered.is_set(), "the machine was too slow for this test"

        def allow():
            assert refused.wait(PATIENCE)
            monkeypatch.setattr(seats.Seat, "start", real)

        allowing = threading.Thread(target=allow)
        allowing.start()
        try:
            assert wait(late) == "late"
        finally:
            release.set()
            allowing.join(PATIENCE)
