"""What the journal costs a worker at 10 Hz: CPU time of the process with and without it, by turns.

    python benchmarks/journal_cost.py [--seconds 4] [--rounds 15] [--interval 0.1] [--workers 1]

Two bodies: one that does nothing, which shows the journal's cost alone, and a poll: it reads a page from a server on
this machine, over HTTP, parses its JSON and returns a number. The worker runs all the time; the journal is taken from
it and given back by turns. Shown is the median of the differences of neighbours, in microseconds a run and in per
cent of the time without.
"""

from __future__ import annotations

import argparse
import json
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
            time.sleep(asked.interval)
            runs, begin = sum(worker.run_count for worker in made), time.process_time()
            time.sleep(asked.seconds)
            if recorder is not None:
                recorder.flush(10)
            return (time.process_time() - begin) * 1e6 / (sum(worker.run_count for worker in made) - runs)

        window(journal)  # the file is open, the threads are there
        pairs = []
        for turn in range(asked.rounds):
            first, second = (None, journal) if turn % 2 else (journal, None)
            pair = {first: window(first), second: window(second)}
            pairs.append((pair[None], pair[journal]))
    without = statistics.median(pair[0] for pair in pairs)
    more = statistics.median(pair[1] - pair[0] for pair in pairs)
    share = statistics.median(pair[1] / pair[0] - 1 for pair in pairs)
    print(f"{name:8} {without:7.0f} µs a run, with the journal {more:+.0f} µs ({share:+.1%})", flush=True)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=15)
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
            compare("nothing", lambda: None, asked)
            compare("poll", poll, asked)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
