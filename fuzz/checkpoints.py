"""Targets: safetensors headers and indexes, packed tables, GGUF files, tables of words, configs and their positions."""

import contextlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from sources import Memory

from embtool.configs.config import parse_config_text
from embtool.errors import ConfigError, EmbtoolError, FormatError
from embtool.formats import open_checkpoint, records, static, whole_tables
from embtool.formats.gguf import GgufCheckpoint
from embtool.formats.safetensors import LENGTH_BYTES, open_file, read_header
from embtool.positions import Alibi, Learned, Positions, Rope, Sinusoidal, T5Buckets, read_positions
from embtool.rope import RopeSettings, frequencies, mrope_axes, rotate
from embtool.storage.checkpoint import Checkpoint, TensorInfo, parts_of
from embtool.storage.dtypes import DTYPES
from embtool.tables.table_roles import find_tables
from embtool.vocabulary import read_vocabulary
from fuzz import gguf_document
from fuzz.engine import both, document, framed, mixed, octets, read_object, target
from fuzz.vocabularies import check_splitting, check_vocabulary

MOSTLY = 0.7
LENGTHS = (None, 1, 5000, 1 << 20)
POSITIONS = (0, 1, 4095, 1 << 20)


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
        if random.random() < MOSTLY:
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


@target("static", octets)
def read_static(case: bytes) -> None:
    """Read a file of words and vectors as it is converted, and what it is converted to."""
    layout = records.recognise(case[: records.LOOKED_AT])
    if layout is None:
        raise FormatError("no table of words")
    kept = io.BytesIO()
    static._Writer(kept, layout.width, 0).write(records.read_records(Memory({"x.vec": case}), "x.vec", layout))
    source = Memory({"x.safetensors": kept.getvalue()})
    checkpoint = open_file(source, "x.safetensors")
    table, text = checkpoint.tensor(static.TABLE), checkpoint.tensor(static.WORDS)
    words = source.read("x.safetensors", text.start, text.stop).split(b"\n")
    assert table.shape == (len(words), layout.width)
    assert all(words)
    assert layout.words in (None, len(words))
    check_rows(checkpoint, table)


def check_positions(scheme: Positions) -> None:
    """Assert that what follows from a scheme are numbers."""
    if isinstance(scheme, Rope):
        for layer in scheme.layers[:3]:
            check_rope(layer.settings)
        count = scheme.num_hidden_layers
        assert count is None or all(0 <= index < count for index in scheme.nope_layers)
    elif isinstance(scheme, Sinusoidal):
        vectors = scheme.vectors([0, 5]) if scheme.width is not None else np.zeros(0)
        assert np.isfinite(vectors).all()
    elif isinstance(scheme, Alibi):
        assert all(0 < slope < math.inf for slope in scheme.slopes)
        assert math.isfinite(scheme.score_scale)
    elif isinstance(scheme, T5Buckets):
        for distance in (0, 1, -1, 7, -100, 1 << 40, -(1 << 40)):
            for both in (True, False):
                assert 0 <= scheme.bucket(distance, both_ways=both) < scheme.buckets
    elif isinstance(scheme, Learned):
        assert scheme.rows is None or scheme.rows >= 0
        assert scheme.row(3) >= 3


def check_rope(settings: RopeSettings) -> None:
    """Assert that a head turns by finite angles, in both precisions and at any length, and back again."""
    for length in LENGTHS:
        try:
            exact = frequencies(settings, length)
        except ConfigError:  # some stretch beyond all numbers only at great lengths
            assert length is not None, "settings that were accepted have no frequencies"
            continue
        assert exact.inv_freq.shape == (settings.pairs,)
        assert np.isfinite(exact.inv_freq).all()
        assert 0 < exact.attention_factor < math.inf
    with contextlib.suppress(ConfigError):  # a frequency that float32 cannot hold
        assert np.isfinite(frequencies(settings, None, "float32").inv_freq).all()
    if settings.mrope_section is not None:
        assert mrope_axes(settings).shape == (settings.pairs,)
    if settings.layout is not None and settings.head_dim <= 1 << 12:
        turned = rotate(np.ones(settings.head_dim), np.array(POSITIONS), settings)
        assert turned.shape == (len(POSITIONS), settings.head_dim)
        assert np.isfinite(turned).all()


@target("config")
def read_config(case: bytes) -> None:
    """Read a config, then how the model knows order, then compute with it."""
    config = parse_config_text(case)
    for size in (config.vocab_size, config.hidden_size, config.num_hidden_layers, config.head_dim):
        assert size is None or 0 <= size <= 1 << 53
    if (scale := config.embedding_scale) is not None:
        assert math.isfinite(scale.multiplier)
        assert not any(math.isnan(scale.in_dtype(dtype)) for dtype in ("BF16", "F16", "F32", "bfloat16", "x"))
    check_positions(read_positions(config))
