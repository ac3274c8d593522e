"""The states of a worker and the legal moves between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .errors import InvalidTransition

__all__ = [
    "ACTIVE",
    "PAUSED",
    "RUNNING",
    "STOPPED",
    "STOPPING",
    "TRANSITIONS",
    "WAITING",
    "WorkerState",
    "next_state",
]


class WorkerState(enum.Enum):
    """Where a worker stands in its life."""

    # Members are singletons, compared by identity. Enum's own hash is Python code, at each look-up below.
    __hash__ = object.__hash__

    #: Registered, never started.
    NEW = "new"
    #: Started; the next run is due later.
    WAITING = "waiting"
    #: The callback is being executed.
    RUNNING = "running"
    #: Started, but no run begins before unpause(); a run in flight goes on.
    PAUSED = "paused"
    #: Stopped while a run was in flight, which goes on.
    STOPPING = "stopping"
    #: Ended: by stop(), by its last run, or by its callback.
    STOPPED = "stopped"


#: Every legal move: state → event → next state.
TRANSITIONS: Mapping[WorkerState, Mapping[str, WorkerState]] = {
    WorkerState.NEW: {
        "start": WorkerState.WAITING,
    },
    WorkerState.WAITING: {
        "start": WorkerState.WAITING,
        "begin": WorkerState.RUNNING,
        "pause": WorkerState.PAUSED,
        "stop": WorkerState.STOPPED,
        "stop in flight": WorkerState.STOPPING,
    },
    WorkerState.RUNNING: {
        "start": WorkerState.WAITING,
        "again": WorkerState.WAITING,
        "last": WorkerState.STOPPED,
        "pause": WorkerState.PAUSED,
        "stop in flight": WorkerState.STOPPING,
    },
    WorkerState.PAUSED: {
        "start": WorkerState.WAITING,
        "begin": WorkerState.PAUSED,
        "again": WorkerState.PAUSED,
        "last": WorkerState.STOPPED,
        "unpause": WorkerState.WAITING,
        "unpause in flight": WorkerState.RUNNING,
        "stop": WorkerState.STOPPED,
        "stop in flight": WorkerState.STOPPING,
    },
    WorkerState.STOPPING: {
        "start": WorkerState.WAITING,
        "last": WorkerState.STOPPED,
    },
    WorkerState.STOPPED: {
        "start": WorkerState.WAITING,
    },
}

# For what is done in every run: a look-up in an Enum costs four times as much as one in a module (CPython 3.11).
WAITING, RUNNING, PAUSED = WorkerState.WAITING, WorkerState.RUNNING, WorkerState.PAUSED
STOPPING, STOPPED = WorkerState.STOPPING, WorkerState.STOPPED

#: The states of a worker that was started and has not ended.
ACTIVE = frozenset({WorkerState.WAITING, WorkerState.RUNNING, WorkerState.PAUSED})


def next_state(state: WorkerState, event: str, name: str) -> WorkerState:
    """Return the state that `event` leads the worker called `name` to.

    Raises
    ------
    InvalidTransition
        If `state` knows no such event.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        message = f"worker {name!r} is {state.value} and cannot {event}; start() it first"
        raise InvalidTransition(message) from None
