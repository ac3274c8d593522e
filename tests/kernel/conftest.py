"""A real InteractiveShell in this process, and a pool in virtual time under its magics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from bgpool_jupyter import background
from bgpool_jupyter.kernel import lifecycle
from bgpool_jupyter.testing import ManualPool, make_pool


@pytest.fixture(scope="session")
def the_shell() -> Iterator[InteractiveShell]:
    """One shell for all tests: IPython's own hooks are not made to be installed twice."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=config)
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(the_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """The shell; names that a test leaves in its namespace are taken out again."""
    names = set(the_shell.user_ns)
    yield the_shell
    lifecycle.unload(the_shell)
    for name in set(the_shell.user_ns) - names:
        del the_shell.user_ns[name]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualPool]:
    """A pool in virtual time in the place of the default pool."""
    made = make_pool()
    monkeypatch.setattr(background, "_pool", made)
    yield made
    made.check()
    made.close()


class Notebook:
    """Runs cells and magics in the shell as a person would."""

    def __init__(self, shell: Any, pool: ManualPool) -> None:
        self.shell = shell
        self.pool = pool
        self.namespace = shell.user_ns

    def run(self, code: str) -> Any:
        """Run a cell and return its value; raise what it raised."""
        result = self.shell.run_cell(code, store_history=True)
        result.raise_error()
        return result.result

    def refused(self, code: str) -> str:
        """Run a cell that a UsageError must end, with nothing registered; return the message."""
        before = self.pool.find_workers(), self.pool.jobs()
        result = self.shell.run_cell(code, store_history=True)
        error = result.error_in_exec or result.error_before_exec
        assert type(error) is UsageError, f"{error!r} is no UsageError"
        message = str(error)
        assert "\n" not in message
        assert (self.pool.find_workers(), self.pool.jobs()) == before, "something was registered or removed"
        return message

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, and run what is due."""
        self.shell.run_cell("pass")  # pytest may have set the streams anew, which the next cell notices
        self.pool.clock.advance(seconds)


@pytest.fixture
def load(shell: Any) -> Callable[[], None]:
    """Load the extension into the shell; the fixture `shell` unloads it."""
    return lambda: lifecycle.load(shell, lambda: "the panel")


@pytest.fixture
def notebook(shell: Any, pool: ManualPool, load: Callable[[], None], capsys: Any) -> Notebook:
    """The shell with the extension loaded over the virtual pool; `capsys` reads what its cells print."""
    load()
    return Notebook(shell, pool)
