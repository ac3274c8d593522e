"""Months of slots, and clocks that jump."""

from __future__ import annotations

import contextlib
import math
import random
from datetime import UTC, datetime

import pytest

from bgpool_jupyter.engine import Cron, WorkerState
from bgpool_jupyter.engine.executors import InlineExecutor
from bgpool_jupyter.engine.pool import WorkerPool
from bgpool_jupyter.testing import ManualClock, make_pool

from .harness import short_or_long

HOUR, DAY = 3600.0, 86400.0
INTERVAL = 0.01


class Witness:
    """A worker every 10 ms that knows by itself when its slots are, and complains of a wrong one."""

    def __init__(self, pool, **settings):
        self.first = pool.clock.monotonic()
        self.slots = 0
        self.last = -1
        self.late = 0
        self.wrong = []
        self.worker = pool.new_worker(INTERVAL, self._callback(pool.clock), **settings).start()

    def _callback(self, clock):
        """Return what is run. There are 259 million slots in the long form: it looks up as little as it can."""
        monotonic, first, interval, wrong, nearest = clock.monotonic, self.first, INTERVAL, self.wrong, round

        def callback():
            now = monotonic()
            slot = nearest((self.worker._busy._due - first) / interval)
            due = first + slot * interval  # by multiplication: its own instant, to the last bit
            if now != due or slot != self.last + 1:  # else it is the slot after the last one, in time
                if now < due or slot <= self.last:
                    wrong.append((slot, self.last, now))
                self.late += now > due
            self.slots += 1
            self.last = slot

        return callback


@short_or_long("duration", HOUR / 2, 30 * DAY)
def test_every_slot_of_virtual_days_at_ten_milliseconds(duration):
    """Not a slot lost, doubled or early, and the last one where multiplication says it is."""
    pool = make_pool()
    witness = Witness(pool)
    pool.clock.advance(duration)
    slots = round(duration / INTERVAL) + 1
    assert (witness.wrong, witness.late) == ([], 0)
    assert (witness.slots, witness.last) == (slots, slots - 1)
    assert witness.worker.run_count == slots
    assert witness.worker.missed_count == 0


@short_or_long("days", 30, 3650)
def test_virtual_days_with_a_machine_that_sleeps(days):
    """Of every hour some seconds are run slot by slot, the rest is slept through: what is not run counts as missed."""
    pool = make_pool()
    witness = Witness(pool)
    dice = random.Random(days)
    for _ in range(days * 24):
        awake = dice.randint(1, 100) * INTERVAL
        pool.clock.advance(awake)
        pool.clock.sleep(HOUR - awake)
        pool.clock.advance(0)
    slots = math.floor((pool.clock.monotonic() - witness.first) / INTERVAL + 1e-6) + 1
    assert witness.wrong == []
    assert witness.late <= days * 24  # the first run after each sleep
    assert witness.slots == witness.worker.run_count
    assert witness.slots + witness.worker.missed_count == slots


@short_or_long("hours", 1, 24)
def test_passed_slots_are_all_made_up_on_request(hours):
    pool = make_pool()
    dues = []
    worker = pool.new_worker(
        INTERVAL, lambda _worker: dues.append(_worker.current.due), run_past_events=True, max_count=None
    ).start()
    first = pool.clock.time()
    for _ in range(hours):
        pool.clock.sleep(60)
        pool.clock.advance(1)
    assert worker.missed_count == 0
    assert len(dues) == hours * 61 * 100 + 1
    assert [round((due - first) / INTERVAL) for due in dues] == list(range(len(dues)))


class Jumpy(ManualClock):
    """A clock whose monotonic time can be set as well, which a broken machine does."""

    def jump(self, seconds):
        """Move monotonic time, back too; the wall clock goes along."""
        self._now += seconds


def jumpy_pool():
    clock = Jumpy()
    pool = WorkerPool(clock=clock, executor=InlineExecutor())
    clock.attach(pool)
    return pool


JUMPS = pytest.mark.parametrize("jump", [HOUR, DAY, -HOUR, -DAY], ids=["hour", "day", "hour back", "day back"])


@JUMPS
class TestWallClockJumps:
    """The wall clock is set; monotonic time goes on as it was."""

    def test_intervals_do_not_care(self, jump):
        pool = make_pool()
        witness = Witness(pool, name="w")
        delayed = []
        pool.new_worker(0.25, lambda: delayed.append(pool.clock.monotonic()), run_on_time=False).start()
        actor = pool.new_actor(lambda: None, delay=10, dispose=False).start()
        pool.clock.advance(5)
        pool.clock.set_wall(pool.clock.time() + jump)
        pool.clock.advance(4.99)
        before = actor.run_count
        pool.clock.advance(5.01)
        assert (before, actor.run_count) == (0, 1)
        assert witness.wrong == []
        assert witness.slots == 1501
        assert len(delayed) == 61
        assert witness.worker.missed_count == 0

    def test_what_is_told_goes_along(self, jump):
        pool = make_pool()
        worker = pool.new_worker(60, lambda: None, start_with_delay=True).start()
        before = worker.next_run_time
        pool.clock.set_wall(pool.clock.time() + jump)
        assert worker.next_run_time == pytest.approx(before + jump)
        pool.clock.advance(60)
        record = worker.history[-1]
        assert record.started == pytest.approx(before + jump)
        assert record.lateness == pytest.approx(0, abs=1e-3)

    def test_a_run_in_flight_keeps_its_duration(self, jump):
        pool = make_pool()

        def callback():
            pool.clock.sleep(2)
            pool.clock.set_wall(pool.clock.time() + jump)
            pool.clock.sleep(3)

        worker = pool.new_actor(callback, timeout=10, dispose=False).start()
        pool.clock.advance(0)
        assert worker.last_duration == pytest.approx(5)
        assert worker.history[0].outcome == "done"

    def test_nobody_is_called_silent(self, jump):
        pool = make_pool()
        worker = pool.new_worker(10, lambda: None).start()
        pool.clock.advance(15)
        pool.clock.set_wall(pool.clock.time() + jump)
        assert worker.lints() == []
        pool.clock.advance(1)
        assert worker.lints() == []

    def test_nobody_is_called_silent_after_a_pause(self, jump):
        pool = make_pool()
        worker = pool.new_worker(10, lambda: None).start().pause()
        pool.clock.sleep(abs(jump))
        worker.unpause()
        assert worker.lints() == []

    def test_an_actor_at_an_instant_follows_it(self, jump):
        """An instant that is reached by the jump is run within the minute; one that moved away is waited for."""
        pool = make_pool()
        ran = []
        base = pool.clock.time()
        pool.new_actor(lambda: ran.append(pool.clock.time()), at=base + 1800).start()
        pool.clock.advance(600)
        pool.clock.set_wall(pool.clock.time() + jump)
        pool.clock.advance(60)
        assert len(ran) == (jump > 0)
        pool.clock.advance(2 * DAY)
        assert len(ran) == 1
        assert ran[0] >= base + 1800
        if jump < 0:
            assert ran[0] == pytest.approx(base + 1800, abs=1e-3)

    def test_a_cron_worker_follows_it_and_runs_no_slot_twice(self, jump):
        pool = make_pool()
        pool.clock.set_wall(datetime(2026, 5, 10, 12, 0, 1, tzinfo=UTC).timestamp())
        worker = pool.new_worker(Cron("*/10 * * * *", "UTC"), lambda: None).start()
        pool.clock.advance(25 * 60)
        assert worker.run_count == 2
        pool.clock.set_wall(pool.clock.time() + jump)
        before = worker.run_count
        pool.clock.advance(60)
        # Forwards: the slots that were jumped over are missed, and one late run stands for them.
        assert worker.run_count == before + (jump > 0)
        pool.clock.advance(abs(jump) + 1800)
        dues = [record.due for record in worker.history]
        rounded = [round(due) for due in dues]
        assert len(set(rounded)) == len(rounded)
        assert all(record.started >= record.due - 1e-3 for record in worker.history)
        assert worker.state is WorkerState.WAITING

    def test_until_is_an_instant(self, jump):
        pool = make_pool()
        worker = pool.new_worker(60, lambda: None, until=pool.clock.time() + 1800, dispose=False).start()
        pool.clock.advance(150)
        pool.clock.set_wall(pool.clock.time() + jump)
        pool.clock.advance(60)
        assert worker.running is (jump < 0)


class TestMonotonicJumps:
    """Monotonic time jumps: forwards as after a suspend that it counts, backwards as no machine should."""

    @pytest.mark.parametrize("jump", [HOUR, DAY])
    def test_forwards_dismisses_what_passed_at_once(self, jump):
        pool = jumpy_pool()
        witness = Witness(pool)
        pool.clock.advance(1)
        pool.clock.jump(jump)
        pool.clock.advance(1)
        assert (witness.wrong, witness.late) == ([], 1)
        assert witness.slots + witness.worker.missed_count == round((jump + 2) / INTERVAL) + 1

    @pytest.mark.parametrize("jump", [HOUR, DAY])
    def test_backwards_no_run_is_early_and_none_is_lost(self, jump):
        """The slots that come again are none: the worker waits until its next one is reached."""
        pool = jumpy_pool()
        witness = Witness(pool)
        actor = pool.new_actor(lambda: None, delay=2, dispose=False).start()
        pool.clock.advance(1)
        count = witness.slots
        pool.clock.jump(-jump)
        pool.clock.advance(jump / 2)
        assert witness.slots == count
        pool.check()
        pool.clock.advance(jump / 2 + 2)
        assert witness.wrong == []
        assert witness.slots == 301
        assert actor.run_count == 1

    @pytest.mark.parametrize("jump", [HOUR, DAY])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_during_a_run(self, jump, sign):
        pool = jumpy_pool()
        jumps = [sign * jump]

        def callback():
            with contextlib.suppress(IndexError):
                pool.clock.jump(jumps.pop())

        worker = pool.new_worker(10, callback, timeout=5).start()
        pool.clock.advance(0)
        pool.check()
        record = worker.history[0]
        assert record.duration >= 0
        pool.clock.advance(2 * jump)
        pool.check()
        assert worker.run_count > 2
        assert worker.state is WorkerState.WAITING
