"""Job: the handle of one task on a pooled thread. And how many paused threads are worth keeping."""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import itertools
from _thread import get_ident
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .arguments import check_number
from .calls import Result, call_captured, hand_to_loop
from .errors import ArgumentTypeError, ArgumentValueError, JobCancelled
from .output import RunOutput
from .results import Awaited, Waiter, wake
from .runs import STOPPED, ErrorInfo
from .stacks import stack_text

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine

    from .clock import Clock
    from .events import Hub
    from .loop import LoopTask, LoopThread
    from .output import RunCapture

__all__ = ["JOBS_KEPT", "Balance", "Job", "JobState"]

#: Count of the latest jobs that a pool still lists after their end.
JOBS_KEPT = 50
#: So many more it may hold, so that of jobs that end at the same moment none takes off one too many.
_MORE_KEPT = 14

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


# A look-up in an Enum costs more than one in a module.
_WAITING, _RUNNING, _DONE, _CANCELLED = JobState.WAITING, JobState.RUNNING, JobState.DONE, JobState.CANCELLED


class JobHost(Protocol):
    """What a job asks of its pool."""

    clock: Clock
    capture: RunCapture | None
    _hub: Hub
    _loop: LoopThread
    #: The latest jobs, oldest first.
    _jobs: deque[Job]
    #: The jobs whose coroutines run on the loop.
    _awaited: dict[Job, None]
    _executor: Any

    def _inside(self) -> bool:
        """Return whether this thread is inside of a section of the pool, as in a ``__del__``."""
        ...

    def _retry_threads(self) -> bool:
        """Try again to start a thread, where work waits because none could be; return whether that is still so."""
        ...


class Job(Awaited):
    """The handle of one task, not of the thread that carries it.

    A pool makes it (:meth:`WorkerPool.run_job`). A task that names a parameter ``_job`` receives it,
    and can look at :attr:`should_stop`.

    Notes
    -----
    Threads: may be used from any thread. Only :meth:`result` and :meth:`exception` block.
    """

    # What most jobs leave as it is for long stands here once: a flood of jobs is made of these objects.

    #: The task of its coroutine on the event loop; None if it has none.
    handle: LoopTask | None = None
    #: Identity of the thread that executes its task; None before one does.
    thread: int | None = None
    #: Set by stop(): the task is asked to end.
    should_stop: bool = False
    error: ErrorInfo | None = None
    output: RunOutput | None = None
    #: UTC epoch seconds, None before it began.
    started: float | None = None
    #: UTC epoch seconds, None before it ended.
    ended: float | None = None
    _state: JobState = _WAITING
    _value: Any = None
    _exception: BaseException | None = None

    def __init__(self, task: Callable[..., Any], name: str | None, host: JobHost) -> None:
        self.id: int = next(_numbers)
        self._name = name
        self._host = host
        # Whoever deletes it decides what becomes of the job: a thread that runs it, or stop(). Of two that
        # delete an attribute one fails, in one step of the interpreter, so that no lock is needed.
        self._task = task
        # Those who wait for the end. Made for the first of them it would have to be made in one step, in __dict__,
        # and whoever asks for that makes the other attributes slow (CPython 3.11).
        self._waiters: list[Waiter] = []

    @property
    def name(self) -> str:
        """What people call it."""
        return self._name if self._name is not None else f"job-{self.id}"

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
        return self._has_result()

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
            del self._task
        except AttributeError:
            if self.handle is not None and not self.done:
                self.handle.cancel()
            return self._state is JobState.CANCELLED
        # In the step after the one that took the task away: a KeyboardInterrupt between the two does not happen, and
        # one that comes later finds a job that has ended.
        self._state = _CANCELLED
        self._end(_CANCELLED)
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
        error = self._raised()
        if error is not None:
            raise error.with_traceback(None)  # without the frames of those who asked before
        return self._value

    def _raised(self) -> BaseException | None:
        if self._exception is None and self._state is _CANCELLED:
            message = f"job {self.name!r} was stopped before it began; run_job() makes a new one"
            self._exception = JobCancelled(message)
        return self._exception

    def _has_result(self) -> bool:
        state = self._state
        return state is not _WAITING and state is not _RUNNING

    def _inside(self) -> bool:
        return self._host._inside()

    def _starved(self) -> bool:
        return self._host._retry_threads()

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
        error = self._raised()
        if self._state is _CANCELLED and error is not None:
            raise error
        return error

    def stack(self) -> str:
        """Return where the task stands, as the lines of a traceback; "" if it does not run.

        Frames of this package are left out. It is a picture of a moving thing: it was true for a moment.
        """
        text = stack_text(self, self._host.capture)
        return text if self.running else ""  # its thread may have gone on to another job

    def execute(self, seat: Any = None) -> None:
        """Run the task on this thread, unless it was stopped. For the pool."""
        try:
            task: Any = self._task
            del self._task
        except AttributeError:
            return
        host = self._host
        self.started = host.clock.time()
        self.thread = get_ident()
        self._state = _RUNNING
        capture = host.capture
        if capture is not None:
            self.output = RunOutput()
        code = task.__code__ if type(task) is FunctionType else None
        if code is None or code.co_argcount or code.co_kwonlyargcount:
            call = functools.partial(task, _job=self) if _names_job(task) else task
        else:  # a function without parameters, as most tasks are
            call = task
        result = call_captured(call, capture, self.output, self._report, self._hand_over)
        if result is not None and result.left is not None:
            self._report(ErrorInfo.of(result.left, capture), result.left)  # calls the logger, which may ask the pool
        if seat is not None:
            seat.task = None  # before the end is visible: who sees the job done finds its thread paused
        task = call = None
        if result is not None:
            self._conclude(result)

    def cut_off(self, error: BaseException) -> bool:
        """End the job where a KeyboardInterrupt cut off execute() between two steps; return whether to begin again."""
        if "_task" in self.__dict__:
            return True
        # Nobody else executes it, but stop() may have taken it back.
        if not self.done and self.handle is None and (self.running or not self.should_stop):
            self._report(ErrorInfo.of(error, self._host.capture), error)
            self._end(JobState.FAILED)
        return False

    def _hand_over(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Let the coroutine of the task go on on the event loop, where stop() can cancel it."""
        host = self._host
        if host._executor.inline:
            return False
        host._awaited[self] = None
        capture = host.capture if self.output is not None else None
        self.handle = hand_to_loop(host._loop, coroutine, capture, self.output, self._report, self._conclude)
        if self.handle is None:
            host._awaited.pop(self, None)
            return self.should_stop and self._never_begun(coroutine)
        if self.should_stop:  # stop() came before there was something to cancel
            self.handle.cancel()
        return True

    def _never_begun(self, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """End the job without its coroutine, which nobody could cancel on this thread."""
        coroutine.close()
        self._conclude(Result(None, None, STOPPED))
        return True

    def _report(self, error: ErrorInfo, raised: BaseException) -> None:
        self.error = error
        # The frames would keep every local of the task alive: a note has their text.
        self._exception = _without_frames(raised)
        with contextlib.suppress(Exception):  # one that cannot be changed, as of a frozen dataclass, goes without
            raised.add_note(f"The task's own traceback:\n{error.traceback}")
        self._host._hub.log(f"job {self.name!r} failed: {error.line}\n{error.traceback}")

    def _conclude(self, result: Result) -> None:
        """Keep what became of the task."""
        if self._host._awaited:
            self._host._awaited.pop(self, None)
        state = _DONE
        if result.left is not None and self._exception is None:  # SystemExit is for a job an error as any other
            self._report(ErrorInfo.of(result.left, self._host.capture), result.left)
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
        host = self._host
        self.ended = host.clock.time()
        self._state = state
        if self._waiters:
            wake(self._waiters)
        # Here and not in run_job(), where whoever waits for a task to begin would wait for this too.
        if len(host._jobs) > JOBS_KEPT + _MORE_KEPT:
            host._jobs.popleft()

    def __repr__(self) -> str:
        """Return a text without state and address."""
        return f"Job({self.name!r})"


def _without_frames(raised: BaseException) -> BaseException:
    """Take the frames from an exception and from those that it followed or holds."""
    seen: set[int] = set()
    others: list[BaseException | None] = [raised]
    while others:
        error = others.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        error.with_traceback(None)  # and not by an assignment, which a frozen dataclass refuses
        others += (error.__cause__, error.__context__)
        if isinstance(error, BaseExceptionGroup):
            others += error.exceptions
    return raised


def _names_job(task: Any) -> bool:
    """Return whether a task has a parameter ``_job``; for a plain function without the cost of its signature."""
    try:
        code = getattr(task, "__code__", None)
        if code is not None:
            return "_job" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if isinstance(task, BuiltinFunctionType | type):
            return False
        return "_job" in inspect.signature(task).parameters
    except Exception:  # nothing is known of it, or a proxy refuses every look
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
