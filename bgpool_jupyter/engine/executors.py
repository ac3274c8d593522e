"""Where runs are executed: what a pool asks of an executor, and the executor that uses the caller's thread.

Every executor has the same two sources of work. *Deadlines* hold workers that are due later;
*ready* holds what can be executed now: anything with a method ``execute(seat)``. How a due entry is
run, the pool knows (:class:`Runs`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .calls import Result
from .deadlines import Deadlines
from .jobs import Balance, Job
from .runs import RunningRun

__all__ = ["Executor", "InlineExecutor", "OwnedLock", "Runs"]


class OwnedLock(Protocol):
    """A re-entrant lock that can be asked whether this thread holds it."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def _is_owned(self) -> bool: ...


class Runs(Protocol):
    """What an executor asks of its pool to execute a due entry on a thread of its own."""

    def _begin_run(self, entry: tuple[float, int, Any], /) -> RunningRun | None:
        """Begin the run of a due entry; None if there is none to begin any more. Under the lock."""
        ...

    def _call_run(self, worker: Any, run: RunningRun, /) -> Result | None:
        """Call the callback; None if it goes on elsewhere and ends there. Without the lock."""
        ...

    def _end_run(self, worker: Any, run: RunningRun, result: Result, /, *, on_crew: bool) -> None:
        """Note the end of a run. Under the lock. `on_crew`: this thread looks at the deadlines before it parks."""

    def _flush(self) -> None:
        """Do what was put off under the lock. Without it."""


class Executor(Protocol):
    """What a pool needs of the place where its runs are executed."""

    ready: deque[Any]
    deadlines: Deadlines[Any]
    suspended: bool
    #: Runs are executed by the thread that calls run_due(), and by no other.
    inline: bool

    @property
    def starved(self) -> bool:
        """Work waits, and the last attempt to start a thread for it failed. No lock is needed."""
        ...

    def bind(
        self,
        lock: OwnedLock,
        runs: Runs,
        deferred: deque[Callable[[], None]],
    ) -> None:
        """Learn the pool's lock, how its runs are executed, and where work is put off under it."""

    def submitted(self) -> None:
        """See to it that somebody looks at `ready`. Any thread, with or without the lock."""

    def look(self) -> None:
        """See to it that somebody looks at `ready`. Under the lock."""

    def armed(self, due: float) -> None:
        """See to it that somebody watches for `due`. Under the lock."""

    def counts(self) -> tuple[int, int]:
        """Return the counts of running and paused threads."""
        ...

    def tasks(self) -> list[Any]:
        """Return what is being executed."""
        ...

    def set_balance(self, balance: Balance) -> None:
        """Take new figures for the count of paused threads."""

    def kill(self, timeout: float) -> None:
        """End the paused threads; wait at most `timeout` seconds."""

    def close(self, timeout: float) -> None:
        """End all threads; wait at most `timeout` seconds."""

    def abandon(self) -> None:
        """End all threads, of a pool that was dropped. Any thread, without the lock; returns at once."""

    def repair(self) -> None:
        """Complete what a KeyboardInterrupt cut off. Under the lock."""

    def after_fork(self) -> None:
        """Forget the threads in a forked child."""


class InlineExecutor:
    """Execute on the thread that calls :meth:`WorkerPool.run_due`; start no thread. For virtual time."""

    inline = True
    starved = False

    def __init__(self) -> None:
        self.ready: deque[Any] = deque()
        self.deadlines: Deadlines[Any] = Deadlines()
        self.suspended = False

    def bind(
        self,
        lock: OwnedLock,
        runs: Runs,
        deferred: deque[Callable[[], None]],
    ) -> None:
        """Do nothing: the pool drives."""

    def submitted(self) -> None:
        """Do nothing: run_due() will look."""

    def look(self) -> None:
        """Do nothing: run_due() will look."""

    def armed(self, due: float) -> None:
        """Do nothing: run_due() will look."""

    def counts(self) -> tuple[int, int]:
        """Return the count of accepted jobs and 0: there are no threads."""
        return sum(1 for task in list(self.ready) if isinstance(task, Job)), 0

    def tasks(self) -> list[Any]:
        """Return nothing: the caller's own thread executes."""
        return []

    def set_balance(self, balance: Balance) -> None:
        """Do nothing: there are no paused threads."""

    def kill(self, timeout: float) -> None:
        """Do nothing: there are no threads."""

    def close(self, timeout: float) -> None:  # noqa: ARG002 - the protocol's signature
        """Forget what waits."""
        self.ready.clear()
        self.deadlines.clear()

    def abandon(self) -> None:
        """Do nothing: there are no threads."""

    def repair(self) -> None:
        """Do nothing: there is no watch."""

    def after_fork(self) -> None:
        """Do nothing: there are no threads."""
