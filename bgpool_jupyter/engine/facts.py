"""WorkerFacts: what a worker is given, and what the pool keeps of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .arguments import check_callable, check_count, check_delay, check_interval
from .cron import Cron
from .errors import ArgumentValueError
from .events import PoolEvent
from .listeners import Listener, ListenerHost
from .output import RunOutput
from .results import Waiter, wake
from .retry import Retry, check_retry
from .runs import DISPLAYS_KEPT, HISTORY_LENGTH, ErrorInfo, RunningRun
from .settings import Alias, Setting, check_finished, check_instant_setting, check_own_name, check_timeout_setting, flag
from .starts import Signature, Start
from .states import WorkerState

__all__ = ["Host", "WorkerFacts"]


#: The records of every worker that has none yet. It stays empty.
_NO_RECORDS: list[tuple[Any, ...]] = []


class Host(ListenerHost, Protocol):
    """What a worker asks of its pool."""

    @property
    def suspended(self) -> bool:
        """Whether the runs of all workers are held."""
        ...

    def start_worker(self, worker: Any, kwargs: dict[str, Any], /) -> None:
        """Start the worker with these arguments."""

    def stop_worker(self, worker: Any, /) -> None:
        """Stop the worker."""

    def restart_worker(self, worker: Any, interval: float | None, /) -> None:
        """Start the worker with the arguments of its last start, and with a new interval if one is given."""

    def pause_worker(self, worker: Any, /) -> None:
        """Pause the worker."""

    def unpause_worker(self, worker: Any, immediately: bool, /) -> None:
        """Let the worker go on."""

    def run_worker_now(self, worker: Any, /) -> None:
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

    def _inside(self) -> bool:
        """Return whether this thread is inside of a section of the pool, as in a ``__del__``."""
        ...

    def _retry_threads(self) -> bool:
        """Try again to start a thread, where work waits because none could be; return whether that is still so."""
        ...

    def changed(self, worker: Any, /) -> None:
        """Note that a setting was written."""


class WorkerFacts:
    """The settings of a worker, its counts, and what the pool's state machine writes.

    The base of :class:`BackgroundWorker`, which adds what people call.
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
        "Instant of an actor's run, or of a worker's first slot, in UTC epoch seconds; None if it has none. "
        "Counts from the next start().",
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

    max_lateness: Setting[float | None] = Setting(
        check_timeout_setting,
        "Most seconds by which a run may begin late; a slot that would is dismissed instead. None for no limit.",
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
    _max_lateness: float | None
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
        "_listener",
        "_max_count",
        "_max_failures",
        "_max_lateness",
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
        on_event: Callable[[PoolEvent], Any] | None = None,
        **settings: Any,
    ) -> None:
        self._host = host
        self._listener: Listener | None = None if on_event is None else Listener(on_event, host)
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
        #: The last records, newest last. A deque takes 0.7 kB: a worker has one from its second record on.
        self._records: deque[tuple[Any, ...]] | list[tuple[Any, ...]] = _NO_RECORDS

    def _veto(self, name: str, value: object) -> None:
        """Refuse a value that is right in itself but not for this worker."""
        if name == "max_count" and self.is_actor and value != 1:
            message = (
                f"max_count of the actor {self._name!r} is 1 and cannot be {value}; make a worker with new_worker()"
            )
            raise ArgumentValueError(message)
        if name == "at" and self.cron is not None and value is not None:
            message = f"at={value!r} does not go with the cron expression of {self._name!r}; leave it None"
            raise ArgumentValueError(message)

    @property
    def on_event(self) -> Callable[[PoolEvent], Any] | None:
        """Called with each :class:`PoolEvent` of this worker, one after the other, on a pool thread.

        Another one, or None, takes its place at once: what waits for the old one is dropped.
        """
        listener = self._listener
        return None if listener is None else listener.function

    @on_event.setter
    def on_event(self, function: Callable[[PoolEvent], Any] | None) -> None:
        checked = check_finished(function, "on_event")
        before, self._listener = self._listener, None if checked is None else Listener(checked, self._host)
        if before is not None:
            before.close()
        self._host.changed(self)

    @property
    def event_output(self) -> RunOutput | None:
        """What :attr:`on_event` printed, where output is captured; None if it printed nothing."""
        listener = self._listener
        return None if listener is None or listener.output.empty else listener.output

    def _reset_counts(self) -> None:
        #: Runs of the last start that have begun, the one in flight included; a retry is not counted again.
        self.run_count = 0
        #: Attempts of the last start that raised.
        self.failure_count = 0
        #: Slots of the last start that were dismissed: passed during a run, or later than max_lateness.
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

    # -- what the pool keeps

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
        records = self._records
        if type(records) is deque:
            records.append(fields)
        elif not records:
            self._records = [fields]
        else:
            self._records = deque((*records, fields), HISTORY_LENGTH)

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

    def _drop_old_displays(self) -> None:
        """Let only the latest records keep their pictures."""
        if len(self._records) > DISPLAYS_KEPT:
            old: RunOutput | None = self._records[-DISPLAYS_KEPT - 1][9]
            if old is not None:
                old.drop_displays()

    def _wake_waiters(self) -> None:
        wake(self._waiters)
