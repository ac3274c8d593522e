"""What the page may ask for: checked field by field, then done.

Any output of the notebook can run JavaScript and send a message to the panel. Every message is
therefore hostile input: a wrong one is answered with one sentence, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..engine import (
    ArgumentTypeError,
    ArgumentValueError,
    BackgroundWorker,
    PoolError,
    WorkerNotFound,
    WorkerPool,
    WorkerState,
)
from ..engine.arguments import encodable

__all__ = [
    "MAX_IDS",
    "MAX_PATTERN",
    "POOL_VERBS",
    "RATES",
    "SORTS",
    "STATUSES",
    "TABS",
    "VERBS",
    "Answer",
    "Command",
    "PoolCommand",
    "Request",
    "perform",
    "read_message",
    "read_view",
]

#: Most workers that one command may name.
MAX_IDS = 100_000
#: Most rows that a page may say it sees.
MAX_WINDOW = 100
#: Most characters of a filter.
MAX_PATTERN = 200
_MAX_TOKEN = 64
#: Larger numbers are no ids: JavaScript could not write them exactly.
_MAX_ID = 2**53

STATUSES = ("all", "running", "waiting", "paused", "failed", "stopped", "marked")
SORTS = ("name", "schedule", "state", "next", "runs", "last", "error")
RATES = (0, 1, 2, 4, 10)
TABS = ("output", "error", "stack", "runs", "source")


class Command(NamedTuple):
    """One thing to be done to some workers."""

    #: Names the command in its answer.
    token: str
    verb: str
    ids: tuple[int, ...]


class PoolCommand(NamedTuple):
    """One thing to be done to the pool as a whole, whatever the page shows of it."""

    #: Names the command in its answer.
    token: str
    verb: str


class Request(NamedTuple):
    """A page that is there ("hello", "keep"), goes ("sleep"), sees rows ("window"), a detail ("look") or a "stack"."""

    kind: str
    #: Names the page.
    client: str
    ids: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What became of a command."""

    ok: bool
    #: One sentence for people.
    text: str


def read_message(content: object) -> Command | PoolCommand | Request:
    """Check a message of the page.

    Raises
    ------
    ArgumentTypeError
        If the message or a field of it has a wrong type.
    ArgumentValueError
        If a field is missing, unknown or out of bounds.
    """
    fields = _mapping(content, "the message")
    kind = fields.get("kind")
    if kind == "command":
        _only(fields, {"kind", "token", "verb", "ids"})
        return Command(
            _text(fields["token"], "token"), _choice(fields["verb"], "verb", VERBS), _ids(fields["ids"], MAX_IDS)
        )
    if kind == "pool":
        _only(fields, {"kind", "token", "verb"})
        return PoolCommand(_text(fields["token"], "token"), _choice(fields["verb"], "verb", POOL_VERBS))
    if kind == "window":
        _only(fields, {"kind", "client", "ids"})
        return Request("window", _text(fields["client"], "client"), _ids(fields["ids"], MAX_WINDOW))
    if kind in ("look", "stack"):
        _only(fields, {"kind", "client", "id"})
        chosen = fields["id"]
        return Request(kind, _text(fields["client"], "client"), () if chosen is None else (_id(chosen, "id"),))
    known = _choice(kind, "kind", ("hello", "keep", "sleep", "window", "look", "stack", "command", "pool"))
    _only(fields, {"kind", "client"})
    return Request(known, _text(fields["client"], "client"))


def read_view(state: object) -> dict[str, Any]:
    """Check the view state that a page writes, and return it; everything that is not view state is refused.

    Raises
    ------
    ArgumentTypeError
        If the state or an entry has a wrong type.
    ArgumentValueError
        If an entry is no view state, or out of bounds.
    """
    fields = _mapping(state, "the view state")
    for name, value in fields.items():
        check = _VIEW.get(name)
        if check is None:
            raise ArgumentValueError(f"the page may not write {_short(name)}; it writes {', '.join(_VIEW)}")
        check(value)
    return dict(fields)


def perform(pool: WorkerPool, command: Command | PoolCommand) -> Answer:
    """Do what a command asks for, to the pool or to those of its workers that it changes.

    Notes
    -----
    Threads: may be called from any thread; returns at once. A worker that has left the pool, or that
    cannot be changed so in its state, is counted and passed over.
    """
    if isinstance(command, PoolCommand):
        if pool.closed:
            return Answer(ok=False, text="the pool is closed")
        return Answer(ok=True, text=POOL_VERBS[command.verb](pool))
    verb = VERBS[command.verb]
    done = gone = refused = 0
    trouble = ""
    for worker_id in command.ids:
        try:
            changed = verb.act(pool, pool.worker(worker_id))
        except WorkerNotFound:
            gone += 1
        except PoolError as error:
            refused += 1
            trouble = trouble or str(error)
        else:
            done += changed
            refused += not changed
    answer = _answer(verb, len(command.ids), done, gone, trouble)
    if done and verb.lets_run and pool.suspended:
        return Answer(answer.ok, f"{answer.text}; the pool is suspended, no run begins")
    return answer


def _answer(verb: _Verb, asked: int, done: int, gone: int, trouble: str) -> Answer:
    if done == asked:
        return Answer(ok=True, text=f"{verb.past} {done:,}")
    if trouble and not done:
        return Answer(ok=False, text=trouble)
    rest = []
    if gone:
        rest.append(f"{gone:,} no longer in the pool")
    if asked - done - gone:
        rest.append(f"{asked - done - gone:,} {f'refused: {trouble}' if trouble else verb.unchanged}")
    return Answer(
        ok=not trouble and not (gone and not done), text=f"{verb.past} {done:,} of {asked:,}; {', '.join(rest)}"
    )


class _Verb(NamedTuple):
    #: Changes a worker; False if it was so already.
    act: Callable[[WorkerPool, BackgroundWorker], bool]
    past: str
    #: Why a worker was passed over.
    unchanged: str
    #: Whether it makes runs begin, which they do not while the pool is suspended.
    lets_run: bool = False


def _is_fresh(worker: BackgroundWorker) -> bool:
    """Tell whether a worker was loaded from a file and waits to be let run for the first time.

    The kernel's callback of such a worker says so itself; the panel does not depend on the kernel.
    """
    return worker.status == "paused" and getattr(worker.callback, "fresh", None) is True


def _begin(worker: BackgroundWorker) -> bool:
    worker.start(**worker.args)
    return True


def _start(_: WorkerPool, worker: BackgroundWorker) -> bool:
    if worker.running and not _is_fresh(worker):  # a start would end the one under way: "Start" does not mean that
        return False
    return _begin(worker)


def _pause(_: WorkerPool, worker: BackgroundWorker) -> bool:
    if worker.status == "paused":
        return False
    worker.pause()
    return True


def _resume(_: WorkerPool, worker: BackgroundWorker) -> bool:
    if worker.status != "paused":
        return False
    if _is_fresh(worker):
        return _begin(worker)  # its schedule begins now, and not when it was loaded
    worker.unpause()
    return True


def _run(_: WorkerPool, worker: BackgroundWorker) -> bool:
    worker.work_now()
    return True


def _stop(_: WorkerPool, worker: BackgroundWorker) -> bool:
    if not worker.running:
        return False
    worker.stop()
    return True


def _remove(pool: WorkerPool, worker: BackgroundWorker) -> bool:
    pool.remove(worker)
    return True


VERBS: Mapping[str, _Verb] = {
    "start": _Verb(_start, "Started", "already started", lets_run=True),
    "pause": _Verb(_pause, "Paused", "already paused"),
    "resume": _Verb(_resume, "Resumed", "not paused", lets_run=True),
    "run": _Verb(_run, "Running now:", "not started", lets_run=True),
    "stop": _Verb(_stop, "Stopped", "not running"),
    "remove": _Verb(_remove, "Removed", "not in the pool"),
}


def _suspend_pool(pool: WorkerPool) -> str:
    if pool.suspended:
        return "The pool is suspended already"
    pool.suspend()
    return "Suspended the pool"


def _resume_pool(pool: WorkerPool) -> str:
    """End the suspension and nothing else: those that were paused, by a person or after failures, stay paused."""
    if not pool.suspended:
        return "The pool is not suspended"
    pool.resume()
    paused = sum(worker.state is WorkerState.PAUSED for worker in pool.find_workers())
    rest = "; 1 worker stays paused" if paused == 1 else f"; {paused:,} workers stay paused" if paused else ""
    return f"Resumed the pool{rest}"


#: Each changes the pool, and returns what became of it in one sentence.
POOL_VERBS: Mapping[str, Callable[[WorkerPool], str]] = {"suspend": _suspend_pool, "resume": _resume_pool}


def _short(value: object) -> str:
    """Return a repr of what came as JSON, cut to one short line."""
    if isinstance(value, int) and abs(value) >= 2**64:  # Python refuses to write very many digits
        return "a number too large to write"
    if isinstance(value, str):
        value = value[:60]
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - one line


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{what} must be an object, not {_short(value)}")
    return value


def _only(fields: Mapping[str, Any], names: set[str]) -> None:
    extra, missing = set(fields) - names, names - set(fields)
    if extra:
        raise ArgumentValueError(
            f"the message has the unknown field {_short(min(extra, key=str))}; it may have {', '.join(sorted(names))}"
        )
    if missing:
        raise ArgumentValueError(
            f"the message lacks the field {min(missing)!r}; it must have {', '.join(sorted(names))}"
        )


def _choice(value: object, what: str, allowed: Mapping[str, Any] | tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{what} must be a text, not {_short(value)}")
    if value not in allowed:
        raise ArgumentValueError(f"{what} must be one of {', '.join(allowed)}, not {_short(value)}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{what} must be a text, not {_short(value)}")
    if not 0 < len(value) <= _MAX_TOKEN:
        raise ArgumentValueError(f"{what} must have 1 to {_MAX_TOKEN} characters, not {len(value)}")
    return _sendable(value, what)


def _sendable(value: str, what: str) -> str:
    """Refuse lone surrogates: JSON can bring them, and no message that repeats them could be sent."""
    if encodable(value) != value:
        raise ArgumentValueError(f"{what} must be a text that can be encoded, not {_short(value)}")
    return value


def _id(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{what} must be a whole number, not {_short(value)}")
    if not 0 <= value < _MAX_ID:
        raise ArgumentValueError(f"{what} must be from 0 to 2**53, not {_short(value)}")
    return value


def _ids(value: object, most: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ArgumentTypeError(f"ids must be a list, not {_short(value)}")
    if len(value) > most:
        raise ArgumentValueError(f"ids must have at most {most:,} entries, not {len(value):,}")
    return tuple(dict.fromkeys(_id(entry, "each of ids") for entry in value))


def _check_pattern(value: object) -> None:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"pattern must be a text, not {_short(value)}")
    if len(value) > MAX_PATTERN:
        raise ArgumentValueError(f"pattern must have at most {MAX_PATTERN} characters, not {len(value)}")
    _sendable(value, "pattern")


def _check_flag(value: object) -> None:
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"descending must be true or false, not {_short(value)}")


def _check_selected(value: object) -> None:
    if value is not None:
        _id(value, "selected")


def _check_rate(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"refresh must be a whole number, not {_short(value)}")
    if value not in RATES:
        raise ArgumentValueError(f"refresh must be one of {', '.join(map(str, RATES))}, not {_short(value)}")


_VIEW: Mapping[str, Callable[[object], object]] = {
    "pattern": _check_pattern,
    "status": lambda value: _choice(value, "status", STATUSES),
    "sort": lambda value: _choice(value, "sort", SORTS),
    "descending": _check_flag,
    "selected": _check_selected,
    "refresh": _check_rate,
    "tab": lambda value: _choice(value, "tab", TABS),
}
