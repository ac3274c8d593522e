"""Pools for tests: one in virtual time, one on real threads."""

from __future__ import annotations

import threading
import time

import pytest

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.testing import make_pool

#: Seconds after which a wait on a real thread has failed. Long, because the machine may be busy.
PATIENCE = 20.0


@pytest.fixture
def pool():
    """A pool in virtual time; its invariants are checked at the end."""
    made = make_pool()
    yield made
    made.check()
    made.close()


@pytest.fixture
def live():
    """A pool on real threads, which must all be gone at the end."""
    before = set(threading.enumerate())
    made = WorkerPool()
    yield made
    try:
        made.check()
    finally:
        made.close(PATIENCE)
    # An interrupt inside of Thread.start() leaves its object behind, for which there never was a thread.
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert not [thread for thread in left if thread.name.startswith("bgpool-")]


def eventually(condition):
    """Wait until `condition()` holds; return whether it came to hold within the patience."""
    pause = threading.Event()
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        pause.wait(0.002)
    return True


@pytest.fixture(name="eventually")
def _eventually():
    return eventually
