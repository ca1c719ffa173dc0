"""`embtool map`: a two-dimensional shadow of rows."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Format
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_map
from embtool.cli.messages import note
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
from embtool.cli.pictures import drawer
from embtool.cli.writing import Force
from embtool.drawings.drawing import to_png, to_svg
from embtool.drawings.picture import Picture, to_drawing
from embtool.questions.map import ask_map

KINDS: dict[str, Callable[[Picture], bytes]] = {
    ".png": lambda picture: to_png(to_drawing(picture)),
    ".svg": lambda picture: to_svg(to_drawing(picture)),
}
"""What draws a picture, by the end of the file's name."""


class MapBasis(StrEnum):
    """Whose principal components are the axes."""

    TOKENS = "tokens"
    TABLE = "table"


def run(
    tokens: Texts = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write a picture: .svg or .png.", readable=False),
    ] = None,
    force: Force = False,
    basis: Annotated[
        MapBasis, typer.Option(help="Whose principal components are the axes: those of these tokens, or of the table.")
    ] = MapBasis.TOKENS,
    neighbors: Annotated[int, typer.Option(min=0, help="Draw each token with so many of its nearest rows.")] = 0,
    metric: Annotated[Metric, typer.Option(help="How nearness of neighbours is measured.")] = Metric.COSINE,
    table: TableName = "input",
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Draw tokens where their rows fall in two dimensions: a shadow along the first two principal components.

    On a terminal with characters, with -o as a picture: .png needs resvg-py; points are printed as well if a format is
    named. `embtool view --token` makes a page that zooms. A shadow leaves most of the space out; how much it keeps is
    always said. Points that are far apart here are far apart there; points that are near here may not be.
    """
    draw = drawer(out, KINDS, model.run, force=force)
    opened = model.open()
    asked = find_table(opened, table)
    batch = Batch(tokens, token, asked)
    queries = batch.all()
    found = ask_map(asked, queries, token.reading, basis=basis.value, neighbors=neighbors, metric=metric.value)
    if draw is not None:
        draw(found.picture(), found.caption)
    output.emit(found, only_notes=draw is not None and output.asked is None)
    if draw is None and output.format in (Format.TSV, Format.CSV, Format.JSONL):  # the others have it in the answer
        note(found.caption)
    if explain.explain:
        about = About(opened, model.reached, asked.table, batch.first)
        explain_map(about, found).show(output.format)
