"""Job: the handle of one task on a pooled thread. And how many paused threads are worth keeping."""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
from _thread import get_ident
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from .arguments import check_number
from .calls import Result, call_captured, hand_to_loop
from .errors import ArgumentTypeError, ArgumentValueError, JobCancelled
from .output import RunOutput
from .results import Awaited, Waiter, wake
from .runs import STOPPED, ErrorInfo
from .stacks import stack_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .clock import Clock
    from .loop import LoopTask, LoopThread
    from .output import RunCapture

__all__ = ["Balance", "Job", "JobState"]

_numbers = itertools.count(1)


class JobState(enum.Enum):
    """Where a job stands."""

    #: Accepted; no thread has taken it yet.
    WAITING = "waiting"
    #: A thread executes its task.
    RUNNING = "running"
    #: The task returned.
    DONE = "done"
    #: The task raised.
    FAILED = "failed"
    #: Stopped before it began, or, a coroutine, while it ran.
    CANCELLED = "cancelled"


class Job(Awaited):
    """The handle of one task, not of the thread that carries it.

    A pool makes it (:meth:`WorkerPool.run_job`). A task that names a parameter ``_job`` receives it,
    and can look at :attr:`should_stop`.

    Notes
    -----
    Threads: may be used from any thread. Only :meth:`result` and :meth:`exception` block.
    """

    __slots__ = (
        "_awaited",
        "_capture",
        "_claim",
        "_clock",
        "_exception",
        "_log",
        "_loop",
        "_state",
        "_task",
        "_value",
        "_waiters",
        "ended",
        "error",
        "handle",
        "id",
        "name",
        "output",
        "should_stop",
        "started",
        "thread",
    )

    def __init__(
        self,
        task: Callable[..., Any],
        name: str | None,
        clock: Clock,
        capture: RunCapture | None,
        log: Callable[[str], None],
        loop: LoopThread | None,
        awaited: dict[Job, None],
    ) -> None:
        self.id: int = next(_numbers)
        self.name: str = name if name is not None else f"job-{self.id}"
        self._task: Callable[..., Any] | None = task
        self._clock = clock
        self._capture = capture
        self._log = log
        #: Where its coroutine runs; None: on the thread that executes it.
        self._loop = loop
        #: The pool's jobs whose coroutines run there.
        self._awaited = awaited
        #: The task of its coroutine on the event loop; None if it has none.
        self.handle: LoopTask | None = None
        #: Identity of the thread that executes its task; None before one does.
        self.thread: int | None = None
        self._state = JobState.WAITING
        # Whoever pops the one item decides what becomes of the job: a thread that runs it, or stop().
        # list.pop is one step of the interpreter, so that no lock is needed.
        self._claim: list[None] = [None]
        self._waiters: list[Waiter] = []
        self._value: Any = None
        self._exception: BaseException | None = None
        #: Set by stop(): the task is asked to end.
        self.should_stop = False
        self.error: ErrorInfo | None = None
        self.output: RunOutput | None = None
        #: UTC epoch seconds, None before it began.
        self.started: float | None = None
        #: UTC epoch seconds, None before it ended.
        self.ended: float | None = None

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        return self._state

    @property
    def running(self) -> bool:
        """Whether a thread executes the task now."""
        return self._state is JobState.RUNNING

    @property
    def done(self) -> bool:
        """Whether the job is over: returned, raised or cancelled."""
        return self._state not in (JobState.WAITING, JobState.RUNNING)

    def stop(self) -> bool:
        """Take the job back if it waits; ask its task to end if it runs.

        Returns
        -------
        bool
            True if the task will not begin, or was cancelled; False if it runs or is over. A running function is
            asked through :attr:`should_stop` and cannot be forced. A running coroutine is cancelled where it
            awaits; when it has ended by that, the job is cancelled too.
        """
        self.should_stop = True
        try:
            self._claim.pop()
        except IndexError:
            if self.handle is not None and not self.done:
                self.handle.cancel()
            return self._state is JobState.CANCELLED
        self._task = None
        self._exception = JobCancelled(f"job {self.name!r} was stopped before it began; run_job() makes a new one")
        self._end(JobState.CANCELLED)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return what the task returned, or raise what it raised.

        Parameters
        ----------
        timeout
            Seconds; 0 looks without waiting, None waits without limit.

        Raises
        ------
        JobTimeout
            If the job had not ended in time.
        JobCancelled
            If it was stopped before it began, or its coroutine while it ran.
        ArgumentValueError
            If `timeout` is negative or not finite.
        """
        self._wait(timeout)
        return self._result()

    def _result(self) -> Any:
        if self._exception is not None:
            raise self._exception.with_traceback(None)  # without the frames of those who asked before
        return self._value

    def _has_result(self) -> bool:
        return self.done

    def _not_yet(self) -> str:
        return f"job {self.name!r} has not ended in time and goes on; wait again or stop() it"

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the task raised, None if it returned.

        Parameters
        ----------
        timeout
            Seconds; 0 looks without waiting, None waits without limit.

        Raises
        ------
        JobTimeout
            If the job had not ended in time.
        JobCancelled
            If it was stopped before it began, or its coroutine while it ran.
        """
        self._wait(timeout)
        if self._state is JobState.CANCELLED and self._exception is not None:
            raise self._exception
        return self._exception

    def stack(self) -> str:
        """Return where the task stands, as the lines of a traceback; "" if it does not run.

        Frames of this package are left out. It is a picture of a moving thing: it was true for a moment.
        """
        text = stack_text(self, self._capture)
        return text if self.running else ""  # its thread may have gone on to another job

    def execute(self, seat: Any = None) -> None:
        """Run the task on this thread, unless it was stopped. For the pool."""
        try:
            self._claim.pop()
        except IndexError:
            return
        task: Any = self._task
        self._task = None
        self.started = self._clock.time()
        self.thread = get_ident()
        self._state = JobState.RUNNING
        if self._capture is not None:
            self.output = RunOutput()
        call = functools.partial(task, _job=self) if _names_job(task) else task
        result = call_captured(call, self._capture, self.output, self._report, self._hand_over)
        if seat is not None:
            seat.task = None  # before the end is visible: who sees the job done finds its thread paused
        task = call = None
        if result is not None:
            self._conclude(result)

    def cut_off(self, error: BaseException) -> bool:
        """End the job where a KeyboardInterrupt cut off execute() between two steps; return whether to begin again."""
        if self._claim:
            return True
        # Nobody else executes it, but stop() may have taken it back.
        if not self.done and self.handle is None and (self.running or not self.should_stop):
            self._report(ErrorInfo.of(error, self._capture), error)
            self._end(JobState.FAILED)
        return False

    def _hand_over(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Let the coroutine of the task go on on the event loop, where stop() can cancel it."""
        if self._loop is None:
            return False
        self._awaited[self] = None
        self.handle = hand_to_loop(self._loop, coroutine, self._capture, self.output, self._report, self._conclude)
        if self.handle is None:
            self._awaited.pop(self, None)
        elif self.should_stop:  # stop() came before there was something to cancel
            self.handle.cancel()
        return self.handle is not None

    def _report(self, error: ErrorInfo, raised: BaseException) -> None:
        self.error = error
        # The frames would keep every local of the task alive: a note has their text.
        self._exception = raised.with_traceback(None)
        raised.add_note(f"The task's own traceback:\n{error.traceback}")
        self._log(f"job {self.name!r} failed: {error.line}\n{error.traceback}")

    def _conclude(self, result: Result) -> None:
        """Keep what became of the task."""
        self._awaited.pop(self, None)
        state = JobState.DONE
        if result.left is not None:  # SystemExit, which ends a worker, is for a job an error as any other
            self._report(ErrorInfo.of(result.left, self._capture), result.left)
        if result.outcome == STOPPED:
            state = JobState.CANCELLED
            self._exception = JobCancelled(f"job {self.name!r} was stopped; run_job() makes a new one")
        elif self._exception is not None:
            state = JobState.FAILED
        else:
            self._value = result.value
        if self.output is not None and self.output.empty:
            self.output = None
        self._end(state)

    def _end(self, state: JobState) -> None:
        self.ended = self._clock.time()
        self._state = state
        wake(self._waiters)

    def __repr__(self) -> str:
        """Return a text without state and address."""
        return f"Job({self.name!r})"


def _names_job(task: Any) -> bool:
    """Return whether a task has a parameter ``_job``; for a plain function without the cost of its signature."""
    code = getattr(task, "__code__", None)
    if code is not None:
        return "_job" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if isinstance(task, BuiltinFunctionType | type):
        return False
    try:
        return "_job" in inspect.signature(task).parameters
    except (TypeError, ValueError):
        return False


class Balance(NamedTuple):
    """When and how far the paused threads are reduced."""

    #: Most paused threads for one running thread.
    target: float = 3.0
    #: Count of requests between two looks.
    latency: int = 1000
    #: The paused threads are divided by this; the quotient ends.
    reduce_factor: float = 2.0

    @classmethod
    def checked(cls, target: object, latency: object, reduce_factor: object) -> Balance:
        """Return the balance; None stands for a default; bad values are refused with one sentence."""
        standard = cls()
        wanted = standard.target if target is None else check_number(target, "balance_target", "give 3.0 for example")
        if wanted < 0:
            message = f"balance_target must be 0 or greater, not {wanted}; give 3.0 for example"
            raise ArgumentValueError(message)
        if latency is None:
            latency = standard.latency
        if isinstance(latency, bool) or not isinstance(latency, int):
            message = f"balance_latency must be a whole number, not {latency!r}; give 1000 for example"
            raise ArgumentTypeError(message)
        if latency < 1:
            message = f"balance_latency must be at least 1, not {latency}; give 1000 for example"
            raise ArgumentValueError(message)
        factor = standard.reduce_factor
        if reduce_factor is not None:
            factor = check_number(reduce_factor, "balance_reduce_factor", "give 2.0 for example")
        if factor < 1:
            message = f"balance_reduce_factor must be at least 1, not {factor}; give 2.0 for example"
            raise ArgumentValueError(message)
        return cls(wanted, latency, factor)

    def surplus(self, running: int, paused: int) -> int:
        """Return the count of paused threads that should end."""
        if paused / max(1, running) <= self.target:
            return 0
        return int(paused // self.reduce_factor)
