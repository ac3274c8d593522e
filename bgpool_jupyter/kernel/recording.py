"""The journal of this kernel: where it is, and whether it is on.

It stands in IPython's profile directory, or where the environment variable ``BGPOOL_JOURNAL`` or ``%bgpool journal``
say. It begins when the extension is loaded and is closed with the pool. What is wrong with its file is told once,
below the cell that runs then or next: the journal's own thread belongs to no cell.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import deque
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError

from ..background import set_default_recorder
from ..journal import Journal, default_journal, prepare, set_default_journal

__all__ = ["start", "stop", "turn"]

#: Says where the journal is, or "off".
_VARIABLE = "BGPOOL_JOURNAL"
_OFF = "off"
#: What a path has and a slip of the pen has not.
_PATH = re.compile(r"[./\\~]")

_logger = logging.getLogger("bgpool_jupyter")
#: Warnings that were not shown yet.
_warnings: deque[str] = deque()
_shell: Any = None
#: Where the journal of the shell is if nobody says another place; None if the shell has no profile directory.
_usual: Path | None = None


def start(shell: Any) -> None:
    """Keep the runs of the default pool in a journal, unless the environment says no; once on, it stays as it is.

    Notes
    -----
    Threads: belongs to the main thread; returns at once, the file is opened when there is something to write.
    """
    global _shell, _usual  # noqa: PLW0603 - there is one shell
    if _shell is not shell:
        _stop_showing()
        _shell = shell
        shell.events.register("post_run_cell", _show_warnings)
    profile = getattr(shell, "profile_dir", None)
    _usual = None if profile is None else Path(profile.location) / "bgpool" / "journal.sqlite"
    journal = default_journal()
    place = _place()
    if (journal is None or journal.closed) and not _is_off() and place is not None:
        _begin(place)


def _is_off() -> bool:
    """Return whether the environment says that no journal is kept."""
    return os.environ.get(_VARIABLE, "").lower() == _OFF


def _place() -> Path | None:
    """Return where the journal is if the notebook says no other place; None if there is none."""
    wanted = os.environ.get(_VARIABLE, "")
    return Path(wanted) if wanted and not _is_off() else _usual


def stop(timeout: float = 0.5) -> None:
    """Commit what is left and keep no more runs; stopping again changes nothing.

    Notes
    -----
    Threads: belongs to the main thread; blocks at most `timeout` seconds; starts no thread.
    """
    _stop_showing()
    _end(timeout)


def _stop_showing() -> None:
    """Show no more warnings of the journal below cells."""
    global _shell  # noqa: PLW0603 - there is one shell
    if _shell is not None:
        _shell.events.unregister("post_run_cell", _show_warnings)
        _shell = None
    _warnings.clear()


def _end(timeout: float = 0.5) -> None:
    journal = default_journal()
    if journal is not None:
        set_default_recorder(None)
        set_default_journal(None)
        journal.close(timeout)


def turn(word: str) -> None:
    """Switch the journal "on" or "off", or go on with it in another file.

    Raises
    ------
    UsageError
        If there is no place for it, or `word` is neither one of these words nor a path.
    JournalError, JournalRefused
        If the file cannot be the journal; then everything stays as it was.
    """
    if word == _OFF:
        _end()
        return
    if word == "on":
        place = _place()
        if place is None:
            raise UsageError("this shell has no profile directory for the journal; write %bgpool journal PATH")
    else:
        if not _PATH.search(word):
            raise UsageError(f"%bgpool journal takes on, off or a PATH, not {word!r}; a file of that name is ./{word}")
        place = Path(word)
    place = place.expanduser().absolute()
    journal = default_journal()
    if journal is not None and not journal.closed and journal.path == place:
        return
    prepare(place)
    _end()
    _begin(place)


def _begin(place: Path) -> None:
    # Jupyter's server tells a kernel the path of its notebook so.
    journal = Journal(place, label=os.environ.get("JPY_SESSION_NAME", ""), warn=_warn)
    set_default_journal(journal)
    set_default_recorder(journal)


def _warn(text: str) -> None:
    """Take a warning; on the journal's thread."""
    _logger.warning(text)
    _warnings.append(text)


def _show_warnings(*_: object) -> None:
    while _warnings:
        print(f"Warning: {_warnings.popleft()}", file=sys.stderr)  # noqa: T201 - the one place where people see it
