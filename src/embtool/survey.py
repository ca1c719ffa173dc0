"""What one pass over a table finds out about every row, and the sums from which its principal axes follow.

A pass reads each block once, in bounded memory, and adds up in float64 in a fixed order, so that the same table gives
the same digits on every run. Rows that are not finite take no part in sums; they are listed.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embtool.dtypes import Bytes, Doubles, Floats
from embtool.scan import Ids, Mask, in_parts, read_rows, scan_in_order
from embtool.table import EmbeddingTable, TableReader

Keys = NDArray[np.uint64]

Opener = Callable[[EmbeddingTable], AbstractContextManager[TableReader]]
"""What opens a table: `EmbeddingTable.open`, or something that watches the reading."""

SEED = 20240508
"""Of the random numbers below: any constant does, as long as it is one."""

SURVEY_BYTES = 1 << 20
"""Bytes of a block: decoded to float32 and squared in float64, it should stay in a core's own cache."""

COMPARED_AT_ONCE = 1024
"""Rows of one key compared at a time: a table can hold its one untrained row ten thousand times."""

EXACT_WIDTH = 1024
"""Up to this width all principal axes are computed, from a width × width matrix; beyond it only the leading ones."""

PROBES = 48
"""Random directions from which the leading axes of a wide table are found: twice as many as are told, and more (Halko,
Martinsson and Tropp 2011, https://doi.org/10.1137/090771806)."""

FREE_EXPONENT = 20
"""Rows of an average length of 2^±20 have float32 products of full precision, even where single rows are far longer."""

DEFLATED = 4
"""Leading axes whose squares are counted by themselves before the others' are estimated: few, because axes found from
the probes fit the probes too well."""


@dataclass(frozen=True)
class Survey:
    """What one pass found.

    Attributes:
        norms: Euclidean length of each row: float64 (rows,); NaN where the row holds NaN or infinity.
        zero: Ids of rows that are all zero.
        nonfinite: Ids of rows that hold NaN or infinity.
        keys: A number for each row, equal where its stored bytes are: uint64 (rows,).
        mean: The mean of the finite rows: float64 (width,).
        mean_unit: The mean of the finite rows that are not zero, each scaled to length 1: float64 (width,).
        product: The finite rows' XᵀX times the probe: float64 (width, probes), or None without a probe.
    """

    norms: Doubles
    zero: Ids
    nonfinite: Ids
    keys: Keys
    mean: Doubles
    mean_unit: Doubles
    product: Doubles | None

    @property
    def finite(self) -> int:
        """How many rows are finite."""
        return len(self.norms) - len(self.nonfinite)

    @property
    def exponent(self) -> int:
        """The power of two by which rows are of length 1 on average; 0 where float32 holds their products anyhow."""
        mean = float(np.sqrt(np.nanmean(np.square(self.norms)))) if self.finite else 0.0
        exponent = -int(np.frexp(mean)[1])
        return exponent if abs(exponent) > FREE_EXPONENT else 0

    def scaled(self, exponent: int) -> "Survey":
        """Return what would have been found of rows times 2^exponent; the product is left as it is."""
        return replace(self, norms=np.ldexp(self.norms, exponent), mean=np.ldexp(self.mean, exponent))


@dataclass
class _Sums:
    rows: Doubles
    units: Doubles
    product: Doubles | None


def survey(table: EmbeddingTable, reader: TableReader, probe: Floats | None = None) -> Survey:
    """Read a table once: length and key of every row, the means, and XᵀX times `probe`, float32 (width, probes)."""
    width, count = table.shape[1], reader.row_count
    squares, keys = np.empty(count, np.float64), np.empty(count, np.uint64)
    odd = _odd_numbers(reader.row_bytes)

    def start() -> _Sums:
        return _Sums(
            np.zeros(width), np.zeros(width), None if probe is None else np.zeros((width, probe.shape[1]), np.float64)
        )

    def visit(sums: _Sums, first: int, stored: Bytes) -> None:
        rows = table.tensor.dtype.to_float32(stored)
        keys[first : first + len(rows)] = _keys(stored, odd)
        with np.errstate(all="ignore"):  # rows that are not finite are listed
            found = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        squares[first : first + len(rows)] = found
        finite = np.isfinite(found)
        if not finite.all():
            rows, found = rows[finite], found[finite]
        lengths = np.sqrt(found)
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        sums.rows += rows.sum(axis=0, dtype=np.float64)
        sums.units += inverse @ rows.astype(np.float64)
        if sums.product is not None and probe is not None:
            with np.errstate(all="ignore"):  # beyond float32: `principal_axes` makes it again
                sums.product += rows.T @ (rows @ probe)

    lanes = scan_in_order(reader, start, visit, block_bytes=SURVEY_BYTES)
    with np.errstate(all="ignore"):  # `principal_axes` makes it again
        product = None if probe is None else np.sum([_product(lane) for lane in lanes], axis=0)
    lost = ~np.isfinite(squares)
    finite = int(count - lost.sum())
    zero = squares == 0
    return Survey(
        norms=np.sqrt(np.where(lost, np.nan, squares)),
        zero=np.flatnonzero(zero).astype(np.int64),
        nonfinite=np.flatnonzero(lost).astype(np.int64),
        keys=keys,
        mean=np.sum([lane.rows for lane in lanes], axis=0) / max(finite, 1),
        mean_unit=np.sum([lane.units for lane in lanes], axis=0) / max(finite - int(zero.sum()), 1),
        product=product,
    )


def _product(sums: _Sums) -> Doubles:
    assert sums.product is not None
    return sums.product


def multiply(table: EmbeddingTable, reader: TableReader, basis: Floats, exponent: int = 0) -> Doubles:
    """Compute XᵀXB over all finite rows X, times 2^exponent, for a basis B, float32 (width, n): float64 (width, n)."""

    def visit(total: Doubles, _: int, stored: Bytes) -> None:
        rows = _finite_rows(table, stored, exponent)
        with np.errstate(all="ignore"):  # beyond float32: the spectrum says so
            total += rows.T @ (rows @ basis)

    sums = scan_in_order(reader, lambda: np.zeros(basis.shape), visit, block_bytes=SURVEY_BYTES)
    total: Doubles = np.sum(sums, axis=0)
    return total


def _finite_rows(table: EmbeddingTable, stored: Bytes, exponent: int) -> Floats:
    rows = table.tensor.dtype.to_float32(stored)
    finite = np.isfinite(rows).all(axis=1)
    rows = rows if finite.all() else rows[finite]
    return np.ldexp(rows, exponent) if exponent else rows


def gram(table: EmbeddingTable, reader: TableReader, basis: Floats | None = None, exponent: int = 0) -> Doubles:
    """Compute (XB)ᵀXB over all finite rows X, times 2^exponent, for a basis B, float32 (width, n): float64 (n, n).

    Without a basis, XᵀX.
    """
    size = table.shape[1] if basis is None else basis.shape[1]

    def visit(total: Doubles, _: int, stored: Bytes) -> None:
        rows = _finite_rows(table, stored, exponent)
        with np.errstate(all="ignore"):  # beyond float32: the spectrum says so
            seen = rows if basis is None else rows @ basis
            total += seen.T @ seen

    sums = scan_in_order(reader, lambda: np.zeros((size, size)), visit)
    total: Doubles = np.sum(sums, axis=0)
    return total


@dataclass(frozen=True)
class Axes:
    """The principal axes of a table's rows about their mean.

    Attributes:
        variances: Variance along each axis, the largest first: float64 (n,).
        directions: The axes, unit rows: float64 (n, width); each has its largest number positive.
        total: The variance in all directions.
        square_sum: Σ of the squared variances of all axes; an estimate where not all were computed.
        exact: Whether all axes were computed.
    """

    variances: Doubles
    directions: Doubles
    total: float
    square_sum: float
    exact: bool


def probe_for(table: EmbeddingTable) -> Floats | None:
    """Choose the random directions that `survey` needs for `principal_axes` of a wide table; None for a narrow one."""
    width = table.shape[1]
    if width <= EXACT_WIDTH:
        return None
    return np.random.default_rng(SEED).standard_normal((width, PROBES)).astype(np.float32)


def principal_axes(table: EmbeddingTable, reader: TableReader, found: Survey, most: int) -> Axes | None:
    """Find up to `most` principal axes; `found` is the pass made with `probe_for(table)`.

    A narrow table's are exact and take a second pass. Those of a wide one take two more: the covariance C is applied
    to the random directions, then to what came of that, and the axes are found inside the space that both span (a
    randomised block Krylov method: Musco and Musco 2015, https://arxiv.org/abs/1504.05477). What is found of an axis is
    never too much; where variances fall off slowly, the last ones told are a few percent too low. The sum of squares is
    that of the first axes, and Hutchinson's estimate for the others; it was a few percent off at most.

    Rows of any length are first made of length 1 on average, by a power of two, as float32 could not hold the products.

    Returns None where no two rows differ, or a row is too long for all that.
    """
    exponent, count = found.exponent, max(found.finite, 1)
    found = found.scaled(exponent)
    total = float(np.nansum(np.square(found.norms))) / count - float(np.square(found.mean).sum())
    probe, product = probe_for(table), found.product
    if probe is not None and product is not None and exponent:
        product = multiply(table, reader, probe, exponent)
    spread = None if probe is None or product is None else _spread(found, product, probe)
    if spread is None:
        basis, moment = np.eye(table.shape[1]), gram(table, reader, exponent=exponent)
    else:
        if not np.isfinite(spread).all():
            return None
        first = np.linalg.qr(spread)[0]
        again = _spread(found, multiply(table, reader, first.astype(np.float32), exponent), first)
        if not np.isfinite(again).all():
            return None
        basis = np.linalg.qr(np.hstack([first, again]))[0]
        moment = gram(table, reader, basis.astype(np.float32), exponent)
    if not np.isfinite(moment).all() or not np.isfinite(total):
        return None
    inside = found.mean @ basis
    variances, vectors = np.linalg.eigh(moment / count - np.outer(inside, inside))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    if not total > 0 or not variances[0] > 0:
        return None
    directions = point_up((basis @ vectors[:, : max(most, DEFLATED)]).T)
    squares = float(np.square(variances).sum())
    if spread is not None and probe is not None:
        leading = directions[:DEFLATED]
        rest = spread - leading.T @ (variances[:DEFLATED, None] * (leading @ probe))
        squares = float(np.square(variances[:DEFLATED]).sum() + np.square(rest).sum() / PROBES)
    back = -2 * exponent
    return Axes(
        np.ldexp(variances[:most], back),
        directions[:most],
        math.ldexp(total, back),
        math.ldexp(squares, 2 * back),
        exact=spread is None,
    )


def _spread(found: Survey, product: Doubles, directions: Floats | Doubles) -> Doubles:
    """Apply the covariance to directions, (width, n), given XᵀX times them."""
    applied: Doubles = product / max(found.finite, 1) - np.outer(found.mean, found.mean @ directions)
    return applied


def point_up(directions: Doubles) -> Doubles:
    """Turn each direction, (n, width), so that its largest number is positive: an axis has no sign of its own."""
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    turned: Doubles = directions * np.where(signs == 0, 1, signs)[:, None]
    return turned


def distances(table: EmbeddingTable, reader: TableReader, point: Doubles, axis: Doubles | None = None) -> Doubles:
    """Compute each row's distance to a point, float64 (rows,), but for its part along `axis`; NaN if not finite."""
    result = np.empty(reader.row_count, np.float64)
    near = point.astype(np.float32)
    away = None if axis is None else axis.astype(np.float32)

    def visit(_: None, first: int, stored: Bytes) -> None:
        with np.errstate(all="ignore"):  # rows that are not finite have no distance
            apart = table.tensor.dtype.to_float32(stored)
            if near.any():
                apart = apart - near
            squares = np.einsum("ij,ij->i", apart, apart, dtype=np.float64)
            lost = ~np.isfinite(squares)
            if lost.any() and near.any():  # not finite, or so far away that float32 does not hold it
                far = table.tensor.dtype.to_float32(stored[lost]).astype(np.float64) - point
                squares[lost] = np.square(far).sum(axis=1)
            if away is not None:
                squares = np.maximum(squares - np.square((apart @ away).astype(np.float64)), 0)
        result[first : first + len(apart)] = np.where(np.isfinite(squares), np.sqrt(np.abs(squares)), np.nan)

    scan_in_order(reader, lambda: None, visit, block_bytes=SURVEY_BYTES)
    return result


def equal_rows(reader: TableReader, keys: Keys, among: Mask | None = None) -> list[Ids]:
    """List the groups of rows whose stored bytes are equal, of those `among`, bool (rows,); each sorted by id.

    Rows with equal keys are read again and compared, so that two keys that meet by accident are no group.
    """
    ids = np.arange(len(keys)) if among is None else np.flatnonzero(among)
    order = ids[np.argsort(keys[ids], kind="stable")]
    cuts = np.flatnonzero(np.diff(keys[order]) != 0) + 1
    groups = [group for group in np.split(order, cuts) if len(group) > 1]
    found = [same for group in groups for same in _verified(reader, group.astype(np.int64))]
    return sorted(found, key=lambda group: int(group[0]))


def _verified(reader: TableReader, group: Ids) -> list[Ids]:
    """Cut rows with one key into groups of rows whose bytes are equal."""
    found: list[Ids] = []
    while len(group) > 1:
        first = read_rows(reader, group[:1])
        same = np.concatenate(
            [(read_rows(reader, part) == first).all(axis=1) for part in in_parts(group, COMPARED_AT_ONCE)]
        )
        if same.sum() > 1:
            found.append(group[same])
        group = group[~same]
    return found


def _odd_numbers(row_bytes: int) -> Keys:
    """Make the multipliers of `_keys`, one for each word of a row."""
    word = next(size for size in (8, 4, 2, 1) if row_bytes % size == 0)
    numbers = np.random.default_rng(SEED).integers(0, 1 << 63, row_bytes // word, np.uint64)
    return numbers << np.uint64(1) | np.uint64(1)


def _keys(stored: Bytes, odd: Keys) -> Keys:
    """Sum each row's words times random odd numbers, modulo 2⁶⁴: uint64 (n,)."""
    words = np.ascontiguousarray(stored).view(f"<u{stored.shape[1] // len(odd)}")
    keys: Keys = words.astype(np.uint64) @ odd if words.dtype.itemsize < 8 else words @ odd  # noqa: PLR2004 - of uint64
    return keys
