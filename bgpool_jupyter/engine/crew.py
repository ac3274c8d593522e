"""ThreadCrew: pooled threads that wait for due instants themselves, as leader and followers.

One parked thread, the leader, waits for the next due instant itself, hands the watch to another
parked thread and runs the callback itself: one hand-over less than with a dispatcher, which matters
behind a busy cell, where every hand-over costs the interpreter's switch interval of 5 ms.

Guarantees
    No work is lost. A thread that is about to park looks at both sources after it has taken back its
    claim to be searching; whoever adds work looks at that claim after the work was added. One of the
    two always sees the other.

    At most one thread is on its way to new work at any time (`_searching`), so that a burst wakes
    few threads. It wakes the next one before it begins to execute.

    Neither runs nor jobs starve. Where there is no further thread to be had, each thread takes in turn a run that is
    due and something that is ready.

    The watch is handed over before a callback is called, because a callback may block: see :mod:`.watch`.

    Where the system has no thread to give, work waits for a thread that becomes free. If there is none
    at all, every later call of the pool tries again, and whoever waits for a result, blocked or in a coroutine,
    does so within a second and then 20 times a second. Nobody else can: what could try by itself would need a thread.

Locks
    One lock, the pool's, guards everything here but `ready`, a deque that is filled and drained
    without it. It is re-entrant only so that a thread can ask whether it holds it itself: see
    :meth:`ThreadCrew.submitted` and ``Machine._change``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from .calls import Result
from .coroutines import close_runner
from .executors import OwnedLock, Runs
from .jobs import Balance
from .runs import RunningRun
from .seats import Seat
from .watch import GRACE, Watch

__all__ = ["BATCH", "MAX_THREADS", "ThreadCrew"]

#: Most due entries that are looked at under one hold of the lock: each may turn out to be put off.
BATCH = 64
_BATCH = range(BATCH)
#: Most threads of a pool. Work beyond that waits for a thread that becomes free.
MAX_THREADS = 1024

_logger = logging.getLogger("bgpool_jupyter")


class ThreadCrew(Watch):
    """Pooled daemon threads that wait for due instants themselves.

    Parameters
    ----------
    max_threads
        Most threads, at least 2: one may watch the clock while one executes.
    """

    inline = False

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        super().__init__(max_threads)
        self._requests = itertools.count(1)
        self._next_balance = Balance().latency
        self._balance = Balance()

    def bind(
        self,
        lock: OwnedLock,
        runs: Runs,
        deferred: deque[Callable[[], None]],
    ) -> None:
        """Learn the pool's lock, how its runs are executed, and where work is put off under it."""
        self._lock = lock
        # A pool is kept by its work: what waits, is ready or runs refers to it. Its threads alone do not keep it.
        self._runs = weakref.ref(runs)
        self._deferred = deferred

    # -- asked by the pool

    def submitted(self) -> None:
        """See to it that a thread looks at `ready`. Any thread, without the lock."""
        if self._searching and not self._waking:
            return
        if self._lock._is_owned():
            self._deferred.append(self._wake)
            return
        with self._lock:
            if self._idle and not self._searching and not self._waking:  # the common case, with few steps
                self._call_idle()
            else:
                self._wake()
        if self._deferred:
            self._carry_out_deferred()

    def look(self) -> None:
        """See to it that a thread looks at `ready`. Under the lock."""
        self._wake()

    @property
    def starved(self) -> bool:
        """Work waits, and the last attempt to start a thread for it failed. No lock is needed."""
        return self._no_thread and (bool(self.ready) or self.deadlines.earliest() <= monotonic())

    def counts(self) -> tuple[int, int]:
        """Return the counts of running and paused threads.

        Accepted work counts as running even before its thread has taken it up. The thread that
        watches the clock has something to do and is not paused.
        """
        seats = [seat for seat in list(self._seats) if seat.entered]
        running = sum(1 for seat in seats if seat.task is not None) + len(self.ready)
        running = min(running, len(seats) if self._no_thread else self.max_threads)
        watching = 1 if self._leader is not None else 0
        return running, max(0, len(seats) - running - watching)

    def tasks(self) -> list[Any]:
        """Return what the threads execute now."""
        return [task for seat in list(self._seats) if (task := seat.task) is not None]

    def set_balance(self, balance: Balance) -> None:
        """Take new figures; they count from the next request on."""
        self._balance = balance
        self._requests = itertools.count(1)
        self._next_balance = balance.latency

    def _reduce(self) -> None:
        """Let surplus paused threads end. Called every so often."""
        if self._lock._is_owned():
            return
        with self._lock:
            self._requests = itertools.count(1)
            surplus = self._balance.surplus(*self.counts())
            for seat in self._paused()[:surplus]:
                self._dismiss(seat)
        self._carry_out_deferred()

    def _carry_out_deferred(self) -> None:
        """Do what a __del__ put off under the lock: what this thread does next may take long."""
        if self._deferred and (runs := self._runs()) is not None:
            runs._flush()

    def kill(self, timeout: float) -> None:
        """Let every paused thread end and wait for them, at most `timeout` seconds."""
        with self._lock:
            seats = self._paused()
            for seat in seats:
                self._dismiss(seat)
        self._join(seats, timeout)

    def close(self, timeout: float) -> None:
        """Let every thread end after the work that is ready, and wait for them, at most `timeout` seconds."""
        with self._lock:
            self._closing = True
            self.deadlines.clear()
            for seat in list(self._seats):  # also those that an interrupted wake-up took off their list
                self._dismiss(seat)
            if self.ready and not self._seats:
                self._spawn()
        end = monotonic() + timeout
        # Again, since a thread that was executing may have started another one before it saw the end.
        while seats := [seat for seat in list(self._seats) if seat.thread is not threading.current_thread()]:
            self._join(seats, end - monotonic())
            if monotonic() >= end:
                return
        for thread in list(self._threads):  # those that have left, and are on the last lines of their way
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - monotonic()))

    def abandon(self) -> None:
        """Let the threads end after their pool was dropped. The collector calls it, on any thread: without the lock."""
        self._closing = True
        for seat in list(self._seats):
            seat.leave = True
            with contextlib.suppress(RuntimeError):  # another thread was quicker
                self._release(seat)

    def after_fork(self) -> None:
        """Forget the threads: they did not come along into the child process."""
        self.ready.clear()
        self.deadlines.clear()
        self._reset()
        self._closing = True

    def _join(self, seats: list[Seat], timeout: float) -> None:
        """Wait until the threads have ended, at most `timeout` seconds in all. Without the lock."""
        end = monotonic() + timeout
        me = threading.current_thread()
        for seat in seats:
            while seat.thread is None and seat in self._seats and monotonic() < end:
                sleep(0.0005)  # it has not come to life yet, and nothing can be waited for
            thread = seat.thread
            if thread is not None and thread is not me:
                thread.join(max(0.0, end - monotonic()))

    # -- the loop of a thread

    def _loop(self, seat: Seat) -> None:
        seat.thread = threading.current_thread()
        with self._lock:
            if seat not in self._seats:
                return
            self._threads.add(seat.thread)
            seat.entered = True
            searching, seat.woken = seat.woken, False
        try:
            while not seat.gone:
                try:
                    self._work(seat, searching)
                except BaseException:
                    # Whatever user code raises is taken down inside. This is a fault of the pool itself, and
                    # must not take the thread along.
                    _logger.exception("a pool thread could not execute %s", type(seat.task).__name__)
                    searching = False
                    self._recover(seat)
        finally:
            with self._lock:
                self._seats.pop(seat, None)
            close_runner()

    def _recover(self, seat: Seat) -> None:
        """Make a thread that met a fault of the pool an ordinary one that is on its way to look for work."""
        with self._lock:
            self._unlist(seat)
            seat.task = None
            seat.parked = seat.woken = False
            self._searching = any(other.woken for other in self._seats)

    def _work(self, seat: Seat, searching: bool) -> None:
        """Run what is due, execute what is ready, park in between; until the thread is to end."""
        run: RunningRun | None = None
        result: Result | None = None
        while not seat.gone and (runs := self._runs()) is not None:
            # One hold of the lock from the end of a run, or of the wait, to the beginning of the next.
            # In a child that a callback forked it is another lock.
            with self._lock:
                if result is not None and run is not None:
                    runs._end_run(seat.task[2], run, result, on_crew=True)
                    seat.task = result = None
                elif seat.parked:
                    searching = self._unpark(seat)
                run, wait = self._next(seat, runs, searching, run)
            searching = False
            if self._deferred:
                runs._flush()
            if run is not None:
                if next(self._requests) >= self._next_balance:
                    self._reduce()
                result = runs._call_run(seat.task[2], run)
                if result is None:  # the rest of it goes on elsewhere
                    seat.task = None
            elif seat.parked:
                del runs  # who waits does not keep the pool
                self._wait(seat, wait)
            elif not seat.gone:
                self._drain(seat)
        self._go(seat)

    def _go(self, seat: Seat) -> None:
        """End a thread whose pool is gone: there is no work left, because all work keeps its pool."""
        if seat.gone:
            return
        with self._lock:
            self._unlist(seat)
            self._closing = True
            self._left(seat)

    def _wait(self, seat: Seat, seconds: float) -> None:
        """Wait for a call, at most `seconds` (-1: without limit). Without the lock."""
        seat.taken = seat.lock.acquire(timeout=seconds)
        while seat.gentle and not seat.taken and self._brisk(seat):
            seat.taken = seat.lock.acquire(timeout=GRACE)
        # What the call means is read under the lock, where repair() may stand in for the caller; but if it
        # was for a job, and the caller is done with it, nothing is left that has to be seen to there.
        if self.ready and seat.woken and seat.taken and not self._waking:
            seat.parked = seat.woken = self._searching = False
            self._drain(seat)

    def _next(
        self, seat: Seat, runs: Runs, searching: bool, last: RunningRun | None
    ) -> tuple[RunningRun | None, float]:
        """Begin the next run, or park if nothing is ready; return the run and the seconds to park. Under the lock.

        After a run, `last`, it is the turn of what is ready, if there is no further thread for that.
        """
        if self._waking:
            self.repair()
        if searching:
            self._searching = False
        # Who was called, or comes back from a run, may leave the rest to others; whose time is up may not.
        outpaced = self._begun != seat.seen and (searching or not seat.parked) and self._outpaced(seat)
        in_turn = last is not None and self.ready and self._crowded()
        run = None if outpaced or in_turn else self._begin_due(seat, runs)
        seat.parked = run is None and not self.ready and not self._left(seat)
        if not seat.parked:
            return run, 0.0
        seat.gentle = outpaced
        seat.seen, seat.since = self._begun, monotonic()
        return None, self._stand_by(seat, seat.since + GRACE) if outpaced else self._park(seat)

    def _begin_due(self, seat: Seat, runs: Runs) -> RunningRun | None:
        """Begin the earliest run that is due, and have somebody else see to what comes after it. Under the lock."""
        if self.suspended:
            return None
        now = monotonic()
        for _ in _BATCH:
            entry = self.deadlines.pop_due(now)
            if entry is None:
                return None
            run = runs._begin_run(entry)
            if run is not None:
                seat.task = entry
                self._begun = seat.seen = self._begun + 1
                seat.since = now
                if not self._searching and (self.ready or not self._watched(now)):
                    self._wake()
                return run
        return None

    def _crowded(self) -> bool:
        """Return whether no further thread can be had. Under the lock."""
        return self._no_thread or len(self._seats) >= self.max_threads

    def _left(self, seat: Seat) -> bool:
        """Take a thread that is to end out of the crew; return whether it is to end. Under the lock."""
        if not seat.leave and not self._closing:
            return False
        self._seats.pop(seat, None)
        seat.gone = True
        if not self._closing and not self._watched(monotonic()):
            self._wake()
        return True

    def _drain(self, seat: Seat) -> None:
        """Execute what is ready, without the lock."""
        ready = self.ready
        earliest, heap = self.deadlines.earliest, self.deadlines.heap
        while ready:
            try:
                task = ready.popleft()
            except IndexError:  # another thread was quicker
                return
            seat.task = task
            if not self._searching and (ready or (heap and earliest() < self._wake_at)):
                with self._lock:
                    if ready or not self._watched(monotonic()):
                        self._wake()
                self._carry_out_deferred()
            if next(self._requests) >= self._next_balance:
                self._reduce()
            task.execute(seat)
            seat.task = task = None
            if heap and earliest() <= monotonic():
                return  # due workers do not wait behind a flood of jobs
