"""Rows as they are stored, given to NumKong's kernels, and how far these may be off.

A kernel scores numbers of 16 and 8 bits as they are, and adds up in float32: each result has a bound on its error. Of
float32 rows it adds up in float64.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embtool.arrays import AnyArray, Bytes, Doubles, Floats, Ints, np
from embtool.storage.dtypes import DType

Ids = Ints

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

SIGN = 0x80
"""The sign of an 8-bit float."""

ADDED_UP = 4096
"""Products that are added up in float32 before their sum is a float64. OpenBLAS keeps 32 sums beside each other, so
that each is of 128 products, and off by 128 × 2**-24 of itself at most, or 8e-6; nearly always by less than 3e-7."""

SHORT_SQUARE, LONG_SQUARE = 2.0**-60, 2.0**120
"""Squared lengths between these lose nothing that counts to the range of float32."""

LARGEST_QUERY_ERROR = 0.01
"""A query that its table's dtype can only hold with a larger relative error is scored on decoded rows instead."""


def squared_distances(rows: Floats, point: Floats) -> Doubles:
    """Compute the squared distance of each row, float32 (n, width), to a point, (width,): float64 (n,).

    Differences and sums are made in float64. Where a row is not finite, neither is its distance.
    """
    import numkong  # noqa: PLC0415 - a command that scans nothing does not load it

    held, near = np.ascontiguousarray(rows), np.ascontiguousarray(point)
    found = np.empty((1, len(held)), np.float64)
    if len(held):
        numkong.cdist(
            numkong.from_pointer(near.ctypes.data, (1, held.shape[1]), "f32", owner=near),
            numkong.from_pointer(held.ctypes.data, held.shape, "f32", owner=held),
            "sqeuclidean",
            out=numkong.from_pointer(found.ctypes.data, found.shape, "f64", owner=found),
        )
    squares: Doubles = found[0]
    return squares


def squared_lengths(rows: Floats) -> Doubles:
    """Compute the squared length of each row, float32 (n, width), in a third of the time: float64 (n,).

    Products are added up in float32, `ADDED_UP` at a time. A row that is too short or too long for that is done in
    float64. Where a row is not finite, neither is its length.
    """
    found = np.zeros(len(rows), np.float64)
    with np.errstate(all="ignore"):
        for first in range(0, rows.shape[1], ADDED_UP):
            part = rows[:, first : first + ADDED_UP]
            found += dots(part, part)
        odd = np.flatnonzero(~((found > SHORT_SQUARE) & (found < LONG_SQUARE)))
    if len(odd):
        found[odd] = squared_distances(rows[odd], np.zeros(rows.shape[1], np.float32))
    return found


def dots(rows: Floats, others: Floats) -> Floats:
    """Compute the dot product of each row, (n, width), with its counterpart, (n, width), or with one, (width,).

    Each is made by itself, in one thread, in float32: `relative_error` bounds what it is off.
    """
    found: Floats = np.matmul(rows[:, None, :], others[..., None])[:, 0, 0]
    return found


@dataclass(frozen=True)
class StoredQueries:
    """Queries in their table's dtype, (q, width): `errors` are the norms of what each lost by rounding."""

    kernel: Any
    queries: AnyArray
    norms: Doubles
    errors: Doubles

    @classmethod
    def encode(cls, dtype: DType, queries: Doubles) -> "StoredQueries | None":
        """Round queries to a dtype; None if one of them does not fit, or loses too much."""
        stored = rounded(dtype, queries.astype(np.float32))
        values = dtype.to_float32(stored.view(np.uint8))
        if not np.isfinite(values).all():
            return None
        errors, lengths = np.linalg.norm(queries - values, axis=1), np.linalg.norm(queries, axis=1)
        if (errors > LARGEST_QUERY_ERROR * lengths).any():
            return None
        return cls(KERNELS[dtype.name], stored, lengths, errors)

    def view(self, stored: AnyArray) -> Any:
        """Show an array, (n, width), to NumKong as what it holds."""
        import numkong  # noqa: PLC0415 - a command that scans nothing does not load it

        width = self.queries.shape[1]
        return numkong.from_pointer(stored.ctypes.data, (len(stored), width), self.kernel, owner=stored)

    def distances(self, stored: Bytes, queries: AnyArray, metric: Any) -> Doubles:
        """Compute distances of queries and rows, float64 (n, q)."""
        import numkong  # noqa: PLC0415 - as above

        result = np.empty((len(queries), len(stored)), np.float64)
        out = numkong.from_pointer(result.ctypes.data, result.shape, "f64", owner=result)
        numkong.cdist(self.view(queries), self.view(stored), metric, out=out)
        if self.kernel == KERNELS["F8_E4M3"] and _has_nan(stored):
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
        return relative_error(self.queries.shape[1])

    @property
    def flushed(self) -> float:
        """What a kernel's sum of squares or products can lack because each was too small for float32."""
        return float(self.queries.shape[1] * FLUSHED)

    @cached_property
    def zeros(self) -> AnyArray:
        """A query of zeros, (1, width): its distance to a row is the row's norm."""
        return np.zeros_like(self.queries[:1])


def _has_nan(stored: Bytes) -> bool:
    """Tell whether any number of E4M3 is NaN, by two looks that are quick."""
    return bool(stored.max() == E4M3_NAN | SIGN or stored.view(np.int8).max() == E4M3_NAN)


def relative_error(width: int) -> float:
    """Return the error of a kernel's sums of products, relative to the product of the norms."""
    return width * ROUNDING + ROOT_ERROR


def rounded(dtype: DType, queries: Floats) -> AnyArray:
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
