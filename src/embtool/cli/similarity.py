"""`embtool similarity`: how near tokens are to each other."""

from typing import Annotated

import typer

from embtool.cli.batch import Batch
from embtool.cli.options import Metric, ModelOptions, OutputOptions, TableName, Texts, TokenOptions, find_table
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
) -> None:
    """Compare two tokens: cosine, dot product and Euclidean distance of their rows.

    Of more tokens, every pair, and which of them belongs least: the one whose row, at length 1, has the lowest cosine
    with the mean of all, as in gensim's doesnt_match.
    """
    asked = find_table(model.open(), table)
    batch = Batch(tokens, token, asked)
    queries = batch.all()
    output.emit(ask_similarity(asked, queries, token.reading, metric.value))
    batch.finish()
