"""What the first block reads, put together from the tables of small models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import bfloat16, float32, table, write_single

from embtool.errors import TableNotFound, TokenIdOutOfRange
from embtool.model import Model, open_model
from embtool.tables.sequence import InputSequence, read_sequence, sequence_tables

WIDTH = 16
ROWS = 8


def model(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> Model:
    write_single(folder, dict(tensors), config=dict(config))
    return open_model(folder)


def read(opened: Model, ids: list[int], *, start: int = 0) -> InputSequence:
    tables = sequence_tables(opened.tables, opened.positions, opened.config)
    return read_sequence(ids, tables, opened.positions, opened.config, start=start)


TOKENS = table("input", rows=ROWS)
PLACES = table("position", rows=6)


def gpt2(folder: Path) -> Model:
    tensors = {
        "wte.weight": ("F32", TOKENS.shape, float32(TOKENS)),
        "wpe.weight": ("F32", PLACES.shape, float32(PLACES)),
    }
    sizes = {"vocab_size": ROWS, "n_embd": WIDTH, "n_head": 2, "n_layer": 1, "n_positions": 6}
    return model(folder, {"model_type": "gpt2", **sizes}, tensors)


def test_gpt2_adds_the_row_of_the_position(tmp_path: Path) -> None:
    found = read(gpt2(tmp_path / "m"), [3, 3, 5])
    assert np.array_equal(found.rows, TOKENS[[3, 3, 5]] + PLACES[[0, 1, 2]])
    assert found.position_norms is not None
    assert found.position_norms == pytest.approx(np.linalg.norm(PLACES[:3], axis=1))
    assert found.positions == (0, 1, 2)
    assert not np.array_equal(found.rows[0], found.rows[1])


def test_a_sequence_can_start_later(tmp_path: Path) -> None:
    found = read(gpt2(tmp_path / "m"), [3], start=4)
    assert np.array_equal(found.rows, TOKENS[[3]] + PLACES[[4]])


def test_a_position_without_a_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenIdOutOfRange, match=r"position 6 has no row in wpe\.weight: it holds 6 positions"):
        read(gpt2(tmp_path / "m"), [0] * 7)


def test_bert_adds_its_token_type_too_and_a_norm_follows(tmp_path: Path) -> None:
    types = table("token_type", rows=2)
    tensors = {
        "bert.embeddings.word_embeddings.weight": ("F32", TOKENS.shape, float32(TOKENS)),
        "bert.embeddings.position_embeddings.weight": ("F32", PLACES.shape, float32(PLACES)),
        "bert.embeddings.token_type_embeddings.weight": ("F32", types.shape, float32(types)),
    }
    sizes = {"vocab_size": ROWS, "hidden_size": WIDTH, "max_position_embeddings": 6, "num_attention_heads": 2}
    found = read(model(tmp_path / "m", {"model_type": "bert", **sizes}, tensors), [1, 2])
    assert np.array_equal(found.rows, TOKENS[[1, 2]] + PLACES[[0, 1]] + types[0])
    assert found.followed_by == "LayerNorm"


def test_opt_looks_positions_up_two_rows_further(tmp_path: Path) -> None:
    tensors = {
        "model.decoder.embed_tokens.weight": ("F32", TOKENS.shape, float32(TOKENS)),
        "model.decoder.embed_positions.weight": ("F32", PLACES.shape, float32(PLACES)),
    }
    sizes = {"vocab_size": ROWS, "hidden_size": WIDTH, "max_position_embeddings": 4, "num_attention_heads": 2}
    opened = model(tmp_path / "m", {"model_type": "opt", **sizes}, tensors)
    assert np.array_equal(read(opened, [1, 2]).rows, TOKENS[[1, 2]] + PLACES[[2, 3]])
    with pytest.raises(TokenIdOutOfRange, match="it holds 4 positions"):
        read(opened, [0] * 5)


def test_a_projection_between_token_and_position_is_said(tmp_path: Path) -> None:
    narrow = np.ascontiguousarray(TOKENS[:, :8])
    tensors = {
        "model.decoder.embed_tokens.weight": ("F32", narrow.shape, float32(narrow)),
        "model.decoder.embed_positions.weight": ("F32", PLACES.shape, float32(PLACES)),
    }
    sizes = {"vocab_size": ROWS, "hidden_size": WIDTH, "word_embed_proj_dim": 8, "max_position_embeddings": 4}
    found = read(model(tmp_path / "m", {"model_type": "opt", **sizes}, tensors), [1])
    assert found.position_rows is None
    assert found.notes == ("rows of 8 numbers are projected to 16 before the position is added: the sum is not shown",)


def llama_like(folder: Path, **config: Any) -> Model:
    tensors = {"model.embed_tokens.weight": ("BF16", TOKENS.shape, bfloat16(TOKENS))}
    sizes = {"vocab_size": ROWS, "hidden_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 1}
    return model(folder, {**sizes, **config}, tensors)


def test_rotary_models_read_the_rows_as_they_are(tmp_path: Path) -> None:
    found = read(llama_like(tmp_path / "m", model_type="llama"), [4, 4])
    assert np.array_equal(found.rows, TOKENS[[4, 4]])
    assert (found.position_kind, found.position_rows, found.scale) == ("rope", None, 1.0)
    assert found.cosines == pytest.approx([1, 1])


def test_gemma_multiplies_rows_by_a_rounded_square_root(tmp_path: Path) -> None:
    opened = llama_like(tmp_path / "m", model_type="gemma")
    assert opened.config is not None
    found = read(opened, [4])
    assert found.scale == 4.0  # sqrt(16)
    assert np.array_equal(found.rows, 4 * TOKENS[[4]])


def test_granite_multiplies_rows_by_its_multiplier(tmp_path: Path) -> None:
    found = read(llama_like(tmp_path / "m", model_type="granite", embedding_multiplier=12.0), [4])
    assert found.scale == 12
    assert found.token_norms == pytest.approx(12 * np.linalg.norm(TOKENS[4]))


def test_sinusoids_are_added_without_a_table(tmp_path: Path) -> None:
    tensors = {"model.shared.weight": ("F32", TOKENS.shape, float32(TOKENS))}
    sizes = {"vocab_size": ROWS, "d_model": WIDTH, "max_position_embeddings": 4, "decoder_attention_heads": 2}
    found = read(model(tmp_path / "m", {"model_type": "marian", **sizes}, tensors), [4])
    assert found.rows[0] - TOKENS[4] == pytest.approx([0] * 8 + [1] * 8)


def test_a_learned_table_that_is_not_stored_is_an_error(tmp_path: Path) -> None:
    tensors = {"wte.weight": ("F32", TOKENS.shape, float32(TOKENS))}
    opened = model(tmp_path / "m", {"model_type": "gpt2", "n_embd": WIDTH, "n_head": 2}, tensors)
    with pytest.raises(TableNotFound, match=r"none is stored beside model\.safetensors"):
        read(opened, [1])


def test_a_zero_row_has_no_cosine(tmp_path: Path) -> None:
    zeros = np.zeros((2, WIDTH))
    tensors = {"model.embed_tokens.weight": ("F32", zeros.shape, float32(zeros))}
    opened = model(tmp_path / "m", {"model_type": "llama", "hidden_size": WIDTH, "num_attention_heads": 2}, tensors)
    assert np.isnan(read(opened, [0]).cosines).all()
