"""The examples of the documentation: those with prompts run here, cells in tests/kernel/test_guide.py."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted((TOP / "docs").glob("**/*.md"))
MODULES = sorted(
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
    for path in (TOP / "bgpool_jupyter").glob("**/*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
FLAGS = doctest.REPORT_NDIFF
#: Everything that a worker can be told has its example in the guide.
WORDS = """
Cron( jitter= until= .preview( timeout= Retry( max_failures= should_stop _worker.sleep( _worker.progress( .values
.to_frame() .result( await async .subscribe( .suspend() .every( WorkerPool() make_pool() clock.advance(
--cron --tz --jitter --until --timeout --retries --max-failures --max-lateness max_lateness= at= --at %bgpool
"""


def examples(page: Path) -> str:
    """Return the blocks with prompts of a page, on the lines on which they stand."""
    text = page.read_text(encoding="utf-8")
    kept = [""] * text.count("\n")
    for block in re.finditer(r"^```python\n(>>> .*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        first = text.count("\n", 0, block.start(1))
        lines = block[1].splitlines()
        kept[first : first + len(lines)] = lines
    return "\n".join(kept) + "\n"


def run(test: doctest.DocTest) -> None:
    """Run a doctest and fail with its own report."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page).strip()], ids=lambda page: page.name)
def test_page(page: Path) -> None:
    name = str(page.relative_to(TOP))
    run(doctest.DocTestParser().get_doctest(examples(page), {}, name, name, 0))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    found = doctest.DocTestFinder().find(importlib.import_module(name))
    tests = [test for test in found if test.examples]
    assert tests
    for test in tests:
        run(test)


def test_the_guide_has_examples_of_both_kinds() -> None:
    guide = (TOP / "docs" / "guide.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", guide, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        assert "\n>>> " in section, title
    missing = [word for word in WORDS.split() if word not in guide]
    assert missing == []
