"""Timeouts, retries, the breaker, the stop flag and progress."""

from __future__ import annotations

import threading

import pytest

from bgpool_jupyter.engine import (
    ArgumentTypeError,
    ArgumentValueError,
    EventKind,
    InvalidTransition,
    Progress,
    Retry,
    WorkerState,
)

PATIENCE = 20.0


class TestTimeout:
    def test_a_run_that_takes_too_long_is_marked_and_asked_to_stop(self, live):
        told = threading.Event()
        live.subscribe(lambda event: event.kind is EventKind.OVERDUE and told.set())
        asked = []

        def callback(_worker):
            asked.append(_worker.sleep(PATIENCE))
            return "late"

        worker = live.new_worker(3600, callback, timeout=0.02, max_count=1, dispose=False).start()
        assert worker.result(PATIENCE) == "late"
        assert told.wait(PATIENCE)
        assert asked == [False]
        assert worker.overdue_count == 1
        assert worker.history[0].outcome == "overdue"

    def test_others_go_on_and_so_does_the_worker(self, live, eventually):
        release = threading.Event()
        worker = live.new_worker(
            0.01, lambda _worker: release.wait(PATIENCE) if _worker.run_count == 1 else None, timeout=0.01
        ).start()
        assert eventually(lambda: worker.current is not None and worker.current.overdue)
        assert live.run_job(lambda: 1).result(PATIENCE) == 1
        release.set()
        assert eventually(lambda: worker.run_count > 3)
        assert worker.overdue_count >= 1

    def test_a_run_that_is_quick_enough_is_not_marked(self, pool):
        worker = pool.new_worker(1, lambda: None, timeout=0.5, max_count=5, dispose=False).start()
        pool.clock.advance(10)
        assert worker.overdue_count == 0
        assert {record.outcome for record in worker.history} == {"done"}
        assert list(pool._deadlines.live()) == []

    def test_in_virtual_time_it_is_noticed_at_the_end(self, pool):
        worker = pool.new_worker(10, lambda: pool.clock.sleep(3), timeout=2, max_count=1, dispose=False).start()
        pool.clock.advance(20)
        assert worker.overdue_count == 1
        assert worker.history[0].outcome == "overdue"

    def test_an_overdue_run_that_raises_keeps_its_error(self, live, eventually):
        def callback(_worker):
            _worker.sleep(PATIENCE)
            raise ValueError("late")

        worker = live.new_actor(callback, timeout=0.01, dispose=False).start()
        assert eventually(lambda: worker.history)
        assert worker.history[0].outcome == "overdue"
        assert worker.history[0].error.line == "ValueError: late"
        assert worker.failure_count == 1

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "1"])
    def test_bad_values(self, pool, timeout):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^timeout must be "):
            pool.new_worker(1, print, timeout=timeout)
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^timeout must be "):
            pool.new_actor(print, timeout=timeout)
        assert pool.find_workers() == []


class TestRetry:
    def test_attempts_are_bounded_and_then_the_next_slot_comes(self, pool):
        moments = []
        base = pool.clock.monotonic()

        def bad():
            moments.append(round(pool.clock.monotonic() - base, 6))
            raise ValueError

        worker = pool.new_worker(60, bad, retry=Retry(attempts=3, first=1, factor=3)).start()
        pool.clock.advance(65)
        assert moments == [0, 1, 4, 60, 61, 64]
        assert worker.run_count == 2
        assert worker.retry_count == 4
        assert worker.failure_count == 6

    def test_a_number_is_a_count_of_attempts(self, pool):
        worker = pool.new_worker(60, lambda: 1 / 0, retry=2).start()
        pool.clock.advance(10)
        assert worker.failure_count == 2
        assert worker.retry == Retry(attempts=2)

    def test_stop_ends_the_attempts(self, pool):
        worker = pool.new_worker(60, lambda: 1 / 0, retry=Retry(), dispose=False).start()
        pool.clock.advance(0)
        worker.stop()
        pool.clock.advance(100)
        assert worker.failure_count == 1

    def test_an_actor_fails_in_the_end(self, pool):
        worker = pool.new_actor(lambda: 1 / 0, retry=3, dispose=False).start()
        pool.clock.advance(10)
        assert worker.failure_count == 3
        assert worker.status == "failed"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"attempts": 0}, "attempts must be at least 1, not 0"),
            ({"first": -1}, "first must be 0 or greater"),
            ({"factor": 0.5}, "factor must be at least 1, not 0.5; give 2.0 for example"),
            ({"longest": float("nan")}, "longest must be a finite number"),
            ({"jitter": "1"}, "jitter must be a number, not str '1'"),
        ],
    )
    def test_bad_figures(self, arguments, message):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^" + message):
            Retry(**arguments)

    @pytest.mark.parametrize("retry", [0, -1, True, "3", 1.5])
    def test_bad_retries_register_nothing(self, pool, retry):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^retry must be "):
            pool.new_worker(1, print, retry=retry)
        assert pool.find_workers() == []


class TestBreaker:
    def test_too_many_failures_in_a_row_pause_the_worker_with_the_reason(self, pool):
        heard, kinds = [], []
        pool.subscribe(lambda event: heard.append(event.text) if event.kind is EventKind.PAUSED else None)
        pool.subscribe(lambda event: kinds.append(event.kind))
        worker = pool.new_worker(1, lambda: 1 / 0, max_failures=3).start()
        pool.clock.advance(10)
        assert worker.run_count == 3
        assert worker.state is WorkerState.PAUSED
        assert worker.pause_reason == "paused after 3 failures in a row: ZeroDivisionError: division by zero"
        assert heard == [worker.pause_reason]
        assert worker.snapshot().last_error == worker.pause_reason
        assert kinds[-2:] == [EventKind.FAILED, EventKind.PAUSED]

    def test_unpause_gives_it_as_many_again(self, pool):
        worker = pool.new_worker(1, lambda: 1 / 0, max_failures=3).start()
        pool.clock.advance(10)
        worker.unpause()
        assert worker.pause_reason == ""
        pool.clock.advance(10)
        assert worker.run_count == 6
        assert worker.state is WorkerState.PAUSED

    def test_a_success_between_counts_anew(self, pool):
        worker = pool.new_worker(1, lambda: None if worker.run_count % 3 == 0 else 1 / 0, max_failures=3).start()
        pool.clock.advance(20)
        assert worker.state is WorkerState.WAITING

    def test_attempts_at_one_run_are_one_failure(self, pool):
        worker = pool.new_worker(60, lambda: 1 / 0, retry=2, max_failures=2).start()
        pool.clock.advance(300)
        assert worker.run_count == 2
        assert worker.failure_count == 4
        assert worker.state is WorkerState.PAUSED

    def test_a_pause_by_hand_has_no_reason(self, pool):
        worker = pool.new_worker(1, lambda: None).start().pause()
        assert worker.pause_reason == ""

    @pytest.mark.parametrize("count", [0, True, "2"])
    def test_bad_values(self, pool, count):
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^max_failures must be "):
            pool.new_worker(1, print, max_failures=count)
        assert pool.find_workers() == []


class TestStopFlag:
    def test_sleep_ends_early_with_stop(self, live):
        entered, answers = threading.Event(), []

        def callback(_worker):
            answers.append(_worker.should_stop)
            entered.set()
            answers.append(_worker.sleep(PATIENCE))
            answers.append(_worker.should_stop)

        worker = live.new_worker(1, callback, dispose=False).start()
        assert entered.wait(PATIENCE)
        worker.stop()
        assert worker.result(PATIENCE) is None
        assert answers == [False, False, True]

    @pytest.mark.parametrize("how", ["restart", "close"])
    def test_a_new_start_and_the_end_of_the_pool_ask_too(self, live, how):
        entered, ended = threading.Event(), threading.Event()

        def callback(_worker):
            if not entered.is_set():
                entered.set()
                if not _worker.sleep(PATIENCE):
                    ended.set()

        worker = live.new_worker(1, callback).start()
        assert entered.wait(PATIENCE)
        worker.restart() if how == "restart" else live.close(PATIENCE)
        assert ended.wait(PATIENCE)

    def test_a_sleep_after_the_question_does_not_begin(self, live):
        answers = []

        def callback(_worker):
            _worker.stop()
            answers.append(_worker.sleep(PATIENCE))

        worker = live.new_worker(1, callback, dispose=False).start()
        assert worker.result(PATIENCE) is None
        assert answers == [False]

    def test_in_virtual_time_a_sleep_moves_the_clock(self, pool):
        moments = []

        def callback(_worker):
            assert _worker.sleep(4)
            moments.append(pool.clock.monotonic())

        base = pool.clock.monotonic()
        pool.new_actor(callback).start()
        pool.clock.advance(0)
        assert moments == [base + 4]

    def test_only_a_run_may_ask(self, pool):
        worker = pool.new_worker(1, print, name="w")
        assert worker.should_stop
        with pytest.raises(InvalidTransition, match=r"^worker 'w' executes no run and cannot sleep; only its callback"):
            worker.sleep(1)
        with pytest.raises(InvalidTransition, match="cannot progress; only its callback may call this$"):
            worker.progress(1)

    def test_bad_durations(self, pool):
        with pytest.raises(ArgumentValueError, match="^seconds must be 0 or greater"):
            pool.new_worker(1, print).sleep(-1)


class TestProgress:
    def test_is_seen_while_the_run_is_in_flight(self, pool):
        seen = []

        def callback(_worker):
            _worker.progress(3, 12, "reading")
            seen.append(_worker.current.progress)

        feed = pool.watch()
        worker = pool.new_actor(callback, dispose=False).start()
        feed.take()
        pool.clock.advance(0)
        assert seen == [Progress(3.0, 12.0, "reading")]
        assert seen[0].fraction == 0.25
        assert feed.take() == {worker.id}
        assert worker.current is None

    def test_without_a_total_there_is_no_fraction(self):
        assert Progress(5, None, "").fraction is None
        assert Progress(5, 0, "").fraction is None
        assert Progress(9, 3, "").fraction == 1.0

    @pytest.mark.parametrize("arguments", [("1",), (1, "2"), (float("nan"),), (1, 2, 3)])
    def test_bad_values(self, pool, arguments):
        errors = []

        def callback(_worker):
            try:
                _worker.progress(*arguments)
            except (ArgumentTypeError, ArgumentValueError) as error:
                errors.append(str(error).split(" ")[0])

        pool.new_actor(callback).start()
        pool.clock.advance(0)
        assert errors[0] in ("done", "total", "text")
