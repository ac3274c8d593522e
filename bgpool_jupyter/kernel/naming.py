"""Names for workers that were given none: stable, so that a cell that is run again replaces its own worker."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any, NamedTuple

__all__ = ["Cell", "NameBook", "function_name"]


class Cell(NamedTuple):
    """The cell that is being executed."""

    #: What it is recognised by when it is run again; None where there are no cells, in a terminal.
    key: str | None
    #: Differs from one execution to the next.
    execution: str
    #: The execution count.
    number: int

    @classmethod
    def current(cls, shell: Any) -> Cell:
        """Return the cell that the shell executes.

        Front ends send an id with each cell. Where one sends none, as headless runs do, the cell's text
        takes its place.
        """
        number = int(shell.displayhook.prompt_count)  # the n of its Out[n]; execution_count may be ahead already
        if not hasattr(shell, "kernel"):
            return cls(None, str(number), number)
        request = shell.get_parent() or {}
        key = request.get("metadata", {}).get("cellId") or request.get("content", {}).get("code", "")
        return cls(str(key), f"{number} {request.get('header', {}).get('msg_id', '')}", number)


class NameBook:
    """Remembers which cell has which generated names.

    The n-th worker without a name of the same function in a cell is the same worker when the cell is run
    again, under the same name. Other cells get other names. In a terminal, where a line that is typed again
    cannot be told from a new one, the function's name alone decides.

    Notes
    -----
    Threads: belongs to the main thread.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str | None, str, int], str] = {}
        self._execution = ""
        self._counts: dict[str, int] = {}

    def name(self, cell: Cell, function: str | None, code: str, taken: Collection[str]) -> str:
        """Return the name of the next unnamed worker of a cell.

        Parameters
        ----------
        cell
            The cell that makes it.
        function
            The name of its function; None if it has none, as a body has none.
        code
            Its code, which tells bodies apart where there are no cells.
        taken
            Names of the workers that exist; they are not given to a new one.
        """
        if cell.execution != self._execution:
            self._execution = cell.execution
            self._counts = {}
        base = function or "cell"
        count = self._counts[base] = self._counts.get(base, 0) + 1
        key = (cell.key if cell.key is not None or function else code, base, count)
        if key not in self._names:
            self._names[key] = self._new(cell, function, count, taken)
        return self._names[key]

    def _new(self, cell: Cell, function: str | None, count: int, taken: Collection[str]) -> str:
        stem = function or f"cell-{cell.number}"
        if cell.key is None and function:
            return stem if count == 1 else f"{stem}-{count}"
        name, number = stem, 1
        while name in taken or name in self._names.values():
            number += 1
            name = f"{stem}-{number}"
        return name


def function_name(code: str) -> str | None:
    """Return the name of the function that an expression is, or that it calls: ``poll`` for ``lab.poll(3)``."""
    try:
        node = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
