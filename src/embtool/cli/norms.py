"""`embtool norms`: the statistics of a table."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from embtool.cli.batch import Batch
from embtool.cli.options import (
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    Top,
    find_table,
    token_fields,
)
from embtool.cli.watching import watched
from embtool.dtypes import Doubles
from embtool.model import Model
from embtool.norms import row_norms
from embtool.output import Card, Column, Group, Listing, Section, brief, count, spelled, visible
from embtool.scan import Ids
from embtool.statistics import PERCENTILES, TableStatistics, describe_table, extremes, standing
from embtool.survey import survey
from embtool.table import EmbeddingTable
from embtool.vocabulary import Query

BINS = 16
"""Bars of the histogram."""

BAR = 40
"""Characters of its longest bar."""

LISTED_GROUPS = 20
"""Groups of identical rows that JSON lists, the largest first; their number is told in full."""

LISTED_IDS = 20
"""Ids listed of rows of a kind; their number is told in full."""

SHOWN_GROUPS = 3

COLUMNS = (
    Column("query", terminal=False),
    Column("id", right=True, show=count),
    Column("piece", terminal=False),
    Column("token", show=visible, style="bold"),
    Column("bytes", terminal=False),
    Column("norm", right=True, show=lambda value: f"{value:.4f}"),
    Column("percentile", title="longer than", right=True, show=lambda value: f"{value:.2f} % of rows"),
    Column("shorter", terminal=False),
)

LIST_COLUMNS = (*COLUMNS[1:6],)


def run(
    tokens: Texts = None,
    *,
    top: Top = 10,
    listing: Annotated[bool, typer.Option("--list", help="List every row with its norm instead.")] = False,
    spectrum: Annotated[
        bool, typer.Option("--spectrum/--no-spectrum", help="Tell how the variance spreads over directions.")
    ] = True,
    table: TableName = "input",
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Describe a table: how long its rows are, the shortest and longest by name, what rows have in common.

    The mean row and its share of all squared lengths; the average cosine of two rows; the effective rank, which is the
    participation ratio of the variances along the principal axes; rows that are zero, not finite, or the same bit by
    bit. With a TOKEN: where its row's norm stands among all.
    """
    opened = model.open()
    chosen = find_table(opened, table)
    if tokens or listing:
        if tokens and listing:
            raise typer.BadParameter("--list shows every row: name no tokens beside it")
        _list_rows(opened, chosen, tokens, token, output)
        return
    with watched(chosen) as reader:
        found = describe_table(chosen, reader, spectrum=spectrum)
    output.emit(_card(opened, chosen, found, top))


def _list_rows(
    model: Model, table: EmbeddingTable, tokens: list[str] | None, options: TokenOptions, output: OutputOptions
) -> None:
    """Print the norm of the rows asked for, or of all."""
    context = {"model": model.name, "table": table.role}
    vocabulary = model.vocabulary_of(table)

    def record(row: int, norm: float) -> dict[str, Any]:
        entry = vocabulary.token(row) if vocabulary is not None else None
        return {**token_fields(entry, row), "norm": _finite(norm)}

    if not tokens:
        with watched(table) as reader:
            lengths = survey(table, reader).norms
        records = [record(row, norm) for row, norm in enumerate(lengths.tolist())]
        output.emit(Listing("norms", LIST_COLUMNS, [Group(records)], "rows", context=context, line=context))
        return
    batch = Batch(tokens, options, table, model)
    norms = row_norms(table)

    def answer(query: Query) -> Group:
        if len(query.ids) > 1:
            raise typer.BadParameter("a norm is that of one row: leave out --pool")
        place = standing(float(norms[query.ids[0]]), norms)
        known = {
            "percentile": None if place is None else place.percentile,
            "shorter": None if place is None else place.shorter,
        }
        own = float(np.linalg.norm(table.rows(query.ids)[0].astype(np.float64)))
        return Group([{"query": query.text, **record(query.ids[0], own), **known}])

    groups = [Group([record for group in batch.each(answer) for record in group.records])]
    output.emit(Listing("norms", COLUMNS, groups, "rows", context=context, line=context))
    batch.finish()


def _card(model: Model, table: EmbeddingTable, found: TableStatistics, top: int) -> Card:
    """Put together a table's statistics."""
    names = _Names(model, table, found.norms)
    shortest, longest = extremes(found.norms, top)
    document = _document(model, table, found)
    document |= {"shortest": names.records(shortest), "longest": names.records(longest)}
    sections = [
        Section("norms", _length_lines(found)),
        *([Section("histogram", _histogram(found.norms))] if found.lengths is not None else []),
        Section("shortest", names.lines(shortest)),
        Section("longest", names.lines(longest)),
        Section("in common", _common_lines(found)),
        Section("odd rows", _odd_lines(found, names)),
    ]
    title = f"{table.role} table of {model.name}: {count(table.shape[0])} rows of {count(table.shape[1])}"
    return Card("norms", title, document, sections, _record(document))


def _document(model: Model, table: EmbeddingTable, found: TableStatistics) -> dict[str, Any]:
    lengths = found.lengths
    groups = sorted(found.duplicates, key=lambda group: (-len(group), int(group[0])))
    return {
        "model": model.name,
        "table": table.role,
        "tensor": table.tensor.name,
        "rows": table.shape[0],
        "width": table.shape[1],
        "norm": None
        if lengths is None
        else {
            "mean": lengths.mean,
            "deviation": lengths.deviation,
            "least": lengths.least,
            "greatest": lengths.greatest,
            "percentiles": {str(part): value for part, value in lengths.percentiles.items()},
        },
        "mean_row": {"norm": found.mean_norm, "share": found.mean_share},
        "average_cosine": found.average_cosine,
        "spectrum": None
        if found.axes is None
        else {
            "effective_rank": found.effective_rank,
            "exact": found.axes.exact,
            "variance": found.axes.total,
            "shares": found.leading_shares,
        },
        "zero": {"count": len(found.zero), "ids": found.zero[:LISTED_IDS]},
        "nonfinite": {"count": len(found.nonfinite), "ids": found.nonfinite[:LISTED_IDS]},
        "duplicates": {
            "groups": len(groups),
            "rows": sum(map(len, groups)),
            "largest": [{"count": len(group), "ids": group[:LISTED_IDS]} for group in groups[:LISTED_GROUPS]],
        },
    }


def _record(document: dict[str, Any]) -> dict[str, Any]:
    """Flatten a document into one line."""
    norm, spectrum = document["norm"] or {}, document["spectrum"] or {}
    percentiles = norm.get("percentiles", {})
    return {
        **{key: document[key] for key in ("model", "table", "rows", "width")},
        **{key: norm.get(key) for key in ("mean", "deviation", "least", "greatest")},
        **{f"p{part}": percentiles.get(str(part)) for part in PERCENTILES},
        "mean_norm": document["mean_row"]["norm"],
        "mean_share": document["mean_row"]["share"],
        "average_cosine": document["average_cosine"],
        "effective_rank": spectrum.get("effective_rank"),
        "variance": spectrum.get("variance"),
        "zero": document["zero"]["count"],
        "nonfinite": document["nonfinite"]["count"],
        "duplicate_groups": document["duplicates"]["groups"],
        "duplicate_rows": document["duplicates"]["rows"],
    }


class _Names:
    """Names rows by their tokens."""

    def __init__(self, model: Model, table: EmbeddingTable, norms: Doubles) -> None:
        self.vocabulary = model.vocabulary_of(table)
        self.norms = norms

    def records(self, ids: Ids) -> list[dict[str, Any]]:
        return [{**self._fields(row), "norm": float(self.norms[row])} for row in ids.tolist()]

    def lines(self, ids: Ids) -> list[tuple[str, str]]:
        return [(f"{self.norms[row]:.4f}", self.name(row)) for row in ids.tolist()]

    def name(self, row: int) -> str:
        token = self.vocabulary.token(row) if self.vocabulary is not None else None
        name = "no token" if token is None else brief(spelled(token.text, token.bytes.hex()))
        return f"{name}   id {count(row)}"

    def _fields(self, row: int) -> dict[str, object]:
        return token_fields(self.vocabulary.token(row) if self.vocabulary is not None else None, row)


def _length_lines(found: TableStatistics) -> list[tuple[str, str]]:
    lengths = found.lengths
    if lengths is None:
        return [("none", "no row is finite")]
    parts = [f"{part} %  {value:.4f}" for part, value in lengths.percentiles.items()]
    return [
        ("mean", f"{lengths.mean:.4f}, standard deviation {lengths.deviation:.4f}"),
        ("range", f"{lengths.least:.4f} to {lengths.greatest:.4f}"),
        ("percentiles", "   ".join(parts[:5])),
        ("", "   ".join(parts[5:])),
    ]


def _histogram(norms: Doubles) -> list[tuple[str, str]]:
    """Draw how many rows have which length, a bar a line."""
    finite = norms[np.isfinite(norms)]
    heights, edges = np.histogram(finite, BINS)
    most = int(heights.max())
    return [
        (f"{edge:.4f}", f"{'█' * -(-BAR * int(height) // most)} {count(int(height))}".strip())
        for height, edge in zip(heights, edges[:-1], strict=True)
    ]


def _common_lines(found: TableStatistics) -> list[tuple[str, str]]:
    lines = []
    if found.mean_share is not None:
        lines.append(("mean row", f"norm {found.mean_norm:.4f}; {found.mean_share:.1%} of all squared lengths"))
    if found.average_cosine is not None:
        lines.append(("cosine", f"{found.average_cosine:+.4f} on average between two rows"))
    if found.axes is not None and found.effective_rank is not None:
        how = "all axes computed" if found.axes.exact else "estimated"
        lines.append(("effective rank", f"{found.effective_rank:.1f} of {len(found.mean):,} ({how})"))
        shares = found.leading_shares
        first = ", ".join(f"{share:.1%}" for share in shares[:5])
        lines.append(("variance", f"{first} along the first axes; {shares.sum():.1%} along {len(shares)}"))
    return lines or [("none", "no row is finite")]


def _odd_lines(found: TableStatistics, names: _Names) -> list[tuple[str, str]]:
    rows = sum(map(len, found.duplicates))
    lines = [
        ("zero", _some(found.zero, names)),
        ("not finite", _some(found.nonfinite, names)),
        ("identical", f"{count(rows)} rows in {count(len(found.duplicates))} groups" if rows else "none"),
    ]
    groups = sorted(found.duplicates, key=lambda group: (-len(group), int(group[0])))
    return lines + [("", _some(group, names)) for group in groups[:SHOWN_GROUPS]]


def _some(ids: Ids | Sequence[int], names: _Names) -> str:
    """Name the first rows of a list, and how many there are."""
    if not len(ids):
        return "none"
    shown = ", ".join(names.name(int(row)).replace("   ", " ") for row in ids[:3])
    return f"{count(len(ids))}: {shown}{', …' if len(ids) > 3 else ''}"  # noqa: PLR2004 - those shown


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
