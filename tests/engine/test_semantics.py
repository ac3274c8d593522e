"""What the words mean: one class for each promise, in virtual time wherever threads are not the point."""

from __future__ import annotations

import datetime
import functools
import itertools
import logging
import math
import threading
import weakref

import pytest

from bgpool_jupyter.engine import (
    ArgumentTypeError,
    ArgumentValueError,
    BackgroundWorker,
    Cron,
    EventKind,
    InvalidTransition,
    PoolClosed,
    Retry,
    WorkerNotFound,
    WorkerPool,
    WorkerState,
)
from bgpool_jupyter.engine.starts import Signature
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


class Log(list):
    """A list that callbacks append to."""

    def add(self, value=None):
        self.append(value)


class Test01CreateThenStart:
    def test_nothing_runs_before_start(self, pool):
        ran = Log()
        worker = pool.new_worker(1, lambda: ran.add(1))
        actor = pool.new_actor(lambda: ran.add(2))
        pool.clock.advance(100)
        assert ran == []
        assert pool.find_workers() == [worker, actor]
        assert worker.state is WorkerState.NEW

    def test_start_returns_the_worker(self, pool):
        worker = pool.new_worker(1, lambda: None)
        assert worker.start() is worker

    def test_kwargs_go_to_every_run(self, pool):
        seen = Log()
        pool.new_worker(1, lambda a, b=0: seen.add((a, b)), max_count=2).start(a=1, b=2)
        pool.clock.advance(5)
        assert seen == [(1, 2), (1, 2)]

    def test_arguments_that_do_not_fit_are_refused_at_start(self, pool):
        worker = pool.new_worker(1, lambda a: a, name="w")
        with pytest.raises(ArgumentTypeError, match=r"start\(\) of 'w' was given \[\], but the callback .* 'a'"):
            worker.start()
        assert worker.state is WorkerState.NEW

    def test_restart_of_a_started_worker_ends_the_first_start(self, pool):
        ends = Log()
        worker = pool.new_worker(10, lambda n: None, finished=lambda n: ends.add(n)).start(n=1)
        pool.clock.advance(1)
        worker.start(n=2)
        pool.clock.advance(1)
        assert ends == [1]
        assert worker.running
        assert worker.run_count == 1


class _Methods:
    def alone(self): ...
    def named(self, _data, x=1): ...
    def required(self, x, _worker=None): ...
    def keyword(self, /, _data, *, _worker): ...
    def by_position(self, _data, /, x=1): ...
    def no_self(*args): ...
    def no_self_but_keywords(*, _data): ...
    def defaults_of_all(self=1, _data=2): ...
    def any_keywords(self, **kwargs): ...
    def between(self, *args, _data=3): ...
    def called_data(_data): ...  # noqa: N805

    @classmethod
    def of_class(cls, _data): ...
    @staticmethod
    def of_none(_data, x): ...
    @functools.wraps(named)
    def wraps(self, *args, **kwargs): ...


class Test02Injection:
    @pytest.mark.parametrize(
        "make",
        [
            lambda seen: lambda _data, _worker: seen.add((_data, _worker)),
            lambda seen: lambda *, _data, _worker: seen.add((_data, _worker)),
            lambda seen: lambda *, _worker=None, _data=0: seen.add((_data, _worker)),
        ],
    )
    def test_named_parameters_are_given(self, pool, make):
        seen = Log()
        worker = pool.new_worker(1, make(seen), data={"k": 1}, max_count=1).start()
        pool.clock.advance(0)
        assert seen == [({"k": 1}, worker)]
        assert worker.args == {}

    @pytest.mark.parametrize("name", [name for name in vars(_Methods) if not name.startswith("__")])
    def test_methods_are_read_off_as_inspect_reads_them(self, name):
        known = Signature(getattr(_Methods(), name))
        assert (known.injected, known.plain) == known._inspect()

    def test_a_method_is_given_what_it_names(self, pool):
        seen = Log()

        class Sensor:
            def read(self, _data, unit="K", *, _worker):
                seen.add((type(self), _data, unit, _worker))

        actor = pool.new_actor(Sensor().read, data=7).start()
        pool.clock.advance(0)
        assert seen == [(Sensor, 7, "K", actor)]

    def test_data_of_none_is_given_too(self, pool):
        seen = Log()
        pool.new_actor(lambda _data: seen.add(_data)).start()
        pool.clock.advance(0)
        assert seen == [None]

    def test_unnamed_parameters_are_not_given(self, pool):
        seen = Log()
        pool.new_actor(lambda **kw: seen.add(kw), data=5).start(x=1)
        pool.clock.advance(0)
        assert seen == [{"x": 1}]

    def test_a_builtin_without_signature_can_be_a_callback(self, pool):
        worker = pool.new_worker(1, dict, max_count=1).start()
        pool.clock.advance(0)
        assert worker.last_value == {}


class Test03Values:
    @pytest.mark.parametrize("value", [None, True, 0, "", [], 0.0])
    def test_any_value_but_false_goes_on_and_is_kept(self, pool, value):
        worker = pool.new_worker(1, lambda: value, dispose=False).start()
        pool.clock.advance(2.5)
        assert worker.run_count == 3
        assert [record.value for record in worker.history] == [value] * 3
        assert worker.running

    def test_false_ends_the_worker(self, pool):
        worker = pool.new_worker(1, lambda: False).start()
        pool.clock.advance(5)
        assert worker.run_count == 1
        assert worker.state is WorkerState.STOPPED
        assert worker.history[-1].outcome == "ended"


class Test04Slots:
    def test_the_grid_is_multiplied_not_added_up(self, pool):
        starts = []
        base = pool.clock.monotonic()
        pool.new_worker(0.1, lambda: starts.append(pool.clock.monotonic())).start()
        pool.clock.advance(1000)
        assert starts == [base + k * 0.1 for k in range(len(starts))]
        assert len(starts) in (10_000, 10_001)

    def test_a_slot_that_passes_during_a_run_is_dismissed_and_counted(self, pool):
        starts = []
        base = pool.clock.monotonic()

        def slow():
            starts.append(pool.clock.monotonic() - base)
            if len(starts) == 1:
                pool.clock.sleep(3.5)

        worker = pool.new_worker(1, slow).start()
        pool.clock.advance(6)
        assert starts == [0, 4, 5, 6]
        assert worker.missed_count == 3

    def test_a_slot_at_the_very_end_of_a_run_is_due_not_missed(self, pool):
        worker = pool.new_worker(1, lambda: pool.clock.sleep(1), max_count=5).start()
        pool.clock.advance(20)
        assert worker.missed_count == 0
        assert [r.lateness for r in worker.history] == pytest.approx([0] * 5)

    def test_slots_while_the_machine_slept_are_dismissed_and_counted(self, pool):
        worker = pool.new_worker(1, lambda: None).start()
        pool.clock.advance(0)
        pool.clock.sleep(8 * 3600 + 0.5)
        pool.clock.advance(0)
        assert worker.run_count == 2  # the slot that waited, late
        assert worker.missed_count == 8 * 3600 - 1
        pool.clock.advance(0.49)
        assert worker.run_count == 2
        pool.clock.advance(0.01)
        assert worker.run_count == 3

    def test_passed_slots_are_made_up_back_to_back_on_request(self, pool):
        starts = []
        worker = pool.new_worker(1, lambda: starts.append(pool.clock.monotonic()), run_past_events=True).start()
        pool.clock.advance(0)
        pool.clock.sleep(5)
        pool.clock.advance(0)
        assert worker.run_count == 6
        assert worker.missed_count == 0
        assert len(set(starts[1:])) == 1

    def test_fixed_delay_counts_from_the_end_of_a_run(self, pool):
        starts = []
        base = pool.clock.monotonic()

        def slow():
            starts.append(pool.clock.monotonic() - base)
            pool.clock.sleep(3)

        worker = pool.new_worker(1, slow, run_on_time=False).start()
        pool.clock.advance(9)
        assert starts == [0, 4, 8]
        assert worker.missed_count == 0

    def test_start_with_delay(self, pool):
        starts = []
        base = pool.clock.monotonic()
        pool.new_worker(2, lambda: starts.append(pool.clock.monotonic() - base), start_with_delay=True).start()
        pool.clock.advance(5)
        assert starts == [2, 4]

    def test_a_new_interval_counts_from_the_next_slot(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(1, lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(1.5)
        worker.interval = 10
        pool.clock.advance(20)
        assert starts == [0, 1, 2, 12]


class Test05NeverOverlaps:
    def test_a_second_start_waits_for_the_run_in_flight(self, live):
        inside, overlap = [], []
        entered, release, again = threading.Event(), threading.Event(), threading.Event()

        def callback(turn):
            inside.append(turn)
            overlap.append(len(inside))
            if turn == 1:
                entered.set()
                release.wait(PATIENCE)
            else:
                again.set()
            inside.pop()

        worker = live.new_worker(0.001, callback, dispose=False).start(turn=1)
        assert entered.wait(PATIENCE)
        worker.stop()
        assert worker.state is WorkerState.STOPPING
        worker.start(turn=2)
        assert worker.executing
        assert not again.wait(0.05)  # the new start must not begin now: there is nothing to wait for
        release.set()
        assert again.wait(PATIENCE)
        worker.stop()
        assert set(overlap) == {1}

    def test_work_now_during_a_run_runs_right_after_it(self, live):
        entered, release, second = threading.Event(), threading.Event(), threading.Event()

        def callback(_worker):
            if _worker.run_count == 1:
                entered.set()
                release.wait(PATIENCE)
            else:
                second.set()

        worker = live.new_worker(1000, callback).start()
        assert entered.wait(PATIENCE)
        worker.work_now()
        assert worker.run_count == 1
        release.set()
        assert second.wait(PATIENCE)


class Test06Stop:
    def test_no_run_begins_after_stop_returned(self, live):
        counts = []
        for _ in range(500):
            worker = live.new_worker(0.0002, lambda: None).start()
            worker.stop()
            counts.append((worker, worker.run_count))  # grows when a run begins
        barrier = live.run_job(lambda: None)
        barrier.result(PATIENCE)
        assert [worker.run_count for worker, _ in counts] == [count for _, count in counts]

    def test_a_run_in_flight_goes_on_and_the_worker_says_so(self, live):
        entered, release = threading.Event(), threading.Event()
        worker = live.new_worker(1, lambda: (entered.set(), release.wait(PATIENCE)), dispose=False).start()
        assert entered.wait(PATIENCE)
        assert worker.stop() is worker
        assert (worker.state, worker.status, worker.running, worker.executing) == (
            WorkerState.STOPPING,
            "stopping",
            False,
            True,
        )
        ended = threading.Event()
        live.subscribe(lambda event: event.kind is EventKind.RUN and ended.set())
        release.set()
        assert ended.wait(PATIENCE)
        assert worker.state is WorkerState.STOPPED

    def test_stop_from_its_own_callback(self, pool):
        worker = pool.new_worker(1, lambda _worker: _worker.stop(), dispose=False).start()
        pool.clock.advance(5)
        assert worker.run_count == 1
        assert worker.state is WorkerState.STOPPED

    def test_stop_of_one_that_is_not_started_changes_nothing(self, pool):
        worker = pool.new_worker(1, lambda: None)
        worker.stop().stop()
        assert worker.state is WorkerState.NEW


class Test07Finished:
    def test_once_a_start_with_the_arguments_of_the_callback(self, pool):
        calls = Log()
        worker = pool.new_worker(
            1,
            lambda a, _data: None,
            finished=lambda a, _data, _worker: calls.add((a, _data, _worker)),
            data="d",
            max_count=2,
        ).start(a=1)
        pool.clock.advance(10)
        assert calls == [(1, "d", worker)]

    def test_after_the_last_run_returned(self, pool):
        order = Log()

        def callback(_worker):
            _worker.stop()
            order.add("run ends")

        pool.new_worker(1, callback, finished=lambda: order.add("finished")).start()
        pool.clock.advance(5)
        assert order == ["run ends", "finished"]

    def test_of_the_first_start_comes_before_the_runs_of_the_second(self, pool):
        order = Log()

        def callback(n, _worker):
            order.add(f"run {n}")
            if n == 1:
                _worker.start(n=2)
                order.add("run 1 ends")
            else:
                _worker.stop()

        pool.new_worker(1, callback, finished=lambda n: order.add(f"finished {n}")).start(n=1)
        pool.clock.advance(5)
        assert order == ["run 1", "run 1 ends", "finished 1", "run 2", "finished 2"]

    def test_is_called_on_a_pool_thread_at_once_when_nothing_runs(self, live):
        names = []
        ended = threading.Event()
        worker = live.new_worker(
            3600,
            lambda: None,
            finished=lambda: (names.append(threading.current_thread().name), ended.set()),
            start_with_delay=True,
        )
        worker.start()
        worker.stop()
        assert ended.wait(PATIENCE)
        assert names[0].startswith("bgpool-")

    def test_of_a_start_without_a_run(self, pool):
        calls = Log()
        pool.new_actor(lambda: None, delay=10, finished=lambda: calls.add(1)).start().stop()
        pool.clock.advance(0)
        assert calls == [1]

    def test_once_for_each_of_many_starts_in_flight(self, pool):
        calls = Log()

        def callback(n, _worker):
            if n == 0:
                for k in range(1, 4):
                    _worker.start(n=k)
                    if k < 3:
                        _worker.stop()
            return False

        pool.new_worker(1, callback, finished=lambda n: calls.add(n)).start(n=0)
        pool.clock.advance(5)
        assert calls == [0, 1, 2, 3]


class Test08Dispose:
    @pytest.mark.parametrize("end", ["stop", "count", "false"])
    def test_leaves_the_pool_when_it_ends(self, pool, end):
        worker = pool.new_worker(1, lambda: end != "false" or False, max_count=1 if end == "count" else None).start()
        if end == "stop":
            worker.stop()
        pool.clock.advance(1)
        assert pool.find_workers() == []

    def test_stays_otherwise(self, pool):
        worker = pool.new_actor(lambda: None, dispose=False).start()
        pool.clock.advance(1)
        assert pool.find_workers() == [worker]

    def test_can_be_started_again_and_is_registered_again(self, pool):
        worker = pool.new_actor(lambda: None).start()
        pool.clock.advance(1)
        assert pool.find_workers() == []
        worker.start()
        assert pool.find_workers() == [worker]
        assert pool.worker(worker.id) is worker
        pool.clock.advance(1)
        assert pool.find_workers() == []

    def test_an_unknown_id_is_a_clear_error(self, pool):
        with pytest.raises(WorkerNotFound, match=r"^the pool has no worker with id 77; find_workers\(\) lists them$"):
            pool.worker(77)


class Test09Pause:
    def test_from_the_own_callback_does_not_block(self, pool):
        worker = pool.new_worker(1, lambda _worker: _worker.pause()).start()
        pool.clock.advance(5)
        assert worker.run_count == 1
        assert worker.state is WorkerState.PAUSED

    def test_no_run_while_paused_and_passed_slots_are_not_missed(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(1, lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(1)
        worker.pause().pause()
        pool.clock.advance(5.5)
        assert worker.next_run_time is None
        worker.unpause()
        pool.clock.advance(1)
        assert starts == [0, 1, 7]
        assert worker.missed_count == 0
        assert worker.skipped_count == 5

    def test_unpause_immediately_runs_at_once(self, pool):
        worker = pool.new_worker(10, lambda: None).start()
        pool.clock.advance(0)
        worker.pause()
        pool.clock.advance(3)
        worker.unpause(immediately=True)
        pool.clock.advance(0)
        assert worker.run_count == 2
        pool.clock.advance(7)  # the grid is where it was
        assert worker.run_count == 3

    @pytest.mark.parametrize("passed", [3, 59, 61, 600])
    def test_unpause_immediately_runs_an_actor_at_once_whose_instant_is_far(self, pool, passed):
        actor = pool.new_actor(lambda: None, at=pool.clock.time() + 7200).start()
        pool.clock.advance(1)
        actor.pause()
        pool.clock.advance(passed)
        actor.unpause(immediately=True)
        pool.clock.advance(0)
        assert actor.run_count == 1

    def test_a_fixed_delay_that_was_changed_during_a_pause_counts_at_once(self, pool):
        worker = pool.new_worker(3600, lambda: None, run_on_time=False).start()
        pool.clock.advance(1)
        worker.pause()
        pool.clock.advance(7200)
        worker.interval = 5
        worker.unpause()
        pool.clock.advance(6)
        assert worker.run_count == 2

    def test_unpause_of_one_that_is_not_paused_changes_nothing(self, pool):
        worker = pool.new_worker(10, lambda: None).start()
        pool.clock.advance(1)
        worker.unpause(immediately=True)
        pool.clock.advance(0)
        assert worker.run_count == 1
        fresh = pool.new_worker(1, lambda: None).unpause()
        assert fresh.state is WorkerState.NEW

    def test_a_paused_actor_runs_after_its_time(self, pool):
        worker = pool.new_actor(lambda: None, delay=5, dispose=False).start().pause()
        pool.clock.advance(10)
        assert worker.run_count == 0
        worker.unpause()
        pool.clock.advance(0)
        assert worker.run_count == 1

    def test_fixed_delay_waits_one_interval_after_a_long_pause(self, pool):
        worker = pool.new_worker(5, lambda: None, run_on_time=False).start()
        pool.clock.advance(0)
        worker.pause()
        pool.clock.advance(60)
        worker.unpause()
        pool.clock.advance(4)
        assert worker.run_count == 1
        pool.clock.advance(1)
        assert worker.run_count == 2

    def test_pause_during_a_run_lets_it_end(self, live):
        entered, release, ended = threading.Event(), threading.Event(), threading.Event()
        live.subscribe(lambda event: event.kind is EventKind.RUN and ended.set())
        worker = live.new_worker(0.001, lambda: (entered.set(), release.wait(PATIENCE))).start()
        assert entered.wait(PATIENCE)
        worker.pause()
        assert worker.state is WorkerState.PAUSED
        assert worker.executing
        release.set()
        assert ended.wait(PATIENCE)
        assert worker.state is WorkerState.PAUSED
        assert worker.run_count == 1

    def test_unpause_during_the_same_run(self, live):
        entered, release, twice = threading.Event(), threading.Event(), threading.Event()

        def callback(_worker):
            entered.set()
            release.wait(PATIENCE)
            if _worker.run_count > 1:
                twice.set()

        worker = live.new_worker(0.001, callback).start()
        assert entered.wait(PATIENCE)
        worker.pause().unpause()
        assert worker.state is WorkerState.RUNNING
        release.set()
        assert twice.wait(PATIENCE)

    def test_work_now_runs_at_once_and_leaves_the_grid(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(10, lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(3)
        worker.workNow()
        pool.clock.advance(17)
        assert starts == [0, 3, 10, 20]
        assert worker.missed_count == 0

    def test_work_now_that_runs_over_slots_counts_them_as_missed(self, pool):
        worker = pool.new_worker(10, lambda: pool.clock.sleep(25) if worker.run_count == 2 else None).start()
        pool.clock.advance(3)
        worker.work_now()
        pool.clock.advance(0)
        assert worker.missed_count == 2
        pool.clock.advance(2)
        assert worker.run_count == 3

    @pytest.mark.parametrize(
        "ask", [BackgroundWorker.work_now, lambda worker: worker.pause().unpause(immediately=True)]
    )
    @pytest.mark.parametrize("settings", [{}, {"run_on_time": False}, {"run_past_events": True}])
    def test_a_slot_that_is_due_is_the_run_at_once(self, pool, ask, settings):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(100, lambda: starts.append(pool.clock.monotonic() - base), **settings).start()
        pool.clock.advance(5)
        worker.restart(7)
        ask(worker)
        pool.clock.advance(7)
        assert starts == [0, 5, 12]
        assert worker.missed_count == 0

    def test_work_now_need_not_wait_for_the_next_look_at_a_clock_that_was_set(self, pool):
        pool.clock.set_wall(1_800_000_000)
        worker = pool.new_worker(Cron("0 * * * *", "UTC"), lambda: None).start()
        pool.clock.advance(1)
        pool.clock.set_wall(pool.clock.time() + 3600)
        worker.work_now()
        pool.clock.advance(0)
        assert worker.run_count == 1
        assert worker.missed_count == 0

    def test_work_now_of_a_paused_worker_runs_once(self, pool):
        worker = pool.new_worker(1, lambda: None).start().pause()
        worker.work_now()
        pool.clock.advance(10)
        assert worker.run_count == 1
        assert worker.state is WorkerState.PAUSED

    def test_restart_takes_the_new_interval_at_once(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(100, lambda a: starts.append(pool.clock.monotonic() - base)).start(a=1)
        pool.clock.advance(5)
        worker.restart(2)
        pool.clock.advance(5)
        assert starts == [0, 5, 7, 9]
        assert worker.interval == 2
        assert worker.args == {"a": 1}

    @pytest.mark.parametrize("interval", [0, -1, math.nan, True, "2"])
    def test_restart_with_a_bad_interval_changes_nothing(self, pool, interval):
        worker = pool.new_worker(7, lambda: None).start()
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match="^interval must be "):
            worker.restart(interval)
        assert worker.interval == 7
        assert worker.running

    @pytest.mark.parametrize("command", ["pause", "work_now"])
    def test_what_needs_a_started_worker_says_so(self, pool, command):
        worker = pool.new_worker(1, lambda: None, name="w")
        word = {"pause": "pause", "work_now": "run now"}[command]
        with pytest.raises(InvalidTransition, match=rf"^worker 'w' is new and cannot {word}; start\(\) it first$"):
            getattr(worker, command)()
        assert worker.state is WorkerState.NEW


class TestReschedule:
    def test_moves_the_next_run(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(10, lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(1)
        feed = pool.watch()
        pool.reschedule(worker, pool.clock.time() + 3)
        assert feed.take() == {worker.id}
        pool.clock.advance(5)
        assert starts == [0, 4]

    def test_lets_a_paused_worker_go_on(self, pool):
        worker = pool.new_worker(10, lambda: None, start_with_delay=True).start().pause()
        pool.reschedule(worker, pool.clock.time() + 1)
        pool.clock.advance(1)
        assert worker.run_count == 1

    @pytest.mark.parametrize("run_on_time", [True, False])
    def test_a_run_on_request_leaves_the_moved_instant_as_it_is(self, pool, run_on_time):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(
            10, lambda: starts.append(pool.clock.monotonic() - base), run_on_time=run_on_time, jitter=5 * run_on_time
        ).start()
        pool.clock.advance(6)
        del starts[:]
        worker.jitter = 0
        pool.reschedule(worker, pool.clock.time() + 9)
        pool.clock.advance(2)
        worker.work_now()
        pool.clock.advance(8)
        assert starts == [8, 15]
        pool.clock.advance(10)
        assert starts[2:] == [20 if run_on_time else 25]
        assert worker.missed_count == 0

    def test_a_moved_instant_that_passes_during_a_run_on_request_is_run_after_it(self, pool):
        """And it stands for the slot that was moved, not for the one that would come now."""
        starts = []
        base = pool.clock.monotonic()

        def call():
            starts.append(pool.clock.monotonic() - base)
            pool.clock.sleep(9 if len(starts) == 1 else 0)

        worker = pool.new_worker(10, call, start_with_delay=True).start()
        pool.reschedule(worker, pool.clock.time() + 4)
        pool.clock.advance(2)
        worker.work_now()
        pool.clock.advance(20)
        assert starts == [2, 11, 20]
        assert worker.missed_count == 0

    def test_a_retry_leaves_what_was_moved_during_its_run_as_it_is(self, pool):
        starts = []
        base = pool.clock.monotonic()

        def call():
            starts.append(pool.clock.monotonic() - base)
            if len(starts) == 1:
                pool.reschedule(worker, pool.clock.time() + 7)
                raise ValueError("boom")

        worker = pool.new_worker(10, call, retry=Retry(attempts=2, first=1)).start()
        pool.clock.advance(22)
        assert starts == [0, 1, 7, 20]

    def test_the_next_run_time_is_the_moved_instant_also_in_flight(self, pool):
        told = []

        def call(_worker):
            if not told:
                pool.reschedule(worker, pool.clock.time() + 3)
            told.append(worker.next_run_time - base)

        base = pool.clock.time()
        worker = pool.new_worker(10, call).start()
        pool.clock.advance(0)
        worker.work_now()
        pool.clock.advance(2)
        assert told == pytest.approx([3, 3])
        assert worker.next_run_time - base == pytest.approx(3)
        pool.clock.advance(2)
        assert told == pytest.approx([3, 3, 20])

    def test_a_pause_leaves_the_moved_instant_of_a_cron_worker_as_it_is(self, pool):
        starts = []
        base = pool.clock.monotonic()
        pool.clock.set_wall(1_800_000_000)
        worker = pool.new_worker(Cron("* * * * *", "UTC"), lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(1)
        pool.reschedule(worker, pool.clock.time() + 20)
        worker.pause()
        pool.clock.advance(5)
        worker.unpause()
        pool.clock.advance(60)
        assert starts == pytest.approx([21, 60])

    def test_a_moved_instant_that_passes_during_a_pause_is_passed_over(self, pool):
        starts = []
        base = pool.clock.monotonic()
        pool.clock.set_wall(1_800_000_000)
        worker = pool.new_worker(Cron("* * * * *", "UTC"), lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.reschedule(worker, pool.clock.time() + 20)
        worker.pause()
        pool.clock.advance(25)
        worker.unpause()
        worker.work_now()
        pool.clock.advance(60)
        assert starts == pytest.approx([25, 60])

    def test_a_slot_that_had_its_run_early_does_not_come_back_with_a_pause(self, pool):
        starts = []
        base = pool.clock.monotonic()
        worker = pool.new_worker(10, lambda: starts.append(pool.clock.monotonic() - base)).start()
        pool.clock.advance(12)
        pool.reschedule(worker, pool.clock.time() + 3)
        pool.clock.advance(4)
        pool.reschedule(worker, pool.clock.time() + 2)
        worker.pause()
        pool.clock.advance(3)
        worker.unpause()
        pool.clock.advance(12)
        assert starts == pytest.approx([0, 10, 15, 30])
        assert (worker.missed_count, worker.skipped_count) == (0, 0)

    def test_a_pause_before_a_retry_takes_no_slot_of_a_cron_worker(self, pool):
        starts = []
        base = pool.clock.monotonic()
        pool.clock.set_wall(1_800_000_000)

        def call():
            starts.append(pool.clock.monotonic() - base)
            if len(starts) == 1:
                raise ValueError("boom")

        worker = pool.new_worker(Cron("* * * * *", "UTC"), call, retry=Retry(attempts=2, first=10)).start()
        pool.clock.advance(61)
        worker.pause().unpause()
        pool.clock.advance(65)
        assert starts == pytest.approx([60, 70, 120])
        assert (worker.missed_count, worker.skipped_count) == (0, 0)

    def test_needs_a_started_worker(self, pool):
        worker = pool.new_worker(10, lambda: None, name="w")
        with pytest.raises(InvalidTransition, match=r"^worker 'w' is new and cannot reschedule; start\(\) it first$"):
            pool.reschedule(worker, 0)
        with pytest.raises(ArgumentTypeError, match="^at must be a number"):
            pool.reschedule(worker, "now")

    def test_needs_an_instant_at_which_a_run_may_begin(self, pool):
        until = pool.clock.time() + 100
        worker = pool.new_worker(10, lambda: None, name="w", until=until, dispose=False).start()
        pool.clock.advance(5)
        with pytest.raises(
            ArgumentValueError, match=r"^at=\S+ is after \S+, the until of 'w': no run begins then; give"
        ):
            pool.reschedule(worker, until + 1)
        pool.clock.advance(6)
        assert worker.run_count == 2, "nothing was moved"
        pool.reschedule(worker, until)
        pool.clock.advance(200)
        assert [record.started for record in worker.history][2] == until
        assert worker.status == "stopped"

    def test_a_retry_of_a_run_on_request_takes_no_slot_where_it_was_moved(self, pool):
        starts = []
        base = pool.clock.monotonic()

        def call():
            starts.append(pool.clock.monotonic() - base)
            if starts[-1] == 2:
                raise ValueError("boom")

        worker = pool.new_worker(10, call, retry=Retry(attempts=3, first=3, jitter=0)).start()
        pool.clock.advance(2)
        worker.work_now()
        pool.clock.advance(1)
        pool.reschedule(worker, pool.clock.time() + 5)
        promised = [round(instant.timestamp() - pool.clock.time() + 3, 3) for instant in worker.preview(3)]
        pool.clock.advance(17)
        assert starts == pytest.approx([0, 2, 8, 10, 20])
        assert promised == [8, 10, 20]
        assert [record.attempt for record in worker.history] == [1, 1, 2, 1, 1]


class Test10MaxCount:
    def test_n_runs_then_the_end(self, pool):
        worker = pool.new_worker(1, lambda: None, max_count=3).start()
        pool.clock.advance(10)
        assert worker.run_count == 3
        assert worker.state is WorkerState.STOPPED

    def test_failed_runs_count(self, pool):
        worker = pool.new_worker(1, lambda: 1 / 0, max_count=3).start()
        pool.clock.advance(10)
        assert worker.run_count == 3

    def test_an_actor_runs_once(self, pool):
        worker = pool.new_actor(lambda: None).start()
        pool.clock.advance(10)
        assert worker.run_count == 1
        assert worker.max_count == 1
        assert worker.is_actor

    def test_a_new_start_counts_anew(self, pool):
        worker = pool.new_worker(1, lambda: None, max_count=2).start()
        pool.clock.advance(10)
        worker.start()
        assert worker.run_count == 0
        pool.clock.advance(10)
        assert worker.run_count == 2


class Test11DelayAndAt:
    def test_delay_counts_from_start(self, pool):
        worker = pool.new_actor(lambda: None, delay=5)
        pool.clock.advance(100)
        worker.start()
        pool.clock.advance(4.9)
        assert worker.run_count == 0
        pool.clock.advance(0.1)
        assert worker.run_count == 1

    @pytest.mark.parametrize("delay", [None, 0, 0.0])
    def test_no_delay_is_now(self, pool, delay):
        worker = pool.new_actor(lambda: None, delay=delay).start()
        pool.clock.advance(0)
        assert worker.run_count == 1

    def test_at_is_an_instant_of_the_wall_clock(self, pool):
        at = pool.clock.time() + 600
        worker = pool.new_actor(lambda: None, at=at, dispose=False).start()
        assert worker.next_run_time == at
        pool.clock.advance(599)
        assert worker.run_count == 0
        pool.clock.advance(1)
        assert worker.run_count == 1
        assert worker.history[0].started == pytest.approx(at)

    def test_a_clock_set_forward_is_noticed_within_a_minute(self, pool):
        at = pool.clock.time() + 7200
        worker = pool.new_actor(lambda: None, at=at).start()
        pool.clock.advance(1)
        pool.clock.set_wall(at + 5)
        pool.clock.advance(60)
        assert worker.run_count == 1

    def test_a_clock_set_back_is_honoured(self, pool):
        at = pool.clock.time() + 100
        worker = pool.new_actor(lambda: None, at=at).start()
        pool.clock.set_wall(at - 1000)
        pool.clock.advance(999)
        assert worker.run_count == 0
        pool.clock.advance(1)
        assert worker.run_count == 1

    @pytest.mark.parametrize("at", [0, -5.0, 1.0])
    def test_a_past_instant_means_now(self, pool, at):
        worker = pool.new_actor(lambda: None, at=at).start()
        pool.clock.advance(0)
        assert worker.run_count == 1

    def test_an_aware_datetime_is_an_instant(self, pool):
        at = datetime.datetime.fromtimestamp(pool.clock.time() + 10, datetime.UTC)
        worker = pool.new_actor(lambda: None, at=at).start()
        assert worker.at == at.timestamp()

    def test_both_are_refused(self, pool):
        with pytest.raises(
            ArgumentValueError, match=r"^delay=1 and at=99\.5 cannot both be given; leave one of them out$"
        ):
            pool.new_actor(lambda: None, delay=1, at=99.5)
        assert pool.find_workers() == []

    def test_a_naive_datetime_is_refused(self, pool):
        with pytest.raises(ArgumentValueError, match=r"^at must have a time zone, not the naive 2030-01-01 00:00:00; "):
            pool.new_actor(lambda: None, at=datetime.datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point
        assert pool.find_workers() == []


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Test12Exceptions:
    def test_is_kept_counted_logged_once_and_the_worker_goes_on(self, pool):
        told = Log()
        pool.set_logger(told.add)

        def bad():
            raise ValueError("boom")

        worker = pool.new_worker(1, bad, name="bad", dispose=False).start()
        pool.clock.advance(2)
        assert worker.run_count == worker.failure_count == 3
        assert worker.last_error.line == "ValueError: boom"
        assert 'raise ValueError("boom")' in worker.last_error.traceback
        assert "bgpool_jupyter" not in worker.last_error.traceback.replace(__file__, "")
        assert len(told) == 3
        assert told[0].startswith("run 1 of worker 'bad' failed: ValueError: boom\n")
        assert worker.status == "failed"
        assert worker.running

    def test_no_frame_and_no_object_of_the_run_stays_alive(self, pool):
        class Big:
            pass

        refs = []

        def bad():
            big = Big()
            refs.append(weakref.ref(big))
            raise ValueError(big)

        pool.new_worker(1, bad, max_count=1, dispose=False).start()
        pool.clock.advance(0)
        assert refs[0]() is None

    @pytest.mark.parametrize("error", [Hostile(), KeyboardInterrupt(), GeneratorExit(), RecursionError("deep")])
    def test_whatever_is_raised_ends_no_thread(self, live, error):
        again = threading.Event()

        def bad(_worker):
            if _worker.run_count > 1:
                again.set()
                return
            raise error

        worker = live.new_worker(0.001, bad).start()
        assert again.wait(PATIENCE)
        worker.stop()
        assert worker.history[0].outcome == "failed"

    def test_a_run_that_succeeds_clears_the_word_failed(self, pool):
        worker = pool.new_worker(1, lambda: 1 / 0 if worker.run_count == 1 else None).start()
        pool.clock.advance(0)
        assert worker.status == "failed"
        pool.clock.advance(1)
        assert worker.status == "waiting"
        assert worker.last_error.type == "ZeroDivisionError"

    def test_the_word_failed_is_for_what_waits_or_ended_by_itself(self, pool):
        worker = pool.new_worker(1, lambda: 1 / 0, dispose=False).start()
        actor = pool.new_actor(lambda: 1 / 0, dispose=False).start()
        pool.clock.advance(0)
        assert (worker.status, actor.status) == ("failed", "failed")
        worker.pause()
        assert worker.status == "paused"
        worker.unpause().stop()
        assert worker.status == "stopped"
        assert worker.snapshot().last_error == "ZeroDivisionError: division by zero"
        actor.start()
        assert actor.status == "waiting"

    def test_ignore_exception_tries_again_with_growing_bounded_delay(self, pool):
        starts = []

        def bad():
            starts.append(pool.clock.monotonic())
            raise ValueError

        worker = pool.new_worker(1, bad, ignore_exception=True, dispose=False).start()
        pool.clock.advance(1000)
        gaps = [round(b - a, 6) for a, b in itertools.pairwise(starts)]
        assert gaps[:10] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]
        assert set(gaps[10:]) == {60.0}
        assert worker.run_count == 1
        assert worker.failure_count == len(starts)
        assert [record.attempt for record in worker.history][:3] == [1, 2, 3]
        worker.stop()
        before = len(starts)
        pool.clock.advance(1000)
        assert len(starts) == before

    def test_after_a_success_the_delays_begin_anew(self, pool):
        starts = []
        base = pool.clock.monotonic()

        def now_and_then():
            starts.append(round(pool.clock.monotonic() - base, 6))
            if len(starts) in (1, 2, 4):
                raise ValueError

        worker = pool.new_worker(10, now_and_then, ignore_exception=True, dispose=False).start()
        pool.clock.advance(15)
        assert starts == [0, 0.1, 0.3, 10, 10.1]
        assert [record.attempt for record in worker.history] == [1, 2, 3, 1, 2]
        assert [record.number for record in worker.history] == [1, 1, 1, 2, 2]

    def test_an_actor_that_is_tried_again_ends_with_its_first_success(self, pool):
        worker = pool.new_actor(
            lambda: 1 / 0 if worker.failure_count < 3 else "ok", ignore_exception=True, dispose=False
        ).start()
        pool.clock.advance(100)
        assert worker.last_value == "ok"
        assert worker.failure_count == 3
        assert worker.run_count == 1
        assert worker.state is WorkerState.STOPPED

    def test_system_exit_ends_the_worker(self, pool):
        def leave():
            raise SystemExit(3)

        worker = pool.new_worker(1, leave, dispose=False).start()
        pool.clock.advance(5)
        assert worker.run_count == 1
        assert worker.state is WorkerState.STOPPED
        assert worker.last_error is None
        assert worker.history[0].outcome == "ended"

    @pytest.mark.parametrize("error", [ValueError("in finished"), KeyboardInterrupt(), Hostile()])
    def test_of_finished(self, pool, error):
        told = Log()
        pool.set_logger(told.add)

        def bad():
            raise error

        worker = pool.new_actor(lambda: None, finished=bad, name="w", dispose=False).start()
        pool.clock.advance(0)
        assert len(told) == 1
        assert told[0].startswith("finished of worker 'w' failed: ")
        worker.start()
        pool.clock.advance(0)
        assert len(told) == 2

    def test_system_exit_of_finished_is_its_end(self, pool):
        def leave():
            raise SystemExit

        worker = pool.new_actor(lambda: None, finished=leave, dispose=False).start()
        pool.clock.advance(0)
        worker.start()
        pool.clock.advance(0)
        assert worker.finished_error is None
        assert worker.state is WorkerState.STOPPED

    def test_of_a_logger(self, pool):
        def bad(text):
            raise SystemExit(text)

        pool.set_logger(bad)
        worker = pool.new_worker(1, lambda: 1 / 0).start()
        pool.clock.advance(3)
        assert worker.run_count == 4

    def test_of_a_subscriber(self, pool):
        told, heard = Log(), Log()
        pool.set_logger(told.add)

        def bad(event):
            heard.add(event.kind)
            raise Hostile

        pool.subscribe(bad)
        pool.new_actor(lambda: None, name="w").start()
        pool.clock.advance(0)
        assert heard == [
            EventKind.REGISTERED,
            EventKind.STARTED,
            EventKind.RUN,
            EventKind.STOPPED,
            EventKind.REMOVED,
        ]
        assert told[0].startswith("a subscriber raised ")

    def test_a_hostile_repr_of_a_value_or_data(self, pool):
        class Bad:
            def __repr__(self):
                raise RuntimeError("no repr")

        worker = pool.new_worker(1, Bad, data=Bad(), dispose=False).start()
        pool.clock.advance(1)
        assert worker.run_count == 2
        repr(worker)
        repr(worker.history)
        worker.snapshot()

    def test_the_standard_logger_is_silent_but_can_be_heard(self, pool, caplog):
        with caplog.at_level(logging.ERROR, logger="bgpool_jupyter"):
            pool.new_actor(lambda: 1 / 0).start()
            pool.clock.advance(0)
        assert "ZeroDivisionError" in caplog.text


class Test13FindWorkers:
    def test_one_that_left_and_came_back_stands_where_it_was_made(self, pool):
        first, second = pool.new_worker(1, lambda: None), pool.new_worker(1, lambda: None)
        first.start().stop()
        assert pool.find_workers() == [second]
        first.start()
        assert pool.find_workers() == [first, second]
        assert [each.id for each in pool.snapshot()] == [first.id, second.id]

    def test_globs(self, pool):
        for name in ("poll-a", "poll-b", "save", "Poll-c", "p*"):
            pool.new_worker(1, lambda: None, name=name)

        def names(glob):
            return [worker.name for worker in pool.find_workers(glob)]

        assert names("poll-*") == ["poll-a", "poll-b"]
        assert names("poll-?") == ["poll-a", "poll-b"]
        assert names("[pP]oll-[!a]") == ["poll-b", "Poll-c"]
        assert names("p[*]") == ["p*"]
        assert names("save") == ["save"]
        assert names("") == []
        assert len(names("*")) == 5
        assert len(pool.find_workers()) == 5

    def test_running_false_means_not_running(self, pool):
        waiting = pool.new_worker(1, lambda: None).start()
        paused = pool.new_worker(1, lambda: None).start().pause()
        fresh = pool.new_worker(1, lambda: None)
        stopped = pool.new_worker(1, lambda: None, dispose=False).start().stop()
        assert pool.find_workers(running=True) == [waiting, paused]
        assert pool.find_workers(running=False) == [fresh, stopped]
        assert pool.find_workers("*", None) == [waiting, paused, fresh, stopped]

    def test_a_worker_without_a_name_has_one(self, pool):
        worker, actor = pool.new_worker(1, lambda: None), pool.new_actor(lambda: None)
        assert worker.name == f"worker-{worker.id}"
        assert actor.name == f"actor-{actor.id}"

    def test_a_hostile_pattern_is_quick(self, pool):
        pool.new_worker(1, lambda: None, name="a" * 200)
        assert pool.find_workers("*a" * 60 + "b") == []

    def test_bulk_commands_return_what_they_changed(self, pool):
        a = pool.new_worker(1, lambda: None, name="a", dispose=False).start()
        b = pool.new_worker(1, lambda: None, name="b", dispose=False)
        assert pool.stop_workers() == [a]
        assert pool.start_workers() == [a, b]
        assert pool.pause_workers("a") == [a]
        assert pool.pause_workers() == [b]
        assert pool.work_now("b") == [b]
        assert pool.unpause_workers() == [a, b]
        assert pool.remove_workers("*") == [a, b]
        assert pool.find_workers() == []


class Test15BadArguments:
    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            (
                {"interval": 0},
                ArgumentValueError,
                "interval must be greater than 0 and at most 3200000000 seconds, not 0;",
            ),
            (
                {"interval": -1.5},
                ArgumentValueError,
                "interval must be greater than 0 .*, not -1.5; give seconds greater",
            ),
            ({"interval": math.nan}, ArgumentValueError, "interval must be a finite number, not nan; give seconds"),
            ({"interval": math.inf}, ArgumentValueError, "interval must be a finite number, not inf; give seconds"),
            ({"interval": 10**400}, ArgumentValueError, "interval must be a finite number, not 10"),
            ({"interval": 1e15}, ArgumentValueError, "interval must be greater than 0 and at most"),
            ({"interval": True}, ArgumentTypeError, "interval must be a number, not bool True; give seconds"),
            ({"interval": "5"}, ArgumentTypeError, "interval must be a number, not str '5'; give seconds"),
            ({"interval": None}, ArgumentTypeError, "interval must be a number, not NoneType None; give seconds"),
            ({"callback": 5}, ArgumentTypeError, "callback must be callable, not int 5; give the function itself"),
            ({"callback": None}, ArgumentTypeError, "callback must be callable, not NoneType None; give the function"),
            ({"name": 5}, ArgumentTypeError, "name must be a str, not int 5; give a text, or None to have one made"),
            ({"name": ""}, ArgumentValueError, "name must not be empty; give a text, or None to have one made"),
            ({"max_count": 0}, ArgumentValueError, "max_count must be at least 1, not 0; give a whole number from 1"),
            ({"max_count": 2.0}, ArgumentTypeError, "max_count must be a whole number, not float 2.0; give a whole"),
            ({"max_count": True}, ArgumentTypeError, "max_count must be a whole number, not bool True; give a whole"),
            ({"dispose": "no"}, ArgumentTypeError, "dispose must be True or False, not str 'no'; give dispose=True"),
            (
                {"run_on_time": 1},
                ArgumentTypeError,
                "run_on_time must be True or False, not int 1; give run_on_time=True",
            ),
            ({"finished": 3}, ArgumentTypeError, "finished must be callable, not int 3; give the function itself"),
        ],
    )
    def test_new_worker_refuses_and_registers_nothing(self, pool, arguments, kind, message):
        with pytest.raises(kind, match="^" + message):
            pool.new_worker(**{"interval": 1, "callback": print, **arguments})
        assert pool.find_workers() == []
        assert issubclass(kind, TypeError | ValueError)

    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            ({"delay": -1}, ArgumentValueError, "delay must be 0 or greater .*, not -1; give seconds from 0 on"),
            ({"delay": math.nan}, ArgumentValueError, "delay must be a finite number, not nan"),
            ({"delay": False}, ArgumentTypeError, "delay must be a number, not bool False"),
            ({"at": "14:30"}, ArgumentTypeError, "at must be a number, not str '14:30'; give UTC epoch seconds"),
            ({"at": True}, ArgumentTypeError, "at must be a number, not bool True"),
            ({"at": math.inf}, ArgumentValueError, "at must be a finite number, not inf"),
            ({"at": 1.8e12}, ArgumentValueError, "at must be UTC epoch seconds, not 1800000000000.0"),
            ({"callback": "f"}, ArgumentTypeError, "callback must be callable, not str 'f'"),
        ],
    )
    def test_new_actor_refuses_and_registers_nothing(self, pool, arguments, kind, message):
        with pytest.raises(kind, match="^" + message):
            pool.new_actor(**{"callback": print, **arguments})
        assert pool.find_workers() == []

    def test_a_hostile_repr_does_not_hide_the_error(self, pool):
        class Bad:
            def __repr__(self):
                raise RuntimeError

        with pytest.raises(ArgumentTypeError, match="^interval must be a number, not Bad "):
            pool.new_worker(Bad(), print)

    @pytest.mark.parametrize(
        ("attribute", "value"),
        [("interval", 0), ("maxCount", 0), ("name", ""), ("dispose", 1), ("callback", 1), ("finished", 1)],
    )
    def test_a_setting_refuses_and_keeps_what_it_had(self, pool, attribute, value):
        worker = pool.new_worker(1, print)
        before = getattr(worker, attribute)
        with pytest.raises((ArgumentTypeError, ArgumentValueError)):
            setattr(worker, attribute, value)
        assert getattr(worker, attribute) == before

    def test_other_calls(self, pool):
        with pytest.raises(ArgumentTypeError, match="^task must be callable, not int 5"):
            pool.run_job(5)
        with pytest.raises(ArgumentTypeError, match="^name must be a str with the wildcards"):
            pool.find_workers(5)
        with pytest.raises(ArgumentTypeError, match="^name must be a str with the wildcards"):
            pool.remove_workers(None)
        with pytest.raises(ArgumentTypeError, match="^running must be True or False"):
            pool.find_workers(running="yes")
        with pytest.raises(ArgumentTypeError, match="^logger must be callable"):
            pool.set_logger(5)
        with pytest.raises(ArgumentTypeError, match="^callback must be callable"):
            pool.subscribe(None)
        with pytest.raises(ArgumentValueError, match="^timeout must be 0 or greater"):
            pool.close(-1)
        with pytest.raises(ArgumentValueError, match="^max_threads must be at least 2, not 1"):
            WorkerPool(max_threads=1)
        assert pool.jobs() == []

    def test_numbers_of_other_libraries_are_numbers(self, pool):
        from decimal import Decimal
        from fractions import Fraction

        assert pool.new_worker(Decimal("0.5"), print).interval == 0.5
        assert pool.new_worker(Fraction(1, 4), print).interval == 0.25


class Test17CloseInVirtualTime:
    def test_a_closed_pool_refuses_with_a_clear_error(self):
        pool = make_pool(name="mine")
        worker = pool.new_worker(1, print)
        pool.close()
        pool.close()
        refusal = r"^the pool 'mine' was closed; make a new WorkerPool\(\)$"
        for call in (
            lambda: pool.new_worker(1, print),
            lambda: pool.new_actor(print),
            lambda: pool.run_job(print),
            lambda: pool.subscribe(print),
            worker.start,
            worker.restart,
        ):
            with pytest.raises(PoolClosed, match=refusal):
                call()

    def test_close_stops_and_calls_finished(self):
        pool = make_pool()
        ends = Log()
        pool.new_worker(1, lambda: None, finished=lambda: ends.add(1)).start()
        pool.clock.advance(0)
        pool.close()
        assert ends == [1]
        assert pool.find_workers() == []
