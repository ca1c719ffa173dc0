"""The graph of nearest rows: for each row of a table the k rows nearest to it, whole or by parts.

A graph of n rows costs n passes over the table's numbers. So it can be cut, by the rows that ask and by the rows that
are looked at, each a range; `merge_graphs` puts the parts together, to the last tie as one pass finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from embtool.arguments import check_count, checked
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.tables.metric import MOST_QUERIES, Metric, check_metric
from embtool.tables.neighbors import check_part, nearest_each, rank
from embtool.tables.scan import Ids
from embtool.tables.table import EmbeddingTable, TableReader

NOBODY = -1
"""The id that stands where a row has fewer neighbours than asked for."""

ABSENT = 3
"""The class of such a place, behind all rows."""


@dataclass(frozen=True)
class NearestGraph:
    """For each of some rows the rows nearest to it, best first; never itself.

    Attributes:
        rows: the rows that ask.
        ids: their neighbours, int64 (n, k); -1 where there are no more, as for a row that is not finite.
        scores: by the metric, float64 (n, k); NaN for a neighbour without a score.
        classes: int64 (n, k): 0 for a neighbour with a score, 1 for one that is all zero, 2 for one that is not
            finite, 3 where there is none.
        metric: how nearness is measured.
    """

    rows: range
    ids: Ids
    scores: Doubles
    classes: Ids
    metric: Metric

    def edges(self) -> dict[str, Ids | Doubles]:
        """Return every neighbour as a line of four columns: row, rank from 1, id, score."""
        there = self.ids != NOBODY
        size, k = self.ids.shape
        asking = np.broadcast_to(np.array(self.rows, np.int64)[:, None], (size, k))
        ranks = np.broadcast_to(np.arange(1, k + 1), (size, k))
        return {"row": asking[there], "rank": ranks[there], "id": self.ids[there], "score": self.scores[there]}


@checked
def nearest_graph(
    table: EmbeddingTable,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    rows: range | None = None,
    ids: range | None = None,
    reader: TableReader | None = None,
) -> NearestGraph:
    """Find for each row of a table the k rows nearest to it, exactly, as `nearest` does for one vector.

    Args:
        table: the table.
        k: how many neighbours.
        metric: `cosine` and `dot` (the larger the nearer) or `euclidean` (the smaller the nearer).
        rows: the rows that ask, where not all do.
        ids: the rows that are looked at, where not all are.
        reader: the table, if it is open already.

    Raises:
        InvalidArgument: `k`, `metric`, `rows` or `ids` cannot be meant.
    """
    check_count(k, "k")
    check_metric(metric)
    for part in (rows, ids):
        check_part(part, table)
    if reader is None:
        with table.open() as opened:
            return nearest_graph(table, k, metric=metric, rows=rows, ids=ids, reader=opened)
    asking = range(table.shape[0]) if rows is None else rows
    found = NearestGraph(
        asking,
        np.full((len(asking), k), NOBODY, np.int64),
        np.full((len(asking), k), np.nan),
        np.full((len(asking), k), ABSENT, np.int64),
        metric,
    )
    for first in range(0, len(asking), MOST_QUERIES):
        chunk = asking[first : first + MOST_QUERIES]
        vectors = table.rows(chunk)
        finite = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        own = [[chunk[place]] for place in finite.tolist()]
        answers = nearest_each(table, vectors[finite], k, metric=metric, exclude=own, reader=reader, ids=ids)
        for place, answer in zip((first + finite).tolist(), answers, strict=True):
            size = len(answer.ids)
            found.ids[place, :size], found.scores[place, :size] = answer.ids, answer.scores
            found.classes[place, :size] = answer.classes
    return found


def merge_graphs(parts: Sequence[NearestGraph]) -> NearestGraph:
    """Merge the parts of a graph: those of the same rows by what they looked at, then those of other rows in order.

    Raises:
        InvalidArgument: there are no parts, they overlap, their rows do not follow one another, or they differ in
            metric or k.
    """
    if len({(part.metric, part.ids.shape[1]) for part in parts}) != 1:
        raise InvalidArgument("the parts of a graph have one metric and one k, and there is one at least")
    by_rows: dict[range, list[NearestGraph]] = {}
    for part in parts:
        by_rows.setdefault(part.rows, []).append(part)
    merged = [_merge_of_rows(each) for _, each in sorted(by_rows.items(), key=lambda item: item[0].start)]
    first, last = merged[0].rows, merged[-1].rows
    rows = range(first.start, last.stop, first.step)
    if [row for each in merged for row in each.rows] != list(rows):
        raise InvalidArgument("the rows of the parts do not follow one another")
    ids, scores, classes = (
        np.concatenate([getattr(each, name) for each in merged]) for name in ("ids", "scores", "classes")
    )
    return NearestGraph(rows, ids, scores, classes, merged[0].metric)


def _merge_of_rows(parts: Sequence[NearestGraph]) -> NearestGraph:
    """Merge the parts that ask for the same rows."""
    k, metric = parts[0].ids.shape[1], parts[0].metric
    ids, scores, classes = (
        np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("ids", "scores", "classes")
    )
    in_order = np.sort(ids, axis=1)
    if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NOBODY)).any():
        raise InvalidArgument("the parts overlap: each row is looked at in one of them")
    order = rank(ids, scores, classes, metric)[:, :k]
    ids, scores, classes = (np.take_along_axis(each, order, axis=1) for each in (ids, scores, classes))
    return NearestGraph(parts[0].rows, ids, scores, classes, metric)
