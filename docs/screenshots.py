"""Make the pictures of the panel that the README and the docs show: a real panel, kernel and browser.

Run from anywhere, with the ``lab`` and ``test`` extras installed::

    python docs/screenshots.py [light dark narrow empty failed stack busy]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from playwright.sync_api import Page

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # the test helpers drive JupyterLab and the browser

from tests.browser.lab import DARK, LIGHT, Notebook, browse, chromium_path, new_page, serve  # noqa: E402 - see above

SHOTS = DOCS / "_static"

WORKERS = """
%load_ext bgpool_jupyter
import random
import threading
from time import sleep, strftime
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
random.seed(4)
def sample(low, high):
    def run():
        sleep(random.uniform(low, high))
        print(f"{strftime('%H:%M:%S')}  {random.uniform(2, 40):.1f} %")
    return run
def flaky():
    sleep(random.uniform(0.01, 0.05))
    if random.random() < 0.3:
        raise TimeoutError("no answer from 10.0.0.7 within 0.05 s")
def broken():
    print("GET https://weather.example/now")
    answer = {"sky": "clear", "wind": "light"}
    print("200 OK, 33 bytes")
    return wind(answer)
def wind(answer):
    return float(answer["wind"])
def save(_worker):
    for done in range(1, 241):
        _worker.progress(done, 240, "frames written")
        if not _worker.sleep(0.1):
            return
def crawl(_worker):
    for done in range(1, 10_000):
        _worker.progress(done, text="pages read")
        if not _worker.sleep(0.05):
            return
def add(name, interval, callback, **settings):
    return pool.new_worker(interval, callback, name=name, dispose=False, **settings)
add("cpu-percent", 0.5, sample(0.001, 0.02)).start()
add("mem-percent", 1, sample(0.002, 0.01)).start()
add("disk-free", 5, sample(0.01, 0.06)).start()
add("log-tail", 0.25, sample(0.001, 0.03)).start()
add("fetch-prices", 0.8, flaky).start()
add("fetch-weather", 2, broken).start()
add("save-snapshot", 300, save).start()
add("crawl-docs", 3600, crawl).start()
add("train-step", 0.7, sample(0.2, 0.5), run_on_time=False).start()
add("scan-hosts", 0.3, sample(0.3, 0.6)).start()
add("clean-cache", 300, sample(0.01, 0.02)).start()
add("nightly-report", 86_400, int)
add("warm-up", 0.2, sample(0.01, 0.02), max_count=12).start()
add("poll-sensor", 1.5, sample(0.01, 0.2)).start().pause()
def rebuild():
    for name in ["names", "places", "dates"]:
        merge(name)
def merge(name):
    while True:
        sleep(0.2)
stopping = add("rebuild-index", 10, rebuild).start()
sleep(SECONDS)
stopping.stop()
PANEL_LINE
"""


def take(page: Page, name: str) -> None:
    """Write the picture of the panel."""
    SHOTS.mkdir(exist_ok=True)
    path = SHOTS / f"panel-{name}.png"
    page.mouse.move(2, 2)
    page.wait_for_timeout(400)  # the last countdown, the end of a transition
    page.locator(".bgp").screenshot(path=path)
    print(path)


def open_panel(notebook: Notebook, rows: bool = True, command: str = "notebook:run-all-cells") -> None:
    """Run the notebook and give the panel the room of the window."""
    notebook.command("application:toggle-left-area")
    notebook.command(command)
    place = ".bgp-row[data-status]" if rows else ".bgp-empty-title"
    notebook.page.locator(place).first.wait_for(timeout=60_000)
    notebook.page.wait_for_timeout(2500)  # some runs for the little pictures


def cells(seconds: float, line: str = "Panel(pool, height=516)") -> list[str]:
    """Return the notebook's cells."""
    return [WORKERS.replace("SECONDS", str(seconds)).replace("PANEL_LINE", line)]


def main() -> None:
    """Make the pictures that are named, or all."""
    wanted = set(sys.argv[1:]) or {"light", "dark", "narrow", "empty", "failed", "stack", "busy"}
    executable = chromium_path()
    if executable is None:
        sys.exit("There is no browser: install chromium, or name one in CHROMIUM")
    with tempfile.TemporaryDirectory() as folder, browse(executable) as browser:
        for theme, names in ((LIGHT, ["light", "failed", "stack", "narrow", "empty", "busy"]), (DARK, ["dark"])):
            chosen = [name for name in names if name in wanted]
            if not chosen:
                continue
            with serve(Path(folder) / theme.replace(" ", "-"), theme) as server:
                for name in chosen:
                    width = 560 if name == "narrow" else 1280
                    with new_page(browser, width, 1120, device_scale_factor=2) as page:
                        shoot(name, page, partial(Notebook, page, server, f"{name}.ipynb"))
                    server.end_kernels()


def shoot(name: str, page: Page, open_notebook: Callable[[list[str]], Notebook]) -> None:
    """Bring the panel into the state that a picture is named after, and take it."""
    if name == "empty":
        open_panel(open_notebook(["from bgpool_jupyter import Panel\nPanel()"]), rows=False)
    elif name == "busy":
        line = (
            "panel = Panel(pool, busy_route=False); panel.comm._reply_subshell_for = lambda data, default: None; panel"
        )
        notebook = open_notebook([*cells(2, line), "sleep(20)"])
        open_panel(notebook, command="notebook:run-cell-and-select-next")
        page.get_by_label("Filter workers by name").fill("*-percent")
        page.wait_for_timeout(3000)
        page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
        notebook.command("notebook:run-cell")
        page.wait_for_timeout(1000)
        page.locator(".bgp-bulk .v-stop").click()
        page.wait_for_timeout(1200)
    else:
        open_panel(open_notebook(cells(11)))
    if name == "failed":
        page.locator(".bgp-chip.s-failed").click()
        page.locator(".bgp-row:visible", has_text="fetch-weather").click()
        page.locator(".bgp-tab", has_text="Error").click()
        page.wait_for_timeout(700)
    elif name == "stack":
        page.get_by_label("Filter workers by name").fill("*[dns]*-[his]*")
        page.locator(".bgp-shown", has_text=" of ").wait_for()  # until then the rows move away under a click
        page.locator(".bgp-row:visible", has_text="rebuild-index").click()
        page.locator(".bgp-tab", has_text="Stack").click()
        page.wait_for_timeout(1500)
    elif name in {"light", "dark"}:
        page.locator(".bgp-row:visible", has_text="cpu-percent").click()
        page.wait_for_timeout(900)
    take(page, name)


if __name__ == "__main__":
    main()
