"""What it costs to be observed: a PoolModel that is published at 10 Hz, the history of runs, and the journal.

Here the contenders are two forms of the engine: "engine" with what is measured, "engine alone" without.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bgpool_jupyter.engine import InlineExecutor, RunningRun, RunRecord, WorkerPool
from bgpool_jupyter.journal import Journal
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


#: What stands for the record of each run where none is made.
_NO_RECORD = (None,) * len(RunRecord._fields)


def _no_record(*_: object) -> tuple[None, ...]:
    return _NO_RECORD


def _history(name: str, scale: Scale) -> Mapping[str, float]:
    pool = WorkerPool(executor=InlineExecutor())
    worker = pool.new_worker(1e-9, lambda: None, run_past_events=True, max_count=scale.runs, dispose=False)
    if name != ALONE:
        return {"cpu": _cpu_of_runs(pool, worker, scale)}
    worker._records = deque(maxlen=0)  # noqa: SLF001 - history cannot be switched off, so it is taken away here
    with mock.patch.object(RunningRun, "record", _no_record):
        return {"cpu": _cpu_of_runs(pool, worker, scale)}


@contextmanager
def _journal_of(pool: WorkerPool) -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        pool.recorder = journal
        yield journal


def _journal(name: str, scale: Scale) -> Mapping[str, float]:
    """Take runs back to back, with every row in the file at the end."""
    pool = WorkerPool(executor=InlineExecutor())
    worker = pool.new_worker(1e-9, lambda: None, run_past_events=True, max_count=scale.runs, dispose=False)
    if name == ALONE:
        return {"cpu": _cpu_of_runs(pool, worker, scale)}
    with _journal_of(pool) as journal:
        return {"cpu": _cpu_of_runs(pool, worker, scale, journal)}


def _journal_at_10_hz(name: str, scale: Scale) -> Mapping[str, float]:
    contender = Engine()

    def watched(journal: Journal | None = None) -> Mapping[str, float]:
        workers = start_workers(contender, min(100, scale.workers))
        time.sleep(2 * INTERVAL)
        if journal is not None:
            journal.flush(60)  # the file is made and open
        return lateness(workers, watch(scale.window + INTERVAL))

    try:
        if name == ALONE:
            figures = watched()
        else:
            with _journal_of(contender.pool) as journal:
                figures = watched(journal)
    finally:
        contender.close()
    return {"cpu": figures["cpu"], "p90": figures["p90"]}


def _cpu_of_runs(pool: WorkerPool, worker: Any, scale: Scale, journal: Journal | None = None) -> float:
    worker.start()
    begin = time.process_time()
    while worker.run_count < scale.runs:
        pool.run_due()
    if journal is not None:
        journal.flush(60)
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
    Work("journal", "a run with its row in SQLite", (Metric("cpu", "µs a run"),), ("engine", ALONE), _journal),
    Work(
        "journal-100",
        "100 workers at 10 Hz with their rows in SQLite",
        (Metric("cpu", "µs a run"), Metric("p90", "µs late")),
        ("engine", ALONE),
        _journal_at_10_hz,
    ),
)
