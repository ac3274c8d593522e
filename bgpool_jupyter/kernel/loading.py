"""Workers from a file: registered paused, with nothing of the file evaluated before somebody lets them run.

A file is text that somebody else may have written. Its magics are read with the grammar of the magics, and their code
is compiled, so that what is wrong with it is said at once. Expressions and names are evaluated in the first run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from IPython.core.error import UsageError

from ..engine import BackgroundWorker, ErrorInfo, PoolError, WorkerPool
from ..engine.starts import Signature
from ..table import clean_text
from .cells import CellBody, compile_body
from .definitions import (
    WORKER_NAMES,
    evaluate,
    expressions,
    heading_of,
    maker,
    names_a_function,
    parse_definition,
    refuse_arguments,
    source_of,
)
from .files import Definition, read_cell, read_cells
from .grammar import ACTOR, WORKER
from .naming import Cell, NameBook, function_name
from .options import HelpShown
from .times import parse_instant

__all__ = ["LoadedCode", "Loading", "load_file", "start_loaded"]

#: Most workers of a file.
MAX_WORKERS = 1000
#: The end of the reason for which a loaded worker is paused, before its first run.
_NOT_RUN = ", has not run yet"
#: Cells that are named where cells are left out.
_NAMED = 5

_loads = itertools.count(1)


class Loading(NamedTuple):
    """What became of a file."""

    workers: list[BackgroundWorker]
    #: For people, in a few lines.
    text: str


class _Plan(NamedTuple):
    """A worker that is to be made."""

    name: str
    #: The number of its cell.
    cell: int
    make: Any
    code: LoadedCode
    source: str
    starts: bool


class _Refused(Exception):
    """A magic cannot be loaded. The text says why."""


class LoadedCode:
    """What a loaded worker calls: its code, with all that is evaluated for it in the first run.

    After its first run the worker has the callback, the data, `finished` and `on_event` that the magic would have given
    it; the function of `on_event` hears of that run as its first event.

    Notes
    -----
    Threads: is called on the threads of the pool; one worker's runs never overlap.
    """

    def __init__(self, shell: Any, code: str, body: CellBody, options: dict[str, Any], *, is_cell: bool) -> None:
        self._shell = shell
        self._code = code.strip()
        self._body = body
        self._options = options
        self._names_function = not is_cell and names_a_function(code)
        self._call: Any = None
        self._finish: Any = None
        #: No run has begun since the file was loaded.
        self.fresh = True

    def __call__(self, *, _worker: Any, **given: Any) -> Any:
        """Run the code; the engine provides the worker."""
        if self.fresh:
            self.fresh = False
            _worker.pause_reason = _worker.pause_reason.removesuffix(_NOT_RUN)
        if self._call is None:
            try:
                self._evaluate(_worker)
            except UsageError as error:
                _pause(_worker, f"{error}; run the cell that defines it, then resume")
                raise
        return _call(self._call, _worker, given)

    def finish(self) -> Callable[..., Any] | None:
        """Return what the worker has as its `finished`, before that is evaluated; None if its magic has none."""
        return None if self._options["finished"] is None else self._finished

    def _finished(self, *, _worker: Any, **given: Any) -> Any:
        return None if self.fresh or self._finish is None else _call(self._finish, _worker, given)

    def _evaluate(self, worker: BackgroundWorker) -> None:
        values = expressions(self._shell, self._options)
        call: Any = self._body
        if self._names_function:
            value = evaluate(self._shell, self._code, "the code")
            if callable(value):
                refuse_arguments(value, self._code)
                call = value
        worker.data = values.get("data")
        worker.finished = self._finish = values.get("finished")
        worker.on_event = values.get("on_event")
        worker.callback = self._call = call


def _call(function: Any, worker: BackgroundWorker, given: dict[str, Any]) -> Any:
    """Call a function with what it names of the worker and its data, as the engine does."""
    available = {"_worker": worker, "_data": worker.data}
    named = WORKER_NAMES if isinstance(function, CellBody) else Signature(function).injected
    return function(**{name: available[name] for name in named}, **given)


def _pause(worker: BackgroundWorker, why: str) -> None:
    worker.pause_reason = why
    try:
        worker.pause()
    except PoolError:  # it was stopped
        worker.pause_reason = ""


def start_loaded(workers: Iterable[BackgroundWorker]) -> list[BackgroundWorker]:
    """Start those that were loaded and have not run yet; return them.

    Their schedule begins now, and not when they were loaded.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    started = []
    for worker in workers:
        code = worker.callback
        if isinstance(code, LoadedCode) and code.fresh and worker.status == "paused":
            started.append(worker.start(**worker.args))
    return started


def load_file(shell: Any, pool: WorkerPool, names: NameBook, file: str, exists: str | None) -> Loading:
    """Register the workers of a file, paused, and nothing else; all of them or none.

    Parameters
    ----------
    shell
        The InteractiveShell in whose namespace they are to run.
    pool
        The pool.
    names
        Gives names to those that have none.
    file
        A file that ends in ``.py`` or ``.ipynb``.
    exists
        What is done where there is a worker of that name: "replace", "keep" or "error"; None leaves it to each
        magic's ``--exists``.

    Raises
    ------
    UsageError
        If the file cannot be read, or a magic in it cannot be used.

    Notes
    -----
    Threads: belongs to the main thread.
    """
    title = clean_text(file.replace("\\", "/").rsplit("/", 1)[-1])[:100]
    reader = _Reader(shell, pool, names, file, title)
    for number, text in read_cells(file):
        try:
            reader.read(number, text, exists)
        except _Refused as error:
            raise UsageError(f"{title}, cell {number}: {error}; nothing was loaded") from None
    workers = _register(pool, list(reader.plans.values()), title)
    lines = [_count(workers, title)]
    if reader.kept:
        lines.append(f"kept, because they are there already: {_listed(reader.kept)}")
    lines += reader.remarks
    if reader.others:
        lines.append(f"left out, because only workers are loaded: {_listed(reader.others)}")
    return Loading(workers, "\n".join(lines))


class _Reader:
    """Makes plans of the cells of one file."""

    def __init__(self, shell: Any, pool: WorkerPool, names: NameBook, file: str, title: str) -> None:
        self._shell = shell
        self._pool = pool
        self._names = names
        self._file = file
        self._title = title
        self._execution = f"load {next(_loads)}"
        self._there = {worker.name for worker in pool.find_workers()}
        #: By name, in the order of the file.
        self.plans: dict[str, _Plan] = {}
        self.kept: list[str] = []
        self.others: list[str] = []
        self.remarks: list[str] = []

    def read(self, number: int, text: str, exists: str | None) -> None:
        """Read a cell.

        Raises
        ------
        _Refused
            If a magic in it cannot be used.
        """
        try:
            definitions, other = read_cell(text)
            if other:
                self.others.append(f"cell {number} ({_first_line(text)})")
            for definition in definitions:
                self._read(number, definition, exists)
        except (UsageError, PoolError) as error:
            raise _Refused(_one_line(str(error))) from None
        except HelpShown:
            raise _Refused("it asks for help and makes no worker") from None

    def _read(self, number: int, definition: Definition, exists: str | None) -> None:
        magic, line, body = definition
        parser = ACTOR if magic == "bgactor" else WORKER
        options, code = parse_definition(parser, line, body)
        until = options.get("until")
        now = self._pool.clock.time()
        if until is not None and parse_instant(until, now, "--until") <= now:
            self.remarks.append(f"left out: {self._called(options, number)}, its --until {until} has passed")
            return
        make = maker(self._pool, parser, options)
        at = options.get("at")
        if parser is ACTOR and at is not None and (late := now - parse_instant(at, now)) >= 0:
            most = options["max_lateness"]
            what = "runs" if most is None or late <= most else "ends without a run"
            self.remarks.append(f"the --at of {self._called(options, number)} has passed: it {what} once it is resumed")
        name = options["name"] or self._name(number, None if body is not None else function_name(code), code)
        self._refuse_double(name, exists or options["exists"])
        if (exists or options["exists"]) == "keep" and name in self._there | self.plans.keys():
            self.kept.append(clean_text(name))
            return
        if len(self.plans) >= MAX_WORKERS:
            raise _Refused(f"a file may have {MAX_WORKERS:,} workers, this one has more")
        heading = heading_of(parser, line, body)
        loaded = LoadedCode(self._shell, code, self._compiled(number, code, heading), options, is_cell=body is not None)
        self.plans.pop(name, None)  # the last of a name counts, as it does where cells are run
        self.plans[name] = _Plan(
            name, number, make, loaded, source_of(parser, line, body), starts=not options["no_start"]
        )

    @staticmethod
    def _called(options: dict[str, Any], number: int) -> str:
        return clean_text(options["name"] or f"cell {number}")

    def _name(self, number: int, function: str | None, code: str) -> str:
        cell = Cell(f"{self._file}\n{number}", f"{self._execution} {number}", number)
        return self._names.name(cell, function, code, self._there | self.plans.keys())

    def _refuse_double(self, name: str, exists: str) -> None:
        if exists == "error" and name in self._there | self.plans.keys():
            raise _Refused(f"there is a worker {clean_text(name)!r} already; load it with --exists replace or keep")

    def _compiled(self, number: int, code: str, heading: str) -> CellBody:
        try:
            return compile_body(self._shell, code, number=f"{self._title} cell {number}", heading=heading)
        except SyntaxError as error:
            where = f"line {error.lineno}: " if error.lineno else ""
            raise _Refused(f"{where}{_one_line(ErrorInfo.of(error).type + ': ' + (error.msg or ''))}") from None
        except (ValueError, MemoryError, RecursionError, OverflowError) as error:
            raise _Refused(f"the code cannot be compiled: {_one_line(ErrorInfo.of(error).line)}") from None


def _register(pool: WorkerPool, plans: list[_Plan], title: str) -> list[BackgroundWorker]:
    """Make the workers of these plans, all or none, and take out those that they replace."""
    names = {plan.name for plan in plans}
    replaced = [worker for worker in pool.find_workers() if worker.name in names]
    made: list[BackgroundWorker] = []
    try:
        for plan in plans:
            worker = plan.make(callback=plan.code, name=plan.name, finished=plan.code.finish())
            made.append(worker)
            worker.source = plan.source
            if plan.starts:
                _start_paused(pool, worker)
                worker.pause_reason = f"loaded from {title}{_NOT_RUN}"
    except BaseException as error:
        for worker in made:
            pool.remove(worker)
        if isinstance(error, PoolError):
            raise UsageError(f"{title}: {_one_line(str(error))}; nothing was loaded") from None
        raise
    for worker in replaced:
        pool.remove(worker)
    return made


def _start_paused(pool: WorkerPool, worker: BackgroundWorker) -> None:
    """Start and pause a worker; no run can begin between the two, because none can begin in the whole pool."""
    suspended = pool.suspended  # what a person suspended stays suspended
    pool.suspend()
    try:
        worker.start()
        worker.pause()
    finally:
        if not suspended:
            pool.resume()


def _count(workers: list[BackgroundWorker], title: str) -> str:
    if not workers:
        return f"no workers were loaded from {title}"
    paused = any(worker.status == "paused" for worker in workers)
    count = f"{len(workers):,} worker{'s' if len(workers) > 1 else ''}"
    return f"loaded {count} from {title}" + (", paused; %bgpool resume NAME lets one run" if paused else "")


def _listed(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return _one_line(first, 40)


def _one_line(text: str, most: int = 300) -> str:
    line = clean_text(text.strip().split("\n", 1)[0])
    return line if len(line) <= most else f"{line[: most - 1]}…"
