"""Workers written as the magics that make them, to be pasted into a cell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

from IPython.core.error import UsageError

from ..engine import BackgroundWorker
from ..table import clean_text
from .grammar import ACTOR, WORKER
from .options import MagicParser
from .times import is_duration, write_duration

__all__ = ["export_text"]

_PLAIN = re.compile(r"[\w.:+-]+", re.ASCII)


def export_text(workers: Iterable[BackgroundWorker]) -> str:
    """Return code that makes these workers again; a worker that no magic can make is a comment.

    Bodies of cell magics are written as calls of ``run_cell_magic``, so that all fits into one cell. Name,
    interval, counts and durations are those that the worker has now.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    texts = [_export_one(worker) for worker in workers]
    return "\n".join(texts) if texts else "# no workers"


def _export_one(worker: BackgroundWorker) -> str:
    if worker.source is None:
        return f"# {clean_text(worker.name)} ({worker.schedule}) was made from Python: no magic can make it"
    if worker.name.splitlines() != [worker.name]:
        return f"# {clean_text(worker.name)} ({worker.schedule}) has a name that no magic can write"
    first, _, body = worker.source.partition("\n")
    is_cell = first.startswith("%%")
    magic, _, line = first.lstrip("%").partition(" ")
    parser = ACTOR if worker.is_actor else WORKER
    options, code = read_definition(parser, line, is_cell=is_cell)
    retry = worker.retry
    options |= {
        "name": worker.name,
        "timeout": worker.timeout,
        "retry": worker.ignore_exception if retry is None else retry.attempts is None,
        "retries": None if retry is None else retry.attempts,
    }
    if worker.is_actor:
        words = write_options(parser, options)
    else:
        options |= {"max_count": worker.max_count, "jitter": worker.jitter, "max_failures": worker.max_failures}
        words = write_options(parser, options)
        if worker.cron is None:
            words.append(write_duration(worker.interval))
    if not is_cell:
        dashes = "-- " if code.startswith("-") and (worker.is_actor or worker.cron is not None) else ""
        return f"%{magic} {' '.join(words)} {dashes}{code}"
    lines = "".join(f"    {text!r}\n" for text in body.splitlines(keepends=True))
    return f'get_ipython().run_cell_magic("{magic}", {" ".join(words)!r}, (\n{lines}))'


def read_definition(parser: MagicParser, line: str, *, is_cell: bool) -> tuple[dict[str, Any], str]:
    """Read the options of a line; they may stand before and behind the INTERVAL, which is returned as ``interval``.

    With a cron expression there is no INTERVAL, and all options stand before the code.

    Raises
    ------
    UsageError
        If an option is wrong, the INTERVAL is missing, or a cell magic's line has code.
    """
    options, rest = parser.take_options(line)
    if parser is WORKER:
        interval, *code = rest.split(None, 1) or [""]
        if options["cron"] is None:
            if not rest:
                parser.refuse("the INTERVAL is missing, as in %bgworker 5s code")
            options["interval"] = interval
            more, rest = parser.take_options(code[0] if code else "", only_long=not is_cell)
            defaults, _ = parser.take_options("")
            options |= {key: value for key, value in more.items() if value != defaults[key]}
        if options["cron"] is not None and is_duration(interval):
            raise UsageError(f"--cron takes the place of the INTERVAL; leave {interval!r} out, or --cron")
    if is_cell and rest:
        raise UsageError(f"the code of %{parser.magic} stands below its line, {rest!r} is too much; put it there")
    return options, rest


def write_options(parser: MagicParser, options: dict[str, Any]) -> list[str]:
    """Return the options as words of a line, those that have their default left out."""
    defaults, _ = parser.take_options("")
    words = []
    for key, value in options.items():
        if key not in defaults or value == defaults[key]:
            continue
        flag = "--" + key.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, float):
            words.append(f"{flag} {write_duration(value)}")
        else:
            words.append(f"{flag} {_quoted(str(value))}")
    return words


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else shlex.quote(text)
