"""What happened, told to subscribers; and which workers changed, for those who draw a picture."""

from __future__ import annotations

import enum
import logging
from _thread import TIMEOUT_MAX, allocate_lock
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .arguments import check_timeout, log_text, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clock import Clock

__all__ = ["BACKLOG", "ChangeFeed", "EventKind", "Hub", "PoolEvent", "Subscription"]

_logger = logging.getLogger("bgpool_jupyter")
_logger.addHandler(logging.NullHandler())

#: Most events that wait for a slow subscriber; beyond that its oldest ones are dropped and counted.
BACKLOG = 10_000


class EventKind(enum.Enum):
    """What can happen to a worker."""

    #: It was put into the pool.
    REGISTERED = "registered"
    #: start() was called.
    STARTED = "started"
    #: A run ended without an exception.
    RUN = "run"
    #: A run raised.
    FAILED = "failed"
    #: A run takes longer than its timeout.
    OVERDUE = "overdue"
    #: It was paused, or paused itself after too many failures.
    PAUSED = "paused"
    #: It was unpaused.
    UNPAUSED = "unpaused"
    #: A start ended: no further run of it begins. One may still be in flight.
    STOPPED = "stopped"
    #: It left the pool.
    REMOVED = "removed"


class PoolEvent(NamedTuple):
    """Something that happened to a worker."""

    kind: EventKind
    worker_id: int
    name: str
    #: UTC epoch seconds.
    time: float
    #: The error of a failed run in one line, why it was paused, or "".
    text: str


class Subscription:
    """One subscriber of a pool's events.

    Events reach it one at a time, in the order in which they happened, on a thread of the pool.
    A slow subscriber delays nobody else; one that raises is logged and goes on to receive.

    Notes
    -----
    Threads: :meth:`close` may be called from any thread; returns at once.
    """

    def __init__(self, callback: Callable[[PoolEvent], object], log: Callable[[str], None]) -> None:
        self._callback = callback
        self._log = log
        self._events: deque[PoolEvent] = deque(maxlen=BACKLOG)
        self._active = False
        self.closed = False
        #: Count of events that were dropped because the subscriber was too slow.
        self.dropped = 0

    def put(self, event: PoolEvent) -> bool:
        """Add an event; True if :meth:`execute` has to be scheduled. Under the pool's lock."""
        if self.closed:
            return False
        if len(self._events) == BACKLOG:
            self.dropped += 1
        self._events.append(event)
        if self._active:
            return False
        self._active = True
        return True

    def execute(self, seat: object = None) -> None:  # noqa: ARG002 - one form for everything a pool thread executes
        """Hand over what waits, on this thread."""
        while True:
            try:
                event = self._events.popleft()
            except IndexError:
                self._active = False
                # An event may have come between the look and the flag: then put() saw the flag still
                # set and left the event to us.
                if not self._events or self._active:
                    return
                self._active = True
                continue
            if self.closed:
                continue
            try:
                self._callback(event)
            except BaseException as error:
                self._log(f"a subscriber raised {safe_repr(error)} on {event.kind.value} of {event.name!r}")

    def cut_off(self, error: BaseException) -> bool:  # noqa: ARG002 - one form, as above
        """Return that execute() has to begin again where a KeyboardInterrupt cut it off."""
        return True

    def close(self) -> None:
        """Receive nothing any more. May be called again."""
        self.closed = True
        self._events.clear()


class ChangeFeed:
    """The ids of workers that changed since the last look, for one consumer.

    Notes
    -----
    Threads: any thread marks; one thread at a time waits and takes. Only :meth:`wait` blocks.
    """

    def __init__(self, on_close: Callable[[ChangeFeed], None]) -> None:
        self._marks: dict[int, None] = {}
        # A raw lock as a signal: held while there is nothing new. It needs no lock of its own, so
        # that a __del__ that marks while this thread marks cannot dead-lock.
        self._signal = allocate_lock()
        self._signal.acquire()
        self._on_close = on_close
        self.closed = False

    def mark(self, worker_id: int) -> None:
        """Note that the worker changed."""
        self._marks[worker_id] = None
        self.wake()

    def wake(self) -> None:
        """End a wait() at once."""
        if self._signal.locked():
            try:
                self._signal.release()
            except RuntimeError:  # another thread was quicker: the signal is given
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Block until something changed, the feed was closed or woken, or `timeout` seconds (None: no limit) are over.

        Returns
        -------
        bool
            Whether there is something to take.
        """
        timeout = check_timeout(timeout)
        if not self._marks and not self.closed:
            self._signal.acquire(timeout=-1.0 if timeout is None else min(timeout, TIMEOUT_MAX))
        return bool(self._marks)

    def take(self) -> set[int]:
        """Return the ids of the workers that changed, or that left the pool, since the last call."""
        taken = set()
        # Key by key: a key that comes meanwhile is taken now or next time, never lost.
        for _ in range(len(self._marks)):
            try:
                taken.add(self._marks.popitem()[0])
            except KeyError:
                break
        return taken

    def close(self) -> None:
        """End the feed; a wait() that blocks returns. May be called again."""
        self.closed = True
        self._on_close(self)
        self.wake()


class Hub:
    """Everything that a pool tells: changes to feeds, events to subscribers, messages to the logger.

    Notes
    -----
    Threads: any thread, with or without the pool's lock; returns at once.
    """

    def __init__(self, clock: Clock, post: Callable[[Subscription], None]) -> None:
        self._clock = clock
        self._post = post
        # Sets in the order of their making, changed by single steps of the interpreter and iterated in a copy that
        # is made by one: nobody needs a lock, and of two who come or go at once neither is lost.
        self.feeds: dict[ChangeFeed, None] = {}
        self.subscriptions: dict[Subscription, None] = {}
        self.logger: Callable[[str], object] | None = None

    def watch(self) -> ChangeFeed:
        """Return a new feed."""
        feed = ChangeFeed(self._unwatch)
        self.feeds[feed] = None
        return feed

    def _unwatch(self, feed: ChangeFeed) -> None:
        self.feeds.pop(feed, None)

    def subscribe(self, callback: Callable[[PoolEvent], object]) -> Subscription:
        """Return a new subscription."""
        subscription = Subscription(callback, self.log)
        for other in list(self.subscriptions):
            if other.closed:
                self.subscriptions.pop(other, None)
        self.subscriptions[subscription] = None
        return subscription

    def changed(self, worker_id: int) -> None:
        """Tell the feeds that a worker changed."""
        for feed in list(self.feeds):
            feed.mark(worker_id)

    def note(self, worker_id: int, name: str, kind: EventKind, text: str = "") -> None:
        """Tell feeds and subscribers that something happened to a worker."""
        for feed in list(self.feeds):
            feed.mark(worker_id)
        if not self.subscriptions:
            return
        event = PoolEvent(kind, worker_id, name, self._clock.time(), text)
        for subscription in list(self.subscriptions):
            if subscription.put(event):
                self._post(subscription)

    def log(self, text: str) -> None:
        """Hand a message to the logger; one that raises is ignored, because nobody is left to tell."""
        try:
            text = log_text(text)  # a logger may write to a terminal, and an error may hold what came from far away
            if self.logger is None:
                _logger.error(text)
            else:
                self.logger(text)
        except BaseException:
            return

    def close(self) -> None:
        """End every feed and subscription."""
        for feed in list(self.feeds):
            feed.close()
        for subscription in list(self.subscriptions):
            subscription.close()
        self.feeds.clear()
        self.subscriptions.clear()
