"""What happened, told to subscribers; and which workers changed, for those who draw a picture."""

from __future__ import annotations

import enum
import itertools
import logging
from _thread import TIMEOUT_MAX, allocate_lock
from collections import deque
from contextvars import copy_context
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from .arguments import check_timeout, log_text, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BACKLOG", "REMEMBERED", "ChangeFeed", "EventKind", "Hub", "PoolEvent", "Subscription"]

_logger = logging.getLogger("bgpool_jupyter")
_logger.addHandler(logging.NullHandler())

#: Most events that wait for a slow subscriber; beyond that its oldest ones are dropped and counted.
BACKLOG = 10_000
#: Events of each kind that a pool remembers, the latest ones.
REMEMBERED = 1_000


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
    #: A slot was dismissed: its run would have begun later than max_lateness allows.
    MISSED = "missed"
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
    #: The error of a failed run in one line, how late a missed one would have been, why it was paused, or "".
    text: str


#: An event in the memory of a hub: number in the order, worker's id and name, instant, text.
_Remembered = tuple[int, int, str, float, str]


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
        # Itself, while nobody hands over, and nobody is about to: who takes it out does so next. That is one step, so
        # that of two who come at once one has it; and there is never a second one.
        self._baton: deque[Subscription] = deque((self,), maxlen=1)
        self.closed = False
        #: Count of events that were dropped because the subscriber was too slow. One that was taken in the very moment
        #: in which another came may be counted too.
        self.dropped = 0

    def put(self, event: PoolEvent, ready: deque[Any]) -> bool:
        """Add an event, and this subscription to what is `ready` if nobody hands over; return whether it was added."""
        if self.closed:
            return False
        if len(self._events) == BACKLOG:
            self.dropped += 1
        self._events.append(event)
        try:
            # One step of the interpreter: who is interrupted leaves the baton here or there, and nobody deaf.
            ready.extend(starmap(self._baton.pop, [()]))
        except IndexError:
            return False
        return True

    def _take_baton(self) -> bool:
        try:
            self._baton.pop()
        except IndexError:
            return False
        return True

    def execute(self, seat: object = None) -> None:  # noqa: ARG002 - one form for everything a pool thread executes
        """Hand over what waits, on this thread."""
        while True:
            try:
                event = self._events.popleft()
            except IndexError:
                self._baton.append(self)
                # An event may have come between the look and this: then put() missed the baton, and left it to us.
                if not self._events or not self._take_baton():
                    return
                continue
            if self.closed:
                continue
            try:
                self._tell(event)
            except BaseException as error:
                self._log(f"a subscriber raised {safe_repr(error)} on {event.kind.value} of {event.name!r}")

    def _tell(self, event: PoolEvent) -> None:
        copy_context().run(self._callback, event)

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

    def __init__(self, post: Callable[[Subscription, PoolEvent], None]) -> None:
        self._post = post
        #: Numbers the events, for those of all kinds to be brought into their order again.
        self.order = itertools.count()
        #: By the value of their kind, because many runs must not push out what is rare: number in the order,
        #: worker's id and name, instant, text. A pool does this for every run, whether anybody asks or not.
        self.recent: dict[str, deque[_Remembered]] = {kind.value: deque(maxlen=REMEMBERED) for kind in EventKind}
        self.runs = self.recent[EventKind.RUN.value]
        self._closed = False
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

    def wake(self) -> None:
        """Have those who draw a picture look: something changed that is no worker's."""
        for feed in list(self.feeds):
            feed.wake()

    def tell(self, kind: EventKind, remembered: _Remembered, listener: Subscription | None) -> None:
        """Tell feeds, subscribers, and the one of the worker that it happened to, what is remembered."""
        worker_id = remembered[1]
        for feed in list(self.feeds):
            feed.mark(worker_id)
        subscriptions = list(self.subscriptions)
        if listener is not None and not self._closed:
            subscriptions.append(listener)
        if not subscriptions:
            return
        event = PoolEvent(kind, *remembered[1:])
        for subscription in subscriptions:
            self._post(subscription, event)

    def events(self) -> list[PoolEvent]:
        """Return what is remembered, in the order in which it happened."""
        # Each deque is copied by one step of the interpreter, so that those who add need no lock.
        numbered = [(each, kind) for kind in EventKind for each in list(self.recent[kind.value])]
        numbered.sort(key=lambda pair: pair[0][0])
        return [PoolEvent(kind, *each[1:]) for each, kind in numbered]

    def log(self, text: str) -> None:
        """Hand a message to the logger; one that raises is ignored, because nobody is left to tell."""
        try:
            text = log_text(text)  # a logger may write to a terminal, and an error may hold what came from far away
            logger = self.logger  # once, because another thread may take it away
            if logger is None:
                _logger.error(text)
            else:
                logger(text)
        except BaseException:
            return

    def close(self) -> None:
        """End every feed and subscription."""
        self._closed = True
        for feed in list(self.feeds):
            feed.close()
        for subscription in list(self.subscriptions):
            subscription.close()
        self.feeds.clear()
        self.subscriptions.clear()
