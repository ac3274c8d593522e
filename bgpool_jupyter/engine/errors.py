"""Every exception of the package.

Each derives from :class:`PoolError` and from the built-in exception that a Python
programmer would catch.
"""

from __future__ import annotations

from concurrent.futures import CancelledError

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "InvalidTransition",
    "JobCancelled",
    "JobTimeout",
    "NoInput",
    "PoolClosed",
    "PoolError",
    "RunFailed",
    "WorkerNotFound",
]


class PoolError(Exception):
    """Base of every exception that this package raises on purpose."""


class ArgumentTypeError(PoolError, TypeError):
    """An argument has a type that cannot be used; nothing was changed or registered."""


class ArgumentValueError(PoolError, ValueError):
    """An argument has a value that cannot be used; nothing was changed or registered."""


class PoolClosed(PoolError, RuntimeError):
    """The pool was closed and takes no more work."""


class WorkerNotFound(PoolError, LookupError):
    """No worker of the pool has this number."""


class InvalidTransition(PoolError, RuntimeError):
    """The worker cannot do this in its present state; the message says what can be done instead."""


class JobCancelled(PoolError, CancelledError):
    """The job was stopped before its task began."""


class RunFailed(PoolError, RuntimeError):
    """The run whose value was asked for raised, or there was none."""


class NoInput(PoolError, RuntimeError):
    """A run asked for input, and nobody can answer it."""


class JobTimeout(PoolError, TimeoutError):
    """The job had not ended when the waiting time was over; it goes on."""
