from __future__ import annotations

import math
import struct
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import e4m3

from embtool.errors import UnsupportedDType
from embtool.storage.dtypes import DTYPES, DType

EVERY_BYTE = np.arange(256, dtype=np.uint8)
EVERY_PAIR = np.arange(65536, dtype="<u2").view(np.uint8)


def same_bits(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool((one.view(np.uint32) == other.view(np.uint32)).all())


def test_bf16_is_the_upper_half_of_float32_bit_for_bit() -> None:
    decoded = DTYPES["BF16"].to_float32(EVERY_PAIR)
    expected = b"".join(b"\0\0" + struct.pack("<H", bits) for bits in range(65536))
    assert decoded.tobytes() == expected


def test_f16_of_every_bit_pattern() -> None:
    decoded = DTYPES["F16"].to_float32(EVERY_PAIR)
    expected = np.array([struct.unpack("<e", struct.pack("<H", bits))[0] for bits in range(65536)])
    assert np.array_equal(decoded, expected.astype(np.float32), equal_nan=True)
    assert np.array_equal(np.signbit(decoded), np.signbit(expected))


def test_e4m3_of_every_byte() -> None:
    decoded = DTYPES["F8_E4M3"].to_float32(EVERY_BYTE)
    assert np.array_equal(decoded, [e4m3(code) for code in range(256)], equal_nan=True)
    assert np.nanmax(decoded) == 448
    assert decoded[1] == 2.0**-9
    assert np.signbit(decoded[0x80])


def test_e5m2_is_the_upper_half_of_f16() -> None:
    decoded = DTYPES["F8_E5M2"].to_float32(EVERY_BYTE)
    expected = (EVERY_BYTE.astype("<u2") << 8).view("<f2").astype(np.float32)
    assert np.array_equal(decoded, expected, equal_nan=True)
    assert decoded[0x7C] == math.inf
    assert np.signbit(decoded[0x80])


@pytest.mark.parametrize("name", ["F16", "F8_E4M3", "F8_E5M2", "BF16"])
def test_many_numbers_are_decoded_as_few(name: str) -> None:
    dtype = DTYPES[name]
    stored = EVERY_PAIR if dtype.bytes == 2 else np.tile(EVERY_BYTE, 3)
    few = np.concatenate([dtype.to_float32(part) for part in stored.reshape(-1, 2)])
    many = np.tile(stored, (2, 9))[:, dtype.bytes :]  # not contiguous
    expected = np.tile(few, (2, 9))[:, 1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(dtype.to_float32(many), expected, equal_nan=True)
        out = np.empty(expected.shape, np.float32)
        assert dtype.to_float32(many, out) is out
    assert np.array_equal(out, expected, equal_nan=True)
    assert np.array_equal(np.signbit(out)[~np.isnan(expected)], np.signbit(expected)[~np.isnan(expected)])


@pytest.mark.parametrize("name", ["F8_E4M3", "F8_E5M2", "BF16"])
def test_ml_dtypes_agrees(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    theirs = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "BF16": ml_dtypes.bfloat16}[name]
    stored = EVERY_PAIR if name == "BF16" else EVERY_BYTE
    assert np.array_equal(DTYPES[name].to_float32(stored), stored.view(theirs).astype(np.float32), equal_nan=True)


def test_f32_is_not_touched() -> None:
    stored = np.random.default_rng(1).integers(0, 256, 4000, dtype=np.uint8)
    assert DTYPES["F32"].to_float32(stored).tobytes() == stored.tobytes()


def test_f64_rounds_and_overflows_quietly() -> None:
    values = np.array([1.0, 1 + 2**-30, -1e300, 1e-300, math.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = DTYPES["F64"].to_float32(values.astype("<f8").view(np.uint8))
    assert np.array_equal(decoded, np.array([1, 1, -math.inf, 0, math.nan], np.float32), equal_nan=True)


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.decode is not None])
def test_rows_decode_from_any_place_in_memory(name: str) -> None:
    dtype = DTYPES[name]
    stored = np.random.default_rng(2).integers(0, 256, (3, 5 * dtype.bytes), dtype=np.uint8)
    odd = np.empty(stored.size + 1, np.uint8)[1:].reshape(stored.shape)
    odd[:] = stored
    decoded = dtype.to_float32(odd)
    assert decoded.shape == (3, 5)
    assert decoded.dtype == np.float32
    assert same_bits(decoded, dtype.to_float32(stored))
    apart = np.repeat(stored, 2, axis=0)[::2]
    assert same_bits(dtype.to_float32(apart), decoded)


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.decode is None])
def test_a_dtype_without_a_decoder_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedDType, match=name):
        DTYPES[name].to_float32(EVERY_BYTE)


def test_sub_byte_values_must_fill_whole_blocks() -> None:
    assert DTYPES["F4"].nbytes(6) == 3
    assert DTYPES["F4"].nbytes(5) is None
    assert DTYPES["F6_E2M3"].nbytes(8) == 6
    assert DTYPES["F6_E3M2"].nbytes(2) is None
    assert DTYPES["F32"].nbytes(0) == 0


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in DTYPES.values() if dtype.decode is not None], ids=lambda d: d.name
)
def test_memory_that_is_there_gets_the_same_numbers(dtype: DType) -> None:
    stored = np.concatenate([EVERY_PAIR, EVERY_PAIR[::-1]])[: 65536 // 8 * 8].reshape(4, -1)
    out = np.full((4, stored.shape[1] // dtype.bytes), 7, np.float32)
    assert same_bits(dtype.to_float32(stored, out), dtype.to_float32(stored))


@pytest.mark.parametrize("name", ["F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("width", [1280, 1279])
def test_many_small_floats_are_those_that_are_decoded_one_by_one(name: str, width: int) -> None:
    stored = np.random.default_rng(3).integers(0, 256, (80, width), dtype=np.uint8)
    dtype = DTYPES[name]
    whole = dtype.to_float32(stored)
    assert whole.shape == stored.shape
    each = np.concatenate([dtype.to_float32(row[None]) for row in stored])
    np.testing.assert_array_equal(whole.view(np.uint32), each.view(np.uint32))
