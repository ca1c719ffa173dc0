"""`embtool neighbors`: the nearest rows, ranked."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Answer, Failure
from embtool.cli import completion
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_neighbors
from embtool.cli.options import (
    ExplainOptions,
    Metric,
    OutputOptions,
    RowOptions,
    TableName,
    Texts,
    TokenOptions,
    Top,
    find_table,
)
from embtool.cli.reading import read_vectors
from embtool.questions.neighbors import Filters, open_ranking

FILTERS = "Candidates"


@dataclass(frozen=True)
class FilterOptions:
    """Which rows may be answered."""

    only: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Answer only tokens whose text matches.", rich_help_panel=FILTERS),
    ] = None
    words: Annotated[
        bool, typer.Option("--words", help="Answer whole words only, no parts of words.", rich_help_panel=FILTERS)
    ] = False
    distinct: Annotated[
        bool,
        typer.Option(
            "--distinct",
            help="Leave out what differs only in case or spaces from the query or from a row before.",
            rich_help_panel=FILTERS,
        ),
    ] = False
    no_special: Annotated[
        bool, typer.Option("--no-special", help="Leave out special tokens.", rich_help_panel=FILTERS)
    ] = False
    no_padding: Annotated[
        bool, typer.Option("--no-padding", help="Leave out rows that no token has.", rich_help_panel=FILTERS)
    ] = False
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Let the query's own rows be answered.", rich_help_panel=FILTERS)
    ] = False

    @property
    def filters(self) -> Filters:
        """The rows that may be answered."""
        return Filters(
            self.only,
            special=not self.no_special,
            padding=not self.no_padding,
            own=self.include_self,
            words=self.words,
            distinct=self.distinct,
        )


@dataclass(frozen=True)
class QueryOptions:
    """What is a query instead of the tokens named, and what is done to it first."""

    every: Annotated[
        bool, typer.Option("--all", help="Ask for every row of the table, in the order of ids; the same as id:0..LAST.")
    ] = False
    vector: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Query with numbers: npy, JSON, the TSV of `row`, or x.safetensors:TENSOR#ROWS; - is stdin.",
            readable=False,
        ),
    ] = None
    through_norm: Annotated[
        bool,
        typer.Option(
            "--through-norm",
            help="The model's final norm first, then its output table: the raw logit lens of a vector.",
        ),
    ] = False
    center: Annotated[bool, typer.Option("--center", help="Remove the table's mean row from query and rows first.")] = (
        False
    )

    def texts(self, tokens: list[str] | None, rows: int) -> list[str] | None:
        """The texts that are looked up; all rows of the table are one range.

        Raises:
            BadParameter: two things are asked for at once.
        """
        if self.vector is not None and (tokens or self.every):
            raise typer.BadParameter("--vector is the query: name no tokens beside it")
        if self.every and tokens:
            raise typer.BadParameter("--all asks for every row: name no tokens beside it")
        return [f"id:0..{rows - 1}"] if self.every else tokens


def run(
    tokens: Texts = None,
    *,
    top: Top = 10,
    metric: Annotated[
        Metric | None, typer.Option(help="How nearness is measured; cosine unless said, dot behind a norm.")
    ] = None,
    table: TableName = "input",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="input|output",
            autocompletion=completion.tables,
            help="Rank this table's rows instead: input or output.",
            rich_help_panel="Model",
        ),
    ] = None,
    asking: QueryOptions,
    filtering: FilterOptions,
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Rank the rows nearest to a token's row, exactly.

    Several tokens are several queries; an expression such as king - man + woman is `embtool calc`. Without a TOKEN,
    each line of stdin is a query.
    """
    opened = model.open()
    asked = find_table(opened, table)
    through = opened.final_norm if asking.through_norm else None
    ranked = find_table(opened, against or "output") if against or through else asked
    texts = asking.texts(tokens, asked.table.shape[0])
    batch = Batch(texts, token, asked) if asking.vector is None else None
    with open_ranking(
        asked,
        ranked,
        k=top,
        metric=None if metric is None else metric.value,
        center=asking.center,
        reading=token.reading,
        filters=filtering.filters,
        through=through,
    ) as ranking:
        answers: Iterable[Answer | Failure] = batch.answers(ranking.answer) if batch is not None else ()
        if asking.vector is not None:
            answers = ranking.answer(read_vectors(asking.vector))
        output.emit(answers, blank=ranking.blank)
    if explain.explain:
        about = About(opened, model.reached, asked.table, None if batch is None else batch.first)
        explain_neighbors(
            about, ranking.metric, centered=asking.center, through=None if through is None else through.name
        ).show(output.format)
    if batch is not None:
        batch.finish()
