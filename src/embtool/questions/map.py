"""A two-dimensional shadow of rows: where they fall along two principal components."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from embtool.answers import Block, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.terminal import MACHINE_WIDTH, encodable, make_console
from embtool.answers.text import abridge, brief, plural, title_of, visible
from embtool.arguments import check_count
from embtool.arrays import Doubles, np
from embtool.drawings.picture import Picture, Point
from embtool.errors import FormatError, InvalidArgument
from embtool.questions.map_lines import draw
from embtool.tables.metric import Metric, check_metric
from embtool.tables.neighbors import nearest_each
from embtool.tables.projection import DIMENSIONS, project_on_own, project_on_table
from embtool.tables.spectrum import principal_axes, probe_for
from embtool.tables.survey import survey
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query, Token

LEAST_WIDTH, LEAST_HEIGHT = 40, 12

LINES_KEPT = 8
"""Lines of a terminal left for the title, the legend, the caption and the prompt."""

USUAL_HEIGHT = 24

LONGEST_NAME = 40
"""Characters of a model's name in a title."""

Basis = Literal["tokens", "table"]
"""Whose principal components are the axes."""


@dataclass(frozen=True)
class MapPoint:
    """Where one row falls."""

    query: str = column("what was typed")
    rank: int | None = column("which of the nearest rows it is, from 1; null for what was typed", right=True)
    id: int | None = identity()
    token: Token | None = token_column("piece", "token", "bytes")
    x: float = column("along the first axis", right=True)
    y: float = column("along the second axis", right=True)
    parent: int | None = python(default=None)

    @property
    def name(self) -> str:
        """What a picture writes beside it."""
        if self.id is None:
            return brief(self.query)
        if self.token is None:
            return f"id:{self.id}"
        return title_of(self.token.text, self.token.bytes)

    @property
    def about(self) -> str:
        """What a picture says of it on demand."""
        where = "" if self.id is None else f"id {self.id}"
        return where if self.rank is None else f"{where}, neighbour {self.rank} of {brief(self.query)}"


@dataclass(frozen=True, repr=False, eq=False)
class MapAnswer(Listing[MapPoint]):
    """Where rows fall in two dimensions, and how much of them the shadow keeps."""

    command = "map"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    basis: Basis = context("whose principal components are the axes: those of the tokens, or of the table")
    shares: Doubles = value("the share of the rows' variance that each axis keeps")
    kept: float = value("the share that the shadow keeps")
    table_shares: Doubles | None = value(
        "the share of the table's variance along each axis, where they are the table's"
    )
    points: tuple[MapPoint, ...] = records("the rows, in the order typed, then their neighbours")

    @property
    def caption(self) -> str:
        """How much the shadow keeps."""
        shares = " + ".join(f"{share:.1%}" for share in self.shares)
        told = f"keeps {self.kept:.1%} ({shares}) of the variance of these {plural(len(self.points), 'row')}"
        if self.table_shares is not None:
            told += f"; its axes hold {self.table_shares.sum():.1%} of the table's variance"
        return f"{told}."

    def title(self) -> str:
        """Return what is drawn."""
        whose = "their own principal components" if self.basis == "tokens" else "the table's principal components"
        name = abridge(visible(self.model), LONGEST_NAME)
        return f"{plural(len(self.points), 'row')} of {name}, {self.table} table, along {whose}"

    def picture(self) -> Picture:
        """Return it as a picture."""
        points = [Point(point.name, point.about, point.x, point.y, point.parent) for point in self.points]
        return Picture(self.title(), self.caption, points)

    def blocks(self) -> Iterator[Block]:
        """Yield a picture of characters, as large as the terminal is."""
        usual = os.terminal_size((MACHINE_WIDTH, USUAL_HEIGHT + LINES_KEPT))
        lines = shutil.get_terminal_size(usual).lines if sys.stdout.isatty() or "LINES" in os.environ else usual.lines
        width, height = max(make_console(sys.stdout).width - 1, LEAST_WIDTH), max(lines - LINES_KEPT, LEAST_HEIGHT)
        picture = self.picture()
        shown = [Point(encodable(each.name, sys.stdout), "", each.x, each.y, each.parent) for each in picture.points]
        drawn = draw(Picture(picture.title, picture.caption, shown), width, height)
        yield Block(picture.title, after=["", *drawn, "", f"  {picture.caption}"])


def ask_map(
    asked: TokenTable,
    queries: Sequence[Query],
    reading: Reading,
    *,
    basis: Basis = "tokens",
    neighbors: int = 0,
    metric: Metric = "cosine",
) -> MapAnswer:
    """Project the rows of queries, and `neighbors` of the nearest rows of each, on two principal components.

    Raises:
        InvalidArgument: there are fewer than two rows.
        FormatError: a row is not finite, or the table has no principal axes.
    """
    check_metric(metric)
    check_count(neighbors, "neighbors", 0)
    if basis not in get_args(Basis):
        raise InvalidArgument(f"basis is one of {', '.join(get_args(Basis))}, not {basis!r}")
    gathered = _Gathered(asked, reading)
    gathered.add(queries)
    if neighbors:
        gathered.add_neighbors(neighbors, metric)
    if len(gathered.vectors) < DIMENSIONS:
        raise InvalidArgument("name at least two tokens, or ask for neighbors")
    vectors, of_table = np.stack(gathered.vectors), None
    if basis == "tokens":
        projection = project_on_own(vectors)
    else:
        with asked.open() as reader:
            found = survey(asked.table, reader, probe_for(asked.table), units=False)
            axes = principal_axes(asked.table, reader, found, DIMENSIONS)
        if axes is None:
            raise FormatError(f"the rows of {asked.table.tensor.name} have no principal axes")
        projection, of_table = project_on_table(vectors, found.mean, axes), axes.variances / axes.total
    points = tuple(
        MapPoint(query.text, rank, query.id, query.token, float(x), float(y), parent)
        for (query, rank, parent), (x, y) in zip(gathered.entries, projection.points, strict=True)
    )
    return MapAnswer(asked.model, asked.role, basis, projection.shares, projection.kept, of_table, points)


@dataclass
class _Gathered:
    """The rows of a picture: those that were asked for, and their neighbours, each once."""

    asked: TokenTable
    reading: Reading
    vectors: list[Doubles] = field(default_factory=list)
    entries: list[tuple[Query, int | None, int | None]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def add(self, queries: Sequence[Query]) -> None:
        for query in queries:
            if query.id not in self.seen:
                self._take(query, None, None)

    def add_neighbors(self, each: int, metric: Metric) -> None:
        """Take in the nearest rows of each."""
        own = [query.ids if query.id is not None else () for query, _, _ in self.entries]
        answers = nearest_each(self.asked.table, self.vectors, each, metric=metric, exclude=own)
        for place, found in enumerate(answers):
            text = self.entries[place][0].text
            for rank, (row, score) in enumerate(zip(found.ids.tolist(), found.scores.tolist(), strict=True), 1):
                if row not in self.seen and np.isfinite(score):
                    self._take(Query(text, (row,), self.asked.token(row)), rank, place)

    def _take(self, query: Query, rank: int | None, parent: int | None) -> None:
        self.vectors.append(self.asked.finite(query, self.reading).astype(np.float64))
        self.entries.append((query, rank, parent))
        if query.id is not None:
            self.seen.add(query.id)
