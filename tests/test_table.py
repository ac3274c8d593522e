"""The table of workers, as text and as HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpool_jupyter.engine import Retry, WorkerSnapshot
from bgpool_jupyter.overview import WorkerTable
from bgpool_jupyter.table import (
    COLUMNS,
    MAX_ROWS,
    NOTHING,
    SHAPES,
    Column,
    clean_text,
    format_duration,
    format_snapshot,
    html_table,
    text_table,
)
from bgpool_jupyter.testing import make_pool

NOW = 1_800_000_000.0


def snapshot(**changes):
    fields: dict[str, Any] = {
        "id": 1,
        "name": "poll",
        "schedule": "every 5 s",
        "status": "waiting",
        "executing": False,
        "next_run": NOW + 3.2,
        "run_count": 1204,
        "failure_count": 0,
        "missed_count": 2,
        "last_duration": 0.0121,
        "last_error": "",
        "since": None,
        "is_actor": False,
        "running": True,
        "cell": 3,
    }
    return WorkerSnapshot(**(fields | changes))


ROWS = [
    format_snapshot(row, NOW)
    for row in (
        snapshot(),
        snapshot(
            name="save", schedule="5 min after each", status="running", since=NOW - 0.8, next_run=None, run_count=41
        ),
        snapshot(
            name="fetch",
            status="failed",
            next_run=NOW - 1,
            failure_count=9,
            last_error="HTTPError: 500",
            last_duration=1.24,
        ),
        snapshot(name="later", schedule="once", status="new", next_run=None, run_count=0, last_duration=None),
    )
]


def test_text():
    assert text_table(ROWS) == (
        "name   schedule          state             next run  runs  failed  missed   last  cell   error\n"
        "─────  ────────────────  ────────────────  ────────  ────  ──────  ──────  ─────  ─────  ──────────────\n"
        "poll   every 5 s         ● waiting         in 3.2 s  1204       0       2  12 ms  In[3]\n"
        f"save   5 min after each  ◉ running 800 ms  {NOTHING}           41       0       2  12 ms  In[3]\n"
        "fetch  every 5 s         ✖ failed          now       1204       9       2  1.2 s  In[3]  HTTPError: 500\n"
        f"later  once              ○ new             {NOTHING}            0       0       2      {NOTHING}  In[3]"
    )


def test_progress_stands_in_the_place_of_the_elapsed_time():
    running = snapshot(status="running", since=NOW - 0.8)
    assert format_snapshot(running, NOW, fraction=0.4)[2] == "◉ running 40 %"
    assert format_snapshot(running, NOW, fraction=0.0)[2] == "◉ running 0 %"
    assert format_snapshot(snapshot(), NOW, fraction=0.4)[2] == "● waiting", "no run is in flight"


def test_pause_reason_stands_in_the_place_of_the_error():
    paused = snapshot(status="paused", last_error="E: boom")
    assert format_snapshot(paused, NOW)[-1] == "E: boom"
    assert format_snapshot(paused, NOW, pause_reason="paused\nafter 3")[-1] == r"paused\nafter 3"


def test_table_shows_what_a_worker_says_of_itself():
    pool = make_pool()
    shown = []
    table = WorkerTable(clock=pool.clock.time)

    def work(_worker):
        _worker.progress(1, 4)
        shown.append(repr(table))
        raise ValueError("boom")

    table.append(pool.new_worker(5, work, name="poll", max_failures=2).start())
    pool.clock.advance(60)
    assert "◉ running 25 %" in shown[0]
    assert "‖ paused" in repr(table)
    assert "paused after 2 failures in a row: ValueError" in repr(table)
    table[0].unpause()
    assert "paused after" not in repr(table)


def test_workers_without_a_row_are_only_counted(monkeypatch):
    pool = make_pool()
    workers = [pool.new_worker(5, print) for _ in range(5)]
    asked = []
    ask = type(workers[0]).snapshot
    monkeypatch.setattr(type(workers[0]), "snapshot", lambda worker: (asked.append(worker.id), ask(worker))[1])
    table = WorkerTable(workers, most=2)
    for text in (repr(table), table._repr_html_()):
        assert "… 3 more" in text
    assert asked == [workers[0].id, workers[1].id] * 2


def test_column_of_errors_is_left_out_where_there_are_none():
    assert text_table(ROWS[:1]).splitlines()[0].split()[-1] == "cell"
    assert "error" not in re.sub(r"<style>.*</style>", "", html_table(ROWS[:1]), flags=re.DOTALL)


def test_column_of_cells_is_left_out_where_no_cell_made_any():
    row = format_snapshot(snapshot(cell=None), NOW)
    assert text_table([row]).splitlines()[0].split()[-1] == "last"
    assert text_table([row, *ROWS]).splitlines()[2].split()[-1] == NOTHING
    assert ">cell</th>" not in html_table([row])
    assert "<td>In[3]</td>" in html_table([row, *ROWS])


def test_orphan_is_marked_with_the_way_out():
    pool = make_pool()
    table = WorkerTable([pool.new_worker(5, print, name="my poll")])
    assert "⚠" not in repr(table)
    table[0].orphan = "cell In[7] no longer defines it"
    line = "⚠ my poll: cell In[7] no longer defines it; %bgpool remove 'my poll' takes it out"
    assert repr(table).splitlines()[-1] == line
    assert repr(table).splitlines()[2].split("  ")[2] == "○ new ⚠"
    assert "%bgpool remove &#x27;my poll&#x27;" in table._repr_html_()


def test_empty():
    assert text_table([]) == "no workers"
    assert text_table([], empty="nothing") == "nothing"
    assert html_table([], empty="<nothing>") == "<p>&lt;nothing&gt;</p>"


def test_every_status_has_a_shape_of_its_own():
    assert len(set(SHAPES.values())) == len(SHAPES) == 7
    for status, shape in SHAPES.items():
        assert format_snapshot(snapshot(status=status), NOW)[2] == f"{shape} {status}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NOTHING),
        (0, "0 µs"),
        (0.00004, "40 µs"),
        (0.0009994, "999 µs"),
        (0.0009996, "1 ms"),
        (0.012, "12 ms"),
        (0.0012, "1.2 ms"),
        (0.9996, "1 s"),
        (1.24, "1.2 s"),
        (59.99, "1 min"),
        (90, "1.5 min"),
        (300, "5 min"),
        (3600, "1 h"),
        (9000, "2.5 h"),
        (86400 * 3, "3 d"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


HOSTILE = [
    ("a\nb", r"a\nb"),
    ("a\r\n\tb", r"a\r\n\tb"),
    ("\x1b[2J\x07", r"\x1b[2J\x07"),
    ("\x9b31m", r"\x9b31m"),
    ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
    ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
    ("line\u2028para\u2029", r"line\u2028para\u2029"),
    ("lone\ud800", r"lone\ud800"),
    ("private\ue000\U0010ffff", r"private\ue000\U0010ffff"),
    ("naïve 漢字 🚀", "naïve 漢字 🚀"),
    ("back\\slash", "back\\slash"),
]


@pytest.mark.parametrize(("name", "shown"), HOSTILE)
def test_hostile_text_is_shown_in_one_harmless_line(name, shown):
    assert clean_text(name) == shown
    row = format_snapshot(snapshot(name=name, last_error=f"E: {name}"), NOW)
    lines = text_table([row]).split("\n")
    assert len(lines) == 3
    assert lines[2].startswith(shown)
    html_table([row]).encode()


@given(st.text())
def test_any_text_is_one_line_without_controls(text):
    shown = clean_text(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_wide_and_combining_characters_keep_the_columns():
    rows = [("漢字かな", "x"), ("e\u0301clair", "y"), ("plain", "z")]
    columns = (Column("name"), Column("v"))
    lines = text_table(rows, columns).splitlines()
    assert lines == ["name      v", "────────  ─", "漢字かな  x", "e\u0301clair    y", "plain     z"]


def test_long_texts_are_cut():
    row = format_snapshot(snapshot(name="n" * 1000, last_error="漢" * 1000), NOW)
    line = text_table([row]).splitlines()[2]
    assert line.startswith("n" * 31 + "…  ")
    assert line.endswith("  " + "漢" * 23 + "…")
    assert max(len(line) for line in text_table([row]).splitlines()) < 250
    page = html_table([row])
    assert f">{'n' * 63}…</td>" in page
    assert f'title="{"n" * 1000}"' in page


def test_very_many_rows_are_counted():
    rows = [format_snapshot(snapshot(name=f"w{n}"), NOW) for n in range(MAX_ROWS + 1234)]
    lines = text_table(rows).splitlines()
    assert (len(lines), lines[-2].split()[0], lines[-1]) == (MAX_ROWS + 3, f"w{MAX_ROWS - 1}", "… 1,234 more")
    page = html_table(rows)
    assert page.count("<tr>") == MAX_ROWS + 1
    assert page.endswith("<p>… 1,234 more</p>")
    assert "more" not in text_table(rows[:MAX_ROWS])


class Reader(HTMLParser):
    """Collects the texts of cells, and every tag and attribute that was met."""

    def __init__(self):
        super().__init__()
        self.cells = []
        self.tags = set()
        self.attributes = set()
        self._inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self._inside = tag in {"td", "th"}
        if self._inside:
            self.cells.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.cells[-1] += data


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "&lt;b&gt;", "</style>"],
)
@pytest.mark.parametrize("padding", ["", "x" * 100])
def test_html_is_escaped(name, padding):
    row = format_snapshot(snapshot(name=padding + name, last_error=padding + name), NOW)
    reader = Reader()
    reader.feed(html_table([row]))
    assert reader.tags == {"style", "table", "thead", "tbody", "tr", "th", "td"}
    assert reader.attributes <= {"class", "title"}
    if not padding:
        assert reader.cells[10] == reader.cells[-1] == name


def test_html_has_the_same_texts_and_classes_for_states():
    page = html_table(ROWS)
    reader = Reader()
    reader.feed(page)
    assert reader.cells == [column.title for column in COLUMNS] + [text for row in ROWS for text in row]
    for status in ("waiting", "running", "failed", "new"):
        assert f'<td class="bgpool-{status}">' in page
    assert page == html_table(ROWS)


def test_html_has_no_fixed_colour_for_text_and_background():
    style = html_table(ROWS).partition("<style>")[2].partition("</style>")[0]
    assert "background" not in style
    for colour in re.findall(r"color: ([^;]+);", style):
        assert colour == "inherit" or colour.startswith("var(--jp-")


def test_worker_table():
    pool = make_pool()
    worker = pool.new_worker(5, lambda: None, name="<poll>", dispose=True)
    table = WorkerTable(pool.find_workers(), clock=pool.clock.time)
    worker.start()
    pool.clock.advance(1)
    assert table == [worker]
    assert repr(table).splitlines()[2] == "<poll>  every 5 s  ● waiting  in 4 s       1       0       0  0 µs"
    assert "<td>&lt;poll&gt;</td>" in table._repr_html_()
    worker.stop()
    assert pool.find_workers() == []
    assert "■ stopped" in repr(table), "a worker that left its pool is shown too"
    assert repr(WorkerTable()) == "no workers"
    assert WorkerTable(empty="none")._repr_html_() == "<p>none</p>"


def failing(pool, name="poll", text="boom", **settings):
    def work():
        raise ValueError(text)

    pool.set_logger(lambda text: None)
    return pool.new_worker(5, work, name=name, **settings).start()


def test_failed_worker_has_its_card_below_the_table():
    pool = make_pool()
    failing(pool, retry=Retry(attempts=5, first=30, factor=1, jitter=0))
    pool.new_worker(5, lambda: None, name="sound").start()
    pool.clock.advance(1)
    table, card = repr(WorkerTable(pool.find_workers(), clock=pool.clock.time)).split("\n\n")
    assert len(table.splitlines()) == 4
    head, *traceback, error, following = card.splitlines()
    moment = r"2027-01-15 \d\d:00:00"
    assert re.fullmatch(rf"✖ poll: run 1 failed at {moment}", head)
    assert traceback[0] == "    Traceback (most recent call last):"
    assert "        raise ValueError(text)" in traceback
    assert error == "    ValueError: boom"
    assert re.fullmatch(r"    next: tries again at 2027-01-15 \d\d:00:30 \(attempt 2 of 5\)", following)


def test_card_of_a_worker_that_paused_itself_says_the_way_on():
    pool = make_pool()
    worker = failing(pool, name="my poll", max_failures=2)
    pool.clock.advance(10)
    table = WorkerTable([worker], clock=pool.clock.time)
    following = "next: paused after 2 failures in a row: ValueError: boom; %bgpool resume 'my poll' lets it go on"
    assert repr(table).splitlines()[-1] == f"    {following}"
    assert following.replace("'", "&#x27;") in table._repr_html_()


def test_card_is_gone_when_the_worker_recovers_or_is_stopped():
    pool = make_pool()
    worker = failing(pool)
    pool.clock.advance(1)
    table = WorkerTable([worker], clock=pool.clock.time)
    assert "Traceback" in repr(table)
    assert "Traceback" not in repr(WorkerTable([worker], details=False))
    worker.stop()
    assert "Traceback" not in repr(table), "who stopped it knows"
    again = iter([1])
    worker = pool.new_worker(5, lambda: 1 / 0 if next(again, 0) else 1).start()
    pool.clock.advance(1)
    assert "Traceback" in repr(WorkerTable([worker]))
    pool.clock.advance(5)
    assert "Traceback" not in repr(WorkerTable([worker]))


def test_only_some_cards_are_shown():
    pool = make_pool()
    for number in range(12):
        failing(pool, f"w{number:02}")
    pool.clock.advance(1)
    text, page = repr(WorkerTable(pool.find_workers())), WorkerTable(pool.find_workers())._repr_html_()
    assert text.count("Traceback") == 3
    assert text.endswith("… 9 more have failed: %bgpool log NAME")
    assert page.count("<details") == 10
    assert page.endswith(">… 2 more have failed: %bgpool log NAME</p>")
    assert repr(WorkerTable(pool.find_workers()[:4])).endswith("… 1 more has failed: %bgpool log NAME")


def test_long_cards_are_cut():
    pool = make_pool()
    failing(pool, text="\n".join(["x" * 500] * 300))
    pool.clock.advance(1)
    text = repr(WorkerTable(pool.find_workers()))
    assert len(text.splitlines()) < 30
    assert max(map(len, text.splitlines())) < 250
    assert "lines before" in text
    assert len(WorkerTable(pool.find_workers())._repr_html_()) < 30_000


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "</pre></details><img src=x onerror=alert(1)>", "a\x1b[2Jb"]
)
def test_card_is_escaped(hostile):
    pool = make_pool()
    failing(pool, name=hostile, text=hostile)
    pool.clock.advance(1)
    reader = Reader()
    page = WorkerTable(pool.find_workers())._repr_html_()
    reader.feed(page)
    assert reader.tags == {
        *("style", "table", "thead", "tbody", "tr", "th", "td"),
        *("details", "summary", "pre"),
    }
    assert reader.attributes <= {"class", "title"}
    assert "\x1b" not in page + repr(WorkerTable(pool.find_workers()))


def test_remarks_have_a_mark_and_a_sentence():
    pool = make_pool()

    def call(_worker):
        assert _worker.should_stop is False
        pool.clock.advance(60)
        table = WorkerTable([_worker], clock=pool.clock.time)
        shown.extend([repr(table), table._repr_html_(), repr(WorkerTable([_worker], details=False))])

    shown = []
    pool.new_worker(1, call, name="slow<i>", max_count=1).start()
    pool.run_due()
    text, html, brief = shown
    assert " ⚠  " in text
    assert "\n\n⚠ slow<i>: silent for 1 min: no run has ended" in text
    assert ">⚠ slow&lt;i&gt;: silent for 1 min" in html
    assert "silent" not in brief


def test_mark_fits_beside_every_state():
    for status in SHAPES:
        row = format_snapshot(snapshot(status=status, since=NOW - 0.8, lints=("deaf",)), NOW)
        assert row[2].endswith(" ⚠")
        assert len(row[2]) <= COLUMNS[2].width
