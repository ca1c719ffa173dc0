"""GGUF files as documents: a JSON value that says what a file holds, so that it can be changed field by field.

    {"version": 3, "metadata": [["general.architecture", 8, "llama"], ["x.y", 9, [5, [1, 2]]]],
     "tensors": [["token_embd.weight", [4, 32], 0, null]], "data": 512}

A value of type 9 is an array: the type of its elements and its elements. A tensor has a name, its shape in rows and
columns, its type, and its offset, null where it follows the one before it. Whatever does not fit is written as well as
it goes: no document is refused.
"""

import struct
from typing import Any

from embtool.formats.ggml import BLOCKS

FORMS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "B", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
ALIGNMENT = 32
PLAIN_SIZES = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
MOST_DATA = 1 << 16


def encode(document: Any) -> bytes:
    """Write a document as a file."""
    document = document if isinstance(document, dict) else {}
    entries = [entry for entry in _list(document.get("metadata")) if isinstance(entry, list) and len(entry) == 3]
    tensors = [tensor for tensor in _list(document.get("tensors")) if isinstance(tensor, list) and len(tensor) == 4]
    head = b"GGUF" + _scalar("<I", document.get("version", 3))
    head += _scalar("<Q", document.get("tensor_count", len(tensors)))
    head += _scalar("<Q", document.get("entry_count", len(entries)))
    for key, kind, value in entries:
        head += _text(key) + _scalar("<I", kind) + _value(kind, value)
    place = 0
    for name, shape, kind, offset in tensors:
        sizes = [size for size in _list(shape) if isinstance(size, int | float)]
        own = place if offset is None else offset
        head += _text(name) + _scalar("<I", len(sizes)) + b"".join(_scalar("<Q", size) for size in reversed(sizes))
        head += _scalar("<I", kind) + _scalar("<Q", own)
        place += -(-_size(kind, sizes) // ALIGNMENT) * ALIGNMENT
    data = document.get("data")
    length = data if isinstance(data, int) and 0 <= data <= MOST_DATA else min(place, MOST_DATA)
    return head + b"\0" * (-len(head) % ALIGNMENT) + bytes(place % 251 for place in range(length))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _size(kind: Any, sizes: list[Any]) -> int:
    """Tell the bytes of a tensor, as far as its type is known; a huge one has none."""
    count = 1
    for size in sizes:
        count *= int(size) if 0 <= size < MOST_DATA else 0
    if not isinstance(kind, int):
        return 0
    if kind in PLAIN_SIZES:
        return count * PLAIN_SIZES[kind]
    if kind in BLOCKS:
        _, values, size = BLOCKS[kind]
        return count // values * size
    return 0


def _text(value: Any) -> bytes:
    data = (value if isinstance(value, str) else str(value)[:40]).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def _scalar(form: str, value: Any) -> bytes:
    size = struct.calcsize(form)
    if form in ("<f", "<d"):
        try:
            return struct.pack(form, float(value))
        except (TypeError, ValueError, OverflowError):
            return bytes(size)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    return (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _value(kind: Any, value: Any, depth: int = 0) -> bytes:
    if kind == STRING:
        return _text(value)
    if kind != ARRAY:
        return _scalar(FORMS.get(kind, "<I") if isinstance(kind, int) else "<I", value)
    pair = value if isinstance(value, list) and len(value) == 2 else [4, []]
    inner, elements = pair[0], _list(pair[1])
    written = b"".join(_value(inner, element, depth + 1) for element in elements) if depth < 8 else b""
    return _scalar("<I", inner) + struct.pack("<Q", len(elements)) + written
