"""The magics: ``%bgworker``, ``%bgactor``, ``%bgjob`` for a line and with ``%%`` for a cell, and ``%bgpool``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from ..background import default_pool
from ..engine import BackgroundWorker, Cron, Job, PoolError, WorkerPool
from ..table import WorkerTable
from .capture import OutputCapture
from .definitions import JOB_NAMES, callback_of, evaluate, refuse_arguments
from .export import read_definition
from .grammar import ACTOR, JOB, POOL, WORKER
from .naming import Cell, NameBook, function_name
from .options import HelpShown, MagicParser
from .reports import LogEntry
from .times import parse_duration, parse_instant
from .verbs import Verbs

__all__ = ["PoolMagics"]

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound="PoolMagics")


def _answers(parser: MagicParser) -> Callable[[Callable[Concatenate[M, P], R]], Callable[Concatenate[M, P], R | None]]:
    """Give a magic its parser's help as its docstring, and make every mistake of a user a UsageError: here alone."""

    def decorate(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R | None]:
        def magic(self: M, /, *args: P.args, **more: P.kwargs) -> R | None:
            try:
                return method(self, *args, **more)
            except HelpShown:
                return None
            except PoolError as error:
                raise UsageError(str(error)) from None
            except SyntaxError as error:
                raise error.with_traceback(None) from None  # the cell's line says all, our frames nothing

        magic.__name__ = method.__name__  # under which IPython registers it
        magic.__doc__ = parser.help
        return magic

    return decorate


def _has_code(text: str) -> bool:
    """Return whether there is more than empty lines and comments."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


@magics_class
class PoolMagics(Magics):
    """The magics of one shell.

    Parameters
    ----------
    shell
        The InteractiveShell.
    capture
        Leads what runs print into their records.
    panel_factory
        Returns the panel of the default pool.

    Notes
    -----
    Threads: belongs to the main thread.
    """

    def __init__(self, shell: Any, capture: OutputCapture, panel_factory: Callable[[], Any]) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.panel_factory = panel_factory
        self._capture = capture
        self._names = NameBook()

    @property
    def pool(self) -> WorkerPool:
        """The living default pool, with the output of its runs captured."""
        pool = default_pool()
        if pool.capture is None:
            pool.capture = self._capture
        return pool

    @no_var_expand
    @line_cell_magic
    @_answers(WORKER)
    def bgworker(self, line: str, cell: str | None = None) -> BackgroundWorker:  # noqa: D102 - see _answers
        options, code = self._definition(WORKER, line, cell)
        pool = self.pool
        interval = _schedule(options)
        settings = {
            "jitter": options["jitter"],
            "until": _until(options["until"], pool.clock.time()),
            "max_failures": options["max_failures"],
            "start_with_delay": options["start_with_delay"],
            "max_count": options["max_count"],
            "run_on_time": not options["fixed_delay"],
            "run_past_events": options["catch_up"],
        }
        make = functools.partial(pool.new_worker, interval, **settings)
        return self._define(make, options, code, _source("bgworker", line, cell))

    @no_var_expand
    @line_cell_magic
    @_answers(ACTOR)
    def bgactor(self, line: str, cell: str | None = None) -> BackgroundWorker:  # noqa: D102
        options, code = self._definition(ACTOR, line, cell)
        if options["delay"] is not None and options["at"] is not None:
            raise UsageError("--delay and --at cannot both be given; leave one of them out")
        pool = self.pool
        at = None if options["at"] is None else parse_instant(options["at"], pool.clock.time())
        make = functools.partial(pool.new_actor, delay=options["delay"] or 0.0, at=at)
        return self._define(make, options, code, _source("bgactor", line, cell))

    @no_var_expand
    @line_cell_magic
    @_answers(JOB)
    def bgjob(self, line: str, cell: str | None = None) -> Job:  # noqa: D102
        options, code = self._definition(JOB, line, cell)
        cell_now = Cell.current(self.shell)
        task = callback_of(self.shell, code, cell_now, _heading("bgjob", line, cell), provided=JOB_NAMES)
        return self.pool.run_job(task, options["name"])

    @no_var_expand
    @line_magic
    @_answers(POOL)
    def bgpool(self, line: str) -> Any:  # noqa: D102
        options, words = POOL.take_words(line)
        last = options["last"]
        if not words:
            if last is not None:
                raise UsageError("--last belongs to log, history and preview; write %bgpool history --last 5")
            pool = self.pool
            return WorkerTable(pool.find_workers(), "no workers; %bgworker -h says how to make one", pool.clock.time)
        verbs = Verbs(self.pool, self.panel_factory, self._show)
        return verbs.do(words[0], words[1:], last)

    # -- inside

    def _definition(self, parser: MagicParser, line: str, cell: str | None) -> tuple[dict[str, Any], str]:
        """Return the options and the code of a line or a cell."""
        options, code = read_definition(parser, line, is_cell=cell is not None)
        if len((options["name"] or "").splitlines()) > 1:
            raise UsageError(f"--name {options['name']!r} has more than one line; write one")
        if options.get("retry") and options["retries"] is not None:
            raise UsageError("--retry and --retries exclude each other: --retry repeats without limit; leave one out")
        if cell is not None:
            if not _has_code(cell):
                raise UsageError(f"the cell of %{parser.magic} is empty; put code below its line")
            return options, cell
        if not _has_code(code):
            interval = " 5s" if parser is WORKER else ""
            raise UsageError(
                f"the code is missing; write {parser.magic}{interval} code, "
                f"or %{parser.magic}{interval} and the code below it"
            )
        return options, code

    def _define(
        self,
        make: Callable[..., BackgroundWorker],
        options: dict[str, Any],
        code: str,
        source: tuple[str, str],
    ) -> BackgroundWorker:
        """Make a worker, put it in the place of the ones of the same name, and start it.

        Whatever can fail is done before a worker is touched or registered.
        """
        cell = Cell.current(self.shell)
        text, heading = source
        pool = self.pool
        workers = pool.find_workers()
        name = options["name"]
        if name is None:
            function = None if heading else function_name(code)
            name = self._names.name(cell, function, code, {worker.name for worker in workers})
        callback = callback_of(self.shell, code, cell, heading)
        existing = [worker for worker in workers if worker.name == name]
        if existing and options["exists"] == "keep":
            return existing[-1]
        if existing and options["exists"] == "error":
            raise UsageError(f"a worker {name!r} exists already; give another name, or --exists replace or keep")
        expressions = self._expressions(options)
        worker = make(
            callback=callback,
            name=name,
            dispose=options["dispose"],
            ignore_exception=options["retry"],
            retry=options["retries"],
            timeout=options["timeout"],
            **expressions,
        )
        worker.source = text
        worker.cell = cell.number
        if not options["no_start"]:
            try:
                worker.start()
            except PoolError:
                pool.remove(worker)
                raise
        for old in existing:
            pool.remove(old)
        return worker

    def _expressions(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the values of the options that are expressions."""
        values = {
            key: evaluate(self.shell, options[key], f"--{key}")
            for key in ("data", "finished")
            if options[key] is not None
        }
        if callable(values.get("finished")):
            refuse_arguments(values["finished"], f"--finished {options['finished']}")
        return values

    def _show(self, entry: LogEntry) -> None:
        """Print a text, and show its rich displays below it."""
        print(entry.text)  # noqa: T201 - what was asked for
        for data in entry.displays:
            self.shell.display_pub.publish(data)


def _schedule(options: dict[str, Any]) -> float | Cron:
    """Return the interval, or the cron expression in its time zone, of a worker's options."""
    if options["fixed_delay"] and options["catch_up"]:
        raise UsageError("--fixed-delay and --catch-up exclude each other: after a fixed delay no slot is missed")
    if options["cron"] is None:
        if options["tz"] is not None:
            raise UsageError('--tz is the time zone of --cron; leave it out, or write --cron "0 9 * * *" --tz ZONE')
        return parse_duration(options["interval"])
    for name in ("fixed_delay", "start_with_delay"):
        if options[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--cron and {flag} exclude each other: the expression says when to run; leave {flag} out")
    try:
        return Cron(options["cron"], options["tz"])
    except PoolError as error:  # the expression itself was looked at by its option
        raise UsageError(f"--tz: {error}") from None


def _until(text: str | None, now: float) -> float | None:
    """Return the instant of --until, which must be still to come."""
    if text is None:
        return None
    instant = parse_instant(text, now, "--until")
    if instant <= now:
        raise UsageError(f"--until {text} has passed; give a time that is still to come")
    return instant


def _heading(magic: str, line: str, cell: str | None) -> str:
    """Return the line of a cell magic, "" for a line magic."""
    return "" if cell is None else f"%%{magic} {line}".rstrip()


def _source(magic: str, line: str, cell: str | None) -> tuple[str, str]:
    """Return the text of the magic, and its heading."""
    heading = _heading(magic, line, cell)
    return (f"{heading}\n{cell}" if cell is not None else f"%{magic} {line}".rstrip()), heading
