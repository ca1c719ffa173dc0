"""How numbers are stored: bytes to float32.

A dtype is a block: so many values in so many bytes. For BF16 a block is one value in two bytes; a quantised type may
pack 32 values into 34 bytes. The range of bytes that holds a row follows from that, for every type alike.

Names are those of the safetensors format (https://github.com/safetensors/safetensors). To add a dtype: add a row to
`DTYPES`; with `decode` its rows can be read, without it a tensor is listed and its rows are refused by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from embtool.arrays import Bytes, Floats, np
from embtool.errors import UnsupportedDType


@dataclass(frozen=True)
class DType:
    """A number format: `values` numbers stand in `bytes` bytes; `decode` turns bytes into float32.

    `decode_into` does the same, one number a value, into memory that is there already.
    """

    name: str
    values: int
    bytes: int
    decode: Callable[[Bytes], Floats] | None = None
    decode_into: Callable[[Bytes, Floats], None] | None = None

    def nbytes(self, count: int) -> int | None:
        """Return how many bytes `count` values take, or None if they do not fill whole blocks."""
        blocks, rest = divmod(count, self.values)
        return None if rest else blocks * self.bytes

    def to_float32(self, stored: Bytes, out: Floats | None = None) -> Floats:
        """Decode an array of bytes (..., n * bytes) to float32 (..., n * values); every 16- and 8-bit value is exact.

        The numbers are put into `out` where that saves making an array; what is returned is where they are.

        Raises:
            UnsupportedDType: this dtype cannot be decoded.
        """
        if self.decode is None:
            raise UnsupportedDType(f"rows of dtype {self.name} cannot be read")
        with np.errstate(all="ignore"):  # a scale can be infinite or NaN, and so are then the numbers: they are counted
            if out is not None and self.decode_into is not None:
                self.decode_into(stored, out)
                return out
            return self.decode(stored)


def _plain(dtype: str) -> Callable[[Bytes], Floats]:
    """Decode a dtype that numpy has; bytes are little-endian, as safetensors promises."""

    def decode(stored: Bytes) -> Floats:
        return np.ascontiguousarray(stored).view(dtype).astype(np.float32, copy=False)

    return decode


def _bfloat16(stored: Bytes) -> Floats:
    """Decode bfloat16: it is the upper half of a float32."""
    wide = np.ascontiguousarray(stored).view("<u2").astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def _bfloat16_into(stored: Bytes, out: Floats) -> None:
    wide = out.view(np.uint32)
    wide[...] = np.ascontiguousarray(stored).view("<u2")
    wide <<= 16


Cast = Literal["f16", "e4m3", "e5m2"]
"""NumKong's names of dtypes that it decodes."""


def _cast(kind: Cast, stored: Bytes) -> Floats:
    """Decode a dtype of this name with NumKong's kernel, in a tenth of the time that numpy takes for F16.

    E4M3 (no infinities, NaN is all ones) and E5M2 (as IEEE 754) are those of the Open Compute Project's "OFP8 Formats
    for Deep Learning" (2023).
    """
    count = stored.shape[-1] // (2 if kind == "f16" else 1)
    out = np.empty((*stored.shape[:-1], count), np.float32)
    _cast_into(kind, stored, out)
    return out


def _cast_into(kind: Cast, stored: Bytes, out: Floats) -> None:
    import numkong  # noqa: PLC0415 - a command that decodes nothing does not load it

    held = np.ascontiguousarray(stored, np.uint8)
    numkong.astype(
        numkong.from_pointer(held.ctypes.data, out.shape, kind, owner=held),
        "f32",
        out=numkong.from_pointer(out.ctypes.data, out.shape, "f32", owner=out),
    )


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        DType("F64", 1, 8, _plain("<f8")),
        DType("F32", 1, 4, _plain("<f4")),
        DType("F16", 1, 2, partial(_cast, "f16"), partial(_cast_into, "f16")),
        DType("BF16", 1, 2, _bfloat16, _bfloat16_into),
        DType("F8_E4M3", 1, 1, partial(_cast, "e4m3"), partial(_cast_into, "e4m3")),
        DType("F8_E5M2", 1, 1, partial(_cast, "e5m2"), partial(_cast_into, "e5m2")),
        DType("BOOL", 1, 1),
        DType("U8", 1, 1),
        DType("I8", 1, 1),
        DType("F8_E8M0", 1, 1),
        DType("F8_E4M3FNUZ", 1, 1),
        DType("F8_E5M2FNUZ", 1, 1),
        DType("U16", 1, 2),
        DType("I16", 1, 2),
        DType("U32", 1, 4),
        DType("I32", 1, 4),
        DType("U64", 1, 8),
        DType("I64", 1, 8),
        DType("C64", 1, 8),
        DType("F4", 2, 1),
        DType("F6_E2M3", 4, 3),
        DType("F6_E3M2", 4, 3),
    )
}
"""Every dtype of the safetensors format, by its name there."""


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
"""How float32 is rounded to a dtype and back, by its name."""
