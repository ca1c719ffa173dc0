"""`embtool schema`: the JSON Schema of what a command prints."""

import json
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import typer

from embtool.answers import Answer, Format, Listing, column, records
from embtool.answers.schema import schema_of
from embtool.cli import completion
from embtool.cli.options import OutputOptions
from embtool.questions import ANSWERS

PLAN = "plan"
"""The document of --dry-run, which is no command's own."""


@dataclass(frozen=True)
class SchemaRecord:
    """One document."""

    command: str = column("the command that prints it", style="bold")
    document: str = column("its name and version")
    about: str = column("what it says", terminal=False)


@dataclass(frozen=True, repr=False, eq=False)
class SchemasAnswer(Listing[SchemaRecord]):
    """Every document that has a schema."""

    command = "schema"

    schemas: tuple[SchemaRecord, ...] = records("the documents")


def run(
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            autocompletion=completion.choices(*(name for name in ANSWERS if name != PLAN)),
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
        output.emit(list_schemas())
        return
    if output.asked not in (None, Format.JSON, Format.TABLE):
        raise typer.BadParameter("a schema is JSON: leave out the format")
    if command in ("export", "view"):
        raise typer.BadParameter(f"{command} prints no document: it writes files")
    kinds = kinds_of(command)
    if not kinds:
        raise typer.BadParameter(f"there is no schema of {command!r}: `embtool schema` lists them")
    print(json.dumps(schema_of(kinds, f"embtool {command} --json"), indent=2))  # noqa: T201 - a schema is its own format


def kinds_of(name: str) -> list[type[Answer]]:
    """Return the kinds of answer that a command, or a document of one such as `rope-compare`, has."""
    named = ANSWERS.get(name) or ANSWERS.get(name.split("-", maxsplit=1)[0], ())
    kinds: list[type[Answer]] = []
    for place in named:
        module, _, kind = place.partition(":")
        found: type[Answer] = getattr(import_module(module), kind)
        if name in ANSWERS or found.command == name:
            kinds.append(found)
    return kinds


def list_schemas() -> SchemasAnswer:
    """List every document."""
    from embtool.cli import COMMANDS  # noqa: PLC0415 - the commands' own module imports no command

    return SchemasAnswer(
        tuple(
            SchemaRecord(
                command,
                f"embtool/{document}@1",
                "What --dry-run would fetch." if command == PLAN else COMMANDS[command][1],
            )
            for command in (*(name for name in COMMANDS if name in ANSWERS), PLAN)
            for document in dict.fromkeys(kind.command for kind in kinds_of(command))
        )
    )
