"""Which cell made a worker, and whether it still stands for it: in a real kernel, with the ids that front ends send."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bgpool_jupyter.kernel.naming import line_in_cell
from bgpool_jupyter.kernel.ownership import place
from tests.kernel.driver import Kernel

LOOK = (
    "for w in pool().find_workers(): "
    "print(w.name, w.cell, w.cell_id, w.line, w.interval, w.max_count, repr(w.orphan), sep='|')"
)


@pytest.fixture(scope="module")
def process():
    kernel = Kernel()
    kernel.run("%load_ext bgpool_jupyter\nimport bgpool_jupyter\npool = bgpool_jupyter.default_pool")
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(process):
    yield process
    process.run("%bgpool stop\nfor w in pool().find_workers(): pool().remove(w)")


def workers(kernel):
    """Return what is known of the workers, a tuple of texts each."""
    answer = kernel.run(LOOK)
    assert answer.error is None, answer.error
    return [tuple(line.split("|")) for line in answer.stdout.splitlines()]


def orphans(kernel):
    return {row[0]: row[6][1:-1] for row in workers(kernel)}


def test_worker_knows_its_cell(kernel):
    cell = "\n\n# one\nx = 1\n%bgworker -n a 1h \\\n   1\n\n%bgworker -n b 1h 2"
    count = kernel.run(cell, cell_id="c1").execution_count
    second = kernel.run("\n%%bgworker -n body 1h\n\n1", cell_id="c2").execution_count
    kernel.run("%bgworker -n headless 1h 1")
    assert [row[:4] for row in workers(kernel)] == [
        ("a", str(count), "c1", "5"),
        ("b", str(count), "c1", "8"),
        ("body", str(second), "c2", "2"),
        ("headless", str(second + 1), "None", "1"),
    ]
    kernel.run("%bgpool run a")
    kernel.until("pool().find_workers('a')[0].run_count")
    assert f", done, from Cell In[{count}], line 5\n" in kernel.run("%bgpool log a").stdout
    assert f"In[{second}]" in kernel.run("%bgpool").value


def test_cell_that_is_run_again_replaces_its_worker_with_its_options(kernel):
    kernel.run("def poll(): pass\n%bgworker -x 100 1h poll()", cell_id="c1")
    before = kernel.run("old = pool().find_workers()[0]\nold.run_count").value
    assert before is not None
    again = kernel.run("def poll(): return 2\n%bgworker -x 7 2h poll()", cell_id="c1")
    assert [row[0:1] + row[4:] for row in workers(kernel)] == [("poll", "7200.0", "7", "''")]
    assert again.value == "BackgroundWorker('poll', every 2 h)"
    assert kernel.run("old.running, old is pool().find_workers()[0]").value == "(False, False)"
    kernel.until("pool().find_workers()[0].last_value == 2")


def test_exists_keep_and_error(kernel):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    assert kernel.run("%bgworker -n w --exists keep 2h 2", cell_id="c2").value == "BackgroundWorker('w', every 1 h)"
    assert kernel.run("%bgworker -n w --exists error 2h 2", cell_id="c3").stderr == (
        "UsageError: a worker 'w' exists already; give another name, or --exists replace or keep\n"
    )
    assert [row[:1] + row[2:3] + row[4:] for row in workers(kernel)] == [("w", "c1", "3600.0", "None", "''")]


def test_rename_leaves_an_orphan_until_it_is_defined_again(kernel):
    kernel.run("%bgworker -n old 1h 1\n%bgworker -n other 1h 1", cell_id="c1")
    kernel.run("%bgworker -n elsewhere 1h 1", cell_id="c2")
    assert set(orphans(kernel).values()) == {""}
    count = kernel.run("%bgworker -n new 1h 1\n%bgworker -n other 1h 1", cell_id="c1").execution_count
    why = f"cell In[{count}] no longer defines it"
    assert orphans(kernel) == {"old": why, "elsewhere": "", "new": "", "other": ""}
    table = kernel.run("%bgpool").value
    assert f"⚠ old: {why}; %bgpool remove old takes it out" in table
    assert f"── old (every 1 h): ⚠ {why}; %bgpool remove old" in kernel.run("%bgpool log old").stdout
    kernel.run("%bgworker -n old 1h 1\n%bgworker -n other 1h 1", cell_id="c1")
    assert {name for name, why in orphans(kernel).items() if why} == {"new"}
    kernel.run("%bgpool remove new")
    assert set(orphans(kernel).values()) == {""}


def test_magic_that_is_taken_out(kernel):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    kernel.run("1 + 1", cell_id="c2")
    kernel.run("1 + 1")
    assert orphans(kernel) == {"w": ""}
    kernel.run("1 + 1", cell_id="c1")
    assert "no longer defines it" in orphans(kernel)["w"]


def test_orphan_that_another_cell_keeps_has_a_cell_again(kernel):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    kernel.run("1", cell_id="c1")
    count = kernel.run("%bgworker -n w --exists keep 1h 1", cell_id="c2").execution_count
    assert [row[:3] + row[6:] for row in workers(kernel)] == [("w", str(count), "c2", "''")]
    kernel.run("1", cell_id="c1")
    assert orphans(kernel) == {"w": ""}


@pytest.mark.parametrize(
    "cell", ["1 / 0\n%bgworker -n w 1h 1", "%bgworker -n w 1h 1 =", "x = = 1", "%bgworker -n w 5 1"]
)
def test_cell_that_failed_says_nothing(kernel, cell):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    answer = kernel.run(cell, cell_id="c1")
    assert answer.error is not None or "UsageError" in answer.stderr
    assert orphans(kernel) == {"w": ""}


def test_cell_with_await_and_cells_in_cells(kernel):
    cell = "import asyncio\nawait asyncio.sleep(0)\nget_ipython().run_cell('1 + 1')\n%bgworker -n w 1h 1"
    for _ in range(2):
        kernel.run(cell, cell_id="c1")
        assert orphans(kernel) == {"w": ""}
    assert workers(kernel)[0][3] == "4"
    kernel.run(cell.replace("-n w", "-n v"), cell_id="c1")
    assert "no longer defines it" in orphans(kernel)["w"]


def test_worker_of_another_cell_replaces_and_is_nobody_s_orphan(kernel):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    kernel.run("%bgworker -n w 1h 2", cell_id="c2")
    kernel.run("1", cell_id="c1")
    assert orphans(kernel) == {"w": ""}


def test_workers_from_python_have_no_cell(kernel):
    kernel.run("w = pool().new_worker(3600, print, name='w').start()", cell_id="c1")
    kernel.run("1", cell_id="c1")
    assert workers(kernel)[0][1:4] == ("None", "None", "None")
    assert orphans(kernel) == {"w": ""}


def run_with(kernel, code, metadata):
    """Run a cell with what a front end says beside it."""
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = kernel.client.session.msg("execute_request", content, metadata=metadata)
    kernel.client.shell_channel.send(message)
    return kernel.answer(message["header"]["msg_id"])


def test_cells_that_the_front_end_says_were_deleted(kernel):
    count = kernel.run("%bgworker -n w 1h 1", cell_id="c1").execution_count
    kernel.run("%bgworker -n v 1h 1", cell_id="c2")
    run_with(kernel, "1 / 0", {"cellId": "c3", "deletedCells": ["c1", "x"]})
    assert orphans(kernel) == {"w": f"cell In[{count}] was deleted", "v": ""}
    run_with(kernel, "%bgworker -n w 1h 1", {"cellId": "c1", "deletedCells": ["c1"]})
    assert orphans(kernel) == {"w": "", "v": ""}, "it is there again, somebody undid it"


@pytest.mark.parametrize(
    "metadata",
    [
        {"cellId": ["c1"], "deletedCells": "c1"},
        {"cellId": {"a": 1}, "deletedCells": {"c1": 1}},
        {"cellId": 5, "deletedCells": [5, None, ["c1"], {"c1": 1}]},
        {"cellId": "", "deletedCells": None},
        {"cellId": "x" * 100_000, "deletedCells": ["y"] * 100_000},
    ],
)
def test_nonsense_of_a_front_end(kernel, metadata):
    kernel.run("%bgworker -n w 1h 1", cell_id="c1")
    answer = run_with(kernel, "print('fine')", metadata)
    assert (answer.stdout, answer.stderr, answer.error) == ("fine\n", "", None)
    assert orphans(kernel) == {"w": ""}


@pytest.mark.parametrize("take_away", ["%reset -f", "del poll"])
def test_worker_whose_names_were_reset_says_so_once(take_away):
    kernel = Kernel()
    try:
        kernel.run("%load_ext bgpool_jupyter\ncalls = 0\ndef poll():\n    return len('polled')", cell_id="c0")
        kernel.run("%bgworker 20ms poll()", cell_id="c1")
        import_it = "import bgpool_jupyter; w, = bgpool_jupyter.default_pool().find_workers('poll')"
        kernel.run(import_it)
        kernel.until("w.run_count > 2")
        kernel.run(take_away)
        kernel.run(import_it)
        kernel.until("w.status == 'paused'")
        failures = kernel.run("w.failure_count").value  # those of the moment between the two
        count = kernel.run("w.run_count").value
        assert "poll" in kernel.run("print(w.pause_reason)").stdout
        assert "poll" in str(kernel.run("%bgpool").value)
        assert kernel.run("w.failure_count").value == failures
        kernel.run("def poll():\n    return 'again'", cell_id="c0")
        kernel.run("%bgpool resume poll")
        kernel.until("w.last_value == 'again'")
        assert kernel.run(f"w.run_count > {count} and w.pause_reason == ''").value == "True"
    finally:
        kernel.close()


# -- without a kernel


def test_terminals_have_no_orphans(notebook):
    worker = notebook.run("%bgworker -n w 1h 1")
    notebook.run("%bgworker -n v 1h 1")
    notebook.run("1 + 1")
    assert (worker.cell_id, worker.orphan) == (None, "")
    assert place(worker) == f"Cell In[{worker.cell}], line 1"


def test_place(pool):
    worker = pool.new_worker(5, print)
    assert place(worker) == ""
    worker.cell = 3
    assert place(worker) == "Cell In[3]"


@pytest.mark.parametrize(
    ("text", "python", "written"),
    [
        ("", 1, 1),
        ("a\nb", 2, 2),
        ("\n  \na\nb", 2, 4),
        ("\n%%bgworker 5s\na\nb", 1, 2),
        ("%bgworker 5s a + \\\n  b + \\\n  c\n%bgworker 5s d", 2, 4),
        ("w = %bgworker 5s \\\n  a\nw", 2, 3),
        ("!ls \\\n  -l\n%bgworker 5s \\\n a\nx", 3, 5),
        ("a = 1 + \\\n  2\nb", 3, 3),
        ("%bgworker 5s \\", 1, 1),
        ("a", 9, 9),
    ],
)
def test_line_as_it_was_written(text, python, written):
    namespace = {}
    shell = SimpleNamespace(user_ns=namespace)
    namespace.update(ask=lambda: line_in_cell(shell, text))
    exec(compile("\n" * (python - 1) + "found = ask()", "cell", "exec"), namespace)  # noqa: S102 - it stands for a cell
    assert namespace["found"] == written


def test_line_outside_of_a_cell():
    assert line_in_cell(SimpleNamespace(user_ns={}), "a") is None
