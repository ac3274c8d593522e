"""Workers whose names are taken out of the notebook's namespace."""

from __future__ import annotations

import pytest

from bgpool_jupyter.kernel.resets import names_read

REASON = "poll was deleted; define it again, then resume"


@pytest.mark.parametrize(
    "take_away",
    ["%reset -f", "%reset -s -f", "%reset_selective -f poll", "del poll", "%xdel poll", "%reset -f out\ndel poll"],
)
def test_worker_whose_name_is_gone_is_paused_and_says_so(notebook, take_away):
    notebook.run("def poll(): return 7")
    reader = notebook.run("%bgworker -n reader 1s poll()")
    other = notebook.run("%bgworker -n other 1s 1 + 1")
    notebook.advance(1)
    notebook.run(take_away)
    assert (reader.status, reader.pause_reason) == ("paused", REASON)
    assert (other.status, other.pause_reason) == ("waiting", "")
    notebook.advance(5)
    assert (reader.run_count, reader.failure_count) == (2, 0)
    notebook.run("def poll(): return 8")
    assert reader.status == "paused", "what goes on again is for people to say"
    notebook.run("%bgpool resume reader")
    notebook.advance(1)
    assert (reader.status, reader.pause_reason, reader.last_value) == ("waiting", "", 8)


def test_reason_is_seen_in_table_and_log(notebook, capsys):
    notebook.run("def poll(): pass")
    notebook.run("%bgworker -n reader 1s poll()")
    notebook.run("%reset -f")
    assert REASON in repr(notebook.run("%bgpool"))
    notebook.run("%bgpool log reader")
    assert REASON in capsys.readouterr().out


@pytest.mark.parametrize("what", ["in", "out", "dhist", "in out"])
def test_reset_of_histories_changes_no_worker(notebook, what):
    notebook.run("def poll(): return 7")
    reader = notebook.run("%bgworker -n reader 1s poll()")
    notebook.run(f"%reset -f {what}")
    notebook.advance(1)
    assert (reader.status, reader.run_count, reader.failure_count) == ("waiting", 2, 0)


def test_function_that_needs_nothing_outlives_its_name(notebook):
    notebook.run("def poll(): return 7")
    reader = notebook.run("%bgworker -n reader 1s poll")
    notebook.run("%reset -f")
    notebook.advance(1)
    assert (reader.status, reader.failure_count, reader.last_value) == ("waiting", 0, 7)


def test_name_that_a_function_of_the_notebook_reads_counts(notebook):
    notebook.run("import math\ndef inner(): return math.pi\ndef poll(): return inner()")
    by_body = notebook.run("%bgworker -n body 1s poll()")
    by_function = notebook.run("%bgworker -n function 1s poll")
    notebook.run("del math")
    assert by_body.pause_reason == by_function.pause_reason == REASON.replace("poll", "math")


def test_many_names_are_told_in_short(notebook):
    notebook.run("a = b = c = d = 1")
    worker = notebook.run("%bgworker -n sums 1s a + b + c + d")
    notebook.run("%reset -f")
    assert worker.pause_reason == "a, b, c, … were deleted; define them again, then resume"


def test_name_that_comes_back_in_the_same_cell_is_not_gone(notebook):
    notebook.run("n = 1")
    worker = notebook.run("%bgworker -n adds 1s n + 1")
    notebook.run("del n\nn = 2")
    assert worker.status == "waiting"


def test_stopped_workers_are_left_alone(notebook):
    notebook.run("n = 1")
    stopped = notebook.run("%bgworker -n stopped 1s n")
    notebook.run("%bgpool stop stopped\ndel n")
    assert (stopped.status, stopped.pause_reason) == ("stopped", "")


def test_paused_workers_say_what_they_need_to_go_on(notebook):
    notebook.run("n = 1")
    paused = notebook.run("%bgworker -n paused 1s n")
    notebook.run("%bgpool pause paused\ndel n")
    assert (paused.status, paused.pause_reason) == ("paused", REASON.replace("poll", "n"))


def test_reason_for_which_a_worker_has_paused_is_kept(notebook):
    notebook.run("n = 0")
    broken = notebook.run("%bgworker -n broken --max-failures 1 1s 1 / n")
    notebook.advance(1)
    notebook.run("del n")
    assert broken.pause_reason == "paused after a failure: ZeroDivisionError: division by zero"


def test_cell_inside_a_cell(notebook):
    notebook.run("n = m = 1")
    inner = notebook.run("%bgworker -n inner 1s n")
    outer = notebook.run("%bgworker -n outer 1s m")
    notebook.run("get_ipython().run_cell('del n')\ndel m")
    assert (inner.status, outer.status) == ("paused", "paused")


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("n = 1\nn + 1", set()),
        ("n += 1", {"n"}),
        ("obj.name", {"obj"}),
        ("for i in rows: total = i", {"rows"}),
        ("def f(): return g\nf()", {"g"}),
        ("helper = 1\ndef f(): return helper\nf()", set()),
        ("[x for x in rows if x > limit]", {"rows", "limit"}),
        ("await thing()", {"thing"}),
        ("_worker.sleep(pause)", {"_worker", "pause"}),
        ("%pwd", {"get_ipython"}),
        ("import os\nos.getpid()", set()),
    ],
)
def test_names_that_a_body_reads_before_it_binds_them(notebook, body, read):
    worker = notebook.run(f"%%bgworker -n w 1h\n{body}")
    assert names_read(notebook.shell, worker.callback) == read


@pytest.mark.parametrize("callback", [len, "no function", None, print, pytest.raises])
def test_what_is_none_of_the_notebooks_reads_nothing(notebook, callback):
    assert names_read(notebook.shell, callback) == set()


def test_bound_method_of_a_class_of_the_notebook(notebook):
    notebook.run("class Lab:\n    def poll(self): return limit\nlab = Lab()")
    assert names_read(notebook.shell, notebook.namespace["lab"].poll) == {"limit"}
