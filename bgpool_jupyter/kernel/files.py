"""Files of cells: Python files in the percent format, notebooks; and the magics that stand in a cell's text.

What is read was written by somebody else. Nothing of it is executed here: cells are taken apart as text and as syntax
trees, and a file that is anything else than what its name says ends in a UsageError.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TransformerManager

from ..table import clean_text

__all__ = ["CellReading", "Definition", "definitions_in", "read_cell", "read_cells", "write_cells"]

#: Most bytes of a file that is read, and most characters of a cell that is looked into.
MAX_FILE = 32 * 2**20
MAX_CELL = 2**20

#: The magics that make workers.
_MAGICS = ("bgworker", "bgactor")
_AT_LINE_START = re.compile(r"^\s*%%?(?:bgworker|bgactor)\b", re.MULTILINE)
#: What stands between cells in a Python file. Spyder, VS Code, PyCharm and Jupytext read it too.
_MARKER = re.compile(r"^# ?%%(.*)$", re.MULTILINE)
_OTHER_KINDS = ("[markdown]", "[md]", "[raw]")


class Definition(NamedTuple):
    """A magic that makes a worker, as text."""

    #: "bgworker" or "bgactor".
    magic: str
    #: What follows the magic on its line.
    line: str
    #: The lines below a cell magic, None for a line magic.
    body: str | None


class CellReading(NamedTuple):
    """What stands in the text of a cell."""

    definitions: list[Definition]
    #: There is other code, which is not read.
    other: bool


def read_cell(text: str) -> CellReading:
    """Find the magics at the top level of a cell, and whether there is anything else.

    The transformation is IPython's own, so that what counts as a magic here is what IPython would take for one;
    nothing is executed. An assignment of a magic's value is other code.

    Raises
    ------
    UsageError
        If the cell names a magic and cannot be taken apart.

    Notes
    -----
    Threads: may be called from any thread.
    """
    if not any(magic in text for magic in _MAGICS):
        statements = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return CellReading([], any(not line.startswith("%load_ext bgpool_jupyter") for line in statements))
    if len(text) > MAX_CELL:
        raise UsageError(f"it has more than {MAX_CELL:,} characters")
    try:
        tree = ast.parse(TransformerManager().transform_cell(text))  # type: ignore[no-untyped-call]
    except SyntaxError as error:
        if not _AT_LINE_START.search(text):
            return CellReading([], other=True)
        raise UsageError(f"it is no code: {error.msg}") from None
    except (ValueError, RuntimeError, MemoryError, RecursionError) as error:
        raise UsageError(f"IPython cannot take it apart: {error or type(error).__name__}") from None
    definitions = []
    other = False
    for statement in tree.body:
        call = _magic_call(statement)
        if call is None:
            other = True
        elif call.magic in _MAGICS:
            definitions.append(call)
        elif call[:2] != ("load_ext", "bgpool_jupyter"):
            other = True
    return CellReading(definitions, other)


def _magic_call(statement: ast.stmt) -> Definition | None:
    """Return the magic that a statement calls, in the form into which IPython brings all magics; None for others."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or call.keywords or not isinstance(call.func, ast.Attribute):
        return None
    if ast.unparse(call.func.value) != "get_ipython()":
        return None
    words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    count = {"run_line_magic": 2, "run_cell_magic": 3}.get(call.func.attr)
    if count is None or len(call.args) != count or len(words) != count:
        return None
    return Definition(words[0], words[1], words[2] if count > 2 else None)  # noqa: PLR2004 - a cell magic has a body


def definitions_in(text: str) -> list[Definition]:
    """Return the magics that a reader of a file finds in a cell with this text; none if it finds anything else.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    try:
        reading = read_cell(text)
    except UsageError:
        return []
    whole = "\r" not in text and _python_cells(_python_text([text])) == [text.rstrip("\n")]
    return reading.definitions if whole and not reading.other else []


# -- reading


def read_cells(name: str) -> list[tuple[int, str]]:
    """Return number, from 1, and text of each code cell of a file that ends in ``.py`` or ``.ipynb``.

    Raises
    ------
    UsageError
        If the file is not there, is no such file, or is too large.

    Notes
    -----
    Threads: may be called from any thread; reads a file.
    """
    path, kind = _path(name)
    try:
        text = _bytes_of(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{_shown(path)} cannot be read: {_why(error)}") from None
    cells = _python_cells(text) if kind == ".py" else _notebook_cells(text, path)
    return [(number, cell) for number, cell in enumerate(cells, 1) if cell is not None]


def _bytes_of(path: Path) -> bytes:
    # A pipe or a device is opened without waiting, and then refused.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda file, _flags: os.open(file, flags)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(None, "it is no file")
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise OSError(None, f"it has more than {MAX_FILE // 2**20} MB")
    return content


def _python_cells(text: str) -> list[str | None]:
    """Return the cells of a Python file, None for those that are no code."""
    text = text.replace("\r\n", "\n")
    parts = _MARKER.split(text)  # the text before the first marker, then titles and texts in turns
    cells: list[str | None] = [parts[0].strip("\n")] if parts[0].strip() or len(parts) == 1 else []
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        cells.append(None if title.strip().startswith(_OTHER_KINDS) else body.strip("\n"))
    return cells


def _notebook_cells(text: str, path: Path) -> list[str | None]:
    """Return the cells of a notebook, None for those that are no code."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{_shown(path)} is no notebook: it is not JSON ({_why(error)})") from None
    version = notebook.get("nbformat") if isinstance(notebook, dict) else None
    if type(version) is not int or not isinstance(notebook.get("cells", []), list):
        raise UsageError(f"{_shown(path)} is no notebook: nbformat or cells are missing or wrong")
    if version != 4:  # noqa: PLR2004 - the format since 2014
        raise UsageError(f"{_shown(path)} has the notebook format {version}, not 4; save it with Jupyter once")
    cells: list[str | None] = []
    for number, cell in enumerate(notebook.get("cells", []), 1):
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = cell.get("source") if isinstance(cell, dict) else None
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(kind, str) or not isinstance(source, str):
            raise UsageError(f"{_shown(path)} is no notebook: cell {number} has no cell_type or no source")
        cells.append(source if kind == "code" else None)
    return cells


# -- writing


def write_cells(name: str, cells: Sequence[str], *, force: bool) -> Path:
    """Write a file of code cells, whole or not at all, that ends in ``.py`` or ``.ipynb``; return its path.

    Parameters
    ----------
    name
        The file. A symbolic link in its place is replaced, not followed.
    cells
        The texts.
    force
        Whether a file that is there already is replaced.

    Raises
    ------
    UsageError
        If the file is there and `force` is not given, or cannot be written.

    Notes
    -----
    Threads: may be called from any thread; writes a file.
    """
    path, kind = _path(name)
    text = _python_text(cells) if kind == ".py" else _notebook_text(cells)
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"{_shown(path)} is a folder; give the name of a file")
    try:
        _write(path, text.encode(), force=force)
    except FileExistsError:
        raise UsageError(f"{_shown(path)} is there already; give another name, or --force to replace it") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{_shown(path)} cannot be written: {_why(error)}") from None
    return path


def _write(path: Path, content: bytes, *, force: bool) -> None:
    if not force or not os.path.lexists(path):
        with path.open("xb") as stream:
            _or_remove(path, lambda: stream.write(content))
        return
    number, beside = tempfile.mkstemp(prefix=f".{path.stem[:50]}-", suffix=path.suffix, dir=path.parent)
    os.close(number)

    def replace() -> None:
        Path(beside).write_bytes(content)
        Path(beside).chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600)
        Path(beside).replace(path)

    _or_remove(Path(beside), replace)


def _or_remove(path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _python_text(cells: Sequence[str]) -> str:
    texts = [cell.rstrip("\n") for cell in cells]
    return "\n".join(f"# %%\n{text}\n" for text in texts)


def _notebook_text(cells: Sequence[str]) -> str:
    notebook: dict[str, Any] = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"cell-{number}",
                "metadata": {},
                "outputs": [],
                "source": cell.rstrip("\n").splitlines(keepends=True),
            }
            for number, cell in enumerate(cells, 1)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _path(name: str) -> tuple[Path, str]:
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # there is no such user: then it is a name like any other
        path = path.expanduser()
    kind = path.suffix.lower()
    if kind not in {".py", ".ipynb"}:
        raise UsageError(f"the name of the file must end in .py or .ipynb, not {name[-200:]!r}")
    return path, kind


def _shown(path: Path) -> str:
    text = clean_text(str(path))
    return text if len(text) <= 200 else f"…{text[-199:]}"  # noqa: PLR2004 - one line


def _why(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return clean_text(text.split("\n", 1)[0])[:200]
