"""`embtool similarity`: how near tokens are to each other."""

from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_direction, explain_similarity
from embtool.cli.options import (
    ExplainOptions,
    Metric,
    OutputOptions,
    RowOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
)
from embtool.questions.direction import ask_direction
from embtool.questions.similarity import ask_similarity

Poles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TOKEN", autocompletion=completion.tokens, help="Project on the direction of this row instead."
    ),
]


def run(
    tokens: Texts = None,
    *,
    metric: Annotated[
        Metric, typer.Option(help="What the matrix on a terminal shows, for three tokens and more.")
    ] = Metric.COSINE,
    along: Poles = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN", autocompletion=completion.tokens, help="Subtract this row from the direction."),
    ] = None,
    table: TableName = "input",
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Compare two tokens: cosine, dot product and Euclidean distance of their rows.

    Of more tokens, every pair, and which of them belongs least: the one whose row, at length 1, has the lowest cosine
    with the mean of all, as in gensim's doesnt_match.

    With --along A, and --minus B, how far each row lies along a direction: that of A, or from B to A, the rows at
    length 1. Each may be given again.
    """
    if minus and not along:
        raise typer.BadParameter("--minus is subtracted from a direction: name --along too")
    opened = model.open()
    asked = find_table(opened, table)
    batch = Batch(tokens, token, asked)
    queries = batch.all()
    about = About(opened, model.reached, asked.table, batch.first)
    if along:
        plus, less = ([asked.one(text, token.reading) for text in poles or ()] for poles in (along, minus))
        output.emit(ask_direction(asked, queries, plus, less, token.reading))
        explanation = explain_direction(about)
    else:
        found = ask_similarity(asked, queries, token.reading, metric.value)
        output.emit(found)
        explanation = explain_similarity(about, found)
    if explain.explain:
        explanation.show(output.format)
    batch.finish()
