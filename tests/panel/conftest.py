"""A pool in virtual time, and a panel whose messages can be read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bgpool_jupyter.panel import Panel, close_all
from bgpool_jupyter.testing import ManualPool, make_pool


class Wire:
    """What a page would see of a panel, and what it would say."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        #: Every message to the page, with the decoded buffer in place of the buffer.
        self.sent: list[dict[str, Any]] = []

    def record(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Stand in for Panel.send."""
        self.sent.append(content | (json.loads(buffers[0]) if buffers else {}))

    def raw(self, data: Any) -> None:
        """Let the page send anything."""
        self.panel._handle_msg({"content": {"comm_id": "c", "data": data}, "buffers": []})

    def say(self, **content: Any) -> None:
        """Let the page send a message of the protocol."""
        self.raw({"method": "custom", "content": content})

    def command(self, verb: str, *ids: int) -> dict[str, Any]:
        """Let the page send a command, and return the answer."""
        self.say(kind="command", token="t1", verb=verb, ids=list(ids))
        return self._answer()

    def pool_command(self, verb: str) -> dict[str, Any]:
        """Let the page send a command to the pool as a whole, and return the answer."""
        self.say(kind="pool", token="t1", verb=verb)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer = self.sent[-1]
        assert (answer["kind"], answer["token"]) == ("answer", "t1")
        return answer

    def take(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind that were sent so far, and forget all."""
        found = [message for message in self.sent if message["kind"] == kind]
        self.sent.clear()
        return found


@pytest.fixture
def pool() -> Iterator[ManualPool]:
    pool = make_pool(name="manual")
    yield pool
    pool.close()


@pytest.fixture
def no_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the publisher's thread from starting: tests call model.step() themselves."""
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda thread: None if thread.name == "bgpool-publisher" else start(thread)
    )
    join = threading.Thread.join
    monkeypatch.setattr(
        threading.Thread,
        "join",
        lambda thread, timeout=None: None if thread.name == "bgpool-publisher" else join(thread, timeout),
    )


@pytest.fixture
def open_panel(no_publisher: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Wire]]:
    def make(*args: Any, **kwargs: Any) -> Wire:
        panel = Panel(*args, **kwargs)
        wire = Wire(panel)
        panel.send = wire.record
        return wire

    yield make
    close_all()


@pytest.fixture
def wire(pool: ManualPool, open_panel: Callable[..., Wire]) -> Wire:
    return open_panel(pool)
