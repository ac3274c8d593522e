"""APScheduler 3: a BackgroundScheduler with its defaults, but that it lets no late job drop."""

from __future__ import annotations

import datetime as dt
import importlib
import threading
import time
from collections.abc import Callable
from typing import Any

from .base import FAR, Contender, Task

__all__ = ["ApScheduler"]


class ApScheduler(Contender):
    """Memory job store and a pool of ten threads, as it comes; time zone UTC; ``misfire_grace_time=None``."""

    name = "APScheduler"

    def __init__(self) -> None:
        module = importlib.import_module("apscheduler.schedulers.background")
        self._scheduler: Any = module.BackgroundScheduler(timezone=dt.UTC, job_defaults={"misfire_grace_time": None})
        self._scheduler.start()

    def every(self, interval: float, task: Task) -> float:
        """Add a job with an interval trigger."""
        now = time.monotonic()
        start = _instant(time.time() + interval)
        self._scheduler.add_job(task, "interval", seconds=interval, start_date=start)
        return now + interval

    def prepared(self, count: int, task: Task, due: float | None) -> Callable[[], None]:
        """Return a loop of ``add_job``: a job cannot be made without being added."""
        add = self._scheduler.add_job

        def arm() -> None:
            if due is None:
                for _ in range(count):
                    add(task)
                return
            at = _instant(time.time() + (due - time.monotonic()))
            for _ in range(count):
                add(task, "date", run_date=at)

        return arm

    def pairs(self, count: int) -> None:
        """Add and remove a job."""
        for _ in range(count):
            self._scheduler.add_job(_nothing, "date", run_date=_instant(time.time() + FAR)).remove()

    def submit(self, task: Task) -> threading.Event:
        """Add a job without a trigger, that sets an event at its end."""
        done = threading.Event()

        def run() -> None:
            task()
            done.set()

        self._scheduler.add_job(run)
        return done

    def wait(self, handle: threading.Event) -> None:
        """Wait for the event."""
        handle.wait()

    def close(self) -> None:
        """Shut the scheduler down."""
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=True)


def _instant(epoch: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch, dt.UTC)


def _nothing() -> None:
    return
