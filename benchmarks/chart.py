"""The lead over each peer as a picture. matplotlib is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .report import factor, number
from .works import Results, Work

__all__ = ["BARS", "draw"]

#: Work, metric and label of every group of bars.
BARS = (
    ("lateness-1", "p50", "lateness, 1 worker"),
    ("lateness-100", "p50", "lateness, 100 workers"),
    ("lateness-1000", "p90", "lateness p90, 1,000 workers"),
    ("lateness-1000", "cpu", "CPU a run, 1,000 workers"),
    ("busy", "p90", "lateness p90 behind a busy cell"),
    ("cancel", "at 100,000", "start + stop, 100,000 pending"),
    ("burst-now", "all", "10,000 due now"),
    ("jobs", "rate", "jobs a second"),
    ("job-latency", "p50", "submit → start"),
)
_COLOURS = {
    "bare": "#9e9e9e",
    "APScheduler": "#d1703c",
    "asyncio": "#3c7fb1",
    "sched": "#6a9f58",
    "ThreadPoolExecutor": "#967acc",
}


def draw(results: Results, works: Sequence[Work], path: Path) -> None:
    """Write the chart as PNG to `path`: peer ÷ engine on a logarithmic axis, the engine at 1."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - tables are to be had without it

    known = {work.name: work for work in works}
    bars = [(known[work], metric, label) for work, metric, label in BARS if work in results]
    figure = Figure(figsize=(8, 1 + 0.75 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    seen: set[str] = set()
    for row, (work, name, _) in enumerate(bars):
        metric = next(each for each in work.metrics if each.name == name)
        leads = [(peer, factor(results, work, metric, peer)) for peer in _COLOURS]
        found = [(peer, lead) for peer, lead in leads if lead]
        height = 0.8 / max(1, len(found))
        for place, (peer, lead) in enumerate(found):
            where = row - 0.4 + (place + 0.5) * height
            label = "_" if peer in seen else peer
            seen.add(peer)
            axes.barh(where, lead - 1, height * 0.92, left=1, color=_COLOURS[peer], label=label)
            axes.annotate(number(lead), (max(lead, 1), where), (3, 0), textcoords="offset points", va="center", size=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_yticks(range(len(bars)), [label for _, _, label in bars])
    axes.invert_yaxis()
    axes.set_xlabel("times the engine's figure; right of the line the engine is ahead")
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=130)
