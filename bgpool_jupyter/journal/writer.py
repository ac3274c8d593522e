"""Journal: takes down every run of a pool, in a file, on a thread of its own.

What the pool calls, `began` and `ended`, only puts things down and returns. The thread makes rows of them and commits
them, all that has come since the last time in one transaction: soon after a quiet time, and then at most once a
second, because each commit, with its thread woken from its sleep, costs as much as several runs.

Locks
    None. `began` and `ended` are called under the pool's lock, perhaps from a ``__del__`` that interrupted this very
    module; they use single operations on a dict, a set and a deque. One lock serves as a bell. The thread first says
    that it rests and then looks whether there is something; who puts something down does so first and then looks
    whether the thread rests. One of the two always sees the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import weakref
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from ..engine.arguments import check_delay, safe_repr
from .files import JournalRefused
from .limits import Limits
from .rows import Batch, newest_of_each
from .store import FileVanished, Store, is_damaged, sentence_of

if TYPE_CHECKING:
    from ..engine import BackgroundWorker, RunningRun, RunRecord

__all__ = ["LINGER", "PERIOD", "ROWS_KEPT", "Journal"]

#: Seconds from the first thing after a quiet time to its commit: short runs have ended by then.
LINGER = 0.05
#: Least seconds from one commit to the next.
PERIOD = 1.0
#: Most runs that wait while the file cannot be written; then the oldest are dropped.
ROWS_KEPT = 10_000
#: Most runs that wait for the thread.
_QUEUED = 200_000
#: Seconds until it is tried again to write, the first time and at most.
_RETRY_FIRST, _RETRY_LAST = 1.0, 30.0

_logger = logging.getLogger("bgpool_jupyter")
_journals: weakref.WeakSet[Journal] = weakref.WeakSet()
#: In a forked child: what it must not close.
_of_the_parent: list[Store | None] = []


class _Mark:
    """Somebody waits until everything before it was committed."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.lock.acquire()
        self.committed = False

    def release(self, *, committed: bool) -> None:
        self.committed = committed
        self.lock.release()


class Journal:
    """Keeps the runs of pools in a SQLite file, for a history that outlives the process.

    It is a recorder: ``pool.recorder = Journal(path)``. Several processes may write to one file at a time. Trouble
    with the file is one warning and never an error: runs go on, and the journal tries again, see `problem`.

    Parameters
    ----------
    path
        The file. It is made when there is something to write, with mode 0600, in directories of mode 0700 where they
        are made for it.
    label
        What people call this process, as in the name of its notebook.
    limits
        How much is kept.
    warn
        Called with a sentence when the file cannot be written for the first time; None is the logger
        ``bgpool_jupyter`` of :mod:`logging`.

    Notes
    -----
    Threads: every method may be called from any thread and returns at once, but for :meth:`flush` and :meth:`close`.
    Making one starts a daemon thread named ``bgpool-journal``.

    Examples
    --------
    >>> import tempfile
    >>> from bgpool_jupyter import WorkerPool
    >>> from bgpool_jupyter.journal import Journal, runs
    >>> path = tempfile.mkdtemp() + "/journal.sqlite"
    >>> with WorkerPool() as pool, Journal(path) as journal:
    ...     pool.recorder = journal
    ...     pool.new_actor(lambda: 6 * 7, name="answer").start().result(timeout=10)
    42
    >>> [(run.name, run.outcome, run.value) for run in runs(path=path)]
    [('answer', 'done', '42')]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        label: str = "",
        limits: Limits | None = None,
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.label = label
        self.limits = Limits() if limits is None else limits
        #: Why nothing is written at the moment, one sentence; "" if all is well.
        self.problem = ""
        #: Count of runs that were not written because there was no place for them.
        self.dropped = 0
        self._warn = _logger.warning if warn is None else warn
        self._warned = False
        #: Whether began() and ended() take anything.
        self._open, self._closing = True, False
        #: The runs in flight. Single dict operations need no lock.
        self._flying: dict[RunningRun, BackgroundWorker] = {}
        self._ended: deque[tuple[BackgroundWorker, RunningRun | None, RunRecord]] = deque()
        self._amended: deque[tuple[BackgroundWorker, RunRecord]] = deque()
        self._marks: deque[_Mark] = deque()
        #: Released when the thread is to look. Held otherwise.
        self._bell = allocate_lock()
        self._bell.acquire()
        self._resting = False
        self._urgent = False
        # What follows belongs to the thread.
        self._store: Store | None = None
        self._session: int | None = None
        #: Those of the runs in flight that have a row.
        self._noted: set[RunningRun] = set()
        self._batch = Batch()
        self._retry_at = 0.0
        self._delay = _RETRY_FIRST
        self._given_up = False
        self._thread = threading.Thread(target=self._write, name="bgpool-journal", daemon=True)
        self._start()
        _journals.add(self)

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends
            self._give_up(f"the journal {self.path} has no thread ({error}); runs go on without it")

    # -- what the pool calls, under its lock

    def began(self, worker: BackgroundWorker, run: RunningRun, /) -> None:
        """Take note of a run that begins; see :class:`~bgpool_jupyter.engine.Recorder`."""
        if self._open:
            self._flying[run] = worker
            if self._resting:
                self._ring()

    def ended(self, worker: BackgroundWorker, run: RunningRun, record: RunRecord, /) -> None:
        """Take note of how it ended."""
        if not self._open:
            return
        self._flying.pop(run, None)
        if len(self._ended) < _QUEUED:
            # Only of one that may have a row its RunningRun is still wanted: the thread notes and then looks whether
            # the run is in flight, here it is the other way round.
            known = run.ticket is not None or run in self._noted
            self._ended.append((worker, run if known else None, record))
        else:
            self.dropped += 1
        if self._resting:
            self._ring()

    def amended(self, worker: BackgroundWorker, record: RunRecord, /) -> None:
        """Take note of what `finished` printed."""
        if self._open and len(self._amended) < _QUEUED:
            self._amended.append((worker, record))
            if self._resting:
                self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            return

    # -- what people call

    @property
    def closed(self) -> bool:
        """Whether it takes nothing any more: it was closed, or the file is of no use."""
        return not self._open

    @property
    def session(self) -> int | None:
        """The number of this process in the file; None before the first run is written."""
        return self._session

    def flush(self, timeout: float = 1.0) -> bool:
        """Have everything that was handed over until now committed, and wait for that.

        Parameters
        ----------
        timeout
            Most seconds to wait, 0 or greater.

        Returns
        -------
        bool
            Whether it was committed.

        Notes
        -----
        Threads: may be called from any thread; blocks at most `timeout` seconds, less where the file cannot be written.
        """
        seconds = check_delay(timeout)
        mark = _Mark()
        self._marks.append(mark)
        self._hurry()
        if not self._thread.is_alive():  # it may have ended after its last look
            self._release_marks(committed=False)
        mark.lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
        return mark.committed

    def close(self, timeout: float = 1.0) -> None:
        """Commit what is left and end the thread; a run in flight will be known as lost. May be called again.

        Parameters
        ----------
        timeout
            Most seconds to wait, 0 or greater; what is not written by then is written if the process lives on.

        Notes
        -----
        Threads: may be called from any thread; starts none; blocks at most `timeout` seconds.
        """
        seconds = check_delay(timeout)
        self._open = False
        self._closing = True
        self._hurry()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(min(seconds, threading.TIMEOUT_MAX))

    def _hurry(self) -> None:
        self._urgent = True
        self._ring()

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the journal."""
        self.close()

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    # -- the thread

    def _write(self) -> None:
        """Commit, again and again, until the journal is closed."""
        closing = False
        bell = self._bell
        while not closing:
            if not self._pending():
                self._rest()
                if not self._urgent:
                    bell.acquire(timeout=LINGER)
            # The flag first: who sets it has put down before what it is about.
            urgent, self._urgent = self._urgent, False
            closing = self._closing
            marks = [self._marks.popleft() for _ in range(len(self._marks))] if self._marks else ()
            written = False
            try:
                self._gather()
                if urgent or not self.problem or monotonic() >= self._retry_at:
                    needed = self._batch or (urgent and self._store)
                    written = self._commit(surely=urgent) if needed else not self._given_up
            except Exception as error:  # a fault of ours must end neither the thread nor a wait
                self._drop(error)
            for mark in marks:
                mark.release(committed=written)
            if not self._urgent and not closing:
                bell.acquire(timeout=PERIOD)  # nobody rings but who is in a hurry
        store, self._store = self._store, None
        if store is not None:
            store.close(for_good=True)
        self._release_marks(committed=False)

    def _rest(self) -> None:
        """Wait until there is something to do."""
        while not self._pending():
            self._resting = True
            if not self._pending():
                self._bell.acquire()
            self._resting = False
            self._bell.acquire(blocking=False)  # who saw it rest may have rung twice

    def _pending(self) -> bool:
        """Return whether there is something to write, or somebody waits."""
        if self._ended or self._amended or self._urgent or self._batch:
            return True
        return bool(self._flying.keys() - self._noted)

    def _gather(self) -> None:
        """Make rows of what has come: of runs that ended first, so that a run in flight is one that has not."""
        batch = self._batch
        # Those first that belong to runs which have ended, so that their rows are made now at the latest.
        amended = [self._amended.popleft() for _ in range(len(self._amended))] if self._amended else ()
        take = self._ended.popleft
        ended = [take() for _ in range(len(self._ended))]
        if self._noted:
            self._noted.difference_update([run for _, run, _ in ended if run is not None])
        if len(ended) > self.limits.runs_of_a_worker:
            ended = newest_of_each(ended, self.limits.runs_of_a_worker)  # the rest would be taken out at once
        batch.add_ended(ended)
        for worker, record in amended:
            batch.add_output(worker, record)
        if self._flying:
            for run, worker in self._flying.copy().items():
                if run not in self._noted:
                    self._noted.add(run)
                    if run in self._flying:
                        batch.add_begun(worker, run)
                    else:  # it has ended meanwhile, see ended()
                        self._noted.discard(run)
        if self.problem:
            self.dropped += batch.keep_newest(ROWS_KEPT)

    def _commit(self, *, surely: bool = True, again: bool = True) -> bool:
        """Write what was gathered; return whether it is in the file."""
        batch = self._batch
        if self._given_up:
            batch.clear()
            return False
        try:
            store = self._store or self._open_store()
            store.write(batch, surely=surely)
        except FileVanished as error:
            return self._begin_anew() if again else self._put_off(error)
        except JournalRefused as error:
            return self._give_up(f"{error}; runs go on without a journal")
        except (sqlite3.Error, OSError) as error:
            return self._put_off(error)
        batch.clear()
        if self.problem:
            self.problem = ""
            self._delay = _RETRY_FIRST
        if store.crowded:
            with contextlib.suppress(sqlite3.Error, OSError):  # what was to be written is written; next time
                batch.forget_workers(store.prune())
        return True

    def _open_store(self) -> Store:
        """Open the file, and have what waits belong to the session there."""
        self._store = store = Store(self.path, self.label, self.limits, self._session)
        self._session = store.session
        if not store.resumed:
            self._batch.move(store.session)
        return store

    # -- trouble

    def _begin_anew(self) -> bool:
        """Make a new file in the place of one that was deleted."""
        if self._store is not None:
            self._store.abandon()
        self._store = self._session = None
        self._noted.clear()  # the runs in flight have no row there
        self._tell(f"the journal {self.path} was deleted or replaced; it begins anew there")
        return self._commit(again=False)

    def _put_off(self, error: Exception) -> bool:
        """Keep the rows for another try, and say so once."""
        sentence = sentence_of(self.path, error, ROWS_KEPT)
        if is_damaged(error):
            return self._give_up(sentence)
        store, self._store = self._store, None
        if store is not None:
            store.close(for_good=False)
        self._retry_at = monotonic() + self._delay
        self._delay = min(self._delay * 2, _RETRY_LAST)
        self._say(sentence)
        return False

    def _drop(self, error: Exception) -> None:
        """Give up what no try could write."""
        self.dropped += len(self._batch.runs)
        self._batch.clear()
        self._say(f"the journal {self.path} could not take down some runs ({safe_repr(error)}); it goes on")

    def _give_up(self, problem: str) -> bool:
        """Take nothing any more."""
        self._open = False
        self._given_up = True
        store, self._store = self._store, None
        if store is not None:
            store.close(for_good=True)
        self._ended, self._amended, self._flying = deque(), deque(), {}
        self._noted.clear()
        self._batch.clear()
        self._say(problem)
        return False

    def _say(self, problem: str) -> None:
        self.problem = problem
        self._tell(problem)

    def _tell(self, text: str) -> None:
        """Warn once: the file may be out of reach for hours."""
        if self._warned:
            return
        self._warned = True
        try:
            self._warn(text)
        except Exception:  # nobody is left to tell
            return

    def _release_marks(self, *, committed: bool) -> None:
        while self._marks:
            try:
                self._marks.popleft().release(committed=committed)
            except IndexError:
                return

    def forget(self) -> None:
        """Take nothing any more, in a forked child: the thread, the connection and the session are its parent's."""
        self._open = False
        self._closing = True
        self._ended, self._amended, self._flying = deque(), deque(), {}
        self._marks = deque()
        self._bell = allocate_lock()
        _of_the_parent.append(self._store)


def _after_fork_in_child() -> None:
    for journal in list(_journals):
        journal.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
