"""Any number of starts and stops leaves the memory flat."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from bgpool_jupyter.testing import make_pool

from ..conftest import eventually
from .harness import PATIENCE, short_or_long


def growth(turns, act, settled=lambda: True):
    """Return the bytes by which the memory of Python objects grew from the end of the first fifth of the turns on.

    What other threads have yet to do counts as memory too: `settled()` says when they have done it.
    """
    tracemalloc.start()
    try:
        for turn in range(turns // 5):
            act(turn)
        assert eventually(settled)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for turn in range(turns):
            act(turn)
        assert eventually(settled)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@short_or_long("turns", 20_000, 1_000_000)
@pytest.mark.parametrize("kept", [True, False])
def test_starts_and_stops_of_far_actors(live, turns, kept):
    """Through the whole pool: a hundred actors that are kept, or a new one each time that leaves when it is stopped."""
    actors = [live.new_actor(lambda: None, delay=3600, dispose=False, finished=lambda: None) for _ in range(100)]

    def act(turn):
        if kept:
            actor = actors[turn % 100]
            actor._delay = 1e6 - turn % 5000  # each entry before the ones that are dead already
            actor.start().stop()
        else:
            live.new_actor(lambda: None, delay=3600 + turn % 5000).start().stop()

    def settled():
        if live.count_jobs()[0] == 0:
            live.kill_jobs()  # how many threads there are is the machine's to say, and each takes 3 kB
        return live.count_jobs() == (0, 0)

    assert growth(turns, act, settled) < 100_000
    assert len(live._deadlines.heap) <= 1024
    assert len(live.find_workers()) == 100


@short_or_long("turns", 1500, 200_000)
def test_runs_failures_jobs_events_and_feeds(turns):
    """What is remembered is bounded: records, jobs, events that nobody fetches."""
    pool = make_pool()
    pool.set_logger(lambda text: None)
    feed = pool.watch()
    pool.subscribe(lambda event: None)

    def callback():
        raise ValueError("boom" * 10)

    worker = pool.new_worker(1, callback, retry=2).start()
    other = pool.new_worker(1, lambda: bytes(1000)).start()

    def act(turn):
        pool.run_job(lambda: bytes(1000))
        pool.clock.advance(1)
        if turn % 100 == 0:
            worker.restart()

    assert growth(turns, act) < 500_000
    assert len(worker.history) == len(other.history) == 100
    assert feed.take() == {worker.id, other.id}
    pool.close(PATIENCE)
