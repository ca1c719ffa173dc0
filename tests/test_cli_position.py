"""The position section of `embtool info`, and that `rope` says the same: from config files alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from small_models import config, write_json

from embtool.configs.families import known_families

Write = Callable[..., Path]
PER_PAIR = {"inv_freq", "wavelength", "positions", "unfinished_pairs", "mrope_axes", "precision"}
"""What a layer has in `rope` and not in `info`."""


@pytest.fixture
def configs(tmp_path: Path) -> Write:
    """Write a folder with nothing but a config."""

    def write(**fields: Any) -> Path:
        folder = tmp_path / f"config-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write_json(folder / "config.json", fields)
        return folder

    return write


def position(run: Program, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = run("info", folder, "--json").ok().document["position"]
    return found


def section(run: Program, folder: Path | str) -> str:
    """The position section, its words one blank apart."""
    return " ".join(run("info", folder, "-f", "table").ok().text.partition("\nposition\n")[2].split())


QWEN = {
    "model_type": "qwen3_5_text",
    "hidden_size": 5120,
    "num_attention_heads": 24,
    "head_dim": 256,
    "num_hidden_layers": 64,
    "max_position_embeddings": 262_144,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25},
}
GEMMA = {
    "model_type": "gemma3_text",
    "hidden_size": 5376,
    "num_attention_heads": 32,
    "head_dim": 128,
    "num_hidden_layers": 62,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}
YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 1.0}


# --- Rotary positions ---------------------------------------------------------------------------------------------


def test_a_layer_has_everything_and_its_origins(run: Program, configs: Write) -> None:
    found = position(run, configs(**QWEN))
    (layer,) = found["layers"]
    expected = {
        "layer_type": "full_attention",
        "layer_count": 16,
        "layers": list(range(3, 64, 4)),
        "rope_type": "default",
        "rope_theta": 1e7,
        "head_dim": 256,
        "rotary_dim": 64,
        "layout": "half",
        "attention_factor": 1.0,
        "mrope_section": [11, 11, 10],
        "mrope_order": "interleaved",
    }
    assert layer | expected == layer
    assert found["nope_layers"] == []
    assert found["layer_types"] == {"linear_attention": 48, "full_attention": 16}
    assert (
        found["origins"]
        | {
            "rope_theta": "rope_parameters.rope_theta",
            "rotary_dim": "rope_parameters.partial_rotary_factor",
            "mrope_section": "class default of qwen3_5_text",
            "layer_types": "class default of qwen3_5_text",
            "context_length": "max_position_embeddings",
            "attention_factor": "1 for rope_type default",
        }
        == found["origins"]
    )


def test_every_value_of_a_layer_has_its_origin(run: Program, configs: Write) -> None:
    computed = {"layer_type", "layer_count", "layers", "rotated_part", "direction", "mrope_order", "origins"}
    for fields in (QWEN, GEMMA, config(rope_scaling=YARN), config(rope_scaling={"type": "yarn", "factor": 2.0})):
        for layer in position(run, configs(**fields))["layers"]:
            given_values = {key for key, value in layer.items() if value is not None}
            assert given_values - computed <= layer["origins"].keys()


def test_the_fields_that_a_type_stretches_by_stand_beside_the_others(run: Program, configs: Write) -> None:
    (layer,) = position(run, configs(**config(rope_scaling=YARN)))["layers"]
    expected = {"factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 32.0, "truncate": True}
    assert layer | expected == layer
    assert layer["attention_factor"] == 1.0
    assert layer["origins"]["beta_fast"] == "usual for yarn"
    assert layer["origins"]["attention_factor"] == "rope_scaling.mscale and rope_scaling.mscale_all_dim"
    (layer,) = position(run, configs(**config(rope_scaling={"type": "dynamic", "factor": 2.0})))["layers"]
    assert layer["factor"] == 2
    assert "beta_fast" not in layer


def test_lists_with_a_number_per_pair_are_left_to_rope(run: Program, configs: Write) -> None:
    scaling = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    folder = configs(**config(model_type="phi3", rope_scaling=scaling, original_max_position_embeddings=64))
    (layer,) = position(run, folder)["layers"]
    assert not {"short_factor", "long_factor"} & layer.keys()
    assert run("rope", "-m", folder, "--json").ok().document["layers"][0]["long_factor"] == [2.0] * 4


@pytest.mark.parametrize("fields", [QWEN, GEMMA, config(rope_scaling=YARN), config(model_type="smollm3")])
def test_info_and_rope_say_the_same(run: Program, configs: Write, fields: dict[str, Any]) -> None:
    folder = configs(**fields)
    ours, theirs = position(run, folder), run("rope", "-m", folder, "--json").ok().document
    assert ours["layers"] == [
        {key: value for key, value in layer.items() if key not in PER_PAIR} for layer in theirs["layers"]
    ]
    assert ours["nope_layers"] == theirs["nope_layers"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (QWEN, "full_attention default, theta 10,000,000 64 of 256 channels turn, pairs (i, i + 32)"),
        (QWEN, "16 of 64 layers: 3, 7, …, 63 linear_attention 48 layers, without positions"),
        (QWEN, "not in file mrope_section: class default of qwen3_5_text"),
        (GEMMA, "full_attention linear, theta 1,000,000, factor 8 all 128 channels turn, pairs (i, i + 64)"),
        (GEMMA, "sliding_attention default, theta 10,000"),
        (GEMMA, "52 of 62 layers: 0..4, 6..10, …, 60..61"),
        (GEMMA, "not in file rope_theta: class default of gemma3_text"),
        (GEMMA, "row scale rows are multiplied by 73.3"),
        (config(model_type="smollm3", num_hidden_layers=8), "NoPE 2 layers without positions: 3, 7"),
        (config(model_type="deepseek_v3"), "all 64 channels of the rotary part turn, pairs (2i, 2i + 1) stored at"),
        (config(model_type="nanochat"), "all 8 channels turn, clockwise"),
        (config(num_hidden_layers=0), "for demonstration: the model has no layers"),
        (config(model_type="unheard-of"), "which two make a pair is not known"),
        (config(model_type="unheard-of"), "note family unknown, layout not known"),
        (config(rope_theta=None), "note config.json: rope_theta is null and counts as absent"),
        ({"model_type": "unheard-of", "rope_theta": 1e4}, "head_dim and num_attention_heads are not in the file"),
        ({"model_type": "unheard-of", "head_dim": 8, "rope_theta": 1e4}, "context not in the file"),
    ],
)
def test_words_about_rotary_positions(run: Program, configs: Write, fields: dict[str, Any], words: str) -> None:
    assert words in section(run, configs(**fields))


def test_the_bundled_model(run: Program) -> None:
    assert section(run, "mini").startswith("RoPE default, theta 10,000,000 16 of 64 channels turn, pairs (i, i + 8)")


# --- Other schemes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model_type": "opt"}, {"kind": "learned", "rows": 2050, "row_offset": 2, "context_length": 2048}),
        ({"model_type": "roberta", "max_position_embeddings": 514}, {"rows": 514, "context_length": 512}),
        ({"model_type": "bloom", "n_head": 4}, {"kind": "alibi", "slopes": [0.25, 0.0625, 0.015625, 0.00390625]}),
        ({"model_type": "t5"}, {"kind": "relative", "buckets": 32, "max_distance": 128, "per_layer": False}),
        ({"model_type": "xlnet"}, {"kind": "relative", "scheme": "Transformer-XL distances"}),
        ({"model_type": "marian"}, {"kind": "sinusoidal", "width": 1024, "row_offset": 0}),
        (
            {"model_type": "nemotron_h", "rope_theta": 1e4},
            {"kind": "none", "reason": "nemotron_h uses no positions, although its file has RoPE fields"},
        ),
        ({"model_type": "unheard-of"}, {"kind": "unknown"}),
    ],
)
def test_other_schemes(run: Program, configs: Write, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = position(run, configs(**fields))
    assert found | expected == found
    assert (found["layers"], found["nope_layers"]) == ([], [])
    assert "context_length" in found["origins"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_type": "opt"}, "learned a table of 2,050 rows, added to the token's row position p is row p + 2"),
        ({"model_type": "bloom", "n_head": 4}, "4 heads, slopes 0.25 to 0.003906"),
        ({"model_type": "t5"}, "32 buckets of distances up to 128 tokens, in a table of the first layer, used by all"),
        ({"model_type": "umt5"}, "in a table of every layer"),
        ({"model_type": "mamba"}, "none mamba knows order only from reading in sequence context not in the file"),
        ({"model_type": "unheard-of"}, "not known the family is not known, and the file has no position fields"),
    ],
)
def test_words_about_other_schemes(run: Program, configs: Write, fields: dict[str, Any], words: str) -> None:
    assert words in section(run, configs(**fields))


def test_a_model_without_a_config(run: Program) -> None:
    assert run("info", "bare/", "--json").ok().document["position"] is None
    assert section(run, "bare/") == "kind not known: no config.json"


def test_a_broken_config_is_an_error_and_not_silence(run: Program, configs: Write) -> None:
    folder = configs(**config(rope_scaling={"rope_type": "xpos"}))
    answer = run("info", folder, "--json")
    (broken,) = answer.document["broken"]
    assert (answer.status, broken["part"]) == (6, "positions")
    assert "rope_scaling.rope_type 'xpos' is not known" in broken["message"]
    assert "rope_scaling.rope_type 'xpos' is not known" in answer.of("warning")[0]
    run("rope", "-m", folder).refused(6, "rope_scaling.rope_type 'xpos' is not known")


@pytest.mark.parametrize("arguments", [(), ("--pos", "1000"), ("--pos", "0..8"), ("--pos", "1", "--vector", "ones")])
@pytest.mark.parametrize("fields", [QWEN, GEMMA, {"model_type": "deepseek_v3"}, {"model_type": "gemma4_text"}])
def test_nothing_is_wider_than_80_columns(
    run: Program, configs: Write, arguments: tuple[str, ...], fields: dict[str, Any]
) -> None:
    shown = run("rope", "-m", configs(**fields), *arguments, "-f", "table", env={"COLUMNS": "80"}).ok().text
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    body = [line for line in shown.splitlines() if line.startswith(" ") and line.strip() != "…"]
    assert body
    assert not any("…" in line.replace(", …,", "") for line in body)


# --- Any config ---------------------------------------------------------------------------------------------------

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({*QWEN, *GEMMA, *config(), *YARN, "text_config", "layer_types", "no_rope_layers"}))
CONFIGS = JSON | st.builds(
    lambda family, changed: {**config(model_type=family), **changed},
    st.sampled_from([*known_families(), "unheard-of"]),
    st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=3), max_size=3),
)


@given(raw=CONFIGS)
def test_any_json_as_a_config_gives_an_answer_or_one_line(run: Program, tmp_path: Path, raw: Any) -> None:
    folder = tmp_path / "any"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    for arguments in (("info", folder, "--json"), ("rope", "-m", folder, "--pos", "7", "--json")):
        answer = run(*arguments)
        if answer.status == 0 or (arguments[0] == "info" and answer.out):
            assert answer.document["schema"] in ("embtool/info@1", "embtool/rope@1")
            assert answer.status == (6 if answer.document.get("broken") else 0)
        else:
            answer.refused(3 if answer.status == 3 else 6)
