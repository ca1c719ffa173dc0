"""Draft heads: small models that guess what a large one, their target, will say, to be confirmed by it.

EAGLE's read the target's table, or bring a copy, and its last vectors through `fc`; EAGLE-3's predict a part of the
target's tokens: row n of the output table is token n + d2t[n], and `t2d` says of each token of the target whether it is
among them (https://github.com/SafeAILab/EAGLE). In GGUF files it is token d2t[n], as llama.cpp's converter writes them.
Medusa's are a head for each word ahead.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from embtool.adapters import may_be_draft
from embtool.arrays import Ints, np
from embtool.errors import FormatError
from embtool.storage.checkpoint import Checkpoint, TensorInfo

MAPPING, MASK = "d2t", "t2d"

INTEGERS: Mapping[str, str] = {
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}
"""numpy's names of the dtypes in which maps are stored."""

MOST_BYTES = 64 << 20
"""Bytes of a map: those of the largest vocabulary as 64-bit numbers are a few MB."""

JOINED = (2, 3)
"""Vectors that `fc` joins into one: the token's row and the target's last, or three of the target's."""

MEDUSA = re.compile(r"^(medusa_heads?\.)?\d+\.\d+\.(linear\.)?weight$")
MEDUSA_OUTPUT = re.compile(r"^(medusa_heads?\.)?\d+\.\d+\.weight$")
"""Names of tensors of Medusa's heads, and of the last of each, which predicts."""

SIDES = 2


@dataclass(frozen=True)
class Draft:
    """A draft head.

    Attributes:
        kind: EAGLE-3, EAGLE or Medusa.
        mapping: which token of the target each row is, where it predicts a part of the tokens only.
        target_rows: the tokens of the target, where that is told.
    """

    kind: str
    checkpoint: Checkpoint
    mapping: TensorInfo | None = None
    target_rows: int | None = None

    @property
    def rows(self) -> int | None:
        """How many tokens it predicts, where these are a part of the target's."""
        return None if self.mapping is None else self.mapping.shape[0]

    def token_ids(self) -> Ints:
        """Read which token of the target each row of the output table is: int64 (rows,).

        Raises:
            FormatError: the mapping leads to no tokens.
        """
        assert self.mapping is not None
        tensor = self.mapping
        found = read_map(self.checkpoint, tensor)
        if not holds_tokens(tensor):
            found += np.arange(tensor.shape[0])
        last = self.target_rows if self.target_rows is not None else 1 << 32
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < last:
            raise FormatError(f"{tensor.name} in {tensor.shard} leads to tokens that the target does not have")
        return found


def read_draft(checkpoint: Checkpoint) -> Draft | None:
    """Tell whether a checkpoint is a draft head, by its tensors' names and shapes; None where it is not."""
    names = checkpoint.names
    if not may_be_draft(checkpoint):
        return None
    maps = find_maps(checkpoint)
    if MAPPING in maps:
        mapping, mask = maps[MAPPING], maps.get(MASK)
        if not is_map(mapping):
            return None
        shape = () if mask is None else mask.shape
        return Draft("EAGLE-3", checkpoint, mapping, shape[0] if len(shape) == 1 else None)
    if all(MEDUSA.match(name) or name.endswith(".bias") for name in names):
        return Draft("Medusa", checkpoint)
    joining = [checkpoint.tensor(name) for name in names if name == "fc.weight" or name.endswith(".fc.weight")]
    few = {name.partition("layers.")[2].partition(".")[0] for name in names if "layers." in name}
    shape = joining[0].shape if len(joining) == 1 else ()
    joins = len(shape) == SIDES and any(shape[1] == times * shape[0] for times in JOINED)  # several vectors to one
    if joins and len(few) <= SIDES:
        return Draft("EAGLE-3" if any("midlayer" in name for name in names) else "EAGLE", checkpoint)
    return None


def find_maps(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    """Find the maps of a draft head, by the last part of their names: d2t, t2d.

    Raises:
        FormatError: a map's header cannot be read.
    """
    found: dict[str, TensorInfo] = {}
    for name in checkpoint.names:
        last = name.rpartition(".")[2]
        if last in (MAPPING, MASK) and last not in found:
            found[last] = checkpoint.tensor(name)
    return found


def is_map(tensor: TensorInfo) -> bool:
    """Tell whether a tensor is a list of whole numbers, and not larger than any vocabulary."""
    return tensor.dtype.name in INTEGERS and len(tensor.shape) == 1 and tensor.nbytes <= MOST_BYTES


def holds_tokens(tensor: TensorInfo) -> bool:
    """Tell whether a d2t holds the target's tokens themselves, not how far they lie beyond the head's."""
    return tensor.shard.endswith(".gguf")


def described(tensor: TensorInfo) -> str:
    """Say where a tensor is, and of which shape and dtype."""
    shape = " × ".join(f"{size:,}" for size in tensor.shape) or "one number,"
    return f"{tensor.name} in {tensor.shard} is {shape} {tensor.dtype.name}"


def read_map(checkpoint: Checkpoint, tensor: TensorInfo) -> Ints:
    """Read a map as it is stored: int64 (n,).

    Raises:
        FormatError: it is no list of whole numbers.
    """
    if not is_map(tensor):
        raise FormatError(f"{described(tensor)}: it is no map of ids")
    buffer = np.empty(tensor.nbytes, np.uint8)
    if tensor.nbytes:
        with checkpoint.open(tensor) as (reader, start):
            reader.read_into(start, buffer.data)
    return buffer.view(INTEGERS[tensor.dtype.name]).astype(np.int64)
