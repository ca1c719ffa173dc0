"""Two tables, row by row: which rows are the same, which moved and how far, which have no counterpart.

Rows are matched by their tokens, not by their ids: a tokenizer that was rebuilt may have moved them. Both tables are
read once, side by side, and only rows whose bytes differ are decoded.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from embtool.dtypes import Bytes, Doubles, Floats
from embtool.errors import Unlike
from embtool.scan import BLOCK_BYTES, Ids, Mask, scan
from embtool.survey import Opener
from embtool.table import EmbeddingTable, TableReader
from embtool.vocabulary import NOWHERE, TokenMatch, Vocabulary, match_tokens

SPREAD = 1.4826
"""A median absolute deviation times this is a standard deviation, where numbers are normally distributed."""


class Moved(StrEnum):
    """How far a row moved is measured by."""

    RELATIVE = "relative"
    DISTANCE = "distance"
    COSINE = "cosine"


@dataclass(frozen=True)
class Alignment:
    """Which row of B stands for which row of A.

    Attributes:
        counterpart: For each row of A that of B, or NOWHERE: int64 (rows of A,).
        only_a: Ids of A without a counterpart.
        only_b: Ids of B that are no counterpart.
        reassigned: Ids that both have, with different tokens.
    """

    counterpart: Ids
    only_a: Ids
    only_b: Ids
    reassigned: Ids


def align_by_id(rows_a: int, rows_b: int) -> Alignment:
    """Match rows with equal ids."""
    ids = np.arange(rows_a, dtype=np.int64)
    return _alignment(np.where(ids < rows_b, ids, NOWHERE), rows_b, np.empty(0, np.int64))


def align_by_token(a: Vocabulary, rows_a: int, b: Vocabulary, rows_b: int) -> Alignment:
    """Match rows whose tokens stand for the same bytes, whatever their spelling; rows without a token by their ids."""
    return align_tokens(match_tokens(a, b), rows_a, rows_b)


def align_tokens(match: TokenMatch, rows_a: int, rows_b: int) -> Alignment:
    """Match rows whose tokens are matched; rows without a token by their ids."""
    counterpart = np.full(rows_a, NOWHERE, np.int64)
    have_rows = (match.ids < rows_a) & (match.counterpart < rows_b)
    counterpart[match.ids[have_rows]] = match.counterpart[have_rows]
    shared = min(rows_a, rows_b)
    padding = np.ones(shared, np.bool_)
    for ids in (match.ids, match.ids_b):
        padding[ids[ids < shared]] = False
    rows = np.flatnonzero(padding)
    counterpart[rows] = rows
    return _alignment(counterpart, rows_b, match.reassigned[match.reassigned < shared])


def _alignment(counterpart: Ids, rows_b: int, reassigned: Ids) -> Alignment:
    alone = np.ones(rows_b, np.bool_)
    alone[counterpart[counterpart != NOWHERE]] = False
    return Alignment(
        counterpart,
        np.flatnonzero(counterpart == NOWHERE).astype(np.int64),
        np.flatnonzero(alone).astype(np.int64),
        reassigned,
    )


@dataclass(frozen=True)
class TableDifference:
    """How the rows of A that have a counterpart differ from it; all arrays are (rows of A,), NaN where there is none.

    Attributes:
        alignment: Which rows were compared.
        same: Whether both rows hold the same numbers.
        distance: The Euclidean distance of the two: float64; NaN where one is not finite.
        relative: The distance by the length of A's row.
        cosine: The cosine of the two.
        broken_a: Whether A's row holds NaN or infinity, where the two differ.
        broken_b: Whether B's does.
    """

    alignment: Alignment
    same: Mask
    distance: Doubles
    relative: Doubles
    cosine: Doubles
    broken_a: Mask
    broken_b: Mask

    @property
    def changed(self) -> Ids:
        """Ids of A whose row differs from its counterpart."""
        return np.flatnonzero((self.alignment.counterpart != NOWHERE) & ~self.same).astype(np.int64)

    @property
    def differs(self) -> bool:
        """Whether there is any difference at all."""
        lonely = len(self.alignment.only_a) + len(self.alignment.only_b) + len(self.alignment.reassigned)
        return lonely + len(self.changed) > 0

    def measure(self, by: Moved) -> Doubles:
        """How far each row moved: the larger the farther."""
        return {Moved.RELATIVE: self.relative, Moved.DISTANCE: self.distance, Moved.COSINE: 1.0 - self.cosine}[by]

    def median(self, by: Moved) -> float | None:
        """The median of the rows that changed and have such a figure."""
        moved = self._finite(by)
        return float(np.median(moved)) if len(moved) else None

    def outlying(self, by: Moved) -> Doubles:
        """How many robust standard deviations each row lies beyond the median of those that changed.

        The deviation is the median absolute one, scaled; where it is zero, every row is NaN.
        """
        moved = self._finite(by)
        middle = np.median(moved) if len(moved) else np.nan
        spread = SPREAD * np.median(np.abs(moved - middle)) if len(moved) else 0.0
        return (self.measure(by) - middle) / (spread if spread > 0 else np.nan)

    def farthest(self, by: Moved, count: int) -> Ids:
        """List ids of A, the worst first: rows with NaN or infinity, then those that moved farthest; ties by id.

        Rows without such a figure, since a length is zero, come last.
        """
        ids = self.changed
        score = self.measure(by)[ids]
        worst = np.where((self.broken_a | self.broken_b)[ids], -np.inf, np.inf)
        order = np.argsort(np.where(np.isfinite(score), -score, worst), kind="stable")
        best: Ids = ids[order][:count]
        return best

    def _finite(self, by: Moved) -> Doubles:
        moved = self.measure(by)[self.changed]
        return moved[np.isfinite(moved)]


def compare_tables(
    a: EmbeddingTable,
    b: EmbeddingTable,
    alignment: Alignment,
    *,
    opener: Opener = EmbeddingTable.open,
    block_bytes: int = BLOCK_BYTES,
) -> TableDifference:
    """Compare two tables in one pass over both; `opener` opens A, so that somebody can watch.

    Raises:
        Unlike: their rows are not of one width.
    """
    if a.shape[1] != b.shape[1]:
        raise Unlike(
            f"rows of {a.shape[1]:,} numbers ({a.tensor.name}) and of {b.shape[1]:,} ({b.tensor.name}) do not compare",
            hint="compare a model with one that was made from it: their rows are equally long",
        )
    rows = a.shape[0]
    same = np.zeros(rows, np.bool_)
    distance, relative, cosine = (np.full(rows, np.nan) for _ in range(3))
    broken_a, broken_b = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    alike = a.tensor.dtype.name == b.tensor.dtype.name

    with opener(a) as reader_a, b.open() as reader_b:

        def visit(_: None, first: int, stored: Bytes) -> None:
            targets = alignment.counterpart[first : first + len(stored)]
            here = np.flatnonzero(targets != NOWHERE)
            if not len(here):
                return
            ours, theirs = stored[here], _read(reader_b, targets[here])
            ids = here + first
            if alike:
                equal = (ours == theirs).all(axis=1)
                same[ids[equal]] = True
                distance[ids[equal]] = relative[ids[equal]] = 0.0
                cosine[ids[equal]] = 1.0
                ids, ours, theirs = ids[~equal], ours[~equal], theirs[~equal]
            if len(ids):
                left, right = a.tensor.dtype.to_float32(ours), b.tensor.dtype.to_float32(theirs)
                same[ids] = ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)
                broken_a[ids], broken_b[ids] = (~np.isfinite(side).all(axis=1) for side in (left, right))
                distance[ids], relative[ids], cosine[ids] = _apart(left, right)

        scan(reader_a, lambda: None, visit, block_bytes=block_bytes)
    return TableDifference(alignment, same, distance, relative, cosine, broken_a, broken_b)


def _apart(left: Floats, right: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Compute distance, relative distance and cosine of rows, (n, width)."""

    def dots(one: Floats | Doubles, other: Floats | Doubles) -> Doubles:
        found: Doubles = np.einsum("ij,ij->i", one, other, dtype=np.float64)
        return found

    with np.errstate(all="ignore"):  # rows that are zero, or not finite
        away = left.astype(np.float64) - right  # in float32 two finite rows can be infinitely far apart
        distance = np.sqrt(dots(away, away))
        length, other = np.sqrt(dots(left, left)), np.sqrt(dots(right, right))
        distance = np.where(np.isfinite(distance), distance, np.nan)
        relative = np.where(length > 0, distance / length, np.nan)
        cosine = np.where(length * other > 0, dots(left, right) / (length * other), np.nan)
    return distance, relative, np.clip(cosine, -1.0, 1.0)


def _read(reader: TableReader, ids: Ids) -> Bytes:
    """Read rows by id, neighbours together: uint8 (n, row_bytes)."""
    rows = np.empty((len(ids), reader.row_bytes), np.uint8)
    for start, stop in _runs(ids):
        reader.read(int(ids[start]), rows[start:stop])
    return rows


def _runs(ids: Ids) -> Iterator[tuple[int, int]]:
    """Cut ids into places start..stop of ids that follow each other."""
    cuts = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
    yield from itertools.pairwise(cuts)
