"""Lateness of workers at 10 Hz: how long after its slot a callback begins, and what a run costs."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..contenders import CONTENDERS, Contender
from ..figures import percentile
from ..works import Metric, Scale, Work, hide_from_collector

__all__ = ["INTERVAL", "LATENESS", "Window", "Worker", "lateness", "start_workers", "watch"]

#: Seconds between two runs of a worker.
INTERVAL = 0.1
#: A run may seem this early (s): the first slot is known to within a reading of two clocks.
_TOLERANCE = 0.0005
_PEERS = ("engine", "bare", "APScheduler", "asyncio", "sched")
_METRICS = (
    Metric("p50", "µs"),
    Metric("p90", "µs"),
    Metric("p99", "µs"),
    Metric("missed", "% of slots"),
    Metric("cpu", "µs a run"),
)


class Worker(NamedTuple):
    """The grid of one worker, and when it ran."""

    first: float
    stamps: list[float]


class Window(NamedTuple):
    """A span of time that was looked at."""

    begin: float
    end: float
    #: Processor seconds of the whole process.
    cpu: float


def start_workers(contender: Contender, count: int) -> list[Worker]:
    """Start `count` workers, spread evenly over one interval."""
    begin = time.monotonic()
    workers = []
    for n in range(count):
        time.sleep(max(0.0, begin + n * INTERVAL / count - time.monotonic()))
        stamps: list[float] = []
        workers.append(Worker(contender.every(INTERVAL, _stamper(stamps)), stamps))
    return workers


def _stamper(stamps: list[float]) -> Callable[[], object]:
    note, now = stamps.append, time.monotonic
    return lambda: note(now())


def watch(seconds: float, *, busy: bool = False) -> Window:
    """Let `seconds` pass on this thread, asleep or in a Python loop."""
    cpu, begin = time.process_time(), time.monotonic()
    end = begin + seconds
    if busy:
        turns = 0
        while time.monotonic() < end:
            turns += 1
    else:
        time.sleep(seconds)
    return Window(begin, time.monotonic(), time.process_time() - cpu)


def lateness(workers: list[Worker], window: Window) -> dict[str, float]:
    """Return the metrics of lateness for the slots within `window`."""
    late: list[float] = []
    slots = ran = 0
    for worker in workers:
        lowest = math.ceil((window.begin - worker.first) / INTERVAL)
        beyond = math.ceil((window.end - INTERVAL - worker.first) / INTERVAL)  # a slot has one interval to be run
        found: dict[int, float] = {}
        for stamp in worker.stamps:
            slot = math.floor((stamp - worker.first + _TOLERANCE) / INTERVAL)
            if max(0, lowest) <= slot < beyond and slot not in found:
                found[slot] = stamp - worker.first - slot * INTERVAL
        late.extend(found.values())
        slots += max(0, beyond - max(0, lowest))
        ran += len(found)
    runs = sum(window.begin <= stamp < window.end for worker in workers for stamp in worker.stamps)
    return {
        "p50": percentile(late, 50) * 1e6,
        "p90": percentile(late, 90) * 1e6,
        "p99": percentile(late, 99) * 1e6,
        "missed": 100 * (1 - ran / slots) if slots else math.nan,
        "cpu": window.cpu / runs * 1e6 if runs else math.nan,
    }


def _plain(name: str, scale: Scale, *, count: int, busy: bool = False) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    try:
        workers = start_workers(contender, min(count, scale.workers))
        hide_from_collector()
        time.sleep(2 * INTERVAL)
        return lateness(workers, watch(scale.window + INTERVAL, busy=busy))
    finally:
        contender.close()


def _blocked(name: str, scale: Scale) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    release = threading.Event()
    begun = threading.Semaphore(0)

    def block() -> None:
        begun.release()
        release.wait()

    try:
        contender.prepared(scale.blockers, block, None)()
        end = time.monotonic() + 2.0
        for _ in range(scale.blockers):
            begun.acquire(timeout=max(0.0, min(end - time.monotonic(), 0.5)))  # not every one has the threads
        workers = start_workers(contender, 1)
        time.sleep(2 * INTERVAL)
        return lateness(workers, watch(2 * scale.window + INTERVAL))
    finally:
        release.set()
        contender.close()


def _work(count: int) -> Work:
    title = f"{count:,} worker{'s' if count > 1 else ''} at 10 Hz, lateness"
    return Work(f"lateness-{count}", title, _METRICS, _PEERS, functools.partial(_plain, count=count))


LATENESS = (
    _work(1),
    _work(10),
    _work(100),
    _work(1000),
    Work(
        "blocked",
        "1 worker at 10 Hz beside 64 blocked ones, lateness",
        _METRICS[:4],
        ("engine", "APScheduler"),
        _blocked,
    ),
    Work(
        "busy",
        "4 workers at 10 Hz, main thread in a Python loop, lateness",
        _METRICS[:4],
        _PEERS,
        functools.partial(_plain, count=4, busy=True),
    ),
)
