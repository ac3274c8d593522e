"""Machine: the state machine of the workers. The one place that decides.

Every change of a worker's state happens in this module, under one lock, and what follows from it
(queue entry, `finished`, leaving the pool) is derived from the state by one function, `_settle`.
User code (callbacks, `finished`, loggers, subscribers) is called with no lock held.

Two things can happen inside any line of a critical section, and both must not dead-lock or lose
anything:

*A ``__del__`` that calls the pool* runs on this very thread when the garbage collector does. The
lock is re-entrant only so that such a call can see that its own thread holds it; it then puts its
command on a list, and the outer section carries it out before it is left.

*A KeyboardInterrupt on the main thread* leaves the section half-done; the ``with`` statement
releases the lock. The worker is noted in `_touched` for the time of a change, and whoever takes the
lock next finds it there and settles it: each command stores the new state first, in one step, and
all that follows can be derived from it again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from .arguments import check_instant
from .clock import Clock
from .errors import ArgumentValueError, PoolClosed, PoolError
from .events import EventKind, Hub, PoolEvent, Subscription
from .executors import Executor, OwnedLock
from .loop import LoopThread
from .output import RunCapture
from .recorder import Recorder
from .runs import RunningRun
from .starts import Start
from .states import ACTIVE, PAUSED, STOPPED, STOPPING, WAITING, WorkerState, next_state
from .worker import BackgroundWorker

__all__ = ["Machine", "Watchdog"]

_STARTED, _STOPPED, _REMOVED = EventKind.STARTED, EventKind.STOPPED, EventKind.REMOVED
_OVER = frozenset({STOPPED, STOPPING})


class Watchdog:
    """Notices that a run takes longer than its worker's timeout. Waits in the queue beside the workers."""

    __slots__ = ("_token", "run", "worker")

    def __init__(self, worker: BackgroundWorker, run: RunningRun) -> None:
        self._token = 0
        self.worker = worker
        self.run = run


class Machine:
    """What becomes of workers: commands, and what follows from them.

    The base of :class:`Runner`, which runs them.
    """

    def __init__(self, clock: Clock, executor: Executor, name: str) -> None:
        self.name = name
        self.clock: Clock = clock
        #: Leads what runs print into their records; None leaves output alone.
        self.capture: RunCapture | None = None
        #: Is told of every run; None keeps records only for as long as the pool lives.
        self.recorder: Recorder | None = None
        self.closed = False
        self._executor = executor
        self._ready = executor.ready
        self._deadlines = executor.deadlines
        self._lock = cast("OwnedLock", threading.RLock())
        #: Commands of calls that found the lock held by their own thread, oldest first.
        self._deferred: deque[Callable[[], None]] = deque()
        #: The worker that a command is changing; left behind only where that was cut off.
        self._touched: BackgroundWorker | None = None
        #: Every worker in the pool by its id. Single dict operations need no lock.
        self._workers: dict[int, BackgroundWorker] = {}
        self._hub = Hub(self._post)
        self._loop = LoopThread(self._lock)

    def _post(self, subscription: Subscription, event: PoolEvent) -> None:
        if subscription.put(event, self._ready) and not self._lock._is_owned():
            self._executor.submitted()  # who holds the lock has somebody look when it is done

    def _refuse_if_closed(self) -> None:
        if self.closed:
            message = f"the pool {self.name!r} was closed; make a new WorkerPool()"
            raise PoolClosed(message)

    def _note(self, worker: BackgroundWorker, kind: EventKind, text: str = "") -> None:
        hub = self._hub
        remembered = (next(hub.order), worker.id, worker._name, self.clock.time(), text)
        hub.recent[kind._value_].append(remembered)  # value itself is a descriptor, and this is no place for one
        if hub.feeds or hub.subscriptions or worker._listener is not None:
            hub.tell(kind, remembered, worker._listener)

    # -- commands of workers (see engine.worker.Host)

    def start_worker(self, worker: BackgroundWorker, kwargs: dict[str, Any]) -> None:
        """Start `worker`; :meth:`BackgroundWorker.start` says how."""
        if self.closed:
            self._refuse_if_closed()
        start = worker._new_start(kwargs, self.clock.monotonic(), self.clock.time())
        self._change(worker, lambda: self._begin_start(worker, start, kwargs))

    def restart_worker(self, worker: BackgroundWorker, interval: float | None) -> None:
        """Start `worker` with the arguments of its last start, and with `interval` if one is given."""
        self._refuse_if_closed()
        if interval is not None:
            worker._interval = interval
        self.start_worker(worker, worker.args)

    def stop_worker(self, worker: BackgroundWorker) -> None:
        """Stop `worker`; :meth:`BackgroundWorker.stop` says how."""
        self._change(worker, lambda: self._stop(worker))

    def pause_worker(self, worker: BackgroundWorker) -> None:
        """Pause `worker`; :meth:`BackgroundWorker.pause` says how."""
        self._change(worker, lambda: self._pause(worker))

    def unpause_worker(self, worker: BackgroundWorker, immediately: bool) -> None:
        """Unpause `worker`; :meth:`BackgroundWorker.unpause` says how."""
        self._change(worker, lambda: self._unpause(worker, immediately=immediately))

    def run_worker_now(self, worker: BackgroundWorker) -> None:
        """Run `worker` at once; :meth:`BackgroundWorker.work_now` says how."""
        self._change(worker, lambda: self._run_now(worker))

    def now(self) -> float:
        """Return the wall clock in UTC epoch seconds."""
        return self.clock.time()

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        return self.clock.monotonic()

    def epoch(self, monotonic: float) -> float:
        """Return a monotonic instant in UTC epoch seconds."""
        return self.clock.time() + (monotonic - self.clock.monotonic())

    def changed(self, worker: BackgroundWorker) -> None:
        """Tell who watches that a setting of `worker` was written."""
        self._hub.changed(worker.id)

    def _change(self, worker: BackgroundWorker, command: Callable[[], None]) -> None:
        """Carry out a command on a worker under the lock."""
        lock = self._lock
        if lock._is_owned():
            self._deferred.append(lambda: self._carry_out(worker, command))
            return
        try:
            with lock:
                if self._touched is not None:
                    self._mend()
                self._carry_out(worker, command)
        finally:  # also where the command was refused
            if self._deferred:
                self._flush()

    def _carry_out(self, worker: BackgroundWorker, command: Callable[[], None]) -> None:
        self._touched = worker
        try:
            command()
        except PoolError:
            self._touched = None
            raise
        self._settle(worker)
        if self._ready:
            self._executor.look()
        self._touched = None

    def _mend(self) -> None:
        """Complete a change that a KeyboardInterrupt cut off. Under the lock."""
        worker = self._touched
        if worker is not None:
            self._executor.repair()
            self._deadlines.cancel(worker)
            if isinstance(worker._busy, Start) and not worker._busy.finish_claimed:
                worker._busy = None
            self._settle(worker)
            if self._ready:
                self._executor.look()
            self._touched = None  # last, because this too may be cut off

    def _inside(self) -> bool:
        """Return whether this thread is inside of a section of the pool, as in a ``__del__``."""
        return self._lock._is_owned()

    def _retry_threads(self) -> bool:
        """Try again to start a thread, where work waits because none could be; return whether that is still so."""
        executor = self._executor
        if executor.starved and not self._lock._is_owned():
            with self._lock:
                executor.look()
            if self._deferred:
                self._flush()
        return executor.starved

    def _flush(self) -> None:
        """Carry out what was put off while the lock was held; a call from inside leaves it to the outer one."""
        while self._deferred and not self._lock._is_owned():
            refused = []
            with self._lock:
                self._mend()
                while self._deferred:
                    command = self._deferred.popleft()
                    try:
                        command()
                    except PoolError as error:
                        refused.append(error)
            for refusal in refused:  # a logger is user code
                self._hub.log(f"a call from within the pool was refused: {refusal}")

    # -- the state machine, under the lock

    def _begin_start(self, worker: BackgroundWorker, start: Start, kwargs: dict[str, Any]) -> None:
        if self.closed:  # once more, under the lock: close() has not begun yet, and will stop what we start
            self._refuse_if_closed()
        before = worker._start
        if before is not None:
            start.state = next_state(before.state, "start", worker._name)
            if not before.ended:
                start.previous = before
        self._workers[worker.id] = worker  # before it is started: one that is cut off between the two leaves again
        worker._start = start  # with its state, in one step
        worker.args = kwargs
        if before is not None:
            worker._reset_counts()
            self._ask_to_stop(worker)
            self._deadlines.cancel(worker)
            self._note_ends(worker, start)  # of the start before this one, which is told first
        self._note(worker, _STARTED)

    def _stop(self, worker: BackgroundWorker) -> None:
        if worker._state not in ACTIVE:
            return
        in_flight = isinstance(worker._busy, RunningRun)
        worker._ended_itself = False
        self._ask_to_stop(worker)
        worker._state = next_state(worker._state, "stop in flight" if in_flight else "stop", worker._name)
        self._hub.changed(worker.id)

    @staticmethod
    def _ask_to_stop(worker: BackgroundWorker) -> None:
        if isinstance(worker._busy, RunningRun):
            worker._busy.ask_to_stop()

    def _pause(self, worker: BackgroundWorker) -> None:
        if worker._state is WorkerState.PAUSED:
            return
        worker._state = next_state(worker._state, "pause", worker._name)
        if worker._start is not None:
            worker._start.now = False
        self._note(worker, EventKind.PAUSED)

    def _unpause(self, worker: BackgroundWorker, *, immediately: bool) -> None:
        start = worker._start
        if worker._state is not WorkerState.PAUSED or start is None:
            return
        busy = worker._busy
        own_run = isinstance(busy, RunningRun) and busy.start is start
        now = self.clock.monotonic()
        if not own_run:  # otherwise the end of the run chooses the slot after it
            worker.skipped_count += start.resume(now, self.clock.time(), worker._interval)
        start.failures = 0
        worker.pause_reason = ""
        start.asked = start.now or immediately
        start.now = start.asked and (own_run or start.is_early(now))  # as in _run_now()
        worker._state = next_state(worker._state, "unpause in flight" if own_run else "unpause", worker._name)
        self._deadlines.cancel(worker)
        self._note(worker, EventKind.UNPAUSED)

    def _run_now(self, worker: BackgroundWorker) -> None:
        if worker._state not in ACTIVE or worker._start is None:
            next_state(worker._state, "run now", worker._name)
            return
        start, now = worker._start, self.clock.monotonic()
        if start.wall is not None:
            start.look_at_wall(now, self.clock.time())
        # A slot that is due is what runs at once: with a run beside it there would be two.
        start.now = worker._state is not WorkerState.WAITING or start.is_early(now)
        start.asked = True
        self._deadlines.cancel(worker)
        self._hub.changed(worker.id)

    def _settle(self, worker: BackgroundWorker) -> None:
        """Derive queue entry, `finished` and membership from the worker's state. May be called again at any time."""
        start = worker._start
        if start is None:
            return
        if start.previous is not None or worker._endings or start.state in _OVER:
            self._note_ends(worker, start)
        if worker._busy is not None:
            if worker._token:
                self._deadlines.cancel(worker)
            return
        state = start.state
        if state is STOPPED and worker._dispose:
            self._leave(worker)
        if worker._endings:
            # Queued before it is noted: what is cut off between the two is queued once more, and the
            # second one finds that the first has claimed the call.
            self._deadlines.cancel(worker)
            self._ready.append(self._ending(worker, worker._endings[0]))
            worker._busy = worker._endings[0]
        elif state is WAITING or (state is PAUSED and start.now):
            if not worker._token:
                due = start.next_due(self.clock.monotonic() if start.now else 0.0)
                self._deadlines.push(due, worker)
                self._executor.armed(due)
        elif worker._token:
            self._deadlines.cancel(worker)

    def _ending(self, worker: BackgroundWorker, start: Start) -> Any:
        """Return what calls `finished` of a start that ended, for a thread to execute."""
        raise NotImplementedError

    def _note_ends(self, worker: BackgroundWorker, start: Start) -> None:
        """Note which starts have ended and whose `finished` is still to be called."""
        if start.previous is not None:
            self._note_end(worker, start.previous)
            start.previous = None
        if start.state in _OVER and not start.ended:
            self._note_end(worker, start)
        while worker._endings and worker._endings[0].finish_claimed:
            worker._endings.pop(0)

    def _note_end(self, worker: BackgroundWorker, start: Start) -> None:
        if start.finish_call is not None:
            worker._endings.append(start)
        start.ended = True
        if worker._waiters:
            worker._wake_waiters()
        self._note(worker, _STOPPED)

    def _leave(self, worker: BackgroundWorker) -> None:
        if self._workers.pop(worker.id, None) is not None:
            self._note(worker, _REMOVED)

    def _remove(self, worker: BackgroundWorker) -> None:
        self._stop(worker)
        self._settle(worker)  # so that its end is told before it leaves
        self._leave(worker)

    # -- moving and holding runs

    def reschedule(self, worker: BackgroundWorker, at: float) -> None:
        """Move the next run of a started worker to `at` (UTC epoch seconds); one that is paused goes on.

        An instant that has passed means at once. Where a retry is to come, that is what is moved.

        Raises
        ------
        ArgumentValueError
            If `at` is after the instant at which the worker ends.
        InvalidTransition
            If the worker is not started.
        """
        if worker._until is not None and check_instant(at) > worker._until:
            message = (
                f"at={at!r} is after {worker._until!r}, the until of {worker._name!r}: no run begins then; "
                "give an earlier instant, or another until"
            )
            raise ArgumentValueError(message)
        due = self.clock.monotonic() + (check_instant(at) - self.clock.time())
        self._change(worker, lambda: self._reschedule(worker, due))

    def _reschedule(self, worker: BackgroundWorker, due: float) -> None:
        start = worker._start
        if worker._state not in ACTIVE or start is None:
            next_state(worker._state, "reschedule", worker._name)
            return
        self._unpause(worker, immediately=False)
        now = self.clock.monotonic()
        due = max(due, now)  # an instant that has passed is now, and no run is late for it
        if start.retry_at is not None:
            start.retry_at = due  # it stays the retry of its run: the slots are as they were
        else:
            start.moved = due
            if not (isinstance(worker._busy, RunningRun) and worker._busy.start is start):  # else its end sees to it
                start.move(now, self.clock.time())
        self._deadlines.cancel(worker)
        self._hub.changed(worker.id)

    @property
    def suspended(self) -> bool:
        """Whether suspend() holds the runs of all workers."""
        return self._executor.suspended

    def suspend(self) -> None:
        """Let no worker's run begin before resume(); runs in flight and jobs go on."""
        self._apply(self._suspend)

    def resume(self) -> None:
        """Go on after suspend()."""
        self._apply(self._resume)

    def _apply(self, command: Callable[[], None]) -> None:
        """Carry out what changes no worker under the lock; later, where this thread holds it, as in a __del__."""
        if self._lock._is_owned():
            self._deferred.append(command)
            return
        with self._lock:
            command()
        self._flush()

    def _suspend(self) -> None:
        self._executor.suspended = True
        self._hub.wake()

    def _resume(self) -> None:
        due = self._deadlines.next_due()
        if due is not None:
            self._executor.armed(due)
        self._executor.suspended = False  # what is cut off before it was not begun, and says so
        self._hub.wake()

    # -- for tests

    def check(self) -> None:
        """Assert the invariants of every worker; for tests. Under the lock for a moment."""
        if self._lock._is_owned():
            return  # from inside of a section, in which they need not hold
        self._flush()
        with self._lock:
            self._mend()
            items = [item for _, _, item in self._deadlines.live()]
            queued = [item.id for item in items if type(item) is not Watchdog]
            for worker in list(self._workers.values()):
                start, busy, state = worker._start, worker._busy, worker._state
                entries = queued.count(worker.id)
                told = f"{worker!r}: {state}, token {worker._token}, {entries} entries, busy {busy!r}"
                assert entries == bool(worker._token), f"an entry for each token: {told}"  # noqa: S101 - see above
                now = start is not None and start.now
                wanted = busy is None and (state is WorkerState.WAITING or (state is WorkerState.PAUSED and now))
                assert bool(worker._token) is wanted, f"a token if and only if a run is to come: {told}"  # noqa: S101
                in_flight = isinstance(busy, RunningRun)
                assert in_flight or state not in (WorkerState.RUNNING, WorkerState.STOPPING), told  # noqa: S101
                assert not in_flight or state is not WorkerState.STOPPED, told  # noqa: S101
                assert (start is None) == (state is WorkerState.NEW), told  # noqa: S101
        self._flush()
