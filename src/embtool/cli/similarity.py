"""`embtool similarity`: how near tokens are to each other."""

from typing import Annotated

import typer

from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_similarity
from embtool.cli.options import (
    ExplainOptions,
    Metric,
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
)
from embtool.questions.similarity import ask_similarity


def run(
    tokens: Texts = None,
    *,
    metric: Annotated[
        Metric, typer.Option(help="What the matrix on a terminal shows, for three tokens and more.")
    ] = Metric.COSINE,
    table: TableName = "input",
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Compare two tokens: cosine, dot product and Euclidean distance of their rows.

    Of more tokens, every pair, and which of them belongs least: the one whose row, at length 1, has the lowest cosine
    with the mean of all, as in gensim's doesnt_match.
    """
    opened = model.open()
    asked = find_table(opened, table)
    batch = Batch(tokens, token, asked)
    queries = batch.all()
    found = ask_similarity(asked, queries, token.reading, metric.value)
    output.emit(found)
    if explain.explain:
        about = About(opened, model.reached, asked.table, batch.first)
        explain_similarity(about, found).show(output.format)
    batch.finish()
