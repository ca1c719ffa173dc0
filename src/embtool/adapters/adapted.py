"""A base's checkpoint in which the tables that an adapter changes are the changed ones.

Such a table has no bytes of its own: its rows are those of the base, and each step changes them as they are read. They
come as float32, under a dtype that names both. Everything above reads them like any others.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from embtool.adapters.changes import Ids, LowRank, Replaced, Step, matrix
from embtool.adapters.description import Adapter, TableChange, check_read
from embtool.arrays import Bytes, Floats, np
from embtool.errors import FormatError
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.dtypes import DTYPES, ROUNDED, DType
from embtool.storage.source import LocalRange, RangeReader
from embtool.tables.table import EmbeddingTable
from embtool.tables.table_roles import TABLE_NAMES, Tables

FLOAT = DTYPES["F32"]
BLOCK_ROWS = 4096
"""Rows in hand while a whole table is read for the lengths of its columns."""


@dataclass(frozen=True)
class Changed:
    """A table that an adapter changes: the rows before, and what is done to them; `name` and `shard` are shown."""

    name: str
    shard: str
    what: str
    before: EmbeddingTable
    rows: int
    steps: tuple[Step, ...] = ()

    @property
    def tensor(self) -> TensorInfo:
        """Describe it; where nothing is done to the rows, it is the tensor that holds them."""
        before = self.before.tensor
        if not self.steps:
            return replace(before, name=self.name)
        width = self.before.shape[1]
        nbytes = self.rows * width * FLOAT.bytes
        dtype = DType(f"{before.dtype.name} + {self.what}", 1, FLOAT.bytes, FLOAT.decode)
        return TensorInfo(self.name, self.shard, dtype, (self.rows, width), 0, nbytes)

    def read(self, ids: Sequence[int]) -> Bytes:
        """Read rows, as float32 in bytes: uint8 (ids, 4 × width)."""
        wanted = np.asarray(ids, np.int64)
        held = wanted < self.before.shape[0]
        rows = np.zeros((len(wanted), self.before.shape[1]), np.float32)
        if held.any():
            rows[held] = self.before.rows(wanted[held].tolist())
        return self.change(wanted, rows)

    def change(self, ids: Ids, rows: Floats) -> Bytes:
        """Change rows as they were before."""
        for step in self.steps:
            step.apply(ids, rows)
        rounded = ROUNDED.get(self.before.tensor.dtype.name)
        done = rows if rounded is None else rounded(rows)
        return np.ascontiguousarray(done, "<f4").view(np.uint8)


@dataclass(frozen=True)
class _ChangedReader:
    """Reads a changed table in blocks of rows, as if it stood in a file."""

    table: Changed
    reader: RangeReader
    start: int

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer with whole rows; `start` and its length are multiples of a row's bytes."""
        width = self.table.before.shape[1]
        size = width * FLOAT.bytes
        ids = np.arange(start // size, (start + len(buffer)) // size)
        before = self.table.before.tensor
        held = max(0, min(len(ids), before.shape[0] - int(ids[0]))) if len(ids) else 0
        stored = np.empty((held, before.row_bytes), np.uint8)
        if held:
            self.reader.read_into(self.start + int(ids[0]) * before.row_bytes, stored.reshape(-1).data)
        rows = np.zeros((len(ids), width), np.float32)
        rows[:held] = before.dtype.to_float32(stored)
        buffer[:] = self.table.change(ids, rows).reshape(-1).data


class AdaptedCheckpoint(Checkpoint):
    """The tensors of a base, with the tables that an adapter changes; its source is the adapter's."""

    def __init__(self, base: Checkpoint, adapter: Checkpoint, changed: Mapping[str, Changed]) -> None:
        self.inner = base
        self.source = adapter.source
        self.format = base.format
        self._changed = dict(changed)

    @property
    def names(self) -> Sequence[str]:
        """Every tensor's name: the base's, and of tables that only the adapter has."""
        return tuple(dict.fromkeys([*self.inner.names, *self._changed]))

    @property
    def shards(self) -> Sequence[str]:
        """Every file of the base."""
        return self.inner.shards

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor."""
        return self._changed[name].tensor if name in self._changed else self.inner.tensor(name)

    def rows(self, tensor: TensorInfo, ids: Sequence[int]) -> Bytes:
        """Read rows, changed where the adapter changes them."""
        table = self._changed.get(tensor.name)
        if table is None:
            return self.inner.rows(tensor, ids)
        return table.read(ids) if table.steps else table.before.checkpoint.rows(table.before.tensor, ids)

    def local_range(self, tensor: TensorInfo) -> LocalRange:
        """Make a whole tensor readable on this machine.

        Raises:
            FileNotFoundError: it is a changed table, which stands nowhere.
        """
        table = self._changed.get(tensor.name)
        if table is None:
            return self.inner.local_range(tensor)
        if table.steps:
            raise FileNotFoundError(tensor.name)
        return table.before.checkpoint.local_range(table.before.tensor)

    @contextlib.contextmanager
    def open(self, tensor: TensorInfo) -> Iterator[tuple[RangeReader, int]]:
        """Make a whole tensor readable on this machine; rows are changed as they are read."""
        table = self._changed.get(tensor.name)
        if table is None:
            with self.inner.open(tensor) as opened:
                yield opened
            return
        with table.before.checkpoint.open(table.before.tensor) as (reader, start):
            yield (_ChangedReader(table, reader, start), 0) if table.steps else (reader, start)


def adapt(adapter: Adapter, name: str, base: Tables) -> AdaptedCheckpoint:
    """Put what an adapter changes in the place of its base's tables; `name` is the adapter's, for messages.

    Raises:
        FormatError: it does not fit the base.
        UnsupportedFormat: it changes a table in a way that is not read here.
    """
    changed: dict[str, Changed] = {}
    for change in adapter.changes:
        if change.role in ("input", "output") or change.needs_base:
            check_read(adapter, change, name)
            found = _changed(adapter, change, name, base)
            changed[found.name] = found
    for role, tensors in adapter.appended.items():
        table = base.find(role)
        own = table.tensor.name if role == "input" or base.tying.verdict != "tied" else TABLE_NAMES[role][0]
        known = changed.get(own)
        before = table if known is None else known.before
        rows, width = before.shape
        tensor = next((tensor for tensor in tensors if tensor.shape[1:] == (width,)), None)
        if tensor is None:
            shapes = " and ".join(f"{each.name}, {_shown(each.shape)}" for each in tensors)
            raise FormatError(
                f"{tensors[0].shard} brings {shapes}, and the rows of {base.source_name} have {width:,} numbers"
            )
        step = Replaced(tuple(range(rows, rows + tensor.shape[0])), partial(matrix, adapter.checkpoint, tensor))
        steps: tuple[Step, ...] = (*(() if known is None else known.steps), step)
        what = f"{tensor.shape[0]:,} new rows"
        shown = what if known is None else f"{known.what}, {what}"
        found = Changed(own, tensor.shard, shown, before, rows + tensor.shape[0], steps)
        changed[found.name] = found
    roles = {change.role for change in adapter.changes if change.whole is not None or change.low_rank is not None}
    output = TABLE_NAMES["output"][0]
    is_input_alone = "input" in roles and "output" not in roles
    if is_input_alone and base.tying.verdict == "tied" and not adapter.ties and output not in base.checkpoint.names:
        # PEFT leaves a tied head alone: it becomes a table of its own, with the rows before
        table = base.find("output")
        changed[output] = Changed(output, "", "", table, table.shape[0])
    return AdaptedCheckpoint(base.checkpoint, adapter.checkpoint, changed)


def _changed(adapter: Adapter, change: TableChange, name: str, base: Tables) -> Changed:
    """Put together what is done to one table."""
    table = table_of(change, base)
    if table is None:
        raise FormatError(f"{name} changes {change.module}, which {base.source_name} does not have")
    is_tied_head = change.role == "output" and table.role == "input"  # which has no tensor of its own
    shown = f"{change.module}.weight" if is_tied_head else table.tensor.name
    if change.whole is not None:
        table = EmbeddingTable(change.role, change.whole, adapter.checkpoint)
    steps: list[Step] = []
    what = []
    if change.low_rank is not None:
        rank, scale = adapter.rank_and_scale(change)
        steps.append(_low_rank(adapter, change, name, table, scale))
        what.append(f"{'DoRA' if change.magnitude is not None else 'LoRA'} of rank {rank}")
    if change.tokens is not None:
        steps.append(_replaced(adapter, change, name, table))
        what.append(f"{len(change.ids):,} rows")
    part = next(iter(change.parts.values()))
    return Changed(shown, part.shard, ", ".join(what), table, table.shape[0], tuple(steps))


def table_of(change: TableChange, base: Tables) -> EmbeddingTable | None:
    """Find the table of the base that is changed: by its whole name, by the end of its path, or by its role."""
    exact = f"{change.module}.weight"
    if exact in base.checkpoint.names:
        return EmbeddingTable(change.role, base.checkpoint.tensor(exact), base.checkpoint)
    last = change.module.rpartition(".")[2]
    for table in base.stored:
        if table.tensor.name.removesuffix(".weight").rpartition(".")[2] == last:
            return table
    if change.role == "output" and base.tying.verdict == "tied":
        return base.find("input")
    return None


def _low_rank(adapter: Adapter, change: TableChange, name: str, table: EmbeddingTable, scale: float) -> LowRank:
    assert change.low_rank is not None
    a, b = change.low_rank
    rank = a.shape[0]
    rows, width = table.shape
    wanted = ((rank, rows), (width, rank)) if change.is_embedding else ((rank, width), (rows, rank))
    for tensor, shape in zip((a, b), wanted, strict=True):
        if tensor.shape != shape:
            raise FormatError(
                f"{name} does not fit its base: {tensor.name} has the shape {_shown(tensor.shape)}, and for a table of "
                f"{rows:,} × {width:,} it would be {_shown(shape)}",
                hint="resize the base's table first, or take the base that the adapter was made for",
            )
    magnitude = change.magnitude
    if magnitude is not None and math.prod(magnitude.shape) != (width if change.is_embedding else rows):
        raise FormatError(f"{name} does not fit its base: {magnitude.name} has the shape {_shown(magnitude.shape)}")
    read = partial(matrix, adapter.checkpoint)
    before = (lambda: _blocks(table)) if magnitude is not None and change.is_embedding else None
    wide = None if magnitude is None else (lambda: read(magnitude).reshape(1, -1))
    return LowRank(partial(read, a), partial(read, b), scale, change.is_embedding, wide, before)


def _blocks(table: EmbeddingTable) -> Iterator[tuple[Ids, Floats]]:
    """Read a whole table in blocks."""
    rows, width = table.shape
    size = table.tensor.row_bytes
    with table.open() as reader:
        for first in range(0, rows, BLOCK_ROWS):
            stored = np.empty((min(BLOCK_ROWS, rows - first), size), np.uint8)
            reader.read(first, stored)
            yield np.arange(first, first + len(stored)), table.tensor.dtype.to_float32(stored).reshape(-1, width)


def _replaced(adapter: Adapter, change: TableChange, name: str, table: EmbeddingTable) -> Replaced:
    assert change.tokens is not None
    rows, width = table.shape
    if change.tokens.shape != (len(change.ids), width):
        raise FormatError(
            f"{name}: {change.tokens.name} has the shape {_shown(change.tokens.shape)}, and adapter_config.json lists "
            f"{len(change.ids):,} ids for rows of {width:,} numbers"
        )
    late = [identity for identity in change.ids if identity >= rows]
    if late:
        raise FormatError(
            f"{name} does not fit its base: it has a row for id {late[0]:,}, and the table {rows:,} rows",
            hint="resize the base's table first",
        )
    return Replaced(change.ids, partial(matrix, adapter.checkpoint, change.tokens))


def _shown(shape: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "scalar"
