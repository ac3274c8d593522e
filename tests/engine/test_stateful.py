"""Random commands against a simple model, in virtual time.

The model knows no heap, no locks and no threads: a worker is a handful of numbers, and time moves
from one due instant to the next. Pool and model must agree on every run, every `finished` and every
word after each step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgpool_jupyter.engine import InvalidTransition
from bgpool_jupyter.testing import make_pool

WORKERS = 3
INSIDE = ["nothing", "raise", "false", "exit", "stop", "start", "pause", "work_now", "restart", "sleep"]


@dataclass
class Model:
    """What one worker should do."""

    interval: float
    fixed_rate: bool
    catch_up: bool
    limit: int | None
    state: str = "new"
    first: float = 0.0
    k: int = 0
    due: float = math.inf
    now: bool = False
    counted: int = 0
    epoch: int = 0
    runs: list[float] = field(default_factory=list)
    finished: int = 0
    missed: int = 0
    plan: list[str] = field(default_factory=list)

    def start(self, now: float) -> None:
        if self.state in ("waiting", "paused"):
            self.finished += 1
        self.state, self.first, self.k, self.due = "waiting", now, 0, now
        self.now, self.counted, self.missed = False, 0, 0
        self.epoch += 1

    def stop(self) -> None:
        if self.state in ("waiting", "paused"):
            self.state = "stopped"
            self.finished += 1

    def pause(self) -> bool:
        if self.state not in ("waiting", "paused"):
            return False
        if self.state == "waiting":
            self.now = False
        self.state = "paused"
        return True

    def unpause(self, now: float, *, immediately: bool) -> None:
        if self.state != "paused":
            return
        self.state = "waiting"
        if self.due < now:
            if self.fixed_rate:
                while self.due < now:
                    self.k += 1
                    self.due = self.first + self.k * self.interval
            else:
                self.due = now + self.interval
        self.now = (self.now or immediately) and self.due > now

    def work_now(self, now: float, *, inside: bool = False) -> bool:
        if self.state not in ("waiting", "paused"):
            return False
        # A slot that is due is itself the run at once.
        self.now = inside or self.state == "paused" or self.due > now
        return True

    def next_due(self, now: float) -> float:
        if self.now and self.state in ("waiting", "paused"):
            return now
        return self.due if self.state == "waiting" else math.inf

    def run(self, clock: list[float]) -> None:
        """Run once at ``clock[0]``, which a sleep moves."""
        self.runs.append(clock[0])
        on_demand, self.now = self.now, False
        epoch = self.epoch
        action = self.plan.pop(0) if self.plan else "nothing"
        if action == "sleep":
            clock[0] += 2.5
        elif action == "stop":
            self.stop()
        elif action in ("start", "restart"):
            self.start(clock[0])
        elif action == "pause":
            self.pause()
        elif action == "work_now":
            self.work_now(clock[0], inside=True)
        if self.epoch != epoch or self.state == "stopped":
            return
        self.counted += 1
        if action in ("false", "exit") or self.counted == self.limit:
            self.stop()
            return
        self.advance(clock[0], on_demand=on_demand)

    def advance(self, end: float, *, on_demand: bool) -> None:
        if not self.fixed_rate:
            self.due = end + self.interval
            return
        if not on_demand:
            self.k += 1
            self.due = self.first + self.k * self.interval
        while self.due < end and not self.catch_up:
            self.k += 1
            self.due = self.first + self.k * self.interval
            self.missed += 1


class PoolMachine(RuleBasedStateMachine):
    """Give the same commands to a pool and to the model."""

    @initialize(
        shapes=st.lists(
            st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.booleans(), st.booleans(), st.sampled_from([None, 1, 3])),
            min_size=1,
            max_size=WORKERS,
        )
    )
    def make(self, shapes):
        self.pool = make_pool()
        self.pool.set_logger(lambda text: None)
        self.heard: list[list[float]] = [[] for _ in shapes]
        self.ends = [0 for _ in shapes]
        self.models = [Model(*shape) for shape in shapes]
        self.inside = 0
        self.workers = [
            self.pool.new_worker(
                model.interval,
                self.callback,
                name=f"w{n}",
                run_on_time=model.fixed_rate,
                run_past_events=model.catch_up,
                max_count=model.limit,
                dispose=False,
                finished=self.on_finished,
            )
            for n, model in enumerate(self.models)
        ]
        self.plans: list[list[str]] = [[] for _ in shapes]

    def callback(self, _worker, n):
        assert not self.inside, "two runs at once in virtual time"
        self.inside += 1
        self.heard[n].append(self.pool.clock.monotonic())
        action = self.plans[n].pop(0) if self.plans[n] else "nothing"
        try:
            if action == "raise":
                raise ValueError(action)
            if action == "exit":
                raise SystemExit
            if action == "sleep":
                self.pool.clock.sleep(2.5)
            elif action == "start":
                _worker.start(n=n)
            elif action in ("stop", "pause", "work_now", "restart"):
                getattr(_worker, action)()
        finally:
            self.inside -= 1
        return action != "false"

    def on_finished(self, _worker, n):
        assert not _worker.executing
        self.ends[n] += 1

    number = st.integers(0, WORKERS - 1)

    def pick(self, n):
        return n % len(self.workers)

    @rule(n=number)
    def start(self, n):
        n = self.pick(n)
        self.workers[n].start(n=n)
        self.models[n].start(self.pool.clock.monotonic())

    @rule(n=number)
    def stop(self, n):
        n = self.pick(n)
        self.workers[n].stop()
        self.models[n].stop()

    @rule(n=number)
    def restart(self, n):
        n = self.pick(n)
        if self.models[n].state == "new":
            return
        self.workers[n].restart()
        self.models[n].start(self.pool.clock.monotonic())

    def allowed(self, command, model_says):
        try:
            command()
        except InvalidTransition:
            assert not model_says
        else:
            assert model_says

    @rule(n=number)
    def pause(self, n):
        n = self.pick(n)
        self.allowed(self.workers[n].pause, self.models[n].pause())

    @rule(n=number)
    def work_now(self, n):
        n = self.pick(n)
        self.allowed(self.workers[n].work_now, self.models[n].work_now(self.pool.clock.monotonic()))

    @rule(n=number, immediately=st.booleans())
    def unpause(self, n, immediately):
        n = self.pick(n)
        self.workers[n].unpause(immediately)
        self.models[n].unpause(self.pool.clock.monotonic(), immediately=immediately)

    @rule(n=number, action=st.sampled_from(INSIDE))
    def plan(self, n, action):
        n = self.pick(n)
        if action == "sleep" and len(self.workers) > 1:
            return  # which of two that are due at one instant is made late by the other is not the model's to say
        self.plans[n].append(action)
        self.models[n].plan.append(action)

    @precondition(lambda self: hasattr(self, "pool"))
    @rule(seconds=st.sampled_from([0, 0.25, 0.5, 1, 1.75, 4, 10]))
    def time_passes(self, seconds):
        self.advance(seconds)

    def advance(self, seconds):
        clock = [self.pool.clock.monotonic()]
        end = clock[0] + seconds
        while True:
            soon = min(self.models, key=lambda model: model.next_due(clock[0]))
            due = soon.next_due(clock[0])
            if due > end:
                break
            clock[0] = max(clock[0], due)
            soon.run(clock)
        self.pool.clock.advance(seconds)

    @invariant()
    def agree(self):
        if not hasattr(self, "pool"):
            return
        self.pool.check()
        for n, (worker, model) in enumerate(zip(self.workers, self.models, strict=True)):
            assert worker.state.value == model.state, n
            assert worker.missed_count == model.missed, n
            assert len(self.heard[n]) == len(model.runs), n
            assert self.ends[n] <= model.finished, n

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        self.advance(0)
        assert self.ends == [model.finished for model in self.models]
        self.pool.close()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=2000, stateful_step_count=50, deadline=None)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
class TestPoolMachineLong(PoolMachine.TestCase):  # type: ignore[valid-type, misc]
    """The same with more and longer stories."""

    settings = settings.get_profile("long")
