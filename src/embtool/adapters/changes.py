"""What an adapter does to rows, in numbers: LoRA, DoRA, rows of single tokens, rows of new ones.

A step changes rows in place, given their ids. Arithmetic is float32, as PEFT's on a processor; where the base is stored
in 16 bits the rows are rounded to them in the end, as PEFT rounds what an embedding gives.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from embtool.arrays import Floats, Ints, np
from embtool.errors import FormatError
from embtool.storage.checkpoint import Checkpoint, TensorInfo

Ids = Ints

SIDES = 2

MOST_BYTES = 2 << 30
"""Bytes of a tensor of an adapter that is read whole: LoRA of rank 256 for a table of a million rows."""


class Step(Protocol):
    """Something that changes rows."""

    def apply(self, ids: Ids, rows: Floats) -> None:
        """Change rows, float32 (ids, width), in place."""


def matrix(checkpoint: Checkpoint, tensor: TensorInfo) -> Floats:
    """Read a small tensor whole: float32, (rows, columns), or (1, columns) of a list.

    Raises:
        FormatError: it is no matrix, it is empty, or too large for what it is.
    """
    shape = tensor.shape if len(tensor.shape) == SIDES else (1, *tensor.shape)
    if len(shape) != SIDES or 0 in shape:
        shown = " × ".join(map(str, tensor.shape)) or "scalar"
        raise FormatError(f"tensor {tensor.name} in {tensor.shard} is no matrix: its shape is {shown}")
    if tensor.nbytes > MOST_BYTES:
        raise FormatError(
            f"tensor {tensor.name} in {tensor.shard} is too large for an adapter: {tensor.nbytes:,} bytes"
        )
    whole = TensorInfo(tensor.name, tensor.shard, tensor.dtype, shape, tensor.start, tensor.nbytes)
    return tensor.dtype.to_float32(checkpoint.rows(whole, range(shape[0])))


@dataclass(frozen=True)
class LowRank:
    """LoRA: row + scale × B A, of an embedding or of a linear layer; with magnitudes it is DoRA.

    `a` is (rank, rows) and `b` (width, rank) of an embedding; of a linear layer they are (rank, width), (rows, rank).
    DoRA divides by lengths: of a linear layer those of the rows, of an embedding those of the columns, which take a
    pass over the base's whole table, `before`.
    """

    read_a: Callable[[], Floats]
    read_b: Callable[[], Floats]
    scale: float
    is_embedding: bool
    read_magnitude: Callable[[], Floats] | None = None
    before: Callable[[], Iterable[tuple[Ids, Floats]]] | None = None

    @cached_property
    def _factors(self) -> tuple[Floats, Floats]:
        """For each row its factors, (rows, rank), and what they are multiplied by, (rank, width)."""
        a, b = self.read_a(), self.read_b()
        return (np.ascontiguousarray(a.T), b.T) if self.is_embedding else (b, a)

    def _changed(self, ids: Ids, rows: Floats) -> Floats:
        own, shared = self._factors
        return rows + (own[ids] @ shared) * np.float32(self.scale)

    def apply(self, ids: Ids, rows: Floats) -> None:
        """Change rows; those of new tokens, which the factors do not reach, are left."""
        held = ids < len(self._factors[0])
        changed = self._changed(ids[held], rows[held])
        if self.read_magnitude is None:
            rows[held] = changed
        elif self.is_embedding:
            rows[held] = changed * self._by_column
        else:
            lengths = np.linalg.norm(changed, axis=1, keepdims=True)
            rows[held] = changed * (self._magnitude[0, ids[held], None] / lengths)

    @cached_property
    def _magnitude(self) -> Floats:
        assert self.read_magnitude is not None
        return self.read_magnitude()

    @cached_property
    def _by_column(self) -> Floats:
        """Magnitude by length of every column, (1, width)."""
        assert self.before is not None
        squares = sum((self._changed(ids, rows).astype(np.float64) ** 2).sum(0) for ids, rows in self.before())
        by_column: Floats = (self._magnitude / np.sqrt(squares)).astype(np.float32)
        return by_column


@dataclass(frozen=True)
class Replaced:
    """Rows of single tokens, which stand in the place of the base's."""

    ids: tuple[int, ...]
    read: Callable[[], Floats]

    @cached_property
    def _rows(self) -> Floats:
        return self.read()

    @cached_property
    def _places(self) -> dict[int, int]:
        return {identity: place for place, identity in enumerate(self.ids)}

    def apply(self, ids: Ids, rows: Floats) -> None:
        """Change rows."""
        for place, identity in enumerate(ids.tolist()):
            own = self._places.get(identity)
            if own is not None:
                rows[place] = self._rows[own]


def to_bfloat16(rows: Floats) -> Floats:
    """Round to BF16 and back, to even, as torch does; NaN stays NaN."""
    bits = np.ascontiguousarray(rows).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(rows), rows, rounded.view(np.float32))


def to_float16(rows: Floats) -> Floats:
    """Round to F16 and back."""
    with np.errstate(over="ignore"):
        return rows.astype(np.float16).astype(np.float32)


ROUNDED: dict[str, Callable[[Floats], Floats]] = {"BF16": to_bfloat16, "F16": to_float16}
"""How rows are rounded in the end, by the dtype of the base."""
