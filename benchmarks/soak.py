"""Soak: are runs of 200 workers at 10 Hz lost, early or overlapping, while a panel's model is open for 20 s.

    python benchmarks/soak.py [--workers 200] [--interval 0.1] [--seconds 20] [--no-panel]

Each worker has as many runs to do as there are slots; `lost` counts those that it did not do, `missed`
the slots that the pool itself dismissed because they had passed. Lateness is of the last 100 runs of each
worker, in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from typing import Any

from bgpool_jupyter import WorkerPool


class Probe:
    """What one worker does: note its runs."""

    def __init__(self) -> None:
        self.runs: list[float] = []
        self.inside = 0
        self.overlaps = 0

    def __call__(self) -> None:
        """Be run."""
        self.inside += 1
        self.overlaps += self.inside > 1
        self.runs.append(time.monotonic())
        self.inside -= 1


def soak(workers: int, interval: float, seconds: float, *, panel: bool) -> dict[str, Any]:
    """Run the soak and return its figures."""
    pool = WorkerPool()
    model = None
    if panel:
        from bgpool_jupyter import PoolModel  # noqa: PLC0415 - the engine alone is measured without widgets

        model = PoolModel(pool)
    probes = [Probe() for _ in range(workers)]
    slots = round(seconds / interval)
    ended = threading.Semaphore(0)
    made = [
        pool.new_worker(interval, probe, name=f"w{n}", max_count=slots, dispose=False, finished=ended.release)
        for n, probe in enumerate(probes)
    ]
    for worker in made:
        worker.start()
    end = time.monotonic() + seconds * 1.5 + 10
    for _ in made:
        ended.acquire(timeout=max(0.0, end - time.monotonic()))
    records = [record for worker in made for record in worker.history]
    lateness = [record.lateness for record in records]
    figures = {
        "workers": workers,
        "runs": sum(len(probe.runs) for probe in probes),
        "expected": workers * slots,
        "missed (counted)": sum(worker.missed_count for worker in made),
        "lost": sum(slots - worker.run_count for worker in made),
        "early": sum(record.started < record.due - 1e-4 for record in records),
        "overlapping": sum(probe.overlaps for probe in probes),
        "late p50": round(statistics.median(lateness) * 1000, 3),
        "late p99": round(statistics.quantiles(lateness, n=100)[98] * 1000, 3),
        "threads": len([t for t in threading.enumerate() if t.name.startswith("bgpool-")]),
    }
    if model is not None:
        model.close()
    pool.close(5)
    return figures


def main() -> None:
    """Read the command line, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--no-panel", action="store_true")
    asked = parser.parse_args()
    for name, value in soak(asked.workers, asked.interval, asked.seconds, panel=not asked.no_panel).items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
