"""`embtool use`: the default model."""

from pathlib import Path
from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.options import OutputOptions
from embtool.model import open_model
from embtool.output import Card, Section
from embtool.settings import BUNDLED, choose_model, save_model, settings_file


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
    document = {"model": reference, "why": why, "file": str(settings_file())}
    lines = [("model", reference), ("why", why), ("kept in", document["file"])]
    output.emit(Card("use", "default model", document, [Section("", lines)], document))


def _checked(model: str) -> str:
    """Open the model once, so that a mistyped name is not saved; a local path is saved whole."""
    opened = open_model(model)
    if opened.source.local and model != BUNDLED:
        return str(Path(model).expanduser().absolute())
    return model
