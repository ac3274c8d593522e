"""From the text of a magic to the callback of a worker or a job, with whatever can be wrong with it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Collection
from typing import Any

from IPython.core.error import UsageError

from ..engine import ErrorInfo
from .cells import compile_body
from .naming import Cell

__all__ = ["JOB_NAMES", "WORKER_NAMES", "callback_of", "evaluate", "refuse_arguments"]

#: What a run of a worker provides to a function that names it, and what a job does.
WORKER_NAMES = ("_worker", "_data")
JOB_NAMES = ("_job",)


def evaluate(shell: Any, expression: str, option: str) -> Any:
    """Return the value that an option's expression has in the notebook's namespace, now.

    Raises
    ------
    UsageError
        If it is no expression, or raises.
    """
    try:
        code = compile(expression.strip(), f"<{option}>", "eval")
        return eval(code, shell.user_ns)  # noqa: S307 - the user's own expression
    except Exception as error:
        raise UsageError(f"{option} {expression!r} cannot be evaluated: {ErrorInfo.of(error).line}") from None


def callback_of(
    shell: Any, code: str, cell: Cell, heading: str = "", *, provided: Collection[str] = WORKER_NAMES
) -> Callable[..., Any]:
    """Return what a run of this code calls.

    The name of a function (``poll``, ``lab.poll``) or a lambda stands for that function, as it is now. Any
    other code is compiled and executed in each run; functions that it calls are looked up in each run.

    Parameters
    ----------
    shell
        The InteractiveShell.
    code
        A line, or the body of a cell.
    cell
        The cell that has the code.
    heading
        The lines of the cell above the code.
    provided
        The parameters that a run of this kind provides.

    Raises
    ------
    SyntaxError
        If the code has one.
    UsageError
        If it names something that does not exist, or a function that needs arguments.
    """
    try:
        body = compile_body(shell, code, number=cell.number, heading=heading)
    except ValueError as error:  # characters that no source code may have
        raise UsageError(f"the code cannot be compiled: {ErrorInfo.of(error).line}") from None
    if heading or not _names_a_function(code):
        return body
    try:
        value = body()
    except Exception as error:
        raise UsageError(f"{code.strip()!r} cannot be evaluated: {ErrorInfo.of(error).line}") from None
    if inspect.iscoroutine(value):
        value.close()  # it is the body's, and was not begun
    if not callable(value):
        return body
    refuse_arguments(value, code.strip(), provided)
    return value  # type: ignore[no-any-return]


def _names_a_function(code: str) -> bool:
    """Tell whether the code is a dotted name or a lambda: evaluating it does nothing else."""
    try:
        node = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return False
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name | ast.Lambda)


def refuse_arguments(function: Callable[..., Any], code: str, provided: Collection[str] = WORKER_NAMES) -> None:
    """Raise a UsageError if a function cannot be called as a run calls it, with nothing but what a run provides."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions have none
    try:
        signature.bind(**dict.fromkeys(_named(signature, provided)))
    except TypeError as error:
        raise UsageError(
            f"{code} cannot be called without arguments ({error}); write the call, as in f(1), or lambda: f(1)"
        ) from None


def _named(signature: inspect.Signature, provided: Collection[str]) -> list[str]:
    """Return the parameters that a run provides and the function names."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in signature.parameters.items() if name in provided and parameter.kind in by_name]
