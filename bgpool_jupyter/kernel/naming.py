"""Names for workers that were given none: stable, so that a cell that is run again replaces its own worker."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Cell", "NameBook", "function_name", "line_in_cell"]

#: A line that may go on behind a backslash, which IPython makes one line of: a magic, a command, an assignment of one.
_MAGIC_LINE = re.compile(r"\s*(?:[%!]|[\w.,\s]+=\s*[%!])")


class Cell(NamedTuple):
    """The cell that is being executed."""

    #: What it is recognised by when it is run again; None where there are no cells, in a terminal.
    key: str | None
    #: Differs from one execution to the next.
    execution: str
    #: The execution count.
    number: int
    #: What the front end calls it; None where it does not say so, as terminals and headless runs do not.
    id: str | None = None
    #: Its text as it was written; "" where that is not known.
    text: str = ""
    #: The request that executes it; "" where there are no requests.
    request: str = ""
    #: Cells that the front end says were deleted since the request before.
    deleted: tuple[str, ...] = ()

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
        metadata = request.get("metadata", {})
        text = str(request.get("content", {}).get("code", ""))
        cell_id = metadata.get("cellId")
        cell_id = cell_id if isinstance(cell_id, str) and cell_id else None
        message = str(request.get("header", {}).get("msg_id", ""))
        deleted = metadata.get("deletedCells")
        gone = tuple(each for each in deleted if isinstance(each, str)) if isinstance(deleted, list) else ()
        return cls(cell_id or text, f"{number} {message}", number, cell_id, text, message, gone)


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
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def line_in_cell(shell: Any, text: str) -> int | None:
    """Return the line, from 1, on which the cell that is being executed called the magic that asks.

    Parameters
    ----------
    shell
        The InteractiveShell.
    text
        The cell as it was written; "" where that is not known.

    Returns
    -------
    int or None
        None where no cell is being executed.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - what inspect.currentframe() is
    line = None
    while frame is not None:
        # A cell may run other cells: the outermost is the one that people see.
        if frame.f_globals is shell.user_ns and frame.f_code.co_name == "<module>":
            line = frame.f_lineno
        frame = frame.f_back
    return None if line is None else _line_as_written(text, line)


def _line_as_written(text: str, line: int) -> int:
    """Return the line of a cell of which IPython made the given line of Python.

    It drops empty lines at the beginning, makes one line of a cell magic, and one of lines that end in a backslash
    where they are a magic.
    """
    lines = text.splitlines()
    first = next((number for number, each in enumerate(lines) if each.strip()), 0)
    if first < len(lines) and lines[first].startswith("%%"):
        return first + 1
    index, count = first, 1
    while count < line and index < len(lines):
        if _MAGIC_LINE.match(lines[index]):
            while lines[index].endswith("\\") and index + 1 < len(lines):
                index += 1
        index += 1
        count += 1
    return index + 1 if count == line else line
