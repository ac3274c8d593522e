"""Events from the magics: --on-event, %bgpool events; and the suspended pool."""

from __future__ import annotations

import html
import time

import pytest

from bgpool_jupyter.engine import EventKind
from bgpool_jupyter.kernel import lifecycle
from bgpool_jupyter.kernel.reports import EventTable


def kinds(events):
    return [event.kind.value for event in events]


class TestOnEvent:
    def test_the_function_hears_everything_of_its_worker(self, notebook):
        notebook.run("heard = []\n%bgworker -n other 1s 1")
        notebook.run("%bgworker -n w --on-event heard.append -x 2 1s 1 / (_worker.run_count - 1)")
        notebook.advance(5)
        heard = notebook.namespace["heard"]
        assert kinds(heard) == ["registered", "started", "failed", "run", "stopped"]
        assert {event.name for event in heard} == {"w"}
        assert heard[2].text == "ZeroDivisionError: division by zero"

    def test_of_an_actor_and_of_a_cell(self, notebook):
        notebook.run("heard = []")
        notebook.run("%%bgactor --dispose -n a --on-event 'lambda event: heard.append(event.kind.value)'\n1")
        notebook.advance(0)
        assert notebook.namespace["heard"] == ["registered", "started", "run", "stopped", "removed"]

    def test_run_again_the_cell_replaces_it(self, notebook):
        notebook.run("first, second = [], []")
        notebook.run("%bgworker -n w --on-event first.append 1s 1")
        notebook.run("%bgworker -n w --on-event second.append 1s 1")
        notebook.advance(2)
        assert kinds(notebook.namespace["first"]) == ["registered", "started", "stopped", "removed"]
        assert kinds(notebook.namespace["second"]) == ["registered", "started", "run", "run", "run"]
        notebook.run("%bgworker -n w 1s 1")
        notebook.advance(2)
        assert kinds(notebook.namespace["second"])[-2:] == ["stopped", "removed"]

    def test_what_it_prints_is_in_the_log_and_nowhere_else(self, notebook, capsys):
        notebook.run("%bgworker -n w --on-event 'lambda event: print(event.kind.value)' -x 1 1s print('of the run')")
        capsys.readouterr()
        notebook.advance(1)
        assert capsys.readouterr().out == ""
        notebook.run("%bgpool log w")
        _, run, printed = capsys.readouterr().out.split("── ")
        assert run.splitlines()[1:] == ["of the run"]
        assert printed.splitlines() == [
            "w (every 1 s), on_event: what it printed",
            "registered",
            "started",
            "run",
            "stopped",
        ]

    def test_what_it_displays_is_in_the_log(self, notebook, capsys):
        notebook.run("from IPython.display import display, HTML")
        notebook.run("%bgworker -n w --on-event 'lambda event: display(HTML(event.name))' --no-start 1s 1")
        notebook.advance(0)
        (worker,) = notebook.pool.find_workers()
        assert worker.event_output.displays[0]["text/html"] == "w"

    def test_one_that_raises_hurts_nobody_and_the_log_says_where(self, notebook, capsys):
        notebook.run("def on_event(event):\n    1 / 0")
        worker = notebook.run("%bgworker -n w --on-event on_event 1s 1")
        notebook.advance(1)
        assert (worker.run_count, worker.failure_count, worker.status) == (2, 0, "waiting")
        capsys.readouterr()
        notebook.run("%bgpool log w")
        shown = capsys.readouterr().out
        assert "on_event failed on started:\n" in shown
        assert "    1 / 0\n" in shown
        assert "bgpool_jupyter" not in shown

    def test_names_that_are_gone_hurt_nobody(self, notebook):
        notebook.run("heard = []")
        worker = notebook.run("%bgworker -n w --on-event 'lambda event: heard.append(event)' 1s 1")
        notebook.advance(0)
        notebook.run("del heard")
        notebook.advance(1)
        assert (worker.status, worker.failure_count) == ("waiting", 0)
        assert "NameError: name 'heard' is not defined" in worker.event_output.text()

    def test_it_ends_with_the_extension(self, notebook):
        notebook.run("heard = []\n%bgworker -n w --on-event heard.append 1s 1")
        notebook.advance(0)
        lifecycle.unload(notebook.shell)
        count = len(notebook.namespace["heard"])
        assert kinds(notebook.namespace["heard"])[-1] == "stopped"
        notebook.advance(5)
        assert len(notebook.namespace["heard"]) == count

    def test_a_loaded_one_is_evaluated_at_the_first_run(self, notebook, tmp_path):
        notebook.run("heard = []\n%bgworker -n w --on-event heard.append 1s 1")
        file = tmp_path / "workers.ipynb"
        notebook.run(f"%bgpool export --to {file}")
        notebook.run("%bgpool remove *\ndel heard")
        (worker,) = notebook.run(f"%bgpool load {file}")
        assert worker.on_event is None
        notebook.run("heard = []\n%bgpool resume")
        notebook.advance(1)
        assert kinds(notebook.namespace["heard"]) == ["run", "run"]
        notebook.run(f"%bgpool export --to {file} --force")
        assert "--on-event heard.append" in file.read_text()

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("missing", "--on-event 'missing' cannot be evaluated: NameError: name 'missing' is not defined"),
            ("3", "--on-event 3 is no function but 3; give the function itself, or a lambda"),
        ],
    )
    def test_a_loaded_one_that_cannot_be_evaluated_pauses_its_worker(self, notebook, tmp_path, expression, reason):
        file = tmp_path / "workers.py"
        file.write_text(f"%bgworker -n w --on-event {expression} 1s 1\n")
        (worker,) = notebook.run(f"%bgpool load {file}")
        notebook.run("%bgpool resume")
        notebook.advance(1)
        assert worker.status == "paused"
        assert worker.pause_reason.startswith(reason)

    def test_none_is_the_same_as_leaving_it_out(self, notebook):
        assert notebook.run("%bgworker -n w --on-event None 1s 1").on_event is None


class TestVerb:
    @pytest.fixture
    def two(self, notebook):
        notebook.run("%bgworker -n poll 10s 1")
        notebook.run("%bgactor --dispose -n '<once>' 1 / 0")
        notebook.advance(10)
        notebook.run("%bgpool pause poll")
        return notebook

    def test_last_events_of_all(self, two):
        table = two.run("%bgpool events")
        assert type(table) is EventTable
        assert table == two.pool.events()
        lines = repr(table).splitlines()
        assert lines[0].split() == ["time", "name", "event", "text"]
        assert [line.split()[-2:] for line in lines[2:5]] == [
            ["○", "registered"],
            ["●", "started"],
            ["○", "registered"],
        ]
        assert lines[7].endswith("<once>  ✖ failed      ZeroDivisionError: division by zero")
        assert lines[-1].endswith("poll    ‖ paused")
        assert repr(table) == repr(two.run("%bgpool events"))

    def test_of_those_that_match_also_of_those_that_are_gone(self, two):
        assert kinds(two.run("%bgpool events poll")) == ["registered", "started", "run", "run", "paused"]
        assert kinds(two.run("%bgpool events <*")) == ["registered", "started", "failed", "stopped", "removed"]
        assert kinds(two.run("%bgpool events p* <*")) == kinds(two.pool.events())
        assert kinds(two.run("%bgpool events p* --last 2")) == ["run", "paused"]

    def test_twenty_if_nobody_says_how_many(self, two):
        two.run("%bgpool resume")
        two.advance(1000)
        assert len(two.run("%bgpool events")) == 20
        assert len(two.run("%bgpool events -n 30")) == 30

    def test_html_is_escaped(self, two):
        shown = two.run("%bgpool events")._repr_html_()
        assert html.escape("<once>") in shown
        assert "<once>" not in shown
        assert 'class="bgpool-failed"' in shown
        assert shown == two.run("%bgpool events")._repr_html_()

    def test_no_events(self, notebook):
        assert repr(notebook.run("%bgpool events")) == "no events yet"
        assert notebook.run("%bgpool events")._repr_html_() == "<p>no events yet</p>"

    def test_mistakes(self, two):
        assert two.refused("%bgpool events nobody") == "no worker matches 'nobody'; there are 'poll'"
        assert two.refused("%bgpool events --last 0").startswith("--last: '0' is not a whole number from 1 on")
        assert two.refused("%bgpool events --all") == "--all belongs to history, not to events; leave it out"

    def test_hostile_texts_stay_in_their_row(self, notebook):
        notebook.run("%bgworker -n w -x 1 1s raise ValueError('\\x1b[2J\\u202e' + 'x' * 1000)")
        notebook.advance(0)
        text = repr(notebook.run("%bgpool events"))
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert max(map(len, text.splitlines())) < 160

    def test_every_kind_has_a_shape(self, pool):
        worker = pool.new_worker(1, lambda: None, name="w")
        events = [event._replace(kind=kind) for kind in EventKind for event in pool.events()[:1]]
        assert len(repr(EventTable(events)).splitlines()) == 2 + len(EventKind)
        assert worker.on_event is None


class TestSuspension:
    def test_suspend_holds_all_and_pauses_none(self, notebook):
        old = notebook.run("%bgworker -n old 1s 1")
        table = notebook.run("%bgpool suspend")
        assert table == [old]
        assert notebook.pool.suspended
        new = notebook.run("%bgworker -n new 1s 1")
        notebook.advance(5)
        assert (old.run_count, new.run_count, old.status) == (0, 0, "waiting")
        notebook.run("%bgpool resume")
        assert not notebook.pool.suspended
        notebook.advance(0)
        assert old.run_count
        assert new.run_count

    def test_table_says_so(self, notebook):
        line = "the pool is suspended, no run begins; %bgpool resume lets all go on"
        assert repr(notebook.run("%bgpool suspend")) == line
        assert repr(notebook.run("%bgpool")) == f"no workers; %bgworker -h says how to make one; {line}"
        notebook.run("%bgworker -n w 1s 1")
        for command in ("%bgpool", "%bgpool suspend", "%bgpool pause w"):
            table = notebook.run(command)
            assert repr(table).splitlines()[-1] == f"‖ {line}"
            assert f"<p>‖ {line}</p>" in table._repr_html_()
        assert line not in repr(notebook.run("%bgpool resume"))

    def test_resume_ends_the_suspension_and_nothing_else(self, notebook, capsys):
        held = notebook.run("%bgworker -n held 1s 1")
        notebook.run("%bgworker -n other 1s 1\n%bgpool pause held\n%bgpool suspend")
        capsys.readouterr()
        notebook.run("%bgpool resume")
        assert capsys.readouterr().out.splitlines()[0] == (
            "the pool goes on; 1 worker stays paused, %bgpool resume once more lets all of them go on"
        )
        assert (held.status, notebook.pool.suspended) == ("paused", False)
        assert notebook.run("%bgpool resume") == [held]
        assert held.status == "waiting"

    def test_resume_with_a_name_leaves_the_pool_suspended(self, notebook):
        held = notebook.run("%bgworker -n held 1s 1")
        notebook.run("%bgpool pause held\n%bgpool suspend")
        table = notebook.run("%bgpool resume held")
        assert (held.status, notebook.pool.suspended) == ("waiting", True)
        assert "the pool is suspended" in repr(table)

    def test_it_is_said_where_nothing_changes(self, notebook):
        notebook.run("%bgworker -n w 1s 1\n%bgpool suspend")
        line = "the pool is suspended, no run begins; %bgpool resume lets all go on"
        assert repr(notebook.run("%bgpool resume w")) == f"nothing changed: none of them is paused; {line}"
        assert repr(notebook.run("%bgpool start w")) == f"nothing changed: all of them are started; {line}"

    def test_it_takes_no_name(self, notebook):
        assert notebook.refused("%bgpool suspend w") == (
            "%bgpool suspend takes no name, 'w' is too much; it concerns the whole pool"
        )

    def test_a_worker_tells_it(self, notebook):
        worker = notebook.run("%bgworker -n w 1s 1")
        assert not worker.suspended
        notebook.run("%bgpool suspend")
        assert worker.suspended


def test_the_time_of_an_event_is_local(notebook):
    notebook.run("%bgworker -n w --no-start 1s 1")
    (event,) = notebook.pool.events()
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    assert shown in repr(notebook.run("%bgpool events"))
