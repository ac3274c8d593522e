"""Settings of Sphinx."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
TOP = DOCS.parent
sys.path.insert(0, str(DOCS / "_ext"))

with (TOP / "pyproject.toml").open("rb") as file:
    metadata = tomllib.load(file)["project"]

project = metadata["name"]
author = metadata["authors"][0]["name"]
copyright = author  # noqa: A001 - Sphinx calls it so
version = release = metadata["version"]

# The notebooks stand where people open them; Sphinx wants them below its own folder.
for notebook in (TOP / "notebooks").glob("*.ipynb"):
    shutil.copyfile(notebook, DOCS / notebook.name)

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "generated"]
exclude_patterns = ["_build"]

# The tests execute the tutorial; here its stored outputs are shown. A page without a kernel shows no widget,
# so that the panel's HTML table stands in for it.
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 2

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
python_maximum_signature_line_length = 100
nitpicky = True
# Links into other projects' pages would need the network. Names of our own have to resolve.
nitpick_ignore_regex = [
    (r"py:.*", r"(_thread|anywidget|collections|concurrent|datetime|fnmatch|logging|os|t|threading|traitlets)(\..*)?"),
    # How attributes get two spellings and checks is the engine's affair.
    (r"py:class", r"bgpool_jupyter\.engine\.(settings\..*|pool\.Callback)|bgpool_jupyter\.background\._Live"),
]

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
