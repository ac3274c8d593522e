"""What it costs to be observed: a PoolModel that is published at 10 Hz, and the history of runs.

Here the contenders are two forms of the engine: "engine" with what is measured, "engine alone" without.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from unittest import mock

from bgpool_jupyter.engine import InlineExecutor, RunningRun, WorkerPool
from bgpool_jupyter.panel.model import PoolModel

from ..contenders.engine import Engine
from ..works import Metric, Scale, Work
from .lateness import INTERVAL, lateness, start_workers, watch

__all__ = ["ALONE", "OBSERVING"]

ALONE = "engine alone"


def _observed(name: str, scale: Scale, *, count: int) -> Mapping[str, float]:
    contender = Engine()
    seen: list[int] = []
    model: Any = None
    try:
        if name != ALONE:
            model = PoolModel(contender.pool, period=0.1)
            model.observe(lambda change: seen.append(change["new"]), "revision")
            model.on_tick(lambda _change: True)
        workers = start_workers(contender, min(count, scale.workers))
        time.sleep(2 * INTERVAL)
        window = watch(scale.window + INTERVAL)
        figures = lateness(workers, window)
    finally:
        if model is not None:
            model.close()
        contender.close()
    return {"p90": figures["p90"], "core": 100 * window.cpu / (window.end - window.begin)}


def _no_record(*_: object) -> None:
    return None


def _history(name: str, scale: Scale) -> Mapping[str, float]:
    pool = WorkerPool(executor=InlineExecutor())
    worker = pool.new_worker(1e-9, lambda: None, run_past_events=True, max_count=scale.runs, dispose=False)
    if name != ALONE:
        return {"cpu": _cpu_of_runs(pool, worker, scale)}
    worker._records = deque(maxlen=0)  # noqa: SLF001 - history cannot be switched off, so it is taken away here
    with mock.patch.object(RunningRun, "record", _no_record):
        return {"cpu": _cpu_of_runs(pool, worker, scale)}


def _cpu_of_runs(pool: WorkerPool, worker: Any, scale: Scale) -> float:
    worker.start()
    begin = time.process_time()
    while worker.run_count < scale.runs:
        pool.run_due()
    spent = time.process_time() - begin
    pool.close()
    return spent / scale.runs * 1e6


def _observer(count: int) -> Work:
    return Work(
        f"observer-{count}",
        f"PoolModel at 10 Hz over {count:,} workers at 10 Hz",
        (Metric("p90", "µs late"), Metric("core", "% of a core")),
        ("engine", ALONE),
        functools.partial(_observed, count=count),
    )


OBSERVING = (
    _observer(100),
    _observer(1000),
    Work("history", "a run with its record", (Metric("cpu", "µs a run"),), ("engine", ALONE), _history),
)
