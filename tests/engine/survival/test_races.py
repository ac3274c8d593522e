"""Eight threads at the shortest switch interval: what holds for one thread holds for all of them."""

from __future__ import annotations

import contextlib
import random

from bgpool_jupyter.engine import InvalidTransition, PoolError

from .calls import CALLS, call
from .harness import PATIENCE, Crowd, all_run_again, in_turns, short_or_long, switch_interval

THREADS = 8
SHORTEST = 1e-6


class Subject:
    """A worker that notices when two of its runs overlap, and counts calls and ends."""

    def __init__(self, pool, interval, **settings):
        self.inside = []
        self.overlaps = []
        self.calls = 0
        self.ends = []
        self.worker = pool.new_worker(interval, self.callback, finished=self.finished, **settings)

    def callback(self):
        self.inside.append(1)
        self.calls += 1
        if len(self.inside) > 1:
            self.overlaps.append(len(self.inside))
        self.inside.pop()

    def finished(self):
        self.ends.append(1)


@short_or_long("turns", 150, 20_000)
def test_after_stop_returned_no_run_begins(live, turns, eventually):
    """Each thread starts and stops a worker of its own, which the pool would run all the time."""
    subjects = [Subject(live, 0.0001, dispose=False) for _ in range(THREADS)]
    late = []

    def act(n, turn):
        subject = subjects[n]
        worker = subject.worker
        worker.start()
        if turn % 3 == 0:
            worker.work_now()
        if turn % 5 == 0:
            eventually(lambda: worker.run_count)
        worker.stop()
        count, calls, executing = worker.run_count, subject.calls, worker.executing
        if turn % 4 == 0:
            live.count_jobs()  # let some time go by
        # A run that was in flight may only now call the callback; a new one must not begin.
        if worker.run_count != count or subject.calls > calls + executing:
            late.append((n, turn))

    with switch_interval(SHORTEST):
        in_turns(THREADS, turns, act)
    assert late == []
    assert sum(subject.calls for subject in subjects) > turns
    live.close(PATIENCE)
    assert [subject.overlaps for subject in subjects] == [[]] * THREADS
    assert [len(subject.ends) for subject in subjects] == [turns] * THREADS


@short_or_long("turns", 150, 10_000)
def test_one_worker_is_steered_by_all(live, turns):
    """No overlap, `finished` once for each start, and at no moment more than one live entry in the queue."""
    subject = Subject(live, 0.0001, dispose=False)
    worker = subject.worker
    starts = [0] * THREADS

    def act(n, turn):
        worker.start()
        starts[n] += 1
        with contextlib.suppress(InvalidTransition):  # another thread stopped it in between
            (worker.stop, worker.pause, worker.unpause, worker.work_now)[turn % 4]()
        live.check()

    with switch_interval(SHORTEST):
        in_turns(THREADS, turns, act)
    worker.stop()
    live.close(PATIENCE)
    assert subject.overlaps == []
    assert len(subject.ends) == sum(starts) == THREADS * turns


@short_or_long("turns", 40, 3000)
def test_every_call_from_every_thread(live, turns):
    live.set_logger(lambda text: None)
    subjects = [Subject(live, interval, name=f"w{n}", dispose=n % 2 == 0) for n, interval in enumerate([1e-4, 1, 1e-3])]
    names = list(CALLS)
    dice = [random.Random(n) for n in range(THREADS)]

    def act(n, turn):
        call(dice[n].choice(names), live, dice[n].choice(subjects).worker)
        live.check()

    with switch_interval(SHORTEST):
        in_turns(THREADS, turns, act)
    live.remove_workers("passing")
    live.remove_workers("every")
    workers = [subject.worker for subject in subjects]
    all_run_again(live, workers)
    assert [subject.overlaps for subject in subjects] == [[]] * 3


@short_or_long("jobs", 2000, 1_000_000)
def test_no_job_is_lost_while_threads_are_taken_away(live, jobs, eventually):
    ran = []
    with switch_interval(SHORTEST), Crowd(2, lambda n: live._executor.kill(0)):
        in_turns(4, jobs // 4, lambda n, turn: live.run_job(lambda: ran.append((n, turn))))
    assert eventually(lambda: len(ran) == jobs // 4 * 4)
    live.close(PATIENCE)
    assert len(ran) == len(set(ran)) == jobs // 4 * 4


@short_or_long("turns", 200, 20_000)
def test_results_are_handed_to_all_who_wait(live, turns):
    """A waiter that came before the end is woken by it, one that came after finds it."""

    def act(n, turn):
        job = live.run_job(lambda: turn)
        actor = live.new_actor(lambda: turn).start()
        assert job.result(PATIENCE) == turn
        with contextlib.suppress(PoolError):
            assert actor.result(PATIENCE) == turn

    with switch_interval(SHORTEST):
        in_turns(THREADS, turns // THREADS, act)


@short_or_long("turns", 2000, 50_000)
def test_feeds_and_subscriptions_that_come_and_go_together(live, turns):
    """Each is told for as long as it is open, whatever others do meanwhile."""
    hub = live._hub
    lost = []

    def act(n, turn):
        feed = live.watch()
        subscription = live.subscribe(lambda event: None)
        if feed not in hub.feeds or subscription not in hub.subscriptions:
            lost.append((n, turn))
        feed.close()
        if feed in hub.feeds:
            lost.append((n, turn))
        subscription.close()

    with switch_interval(SHORTEST):
        in_turns(4, turns, act)
    assert lost == []
    assert len(hub.feeds) == 0
