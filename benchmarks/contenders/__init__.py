"""The contenders by name, the engine first, then the floor, then the peers."""

from __future__ import annotations

import importlib.util

from .apscheduler3 import ApScheduler
from .asyncio_thread import AsyncioThread
from .bare import Bare
from .base import Contender
from .engine import Engine
from .executor import Executor
from .sched_thread import SchedThread

__all__ = ["CONTENDERS", "ENGINE", "Contender", "available"]

#: Every contender by the name that the tables show.
CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (Engine, Bare, ApScheduler, AsyncioThread, SchedThread, Executor)
}
ENGINE = Engine.name


def available(name: str) -> bool:
    """Return whether the contender can be had here: APScheduler may not be installed."""
    return name != ApScheduler.name or importlib.util.find_spec("apscheduler") is not None
