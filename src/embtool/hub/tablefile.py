"""A finished table on the disk: a valid safetensors file of one tensor that says where it came from.

`embtool.storage.kept` says how it is held against its sum. Besides, `__metadata__` names the endpoint, the model, the
commit, the file, the hash of its content, and the bytes of it that these are.
"""

import json
import math
from pathlib import Path

from embtool.hub.store import spans
from embtool.storage.kept import LENGTH, NO_CHECKSUM, is_sound, read_metadata, seal_metadata
from embtool.storage.source import LocalRange, TensorDescription

PAGE = 4096
"""Bytes. The tensor begins on a page, so that it can be mapped and read without unaligned views."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
"""Bits of a value, for the dtypes that a safetensors file may name and whose values end on a byte."""


def make_header(
    metadata: dict[str, str],
    describe: TensorDescription | None,
    length: int,
    checksum: str = NO_CHECKSUM,
    moment: int = 0,
) -> bytes:
    """Write the first bytes of a table of `length` bytes; how many they are depends on neither sum nor second."""
    dtype, shape, name = "U8", [length], "table"
    metadata = {"format": "embtool", **seal_metadata(checksum, moment), **metadata}
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
    """Return where the tensor begins in a finished table; None if it is not what its name says, or is damaged."""
    head = read_metadata(path)
    if head is None:
        return None
    fits = head.size == head.offset + stop - start
    is_it = (head.about.get("content"), head.about.get("start"), head.about.get("stop")) == (key, str(start), str(stop))
    try:
        return head.offset if fits and is_it and is_sound(path) else None
    except OSError:
        return None
