"""Which cell stands for a worker, and whether it still does.

A kernel is not told that a cell was rewritten, and may not be told that one was deleted. What can be known is told by
executions: the cell was executed again and did not define the worker this time, or the front end says in the course
of an execution which cells were deleted before (JupyterLab does). Nothing is concluded from anything else. Cells are
told apart by the ids that front ends send; where there are none, as in terminals, no worker is ever an orphan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..background import default_pool
from ..engine import BackgroundWorker
from .naming import Cell, line_in_cell

__all__ = ["Ownership", "place"]


class Ownership:
    """Notes which cell defines which workers, and marks the workers that are left over.

    Parameters
    ----------
    shell
        The InteractiveShell.

    Notes
    -----
    Threads: belongs to the main thread, as do the events of the shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        #: The request that is being executed, and the workers that it has defined.
        self._request = ""
        self._defined: set[int] = set()

    def install(self) -> Callable[[], None]:
        """Look at the workers after each cell; return what undoes it."""
        self._shell.events.register("post_run_cell", self._after_cell)
        return lambda: self._shell.events.unregister("post_run_cell", self._after_cell)

    def define(self, worker: BackgroundWorker, cell: Cell) -> None:
        """Note that this cell made the worker."""
        worker.cell = cell.number
        worker.cell_id = cell.id
        worker.line = line_in_cell(self._shell, cell.text)
        worker.orphan = ""
        self._note(worker, cell)

    def keep(self, worker: BackgroundWorker, cell: Cell) -> None:
        """Note that this cell would have made the worker if it were not there; an orphan has a cell again."""
        if worker.orphan:
            self.define(worker, cell)
        else:
            self._note(worker, cell)

    def _note(self, worker: BackgroundWorker, cell: Cell) -> None:
        if cell.request != self._request:
            self._request = cell.request
            self._defined = set()
        self._defined.add(worker.id)

    def _after_cell(self, result: Any = None) -> None:
        cell = Cell.current(self._shell)
        if cell.id is None and not cell.deleted:
            return
        defined = self._defined if cell.request == self._request else set()
        deleted = set(cell.deleted) - {cell.id}
        # A cell that failed may have done so before it came to its magics.
        succeeded = result is not None and result.success and cell.id is not None
        for worker in default_pool().find_workers():
            if worker.cell_id is None or worker.id in defined:
                continue
            if worker.cell_id in deleted:
                _mark(worker, f"cell In[{worker.cell}] was deleted")
            elif succeeded and worker.cell_id == cell.id:
                _mark(worker, f"cell In[{result.execution_count or cell.number}] no longer defines it")


def _mark(worker: BackgroundWorker, why: str) -> None:
    worker.orphan = why
    default_pool().changed(worker)


def place(worker: BackgroundWorker) -> str:
    """Return where a worker was made, as in ``Cell In[3], line 2``; "" for one that no cell made.

    Notes
    -----
    Threads: may be called from any thread; returns at once.
    """
    if worker.cell is None:
        return ""
    return f"Cell In[{worker.cell}]" + ("" if worker.line is None else f", line {worker.line}")
