"""The principal axes of a table's rows, and how its variance spreads over them.

Of a table of few numbers they are found from all rows. Of a large one a sample of its rows says as much in a hundredth
of the time, with an error that the same sample tells; all rows are looked at where that is asked for.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embtool.arrays import Bytes, Doubles, Floats, np
from embtool.tables.scan import LANES, Ids, read_rows, scan_in_order
from embtool.tables.survey import SEED, Survey, block_bytes
from embtool.tables.table import EmbeddingTable, TableReader

EXACT_WIDTH = 1024
"""Up to this width all principal axes are computed, from a width × width matrix; beyond it only the leading ones."""

PROBES = 48
"""Random directions from which the leading axes of a wide table are found: twice as many as are told, and more (Halko,
Martinsson and Tropp 2011, https://doi.org/10.1137/090771806)."""

DEFLATED = 4
"""Leading axes whose squares are counted by themselves before the others' are estimated: few, because axes found from
the probes fit the probes too well."""


SAMPLED_NUMBERS = 1 << 24
"""Numbers of a table beyond which its axes are found from a sample of its rows."""

HALF_BYTES = 64 << 20
"""Bytes of float32 rows in each half of a sample."""

HALF_ROWS = 4096
"""Rows of each half at most."""

PAIRED_ROWS = 1024
"""Rows of each half that are multiplied with those of the other."""


@dataclass(frozen=True)
class Axes:
    """The principal axes of a table's rows about their mean.

    Attributes:
        variances: Variance along each axis, the largest first: float64 (n,).
        directions: The axes, unit rows: float64 (n, width); each has its largest number positive.
        total: The variance in all directions.
        square_sum: Σ of the squared variances of all axes; an estimate where not all were computed.
        exact: Whether all axes were computed, from all rows.
        sample: How many rows they were found from, if not from all.
        variance_errors: Standard errors of the variances: float64 (n,), where they are those of a sample.
        square_error: Standard error of `square_sum`, likewise.
    """

    variances: Doubles
    directions: Doubles
    total: float
    square_sum: float
    exact: bool
    sample: int | None = None
    variance_errors: Doubles | None = None
    square_error: float | None = None


def probe_for(table: EmbeddingTable) -> Floats | None:
    """Choose the random directions that `survey` needs for `principal_axes` of a wide table; None for a narrow one."""
    width = table.shape[1]
    if width <= EXACT_WIDTH:
        return None
    return np.random.default_rng(SEED).standard_normal((width, PROBES)).astype(np.float32)


def principal_axes(
    table: EmbeddingTable, reader: TableReader, found: Survey, most: int, *, exact: bool = False
) -> Axes | None:
    """Find up to `most` principal axes; `found` is the pass made with `probe_for(table)`.

    A narrow table's are exact and take a second pass. Those of a wide one take two more: the covariance C is applied
    to the random directions, then to what came of that, and the axes are found inside the space that both span (a
    randomised block Krylov method: Musco and Musco 2015, https://arxiv.org/abs/1504.05477). What is found of an axis is
    never too much; where variances fall off slowly, the last ones told are a few percent too low. The sum of squares is
    that of the first axes, and Hutchinson's estimate for the others; it was a few percent off at most. With `exact` all
    axes are computed in any case, from a width × width matrix: minutes for a width of 5,000.

    Rows of any length are first made of length 1 on average, by a power of two, as float32 could not hold the products.

    Returns None where no two rows differ, or a row is too long for all that.
    """
    exponent, count = found.exponent, max(found.finite, 1)
    found = found.scaled(exponent)
    total = float(np.nansum(np.square(found.norms))) / count - float(np.square(found.mean).sum())
    probe, product = probe_for(table), found.product
    if probe is not None and product is not None and exponent:
        product = multiply(table, reader, probe, exponent)
    spread = None if probe is None or product is None or exact else _spread(found, product, probe)
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


def is_sampled(table: EmbeddingTable) -> bool:
    """Tell whether a table is so large that a sample of its rows tells enough."""
    return table.shape[0] * table.shape[1] > SAMPLED_NUMBERS and table.shape[0] >= 4 * _half(table)


def _half(table: EmbeddingTable) -> int:
    return max(64, min(HALF_ROWS, HALF_BYTES // (4 * table.shape[1])))


def sampled_axes(table: EmbeddingTable, reader: TableReader, found: Survey, most: int) -> Axes | None:
    """Estimate up to `most` principal axes from a sample of the rows, the same every time; `found` is the pass before.

    The axes are those of one half of the sample (found as in `principal_axes`), the variance along each is that of the
    other half: so none is flattered by the rows that it was found from. The sum of the squares of all variances is
    the mean square of a row of one half times a row of the other, which no size of a sample biases. Errors are standard
    errors over rows; the total variance is that of all rows.

    Returns None where no two rows differ, or a row is too long for all that.
    """
    exponent, half = found.exponent, _half(table)
    found = found.scaled(exponent)
    finite = np.flatnonzero(np.isfinite(found.norms))
    total = float(np.nansum(np.square(found.norms))) / max(found.finite, 1) - float(np.square(found.mean).sum())
    chosen = np.random.default_rng(SEED).permutation(finite)[: 2 * half]
    if len(chosen) < 2 * half or not (np.isfinite(total) and total > 0):
        return None

    def centered(ids: Ids) -> Floats:  # rows, times 2^exponent, less the mean of all
        rows = table.tensor.dtype.to_float32(read_rows(reader, np.sort(ids)))
        with np.errstate(all="ignore"):  # what float32 does not hold is seen below
            rows = np.ldexp(rows, exponent) if exponent else rows
            rows -= found.mean.astype(np.float32)
        return rows

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(centered, (chosen[:half], chosen[half:]))
        found_pairs = pool.submit(_paired, one, other)
        directions = _leading(one, max(most, DEFLATED))
        pairs = found_pairs.result()
    if directions is None or not np.isfinite(other).all():
        return None
    along = np.square((other @ directions.astype(np.float32).T).astype(np.float64))
    order = np.argsort(-along.mean(axis=0), kind="stable")[:most]
    spread = sum(float(pairs.mean(axis=side).var(ddof=1)) / pairs.shape[1 - side] for side in (0, 1))
    back = -2 * exponent
    return Axes(
        np.ldexp(along.mean(axis=0)[order], back),
        directions[order],
        math.ldexp(total, back),
        math.ldexp(float(pairs.mean()), 2 * back),
        exact=False,
        sample=2 * half,
        variance_errors=np.ldexp(along.std(axis=0, ddof=1)[order] / math.sqrt(half), back),
        square_error=math.ldexp(math.sqrt(spread), 2 * back),
    )


def _paired(one: Floats, other: Floats) -> Doubles:
    """Multiply rows of one half of a sample with rows of the other, and square that: float64 (n, n)."""
    with np.errstate(all="ignore"):  # what float32 does not hold is seen by the caller
        return np.square((one[:PAIRED_ROWS] @ other[:PAIRED_ROWS].T).astype(np.float64))


def _leading(rows: Floats, count: int) -> Doubles | None:
    """Find the leading principal axes of centred rows, (n, width): float64 (count, width); None if too long."""
    with np.errstate(all="ignore"):  # beyond float32: seen below
        probes = np.random.default_rng(SEED).standard_normal((rows.shape[1], PROBES)).astype(np.float32)
        spread = rows.T @ (rows @ probes)
        if not np.isfinite(spread).all():
            return None
        first = np.linalg.qr(spread)[0]
        basis = np.linalg.qr(np.hstack([first, rows.T @ (rows @ first)]))[0]
        seen = (rows @ basis).astype(np.float64)
    _, vectors = np.linalg.eigh(seen.T @ seen)
    return point_up((basis @ vectors[:, ::-1][:, :count]).T)


def multiply(table: EmbeddingTable, reader: TableReader, basis: Floats, exponent: int = 0) -> Doubles:
    """Compute XᵀXB over all finite rows X, times 2^exponent, for a basis B, float32 (width, n): float64 (width, n)."""

    def visit(total: Doubles, _: int, stored: Bytes) -> None:
        rows = _finite_rows(table, stored, exponent)
        with np.errstate(all="ignore"):  # beyond float32: the spectrum says so
            total += rows.T @ (rows @ basis)

    sums = scan_in_order(reader, lambda: np.zeros(basis.shape), visit, block_bytes=block_bytes(table, reader))
    total: Doubles = np.sum(sums, axis=0)
    return total


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

    lanes = LANES if size <= EXACT_WIDTH else 1  # one matrix is large enough, and multiplies in threads of its own
    sums = scan_in_order(reader, lambda: np.zeros((size, size)), visit, lanes=lanes)
    total: Doubles = np.sum(sums, axis=0)
    return total


def _finite_rows(table: EmbeddingTable, stored: Bytes, exponent: int) -> Floats:
    rows = table.tensor.dtype.to_float32(stored)
    finite = np.isfinite(rows).all(axis=1)
    rows = rows if finite.all() else rows[finite]
    return np.ldexp(rows, exponent) if exponent else rows
