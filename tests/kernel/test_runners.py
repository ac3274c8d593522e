"""Programs that run a notebook and end its kernel: they end in time, and leave no process."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import uuid

import nbformat
import psutil
import pytest

from tests.kernel.driver import ROOT, eventually

#: Seconds that a notebook whose workers still run may take longer than an empty one.
LONGER = 3.0

#: The last cell of each: when it has ended, the end begins.
STAMP = "open('stamp', 'w').write(str(__import__('time').time()));"
EMPTY = [STAMP]
BUSY = [
    "%load_ext bgpool_jupyter",
    "import time, threading",
    "%bgworker -n tick 5ms 1",
    "%bgworker -n waits 5ms await __import__('asyncio').sleep(0)",
    "%bgworker -n later 1h 1",
    "%bgactor -n asleep time.sleep(3600)",
    "%bgactor -n deaf threading.Event().wait()",
    "%bgactor -n child !sleep 3600",
    "%bgjob time.sleep(3600)",
    "from bgpool_jupyter import default_pool\nneeded = 'asleep', 'deaf', 'child'",
    "while not all(w.executing for n in needed for w in default_pool().find_workers(n)): time.sleep(0.01)",
    STAMP,
]

NBCLIENT = """\
import sys, nbclient, nbformat
nbclient.NotebookClient(nbformat.read(sys.argv[1], 4), timeout=60, kernel_name="python3").execute()
"""
PAPERMILL = """\
import sys, papermill
papermill.execute_notebook(sys.argv[1], None, kernel_name="python3", progress_bar=False)
"""

RUNNERS = {
    "nbclient": ["-c", NBCLIENT],
    "nbconvert": ["-m", "nbconvert", "--to", "notebook", "--execute", "--stdout"],
    "papermill": ["-c", PAPERMILL],
    # --nbval-lax: outputs are not compared, since these notebooks have none.
    "nbval": ["-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--nbval-lax", "--nbval-current-env"],
}


def left(mark):
    """Return the processes that have inherited a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BGPOOL_TEST_MARK") == mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def run(runner, cells, folder):
    """Run a notebook and return the seconds from the end of its last cell to the runner's own end.

    Fail if the notebook fails, or leaves a process.
    """
    notebook = folder / "test.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), notebook)
    mark = uuid.uuid4().hex
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *RUNNERS[runner], str(notebook)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "BGPOOL_TEST_MARK": mark, "IPYTHONDIR": str(folder / "ipython")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    took = time.time() - float((folder / "stamp").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        eventually(lambda: not left(mark), 5.0, "no process is left")
    finally:
        for process in left(mark):
            process.kill()
    return took


def shortest(runner, cells, folder, enough):
    """Return the shortest of at most four ends; the first that is short enough is it.

    Now and then a kernel does not end at its runner's request and is ended by force, three seconds later. That comes
    with an empty notebook, which does not know this package, as with any other: it came in 3 of 24 ends of one, and
    in 1 of 24 of the busy one.
    """
    took = math.inf
    for _ in range(4):
        took = min(took, run(runner, cells, folder))
        if took <= enough:
            break
    return took


@pytest.fixture(autouse=True)
def _hang_up():
    """Let children die with their terminal, also where the tests themselves were started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("runner", RUNNERS)
def test_runner_ends_in_time_and_leaves_no_process(runner, tmp_path, capsys):
    empty = shortest(runner, EMPTY, tmp_path, 3.0)
    busy = shortest(runner, BUSY, tmp_path, empty + LONGER)
    with capsys.disabled():
        print(f"\n[{runner}: end of an empty notebook {empty:.2f} s, of one whose workers still run {busy:.2f} s]")
    assert busy - empty <= LONGER
