"""What single functions of the formats decide: small cases, worked by hand, that whole models seldom meet."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import float32, safetensors
from sources import Memory
from tables import EIGHT_BITS

from embtool import open_model
from embtool.configs.config import Config, parse_config
from embtool.errors import (
    ConfigError,
    EmbtoolError,
    FormatError,
    LocalFailure,
    TableNotFound,
    UnsupportedDType,
    UnsupportedFormat,
)
from embtool.formats import check_named_file, ggml, gguf, gguf_config, missing, open_checkpoint, static
from embtool.formats.codes import E2M1, E8M0, in_groups, unpack
from embtool.formats.mlx import Packing, _Unpacker
from embtool.formats.packed import PackedCheckpoint
from embtool.formats.recipes import RECIPES
from embtool.formats.records import Layout, recognise
from embtool.formats.safetensors import open_file, strict_object
from embtool.storage.dtypes import DTYPES
from embtool.storage.source import Folder
from embtool.tables.table import EmbeddingTable

RANDOM = np.random.default_rng(5)


def packed(tensors: dict[str, tuple[str, tuple[int, ...], bytes]], **config: Any) -> PackedCheckpoint:
    """Open tensors as a checkpoint that knows every way to pack."""
    inner = open_file(Memory({"x.safetensors": safetensors(tensors)}), "x.safetensors")
    described = {"model_type": "unheard-of", **config}
    return PackedCheckpoint(inner, RECIPES, parse_config(described))


def f32(*shape: int) -> tuple[str, tuple[int, ...], bytes]:
    return ("F32", shape, float32(RANDOM.normal(size=shape)))


def zeros(dtype: str, *shape: int) -> tuple[str, tuple[int, ...], bytes]:
    return (dtype, shape, bytes(DTYPES[dtype].bytes * int(np.prod(shape, dtype=int))))


def rows_of(checkpoint: PackedCheckpoint, name: str) -> Any:
    tensor = checkpoint.tensor(name)
    return EmbeddingTable("input", tensor, checkpoint).rows(range(tensor.shape[0]))


# --- Codes and MLX's modes of floats ------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
def test_codes_stay_bytes(bits: int) -> None:
    assert unpack(np.arange(bits, dtype=np.uint8), bits).dtype == np.uint8


def test_each_group_has_its_factor() -> None:
    numbers = np.arange(12, dtype=np.float32).reshape(2, 6)
    factors = np.array([[1, 10, 100], [2, 3, 4]], np.float32)
    assert in_groups(numbers, factors).tolist() == [[0, 1, 20, 30, 400, 500], [12, 14, 24, 27, 40, 44]]


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_modes_of_floats_are_small_floats_times_a_scale(mode: str, bits: int, group: int) -> None:
    width, count = 64, 3
    codes = RANDOM.integers(0, 1 << bits, (count, width)).astype(np.uint8)
    codes[codes % 128 == 127] = 1  # no NaN
    scales = RANDOM.integers(100, 126, (count, width // group)).astype(np.uint8)
    numbers = E2M1[codes] if bits == 4 else EIGHT_BITS["F8_E4M3"][codes]
    factors = EIGHT_BITS["F8_E4M3"][scales] if mode == "nvfp4" else E8M0[scales].astype(np.float64)
    stored = codes if bits == 8 else codes[:, ::2] | (codes[:, 1::2] << 4)
    expected = (numbers * np.repeat(factors, group, axis=1)).astype(np.float32)
    decode = _Unpacker(Packing(mode, bits, group), stored.shape[1], scales.shape[1], DTYPES["U8"])
    np.testing.assert_array_equal(decode(np.concatenate([stored, scales], axis=1)), expected)
    tensors = {
        "e.weight": ("U32", (count, stored.shape[1] // 4), stored.tobytes()),
        "e.scales": ("U8", scales.shape, scales.tobytes()),
    }
    checkpoint = packed(tensors, quantization={"mode": mode})
    assert checkpoint.tensor("e.weight").dtype.name == f"MLX {mode} {bits}-bit, group {group}"
    np.testing.assert_array_equal(rows_of(checkpoint, "e.weight"), expected)


# --- Packed tables ------------------------------------------------------------------------------------------------


def words_of(count: int, words: int, scales: tuple[int, ...], **config: Any) -> PackedCheckpoint:
    tensors = {"e.weight_packed": zeros("I32", count, words), "e.weight_scale": f32(*scales)}
    said = {"config_groups": {"group_0": {"weights": {"num_bits": 4}}}}
    return packed(tensors, quantization_config=said, **config)


@pytest.mark.parametrize(
    ("words", "scales", "problem"),
    [
        (8, (5, 2), "has 8 words a row and 2 scales, which do not fit 20 numbers"),
        (3, (4, 2), "has 3 words a row and 2 scales, which do not fit 20 numbers"),
        (3, (5, 3), "has 3 words a row and 3 scales, which do not fit 20 numbers"),
        (3, (5, 2, 1), "has 3 words a row and 0 scales, which do not fit 20 numbers"),
        (2, (4, 3), "has 2 words a row and 3 scales, which do not fit 20 numbers"),
    ],
)
def test_words_and_scales_that_do_not_fit(words: int, scales: tuple[int, ...], problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        words_of(5, words, scales, hidden_size=20).tensor("e.weight")
    assert caught.value.message == f"e.weight of memory {problem}"


def test_words_that_a_row_does_not_fill() -> None:
    checkpoint = words_of(5, 3, (5, 2), hidden_size=20)
    tensor = checkpoint.tensor("e.weight")
    assert tensor.shape == (5, 20)
    assert [type(size) for part in tensor.parts for size in part.tensor.shape] == [int] * 4
    scales = checkpoint.inner.source.read("x.safetensors", *_span(checkpoint, "e.weight_scale"))
    factors = np.frombuffer(scales, "<f4").reshape(5, 2)
    np.testing.assert_array_equal(rows_of(checkpoint, "e.weight"), -8 * np.repeat(factors, 10, axis=1))


def _span(checkpoint: PackedCheckpoint, name: str) -> tuple[int, int]:
    tensor = checkpoint.inner.tensor(name)
    return tensor.start, tensor.stop


@pytest.mark.parametrize(
    ("said", "name", "shape"),
    [
        ({"quant_method": "AWQ", "w_bit": 8}, "AWQ 8-bit", (12, 6)),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ 8-bit", (3, 24)),
        ({"quant_method": "gptq", "bits": 2, "w_bit": 8}, "GPTQ 2-bit", (3, 96)),
        ({"bits": 7}, "GPTQ 4-bit", (3, 48)),
        ({}, "GPTQ 4-bit", (3, 48)),
    ],
)
def test_tables_packed_along_the_other_side_are_described(said: Any, name: str, shape: tuple[int, int]) -> None:
    checkpoint = packed({"e.qweight": zeros("I32", 6, 3)}, quantization_config=said)
    tensor = checkpoint.tensor("e.weight")
    assert (tensor.dtype.name, tensor.shape, tensor.nbytes) == (name, shape, 72)
    with pytest.raises(UnsupportedDType, match=f"rows of dtype {name} cannot be read"):
        tensor.dtype.to_float32(np.zeros(4, np.uint8))


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (
            {"e.weight": zeros("F8_E4M3", 4, 4), "e.weight_scale": zeros("I32")},
            "has scales of I32, scalar, which do not fit blocks of its 4 × 4",
        ),
        (
            {"e.weight": zeros("F8_E4M3", 4, 4), "e.weight_scale": f32(3, 2)},
            "has scales of F32, 3 × 2, which do not fit blocks of its 4 × 4",
        ),
        (
            {"e.weight": zeros("F8_E4M3", 4), "e.weight_scale": f32(1)},
            "is not a table of rows: its shape is 4",
        ),
        (
            {"e.weight": zeros("F8_E4M3"), "e.weight_scale": f32(1)},
            "is not a table of rows: its shape is scalar",
        ),
        (
            {"e.weight": zeros("U32", 4, 4), "e.scales": f32(4), "e.biases": f32(4)},
            "needs 4 × 1 numbers in e.scales, which has 4",
        ),
        (
            {"e.weight": zeros("U32", 4, 4), "e.scales": f32(4, 1), "e.biases": f32()},
            "needs 4 × 1 numbers in e.biases, which has scalar",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_described(tensors: Any, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        packed(tensors, quantization={"bits": 4, "group_size": 32}).tensor("e.weight")
    assert caught.value.message == f"e.weight of memory {problem}"


def test_added_rows_may_stand_anywhere_in_the_file() -> None:
    tensors = {"t.embedding": f32(5, 4), "t.between": f32(3, 7), "t.new_embedding": f32(2, 4)}
    checkpoint = packed(tensors)
    tensor, first = checkpoint.tensor("t.embedding"), checkpoint.inner.tensor("t.embedding")
    assert (tensor.name, tensor.shape, tensor.nbytes) == ("t.embedding", (7, 4), 112)
    assert (tensor.start, tensor.shard, tensor.dtype) == (first.start, first.shard, first.dtype)
    whole = b"".join(tensors[name][2] for name in ("t.embedding", "t.new_embedding"))
    np.testing.assert_array_equal(rows_of(checkpoint, "t.embedding"), np.frombuffer(whole, "<f4").reshape(7, 4))


# --- Files of words and vectors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "layout"),
    [
        (b"3 2\na 1 -2\n", Layout("fastText or word2vec text", 3, 2)),
        (b"3 2\na +.5 2.e-3 \n", Layout("fastText or word2vec text", 3, 2)),
        (b"3 2\na b 1 2\n", Layout("fastText or word2vec text", 3, 2)),
        (b"3 3\na x 2 3\n", Layout("word2vec binary", 3, 3)),
        (b"3 3\na 2 3\n", Layout("fastText or word2vec text", 3, 3)),
        (b"3 2\na 1 nan\n", Layout("fastText or word2vec text", 3, 2)),
        (b"3 8\na 1 2 3 4 x 6 7 8 9 10 11 12 13 14\n", Layout("fastText or word2vec text", 3, 8)),
        (b"3 65536\na\n", Layout("word2vec binary", 3, 65_536)),
        (b"a 1 2\nb", Layout("GloVe text", None, 2)),
        (b"a 1 2 \nb", Layout("GloVe text", None, 2)),
        (b"3 65537\na\n", None),
        (b"3 1\na 1\n", None),
        (b"3 0\na\n", None),
        (b"a 1\nb", None),
        (b"a 1 x\nb", None),
        (b"a 1 2", None),
        (b"3 2", None),
    ],
)
def test_a_layout_is_told_by_the_first_two_lines(head: bytes, layout: Layout | None) -> None:
    assert recognise(head) == layout


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.vec").write_bytes(b"2 3\na 1 2 3\nb 4 5 6\n")
    return tmp_path / "x.vec"


def test_a_file_of_vectors_has_a_config_of_its_own(vectors: Path) -> None:
    config = open_model(vectors).config
    assert config is not None
    assert (config.vocab_size, config.hidden_size, config.tie_word_embeddings) == (2, 3, False)
    origins = {name: config.origins[name] for name in ("vocab_size", "hidden_size", "tie_word_embeddings")}
    assert list(origins.values()) == ["words", "numbers a line", "one table"]


def test_what_was_kept_of_a_file_of_vectors_is_a_range_of_a_local_file(vectors: Path) -> None:
    checkpoint = static.open_file(Folder(vectors.parent), "x.vec")
    place = checkpoint.local_range(checkpoint.tensor("embeddings"))
    assert place.path.read_bytes()[place.start : place.stop] == float32(np.arange(1.0, 7))
    with pytest.raises(TableNotFound, match="has no tensor words"):
        checkpoint.tensor("words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2 3\na 1 2 3\nb 1 2\n", "line 3 of x.vec has 2 numbers after its word, where the first line says 3"),
        (b"2 3\na 1 2 3\nb\n", "line 3 of x.vec has 0 numbers after its word, where the first line says 3"),
        (b"2 3\na 1 2 3\nb 1 2 x\n", "line 3 of x.vec: field 4, 'x', is not a decimal number"),
        (b"2 3\na 1 2 3\n\n 1 2 3\n", "line 4 of x.vec has no word, or one of more than 4,096 bytes"),
        (b"3 3\na 1 2 3\n", "x.vec is truncated: its first line says 3 words, it has 1"),
        (b"1 3\na 1 2 3\nb 1 2 3\n", "x.vec has more words than the 1 that its first line says"),
        (b"2 2\na \x01\0\0\0\1\0\0\0b \x01\0\0\0\1\0\0", "x.vec is truncated: it ends inside word 2"),
    ],
)
def test_a_broken_file_of_vectors_names_the_place(vectors: Path, content: bytes, message: str) -> None:
    vectors.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        _ = open_model(vectors).input_table
    assert caught.value.message == message
    assert (caught.value.hint == "delete it and fetch it again") is ("truncated" in message)


def test_a_cache_that_cannot_be_written_has_a_way_out(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(vectors / "below"))
    with pytest.raises(LocalFailure) as caught:
        _ = open_model(vectors).input_table
    assert caught.value.hint == "EMBTOOL_CACHE names another folder for it"


# --- GGUF ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "listed"), [(2, 2), (6, 6), (7, 6), (9, 6)])
def test_a_folder_of_several_models_lists_some(count: int, listed: int) -> None:
    files = [f"{place}.gguf" for place in range(count)]
    other = ["mmproj-x.gguf", "sub/9.gguf", "y-00002-of-00002.gguf"]
    with pytest.raises(TableNotFound) as caught:
        gguf.open_checkpoint(Memory(dict.fromkeys([*files, *other], b"")))
    assert caught.value.message == f"memory has {count} GGUF files, each a model of its own: name one"
    more = f" and {count - listed} more" if count > listed else ""
    assert caught.value.hint == ", ".join(files[:listed]) + more


def test_blocks_are_decoded_in_any_number_of_dimensions() -> None:
    library = pytest.importorskip("gguf", reason="the gguf library decodes blocks: pip install gguf")
    decode = ggml._decoder(8, "Q8_0", 32, 34)
    values = RANDOM.normal(size=(2, 3, 64)).astype(np.float32)
    stored = library.quantize(values, library.GGMLQuantizationType.Q8_0)
    assert decode(stored).shape == (2, 3, 64)
    np.testing.assert_allclose(decode(stored), values, atol=0.02)
    with pytest.raises(UnsupportedDType) as caught:
        ggml._decoder(9999, "Q99", 32, 34)(stored)
    assert caught.value.message == "rows of dtype Q99 cannot be decoded by this version of the gguf library"
    assert caught.value.hint == "pip install -U gguf"


def config_of(
    architecture: str, keys: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Config:
    """Read the config of a GGUF file of this architecture; keys are below its name but for those of the tokenizer."""
    metadata = {key if key.startswith("tokenizer.") else f"{architecture}.{key}": value for key, value in keys.items()}
    factors = {"rope_factors_long.weight": [1.0, 2.0], "rope_factors_short.weight": [1.0, 1.0]}
    return gguf_config.read_config(
        {"general.architecture": architecture, **metadata},
        "x.gguf",
        shapes or {},
        lambda name: factors.get(name) if architecture == "phi3" else None,
    )


WIDTHS = {"embedding_length": 64, "attention.head_count": 4}


def test_what_a_key_is_called_is_known_of_every_layer_type() -> None:
    config = config_of("gemma4", {**WIDTHS, "rope.freq_base": 1e6, "rope.freq_base_swa": 2e4})
    assert config.origins["hidden_size"] == "gemma4.embedding_length"
    assert config.spelled["model_type"] == "general.architecture"
    assert set(config.spelled.values()) >= {"gemma4.rope.freq_base", "gemma4.rope.freq_base_swa"}


def test_what_a_tensor_of_factors_is_called_is_known_beside_the_keys() -> None:
    config = config_of("phi3", {**WIDTHS, "rope.scaling.original_context_length": 8, "context_length": 32})
    assert config.origins["hidden_size"] == "phi3.embedding_length"
    section = {name: config.spelled[f"rope_scaling.{name}"] for name in ("long_factor", "short_factor")}
    assert list(section.values()) == ["rope_factors_long.weight", "rope_factors_short.weight"]
    assert (
        config.spelled["rope_scaling.original_max_position_embeddings"] == "phi3.rope.scaling.original_context_length"
    )


def test_rows_are_counted_where_no_key_counts_them() -> None:
    shapes = {"token_embd.weight": (7, 64)}
    tokens = {**WIDTHS, "tokenizer.ggml.tokens": ["a", "b", "c"]}
    by_key = config_of("llama", {**tokens, "vocab_size": 5}, shapes)
    assert (by_key.vocab_size, by_key.origins["vocab_size"]) == (5, "llama.vocab_size")
    by_tokens = config_of("llama", tokens, shapes)
    assert (by_tokens.vocab_size, by_tokens.origins["vocab_size"]) == (3, "tokenizer.ggml.tokens")
    by_table = config_of("llama", {}, shapes)
    assert (by_table.vocab_size, by_table.hidden_size) == (7, 64)
    assert by_table.origins["vocab_size"] == by_table.origins["hidden_size"] == "the shape of token_embd.weight"


@pytest.mark.parametrize(
    ("architecture", "shapes", "tied", "origin"),
    [
        ("llama", {"output.weight": (1, 64)}, False, "output.weight is there"),
        ("llama", {}, True, "output.weight is not there"),
        ("bert", {}, False, "an encoder has no output table"),
    ],
)
def test_tables_are_tied_where_there_is_no_output_table(
    architecture: str,
    shapes: dict[str, tuple[int, ...]],
    tied: bool,  # noqa: FBT001 - a parameter of the test
    origin: str,
) -> None:
    config = config_of(architecture, WIDTHS, shapes)
    assert (config.tie_word_embeddings, config.origins["tie_word_embeddings"]) == (tied, origin)


def test_an_error_in_the_keys_names_file_and_key() -> None:
    with pytest.raises(ConfigError, match=r"^x\.gguf: llama\.embedding_length must be a whole number"):
        config_of("llama", {"embedding_length": "wide"})


@pytest.mark.parametrize(
    ("bias", "expected"), [(8.0, {"alibi": True, "alibi_bias_max": 8.0}), (None, {"alibi": False})]
)
def test_mpt_has_its_biases_in_a_section(bias: float | None, expected: dict[str, Any]) -> None:
    config = config_of("mpt", {**WIDTHS, "attention.max_alibi_bias": bias})
    assert config.raw["attn_config"] == expected


def test_theta_has_the_name_that_its_family_has_for_it() -> None:
    config = config_of("gptneox", {**WIDTHS, "rope.freq_base": 500.0})
    assert config.raw["rotary_emb_base"] == 500
    assert "rope_theta" not in config.raw


def header_of(data: bytes) -> gguf.Header:
    return gguf.read_header(Memory({"x.gguf": data}), "x.gguf")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.gguf is truncated: it has 0 bytes"),
        (b"GGU", "x.gguf is truncated: it has 3 bytes"),
        (b"GGUF\3\0\0", "x.gguf is truncated: its 7 bytes end inside its header"),
        (b"version https://git-lfs", "x.gguf is not a GGUF file: it looks like a Git LFS pointer"),
        (b"FUGG", "x.gguf is not a GGUF file: it looks like a big-endian GGUF file"),
        (b"lmgg", "x.gguf is not a GGUF file: it looks like a GGML file"),
        (b"tjgg", "x.gguf is not a GGUF file: it looks like a GGML file"),
        (b"fmgg", "x.gguf is not a GGUF file: it looks like a GGML file"),
        (b"algg", "x.gguf is not a GGUF file: it looks like a GGML file"),
        (b"else", "x.gguf is not a GGUF file"),
    ],
)
def test_what_is_no_gguf_file_is_told_by_its_first_bytes(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        header_of(data)
    assert caught.value.message.startswith(message)
    assert caught.value.message.endswith("file") or message != "x.gguf is not a GGUF file"
    assert (caught.value.hint == "delete it and fetch it again") is ("truncated" in message)


def array(kind: int, count: int, data: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (array(4, 2, struct.pack("<2I", 1, 2**32 - 1)), [1, 2**32 - 1]),
        (array(7, 3, b"\1\0\1"), [1, 0, 1]),
        (array(12, 1, struct.pack("<d", 0.5)), [0.5]),
        (array(8, 2, struct.pack("<Q", 2) + b"ab" + struct.pack("<Q", 0)), ["ab", ""]),
        (array(0, 0, b""), []),
    ],
)
def test_arrays_are_read_to_their_last_byte(value: bytes, expected: list[Any]) -> None:
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + value
    assert list(header_of(data + bytes(32)).metadata["k"]) == expected
    if value[12:]:
        with pytest.raises(FormatError, match="end inside its header"):
            header_of(data[:-1])


@pytest.mark.parametrize(("kind", "word"), [(13, "type 13"), (2**31, "type 2147483648")])
def test_an_array_of_an_unknown_type(kind: int, word: str) -> None:
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    with pytest.raises(FormatError, match=f"k in x.gguf is an array of the unknown value {word}"):
        header_of(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + array(kind, 1, bytes(32)))


def test_a_count_that_no_bytes_could_hold_costs_no_memory() -> None:
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    for kind in (4, 8, 9):
        with pytest.raises(FormatError, match="end inside its header"):
            header_of(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + array(kind, 2**60, bytes(32)))


def test_a_model_that_says_it_is_split_is_asked_for_whole() -> None:
    entry = struct.pack("<Q", 11) + b"split.count" + struct.pack("<IH", 2, 3)
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry + bytes(32)
    with pytest.raises(FormatError, match="3 files"):
        _ = gguf.open_file(Memory({"x.gguf": data}), "x.gguf").names


# --- Safetensors --------------------------------------------------------------------------------------------------


def test_a_name_that_stands_twice_is_named() -> None:
    for text in (b'{"a": 1, "b": 2, "c": 3, "b": 4}', b'{"x": {"b": 2, "c": 3, "b": 4}, "a": 1}'):
        with pytest.raises(FormatError, match=r"^this names 'b' twice$"):
            strict_object(text, what="this")


def test_a_header_that_the_index_describes_is_read_at_once() -> None:
    names = [f"model.layers.{number}.weight" for number in range(50)]
    shard = safetensors({name: zeros("F32", 2, 2) for name in names})
    index = json.dumps({"weight_map": dict.fromkeys(names, "x.safetensors")}).encode()
    source = Memory({"model.safetensors.index.json": index, "x.safetensors": shard})
    checkpoint = open_checkpoint(source)
    checkpoint.tensor(names[3])
    length = 8 + int.from_bytes(shard[:8], "little")
    (read,) = [read for read in source.reads if read.file == "x.safetensors"]
    assert length <= read.stop < length + 50 * 112


# --- Which format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "kind", "message", "hint"),
    [
        (["pytorch_model.bin"], UnsupportedFormat, "memory has only pytorch_model.bin, by its name a pickle", "look"),
        (["a.pt", "b.h5"], UnsupportedFormat, "memory has only a.pt, by its name a pickle", "look for a revision"),
        (["x.h5"], UnsupportedFormat, "memory has only a Keras checkpoint (x.h5)", "convert it to safetensors first"),
        (["x.onnx"], UnsupportedFormat, "memory has only a ONNX checkpoint (x.onnx)", "convert it"),
        (["training_args.bin"], TableNotFound, "memory has no *.safetensors: no tables to read", "name a folder"),
        (["sub/pytorch_model.bin", "sub/x.h5"], TableNotFound, "memory has no *.safetensors", "name a folder"),
        ([], TableNotFound, "memory has no *.safetensors", "name a folder that holds the model's weights"),
    ],
)
def test_a_model_without_tables_says_what_it_has(
    files: list[str], kind: type[EmbtoolError], message: str, hint: str
) -> None:
    source = Memory(dict.fromkeys(files, b""))
    with pytest.raises(kind) as caught:
        open_checkpoint(source)
    for error in (missing(source), caught.value):
        assert type(error) is kind
        assert error.message.startswith(message)
        assert str(error.hint).startswith(hint)


def test_a_named_file_is_known_by_its_name_or_its_first_bytes(tmp_path: Path) -> None:
    contents = {"blob": b"GGUF....", "glove.txt": b"a 1 2\nb 3 4\n", "x.bin": b"2 2\na 12345678b 12345678"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert check_named_file(Folder(tmp_path), name) == name
        with pytest.raises(UnsupportedFormat):
            check_named_file(Memory(contents), name)  # of a hub, only its name can tell
    for name in ("x.safetensors", "x.safetensors.index.json", "x.gguf", "x.vec"):
        assert check_named_file(Memory({}), name) == name
    with pytest.raises(UnsupportedFormat, match=r"memory has only x\.pth, by its name a pickle"):
        check_named_file(Memory({}), "x.pth")
    with pytest.raises(UnsupportedFormat) as caught:
        check_named_file(Memory({}), "x.md")
    expected = "embtool opens folders, *.safetensors.index.json, *.safetensors, *.gguf, *.vec files"
    assert caught.value.message == f"memory is not a model: {expected}"
