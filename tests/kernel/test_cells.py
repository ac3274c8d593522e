"""Cell bodies: compiled once, run from any thread, in the notebook's namespace."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import traceback
import weakref

import pytest

from bgpool_jupyter.engine import ErrorInfo, RunOutput
from bgpool_jupyter.engine.coroutines import close_runner, run_coroutine
from bgpool_jupyter.kernel.capture import CURRENT_OUTPUT
from bgpool_jupyter.kernel.cells import compile_body


@pytest.fixture
def body(shell):
    """Compile a body as the one of a cell whose first line is a magic."""
    return lambda source, heading="%%bgworker 5s": compile_body(shell, source, number=7, heading=heading)


def in_thread(function):
    """Call a function on a thread of its own, as a job is called; return what it returned or raised."""
    answers = []

    def call():
        try:
            value = function()
            answers.append(run_coroutine(value) if inspect.iscoroutine(value) else value)
        except BaseException as error:
            answers.append(error)
        finally:
            close_runner()  # as a pool's thread does

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    return answers[0]


def test_last_expression_is_the_value(body):
    assert body("x = 20\nx + 22")() == 42


@pytest.mark.parametrize("source", ["x = 5", "5;", "for i in [1]: i", "# nothing", "", "_worker;", "_worker = 3"])
def test_without_a_last_expression_there_is_no_value(body, source):
    assert body(source)() is None


def test_names_land_in_the_namespace(body, shell):
    shell.user_ns["count"] = 1
    compiled = body("count += 1\nimport os.path\ndef double(): return 2 * count\ndouble()")
    assert in_thread(compiled) == 4
    assert in_thread(compiled) == 6
    assert shell.user_ns["count"] == 3
    assert shell.user_ns["os"].path
    assert shell.user_ns["double"]() == 6


def test_later_redefinition_is_seen(body, shell):
    shell.run_cell("def f(): return 1")
    compiled = body("f()")
    assert compiled() == 1
    shell.run_cell("def f(): return 2")
    assert compiled() == 2


def test_run_names_reach_every_scope(body, shell):
    compiled = body(
        """
        mark: int = 1
        def deep():
            return [(_worker, _data) for _ in range(1)], (lambda: _job)()
        class Holder:
            worker = _worker
        deep(), Holder.worker
        """
    )
    assert compiled(_worker="w", _data="d", _job="j") == (([("w", "d")], "j"), "w")
    assert shell.user_ns["mark"] == 1
    assert callable(shell.user_ns["deep"])
    assert not {"_worker", "_data", "_job"} & shell.user_ns.keys()


def test_body_with_run_names_binds_globally(body, shell):
    shell.user_ns["gone"] = 1
    body(
        "_data\n"
        "import json as j, os.path\n"
        "for i in range(2): pass\n"
        "with open(os.devnull) as f: pass\n"
        "[last := n for n in (1, 2)]\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: failed = True\n"
        "a, *b = 1, 2, 3\n"
        "note: int\n"
        "del gone\n"
        "match {'k': 5}:\n"
        "    case {'k': found}: pass\n"
    )()
    names = shell.user_ns
    assert (names["i"], names["last"], names["failed"], names["a"], names["b"], names["found"]) == (
        1,
        2,
        True,
        1,
        [2, 3],
        5,
    )
    assert names["j"].__name__ == "json"
    assert names["os"].path
    assert "f" in names
    assert not {"gone", "note"} & names.keys()


def test_run_names_do_not_race(body):
    compiled = body("seen = []\nfor _ in range(200): seen_now = _worker\n(_worker, seen_now is not None)")
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.__setitem__(n, [compiled(_worker=n)[0] for _ in range(50)]))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: [n] * 50 for n in range(8)}


@pytest.mark.parametrize("names", ["", "_worker\n"])
def test_await(body, names):
    compiled = body(f"{names}import asyncio\nawait asyncio.sleep(0)\n'awake'")
    assert in_thread(compiled) == "awake"
    assert in_thread(compiled) == "awake", "and once more"


def test_coroutine_as_value_is_awaited(body, shell):
    shell.run_cell("async def poll(): return 'polled'")
    assert in_thread(body("poll()")) == "polled"
    assert in_thread(body("import asyncio\nawait asyncio.sleep(0)\npoll()")) == "polled"


def test_magics_and_commands_work(body, shell, capfd):
    assert in_thread(body("%pwd")) == shell.run_line_magic("pwd", "")
    assert in_thread(body("out = !echo from the shell\nout[0]")) == "from the shell"
    assert in_thread(body("%%timeit -n1 -r1 -o -q\n1").__call__).loops == 1


def test_context_of_the_definition_is_kept_and_each_run_has_a_copy(body, shell):
    shell.run_cell("import contextvars\nmood = contextvars.ContextVar('mood', default='none')\nmood.set('good')")
    shell.user_ns["mood"].set("good")
    compiled = body("before = mood.get()\nmood.set('changed')\nbefore")
    assert in_thread(compiled) == "good"
    assert in_thread(compiled) == "good"
    assert shell.user_ns["mood"].get() == "good"


def test_output_of_the_run_is_carried_into_the_body(body, shell):
    shell.user_ns["var"] = CURRENT_OUTPUT
    compiled = body("var.get()")

    mine = RunOutput()

    def run():
        CURRENT_OUTPUT.set(mine)
        return compiled()

    assert in_thread(run) is mine
    assert in_thread(compiled) is None


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("1\n1 / 0", 3, "1 / 0"),
        ("\n\n1\n1 / 0", 5, "1 / 0"),
        ("_worker\n1 / 0", 3, "1 / 0"),
        ("import asyncio\nawait asyncio.sleep(0)\n1 / 0", 4, "1 / 0"),
        ("_worker\nawait __import__('asyncio').sleep(0)\n1 / 0", 4, "1 / 0"),
        ("def f():\n    return 1 / 0\nf()", 3, "return 1 / 0"),
    ],
)
def test_traceback_has_the_cells_lines_and_no_others(body, source, line, text):
    error = in_thread(body(source))
    assert isinstance(error, ZeroDivisionError)
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without the frame of this test, where a pool has its own
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.lineno, last.line) == (line, text)
    told = ErrorInfo.of(error).traceback.splitlines()
    assert told[0] == "Traceback (most recent call last):"
    assert f"    {text}" in told
    assert told[-1] == "ZeroDivisionError: division by zero"
    files = {line.split('"')[1] for line in told if line.startswith("  File ")}
    assert len(files) == 1, "frames of this package or of asyncio are among the cell's"


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("1 +", 2, "1 +"),
        ("x = 1\nreturn x", 3, None),
        ("_worker\nreturn 1", 3, None),
        ("_worker\nyield 1", 3, None),
        ("for x in y\n    3", 2, "for x in y"),
        ("_worker\nfrom os import *", 3, None),
    ],
)
def test_syntax_error_at_definition_with_the_cells_line(body, source, line, text):
    with pytest.raises(SyntaxError) as caught:
        body(source)
    assert caught.value.lineno == line
    if text is not None:
        assert str(caught.value.text).strip() == text


def test_history_is_untouched_by_8_threads(body, shell):
    shell.run_cell("'the last value'", store_history=True)
    before = history(shell)
    bodies = [body(f"values{n} = [i * i for i in range(10)]\n_ignored = {n}\nvalues{n}[-1] + {n}") for n in range(8)]
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.__setitem__(n, {bodies[n]() for _ in range(250)})) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: {81 + n} for n in range(8)}
    assert history(shell) == before


def kept_outputs(shell):
    """Return what IPython, from 9.1 on, keeps of the output of cells."""
    return getattr(shell.history_manager, "outputs", {})


def history(shell):
    """Return everything that a shell remembers of its cells."""
    names = shell.user_ns
    manager = shell.history_manager
    return (
        shell.execution_count,
        list(names["In"]),
        dict(names["Out"]),
        names["_"],
        names["__"],
        list(manager.input_hist_raw),
        {key: list(value) for key, value in kept_outputs(shell).items()},
    )


@pytest.mark.parametrize("wait", ["", "import asyncio\nawait asyncio.sleep(0)\n"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_would_end_a_loop_passes(body, wait, error):
    assert isinstance(in_thread(body(f"{wait}raise {error.__name__}")), error)


def test_context_is_kept_across_an_await(body, shell):
    shell.run_cell("import asyncio, contextvars\nmood = contextvars.ContextVar('mood', default='none')")
    shell.user_ns["mood"].set("good")
    compiled = body("mood.set(mood.get() + '!')\nawait asyncio.sleep(0)\nmood.get()")
    assert in_thread(compiled) == "good!"
    assert in_thread(compiled) == "good!"
    assert shell.user_ns["mood"].get() == "good"


def test_output_of_the_run_is_carried_across_an_await(body, shell):
    shell.user_ns["var"] = CURRENT_OUTPUT
    compiled = body("import asyncio\nawait asyncio.sleep(0)\nvar.get()")
    mine = RunOutput()

    def call():
        CURRENT_OUTPUT.set(mine)
        return compiled()

    assert in_thread(call) is mine


def test_cancellation_reaches_a_body_that_waits(body, shell):
    compiled = body(
        "import asyncio\nseen = []\nbegan.set()\n"
        "try: await asyncio.sleep(3600)\n"
        "except asyncio.CancelledError:\n    seen.append('cancelled')\n    raise"
    )

    async def cancelled():
        shell.user_ns["began"] = began = asyncio.Event()
        task = asyncio.ensure_future(compiled())
        await began.wait()
        task.cancel()
        await task

    assert isinstance(in_thread(cancelled), asyncio.CancelledError)
    assert shell.user_ns["seen"] == ["cancelled"]


def test_error_of_a_body_that_waits_pins_nothing(body):
    compiled = body("import asyncio\nawait asyncio.sleep(0)\nraise type('Mine', (Exception,), {})")

    async def caught():
        try:
            await compiled()
        except Exception as error:
            return weakref.ref(error)

    gc.disable()
    try:
        loop = asyncio.new_event_loop()
        kept = loop.run_until_complete(caught())
        loop.close()
        assert kept() is None, "the error is part of no cycle"
    finally:
        gc.enable()


def test_system_exit_passes(body):
    assert isinstance(in_thread(body("import sys\nsys.exit()")), SystemExit)


def test_repr_shows_the_first_line(body):
    assert repr(body("\nx = 1\ny = 2")) == "CellBody('x = 1')"
