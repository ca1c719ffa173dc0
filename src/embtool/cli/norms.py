"""`embtool norms`: the statistics of a table."""

from dataclasses import dataclass
from typing import Annotated

import typer

from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_norms
from embtool.cli.options import (
    ExplainOptions,
    ModelName,
    OutputOptions,
    RowOptions,
    TableName,
    TokenOptions,
    TokensAsked,
    find_table,
)
from embtool.questions.norms import TokenNormsAnswer, ask_norms, ask_row_norms, ask_token_norms
from embtool.questions.vocab import Search
from embtool.tables.categories import Category
from embtool.tables.norms import row_norms


@dataclass(frozen=True)
class SpectrumOptions:
    """Whether the spread of the variance is told, and how exactly."""

    spectrum: Annotated[
        bool, typer.Option("--spectrum/--no-spectrum", help="Tell how the variance spreads over directions.")
    ] = True
    all_rows: Annotated[
        bool,
        typer.Option(
            "--all-rows", help="Find that from every row, not from a sample of a large table's: it takes minutes."
        ),
    ] = False


def run(
    named: ModelName = None,
    *,
    tokens: TokensAsked = None,
    top: Annotated[
        int | None, typer.Option("-k", "--top", min=1, help="How many rows of each end; 10 unless said.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List every row with its norm instead.")] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Of shortest, longest and --list only tokens whose text matches."),
    ] = None,
    category: Annotated[
        list[Category] | None, typer.Option(help="Of these only this kind of token; again for more.")
    ] = None,
    variance: SpectrumOptions,
    table: TableName = "input",
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Describe a table: how long its rows are, the shortest and longest by name, what rows have in common.

    The mean row and its share of all squared lengths; the average cosine of two rows; the effective rank, which is the
    participation ratio of the variances along the principal axes; rows that are zero, not finite, or the same bit by
    bit. With --token: where its row's norm stands among all. With --only and --category the shortest and longest are
    those of the rows that match, and how long these are is told beside how long all are.
    """
    if tokens and listing:
        raise typer.BadParameter("--list shows every row: name no tokens beside it")
    if listing and top is not None:
        raise typer.BadParameter("--list shows every row: leave out -k")
    if variance.all_rows and (tokens or listing or not variance.spectrum):
        raise typer.BadParameter("--all-rows is about the spectrum, which is not asked for")
    search = Search(only, categories=frozenset(category or ()))
    if tokens and search != Search():
        raise typer.BadParameter("--token shows the rows named: leave out --only and --category")
    opened = model.open(named)
    asked = find_table(opened, table)
    batch = Batch(tokens, token, asked) if tokens else None
    if batch is not None:
        norms = row_norms(asked.table)
        if batch.typed is not None:
            output.emit(ask_token_norms(asked, batch.all(), norms))
        else:
            answers = batch.answers(lambda queries: [ask_token_norms(asked, [query], norms) for query in queries])
            output.emit(answers, blank=TokenNormsAnswer(asked.model, asked.role, ()))
    elif listing:
        output.emit(ask_row_norms(asked, search))
    else:
        k = 10 if top is None else top
        output.emit(ask_norms(asked, k=k, **vars(variance), search=search))
    if explain.explain:
        about = About(opened, model.reached, asked.table, None if batch is None else batch.first)
        explain_norms(about).show(output.format)
    if batch is not None:
        batch.finish()
