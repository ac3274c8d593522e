"""The engine: a pool that runs workers, actors and jobs. Standard library, and a cron parser."""

from .clock import Clock, SystemClock
from .crew import ThreadCrew
from .cron import Cron
from .errors import (
    ArgumentTypeError,
    ArgumentValueError,
    InvalidTransition,
    JobCancelled,
    JobTimeout,
    PoolClosed,
    PoolError,
    RunFailed,
    WorkerNotFound,
)
from .events import ChangeFeed, EventKind, PoolEvent, Subscription
from .executors import InlineExecutor
from .frames import HISTORY_COLUMNS
from .jobs import Job, JobState
from .lints import Lint
from .output import RunCapture, RunOutput
from .pool import WorkerPool
from .recorder import Recorder
from .retry import Retry
from .runs import ErrorInfo, Progress, RunningRun, RunRecord
from .states import TRANSITIONS, WorkerState
from .worker import BackgroundWorker, WorkerSnapshot

__all__ = [
    "HISTORY_COLUMNS",
    "TRANSITIONS",
    "ArgumentTypeError",
    "ArgumentValueError",
    "BackgroundWorker",
    "ChangeFeed",
    "Clock",
    "Cron",
    "ErrorInfo",
    "EventKind",
    "InlineExecutor",
    "InvalidTransition",
    "Job",
    "JobCancelled",
    "JobState",
    "JobTimeout",
    "Lint",
    "PoolClosed",
    "PoolError",
    "PoolEvent",
    "Progress",
    "Recorder",
    "Retry",
    "RunCapture",
    "RunFailed",
    "RunOutput",
    "RunRecord",
    "RunningRun",
    "Subscription",
    "SystemClock",
    "ThreadCrew",
    "WorkerNotFound",
    "WorkerPool",
    "WorkerSnapshot",
    "WorkerState",
]
