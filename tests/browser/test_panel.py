"""The panel in JupyterLab in a real browser, on a real kernel.

Few and long: a kernel and a page cost seconds. Times are printed (``pytest -s``), not asserted tightly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from bgpool_jupyter.panel import panel as panel_module

from .lab import Notebook, poll

Open = Callable[[Sequence[str]], Notebook]

pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"

SETUP = f"""
%load_ext bgpool_jupyter
import threading
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
hold = threading.Event()
def boom():
    raise ValueError({HOSTILE!r})
for number in range(30):
    pool.new_worker(0.3 + number, lambda: number, name=f"poll-{{number}}", dispose=False).start()
pool.new_worker(0.5, boom, name={HOSTILE!r}, dispose=False).start()
def wait():
    print("<u>holding</u>", flush=True)
    hold.wait()
pool.new_worker(1, wait, name="slow", dispose=False).start()
pool.new_worker(0.5, lambda: print("<b>tick</b>"), name="talk", dispose=False).start()
panel = Panel(pool)
"""


def rows(page: Page) -> Locator:
    return page.locator(".bgp-row[data-status]:visible")


def row(page: Page, name: str) -> Locator:
    return rows(page).filter(has=page.locator(".c-name", has_text=re.compile(f"^{re.escape(name)}$")))


def filter_by(page: Page, pattern: str) -> None:
    page.get_by_label("Filter workers by name").fill(pattern)


def open_panel(open_notebook: Open, setup: str = SETUP, *more: str) -> Notebook:
    notebook = open_notebook([setup + "\npanel", *more])
    notebook.run_all()
    rows(notebook.page).first.wait_for()
    return notebook


def test_panel_shows_filters_and_commands(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook)
    page = notebook.page
    expect(page.locator(".bgp-status")).to_have_text("live")
    expect(page.locator(".bgp-shown")).to_have_text("33 workers")

    # It lives: the count of runs grows by itself.
    runs = row(page, "poll-0").locator(".c-runs")
    first = int(runs.text_content() or "")
    poll(lambda: int(runs.text_content() or "") > first + 1, "runs grow")

    # The filter means what fnmatchcase means, and the bulk buttons act on exactly the rows shown.
    filter_by(page, "poll-[12]?")
    expect(page.locator(".bgp-shown")).to_have_text("20 of 33 workers")
    stop = page.locator(".bgp-bulk .v-stop")
    expect(stop).to_have_text("Stop 20")
    stop.click()
    expect(page.locator(".bgp-message")).to_have_text("Stopped 20")
    assert (
        notebook.kernel("print([w for w in pool.find_workers() if not w.running] == pool.find_workers('poll-[12]?'))")
        == "True"
    )
    expect(row(page, "poll-11").locator(".c-state")).to_have_text("stopped")
    poll(lambda: notebook.kernel("print(panel.pattern)") == "poll-[12]?", "Python hears the filter")

    # One worker: stop it and see the kernel's state change; a run in flight is not called stopped.
    filter_by(page, "slow")
    expect(row(page, "slow").locator(".c-state")).to_contain_text("running")
    row(page, "slow").get_by_role("button", name="Stop slow").click()
    expect(row(page, "slow").locator(".c-state")).to_have_attribute(
        "title", re.compile(r"^stopping … \(running [\d.]+ s\)$")
    )
    assert notebook.kernel("w = pool.find_workers('slow')[0]; print(w.status, w.running)") == "stopping False"
    notebook.kernel("hold.set()")
    expect(row(page, "slow").locator(".c-state")).to_have_text("stopped")

    # More than twenty ask first, and cancelling does nothing.
    filter_by(page, "*")
    page.locator(".bgp-bulk .v-start").click()
    expect(page.locator(".bgp-ask-text")).to_have_text("Start: 21 workers?")
    page.keyboard.press("Escape")
    assert notebook.kernel("print(sum(w.running for w in pool.find_workers()))") == "12"
    page.locator(".bgp-bulk .v-start").click()
    page.get_by_role("button", name="Start 21", exact=True).click()
    expect(page.locator(".bgp-message")).to_have_text("Started 21")

    # The detail: output of the latest runs and of the run in flight, as text, kept fresh while it is open.
    filter_by(page, "talk")
    row(page, "talk").locator(".c-name").click()
    expect(page.locator(".bgp-text").first).to_have_text("<b>tick</b>\n")
    newest = page.locator(".bgp-run-head b").first
    before = newest.text_content()
    expect(newest).not_to_have_text(before or "")
    filter_by(page, "slow")
    row(page, "slow").locator(".c-name").click()
    expect(page.locator(".bgp-text").first).to_have_text("<u>holding</u>\n")

    # View state set from Python reaches the page; of two who write at once, the last one wins.
    poll(lambda: notebook.kernel("print(panel.pattern)") == "slow", "Python hears the filter")
    notebook.kernel("panel.pattern = 'poll-2?'; panel.sort = 'runs'")
    expect(page.get_by_label("Filter workers by name")).to_have_value("poll-2?")
    expect(page.locator(".bgp-shown")).to_have_text("10 of 33 workers")
    assert [error for error in notebook.errors if "favicon" not in error] == []


WRONG = """
%load_ext bgpool_jupyter
import threading
import time
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
hold = threading.Event()
def add(name, interval, callback, **settings):
    return pool.new_worker(interval, callback, name=name, dispose=False, **settings).start()
def load(_worker):
    _worker.progress(3, 10, "<b>loading</b>")
    if not _worker.should_stop:
        hold.wait()
def count(_worker):
    _worker.progress(37, text="files")
    if not _worker.should_stop:
        hold.wait()
def push():
    print("GET /metrics")
    raise TimeoutError("no <b>answer</b>")
add("load", 60, load)
add("count", 60, count)
add("push", 0.1, push, max_failures=2)
add("slow", 0.01, lambda: time.sleep(0.05))
add("tick", 0.1, int)
add("lost", 60, int).orphan = "its cell <b>was deleted</b>"
panel = Panel(pool)
"""


def test_panel_tells_how_far_runs_are_and_what_is_wrong(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, WRONG)
    page = notebook.page
    pane = page.locator(".bgp-pane")

    # How far: in the row and in the detail, by a bar and in words.
    bar = row(page, "load").get_by_role("progressbar", name="Progress of load")
    expect(bar).to_have_attribute("aria-valuenow", "30")
    expect(bar).to_have_attribute("aria-valuetext", "3/10 <b>loading</b>")
    expect(row(page, "load").locator(".c-state")).to_contain_text("30 %")
    expect(row(page, "load").locator(".bgp-bar i")).to_have_attribute("style", "width: 30%;")
    unknown = row(page, "count").get_by_role("progressbar")
    assert unknown.get_attribute("aria-valuenow") is None
    expect(unknown).to_have_attribute("aria-valuetext", "37 files")
    row(page, "load").locator(".c-name").click()
    expect(page.locator(".bgp-note.n-progress")).to_have_text("3/10 <b>loading</b>")

    # Where it stands: the line of the cell, as text; and nothing where no run is in flight.
    page.locator(".bgp-tab", has_text="Output").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".bgp-tab[aria-selected=true]")).to_have_text("Stack")
    expect(pane.locator(".t-cell")).to_have_text(re.compile(r"^  Cell In\[1\], line \d+, in load\n$"))
    expect(pane.locator(".t-code")).to_have_text("        hold.wait()\n")
    expect(pane.locator(".t-file").first).to_contain_text("threading.py")
    row(page, "lost").locator(".c-name").click()
    expect(pane).to_have_text("No run is in flight.")

    # What looks wrong: a mark in the row, a sentence in the detail, a chip that finds them.
    expect(page.locator(".bgp-note")).to_have_text("Orphan: its cell <b>was deleted</b>")
    expect(row(page, "slow").get_by_role("img", name="Its runs take longer than its interval")).to_be_visible()
    chip = page.locator(".bgp-chip.s-marked")
    expect(chip).to_have_text("Marked2")
    chip.click()
    expect(page.locator(".bgp-shown")).to_have_text("2 of 6 workers")
    row(page, "slow").locator(".c-name").click()
    expect(page.locator(".bgp-note.n-warn")).to_contain_text("overruns its interval: the last 5 runs took ")
    notebook.kernel("hold.set()")
    expect(page.locator(".bgp-note.n-warn")).to_contain_text("overruns")
    assert page.locator(".bgp-grid b, .bgp-notes b").count() == 0
    assert [error for error in notebook.errors if "favicon" not in error] == []


def test_tables_and_cards_stand_as_they_should(open_notebook: Open) -> None:
    """JupyterLab has rules of its own for what stands in an output."""
    notebook = open_notebook([WRONG, "%bgpool"])
    notebook.run_all()
    notebook.page.locator(".bgpool-card summary").first.wait_for()
    style = "(node) => [getComputedStyle(node).textAlign, getComputedStyle(node).fontFamily]"
    cells = notebook.page.locator(".bgpool-table tbody tr").first.locator("td")
    assert cells.nth(0).evaluate(style)[0] == "left"
    assert cells.nth(4).evaluate(style)[0] == "right"
    assert "monospace" in notebook.page.locator(".bgpool-card pre").first.evaluate(style)[1]
    notebook.kernel("hold.set()")


LOAD = """
from pathlib import Path
Path("jobs.py").write_text("# %%\\n%bgworker --name loaded 1h 42\\n")
get_ipython().run_line_magic("bgpool", "load jobs.py")
"""


def test_error_card_and_the_rate_of_updates(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, WRONG)
    page = notebook.page

    # The error card: which run, what it printed, the cell's own line, what comes next and the way on.
    row(page, "push").locator(".c-name").click()
    expect(page.locator(".bgp-note.n-failed")).to_contain_text("paused after 2 failures in a row")
    page.get_by_role("button", name="Show the error").click()
    expect(page.locator(".bgp-note")).to_have_count(0)
    card = page.get_by_role("region", name="Last error")
    expect(card.locator(".bgp-error-line")).to_have_text("TimeoutError: no <b>answer</b>")
    expect(card.locator(".bgp-facts")).to_have_text(
        re.compile(r"^run 2 failed at [\d:]+paused after 2 failures in a row.*no <b>answer</b>")
    )
    expect(card.locator(".bgp-printed")).to_have_text("GET /metrics\n")
    expect(card.locator(".t-code")).to_contain_text('raise TimeoutError("no <b>answer</b>")')
    card.get_by_role("button", name="Resume").click()
    expect(page.locator(".bgp-message")).to_have_text("Resumed 1")
    expect(row(page, "push").locator(".c-state")).to_have_text("paused")  # again: it still fails
    expect(card.locator(".bgp-facts")).to_contain_text(re.compile(r"run [34] failed"))

    # Updates: paused, the picture says of when it is, and stands still; a command's effect is seen all the same.
    page.get_by_label("Updates a second").select_option("paused")
    expect(page.locator(".bgp-status")).to_contain_text("as it was at")
    poll(lambda: notebook.kernel("print(panel.refresh)") == "0", "Python hears the rate")
    seen = int(notebook.kernel("w = pool.find_workers('tick')[0]; print(w.run_count)"))
    runs = row(page, "tick").locator(".c-runs")
    before = runs.text_content()
    poll(lambda: int(notebook.kernel("print(w.run_count)")) > seen + 10, "the worker goes on")
    assert runs.text_content() == before
    row(page, "tick").get_by_role("button", name="Stop tick").click()
    expect(row(page, "tick").locator(".c-state")).to_have_text("stopped")
    page.get_by_label("Updates a second").select_option("10 Hz")
    expect(page.locator(".bgp-status")).to_have_text("live")
    notebook.kernel("hold.set()")
    expect(row(page, "load").locator(".c-state")).to_have_text("waiting")
    expect(row(page, "load").get_by_role("progressbar")).to_be_hidden()

    # A loaded worker says why it is paused; that is no error. Resume begins its schedule.
    assert notebook.kernel(LOAD).startswith("loaded 1 worker from jobs.py, paused")
    loaded = row(page, "loaded")
    expect(loaded.locator(".c-error.is-reason")).to_have_text("loaded from jobs.py, has not run yet")
    expect(page.locator(".bgp-tab.has-error")).to_have_count(1)  # of the worker whose detail is open
    loaded.locator(".c-name").click()
    expect(page.locator(".bgp-note.n-paused")).to_have_text("loaded from jobs.py, has not run yet")
    expect(page.locator(".bgp-tab.has-error")).to_have_count(0)
    loaded.get_by_role("button", name="Resume loaded").click()
    expect(loaded.locator(".c-state")).to_have_text("waiting")
    expect(loaded.locator(".c-runs")).to_have_text("1")
    push = row(page, "push")
    push.locator(".c-name").click()
    expect(push.locator(".c-error.is-reason")).to_have_count(0)
    expect(page.locator(".bgp-facts b")).to_have_count(1)  # ours
    assert page.locator(".bgp-card b, .bgp-notes b").count() == 1
    assert [error for error in notebook.errors if "favicon" not in error] == []


HELD = """
%load_ext bgpool_jupyter
import time
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
def hear(event):
    print(f"<b>{event.kind.value}</b>")
pool.new_worker(0.2, lambda: print("tick"), name="noted", dispose=False, on_event=hear).start()
pool.new_worker(0.2, int, name="plain", dispose=False).start()
pool.new_worker(3600, int, name="rests", dispose=False).start().pause()
panel = Panel(pool)
"""

#: A cell that runs until it has seen the pool suspended and resumed, at most for a minute.
SEES_BOTH = """
seen, end = [False], time.time() + 60
while time.time() < end and seen != [False, True, False]:
    if pool.suspended != seen[-1]:
        seen.append(pool.suspended)
    time.sleep(0.01)
print("BUSY-" + "ENDED", seen)
"""


def test_pool_is_suspended_and_resumed(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, HELD, "print('BUSY-' + 'STARTED')", SEES_BOTH)
    page = notebook.page
    status, message = page.locator(".bgp-status"), page.locator(".bgp-message")
    expect(status).to_have_text("live")

    # While a cell runs, by the mouse: nothing begins, the head says so, and the same button ends it.
    notebook.output("BUSY-STARTED")
    page.get_by_role("button", name="Suspend pool").click()
    expect(message).to_have_text("Suspended the pool")
    expect(status).to_have_text("pool suspended")
    expect(row(page, "plain").locator(".c-next")).to_have_text("held")
    expect(row(page, "plain").locator(".c-state")).to_have_text("waiting")
    row(page, "plain").get_by_role("button", name="Run now plain").click()
    expect(message).to_have_text("Running now: 1; the pool is suspended, no run begins")
    runs = row(page, "plain").locator(".c-runs")
    before = int(runs.text_content() or "")
    page.get_by_role("button", name="Resume pool").click()
    expect(message).to_have_text("Resumed the pool; 1 worker stays paused")
    expect(status).to_have_text("live")
    expect(row(page, "rests").locator(".c-state")).to_have_text("paused")
    poll(lambda: int(runs.text_content() or "") > before, "it runs again")
    notebook.output("BUSY-ENDED [False, True, False]", 90)

    # By keys: the button that has the focus keeps it, and means the other way.
    hold = page.locator(".bgp-hold")
    hold.focus()
    page.keyboard.press("Enter")
    expect(hold).to_have_accessible_name("Resume pool")
    expect(hold).to_be_focused()
    page.keyboard.press("Space")
    expect(hold).to_have_accessible_name("Suspend pool")
    expect(status).to_have_text("live")

    # Held from elsewhere, in a narrow panel: what ends it is there, and hands the focus on when it goes.
    notebook.kernel("pool.suspend()")
    notebook.command("application:toggle-left-area")
    page.set_viewport_size({"width": 500, "height": 900})
    resume = page.get_by_role("button", name="Resume pool")
    resume.focus()
    page.keyboard.press("Enter")
    expect(hold).to_be_hidden()
    expect(page.get_by_role("grid", name="Workers")).to_be_focused()
    expect(status).to_have_text("live")
    assert [error for error in notebook.errors if "favicon" not in error] == []


def test_to_suspend_many_workers_is_asked_about(open_notebook: Open) -> None:
    """Also where few of them are shown: it holds all."""
    more = "for _ in range(18): pool.new_worker(3600, int, name='more', dispose=False)\n"
    notebook = open_panel(open_notebook, HELD + more)
    page = notebook.page
    status, hold = page.locator(".bgp-status"), page.locator(".bgp-hold")
    expect(page.locator(".bgp-shown")).to_have_text("21 workers")
    filter_by(page, "noted")
    page.get_by_role("button", name="Suspend pool").click()
    asked = "Suspend the pool? No run of its 21 workers begins before it is resumed."
    expect(page.locator(".bgp-ask-text")).to_have_text(asked)
    page.keyboard.press("Escape")
    assert notebook.kernel("print(pool.suspended)") == "False"
    page.get_by_role("button", name="Suspend pool").click()
    page.locator(".bgp-ask").get_by_role("button", name="Suspend pool").click()
    expect(status).to_have_text("pool suspended")
    notebook.kernel("pool.close()")
    expect(status).to_have_text("pool closed")
    expect(hold).to_be_disabled()
    assert [error for error in notebook.errors if "favicon" not in error] == []


def test_output_has_what_on_event_printed(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, HELD)
    page = notebook.page
    events = page.get_by_role("region", name="What on_event printed")
    row(page, "noted").locator(".c-name").click()
    expect(events.locator(".bgp-run-head")).to_have_text("on_eventwhat it printed")
    expect(events.locator("pre")).to_contain_text("<b>registered</b>\n<b>started</b>\n")
    runs = page.locator(".bgp-run:not(.bgp-events) .bgp-text")
    expect(runs.first).to_have_text("tick\n")  # each under its own heading
    assert page.locator(".bgp-pane .bgp-run").first.get_attribute("aria-label") == "What on_event printed"
    assert events.locator("pre b").count() == 0
    # It is kept fresh, its end is what is seen, and who has scrolled up in it stays there.
    pool = "w = pool.find_workers('noted')[0]"
    notebook.kernel(f"{pool}; w.on_event = lambda event: print('x\\n' * 200, event.kind.value); w.pause()")
    expect(events.locator("pre")).to_contain_text("x\n paused\n")
    box = events.locator(".bgp-printed")
    assert box.evaluate("(node) => node.scrollTop") == 0
    box.evaluate("(node) => node.scrollTo(0, -500)")
    notebook.kernel("w.unpause()")
    expect(events.locator("pre")).to_contain_text(" unpaused\n")
    assert box.evaluate("(node) => node.scrollTop") < -100
    # Of a worker that has none there is nothing.
    row(page, "plain").locator(".c-name").click()
    expect(page.locator(".bgp-detail-name")).to_have_text("plain")
    expect(page.locator(".bgp-pane")).to_have_text("The latest runs printed nothing.")
    expect(events).to_have_count(0)
    assert [error for error in notebook.errors if "favicon" not in error] == []


def test_hostile_text_stays_text(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook)
    page = notebook.page
    filter_by(page, "<img*")
    hostile = row(page, HOSTILE)
    expect(hostile.locator(".c-state")).to_have_text("failed")
    expect(hostile.locator(".c-error")).to_contain_text("ValueError: <img src=x")
    hostile.locator(".c-name").click()
    page.locator(".bgp-tab", has_text="Error").click()
    expect(page.locator(".bgp-error-line")).to_have_text(f"ValueError: {HOSTILE}")
    expect(page.locator(".bgp-trace")).to_contain_text("raise ValueError(")
    page.locator(".bgp-tab", has_text="Runs").click()
    expect(page.locator(".bgp-runs .is-bad").first).to_contain_text("✕ failed")
    hostile.get_by_role("button", name="Remove").click()
    expect(page.locator(".bgp-ask-text")).to_contain_text(f"Remove “{HOSTILE}”?")
    page.locator(".bgp-ask").get_by_role("button", name="Remove").click()
    expect(page.locator(".bgp-empty-title")).to_contain_text("No worker named “<img*”")
    assert page.locator(".bgp img, .bgp script").count() == 0
    assert page.evaluate("window.pwned") is None
    assert notebook.kernel("print(len(pool.find_workers('<img*')))") == "0"


def test_keys_stay_in_the_panel(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, SETUP, "1 + 1", "2 + 2")
    page = notebook.page
    cells = notebook.cells
    row(page, "poll-0").locator(".c-name").click()
    expect(page.locator(".bgp-detail")).to_be_visible()
    for key in ["x", "b", "a", "d", "d", "z", "y", "m", "v"]:  # cut, insert, delete, … in JupyterLab's command mode
        page.keyboard.press(key)
    page.locator(".bgp-button.v-stop").last.focus()
    page.keyboard.press("x")
    assert notebook.cells == cells

    grid = page.get_by_role("grid", name="Workers")
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    active = page.locator(".bgp-row.is-active")
    expect(active).to_have_attribute("aria-rowindex", "3")
    expect(grid).to_have_attribute("aria-activedescendant", active.get_attribute("id") or "")
    page.keyboard.press("End")
    expect(page.locator(".bgp-row.is-active")).to_have_attribute("aria-rowindex", "34")
    expect(grid).to_have_attribute("aria-rowcount", "34")
    page.keyboard.press("Enter")
    expect(page.locator(".bgp-detail-name")).to_have_text("talk")
    for _ in range(3):
        page.keyboard.press("ArrowRight")  # first button, run now, stop
    page.keyboard.press("Enter")
    expect(page.locator(".bgp-message")).to_have_text("Stopped 1")

    page.keyboard.press("/")
    expect(page.get_by_label("Filter workers by name")).to_be_focused()
    page.keyboard.type("x?b")
    page.keyboard.press("Escape")  # empties the filter
    expect(page.get_by_label("Filter workers by name")).to_have_value("")
    page.keyboard.press("Escape")  # leaves
    assert page.evaluate("document.activeElement.closest('.bgp') === null")
    assert notebook.cells == cells


#: A cell that runs for seven seconds, and notes when the worker had stopped.
BUSY = """
start = time.time()
while time.time() < start + 7:
    time.sleep(0.01)
    if not stops and not pool.find_workers("poll-0")[0].running:
        stops.append(time.time())
end = time.time()
print("BUSY-" + "ENDED")
"""


def test_stop_works_while_a_cell_runs(open_notebook: Open) -> None:
    setup = SETUP + "\nimport time\nstops = []"
    notebook = open_panel(open_notebook, setup, "print('BUSY-' + 'STARTED')", BUSY)
    page = notebook.page
    notebook.output("BUSY-STARTED")
    page.wait_for_timeout(500)  # into the cell
    row(page, "poll-0").get_by_role("button", name="Stop poll-0").click()
    expect(page.locator(".bgp-message")).to_have_text("Stopped 1")
    expect(row(page, "poll-0").locator(".c-state")).to_have_text("stopped")
    row(page, "poll-1").locator(".c-name").click()
    page.locator(".bgp-tab", has_text="Runs").click()
    expect(page.locator(".bgp-runs tbody tr").first).to_be_visible()  # the detail comes as well
    assert page.locator(".jp-OutputArea-output", has_text="BUSY-ENDED").count() == 0
    notebook.output("BUSY-ENDED")
    left = float(notebook.kernel("print(end - stops[0])"))
    way = notebook.kernel("print(panel.route)")
    print(f"\nStop during a 7 s cell: the worker had stopped {left:.1f} s before the cell ended, by the way {way!r}")
    assert left > 2


def test_kernel_that_cannot_hear_is_called_busy(open_notebook: Open) -> None:
    # Neither our way nor the front end's: what VS Code, Colab and ipykernel 6 do.
    deaf = "Panel(pool, busy_route=False)\npanel.comm._reply_subshell_for = lambda data, default: None"
    setup = SETUP.replace("Panel(pool)", deaf)
    notebook = open_panel(open_notebook, setup, "import time; print('BUSY-' + 'STARTED'); time.sleep(6)")
    page = notebook.page
    notebook.output("BUSY-STARTED")
    row(page, "poll-0").get_by_role("button", name="Stop poll-0").click()
    expect(page.locator(".bgp-message")).to_have_text("kernel busy: Stop queued")
    expect(row(page, "poll-0").locator(".c-state")).to_contain_text("stop queued")
    filter_by(page, "poll-2*")  # filtering goes on
    expect(page.locator(".bgp-shown")).to_have_text("11 of 33 workers")
    page.get_by_role("button", name="Suspend pool").click()
    page.locator(".bgp-ask").get_by_role("button", name="Suspend pool").click()
    expect(page.locator(".bgp-message")).to_have_text("kernel busy: Stop, Suspend pool queued")
    expect(page.locator(".bgp-status")).to_have_text("live")  # it is not suspended yet
    expect(page.locator(".bgp-message")).to_have_text("Suspended the pool")
    expect(page.locator(".bgp-status")).to_have_text("pool suspended")
    assert notebook.kernel("print(pool.find_workers('poll-0')[0].running)") == "False"


#: A panel is two comms: the widget's and its layout's.
CLOSE_ONE = """
kernel = panel.comm.kernel
other, comms = Panel(pool), len(kernel.comm_manager.comms)
other.close()
names = sorted(thread.name for thread in threading.enumerate() if thread.name in ("bgpool-publisher", "bgpool-route"))
print(comms - len(kernel.comm_manager.comms), names)
"""

CLOSE_ALL = """
from bgpool_jupyter.panel import close_all
comms = len(kernel.comm_manager.comms)
close_all()
settled = threading.Event()  # what closing gave the shell channel to do is done before this
kernel.shell_channel_thread.io_loop.add_callback(settled.set)
settled.wait(5)
print(comms - len(kernel.comm_manager.comms), kernel.shell_stream._recv_callback == kernel.shell_channel_thread_main)
"""


def test_end_is_told(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook)
    page = notebook.page
    # A reload of the page brings the panel back, without running a cell.
    notebook.save()
    page.reload()
    rows(page).first.wait_for()
    expect(page.locator(".bgp-status")).to_have_text("live")
    notebook.kernel("pool.suspend()")
    expect(page.locator(".bgp-status")).to_have_text("pool suspended")
    notebook.kernel("pool.resume()")
    expect(page.locator(".bgp-status")).to_have_text("live")
    # One panel of two is closed, then all: nothing is left of them, and the kernel is as it was.
    assert notebook.kernel(CLOSE_ONE) == "2 ['bgpool-publisher', 'bgpool-route']"
    notebook.kernel("hold.set(); pool.close()")
    expect(page.locator(".bgp-status")).to_have_text("pool closed")
    assert notebook.kernel(CLOSE_ALL) == "2 True"
    # The journal is the extension's, and goes on for pools to come.
    threads = "print({t.name for t in threading.enumerate() if 'bgpool' in t.name} - {'bgpool-journal'} or '[]')"
    poll(lambda: notebook.kernel(threads) == "[]", "no thread is left")
    notebook.run_all()
    rows(page).first.wait_for()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); }")
    expect(page.locator(".bgp-status")).to_contain_text("kernel restarted")
    expect(page.locator(".bgp-bulk .v-stop")).to_be_disabled()
    expect(page.locator(".bgp-hold")).to_be_disabled()


def test_page_logic_in_the_browser(page: Page) -> None:
    tables = Path(__file__).parents[1] / "panel"
    globs = json.loads((tables / "glob_cases.json").read_text(encoding="utf-8"))
    durations = json.loads((tables / "duration_cases.json").read_text(encoding="utf-8"))
    script = (panel_module._STATIC / "panel.js").read_text(encoding="utf-8")
    page.add_script_tag(content=script + "\nwindow.logic = { compileGlob, formatDuration };", type="module")
    wrong = page.evaluate(
        """([globs, durations]) => [
          ...globs.filter(([name, pattern, matches]) => window.logic.compileGlob(pattern)(name) !== matches),
          ...durations.filter(([seconds, text]) => window.logic.formatDuration(seconds) !== text)]""",
        [globs, durations],
    )
    assert wrong == []


MANY = """
from bgpool_jupyter import Panel, WorkerPool
pool = WorkerPool(name="many")
for number in range(10_000):
    pool.new_worker(3600, int, name=f"worker-{number}", dispose=False)
for worker in pool.find_workers("worker-*7"):
    worker.start()
panel = Panel(pool)
"""

#: Scrolls and filters as a person does; measures how long the page takes to paint, and its longest task.
MEASURE = """async () => {
  const grid = document.querySelector(".bgp-grid"), filter = document.querySelector(".bgp-search input");
  let longest = 0;
  const note = (list) => list.getEntries().forEach((entry) => (longest = Math.max(longest, entry.duration)));
  const watch = new PerformanceObserver(note);
  watch.observe({ entryTypes: ["longtask"] });
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const time = async (act, ready) => {
    const start = performance.now();
    act();
    do await painted(); while (!ready());
    return performance.now() - start;
  };
  const seen = ".bgp-row[data-status]:not([hidden]) .c-name";
  const names = () => [...document.querySelectorAll(seen)].map((cell) => cell.textContent);
  const shown = () => document.querySelector(".bgp-shown").textContent;
  const type = (pattern) => { filter.value = pattern; filter.dispatchEvent(new Event("input")); };
  const scrolls = [], filters = [];
  for (let step = 1; step <= 40; step++) {
    const top = (step * 7919) % 9980;
    const name = "worker-" + (top + 3);
    scrolls.push(await time(() => (grid.scrollTop = top * 32), () => names().includes(name)));
  }
  const counts = { "worker-9*": "1,111 of", "worker-*7": "1,000 of", "*[13579]": "5,000 of", no: "0 of", "": "10,000" };
  for (const [pattern, text] of Object.entries(counts)) {
    filters.push(await time(() => type(pattern), () => shown().startsWith(text)));
  }
  await new Promise((done) => setTimeout(done, 500));
  watch.disconnect();
  return { scrolls, filters, longest, nodes: document.querySelectorAll(".bgp *").length };
}"""


def test_ten_thousand_workers(open_notebook: Open) -> None:
    notebook = open_notebook([MANY, "panel"])
    page = notebook.page
    notebook.command("notebook:run-cell-and-select-next")
    count = "print('panel' in globals() and len(pool.find_workers()))"
    poll(lambda: notebook.kernel(count) == "10000", "the workers are there")
    page.evaluate("""() => {
      window.first = null;
      const start = performance.now();
      const look = () => {
        if (document.querySelector(".bgp-row[data-status]:not([hidden])")) window.first = performance.now() - start;
        else requestAnimationFrame(look);
      };
      look();
      window.jupyterapp.commands.execute("notebook:run-cell-and-select-next");
    }""")
    first = poll(lambda: page.evaluate("window.first"), "the first view")
    expect(page.locator(".bgp-shown")).to_have_text("10,000 workers")
    measured = page.evaluate(MEASURE)
    scrolls, filters = sorted(measured["scrolls"]), ", ".join(f"{each:.0f}" for each in measured["filters"])
    print(f"\n10,000 workers: first view {first:.0f} ms; filtering {filters} ms")
    print(f"longest task while scrolling and filtering {measured['longest']:.0f} ms")
    print(
        f"far rows after a scroll: p50 {scrolls[20]:.0f} ms, worst {scrolls[-1]:.0f} ms; {measured['nodes']} DOM nodes"
    )
    filter_by(page, "*7")
    stop = page.locator(".bgp-bulk .v-stop")
    expect(stop).to_have_text("Stop 1,000")
    stop.click()
    page.get_by_role("button", name="Stop 1,000", exact=True).click()
    expect(page.locator(".bgp-message")).to_have_text("Stopped 1,000")
    assert notebook.kernel("print(sum(w.running for w in pool.find_workers()))") == "0"
    assert first < 5_000
    assert measured["nodes"] < 3_000


SOAK = """
%load_ext bgpool_jupyter
import threading
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
inside, dues, early, overlaps = [0] * 200, [[] for _ in range(200)], [], []
ended = threading.Semaphore(0)
def run(n, _worker):
    inside[n] += 1
    if inside[n] > 1:
        overlaps.append(n)
    now = _worker.current
    dues[n].append(now.due)
    if now.started < now.due - 0.0001:
        early.append(n)
    inside[n] -= 1
workers = [
    pool.new_worker(0.1, run, name=f"w{n}", max_count=200, dispose=False, finished=lambda n, _worker: ended.release())
    for n in range(200)
]
panel = Panel(pool)
"""

SOAKED = """
import json, statistics
for worker in workers:
    assert ended.acquire(timeout=60)
slots = [round((due[-1] - due[0]) / 0.1) + 1 for due in dues]
lateness = [record.lateness * 1000 for worker in workers for record in worker.history]
print(json.dumps({
    "runs": sum(map(len, dues)),
    "missed": sum(worker.missed_count for worker in workers),
    "lost": sum(slots) - sum(map(len, dues)) - sum(worker.missed_count for worker in workers),
    "early": len(early),
    "overlapping": len(overlaps),
    "late p50, ms": round(statistics.median(lateness), 2),
    "late p99, ms": round(statistics.quantiles(lateness, n=100)[98], 2),
}))
"""


def test_two_hundred_workers_at_ten_hertz_while_the_panel_is_open(open_notebook: Open) -> None:
    notebook = open_panel(open_notebook, SOAK)
    notebook.kernel("for n, worker in enumerate(workers): worker.start(n=n)")
    poll(lambda: row(notebook.page, "w0").locator(".c-runs").text_content() not in ("0", "1"), "the panel lives")
    figures = json.loads(notebook.kernel(SOAKED))
    print(f"\n200 workers at 10 Hz for 20 s: {figures}")
    assert figures["runs"] == 40_000
    assert (figures["lost"], figures["early"], figures["overlapping"]) == (0, 0, 0)
    expect(row(notebook.page, "w0").locator(".c-runs")).to_have_text("200")
