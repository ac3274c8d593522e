"""What the package never does: it deserialises no code, and executes none but the user's own, in few known places."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bgpool_jupyter

TOP = Path(bgpool_jupyter.__file__).parent
SOURCES = {path.relative_to(TOP).as_posix(): path.read_text(encoding="utf-8") for path in sorted(TOP.rglob("*.py"))}

#: Modules that make objects or code of bytes, or that run programs.
REFUSED_MODULES = {
    "_pickle",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "copyreg",
    "dill",
    "jinja2",
    "joblib",
    "jsonpickle",
    "marshal",
    "pickle",
    "pickletools",
    "pty",
    "runpy",
    "shelve",
    "subprocess",
    "xmlrpc",
    "yaml",
    "zipimport",
}
#: Methods that do the same, by whatever they are called on.
REFUSED_METHODS = {
    "allow_pickle",
    "enable_load_extension",
    "ev",
    "ex",
    "execfile",
    "executescript",
    "getoutput",
    "load_extension",
    "popen",
    "read_pickle",
    "register_converter",
    "run_cell",
    "run_cell_async",
    "run_cell_magic",
    "run_code",
    "run_line_magic",
    "safe_execfile",
    "safe_run_module",
    "spawnl",
    "startfile",
    "system",
    "to_pickle",
}
#: The places that compile or execute text: each one what a person wrote into a cell or on the line of a magic.
EXECUTED = {
    "compile": {
        ("kernel/cells.py", "_compile"),  # the body of a cell, on the main thread, when the worker is made
        ("kernel/definitions.py", "evaluate"),  # an expression of an option, such as --data
        ("kernel/resets.py", "_codes_of"),  # the source of a function, to learn the names that it uses; never executed
    },
    "eval": {
        ("kernel/cells.py", "_module_program"),  # the compiled body
        ("kernel/definitions.py", "evaluate"),  # the compiled expression
    },
    "FunctionType": {("kernel/cells.py", "_function_program")},  # the compiled body that names the worker
    "CodeType": set(),
    "exec": set(),
    "__import__": set(),
    "breakpoint": set(),
}


def calls(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Return every call with the name of the outermost function around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield inside, node
        name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""
        yield from calls(node, inside or name)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def executed() -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in EXECUTED}
    for path, source in SOURCES.items():
        for function, call in calls(ast.parse(source)):
            name = ast.unparse(call.func).removeprefix("types.").removeprefix("builtins.")
            if name in found:
                found[name].add((path, function))
    return found


@pytest.mark.parametrize("path", SOURCES)
def test_nothing_is_imported_that_makes_objects_or_code_of_bytes(path: str) -> None:
    assert REFUSED_MODULES.isdisjoint(imported(ast.parse(SOURCES[path])))


@pytest.mark.parametrize("path", SOURCES)
def test_nothing_is_called_that_executes_text(path: str) -> None:
    names = {call.func.attr for _, call in calls(ast.parse(SOURCES[path])) if isinstance(call.func, ast.Attribute)}
    assert REFUSED_METHODS.isdisjoint(names)


def test_text_is_executed_in_known_places_only() -> None:
    assert executed() == EXECUTED


def test_modules_are_imported_by_constant_names() -> None:
    for path, source in SOURCES.items():
        for _, call in calls(ast.parse(source)):
            if ast.unparse(call.func) in {"import_module", "importlib.import_module"}:
                assert isinstance(call.args[0], ast.Constant), path


def test_these_tests_see_what_they_look_for() -> None:
    source = "import pickle.x\nfrom yaml import load\ndef f():\n    def g(): exec('x')\n    return s.run_cell('x')"
    tree = ast.parse(source)
    assert set(imported(tree)) == {"pickle", "yaml"}
    assert [(inside, ast.unparse(call)) for inside, call in calls(tree)] == [
        ("f", "exec('x')"),
        ("f", "s.run_cell('x')"),
    ]


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    root = TOP.parent
    named = set(re.findall(r"`(test_\w+)`", (root / "docs" / "security.md").read_text(encoding="utf-8")))
    assert len(named) > 30
    defined = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named - defined == set()
