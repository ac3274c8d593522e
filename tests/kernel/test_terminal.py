"""The same magics in terminal IPython: piped, and at a real prompt."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path):
    """An IPython of its own, without anybody's profile."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path, "IPYTHONDIR": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"}


COMMAND = [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", "--no-confirm-exit"]


def run_piped(script, environment):
    """Type a script into IPython and return what it wrote, with the seconds it took after the last line."""
    done = subprocess.run(
        [*COMMAND, "--simple-prompt"],
        input=script,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


def test_piped(environment):
    out, err = run_piped(
        "%load_ext bgpool_jupyter\n"
        "import time, threading\n"
        "%bgworker -n poll -x 3 10ms print('of a run', _worker.run_count)\n"
        "%bgworker -n broken -x 1 1h 1 / 0\n"
        "%bgworker -n asks -x 1 1h input('name? ')\n"
        "%bgworker -n sleeper 1h 1\n"
        "poll, broken, asks, sleeper = %bgpool\n"
        "deadline = time.monotonic() + 20\n"
        "ended = lambda: {w.status for w in (poll, broken, asks)} == {'stopped', 'failed'}\n"
        "while time.monotonic() < deadline and not ended(): time.sleep(0.01)\n"
        "\n"
        "print('mine')\n"
        "%bgpool\n"
        "%bgpool log poll broken asks\n"
        "%bgworker 5 f()\n"
        "input('typed by me? ')\n"
        "yes\n"
        "%unload_ext bgpool_jupyter\n"
        "print([t.name for t in threading.enumerate() if 'bgpool' in t.name])\n",
        environment,
    )
    before, after = out.split("mine\n", 1)
    assert "of a run" not in before
    table = after.split("In [")[1]
    assert re.search(r"^poll +every 10 ms +■ stopped +\S +3 +0 +", table, re.MULTILINE)
    assert re.search(
        r"^broken +every 1 h +✖ failed +\S +1 +1 +0 .*ZeroDivisionError: division by zero$", table, re.MULTILINE
    )
    assert "of a run 1\n" in after
    assert "of a run 3\n" in after
    assert "\n    1 / 0\n" in after
    assert "NoInput: input() cannot be used in a background run" in after
    assert "UsageError: INTERVAL needs a unit, '5' has none; write 5s for seconds or 5m for minutes" in out + err
    assert "'yes'" in after
    assert re.search(r"^In \[\d+\]: \[\]$", after, re.MULTILINE), "a thread is left"
    assert "Traceback" not in err


def test_end_is_not_delayed(environment):
    script = (
        "%load_ext bgpool_jupyter\n"
        "import time\n"
        "quick = %bgworker 5ms 1\n"
        "%bgworker -n sleeper 1h 1\n"
        "job = %bgjob time.sleep(3600)\n"
        "while not job.running or quick.run_count < 3: time.sleep(0.01)\n"
        "\n"
        "print('ended at', time.time())\n"
    )
    out, _ = run_piped(script, environment)
    took = time.time() - float(out.partition("ended at ")[2].split()[0])
    assert took < 2.0


def test_syntax_error_looks_as_that_of_an_ordinary_line(environment):
    out, err = run_piped(
        "%load_ext bgpool_jupyter\n"
        "x = = 1\n"
        "%bgworker 5s x = = 1\n"
        "get_ipython().run_cell_magic('bgworker', '5s', 'y\\nx = = 1\\n')\n"
        "%unload_ext bgpool_jupyter\n"
        "'showsyntaxerror' in vars(get_ipython())\n",
        environment,
    )
    shown = [re.sub(r"Cell In ?\[\d+\]", "Cell", text.split("\n\n")[0]) for text in out.split("  Cell ")[1:]]
    assert len(shown) == 3, out + err
    ordinary, line, cell = (text.split("]", 1)[1] for text in shown)
    assert line == ordinary
    assert cell == ordinary.replace("line 1", "line 3")
    assert "Traceback" not in out + err
    assert "Out[6]: False" in out


class Terminal:
    """An IPython behind a pseudo-terminal: prompt_toolkit, as a person sees it."""

    def __init__(self, environment):
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            COMMAND, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
        )
        os.close(slave)
        self.seen = ""

    def type(self, line):
        os.write(self._master, line.encode() + b"\r")

    def until(self, text, timeout=30):
        """Read until a text has appeared; return what came up to then, without control sequences."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            self.read(0.1)
        before, _, self.seen = self.seen.partition(text)
        return before

    def read(self, seconds):
        """Read what comes within some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([self._master], [], [], left)[0]:
            try:
                data = os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                return
            if "\x1b[6n" in data:
                os.write(self._master, b"\x1b[1;1R")  # where is the cursor?
            self.seen += re.sub(r"\x1b[\[\]()?][0-9;?]*[a-zA-Z]?|[\x00-\x08\x0e-\x1f]", "", data)

    def close(self):
        self._process.kill()
        self._process.wait(10)
        os.close(self._master)


@pytest.fixture
def terminal(environment):
    made = Terminal(environment)
    yield made
    made.close()


def test_workers_do_not_write_over_the_prompt(terminal, tmp_path):
    """A run that was in flight when the prompt appeared, and one that begins while it waits, go on unseen."""
    terminal.until("In [1]")
    terminal.type("%load_ext bgpool_jupyter")
    terminal.until("In [2]")
    runs = tmp_path / "runs"
    terminal.type(
        "%bgworker -n noisy 20ms print('NOI' + 'SE'); __import__('time').sleep(0.05); print('NOI' + 'SE'); "
        f"print('x', file=open('{runs}', 'a'))"
    )
    terminal.until("Out[2]")
    terminal.until("In [3]")
    end = time.monotonic() + 30
    while not runs.exists() or len(runs.read_text().split()) < 8:
        assert time.monotonic() < end
        terminal.read(0.05)
    terminal.read(0.05)  # of the last of them
    assert "NOISE" not in terminal.seen
    terminal.type("w, = %bgpool")
    terminal.until("In [4]")
    terminal.type("print('kept', w.history[0].output.text().count('NOI' + 'SE'), w.failure_count)")
    terminal.until("kept 2 0")
    assert "NOISE" not in terminal.seen
    terminal.type("exit")
