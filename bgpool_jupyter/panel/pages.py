"""Who looks at a panel: the pages that show it, and what they see of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

__all__ = ["MAX_PAGES", "Page", "Pages"]

#: Seconds after which a page that gave no sign gets no more changes. Pages give one a minute.
_LEASE = 600.0
#: Seconds in which a page must ask for its first picture, after the widget was made or its state was asked for.
_FIRST_LEASE = 30.0
#: Most pages that a panel sends changes to; the one that was silent longest gives way.
MAX_PAGES = 32


class Page:
    """What is known of one page (a browser tab) that shows the panel."""

    def __init__(self) -> None:
        self.expires = 0.0
        #: Ids of the rows that it sees.
        self.window: frozenset[int] = frozenset()
        #: Id of the worker whose detail is open.
        self.look: int | None = None
        #: Id of the worker whose stack is looked at.
        self.stack: int | None = None


class Pages:
    """The pages of one panel, by the names that they gave themselves.

    Notes
    -----
    Threads: one at a time; the panel calls it under its lock.
    """

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, client: str) -> bool:
        return client in self._pages

    def __iter__(self) -> Iterator[Page]:
        """Go through the pages that gave a sign of late; the others are forgotten."""
        now = time.monotonic()
        for client in [client for client, page in self._pages.items() if page.expires < now]:
            del self._pages[client]
        return iter(list(self._pages.values()))

    def expect_one(self) -> None:
        """Count on a page that was given the widget's state, until it can have said its name."""
        self._pages.setdefault("", Page()).expires = time.monotonic() + _FIRST_LEASE

    def heard(self, client: str) -> Page:
        """Return the page that just gave a sign, a new one if it is not known."""
        self._pages.pop("", None)
        page = self._pages.pop(client, None) or Page()
        page.expires = time.monotonic() + _LEASE
        self._pages[client] = page  # last: the first one is the one that was silent longest
        while len(self._pages) > MAX_PAGES:
            del self._pages[next(iter(self._pages))]
        return page

    def leave(self, client: str) -> None:
        """Forget a page."""
        self._pages.pop(client, None)
