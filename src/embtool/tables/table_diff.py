"""Two tables, row by row: which rows are the same, which moved and how far, which have no counterpart.

Rows are matched by their tokens, not by their ids: a tokenizer that was rebuilt may have moved them. Both tables are
read once, side by side, and only rows whose bytes differ are decoded.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from embtool.arrays import Bytes, Doubles, np
from embtool.errors import Unlike
from embtool.tables.pairs import PAIR_KERNELS, Compared, compare_rows, compare_stored, slack_of
from embtool.tables.scan import Ids, Mask, in_parts, scan
from embtool.tables.survey import Opener
from embtool.tables.table import EmbeddingTable, TableReader
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.matching import NOWHERE, TokenMatch, match_tokens

COMPARED_BYTES = 16 << 20
"""Bytes of A's rows that a thread compares at a time: few calls, and eight threads that read both hold 256 MiB."""

DECODED_ROWS = 128
"""Rows that a thread compares in float64 at a time, which takes 24 bytes for each of their numbers."""

FEW = 0.5
"""A share of a block's rows: so many that differ are copied together before a kernel looks at them, and no more."""

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
        slack: How far the cosine can be off: 0 where it was computed in float64.
        share: How far the distances of the other rows can be off, as a share of themselves.
    """

    alignment: Alignment
    same: Mask
    distance: Doubles
    relative: Doubles
    cosine: Doubles
    broken_a: Mask
    broken_b: Mask
    slack: Doubles
    share: float = 0.0

    @cached_property
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
        return float(np.median(moved, overwrite_input=True)) if len(moved) else None

    def outlying(self, by: Moved) -> Doubles:
        """How many robust standard deviations each row lies beyond the median of those that changed.

        The deviation is the median absolute one, scaled; where it is zero, every row is NaN.
        """
        moved = self._finite(by)
        middle = np.median(moved) if len(moved) else np.nan
        spread = SPREAD * np.median(np.abs(moved - middle), overwrite_input=True) if len(moved) else 0.0
        return (self.measure(by) - middle) / (spread if spread > 0 else np.nan)

    def near(self, by: Moved, count: int) -> Ids:
        """List the ids, sorted, that can be among the `count` farthest when every figure is off by its slack."""
        ids = self.changed
        score = self.measure(by)[ids]
        ids, score = ids[np.isfinite(score)], score[np.isfinite(score)]
        off = self.slack[ids] if by is Moved.COSINE else np.where(self.slack[ids] > 0, score * self.share, 0.0)
        if not 0 < count < len(ids):
            return ids[: max(count, 0)]
        least = np.partition(score - off, -count)[-count]
        near: Ids = ids[score + off >= least]
        return near

    def farthest(self, by: Moved, count: int) -> Ids:
        """List ids of A, the worst first: rows with NaN or infinity, then those that moved farthest; ties by id.

        Rows without such a figure, since a length is zero, come last.
        """
        ids = self.changed
        score = self.measure(by)[ids]
        worst = np.where((self.broken_a | self.broken_b)[ids], -np.inf, np.inf)
        score = np.where(np.isfinite(score), -score, worst)
        if 0 < count < len(ids):
            best = np.flatnonzero(score <= np.partition(score, count - 1)[count - 1])
            ids, score = ids[best], score[best]
        found: Ids = ids[np.argsort(score, kind="stable")][:count]
        return found

    def _finite(self, by: Moved) -> Doubles:
        moved = self.measure(by)[self.changed]
        return moved[np.isfinite(moved)]


def compare_tables(
    a: EmbeddingTable,
    b: EmbeddingTable,
    alignment: Alignment,
    *,
    roughly: bool = True,
    exact: Callable[[TableDifference], Ids] = lambda found: found.changed[:0],
    opener: Opener = EmbeddingTable.open,
    block_bytes: int = COMPARED_BYTES,
) -> TableDifference:
    """Compare two tables in one pass over both; `opener` opens A, so that somebody can watch.

    Rows of one dtype are compared as they are stored, roughly: `slack` says how far their figures can be off. Those
    that `exact` names of what was found are then compared anew in float64; without `roughly` all are at once.

    Raises:
        Unlike: their rows are not of one width.
    """
    if a.shape[1] != b.shape[1]:
        raise Unlike(
            f"rows of {a.shape[1]:,} numbers ({a.tensor.name}) and of {b.shape[1]:,} ({b.tensor.name}) do not compare",
            hint="compare a model with one that was made from it: their rows are equally long",
        )
    with opener(a) as reader_a, b.open() as reader_b:
        pass_over = _Pass(a, b, reader_a, reader_b, alignment.counterpart, roughly=roughly)
        with reader_b.passing():
            scan(reader_a, list, pass_over.visit, block_bytes=block_bytes)
        found = TableDifference(
            alignment,
            *(pass_over.same, pass_over.distance, pass_over.relative, pass_over.cosine),
            *(pass_over.broken_a, pass_over.broken_b),
            slack=pass_over.slack,
            share=slack_of(a.shape[1]),
        )
        ids = exact(found)
        pass_over.compare_again(ids[found.slack[ids] > 0])
    return found


class _Pass:
    """One pass over two tables: the figures of every row of A, filled in block by block, by several threads."""

    def __init__(
        self,
        a: EmbeddingTable,
        b: EmbeddingTable,
        reader_a: TableReader,
        reader_b: TableReader,
        counterpart: Ids,
        *,
        roughly: bool,
    ) -> None:
        self.dtype_a, self.dtype_b, self.counterpart = a.tensor.dtype, b.tensor.dtype, counterpart
        self.reader_a, self.reader_b = reader_a, reader_b
        rows = len(counterpart)
        self.distance, self.relative, self.cosine = (np.full(rows, np.nan) for _ in range(3))
        self.slack = np.zeros(rows)
        self.same, self.broken_a, self.broken_b = (np.zeros(rows, np.bool_) for _ in range(3))
        self.is_alike = self.dtype_a.name == self.dtype_b.name
        self.by_kernel = roughly and self.is_alike and self.dtype_a.name in PAIR_KERNELS

    def visit(self, held: list[Bytes], first: int, stored: Bytes) -> None:
        """Compare a block of A's rows with their counterparts; what is not lent is read into a buffer it `held`."""
        targets = self.counterpart[first : first + len(stored)]
        here = np.flatnonzero(targets != NOWHERE)
        if not held:
            held.append(np.empty((len(stored), self.reader_b.row_bytes), np.uint8))
        ours = stored if len(here) == len(stored) else stored[here]
        buffer = held[0][: len(here)]
        if len(here) and len(list(_runs(targets[here]))) == 1:
            with self.reader_b.rows(int(targets[here[0]]), buffer) as theirs:
                self._hold(here + first, ours, theirs)
        else:
            self._hold(here + first, ours, _read(self.reader_b, targets[here], buffer))

    def _hold(self, ids: Ids, ours: Bytes, theirs: Bytes) -> None:
        """Hold rows of A, as they are stored, against their counterparts."""
        left = np.ones(len(ids), np.bool_)
        if self.is_alike:
            left = ~_equal(ours, theirs)
            same = ids[~left]
            self.same[same], self.cosine[same] = True, 1.0
            self.distance[same] = self.relative[same] = 0.0
            if left.sum() <= FEW * len(ids):
                ids, ours, theirs = ids[left], ours[left], theirs[left]
                left = np.ones(len(ids), np.bool_)
        if self.by_kernel and left.any():
            figures, holds = compare_stored(self.dtype_a, ours, theirs)
            holds &= left
            self._put(ids[holds], figures, holds)
            left &= ~holds
        for part in in_parts(np.flatnonzero(left), DECODED_ROWS):
            self._compare(ids[part], ours[part], theirs[part])

    def compare_again(self, ids: Ids) -> None:
        """Read rows once more, and compare them in float64."""
        for part in in_parts(ids, DECODED_ROWS):
            self._compare(part, _read(self.reader_a, part), _read(self.reader_b, self.counterpart[part]))

    def _compare(self, ids: Ids, ours: Bytes, theirs: Bytes) -> None:
        """Compare rows in float64."""
        left, right = self.dtype_a.to_float32(ours), self.dtype_b.to_float32(theirs)
        self.same[ids] = ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)
        self.broken_a[ids], self.broken_b[ids] = (~np.isfinite(side).all(axis=1) for side in (left, right))
        self._put(ids, compare_rows(left, right), slice(None))

    def _put(self, ids: Ids, figures: Compared, which: Mask | slice) -> None:
        self.distance[ids], self.relative[ids] = figures.distance[which], figures.relative[which]
        self.cosine[ids], self.slack[ids] = figures.cosine[which], figures.slack[which]


def _equal(ours: Bytes, theirs: Bytes) -> Mask:
    """Find rows of the same bytes, uint8 (n, row_bytes) each; those that differ are mostly told by their first."""
    size = next(size for size in (8, 4, 2, 1) if ours.shape[1] % size == 0)
    left, right = (np.ascontiguousarray(rows).view(f"u{size}") for rows in (ours, theirs))
    equal: Mask = left[:, 0] == right[:, 0]
    rows = slice(None) if equal.all() else np.flatnonzero(equal)
    equal[rows] = (left[rows] == right[rows]).all(axis=1)
    return equal


def _read(reader: TableReader, ids: Ids, rows: Bytes | None = None) -> Bytes:
    """Read rows by id, neighbours together: uint8 (n, row_bytes), into `rows` if they are given."""
    rows = np.empty((len(ids), reader.row_bytes), np.uint8) if rows is None else rows
    for start, stop in _runs(ids):
        reader.read(int(ids[start]), rows[start:stop])
    return rows


def _runs(ids: Ids) -> Iterator[tuple[int, int]]:
    """Cut ids into places start..stop of ids that follow each other."""
    cuts = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist(), len(ids)]
    yield from itertools.pairwise(cuts)
