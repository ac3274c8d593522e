"""The record of a run, and the run in flight."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import traceback
from _thread import TIMEOUT_MAX, allocate_lock, get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .arguments import encodable, safe_repr
from .loop import LoopTask
from .output import RunCapture, RunOutput

if TYPE_CHECKING:
    from _thread import LockType
    from types import TracebackType

    from .clock import Clock

__all__ = [
    "DISPLAYS_KEPT",
    "DONE",
    "ENDED",
    "FAILED",
    "HISTORY_LENGTH",
    "OVERDUE",
    "STOPPED",
    "ErrorInfo",
    "Progress",
    "RunRecord",
    "RunningRun",
    "is_ours",
    "outside",
    "with_labels",
]

#: Most records that a worker keeps; older ones are dropped first.
HISTORY_LENGTH = 100
#: Count of the latest records that keep rich displays; of older ones the plain text stays.
DISPLAYS_KEPT = 20
#: Most characters of a kept traceback; the innermost part is kept.
_MAX_TRACEBACK = 20_000
_MAX_MESSAGE = 2_000

DONE = "done"
FAILED = "failed"
ENDED = "ended"
OVERDUE = "overdue"
STOPPED = "stopped"

_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep  # noqa: PTH100, PTH120 - as below
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - text compared with co_filename


class ErrorInfo(NamedTuple):
    """An exception as text, so that it keeps no frame and no data of the run alive."""

    #: Name of the exception's class.
    type: str
    #: ``str()`` of the exception.
    message: str
    #: The traceback as Python prints it, without the frames of this package.
    traceback: str

    @property
    def line(self) -> str:
        """The error in one line, as in ``ValueError: boom``."""
        first = self.message.strip().split("\n", 1)[0]
        return f"{self.type}: {first}" if first else self.type

    @classmethod
    def of(cls, error: BaseException, capture: RunCapture | None = None) -> ErrorInfo:
        """Take down an exception, one whose ``__str__`` raises too; `capture` knows the names of cells."""
        name = type(error).__name__
        try:
            message = str(error)
        except BaseException:
            message = safe_repr(error)
        try:
            text = "".join(traceback.format_exception(type(error), error, outside(error.__traceback__)))
        except BaseException:
            text = f"{name}: {message}\n"
        text = with_labels(text, capture)
        if len(text) > _MAX_TRACEBACK:
            text = "…" + text[-_MAX_TRACEBACK:]
        return cls(name, encodable(message[:_MAX_MESSAGE]), encodable(text))


def is_ours(filename: str) -> bool:
    """Return whether a source file belongs to this package or to asyncio."""
    return filename.startswith((_PACKAGE, _ASYNCIO))


def outside(frames: TracebackType | None) -> TracebackType | None:
    """Return the traceback without its leading frames of this package and of asyncio, or whole if it has no others."""
    inner = frames
    while inner is not None and is_ours(inner.tb_frame.f_code.co_filename):
        inner = inner.tb_next
    return inner if inner is not None else frames


def with_labels(text: str, capture: RunCapture | None) -> str:
    """Put what people call a source, which `capture` knows, in the place of its file name."""
    if capture is None:
        return text

    def named(found: re.Match[str]) -> str:
        known = capture.label(found[2])
        return found[0] if known is None else f"{found[1]}{known}, line"

    try:
        return re.sub(r'^( *)File "([^"\n]+)", line', named, text, flags=re.MULTILINE)
    except Exception:  # then the file names stay
        return text


class RunRecord(NamedTuple):
    """What is known of a run that has ended. Instants are UTC epoch seconds."""

    #: Count of the runs of this start, from 1. A retry has the number of the run that it repeats.
    number: int
    #: Count of the attempts at this run, from 1.
    attempt: int
    #: When the run should have started.
    due: float
    #: When it started.
    started: float
    #: When it ended.
    ended: float
    #: How long it took, in seconds of the monotonic clock.
    duration: float
    #: "done", "failed", "ended" where the callback ended its worker, "overdue" where it took longer than its
    #: timeout (whatever came of it), "stopped" where it returned after it had seen that it was to end, by stop(), a
    #: new start, removal or the end of the pool, and where a coroutine was cancelled.
    outcome: str
    #: What the callback returned, the object itself.
    value: Any
    error: ErrorInfo | None
    #: What it printed; None where output is not captured or there was none.
    output: RunOutput | None

    @property
    def lateness(self) -> float:
        """Seconds from due to start."""
        return max(0.0, self.started - self.due)

    def __repr__(self) -> str:
        """Return a text without instants, so that it is the same from run to run."""
        error = f", {self.error.line}" if self.error else ""
        return f"RunRecord(run {self.number}, {self.outcome}{error})"


class Progress(NamedTuple):
    """How far a run says it has come."""

    done: float
    #: None where it is not known.
    total: float | None
    text: str

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None where the total is not known."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None


class RunningRun:
    """A run in flight.

    Notes
    -----
    Threads: may be read from any thread; returns at once.
    """

    __slots__ = (
        "_begun",
        "_cancel",
        "_clock",
        "_due",
        "_stop_seen",
        "_waiter",
        "attempt",
        "handle",
        "number",
        "output",
        "overdue",
        "progress",
        "start",
        "started",
        "stop_asked",
        "thread",
        "ticket",
        "watchdog",
    )

    def __init__(self, clock: Clock, start: Any, due: float) -> None:
        self._clock = clock
        self._due = due
        #: The start that the run belongs to.
        self.start = start
        self.number: int = start.counted + 1
        self.attempt: int = start.attempt
        self.output: RunOutput | None = None
        #: It was asked to end: by stop(), by its timeout, or with its pool.
        self.stop_asked = False
        #: It takes longer than its timeout.
        self.overdue = False
        #: How far it says it has come.
        self.progress: Progress | None = None
        #: What notices the timeout; None without one.
        self.watchdog: Any = None
        #: Identity of the thread that executes it; None before it does.
        self.thread: int | None = None
        #: Its task on the event loop; None if the callback is no coroutine.
        self.handle: LoopTask | None = None
        #: Free for the pool's recorder.
        self.ticket: Any = None
        self._waiter: LockType | None = None
        self._cancel: Callable[[], None] | None = None
        self._begun = clock.monotonic()
        #: UTC epoch seconds.
        self.started = clock.time()

    def ask_to_stop(self) -> None:
        """Ask the run to end: end its sleep, cancel its coroutine. Under the pool's lock; returns at once."""
        if not self.stop_asked:
            # Nobody reads it before the run is asked: what most runs do without costs them nothing.
            self._stop_seen = False
            self.stop_asked = True
        waiter, cancel = self._waiter, self._cancel
        if waiter is not None and waiter.locked():
            with contextlib.suppress(RuntimeError):  # another thread was quicker
                waiter.release()
        if cancel is not None:
            cancel()

    def cancel_with(self, cancel: Callable[[], None]) -> None:
        """Have ask_to_stop() call `cancel`; if it was asked already, now."""
        self._cancel = cancel
        if self.stop_asked:
            cancel()

    def look(self) -> bool:
        """Return whether the run is asked to end, and note that its callback has looked, and has seen it.

        Threads that a callback starts look for it. The main thread does not, unless the run is there: that is somebody
        in a cell who wants to know.
        """
        self.start.looked = True
        if not self.stop_asked:
            return False
        me = get_ident()
        if me == self.thread or me != threading.main_thread().ident:
            self._stop_seen = True
        return True

    def sleep(self, seconds: float) -> bool:
        """Wait; return False, early, if the run is asked to end."""
        self.start.looked = True
        waiter = allocate_lock()
        waiter.acquire()
        self._waiter = waiter
        # Noted before the second look: ask_to_stop() sets the flag first and then looks for a waiter.
        if not self.stop_asked:
            self._clock.wait(waiter, min(seconds, TIMEOUT_MAX))
        self._waiter = None
        return not self.look()

    @property
    def due(self) -> float:
        """When the run should have started, in UTC epoch seconds."""
        return self.started - (self._begun - self._due)

    def elapsed(self) -> float:
        """Return the seconds since the run started."""
        return max(0.0, self._clock.monotonic() - self._begun)

    def record(self, end: float, outcome: str, value: object, error: ErrorInfo | None) -> tuple[Any, ...]:
        """Return the fields of a :class:`RunRecord` for a run that ended at the monotonic instant `end`."""
        duration = end - self._begun
        if duration < 0:  # the clock went back
            duration = 0.0
        if self.stop_asked:
            outcome = self._outcome_when_asked(outcome)
        output = self.output
        if output is not None and output.version == 0:
            output = None
        return (
            self.number,
            self.attempt,
            self.started - (self._begun - self._due),
            self.started,
            self.started + duration,
            duration,
            outcome,
            value,
            error,
            output,
        )

    def _outcome_when_asked(self, outcome: str) -> str:
        """Return what became of a run that was asked to end.

        One that returned False after it had seen that counts as stopped too: its start had ended, so it ended nothing.
        """
        if self.overdue:
            return OVERDUE
        seen = self._stop_seen or (self.handle is not None and self.handle.interrupted)
        return STOPPED if seen and outcome != FAILED else outcome

    def __repr__(self) -> str:
        """Return a text without instants."""
        return f"RunningRun(run {self.number})"
