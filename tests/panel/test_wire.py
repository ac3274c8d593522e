"""What travels to the page: valid JSON in bounds, whatever the workers are called and print."""

from __future__ import annotations

import json

import pytest

from bgpool_jupyter.engine import RunOutput
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
    row = dict(zip(wire.ROW_FIELDS, wire.row(pool.snapshot()[0]), strict=True))
    assert row["name"] == "poll"
    assert row["schedule"] == "every 5 s"
    assert row["status"] == "waiting"
    assert row["run_count"] == 3
    assert row["next_run"] == pytest.approx(pool.clock.time() + 4)
    assert (row["running"], row["executing"], row["since"]) == (1, 0, None)


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
    pool.clock.advance(1)
    assert wire.detail_key(worker) != first


def test_trend_marks_what_failed_and_what_was_overdue(pool: ManualPool) -> None:
    def work() -> None:
        if worker.run_count == 2:
            raise ValueError
        if worker.run_count == 3:
            pool.clock.sleep(0.5)

    worker = pool.new_worker(1, work, timeout=0.2, max_count=4, dispose=False).start()
    pool.clock.advance(10)
    assert [bad for _, bad in wire.trend(worker.history)] == [0, 1, 1, 0]
