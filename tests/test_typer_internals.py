"""What is used of typer and huggingface_hub without a promise is still there, and does what it is used for.

If one of these fails after an update, `cli/typer_internals.py` or `hub/small.py` is the place to mend.
"""

from __future__ import annotations

import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.core
from huggingface_hub import get_session
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined] # documented there, not in __all__
from program import Program

from embtool.cli import typer_internals as internals


class Choice(Enum):
    ONE = "one"


def command() -> Any:
    app = typer.Typer(add_completion=False)

    @app.command()
    def run(
        words: list[str],
        number: Annotated[int, typer.Option(min=1, max=9)] = 1,
        choice: Choice = Choice.ONE,
        file: Path = Path(),
    ) -> None:
        typer.echo(repr((words, number, choice.value, str(file))))

    return typer.main.get_command(app)


def parameters() -> dict[str, Any]:
    return {parameter.name: parameter for parameter in command().params}


def test_a_parameter_says_what_it_takes() -> None:
    found = parameters()
    assert [internals.value_type(found[name]) for name in ("number", "choice", "words")] == [int, Choice, list[str]]
    assert internals.bounds(found["number"]) == (1, 9)
    assert [internals.takes_files(found[name]) for name in ("file", "number")] == [True, False]
    assert not internals.takes_files(command())


def test_an_argument_is_shown_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    asked = command()
    internals.show_argument_as(next(one for one in asked.params if one.name == "words"), "[WORD...]")
    asked.main(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert text.count("[WORD...]") == 1
    assert "list[str]" not in text


@pytest.mark.parametrize(("option", "value"), [("--number", "many"), ("--choice", "two")])
def test_the_value_refused_is_known(option: str, value: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        command().main([option, value, "x"], standalone_mode=False)
    assert internals.rejected_value(refused.value) == value
    assert internals.rejected_value(typer.BadParameter("something else")) is None


def test_texts_are_not_checked_by_pydantic(run: Program) -> None:
    internals.pass_texts()
    assert isinstance(vars(typer.core._TyperParameter)[internals.SEAM], internals._Seam)
    code = "import sys; from embtool.cli import run; run(['row', 'id:3']); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=run.environment(), capture_output=True, check=True)
    assert done.stdout.endswith(b"False\n")


def test_shells_have_the_methods_that_are_overridden() -> None:
    for name in ("source_vars", "get_completion_args", "format_completion", "complete"):
        assert callable(getattr(internals.ShellComplete, name))
    assert internals.CompletionItem("value", help="about").help == "about"
    shell = internals.shell_name()
    assert shell is None or shell.islower()


def test_the_client_of_huggingface_hub_has_hooks() -> None:
    hooks = get_session().event_hooks
    assert {"request", "response"} <= set(hooks)
    assert callable(tqdm.update)
