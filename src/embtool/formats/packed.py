"""Tables that are made of several tensors: codes and their scales, put together as one table.

A quantised checkpoint has, where another has `lm_head.weight`, codes under that name and their scales beside it. Here a
checkpoint is wrapped in one that knows: its names are those of whole tables, and a table it gives has `parts`, so that
rows are still read by ranges of bytes, one for each part.

Each way to pack is a `Recipe`: the ends of the names it is known by, and what makes a table of them. To add one: write
the function and name it in `RECIPES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from embtool.arrays import Bytes, Floats, np
from embtool.configs.config import Config
from embtool.errors import FormatError
from embtool.storage.checkpoint import Checkpoint, Part, RowMap, TensorInfo
from embtool.storage.dtypes import DType

WEIGHT = "weight"

SMALL_FLOATS = frozenset({"F8_E4M3", "F8_E5M2"})
SCALES = frozenset({"weight_scale", "weight_scale_inv", "scale_weight"})
"""Last parts of the names of scales of 8-bit floats; a float without its own is no number of the model."""

SIDES = 2
"""Dimensions of a table: rows and columns."""


@dataclass(frozen=True)
class Pieces:
    """The tensors that make one table, by the ends of their names, and what the config says about packing."""

    name: str
    """The name of the table."""

    base: str
    checkpoint: Checkpoint
    settings: Mapping[str, Any]
    width: int | None
    """The width of a row as the config has it, where nothing better is known."""

    names: frozenset[str]
    """Every tensor's name."""

    def has(self, end: str) -> bool:
        """Return whether there is such a tensor."""
        return self._full(end) in self.names

    def get(self, end: str) -> TensorInfo:
        """Find one of the tensors.

        Raises:
            TableNotFound: there is none.
        """
        return self.checkpoint.tensor(self._full(end))

    def _full(self, end: str) -> str:
        return f"{self.base}.{end}" if self.base else end

    def join(
        self,
        dtype: str,
        width: int,
        parts: Sequence[Part],
        decode: Callable[[Bytes], Floats] | None,
        *,
        rows: int | None = None,
    ) -> TensorInfo:
        """Make the table: as many rows as the first part, if no other number is given, and `width` numbers in each.

        A stored row is the parts' bytes one after the other, and that is one block of the dtype.
        """
        codes = parts[0].tensor
        row_bytes = sum(part.tensor.stride for part in parts)
        return TensorInfo(
            self.name,
            codes.shard,
            DType(dtype, width, row_bytes, decode),
            (codes.shape[0] if rows is None else rows, width),
            codes.start,
            sum(part.tensor.nbytes for part in parts),
            tuple(parts),
        )

    def error(self, problem: str) -> FormatError:
        """The error that says what is wrong with the table."""
        return FormatError(f"{self.name} of {self.checkpoint.source.name} {problem}")

    def check_rows(self, tensor: TensorInfo, rows: int, columns: int) -> None:
        """Raise FormatError unless a tensor has this shape."""
        if tensor.shape != (rows, columns):
            shape = " × ".join(map(str, tensor.shape)) or "scalar"
            raise self.error(f"needs {rows:,} × {columns:,} numbers in {tensor.name}, which has {shape}")

    def check_table(self, tensor: TensorInfo) -> None:
        """Raise FormatError unless a tensor has rows and columns."""
        if len(tensor.shape) != SIDES or 0 in tensor.shape:
            raise self.error(f"is not a table of rows: its shape is {' × '.join(map(str, tensor.shape)) or 'scalar'}")


@dataclass(frozen=True)
class Recipe:
    """One way to pack a table: which tensors it is known by, which others belong to it, and how they are joined."""

    signs: tuple[str, ...]
    companions: tuple[str, ...]
    join: Callable[[Pieces], TensorInfo]
    table: str = WEIGHT
    """The end of the table's name."""


def join_stacked(pieces: Pieces) -> TensorInfo:
    """Put a table of added rows below the table they were added to, as Molmo's code does when it loads them.

    Raises:
        FormatError: the two differ in width or dtype.
    """
    first, second = pieces.get("embedding"), pieces.get("new_embedding")
    pieces.check_table(first)
    pieces.check_table(second)
    if (first.shape[1], first.dtype.name) != (second.shape[1], second.dtype.name):
        raise pieces.error(f"and {second.name} differ in width or dtype")
    rows = first.shape[0] + second.shape[0]
    nbytes = first.nbytes + second.nbytes
    parts = (Part(first), Part(second, offset=first.shape[0]))
    shape = (rows, first.shape[1])
    return TensorInfo(pieces.name, first.shard, first.dtype, shape, first.start, nbytes, parts, stacked=True)


STACKED = Recipe(("new_embedding", "embedding"), (), join_stacked, "embedding")


def join_axial(pieces: Pieces) -> TensorInfo:
    """Put positions together that are kept by two axes, as Reformer does: n × 1 × a and 1 × m × b numbers.

    Position p is row p // m of the first, followed by row p % m of the second
    (https://arxiv.org/abs/2001.04451, and AxialPositionEmbeddings in transformers).

    Raises:
        FormatError: the two do not fit each other.
    """
    first, second = pieces.get("weights.0"), pieces.get("weights.1")
    if len(first.shape) != 3 or first.shape[1] != 1 or len(second.shape) != 3 or second.shape[0] != 1:  # noqa: PLR2004
        raise pieces.error(f"is not made of two axes: {first.name} has {first.shape}, {second.name} {second.shape}")
    rows, each = first.shape[0], second.shape[1]
    if first.dtype.name != second.dtype.name or not rows * each:
        raise pieces.error(f"and {second.name} differ in dtype, or have no rows")
    parts = (
        Part(replace(first, shape=(rows, first.shape[2])), rows_each=each),
        Part(replace(second, shape=second.shape[1:]), through=RowMap(lambda: np.arange(rows * each) % each)),
    )
    width = first.shape[2] + second.shape[2]
    return pieces.join(f"{first.dtype.name}, axial", width, parts, first.dtype.decode, rows=rows * each)


AXIAL = Recipe(("weights.1", "weights.0"), (), join_axial)


class PackedCheckpoint(Checkpoint):
    """A checkpoint whose quantised tables appear whole."""

    def __init__(self, inner: Checkpoint, recipes: Sequence[Recipe], config: Config | None) -> None:
        self.inner = inner
        self.source = inner.source
        self.format = inner.format
        self._recipes = tuple(recipes)
        self._config = config
        self._joined: dict[str, TensorInfo] = {}

    @cached_property
    def _inner_names(self) -> frozenset[str]:
        return frozenset(self.inner.names)

    @cached_property
    def _has_scales(self) -> bool:
        """Whether numbers of 8 bits have scales in this model: its config says so, or others of them do.

        Without, as in a file that was only cast, they are what they are.
        """
        config = self._config
        is_said = config is not None and bool(config.packing)
        return is_said or any(name.rpartition(".")[2] in SCALES for name in self.inner.names)

    @cached_property
    def _packed(self) -> dict[str, tuple[str, Recipe]]:
        """Map the names of packed tables to base and recipe; of recipes whose signs are there the first counts."""
        names = self._inner_names
        found: dict[str, tuple[str, Recipe]] = {}
        for recipe in self._recipes:
            first = recipe.signs[0]
            for name in self.inner.names:
                base = "" if name == first else name.removesuffix(f".{first}")
                if base != name and all(_joined(base, sign) in names for sign in recipe.signs):
                    found.setdefault(_joined(base, recipe.table), (base, recipe))
        return found

    @cached_property
    def names(self) -> Sequence[str]:
        """Every tensor's name, packed tables under one name each."""
        hidden = {
            _joined(base, end) for base, recipe in self._packed.values() for end in (*recipe.signs, *recipe.companions)
        } - self._packed.keys()
        return tuple(dict.fromkeys([*(name for name in self.inner.names if name not in hidden), *self._packed]))

    @property
    def shards(self) -> Sequence[str]:
        """Every file that holds tensors."""
        return self.inner.shards

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor; a packed table comes put together.

        Raises:
            TableNotFound: there is no such tensor.
            FormatError: the tensors of a packed table do not fit each other.
        """
        if name not in self._packed:
            found = self.inner.tensor(name)
            if found.dtype.name in SMALL_FLOATS and len(found.shape) == SIDES and self._has_scales:
                return replace(
                    found, dtype=replace(found.dtype, name=f"{found.dtype.name} without its scale", decode=None)
                )
            if found.dtype.name == "U32" and name.endswith(f".{WEIGHT}") and len(found.shape) == SIDES:
                raise FormatError(f"{name} in {found.shard} holds packed codes, but no scales are beside it")
            return found
        if name not in self._joined:
            base, recipe = self._packed[name]
            config = self._config
            width = config.embedding_size or config.hidden_size if config is not None else None
            settings = config.packing if config is not None else MappingProxyType({})
            self._joined[name] = recipe.join(Pieces(name, base, self.inner, settings, width, self._inner_names))
        return self._joined[name]


def _joined(base: str, end: str) -> str:
    return f"{base}.{end}" if base else end


def single(tensor: TensorInfo, rows: int) -> Part:
    """Make a part of a tensor that holds one number for the whole table of so many rows."""
    return Part(tensor, rows_each=max(1, rows))
