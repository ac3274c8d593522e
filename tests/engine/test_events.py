"""Subscribers and change feeds."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import time
import weakref
from collections import deque

import pytest

from bgpool_jupyter.engine import ArgumentTypeError, ArgumentValueError, EventKind, PoolEvent, RunOutput, events
from bgpool_jupyter.engine.events import BACKLOG, REMEMBERED, Hub, Subscription
from bgpool_jupyter.testing import make_pool

PATIENCE = 20.0


def test_events_come_in_order_to_every_subscriber(pool):
    heard = [[], []]
    for log in heard:
        pool.subscribe(log.append)
    worker = pool.new_worker(1, lambda: 1 / 0 if worker.run_count == 2 else None, name="w", max_count=2).start()
    pool.clock.advance(0)
    worker.pause()
    worker.unpause()
    pool.clock.advance(5)
    kinds = [event.kind.value for event in heard[0]]
    assert kinds == ["registered", "started", "run", "paused", "unpaused", "failed", "stopped", "removed"]
    assert heard[0] == heard[1]
    failed = heard[0][5]
    assert (failed.name, failed.worker_id, failed.text) == ("w", worker.id, "ZeroDivisionError: division by zero")


def test_a_closed_subscription_hears_nothing(pool):
    heard = []
    subscription = pool.subscribe(heard.append)
    subscription.close()
    pool.new_actor(lambda: None).start()
    pool.clock.advance(1)
    assert heard == []


def test_a_slow_subscriber_delays_nobody_and_drops_its_oldest(live):
    entered, release = threading.Event(), threading.Event()
    subscription = live.subscribe(lambda _: (entered.set(), release.wait(PATIENCE)))
    live.new_worker(1, lambda: None)
    assert entered.wait(PATIENCE)
    for _ in range(BACKLOG + 10):
        live.new_worker(1, lambda: None)
    assert subscription.dropped == 10
    assert live.run_job(lambda: 1).result(PATIENCE) == 1
    subscription.close()
    release.set()


def test_a_subscriber_may_call_the_pool(live):
    stopped = threading.Event()

    def on_event(event):
        if event.kind is EventKind.RUN:
            live.stop_workers()
        elif event.kind is EventKind.STOPPED:
            stopped.set()

    live.subscribe(on_event)
    live.new_worker(0.001, lambda: None).start()
    assert stopped.wait(PATIENCE)


def test_a_removal_is_told_after_the_end(pool):
    heard = []
    pool.subscribe(lambda event: heard.append(event.kind.value))
    pool.new_worker(1, lambda: None, name="w").start()
    pool.remove_workers("w")
    pool.clock.advance(0)
    assert heard == ["registered", "started", "stopped", "removed"]


def kinds(events):
    return [event.kind.value for event in events]


class TestMemory:
    """pool.events(): what happened, also where nobody has subscribed."""

    def test_is_what_a_subscriber_hears(self, pool):
        heard = []
        pool.subscribe(heard.append)
        worker = pool.new_worker(1, lambda: 1 / (worker.run_count % 2), name="w", max_failures=2, dispose=False)
        worker.start()
        pool.clock.advance(5)
        worker.pause()
        worker.stop()
        pool.remove(worker)
        pool.clock.advance(0)
        assert pool.events() == heard
        assert {"run", "failed", "paused", "removed"} < set(kinds(heard))

    def test_is_there_for_those_who_did_not_subscribe(self, pool):
        pool.new_worker(60, lambda: 1 / 0, name="flaky", max_count=1).start()
        pool.new_actor(lambda: None, name="other").start()
        pool.clock.advance(0)
        events = pool.events("fl*")
        assert kinds(events) == ["registered", "started", "failed", "stopped", "removed"]
        assert (events[2].name, events[2].text) == ("flaky", "ZeroDivisionError: division by zero")
        assert kinds(pool.events("flaky", last=2)) == ["stopped", "removed"]
        assert kinds(pool.events(last=3)) == ["run", "stopped", "removed"]
        assert pool.events("nobody") == []

    def test_an_instant_is_that_of_the_event(self, pool):
        begin = pool.clock.time()
        pool.new_worker(10, lambda: None, max_count=2, start_with_delay=True).start()
        pool.clock.advance(60)
        assert [event.time - begin for event in pool.events()] == [0, 0, 10, 20, 20, 20]

    def test_many_runs_push_out_nothing_else(self, pool):
        pool.new_worker(1, lambda: None, name="busy").start()
        pool.clock.advance(2 * REMEMBERED)
        events = pool.events()
        assert kinds(events[:2]) == ["registered", "started"]
        assert len(events) == 2 + REMEMBERED
        times = [event.time for event in events]
        assert times == sorted(times)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"last": 0}, ArgumentValueError, "^last must be "),
            ({"last": "2"}, ArgumentTypeError, "^last must be "),
            ({"name": 3}, ArgumentTypeError, "^name must be "),
        ],
    )
    def test_bad_arguments_are_refused(self, pool, arguments, error, message):
        with pytest.raises(error, match=message):
            pool.events(**arguments)

    def test_threads_may_look_while_others_run(self, live):
        for _ in range(4):
            live.new_worker(0.0001, lambda: None).start()
        for _ in range(200):
            events = live.events()
        assert len(events) <= len(EventKind) * REMEMBERED


class Prints:
    """Leads nothing away, and keeps where the output of each call would go."""

    def __init__(self):
        self.outputs = []

    def enter(self, output):
        self.outputs.append(output)

    def exit(self, token):
        self.outputs[-1].write("stdout", "printed\n")

    def label(self, filename):
        return None


class TestOnEvent:
    """The function that hears what happens to one worker."""

    def test_hears_all_of_its_worker_and_of_no_other(self, pool):
        heard = []
        pool.new_worker(1, lambda: None).start()
        worker = pool.new_worker(1, lambda: 1 / 0, name="w", max_count=1, on_event=heard.append)
        actor = pool.new_actor(lambda: None, on_event=heard.append).start()
        worker.start()
        pool.clock.advance(3)
        own = [event for event in heard if event.worker_id == worker.id]
        assert kinds(own) == ["registered", "started", "failed", "stopped", "removed"]
        assert {event.worker_id for event in heard} == {worker.id, actor.id}

    def test_it_ends_with_its_worker(self, pool):
        heard = []
        gone = weakref.ref(pool.new_worker(1, lambda: None, on_event=heard.append, max_count=1).start())
        pool.clock.advance(0)
        gc.collect()
        assert gone() is None
        assert kinds(heard)[-1] == "removed"

    def test_a_run_in_flight_is_told_after_the_removal(self, pool):
        heard = []
        pool.new_worker(1, lambda _worker: pool.remove(_worker), on_event=heard.append).start()
        pool.clock.advance(0)
        assert kinds(heard) == ["registered", "started", "stopped", "removed", "run"]

    def test_another_function_takes_its_place(self, pool):
        first, second = [], []
        worker = pool.new_worker(1, lambda: None, on_event=first.append)
        pool.clock.advance(0)
        worker.on_event = second.append
        assert worker.on_event == second.append
        worker.start()
        pool.clock.advance(0)
        worker.on_event = None
        assert worker.on_event is None
        worker.stop()
        pool.clock.advance(0)
        assert (kinds(first), kinds(second)) == (["registered"], ["started", "run"])

    def test_a_slow_one_holds_up_nobody(self, live):
        entered, release = threading.Event(), threading.Event()
        worker = live.new_worker(0.001, lambda: None, on_event=lambda _: (entered.set(), release.wait(PATIENCE)))
        worker.start()
        assert entered.wait(PATIENCE)
        other = live.new_worker(0.001, lambda: None, max_count=20, dispose=False).start()
        reached = threading.Event()
        live.subscribe(lambda event: event.worker_id == other.id and event.kind is EventKind.STOPPED and reached.set())
        assert reached.wait(PATIENCE)
        assert worker.run_count
        release.set()

    def test_one_that_raises_goes_on_to_hear_and_keeps_the_traceback(self, pool):
        logged = []
        pool.set_logger(logged.append)
        worker = pool.new_worker(1, lambda: None, name="w", on_event=lambda event: 1 / 0).start()
        pool.clock.advance(1)
        assert (worker.status, worker.run_count, worker.failure_count) == ("waiting", 2, 0)
        assert worker.event_output.text().count("ZeroDivisionError") == 4
        assert worker.event_output.text().startswith("on_event failed on registered:\nTraceback")
        assert logged[0].startswith("on_event of worker 'w' failed on registered: ZeroDivisionError")

    def test_one_that_exits_is_told_of_as_of_any_error(self, pool):
        logged = []
        pool.set_logger(logged.append)

        def leave(event):
            raise SystemExit(3)

        worker = pool.new_worker(1, lambda: None, name="w", on_event=leave)
        pool.clock.advance(0)
        told = [text.split("\n")[0] for text in logged]
        assert told == ["on_event of worker 'w' failed on registered: SystemExit: 3"]
        assert worker.event_output is not None
        assert "in leave\n" in worker.event_output.text()

    def test_what_it_prints_is_kept_apart_from_the_runs(self, pool):
        pool.capture = capture = Prints()
        worker = pool.new_worker(1, lambda: None, on_event=lambda event: None)
        assert worker.event_output is None
        pool.clock.advance(0)
        assert [worker.event_output] == capture.outputs
        assert isinstance(worker.event_output, RunOutput)
        assert worker.event_output.text() == "printed\n"

    def test_a_coroutine_function_is_awaited(self, pool):
        heard = []

        async def hear(event):
            heard.append(event)

        pool.new_worker(1, lambda: None, on_event=hear)
        pool.clock.advance(0)
        assert kinds(heard) == ["registered"]

    def test_it_hears_the_end_of_the_pool_and_nothing_after(self, live):
        heard = []
        begun, release = threading.Event(), threading.Event()

        def block():
            begun.set()
            release.wait(PATIENCE)

        worker = live.new_worker(1, block, dispose=False, on_event=heard.append).start()
        assert begun.wait(PATIENCE)
        live.close(0.05)
        release.set()
        deadline = time.monotonic() + PATIENCE
        while not worker.history:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert "run" not in kinds(heard)
        assert live.events()[-1].kind is EventKind.RUN, "it is remembered"

    @pytest.mark.parametrize("make", ["new_worker", "new_actor"])
    def test_what_cannot_be_called_is_refused(self, pool, make):
        arguments = (1, print) if make == "new_worker" else (print,)
        with pytest.raises(ArgumentTypeError, match="^on_event must be "):
            getattr(pool, make)(*arguments, on_event="print")
        worker = getattr(pool, make)(*arguments, on_event=print)
        with pytest.raises(ArgumentTypeError, match="^on_event must be "):
            worker.on_event = 3
        assert worker.on_event is print


class TestFeed:
    @pytest.mark.parametrize("call", ["suspend", "resume"])
    def test_a_suspension_and_its_end_wake_who_waits(self, pool, call):
        if call == "resume":
            pool.suspend()
        feed, woken = pool.watch(), threading.Event()
        thread = threading.Thread(target=lambda: (feed.wait(), woken.set()), daemon=True)
        thread.start()
        getattr(pool, call)()
        assert woken.wait(PATIENCE)
        thread.join(PATIENCE)

    def test_tells_which_workers_changed_or_left(self, pool):
        feed = pool.watch()
        assert not feed.wait(0)
        a = pool.new_worker(1, lambda: None, dispose=False)
        b = pool.new_worker(1, lambda: None)
        assert feed.wait(0)
        assert feed.take() == {a.id, b.id}
        assert feed.take() == set()
        a.start()
        assert feed.take() == {a.id}
        pool.clock.advance(0)
        assert feed.take() == {a.id}
        a.work_now()
        assert feed.take() == {a.id}
        a.stop()
        assert feed.take() == {a.id}
        b.interval = 2
        assert feed.take() == {b.id}
        pool.remove(a)
        assert feed.take() == {a.id}
        assert pool.snapshot([a.id, b.id]) == [b.snapshot()]

    def test_a_wait_ends_with_a_change(self, live):
        feed = live.watch()
        woken = []
        thread = threading.Thread(target=lambda: woken.append(feed.wait(PATIENCE)))
        thread.start()
        live.new_worker(1, lambda: None)
        thread.join(PATIENCE)
        assert woken == [True]

    def test_a_wait_ends_with_the_pool(self, live):
        feed = live.watch()
        thread = threading.Thread(target=feed.wait)
        thread.start()
        live.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert feed.closed
        assert live.watch().closed

    def test_no_change_is_lost_between_threads(self, live):
        feed = live.watch()
        seen, made = set(), set()
        done = threading.Event()

        def consume():
            while not (done.is_set() and not feed.wait(0)):
                feed.wait(0.01)
                seen.update(feed.take())

        consumer = threading.Thread(target=consume)
        consumer.start()
        for _ in range(5000):
            made.add(live.new_worker(1, lambda: None).id)
        done.set()
        consumer.join(PATIENCE)
        assert seen == made

    @pytest.mark.parametrize("timeout", [-1, "1"])
    def test_a_bad_timeout_is_refused(self, pool, timeout):
        with pytest.raises((TypeError, ValueError), match="^timeout must be "):
            pool.watch().wait(timeout)


class Interleaved:
    """Hands over one event, and puts another before each of some steps that the interpreter takes for that."""

    def __init__(self, steps):
        self.heard = []
        self.subscription = Subscription(self.heard.append, print)
        self.ready = deque()
        self.left = list(steps)
        self.steps = 0
        #: What put() answered: whether somebody is to be scheduled.
        self.scheduled = []
        self.put()
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 asks for it before settrace(), or tells of no step at all
        sys.settrace(self.trace)
        try:
            self.subscription.execute()
        finally:
            sys.settrace(before)

    def put(self):
        return self.subscription.put(PoolEvent(EventKind.RUN, 1, "w", 0.0, ""), self.ready)

    def trace(self, frame, kind, _what):
        if frame.f_code.co_filename != events.__file__ or frame.f_code is Subscription.put.__code__:
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode":
            while self.left and self.steps == self.left[0]:
                del self.left[0]
                self.scheduled.append(self.put())
            self.steps += 1
        return self.trace


def test_events_that_come_at_the_end_of_the_queue_are_handed_over_by_one():
    """Two of them, between any two steps: either put() has somebody scheduled, or execute() goes on; never both."""
    length = Interleaved([]).steps
    outcomes = set()
    for steps in itertools.combinations_with_replacement(range(length), 2):
        case = Interleaved(steps)
        assert not case.left
        assert sum(case.scheduled) <= 1
        outcomes.add(tuple(case.scheduled))
        if any(case.scheduled):
            # Who was scheduled for it is the only one who hands over from then on.
            assert len(case.heard) <= 1 + case.scheduled.index(True), steps
            case.subscription.execute()
        assert len(case.heard) == 3
        assert case.put(), "nobody hands over now"
        assert not case.put(), "and now somebody is about to"
    assert outcomes == {(False, False), (False, True), (True, False)}


def heard_with_an_interrupt(line):
    """Return what a subscriber hears where an interrupt comes before a line of the telling; None: no such line."""
    pool, heard, lines = make_pool(), [], itertools.count()
    pool.subscribe(lambda event: heard.append(event.kind.value))
    worker = pool.new_worker(10, lambda: None)
    pool.clock.advance(0)
    telling = {Subscription.put.__code__, Hub.tell.__code__, type(pool)._post.__code__}

    def trace(frame, kind, _what):
        if frame.f_code in telling and kind == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        worker.start()
    except KeyboardInterrupt:
        sys.settrace(before)
        worker.stop()
        pool.clock.advance(0)
        return heard
    finally:
        sys.settrace(before)
    return None


def test_who_interrupts_the_telling_leaves_nobody_deaf():
    """The next event has them all handed over, each once and in order."""
    outcomes = list(itertools.takewhile(bool, map(heard_with_an_interrupt, itertools.count())))
    assert len(outcomes) > 10
    told = ["registered", "started", "stopped", "removed"]
    untold = ["registered", "stopped", "removed"]
    assert all(heard in (told, untold) for heard in outcomes)
    assert told in outcomes


def test_a_start_that_another_one_ends_is_told_before_it(pool):
    heard = []
    pool.subscribe(heard.append)
    worker = pool.new_worker(10, lambda: None).start()
    worker.restart()
    pool.clock.advance(0)
    told = ["registered", "started", "stopped", "started", "run"]
    assert [event.kind.value for event in heard] == told
    assert [event.kind.value for event in pool.events()] == told


def test_a_start_that_another_one_ends_is_told_before_it_while_a_run_is_in_flight(pool):
    ends = []

    def callback(_worker):
        if not ends:
            ends.append("restarted")
            _worker.restart()

    pool.new_worker(10, callback, finished=lambda: ends.append("finished")).start()
    pool.clock.advance(1)
    told = ["registered", "started", "stopped", "started", "run", "run"]
    assert [event.kind.value for event in pool.events()] == told
    assert ends == ["restarted", "finished"]
