"""Rows as they are stored, given to NumKong's kernels, and how far these may be off.

A kernel scores numbers of 16 and 8 bits as they are, and adds up in float32: each result has a bound on its error. Of
float32 rows it adds up in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from embtool.arrays import AnyArray, Bytes, Doubles, Floats, Ints, np
from embtool.storage.dtypes import DTYPES, DType

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


def e4m3_as_f16(stored: Bytes) -> AnyArray:
    """Put sign, exponent and fraction of E4M3 where F16 has them: what is read is each number by 2**-8, uint16."""
    wide = stored.view(np.int8).astype(np.int16)
    wide *= np.int16(1 << 7)  # numpy multiplies in half the time of a shift
    wide &= np.int16(~0x4000)  # the sign came twice
    return wide.view(np.uint16)


def e5m2_as_f16(stored: Bytes) -> AnyArray:
    """E5M2 is the upper half of F16: uint16."""
    wide = stored.astype(np.uint16)
    wide *= np.uint16(1 << 8)
    return wide


@dataclass(frozen=True)
class Kernel:
    """How NumKong scores a dtype: under which name, and what is made of the stored bytes before.

    What it sees is each number times 2^-`exponent`.
    """

    name: Literal["bf16", "f16"]
    widen: Callable[[Bytes], AnyArray] | None = None
    exponent: int = 0


KERNELS = {
    "BF16": Kernel("bf16"),
    "F16": Kernel("f16"),
    "F8_E4M3": Kernel("f16", e4m3_as_f16, 8),
    "F8_E5M2": Kernel("f16", e5m2_as_f16),
}
"""The dtypes that are scored by a kernel. NumKong's own for 8 bits would want a query of 8 bits, which is another one.
F32 needs no decoding, and numpy's matrix product is faster than a kernel that adds up in float64; a row of F64 is what
it is in float32, like all."""

WIDENED_BYTES = 1 << 18
"""Bytes of 8-bit floats that are widened at a time: they stay in a core's own cache."""

E4M3_NAN = 0x7F
"""E4M3's only NaN, less its sign, which as F16 is a number."""

SIGN = 0x80
"""The sign of an 8-bit float."""

ADDED_UP = 512
"""Products that a kernel adds up in float32 before their sum is a float64. It keeps 8 sums beside each other, so that
each is of 64 products, and off by 64 × 2**-24 of itself at most, or 4e-6; nearly always by less than 2e-7."""

FEWEST_ADDED = 64
"""With fewer, going from one sum to the next takes longer than the products."""

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


def has_lengths(dtype: DType, width: int) -> bool:
    """Tell whether a kernel computes the lengths of rows of this dtype, width numbers each."""
    return dtype.name in ("BF16", "F16") and _part_of(width) > 0


def _part_of(width: int) -> int:
    """Return into how large parts, all alike, a row is cut whose products are added up; 0 where there are none."""
    return next((size for size in range(ADDED_UP, FEWEST_ADDED - 1, -1) if width % size == 0), 0)


def squared_lengths(dtype: DType, stored: Bytes) -> Doubles:
    """Compute the squared length of each row, stored as uint8 (n, row_bytes), in a fifth of the time: float64 (n,).

    Products are added up in float32, `ADDED_UP` at a time. A row that is too short or too long for that is done in
    float64. Where a row is not finite, neither is its length. `has_lengths` tells for which rows this is.
    """
    import numkong  # noqa: PLC0415 - as above

    count, width = stored.shape[0], stored.shape[1] // dtype.bytes
    kind, part = KERNELS[dtype.name].name, _part_of(width)
    origin, sums = np.zeros((1, part), np.uint16), np.empty((1, count * (width // part)), np.float64)
    numkong.cdist(
        numkong.from_pointer(origin.ctypes.data, origin.shape, kind, owner=origin),
        numkong.from_pointer(stored.ctypes.data, (sums.shape[1], part), kind, owner=stored),
        "sqeuclidean",
        out=numkong.from_pointer(sums.ctypes.data, sums.shape, "f64", owner=sums),
    )
    with np.errstate(all="ignore"):
        found: Doubles = sums.reshape(count, -1).sum(axis=1)
        odd = np.flatnonzero(~((found > SHORT_SQUARE) & (found < LONG_SQUARE)))
    if len(odd):
        found[odd] = squared_distances(dtype.to_float32(stored[odd]), np.zeros(width, np.float32))
    return found


def dots(rows: Floats, others: Floats) -> Floats:
    """Compute the dot product of each row, (n, width), with its counterpart, (n, width), or with one, (width,).

    Each is made by itself, in one thread, in float32: `relative_error` bounds what it is off.
    """
    found: Floats = np.matmul(rows[:, None, :], others[..., None])[:, 0, 0]
    return found


@dataclass(frozen=True)
class StoredQueries:
    """Queries as their table's kernel sees rows, (q, width): `errors` are the norms of what each lost by rounding."""

    dtype: DType
    queries: AnyArray
    norms: Doubles
    errors: Doubles

    @classmethod
    def encode(cls, dtype: DType, queries: Doubles) -> "StoredQueries | None":
        """Round queries to what a dtype's kernel reads; None if one of them does not fit, or loses too much."""
        kernel = KERNELS[dtype.name]
        stored = rounded(kernel.name, np.ldexp(queries, -kernel.exponent).astype(np.float32))
        seen = DTYPES[kernel.name.upper()].to_float32(stored.view(np.uint8)).astype(np.float64)
        values = np.ldexp(seen, kernel.exponent)
        if not np.isfinite(values).all():
            return None
        errors, lengths = np.linalg.norm(queries - values, axis=1), np.linalg.norm(queries, axis=1)
        if (errors > LARGEST_QUERY_ERROR * lengths).any():
            return None
        return cls(dtype, stored, lengths, errors)

    @property
    def kernel(self) -> Kernel:
        """How NumKong scores the dtype."""
        return KERNELS[self.dtype.name]

    @property
    def unit(self) -> float:
        """What a product of two numbers that the kernel sees is worth."""
        return float(4**self.kernel.exponent)

    def view(self, stored: AnyArray) -> Any:
        """Show an array, (n, width), to NumKong as what it holds."""
        import numkong  # noqa: PLC0415 - a command that scans nothing does not load it

        width = self.queries.shape[1]
        return numkong.from_pointer(stored.ctypes.data, (len(stored), width), self.kernel.name, owner=stored)

    def parts(self, stored: Bytes) -> Iterator[tuple[slice, AnyArray]]:
        """Cut a block into parts, each as the kernel sees it: only 8-bit floats must be widened, a few at a time."""
        if self.kernel.widen is None:
            yield slice(0, len(stored)), stored
            return
        size = max(1, WIDENED_BYTES // stored.shape[1])
        for first in range(0, len(stored), size):
            yield slice(first, min(first + size, len(stored))), self.kernel.widen(stored[first : first + size])

    def distances(self, stored: Bytes, queries: AnyArray, metric: Any) -> Doubles:
        """Compute distances of queries and rows, float64 (n, q); NaN where a row of E4M3 has one."""
        import numkong  # noqa: PLC0415 - as above

        found = np.empty((len(stored), len(queries)), np.float64)
        for place, part in self.parts(stored):
            result = np.empty((len(queries), len(part)), np.float64)
            out = numkong.from_pointer(result.ctypes.data, result.shape, "f64", owner=result)
            numkong.cdist(self.view(queries), self.view(part), metric, out=out)
            found[place] = result.T
        if self.kernel.exponent and metric != "angular":
            found *= self.unit if metric == "dot" else self.unit**0.5
        if self.dtype.name == "F8_E4M3":
            highest = stored.max(), stored.view(np.int8).max()  # two looks that are quick: NaN is the last of each sign
            if highest[0] == E4M3_NAN | SIGN or highest[1] == E4M3_NAN:
                found[((stored & E4M3_NAN) == E4M3_NAN).any(axis=1)] = np.nan
        return found

    def products(self, stored: Bytes, packed: Any) -> AnyArray:
        """Compute dot products of rows and packed queries, float32 (n, q)."""
        import numkong  # noqa: PLC0415 - as above

        found = [np.asarray(numkong.dots_packed(self.view(part), packed)) for _, part in self.parts(stored)]
        products = found[0] if len(found) == 1 else np.concatenate(found)
        return products * np.float32(self.unit) if self.kernel.exponent else products

    def short(self, stored: Bytes) -> Ids:
        """Find rows, (n, row_bytes), of numbers below `SHORTEST` only; nearly all are told by their first number."""
        if self.dtype.name != "BF16":
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
        """What a sum of squares or products can lack because each was too small for float32, as none of F16 is."""
        return float(self.queries.shape[1] * FLUSHED) if self.dtype.name == "BF16" else 0.0

    @cached_property
    def zeros(self) -> AnyArray:
        """A query of zeros, (1, width): its distance to a row is the row's norm."""
        return np.zeros_like(self.queries[:1])


def relative_error(width: int) -> float:
    """Return the error of a kernel's sums of products, relative to the product of the norms."""
    return width * ROUNDING + ROOT_ERROR


def rounded(kernel: Literal["bf16", "f16"], queries: Floats) -> AnyArray:
    """Round float32 to `bf16` or `f16`, to nearest; what is beyond it becomes infinity."""
    with np.errstate(over="ignore"):
        if kernel == "bf16":
            bits = queries.view(np.uint32)
            return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        return queries.astype("<f2")
