"""What looks wrong with a worker although nothing has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .runs import RunningRun
from .schedule import duration_text

__all__ = ["DEAF", "DEAF_AFTER", "LOOKED_AT", "OVERDUE", "OVERRUNS", "SILENT", "SILENT_AFTER", "Lint", "lints"]

OVERRUNS = "overruns"
DEAF = "deaf"
OVERDUE = "overdue"
SILENT = "silent"

#: Count of the last runs whose mean duration is compared with the interval.
LOOKED_AT = 5
#: Seconds that a run may be in flight before it should have looked at the stop flag.
DEAF_AFTER = 5.0
#: Count of intervals without the end of a run after which a started worker is silent, and the least seconds.
SILENT_AFTER = 5
_LEAST_SILENCE = 2.0


class Lint(NamedTuple):
    """A remark on a worker."""

    #: "overruns", "overdue", "deaf" or "silent".
    kind: str
    #: What was seen, in one sentence.
    text: str


def lints(
    *,
    interval: float | None,
    on_grid: float | None,
    durations: Sequence[float],
    run: RunningRun | None,
    silence: float | None,
) -> list[Lint]:
    """Return the remarks on a worker.

    Parameters
    ----------
    interval
        Seconds between two of its runs; None where it is not periodic.
    on_grid
        The same; None where its slots are no grid.
    durations
        Seconds that its last runs took.
    run
        The run in flight.
    silence
        Seconds since a run ended, or since the start before one did; None where none is expected.
    """
    found = (_overruns(on_grid, durations), _overdue(run), _deaf(run), _silent(interval, silence))
    return [lint for lint in found if lint is not None]


def _overruns(interval: float | None, durations: Sequence[float]) -> Lint | None:
    if interval is None or len(durations) < LOOKED_AT:
        return None
    mean = sum(durations) / len(durations)
    if mean <= interval:
        return None
    return Lint(
        OVERRUNS,
        f"overruns its interval: the last {len(durations)} runs took {_rough(mean)} on average, "
        f"the interval is {duration_text(interval)}",
    )


def _overdue(run: RunningRun | None) -> Lint | None:
    if run is None or not run.overdue:
        return None
    return Lint(
        OVERDUE, f"overdue: in flight for {_rough(run.elapsed())}, longer than its timeout; it was asked to stop"
    )


def _deaf(run: RunningRun | None) -> Lint | None:
    # A coroutine is cancelled where it waits, and has no flag to look at.
    if run is None or run.handle is not None or run.start.looked or (age := run.elapsed()) <= DEAF_AFTER:
        return None
    return Lint(DEAF, f"never looks at the stop flag: in flight for {_rough(age)}, and stop() cannot end it")


def _silent(interval: float | None, silence: float | None) -> Lint | None:
    if interval is None or silence is None or silence <= max(_LEAST_SILENCE, SILENT_AFTER * interval):
        return None
    return Lint(SILENT, f"silent for {_rough(silence)}: no run has ended, the interval is {duration_text(interval)}")


def _rough(seconds: float) -> str:
    """Return a measured duration for people, with three figures."""
    return duration_text(float(f"{seconds:.3g}"))
