"""Runs as rows of a table: plain values, bounded texts, a pandas frame where pandas is installed."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .arguments import encodable

if TYPE_CHECKING:
    from .runs import RunRecord

__all__ = ["HISTORY_COLUMNS", "MAX_VALUE", "history_frame", "run_row", "value_text"]

#: The columns of a history, in their order. `due`, `started` and `ended` are instants, `duration` seconds.
HISTORY_COLUMNS = (
    "worker",
    "number",
    "attempt",
    "due",
    "started",
    "ended",
    "duration",
    "outcome",
    "value",
    "error",
    "stdout",
    "stderr",
)
#: Most characters of a value's text.
MAX_VALUE = 2_000
#: Most items of a list, dict and the like in it.
_MOST_ITEMS = 50

_INSTANTS = ("due", "started", "ended")


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = MAX_VALUE
_repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = _repr.maxdeque = _repr.maxdict = _MOST_ITEMS


def value_text(value: object) -> str:
    """Return the repr of a value in bounds, its middle left out; "" for None, a note for one whose repr raises."""
    if value is None:
        return ""
    try:
        text = encodable(_repr.repr(value))
    except BaseException:
        return f"<{type(value).__name__} object whose repr failed>"
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def run_row(name: str, record: RunRecord) -> dict[str, Any]:
    """Return a run of the worker `name` as a row: a value for each of :data:`HISTORY_COLUMNS`, all of plain types."""
    output = record.output
    return {
        "worker": name,
        "number": record.number,
        "attempt": record.attempt,
        "due": record.due,
        "started": record.started,
        "ended": record.ended,
        "duration": record.duration,
        "outcome": record.outcome,
        "value": value_text(record.value),
        "error": record.error.line if record.error is not None else "",
        "stdout": output.stdout if output is not None else "",
        "stderr": output.stderr if output is not None else "",
    }


def history_frame(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return rows as a pandas DataFrame, their instants (UTC epoch seconds) as times with a zone.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame needs pandas

    frame = pd.DataFrame(list(rows), columns=list(HISTORY_COLUMNS))
    for column in _INSTANTS:
        frame[column] = pd.to_datetime(frame[column].astype("float64"), unit="s", utc=True)
    return frame
