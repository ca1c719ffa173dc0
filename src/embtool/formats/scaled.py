"""Quantised tables of safetensors: 8-bit numbers and 4-bit floats with scales beside them.

What is read, by the names of the tensors (`lm_head.weight` and those beside it):

- FP8 and INT8: `weight_scale`, `weight_scale_inv` or `scale_weight`, one for the table, for each row, or for each block
  of rows and columns (DeepSeek-V3's README, "FP8 weights"; https://github.com/vllm-project/compressed-tensors). A
  number is `code × scale`, whichever name the scale has.
- NVFP4: two 4-bit floats a byte, the first in the low half; a scale of F8_E4M3 for 16 numbers and one of F32 for all,
  by which modelopt multiplies (`weight_scale_2`) and compressed-tensors divides (`weight_global_scale`).
- MXFP4: the same with one power of two for 32 numbers.
- compressed-tensors' `pack-quantized`: codes of 4 or 8 bits in I32 words, less half their range, times a group's scale.

- bitsandbytes' 8 bits: `SCB`, the largest magnitude of each row. A number is `code × SCB / 127`.

A table with zero points or with reordered groups is listed, and refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embtool.arrays import Bytes, Floats, np
from embtool.formats.codes import E2M1, E8M0, I8, in_groups, unpack
from embtool.formats.named import WORD_BITS, refused
from embtool.formats.packed import Pieces, Recipe, single
from embtool.storage.checkpoint import Part, TensorInfo
from embtool.storage.dtypes import DType

CODE_DTYPES = frozenset({"F8_E4M3", "F8_E5M2", "I8"})
"""Dtypes that are scaled number by number."""

SCALE_ENDS = ("weight_scale_inv", "weight_scale", "scale_weight")
"""What scales are called: DeepSeek's, compressed-tensors', ComfyUI's."""

DEFAULT_BLOCK = 128
"""Rows and columns of a block where the config does not say: those of DeepSeek-V3 and all that followed it."""

LARGEST_CODE = 127
"""The code of a row's largest magnitude in bitsandbytes' 8 bits."""

NVFP4_GROUP, MXFP4_GROUP = 16, 32
PACKED_BITS = (4, 8)

_E8M0 = DType("F8_E8M0", 1, 1, lambda stored: E8M0[stored])


def _readable(dtype: DType) -> DType:
    """Return the dtype in which codes or scales are decoded: a scale in U8 is a power of two."""
    return {"F8_E8M0": _E8M0, "U8": _E8M0, "I8": I8}.get(dtype.name, dtype)


@dataclass(frozen=True)
class _Scaled:
    """Decodes a row of 8-bit codes followed by its scales; each scale belongs to `block` numbers."""

    codes: DType
    scales: DType
    width: int
    block: int

    def __call__(self, stored: Bytes) -> Floats:
        numbers = self.codes.to_float32(stored[..., : self.width])
        factors = self.scales.to_float32(stored[..., self.width :])
        return numbers * np.repeat(factors, self.block, axis=-1)[..., : self.width]


def join_scaled(pieces: Pieces) -> TensorInfo:
    """Put together 8-bit codes and their scales.

    Raises:
        FormatError: the scales do not fit the codes.
    """
    codes = pieces.get("weight")
    if codes.dtype.name not in CODE_DTYPES:
        return codes  # a scale beside a plain table scales something else, such as what is fed into it
    pieces.check_table(codes)
    if pieces.has("weight_zero_point"):
        return refused(pieces, codes, f"{codes.dtype.name} with zero points", codes.shape)
    scales = pieces.get(next(end for end in SCALE_ENDS if pieces.has(end)))
    rows, width = codes.shape
    block_rows, block_columns = _block(pieces.settings)
    down, across = _sides(scales.shape)
    rows_each = _each(down, rows, block_rows)
    columns_each = _each(across, width, block_columns)
    if rows_each is None or columns_each is None or _readable(scales.dtype).decode is None:
        shape = " × ".join(map(str, scales.shape)) or "scalar"
        raise pieces.error(
            f"has scales of {scales.dtype.name}, {shape}, which do not fit blocks of its {rows:,} × {width:,}"
        )
    decode = _Scaled(_readable(codes.dtype), _readable(scales.dtype), width, columns_each)
    return pieces.join(
        f"{codes.dtype.name}, scaled", width, [Part(codes), Part(_tall(scales, down), rows_each)], decode
    )


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of scales: a single number is one of each, a list has one for each row."""
    padded = (*shape, 1, 1)
    return (padded[0], padded[1]) if len(shape) <= 2 else (0, 0)  # noqa: PLR2004 - a table has two sides


def _each(scales: int, numbers: int, block: int) -> int | None:
    """Return how many numbers share a scale: all, one, or a block; None if these scales fit none."""
    if scales == 1:
        return numbers
    if scales == numbers:
        return 1
    return block if scales == -(-numbers // block) else None


def _tall(scales: TensorInfo, down: int) -> TensorInfo:
    """Describe scales as rows, whatever dimensions they have: a scalar has one."""
    columns = scales.nbytes // max(1, down * scales.dtype.bytes)
    return TensorInfo(scales.name, scales.shard, scales.dtype, (down, columns), scales.start, scales.nbytes)


def _block(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Read the block's rows and columns, from `weight_block_size` or compressed-tensors' `block_structure`."""
    found = settings.get("weight_block_size")
    for group in _groups(settings):
        found = found or group.get("block_structure")
    sizes = found if isinstance(found, list | tuple) else ()
    if len(sizes) == 2 and all(type(size) is int and size > 0 for size in sizes):  # noqa: PLR2004 - rows and columns
        return sizes[0], sizes[1]
    return DEFAULT_BLOCK, DEFAULT_BLOCK


def _groups(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List what compressed-tensors says about weights, group by group."""
    groups = settings.get("config_groups")
    found = (
        [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
        if isinstance(groups, Mapping)
        else []
    )
    return [weights for weights in found if isinstance(weights, Mapping)]


@dataclass(frozen=True)
class _OfLargest:
    """Decodes a row of codes from -127 to 127, followed by the magnitude that 127 stands for; rounded once."""

    width: int
    largest: DType

    def __call__(self, stored: Bytes) -> Floats:
        codes = np.ascontiguousarray(stored[..., : self.width]).view(np.int8).astype(np.float64)
        largest = self.largest.to_float32(stored[..., self.width :]).astype(np.float64)
        numbers: Floats = (codes * largest / LARGEST_CODE).astype(np.float32)
        return numbers


def join_bitsandbytes(pieces: Pieces) -> TensorInfo:
    """Put together bitsandbytes' 8-bit codes and the largest magnitude of each row.

    Raises:
        FormatError: they do not fit each other.
    """
    codes, largest = pieces.get("weight"), pieces.get("SCB")
    if codes.dtype.name != "I8":
        return codes
    pieces.check_table(codes)
    rows, width = codes.shape
    if largest.shape not in ((rows,), (rows, 1)) or largest.dtype.decode is None:
        raise pieces.error(f"has a {largest.name} that is not one number for each of its {rows:,} rows")
    if pieces.has("weight_format"):
        order = pieces.get("weight_format")
        if any(pieces.checkpoint.source.read(order.shard, order.start, order.stop)):
            return refused(pieces, codes, "bitsandbytes 8-bit, reordered for a kernel", codes.shape)
    decode = _OfLargest(width, largest.dtype)
    return pieces.join("bitsandbytes 8-bit", width, [Part(codes), Part(_tall(largest, rows))], decode)


@dataclass(frozen=True)
class _Floats4:
    """Decodes a row of 4-bit floats, then the scales of its groups, then what scales the whole table."""

    code_bytes: int
    scale_bytes: int
    scales: DType
    whole: DType | None
    divides: bool = False

    def __call__(self, stored: Bytes) -> Floats:
        numbers = E2M1[unpack(stored[..., : self.code_bytes], 4)]
        rest = stored[..., self.code_bytes :]
        factors = self.scales.to_float32(rest[..., : self.scale_bytes])
        if self.whole is not None:
            whole = self.whole.to_float32(rest[..., self.scale_bytes :])
            with np.errstate(divide="ignore", invalid="ignore"):  # a broken scale makes broken rows, which are counted
                factors = factors / whole if self.divides else factors * whole
        return in_groups(numbers, factors)


def join_nvfp4(pieces: Pieces) -> TensorInfo:
    """Put together modelopt's NVFP4: `weight`, `weight_scale`, `weight_scale_2`.

    Raises:
        FormatError: they do not fit each other.
    """
    codes = pieces.get("weight")
    if codes.dtype.name != "U8":
        return join_scaled(pieces)
    return _floats4(pieces, codes, "weight_scale_2", divides=False)


def _floats4(pieces: Pieces, codes: TensorInfo, whole: str | None, *, divides: bool) -> TensorInfo:
    pieces.check_table(codes)
    scales = pieces.get("weight_scale")
    group = MXFP4_GROUP if whole is None else NVFP4_GROUP
    rows, width = codes.shape[0], codes.shape[1] * 2
    if width % group:
        raise pieces.error(f"has rows of {width:,} numbers, which do not divide into groups of {group}")
    pieces.check_rows(scales, rows, width // group)
    parts = [Part(codes), Part(scales)]
    known = {"F8_E4M3"} if whole is not None else {"U8", "F8_E8M0"}
    if scales.dtype.name not in known:
        raise pieces.error(f"has scales of {scales.dtype.name}, where this format has {' or '.join(sorted(known))}")
    last = None
    if whole is not None:
        factor = pieces.get(whole)
        if factor.dtype.name != "F32" or factor.nbytes != factor.dtype.bytes:
            raise pieces.error(f"needs one number of F32 in {factor.name}")
        parts.append(single(_tall(factor, 1), rows))
        last = factor.dtype
    decode = _Floats4(codes.stride, scales.stride, _readable(scales.dtype), last, divides)
    return pieces.join("MXFP4" if whole is None else "NVFP4", width, parts, decode)


def join_compressed(pieces: Pieces) -> TensorInfo:
    """Put together compressed-tensors' packed weights: 4-bit floats in U8, or whole numbers in I32 words.

    Raises:
        FormatError: they do not fit each other.
    """
    codes = pieces.get("weight_packed")
    if codes.dtype.name == "U8":
        whole = "weight_global_scale" if pieces.has("weight_global_scale") else None
        return _floats4(pieces, codes, whole, divides=True)
    pieces.check_table(codes)
    bits = next((group.get("num_bits") for group in _groups(pieces.settings)), None)
    if codes.dtype.name != "I32" or bits not in PACKED_BITS:
        raise pieces.error(f"is packed in {codes.dtype.name} words of {bits} bits, which embtool does not read")
    width = pieces.width or codes.shape[1] * WORD_BITS // bits
    for end, what in (("weight_zero_point", "zero points"), ("weight_g_idx", "reordered groups")):
        if pieces.has(end):
            return refused(pieces, codes, f"pack-quantized {bits}-bit with {what}", (codes.shape[0], width))
    scales = pieces.get("weight_scale")
    down, across = _sides(scales.shape)
    if -(-width * bits // WORD_BITS) != codes.shape[1] or down != codes.shape[0] or not across or width % across:
        raise pieces.error(
            f"has {codes.shape[1]:,} words a row and {across:,} scales, which do not fit {width:,} numbers"
        )
    decode = _Words(bits, width, codes.stride, scales.dtype)
    return pieces.join(f"pack-quantized {bits}-bit", width, [Part(codes), Part(_tall(scales, down))], decode)


@dataclass(frozen=True)
class _Words:
    """Decodes a row of codes in I32 words, less half their range, times the scales of their groups."""

    bits: int
    width: int
    code_bytes: int
    scales: DType

    def __call__(self, stored: Bytes) -> Floats:
        codes = unpack(stored[..., : self.code_bytes], self.bits)[..., : self.width]
        factors = self.scales.to_float32(stored[..., self.code_bytes :])
        return in_groups(codes.astype(np.float32) - float(1 << (self.bits - 1)), factors)


_SCALES = ("input_scale", "input_global_scale", "weight_zero_point", "weight_g_idx", "weight_shape")

RECIPES = (
    Recipe(("weight_packed", "weight_scale"), ("weight_global_scale", *_SCALES), join_compressed),
    Recipe(("weight_scale_2", "weight", "weight_scale"), _SCALES, join_nvfp4),
    Recipe(("weight_scale_inv", "weight"), ("weight_scale", *_SCALES), join_scaled),
    Recipe(("weight_scale", "weight"), _SCALES, join_scaled),
    Recipe(("scale_weight", "weight"), ("scale_input",), join_scaled),
    Recipe(("SCB", "weight"), ("weight_format",), join_bitsandbytes),
)
