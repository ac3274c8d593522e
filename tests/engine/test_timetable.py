"""Cron, jitter, until and preview, in virtual time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bgpool_jupyter.engine import ArgumentTypeError, ArgumentValueError, Cron, Retry, WorkerState

BERLIN = ZoneInfo("Europe/Berlin")


def at(pool, year, month, day, hour, minute):
    """Set the pool's wall clock."""
    pool.clock.set_wall(datetime(year, month, day, hour, minute, tzinfo=BERLIN).timestamp())


def starts(worker, zone=BERLIN):
    return [datetime.fromtimestamp(round(record.started), zone).strftime("%d %H:%M") for record in worker.history]


class TestCron:
    def test_runs_at_the_instants_of_the_expression(self, pool):
        at(pool, 2026, 11, 20, 8, 0)  # a Friday
        worker = pool.new_worker(Cron("30 9 * * mon-fri", "Europe/Berlin"), lambda: None).start()
        assert worker.next_run_time == datetime(2026, 11, 20, 9, 30, tzinfo=BERLIN).timestamp()
        pool.clock.advance(5 * 86400)
        assert starts(worker) == ["20 09:30", "23 09:30", "24 09:30"]
        assert worker.missed_count == 0
        assert all(record.lateness == pytest.approx(0, abs=1e-3) for record in worker.history)
        assert worker.schedule == "cron 30 9 * * mon-fri Europe/Berlin"

    def test_a_slot_in_the_gap_of_spring_runs_at_its_end(self, pool):
        at(pool, 2026, 3, 28, 12, 0)
        worker = pool.new_worker(Cron("30 2 * * *", BERLIN), lambda: None).start()
        pool.clock.advance(2 * 86400)
        assert starts(worker) == ["29 03:00", "30 02:30"]

    def test_an_hour_that_comes_twice_in_autumn_runs_once_if_it_is_named_and_twice_if_not(self, pool):
        at(pool, 2026, 10, 25, 0, 0)
        named = pool.new_worker(Cron("30 2 * * *", BERLIN), lambda: None).start()
        every = pool.new_worker(Cron("*/30 * * * *", BERLIN), lambda: None).start()
        pool.clock.advance(4.1 * 3600)
        assert starts(named) == ["25 02:30"]
        assert starts(every) == [
            "25 00:30",
            "25 01:00",
            "25 01:30",
            "25 02:00",
            "25 02:30",
            "25 02:00",
            "25 02:30",
            "25 03:00",
        ]

    def test_several_expressions_in_one(self, pool):
        at(pool, 2026, 11, 20, 8, 0)  # a Friday
        cron = Cron("0 9 * * * | 30 17 * * fri| 0 9 * * mon", "Europe/Berlin")
        worker = pool.new_worker(cron, lambda: None).start()
        pool.clock.advance(4 * 86400)
        assert starts(worker) == ["20 09:00", "20 17:30", "21 09:00", "22 09:00", "23 09:00"]
        assert worker.missed_count == 0
        assert cron.explain() == "At 09:00 every day; at 17:30 on Friday; at 09:00 on Monday"
        assert worker.schedule == "cron 0 9 * * * | 30 17 * * fri| 0 9 * * mon Europe/Berlin"

    def test_several_expressions_in_the_hour_that_comes_twice(self, pool):
        at(pool, 2026, 10, 25, 1, 0)
        worker = pool.new_worker(Cron("15 2 * * * | */30 * * * *", BERLIN), lambda: None).start()
        pool.clock.advance(3.1 * 3600)
        assert starts(worker) == ["25 01:30", "25 02:00", "25 02:15", "25 02:30", "25 02:00", "25 02:30", "25 03:00"]

    def test_several_expressions_come_in_the_order_of_time_and_not_of_the_clock(self, pool):
        at(pool, 2026, 10, 25, 2, 45)
        worker = pool.new_worker(Cron("50 * * * * | 10 * * * *", BERLIN), lambda: None).start()
        pool.clock.advance(2 * 3600)
        assert starts(worker) == ["25 02:50", "25 02:10", "25 02:50", "25 03:10"]

    @pytest.mark.parametrize("expression", ["45 2 * * *", "45 2 * * * | 50 2 * * *"])
    def test_who_is_started_in_the_second_of_two_equal_hours_waits_for_the_next_day(self, pool, expression):
        begin = datetime(2026, 10, 25, 2, 20, tzinfo=BERLIN, fold=1)
        pool.clock.set_wall(begin.timestamp())
        cron = Cron(expression, BERLIN)
        worker = pool.new_worker(cron, lambda: None).start()
        assert worker.next_run_time == datetime(2026, 10, 26, 2, 45, tzinfo=BERLIN).timestamp()
        assert cron.preview(1, begin)[0].day == 26
        pool.clock.advance(3600)
        assert worker.run_count == 0

    def test_slots_that_pass_are_counted_as_missed(self, pool):
        at(pool, 2026, 11, 20, 8, 0)
        worker = pool.new_worker(Cron("*/10 * * * *", BERLIN), lambda: pool.clock.sleep(1500), max_count=2).start()
        pool.clock.advance(3600)
        assert starts(worker) == ["20 08:10", "20 08:40"]
        assert worker.missed_count >= 2

    def test_passed_slots_are_made_up_on_request(self, pool):
        at(pool, 2026, 11, 20, 8, 0)
        slow = [True]
        worker = pool.new_worker(
            Cron("*/10 * * * *", BERLIN),
            lambda: pool.clock.sleep(1500 * slow.pop()) if slow else None,
            run_past_events=True,
        ).start()
        pool.clock.advance(3000)
        assert [round(record.due) % 3600 // 60 for record in worker.history] == [10, 20, 30, 40, 50]
        assert worker.missed_count == 0

    def test_weeks_of_sleep_are_left_quickly(self, pool):
        worker = pool.new_worker(Cron("* * * * *", "UTC"), lambda: None).start()
        pool.clock.advance(120)
        pool.clock.sleep(30 * 86400)
        pool.clock.advance(120)
        assert worker.missed_count >= 1000
        assert worker.run_count >= 4

    def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(self, pool):
        at(pool, 2026, 11, 20, 8, 0)
        worker = pool.new_worker(Cron("0 12 * * *", BERLIN), lambda: None).start()
        pool.clock.advance(1)
        at(pool, 2026, 11, 20, 11, 59)
        pool.clock.advance(60)
        assert worker.run_count == 1

    def test_work_now_leaves_the_slots_as_they_are(self, pool):
        at(pool, 2026, 11, 20, 8, 0)
        worker = pool.new_worker(Cron("0 * * * *", BERLIN), lambda: None).start()
        pool.clock.advance(600)
        worker.work_now()
        pool.clock.advance(3600)
        assert starts(worker) == ["20 08:10", "20 09:00"]

    def test_pause_passes_over_slots(self, pool):
        at(pool, 2026, 11, 20, 8, 0)
        worker = pool.new_worker(Cron("*/10 * * * *", BERLIN), lambda: None).start().pause()
        pool.clock.advance(1500)
        worker.unpause()
        pool.clock.advance(600)
        assert starts(worker) == ["20 08:30"]
        assert (worker.missed_count, worker.skipped_count) == (0, 2)

    def test_explain_equal_and_repr(self):
        cron = Cron("*/5 * * * *", "UTC")
        assert cron.explain() == "Every fifth minute of every hour"
        assert cron == Cron("*/5 * * * *", ZoneInfo("UTC"))
        assert cron != Cron("*/6 * * * *", "UTC")
        assert repr(cron) == "Cron('*/5 * * * *', 'UTC')"
        assert (str(cron), str(Cron("*/5 * * * *"))) == ("*/5 * * * * UTC", "*/5 * * * *")
        assert len({cron, Cron("*/5 * * * *", "UTC")}) == 1

    def test_preview_follows_the_zone(self):
        first, second = Cron("30 2 * * *", BERLIN).preview(2, datetime(2026, 3, 28, 12, tzinfo=UTC))
        assert (first.isoformat(), second.isoformat()) == ("2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00")

    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            (
                ("61 * * * *",),
                ArgumentValueError,
                "expression '61 .*' is no cron expression: bad minute; give minute, hour",
            ),
            (
                ("* * *",),
                ArgumentValueError,
                "expression '.*' is no cron expression: wrong number of fields; give minute",
            ),
            (
                ("0 9 * * * | no",),
                ArgumentValueError,
                "expression 'no' is no cron expression: wrong number of fields; give minute",
            ),
            (("0 9 * * * |",), ArgumentValueError, "expression '' is no cron expression: wrong number of fields; give"),
            ((5,), ArgumentTypeError, "expression must be a str, not int 5; give for example"),
            (("* * * * *", "Mars/Base"), ArgumentValueError, "timezone 'Mars/Base' is not known; give a name such as"),
            (("* * * * *", "../etc/passwd"), ArgumentValueError, "timezone '../etc/passwd' is not known; give a name"),
            (("* * * * *", 5), ArgumentTypeError, "timezone must be a str or a tzinfo, not int 5; give for example"),
        ],
    )
    def test_what_is_not_understood_is_refused(self, arguments, kind, message):
        with pytest.raises(kind, match="^" + message):
            Cron(*arguments)


class TestJitter:
    def test_moves_each_run_behind_its_slot_and_leaves_the_grid(self, pool):
        moments = []
        base = pool.clock.monotonic()
        pool.new_worker(10, lambda: moments.append(pool.clock.monotonic() - base), jitter=3).start()
        pool.clock.advance(1000)
        offsets = [moment - 10 * k for k, moment in enumerate(moments)]
        assert len(moments) in (100, 101)
        assert all(0 <= offset <= 3 for offset in offsets)
        assert max(offsets) - min(offsets) > 1

    def test_of_a_cron_expression(self, pool):
        worker = pool.new_worker(Cron("* * * * *", "UTC"), lambda: None, jitter=20).start()
        pool.clock.advance(3600)
        seconds = [record.started % 60 for record in worker.history]
        assert all(0 <= second <= 20.001 for second in seconds)
        assert len(seconds) >= 59
        assert max(seconds) - min(seconds) > 5

    def test_the_next_run_time_has_it(self, pool):
        worker = pool.new_worker(10, lambda: None, jitter=9, start_with_delay=True).start()
        told = worker.next_run_time
        pool.clock.advance(20)
        assert worker.history[0].started == pytest.approx(told)

    @pytest.mark.parametrize("jitter", [-1, 10, 11, math.nan, "1", True])
    def test_bad_values(self, pool, jitter):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^jitter must be "):
            pool.new_worker(10, print, jitter=jitter)
        assert pool.find_workers() == []


class TestUntil:
    def test_no_run_begins_after_it_and_the_worker_ends(self, pool):
        ends = []
        until = pool.clock.time() + 35
        worker = pool.new_worker(10, lambda: None, until=until, dispose=False, finished=lambda: ends.append(1)).start()
        pool.clock.advance(30)
        assert worker.run_count == 4
        assert worker.state is WorkerState.STOPPED
        pool.clock.advance(100)
        assert worker.run_count == 4
        assert ends == [1]

    def test_a_run_that_comes_too_late_does_not_begin(self, pool):
        worker = pool.new_worker(10, lambda: None, until=pool.clock.time() + 15, dispose=False).start()
        pool.clock.advance(0)
        pool.clock.sleep(60)
        pool.clock.advance(0)
        assert worker.run_count == 1
        assert worker.state is WorkerState.STOPPED

    def test_takes_a_datetime_with_a_zone(self, pool):
        until = datetime.fromtimestamp(pool.clock.time(), UTC) + timedelta(hours=1)
        assert pool.new_worker(10, print, until=until).until == until.timestamp()

    def test_a_cron_worker_ends_too(self, pool):
        worker = pool.new_worker(
            Cron("* * * * *", "UTC"), lambda: None, until=pool.clock.time() + 150, dispose=False
        ).start()
        pool.clock.advance(600)
        assert worker.run_count == 2
        assert worker.state is WorkerState.STOPPED

    def test_a_past_instant_is_refused(self, pool):
        with pytest.raises(ArgumentValueError, match=r"^until=5 has passed; give an instant that is still to come$"):
            pool.new_worker(10, print, until=5)
        with pytest.raises(ArgumentValueError, match="^until must have a time zone"):
            pool.new_worker(10, print, until=datetime(2090, 1, 1))  # noqa: DTZ001 - that is the point
        assert pool.find_workers() == []


KINDS = {
    "grid": lambda pool, call: pool.new_worker(5, call, dispose=False),
    "delayed grid": lambda pool, call: pool.new_worker(5, call, start_with_delay=True),
    "catching up": lambda pool, call: pool.new_worker(5, call, run_past_events=True),
    "fixed delay": lambda pool, call: pool.new_worker(5, call, run_on_time=False),
    "at an instant": lambda pool, call: pool.new_worker(5, call, at=pool.clock.time() + 23),
    "at an instant, catching up": lambda pool, call: pool.new_worker(
        5, call, at=pool.clock.time() + 6, run_past_events=True
    ),
    "at an instant, fixed delay": lambda pool, call: pool.new_worker(
        5, call, at=pool.clock.time() + 6, run_on_time=False
    ),
    "at one that passed": lambda pool, call: pool.new_worker(5, call, at=pool.clock.time() - 8),
    "few": lambda pool, call: pool.new_worker(5, call, max_count=4, dispose=False),
    "until": lambda pool, call: pool.new_worker(5, call, until=pool.clock.time() + 40, dispose=False),
    "cron": lambda pool, call: pool.new_worker(Cron("*/7 * * * * *", "UTC"), call),
    "actor": lambda pool, call: pool.new_actor(call, delay=12, dispose=False),
    "at": lambda pool, call: pool.new_actor(call, at=pool.clock.time() + 90, dispose=False),
}
STEPS = {
    "nothing": lambda pool, worker: None,
    "time": lambda pool, worker: pool.clock.advance(12.5),
    "now": lambda pool, worker: (pool.clock.advance(2.5), worker.work_now()),
    "done now": lambda pool, worker: (pool.clock.advance(2.5), worker.work_now(), pool.clock.advance(1)),
    "interval": lambda pool, worker: (pool.clock.advance(2.5), setattr(worker, "interval", 3.0)),
    "interval and now": lambda pool, worker: (
        pool.clock.advance(2.5),
        setattr(worker, "interval", 3.0),
        worker.work_now(),
    ),
    "pause": lambda pool, worker: (worker.pause(), pool.clock.advance(12.5), worker.unpause()),
    "asleep": lambda pool, worker: (pool.clock.advance(1), pool.clock.sleep(17)),
    "moved": lambda pool, worker: (
        pool.clock.advance(2.5),
        pool.reschedule(worker, pool.clock.time() + 3.25),
    ),
    "moved and now": lambda pool, worker: (
        pool.clock.advance(2.5),
        pool.reschedule(worker, pool.clock.time() + 3.25),
        worker.work_now(),
    ),
    "moved and done now": lambda pool, worker: (
        pool.clock.advance(2.5),
        pool.reschedule(worker, pool.clock.time() + 3.25),
        worker.work_now(),
        pool.clock.advance(1),
    ),
    "moved and paused": lambda pool, worker: (
        pool.clock.advance(2.5),
        pool.reschedule(worker, pool.clock.time() + 13.25),
        worker.pause(),
        pool.clock.advance(3),
    ),
    "moved and paused for long": lambda pool, worker: (
        pool.clock.advance(2.5),
        pool.reschedule(worker, pool.clock.time() + 3.25),
        worker.pause(),
        pool.clock.advance(6),
    ),
    "at once": lambda pool, worker: worker.work_now(),
}


class TestPreview:
    def test_of_every_kind(self, pool):
        now = pool.clock.time()

        def seconds(worker, count=3):
            return [round(each.timestamp() - now, 6) for each in worker.preview(count)]

        assert seconds(pool.new_worker(5, print)) == [0, 5, 10]
        assert seconds(pool.new_worker(5, print, start_with_delay=True)) == [5, 10, 15]
        assert seconds(pool.new_worker(5, print, max_count=2)) == [0, 5]
        assert seconds(pool.new_worker(5, print, until=now + 7)) == [0, 5]
        assert seconds(pool.new_actor(print, delay=4)) == [4]
        assert seconds(pool.new_actor(print, at=now + 9)) == [9]
        assert seconds(pool.new_worker(Cron("* * * * *", "UTC"), print), 2)[1] - 60 == pytest.approx(
            seconds(pool.new_worker(Cron("* * * * *", "UTC"), print), 1)[0]
        )

    def test_is_what_then_happens(self, pool):
        worker = pool.new_worker(Cron("*/7 3-5 * * *", "Europe/Berlin"), lambda: None)
        promised = [each.timestamp() for each in worker.preview(20)]
        worker.start()
        pool.clock.advance(86400)
        assert [record.started for record in worker.history][:20] == pytest.approx(promised, abs=1e-3)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("step", STEPS)
    def test_of_a_started_worker_is_what_then_happens(self, pool, kind, step):
        worker = KINDS[kind](pool, lambda: None).start()
        STEPS[step](pool, worker)
        self.compare(pool, worker)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("on_demand", [False, True])
    def test_of_a_run_in_flight_is_what_then_happens(self, pool, kind, on_demand):
        promised = []
        worker = KINDS[kind](pool, lambda _worker: promised.append(_worker.preview(6))).start()
        if on_demand:
            pool.clock.advance(2.5)
            worker.work_now()
        before = len(worker.history)
        del promised[:]
        pool.clock.advance(200)
        starts = [record.started for record in worker.history][before:]
        assert starts
        for k, instants in enumerate(promised[:8]):
            told = [instant.timestamp() for instant in instants]
            assert told == pytest.approx(starts[k + 1 : k + 7], abs=1e-3)

    def test_of_a_retry_is_what_then_happens(self, pool):
        outcomes = iter([ValueError()])

        def bad():
            error = next(outcomes, None)
            if error is not None:
                raise error

        worker = pool.new_worker(5, bad, retry=Retry(attempts=5, first=7)).start()
        pool.clock.advance(0.5)
        assert worker.retry_count == 1
        self.compare(pool, worker)

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("at an instant")])
    @pytest.mark.parametrize("delay", [3, 40])
    def test_of_a_retry_beside_the_grid_is_what_then_happens(self, pool, kind, delay):
        """Also of one that comes after the instant at which the grid begins."""
        outcomes = iter([ValueError()])

        def bad():
            error = next(outcomes, None)
            if error is not None:
                raise error

        worker = KINDS[kind](pool, bad).start()
        worker.retry = Retry(attempts=5, first=delay, jitter=0)
        worker.work_now()
        pool.clock.advance(0.5)
        assert worker.retry_count == 1
        self.compare(pool, worker)

    def compare(self, pool, worker):
        promised = [instant.timestamp() for instant in worker.preview(6)]
        before = len(worker.history)
        if not worker.running:
            worker.start()
        worker.unpause()
        pool.clock.advance(200)
        assert promised == pytest.approx([record.started for record in worker.history][before : before + 6], abs=1e-3)

    def test_of_a_paused_worker_is_what_comes_if_it_goes_on(self, pool):
        worker = pool.new_worker(5, lambda: None).start()
        pool.clock.advance(7)
        worker.pause()
        pool.clock.advance(16)
        promised = [instant.timestamp() for instant in worker.preview(3)]
        worker.unpause()
        pool.clock.advance(20)
        assert promised == pytest.approx([record.started for record in worker.history][2:5], abs=1e-3)

    def test_of_a_stopped_worker_is_of_a_new_start(self, pool):
        worker = pool.new_worker(5, lambda: None, max_count=3, dispose=False).start()
        pool.clock.advance(7)
        assert len(worker.preview()) == 1
        worker.stop()
        assert [each.timestamp() for each in worker.preview()] == [pool.clock.time() + 5 * k for k in range(3)]

    @pytest.mark.parametrize("count", [0, -1, 1.5, True])
    def test_a_bad_count_is_refused(self, pool, count):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^count must be "):
            pool.new_worker(1, print).preview(count)


class TestPreviewOfTheUnusual:
    """What random histories found: said and done must be the same."""

    @staticmethod
    def said_and_done(pool, worker, ran, seconds):
        now = pool.clock.time()
        said = [round(instant.timestamp() - now, 3) for instant in worker.preview(4)]
        worker.unpause()
        ran.clear()
        pool.clock.advance(seconds)
        return said, [round(instant - now, 3) for instant in ran][:4]

    @pytest.mark.parametrize("interval", [10, Cron("* * * * *")])
    def test_one_that_makes_up_slots_was_paused(self, pool, interval):
        ran = []
        worker = pool.new_worker(interval, lambda: ran.append(pool.clock.time()), run_past_events=True)
        worker.start().pause()
        pool.clock.advance(201)
        said, done = self.said_and_done(pool, worker, ran, 400)
        assert said == done
        assert said[0] > 0

    def test_one_that_makes_up_slots_was_moved(self, pool):
        ran = []
        worker = pool.new_worker(30, lambda: ran.append(pool.clock.time()), run_past_events=True).start()
        pool.reschedule(worker, pool.clock.time() + 50)
        said, done = self.said_and_done(pool, worker, ran, 100)
        assert said == done == [50, 50, 60, 90]

    def test_a_cron_worker_that_was_moved_is_run_on_request_besides(self, pool):
        ran = []
        worker = pool.new_worker(Cron("0 * * * *"), lambda: ran.append(pool.clock.time())).start()
        pool.reschedule(worker, pool.clock.time() + 50)
        worker.work_now()
        said, done = self.said_and_done(pool, worker, ran, 3 * 3600)
        assert said == done
        assert said[:2] == [0, 50]

    @pytest.mark.parametrize("settings", [{}, {"run_past_events": True}, {"run_on_time": False}])
    def test_one_was_paused_and_given_another_interval(self, pool, settings):
        ran = []
        worker = pool.new_worker(10, lambda: ran.append(pool.clock.time()), **settings).start()
        pool.clock.advance(1)
        worker.pause()
        pool.clock.advance(36)
        worker.interval = 4
        said, done = self.said_and_done(pool, worker, ran, 40)
        assert said == done
        assert said[0] > 0

    def test_one_is_tried_again_beside_the_grid_after_a_pause_with_another_interval(self, pool):
        ran, fails = [], []

        def call():
            ran.append(pool.clock.time())
            if fails:
                raise fails.pop()

        worker = pool.new_worker(10, call, retry=2).start()
        pool.clock.advance(1)
        fails.append(ValueError("boom"))
        worker.pause().work_now()
        pool.clock.advance(36)
        worker.interval = 4
        said, done = self.said_and_done(pool, worker, ran, 40)
        assert said == done
        assert said[:2] == [0, 3]
