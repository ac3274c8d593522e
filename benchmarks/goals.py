"""The goals, and whether a run reached them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .figures import median, paired_ratios
from .works import Results

__all__ = ["GOALS", "Check", "Goal", "Quantity", "Verdict", "judge"]


class Quantity(NamedTuple):
    """One column of numbers of the results."""

    work: str
    metric: str
    contender: str = "engine"

    def values(self, results: Results) -> list[float]:
        """Return its numbers, one a repetition; none where it was not measured."""
        return results.get(self.work, {}).get(self.metric, {}).get(self.contender, [])


class Check(NamedTuple):
    """A figure with its limit."""

    label: str
    top: Quantity
    limit: float
    #: What `top` is divided by, repetition by repetition; None takes `top` itself.
    bottom: Quantity | None = None
    #: Subtract instead of divide.
    difference: bool = False
    #: The figure is to be at least the limit; otherwise at most.
    least: bool = False
    unit: str = "×"  # noqa: RUF001 - the sign is meant

    def figure(self, results: Results) -> float | None:
        """Return the median of the ratios (or differences, or numbers), None where nothing was measured."""
        top = self.top.values(results)
        if self.bottom is None:
            return median(top)
        bottom = self.bottom.values(results)
        if self.difference:
            return median(a - b for a, b in zip(top, bottom, strict=False))
        ratios = paired_ratios(top, bottom)
        return statistics.median(ratios) if ratios else None

    def holds(self, figure: float) -> bool:
        """Return whether the figure keeps the limit."""
        return figure >= self.limit if self.least else figure <= self.limit

    def text(self, figure: float | None) -> str:
        """Return label, figure and limit for people."""
        sign = "≥" if self.least else "≤"
        unit = f" {self.unit}"
        shown = "not measured" if figure is None else f"{_short(figure)}{unit}"
        return f"{self.label}: {shown} ({sign} {self.limit:g}{unit})"


class Goal(NamedTuple):
    """A goal and all that it asks."""

    name: str
    title: str
    checks: tuple[Check, ...]
    #: What of it is not measured here.
    left_out: str = ""


class Verdict(NamedTuple):
    """What became of a goal."""

    goal: Goal
    #: "reached", "missed" or "not measured"; "not measured" also where only a part was.
    word: str
    #: Each check with its figure and whether it holds (None: not measured).
    figures: tuple[tuple[Check, float | None, bool | None], ...]


def judge(results: Results, goals: Sequence[Goal]) -> list[Verdict]:
    """Hold the results against the goals."""
    verdicts = []
    for goal in goals:
        figures = [(check, check.figure(results)) for check in goal.checks]
        told = tuple((check, f, None if f is None else check.holds(f)) for check, f in figures)
        held = [holds for _, _, holds in told]
        word = "missed" if False in held else "not measured" if None in held else "reached"
        verdicts.append(Verdict(goal, word, told))
    return verdicts


def _short(number: float) -> str:
    if number == 0 or math.isnan(number):
        return f"{number:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:,.{min(digits, 4)}f}"


def _ratio(label: str, work: str, metric: str, other: str, limit: float) -> Check:
    return Check(label, Quantity(work, metric), limit, Quantity(work, metric, other))


def _ahead(label: str, work: str, metric: str, other: str, limit: float) -> Check:
    """By what factor the other's number is the larger one."""
    return Check(label, Quantity(work, metric, other), limit, Quantity(work, metric), least=True)


def _plain(label: str, work: str, metric: str, limit: float, unit: str) -> Check:
    return Check(label, Quantity(work, metric), limit, unit=unit)


_REFERENCE = "the ratio to the reference pool, which cannot be had"

GOALS = (
    Goal(
        "G1",
        "lateness p50 ÷ bare",
        (
            _ratio("1 worker", "lateness-1", "p50", "bare", 1.25),
            _ratio("10", "lateness-10", "p50", "bare", 1.25),
            _ratio("100", "lateness-100", "p50", "bare", 1.25),
            _ratio("1,000", "lateness-1000", "p50", "bare", 1.35),
        ),
    ),
    Goal(
        "G2",
        "lateness p90 and p99 ÷ bare, none missed",
        (
            _ratio("p90, 10", "lateness-10", "p90", "bare", 1.75),
            _ratio("p90, 100", "lateness-100", "p90", "bare", 1.75),
            _ratio("p90, 1,000", "lateness-1000", "p90", "bare", 1.75),
            _ratio("p99, 10", "lateness-10", "p99", "bare", 2.0),
            _ratio("p99, 100", "lateness-100", "p99", "bare", 2.0),
            _plain("missed at 1,000", "lateness-1000", "missed", 0.0, "%"),
        ),
    ),
    Goal(
        "G3",
        "CPU a run at 1,000 workers",
        (
            _ratio("÷ bare", "lateness-1000", "cpu", "bare", 2.0),
            _ratio("÷ APScheduler", "lateness-1000", "cpu", "APScheduler", 0.6),
        ),
    ),
    Goal(
        "G4",
        "start + stop at 100,000 pending",
        (
            _ahead("APScheduler ÷ engine", "cancel", "at 100,000", "APScheduler", 5.0),
            _ahead("asyncio ÷ engine", "cancel", "at 100,000", "asyncio", 1.3),
            Check("÷ none pending", Quantity("cancel", "at 100,000"), 5.0, Quantity("cancel", "at 0")),
        ),
        _REFERENCE,
    ),
    Goal(
        "G5",
        "burst of 10,000",
        (
            _ahead("APScheduler ÷ engine, now", "burst-now", "all", "APScheduler", 8.0),
            _ahead("the same, armed", "burst-armed", "all", "APScheduler", 8.0),
            _ratio("÷ bare, now", "burst-now", "all", "bare", 3.0),
            _ratio("÷ bare, armed", "burst-armed", "all", "bare", 3.0),
            _plain("threads, now", "burst-now", "threads", 16, "threads"),
            _plain("threads, armed", "burst-armed", "threads", 16, "threads"),
            _plain("lost, now", "burst-now", "lost", 0, "runs"),
            _plain("lost, armed", "burst-armed", "lost", 0, "runs"),
            _plain("first run, armed", "burst-armed", "first", 2.0, "ms late"),
        ),
        _REFERENCE,
    ),
    Goal(
        "G6",
        "10,000 idle workers",
        (_plain("CPU", "idle", "cpu", 0.2, "ms/s"), _plain("memory", "idle", "bytes", 1300, "bytes a worker")),
        _REFERENCE,
    ),
    Goal(
        "G7",
        "jobs against ThreadPoolExecutor",
        (
            Check(
                "jobs a second",
                Quantity("jobs", "rate"),
                4.0,
                Quantity("jobs", "rate", "ThreadPoolExecutor"),
                least=True,
            ),
            _ratio("latency p50", "job-latency", "p50", "ThreadPoolExecutor", 1.0),
            _ratio("latency p99", "job-latency", "p99", "ThreadPoolExecutor", 1.25),
        ),
    ),
    Goal(
        "G8",
        "64 that block",
        (
            Check("p50 ÷ unblocked", Quantity("blocked", "p50"), 1.3, Quantity("lateness-1", "p50")),
            _plain("missed", "blocked", "missed", 0.0, "%"),
            _ratio("64 blocking jobs ÷ ThreadPoolExecutor(256)", "blocking-jobs", "all", "ThreadPoolExecutor", 1.5),
        ),
    ),
    Goal(
        "G9",
        "main thread in a Python loop",
        (
            _ratio("p50 ÷ bare", "busy", "p50", "bare", 1.1),
            _ratio("p90 ÷ bare", "busy", "p90", "bare", 1.3),
            _ratio("p90 ÷ APScheduler", "busy", "p90", "APScheduler", 0.6),
        ),
    ),
    Goal(
        "G10",
        "find by glob",
        (_plain("hostile pattern", "find", "hostile", 1.0, "ms"),),
        _REFERENCE,
    ),
    Goal(
        "G11",
        "history and observer",
        (
            Check("history, CPU a run", Quantity("history", "cpu"), 1.10, Quantity("history", "cpu", "engine alone")),
            _ratio("SQLite, 100 workers at 10 Hz", "journal-100", "cpu", "engine alone", 1.25),
            _ratio("SQLite, runs back to back", "journal", "cpu", "engine alone", 1.25),
            Check(
                "observer, CPU",
                Quantity("observer-100", "core"),
                1.0,
                Quantity("observer-100", "core", "engine alone"),
                difference=True,
                unit="% of a core",
            ),
            _ratio("observer, p90", "observer-100", "p90", "engine alone", 1.2),
        ),
    ),
)
