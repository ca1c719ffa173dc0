"""GGUF: every type the library decodes, every kind of vocabulary, the config in its keys, and files that are broken."""

from __future__ import annotations

import base64
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
import pytest
from gguf_files import entry, gguf, llama, raw, small_raw, strings, tensor, text, vocabulary_of, write
from hub_fixtures import Case
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from sources import Memory
from tokenizers import Regex, Tokenizer, pre_tokenizers

from embtool import nearest, open_model
from embtool.errors import EmbtoolError, FormatError, MissingExtra, NoVocabulary, TableNotFound
from embtool.formats import ggml
from embtool.formats.gguf import GgufCheckpoint, parse_header, read_header
from embtool.model import Model
from embtool.rope import RopeSettings, frequencies
from embtool.tables.neighbors import nearest_each
from embtool.tables.table import EmbeddingTable
from embtool.vocabulary.cuts import CUTS

TOKENIZERS = Path(os.environ.get("EMBTOOL_TEST_REAL", "")) / "tokenizers"
"""A folder of published tokenizers, each in a folder of its name; tests that want one skip where it is not set."""

DECODED = [kind for kind in gguf.quants._type_traits if kind.name != "BF16"]
Q8_0, Q4_0 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0
TEXTS = ("Hello world", "naïve straße, 12345!", " two  spaces", "def f(x):\n    return x", "日本語 🍓", "can't WON'T")


def test_sizes_of_blocks_are_those_of_the_library() -> None:
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    for number, (name, values, size) in ggml.BLOCKS.items():
        assert (values, size) == known[number], name
        assert gguf.GGMLQuantizationType(number).name == name
    for number, name in ggml.PLAIN.items():
        assert gguf.GGMLQuantizationType(number).name == name
        assert (ggml.type_of(number).values, ggml.type_of(number).bytes) == known[number]
    assert ggml.NEVER_STORED.isdisjoint(kind.name for kind in DECODED)


def stored_table(folder: Path, kind: Any, rows: int = 40, width: int = 512) -> tuple[EmbeddingTable, Any]:
    """Write a table of random blocks of a type whose scales are small; give it and the library's own decoding."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(int(kind))
    blocks = random.integers(0, 256, (rows, width // values * size), dtype=np.uint8)
    writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(blocks, kind)
    return open_model(folder / "x.gguf").input_table, expected


@pytest.mark.parametrize("kind", DECODED, ids=lambda kind: kind.name)
def test_rows_are_what_the_library_decodes(tmp_path: Path, kind: Any) -> None:
    table, expected = stored_table(tmp_path, kind)
    assert table.shape == expected.shape
    assert table.tensor.dtype.name == kind.name
    with np.errstate(all="ignore"):
        rows = table.rows([39, 0, 7, 8, 7])
    np.testing.assert_array_equal(rows, expected[[39, 0, 7, 8, 7]])


@pytest.mark.parametrize("kind", DECODED, ids=lambda kind: kind.name)
def test_a_scan_is_a_full_sort_of_what_the_library_decodes(tmp_path: Path, kind: Any) -> None:
    table, expected = stored_table(tmp_path, kind)
    finite = np.isfinite(expected).all(axis=1)
    query = np.random.default_rng(1).normal(size=table.shape[1])
    with np.errstate(all="ignore"):
        found = nearest(table, query, 5)
        wide = expected.astype(np.float64)
        scores = wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)
    scores[~finite | ~np.isfinite(scores)] = -np.inf
    usable = int(np.isfinite(scores).sum())
    best = np.lexsort((np.arange(len(scores)), -scores))[: min(5, usable)]
    assert found.ids[: len(best)].tolist() == best.tolist()
    assert found.nonfinite == int((~finite).sum())


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_plain_tables(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    write(tmp_path / "x.gguf", {"token_embd.weight": (values, gguf.GGMLQuantizationType[kind])})
    table = open_model(tmp_path / "x.gguf").input_table
    assert table.tensor.dtype.name == kind
    expected = gguf.quants.dequantize(
        gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind]), gguf.GGMLQuantizationType[kind]
    )
    np.testing.assert_array_equal(table.rows(range(6)), expected)


def test_a_type_without_decoder_and_one_of_the_future_are_refused_by_name(run: Program, tmp_path: Path) -> None:
    for kind, name in ((9, "Q8_1"), (4711, "ggml type 4711")):
        described = [tensor(b"token_embd.weight", (2, 32), kind, 0)]
        entries = [
            entry(b"general.architecture", 8, text(b"llama")),
            entry(b"llama.attention.head_count", 4, struct.pack("<I", 2)),
        ]
        (tmp_path / "x.gguf").write_bytes(raw(entries, described, bytes(256)))
        run("row", "-m", tmp_path / "x.gguf", "id:0").refused(6, name)
        assert name in run("info", tmp_path / "x.gguf").ok().text


def test_a_table_with_a_scale_beside_it_is_refused_by_name(run: Program, tmp_path: Path) -> None:
    values = np.ones((2, 64), np.float32)
    tables = {"token_embd.weight": (values, Q8_0), "token_embd.scale": (np.ones(1, np.float32), None)}
    write(tmp_path / "x.gguf", tables, settings=llama())
    run("row", "-m", tmp_path / "x.gguf", "id:0").refused(6, "Q8_0 with a scale beside it")


def test_without_the_library_the_way_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = stored_table(tmp_path, Q8_0)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtra, match="Q8_0") as caught:
        table.rows([0])
    assert "pip install 'embtool[gguf]', or pipx inject embtool gguf" in str(caught.value.hint)


def test_without_the_library_info_answers_and_a_row_is_refused(
    run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = llama(embedding_length=64)
    write(tmp_path / "x.gguf", {"token_embd.weight": (np.ones((2, 64), np.float32), Q8_0)}, settings=settings)
    monkeypatch.setitem(sys.modules, "gguf", None)
    (table,) = run("info", tmp_path / "x.gguf", "--json").ok().document["tables"]
    assert table["dtype"] == "Q8_0"
    answer = run("row", "-m", tmp_path / "x.gguf", "id:0")
    answer.refused(7, "Q8_0", "gguf, which is not installed")
    assert answer.of("hint")[0].startswith("pip install 'embtool[gguf]'")


def test_a_row_costs_one_read_of_its_own_bytes(tmp_path: Path) -> None:
    stored_table(tmp_path, Q8_0)
    source = Memory({"x.gguf": (tmp_path / "x.gguf").read_bytes()})
    table = Model(source, "x.gguf").input_table
    before = len(source.reads)
    table.rows([7])
    (read,) = source.reads[before:]
    assert read.stop - read.start == 512 // 32 * 34
    assert before == 1


def test_info_shows_shape_type_and_bits(run: Program, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 256)).astype(np.float32)
    settings = llama(embedding_length=256, **{"rope.dimension_count": 64, "general.file_type": 7})
    tables = {"token_embd.weight": (values, Q8_0), "output.weight": (values, Q4_0)}
    write(tmp_path / "x.gguf", tables, settings=settings)
    document = run("info", tmp_path / "x.gguf", "--json").ok().document
    first, second = document["tables"]
    assert (first["role"], first["shape"], first["dtype"], first["bits_per_weight"]) == ("input", [9, 256], "Q8_0", 8.5)
    assert (second["role"], second["dtype"], second["bits_per_weight"]) == ("output", "Q4_0", 4.5)
    assert document["tied"]["verdict"] == "untied"
    assert document["format"] == "GGUF, mostly Q8_0"
    assert document["hidden_size"] == 256
    assert "8.5 bits a number" in run("info", tmp_path / "x.gguf", "-f", "table").ok().text


def config_of(tmp_path: Path, architecture: str, **settings: Any) -> Model:
    """Write a file with only a config and a table of one row; open it."""
    width = settings.get("embedding_length", 64)
    write(
        tmp_path / "c.gguf",
        {"token_embd.weight": (np.ones((1, width), np.float32), None)},
        architecture=architecture,
        settings=llama(**settings),
    )
    return open_model(tmp_path / "c.gguf")


@pytest.mark.parametrize(
    ("architecture", "layout"),
    [
        *((name, "interleaved") for name in ("llama", "olmo", "granite", "internlm2")),
        *((name, "half") for name in ("qwen2", "qwen3", "gemma", "phi3", "stablelm")),
    ],
)
def test_the_layout_is_that_of_llama_cpp(tmp_path: Path, architecture: str, layout: str) -> None:
    model = config_of(tmp_path, architecture)
    assert model.rope.settings.layout == layout
    assert model.rope.layers[0].origins["layout"] == f"llama.cpp's layout of {architecture}"


def test_an_unknown_architecture_has_no_known_layout(tmp_path: Path) -> None:
    model = config_of(tmp_path, "someones-own")
    assert model.config is not None
    assert not model.config.family_known


def test_settings_are_read_and_their_keys_are_their_origins(tmp_path: Path) -> None:
    model = config_of(
        tmp_path,
        "qwen2",
        **{
            "rope.freq_base": 1e6,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 512,
            "attention.key_length": 32,
            "rope.dimension_count": 32,
        },
    )
    rope = model.rope
    settings = rope.settings
    assert (settings.rope_type, settings.rope_theta, settings.head_dim) == ("yarn", 1e6, 32)
    assert (settings.factor, settings.original_max_position_embeddings) == (4.0, 512)
    assert rope.context_length == 2048
    assert rope.origins["rope_theta"] == "qwen2.rope.freq_base"
    assert rope.origins["factor"] == "qwen2.rope.scaling.factor"
    assert rope.origins["context_length"] == "qwen2.context_length"


def test_part_of_a_head_turns(tmp_path: Path) -> None:
    settings = config_of(tmp_path, "stablelm", **{"rope.dimension_count": 4}).rope.settings
    assert (settings.head_dim, settings.rotary_dim) == (16, 4)


def test_layers_that_rotate_differently(tmp_path: Path) -> None:
    for architecture, lengths in (("gemma3", {}), ("gemma4", {"attention.key_length": 32, "rope.dimension_count": 32})):
        own = {"attention.key_length_swa": 16, "rope.dimension_count_swa": 16} if lengths else {}
        bases = {"rope.freq_base": 1e6, "rope.freq_base_swa": 20_000.0}
        rope = config_of(tmp_path, architecture, **bases, **lengths, **own, block_count=12).rope
        full, sliding = rope.layer("full_attention"), rope.layer("sliding_attention")
        assert (full.settings.rope_theta, sliding.settings.rope_theta) == (1e6, 20_000.0)
        assert (full.settings.head_dim, sliding.settings.head_dim) == ((32, 16) if lengths else (16, 16))
        assert full.settings.rotary_dim == full.settings.head_dim
        assert full.origins["rope_theta"] == f"{architecture}.rope.freq_base"
        assert sliding.origins["rope_theta"] == f"{architecture}.rope.freq_base_swa"


def test_nothing_is_assumed_of_a_family_where_llama_cpp_assumes_nothing(tmp_path: Path) -> None:
    for architecture in ("gpt-oss", "apertus", "mistral3", "phi2", "glm4", "gemma"):
        settings = llama()
        del settings["rope.freq_base"], settings["rope.dimension_count"]
        write(
            tmp_path / "c.gguf",
            {"token_embd.weight": (np.ones((1, 64), np.float32), None)},
            architecture=architecture,
            settings=settings,
        )
        rope = open_model(tmp_path / "c.gguf").rope
        found = rope.settings
        assert (found.rope_type, found.rope_theta, found.head_dim, found.rotary_dim) == ("default", 1e4, 16, 16)
        assert rope.origins["rope_theta"] == "llama.cpp's default"


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("gpt2", "learned"),
        ("bert", "learned"),
        ("bloom", "alibi"),
        ("jais", "alibi"),
        ("t5", "relative"),
        ("mamba", "none"),
    ],
)
def test_other_ways_to_know_order(tmp_path: Path, architecture: str, kind: str) -> None:
    assert config_of(tmp_path, architecture).positions.kind == kind


def test_latent_attention_and_sections(tmp_path: Path) -> None:
    yarn = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 40.0,
        "rope.scaling.original_context_length": 4096,
        "rope.scaling.yarn_log_multiplier": 0.1,
    }
    rope = config_of(tmp_path, "deepseek2", **{"attention.key_length": 48, "rope.dimension_count": 16}, **yarn).rope
    assert (rope.settings.head_dim, rope.settings.layout) == (16, "interleaved")
    assert rope.settings.mscale_all_dim == pytest.approx(1.0)
    assert rope.frequencies().attention_factor == pytest.approx(1.0)
    rope = config_of(tmp_path, "qwen2vl", **{"rope.dimension_sections": [2, 3, 3, 0]}).rope
    assert rope.settings.mrope_section == (2, 3, 3)
    assert rope.origins["mrope_section"] == "qwen2vl.rope.dimension_sections"


def test_factors_for_short_and_long_sequences(tmp_path: Path) -> None:
    write(
        tmp_path / "p.gguf",
        {
            "token_embd.weight": (np.ones((1, 64), np.float32), None),
            "rope_factors_long.weight": (np.full(8, 4, np.float32), None),
            "rope_factors_short.weight": (np.full(8, 2, np.float32), None),
        },
        architecture="phi3",
        settings=llama(**{"rope.scaling.attn_factor": 1.5, "rope.scaling.original_context_length": 512}),
    )
    rope = open_model(tmp_path / "p.gguf").rope
    assert (rope.settings.rope_type, rope.settings.long_factor) == ("longrope", (4.0,) * 8)
    short, long = rope.frequencies(100), rope.frequencies(1000)
    np.testing.assert_allclose(short.inv_freq, long.inv_freq * 2)
    assert short.attention_factor == 1.5
    assert rope.origins["short_factor"] == "rope_factors_short.weight"


def test_factors_of_frequencies_are_named_or_applied(tmp_path: Path) -> None:
    stretched = RopeSettings(
        head_dim=128,
        rope_type="llama3",
        rope_theta=500_000.0,
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=8192,
    )
    plain = RopeSettings(head_dim=128, rope_theta=500_000.0)
    factors = frequencies(plain).inv_freq / frequencies(stretched).inv_freq
    for given_factors, kind in ((factors, "llama3"), (factors * 1.5, "longrope")):
        write(
            tmp_path / "f.gguf",
            {
                "token_embd.weight": (np.ones((1, 512), np.float32), None),
                "rope_freqs.weight": (given_factors.astype(np.float32), None),
            },
            settings=llama(
                embedding_length=512,
                **{"rope.freq_base": 500_000.0, "rope.dimension_count": 128, "context_length": 131_072},
            ),
        )
        rope = open_model(tmp_path / "f.gguf").rope
        assert rope.settings.rope_type == kind
        expected = frequencies(plain).inv_freq / given_factors
        np.testing.assert_allclose(rope.frequencies().inv_freq, expected, rtol=1e-5)
        assert rope.frequencies().attention_factor == 1.0
        assert rope.origins["rope_type"] == "rope_freqs.weight"


def test_an_encoder_has_no_output_table_and_a_language_model_without_one_is_tied(tmp_path: Path) -> None:
    assert config_of(tmp_path, "bert").tables.tying.verdict == "no output table"
    assert config_of(tmp_path, "llama").tables.tying.verdict == "tied"


def split_model(folder: Path, values: Any) -> Path:
    """Write a model over two files: the metadata first, the table in the second."""
    writer = gguf.GGUFWriter(folder / "m", "llama", split_max_tensors=1)
    for name, number in llama().items():
        (writer.add_uint32 if isinstance(number, int) else writer.add_float32)(f"llama.{name}", number)
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.add_tensor("token_embd.weight", values)
    writer.write_header_to_file(folder / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "m-00002-of-00002.gguf"


def test_split_files_are_one_model_whichever_is_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    second = split_model(tmp_path, values)
    for reference in (second, tmp_path / "m-00001-of-00002.gguf", tmp_path):
        model = open_model(reference)
        assert model.input_table.tensor.shard == second.name
        np.testing.assert_array_equal(model.input_table.rows([4]), values[[4]])
        assert model.config is not None
        assert model.config.hidden_size == 64
    second.unlink()
    with pytest.raises(EmbtoolError, match="00002-of-00002"):
        _ = open_model(tmp_path / "m-00001-of-00002.gguf").tables


def test_several_models_in_a_folder_are_asked_about(tmp_path: Path) -> None:
    for name in ("a-Q4_0.gguf", "a-Q8_0.gguf"):
        (tmp_path / name).write_bytes(small_raw())
    (tmp_path / "mmproj-a.gguf").write_bytes(small_raw())
    with pytest.raises(TableNotFound, match="2 GGUF files") as caught:
        _ = open_model(tmp_path).tables
    assert caught.value.hint == "a-Q4_0.gguf, a-Q8_0.gguf"
    assert open_model(tmp_path / "a-Q8_0.gguf").input_table.shape == (4, 32)


def test_ollama_names_a_file_by_its_hash(tmp_path: Path) -> None:
    blob = tmp_path / "sha256-00"
    blob.write_bytes(small_raw())
    model = open_model(blob)
    assert model.input_table.rows([1])[0, 0] == 32.0
    assert model.vocabulary.find_piece("ab").id == 3


# --- Vocabularies


KINDS = {"gpt2": "gpt-2", "falcon": "falcon", "llama2": None, "t5-small": None}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", KINDS)
def test_vocabularies_of_published_tokenizers(name: str, tmp_path: Path) -> None:
    file = TOKENIZERS / name / "tokenizer.json"
    if not file.is_file():
        pytest.skip("EMBTOOL_TEST_REAL names no folder with this tokenizer")
    described = vocabulary_of(file)
    pre = KINDS[name]
    if pre is not None:
        described["tokenizer.ggml.pre"] = pre
    if name == "llama2":
        spm = pytest.importorskip("sentencepiece", reason="sentencepiece knows the scores of these pieces")
        published = spm.SentencePieceProcessor(model_proto=(file.parent / "tokenizer.model").read_bytes())
        described["tokenizer.ggml.scores"] = [published.get_score(place) for place in range(len(published))]
    if name == "t5-small":
        charsmap = json.loads(file.read_text("utf-8"))["normalizer"]["precompiled_charsmap"]
        described["tokenizer.ggml.precompiled_charsmap"] = base64.b64decode(charsmap)
    count = len(described["tokenizer.ggml.tokens"])
    write(
        tmp_path / "v.gguf",
        {"token_embd.weight": (np.zeros((count, 32), np.float32), Q8_0)},
        settings=llama(),
        vocabulary=described,
    )
    vocabulary = open_model(tmp_path / "v.gguf").vocabulary
    original = Tokenizer.from_file(str(file))
    assert len(vocabulary) == count
    for sample in TEXTS:
        ids = [token.id for token in vocabulary.encode(sample)]
        assert ids == original.encode(sample, add_special_tokens=False).ids, sample
    own = open_model(file.parent).vocabulary
    for identity in range(0, count, 7):
        mine, theirs = vocabulary.token(identity), own.token(identity)
        assert mine is not None
        assert theirs is not None
        assert (mine.piece, mine.text, mine.bytes) == (theirs.piece, theirs.text, theirs.bytes)


def test_text_is_cut_as_qwen_does() -> None:
    file = TOKENIZERS / "qwen3" / "tokenizer.json"
    if not file.is_file():
        pytest.skip("EMBTOOL_TEST_REAL names no folder with this tokenizer")
    steps = json.loads(file.read_text("utf-8"))["pre_tokenizer"]["pretokenizers"]
    assert (steps[0]["pattern"]["Regex"],) == CUTS["qwen2"]


BERT_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁straw", "berry", "▁strawberry", "▁king", "s"]
BERT_TYPES = [3, 3, 3, 3, 1, 1, 1, 1, 1]


SAMPLE = "It's 12345 héllo WORLDwide  \n\n x=y+1; 日本語カナ 한국 …\t!"


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.few(20)
def test_a_cut_loses_nothing(name: str) -> None:
    steps = [pre_tokenizers.Split(Regex(cut), "isolated") for cut in CUTS[name]]
    words = [word for word, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(SAMPLE)]
    assert "".join(words) == SAMPLE
    assert len(words) > 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-2", ["It", "'s", " 12345", " héllo", " WORLDwide", "  \n\n", " x"]),
        ("llama-bpe", ["It", "'s", " ", "123", "45", " héllo", " WORLDwide"]),
        ("qwen2", ["It", "'s", " ", "1", "2", "3"]),
        ("tekken", ["It", "'s", " ", "1", "2", "3"]),
        ("gpt-4o", ["It's", " ", "123", "45", " héllo", " WORLDwide"]),
        ("deepseek-v3", ["It", "'s", " ", "123", "45", " héllo"]),
        ("starcoder", ["It", "'s", " ", "1", "2", "3"]),
    ],
)
def test_text_is_cut_as_its_name_says(name: str, expected: list[str]) -> None:
    steps = [pre_tokenizers.Split(Regex(cut), "isolated") for cut in CUTS[name]]
    words = [word for word, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(SAMPLE)]
    assert words[: len(expected)] == expected


def test_a_bert_vocabulary_is_spelled_as_bert_does(tmp_path: Path) -> None:
    write(
        tmp_path / "b.gguf",
        {"token_embd.weight": (np.ones((len(BERT_PIECES), 64), np.float32), None)},
        architecture="bert",
        settings=llama(),
        vocabulary={
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": BERT_PIECES,
            "tokenizer.ggml.token_type": BERT_TYPES,
            "tokenizer.ggml.unknown_token_id": 1,
            "tokenizer.ggml.bos_token_id": 2,
            "tokenizer.ggml.seperator_token_id": 3,
        },
    )
    vocabulary = open_model(tmp_path / "b.gguf").vocabulary
    assert [token.piece for token in vocabulary][4:] == ["straw", "##berry", "strawberry", "king", "##s"]
    assert vocabulary.find("strawberry").id == 6
    assert vocabulary.find("King").id == 7
    assert [token.id for token in vocabulary.encode("kings", special=True)] == [2, 7, 8, 3]
    assert vocabulary.special_ids.tolist() == [0, 1, 2, 3]


def test_a_published_bert_vocabulary(tmp_path: Path) -> None:
    file = TOKENIZERS / "bert-base-cased" / "vocab.txt"
    if not file.is_file():
        pytest.skip("EMBTOOL_TEST_REAL names no folder with this tokenizer")
    words = file.read_text("utf-8").splitlines()
    special = {word for word in words if word.startswith("[") and word.endswith("]") and len(word) > 2}
    pieces = [
        word if word in special else word.removeprefix("##") if word.startswith("##") else f"▁{word}" for word in words
    ]
    write(
        tmp_path / "b.gguf",
        {"token_embd.weight": (np.zeros((len(words), 32), np.float32), Q8_0)},
        architecture="bert",
        settings=llama(),
        vocabulary={
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": pieces,
            "tokenizer.ggml.token_type": [3 if word in special else 1 for word in words],
            "tokenizer.ggml.unknown_token_id": words.index("[UNK]"),
        },
    )
    vocabulary = open_model(tmp_path / "b.gguf").vocabulary
    assert [token.piece for token in vocabulary] == words
    own = open_model(file.parent).vocabulary
    for sample in ("a strawberry on the table, 12345!", "unbelievable things happen"):
        assert [token.id for token in vocabulary.encode(sample)] == [token.id for token in own.encode(sample)]


def test_runs_of_spaces_are_spaces(tmp_path: Path) -> None:
    write(
        tmp_path / "s.gguf",
        {"token_embd.weight": (np.ones((4, 64), np.float32), None)},
        settings=llama(),
        vocabulary={
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": ["<unk>", "▁▁", "<im>", "a"],
            "tokenizer.ggml.token_type": [2, 4, 4, 1],
            "tokenizer.ggml.scores": [0.0, -1.0, -2.0, -3.0],
            "tokenizer.ggml.unknown_token_id": 0,
        },
    )
    vocabulary = open_model(tmp_path / "s.gguf").vocabulary
    assert [token.text for token in vocabulary] == ["<unk>", "  ", "<im>", "a"]
    assert vocabulary.find("  ").id == 1
    assert vocabulary.find("<im>").id == 2


def test_a_place_that_was_filled_up_is_no_token(tmp_path: Path) -> None:
    write(
        tmp_path / "p.gguf",
        {"token_embd.weight": (np.ones((3, 64), np.float32), None)},
        settings=llama(),
        vocabulary={
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": ["a", "b", "[PAD2]"],
            "tokenizer.ggml.token_type": [1, 1, 5],
            "tokenizer.ggml.merges": ["a b"],
        },
    )
    assert open_model(tmp_path / "p.gguf").vocabulary.ids.tolist() == [0, 1]


def test_a_way_to_cut_text_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    for changes, word in (({"tokenizer.ggml.pre": "new"}, "new"), ({"tokenizer.ggml.model": "rwkv"}, "rwkv")):
        write(
            tmp_path / "n.gguf",
            {"token_embd.weight": (np.ones((2, 64), np.float32), None)},
            settings=llama(),
            vocabulary={
                "tokenizer.ggml.model": "gpt2",
                "tokenizer.ggml.tokens": ["a", "Ġb"],
                "tokenizer.ggml.merges": ["a b"],
                **changes,
            },
        )
        vocabulary = open_model(tmp_path / "n.gguf").vocabulary
        assert vocabulary.find("a").id == 0
        with pytest.raises(NoVocabulary, match=word):
            vocabulary.encode("a b")


# --- A copy of a model beside the model


def as_gguf(folder: Path, model: Model, kind: Any) -> Model:
    """Write a model's input table and vocabulary as GGUF."""
    table = model.input_table
    values = table.rows(range(table.shape[0]))
    pieces = [f"row {row}" for row in range(len(values))]
    for token in model.vocabulary:
        pieces[token.id] = token.piece
    write(
        folder / "copy.gguf",
        {"token_embd.weight": (values, kind)},
        settings=llama(embedding_length=values.shape[1]),
        vocabulary={"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.merges": []},
    )
    return open_model(folder / "copy.gguf")


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["mini", "minilm"])
def test_neighbours_of_a_q8_0_copy_are_those_of_the_original(tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("EMBTOOL_TEST_MINILM") or Path(__file__).parent.parent / ".models" / "minilm")
    if name == "minilm" and not folder.is_dir():
        pytest.skip("all-MiniLM-L6-v2 is not here: make models")
    original = open_model("mini" if name == "mini" else folder)
    copied = as_gguf(tmp_path, original, Q8_0)
    assert copied.input_table.shape == original.input_table.shape
    with original.input_table.open() as before, copied.input_table.open() as after:
        ids = np.linspace(1000, original.input_table.shape[0] - 1, 20).astype(int).tolist()
        queries, own = original.input_table.rows(ids), [[identity] for identity in ids]
        first = nearest_each(original.input_table, queries, 10, reader=before, exclude=own)
        second = nearest_each(copied.input_table, queries, 10, reader=after, exclude=own)
    shared = sum(len(np.intersect1d(one.ids, other.ids)) for one, other in zip(first, second, strict=True))
    assert shared >= 9 * len(ids)


# --- On the hub


def test_a_row_of_a_remote_file_costs_one_request(case: Case) -> None:
    values = np.random.default_rng(0).normal(size=(3000, 256)).astype(np.float32)
    path = case.folder / "m.gguf"
    described = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"t{place}" for place in range(3000)],
        "tokenizer.ggml.merges": [],
    }
    norm = np.zeros((4096, 512), np.float32)
    tables = {"blk.0.weight": (norm, None), "token_embd.weight": (values, Q8_0), "output_norm.weight": (norm, None)}
    write(path, tables, settings=llama(embedding_length=256), vocabulary=described)
    case.hub.add("acme/gguf", {"m.gguf": path, "other.gguf": small_raw()})
    source = case.source("hf://acme/gguf/m.gguf")
    model = Model(source, source.file)
    table = model.input_table
    before = case.hub.count()
    assert before <= 2  # what the branch means, and the header
    rows = table.rows([2999])
    assert case.hub.count() == before + 1
    expected = gguf.quants.dequantize(gguf.quants.quantize(values[[2999]], Q8_0), Q8_0)
    np.testing.assert_array_equal(rows, expected)
    assert source.cost.bytes < 2 << 20
    assert model.vocabulary.find("t7").id == 7
    assert model.rope.settings.layout == "interleaved"
    assert case.hub.count() == before + 1


# --- Broken files


def broken() -> dict[str, tuple[bytes, str]]:
    """Files that break a promise of the format, and a word of what is said of each."""
    good = small_raw()
    architecture = entry(b"general.architecture", 8, text(b"llama"))
    table = tensor(b"token_embd.weight", (4, 32), 0, 0)
    data = bytes(512)
    return {
        "empty": (b"", "truncated"),
        "another file": (b"PK\x03\x04" + bytes(40), "not a GGUF file"),
        "the format before it": (b"tjgg" + bytes(40), "before GGUF"),
        "version 1": (good[:4] + struct.pack("<I", 1) + good[8:], "version 1"),
        "version 9": (good[:4] + struct.pack("<I", 9) + good[8:], "version 9"),
        "big-endian": (good[:4] + struct.pack(">I", 3) + good[8:], "big-endian"),
        "cut in the header": (good[:100], "truncated"),
        "cut in the data": (good[:-1], "beyond the file's"),
        "a tensor beyond the file": (
            raw([architecture], [tensor(b"x", (4, 32), 0, 1 << 40)], data),
            "beyond the file's",
        ),
        "a tensor beyond any file": (raw([], [tensor(b"x", (1 << 40, 1 << 40), 0, 0)], data), "larger than any file"),
        "counts beyond the file": (raw(counts=(1 << 60, 0)), "more than its bytes"),
        "a key twice": (raw([architecture, architecture], [table], data), "twice"),
        "a tensor twice": (raw([], [table, table], data), "twice"),
        "overlapping tensors": (raw([], [table, tensor(b"y", (4, 32), 0, 32)], bytes(1024)), "overlaps"),
        "an odd offset": (raw([], [tensor(b"x", (4, 32), 0, 1)], bytes(1024)), "multiple of 32"),
        "rows that are no blocks": (raw([], [tensor(b"x", (4, 33), 8, 0)], bytes(1024)), "whole blocks"),
        "five dimensions": (raw([], [tensor(b"x", (1, 1, 1, 1, 1), 0, 0)], data), "5 dimensions"),
        "a name that is not UTF-8": (raw([], [tensor(b"\xff", (4, 32), 0, 0)], data), "UTF-8"),
        "a key that is not UTF-8": (raw([entry(b"\xff", 0, b"\0")], [table], data), "UTF-8"),
        "a value that is not UTF-8": (raw([entry(b"k", 8, text(b"\xff"))], [table], data), "UTF-8"),
        "a type that there is not": (raw([entry(b"k", 99, b"\0")], [table], data), "type 99"),
        "an array of a type that there is not": (raw([entry(b"k", 9, struct.pack("<IQ", 77, 1))]), "type 77"),
        "neither true nor false": (raw([entry(b"k", 7, b"\2")], [table], data), "neither true nor false"),
        "an alignment of 3": (raw([entry(b"general.alignment", 4, struct.pack("<I", 3))], [table], data), "alignment"),
        "arrays in arrays": (raw([entry(b"k", 9, struct.pack("<IQ", 9, 1) * 9)], [], bytes(99)), "nested"),
        "a long key": (raw([entry(b"k" * 70_000, 0, b"\0")]), "limit"),
    }


@pytest.mark.parametrize("name", broken())
def test_a_broken_file_is_refused_in_one_line(run: Program, tmp_path: Path, name: str) -> None:
    content, word = broken()[name]
    (tmp_path / "x.gguf").write_bytes(content)
    run("info", tmp_path / "x.gguf").refused(6, word, "x.gguf")


def test_a_header_beyond_the_limit_is_refused() -> None:
    entries = [entry(b"k", 9, strings([b"x" * 90] * 50_000))]
    source = Memory({"x.gguf": raw(entries)})
    source.header_limit = 2_000_000
    with pytest.raises(FormatError, match="longer than 2,000,000 bytes"):
        read_header(source, "x.gguf")


def test_a_header_longer_than_the_first_step_is_read_whole() -> None:
    entries = [entry(b"k", 9, strings([b"x" * 90] * 50_000))]
    source = Memory({"x.gguf": raw(entries, [tensor(b"t", (4, 32), 0, 0)], bytes(512))})
    header = read_header(source, "x.gguf")
    assert len(header.metadata["k"]) == 50_000
    assert header.metadata["k"][49_999] == "x" * 90
    assert len(source.reads) == 2


def refused_vocabularies() -> dict[str, tuple[list[bytes], str]]:
    """Entries about tokens that make no vocabulary of the four rows, and a word of what is said."""
    kind = entry(b"tokenizer.ggml.model", 8, text(b"llama"))
    tokens = entry(b"tokenizer.ggml.tokens", 9, strings([b"a", b"b", b"c", b"d"]))
    return {
        "shorter than the table": ([kind, entry(b"tokenizer.ggml.tokens", 9, strings([b"a", b"b"]))], "2 tokens"),
        "a piece that is not UTF-8": (
            [kind, entry(b"tokenizer.ggml.tokens", 9, strings([b"a", b"\xff", b"", b"d"]))],
            "UTF-8",
        ),
        "types of other tokens": (
            [kind, tokens, entry(b"tokenizer.ggml.token_type", 9, struct.pack("<IQi", 5, 1, 1))],
            "token_type",
        ),
        "no merges": (
            [entry(b"tokenizer.ggml.model", 8, text(b"gpt2")), entry(b"tokenizer.ggml.pre", 8, text(b"gpt-2")), tokens],
            "without tokenizer.ggml.merges",
        ),
        "merges that are none": (
            [
                entry(b"tokenizer.ggml.model", 8, text(b"gpt2")),
                entry(b"tokenizer.ggml.pre", 8, text(b"gpt-2")),
                entry(b"tokenizer.ggml.merges", 9, strings([b"ab"])),
                tokens,
            ],
            "not two pieces",
        ),
        "a broken table of replacements": (
            [
                entry(b"tokenizer.ggml.model", 8, text(b"t5")),
                entry(b"tokenizer.ggml.precompiled_charsmap", 9, struct.pack("<IQ4B", 0, 4, 9, 9, 9, 9)),
                tokens,
            ],
            "not a table of replacements",
        ),
        "a kind that is a number": ([entry(b"tokenizer.ggml.model", 4, bytes(4)), tokens], "tokenizer.ggml.model"),
    }


@pytest.mark.parametrize("name", refused_vocabularies())
def test_a_broken_vocabulary_is_refused_in_one_line(run: Program, tmp_path: Path, name: str) -> None:
    entries, word = refused_vocabularies()[name]
    architecture = entry(b"general.architecture", 8, text(b"llama"))
    content = raw([architecture, *entries], [tensor(b"token_embd.weight", (4, 32), 0, 0)], bytes(512))
    (tmp_path / "x.gguf").write_bytes(content)
    run("tokens", "-m", tmp_path / "x.gguf", "two words").refused(6, word)


def test_settings_of_the_wrong_type_are_named_by_their_key(run: Program, tmp_path: Path) -> None:
    for key, kind, value in ((b"llama.embedding_length", 8, text(b"x")), (b"llama.rope.freq_base", 8, text(b"x"))):
        entries = [
            entry(b"general.architecture", 8, text(b"llama")),
            entry(b"llama.attention.head_count", 4, struct.pack("<I", 2)),
            *([] if b"embedding" in key else [entry(b"llama.embedding_length", 4, struct.pack("<I", 32))]),
            entry(key, kind, value),
        ]
        (tmp_path / "x.gguf").write_bytes(raw(entries, [tensor(b"token_embd.weight", (4, 32), 0, 0)], bytes(512)))
        run("rope", "-m", tmp_path / "x.gguf").refused(6, key.decode())


KEYS = (
    *("embedding_length", "block_count", "context_length", "attention.head_count", "attention.key_length"),
    *("attention.key_length_swa", "rope.freq_base", "rope.freq_base_swa", "rope.dimension_count"),
    *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier"),
    *("rope.scaling.original_context_length", "rope.dimension_sections", "attention.max_alibi_bias", "embedding_scale"),
)


def value(data: st.DataObject) -> tuple[int, bytes]:
    """Draw a value of the metadata: its type and its bytes."""
    kind = data.draw(st.sampled_from([4, 5, 6, 7, 8, 9]))
    if kind == 9:
        numbers = data.draw(st.lists(st.integers(-3, 70), max_size=4))
        return kind, struct.pack(f"<IQ{len(numbers)}i", 5, len(numbers), *numbers)
    if kind == 8:
        return kind, text(data.draw(st.sampled_from([b"yarn", b"linear", b"longrope", b"none", b"x", b""])))
    if kind == 7:
        return kind, data.draw(st.sampled_from([b"\0", b"\1"]))
    if kind == 6:
        return kind, struct.pack("<f", data.draw(st.floats(width=32)))
    number = data.draw(st.one_of(st.integers(0, 130), st.sampled_from([2**31 - 1, 0, 40])))
    return kind, struct.pack("<I" if kind == 4 else "<i", number)


@given(st.data())
def test_any_values_are_a_config_or_refused(data: st.DataObject) -> None:
    names = ("llama", "gemma3", "gemma4", "deepseek2", "phi3", "baichuan", "mpt", "granite", "minicpm", "qwen2vl", "x")
    architecture = data.draw(st.sampled_from(names)).encode()
    entries = [entry(b"general.architecture", 8, text(architecture))]
    keys = data.draw(st.sets(st.sampled_from(KEYS), max_size=8))
    entries += [entry(architecture + b"." + key.encode(), *value(data)) for key in keys]
    tensors = [tensor(b"token_embd.weight", (4, 32), 0, 0), tensor(b"rope_freqs.weight", (8,), 0, 512)]
    with_factors = data.draw(st.booleans())
    content = raw(entries, tensors if with_factors else tensors[:1], bytes(512) + np.full(8, 2, "<f4").tobytes())
    model = Model(Memory({"x.gguf": content}), "x.gguf")
    try:
        assert model.positions.kind
    except EmbtoolError:
        return


def test_fields_that_single_families_read(tmp_path: Path) -> None:
    model = config_of(tmp_path, "granite", embedding_scale=12.0)
    assert model.config is not None
    assert model.config.embedding_scale is not None
    assert model.config.embedding_scale.multiplier == 12.0
    assert config_of(tmp_path, "baichuan", block_count=40).positions.kind == "alibi"
    assert config_of(tmp_path, "baichuan", block_count=32).positions.kind == "rope"
    assert config_of(tmp_path, "mpt", **{"attention.max_alibi_bias": 8.0}).positions.kind == "alibi"
    yarn = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.attn_factor": 0.5}
    rope = config_of(tmp_path, "qwen2", **yarn, **{"rope.scaling.original_context_length": 512}).rope
    assert rope.frequencies().attention_factor == pytest.approx(0.5 * (0.1 * np.log(4) + 1))
    heads = config_of(tmp_path, "deci", **{"attention.head_count": [4, 0, 4]}).config
    assert heads is not None
    assert heads.num_attention_heads == 4


def test_foreign_strings_are_escaped(run: Program, tmp_path: Path) -> None:
    entries = [entry(b"general.architecture", 8, text(b"\x1b[31mred"))]
    (tmp_path / "x.gguf").write_bytes(raw(entries, [tensor(b"token_embd.weight", (4, 32), 0, 0)], bytes(512)))
    answer = run("info", tmp_path / "x.gguf", "-f", "table").ok()
    assert b"\x1b[31m" not in answer.out + answer.err


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    content = b"GGUF" + data
    try:
        header = read_header(Memory({"x.gguf": content}), "x.gguf")
    except FormatError:
        return
    assert header.tensors is not None


@given(st.data())
def test_a_file_with_some_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(small_raw())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 513))] = data.draw(st.integers(0, 255))
    source = Memory({"x.gguf": bytes(content)})
    model = Model(source, "x.gguf")
    try:
        model.input_table.rows([0])
        _ = model.config
        len(model.vocabulary)
    except EmbtoolError:
        return


def test_parse_header_says_what_a_checkpoint_holds() -> None:
    content = small_raw()
    header = parse_header(content, file_size=len(content), shard="x.gguf")
    assert list(header.tensors) == ["token_embd.weight"]
    assert header.tensors["token_embd.weight"].shape == (4, 32)
    checkpoint = GgufCheckpoint(Memory({"x.gguf": content}), ["x.gguf"])
    with pytest.raises(TableNotFound, match="nothing"):
        checkpoint.tensor("nothing")
    assert checkpoint.names == ("token_embd.weight",)
    assert gguf_files.ALIGNMENT == 32
