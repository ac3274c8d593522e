"""A process ends soon, whatever its callbacks are blocked in."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from .harness import PATIENCE, short_or_long

#: Most seconds from the end of the main program to the end of the process.
MOST = 1.5

BLOCKED = """
import asyncio, socket, threading, time
from bgpool_jupyter import WorkerPool, default_pool
pool = default_pool()
entered = threading.Semaphore(0)
lock = threading.Lock()
lock.acquire()
here, there = socket.socketpair()
def sleep(): entered.release(); time.sleep(3600)
def wait(): entered.release(); lock.acquire()
def read(): entered.release(); here.recv(1)
def patient(_worker): entered.release(); _worker.sleep(3600)
async def stubborn():
    entered.release()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
def busy():
    entered.release()
    while True:
        pass
count = 0
for callback in {callbacks}:
    pool.new_worker(0.001, callback, finished=lambda: time.sleep(3600)).start()
    pool.run_job(callback) if callback is not patient else entered.release()
    count += 2
pool.subscribe(lambda event: time.sleep(3600))
pool.new_worker(0.001, lambda: None).start()
pool.new_actor(lambda: None, delay=0.001, finished=lambda: (entered.release(), time.sleep(3600))).start()
for _ in range(count + 1):
    assert entered.acquire(timeout=20)
{last}
print(time.monotonic(), flush=True)
"""


def seconds_to_exit(program):
    """Return the seconds from the last line of a program to the end of its process, which has to end well."""
    # The clock of the machine: parent and child read the same one.
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE * 2)
            end = time.monotonic()
        finally:
            process.kill()
    assert (process.returncode, err) == (0, b"")
    return end - float(out)


QUIET = "[sleep, wait, read, patient, stubborn]"


@pytest.mark.parametrize(
    ("callbacks", "last"),
    [
        pytest.param(QUIET, "", id="blocked"),
        pytest.param("[sleep] * 32", "", id="many"),
        pytest.param("[busy]", "", id="in a loop"),
        pytest.param(QUIET, "import atexit; atexit.register(pool.close)", id="closed at exit"),
        pytest.param(QUIET, "print(time.monotonic(), end=' ', flush=True); pool.close()", id="closed at the end"),
        pytest.param(QUIET, "del pool", id="dropped"),
    ],
)
@short_or_long("times", 3, 30)
def test_within_a_second_and_a_half(callbacks, last, times):
    """The machine may be busy: the best of a few is what the pool needs, and all of them end."""
    program = BLOCKED.replace("{callbacks}", callbacks).replace("{last}", last)
    if "end=' '" in program:
        program = program.replace("print(time.monotonic(), flush=True)\n", "")
    best = PATIENCE
    for _ in range(times):
        best = min(best, seconds_to_exit(program))
        if best < MOST and times <= 3:
            break
    assert best < MOST
