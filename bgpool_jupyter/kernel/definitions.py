"""From the text of a magic to the callback of a worker or a job, with whatever can be wrong with it."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

from IPython.core.error import UsageError

from ..engine import BackgroundWorker, Cron, ErrorInfo, PoolError, WorkerPool
from ..engine.arguments import safe_repr
from .cells import compile_body
from .grammar import WORKER
from .naming import Cell, line_in_cell
from .options import MagicParser
from .times import is_duration, parse_duration, parse_instant

__all__ = [
    "JOB_NAMES",
    "WORKER_NAMES",
    "callback_of",
    "evaluate",
    "expressions",
    "heading_of",
    "maker",
    "names_a_function",
    "parse_definition",
    "read_definition",
    "refuse_arguments",
    "source_of",
]

#: What a run of a worker provides to a function that names it, and what a job does.
WORKER_NAMES = ("_worker", "_data")
JOB_NAMES = ("_job",)


def evaluate(shell: Any, expression: str, option: str) -> Any:
    """Return the value that an option's expression has in the notebook's namespace, now.

    Raises
    ------
    UsageError
        If it is no expression, or raises.
    """
    try:
        code = compile(expression.strip(), f"<{option}>", "eval")
        return eval(code, shell.user_ns)  # noqa: S307 - the user's own expression
    except Exception as error:
        raise UsageError(f"{option} {expression!r} cannot be evaluated: {ErrorInfo.of(error).line}") from None


def expressions(shell: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the options that are expressions and were given, as arguments of a new worker.

    Raises
    ------
    UsageError
        If one is no expression, raises, or is no function that can be called as it is going to be.
    """
    values = {}
    for key in ("data", "finished", "on_event"):
        text = options[key]
        if text is None:
            continue
        flag = "--" + key.replace("_", "-")
        values[key] = value = evaluate(shell, text, flag)
        if key == "data" or value is None:
            continue
        if not callable(value):
            shown = safe_repr(value)
            raise UsageError(f"{flag} {text} is no function but {shown}; give the function itself, or a lambda")
        if key == "finished":
            refuse_arguments(value, f"{flag} {text}")
        else:
            _refuse_no_event(value, f"{flag} {text}")
    return values


def _refuse_no_event(function: Callable[..., Any], code: str) -> None:
    """Raise a UsageError if a function cannot be called with an event."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions have none
    try:
        signature.bind(None)
    except TypeError as error:
        raise UsageError(f"{code} cannot be called with an event ({error}); write lambda event: …") from None


def callback_of(
    shell: Any, code: str, cell: Cell, heading: str = "", *, provided: Collection[str] = WORKER_NAMES
) -> Callable[..., Any]:
    """Return what a run of this code calls.

    The name of a function (``poll``, ``lab.poll``) or a lambda stands for that function, as it is now. Any
    other code is compiled and executed in each run; functions that it calls are looked up in each run.

    Parameters
    ----------
    shell
        The InteractiveShell.
    code
        A line, or the body of a cell.
    cell
        The cell that has the code.
    heading
        The lines of the cell above the code.
    provided
        The parameters that a run of this kind provides.

    Raises
    ------
    SyntaxError
        If the code has one.
    UsageError
        If it names something that does not exist, or a function that needs arguments.
    """
    try:
        line = line_in_cell(shell, cell.text) or 1
        body = compile_body(shell, code, number=cell.number, heading=heading, line=line)
    except ValueError as error:  # characters that no source code may have
        raise UsageError(f"the code cannot be compiled: {ErrorInfo.of(error).line}") from None
    if heading or not names_a_function(code):
        return body
    try:
        value = body()
    except Exception as error:
        raise UsageError(f"{code.strip()!r} cannot be evaluated: {ErrorInfo.of(error).line}") from None
    if inspect.iscoroutine(value):
        value.close()  # it is the body's, and was not begun
    if not callable(value):
        return body
    refuse_arguments(value, code.strip(), provided)
    return value  # type: ignore[no-any-return]


def names_a_function(code: str) -> bool:
    """Tell whether the code is a dotted name or a lambda, which stand for a function."""
    try:
        node = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name | ast.Lambda)


def refuse_arguments(function: Callable[..., Any], code: str, provided: Collection[str] = WORKER_NAMES) -> None:
    """Raise a UsageError if a function cannot be called as a run calls it, with nothing but what a run provides."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in functions have none
    try:
        signature.bind(**dict.fromkeys(_named(signature, provided)))
    except TypeError as error:
        raise UsageError(
            f"{code} cannot be called without arguments ({error}); write the call, as in f(1), or lambda: f(1)"
        ) from None


def _named(signature: inspect.Signature, provided: Collection[str]) -> list[str]:
    """Return the parameters that a run provides and the function names."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in signature.parameters.items() if name in provided and parameter.kind in by_name]


# -- lines


def parse_definition(parser: MagicParser, line: str, body: str | None) -> tuple[dict[str, Any], str]:
    """Return the options and the code of a line, or of a cell magic with the lines below it.

    Raises
    ------
    UsageError
        If an option is wrong, or something is missing or too much.
    """
    options, code = read_definition(parser, line, is_cell=body is not None)
    if len((options["name"] or "").splitlines()) > 1:
        raise UsageError(f"--name {options['name']!r} has more than one line; write one")
    if options.get("retry") and options["retries"] is not None:
        raise UsageError("--retry and --retries exclude each other: --retry repeats without limit; leave one out")
    if body is not None:
        if not _has_code(body):
            raise UsageError(f"the cell of %{parser.magic} is empty; put code below its line")
        return options, body
    if not _has_code(code):
        interval = " 5s" if parser is WORKER else ""
        raise UsageError(
            f"the code is missing; write {parser.magic}{interval} code, "
            f"or %{parser.magic}{interval} and the code below it"
        )
    return options, code


def _has_code(text: str) -> bool:
    """Return whether there is more than empty lines and comments."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


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


def maker(pool: WorkerPool, parser: MagicParser, options: dict[str, Any]) -> Callable[..., BackgroundWorker]:
    """Return what makes a worker with these options; it is still to be given callback, name and :func:`expressions`.

    Raises
    ------
    UsageError
        If options do not go together, or an instant has passed.
    PoolError
        If a value cannot be used.
    """
    settings = {
        "dispose": options["dispose"],
        "ignore_exception": options["retry"],
        "retry": options["retries"],
        "timeout": options["timeout"],
        "max_lateness": options["max_lateness"],
        "keep_frames": options["keep_frames"],
    }
    at = None if options["at"] is None else parse_instant(options["at"], pool.clock.time())
    if parser is not WORKER:
        if options["delay"] is not None and at is not None:
            raise UsageError("--delay and --at cannot both be given; leave one of them out")
        return functools.partial(pool.new_actor, delay=options["delay"] or 0.0, at=at, **settings)
    interval = _schedule(options)
    return functools.partial(
        pool.new_worker,
        interval,
        at=at,
        jitter=options["jitter"],
        until=_until(options["until"], pool.clock.time()),
        max_failures=options["max_failures"],
        start_with_delay=options["start_with_delay"],
        max_count=options["max_count"],
        run_on_time=not options["fixed_delay"],
        run_past_events=options["catch_up"],
        **settings,
    )


def _schedule(options: dict[str, Any]) -> float | Cron:
    """Return the interval, or the cron expression in its time zone, of a worker's options."""
    if options["fixed_delay"] and options["catch_up"]:
        raise UsageError("--fixed-delay and --catch-up exclude each other: after a fixed delay no slot is missed")
    if options["start_with_delay"] and options["at"] is not None:
        raise UsageError("--at and --start-with-delay exclude each other; leave one of them out")
    if options["cron"] is None:
        if options["tz"] is not None:
            raise UsageError('--tz is the time zone of --cron; leave it out, or write --cron "0 9 * * *" --tz ZONE')
        return parse_duration(options["interval"])
    for name in ("fixed_delay", "start_with_delay", "at"):
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


def heading_of(parser: MagicParser, line: str, body: str | None) -> str:
    """Return the line of a cell magic, "" for a line magic."""
    return "" if body is None else f"%{parser.magic} {line}".rstrip()


def source_of(parser: MagicParser, line: str, body: str | None) -> str:
    """Return the text of a magic."""
    return f"{parser.magic} {line}".rstrip() if body is None else f"{heading_of(parser, line, body)}\n{body}"
