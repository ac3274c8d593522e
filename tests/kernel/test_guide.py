"""The cells of the guide run, in virtual time; its examples with prompts are run by tests/test_docs.py."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
CELLS = re.findall(r"^```python\n(?!>>> )(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)


def test_cells_run(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of them write files
    assert len(CELLS) > 5
    for cell in CELLS:
        notebook.run(cell)
        notebook.advance(0)
    workers = {worker.name: worker for worker in notebook.pool.find_workers()}
    assert {name for name, worker in workers.items() if worker.failure_count} == {"broken"}, "it says so"
    assert workers["report"].status == "new"
    assert workers["poll"].last_value == "polled"
    assert notebook.namespace["subscription"].closed is False
