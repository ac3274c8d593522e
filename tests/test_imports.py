"""Who may import whom. The table here is the map of the house; CONTRIBUTING.md shows it to people."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import bgpool_jupyter

PACKAGE = "bgpool_jupyter"

#: Files of a room, lowest first: each may import those that stand before it, and what the room may import (ROOMS).
FILES = {
    "engine": (
        "errors arguments clock cron schedule deadlines globs output coroutines results loop retry states "
        "settings events runs frames lints stacks calls listeners jobs starts snapshots previews facts readings worker "
        "recorder executors seats watch crew machine runner pool __init__"
    ),
    "kernel": (
        "__init__ times options grammar naming ownership capture inputs cells definitions reports stacks "
        "recording past "
        "patches faults files export loading verbs debugging completion magics reloading resets lifecycle"
    ),
    "journal": "files locks schema rows limits store reader writer __init__",
    "panel": "wire commands route model shared looks pages panel __init__",
}


class Room(NamedTuple):
    """What the files of a room may import beside each other."""

    rooms: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()


#: A file that stands directly in the package is a room of its own.
ROOMS = {
    # pandas only inside to_frame() and history_frame(); that the import of the engine loads none is tested below.
    "engine": Room(packages=frozenset({"cronsim", "pandas", "tzlocal"})),
    "background": Room(frozenset({"engine"})),
    "card": Room(frozenset({"engine"})),
    "journal": Room(frozenset({"engine"})),
    "overview": Room(frozenset({"engine", "card", "table"})),
    "table": Room(frozenset({"engine"})),
    "testing": Room(frozenset({"engine"})),
    "kernel": Room(frozenset({"engine", "background", "card", "journal", "overview", "table"}), frozenset({"IPython"})),
    "panel": Room(
        frozenset({"engine", "background", "card", "overview", "table"}),
        frozenset({"IPython", "anywidget", "ipywidgets", "traitlets"}),
    ),
    # The root ties the rooms together, inside functions; that nothing heavy is loaded by its import is tested below.
    "": Room(
        frozenset({"engine", "background", "card", "overview", "table", "testing", "kernel", "panel"}),
        frozenset({"IPython"}),
    ),
}


class Edge(NamedTuple):
    """One import: the file that has it and the module that it names."""

    importer: str
    imported: str
    line: int


def modules(top: Path) -> dict[str, Path]:
    """Return every module below `top` (the folder of the package), by its dotted name without the package's."""
    found = {}
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top).with_suffix("").parts
        found[".".join(parts)] = path
    return found


def absolute(name: str, here: list[str]) -> str:
    """Return the name without leading dots, as seen from the package `here`."""
    module = name.lstrip(".")
    level = len(name) - len(module)
    base = here[: len(here) - level + 1] if level else []
    return ".".join([*base, *([module] if module else [])])


def imports(name: str, source: str) -> list[Edge]:
    """Return the imports of one module, at the top, in functions and below TYPE_CHECKING alike, as absolute names."""
    edges = []
    here = [PACKAGE, *name.split(".")[:-1]]  # the package that a relative import starts from
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            edges += [Edge(name, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = absolute("." * node.level + (node.module or ""), here)
            edges += [Edge(name, f"{origin}:{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in {"import_module", "importlib.import_module", "__import__"}:
                edges.append(Edge(name, absolute(str(node.args[0].value), here), node.lineno))
    return edges


def target(edge: Edge, known: set[str]) -> str | None:
    """Return the module of this package that an edge leads to ("__init__" is the root), None when it leads outside."""
    origin, _, attribute = edge.imported.partition(":")
    first, *rest = origin.split(".")
    if first != PACKAGE:
        return None
    path = ".".join([*rest, attribute]) if attribute else ".".join(rest)
    for candidate in (path, f"{path}.__init__", ".".join(rest)):
        if candidate in known:
            return candidate
    return ".".join([*rest, "__init__"])


def room(module: str) -> str:
    """Return the room that a module stands in: the folder, or the file itself, or "" for the root."""
    first = module.partition(".")[0]
    return "" if first == "__init__" else first


def fault(edge: Edge, known: set[str]) -> str | None:
    """Return why an import is not allowed, None when it is."""
    home = room(edge.importer)
    if home not in ROOMS:
        return "the file has no row in this test's tables: decide what it may import"
    inside = target(edge, known)
    if inside is None:
        outside = edge.imported.partition(":")[0].split(".")[0]
        allowed = outside in sys.stdlib_module_names or outside in ROOMS[home].packages
        return None if allowed else f"{home or 'the root'} may not import {outside}"
    if inside == "__init__":
        return "nothing imports the package root"
    if room(inside) != home:
        return None if room(inside) in ROOMS[home].rooms else f"{home} may not import {room(inside)}"
    order = FILES.get(home, "").split()
    above, below = edge.importer.rpartition(".")[2], inside.rpartition(".")[2]
    if above not in order or below not in order:
        return f"{above} or {below} has no place in the order of {home}: give it one"
    return None if order.index(below) < order.index(above) else f"{below} does not stand before {above} in {home}"


def faults(top: Path) -> list[str]:
    """Return every import below `top` that the tables do not allow, as lines for people."""
    found = modules(top)
    lines = []
    for name, path in found.items():
        for edge in imports(name, path.read_text(encoding="utf-8")):
            why = fault(edge, set(found))
            if why:
                lines.append(f"{path.relative_to(top.parent)}:{edge.line}: {edge.imported}: {why}")
    return lines


def test_imports_run_one_way() -> None:
    top = Path(bgpool_jupyter.__file__).parent
    assert len(modules(top)) > 10
    assert faults(top) == []


def test_every_file_has_its_place() -> None:
    top = Path(bgpool_jupyter.__file__).parent
    for folder, order in FILES.items():
        files = {path.stem for path in (top / folder).glob("*.py")}
        assert files == set(order.split()), folder


TREE = {
    "__init__.py": "def __getattr__(name):\n    from .panel.panel import Panel\n    return Panel\n",
    "engine/__init__.py": "from .errors import PoolError\nfrom bgpool_jupyter.engine.pool import WorkerPool\n",
    "engine/errors.py": "import threading\n",
    "engine/pool.py": "from . import errors\nfrom .errors import PoolError\n",
    "background.py": "from .engine import WorkerPool\n",
    "kernel/__init__.py": "",
    "kernel/cells.py": "from IPython.core import magic\nfrom bgpool_jupyter.engine.pool import WorkerPool\n",
    "kernel/magics.py": "from .cells import Cell\nfrom ..background import default_pool\n",
    "panel/__init__.py": "",
    "panel/panel.py": "import anywidget\nfrom ..engine import WorkerPool\n",
}


def write_tree(folder: Path, changes: dict[str, str]) -> Path:
    """Write a small package of the same shape, with some files changed, and return its folder."""
    top = folder / PACKAGE
    for name, text in (TREE | changes).items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return top


def test_checker_accepts_a_right_tree(tmp_path: Path) -> None:
    assert faults(write_tree(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("engine/errors.py", "from .pool import WorkerPool", "pool does not stand before errors"),
        ("engine/errors.py", "from . import pool", "pool does not stand before errors"),
        ("engine/errors.py", "import bgpool_jupyter.engine.pool", "pool does not stand before errors"),
        ("engine/errors.py", "from bgpool_jupyter.engine import pool", "pool does not stand before errors"),
        ("engine/errors.py", "from . import PoolError", "__init__ does not stand before errors"),
        ("engine/errors.py", "def f():\n    import IPython", "engine may not import IPython"),
        ("engine/errors.py", "if TYPE_CHECKING:\n    from ..kernel import cells", "engine may not import kernel"),
        ("engine/errors.py", "from ..background import default_pool", "engine may not import background"),
        ("engine/errors.py", "import_module('bgpool_jupyter.kernel.cells')", "engine may not import kernel"),
        ("kernel/magics.py", "importlib.import_module('..panel.panel', __package__)", "kernel may not import panel"),
        ("engine/errors.py", "import apscheduler", "engine may not import apscheduler"),
        ("engine/newcomer.py", "from .errors import PoolError", "newcomer or errors has no place"),
        ("background.py", "from .kernel.cells import Cell", "background may not import kernel"),
        ("background.py", "import traitlets", "background may not import traitlets"),
        ("kernel/magics.py", "from ..panel.panel import Panel", "kernel may not import panel"),
        ("kernel/magics.py", "from ..panel import Panel", "kernel may not import panel"),
        ("kernel/magics.py", "import ipywidgets.widgets", "kernel may not import ipywidgets"),
        ("kernel/cells.py", "from . import magics", "magics does not stand before cells"),
        ("kernel/cells.py", "from .. import Panel", "nothing imports the package root"),
        ("kernel/cells.py", "import bgpool_jupyter", "nothing imports the package root"),
        ("kernel/cells.py", "from bgpool_jupyter import Panel", "nothing imports the package root"),
        ("panel/panel.py", "from ..kernel.cells import Cell", "panel may not import kernel"),
        ("panel/panel.py", "import matplotlib", "panel may not import matplotlib"),
        ("newroom.py", "from .engine import WorkerPool", "has no row"),
    ],
)
def test_checker_refuses_a_wrong_edge(tmp_path: Path, file: str, text: str, why: str) -> None:
    found = faults(write_tree(tmp_path, {file: text}))
    assert len(found) == 1
    assert why in found[0]
    assert found[0].startswith(f"{PACKAGE}/{file}:")


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(answer.stdout))


def test_engine_is_imported_without_jupyter() -> None:
    loaded = loaded_by(
        "import bgpool_jupyter, bgpool_jupyter.engine, bgpool_jupyter.background, bgpool_jupyter.testing"
    )
    assert "bgpool_jupyter" in loaded
    heavy = {
        "IPython",
        "traitlets",
        "ipywidgets",
        "anywidget",
        "ipykernel",
        "comm",
        "zmq",
        "matplotlib",
        "pandas",
        "psutil",
    }
    assert loaded & heavy == set()


def test_probe_sees_what_an_import_loads() -> None:
    assert "traitlets" in loaded_by("import traitlets")
