"""The stored quickstart: what is in the file. That it runs, and gives these outputs, is nbval's to test."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import get_sanitize_patterns

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CELLS = [cell for cell in nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4).cells if cell.cell_type == "code"]
RULES = (NOTEBOOKS / "sanitize.cfg").read_text(encoding="utf-8")


def test_cells_were_executed_from_top_to_bottom() -> None:
    assert [cell.execution_count for cell in CELLS] == list(range(1, len(CELLS) + 1))


def test_nothing_is_stored_that_dies_with_the_kernel() -> None:
    data = [output.data for cell in CELLS for output in cell.outputs if "data" in output]
    assert any("text/html" in bundle for bundle in data)
    assert not any("widget" in mime for bundle in data for mime in bundle)


def test_no_cell_shows_an_error_or_is_excused() -> None:
    assert not any(output.output_type == "error" for cell in CELLS for output in cell.outputs)
    assert not any(cell.metadata.get("tags") for cell in CELLS)


def test_every_rule_of_the_sanitizer_is_read() -> None:
    # A rule with an empty replacement, for one, would be passed over in silence.
    assert len(get_sanitize_patterns(RULES)) == len(re.findall("^regex:", RULES, flags=re.MULTILINE)) > 5


@pytest.mark.parametrize("version", ["    float(text)\n", "    float(text)\n    ~~~~~^^^^^^\n"])
def test_marks_in_tracebacks_may_differ(version: str) -> None:
    text = f"line 3, in <module>\n{version}ValueError: no\n"
    for regex, replacement in get_sanitize_patterns(RULES):
        text = re.sub(regex, replacement, text)
    assert text == "line 3, in <module>\n_float(text)\nValueError: no\n"
