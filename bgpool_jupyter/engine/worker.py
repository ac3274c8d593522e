"""BackgroundWorker: what people and a callback may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arguments import check_delay, check_flag, check_interval, check_number, safe_repr
from .errors import ArgumentTypeError, InvalidTransition, RunFailed
from .facts import Host
from .readings import WorkerReadings
from .results import Awaited
from .runs import Progress, RunningRun
from .schedule import CronTimes, FixedDelay, FixedRate, Once, Schedule
from .snapshots import WorkerSnapshot
from .starts import Signature, Start

__all__ = ["BackgroundWorker", "Host", "WorkerSnapshot"]


class BackgroundWorker(WorkerReadings, Awaited):
    """A callback that runs again and again, or, as an actor, once.

    A pool makes it: :meth:`WorkerPool.new_worker`, :meth:`WorkerPool.new_actor`. Every name exists
    in two spellings, ``run_count`` and ``numberOfRuns``.

    Notes
    -----
    Threads: every method and attribute may be used from any thread, also from the worker's own
    callback; all return at once.
    """

    __slots__ = ()

    # -- what people ask of it

    def start(self, /, **kwargs: Any) -> BackgroundWorker:
        """Start the worker; the keyword arguments go to every run.

        A worker that is started already ends that start first, as by stop(). One that left the pool
        is registered again.

        Returns
        -------
        BackgroundWorker
            The worker itself.

        Raises
        ------
        ArgumentTypeError
            If the callback or `finished` cannot take these arguments.
        PoolClosed
            If the pool was closed.
        """
        self._host.start_worker(self, kwargs)
        return self

    def stop(self) -> BackgroundWorker:
        """Stop the worker: no run of this start begins any more. One in flight goes on, see :attr:`executing`.

        Stopping a worker that is not started changes nothing.
        """
        self._host.stop_worker(self)
        return self

    def restart(self, interval: float | None = None) -> BackgroundWorker:
        """Stop and start again with the same arguments, and with `interval` (seconds, greater than 0) if given.

        Raises
        ------
        ArgumentTypeError
            If `interval` is not a number.
        ArgumentValueError
            If it is not greater than 0 and finite.
        PoolClosed
            If the pool was closed.
        """
        self._host.restart_worker(self, None if interval is None else check_interval(interval))
        return self

    def pause(self) -> BackgroundWorker:
        """Let no run begin before unpause(); a run in flight goes on. Pausing twice changes nothing.

        Raises
        ------
        InvalidTransition
            If the worker is not started.
        """
        self._host.pause_worker(self)
        return self

    def unpause(self, immediately: bool = False) -> BackgroundWorker:
        """Go on after pause(), at the next slot or at once. Slots that passed are neither made up nor counted.

        A worker that is not paused is left as it is.
        """
        self._host.unpause_worker(self, check_flag(immediately, "immediately", default=False))
        return self

    def work_now(self) -> BackgroundWorker:
        """Run at once, beside the grid of slots; if a run is in flight, right after it. A paused worker runs once.

        The next slot, or the instant to which the next run was moved, stays as it is. If that is due already, the run
        at once is that one.

        Raises
        ------
        InvalidTransition
            If the worker is not started.
        """
        self._host.run_worker_now(self)
        return self

    workNow = work_now

    # -- what its callback may ask

    @property
    def should_stop(self) -> bool:
        """Whether the run in flight is asked to end: by stop(), a new start(), its timeout, or the end of the pool.

        A callback that takes long looks at it now and then. True also where no run is in flight. A run that returns
        after its callback has seen True here is recorded as *stopped*, after its timeout as *overdue*.
        """
        run = self.current
        return run is None or run.look()

    def sleep(self, seconds: float) -> bool:
        """Wait in a callback for `seconds` (0 or greater), or until the run is asked to end.

        Returns
        -------
        bool
            True if the time is over, False if the run should end, which counts as seen (:attr:`should_stop`).

        Raises
        ------
        InvalidTransition
            If no run is in flight.
        ArgumentTypeError
            If `seconds` is not a number.
        ArgumentValueError
            If `seconds` is negative or not finite.

        Notes
        -----
        Threads: for the worker's own callback; blocks.
        """
        checked = check_delay(seconds, "seconds")
        return self._in_flight("sleep").sleep(checked)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say in a callback how far the run has come.

        Parameters
        ----------
        done
            How much is done, in any unit.
        total
            How much there is to do in the same unit; None if that is not known.
        text
            What is being done, for people.

        Raises
        ------
        InvalidTransition
            If no run is in flight.
        ArgumentTypeError
            If `done` or `total` is no number, or `text` no str.
        ArgumentValueError
            If `done` or `total` is not finite.

        Notes
        -----
        Threads: for the worker's own callback; returns at once.
        """
        number = check_number(done, "done", "give how much is done")
        limit = None if total is None else check_number(total, "total", "give how much there is to do, or None")
        if not isinstance(text, str):
            message = f"text must be a str, not {type(text).__name__} {safe_repr(text)}; give str(…)"
            raise ArgumentTypeError(message)
        self._in_flight("progress").progress = Progress(number, limit, text)
        self._host.changed(self)

    def _in_flight(self, verb: str) -> RunningRun:
        run = self.current
        if run is None:
            message = f"worker {self._name!r} executes no run and cannot {verb}; only its callback may call this"
            raise InvalidTransition(message)
        return run

    # -- results

    def result(self, timeout: float | None = None) -> Any:
        """Return the value of the last run of the present start; wait for the first one to end if need be.

        A run that was *stopped* has the value that it returned, None if it was a coroutine that was cancelled; the
        outcome in :attr:`history` tells the difference.

        Parameters
        ----------
        timeout
            Seconds; 0 looks without waiting, None waits without limit.

        Raises
        ------
        RunFailed
            If the run raised, or the worker ended before a run did.
        JobTimeout
            If no run ended in time.
        ArgumentValueError
            If `timeout` is negative or not finite.

        Notes
        -----
        Threads: may be called from any thread; blocks.
        """
        self._wait(timeout)
        return self._result()

    def _inside(self) -> bool:
        return self._host._inside()

    def _starved(self) -> bool:
        return self._host._retry_threads()

    def _not_yet(self) -> str:
        return f"no run of worker {self._name!r} has ended in time; wait again"

    def _has_result(self) -> bool:
        start = self._start
        return start is not None and (start.last is not None or (start.ended and not self.executing))

    def _result(self) -> Any:
        start = self._start
        if start is None or start.last is None:
            message = f"worker {self._name!r} ended before a run of it did; start() it again"
            raise RunFailed(message)
        value, error = start.last
        if error is not None:
            message = f"the last run of worker {self._name!r} failed: {error.line}; its last_error has the traceback"
            raise RunFailed(message)
        return value

    @property
    def values(self) -> list[tuple[float, Any]]:
        """End (UTC epoch seconds) and value of the last runs, at most 100, oldest first; None is left out.

        What a run returned that was *stopped* or *overdue* is among them.
        """
        return [(record.ended, record.value) for record in self.history if record.value is not None]

    def to_frame(self) -> Any:
        """Return :attr:`values` as a pandas DataFrame: instants as index; a value that is a dict gives a column a key.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - only who asks for a frame needs pandas

        values = self.values
        index = pd.to_datetime([instant for instant, _ in values], unit="s", utc=True).rename("time")
        rows = [value if isinstance(value, dict) else {"value": value} for _, value in values]
        return pd.DataFrame(rows, index=index)

    # -- for the pool

    def _new_start(self, kwargs: dict[str, Any], now: float, wall: float) -> Start:
        """Return a start with everything checked; the worker itself is not changed."""
        known = self._call_signature
        if known is None or known.function is not self._callback:
            known = self._call_signature = Signature(self._callback)
        bare = known.plain and not known.injected and not kwargs
        call = self._callback if bare else self._bound(known, kwargs, "the callback")
        finish = None if self._finished is None else self._finish_call(self._finished, kwargs)
        schedule, slot = self._new_schedule(now, wall)
        start = Start(schedule, call, finish, wall=slot, jitter=self._jitter, heard=now)
        if slot is not None:
            start.look_at_wall(now, wall)
        return start

    def _new_schedule(self, now: float, wall: float) -> tuple[Schedule, float | None]:
        """Return the schedule of a new start, and its first slot where that is an instant of the wall clock."""
        if self.cron is not None:
            slot = self.cron.next_after(wall)
            return CronTimes(now + (slot - wall), self.cron, self._run_past_events), slot
        if self.is_actor:
            if self._at is not None:
                return Once(now + (self._at - wall)), self._at
            return Once(now + self._delay), None
        if self._at is None:
            first, at = now + self._interval if self._start_with_delay else now, None
        else:
            at = self._first_slot(self._at, wall)
            first = now + (at - wall)
        if self._run_on_time:
            return FixedRate(first, self._interval, self._run_past_events), at
        return FixedDelay(first, self._interval), at

    def _finish_call(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
        known = self._finish_signature
        if known is None or known.function is not function:
            known = self._finish_signature = Signature(function)
        return self._bound(known, kwargs, "finished")

    def _bound(self, known: Signature, kwargs: dict[str, Any], role: str) -> Callable[[], Any]:
        return known.bound(kwargs, {"_data": self.data, "_worker": self}, f"start() of {self._name!r}", role)
