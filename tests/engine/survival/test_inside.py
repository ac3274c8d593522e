"""Each call of a pool from within the lines of each other one, as a ``__del__`` makes it, against the same in turn."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import pytest

from bgpool_jupyter import engine
from bgpool_jupyter.engine import PoolError
from bgpool_jupyter.testing import make_pool

from .harness import short_or_long

HERE = str(Path(engine.__file__).parent)

#: Each is given the pool and its own four workers: waiting, paused, new, stopped.
CALLS = {
    "start": lambda pool, mine: mine[2].start(),
    "start again": lambda pool, mine: mine[3].start(),
    "restart": lambda pool, mine: mine[0].restart(3),
    "stop": lambda pool, mine: mine[0].stop(),
    "pause": lambda pool, mine: mine[0].pause(),
    "pause refused": lambda pool, mine: mine[2].pause(),
    "unpause": lambda pool, mine: mine[1].unpause(),
    "unpause at once": lambda pool, mine: mine[1].unpause(immediately=True),
    "work_now": lambda pool, mine: mine[0].work_now(),
    "work_now refused": lambda pool, mine: mine[3].work_now(),
    "reschedule": lambda pool, mine: pool.reschedule(mine[0], pool.clock.time() + 3),
    "remove": lambda pool, mine: pool.remove(mine[0]),
    "new_worker": lambda pool, mine: pool.new_worker(5, print, name="n", start_with_delay=True).start(),
    "new_actor": lambda pool, mine: pool.new_actor(lambda: None, name="a").start(),
    "every": lambda pool, mine: pool.every(7, name="e", start_with_delay=True)(lambda: None),
    "work_now of many": lambda pool, mine: pool.work_now(mine[0].name[0] + "*"),
    "stop_workers": lambda pool, mine: pool.stop_workers(mine[0].name[0] + "*"),
    "remove_workers": lambda pool, mine: pool.remove_workers(mine[0].name[0] + "*"),
    "suspend": lambda pool, mine: pool.suspend(),
    "resume": lambda pool, mine: pool.resume(),
    "suspend, resume": lambda pool, mine: (pool.suspend(), pool.resume()),
    "resume, suspend": lambda pool, mine: (pool.resume(), pool.suspend()),
    "run_job": lambda pool, mine: pool.run_job(lambda: None),
    "kill_jobs": lambda pool, mine: pool.kill_jobs(),
    "run_due": lambda pool, mine: pool.run_due(),
    "advance": lambda pool, mine: pool.clock.advance(0),
    "close": lambda pool, mine: pool.close(),
    "check": lambda pool, mine: pool.check(),
    "result": lambda pool, mine: mine[0].result(0),
    "snapshot": lambda pool, mine: pool.snapshot(),
    "subscribe": lambda pool, mine: pool.subscribe(lambda event: None),
}


class Scene:
    """A pool with four workers for the outer call and four for the inner one, so that the order makes no difference."""

    def __init__(self):
        self.pool = make_pool()
        self.pool.set_logger(lambda text: None)
        self.ran, self.ends = [], []
        self.outer, self.inner = ([self.make(f"{side}{n}") for n in range(4)] for side in "oi")
        for waiting, paused, _, stopped in (self.outer, self.inner):
            waiting.start()
            paused.start().pause()
            stopped.start().stop()
        self.pool.clock.advance(1)
        self.pool.subscribe(lambda event: None)

    def make(self, name):
        return self.pool.new_worker(
            10,
            lambda: self.ran.append(name),
            name=name,
            dispose=False,
            finished=lambda: self.ends.append(name),
        )

    def do(self, name, mine):
        try:
            CALLS[name](self.pool, mine)
        except PoolError:  # a refusal is an answer too
            return

    def outcome(self):
        """Return what came of it, now and after some time."""
        self.pool.clock.advance(0)
        self.pool.check()
        known = self.pool.find_workers()
        words = [(w.name, w.status, w.run_count, w in known, w.next_run_time) for w in self.outer + self.inner]
        others = sorted((w.name, w.status) for w in known if w not in self.outer + self.inner)
        was_suspended = self.pool.suspended
        self.pool.resume()
        self.pool.clock.advance(21)
        self.pool.check()
        return words, others, was_suspended, self.pool.closed, sorted(self.ran), sorted(self.ends)


def in_turn(names, sides):
    scene = Scene()
    for name, side in zip(names, sides, strict=True):
        scene.do(name, getattr(scene, side))
    return scene.outcome()


def inside(outer, inner, line):
    """Make one call from within a line of the other's sections; None if there are not so many lines."""
    scene, lines = Scene(), itertools.count()
    left = [line]

    def trace(frame, kind, _what):
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        if kind == "line" and left and scene.pool._lock._is_owned() and next(lines) == left[0]:
            left.clear()
            sys.settrace(None)
            scene.do(inner, scene.inner)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        scene.do(outer, scene.outer)
    finally:
        sys.settrace(before)
    assert left or not scene.pool._deferred, "what was put off waits for another call"
    return None if left else scene.outcome()


@pytest.mark.parametrize("inner", CALLS)
@short_or_long("stride", 151, 1)
def test_a_call_from_within_any_line_of_another(inner, stride):
    dice = random.Random(inner)
    for outer in CALLS:
        if "close" in (inner, outer) and {inner, outer} & {"new_worker", "new_actor", "every"}:
            continue  # to make a worker and to start it are two calls, and the pool may be closed between them
        allowed = (
            in_turn((outer, inner), ("outer", "inner")),
            in_turn((inner, outer), ("inner", "outer")),
        )
        for line in itertools.count(dice.randrange(stride), stride):
            outcome = inside(outer, inner, line)
            if outcome is None:
                break
            assert outcome in allowed, (outer, line)
