"""`embtool map`: a two-dimensional shadow of rows."""

import os
import shutil
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import pool
from embtool.cli.batch import Batch
from embtool.cli.messages import note
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
from embtool.cli.pictures import drawer
from embtool.cli.watching import watched
from embtool.cli.writing import Force, write
from embtool.drawing import to_png, to_svg
from embtool.dtypes import Doubles
from embtool.errors import FormatError
from embtool.model import Model
from embtool.neighbors import nearest_each
from embtool.output import (
    MACHINE_WIDTH,
    Column,
    Format,
    Group,
    Listing,
    abridge,
    brief,
    count,
    encodable,
    make_console,
    spelled,
    visible,
)
from embtool.picture import Picture, Point, to_drawing, to_lines, to_page
from embtool.projection import DIMENSIONS, Projection, project_on_own, project_on_table
from embtool.survey import principal_axes, probe_for, survey
from embtool.table import EmbeddingTable
from embtool.vocabulary import Query

LEAST_WIDTH, LEAST_HEIGHT = 40, 12

LINES_KEPT = 8
"""Lines of a terminal left for the title, the legend, the caption and the prompt."""

USUAL_HEIGHT = 24

LONGEST_NAME = 40
"""Characters of a model's name in a title."""

COLUMNS = (
    Column("query"),
    Column("rank", right=True),
    Column("id", right=True, show=count),
    Column("piece"),
    Column("token", show=visible),
    Column("bytes"),
    Column("x", right=True),
    Column("y", right=True),
)

KINDS: dict[str, Callable[[Picture], bytes]] = {
    ".png": lambda picture: to_png(to_drawing(picture)),
    ".svg": lambda picture: to_svg(to_drawing(picture)),
    ".html": to_page,
}
"""What draws a picture, by the end of the file's name."""


class Basis(StrEnum):
    """Whose principal components are the axes."""

    TOKENS = "tokens"
    TABLE = "table"


def run(
    tokens: Texts = None,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a picture: .png, .svg or .html.")
    ] = None,
    force: Force = False,
    basis: Annotated[
        Basis, typer.Option(help="Whose principal components are the axes: those of these tokens, or of the table.")
    ] = Basis.TOKENS,
    neighbors: Annotated[int, typer.Option(min=0, help="Draw each token with so many of its nearest rows.")] = 0,
    metric: Annotated[Metric, typer.Option(help="How nearness of neighbours is measured.")] = Metric.COSINE,
    table: TableName = "input",
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Draw tokens where their rows fall in two dimensions: a shadow along the first two principal components.

    On a terminal with characters, with -o as a picture: .png needs matplotlib, .html stands alone, zooms, and shows
    names on hover; points are printed as well if a format is named. A shadow leaves most of the space out; how much it
    keeps is always said. Points that are far apart here are far apart there; points that are near here may not be.
    """
    draw = drawer(out, KINDS, force=force)
    opened = model.open()
    chosen = find_table(opened, table)
    batch = Batch(tokens, token, chosen, opened)
    gathered = _Gathered(opened, chosen, token.pool or "mean")
    gathered.add(batch.all())
    if neighbors:
        gathered.add_neighbors(neighbors, metric.value)
    rows = np.stack(gathered.rows)
    if len(rows) < DIMENSIONS:
        raise typer.BadParameter("name at least two tokens, or ask for --neighbors")
    projection, of_table = _project(chosen, rows, basis)
    picture = gathered.picture(projection, basis, of_table)
    if out is not None and draw is not None:
        write(draw(picture), out, about=f": {picture.caption}")
        if output.asked is None:
            return
    records = gathered.records(projection)
    context = {"model": opened.name, "table": chosen.role, "basis": basis.value}
    document = {**context, "shares": projection.shares, "kept": projection.kept, "table_shares": of_table}
    output.emit(
        Listing(
            "map",
            COLUMNS,
            [Group(records)],
            "points",
            line=context,
            document=lambda: {**document, "points": records},
            terminal=Listing("map", (), _drawn(picture), "points"),
        )
    )
    if draw is None and output.format in (Format.TSV, Format.CSV, Format.JSONL):  # the others have it in the answer
        note(picture.caption)


def _drawn(picture: Picture) -> list[Group]:
    """Draw a picture on the terminal: as large as it is."""
    usual = os.terminal_size((MACHINE_WIDTH, USUAL_HEIGHT + LINES_KEPT))
    lines = shutil.get_terminal_size(usual).lines if sys.stdout.isatty() or "LINES" in os.environ else usual.lines
    width, height = max(make_console(sys.stdout).width - 1, LEAST_WIDTH), max(lines - LINES_KEPT, LEAST_HEIGHT)
    shown = [Point(encodable(point.name, sys.stdout), "", point.x, point.y, point.parent) for point in picture.points]
    drawn = to_lines(Picture(picture.title, picture.caption, shown), width, min(height, width // 2))
    return [Group([], title=picture.title, after=[*drawn, "", f"  {picture.caption}"])]


def _project(table: EmbeddingTable, rows: Doubles, basis: Basis) -> tuple[Projection, Doubles | None]:
    """Project rows; on the table's axes, tell also which shares of the table's variance these have.

    Raises:
        FormatError: the table has no principal axes.
    """
    if basis is Basis.TOKENS:
        return project_on_own(rows), None
    with watched(table) as reader:
        found = survey(table, reader, probe_for(table))
        axes = principal_axes(table, reader, found, DIMENSIONS)
    if axes is None:
        raise FormatError(f"the rows of {table.tensor.name} have no principal axes")
    return project_on_table(rows, found.mean, axes), axes.variances / axes.total


class _Gathered:
    """The rows of a picture: those that were asked for, and their neighbours."""

    def __init__(self, model: Model, table: EmbeddingTable, how: str) -> None:
        self.model = model
        self.table = table
        self.how = how
        self.vocabulary = model.vocabulary_of(table)
        self.rows: list[Doubles] = []
        self.entries: list[dict[str, Any]] = []
        self.parents: list[int | None] = []
        self.seen: set[int] = set()

    def add(self, queries: list[Query]) -> None:
        """Take in the rows that were asked for, each once."""
        for query in queries:
            single = len(query.ids) == 1
            if single and query.ids[0] in self.seen:
                continue
            rows = self.table.rows(query.ids)
            self._take(query.text, None, query.ids[0] if single else None, pool(rows, self.how), None)

    def add_neighbors(self, each: int, metric: str) -> None:
        """Take in the nearest rows of each, those that are in the picture already left out."""
        asked = list(range(len(self.rows)))
        own = [[entry["id"]] if entry["id"] is not None else [] for entry in self.entries]
        answers = nearest_each(self.table, self.rows, each, metric=metric, exclude=own)
        for place, found in zip(asked, answers, strict=True):
            for rank, row in enumerate(found.ids.tolist(), 1):
                if row not in self.seen and np.isfinite(found.scores[rank - 1]):
                    self._take(self.entries[place]["query"], rank, row, pool(self.table.rows([row]), "first"), place)

    def _take(self, query: str, rank: int | None, row: int | None, vector: Doubles, parent: int | None) -> None:
        entry = self.vocabulary.token(row) if self.vocabulary is not None and row is not None else None
        fields = token_fields(entry, row) if row is not None else dict.fromkeys(("id", "piece", "token", "bytes"))
        if row is not None:
            self.seen.add(row)
        self.rows.append(vector)
        self.entries.append({"query": query, "rank": rank, **fields})
        self.parents.append(parent)

    def records(self, projection: Projection) -> list[dict[str, Any]]:
        """Describe each point."""
        return [
            {**entry, "x": float(x), "y": float(y)}
            for entry, (x, y) in zip(self.entries, projection.points, strict=True)
        ]

    def picture(self, projection: Projection, basis: Basis, of_table: Doubles | None) -> Picture:
        """Make the picture; its caption says how much it keeps."""
        points = [
            Point(self._name(entry), self._about(entry), float(x), float(y), parent)
            for entry, (x, y), parent in zip(self.entries, projection.points, self.parents, strict=True)
        ]
        shares = " + ".join(f"{share:.1%}" for share in projection.shares)
        caption = f"keeps {projection.kept:.1%} ({shares}) of the variance of these {count(len(points))} rows"
        if of_table is not None:
            caption += f"; its axes hold {of_table.sum():.1%} of the table's variance"
        whose = "their own principal components" if basis is Basis.TOKENS else "the table's principal components"
        name = abridge(visible(self.model.name), LONGEST_NAME)
        title = f"{count(len(points))} rows of {name}, {self.table.role} table, along {whose}"
        return Picture(title, f"{caption}.", points)

    def _name(self, entry: dict[str, Any]) -> str:
        if entry["id"] is None:
            return brief(entry["query"])
        return f"id:{entry['id']}" if entry["token"] is None else brief(spelled(entry["token"], entry["bytes"]))

    def _about(self, entry: dict[str, Any]) -> str:
        where = "" if entry["id"] is None else f"id {entry['id']}"
        return where if entry["rank"] is None else f"{where}, neighbour {entry['rank']} of {brief(entry['query'])}"
