"""Execute the quickstart and store its outputs in it, as they are compared by the tests and shown in the documentation.

What lives only as long as a kernel is left out: where there is none, the panel's HTML table is seen.

    python docs/store_outputs.py
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

QUICKSTART = Path(__file__).resolve().parent.parent / "notebooks" / "quickstart.ipynb"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Execute, strip and write."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    client = NotebookClient(notebook, timeout=120, record_timing=False, store_widget_state=False)
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, QUICKSTART)
    print(f"stored the outputs in {QUICKSTART.name}")


if __name__ == "__main__":
    main()
