"""The verbs of ``%bgpool``."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

from ..engine import BackgroundWorker, Job, WorkerPool
from ..engine.globs import matcher
from ..table import WorkerTable
from .export import export_text
from .grammar import VERBS
from .reports import JobTable, LogEntry, PreviewTable, RunTable, job_log, worker_log

__all__ = ["Verbs"]


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

    Notes
    -----
    Threads: belongs to the main thread, since it prints.
    """

    def __init__(self, pool: WorkerPool, panel_factory: Callable[[], Any], show: Callable[[LogEntry], None]) -> None:
        self._pool = pool
        self._panel_factory = panel_factory
        self._show = show

    def do(self, verb: str, names: Sequence[str], last: int | None) -> Any:
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
        if names and verb in {"kill", "panel"}:
            raise UsageError(f"%bgpool {verb} takes no name, {names[0]!r} is too much; it concerns the whole pool")
        if not names and verb in {"remove", "log"}:
            raise UsageError(f"%bgpool {verb} needs a name or a pattern; %bgpool {verb} * means all")
        if last is not None and verb not in {"log", "history", "preview"}:
            raise UsageError(f"--last belongs to log, history and preview, not to {verb}; leave it out")
        action: Callable[[Sequence[str], int | None], Any] = getattr(self, f"_{verb}")
        return action(names, last)

    # -- verbs that change workers

    def _start(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.start_workers, "all of them are started")

    def _stop(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.stop_workers, "none of them is started")

    def _pause(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.pause_workers, "none of them is started and not paused")

    def _resume(self, names: Sequence[str], _last: int | None) -> WorkerTable:
        return self._change(names, self._pool.unpause_workers, "none of them is paused")

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
            return WorkerTable(changed, f"nothing changed: {nothing}", self._pool.clock.time)
        return WorkerTable()

    # -- verbs that show something

    def _log(self, names: Sequence[str], last: int | None) -> None:
        for text in names:
            workers = self._matching(text)
            jobs = self._matching_jobs(text)
            if not workers and not jobs:
                self._refuse(text)
            for worker in workers:
                for entry in worker_log(worker, last or 3):
                    self._show(entry)
            for job in jobs:
                self._show(job_log(job))

    def _history(self, names: Sequence[str], last: int | None) -> RunTable:
        workers = self._chosen(names)
        runs = [(worker.name, record) for worker in workers for record in worker.history[-(last or 20) :]]
        return RunTable(sorted(runs, key=lambda pair: pair[1].started))

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
        self._show(LogEntry(export_text(workers), []))

    # -- names

    def _patterns(self, names: Sequence[str]) -> list[str]:
        """Return globs for what a person wrote; nothing means all."""
        if not names:
            return ["*"]
        for text in names:
            if not self._matching(text):
                self._refuse(text)
        return [self._pattern(text, (worker.name for worker in self._pool.find_workers())) for text in names]

    @staticmethod
    def _pattern(text: str, names: Any) -> str:
        """Return the text as a glob; a name that contains wildcards means itself first."""
        return glob.escape(text) if text in set(names) else text

    def _matching(self, text: str) -> list[BackgroundWorker]:
        workers = self._pool.find_workers()
        match = matcher(self._pattern(text, (worker.name for worker in workers)))
        return [worker for worker in workers if match(worker.name)]

    def _matching_jobs(self, text: str) -> list[Job]:
        jobs = self._pool.jobs()
        match = matcher(self._pattern(text, (job.name for job in jobs)))
        return [job for job in jobs if match(job.name)]

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
