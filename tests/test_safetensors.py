from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import within
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError, TensorSpec, deserialize, safe_open, serialize
from small_models import Tensor, header, safetensors
from sources import Memory, Read, header_of

from embtool.errors import EmbtoolError, FileNotInModel, FormatError, TableNotFound, UnsupportedDType
from embtool.formats.safetensors import FIRST_GUESS, open_checkpoint, open_file, open_index, parse_index
from embtool.storage.dtypes import DTYPES
from embtool.storage.source import Folder

NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
}
"""What the library's own writer calls a dtype."""


read: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize


def theirs(content: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """Read a file with the safetensors library: dtype, shape and bytes of each tensor, or None if it refuses."""
    try:
        return {name: (one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in read(content)}
    except SafetensorError:
        return None


def ours(content: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]] | None:
    """Read a file with embtool in the same way."""
    try:
        tensors = header_of(content)
    except FormatError:
        return None
    return {
        name: (tensor.dtype.name, tensor.shape, content[tensor.start : tensor.stop]) for name, tensor in tensors.items()
    }


def one(text: bytes, data: bytes = b"") -> bytes:
    """Put a length before the text of a header, and data after it."""
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: Any = (1, 2), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


# --- what others wrote ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NAMES)
def test_a_file_of_each_dtype_written_by_the_library(dtype: str) -> None:
    data = np.random.default_rng(3).integers(0, 256, 6 * 4 * 16, dtype=np.uint8).tobytes()
    blocks = DTYPES[dtype]
    width = 4 * blocks.values
    size = blocks.nbytes(6 * width)
    assert size is not None
    shape = [6, width // 2] if dtype == "F4" else [6, width]
    content = written({"b": (dtype, shape, data[:size]), "a": ("F32", [1], bytes(4))})
    expected = theirs(content)
    assert expected is not None
    assert ours(content) == expected
    assert expected["b"][2] == data[:size]


def written(tensors: dict[str, Tensor]) -> bytes:
    """Write a file with the safetensors library; it wants the addresses of its tensors."""
    kept = {name: np.frombuffer(data, np.uint8).copy() for name, (_, _, data) in tensors.items()}
    specs = {
        name: TensorSpec(dtype=NAMES[dtype], shape=shape, data_ptr=kept[name].ctypes.data, data_len=len(data))
        for name, (dtype, shape, data) in tensors.items()
    }
    return bytes(serialize(specs, metadata={"format": "pt"}))


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
def test_rows_equal_those_of_safe_open(dtype: str, tmp_path: Path) -> None:
    values = np.random.default_rng(4).standard_normal((40, 6)).astype(NAMES[dtype])
    content = written({"w": (dtype, values.shape, values.tobytes()), "a": ("F32", [1], bytes(4))})
    (tmp_path / "model.safetensors").write_bytes(content)
    checkpoint = open_checkpoint(Folder(tmp_path))
    assert checkpoint is not None
    tensor = checkpoint.tensor("w")
    ids = [7, 39, 0, 8, 7, 9]
    decoded = tensor.dtype.to_float32(checkpoint.rows(tensor, ids))
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert np.array_equal(decoded, file.get_tensor("w")[ids].astype(np.float32))


def test_rows_are_read_by_range_and_neighbours_at_once() -> None:
    values = np.arange(40, dtype="<f4").reshape(10, 4)
    source = Memory({"model.safetensors": safetensors({"w": ("F32", values.shape, values.tobytes())})})
    checkpoint = open_file(source, "model.safetensors")
    tensor = checkpoint.tensor("w")
    source.reads.clear()
    rows = checkpoint.rows(tensor, [5, 2, 4, 5, 3])
    assert source.reads == [Read("model.safetensors", tensor.start + 2 * 16, tensor.start + 6 * 16)]
    assert np.array_equal(rows.view("<f4"), values[[5, 2, 4, 5, 3]])
    assert checkpoint.rows(tensor, []).shape == (0, 16)


shapes = st.lists(st.integers(0, 4), max_size=3)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Write a good file: any dtypes and shapes, names of any kind, metadata or none."""
    names = draw(st.lists(st.text(max_size=6).filter(lambda name: name != "__metadata__"), unique=True, max_size=4))
    tensors: dict[str, Tensor] = {}
    for name in names:
        dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
        shape = draw(shapes)
        if shape:
            shape[-1] *= dtype.values
        size = dtype.nbytes(int(np.prod(shape, dtype=np.int64)))
        if size is None:
            shape, size = [0], 0
        tensors[name] = (dtype.name, shape, bytes(size))
    metadata = draw(st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
    return safetensors(tensors, metadata)


@given(files())
def test_good_files_are_read_as_the_library_reads_them(content: bytes) -> None:
    expected = theirs(content)
    assert expected is not None
    assert ours(content) == expected


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70)
    | st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 0.0, 1.5, -0.0])
    | st.sampled_from(["F32", "BF16", "F4", "U8", "F128", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape"]), inner, max_size=2),
    max_leaves=4,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F8_E4M3", "F4", "BOOL"]) | values,
        "shape": st.lists(st.integers(0, 4), max_size=2) | values,
        "data_offsets": st.lists(st.integers(0, 12), min_size=2, max_size=2) | values,
        "more": values,
    },
)
headers = st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "\ud800"]), entries | values, max_size=3)


@given(headers, st.integers(0, 40))
def test_odd_headers_are_judged_as_the_library_judges_them(content: dict[str, Any], size: int) -> None:
    agree(header(content) + bytes(size))


@given(files(), st.data())
def test_changed_files_are_judged_as_the_library_judges_them(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        if not changed:
            break
        place = data.draw(st.integers(0, len(changed) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "insert", "repeat"]))
        if kind == "change":
            changed[place] = data.draw(st.integers(0, 255) | st.sampled_from(list(b'{}[]",:0123456789-.eE \\u')))
        elif kind == "cut":
            del changed[place : place + data.draw(st.integers(1, 9))]
        elif kind == "insert":
            changed[place:place] = data.draw(st.binary(max_size=3))
        else:
            changed[place:place] = changed[place : place + 5]
    agree(bytes(changed))


@given(st.binary(max_size=300))
@example(b"")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 2**63) + b"{}")
def test_any_bytes_are_a_file_or_a_format_error(content: bytes) -> None:
    agree(content)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_header_is_a_header_or_a_format_error(text: bytes) -> None:
    agree(one(text))


def agree(content: bytes) -> None:
    """Hold that embtool and the library judge a file alike, but for the differences that are meant."""
    mine, other = ours(content), theirs(content)
    if mine == other:
        return
    text = content[8 : 8 + int.from_bytes(content[:8], "little")]
    if mine is None:  # stricter: names twice
        assert twice(text), text
    else:  # laxer: a dtype of tomorrow is listed, and refused when a row is asked for
        assert other is None
        assert any(dtype not in DTYPES for dtype, _, _ in mine.values()), text


def twice(text: bytes) -> bool:
    """Tell whether an object in a JSON text has a key twice."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found |= len({key for key, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


# --- what is promised -------------------------------------------------------------------------------------------------

REFUSED = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (b"\0" * 7, "7 bytes"),
    "no header": (struct.pack("<Q", 0), "not JSON"),
    "length 2^63": (struct.pack("<Q", 2**63) + b"{}", "header"),
    "length over the limit": (struct.pack("<Q", 100_000_001) + b"{}", "100,000,001"),
    "length over the file": (struct.pack("<Q", 500) + b"{}", "truncated"),
    "not JSON": (one(b"nothing"), "not JSON"),
    "cut JSON": (one(b'{"a":'), "not JSON"),
    "not UTF-8": (one(b'{"\xff": 1}'), "UTF-8"),
    "BOM": (one(b"\xef\xbb\xbf{}"), "not JSON"),
    "NUL": (one(b"{}\0"), "not JSON"),
    "NaN": (one(b'{"a": NaN}'), "NaN"),
    "a list": (one(b"[]"), "object"),
    "null": (one(b"null"), "object"),
    "a long number": (one(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
    "half a surrogate pair in a name": (
        one(b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        "not text",
    ),
    "half a surrogate pair in metadata": (one(b'{"__metadata__":{"a":"\\udc00"}}'), "not text"),
    "nested lists": (one(b"[" * 200_000), "nested"),
    "nested objects": (one(b'{"a":' * 100_000), "nested"),
    "entry is no object": (header({"a": [1]}), "object"),
    "no dtype": (header({"a": {"shape": [], "data_offsets": [0, 0]}}), "dtype"),
    "no shape": (header({"a": {"dtype": "F32", "data_offsets": [0, 0]}}), "shape"),
    "no offsets": (header({"a": {"dtype": "F32", "shape": []}}), "data_offsets"),
    "negative shape": (header({"a": entry(shape=[-1, -2])}) + bytes(8), "shape"),
    "float shape": (header({"a": entry(shape=[1.0, 2.0])}) + bytes(8), "shape"),
    "true shape": (header({"a": entry(shape=[True, 2])}) + bytes(8), "shape"),
    "shape 2^64": (header({"a": entry(shape=[2**64, 0], offsets=[0, 0])}), "shape"),
    "shape that overflows": (header({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}), "shape"),
    "shape that wraps to its size": (header({"a": entry(dtype="U8", shape=[2**62, 4, 2], offsets=[0, 0])}), "shape"),
    "three offsets": (header({"a": entry(offsets=[0, 8, 8])}) + bytes(8), "data_offsets"),
    "reversed": (header({"a": entry(offsets=[8, 0])}) + bytes(8), "ends before"),
    "bytes are not shape x dtype": (header({"a": entry(offsets=[0, 7])}) + bytes(7), "shape"),
    "F4 of odd size": (header({"a": entry("F4", [3], [0, 1])}) + bytes(1), "shape"),
    "hole": (header({"a": entry(), "b": entry(offsets=[9, 17])}) + bytes(17), "hole"),
    "hole at the beginning": (header({"a": entry(offsets=[1, 9])}) + bytes(9), "hole"),
    "overlap": (header({"a": entry(), "b": entry(offsets=[4, 12])}) + bytes(12), "overlaps"),
    "ten tensors on one range": (header({f"t{place}": entry() for place in range(10)}) + bytes(8), "overlaps"),
    "truncated": (header({"a": entry()}) + bytes(7), "truncated"),
    "trailing bytes": (header({"a": entry()}) + bytes(9), "after its last tensor"),
    "trailing zip": (header({"a": entry()}) + bytes(8) + b"PK\5\6" + bytes(18), "after its last tensor"),
    "metadata of numbers": (header({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata is a list": (header({"__metadata__": []}), "__metadata__"),
    "a tensor twice": (one(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)), "'a' twice"),
    "a key twice": (one(b'{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4)), "twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_promise_is_refused(case: str) -> None:
    content, word = REFUSED[case]
    with pytest.raises(FormatError, match=r"x\.safetensors") as caught:
        header_of(content)
    assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML"),
        (pickle.dumps({"a": list(range(99))}), "pickle"),
        (pickle.dumps({"a": list(range(99))}, 2), "pickle"),
        (b"GGUF\3\0\0\0" + bytes(99), "GGUF"),
        (b"\x93NUMPY\1\0v\0" + bytes(120), "numpy"),
    ],
)
def test_an_impostor_is_named(content: bytes, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        header_of(content)


def test_a_torch_zip_is_named() -> None:
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(FormatError, match="zip"):
        header_of(made.getvalue())


ACCEPTED = {
    "no tensors": (one(b"{}"), {}),
    "space before and after": (one(b" \n\t{}\r  "), {}),
    "unsorted": (header({"b": entry(offsets=[8, 16]), "a": entry()}) + bytes(16), {"a": (1, 2), "b": (1, 2)}),
    "scalar": (header({"a": entry(shape=[], offsets=[0, 4])}) + bytes(4), {"a": ()}),
    "empty between": (
        header({"a": entry(), "e": entry(shape=[0, 5], offsets=[8, 8]), "b": entry(offsets=[8, 16])}) + bytes(16),
        {"a": (1, 2), "e": (0, 5), "b": (1, 2)},
    ),
    "only an empty one": (header({"e": entry(shape=[5, 0], offsets=[0, 0])}), {"e": (5, 0)}),
    "unknown keys": (header({"a": entry(more={"x": [1]})}) + bytes(8), {"a": (1, 2)}),
    "unknown dtype": (header({"a": entry("F128", [1, 2], [0, 32])}) + bytes(32), {"a": (1, 2)}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_format_allows_is_read(case: str) -> None:
    content, expected = ACCEPTED[case]
    assert {name: tensor.shape for name, tensor in header_of(content).items()} == expected


def test_values_are_not_checked() -> None:
    stored = np.array([[np.nan, np.inf]], "<f4").tobytes()
    source = Memory({"x.safetensors": safetensors({"a": ("F32", (1, 2), stored)})})
    checkpoint = open_file(source, "x.safetensors")
    assert checkpoint.rows(checkpoint.tensor("a"), [0]).tobytes() == stored


def test_rows_of_an_unknown_dtype_are_refused_by_name() -> None:
    checkpoint = open_file(Memory({"x.safetensors": ACCEPTED["unknown dtype"][0]}), "x.safetensors")
    with pytest.raises(UnsupportedDType, match="F128"):
        checkpoint.rows(checkpoint.tensor("a"), [0])


@pytest.mark.parametrize("shape", [[], [4], [2, 2, 1]])
def test_rows_of_a_tensor_that_is_no_table_are_refused_with_its_shape(shape: list[int]) -> None:
    data = bytes(4 * int(np.prod(shape)))
    checkpoint = open_file(Memory({"x.safetensors": safetensors({"a": ("F32", shape, data)})}), "x.safetensors")
    with pytest.raises(FormatError, match="not a table of rows") as caught:
        checkpoint.rows(checkpoint.tensor("a"), [0])
    assert (" × ".join(map(str, shape)) or "scalar") in caught.value.message


def test_a_table_without_columns_has_no_rows_to_read() -> None:
    checkpoint = open_file(Memory({"x.safetensors": ACCEPTED["only an empty one"][0]}), "x.safetensors")
    with pytest.raises(FormatError, match="5 × 0"):
        checkpoint.rows(checkpoint.tensor("e"), [0])


def test_a_large_header_costs_seconds_and_not_more() -> None:
    entries = {f"layer.{place}": entry(offsets=[place * 8, place * 8 + 8]) for place in range(30_000)}
    content = header(entries) + bytes(8 * len(entries))
    assert len(within(5, lambda: header_of(content))) == len(entries)


def test_one_read_is_enough_for_a_usual_header() -> None:
    small = Memory({"x.safetensors": safetensors({"a": ("F32", (1, 2), bytes(8))})})
    open_file(small, "x.safetensors")
    assert len(small.reads) == 1
    wide = {f"{'n' * 90}{place}": ("F32", (1,), bytes(4)) for place in range(1000)}
    large = Memory({"x.safetensors": safetensors(wide)})
    assert len(open_file(large, "x.safetensors").names) == 1000
    assert [read.stop for read in large.reads] == [FIRST_GUESS, large.size("x.safetensors") - 4000]


# --- the index --------------------------------------------------------------------------------------------------------


def index(weight_map: Any, **more: Any) -> bytes:
    return json.dumps({"weight_map": weight_map, **more}).encode()


UNSAFE = (
    "../x.safetensors",
    "a/../../x.safetensors",
    "/etc/passwd",
    "/x.safetensors",
    "C:\\x.safetensors",
    "C:/x.safetensors",
    "C:x.safetensors",
    "\\\\host\\share\\x.safetensors",
    "a\\x.safetensors",
    "a\0b.safetensors",
    "a\nb.safetensors",
    "?x#y.safetensors",
    "x.safetensors#y",
    "%2e%2e/x.safetensors",
    "./x.safetensors",
    "a//x.safetensors",
    "",
    ".",
    "..",
    "a/",
    "NUL",
    "con.safetensors",
    "a/COM1.safetensors",
    "x.safetensors.",
    "x.safetensors ",
    "a:b.safetensors",
    "\u202ex.safetensors",
    "\ud800.safetensors",
)


@pytest.mark.parametrize("name", UNSAFE)
def test_a_shard_outside_the_model_is_refused_before_it_is_opened(name: str) -> None:
    source = Memory({"model.safetensors.index.json": index({"a": name})})
    with pytest.raises(FormatError, match=r"model\.safetensors\.index\.json names "):
        open_checkpoint(source)
    assert {read.file for read in source.reads} == {"model.safetensors.index.json"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"weight_map": null}',
        b'{"weight_map": []}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": null}}',
        b'{"weight_map": {"a": ["x.safetensors"]}}',
        b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}',
        b'{"weight_map": {}, "weight_map": {}}',
        b'{"weight_map": {"a": "pytorch_model.bin"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_malformed_index_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError, match=r"i\.json"):
        parse_index(text, file="i.json")


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda name: index({"a": name})))
def test_any_index_is_a_weight_map_or_a_format_error(text: bytes) -> None:
    try:
        weight_map = parse_index(text, file="i.json")
    except FormatError:
        return
    for shard in weight_map.values():
        assert shard.endswith(".safetensors")
        assert ".." not in shard.split("/")
        assert not shard.startswith("/")


def test_an_index_of_many_tensors_is_read_in_bounded_time() -> None:
    text = index({f"t{place}": f"model-{place % 9}.safetensors" for place in range(200_000)})
    assert len(within(5, lambda: parse_index(text, file="i.json"))) == 200_000


def shard(*names: str) -> bytes:
    return safetensors({name: ("F32", (1, 2), bytes(8)) for name in names})


def test_only_the_header_of_the_shard_wanted_is_read() -> None:
    files = {"1.safetensors": shard("a"), "2.safetensors": shard("b")}
    source = Memory({**files, "model.safetensors.index.json": index({"a": "1.safetensors", "b": "2.safetensors"})})
    checkpoint = open_index(source, "model.safetensors.index.json")
    assert list(checkpoint.names) == ["a", "b"]
    assert checkpoint.tensor("b").shard == "2.safetensors"
    assert {read.file for read in source.reads} == {"model.safetensors.index.json", "2.safetensors"}


def test_an_index_in_a_subfolder_names_shards_beside_it() -> None:
    source = Memory({"t/x.safetensors.index.json": index({"a": "1.safetensors"}), "t/1.safetensors": shard("a")})
    assert open_index(source, "t/x.safetensors.index.json").tensor("a").shard == "t/1.safetensors"


INDEXED: dict[str, tuple[dict[str, bytes], dict[str, str], type[EmbtoolError], tuple[str, ...]]] = {
    "the shard is missing": ({}, {"a": "1.safetensors"}, FileNotInModel, ("1.safetensors",)),
    "the shard lacks the tensor": (
        {"1.safetensors": shard("b")},
        {"a": "1.safetensors"},
        FormatError,
        ("tensor a", "1.safetensors"),
    ),
    "the tensor is in another shard too": (
        {"1.safetensors": shard("a", "b"), "2.safetensors": shard("b")},
        {"a": "1.safetensors", "b": "2.safetensors"},
        FormatError,
        ("tensor b", "1.safetensors", "2.safetensors"),
    ),
    "the shard is broken": ({"1.safetensors": shard("a")[:-1]}, {"a": "1.safetensors"}, FormatError, ("truncated",)),
}


@pytest.mark.parametrize("case", INDEXED)
def test_an_index_that_its_shards_contradict(case: str) -> None:
    files, weight_map, kind, words = INDEXED[case]
    source = Memory({**files, "model.safetensors.index.json": index(weight_map)})
    checkpoint = open_checkpoint(source)
    assert checkpoint is not None
    with pytest.raises(kind) as caught:
        checkpoint.tensor("a")
    for word in words:
        assert word in caught.value.message


def test_a_tensor_that_no_shard_has() -> None:
    checkpoint = open_file(Memory({"x.safetensors": shard("a")}), "x.safetensors")
    with pytest.raises(TableNotFound, match="no tensor b"):
        checkpoint.tensor("b")


def test_without_an_index_every_shard_of_the_folder_counts() -> None:
    source = Memory({"1.safetensors": shard("a"), "2.safetensors": shard("b"), "sub/3.safetensors": shard("c")})
    checkpoint = open_checkpoint(source)
    assert checkpoint is not None
    assert list(checkpoint.names) == ["a", "b"]
    assert list(checkpoint.shards) == ["1.safetensors", "2.safetensors"]
    source.contents["2.safetensors"] = shard("a")
    with pytest.raises(FormatError, match=r"tensor a is in two shards: 1.safetensors and 2.safetensors"):
        open_checkpoint(source)


def test_an_index_of_another_name_is_found() -> None:
    source = Memory({"x.safetensors.index.json": index({"a": "1.safetensors"}), "1.safetensors": shard("a", "b")})
    checkpoint = open_checkpoint(source)
    assert checkpoint is not None
    assert list(checkpoint.names) == ["a"]


def test_a_model_without_safetensors_is_left_to_others() -> None:
    assert open_checkpoint(Memory({"config.json": b"{}"})) is None
