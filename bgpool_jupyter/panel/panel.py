"""The widget: one AnyWidget that shows a pool and hands on what people ask of it."""

from __future__ import annotations

import logging
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import anywidget
import traitlets

from ..background import default_pool
from ..engine import ArgumentValueError, PoolError, WorkerNotFound, WorkerPool
from ..table import format_snapshot, html_table, text_table
from . import commands, route, wire
from .model import PoolChange, PoolModel

__all__ = ["Panel", "close_all", "default_panel"]

logger = logging.getLogger("bgpool_jupyter.panel")

_STATIC = pathlib.Path(__file__).parent / "static"
#: Seconds after which a page that gave no sign gets no more changes. Pages give one a minute.
_LEASE = 600.0
#: Seconds in which a page must ask for its first picture, after the widget was made or its state was asked for.
_FIRST_LEASE = 30.0
#: Most pages that a panel sends changes to; the one that was silent longest gives way.
_MAX_PAGES = 32
#: Most rows of the text and HTML that stand for the panel where there are no widgets.
_FALLBACK_ROWS = 100
#: A detail of more characters than this is sent at most once in so many seconds.
_LARGE_DETAIL, _LARGE_PAUSE = 16_000, 1.0


class _Page:
    """What is known of one page (a browser tab) that shows the panel."""

    def __init__(self, expires: float) -> None:
        self.expires = expires
        #: Ids of the rows that it sees.
        self.window: frozenset[int] = frozenset()
        #: Id of the worker whose detail is open.
        self.look: int | None = None


class _Sent(NamedTuple):
    """The detail that was sent last."""

    key: tuple[Any, ...]
    version: int
    size: int
    at: float


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
    """State that is shown: all, running, waiting, paused, failed, stopped. Written by the page and by you."""

    sort = traitlets.Enum(commands.SORTS, "name").tag(sync=True)
    """Sorted column: name, schedule, state, next, runs, last, error. Written by the page and by you."""

    descending = traitlets.Bool(default_value=False).tag(sync=True)
    """Whether the rows are sorted the other way round. Written by the page and by you."""

    selected = traitlets.Int(None, allow_none=True).tag(sync=True)
    """Id of the worker whose detail is open, None for none. Written by the page and by you."""

    tab = traitlets.Enum(commands.TABS, "output").tag(sync=True)
    """The detail's open tab: output, error, runs, source. Written by the page and by you."""

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
        self._pages: dict[str, _Page] = {}
        self._sent: dict[int, _Sent] = {}
        self._undo_tick: Callable[[], None] | None = None
        self._own_layout = layout is None
        self._pool_model: PoolModel | None = _acquire(pool)
        self._last_model = self._pool_model
        try:
            self.set_trait("comm_name", uuid.uuid4().hex)  # before the widget is opened: the page looks it up at once
            layouts = {} if layout is None else {"layout": layout}
            super().__init__(height=height, pattern=pattern, model_id=self.comm_name, **layouts)
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
        return value

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
        if self.comm is not None:
            route.disconnect(self.comm.comm_id)
        # The layout is a widget with a comm of its own. One that was given belongs to whoever gave it.
        layout = self._trait_values.get("layout") if self._own_layout else None
        with self._send_lock:
            super().close()
        if layout is not None:
            layout.close()
        _release(model)

    def __repr__(self) -> str:
        """Return a text that is the same from run to run."""
        model = getattr(self, "_last_model", None)
        return "Panel()" if model is None else f"Panel({model.pool.name!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget, and for places without widgets the same table as text and as HTML."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        snapshots = list(self.model.workers.values())
        now = self.pool.clock.time()
        rows = [format_snapshot(each, now) for each in snapshots[:_FALLBACK_ROWS]]
        more = len(snapshots) - len(rows)
        note = f"… and {more:,} more" if more else ""
        text = text_table(rows) + (f"\n{note}" if note else "")
        table = html_table(rows) + (f"<p>{note}</p>" if note else "")
        return {**data, "text/plain": text, "text/html": table}, metadata

    # ------------------------------------------------------------------ to the page

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the widget's state; the whole one carries a picture of the pool, for the first view."""
        state: dict[str, Any] = super().get_state(key=key, drop_defaults=drop_defaults)
        if key is None:
            with self._send_lock:
                self._pages.setdefault("", _Page(0.0)).expires = time.monotonic() + _FIRST_LEASE
                state["_first"] = self._snapshot()
        return state

    def _head(self) -> dict[str, Any]:
        model = self._last_model
        head = {
            "pool": model.pool.name[: commands.MAX_PATTERN],
            "running": model.threads_running,
            "paused": model.threads_paused,
            "closed": model.closed,
        }
        return {"epoch": model.epoch, "seq": self._seq, "now": round(model.pool.clock.time(), 4), "head": head}

    def _snapshot(self) -> bytes:
        head = self._head() | {"fields": wire.ROW_FIELDS}
        return wire.encode(head, self._last_model.workers.values())

    def _send_snapshot(self) -> None:
        with self._send_lock:
            self._sent.clear()
            self.send({"kind": "snapshot"}, [self._snapshot()])

    def _send_delta(self, change: PoolChange | None, trends: Iterable[int]) -> None:
        self._seq += 1
        drawn = {each: self._trend(each) for each in trends}
        gone = [] if change is None else change.removed
        head = self._head() | {"gone": gone, "trends": drawn}
        self.send({"kind": "delta"}, [wire.encode(head, () if change is None else change.updated)])

    def _trend(self, worker_id: int) -> list[tuple[float, int]]:
        try:
            return wire.trend(self.pool.worker(worker_id).history)
        except PoolError:
            return []

    def _tick(self, change: PoolChange | None) -> bool:
        """Send what a look at the pool found to whoever looks. On the publisher's thread."""
        with self._send_lock:
            pages = self._living_pages()
            if not pages or self.comm is None:
                return False
            if change is not None:
                seen = frozenset().union(*(page.window for page in pages))
                self._send_delta(change, [each.id for each in change.updated if each.id in seen])
            looks = {page.look for page in pages if page.look is not None}
            for worker_id in looks:
                self._send_detail(worker_id)
            return bool(looks)

    def _send_detail(self, worker_id: int) -> None:
        try:
            worker = self.pool.worker(worker_id)
        except PoolError:
            return
        key, now = wire.detail_key(worker), time.monotonic()
        last = self._sent.get(worker_id)
        if last is not None and (last.key == key or (last.size > _LARGE_DETAIL and now - last.at < _LARGE_PAUSE)):
            return
        content = wire.detail(worker)
        version = 0 if last is None else last.version + 1
        size = sum(len(run["text"]) + sum(map(len, run.get("images", ()))) for run in content["runs"])
        self._sent[worker_id] = _Sent(key, version, size, now)
        captures = self.pool.capture is not None
        self.send({"kind": "detail", "version": version, "captures": captures, **content})

    def _answer(self, token: str | None, answer: commands.Answer) -> None:
        self.send({"kind": "answer", "token": token, "ok": answer.ok, "text": answer.text[:500]})

    def _living_pages(self) -> list[_Page]:
        now = time.monotonic()
        for client in [client for client, page in self._pages.items() if page.expires < now]:
            del self._pages[client]
        return list(self._pages.values())

    # ------------------------------------------------------------------ from the page

    def _handle_msg(self, msg: Any) -> None:
        """Handle a message of the page: on the main thread, a subshell's, or the route's."""
        content = None
        try:
            data = msg["content"]["data"]
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
        usable = isinstance(token, str) and 0 < len(token) <= 64  # noqa: PLR2004 - as commands reads it
        self._answer(token if usable else None, commands.Answer(ok=False, text=text))

    def _receive_view(self, data: dict[str, Any]) -> None:
        if data.get("buffer_paths"):
            raise ArgumentValueError("the page may not write binary data")
        view = commands.read_view(data.get("state", {}))
        with self._view_lock:
            self.set_state(view)

    def _receive(self, message: commands.Command | commands.Request) -> None:
        if isinstance(message, commands.Command):
            self._answer(message.token, commands.perform(self.pool, message))
            self.model.wake()
            return
        if message.kind == "sleep":
            with self._send_lock:
                self._pages.pop(message.client, None)
            return
        known = message.client in self._pages
        page = self._page(message.client)
        if message.kind == "hello" or not known:
            self._send_snapshot()
        if message.kind == "keep":
            self.send({"kind": "kept"})
        elif message.kind == "window":
            self._show_window(page, frozenset(message.ids))
        elif message.kind == "look":
            self._show_detail(page, message.ids)

    def _page(self, client: str) -> _Page:
        with self._send_lock:
            self._pages.pop("", None)
            page = self._pages.pop(client, None) or _Page(0.0)
            page.expires = time.monotonic() + _LEASE
            self._pages[client] = page  # last: the first one is the one that was silent longest
            while len(self._pages) > _MAX_PAGES:
                del self._pages[next(iter(self._pages))]
            return page

    def _show_window(self, page: _Page, ids: frozenset[int]) -> None:
        with self._send_lock:
            fresh = (ids - page.window) & self.model.workers.keys()
            page.window = ids
            if fresh:
                self._send_delta(None, sorted(fresh))

    def _show_detail(self, page: _Page, ids: tuple[int, ...]) -> None:
        with self._send_lock:
            page.look = ids[0] if ids else None
            if page.look is None:
                return
            self._sent.pop(page.look, None)
            try:
                self.pool.worker(page.look)
            except WorkerNotFound:
                page.look = None
                return
            self._send_detail(page.look)
        self.model.wake()


# ------------------------------------------------------------------- one model a pool, and every panel

_lock = threading.Lock()
#: Models by id() of their pool, with the count of panels that show it. A model keeps its pool alive.
_models: dict[int, tuple[PoolModel, int]] = {}
_panels: list[Panel] = []


def _acquire(pool: WorkerPool | None) -> PoolModel:
    with _lock:
        chosen = default_pool() if pool is None else pool
        model, users = _models.get(id(chosen), (None, 0))
        if model is None:
            model = PoolModel(chosen)
        _models[id(model.pool)] = (model, users + 1)
        return model


def _release(model: PoolModel) -> None:
    with _lock:
        _, users = _models[id(model.pool)]
        if users > 1:
            _models[id(model.pool)] = (model, users - 1)
            return
        del _models[id(model.pool)]
    model.close()


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
