"""%bgworker, %bgactor and %bgjob in a real shell, over a pool in virtual time."""

from __future__ import annotations

import pytest

from bgpool_jupyter.background import default_pool
from bgpool_jupyter.engine import Job
from bgpool_jupyter.kernel.export import export_text

# -- what they make


def test_line_worker(notebook):
    notebook.run("seen = []")
    worker = notebook.run("%bgworker -n poll 5s seen.append(len(seen))")
    notebook.advance(10)
    assert notebook.namespace["seen"] == [0, 1, 2]
    assert (worker.name, worker.interval, worker.dispose, worker.status) == ("poll", 5.0, False, "waiting")
    assert repr(worker) == "BackgroundWorker('poll', every 5 s)"


def test_cell_worker(notebook):
    notebook.run("values = []")
    worker = notebook.run(
        "%%bgworker 1m30s --name poll -x 2\nx = len(values)\nvalues.append(x)\nprint('x is', x)\nx * 10"
    )
    notebook.advance(600)
    assert notebook.namespace["values"] == [0, 1]
    assert [record.value for record in worker.history] == [0, 10]
    assert [record.output.text() for record in worker.history] == ["x is 0\n", "x is 1\n"]
    assert (worker.max_count, worker.status) == (2, "stopped")
    assert notebook.pool.find_workers() == [worker], "a worker that a magic made stays in the pool"


def test_value_false_ends_the_worker(notebook):
    worker = notebook.run("%bgworker 1s _worker.run_count < 3")
    notebook.advance(10)
    assert (worker.run_count, worker.status) == (3, "stopped")


def test_function_is_the_callback(notebook):
    notebook.run("def poll(_worker, _data=None): return _data\ndef f(): return 'old'")
    worker = notebook.run("%bgworker --data 21*2 1s poll")
    lambdas = notebook.run("%bgworker -n l 1s lambda: 'from lambda'")
    bound = notebook.run("%bgworker 1s f")
    called = notebook.run("%bgworker -n called 1s f()")
    notebook.run("def f(): return 'new'")
    notebook.advance(0)
    assert worker.callback is notebook.namespace["poll"]
    assert worker.last_value == 42
    assert lambdas.last_value == "from lambda"
    assert bound.last_value == "old", "the function as it was"
    assert called.last_value == "new", "looked up in each run"


def test_value_that_is_no_function_is_read_in_each_run(notebook):
    notebook.run("level = 1")
    worker = notebook.run("%bgworker -n level 1s level")
    notebook.advance(0)
    notebook.run("level = 2")
    notebook.advance(1)
    assert [record.value for record in worker.history] == [1, 2]


def test_code_stays_as_it_was_written(notebook):
    notebook.run("d = {'a b': 1}\nout = []")
    worker = notebook.run("%bgworker -n w 1s out.append(f\"{d['a b']} $d {{d}} \\\\ #\")  # 'comment")
    notebook.advance(0)
    assert worker.last_error is None
    assert notebook.namespace["out"] == ["1 $d {d} \\ #"]


def test_all_options_reach_the_worker(notebook):
    notebook.run("def bye(_worker): ended.append(_worker.name)\nended = []")
    worker = notebook.run(
        "%bgworker --name=w -x 3 --start-with-delay --catch-up --retry --data dict(a=1) --finished bye --dispose 10s 1"
    )
    assert (worker.max_count, worker.start_with_delay, worker.run_past_events, worker.ignore_exception) == (
        3,
        True,
        True,
        True,
    )
    assert (worker.data, worker.dispose, worker.run_on_time) == ({"a": 1}, True, True)
    notebook.advance(60)
    assert notebook.namespace["ended"] == ["w"]
    assert notebook.pool.find_workers() == []
    assert not notebook.run("%bgworker -n v --fixed-delay 10s 1").run_on_time


def test_options_may_follow_the_interval(notebook):
    worker = notebook.run("%bgworker 5s --name poll --max-count 3 -1")
    notebook.advance(0)
    assert (worker.name, worker.max_count, worker.last_value) == ("poll", 3, -1)
    worker = notebook.run("%%bgworker 5s -n cell -x 4\n1")
    assert (worker.name, worker.max_count) == ("cell", 4)


def test_double_dash_ends_the_options(notebook):
    worker = notebook.run("%bgactor -n minus -- -3")
    notebook.advance(0)
    assert worker.last_value == -3


def test_no_start(notebook):
    worker = notebook.run("%bgworker --no-start 5s 1")
    notebook.advance(60)
    assert (worker.status, worker.run_count) == ("new", 0)
    worker.start()
    notebook.advance(0)
    assert worker.run_count == 1


def test_await_and_magics_in_a_body(notebook):
    worker = notebook.run("%%bgworker 5s -n w\nimport asyncio\nawait asyncio.sleep(0)\nhere = %pwd\nhere")
    notebook.advance(0)
    assert worker.last_value == notebook.run("%pwd")


def test_async_function(notebook):
    notebook.run("async def poll(): return 'awaited'")
    worker = notebook.run("%bgworker 5s poll")
    call = notebook.run("%bgworker -n call 5s poll()")
    job = notebook.run("%bgjob poll")
    notebook.advance(0)
    assert (worker.last_value, call.last_value, job.result(0)) == ("awaited", "awaited", "awaited")


def test_source_and_cell_are_kept(notebook):
    line = notebook.run("%bgworker -n line 5s 1")
    cell = notebook.run("%%bgactor  -n cell\n1\n2")
    assert line.source == "%bgworker -n line 5s 1"
    assert cell.source == "%%bgactor  -n cell\n1\n2\n", "as it was written"
    assert notebook.namespace["Out"][line.cell] is line
    assert notebook.namespace["Out"][cell.cell] is cell


def test_actor_runs_once(notebook):
    now, later = notebook.run("%bgactor -n now 1"), notebook.run("%bgactor -n later --delay 1m30s 2")
    notebook.advance(89)
    assert (now.run_count, later.run_count) == (1, 0)
    notebook.advance(1)
    assert (later.last_value, later.status) == (2, "stopped")
    assert notebook.run("%bgactor -n zero --delay 0s 3").schedule == "once"


def test_actor_at_an_instant(notebook):
    worker = notebook.run("%bgactor -n dated --at 2126-11-22T14:30Z 1")
    assert worker.at == 4951031400.0
    assert notebook.run("%bgactor -n clock --at 14:30 1").at > notebook.pool.clock.time()
    past = notebook.run('%bgactor -n past --at "2020-01-01 00:00" 1')
    notebook.advance(0)
    assert past.run_count == 1


def test_job(notebook):
    job = notebook.run("%bgjob 6 * 7")
    other = notebook.run("%%bgjob -n long\nprint('working')\n_job.name")
    assert isinstance(job, Job)
    notebook.advance(0)
    assert (job.result(0), other.result(0), other.output.text()) == (42, "long", "working\n")


def test_job_of_a_function(notebook):
    notebook.run("def work(_job): return _job.name\nasync def later(*, _job): return _job.name")
    jobs = notebook.run("%bgjob -n a work"), notebook.run("%bgjob -n b later")
    notebook.advance(0)
    assert [job.result(0) for job in jobs] == ["a", "b"]


def test_job_raises_what_its_code_raised(notebook):
    job = notebook.run("%bgjob 1 / 0")
    notebook.advance(0)
    with pytest.raises(ZeroDivisionError):
        job.result(0)
    assert "    1 / 0\n" in job.error.traceback


def test_closed_pool_is_followed_by_a_fresh_one(notebook):
    notebook.pool.close()
    job = notebook.run("%bgjob 6 * 7")
    assert job.result(20) == 42
    default_pool().close()


# -- names, and cells that are run again


def test_same_name_replaces(notebook):
    old = notebook.run("%bgworker -n w 5s 1")
    new = notebook.run("%bgworker -n w 5s 2")
    assert notebook.pool.find_workers() == [new]
    assert old.status == "stopped"
    assert notebook.run("%bgworker -n w --exists replace 5s 3") is not new


def test_same_name_of_a_worker_from_python_is_replaced_too(notebook):
    twins = [notebook.pool.new_worker(1, print, name="[w]") for _ in range(2)]
    new = notebook.run('%bgworker -n "[w]" 5s 1')
    assert notebook.pool.find_workers() == [new]
    assert twins[0] is not new


def test_keep_and_error(notebook):
    old = notebook.run("%bgworker -n w 5s 1")
    assert notebook.run("%bgworker -n w --exists keep --data 1/0 5s 2") is old, "nothing is evaluated for nothing"
    assert notebook.refused("%bgworker -n w --exists error 5s 2") == (
        "a worker 'w' exists already; give another name, or --exists replace or keep"
    )
    assert old.status == "waiting"
    assert notebook.run("%bgworker -n v --exists error 5s 2").name == "v"


@pytest.mark.parametrize(
    "line",
    ["-x 0 5s 1", "5s missing_name", "--finished 3 5s 1", "--data 1/0 5s 1", "--finished 'lambda x: x' 5s 1", "0s 1"],
)
def test_mistake_leaves_the_old_worker_alone(notebook, line):
    old = notebook.run("%bgworker -n w 5s 1")
    notebook.refused(f"%bgworker -n w {line}")
    assert (old.status, notebook.pool.find_workers()) == ("waiting", [old])


def test_error_that_cannot_be_shown_is_told_all_the_same(notebook):
    notebook.run("class Bad(Exception):\n    def __str__(self): raise self\ndef bad(): raise Bad")
    assert notebook.refused("%bgworker --data bad() 5s 1").startswith("--data 'bad()' cannot be evaluated: Bad: ")


def test_syntax_error_leaves_the_old_worker_alone(notebook):
    old = notebook.run("%bgworker -n w 5s 1")
    with pytest.raises(SyntaxError) as caught:
        notebook.run("%%bgworker -n w 5s\n1\n2 +\n")
    assert caught.value.lineno == 3
    assert notebook.pool.find_workers() == [old]


def test_unnamed_workers_are_called_after_their_function(notebook):
    notebook.run("class lab:\n    @staticmethod\n    def poll(n=0): pass\nasync def later(): pass")
    for code, name in [
        ("lab.poll", "poll"),
        ("lab.poll(3)", "poll"),
        ("await later()", "later"),
        ("len('x')", "len"),
    ]:
        worker = notebook.run(f"%bgworker 5s {code}")
        assert worker.name == name
    for code in ("1 + 1", "lambda: 3", "x = 3", "print(1); print(2)"):
        worker = notebook.run(f"%bgworker 5s {code}")
        assert worker.name == f"cell-{worker.cell}"


def test_unnamed_worker_is_replaced_when_its_line_is_typed_again(notebook):
    """In a terminal the function's name alone decides; code without one is known by its text."""
    for line in ("%bgworker 5s len('x')", "%bgworker 5s 1 + 1", "%bgworker 10s len('x')", "%bgworker 5s 1 + 1"):
        notebook.run(line)
    notebook.run("%%bgworker 5s\n1\n2")
    notebook.run("%%bgworker 5s\n1\n2")
    assert [worker.source.split()[1] for worker in notebook.pool.find_workers()] == ["10s", "5s", "5s"]


def test_two_unnamed_of_one_function_in_one_cell(notebook):
    cell = "for n in range(3): get_ipython().run_line_magic('bgworker', f'5s len(\"{n}\")')"
    notebook.run(cell)
    first = notebook.pool.find_workers()
    assert [worker.name for worker in first] == ["len", "len-2", "len-3"]
    notebook.run(cell)
    again = notebook.pool.find_workers()
    assert [worker.name for worker in again] == ["len", "len-2", "len-3"]
    assert not set(first) & set(again)


# -- what people get wrong

HELP = " (%bgworker -h shows the options)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the INTERVAL is missing, as in %bgworker 5s code" + HELP),
        ("5s", "the code is missing; write %bgworker 5s code, or %%bgworker 5s and the code below it"),
        ("-n w 5s   ", "the code is missing; write %bgworker 5s code, or %%bgworker 5s and the code below it"),
        ("f() 5s", "INTERVAL must be a duration, not 'f()'; write for example 500ms, 5s, 1m30s or 2h"),
        ("5 f()", "INTERVAL needs a unit, '5' has none; write 5s for seconds or 5m for minutes"),
        ("-5s f()", "INTERVAL must be a duration, not '-5s'; write for example 500ms, 5s, 1m30s or 2h"),
        ("0s f()", "INTERVAL must be longer than 0, not '0s'; write for example 500ms, 5s, 1m30s or 2h"),
        (
            "99999999d 1",
            (
                "interval must be greater than 0 and at most 3200000000 seconds, not 8639999913600.0; "
                "give seconds greater than 0, for example 0.5"
            ),
        ),
        ("--nmae w 5s 1", "unknown option '--nmae'; did you mean --name?" + HELP),
        ("--qqq 5s 1", "unknown option '--qqq'; put -- before code that begins with a dash" + HELP),
        ("-q 5s 1", "unknown option '-q'; put -- before code that begins with a dash" + HELP),
        ("--name", "--name needs a value, as in --name NAME" + HELP),
        ("-n", "-n needs a value, as in -n NAME" + HELP),
        ("-n 'w 5s 1", 'a quotation mark is not closed in "\'w 5s 1"' + HELP),
        ("--name= 5s 1", "--name: a name must not be empty; leave the option out to have one made"),
        ("-n '' 5s 1", "--name: a name must not be empty; leave the option out to have one made"),
        ("-x many 5s 1", "--max-count: 'many' is not a whole number from 1 on; give 10 for example"),
        ("-x 1.5 5s 1", "--max-count: '1.5' is not a whole number from 1 on; give 10 for example"),
        ("-x 0 5s 1", "--max-count: '0' is not a whole number from 1 on; give 10 for example"),
        ("-x -1 5s 1", "--max-count: '-1' is not a whole number from 1 on; give 10 for example"),
        ("--exists maybe 5s 1", "--exists must be replace, keep or error, not 'maybe'" + HELP),
        ("--retry=yes 5s 1", "--retry takes no value; leave '=yes' out" + HELP),
        (
            "--fixed-delay --catch-up 5s 1",
            "--fixed-delay and --catch-up exclude each other: after a fixed delay no slot is missed",
        ),
        ("--data nothing 5s 1", "--data 'nothing' cannot be evaluated: NameError: name 'nothing' is not defined"),
        ("--data 1+ 5s 1", "--data '1+' cannot be evaluated: SyntaxError: invalid syntax (<--data>, line 1)"),
        ("--data 1/0 5s 1", "--data '1/0' cannot be evaluated: ZeroDivisionError: division by zero"),
        ("--finished 3 5s 1", "--finished 3 is no function but 3; give the function itself, or a lambda"),
        ("--on-event [] 5s 1", "--on-event [] is no function but []; give the function itself, or a lambda"),
        (
            "--on-event nothing 5s 1",
            "--on-event 'nothing' cannot be evaluated: NameError: name 'nothing' is not defined",
        ),
        (
            "--on-event 'lambda: 1' 5s 1",
            (
                "--on-event lambda: 1 cannot be called with an event (too many positional arguments); "
                "write lambda event: …"
            ),
        ),
        (
            "--on-event 1+ 5s 1",
            "--on-event '1+' cannot be evaluated: SyntaxError: invalid syntax (<--on-event>, line 1)",
        ),
        (
            "--finished 'lambda x: x' 5s 1",
            (
                "--finished lambda x: x cannot be called without arguments (missing a required argument: 'x'); "
                "write the call, as in f(1), or lambda: f(1)"
            ),
        ),
        ("5s nothing", "'nothing' cannot be evaluated: NameError: name 'nothing' is not defined"),
        (
            "5s print.nothing",
            (
                "'print.nothing' cannot be evaluated: AttributeError: "
                "'builtin_function_or_method' object has no attribute 'nothing'"
            ),
        ),
        (
            "5s lambda x, y=1: x",
            (
                "lambda x, y=1: x cannot be called without arguments (missing a required argument: 'x'); "
                "write the call, as in f(1), or lambda: f(1)"
            ),
        ),
    ],
)
def test_bad_worker_line(notebook, line, message):
    assert notebook.refused(f"%bgworker {line}") == message


SURROGATE = (
    "the code cannot be compiled: UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 5: "
    "surrogates not allowed"
)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%bgworker\n1", "the INTERVAL is missing, as in %bgworker 5s code" + HELP),
        ("%%bgworker 5s\n  \n", "the cell of %%bgworker is empty; put code below its line"),
        (
            "%%bgworker 5s print(1)\n1",
            "the code of %%bgworker stands below its line, 'print(1)' is too much; put it there",
        ),
        ("%%bgworker 5s -q\n1", "unknown option '-q'; put -- before code that begins with a dash" + HELP),
        ("%%bgactor 5s\n1", "the code of %%bgactor stands below its line, '5s' is too much; put it there"),
        ("%%bgjob x\n1", "the code of %%bgjob stands below its line, 'x' is too much; put it there"),
        ("%%bgjob\n\n \n", "the cell of %%bgjob is empty; put code below its line"),
        ("%bgactor", "the code is missing; write %bgactor code, or %%bgactor and the code below it"),
        ("%bgjob", "the code is missing; write %bgjob code, or %%bgjob and the code below it"),
        ("%bgjob -n", "-n needs a value, as in -n NAME (%bgjob -h shows the options)"),
        ("%bgjob -n '' 1", "--name: a name must not be empty; leave the option out to have one made"),
        (
            "%bgjob --data 1 1",
            "unknown option '--data'; put -- before code that begins with a dash (%bgjob -h shows the options)",
        ),
        ("get_ipython().run_line_magic('bgjob', 'x = \\'\\ud800\\'')", SURROGATE),
        ("%bgjob nothing", "'nothing' cannot be evaluated: NameError: name 'nothing' is not defined"),
        (
            "%bgactor --delay 5 1",
            "--delay: the delay needs a unit, '5' has none; write 5s for seconds or 5m for minutes",
        ),
        (
            "%bgactor --delay soon 1",
            "--delay: the delay must be a duration, not 'soon'; write for example 500ms, 5s, 1m30s or 2h",
        ),
        ("%bgactor --at soon 1", "--at must be a time as in 14:30 or ISO 8601 as in 2026-11-22T14:30, not 'soon'"),
        ("%bgactor --at 14:30 --delay 5s 1", "--delay and --at cannot both be given; leave one of them out"),
        (
            "%bgactor --catch-up 1",
            "unknown option '--catch-up'; put -- before code that begins with a dash (%bgactor -h shows the options)",
        ),
    ],
)
def test_bad_cell_actor_or_job(notebook, cell, message):
    assert notebook.refused(cell) == message


# -- help


@pytest.mark.parametrize("name", ["bgworker", "bgactor", "bgjob", "bgpool"])
def test_help_is_the_docstring(notebook, capsys, name):
    capsys.readouterr()
    assert notebook.run(f"%{name} -h") is None
    shown = capsys.readouterr().out
    docstring = notebook.shell.find_line_magic(name).__doc__
    assert shown == docstring + "\n"
    assert shown.startswith(f"usage: %{name} [options] ")
    assert notebook.run(f"%{name} --help") is None
    assert notebook.pool.find_workers() == []


def test_help_names_every_option(notebook):
    text = notebook.shell.find_line_magic("bgworker").__doc__
    for option in (
        "-n",
        "--name NAME",
        "-x",
        "--max-count N",
        "--start-with-delay",
        "--fixed-delay",
        "--catch-up",
        "--retry",
        "--data EXPR",
        "--finished EXPR",
        "--dispose",
        "--exists replace|keep|error",
        "--no-start",
    ):
        assert f" {option}" in text
    assert "--delay DURATION" in notebook.shell.find_line_magic("bgactor").__doc__


# -- what can be foreseen is refused before a worker is touched


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "%bgworker -n a 1s needs_job",
            "needs_job cannot be called without arguments (missing a required argument: '_job')",
        ),
        ("%bgworker -n a --finished needs_job 1s good", "--finished needs_job cannot be called without arguments"),
        ("%bgworker -n a 1s # only a comment", "the code is missing; write %bgworker 5s code"),
        ("%%bgworker -n a 1s\n# only\n\n# comments", "the cell of %%bgworker is empty; put code below its line"),
    ],
)
def test_refusal_leaves_the_old_worker(notebook, cell, message):
    notebook.run("def good(): pass\ndef needs_job(_job): pass")
    worker = notebook.run("%bgworker -n a 1s good")
    assert notebook.refused(cell).startswith(message)
    assert notebook.pool.find_workers() == [worker]
    assert worker.running


def test_job_is_not_given_what_a_worker_is(notebook):
    notebook.run("def needs_data(_data): pass\ndef needs_job(_job): return _job.name")
    assert notebook.refused("%bgjob needs_data").startswith("needs_data cannot be called without arguments")
    job = notebook.run("%bgjob --name j needs_job")
    notebook.advance(0)
    assert job.result(0) == "j"


def test_worker_that_matches_twice_is_shown_once(notebook):
    notebook.run("%bgworker -n both 1s 1")
    assert len(notebook.run("%bgpool run both bo*")) == 1


def test_name_must_be_one_line(notebook):
    message = notebook.refused("get_ipython().run_line_magic('bgworker', '-n two\\x85lines 5s 1')")
    assert message == "--name 'two\\x85lines' has more than one line; write one"


def test_worker_with_a_name_of_two_lines_is_a_comment_in_an_export(notebook):
    worker = notebook.run("%bgworker -n poll 5s 1")
    worker.name = "two\nlines"
    (line,) = export_text(notebook.pool.find_workers()).splitlines()
    assert line.startswith("# two")
    assert line.endswith("(every 5 s) has a name that no magic can write")
