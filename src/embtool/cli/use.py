"""`embtool use`: the default model."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Card, Section, value
from embtool.cli import completion
from embtool.cli.options import OutputOptions
from embtool.errors import EmbtoolError, MissingExtra, ModelNotFound, NoVocabulary, TableNotFound
from embtool.model import open_model
from embtool.settings import BUNDLED_MODELS, choose_model, save_model, settings_file


@dataclass(frozen=True, repr=False, eq=False)
class UseAnswer(Card):
    """The default model."""

    command = "use"

    model: str = value("the model that commands use when none is named")
    why: str = value("what chose it")
    file: str = value("where the choice is kept")

    def title(self) -> str:
        """Return what it is."""
        return "default model"

    def sections(self) -> Sequence[Section]:
        """Return the choice."""
        return [Section("", [("model", self.model), ("why", self.why), ("kept in", self.file)])]


def run(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", autocompletion=completion.models, help="The model to use from now on."),
    ] = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Forget the choice; use the bundled model.")] = False,
    output: OutputOptions,
) -> None:
    """Choose the model that commands use when none is named; without MODEL, say which one that is.

    EMBTOOL_MODEL and -m come before this choice.
    """
    if clear and model is not None:
        raise typer.BadParameter("--clear and MODEL exclude each other")
    if model is not None:
        save_model(_checked(model))
    elif clear:
        save_model(None)
    reference, why = choose_model()
    output.emit(UseAnswer(reference, why, str(settings_file())))


def _checked(model: str) -> str:
    """Open the model once, so that what is none is not saved; a local path is saved whole."""
    opened = open_model(model)
    errors: list[EmbtoolError] = []
    for part in ("tables", "vocabulary", "config"):
        try:
            if getattr(opened, part) is not None:
                break
        except (TableNotFound, NoVocabulary, MissingExtra) as error:
            errors.append(error)
    else:
        raise ModelNotFound(f"{model} is not a model: it has neither tables nor a tokenizer nor a config") from errors[
            0
        ]
    if opened.source.local and model not in BUNDLED_MODELS:
        return str(Path(os.path.expanduser(model)).absolute())  # noqa: PTH111 - `~` stays where nobody has it
    return model
