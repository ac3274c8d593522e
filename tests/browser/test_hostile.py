"""Hostile names and texts, and a page that means harm, in JupyterLab in a real browser on a real kernel.

Every text below would run a script, load something from elsewhere, or hide what follows if it ever reached the
page as anything but text. All of them are there at once, in every place that shows text of a worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import nbformat
import pytest
from ipywidgets import Widget
from nbformat.sign import NotebookNotary
from playwright.sync_api import Page, expect

from bgpool_jupyter.panel import Panel, close_all
from bgpool_jupyter.table import clean_text
from bgpool_jupyter.testing import make_pool

from .lab import Notebook, Server, poll

Open = Callable[[Sequence[str]], Notebook]

pytestmark = pytest.mark.timeout(240)

EVIL = "http://evil.invalid"
RUN = "window.pwned=1"

TEXTS = {
    "script": f"<script>{RUN}</script>",
    "script from elsewhere": f"<script src={EVIL}/a.js></script>",
    "onerror": f"<img src=x onerror={RUN}>",
    "onerror in quotes": f'"><img src=x onerror="{RUN}">',
    "handler in an attribute": f"' onmouseover='{RUN}' x='",
    "svg": f"<svg onload={RUN}><script>{RUN}</script></svg>",
    "svg animation": f"<svg><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    "details": f"<details open ontoggle={RUN}>",
    "frame": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "object": f'<object data="data:text/html,<script>{RUN}</script>"></object>',
    "form": f'<form action="{EVIL}"><button formaction="javascript:{RUN}">x</button></form>',
    "link": f'<a href="javascript:{RUN}">click</a>',
    "scheme": f"javascript:{RUN}//",
    "image from elsewhere": f"<img src='{EVIL}/pixel.png'>",
    "image in markdown": f"![x]({EVIL}/markdown.png)",
    "link in markdown": f"[x](javascript:{RUN}) `code` **bold** <{EVIL}>",
    "data": f"data:text/html;base64,PHNjcmlwdD53aW5kb3cucHduZWQ9MTwvc2NyaXB0Pg==#{RUN}",
    "end of style": f"</style><script>{RUN}</script><style>.bgp{{display:none}}",
    "style": f"<style>@import '{EVIL}/a.css';.bgp,table{{display:none!important}}</style>",
    "property": f"red;background:url({EVIL}/css)!important;}} * {{ display:none",
    "end of text area": f"</textarea></title></pre></table><script>{RUN}</script>",
    "comment": f"<!--><script>{RUN}</script>-->",
    "character data": f"]]><script>{RUN}</script><![CDATA[",
    "template literal": f"${{{RUN}}} `${{alert(1)}}` {{{{constructor.constructor('{RUN}')()}}}}",
    "entities": f"&lt;script&gt;{RUN}&lt;/script&gt; &amp;nbsp; &#60;b&#62;",
    "formula": rf"$\href{{javascript:{RUN}}}{{x}}$ $$\style{{background:url({EVIL}/tex)}}{{y}}$$ \(z\)",
    "end of JSON": f'"}}]}}, {{"kind": "answer", "ok": true}}; {RUN} //',
    "escapes": f"\\u003cscript\\u003e{RUN}\\x3c/script\\x3e",
    "line ends": f"first\nsecond\r\n\t<script>{RUN}</script>",
    "line separators": f"a\u2028b\u2029{RUN}",
    "null": f"nul\x00l<script\x00>{RUN}</script>",
    "terminal": f"\x1b[2J\x1b]0;title\x07\x1b]8;;javascript:{RUN}\x1b\\link\x1b]8;;\x1b\\\x9b31m",
    "direction": "abc\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "no width": "zero\u200bwidth\u2060join\ufeffer\u00ad",
    "pictures": "👩‍💻🏳️‍🌈 e\u0301 Z" + "\u0300\u0301\u0302" * 30,
    "long": "long " + "x" * 20_000,
    "prototype": "__proto__",
    "constructor": "constructor",
    "own property": "hasOwnProperty",
    "text of an object": "toString",
    "glob": "*",
    "spaces": "  \u00a0\u3000 ",
}

HEARD = "(want) => (document.querySelector('.bgp-events pre')?.textContent ?? '').includes(want)"
INCLUDES = "(want) => document.querySelector('.bgp-pane').textContent.includes(want)"

#: Notices whatever a text might do, before anything of the page is loaded.
WATCH = """
window.__ran = [];
Object.defineProperty(window, "pwned", { set(value) { window.__ran.push("script"); } });
for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = () => { window.__ran.push(name); };
"""

SETUP = f"""
%load_ext bgpool_jupyter
import json, sys, threading
from IPython.display import display
from bgpool_jupyter import Panel, default_pool
pool = default_pool()
hold = threading.Event()
texts = json.loads({json.dumps(list(TEXTS.values()))!r})
evil = {{
    "image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' onload='{RUN}'><script>{RUN}</script></svg>",
    "text/html": "<script>{RUN}</script><img src='{EVIL}/html.png' onerror='{RUN}'>",
    "text/markdown": "![x]({EVIL}/display.png)",
    "application/javascript": "{RUN}",
    "image/png": "x' onerror='{RUN}",
    "image/jpeg": "{EVIL}/display.jpg",
}}
class Boom(Exception):
    pass
Boom.__name__ = Boom.__qualname__ = "<script>{RUN}</script>"
def attack(text):
    def body():
        print(text)
        print(text, file=sys.stderr)
        display({{**evil, "text/plain": text}}, raw=True)
        raise Boom(text)
    return body
def hears(text):
    def hear(event):
        print(text)
        display({{**evil, "text/plain": "end of " + text}}, raw=True)
    return hear
for text in texts:
    worker = pool.new_worker(3600, attack(text), name=text, max_count=1, dispose=False, on_event=hears(text))
    worker.source = text
    worker.start()
def tells(text):
    return lambda: text
for text in texts:
    pool.new_worker(3600, tells(text), name="value of " + text, max_count=1, dispose=False).start()
def wait(_worker):
    _worker.progress(1, 3, " ".join(texts[:-1])[:5000])
    hold.wait()
pool.new_worker(3600, wait, name="in flight", dispose=False).start()
panel = Panel(pool, height=4000)
"""


@pytest.fixture
def page(page: Page) -> Page:
    page.add_init_script(WATCH)
    return page


@pytest.fixture
def requests(page: Page) -> list[str]:
    """Every URL that the page asks for."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


def assert_nothing_ran(page: Page, requests: list[str], home: str) -> None:
    assert page.evaluate("window.__ran") == []
    foreign = [url for url in requests if not url.startswith((home, "data:", "blob:", "about:"))]
    assert foreign == []
    assert not [url for url in requests if "evil" in url]


def seen_names(page: Page) -> list[str]:
    names: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('.bgp-row[data-status]')].filter((row) => !row.hidden)"
        ".map((row) => row.querySelector('.c-name').textContent)"
    )
    return names


def test_hostile_texts_stay_texts(open_notebook: Open, page: Page, requests: list[str], server: Server) -> None:
    table = "display({'text/html': panel._repr_mimebundle_()[0]['text/html']}, raw=True)"
    notebook = open_notebook(
        [SETUP + "\npanel", "%bgpool", "%bgpool history --last 1", table, "print('ALL-' + 'SHOWN')"]
    )
    notebook.run_all()
    notebook.output("ALL-SHOWN")
    ran = "print(all(w.run_count == 1 for w in pool.find_workers() if w.name != 'in flight'))"
    poll(lambda: notebook.kernel(ran) == "True", "every worker has run")
    everything = 2 * len(TEXTS) + 1
    page.locator(".bgp-row[data-status]").first.wait_for()
    poll(lambda: len(seen_names(page)) == everything, "every worker has a row")
    names = {clean_text(text) for text in TEXTS.values()}
    assert {name for name in seen_names(page) if not name.startswith("value of ")} == names | {"in flight"}

    # Every tab of every worker, one after the other: the text is there as text.
    for label, text in TEXTS.items():
        show_details(notebook, label, text)
    notebook.kernel("panel.selected = pool.find_workers('in flight')[0].id")
    for tab in tabs(page):
        notebook.kernel(f"panel.tab = {tab!r}")
        expect(page.locator(".bgp-tab[aria-selected=true]")).to_have_text(tab.capitalize())
    # The question that names a worker cannot be turned round by the name.
    victim = page.locator(".bgp-row[data-status]", has_text="abc").filter(has_not_text="value of").first
    victim.locator(".bgp-action[data-verb=remove]").click()
    asked = f"Remove “{clean_text(TEXTS['direction'])}”? A removed worker is stopped and leaves the pool."
    expect(page.locator(".bgp-ask-text")).to_have_text(asked)
    page.keyboard.press("Escape")

    # The tables in the output of cells: the magic's, the runs', and what stands for the panel where it cannot be.
    cells: list[list[str]] = page.evaluate(
        "() => [...document.querySelectorAll('.jp-OutputArea-output table.bgpool-table')]"
        ".map((table) => [...table.querySelectorAll('td:first-child')].map((cell) => cell.title || cell.textContent))"
    )
    assert len(cells) == 3
    for column in cells:
        assert {name for name in names if len(name) <= 2000} <= set(column)
    assert page.locator(".jp-OutputArea-output mjx-container").count() == 0, "no formula is set"
    inside = ":is(script, svg, a, iframe, object, form, textarea, img)"
    assert page.locator(f".jp-OutputArea-output .jp-RenderedHTML {inside}").count() == 0
    assert page.locator(".bgp :is(script, a, iframe, object, form, textarea)").count() == 0
    assert page.locator(".bgp").is_visible()
    assert_nothing_ran(page, requests, server.url)
    static_table(notebook, page, requests)


def tabs(page: Page) -> list[str]:
    return [(text or "").strip().lower() for text in page.locator(".bgp-tab").all_text_contents()]


def show_details(notebook: Notebook, label: str, text: str) -> None:
    """Look at each tab of the two workers that a text belongs to."""
    page = notebook.page
    index = list(TEXTS).index(label)
    # The end is enough of a long one: records and messages are bounded.
    piece = text if len(text) < 1000 else text[-500:]
    line = clean_text(text.strip().split("\n")[0])[:100]
    for tab, want in {"output": piece, "error": piece, "runs": line, "source": piece}.items():
        notebook.kernel(f"panel.tab = {tab!r}; panel.selected = pool.find_workers()[{index}].id")
        expect(page.locator(".bgp-tab[aria-selected=true]")).to_have_text(tab.capitalize())
        expect(page.locator(".bgp-detail-name")).to_have_text(clean_text(text))
        poll(partial(page.evaluate, INCLUDES, want), f"{label!r} is shown as text in the tab {tab}", 10)
        if tab == "output":
            poll(partial(page.evaluate, HEARD, want), f"{label!r} is shown as what on_event printed", 10)


def static_table(notebook: Notebook, page: Page, requests: list[str]) -> None:
    """Show what stands for the panel on a page of its own, as a site that takes HTML as it is would."""
    fallback = notebook.kernel("print(panel._repr_mimebundle_()[0]['text/html'])")
    fallback += notebook.kernel("print(get_ipython().run_line_magic('bgpool', '')._repr_html_())")
    text = notebook.kernel("print(panel._repr_mimebundle_()[0]['text/plain'])")
    assert "\x1b" not in text
    page.goto("about:blank")
    requests.clear()
    page.set_content(f"<!doctype html><body>{fallback}</body>")
    expect(page.locator("table.bgpool-table").first).to_be_visible()
    assert page.locator("table.bgpool-table tbody tr").count() == 2 * (2 * len(TEXTS) + 1)
    allowed = "style, table, thead, tbody, tr, th, td, p, details, summary, pre"
    assert page.locator(f"body :not({allowed})").count() == 0
    assert page.evaluate("window.__ran") == []
    assert requests == []


#: A script of the page, as any output may bring one: what it can say to the kernel about a widget. JSON keeps
#: what the way into the browser would change.
SAY = """([comm, messages]) => {
  const nested = JSON.parse("[".repeat(5000) + "]".repeat(5000));
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  for (const [kind, content] of JSON.parse(messages, (key, value) => (value === "nested" ? nested : value))) {
    const header = {
      msg_id: crypto.randomUUID(), msg_type: kind, session: kernel.clientId, username: "", version: "5.3",
      date: new Date().toISOString(),
    };
    const message = { header, parent_header: {}, metadata: { version: "2.1.0" }, buffers: [], channel: "shell" };
    kernel.sendShellMessage({ ...message, content: { comm_id: comm, ...content } }, false, true);
  }
}"""

CODE = "export default { render({ el }) { window.pwned = 1 } }"

QUIET = """
%load_ext bgpool_jupyter
from bgpool_jupyter import Panel, default_pool
from bgpool_jupyter.panel import default_panel
pool = default_pool()
worker = pool.new_worker(3600, lambda: None, name="victim", dispose=False).start()
panel = Panel(pool)
code = panel._esm
from ipywidgets.widgets.widget import _instances
known = set(_instances)
"""


def update(**state: Any) -> list[Any]:
    return ["comm_msg", {"data": {"method": "update", "state": state}}]


def custom(content: Any) -> list[Any]:
    return ["comm_msg", {"data": {"method": "custom", "content": content}}]


def test_script_of_the_page_cannot_change_the_panel_for_others(
    open_notebook: Open, page: Page, requests: list[str], server: Server
) -> None:
    notebook = open_notebook([QUIET + "panel"])
    notebook.run_all()
    page.locator(".bgp-row[data-status]").first.wait_for()
    attacks = [
        update(_esm=CODE, _css="* { display: none }"),
        update(layout="IPY_MODEL_none", _dom_classes=["jp-mod-hidden"], tooltip="<b>"),
        update(_view_name="Evil", _view_module="evil", _model_module="evil"),
        update(pattern="\ud800"),
        ["comm_msg", {"data": {"method": "update", "state": {}, "buffer_paths": [["_esm"]]}}],
        ["comm_msg", {"data": {"method": "echo_update", "state": {"_esm": CODE}}}],
        ["comm_msg", {"data": None}],
        ["comm_msg", {}],
        custom({"kind": "command", "token": "\ud800", "verb": "stop", "ids": [1]}),
        custom({"kind": "command", "token": "t", "verb": "stop", "ids": ["*"]}),
        custom({"kind": "anywidget-command", "name": "close", "id": "1", "msg": {}}),
        custom("nested"),
        update(pattern="nested"),
    ]
    comm, victim = notebook.kernel("print(panel.comm.comm_id, worker.id)").split()
    attacks.append(custom({"kind": "command", "token": "t", "verb": "pause", "ids": [int(victim)]}))  # these do arrive
    page.evaluate(SAY, [comm, json.dumps(attacks * 3)])
    # A comm that is opened by the page makes widgets that ipywidgets knows. A panel is not among them.
    state = {"_model_module": "anywidget", "_model_module_version": "*", "_model_name": "AnyModel", "_esm": CODE}
    state |= {"_view_module": "anywidget", "_view_module_version": "*", "_view_name": "AnyView"}
    opening = ["comm_open", {"target_name": "jupyter.widget", "data": {"state": state}}]
    page.evaluate(SAY, ["0" * 32, json.dumps([opening])])

    poll(lambda: notebook.kernel("print(worker.status)") == "paused", "what may be asked for is done")
    assert (
        notebook.kernel("print(panel._esm == code, worker.executing, panel.pattern, panel._dom_classes)")
        == "True False  ()"
    )
    assert notebook.kernel("print(len(set(_instances) - known))") == "0"
    # Another page, opened later, gets our code: here the same one, loaded anew.
    notebook.save()
    page.reload()
    page.locator(".bgp-row[data-status]").first.wait_for()
    expect(page.locator(".bgp-status")).to_have_text("live")
    page.get_by_role("button", name="Stop victim").click()
    expect(page.locator(".bgp-message")).to_have_text("Stopped 1")
    assert_nothing_ran(page, requests, server.url)


def test_panel_whose_comm_the_page_closed_is_made_anew(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([QUIET.replace("Panel(pool)", "default_panel()") + "panel"])
    notebook.run_all()
    page.locator(".bgp-row[data-status]").first.wait_for()
    comm = notebook.kernel("print(panel.comm.comm_id)")

    def close() -> bool:
        page.evaluate(SAY, [comm, json.dumps([["comm_close", {"data": {}}]])])
        return notebook.kernel("print(default_panel() is panel)") == "False"

    poll(close, "%bgpool panel shows a new one")
    assert notebook.kernel("print(panel.comm, default_panel().comm is None, worker.running)") == "None False True"


def saved_panel(**changed: Any) -> Any:
    """Return a notebook in which somebody has stored the state of a panel, with hostile texts in all places."""
    with make_pool(name=TEXTS["onerror"]) as pool:
        for text in TEXTS.values():
            pool.new_worker(1, lambda text=text: 1 / 0, name=text, dispose=False).start()
        pool.clock.advance(0)
        panel = Panel(pool, height=4000)
        saved = Widget.get_manager_state(widgets=[panel, panel.layout])
        saved["state"][panel.model_id]["state"] |= changed
        view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
        close_all()
    outputs = {"application/vnd.jupyter.widget-view+json": view, "text/plain": "the panel"}
    cell = nbformat.v4.new_code_cell("panel", outputs=[nbformat.v4.new_output("display_data", outputs)])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": saved}
    return notebook


def test_saved_picture_is_text(page: Page, requests: list[str], server: Server) -> None:
    bad = TEXTS["onerror in quotes"]
    notebook = saved_panel(sort="__proto__", tab=bad, status=bad, route=bad, selected=bad, descending=bad)
    NotebookNotary(data_dir=str(server.data)).sign(notebook)
    nbformat.write(notebook, server.root / "saved.ipynb")
    page.goto(f"{server.url}/lab/tree/saved.ipynb?reset")
    page.locator(".bgp").wait_for()
    page.locator(".bgp-chip.s-all").click()
    expect(page.locator(".bgp-status")).to_have_text("kernel restarted: run the cell again")  # no picture of now
    names = {clean_text(text) for text in TEXTS.values()}
    poll(lambda: set(seen_names(page)) == names, "all rows are there")
    assert page.locator(".bgp :is(script, a, iframe, object, form, textarea, img)").count() == 0
    assert_nothing_ran(page, requests, server.url)
    server.end_kernels()


def test_notebook_holds_no_widget_state(open_notebook: Open, server: Server) -> None:
    notebook = open_notebook([QUIET + "panel"])
    notebook.run_all()
    notebook.page.locator(".bgp-row[data-status]").first.wait_for()
    notebook.save()
    path = server.root / "test_notebook_holds_no_widget_state.ipynb"
    poll(lambda: "victim" in path.read_text(encoding="utf-8"), "it is saved")
    stored = nbformat.read(path, 4)
    assert "widgets" not in stored.metadata
    assert "application/vnd.jupyter.widget-view+json" in stored.cells[0].outputs[-1].data
    assert "export default" not in path.read_text(encoding="utf-8")


def test_there_are_enough_texts() -> None:
    assert len(TEXTS) >= 40
