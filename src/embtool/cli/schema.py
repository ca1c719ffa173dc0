"""`embtool schema`: the JSON Schema of what a command prints."""

import json
from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.options import OutputOptions
from embtool.output import Column, Format, Group, Listing
from embtool.schemas import FILES_ONLY, SHAPES, documents, schema

COLUMNS = (Column("command", style="bold"), Column("document"), Column("about", terminal=False))

PLAN = "plan"
"""The document of --dry-run, which is no command's own."""


def run(
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            autocompletion=completion.choices(*dict.fromkeys(name.split("-")[0] for name in SHAPES if name != PLAN)),
            help="A command; without it, what has a schema.",
        ),
    ] = None,
    *,
    output: OutputOptions,
) -> None:
    """Print the JSON Schema (2020-12) of what a command prints with --json, for validators and code generators.

    Keys that a schema names are API; a document may hold more.
    """
    if command is None:
        output.emit(_list())
        return
    if output.asked not in (None, Format.JSON, Format.TABLE):
        raise typer.BadParameter("a schema is JSON: leave out the format")
    if command in FILES_ONLY:
        raise typer.BadParameter(f"{command} prints no document: it writes files")
    if not documents(command):
        raise typer.BadParameter(f"there is no schema of {command!r}: `embtool schema` lists them")
    print(json.dumps(schema(command), indent=2))  # noqa: T201 - a schema is its own format


def _list() -> Listing:
    """List every document."""
    from embtool.cli import COMMANDS  # noqa: PLC0415 - the commands' own module imports no command

    records = [
        {
            "command": name if name == PLAN else _command(name),
            "document": f"embtool/{name}@1",
            "about": "What --dry-run would fetch." if name == PLAN else COMMANDS[_command(name)][1],
        }
        for name in SHAPES
    ]
    return Listing("schema", COLUMNS, [Group(records)], "schemas")


def _command(document: str) -> str:
    return document.split("-", maxsplit=1)[0]
