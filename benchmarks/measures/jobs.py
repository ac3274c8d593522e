"""Jobs: how many a second, how soon one begins, and 64 that block."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping

from ..contenders import CONTENDERS, Contender
from ..contenders.executor import Executor
from ..figures import percentile
from ..works import Metric, Scale, Work

__all__ = ["JOBS"]

_PATIENCE = 30.0
#: Seconds between two single jobs, so that the threads have parked.
_PAUSE = 0.002


def _flood(name: str, scale: Scale) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    done = threading.Event()
    numbers = itertools.count(1)

    def task() -> None:
        if next(numbers) == scale.jobs:
            done.set()

    try:
        contender.wait(contender.submit(lambda: None))
        submit = contender.submit
        begin = time.monotonic()
        handles = [submit(task) for _ in range(scale.jobs)]
        done.wait(_PATIENCE)
        spent = time.monotonic() - begin
        for handle in handles[-10:]:
            contender.wait(handle)
    finally:
        contender.close()
    return {"rate": scale.jobs / spent}


def _latency(name: str, scale: Scale) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    begun: list[float] = []
    took: list[float] = []

    def task() -> None:
        begun.append(time.monotonic())

    try:
        for _ in range(scale.latencies):
            time.sleep(_PAUSE)
            asked = time.monotonic()
            contender.wait(contender.submit(task))
            took.append(begun[-1] - asked)
    finally:
        contender.close()
    warm = took[len(took) // 10 :]
    return {"p50": percentile(warm, 50) * 1e6, "p99": percentile(warm, 99) * 1e6}


def _blocking(name: str, scale: Scale) -> Mapping[str, float]:
    contender: Contender = Executor(256) if name == Executor.name else CONTENDERS[name]()
    release = threading.Event()
    begun = threading.Semaphore(0)

    def task() -> None:
        begun.release()
        release.wait(_PATIENCE)

    try:
        begin = time.monotonic()
        for _ in range(scale.blockers):
            contender.submit(task)
        for _ in range(scale.blockers):
            begun.acquire(timeout=_PATIENCE)
        spent = time.monotonic() - begin
    finally:
        release.set()
        contender.close()
    return {"all": spent * 1e3}


_PEERS = ("engine", "APScheduler", "asyncio", "ThreadPoolExecutor")

JOBS = (
    Work("jobs", "a flood of jobs", (Metric("rate", "jobs/s", more=True),), _PEERS, _flood),
    Work("job-latency", "submit → start of a single job", (Metric("p50", "µs"), Metric("p99", "µs")), _PEERS, _latency),
    Work(
        "blocking-jobs",
        "64 jobs that block, until all have begun",
        (Metric("all", "ms"),),
        ("engine", "ThreadPoolExecutor"),
        _blocking,
    ),
)
