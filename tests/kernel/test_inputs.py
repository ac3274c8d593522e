"""A run that asks for input gets a clear error."""

from __future__ import annotations

import builtins
import getpass
from types import SimpleNamespace
from typing import Any

import pytest

from bgpool_jupyter.engine import PoolError, RunOutput
from bgpool_jupyter.engine.errors import NoInput
from bgpool_jupyter.kernel.capture import OutputCapture
from bgpool_jupyter.kernel.inputs import guard_input, release_input


class FakeKernel:
    """Has what ipykernel has, and swaps the functions as it does around a cell."""

    def __init__(self):
        self._sys_raw_input: Any = None
        self._save_getpass: Any = None

    def raw_input(self, prompt=""):
        return f"from the front end: {prompt}"

    def getpass(self, prompt=""):
        return f"secret from the front end: {prompt}"

    def begin_cell(self):
        self._sys_raw_input, self._save_getpass = builtins.input, getpass.getpass
        vars(builtins)["input"], vars(getpass)["getpass"] = self.raw_input, self.getpass

    def end_cell(self):
        vars(builtins)["input"], vars(getpass)["getpass"] = self._sys_raw_input, self._save_getpass


@pytest.fixture
def originals(monkeypatch):
    """Stand-ins for the real functions, which would wait for a person."""
    monkeypatch.setattr(builtins, "input", lambda prompt="": f"typed: {prompt}")
    monkeypatch.setattr(getpass, "getpass", lambda prompt="": f"typed secret: {prompt}")
    return builtins.input, getpass.getpass


def refusals(shell):
    """Return what input() and getpass() say in a run."""
    capture = OutputCapture(shell)
    token = capture.enter(RunOutput())
    told = []
    try:
        for ask in (builtins.input, getpass.getpass):
            with pytest.raises(NoInput) as caught:
                ask("name? ")
            told.append(str(caught.value))
    finally:
        capture.exit(token)
    return told


MESSAGES = [
    f"{function} cannot be used in a background run, nobody can answer it; "
    "ask in a cell before, and read the answer from a variable or from _data"
    for function in ("input()", "getpass()")
]


@pytest.mark.parametrize("loaded_in_a_cell", [False, True])
def test_every_way_is_guarded_between_cells_and_inside(shell, originals, loaded_in_a_cell):
    kernel = FakeKernel()
    session = SimpleNamespace(kernel=kernel, display_pub=shell.display_pub)
    if loaded_in_a_cell:
        kernel.begin_cell()
    guard_input(session)
    guard_input(session)
    if loaded_in_a_cell:
        assert refusals(session) == MESSAGES
        kernel.end_cell()
    assert refusals(session) == MESSAGES
    assert input("? ") == "typed: ? "
    assert getpass.getpass("? ") == "typed secret: ? "
    kernel.begin_cell()
    assert refusals(session) == MESSAGES
    assert input("? ") == "from the front end: ? "
    assert getpass.getpass("? ") == "secret from the front end: ? "
    release_input(session)
    assert vars(builtins)["input"].__func__ is FakeKernel.raw_input
    kernel.end_cell()
    assert (builtins.input, getpass.getpass) == originals


def test_shell_without_kernel(shell, originals):
    guard_input(shell)
    assert refusals(shell) == MESSAGES
    release_input(shell)
    release_input(shell)
    assert (builtins.input, getpass.getpass) == originals


def test_error_is_the_packages_and_a_builtin():
    assert issubclass(NoInput, PoolError)
    assert issubclass(NoInput, RuntimeError)
