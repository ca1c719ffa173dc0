"""MLX's packed tables: codes in U32 words, scales and biases beside them, three ranges a row.

`mlx.core.quantize` cuts each row into groups and stores a code of a few bits for each number; a number is
`scale × code + bias` of its group (https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html).
Codes stand in a stream of bits, least significant first, so that those of 3, 5 and 6 bits straddle words. The modes of
floats have codes that are small floats themselves, a scale of 8 bits a group, and no biases. What a table's bits, group
and mode are is said in config.json under `quantization`, for all tables or for one by its name. Where the shapes say
other bits or groups, they are right: converters leave tables at more bits than they say.

MLX computes in the dtype of the scales and rounds; here a number is the float32 that the formula gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from embtool.arrays import Bytes, Floats
from embtool.formats.codes import E2M1, E8M0, e4m3, in_groups, unpack
from embtool.formats.packed import SIDES, Pieces, Recipe
from embtool.storage.checkpoint import Part, TensorInfo
from embtool.storage.dtypes import DType

AFFINE_BITS = (2, 3, 4, 5, 6, 8)
AFFINE_GROUPS = (32, 64, 128)
WORD_BITS = 32

FLOAT_MODES: Mapping[str, tuple[int, int]] = MappingProxyType({"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)})
"""Modes whose codes are small floats: their bits and their group."""

BIASES = ("biases", "qbiases")
"""The biases' name in MLX, and in transformers' own writer of MLX's packing."""


@dataclass(frozen=True)
class Packing:
    """How a table is packed."""

    mode: str
    bits: int
    group: int

    def __str__(self) -> str:
        return f"MLX {self.mode} {self.bits}-bit, group {self.group}"


def join(pieces: Pieces) -> TensorInfo:
    """Put a table together from codes, scales and, where there are, biases.

    Raises:
        FormatError: they do not fit each other, or the config says something that MLX does not have.
    """
    codes, scales = pieces.get("weight"), pieces.get("scales")
    pieces.check_table(codes)
    packing = _packing(pieces, codes, scales)
    width, rest = divmod(codes.shape[1] * WORD_BITS, packing.bits)
    if codes.dtype.name != "U32" or rest or width % packing.group:
        raise pieces.error(
            f"has {codes.shape[1]:,} words of {codes.dtype.name} a row, "
            f"which do not divide into groups of {packing.group} codes of {packing.bits} bits"
        )
    groups = width // packing.group
    pieces.check_rows(scales, codes.shape[0], groups)
    parts = [Part(codes), Part(scales)]
    if packing.mode in FLOAT_MODES:
        if scales.dtype.name != "U8":
            raise pieces.error(f"has scales of {scales.dtype.name}, where mode {packing.mode} has U8")
    else:
        end = next((end for end in BIASES if pieces.has(end)), None)
        if end is None:
            raise pieces.error("is packed in mode affine, but has no biases")
        biases = pieces.get(end)
        pieces.check_rows(biases, codes.shape[0], groups)
        if biases.dtype.name != scales.dtype.name or scales.dtype.decode is None:
            raise pieces.error(f"has scales of {scales.dtype.name} and biases of {biases.dtype.name}")
        parts.append(Part(biases))
    unpacker = _Unpacker(packing, codes.stride, scales.stride, scales.dtype)
    said = _said(pieces)
    bits, group = said.get("bits", packing.bits), said.get("group_size", packing.group)
    other = "" if (bits, group) == (packing.bits, packing.group) else f" (config says {bits}-bit, group {group})"
    return pieces.join(f"{packing}{other}", width, parts, unpacker)


@dataclass(frozen=True)
class _Unpacker:
    """Decodes stored rows: the bytes of the codes, of the scales, of the biases."""

    packing: Packing
    code_bytes: int
    scale_bytes: int
    scale_dtype: DType

    def __call__(self, stored: Bytes) -> Floats:
        codes = unpack(stored[..., : self.code_bytes], self.packing.bits)
        rest = stored[..., self.code_bytes :]
        scales = rest[..., : self.scale_bytes]
        if self.packing.mode == "affine":
            factors = self.scale_dtype.to_float32(scales)
            biases = self.scale_dtype.to_float32(rest[..., self.scale_bytes :])
            numbers = in_groups(codes.astype("f4"), factors).reshape(*factors.shape, -1) + biases[..., None]
            whole: Floats = numbers.reshape(codes.shape)
            return whole
        factors = e4m3(scales) if self.packing.mode == "nvfp4" else E8M0[scales]
        return in_groups(e4m3(codes) if self.packing.bits == 8 else E2M1[codes], factors)  # noqa: PLR2004 - mxfp8


def _said(pieces: Pieces) -> dict[str, Any]:
    """Read what the config says of a table: what it says of all, and over it what it says of this one."""
    said = {key: value for key, value in pieces.settings.items() if not isinstance(value, Mapping)}
    own = _own(pieces)
    return said | (dict(own) if isinstance(own, Mapping) else {})


def _packing(pieces: Pieces, codes: TensorInfo, scales: TensorInfo) -> Packing:
    """Tell how a table is packed: its mode as the config has it, its bits and groups as the shapes have them.

    Raises:
        FormatError: MLX has no such mode, or not with these bits and this group; or the shapes fit nothing.
    """
    said = _said(pieces)
    mode = said.get("mode", "affine")
    room, groups = codes.shape[1] * WORD_BITS, scales.shape[-1] if scales.shape else 0
    if "mode" not in said and scales.dtype.name == "U8" and not any(pieces.has(end) for end in BIASES):
        unsaid = next((mode for mode, (bits, group) in FLOAT_MODES.items() if bits * group * groups == room), None)
        if unsaid is not None:
            return Packing(unsaid, *FLOAT_MODES[unsaid])
    usual = FLOAT_MODES.get(mode, (None, None)) if isinstance(mode, str) else (None, None)
    bits, group = said.get("bits", usual[0]), said.get("group_size", usual[1])
    is_affine = mode == "affine" and bits in (*AFFINE_BITS, None) and group in (*AFFINE_GROUPS, None)
    if not is_affine and (usual == (None, None) or usual != (bits, group)):
        raise pieces.error(f"is packed in mode {mode!s}, {bits!s} bits, groups of {group!s}, which MLX does not have")
    if mode != "affine":
        return Packing(mode, *FLOAT_MODES[mode])
    if len(scales.shape) != SIDES and bits is not None and group is not None:
        return Packing(mode, bits, group)  # what is wrong with the scales is told where they are read
    fits = [(bits, group) for bits in AFFINE_BITS for group in AFFINE_GROUPS if bits * group * groups == room]
    if not fits:
        raise pieces.error(
            f"has {codes.shape[1]:,} words and {groups:,} scales a row, which fit no bits and groups that MLX has"
        )
    told = (bits, group)
    if told in fits and (isinstance(_own(pieces), Mapping) or not pieces.width):
        return Packing(mode, *told)
    widest = [pair for pair in fits if pieces.width and pieces.width * pair[0] == room]
    likely = [*widest, *(pair for pair in fits if pair == told)] or (fits if len(fits) == 1 else [])
    if not likely:
        raise pieces.error(
            f"has {codes.shape[1]:,} words and {groups:,} scales a row: whether they are "
            f"{' or '.join(f'{bits} bits in groups of {group}' for bits, group in fits)}, nothing tells"
        )
    return Packing(mode, *likely[0])


def _own(pieces: Pieces) -> Any:
    """Find what the config says of one table: by its whole name, or by the end of it where a prefix was dropped."""
    for key, value in pieces.settings.items():
        if isinstance(value, Mapping) and (key == pieces.base or pieces.base.endswith("." + key)):
            return value
    return None


RECIPE = Recipe(("scales", "weight"), BIASES, join)
