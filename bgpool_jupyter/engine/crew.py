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

    The watch is handed over before a callback is called, because a callback may block.

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
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from .calls import Result
from .coroutines import close_runner
from .deadlines import Deadlines
from .executors import OwnedLock, Runs
from .jobs import Balance
from .runs import RunningRun
from .schedule import SLICE

__all__ = ["BATCH", "MAX_THREADS", "Seat", "ThreadCrew"]

#: Most due entries that are looked at under one hold of the lock: each may turn out to be put off.
BATCH = 64
#: Most threads of a pool. Work beyond that waits for a thread that becomes free.
MAX_THREADS = 1024

_numbers = itertools.count(1)
_logger = logging.getLogger("bgpool_jupyter")


class Seat:
    """The place of one pool thread in the crew. Guarded by the crew's lock but for `task`."""

    __slots__ = ("entered", "gone", "identity", "leave", "lock", "parked", "taken", "task", "thread", "woken")

    def __init__(self) -> None:
        #: Held while the thread is to stay parked. A raw lock parks in 12 µs, a Condition in 17 (CPython 3.11).
        self.lock = allocate_lock()
        self.lock.acquire()
        #: Somebody woke the thread and handed it the search.
        self.woken = False
        #: The thread is to end.
        self.leave = False
        #: What the thread executes; None while it does not. Written by the thread itself.
        self.task: Any = None
        #: None until it is about to start, and where the system gave no thread but a bare one.
        self.thread: threading.Thread | None = None
        #: Number of the bare thread that starts the real one; 0 until that is known.
        self.identity = 0
        #: The thread runs its loop.
        self.entered = False
        #: The thread is no longer of the crew.
        self.gone = False
        #: The thread waits, or is about to, and how its last wait ended: called, or the time was up.
        self.parked = self.taken = False


class ThreadCrew:
    """Pooled daemon threads that wait for due instants themselves.

    Parameters
    ----------
    max_threads
        Most threads, at least 2: one may watch the clock while one executes.
    """

    inline = False

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self.ready: deque[Any] = deque()
        self.deadlines: Deadlines[Any] = Deadlines()
        #: No due entry is taken while this is set.
        self.suspended = False
        self.max_threads = max_threads
        self._requests = itertools.count(1)
        self._next_balance = Balance().latency
        self._balance = Balance()
        self._reset()

    def _reset(self) -> None:
        #: Every thread that lives or is about to, parked or not.
        self._seats: dict[Seat, None] = {}
        #: Every thread that lives, also one that is no longer of the crew.
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        #: Parked without a due instant, last in first out: the latest still has a warm cache.
        self._idle: list[Seat] = []
        #: Parked until `_wake_at`; never in `_idle`.
        self._leader: Seat | None = None
        self._wake_at = float("inf")
        #: A thread is on its way to look for work. Set under the lock, taken back by that thread alone.
        self._searching = False
        #: A wake-up was begun and not completed: the thread that did it was interrupted.
        self._waking = False
        #: The last attempt to start a thread failed.
        self._no_thread = False
        self._closing = False

    def bind(
        self,
        lock: OwnedLock,
        runs: Runs,
        defer: Callable[[Callable[[], None]], None],
    ) -> None:
        """Learn the pool's lock, how its runs are executed, and how work is put off under it."""
        self._lock = lock
        # A pool is kept by its work: what waits, is ready or runs refers to it. Its threads alone do not keep it.
        self._runs = weakref.ref(runs)
        self._defer = defer

    # -- asked by the pool

    def submitted(self) -> None:
        """See to it that a thread looks at `ready`. Any thread, without the lock."""
        if self._searching and not self._waking:
            return
        if self._lock._is_owned():
            self._defer(self._wake)
            return
        with self._lock:
            self._wake()

    def look(self) -> None:
        """See to it that a thread looks at `ready`. Under the lock."""
        self._wake()

    def armed(self, due: float) -> None:
        """See to it that a thread watches for `due`. Under the lock."""
        if due >= self._wake_at and self._leader is not None and not self._waking:
            return
        if self._leader is not None and not self._searching and not self._waking:
            self._call(self._leader)  # it sleeps too long: woken itself, nobody else has to be found
            return
        self._demote()
        self._wake()

    def rearmed(self, due: float) -> None:
        """Note a due instant that this pool thread will look at before it parks. Under the lock."""
        if due < self._wake_at:
            self._demote()

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

    def request(self) -> None:
        """Count a request for a thread; every so often, let surplus paused threads end."""
        if next(self._requests) < self._next_balance or self._lock._is_owned():
            return
        with self._lock:
            self._requests = itertools.count(1)
            surplus = self._balance.surplus(*self.counts())
            for seat in self._idle[:surplus]:
                self._dismiss(seat)

    def kill(self, timeout: float) -> None:
        """Let every paused thread end and wait for them, at most `timeout` seconds."""
        with self._lock:
            seats = list(self._idle)
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

    def repair(self) -> None:
        """Complete a wake-up that was interrupted. Under the lock."""
        if not self._waking:
            return
        for seat in list(self._seats):
            if seat.identity == 0:  # nobody knows whether this thread was started: if it was, it will go again
                del self._seats[seat]
            elif seat.woken and seat.entered:
                self._unlist(seat)
                self._release(seat)
        self._searching = any(seat.woken for seat in self._seats)
        self._waking = False
        self._wake()

    def after_fork(self) -> None:
        """Forget the threads: they did not come along into the child process."""
        self.ready.clear()
        self.deadlines.clear()
        self._reset()
        self._closing = True

    # -- inside, under the lock

    def _wake(self) -> None:
        """Have one more thread look for work, unless one is on its way.

        The steps stand in an order that :meth:`repair` can complete from wherever a
        KeyboardInterrupt on the main thread cut them off.
        """
        if self._waking:
            self.repair()
            return
        if self._searching:
            return
        if self._idle:
            seat = self._idle[-1]
        elif self._leader is not None:
            seat = self._leader
        else:
            # A thread without a task that is not parked either is on its way here, and will look at
            # `ready` under the lock that we hold. Or it has just popped something and not noted it
            # yet: then it looks at `ready` once more after the note, and calls us.
            if not any(seat.entered and seat.task is None for seat in self._seats):
                self._spawn()
            return
        self._call(seat)

    def _call(self, seat: Seat) -> None:
        """Wake a parked thread and hand it the search."""
        self._waking = True
        seat.woken = True
        self._unlist(seat)
        self._searching = True
        self._release(seat)
        self._waking = False

    def _unlist(self, seat: Seat) -> None:
        """Take a parked thread off its list."""
        if self._leader is seat:
            self._leader = None
            self._wake_at = float("inf")
        elif self._idle and self._idle[-1] is seat:
            self._idle.pop()
        elif seat in self._idle:
            self._idle.remove(seat)

    @staticmethod
    def _release(seat: Seat) -> None:
        # Only holders of the crew's lock release, so that the look and the release are one step. A
        # lock that is free already lets its thread through just as well.
        if seat.lock.locked():
            seat.lock.release()

    def _demote(self) -> None:
        """Make the leader an ordinary parked thread; at its old wake-up time it finds that out."""
        if self._leader is not None:
            self._idle.append(self._leader)
            self._leader = None
            self._wake_at = float("inf")

    def _dismiss(self, seat: Seat) -> None:
        """Let a parked thread end. One that is cut off after its release takes itself off its list."""
        seat.leave = True
        self._release(seat)
        self._unlist(seat)

    def _spawn(self, *, searching: bool = True) -> None:
        """Start one more thread, if the limit allows.

        The call returns at once: a bare thread starts the real one. `Thread.start` waits for the new
        thread, which behind a busy cell takes two switch intervals with our lock held; and a
        KeyboardInterrupt inside of it leaves nobody who knows whether the thread lives.
        """
        if len(self._seats) >= self.max_threads:
            return
        seat = Seat()
        self._waking = True
        seat.woken = searching
        self._seats[seat] = None
        if searching:
            self._searching = True
        try:
            seat.identity = start_new_thread(self._launch, (seat,))
            self._no_thread = False
        except RuntimeError:
            self._cannot_start(seat)
        self._waking = False

    def _cannot_start(self, seat: Seat) -> None:
        # What is ready stays ready: every thread looks there when it becomes free.
        self._no_thread = True
        self._seats.pop(seat, None)
        if seat.woken:
            seat.woken = False
            self._searching = False

    def _launch(self, seat: Seat) -> None:
        """Start the pool thread, from a bare thread that signals do not reach."""
        thread = threading.Thread(target=self._loop, args=(seat,), name=f"bgpool-{next(_numbers)}", daemon=True)
        try:
            seat.thread = thread
            thread.start()
        except RuntimeError:
            # There may be no thread beside this one: then this one, bare as it is, does the work.
            seat.thread = None
            self._no_thread = True
            self._loop(seat)

    def _join(self, seats: list[Seat], timeout: float) -> None:
        """Wait until the threads have ended, at most `timeout` seconds in all. Without the lock."""
        end = monotonic() + timeout
        me = threading.current_thread()
        for seat in seats:
            while seat in self._seats and not (seat.thread and seat.entered) and monotonic() < end:
                sleep(0.0005)  # it has not come to life yet, or is a bare one: nothing can be waited for
            if seat.thread is not None and seat.entered and seat.thread is not me:
                seat.thread.join(max(0.0, end - monotonic()))

    # -- the loop of a thread

    def _loop(self, seat: Seat) -> None:
        with self._lock:
            if seat not in self._seats:
                return
            if seat.thread is not None:
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
        while not seat.gone:
            runs = self._runs()
            if runs is None:
                self._go(seat)
                return
            # One hold of the lock from the end of a run, or of the wait, to the beginning of the next.
            # In a child that a callback forked it is another lock.
            with self._lock:
                if result is not None and run is not None:
                    runs._end_run(seat.task[2], run, result, on_crew=True)
                    seat.task = result = None
                elif seat.parked:
                    searching = self._unpark(seat)
                run, wait = self._next(seat, runs, searching)
            searching = False
            runs._flush()
            if run is not None:
                self.request()
                result = runs._call_run(seat.task[2], run)
                if result is None:  # the rest of it goes on elsewhere
                    seat.task = None
            elif seat.parked:
                del runs  # who waits does not keep the pool
                # What the call means is read under the lock alone, where repair() may stand in for the caller.
                seat.taken = seat.lock.acquire(timeout=wait)
            elif not seat.gone:
                self._drain(seat)

    def _go(self, seat: Seat) -> None:
        """End a thread whose pool is gone: there is no work left, because all work keeps its pool."""
        with self._lock:
            self._unlist(seat)
            self._closing = True
            self._left(seat)

    def _next(self, seat: Seat, runs: Runs, searching: bool) -> tuple[RunningRun | None, float]:
        """Begin the next run, or park if nothing is ready; return the run and the seconds to park. Under the lock."""
        if self._waking:
            self.repair()
        if searching:
            self._searching = False
        run = self._begin_due(seat, runs)
        seat.parked = run is None and not self.ready and not self._left(seat)
        return run, self._park(seat) if seat.parked else 0.0

    def _begin_due(self, seat: Seat, runs: Runs) -> RunningRun | None:
        """Begin the earliest run that is due, and have somebody else see to what comes after it. Under the lock."""
        if self.suspended:
            return None
        now = monotonic()
        for _ in range(BATCH):
            entry = self.deadlines.pop_due(now)
            if entry is None:
                return None
            run = runs._begin_run(entry)
            if run is not None:
                seat.task = entry
                if not self._searching and (self.ready or (self._leader is None and self.deadlines.heap)):
                    self._wake()
                return run
        return None

    def _left(self, seat: Seat) -> bool:
        """Take a thread that is to end out of the crew; return whether it is to end. Under the lock."""
        if not seat.leave and not self._closing:
            return False
        self._seats.pop(seat, None)
        seat.gone = True
        if self._leader is None and self.deadlines.heap and not self._closing:
            self._wake()
        return True

    def _drain(self, seat: Seat) -> None:
        """Execute what is ready, without the lock."""
        ready = self.ready
        heap = self.deadlines.heap
        while ready:
            try:
                task = ready.popleft()
            except IndexError:  # another thread was quicker
                return
            seat.task = task
            if not self._searching and (ready or (self._leader is None and heap)):
                with self._lock:
                    if ready or (self._leader is None and heap):
                        self._wake()
            self.request()
            task.execute(seat)
            seat.task = task = None
            if heap and heap[0][0] <= monotonic():
                return  # due workers do not wait behind a flood of jobs

    def _park(self, seat: Seat) -> float:
        """Choose what this thread waits for, the next due instant or a call; return the seconds, -1 for no limit."""
        due = None if self.suspended else self.deadlines.next_due()
        if due is not None and self._leader is not None and due < self._wake_at:
            self._demote()
        if due is None or self._leader is not None:
            self._idle.append(seat)
            return -1.0
        self._leader = seat
        self._wake_at = due
        if not self._idle and len(self._seats) < self.max_threads:
            # Somebody will have to take over the watch when this thread runs what is due. That one
            # is started now, while nobody is late.
            self._spawn(searching=False)
        return min(max(0.0, due - monotonic()), SLICE)

    def _unpark(self, seat: Seat) -> bool:
        """Leave the parked state; return whether this thread was handed the search. Under the lock."""
        if (seat.woken or seat.leave) and not seat.taken:
            seat.lock.acquire(timeout=0)  # the call came together with the time-out: it is answered
        woken, seat.woken = seat.woken, False
        if self._leader is seat:
            self._leader = None
            self._wake_at = float("inf")
        elif seat in self._idle:
            self._idle.remove(seat)
        return woken
