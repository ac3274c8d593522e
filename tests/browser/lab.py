"""A private JupyterLab and a real Chromium, for the browser tests and for the screenshots in the docs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

import bgpool_jupyter

LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

#: Whether the kernel is there, connected and idle. The status light alone is not enough:
#: a cell that is run too early is dropped in silence.
_READY = """async () => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  if (!session) return false;
  await session.ready;
  const kernel = session.session?.kernel;
  if (!kernel) return false;
  await kernel.info;
  return kernel.connectionStatus === "connected" && kernel.status === "idle";
}"""

#: Run code in the notebook's kernel on the page's own connection, and return what it printed.
_EXECUTE = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let text = "";
  future.onIOPub = (message) => {
    const type = message.header.msg_type;
    if (type === "stream") text += message.content.text;
    else if (type === "error") text += message.content.ename + ": " + message.content.evalue;
  };
  await future.done;
  return text;
}"""


def chromium_path() -> str | None:
    """Return the browser to use: $CHROMIUM, or one that is installed, or Playwright's own; None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def poll(ask: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """Ask again and again until the answer is true, and return it."""
    end = time.monotonic() + timeout
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s; the last answer was {answer!r}")
        time.sleep(0.03)


class Server:
    """A JupyterLab on 127.0.0.1 of which everything that it reads or writes lies in one folder."""

    def __init__(self, folder: Path, theme: str = LIGHT) -> None:
        self.root = folder / "notebooks"
        self._folder = folder
        #: Where Jupyter keeps the key with which notebooks are signed as trusted.
        self.data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._configure(theme)
        self._log = (folder / "server.log").open("wb")
        options = [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            "--IdentityProvider.token=",
            "--PasswordIdentityProvider.password_required=False",
            "--ServerApp.disable_check_xsrf=True",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.extension_manager=readonly",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.collaborative=False",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=self._environment(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": "home",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        package = str(Path(bgpool_jupyter.__file__).parents[1])
        search = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        return os.environ | {name: str(self._folder / path) for name, path in own.items()} | {"PYTHONPATH": search}

    def _configure(self, theme: str) -> None:
        self.root.mkdir(parents=True)
        (self._folder / "home").mkdir()
        config = self._folder / "config" / "labconfig"
        config.mkdir(parents=True)
        notifications = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
        settings = {
            "@jupyterlab/apputils-extension:notification": notifications,
            "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
            "@jupyterlab/apputils-extension:themes": {"theme": theme},
        }
        (config / "default_setting_overrides.json").write_text(json.dumps(settings), encoding="utf-8")
        # window.jupyterapp: commands, sessions, kernels
        (config / "page_config.json").write_text(json.dumps({"exposeAppInBrowser": True}), encoding="utf-8")

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until the server answers."""

        def answers() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError("JupyterLab did not start:\n" + self.log())
            try:
                self._ask("GET", "/api/status")
            except OSError:
                return False
            return True

        poll(answers, "JupyterLab answers", timeout)

    def log(self) -> str:
        """Return what the server wrote."""
        return (self._folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own server
            text = answer.read()
        return json.loads(text) if text else None

    def end_kernels(self) -> None:
        """End every kernel: they can outlive the server for a few seconds."""
        with contextlib.suppress(OSError):
            for kernel in self._ask("GET", "/api/kernels"):
                self._ask("DELETE", f"/api/kernels/{kernel['id']}")

    def close(self) -> None:
        """End the server and its kernels."""
        self.end_kernels()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._log.close()


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, server: Server, name: str, cells: Sequence[str], kernel: str = "python3") -> None:
        self.page = page
        #: What the page logged as errors.
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        document.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
        nbformat.write(document, server.root / name)
        page.goto(f"{server.url}/lab/tree/{name}?reset")  # no restored workspace: no stray tabs, no dialogs
        page.locator(".jp-Notebook").first.wait_for()
        poll(lambda: page.evaluate(_READY), "the kernel is ready", 60)

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Execute a command of JupyterLab, without waiting for its end."""
        start = "([name, options]) => { window.jupyterapp.commands.execute(name, options); }"
        self.page.evaluate(start, [name, arguments or {}])

    def run_all(self) -> None:
        """Run all cells."""
        self.command("notebook:run-all-cells")

    def save(self) -> None:
        """Save the notebook, and wait until that is done."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def output(self, text: str, timeout: float = 60.0) -> None:
        """Wait for a cell's output that holds `text`."""
        found = self.page.locator(".jp-OutputArea-output", has_text=text).first
        found.wait_for(state="attached", timeout=timeout * 1000)

    def kernel(self, code: str) -> str:
        """Run code in the kernel, outside the notebook, and return what it printed."""
        text: str = self.page.evaluate(_EXECUTE, code)
        return text.strip()

    @property
    def kernel_status(self) -> str:
        """What the page believes about the kernel: "idle", "busy", …."""
        status: str = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
        )
        return status

    @property
    def cells(self) -> int:
        """Count of the notebook's cells."""
        count: int = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.cells.length")
        return count


@contextlib.contextmanager
def serve(folder: Path, theme: str = LIGHT) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(folder, theme)
    try:
        server.wait()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def browse(executable: str) -> Iterator[Browser]:
    """Run a browser for a while."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def new_page(browser: Browser, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Page]:
    """Open a page for a while."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        page = context.new_page()
        page.set_default_timeout(20_000)
        yield page
    finally:
        context.close()
