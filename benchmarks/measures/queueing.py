"""Arming and cancelling a far one-shot while others are pending."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..contenders import CONTENDERS
from ..works import Metric, Scale, Work, hide_from_collector

__all__ = ["LEVELS", "QUEUEING"]

#: Counts of pending one-shots.
LEVELS = (0, 1_000, 100_000)
_CHUNK = 20


def _cost(pairs: Callable[[int], None], seconds: float) -> float:
    """Return the microseconds of one pair, over at least `seconds`."""
    pairs(_CHUNK)
    count, begin = 0, time.monotonic()
    while (spent := time.monotonic() - begin) < seconds or not count:
        pairs(_CHUNK)
        count += _CHUNK
    return spent / count * 1e6


def _measure(name: str, scale: Scale) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    figures = {}
    filled = 0
    try:
        for level in LEVELS:
            wanted = min(level, scale.pending)
            contender.fill(wanted - filled)
            filled = wanted
            hide_from_collector()
            figures[f"at {level:,}"] = _cost(contender.pairs, scale.pairs)
        figures["made anew"] = _cost(contender.fresh_pairs, scale.pairs)
    finally:
        contender.close()
    return figures


QUEUEING = (
    Work(
        "cancel",
        "start + stop of a far one-shot, by count pending",
        (*(Metric(f"at {level:,}", "µs a pair") for level in LEVELS), Metric("made anew", "µs, at 100,000")),
        ("engine", "bare", "APScheduler", "asyncio", "sched"),
        _measure,
    ),
)
