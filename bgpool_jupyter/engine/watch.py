"""Watch: which parked thread waits for what, and who is woken for what.

Two threads watch the clock. The *leader* waits for the earliest due instant and runs the callback itself.
The *deputy* waits for the one after it, so that nobody has to be woken when the leader's callback blocks.
What is due together with the leader's own, and what comes in a burst, the deputy leaves to those who are at
it for as long as they make progress: a second thread would only fight for the interpreter and for the lock.

The watch holds if the earliest entry is watched: whoever takes it has somebody see to the one after it.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from .deadlines import Deadlines
from .schedule import SLICE
from .seats import Seat

__all__ = ["EARLY", "GRACE", "LONG", "Watch"]

#: Seconds that the deputy leaves to those who run what is due, before it takes part.
GRACE = 0.0003
#: Seconds of a wait after which nothing of it is left in the processor's caches, and the processor sleeps deeply.
LONG = 0.02
#: After so long a wait a thread gets up this many seconds early, finds nothing due and parks again. It takes the time
#: before the run that waking up takes then, not the time after its slot: 0.1 ms less lateness for 50 µs of CPU.
EARLY = 0.0003
#: Seconds between two runs at which others are so fast that one more thread would be in their way.
BRISK = 0.0001


class Watch:
    """The threads of a crew while they are parked. Everything under the crew's lock, unless it says otherwise."""

    #: What a thread of the crew executes.
    _loop: Callable[[Seat], None]

    def __init__(self, max_threads: int) -> None:
        self.ready: deque[Any] = deque()
        self.deadlines: Deadlines[Any] = Deadlines()
        #: No due entry is taken while this is set.
        self.suspended = False
        self.max_threads = max_threads
        self._reset()

    def _reset(self) -> None:
        #: Every thread that lives or is about to, parked or not.
        self._seats: dict[Seat, None] = {}
        #: Every thread that lives, also one that is no longer of the crew.
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        #: Parked without a due instant, last in first out: the latest still has a warm cache.
        self._idle: list[Seat] = []
        #: Parked until `_wake_at`, which is infinity without one; never in `_idle`.
        self._leader: Seat | None = None
        self._wake_at = float("inf")
        #: Parked until its seat's `until`, to take over from the leader.
        self._deputy: Seat | None = None
        #: Count of the runs that have begun.
        self._begun = 0
        #: A thread is on its way to look for work. Set under the lock, taken back by that thread alone.
        self._searching = False
        #: A wake-up was begun and not completed: the thread that did it was interrupted.
        self._waking = False
        #: The last attempt to start a thread failed.
        self._no_thread = False
        self._closing = False

    def armed(self, due: float) -> None:
        """See to it that a thread watches for `due`, an entry that was just queued. Under the lock."""
        earliest = self.deadlines.next_due()
        if earliest is not None and earliest < due and not (self._waking or self._no_thread):
            return  # whoever takes the earliest entry has somebody see to the one after it
        if self._leader is None or self._searching or self._waking:
            self._wake()
        elif due < self._wake_at:
            self._call(self._leader)  # it sleeps too long: woken itself, nobody else has to be found

    def repair(self) -> None:
        """Complete a wake-up that was interrupted. Under the lock."""
        if not self._waking:
            return
        for seat in list(self._seats):
            if not seat.begun:  # nobody knows whether this thread was started: if it was, it will go again
                del self._seats[seat]
            elif seat.woken and seat.entered:
                self._unlist(seat)
                self._release(seat)
        self._searching = any(seat.woken for seat in self._seats)
        self._waking = False
        self._wake()

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
        elif self._deputy is not None:
            seat = self._deputy
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

    def _call_idle(self) -> None:
        """Do the same as :meth:`_call` with the latest idle thread, for a job: it does not care who runs what is due.

        Whoever waits for the task to begin waits for each line here.
        """
        self._waking = True
        seat = self._idle[-1]
        seat.woken = True
        self._idle.pop()
        self._searching = True
        if seat.lock.locked():  # see _release()
            seat.lock.release()
        self._waking = False

    def _call(self, seat: Seat) -> None:
        """Wake a parked thread and hand it the search."""
        self._waking = True
        seat.seen = self._begun
        seat.since = monotonic()
        seat.woken = True
        self._unlist(seat)
        self._searching = True
        self._release(seat)
        self._waking = False

    def _unlist(self, seat: Seat) -> None:
        """Take a parked thread off its list."""
        if self._leader is seat:
            self._wake_at = float("inf")
            self._leader = None
        elif self._deputy is seat:
            self._deputy = None
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

    def _paused(self) -> list[Seat]:
        """Return the parked threads but for the leader."""
        return [*self._idle, *([self._deputy] if self._deputy is not None else [])]

    def _watched(self, now: float) -> bool:
        """Return whether some parked thread will see to the earliest entry in time."""
        deputy = self._deputy
        if deputy is not None and deputy.until <= now + GRACE:
            return True
        due = self.deadlines.next_due()
        return due is None or self._wake_at <= due or (deputy is not None and deputy.until <= due)

    def _dismiss(self, seat: Seat) -> None:
        """Let a parked thread end. One that is cut off after its release takes itself off its list."""
        seat.leave = True
        self._release(seat)
        self._unlist(seat)

    def _spawn(self, *, searching: bool = True) -> None:
        """Start one more thread, if the limit allows. The call returns at once.

        A KeyboardInterrupt inside of it leaves nobody who knows whether the thread lives: see :meth:`repair`.
        """
        if len(self._seats) >= self.max_threads:
            return
        seat = Seat()
        seat.seen = self._begun
        seat.since = monotonic()
        self._waking = True
        seat.woken = searching
        self._seats[seat] = None
        if searching:
            self._searching = True
        try:
            seat.start(self._loop)
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

    def _park(self, seat: Seat) -> float:
        """Choose what this thread waits for, the next due instant or a call; return the seconds, -1 for no limit."""
        due = None if self.suspended else self.deadlines.next_due()
        if due is None:
            return self._rest(seat)
        if self._leader is not None and due < self._wake_at:
            # It sleeps too long, and finds that out at its old wake-up time.
            self._idle.append(self._leader)
            self._wake_at, self._leader = float("inf"), None
        deputy = self._deputy
        if self._leader is None and deputy is not None and not deputy.gentle and deputy.until <= due:
            # It waits for the right instant already: the two change places, and nobody has to be woken.
            self._leader, self._wake_at, self._deputy = deputy, deputy.until, None
        if self._leader is None:
            self._leader = seat
            self._wake_at = due
            if not self._idle and self._deputy is None and len(self._seats) < self.max_threads:
                # Somebody will have to take over the watch when this thread runs what is due. That one
                # is started now, while nobody is late.
                self._spawn(searching=False)
            return _seconds_to(due)
        following = self.deadlines.following()
        if self._deputy is not None or following is None:
            return self._rest(seat)
        # What is due at about the same instant is left to the leader, which is back at once if its callback is short.
        seat.gentle = following < due + GRACE
        return self._stand_by(seat, max(due + GRACE, following))

    def _rest(self, seat: Seat) -> float:
        """Park this thread until it is called."""
        self._idle.append(seat)
        return -1.0

    def _stand_by(self, seat: Seat, until: float) -> float:
        """Make this thread the deputy until then; an idle one if there is a deputy already."""
        if self._deputy is not None:
            return self._rest(seat)
        self._deputy = seat
        seat.until = until
        # Who is gentle would get up early only to be in the way of the leader, which begins its run then.
        return _seconds_to(until, early=0.0 if seat.gentle else EARLY)

    def _unpark(self, seat: Seat) -> bool:
        """Leave the parked state; return whether this thread was handed the search. Under the lock."""
        if (seat.woken or seat.leave) and not seat.taken:
            seat.lock.acquire(timeout=0)  # the call came together with the time-out: it is answered
        woken, seat.woken = seat.woken, False
        if self._leader is seat:
            self._wake_at = float("inf")
            self._leader = None
        elif self._deputy is seat:
            self._deputy = None
        elif seat in self._idle:
            self._idle.remove(seat)
        return woken

    def _outpaced(self, seat: Seat) -> bool:
        """Return whether others run what is due so fast that this thread would only be in their way. Under the lock."""
        due, now, deputy = self.deadlines.next_due(), monotonic(), self._deputy
        if due is None or due > now or (deputy is not None and deputy.until > now + GRACE):
            return False  # a deputy that sleeps longer would not see it if the others came to block
        return now - seat.since < (self._begun - seat.seen) * BRISK

    def _brisk(self, seat: Seat) -> bool:
        """Return whether others have run so much since the last look that the deputy may wait on. Without the lock."""
        now = monotonic()
        brisk = now - seat.since < (self._begun - seat.seen) * BRISK
        seat.seen, seat.since, seat.until = self._begun, now, now + GRACE
        return brisk


def _seconds_to(instant: float, early: float = EARLY) -> float:
    """Return how long to park for an instant (monotonic seconds), at most a slice."""
    left = instant - monotonic()
    return min(max(0.0, left - early if left > LONG else left), SLICE)
