"""How far rows lie along a direction: that of a row, or from one row to another."""

from collections.abc import Sequence
from dataclasses import dataclass

from embtool.answers import Column, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.text import bar, brief, fixed, spelled
from embtool.arrays import np
from embtool.errors import FormatError, InvalidArgument
from embtool.tables.arithmetic import combine
from embtool.tables.neighbors import score_rows
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query, Token, note_of_bare

BAR_WIDTH = 10
"""Columns of half a bar: a cosine of 1."""


def two_sided_bar(cosine: float) -> str:
    """Draw a cosine on both sides of a middle."""
    if cosine < 0:
        return f"{'█' * round(-cosine * BAR_WIDTH):>{BAR_WIDTH}}│"
    return f"{'':{BAR_WIDTH}}│{bar(cosine, BAR_WIDTH)}"


@dataclass(frozen=True)
class Pole:
    """A token that makes the direction."""

    query: str = value("what was typed")
    id: int | None = identity()
    token: Token | None = token_column()

    @property
    def shown(self) -> str:
        """What a reader sees of it."""
        return brief(self.query if self.token is None else spelled(self.token.text, self.token.bytes.hex()))


@dataclass(frozen=True)
class Projected:
    """One row, and how far it lies along the direction."""

    query: str = column("what was typed", terminal=False)
    id: int | None = identity()
    token: Token | None = token_column()
    cosine: float | None = column(
        "cosine of the row with the direction; null where the row is zero",
        right=True,
        show=fixed,
        also=Column(
            "cosine", title="", show=two_sided_bar, machine=False, style="cyan", missing="", whole=True, worth=0
        ),
    )
    projection: float = column(
        "how far the row reaches along the direction, in its own lengths", right=True, show=fixed
    )


@dataclass(frozen=True, repr=False, eq=False)
class DirectionAnswer(Listing[Projected]):
    """Rows along a direction, those that point along it most first."""

    command = "similarity-along"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    along: tuple[Pole, ...] = value("the rows that are added up to the direction, each at length 1")
    minus: tuple[Pole, ...] = value("the rows that are subtracted from it, each at length 1")
    items: tuple[Projected, ...] = records("the tokens, the largest cosine first")
    notes: tuple[str, ...] = python(default=())

    def title(self) -> str:
        """Return what was asked."""
        plus = " + ".join(pole.shown for pole in self.along)
        less = "".join(f" - {pole.shown}" for pole in self.minus)
        return f"along {plus}{less} in {self.model}, {self.table} table"

    def after(self) -> Sequence[str]:
        """Say what the sides mean."""
        if not self.minus:
            return ["  1 points the same way, 0 stands at a right angle, -1 points the other way"]
        ends = (" + ".join(pole.shown for pole in poles) for poles in (self.along, self.minus))
        return ["  above 0: more like {}; below 0: more like {}".format(*ends)]


def ask_direction(
    asked: TokenTable, queries: Sequence[Query], along: Sequence[Query], minus: Sequence[Query], reading: Reading
) -> DirectionAnswer:
    """Project rows on a direction: the sum of the rows `along` it less those of `minus`, each at length 1.

    Raises:
        InvalidArgument: there is no token, or no direction.
        FormatError: a row is not finite, or those of the direction cancel each other out.
    """
    if not queries or not along:
        raise InvalidArgument("name a token, and one for the direction")
    poles = [*along, *minus]
    signs = [1.0] * len(along) + [-1.0] * len(minus)
    direction = combine(np.stack([asked.finite(pole, reading).astype(np.float64) for pole in poles]), signs)
    length = float(np.linalg.norm(direction))
    if length == 0:
        raise FormatError("the rows of the direction cancel each other out")
    rows = np.stack([asked.finite(query, reading).astype(np.float64) for query in queries])
    cosines = score_rows(rows, direction, "cosine")
    reach = rows @ (direction / length)
    order = np.argsort(np.where(np.isfinite(cosines), -cosines, np.inf), kind="stable")
    return DirectionAnswer(
        asked.model,
        asked.role,
        tuple(Pole(query.text, query.id, query.token) for query in along),
        tuple(Pole(query.text, query.id, query.token) for query in minus),
        tuple(
            Projected(
                queries[place].text,
                queries[place].id,
                queries[place].token,
                float(cosines[place]) if np.isfinite(cosines[place]) else None,
                float(reach[place]),
            )
            for place in order
        ),
        notes=tuple(filter(None, [note_of_bare(poles)])),
    )
