"""The GitHub Action and the pre-commit hook at the top of the repository: what they run is what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mutations import MUTATIONS, write_llama

from embtool.cli import COMMANDS

ROOT = Path(__file__).parent.parent
BASH = shutil.which("bash")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a model, and a program of the name that the action calls."""
    write_llama(tmp_path / "my model")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "embtool"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m embtool "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


def run_action(desk: Path, **given: str) -> tuple[int, str]:
    """Run the script of the action's last step as GitHub would; give its status and what the page of the run shows."""
    action = read("action.yml")
    step = action["runs"]["steps"][-1]
    inputs = {name: str(entry.get("default", "")) for name, entry in action["inputs"].items()} | given
    wanted = {key: inputs[value.removeprefix("${{ inputs.").removesuffix(" }}")] for key, value in step["env"].items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMBTOOL_")}
    summary = desk / "summary.md"
    environment = {
        **kept,
        **wanted,
        "PATH": f"{desk / 'bin'}{os.pathsep}{kept['PATH']}",
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    command = [str(BASH), "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, check=False, timeout=120)
    return done.returncode, summary.read_text("utf-8") if summary.is_file() else done.stderr.decode()


@pytest.mark.slow
@pytest.mark.skipif(BASH is None or os.name == "nt", reason="the action's script is bash's")
def test_the_action_checks_a_model(desk: Path) -> None:
    status, page = run_action(desk, model="my model")
    assert (status, "sound as far as" in page) == (0, True), page
    MUTATIONS["bos-differs"][1](desk / "my model")
    status, page = run_action(desk, model="my model", sarif="out.sarif", deep="true")
    assert status == 1
    assert "| warning | bos-differs |" in page
    assert (desk / "out.sarif").is_file()
    assert run_action(desk, model="my model", ignore="bos-differs")[0] == 0
    assert run_action(desk, model="my model", level="error")[0] == 0
    assert run_action(desk, model="$(touch owned)")[0] != 0
    assert not (desk / "owned").exists()


def test_inputs_of_the_action_are_never_part_of_a_script() -> None:
    for step in read("action.yml")["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        uses = step.get("uses", "@" + "0" * 40)
        assert len(uses.partition("@")[2].split()[0]) == 40, "an action is named by its commit"


def test_the_hook_runs_check(desk: Path) -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    program, command = hook["entry"].split()
    assert (program, command) == ("embtool", "check")
    assert command in COMMANDS
    assert hook["pass_filenames"] is False
    line = [sys.executable, "-m", *hook["entry"].split(), str(desk / "my model")]
    assert subprocess.run(line, capture_output=True, check=False, timeout=120).returncode == 0
