"""A real kernel: where output goes, busy cells, cells that are run again, and the kernel's end."""

from __future__ import annotations

import re
import time

import pytest

from tests.kernel.driver import Kernel, eventually

#: In a cell: be busy until a worker has begun some runs more.
LET_RUN = """\
def let_run(worker, count=3):
    wanted = worker.run_count + count
    while worker.run_count < wanted: time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def process():
    """One kernel for the tests of this module that do not end it."""
    kernel = Kernel()
    kernel.run("%load_ext bgpool_jupyter\nimport bgpool_jupyter, threading, time\npool = bgpool_jupyter.default_pool")
    kernel.run(LET_RUN)
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(process):
    process.strays.clear()
    yield process
    answer = process.run("stopped = %bgpool stop\nfor w in pool().find_workers(): pool().remove(w)")
    assert answer.error is None
    assert process.stray_output() == []


NOISY = """\
%%bgworker --name noisy 10ms
import sys
print("NOISE out")
print("NOISE err", file=sys.stderr)
display({"text/plain": "NOISE display"}, raw=True)
from IPython.display import HTML, clear_output, display_html
display(HTML("<b>NOISE</b>"))
clear_output()
!echo NOISE shell
"""


def test_output_of_a_worker_never_reaches_a_cell(kernel):
    answers = [kernel.run(NOISY)]
    worker = 'pool().find_workers("noisy")[0]'
    for cell in (
        f"let_run({worker}, 10)\nprint('mine')",  # busy while it runs
        f"%%capture\nprint('captured')\nlet_run({worker})",
        f"display({{'text/plain': 'my display'}}, raw=True)\nlet_run({worker})",
        "1 / 0",
        "'my value'",
    ):
        answers += [kernel.run(cell)]
    kernel.run("%bgpool stop")
    kernel.until(f"not {worker}.executing")
    assert "NOISE" not in str([answer._replace(stderr="", error=None) for answer in answers[1:]])
    assert all("NOISE" not in answer.stderr for answer in answers)
    assert answers[0].value == "BackgroundWorker('noisy', every 10 ms)"
    assert (answers[1].stdout, answers[1].stderr) == ("mine\n", "")
    assert [data["text/plain"] for data in answers[3].displays] == ["my display"]
    assert answers[4].error[:2] == ("ZeroDivisionError", "division by zero")
    assert kernel.stray_output() == []
    history = kernel.run(
        "kept = getattr(get_ipython().history_manager, 'outputs', {})\n"
        "print('NOI' + 'SE' in str([list(v) for v in kept.values()]))"
    )
    assert history.stdout == "False\n"
    kept = kernel.run(
        f"w = {worker}\no = w.history[0].output\nprint(o.stdout, o.stderr, len(o.displays), w.failure_count)"
    )
    assert kept.stdout.split("\n") == [
        "NOISE out",
        "NOISE shell\r",
        " NOISE err",
        " 2 0",
        "",
    ]


def test_output_of_on_event_never_reaches_a_cell(kernel):
    kernel.run("from IPython.display import display, HTML")
    kernel.run(
        "def heard(event):\n    print('NOISE', event.kind.value)\n    display(HTML('<b>NOISE</b>'))\n"
        "    if event.text: raise ValueError('NOISE')"
    )
    answers = [
        kernel.run("%bgworker -n told --on-event heard 10ms 1 / (_worker.run_count % 2)"),
        kernel.run("told = pool().find_workers('told')[0]\nlet_run(told, 10)\nprint('mine')"),
    ]
    assert kernel.stray_output() == []
    kernel.run("%bgpool remove told")
    kernel.until("'NOISE removed' in told.event_output.text()")
    assert [answer.stdout + answer.stderr for answer in answers] == ["", "mine\n"]
    assert answers[0].displays == answers[1].displays == []
    kept = kernel.run("print(told.event_output.text())").stdout
    assert kept.startswith("NOISE registered\n<IPython.core.display.HTML object>\nNOISE started\n")
    assert ", in heard\n    if event.text: raise ValueError('NOISE')" in kept
    assert kernel.run("told.event_output.displays[0]['text/html'], told.failure_count > 2").value == (
        "('<b>NOISE</b>', True)"
    )
    table = kernel.run("%bgpool events told").value
    assert re.search(r"told +✖ failed +ZeroDivisionError: ", table)
    assert table.splitlines()[-1].endswith("told  ■ removed")


def test_bodies_that_wait_share_a_thread_and_print_into_their_records(kernel):
    kernel.run("import asyncio\nmet = set()")
    for name in ("left", "right"):
        kernel.run(
            f"%%bgworker -n {name} -x 1 1h\nprint('NOISE of {name}')\nmet.add('{name}')\n"
            "while len(met) < 2: await asyncio.sleep(0.001)\n"
            f"print('NOISE again')\ndisplay({{'text/plain': 'NOISE {name}'}}, raw=True)\nthreading.get_ident()"
        )
    kernel.run(
        "%%bgworker -n stuck 1h\ntry:\n    met.add('stuck')\n    await asyncio.sleep(3600)\n"
        "finally:\n    print('NOISE')"
    )
    kernel.until("'stuck' in met")
    kernel.run("%bgpool stop stuck")
    answer = kernel.run(
        "values = [pool().find_workers(n)[0].result(30) for n in ('left', 'right', 'stuck')]\n"
        "print(values[0] == values[1], values[2])\n"
        "records = [w.history[0] for w in pool().find_workers()]\n"
        "print([(r.outcome, r.output.stdout.count('NO' 'ISE'), len(r.output.displays)) for r in records])"
    )
    assert answer.stdout == "True None\n[('done', 2, 1), ('done', 2, 1), ('stopped', 1, 0)]\n"
    assert kernel.stray_output() == []


def test_cell_awaits_a_worker_and_a_job(kernel):
    kernel.run("later = %bgactor -n later --delay 10ms 6 * 7\njob = %bgjob 6 * 8")
    assert kernel.run("await later, await job").value == "(42, 48)"
    kernel.run("broken = %bgactor -n broken 1 / 0")
    assert kernel.run("await broken").error[0] == "RunFailed"


def test_job_output_is_kept_too(kernel):
    kernel.run("job = %bgjob print('of a job')\njob.result(30)")
    assert kernel.run("print(repr(job.output.text()))").stdout == "'of a job\\n'\n"


def test_traceback_names_the_cell_and_the_line_that_made_the_worker(kernel):
    kernel.run("def boom(): return 1 / 0")
    first = kernel.run("# one\n%bgworker -n first --no-start 1h boom()").execution_count
    kernel.run("# two\n\n%bgworker -n second --no-start 1h boom()")  # the same code, elsewhere
    third = kernel.run("\n\n%%bgworker -n third --no-start 1h\n\nboom()").execution_count
    assert kernel.run("boom()").error[0] == "ZeroDivisionError"
    kernel.run("%bgpool start")
    kernel.until("all(w.history for w in pool().find_workers())")
    said = "print([w.last_error.traceback.splitlines()[1].strip() for w in pool().find_workers()])"
    assert kernel.run(said).stdout == (
        f"['Cell In[{first}], line 2, in <module>', 'Cell In[{first + 1}], line 3, in <module>', "
        f"'Cell In[{third}], line 5, in <module>']\n"
    )


def test_workers_go_on_while_a_cell_is_busy(kernel):
    answer = kernel.run(
        "%bgworker -n tick 10ms 1\nw = pool().find_workers('tick')[0]\n"
        "before = w.run_count\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass\n"
        "print(w.run_count - before)"
    )
    assert 5 <= int(answer.stdout) <= 52, "it runs beside the cell, 50 times on an idle machine"


def test_8_threads_leave_history_alone(kernel):
    assert kernel.run("'the value'").value == "'the value'"
    count = kernel.run(
        "for n in range(8): get_ipython().run_cell_magic('bgworker', f'-n body{n} -x 250 1ms', "
        "f'x{n} = {n}\\nfor i in range(20): x{n} += 0\\nx{n}')"
    ).execution_count
    kernel.until("all(w.status == 'stopped' for w in pool().find_workers('body*'))")
    answer = kernel.run(
        "print([({r.value for r in w.history}, w.run_count, w.failure_count) for w in pool().find_workers('body*')])"
    )
    assert answer.stdout == f"{[({n}, 250, 0) for n in range(8)]}\n"
    kernel.run("'another'", cell_id="x")
    last = kernel.run("print(_, len(In) - 1 == get_ipython().displayhook.prompt_count, repr(In[-2]), list(Out)[-1])")
    assert last.stdout == f"another True \"'another'\" {last.execution_count - 1}\n"
    assert kernel.run(f"print(In[{count}][:5], {count} in Out)").stdout == "for n False\n"


def test_traceback_has_the_cells_lines(kernel):
    kernel.run("%%bgworker -n broken -x 1 1s\ndef f(x):\n    return 1 / x\n\nf(0)")
    kernel.until("pool().find_workers('broken')[0].status == 'failed'")
    shown = kernel.run("%bgpool log broken").stdout
    head, _, rest = shown.partition("\n")
    assert ", failed" in head
    assert rest.startswith("Traceback (most recent call last):\n")
    assert ", line 5, in <module>\n    f(0)\n" in shown
    assert ", line 3, in f\n    return 1 / x\n" in shown
    assert rest.splitlines()[-2] == "ZeroDivisionError: division by zero"
    assert rest.endswith("; %bgdebug broken opens the debugger\n")
    assert shown.count("  Cell In[") == 2
    assert "  File " not in shown
    assert "✖ failed" in kernel.run("%bgpool").value


def test_syntax_error_appears_in_the_defining_cell(kernel):
    answer = kernel.run("%%bgworker -n never 5s\nx = 1\nx +")
    assert answer.error[0] == "SyntaxError"
    assert "line 3" in answer.error[1]
    assert "x +" in answer.error[2]
    assert "/kernel/cells.py" not in answer.error[2]
    assert kernel.run("pool().find_workers('never')").value == "[]"


ORDINARY = re.compile(r"^  Cell In\[\d+\], line (\d+)\n(?:.*\n)+.*\^.*\nSyntaxError: invalid syntax$")


@pytest.mark.parametrize(
    ("cell", "line", "text"),
    [
        ("x = = 1", 1, "x = = 1"),
        ("%%bgworker -n never 5s\nx = 1\nx = = 1", 3, "x = = 1"),
        ("%%bgactor\nx = = _worker", 2, "x = = _worker"),
        ("%%bgjob\n\nx = = 1", 3, "x = = 1"),
        ("1\n%bgworker -n never 5s x = = 1", 2, "x = = 1"),
        ("%bgactor x = = 1", 1, "x = = 1"),
        ("\n%bgjob x = = 1", 2, "x = = 1"),
    ],
)
def test_syntax_error_looks_as_that_of_an_ordinary_cell(kernel, cell, line, text):
    name, message, shown = kernel.run(cell).error
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).rstrip()
    assert name == "SyntaxError"
    assert message.startswith("invalid syntax (")
    found = ORDINARY.match(plain)
    assert found, plain
    assert int(found[1]) == line
    assert plain.splitlines()[1].strip() == text
    assert len(plain.splitlines()) == 4
    assert kernel.run("pool().find_workers('never')").value == "[]"


def test_syntax_error_of_other_code_has_its_frames(kernel):
    shown = kernel.run("def f(): exec('x = = 1')\n\nf()").error[2]
    assert "in f" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_usage_error_is_one_line_in_the_cell(kernel):
    answer = kernel.run("%bgworker 5 f()")
    assert answer.stderr == (
        "UsageError: INTERVAL needs a unit, '5' has none; write 5s for seconds or 5m for minutes\n"
    )
    assert answer.value is None


def test_cell_that_is_run_again_replaces_its_worker(kernel):
    def workers():
        return kernel.run("print([(w.name, w.interval) for w in pool().find_workers()])").stdout

    kernel.run("def poll(n=0): pass")
    kernel.run("%bgworker 1h poll()", cell_id="one")
    kernel.run("%bgworker 1h poll()", cell_id="two")
    kernel.run("%%bgworker 1h\npoll(1)\npoll(2)", cell_id="three")
    body = workers().split("cell-")[1].split("'")[0]
    assert workers() == f"[('poll', 3600.0), ('poll-2', 3600.0), ('cell-{body}', 3600.0)]\n"
    kernel.run("%bgworker 2h poll(3)  # edited", cell_id="one")
    kernel.run("%%bgworker 2h\npoll(4)", cell_id="three")
    assert workers() == f"[('poll-2', 3600.0), ('poll', 7200.0), ('cell-{body}', 7200.0)]\n"


def test_cell_without_an_id_is_known_by_its_text(kernel):
    for _ in range(2):
        kernel.run("%bgworker 1h len('x')")
        kernel.run("%bgworker 1h len('y')")
    assert kernel.run("[w.name for w in pool().find_workers()]").value == "['len', 'len-2']"


def test_input_in_a_run_is_an_error_between_cells_and_inside(kernel):
    kernel.run("%bgworker -n asks 20ms input('name? ')\n%bgworker -n hides 20ms __import__('getpass').getpass()")
    kernel.run("for w in pool().find_workers(): let_run(w)")
    kernel.until("all(w.failure_count > 5 for w in pool().find_workers())")
    answer = kernel.run("{r.error.message for w in pool().find_workers() for r in w.history}")
    for function in ("input()", "getpass()"):
        assert (
            f"{function} cannot be used in a background run, nobody can answer it; "
            "ask in a cell before, and read the answer from a variable or from _data"
        ) in answer.value
    assert answer.value.count("cannot be used") == 2


def test_await_magics_and_data_in_a_body(kernel):
    kernel.run(
        "data = [1, 2]\nget_ipython().run_cell_magic('bgworker', '-n all -x 1 --data data 1s', "
        "'import asyncio\\nawait asyncio.sleep(0)\\nhere = %pwd\\n_data.append(_worker.name)\\nlen(here) > 0')"
    )
    kernel.until("pool().find_workers('all')[0].history")
    assert kernel.run("data, pool().find_workers('all')[0].last_value").value == "([1, 2, 'all'], True)"


def test_rich_display_is_shown_by_the_log(kernel):
    kernel.run("%%bgworker -n rich -x 1 1s\nfrom IPython.display import HTML\ndisplay(HTML('<b>x</b>'))")
    kernel.until("pool().find_workers('rich')[0].history")
    answer = kernel.run("%bgpool log rich")
    assert [data["text/html"] for data in answer.displays] == ["<b>x</b>"]


def test_table_has_html(kernel):
    kernel.run("%bgworker -n '<b>' 1h 1")
    answer = kernel.run(
        "table = get_ipython().run_line_magic('bgpool', '')\n"
        "print(sorted(get_ipython().display_formatter.format(table)[0]))"
    )
    assert answer.stdout == "['text/html', 'text/plain']\n"


def test_completion(kernel):
    kernel.run("%bgworker -n cpu-load 1h 1")
    assert kernel.complete("%bgpool st") == ["start", "stop", "stack"]
    assert kernel.complete("%bgpool log c") == ["cpu-load"]


def test_display_with_bytes_and_an_update(kernel):
    kernel.run(
        "%%bgworker -n shows -x 1 1s\n"
        "h = display({'text/plain': 'first', 'image/png': b'\\x89PNG'}, raw=True, display_id='h')\n"
        "from IPython.display import update_display\n"
        "update_display({'text/plain': 'second'}, raw=True, display_id='h')"
    )
    kernel.until("pool().find_workers('shows')[0].history")
    answer = kernel.run("r = pool().find_workers('shows')[0].history[0]\nprint(r.error, r.output.displays)")
    assert answer.stdout == "None [{'text/plain': 'first', 'image/png': 'iVBORw=='}, {'text/plain': 'second'}]\n"


def test_reload_doubles_nothing(kernel):
    kernel.run("%bgworker -n old 1h 1")
    assert kernel.run("%reload_ext bgpool_jupyter").error is None
    assert kernel.run("[w.name for w in pool().find_workers(running=True)]").value == "['old']"
    kernel.run("%bgworker -n new -x 3 10ms print('once')")
    kernel.until("pool().find_workers('new')[0].status == 'stopped'")
    assert kernel.run("[r.output.text() for r in pool().find_workers('new')[0].history]").value == str(["once\n"] * 3)
    assert kernel.run("import sys\ntype(sys.stdout.behind).__name__").value == "'OutStream'"
    assert kernel.run("print('mine')").stdout == "mine\n"


def test_unload_leaves_no_thread_and_no_stand_in(kernel):
    kernel.run("before = threading.active_count()\nimport sys")
    kernel.run("%bgworker 10ms 1\n%bgworker -n sleeper 1h 1\n%bgjob 1")
    assert kernel.run("%unload_ext bgpool_jupyter").error is None
    answer = kernel.run(
        "print([t.name for t in threading.enumerate() if 'bgpool' in t.name], type(sys.stdout).__name__, "
        "'do_shutdown' in vars(get_ipython().kernel))"
    )
    assert answer.stdout == "[] OutStream False\n"
    assert kernel.run("%bgpool").stderr == "UsageError: Line magic function `%bgpool` not found.\n"
    assert kernel.run("%load_ext bgpool_jupyter").error is None
    assert kernel.run("%bgpool").value == "no workers; %bgworker -h says how to make one"


def test_load_in_a_captured_cell(kernel):
    """`%%capture` round the loading cell restores the streams; the next cell notices."""
    kernel.run("%unload_ext bgpool_jupyter")
    kernel.run("%%capture\n%load_ext bgpool_jupyter")
    kernel.run("%bgworker -n late -x 1 10ms print('kept')")
    kernel.until("pool().find_workers('late')[0].history")
    assert kernel.run("pool().find_workers('late')[0].history[0].output.text()").value == "'kept\\n'"


# -- the kernel's end

BUSY = """\
import time, threading
%load_ext bgpool_jupyter
%bgworker -n tick 5ms 1
%bgworker -n sleeper 1h 1
%bgactor -n asleep time.sleep(3600)
%bgactor -n deaf __import__('threading').Event().wait()
%bgjob time.sleep(3600)
"""


#: Seconds after which a front end begins to kill: an end that takes longer would hide that it was delayed.
#: On an idle machine it takes about 0.6 s, which is printed; half of that without any worker.
HIDDEN = 2.4


@pytest.fixture
def mortal():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.parametrize("how", ["shutdown", "restart"])
def test_kernel_ends_at_once_whatever_workers_do(mortal, how, capsys):
    assert mortal.run(BUSY).error is None
    mortal.run("from bgpool_jupyter import default_pool\nwhile default_pool().count_jobs()[0] < 3: time.sleep(0.01)")
    took = getattr(mortal, how)()
    with capsys.disabled():
        print(f"\n[{how} with a worker that sleeps for an hour: {took:.2f} s]")
    assert took < HIDDEN


def test_kernel_ends_at_once_when_a_cell_exits(mortal, capsys):
    """`exit` skips do_shutdown."""
    assert mortal.run(BUSY).error is None
    begin = time.monotonic()
    mortal.send("exit")
    eventually(lambda: not mortal.manager.is_alive(), 20, "the kernel ends")
    took = time.monotonic() - begin
    with capsys.disabled():
        print(f"\n[exit with a worker that sleeps for an hour: {took:.2f} s]")
    assert took < HIDDEN


def test_pool_is_closed_before_the_process_ends(mortal, tmp_path):
    """`finished` is called for what the end stopped: the pool was closed, and not just killed."""
    told = tmp_path / "told"
    mortal.run("%load_ext bgpool_jupyter")
    mortal.run(f"def bye(_worker): open({str(told)!r}, 'w').write(_worker.name)")
    mortal.run("%bgworker -n patient --finished bye 1h 1")
    mortal.shutdown()
    assert told.read_text() == "patient"
