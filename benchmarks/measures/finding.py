"""Finding workers by glob. The floor is fnmatch over a list of names."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping

from bgpool_jupyter.engine import WorkerPool

from ..works import Metric, Scale, Work

__all__ = ["FINDING"]

_PATTERN = "sensor-*7"
#: A name and a pattern on which a matcher that backtracks takes exponential time.
_HOSTILE_NAME = "a" * 60
_HOSTILE = "*a" * 20 + "b"


def _nothing() -> None:
    return


def _find(names: list[str], *, engine: bool) -> Callable[[str], object]:
    if not engine:
        return lambda pattern: [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    pool = WorkerPool()
    for name in names:
        pool.new_worker(1.0, _nothing, name)
    return pool.find_workers


def _spent(find: Callable[[str], object], pattern: str) -> float:
    find(pattern)  # compiles
    begin = time.monotonic()
    find(pattern)
    return time.monotonic() - begin


def _measure(name: str, scale: Scale) -> Mapping[str, float]:
    engine = name == "engine"
    find = _find([f"sensor-{n}" for n in range(scale.idle)], engine=engine)
    return {
        "glob": _spent(find, _PATTERN) * 1e3,
        "hostile": _spent(_find([_HOSTILE_NAME], engine=engine), _HOSTILE) * 1e3,
    }


FINDING = (
    Work(
        "find",
        "find by glob among 10,000 names",
        (Metric("glob", "ms"), Metric("hostile", "ms, one name")),
        ("engine", "bare"),
        _measure,
    ),
)
