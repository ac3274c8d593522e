"""Workers whose first slot is an instant of the wall clock: at, in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bgpool_jupyter.engine import ArgumentTypeError, ArgumentValueError, Cron, Retry


@pytest.fixture
def first(pool):
    return pool.clock.time()


def begun(worker, first):
    """Return when its runs began, in seconds from `first`."""
    return [round(record.started - first, 3) for record in worker.history]


class TestGrid:
    def test_begins_at_the_instant(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 7200).start()
        assert worker.next_run_time == first + 7200
        pool.clock.advance(7199)
        assert (worker.run_count, worker.status) == (0, "waiting")
        pool.clock.advance(601)
        assert begun(worker, first) == [7200, 7500, 7800]
        assert worker.missed_count == 0

    def test_that_passed_goes_on_from_it(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first - 1000).start()
        assert worker.next_run_time == first + 200
        pool.clock.advance(600)
        assert begun(worker, first) == [200, 500]
        assert worker.missed_count == 0, "they were never its slots"

    def test_that_is_now_begins_now(self, pool, first):
        for at in (first, first - 600):
            worker = pool.new_worker(300, lambda: None, at=at).start()
            pool.clock.advance(0)
            assert worker.run_count == 1

    def test_each_start_looks_at_the_clock_anew(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 100).start()
        pool.clock.advance(50)
        worker.stop()
        pool.clock.advance(200)
        worker.start()
        pool.clock.advance(150)
        assert begun(worker, first) == [400]

    def test_is_that_of_the_wall_clock_up_to_the_first_slot(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 7200).start()
        pool.clock.advance(600)
        pool.clock.set_wall(pool.clock.time() + 3600)  # as after a suspend, in which the monotonic clock stood still
        pool.clock.advance(3000)
        assert begun(worker, first) == [7200]
        begin = pool.clock.monotonic()
        pool.clock.set_wall(first)  # from there on it counts no more
        pool.clock.advance(600)
        assert worker.run_count == 3
        assert pool.clock.monotonic() == begin + 600

    def test_set_back_before_the_first_slot(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 600).start()
        pool.clock.advance(500)
        pool.clock.set_wall(first)
        pool.clock.advance(599)
        assert worker.run_count == 0
        pool.clock.advance(1)
        assert begun(worker, first) == [600]

    def test_slots_that_a_sleep_passed_over(self, pool, first):
        """The first run is late, as that of any grid, and those after it are on the grid."""
        worker = pool.new_worker(300, lambda: None, at=first + 600).start()
        pool.clock.sleep(1000)
        pool.clock.advance(300)
        assert begun(worker, first) == [1000, 1200]
        assert worker.history[0].lateness == 400
        assert worker.missed_count == 1

    def test_with_max_lateness(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 600, max_lateness=60).start()
        pool.clock.sleep(1000)
        pool.clock.advance(300)
        assert begun(worker, first) == [1200]
        assert worker.missed_count == 2

    def test_fixed_delay(self, pool, first):
        call = lambda: pool.clock.sleep(7)
        later = pool.new_worker(300, call, at=first + 600, run_on_time=False).start()
        pool.clock.advance(1000)
        assert begun(later, first) == [600, 907]
        passed = pool.new_worker(300, call, at=first - 600, run_on_time=False).start()
        now = pool.clock.time()
        pool.clock.advance(0)
        assert begun(passed, now) == [0]

    def test_jitter_and_until(self, pool, first):
        worker = pool.new_worker(
            300, lambda: None, at=first + 600, jitter=30, until=first + 1000, dispose=False
        ).start()
        pool.clock.advance(5000)
        assert [0 <= start - 600 - 300 * k <= 30 for k, start in enumerate(begun(worker, first))] == [True, True]
        assert worker.status == "stopped"

    def test_until_before_the_first_slot_ends_it_without_a_run(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 600, dispose=False)
        worker.until = first + 100
        worker.start()
        assert worker.preview() == []
        pool.clock.advance(5000)
        assert (worker.run_count, worker.status) == (0, "stopped")

    def test_another_interval_before_the_first_slot(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 600).start()
        worker.interval = 60
        pool.clock.advance(720)
        assert begun(worker, first) == [600, 660, 720]


class TestBesideTheGrid:
    @pytest.mark.parametrize("settings", [{}, {"run_on_time": False}, {"run_past_events": True}])
    def test_a_run_on_request_leaves_the_first_slot(self, pool, first, settings):
        worker = pool.new_worker(300, lambda: None, at=first + 7200, **settings).start()
        pool.clock.advance(1000)
        worker.work_now()
        pool.clock.advance(0)
        assert worker.next_run_time == first + 7200
        pool.clock.advance(6500)
        assert begun(worker, first) == [1000, 7200, 7500]
        assert worker.missed_count == 0

    def test_a_run_on_request_that_takes_longer_than_up_to_it(self, pool, first):
        worker = pool.new_worker(300, lambda: pool.clock.sleep(1000), at=first + 600).start()
        worker.work_now()
        pool.clock.advance(0)
        assert worker.missed_count == 2  # at 600 and 900
        assert worker.next_run_time == first + 1200
        pool.clock.advance(200)
        assert begun(worker, first) == [0, 1200]

    def test_a_retry_of_a_run_on_request(self, pool, first):
        pool.set_logger(lambda _text: None)
        retry = Retry(attempts=2, first=30, jitter=0)
        worker = pool.new_worker(300, lambda: 1 / (worker.run_count - 1), at=first + 7200, retry=retry).start()
        worker.work_now()
        pool.clock.advance(7200)
        assert begun(worker, first) == [0, 30, 7200]

    def test_a_run_that_was_moved(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 600).start()
        pool.reschedule(worker, first + 100)
        pool.clock.advance(1000)
        assert begun(worker, first) == [100, 900], "it was the first slot's"

    def test_a_run_that_was_moved_after_the_clock_was_set(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 1800).start()
        pool.clock.set_wall(first + 600)
        pool.reschedule(worker, first + 1790)
        promised = [round(instant.timestamp() - first) for instant in worker.preview(3)]
        pool.clock.advance(1800)
        assert begun(worker, first) == [1790, 2100, 2400] == promised

    @pytest.mark.parametrize("settings", [{}, {"run_on_time": False}])
    def test_a_run_that_is_moved_while_one_on_request_is_in_flight(self, pool, first, settings):
        def run():
            if worker.run_count == 1:
                pool.clock.set_wall(first + 20)
                pool.reschedule(worker, first + 30)
                promised.extend(round(instant.timestamp() - first) for instant in worker.preview(2))
                assert worker.next_run_time == first + 30

        promised = []
        worker = pool.new_worker(10, run, at=first + 100, **settings).start()
        worker.work_now()
        pool.clock.advance(95)
        runs = [round(record.started - first) for record in worker.history][1:3]
        assert runs == promised == ([30, 40] if settings else [30, 110])

    @pytest.mark.parametrize("settings", [{}, {"run_on_time": False}])
    def test_a_retry_of_a_run_on_request_that_was_moved(self, pool, first, settings):
        """Neither a clock that is set nor a fixed delay then begins before the first slot."""
        pool.set_logger(lambda _text: None)
        retry = Retry(attempts=2, first=20, jitter=0)
        worker = pool.new_worker(300, lambda: 1 / (worker.run_count - 1), at=first + 1800, retry=retry, **settings)
        worker.start().work_now()
        pool.clock.advance(1)
        pool.reschedule(worker, first + 60)
        pool.clock.advance(100)
        pool.clock.set_wall(first + 700)
        pool.clock.advance(1200)
        assert begun(worker, first) == [0, 60, 1800]

    @pytest.mark.parametrize("paused", [False, True])
    @pytest.mark.parametrize("settings", [{}, {"run_on_time": False}])
    def test_a_clock_that_was_set_beyond_the_first_slot(self, pool, first, paused, settings):
        """What is told meanwhile, before the pool has looked at the clock, is what then happens."""
        worker = pool.new_worker(300, lambda: None, at=first + 3600, **settings).start()
        pool.clock.advance(30)
        if paused:
            worker.pause()
        pool.clock.set_wall(first + 3730)
        promised = [round(instant.timestamp() - first) for instant in worker.preview(3)]
        worker.unpause()
        pool.clock.advance(0)
        if not paused:
            pool.clock.advance(30)  # the next look
            promised[0] += 30
            promised[1:] = [each + 30 * bool(settings) for each in promised[1:]]
        pool.clock.advance(1000)
        assert [round(start) for start in begun(worker, first)][:3] == promised

    @pytest.mark.parametrize(("pause", "runs"), [(100, [600, 900]), (700, [900]), (600, [600, 900])])
    def test_a_pause(self, pool, first, pause, runs):
        worker = pool.new_worker(300, lambda: None, at=first + 600).start()
        worker.pause()
        pool.clock.advance(pause)
        worker.unpause()
        pool.clock.advance(1000 - pause)
        assert begun(worker, first) == runs
        assert worker.skipped_count == 2 - len(runs)
        assert [record.lateness for record in worker.history] == [0] * len(runs)

    def test_a_pause_and_then_a_clock_that_is_set(self, pool, first):
        worker = pool.new_worker(300, lambda: None, at=first + 7200).start()
        worker.pause()
        pool.clock.advance(100)
        worker.unpause()
        pool.clock.set_wall(first + 7000)
        pool.clock.advance(200)
        assert begun(worker, first) == [7200]

    def test_jitter_moves_no_slot(self, pool, first, monkeypatch):
        monkeypatch.setattr("random.uniform", lambda _low, high: high)
        worker = pool.new_worker(300, lambda: pool.clock.sleep(1000), at=first + 600, jitter=100).start()
        worker.work_now()
        pool.clock.advance(0)
        pool.clock.advance(300)
        assert begun(worker, first) == [0, 1300]

    def test_the_next_run_while_one_on_request_is_in_flight(self, pool, first):
        def run():
            pool.clock.set_wall(first + 1000)
            return worker.next_run_time

        worker = pool.new_worker(300, run, at=first + 7200).start()
        worker.work_now()
        pool.clock.advance(0)
        assert worker.last_value == first + 7200

    def test_nobody_calls_it_silent(self, pool, first):
        worker = pool.new_worker(1, lambda: worker.lints(), at=first + 7200).start()
        for _ in range(72):
            pool.clock.sleep(99)
            assert worker.lints() == [], "nor where the look at the clock is late"
            pool.clock.advance(1)
        assert [record.value for record in worker.history] == [[]]


class TestArguments:
    def test_takes_a_datetime_with_a_zone(self, pool, first):
        at = datetime.fromtimestamp(first, UTC) + timedelta(hours=1)
        worker = pool.new_worker(10, print, at=at)
        assert worker.at == at.timestamp()
        assert worker.preview(2) == [at, at + timedelta(seconds=10)]

    def test_by_a_decorator(self, pool, first):
        ran = []

        @pool.every(300, at=first + 600)
        def tick():
            ran.append(1)

        pool.clock.advance(900)
        assert ran == [1, 1]

    def test_written_later_counts_from_the_next_start(self, pool, first):
        worker = pool.new_worker(300, lambda: None).start()
        worker.at = first + 600
        pool.clock.advance(0)
        assert worker.run_count == 1
        worker.restart()
        pool.clock.advance(900)
        assert begun(worker, first) == [0, 600, 900]

    @pytest.mark.parametrize(
        ("settings", "kind", "message"),
        [
            ({"at": "14:30"}, ArgumentTypeError, "^at must be "),
            ({"at": float("nan")}, ArgumentValueError, "^at must be "),
            ({"at": 5, "start_with_delay": True}, ArgumentValueError, "^at=5 and start_with_delay=True cannot both"),
            (
                {"at": 1e11, "until": 9e10},
                ArgumentValueError,
                "^at=1\\S+ is after until=9\\S+, so that no run would begin; ",
            ),
            ({"at": 5, "interval": Cron("* * * * *")}, ArgumentValueError, "^at=5 and a Cron cannot both be given"),
        ],
    )
    def test_bad_ones(self, pool, settings, kind, message):
        with pytest.raises(kind, match=message):
            pool.new_worker(**{"interval": 10, "callback": print, **settings})
        assert pool.find_workers() == []

    @pytest.mark.parametrize("interval", [1e-300, 1e-14, 1e-6])
    def test_one_that_passed_long_ago_with_a_tiny_interval(self, pool, interval):
        worker = pool.new_worker(interval, lambda: False, at=5)
        assert abs(worker.preview(1)[0].timestamp() - pool.clock.time()) < 1e-5
        worker.start()
        assert worker.next_run_time == pytest.approx(pool.clock.time(), abs=1e-5)

    def test_a_cron_worker_cannot_be_given_one_later(self, pool):
        worker = pool.new_worker(Cron("* * * * *"), print, name="w")
        with pytest.raises(ArgumentValueError, match="^at=5.0 does not go with the cron expression of 'w'"):
            worker.at = 5
        worker.at = None
