"""%bgdebug: the failed body again under the debugger, or the frames that were kept."""

from __future__ import annotations

import builtins
import re
import threading

import pytest

from bgpool_jupyter.background import default_pool
from bgpool_jupyter.engine import BackgroundWorker
from bgpool_jupyter.kernel.debugging import _DebuggedWorker
from tests.kernel.driver import Kernel
from tests.kernel.test_terminal import Terminal, environment, run_piped  # noqa: F401 - environment is a fixture

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def replies(monkeypatch):
    """What the person types at the debugger's prompt; when there is no more, q."""
    typed: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": typed.pop(0) if typed else "q")
    return typed


@pytest.fixture
def debug(notebook, capsys, replies):
    """Debug with these replies; return what was shown."""

    def run(line, *answers):
        replies[:] = answers
        capsys.readouterr()
        notebook.run(f"%bgdebug {line}")
        assert replies == [], "the debugger asked less often"
        return COLOURS.sub("", capsys.readouterr().out)

    return run


def failed(notebook, code, name="broken"):
    notebook.run(code)
    notebook.advance(0)
    (worker,) = notebook.pool.find_workers(name)
    assert worker.last_error is not None
    return worker


BROKEN = "%%bgworker -n broken --data 41 10s\nx = _data + 1\nprint('the cell sees this')\nif x:\n    1 / (x - 42)"


def test_body_runs_again_and_the_debugger_opens_where_it_raises(notebook, debug):
    worker = failed(notebook, BROKEN)
    shown = debug("broken", "p x, _data, _worker.name", "q")
    assert shown.startswith("── broken (every 10 s), run 1 failed at ")
    assert "\nthe cell sees this\n" in shown
    assert "ZeroDivisionError: division by zero\n(h lists the commands" in shown
    assert "----> 5     1 / (x - 42)" in shown
    assert "(42, 41, 'broken')" in shown
    assert "bgpool_jupyter" not in shown, "no frame of ours"
    assert (worker.run_count, len(worker.history)) == (1, 1), "it is no run of the worker"


def test_worker_is_paused_meanwhile_and_goes_on(notebook, debug):
    worker = failed(notebook, BROKEN)
    notebook.namespace["seen"] = seen = []
    debug("broken", "!seen.append((_worker.status, _worker.pause_reason))", "q")
    assert seen == [("paused", "paused while %bgdebug runs its body")]
    assert (worker.status, worker.pause_reason) == ("failed", "")
    notebook.advance(10)
    assert worker.run_count == 2


def test_worker_that_a_person_paused_stays_paused(notebook, debug):
    worker = failed(notebook, BROKEN)
    worker.pause()
    debug("broken", "q")
    assert worker.status == "paused"
    worker.unpause()
    debug("broken", "!_worker.unpause(); _worker.pause()", "q")
    assert worker.status == "paused", "somebody has decided so meanwhile"


def test_breaker_stays_as_it_is(notebook, debug):
    worker = failed(notebook, "%bgworker -n broken --max-failures 1 10s 1 / 0")
    reason = worker.pause_reason
    debug("broken", "q")
    assert (worker.status, worker.pause_reason) == ("paused", reason)


def test_actor_that_has_ended(notebook, debug):
    worker = failed(notebook, "%bgactor -n broken 1 / 0")
    assert "1 / 0" in debug("broken", "q")
    assert worker.status == "failed"


def test_body_that_succeeds_this_time(notebook, debug):
    notebook.run("good = False")
    worker = failed(notebook, "%%bgworker -n broken 10s\nassert good\n'fine'")
    notebook.run("good = True")
    assert "it did not fail this time, its value is 'fine'; --step stops before its first line" in debug("broken")
    assert worker.status == "failed", "its last run has failed"
    notebook.run("import sys; good = False")
    failed(notebook, "%%bgworker -n ends 10s\nif good: sys.exit()\n1 / 0", "ends")
    notebook.run("good = True")
    assert "the body ended its worker this time, and did not fail" in debug("ends")


def test_step(notebook, debug):
    failed(notebook, BROKEN)
    shown = debug("--step broken", "n", "p x", "q")
    first, second = shown.split("\n> ")[1:]
    assert "----> 2 x = _data + 1" in first
    assert "----> 3 print('the cell sees this')" in second
    assert "42" in second.splitlines()
    assert "\nthe cell sees this\n" not in shown, "q ends the body where it stands"
    shown = debug("broken --step", "c", "p x", "q")
    assert "ZeroDivisionError" in shown
    assert "42" in shown.splitlines()


def test_step_into_a_function(notebook, debug):
    notebook.run("def poll():\n    y = 3\n    return y / 0\n")
    failed(notebook, "%bgworker -n broken 10s poll")
    shown = debug("--step broken", "n", "p y", "q")
    assert "----> 2     y = 3" in shown
    assert "3" in shown.splitlines()


def test_step_into_a_single_expression(notebook, debug):
    notebook.run("def poll(x):\n    return 1 / x\n")
    failed(notebook, "%bgworker -n broken 10s poll(0)")
    [first] = debug("--step broken", "q").split("\n> ")[1:]
    assert "----> 1 poll(0)" in first


def test_body_with_await(notebook, debug):
    notebook.run("import asyncio")
    failed(notebook, "%%bgworker -n broken 10s\nawait asyncio.sleep(0)\ny = 7\nraise ValueError('late')")
    shown = debug("broken", "p y", "q")
    assert "ValueError: late" in shown
    assert "7" in shown.splitlines()


def test_function_with_arguments_of_start(notebook, debug):
    notebook.namespace["noted"] = []

    def work(city, _worker, _data):
        raise ValueError(f"{city} {_data} {_worker.name}")

    notebook.pool.set_logger(lambda text: None)
    worker = notebook.pool.new_worker(10, work, name="broken", data=5).start(city="Ulm")
    notebook.advance(0)
    shown = debug("broken", "p city", "q")
    assert "ValueError: Ulm 5 broken" in shown
    assert "'Ulm'" in shown
    assert worker.status == "failed"


def test_stand_in_for_the_worker(notebook):
    worker = notebook.pool.new_worker(10, print, name="poll", data=[1])
    stand_in = _DebuggedWorker(worker)
    assert stand_in.should_stop is False, "of the worker it is True: no run is in flight"
    assert stand_in.sleep(0) is True
    stand_in.progress(1, 2, "half")
    assert isinstance(stand_in, BackgroundWorker)
    assert (stand_in == worker, {worker: 1}[stand_in], repr(stand_in)) == (
        True,
        1,
        "BackgroundWorker('poll', every 10 s)",
    )
    stand_in.interval = 5
    assert worker.interval == 5
    with pytest.raises(Exception, match="seconds must be 0 or greater"):
        stand_in.sleep(-1)


KEPT = """\
%%bgworker -n broken --keep-frames 10s
times = globals().get('times', 0) + 1
def half(q):
    return q / 0
half(5)"""


def test_post_mortem_of_frames_that_were_kept(notebook, debug):
    worker = failed(notebook, KEPT)
    shown = debug("broken", "p q", "u", "q")
    assert "its frames, as they were" in shown
    assert "5" in shown.splitlines()
    assert "----> 5 half(5)" in shown
    assert notebook.namespace["times"] == 1, "nothing was run"
    assert worker.status == "failed"
    assert "its body again" in debug("--again broken", "q")
    assert notebook.namespace["times"] == 2
    assert "its frames, as they were" in debug("--post-mortem broken", "q")


def test_frames_are_not_kept_unasked(notebook):
    worker = failed(notebook, BROKEN)
    assert worker.kept_error is None
    assert notebook.refused("%bgdebug --post-mortem broken") == (
        "no frames of 'broken' were kept; make it with --keep-frames, or leave --post-mortem out to run its body again"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "",
            "the NAME of a worker that failed is missing, %bgpool shows which have (%bgdebug -h shows the options)",
        ),
        ("nobody", "no worker matches 'nobody'; there are 'broken', 'sound', 'my own'"),
        ("*o*", "%bgdebug takes one worker, 3 match: 'broken', 'my own', 'sound'; name one"),
        ("sound", "no run of 'sound' has failed since its start; 'broken' has"),
        ("my own", "%bgdebug takes one NAME, 'own' is too much; put a name with spaces in quotes"),
        ("'my own'", "no run of 'my own' has failed since its start; 'broken' has"),
        (
            "--again --post-mortem broken",
            "--post-mortem runs nothing, --again and --step run the body; leave one of them out",
        ),
        ("--wait 5 broken", "--wait: the wait needs a unit, '5' has none; write 5s for seconds or 5m for minutes"),
    ],
)
def test_bad_line(notebook, line, message):
    failed(notebook, BROKEN)
    notebook.run("%bgworker -n sound 10s 1\n%bgworker -n 'my own' 10s 1")
    notebook.advance(0)
    assert notebook.refused(f"%bgdebug {line}") == message


def test_two_workers_of_one_name(notebook):
    failed(notebook, BROKEN)
    notebook.pool.new_worker(1, print, name="broken")
    assert notebook.refused("%bgdebug broken") == "2 workers are called 'broken'; give the one you mean another name"


def test_pattern_that_one_worker_matches(notebook, debug):
    failed(notebook, BROKEN)
    assert "run 1 failed" in debug("bro*", "q")


def test_failure_of_an_earlier_start_is_none(notebook):
    worker = failed(notebook, BROKEN)
    worker.stop()
    worker.callback = lambda: None
    worker.start()
    notebook.advance(0)
    assert notebook.refused("%bgdebug broken") == "no run of 'broken' has failed since its start; no worker has"


def test_inside_of_a_run(notebook):
    failed(notebook, BROKEN)
    notebook.run("%bgworker -n nested 10s get_ipython().run_line_magic('bgdebug', 'broken')")
    notebook.advance(0)
    (worker,) = notebook.pool.find_workers("nested")
    assert worker.last_error.line == (
        "UsageError: the debugger belongs to the main thread; write %bgdebug in a cell, not in a background run"
    )


@pytest.fixture
def in_flight(shell, load, monkeypatch):
    """A worker on real threads whose first run has failed and whose second one waits until it is let go."""
    load()
    pool = default_pool()
    pool.set_logger(lambda text: None)
    entered, go_on = threading.Event(), threading.Event()

    def work(_worker):
        if threading.current_thread() is not threading.main_thread() and _worker.run_count == 2:
            entered.set()
            go_on.wait(30)
        raise ValueError("boom")

    worker = pool.new_worker(3600, work, name="broken").start()
    with pytest.raises(Exception, match="boom"):
        worker.result(30)
    worker.work_now()
    assert entered.wait(30)
    yield shell, worker, go_on
    go_on.set()


def test_run_in_flight_is_waited_for(in_flight, monkeypatch):
    shell, worker, go_on = in_flight
    seen = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": seen.append(worker.executing) or "q")
    threading.Timer(0.05, go_on.set).start()
    result = shell.run_cell("%bgdebug --wait 30s broken")
    assert result.success
    assert seen == [False], "the debugger opened when the run had ended"
    assert worker.running
    assert worker.status != "paused"


def test_run_in_flight_that_ends_the_worker(in_flight, monkeypatch):
    shell, worker, go_on = in_flight
    worker.max_count = 2
    monkeypatch.setattr(builtins, "input", lambda prompt="": "q")
    threading.Timer(0.05, go_on.set).start()
    assert shell.run_cell("%bgdebug --wait 30s broken").success
    assert (worker.status, worker.pause_reason) == ("failed", "")
    assert not worker.running


def test_run_in_flight_that_does_not_end(in_flight):
    shell, worker, _ = in_flight
    result = shell.run_cell("%bgdebug --wait 10ms broken")
    assert re.fullmatch(
        r"a run of 'broken' is in flight for [\d.]+ m?s and did not end within 10 ms: "
        r"%bgpool stack broken shows what it does, %bgdebug --wait 1m broken waits longer",
        str(result.error_in_exec),
    )
    assert worker.status == "running", "it goes on as before"
    assert worker.pause_reason == ""


# ------------------------------------------------------------------ in a real kernel


@pytest.fixture(scope="module")
def kernel():
    made = Kernel()
    made.run("%load_ext bgpool_jupyter\nimport bgpool_jupyter\npool = bgpool_jupyter.default_pool()")
    yield made
    made.close()


def test_kernel(kernel):
    kernel.run(BROKEN)
    kernel.until("pool.find_workers('broken')[0].last_error")
    answer = kernel.converse("%bgdebug broken", ["p x, _data", "q"])
    shown = COLOURS.sub("", answer.stdout)
    assert answer.error is None
    assert "----> 5     1 / (x - 42)" in shown
    assert "(42, 41)" in shown
    assert "the cell sees this" in shown
    assert kernel.run("pool.find_workers('broken')[0].status").value == "'failed'"
    answer = kernel.converse("%bgdebug --step broken", ["n", "p x", "q"])
    assert "----> 3 print('the cell sees this')" in COLOURS.sub("", answer.stdout)
    assert kernel.stray_output() == []


def test_kernel_with_await(kernel):
    kernel.run("%%bgworker -n waits 1h\nimport asyncio\ny = 7\nawait asyncio.sleep(0)\nraise ValueError('late')")
    kernel.until("pool.find_workers('waits')[0].last_error")
    answer = kernel.converse("%bgdebug waits", ["p y", "q"])
    assert "ValueError: late" in answer.stdout
    assert "\n7\n" in COLOURS.sub("", answer.stdout)
    assert kernel.run("await asyncio.sleep(0.01)\n'the loop goes on'").value == "'the loop goes on'"


def test_kernel_with_kept_frames(kernel):
    kernel.run(KEPT.replace("broken", "kept"))
    kernel.until("pool.find_workers('kept')[0].last_error")
    answer = kernel.converse("%bgdebug kept", ["p q", "u", "q"])
    assert "\n5\n" in COLOURS.sub("", answer.stdout)
    assert "----> 5 half(5)" in COLOURS.sub("", answer.stdout)


def test_front_end_without_input(kernel):
    kernel.run("%%bgworker -n silent 1h\nran = globals().get('ran', 0) + 1\n1 / 0")
    kernel.until("pool.find_workers('silent')[0].last_error")
    answer = kernel.run("%bgdebug silent")
    assert answer.stderr == (
        "UsageError: this front end takes no input, as with nbclient, nbconvert and papermill, and cannot answer a "
        "debugger; %bgpool log silent shows the traceback\n"
    )
    assert kernel.run("ran").value == "1", "the body was not run"


# ------------------------------------------------------------------ in a terminal


def test_piped_terminal(environment):  # noqa: F811
    out, err = run_piped(
        "%load_ext bgpool_jupyter\n"
        "w = %bgworker -n broken 1h x = 6; 1 / (x - 6)\n"
        "import time\n"
        "while not w.last_error: time.sleep(0.01)\n"
        "\n"
        "%bgdebug broken\n"
        "p x * 7\n"
        "q\n"
        "print('after', w.status)\n",
        environment,
    )
    assert "----> 1 x = 6; 1 / (x - 6)" in out
    assert "42" in out
    assert "after failed" in out
    assert "Traceback" not in err


def test_prompt_of_a_terminal(environment):  # noqa: F811
    terminal = Terminal(environment)
    try:
        terminal.until("In [1]")
        terminal.type("%load_ext bgpool_jupyter")
        terminal.until("In [2]")
        terminal.type("w = %bgactor -n broken x = 6; 1 / (x - 6)")
        terminal.until("In [3]")
        terminal.type("while not w.last_error: __import__('time').sleep(0.01)")
        terminal.type("")
        terminal.until("In [4]")
        terminal.type("%bgdebug broken")
        terminal.until("ipdb>")
        terminal.type("p x * 7000 + 1")
        terminal.until("42001")
        terminal.type("q")
        terminal.until("In [5]")
    finally:
        terminal.close()
