"""Background workers for notebooks: a worker pool in the kernel, magics, and a live panel.

``%load_ext bgpool_jupyter`` makes the magics; :class:`BackgroundWorkerPool` and :class:`WorkerPool`
are the same from Python. Importing this package loads neither IPython nor any widget.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .background import BackgroundWorkerPool, default_pool
from .engine import (
    ArgumentTypeError,
    ArgumentValueError,
    BackgroundWorker,
    Cron,
    ErrorInfo,
    EventKind,
    InvalidTransition,
    Job,
    JobCancelled,
    JobState,
    JobTimeout,
    PoolClosed,
    PoolError,
    PoolEvent,
    Progress,
    Retry,
    RunFailed,
    RunOutput,
    RunRecord,
    WorkerNotFound,
    WorkerPool,
    WorkerSnapshot,
    WorkerState,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .panel import Panel, PoolModel

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "BackgroundWorker",
    "BackgroundWorkerPool",
    "Cron",
    "ErrorInfo",
    "EventKind",
    "InvalidTransition",
    "Job",
    "JobCancelled",
    "JobState",
    "JobTimeout",
    "Panel",
    "PoolClosed",
    "PoolError",
    "PoolEvent",
    "PoolModel",
    "Progress",
    "Retry",
    "RunFailed",
    "RunOutput",
    "RunRecord",
    "WorkerNotFound",
    "WorkerPool",
    "WorkerSnapshot",
    "WorkerState",
    "__version__",
    "default_pool",
]

__version__ = "0.1.0"

_LAZY = frozenset({"Panel", "PoolModel"})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(".panel", __name__), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)


def _make_panel() -> Any:
    return importlib.import_module(".panel", __name__).default_panel()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Make the magics available in `shell`. IPython calls it for ``%load_ext bgpool_jupyter``."""
    importlib.import_module(".kernel.lifecycle", __name__).load(shell, _make_panel)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Stop everything and take the magics away. IPython calls it for ``%unload_ext bgpool_jupyter``.

    For ``%reload_ext bgpool_jupyter`` IPython calls it too, and then it does nothing: workers and panels go on.
    """
    lifecycle = importlib.import_module(".kernel.lifecycle", __name__)
    if lifecycle.reloading():
        return
    if f"{__name__}.panel" in sys.modules:
        importlib.import_module(".panel", __name__).close_all()
    lifecycle.unload(shell)
