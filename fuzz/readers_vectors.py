"""Target: vectors that a user brings, as npy, JSON or TSV."""

import struct
from random import Random

import numpy as np
from mutate import document, lines, octets
from target import target

from embtool.vectors import NPY_MAGIC, parse_vectors

KEYS = ("rows", "values", "query", "id", "piece", "token", "norm", "schema")
JSON = document(KEYS, ([1, 2], [0.5], {"values": [1.0]}, {"query": "a", "values": [1, 2]}, [[1, 2], [3, 4]], 1, 1e39))
LINES = lines(("v0", "v1", "query", "norm", "id", "1e5", "nan", "inf", "1_000", "٣", "0x1p3"))
HEADER = (
    *(
        b"'<f8'",
        b"'<f4'",
        b"'<f2'",
        b"'>f8'",
        b"'<i8'",
        b"'|u1'",
        b"'|O'",
        b"'<f16'",
        b"'<c8'",
        b"'V0'",
        b"'<U0'",
        b"'|b1'",
    ),
    *(
        b"(2,)",
        b"(1, 2)",
        b"(0,)",
        b"()",
        b"(2, 0)",
        b"(1099511627776, 0)",
        b"(9223372036854775807,)",
        b"(-1,)",
        b"(1, 1, 2)",
    ),
    *(b"True", b"False", b"[('a', '<f4')]", b"None", b"(2**70,)", b"{}", b"((" * 50),
)
MAJOR = 6
"""Where an npy file says its version; the length of its header follows."""


def change_npy(case: bytes, random: Random) -> bytes:
    """Change the header of an npy file, and keep its length true."""
    wide = case[MAJOR : MAJOR + 1] > b"\1"
    start = MAJOR + 2 + (4 if wide else 2)
    length = int.from_bytes(case[MAJOR + 2 : start], "little")
    head, data = case[start : start + length].strip(), case[start + length :]
    kind = random.randrange(4)
    if kind == 0:
        return octets(case, random)
    if kind == 1:
        head = octets(head, random)
    elif kind == 2:
        data = octets(data, random)
    else:
        parts = head.split(b":")
        if len(parts) > 1:
            at = random.randrange(1, len(parts))
            _, comma, key = parts[at].rpartition(b",") if at < len(parts) - 1 else (b"", b"", b"}")
            parts[at] = b" " + random.choice(HEADER) + comma + key
        head = b":".join(parts)
    head += b"\n"
    size = struct.pack("<I", len(head)) if wide else struct.pack("<H", min(len(head), 65535))
    return case[: MAJOR + 2] + size + head + data


def change(case: bytes, random: Random) -> bytes:
    """Change a file of vectors in the way of its format."""
    if case.startswith(NPY_MAGIC):
        return change_npy(case, random)
    if case[:1] in (b"[", b"{"):
        return (JSON if random.random() < 0.8 else LINES)(case, random)
    return LINES(case, random)


@target("vectors", "vectors of --vector: npy, JSON, TSV", mutate=change)
def read_vectors(case: bytes) -> None:
    """Read the vectors: each has numbers, and all of them are finite."""
    found = parse_vectors(case, file="x")
    assert found
    for vector in found:
        assert vector.values.ndim == 1
        assert vector.values.size > 0, "a vector without numbers"
        assert vector.values.dtype == np.float64
        assert np.isfinite(vector.values).all()
        assert vector.name is None or isinstance(vector.name, str)
