"""A matrix of a model, whose rows are read when they are asked for: by id, in blocks, or as an array."""

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from embtool.arguments import check_count
from embtool.arrays import AnyArray, Bytes, Floats, np
from embtool.errors import FormatError, InvalidArgument, TokenIdOutOfRange
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.source import Lender, Progress, RangeReader

FLOAT_BYTES = 4
"""Bytes of a number once it is decoded."""

MOST_ROWS = 1 << 26
"""Rows of a table, twenty times those of the largest published word vectors; what is kept for each fits a memory."""

WATCHED_BYTES = 256 << 20
"""Bytes. A pass over a smaller table is over before a bar has been read."""

TOLD_BYTES = 16 << 20
"""Bytes read between two looks at the bar."""

BLOCK_BYTES = 8 << 20
"""Bytes of rows in hand while a whole table is read in order."""


@dataclass(frozen=True)
class EmbeddingTable:
    """A matrix of a model, (rows, width), of which nothing is read until rows are asked for.

    Attributes:
        role: what it is for: input, output, position, token_type, per_layer, relative, or projection; one that
            `embtool.tables.further_tables` tells, such as mtp_input or vision_position; `tensor` where it was found by
            its tensor's name.
        tensor: its name in the checkpoint, its dtype, its shape, and the file it is in.
        checkpoint: the checkpoint it belongs to.
    """

    role: str
    tensor: TensorInfo
    checkpoint: Checkpoint

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width; for a table of tokens, the row's number is the token id.

        Raises:
            FormatError: the tensor is not two-dimensional, its dtype cannot be read, or it says that it has more rows
                than any vocabulary.
        """
        if has_too_many_rows(self):
            raise FormatError(
                f"{self.tensor.name} has {self.tensor.shape[0]:,} rows: a table has at most {MOST_ROWS:,}"
            )
        width = self.tensor.row_bytes // self.tensor.dtype.bytes * self.tensor.dtype.values
        return self.tensor.shape[0], width

    def __repr__(self) -> str:
        shape = " × ".join(f"{size:,}" for size in self.tensor.shape)
        where = f"{self.tensor.name!r} of {self.checkpoint.source.name!r}"
        return f"<{self.role} table {where}: {shape} {self.tensor.dtype.name}>"

    def check(self, ids: Iterable[int]) -> None:
        """Raise TokenIdOutOfRange unless every id is a row of this table, InvalidArgument unless all are integers."""
        if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__") or getattr(ids, "ndim", 1) == 0:
            raise InvalidArgument(f"a list of token ids is wanted, such as [3, 5], not {ids!r}")
        rows = self.shape[0]
        for row in ids:
            check_count(row, "a token id", -rows - 1)
            if not 0 <= row < rows:
                valid = f"0 to {rows - 1:,}" if rows else "none: the table is empty"
                raise TokenIdOutOfRange(f"no row {row} in {self.tensor.name}: the ids are {valid}")

    def stored_rows(self, ids: Sequence[int]) -> Bytes:
        """Read rows as stored: uint8 (len(ids), bytes of a row), in the order asked.

        Raises:
            TokenIdOutOfRange: an id is not a row of the table.
        """
        self.check(ids)
        return self.checkpoint.rows(self.tensor, ids)

    def rows(self, ids: Sequence[int]) -> Floats:
        """Read rows by token id: float32 (len(ids), width), in the order asked.

        Raises:
            TokenIdOutOfRange: an id is not a row of the table.
            UnsupportedDType: the table's numbers cannot be decoded.
        """
        return self.tensor.dtype.to_float32(self.stored_rows(ids))

    @contextlib.contextmanager
    def open(self, progress: Progress | None = None) -> Iterator["TableReader"]:
        """Make the whole table readable on this machine, for a scan; of a repository's, this fetches it whole.

        `progress` is told how far each pass over a large table is.

        Raises:
            TooLarge: it is more than may be fetched without a question.
        """
        row_bytes = self.tensor.row_bytes
        with self.checkpoint.open(self.tensor) as (reader, start):
            total = row_bytes * self.tensor.shape[0]
            if progress is None or total < WATCHED_BYTES:
                yield TableReader(reader, start, row_bytes, self.tensor.shape[0], self.row_cost)
                return
            what = f"reading {self.tensor.name}"
            watched = _Watched(reader, progress, what, total)
            try:
                yield TableReader(watched, start, row_bytes, self.tensor.shape[0], self.row_cost)
            finally:
                progress(what, total, total)

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        return True  # a table without rows is a table

    @property
    def dtype(self) -> "np.dtype[np.float32]":
        """The type of the numbers that rows have once they are read; `tensor.dtype` is how they are stored."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """Two: rows and width."""
        return 2

    def __getitem__(self, place: int | slice | Sequence[int]) -> Floats:
        """Read rows as an array is indexed: [5] is float32 (width,); [2:9] and [[1, 2]] are (n, width).

        Raises:
            TokenIdOutOfRange: there is no such row.
        """
        rows = self.shape[0]
        if isinstance(place, slice):
            return self.rows(range(*place.indices(rows)))
        if isinstance(place, int | np.integer):
            number = int(place)
            found: Floats = self.rows([number + rows if -rows <= number < 0 else number])[0]
            return found
        return self.rows(place)

    def __iter__(self) -> Iterator[Floats]:
        """Yield every row, float32 (width,), read in blocks."""
        size = max(1, BLOCK_BYTES // max(self.row_cost, 1))
        for first in range(0, self.shape[0], size):
            yield from self[first : first + size]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:  # noqa: FBT001 - numpy calls it so
        """Read the whole table: float32 (rows, width), or of another type that is asked for.

        Raises:
            ValueError: no copy was to be made, and reading makes one.
        """
        if copy is False:
            raise InvalidArgument("a table is read into an array of its own: it cannot be had without a copy")
        found = np.empty(self.shape, np.float32 if dtype is None else dtype)
        with self.open() as reader:
            size = max(1, BLOCK_BYTES // max(self.row_cost, 1))
            for first in range(0, len(found), size):
                stored = np.empty((min(size, len(found) - first), reader.row_bytes), np.uint8)
                reader.read(first, stored)
                found[first : first + len(stored)] = self.tensor.dtype.to_float32(stored)
        return found

    @property
    def row_cost(self) -> int:
        """Bytes in hand while a row is scanned, those stored or, where a row must be unpacked, its numbers'."""
        packed = self.tensor.dtype.values > 1
        return max(self.tensor.row_bytes, self.shape[1] * FLOAT_BYTES if packed else 0)


@dataclass(frozen=True)
class TableReader:
    """An open table, read in blocks of rows; safe to share between threads."""

    reader: RangeReader
    start: int
    row_bytes: int
    row_count: int
    row_cost: int = 0
    """Bytes in hand while a row is scanned, if more than its own."""

    def part(self, first: int, stop: int) -> "TableReader":
        """Return a reader of the rows from `first` to `stop`, exclusive, alone."""
        start = self.start + first * self.row_bytes
        return TableReader(self.reader, start, self.row_bytes, stop - first, self.row_cost)

    def read(self, first: int, buffer: Bytes) -> None:
        """Fill `buffer`, uint8 (n, row_bytes), with the stored rows from `first` on."""
        self.reader.read_into(self.start + first * self.row_bytes, buffer.reshape(-1).data)

    @property
    def lender(self) -> Lender | None:
        """What lends rows, if anything does: where numbers do not stand at multiples of their size, they are read."""
        aligned = self.start % math.gcd(self.row_bytes, 8) == 0
        return self.reader if aligned and isinstance(self.reader, Lender) else None

    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass, in which rows may be lent."""
        lender = self.lender
        return contextlib.nullcontext() if lender is None else lender.passing()

    @contextlib.contextmanager
    def rows(self, first: int, buffer: Bytes) -> Iterator[Bytes]:
        """Give the stored rows from `first` on, uint8 (n, row_bytes), only to be read, until the context ends.

        They are lent without a copy where that is possible, otherwise read into `buffer`, which says how many.
        """
        lender = self.lender
        if lender is not None:
            start = self.start + first * self.row_bytes
            with lender.lend(start, start + buffer.nbytes) as lent:
                if lent is not None:
                    yield np.frombuffer(lent, np.uint8).reshape(buffer.shape)
                    return
        self.read(first, buffer)
        rows = buffer.view()
        rows.flags.writeable = False  # as what is lent
        yield rows


@dataclass
class _Watched(Lender):
    """Reads like the reader it stands for, and tells what has been read."""

    reader: RangeReader
    progress: Progress
    what: str
    total: int
    done: int = 0
    told: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer."""
        self.reader.read_into(start, buffer)
        self._tell(len(buffer))

    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass."""
        return self.reader.passing() if isinstance(self.reader, Lender) else contextlib.nullcontext()

    @contextlib.contextmanager
    def lend(self, start: int, stop: int) -> Iterator[memoryview | None]:
        """Lend bytes, and tell it once they are given back: what is shown may wait for a terminal."""
        if not isinstance(self.reader, Lender):
            yield None
            return
        with self.reader.lend(start, stop) as lent:
            yield lent
        if lent is not None:
            self._tell(stop - start)

    def _tell(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.done - self.told < TOLD_BYTES:
                return
            self.told = self.done
            self.progress(self.what, self.done % self.total, self.total)


def has_too_many_rows(table: EmbeddingTable | None) -> bool:
    """Return whether a table says that it has more rows than any vocabulary."""
    return table is not None and bool(table.tensor.shape) and table.tensor.shape[0] > MOST_ROWS
