"""The way past a running cell, on a kernel double: which messages it takes, and what it leaves behind."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from bgpool_jupyter.panel import route as route_module
from bgpool_jupyter.panel.route import Route, connect, disconnect


class Loop:
    """An event loop that does what it is given at once."""

    def add_callback(self, action: Callable[[], None]) -> None:
        action()


class Stream:
    """What the route needs of a ZMQStream."""

    def __init__(self, callback: Any) -> None:
        self._recv_callback = callback

    def on_recv(self, callback: Any, copy: bool = True) -> None:
        assert copy is False
        self._recv_callback = callback


class Lock:
    """The main shell's lock: held while a cell runs."""

    def __init__(self) -> None:
        self.held = False

    def locked(self) -> bool:
        return self.held


class Kernel:
    """What the route needs of an ipykernel 7."""

    def __init__(self) -> None:
        self.session = Session(key=b"secret")
        self.passed: list[Any] = []
        self.shell_stream = Stream(self.shell_channel_thread_main)
        self.shell_channel_thread = type("Thread", (), {"io_loop": Loop()})()
        self._shell_parent: contextvars.ContextVar[Any] = contextvars.ContextVar("shell_parent")
        self._main_asyncio_lock = Lock()
        self.iopub_socket = object()
        self.idle: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.session.send = self._send  # type: ignore[method-assign, assignment]

    async def shell_channel_thread_main(self, message: Any) -> None:
        self.passed.append(message)

    def _topic(self, name: str) -> bytes:
        return name.encode()

    def _send(self, socket: Any, kind: str, content: Any, parent: Any, ident: bytes) -> None:
        assert (socket, kind, content) == (self.iopub_socket, "status", {"execution_state": "idle"})
        self.idle.put(parent["header"]["msg_id"])

    def message(self, comm_id: str = "ours", kind: str = "comm_msg", session: Session | None = None) -> list[zmq.Frame]:
        """Return a message as it comes from the socket."""
        source = session or self.session
        parts = source.serialize(source.msg(kind, {"comm_id": comm_id, "data": {"method": "custom"}}), ident=b"page")
        return [zmq.Frame(part) for part in parts]

    def receive(self, message: list[zmq.Frame]) -> None:
        """Let a message come in."""
        with suppress(StopIteration):  # nothing in it waits: one step is all
            self.shell_stream._recv_callback(message).send(None)
            pytest.fail("the reader waits")


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def route(kernel: Kernel) -> Iterator[Route]:
    route = Route(kernel)
    assert route.open() == "thread"
    yield route
    route.close()


def test_our_message_is_handled_on_our_thread(kernel: Kernel, route: Route) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    route.add("ours", lambda message: got.put((message, threading.current_thread().name, kernel._shell_parent.get())))
    kernel.receive(kernel.message())
    message, thread, parent = got.get(timeout=10)
    assert message["content"]["data"] == {"method": "custom"}
    assert thread == "bgpool-route"
    assert parent is message  # replies name it as their parent
    assert kernel.idle.get(timeout=10) == message["header"]["msg_id"]
    assert kernel.passed == []


@pytest.mark.parametrize(
    ("comm_id", "kind"),
    [("theirs", "comm_msg"), ("ours", "comm_close"), ("ours", "execute_request"), ("ours", "comm_info_request")],
)
def test_other_messages_pass_untouched(kernel: Kernel, route: Route, comm_id: str, kind: str) -> None:
    route.add("ours", lambda message: pytest.fail("taken"))
    message = kernel.message(comm_id, kind)
    kernel.receive(message)
    assert kernel.passed == [message]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"x", b"y"],
        [b"<IDS|MSG>"],
        [b"<IDS|MSG>", b"s", b"{", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"s", b"[]", b"{}", b"{}", b"{}"],
    ],
)
def test_what_is_no_message_passes(kernel: Kernel, route: Route, frames: list[bytes]) -> None:
    route.add("ours", lambda message: pytest.fail("taken"))
    message = [zmq.Frame(part) for part in frames]
    kernel.receive(message)
    assert kernel.passed == [message]


def test_forged_message_is_refused(kernel: Kernel, route: Route, caplog: pytest.LogCaptureFixture) -> None:
    route.add("ours", lambda message: pytest.fail("taken"))
    kernel.receive(kernel.message(session=Session(key=b"other")))
    assert kernel.passed == []
    assert "a message to a panel was refused" in caplog.text


def test_handler_that_raises_harms_nobody(kernel: Kernel, route: Route) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def bad(_: Any) -> None:
        raise RuntimeError("handler")

    route.add("bad", bad)
    route.add("ours", got.put)
    kernel.receive(kernel.message("bad"))
    kernel.receive(kernel.message("ours"))
    assert got.get(timeout=10)["content"]["comm_id"] == "ours"


def test_idle_is_told_when_the_cell_has_ended(kernel: Kernel, route: Route) -> None:
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    kernel._main_asyncio_lock.held = True
    route.add("ours", got.put)
    kernel.receive(kernel.message())
    message = got.get(timeout=10)  # handled at once
    with pytest.raises(queue.Empty):  # the busy light stays on
        kernel.idle.get(timeout=0.4)
    kernel._main_asyncio_lock.held = False
    assert kernel.idle.get(timeout=10) == message["header"]["msg_id"]


def test_close_leaves_the_kernel_as_it_was(kernel: Kernel) -> None:
    before = kernel.shell_stream._recv_callback
    route = Route(kernel)
    route.open()
    assert kernel.shell_stream._recv_callback != before
    route.close()
    route.close()
    assert kernel.shell_stream._recv_callback == before
    assert not [thread for thread in threading.enumerate() if thread.name == "bgpool-route"]


def test_close_does_not_cut_off_a_later_filter(kernel: Kernel) -> None:
    route = Route(kernel)
    route.open()
    ours = kernel.shell_stream._recv_callback

    async def later(message: Any) -> None:
        await ours(message)

    kernel.shell_stream._recv_callback = later
    route.close()
    assert kernel.shell_stream._recv_callback is later
    message = kernel.message()
    kernel.receive(message)
    assert kernel.passed == [message]


class OlderKernel:
    """What the route needs of an ipykernel 6."""

    def __init__(self) -> None:
        self.control_handlers: dict[str, Any] = {}
        self.control_thread = object()
        self.session = Session(key=b"secret")


def test_older_kernel_listens_on_its_control_channel() -> None:
    kernel = OlderKernel()
    route = Route(kernel)
    assert route.open() == "control"
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    route.add("ours", got.put)
    handler = kernel.control_handlers["comm_msg"]
    handler(None, [], {"header": {"msg_id": "1"}, "content": {"comm_id": "theirs"}})
    handler(None, [], {"header": {"msg_id": "2"}, "content": {"comm_id": "ours"}})
    assert got.get(timeout=10)["header"]["msg_id"] == "2"
    route.close()
    assert kernel.control_handlers == {}


@pytest.mark.parametrize(
    "missing", ["shell_channel_thread", "shell_stream", "_shell_parent", "shell_channel_thread_main"]
)
def test_kernel_without_a_needed_part_is_left_alone(kernel: Kernel, missing: str) -> None:
    before = kernel.shell_stream._recv_callback
    setattr(kernel, missing, None)
    kernel.control_handlers = {}  # type: ignore[attr-defined]
    route = Route(kernel)
    assert route.open() == "none"
    if missing != "shell_stream":
        assert kernel.shell_stream._recv_callback == before
    route.close()


# ----------------------------------------------------------------------------------- one route for all


class Comm:
    """What connect() needs of a comm."""

    def __init__(self, comm_id: str) -> None:
        self.comm_id = comm_id


class RememberingComm(Comm):
    """A comm of ipykernel 7.4, which sends answers to the shell that published last."""

    def _reply_subshell_for(self, data: Any, default: Any) -> Any:
        return None


@pytest.fixture
def running(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(route_module, "get_ipython", lambda: type("Shell", (), {"kernel": kernel})())
    return kernel


def test_panels_share_a_route_and_the_last_one_undoes_it(running: Kernel) -> None:
    before = running.shell_stream._recv_callback
    assert connect(Comm("a"), print) == "thread"
    filtered = running.shell_stream._recv_callback
    assert connect(Comm("b"), print) == "thread"
    assert running.shell_stream._recv_callback is filtered
    disconnect("a")
    assert running.shell_stream._recv_callback is filtered
    disconnect("b")
    disconnect("b")
    assert running.shell_stream._recv_callback == before


@pytest.mark.parametrize("switch", ["off", "OFF", "0", "no"])
def test_switch(running: Kernel, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    before = running.shell_stream._recv_callback
    monkeypatch.setenv("BGPOOL_BUSY_ROUTE", switch)
    assert connect(Comm("a"), print) == "none"
    assert running.shell_stream._recv_callback == before


def test_comm_forgets_who_published_last(running: Kernel) -> None:
    comm = RememberingComm("a")
    assert connect(comm, print, enabled=False) == "reply"
    assert comm._reply_subshell_for({}, "subshell") == "subshell"


def test_without_a_kernel_there_is_no_route() -> None:
    assert connect(Comm("a"), print) == "none"
