"""The two models that come with embtool beside `mini`: a GPT that was trained, and the settings of a large model.

The GPT is run here with numpy alone, so that what its card says of it is not taken on trust.
"""

from __future__ import annotations

import json
import os
import re
import struct
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import embtool
from embtool.settings import BUNDLED_MODELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from program import Program

    Weights = dict[str, NDArray[np.float32]]

BUNDLED = Path(str(files("embtool") / "bundled"))
GPT, SETTINGS = BUNDLED / "mini-gpt2", BUNDLED / "qwen3.6-settings"
REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "/nowhere")) / "configs" / "qwen3.6-27b-nvfp4" / "config.json"

TEXT = (
    " The king was the son of the first king of England, and he was the father of the second. The pod is on the node, "
    "and the container in the pod will restart when the node is not ready. In the year that he was born, the house of "
    "his father was one of the largest in the city, and the people there said that it was the work of a great man."
)
"""Ordinary English of what the model was trained on: none of it was copied from there."""


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


# --- mini-gpt2 --------------------------------------------------------------------------------------------------------


def read_weights() -> Weights:
    """Read its tensors of bfloat16 by hand: safetensors gives numpy none of them."""
    content = (GPT / "model.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"BF16"}
    numbers = (np.frombuffer(content, "<u2", offset=8 + size).astype(np.uint32) << 16).view(np.float32)
    cuts = {name: [offset // 2 for offset in entry["data_offsets"]] for name, entry in header.items()}
    return {name: numbers[slice(*cuts[name])].reshape(entry["shape"]) for name, entry in header.items()}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_weights()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(GPT / "tokenizer.json"))


def test_its_files_agree(weights: Weights, tokenizer: Tokenizer) -> None:
    config = read(GPT / "config.json")
    tokens, places = weights["transformer.wte.weight"], weights["transformer.wpe.weight"]
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["tie_word_embeddings"] is True
    assert tokens.shape == (config["vocab_size"], config["n_embd"]) == (tokenizer.get_vocab_size(), config["n_embd"])
    assert places.shape == (config["n_positions"], config["n_embd"])
    assert config["n_layer"] == len({name.split(".")[2] for name in weights if name.startswith("transformer.h.")})
    for table in (tokens, places):
        assert np.isfinite(table).all()
        assert table.any(axis=1).all()


@pytest.mark.parametrize("text", ["pod restarts node", " Ünï\n\tcode 🍓", "", "  two  spaces "])
def test_any_text_survives_its_tokenizer(text: str, tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def normed(x: NDArray[np.float64], weights: Weights, name: str) -> NDArray[np.float64]:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def through(x: NDArray[np.float64], weights: Weights, name: str) -> NDArray[np.float64]:
    """A linear layer as GPT-2 stores it: transposed."""
    return np.asarray(x @ weights[f"{name}.weight"].astype(np.float64) + weights[f"{name}.bias"])


def loss(ids: list[int], weights: Weights, places: NDArray[np.float32], heads: int = 4) -> float:
    """Run GPT-2 (Radford et al. 2019) in float64: the mean loss of predicting each next token, in nats."""
    tokens = weights["transformer.wte.weight"].astype(np.float64)
    x = tokens[ids] + places[: len(ids)]
    future = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    for layer in range(read(GPT / "config.json")["n_layer"]):
        at = f"transformer.h.{layer}"
        parts = np.split(through(normed(x, weights, f"{at}.ln_1"), weights, f"{at}.attn.c_attn"), 3, axis=-1)
        query, key, value = (part.reshape(len(ids), heads, -1).transpose(1, 0, 2) for part in parts)
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]) + future
        attended = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (attended / attended.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        x = x + through(mixed, weights, f"{at}.attn.c_proj")
        hidden = through(normed(x, weights, f"{at}.ln_2"), weights, f"{at}.mlp.c_fc")
        gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        x = x + through(gelu, weights, f"{at}.mlp.c_proj")
    logits = normed(x, weights, "transformer.ln_f") @ tokens.T
    logits -= logits.max(-1, keepdims=True)
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return float(-chances[np.arange(len(ids) - 1), ids[1:]].mean())


def test_it_was_trained_and_its_positions_are_used(weights: Weights, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXT).ids
    places = weights["transformer.wpe.weight"]
    assert 60 < len(ids) <= len(places)
    found = loss(ids, weights, places)
    assert found < 0.7 * np.log(len(weights["transformer.wte.weight"])), "a third better than a blind guess"
    shuffled = np.random.default_rng(0).permutation(places)
    assert found + 0.05 < loss(ids, weights, shuffled)
    assert found + 0.3 < loss(list(np.random.default_rng(0).permutation(ids)), weights, places), "it reads order"


def test_its_card_says_what_was_measured(weights: Weights) -> None:
    card = (GPT / "README.md").read_text(encoding="utf-8")
    losses = [float(found) for found in re.findall(r"\| (\d\.\d{3}) \|", card)]
    trained, zero, shuffled, unigram = losses
    assert trained < zero
    assert trained < shuffled
    assert trained < unigram
    config = read(GPT / "config.json")
    assert f"{config['vocab_size']:,} x {config['n_embd']}, BF16" in card
    assert f"{config['n_positions']} x {config['n_embd']}, BF16" in card
    parameters = sum(table.size for table in weights.values())
    assert f"| parameters | {parameters:,}," in card
    assert {"CC BY-SA 3.0", "Apache-2.0", "CC BY 2.5"} <= set(re.findall(r"\| ([^|]+?) (?=\|)", card))


def test_what_its_first_block_reads_is_the_sum(run: Program, weights: Weights) -> None:
    rows = run("input", " king and queen", "-m", "mini-gpt2", "--json").ok().document["rows"]
    tokens, places = weights["transformer.wte.weight"], weights["transformer.wpe.weight"]
    for place, row in enumerate(rows):
        assert np.float32(row["values"]) == pytest.approx(tokens[row["id"]] + places[place], abs=1e-6)


# --- qwen3.6-settings -------------------------------------------------------------------------------------------------


def test_it_holds_facts_and_nothing_else() -> None:
    assert sorted(path.name for path in SETTINGS.iterdir()) == ["README.md", "config.json"]
    config = read(SETTINGS / "config.json")
    assert set(config) == {
        "_name_or_path",
        "architectures",
        "model_type",
        "dtype",
        "tie_word_embeddings",
        "text_config",
    }


def test_its_facts_are_those_that_are_published(run: Program) -> None:
    document = run("info", "qwen3.6-settings", "--json").ok().document
    table = document["by_config"]
    assert (table["rows"], table["width"], table["bytes"]) == (248_320, 5_120, 2_542_796_800)
    assert (table["dtype"], table["tied"]) == ("BF16", False)
    (layer,) = document["position"]["layers"]
    assert (layer["rope_theta"], layer["rotary_dim"], layer["head_dim"]) == (1e7, 64, 256)
    assert layer["layer_count"] == 16
    assert document["num_hidden_layers"] == 64
    assert document["position"]["context_length"] == 262_144


@pytest.mark.skipif(not REAL.is_file(), reason="EMBTOOL_TEST_REAL names no folder of real configs")
def test_its_facts_are_those_of_the_real_config() -> None:
    said, real = read(SETTINGS / "config.json"), read(REAL)
    assert said["text_config"] == real["text_config"]
    for key in ("architectures", "model_type", "dtype", "tie_word_embeddings"):
        assert said[key] == real[key], key


def test_what_needs_a_row_is_refused_and_positions_are_not(run: Program) -> None:
    run("row", "id:0", "-m", "qwen3.6-settings").refused(3, "qwen3.6-settings", "no *.safetensors")
    assert run("rope", "-m", "qwen3.6-settings", "--pos", "1000", "--jsonl").ok().records[0]["turns"] > 159


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED_MODELS)
def test_a_bundled_model_is_opened_by_its_name_wherever_one_is(name: str, run: Program) -> None:
    assert embtool.open_model(name).name == name
    assert run("info", name, "--json").ok().document["model"] == name
    assert run("use", name, "--json").ok().document["model"] == name
    assert run("use", "--json").ok().document["model"] == name, "it is kept by name, not by where it is now"
    assert run("rope", "--json", env={"EMBTOOL_MODEL": name}).status in (0, 2, 3)


@pytest.mark.parametrize("name", BUNDLED_MODELS)
def test_a_bundled_model_has_a_card_with_its_terms(name: str) -> None:
    card = (BUNDLED / name / "README.md").read_text(encoding="utf-8")
    assert re.match(r"---\nlanguage: en\nlicense: \S+", card)
    assert f"# {name}" in card


def test_a_bundled_name_typed_as_a_token_is_answered_with_the_command_meant(run: Program) -> None:
    run("neighbors", "king", "mini-gpt2", "-m", "small/").refused(3)
    run("row", "king", "qwen3.6-settings").refused(3, "-m qwen3.6-settings")


def test_the_two_are_small() -> None:
    assert sum(path.stat().st_size for folder in (GPT, SETTINGS) for path in folder.iterdir()) < 2_000_000
