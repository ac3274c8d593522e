"""What a work is, how large it is, and what one repetition of all works yields."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .contenders import available

__all__ = ["FULL", "QUICK", "TINY", "Metric", "Results", "Scale", "Work", "hide_from_collector", "run"]


class Scale(NamedTuple):
    """Sizes of the works."""

    #: Least repetitions; each yields one paired ratio.
    reps: int
    #: Seconds that lateness is looked at.
    window: float
    #: Most workers of a lateness work.
    workers: int
    #: One-shots of a burst.
    burst: int
    #: Seconds of arming and cancelling at each count of pending one-shots.
    pairs: float
    #: The largest count of pending one-shots.
    pending: int
    #: Jobs of a flood.
    jobs: int
    #: Single jobs whose latency is taken.
    latencies: int
    #: Blocked jobs or workers.
    blockers: int
    #: Idle workers; names to look through.
    idle: int
    #: Runs whose cost is taken with and without history.
    runs: int


FULL = Scale(5, 1.2, 1000, 10_000, 0.15, 100_000, 10_000, 300, 64, 10_000, 20_000)
QUICK = Scale(1, 0.6, 1000, 2_000, 0.05, 10_000, 2_000, 60, 64, 1_000, 3_000)
TINY = Scale(1, 0.12, 5, 20, 0.002, 50, 20, 5, 4, 20, 20)


class Metric(NamedTuple):
    """A number that a work yields."""

    name: str
    unit: str
    #: More is better, as for jobs a second.
    more: bool = False


class Work(NamedTuple):
    """Something that every contender is given to do."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    #: Who does it, the engine first.
    contenders: tuple[str, ...]
    #: Does it once with a fresh contender of that name and returns its metrics.
    measure: Callable[[str, Scale], Mapping[str, float]]


#: Work → metric → contender → one number a repetition, NaN where there was none.
Results = dict[str, dict[str, dict[str, list[float]]]]


def run(works: Sequence[Work], scale: Scale, reps: int, tell: Callable[[str], object]) -> Results:
    """Do every work `reps` times with every contender, in an order that turns with each repetition."""
    results: Results = {}
    for rep in range(reps):
        for work in works:
            names = [name for name in work.contenders if available(name)]
            turn = rep % len(names)
            for name in names[turn:] + names[:turn]:
                tell(f"{rep + 1}/{reps} {work.name}: {name}")
                _note(results, work, name, _measure(work, name, scale))
    return results


def _measure(work: Work, name: str, scale: Scale) -> Mapping[str, float]:
    hide_from_collector()
    try:
        return work.measure(name, scale)
    finally:
        gc.unfreeze()


def hide_from_collector() -> None:
    """Let the garbage collector forget what lives already: its long pauses would hit one or the other at random."""
    gc.collect()
    gc.freeze()


def _note(results: Results, work: Work, name: str, figures: Mapping[str, float]) -> None:
    by_metric = results.setdefault(work.name, {})
    for metric in work.metrics:
        values = by_metric.setdefault(metric.name, {}).setdefault(name, [])
        values.append(figures.get(metric.name, math.nan))
