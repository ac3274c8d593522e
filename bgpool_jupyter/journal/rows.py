"""What the journal keeps of a run: numbers, and texts in bounds. Never an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.frames import value_text

if TYPE_CHECKING:
    from ..engine import BackgroundWorker, RunningRun, RunOutput, RunRecord

__all__ = ["MAX_STREAM", "Row", "Texts", "newest_of_each", "row_of_begun", "row_of_ended"]

#: Most characters of each of stdout, stderr and display of a run; the last ones are kept.
MAX_STREAM = 16_000


#: A run as the table has it, but for the session: sequence, name of the worker, number, attempt, due, started,
#: duration and outcome, which are None in flight. A plain tuple, because there may be very many.
Row = tuple[int, str, int, int, float, float, float | None, str | None]
#: The texts of a run, "" where there is none: sequence, value, error, message, traceback, stdout, stderr, display.
Texts = tuple[int, str, str, str, str, str, str, str]


def newest_of_each(runs: list[tuple[BackgroundWorker, Any, Any]], most: int) -> list[tuple[BackgroundWorker, Any, Any]]:
    """Return the runs, oldest first, without those that have `most` newer ones of the same name."""
    if len(runs) <= most:
        return runs
    left: dict[str, int] = {}
    kept = []
    for item in reversed(runs):
        name = item[0].name
        left[name] = left.get(name, most) - 1
        if left[name] >= 0:
            kept.append(item)
    kept.reverse()
    return kept


def row_of_begun(sequence: int, name: str, run: RunningRun) -> Row:
    """Return what is known of a run in flight."""
    return sequence, name, run.number, run.attempt, run.due, run.started, None, None


def row_of_ended(sequence: int, name: str, record: RunRecord) -> tuple[Row, Texts | None]:
    """Return a run that has ended, with its texts if it left any. Calls the ``__repr__`` of its value."""
    number, attempt, due, started, _, duration, outcome, value, error, output = record
    row = sequence, name, number, attempt, due, started, duration, outcome
    if value is None and error is None and output is None:
        return row, None
    kind, message, traceback = error if error is not None else ("", "", "")
    stdout, stderr, display = ("", "", "") if output is None else _streams(output)
    return row, (sequence, value_text(value), kind, message, traceback, stdout, stderr, display)


def _streams(output: RunOutput) -> tuple[str, str, str]:
    """Return stdout, stderr and the plain text of displays; the first that is not empty tells what was dropped."""
    displays = (str(bundle.get("text/plain", "<display>")) for bundle in output.displays)
    dropped = output.dropped_lines
    kept = []
    for text in (output.stdout, output.stderr, "\n".join(displays)):
        kept.append(_tail(text, dropped) if text else "")
        dropped = 0 if text else dropped
    return kept[0], kept[1], kept[2]


def _tail(text: str, dropped: int) -> str:
    """Return the end of a text, with a first line that says how many lines are missing."""
    if len(text) > MAX_STREAM:
        dropped += text.count("\n", 0, -MAX_STREAM)
        text = text[-MAX_STREAM:]
        if not dropped:
            return f"… start of a long line dropped\n{text}"
    lines = f"{dropped:,} lines" if dropped != 1 else "1 line"
    return f"… {lines} dropped\n{text}" if dropped else text
