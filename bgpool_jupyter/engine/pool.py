"""WorkerPool: what people call. What becomes of a worker is decided in :mod:`.machine`, its runs in :mod:`.runner`."""

from __future__ import annotations

import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import attrgetter, itemgetter
from time import monotonic, sleep
from typing import Any, Self, TypeVar

from .arguments import (
    check_callable,
    check_count,
    check_delay,
    check_flag,
    check_instant,
    check_interval,
    check_name,
    check_pattern,
    safe_repr,
)
from .clock import Clock, SystemClock
from .crew import MAX_THREADS, ThreadCrew
from .cron import Cron
from .errors import ArgumentValueError, PoolError, WorkerNotFound
from .events import ChangeFeed, EventKind, PoolEvent, Subscription
from .executors import Executor
from .frames import history_frame, run_row
from .globs import matcher
from .jobs import JOBS_KEPT, Balance, Job
from .retry import Retry, check_retry
from .runner import Runner
from .settings import check_timeout_setting
from .states import ACTIVE, WorkerState
from .worker import BackgroundWorker, WorkerSnapshot

__all__ = ["JOBS_KEPT", "WorkerPool"]

#: Count of workers that a snapshot looks at before it lets the interpreter go.
_LOOKED_AT_ONCE = 32

_by_id = attrgetter("id")

Callback = TypeVar("Callback", bound=Callable[..., Any])

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkerPool(Runner):
    """Runs workers, actors and jobs on pooled threads.

    Parameters
    ----------
    clock
        Where the time is read; None is the machine's clock. :class:`~bgpool_jupyter.testing.ManualClock`
        goes together with an `executor` that starts no thread.
    executor
        Where runs are executed; None is a :class:`ThreadCrew` of its own. An executor belongs to one pool.
    max_threads
        Most threads, at least 2. Work beyond that waits for a thread that becomes free. Not used with `executor`.
    name
        What error messages call the pool.

    Notes
    -----
    Threads: every method may be called from any thread, from callbacks and from ``__del__``, and
    returns at once, but for :meth:`close`, :meth:`kill_jobs` and :meth:`run_due`. No thread is
    started before something is. A pool that nobody refers to any more goes on for as long as a worker waits for
    its next run, or anything runs; then it is collected, and its threads end.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        max_threads: int = MAX_THREADS,
        name: str = "bgpool",
    ) -> None:
        threads = check_count(max_threads, "max_threads")
        if threads is None or threads < 2:  # noqa: PLR2004 - one watches the clock, one executes
            message = f"max_threads must be at least 2, not {max_threads!r}; leave it out for {MAX_THREADS}"
            raise ArgumentValueError(message)
        super().__init__(
            SystemClock() if clock is None else clock,
            ThreadCrew(threads) if executor is None else executor,
            check_name(name) or "bgpool",
        )
        self._ids = itertools.count(1)
        self._decorated: dict[str, BackgroundWorker] = {}
        #: The latest jobs, those that wait or run among them; each takes old ones off at its end.
        self._jobs: deque[Job] = deque()
        #: Jobs whose coroutines run on the event loop.
        self._awaited: dict[Job, None] = {}
        _pools.add(self)

    # -- making workers, actors, jobs

    def new_worker(
        self,
        interval: float | Cron,
        callback: Callable[..., Any],
        name: str | None = None,
        start_with_delay: bool | None = False,
        max_count: int | None = None,
        dispose: bool | None = True,
        run_on_time: bool | None = True,
        run_past_events: bool | None = False,
        finished: Callable[..., Any] | None = None,
        ignore_exception: bool | None = False,
        data: Any = None,
        *,
        at: float | datetime | None = None,
        jitter: float = 0.0,
        until: float | datetime | None = None,
        timeout: float | None = None,
        retry: Retry | int | None = None,
        max_failures: int | None = None,
        max_lateness: float | None = None,
        keep_frames: bool | None = False,
        on_event: Callable[[PoolEvent], Any] | None = None,
    ) -> BackgroundWorker:
        """Create and register a worker that runs `callback` periodically; nothing runs before its start().

        Parameters
        ----------
        interval
            Seconds between two runs, greater than 0; or a :class:`Cron`, with which `run_on_time` and
            `start_with_delay` mean nothing.
        callback
            What is run. If it names a parameter ``_data`` it receives `data`, if it names ``_worker``
            the worker. The worker ends when it returns ``False``; any other value goes on. A coroutine
            function is awaited.
        name
            What globs match; None has one made. It need not be unique.
        start_with_delay
            Whether the first run is one interval after start().
        max_count
            Count of runs, at least 1, after which the worker ends; None for no limit.
        dispose
            Whether the worker leaves the pool when it ends.
        run_on_time
            True: slots on the grid ``first + k * interval``. False: `interval` seconds from the end of
            a run to the start of the next.
        run_past_events
            Whether a slot that passed is made up; otherwise it is dismissed and counted as missed.
        finished
            Called once for each start that ended, with the arguments of the callback.
        ignore_exception
            Whether a run that raised is tried again, after 0.1 s, then twice as long each time, up to
            60 s. Otherwise the worker goes on at its next slot. The same as ``retry=Retry()``.
        data
            Any object, for the callback.
        at
            The instant of the first slot: UTC epoch seconds, or a datetime with a time zone. The others follow from
            it, every `interval` seconds. If it has passed, the first one is the next of these; after a fixed delay
            (`run_on_time=False`), at once. The wall clock is looked at again at least once a minute until the first
            slot, and not after it. None: start() is that instant. Not together with `start_with_delay`, nor with
            a :class:`Cron`.
        jitter
            Most seconds by which chance moves each run behind its slot, 0 or greater, and less than `interval`.
        until
            Instant after which no run begins and the worker ends: UTC epoch seconds, or a datetime with a
            time zone; None for no end.
        timeout
            Seconds, greater than 0, after which a run is overdue: it is marked so and asked to stop
            (:attr:`BackgroundWorker.should_stop`; a coroutine is cancelled). It cannot be forced. None for no limit.
        retry
            How a run that raised is tried again: a :class:`Retry`, or a count of attempts; None: not at all.
        max_failures
            Count of failed runs in a row, at least 1, after which the worker pauses itself and says why
            (:attr:`BackgroundWorker.pause_reason`); None for no limit.
        max_lateness
            Seconds, greater than 0, by which a run may begin late at most. A slot that would begin later is dismissed
            and counted as missed, also with `run_past_events`: where the pool was suspended, no thread was free, or,
            with a :class:`Cron` or `at`, the machine slept. (Intervals count the seconds in which it is awake: the
            monotonic clock of Linux stands still meanwhile. A wall clock that jumps is noticed within a minute.) Runs
            on request and retries always begin. None for no limit.
        keep_frames
            Whether the exception of the last run that failed is kept with its frames, and with them all their
            data, for a debugger (:attr:`BackgroundWorker.kept_error`).
        on_event
            Called with each :class:`PoolEvent` of this worker, in their order, on a pool thread, as one that
            :meth:`subscribe` is given; what it prints is kept (:attr:`BackgroundWorker.event_output`).

        Returns
        -------
        BackgroundWorker
            The worker, in state *new*.

        Raises
        ------
        ArgumentTypeError
            If an argument has a wrong type; nothing is registered.
        ArgumentValueError
            If an argument has a value that cannot be used; nothing is registered.
        PoolClosed
            If the pool was closed.
        """
        cron = interval if isinstance(interval, Cron) else None
        seconds = 0.0 if isinstance(interval, Cron) else check_interval(interval)
        chance = check_delay(jitter, "jitter")
        if cron is None and chance >= seconds:
            message = f"jitter must be less than the interval {interval!r}, not {jitter!r}; give a smaller one"
            raise ArgumentValueError(message)
        delayed = check_flag(start_with_delay, "start_with_delay", default=False)
        return self._register(
            callback=check_callable(callback, "callback"),
            interval=seconds,
            cron=cron,
            at=self._check_first(at, cron, until, delayed=delayed),
            jitter=chance,
            until=self._check_until(until),
            timeout=check_timeout_setting(timeout, "timeout"),
            retry=check_retry(retry),
            max_failures=check_count(max_failures, "max_failures"),
            max_lateness=check_timeout_setting(max_lateness, "max_lateness"),
            keep_frames=check_flag(keep_frames, "keep_frames", default=False),
            on_event=None if on_event is None else check_callable(on_event, "on_event"),
            name=check_name(name),
            start_with_delay=delayed,
            max_count=check_count(max_count),
            dispose=check_flag(dispose, "dispose", default=True),
            run_on_time=check_flag(run_on_time, "run_on_time", default=True),
            run_past_events=check_flag(run_past_events, "run_past_events", default=False),
            finished=None if finished is None else check_callable(finished, "finished"),
            ignore_exception=check_flag(ignore_exception, "ignore_exception", default=False),
            data=data,
        )

    def new_actor(
        self,
        callback: Callable[..., Any],
        delay: float | None = 0.0,
        at: float | None = None,
        name: str | None = None,
        dispose: bool | None = True,
        finished: Callable[..., Any] | None = None,
        ignore_exception: bool | None = False,
        data: Any = None,
        *,
        timeout: float | None = None,
        retry: Retry | int | None = None,
        max_lateness: float | None = None,
        keep_frames: bool | None = False,
        on_event: Callable[[PoolEvent], Any] | None = None,
    ) -> BackgroundWorker:
        """Create and register a worker that runs `callback` once; nothing runs before its start().

        Parameters
        ----------
        callback
            As for :meth:`new_worker`.
        delay
            Seconds from start() to the run, 0 or greater; None is 0.
        at
            The instant of the run in UTC epoch seconds, or as a datetime with a time zone; one that has
            passed means at once. The wall clock is looked at again at least once a minute, so that a
            clock that is set, or a suspend, is honoured. None: not given.
        name, dispose, finished, ignore_exception, data, timeout, retry, keep_frames, on_event
            As for :meth:`new_worker`.
        max_lateness
            As for :meth:`new_worker`: an actor that would begin later ends without a run. None for no limit.

        Returns
        -------
        BackgroundWorker
            The actor, in state *new*.

        Raises
        ------
        ArgumentTypeError
            If an argument has a wrong type; nothing is registered.
        ArgumentValueError
            If both `delay` and `at` are given, or a value cannot be used; nothing is registered.
        PoolClosed
            If the pool was closed.
        """
        seconds = 0.0 if delay is None else check_delay(delay)
        instant = None if at is None else check_instant(at)
        if instant is not None and seconds > 0:
            message = f"delay={delay!r} and at={at!r} cannot both be given; leave one of them out"
            raise ArgumentValueError(message)
        return self._register(
            callback=check_callable(callback, "callback"),
            delay=seconds,
            at=instant,
            jitter=0.0,
            timeout=check_timeout_setting(timeout, "timeout"),
            retry=check_retry(retry),
            max_failures=None,
            max_lateness=check_timeout_setting(max_lateness, "max_lateness"),
            keep_frames=check_flag(keep_frames, "keep_frames", default=False),
            on_event=None if on_event is None else check_callable(on_event, "on_event"),
            is_actor=True,
            name=check_name(name),
            start_with_delay=False,
            max_count=1,
            dispose=check_flag(dispose, "dispose", default=True),
            run_on_time=True,
            run_past_events=False,
            finished=None if finished is None else check_callable(finished, "finished"),
            ignore_exception=check_flag(ignore_exception, "ignore_exception", default=False),
            data=data,
        )

    def _check_first(self, at: object, cron: Cron | None, until: object, *, delayed: bool) -> float | None:
        if at is None:
            return None
        instant = check_instant(at)
        if cron is not None:
            message = f"at={at!r} and a Cron cannot both be given: the expression says when to run; leave at out"
            raise ArgumentValueError(message)
        if delayed:
            message = f"at={at!r} and start_with_delay=True cannot both be given; leave one of them out"
            raise ArgumentValueError(message)
        end = self._check_until(until)
        if end is not None and instant > end:
            message = f"at={at!r} is after until={until!r}, so that no run would begin; give an earlier one"
            raise ArgumentValueError(message)
        return instant

    def _check_until(self, until: object) -> float | None:
        if until is None:
            return None
        instant = check_instant(until, "until")
        if instant < self.clock.time():
            message = f"until={until!r} has passed; give an instant that is still to come"
            raise ArgumentValueError(message)
        return instant

    def every(self, interval: float | Cron, **settings: Any) -> Callable[[Callback], Callback]:
        """Return a decorator that makes a function a worker of its name, and starts it.

        Run again, as when a cell is, it replaces the worker that it made before for a function of that name.

        Parameters
        ----------
        interval, **settings
            As for :meth:`new_worker`; `name` is the function's own unless it is given.

        Examples
        --------
        >>> from bgpool_jupyter import WorkerPool
        >>> with WorkerPool() as pool:
        ...     @pool.every(60, name="tick")
        ...     def tick():
        ...         return "tock"
        ...
        ...     pool.find_workers("tick")[0].result(timeout=10)
        'tock'
        """

        def decorate(function: Callback) -> Callback:
            named = {"name": getattr(function, "__name__", None), **settings}
            worker = self.new_worker(interval, function, **named)
            before = self._decorated.get(worker.name)
            if before is not None:
                self.remove(before)
            self._decorated[worker.name] = worker
            worker.start()
            return function

        return decorate

    def __enter__(self) -> Self:
        """Return the pool itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the pool."""
        self.close()

    def _register(self, **settings: Any) -> BackgroundWorker:
        self._refuse_if_closed()
        worker = BackgroundWorker(self, next(self._ids), **settings)
        with self._lock:  # so that subscribers hear of it in its order
            self._workers[worker.id] = worker
            self._note(worker, EventKind.REGISTERED)
            if self._ready:
                self._executor.submitted()  # puts it off: the lock may be held further out too
        self._flush()
        return worker

    def run_job(self, task: Callable[..., Any], name: str | None = None) -> Job:
        """Run `task` on a pooled thread, on a paused one if there is one.

        Parameters
        ----------
        task
            What is run, without arguments: use a lambda for them. A task that names a parameter
            ``_job`` receives the job. A coroutine is awaited on the pool's event loop, beside others, and
            cancelled by :meth:`Job.stop`.
        name
            What the job is called; None has a name made.

        Returns
        -------
        Job
            The handle of this task.

        Raises
        ------
        ArgumentTypeError
            If `task` is not callable or `name` no str; nothing is run.
        PoolClosed
            If the pool was closed.
        """
        if not callable(task):
            check_callable(task, "task")
        if self.closed:
            self._refuse_if_closed()
        job = Job(task, name if name is None else check_name(name), self)
        self._jobs.append(job)
        self._ready.append(job)
        self._executor.submitted()
        return job

    # -- looking at them

    def worker(self, worker_id: int) -> BackgroundWorker:
        """Return the worker with this id.

        Raises
        ------
        WorkerNotFound
            If the pool has no such worker.
        """
        try:
            return self._workers[worker_id]
        except (KeyError, TypeError):
            message = f"the pool has no worker with id {safe_repr(worker_id)}; find_workers() lists them"
            raise WorkerNotFound(message) from None

    def _in_order(self) -> list[BackgroundWorker]:
        """Return all workers in the order in which they were made: one that left and came back stands last."""
        found = list(self._workers.values())  # in one step
        found.sort(key=_by_id)
        return found

    def find_workers(self, name: str | None = None, running: bool | None = None) -> list[BackgroundWorker]:
        """Return the workers that match, in the order in which they were made.

        Parameters
        ----------
        name
            A glob with ``*``, ``?`` and ``[...]``, case-sensitive; None matches all.
        running
            True: only those that are started and have not ended; False: only the others; None: all.
        """
        found = self._in_order()
        if name is not None:
            match = matcher(check_pattern(name))
            found = [worker for worker in found if match(worker._name)]
        if running is not None:
            wanted = check_flag(running, "running", default=True)
            found = [worker for worker in found if worker.running is wanted]
        return found

    def snapshot(self, ids: Iterable[int] | None = None) -> list[WorkerSnapshot]:
        """Return the workers with these ids (None: all) as they are now, in id order; unknown ids are left out.

        The interpreter is let go now and then, so that no run is late because somebody looks at many workers.
        """
        if ids is None:
            found = self._in_order()
        else:
            found = [worker for each in sorted(ids) if (worker := self._workers.get(each)) is not None]
        taken = []
        for count, worker in enumerate(found, 1):
            taken.append(worker.snapshot())
            if count % _LOOKED_AT_ONCE == 0:
                sleep(0)
        return taken

    def history_frame(self, name: str | None = None) -> Any:
        """Return the runs that the workers remember as a pandas DataFrame, a row a run, earliest first.

        Parameters
        ----------
        name
            A glob of workers' names; None for all that are in the pool.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        rows = [run_row(worker._name, record) for worker in self.find_workers(name) for record in worker.history]
        return history_frame(sorted(rows, key=itemgetter("started")))

    def jobs(self) -> list[Job]:
        """Return the jobs that wait, those that run, and the last 50 that were made, oldest first."""
        self._retry_threads()
        known = [*list(self._jobs)[-JOBS_KEPT:], *self._ready, *self._executor.tasks(), *self._awaited.copy()]
        return sorted({task for task in known if isinstance(task, Job)}, key=lambda job: job.id)

    def count_jobs(self) -> tuple[int, int]:
        """Return the counts of running and of paused pool threads.

        Work that was accepted counts as running from then on, also for the moment that its thread
        needs to take it up. The one thread that watches the clock is not paused.
        """
        return self._executor.counts()

    # -- steering many at once

    def start_workers(self, name: str | None = None) -> list[BackgroundWorker]:
        """Start the workers that match and are not started, with the arguments of their last start; return them."""
        resting = tuple(set(WorkerState) - ACTIVE)
        return self._each(name, resting, lambda worker: worker.start(**worker.args))

    def stop_workers(self, name: str | None = None) -> list[BackgroundWorker]:
        """Stop the workers that match the glob (None: all) and are started; return them."""
        return [w.stop() for w in self.find_workers(name) if w._state in ACTIVE]

    def pause_workers(self, name: str | None = None) -> list[BackgroundWorker]:
        """Pause the workers that match the glob (None: all) and are started; return those that were not paused."""
        active = (WorkerState.WAITING, WorkerState.RUNNING)
        return self._each(name, active, BackgroundWorker.pause)

    def unpause_workers(self, name: str | None = None, immediately: bool = False) -> list[BackgroundWorker]:
        """Let the workers that match the glob (None: all) and are paused go on; return them."""
        return self._each(name, (WorkerState.PAUSED,), lambda worker: worker.unpause(immediately))

    def work_now(self, name: str | None = None) -> list[BackgroundWorker]:
        """Run the workers that match the glob (None: all) and are started at once; return them."""
        return self._each(name, tuple(ACTIVE), BackgroundWorker.work_now)

    def remove_workers(self, name: str) -> list[BackgroundWorker]:
        """Stop the workers that match the glob and take them out of the pool; return them.

        A run in flight goes on to its end.
        """
        found = self.find_workers(check_pattern(name))
        for worker in found:
            self.remove(worker)
        return found

    def remove(self, worker: BackgroundWorker) -> None:
        """Stop a worker and take it out of the pool."""
        self._change(worker, lambda: self._remove(worker))

    def _each(
        self, name: str | None, states: tuple[WorkerState, ...], action: Callable[[BackgroundWorker], object]
    ) -> list[BackgroundWorker]:
        changed = []
        for worker in self.find_workers(name):
            if worker._state not in states:
                continue
            try:
                action(worker)
            except PoolError as error:  # it ended between the look and the call, or needs arguments
                self._hub.log(f"worker {worker.name!r} was passed over: {error}")
                continue
            changed.append(worker)
        return changed

    # -- jobs

    def set_job_balance(
        self,
        balance_target: float | None = 3.0,
        balance_latency: int | None = 1000,
        balance_reduce_factor: float | None = 2.0,
    ) -> None:
        """Set how many paused threads are kept.

        After every `balance_latency` requests, if there are more than `balance_target` paused threads
        for each running one (at least one is assumed), the number of paused threads divided by
        `balance_reduce_factor` end.

        Parameters
        ----------
        balance_target
            Paused threads for one running thread, 0 or greater; None is 3.
        balance_latency
            Count of requests, at least 1; None is 1000.
        balance_reduce_factor
            At least 1; None is 2.

        Raises
        ------
        ArgumentTypeError
            If an argument is no number; nothing is changed.
        ArgumentValueError
            If an argument is out of its range; nothing is changed.
        """
        self._executor.set_balance(Balance.checked(balance_target, balance_latency, balance_reduce_factor))

    def kill_jobs(self, timeout: float = 1.0) -> None:
        """End all paused threads, take back the tasks that wait, and ask the running ones to end.

        Parameters
        ----------
        timeout
            Most seconds to wait for the paused threads, 0 or greater.

        Notes
        -----
        Threads: may be called from any thread, also from a job; blocks at most `timeout` seconds.
        """
        seconds = check_delay(timeout, "timeout")
        for job in self.jobs():
            if job.stop():
                try:
                    self._ready.remove(job)
                except ValueError:  # a thread took it meanwhile and found it cancelled
                    continue
        if self._lock._is_owned():  # from a __del__ inside of the pool: the threads need the lock to end
            self._deferred.append(lambda: self._executor.kill(0.0))
            return
        self._executor.kill(seconds)
        self._flush()

    # -- observing

    def set_logger(self, logger: Callable[[str], object] | None) -> None:
        """Have messages, such as the traceback of a failed run, go to ``logger(text)``.

        None restores the standard one, the logger ``bgpool_jupyter`` of :mod:`logging`. The logger is
        called on the thread where it happened; one that raises is ignored.
        """
        self._hub.logger = None if logger is None else check_callable(logger, "logger")

    def subscribe(self, callback: Callable[[PoolEvent], object]) -> Subscription:
        """Call ``callback(event)`` for everything that happens from now on, until the subscription is closed.

        Each subscriber receives one event after the other, in the order in which they happened, on a
        pool thread. A slow one delays nobody; beyond 10,000 waiting events its oldest are dropped.
        """
        self._refuse_if_closed()
        return self._hub.subscribe(check_callable(callback, "callback"))

    def events(self, name: str | None = None, last: int | None = None) -> list[PoolEvent]:
        """Return what happened of late, in its order: of each kind of event the last 1,000 are remembered.

        Nobody needs to have subscribed. Workers that are gone are among them, under the names that they had.

        Parameters
        ----------
        name
            A glob of workers' names; None for all.
        last
            Most events to return, the latest ones, at least 1; None for all that are remembered.

        Raises
        ------
        ArgumentTypeError
            If `name` is no str, or `last` no int.
        ArgumentValueError
            If `last` is less than 1.
        """
        count = check_count(last, "last")
        found = self._hub.events()
        if name is not None:
            match = matcher(check_pattern(name))
            found = [event for event in found if match(event.name)]
        return found if count is None else found[-count:]

    def watch(self) -> ChangeFeed:
        """Return a feed of the ids of workers that change from now on."""
        feed = self._hub.watch()
        if self.closed:
            feed.close()
        return feed

    # -- the end

    def close(self, timeout: float = 1.0) -> None:
        """Stop everything for good: workers, waiting jobs, threads, feeds. May be called again.

        Parameters
        ----------
        timeout
            Most seconds to wait for runs in flight and for `finished`, 0 or greater. What has not
            ended by then goes on on a daemon thread, which ends with it.

        Notes
        -----
        Threads: may be called from any thread, also from a callback; blocks at most `timeout` seconds.
        """
        seconds = check_delay(timeout, "timeout")
        inside = self._lock._is_owned()  # see kill_jobs()
        with self._lock:
            self.closed = True  # what was started before is stopped below, what comes later is refused
            if inside:
                self._deferred.append(lambda: self._shut_down(0.0))
        for worker in self.find_workers():
            worker.stop()
        if not inside:
            self._shut_down(seconds)
            self._flush()

    def _shut_down(self, seconds: float) -> None:
        """End jobs, threads, feeds and subscriptions of a closed pool; wait at most `seconds`."""
        for job in self.jobs():
            job.stop()
        if self._executor.inline:
            self.run_due()
        end = monotonic() + seconds
        self._loop.close(0)  # what is awaited there is cancelled while the threads end
        if not (self._executor.inline and self._lock._is_owned()):  # else `finished` is left to the next run_due()
            self._executor.close(seconds)
        self._loop.close(max(0.0, end - monotonic()))
        self._hub.close()
        _pools.discard(self)


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
