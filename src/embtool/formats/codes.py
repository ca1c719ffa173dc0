"""Codes of a few bits, and the small floats that some of them stand for: what packed tables are made of."""

from embtool.arrays import Bytes, Floats, np
from embtool.storage.dtypes import DTYPES, DType

BITS_OF_BYTE = 8

E2M1: Floats = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""What a 4-bit float stands for: a sign, two bits of exponent, one of mantissa (OCP "Microscaling Formats" 1.0)."""

E8M0: Floats = np.array([*(2.0 ** (code - 127) for code in range(255)), np.nan], np.float32)
"""What a power of two in 8 bits stands for; all ones is NaN (the same)."""


I8 = DType("I8", 1, 1, lambda stored: np.ascontiguousarray(stored).view(np.int8).astype(np.float32))
"""Whole numbers of 8 bits where it is known that they are codes, and what scales them."""


def unpack(stored: Bytes, bits: int) -> Bytes:
    """Unpack codes of 1 to 8 bits, the least significant bit first: (..., n) bytes to (..., 8 n / bits) codes.

    A code may straddle two bytes, as those of 3, 5 and 6 bits do.
    """
    if bits == BITS_OF_BYTE:
        return stored
    if BITS_OF_BYTE % bits == 0:
        shifts = np.arange(0, BITS_OF_BYTE, bits, dtype=np.uint8)
        codes = (stored[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        return codes.reshape(*stored.shape[:-1], -1)
    flags = np.unpackbits(stored, axis=-1, bitorder="little")
    flags = flags.reshape(*stored.shape[:-1], -1, bits)
    packed: Bytes = np.packbits(flags, axis=-1, bitorder="little")[..., 0]
    return packed


def e4m3(stored: Bytes) -> Floats:
    """Decode 8-bit floats of four bits of exponent."""
    return DTYPES["F8_E4M3"].to_float32(stored)


def in_groups(numbers: Floats, factors: Floats) -> Floats:
    """Multiply each group of a row's numbers, (n, width), by its factor, (n, groups)."""
    groups = factors.shape[-1]
    shaped = numbers.reshape(*numbers.shape[:-1], groups, -1) * factors[..., None]
    product: Floats = shaped.reshape(numbers.shape)
    return product
