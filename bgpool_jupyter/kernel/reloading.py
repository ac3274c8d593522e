"""What a reload of modules does to the pool: nothing.

``%reload_ext`` calls the hook for unloading, executes the package's root anew and calls the hook for loading.
Somebody who reloads wants what they had, so the first of the two must know whether the second will follow. IPython
does not tell it; :func:`reloading` reads it from the stack, where ``reload_extension`` stands above the hook.

``%autoreload`` executes every module anew whose file has changed, and the package's own change under a kernel when it
is upgraded. A pool whose classes are exchanged under its threads is lost (an enumeration's members are other
objects then), so autoreload is told to leave the package alone, with its own list of modules to skip.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from IPython.core.extensions import ExtensionManager

__all__ = ["keep_autoreload_away", "reloading"]

_PACKAGE = __name__.split(".", maxsplit=1)[0]
#: Modules whose frames may stand between the hook and IPython's reload_extension().
_BETWEEN = frozenset({_PACKAGE, __name__, ExtensionManager.__module__})


def reloading() -> bool:
    """Tell whether the package's hook for unloading was called by IPython's ``reload_extension``.

    Only the hook itself and IPython's extension manager may stand between: an unload that something else does in the
    course of a reload is an unload.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - what inspect.currentframe() is
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        if frame.f_code is ExtensionManager.reload_extension.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def keep_autoreload_away(shell: Any) -> Callable[[], None]:
    """Have ``%autoreload`` leave this package alone, also if it is loaded later; return what undoes it.

    Notes
    -----
    Threads: belongs to the main thread, as do the events of the shell.
    """
    names = _module_names()
    told: list[tuple[dict[str, bool], list[str]]] = []

    def tell(*_args: Any) -> None:
        skip = _skip_list(shell)
        if skip is None or any(skip is known for known, _ in told):
            return
        fresh = [name for name in names if name not in skip]
        skip.update(dict.fromkeys(fresh, True))
        told.append((skip, fresh))

    def undo() -> None:
        shell.events.unregister("pre_run_cell", tell)
        for skip, added in told:
            for name in added:
                skip.pop(name, None)

    tell()
    shell.events.register("pre_run_cell", tell)
    return undo


def _skip_list(shell: Any) -> dict[str, bool] | None:
    """Return autoreload's table of modules to skip; None where there is no autoreload, or one of another kind."""
    magics = shell.magics_manager.registry.get("AutoreloadMagics")
    skip = getattr(getattr(magics, "_reloader", None), "skip_modules", None)
    return skip if isinstance(skip, dict) else None


def _module_names() -> Iterable[str]:
    """Return the names of all modules of this package, those too that are not imported yet."""
    top = Path(__file__).parents[1]
    for path in sorted(top.rglob("*.py")):
        parts = (_PACKAGE, *path.relative_to(top).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
