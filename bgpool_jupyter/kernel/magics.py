"""The magics: ``%bgworker``, ``%bgactor``, ``%bgjob`` for a line and with ``%%`` for a cell, and ``%bgpool``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from ..background import default_pool
from ..engine import BackgroundWorker, Job, PoolError, WorkerPool
from ..table import log_text
from .capture import OutputCapture
from .debugging import DebugOptions, debug, worker_to_debug
from .definitions import (
    JOB_NAMES,
    callback_of,
    expressions,
    heading_of,
    maker,
    parse_definition,
    source_of,
)
from .faults import without_frames
from .grammar import ACTOR, DEBUG, JOB, POOL, WORKER
from .loading import Loading, load_file
from .naming import Cell, NameBook, function_name
from .options import HelpShown, MagicParser
from .ownership import Ownership
from .reports import LogEntry
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
                raise without_frames(error) from None

        magic.__name__ = method.__name__  # under which IPython registers it
        magic.__doc__ = parser.help
        return magic

    return decorate


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
        #: Knows which cell made which worker.
        self.ownership = Ownership(shell)

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
        return self._define(WORKER, line, cell)

    @no_var_expand
    @line_cell_magic
    @_answers(ACTOR)
    def bgactor(self, line: str, cell: str | None = None) -> BackgroundWorker:  # noqa: D102
        return self._define(ACTOR, line, cell)

    @no_var_expand
    @line_cell_magic
    @_answers(JOB)
    def bgjob(self, line: str, cell: str | None = None) -> Job:  # noqa: D102
        options, code = parse_definition(JOB, line, cell)
        cell_now = Cell.current(self.shell)
        task = callback_of(self.shell, code, cell_now, heading_of(JOB, line, cell), provided=JOB_NAMES)
        return self.pool.run_job(task, options["name"])

    @no_var_expand
    @line_magic
    @_answers(POOL)
    def bgpool(self, line: str) -> Any:  # noqa: D102
        options, words = POOL.take_words(line)
        last = options["last"]
        verbs = Verbs(self.pool, self.panel_factory, self._show, self._load)
        return verbs.do(words[0], words[1:], last, options) if words else verbs.table(last, options)

    @no_var_expand
    @line_magic
    @_answers(DEBUG)
    def bgdebug(self, line: str) -> None:  # noqa: D102
        options, words = DEBUG.take_words(line)
        if not words:
            DEBUG.refuse("the NAME of a worker that failed is missing, %bgpool shows which have")
        if len(words) > 1:
            raise UsageError(f"%bgdebug takes one NAME, {words[1]!r} is too much; put a name with spaces in quotes")
        if options["post_mortem"] and (options["again"] or options["step"]):
            raise UsageError("--post-mortem runs nothing, --again and --step run the body; leave one of them out")
        pool = self.pool
        verbs = Verbs(pool, self.panel_factory, self._show)
        worker = worker_to_debug(verbs.named(words[0]), pool.find_workers())
        debug(self.shell, pool, worker, DebugOptions(**options))

    # -- inside

    def _define(self, parser: MagicParser, line: str, body: str | None) -> BackgroundWorker:
        """Make a worker, put it in the place of the ones of the same name, and start it.

        Whatever can fail is done before a worker is touched or registered.
        """
        options, code = parse_definition(parser, line, body)
        pool = self.pool
        make = maker(pool, parser, options)
        cell = Cell.current(self.shell)
        heading = heading_of(parser, line, body)
        workers = pool.find_workers()
        name = options["name"]
        if name is None:
            function = None if heading else function_name(code)
            name = self._names.name(cell, function, code, {worker.name for worker in workers})
        callback = callback_of(self.shell, code, cell, heading)
        existing = [worker for worker in workers if worker.name == name]
        if existing and options["exists"] == "keep":
            self.ownership.keep(existing[-1], cell)
            return existing[-1]
        if existing and options["exists"] == "error":
            raise UsageError(f"a worker {name!r} exists already; give another name, or --exists replace or keep")
        worker = make(callback=callback, name=name, **expressions(self.shell, options))
        worker.source = source_of(parser, line, body)
        self.ownership.define(worker, cell)
        if not options["no_start"]:
            try:
                worker.start()
            except PoolError:
                pool.remove(worker)
                raise
        for old in existing:
            pool.remove(old)
        return worker

    def _load(self, file: str, exists: str | None) -> Loading:
        return load_file(self.shell, self.pool, self._names, file, exists)

    def _show(self, entry: LogEntry) -> None:
        """Print a text, and show its rich displays below it."""
        print(log_text(entry.text))  # noqa: T201 - what was asked for
        for data in entry.displays:
            self.shell.display_pub.publish(data)
