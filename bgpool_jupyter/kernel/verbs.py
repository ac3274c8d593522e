"""The verbs of ``%bgpool``."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

from .. import journal
from ..engine import BackgroundWorker, Job, WorkerPool, WorkerState
from ..engine.globs import matcher
from ..overview import SUSPENDED, WorkerTable
from ..table import clean_text
from . import recording
from .export import export_cells, export_text
from .files import write_cells
from .grammar import VERBS
from .loading import Loading, start_loaded
from .past import JournalReport, JournalTable
from .reports import EventTable, JobTable, LogEntry, PreviewTable, RunTable, job_log, worker_log
from .stacks import job_stack, worker_stack

__all__ = ["Verbs"]

#: The verb that an option belongs to.
_VERB_OF = {"all": "history", "to": "export", "force": "export", "exists": "load"}
#: The verbs that --last belongs to.
_WITH_LAST = ("log", "history", "events", "preview")
_LAST_BELONGS = f"--last belongs to {', '.join(_WITH_LAST[:-1])} and {_WITH_LAST[-1]}"
#: Verbs for the whole pool.
_NAMELESS = frozenset({"kill", "panel", "suspend"})


class Verbs:
    """Carries out the verbs on a pool.

    Parameters
    ----------
    pool
        The pool.
    panel_factory
        Returns the panel of the default pool.
    show
        Shows a text and rich displays to the person who asked.
    load
        Registers the workers of a file, which is given with the ``--exists`` for all of it.

    Notes
    -----
    Threads: belongs to the main thread, since it prints.
    """

    def __init__(
        self,
        pool: WorkerPool,
        panel_factory: Callable[[], Any],
        show: Callable[[LogEntry], None],
        load: Callable[[str, str | None], Loading] | None = None,
    ) -> None:
        self._pool = pool
        self._panel_factory = panel_factory
        self._show = show
        self._load_file = load
        self._options: Mapping[str, Any] = {}

    def do(self, verb: str, names: Sequence[str], last: int | None, options: Mapping[str, Any] | None = None) -> Any:
        """Carry out a verb; return what the magic returns.

        Raises
        ------
        UsageError
            If there is no such verb, nothing of such a name, or a name is missing or too much.
        """
        if verb not in VERBS:
            close = difflib.get_close_matches(verb, VERBS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the verbs are {', '.join(VERBS)}"
            raise UsageError(f"unknown verb {verb!r}; {hint} (%bgpool -h explains them)")
        if names and verb in _NAMELESS:
            raise UsageError(f"%bgpool {verb} takes no name, {names[0]!r} is too much; it concerns the whole pool")
        if not names and verb in {"remove", "log"}:
            raise UsageError(f"%bgpool {verb} needs a name or a pattern; %bgpool {verb} * means all")
        if last is not None and verb not in _WITH_LAST:
            raise UsageError(f"{_LAST_BELONGS}, not to {verb}; leave it out")
        self._options = options or {}
        for key, owner in _VERB_OF.items():
            if self._options.get(key) and verb != owner:
                raise UsageError(f"--{key} belongs to {owner}, not to {verb}; leave it out")
        action: Callable[[Sequence[str], int | None], Any] = getattr(self, f"_{verb}")
        return action(names, last)

    def table(self, last: int | None, options: Mapping[str, Any]) -> WorkerTable:
        """Return the table of all workers, for a line without a verb.

        Raises
        ------
        UsageError
            If there is an option, since each belongs to a verb.
        """
        if last is not None:
            raise UsageError(f"{_LAST_BELONGS}; write %bgpool history --last 5")
        for key, verb in _VERB_OF.items():
            if options[key]:
                raise UsageError(f"--{key} belongs to {verb}; write %bgpool {verb} --{key}")
        held = f"; {SUSPENDED}" if self._pool.suspended else ""
        return self._whole_pool(f"no workers; %bgworker -h says how to make one{held}", details=True)

    def named(self, text: str) -> list[BackgroundWorker]:
        """Return the workers that a name or a pattern fits, at least one.

        Raises
        ------
        UsageError
            If there is none.
        """
        return self._chosen([text])

    # -- verbs that change workers

    def _start(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._with_loaded(self._pool.start_workers), "all of them are started")

    def _stop(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.stop_workers, "none of them is started")

    def _pause(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.pause_workers, "none of them is started and not paused")

    def _suspend(self, _names: Sequence[str], _last: int | None) -> WorkerTable:
        self._pool.suspend()
        return self._whole_pool(SUSPENDED)

    def _end_suspension(self) -> WorkerTable:
        """Let the pool go on; those that were paused, by a person or after failures, stay paused."""
        self._pool.resume()
        paused = sum(worker.state is WorkerState.PAUSED for worker in self._pool.find_workers())
        stay = "1 worker stays paused" if paused == 1 else f"{paused:,} workers stay paused"
        rest = f"; {stay}, %bgpool resume once more lets all of them go on" if paused else ""
        self._show(LogEntry(f"the pool goes on{rest}", []))
        return self._whole_pool("no workers")

    def _whole_pool(self, empty: str, *, details: bool = False) -> WorkerTable:
        return WorkerTable(self._pool.find_workers(), empty, self._pool.clock.time, details=details)

    def _resume(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        if not names and self._pool.suspended:
            return self._end_suspension()
        return self._change(names, self._with_loaded(self._pool.unpause_workers), "none of them is paused")

    def _with_loaded(self, method: Callable[[str], list[BackgroundWorker]]) -> Callable[[str], list[BackgroundWorker]]:
        """Return the method with one more effect: loaded workers that have not run yet are started."""
        return lambda pattern: [*start_loaded(self._pool.find_workers(pattern)), *method(pattern)]

    def _run(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.work_now, "none of them is started; %bgpool start starts them")

    def _remove(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.remove_workers, "no workers")

    def _change(
        self, names: Sequence[str], method: Callable[[str], list[BackgroundWorker]], nothing: str
    ) -> WorkerTable:
        patterns = self._patterns(names)
        changed = list(dict.fromkeys(worker for pattern in patterns for worker in method(pattern)))
        if self._pool.find_workers() or changed:
            held = f"; {SUSPENDED}" if self._pool.suspended else ""
            return WorkerTable(changed, f"nothing changed: {nothing}{held}", self._pool.clock.time, details=False)
        return WorkerTable()

    # -- verbs that show something

    def _log(self, names: Sequence[str], last: int | None) -> None:
        for workers, jobs in self._each_with_jobs(names):
            for worker in workers:
                for entry in worker_log(worker, last or 3):
                    self._show(entry)
            for job in jobs:
                self._show(job_log(job))

    def _stack(self, names: Sequence[str], _last: int | None) -> None:
        pool = self._pool
        workers, jobs = (pool.find_workers(), pool.jobs()) if not names else ([], [])
        for some_workers, some_jobs in self._each_with_jobs(names):
            workers += some_workers
            jobs += some_jobs
        stacks = [worker_stack(worker) for worker in dict.fromkeys(workers)]
        stacks += [job_stack(job, pool.clock.time()) for job in dict.fromkeys(jobs)]
        nothing = "no run is in flight" if not names else f"no run of {', '.join(map(clean_text, names))} is in flight"
        for entry in [entry for entry in stacks if entry is not None] or [LogEntry(nothing, [])]:
            self._show(entry)

    def _history(self, names: Sequence[str], last: int | None) -> RunTable | JournalTable:
        if self._options.get("all"):
            return self._history_of_all(names, last or 20)
        workers = self._chosen(names)
        runs = [(worker.name, record) for worker in workers for record in worker.history[-(last or 20) :]]
        return RunTable(sorted(runs, key=lambda pair: pair[1].started))

    def _history_of_all(self, names: Sequence[str], last: int) -> JournalTable:
        """Return the runs that the journal has, also of names that no worker has any more."""
        found = [] if names else journal.runs(last=last)
        for text in names:  # a name that contains wildcards means itself first
            found += journal.runs(glob.escape(text), last) or journal.runs(text, last)
        if names and not found:
            raise UsageError(
                f"the journal has no run of {', '.join(map(repr, names))}; %bgpool history --all shows all"
            )
        own = journal.default_journal()
        runs = sorted(dict.fromkeys(found), key=lambda run: run.started)
        return JournalTable(runs, own.session if own is not None else None)

    def _events(self, names: Sequence[str], last: int | None) -> EventTable:
        events = self._pool.events()
        if names:
            known = [*(event.name for event in events), *(worker.name for worker in self._pool.find_workers())]
            wanted: set[str] = set()
            for text in names:
                matching = self._fitting(text, known)
                if not matching:
                    self._refuse(text)
                wanted |= matching
            events = [event for event in events if event.name in wanted]
        return EventTable(events[-(last or 20) :])

    def _journal(self, names: Sequence[str], _last: int | None) -> JournalReport:
        if len(names) > 1:
            raise UsageError(f"%bgpool journal takes on, off or one PATH, {names[1]!r} is too much; put it in quotes")
        if names:
            recording.turn(names[0])
        own = journal.default_journal()
        if own is not None:
            own.flush()
        return JournalReport(own)

    def _jobs(self, names: Sequence[str], _last: int | None) -> JobTable:
        if not names:
            return JobTable(self._pool.jobs())
        found: dict[int, Job] = {}
        for text in names:
            jobs = self._matching_jobs(text)
            if not jobs:
                raise UsageError(f"no job matches {text!r}; %bgpool jobs shows them all")
            found.update((job.id, job) for job in jobs)
        return JobTable(found.values())

    def _kill(self, _names: Sequence[str], _last: int | None) -> JobTable:
        self._pool.kill_jobs()
        return JobTable(self._pool.jobs())

    def _panel(self, _names: Sequence[str], _last: int | None) -> Any:
        return self._panel_factory()

    def _preview(self, names: Sequence[str], last: int | None) -> PreviewTable:
        return PreviewTable((worker, worker.preview(last or 5)) for worker in self._chosen(names))

    def _export(self, names: Sequence[str], _last: int | None) -> None:
        workers = self._chosen(names)
        now = self._pool.clock.time()
        to = self._options.get("to")
        if to is None:
            if self._options.get("force"):
                raise UsageError("--force belongs to --to FILE; nothing else is written")
            self._show(LogEntry(export_text(workers, now), []))
            return
        path = write_cells(to, export_cells(workers, now), force=self._options["force"])
        count = sum(worker.source is not None for worker in workers)
        others = len(workers) - count
        stand = "stands there as a comment" if others == 1 else "stand there as comments"
        rest = f"; {others} made from Python {stand}" if others else ""
        self._show(LogEntry(f"wrote {count} worker{'' if count == 1 else 's'} to {clean_text(str(path))}{rest}", []))

    def _load(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        if len(names) != 1 or self._load_file is None:
            raise UsageError("%bgpool load takes one FILE, a name with spaces in quotes")
        loading = self._load_file(names[0], self._options.get("exists"))
        self._show(LogEntry(loading.text, []))
        return WorkerTable(loading.workers, "no workers", self._pool.clock.time, details=False)

    # -- names

    def _patterns(self, names: Sequence[str]) -> list[str]:
        """Return globs for what a person wrote; nothing means all."""
        if not names:
            return ["*"]
        for text in names:
            if not self._matching(text):
                self._refuse(text)
        known = {worker.name for worker in self._pool.find_workers()}
        return [glob.escape(text) if text in known else text for text in names]

    @staticmethod
    def _fitting(text: str, names: Iterable[str]) -> set[str]:
        """Return the names that a text fits; a name that contains wildcards means itself first."""
        known = set(names)
        return {text} if text in known else set(filter(matcher(text), known))

    def _matching(self, text: str) -> list[BackgroundWorker]:
        workers = self._pool.find_workers()
        names = self._fitting(text, (worker.name for worker in workers))
        return [worker for worker in workers if worker.name in names]

    def _matching_jobs(self, text: str) -> list[Job]:
        jobs = self._pool.jobs()
        names = self._fitting(text, (job.name for job in jobs))
        return [job for job in jobs if job.name in names]

    def _each_with_jobs(self, names: Iterable[str]) -> Iterator[tuple[list[BackgroundWorker], list[Job]]]:
        """Yield the workers and the jobs that each of the names fits, at least one."""
        for text in names:
            workers, jobs = self._matching(text), self._matching_jobs(text)
            if not workers and not jobs:
                self._refuse(text)
            yield workers, jobs

    def _chosen(self, names: Sequence[str]) -> list[BackgroundWorker]:
        if not names:
            return self._pool.find_workers()
        found: dict[int, BackgroundWorker] = {}
        for text in names:
            matching = self._matching(text)
            if not matching:
                self._refuse(text)
            found.update((worker.id, worker) for worker in matching)
        return [found[number] for number in sorted(found)]

    def _refuse(self, text: str) -> NoReturn:
        known = [repr(worker.name) for worker in self._pool.find_workers()]
        if not known:
            raise UsageError(f"no worker matches {text!r}, there are none; %bgworker -h says how to make one")
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""  # noqa: PLR2004 - one line is enough
        raise UsageError(f"no worker matches {text!r}; there are {', '.join(known[:5])}{more}")
