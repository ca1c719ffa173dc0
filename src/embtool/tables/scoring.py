"""What the rows of a block are worth to the queries of a pass, each score with a bound on its error.

Where a kernel of NumKong knows the dtype, a block is scored as it is stored; otherwise, and where the rows must be
changed before they are compared (a mean removed), it is decoded to float32 first.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from embtool.arrays import Bytes, Doubles, Floats, Reals, np
from embtool.storage.dtypes import DType
from embtool.tables.kernels import FLUSHED, KERNELS, SHORTEST, StoredQueries, dots, relative_error
from embtool.tables.metric import Metric


@dataclass(frozen=True)
class Scores:
    """Scores of a block's rows against queries, (n, q), the larger the nearer; each is off by at most `slack`."""

    values: Reals
    slack: Reals | float


class Scorer(Protocol):
    """Scores blocks of stored rows against the queries of a pass."""

    def score(self, stored: Bytes) -> Scores:
        """Score each row of a block, uint8 (n, row_bytes); NaN or exactly 0 means: look at the row."""


def make_scorer(dtype: DType, queries: Doubles, metric: Metric, mean: Doubles | None = None) -> Scorer:
    """Choose how a table of this dtype is scored against queries, (q, width), from which `mean` is removed already.

    One query is scored on the rows as they are stored, at the speed of reading them. Many are a matrix product; they
    are scored by the faster of two ways to multiply.
    """
    if metric == "cosine":
        _, exponents = np.frexp(np.linalg.norm(queries, axis=1))
        queries = np.ldexp(queries, -exponents[:, None])  # to lengths of about 1, by which no angle changes
    wide = queries.astype(np.float32)
    stored = None if mean is not None or dtype.name not in KERNELS else StoredQueries.encode(dtype, queries)
    decoded = _DecodedScorer(dtype, wide, metric, mean)
    if stored is None:
        return decoded
    if len(queries) == 1:
        return _StoredScorer(stored, metric)
    return _Race([_PackedScorer(stored, metric), decoded])


@dataclass(frozen=True)
class _StoredScorer:
    """Scores rows as they are stored against one query, with NumKong's kernels."""

    stored: StoredQueries
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

    stored: StoredQueries
    metric: Metric

    @cached_property
    def _packed(self) -> Any:
        import numkong  # noqa: PLC0415 - as above

        return numkong.dots_pack(self.stored.view(self.stored.queries), self.stored.kernel.name)

    def prepare(self) -> None:
        """Pack the queries now, before threads ask for them."""
        _ = self._packed

    def score(self, stored: Bytes) -> Scores:
        products = self.stored.products(stored, self._packed)
        lengths = self.stored.distances(stored, self.stored.zeros, "euclidean")[:, 0]
        return _from_dots(
            self.metric, products, lengths, self.stored.norms, self.stored.errors, self.stored.queries.shape[1]
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
            lengths = np.sqrt(dots(rows, rows))
            # a matrix product would start threads of its own under every thread of the pass
            products = rows @ self.transposed if len(self.queries) > 1 else dots(rows, self.queries[0])[:, None]
            return _from_dots(self.metric, products, lengths, self.norms, np.zeros(1), rows.shape[1], shift)


def _from_dots(
    metric: Metric, products: Floats, lengths: Reals, norms: Doubles, errors: Doubles, width: int, shift: float = 0.0
) -> Scores:
    """Make scores of dot products, (n, q), of rows of these lengths, (n,), and queries of these norms, (q,).

    The slack of a dot product is (error + relative × norm) × length, and the slack that a removed mean adds; a cosine's
    is that over both norms; a squared distance, |r|² + |q|² - 2 r·q, has twice it, and the rounding of the squares.
    Distances are ranked by their squares.
    """
    relative, flushed = relative_error(width), width * FLUSHED
    with np.errstate(all="ignore"):
        wide = lengths[:, None].astype(products.dtype)
        per_length = (errors + relative * norms).astype(products.dtype)
        if metric == "cosine":
            values = products / wide
            values /= norms.astype(products.dtype)
            values[~((lengths >= SHORTEST) & np.isfinite(lengths))] = np.nan  # too short or too long for float32
            slack: Any = 2 * per_length / norms.astype(products.dtype) + relative
            return Scores(values, slack if not shift else slack * (1 + shift / wide))
        slack = (wide + shift) * per_length * (1 + relative) + np.float32(flushed)
        if metric == "dot":
            return Scores(products, slack)
        squares = wide * wide + np.square(norms).astype(products.dtype)
        rounding = 2 * relative * (squares + 2 * shift * wide + shift * shift)
        return Scores(2 * products - squares, 2 * slack + rounding + np.float32(2 * flushed))


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
