"""Tab."""

from __future__ import annotations

import warnings

import pytest

from bgpool_jupyter.kernel.grammar import VERBS


@pytest.fixture
def complete(notebook):
    """Return what IPython offers at the end of a line."""
    notebook.run("%bgworker -n cpu-load 10s 1")
    notebook.run("%bgworker -n disk 10s 1")
    notebook.run('%bgworker -n "my own" 10s 1')
    notebook.pool.new_worker(1, print, name="a\nb")
    notebook.run("%bgjob -n job 1")
    notebook.shell.Completer.use_jedi = False

    def offers(line):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # IPython's own: a provisional interface, and one that is to go
            return notebook.shell.complete("", line, len(line))[1]

    return offers


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("%bgpool st", ["start", "stop", "stack"]),
        ("%bgpool log d", ["disk"]),
        ("%bgpool log j", ["job"]),
        ("%bgpool stop cpu", ["cpu-load"]),
        ("%bgpool stop disk c", ["cpu-load"]),
        ("%bgpool jobs j", ["job"]),
        ("%bgpool log --la", ["--last"]),
        ("%bgworker --na", ["--name"]),
        ("%bgworker --ex", ["--exists"]),
        ("%bgworker --exists k", ["keep"]),
        ("%bgworker --on", ["--on-event"]),
        ("%%bgactor --on", ["--on-event"]),
        ("%bgpool su", ["suspend"]),
        ("%bgpool events d", ["disk"]),
        ("%bgworker -n d", ["disk"]),
        ("%bgactor --de", ["--delay"]),
        ("%bgworker --tz Europe/Berl", ["Europe/Berlin"]),
        ("%%bgworker --tz Antarctica/V", ["Antarctica/Vostok"]),
        ("%bgjob --he", ["--help"]),
        ("%%bgworker --max", ["--max-count", "--max-failures", "--max-lateness"]),
        ("%bgactor --max", ["--max-lateness"]),
    ],
)
def test_what_is_offered(complete, line, offers):
    assert complete(line) == offers


def test_debugger_is_offered_those_that_failed(complete, notebook):
    notebook.run("%bgworker -n broken 10s 1 / 0\n%bgworker -n bright 10s 1")
    notebook.advance(0)
    assert complete("%bgdebug br") == ["broken"]
    assert complete("%bgdebug --po") == ["--post-mortem"]
    assert complete("%bgdebug --step br") == ["broken"]


def test_events_are_offered_for_workers_that_are_gone(complete, notebook):
    notebook.run("%bgpool remove disk")
    assert complete("%bgpool events d") == ["disk"]
    assert "disk" not in complete("%bgpool log d")
    assert "cpu-load" not in complete("%bgpool suspend c")


def test_verbs_and_names_without_a_beginning(complete):
    assert set(complete("%bgpool ")) == set(VERBS)
    assert set(complete("%bgpool stop ")) == {"cpu-load", "disk", "'my own'"}
    assert set(complete("%bgpool log ")) == {"cpu-load", "disk", "'my own'", "job"}


def test_code_completes_as_ever(complete, notebook):
    notebook.namespace["something"] = 1
    assert complete("%bgworker 5s someth") == ["something"]
