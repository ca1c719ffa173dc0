"""Tables per layer, of multi-token prediction, of other stacks and towers: what they are, and their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_models import write_json

from embtool import open_model
from embtool.errors import TableNotFound
from embtool.formats.ggml import type_of
from embtool.storage.checkpoint import TensorInfo
from embtool.tables.further_tables import further_role, one_layer

LAYERS, TOKENS, WIDTH, EACH = 3, 40, 16, 8

CONFIG = {
    "model_type": "gemma3n_text",
    "architectures": ["Gemma3nForCausalLM"],
    "vocab_size": TOKENS,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "head_dim": 8,
}


def numbers(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(at: Path, tensors: dict[str, np.ndarray[Any, Any]], **changes: Any) -> Path:
    at.mkdir(exist_ok=True)
    save_file({"model.embed_tokens.weight": numbers(TOKENS, WIDTH), **tensors}, at / "model.safetensors")
    write_json(at / "config.json", {**CONFIG, **changes})
    return at


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_layer_of_a_table_per_layer_is_its_columns(tmp_path: Path, kind: Any) -> None:
    whole = numbers(TOKENS, LAYERS * EACH, seed=1).astype(kind)
    with open_model(model_of(tmp_path / "m", {"model.embed_tokens_per_layer.weight": whole})) as model:
        table = model.tables.find("per_layer:1")
        mine = whole[:, EACH : 2 * EACH].astype(np.float32)
        assert table.shape == (TOKENS, EACH)
        np.testing.assert_array_equal(table.rows([5, 0, 5, 39]), mine[[5, 0, 5, 39]])
        np.testing.assert_array_equal(np.asarray(table), mine)
        near = [entry.id for entry in model.neighbors("id:7", 5, table="per_layer:1").neighbors]
        unit = mine / np.linalg.norm(mine, axis=1, keepdims=True)
        scores = unit @ unit[7]
        assert near == [int(row) for row in np.argsort(-scores) if row != 7][:5]


def test_what_a_table_per_layer_is_worth_is_told(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens_per_layer.weight": numbers(TOKENS, LAYERS * EACH)}
    with open_model(model_of(tmp_path / "m", tensors)) as model:
        (told,) = (table for table in model.info().tables if table.role == "per_layer")
    assert told.per_layer == (LAYERS, EACH)
    assert told.multiplied_by == pytest.approx(EACH**0.5)


@pytest.mark.parametrize(
    ("role", "says"), [("per_layer:3", "the layers are 0 to 2"), ("per_layer:x", "has no per_layer:x table")]
)
def test_a_layer_that_is_not_there_is_named(tmp_path: Path, role: str, says: str) -> None:
    tensors = {"model.embed_tokens_per_layer.weight": numbers(TOKENS, LAYERS * EACH)}
    with open_model(model_of(tmp_path / "m", tensors)) as model, pytest.raises(TableNotFound, match=says):
        model.tables.find(role)


def test_columns_that_no_layers_share_are_refused(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens_per_layer.weight": numbers(TOKENS, LAYERS * EACH + 1)}
    with open_model(model_of(tmp_path / "m", tensors)) as model, pytest.raises(TableNotFound, match="told apart"):
        model.tables.find("per_layer:0")


def test_heads_of_multi_token_prediction_are_listed_and_held_against_the_tables(tmp_path: Path) -> None:
    head, other = numbers(TOKENS, WIDTH, seed=2), numbers(TOKENS, WIDTH, seed=3)
    tensors = {
        "lm_head.weight": head,
        f"model.layers.{LAYERS}.embed_tokens.weight": numbers(TOKENS, WIDTH),
        f"model.layers.{LAYERS}.shared_head.head.weight": other,
        f"model.layers.{LAYERS}.eh_proj.weight": other,
        "model.layers.0.mlp.up_proj.weight": other,
    }
    at = model_of(tmp_path / "m", tensors, model_type="deepseek_v3", architectures=["DeepseekV3ForCausalLM"])
    with open_model(at) as model:
        told = {table.role: table.same_as for table in model.info().tables}
        assert told == {"input": None, "output": None, "mtp_input": "input", "mtp_output": None}
        np.testing.assert_array_equal(model.tables.find("mtp_output").rows([3]), other[3:4])


def test_positions_of_a_vision_tower_are_rows(tmp_path: Path) -> None:
    places = numbers(1, 9, WIDTH)
    with open_model(model_of(tmp_path / "m", {"visual.pos_embed": places})) as model:
        for name in ("vision_position", "visual.pos_embed"):
            np.testing.assert_array_equal(model.tables.find(name).rows([8, 2]), places[0, [8, 2]])
        assert model.vocabulary_of(model.tables.find("vision_position")) is None


@pytest.mark.parametrize(("width", "cut"), [(256, True), (128, False)])
def test_a_quantised_table_per_layer_is_cut_where_blocks_end(width: int, *, cut: bool) -> None:
    kind = type_of(14)  # Q6_K
    whole = TensorInfo("per_layer_token_embd.weight", "m.gguf", kind, (4, 2 * width), 0, 0)
    if cut:
        assert one_layer(whole, 1, 2).row_bytes == kind.nbytes(width)
        return
    with pytest.raises(TableNotFound, match="blocks"):
        one_layer(whole, 1, 2)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.61.embed_tokens.weight", "mtp_input"),
        ("blk.61.nextn.shared_head_head.weight", "mtp_output"),
        ("mtp.embed_tokens.weight", "mtp_input"),
        ("model.encoder.embed_tokens.weight", "encoder_input"),
        ("model.decoder.embed_positions.weight", "decoder_position"),
        ("text_encoder.shared.weight", "encoder_input"),
        ("decoder.embed_tokens.3.weight", "decoder_input"),
        ("model.audio_tower.embed_positions.weight", "audio_position"),
        ("backbone_model.embed_tokens.embed_audio_tokens.weight", "other_codes"),
        ("luke.entity_embeddings.entity_embeddings.weight", "other_embedding"),
        ("model.embed_vision.embedding_projection.weight", None),
        ("vision_model.embeddings.patch_embedding.bias", None),
        ("model.layers.3.self_attn.q_proj.weight", None),
        ("model.layers.3.input_layernorm.weight", None),
        ("lm_head.bias", None),
        ("base_model.model.model.embed_tokens.lora_embedding_A", None),
    ],
)
def test_the_role_of_a_name(name: str, role: str | None) -> None:
    assert further_role(name, 61) == role


@pytest.mark.parametrize(("stack", "other"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_of_two_stacks_the_positions_are_those_beside_the_rows(tmp_path: Path, stack: str, other: str) -> None:
    """As BlenderbotSmall has them where nothing is tied; no type is recorded here."""
    tensors = {
        f"model.{stack}.embed_tokens.weight": numbers(TOKENS, WIDTH),
        **{f"model.{each}.embed_positions.weight": numbers(30, WIDTH) for each in (stack, other)},
    }
    folder = model_of(tmp_path / "m", {}, model_type="unheard-of")
    save_file(tensors, folder / "model.safetensors")
    with open_model(folder) as model:
        stored = {table.role: table.tensor.name for table in model.tables.stored}
    assert stored["position"] == f"model.{stack}.embed_positions.weight"
    assert stored[f"{other}_position"] == f"model.{other}.embed_positions.weight"
