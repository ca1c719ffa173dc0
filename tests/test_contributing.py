"""What a contributor finds is in order: workflows, templates, recipes, versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import embtool

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"])
WORKFLOWS = [path for path in FILES if path.parent.name == "workflows"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def parsed(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_yaml(path: Path) -> None:
    assert isinstance(parsed(path), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_little_and_runs_what_it_names(path: Path) -> None:
    text, workflow = path.read_text("utf-8"), parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert "secrets." not in text
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"]
        for step in job["steps"]:
            assert "checkout" not in step.get("uses", "") or step["with"] == {"persist-credentials": False}
            assert "${{ github" not in step.get("run", ""), "a title or a branch is a stranger's"


def test_every_recipe_named_is_one() -> None:
    recipes = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *WORKFLOWS, ROOT / ".ci" / "run"]
    named = {
        recipe
        for page in pages
        for line in re.findall(r"(?:`|^|run: )make ((?:[a-z-]+ ?)+)", page.read_text("utf-8"), re.MULTILINE)
        for recipe in line.split()
    }
    nightly = parsed(ROOT / ".github" / "workflows" / "nightly.yml")["jobs"]["recipe"]["strategy"]["matrix"]["recipe"]
    assert {"lint", "check-docs"} <= named
    assert named | {recipe.split()[0] for recipe in nightly} <= recipes


def test_the_versions_of_python_are_those_that_are_promised() -> None:
    promised = re.findall(r":: (3\.\d+)(?=')", str(PROJECT["classifiers"]))
    assert (
        parsed(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"] == promised
    )
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_the_version_is_the_same_everywhere() -> None:
    assert parsed(ROOT / "CITATION.cff")["version"] == embtool.__version__
    changelog = (ROOT / "docs" / "changelog.md").read_text("utf-8")
    first, *released = re.findall(r"^## \[?([\w.]+)", changelog, re.MULTILINE)
    assert first == "Unreleased"
    assert released[0] == embtool.__version__
    assert f"[{embtool.__version__}]: {PROJECT['urls']['Source']}/" in changelog
