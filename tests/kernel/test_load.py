"""Workers written into files and loaded from them, and files that are not what they seem."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from bgpool_jupyter.panel.commands import Command, perform
from tests.kernel.driver import Kernel
from tests.kernel.test_export import LINES, look

EXTENSIONS = ["py", "ipynb"]

#: A body that no file format may change.
HARD = "%%bgworker -n hard 1h\n# %%\nif True:\n    text = '''\n# %% [markdown]\n'''\ntext"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_py(path, *cells):
    path.write_text("".join(f"# %%\n{cell}\n\n" for cell in cells), encoding="utf-8")


def write_ipynb(path, *cells):
    made = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "id": "x"} for cell in cells]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}), encoding="utf-8")


WRITERS = {"py": write_py, "ipynb": write_ipynb}


@pytest.fixture(params=EXTENSIONS)
def write(request, folder):
    """Write cells into `jobs.py` or `jobs.ipynb`, and return the name."""

    def write(*cells):
        path = folder / f"jobs.{request.param}"
        WRITERS[request.param](path, *cells)
        return path.name

    return write


# -- there and back


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_was_written_is_loaded_and_runs_alike(notebook, folder, capsys, extension):
    for line in [*LINES, HARD]:
        notebook.run(line)
    before = [look(worker) for worker in notebook.pool.find_workers()]
    capsys.readouterr()
    notebook.run("%bgpool export")
    magics = capsys.readouterr().out
    notebook.run(f"%bgpool export --to all.{extension}")
    assert capsys.readouterr().out == f"wrote {len(before)} workers to all.{extension}\n"
    notebook.run("%bgpool remove *")
    capsys.readouterr()
    workers = notebook.run(f"%bgpool load all.{extension}")
    loaded = f"loaded {len(before)} workers from all.{extension}, paused; %bgpool resume NAME lets one run\n"
    assert capsys.readouterr().out.startswith(loaded)
    assert {worker.status for worker in workers} == {"paused"}
    assert {worker.pause_reason for worker in workers} == {f"loaded from all.{extension}, has not run yet"}
    notebook.run("%bgpool export")
    assert capsys.readouterr().out == magics
    notebook.advance(100 * 3600)
    assert [worker.run_count for worker in workers] == [0] * len(before), "nothing runs by itself"
    notebook.run("%bgpool resume")
    notebook.advance(120)
    later = ["at it", "both", "from", "late-once", "cron"]
    assert [worker.name for worker in workers if not worker.run_count] == later, "their time has not come"
    assert [look(worker) for worker in workers if worker.run_count] == [each for each in before if each[0] not in later]


def test_notebook_is_valid(notebook, folder):
    notebook.run("%bgworker -n line 5s 1")
    notebook.run(HARD)
    notebook.pool.new_worker(2, print, name="from python")
    notebook.run("%bgpool export --to all.ipynb")
    made = nbformat.read(folder / "all.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(made)
    assert (made.nbformat, made.nbformat_minor) == (4, 5)
    assert [cell.source.split("\n", 1)[0] for cell in made.cells] == [
        "# Background workers, written by %bgpool export.",
        "%bgworker --name line 5s 1",
        "get_ipython().run_cell_magic(\"bgworker\", '--name hard 1h', (",
        "# from python (every 2 s) was made from Python: no magic can make it",
    ]


def test_python_file(notebook, folder, capsys):
    notebook.run("%bgworker -n line 5s 1")
    notebook.run("%%bgworker -n body 1m\nx = 1\n\nx")
    notebook.pool.new_worker(2, print, name="from python")
    capsys.readouterr()
    notebook.run("%bgpool export --to all.py")
    assert capsys.readouterr().out == "wrote 2 workers to all.py; 1 made from Python stands there as a comment\n"
    assert (folder / "all.py").read_text() == (
        "# %%\n"
        "# Background workers, written by %bgpool export.\n"
        "# %bgpool load FILE registers them paused; these cells, run as they stand, start them.\n"
        "%load_ext bgpool_jupyter\n"
        "\n"
        "# %%\n"
        "%bgworker --name line 5s 1\n"
        "\n"
        "# %%\n"
        "%%bgworker --name body 1m\n"
        "x = 1\n"
        "\n"
        "x\n"
        "\n"
        "# %%\n"
        "# from python (every 2 s) was made from Python: no magic can make it\n"
    )


def test_instants_are_those_of_the_day_of_writing(notebook, folder, capsys):
    notebook.run("%bgworker -n w --until 23:59 5s 1")
    notebook.run("%bgactor -n a --at 23:59 1")
    before = [worker.until or worker.at for worker in notebook.pool.find_workers()]
    notebook.run("%bgpool export --to all.py")
    notebook.run("%bgpool remove *")
    capsys.readouterr()
    notebook.advance(60)
    assert [worker.until or worker.at for worker in notebook.run("%bgpool load all.py")] == before
    notebook.advance(2 * 86400)
    capsys.readouterr()
    notebook.run("%bgpool export")
    assert "# the --until of w has passed" in capsys.readouterr().out
    notebook.run("%bgpool export --to old.py")
    notebook.run("%bgpool remove *")
    capsys.readouterr()
    assert [worker.name for worker in notebook.run("%bgpool load old.py")] == ["a"]
    shown = capsys.readouterr().out
    assert "left out: w, its --until " in shown
    assert "the --at of a has passed: it runs once it is resumed" in shown


def test_instants_that_passed_too_long_ago(notebook, folder, capsys):
    notebook.run("%bgactor -n a --at 23:59 --max-lateness 1h 1")
    notebook.run("%bgworker -n w --at 23:59 1h 1")
    notebook.advance(10)
    notebook.run("%bgpool export --to all.py")
    notebook.run("%bgpool remove *")
    notebook.pool.clock.sleep(2 * 86400)
    capsys.readouterr()
    actor, worker = notebook.run("%bgpool load all.py")
    assert "the --at of a has passed: it ends without a run once it is resumed" in capsys.readouterr().out
    notebook.run("%bgpool export")
    assert "# the --at of a has passed: it would end without a run\n" in capsys.readouterr().out
    notebook.run("%bgpool resume")
    notebook.advance(3600)
    assert (actor.run_count, actor.missed_count) == (0, 1)
    assert (worker.run_count, worker.missed_count) == (1, 0), "the next slot of its grid"


def test_a_file_that_is_there_is_not_replaced(notebook, folder):
    notebook.run("%bgworker -n w 5s 1")
    (folder / "a.py").write_text("mine")
    (folder / "link.py").symlink_to("a.py")
    (folder / "dangling.py").symlink_to("nowhere.py")
    (folder / "folder.py").mkdir()
    for name in ("a.py", "link.py", "dangling.py"):
        assert "is there already" in notebook.refused(f"%bgpool export --to {name}")
    assert "is a folder" in notebook.refused("%bgpool export --to folder.py --force")
    assert "cannot be written" in notebook.refused("%bgpool export --to missing/a.py")
    assert "must end in .py or .ipynb" in notebook.refused("%bgpool export --to a.txt")
    assert "--to FILE" in notebook.refused("%bgpool export --force")
    assert "belongs to export" in notebook.refused("%bgpool load a.py --force")
    assert "belongs to load" in notebook.refused("%bgpool export --exists keep")
    assert (folder / "a.py").read_text() == "mine"
    notebook.run("%bgpool export --to link.py --force")
    assert (folder / "a.py").read_text() == "mine", "a link is replaced and not followed"
    (folder / "a.py").chmod(0o640)
    notebook.run("%bgpool export --force --to a.py")
    assert "bgworker" in (folder / "a.py").read_text()
    assert (folder / "a.py").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in folder.iterdir()) == ["a.py", "dangling.py", "folder.py", "link.py"], (
        "nothing is left beside"
    )


# -- what is loaded


def test_nothing_of_a_file_is_run_before_somebody_says_so(notebook, write, capsys):
    name = write(
        "ran = ['import']",
        "%bgworker -n line --data ran.append('data') --finished ran.append 1s ran.append('line')",
        "%%bgworker -n body 1s\nran.append('body')",
        "%bgworker -n function 1s ran.append",
        "%bgjob ran.append('job')\n!touch touched",
        "if True:\n    %bgworker -n nested 1s 1\nw = %bgworker -n assigned 1s 1",
        "text = '''\n%bgworker -n quoted 1s 1\n'''",
        "get_ipython().run_line_magic('bgworker', ran.append('argument'))",
    )
    notebook.namespace["ran"] = ran = []
    workers = notebook.run(f"%bgpool load {name}")
    notebook.advance(60)
    assert ran == []
    assert not Path("touched").exists()
    assert [worker.name for worker in workers] == ["line", "body", "function"]
    shown = capsys.readouterr().out
    assert (
        "left out, because only workers are loaded: cell 1 (ran = ['import']), cell 5 (%bgjob ran.append('job'))"
        in shown
    )
    assert [number for number in range(9) if f"cell {number} (" in shown] == [1, 5, 6, 7, 8]
    notebook.run("%bgpool stop")
    notebook.run("%bgpool remove *")
    assert ran == [], "nor what --finished says, for a worker that never ran"


def test_a_loaded_worker_that_has_run_does_not_say_that_it_has_not(notebook, write):
    [worker] = notebook.run(f"%bgpool load {write('%bgworker -n w 1h 1')}")
    assert worker.pause_reason.endswith(", has not run yet")
    notebook.run("%bgpool run w")
    notebook.advance(1)
    assert (worker.run_count, worker.status) == (1, "paused")
    assert worker.pause_reason.startswith("loaded from ")
    assert "has not run yet" not in repr(notebook.run("%bgpool"))


def test_resume_begins_as_a_start_does(notebook, write):
    notebook.namespace["ran"] = ran = []
    name = write(
        "%bgworker -n w --data 6*7 --finished print 1h ran.append((_data, _worker.name))",
        "%bgactor -n later --delay 10s ran.append('later')",
    )
    notebook.run(f"%bgpool load {name}")
    notebook.advance(1800)
    notebook.run("%bgpool resume")
    notebook.advance(0)
    assert ran == [(42, "w")], "at once, not at the next full hour after loading"
    notebook.advance(10)
    assert ran == [(42, "w"), "later"], "the delay counts from now"
    notebook.advance(3590)
    assert ran[2:] == [(42, "w")]
    worker = notebook.pool.find_workers("w")[0]
    assert (worker.data, worker.finished, worker.pause_reason) == (42, print, "")


def test_start_and_a_plain_unpause_let_them_run_too(notebook, write):
    notebook.namespace["ran"] = ran = []
    notebook.run(f"%bgpool load {write('%bgworker -n a 1s ran.append(1)', '%bgworker -n b 1s ran.append(2)')}")
    assert [worker.name for worker in notebook.run("%bgpool start a")] == ["a"]
    notebook.pool.find_workers("b")[0].unpause()
    notebook.advance(1)
    assert sorted(ran) == [1, 1, 2, 2]


@pytest.mark.parametrize(("verb", "answer"), [("start", "Started 1"), ("resume", "Resumed 1")])
def test_the_panel_lets_them_begin_as_a_start_does(notebook, write, verb, answer):
    [worker] = notebook.run("%bgpool load " + write("%bgworker -n poll 1h 1"))
    notebook.advance(600)
    assert perform(notebook.pool, Command("t", verb, (worker.id,))) == (True, answer)
    notebook.advance(0)
    assert (worker.status, worker.run_count, worker.pause_reason) == ("waiting", 1, "")
    worker.pause()  # it has run: from now on it is a paused worker like any other
    assert perform(notebook.pool, Command("t", "start", (worker.id,))) == (True, "Started 0 of 1; 1 already started")
    notebook.advance(10 * 3600)
    assert perform(notebook.pool, Command("t", "resume", (worker.id,))) == (True, "Resumed 1")
    assert worker.run_count == 1


def test_functions_are_looked_up_in_the_first_run(notebook, write):
    name = write("%bgworker -n f --finished done 1s poll", "%bgworker -n missing 1s nobody")
    notebook.run(f"%bgpool load {name}")
    notebook.run("ended = []\ndef poll(*, _worker, _data=5): return _worker.name, _data\ndef done(): ended.append(1)")
    notebook.run("%bgpool resume")
    notebook.advance(3)
    first, missing = notebook.pool.find_workers()
    assert first.last_value == ("f", None)
    assert (missing.status, missing.failure_count) == ("paused", 1), "it does not fail every second"
    assert "'nobody' cannot be evaluated: NameError" in missing.pause_reason
    notebook.run("nobody = lambda: 'there'")
    notebook.run("%bgpool resume missing")
    notebook.advance(1)
    assert missing.last_value == "there"
    notebook.run("%bgpool stop f")
    notebook.advance(0)
    assert notebook.namespace["ended"] == [1]


def test_a_coroutine_and_a_value_of_False(notebook, write):
    name = write("%bgworker -n waits 1s wait", "%bgactor -n ends 1 > 2", "%%bgworker -n body 1s\nawait wait()")
    notebook.run(f"%bgpool load {name}")
    notebook.run("async def wait(): return 'waited'")
    notebook.run("%bgpool resume")
    notebook.advance(1)
    assert [w.last_value for w in notebook.pool.find_workers()] == ["waited", False, "waited"]


def test_no_start_stays_so(notebook, write):
    (worker,) = notebook.run(f"%bgpool load {write('%bgworker -n w --no-start 1s 1')}")
    assert worker.status == "new"
    notebook.run("%bgpool start w")
    notebook.advance(0)
    assert worker.run_count == 1


def test_a_suspended_pool_stays_suspended(notebook, write):
    notebook.pool.suspend()
    (worker,) = notebook.run(f"%bgpool load {write('%bgworker -n w 1s 1')}")
    notebook.run("%bgpool resume w")
    notebook.advance(10)
    assert worker.run_count == 0
    notebook.run("%bgpool resume")
    notebook.advance(10)
    assert worker.run_count


def test_tracebacks_name_the_file(notebook, write):
    name = write("1", "%%bgworker -n w 1h\n\n1 / 0")
    (worker,) = notebook.run(f"%bgpool load {name}")
    notebook.run("%bgpool resume")
    notebook.advance(0)
    assert f"In[{name} cell 2], line 3" in worker.last_error.traceback.replace("Cell ", "")
    assert "1 / 0" in worker.last_error.traceback


def test_names(notebook, write):
    name = write("%bgworker 1s poll()\n%bgworker 1s poll()", "%%bgworker 1s\n1", "%bgworker 1s poll()")
    assert [w.name for w in notebook.run(f"%bgpool load {name}")] == ["poll", "poll-2", "cell-2", "poll-3"]
    again = notebook.run(f"%bgpool load {name}")
    assert [w.name for w in notebook.pool.find_workers()] == ["poll", "poll-2", "cell-2", "poll-3"]
    assert notebook.pool.find_workers() == list(again), "the file replaces its own"


@pytest.mark.parametrize("option", ["replace", "keep", "error"])
def test_names_that_are_there(notebook, write, option, capsys):
    old = notebook.run("%bgworker -n a 1h 1")
    name = write("%bgworker -n a 1s 1", "%bgworker -n b 1s 1", "%bgworker -n b 2s 2")
    if option == "error":
        assert notebook.refused(f"%bgpool load {name} --exists error") == (
            f"{name}, cell 1: there is a worker 'a' already; load it with --exists replace or keep; nothing was loaded"
        )
        return
    notebook.run(f"%bgpool load {name} --exists {option}")
    made = [(worker.name, worker.interval) for worker in notebook.pool.find_workers()]
    if option == "keep":
        assert notebook.pool.find_workers("a") == [old]
        assert made == [("a", 3600), ("b", 1)]
        assert "kept, because they are there already: a, b\n" in capsys.readouterr().out
    else:
        assert made == [("a", 1), ("b", 2)]


def test_exists_of_a_magic_counts_for_it(notebook, write):
    old = notebook.run("%bgworker -n a 1h 1")
    name = write("%bgworker -n a --exists keep 1s 1", "%bgworker -n c 1s 1", "%bgworker -n c --exists error 1s 1")
    assert "cell 3: there is a worker 'c' already" in notebook.refused(f"%bgpool load {name}")
    notebook.run(f"%bgpool load {name} --exists replace")
    assert old not in notebook.pool.find_workers()


# -- what is refused


WRONG = {
    "syntax": ("%%bgworker -n w 1s\nx = = 1", "cell 2: line 2: SyntaxError: invalid syntax"),
    "line syntax": ("%bgworker -n w 1s x = = 1", "cell 2: line 1: SyntaxError: invalid syntax"),
    "option": ("%bgworker --nme w 1s 1", "cell 2: unknown option '--nme'; did you mean --name?"),
    "interval": ("%bgworker 5 1", "cell 2: INTERVAL needs a unit"),
    "empty": ("%%bgworker 1s\n# nothing", "cell 2: the cell of %%bgworker is empty"),
    "cron": ("%bgworker --cron '61 * * * *' 1", "cell 2: --cron"),
    "at": ("%bgactor --at never 1", "cell 2: --at must be a time"),
    "both": ("%bgactor --at 12:00 --delay 1s 1", "cell 2: --delay and --at cannot both be given"),
    "name": (
        "get_ipython().run_line_magic('bgworker', '-n \"a\\nb\" 1s 1')",
        "cell 2: --name 'a\\nb' has more than one",
    ),
    "null": ("%%bgworker 1s\n'\0'", "cell 2:"),
    "surrogate": ("get_ipython().run_line_magic('bgworker', '1s \\ud800 = 1')", "cell 2:"),
    "nested": ("%bgworker 1s " + "(" * 5000 + ")" * 5000, "cell 2:"),
    "deep": ("%bgworker 1s " + "-" * 50_000 + "1", "cell 2:"),
    "no code": ("%bgworker 1s 1\nthis is = = not code", "cell 2: it is no code"),
    "huge": ("%bgworker 1s 1\n" + "#" * 2**20, "cell 2: it has more than 1,048,576 characters"),
    "help": ("%bgworker --help", "cell 2: it asks for help"),
}


@pytest.mark.parametrize(("cell", "why"), WRONG.values(), ids=WRONG)
def test_one_wrong_magic_and_nothing_is_loaded(notebook, write, cell, why):
    old = notebook.run("%bgworker -n first 1h 1")
    name = write("%bgworker -n first 1s 1", cell, "%bgworker -n last 1s 1")
    message = notebook.refused(f"%bgpool load {name}")
    assert message.startswith(f"{name}, {why}")
    assert message.endswith("; nothing was loaded")
    assert len(message) < 400
    assert notebook.pool.find_workers() == [old]


FILES = {
    "missing.py": (None, "cannot be read: No such file or directory"),
    "name\x00.py": (None, "cannot be read: embedded null byte"),
    "binary.py": (bytes(range(256)), "cannot be read: 'utf-8' codec"),
    "utf16.ipynb": ("{}".encode("utf-16"), "cannot be read: 'utf-8' codec"),
    "text.ipynb": (b"hello", "is no notebook: it is not JSON"),
    "empty.ipynb": (b"", "is no notebook: it is not JSON"),
    "deep.ipynb": (b"[" * 200_000, "is no notebook: it is not JSON"),
    "digits.ipynb": (b"1" * 10_000, "is no notebook: it is not JSON"),
    "list.ipynb": (b"[]", "is no notebook: nbformat or cells"),
    "object.ipynb": (b"{}", "is no notebook: nbformat or cells"),
    "bool.ipynb": (b'{"nbformat": true, "cells": []}', "is no notebook: nbformat or cells"),
    "cells.ipynb": (b'{"nbformat": 4, "cells": {}}', "is no notebook: nbformat or cells"),
    "old.ipynb": (b'{"nbformat": 3, "worksheets": []}', "has the notebook format 3, not 4"),
    "strings.ipynb": (b'{"nbformat": 4, "cells": ["a"]}', "cell 1 has no cell_type"),
    "source.ipynb": (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}', "cell 1 has no cell_type"),
    "lines.ipynb": (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a", 5]}]}', "cell 1 has no"),
    "kind.ipynb": (b'{"nbformat": 4, "cells": [{"cell_type": ["code"], "source": ""}]}', "cell 1 has no"),
    "pickle.pkl": (b"cos\nsystem\n(S'touch touched'\ntR.", "must end in .py or .ipynb"),
    "pickle.py": (b"\x80\x04cos\nsystem\n(S'touch touched'\ntR.", "cannot be read"),
    "~nobody-of-that-name/a.py": (None, "cannot be read"),
}


@pytest.mark.parametrize(("name", "content", "why"), [(n, c, w) for n, (c, w) in FILES.items()], ids=map(repr, FILES))
def test_files_that_are_none(notebook, folder, name, content, why):
    if content is not None:
        (folder / name).write_bytes(content)
    assert why in notebook.refused(f"%bgpool load '{name}'")
    assert not (folder / "touched").exists()


def test_what_is_no_file(notebook, folder):
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "zero.py").symlink_to("/dev/zero")
    for name in ("folder.py", "pipe.py", "loop.py", "zero.py"):
        begin = time.monotonic()
        assert "cannot be read" in notebook.refused(f"%bgpool load {name}")
        assert time.monotonic() - begin < 5
    assert "takes one FILE" in notebook.refused("%bgpool load")
    assert "takes one FILE" in notebook.refused("%bgpool load a.py b.py")
    with (folder / "huge.py").open("wb") as stream:
        stream.truncate(40 * 2**20)
    assert "has more than 32 MB" in notebook.refused("%bgpool load huge.py")


def test_a_link_to_a_file_is_read(notebook, folder):
    write_py(folder / "real.py", "%bgworker -n w 1s 1")
    (folder / "link.py").symlink_to("real.py")
    assert len(notebook.run("%bgpool load link.py")) == 1


def test_10_000_cells(notebook, write, capsys):
    name = write(*["import os"] * 9_999, "%bgworker -n w 1s 1")
    begin = time.monotonic()
    assert len(notebook.run(f"%bgpool load {name}")) == 1
    assert time.monotonic() - begin < 10
    shown = capsys.readouterr().out
    assert "cell 5 (import os) and 9,994 more\n" in shown
    assert len(shown) < 800


def test_too_many_workers(notebook, write):
    name = write(*[f"%bgworker -n w{n} 1s 1" for n in range(1001)])
    assert "cell 1001: a file may have 1,000 workers" in notebook.refused(f"%bgpool load {name}")


def test_a_file_without_workers(notebook, write, capsys):
    assert notebook.run(f"%bgpool load {write('# nothing', '')}") == []
    assert capsys.readouterr().out.startswith("no workers were loaded from jobs.")


def test_python_files_of_people(notebook, folder):
    (folder / "a.py").write_bytes(
        '\ufeff"""Jobs."""\r\nimport os\r\n#%% Title\r\n%bgworker -n a \\\r\n   1s 1\r\n'
        "# %% [markdown]\r\n# %bgworker\r\n# %%\r\n\r\n%%bgactor -n b\r\n1\r\n".encode()
    )
    assert [worker.name for worker in notebook.run("%bgpool load a.py")] == ["a", "b"]
    (folder / "plain.py").write_text("%load_ext bgpool_jupyter\n%bgworker -n c 1s 1\n%bgworker -n d 1s 1")
    assert [worker.name for worker in notebook.run("%bgpool load plain.py")] == ["c", "d"]


def test_the_pool_refuses_in_the_middle(notebook, write, monkeypatch):
    old = notebook.run("%bgworker -n a 1h 1")
    name = write("%bgworker -n a 1s 1", "%bgworker -n b 1s 1")
    whole = notebook.pool.suspend
    calls = SimpleNamespace(count=0)

    def suspend():
        calls.count += 1
        if calls.count > 1:
            raise KeyboardInterrupt
        whole()

    monkeypatch.setattr(notebook.pool, "suspend", suspend)
    with pytest.raises(KeyboardInterrupt):
        notebook.run(f"%bgpool load {name}")
    assert notebook.pool.find_workers() == [old]
    assert old.running


def test_from_one_kernel_to_the_next(folder):
    """What was written in one kernel is loaded in another: same schedule, same options, same behaviour."""
    path = folder / "all.ipynb"
    cell = "%%bgworker -n body --max-count 3 --fixed-delay 20ms\nseen.append('body')\nlen(seen)"
    look_at = (
        "for w in pool().find_workers():\n"
        "    print(w.name, w.schedule, w.max_count, w.run_on_time, w.jitter, w.timeout, w.max_failures, w.dispose, "
        "w.source.split()[0])"
    )
    shown = []
    for number in range(2):
        kernel = Kernel()
        try:
            kernel.run("%load_ext bgpool_jupyter\nimport bgpool_jupyter\npool = bgpool_jupyter.default_pool\nseen = []")
            if number == 0:
                kernel.run(cell, cell_id="a")
                kernel.run("%bgworker -n poll --timeout 5s --jitter 1ms --data 6*7 20ms poll\ndef poll(): pass")
                kernel.run("def poll(_data): return _data")
                kernel.run("%bgworker -n poll --timeout 5s --jitter 1ms --data 6*7 20ms poll")
                assert kernel.run(f"%bgpool export --to {path}").stdout == f"wrote 2 workers to {path}\n"
            else:
                answer = kernel.run(f"%bgpool load {path}", cell_id="a")
                assert answer.stdout.startswith("loaded 2 workers from all.ipynb, paused")
                assert str(answer.value).count("‖ paused") == 2
                kernel.run("%bgworker -n other 20ms 1")
                kernel.until("pool().find_workers('other')[0].run_count > 3")
                kernel.run("%bgpool remove other")
                assert kernel.run("[w.run_count for w in pool().find_workers()], seen").value == "([0, 0], [])"
                kernel.run("def poll(_data): return _data")
                kernel.run("%bgpool resume")
            kernel.until("all(w.run_count >= 3 for w in pool().find_workers())")
            values = "{w.name: w.last_value for w in pool().find_workers()}, seen"
            assert kernel.run(values).value == "({'body': 3, 'poll': 42}, ['body', 'body', 'body'])"
            shown.append(kernel.run(look_at).stdout)
        finally:
            kernel.close()
    assert shown[0] == shown[1]
    assert shown[0].startswith("body 20 ms after each 3 False ")
