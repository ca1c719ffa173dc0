"""A finished table on the disk: a valid safetensors file of one tensor that says where it came from.

https://github.com/huggingface/safetensors#format: eight bytes of length, that many bytes of JSON padded with spaces,
then the tensor. `__metadata__` names the endpoint, the model, the commit, the file, the hash of its content, the bytes
of it that these are, and a checksum of them.
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embtool.errors import EmbtoolError
from embtool.hub.store import spans
from embtool.source import LocalRange, TensorDescription, open_regular

PAGE = 4096
"""Bytes. The tensor begins on a page, so that it can be mapped and read without unaligned views."""

HEADER_LIMIT = 4 << 20
"""Bytes. What `make_header` writes has one page, or a few where a name or an address is long."""

LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
NO_CHECKSUM = "0" * 8

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
"""Bits of a value, for the dtypes that a safetensors file may name and whose values end on a byte."""


def make_header(
    metadata: dict[str, str], describe: TensorDescription | None, length: int, checksum: str = NO_CHECKSUM
) -> bytes:
    """Write the first bytes of a table of `length` bytes; how many they are does not depend on the checksum."""
    dtype, shape, name = "U8", [length], "table"
    metadata = {"format": "embtool", **metadata, "blocks_crc32": checksum}
    if describe is not None:
        name = describe.name
        metadata |= {"tensor": name, "dtype": describe.dtype, "shape": json.dumps(list(describe.shape))}
        if describe.dtype in BITS and math.prod(describe.shape) * BITS[describe.dtype] == length * 8:
            dtype, shape = describe.dtype, list(describe.shape)
    tensor = {"dtype": dtype, "shape": shape, "data_offsets": [0, length]}
    text = json.dumps({"__metadata__": metadata, name: tensor}).encode()
    total = -(-(LENGTH.size + len(text)) // PAGE) * PAGE
    return LENGTH.pack(total - LENGTH.size) + text.ljust(total - LENGTH.size)


def find(folder: Path, key: str, start: int, stop: int) -> LocalRange | None:
    """Find a finished table in a content's folder that holds its bytes start..stop; this takes no lock."""
    for first, last, path in spans(folder, ".safetensors"):
        if first <= start and stop <= last:
            offset = data_offset(path, key, first, last)
            if offset is not None:
                return LocalRange(path, offset + start - first, offset + stop - first)
    return None


def data_offset(path: Path, key: str, start: int, stop: int) -> int | None:
    """Tell where the tensor begins in a finished table; None if the file is not the one its name says, or is cut."""
    metadata = read_metadata(path)
    if metadata is None:
        return None
    offset, about, size = metadata
    fits = size == offset + stop - start
    is_it = (about.get("content"), about.get("start"), about.get("stop")) == (key, str(start), str(stop))
    return offset if fits and is_it else None


def read_metadata(path: Path) -> tuple[int, dict[str, str], int] | None:
    """Read where the tensor of a table begins, what its metadata say, and how large the file is."""
    try:
        descriptor = open_regular(path)
    except EmbtoolError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            (length,) = LENGTH.unpack(file.read(LENGTH.size))
            header: Any = json.loads(file.read(length)) if length < min(size, HEADER_LIMIT) else None
        except (OSError, ValueError, struct.error, RecursionError):
            return None
    about = header.get("__metadata__") if isinstance(header, dict) else None
    return (LENGTH.size + length, about, size) if isinstance(about, dict) else None


def join_checksums(checksums: Iterable[int]) -> str:
    """Sum a table up by the CRC-32 of its blocks, so that it can be done while they arrive in any order.

    It finds rot, which is what a disk does. Somebody who can write to the cache could write the sum, too.
    """
    return f"{zlib.crc32(b''.join(CHECKSUM.pack(checksum) for checksum in checksums)):08x}"
