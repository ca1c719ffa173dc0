"""`embtool info`: what a model's tables are, from its headers."""

from collections.abc import Iterator
from typing import Annotated

import typer

from embtool.answers import Answer, Failure
from embtool.cli import completion
from embtool.cli.command_run import hint_mistyped_path
from embtool.cli.explanations import explain_info
from embtool.cli.lines import read_lines
from embtool.cli.messages import report
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions
from embtool.errors import EmbtoolError
from embtool.hub.crew import in_order
from embtool.model import Model
from embtool.questions.info import InfoAnswer, ask_info

NOT_FOUND = 3

SIDE_BY_SIDE = 6
"""Models looked at at a time: each costs some ten short requests, and a hub allows hundreds in a minute."""


def run(
    typed: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", autocompletion=completion.models, help="Models; - reads them from stdin."),
    ] = None,
    *,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Tell what a model's embedding tables are, from config.json and headers; the weights are never read.

    Shape, dtype, size and file of every table; whether input and output are tied; which rows no token has; how
    positions work; the context length. A part that cannot be read is told, and the others are shown: the exit status is
    then that part's.
    """
    asked = [*(typed or ()), *(model.models or ())]
    names = list(read_lines()) if asked == ["-"] else asked
    default = None if names else model.open()
    if default is not None:
        names = [default.name]
    failed: list[str] = []
    statuses: list[int] = []
    opened: dict[str, Model] = {}

    def look(name: str) -> InfoAnswer | EmbtoolError:
        try:
            opened[name] = default or model.open_named(name)
            return ask_info(opened[name])
        except EmbtoolError as error:
            hint_mistyped_path(error, getattr(opened.get(name), "source", None))
            return error

    def answers() -> Iterator[Answer | Failure]:
        for name, found in zip(names, in_order(names, look, SIDE_BY_SIDE), strict=True):
            if isinstance(found, InfoAnswer):
                statuses.append(found.status)
                yield found
                continue
            if len(names) == 1:
                raise found
            report(found, about=name)
            failed.append(name)
            yield Failure("model", name, found)

    alone = None if len(names) > 1 else next(answers())
    output.emit(alone if isinstance(alone, Answer) else answers(), blank=InfoAnswer)
    if explain.explain:
        explain_info(next(opened[name] for name in names if name not in failed), model.reached).show(output.format)
    status = NOT_FOUND if failed else max(statuses, default=0)
    if status:
        raise typer.Exit(status)
