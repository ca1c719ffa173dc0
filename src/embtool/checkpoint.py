"""All tensors of a model, by name; rows of them, by byte range.

A `TensorInfo` is enough to read a row, for any format, on disk or over the network. Formats make them from headers; a
`Checkpoint` asks for the header of a shard only when a tensor of it is wanted, so that looking at one table of a large
model costs one header.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embtool.dtypes import Bytes, DType
from embtool.errors import FormatError, UnsupportedDType
from embtool.source import LocalRange, Source


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor stands and how: `shape` in rows and columns, `start` in bytes from the beginning of the shard."""

    name: str
    shard: str
    dtype: DType
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def stop(self) -> int:
        """The byte after the tensor's last."""
        return self.start + self.nbytes

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


class Checkpoint(ABC):
    """The tensors of one model."""

    source: Source
    format: str
    """The format's name, as `info` shows it."""

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
        """Read rows as they are stored: uint8 (len(ids), row_bytes). Equal and neighbouring ids are read once."""
        size = tensor.row_bytes
        runs = _runs(sorted(set(ids)))
        ranges = [(tensor.start + first * size, tensor.start + (last + 1) * size) for first, last in runs]
        position = {}
        for (first, last), data in zip(runs, self.source.read_ranges(tensor.shard, ranges), strict=True):
            stored = np.frombuffer(data, np.uint8).reshape(-1, size)
            position.update({row: stored[row - first] for row in range(first, last + 1)})
        return np.stack([position[row] for row in ids]) if ids else np.empty((0, size), np.uint8)

    def local_range(self, tensor: TensorInfo) -> LocalRange:
        """Make the whole tensor readable on this machine."""
        return self.source.local_range(tensor.shard, tensor.start, tensor.stop)


def size_of(dtype: DType, shape: Sequence[int]) -> int | None:
    """Tell how many bytes a tensor takes, or None if its values do not fill whole blocks."""
    return dtype.nbytes(math.prod(shape))


def _runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Merge sorted ids into runs of neighbours, each (first, last)."""
    runs: list[tuple[int, int]] = []
    for row in ids:
        if runs and row == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row)
        else:
            runs.append((row, row))
    return runs
