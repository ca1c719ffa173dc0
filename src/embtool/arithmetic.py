"""Expressions over rows: king - man + woman.

As in gensim's `most_similar(positive, negative)`, each row is scaled to unit length first, so that a long row does not
drown the others, and the result is their signed mean.
"""

from collections.abc import Sequence

import numpy as np

from embtool.dtypes import Doubles, Floats
from embtool.errors import FormatError


def combine(rows: Floats | Doubles, signs: Sequence[float]) -> Doubles:
    """Add and subtract rows, (n, width), each at unit length, by their signs: float64 (width,).

    Raises:
        FormatError: a row is all zero or not finite, so it has no direction to add.
    """
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise FormatError("a row of the expression is all zero or not finite: it has no direction")
    signed = np.asarray(signs, np.float64)[:, None] * wide / lengths[:, None]
    mean: Doubles = signed.mean(axis=0)
    return mean


def pool(rows: Floats, how: str) -> Doubles:
    """Make one vector, float64 (width,), of several rows, (n, width): their mean, their sum, the first or the last."""
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, and is shown as that
        pooled: Doubles = {
            "mean": lambda: wide.mean(axis=0),
            "sum": lambda: wide.sum(axis=0),
            "first": lambda: wide[0],
            "last": lambda: wide[-1],
        }[how]()
    return pooled
