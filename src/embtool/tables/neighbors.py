"""The nearest rows of a table, ranked, exactly.

One pass over the table finds the candidates (`embtool.tables.scan`); their scores are then computed in float64 from
the rows themselves, so that the order does not depend on a kernel, a block size or a thread. Ties are broken by id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from embtool.arguments import check_count, check_numbers, checked, quoted
from embtool.arrays import Doubles, Floats, np
from embtool.counts import plural
from embtool.errors import FormatError, InvalidArgument
from embtool.tables.candidates import Candidates, find_candidates
from embtool.tables.metric import MOST_QUERIES, Metric, check_metric
from embtool.tables.scan import Ids, Mask, in_parts, read_rows
from embtool.tables.scoring import make_scorer
from embtool.tables.table import EmbeddingTable, TableReader

RESCORED_BYTES = 1 << 20
"""Bytes of float64 rows in hand while candidates are rescored: they stay in a core's own cache."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows, best first.

    A row without a score (all zero under cosine, or not finite) comes last with NaN.

    Attributes:
        ids: token ids, int64 (n,); of rows with equal scores the smaller id comes first.
        scores: by the metric, float64 (n,).
        nonfinite: how many rows of the table hold NaN or infinity.
        zero: how many are all zero, where the metric has no score for them.
        zero_last: how many rows of zeros are among the answered: they stand before those that are not finite.
    """

    ids: Ids
    scores: Doubles
    nonfinite: int = 0
    zero: int = 0
    zero_last: int = 0

    @property
    def classes(self) -> Ids:
        """What comes before what, int64 (n,). Rows with a score are 0, rows of zeros 1, those not finite 2."""
        found = np.isnan(self.scores).astype(np.int64) * 2
        scored = len(found) - int(np.count_nonzero(found))
        found[scored : scored + self.zero_last] = 1
        return found


@checked
def nearest(
    table: EmbeddingTable,
    vector: Floats | Doubles,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    allowed: Mask | None = None,
    exclude: Sequence[int] = (),
    mean: Doubles | None = None,
    reader: TableReader | None = None,
    ids: range | None = None,
) -> Neighbors:
    """Rank the k rows of a table nearest to a vector, (width,) or (1, width), exactly.

    Every row is scored, and scores are float64. The row that the query came from is among the answers unless it is
    excluded.

    Args:
        table: the table whose rows are ranked.
        vector: the query.
        k: how many rows.
        metric: `cosine` and `dot` (the larger the nearer) or `euclidean` (the smaller the nearer).
        allowed: which rows may be answered, bool (rows,).
        exclude: ids never answered, such as the query's own.
        mean: float64 (width,), removed from the query and from every row before they are compared.
        reader: the table, if it is open already.
        ids: the rows that are looked at, where not all are: a part of the answer, for `merge_neighbors`.

    Returns:
        k rows, or as many as there are and are allowed.

    Raises:
        FormatError: the vector is not finite or not as wide as the table.
        InvalidArgument: `k`, `metric` or `ids` cannot be meant.
    """
    queries = check_vector(vector, table)[None]
    (found,) = nearest_each(
        table, queries, k, metric=metric, allowed=allowed, exclude=[exclude], mean=mean, reader=reader, ids=ids
    )
    return found


@checked
def nearest_each(
    table: EmbeddingTable,
    vectors: Sequence[Floats | Doubles] | Floats | Doubles,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    allowed: Mask | None = None,
    exclude: Sequence[Sequence[int]] | None = None,
    mean: Doubles | None = None,
    reader: TableReader | None = None,
    ids: range | None = None,
) -> list[Neighbors]:
    """Rank the k rows nearest to each of several vectors, (n, width), as `nearest` does for one, in few passes.

    `exclude` lists for each vector the ids never answered to it.

    Raises:
        FormatError: a vector is not finite or not as wide as the table.
        InvalidArgument: `k`, `metric`, `exclude` or `ids` cannot be meant.
    """
    check_metric(metric)
    check_count(k, "k")
    check_part(ids, table)
    if reader is None:
        with table.open() as opened:
            return nearest_each(
                table, vectors, k, metric=metric, allowed=allowed, exclude=exclude, mean=mean, reader=opened, ids=ids
            )
    queries = np.stack([check_vector(vector, table) for vector in vectors]) if len(vectors) else np.empty((0, 0))
    if mean is not None:
        mean = check_vector(mean, table)
        queries -= mean
    is_mask = isinstance(allowed, np.ndarray) and allowed.dtype == np.bool_ and allowed.shape == (table.shape[0],)
    if allowed is not None and not is_mask:
        raise InvalidArgument(f"allowed is a truth value for each of {table.shape[0]:,} rows, not {quoted(allowed)}")
    excluded = exclude if exclude is not None else [()] * len(queries)
    if len(excluded) != len(queries):
        wanted = plural(len(queries), "vector")
        raise InvalidArgument(f"exclude lists the ids for each of {wanted}, not for {len(excluded)}")
    first, ranking = 0, _Ranking(table, reader, min(k, reader.row_count), metric, allowed, mean)
    if ids is not None:
        if not len(ids):
            return [Neighbors(np.empty(0, np.int64), np.empty(0)) for _ in queries]
        first, ranking = min(ids), ranking.of_part(ids)
        excluded = [[row - first for row in own] for own in excluded]
    found: list[Neighbors] = []
    for place in range(0, len(queries), MOST_QUERIES):
        found += ranking.answer(queries[place : place + MOST_QUERIES], excluded[place : place + MOST_QUERIES])
    return found if not first else [replace(each, ids=each.ids + first) for each in found]


def merge_neighbors(parts: Sequence[Neighbors], k: int = 10, *, metric: Metric = "cosine") -> Neighbors:
    """Merge what was found for one vector in several parts of a table: to the last tie what one pass finds.

    Args:
        parts: the answers, each by `nearest` with other `ids`, the same `metric`, and a `k` no smaller than this one.
        k: how many rows.
        metric: the metric by which they were ranked.

    Raises:
        InvalidArgument: parts overlap, or `k` or `metric` cannot be meant.
    """
    check_metric(metric)
    check_count(k, "k")
    ids, scores, classes = (
        np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)])
        for name, kind in (("ids", np.int64), ("scores", np.float64), ("classes", np.int64))
    )
    in_order = np.sort(ids)
    if (in_order[1:] == in_order[:-1]).any():
        raise InvalidArgument("the parts overlap: each row is looked at in one of them")
    order = rank(ids, scores, classes, metric)[:k]
    return Neighbors(
        ids[order],
        scores[order],
        nonfinite=sum(part.nonfinite for part in parts),
        zero=sum(part.zero for part in parts),
        zero_last=int((classes[order] == 1).sum()),
    )


def rank(ids: Ids, scores: Doubles, classes: Ids, metric: Metric) -> Ids:
    """Return in which order rows are answered, along the last axis: by class, score, then id."""
    with np.errstate(invalid="ignore"):
        nearness = np.where(classes == 0, scores if metric == "euclidean" else -scores, 0.0)
    order: Ids = np.lexsort((ids, nearness, classes), axis=-1)
    return order


def check_part(ids: range | None, table: EmbeddingTable) -> None:
    """Raise InvalidArgument unless a range is one of rows of the table."""
    rows = table.shape[0]
    if ids is not None and len(ids) and not (min(ids) >= 0 and max(ids) < rows):
        raise InvalidArgument(f"ids is a range of rows 0 to {rows - 1:,} of {table.tensor.name}, not {ids}")


def check_vector(vector: Floats | Doubles, table: EmbeddingTable) -> Doubles:
    """Return a query as float64 (width,), or raise FormatError."""
    with np.errstate(invalid="ignore"):  # a signalling NaN, which is refused below
        given = np.ascontiguousarray(check_numbers(vector, "a vector"), np.float64)
    query, width = given.reshape(-1), table.shape[1]
    if query.size != width and given.ndim > 1 and len(given) != 1:
        shape = " × ".join(map(str, given.shape))
        raise FormatError(f"one vector is wanted, not an array of {shape}: nearest_each takes several")
    if query.size != width:
        held = plural(query.size, "number")
        raise FormatError(f"the vector has {held}, the rows of {table.tensor.name} have {width:,}")
    if not np.isfinite(query).all():
        raise FormatError("the vector holds NaN or infinity: it has no neighbours")
    if (np.abs(query) > np.finfo(np.float32).max).any():
        raise FormatError("the vector holds a number beyond float32")
    return query


def score_rows(rows: Floats | Doubles, query: Doubles, metric: Metric) -> Doubles:
    """Score rows, (n, width), against a query, (width,), or one each, in float64: the definition of every metric.

    Sums run along each row by itself, never through a matrix product, whose rounding depends on where in the matrix a
    row stands: equal rows have equal scores, so that ties are ties.
    """
    wide, vector = rows.astype(np.float64), query.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # of rows that are zero, or not finite
        if metric == "euclidean":
            away: Doubles = np.sqrt(np.square(wide - vector).sum(axis=1))
            return away
        dots: Doubles = (wide * vector).sum(axis=1)
        if metric == "dot":
            return dots
        check_metric(metric)
        lengths = np.sqrt(
            np.square(wide).sum(axis=1) * np.square(vector).sum(axis=-1)
        )  # one root: a row to itself is 1
        cosine: Doubles = np.where(lengths > 0, dots / lengths, np.nan)
        return cosine


@dataclass(frozen=True)
class _Ranking:
    """What all queries of one call have in common."""

    table: EmbeddingTable
    reader: TableReader
    k: int
    metric: Metric
    allowed: Mask | None
    mean: Doubles | None

    def of_part(self, ids: range) -> "_Ranking":
        """Return a ranking of these rows alone, counted from the first of them."""
        first, stop = min(ids), max(ids) + 1
        allowed = None if self.allowed is None else self.allowed[first:stop]
        if len(ids) < stop - first:
            chosen = np.zeros(stop - first, np.bool_)
            chosen[:: abs(ids.step)] = True
            allowed = chosen if allowed is None else chosen & allowed
        return replace(self, reader=self.reader.part(first, stop), k=min(self.k, len(ids)), allowed=allowed)

    def answer(self, queries: Doubles, exclude: Sequence[Sequence[int]]) -> list[Neighbors]:
        """Answer queries, (q, width), in one pass; under cosine a query of zeros has an angle to nothing."""
        has_angle = queries.any(axis=1) if self.metric == "cosine" else np.ones(len(queries), np.bool_)
        scored: list[int] = np.flatnonzero(has_angle).tolist()
        if not scored:
            return [self._unscored(own) for own in exclude]
        wanted = self.k + max(len(exclude[place]) for place in scored)
        scorer = make_scorer(self.table.tensor.dtype, queries[scored], self.metric, self.mean)
        found = find_candidates(
            self.table,
            self.reader,
            scorer,
            len(scored),
            wanted,
            metric=self.metric,
            allowed=self.allowed,
            centered=self.mean is not None,
        )
        ranked = self._rank(queries[scored], found, [exclude[place] for place in scored])
        answers = dict(zip(scored, ranked, strict=True))
        return [answers.get(place) or self._unscored(own) for place, own in enumerate(exclude)]

    def _rank(self, queries: Doubles, found: Candidates, exclude: Sequence[Sequence[int]]) -> Iterator[Neighbors]:
        """Yield for each query its candidates in the order of their scores; those of all are scored together."""
        rows = self.reader.row_count
        ids, whose = np.concatenate(found.ids), np.repeat(np.arange(len(queries)), list(map(len, found.ids)))
        left_out = [place * rows + row for place, own in enumerate(exclude) for row in own if 0 <= row < rows]
        kept = ~np.isin(whose * rows + ids, left_out)
        ids, whose = ids[kept], whose[kept]
        scores = self._score(ids, queries, whose)
        order = np.lexsort((ids, scores if self.metric == "euclidean" else -scores, whose))
        unscored = np.concatenate([found.zero, found.nonfinite])
        cuts = np.searchsorted(whose, np.arange(1, len(queries)))
        for own, ranked in zip(exclude, np.split(order, cuts), strict=True):
            best = ranked[: self.k]
            last = unscored[~np.isin(unscored, own)][: self.k - len(best)] if len(best) < self.k else unscored[:0]
            yield Neighbors(
                np.concatenate([ids[best], last]),
                np.concatenate([scores[best], np.full(len(last), np.nan)]),
                nonfinite=len(found.nonfinite),
                zero=len(found.zero),
                zero_last=int(np.isin(last, found.zero).sum()),
            )

    def _score(self, ids: Ids, queries: Doubles, whose: Ids) -> Doubles:
        """Compute in float64 the score of each row with the query whose candidate it is, some rows at a time."""
        step = max(1, RESCORED_BYTES // (8 * max(1, self.table.shape[1])))
        scores = [np.empty(0, np.float64)]
        for part in in_parts(np.arange(len(ids)), step):
            read, places = np.unique(ids[part], return_inverse=True)
            rows = self.table.tensor.dtype.to_float32(read_rows(self.reader, read))
            centered = rows if self.mean is None else rows - self.mean
            scores.append(score_rows(centered[places], queries[whose[part]], self.metric))
        return np.concatenate(scores)

    def _unscored(self, exclude: Sequence[int]) -> Neighbors:
        """List rows without scores, by id."""
        ids = np.arange(self.reader.row_count) if self.allowed is None else np.flatnonzero(self.allowed)
        ids = ids[~np.isin(ids, exclude)][: self.k].astype(np.int64)
        return Neighbors(ids, np.full(len(ids), np.nan), zero_last=len(ids))
