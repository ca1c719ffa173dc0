"""Quantised tables that are listed under their quantisation's name and shape, and whose rows are refused by that name.

Their codes stand in blocks that cross rows, are reordered, or are decoded by tables that only their own kernels have:
bitsandbytes' 4 bits, EXL2, EXL3, HQQ, AQLM, EETQ. To add one: a recipe, and the function that tells its shape.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from embtool.errors import FormatError
from embtool.formats.packed import SIDES, Pieces, Recipe
from embtool.storage.checkpoint import Part, TensorInfo
from embtool.storage.dtypes import DType

WORD_BITS = 32
TILE = 16
"""Rows and columns of a tile of EXL3."""

STATE_LIMIT = 1 << 16
"""Bytes of bitsandbytes' description of a tensor, a JSON object of a few hundred."""

STATES = ("bitsandbytes__nf4", "bitsandbytes__fp4")

NAMES = ("bitsandbytes' 4 bits (NF4, FP4)", "GPTQ", "AWQ", "EXL2", "EXL3", "HQQ", "AQLM", "EETQ", "quanto")
"""What is listed by its name, as the documentation has it."""

Shape = tuple[int, ...]


def refused(pieces: Pieces, codes: TensorInfo, dtype: str, shape: Shape) -> TensorInfo:
    """Describe a table that is listed by its name and dtype, and whose rows are refused."""
    return TensorInfo(pieces.name, codes.shard, DType(dtype, 1, 0), shape, codes.start, codes.nbytes, (Part(codes),))


def join_bitsandbytes(pieces: Pieces) -> TensorInfo:
    """Describe a table of bitsandbytes' 4 bits: its shape is in a JSON object beside the codes."""
    codes = pieces.get("weight")
    kind = next((kind for kind in STATES if pieces.has(f"weight.quant_state.{kind}")), None)
    name = f"bitsandbytes {kind.rpartition('_')[2].upper()} 4-bit" if kind is not None else "bitsandbytes 4-bit"
    said = _state(pieces, f"weight.quant_state.{kind}").get("shape") if kind is not None else None
    if isinstance(said, list) and len(said) == SIDES and all(type(size) is int and size > 0 for size in said):
        return refused(pieces, codes, name, tuple(said))
    rows, rest = divmod(codes.nbytes * 2, pieces.width or codes.nbytes * 2)
    return refused(pieces, codes, name, codes.shape if rest or pieces.width is None else (rows, pieces.width))


def _state(pieces: Pieces, end: str) -> Mapping[str, Any]:
    """Read bitsandbytes' description of a tensor."""
    tensor = pieces.get(end)
    if tensor.nbytes > STATE_LIMIT:
        return {}
    try:
        state = json.loads(pieces.checkpoint.source.read(tensor.shard, tensor.start, tensor.stop))
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def join_columns(pieces: Pieces) -> TensorInfo:
    """Describe a table of GPTQ or AWQ, whose rows are spread over the tensor."""
    codes = pieces.get("qweight")
    pieces.check_table(codes)
    method = str(pieces.settings.get("quant_method", "gptq")).lower()
    bits = pieces.settings.get("bits", pieces.settings.get("w_bit", 4))
    bits = bits if bits in (2, 3, 4, 8) else 4
    down, across = codes.shape
    shape = (across * WORD_BITS // bits, down) if method == "awq" else (across, down * WORD_BITS // bits)
    return refused(pieces, codes, f"{'AWQ' if method == 'awq' else 'GPTQ'} {bits}-bit", shape)


def describe_exl2(pieces: Pieces, codes: TensorInfo) -> tuple[str, Shape]:
    """Every row of the packed tensor holds some of all rows of the table; the permutation has its width."""
    permutations = [pieces.get(end).shape for end in ("q_invperm", "q_perm") if pieces.has(end)]
    return "EXL2", (codes.shape[1], next((shape[0] for shape in permutations if shape), 0) or codes.shape[0])


def describe_exl3(pieces: Pieces, codes: TensorInfo) -> tuple[str, Shape]:
    """Tiles of 16 × 16, each of 16 words of 16 bits for every bit of a code."""
    del pieces
    if len(codes.shape) != 3:  # noqa: PLR2004 - tiles down, tiles across, words
        return "EXL3", codes.shape
    return f"EXL3 {codes.shape[2] // TILE}-bit", (codes.shape[1] * TILE, codes.shape[0] * TILE)


def describe_aqlm(pieces: Pieces, codes: TensorInfo) -> tuple[str, Shape]:
    """A code for each row and group of columns; a vector of a codebook has the group's length."""
    books = pieces.get("codebooks").shape
    return "AQLM", (codes.shape[0], codes.shape[1] * books[-1]) if len(codes.shape) > 1 and books else codes.shape


def _describing(
    first: str, describe: Callable[[Pieces, TensorInfo], tuple[str, Shape]]
) -> Callable[[Pieces], TensorInfo]:
    """Make what lists a table whose codes are the tensor `first`."""

    def join(pieces: Pieces) -> TensorInfo:
        codes = pieces.get(first)
        try:
            dtype, shape = describe(pieces, codes)
        except IndexError as error:
            raise FormatError(
                f"{codes.name} has {len(codes.shape)} dimensions, which its quantisation has not"
            ) from error
        return refused(pieces, codes, dtype, shape)

    return join


_QUANTO = ("weight._data", lambda _, codes: ("quanto", codes.shape))
_HQQ = ("W_q", lambda _, codes: ("HQQ", codes.shape))  # cut by groups; `shape`, where it is stored, is not read
_EETQ = ("weight", lambda _, codes: ("EETQ 8-bit, reordered", codes.shape[::-1]))  # for a kernel: a column for each row
_STATE = tuple(f"weight.quant_state.{kind}" for kind in STATES)

RECIPES = (
    Recipe(
        ("weight.absmax", "weight"),
        ("weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map", *_STATE),
        join_bitsandbytes,
    ),
    Recipe(
        ("q_weight", "q_scale"),
        ("q_scale_max", "q_groups", "q_invperm", "q_perm"),
        _describing("q_weight", describe_exl2),
    ),
    Recipe(("trellis",), ("suh", "svh", "su", "sv", "mcg", "mul1"), _describing("trellis", describe_exl3)),
    Recipe(("W_q",), ("scale", "zero", "nbits", "group_size", "shape", "axis", "packing"), _describing(*_HQQ)),
    Recipe(("codebooks", "codes"), ("scales",), _describing("codes", describe_aqlm)),
    Recipe(("weight._data", "weight._scale"), ("weight._shift", "input_scale", "output_scale"), _describing(*_QUANTO)),
    Recipe(("weight_scales", "weight"), (), _describing(*_EETQ)),
    Recipe(("qweight",), ("qzeros", "scales", "g_idx"), join_columns),
)
