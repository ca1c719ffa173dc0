"""`embtool similarity`: how near tokens are to each other."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import pool
from embtool.cli.batch import Batch
from embtool.cli.options import (
    Metric,
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
    token_fields,
)
from embtool.neighbors import score_rows
from embtool.output import Column, Group, Listing, brief, spelled, visible
from embtool.scan import METRICS
from embtool.vocabulary import Query

PAIR = 2


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
    """Compare two tokens: cosine, dot product and Euclidean distance of their rows. Of more tokens, every pair."""
    opened = model.open()
    chosen = find_table(opened, table)
    batch = Batch(tokens, token, chosen, opened)
    items: list[dict[str, Any]] = []
    vectors: list[Any] = []

    def collect(query: Query) -> Group:
        rows = chosen.rows(query.ids)
        vocabulary = opened.vocabulary_of(chosen)
        entry = vocabulary.token(query.ids[0]) if vocabulary is not None and len(query.ids) == 1 else None
        fields = token_fields(entry, query.ids[0])
        if len(query.ids) > 1:
            fields = dict.fromkeys(fields)
        items.append({"query": query.text, **fields})
        vectors.append(pool(rows, token.pool or "mean").astype(np.float64))
        return Group([])

    for _ in batch.each(collect):
        pass
    if len(vectors) < PAIR:
        batch.finish()
        raise typer.BadParameter("name at least two tokens")
    stacked = np.stack(vectors)
    matrices = {name: np.stack([score_rows(stacked, vector, name) for vector in stacked]) for name in METRICS}
    names = [brief(_shown(item)) for item in items]
    context = {"model": opened.name, "table": chosen.role}
    if len(names) > PAIR:
        shown = Listing("similarity", _columns(names, metric), [_matrix(names, matrices, metric)], "pairs")
    else:
        shown = Listing("similarity", PAIR_COLUMNS, [Group(_pairs(items, matrices, _shown))], "pairs")
    output.emit(
        Listing(
            "similarity",
            PAIR_COLUMNS,
            [Group(_pairs(items, matrices, _named))],
            records_key="pairs",
            line=context,
            document=lambda: {**context, "items": items, **matrices},
            terminal=shown,
        )
    )
    batch.finish()


def _number(value: float) -> str:
    return f"{value:.4f}"


PAIR_COLUMNS = (
    Column("a_id", terminal=False),
    Column("a", show=visible, style="bold"),
    Column("b_id", terminal=False),
    Column("b", show=visible, style="bold"),
    *(Column(name, show=_number, right=True) for name in METRICS),
)


def _columns(names: list[str], metric: Metric) -> tuple[Column, ...]:
    heads = (Column(f"m{place}", title=name, show=_number, right=True) for place, name in enumerate(names))
    return (Column("name", title=metric.value, style="bold"), *heads)


def _pairs(
    items: list[dict[str, Any]], matrices: dict[str, Any], named: Callable[[dict[str, Any]], str]
) -> list[dict[str, object]]:
    """List every pair once, in the order typed."""
    return [
        {
            "a_id": items[one]["id"],
            "a": named(items[one]),
            "b_id": items[other]["id"],
            "b": named(items[other]),
            **{name: _finite(matrix[one, other]) for name, matrix in matrices.items()},
        }
        for one in range(len(items))
        for other in range(one + 1, len(items))
    ]


def _named(item: dict[str, Any]) -> str:
    name: str = item["query"] if item["token"] is None else item["token"]
    return name


def _shown(item: dict[str, Any]) -> str:
    return spelled(_named(item), item["bytes"])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _matrix(names: list[str], matrices: dict[str, Any], metric: Metric) -> Group:
    records = [
        {"name": name, **{f"m{place}": _finite(value) for place, value in enumerate(line)}}
        for name, line in zip(names, matrices[metric.value], strict=True)
    ]
    return Group(records)
