"""The vector of a token: its numbers, its norm, and where that norm stands among all rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from embtool.answers import Block, Column, Listing, column, context, identity, python, records, token_column
from embtool.answers.text import brief, count, plural, size, spelled
from embtool.arrays import Doubles, np
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query, Token

ENDS = 4
"""Numbers shown of each end of a row."""

BINS = 24
"""Bars of the histogram of a row's numbers."""

BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Row:
    """One vector.

    Attributes:
        values: float32 (width,), or float64 where several rows were pooled.
    """

    query: str = column("what was typed", terminal=False)
    id: int | None = identity(terminal=False)
    token: Token | None = token_column()
    ids: tuple[int, ...] | None = column("the rows that were pooled", terminal=False, machine=False, optional=True)
    norm: float = column("Euclidean length of the vector", terminal=False)
    values: Any = column("the numbers, in full precision", terminal=False, spread=0)


@dataclass(frozen=True, repr=False, eq=False)
class RowAnswer(Listing[Row]):
    """The vector of one query."""

    command = "row"
    line_types: ClassVar[Mapping[str, Any]] = {"values": Doubles}

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    tensor: str = context("its name in the checkpoint")
    dtype: str = context("how its numbers are stored")
    rows: tuple[Row, ...] = records("the vectors")
    width: int = python()
    row_bytes: int = python()
    file: str = python()
    pool: str = python(default="mean")
    named: bool = python(default=True)
    place: str = python(default="")
    notes: tuple[str, ...] = python(default=())

    def columns(self) -> Sequence[Column]:
        """Return the columns: one for each number of a vector."""
        return [replace(each, spread=self.width) if each.spread is not None else each for each in super().columns()]

    def blocks(self) -> Iterator[Block]:
        """Yield each vector: its ends, its norm among all, the spread of its numbers."""
        for row in self.rows:
            if row.token is not None:
                name = brief(spelled(row.token.text, row.token.bytes.hex()))
            else:
                name = brief(row.query) if row.ids or not self.named else "no token (padding)"
            place = f"{self.pool} of {plural(len(row.ids), 'row')}" if row.ids else f"row {count(row.id or 0)}"
            yield Block(f"{name}, {place} of {self.model}, {self.table} table", after=self._lines(row))

    def _lines(self, row: Row) -> list[str]:
        values, width = row.values, len(row.values)
        shown = [f"{value:+.3f}" for value in values]
        numbers = " ".join(shown) if width <= 2 * ENDS else f"{' '.join(shown[:ENDS])} … {' '.join(shown[-ENDS:])}"
        lines = [
            "",
            f"  stored   {self.dtype}, {plural(width, 'number')}, {size(self.row_bytes)}",
            f"  in       {self.tensor}, {self.file}",
            f"  norm     {row.norm:.4f}{self.place}",
            f"  numbers  {numbers}",
        ]
        finite = values[np.isfinite(values)].astype(np.float64)
        if len(finite) < width:
            broken = width - len(finite)
            verb = "is" if broken == 1 else "are"
            lines.append(f"  broken   {count(broken)} of {plural(width, 'number')} {verb} NaN or infinite")
        if len(finite):
            reach = float(np.abs(finite).max()) or 1.0
            heights, _ = np.histogram(finite, BINS, (-reach, reach))
            top = max(int(heights.max()), 1)
            bars = "".join(
                BARS[0 if not height else max(1, round(height / top * (len(BARS) - 1)))] for height in heights
            )
            lines.append(f"  spread   {-reach:+.3f} {bars} {reach:+.3f}")
            lines.append(f"           mean {finite.mean():+.4f}, standard deviation {finite.std():.4f}")
        return lines


def ask_row(asked: TokenTable, query: Query, reading: Reading, norms: Doubles | None = None) -> RowAnswer:
    """Read the row of a query, or pool several.

    `norms`, float64 (rows,), are those of the whole table, for a reader who wants to know where this one stands.
    """
    values = asked.vector(query, reading)
    with np.errstate(invalid="ignore", over="ignore"):  # a NaN of any kind is shown as what it is
        norm = float(np.linalg.norm(values.astype(np.float64)))
    ids = query.ids if len(query.ids) > 1 else None
    finite = norms[np.isfinite(norms)] if norms is not None and np.isfinite(norm) else np.empty(0)
    place = ""
    if len(finite):
        below = float((finite < norm).mean()) * 100
        place = f"   longer than {below:.0f} % of {plural(len(finite), 'row')} (median {np.median(finite):.4f})"
    return replace(
        blank_row(asked),
        rows=(Row(query.text, query.id, query.token, ids, norm, values),),
        pool=reading.pool or "mean",
        place=place,
        notes=(query.note,) if query.note is not None else (),
    )


def blank_row(asked: TokenTable) -> RowAnswer:
    """Return the answer to nothing."""
    tensor = asked.table.tensor
    named = asked.vocabulary is not None
    return RowAnswer(
        *(asked.model, asked.role, tensor.name, tensor.dtype.name, ()),
        width=asked.table.shape[1],
        row_bytes=tensor.row_bytes,
        file=tensor.shard,
        named=named,
    )
