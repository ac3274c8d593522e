"""Names, errors, output and files that mean harm, where the magics show them as text."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from bgpool_jupyter.table import log_text

#: What steers a terminal, or hides what is there: everything but text, line ends, tabs, returns and colours.
STEERING = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")

TEXTS = {
    "clear": "a\x1b[2J\x1b[Hb",
    "title": "a\x1b]0;pwned\x07b",
    "clipboard": "a\x1b]52;c;cm0gLXJmIH4=\x07b",
    "link": "a\x1b]8;;http://evil.invalid\x1b\\b\x1b]8;;\x1b\\",
    "report": "a\x1b[6n\x1b[c\x1bZb",
    "key": "a\x1bP+q544e\x1b\\b",
    "eight bits": "a\x9b2Jb\x9d0;pwned\x9c",
    "bell": "a\x07\x07b",
    "backspace": "safe\x08\x08\x08\x08evil",
    "up": "a\x1b[1A\x1b[2Kb",
    "colour": "a\x1b[31mred\x1b[0m\x1b[?1049hb",
    "colour without end": "a\x1b[8mhidden",
    "null": "a\x00b",
    "direction": "a\u202egnp.exe\u2066b",
    "separators": "a\u2028b\u2029c",
}


def harmless(text: str) -> bool:
    return not STEERING.search(COLOUR.sub("", text))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_log_text_keeps_what_is_text(text: str) -> None:
    shown = log_text(f"before\n{text}\nafter")
    assert harmless(shown)
    assert shown.split("\n")[0] == "before"
    assert "pwned" not in text or "pwned" in shown
    assert shown.replace("\x1b[0m", "").endswith("\nafter")


def test_log_text_leaves_ordinary_output_alone() -> None:
    ordinary = "naïve 漢字 👩‍💻\n\t10 %\r100 %\n"
    assert log_text(ordinary) == ordinary
    assert log_text("\x1b[1;31mError\x1b[0m: x") == "\x1b[1;31mError\x1b[0m: x"
    assert log_text("\x1b[1mbold") == "\x1b[1mbold\x1b[0m", "a colour ends with the text"


@pytest.fixture(params=TEXTS.values(), ids=list(TEXTS))
def hostile(request, notebook, capsys):
    """A worker and a job that are called so, print it, and raise it."""
    text = request.param

    def attack():
        print(text)
        raise ValueError(text)

    def job():
        print(text)
        raise ValueError(text)

    notebook.pool.new_worker(10, attack, name=text, dispose=False).start()
    notebook.pool.new_worker(10, lambda: text, name=f"value {text}", dispose=False).start()
    notebook.pool.run_job(job, name=text)
    notebook.advance(0)
    capsys.readouterr()
    return notebook


@pytest.mark.parametrize(
    "line", ["", "history", "jobs", "preview", "stack", "log *", "export", "stop", "start", "remove *"]
)
def test_no_verb_lets_a_text_steer_the_terminal(hostile, capsys, line):
    value = hostile.run(f"%bgpool {line}")
    shown = capsys.readouterr().out + (repr(value) if value is not None else "")
    assert harmless(shown)
    assert len(shown) > 5
    if value is not None:
        page = value._repr_html_()
        assert harmless(page)
        assert "\x1b" not in page


def test_wrong_name_does_not_steer_the_terminal(hostile):
    message = hostile.refused("%bgpool stop nobody")
    assert harmless(message)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_logger_is_told_harmless_text(pool, caplog, text):
    def attack():
        raise ValueError(f"{text}\n%s %(name)s {{0}}")

    told = []
    pool.new_worker(10, attack, name=text, dispose=False).start()
    pool.clock.advance(0)
    pool.set_logger(told.append)
    pool.clock.advance(10)
    assert len(told) == len(caplog.messages) == 1
    for message in (*told, caplog.messages[0]):
        assert harmless(message)
        assert "%s %(name)s {0}" in message


# ------------------------------------------------------------------------------------------------ load

HOSTILE_CELLS = {
    "top level": "ran.append(1)",
    "beside a magic": "ran.append(1)\n%bgworker -n beside 1s pass",
    "body": "%%bgworker -n body 1s\nran.append(1)",
    "job": "%bgjob ran.append(1)",
    "data": "%bgworker -n data --data ran.append(1) 1s pass",
    "finished": "%bgworker -n finished --finished ran.append(1) 1s pass",
    "expression": "%bgworker -n expression 1s (lambda: ran.append(1))()",
    "default": "%%bgworker -n default 1s\ndef f(x=ran.append(1)): pass",
    "system": "!touch ran",
    "system in the body": "%%bgworker -n system 1s\n!touch ran",
    "magic": "%run evil.py",
    "writefile": "%%writefile ran\nx",
    "call": "get_ipython().run_line_magic('bgworker', ran.append(1) or '-n call 1s pass')",
    "interval": "%bgworker -n interval {ran.append(1)} pass",
    "module": "%load_ext evil",
    "reset": "%reset -f",
    "now": "%bgworker -n now --cron '* * * * *' ran.append(1)",
    "decorator": "@ran.append\ndef f(): pass\n%bgworker -n decorator 1s f",
}


@pytest.mark.parametrize("cell", HOSTILE_CELLS.values(), ids=HOSTILE_CELLS.keys())
@pytest.mark.parametrize("kind", ["py", "ipynb"])
def test_load_runs_nothing(notebook, tmp_path, monkeypatch, capsys, cell, kind):
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    notebook.namespace["ran"] = ran = []
    if kind == "py":
        Path("f.py").write_text(f"# %%\n{cell}\n", encoding="utf-8")
    else:
        code = {"cell_type": "code", "source": cell, "metadata": {}, "outputs": []}
        Path("f.ipynb").write_text(json.dumps({"nbformat": 4, "cells": [code]}), encoding="utf-8")
    result = notebook.shell.run_cell(f"%bgpool load f.{kind}")
    assert result.error_in_exec is None or type(result.error_in_exec).__name__ == "UsageError"
    workers = notebook.pool.find_workers()
    notebook.advance(3600)
    assert ran == []
    assert {worker.status for worker in workers} <= {"paused"}
    assert sum(worker.run_count for worker in workers) == 0
    assert not Path("ran").exists()
    assert notebook.namespace["ran"] is ran
    assert notebook.pool.jobs() == []


NOT_FILES = {
    "pickle": ("f.ipynb", b"\x80\x04cos\nsystem\n(S'touch ran'\ntR."),
    "bytes": ("f.py", bytes(range(256))),
    "null": ("f.py", b"%bgworker 1s pass\x00"),
    "nested JSON": ("f.ipynb", b"[" * 100_000),
    "nested cells": ("f.ipynb", b'{"nbformat": 4, "cells": ' + b"[" * 900 + b"]" * 900 + b"}"),
    "cells of objects": ("f.ipynb", b'{"nbformat": 4, "cells": {"__proto__": 1}}'),
    "source of numbers": ("f.ipynb", b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1, {}]}]}'),
    "huge number": ("f.ipynb", b'{"nbformat": ' + b"9" * 5000 + b"}"),
    "lone surrogate": (
        "f.ipynb",
        rb'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "%bgworker \ud800 1s pass"}]}',
    ),
    "escapes": ("f.py", b"%bgworker -n \x1b]0;x\x07 \x1b[2J pass"),
    "nested code": ("f.py", b"%bgworker 1s " + b"(" * 5000),
}


@pytest.mark.parametrize(("name", "content"), NOT_FILES.values(), ids=NOT_FILES.keys())
def test_file_that_is_none_is_one_harmless_sentence(notebook, tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    message = notebook.refused(f"%bgpool load {name}")
    assert harmless(message)
    assert 10 < len(message) < 600


# ---------------------------------------------------------------------------------------- files of ours


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_export_makes_a_file_as_an_editor_would_and_keeps_the_rights_of_one(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        notebook.run("%bgworker -n a 1s pass")
        notebook.run("%bgpool export --to new.py")
        assert mode(Path("new.py")) == 0o640
        Path("new.py").chmod(0o600)
        notebook.run("%bgpool export --to new.py --force")
        assert mode(Path("new.py")) == 0o600
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_export_writes_through_no_link(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("victim").write_text("precious", encoding="utf-8")
    Path("link.py").symlink_to("victim")
    Path("dangling.py").symlink_to("made")
    notebook.run("%bgworker -n a 1s pass")
    assert "link.py" in notebook.refused("%bgpool export --to link.py")
    assert "dangling.py" in notebook.refused("%bgpool export --to dangling.py")
    notebook.run("%bgpool export --to link.py --force")
    assert Path("victim").read_text(encoding="utf-8") == "precious"
    assert not Path("made").exists()
    assert not Path("link.py").is_symlink()


@pytest.mark.parametrize("name", ["f.txt", "f", ".bashrc", "../.profile", "f.pyc", "~", ""])
def test_export_writes_only_files_of_cells(notebook, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    notebook.run("%bgworker -n a 1s pass")
    before = sorted(tmp_path.parent.rglob("*"))
    notebook.refused(f"%bgpool export --to '{name}'")
    assert sorted(tmp_path.parent.rglob("*")) == before
