"""The number formats of GGUF: blocks of quantised values.

A ggml type packs a block of values, 32 or 256 of most, with their scales: Q8_0 has 32 values in 34 bytes. What each
block holds is laid down in ggml-common.h (https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h), its number
in ggml.h. Plain types are those of `embtool.storage.dtypes`; the others are decoded by the gguf library
(https://github.com/ggml-org/llama.cpp/tree/master/gguf-py), loaded when the first row is read.
"""

from collections.abc import Callable
from types import MappingProxyType

from embtool.arrays import Bytes, Floats, np
from embtool.errors import MissingExtra, UnsupportedDType
from embtool.storage.dtypes import DTYPES, DType

BLOCKS: MappingProxyType[int, tuple[str, int, int]] = MappingProxyType(
    {
        2: ("Q4_0", 32, 18),
        3: ("Q4_1", 32, 20),
        6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24),
        8: ("Q8_0", 32, 34),
        9: ("Q8_1", 32, 40),
        10: ("Q2_K", 256, 84),
        11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144),
        13: ("Q5_K", 256, 176),
        14: ("Q6_K", 256, 210),
        15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66),
        17: ("IQ2_XS", 256, 74),
        18: ("IQ3_XXS", 256, 98),
        19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18),
        21: ("IQ3_S", 256, 110),
        22: ("IQ2_S", 256, 82),
        23: ("IQ4_XS", 256, 136),
        29: ("IQ1_M", 256, 56),
        34: ("TQ1_0", 256, 54),
        35: ("TQ2_0", 256, 66),
        39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
    }
)
"""Quantised types by their number: name, values and bytes of a block."""

PLAIN: MappingProxyType[int, str] = MappingProxyType(
    {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
)
"""Types that safetensors has too."""

NEVER_STORED = frozenset({"Q8_1", "Q8_K"})
"""Types of intermediate results: no file holds them, and the library has no decoder."""


def type_of(number: int) -> DType:
    """Return the dtype of a ggml type; one that is not known has no size, and its rows are refused by name."""
    if number in PLAIN:
        return DTYPES[PLAIN[number]]
    return _TYPES.get(number) or DType(f"ggml type {number}", 1, 0)


def _decoder(number: int, name: str, values: int, size: int) -> Callable[[Bytes], Floats]:
    """Make a decoder of stored bytes, (..., n * size), to float32, (..., n * values)."""

    def decode(stored: Bytes) -> Floats:
        try:
            from gguf import GGMLQuantizationType, dequantize  # noqa: PLC0415 - an extra, and slow to load
        except ImportError as error:
            raise MissingExtra.of("gguf", f"decoding rows of dtype {name} needs") from error
        try:
            kind = GGMLQuantizationType(number)
            rows = dequantize(np.ascontiguousarray(stored).reshape(-1, stored.shape[-1]), kind)
        except (ValueError, NotImplementedError) as error:
            raise UnsupportedDType(
                f"rows of dtype {name} cannot be decoded by this version of the gguf library",
                hint="pip install -U gguf",
            ) from error
        numbers: Floats = rows.reshape(*stored.shape[:-1], stored.shape[-1] // size * values)
        return numbers

    return decode


_TYPES = {
    number: DType(name, values, size, None if name in NEVER_STORED else _decoder(number, name, values, size))
    for number, (name, values, size) in BLOCKS.items()
}
