"""Runs that would begin too late: max_lateness, in virtual time and on threads."""

from __future__ import annotations

import functools
import itertools
import sys
import threading

import pytest
from hypothesis import given, strategies

from bgpool_jupyter.engine import ArgumentTypeError, ArgumentValueError, Cron, Retry, RunFailed, WorkerPool
from bgpool_jupyter.engine.runner import Runner
from bgpool_jupyter.engine.starts import Start
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


def slots(worker, first):
    """Return when its runs were due and when they began, in seconds from `first`."""
    return [(round(record.due - first, 3), round(record.started - first, 3)) for record in worker.history]


def missed(pool):
    return [event.text for event in pool.events() if event.kind.value == "missed"]


@pytest.fixture
def first(pool):
    return pool.clock.time()


class TestSlots:
    def test_one_that_would_begin_too_late_is_left_out(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.clock.sleep(14)  # the slot at 10 s
        pool.clock.advance(10)
        assert slots(worker, first) == [(0, 0), (20, 20)]
        assert (worker.missed_count, worker.run_count) == (1, 2)
        assert missed(pool) == ["4 s late, at most 3 s"]

    def test_one_that_is_late_by_just_as_much_begins(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.clock.sleep(13)
        pool.clock.advance(0)
        assert slots(worker, first) == [(0, 0), (10, 13)]
        assert missed(pool) == []

    def test_all_that_passed_are_counted(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.clock.sleep(3600 + 4)
        pool.clock.advance(10)
        assert slots(worker, first) == [(0, 0), (3610, 3610)]
        assert worker.missed_count == 360
        assert len(missed(pool)) == 1

    def test_the_next_one_that_is_not_too_late_begins(self, pool, first):
        """The slot that was waited for is; those between it and now need not be."""
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.clock.sleep(42)
        pool.clock.advance(8)
        assert slots(worker, first) == [(0, 0), (40, 42), (50, 50)]
        assert worker.missed_count == 3
        cron = pool.new_worker(Cron("* * * * *", "UTC"), lambda: None, max_lateness=70).start()
        pool.clock.sleep(150)  # from 08:00:50 to 08:03:20
        pool.clock.advance(0)
        assert [round(record.lateness) for record in cron.history] == [20]
        assert cron.missed_count == 2

    def test_only_those_that_are_not_too_late_are_made_up(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=25, run_past_events=True).start()
        pool.clock.advance(0)
        pool.clock.sleep(8 * 3600 + 4)
        pool.clock.advance(0)
        end = 8 * 3600
        assert slots(worker, first) == [(0, 0), (end - 20, end + 4), (end - 10, end + 4), (end, end + 4)]
        assert worker.missed_count == 2880 - 3
        assert len(missed(pool)) == 1, "they are left out in one step"

    def test_what_an_overrun_leaves_to_make_up_is_too_late_as_well(self, pool, first):
        worker = pool.new_worker(10, lambda: pool.clock.sleep(35), max_lateness=12, run_past_events=True, max_count=3)
        worker.start()
        pool.clock.advance(200)
        # Run 1 ends at 35 s: 10 and 20 are lost, 30 begins 5 s late and ends at 70 s.
        assert slots(worker, first) == [(0, 0), (30, 35), (60, 70)]
        assert worker.missed_count == 4

    def test_after_a_fixed_delay(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3, run_on_time=False).start()
        pool.clock.advance(0)
        pool.clock.sleep(15)
        pool.clock.advance(12)
        assert slots(worker, first) == [(0, 0), (25, 25)]
        assert worker.missed_count == 1

    def test_of_a_cron_expression(self, pool):
        worker = pool.new_worker(Cron("*/10 * * * *", "UTC"), lambda: None, max_lateness=60).start()
        noon = pool.clock.time() // 86400 * 86400 + 86400 + 43200
        pool.clock.advance(noon + 1 - pool.clock.time())
        pool.clock.sleep(1800 + 90)  # past 12:10, 12:20 and 12:30
        pool.clock.advance(600)
        assert slots(worker, noon)[-2:] == [(0, 0), (2400, 2400)]
        assert worker.missed_count == 3

    def test_jitter_is_no_lateness(self, pool):
        worker = pool.new_worker(10, lambda: None, max_lateness=1e-6, jitter=9).start()
        pool.clock.advance(1000)
        assert worker.missed_count == 0
        assert worker.run_count >= 100

    def test_of_a_run_that_was_moved(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.reschedule(worker, first + 12)
        pool.clock.sleep(16)
        pool.clock.advance(10)
        assert slots(worker, first) == [(0, 0), (20, 20)]
        assert missed(pool) == ["4 s late, at most 3 s"]

    def test_a_new_value_counts_at_once(self, pool, first):
        worker = pool.new_worker(10, lambda: None).start()
        pool.clock.advance(0)
        worker.max_lateness = 3
        pool.clock.sleep(14)
        pool.clock.advance(0)
        assert worker.missed_count == 1
        worker.max_lateness = None
        pool.clock.sleep(14)
        pool.clock.advance(0)
        assert slots(worker, first) == [(0, 0), (20, 28)]


class TestWhatIsNoSlot:
    def test_a_run_on_request_begins(self, pool, first):
        """Also where a slot is there to be dismissed: who asks for a run gets one."""
        worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
        pool.clock.advance(0)
        pool.clock.sleep(14)
        worker.work_now()
        pool.clock.advance(6)
        assert slots(worker, first) == [(0, 0), (10, 14), (20, 20)]
        assert worker.missed_count == 0, "it is the run of the slot that was due"

    @pytest.mark.parametrize("kind", ["worker", "actor"])
    def test_a_run_on_request_that_has_to_wait_begins(self, pool, first, kind):
        """It was not too late when it was asked for."""
        if kind == "worker":
            asked = pool.new_worker(3600, lambda: "ran", start_with_delay=True, max_lateness=60).start()
        else:
            asked = pool.new_actor(lambda: "ran", delay=3600, max_lateness=60, dispose=False).start()
        pool.suspend()
        pool.clock.advance(3630)
        asked.work_now()
        pool.clock.advance(60)
        pool.resume()
        pool.clock.advance(0)
        assert (asked.run_count, asked.missed_count, asked.last_value) == (1, 0, "ran")
        assert slots(asked, first) == [(3600, 3690)]

    def test_a_pause_takes_the_request_back(self, pool, first):
        actor = pool.new_actor(lambda: None, delay=10, max_lateness=3, dispose=False).start()
        pool.suspend()
        pool.clock.advance(11)
        actor.work_now()
        actor.pause()
        pool.resume()
        pool.clock.advance(60)
        actor.unpause()
        pool.clock.advance(0)
        assert (actor.run_count, actor.missed_count) == (0, 1)

    @pytest.mark.parametrize("on_request", [False, True])
    def test_a_retry_that_was_moved_begins_and_takes_no_slot(self, pool, first, on_request):
        pool.set_logger(lambda _text: None)
        begun = []

        def fail_once():
            begun.append(pool.clock.time() - first)
            if len(begun) == 1:
                raise ValueError

        worker = pool.new_worker(
            1000, fail_once, start_with_delay=on_request, retry=Retry(attempts=3, first=10, jitter=0), max_lateness=3
        ).start()
        if on_request:
            worker.work_now()
        pool.clock.advance(5)
        pool.reschedule(worker, first + 30)
        promised = [round(instant.timestamp() - first) for instant in worker.preview(3)]
        pool.clock.sleep(51)
        pool.clock.advance(2000)
        assert begun == [0, 56, 1000, 2000]
        assert promised == [30, 1000, 2000]
        assert [record.number for record in worker.history][:3] == [1, 1, 2]
        assert worker.missed_count == 0

    def test_a_retry_begins(self, pool, first):
        worker = pool.new_worker(
            60, lambda: 1 / (worker.run_count - 1), max_lateness=3, retry=Retry(attempts=2, first=10, jitter=0)
        ).start()
        pool.set_logger(lambda _text: None)
        pool.clock.advance(0)
        pool.clock.sleep(30)
        pool.clock.advance(0)
        assert [(record.number, record.attempt) for record in worker.history] == [(1, 1), (1, 2)]
        assert worker.missed_count == 0

    def test_one_that_goes_on_at_once(self, pool):
        actor = pool.new_actor(lambda: "ran", delay=10, max_lateness=3, dispose=False).start()
        actor.pause()
        pool.clock.sleep(60)
        actor.unpause(immediately=True)
        pool.clock.advance(0)
        assert actor.result(0) == "ran"

    def test_an_instant_to_which_a_run_was_moved_and_which_has_passed_is_now(self, pool, first):
        worker = pool.new_worker(1000, lambda: None, max_lateness=3).start()
        pool.clock.advance(20)
        pool.reschedule(worker, first + 5)
        pool.clock.advance(0)
        assert slots(worker, first) == [(0, 0), (20, 20)]


class TestPreview:
    """Of what is too late now; what may become so is not foreseen."""

    @pytest.mark.parametrize(
        ("settings", "instants"),
        [
            ({}, [40, 50]),
            ({"run_past_events": True, "max_lateness": 15}, [34, 34, 40]),
            ({"run_on_time": False}, [44, 54]),
        ],
    )
    def test_is_what_then_happens(self, pool, first, settings, instants):
        worker = pool.new_worker(10, lambda: None, **{"max_lateness": 3, **settings}).start()
        pool.clock.advance(0)
        pool.suspend()
        pool.clock.advance(34)
        promised = [round(instant.timestamp() - first, 3) for instant in worker.preview(len(instants))]
        pool.resume()
        pool.clock.advance(30)
        assert promised == instants
        assert [round(record.started - first, 3) for record in worker.history][1:][: len(instants)] == instants

    def test_of_what_is_made_up_after_a_run_that_was_moved(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=15, run_past_events=True).start()
        pool.clock.advance(5)
        pool.reschedule(worker, first + 64)
        promised = [round(instant.timestamp() - first, 3) for instant in worker.preview(4)]
        pool.clock.advance(70)
        assert promised == [64, 64, 64, 70]
        assert [round(record.started - first, 3) for record in worker.history][1:] == promised

    def test_next_run_time_is_that_of_the_run_that_will_begin(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3, until=first + 45).start()
        pool.suspend()
        pool.clock.advance(34)
        assert worker.next_run_time == first + 40
        pool.clock.advance(9)
        assert worker.next_run_time == first + 43, "3 s late is not too late, were it to go on now"
        pool.clock.advance(1)
        assert worker.next_run_time is None, "and no further one before it ends"

    def test_of_an_actor_that_is_too_late_is_empty(self, pool, first):
        actor = pool.new_actor(lambda: None, at=first - 100, max_lateness=60).start()
        assert actor.preview() == []
        actor.work_now()
        assert [instant.timestamp() for instant in actor.preview()] == [first]


class TestEnds:
    @pytest.mark.parametrize("settings", [{"delay": 10}, {"at": 1_800_000_010.0}])
    def test_an_actor_that_is_too_late_ends_without_a_run(self, pool, settings):
        ends = []
        actor = pool.new_actor(
            lambda: None, max_lateness=3, dispose=False, finished=lambda: ends.append(1), **settings
        ).start()
        pool.clock.sleep(14)
        pool.clock.advance(0)
        assert (actor.state.value, actor.run_count, actor.missed_count, ends) == ("stopped", 0, 1, [1])
        with pytest.raises(RunFailed, match="ended before a run of it did"):
            actor.result(0)

    def test_an_actor_whose_time_has_long_passed_when_it_is_started(self, pool):
        actor = pool.new_actor(lambda: None, at=pool.clock.time() - 3600, max_lateness=60, dispose=False).start()
        pool.clock.advance(0)
        assert (actor.run_count, missed(pool)) == (0, ["1 h late, at most 1 min"])

    def test_a_worker_whose_next_slot_is_beyond_its_end(self, pool, first):
        worker = pool.new_worker(10, lambda: None, max_lateness=3, until=first + 15, dispose=False).start()
        pool.clock.advance(0)
        pool.clock.sleep(14)
        pool.clock.advance(0)
        assert (worker.state.value, worker.run_count, worker.missed_count) == ("stopped", 1, 1)

    def test_what_was_left_out_does_not_count_towards_max_count(self, pool):
        worker = pool.new_worker(10, lambda: None, max_lateness=3, max_count=3, dispose=False).start()
        pool.clock.sleep(5)
        pool.clock.advance(100)
        assert (worker.run_count, worker.missed_count) == (3, 1)


def test_what_a_suspension_held_is_left_out(pool, first):
    worker = pool.new_worker(10, lambda: None, max_lateness=3).start()
    pool.clock.advance(0)
    pool.suspend()
    pool.clock.advance(14)
    pool.resume()
    pool.clock.advance(6)
    assert slots(worker, first) == [(0, 0), (20, 20)]


def test_all_slots_of_a_cron_worker_that_are_too_late_are_left_out_in_one_step(pool):
    cron = Cron("* * * * * *", "UTC")
    worker = pool.new_worker(cron, lambda: None, max_lateness=2, run_past_events=True).start()
    pool.clock.advance(5)
    begun = worker.run_count
    pool.clock.sleep(600)
    pool.clock.advance(1)
    assert worker.run_count == begun + 4, "two or three that were not too late, and that of the last second"
    assert worker.missed_count == 597
    assert len(missed(pool)) == 1


def interrupted(make):
    """Yield (pool, worker) after an interrupt in each line of what leaves out a slot that is a minute late."""
    codes = {Runner._may_begin.__code__, Start.dismiss.__code__}
    for line in itertools.count():
        pool, lines, cut = make_pool(), itertools.count(), []
        worker = make(pool).start()
        pool.clock.sleep(70)

        def trace(frame, kind, _what, line=line, lines=lines, cut=cut):
            seen = codes.intersection(each.f_code for each in (frame, frame.f_back, frame.f_back.f_back))
            if seen and kind == "line" and next(lines) == line:
                cut.append(line)
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            pool.clock.advance(0)
        except KeyboardInterrupt:
            sys.settrace(before)
            pool.clock.advance(0)
        finally:
            sys.settrace(before)
        pool.check()
        if not cut:
            return
        yield pool, worker


@pytest.mark.parametrize("settings", [{"delay": 10}, {"at": 1_800_000_010.0}])
def test_an_interrupt_in_any_line_leaves_no_actor_waiting(settings):
    ends = []

    def make(pool):
        finished = functools.partial(ends.append, 1)
        return pool.new_actor(lambda: None, max_lateness=3, finished=finished, dispose=False, **settings)

    outcomes = [(actor.status, actor.run_count) for _, actor in interrupted(make)]
    assert len(outcomes) > 8
    assert set(outcomes) == {("stopped", 0)}
    assert len(ends) == len(outcomes) + 1


@pytest.mark.parametrize("interval", [10, Cron("*/10 * * * * *", "UTC")])
def test_an_interrupt_in_any_line_leaves_a_worker_as_it_was(interval):
    def make(pool):
        return pool.new_worker(interval, lambda: None, max_lateness=25, run_past_events=True, start_with_delay=True)

    cases = 0
    for pool, worker in interrupted(make):
        pool.clock.advance(10)
        assert [round(record.lateness) for record in worker.history] == [20, 10, 0, 0]
        pool.clock.sleep(20)
        pool.clock.advance(0)
        assert [round(record.lateness) for record in worker.history][4:] == [10, 0], "still made up"
        cases += 1
    assert cases > 15


def test_on_threads_that_are_all_busy():
    """No thread is free for an actor until it is too late."""
    pool = WorkerPool(max_threads=2)
    release, entered = threading.Event(), threading.Barrier(3)
    for _ in range(2):
        pool.run_job(lambda: (entered.wait(PATIENCE), release.wait(PATIENCE)))
    entered.wait(PATIENCE)
    ended = threading.Event()
    actor = pool.new_actor(lambda: None, max_lateness=1e-9, dispose=False, finished=ended.set).start()
    release.set()
    assert ended.wait(PATIENCE)
    assert (actor.run_count, actor.missed_count) == (0, 1)
    pool.close(PATIENCE)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "3", True])
def test_bad_values(pool, value):
    for make in (
        lambda: pool.new_worker(1, print, max_lateness=value),
        lambda: pool.new_actor(print, max_lateness=value),
    ):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^max_lateness must be "):
            make()
    assert pool.find_workers() == []


STEPS = {
    "advance": lambda pool, _worker, seconds: pool.clock.advance(seconds),
    "sleep": lambda pool, _worker, seconds: pool.clock.sleep(seconds),
    "set the clock": lambda pool, _worker, seconds: pool.clock.set_wall(pool.clock.time() + 60 - seconds),
    "pause": lambda _pool, worker, _seconds: worker.pause(),
    "unpause": lambda _pool, worker, _seconds: worker.unpause(),
    "at once": lambda _pool, worker, _seconds: worker.unpause(immediately=True),
    "run": lambda _pool, worker, _seconds: worker.work_now(),
    "move": lambda pool, worker, seconds: pool.reschedule(worker, pool.clock.time() + seconds),
    "interval": lambda _pool, worker, seconds: setattr(worker, "interval", 1 + seconds),
    "start": lambda _pool, worker, _seconds: worker.start(),
    "suspend": lambda pool, _worker, _seconds: pool.suspend(),
    "resume": lambda pool, _worker, _seconds: pool.resume(),
}


@given(
    steps=strategies.lists(strategies.tuples(strategies.sampled_from(sorted(STEPS)), strategies.floats(0, 200))),
    at=strategies.none() | strategies.floats(-300, 300),
    takes=strategies.floats(0, 30),
    settings=strategies.fixed_dictionaries(
        {"run_on_time": strategies.booleans(), "run_past_events": strategies.booleans()}
    ),
)
def test_no_run_begins_later_whatever_is_done(steps, at, takes, settings):
    pool = make_pool()
    if at is not None:
        settings["at"] = pool.clock.time() + at
    worker = pool.new_worker(10, lambda: pool.clock.sleep(takes), max_lateness=15, **settings).start()
    asked_for = {"run", "at once"}.intersection(name for name, _ in steps)  # these begin however late it is
    for name, seconds in steps:
        STEPS[name](pool, worker, seconds)
        pool.check()
        assert worker.running
        assert asked_for or all(record.lateness <= 15.001 for record in worker.history)
    pool.close()
