from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from small_models import Tensor, safetensors
from sources import Memory

from embtool.configs.config import parse_config_text
from embtool.errors import FormatError, TableNotFound, TokenIdOutOfRange, UnsupportedDType
from embtool.formats.safetensors import open_file
from embtool.tables.table_roles import TABLE_NAMES, Tables, find_tables

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 20, "hidden_size": 4}


def tensor(rows: int = 20, width: int = 4, seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).standard_normal((rows, width)).astype("<f4")
    return "F32", values.shape, values.tobytes()


def tables(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Tables:
    checkpoint = open_file(Memory({"model.safetensors": safetensors(tensors)}), "model.safetensors")
    parsed = None if config is None else parse_config_text(json_of(config), file="config.json")
    return find_tables(checkpoint, parsed)


def json_of(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config).encode()


def named(found: Tables) -> dict[str, str]:
    return {table.role: table.tensor.name for table in found.stored}


@pytest.mark.parametrize("end", TABLE_NAMES["input"])
def test_every_known_name_is_found_alone(end: str) -> None:
    for name in (end, f"model.{end}"):
        assert named(tables({name: tensor(), "model.norm.weight": ("F32", (4,), bytes(16))})).get("input") == name


FOUND: dict[str, tuple[dict[str, Tensor], dict[str, Any] | None, dict[str, str]]] = {
    "llama": (
        {"model.embed_tokens.weight": tensor(), "lm_head.weight": tensor(seed=1)},
        LLAMA,
        {"input": "model.embed_tokens.weight", "output": "lm_head.weight"},
    ),
    "multi-token prediction beside it": (
        {"mtp.layers.0.embed_tokens.weight": tensor(), "model.embed_tokens.weight": tensor()},
        LLAMA,
        {"input": "model.embed_tokens.weight", "mtp_input": "mtp.layers.0.embed_tokens.weight"},
    ),
    "a vision tower first": (
        {
            "model.visual.embed_tokens.weight": tensor(),
            "wte.weight": tensor(),
        },
        None,
        {"input": "wte.weight", "vision_input": "model.visual.embed_tokens.weight"},
    ),
    "the shortest path wins": (
        {"a.b.c.embed_tokens.weight": tensor(), "model.embed_tokens.weight": tensor()},
        LLAMA,
        {"input": "model.embed_tokens.weight", "other_input": "a.b.c.embed_tokens.weight"},
    ),
    "the size of the config wins": (
        {"embed_tokens.weight": tensor(500), "model.text.embed_tokens.weight": tensor(21)},
        LLAMA,
        {"input": "model.text.embed_tokens.weight", "other_input": "embed_tokens.weight"},
    ),
    "the tensor wins where no size fits": (
        {"model.embed_tokens.weight": tensor(50)},
        LLAMA,
        {"input": "model.embed_tokens.weight"},
    ),
    "gpt2": (
        {"wte.weight": tensor(), "wpe.weight": tensor(8), "h.0.mlp.weight": tensor()},
        None,
        {"input": "wte.weight", "position": "wpe.weight"},
    ),
    "no table": ({"model.norm.weight": ("F32", (4,), bytes(16))}, LLAMA, {}),
    "a head of another size is no head": (
        {"model.embed_tokens.weight": tensor(), "score.decoder.weight": tensor(2)},
        LLAMA,
        {"input": "model.embed_tokens.weight"},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_tables_are_found(case: str) -> None:
    tensors, config, expected = FOUND[case]
    assert named(tables(tensors, config)) == expected


TYING: dict[str, tuple[dict[str, Tensor], dict[str, Any], tuple[bool | None, str, str]]] = {
    "untied": (
        {"model.embed_tokens.weight": tensor(), "lm_head.weight": tensor(seed=1)},
        {"tie_word_embeddings": False},
        (False, "both", "untied"),
    ),
    "one stored": ({"model.embed_tokens.weight": tensor()}, {"tie_word_embeddings": True}, (True, "input", "tied")),
    "stored twice": (
        {"model.embed_tokens.weight": tensor(), "lm_head.weight": tensor()},
        {"tie_word_embeddings": True},
        (True, "both", "tied"),
    ),
    "the config lies": (
        {"model.embed_tokens.weight": tensor(), "lm_head.weight": tensor(seed=1)},
        {"tie_word_embeddings": True},
        (True, "both", "untied"),
    ),
    "only the head is stored": ({"lm_head.weight": tensor()}, {"tie_word_embeddings": True}, (True, "output", "tied")),
    "a head is missing": (
        {"model.embed_tokens.weight": tensor()},
        {"tie_word_embeddings": False},
        (False, "input", "no output table"),
    ),
    "a model without a head": (
        {"embeddings.word_embeddings.weight": tensor()},
        {"model_type": "bert", "architectures": ["BertModel"], "tie_word_embeddings": True},
        (True, "input", "no output table"),
    ),
}


@pytest.mark.parametrize("case", TYING)
def test_tying_believes_the_tensors(case: str) -> None:
    tensors, config, expected = TYING[case]
    tying = tables(tensors, {**LLAMA, **config}).tying
    assert (tying.config, tying.stored, tying.verdict) == expected


def test_a_tied_output_table_is_the_input_table() -> None:
    found = tables({"model.embed_tokens.weight": tensor()}, {**LLAMA, "tie_word_embeddings": True})
    output = found.find("output")
    assert (output.role, output.tensor) == ("output", found.find("input").tensor)


def test_a_table_is_found_by_its_tensor_too() -> None:
    found = tables({"model.embed_tokens.weight": tensor(), "lm_head.weight": tensor(seed=1)}, LLAMA)
    assert found.find("lm_head.weight").role == "output"
    with pytest.raises(TableNotFound, match="no position table") as caught:
        found.find("position")
    assert "input (model.embed_tokens.weight), output (lm_head.weight)" in str(caught.value.hint)


def test_rows_come_in_the_order_asked() -> None:
    values = np.random.default_rng(0).standard_normal((20, 4)).astype("<f4")
    table = tables({"model.embed_tokens.weight": tensor()}, LLAMA).find("input")
    assert table.shape == (20, 4)
    assert np.array_equal(table.rows([3, 19, 0, 3]), values[[3, 19, 0, 3]])
    assert table.rows([]).shape == (0, 4)


@pytest.mark.parametrize("row", [-1, 20, 10**30])
def test_a_row_out_of_range_names_the_range(row: int) -> None:
    table = tables({"model.embed_tokens.weight": tensor()}, LLAMA).find("input")
    with pytest.raises(TokenIdOutOfRange, match=f"no row {row} in model.embed_tokens.weight: the ids are 0 to 19"):
        table.rows([0, row])


@pytest.mark.parametrize(
    ("odd", "kind", "word"),
    [
        (("F32", (20, 2, 2), bytes(320)), FormatError, "20 × 2 × 2"),
        (("F32", (20,), bytes(80)), FormatError, "20"),
        (("F32", (), bytes(4)), FormatError, "scalar"),
        (("F32", (20, 0), b""), FormatError, "20 × 0"),
        (("I64", (20, 1), bytes(160)), UnsupportedDType, "I64"),
        (("F4", (20, 4), bytes(40)), UnsupportedDType, "F4"),
    ],
)
def test_a_table_that_is_none_is_found_and_refused_by_name(odd: Tensor, kind: type[Exception], word: str) -> None:
    table = tables({"model.embed_tokens.weight": odd}, LLAMA).find("input")
    with pytest.raises(kind, match=r"model\.embed_tokens\.weight") as caught:
        table.rows([0])
    assert word in str(caught.value)


def test_an_empty_table_has_no_ids() -> None:
    table = tables({"model.embed_tokens.weight": ("F32", (0, 4), b"")}, None).find("input")
    with pytest.raises(TokenIdOutOfRange, match="the table is empty"):
        table.rows([0])
