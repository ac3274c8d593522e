"""What people may ask of a worker beside its state: recorder, stack, lints, outlook, kept frames, the frame of runs."""

from __future__ import annotations

import asyncio
import threading
import traceback

import pytest

from bgpool_jupyter.engine import HISTORY_COLUMNS, ArgumentTypeError, Retry, RunRecord, WorkerPool, readings
from bgpool_jupyter.engine.frames import MAX_VALUE
from bgpool_jupyter.engine.lints import lints
from bgpool_jupyter.engine.runs import RunningRun
from bgpool_jupyter.testing import make_pool


class Book:
    """A recorder that keeps everything."""

    def __init__(self):
        self.lines = []

    def began(self, worker, run):
        run.ticket = len(self.lines)
        self.lines.append(("began", worker.name, run.number, run.attempt))

    def ended(self, worker, run, record):
        assert type(record) is RunRecord
        self.lines.append(("ended", worker.name, record.number, record.attempt, record.outcome, run.ticket))


class TestRecorder:
    def test_is_told_of_every_attempt(self, pool):
        pool.recorder = book = Book()
        answers = iter([ValueError("boom"), 1, False])

        def call():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        pool.new_worker(1, call, name="w", retry=Retry(attempts=2, first=1)).start()
        pool.clock.advance(5)
        assert book.lines == [
            ("began", "w", 1, 1),
            ("ended", "w", 1, 1, "failed", 0),
            ("began", "w", 1, 2),
            ("ended", "w", 1, 2, "done", 2),
            ("began", "w", 2, 1),
            ("ended", "w", 2, 1, "ended", 4),
        ]

    def test_one_that_raises_harms_nobody(self, pool):
        class Broken:
            def began(self, _worker, _run):
                raise OSError("disk full")

            def ended(self, _worker, _run, _record):
                raise OSError("disk full")

        pool.recorder = Broken()
        told = []
        pool.set_logger(told.append)
        worker = pool.new_worker(1, lambda: 1, max_count=2, dispose=False).start()
        pool.clock.advance(3)
        assert worker.run_count == 2
        assert len(worker.history) == 2
        assert len(told) == 4
        assert all("the recorder raised OSError" in text for text in told)
        pool.check()

    def test_one_that_is_no_recorder_at_all_harms_nobody(self, pool):
        pool.recorder = object()
        told = []
        pool.set_logger(told.append)
        worker = pool.new_worker(1, lambda: 1, max_count=1, dispose=False).start()
        pool.clock.advance(3)
        assert worker.history[0].outcome == "done"
        assert [text.split(";")[1] for text in told] == [" the run goes on"] * 2

    def test_one_that_is_taken_away_between_two_lines_harms_nobody(self, pool):
        """Another thread writes the attribute: each reading may find something else."""

        class Fickle(WorkerPool):
            recorder = property(lambda self: next(found, None), lambda self, value: None)

        book = Book()
        found = iter([book])
        pool.__class__ = Fickle
        worker = pool.new_worker(1, lambda: 1, max_count=1, dispose=False).start()
        pool.clock.advance(3)
        assert worker.history[0].outcome == "done"
        assert book.lines == [("began", worker.name, 1, 1)]

    def test_the_logger_that_hears_of_it_is_called_without_the_lock(self, live, eventually):
        class Broken(Book):
            def ended(self, _worker, _run, _record):
                raise OSError("disk full")

        live.recorder = Broken()
        owned = []
        live.set_logger(lambda _text: owned.append(live._lock._is_owned()))
        assert live.new_actor(lambda: 1, dispose=False).start().result(20) == 1
        assert eventually(lambda: owned)
        assert owned == [False]

    def test_sees_coroutines(self, live, eventually):
        live.recorder = book = Book()

        async def call():
            await asyncio.sleep(0)

        live.new_actor(call, name="a").start()
        assert eventually(lambda: len(book.lines) == 2)
        assert [line[0] for line in book.lines] == ["began", "ended"]


class TestStack:
    def test_shows_the_callback_and_not_the_pool(self, live):
        entered, leave = threading.Event(), threading.Event()

        def inner():
            entered.set()
            leave.wait(20)

        def outer():
            inner()

        worker = live.new_actor(outer).start()
        assert entered.wait(20)
        text = worker.stack()
        leave.set()
        assert text.index("in outer") < text.index("in inner")
        assert "leave.wait(20)" in text
        assert "bgpool_jupyter" not in text.replace(__file__, "")

    def test_leaves_out_the_pools_own_wait(self, live, eventually):
        def call(_worker):
            _worker.sleep(30)

        worker = live.new_actor(call).start()
        assert eventually(lambda: "_worker.sleep(30)" in worker.stack())
        assert "clock.py" not in worker.stack()
        worker.stop()

    def test_of_a_coroutine(self, live, eventually):
        async def inner():
            await asyncio.sleep(30)

        async def outer():
            await asyncio.get_running_loop().create_task(inner())

        worker = live.new_actor(outer).start()
        assert eventually(lambda: "in inner" in worker.stack())
        assert "in outer" in worker.stack()
        worker.stop()
        assert eventually(lambda: not worker.executing)

    @pytest.mark.parametrize("as_task", [False, True])
    def test_of_a_coroutine_that_holds_up_the_loop(self, live, as_task, eventually):
        entered, leave = threading.Event(), threading.Event()

        def hold_up():
            entered.set()
            leave.wait(20)

        async def inner():
            await asyncio.sleep(0)
            hold_up()

        async def outer():
            await (asyncio.get_running_loop().create_task(inner()) if as_task else inner())

        worker = live.new_actor(outer, dispose=False).start()
        assert entered.wait(20)
        assert eventually(lambda: worker.current.handle is not None)  # the thread that handed it over notes that last
        text = worker.stack()
        leave.set()
        worker.result(20)
        assert text.index("in outer") < text.index("in inner") < text.index("in hold_up")
        assert "bgpool_jupyter" not in text.replace(__file__, "")
        assert "asyncio/" not in text

    def test_is_not_that_of_what_its_thread_does_next(self, pool, monkeypatch):
        def another(run, capture):
            release.append(run)
            worker._busy = None  # as if the run had ended and its thread gone on while the frames were looked at
            return "another's frames"

        release = []
        monkeypatch.setattr(readings, "stack_text", another)
        worker = pool.new_actor(lambda: None)
        worker._busy = RunningRun(pool.clock, worker._new_start({}, 0.0, 0.0), 0.0)
        assert worker.stack() == ""
        assert release

    def test_is_empty_where_no_run_is_in_flight(self, pool):
        worker = pool.new_worker(1, lambda: None)
        assert worker.stack() == ""
        worker.start()
        assert worker.stack() == ""


class TestLints:
    @pytest.mark.parametrize(
        ("seen", "lint"),
        [
            (
                {"on_grid": 0.25, "durations": [0.25, 0.5, 0.5, 0.5, 0.75]},
                ("overruns", "overruns its interval: the last 5 runs took 500 ms on average, the interval is 250 ms"),
            ),
            ({"on_grid": 0.5, "durations": [0.5] * 5}, None),
            ({"on_grid": 0.25, "durations": [1.0] * 4}, None),
            ({"on_grid": None, "durations": [1.0] * 5}, None),
            (
                {"in_flight": 75.04},
                ("deaf", "never looks at the stop flag: in flight for 1 min 15 s, and stop() cannot end it"),
            ),
            ({"in_flight": 5.0}, None),
            ({"in_flight": 5.01, "looked": True}, None),
            (
                {"in_flight": 3.04, "overdue": True},
                ("overdue", "overdue: in flight for 3.04 s, longer than its timeout; it was asked to stop"),
            ),
            (
                {"interval": 10.0, "silence": 50.123},
                ("silent", "silent for 50.1 s: no run has ended, the interval is 10 s"),
            ),
            ({"interval": 10.0, "silence": 50.0}, None),
            (
                {"interval": 0.001, "silence": 2.004},
                ("silent", "silent for 2 s: no run has ended, the interval is 1 ms"),
            ),
            ({"interval": 0.001, "silence": 2.0}, None),
            ({"interval": None, "silence": 1e6}, None),
        ],
    )
    def test_every_remark_word_for_word_and_where_it_begins(self, pool, seen, lint):
        run = None
        if "in_flight" in seen:
            start = pool.new_worker(1, print)._new_start({}, 0.0, 0.0)
            start.looked = seen.get("looked", False)
            run = RunningRun(pool.clock, start, 0.0)
            run.overdue = seen.get("overdue", False)
            pool.clock.sleep(seen["in_flight"])
        told = lints(
            interval=seen.get("interval"),
            on_grid=seen.get("on_grid"),
            durations=seen.get("durations", ()),
            run=run,
            silence=seen.get("silence"),
        )
        assert told == ([] if lint is None else [lint])

    def test_overruns(self, pool):
        worker = pool.new_worker(1, lambda: pool.clock.advance(3), name="slow").start()
        while len(worker.history) < 4:
            pool.clock.advance(1)
            assert worker.snapshot().lints == ()
        pool.clock.advance(4)
        text = "overruns its interval: the last 5 runs took 3 s on average, the interval is 1 s"
        assert worker.lints() == [("overruns", text)]
        assert worker.snapshot().lints == ("overruns",)

    def test_a_fixed_delay_cannot_be_overrun(self, pool):
        worker = pool.new_worker(1, lambda: pool.clock.advance(3), run_on_time=False).start()
        for _ in range(10):
            pool.clock.advance(4)
        assert "overruns" not in worker.snapshot().lints

    @pytest.mark.parametrize("looks", [False, True])
    def test_deaf(self, pool, looks):
        seen = []

        def call(_worker):
            if looks:
                _ = _worker.should_stop
            pool.clock.advance(4)
            seen.append(_worker.snapshot().lints)
            pool.clock.advance(2)
            seen.append(_worker.snapshot().lints)

        pool.new_actor(call).start()
        pool.run_due()
        assert seen == [(), () if looks else ("deaf",)]

    def test_overdue(self, pool):
        seen = []

        def call(_worker):
            pool.clock.sleep(2)
            pool.run_due()  # the watchdog
            seen.append([lint.kind for lint in _worker.lints()])
            seen.append(_worker.snapshot().lints)

        pool.new_actor(call, timeout=1.5, dispose=False).start()
        pool.run_due()
        assert seen == [["overdue"], ("overdue",)]

    def test_silent(self, pool):
        def call(_worker):
            _worker.sleep(4.5)
            seen.append(_worker.lints())
            _worker.sleep(1)
            seen.append(_worker.lints())

        seen = []
        pool.new_worker(1, call, max_count=1).start()
        pool.run_due()
        assert seen == [[], [("silent", "silent for 5.5 s: no run has ended, the interval is 1 s")]]

    def test_who_waits_for_an_instant_that_is_to_come_is_not_silent(self, pool):
        slower = pool.new_worker(3600, lambda: None).start()
        moved = pool.new_worker(1, lambda: None).start()
        tried_again = pool.new_worker(1, lambda: 1 / 0, ignore_exception=True).start()
        pool.clock.advance(100)
        slower.interval = 1
        pool.reschedule(moved, pool.clock.time() + 3600)
        pool.clock.advance(1)
        pool.clock.advance(tried_again._start.retry_at - pool.clock.monotonic() - 0.1)
        assert tried_again.outlook.startswith("tries again")
        assert [worker.lints() for worker in (slower, moved, tried_again)] == [[], [], []]
        pool.clock.sleep(4000)  # now it has passed, and nobody runs what is due
        assert [lint.kind for lint in moved.lints()] == ["silent"]

    def test_a_paused_or_stopped_worker_is_not_silent(self, pool):
        worker = pool.new_worker(1, lambda: None).start()
        pool.run_due()
        worker.pause()
        pool.clock.advance(100)
        assert worker.lints() == []
        worker.stop()
        pool.clock.advance(100)
        assert worker.lints() == []

    def test_a_suspended_pool_is_not_silent(self, pool):
        worker = pool.new_worker(1, lambda: None).start()
        pool.run_due()
        pool.suspend()
        pool.clock.advance(100)
        assert worker.lints() == []
        assert worker.outlook == "waits for the pool, which is suspended; its resume() lets all go on"

    def test_what_is_stopping_still_says_why_it_goes_on(self, pool):
        seen = []

        def call():
            pool.clock.advance(5.0012)
            worker.stop()
            pool.clock.advance(5.5)
            seen.append((worker.status, [lint.text for lint in worker.lints()]))

        worker = pool.new_worker(1, call).start()
        pool.run_due()
        text = "never looks at the stop flag: in flight for 10.5 s, and stop() cannot end it"
        assert seen == [("stopping", [text])]
        assert worker.lints() == []


class TestOutlook:
    def test_in_every_state(self, pool):
        def call():
            raise ValueError("boom")

        retry = Retry(attempts=2, first=10)
        worker = pool.new_worker(60, call, name="w", retry=retry, max_failures=2, dispose=False)
        assert worker.outlook == "not started yet"
        worker.start()
        pool.run_due()
        assert worker.outlook.startswith("tries again at ")
        assert worker.outlook.endswith("(attempt 2 of 2)")
        pool.clock.advance(10)
        assert worker.outlook.startswith("runs again at ")
        pool.clock.advance(60)
        assert worker.outlook == "paused after 2 failures in a row: ValueError: boom"
        worker.unpause()
        worker.pause()
        assert worker.outlook == "paused until it is resumed"
        worker.stop()
        assert worker.outlook == "stopped; nothing more happens before it is started again"

    def test_while_a_run_decides(self, pool):
        said = []
        pool.new_worker(5, lambda _worker: said.append(_worker.outlook), run_on_time=False, max_count=1).start()
        pool.run_due()
        assert said == ["is running; what comes next is decided when it ends"]


class TestKeptFrames:
    @staticmethod
    def _boom():
        value = 42
        raise ValueError(str(value))

    def test_are_kept_on_request(self, pool):
        worker = pool.new_worker(1, self._boom, keep_frames=True).start()
        pool.run_due()
        frames = [frame for frame, _ in traceback.walk_tb(worker.kept_error.__traceback__)]
        assert frames[0].f_code.co_name == "_boom"
        assert frames[0].f_locals["value"] == 42
        worker.restart()
        assert worker.kept_error is None

    def test_are_not_kept_otherwise(self, pool):
        worker = pool.new_actor(self._boom, dispose=False).start()
        pool.run_due()
        assert worker.last_error is not None
        assert worker.kept_error is None

    def test_of_a_coroutine(self, live, eventually):
        async def call():
            await asyncio.sleep(0)
            raise ValueError("boom")

        worker = live.new_actor(call, keep_frames=True, dispose=False).start()
        assert eventually(lambda: worker.kept_error is not None)
        frames = [frame for frame, _ in traceback.walk_tb(worker.kept_error.__traceback__)]
        assert frames[0].f_code.co_name == "call"

    def test_belong_to_the_last_error_or_are_not_kept(self, pool):
        worker = pool.new_worker(1, self._boom, keep_frames=True).start()
        pool.run_due()
        worker.keep_frames = False
        pool.clock.advance(1)
        assert worker.failure_count == 2
        assert worker.kept_error is None

    def test_of_a_start_before_are_not_kept(self, pool):
        def call():
            worker.start()  # ends the start that this run belongs to
            raise ValueError("boom")

        worker = pool.new_actor(call, keep_frames=True, delay=1, dispose=False).start()
        pool.clock.advance(1)
        assert worker.last_error is None
        assert worker.kept_error is None

    @pytest.mark.parametrize(
        "make", [lambda p, v: p.new_worker(1, print, keep_frames=v), lambda p, v: p.new_actor(print, keep_frames=v)]
    )
    def test_the_flag_is_checked(self, pool, make):
        with pytest.raises(ArgumentTypeError, match="keep_frames"):
            make(pool, "yes")
        assert pool.find_workers() == []


class TestHistoryFrame:
    def test_has_a_row_a_run(self, pool):
        calls = iter([1, ValueError("boom"), {"a": 1}])

        def call():
            value = next(calls)
            if isinstance(value, Exception):
                raise value
            return value

        pool.new_worker(10, call, name="w", max_count=3, dispose=False).start()
        pool.new_worker(15, lambda: "x" * 5000, name="other", max_count=1, dispose=False, start_with_delay=True).start()
        pool.clock.advance(30)
        frame = pool.history_frame()
        assert tuple(frame.columns) == HISTORY_COLUMNS
        assert list(frame["worker"]) == ["w", "w", "other", "w"]
        assert list(frame["error"]) == ["", "ValueError: boom", "", ""]
        assert list(frame["value"])[3] == "{'a': 1}"
        assert len(list(frame["value"])[2]) == MAX_VALUE
        assert str(frame["started"].dt.tz) == "UTC"
        assert len(pool.history_frame("other")) == 1

    def test_is_empty_without_runs(self):
        frame = make_pool().history_frame()
        assert len(frame) == 0
        assert tuple(frame.columns) == HISTORY_COLUMNS

    def test_survives_a_hostile_repr(self, pool):
        class Hostile:
            def __repr__(self):
                raise RuntimeError("no")

        pool.new_actor(lambda: Hostile(), dispose=False).start()
        pool.run_due()
        assert "Hostile" in pool.history_frame()["value"][0]
