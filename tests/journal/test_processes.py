"""Several processes, forks and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.journal import locks, runs, size

PATIENCE = 20.0

#: Keeps a run in flight, prints what the journal has acknowledged, and goes on until it is killed.
WRITER = """
import itertools, sys, threading
from bgpool_jupyter import WorkerPool
from bgpool_jupyter.journal import Journal
journal = Journal(sys.argv[1], label=sys.argv[2])
pool = WorkerPool()
pool.recorder = journal
entered = threading.Event()
pool.new_actor(lambda: (entered.set(), threading.Event().wait()), name=f"flying {sys.argv[2]}").start()
entered.wait()
for number in itertools.count(1):
    pool.new_actor(lambda: number, name=f"run {sys.argv[2]}").start().result(timeout=20)
    if journal.flush(20):
        print(number, flush=True)
"""


@pytest.fixture(name="start")
def _start(path):
    """Starts processes that write to the journal."""
    made: list[subprocess.Popen[str]] = []

    def start(label):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), label], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
        )
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_a_killed_process_loses_nothing_that_was_acknowledged(start, path, query):
    process = start("a")
    for _ in range(20):
        process.stdout.readline()
    assert [run.outcome for run in runs("flying*", path=path)] == ["running"]
    process.kill()
    acknowledged = [int(line) for line in process.stdout]
    process.wait(PATIENCE)
    last = max([20, *acknowledged])
    assert [run.value for run in runs("run a", path=path)][:last] == [str(number) for number in range(1, last + 1)]
    assert [run.outcome for run in runs("flying*", path=path)] == ["lost"]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_two_processes_write_to_one_file(start, path, query):
    first, second = start("a"), start("b")
    for process in (first, second):
        for _ in range(10):
            process.stdout.readline()
    assert [run.outcome for run in runs("flying*", path=path)] == ["running"] * 2
    first.kill()
    first.wait(PATIENCE)
    assert {run.kernel: run.outcome for run in runs("flying*", path=path)} == {"a": "lost", "b": "running"}
    for label in "ab":
        values = [int(run.value) for run in runs(f"run {label}", path=path) if run.outcome == "done"]
        assert values[:10] == list(range(1, 11))
    assert size(path).sessions == 2
    second.kill()
    second.wait(PATIENCE)
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_stopped_process_is_alive(start, path):
    process = start("a")
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        assert [run.outcome for run in runs("flying*", path=path)] == ["running"]
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_writes_nothing_and_takes_nothing_away(pool, journal, path, run_once, query):
    entered, leave = threading.Event(), threading.Event()
    pool.new_actor(lambda: (entered.set(), leave.wait(PATIENCE)), name="flying").start()
    assert entered.wait(PATIENCE)
    assert journal.flush(PATIENCE)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with WorkerPool() as own:
                own.recorder = journal
                run_once(own, lambda: 1, "of the child")
            seen = journal.closed and not journal.flush(0.2)
            journal.close(0.2)
            found = [run.outcome for run in runs("flying", path=path)]
            status = 0 if seen and found == ["running"] else 2
            del journal, pool
        finally:
            os.write(writing, b"x")
            os._exit(status)
    os.read(reading, 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reading)
    os.close(writing)
    assert locks.is_held(path, journal.session)
    run_once(pool, lambda: 1, "of the parent")
    assert journal.flush(PATIENCE)
    leave.set()
    assert [run.name for run in runs(path=path)] == ["flying", "of the parent"]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_child_that_lives_on_does_not_keep_the_session_alive(path):
    """A kernel is killed, a process that it forked is not: what was in flight is lost all the same."""
    program = (
        "import os, sys, threading\n"
        "from bgpool_jupyter import WorkerPool\nfrom bgpool_jupyter.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "pool = WorkerPool()\n"
        "pool.recorder = journal\n"
        "entered = threading.Event()\n"
        "pool.new_actor(lambda: (entered.set(), threading.Event().wait()), name='flying').start()\n"
        "entered.wait()\n"
        "assert journal.flush(20)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print(child, flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        try:
            assert [run.outcome for run in runs(path=path)] == ["running"]
        finally:
            process.kill()
        process.wait(PATIENCE)
        os.kill(child, 0)  # it lives
        assert [run.outcome for run in runs(path=path)] == ["lost"]
        process.stdin.close()


def test_locks(path):
    path.parent.mkdir()
    assert not locks.is_held(path, 3)
    assert not path.with_name("journal.sqlite-lock").exists()
    assert locks.hold(path, 3)
    assert not locks.hold(path, 3)
    assert locks.is_held(path, 3)
    assert not locks.is_held(path, 4)
    other = (
        "import sys, pathlib\nfrom bgpool_jupyter.journal import locks\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "print(locks.is_held(path, 3), locks.hold(path, 3), locks.is_held(path, 4), locks.hold(path, 4))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", other, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout == "True False False True\n"
    assert locks.is_held(path, 3), "looking does not lose it"
    locks.release(path, 3)
    locks.release(path, 3)
    assert not locks.is_held(path, 3)


def test_the_end_of_the_process_waits_for_nobody(path):
    """Without a close: what was acknowledged is there, and the interpreter ends at once."""
    program = (
        "import sys\nfrom bgpool_jupyter import WorkerPool\nfrom bgpool_jupyter.journal import Journal\n"
        "journal = Journal(sys.argv[1])\npool = WorkerPool()\npool.recorder = journal\n"
        "pool.new_actor(lambda: 1).start().result(timeout=20)\nassert journal.flush(20)\n"
    )
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    assert time.monotonic() - begin < 10
    assert [run.outcome for run in runs(path=path)] == ["done"]
