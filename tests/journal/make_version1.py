"""Makes version1.sqlite; kept to tell how it was made. Runs of later versions of the package make other files.

python tests/journal/make_version1.py FILE
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path

from bgpool_jupyter.engine import WorkerPool
from bgpool_jupyter.journal import Journal


class _Asks:
    def enter(self, output):
        if output.empty:
            output.write("stdout", "asked\n")

    def exit(self, token):
        return None

    def label(self, filename):
        return "Cell In[1]"


def main(path: Path) -> None:
    """Write a session that is closed, and one that is not."""
    values = iter([1.5, ValueError("no answer"), 2.5])

    def poll():
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    with WorkerPool() as pool, Journal(path, label="first.ipynb") as journal:
        pool.set_logger(lambda text: None)
        pool.capture = _Asks()
        pool.recorder = journal
        done = threading.Event()
        pool.new_worker(0.01, poll, name="poll", max_count=2, finished=done.set).start()
        done.wait(10)
    journal = Journal(path, label="second.ipynb")
    entered = threading.Event()
    pool = WorkerPool()
    pool.recorder = journal
    pool.new_actor(poll, name="poll").start().result(timeout=10)
    pool.new_actor(lambda: (entered.set(), threading.Event().wait()), name="long").start()
    entered.wait(10)
    journal.flush(10)
    # As after a kill: nothing is closed, and what is written stands in the write-ahead file.
    outside = sqlite3.connect(path)
    outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
