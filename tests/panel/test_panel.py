"""The widget in plain Python: what it sends, what it does with what comes, what it leaves behind."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import traitlets

from bgpool_jupyter.engine import PoolError, RunOutput, WorkerPool
from bgpool_jupyter.panel import Panel, close_all, default_panel, looks, shared
from bgpool_jupyter.panel import panel as panel_module
from bgpool_jupyter.panel import wire as wire_module
from bgpool_jupyter.testing import ManualPool, make_pool

from .conftest import Wire


def names(message: dict[str, Any]) -> list[str]:
    return [row[1] for row in message["rows"]]


# ------------------------------------------------------------------------------------------ pictures


def test_state_carries_the_first_picture(pool: ManualPool, wire: Wire) -> None:
    pool.new_worker(5, lambda: None, name="poll")
    wire.panel.model.step()
    first = json.loads(wire.panel.get_state()["_first"])
    assert names(first) == ["poll"]
    assert first["head"] == {"pool": "manual", "running": 0, "paused": 0, "suspended": False, "closed": False}
    assert first["fields"][:2] == ["id", "name"]
    assert "_first" not in wire.panel.get_state(key="pattern")


def test_hello_is_answered_with_a_whole_picture(pool: ManualPool, wire: Wire) -> None:
    pool.new_worker(5, lambda: None, name="poll")
    wire.panel.model.step()
    wire.say(kind="hello", client="a")
    (snapshot,) = wire.take("snapshot")
    assert names(snapshot) == ["poll"]
    assert snapshot["epoch"] == wire.panel.model.epoch


def test_changes_follow_in_sequence(pool: ManualPool, wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    (snapshot,) = wire.take("snapshot")
    first = pool.new_worker(5, lambda: None, name="a")
    wire.panel.model.step()
    pool.new_worker(5, lambda: None, name="b")
    pool.remove(first)
    wire.panel.model.step()
    one, two = wire.take("delta")
    assert [one["seq"], two["seq"]] == [snapshot["seq"] + 1, snapshot["seq"] + 2]
    assert (names(one), names(two)) == (["a"], ["b"])
    assert two["gone"] == [first.id]


def test_one_message_a_look(pool: ManualPool, wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    wire.take("snapshot")
    for _ in range(50):
        pool.new_worker(5, lambda: None).start()
    pool.clock.advance(30)
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert len(delta["rows"]) == 50
    wire.panel.model.step()
    assert wire.sent == []


def test_nothing_is_sent_when_nobody_looks(pool: ManualPool, wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    wire.say(kind="hello", client="b")
    wire.say(kind="sleep", client="a")
    wire.sent.clear()
    pool.new_worker(5, lambda: None)
    wire.panel.model.step()
    assert len(wire.take("delta")) == 1
    wire.say(kind="sleep", client="b")
    pool.new_worker(5, lambda: None)
    wire.panel.model.step()
    assert wire.sent == []


def test_silent_page_is_forgotten(pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.say(kind="hello", client="a")
    wire.sent.clear()
    later = time.monotonic() + 601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    pool.new_worker(5, lambda: None)
    wire.panel.model.step()
    assert wire.sent == []
    wire.say(kind="keep", client="a")  # it lives after all: it gets a whole picture
    assert [message["kind"] for message in wire.sent] == ["snapshot", "kept"]


def test_pages_are_bounded(wire: Wire) -> None:
    for number in range(100):
        wire.say(kind="hello", client=f"page-{number}")
    assert len(wire.panel._pages) == 32


def test_trends_are_sent_for_the_rows_that_are_seen(pool: ManualPool, wire: Wire) -> None:
    seen = pool.new_worker(1, lambda: None, name="seen").start()
    pool.new_worker(1, lambda: None, name="unseen").start()
    pool.clock.advance(1.5)
    wire.panel.model.step()
    wire.say(kind="hello", client="a")
    wire.take("snapshot")
    wire.say(kind="window", client="a", ids=[seen.id, 999])
    (delta,) = wire.take("delta")
    assert delta["trends"].keys() == {str(seen.id)}
    assert len(delta["trends"][str(seen.id)]) == 2
    pool.clock.advance(1)
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert len(delta["rows"]) == 2
    assert delta["trends"].keys() == {str(seen.id)}


def test_closed_pool_is_told(pool: ManualPool, wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    wire.take("snapshot")
    pool.close()
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert delta["head"]["closed"] is True


# -------------------------------------------------------------------------------------------- detail


def test_open_detail_is_kept_fresh(pool: ManualPool, wire: Wire) -> None:
    worker = pool.new_worker(1, lambda: 5, name="poll").start()
    wire.panel.model.step()
    wire.say(kind="hello", client="a")
    wire.say(kind="look", client="a", id=worker.id)
    (detail,) = wire.take("detail")
    assert (detail["worker"], detail["runs"], detail["captures"]) == (worker.id, [], False)
    # The publisher shall look again soon: output comes without a change of state.
    assert wire.panel.model.step() is True
    assert wire.take("detail") == []
    pool.clock.advance(0)
    wire.panel.model.step()
    (detail,) = wire.take("detail")
    assert (detail["runs"][0]["note"], detail["events"]) == ("5", None)
    # What on_event prints is news too, without a run.
    worker.on_event = lambda event: capture.output.write("stdout", f"heard {event.kind.value}\n")
    capture = pool.capture = Capture()
    worker.pause()
    pool.run_due()
    wire.panel.model.step()
    (detail,) = wire.take("detail")
    assert detail["events"]["text"] == "heard paused\n"
    wire.panel.model.step()
    assert wire.take("detail") == []
    worker.unpause()
    pool.run_due()
    wire.panel.model.step()
    (detail,) = wire.take("detail")
    assert detail["events"]["text"].startswith("heard paused\nheard ")
    wire.say(kind="look", client="a", id=None)
    assert wire.panel.model.step() is False


def test_detail_of_an_unknown_worker_is_not_sent(wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    wire.say(kind="look", client="a", id=12345)
    assert wire.take("detail") == []
    assert wire.panel.model.step() is False


def test_large_detail_is_sent_once_a_second(pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pool.new_worker(1, lambda: None).start()
    monkeypatch.setattr(looks, "_LARGE_DETAIL", -1)
    wire.panel.model.step()
    wire.say(kind="look", client="a", id=worker.id)
    wire.sent.clear()
    pool.clock.advance(0)
    wire.panel.model.step()
    assert wire.take("detail") == []
    monkeypatch.setattr(looks, "_LARGE_PAUSE", 0.0)
    wire.panel.model.step()
    assert len(wire.take("detail")) == 1


def test_remarks_come_with_the_detail_once_a_second(
    pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = pool.new_worker(1, lambda: None).start()
    wire.panel.model.step()
    wire.say(kind="look", client="a", id=worker.id)
    (remarks,) = wire.take("remarks")
    assert remarks["outlook"].startswith("runs again at ")
    worker.pause()
    wire.panel.model.step()
    assert wire.take("remarks") == []
    monkeypatch.setattr(looks, "_REMARKS_PAUSE", 0.0)
    wire.panel.model.step()
    (remarks,) = wire.take("remarks")
    assert remarks["outlook"] == "paused until it is resumed"
    wire.panel.model.step()
    assert wire.sent == []  # nothing is said twice


def test_stack_is_sent_while_it_is_looked_at(pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = pool.new_worker(1, lambda: None).start()
    wire.panel.model.step()
    wire.say(kind="stack", client="a", id=worker.id)
    (stack,) = wire.take("stack")
    assert (stack["worker"], stack["run"], stack["text"]) == (worker.id, None, "")
    assert wire.panel.model.step() is True
    texts = iter("aab")
    monkeypatch.setattr(wire_module, "stack", lambda worker: {"worker": worker.id, "text": next(texts)})
    wire.panel.model.step()
    assert wire.take("stack") == []  # not looked at again within the second
    monkeypatch.setattr(looks, "_STACK_PAUSE", 0.0)
    for _ in range(3):
        wire.panel.model.step()
    assert [stack["text"] for stack in wire.take("stack")] == ["a", "b"]  # what did not move is not sent
    wire.say(kind="stack", client="a", id=None)
    assert wire.panel.model.step() is False
    wire.say(kind="stack", client="a", id=12345)
    assert wire.take("stack") == []


# --------------------------------------------------------------------------------------- updates a second


def test_slow_updates_lose_nothing(pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    wire.panel.refresh = 1
    wire.say(kind="hello", client="a")
    wire.take("snapshot")
    gone = pool.new_worker(5, lambda: None, name="gone")
    wire.panel.model.step()
    assert names(wire.take("delta")[0]) == ["gone"]
    first = pool.new_worker(5, lambda: None, name="first")
    wire.panel.model.step()
    pool.remove(gone)
    first.name = "renamed"
    now += 0.9
    assert wire.panel.model.step() is True  # there is something to send: look again soon
    assert wire.sent == []
    now += 0.1
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert (names(delta), delta["gone"]) == (["renamed"], [gone.id])


def test_paused_updates_send_nothing_but_what_a_command_did(
    pool: ManualPool, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    worker = pool.new_worker(5, lambda: None, name="poll", dispose=False)
    wire.panel.model.step()
    wire.say(kind="hello", client="a")
    wire.say(kind="look", client="a", id=worker.id)
    wire.panel.refresh = 0
    wire.sent.clear()
    worker.start()
    pool.clock.advance(0)
    assert wire.panel.model.step() is False
    assert wire.sent == []
    wire.command("stop", worker.id)
    wire.sent.clear()
    wire.panel.model.step()
    assert wire.take("delta")[0]["rows"][0][3] == "stopped"
    now += 2
    worker.start()
    wire.panel.model.step()
    assert wire.sent == []
    wire.panel.refresh = 4  # what waited comes now
    wire.panel.model.step()
    assert wire.take("delta")[0]["rows"][0][3] == "waiting"


def test_end_of_the_pool_is_told_while_updates_are_paused(pool: ManualPool, wire: Wire) -> None:
    wire.say(kind="hello", client="a")
    wire.panel.refresh = 0
    wire.sent.clear()
    pool.close()
    wire.panel.model.step()
    assert wire.take("delta")[0]["head"]["closed"] is True


def test_fastest_panel_sets_the_pace(pool: ManualPool, open_panel: Callable[..., Wire]) -> None:
    one, two = open_panel(pool).panel, open_panel(pool).panel
    model = one.model
    assert model.period == 0.25
    one.refresh = 10
    two.refresh = 1
    assert model.period == 0.1
    one.refresh = 2
    assert model.period == 0.25
    two.refresh = 10
    two.close()
    assert model.period == 0.25


# ------------------------------------------------------------------------------- commands and hostile input


def test_command_is_done_and_answered(pool: ManualPool, wire: Wire) -> None:
    worker = pool.new_worker(5, lambda: None, dispose=False).start()
    answer = wire.command("stop", worker.id)
    assert (answer["ok"], answer["text"]) == (True, "Stopped 1")
    assert worker.running is False


def test_pool_is_suspended_and_resumed(pool: ManualPool, wire: Wire) -> None:
    pool.new_worker(5, lambda: None, dispose=False).start()
    wire.panel.model.step()
    wire.say(kind="hello", client="a")
    answer = wire.pool_command("suspend")
    assert (answer["ok"], answer["text"]) == (True, "Suspended the pool")
    wire.sent.clear()
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert delta["head"]["suspended"] is True
    wire.panel.refresh = 0  # what a command did is seen all the same
    assert wire.pool_command("resume")["text"] == "Resumed the pool"
    wire.sent.clear()
    wire.panel.model.step()
    (delta,) = wire.take("delta")
    assert delta["head"]["suspended"] is False


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        5,
        "x",
        {},
        {"method": None},
        {"method": "custom"},
        {"method": "custom", "content": None},
        {"method": "custom", "content": {"kind": "command", "token": "t", "verb": "exec", "ids": [1]}},
        {"method": "custom", "content": {"kind": "pool", "token": "t", "verb": "close"}},
        {"method": "custom", "content": {"kind": "pool", "token": "t", "verb": "suspend", "ids": []}},
        {"method": "custom", "content": {"id": "x", "kind": "anywidget-command", "name": "close", "msg": ""}},
        {"method": "update", "state": {"_esm": "alert(1)"}},
        {"method": "update", "state": {"_css": "* { display: none }"}},
        {"method": "update", "state": {"route": "control"}},
        {"method": "update", "state": {"comm_name": "x"}},
        {"method": "update", "state": {"pattern": 5}},
        {"method": "update", "state": {"selected": -1}},
        {"method": "update", "state": {"layout": "IPY_MODEL_x"}},
        {"method": "update", "state": {"pattern": "a", "nosuch": 1}},
        {"method": "update", "state": []},
        {"method": "update", "state": {"pattern": "a"}, "buffer_paths": [["pattern"]]},
        {"method": "destroy"},
    ],
)
def test_malformed_message_gets_one_error_and_does_nothing(pool: ManualPool, wire: Wire, data: Any) -> None:
    worker = pool.new_worker(5, lambda: None).start()
    state = wire.panel.get_state()
    state.pop("_first")
    wire.raw(data)
    (answer,) = wire.sent
    assert (answer["kind"], answer["ok"]) == ("answer", False)
    assert answer["text"]
    assert "\n" not in answer["text"]
    after = wire.panel.get_state()
    after.pop("_first")
    assert after == state
    assert worker.running is True


def test_message_without_content_is_answered(wire: Wire) -> None:
    wire.panel._handle_msg({})
    wire.panel._handle_msg(None)
    assert [answer["ok"] for answer in wire.sent] == [False, False]


def test_wrong_command_is_answered_by_its_token(wire: Wire) -> None:
    wire.say(kind="command", token="t9", verb="exec", ids=[])
    assert wire.sent[0]["token"] == "t9"
    wire.say(kind="command", token="t" * 65, verb="stop", ids=[])
    assert wire.sent[1]["token"] is None


def test_page_writes_view_state_and_python_hears_it(wire: Wire) -> None:
    heard: list[Any] = []
    wire.panel.observe(lambda change: heard.append(change["new"]), "pattern")
    wire.raw({"method": "update", "state": {"pattern": "poll*", "sort": "runs", "descending": True}})
    assert heard == ["poll*"]
    assert (wire.panel.sort, wire.panel.descending) == ("runs", True)
    assert wire.sent == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pattern", 5),
        ("pattern", "x" * 201),
        ("status", "gone"),
        ("sort", "x"),
        ("tab", "x"),
        ("refresh", 3),
        ("selected", "x"),
        ("height", 10),
        ("route", "x"),
    ],
)
def test_python_is_checked_as_well(wire: Wire, name: str, value: Any) -> None:
    with pytest.raises(traitlets.TraitError):
        setattr(wire.panel, name, value)


def test_commands_from_many_threads(wire: Wire, pool: ManualPool) -> None:
    workers = [pool.new_worker(5, lambda: None, dispose=False) for _ in range(40)]
    gate = threading.Barrier(4)

    def page(verb: str) -> None:
        gate.wait(10)
        for worker in workers:
            wire.say(kind="command", token=verb, verb=verb, ids=[worker.id])

    threads = [threading.Thread(target=page, args=[verb]) for verb in ("start", "stop", "start", "remove")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(wire.take("answer")) == 160
    assert not {worker.id for worker in pool.find_workers()} - {worker.id for worker in workers}
    pool.check()


# ----------------------------------------------------------------------------------- text for other places


def test_fallbacks_show_the_table_as_text(pool: ManualPool, wire: Wire) -> None:
    pool.new_worker(5, lambda: None, name="<script>alert(1)</script>", dispose=False)
    wire.panel.model.step()
    data, _ = wire.panel._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == wire.panel.comm_name
    assert "<script>alert(1)</script>" in data["text/plain"]
    assert "<script>" not in data["text/html"]
    assert "&lt;script&gt;" in data["text/html"]
    again, _ = wire.panel._repr_mimebundle_()
    assert again == data


def test_fallbacks_are_bounded(pool: ManualPool, wire: Wire) -> None:
    for _ in range(250):
        pool.new_worker(5, lambda: None)
    wire.panel.model.step()
    data, _ = wire.panel._repr_mimebundle_()
    assert data["text/plain"].endswith("\n… 150 more")
    assert "<p>… 150 more</p>" in data["text/html"]
    assert len(data["text/plain"].splitlines()) == 103


class Capture:
    """Captures the output of the run in flight."""

    def enter(self, output: RunOutput, /) -> None:
        self.output = output

    def exit(self, token: object, /) -> None:
        """Leave the output as it is."""

    def label(self, filename: str, /) -> str | None:
        return None


def test_fallbacks_show_the_error_cards_in_bounds(pool: ManualPool, wire: Wire) -> None:
    capture = Capture()

    def fetch() -> None:
        capture.output.write("stdout", "GET <b>/now</b>\n")
        raise ValueError("<i>boom</i>")

    pool.set_logger(lambda _text: None)
    pool.capture = capture
    for number in range(120):
        worker = pool.new_worker(5, fetch, name=f"fetch-{number}", dispose=False)
        if number >= 108:
            worker.start()
            pool.run_due()
    wire.panel.model.step()
    data, _ = wire.panel._repr_mimebundle_()
    text, page = data["text/plain"], data["text/html"]
    assert "… 20 more\n\n✖ fetch-108: run 1 failed at " in text, "also of those that have no row"
    assert "\n    GET <b>/now</b>\n    Traceback (most recent call last):\n" in text
    assert "\n    ValueError: <i>boom</i>\n    next: runs again at " in text
    assert text.count("Traceback") == 3
    assert text.endswith("… 9 more have failed: %bgpool log NAME")
    assert page.count("<details") == 10
    assert "<b>" not in page
    assert "<i>" not in page
    assert "GET &lt;b&gt;/now&lt;/b&gt;" in page
    assert len(page) < 60_000


def test_repr_holds_no_address(wire: Wire) -> None:
    assert repr(wire.panel) == "Panel('manual')"


# ---------------------------------------------------------------------------------------- life and end


def test_panels_of_a_pool_share_its_model(pool: ManualPool, open_panel: Callable[..., Wire]) -> None:
    first, second = open_panel(pool).panel, open_panel(pool).panel
    assert first.model is second.model
    other = make_pool(name="other")
    assert open_panel(other).panel.model is not first.model
    first.close()
    assert shared._models[id(pool)][1] == 1
    second.close()
    assert id(pool) not in shared._models
    other.close()


@pytest.mark.parametrize("bad", [5, "pool", WorkerPool])
def test_bad_pool_leaves_nothing(bad: Any) -> None:
    with pytest.raises(PoolError, match=r"^pool must be a WorkerPool, not \w+; give pool=None for the default pool$"):
        Panel(bad)
    assert panel_module._panels == []
    assert shared._models == {}


@pytest.mark.parametrize("arguments", [{"height": 5}, {"pattern": 5}, {"pattern": "x" * 201}, {"nosuch": 1}])
def test_bad_view_leaves_nothing(pool: ManualPool, arguments: dict[str, Any]) -> None:
    with pytest.raises((traitlets.TraitError, TypeError, PoolError)):
        Panel(pool, **arguments)
    assert panel_module._panels == []
    assert shared._models == {}


def bgpool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in {"bgpool-publisher", "bgpool-route"}]


def test_close_leaves_nothing() -> None:
    pool = WorkerPool(name="closing")
    panel = Panel(pool)
    assert bgpool_threads() == ["bgpool-publisher"]
    panel.close()
    panel.close()
    assert bgpool_threads() == []
    assert panel.comm is None
    assert panel_module._panels == []
    assert shared._models == {}
    assert panel.pool is pool
    pool.close()


def test_default_panel_is_one_until_it_is_closed() -> None:
    panel = default_panel()
    assert default_panel() is panel
    close_all()
    assert bgpool_threads() == []
    other = default_panel()
    assert other is not panel
    close_all()
    close_all()
    assert panel_module._panels == []
    other.pool.close()


def test_nothing_reaches_the_page_as_html() -> None:
    script = (panel_module._STATIC / "panel.js").read_text(encoding="utf-8")
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org/2000/svg)"
    )
    assert forbidden.findall(script) == []
    style = (panel_module._STATIC / "panel.css").read_text(encoding="utf-8")
    assert re.findall(r"url\(|@import", style) == []


def test_observer_of_the_view_may_close_the_panel() -> None:
    pool = WorkerPool(name="observed")
    panel = Panel(pool)
    panel.observe(lambda _: panel.close(), "pattern")
    panel._handle_msg({"content": {"data": {"method": "update", "state": {"pattern": "a*"}}}})
    assert bgpool_threads() == []
    assert panel.comm is None
    pool.close()
