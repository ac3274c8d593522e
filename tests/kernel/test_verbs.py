"""%bgpool and its verbs."""

from __future__ import annotations

import re

import pytest

from bgpool_jupyter.kernel.grammar import VERBS
from bgpool_jupyter.overview import WorkerTable


@pytest.fixture
def three(notebook, capsys):
    """Three workers that have run once: cpu-load, cpu-heat and disk, which fails."""
    notebook.run("%bgworker -n cpu-load 10s print('load', _worker.run_count)")
    notebook.run("%bgworker -n cpu-heat 10s 'warm'")
    notebook.run("%bgworker -n disk 10s 1 / 0")
    notebook.advance(0)
    capsys.readouterr()
    return notebook


def names(workers):
    return [worker.name for worker in workers]


def test_table(three):
    table = three.run("%bgpool")
    assert type(table) is WorkerTable
    assert names(table) == ["cpu-load", "cpu-heat", "disk"]
    assert repr(table).splitlines()[0].split() == [
        "name",
        "schedule",
        "state",
        "next",
        "run",
        "runs",
        "failed",
        "missed",
        "last",
        "cell",
        "error",
    ]
    assert "ZeroDivisionError: division by zero" in repr(table)
    assert " in 10 s " in repr(table), "by the clock of the pool"


def test_empty_table(notebook):
    assert repr(notebook.run("%bgpool")) == "no workers; %bgworker -h says how to make one"
    for verb in ("start", "stop", "pause", "resume", "run"):
        assert repr(notebook.run(f"%bgpool {verb}")) == "no workers"
    assert repr(notebook.run("%bgpool history")) == "no runs yet"
    assert repr(notebook.run("%bgpool jobs")) == "no jobs yet"


def test_stop_and_start(three):
    assert names(three.run("%bgpool stop cpu*")) == ["cpu-load", "cpu-heat"]
    assert names(three.pool.find_workers(running=True)) == ["disk"]
    again = three.run("%bgpool stop cpu*")
    assert (again, repr(again)) == ([], "nothing changed: none of them is started")
    assert names(three.run("%bgpool start cpu-l* nothing* disk".replace("nothing*", "*heat"))) == [
        "cpu-load",
        "cpu-heat",
    ]
    assert repr(three.run("%bgpool start")) == "nothing changed: all of them are started"
    assert names(three.run("%bgpool stop")) == ["cpu-load", "cpu-heat", "disk"]


def test_pause_and_resume(three):
    assert names(three.run("%bgpool pause cpu-?oad")) == ["cpu-load"]
    three.advance(35)
    assert [worker.run_count for worker in three.pool.find_workers()] == [1, 4, 4]
    assert repr(three.run("%bgpool pause cpu-load")) == "nothing changed: none of them is started and not paused"
    assert names(three.run("%bgpool resume")) == ["cpu-load"]
    assert repr(three.run("%bgpool resume")) == "nothing changed: none of them is paused"
    three.advance(5)
    assert three.pool.find_workers("cpu-load")[0].run_count == 2


def test_run(three):
    assert names(three.run("%bgpool run disk")) == ["disk"]
    three.advance(0)
    assert three.pool.find_workers("disk")[0].run_count == 2
    three.run("%bgpool stop")
    assert repr(three.run("%bgpool run")) == "nothing changed: none of them is started; %bgpool start starts them"


def test_remove(three):
    removed = three.run("%bgpool remove cpu*")
    assert names(removed) == ["cpu-load", "cpu-heat"]
    assert "■ stopped" in repr(removed)
    assert names(three.run("%bgpool")) == ["disk"]
    assert names(three.run("%bgpool remove *")) == ["disk"]


def test_name_with_wildcards_means_itself_first(three):
    three.run('%bgworker -n "cpu*" 10s 1')
    assert names(three.run("%bgpool stop cpu*")) == ["cpu*"]
    assert names(three.run("%bgpool stop [c]pu*")) == ["cpu-load", "cpu-heat"]


def test_name_with_spaces_is_quoted(three):
    three.run('%bgworker -n "my own" 10s 1')
    assert names(three.run('%bgpool stop "my own"')) == ["my own"]
    assert names(three.run("%bgpool start 'my *'")) == ["my own"]


def test_log_shows_output_and_error(three, capsys):
    assert three.run("%bgpool log cpu-load disk") is None
    shown = capsys.readouterr().out
    heads = [line for line in shown.splitlines() if line.startswith("──")]
    assert [head.split(":")[0] for head in heads] == [
        "── cpu-load (every 10 s), run 1",
        "── disk (every 10 s), run 1",
    ]
    assert re.search(r", done, from Cell In\[\d+\], line 1$", heads[0])
    assert re.search(r", failed, from Cell In\[\d+\], line 1$", heads[1])
    assert "\nload 1\n" in shown
    assert "\n    1 / 0\n" in shown
    *_, error, following = shown.splitlines()
    assert error == "ZeroDivisionError: division by zero"
    assert re.fullmatch(r"next: runs again at .*\d\d:\d\d:\d\d; %bgdebug disk opens the debugger", following)


def test_log_has_the_last_three_runs_or_as_many_as_wanted(three, capsys):
    three.advance(50)
    three.run("%bgpool log cpu-load")
    assert [line for line in capsys.readouterr().out.splitlines() if "load " in line and "──" not in line] == [
        "load 4",
        "load 5",
        "load 6",
    ]
    three.run("%bgpool log --last 1 cpu-load")
    assert capsys.readouterr().out.count("──") == 1
    three.run("%bgpool log cpu-load -n 5")
    assert capsys.readouterr().out.count("──") == 5


def test_log_before_the_first_run_and_in_flight(three, capsys):
    three.run("%bgworker -n new --start-with-delay 10s 1")
    three.run("%bgpool log new")
    assert capsys.readouterr().out.splitlines()[-1] == "── new (every 10 s): no run yet"
    three.run("%%bgworker -n now 10s\nprint('half way')\nget_ipython().run_line_magic('bgpool', 'log now')")
    three.advance(0)
    text = three.pool.find_workers("now")[0].history[-1].output.text()
    assert text.startswith("half way\n── now (every 10 s), run 1: ")
    assert ", running for " in text


def test_log_of_a_job(three, capsys):
    three.run("%bgjob -n import print('importing')")
    three.advance(0)
    capsys.readouterr()
    three.run("%bgpool log imp*")
    head, text = capsys.readouterr().out.splitlines()
    assert head.startswith("── import (job): ")
    assert head.endswith(", done")
    assert text == "importing"


def test_log_shows_rich_displays(three, capsys):
    three.run("%%bgworker -n rich 10s\nfrom IPython.display import HTML\ndisplay(HTML('<b>x</b>'))")
    three.advance(0)
    shown = []
    three.shell.display_pub.publish, publish = lambda data: shown.append(data), three.shell.display_pub.publish
    try:
        three.run("%bgpool log rich")
    finally:
        three.shell.display_pub.publish = publish
    assert shown == [{"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>x</b>"}]


def test_history(three):
    three.advance(20)
    table = three.run("%bgpool history cpu-heat disk")
    assert table.names == ["cpu-heat", "disk"] * 3
    assert [record.number for record in table] == [1, 1, 2, 2, 3, 3]
    lines = repr(table).splitlines()
    assert lines[0].split() == ["name", "run", "started", "took", "outcome", "value", "output", "error"]
    assert "'warm'" in lines[2]
    assert "✖ failed" in lines[3]
    assert "<td>disk</td>" in table._repr_html_()
    assert len(three.run("%bgpool history -n 1")) == 3


def test_jobs_and_kill(three):
    three.run("for name in ('a', 'b'): get_ipython().run_line_magic('bgjob', f'-n {name} 1 / 0')")
    three.advance(0)
    three.run("%bgjob -n waits 1")
    table = three.run("%bgpool jobs")
    assert names(table) == ["a", "b", "waits"]
    assert [line.split()[2] for line in repr(table).splitlines()[2:]] == ["✖", "✖", "○"] or "waiting" in repr(table)
    assert names(three.run("%bgpool jobs [ab]")) == ["a", "b"]
    killed = three.run("%bgpool kill")
    assert "cancelled" in repr(killed)
    assert "<td>waits</td>" in killed._repr_html_()


def test_panel(notebook):
    assert notebook.run("%bgpool panel") == "the panel"


def test_every_verb_is_explained(notebook):
    text = notebook.shell.find_line_magic("bgpool").__doc__
    for verb, explanation in VERBS.items():
        assert f"{verb:<8} {explanation}" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stpo", "unknown verb 'stpo'; did you mean stop? (%bgpool -h explains them)"),
        ("xyzzy", f"unknown verb 'xyzzy'; the verbs are {', '.join(VERBS)} (%bgpool -h explains them)"),
        ("STOP", f"unknown verb 'STOP'; the verbs are {', '.join(VERBS)} (%bgpool -h explains them)"),
        ("stop x*", "no worker matches 'x*'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("stop cpu* CPU*", "no worker matches 'CPU*'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("preview x", "no worker matches 'x'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("log x", "no worker matches 'x'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("export x", "no worker matches 'x'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("history x", "no worker matches 'x'; there are 'cpu-load', 'cpu-heat', 'disk'"),
        ("jobs x", "no job matches 'x'; %bgpool jobs shows them all"),
        ("log", "%bgpool log needs a name or a pattern; %bgpool log * means all"),
        ("remove", "%bgpool remove needs a name or a pattern; %bgpool remove * means all"),
        ("kill x", "%bgpool kill takes no name, 'x' is too much; it concerns the whole pool"),
        ("panel x", "%bgpool panel takes no name, 'x' is too much; it concerns the whole pool"),
        ("stop --last 3", "--last belongs to log, history, events and preview, not to stop; leave it out"),
        ("--last 3", "--last belongs to log, history, events and preview; write %bgpool history --last 5"),
        ("--all", "--all belongs to history; write %bgpool history --all"),
        ("--to x.py", "--to belongs to export; write %bgpool export --to"),
        ("--force", "--force belongs to export; write %bgpool export --force"),
        ("--exists keep", "--exists belongs to load; write %bgpool load --exists"),
        ("log --last x disk", "--last: 'x' is not a whole number from 1 on; give 10 for example"),
        ("log --last 0 disk", "--last: '0' is not a whole number from 1 on; give 10 for example"),
        ("log --last", "--last needs a value, as in --last N (%bgpool -h shows the options)"),
        (
            "stop --everything",
            "unknown option '--everything'; put -- before code that begins with a dash (%bgpool -h shows the options)",
        ),
        ("stop 'x", 'a quotation mark is not closed in "\'x" (%bgpool -h shows the options)'),
    ],
)
def test_bad_line(three, line, message):
    before = [(worker.name, worker.status) for worker in three.pool.find_workers()]
    assert three.refused(f"%bgpool {line}") == message
    assert [(worker.name, worker.status) for worker in three.pool.find_workers()] == before


def test_no_worker_at_all(notebook):
    assert (
        notebook.refused("%bgpool stop x") == "no worker matches 'x', there are none; %bgworker -h says how to make one"
    )


def test_long_lists_of_names_are_cut(notebook):
    for number in range(8):
        notebook.pool.new_worker(1, print, name=f"w{number}")
    assert (
        notebook.refused("%bgpool stop x") == "no worker matches 'x'; there are 'w0', 'w1', 'w2', 'w3', 'w4' and 3 more"
    )


def test_hostile_names_stay_in_one_line(notebook):
    notebook.pool.new_worker(1, print, name="a\nb\x1b[2J")
    assert notebook.refused("%bgpool stop x") == r"no worker matches 'x'; there are 'a\nb\x1b[2J'"
