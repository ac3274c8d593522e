"""Tab completion of the magics: verbs, options and their choices, and names of workers."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from IPython.core.error import TryNext

from ..engine import WorkerPool
from .grammar import DEBUG, PARSERS, POOL, VERBS
from .options import MagicParser

__all__ = ["completions", "install_completer", "remove_completer"]


def completions(parser: MagicParser, text: str, pool: WorkerPool) -> list[str]:
    """Return what may stand at the end of a line.

    Parameters
    ----------
    parser
        The parser of the line's magic.
    text
        The line up to the cursor, with the magic.
    pool
        Whose names are offered.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    *before, current = text.split(" ") if " " in text else (text, "")
    words = [word for word in before[1:] if word]
    last = words[-1] if words else ""
    option = parser.options.get(last)
    if option is not None and option.choices:
        return list(option.choices)
    if option is not None and option.name == "tz":
        return sorted(_zones())
    if option is not None and option.name == "name":
        return _quoted(worker.name for worker in pool.find_workers())
    if current.startswith("-"):
        return [*dict.fromkeys(option.flags[-1] for option in parser.options.values()), "--help"]
    if parser not in {POOL, DEBUG} or (option is not None and option.value is not None):
        return []
    return _quoted(_words(parser, words, pool))


@cache
def _zones() -> set[str]:
    # Read once: it looks into hundreds of files.
    return available_timezones()


def _words(parser: MagicParser, words: list[str], pool: WorkerPool) -> list[str]:
    """Return verbs or names that may follow the words of a line."""
    if parser is DEBUG:
        return [worker.name for worker in pool.find_workers() if worker.last_error is not None]
    verbs = [word for word in words if word in VERBS]
    if not verbs:
        return list(VERBS)
    names = [] if verbs[0] in {"kill", "panel", "jobs", "suspend"} else [worker.name for worker in pool.find_workers()]
    if verbs[0] in {"jobs", "log", "stack"}:
        names += [job.name for job in pool.jobs()]
    if verbs[0] == "events":
        names += [event.name for event in pool.events()]  # workers that are gone are among them
    return names


def _quoted(names: Iterable[str]) -> list[str]:
    return [shlex.quote(name) for name in dict.fromkeys(names) if name.isprintable()]


def install_completer(shell: Any, pool: Callable[[], WorkerPool]) -> None:
    """Offer completions in a shell.

    Notes
    -----
    Threads: belongs to the main thread.
    """

    def complete(_shell: Any, event: Any) -> list[str]:
        parser = PARSERS.get(event.command.lstrip("%"))
        found = completions(parser, event.text_until_cursor.lstrip(), pool()) if parser is not None else []
        if not found:
            raise TryNext
        return found

    for key in _keys():
        shell.set_hook("complete_command", complete, str_key=key)


def remove_completer(shell: Any) -> None:
    """Offer them no more.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    commands = shell.strdispatchers.get("complete_command")
    if commands is not None:
        for key in _keys():
            commands.strs.pop(key, None)


def _keys() -> list[str]:
    return [mark + name for name in PARSERS for mark in ("%", "%%")]
