"""The README keeps its word: its commands are those of CI, its links lead somewhere, its code runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
CI = (TOP / ".ci" / "run").read_text(encoding="utf-8")


def blocks(language: str, section: str) -> list[str]:
    """Return the fenced blocks of a language in the section with that heading."""
    _, found, rest = README.partition(f"\n## {section}\n")
    assert found, f"the README has no section {section!r}"
    text = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the two commands that people copy."""
    return [block.strip() for block in blocks("bash", "Try it")]


def run_program(program: str, cells: list[str], folder: Path) -> str:
    """Run a program in a fresh interpreter, with blocks of the README on its input, and return what it printed."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=json.dumps(cells),
        cwd=folder,
        env=os.environ | {"IPYTHONDIR": str(folder / "ipython")},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr, answer.stderr
    return answer.stdout


def test_two_commands_of_one_line() -> None:
    assert len(commands()) == 2
    assert all("\n" not in command for command in commands())


def test_test_command_is_the_one_of_ci() -> None:
    _, test = commands()
    assert test.endswith("-m pytest")
    lines = [line for line in CI.splitlines() if line and not line.startswith("#")]
    assert lines[-1] == test
    assert sum("pytest" in line for line in lines) == 1


def test_ci_runs_every_check() -> None:
    for check in ("ruff check .", "ruff format --check .", "mypy --strict", "sphinx-build", "-W -n"):
        assert check in CI
    assert "set -euo pipefail" in CI


@pytest.mark.parametrize("command", commands())
def test_commands_name_what_exists(command: str) -> None:
    subprocess.run(["bash", "-n", "-c", command], check=True, timeout=30)
    extras = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"\.\[(\w+)\]", command)) <= set(extras)
    assert all((TOP / path).is_file() for path in re.findall(r"\S+\.ipynb", command))


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    inside = [link for link in links if not link.startswith("https://")]
    assert inside
    assert [link for link in inside if not (TOP / link.partition("#")[0]).exists()] == []


def test_tour_runs_in_a_kernel_shell(tmp_path: Path) -> None:
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import json, sys\n"
        "shell = InteractiveShell.instance()\n"
        "for block in json.load(sys.stdin):\n"
        "    shell.run_cell(block, store_history=True).raise_error()\n"
        "assert shell.user_ns['job'].result() == 49999995000000\n"
        "assert shell.user_ns['seen']\n"
        "shell.run_line_magic('unload_ext', 'bgpool_jupyter')\n"
        "print('THE TOUR ENDED')\n"
    )
    assert "THE TOUR ENDED" in run_program(program, blocks("python", "A tour of five minutes"), tmp_path)


@pytest.mark.parametrize("block", blocks("python", "From Python"), ids=lambda block: block.splitlines()[0])
def test_python_blocks_run(block: str, tmp_path: Path) -> None:
    program = "import json, sys\n[block] = json.load(sys.stdin)\nexec(block, {})\nprint('THE BLOCK ENDED')\n"
    assert "THE BLOCK ENDED" in run_program(program, [block], tmp_path)
