"""What workers cost that are armed and far from due."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Mapping

from ..contenders import CONTENDERS
from ..works import Metric, Scale, Work

__all__ = ["IDLE"]

#: Seconds of a worker's interval.
_FAR = 3600.0


def _measure(name: str, scale: Scale) -> Mapping[str, float]:
    contender = CONTENDERS[name]()
    try:
        gc.collect()
        tracemalloc.start()
        for _ in range(scale.idle):
            contender.every(_FAR, _callback)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        time.sleep(0.1)
        cpu, begin = time.process_time(), time.monotonic()
        time.sleep(scale.window / 2)
        cpu, spent = time.process_time() - cpu, time.monotonic() - begin
    finally:
        tracemalloc.stop()
        contender.close()
    return {"bytes": size / scale.idle, "cpu": cpu / spent * 1e3}


def _callback() -> None:
    return


IDLE = (
    Work(
        "idle",
        "10,000 idle workers",
        (Metric("bytes", "bytes a worker"), Metric("cpu", "ms CPU/s")),
        ("engine", "bare", "APScheduler", "asyncio", "sched"),
        _measure,
    ),
)
