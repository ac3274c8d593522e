"""concurrent.futures.ThreadPoolExecutor, for jobs."""

from __future__ import annotations

import concurrent.futures

from .base import Contender

__all__ = ["Executor"]


class Executor(Contender):
    """With its default count of threads, or with `threads`."""

    name = "ThreadPoolExecutor"

    def __init__(self, threads: int | None = None) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(threads)
        self.submit = self._executor.submit  # type: ignore[method-assign,assignment]  # no call of ours in between

    def close(self) -> None:
        """Shut the executor down."""
        self._executor.shutdown(wait=True)
