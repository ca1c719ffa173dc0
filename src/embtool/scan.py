"""One pass over a table, at memory speed: scores, norms, the mean.

A pass reads the stored bytes block by block, in as many threads as help, and never holds more than the blocks in hand.
Where a kernel of NumKong knows the dtype, a block is scored as it is stored; otherwise, and where the rows must be
changed before they are compared (a mean removed), it is decoded to float32 first.

Kernels round. So a pass does not decide a ranking: it finds *candidates*, all rows that could be among the k best when
every score may be off by a stated slack. Whoever ranks computes the candidates' scores in float64 from their rows.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embtool.dtypes import Bytes, Doubles, DType, Floats
from embtool.table import EmbeddingTable, TableReader

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
State = TypeVar("State")

BLOCK_BYTES = 4 << 20
"""Bytes a thread reads at a time: small enough to stay in its cache between reading and scoring."""

MOST_THREADS = 8
"""Memory bandwidth, not arithmetic, is the limit: more readers than this do not add any."""

SERIAL_BYTES = 32 << 20
"""Bytes. A smaller table is done before a second thread has started."""

ROUNDING = 2.0**-24
"""Half a unit in the last place of float32, in which kernels add up a row's products."""

ROOT_ERROR = 2.0**-16
"""Allowed error of a kernel's reciprocal square root, relative; those of NumKong 7 were measured below 2**-23."""

KERNELS = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f64", "F8_E4M3": "e4m3", "F8_E5M2": "e5m2"}
"""NumKong's names of the dtypes that it scores as they are stored."""

LARGEST_QUERY_ERROR = 0.01
"""A query that its table's dtype can only hold with a larger relative error is scored on decoded rows instead."""

PRUNE_AT = 4096
"""Candidates a thread collects before it drops those that have fallen behind."""

METRICS = ("cosine", "dot", "euclidean")


@dataclass(frozen=True)
class Scores:
    """A block's scores against one query, the larger the nearer, each off by at most `slack`."""

    values: Doubles
    slack: Doubles | float


class Scorer(Protocol):
    """Scores blocks of stored rows against a query."""

    def score(self, stored: Bytes) -> Scores:
        """Score each row of a block, uint8 (n, row_bytes); NaN or exactly 0 means: look at the row."""


@dataclass(frozen=True)
class Candidates:
    """What a pass found: ids that can be among the k best, and rows that have no score at all."""

    ids: Ids
    zero: Ids
    nonfinite: Ids


def make_scorer(dtype: DType, query: Floats, metric: str, mean: Doubles | None = None) -> Scorer:
    """Choose how a table of this dtype is scored against a query, float32 (width,); `mean` is removed from the rows."""
    if mean is None and dtype.name in KERNELS:
        stored = _encode(dtype, query)
        if stored is not None:
            encoded = dtype.to_float32(stored.view(np.uint8))
            error = float(np.linalg.norm(query.astype(np.float64) - encoded.astype(np.float64)))
            norm = float(np.linalg.norm(query.astype(np.float64)))
            if error <= LARGEST_QUERY_ERROR * norm:
                return _StoredScorer(KERNELS[dtype.name], stored, metric, norm, error)
    return _DecodedScorer(dtype, query, metric, mean)


def find_candidates(
    table: EmbeddingTable,
    reader: TableReader,
    scorer: Scorer,
    k: int,
    *,
    metric: str,
    allowed: Mask | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Candidates:
    """Scan a table once for the rows that can be among the k best, of those that `allowed`, bool (rows,), lets in."""

    def visit(found: "_Collector", first: int, stored: Bytes) -> None:
        scores = scorer.score(stored)
        found.add(first, stored, scores, None if allowed is None else allowed[first : first + len(stored)])

    collectors = scan(reader, lambda: _Collector(k, metric, table.tensor.dtype), visit, block_bytes=block_bytes)
    return _merge(collectors, k)


def norms(table: EmbeddingTable, reader: TableReader) -> Doubles:
    """Compute the Euclidean norm of every row: float64 (rows,), to about 1e-6 relative; NaN where a row has one."""
    width = table.shape[1]
    scorer = make_scorer(table.tensor.dtype, np.zeros(width, np.float32), "euclidean")
    result = np.empty(reader.row_count, np.float64)

    def visit(_: None, first: int, stored: Bytes) -> None:
        result[first : first + len(stored)] = -scorer.score(stored).values

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
    block_rows = max(1, block_bytes // max(1, reader.row_bytes))
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


def _encode(dtype: DType, query: Floats) -> NDArray[np.generic] | None:
    """Round a query to a table's dtype; None if it does not fit."""
    with np.errstate(over="ignore"):
        if dtype.name == "BF16":
            bits = query.view(np.uint32)
            stored: NDArray[np.generic] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        elif dtype.bytes == 1:
            values = dtype.to_float32(np.arange(256, dtype=np.uint8))
            order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN sorts last; infinities are no nearest
            finite = order[np.isfinite(values[order])]
            place = np.clip(np.searchsorted(values[finite], query), 1, len(finite) - 1)
            left, right = values[finite[place - 1]], values[finite[place]]
            stored = finite[np.where(query - left <= right - query, place - 1, place)].astype(np.uint8)
        else:
            stored = query.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype.name])
    encoded = dtype.to_float32(stored.view(np.uint8))
    return stored if np.isfinite(encoded).all() else None


@dataclass(frozen=True)
class _StoredScorer:
    """Scores rows as stored, with NumKong's kernels; `error` is the norm of what the query lost by rounding."""

    kernel: Any
    query: NDArray[np.generic]
    metric: str
    norm: float
    error: float

    def score(self, stored: Bytes) -> Scores:
        import numkong  # noqa: PLC0415 - a command that scans nothing does not load it

        def view(array: NDArray[np.generic], rows: int, kernel: Any) -> Any:
            return numkong.from_pointer(array.ctypes.data, (rows, array.size // rows), kernel, owner=array)

        count, width = len(stored), self.query.size
        block = numkong.from_pointer(stored.ctypes.data, (count, width), self.kernel, owner=stored)

        def distances(query: NDArray[np.generic], metric: Any) -> Doubles:
            result = np.empty(count, np.float64)
            numkong.cdist(view(query, 1, self.kernel), block, metric, out=view(result, 1, "f64"))
            return result

        relative = width * ROUNDING + ROOT_ERROR
        if self.metric == "cosine":
            lost = self.error / self.norm if self.norm else 0.0
            return Scores(1.0 - distances(self.query, "angular"), 2 * lost + relative)
        if self.metric == "euclidean":
            away = distances(self.query, "euclidean")
            return Scores(-away, self.error + relative * away)
        lengths = distances(np.zeros_like(self.query), "euclidean")
        return Scores(distances(self.query, "dot"), (self.error + relative * self.norm) * lengths * (1 + relative))


@dataclass(frozen=True)
class _DecodedScorer:
    """Scores rows decoded to float32, less their table's mean if one is given."""

    dtype: DType
    query: Floats
    metric: str
    mean: Doubles | None
    norm: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", float(np.linalg.norm(self.query.astype(np.float64))))

    def score(self, stored: Bytes) -> Scores:
        with np.errstate(all="ignore"):  # what is not finite is looked at by the collector
            rows = self.dtype.to_float32(stored)
            if self.mean is not None:
                rows = rows - self.mean.astype(np.float32)
            relative = rows.shape[1] * ROUNDING + ROOT_ERROR
            if self.metric == "euclidean":
                away = np.linalg.norm(rows - self.query, axis=1).astype(np.float64)
                return Scores(-away, relative * (away + self._shift()))
            lengths = np.linalg.norm(rows, axis=1).astype(np.float64)
            dots = (rows @ self.query).astype(np.float64)
            slack = relative * (lengths + self._shift()) * self.norm
            if self.metric == "dot":
                return Scores(dots, slack)
            return Scores(dots / (lengths * self.norm), slack / (lengths * self.norm))

    def _shift(self) -> float:
        """Tell how large the removed mean is: removing it in float32 rounds in proportion."""
        return 0.0 if self.mean is None else float(np.linalg.norm(self.mean))


class _Collector:
    """Keeps, of all blocks one thread has seen, the rows that can still be among the k best."""

    def __init__(self, k: int, metric: str, dtype: DType) -> None:
        self.k = k
        self.metric = metric
        self.dtype = dtype
        self.floor = -np.inf
        self.ids: list[Ids] = []
        self.lower: list[Doubles] = []
        self.upper: list[Doubles] = []
        self.count = 0
        self.zero: list[int] = []
        self.nonfinite: list[int] = []

    def add(self, first: int, stored: Bytes, scores: Scores, allowed: Mask | None) -> None:
        """Take in a block's scores; rows whose score needs a look are looked at."""
        values, slack = scores.values, scores.slack
        lower, upper = values - slack, values + slack
        odd = ~np.isfinite(upper) | ~np.isfinite(lower)
        if self.metric == "cosine":
            odd |= values == 0.0
        if allowed is not None:
            odd &= allowed
        for row in np.flatnonzero(odd).tolist():
            self._look(first + row, stored[row], row, lower, upper)
        keep = upper >= self.floor
        if allowed is not None:
            keep &= allowed
        rows = np.flatnonzero(keep)
        self.ids.append(rows + first)
        self.lower.append(lower[rows])
        self.upper.append(upper[rows])
        self.count += len(rows)
        if self.count > PRUNE_AT + 4 * self.k:
            self.prune()

    def _look(self, identity: int, stored: Bytes, row: int, lower: Doubles, upper: Doubles) -> None:
        """Decide about a row without a usable score: not finite, all zero, or beyond the kernel (then always kept)."""
        values = self.dtype.to_float32(stored)
        lower[row], upper[row] = -np.inf, np.inf
        if not np.isfinite(values).all():
            self.nonfinite.append(identity)
            upper[row] = np.nan
        elif self.metric == "cosine" and not values.any():
            self.zero.append(identity)
            upper[row] = np.nan

    def prune(self) -> None:
        """Drop the rows that k others are surely better than."""
        ids, lower, upper = np.concatenate(self.ids), np.concatenate(self.lower), np.concatenate(self.upper)
        if len(lower) > self.k:
            self.floor = max(self.floor, float(np.partition(lower, -self.k)[-self.k]))
        keep = upper >= self.floor
        self.ids, self.lower, self.upper = [ids[keep]], [lower[keep]], [upper[keep]]
        self.count = int(keep.sum())


def _merge(collectors: Sequence[_Collector], k: int) -> Candidates:
    """Put together what the threads found."""
    whole = collectors[0]
    for other in collectors[1:]:
        whole.ids += other.ids
        whole.lower += other.lower
        whole.upper += other.upper
        whole.zero += other.zero
        whole.nonfinite += other.nonfinite
    if whole.ids and k > 0:
        whole.prune()
    ids = np.concatenate(whole.ids) if whole.ids else np.empty(0, np.int64)
    return Candidates(
        np.sort(ids).astype(np.int64),
        np.array(sorted(whole.zero), np.int64),
        np.array(sorted(whole.nonfinite), np.int64),
    )
