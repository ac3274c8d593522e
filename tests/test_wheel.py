"""The wheel: what is inside, and that it works where nothing else of this repository is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, and return what it printed; nothing of this process leads its imports."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    answer = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False, timeout=100)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this tree, by the build backend that is installed here: no network."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=TOP)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment in which only the wheel is installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    options = ["--disable-pip-version-check", "--python", str(interpreter)]
    run(sys.executable, "-m", "pip", *options, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return interpreter


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = {
        path.relative_to(TOP).as_posix()
        for path in (TOP / "bgpool_jupyter").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"bgpool_jupyter-{PROJECT['version']}.dist-info"
    assert names == source | {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    assert {
        "bgpool_jupyter/py.typed",
        "bgpool_jupyter/panel/static/panel.js",
        "bgpool_jupyter/panel/static/panel.css",
    } <= names


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == "bgpool-jupyter"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = {line.split(";")[0].strip() for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {name.rstrip("0123456789.,<>=!* ") for name in needed} == {
        "anywidget",
        "cronsim",
        "ipykernel",
        "ipython",
        "ipywidgets",
        "traitlets",
        "tzdata",
        "tzlocal",
    }


def test_engine_runs_from_the_wheel_without_any_dependency(python: Path, tmp_path: Path) -> None:
    program = (
        "import bgpool_jupyter, threading\n"
        "from bgpool_jupyter.engine import WorkerPool\n"
        "pool, ran = WorkerPool(), threading.Event()\n"
        "pool.new_actor(ran.set).start()\n"
        "assert ran.wait(30)\n"
        "pool.close()\n"
        "print(bgpool_jupyter.__file__, bgpool_jupyter.__version__)\n"
    )
    origin, version = run(python, "-c", program, cwd=tmp_path).split()
    assert Path(origin).is_relative_to(python.parent.parent)
    assert version == PROJECT["version"]


def test_panel_and_magics_load_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    # The dependencies are those of this environment; the package itself comes from the unpacked wheel.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import bgpool_jupyter\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'bgpool_jupyter')\n"
        "panel = bgpool_jupyter.Panel()\n"
        "assert 'render' in str(panel._esm) and str(panel._css)\n"
        "shell.run_line_magic('unload_ext', 'bgpool_jupyter')\n"
        "print(bgpool_jupyter.__file__)\n"
    )
    assert run(sys.executable, "-c", program, cwd=empty).splitlines()[-1].startswith(str(tmp_path / "site"))
