"""The widget: one AnyWidget that shows a pool and hands on what people ask of it."""

from __future__ import annotations

import logging
import math
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import anywidget
import traitlets

from ..background import default_pool
from ..engine import ArgumentValueError, BackgroundWorker, PoolError, WorkerNotFound, WorkerPool
from ..engine.arguments import encodable
from ..overview import WorkerTable
from . import commands, route, shared, wire
from .looks import Looks
from .model import PoolChange, PoolModel
from .pages import Page, Pages

__all__ = ["Panel", "close_all", "default_panel"]

logger = logging.getLogger("bgpool_jupyter.panel")

_STATIC = pathlib.Path(__file__).parent / "static"
#: Most rows of the table that stands for the panel where there are no widgets.
_FALLBACK_ROWS = 100
#: Seconds after a command in which changes are sent although updates are paused: people see what they did.
_AFTERMATH = 1.5
#: A look that comes so many seconds early is taken: with the next one, the update would be a whole period late.
_SLACK = 0.03


class Panel(anywidget.AnyWidget):
    """A live table of a pool's workers, with buttons.

    Parameters
    ----------
    pool
        The pool to show; None is the default pool. Panels of one pool share a :class:`PoolModel`.
    height
        Height of the table in pixels, header included, from 128 on. It is lower while there are few workers.
    pattern
        The filter at the start, a glob with the meaning of :func:`fnmatch.fnmatchcase`; "" shows all.
    busy_route
        False sends the buttons' messages the kernel's usual way, where they wait for the end of a running cell.
    layout
        The widget's ipywidgets Layout; None is the default one.

    Raises
    ------
    ArgumentTypeError
        If `pool` is no WorkerPool.
    TraitError
        If `height` or `pattern` cannot be used.

    Notes
    -----
    Threads: may be made, changed and closed on any thread. What the page asks for is done beside the
    main thread where the kernel allows it.

    Examples
    --------
    >>> from bgpool_jupyter import Panel
    >>> panel = Panel(pattern="poll*")
    >>> panel.close()
    """

    _esm = _STATIC / "panel.js"
    _css = _STATIC / "panel.css"

    pattern = traitlets.Unicode("").tag(sync=True)
    """Glob of the names that are shown, "" for all. Written by the page and by you."""

    status = traitlets.Enum(commands.STATUSES, "all").tag(sync=True)
    """State that is shown: all, running, waiting, paused, failed, stopped; marked for those with a remark or
    without a cell. Written by the page and by you."""

    sort = traitlets.Enum(commands.SORTS, "name").tag(sync=True)
    """Sorted column: name, schedule, state, next, runs, last, error. Written by the page and by you."""

    descending = traitlets.Bool(default_value=False).tag(sync=True)
    """Whether the rows are sorted the other way round. Written by the page and by you."""

    selected = traitlets.Int(None, allow_none=True).tag(sync=True)
    """Id of the worker whose detail is open, None for none. Written by the page and by you."""

    tab = traitlets.Enum(commands.TABS, "output").tag(sync=True)
    """The detail's open tab: output, error, stack, runs, source. Written by the page and by you."""

    refresh = traitlets.Enum(commands.RATES, 4).tag(sync=True)
    """Most updates a second: 1, 2, 4 or 10; 0 pauses them. Written by the page and by you."""

    height = traitlets.Int(360, min=128).tag(sync=True)
    """Height of the table in pixels. Written by you."""

    route = traitlets.Unicode("none", read_only=True).tag(sync=True)
    """How messages come while a cell runs: thread, control, reply, none. Written once, when the panel is made."""

    comm_name = traitlets.Unicode(read_only=True).tag(sync=True)
    """The widget's id. Written once, when the panel is made."""

    def __init__(
        self,
        pool: WorkerPool | None = None,
        *,
        height: int = 360,
        pattern: str = "",
        busy_route: bool = True,
        layout: Any = None,
    ) -> None:
        #: Held while something is sent to the pages, so that a snapshot is never older than the changes
        #: sent before it. Re-entrant: a __del__ that closes another panel may run inside.
        self._send_lock = threading.RLock()
        #: Held while the page's view state is written. Your observers run under it, so it is none that the
        #: publisher takes: an observer may wait for the publisher, as close() does.
        self._view_lock = threading.RLock()
        self._seq = 0
        self._pages = Pages()
        #: Ids of the workers whose changes wait to be sent, and whether there is anything to be sent.
        self._owed: set[int] = set()
        self._owes = False
        self._sent_at = self._forced_until = -math.inf
        self._undo_tick: Callable[[], None] | None = None
        self._own_layout = layout is None
        self._pool_model: PoolModel | None = shared.acquire(pool)
        self._last_model = self._pool_model
        self._looks = Looks(self._pool_model.pool, self._say)
        try:
            self.set_trait("comm_name", uuid.uuid4().hex)  # before the widget is opened: the page looks it up at once
            layouts = {} if layout is None else {"layout": layout}
            super().__init__(height=height, pattern=pattern, model_id=self.comm_name, **layouts)
            self.comm.on_close(lambda _message: self.close())  # a page took the widget away: no panel is left half dead
            self.set_trait("route", route.connect(self.comm, self._handle_msg, enabled=busy_route))
        except BaseException:
            self.close()
            raise
        self._undo_tick = self._pool_model.on_tick(self._tick)
        _panels.append(self)

    @property
    def pool(self) -> WorkerPool:
        """The pool that is shown."""
        return self._last_model.pool

    @property
    def model(self) -> PoolModel:
        """The observable picture of the pool that the panel shows; it is closed with the pool's last panel."""
        return self._last_model

    @traitlets.validate("pattern")
    def _valid_pattern(self, proposal: Any) -> str:
        value: str = proposal["value"]
        if len(value) > commands.MAX_PATTERN:
            raise traitlets.TraitError(f"pattern must have at most {commands.MAX_PATTERN} characters, not {len(value)}")
        if encodable(value) != value:
            raise traitlets.TraitError(f"pattern must be a text that can be encoded, not {value!r}")
        return value

    @traitlets.observe("refresh")
    def _set_pace(self, _: object) -> None:
        model = getattr(self, "_pool_model", None)
        if model is not None:
            model.pace(self, 1 / self.refresh if self.refresh else None)
        self._forced_until = -math.inf

    def close(self) -> None:
        """Take the panel off all pages; the pool and its workers go on. May be called again.

        Notes
        -----
        Threads: may be called from any thread; waits for at most a few seconds for threads that end.
        """
        model, self._pool_model = getattr(self, "_pool_model", None), None
        if model is None:
            super().close()
            return
        if self in _panels:
            _panels.remove(self)
        if self._undo_tick is not None:
            self._undo_tick()
        model.pace(self, None)
        if self.comm is not None:
            route.disconnect(self.comm.comm_id)
        # The layout is a widget with a comm of its own. One that was given belongs to whoever gave it.
        layout = self._trait_values.get("layout") if self._own_layout else None
        with self._send_lock:
            super().close()
        if layout is not None:
            layout.close()
        shared.release(model)

    def __repr__(self) -> str:
        """Return a text that is the same from run to run."""
        model = getattr(self, "_last_model", None)
        return "Panel()" if model is None else f"Panel({model.pool.name!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget, and for places without widgets what %bgpool shows, as text and as HTML."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        pool = self.pool
        table = WorkerTable(pool.find_workers(), clock=pool.clock.time, most=_FALLBACK_ROWS)
        return {**data, "text/plain": repr(table), "text/html": table._repr_html_()}, metadata

    # ------------------------------------------------------------------ to the page

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the widget's state; the whole one carries a picture of the pool, for the first view."""
        state: dict[str, Any] = super().get_state(key=key, drop_defaults=drop_defaults)
        if key is None:
            with self._send_lock:
                self._pages.expect_one()
                state["_first"] = self._snapshot()
        return state

    def _head(self) -> dict[str, Any]:
        model = self._last_model
        head = {
            "pool": model.pool.name[: commands.MAX_PATTERN],
            "running": model.threads_running,
            "paused": model.threads_paused,
            "suspended": model.suspended,
            "closed": model.closed,
        }
        return {"epoch": model.epoch, "seq": self._seq, "now": round(model.pool.clock.time(), 4), "head": head}

    def _snapshot(self) -> bytes:
        head = self._head() | {"fields": wire.ROW_FIELDS}
        return wire.encode(head, self._last_model.workers.values())

    def _send_snapshot(self) -> None:
        with self._send_lock:
            self._looks.forget()
            self._owed.clear()
            self._owes = False
            self.send({"kind": "snapshot"}, [self._snapshot()])

    def _send_delta(self, changed: Iterable[int], trends: Iterable[int]) -> None:
        self._seq += 1
        workers, ids = self._last_model.workers, sorted(changed)
        drawn = {each: self._trend(each) for each in trends}
        head = self._head() | {"gone": [each for each in ids if each not in workers], "trends": drawn}
        self.send({"kind": "delta"}, [wire.encode(head, [workers[each] for each in ids if each in workers])])

    def _trend(self, worker_id: int) -> list[tuple[float, int]]:
        try:
            return wire.trend(self.pool.worker(worker_id).history)
        except PoolError:
            return []

    def _tick(self, change: PoolChange | None) -> bool:
        """Send what a look at the pool found to whoever looks. On the publisher's thread."""
        with self._send_lock:
            pages = list(self._pages)
            if not pages or self.comm is None:
                return False
            if change is not None:
                self._owed.update((each.id for each in change.updated), change.removed)
                self._owes = True
            if self._is_held():
                return False
            if not self._is_due():
                return True
            if self._owes:
                self._send_owed(frozenset().union(*(page.window for page in pages)))
            details = {page.look for page in pages if page.look is not None}
            stacks = {page.stack for page in pages if page.stack is not None}
            self._looks.step(details, stacks)
            return bool(details or stacks)

    def _is_held(self) -> bool:
        """Tell whether updates are paused, and no command was given a moment ago."""
        return not self.refresh and not self._last_model.closed and time.monotonic() > self._forced_until

    def _is_due(self) -> bool:
        """Tell whether the last update was long enough ago: other panels may have the model look more often."""
        least, now = (1 / self.refresh if self.refresh else 0.0) - _SLACK, time.monotonic()
        if self._last_model.period < least and now - self._sent_at < least:
            return False
        self._sent_at = now
        return True

    def _send_owed(self, seen: frozenset[int]) -> None:
        owed, self._owed, self._owes = self._owed, set(), False
        self._send_delta(owed, sorted(owed & seen & self._last_model.workers.keys()))

    def _say(self, content: dict[str, Any]) -> None:
        self.send(content)

    def _answer(self, token: str | None, answer: commands.Answer) -> None:
        self.send({"kind": "answer", "token": token, "ok": answer.ok, "text": answer.text[:500]})

    # ------------------------------------------------------------------ from the page

    def _handle_msg(self, msg: Any) -> None:
        """Handle a message of the page: on the main thread, a subshell's, or the route's."""
        if self._pool_model is None:
            return  # closed: what was still under way is for nobody
        content = None
        try:
            envelope = msg.get("content") if isinstance(msg, dict) else None
            data: Any = envelope.get("data") if isinstance(envelope, dict) else None
            method = data.get("method") if isinstance(data, dict) else None
            if method == "update":
                self._receive_view(data)
            elif method == "request_state":
                self.send_state()
            elif method == "custom":
                content = data.get("content")
                self._receive(commands.read_message(content))
            else:
                self._refuse(None, "the message has no method that the panel knows: update, request_state or custom")
        except PoolError as error:
            self._refuse(content, str(error))
        except Exception:
            logger.exception("a message to %r could not be handled", self)
            self._refuse(content, "the panel could not handle this; the kernel's log says why")

    def _refuse(self, content: Any, text: str) -> None:
        """Answer a wrong message: by its token, if it has one that can be used."""
        token = content.get("token") if isinstance(content, dict) else None
        usable = isinstance(token, str) and 0 < len(token) <= 64 and encodable(token) == token  # noqa: PLR2004 - as commands reads it
        self._answer(token if usable else None, commands.Answer(ok=False, text=text))

    def _receive_view(self, data: dict[str, Any]) -> None:
        if data.get("buffer_paths"):
            raise ArgumentValueError("the page may not write binary data")
        view = commands.read_view(data.get("state", {}))
        with self._view_lock:
            self.set_state(view)

    def _receive(self, message: commands.Command | commands.PoolCommand | commands.Request) -> None:
        if isinstance(message, commands.Command | commands.PoolCommand):
            self._answer(message.token, commands.perform(self.pool, message))
            self._forced_until = time.monotonic() + _AFTERMATH
            self.model.wake()
            return
        if message.kind == "sleep":
            with self._send_lock:
                self._pages.leave(message.client)
            return
        with self._send_lock:
            known = message.client in self._pages
            page = self._pages.heard(message.client)
        if message.kind == "hello" or not known:
            self._send_snapshot()
        if message.kind == "keep":
            self.send({"kind": "kept"})
        elif message.kind == "window":
            self._show_window(page, frozenset(message.ids))
        elif message.kind == "look":
            self._show_detail(page, message.ids)
        elif message.kind == "stack":
            self._show_stack(page, message.ids)

    def _show_window(self, page: Page, ids: frozenset[int]) -> None:
        with self._send_lock:
            fresh = (ids - page.window) & self.model.workers.keys()
            page.window = ids
            if fresh:
                self._send_delta((), sorted(fresh))

    def _show_detail(self, page: Page, ids: tuple[int, ...]) -> None:
        with self._send_lock:
            worker = self._worker(ids)
            page.look = None if worker is None else worker.id
            if worker is not None:
                self._looks.show_detail(worker)
        self.model.wake()

    def _show_stack(self, page: Page, ids: tuple[int, ...]) -> None:
        with self._send_lock:
            worker = self._worker(ids)
            page.stack = None if worker is None else worker.id
            if worker is not None:
                self._looks.show_stack(worker)
        self.model.wake()

    def _worker(self, ids: tuple[int, ...]) -> BackgroundWorker | None:
        """Return the worker that a page named; None if it named none, or one that has left the pool."""
        try:
            return self.pool.worker(ids[0]) if ids else None
        except WorkerNotFound:
            return None


#: Every panel that is open.
_panels: list[Panel] = []


def default_panel() -> Panel:
    """Return the panel of the default pool: the one that is there, or a new one.

    Notes
    -----
    Threads: may be called from any thread.
    """
    pool = default_pool()
    for panel in _panels.copy():
        if panel.pool is pool and panel.comm is not None:
            return panel
    return Panel(pool)


def close_all() -> None:
    """Close every panel, so that no comm, no thread and no route of a panel is left. May be called again.

    Notes
    -----
    Threads: may be called from any thread.
    """
    for panel in _panels.copy():
        panel.close()
