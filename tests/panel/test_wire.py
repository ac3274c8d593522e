"""What travels to the page: valid JSON in bounds, whatever the workers are called and print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgpool_jupyter.engine import BackgroundWorker, PoolEvent, Retry, RunOutput
from bgpool_jupyter.panel import wire
from bgpool_jupyter.testing import ManualPool

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "a\u2028b\x00\x1b[31m",
    "\u202egnp",
    "名前",
    "x" * 5000,
]


class Recorder:
    """Captures the output of runs as the kernel's capture does."""

    def __init__(self) -> None:
        self.current: RunOutput | None = None

    def enter(self, output: RunOutput, /) -> None:
        self.current = output

    def exit(self, token: object, /) -> None:
        self.current = None

    def label(self, filename: str, /) -> str | None:
        return "Cell In[1]" if filename == __file__ else None


def test_row_has_a_value_for_each_field(pool: ManualPool) -> None:
    pool.new_worker(5, lambda: None, name="poll", dispose=False).start()
    pool.clock.advance(11)
    values = wire.row(pool.snapshot()[0])
    assert len(values) == len(wire.ROW_FIELDS) - 3  # nothing to say: three fields less in each of very many rows
    row = dict(zip(wire.ROW_FIELDS, values, strict=False))
    assert row["name"] == "poll"
    assert row["schedule"] == "every 5 s"
    assert row["status"] == "waiting"
    assert row["run_count"] == 3
    assert row["next_run"] == pytest.approx(pool.clock.time() + 4)
    assert (row["running"], row["executing"], row["since"]) == (1, 0, None)


def rare_fields(pool: ManualPool) -> tuple[Any, ...]:
    """Return progress, lints and orphan of the first worker's row, as the page gets them."""
    (values,) = json.loads(wire.encode({"seq": 1}, pool.snapshot()[:1]))["rows"]
    return tuple(dict(zip(wire.ROW_FIELDS, values, strict=True))[name] for name in ("progress", "lints", "orphan"))


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ((3, 10, "loading"), [0.3, "3/10 loading"]),
        ((1, 3), [0.333, "1/3"]),
        ((37,), [None, "37"]),
        ((37, None, "files"), [None, "37 files"]),
        ((1_250_000, 2_500_000), [0.5, "1,250,000/2,500,000"]),
        ((0.25, 1), [0.25, "0.25/1"]),
        ((1e300, 1e-300), [1.0, "1e+300/1e-300"]),
        ((5, 0), [None, "5/0"]),
        ((12, 10), [1.0, "12/10"]),
        ((1, 2, "x" * 500), [0.5, "1/2 " + "x" * 80]),
        ((1, 2, "<b>\n\u202e"), [0.5, "1/2 <b>\\n\\u202e"]),
    ],
)
def test_row_tells_how_far_a_run_has_come(pool: ManualPool, said: tuple[Any, ...], seen: list[Any]) -> None:
    rows: list[tuple[Any, ...]] = []

    def work() -> None:
        worker.progress(*said)
        rows.append(rare_fields(pool))

    worker = pool.new_worker(5, work, dispose=False).start()
    pool.clock.advance(0)
    assert rows == [(seen, [], "")]
    assert len(wire.row(pool.snapshot()[0])) == len(wire.ROW_FIELDS) - 3  # the run has ended


def test_row_has_the_kinds_of_lints_and_the_orphan(pool: ManualPool) -> None:
    worker = pool.new_worker(1, lambda: pool.clock.sleep(2), dispose=False).start()
    pool.clock.advance(20)
    worker.orphan = "its cell <b>" + "x" * 500
    progress, lints, orphan = rare_fields(pool)
    assert (progress, lints) == (None, ["overruns"])
    assert orphan.startswith("its cell <b>xxx")
    assert len(orphan) == wire.MAX_ERROR_LINE


def test_remarks_are_sentences(pool: ManualPool) -> None:
    worker = pool.new_worker(1, lambda: pool.clock.sleep(2), dispose=False).start()
    pool.clock.advance(20)
    remarks = wire.remarks(worker)
    assert remarks["worker"] == worker.id
    assert remarks["outlook"].startswith("runs again at ")
    ((kind, text),) = remarks["lints"]
    assert kind == "overruns"
    assert text.startswith("overruns its interval: the last 5 runs took 2 s on average")


def test_stack_is_that_of_the_run_in_flight(pool: ManualPool) -> None:
    seen: list[dict[str, Any]] = []

    def work() -> None:
        seen.append(wire.stack(worker))

    worker = pool.new_worker(1, work, dispose=False).start()
    assert wire.stack(worker) == {"worker": worker.id, "run": None, "text": ""}
    pool.clock.advance(0)
    assert wire.stack(worker)["run"] is None
    assert (seen[0]["run"]["number"], seen[0]["run"]["outcome"]) == (1, "running")
    assert "in work\n    seen.append(wire.stack(worker))\n" in seen[0]["text"]


def test_stack_is_bounded(pool: ManualPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackgroundWorker, "stack", lambda worker: "<b>" * 9000 + worker.name)
    seen: list[str] = []
    worker = pool.new_worker(1, lambda: seen.append(wire.stack(worker)["text"]), name="end", dispose=False).start()
    pool.clock.advance(0)
    assert seen[0].startswith("… 11,003 characters before\n")
    assert seen[0].endswith("<b>end")
    assert len(seen[0]) < wire.MAX_STACK + 50


def test_error_card_says_which_run_and_what_it_printed(pool: ManualPool) -> None:
    recorder = Recorder()
    attempts: list[int] = []
    pool.capture = recorder

    def work() -> None:
        assert recorder.current is not None
        attempts.append(1)
        recorder.current.write("stdout", "x" * 5_000 + f"\nGET {len(attempts)}\n")
        if len(attempts) < 3:
            raise ValueError("boom <b>")

    worker = pool.new_worker(60, work, retry=Retry(attempts=2, first=5), dispose=False).start()
    assert wire.detail(worker)["error"] is None
    pool.clock.advance(6)
    card = wire.detail(worker)["error"]
    assert (card["number"], card["attempt"], card["recovered"]) == (1, 2, False)
    assert card["started"] == pytest.approx(pool.clock.time() - 1)
    assert card["line"] == "ValueError: boom <b>"
    assert 'raise ValueError("boom <b>")' in card["traceback"]
    assert card["output"].startswith("… 1,007 characters before\nxxx")
    assert card["output"].endswith("\nGET 2\n")
    pool.clock.advance(60)
    assert wire.detail(worker)["error"]["recovered"] is True
    worker.restart()
    assert wire.detail(worker)["error"] is None


def test_traceback_is_bounded(pool: ManualPool) -> None:
    def boom() -> None:
        raise ValueError("\n".join(["y" * 100] * 1000))

    worker = pool.new_worker(5, boom, dispose=False).start()
    pool.clock.advance(0)
    card = wire.detail(worker)["error"]
    assert len(card["traceback"]) < wire.MAX_TRACEBACK + 50
    assert len(card["line"]) <= wire.MAX_SENTENCE


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_survive_the_journey(pool: ManualPool, name: str) -> None:
    pool.new_worker(5, lambda: None, name=name)
    message = json.loads(wire.encode({"kind": "x"}, pool.snapshot()))
    assert message["rows"][0][1] == name


@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 1000])
def test_all_rows_arrive_in_order(pool: ManualPool, count: int) -> None:
    for _ in range(count):
        pool.new_worker(5, lambda: None)
    message = json.loads(wire.encode({"seq": 4, "head": {"pool": "p"}}, pool.snapshot()))
    assert (message["seq"], message["head"]) == (4, {"pool": "p"})
    assert [row[0] for row in message["rows"]] == [snapshot.id for snapshot in pool.snapshot()]


def test_error_line_is_cut(pool: ManualPool) -> None:
    def boom() -> None:
        raise ValueError("y" * 10_000)

    pool.new_worker(5, boom, dispose=False).start()
    pool.clock.advance(0)
    error = wire.row(pool.snapshot()[0])[wire.ROW_FIELDS.index("last_error")]
    assert error.startswith("ValueError: yyy")
    assert len(error) <= wire.MAX_ERROR_LINE


def test_trend_shows_durations_and_failures(pool: ManualPool) -> None:
    def work() -> None:
        pool.clock.sleep(0.5)
        if worker.run_count == 2:
            raise ValueError("boom")

    worker = pool.new_worker(1, work, dispose=False).start()
    pool.clock.advance(2.9)
    assert wire.trend(worker.history) == [(0.5, 0), (0.5, 1), (0.5, 0)]


def test_trend_is_bounded(pool: ManualPool) -> None:
    worker = pool.new_worker(1, lambda: None).start()
    pool.clock.advance(60)
    assert len(wire.trend(worker.history)) == wire.TREND_LENGTH


def test_detail_has_output_error_and_runs(pool: ManualPool) -> None:
    recorder = Recorder()
    pool.capture = recorder

    def work() -> int:
        assert recorder.current is not None
        recorder.current.write("stdout", f"hello {worker.run_count}\n")
        recorder.current.display({"text/plain": "<figure>", "image/png": "aGVsbG8="})
        if worker.run_count == 2:
            raise ValueError("boom <b>")
        return 7

    worker = pool.new_worker(1, work, name="poll", dispose=False).start()
    pool.clock.advance(1.5)
    detail = json.loads(json.dumps(wire.detail(worker)))
    assert [run["number"] for run in detail["runs"]] == [2, 1]
    assert [run["note"] for run in detail["runs"]] == ["ValueError: boom <b>", "7"]
    assert detail["runs"][1]["text"] == "hello 1\n<figure>\n"
    assert detail["runs"][1]["images"] == ["aGVsbG8="]
    assert detail["error"]["line"] == "ValueError: boom <b>"
    assert 'raise ValueError("boom <b>")' in detail["error"]["traceback"]
    assert "  Cell In[1], line " in detail["error"]["traceback"]
    assert detail["current"] is None
    assert detail["cut"] is False


def test_detail_is_bounded(pool: ManualPool) -> None:
    recorder = Recorder()
    pool.capture = recorder

    def work() -> None:
        assert recorder.current is not None
        recorder.current.write("stdout", "x" * 50_000)
        recorder.current.display({"image/png": "A" * 400_000})

    worker = pool.new_worker(1, work).start()
    pool.clock.advance(20)
    detail = wire.detail(worker)
    assert detail["cut"] is True
    assert sum(len(run["text"]) for run in detail["runs"]) < wire.DETAIL_TEXT + 2_000
    assert sum(len(image) for run in detail["runs"] for image in run.get("images", ())) <= wire.DETAIL_IMAGES


def test_detail_has_what_on_event_printed(pool: ManualPool) -> None:
    recorder = Recorder()
    pool.capture = recorder

    def hear(event: PoolEvent) -> None:
        assert recorder.current is not None
        recorder.current.write("stdout", f"<b>{event.kind.value}</b>\n")
        recorder.current.display({"text/plain": "<figure>", "image/png": "aGVsbG8="})

    silent = pool.new_worker(1, lambda: None, dispose=False).start()
    worker = pool.new_worker(1, lambda: None, on_event=hear, dispose=False)
    pool.run_due()
    detail = json.loads(json.dumps(wire.detail(worker)))
    assert detail["events"] == {"text": "<b>registered</b>\n<figure>\n", "images": ["aGVsbG8="]}
    assert (detail["runs"], detail["cut"]) == ([], False)
    assert wire.detail(silent)["events"] is None
    key = wire.detail_key(worker)
    worker.on_event = None
    assert wire.detail_key(worker) != key
    assert wire.detail(worker)["events"] is None


def test_what_on_event_printed_is_bounded_and_pushes_out_nothing(pool: ManualPool) -> None:
    recorder = Recorder()
    pool.capture = recorder

    def say(text: str) -> None:
        assert recorder.current is not None
        recorder.current.write("stdout", text)
        recorder.current.display({"image/png": "A" * 400_000})

    def hear(event: PoolEvent) -> None:
        say("e" * 20_000 + event.kind.value)

    worker = pool.new_worker(1, lambda: say("x" * 50_000), on_event=hear, dispose=False).start()
    pool.clock.advance(20)
    detail = wire.detail(worker)
    events = detail["events"]
    assert detail["cut"] is True
    assert events["text"].startswith("… ")
    assert wire.EVENT_TEXT <= len(events["text"]) < wire.EVENT_TEXT + 100
    assert len(detail["runs"][0]["text"]) >= wire.RUN_TEXT  # each has room of its own
    images = [*events["images"], *(image for run in detail["runs"] for image in run.get("images", ()))]
    assert 0 < sum(map(len, images)) <= wire.DETAIL_IMAGES


def test_values_are_shown_only_when_plain(pool: ManualPool) -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise SystemExit

    for value, note in [
        (Hostile(), ""),
        ([1], ""),
        ("a" * 900, repr("a" * 200)),
        (10**5000, "a large number"),
        (None, ""),
    ]:
        worker = pool.new_worker(1, lambda value=value: value).start()
        pool.clock.advance(0)
        assert wire.detail(worker)["runs"][0]["note"] == note
        worker.stop()


def test_detail_key_changes_with_what_is_shown(pool: ManualPool) -> None:
    worker = pool.new_worker(1, lambda: None, dispose=False)
    fresh = wire.detail_key(worker)
    assert wire.detail_key(worker) == fresh
    worker.start()
    pool.clock.advance(0)
    first = wire.detail_key(worker)
    assert first != fresh
    kept = worker.history  # each look makes records of its own
    assert wire.detail_key(worker) == first
    assert len(kept) == 1
    pool.clock.advance(1)
    assert wire.detail_key(worker) != first


def test_detail_key_changes_with_what_finished_prints(pool: ManualPool) -> None:
    recorder = Recorder()
    pool.capture = recorder
    worker = pool.new_worker(1, lambda: recorder.current and recorder.current.write("stdout", "run\n")).start()
    pool.clock.advance(0)
    before = wire.detail_key(worker)
    output = worker.history[-1].output
    assert output is not None
    output.write("stdout", "finished\n")
    assert wire.detail_key(worker) != before


def test_trend_marks_what_failed_and_what_was_overdue(pool: ManualPool) -> None:
    def work() -> None:
        if worker.run_count == 2:
            raise ValueError
        if worker.run_count == 3:
            pool.clock.sleep(0.5)

    worker = pool.new_worker(1, work, timeout=0.2, max_count=4, dispose=False).start()
    pool.clock.advance(10)
    assert [bad for _, bad in wire.trend(worker.history)] == [0, 1, 1, 0]
