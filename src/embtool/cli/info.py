"""`embtool info`: what a model's tables are, from its headers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated

import typer

from embtool.answers import Answer, Failure
from embtool.cli import completion
from embtool.cli.command_run import hint_mistyped_path
from embtool.cli.lines import Line, checked, read_entries
from embtool.cli.messages import report
from embtool.cli.options import ExplainOptions, ModelOptions
from embtool.cli.output_file import FileOutputOptions
from embtool.errors import EmbtoolError
from embtool.model import Model
from embtool.questions.info import InfoAnswer, ask_info
from embtool.references import listed

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
    output: FileOutputOptions,
    explain: ExplainOptions,
) -> None:
    """Tell what a model's embedding tables are, from config.json and headers; the weights are never read.

    Shape, dtype, size and file of every table; whether input and output are tied; which rows no token has; how
    positions work; the context length. A part that cannot be read is told, and the others are shown: the exit status is
    then that part's.
    """
    output.check()
    names, default = _asked([*(typed or ()), *(model.models or ())], model)
    many = len(names) > 1
    failed: list[Line] = []
    statuses: list[int] = []

    def look(name: Line) -> InfoAnswer | EmbtoolError:
        opened = default
        try:
            opened = opened or model.open_named(checked(name))
            return ask_info(opened)
        except EmbtoolError as error:
            hint_mistyped_path(error, getattr(opened, "source", None))
            return error
        finally:
            if many and opened is not None:
                opened.close()
                model.run.let_go(opened.source)

    def answers() -> Iterator[Answer | Failure]:
        for name, found in zip(names, _looked(names, look), strict=True):
            if isinstance(found, InfoAnswer):
                statuses.append(found.status)
                yield found
                continue
            if not many:
                raise found
            known = name if isinstance(name, str) else None
            report(found, about=known)
            failed.append(name)
            yield Failure("model", known, found)

    alone = None if many else next(answers())
    output.write(alone if isinstance(alone, Answer) else answers(), InfoAnswer, is_dry=model.dry_run)
    if explain.explain:
        from embtool.cli.explanations import explain_info  # noqa: PLC0415 - where it is asked for

        first = next(name for name in names if isinstance(name, str) and name not in failed)
        explain_info(default or model.open_named(first), model.reached).show(output.format)
    status = NOT_FOUND if failed else max(statuses, default=0)
    if status:
        raise typer.Exit(status)


def _looked(
    names: Sequence[Line], look: Callable[[Line], InfoAnswer | EmbtoolError]
) -> Iterable[InfoAnswer | EmbtoolError]:
    """Look at models in their order, several side by side where there are several."""
    if len(names) == 1:
        return map(look, names)
    from embtool.hub.crew import in_order  # noqa: PLC0415 - one needs no threads

    return in_order(names, look, SIDE_BY_SIDE)


def _asked(typed: list[str], model: ModelOptions) -> tuple[Sequence[Line], Model | None]:
    """Return the models that are named, on the command line or by stdin; where none is, the default one, opened.

    Stdin names one a line; for a line that is too long there is an error.

    Raises:
        BadParameter: nothing is piped in, or no line names anything.
    """
    if typed == ["-"]:
        lines = (listed(line) if isinstance(line, str) else line for line in read_entries())
        names = [name for name in lines if name]
        if not names:
            raise typer.BadParameter("no MODEL given, and stdin names none")
        return names, None
    if typed:
        return typed, None
    default = model.open()
    return [default.name], default
