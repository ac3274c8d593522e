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

import functools
import math
import threading
import weakref
from _thread import get_ident
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import starmap
from typing import Any, cast

from .arguments import check_instant, check_number, safe_repr
from .calls import Result, call_captured, hand_to_loop
from .clock import Clock
from .errors import PoolClosed, PoolError
from .events import EventKind, Hub, Subscription
from .executors import Executor, OwnedLock
from .loop import LoopThread
from .output import RunCapture, RunOutput
from .recorder import Recorder
from .retry import Retry
from .runs import ENDED, FAILED, ErrorInfo, RunningRun, RunRecord, outside
from .schedule import CronTimes, duration_text
from .starts import Start
from .states import ACTIVE, WorkerState, next_state
from .worker import BackgroundWorker

__all__ = ["Machine"]

_OVER = frozenset({WorkerState.STOPPED, WorkerState.STOPPING})

#: What ignore_exception stands for.
_FOREVER = Retry()


class _Finish:
    """Calls `finished` of one ended start, on the thread that executes it."""

    __slots__ = ("machine", "start", "worker")

    def __init__(self, machine: Machine, worker: BackgroundWorker, start: Start) -> None:
        self.machine = machine
        self.worker = worker
        self.start = start

    def execute(self, seat: object = None) -> None:  # noqa: ARG002 - one form for everything a pool thread executes
        self.machine._finish(self.worker, self.start)

    def cut_off(self, error: BaseException) -> bool:  # noqa: ARG002 - the same
        """Let the worker go on where a KeyboardInterrupt cut off execute(); return whether to begin again."""
        if self.start.finish_claimed:
            self.machine._release(self.worker, self.start)
        return not self.start.finish_claimed


class _Watchdog:
    """Notices that a run takes longer than its worker's timeout. Waits in the queue beside the workers."""

    __slots__ = ("_token", "run", "worker")

    def __init__(self, worker: BackgroundWorker, run: RunningRun) -> None:
        self._token = 0
        self.worker = worker
        self.run = run


class Machine:
    """What every pool does with its workers: commands, runs, virtual time.

    The base of :class:`WorkerPool`, which adds what people call.
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
        self._hub = Hub(clock, self._post)
        self._loop = LoopThread(self._lock)
        executor.bind(self._lock, self, self._deferred)
        self._finalizer = weakref.finalize(self, _abandon, executor, self._loop)
        self._finalizer.atexit = False

    def _post(self, subscription: Subscription) -> None:
        self._ready.append(subscription)
        if not self._lock._is_owned():  # who holds the lock has somebody look when it is done
            self._executor.submitted()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            message = f"the pool {self.name!r} was closed; make a new WorkerPool()"
            raise PoolClosed(message)

    def _note(self, worker: BackgroundWorker, kind: EventKind, text: str = "") -> None:
        if self._hub.feeds or self._hub.subscriptions:
            self._hub.note(worker.id, worker._name, kind, text)

    # -- commands of workers (see engine.worker.Host)

    def start_worker(self, worker: BackgroundWorker, kwargs: dict[str, Any]) -> None:
        """Start `worker`; :meth:`BackgroundWorker.start` says how."""
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
        with lock:
            if self._touched is not None:
                self._mend()
            self._carry_out(worker, command)
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
        self._refuse_if_closed()  # once more, under the lock: close() has not begun yet, and will stop what we start
        start.state = next_state(worker._state, "start", worker._name)
        if worker._start is not None and not worker._start.ended:
            start.previous = worker._start
        worker._start = start  # with its state, in one step
        worker.args = kwargs
        worker._reset_counts()
        self._ask_to_stop(worker)
        self._deadlines.cancel(worker)
        self._workers[worker.id] = worker
        self._note(worker, EventKind.STARTED)

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
        if not own_run:  # otherwise the end of the run chooses the slot after it
            worker.skipped_count += start.resume(self.clock.monotonic(), self.clock.time())
        start.failures = 0
        worker.pause_reason = ""
        start.now = start.now or immediately
        worker._state = next_state(worker._state, "unpause in flight" if own_run else "unpause", worker._name)
        self._deadlines.cancel(worker)
        self._note(worker, EventKind.UNPAUSED)

    def _run_now(self, worker: BackgroundWorker) -> None:
        if worker._state not in ACTIVE or worker._start is None:
            next_state(worker._state, "run now", worker._name)
            return
        worker._start.now = True
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
            self._deadlines.cancel(worker)
            return
        state = start.state
        if state is WorkerState.STOPPED and worker._dispose:
            self._leave(worker)
        if worker._endings:
            # Queued before it is noted: what is cut off between the two is queued once more, and the
            # second one finds that the first has claimed the call.
            self._deadlines.cancel(worker)
            self._ready.append(_Finish(self, worker, worker._endings[0]))
            worker._busy = worker._endings[0]
        elif state is WorkerState.WAITING or (state is WorkerState.PAUSED and start.now):
            if not worker._token:
                due = start.next_due(self.clock.monotonic())
                self._deadlines.push(due, worker)
                self._executor.armed(due)
        else:
            self._deadlines.cancel(worker)

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
        self._note(worker, EventKind.STOPPED)

    def _leave(self, worker: BackgroundWorker) -> None:
        if self._workers.pop(worker.id, None) is not None:
            self._note(worker, EventKind.REMOVED)

    # -- a run, from its due entry to its record

    def _run_next(self, limit: float | None) -> bool:
        """Run the earliest worker that is due on this thread; return whether there was an entry to look at."""
        entry = run = None
        try:
            with self._lock:
                self._mend()
                now = self.clock.monotonic() if limit is None else limit
                entry = None if self._executor.suspended else self._deadlines.pop_due(now)
                if entry is None:
                    return False
                run = self._begin_run(entry)
            if run is None:
                return True
            result = self._call_run(entry[2], run)
            if result is not None:
                self._close_run(entry[2], run, result)
        except BaseException as error:  # a KeyboardInterrupt between two steps: what the callback raises is noted
            self._give_up(entry, run, error)
            raise
        return True

    def _give_up(self, entry: tuple[float, int, Any] | None, run: RunningRun | None, error: BaseException) -> None:
        """End a run that was cut off between its steps as one that failed, so that its worker goes on."""
        with self._lock:
            if entry is None:
                self._find_lost()
            elif type(entry[2]) is not _Watchdog:
                self._end_cut_off(entry, run, error)
        self._flush()

    def _end_cut_off(self, entry: tuple[float, int, Any], run: RunningRun | None, error: BaseException) -> None:
        worker = entry[2]
        start, busy = worker._start, worker._busy
        if busy is None and start.state in (WorkerState.RUNNING, WorkerState.STOPPING):
            busy = worker._busy = run or RunningRun(self.clock, start, entry[0])
        if isinstance(busy, RunningRun) and busy.handle is None and (run is None or busy is run):
            self._end_run(worker, busy, Result(None, ErrorInfo.of(error), FAILED), on_crew=False)
        elif busy is None and worker._token in (0, entry[1]):  # it has not begun
            worker._token = 0
            self._settle(worker)

    def _find_lost(self) -> None:
        """Queue anew the worker whose entry was taken out and then lost to a KeyboardInterrupt. Under the lock."""
        queued = {id(item) for _, _, item in self._deadlines.live()}
        for worker in list(self._workers.values()):
            if worker._token and id(worker) not in queued:
                worker._token = 0
                self._settle(worker)

    def _call_run(self, worker: BackgroundWorker, run: RunningRun) -> Result | None:
        """Call the callback; None if it gave a coroutine that was handed over. For the executor, without the lock."""
        capture = self.capture
        output = None
        run.thread = get_ident()
        if capture is not None:
            run.output = output = RunOutput()
        hand_over = None if self._executor.inline else self._hand_over
        return call_captured(run.start.call, capture, output, self._report, hand_over, worker, run)

    def _report(self, worker: BackgroundWorker, run: RunningRun, error: ErrorInfo, raised: BaseException) -> None:
        if worker._keep_frames:
            worker.kept_error = raised.with_traceback(outside(raised.__traceback__))
        self._hub.log(f"run {run.number} of worker {worker._name!r} failed: {error.line}\n{error.traceback}")

    def _hand_over(
        self,
        worker: BackgroundWorker,
        run: RunningRun,
        coroutine: Coroutine[Any, Any, Any],
    ) -> bool:
        """Let the rest of a run, a coroutine, go on on the event loop; False if it has to be awaited here."""
        capture = self.capture if run.output is not None else None
        report = functools.partial(self._report, worker, run)
        ended = functools.partial(self._close_run, worker, run)
        run.handle = handle = hand_to_loop(self._loop, coroutine, capture, run.output, report, ended)
        if handle is not None:
            run.cancel_with(handle.cancel)
        return handle is not None

    def _close_run(self, worker: BackgroundWorker, run: RunningRun, result: Result) -> None:
        with self._lock:
            if worker._busy is not run:  # it was given up, see _give_up()
                return
            self._end_run(worker, run, result, on_crew=False)
            if self._ready:
                self._executor.look()
        if self._deferred:
            self._flush()

    def _mark_overdue(self, watchdog: _Watchdog, token: int) -> None:
        if watchdog._token != token:
            return
        watchdog._token = 0
        worker, run = watchdog.worker, watchdog.run
        self._note_overdue(worker, run)
        run.ask_to_stop()

    def _begin_run(self, entry: tuple[float, int, Any]) -> RunningRun | None:
        """Begin the run of a due entry; None if there is none to begin. For the executor, under the lock."""
        if self._touched is not None:
            self._mend()
        due, token, worker = entry
        if type(worker) is _Watchdog:
            self._mark_overdue(worker, token)
            return None
        start = worker._start
        if worker._token != token or start is None:
            return None
        worker._token = 0
        if start.wall is not None and not start.now and start.retry_at is None:
            now, wall = self.clock.monotonic(), self.clock.time()
            due = now + (start.wall + start.jitter - wall)
            if due > now:
                start.look_at_wall(now, wall)
                self._settle(worker)
                return None
        if (worker._max_count is not None or worker._until is not None) and self._is_over(worker, start):
            self._stop(worker)
            self._settle(worker)
            return None
        start.begin(worker._name)
        run = RunningRun(self.clock, start, due)
        worker._busy = run
        worker.run_count += start.attempt == 1
        if worker._timeout is not None:
            run.watchdog = watchdog = _Watchdog(worker, run)
            overdue_at = self.clock.monotonic() + worker._timeout
            self._deadlines.push(overdue_at, watchdog)
            self._executor.armed(overdue_at)  # by another thread: this one will be inside of the callback
        if self._hub.feeds:
            self._hub.changed(worker.id)
        if self.recorder is not None:
            self._tell(self.recorder.began, worker, run)
        return run

    def _tell(self, method: Callable[..., None], *what: object) -> None:
        try:
            method(*what)
        except Exception as error:
            self._hub.log(f"the recorder raised {safe_repr(error)}; the run goes on")

    def _end_run(self, worker: BackgroundWorker, run: RunningRun, result: Result, *, on_crew: bool) -> None:
        """Note the end of a run and choose what comes next. For the executor, under the lock."""
        if self._touched is not None:
            self._mend()
        now = self.clock.monotonic()
        start: Start = run.start
        self._note_result(worker, run, result, now)
        worker._busy = None
        present = start is worker._start
        if present and start.state in ACTIVE:
            self._advance(worker, start, result, now)
        elif worker._state is WorkerState.STOPPING:
            worker._state = next_state(worker._state, "last", worker._name)
        if worker._waiters:
            worker._wake_waiters()
        if on_crew and present and start.state is WorkerState.WAITING and not worker._endings:
            # The common case: this thread looks at the queue itself before it parks.
            due = start.next_due(now)
            self._deadlines.push(due, worker)
            return
        self._settle(worker)

    def _note_result(self, worker: BackgroundWorker, run: RunningRun, result: Result, now: float) -> None:
        """Keep the record of a run that ended, and tell of it. Under the lock."""
        error = result.error
        if run.watchdog is not None:
            self._deadlines.cancel(run.watchdog)
            if not run.overdue and run.elapsed() > (worker._timeout or math.inf):
                self._note_overdue(worker, run)  # in virtual time nobody could notice meanwhile
        record = run.record(now, result.outcome, result.value, error)
        worker._record(record)
        if self.recorder is not None:
            self._tell(self.recorder.ended, worker, run, RunRecord._make(record))
        if run.output is not None:
            worker._drop_old_displays()
        run.start.last = (result.value, error)
        run.start.heard = now
        if error is not None and run.start is worker._start:
            worker.failure_count += 1
            worker.last_error = error
        if self._hub.feeds or self._hub.subscriptions:
            kind, text = (EventKind.RUN, "") if error is None else (EventKind.FAILED, error.line)
            self._hub.note(worker.id, worker._name, kind, text)

    def _note_overdue(self, worker: BackgroundWorker, run: RunningRun) -> None:
        run.overdue = True
        worker.overdue_count += 1
        self._note(worker, EventKind.OVERDUE, f"longer than {duration_text(worker._timeout or 0.0)}")

    def _advance(self, worker: BackgroundWorker, start: Start, result: Result, now: float) -> None:
        """Choose what comes after a run of the present start."""
        failed = result.error is not None
        if failed and self._try_again(worker, start, now):
            return
        start.counted += 1
        start.failures = start.failures + 1 if failed else 0
        if result.outcome == ENDED or self._is_over(worker, start) or not self._move_on(worker, start, now):
            worker._ended_itself = True
            start.state = next_state(start.state, "last", worker._name)
            return
        if start.state is WorkerState.RUNNING:
            start.state = WorkerState.WAITING
        else:
            start.state = next_state(start.state, "again", worker._name)
        if worker._max_failures is not None and start.failures >= worker._max_failures:
            self._break(worker, start, result)

    def _move_on(self, worker: BackgroundWorker, start: Start, now: float) -> bool:
        """Choose the slot after a run; return whether there is one."""
        by_wall = type(start.schedule) is CronTimes or worker._until is not None
        wall = self.clock.time() if by_wall else 0.0  # nobody looks at it
        worker.missed_count += start.advance(now, wall, interval=worker._interval, jitter=worker._jitter)
        if start.due == math.inf:
            return False
        if worker._until is None:
            return True
        return (start.wall if start.wall is not None else wall + (start.due - now)) <= worker._until

    def _try_again(self, worker: BackgroundWorker, start: Start, now: float) -> bool:
        """Have a failed run repeated, if its worker's retry allows it; return whether it is."""
        retry = worker._retry or (_FOREVER if worker._ignore_exception else None)
        if retry is None or not retry.allows(start.attempt):
            return False
        start.retry_at = now + retry.delay(start.attempt)
        start.attempt += 1
        worker.retry_count += 1
        worker._state = next_state(worker._state, "again", worker._name)
        return True

    def _remove(self, worker: BackgroundWorker) -> None:
        self._stop(worker)
        self._leave(worker)

    def _break(self, worker: BackgroundWorker, start: Start, result: Result) -> None:
        """Pause a worker that failed too often in a row."""
        if worker._state is not WorkerState.PAUSED:
            worker._state = next_state(worker._state, "pause", worker._name)
        line = result.error.line if result.error is not None else ""
        worker.pause_reason = f"paused after {start.failures} failures in a row: {line}"
        self._note(worker, EventKind.PAUSED, worker.pause_reason)

    def _is_over(self, worker: BackgroundWorker, start: Start) -> bool:
        """Return whether no run may begin any more."""
        limit, until = worker._max_count, worker._until
        return (limit is not None and start.counted >= limit) or (until is not None and self.clock.time() > until)

    def _finish(self, worker: BackgroundWorker, start: Start) -> None:
        """Call `finished` of an ended start on this thread."""
        with self._lock:
            self._mend()
            if start.finish_claimed or start.finish_call is None or worker._busy is not start:
                return
            start.finish_claimed = True
        output = worker._last_output()

        def report(error: ErrorInfo, raised: BaseException) -> None:  # noqa: ARG001 - only runs keep frames
            worker.finished_error = error
            output.write("stderr", f"finished failed:\n{error.traceback}")
            self._hub.log(f"finished of worker {worker._name!r} failed: {error.line}\n{error.traceback}")

        call_captured(start.finish_call, self.capture, output, report)
        self._release(worker, start)

    def _release(self, worker: BackgroundWorker, start: Start) -> None:
        """Let a worker go on after `finished` of a start was called."""
        with self._lock:
            self._mend()
            if worker._busy is start:
                self._touched = worker  # so that what is cut off here is settled later
                worker._busy = None
                self._settle(worker)
                self._hub.changed(worker.id)
                self._touched = None
        self._flush()

    # -- virtual time and suspension

    def run_due(self, now: float | None = None) -> float | None:
        """Execute everything that is due, on this thread.

        Parameters
        ----------
        now
            Monotonic seconds up to which entries count as due; None asks the clock, again after each run.

        Returns
        -------
        float or None
            The next due instant in monotonic seconds; None if nothing is to come, or the pool is suspended.

        Notes
        -----
        Threads: may be called from any thread; blocks as long as the callbacks take. With a
        :class:`ThreadCrew` this thread helps its threads.
        """
        limit = None if now is None else check_number(now, "now", "give monotonic seconds")
        if self._lock._is_owned():  # from a __del__ inside of the pool, where no callback may be called
            return self._deadlines.next_due()
        while True:
            self._flush()
            ran = self._run_next(limit)
            self._run_ready()
            if ran:
                continue
            with self._lock:
                now = self.clock.monotonic() if limit is None else limit
                due = None if self._executor.suspended else self._deadlines.next_due()
                if not self._ready and not self._deferred and (due is None or due > now):
                    return due

    def _run_ready(self) -> None:
        taken: deque[Any] = deque()
        while self._ready:
            try:
                # One step of the interpreter: an interrupt finds the task here or there, not in between.
                taken.extend(starmap(self._ready.popleft, [()]))
                taken[0].execute()
            except IndexError:
                if taken:
                    raise
                return  # another thread was quicker
            except BaseException as error:
                if taken and taken[0].cut_off(error):
                    self._ready.appendleft(taken[0])
                raise
            taken.clear()

    def reschedule(self, worker: BackgroundWorker, at: float) -> None:
        """Move the next run of a started worker to `at` (UTC epoch seconds); one that is paused goes on.

        Raises
        ------
        InvalidTransition
            If the worker is not started.
        """
        due = self.clock.monotonic() + (check_instant(at) - self.clock.time())
        self._change(worker, lambda: self._reschedule(worker, due))

    def _reschedule(self, worker: BackgroundWorker, due: float) -> None:
        start = worker._start
        if worker._state not in ACTIVE or start is None:
            next_state(worker._state, "reschedule", worker._name)
            return
        self._unpause(worker, immediately=False)
        if isinstance(worker._busy, RunningRun) and worker._busy.start is start:
            start.moved = due  # the end of the run in flight would choose another slot
        else:
            start.due, start.wall, start.jitter, start.retry_at = due, None, 0.0, None
        self._deadlines.cancel(worker)
        self._hub.changed(worker.id)

    @property
    def suspended(self) -> bool:
        """Whether suspend() holds the runs of all workers."""
        return self._executor.suspended

    def suspend(self) -> None:
        """Let no worker's run begin before resume(); runs in flight and jobs go on."""
        self._executor.suspended = True

    def resume(self) -> None:
        """Go on after suspend()."""
        with self._lock:
            self._executor.suspended = False
            due = self._deadlines.next_due()
            if due is not None:
                self._executor.armed(due)
        self._flush()

    # -- for the end and for tests

    def _forget_threads(self) -> None:
        """Close this pool in a forked child: its threads live in the parent, its lock may be held by one of them."""
        self.closed = True
        self._finalizer.detach()  # what it would end is the parent's
        self._lock = cast("OwnedLock", threading.RLock())
        self._executor.bind(self._lock, self, self._deferred)
        self._executor.after_fork()
        self._loop = LoopThread(self._lock)
        self._loop.close(0)
        self._deferred.clear()
        self._touched = None
        self._hub.close()

    def check(self) -> None:
        """Assert the invariants of every worker; for tests. Under the lock for a moment."""
        if self._lock._is_owned():
            return  # from inside of a section, in which they need not hold
        self._flush()
        with self._lock:
            self._mend()
            items = [item for _, _, item in self._deadlines.live()]
            queued = [item.id for item in items if type(item) is not _Watchdog]
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


def _abandon(executor: Executor, loop: LoopThread) -> None:
    """End the threads of a pool that was dropped, and in which nothing was left to do."""
    executor.abandon()
    loop.close(0)
