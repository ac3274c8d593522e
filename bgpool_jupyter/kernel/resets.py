"""Workers whose names are gone: after ``%reset``, ``%reset_selective``, ``del``.

A worker whose function was reset would raise a NameError in every run, for as long as nobody looks. So after each cell
the names that it took out of the notebook's namespace are compared with those that the workers' code reads; a worker
that needs one of them is paused, and says so. Reading is what the compiled code does first with a name: a body that
assigns it before it reads it needs nobody else's.
"""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..background import default_pool
from ..engine import BackgroundWorker, PoolError
from .cells import CellBody

__all__ = ["watch_names"]

#: Names that are shown in the reason of a pause.
_SHOWN = 3
_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_BINDS = frozenset({"STORE_NAME", "STORE_GLOBAL"})


def watch_names(shell: Any) -> Callable[[], None]:
    """Pause workers whose names a cell takes away; return what undoes it.

    Notes
    -----
    Threads: belongs to the main thread, as do the events of the shell.
    """
    before: frozenset[str] = frozenset()

    def remember(*_args: Any) -> None:
        nonlocal before
        before = frozenset(list(shell.user_ns))  # copied in one step: threads of the pool bind names meanwhile

    def compare(*_args: Any) -> None:
        known = before
        remember()
        if gone := known - before:
            _pause_workers(shell, gone)

    def undo() -> None:
        shell.events.unregister("pre_run_cell", remember)
        shell.events.unregister("post_run_cell", compare)

    shell.events.register("pre_run_cell", remember)
    shell.events.register("post_run_cell", compare)
    return undo


def _pause_workers(shell: Any, gone: frozenset[str]) -> None:
    for worker in default_pool().find_workers(running=True):
        missing = sorted(names_read(shell, worker.callback) & gone)
        if missing and not worker.pause_reason:  # one that has a reason goes on for another one
            _pause(worker, missing)


def _pause(worker: BackgroundWorker, missing: list[str]) -> None:
    listed = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
    verb, them = ("was", "it") if len(missing) == 1 else ("were", "them")
    with suppress(PoolError):  # it has ended since
        worker.pause()  # changes nothing where it is paused
        worker.pause_reason = f"{listed} {verb} deleted; define {them} again, then resume"
        default_pool().changed(worker)


def names_read(shell: Any, callback: Any) -> set[str]:
    """Return the names of the notebook that a callback reads, itself and through functions of the notebook.

    The names that functions of modules read are none of the notebook's.
    """
    found: set[str] = set()
    codes = _codes_of(shell, callback)
    while codes:
        for name in _first_reads(codes.pop()) - found:
            found.add(name)
            codes += _codes_of(shell, shell.user_ns.get(name))
    return found


def _codes_of(shell: Any, value: Any) -> list[types.CodeType]:
    """Return the code of a body, or of a function of the notebook; none for any other object."""
    if isinstance(value, CellBody):
        with suppress(SyntaxError):  # what an AST transformer made of it may be the only form that compiles
            return [compile(shell.transform_cell(value.source), value.filename, "exec", flags=_FLAGS)]
    function = getattr(value, "__func__", value)  # of a bound method
    if isinstance(function, types.FunctionType) and function.__globals__ is shell.user_ns:
        return [function.__code__]
    return []


def _first_reads(code: types.CodeType) -> set[str]:
    """Return the global names that code, and code inside it, reads before it binds them."""
    read: set[str] = set()
    bound: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in _READS and step.argval not in bound:
            read.add(step.argval)
        elif step.opname in _BINDS:
            bound.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            read |= _first_reads(inner) - bound
    return read
