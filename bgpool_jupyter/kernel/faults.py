"""Syntax errors of the code that a magic is given, shown as those of an ordinary cell.

IPython shows a SyntaxError that comes from executed code with the frames that it came through: its own and those of
this package. It has no hook for that, so the shell's method that shows it is asked to leave the frames out where the
error is one that a magic marked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .patches import put_method

__all__ = ["show_plainly", "without_frames"]

_MARK = "bgpool_without_frames"


def without_frames(error: SyntaxError) -> SyntaxError:
    """Return the error, to be raised anew: its line in the cell says all, the frames that it came through nothing.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    setattr(error, _MARK, True)
    return error.with_traceback(None)


def show_plainly(shell: Any) -> Callable[[], None]:
    """Have a shell show errors of :func:`without_frames` so; return what undoes it.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    original = shell.showsyntaxerror

    def showsyntaxerror(filename: str | None = None, running_compiled_code: bool = False) -> Any:
        framed = running_compiled_code and not hasattr(sys.exc_info()[1], _MARK)
        return original(filename, running_compiled_code=framed)

    return put_method(shell, "showsyntaxerror", showsyntaxerror)
