"""What README.md promises a newcomer is what is run elsewhere too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def commands() -> list[str]:
    """The set-up commands: the shell blocks that make a virtual environment."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return [block.strip() for block in blocks if "-m venv" in block]


def test_there_are_two_commands_to_set_up_and_each_is_one_line() -> None:
    main_job, tests = commands()
    assert main_job.endswith("embtool neighbors strawberry")
    assert "pytest" in tests
    assert "\n" not in main_job + tests


@pytest.mark.parametrize("file", [".ci/run"])
def test_the_checks_run_the_very_command_of_the_readme(file: str) -> None:
    assert commands()[1] in (ROOT / file).read_text("utf-8").splitlines()


def test_the_recipes_do_what_the_commands_do() -> None:
    recipes = (ROOT / "Makefile").read_text("utf-8").replace("$(PYTHON)", "python3").replace("$(BIN)", ".venv/bin")
    for command in commands():
        for step in command.split(" && "):
            assert step in recipes
