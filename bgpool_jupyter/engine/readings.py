"""WorkerReadings: what a worker says of itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from .arguments import check_count
from .facts import WorkerFacts
from .lints import LOOKED_AT, Lint, lints
from .previews import if_started, of_start
from .runs import FAILED, RunningRun, RunRecord
from .schedule import CronTimes, duration_text
from .snapshots import WorkerSnapshot
from .stacks import stack_text
from .starts import Start
from .states import ACTIVE, WorkerState

__all__ = ["WorkerReadings"]


class WorkerReadings(WorkerFacts):
    """State, records, outlook and remarks; nothing here changes the worker."""

    __slots__ = ()

    @property
    def state(self) -> WorkerState:
        """Where the worker stands in its life."""
        return self._state

    @property
    def status(self) -> str:
        """The state in one word for people.

        "failed" stands for a worker whose last run failed and that waits for its next one, or ended by itself.
        """
        state = self._state
        may_fail = state is WorkerState.WAITING or (state is WorkerState.STOPPED and self._ended_itself)
        return FAILED if may_fail and self.last_run_failed else state.value

    @property
    def running(self) -> bool:
        """Whether the worker was started and has not ended."""
        return self._state in ACTIVE

    @property
    def executing(self) -> bool:
        """Whether a run is in flight."""
        return isinstance(self._busy, RunningRun)

    @property
    def current(self) -> RunningRun | None:
        """The run in flight, None if there is none."""
        busy = self._busy
        return busy if isinstance(busy, RunningRun) else None

    @property
    def next_run_time(self) -> float | None:
        """When the next run is due, in UTC epoch seconds; None if none is to come or the end of a run decides."""
        start = self._start
        if start is None or self._state not in (WorkerState.WAITING, WorkerState.RUNNING):
            return None
        if self._state is WorkerState.RUNNING:
            return self._run_after_this(start)
        if self._max_lateness is not None and start.is_too_late(
            self._host.monotonic(), self._host.now(), self._max_lateness
        ):
            following = self.preview(1)  # the slot that is waited for will be left out
            return following[0].timestamp() if following else None
        if start.wall is not None and not start.now and start.retry_at is None:
            return start.wall + start.jitter
        return self._host.epoch(start.next_due(self._host.monotonic()))

    def _run_after_this(self, start: Start) -> float | None:
        if self._max_count is not None and start.counted + 1 >= self._max_count:
            return None
        if start.moved is not None:
            return self._host.epoch(start.moved)
        if isinstance(start.schedule, CronTimes):
            slot = start.wall
            return slot if slot is None or start.beside else start.schedule.cron.next_after(slot)
        if start.wall is not None:  # the first slot is still to come
            return start.wall
        slot = start.next_slot()
        return None if slot is None else self._host.epoch(slot)

    def preview(self, count: int = 5) -> list[datetime]:
        """Return the next instants at which the worker will run, at most `count`.

        For a worker that is started these are its own next slots, what work_now() or a retry puts before them
        included; for one that is paused, those that come if it went on now. For any other they are those that
        would come if it were started now. A run is taken to need no time, and jitter is left out. `until`,
        `max_count` and `max_lateness` are honoured.

        Raises
        ------
        ArgumentTypeError
            If `count` is no whole number.
        ArgumentValueError
            If `count` is less than 1.
        """
        wanted = check_count(count, "count") or 0
        limit = math.inf if self._max_count is None else self._max_count
        start, state, wall = self._start, self._state, self._host.now()
        if start is None or state not in ACTIVE:
            instants = self._if_started(wall)
        else:
            busy = self._busy
            in_flight = isinstance(busy, RunningRun) and busy.start is start
            limit -= start.counted + in_flight
            instants = of_start(
                start,
                now=self._host.monotonic(),
                wall=wall,
                interval=self._interval,
                most=self._max_lateness,
                in_flight=in_flight,
                paused=state is WorkerState.PAUSED,
            )
        until = math.inf if self._until is None else self._until
        kept = takewhile(lambda instant: instant <= until, islice(instants, int(max(0, min(wanted, limit)))))
        if self.cron is not None:
            return [datetime.fromtimestamp(each, self.cron.zone) for each in kept]
        return [datetime.fromtimestamp(each).astimezone() for each in kept]

    def _if_started(self, wall: float) -> Iterator[float]:
        if self.is_actor:
            return if_started(wall + self._delay if self._at is None else max(wall, self._at), None, None)
        if self.cron is not None:
            return if_started(wall, None, self.cron)
        if self._at is not None:
            first = self._first_slot(self._at, wall)
        else:
            first = wall + self._interval if self._start_with_delay else wall
        return if_started(first, self._interval, None)

    def _first_slot(self, at: float, wall: float) -> float:
        """Return the first slot of a start at `wall` where a slot is one at `at`, all in UTC epoch seconds."""
        if at >= wall:
            return at
        return wall + (at - wall) % self._interval if self._run_on_time else wall

    @property
    def history(self) -> list[RunRecord]:
        """Records of the last runs, at most 100, newest last; they survive stop() and start()."""
        return [RunRecord._make(fields) for fields in list(self._records)]

    @property
    def last_run_failed(self) -> bool:
        """Whether the last run of the present start raised."""
        if self.last_error is None:
            return False
        try:
            return bool(self._records[-1][6] == FAILED)
        except IndexError:
            return False

    @property
    def last_duration(self) -> float | None:
        """Seconds the last run took; None before the first has ended."""
        try:
            duration: float = self._records[-1][5]
        except IndexError:
            return None
        return duration

    @property
    def last_value(self) -> Any:
        """What the last run returned; None before the first has ended or if it raised."""
        try:
            return self._records[-1][7]
        except IndexError:
            return None

    @property
    def suspended(self) -> bool:
        """Whether the pool is suspended, so that no run of any worker begins before its resume()."""
        return self._host.suspended

    @property
    def outlook(self) -> str:
        """What happens next, for people, as in "tries again at 14:30:05 (attempt 2 of 5)"."""
        start, state = self._start, self._state
        if state is WorkerState.PAUSED:
            return self.pause_reason or "paused until it is resumed"
        if start is None or state not in ACTIVE:
            return "not started yet" if start is None else "stopped; nothing more happens before it is started again"
        if state is WorkerState.WAITING and start.retry_at is not None and not (start.now or self._host.suspended):
            retry = self._retry
            limit = f" of {retry.attempts}" if retry is not None and retry.attempts is not None else ""
            return f"tries again at {_clock_text(self._host.epoch(start.retry_at))} (attempt {start.attempt}{limit})"
        if self._host.suspended and state is WorkerState.WAITING:
            return "waits for the pool, which is suspended; its resume() lets all go on"
        following = self.next_run_time
        if following is not None:
            return f"runs again at {_clock_text(following)}"
        return "is running; what comes next is decided when it ends"

    def lints(self) -> list[Lint]:
        """Return what looks wrong with the worker although nothing has failed.

        Kinds are "overruns" (the last runs took longer than the interval), "overdue" (a run in flight takes longer
        than its timeout), "deaf" (a run in flight for long and none of this start ever looked at the stop flag) and
        "silent" (no run has ended for five intervals, and the next one is not to come later, as after a failure or
        where reschedule() moved it).
        """
        start, state, run = self._start, self._state, self.current
        if start is None or (state not in ACTIVE and run is None):
            return []
        if state not in ACTIVE:  # what is stopping is told only why it does not stop
            return lints(interval=None, on_grid=None, durations=(), run=run, silence=None)
        now = self._host.monotonic()
        quiet = state is WorkerState.PAUSED or self._host.suspended
        quiet = quiet or (state is WorkerState.WAITING and start.next_due(now) > now)
        quiet = quiet or (start.wall is not None and start.wall > self._host.now())
        interval = None if self.is_actor or self.cron is not None else self._interval
        records = self._records
        try:
            durations = [records[-k][5] for k in range(1, LOOKED_AT + 1)] if len(records) >= LOOKED_AT else []
        except IndexError:  # a record was dropped meanwhile
            durations = []
        return lints(
            interval=interval,
            on_grid=interval if self._run_on_time else None,
            durations=durations,
            run=run,
            silence=None if quiet else now - start.heard,
        )

    def stack(self) -> str:
        """Return where the run in flight stands, as the lines of a traceback; "" if none is in flight.

        Frames of this package are left out. It is a picture of a moving thing: it was true for a moment.
        """
        run = self.current
        text = "" if run is None else stack_text(run, self._host.capture)
        return text if self.current is run else ""  # its thread may have gone on to another run

    @property
    def schedule(self) -> str:
        """When it runs, for people, as in "every 5 s"."""
        if self.cron is not None:
            return f"cron {self.cron}"
        if not self.is_actor:
            interval = duration_text(self._interval)
            return f"every {interval}" if self._run_on_time else f"{interval} after each"
        if self._at is not None:
            return f"once at {datetime.fromtimestamp(self._at).astimezone():%Y-%m-%d %H:%M:%S}"
        return f"once after {duration_text(self._delay)}" if self._delay else "once"

    def snapshot(self) -> WorkerSnapshot:
        """Return the worker as it is now."""
        run = self.current
        error = self.last_error
        return WorkerSnapshot(
            self.id,
            self._name,
            self.schedule,
            self.status,
            run is not None,
            self.next_run_time,
            self.run_count,
            self.failure_count,
            self.missed_count,
            self.last_duration,
            self.pause_reason or (error.line if error is not None and self.last_run_failed else ""),
            run.started if run is not None else None,
            self.is_actor,
            self.running,
            self.cell,
            run.progress if run is not None else None,
            tuple(lint.kind for lint in self.lints()),
            self.orphan,
        )

    def __repr__(self) -> str:
        """Return a text that is the same whenever it is asked: no state, no address."""
        return f"BackgroundWorker({self._name!r}, {self.schedule})"


def _clock_text(instant: float) -> str:
    """Return a local time for people, with the day where that is not today."""
    moment = datetime.fromtimestamp(instant).astimezone()
    today = datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M:%S}"
