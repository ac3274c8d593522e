"""What the journal costs a worker at 10 Hz: CPU time of the process with and without it, by turns.

    python benchmarks/journal_cost.py [--commits 3] [--rounds 20] [--interval 0.1] [--workers 1]

Two bodies: one that does nothing, which shows the journal's cost alone, and a poll: it reads a page from a server on
this machine, over HTTP, parses its JSON and returns a number. The worker runs all the time, in one process; the journal
is taken from it and given back by turns, for as many commits as asked. Each round is two windows, one without and one
with it, in the one order and then in the other. Shown are the medians of their differences, in microseconds of CPU a
run and in per cent of the time without, with the interval in which such a median lies in 95 of 100 cases, and of that
what the journal's own thread spent. The CPU time of the process is read and not the clock on the wall, but what else
runs on the machine empties the caches, of which a commit once a second pays most: say what the load was.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bgpool_jupyter import WorkerPool
from bgpool_jupyter.journal import Journal
from bgpool_jupyter.journal.writer import PERIOD

_SERVER = """
import http.server, json
PAGE = json.dumps({"readings": [{"sensor": n, "value": n / 7} for n in range(50)]}).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(PAGE)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def compare(name: str, body: Callable[[], object], asked: argparse.Namespace) -> None:
    """Measure a body with and without the journal, and print what it costs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        WorkerPool() as pool,
        Journal(Path(folder) / "journal.sqlite") as journal,
    ):
        made = [pool.new_worker(asked.interval, body) for _ in range(asked.workers)]
        for worker in made:
            worker.start()

        def window(recorder: Journal | None) -> float:
            """Return the CPU time of a run in microseconds."""
            pool.recorder = recorder
            time.sleep(2 * asked.interval)
            journal.flush(10)  # so that the next commit is a period away, and none is left over from before
            runs, begin = sum(worker.run_count for worker in made), time.process_time()
            writing = thread_time(journal)
            time.sleep(asked.commits * PERIOD + 0.1)
            spent = (time.process_time() - begin) * 1e6
            runs = sum(worker.run_count for worker in made) - runs
            if recorder is not None:
                threads.append((thread_time(journal) - writing) * 1e6 / runs)
            return spent / runs

        threads: list[float] = []
        window(journal)  # the file is open, the threads are there
        threads.clear()
        pairs = []
        for turn in range(asked.rounds):
            first, second = (None, journal) if turn % 2 else (journal, None)
            pair = {first: window(first), second: window(second)}
            pairs.append((pair[None], pair[journal]))
    without = statistics.median(pair[0] for pair in pairs)
    more, least, most = median_of([pair[1] - pair[0] for pair in pairs])
    share, low, high = median_of([pair[1] / pair[0] - 1 for pair in pairs])
    alone = statistics.median(threads)
    print(
        f"{name:8}{without:6.0f} µs a run, with the journal {more:+.0f} µs [{least:+.0f}, {most:+.0f}], "
        f"{share:+.1%} [{low:+.1%}, {high:+.1%}]; its thread {alone:.0f} µs, {alone / without:.1%}",
        flush=True,
    )


def thread_time(journal: Journal) -> float:
    """Return the CPU time of the journal's thread in seconds, nan where the system does not tell."""
    identity = journal._thread.ident  # noqa: SLF001 - nobody else needs it
    if identity is None or not hasattr(time, "pthread_getcpuclockid"):
        return math.nan
    return time.clock_gettime(time.pthread_getcpuclockid(identity))


def median_of(values: list[float]) -> tuple[float, float, float]:
    """Return the median, and between which of the values that of the whole lies in 95 of 100 cases."""
    ordered, count = sorted(values), len(values)
    below = 0
    while sum(math.comb(count, k) for k in range(below + 1)) / 2**count <= 0.025:  # noqa: PLR2004
        below += 1
    below = max(0, below - 1)
    return statistics.median(ordered), ordered[below], ordered[-1 - below]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commits", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--body", choices=["nothing", "poll"], help="this one alone")
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - ours
        assert server.stdout is not None  # noqa: S101 - for the type checker
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"

        def poll() -> float:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return float(sum(reading["value"] for reading in json.load(answer)["readings"]))

        try:
            for name, body in (("nothing", lambda: None), ("poll", poll)):
                if asked.body in {None, name}:
                    compare(name, body, asked)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
