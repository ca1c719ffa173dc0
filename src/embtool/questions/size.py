"""How large a model is: by the headers of its weights, and where there are none by its config."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from embtool.answers import python, value
from embtool.answers.text import count, plural, size
from embtool.configs.config import Config
from embtool.errors import EmbtoolError, FormatError, told_of
from embtool.storage.checkpoint import Checkpoint
from embtool.storage.dtypes import DTYPES
from embtool.tables.table_roles import PREDICTS, Tables, decide_tying

if TYPE_CHECKING:
    from embtool.model import Model

BUFFER = re.compile(
    r"(^|[._])(masked_bias|inv_freq|position_ids|token_type_ids|num_batches_tracked|SCB|([kvq]|input|output)_scale)$"
)
"""Names of what older programs stored beside the parameters, and of scales of what is fed in."""

MASK = re.compile(r"\.(attn|attention)\.bias$")
"""Names of causal masks, if they have four dimensions: GPT-2 and GPT-NeoX stored them."""

CODES = frozenset({"U8", "U16", "U32", "I16", "I32"})
"""Dtypes in which numbers are packed: how many of them is known only to who packed them."""

SIDES = 2
"""Dimensions of a matrix: what has fewer and whole numbers is bookkeeping."""

CONFIG_DTYPES: Mapping[str, str] = MappingProxyType(
    {"bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "F32", "float": "F32", "float64": "F64"}
)
"""How config.json spells the dtypes of weights, and what they are called here."""

MOST_HEADERS = 64
"""Files of a model on a hub whose headers are asked for: each costs two requests, and a hub allows some hundreds."""


@dataclass(frozen=True)
class Totals:
    """All weights together."""

    parameters: int | None = value(
        "how many numbers all weights are; packed ones count those they stand for; null where that is not known"
    )
    bytes: int = value("how many bytes it takes")
    uncounted: int = value("packed tensors of which it is not known how many numbers they stand for")

    def line(self) -> str:
        """Describe them for a reader."""
        if self.parameters is not None:
            return f"{count(self.parameters)} parameters, {size(self.bytes)}"
        packed = f"{plural(self.uncounted, 'tensor')} packed in a way that embtool does not know"
        return f"{size(self.bytes)}; how many parameters is not known: {packed}"


@dataclass(frozen=True)
class ConfigTable:
    """The table that a config implies, of a model whose weights are not here."""

    rows: int = value("its rows")
    width: int = value("the width of a row")
    dtype: str | None = value("how its numbers are stored, as the config says")
    bytes: int | None = value("how many bytes it takes in this dtype")
    tied: bool | None = value("whether input and output table are one")
    quantised: bool = value("whether the config says that weights are quantised, which a table may be or not be")
    predicts: bool = python()
    says: str = python()

    @classmethod
    def of(cls, config: Config) -> "ConfigTable | None":
        """Read it from a config; None where that does not say how large it is."""
        width = config.embedding_size or config.hidden_size
        if not config.vocab_size or not width:
            return None
        dtype = CONFIG_DTYPES.get((config.dtype or "").removeprefix("torch."))
        nbytes = None if dtype is None else DTYPES[dtype].nbytes(config.vocab_size * width)
        tying = decide_tying((), config)
        predicts = PREDICTS.search(config.architecture or "") is not None
        return cls(config.vocab_size, width, dtype, nbytes, tying.config, bool(config.packing), predicts, tying.says)

    def lines(self) -> list[tuple[str, str]]:
        """Describe it for a reader."""
        shape = f"by its config {count(self.rows)} × {count(self.width)}"
        each = " each" if self.tied is False and self.predicts else ""
        unless = " (unless it is quantised)" if self.quantised else ""
        told = "; its dtype is not given"
        if self.bytes is not None:
            told = f", {size(self.bytes)}{each} in {self.dtype}{unless}"
        return [("none here", shape + told), ("tying", self.says)]


def weigh(stored: Checkpoint, whole: Checkpoint) -> Totals:
    """Count all parameters and bytes, from the headers of every shard.

    Args:
        stored: the tensors as they are stored.
        whole: the same, with those of a packed matrix put together.

    Raises:
        EmbtoolError: a shard is not there, or its header cannot be read.
    """
    nbytes = sum(stored.tensor(name).nbytes for name in stored.names)
    names = frozenset(stored.names)
    found = [_numbers(whole, name, names) for name in whole.names]
    uncounted = found.count(None)
    return Totals(None if uncounted else sum(number or 0 for number in found), nbytes, uncounted)


def _numbers(checkpoint: Checkpoint, name: str, stored: frozenset[str]) -> int | None:
    """Count the parameters that a tensor holds; None where it is not known what its codes stand for.

    Codes are known of experts as gpt-oss stores them: `_blocks` of two 4-bit floats a byte, `_scales` beside them.
    """
    if BUFFER.search(name):
        return 0
    try:
        tensor = checkpoint.tensor(name)
    except FormatError:  # the header was read before: the tensors of a packed matrix do not fit each other
        return None
    is_mask = len(tensor.shape) == SIDES * 2 and MASK.search(name)
    if is_mask or tensor.dtype.name in ("BOOL", "I64", "U64"):
        return 0
    if tensor.dtype.name not in CODES or tensor.parts:
        return math.prod(tensor.shape)
    for end, beside, codes in (("_blocks", "_scales", 2), ("_scales", "_blocks", 0)):
        if tensor.name.endswith(end) and tensor.name.removesuffix(end) + beside in stored:
            return math.prod(tensor.shape) * codes
    return 0 if len(tensor.shape) < SIDES else None


def totals_of(model: "Model", tables: Tables | None, notes: list[str]) -> Totals | None:
    """Count parameters and bytes; why that cannot be done is told in `notes`."""
    if tables is None:
        return None
    shards = len(model.checkpoint.shards)
    if shards > MOST_HEADERS and not model.source.local:
        notes.append(f"parameters are not counted: a hub would be asked for the headers of {count(shards)} files")
        return None
    try:
        with told_of(model.name):
            return weigh(model.checkpoint, tables.checkpoint)
    except EmbtoolError as error:
        notes.append(f"parameters are not counted: {error.message}")
        return None
