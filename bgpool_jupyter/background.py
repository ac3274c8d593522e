"""BackgroundWorkerPool: the reference class and its names, over the default pool.

All behaviour lives in :class:`WorkerPool`; every method here is one call on :func:`default_pool`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar, overload

from .engine.jobs import Job
from .engine.output import RunCapture
from .engine.pool import WorkerPool
from .engine.recorder import Recorder
from .engine.worker import BackgroundWorker

__all__ = [
    "BackgroundWorkerPool",
    "WorkerEntry",
    "WorkerQueue",
    "WorkerTimer",
    "default_pool",
    "set_default_capture",
    "set_default_recorder",
]

T = TypeVar("T")

#: An entry of :attr:`BackgroundWorkerPool.workerQueue`: UTC epoch seconds of the next run, worker id, worker name.
WorkerEntry = tuple[float, int, str]

_pool: WorkerPool | None = None
_pool_lock = Lock()
_capture: RunCapture | None = None
_recorder: Recorder | None = None


def default_pool() -> WorkerPool:
    """Return the pool of this process that magics, panel and :class:`BackgroundWorkerPool` share.

    It is made on first use, and anew after it was closed.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    global _pool  # noqa: PLW0603 - the one pool of the process
    pool = _pool
    if pool is not None and not pool.closed:
        return pool
    # Made outside the lock: a __del__ that runs while a pool is made may come here itself.
    fresh = WorkerPool(name="default")
    fresh.capture = _capture
    fresh.recorder = _recorder
    with _pool_lock:
        if _pool is None or _pool.closed:
            _pool = fresh
        return _pool


def set_default_capture(capture: RunCapture | None) -> None:
    """Have the output of runs of the default pool, and of its successors, led away by `capture`; None ends that."""
    global _capture  # noqa: PLW0603 - the one capture of the process
    _capture = capture
    if _pool is not None:
        _pool.capture = capture


def set_default_recorder(recorder: Recorder | None) -> None:
    """Have `recorder` told of every run of the default pool and of its successors; None ends that."""
    global _recorder  # noqa: PLW0603 - the one recorder of the process
    _recorder = recorder
    if _pool is not None:
        _pool.recorder = recorder


class _Live(Generic[T]):
    """A class variable that is read from the default pool each time."""

    def __init__(self, read: Callable[[WorkerPool], T], doc: str) -> None:
        self._read = read
        self.__doc__ = doc

    def __get__(self, instance: object | None, owner: type) -> T:
        return self._read(default_pool())


class WorkerQueue(Sequence[WorkerEntry]):
    """The queue of due workers as it was when it was read, earliest first."""

    def __init__(self, pool: WorkerPool) -> None:
        waiting = [w for w in pool.find_workers(running=True) if not w.executing]
        entries = [(due, w.id, w.name) for w in waiting if (due := w.next_run_time) is not None]
        self._entries = sorted(entries)

    @overload
    def __getitem__(self, index: int) -> WorkerEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[WorkerEntry]: ...
    def __getitem__(self, index: int | slice) -> WorkerEntry | Sequence[WorkerEntry]:
        """Return one entry, or several."""
        return self._entries[index]

    def __len__(self) -> int:
        """Return the count of workers that wait."""
        return len(self._entries)

    def __iter__(self) -> Iterator[WorkerEntry]:
        """Iterate, earliest first."""
        return iter(self._entries)

    def __repr__(self) -> str:
        """Return the entries as a list shows them."""
        return repr(self._entries)


class WorkerTimer:
    """What stands for the reference's one timer: the next due run."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        queue = WorkerQueue(pool)
        #: Seconds until the next run, at least 0; None if none is due.
        self.interval: float | None = max(0.0, queue[0][0] - pool.clock.time()) if queue else None

    def is_alive(self) -> bool:
        """Return whether a run is due at some time."""
        return self.interval is not None

    def cancel(self) -> None:
        """Let no run begin before :meth:`start`."""
        self._pool.suspend()

    def start(self) -> None:
        """Let runs begin again."""
        self._pool.resume()


class BackgroundWorkerPool:
    """Pool and factory for background workers and actors.

    Its methods are class methods that work on :func:`default_pool`; there are no instances.

    Notes
    -----
    Threads: every method may be called from any thread and returns at once, but for :meth:`killJobs`,
    which may take up to a second.
    """

    backgroundWorkers: _Live[dict[int, BackgroundWorker]] = _Live(
        lambda pool: {worker.id: worker for worker in pool.find_workers()},
        "All workers of the pool by id: a copy, as of the moment of reading.",
    )
    #: Free for callers. The pool has a lock of its own and never takes this one.
    queueLock: Lock = Lock()
    #: Free for callers. The pool has a lock of its own and never takes this one.
    timerLock: Lock = Lock()
    workerQueue: _Live[WorkerQueue] = _Live(WorkerQueue, "The queue of due workers, earliest first: a copy.")
    workerTimer: _Live[WorkerTimer] = _Live(WorkerTimer, "The next due run.")

    def __new__(cls, *args: str, **kwargs: str) -> BackgroundWorkerPool:  # noqa: ARG004, PYI034 - the reference's signature
        """Prevent from instantiation.

        Raises
        ------
        TypeError
            Always.
        """
        message = "BackgroundWorkerPool has no instances; call its class methods, or make a pool with WorkerPool()"
        raise TypeError(message)

    @classmethod
    def newWorker(
        cls,
        interval: float,
        workerCallback: Callable[..., Any],
        name: str | None = None,
        startWithDelay: bool | None = False,
        maxCount: int | None = None,
        dispose: bool | None = True,
        runOnTime: bool | None = True,
        runPastEvents: bool | None = False,
        finished: Callable[..., Any] | None = None,
        ignoreException: bool | None = False,
        data: Any | None = None,
    ) -> BackgroundWorker:
        """Create a worker that runs `workerCallback` periodically; see :meth:`WorkerPool.new_worker`."""
        return default_pool().new_worker(
            interval,
            workerCallback,
            name,
            startWithDelay,
            maxCount,
            dispose,
            runOnTime,
            runPastEvents,
            finished,
            ignoreException,
            data,
        )

    @classmethod
    def newActor(
        cls,
        workerCallback: Callable[..., Any],
        delay: float | None = 0.0,
        at: float | None = None,
        name: str | None = None,
        dispose: bool | None = True,
        finished: Callable[..., Any] | None = None,
        ignoreException: bool | None = False,
        data: Any | None = None,
    ) -> BackgroundWorker:
        """Create a worker that runs once; see :meth:`WorkerPool.new_actor`."""
        return default_pool().new_actor(workerCallback, delay, at, name, dispose, finished, ignoreException, data)

    @classmethod
    def findWorkers(cls, name: str | None = None, running: bool | None = None) -> list[BackgroundWorker]:
        """Return the workers that match; see :meth:`WorkerPool.find_workers`."""
        return default_pool().find_workers(name, running)

    @classmethod
    def stopWorkers(cls, name: str | None = None) -> list[BackgroundWorker]:
        """Stop the workers that match and return them; see :meth:`WorkerPool.stop_workers`."""
        return default_pool().stop_workers(name)

    @classmethod
    def removeWorkers(cls, name: str) -> list[BackgroundWorker]:
        """Stop the workers that match and take them out of the pool; see :meth:`WorkerPool.remove_workers`."""
        return default_pool().remove_workers(name)

    @classmethod
    def runJob(cls, task: Callable[..., Any], name: str | None = None) -> Job:
        """Run a task on a pooled thread; see :meth:`WorkerPool.run_job`."""
        return default_pool().run_job(task, name)

    @classmethod
    def countJobs(cls) -> tuple[int, int]:
        """Return the counts of running and paused jobs; see :meth:`WorkerPool.count_jobs`."""
        return default_pool().count_jobs()

    @classmethod
    def killJobs(cls) -> None:
        """Stop and remove all jobs; see :meth:`WorkerPool.kill_jobs`."""
        default_pool().kill_jobs()

    @classmethod
    def setJobBalance(
        cls,
        balanceTarget: float | None = 3.0,
        balanceLatency: int | None = 1000,
        balanceReduceFactor: float | None = 2.0,
    ) -> None:
        """Set how many paused jobs are kept; see :meth:`WorkerPool.set_job_balance`."""
        default_pool().set_job_balance(balanceTarget, balanceLatency, balanceReduceFactor)

    @classmethod
    def setLogger(cls, logger: Callable[..., Any]) -> None:
        """Assign a callback for messages; see :meth:`WorkerPool.set_logger`."""
        default_pool().set_logger(logger)

    @classmethod
    def _execQueue(cls) -> None:
        """Execute what is due, on this thread."""
        default_pool().run_due()

    @classmethod
    def _queueWorker(cls, ts: float, worker: BackgroundWorker) -> None:
        """Move the next run of a started worker to `ts` (UTC epoch seconds)."""
        default_pool().reschedule(worker, ts)

    @classmethod
    def _unqueueWorker(cls, worker: BackgroundWorker) -> None:
        """Let no further run of the worker begin before it is queued again or unpaused."""
        if worker.running:
            worker.pause()

    @classmethod
    def _removeBackgroundWorkerFromPool(cls, worker: BackgroundWorker) -> None:
        """Stop a worker and take it out of the pool."""
        default_pool().remove(worker)

    @classmethod
    def _startTimer(cls) -> None:
        """Let runs begin again after :meth:`_stopTimer`."""
        default_pool().resume()

    @classmethod
    def _stopTimer(cls) -> None:
        """Let no worker's run begin before :meth:`_startTimer`."""
        default_pool().suspend()
