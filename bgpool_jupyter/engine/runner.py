"""Runner: a run from its due entry to its record, and what comes after it.

What a run changes of its worker is changed under the lock of :mod:`.machine`, and survives a KeyboardInterrupt and
a ``__del__`` in the way that is told there.
"""

from __future__ import annotations

import functools
import math
import threading
import weakref
from _thread import get_ident
from collections import deque
from collections.abc import Coroutine
from itertools import starmap
from typing import Any, cast

from .arguments import check_number, safe_repr
from .calls import Result, call_captured, hand_to_loop
from .clock import Clock
from .events import EventKind, Hub
from .executors import Executor, OwnedLock
from .loop import LoopThread
from .machine import Machine, Watchdog
from .output import RunOutput
from .recorder import Recorder
from .retry import Retry
from .runs import ENDED, FAILED, ErrorInfo, RunningRun, RunRecord, outside
from .runs import STOPPED as WAS_STOPPED
from .schedule import CronTimes, Once, duration_text
from .starts import Start
from .states import ACTIVE, PAUSED, RUNNING, STOPPED, STOPPING, WAITING, next_state
from .worker import BackgroundWorker

__all__ = ["Runner"]

#: What ignore_exception stands for.
_FOREVER = Retry()


class _Finish:
    """Calls `finished` of one ended start, on the thread that executes it."""

    __slots__ = ("runner", "start", "worker")

    def __init__(self, runner: Runner, worker: BackgroundWorker, start: Start) -> None:
        self.runner = runner
        self.worker = worker
        self.start = start

    def execute(self, seat: object = None) -> None:  # noqa: ARG002 - one form for everything a pool thread executes
        self.runner._finish(self.worker, self.start)

    def cut_off(self, error: BaseException) -> bool:  # noqa: ARG002 - the same
        """Let the worker go on where a KeyboardInterrupt cut off execute(); return whether to begin again."""
        if self.start.finish_claimed:
            self.runner._release(self.worker, self.start)
        return not self.start.finish_claimed


class _Message:
    """What came up under the lock and is for the logger, which is user code."""

    __slots__ = ("hub", "text")

    def __init__(self, hub: Hub, text: str) -> None:
        self.hub = hub
        self.text = text

    def execute(self, seat: object = None) -> None:  # noqa: ARG002 - one form for everything a pool thread executes
        self.hub.log(self.text)

    def cut_off(self, error: BaseException) -> bool:  # noqa: ARG002 - the same
        """Return that it is not said twice."""
        return False


class Runner(Machine):
    """Runs the workers of a pool, on the threads of its executor or on the caller's.

    The base of :class:`WorkerPool`, which adds what people call.
    """

    def __init__(self, clock: Clock, executor: Executor, name: str) -> None:
        super().__init__(clock, executor, name)
        executor.bind(self._lock, self, self._deferred)
        self._finalizer = weakref.finalize(self, _abandon, executor, self._loop)
        self._finalizer.atexit = False

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

    def _ending(self, worker: BackgroundWorker, start: Start) -> _Finish:
        return _Finish(self, worker, start)

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
            elif type(entry[2]) is not Watchdog:
                self._end_cut_off(entry, run, error)
        self._flush()

    def _end_cut_off(self, entry: tuple[float, int, Any], run: RunningRun | None, error: BaseException) -> None:
        worker = entry[2]
        start, busy = worker._start, worker._busy
        if busy is None and start.state in (RUNNING, STOPPING):
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
        report = self._report
        return call_captured(run.start.call, capture, output, report, hand_over, worker, run)

    def _report(self, worker: BackgroundWorker, run: RunningRun, error: ErrorInfo, raised: BaseException) -> None:
        if run.start is worker._start:  # as with last_error, to which it belongs
            worker.kept_error = raised.with_traceback(outside(raised.__traceback__)) if worker._keep_frames else None
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
        elif run.stop_asked:  # as by close(): nobody could cancel it on this thread
            coroutine.close()
            ended(Result(None, None, WAS_STOPPED))
        else:
            return False
        return True

    def _close_run(self, worker: BackgroundWorker, run: RunningRun, result: Result) -> None:
        with self._lock:
            if worker._busy is not run:  # it was given up, see _give_up()
                return
            self._end_run(worker, run, result, on_crew=False)
            if self._ready:
                self._executor.look()
        if self._deferred:
            self._flush()

    def _mark_overdue(self, watchdog: Watchdog, token: int) -> None:
        if watchdog._token != token:
            return
        watchdog._token = 0
        worker, run = watchdog.worker, watchdog.run
        self._note_overdue(worker, run)

    def _begin_run(self, entry: tuple[float, int, Any]) -> RunningRun | None:
        """Begin the run of a due entry; None if there is none to begin. For the executor, under the lock."""
        if self._touched is not None:
            self._mend()
        due, token, worker = entry
        if type(worker) is Watchdog:
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
            start.reach(due - start.jitter)
        limited = worker._max_count is not None or worker._until is not None or worker._max_lateness is not None
        if limited and not self._may_begin(worker, start):
            self._settle(worker)
            return None
        start.begin(worker._name)
        run = RunningRun(self.clock, start, due)
        worker._busy = run
        worker.run_count += start.attempt == 1
        if worker._timeout is not None:
            run.watchdog = watchdog = Watchdog(worker, run)
            overdue_at = self.clock.monotonic() + worker._timeout
            self._deadlines.push(overdue_at, watchdog)
            self._executor.armed(overdue_at)  # by another thread: this one will be inside of the callback
        if self._hub.feeds:
            self._hub.changed(worker.id)
        recorder = self.recorder  # once, because another thread may take it away
        if recorder is not None:
            self._tell(recorder, "began", worker, run)
        return run

    def _may_begin(self, worker: BackgroundWorker, start: Start) -> bool:
        """Return whether a run may begin; otherwise its slot is left out, or the worker stopped. Under the lock."""
        if self._is_over(worker, start):
            self._stop(worker)
            return False
        most, now, wall = worker._max_lateness, self.clock.monotonic(), self.clock.time()
        if not start.is_too_late(now, wall, most) or most is None:
            return True
        text = f"{duration_text(start.lateness(now, wall))} late, at most {duration_text(most)}"
        only = isinstance(start.schedule, Once)
        worker.missed_count += 1 if only else start.dismiss(now, wall, worker._interval, worker._jitter, most)
        self._note(worker, EventKind.MISSED, text)
        if only or not self._is_before_until(worker, start, now, wall):
            self._stop(worker)
        return False

    def _tell(self, recorder: Recorder, method: str, *what: object) -> None:
        try:
            getattr(recorder, method)(*what)
        except Exception as error:
            self._ready.append(_Message(self._hub, f"the recorder raised {safe_repr(error)}; the run goes on"))

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
        elif worker._state is STOPPING:
            worker._state = next_state(worker._state, "last", worker._name)
        if worker._waiters:
            worker._wake_waiters()
        if on_crew and present and start.state is WAITING and not worker._endings:
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
        recorder = self.recorder
        if recorder is not None:
            self._tell(recorder, "ended", worker, run, RunRecord._make(record))
        if run.output is not None:
            worker._drop_old_displays()
        run.start.last = (result.value, error)
        run.start.heard = now
        if error is not None and run.start is worker._start:
            worker.failure_count += 1
            worker.last_error = error
        if error is not None:
            self._note(worker, EventKind.FAILED, error.line)
            return
        hub = self._hub
        remembered = (next(hub.order), worker.id, worker._name, record[4], "")
        hub.runs.append(remembered)
        if hub.feeds or hub.subscriptions or worker._listener is not None:
            hub.tell(EventKind.RUN, remembered, worker._listener)

    def _note_overdue(self, worker: BackgroundWorker, run: RunningRun) -> None:
        run.overdue = True
        run.ask_to_stop()
        worker.overdue_count += 1
        self._note(worker, EventKind.OVERDUE, f"longer than {duration_text(worker._timeout or 0.0)}")

    def _advance(self, worker: BackgroundWorker, start: Start, result: Result, now: float) -> None:
        """Choose what comes after a run of the present start."""
        failed = result.error is not None
        if failed and self._try_again(worker, start, now):
            return
        start.counted += 1
        start.failures = start.failures + 1 if failed else 0
        limited = worker._max_count is not None or worker._until is not None
        over = result.outcome == ENDED or (limited and self._is_over(worker, start))
        if over or not self._move_on(worker, start, now):
            worker._ended_itself = True
            start.state = STOPPED if start.state is RUNNING else next_state(start.state, "last", worker._name)
            return
        if start.state is RUNNING:
            start.state = WAITING
        else:
            start.state = next_state(start.state, "again", worker._name)
        if worker._max_failures is not None and start.failures >= worker._max_failures:
            self._break(worker, start, result)

    def _move_on(self, worker: BackgroundWorker, start: Start, now: float) -> bool:
        """Choose the slot after a run; return whether there is one."""
        by_wall = start.wall is not None or worker._until is not None or type(start.schedule) is CronTimes
        wall = self.clock.time() if by_wall else 0.0  # nobody looks at it
        worker.missed_count += start.advance(now, wall, worker._interval, worker._jitter)
        return start.due != math.inf and (worker._until is None or self._is_before_until(worker, start, now, wall))

    @staticmethod
    def _is_before_until(worker: BackgroundWorker, start: Start, now: float, wall: float) -> bool:
        """Return whether `until` allows the slot that comes next."""
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

    def _break(self, worker: BackgroundWorker, start: Start, result: Result) -> None:
        """Pause a worker that failed too often in a row."""
        if worker._state is not PAUSED:
            worker._state = next_state(worker._state, "pause", worker._name)
        line = result.error.line if result.error is not None else ""
        failures = "a failure" if start.failures == 1 else f"{start.failures} failures in a row"
        worker.pause_reason = f"paused after {failures}: {line}"
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
        self._flush()  # before it is called: that may take long
        output = worker._last_output()

        def report(error: ErrorInfo, raised: BaseException) -> None:  # noqa: ARG001 - only runs keep frames
            worker.finished_error = error
            output.write("stderr", f"finished failed:\n{error.traceback}")
            self._hub.log(f"finished of worker {worker._name!r} failed: {error.line}\n{error.traceback}")

        before = output.version
        call_captured(start.finish_call, self.capture, output, report)
        recorder = self.recorder
        if recorder is not None and hasattr(recorder, "amended") and output.version != before:  # it need not have it
            with self._lock:
                if worker._records and worker._records[-1][9] is output:
                    self._tell(recorder, "amended", worker, RunRecord._make(worker._records[-1]))
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

    def run_due(self, now: float | None = None) -> float | None:
        """Execute everything that is due, on this thread.

        Parameters
        ----------
        now
            Monotonic seconds up to which entries count as due; None asks the clock, again after each run.

        Returns
        -------
        float or None
            The next due instant in monotonic seconds; None if nothing is to come, if the pool is suspended, and
            in a ``__del__`` inside of another call of the pool, where nothing is executed.

        Notes
        -----
        Threads: may be called from any thread; blocks as long as the callbacks take. With a
        :class:`ThreadCrew` this thread helps its threads.
        """
        limit = None if now is None else check_number(now, "now", "give monotonic seconds")
        if self._lock._is_owned():  # no callback may be called, and the queue may be half-changed
            return None
        while True:
            if self._deferred:
                self._flush()
            ran = self._run_next(limit)
            if self._ready:
                self._run_ready()
            if ran and (limit is None or self._deadlines.earliest() <= limit):
                continue
            with self._lock:
                now = self.clock.monotonic() if limit is None else limit
                due = None if self._executor.suspended else self._deadlines.next_due()
                idle = not self._ready and (due is None or due > now)
            if idle and not self._deferred:
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


def _abandon(executor: Executor, loop: LoopThread) -> None:
    """End the threads of a pool that was dropped, and in which nothing was left to do."""
    executor.abandon()
    loop.close(0)
