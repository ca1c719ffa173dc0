"""The rows that can be among the k best, when every score may be off by a stated slack.

Kernels round. So a pass does not decide a ranking: it finds *candidates*, all rows that could be among the k best.
Whoever ranks computes the candidates' scores in float64 from their rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embtool.arrays import Bytes, Floats, Reals, np
from embtool.tables.metric import Metric
from embtool.tables.scan import BLOCK_BYTES, Ids, Mask, read_rows, scan
from embtool.tables.scoring import Scorer, Scores
from embtool.tables.table import EmbeddingTable, TableReader

SCORES_AT_ONCE = 1 << 20
"""Scores of a block, rows times queries: they too should stay in the cache."""

ROWS_WAITING = 1 << 14
"""Rows whose scores are decided about together: a block of wide rows has too few to be worth the calls."""

PRUNE_AT = 4096
"""Candidates a thread collects for one query, beside 4 k, before it drops those that have fallen behind."""

PRUNE_ALL_AT = 1 << 18
"""Candidates a thread collects for all queries together before it does so."""


@dataclass(frozen=True)
class Candidates:
    """What a pass found: for each query the ids that can be among its k best, and rows that have no score at all."""

    ids: list[Ids]
    zero: Ids
    nonfinite: Ids


def find_candidates(
    table: EmbeddingTable,
    reader: TableReader,
    scorer: Scorer,
    queries: int,
    k: int,
    *,
    metric: Metric,
    allowed: Mask | None = None,
    centered: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> Candidates:
    """Scan a table once for the rows that can be among the k best, of those that `allowed`, bool (rows,), lets in.

    `centered` says that a mean is removed: then a row of zeros has a direction like any other.
    """
    dtype = table.tensor.dtype

    def row(identity: int) -> Floats:
        rows: Floats = dtype.to_float32(read_rows(reader, np.array([identity])))
        return rows.reshape(-1)

    def visit(found: "_Collector", first: int, stored: Bytes) -> None:
        found.add(first, scorer.score(stored))

    def start() -> "_Collector":
        return _Collector(queries, k, metric, row, allowed, zeros=metric == "cosine" and not centered)

    most = max(1, SCORES_AT_ONCE // queries) * max(reader.row_bytes, reader.row_cost)
    return _merge(scan(reader, start, visit, block_bytes=min(block_bytes, most)))


class _Collector:
    """Keeps, of all blocks one thread has seen, the rows that can still be among the k best of each query.

    The scores of several blocks are taken in together: for one query a block is scored faster than Python can decide
    about it. `row` reads a row again, for the few that must be looked at.
    """

    def __init__(
        self, queries: int, k: int, metric: Metric, row: Callable[[int], Floats], allowed: Mask | None, *, zeros: bool
    ) -> None:
        self.k = k
        self.metric = metric
        self.row = row
        self.allowed = allowed
        self.zeros = zeros
        self.waiting: list[tuple[int, Scores]] = []
        self.rows_waiting = 0
        self.most_waiting = min(ROWS_WAITING, max(1, SCORES_AT_ONCE // queries))
        self.floor = np.full(queries, -np.inf)
        self.limit = min(queries * (PRUNE_AT + 4 * k), PRUNE_ALL_AT + 8 * k * queries)
        self.found: list[tuple[Ids, Ids, Reals, Reals]] = []
        self.count = 0
        self.zero: list[int] = []
        self.nonfinite: list[int] = []

    def add(self, first: int, scores: Scores) -> None:
        """Take a block's scores; they are decided about when there are enough."""
        self.waiting.append((first, scores))
        self.rows_waiting += len(scores.values)
        if self.rows_waiting >= self.most_waiting:
            self.take()

    def take(self) -> None:
        """Decide about the scores that wait; rows whose score needs a look are looked at."""
        if not self.waiting:
            return
        ids = np.concatenate([np.arange(first, first + len(scores.values)) for first, scores in self.waiting])
        values = _joined([scores.values for _, scores in self.waiting])
        with np.errstate(all="ignore"):  # what is not finite is looked at
            slack = _joined([np.broadcast_to(scores.slack, scores.values.shape) for _, scores in self.waiting])
            upper = values + slack
        self.waiting, self.rows_waiting = [], 0
        odd = ~np.isfinite(upper).all(axis=1)
        if self.metric == "cosine" and len(self.floor) == 1:  # scores of many tell a row of zeros by NaN
            odd |= values[:, 0] == 0.0
        if self.allowed is not None:
            odd &= self.allowed[ids]
        for row in np.flatnonzero(odd).tolist():
            self._look(int(ids[row]), upper[row], values[row])
        if self.allowed is not None:
            left_out = ~self.allowed[ids]
            values[left_out], upper[left_out] = -np.inf, np.nan
        keep = np.flatnonzero(upper >= self.floor.astype(upper.dtype))
        if len(values) > self.k and len(keep) > self.limit // 2:
            # Too many to collect, as at first: the k best of these alone raise the floor.
            best = np.partition(_lower(values, slack), len(values) - self.k, axis=0)[len(values) - self.k]
            self.floor = np.maximum(self.floor, best)
            keep = np.flatnonzero(upper >= self.floor.astype(upper.dtype))
        rows, queries = np.divmod(keep, len(self.floor))
        lower = _lower(values[rows, queries], slack[rows, queries])
        self.found.append((ids[rows], queries, lower, upper[rows, queries]))
        self.count += len(rows)
        if self.count > self.limit:
            self.prune()

    def _look(self, identity: int, upper: Reals, values: Reals) -> None:
        """Decide about a row without a usable score: not finite, all zero, or beyond the kernel (then always kept)."""
        row = self.row(identity)
        if not np.isfinite(row).all():
            self.nonfinite.append(identity)
            values[:], upper[:] = -np.inf, np.nan
        elif self.zeros and not row.any():
            self.zero.append(identity)
            values[:], upper[:] = -np.inf, np.nan
        else:
            unusable = ~np.isfinite(upper) | (values == 0.0 if self.metric == "cosine" else False)
            values[unusable], upper[unusable] = -np.inf, np.inf

    def prune(self) -> None:
        """Drop the rows that k others are surely better than."""
        if not self.found:
            return
        ids, queries, lower, upper = (np.concatenate(part) for part in zip(*self.found, strict=True))
        order = np.lexsort((-lower, queries))
        sorted_queries = queries[order]
        starts = np.searchsorted(sorted_queries, np.arange(len(self.floor)))
        stops = np.append(starts[1:], len(order))
        full = stops - starts >= self.k
        kth = lower[order[starts[full] + self.k - 1]]
        self.floor[full] = np.maximum(self.floor[full], kth)
        keep = upper >= self.floor[queries].astype(upper.dtype)
        self.found = [(ids[keep], queries[keep], lower[keep], upper[keep])]
        self.count = int(keep.sum())

    def split(self) -> list[Ids]:
        """List the candidates of each query, sorted by id."""
        if not self.found:
            return [np.empty(0, np.int64) for _ in self.floor]
        ids, queries = (np.concatenate([part[place] for part in self.found]) for place in (0, 1))
        order = np.lexsort((ids, queries))
        cuts = np.searchsorted(queries[order], np.arange(1, len(self.floor)))
        return np.split(ids[order].astype(np.int64), cuts)


def _lower(values: Reals, slack: Reals) -> Reals:
    """Compute the least that scores can be: without bound where the slack is not finite."""
    with np.errstate(all="ignore"):
        bound: Reals = np.fmax(values - slack, -np.inf)
    return bound


def _joined(parts: Sequence[Reals]) -> Reals:
    """Put blocks of scores together; a single one is taken as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _merge(collectors: Sequence[_Collector]) -> Candidates:
    """Put together what the threads found."""
    for collector in collectors:
        collector.take()
    whole = collectors[0]
    for other in collectors[1:]:
        whole.found += other.found
        whole.zero += other.zero
        whole.nonfinite += other.nonfinite
    if whole.k > 0:
        whole.prune()
    return Candidates(
        whole.split(), np.array(sorted(whole.zero), np.int64), np.array(sorted(whole.nonfinite), np.int64)
    )
