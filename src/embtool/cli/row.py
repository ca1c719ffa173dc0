"""`embtool row`: the vector of a token."""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import pool
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_row
from embtool.cli.options import (
    ExplainOptions,
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
    token_fields,
)
from embtool.cli.writing import Force, check_free, write_rows
from embtool.dtypes import Doubles
from embtool.model import Model
from embtool.norms import row_norms
from embtool.output import Column, Format, Group, Listing, brief, count, size, spelled
from embtool.table import EmbeddingTable
from embtool.vocabulary import Query

ENDS = 4
"""Numbers shown of each end of a row."""

BINS = 24
"""Bars of the histogram of a row's numbers."""

BARS = " ▁▂▃▄▅▆▇█"


def run(
    tokens: Texts = None,
    *,
    npy: Annotated[
        Path | None,
        typer.Option(
            "--npy", help="Write the rows as a numpy file, float32 (tokens, width); - is stdout.", metavar="FILE"
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the rows to stdout as little-endian float32.")] = False,
    force: Force = False,
    table: TableName = "input",
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show the vector of each token: its numbers, its norm, and where that norm stands among all rows.

    A table on a terminal is abridged; every other format holds all numbers.
    """
    if raw and npy is not None:
        raise typer.BadParameter("--raw and --npy are two formats: choose one")
    check_free(npy, force=force)
    opened = model.open()
    chosen = find_table(opened, table)
    batch = Batch(tokens, token, chosen, opened)
    on_terminal = not raw and npy is None and output.format is Format.TABLE
    standing = row_norms(chosen) if on_terminal and opened.source.local else None

    def answer(query: Query) -> Group:
        return _answer(opened, chosen, query, token.pool, standing, on_terminal=on_terminal)

    groups = batch.each(answer)
    if raw or npy is not None:
        rows = [np.asarray(group.records[0]["values"], "<f4") for group in groups]
        stacked = np.stack(rows) if rows else np.empty((0, chosen.shape[1]), "<f4")
        if npy is not None:
            write_rows(stacked, npy)
        else:
            sys.stdout.buffer.write(stacked.tobytes())
            sys.stdout.buffer.flush()
    else:
        context = _context(opened, chosen)
        columns = [Column(key, terminal=False) for key in ("query", "id", "piece", "token", "bytes", "norm")]
        columns.append(Column("values", terminal=False, spread=chosen.shape[1]))
        output.emit(Listing("row", columns, groups, records_key="rows", context=context, line=context))
    if explain.explain:
        explained = explain_row(About(opened, model.reached, chosen, batch.first))
        explained.show(Format.TABLE if on_terminal else Format.TSV)
    batch.finish()


def _context(model: Model, table: EmbeddingTable) -> dict[str, object]:
    return {
        "model": model.name,
        "table": table.role,
        "tensor": table.tensor.name,
        "dtype": table.tensor.dtype.name,
    }


def _answer(
    model: Model, table: EmbeddingTable, query: Query, how: str | None, standing: Doubles | None, *, on_terminal: bool
) -> Group:
    """Read one row, or pool several, and describe it."""
    rows = table.rows(query.ids)
    pooled = len(query.ids) > 1
    values = pool(rows, how or "mean") if pooled else rows[0]
    with np.errstate(invalid="ignore", over="ignore"):  # a NaN of any kind is shown as what it is
        norm = float(np.linalg.norm(values.astype(np.float64)))
    vocabulary = model.vocabulary_of(table)
    entry = None if vocabulary is None or pooled else vocabulary.token(query.ids[0])
    fields = token_fields(entry, query.ids[0])
    if pooled:
        fields = {**dict.fromkeys(fields), "ids": list(query.ids)}
    record = {"query": query.text, **fields, "norm": norm, "values": values}
    if not on_terminal:
        return Group([record])
    if entry is not None:
        name = brief(spelled(entry.text, entry.bytes.hex()))
    else:
        name = brief(query.text) if pooled or vocabulary is None else "no token (padding)"
    place = f"{how or 'mean'} of {len(query.ids)} rows" if pooled else f"row {count(query.ids[0])}"
    title = f"{name}, {place} of {model.name}, {table.role} table"
    return Group([record], title=title, after=_picture(table, values, norm, standing))


def _picture(table: EmbeddingTable, values: Any, norm: float, standing: Doubles | None) -> list[str]:
    """Describe a row so that a person sees something: its ends, its norm among all, the spread of its numbers."""
    width = len(values)
    shown = [f"{value:+.3f}" for value in values]
    numbers = " ".join(shown) if width <= 2 * ENDS else f"{' '.join(shown[:ENDS])} … {' '.join(shown[-ENDS:])}"
    lines = [
        "",
        f"  stored   {table.tensor.dtype.name}, {count(width)} numbers, {size(table.tensor.row_bytes)}",
        f"  in       {table.tensor.name}, {table.tensor.shard}",
        f"  norm     {norm:.4f}{_place(norm, standing)}",
        f"  numbers  {numbers}",
    ]
    finite = values[np.isfinite(values)].astype(np.float64)
    if len(finite) < width:
        lines.append(f"  broken   {count(width - len(finite))} of {count(width)} numbers are NaN or infinite")
    if len(finite):
        reach = float(np.abs(finite).max()) or 1.0
        heights, _ = np.histogram(finite, BINS, (-reach, reach))
        top = max(int(heights.max()), 1)
        bars = "".join(BARS[0 if not height else max(1, round(height / top * (len(BARS) - 1)))] for height in heights)
        lines.append(f"  spread   {-reach:+.3f} {bars} {reach:+.3f}")
        lines.append(f"           mean {finite.mean():+.4f}, standard deviation {finite.std():.4f}")
    return lines


def _place(norm: float, standing: Doubles | None) -> str:
    """Say where a norm stands among those of all rows."""
    if standing is None or not np.isfinite(norm):
        return ""
    finite = standing[np.isfinite(standing)]
    if not len(finite):
        return ""
    below = float((finite < norm).mean()) * 100
    return f"   longer than {below:.0f} % of {count(len(finite))} rows (median {np.median(finite):.4f})"
