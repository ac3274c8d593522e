"""Messages of a page that means harm: each one leaves the pool and the panel as they were, and at work.

A script in any output of the notebook can send to the widget's comm. What it sends is decoded JSON
beside binary buffers, so that is what is tried here; the kernel's own queue and threads are tried in
a browser (tests/browser/test_hostile.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import traitlets
from jupyter_client.session import Session

from bgpool_jupyter.panel import Panel, close_all
from bgpool_jupyter.panel.commands import POOL_VERBS, VERBS
from bgpool_jupyter.testing import ManualPool

#: Most characters of an answer.
MOST_ANSWER = 500

#: What travels in the widget's state beside its layout, with the only types that it may have. `_first` is the
#: picture of the pool as JSON bytes; `_esm` and `_css` are the two files of the package.
STATE: dict[str, tuple[type, ...]] = {
    "_anywidget_id": (str,),
    "_css": (str,),
    "_dom_classes": (tuple,),
    "_esm": (str,),
    "_first": (bytes,),
    "_model_module": (str,),
    "_model_module_version": (str,),
    "_model_name": (str,),
    "_view_count": (type(None),),
    "_view_module": (str,),
    "_view_module_version": (str,),
    "_view_name": (str,),
    "comm_name": (str,),
    "descending": (bool,),
    "height": (int,),
    "layout": (str,),
    "pattern": (str,),
    "refresh": (int,),
    "route": (str,),
    "selected": (type(None), int),
    "sort": (str,),
    "status": (str,),
    "tab": (str,),
    "tabbable": (type(None),),
    "tooltip": (type(None),),
}
#: The part of it that the page writes.
VIEW = ("descending", "pattern", "refresh", "selected", "sort", "status", "tab")


class Page:
    """A page at the other end of the comm: everything that is sent to it must survive the kernel's own packing."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.sent: list[dict[str, Any]] = []
        self._session = Session(key=b"secret")
        panel.comm.send = self._receive

    def _receive(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        message = self._session.msg("comm_msg", {"comm_id": "c", "data": data})
        *_, content = self._session.serialize(message)
        self.sent.append(json.loads(content)["data"])

    def deliver(self, message: Any) -> None:
        """Let a whole message of the comm come in."""
        self.panel._handle_msg(message)

    def say(self, data: Any, buffers: list[bytes] | None = None) -> None:
        """Let the page send anything to the comm."""
        self.deliver({"content": {"comm_id": "c", "data": data}, "buffers": buffers or []})

    def custom(self, content: Any) -> None:
        """Let the page send anything in the place of a message of the protocol."""
        self.say({"method": "custom", "content": content})

    def answers(self) -> list[dict[str, Any]]:
        """Return the answers that came so far."""
        return [data["content"] for data in self.sent if data["method"] == "custom" and "ok" in data["content"]]


def picture(pool: ManualPool, panel: Panel) -> dict[str, Any]:
    """Return everything that a message might have changed."""
    workers = pool.find_workers()
    return {
        "workers": [(w.id, w.name, w.status, w.run_count, w.interval, w.source, dict(w.args)) for w in workers],
        "jobs": pool.jobs(),
        "closed": (pool.closed, pool.suspended, panel.comm is None),
        "pool": (pool.name, pool.capture),
        "state": {name: value for name, value in panel.get_state().items() if name != "_first"},
        "layout": panel.layout.get_state(),
        "attributes": sorted(vars(panel)),
        "verbs": (dict(VERBS), dict(POOL_VERBS)),
    }


@pytest.fixture
def page(pool: ManualPool, no_publisher: None) -> Iterator[Page]:
    for name in ("runs", "paused", "fresh"):
        pool.new_worker(10, lambda: None, name=name, dispose=False)
    pool.start_workers("runs")
    pool.start_workers("paused")
    pool.clock.advance(0)
    pool.pause_workers("paused")
    yield Page(Panel(pool))
    close_all()


def nested(depth: int = 10_000) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def nested_object(depth: int = 10_000) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


NAN, INF = float("nan"), float("inf")
HUGE = 10**5000
LONG = "x" * 1_000_000
LONE = "\ud800"


def command(**fields: Any) -> dict[str, Any]:
    """Return a command that stops every worker, but for the fields given here."""
    return {"kind": "command", "token": "t", "verb": "stop", "ids": [1, 2, 3]} | fields


def whole(**fields: Any) -> dict[str, Any]:
    """Return a command that suspends the pool, but for the fields given here."""
    return {"kind": "pool", "token": "t", "verb": "suspend"} | fields


#: In the place of a message of the protocol: wrong types, missing fields, too much of everything.
CONTENTS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "text": lambda: "stop",
    "number": lambda: 7,
    "list": lambda: [command()],
    "empty": dict,
    "no-kind": lambda: {"token": "t", "verb": "stop", "ids": [1]},
    "unknown-kind": lambda: command(kind="eval"),
    "kind-of-python": lambda: command(kind="__import__"),
    "kind-is-a-list": lambda: command(kind=["command"]),
    "kind-is-true": lambda: command(kind=True),
    "long-kind": lambda: command(kind=LONG),
    "deep-kind": lambda: command(kind=nested()),
    "deep-list": nested,
    "deep-object": nested_object,
    "prototype-of-all": lambda: command(__proto__={"verb": "stop"}),
    "constructor": lambda: command(constructor={"prototype": {"verb": "stop"}}),
    "field-of-python": lambda: command(__class__="Command"),
    "many-fields": lambda: command(**{f"f{n}": n for n in range(10_000)}),
    "long-field": lambda: command(**{LONG: 1}),
    "invoke-of-anywidget": lambda: {"id": "1", "kind": "anywidget-command", "name": "close", "msg": {}},
    "unknown-verb": lambda: command(verb="kill"),
    "verb-with-spaces": lambda: command(verb=" stop "),
    "verb-of-python": lambda: command(verb="__class__"),
    "verb-of-the-pool": lambda: command(verb="close"),
    "verb-is-code": lambda: command(verb="stop; __import__('os').system('true')"),
    "verb-is-a-list": lambda: command(verb=["stop"]),
    "verb-is-an-object": lambda: command(verb={"stop": 1}),
    "token-is-missing": lambda: {"kind": "command", "verb": "stop", "ids": [1]},
    "token-is-empty": lambda: command(token=""),
    "token-is-a-number": lambda: command(token=1),
    "token-is-long": lambda: command(token=LONG),
    "token-is-deep": lambda: command(token=nested()),
    "token-cannot-be-encoded": lambda: command(token=LONE),
    "ids-are-missing": lambda: {"kind": "command", "token": "t", "verb": "stop"},
    "ids-are-null": lambda: command(ids=None),
    "ids-are-a-number": lambda: command(ids=1),
    "ids-are-a-text": lambda: command(ids="123"),
    "ids-are-an-object": lambda: command(ids={"0": 1, "length": 1}),
    "ids-are-a-million": lambda: command(ids=list(range(1_000_000))),
    "ids-are-deep": lambda: command(ids=nested()),
    "id-is-true": lambda: command(ids=[True]),
    "id-is-a-text": lambda: command(ids=["1"]),
    "id-is-a-glob": lambda: command(ids=["*"]),
    "id-is-a-fraction": lambda: command(ids=[1.0]),
    "id-is-negative": lambda: command(ids=[-1]),
    "id-is-nan": lambda: command(ids=[NAN]),
    "id-is-infinite": lambda: command(ids=[INF]),
    "id-is-huge": lambda: command(ids=[HUGE]),
    "id-is-huge-and-negative": lambda: command(ids=[-HUGE]),
    "one-bad-id-of-three": lambda: command(ids=[1, 2, None]),
    "interval-beside": lambda: command(interval=1e-9),
    "pool-verb-is-unknown": lambda: whole(verb="kill_jobs"),
    "pool-verb-of-python": lambda: whole(verb="__class__"),
    "pool-verb-of-workers": lambda: whole(verb="remove"),
    "pool-verb-for-workers": lambda: command(verb="suspend"),
    "pool-verb-is-close": lambda: whole(verb="close"),
    "pool-verb-in-capitals": lambda: whole(verb="SUSPEND"),
    "pool-verb-is-a-list": lambda: whole(verb=["suspend"]),
    "pool-verb-is-an-object": lambda: whole(verb={"suspend": 1}),
    "pool-verb-is-true": lambda: whole(verb=True),
    "pool-verb-is-missing": lambda: {"kind": "pool", "token": "t"},
    "pool-verb-is-long": lambda: whole(verb=LONG),
    "pool-verb-is-deep": lambda: whole(verb=nested()),
    "pool-token-is-missing": lambda: {"kind": "pool", "verb": "suspend"},
    "pool-token-is-empty": lambda: whole(token=""),
    "pool-token-is-long": lambda: whole(token=LONG),
    "pool-token-cannot-be-encoded": lambda: whole(token=LONE),
    "pool-with-ids": lambda: whole(ids=[1, 2, 3]),
    "pool-with-a-name": lambda: whole(pool="other"),
    "pool-with-a-client": lambda: whole(client="a"),
    "pool-with-a-prototype": lambda: whole(__proto__={"verb": "suspend"}),
    "pool-with-many-fields": lambda: whole(**{f"f{n}": n for n in range(10_000)}),
    "client-is-missing": lambda: {"kind": "hello"},
    "client-is-long": lambda: {"kind": "hello", "client": LONG},
    "client-is-an-object": lambda: {"kind": "keep", "client": {}},
    "window-of-a-million": lambda: {"kind": "window", "client": "a", "ids": list(range(1_000_000))},
    "window-without-ids": lambda: {"kind": "window", "client": "a"},
    "look-at-true": lambda: {"kind": "look", "client": "a", "id": True},
    "look-at-a-huge-number": lambda: {"kind": "look", "client": "a", "id": HUGE},
    "look-at-two": lambda: {"kind": "look", "client": "a", "id": [1, 2]},
    "stack-without-id": lambda: {"kind": "stack", "client": "a"},
    "stack-of-a-name": lambda: {"kind": "stack", "client": "a", "id": "runs"},
    "stack-of-frames": lambda: {"kind": "stack", "client": "a", "id": {"__globals__": 1}},
    "bytes": lambda: b"stop",
}

#: In the place of what the page writes into synced traits.
STATES: dict[str, Callable[[], Any]] = {
    "code": lambda: {"_esm": "export default { render() { window.pwned = 1 } }"},
    "style": lambda: {"_css": "* { display: none }"},
    "layout-of-another": lambda: {"layout": "IPY_MODEL_0123456789abcdef"},
    "layout-object": lambda: {"layout": {"display": "none"}},
    "classes": lambda: {"_dom_classes": ["jp-mod-hidden"]},
    "other-view": lambda: {"_view_module": "evil", "_view_name": "Evil"},
    "other-model": lambda: {"_model_module": "evil", "_model_name": "HTMLModel"},
    "other-version": lambda: {"_model_module_version": "99"},
    "anywidget-id": lambda: {"_anywidget_id": "evil"},
    "tooltip": lambda: {"tooltip": "<img src=x onerror=alert(1)>"},
    "tabbable": lambda: {"tabbable": True},
    "view-count": lambda: {"_view_count": 10**9},
    "first-picture": lambda: {"_first": "{}"},
    "height": lambda: {"height": 10**9},
    "route": lambda: {"route": "control"},
    "comm-name": lambda: {"comm_name": "of another"},
    "attribute": lambda: {"_pool_model": None},
    "lock": lambda: {"_send_lock": None},
    "method": lambda: {"close": "x", "send": "y"},
    "class": lambda: {"__class__": "Panel", "__dict__": {}},
    "prototype": lambda: {"__proto__": {"pattern": "x"}},
    "pattern-is-a-number": lambda: {"pattern": 5},
    "pattern-is-long": lambda: {"pattern": LONG},
    "pattern-cannot-be-encoded": lambda: {"pattern": LONE},
    "pattern-is-deep": lambda: {"pattern": nested()},
    "status-is-unknown": lambda: {"status": "deleted"},
    "sort-is-python": lambda: {"sort": "__lt__"},
    "descending-is-a-number": lambda: {"descending": 1},
    "selected-is-true": lambda: {"selected": True},
    "selected-is-nan": lambda: {"selected": NAN},
    "selected-is-negative": lambda: {"selected": -1},
    "selected-is-huge": lambda: {"selected": HUGE},
    "tab-is-html": lambda: {"tab": "<b>"},
    "good-and-bad": lambda: {"pattern": "a*", "_esm": "x"},
    "list": lambda: ["pattern", "a*"],
    "null": lambda: None,
    "deep": nested_object,
    "many": lambda: {f"t{n}": n for n in range(100_000)},
    "long-name": lambda: {LONG: 1},
}

#: Whole messages of the comm that are none.
ENVELOPES: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "text": lambda: "stop",
    "empty": dict,
    "no-content": lambda: {"buffers": []},
    "content-is-null": lambda: {"content": None},
    "content-is-a-list": lambda: {"content": []},
    "no-data": lambda: {"content": {"comm_id": "c"}},
    "data-is-null": lambda: {"content": {"data": None}},
    "data-is-a-text": lambda: {"content": {"data": "update"}},
    "data-is-deep": lambda: {"content": {"data": nested()}},
    "no-method": lambda: {"content": {"data": {"content": command()}}},
    "unknown-method": lambda: {"content": {"data": {"method": "eval", "content": command()}}},
    "method-of-the-kernel": lambda: {"content": {"data": {"method": "echo_update", "state": {"_esm": "x"}}}},
    "method-is-a-list": lambda: {"content": {"data": {"method": ["custom"], "content": command()}}},
    "method-is-long": lambda: {"content": {"data": {"method": LONG}}},
    "binary-state": lambda: {
        "content": {"data": {"method": "update", "state": {}, "buffer_paths": [["_esm"]]}},
        "buffers": [b"export default {}"],
    },
    "binary-path-out-of-the-state": lambda: {
        "content": {"data": {"method": "update", "state": {}, "buffer_paths": [["__class__", "x"], 7, None]}},
        "buffers": [b"x"],
    },
    "binary-without-buffers": lambda: {
        "content": {"data": {"method": "update", "state": {"pattern": None}, "buffer_paths": [["pattern"]]}},
    },
}


class Attack(NamedTuple):
    """One message, wrapped as it comes from the comm."""

    make: Callable[[], Any]


def wrapped(method: str, key: str, make: Callable[[], Any]) -> Attack:
    return Attack(lambda: {"content": {"comm_id": "c", "data": {"method": method, key: make()}}, "buffers": []})


ATTACKS = {
    **{f"message-{name}": wrapped("custom", "content", make) for name, make in CONTENTS.items()},
    **{f"state-{name}": wrapped("update", "state", make) for name, make in STATES.items()},
    **{f"envelope-{name}": Attack(make) for name, make in ENVELOPES.items()},
}


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(logging.Formatter().format(record) for record in caplog.records)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_malformed_message_changes_nothing(
    pool: ManualPool, page: Page, attack: Attack, caplog: pytest.LogCaptureFixture
) -> None:
    before = picture(pool, page.panel)
    page.deliver(attack.make())
    assert picture(pool, page.panel) == before
    assert logged(caplog) == "", "what a page sends does not fill the kernel's log"
    assert all(not answer["ok"] and 0 < len(answer["text"]) <= MOST_ANSWER for answer in page.answers())
    assert len(page.answers()) == len(page.sent) == 1, "one answer, and nothing else to any page"
    works(pool, page)


def works(pool: ManualPool, page: Page) -> None:
    """Assert that the pool runs, and that the panel does what it is asked for."""
    runs = pool.find_workers("runs")[0]
    count = runs.run_count
    pool.clock.advance(10)
    assert runs.run_count == count + 1
    page.sent.clear()
    page.custom(command(ids=[runs.id]))
    assert page.answers() == [{"kind": "answer", "token": "t", "ok": True, "text": "Stopped 1"}]
    assert not runs.running
    page.say({"method": "update", "state": {"pattern": "r*"}})
    assert page.panel.pattern == "r*"
    page.sent.clear()
    page.custom({"kind": "hello", "client": "a"})
    page.say({"method": "request_state"})
    assert [data["method"] for data in page.sent] == ["custom", "update"]
    assert page.sent[1]["state"]["pattern"] == "r*"


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 100


# ------------------------------------------------------------------------------- well formed, and not ours


def test_ids_of_others_are_counted_and_nothing_else(pool: ManualPool, page: Page) -> None:
    before = picture(pool, page.panel)
    page.custom(command(ids=[0, 10_000, 2**53 - 1]))
    assert page.answers() == [
        {"kind": "answer", "token": "t", "ok": False, "text": "Stopped 0 of 3; 3 no longer in the pool"}
    ]
    assert picture(pool, page.panel) == before
    works(pool, page)


def test_worker_of_another_pool_is_out_of_reach(page: Page, pool: ManualPool) -> None:
    from bgpool_jupyter.testing import make_pool

    with make_pool(name="other") as other:
        victims = [other.new_worker(10, lambda: None, dispose=False).start() for _ in range(9)]
        page.custom(command(verb="remove", ids=list(range(100))))
        assert [victim.running for victim in victims] == [True] * 9
    assert pool.find_workers() == []


def test_another_pool_is_not_suspended(page: Page, pool: ManualPool) -> None:
    from bgpool_jupyter.testing import make_pool

    with make_pool(name="other") as other:
        page.custom(whole())
        assert (pool.suspended, other.suspended) == (True, False)
    page.custom(whole(verb="resume"))
    texts = [answer["text"] for answer in page.answers()]
    assert texts == ["Suspended the pool", "Resumed the pool; 1 worker stays paused"]
    page.sent.clear()
    works(pool, page)


@pytest.mark.parametrize("kind", ["hello", "keep", "sleep"])
def test_many_pages_take_no_room(page: Page, kind: str) -> None:
    for number in range(1000):
        page.custom({"kind": kind, "client": f"page {number}"})
    assert len(page.panel._pages) <= 32
    page.custom({"kind": "look", "client": "a", "id": 10_000})
    assert len(page.panel._looks) == 0


def test_message_after_close_does_nothing(pool: ManualPool, page: Page, caplog: pytest.LogCaptureFixture) -> None:
    page.panel.close()
    before = [(worker.name, worker.status) for worker in pool.find_workers()]
    for make in CONTENTS.values():
        page.custom(make())
    page.custom(command(ids=[worker.id for worker in pool.find_workers()]))
    page.custom(whole())
    page.custom({"kind": "hello", "client": "a"})
    page.say({"method": "update", "state": {"pattern": "x"}})
    page.say({"method": "request_state"})
    assert not pool.suspended
    assert [(worker.name, worker.status) for worker in pool.find_workers()] == before
    assert page.panel.pattern == ""
    assert page.sent == []
    assert logged(caplog) == ""


def test_message_to_a_closed_pool_is_answered(pool: ManualPool, page: Page, caplog: pytest.LogCaptureFixture) -> None:
    ids = [worker.id for worker in pool.find_workers()]
    pool.close()
    for verb in VERBS:
        page.sent.clear()
        page.custom(command(verb=verb, ids=ids))
        (answer,) = page.answers()
        assert 0 < len(answer["text"]) <= MOST_ANSWER
    for verb in POOL_VERBS:
        page.sent.clear()
        page.custom(whole(verb=verb))
        assert page.answers() == [{"kind": "answer", "token": "t", "ok": False, "text": "the pool is closed"}]
    assert logged(caplog) == ""


def test_observer_that_raises_does_not_reach_the_page(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    def secret(change: Any) -> None:
        raise RuntimeError("the password is in here")

    page.panel.observe(secret, "pattern")
    page.say({"method": "update", "state": {"pattern": "x"}})
    (answer,) = page.answers()
    assert "password" not in answer["text"]
    assert "password" in caplog.text


# ---------------------------------------------------------------------------------------- what is synced


def test_only_declared_state_is_synced(pool: ManualPool, page: Page) -> None:
    state = page.panel.get_state()
    assert state.keys() == STATE.keys()
    for name, value in state.items():
        assert isinstance(value, STATE[name]), name


def test_code_and_style_are_the_files_of_the_package(page: Page) -> None:
    static = (page.panel.get_state()["_esm"], page.panel.get_state()["_css"])
    page.say({"method": "update", "state": {"_esm": "evil", "_css": "evil"}})
    page.sent.clear()
    page.say({"method": "request_state"})
    (update,) = page.sent
    assert (update["state"]["_esm"], update["state"]["_css"]) == static
    assert "evil" not in static


def test_what_the_page_writes_is_plain_data(page: Page) -> None:
    kinds = {name: type(page.panel.traits()[name]) for name in VIEW}
    assert set(kinds.values()) <= {traitlets.Bool, traitlets.Unicode, traitlets.Enum, traitlets.Int}


def test_page_cannot_open_a_panel(page: Page) -> None:
    """What a comm_open of the page can make is what ipywidgets has registered, and a panel is not there."""
    from ipywidgets.widgets.widget import _registry

    state = page.panel.get_state()
    keys = ("module", "module_version", "name")
    with pytest.raises(KeyError):
        _registry.get(*(state[f"_model_{key}"] for key in keys), *(state[f"_view_{key}"] for key in keys))


def test_layout_is_a_widget_of_its_own(page: Page) -> None:
    """The page may write the layout's CSS properties, as of any widget: they are texts and reach no other trait."""
    before = page.panel.get_state(key="layout")
    message = {"content": {"data": {"method": "update", "state": {"display": "none", "_esm": "x"}}}, "buffers": []}
    page.panel.layout._handle_msg(message)
    assert page.panel.layout.display == "none"
    assert not hasattr(page.panel.layout, "_esm")
    assert page.panel.get_state(key="layout") == before
