"""The observable picture of a pool: what widgets are built on.

One thread, ``bgpool-publisher``, reads the pool's change feed and writes the traits, at most four
times a second (ten where a panel asks for it) and only when something changed. Nothing else writes them.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import traitlets

from ..background import default_pool
from ..engine import ArgumentTypeError, ArgumentValueError, WorkerPool, WorkerSnapshot

__all__ = ["PoolChange", "PoolModel"]

logger = logging.getLogger("bgpool_jupyter.panel")

#: Seconds between two looks at the threads while nothing happens to any worker.
_IDLE_LOOK = 1.0
_LONGEST_PERIOD = 3600.0
#: Most workers that a look takes along because time alone may have put a remark on them.
_MOST_AGED = 1_000
_STATUSES = ("new", "waiting", "running", "paused", "failed", "stopping", "stopped")
_NOTHING: Mapping[int, WorkerSnapshot] = MappingProxyType({})


class PoolChange(NamedTuple):
    """What one look at the pool found."""

    #: The model's revision that this change made.
    revision: int
    #: The workers that are new or differ from the last look, as they are now.
    updated: tuple[WorkerSnapshot, ...]
    #: The ids of workers that left the pool.
    removed: tuple[int, ...]


class PoolModel(traitlets.HasTraits):
    """A picture of a pool that can be observed.

    Parameters
    ----------
    pool
        The pool to follow; None is the default pool.
    period
        Least seconds between two looks, from 0.05 on.
    start
        False makes no thread: the picture changes when :meth:`step` is called.

    Raises
    ------
    ArgumentTypeError
        If `pool` is no WorkerPool, or `period` no number.
    ArgumentValueError
        If `period` is too small.

    Notes
    -----
    Threads: may be made, read and closed on any thread. Observers are called on the thread
    ``bgpool-publisher``. The traits are written in the order in which they stand here, `revision`
    last: an observer of `revision` sees a picture that belongs together. All values are immutable.
    Setting one raises a TraitError.

    Examples
    --------
    >>> from bgpool_jupyter import PoolModel
    >>> model = PoolModel()
    >>> model.observe(lambda change: print(model.counts["failed"], "failed"), "revision")
    >>> model.close()
    """

    epoch = traitlets.Unicode(read_only=True)
    """Names this model. A new one is made when the kernel restarts. Written once."""

    workers = traitlets.Instance(MappingProxyType, args=({},), read_only=True)
    """The workers as they were at the last look, from id to WorkerSnapshot, in id order. Written by the publisher."""

    total = traitlets.Int(0, read_only=True)
    """Count of the workers in the pool. Written by the publisher."""

    counts = traitlets.Instance(MappingProxyType, args=({},), read_only=True)
    """Count of the workers of each status, 0 included. Written by the publisher."""

    threads_running = traitlets.Int(0, read_only=True)
    """Count of the pool's threads that have something to do. Written by the publisher."""

    threads_paused = traitlets.Int(0, read_only=True)
    """Count of the pool's threads that wait for something to do. Written by the publisher."""

    suspended = traitlets.Bool(default_value=False, read_only=True)
    """Whether the whole pool is held by suspend(): no run begins. Written by the publisher."""

    closed = traitlets.Bool(default_value=False, read_only=True)
    """Whether the pool was closed: the picture is the last one. Written by the publisher."""

    change = traitlets.Instance(PoolChange, allow_none=True, read_only=True)
    """What the last look found, None before the first. Written by the publisher."""

    revision = traitlets.Int(0, read_only=True)
    """Count of the looks that found something. Written by the publisher, last."""

    def __init__(self, pool: WorkerPool | None = None, *, period: float = 0.25, start: bool = True) -> None:
        super().__init__()
        self._pool = _checked_pool(pool)
        self._period = _checked_period(period)
        #: Periods that others asked for, by who they are.
        self._paces: dict[int, float] = {}
        self.set_trait("epoch", uuid.uuid4().hex)
        #: Held while the traits are written: one writer at a time. Observers run under it, so that
        #: pictures reach them in their order; re-entrant, because an observer may call close().
        self._step_lock = threading.RLock()
        self._listeners: tuple[Callable[[PoolChange | None], bool], ...] = ()
        self._stopping = threading.Event()
        #: When workers were last looked at for what time alone does to them, and where to go on with them.
        self._aged_at = 0.0
        self._turn = 0
        self._feed = self._pool.watch()
        self.step(everything=True)
        self._thread: threading.Thread | None = None
        if start:
            self._thread = threading.Thread(target=self._publish, name="bgpool-publisher", daemon=True)
            self._thread.start()

    @property
    def pool(self) -> WorkerPool:
        """The pool that this model follows."""
        return self._pool

    @property
    def period(self) -> float:
        """Least seconds between two looks at present."""
        return min(self._period, *tuple(self._paces.values()), _LONGEST_PERIOD)

    def __repr__(self) -> str:
        """Return a text that is the same from run to run."""
        return f"PoolModel({self._pool.name!r})"

    def close(self) -> None:
        """Follow the pool no longer; the last picture stays. May be called again.

        Notes
        -----
        Threads: may be called from any thread. Waits until the publisher has ended, for at most two
        seconds, unless it is called by an observer.
        """
        self._stopping.set()
        self._feed.close()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def on_tick(self, listener: Callable[[PoolChange | None], bool]) -> Callable[[], None]:
        """Call `listener` after every look, and return a function that ends this.

        Parameters
        ----------
        listener
            Called with the change, or None if the look found nothing. While it returns True, the pool
            is looked at every `period` seconds even if nothing happens to a worker.

        Notes
        -----
        Threads: may be called from any thread; the listener is called on the publisher's thread.
        """
        with self._step_lock:
            self._listeners = (*self._listeners, listener)
        self._feed.wake()

        def undo() -> None:
            with self._step_lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        return undo

    def pace(self, owner: object, period: float | None) -> None:
        """Look more often than usual for as long as `owner` asks for it.

        Parameters
        ----------
        owner
            Who asks; a later call of the same one replaces its wish.
        period
            Least seconds between two looks; None takes the wish back. A wish for fewer looks changes nothing.

        Notes
        -----
        Threads: may be called from any thread.
        """
        # Without a lock, by single steps of a dict: a panel may be closed, also by a __del__, in any thread.
        if period is None:
            self._paces.pop(id(owner), None)
        else:
            self._paces[id(owner)] = _checked_period(period)
        self._feed.wake()

    def wake(self) -> None:
        """Let the publisher look at the pool soon.

        Notes
        -----
        Threads: may be called from any thread; returns at once.
        """
        self._feed.wake()

    def step(self, *, everything: bool = False) -> bool:
        """Look at the pool once, write what changed, and call the listeners.

        Parameters
        ----------
        everything
            True looks at all workers and not at those alone that the feed names.

        Returns
        -------
        bool
            Whether a listener wants to be called again soon.

        Notes
        -----
        Threads: the publisher's work; may be called from any thread, observers are then called on that one.
        """
        with self._step_lock:
            change = self._look(everything=everything)
            wishes = [self._tell(listener, change) for listener in self._listeners]  # all are told, whatever one wishes
        return any(wishes)

    def _look(self, *, everything: bool) -> PoolChange | None:
        # Closed is read first: what happened before is in the feed, and seen by this last look.
        closed = self._pool.closed
        ids = self._feed.take()
        known: Mapping[int, WorkerSnapshot] = self.workers
        if everything:
            ids |= set(known)
        else:
            ids |= self._aging(known)
        try:
            seen = self._pool.snapshot(None if everything else ids) if everything or ids else []
        except Exception:
            for worker_id in ids:
                self._feed.mark(worker_id)  # not lost: the next look finds them again
            raise
        updated = tuple(each for each in seen if known.get(each.id) != each)
        removed = tuple(sorted((ids & known.keys()) - {each.id for each in seen}))
        threads = self._pool.count_jobs()
        suspended = self._pool.suspended
        told = (self.threads_running, self.threads_paused, self.suspended, self.closed)
        if self.revision and not updated and not removed and told == (*threads, suspended, closed):
            return None
        change = PoolChange(self.revision + 1, updated, removed)
        self._write(change, threads, suspended=suspended, closed=closed)
        return change

    def _aging(self, known: Mapping[int, WorkerSnapshot]) -> set[int]:
        """Return, once a second, the workers on which time alone may have put a remark: nothing tells of those."""
        now = self._pool.clock.time()
        if abs(now - self._aged_at) < _IDLE_LOOK:
            return set()
        self._aged_at = now
        late = [each.id for each in known.values() if _may_age(each, now)]
        turn = self._turn % max(1, len(late))
        self._turn = turn + _MOST_AGED
        return set((late[turn:] + late[:turn])[:_MOST_AGED])

    def _write(self, change: PoolChange, threads: tuple[int, int], *, suspended: bool, closed: bool) -> None:
        if change.updated or change.removed:
            workers = dict(self.workers)
            for worker_id in change.removed:
                del workers[worker_id]
            fresh = any(each.id not in workers for each in change.updated)
            workers.update((each.id, each) for each in change.updated)
            if fresh:
                workers = dict(sorted(workers.items()))
            counts = Counter(each.status for each in workers.values())
            self._assign("workers", MappingProxyType(workers))
            self._assign("total", len(workers))
            self._assign("counts", MappingProxyType({name: counts[name] for name in _STATUSES}))
        elif not self.counts:
            self._assign("counts", MappingProxyType(dict.fromkeys(_STATUSES, 0)))
        self._assign("threads_running", threads[0])
        self._assign("threads_paused", threads[1])
        self._assign("suspended", suspended)
        self._assign("closed", closed)
        self._assign("change", change)
        self._assign("revision", change.revision)

    def _assign(self, name: str, value: object) -> None:
        """Write a trait; an observer that raises must stop neither the others traits nor the thread."""
        try:
            self.set_trait(name, value)
        except Exception:
            logger.exception("an observer of PoolModel.%s raised", name)

    def _tell(self, listener: Callable[[PoolChange | None], bool], change: PoolChange | None) -> bool:
        try:
            return listener(change)
        except Exception:
            logger.exception("a listener of a PoolModel raised")
            return False

    def _publish(self) -> None:
        brisk = bool(self._listeners)
        while not self._stopping.is_set():
            self._feed.wait(self.period if brisk else _IDLE_LOOK)
            if self._stopping.is_set():
                break
            try:
                brisk = self.step()
            except Exception:
                logger.exception("the picture of %r could not be brought up to date", self._pool)
            if self.closed:
                self._feed.close()
                break
            self._stopping.wait(self.period)


def _may_age(worker: WorkerSnapshot, now: float) -> bool:
    """Tell whether a worker executes a run, or should have begun one a second ago."""
    return worker.executing or (worker.next_run is not None and worker.next_run < now - _IDLE_LOOK)


def _checked_pool(pool: object) -> WorkerPool:
    if pool is None:
        return default_pool()
    if not isinstance(pool, WorkerPool):
        raise ArgumentTypeError(
            f"pool must be a WorkerPool, not {type(pool).__name__}; give pool=None for the default pool"
        )
    return pool


def _checked_period(period: object) -> float:
    hint = "give seconds from 0.05 on, for example 0.25"
    if isinstance(period, bool) or not isinstance(period, int | float):
        raise ArgumentTypeError(f"period must be a number, not {type(period).__name__}; {hint}")
    if not 0.05 <= period <= _LONGEST_PERIOD:  # noqa: PLR2004 - more than twenty a second helps nobody, and NaN is refused
        raise ArgumentValueError(f"period must be from 0.05 to 3600 seconds, not {period!r}; {hint}")
    return float(period)
