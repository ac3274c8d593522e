"""Workers written as the magics that make them, to be pasted into a cell."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ..engine import BackgroundWorker
from ..table import clean_text
from .definitions import read_definition
from .files import Definition, definitions_in
from .grammar import ACTOR, WORKER
from .options import MagicParser
from .times import parse_instant, write_duration

__all__ = ["export_cells", "export_text"]

_PLAIN = re.compile(r"[\w.:+-]+", re.ASCII)

_HEADER = """\
# Background workers, written by %bgpool export.
# %bgpool load FILE registers them paused; these cells, run as they stand, start them.
%load_ext bgpool_jupyter"""


class _Written(NamedTuple):
    """A worker as a magic."""

    definition: Definition
    #: What is to be known before it is run, as lines of comments.
    remarks: list[str]


def export_text(workers: Iterable[BackgroundWorker], now: float | None = None) -> str:
    """Return code that makes these workers again; a worker that no magic can make is a comment.

    Bodies of cell magics are written as calls of ``run_cell_magic``, so that all fits into one cell. Name,
    interval, counts and durations are those that the worker has now.

    Parameters
    ----------
    workers
        The workers.
    now
        The present instant, UTC epoch seconds; None reads the machine's clock.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    # What is shown on a terminal must not steer it, and what is hidden in it could not be pasted.
    lines = list(_texts(workers, now, lambda plain: not plain.startswith("%%") and clean_text(plain) == plain))
    return "\n".join(lines) if lines else "# no workers"


def export_cells(workers: Iterable[BackgroundWorker], now: float | None = None) -> list[str]:
    """Return the same as the cells of a file: bodies are written as they are, below their magics.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    return [_HEADER, *_texts(workers, now, lambda _: True)]


def _texts(workers: Iterable[BackgroundWorker], now: float | None, may_stand: Callable[[str], bool]) -> Iterator[str]:
    """Yield each worker as a magic, with the remarks above it; as a call where the plain magic may not stand."""
    for worker in workers:
        written = _write(worker, time.time() if now is None else now)
        if isinstance(written, str):
            yield written
            continue
        if written.remarks:
            yield "\n".join(written.remarks)
        magic, line, body = definition = written.definition
        plain = f"%{magic} {line}" if body is None else f"%%{magic} {line}\n{body}"
        # So is a text that would be read as something else, as one with a cell marker in it.
        yield plain if may_stand(plain) and definitions_in(plain) == [definition] else _call(definition)


def _call(definition: Definition) -> str:
    """Return a magic as a call, which any text survives."""
    magic, line, body = definition
    if body is None:
        return f'get_ipython().run_line_magic("{magic}", {line!r})'
    lines = "".join(f"    {text!r}\n" for text in body.splitlines(keepends=True))
    return f'get_ipython().run_cell_magic("{magic}", {line!r}, (\n{lines}))'


def _write(worker: BackgroundWorker, now: float) -> _Written | str:
    """Return the worker as a magic; as a comment if there is none that could make it."""
    if worker.source is None:
        return f"# {clean_text(worker.name)} ({worker.schedule}) was made from Python: no magic can make it"
    if worker.name.splitlines() != [worker.name]:
        return f"# {clean_text(worker.name)} ({worker.schedule}) has a name that no magic can write"
    first, _, body = worker.source.partition("\n")
    is_cell = first.startswith("%%")
    if not is_cell:
        first, body = worker.source, ""
    magic, _, line = first.lstrip("%").partition(" ")
    parser = ACTOR if worker.is_actor else WORKER
    options, code = read_definition(parser, line, is_cell=is_cell)
    remarks = _present(worker, options, now)
    words = write_options(parser, options)
    if not worker.is_actor and worker.cron is None:
        words.append(write_duration(worker.interval))
    if not is_cell:
        dashes = ["--"] if code.startswith("-") and (worker.is_actor or worker.cron is not None) else []
        return _Written(Definition(magic, " ".join([*words, *dashes, code]), None), remarks)
    return _Written(Definition(magic, " ".join(words), body), remarks)


def _present(worker: BackgroundWorker, options: dict[str, Any], now: float) -> list[str]:
    """Put what the worker has now in the place of what its magic said; return remarks."""
    retry = worker.retry
    options |= {
        "name": worker.name,
        "dispose": worker.dispose,
        "keep_frames": worker.keep_frames,
        "timeout": worker.timeout,
        "max_lateness": worker.max_lateness,
        "retry": worker.ignore_exception if retry is None else retry.attempts is None,
        "retries": None if retry is None else retry.attempts,
    }
    options["at"] = _instant(options["at"], worker.at)
    if worker.is_actor:
        if worker.at is not None and worker.at <= now:
            late = worker.max_lateness is not None and now - worker.at > worker.max_lateness
            outlook = "end without a run" if late else "run at once"
            return [f"# the --at of {clean_text(worker.name)} has passed: it would {outlook}"]
        return []
    options |= {"max_count": worker.max_count, "jitter": worker.jitter, "max_failures": worker.max_failures}
    if worker.cron is None:
        delayed = worker.start_with_delay and worker.at is None
        options |= {"start_with_delay": delayed, "fixed_delay": not worker.run_on_time}
    options["catch_up"] = worker.run_past_events and not options["fixed_delay"]
    options["until"] = _instant(options["until"], worker.until)
    if worker.until is not None and worker.until <= now:
        return [f"# the --until of {clean_text(worker.name)} has passed: give it another, or leave it out"]
    return []


def _instant(text: str | None, instant: float | None) -> str | None:
    """Return the text of an instant: the one that was given where that means the same on any day."""
    if instant is None:
        return None
    if text is not None and "-" in text and parse_instant(text, instant) == instant:
        return text
    return datetime.fromtimestamp(instant).astimezone().isoformat()


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
