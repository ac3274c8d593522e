"""Methods of objects of others that are replaced for a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["put_method"]


def put_method(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Put a function in the place of a method of one object; return what brings back what was there.

    Where somebody else has put something of theirs there since, that stays.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    of_others = vars(owner).get(name)

    def undo() -> None:
        if vars(owner).get(name) is function:
            if of_others is None:
                delattr(owner, name)
            else:
                setattr(owner, name, of_others)

    setattr(owner, name, function)
    return undo
