"""Rows held against their counterparts, pair by pair, as they are stored: distances and cosines at memory speed.

Kernels add up in float32, so what comes of them is *rough*: off by a stated slack. Whoever tells a figure, or decides
by one, computes it anew in float64 from the two rows (`compare_rows`).
"""

from dataclasses import dataclass
from typing import Any

from embtool.arrays import AnyArray, Bytes, Doubles, Floats, np
from embtool.storage.dtypes import DType
from embtool.tables.kernels import ROUNDING
from embtool.tables.scan import Mask

PAIR_KERNELS = {"BF16": "bf16", "F16": "f16"}
"""NumKong's names of the dtypes whose rows are compared as they are stored."""

LEAST, MOST = 2.0**-100, 2.0**100
"""Sums of squares outside of these are not to be trusted to float32: such rows are compared in float64."""


@dataclass(frozen=True)
class Compared:
    """Figures of pairs of rows, float64 (n,) each; NaN where one of the two is not finite, or all zero.

    Attributes:
        distance: The Euclidean distance of the two.
        relative: The distance by the length of the first.
        cosine: The cosine of the two.
        slack: How far the cosine can be off; distances are off by the share `slack_of` of themselves where it is not 0.
    """

    distance: Doubles
    relative: Doubles
    cosine: Doubles
    slack: Doubles


def slack_of(width: int) -> float:
    """Return the share of itself by which a kernel's sum of squares over a row can be off."""
    return width * ROUNDING


def compare_stored(dtype: DType, left: Bytes, right: Bytes) -> tuple[Compared, Mask]:
    """Compare rows of one of `PAIR_KERNELS` as they are stored, uint8 (n, row_bytes): roughly, and tell what holds.

    Those of rows that are equal, or not finite, or of a size at which float32 cannot tell, do not hold.
    """
    import numkong  # noqa: PLC0415 - a command that compares nothing does not load it

    def view(held: AnyArray, shape: tuple[int, ...], kind: Any) -> Any:
        return numkong.from_pointer(held.ctypes.data, shape, kind, owner=held)

    count, width = left.shape[0], left.shape[1] // dtype.bytes
    ours, theirs = (view(rows, (count, width), PAIR_KERNELS[dtype.name]) for rows in (left, right))
    sums = away, first, second = np.empty((3, count))
    for kernel, one, other, out in zip(
        (numkong.sqeuclidean, numkong.dot, numkong.dot), (ours, ours, theirs), (theirs, ours, theirs), sums, strict=True
    ):
        kernel(one, other, out=view(out, (count,), "f64"))
    share = slack_of(width)
    with np.errstate(all="ignore"):  # what does not hold is told
        holds = np.ones(count, np.bool_)
        for found in sums:
            holds &= (found > LEAST) & (found < MOST)
        lengths, others = np.sqrt(first), np.sqrt(second)
        apart, longest, both = np.abs(lengths - others), np.maximum(lengths, others), 2 * lengths * others
        # the law of cosines: 1 - cosine without the difference of two numbers that are nearly one
        error = np.maximum(away - np.square(apart), 0.0) / both
        off = share * (away + longest * (2 * apart + share * longest))
        distance = np.sqrt(away)
        return Compared(distance, distance / lengths, 1.0 - error, off / both + share * error), holds


def compare_rows(left: Floats, right: Floats) -> Compared:
    """Compare rows, float32 (n, width) each, in float64."""

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
    return Compared(distance, relative, np.clip(cosine, -1.0, 1.0), np.zeros(len(left)))
