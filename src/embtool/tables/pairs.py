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


class PairSums:
    """What kernels add up over pairs of rows of one of `PAIR_KERNELS`; filled in block by block, by several threads.

    Attributes:
        away: The squared distance of each pair: float64 (rows,), NaN where none was added.
    """

    def __init__(self, dtype: DType, width: int, rows: int) -> None:
        self.away = np.full(rows, np.nan)
        self._first, self._second = np.zeros(rows), np.zeros(rows)
        self._kernel, self._width = PAIR_KERNELS[dtype.name], width

    def add(self, at: int, left: Bytes, right: Bytes) -> None:
        """Add pairs as they are stored, uint8 (n, row_bytes) each, at their places from `at` on."""
        import numkong  # noqa: PLC0415 - a command that compares nothing does not load it

        def view(held: AnyArray, shape: tuple[int, ...], kind: Any) -> Any:
            return numkong.from_pointer(held.ctypes.data, shape, kind, owner=held)

        places = slice(at, at + len(left))
        ours, theirs = (view(rows, (len(rows), self._width), self._kernel) for rows in (left, right))
        away, first, second = (
            view(sums[places], (len(left),), "f64") for sums in (self.away, self._first, self._second)
        )
        numkong.sqeuclidean(ours, theirs, out=away)
        if self.away[places].any():  # of rows that are equal nobody asks the lengths
            numkong.dot(ours, ours, out=first)
            numkong.dot(theirs, theirs, out=second)

    def figures(self) -> tuple[Compared, Mask]:
        """Turn the sums into rough figures, and tell which hold.

        Those of rows that are equal, or not finite, or of a size at which float32 cannot tell, do not.
        """
        share = slack_of(self._width)
        with np.errstate(all="ignore"):  # what does not hold is told
            holds = np.ones(len(self.away), np.bool_)
            for found in (self.away, self._first, self._second):
                holds &= (found > LEAST) & (found < MOST)
            lengths, others = np.sqrt(self._first), np.sqrt(self._second)
            apart, longest, both = np.abs(lengths - others), np.maximum(lengths, others), 2 * lengths * others
            # the law of cosines: 1 - cosine without the difference of two numbers that are nearly one
            error = np.maximum(self.away - np.square(apart), 0.0) / both
            off = share * (self.away + longest * (2 * apart + share * longest))
            distance = np.sqrt(self.away)
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
