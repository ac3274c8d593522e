"""The kernels that .ci/kernels tests are those that the package allows and the documentation names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def versions():
    found = re.search(r"^VERSIONS=\((.*)\)$", (TOP / ".ci" / "kernels").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1].split()


def test_documentation_has_the_result_of_each_version():
    page = (TOP / "docs" / "what-happens.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+\.\d+\.\d+)[ ,]", page.partition("## Which ipykernel")[2], re.MULTILINE)
    assert ["oldest", *rows[1:]] == versions()


def test_oldest_row_is_the_lower_bounds():
    with (TOP / "pyproject.toml").open("rb") as file:
        needed = tomllib.load(file)["project"]["dependencies"]
    bounds = dict(re.findall(r"^([\w-]+)>=([\w.]+)", "\n".join(needed), re.MULTILINE))
    page = (TOP / "docs" / "what-happens.md").read_text(encoding="utf-8")
    oldest = next(line for line in page.splitlines() if "lower bound |" in line)
    assert f"| {bounds['ipykernel']}." in oldest
    for package in ("ipython", "ipywidgets", "anywidget", "traitlets"):
        assert f"{package} {bounds[package]}" in oldest


def test_each_minor_version_from_the_oldest_on_is_tested():
    minors = {version.rpartition(".")[0] for version in versions()[1:]}
    assert minors == {"6.29", "6.30", "6.31", "7.0", "7.1", "7.2", "7.3", "7.4"}
