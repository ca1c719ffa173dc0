"""What one pass over a table finds out about every row, and the sums from which its principal axes follow.

A pass reads each block once, in bounded memory, and adds up in float64 in a fixed order, so that the same table gives
the same digits on every run. In a large table some numbers of a row, and the rows of a block, are added up in float32
first: what comes out is within about 1e-6 of itself. Rows that are not finite take no part in sums; they are listed.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from embtool.arrays import Bytes, Doubles, Floats, Words, np
from embtool.tables.kernels import LONG_SQUARE, SHORT_SQUARE, has_lengths, squared_distances, squared_lengths
from embtool.tables.scan import SERIAL_BYTES, Decoder, Ids, Mask, in_parts, read_rows, scan, scan_in_order
from embtool.tables.table import EmbeddingTable, TableReader

Keys = Words

Opener = Callable[[EmbeddingTable], AbstractContextManager[TableReader]]
"""What opens a table: `EmbeddingTable.open`, or something that watches the reading."""

SEED = 20240508
"""Of the random numbers below: any constant does, as long as it is one."""

SURVEY_NUMBERS = 1 << 18
"""Numbers of a block: as float32 they stay in a core's own cache."""

LARGE_NUMBERS = 1 << 20
"""The same in a table for which there are several threads: with less in hand they wait for each other."""

COMPARED_AT_ONCE = 1024
"""Rows of one key compared at a time: a table can hold its one untrained row ten thousand times."""

MANY = 16
"""The share of a table's rows, one of so many, from which on reading all of them is quicker than one after another."""

FREE_EXPONENT = 20
"""Rows of an average length of 2^±20 have float32 products of full precision, even where single rows are far longer."""


@dataclass(frozen=True)
class Survey:
    """What one pass found.

    Attributes:
        norms: Euclidean length of each row: float64 (rows,); NaN where the row holds NaN or infinity.
        zero: Ids of rows that are all zero.
        nonfinite: Ids of rows that hold NaN or infinity.
        mean: The mean of the finite rows: float64 (width,).
        mean_unit: The mean of the finite rows that are not zero, each scaled to length 1: float64 (width,).
        product: The finite rows' XᵀX times the probe: float64 (width, probes), or None without a probe.
    """

    norms: Doubles
    zero: Ids
    nonfinite: Ids
    mean: Doubles
    mean_unit: Doubles
    product: Doubles | None

    @property
    def finite(self) -> int:
        """How many rows are finite."""
        return len(self.norms) - len(self.nonfinite)

    @property
    def exponent(self) -> int:
        """The power of two by which rows are of length 1 on average; 0 where float32 holds their products anyhow."""
        mean = float(np.sqrt(np.nanmean(np.square(self.norms)))) if self.finite else 0.0
        exponent = -int(np.frexp(mean)[1])
        return exponent if abs(exponent) > FREE_EXPONENT else 0

    def scaled(self, exponent: int) -> "Survey":
        """Return what would have been found of rows times 2^exponent; the product is left as it is."""
        return replace(self, norms=np.ldexp(self.norms, exponent), mean=np.ldexp(self.mean, exponent))


@dataclass
class _Sums:
    decode: Decoder
    rows: Doubles
    units: Doubles
    product: Doubles | None
    wide: Doubles
    """Memory for the rows of a block of a small table as float64."""


def survey(table: EmbeddingTable, reader: TableReader, probe: Floats | None = None, *, units: bool = True) -> Survey:
    """Read a table once: the length of every row, the means, and XᵀX times `probe`, float32 (width, probes).

    Without `units` the mean of unit rows is NaN: it costs as much as the rest.
    """
    width, count = table.shape[1], reader.row_count
    squares, origin, is_large = np.empty(count, np.float64), np.zeros(width, np.float32), _is_large(reader)
    dtype, by_kernel = table.tensor.dtype, is_large and has_lengths(table.tensor.dtype, width)

    def start() -> _Sums:
        return _Sums(
            Decoder(table),
            np.zeros(width),
            np.zeros(width),
            None if probe is None else np.zeros((width, probe.shape[1]), np.float64),
            np.empty((0, width)),
        )

    def visit(sums: _Sums, first: int, stored: Bytes) -> None:
        rows = sums.decode(stored)
        found = squared_lengths(dtype, stored) if by_kernel else squared_distances(rows, origin)
        squares[first : first + len(rows)] = found
        finite = np.isfinite(found)
        if not finite.all():
            rows, found = rows[finite], found[finite]
        if is_large and not (found >= LONG_SQUARE).any() and not ((found > 0) & (found <= SHORT_SQUARE)).any():
            _add_means(sums, rows, found, units=units)
        else:
            _add_exact_means(sums, rows, found, units=units)
        if sums.product is not None and probe is not None:
            with np.errstate(all="ignore"):  # beyond float32: `principal_axes` makes it again
                sums.product += rows.T @ (rows @ probe)

    lanes = scan_in_order(reader, start, visit, block_bytes=block_bytes(table, reader))
    with np.errstate(all="ignore"):  # `principal_axes` makes it again
        products = [lane.product for lane in lanes if lane.product is not None]
        product = None if probe is None else np.sum(products, axis=0)
    lost, zero = ~np.isfinite(squares), squares == 0
    finite = int(count - lost.sum())
    directed = max(finite - int(zero.sum()), 1) if units else math.nan
    return Survey(
        norms=np.sqrt(np.where(lost, np.nan, squares)),
        zero=np.flatnonzero(zero).astype(np.int64),
        nonfinite=np.flatnonzero(lost).astype(np.int64),
        mean=np.sum([lane.rows for lane in lanes], axis=0) / max(finite, 1),
        mean_unit=np.sum([lane.units for lane in lanes], axis=0) / directed,
        product=product,
    )


def _is_large(reader: TableReader) -> bool:
    """Tell whether a table is so large that the time counts more than digits beyond the sixth."""
    return reader.row_count * reader.row_bytes > SERIAL_BYTES


def block_bytes(table: EmbeddingTable, reader: TableReader) -> int:
    """Return the bytes of a block whose numbers are summed up while they are in a core's own cache."""
    return (LARGE_NUMBERS if _is_large(reader) else SURVEY_NUMBERS) // table.shape[1] * reader.row_bytes


def _add_means(sums: _Sums, rows: Floats, squares: Doubles, *, units: bool) -> None:
    """Add finite rows, (n, width), of these squared lengths to the sums of rows and, if asked for, of unit rows."""
    sums.rows += rows.sum(axis=0)
    if units:
        sums.units += np.einsum("i,ij->j", _reciprocals(np.sqrt(squares)).astype(np.float32), rows)


def _reciprocals(lengths: Doubles) -> Doubles:
    found: Doubles = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return found


def _add_exact_means(sums: _Sums, rows: Floats, squares: Doubles, *, units: bool) -> None:
    """Do the same in float64."""
    if not units:
        sums.rows += rows.sum(axis=0, dtype=np.float64)
        return
    if len(sums.wide) < len(rows):
        sums.wide = np.empty(rows.shape, np.float64)
    wide = sums.wide[: len(rows)]
    wide[...] = rows
    sums.rows += np.ones(len(rows)) @ wide
    sums.units += _reciprocals(np.sqrt(squares)) @ wide


def norms(table: EmbeddingTable, reader: TableReader) -> Doubles:
    """Compute the Euclidean norm of every row: float64 (rows,); NaN where a row has one."""
    dtype, squares = table.tensor.dtype, np.empty(reader.row_count, np.float64)
    if not (_is_large(reader) and has_lengths(dtype, table.shape[1])):
        return np.sqrt(_squares(table, reader, np.zeros(table.shape[1], np.float32)))

    def visit(_: None, first: int, stored: Bytes) -> None:
        squares[first : first + len(stored)] = squared_lengths(dtype, stored)

    scan(reader, lambda: None, visit)
    return np.sqrt(squares)


def distances(table: EmbeddingTable, reader: TableReader, point: Doubles) -> Doubles:
    """Compute each row's distance to a point, float64 (rows,); NaN where the row is not finite."""
    squares = _squares(table, reader, point.astype(np.float32))
    return np.sqrt(np.where(np.isfinite(squares), squares, np.nan))


def _squares(table: EmbeddingTable, reader: TableReader, point: Floats) -> Doubles:
    """Compute each row's squared distance to a point, float32 (width,): float64 (rows,)."""
    squares = np.empty(reader.row_count, np.float64)

    def visit(decode: Decoder, first: int, stored: Bytes) -> None:
        rows = decode(stored)
        squares[first : first + len(rows)] = squared_distances(rows, point)

    scan(reader, lambda: Decoder(table), visit, block_bytes=block_bytes(table, reader))
    return squares


def mean_row(table: EmbeddingTable, reader: TableReader) -> Doubles:
    """Compute the mean of all finite rows: float64 (width,)."""
    return survey(table, reader, units=False).mean


def least(values: Doubles, count: int) -> Ids:
    """Find the places of the least of some finite values, (n,), the least first; ties by place."""
    places = np.arange(len(values))
    if 0 < count < len(values):  # only what can be among them is sorted
        places = np.flatnonzero(values <= np.partition(values, count - 1)[count - 1])
    found: Ids = places[np.argsort(values[places], kind="stable")][:count]
    return found


def equal_rows(reader: TableReader, lengths: Doubles, among: Mask | None = None) -> list[Ids]:
    """List the groups of rows whose stored bytes are equal, of those `among`, bool (rows,); each sorted by id.

    Only rows of equal `lengths`, float64 (rows,), or without one, NaN, are looked at. They are read again, for a number
    that is equal where their bytes are, and where these numbers are equal they are compared, so that two rows that
    meet by accident are no group.
    """
    ids = np.arange(len(lengths)) if among is None else np.flatnonzero(among)
    alike = _runs(ids, lengths.view(np.uint64))
    met = np.sort(np.concatenate(alike)) if alike else ids[:0]
    keys = np.zeros(len(lengths), np.uint64)
    keys[met] = _keys_of(reader, met)
    found = [same for group in _runs(met, keys) for same in _verified(reader, group)]
    return sorted(found, key=lambda group: int(group[0]))


def _runs(ids: Ids, keys: Keys) -> list[Ids]:
    """List the groups of ids whose keys are equal, uint64 (rows,), each sorted."""
    order = ids[np.argsort(keys[ids], kind="stable")]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(keys[order]) != 0) + 1, [len(order)]])
    return [order[edges[place] : edges[place + 1]] for place in np.flatnonzero(np.diff(edges) > 1)]


def _keys_of(reader: TableReader, ids: Ids) -> Keys:
    """Compute the keys of some rows: uint64 (len(ids),). Where they are many, the whole table is read once more."""
    odd, keys = _odd_numbers(reader.row_bytes), np.empty(reader.row_count, np.uint64)

    def visit(_: None, first: int, stored: Bytes) -> None:
        keys[first : first + len(stored)] = _keys(stored, odd)

    if len(ids) > reader.row_count // MANY:
        scan(reader, lambda: None, visit)
    else:
        for part in in_parts(ids, COMPARED_AT_ONCE):
            keys[part] = _keys(read_rows(reader, part), odd)
    return keys[ids]


def _verified(reader: TableReader, group: Ids) -> list[Ids]:
    """Cut rows with one key into groups of rows whose bytes are equal."""
    found: list[Ids] = []
    while len(group) > 1:
        first = read_rows(reader, group[:1])
        same = np.concatenate(
            [(read_rows(reader, part) == first).all(axis=1) for part in in_parts(group, COMPARED_AT_ONCE)]
        )
        if same.sum() > 1:
            found.append(group[same])
        group = group[~same]
    return found


def _odd_numbers(row_bytes: int) -> Keys:
    """Make the multipliers of `_keys`, one for each word of a row."""
    word = next(size for size in (8, 4, 2, 1) if row_bytes % size == 0)
    numbers = np.random.default_rng(SEED).integers(0, 1 << 63, row_bytes // word, np.uint64)
    return numbers << np.uint64(1) | np.uint64(1)


def _keys(stored: Bytes, odd: Keys) -> Keys:
    """Sum each row's words times random odd numbers, modulo 2⁶⁴: uint64 (n,)."""
    words = np.ascontiguousarray(stored).view(f"<u{stored.shape[1] // len(odd)}")
    keys: Keys = np.einsum("ij,j->i", words, odd)
    return keys
