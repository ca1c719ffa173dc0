"""A table in numbers: how long its rows are, what they have in common, how many directions they really use."""

from dataclasses import dataclass

from embtool.arrays import Doubles, np
from embtool.tables.scan import Ids
from embtool.tables.spectrum import Axes, is_sampled, principal_axes, probe_for, sampled_axes
from embtool.tables.survey import equal_rows, least, survey
from embtool.tables.table import EmbeddingTable, TableReader

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)

LEADING = 16
"""Principal axes whose share of the variance is told."""


@dataclass(frozen=True)
class Lengths:
    """The Euclidean lengths of the finite rows: mean, standard deviation, extremes, and percentiles by their number."""

    mean: float
    deviation: float
    least: float
    greatest: float
    percentiles: dict[int, float]


@dataclass(frozen=True)
class TableStatistics:
    """A table in numbers.

    Attributes:
        norms: The length of each row: float64 (rows,); NaN where it is not finite.
        lengths: Those of the finite rows, summed up; None where no row is finite.
        mean: The mean row: float64 (width,).
        mean_share: The share of all squared lengths that lies in the mean row: Σ|r|² is n|m|² and Σ|r - m|².
        average_cosine: Of all pairs of different rows that have a direction; None where there is no pair.
        zero: Ids of rows that are all zero.
        nonfinite: Ids of rows that hold NaN or infinity.
        duplicates: Groups of ids whose rows are the same, bit by bit; rows of zeros are not counted here.
        axes: The leading principal axes, or None where they were not asked for or do not exist.
    """

    norms: Doubles
    lengths: Lengths | None
    mean: Doubles
    mean_share: float | None
    average_cosine: float | None
    zero: Ids
    nonfinite: Ids
    duplicates: list[Ids]
    axes: Axes | None

    @property
    def mean_norm(self) -> float:
        """How long the mean row is."""
        return float(np.linalg.norm(self.mean))

    @property
    def effective_rank(self) -> float | None:
        """How many directions the rows use: the participation ratio (Σλ)² / Σλ² of the variances λ along all axes.

        It is n where n axes share the variance equally, 1 where one has it all.
        """
        return None if self.axes is None else self.axes.total**2 / self.axes.square_sum

    @property
    def rank_error(self) -> float | None:
        """The standard error of the effective rank, where it is that of a sample."""
        if self.axes is None or self.axes.square_error is None or self.effective_rank is None:
            return None
        return self.effective_rank * self.axes.square_error / self.axes.square_sum

    @property
    def share_errors(self) -> Doubles | None:
        """The standard errors of the leading shares, float64 (n,), where they are those of a sample."""
        errors = None if self.axes is None else self.axes.variance_errors
        return None if errors is None or self.axes is None else errors / self.axes.total

    @property
    def leading_shares(self) -> Doubles:
        """The share of the variance along each leading axis: float64 (n,)."""
        return np.empty(0) if self.axes is None else self.axes.variances / self.axes.total


def describe_table(
    table: EmbeddingTable, reader: TableReader, *, spectrum: bool = True, all_rows: bool = False
) -> TableStatistics:
    """Describe an open table, in one pass.

    The `spectrum` of its variance is found from a sample of a large table's rows; `all_rows` finds it from all. That
    takes one pass more, or of a small table that is wide two.
    """
    sampled = spectrum and is_sampled(table) and not all_rows
    found = survey(table, reader, probe_for(table) if spectrum and not sampled and not all_rows else None)
    axes = None
    if sampled:
        axes = sampled_axes(table, reader, found, LEADING)
    elif spectrum and found.finite:
        axes = principal_axes(table, reader, found, LEADING, exact=all_rows)
    distinct = np.ones(len(found.norms), np.bool_)
    distinct[found.zero] = False
    squares = float(np.nansum(np.square(found.norms)))
    # Over all pairs of n unit rows u with mean ū: (|Σu|² - n) / n(n - 1) = (n|ū|² - 1) / (n - 1).
    units = found.finite - len(found.zero)
    average = (units * float(np.square(found.mean_unit).sum()) - 1) / (units - 1) if units > 1 else None
    return TableStatistics(
        norms=found.norms,
        lengths=sum_up(found.norms),
        mean=found.mean,
        mean_share=None if not squares > 0 else found.finite * float(np.square(found.mean).sum()) / squares,
        average_cosine=average,
        zero=found.zero,
        nonfinite=found.nonfinite,
        duplicates=equal_rows(reader, found.norms, distinct),
        axes=axes,
    )


def sum_up(norms: Doubles) -> Lengths | None:
    """Sum up lengths, (rows,), those that are NaN left out; None where none is left."""
    finite = norms[np.isfinite(norms)]
    if not len(finite):
        return None
    return Lengths(
        mean=float(finite.mean()),
        deviation=float(finite.std()),
        least=float(finite.min()),
        greatest=float(finite.max()),
        percentiles={
            part: float(value) for part, value in zip(PERCENTILES, np.percentile(finite, PERCENTILES), strict=True)
        },
    )


@dataclass(frozen=True)
class Standing:
    """Where one row's length stands among all: how many finite rows are shorter, and of how many."""

    shorter: int
    of: int

    @property
    def percentile(self) -> float:
        """The share of rows that are shorter, in percent."""
        return 100.0 * self.shorter / max(self.of, 1)


def standing(norm: float, norms: Doubles) -> Standing | None:
    """Return where a length stands among those of all rows, (rows,); None for one that is not finite."""
    if not np.isfinite(norm):
        return None
    finite = norms[np.isfinite(norms)]
    return Standing(int((finite < norm).sum()), len(finite))


def extremes(norms: Doubles, count: int) -> tuple[Ids, Ids]:
    """List the ids of the shortest rows, the shortest first, and of the longest, the longest first; ties by id."""
    ids = np.flatnonzero(np.isfinite(norms)).astype(np.int64)
    return ids[least(norms[ids], count)], ids[least(-norms[ids], count)]
