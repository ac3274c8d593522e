"""Load, unload, and the kernel's end.

A worker that sleeps must never delay the kernel's end. All threads of the pool are daemons; on top of that the
pool is closed, for a moment and not longer, where the kernel shuts down (``do_shutdown``, which comes early and
also where child processes keep ``atexit`` from ever running), at ``atexit`` (``exit`` in a cell, terminals), and on
unload. A kernel that is killed runs none of these and needs none.

The one session of a process is kept here, in a submodule: ``%reload_ext`` executes the package's root anew, and
nothing else of it. Workers go on meanwhile, since an unload that a reload begins with is none: see :mod:`.reloading`.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from IPython.core.error import UsageError

from ..background import default_pool, set_default_capture
from . import recording
from .capture import OutputCapture
from .completion import install_completer, remove_completer
from .faults import show_plainly
from .grammar import PARSERS
from .inputs import guard_input, release_input
from .magics import PoolMagics
from .patches import put_method
from .reloading import keep_autoreload_away, reloading
from .resets import watch_names

__all__ = ["load", "reloading", "unload"]

#: Seconds that runs in flight are given at the kernel's end.
_AT_EXIT = 0.2
#: Seconds that they are given on unload.
_AT_UNLOAD = 1.0

_session: _Session | None = None


def load(shell: Any, panel_factory: Callable[[], Any]) -> None:
    """Make the magics available in `shell`; loading again changes nothing but `panel_factory`.

    Parameters
    ----------
    shell
        The InteractiveShell. Where another one was loaded, that is unloaded first.
    panel_factory
        Returns the panel of the default pool.

    Raises
    ------
    UsageError
        If the kernel is of a version with which the panel cannot work.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    global _session  # noqa: PLW0603 - the one session of the process
    _refuse_kernel(shell)
    if _session is not None and _session.shell is shell:
        _session.magics.panel_factory = panel_factory
        return
    if _session is not None:
        unload(_session.shell)
    _session = _Session(shell, panel_factory)


def unload(shell: Any) -> None:
    """Close the default pool and take everything out of `shell` that load() put there; unloading again changes nothing.

    Notes
    -----
    Threads: belongs to the main thread; blocks for at most a second, for runs in flight.
    """
    global _session
    if _session is not None and _session.shell is shell:
        session, _session = _session, None
        session.close()


def _refuse_kernel(shell: Any) -> None:
    ipykernel = sys.modules.get("ipykernel")
    if ipykernel is not None and hasattr(shell, "kernel") and ipykernel.version_info[:2] == (7, 0):
        raise UsageError(
            f"ipykernel {ipykernel.__version__} loses what threads send to the panel; "
            'install another one with pip install "ipykernel!=7.0.*" and restart the kernel'
        )


class _Session:
    """Everything that load() puts into a shell, and how it is taken out again."""

    def __init__(self, shell: Any, panel_factory: Callable[[], Any]) -> None:
        self.shell = shell
        # A forked child has neither the threads nor the say: the end of the parent's pool is not its business.
        self._process = os.getpid()
        self._capture = OutputCapture(shell)
        self.magics = PoolMagics(shell, self._capture, panel_factory)
        self._undo = ExitStack()
        try:
            self._install()
        except BaseException:
            self._undo.close()
            raise

    def _install(self) -> None:
        shell, undo = self.shell, self._undo
        undo.callback(self._capture.uninstall)
        self._capture.install()
        undo.callback(release_input, shell)
        guard_input(shell)
        undo.callback(_remove_magics, shell)
        shell.register_magics(self.magics)
        undo.callback(show_plainly(shell))
        undo.callback(self.magics.ownership.install())
        undo.callback(remove_completer, shell)
        install_completer(shell, lambda: self.magics.pool)
        undo.callback(keep_autoreload_away(shell))
        undo.callback(watch_names(shell))
        undo.callback(set_default_capture, None)
        set_default_capture(self._capture)
        undo.callback(recording.stop)
        recording.start(shell)
        self._watch_kernel(getattr(shell, "kernel", None))
        atexit.register(self._end, _AT_EXIT)
        undo.callback(atexit.unregister, self._end)
        undo.callback(self._end, _AT_UNLOAD)

    def close(self) -> None:
        """Close the pool and take everything out, in the reverse order."""
        self._undo.close()

    def _watch_kernel(self, kernel: Any) -> None:
        """Close the pool when the kernel is told to shut down or to restart."""
        if kernel is None:
            return
        original = kernel.do_shutdown

        def do_shutdown(*args: Any, **more: Any) -> Any:
            self._end(_AT_EXIT)
            return original(*args, **more)

        self._undo.callback(put_method(kernel, "do_shutdown", do_shutdown))

    def _end(self, timeout: float) -> None:
        """Close pool and journal; starts no thread, blocks `timeout` + 0.5 s at most, may be called again."""
        if os.getpid() == self._process:
            default_pool().close(timeout)
            recording.stop()


def _remove_magics(shell: Any) -> None:
    manager = shell.magics_manager
    manager.registry.pop(PoolMagics.__name__, None)
    for name in PARSERS:
        for kind in ("line", "cell"):
            manager.magics[kind].pop(name, None)
