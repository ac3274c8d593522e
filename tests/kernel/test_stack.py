"""%bgpool stack: what runs and jobs in flight do now."""

from __future__ import annotations

import re
import threading

import pytest

from bgpool_jupyter.background import default_pool
from tests.kernel.driver import Kernel, eventually


class Gate:
    """Where a callback waits until the test lets it go on."""

    def __init__(self):
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def wait(self):
        self.entered.set()
        self.go_on.wait(30)


@pytest.fixture
def gate(shell, load):
    load()
    made = Gate()
    shell.user_ns["gate"] = made
    yield made
    made.go_on.set()


def stack(shell, capsys, line=""):
    capsys.readouterr()
    result = shell.run_cell(f"%bgpool stack {line}")
    result.raise_error()
    return capsys.readouterr().out


def test_worker(shell, gate, capsys):
    shell.run_cell(
        "def inner():\n    gate.wait()\n",
        store_history=True,
    )
    shell.run_cell("%%bgworker -n poll 1h\n_worker.progress(2, 4, 'half')\ninner()", store_history=True)
    assert gate.entered.wait(30)
    for shown in (stack(shell, capsys), stack(shell, capsys, "poll"), stack(shell, capsys, "p*")):
        assert re.match(r"── poll \(every 1 h\), run 1: \d\d:\d\d:\d\d, running for [\d.]+ \S+, 50 %, half\n", shown)
        assert re.search(r"\n  Cell In\[\d+\], line 3, in <module>\n    inner\(\)\n", shown)
        assert re.search(r"\n  Cell In\[\d+\], line 2, in inner\n    gate\.wait\(\)\n", shown)
        assert "bgpool_jupyter/engine" not in shown
    gate.go_on.set()


def test_job(shell, gate, capsys):
    shell.run_cell("%%bgjob -n crunch\ngate.wait()", store_history=True)
    assert gate.entered.wait(30)
    shown = stack(shell, capsys)
    assert re.match(r"── crunch \(job\): \d\d:\d\d:\d\d, running for [\d.]+ \S+\n  Cell In", shown)
    assert "    gate.wait()\n" in shown
    assert "bgpool_jupyter" not in shown
    assert stack(shell, capsys, "crunch").startswith("── crunch (job)")
    gate.go_on.set()
    default_pool().jobs()[-1].result(30)
    assert stack(shell, capsys, "crunch") == "no run of crunch is in flight\n"


def test_job_that_waits_in_an_event_loop(shell, gate, capsys):
    shell.run_cell("import asyncio\nasync def wait():\n    gate.entered.set()\n    await asyncio.sleep(30)\n")
    shell.run_cell("%bgjob -n waits wait()", store_history=True)
    assert gate.entered.wait(30)
    eventually(lambda: "await asyncio.sleep(30)" in stack(shell, capsys, "waits"), 30, "the job sleeps")


def test_coroutine(shell, gate, capsys):
    shell.run_cell(
        "%%bgworker -n waits 1h\nimport asyncio\nasync def inner():\n    gate.entered.set()\n"
        "    await asyncio.sleep(30)\nawait inner()",
        store_history=True,
    )
    assert gate.entered.wait(30)
    shown = stack(shell, capsys, "waits")
    assert re.search(r"Cell In\[\d+\], line 5, in inner\n    await asyncio\.sleep\(30\)\n", shown)


def test_nothing_in_flight(notebook, capsys):
    assert stack(notebook.shell, capsys) == "no run is in flight\n"
    notebook.run("%bgworker -n poll 10s 1")
    assert stack(notebook.shell, capsys) == "no run is in flight\n"
    assert stack(notebook.shell, capsys, "poll") == "no run of poll is in flight\n"


def test_bad_lines(notebook):
    notebook.run("%bgworker -n poll 10s 1")
    assert notebook.refused("%bgpool stack x") == "no worker matches 'x'; there are 'poll'"
    assert notebook.refused("%bgpool stack --last 2") == (
        "--last belongs to log, history, events and preview, not to stack; leave it out"
    )


def test_remark_on_a_run_that_never_looks_at_the_stop_flag(shell, gate, capsys, monkeypatch):
    monkeypatch.setattr("bgpool_jupyter.engine.lints.DEAF_AFTER", 0.0)
    shell.run_cell("%bgworker -n poll 1h gate.wait()")
    assert gate.entered.wait(30)
    assert "\n⚠ never looks at the stop flag: in flight for " in stack(shell, capsys, "poll")
    capsys.readouterr()
    shell.run_cell("%bgpool log poll")
    assert ": ⚠ never looks at the stop flag: in flight for " in capsys.readouterr().out


def test_kernel():
    kernel = Kernel()
    try:
        kernel.run("%load_ext bgpool_jupyter\nimport threading\ngo_on, entered = threading.Event(), threading.Event()")
        kernel.run("%%bgworker -n poll 1h\nentered.set()\ngo_on.wait(60)\n")
        kernel.until("entered.is_set()")
        answer = kernel.run("%bgpool stack poll")
        assert "Cell In[2], line 3, in <module>\n    go_on.wait(60)\n" in answer.stdout
        kernel.run("go_on.set()")
    finally:
        kernel.close()
