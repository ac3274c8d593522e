"""Load, unload, reload, and the kernel's end, in one process."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import os
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import bgpool_jupyter
from bgpool_jupyter.background import default_pool
from bgpool_jupyter.kernel import lifecycle
from bgpool_jupyter.kernel.capture import RunStream

MAGICS = {"bgworker", "bgactor", "bgjob"}


def magics_of(shell):
    return {
        (kind, name)
        for kind, magics in shell.magics_manager.magics.items()
        for name in magics
        if name.startswith("bg") and name != "bg"
    }


ALL = {("line", name) for name in MAGICS | {"bgpool", "bgdebug"}} | {("cell", name) for name in MAGICS}


def trace(shell):
    """Return everything of a shell and of the process that load() touches."""
    return (
        magics_of(shell),
        sys.stdout,
        sys.stderr,
        builtins.input,
        shell.display_pub.publish,
        {event: list(callbacks) for event, callbacks in shell.events.callbacks.items()},
        set(shell.strdispatchers["complete_command"].strs),
        [thread.name for thread in threading.enumerate()],
    )


def output_of(job):
    job.result(30)
    assert job.output is not None
    return job.output.text()


def test_load_and_unload_leave_no_trace(shell, capsys):
    before = trace(shell)
    lifecycle.load(shell, lambda: None)
    assert magics_of(shell) == ALL
    job = default_pool().run_job(lambda: print("of a job"))
    worker = default_pool().new_worker(0.01, lambda: None).start()
    default_pool().new_worker(3600, lambda: None).start()
    assert output_of(job) == "of a job\n"
    pool = default_pool()
    lifecycle.unload(shell)
    assert pool.closed
    assert not worker.running
    assert trace(shell) == before


def test_twice_and_in_any_order(shell, capsys):
    before = trace(shell)
    lifecycle.unload(shell)
    lifecycle.load(shell, lambda: "old panel")
    loaded = trace(shell)
    lifecycle.load(shell, lambda: "new panel")
    assert trace(shell) == loaded
    assert shell.run_line_magic("bgpool", "panel") == "new panel"
    lifecycle.unload(shell)
    lifecycle.unload(shell)
    assert trace(shell) == before
    lifecycle.load(shell, lambda: None)
    assert magics_of(shell) == ALL


def test_extension_hooks_with_reload(shell, capsys):
    """`%reload_ext` executes the package's root anew; nothing is doubled, and workers go on."""
    before = trace(shell)
    shell.run_line_magic("load_ext", "bgpool_jupyter")
    worker = shell.run_line_magic("bgworker", "1h 1")
    loaded = trace(shell)
    shell.run_line_magic("reload_ext", "bgpool_jupyter")
    assert trace(shell)[:-1] == loaded[:-1]
    assert type(sys.stdout) is RunStream
    assert type(vars(sys.stdout)["behind"]) is not RunStream
    assert worker.running
    assert shell.run_line_magic("bgpool", "") == [worker]
    assert bgpool_jupyter.default_pool is default_pool
    shell.run_line_magic("unload_ext", "bgpool_jupyter")
    assert not worker.running
    assert trace(shell) == before


def test_reload_that_fails_halfway_leaves_workers_and_magics(shell, capsys, monkeypatch):
    shell.run_line_magic("load_ext", "bgpool_jupyter")
    worker = shell.run_line_magic("bgworker", "1h 1")

    def fail(_module):
        raise ImportError("half of an edit")

    with monkeypatch.context() as patch:
        patch.setattr("IPython.core.extensions.reload", fail)
        with pytest.raises(ImportError, match="half of an edit"):
            shell.run_line_magic("reload_ext", "bgpool_jupyter")
    assert worker.running
    assert magics_of(shell) == ALL
    shell.run_line_magic("load_ext", "bgpool_jupyter")
    assert worker.running
    shell.run_line_magic("unload_ext", "bgpool_jupyter")
    assert not worker.running


def test_unload_in_the_course_of_somebody_elses_reload_is_an_unload(shell, capsys, monkeypatch):
    """Another extension that unloads this one when it is reloaded gets what it asked for."""
    other = ModuleType("other_extension")
    vars(other).update(
        load_ipython_extension=lambda shell: None,
        unload_ipython_extension=lambda shell: shell.extension_manager.unload_extension("bgpool_jupyter"),
    )
    monkeypatch.setitem(sys.modules, "other_extension", other)
    monkeypatch.setattr("IPython.core.extensions.reload", lambda module: module)
    shell.run_line_magic("load_ext", "bgpool_jupyter")
    worker = shell.run_line_magic("bgworker", "1h 1")
    shell.run_line_magic("load_ext", "other_extension")
    shell.run_line_magic("reload_ext", "other_extension")
    assert not worker.running
    assert magics_of(shell) == set()
    assert "bgpool_jupyter" not in shell.extension_manager.loaded


def test_autoreload_is_kept_away_whichever_is_loaded_first(shell, capsys):
    """Each module of the package is on autoreload's list of modules to skip, and taken off it by unload."""

    def skipped():
        reloader = shell.magics_manager.registry["AutoreloadMagics"]._reloader
        return {name for name in reloader.skip_modules if name.split(".")[0] == "bgpool_jupyter"}

    def modules():
        return {name for name in sys.modules if name.split(".")[0] == "bgpool_jupyter"}

    shell.run_line_magic("load_ext", "bgpool_jupyter")
    shell.run_line_magic("load_ext", "autoreload")
    shell.run_cell("pass")
    assert skipped() >= modules()
    shell.run_line_magic("unload_ext", "bgpool_jupyter")
    assert skipped() == set()
    shell.run_line_magic("aimport", "-bgpool_jupyter.background")
    shell.run_line_magic("load_ext", "bgpool_jupyter")
    assert skipped() >= modules()
    shell.run_line_magic("unload_ext", "bgpool_jupyter")
    assert skipped() == {"bgpool_jupyter.background"}, "what somebody else put there is left alone"
    shell.run_line_magic("aimport", "bgpool_jupyter.background")


def test_another_shell_takes_over(shell, capsys):
    config = Config()
    config.HistoryManager.enabled = False
    other = InteractiveShell(config=config)
    try:
        lifecycle.load(shell, lambda: None)
        lifecycle.load(other, lambda: None)
        assert magics_of(shell) == set()
        assert magics_of(other) == ALL
        lifecycle.unload(shell)
        assert magics_of(other) == ALL, "a shell that is not loaded has nothing to unload"
        lifecycle.unload(other)
        assert magics_of(other) == set()
    finally:
        other.restore_sys_module_state()


def test_pool_that_follows_a_closed_one_is_captured(shell, capsys):
    lifecycle.load(shell, lambda: None)
    default_pool().close()
    job = default_pool().run_job(lambda: print("captured"))
    assert output_of(job) == "captured\n"


def test_failing_load_leaves_no_trace(shell, capsys, monkeypatch):
    before = trace(shell)

    def fail(*_args):
        raise RuntimeError("no completer")

    monkeypatch.setattr(lifecycle, "install_completer", fail)
    with pytest.raises(RuntimeError, match="no completer"):
        lifecycle.load(shell, lambda: None)
    assert trace(shell) == before
    monkeypatch.undo()
    lifecycle.load(shell, lambda: None)
    assert magics_of(shell) == ALL


class FakeKernel:
    def __init__(self):
        self.calls = []

    def do_shutdown(self, restart):
        self.calls.append(restart)
        return {"status": "ok", "restart": restart}


class AsyncKernel(FakeKernel):
    async def do_shutdown(self, restart):
        return super().do_shutdown(restart)


@pytest.mark.parametrize("kind", [FakeKernel, AsyncKernel])
def test_shutdown_of_the_kernel_closes_the_pool_first(shell, capsys, monkeypatch, kind):
    kernel = kind()
    monkeypatch.setattr(type(shell), "kernel", kernel, raising=False)
    monkeypatch.setattr(type(shell), "get_parent", dict, raising=False)
    lifecycle.load(shell, lambda: None)
    hold = threading.Event()
    job = default_pool().run_job(lambda: hold.wait(30))
    while not job.running:
        time.sleep(0.001)
    pool = default_pool()
    begin = time.monotonic()
    answer = kernel.do_shutdown(True)
    took = time.monotonic() - begin
    hold.set()
    assert pool.closed
    assert took < 0.8, "a job that does not end must not delay the kernel"
    if asyncio.iscoroutine(answer):
        answer = asyncio.run(answer)
    assert answer == {"status": "ok", "restart": True}
    assert kernel.calls == [True]
    lifecycle.unload(shell)
    assert "do_shutdown" not in vars(kernel)


def test_wrapper_of_somebody_else_round_ours_is_left_alone(shell, capsys, monkeypatch):
    kernel = FakeKernel()
    monkeypatch.setattr(type(shell), "kernel", kernel, raising=False)
    lifecycle.load(shell, lambda: None)
    ours = kernel.do_shutdown
    theirs = vars(kernel)["do_shutdown"] = lambda restart: ours(restart)
    lifecycle.unload(shell)
    assert kernel.do_shutdown is theirs
    assert kernel.do_shutdown(False) == {"status": "ok", "restart": False}


def test_what_others_had_put_into_shell_and_kernel_is_there_again(shell, capsys, monkeypatch):
    kernel = FakeKernel()
    monkeypatch.setattr(type(shell), "kernel", kernel, raising=False)
    monkeypatch.setattr(type(shell), "get_parent", dict, raising=False)
    shown = []
    theirs = vars(kernel)["do_shutdown"] = lambda restart: {"restart": restart}
    shell.showsyntaxerror = their_errors = lambda *_args, **_more: shown.append(1)
    lifecycle.load(shell, lambda: None)
    shell.run_cell("%bgworker 5s x = = 1")
    assert shown, "ours asks theirs"
    lifecycle.unload(shell)
    assert kernel.do_shutdown is theirs
    assert shell.showsyntaxerror is their_errors
    del shell.showsyntaxerror


def test_atexit_is_registered_once_and_taken_back(shell, capsys, monkeypatch):
    registered = []
    monkeypatch.setattr(atexit, "register", lambda function, *args: registered.append((function, args)))
    monkeypatch.setattr(atexit, "unregister", lambda function: registered.remove((function, (0.2,))))
    lifecycle.load(shell, lambda: None)
    lifecycle.load(shell, lambda: None)
    assert len(registered) == 1
    pool = default_pool()
    function, args = registered[0]
    function(*args)
    function(*args)
    assert pool.closed
    lifecycle.unload(shell)
    assert registered == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_forked_child_ends_at_once_and_leaves_the_parents_pool_alone(shell, capsys):
    lifecycle.load(shell, lambda: None)
    worker = default_pool().new_worker(0.005, lambda: None).start()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion can be seen from here: the parent reads what is written
        default = default_pool()
        if lifecycle._session is not None:
            lifecycle._session._end(5.0)
        os.write(writing, b"open" if not default.closed else b"shut")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"open", "the end of the pool is not the child's business"
    assert os.waitpid(child, 0)[1] == 0
    assert worker.running


@pytest.mark.parametrize("version", ["7.0.0", "7.0.1"])
def test_ipykernel_7_0_is_refused(shell, capsys, monkeypatch, version):
    parts = tuple(int(part) for part in version.split("."))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(__version__=version, version_info=parts))
    monkeypatch.setattr(type(shell), "kernel", FakeKernel(), raising=False)
    with pytest.raises(UsageError) as caught:
        lifecycle.load(shell, lambda: None)
    assert str(caught.value) == (
        f"ipykernel {version} loses what threads send to the panel; "
        'install another one with pip install "ipykernel!=7.0.*" and restart the kernel'
    )
    assert magics_of(shell) == set()


def test_ipykernel_7_0_beside_a_terminal_does_not_matter(shell, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(__version__="7.0.1", version_info=(7, 0, 1)))
    lifecycle.load(shell, lambda: None)
    assert magics_of(shell) == ALL
