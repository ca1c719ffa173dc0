"""All tensors of a model, by name; rows of them, by byte range.

A `TensorInfo` is enough to read a row, for any format, on disk or over the network. Formats make them from headers; a
`Checkpoint` asks for the header of a shard only when a tensor of it is wanted, so that looking at one table of a large
model costs one header.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from embtool.arrays import Bytes, Ints, np
from embtool.errors import FormatError, UnsupportedDType
from embtool.storage.dtypes import DType
from embtool.storage.mapped import Mappings
from embtool.storage.source import LocalRange, RangeReader, Source, TensorDescription

Span = tuple[str, int, int]
"""Bytes start..stop of a shard."""


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor stands and how: `shape` in rows and columns, `start` in bytes from the beginning of the shard.

    A quantised table is made of several tensors: then `parts` says how. With parts side by side, a stored row is the
    bytes of each part's row one after the other, and the dtype decodes them together; with parts `stacked`, the rows of
    the second follow those of the first. `nbytes` counts all of them; `start` is of no meaning.
    """

    name: str
    shard: str
    dtype: DType
    shape: tuple[int, ...]
    start: int
    nbytes: int
    parts: tuple["Part", ...] = ()
    stacked: bool = False

    @property
    def stop(self) -> int:
        """The byte after the tensor's last."""
        return self.start + self.nbytes

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the tensor that holds the numbers, which differs from `shape` where they are packed."""
        return self.parts[0].tensor.shape if self.parts and not self.stacked else self.shape

    @property
    def stride(self) -> int:
        """Bytes from one row to the next as stored, whether or not they can be decoded; a scalar is one row."""
        return self.nbytes // max(1, self.shape[0] if self.shape else 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a two-dimensional tensor.

        Raises:
            FormatError: the tensor is not two-dimensional, or has no columns.
            UnsupportedDType: its dtype cannot be decoded.
        """
        if len(self.shape) != 2 or self.shape[1] == 0:  # noqa: PLR2004 - a table has rows and columns
            shape = " × ".join(map(str, self.shape)) or "scalar"
            raise FormatError(f"tensor {self.name} in {self.shard} is not a table of rows: its shape is {shape}")
        size = self.dtype.nbytes(self.shape[1])
        if self.dtype.decode is None or size is None:
            raise UnsupportedDType(
                f"tensor {self.name} in {self.shard} has dtype {self.dtype.name}: rows cannot be read"
            )
        return size


@dataclass(frozen=True)
class Part:
    """A tensor that holds a part of each row of a table, or some of its rows.

    `rows_each` rows of the table share one row of the tensor: 128 for a scale per block of 128 × 128 numbers, all of
    them for one scale of the whole table. `offset` is the first row of the table that the tensor holds. `through` says
    for each row of the table which row of the tensor it is, where many share one without order. `columns` are the first
    byte of a stored row that belongs to the table, and the one after the last, where not all do.
    """

    tensor: TensorInfo
    rows_each: int = 1
    offset: int = 0
    through: "RowMap | None" = None
    columns: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        """Bytes of a stored row that belong to the table."""
        return self.tensor.stride if self.columns is None else self.columns[1] - self.columns[0]

    def cut(self, rows: Bytes) -> Bytes:
        """Return of stored rows, (n, stride), the bytes that belong to the table: (n, width)."""
        return rows if self.columns is None else rows[:, slice(*self.columns)]

    def row(self, table_row: int) -> int:
        """Return which row of the tensor belongs to a row of the table."""
        if self.through is not None:
            return int(self.through.rows[table_row])
        return (table_row - self.offset) // self.rows_each


class RowMap:
    """For each row of a table its row in a tensor, int64 (rows,); read when the first row is."""

    def __init__(self, read: Callable[[], Ints]) -> None:
        self._read = read

    @cached_property
    def rows(self) -> Ints:
        """The rows themselves."""
        return self._read()


class Checkpoint(ABC):
    """The tensors of one model."""

    source: Source
    format: str
    """The format's name, as `info` shows it."""

    roles: Mapping[str, str] = MappingProxyType({})
    """What tensors are for whose names do not say it, by their names."""

    def __repr__(self) -> str:
        return f"<{self.format} checkpoint of {self.source.name!r}: {len(self.names):,} tensors>"

    @cached_property
    def mappings(self) -> Mappings:
        """What of its files is mapped into memory, for as long as it is open."""
        return Mappings()

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Every tensor's name."""

    @property
    @abstractmethod
    def shards(self) -> Sequence[str]:
        """Every file that holds tensors."""

    @abstractmethod
    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor by name, reading its shard's header if that was not read before.

        Raises:
            TableNotFound: there is no such tensor.
        """

    def rows(self, tensor: TensorInfo, ids: Sequence[int]) -> Bytes:
        """Read rows as they are stored: uint8 (len(ids), row_bytes). Equal and neighbouring ids are read once.

        The ranges of all parts of a table that lie in one shard are asked for together.
        """
        size = tensor.row_bytes
        wanted = [span for part in parts_of(tensor) for span in _spans(part, ids)]
        have = self._read(wanted)
        rows = np.empty((len(ids), size), np.uint8)
        column = 0
        for part in parts_of(tensor):
            target = rows if tensor.stacked else rows[:, column : column + part.width]
            stored: dict[int, Bytes] = {}
            for span in _spans(part, ids):
                first = (span[1] - part.tensor.start) // max(1, part.tensor.stride)
                block = np.frombuffer(have[span], np.uint8).reshape(-1, part.tensor.stride)
                stored.update({first + place: row for place, row in enumerate(part.cut(block))})
            for place, own in _held(part, ids):
                target[place] = stored[own]
            column += part.width
        return rows

    def _read(self, spans: Sequence[Span]) -> dict[Span, bytes]:
        """Read ranges of several shards, each shard's in one call."""
        have: dict[Span, bytes] = {}
        for shard in dict.fromkeys(span[0] for span in spans):
            mine = [span for span in dict.fromkeys(spans) if span[0] == shard]
            data = self.source.read_ranges(shard, [(start, stop) for _, start, stop in mine])
            have.update(zip(mine, data, strict=True))
        return have

    def local_range(self, tensor: TensorInfo) -> LocalRange:
        """Make the whole tensor, or the one that holds the numbers of a packed table, readable on this machine."""
        while tensor.parts:
            tensor = tensor.parts[0].tensor
        describe = TensorDescription(tensor.name, tensor.dtype.name, tensor.shape)
        return self.source.local_range(tensor.shard, tensor.start, tensor.stop, describe=describe)

    @contextlib.contextmanager
    def open(self, tensor: TensorInfo) -> Iterator[tuple[RangeReader, int]]:
        """Make the whole tensor readable on this machine; give its reader, and where its first row begins in it."""
        with contextlib.ExitStack() as stack:
            if not tensor.parts:
                place = self.local_range(tensor)
                yield stack.enter_context(place.open(self.mappings)), place.start
                return
            opened = []
            for part in tensor.parts:
                place = self.local_range(part.tensor)
                opened.append(_OpenPart(part, stack.enter_context(place.open()), place.start))
            yield _Joined(tensor.row_bytes, tuple(opened), tensor.stacked), 0


@dataclass(frozen=True)
class _OpenPart:
    """A part of a table, open for reading."""

    part: Part
    reader: RangeReader
    start: int

    def read(self, first: int, count: int) -> Bytes:
        """Read the part's rows that belong to `count` rows of the table from `first` on: uint8 (count, stride)."""
        width = self.part.tensor.stride
        if self.part.through is not None:
            through = self.part.through.rows[first : first + count]
            rows = np.empty((len(through), width), np.uint8)
            for place, row in enumerate(through.tolist()):
                self.reader.read_into(self.start + row * width, rows[place].data)
            return rows
        own_first, own_last = self.part.row(first), self.part.row(first + count - 1)
        own = np.empty((own_last - own_first + 1, width), np.uint8)
        self.reader.read_into(self.start + own_first * width, own.reshape(-1).data)
        own = self.part.cut(own)
        if self.part.rows_each == 1:
            return own
        return own[(np.arange(first, first + count) - self.part.offset) // self.part.rows_each - own_first]


@dataclass(frozen=True)
class _Joined:
    """A table of several parts, read as if its rows stood one after the other in one file."""

    row_bytes: int
    parts: tuple[_OpenPart, ...]
    stacked: bool

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer with whole rows; `start` and its length are multiples of the row's bytes."""
        rows = np.frombuffer(buffer, np.uint8).reshape(-1, self.row_bytes)
        first = start // self.row_bytes
        if self.stacked:
            for each in self.parts:
                begin = max(first, each.part.offset)
                end = min(first + len(rows), each.part.offset + each.part.tensor.shape[0])
                if begin < end:
                    rows[begin - first : end - first] = each.read(begin, end - begin)
            return
        column = 0
        for part in self.parts:
            width = part.part.width
            rows[:, column : column + width] = part.read(first, len(rows))
            column += width


def parts_of(tensor: TensorInfo) -> tuple[Part, ...]:
    """List the parts of a table; a plain tensor is its own only part."""
    return tensor.parts or (Part(tensor),)


def _held(part: Part, ids: Sequence[int]) -> list[tuple[int, int]]:
    """List (place in the answer, row of the part's tensor) for the rows that this part holds."""
    rows = max(1, part.tensor.shape[0] if part.tensor.shape else 1)
    pairs = [(place, part.row(row)) for place, row in enumerate(ids)]
    return [(place, own) for place, own in pairs if 0 <= own < rows]


def _spans(part: Part, ids: Sequence[int]) -> list[Span]:
    """List the ranges of bytes that hold a part of these rows."""
    width, start = part.tensor.stride, part.tensor.start
    own = sorted({own for _, own in _held(part, ids)})
    return [(part.tensor.shard, start + first * width, start + (last + 1) * width) for first, last in runs(own)]


def runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return sorted ids as runs of neighbours, each (first, last).

    >>> runs([0, 1, 2, 7])
    [(0, 2), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for row in ids:
        if found and row == found[-1][1] + 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found
