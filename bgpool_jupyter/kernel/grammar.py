"""The options of each magic: the tables from which parsers, help and completions are made."""

from __future__ import annotations

from collections.abc import Callable

from ..engine import Cron
from .options import MagicParser, Option
from .times import parse_duration

__all__ = ["ACTOR", "DEBUG", "JOB", "PARSERS", "POOL", "VERBS", "WORKER"]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError(f"{text!r} is not a whole number from 1 on; give 10 for example")
    return int(text)


def _name(text: str) -> str:
    if not text:
        raise ValueError("a name must not be empty; leave the option out to have one made")
    return text


def _duration(what: str, *, zero: bool = False) -> Callable[[str], float]:
    return lambda text: parse_duration(text, what, zero=zero)


def _cron(text: str) -> str:
    if any(len(part.split()) not in {5, 6} for part in text.split("|")):
        raise ValueError(f'{text!r} has not five fields; put all of them in quotes, as in --cron "*/5 * * * *"')
    Cron(text, "UTC")
    return text


_NAME = Option(
    "name",
    "what tables, globs and the panel call it; without a name it is called after its function or its cell, "
    "in such a way that a cell that is run again replaces its own",
    "NAME",
    "n",
    convert=_name,
)
_COMMON = (
    Option(
        "timeout",
        "a run that takes longer is marked as overdue and asked to stop: its _worker.should_stop, or its await",
        "DURATION",
        convert=_duration("the timeout"),
    ),
    Option(
        "max-lateness",
        "leave out a run that would begin later than this behind its slot, as where no thread was free, "
        "or after the machine slept through a --cron or --at; retries and runs on request begin all the same",
        "DURATION",
        convert=_duration("the lateness"),
    ),
    Option("retry", "repeat a run that fails, after a delay that grows from 0.1 s to 60 s"),
    Option(
        "retries", "the same, but at most N attempts, the first one included; then it has failed", "N", convert=_count
    ),
    Option("data", "expression, evaluated now; code that names _data receives the value", "EXPR"),
    Option("finished", "expression, evaluated now; the function is called after the last run", "EXPR"),
    Option(
        "on-event",
        "expression, evaluated now; the function is called with each PoolEvent of this worker, in their order; "
        "what it prints is in the log",
        "EXPR",
    ),
    Option(
        "keep-frames",
        "keep the frames of the last error, and with them all their data, for a post-mortem with %%bgdebug",
    ),
    Option("dispose", "take it out of the pool when it ends, so that it cannot be started again"),
    Option(
        "exists",
        "if there is one of that name: replace it (default), keep it and make no other, or make that an error",
        "replace|keep|error",
        choices=("replace", "keep", "error"),
        default="replace",
    ),
    Option("no-start", "only make it; %%bgpool start, its start() or the panel starts it"),
)

_CODE_NOTES = """\
Code runs in the notebook's namespace, on a thread. The name of a function, or a lambda, stands for that
function as it is now; any other code is executed in each run: an expression, a statement, a magic, `await`.
It may use _worker (this worker) and _data (its data). The value of its last expression is the value of the
run; if that is False, the worker ends. What it prints and displays is in its log: %bgpool log NAME.

Values of options that have spaces or quotes are put in quotes. Put -- before code that begins with a dash."""

WORKER = MagicParser(
    "%bgworker",
    "INTERVAL code",
    "Run a line of code, or with %%bgworker the cell below, again and again in the background.",
    (
        _NAME,
        Option(
            "cron",
            'run when this cron expression says, as in "*/5 9-17 * * mon-fri", or one of several with | in between; '
            "there is no INTERVAL then",
            "EXPR",
            convert=_cron,
        ),
        Option("tz", "time zone of --cron, as in Europe/Berlin; without it that of this machine", "ZONE"),
        Option(
            "jitter",
            "begin each run by chance up to DURATION later",
            "DURATION",
            default=0.0,
            convert=_duration("the jitter", zero=True),
        ),
        Option(
            "at",
            "begin when the local clock next shows 14:30, or at 2026-11-22T14:30 (ISO 8601); the slots after it follow "
            "every INTERVAL",
            "TIME",
        ),
        Option("until", "begin no run after 14:30, or 2026-11-22T14:30 (ISO 8601), and end", "TIME"),
        Option("max-count", "end after N runs", "N", "x", convert=_count),
        Option("start-with-delay", "wait one INTERVAL before the first run"),
        Option("fixed-delay", "count INTERVAL from the end of a run, not from its start"),
        Option("catch-up", "make up for slots that passed while a run took too long; otherwise they are missed"),
        Option("max-failures", "pause after N failed runs in a row, and say why", "N", convert=_count),
        *_COMMON,
    ),
    "INTERVAL is a duration with units: 500ms, 5s, 1m30s, 2h. The options may also follow it.\n"
    'With --cron there is no INTERVAL: %bgworker --cron "0 9 * * mon-fri" code\n\n' + _CODE_NOTES,
)

ACTOR = MagicParser(
    "%bgactor",
    "code",
    "Run a line of code, or with %%bgactor the cell below, once in the background: now, later, or at a time.",
    (
        _NAME,
        Option("delay", "run after this duration, as in 10s", "DURATION", convert=_duration("the delay", zero=True)),
        Option("at", "run when the local clock next shows 14:30, or at 2026-11-22T14:30 (ISO 8601)", "TIME"),
        *_COMMON,
    ),
    _CODE_NOTES,
)

JOB = MagicParser(
    "%bgjob",
    "code",
    "Run a line of code, or with %%bgjob the cell below, once and now in the background; return its Job.",
    (Option("name", "what tables call it", "NAME", "n", convert=_name),),
    """\
Code is that of %bgworker; it may use _job (this job: code that runs long looks at _job.should_stop).
The job's result(timeout) waits for the value, or raises what the code raised.""",
)

#: The verbs of %bgpool with what they do.
VERBS = {
    "start": "start those that are not started",
    "stop": "let no further run begin; a run in flight goes on to its end",
    "pause": "let no run begin until resume",
    "resume": "let those that are paused go on; without a GLOB, end a suspension and nothing else if there is one",
    "suspend": "hold the whole pool: no run of any worker begins until resume, and none is paused for it",
    "run": "run now, beside the schedule",
    "remove": "stop and take out of the pool (needs a GLOB; * is all)",
    "log": "output and errors of the last runs (needs a GLOB); also of jobs",
    "history": "table of runs; with --all also those of earlier kernels and of others, from the journal",
    "events": "what happened to workers of late, also to those that are gone",
    "journal": "where runs are kept beyond the kernel, and how many; journal off, on, or PATH changes that",
    "stack": "the lines that runs and jobs in flight execute now",
    "jobs": "table of jobs",
    "kill": "end idle threads, take back jobs that wait, ask running ones to end",
    "panel": "the live panel",
    "preview": "the next instants of each, also before it is started",
    "export": "print the magics that make these workers, or write them into a file (--to)",
    "load": "register the workers of a FILE, paused; nothing of it runs before they are resumed",
}

POOL = MagicParser(
    "%bgpool",
    "[VERB [GLOB ...]]",
    "Show the background workers as a table, or do something with those whose names match.",
    (
        Option(
            "last",
            "log: show this many runs (default 3); history: rows for each worker (default 20); "
            "events: rows (default 20); preview: instants for each (default 5)",
            "N",
            "n",
            convert=_count,
        ),
        Option("all", "history: the runs of all kernels, from the journal; cut off by a crash, they are lost"),
        Option("to", "export: write the cells of a .py or .ipynb file", "FILE"),
        Option("force", "export: replace a file that is there already"),
        Option(
            "exists",
            "load: what is done where there is a worker of that name, for all of the file",
            "replace|keep|error",
            choices=("replace", "keep", "error"),
        ),
    ),
    "VERB is one of\n"
    + "\n".join(f"  {verb:<8} {text}" for verb, text in VERBS.items())
    + "\n\nGLOB is a name or a pattern with * ? [...]; without one all are meant. A name with spaces\n"
    "is put in quotes, and so is a pattern that ends in ?, which IPython would take for a question.",
)

DEBUG = MagicParser(
    "%bgdebug",
    "NAME",
    "Open IPython's debugger on a worker whose run failed.",
    (
        Option("again", "run the body again, also where the frames of the error were kept"),
        Option("step", "run the body again and stop before its first line"),
        Option("post-mortem", "look at the frames that were kept, and do not run the body again"),
        Option(
            "wait",
            "wait at most DURATION for a run in flight, before the body is run again (default 5s)",
            "DURATION",
            default=5.0,
            convert=_duration("the wait", zero=True),
        ),
    ),
    """\
Where the frames of the error were kept (--keep-frames of %bgworker), they are opened as they were.
Otherwise the body is run once more, in this cell and on the main thread, with the worker's arguments, _worker
and _data; the debugger opens where it raises. What the body does, it does for real; the run is not counted and
leaves no record. The worker is paused meanwhile and goes on afterwards.""",
)

PARSERS = {"bgworker": WORKER, "bgactor": ACTOR, "bgjob": JOB, "bgpool": POOL, "bgdebug": DEBUG}
