"""Tables of workers as text and as HTML, for terminals, notebooks and saved files.

Both are the same for equal input. Whatever a name or an error contains is shown as text: control
characters, line ends and marks that turn the writing direction as escapes, HTML escaped.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .engine import WorkerSnapshot
from .engine.arguments import log_text

__all__ = [
    "COLUMNS",
    "MAX_ROWS",
    "NOTHING",
    "NO_FORMULAS",
    "REMARK",
    "SHAPES",
    "Column",
    "clean_text",
    "cut_text",
    "format_duration",
    "format_snapshot",
    "html_table",
    "log_text",
    "text_table",
]

#: Most rows that a table shows; the rest is counted. A panel shows more, and a saved notebook stays small.
MAX_ROWS = 500

#: A shape for each status, so that it is told by a word and a shape and not by colour alone.
SHAPES: Mapping[str, str] = {
    "new": "○",
    "waiting": "●",
    "running": "◉",
    "paused": "‖",
    "failed": "✖",
    "stopping": "◌",
    "stopped": "■",
}

#: Stands where there is no value.
NOTHING = "–"  # noqa: RUF001 - the dash of tables

#: Marks a worker of which there is something to remark although it has not failed; see BackgroundWorker.lints().
REMARK = "⚠"

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86400.0
#: Characters of these categories are shown as escapes: controls, formats (with the marks that turn the
#: writing direction), surrogates, private use, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Column(NamedTuple):
    """A column of a table."""

    title: str
    #: Most terminal cells that a value takes in the text table; longer ones are cut.
    width: int = 24
    #: Numbers stand at the right.
    right: bool = False
    #: The second word of a value is a state, which has a colour.
    state: bool = False
    #: It is left out where it says nothing in any row. The last column of a table always is.
    optional: bool = False


#: The columns of the worker table.
COLUMNS: tuple[Column, ...] = (
    Column("name", 32),
    Column("schedule", 27),
    Column("state", 20, state=True),
    Column("next run", 19),
    Column("runs", 9, right=True),
    Column("failed", 9, right=True),
    Column("missed", 9, right=True),
    Column("last", 9, right=True),
    Column("cell", 9, optional=True),
    Column("error", 48),
)


def format_duration(seconds: float | None) -> str:
    """Return a measured duration in two or three figures: "12 ms", "1.2 s", "5 min", "2.5 h"; a dash for None."""
    if seconds is None:
        return NOTHING
    for size, unit in ((1e-3, "µs"), (1.0, "ms"), (_MINUTE, "s"), (_HOUR, "min"), (_DAY, "h")):
        if seconds < size * 0.9995:  # what would be rounded up to the next unit is written in it
            return _figures(seconds / {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": _MINUTE, "h": _HOUR}[unit], unit)
    return _figures(seconds / _DAY, "d")


def _figures(value: float, unit: str) -> str:
    text = f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"  # noqa: PLR2004 - two figures are enough
    return f"{text.removesuffix('.0')} {unit}"


def clean_text(text: str) -> str:
    r"""Return `text` in one harmless line: what is no visible character becomes an escape such as ``\n``.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _ESCAPED else c for c in text
    )


def format_snapshot(
    snapshot: WorkerSnapshot, now: float, *, fraction: float | None = None, pause_reason: str = ""
) -> tuple[str, ...]:
    """Return the texts of one row, a text for each of :data:`COLUMNS`.

    Parameters
    ----------
    snapshot
        The worker as it was.
    now
        The instant from which the next run is counted, UTC epoch seconds.
    fraction
        How far the run in flight says it has come, from 0 to 1; None where it does not say.
    pause_reason
        Why the worker paused itself; it stands in the place of the last error.
    """
    state = f"{SHAPES.get(snapshot.status, '·')} {snapshot.status}"
    if snapshot.since is not None and fraction is not None:
        state += f" {fraction * 100:.0f} %"
    elif snapshot.since is not None:
        state += f" {format_duration(max(0.0, now - snapshot.since))}"
    if snapshot.lints or snapshot.orphan:
        state += f" {REMARK}"
    if snapshot.next_run is None:
        following = NOTHING
    else:
        ahead = snapshot.next_run - now
        following = f"in {format_duration(ahead)}" if ahead > 0 else "now"
    return (
        clean_text(snapshot.name),
        snapshot.schedule or NOTHING,
        state,
        following,
        str(snapshot.run_count),
        str(snapshot.failure_count),
        str(snapshot.missed_count),
        format_duration(snapshot.last_duration),
        NOTHING if snapshot.cell is None else f"In[{snapshot.cell}]",
        clean_text(pause_reason or snapshot.last_error),
    )


def _cells(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut_text(text: str, width: int) -> str:
    """Return the text in at most `width` cells, with an ellipsis where it was cut."""
    if len(text) * 2 <= width or _cells(text) <= width:
        return text
    room = width - 1
    kept = ""
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def text_table(
    rows: Iterable[Sequence[str]],
    columns: Sequence[Column] = COLUMNS,
    empty: str = "no workers",
    *,
    latest: bool = False,
    most: int = MAX_ROWS,
) -> str:
    """Return a table for a terminal.

    Parameters
    ----------
    rows
        A text for each column; only `most` are shown, the first ones if `latest` does not say otherwise.
    columns
        Titles, widths and sides. Optional columns, and the last one, are left out where they are empty in every row.
    empty
        What is returned instead of a table without rows.
    latest
        Whether the last rows are shown where there are too many.
    most
        Most rows that are shown; the others are counted.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    shown_rows, more = _limited(rows, most, latest=latest)
    shown_rows, columns = _without_empty_columns(shown_rows, columns)
    lines = [[cut_text(text, column.width) for text, column in zip(row, columns, strict=True)] for row in shown_rows]
    if not lines:
        return empty
    lines.insert(0, [column.title for column in columns])
    widths = [max(_cells(line[i]) for line in lines) for i in range(len(columns))]
    lines.insert(1, ["─" * width for width in widths])
    texts = []
    for line in lines:
        padded = (_pad(line[i], widths[i], right=columns[i].right) for i in range(len(columns)))
        texts.append("  ".join(padded).rstrip())
    return "\n".join([*texts, *more])


def _without_empty_columns(
    rows: Sequence[Sequence[str]], columns: Sequence[Column]
) -> tuple[list[Sequence[str]], Sequence[Column]]:
    """Return rows and columns without the columns that may be left out and are empty in all of these rows."""
    kept = [
        number
        for number, column in enumerate(columns)
        if not (column.optional or number == len(columns) - 1) or any(row[number] not in {"", NOTHING} for row in rows)
    ]
    return [[row[number] for number in kept] for row in rows], [columns[number] for number in kept]


def _limited(rows: Iterable[Sequence[str]], most: int, *, latest: bool) -> tuple[list[Sequence[str]], list[str]]:
    """Return the rows that are shown, and a line that counts the others if there are any."""
    everything = list(rows)
    hidden = len(everything) - most
    if hidden <= 0:
        return everything, []
    if latest:
        return everything[hidden:], [f"… {hidden:,} earlier ones"]
    return everything[:most], [f"… {hidden:,} more"]


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _cells(text))
    return space + text if right else text + space


#: Colours come from JupyterLab, with neutral ones where there is no JupyterLab; all are for light and dark.
#: A class stands twice where JupyterLab's own rules for tables would win.
_STYLE = """\
.bgpool-table { border-collapse: collapse; font-size: var(--jp-ui-font-size1, 13px); color: inherit; margin: 4px 0; }
.bgpool-table.bgpool-table tr > th, .bgpool-table.bgpool-table tr > td { text-align: left; padding: 3px 10px;
  white-space: nowrap; max-width: 36em;
  overflow: hidden; text-overflow: ellipsis; border: 0; border-bottom: 1px solid rgba(128, 128, 128, 0.3); }
.bgpool-table th { font-weight: 600; opacity: 0.75; }
.bgpool-table.bgpool-table tr > .bgpool-right { text-align: right; font-variant-numeric: tabular-nums; }
.bgpool-table .bgpool-waiting, .bgpool-table .bgpool-running, .bgpool-table .bgpool-done {
  color: var(--jp-success-color0, #2e9d4e); }
.bgpool-card { margin: 4px 0; } .bgpool-card summary { cursor: pointer; }
.bgpool-card pre { margin: 4px 0 4px 16px; max-height: 30em; overflow: auto;
  font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px); }
.bgpool-table .bgpool-failed, .bgpool-table .bgpool-lost { color: var(--jp-error-color1, #d9534f); }
.bgpool-table .bgpool-paused, .bgpool-table .bgpool-stopping, .bgpool-table .bgpool-overdue {
  color: var(--jp-warn-color0, #c8861c); }
"""


def html_table(
    rows: Iterable[Sequence[str]],
    columns: Sequence[Column] = COLUMNS,
    empty: str = "no workers",
    *,
    latest: bool = False,
    most: int = MAX_ROWS,
) -> str:
    """Return a table for a notebook, with everything escaped; the parameters are those of :func:`text_table`.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    lines, more = _limited(rows, most, latest=latest)
    if not lines:
        return f"<p>{html.escape(empty)}</p>"
    lines, columns = _without_empty_columns(lines, columns)
    kinds = [' class="bgpool-right"' if column.right else "" for column in columns]
    head = "".join(f"<th{kind}>{html.escape(c.title)}</th>" for kind, c in zip(kinds, columns, strict=False))
    body = "\n".join(_html_row(line, columns, kinds) for line in lines)
    return (
        f'<style>\n{_STYLE}</style>\n<table class="bgpool-table {NO_FORMULAS}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>" + "".join(f"\n<p>{line}</p>" for line in more)
    )


#: Keeps MathJax from setting what stands between dollars in a name; it would make links of some of it.
NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
#: Outcomes of runs that have a colour and are no state.
_OUTCOMES = frozenset({"done", "lost", "overdue"})


def _html_row(line: Sequence[str], columns: Sequence[Column], kinds: Sequence[str]) -> str:
    cells = []
    for text, column, kind in zip(line, columns, kinds, strict=False):
        shown = cut_text(text, 2 * column.width)
        title = f' title="{html.escape(text[:2000])}"' if shown != text else ""
        word = text.split(" ")[1] if column.state and " " in text else ""
        state = f' class="bgpool-{word}"' if word in SHAPES or word in _OUTCOMES else ""
        cells.append(f"<td{kind}{state}{title}>{html.escape(shown)}</td>")
    return f"<tr>{''.join(cells)}</tr>"
