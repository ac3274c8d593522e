"""Makes ``input()`` and ``getpass()`` in a run a clear error: there is nobody to answer, and on the wrong thread.

ipykernel puts its own functions into ``builtins.input`` and ``getpass.getpass`` while a cell executes, and puts
back afterwards what stood there before. So every place from which one of them can come is guarded: the two
names themselves, the kernel's methods, and where the kernel keeps the originals meanwhile.
"""

from __future__ import annotations

import builtins
import functools
import getpass
from collections.abc import Callable
from typing import Any

from ..engine.errors import NoInput
from .capture import CURRENT_OUTPUT

__all__ = ["guard_input", "release_input"]


def _places(shell: Any) -> list[tuple[Any, str, str]]:
    """Return owner, attribute and name for people of everything that asks for input."""
    places: list[tuple[Any, str, str]] = [(builtins, "input", "input()"), (getpass, "getpass", "getpass()")]
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        places += [(kernel, name, "input()") for name in ("raw_input", "_sys_raw_input")]
        places += [(kernel, name, "getpass()") for name in ("getpass", "_save_getpass")]
    return places


def guard_input(shell: Any) -> None:
    """Guard every way to ask for input; a way that is guarded already is left as it is.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    for owner, name, label in _places(shell):
        function = getattr(owner, name, None)
        if callable(function) and not hasattr(function, "bgpool_guards"):
            setattr(owner, name, _guarded(function, label))


def release_input(shell: Any) -> None:
    """Take the guards away again.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    for owner, name, _ in _places(shell):
        function = getattr(owner, name, None)
        original = getattr(function, "bgpool_guards", None)
        if original is not None:
            setattr(owner, name, original)


def _guarded(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **more: Any) -> Any:
        if CURRENT_OUTPUT.get() is not None:
            raise NoInput(
                f"{label} cannot be used in a background run, nobody can answer it; "
                "ask in a cell before, and read the answer from a variable or from _data"
            )
        return function(*args, **more)

    guarded.bgpool_guards = function  # type: ignore[attr-defined]
    return guarded
