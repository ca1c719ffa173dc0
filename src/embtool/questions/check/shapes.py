"""Tensors that have a table's name and are none: pieces, placeholders, tables on their side, packed ones."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embtool.answers.text import percent
from embtool.configs.config import Config
from embtool.errors import EmbtoolError
from embtool.formats.safetensors import CUT_FILES
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.tables.table import has_too_many_rows
from embtool.tables.table_roles import OTHER_TOWERS, PLAUSIBLE_ROWS, TABLE_NAMES, Tables

SIDES = 2
"""Dimensions of a table: rows and columns."""

SURE_OUTPUTS = (
    "lm_head.weight",
    "embed_out.weight",
    "output_layer.weight",
    "lm_head.linear.weight",
    "lm_head.decoder.weight",
    "cls.predictions.decoder.weight",
    "generator_lm_head.weight",
)
"""Ends of names that only an output table has; `decoder.weight` is many things."""

PACKED: dict[str, str] = {
    "weight.absmax": "bitsandbytes 4-bit",
    "SCB": "bitsandbytes 8-bit",
    "q_weight": "EXL2",
    "trellis": "EXL3",
    "W_q": "HQQ",
    "codes": "AQLM",
    "Qidxs": "QuIP#",
}
"""Tensors beside a packed table, or in its place, and who packs so."""

MOST_DEVICES = 64
"""Devices that a table is cut for, at most: a power of two up to this."""


FOREIGN_SHARE = 0.1
"""Rows without a token, as a share of all, that are no padding any more; what was measured is on the rule's page."""

FEW_ROWS = 128
"""Rows without a token that are padding whatever their share: tables are padded to multiples of this."""


def is_foreign(without: int, rows: int) -> bool:
    """Tell whether so many rows without a token are no padding, but the sign of another model's tokenizer."""
    return without > FEW_ROWS and without > FOREIGN_SHARE * rows


@dataclass(frozen=True)
class Misshapen:
    """A tensor that stands where a table should.

    Attributes:
        role: input or output.
        kind: flat, empty, transposed, cut, or packed.
        tensor: the tensor.
        words: what it is, for a sentence that begins with its name.
    """

    role: str
    kind: str
    tensor: TensorInfo
    words: str


@dataclass(frozen=True)
class Expected:
    """Rows and width that the config promises, as far as it does."""

    rows: int | None
    width: int | None

    @classmethod
    def of(cls, config: Config | None) -> "Expected":
        """Read them from a config."""
        if config is None:
            return cls(None, None)
        return cls(config.vocab_size, config.embedding_size or config.hidden_size)


def find_misshapen(
    tables: Tables, stored: Checkpoint, config: Config | None, largest_id: int | None = None
) -> list[Misshapen]:
    """Find what stands in the place of the input and the output table and is none.

    Only what a config, or the shape by itself, shows beyond doubt is found: a table that is narrower than the config
    says is a piece of one where a norm beside it is as wide as that, or where its file is one of several pieces.

    Args:
        tables: the tables that were found.
        stored: the tensors as they were saved.
        config: the config, if there is one.
        largest_id: the largest token id, if there is a tokenizer.
    """
    expected = Expected.of(config)
    names = frozenset(stored.names)
    projected = any(table.role == "projection" for table in tables.stored)
    found = []
    for role, tensor in _candidates(tables, stored):
        base = tensor.name.removesuffix(".weight")
        packer = next((packer for end, packer in PACKED.items() if f"{base}.{end}" in names), None)
        seen = _alone(tensor, expected) if packer is None else ("packed", f"is packed by {packer}")
        if seen is None and len(tensor.shape) == SIDES and not tensor.parts:
            seen = _by_size(tensor, expected)
            is_cut = seen is not None and seen[0] == "cut"
            if is_cut and (projected or not _is_cut(tensor, stored, expected, largest_id)):
                seen = None
        if seen is not None:
            found.append(Misshapen(role, seen[0], tensor, seen[1]))
    found += list(_without_weight(stored, {each.role for each in found} | {table.role for table in tables.stored}))
    return found


def _candidates(tables: Tables, stored: Checkpoint) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the input and the output table, and where no output table was found what has the name of one."""
    roles = set()
    for table in tables.stored:
        if table.role in ("input", "output") and table.role not in roles and not has_too_many_rows(table):
            roles.add(table.role)
            yield table.role, table.tensor
    for role, ends in (("input", TABLE_NAMES["input"][:2]), ("output", SURE_OUTPUTS)):
        tensor = None if role in roles else _first(stored, ends)
        if tensor is not None:
            yield role, tensor


def named_output(stored: Checkpoint) -> TensorInfo | None:
    """Return the tensor that has the name of an output table, if there is one that can be read."""
    return _first(stored, SURE_OUTPUTS)


def _first(stored: Checkpoint, ends: Sequence[str]) -> TensorInfo | None:
    name = next(_named(stored.names, ends), None)
    try:
        return None if name is None else stored.tensor(name)
    except EmbtoolError:  # that is a damaged or a missing shard
        return None


def _named(names: Sequence[str], ends: Sequence[str]) -> Iterator[str]:
    """Yield names with one of these ends, outside other towers."""
    for name in names:
        if any(name == end or name.endswith(f".{end}") for end in ends) and not OTHER_TOWERS.search(name):
            yield name


def _without_weight(stored: Checkpoint, known: set[str]) -> Iterator[Misshapen]:
    """Yield the tables that are stored under the names of their packed parts alone."""
    for role, base in (("input", "embed_tokens"), ("output", "lm_head")):
        if role in known:
            continue
        for end, packer in PACKED.items():
            name = next(_named(stored.names, [f"{base}.{end}"]), None)
            if name is not None:
                yield Misshapen(role, "packed", stored.tensor(name), f"is a part of a table packed by {packer}")
                break


def _alone(tensor: TensorInfo, expected: Expected) -> tuple[str, str] | None:
    """Tell what is no table whatever the config says: without numbers, or without rows and columns."""
    shape = tensor.shape
    written = list(shape)
    if not math.prod(shape):
        return "empty", f"has the shape {written}: no numbers, only a placeholder"
    if len(shape) == SIDES:
        return None
    if math.prod(shape) == 1:
        return "empty", f"has the shape {written}: one number, only a placeholder"
    whole = (expected.rows or 0) * (expected.width or 0)
    size = f"{expected.rows:,} × {expected.width:,}" if whole else ""
    share = f", {percent(math.prod(shape) / whole)} of the numbers of {size}" if whole else ""
    what = f"one dimension{share}" if len(shape) == 1 else "not rows and columns"
    return "flat", f"has the shape {written}: {what}"


def _by_size(tensor: TensorInfo, expected: Expected) -> tuple[str, str] | None:
    """Tell what has the size of the table that the config promises turned on its side, or of a piece of it."""
    rows, width = tensor.shape
    if expected.rows is None or expected.width is None:
        return None
    size = f"{expected.rows:,} × {expected.width:,}"
    if rows == expected.width and rows != width and _near(width, expected.rows):
        return "transposed", f"is {rows:,} × {width:,}, the config's {size} on its side"
    across, down = _devices(expected.width, width), _devices(expected.rows, rows)
    count, side = (across, "columns") if _near(rows, expected.rows) else (down, "rows")
    if count is None or (side == "rows" and width != expected.width):
        return None
    return "cut", f"is {rows:,} × {width:,}, one of {count} pieces of {size} cut by {side}"


def _is_cut(tensor: TensorInfo, stored: Checkpoint, expected: Expected, largest_id: int | None) -> bool:
    """Tell whether something else says too that a table is a piece: its file's name, a norm, or ids without a row."""
    if tensor.shard.rpartition("/")[2].startswith(CUT_FILES):
        return True
    rows, width = tensor.shape
    if width == expected.width:
        return largest_id is not None and largest_id >= rows
    top = tensor.name.partition(".")[0] + "." if tensor.name.count(".") > 1 else ""
    norms = [name for name in stored.names if name.startswith(top) and name.endswith("norm.weight")]
    try:
        return any(stored.tensor(name).shape == (expected.width,) for name in norms[:1] + norms[-1:])
    except EmbtoolError:
        return False


def _near(rows: int, stated: int) -> bool:
    return abs(rows - stated) <= PLAUSIBLE_ROWS * stated


def _devices(whole: int, part: int) -> int | None:
    """Return for how many devices a side was cut, a power of two; None if it was not."""
    count, rest = divmod(whole, part)
    return count if not rest and 1 < count <= MOST_DEVICES and count & (count - 1) == 0 else None
