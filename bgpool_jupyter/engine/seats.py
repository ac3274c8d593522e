"""Seat: the place of one pool thread in its crew; and how such a thread is started."""

from __future__ import annotations

import itertools
import threading
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

__all__ = ["Seat"]

_numbers = itertools.count(1)


class Seat:
    """The place of one pool thread in the crew. Guarded by the crew's lock but for `task`, `until`, `seen` and `since`.

    Those four are written by the thread itself, or before it has been woken.
    """

    __slots__ = (
        "begun",
        "entered",
        "gentle",
        "gone",
        "leave",
        "lock",
        "parked",
        "seen",
        "since",
        "taken",
        "task",
        "thread",
        "until",
        "woken",
    )

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
        self.thread: threading.Thread | None = None
        #: The thread was started; nobody knows while this is False.
        self.begun = False
        #: The thread runs its loop.
        self.entered = False
        #: The thread is no longer of the crew.
        self.gone = False
        #: The thread waits, or is about to, and how its last wait ended: called, or the time was up.
        self.parked = self.taken = False
        #: Instant (monotonic seconds) to which the thread waits as the deputy.
        self.until = 0.0
        #: As the deputy, the thread waits on while others run what is due.
        self.gentle = False
        #: How many runs of the crew had begun, and when (monotonic seconds), at its last look.
        self.seen = 0
        self.since = 0.0

    def start(self, loop: Callable[[Seat], None]) -> None:
        """Start the thread; return without waiting for it.

        Raises
        ------
        RuntimeError
            If the system has no thread to give.
        """
        _PoolThread(loop, self).start()
        self.begun = True


class _Unawaited(threading.Event):
    """An event for which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the signature of the base
        return True


class _PoolThread(threading.Thread):
    """A daemon thread whose start() does not wait until it has come to life.

    Behind a busy cell that wait would take two switch intervals of the interpreter, with the pool's lock held.
    """

    def __init__(self, loop: Callable[[Seat], None], seat: Seat) -> None:
        super().__init__(target=loop, args=(seat,), name=f"bgpool-{next(_numbers)}", daemon=True)
        self._started = _Unawaited()  # what Thread.start() waits for at its end; all else that it does is to be done
