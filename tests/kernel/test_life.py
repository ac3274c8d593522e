"""The life of a real kernel: docs/what-happens.md says what happens when; here it is shown."""

from __future__ import annotations

import ast
import itertools
import os
import signal
import time

import psutil
import pytest

from tests.kernel.driver import Kernel, eventually

LOAD = "%load_ext bgpool_jupyter\nimport bgpool_jupyter, threading, time\npool = bgpool_jupyter.default_pool"
TICK = "%bgworker -n tick 5ms 1"


@pytest.fixture(scope="module")
def process():
    """One kernel for the tests that do not end it."""
    kernel = Kernel()
    kernel.run(LOAD)
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(process):
    """The kernel, with the extension loaded and no worker."""
    process.strays.clear()
    yield process
    process.run("%reload_ext bgpool_jupyter")
    assert process.run(LOAD).error is None
    assert process.run("pool().kill_jobs()\nfor w in pool().find_workers(): pool().remove(w)").error is None
    assert process.stray_output() == []


@pytest.fixture
def mortal():
    """A kernel of a test's own, to be ended."""
    kernel = Kernel()
    kernel.run(LOAD)
    yield kernel
    kernel.close()


def goes_on(kernel, name="tick"):
    """Tell whether a worker begins further runs, none of which fails."""
    worker = f"pool().find_workers({name!r})[0]"
    before = int(kernel.run(f"{worker}.run_count").value)
    kernel.until(f"{worker}.run_count > {before} + 2")
    return kernel.run(f"{worker}.failure_count").value == "0"


# -- the end

#: Seconds that the end of a kernel may take.
END = 1.5

#: 20 workers that run, one that sleeps for an hour in its run, one that cannot be woken, and a job.
MANY = """\
for n in range(20): get_ipython().run_line_magic("bgworker", f"-n tick{n} 20ms {n}")
%bgactor -n asleep time.sleep(3600)
%bgactor -n deaf threading.Event().wait()
%bgjob time.sleep(3600)
while not all(w.executing for n in ("asleep", "deaf") for w in pool().find_workers(n)): time.sleep(0.01)
"""


def family(kernel):
    """Return the kernel's process and all that it has started."""
    top = psutil.Process(kernel.manager.provisioner.pid)
    return [top, *top.children(recursive=True)]


def gone(processes):
    """Tell whether nothing is left of some processes but what waits to be asked for its exit code."""
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


def told(capsys, text):
    with capsys.disabled():
        print(f"\n[{text}]")


@pytest.mark.parametrize("how", ["shutdown", "restart", "exit", "quit"])
def test_kernel_with_20_workers_ends_in_time(mortal, how, capsys):
    """Whatever the workers do. `exit` and `quit` skip do_shutdown; a request is followed by no signal here."""
    assert mortal.run(MANY).error is None
    processes = family(mortal)
    if how in {"exit", "quit"}:
        begin = time.monotonic()
        mortal.send(how)
        eventually(lambda: not mortal.manager.is_alive(), 20, "the kernel ends")
        took = time.monotonic() - begin
    else:
        took = getattr(mortal, how)()
    told(capsys, f"{how} with 20 workers and one that sleeps for an hour: {took:.2f} s")
    assert took <= END
    assert gone(processes)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "os._exit"])
def test_kernel_that_crashes_leaves_nothing(mortal, how, capsys):
    assert mortal.run(MANY).error is None
    processes = family(mortal)
    begin = time.monotonic()
    if how == "os._exit":
        mortal.send("import os\nos._exit(3)")
    else:
        os.kill(mortal.manager.provisioner.pid, getattr(signal, how))
    eventually(lambda: not mortal.manager.is_alive(), 20, "the kernel ends")
    took = time.monotonic() - begin
    told(capsys, f"{how} with 20 workers and one that sleeps for an hour: {took:.2f} s")
    assert took <= END
    assert gone(processes)


def test_crash_in_a_worker_is_the_kernels_crash(mortal):
    """A front end that restarts the kernel finds no worker in it; the cells make them anew."""
    mortal.send("%bgactor -n crash __import__('os')._exit(3)")
    eventually(lambda: not mortal.manager.is_alive(), 20, "the kernel ends")
    mortal.manager.restart_kernel()
    mortal.client.wait_for_ready(timeout=60)
    assert mortal.run("%bgpool").stderr == "UsageError: Line magic function `%bgpool` not found.\n"
    mortal.run(LOAD)
    assert mortal.run("%bgpool").value == "no workers; %bgworker -h says how to make one"


def test_restart_by_a_front_end_begins_with_nothing(mortal):
    assert mortal.run(MANY).error is None
    processes = family(mortal)
    mortal.manager.restart_kernel()
    mortal.client.wait_for_ready(timeout=60)
    assert gone(processes)
    mortal.run(LOAD)
    assert mortal.run("%bgpool").value == "no workers; %bgworker -h says how to make one"
    mortal.run(TICK)
    assert goes_on(mortal)


@pytest.mark.parametrize("how", ["shutdown", "restart", "exit", "quit"])
def test_finished_is_called_before_the_end(mortal, how, tmp_path):
    note = tmp_path / "note"
    mortal.run(f"def bye(_worker): open({str(note)!r}, 'w').write(_worker.name)")
    mortal.run("%bgworker -n patient --finished bye 1h 1")
    if how in {"exit", "quit"}:
        mortal.send(how)
        eventually(lambda: not mortal.manager.is_alive(), 20, "the kernel ends")
    else:
        getattr(mortal, how)()
    assert note.read_text() == "patient"


# -- interrupt


@pytest.mark.parametrize("cell", ["while True: pass", "time.sleep(3600)", "pool().find_workers('asleep')[0].result()"])
def test_interrupt_stops_the_cell_and_no_worker(kernel, tmp_path, cell):
    kernel.run("%bgactor -n asleep _worker.sleep(3600)\n%bgworker -n waits 20ms await __import__('asyncio').sleep(0)")
    kernel.run(TICK)
    kernel.until("pool().find_workers('asleep')[0].executing")
    request = kernel.begin(cell, tmp_path / "begun")
    kernel.manager.interrupt_kernel()
    assert kernel.answer(request).error[0] == "KeyboardInterrupt"
    assert goes_on(kernel)
    assert goes_on(kernel, "waits")
    assert kernel.run("pool().find_workers('asleep')[0].executing").value == "True"


def test_interrupt_then_stop_without_a_glob_stops_all(kernel, tmp_path):
    kernel.run("%bgactor -n asleep _worker.sleep(3600)\n%bgworker -n waits 20ms await __import__('asyncio').sleep(0)")
    kernel.run(TICK + "\n%bgworker -n later 1h 1\n%bgworker -n held 1h 1\n%bgpool pause held")
    request = kernel.begin("while True: pass", tmp_path / "begun")
    kernel.manager.interrupt_kernel()
    assert kernel.answer(request).error[0] == "KeyboardInterrupt"
    stopped = kernel.run("[w.name for w in get_ipython().run_line_magic('bgpool', 'stop')]").value
    assert stopped == "['asleep', 'waits', 'tick', 'later', 'held']"
    kernel.until("not any(w.executing or w.running for w in pool().find_workers())")


def test_interrupts_in_quick_succession_hurt_no_worker(kernel, tmp_path):
    kernel.run(TICK)
    for number in range(5):
        request = kernel.begin("while True: pass", tmp_path / f"begun {number}")
        kernel.manager.interrupt_kernel()
        assert kernel.answer(request).error[0] == "KeyboardInterrupt"
    assert goes_on(kernel)
    assert kernel.run("pool().check()").error is None


# -- %load_ext, %reload_ext, %unload_ext

STEPS = {
    "load": "%load_ext bgpool_jupyter",
    "reload": "%reload_ext bgpool_jupyter",
    "unload": "%unload_ext bgpool_jupyter",
}

LOOK = """\
import sys, threading
from IPython import get_ipython
depth, stream = 0, sys.stdout
while 'behind' in vars(stream): depth, stream = depth + 1, vars(stream)['behind']
magics = get_ipython().magics_manager.magics.values()
magics = [name for kind in magics for name in kind if name in ('bgworker', 'bgpool')]
pools = {t.name.split('-')[0] for t in threading.enumerate() if t.name.startswith('bgpool')}
print(depth, sorted(magics), sorted(pools), 'do_shutdown' in vars(get_ipython().kernel))
"""
LOADED = "1 ['bgpool', 'bgworker', 'bgworker'] ['bgpool'] True\n"
UNLOADED = "0 [] [] False\n"


def test_extension_loaded_reloaded_unloaded_in_any_order(kernel):
    """A worker lives through loads and reloads and ends with an unload; nothing is doubled, nothing remains."""
    kernel.run("%unload_ext bgpool_jupyter")
    for order in itertools.product(STEPS, repeat=3):
        loaded = worker = False
        for step in order:
            answer = kernel.run(STEPS[step])
            assert answer.error is None, (order, step)
            loaded = step != "unload"
            worker = worker and loaded
            if loaded and not worker:
                kernel.run(TICK)
                worker = True
            assert kernel.run(LOOK).stdout == (LOADED if loaded else UNLOADED), (order, step)
            if worker:
                kernel.run("pool = bgpool_jupyter.default_pool")
                assert goes_on(kernel), (order, step)
            assert kernel.run("print('mine')").stdout == "mine\n"
        kernel.run("%unload_ext bgpool_jupyter")
    assert kernel.run(LOOK).stdout == UNLOADED


def test_reload_keeps_records_panels_and_what_is_in_flight(kernel):
    kernel.run("panel = %bgpool panel\n%bgactor -n asleep _worker.sleep(3600)\n%bgworker -n said -x 1 1h print('kept')")
    kernel.until("pool().find_workers('said')[0].history and pool().find_workers('asleep')[0].executing")
    kernel.run("known = pool(), panel, pool().find_workers('said')[0]")
    assert kernel.run("%reload_ext bgpool_jupyter").error is None
    answer = kernel.run(
        "now = pool(), get_ipython().run_line_magic('bgpool', 'panel'), pool().find_workers('said')[0]\n"
        "print([a is b for a, b in zip(known, now)], panel.comm is not None, known[2].history[0].output.text())\n"
        "print(pool().find_workers('asleep')[0].executing, bgpool_jupyter.WorkerPool is type(pool()))"
    )
    assert answer.stdout == "[True, True, True] True kept\n\nTrue True\n"
    kernel.run("panel.close()")


# -- %reset, each in a kernel of its own: IPython does not forget it (no `_` after `out`, no spawn after `-f`)


def test_reset_pauses_what_needs_the_names_and_takes_nothing_else(mortal):
    mortal.run("def poll(): return 7")
    mortal.run("%bgworker -n reader 10ms poll()\n%bgworker -n tick 5ms 1\n%bgworker -n said -x 1 1h print('kept')")
    mortal.until("pool().find_workers('reader')[0].run_count > 2")
    assert mortal.run("%reset -f").error is None
    mortal.run(LOAD.partition("\n")[2])
    reader = "pool().find_workers('reader')[0]"
    assert mortal.run(f"print({reader}.status, '·', {reader}.pause_reason)").stdout == (
        "paused · poll was deleted; define it again, then resume\n"
    )
    # A run that came between the names' end and the cell's may have failed; none comes after.
    mortal.until(f"not {reader}.executing")
    failures = int(mortal.run(f"{reader}.failure_count").value)
    assert failures <= 2
    assert goes_on(mortal)
    assert mortal.run("%bgpool log said").stdout.endswith("kept\n")
    mortal.run("def poll(): return 8")
    mortal.run("%bgpool resume reader")
    mortal.until(f"{reader}.last_value == 8")
    assert mortal.run(f"{reader}.failure_count").value == str(failures)


@pytest.mark.parametrize("what", ["in", "out", "in out"])
def test_reset_of_in_and_out_changes_no_worker(mortal, what):
    mortal.run("def poll(): return 7")
    mortal.run("%%bgworker -n reader 10ms\nprint('line')\npoll()")
    mortal.run("%%bgworker -n broken -x 1 10ms\nx = 1\n1 / 0")
    mortal.until("pool().find_workers('broken')[0].failure_count")
    assert mortal.run(f"%reset -f {what}").error is None
    assert goes_on(mortal, "reader")
    assert "line 3, in <module>\n    1 / 0\n" in mortal.run("%bgpool log broken").stdout
    mortal.run("%bgpool start broken")
    mortal.until("pool().find_workers('broken')[0].failure_count and not pool().find_workers('broken')[0].running")
    assert "line 3, in <module>\n    1 / 0\n" in mortal.run("%bgpool log broken").stdout


# -- fork and multiprocessing

LOOKS = '''
def look(n):
    """Return what a child process has of its parent's pool, and whether a pool of its own works."""
    import threading
    from bgpool_jupyter import default_pool
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    threads = [t.name for t in others if t.name.startswith("bgpool")]
    own = default_pool()
    found = len(own.find_workers()), threads, own.run_job(lambda: n * 2).result(30)
    own.new_actor(lambda: None, name="of a child").start().result(30)
    own.close()
    return found
'''


@pytest.fixture
def work(kernel, tmp_path):
    """A module that children can import."""
    (tmp_path / "bgpool_test_work.py").write_text(LOOKS)
    kernel.run(
        f"import sys, os, multiprocessing\nsys.path.insert(0, {str(tmp_path)!r})\nimport bgpool_test_work as work"
    )
    yield kernel
    kernel.run("import sys\nsys.path.pop(0)\nsys.modules.pop('bgpool_test_work', None)")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_have_no_workers_and_leave_the_parents_alone(work, method):
    work.run(TICK + "\n%bgactor -n asleep _worker.sleep(3600)")
    work.until("pool().find_workers('asleep')[0].executing")
    answer = work.run(
        f"with multiprocessing.get_context({method!r}).Pool(2) as children:\n"
        "    answers = children.map(work.look, range(4))\n"
        "    pids = [child.pid for child in children._pool]\n"
        "    children.close(); children.join()\n"
        "print(answers)"
    )
    assert answer.error is None
    assert answer.stdout == f"{[(0, [], n * 2) for n in range(4)]}\n"
    assert goes_on(work)
    assert work.run("pool().find_workers('asleep')[0].executing").value == "True"
    # The journal of the parent is open still, and has what the parent did alone.
    assert work.run("from bgpool_jupyter.journal import default_journal\ndefault_journal().closed").value == "False"
    kept = work.run("%bgpool history")
    assert (kept.error, kept.stderr) == (None, "")
    assert "tick" in kept.stdout + str(kept.value)
    assert "of a child" not in kept.stdout + str(kept.value)
    assert not any(psutil.pid_exists(pid) for pid in ast.literal_eval(work.run("pids").value))


def test_children_of_a_worker_too(work):
    work.run(TICK)
    work.run(
        "%%bgactor -n parent\n"
        "with multiprocessing.get_context('fork').Pool(2) as children:\n"
        "    answers = children.map(work.look, range(4))\n"
        "answers"
    )
    answer = work.run("print(pool().find_workers('parent')[0].result(60))")
    assert answer.stdout == f"{[(0, [], n * 2) for n in range(4)]}\n"
    assert goes_on(work)


def test_forked_child_does_not_end_its_parents_pool(kernel):
    """Not where it runs what closes the pool at the kernel's end, either."""
    kernel.run(TICK + "\nimport os\nfrom bgpool_jupyter.kernel import lifecycle")
    answer = kernel.run(
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        lifecycle._session._end(5.0)\n"
        "    finally:\n"
        "        os._exit(7)\n"
        "os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])"
    )
    assert answer.value == "7"
    assert goes_on(kernel)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_processes_do_not_keep_the_pool_from_ending(mortal, method, tmp_path, capsys):
    """ipykernel itself waits for children, until the front end ends it; the pool has ended before."""
    note = tmp_path / "note"
    (tmp_path / "bgpool_test_work.py").write_text(LOOKS)
    mortal.run(f"import sys, multiprocessing\nsys.path.insert(0, {str(tmp_path)!r})\nimport bgpool_test_work as work")
    mortal.run(f"def bye(_worker): open({str(note)!r}, 'w').write(_worker.name)")
    mortal.run("%bgworker -n patient --finished bye 1h 1\n" + TICK)
    mortal.run(f"children = multiprocessing.get_context({method!r}).Pool(2)\nchildren.map(work.look, range(4))")
    processes = family(mortal)
    assert len(processes) > 2
    begin = time.monotonic()
    mortal.manager.request_shutdown()
    eventually(lambda: note.exists() and note.read_text() == "patient", END, "the pool is closed")
    closed = time.monotonic() - begin
    mortal.manager.finish_shutdown()
    took = time.monotonic() - begin
    told(capsys, f"live {method} pool: workers stopped after {closed:.2f} s, kernel ended after {took:.2f} s")
    eventually(lambda: gone(processes), 5, "the children end with their parent")


# -- %autoreload


@pytest.mark.parametrize("mode", [1, 2, 3])
@pytest.mark.parametrize("code", ["edited.poll()", "edited.poll", "poll()", "lab.poll"])
def test_worker_runs_edited_code_with_autoreload(kernel, tmp_path, mode, code):
    name = tmp_path.name  # another one for each test
    module = tmp_path / f"{name}.py"
    text = "def poll():\n    return {}\n\n\nclass Lab:\n    def poll(self):\n        return {}\n"
    module.write_text(text.format(1, 1))
    os.utime(module, (1, 1))
    kernel.run(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n%load_ext autoreload\n%autoreload {mode}")
    kernel.run(f"{'%aimport' if mode == 1 else 'import'} {name}\nedited = sys.modules[{name!r}]\nlab = edited.Lab()")
    kernel.run(f"from {name} import poll")
    kernel.run(f"%bgworker -n reader 10ms {code}")
    kernel.until("pool().find_workers('reader')[0].last_value == 1")
    module.write_text(text.format(22, 22))
    os.utime(module, (100, 100))
    kernel.run("pass")  # autoreload looks when a cell begins
    kernel.until("pool().find_workers('reader')[0].last_value == 22")
    assert kernel.run("pool().find_workers('reader')[0].failure_count").value == "0"
    kernel.run("%autoreload 0\nsys.path.pop(0)")


@pytest.mark.parametrize("mode", [2, 3])
def test_autoreload_does_not_exchange_the_package_under_its_pool(mortal, tmp_path, mode):
    """The package's files change when it is upgraded under a running kernel."""
    mortal.run(f"%load_ext autoreload\n%autoreload {mode}")
    mortal.run("%bgactor -n asleep _worker.sleep(3600)\n" + TICK + "\npanel = %bgpool panel")
    mortal.run("known = pool()")
    answer = mortal.run(
        "import os, sys\n"
        "later = time.time() + 1000\n"
        "real = os.stat\n"
        "class Touched:\n"
        "    def __init__(self, answer): self.st_mtime = later\n"
        "def stat(path, *args, **more):\n"
        "    answer = real(path, *args, **more)\n"
        "    touched = 'bgpool_jupyter' in str(path) and str(path).endswith('.py')\n"
        "    return Touched(answer) if touched else answer\n"
        "os.stat = stat"
    )
    assert answer.error is None
    answer = mortal.run("os.stat = real\nprint(pool() is known, type(known) is bgpool_jupyter.WorkerPool)")
    assert (answer.stdout, answer.stderr) == ("True True\n", "")
    assert goes_on(mortal)
    assert mortal.run("pool().find_workers('asleep')[0].executing").value == "True"
    mortal.run("%bgworker -n new -x 1 1h print('kept')")
    mortal.until("pool().find_workers('new')[0].history")
    assert mortal.run("%bgpool log new").stdout.endswith("kept\n")
    mortal.run("panel.close()\n%unload_ext bgpool_jupyter")
    assert mortal.run("known.closed").value == "True"


# -- prints and the notebook's own names

PRINTS = """\
for n in range(8):
    get_ipython().run_cell_magic("bgworker", f"-n says{n} -x 20 1ms", textwrap.dedent(f'''
        for i in range(10):
            print("worker {n} line", _worker.run_count * 10 - 10 + i, flush=i % 3 == 0)
    '''))
said = 0
while said < 1600 or any(w.running for w in pool().find_workers("says*")):
    print("main", said)
    said += 1
"""


def test_no_print_in_the_wrong_place_and_none_lost(kernel):
    """8 workers print 200 lines each while the main thread prints too."""
    kernel.run("import textwrap")
    answer = kernel.run(PRINTS)
    assert answer.error is None
    said = int(kernel.run("said").value)
    assert answer.stdout == "".join(f"main {n}\n" for n in range(said))
    assert answer.stderr == ""
    kept = kernel.run(
        "for n in range(8): print(''.join(r.output.text() for r in pool().find_workers(f'says{n}')[0].history), end='')"
    ).stdout
    assert kept == "".join(f"worker {n} line {i}\n" for n in range(8) for i in range(200))
    assert kernel.stray_output() == []


def test_16000_runs_on_8_threads_leave_the_notebooks_own_names_alone(kernel, capsys):
    first = kernel.run("'the value'").execution_count
    begin = time.monotonic()
    body = "f'for i in range(20): y{n} = i\\n_worker.name\\n[y{n}, {n}]'"
    cells = [
        "'the value'",
        f"for n in range(8): get_ipython().run_cell_magic('bgworker', f'-n body{{n}} -x 2000 1ms', {body})",
        "while any(w.running for w in pool().find_workers('body*')): time.sleep(0.01)",
        "_",
    ]
    answers = [kernel.run(cell, timeout=100) for cell in cells[1:]]
    took = time.monotonic() - begin
    told(capsys, f"16,000 runs on 8 threads: {took:.1f} s")
    assert [answer.execution_count for answer in answers] == [first + 1, first + 2, first + 3]
    assert answers[-1].value == "'the value'"
    assert kernel.run(f"print(In[{first}:{first + 4}])").stdout == f"{cells}\n"
    assert kernel.run(f"[n for n in Out if {first} <= n <= {first + 4}]").value == str([first, first + 3])
    # What history keeps on disk is each cell that was sent, and nothing else.
    kept = kernel.run(
        "ip = get_ipython()\nip.history_manager.writeout_cache()\n"
        f"print([source for _, _, source in ip.history_manager.get_range(0, {first}, {first + 4}, raw=True)])"
    )
    assert kept.stdout == f"{cells}\n"
    made = kernel.run(
        "{(w.run_count, w.failure_count, str(r.value)) for w in pool().find_workers('body*') for r in w.history}"
    )
    assert ast.literal_eval(made.value) == {(2000, 0, str([19, n])) for n in range(8)}
