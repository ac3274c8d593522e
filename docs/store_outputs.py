"""Execute the notebooks and store their outputs in them, as the tests compare them and the documentation shows them.

What lives only as long as a kernel is left out: where there is none, the panel's HTML table is seen.

    python docs/store_outputs.py [NOTEBOOK ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Execute the notebooks that are named on the command line, or all."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        store(path)


def store(path: Path) -> None:
    """Execute, strip and write."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, record_timing=False, store_widget_state=False)
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)
    print(f"stored the outputs in {path.name}")


if __name__ == "__main__":
    main()
