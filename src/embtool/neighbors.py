"""The nearest rows of a table, ranked, exactly.

One pass over the table finds the candidates (`embtool.scan`); their scores are then computed in float64 from the rows
themselves, so that the order does not depend on a kernel, a block size or a thread. Ties are broken by id.
"""

from dataclasses import dataclass

import numpy as np

from embtool.dtypes import Doubles, Floats
from embtool.errors import FormatError
from embtool.scan import Ids, Mask, find_candidates, make_scorer, read_rows
from embtool.table import EmbeddingTable, TableReader

RESCORED_BYTES = 64 << 20
"""Bytes of float64 rows in hand while candidates are rescored."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows, best first: `ids` int64 (n,), `scores` float64 (n,).

    A row without a score (all zero under cosine, or not finite) comes last with NaN; `nonfinite` counts the rows of the
    table that hold NaN or infinity.
    """

    ids: Ids
    scores: Doubles
    nonfinite: int = 0
    zero: int = 0


def nearest(
    table: EmbeddingTable,
    vector: Floats | Doubles,
    k: int = 10,
    *,
    metric: str = "cosine",
    allowed: Mask | None = None,
    exclude: tuple[int, ...] = (),
    mean: Doubles | None = None,
    reader: TableReader | None = None,
) -> Neighbors:
    """Rank the k rows of a table nearest to a vector, (width,) or (1, width).

    Args:
        table: the table whose rows are ranked.
        vector: the query.
        k: how many rows.
        metric: `cosine` and `dot` (the larger the nearer) or `euclidean` (the smaller the nearer).
        allowed: which rows may be answered, bool (rows,).
        exclude: ids never answered, such as the query's own.
        mean: float64 (width,), removed from the query and from every row before they are compared.
        reader: the table, if it is open already.

    Raises:
        FormatError: the vector is not finite or not as wide as the table.
    """
    query = check_vector(vector, table)
    if reader is None:
        with table.open() as opened:
            return nearest(table, query, k, metric=metric, allowed=allowed, exclude=exclude, mean=mean, reader=opened)
    if mean is not None:
        query = query - mean
    if exclude:
        allowed = np.ones(reader.row_count, np.bool_) if allowed is None else allowed.copy()
        allowed[list(exclude)] = False
    if metric == "cosine" and not query.any():
        return _unscored(reader.row_count, k, allowed)
    scorer = make_scorer(table.tensor.dtype, query.astype(np.float32), metric, mean)
    found = find_candidates(table, reader, scorer, k, metric=metric, allowed=allowed)
    scores = _rescore(table, reader, found.ids, query, metric, mean)
    best = np.lexsort((found.ids, scores if metric == "euclidean" else -scores))[:k]
    last = np.concatenate([found.zero, found.nonfinite])[: max(0, k - len(best))]
    return Neighbors(
        np.concatenate([found.ids[best], last]),
        np.concatenate([scores[best], np.full(len(last), np.nan)]),
        nonfinite=len(found.nonfinite),
        zero=len(found.zero),
    )


def check_vector(vector: Floats | Doubles, table: EmbeddingTable) -> Doubles:
    """Return a query as float64 (width,), or raise FormatError."""
    query = np.ascontiguousarray(vector, np.float64).reshape(-1)
    width = table.shape[1]
    if query.size != width:
        raise FormatError(f"the vector has {query.size:,} numbers, the rows of {table.tensor.name} have {width:,}")
    if not np.isfinite(query).all():
        raise FormatError("the vector holds NaN or infinity: it has no neighbours")
    if (np.abs(query) > np.finfo(np.float32).max).any():
        raise FormatError("the vector holds a number beyond float32")
    return query


def score_rows(rows: Floats | Doubles, query: Doubles, metric: str) -> Doubles:
    """Score rows, (n, width), against a query, (width,), in float64: the definition of every metric."""
    wide, vector = rows.astype(np.float64), query.astype(np.float64)
    if metric == "euclidean":
        away: Doubles = np.sqrt(np.square(wide - vector).sum(axis=1))
        return away
    dots: Doubles = wide @ vector
    if metric == "dot":
        return dots
    lengths = np.sqrt(np.square(wide).sum(axis=1)) * np.sqrt(np.square(vector).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine: Doubles = np.where(lengths > 0, dots / lengths, np.nan)
    return cosine


def _rescore(
    table: EmbeddingTable, reader: TableReader, ids: Ids, query: Doubles, metric: str, mean: Doubles | None
) -> Doubles:
    """Compute the candidates' scores in float64, some rows at a time."""
    scores = np.empty(len(ids), np.float64)
    step = max(1, RESCORED_BYTES // (8 * max(1, table.shape[1])))
    for first in range(0, len(ids), step):
        rows = table.tensor.dtype.to_float32(read_rows(reader, ids[first : first + step]))
        scores[first : first + step] = score_rows(rows if mean is None else rows - mean, query, metric)
    return scores


def _unscored(rows: int, k: int, allowed: Mask | None) -> Neighbors:
    """Answer a query of zeros under cosine: nothing has an angle to it."""
    ids = (np.arange(rows) if allowed is None else np.flatnonzero(allowed))[:k].astype(np.int64)
    return Neighbors(ids, np.full(len(ids), np.nan))
