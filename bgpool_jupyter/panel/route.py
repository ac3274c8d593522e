"""Let the panel's buttons work while a cell runs.

A front end's message to a widget waits in the kernel until the running cell has ended. The ladder,
each rung behind a test of what the kernel has:

``thread``
    ipykernel 7: its thread "Shell channel" reads the shell socket. A filter in front of that reader
    takes the messages of our own comms, and no others, to a thread of ours.
``control``
    ipykernel 6: our comms' messages are accepted on the control channel too, for a front end that
    sends them there.
``reply``
    The filter is switched off or cannot be installed, and comms remember the subshell that published
    last (ipykernel 7.4): our comm forgets it, so that the front end's own choice holds.
``none``
    The message waits for the end of the cell. The panel says so after 0.7 s.

The environment variable ``BGPOOL_BUSY_ROUTE=off`` switches the first two off.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython

__all__ = ["Route", "connect", "disconnect"]

logger = logging.getLogger("bgpool_jupyter.panel")

Handler = Callable[[dict[str, Any]], None]

#: Seconds between two looks whether the cell has ended, while front ends are not yet told that messages are done.
_OWED_LOOK = 0.25
_INSTALL_TIMEOUT = 2.0


class Route:
    """Takes the messages of some comms to a thread that is never busy with a cell.

    Parameters
    ----------
    kernel
        The running kernel, of ipykernel.

    Notes
    -----
    Threads: :meth:`add`, :meth:`remove` and :meth:`close` may be called from any thread. Handlers are
    called on the thread ``bgpool-route``, beside the main thread.
    """

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.mode = "none"
        #: Replaced, never changed: the reader's thread looks into it without a lock.
        self._handlers: dict[str, Handler] = {}
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._owed: list[dict[str, Any]] = []
        self._undo: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> str:
        """Install the highest rung that the kernel has, and return its name."""
        self._undo = self._filter_shell() or self._accept_on_control()
        if self._undo is not None:
            self._thread = threading.Thread(target=self._serve, name="bgpool-route", daemon=True)
            self._thread.start()
        return self.mode

    def close(self) -> None:
        """Leave the kernel as it was before; the thread ends."""
        self._handlers = {}
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()
        self._queue.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def add(self, comm_id: str, handler: Handler) -> None:
        """Take the messages of a comm to `handler`."""
        with self._lock:
            self._handlers = {**self._handlers, comm_id: handler}

    def remove(self, comm_id: str) -> bool:
        """Leave the messages of a comm to the kernel again; return whether no comm is left."""
        with self._lock:
            self._handlers = {name: handler for name, handler in self._handlers.items() if name != comm_id}
            return not self._handlers

    # ------------------------------------------------------------------ the rungs

    def _filter_shell(self) -> Callable[[], None] | None:
        """Put a filter in front of the reader of the shell channel (ipykernel 7)."""
        kernel = self.kernel
        thread = getattr(kernel, "shell_channel_thread", None)
        stream = getattr(kernel, "shell_stream", None)
        loop = getattr(thread, "io_loop", None)
        reader = getattr(stream, "_recv_callback", None)
        known = (getattr(kernel, "shell_channel_thread_main", None), getattr(kernel, "_shell_parent", None))
        if loop is None or stream is None or reader is None or None in known:
            return None

        async def filtered(message: list[Any]) -> None:
            if not self._take(message):
                await reader(message)

        if not _on_loop(loop, lambda: stream.on_recv(filtered, copy=False)):
            return None
        self.mode = "thread"

        def restore() -> None:
            # Whoever put a filter in front of ours goes on to call ours: then it stays, and passes everything.
            if getattr(stream, "_recv_callback", None) is filtered:
                stream.on_recv(reader, copy=False)

        return lambda: loop.add_callback(restore)

    def _take(self, message: list[Any]) -> bool:
        """Take a message to our thread if it is for one of our comms. On the reader's thread: never raises."""
        handlers, session = self._handlers, self.kernel.session
        if not handlers or session is None:
            return False
        try:
            _, parts = session.feed_identities(message, copy=False)
            if session.unpack(parts[1].bytes).get("msg_type") != "comm_msg":
                return False
            if session.unpack(parts[4].bytes).get("comm_id") not in handlers:
                return False
        except Exception:  # not a message that we understand: the kernel says what is wrong with it
            return False
        try:
            self._queue.put(session.deserialize(parts, content=True, copy=False))  # checks the signature
        except Exception:
            logger.exception("a message to a panel was refused")
        return True

    def _accept_on_control(self) -> Callable[[], None] | None:
        """Accept messages to our comms on the control channel (ipykernel 6)."""
        table = getattr(self.kernel, "control_handlers", None)
        if not isinstance(table, dict) or "comm_msg" in table or getattr(self.kernel, "control_thread", None) is None:
            return None
        if getattr(self.kernel, "shell_channel_thread", None) is not None:
            return None  # a kernel of the other kind whose filter could not be installed: no half measures

        def on_control(_stream: Any, _ident: Any, message: dict[str, Any]) -> None:
            if message["content"].get("comm_id") in self._handlers:
                self._queue.put(message)

        table["comm_msg"] = on_control
        self.mode = "control"
        return lambda: table.pop("comm_msg", None)

    # ------------------------------------------------------------------ our thread

    def _serve(self) -> None:
        while True:
            try:
                message = self._queue.get(timeout=_OWED_LOOK if self._owed else None)
            except queue.Empty:
                self._settle()
                continue
            if message is None:
                self._settle(force=True)
                return
            self._handle(message)
            if self.mode == "thread":  # on the control channel the kernel itself says that a message is done
                self._owed.append(message)
                self._settle()

    def _handle(self, message: dict[str, Any]) -> None:
        handler = self._handlers.get(message["content"]["comm_id"])
        parent = getattr(self.kernel, "_shell_parent", None)
        if parent is not None:
            # What the handler sends must name this message as its parent: after a page reload the front
            # end finds the answer to its request_state by it, and restores no widget otherwise.
            parent.set(message)
        if handler is None:
            return
        try:
            handler(message)
        except Exception:
            logger.exception("a message to a panel could not be handled")

    def _settle(self, *, force: bool = False) -> None:
        """Tell front ends that their messages are done, so that they forget them.

        They take every "idle" for the kernel's own state: one that is sent while a cell runs would
        put the busy light out. So it waits for the end of the cell.
        """
        lock = getattr(self.kernel, "_main_asyncio_lock", None)
        if not force and lock is not None and lock.locked():
            return
        owed, self._owed = self._owed, []
        for message in owed:
            try:
                topic = self.kernel._topic("status")  # noqa: SLF001 - the kernel has no public name for it
                idle = {"execution_state": "idle"}
                self.kernel.session.send(self.kernel.iopub_socket, "status", idle, parent=message, ident=topic)
            except Exception:
                logger.exception("a front end could not be told that its message is done")


def _on_loop(loop: Any, action: Callable[[], None]) -> bool:
    """Do something on an event loop's thread; return whether it was done in time."""
    done = threading.Event()

    def run() -> None:
        action()
        done.set()

    try:
        loop.add_callback(run)
    except Exception:
        logger.exception("the kernel's shell channel takes no callback")
        return False
    return done.wait(_INSTALL_TIMEOUT)


# ---------------------------------------------------------------------------- one route for all panels

_lock = threading.Lock()
_route: Route | None = None


def connect(comm: Any, handler: Handler, *, enabled: bool = True) -> str:
    """Take the messages of a comm to `handler` by the best way that this kernel has, and return its name.

    Notes
    -----
    Threads: may be called from any thread; waits for the kernel's shell channel, for two seconds at most.
    """
    global _route  # noqa: PLW0603 - one filter for all panels of the process
    kernel = getattr(get_ipython(), "kernel", None)
    switched_off = os.environ.get("BGPOOL_BUSY_ROUTE", "").lower() in {"off", "0", "false", "no"}
    if enabled and kernel is not None and not switched_off:
        with _lock:
            if _route is None or _route.kernel is not kernel:
                _route = Route(kernel)
                _route.open()
            if _route.mode != "none":
                _route.add(comm.comm_id, handler)
                return _route.mode
            _route = None
    if callable(getattr(comm, "_reply_subshell_for", None)):
        comm._reply_subshell_for = lambda _data, default: default  # noqa: SLF001 - found by the test above
        return "reply"
    return "none"


def disconnect(comm_id: str) -> None:
    """Undo :func:`connect`; with the last comm the kernel is as it was before. May be called again."""
    global _route
    with _lock:
        if _route is None or not _route.remove(comm_id):
            return
        route, _route = _route, None
    route.close()
