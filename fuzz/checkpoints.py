"""Targets: safetensors headers, the index of a sharded checkpoint, packed tables, GGUF files, tables of words."""

import contextlib
import io
import json
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from sources import Memory

from embtool.checkpoint import Checkpoint, TensorInfo, parts_of
from embtool.config import parse_config_text
from embtool.dtypes import DTYPES
from embtool.errors import EmbtoolError, FormatError
from embtool.formats import open_checkpoint, static, whole_tables
from embtool.formats.gguf import GgufCheckpoint
from embtool.formats.safetensors import LENGTH_BYTES, open_file, read_header
from embtool.positions import read_positions
from embtool.table import find_tables
from embtool.vocabulary import read_vocabulary
from fuzz import gguf_document
from fuzz.change import document, framed, mixed, octets
from fuzz.configs import check_positions
from fuzz.engine import both, read_object, target
from fuzz.vocabularies import check_splitting, check_vocabulary


def check_tensors(tensors: Iterable[TensorInfo], size: int, *, contiguous: bool) -> None:
    """Assert that tensors lie in a file of `size` bytes, without overlap, and are as large as they say."""
    stop = None
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.stop)):
        assert stop is None or (tensor.start == stop if contiguous else tensor.start >= stop), "an overlap or a hole"
        assert 0 < tensor.start <= tensor.stop <= size, "a tensor outside of the file"
        if tensor.dtype.bytes:
            assert tensor.dtype.nbytes(int(np.prod(tensor.shape, dtype=object))) == tensor.nbytes
        stop = tensor.stop
    assert not contiguous or stop in (None, size), "bytes after the last tensor"


def check_rows(checkpoint: Checkpoint, tensor: TensorInfo) -> None:
    """Read the first and the last row of a tensor and assert that they have the width that the tensor says."""
    width = None
    with contextlib.suppress(EmbtoolError):  # no table of rows, or of numbers that are only listed
        width = tensor.row_bytes
    if width is not None and tensor.shape[0]:
        rows = checkpoint.rows(tensor, [0, tensor.shape[0] - 1])
        assert rows.shape == (2, width)
        assert tensor.dtype.to_float32(rows).shape == (2, tensor.shape[1])


FITTING = 0.7
"""The share of changed headers that are made to fit."""

# --- safetensors ------------------------------------------------------------------------------------------------------


def file_of_header(header: Any) -> bytes:
    """Write a safetensors file whose offsets and length fit the shapes of its header, as far as those make sense."""
    place = 0
    for entry in header.values() if isinstance(header, dict) else ():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if isinstance(shape, list) and all(type(size) is int and 0 <= size < 99 for size in shape):
            dtype = DTYPES.get(str(entry.get("dtype")))
            size = 1 << 14 if dtype is None else dtype.nbytes(int(np.prod(shape, dtype=np.int64))) or 0
            if size < 1 << 14:
                entry["data_offsets"] = [place, place + size]
                place += size
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + bytes((number * 37) % 251 for number in range(place))


def change_header(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
    """Change the header of a file; mostly its offsets and the data are made to fit again."""
    changed = framed(0, LENGTH_BYTES, document)(case, random, words)
    length = int.from_bytes(changed[:LENGTH_BYTES], "little")
    with contextlib.suppress(ValueError, RecursionError):
        if random.random() < FITTING:
            return file_of_header(json.loads(changed[LENGTH_BYTES : LENGTH_BYTES + length]))
    return changed


HEADER = mixed(change_header, octets)


@target("safetensors", HEADER)
def read_safetensors(case: bytes) -> None:
    """Read a file's header, then its rows."""
    source = Memory({"x.safetensors": case})
    check_tensors(read_header(source, "x.safetensors").values(), len(case), contiguous=True)
    checkpoint = open_file(source, "x.safetensors")
    for name in checkpoint.names[:8]:
        check_rows(checkpoint, checkpoint.tensor(name))


@target("safetensors-peer", HEADER)
def compare_safetensors(case: bytes) -> None:
    """Read a header twice; where both accept it, they must see the same tensors."""
    theirs, header = both(
        lambda: deserialize(case),  # type: ignore[no-untyped-call]
        SafetensorError,
        lambda: read_header(Memory({"x.safetensors": case}), "x.safetensors"),
    )
    seen = {name: (one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in theirs}
    assert seen == {name: (one.dtype.name, one.shape, case[one.start : one.stop]) for name, one in header.items()}


# --- A folder: an index, its shards, packed tables, a config ----------------------------------------------------------


def folder_of(case: bytes) -> dict[str, bytes]:
    """Read a case as a folder: a JSON object of file names, each with its text, or with what is written as JSON.

    What is called a safetensors file is written as one, from its header.
    """
    files = {}
    for name, content in read_object(case).items():
        if name.endswith(".safetensors") and not isinstance(content, str):
            files[name] = file_of_header(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            files[name] = text.encode("utf-8", "surrogatepass")
    return files


@target("checkpoint")
def read_checkpoint(case: bytes) -> None:
    """Open a folder, find its tables, read rows of all of them."""
    source = Memory(folder_of(case))
    config = parse_config_text(source.read_file("config.json")) if source.has("config.json") else None
    checkpoint = whole_tables(open_checkpoint(source), config)
    for name in checkpoint.names[:12]:
        with contextlib.suppress(EmbtoolError):  # one tensor that cannot be read does not keep the others from it
            tensor = checkpoint.tensor(name)
            for part in parts_of(tensor):
                assert part.tensor.parts or part.tensor.stop <= source.size(part.tensor.shard)
            check_rows(checkpoint, tensor)
    find_tables(checkpoint, config)


@target("tokenizer-files", longest=1 << 14)
def read_tokenizer_files(case: bytes) -> None:
    """Read the tokenizer of a folder without tokenizer.json."""
    check_vocabulary(read_vocabulary(Memory(folder_of(case))))


# --- GGUF -------------------------------------------------------------------------------------------------------------


@target("gguf", octets, milliseconds=300)
def read_gguf(case: bytes) -> None:
    """Read a file as a model: its tensors, its config, its positions, its tokens."""
    checkpoint = GgufCheckpoint(Memory({"x.gguf": case}), ["x.gguf"])
    tensors = [checkpoint.tensor(name) for name in checkpoint.names]
    check_tensors(tensors, len(case), contiguous=False)
    assert checkpoint.format
    for tensor in tensors[:4]:
        check_rows(checkpoint, tensor)
    try:
        check_positions(read_positions(checkpoint.read_config()))
    finally:  # the tokens are read all the same
        if vocabulary := checkpoint.read_vocabulary():
            check_vocabulary(vocabulary)


@target("gguf-fields", milliseconds=300)
def read_gguf_fields(case: bytes) -> None:
    """Read the file that a document describes."""
    read_gguf(gguf_document.encode(read_object(case)))


@target("gguf-splitting", milliseconds=400)
def split_gguf(case: bytes) -> None:
    """Split text with the vocabulary of the file that a document describes."""
    data = gguf_document.encode(read_object(case))
    if vocabulary := GgufCheckpoint(Memory({"x.gguf": data}), ["x.gguf"]).read_vocabulary():
        check_splitting(vocabulary)


# --- Words ------------------------------------------------------------------------------------------------------------


@target("static", octets)
def read_static(case: bytes) -> None:
    """Read a file of words and vectors as it is converted, and what it is converted to."""
    layout = static.recognise(case[: static.LOOKED_AT], "x.vec")
    if layout is None:
        raise FormatError("no table of words")
    kept = io.BytesIO()
    static._Writer(kept, layout.width, 0).write(static._records(Memory({"x.vec": case}), "x.vec", layout))
    source = Memory({"x.safetensors": kept.getvalue()})
    checkpoint = open_file(source, "x.safetensors")
    table, text = checkpoint.tensor(static.TABLE), checkpoint.tensor(static.WORDS)
    words = source.read("x.safetensors", text.start, text.stop).decode().split("\n")
    assert table.shape == (len(words), layout.width)
    assert all(words)
    assert layout.words in (None, len(words))
    check_rows(checkpoint, table)
