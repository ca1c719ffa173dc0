"""`--through-norm` against toy checkpoints of transformers, whose own last norm and output layer were run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from program import Program
from safetensors.numpy import save_file
from small_models import write_json

import embtool
from embtool.errors import ConfigError, FormatError, TableNotFound
from embtool.tables.final_norm import IN_A_LAYER, recorded_norms

TOYS: Mapping[str, Any] = json.loads(
    gzip.decompress((Path(__file__).parent / "data" / "final_norms.json.gz").read_bytes())
)
INPUTS = {"gptj": "transformer.wte.weight"}


def write_toy(folder: Path, kind: str, **changes: Any) -> Path:
    toy = TOYS[kind]
    folder.mkdir()
    tensors = {name: np.array(values, np.float32) for name, values in toy["tensors"].items()}
    if "lm_head.weight" in tensors:
        tensors[INPUTS.get(kind, "model.embed_tokens.weight")] = np.zeros_like(tensors["lm_head.weight"])
    save_file(
        {name: values for name, values in tensors.items() if changes.get(name, 0) is not None},
        folder / "model.safetensors",
    )
    config = {**toy["config"], **{key: value for key, value in changes.items() if "." not in key}}
    write_json(folder / "config.json", {key: value for key, value in config.items() if value is not None})
    np.save(folder / "vectors.npy", np.array(toy["vectors"], np.float32))
    return folder


@pytest.mark.parametrize("kind", TOYS)
def test_the_lens_is_the_models_own(run: Program, tmp_path: Path, kind: str) -> None:
    folder = write_toy(tmp_path / "toy", kind)
    scores = np.array(TOYS[kind]["scores"])
    bias = np.array(TOYS[kind]["tensors"].get("lm_head.bias", 0.0))
    answer = run(
        *("neighbors", "--vector", folder / "vectors.npy", "--through-norm", "-k", "5", "-m", folder, "--json")
    ).ok()
    assert answer.document["against"] == "output"
    assert answer.document["metric"] == "dot"
    for query, wanted in zip(answer.document["queries"], scores - bias, strict=True):
        order = np.argsort(-wanted, kind="stable")[:5]
        assert [near["id"] for near in query["neighbors"]] == order.tolist()
        np.testing.assert_allclose([near["score"] for near in query["neighbors"]], wanted[order], rtol=1e-4, atol=1e-3)
        assert query["through_norm"]
    assert any("raw logit lens" in note for note in answer.of("note"))
    assert any("lm_head.bias" in note for note in answer.of("note")) == (kind == "gptj")
    with embtool.open_model(folder) as model:
        first = model.neighbors(np.array(TOYS[kind]["vectors"][0]), 5, through_norm=True)
        assert [near.id for near in first] == [near["id"] for near in answer.document["queries"][0]["neighbors"]]
        (one, other) = embtool.read_vectors(folder / "vectors.npy")
        made = model.final_norm.apply(np.stack([one.values, other.values]))
    np.testing.assert_allclose(made[0] @ np.array(head_of(kind)).T + bias, scores[0], rtol=1e-4, atol=1e-3)


def head_of(kind: str) -> Any:
    tensors = TOYS[kind]["tensors"]
    return tensors.get("lm_head.weight") or next(
        held for name, held in tensors.items() if name.endswith(("wte.weight", "embed_tokens.weight"))
    )


def test_the_answer_says_what_it_is(run: Program, tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", "llama")
    line = ("neighbors", "--vector", folder / "vectors.npy", "--through-norm", "-k", "2", "-m", folder)
    shown = run(*line, "-f", "table", "--explain").ok().text
    assert "raw lens through model.norm.weight" in " ".join(shown.split())
    assert "No block was run" in " ".join(shown.split())
    cosine = run(*line, "--metric", "cosine", "--against", "input", "--json").ok().document
    assert (cosine["metric"], cosine["against"]) == ("cosine", "input")


def test_a_name_with_other_beginnings_is_found(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", "llama")
    tensors = {name: np.array(values, np.float32) for name, values in TOYS["llama"]["tensors"].items()}
    norm = tensors.pop("model.norm.weight")
    moved = {"language_model.model.norm.weight": norm, "model.layers.0.norm.weight": norm + 1}
    table = {"model.embed_tokens.weight": np.zeros_like(tensors["lm_head.weight"])}
    save_file(tensors | moved | table, folder / "model.safetensors")
    found = embtool.open_model(folder).final_norm
    assert found.name == "language_model.model.norm.weight"
    np.testing.assert_array_equal(found.weight, norm)


def test_a_norm_of_another_part_is_not_the_language_models(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", "llama", model_type="gemma3n", text_config={"model_type": "gemma3n_text"})
    tensors = {name: np.array(values, np.float32) for name, values in TOYS["llama"]["tensors"].items()}
    norm, head = tensors.pop("model.norm.weight"), tensors.pop("lm_head.weight")
    tower = {"model.vision_tower.msfa.norm.weight": norm + 1, "model.audio_tower.0.norm.weight": norm + 2}
    own = {"model.language_model.norm.weight": norm, "model.language_model.embed_tokens.weight": head}
    save_file(tower | own, folder / "model.safetensors")
    assert embtool.open_model(folder).final_norm.name == "model.language_model.norm.weight"


def test_what_the_language_model_does_counts_whatever_it_is_put_into(tmp_path: Path) -> None:
    """LLaVA with Gemma's norm, in which a weight of 0 is 1; recorded is one with Llama's."""
    text = {"model_type": "gemma", "rms_norm_eps": 0.5}
    folder = write_toy(tmp_path / "toy", "llama", model_type="llava", text_config=text)
    found = embtool.open_model(folder).final_norm
    assert found.weight is not None
    np.testing.assert_allclose(found.weight, np.array(TOYS["llama"]["tensors"]["model.norm.weight"]) + 1)
    assert found.eps == 0.5


@pytest.mark.parametrize("kind", ["bert", "bart", "xlm-roberta"])
def test_a_model_without_a_last_norm_of_its_blocks_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    """The vector of its last block is normed already, or passes a dense layer and a norm of the head."""
    folder = write_toy(tmp_path / "toy", "llama", model_type=kind)
    with pytest.raises(ConfigError, match=r"no final norm to apply: its (head does more|last block ends)"):
        _ = embtool.open_model(folder).final_norm


def test_the_epsilon_of_the_class_holds_where_the_file_is_silent(tmp_path: Path) -> None:
    assert embtool.open_model(write_toy(tmp_path / "said", "llama")).final_norm.eps == pytest.approx(0.02)
    assert embtool.open_model(write_toy(tmp_path / "silent", "llama", rms_norm_eps=None)).final_norm.eps == 1e-6


def test_what_is_not_known_is_refused_by_name(run: Program, tmp_path: Path) -> None:
    vector = write_toy(tmp_path / "toy", "llama") / "vectors.npy"
    other = write_toy(tmp_path / "other", "llama", model_type="own_kind")
    run("neighbors", "--vector", vector, "--through-norm", "-m", other).refused(6, "own_kind", "final norm")
    without = write_toy(tmp_path / "without", "llama", **{"model.norm.weight": None})
    refused = run("neighbors", "--vector", vector, "--through-norm", "-m", without)
    refused.refused(3, "model.norm.weight")
    assert refused.errors.count("model.norm.weight") == 1, "each name once"
    mad = write_toy(tmp_path / "mad", "llama", rms_norm_eps="small")
    run("neighbors", "--vector", vector, "--through-norm", "-m", mad).refused(6, "rms_norm_eps")
    np.save(tmp_path / "short.npy", np.ones(3))
    run("neighbors", "--vector", tmp_path / "short.npy", "--through-norm", "-m", tmp_path / "toy").refused(
        6, "3 numbers", "model.norm.weight has"
    )
    for folder, kind in ((other, ConfigError), (without, TableNotFound)):
        with pytest.raises(kind):
            _ = embtool.open_model(folder).final_norm
    with pytest.raises(FormatError, match="3 numbers"):
        embtool.open_model(tmp_path / "toy").final_norm.apply(np.ones(3))


def test_a_gguf_file_holds_what_is_multiplied(tmp_path: Path) -> None:
    width = 32
    weight = np.linspace(0.5, 1.5, width, dtype=np.float32)
    writer = GGUFWriter(tmp_path / "x.gguf", "gemma2")
    writer.add_embedding_length(width)
    writer.add_layer_norm_rms_eps(0.25)
    writer.add_tensor("token_embd.weight", np.ones((4, width), np.float32))
    writer.add_tensor("output_norm.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    norm = embtool.open_model(tmp_path / "x.gguf").final_norm
    vector = np.arange(width, dtype=np.float64)
    np.testing.assert_allclose(norm.apply(vector), vector / np.sqrt(np.mean(vector**2) + 0.25) * weight, rtol=1e-12)


def test_the_recording_is_one() -> None:
    for kind, found in recorded_norms().items():
        if "none" in found:
            continue
        assert found["kind"] in ("rms", "layer"), kind
        assert ("eps_key" in found) != ("eps" in found), kind
    assert {kind for kind, found in recorded_norms().items() if found.get("plus_one")} >= {
        "gemma",
        "gemma2",
        "gemma3_text",
        "qwen3_next",
    }
    assert len(recorded_norms()) > 300
    assert recorded_norms().keys() >= {
        *("opt", "helium", "deepseek_v2", "llama4", "glm4v", "glm4v_moe", "gemma3n", "dots1", "granitemoehybrid"),
        *("qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "qwen3_vl_moe_text", "step3p7", "zamba2"),
    }
    for kind, found in recorded_norms().items():
        assert not any(IN_A_LAYER.search(name) for name in found.get("weight", ())), kind
