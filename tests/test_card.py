"""The error card: what is told of a worker that failed."""

from __future__ import annotations

import time

from bgpool_jupyter.card import card, local_time, run_label
from bgpool_jupyter.engine import Retry
from bgpool_jupyter.testing import make_pool


class Capture:
    """Gives each run's output to the test."""

    def enter(self, output):
        output.write("stdout", "half way\n")

    def exit(self, token):
        pass

    def label(self, filename):
        return "Cell In[3]" if filename == __file__ else None


def boom():
    raise ValueError("boom")


def quiet_pool():
    pool = make_pool()
    pool.set_logger(lambda text: None)
    pool.capture = Capture()
    return pool


def the_card(worker):
    found = card(worker)
    assert found is not None
    return found


def test_worker_that_has_not_failed_has_none():
    pool = quiet_pool()
    worker = pool.new_worker(10, lambda: None)
    assert card(worker) is None
    worker.start()
    pool.clock.advance(0)
    assert card(worker) is None


def test_card():
    pool = quiet_pool()
    began = pool.clock.time()
    worker = pool.new_worker(60, boom, retry=Retry(attempts=3, first=10, factor=1, jitter=0)).start()
    pool.clock.advance(10)
    found = the_card(worker)
    assert (found.number, found.attempt, found.started) == (1, 2, began + 10)
    assert found.title == f"run 1, try 2 failed at {local_time(began + 10)}"
    assert found.line == "ValueError: boom"
    assert found.traceback.startswith("Traceback (most recent call last):\n  Cell In[3], line ")
    assert '    raise ValueError("boom")\n' in found.traceback
    assert found.output == "half way\n"
    assert found.outlook == f"tries again at {local_time(began + 20)} (attempt 3 of 3)"
    assert found.recovered is False


def test_worker_that_recovered():
    pool = quiet_pool()
    outcomes = iter([ValueError("boom"), None, None])

    def work():
        error = next(outcomes)
        if error:
            raise error

    worker = pool.new_worker(60, work).start()
    pool.clock.advance(100)
    found = the_card(worker)
    assert (found.number, found.recovered) == (1, True)
    worker.restart()
    assert card(worker) is None, "a new start begins anew"


def test_record_that_was_dropped():
    pool = quiet_pool()
    worker = pool.new_worker(1, lambda: None if worker.run_count > 1 else boom()).start()
    pool.clock.advance(200)
    found = the_card(worker)
    assert (found.number, found.started, found.output, found.recovered) == (None, None, "", True)
    assert found.title == "an earlier run failed"
    assert found.line == "ValueError: boom"


def test_run_label():
    assert (run_label(3, 1), run_label(3, 2)) == ("3", "3, try 2")


def test_local_time_has_the_date_where_it_is_not_today():
    noon = time.mktime((2027, 1, 15, 12, 0, 5, 0, 0, -1))
    assert local_time(noon) == "2027-01-15 12:00:05"
    now = time.time()
    assert local_time(now) == time.strftime("%H:%M:%S", time.localtime(now))
