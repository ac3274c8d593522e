"""Subscribers and change feeds."""

from __future__ import annotations

import threading

import pytest

from bgpool_jupyter.engine import EventKind
from bgpool_jupyter.engine.events import BACKLOG

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


class TestFeed:
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
