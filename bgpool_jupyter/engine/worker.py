"""BackgroundWorker: its settings, and what a callback and people may ask of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from .arguments import (
    check_callable,
    check_count,
    check_delay,
    check_flag,
    check_interval,
    check_number,
    check_timeout,
    safe_repr,
)
from .cron import Cron
from .errors import ArgumentTypeError, ArgumentValueError, InvalidTransition, JobTimeout, RunFailed
from .lints import LOOKED_AT, Lint, lints
from .output import RunCapture, RunOutput
from .results import Waiter, await_until, wait_until, wake
from .retry import Retry, check_retry
from .runs import DISPLAYS_KEPT, FAILED, HISTORY_LENGTH, ErrorInfo, Progress, RunningRun, RunRecord
from .schedule import SLICE, CronTimes, FixedDelay, FixedRate, Once, Schedule, duration_text
from .settings import Alias, Setting, check_finished, check_instant_setting, check_own_name, check_timeout_setting, flag
from .stacks import stack_text
from .starts import Signature, Start
from .states import ACTIVE, WorkerState

__all__ = ["BackgroundWorker", "Host", "WorkerSnapshot"]


#: The records of every worker that has none yet. It stays empty.
_NO_RECORDS: deque[tuple[Any, ...]] = deque(maxlen=0)


class Host(Protocol):
    """What a worker asks of its pool."""

    capture: RunCapture | None

    def start_worker(self, worker: BackgroundWorker, kwargs: dict[str, Any], /) -> None:
        """Start the worker with these arguments."""

    def stop_worker(self, worker: BackgroundWorker, /) -> None:
        """Stop the worker."""

    def restart_worker(self, worker: BackgroundWorker, interval: float | None, /) -> None:
        """Start the worker with the arguments of its last start, and with a new interval if one is given."""

    def pause_worker(self, worker: BackgroundWorker, /) -> None:
        """Pause the worker."""

    def unpause_worker(self, worker: BackgroundWorker, immediately: bool, /) -> None:
        """Let the worker go on."""

    def run_worker_now(self, worker: BackgroundWorker, /) -> None:
        """Run the worker at once."""

    def now(self) -> float:
        """Return the wall clock in UTC epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        ...

    def epoch(self, monotonic: float, /) -> float:
        """Return a monotonic instant in UTC epoch seconds."""
        ...

    def changed(self, worker: BackgroundWorker, /) -> None:
        """Note that a setting was written."""


class WorkerSnapshot(NamedTuple):
    """A worker as it was at one moment. Instants are UTC epoch seconds."""

    id: int
    name: str
    #: For people, as in "every 5 s".
    schedule: str
    #: One of "new", "waiting", "running", "paused", "failed", "stopping", "stopped".
    status: str
    #: A run is in flight.
    executing: bool
    #: When the next run is due; None if none is.
    next_run: float | None
    run_count: int
    failure_count: int
    missed_count: int
    #: Seconds the last run took; None before the first has ended.
    last_duration: float | None
    #: Why the worker paused itself, or the last run's error in one line; "" if there is neither.
    last_error: str
    #: When the run in flight started; None if there is none.
    since: float | None
    is_actor: bool
    #: Started and not ended.
    running: bool
    #: Execution count of the cell that made the worker, if a cell did.
    cell: int | None
    #: How far the run in flight says it has come.
    progress: Progress | None = None
    #: The kinds of what :meth:`BackgroundWorker.lints` finds.
    lints: tuple[str, ...] = ()
    #: Why nothing in the notebook stands for the worker any more; "" where that is not known.
    orphan: str = ""


class BackgroundWorker:
    """A callback that runs again and again, or, as an actor, once.

    A pool makes it: :meth:`WorkerPool.new_worker`, :meth:`WorkerPool.new_actor`. Every name exists
    in two spellings, ``run_count`` and ``numberOfRuns``.

    Notes
    -----
    Threads: every method and attribute may be used from any thread, also from the worker's own
    callback; all return at once.
    """

    interval: Setting[float] = Setting(
        check_interval,
        "Seconds between two runs, greater than 0. A new value counts from the next slot; restart() takes it at once.",
    )
    name: Setting[str] = Setting(check_own_name, "What people call the worker; globs match it. It need not be unique.")
    callback: Setting[Callable[..., Any]] = Setting(
        check_callable, "What is run. A new one counts from the next start() on."
    )
    max_count: Setting[int | None] = Setting(
        check_count, "Count of runs after which the worker ends; None for no limit."
    )
    dispose: Setting[bool] = Setting(flag(default=True), "Whether the worker leaves the pool when it ends.")
    run_on_time: Setting[bool] = Setting(
        flag(default=True), "Fixed rate (True) or fixed delay. A new value counts from the next start() on."
    )
    run_past_events: Setting[bool] = Setting(
        flag(default=False), "Whether passed slots are made up. A new value counts from the next start() on."
    )
    start_with_delay: Setting[bool] = Setting(
        flag(default=False),
        "Whether the first run is one interval after start(). A new value counts from the next start().",
    )
    finished: Setting[Callable[..., Any] | None] = Setting(
        check_finished, "Called once for each start that ended. A new one counts from the next start() on."
    )
    ignore_exception: Setting[bool] = Setting(
        flag(default=False), "Whether a run that raised is tried again, after a delay that grows."
    )

    at: Setting[float | None] = Setting(
        check_instant_setting,
        "An actor's instant in UTC epoch seconds, None if it has none. Counts from the next start().",
    )
    until: Setting[float | None] = Setting(
        check_instant_setting, "Instant after which no run begins, in UTC epoch seconds; None for no end."
    )
    jitter: Setting[float] = Setting(
        check_delay,
        "Most seconds by which chance moves each run behind its slot, 0 or greater. Counts from the next slot.",
    )
    timeout: Setting[float | None] = Setting(
        check_timeout_setting, "Seconds after which a run counts as overdue and is asked to stop; None for no limit."
    )
    retry: Setting[Retry | None] = Setting(
        check_retry, "How a run that raised is tried again, as a Retry or a count of attempts; None: not at all."
    )
    max_failures: Setting[int | None] = Setting(
        check_count, "Count of failed runs in a row after which the worker pauses itself; None for no limit."
    )

    keep_frames: Setting[bool] = Setting(
        flag(default=False), "Whether the last error keeps its frames, and with them all their data, for a debugger."
    )

    # The reference's spelling.
    maxCount: Alias[int | None] = Alias("max_count")
    runOnTime: Alias[bool] = Alias("run_on_time")
    runPastEvents: Alias[bool] = Alias("run_past_events")
    startWithDelay: Alias[bool] = Alias("start_with_delay")
    ignoreException: Alias[bool] = Alias("ignore_exception")
    numberOfRuns: Alias[int] = Alias("run_count")
    nextRunTime: Alias[float | None] = Alias("next_run_time")

    # Where the settings above are kept; the pool reads them here, without the descriptor's cost.
    _at: float | None
    _callback: Callable[..., Any]
    _dispose: bool
    _finished: Callable[..., Any] | None
    _ignore_exception: bool
    _jitter: float
    _keep_frames: bool
    _max_failures: int | None
    _retry: Retry | None
    _timeout: float | None
    _until: float | None
    _interval: float
    _max_count: int | None
    _name: str
    _run_on_time: bool
    _run_past_events: bool
    _start_with_delay: bool

    __slots__ = (
        "__weakref__",
        "_at",
        "_busy",
        "_call_signature",
        "_callback",
        "_delay",
        "_dispose",
        "_ended_itself",
        "_endings",
        "_finish_signature",
        "_finished",
        "_host",
        "_ignore_exception",
        "_interval",
        "_jitter",
        "_keep_frames",
        "_max_count",
        "_max_failures",
        "_name",
        "_records",
        "_retry",
        "_run_on_time",
        "_run_past_events",
        "_start",
        "_start_with_delay",
        "_timeout",
        "_token",
        "_until",
        "_waiters",
        "args",
        "cell",
        "cell_id",
        "cron",
        "data",
        "failure_count",
        "finished_error",
        "id",
        "is_actor",
        "kept_error",
        "last_error",
        "line",
        "missed_count",
        "orphan",
        "overdue_count",
        "pause_reason",
        "retry_count",
        "run_count",
        "skipped_count",
        "source",
    )

    def __init__(
        self,
        host: Host,
        worker_id: int,
        callback: Callable[..., Any],
        *,
        name: str | None,
        interval: float = 0.0,
        delay: float = 0.0,
        at: float | None = None,
        cron: Cron | None = None,
        until: float | None = None,
        is_actor: bool = False,
        data: Any = None,
        **settings: Any,
    ) -> None:
        self._host = host
        self.id = worker_id
        #: Whether the worker runs once.
        self.is_actor = is_actor
        self._name = name if name is not None else f"{'actor' if is_actor else 'worker'}-{worker_id}"
        self._callback = callback
        self._interval = interval
        self._delay = delay
        self._at = at
        #: The cron expression of a worker that follows one, None otherwise.
        self.cron = cron
        self._until = until
        #: Any object; a callback that names ``_data`` receives it.
        self.data = data
        for setting, value in settings.items():
            object.__setattr__(self, "_" + setting, value)
        #: The keyword arguments of the last start(); injected ones are not among them.
        self.args: dict[str, Any] = {}
        self._reset_counts()
        #: The text that made the worker, where a magic did.
        self.source: str | None = None
        #: The execution count of the cell that made the worker, where a cell did.
        self.cell: int | None = None
        #: What the front end calls that cell, where it says so.
        self.cell_id: str | None = None
        #: The line of the magic in that cell, from 1.
        self.line: int | None = None
        #: Why nothing in the notebook stands for the worker any more; "" where that is not known.
        self.orphan = ""

        self._call_signature: Signature | None = None
        self._finish_signature: Signature | None = None
        # Guarded by the pool's lock; single reads without it are allowed.
        #: Token of the live queue entry; 0 if there is none.
        #: Live if and only if nothing is busy and a run is to come (see WorkerPool.check).
        self._token = 0
        self._start: Start | None = None
        #: The last start ended with a run, not by stop().
        self._ended_itself = False
        #: What occupies the worker: the run in flight, or the start whose `finished` is called.
        self._busy: RunningRun | Start | None = None
        #: Starts that ended and whose `finished` was not called yet, oldest first.
        self._endings: list[Start] = []
        self._waiters: list[Waiter] = []
        #: The last records, newest last. An empty deque takes 0.7 kB: a worker has its own from its first record on.
        self._records: deque[tuple[Any, ...]] = _NO_RECORDS

    def _veto(self, name: str, value: object) -> None:
        """Refuse a value that is right in itself but not for this worker."""
        if name == "max_count" and self.is_actor and value != 1:
            message = (
                f"max_count of the actor {self._name!r} is 1 and cannot be {value}; make a worker with new_worker()"
            )
            raise ArgumentValueError(message)

    def _reset_counts(self) -> None:
        #: Runs of the last start that have begun, the one in flight included; a retry is not counted again.
        self.run_count = 0
        #: Attempts of the last start that raised.
        self.failure_count = 0
        #: Slots of the last start that were dismissed.
        self.missed_count = 0
        #: Slots of the last start that passed while it was paused.
        self.skipped_count = 0
        #: Repetitions of failed runs of the last start.
        self.retry_count = 0
        #: Runs of the last start that took longer than the timeout.
        self.overdue_count = 0
        #: Why the worker paused itself; "" if it did not.
        self.pause_reason = ""
        #: The error of the last run that failed; None from start() on.
        self.last_error: ErrorInfo | None = None
        #: The error that `finished` raised last; None from start() on.
        self.finished_error: ErrorInfo | None = None
        #: The exception of the last run that failed, with its frames, where keep_frames asks for it.
        self.kept_error: BaseException | None = None

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

        A callback that takes long looks at it now and then. True also where no run is in flight.
        """
        run = self.current
        if run is None:
            return True
        run.start.looked = True
        return run.stop_asked

    def sleep(self, seconds: float) -> bool:
        """Wait in a callback for `seconds` (0 or greater), or until the run is asked to end.

        Returns
        -------
        bool
            True if the time is over, False if the run should end.

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
        if not wait_until(self._has_result, self._waiters, check_timeout(timeout)):
            message = f"no run of worker {self._name!r} has ended in time; wait again"
            raise JobTimeout(message)
        return self._result()

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in a coroutine, as ``await worker``; the rest is as in :meth:`result`."""
        yield from await_until(self._has_result, self._waiters)
        return self._result()

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
        """End (UTC epoch seconds) and value of the last runs, at most 100, oldest first; None is left out."""
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

    def preview(self, count: int = 5) -> list[datetime]:
        """Return the next instants at which the worker would run if it were started now, at most `count`.

        A run is taken to need no time, and jitter is left out. `until` and `max_count` are honoured.

        Raises
        ------
        ArgumentTypeError
            If `count` is no whole number.
        ArgumentValueError
            If `count` is less than 1.
        """
        wanted = check_count(count, "count") or 0
        now = self._host.now()
        limit = wanted if self._max_count is None else min(wanted, self._max_count)
        if self.cron is not None:
            instants = [
                each.timestamp() for each in self.cron.preview(limit, datetime.fromtimestamp(now, self.cron.zone))
            ]
        elif self.is_actor:
            instants = [now + self._delay if self._at is None else max(now, self._at)]
        else:
            first = now + self._interval if self._start_with_delay else now
            instants = [first + k * self._interval for k in range(limit)]
        zone = self.cron.zone if self.cron is not None else None
        kept = [each for each in instants if self._until is None or each <= self._until]
        return [
            datetime.fromtimestamp(each, zone) if zone else datetime.fromtimestamp(each).astimezone() for each in kept
        ]

    # -- what it says of itself

    @property
    def state(self) -> WorkerState:
        """Where the worker stands in its life."""
        return self._state

    @property
    def status(self) -> str:
        """The state in one word for people.

        "failed" stands for a worker whose last run failed and that waits for its next one, or ended by itself.
        """
        state = self._state
        may_fail = state is WorkerState.WAITING or (state is WorkerState.STOPPED and self._ended_itself)
        return FAILED if may_fail and self.last_run_failed else state.value

    @property
    def running(self) -> bool:
        """Whether the worker was started and has not ended."""
        return self._state in ACTIVE

    @property
    def executing(self) -> bool:
        """Whether a run is in flight."""
        return isinstance(self._busy, RunningRun)

    @property
    def current(self) -> RunningRun | None:
        """The run in flight, None if there is none."""
        busy = self._busy
        return busy if isinstance(busy, RunningRun) else None

    @property
    def next_run_time(self) -> float | None:
        """When the next run is due, in UTC epoch seconds; None if none is to come or the end of a run decides."""
        start = self._start
        if start is None or self._state not in (WorkerState.WAITING, WorkerState.RUNNING):
            return None
        if self._state is WorkerState.RUNNING:
            return self._run_after_this(start)
        if start.wall is not None and not start.now and start.retry_at is None:
            return start.wall + start.jitter
        return self._host.epoch(start.next_due(self._host.monotonic()))

    def _run_after_this(self, start: Start) -> float | None:
        if self._max_count is not None and start.counted + 1 >= self._max_count:
            return None
        if isinstance(start.schedule, CronTimes):
            slot = start.wall
            return slot if slot is None or start.beside else start.schedule.cron.next_after(slot)
        slot = start.next_slot()
        return None if slot is None else self._host.epoch(slot)

    @property
    def history(self) -> list[RunRecord]:
        """Records of the last runs, at most 100, newest last; they survive stop() and start()."""
        return [RunRecord._make(fields) for fields in list(self._records)]

    @property
    def last_run_failed(self) -> bool:
        """Whether the last run of the present start raised."""
        if self.last_error is None:
            return False
        try:
            return bool(self._records[-1][6] == FAILED)
        except IndexError:
            return False

    @property
    def last_duration(self) -> float | None:
        """Seconds the last run took; None before the first has ended."""
        try:
            duration: float = self._records[-1][5]
        except IndexError:
            return None
        return duration

    @property
    def last_value(self) -> Any:
        """What the last run returned; None before the first has ended or if it raised."""
        try:
            return self._records[-1][7]
        except IndexError:
            return None

    @property
    def outlook(self) -> str:
        """What happens next, for people, as in "tries again at 14:30:05 (attempt 2 of 5)"."""
        start, state = self._start, self._state
        if state is WorkerState.PAUSED:
            return self.pause_reason or "paused until it is resumed"
        if start is None or state not in ACTIVE:
            return "not started yet" if start is None else "stopped; nothing more happens before it is started again"
        if state is WorkerState.WAITING and start.retry_at is not None and not start.now:
            retry = self._retry
            limit = f" of {retry.attempts}" if retry is not None and retry.attempts is not None else ""
            return f"tries again at {_clock_text(self._host.epoch(start.retry_at))} (attempt {start.attempt}{limit})"
        following = self.next_run_time
        if following is not None:
            return f"runs again at {_clock_text(following)}"
        return "is running; what comes next is decided when it ends"

    def lints(self) -> list[Lint]:
        """Return what looks wrong with the worker although nothing has failed.

        Kinds are "overruns" (the last runs took longer than the interval), "deaf" (a run in flight for long and
        none of this start ever looked at the stop flag) and "silent" (no run has ended for five intervals).
        """
        start, state = self._start, self._state
        if start is None or state not in ACTIVE:
            return []
        interval = None if self.is_actor or self.cron is not None else self._interval
        records = self._records
        try:
            durations = [records[-k][5] for k in range(1, LOOKED_AT + 1)] if len(records) >= LOOKED_AT else []
            heard = max(start.begun, records[-1][4]) if records else start.begun
        except IndexError:  # a record was dropped meanwhile
            durations, heard = [], start.begun
        return lints(
            interval=interval,
            on_grid=interval if self._run_on_time else None,
            durations=durations,
            run=self.current,
            silence=None if state is WorkerState.PAUSED else self._host.now() - heard,
        )

    def stack(self) -> str:
        """Return where the run in flight stands, as the lines of a traceback; "" if none is in flight.

        Frames of this package are left out. It is a picture of a moving thing: it was true for a moment.
        """
        run = self.current
        return "" if run is None else stack_text(run, self._host.capture)

    @property
    def schedule(self) -> str:
        """When it runs, for people, as in "every 5 s"."""
        if self.cron is not None:
            return f"cron {self.cron.expression}"
        if not self.is_actor:
            interval = duration_text(self._interval)
            return f"every {interval}" if self._run_on_time else f"{interval} after each"
        if self._at is not None:
            return f"once at {datetime.fromtimestamp(self._at).astimezone():%Y-%m-%d %H:%M:%S}"
        return f"once after {duration_text(self._delay)}" if self._delay else "once"

    def snapshot(self) -> WorkerSnapshot:
        """Return the worker as it is now."""
        run = self.current
        error = self.last_error
        return WorkerSnapshot(
            self.id,
            self._name,
            self.schedule,
            self.status,
            run is not None,
            self.next_run_time,
            self.run_count,
            self.failure_count,
            self.missed_count,
            self.last_duration,
            self.pause_reason or (error.line if error is not None and self.last_run_failed else ""),
            run.started if run is not None else None,
            self.is_actor,
            self.running,
            self.cell,
            run.progress if run is not None else None,
            tuple(lint.kind for lint in self.lints()),
            self.orphan,
        )

    def __repr__(self) -> str:
        """Return a text that is the same whenever it is asked: no state, no address."""
        return f"BackgroundWorker({self._name!r}, {self.schedule})"

    # -- for the pool

    @property
    def _state(self) -> WorkerState:
        # The state is the start's, so that a new start and its state are stored in one step.
        start = self._start
        return WorkerState.NEW if start is None else start.state

    @_state.setter
    def _state(self, state: WorkerState) -> None:
        if self._start is not None:
            self._start.state = state

    def _record(self, fields: tuple[Any, ...]) -> None:
        """Keep the record of a run. Under the pool's lock."""
        if self._records is _NO_RECORDS:
            self._records = deque((fields,), HISTORY_LENGTH)
        else:
            self._records.append(fields)

    def _last_output(self) -> RunOutput:
        """Return the output of the last run, for what `finished` adds to it."""
        try:
            fields = self._records[-1]
        except IndexError:
            return RunOutput()
        output: RunOutput | None = fields[9]
        if output is None:
            output = RunOutput()
            self._records[-1] = (*fields[:9], output)
        return output

    def _new_start(self, kwargs: dict[str, Any], now: float, wall: float) -> Start:
        """Return a start with everything checked; the worker itself is not changed."""
        known = self._call_signature
        if known is None or known.function is not self._callback:
            known = self._call_signature = Signature(self._callback)
        bare = known.plain and not known.injected and not kwargs
        call = self._callback if bare else self._bound(known, kwargs, "the callback")
        finish = None if self._finished is None else self._finish_call(self._finished, kwargs)
        schedule, slot = self._new_schedule(now, wall)
        return Start(schedule, call, finish, wall=slot, jitter=self._jitter, begun=wall)

    def _new_schedule(self, now: float, wall: float) -> tuple[Schedule, float | None]:
        """Return the schedule of a new start, and its first slot where that is an instant of the wall clock."""
        if self.cron is not None:
            slot = self.cron.next_after(wall)
            return CronTimes(now + min(slot - wall, SLICE), self.cron, self._run_past_events), slot
        if self.is_actor:
            if self._at is not None:
                return Once(now + min(max(0.0, self._at - wall), SLICE)), self._at
            return Once(now + self._delay), None
        first = now + self._interval if self._start_with_delay else now
        if self._run_on_time:
            return FixedRate(first, self._interval, self._run_past_events), None
        return FixedDelay(first, self._interval), None

    def _drop_old_displays(self) -> None:
        """Let only the latest records keep their pictures."""
        if len(self._records) > DISPLAYS_KEPT:
            old: RunOutput | None = self._records[-DISPLAYS_KEPT - 1][9]
            if old is not None:
                old.drop_displays()

    def _wake_waiters(self) -> None:
        wake(self._waiters)

    def _finish_call(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
        known = self._finish_signature
        if known is None or known.function is not function:
            known = self._finish_signature = Signature(function)
        return self._bound(known, kwargs, "finished")

    def _bound(self, known: Signature, kwargs: dict[str, Any], role: str) -> Callable[[], Any]:
        return known.bound(kwargs, {"_data": self.data, "_worker": self}, f"start() of {self._name!r}", role)


def _clock_text(instant: float) -> str:
    """Return a local time for people, with the day where that is not today."""
    moment = datetime.fromtimestamp(instant).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M:%S}"
