"""GGUF files as documents: a JSON value that says what a file holds, so that it can be changed field by field.

    {"version": 3, "metadata": [["general.architecture", 8, "llama"], ["x.y", 9, [5, [1, 2]]]],
     "tensors": [["token_embd.weight", [4, 32], 0, null]], "data": 512}

A value of type 9 is an array: the type of its elements and its elements. A tensor has a name, its shape in rows and
columns, its type, and its offset, null where it follows the others. What does not fit is written as it goes.
"""

import contextlib
import struct
from typing import Any

from gguf_files import entry, raw, tensor, text

FORMS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, DEEPEST = 8, 9, 8
ROOM = 1 << 10
"""Bytes that a tensor gets, whatever its shape."""

DATA = bytes(place % 251 for place in range(8 * ROOM))


def encode(document: dict[str, Any]) -> bytes:
    """Write a document as a file."""
    fields = [field for field in _list(document.get("metadata")) if len(_list(field)) == len(("key", "type", "value"))]
    entries = [entry(_bytes(key), _number("I", kind), _value(kind, value)) for key, kind, value in fields]
    tensors: list[bytes] = []
    for listed in _list(document.get("tensors")):
        name, sizes, kind, offset = [*_list(listed), *[None] * 4][:4]
        start = len(tensors) * ROOM if offset is None else _number("Q", offset)
        tensors.append(tensor(_bytes(name), [_number("Q", size) for size in _list(sizes)], _number("I", kind), start))
    usual = {"tensor_count": len(tensors), "entry_count": len(entries), "data": len(tensors) * ROOM}
    tensor_count, entry_count, length = (_number("Q", document.get(name, number)) for name, number in usual.items())
    version, data = _number("I", document.get("version", 3)), DATA[: min(length, len(DATA))]
    return raw(entries, tensors, data, version=version, counts=(tensor_count, entry_count))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bytes(value: Any) -> bytes:
    return (value if isinstance(value, str) else str(value)[:40]).encode("utf-8", "surrogatepass")


def _number(form: str, value: Any) -> int:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return int(value) & ((1 << 8 * struct.calcsize(form)) - 1)
    return 0


def _value(kind: Any, value: Any, depth: int = 0) -> bytes:
    if kind == STRING:
        return text(_bytes(value))
    if kind == ARRAY:
        inner, elements = value if isinstance(value, list) and len(value) == 2 else (4, [])
        listed = _list(elements) if depth < DEEPEST else []
        written = b"".join(_value(inner, element, depth + 1) for element in listed)
        return struct.pack("<IQ", _number("I", inner), len(_list(elements))) + written
    form = FORMS.get(kind, "I") if isinstance(kind, int) else "I"
    if form in "fd":
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return struct.pack(f"<{form}", float(value))
    return _number(form, value).to_bytes(struct.calcsize(form), "little")
