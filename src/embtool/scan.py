"""One pass over a table, at memory speed: scores, norms, the mean.

A pass reads the stored bytes block by block, in as many threads as help, and never holds more than the blocks in hand.
Where a kernel of NumKong knows the dtype, a block is scored as it is stored; otherwise, and where the rows must be
changed before they are compared (a mean removed), it is decoded to float32 first.

Kernels round. So a pass does not decide a ranking: it finds *candidates*, all rows that could be among the k best when
every score may be off by a stated slack. Whoever ranks computes the candidates' scores in float64 from their rows.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embtool.dtypes import Bytes, Doubles, DType, Floats
from embtool.metric import Metric
from embtool.table import EmbeddingTable, TableReader

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Reals = NDArray[np.floating[Any]]
State = TypeVar("State")

BLOCK_BYTES = 4 << 20
"""Bytes a thread reads at a time: few calls, and most of it is still in a cache when it is scored."""

MOST_THREADS = 8
"""Memory bandwidth, not arithmetic, is the limit: more readers than this do not add any."""

SCORES_AT_ONCE = 1 << 20
"""Scores of a block, rows times queries: they too should stay in the cache."""

SERIAL_BYTES = 32 << 20
"""Bytes. A smaller table is done before a second thread has started."""

ROUNDING = 2.0**-24
"""Half a unit in the last place of float32, in which kernels add up a row's products."""

ROOT_ERROR = 2.0**-16
"""Allowed error of a kernel's reciprocal square root, relative; those of NumKong 7 were measured below 2**-23."""

FLUSHED = 2.0**-126
"""The least float32 that is not denormal: a kernel may take a smaller product of two numbers for zero."""

SHORTEST = 2.0**-50
"""A row shorter than this has squares that float32 holds badly: its cosine is computed from the row itself."""

SHORTEST_BF16 = (127 - 50) << 7
"""The bits of `SHORTEST` as BF16, the one stored dtype that has numbers so small."""

KERNELS = {"BF16": "bf16", "F16": "f16", "F8_E4M3": "e4m3", "F8_E5M2": "e5m2"}
"""NumKong's names of the dtypes that it scores as they are stored. F32 needs no decoding, and numpy's matrix product is
faster than a kernel that adds up in float64; a row of F64 is what it is in float32, like all."""

E4M3_NAN = 0x7F
"""E4M3's only NaN, less its sign, which NumKong 7.8 reads as a number."""

LARGEST_QUERY_ERROR = 0.01
"""A query that its table's dtype can only hold with a larger relative error is scored on decoded rows instead."""

ROWS_WAITING = 1 << 14
"""Rows whose scores are decided about together: a block of wide rows has too few to be worth the calls."""

PRUNE_AT = 4096
"""Candidates a thread collects for one query, beside 4 k, before it drops those that have fallen behind."""

PRUNE_ALL_AT = 1 << 18
"""Candidates a thread collects for all queries together before it does so."""


@dataclass(frozen=True)
class Scores:
    """Scores of a block's rows against queries, (n, q), the larger the nearer; each is off by at most `slack`."""

    values: Reals
    slack: Reals | float


class Scorer(Protocol):
    """Scores blocks of stored rows against the queries of a pass."""

    def score(self, stored: Bytes) -> Scores:
        """Score each row of a block, uint8 (n, row_bytes); NaN or exactly 0 means: look at the row."""


@dataclass(frozen=True)
class Candidates:
    """What a pass found: for each query the ids that can be among its k best, and rows that have no score at all."""

    ids: list[Ids]
    zero: Ids
    nonfinite: Ids


def make_scorer(dtype: DType, queries: Doubles, metric: Metric, mean: Doubles | None = None) -> Scorer:
    """Choose how a table of this dtype is scored against queries, (q, width), from which `mean` is removed already.

    One query is scored on the rows as they are stored, at the speed of reading them. Many are a matrix product; they
    are scored by the faster of two ways to multiply.
    """
    if metric == "cosine":
        queries = _at_unit_scale(queries)
    wide = queries.astype(np.float32)
    stored = None if mean is not None or dtype.name not in KERNELS else _Stored.encode(dtype, queries)
    decoded = _DecodedScorer(dtype, wide, metric, mean)
    if stored is None:
        return decoded
    if len(queries) == 1:
        return _StoredScorer(stored, metric)
    return _Race([_PackedScorer(stored, metric), decoded])


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


def norms(table: EmbeddingTable, reader: TableReader) -> Doubles:
    """Compute the Euclidean norm of every row: float64 (rows,), to about 1e-6 relative; NaN where a row has one."""
    dtype = table.tensor.dtype
    kernel = _Stored.encode(dtype, np.zeros((1, table.shape[1]))) if dtype.name in KERNELS else None
    result = np.empty(reader.row_count, np.float64)

    def visit(_: None, first: int, stored: Bytes) -> None:
        if kernel is not None:
            lengths = kernel.distances(stored, kernel.zeros, "euclidean")[:, 0]
            odd = np.flatnonzero(~np.isfinite(lengths))  # too long for the kernel's float32, or not finite
            odd = np.concatenate([kernel.short(stored), odd])
            lengths[odd] = exact(stored[odd])
        else:
            lengths = exact(stored)
        result[first : first + len(stored)] = lengths

    def exact(stored: Bytes) -> Doubles:
        rows = dtype.to_float32(stored)
        with np.errstate(all="ignore"):  # a row that is not finite has a norm that says so
            lengths: Doubles = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        return lengths

    scan(reader, lambda: None, visit)
    return result


def mean_row(table: EmbeddingTable, reader: TableReader) -> Doubles:
    """Compute the mean of all finite rows: float64 (width,)."""
    width = table.shape[1]

    def visit(total: "_Total", _: int, stored: Bytes) -> None:
        rows = table.tensor.dtype.to_float32(stored)
        finite = np.isfinite(rows).all(axis=1)
        total.count += int(finite.sum())
        total.sum += (rows if finite.all() else rows[finite]).sum(axis=0, dtype=np.float64)

    totals = scan(reader, lambda: _Total(np.zeros(width)), visit)
    count = sum(total.count for total in totals)
    mean: Doubles = np.sum([total.sum for total in totals], axis=0) / max(count, 1)
    return mean


def read_rows(reader: TableReader, ids: Ids) -> Bytes:
    """Read scattered rows from an open table: uint8 (len(ids), row_bytes)."""
    rows = np.empty((len(ids), reader.row_bytes), np.uint8)
    for place, row in enumerate(ids.tolist()):
        reader.read(row, rows[place : place + 1])
    return rows


def scan(
    reader: TableReader,
    start: Callable[[], State],
    visit: Callable[[State, int, Bytes], None],
    *,
    block_bytes: int = BLOCK_BYTES,
) -> list[State]:
    """Visit every block of a table once; each thread has a state of its own, made by `start` and returned.

    `visit` gets the state, the id of the block's first row, and the block, uint8 (n, row_bytes), which is reused after.
    """
    block_rows = max(1, block_bytes // max(1, reader.row_bytes, reader.row_cost))
    firsts = iter(range(0, reader.row_count, block_rows))
    lock = threading.Lock()
    stop = threading.Event()

    def work() -> State:
        state = start()
        buffer = np.empty((min(block_rows, reader.row_count), reader.row_bytes), np.uint8)
        while not stop.is_set():
            with lock:
                first = next(firsts, None)
            if first is None:
                break
            block = buffer[: min(block_rows, reader.row_count - first)]
            reader.read(first, block)
            visit(state, first, block)
        return state

    threads = min(MOST_THREADS, _cpus()) if reader.row_count * reader.row_bytes > SERIAL_BYTES else 1
    if threads == 1:
        return [work()]
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work) for _ in range(threads)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            raise


def _cpus() -> int:
    """Count the processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


@dataclass
class _Total:
    sum: Doubles
    count: int = 0


@dataclass(frozen=True)
class _Stored:
    """Queries in their table's dtype, (q, width): `errors` are the norms of what each lost by rounding."""

    kernel: Any
    queries: NDArray[Any]
    norms: Doubles
    errors: Doubles

    @classmethod
    def encode(cls, dtype: DType, queries: Doubles) -> "_Stored | None":
        """Round queries to a dtype; None if one of them does not fit, or loses too much."""
        stored = _round(dtype, queries.astype(np.float32))
        values = dtype.to_float32(stored.view(np.uint8))
        if not np.isfinite(values).all():
            return None
        errors, lengths = np.linalg.norm(queries - values, axis=1), np.linalg.norm(queries, axis=1)
        if (errors > LARGEST_QUERY_ERROR * lengths).any():
            return None
        return cls(KERNELS[dtype.name], stored, lengths, errors)

    def view(self, stored: NDArray[Any]) -> Any:
        """Show an array, (n, width), to NumKong as what it holds."""
        import numkong  # noqa: PLC0415 - a command that scans nothing does not load it

        width = self.queries.shape[1]
        return numkong.from_pointer(stored.ctypes.data, (len(stored), width), self.kernel, owner=stored)

    def distances(self, stored: Bytes, queries: NDArray[Any], metric: Any) -> Doubles:
        """Compute distances of queries and rows, float64 (n, q)."""
        import numkong  # noqa: PLC0415 - as above

        result = np.empty((len(queries), len(stored)), np.float64)
        out = numkong.from_pointer(result.ctypes.data, result.shape, "f64", owner=result)
        numkong.cdist(self.view(queries), self.view(stored), metric, out=out)
        if self.kernel == KERNELS["F8_E4M3"]:
            result[:, ((stored & E4M3_NAN) == E4M3_NAN).any(axis=1)] = np.nan
        return result.T

    def short(self, stored: Bytes) -> Ids:
        """Find rows, (n, row_bytes), of numbers below `SHORTEST` only; nearly all are told by their first number."""
        if self.kernel != KERNELS["BF16"]:
            return np.empty(0, np.int64)
        bits = stored.view("<u2")
        rows = np.flatnonzero((bits[:, 0] & 0x7FFF) < SHORTEST_BF16)
        return rows[((bits[rows] & 0x7FFF) < SHORTEST_BF16).all(axis=1)]

    @property
    def relative(self) -> float:
        """The error of a kernel's sums, relative to the product of the norms."""
        return _relative(self.queries.shape[1])

    @property
    def flushed(self) -> float:
        """What a kernel's sum of squares or products can lack because each was too small for float32."""
        return float(self.queries.shape[1] * FLUSHED)

    @cached_property
    def zeros(self) -> NDArray[Any]:
        """A query of zeros, (1, width): its distance to a row is the row's norm."""
        return np.zeros_like(self.queries[:1])


def _relative(width: int) -> float:
    return width * ROUNDING + ROOT_ERROR


def _at_unit_scale(queries: Doubles) -> Doubles:
    """Scale queries, (q, width), by a power of two where they are very long or very short: no angle changes."""
    _, exponents = np.frexp(np.linalg.norm(queries, axis=1))
    scaled: Doubles = np.ldexp(queries, np.where(np.abs(exponents) > 40, -exponents, 0)[:, None])  # noqa: PLR2004
    return scaled


def _round(dtype: DType, queries: Floats) -> NDArray[Any]:
    """Round float32 to a table's dtype, to nearest; what is beyond it becomes infinity."""
    with np.errstate(over="ignore"):
        if dtype.name == "BF16":
            bits = queries.view(np.uint32)
            return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        if dtype.bytes == 1:
            values = dtype.to_float32(np.arange(256, dtype=np.uint8))
            order = np.argsort(values)  # NaN sorts last
            finite = order[np.isfinite(values[order])]
            place = np.clip(np.searchsorted(values[finite], queries), 1, len(finite) - 1)
            left, right = values[finite[place - 1]], values[finite[place]]
            return finite[np.where(queries - left <= right - queries, place - 1, place)].astype(np.uint8)
        return queries.astype("<f2")


@dataclass(frozen=True)
class _StoredScorer:
    """Scores rows as they are stored against one query, with NumKong's kernels."""

    stored: _Stored
    metric: Metric

    def score(self, stored: Bytes) -> Scores:
        query, error, norm = self.stored.queries, self.stored.errors, self.stored.norms
        if self.metric == "cosine":
            lost = np.divide(error, norm, out=np.zeros_like(error), where=norm > 0)
            values = 1.0 - self.stored.distances(stored, query, "angular")
            values[self.stored.short(stored)] = np.nan
            return Scores(values, 2 * lost + self.stored.relative)
        if self.metric == "euclidean":
            away = self.stored.distances(stored, query, "euclidean")
            return Scores(-away, error + self.stored.relative * away + np.sqrt(self.stored.flushed))
        lengths = self.stored.distances(stored, self.stored.zeros, "euclidean") + np.sqrt(self.stored.flushed)
        slack = (error + self.stored.relative * norm) * lengths * (1 + self.stored.relative) + self.stored.flushed
        return Scores(self.stored.distances(stored, query, "dot"), slack)


@dataclass(frozen=True)
class _PackedScorer:
    """Scores rows as they are stored against many queries, packed once for NumKong's matrix kernels."""

    stored: _Stored
    metric: Metric

    @cached_property
    def _packed(self) -> Any:
        import numkong  # noqa: PLC0415 - as above

        return numkong.dots_pack(self.stored.view(self.stored.queries), self.stored.kernel)

    def prepare(self) -> None:
        """Pack the queries now, before threads ask for them."""
        _ = self._packed

    def score(self, stored: Bytes) -> Scores:
        import numkong  # noqa: PLC0415 - as above

        dots = np.asarray(numkong.dots_packed(self.stored.view(stored), self._packed))
        lengths = self.stored.distances(stored, self.stored.zeros, "euclidean")[:, 0]
        return _from_dots(
            self.metric, dots, lengths, self.stored.norms, self.stored.errors, self.stored.queries.shape[1]
        )


@dataclass(frozen=True)
class _DecodedScorer:
    """Scores rows decoded to float32, less their table's mean if one is given."""

    dtype: DType
    queries: Floats
    metric: Metric
    mean: Doubles | None
    norms: Doubles = field(init=False)
    transposed: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "norms", np.linalg.norm(self.queries.astype(np.float64), axis=1))
        object.__setattr__(self, "transposed", np.ascontiguousarray(self.queries.T))

    def score(self, stored: Bytes) -> Scores:
        with np.errstate(all="ignore"):  # what is not finite is looked at by the collector
            rows = self.dtype.to_float32(stored)
            shift = 0.0
            if self.mean is not None:  # removing it in float32 rounds in proportion to it
                rows = rows - self.mean.astype(np.float32)  # not in place: they can be the block itself
                shift = float(np.linalg.norm(self.mean))
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            if len(self.queries) == 1:  # BLAS would start threads of its own under every thread of the pass
                dots = np.einsum("ij,j->i", rows, self.queries[0])[:, None]
            else:
                dots = rows @ self.transposed
            return _from_dots(self.metric, dots, lengths, self.norms, np.zeros(1), rows.shape[1], shift)


def _from_dots(
    metric: Metric, dots: Floats, lengths: Reals, norms: Doubles, errors: Doubles, width: int, shift: float = 0.0
) -> Scores:
    """Make scores of dot products, (n, q), of rows of these lengths, (n,), and queries of these norms, (q,).

    The slack of a dot product is (error + relative × norm) × length, and the slack that a removed mean adds; a cosine's
    is that over both norms; a squared distance, |r|² + |q|² - 2 r·q, has twice it, and the rounding of the squares.
    Distances are ranked by their squares.
    """
    relative, flushed = _relative(width), width * FLUSHED
    with np.errstate(all="ignore"):
        wide = lengths[:, None].astype(dots.dtype)
        per_length = (errors + relative * norms).astype(dots.dtype)
        if metric == "cosine":
            values = dots / wide
            values /= norms.astype(dots.dtype)
            values[~((lengths >= SHORTEST) & np.isfinite(lengths))] = np.nan  # too short or too long for float32
            slack: Any = 2 * per_length / norms.astype(dots.dtype) + relative
            return Scores(values, slack if not shift else slack * (1 + shift / wide))
        slack = (wide + shift) * per_length * (1 + relative) + np.float32(flushed)
        if metric == "dot":
            return Scores(dots, slack)
        squares = wide * wide + np.square(norms).astype(dots.dtype)
        rounding = 2 * relative * (squares + 2 * shift * wide + shift * shift)
        return Scores(2 * dots - squares, 2 * slack + rounding + np.float32(2 * flushed))


class _Race:
    """Several ways to the same scores: each gets a block in turn, then the one that was fastest gets them all."""

    ROUNDS = 3

    def __init__(self, scorers: Sequence[Any]) -> None:
        self._scorers = scorers
        self._lock = threading.Lock()
        self._best = {place: float("inf") for place in range(len(scorers))}
        self._turn = 0
        for scorer in scorers:
            getattr(scorer, "prepare", lambda: None)()

    def score(self, stored: Bytes) -> Scores:
        import time  # noqa: PLC0415 - only where there is a race

        with self._lock:
            turn, self._turn = self._turn, self._turn + 1
        if turn >= self.ROUNDS * len(self._scorers):
            found: Scores = self._scorers[min(self._best, key=self._best.__getitem__)].score(stored)
            return found
        place = turn % len(self._scorers)
        started = time.perf_counter()
        scores: Scores = self._scorers[place].score(stored)
        taken = (time.perf_counter() - started) / len(stored)
        with self._lock:
            self._best[place] = min(self._best[place], taken)
        return scores


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


def in_parts(ids: Ids, size: int) -> Iterator[Ids]:
    """Cut ids into parts of at most `size`."""
    for first in range(0, len(ids), size):
        yield ids[first : first + size]


LANES = 8
"""Parts of a table that are summed each by itself: as many as threads ever, so that the order of a sum is fixed."""


def scan_in_order(
    reader: TableReader,
    start: Callable[[], State],
    visit: Callable[[State, int, Bytes], None],
    *,
    block_bytes: int = BLOCK_BYTES,
) -> list[State]:
    """Visit every block of a table once, like `scan`, so that floating-point sums come out the same every time.

    The table is cut into `LANES` parts; each has a state of its own and is visited from its first block to its last, by
    whatever thread. The states are returned in the order of the parts.
    """
    edges = [reader.row_count * lane // LANES for lane in range(LANES + 1)]
    block_rows = max(1, block_bytes // max(1, reader.row_bytes, reader.row_cost))
    stop = threading.Event()

    def work(lane: int) -> State:
        state = start()
        first, last = edges[lane], edges[lane + 1]
        buffer = np.empty((min(block_rows, last - first), reader.row_bytes), np.uint8)
        while first < last and not stop.is_set():
            block = buffer[: min(block_rows, last - first)]
            reader.read(first, block)
            visit(state, first, block)
            first += len(block)
        return state

    threads = min(MOST_THREADS, _cpus()) if reader.row_count * reader.row_bytes > SERIAL_BYTES else 1
    if threads == 1:
        return [work(lane) for lane in range(LANES)]
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, lane) for lane in range(LANES)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            raise
