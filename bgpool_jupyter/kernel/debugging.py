"""``%bgdebug``: the failed body again under IPython's debugger, or a post-mortem of the frames that were kept.

A worker never overlaps itself. So it is paused while its body is run again, a run in flight is waited for, and
it goes on afterwards if nobody has decided otherwise meanwhile. Frames that were kept are dead: looking at them
pauses nothing.
"""

from __future__ import annotations

import asyncio
import bdb
import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from IPython.core.error import StdinNotImplementedError, UsageError

from ..card import card
from ..engine import BackgroundWorker, InvalidTransition, WorkerPool, WorkerState
from ..engine.arguments import check_delay, safe_repr
from ..engine.runs import ErrorInfo, is_ours, outside
from ..engine.starts import Signature
from ..table import clean_text, format_duration
from .capture import CURRENT_OUTPUT
from .cells import CellBody
from .reports import quoted_name

__all__ = ["DebugOptions", "debug", "worker_to_debug"]

_REASON = "paused while %bgdebug runs its body"
_HINT = "(h lists the commands: p NAME shows a value, u and d go through the frames, q ends)"


class DebugOptions(NamedTuple):
    """How a worker is debugged."""

    #: Run the body again, also where frames were kept.
    again: bool = False
    #: Look at the frames that were kept, or refuse.
    post_mortem: bool = False
    #: Run the body again and stop before its first line.
    step: bool = False
    #: Most seconds that a run in flight is waited for.
    wait: float = 5.0


def worker_to_debug(matching: list[BackgroundWorker], everything: list[BackgroundWorker]) -> BackgroundWorker:
    """Return the one worker that is meant.

    Parameters
    ----------
    matching
        Those that the name fits.
    everything
        All workers, of which those that failed are named where none can be debugged.

    Raises
    ------
    UsageError
        If there are several, or the one has not failed.
    """
    failed = [worker for worker in everything if worker.last_error is not None]
    if len(matching) > 1:
        names = sorted({clean_text(worker.name) for worker in matching})
        if len(names) == 1:
            raise UsageError(f"{len(matching)} workers are called {names[0]!r}; give the one you mean another name")
        raise UsageError(f"%bgdebug takes one worker, {len(matching)} match: {_listed(names)}; name one")
    worker = matching[0]
    if worker.last_error is None:
        others = sorted(clean_text(each.name) for each in failed)
        hint = f"{_listed(others)} {'has' if len(others) == 1 else 'have'}" if others else "no worker has"
        raise UsageError(f"no run of {clean_text(worker.name)!r} has failed since its start; {hint}")
    return worker


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004 - one line is enough
    return ", ".join(repr(name) for name in names[:5]) + more


def debug(shell: Any, pool: WorkerPool, worker: BackgroundWorker, options: DebugOptions) -> None:
    """Open the debugger on a worker that failed.

    Raises
    ------
    UsageError
        If there is nobody to answer the debugger, no frames were kept but are asked for, or a run in flight
        does not end.

    Notes
    -----
    Threads: belongs to the main thread; blocks as long as the debugger is open.
    """
    _refuse_silent_front_end(shell, worker)
    kept = worker.kept_error
    if options.post_mortem and kept is None:
        raise UsageError(
            f"no frames of {clean_text(worker.name)!r} were kept; make it with --keep-frames, "
            "or leave --post-mortem out to run its body again"
        )
    debugger = _Debugger(shell, worker)
    if kept is not None and not options.again and not options.step:
        found = card(worker)
        debugger.say(f"{found.title}: its frames, as they were" if found is not None else "frames that were kept")
        debugger.post_mortem(kept)
        return
    with _held(worker, pool, options.wait):
        debugger.run(_again(worker), first_line_of=worker.callback if options.step else None)


def _refuse_silent_front_end(shell: Any, worker: BackgroundWorker) -> None:
    if threading.current_thread() is not threading.main_thread() or CURRENT_OUTPUT.get() is not None:
        raise UsageError("the debugger belongs to the main thread; write %bgdebug in a cell, not in a background run")
    # The kernel notes with each cell whether its front end answers questions.
    if not getattr(getattr(shell, "kernel", None), "_allow_stdin", True):
        raise _no_input(worker)


def _no_input(worker: BackgroundWorker) -> UsageError:
    return UsageError(
        "this front end takes no input, as with nbclient, nbconvert and papermill, and cannot answer a debugger; "
        f"%bgpool log {quoted_name(worker)} shows the traceback"
    )


# ---------------------------------------------------------------------- never two runs at once


@contextlib.contextmanager
def _held(worker: BackgroundWorker, pool: WorkerPool, patience: float) -> Iterator[None]:
    """Let no run of the worker begin meanwhile; wait for the one in flight for at most `patience` seconds."""
    held = False
    if worker.running and worker.state is not WorkerState.PAUSED:
        with contextlib.suppress(InvalidTransition):  # it has ended just now
            worker.pause()
            worker.pause_reason = _REASON
            held = True
    try:
        _await_run_in_flight(worker, pool, patience)
        yield
    finally:
        # Another reason is another decision: its last run made it pause, or somebody resumed and paused it.
        if held and worker.pause_reason == _REASON:
            worker.unpause()
            worker.pause_reason = ""  # where the run that was waited for has ended it, there is nothing to resume


def _await_run_in_flight(worker: BackgroundWorker, pool: WorkerPool, patience: float) -> None:
    feed = pool.watch()
    try:
        end = time.monotonic() + patience
        while (run := worker.current) is not None:
            left = end - time.monotonic()
            if left <= 0:
                name = quoted_name(worker)
                raise UsageError(
                    f"a run of {clean_text(worker.name)!r} is in flight for {format_duration(run.elapsed())} and did "
                    f"not end within {format_duration(patience)}: %bgpool stack {name} shows what it does, "
                    f"%bgdebug --wait 1m {name} waits longer"
                )
            feed.wait(left)
            feed.take()
    finally:
        feed.close()


# ---------------------------------------------------------------------- the body, as a run calls it


def _again(worker: BackgroundWorker) -> Callable[[], Any]:
    """Return the call that a run of the worker makes, for this thread and this cell."""
    callback = worker.callback
    if isinstance(callback, CellBody):
        callback = callback.here()
    provided = {"_data": worker.data, "_worker": _DebuggedWorker(worker)}
    return Signature(callback).bound(worker.args, provided, f"%bgdebug {clean_text(worker.name)}", "the callback")


class _DebuggedWorker:
    """Stands for the worker in the body that is debugged: no run of the worker is in flight meanwhile.

    So nobody asks it to end, it sleeps as long as it wants, and its progress is nobody's.
    """

    def __init__(self, worker: BackgroundWorker) -> None:
        object.__setattr__(self, "_behind", worker)

    should_stop = False

    def sleep(self, seconds: float) -> bool:
        time.sleep(check_delay(seconds, "seconds"))
        return True

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        pass

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return BackgroundWorker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._behind, name, value)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._behind

    def __hash__(self) -> int:
        return hash(self._behind)

    def __repr__(self) -> str:
        return repr(self._behind)


def _finished_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on this thread, also inside of a running event loop, as in a kernel.

    The debugger blocks that loop anyway while it waits for an answer. The loop and its task are put aside for
    the time, as asyncio wants it of those who drive loops themselves, and the coroutine has a loop of its own.
    """
    outer = asyncio._get_running_loop()  # noqa: SLF001 - for those who drive loops, as are the ones below
    task = asyncio.current_task(outer) if outer is not None else None
    if outer is not None and task is not None:
        asyncio.tasks._leave_task(outer, task)  # noqa: SLF001
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        # With a factory the runner leaves the thread's own loop, asyncio.get_event_loop(), alone.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(coroutine)
    finally:
        asyncio._set_running_loop(outer)  # noqa: SLF001
        if outer is not None and task is not None:
            asyncio.tasks._enter_task(outer, task)  # noqa: SLF001


# ---------------------------------------------------------------------- the debugger


class _Debugger:
    """IPython's debugger, for one worker."""

    def __init__(self, shell: Any, worker: BackgroundWorker) -> None:
        self._shell = shell
        self._worker = worker

    def say(self, text: str) -> None:
        """Print a line for the person who debugs."""
        print(f"── {clean_text(self._worker.name)} ({self._worker.schedule}), {text}")  # noqa: T201 - what was asked for

    def run(self, call: Callable[[], Any], first_line_of: Callable[..., Any] | None) -> None:
        """Run the body; open the debugger where it raises, or before its first line."""
        found = card(self._worker)
        self.say(f"{found.title}: its body again" if found is not None else "its body again")
        try:
            value = self._called(call) if first_line_of is None else self._stepped(call, first_line_of)
        except bdb.BdbQuit:
            return
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        except SystemExit:
            self.say("the body ended its worker this time, and did not fail")
            return
        except StdinNotImplementedError:
            raise _no_input(self._worker) from None
        except BaseException as error:
            self.post_mortem(error)
            return
        self.say(f"it did not fail this time, its value is {safe_repr(value)}; --step stops before its first line")

    def _called(self, call: Callable[[], Any]) -> Any:
        value = call()
        return _finished_here(value) if inspect.iscoroutine(value) else value

    def _stepped(self, call: Callable[[], Any], callback: Callable[..., Any]) -> Any:
        """Call under the debugger's trace; raise BdbQuit where the person left it."""
        stepper = _stepper(self._shell.debugger_cls, callback)()
        value = stepper.runcall(self._called, call)  # which takes BdbQuit for an ordinary end
        if stepper.left:
            raise bdb.BdbQuit
        return value

    def post_mortem(self, error: BaseException) -> None:
        """Open the debugger where an error was raised."""
        print(ErrorInfo.of(error).line)  # noqa: T201 - what was asked for
        frames = outside(error.__traceback__)
        if frames is None:
            self.say("the error has no frames to look at")
            return
        print(_HINT)  # noqa: T201
        self._interact(frames)

    def _interact(self, frames: TracebackType) -> None:
        debugger = self._shell.debugger_cls()
        debugger.reset()
        try:
            debugger.interaction(None, frames)
        except StdinNotImplementedError:
            raise _no_input(self._worker) from None


def _stepper(base: Any, callback: Callable[..., Any]) -> Any:
    """Return the debugger's class, with stops that begin where the callback's own code does, and not in ours."""
    code = getattr(inspect.unwrap(callback), "__code__", None)
    filename: str | None = getattr(callback, "filename", None) or (code.co_filename if code is not None else None)

    class Stepper(base):  # type: ignore[misc]
        reached = False
        left = False

        def stop_here(self, frame: Any) -> bool:
            here: str = frame.f_code.co_filename
            if is_ours(here) or not (self.reached or filename in {here, None}):
                return False
            self.reached = True
            return bool(super().stop_here(frame))

        def user_call(self, frame: Any, argument_list: Any) -> None:
            """Stop at lines alone: that a function is entered is seen at its first one."""

        def set_quit(self) -> None:
            self.left = True
            super().set_quit()

    return Stepper
