"""The panel for those who use no mouse, hear the page instead of seeing it, or see it in other colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from playwright.sync_api import Locator, Page, expect

from .lab import DARK, LIGHT, Notebook, poll

Open = Callable[[Sequence[str]], Notebook]

pytestmark = pytest.mark.timeout(180)

SETUP = """
%load_ext bgpool_jupyter
import threading
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
hold = threading.Event()
broken = threading.Event()
def add(name, interval, callback, **settings):
    return pool.new_worker(interval, callback, name=name, dispose=False, **settings)
def fetch():
    print("GET /now")
    if broken.is_set():
        raise ValueError("no answer")
def load(_worker):
    _worker.progress(3, 10, "files")
    if not _worker.should_stop:
        hold.wait()
add("fetch", 0.3, fetch).start()
add("held", 3600, int).start().pause()
add("load", 3600, load).start()
add("made", 3600, int)
def boom():
    raise OSError("disk is full")
add("save", 3600, boom).start()
add("tired", 0.1, boom, max_failures=2).start()
panel = Panel(pool)
"""


@pytest.fixture
def notebook(open_notebook: Open) -> Iterator[Notebook]:
    opened = open_notebook([SETUP + "panel", "1 + 1"])
    opened.run_all()
    expect(row(opened.page, "tired").locator(".c-state")).to_have_text("paused")
    yield opened
    opened.kernel("hold.set()")


def row(page: Page, name: str) -> Locator:
    named = page.locator(".c-name", has_text=re.compile(f"^{re.escape(name)}$"))
    return page.locator(".bgp-row[data-status]:visible").filter(has=named)


def focused(page: Page) -> str:
    """Return the name of what has the focus."""
    script = (
        "() => document.activeElement.ariaLabel || document.activeElement.textContent || document.activeElement.tagName"
    )
    name: str = page.evaluate(script)
    return name


def is_focus_seen(page: Page) -> bool:
    """Return whether what has the focus, or what stands around a field, has an outline."""
    script = """() => {
      const seen = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
      const node = document.activeElement;
      return [node, node.closest("label") ?? node].some((each) => seen(getComputedStyle(each)));
    }"""
    return bool(page.evaluate(script))


def test_every_control_is_used_by_keys_alone(notebook: Notebook) -> None:
    page = notebook.page
    row(page, "save").locator(".c-name").click()
    expect(page.locator(".bgp-note.n-failed")).to_be_visible()
    page.get_by_label("Updates a second").focus()
    page.keyboard.press("Shift+Tab")
    order = []
    while page.evaluate("() => document.querySelector('.bgp').contains(document.activeElement)"):
        order.append(focused(page))
        assert is_focus_seen(page), order
        page.keyboard.press("Tab")
    assert order == [
        "Suspend pool",
        "Updates a second",
        "Filter workers by name, with * ? and [...]",
        *("All6", "Running1", "Waiting1", "Paused2", "Failed1", "Stopped1"),
        *("Start 1 worker shown", "Pause 3 workers shown", "Resume 2 workers shown"),
        *("Run now 5 workers shown", "Stop 5 workers shown", "Remove 6 workers shown"),
        "Workers",
        *("Pause", "Run now", "Stop", "Remove", "Close the detail"),
        "Show the error",
        "Output",
        order[-1],  # the open tab's text
    ]

    # The chips and the titles of columns: Space and Enter, arrows from the first row on.
    page.locator(".bgp-chip.s-paused").focus()
    page.keyboard.press("Space")
    expect(page.locator(".bgp-shown")).to_have_text("2 of 6 workers")
    page.locator(".bgp-chip.s-all").focus()
    page.keyboard.press("Enter")
    grid = page.get_by_role("grid", name="Workers")
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    title = page.locator(".bgp-cell.is-active")
    expect(title).to_have_text("Name")
    expect(grid).to_have_attribute("aria-activedescendant", title.get_attribute("id") or "")
    page.keyboard.press("ArrowLeft")  # the first one: nothing further
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="State")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".bgp-row[aria-rowindex='2']")).to_contain_text("save")
    page.keyboard.press("Space")
    expect(page.get_by_role("columnheader", name="State")).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".bgp-row.is-active")).to_have_attribute("aria-rowindex", "2")
    expect(page.locator(".bgp-cell.is-active")).to_have_count(0)


def test_focus_never_falls_out_of_the_panel(notebook: Notebook) -> None:
    """On the page JupyterLab would take the next key for a command: x cuts the cell."""
    page = notebook.page
    grid = page.get_by_role("grid", name="Workers")
    row(page, "save").locator(".c-name").click()
    page.locator(".bgp-detail-actions .v-stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bgp-message")).to_have_text("Stopped 1")
    expect(page.locator(".bgp-tab[aria-selected=true]")).to_be_focused()
    page.get_by_role("button", name="Close the detail").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bgp-detail")).to_be_hidden()
    expect(grid).to_be_focused()
    page.locator(".bgp-bulk .v-stop").focus()
    page.keyboard.press("Space")
    expect(page.locator(".bgp-message")).to_have_text("Stopped 4")
    expect(grid).to_be_focused()
    cells = notebook.cells
    page.keyboard.press("x")
    assert notebook.cells == cells

    # What asks first has the focus, and gives it back.
    page.locator(".bgp-bulk .v-remove").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alertdialog", name="Confirm")).to_be_visible()
    expect(page.get_by_role("button", name="Remove 6", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    page.keyboard.press("Escape")
    assert not page.evaluate("() => document.querySelector('.bgp').contains(document.activeElement)")


def test_buttons_that_are_left_out_are_not_reached(notebook: Notebook) -> None:
    page = notebook.page
    notebook.command("application:toggle-left-area")
    page.set_viewport_size({"width": 700, "height": 900})
    expect(page.locator(".bgp")).to_have_attribute("data-width", "narrow")
    grid = page.get_by_role("grid", name="Workers")
    grid.focus()
    page.keyboard.press("Home")
    for reached in ("Pause fetch", "Stop fetch", "Stop fetch"):
        page.keyboard.press("ArrowRight")
        expect(page.locator(".bgp-action.is-active")).to_have_attribute("aria-label", reached)
        expect(page.locator(".bgp-action.is-active")).to_be_visible()

    def overhang() -> float:
        """Return by how many pixels the last button stands out of the panel."""
        room = page.locator(".bgp").bounding_box() or {}
        last = row(page, "fetch").locator(".bgp-action[data-verb=stop]").bounding_box() or {}
        return last["x"] + last["width"] - room["x"] - room["width"]

    for width in (700, 500, 360):
        page.set_viewport_size({"width": width, "height": 900})
        poll(lambda: overhang() <= 0, f"the buttons stand in {width} pixels", 5)


def test_what_is_read_aloud(notebook: Notebook) -> None:
    page = notebook.page
    expect(page.locator(".bgp")).to_match_aria_snapshot("""
      - region "Background workers":
        - status: live
        - button "Suspend pool"
        - combobox "Updates a second"
        - textbox "Filter workers by name, with * ? and [...]"
        - group "Filter workers by state":
          - button "All 6" [pressed]
          - button "Failed 1"
        - button "Stop 5 workers shown"
        - grid "Workers":
          - row:
            - columnheader "Name"
            - columnheader "State"
            - columnheader "Actions"
          - rowgroup:
            - 'row "save, failed, OSError: disk is full"':
              - gridcell "save"
              - gridcell "1 run, 1 failed"
              - gridcell:
                - button "Pause save"
                - button "Stop save"
            - 'row "tired, paused, paused after 2 failures in a row: OSError: disk is full"'
    """)
    # Every control has a name, also by the browser's own account.
    session = page.context.new_cdp_session(page)
    inside = page.evaluate("() => [...document.querySelectorAll('.bgp *')].length")
    assert inside > 100
    controls = {"button", "checkbox", "combobox", "textbox", "tab", "grid", "row", "columnheader", "progressbar", "img"}
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    (top,) = [
        each for each in nodes if each.get("name", {}).get("value") == "Background workers" and role(each) == "region"
    ]
    known = {each["nodeId"]: each for each in nodes}
    nameless = [each for each in below(top, known) if role(each) in controls and not each["name"]["value"].strip()]
    assert nameless == []

    # A failure is said once, politely.
    alarm = page.get_by_role("status", name="Failures")
    expect(alarm).to_have_attribute("aria-live", "polite")
    expect(alarm).to_be_empty(timeout=10_000)
    notebook.kernel("broken.set()")
    expect(alarm).to_have_text("fetch failed: ValueError: no answer")
    expect(alarm).to_be_empty(timeout=10_000)
    seen = int(notebook.kernel("w = pool.find_workers('fetch')[0]; print(w.failure_count)"))
    poll(lambda: int(notebook.kernel("print(w.failure_count)")) > seen + 3, "it fails on")
    expect(alarm).to_be_empty()
    notebook.kernel("broken.clear()")
    expect(row(page, "fetch")).to_have_attribute("data-status", "waiting")
    notebook.kernel("broken.set()")
    expect(alarm).to_have_text("fetch failed: ValueError: no answer")


def role(node: dict) -> str:
    return str(node.get("role", {}).get("value", ""))


def below(top: dict, known: dict) -> list[dict]:
    found = []
    waiting = [top]
    while waiting:
        node = waiting.pop()
        if not node.get("ignored"):
            found.append(node)
        waiting += [known[each] for each in node.get("childIds", ()) if each in known]
    return found


#: The least contrast of the texts that are seen, with what has it. Controls that are switched off may be pale.
CONTRASTS = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  const linear = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(".bgp"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !node.getClientRects().length || node.closest(":disabled, [aria-disabled=true], .bgp-alarm")) continue;
    let under = [255, 255, 255];
    let opacity = 1;
    const chain = [];
    for (let each = node; each; each = each.parentElement) chain.unshift(getComputedStyle(each));
    for (const style of chain) {
      under = over(colour(style.backgroundColor), under);
      opacity *= Number(style.opacity);
    }
    const [r, g, b, a] = colour(getComputedStyle(node).color);
    const [low, high] = [light(over([r, g, b, a * opacity], under)), light(under)].sort((x, y) => x - y);
    found.push([(high + 0.05) / (low + 0.05), node.className, text.slice(0, 30)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


def test_colours(notebook: Notebook) -> None:
    page = notebook.page
    for theme in (LIGHT, DARK):
        notebook.command("apputils:change-theme", {"theme": theme})
        page.wait_for_function(
            "(dark) => document.querySelector('.bgp').classList.contains('bgp-dark') === dark", arg=theme == DARK
        )
        for name, tab in (("save", "Error"), ("save", "Runs"), ("load", "Stack"), ("tired", "Output")):
            if row(page, name).get_attribute("aria-selected") != "true":
                row(page, name).locator(".c-name").click()
            page.locator(".bgp-tab", has_text=tab).click()
            expect(page.locator(".bgp-pane")).not_to_contain_text("Waiting for the kernel")
            page.wait_for_function("() => document.getAnimations().every((each) => !(each instanceof CSSTransition))")
            found = page.evaluate(CONTRASTS)
            assert len(found) > 60
            assert [each for each in found if each[0] < 4.5] == [], (theme, tab)
        notebook.kernel("pool.suspend()")
        expect(page.get_by_role("button", name="Resume pool")).to_be_visible()
        assert [each for each in page.evaluate(CONTRASTS) if each[0] < 4.5] == [], (theme, "suspended")
        notebook.kernel("pool.resume()")
        expect(page.locator(".bgp-status")).to_have_text("live")

    # Nothing moves for those who asked for that; in the system's own colours shapes and focus are still seen.
    moving = "() => document.getAnimations().filter((each) => each.effect.target.closest('.bgp')).length"
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    page.get_by_role("grid", name="Workers").focus()
    page.keyboard.press("End")
    drawn = """(place) => {
      const [node, part] = place.split("::");
      const style = getComputedStyle(document.querySelector(node), part && "::" + part);
      const ground = getComputedStyle(document.querySelector(".bgp")).backgroundColor;
      return [style.backgroundColor, style.outlineStyle, ground];
    }"""
    for shape in (
        ".bgp-dot",
        ".bgp-meter .is-busy",
        ".bgp-row[data-status=running] .bgp-bar i",
        ".bgp-row.is-trouble::before",
    ):
        colour, _, ground = page.evaluate(drawn, shape)
        assert colour not in {ground, "rgba(0, 0, 0, 0)"}, shape
    assert page.evaluate(drawn, ".bgp-row.is-active")[1] == "solid"
