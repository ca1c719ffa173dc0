"""Inputs that fuzzing has found, each the smallest of its kind: read, or refused in one line, quickly.

Each was once an exception of Python or of a library, a warning on the terminal, seconds of work or gigabytes of memory.
The reader of each is a target in fuzz/, which also says what must hold where an input is accepted.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from effort import within
from small_models import safetensors
from sources import Memory

from embtool.configs.config import parse_config
from embtool.errors import EmbtoolError, FormatError
from embtool.formats import open_checkpoint, whole_tables
from embtool.tables.vectors import parse_vectors
from embtool.vocabulary import Vocabulary, read_vocabulary
from embtool.vocabulary.index import SCHEMA
from fuzz.engine import load
from fuzz.vocabularies import isolated

TARGETS = load()


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + data


def config(**fields: Any) -> bytes:
    usual = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    return text({**usual, "max_position_embeddings": 4096, "vocab_size": 100, **fields})


def yarn(**fields: Any) -> bytes:
    return config(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, **fields})


def gguf(*metadata: Any, tensors: Any = (), family: str = "llama") -> bytes:
    usual = ([f"{family}.embedding_length", 4, 32], [f"{family}.attention.head_count", 4, 2])
    named = {key: (kind, value) for key, kind, value in (*usual, *metadata)}
    listed = [[key, *value] for key, value in named.items()]
    return text({"metadata": [["general.architecture", 8, family], *listed], "tensors": list(tensors)})


NESTED = [9, [[4, [1, 2]], [4, [3, 4]]]]
PIECES = ["tokenizer.ggml.tokens", 9, [8, ["<unk>", "a", "b", "ab"]]]


def added(content: str, identity: str = "1") -> dict[str, Any]:
    return {"tokenizer_config.json": {"added_tokens_decoder": {identity: {"content": content}}}}


TRAITS = [None, None, None, True, False]


def index_of_bytes() -> bytes:
    database = sqlite3.connect(":memory:")
    with contextlib.closing(database):
        database.executescript(SCHEMA)
        database.execute("INSERT INTO tokens VALUES (0, x'61')")
        for name, value in (("ids", bytes(8)), ("added", b"{}"), ("traits", text(TRAITS))):
            database.execute("INSERT INTO facts VALUES (?, ?)", (name, value))
        database.commit()
        return database.serialize()


def index(tokens: Any = (), ids: Any = (0,), added: Any = None, traits: Any = TRAITS) -> bytes:
    facts = [["ids", ids], ["added", {} if added is None else added], ["traits", traits]]
    return text({"tokens": list(tokens), "facts": facts})


FINDS: dict[str, tuple[str, bytes]] = {
    "npy of 2^40 rows without columns: a list of them filled the memory": (
        "vectors",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 0)}"),
    ),
    "npy of 80-bit floats whose bits are none: a warning": (
        "vectors",
        npy("{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", b"\x01" * 16),
    ),
    "a line of commas was a vector without numbers": ("vectors", b","),
    "npy without numbers was a vector": (
        "vectors",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0,)}"),
    ),
    "a range in the cache of more bytes than a file can have: OverflowError": (
        "ranges",
        text({"heads": {"0-9999999999999999999.range": 0}}),
    ),
    "a range of a terabyte: MemoryError": ("ranges", text({"heads": {"0-1099511627776.range": 0}})),
    "a listing in the cache with a size below zero": ("sidecars", text({"listing": {"x": -1}})),
    "a journal whose last claim has the highest number there is: struct.error at the next": (
        "journal",
        text({"slots": [{"sequence": 2**64 - 1, "bitmap": 1}, {}]}),
    ),
    "a template with a token that is not among the special ones: a panic of Rust code": (
        "splitting",
        text(
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
                    "special_tokens": {},
                },
                "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
            }
        ),
    ),
    "an added token whose id is a superscript: ValueError": (
        "tokenizer-files",
        text({"x.tiktoken": "YQ== 0", **added("x", "²")}),
    ),
    "an added token whose id has 5000 digits: ValueError": (
        "tokenizer-files",
        text({"x.tiktoken": "YQ== 0", **added("x", "9" * 5000)}),
    ),
    "an added token that is half of a character: UnicodeEncodeError": (
        "tokenizer-files",
        text({"vocab.txt": "a", **added("\ud800")}),
    ),
    "an id of 2^31 in vocab.json: the library counted up to it, 90 seconds": (
        "tokenizer-files",
        text({"vocab.json": {"a": 2**31 - 1}, "merges.txt": ""}),
    ),
    "a piece of SentencePiece that is not UTF-8: UnicodeDecodeError": (
        "sentencepiece",
        b"\x0a\x09\x0a\5<unk>\x18\2\x0a\3\x0a\1\xff",
    ),
    "merges that are a number: TypeError": (
        "gguf-splitting",
        gguf(
            ["tokenizer.ggml.model", 8, "gpt2"],
            ["tokenizer.ggml.pre", 8, "qwen2"],
            PIECES,
            ["tokenizer.ggml.merges", 4, 3],
        ),
    ),
    "a piece of 200,000 letters, cut at every place: quadratic": (
        "gguf-splitting",
        gguf(["tokenizer.ggml.model", 8, "llama"], ["tokenizer.ggml.tokens", 9, [8, ["a" * 200_000, "a"]]]),
    ),
    "split.count is a list: ValueError": ("gguf-fields", gguf(["split.count", 9, [4, [1, 2]]])),
    "the heads are lists of lists: ValueError": ("gguf-fields", gguf(["llama.attention.head_count", 9, NESTED])),
    "the length is a list of lists: ValueError": ("gguf-fields", gguf(["llama.context_length", 9, NESTED])),
    "the axes are lists of lists: ValueError": (
        "gguf-fields",
        gguf(["qwen2vl.rope.dimension_sections", 9, NESTED], family="qwen2vl"),
    ),
    "a tensor without dimensions of a type of blocks had no bytes": ("gguf-fields", gguf(tensors=[["x", [], 2, None]])),
    "a scale of infinity times a code of zero: a warning": (
        "gguf-fields",
        gguf(tensors=[["token_embd.weight", [8, 2048], 8, None]]),
    ),
    "beta_fast near zero: OverflowError": ("config", yarn(beta_fast=1e-320)),
    "beta_slow beyond all numbers of turns: ValueError": ("config", yarn(beta_slow=1e308)),
    "mscale that makes vectors negative": ("config", yarn(mscale=-1000.0, mscale_all_dim=1.0)),
    "mscale_all_dim that makes a division by zero": (
        "config",
        yarn(factor=22026.465794806718, mscale=1.0, mscale_all_dim=-1.0),
    ),
    "a share of 1e308 of a head: OverflowError": ("config", config(model_type="phi", partial_rotary_factor=1e308)),
    "two thousand million channels of sines: 16 GB": (
        "config",
        config(model_type="xglm", hidden_size=2**31 - 1),
    ),
    "1000 kinds of layer, each looked for in 100,000 layers: quadratic": (
        "config",
        config(
            model_type="x",
            num_hidden_layers=100_000,
            rope_parameters={f"kind{number}": {"rope_theta": 1e4} for number in range(1000)},
        ),
    ),
    "8,000 added tokens: the library was asked to look at all of them for each": (
        "tokenizer-files",
        text(
            {
                "vocab.txt": "a",
                "tokenizer_config.json": {
                    "added_tokens_decoder": {str(number): {"content": f"<{number}>"} for number in range(1, 8001)}
                },
            }
        ),
    ),
    "20,000 digits that are no number: an expression that tried every way to cut them": (
        "static",
        b"a " + b"1" * 20_000 + b"x 1\n",
    ),
    "65,536 layers of a Llama 4: a set was made for each of them, an hour": (
        "config",
        config(model_type="llama4_text", num_hidden_layers=65_536),
    ),
    "an index whose added tokens are a list: AttributeError": ("index", index(added=[1])),
    "an index whose added token is a number: AttributeError": (
        "index",
        index(tokens=[[1, "a"]], ids=[1], added={"1": [1e9, True]}),
    ),
    "an index whose added token is a list: TypeError": ("index", index(added={"1": [[], True]})),
    "an index whose added token has an id beyond all integers of eight bytes: OverflowError": (
        "index",
        index(added={str(2**64): ["x", True]}),
    ),
    "an index whose ids are a number: TypeError": ("index", index(ids=3)),
    "an index whose piece is bytes: AttributeError": ("index", index_of_bytes()),
}

SECONDS = 2.0
"""Enough for a slow machine; what was too slow took far longer, or grew with its input's square."""


@pytest.mark.parametrize("find", FINDS)
def test_a_find_is_read_or_refused_in_one_line(find: str) -> None:
    target, case = FINDS[find]

    def read() -> EmbtoolError | None:
        try:
            TARGETS[target].run(case)
        except EmbtoolError as error:
            return error
        return None

    refusal = within(SECONDS, read)
    assert refusal is None or ("\n" not in refusal.message and len(refusal.message) < 400)


def test_a_line_of_seven_zeros_is_seven_numbers() -> None:
    """It was taken for a line of `row`, because the length of (0) is 0."""
    (vector,) = parse_vectors(b"\t".join([b"0.0"] * 7), file="x")
    assert vector.name is None
    assert vector.values.tolist() == [0.0] * 7


def test_a_scale_of_infinity_beside_a_code_of_zero_is_nan_without_a_word() -> None:
    """It was a warning on the terminal; NaN is counted where it is shown."""
    config = parse_config({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})
    tensors = {
        "lm_head.weight": ("F8_E4M3", (2, 32), bytes(64)),
        "lm_head.weight_scale_inv": ("F32", (1, 1), np.array([np.inf], "<f4").tobytes()),
    }
    checkpoint = whole_tables(open_checkpoint(Memory({"model.safetensors": safetensors(tensors)})), config)
    table = checkpoint.tensor("lm_head.weight")
    assert np.isnan(table.dtype.to_float32(checkpoint.rows(table, [0, 1]))).all()


def lengthening(*steps: dict[str, object]) -> Vocabulary:
    """A tokenizer whose normalizer takes these steps."""
    state: dict[str, object] = {
        "model": {"type": "BPE", "vocab": {"<unk>": 0, "a": 1, "▁": 2}, "merges": [], "unk_token": "<unk>"},
        "normalizer": {"type": "Sequence", "normalizers": list(steps)},
    }
    return read_vocabulary(Memory({"tokenizer.json": json.dumps(state).encode()}))


BETWEEN = {"type": "Replace", "pattern": {"String": ""}, "content": "▁"}
TWICE = {"type": "Replace", "pattern": {"Regex": "a"}, "content": "aa"}


@pytest.mark.parametrize("step", [BETWEEN, TWICE])
@pytest.mark.slow
def test_a_normalizer_that_doubles_a_text_at_every_step_is_refused(step: dict[str, object]) -> None:
    """It was two to the thirty-second characters, and the end of the process."""
    vocabulary = lengthening(*[step] * 32)

    def refuse() -> None:
        for split in (vocabulary.encode, lambda text: vocabulary.encode_each([text])):
            with pytest.raises(FormatError, match=r", at step \d+ of its normalizer, Replace"):
                split("ab")

    within(SECONDS, refuse)


def test_a_normalizer_that_only_could_lengthen_a_text_splits_it() -> None:
    spaces: dict[str, object] = {"type": "Replace", "pattern": {"Regex": " +"}, "content": "▁"}
    vocabulary = lengthening(*[spaces] * 32)
    assert [token.piece for token in vocabulary.encode("a  a")] == ["a", "▁", "a"]
    assert vocabulary.encode_each(["a a"]) == [[1, 2, 1]]
