"""`embtool odd`: which of several tokens does not belong."""

from typing import Any

import numpy as np
import typer

from embtool.arithmetic import belonging, pool
from embtool.cli.batch import Batch
from embtool.cli.options import (
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
    token_fields,
)
from embtool.output import Column, Group, Listing, brief, count, visible

FEWEST = 3
"""Of two tokens, both are as far from their middle."""


def _score(value: float) -> str:
    return f"{value:.4f}"


COLUMNS = (
    Column("rank", title="", right=True, style="dim"),
    Column("query", terminal=False),
    Column("id", right=True, show=count),
    Column("piece", terminal=False),
    Column("token", show=visible, style="bold"),
    Column("bytes", terminal=False),
    Column("score", title="belongs", right=True, show=_score),
)


def run(
    tokens: Texts = None,
    *,
    table: TableName = "input",
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Tell which of several tokens does not belong: the one farthest from the mean of all.

    Rows are scaled to length 1; the score is the cosine of a row and their mean, the least first, as in gensim's
    doesnt_match. Lines of stdin are the tokens of one question.
    """
    opened = model.open()
    chosen = find_table(opened, table)
    batch = Batch(tokens, token, chosen, opened)
    queries = batch.all()
    if len(queries) < FEWEST:
        raise typer.BadParameter(f"name at least {FEWEST} tokens")
    fits = belonging(np.stack([pool(chosen.rows(query.ids), token.pool or "mean") for query in queries]))
    vocabulary = opened.vocabulary_of(chosen)

    def record(rank: int, place: int) -> dict[str, Any]:
        query = queries[place]
        single = len(query.ids) == 1
        entry = vocabulary.token(query.ids[0]) if vocabulary is not None and single else None
        fields = token_fields(entry, query.ids[0])
        fields = fields if single else dict.fromkeys(fields)
        return {"rank": rank, "query": query.text, **fields, "score": float(fits[place])}

    records = [record(rank, place) for rank, place in enumerate(np.argsort(fits, kind="stable").tolist(), 1)]
    first = records[0]
    context = {"model": opened.name, "table": chosen.role, "metric": "cosine"}
    name = brief(str(first["token"] if first["token"] is not None else first["query"]))
    title = f"{name} does not belong, says {opened.name}, {chosen.role} table"
    output.emit(
        Listing("odd", COLUMNS, [Group(records, title=title)], records_key="items", context=context, line=context)
    )
