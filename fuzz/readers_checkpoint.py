"""Targets: safetensors headers, the index of a sharded checkpoint, GGUF files, tables of words."""

import io
import json
from collections.abc import Iterable
from random import Random
from typing import Any

import gguf_document
import numpy as np
from mutate import document, lines, mixed, octets
from readers_config import check_positions
from readers_vocabulary import check_vocabulary
from sources import Memory
from target import target

from embtool.checkpoint import Checkpoint, TensorInfo, parts_of
from embtool.config import Config, parse_config_text
from embtool.dtypes import DTYPES
from embtool.errors import EmbtoolError, FormatError
from embtool.formats import open_checkpoint, static, whole_tables
from embtool.formats.ggml import BLOCKS
from embtool.formats.gguf import GgufCheckpoint
from embtool.formats.safetensors import LENGTH_BYTES, open_file, read_header
from embtool.positions import read_positions
from embtool.table import find_tables

ENTRY_WORDS = ("dtype", "shape", "data_offsets", "__metadata__", "format", "a", "b", "w")
ENTRY_VALUES = (
    *DTYPES,
    "X9",
    [2, 2],
    [0, 0],
    [4, 0],
    [0, 16],
    [],
    [1 << 62, 4],
    {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
)


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
    try:
        width = tensor.row_bytes
    except EmbtoolError:  # no table of rows, or of numbers that are only listed
        return
    if tensor.shape[0]:
        rows = checkpoint.rows(tensor, [0, tensor.shape[0] - 1])
        assert rows.shape == (2, width)
        assert tensor.dtype.to_float32(rows).shape == (2, tensor.shape[1])


def file_of_header(header: Any, random: Random) -> bytes:
    """Write a safetensors file whose offsets and length fit the shapes of its header, as far as those make sense."""
    place = 0
    for name, entry in header.items() if isinstance(header, dict) else ():
        if name == "__metadata__" or not isinstance(entry, dict):
            continue
        dtype, shape = DTYPES.get(str(entry.get("dtype"))), entry.get("shape")
        if (
            dtype is None
            or not isinstance(shape, list)
            or not all(type(size) is int and 0 <= size < 99 for size in shape)
        ):
            continue
        size = dtype.nbytes(int(np.prod(shape, dtype=np.int64))) or 0
        if size < 1 << 14:
            entry["data_offsets"] = [place, place + size]
            place += size
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return (
        len(text).to_bytes(8, "little")
        + text
        + bytes(random.randrange(256) for _ in range(min(place, 64))).ljust(place, b"\1")
    )


def change_header(case: bytes, random: Random) -> bytes:
    """Change the header of a file; mostly its length, its offsets and the data are made to fit again."""
    length = int.from_bytes(case[:LENGTH_BYTES], "little")
    text, data = case[LENGTH_BYTES : LENGTH_BYTES + length], case[LENGTH_BYTES + length :]
    changed = HEADERS(text, random)
    if random.random() < 0.7:
        try:
            return file_of_header(json.loads(changed), random)
        except (ValueError, RecursionError):
            pass
    return len(changed).to_bytes(8, "little") + changed + data


HEADERS = document(ENTRY_WORDS, ENTRY_VALUES)


@target("safetensors", "the header of a safetensors file", mutate=mixed(change_header, change_header, octets))
def read_safetensors(case: bytes) -> None:
    """Read a file's header, then its rows."""
    source = Memory({"x.safetensors": case})
    check_tensors(read_header(source, "x.safetensors").values(), len(case), contiguous=True)
    checkpoint = open_file(source, "x.safetensors")
    for name in checkpoint.names[:8]:
        check_rows(checkpoint, checkpoint.tensor(name))


# --- A folder: an index, its shards, a config -------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"
SHARDS = (
    "model-1.safetensors",
    "model-2.safetensors",
    "../x.safetensors",
    "/x.safetensors",
    "x.bin",
    "a/b.safetensors",
)
TENSORS = (
    *(
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "wte.weight",
        "embeddings",
        "mapping",
        "weights",
    ),
    *("lm_head.scales", "lm_head.biases", "lm_head.weight_scale", "lm_head.weight_scale_inv", "lm_head.weight_packed"),
    *("lm_head.weight_scale_2", "model.embed_tokens.scales", "model.embed_tokens.biases", "lm_head.weight_shape"),
    *("model.embed_tokens.new_embedding", "model.embed_tokens.embedding", "lm_head.qweight"),
)
FOLDER_WORDS = (
    *("weight_map", "metadata", "total_size", INDEX, "model.safetensors", "config.json", *SHARDS, *TENSORS),
    *(
        "dtype",
        "shape",
        "data_offsets",
        "quantization",
        "quantization_config",
        "group_size",
        "bits",
        "mode",
        "quant_method",
    ),
    *("vocab_size", "hidden_size", "weight_block_size", "config_groups", "format", "weights", "num_bits", "fmt"),
)
FOLDER_VALUES: tuple[Any, ...] = (
    *(*SHARDS, *TENSORS, "F32", "BF16", "U32", "U8", "F8_E4M3", "I64", "I32", "F8_E8M0", "mxfp4", "fp8", "affine"),
    *([4, 8], [4, 1], [4], [1], [], [4, 16], [8, 64], [8, 8], [8, 2], 4, 8, 32, 64, 128, [128, 128], "int8", "nvfp4"),
    {"dtype": "F16", "shape": [4, 1], "data_offsets": [0, 8]},
)


def folder_of(case: bytes) -> dict[str, bytes]:
    """Read a case as a folder: a JSON object of file names, each with its text, or with what is written as JSON."""
    try:
        listed = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no folder") from error
    if not isinstance(listed, dict):
        raise FormatError("no folder")
    return {
        name: content.encode("utf-8", "surrogatepass") if isinstance(content, str) else json.dumps(content).encode()
        for name, content in listed.items()
    }


def model_of(case: bytes) -> dict[str, bytes]:
    """Read a case as the folder of a model: what is called a safetensors file is written as one, from its header."""
    files = folder_of(case)
    for name, content in files.items():
        if name.endswith(".safetensors"):
            files[name] = file_of_header(json.loads(content), Random(1)) if content[:1] == b"{" else content
    return files


@target(
    "checkpoint",
    "the index of a sharded checkpoint, its shards, and tables packed into several tensors",
    mutate=document(FOLDER_WORDS, FOLDER_VALUES),
    milliseconds=200,
)
def read_checkpoint(case: bytes) -> None:
    """Open a folder, find its tables, read rows of all of them."""
    source = Memory(model_of(case))
    config: Config | None = None
    if source.has("config.json"):
        config = parse_config_text(source.read_file("config.json"))
    checkpoint = whole_tables(open_checkpoint(source), config)
    for name in checkpoint.names[:12]:
        try:
            tensor = checkpoint.tensor(name)
            for part in parts_of(tensor):
                assert part.tensor.parts or part.tensor.stop <= source.size(part.tensor.shard)
            check_rows(checkpoint, tensor)
        except EmbtoolError:
            continue  # one tensor that cannot be read does not keep the others from it
    find_tables(checkpoint, config)


# --- GGUF -------------------------------------------------------------------------------------------------------------

PREFIXES = ("llama", "gemma3", "qwen35", "deepseek2", "phi3", "bert", "mpt", "gemma4")
KEYS = (
    *("general.architecture", "general.alignment", "general.file_type", "split.count", "split.no"),
    *(
        f"tokenizer.ggml.{key}"
        for key in ("model", "pre", "tokens", "token_type", "scores", "merges", "add_space_prefix")
    ),
    *(f"tokenizer.ggml.{key}" for key in ("bos_token_id", "eos_token_id", "unknown_token_id", "seperator_token_id")),
    *(f"tokenizer.ggml.{key}" for key in ("add_bos_token", "add_eos_token", "precompiled_charsmap")),
    *(
        f"{prefix}.{key}"
        for prefix in PREFIXES
        for key in (
            *("embedding_length", "block_count", "context_length", "vocab_size", "attention.head_count"),
            *(
                "attention.key_length",
                "attention.key_length_swa",
                "attention.sliding_window",
                "attention.max_alibi_bias",
            ),
            *(
                "rope.freq_base",
                "rope.freq_base_swa",
                "rope.dimension_count",
                "rope.dimension_sections",
                "embedding_scale",
            ),
            *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length"),
            *("rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_beta_fast"),
        )
    ),
)
GGUF_WORDS = ("version", "metadata", "tensors", "data", "tensor_count", "entry_count")
GGUF_VALUES = (
    *(*KEYS, *PREFIXES, *range(13), *BLOCKS, "yarn", "longrope", "linear", "gpt2", "t5", "bert", "llama", "qwen2"),
    *("token_embd.weight", "output.weight", "rope_freqs.weight", "rope_factors_long.weight", "token_embd.scale"),
    *([4, 32], [8], [1], [], [0, 32], [4, 256], [5, [1, 2]], [8, ["a", "b"]], [9, [[5, [1]]]], [6, [0.5]], [7, [1]]),
    *(["llama.rope.dimension_sections", 9, [5, [4, 2, 2, 0]]], ["llama.attention.head_count", 9, [5, [4, 2]]]),
    *(
        ["tokenizer.ggml.merges", 9, [8, ["a b"]]],
        ["tokenizer.ggml.precompiled_charsmap", 9, [1, [4, 0, 0, 0, 1, 1, 1, 1]]],
    ),
    *(["llama.rope.scaling.type", 8, "yarn"], ["split.count", 9, [4, [1, 2]]], ["rope_freqs.weight", [8], 0, None]),
)


def check_gguf(data: bytes) -> None:
    """Read a GGUF file as a model: its tensors, its config, its positions, its tokens."""
    source = Memory({"x.gguf": data})
    checkpoint = GgufCheckpoint(source, ["x.gguf"])
    tensors = [checkpoint.tensor(name) for name in checkpoint.names]
    check_tensors(tensors, len(data), contiguous=False)
    assert checkpoint.format
    for tensor in tensors[:4]:
        check_rows(checkpoint, tensor)
    refusal: EmbtoolError | None = None
    try:
        check_positions(read_positions(checkpoint.read_config()))
    except EmbtoolError as error:
        refusal = error  # the tokens are read all the same
    vocabulary = checkpoint.read_vocabulary()
    if vocabulary is not None:
        check_vocabulary(vocabulary)
    if refusal is not None:
        raise refusal


@target("gguf", "the header of a GGUF file, byte by byte", mutate=octets, milliseconds=300)
def read_gguf(case: bytes) -> None:
    """Read the bytes as a file."""
    check_gguf(case)


@target(
    "gguf-fields",
    "the metadata of a GGUF file: config, positions and tokens",
    mutate=document(GGUF_WORDS, GGUF_VALUES),
    milliseconds=300,
    share=2,
)
def read_gguf_fields(case: bytes) -> None:
    """Read the file that a document describes."""
    try:
        described = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    check_gguf(gguf_document.encode(described))


# --- Words ------------------------------------------------------------------------------------------------------------


def change_records(case: bytes, random: Random) -> bytes:
    """Change a binary file: its first line, or the bytes behind it."""
    first, _, rest = case.partition(b"\n")
    if random.random() < 0.3:
        first = lines()(first, random).split(b"\n")[0]
        return first + b"\n" + rest
    return first + b"\n" + octets(rest, random)


@target("static", "word2vec, GloVe and fastText: text and binary", mutate=mixed(lines(), change_records, octets))
def read_static(case: bytes) -> None:
    """Read a file of words and vectors as it is converted, and what it is converted to."""
    layout = static.recognise(case[: static.LOOKED_AT], "x.vec")
    if layout is None:
        raise FormatError("no table of words")
    kept = io.BytesIO()
    records = static._records(Memory({"x.vec": case}), "x.vec", layout)
    static._Writer(kept, layout.width, 0).write(records)
    data = kept.getvalue()
    source = Memory({"x.safetensors": data})
    checkpoint = open_file(source, "x.safetensors")
    table, text = checkpoint.tensor(static.TABLE), checkpoint.tensor(static.WORDS)
    words = source.read("x.safetensors", text.start, text.stop).decode().split("\n")
    assert table.shape == (len(words), layout.width)
    assert all(words)
    assert layout.words in (None, len(words))
    check_rows(checkpoint, table)
