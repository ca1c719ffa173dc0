from __future__ import annotations

import io
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embtool.errors import FormatError
from embtool.tables.vectors import parse_vectors


def npy(array: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, array, **options)
    return made.getvalue()


def read(data: bytes | str) -> list[tuple[str | None, list[float]]]:
    data = data.encode() if isinstance(data, str) else data
    return [(vector.name, vector.values.tolist()) for vector in parse_vectors(data, file="f")]


NORM = math.hypot(0.5, -2)

READ: dict[str, tuple[bytes | str, list[tuple[str | None, list[float]]]]] = {
    "npy of one": (npy(np.array([0.5, -2], "<f4")), [(None, [0.5, -2])]),
    "npy of rows": (npy(np.array([[1, 2], [3, 4]], ">i2")), [(None, [1, 2]), (None, [3, 4])]),
    "npy in Fortran order": (npy(np.asfortranarray([[1.0, 2], [3, 4]])), [(None, [1, 2]), (None, [3, 4])]),
    "npy of float16": (npy(np.array([0.5], "<f2")), [(None, [0.5])]),
    "JSON list": ("[0.5, -2]", [(None, [0.5, -2])]),
    "JSON list of lists": (" [[1], [2]]\n", [(None, [1]), (None, [2])]),
    "JSON of row": (json.dumps({"schema": "embtool/row@1", "rows": [{"query": "a", "values": [1]}]}), [("a", [1])]),
    "JSON Lines of row": ('{"query": "a", "values": [1]}\n{"query": "b", "values": [2]}\n', [("a", [1]), ("b", [2])]),
    "JSON Lines of lists": ("[1]\n\n[2]\n", [(None, [1]), (None, [2])]),
    "one object": ('{"values": [1, 2.5]}', [(None, [1, 2.5])]),
    "numbers in a line": ("0.5 -2  1e3\n", [(None, [0.5, -2, 1000])]),
    "numbers with commas": ("0.5, -2,7", [(None, [0.5, -2, 7])]),
    "numbers with tabs, two lines": ("1\t2\r\n3\t4\r\n", [(None, [1, 2]), (None, [3, 4])]),
    "a number a line is a vector a line": ("1\n2\n", [(None, [1]), (None, [2])]),
    "TSV of row": (
        f"query\tid\tpiece\ttoken\tbytes\tnorm\tv0\tv1\n a\t1\tĠa\t a\t2061\t{NORM}\t0.5\t-2\n",
        [(" a", [0.5, -2])],
    ),
    "TSV of row without its header": (f" a\t1\tĠa\t a\t2061\t{NORM}\t0.5\t-2\n", [(" a", [0.5, -2])]),
    "the same of a padding row": (f"id:9\t9\t\t\t\t{NORM}\t0.5\t-2\n", [("id:9", [0.5, -2])]),
    "the same of a number": (f"7\t25\t7\t7\t37\t{NORM}\t0.5\t-2\n", [("7", [0.5, -2])]),
    "many numbers with tabs": ("\t".join("12345678"), [(None, [1, 2, 3, 4, 5, 6, 7, 8])]),
    "a column more than the numbers": ("v0\tv1\tnote\n1\t2\tx\n", [(None, [1, 2])]),
}


@pytest.mark.parametrize("case", READ)
def test_what_can_be_a_vector(case: str) -> None:
    data, expected = READ[case]
    assert read(data) == expected


REFUSED: dict[str, tuple[bytes | str, str]] = {
    "nothing": ("", "no vector"),
    "spaces": (" \n\n", "no vector"),
    "a pickle in npy": (npy(np.array([{"a": 1}]), allow_pickle=True), "npy"),
    "a pickle": (pickle.dumps([1.0]), "neither"),
    "npy cut": (npy(np.ones(9))[:-8], "npy"),
    "npy of nothing": (b"\x93NUMPY", "npy"),
    "npy with a bad header": (b"\x93NUMPY\1\0\6\0{'a':\n", "npy"),
    "npy that claims a petabyte": (
        b"\x93NUMPY\1\0\x76\0"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1125899906842624,), }".ljust(117)
        + b"\n",
        "npy",
    ),
    "npy of text": (npy(np.array(["a"])), "not vectors"),
    "npy of complex numbers": (npy(np.array([1j])), "not vectors"),
    "npy of booleans": (npy(np.array([True])), "not vectors"),
    "npy of three dimensions": (npy(np.ones((2, 1, 1))), "not vectors"),
    "npy of a scalar": (npy(np.float64(1)), "not vectors"),
    "npy of records": (npy(np.ones(1, [("a", "f4")])), "not vectors"),
    "npy without rows": (npy(np.ones((0, 3))), "no vector"),
    "npy with NaN": (npy(np.array([np.nan])), "NaN"),
    "zip": (b"PK\3\4\xff\xff", "neither"),
    "bytes": (b"\xff\xfe\0\1", "neither"),
    "JSON with a text": ('["a"]', "numbers"),
    "JSON with true": ("[true]", "numbers"),
    "JSON with null": ("[1, null]", "numbers"),
    "JSON with NaN": ("[NaN]", "NaN"),
    "JSON with infinity": ("[1e999]", "infinity"),
    "JSON with a large integer": (f"[{10**400}]", "large"),
    "JSON with a larger integer": (f"[{'9' * 5000}]", "JSON"),
    "JSON empty": ("[]", "numbers"),
    "JSON object without values": ("{}", "numbers"),
    "JSON rows of another kind": ('{"rows": 3}', "list"),
    "JSON cut": ("[1, 2", "JSON"),
    "JSON nested": ("[" * 100_000, "nested"),
    "a word": ("strawberry", "'strawberry'"),
    "a word among numbers": ("1 2 3 4 x 6 7", "'x'"),
    "NaN in a line": ("1 nan", "NaN"),
    "infinity in a line": ("1 1e999", "infinity"),
    "TSV with a short line": ("v0\tv1\n1\n", "1 cell "),
    "TSV with an empty cell": ("v0\tv1\n1\t\n", "field 2 is empty"),
    "a header alone": ("query\tv0\n", "no vector"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_vector(case: str) -> None:
    data, word = REFUSED[case]
    with pytest.raises(FormatError, match=r"\bf\b") as caught:
        read(data)
    assert word in caught.value.message
    assert len(caught.value.message) < 400


@given(
    st.binary(max_size=80) | st.text(max_size=80) | st.binary(max_size=120).map(lambda data: b"\x93NUMPY\1\0" + data)
)
def test_any_bytes_are_vectors_or_a_format_error(data: bytes | str) -> None:
    try:
        found = parse_vectors(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"), file="f")
    except FormatError:
        return
    assert found
    for vector in found:
        assert np.isfinite(vector.values).all()
        assert vector.values.dtype == np.float64


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_every_format_gives_the_same_numbers_back(values: list[float]) -> None:
    texts = json.dumps(values), " ".join(map(repr, values)), "\t".join(map(repr, values)), npy(np.array(values))
    for text in texts:
        assert read(text) == [(None, values)]
