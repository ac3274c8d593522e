"""Every work of the benchmarks once, with tiny sizes, and the arithmetic. Never a time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.contenders import CONTENDERS, available
from benchmarks.figures import median, paired_ratios, percentile
from benchmarks.goals import GOALS, Check, Goal, Quantity, judge
from benchmarks.measures import WORKS
from benchmarks.measures.lateness import Window, Worker, lateness
from benchmarks.report import as_json, as_markdown, as_text, cell, factor
from benchmarks.works import TINY, Metric, Work

ROOT = Path(__file__).parents[1]
EVERY_WORK = """
import json
from benchmarks.measures import WORKS
from benchmarks.works import TINY, run
print(json.dumps(run(WORKS, TINY, 1, lambda _text: None)))
"""


@pytest.fixture(scope="module", name="tiny")
def _tiny():
    """The results of every work, done once: by a process of its own, as each has what lives already collected."""
    return json.loads(
        subprocess.run([sys.executable, "-c", EVERY_WORK], cwd=ROOT, capture_output=True, check=True).stdout
    )


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
class TestEveryWork:
    def test_has_a_number_for_each_metric_and_contender(self, tiny, work):
        by_metric = tiny[work.name]
        assert list(by_metric) == [metric.name for metric in work.metrics]
        for by_contender in by_metric.values():
            assert set(by_contender) == {name for name in work.contenders if available(name)}
            assert all(len(values) == 1 for values in by_contender.values())

    def test_yields_numbers_for_the_engine_and_not_negative_ones(self, tiny, work):
        for by_contender in tiny[work.name].values():
            (value,) = by_contender["engine"]
            assert value >= 0

    def test_names_known_contenders_the_engine_first(self, tiny, work):
        assert work.name in tiny
        assert work.contenders[0] == "engine"
        assert set(work.contenders) <= {*CONTENDERS, "engine alone"}


def test_nothing_is_lost_by_anyone(tiny):
    for name in ("burst-now", "burst-armed"):
        assert {value for values in tiny[name]["lost"].values() for value in values} == {0}


def test_every_goal_names_what_is_measured():
    metrics = {(work.name, metric.name, name) for work in WORKS for metric in work.metrics for name in work.contenders}
    for goal in GOALS:
        for check in goal.checks:
            assert check.top in metrics
            assert check.bottom is None or check.bottom in metrics
    assert [goal.name for goal in GOALS] == [f"G{n}" for n in range(1, 12)]


class TestFigures:
    def test_the_median_leaves_out_what_was_not_measured(self):
        assert median([3.0, math.nan, 1.0]) == 2.0
        assert median([math.nan]) is None

    @pytest.mark.parametrize(("percent", "value"), [(50, 5), (90, 9), (91, 10), (99, 10), (100, 10), (1, 1)])
    def test_a_percentile_is_one_of_the_values(self, percent, value):
        assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value

    def test_a_percentile_of_nothing_is_not_a_number(self):
        assert math.isnan(percentile([], 50))

    def test_ratios_are_paired_by_repetition(self):
        assert paired_ratios([1, 6, math.nan, 5, 2], [2, 3, 1, 0, 8]) == [0.5, 2.0, 0.25]


class TestLateness:
    def test_is_counted_from_the_slot_on_the_grid(self):
        stamps = [10.001, 10.102, 10.203, 10.304]
        figures = lateness([Worker(10.0, stamps)], Window(10.0, 10.39, 0.004))
        assert figures["p50"] == pytest.approx(2000)
        assert figures["p99"] == pytest.approx(3000)
        assert figures["missed"] == 0
        assert figures["cpu"] == pytest.approx(1000)

    def test_a_slot_without_a_run_is_missed(self):
        figures = lateness([Worker(10.0, [10.001, 10.201, 10.301])], Window(10.0, 10.4001, 1.0))
        assert figures["missed"] == pytest.approx(25)

    def test_a_run_a_moment_early_belongs_to_its_slot(self):
        figures = lateness([Worker(10.0, [9.9999, 10.1])], Window(9.95, 10.2001, 1.0))
        assert figures["missed"] == 0
        assert figures["p90"] == pytest.approx(0, abs=1e-3)


LESS, MORE = Metric("time", "µs"), Metric("rate", "1/s", more=True)
WORK = Work("work", "a work", (LESS, MORE), ("engine", "bare"), lambda _name, _scale: {"time": 1.0})
RESULTS = {
    "work": {
        "time": {"engine": [2.0, 4.0, 5.0], "bare": [1.0, 1.0, 10.0]},
        "rate": {"engine": [10.0, 20.0, 30.0], "bare": [5.0, 5.0, 5.0]},
    }
}
TIME, BARE = Quantity("work", "time"), Quantity("work", "time", "bare")


class TestReport:
    def test_the_lead_is_the_median_of_paired_ratios(self):
        assert factor(RESULTS, WORK, LESS, "bare") == 0.5
        assert factor(RESULTS, WORK, MORE, "bare") == 4.0
        assert factor(RESULTS, WORK, MORE, "sched") is None

    def test_a_cell_has_the_median_and_the_lead(self):
        assert cell(RESULTS, WORK, LESS, "engine") == "4.00"
        assert cell(RESULTS, WORK, LESS, "bare") == "1.00 (0.50)"
        assert cell(RESULTS, WORK, LESS, "asyncio") == "-"

    def test_text_markdown_and_json_tell_the_same(self):
        verdicts = judge(RESULTS, [Goal("G1", "a goal", (Check("time", TIME, 3.0, unit="µs"),))])
        text = as_text(RESULTS, [WORK], verdicts, 3)
        markdown = as_markdown(RESULTS, [WORK], verdicts, 3)
        assert "G1  missed" in text
        assert "| G1 | a goal | missed | time: 4.00 µs (≤ 3 µs) ✗ |" in markdown
        assert "3 repetitions" in text
        assert "3 repetitions" in markdown
        raw = json.loads(as_json(RESULTS, verdicts, 3))
        assert raw["results"] == RESULTS
        assert raw["goals"]["G1"] == {"word": "missed", "figures": {"time": 4.0}}

    def test_json_has_null_for_what_was_not_measured(self):
        assert json.loads(as_json({"w": {"m": {"engine": [math.nan]}}}, [], 1))["results"]["w"]["m"]["engine"] == [None]


class TestGoals:
    @pytest.mark.parametrize(
        ("check", "word"),
        [
            (Check("ratio", TIME, 2.0, BARE), "reached"),
            (Check("ratio", TIME, 1.9, BARE), "missed"),
            (Check("lead", BARE, 0.5, TIME, least=True), "reached"),
            (Check("lead", BARE, 0.6, TIME, least=True), "missed"),
            (Check("difference", TIME, 1.0, BARE, difference=True), "reached"),
            (Check("difference", TIME, 0.9, BARE, difference=True), "missed"),
            (Check("elsewhere", Quantity("other", "time"), 1.0), "not measured"),
        ],
    )
    def test_a_check_takes_the_median_of_what_is_paired(self, check, word):
        (verdict,) = judge(RESULTS, [Goal("G", "", (check,))])
        assert verdict.word == word

    def test_one_missed_check_is_a_missed_goal(self):
        checks = (Check("a", TIME, 9.0), Check("b", TIME, 1.0), Check("c", Quantity("other", "time"), 1.0))
        (verdict,) = judge(RESULTS, [Goal("G", "", checks)])
        assert verdict.word == "missed"
        assert [holds for _, _, holds in verdict.figures] == [True, False, None]


class TestCommand:
    def test_writes_table_json_markdown_and_chart(self, tmp_path, capsys):
        files = [tmp_path / name for name in ("raw.json", "table.md", "chart.png")]
        options = [
            part for pair in zip(("--json", "--markdown", "--png"), map(str, files), strict=True) for part in pair
        ]
        assert main(["--only", "job-latency", "--only", "find", "--reps", "2", *options], TINY) == 0
        told = capsys.readouterr()
        assert "submit → start of a single job: p50" in told.out
        assert "2/2 job-latency: engine" in told.err
        raw = json.loads(files[0].read_text(encoding="utf-8"))
        assert len(raw["results"]["job-latency"]["p50"]["engine"]) == 2
        assert files[1].read_text(encoding="utf-8").count("| G") == 11
        assert files[2].read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("arguments", [["--only", "nonsense"], ["--reps", "0"]])
    def test_refuses_what_it_does_not_know(self, arguments, capsys):
        with pytest.raises(SystemExit, match="2"):
            main(arguments, TINY)
        assert "error" in capsys.readouterr().err

    def test_says_that_a_peer_is_not_installed(self, monkeypatch, capsys):
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        main(["--only", "jobs"], TINY)
        told = capsys.readouterr()
        assert "APScheduler is not installed" in told.err
        assert "a flood of jobs" in told.out
