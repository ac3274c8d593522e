"""Where the engine reads the time."""

from __future__ import annotations

import time
from _thread import LockType
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two readings of the time, both in seconds."""

    def monotonic(self) -> float:
        """Return a time that never goes back; its zero means nothing."""
        ...

    def time(self) -> float:
        """Return the wall clock as UTC epoch seconds; it may jump."""
        ...

    def wait(self, signal: LockType, seconds: float) -> None:
        """Block until `signal`, a lock that is held, is released, or `seconds` (0 or greater) are over."""


class SystemClock:
    """The clocks of this machine.

    Notes
    -----
    Threads: may be read from any thread; returns at once.
    """

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    @staticmethod
    def wait(signal: LockType, seconds: float) -> None:
        """Block until `signal` is released or `seconds` are over."""
        signal.acquire(timeout=seconds)
