"""The page's logic: the same tables of cases for Python and for JavaScript.

The browser tests run the tables in Chromium too, so a machine without Node.js leaves nothing untested.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bgpool_jupyter.engine.globs import matcher
from bgpool_jupyter.panel import panel as panel_module
from bgpool_jupyter.table import format_duration

HERE = Path(__file__).parent
GLOBS = json.loads((HERE / "glob_cases.json").read_text(encoding="utf-8"))
DURATIONS = json.loads((HERE / "duration_cases.json").read_text(encoding="utf-8"))


def test_globs_mean_what_fnmatchcase_means() -> None:
    assert len(GLOBS) > 90
    for name, pattern, matches in GLOBS:
        assert fnmatch.fnmatchcase(name, pattern) is matches, (name, pattern)


def test_globs_mean_the_same_in_the_engine() -> None:
    for name, pattern, matches in GLOBS:
        assert bool(matcher(pattern)(name)) is matches, (name, pattern)


def test_durations_have_the_words_of_the_table() -> None:
    for seconds, text in DURATIONS:
        assert format_duration(seconds) == text


def test_page_logic_in_node(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        assert not os.environ.get("CI"), "CI has Node.js"
        pytest.skip("Node.js is not installed; the browser tests run the same tables.")
    module = tmp_path / "panel.mjs"
    shutil.copy(panel_module._STATIC / "panel.js", module)
    tables = [str(HERE / "glob_cases.json"), str(HERE / "duration_cases.json")]
    answer = subprocess.run(
        [node, str(HERE / "logic.mjs"), module.as_uri(), *tables],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == []
