"""One JupyterLab and one browser for all browser tests; a page and a notebook for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from .lab import Notebook, Server, browse, chromium_path, new_page, serve


# Not for the session: while Playwright runs, the main thread counts as one with a running event loop,
# and everything else that wants to run one there would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium_path()
    if executable is None:
        assert not os.environ.get("CI"), "CI has a browser: install chromium, or name one in CHROMIUM"
        pytest.skip(
            "There is no browser: install chromium, or name one in CHROMIUM, or run `playwright install chromium`."
        )
    with browse(executable) as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with new_page(browser) as page:
        yield page


@pytest.fixture
def open_notebook(
    server: Server, page: Page, request: pytest.FixtureRequest
) -> Iterator[Callable[[Sequence[str]], Notebook]]:
    name = Path(request.node.name).name + ".ipynb"
    yield lambda cells: Notebook(page, server, name, cells)
    server.end_kernels()
