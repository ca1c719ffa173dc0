"""Rows held against their counterparts, pair by pair, as they are stored: distances and cosines at memory speed.

Kernels add up in float32, so what comes of them is *rough*: off by a stated slack. Whoever tells a figure, or decides
by one, computes it anew in float64 from the two rows (`compare_rows`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from embtool.dtypes import Bytes, Doubles, DType, Floats
from embtool.scan import ROUNDING, Mask

PAIR_KERNELS = {"BF16": "bf16", "F16": "f16", "F32": "f32"}
"""NumKong's names of the dtypes whose rows are compared as they are stored."""

LEAST, MOST = 2.0**-100, 2.0**100
"""Sums of squares outside of these are not to be trusted to float32: such rows are compared in float64."""


@dataclass(frozen=True)
class Compared:
    """Figures of pairs of rows, float64 (n,) each; NaN where one of the two is not finite, or all zero.

    Attributes:
        distance: The Euclidean distance of the two.
        relative: The distance by the length of the first.
        error: 1 - the cosine of the two.
        slack: How far `error` can be off; distances are off by the share `slack_of` of themselves where it is not 0.
    """

    distance: Doubles
    relative: Doubles
    error: Doubles
    slack: Doubles


def slack_of(width: int) -> float:
    """Return the share of itself by which a kernel's sum of squares over a row can be off."""
    return width * ROUNDING


def compare_stored(dtype: DType, left: Bytes, right: Bytes) -> tuple[Compared, Mask]:
    """Compare rows of one of `PAIR_KERNELS` as they are stored, uint8 (n, row_bytes) each, roughly.

    Returns:
        The figures, and which of them hold: not those of rows that are equal, or not finite, or of a size at which
        float32 cannot tell; these must be looked at.
    """
    import numkong  # noqa: PLC0415 - a command that compares nothing does not load it

    width = left.shape[1] // dtype.bytes
    share = slack_of(width)

    def view(rows: Bytes) -> Any:
        return numkong.from_pointer(rows.ctypes.data, (len(rows), width), PAIR_KERNELS[dtype.name], owner=rows)

    def computed(found: Any) -> Doubles:
        return np.asarray(found, np.float64).reshape(-1)

    ours, theirs = view(left), view(right)
    away = computed(numkong.sqeuclidean(ours, theirs))
    if not away.any():  # all are equal, or nearly: lengths would be for nothing
        return Compared(away, away, away, away), np.zeros(len(left), np.bool_)
    first, second = computed(numkong.dot(ours, ours)), computed(numkong.dot(theirs, theirs))
    with np.errstate(all="ignore"):  # what does not hold is told
        holds = np.ones(len(left), np.bool_)
        for found in (away, first, second):
            holds &= (found > LEAST) & (found < MOST)
        lengths, others = np.sqrt(first), np.sqrt(second)
        apart, longest, both = np.abs(lengths - others), np.maximum(lengths, others), 2 * lengths * others
        # the law of cosines: 1 - cosine without the difference of two numbers that are nearly one
        error = np.maximum(away - np.square(apart), 0.0) / both
        off = share * (away + longest * (2 * apart + share * longest))
        distance = np.sqrt(away)
        return Compared(distance, distance / lengths, error, off / both + share * error), holds


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
    return Compared(distance, relative, 1.0 - np.clip(cosine, -1.0, 1.0), np.zeros(len(left)))
