"""A shadow of rows in two dimensions: their principal components, and how much of them the shadow keeps."""

from dataclasses import dataclass

from embtool.arrays import Doubles, Floats, np
from embtool.errors import FormatError
from embtool.tables.spectrum import Axes, point_up

DIMENSIONS = 2


@dataclass(frozen=True)
class Projection:
    """Rows seen along two axes.

    Attributes:
        points: Where each row falls: float64 (n, 2), in the units of the rows.
        shares: The share of the rows' variance about the origin of the axes that each axis keeps: float64 (2,).
    """

    points: Doubles
    shares: Doubles

    @property
    def kept(self) -> float:
        """The share of the variance that the shadow keeps."""
        return float(self.shares.sum())


def project_on_own(rows: Floats | Doubles) -> Projection:
    """Project rows, (n, width), on their own two principal components, about their mean.

    Raises:
        FormatError: a row is not finite, or there are fewer than two.
    """
    wide = _checked(rows)
    centered = wide - wide.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    return _project(centered, point_up(directions[:DIMENSIONS]))


def project_on_table(rows: Floats | Doubles, mean: Doubles, axes: Axes) -> Projection:
    """Project rows, (n, width), on the first two principal axes of their whole table, about its mean, (width,).

    The shares are those of these rows, not those of the table, which are `axes.variances / axes.total`.

    Raises:
        FormatError: a row is not finite, or there are fewer than two.
    """
    return _project(_checked(rows) - mean, axes.directions[:DIMENSIONS])


def _checked(rows: Floats | Doubles) -> Doubles:
    wide = rows.astype(np.float64)
    if len(wide) < DIMENSIONS:
        raise FormatError("a picture needs at least two rows")
    if not np.isfinite(wide).all():
        raise FormatError("a row holds NaN or infinity: it has no place in a picture")
    return wide


def _project(centered: Doubles, directions: Doubles) -> Projection:
    points = np.zeros((len(centered), DIMENSIONS))
    points[:, : len(directions)] = centered @ directions.T
    total = float(np.square(centered).sum())
    kept = np.square(points).sum(axis=0)
    return Projection(points, kept / total if total > 0 else np.zeros(DIMENSIONS))
