"""The results as text, as Markdown, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import unicodedata
from collections.abc import Sequence
from typing import Any

from .figures import median, paired_ratios
from .goals import Verdict
from .works import Metric, Results, Work

__all__ = ["as_json", "as_markdown", "as_text", "cell", "factor", "number"]

_COLUMNS = ("engine", "bare", "APScheduler", "asyncio", "sched", "ThreadPoolExecutor", "engine alone")
_HEAD = ("work", "unit", *_COLUMNS)

#: What the table says of itself.
LEGEND = (
    "Medians; in brackets by which factor the engine is ahead: the median of the ratios to the other, paired within a "
    "repetition. Below 1 the other is ahead. The times are those of one machine and not stable; the ratios are."
)
REFERENCE = "The reference pool cannot be had: the parts of goals that compare with it are left out."


def factor(results: Results, work: Work, metric: Metric, other: str) -> float | None:
    """Return the median factor by which the engine is ahead of `other`, None where it was not measured."""
    by_name = results.get(work.name, {}).get(metric.name, {})
    engine, peer = by_name.get("engine", []), by_name.get(other, [])
    return median(paired_ratios(engine, peer) if metric.more else paired_ratios(peer, engine))


def cell(results: Results, work: Work, metric: Metric, name: str) -> str:
    """Return a contender's median, with the engine's lead in brackets."""
    value = median(results.get(work.name, {}).get(metric.name, {}).get(name, []))
    if value is None:
        return "-"
    lead = None if name == "engine" else factor(results, work, metric, name)
    return number(value) if lead is None else f"{number(value)} ({number(lead)})"


def number(value: float) -> str:
    """Return a number with about three digits."""
    if value == 0:
        return "0"
    size = abs(value)
    for least, digits in ((100, 0), (10, 1), (0.095, 2)):
        if size >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2g}"


def _rows(results: Results, works: Sequence[Work]) -> list[tuple[str, ...]]:
    rows = []
    for work in works:
        if work.name in results:
            for metric in work.metrics:
                cells = (cell(results, work, metric, name) for name in _COLUMNS)
                rows.append((f"{work.title}: {metric.name}", metric.unit, *cells))
    return rows


def _goal_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for verdict in verdicts:
        told = "; ".join(check.text(figure) + " ✗" * (holds is False) for check, figure, holds in verdict.figures)
        left_out = f"; left out: {verdict.goal.left_out}" if verdict.goal.left_out else ""
        rows.append((verdict.goal.name, verdict.goal.title, verdict.word, told + left_out))
    return rows


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


def _where(reps: int) -> str:
    told = machine()
    plural = "s" * (reps > 1)
    where = f"CPython {told['python']}, {told['system']} {told['machine']}, {told['cores']} cores"
    return f"{where}, {reps} repetition{plural}."


def as_text(results: Results, works: Sequence[Work], verdicts: Sequence[Verdict], reps: int) -> str:
    """Return tables for a terminal."""
    rows = [_HEAD, *_rows(results, works)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_pad(text, width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    goals = [f"{name:4}{word:13}{title}\n{'':17}{told}" for name, title, word, told in _goal_rows(verdicts)]
    return "\n".join([_where(reps), LEGEND, "", *lines, "", *goals, "", REFERENCE])


def as_markdown(results: Results, works: Sequence[Work], verdicts: Sequence[Verdict], reps: int) -> str:
    """Return the same as Markdown."""
    table = _markdown_table(_HEAD, _rows(results, works))
    goals = _markdown_table(("", "goal", "", "figures (limit)"), _goal_rows(verdicts))
    return "\n".join([_where(reps), LEGEND, "", *table, "", *goals, "", REFERENCE, ""])


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def as_json(results: Results, verdicts: Sequence[Verdict], reps: int) -> str:
    """Return every raw number; what was not measured is null."""
    goals = {v.goal.name: {"word": v.word, "figures": {c.label: f for c, f, _ in v.figures}} for v in verdicts}
    raw = {"machine": machine(), "repetitions": reps, "results": results, "goals": goals}
    return json.dumps(_plain(raw), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN is the one number that is not itself
        return None
    return value


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
