"""The heap of due workers, with lazy deletion."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Deadlines", "Queued"]

#: Below this many dead entries the heap is not compacted.
_COMPACT_FROM = 256


class Queued(Protocol):
    """What can be queued: its token names the one live entry, 0 means that there is none."""

    _token: int


Q = TypeVar("Q", bound=Queued)


class Deadlines(Generic[Q]):
    """A heap of ``(due, token, item)``.

    An entry is live while its token is the item's; cancelling only sets the item's token to another
    value. Dead entries are dropped when they come to the top, and all at once when they are the
    larger half, so that any number of start/stop of far items leaves memory flat. Tokens grow, so
    that ties are first in, first out, and items are never compared.

    Notes
    -----
    Threads: the owner holds its lock around every call.
    """

    __slots__ = ("_dead", "_tokens", "heap")

    def __init__(self) -> None:
        #: Read-only outside of this class; ``heap[0]`` may be dead.
        self.heap: list[tuple[float, int, Q]] = []
        self._dead = 0
        self._tokens = 0

    def push(self, due: float, item: Q) -> None:
        """Queue `item` at `due` (monotonic seconds); an entry that it had before becomes dead."""
        if item._token:
            self._dead += 1
        # The entry goes in before it is made live: a call that is cut off between the two leaves
        # a dead entry, never a live token without an entry.
        token = self._tokens = self._tokens + 1
        heapq.heappush(self.heap, (due, token, item))
        item._token = token

    def cancel(self, item: Q) -> None:
        """Make the entry of `item` dead, if it has one."""
        if not item._token:
            return
        item._token = 0
        self._dead += 1
        # A heap in which nothing lives is emptied at once, so that it keeps nobody alive.
        if self._dead >= len(self.heap) or (self._dead > _COMPACT_FROM and self._dead * 2 > len(self.heap)):
            kept = list(self.live())
            heapq.heapify(kept)
            self.heap[:] = kept  # one step: a call that is cut off leaves the old heap or the new one
            self._dead = 0

    def pop_due(self, now: float) -> tuple[float, int, Q] | None:
        """Take out the earliest live entry that is due at `now`; its item keeps the token."""
        heap = self.heap
        while heap:
            entry = heap[0]
            if entry[2]._token != entry[1]:
                heapq.heappop(heap)
                self._dead -= 1
            elif entry[0] <= now:
                heapq.heappop(heap)
                return entry
            else:
                return None
        return None

    def next_due(self) -> float | None:
        """Return the instant of the earliest live entry, or None."""
        heap = self.heap
        while heap:
            due, token, item = heap[0]
            if item._token == token:
                return due
            heapq.heappop(heap)
            self._dead -= 1
        return None

    def earliest(self) -> float:
        """Return the instant of the first entry, live or dead, infinity if there is none. No lock is needed."""
        try:
            return self.heap[0][0]
        except IndexError:
            return math.inf

    def following(self) -> float | None:
        """Return an instant not later than that of the second live entry, or None if there is no second entry."""
        heap = self.heap
        if len(heap) < 3:  # noqa: PLR2004 - a heap: the second of three may stand in two places
            return heap[1][0] if len(heap) > 1 else None
        return min(heap[1][0], heap[2][0])

    def live(self) -> Iterator[tuple[float, int, Q]]:
        """Iterate over the live entries, in no order."""
        return (entry for entry in self.heap if entry[2]._token == entry[1])

    def clear(self) -> None:
        """Forget every entry; tokens of items are left as they are."""
        self.heap.clear()
        self._dead = 0
