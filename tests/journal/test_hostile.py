"""A journal that somebody else made: what it holds is shown as text, or refused in one sentence."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bgpool_jupyter.engine import PoolError
from bgpool_jupyter.journal import Journal, JournalRun, frame, prepare, runs, size
from bgpool_jupyter.kernel.past import JournalTable
from bgpool_jupyter.testing import make_pool

STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

TABLES: dict[str, dict[str, Any]] = {
    "session": {"id": 1, "pid": 1, "host": "h", "label": "n.ipynb", "started": 1.7e9, "closed": 1.7e9},
    "worker": {"id": 1, "session": 1, "name": "poll"},
    "run": {
        "id": 1, "worker": 1, "number": 1, "attempt": 1, "due": 1.7e9, "started": 1.7e9, "duration": 0.5,
        "outcome": "failed", "value": "x",
    },
    "text": {
        "run": 1, "value": "x", "error": "x", "message": "x", "traceback": "x", "stdout": "x", "stderr": "x",
        "display": "x",
    },
}  # fmt: skip
#: What leads from one table to another: with another value there is no run to be shown.
KEYS = {"id", "session", "worker", "run"}
COLUMNS = [(table, column) for table, row in TABLES.items() for column in row if column not in KEYS]

VALUES = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "style": "</style></table><script>alert(1)</script>",
    "terminal": "a\x1b[2J\x1b]0;pwned\x07\x9b2J\x00b",
    "direction": "a\u202eb\u2028c",
    "lines": "a\nb\r\nc",
    "long": "x" * 300_000,
    "formula": "$\\href{javascript:alert(1)}{x}$",
    "bytes": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "huge": 2**63 - 1,
    "negative": -(2**63),
    "infinite": float("inf"),
    "far": 1e300,
    "empty": "",
}


def write(path: Path, *changes: tuple[str, str, Any]) -> Path:
    """Make a journal with a run for each of `changes`: the table and the column that have another value, and that."""
    prepare(path)
    connection = sqlite3.connect(path)
    for count, (changed, column, value) in enumerate(changes or [("run", "number", 1)], 1):
        for table, row in TABLES.items():
            values = row | {key: count for key in KEYS if key in row}
            if table == changed:
                values[column] = value
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))  # noqa: S608
    connection.commit()
    connection.close()
    return path


class Tags(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}


def assert_shown_harmlessly(found: list[JournalRun]) -> None:
    table = JournalTable(found)
    assert not STEERING.search(repr(table))
    assert max(map(len, repr(table).splitlines())) < 300
    tags = Tags()
    tags.feed(table._repr_html_())
    assert tags.seen <= {"style", "table", "thead", "tbody", "tr", "th", "td", "p", "class", "title"}
    assert not STEERING.search(table._repr_html_())


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_any_value_in_any_column_is_shown_as_text(tmp_path: Path, value: Any) -> None:
    path = write(tmp_path / "j.sqlite", *((table, column, value) for table, column in COLUMNS))
    found = runs(path=path)
    assert len(found) == len(COLUMNS)
    for run in found:
        texts = (run.name, run.kernel, run.outcome, run.value, run.stdout, run.stderr, run.display)
        assert all(isinstance(text, str) for text in texts)
        assert "\n" not in repr(run)
        assert not STEERING.search(repr(run))
    assert_shown_harmlessly(found)
    assert size(path).runs == len(COLUMNS)
    assert len(frame(path=path)) == len(COLUMNS)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_wrong_key_leads_nowhere(tmp_path: Path, value: Any) -> None:
    path = write(tmp_path / "j.sqlite", ("worker", "session", value), ("run", "worker", value))
    assert runs(path=path) == []


NOT_JOURNALS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("import os; os.system('true')"),
    "pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "head alone": lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000),
    "half": lambda path: path.write_bytes(write(path.with_name("other")).read_bytes()[:5000]),
    "directory": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor devices as files")
@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", NOT_JOURNALS.values(), ids=NOT_JOURNALS.keys())
def test_file_that_is_no_journal_is_one_sentence(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "j.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for read in (runs, size):
        with pytest.raises(PoolError) as caught:
            read(path=path)
        assert "\n" not in str(caught.value)
    with make_pool() as pool:
        pool.recorder = Journal(path, warn=lambda text: None)
        worker = pool.new_worker(1, lambda: None, dispose=False).start()
        pool.clock.advance(3)
        assert worker.run_count == 4, "the pool goes on"
        pool.recorder.close(2.0)
    assert (path.read_bytes() if path.is_file() else None) == before, "what is no journal is left as it is"


SCHEMES = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM session; END",
    "trigger with code": "CREATE TRIGGER t AFTER INSERT ON run BEGIN SELECT load_extension('/tmp/x.so'); END",
    "index": "CREATE INDEX i ON run (started)",
    "virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "other table": "CREATE TABLE more (x)",
    "no table": "DROP TABLE text",
    "other columns": "ALTER TABLE run RENAME COLUMN outcome TO result",
    "view": "ALTER TABLE run RENAME TO real; CREATE VIEW run AS SELECT * FROM real",
    "endless view": (
        "DROP TABLE worker; CREATE VIEW worker AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c "
        "LIMIT 100000) SELECT id, 1 AS session, 'x' AS name FROM c"
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
def test_tables_that_are_not_ours_execute_nothing_and_stop_nothing(tmp_path: Path, scheme: str) -> None:
    path = write(tmp_path / "j.sqlite")
    connection = sqlite3.connect(path)
    connection.executescript(scheme)
    connection.close()
    warned: list[str] = []
    with make_pool() as pool:
        pool.recorder = Journal(path, warn=warned.append)
        worker = pool.new_worker(1, lambda: None, dispose=False).start()
        pool.clock.advance(3)
        assert worker.run_count == 4, "the pool goes on"
        pool.recorder.close(5.0)
    assert len(warned) <= 1
    try:
        found = runs(path=path, last=5)
    except PoolError as error:
        warned.append(str(error))
    else:
        assert all(isinstance(run.name, str) for run in found)
    assert all("\n" not in text for text in warned)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_journal_and_its_companions_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "j.sqlite"
    before = os.umask(0)
    try:
        with make_pool() as pool:
            journal = pool.recorder = Journal(path)
            pool.new_worker(1, lambda: None, dispose=False).start()
            pool.clock.advance(3)
            journal.flush()
            modes = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
            assert {"j.sqlite", "j.sqlite-wal"} <= modes.keys()
            assert set(modes.values()) == {"0o600"}
            assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
            journal.close(2.0)
    finally:
        os.umask(before)
