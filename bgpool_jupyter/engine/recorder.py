"""What a pool asks of whoever keeps the records of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .runs import RunningRun, RunRecord
    from .worker import BackgroundWorker

__all__ = ["Recorder"]


class Recorder(Protocol):
    """Is told of every run, for a history that outlives the pool.

    Notes
    -----
    A recorder may have a third method, ``amended(worker, record)``, for what `finished` prints, which is added to the
    output of the last run: it is told of that run once more, with all of its output.

    Threads: all methods are called under the pool's lock, on the thread of the run or of the event loop. They
    return at once, and call neither code of users nor the pool. What they raise is logged and goes no further.
    """

    def began(self, worker: BackgroundWorker, run: RunningRun, /) -> None:
        """Take note of an attempt that begins. `run.ticket` is free for the recorder's use."""

    def ended(self, worker: BackgroundWorker, run: RunningRun, record: RunRecord, /) -> None:
        """Take note of how it ended."""
