"""`embtool diff`: which rows moved between two models."""

from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.explanations import About, explain_diff
from embtool.cli.options import ExplainOptions, OutputOptions, RowOptions, TableName, Top, find_table
from embtool.questions.diff import Matching, ask_diff
from embtool.table_diff import Moved

FOUND = 1
"""The exit status of --exit-code when there is a difference."""


def run(
    typed: Annotated[
        list[str] | None,
        typer.Argument(metavar="A B", autocompletion=completion.models, help="The model before, and the one after."),
    ] = None,
    *,
    top: Top = 10,
    by: Annotated[Matching, typer.Option(help="Match rows by token, or by id.")] = Matching.TOKEN,
    rank: Annotated[
        Moved, typer.Option(help="How far a row moved: relative to its length, distance, or cosine.")
    ] = Moved.RELATIVE,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with status 1 if there is any difference, as git does.")
    ] = False,
    table: TableName = "input",
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Compare the tables of two models, row by row: a base and its fine-tune, or an original and a quantised copy.

    Rows are matched by their tokens. First what is the same, changed, only here, only there, and which ids have another
    token; then the worst rows: those that hold NaN or infinity, then those that moved farthest, and how far that is
    beyond the median of all that changed, in robust standard deviations (sd). -k limits each kind.
    """
    first, second = model.two(typed, "embtool diff A B")
    ours, theirs = find_table(first, table), find_table(second, table)
    found = ask_diff(ours, theirs, k=top, by=by, rank=rank)
    output.emit(found)
    if explain.explain:
        one, other = (About(each, model.reached, asked.table) for each, asked in ((first, ours), (second, theirs)))
        explain_diff(one, other, found).show(output.format)
    if exit_code and found.comparison.differs:
        raise typer.Exit(FOUND)
