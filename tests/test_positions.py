"""Position schemes of every family: against recorded figures of transformers, and against docs/positions.md."""

import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embtool.configs.config import parse_config, parse_config_text, rounded
from embtool.configs.families import known_families, shape_of
from embtool.errors import ConfigError, NoRope, UnsupportedRope
from embtool.positions import (
    SCHEMES,
    Alibi,
    LayerRope,
    Learned,
    NoPositions,
    OtherRelative,
    Positions,
    Rope,
    Sinusoidal,
    T5Buckets,
    alibi_slopes,
    read_positions,
)
from embtool.rope import (
    AXES,
    Precision,
    RopeSettings,
    channel_pairs,
    frequencies,
    mrope_axes,
    rotate,
    rotate_multimodal,
    stored_pairs,
)

DATA = Path(__file__).parent / "data"
ORACLE: dict[str, Any] = json.loads((DATA / "rope_oracle.json").read_text())["cases"]
REAL = os.environ.get("EMBTOOL_TEST_REAL")
"""A folder with the whole config files of the recorded models, `configs/NAME` and `synthetic/NAME`."""

OVERRULED = {
    "glm-4.1v-9b": "transformers does not read this flat file's fields",
    "gpt-j-6b-early-gptneo": "the file says rotary: true, transformers builds a learned table",
    "rope-theta-null": "transformers crashes on a null theta",
}
"""Recorded models where docs/positions.md decides against transformers."""


@cache
def figures() -> dict[str, np.ndarray]:
    with np.load(DATA / "rope_oracle.npz") as archive:
        return dict(archive)


def positions_of(**raw: Any) -> Positions:
    return read_positions(parse_config(raw))


def rope_of(**raw: Any) -> Rope:
    found = positions_of(**raw)
    assert isinstance(found, Rope)
    return found


def llama(**fields: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 8192}
    return {"model_type": "llama", **sizes, **fields}


# --- The recorded figures -----------------------------------------------------------------------------------------

RECORDED = sorted(name for name, case in ORACLE.items() if case["expected"]["layers"])
LAYERS = [(name, kind) for name in RECORDED for kind in ORACLE[name]["expected"]["layers"]]


def recorded_layer(name: str, kind: str) -> tuple[LayerRope, dict[str, Any]]:
    rope = read_positions(parse_config(ORACLE[name]["config"]))
    assert isinstance(rope, Rope)
    entry = rope.layers[0] if kind == "all" else rope.layer(kind)
    return entry, ORACLE[name]["expected"]["layers"][kind]


@pytest.mark.parametrize("name", sorted(ORACLE))
@pytest.mark.few(60)
def test_sizes_are_those_of_transformers(name: str) -> None:
    read, expected = parse_config(ORACLE[name]["config"]), ORACLE[name]["expected"]
    if "refused" in expected or name in OVERRULED:
        return
    assert read.model_type == expected["text_model_type"]
    for field in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(read, field) == expected.get(field), field
    if read.origins["max_position_embeddings"] == "max_position_embeddings":
        assert read.max_position_embeddings == expected["max_position_embeddings"]
    tied = expected.get("top_tie_word_embeddings")
    assert read.tie_word_embeddings == (expected.get("tie_word_embeddings") if tied is None else tied)
    if isinstance(expected.get("head_dim"), int):
        assert read.head_dim == expected["head_dim"]
    scale = expected.get("input_embedding_scale")
    assert scale is None or (read.embedding_scale is not None and read.embedding_scale.multiplier == scale)


@pytest.mark.parametrize(("name", "kind"), LAYERS)
@pytest.mark.few(60)
def test_settings_are_those_of_transformers(name: str, kind: str) -> None:
    entry, expected = recorded_layer(name, kind)
    settings = entry.settings
    assert settings.rope_type == expected["rope_type"]
    assert settings.turning_width == expected["rotary_dim"]
    assert settings.head_dim == expected["vector_length"]
    layouts = {"half": "half split", "interleaved": "interleaved pairs", "interleaved-in-half-out": "pairs read"}
    assert settings.layout is not None
    assert expected["layout"].startswith(layouts[settings.layout])
    assert settings.clockwise == expected["direction"].startswith("clockwise")


@pytest.mark.parametrize(("name", "kind"), LAYERS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.few(60)
def test_frequencies_are_those_of_transformers(name: str, kind: str, precision: Precision) -> None:
    entry, expected = recorded_layer(name, kind)
    lengths = {"inv_freq": None, "inv_freq_long": 10**9, "inv_freq_at_2x": 2 * 8192, "inv_freq_at_4x": 4 * 8192}
    for key, length in lengths.items():
        recorded = figures().get(f"{name}/{kind}/{key}")
        if recorded is None:
            continue
        found = frequencies(entry.settings, length, precision)
        if entry.settings.mrope_order == "height-width-time":
            recorded = np.sort(recorded)[::-1]  # transformers keeps those of a section side by side
        assert found.attention_factor == pytest.approx(expected["attention_scaling"], rel=1e-12)
        if precision == "float32" and "at_" not in key:
            np.testing.assert_array_max_ulp(found.inv_freq, recorded, maxulp=2)  # 1 of the power, 1 of its reciprocal
        else:
            assert found.inv_freq == pytest.approx(recorded, rel=1e-6, abs=0)


def tolerance(precision: Precision, position: int, settings: RopeSettings) -> Any:
    """How far each component may be from transformers'.

    float32 differs by what two units in the last place of a frequency move the angle; float64 by the rounding of
    transformers' angles. Both grow with the position.
    """
    if precision == "float64":
        return 4e-7 * (1 + position)
    allowed = np.full(settings.head_dim, 1e-6)
    found = frequencies(settings, None, precision)
    allowed[stored_pairs(settings)] += LARGEST * found.attention_factor * position * 2.0**-22 * found.inv_freq[:, None]
    return allowed


LARGEST = 4.0
"""No component of the recorded queries is larger."""


@pytest.mark.parametrize(("name", "kind"), LAYERS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.few(60)
def test_rotated_queries_are_those_of_transformers(name: str, kind: str, precision: Precision) -> None:
    entry, _ = recorded_layer(name, kind)
    query = np.random.RandomState(0).standard_normal(entry.settings.head_dim).astype(np.float32)
    prefix = f"{name}/{kind}/rotated/"
    recorded = {key: values for key, values in figures().items() if key.startswith(prefix)}
    assert recorded
    for key, values in recorded.items():
        position = int(key.removeprefix(prefix))
        turned = rotate(query, position, entry.settings, precision=precision)
        assert (np.abs(turned - values) <= tolerance(precision, position, entry.settings)).all()


@pytest.mark.parametrize(
    ("name", "kind"), [pair for pair in LAYERS if "axes" in ORACLE[pair[0]]["expected"]["layers"][pair[1]]]
)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_multimodal_examples_are_those_of_transformers(name: str, kind: str, precision: Precision) -> None:
    entry, expected = recorded_layer(name, kind)
    query = np.random.RandomState(0).standard_normal(entry.settings.head_dim).astype(np.float32)
    turned = rotate_multimodal(query, (5, 7, 11), entry.settings, precision=precision)
    difference = np.abs(turned - figures()[f"{name}/{kind}/multimodal"])
    assert (difference <= tolerance(precision, 11, entry.settings)).all()
    assert "".join(AXES[axis] for axis in mrope_axes(entry.settings)) == expected["axes"]


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.few(60)
def test_layers_are_those_of_transformers(name: str) -> None:
    rope, expected = read_positions(parse_config(ORACLE[name]["config"])), ORACLE[name]["expected"]
    assert isinstance(rope, Rope)
    assert len(rope.layers) == len(expected["layers"])
    # the module that was recorded is the same for all layers; that those which look at images do not turn was observed
    crossing = ORACLE[name]["config"].get("text_config", {}).get("cross_attention_layers", [])
    assert list(rope.nope_layers) == expected.get("nope_layers", crossing)
    if rope.layer_counts:
        assert rope.layer_counts == expected["layer_type_counts"]


@pytest.mark.parametrize("name", sorted(name for name, case in ORACLE.items() if "alibi_slopes" in case["expected"]))
def test_alibi_slopes_are_those_of_transformers(name: str) -> None:
    found = read_positions(parse_config(ORACLE[name]["config"]))
    assert isinstance(found, Alibi)
    assert found.slopes == pytest.approx(ORACLE[name]["expected"]["alibi_slopes"], rel=1e-6)


@pytest.mark.parametrize(
    "name", sorted(name for name, case in ORACLE.items() if "position_tensors" in case["expected"])
)
def test_position_tables_have_the_rows_of_transformers(name: str) -> None:
    config = parse_config(ORACLE[name]["config"])
    found, ((tensor, shape), *_) = read_positions(config), ORACLE[name]["expected"]["position_tensors"]
    if name in OVERRULED:
        return
    if isinstance(found, Learned):
        assert [found.rows, config.embedding_size or config.hidden_size] == shape
    else:
        assert isinstance(found, Rope | Sinusoidal | T5Buckets), tensor


@pytest.mark.skipif(REAL is None, reason="the whole config files are not part of the project: EMBTOOL_TEST_REAL")
@pytest.mark.parametrize("folder", ["configs", "synthetic"])
def test_whole_files_read_like_their_excerpts(folder: str) -> None:
    files = sorted((Path(REAL or "") / folder).glob("*/config.json"))
    assert files
    for file in files:
        whole = read_positions(parse_config_text(file.read_bytes()))
        assert whole == read_positions(parse_config(ORACLE[file.parent.name]["config"])), file.parent.name


# --- What docs/positions.md decides against transformers, or without it -------------------------------------------


def test_a_null_theta_counts_as_absent() -> None:
    rope = rope_of(**llama(rope_theta=None))
    assert rope.settings.rope_theta == 10_000
    assert rope.layers[0].origins["rope_theta"] == "class default of llama"


def test_the_flat_glm_4_1v_file_is_read() -> None:
    rope = read_positions(parse_config(ORACLE["glm-4.1v-9b"]["config"]))
    assert isinstance(rope, Rope)
    assert (rope.settings.turning_width, rope.settings.layout, rope.context_length) == (64, "interleaved", 65_536)
    assert rope.settings.mrope_section == (8, 12, 12)


def test_an_early_gpt_j_is_read_as_gpt_j() -> None:
    rope = read_positions(parse_config(ORACLE["gpt-j-6b-early-gptneo"]["config"]))
    assert isinstance(rope, Rope)
    assert (rope.settings.turning_width, rope.settings.head_dim, rope.settings.layout) == (64, 256, "interleaved")
    assert "early GPT-J" in rope.notes[-1]


def test_nested_truncate_is_honoured() -> None:
    inner = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048, "truncate": False}
    rope = rope_of(**llama(model_type="olmo3", rope_parameters={"full_attention": inner}))
    assert not rope.layer("full_attention").settings.truncate
    assert rope.layer("sliding_attention").settings.rope_type == "default"


def test_phimoe_uses_its_long_list_beyond_the_original_context() -> None:
    lists = {"short_factor": [1.0] * 32, "long_factor": [2.0] * 32, "short_mscale": 1.1, "long_mscale": 1.2}
    scaling = {"type": "longrope", "original_max_position_embeddings": 4096, **lists}
    settings = rope_of(**llama(model_type="phimoe", rope_scaling=scaling)).settings
    assert frequencies(settings, 5000).inv_freq[0] == 0.5
    assert frequencies(settings, 5000).attention_factor == 1.2
    assert frequencies(settings, 4096).attention_factor == 1.1


def test_olmo3_gives_the_files_theta_to_both_layer_types() -> None:
    rope = rope_of(**llama(model_type="olmo3", rope_theta=1234.0))
    assert [entry.settings.rope_theta for entry in rope.layers] == [1234, 1234]


def test_minimax_obeys_rotary_dim() -> None:
    rope = rope_of(**llama(model_type="minimax", head_dim=128, rotary_dim=64))
    assert rope.settings.turning_width == 64


def test_mimo_obeys_its_file() -> None:
    fields = {"rope_theta": 3e6, "swa_rope_theta": 5000.0, "partial_rotary_factor": 0.5, "head_dim": 64}
    rope = rope_of(**llama(model_type="mimo_v2_flash", num_hidden_layers=12, **fields))
    assert [entry.settings.rope_theta for entry in rope.layers] == [3e6, 5000]
    assert [entry.layer_count for entry in rope.layers] == [3, 9]
    assert rope.settings.turning_width == 32


def test_yarn_without_a_factor_takes_the_ratio() -> None:
    settings = rope_of(**llama(rope_scaling={"rope_type": "yarn", "original_max_position_embeddings": 2048})).settings
    assert settings.stretch == 4


def test_refused_files_are_read_by_kin_or_generically() -> None:
    found = {name: read_positions(parse_config(ORACLE[name]["config"])) for name in ORACLE if _refused(name)}
    ropes = {name: rope for name, rope in found.items() if isinstance(rope, Rope)}
    assert set(ropes) == set(found)
    assert len(found) == 7
    unknown = {name for name, rope in ropes.items() if not rope.layout_known}
    assert unknown == {"minicpm3-4b-no-model-type"}
    assert all(ropes[name].notes[0] == "family unknown, layout not known" for name in unknown)
    assert ropes["kimi-k2-instruct"].settings.layout == "interleaved-in-half-out"
    glm = ropes["glm-4-9b-chat"].settings
    assert (glm.rope_theta, glm.turning_width, glm.layout) == (5e6, 64, "interleaved")
    assert ropes["qwen-7b"].settings.original_max_position_embeddings == 8192


def _refused(name: str) -> bool:
    return "refused" in ORACLE[name]["expected"]


# --- Dialects and precedence --------------------------------------------------------------------------------------


def test_a_legacy_dictionary_replaces_the_new_one() -> None:
    rope = rope_of(**llama(rope_scaling={"type": "linear", "factor": 2}, rope_parameters={"rope_type": "default"}))
    assert rope.settings.rope_type == "linear"


def test_an_empty_legacy_dictionary_does_not() -> None:
    rope = rope_of(**llama(rope_scaling={}, rope_parameters={"rope_type": "linear", "factor": 3.0}))
    assert rope.settings.factor == 3


def test_theta_inside_wins_over_theta_outside() -> None:
    rope = rope_of(**llama(rope_theta=1.0e6, rope_parameters={"rope_theta": 5.0e5}))
    assert rope.settings.rope_theta == 5e5
    assert rope.layers[0].origins["rope_theta"] == "rope_parameters.rope_theta"


def test_rope_type_wins_over_type() -> None:
    rope = rope_of(**llama(rope_scaling={"type": "linear", "rope_type": "default", "factor": 2.0}))
    assert rope.settings.rope_type == "default"


@pytest.mark.parametrize(("name", "type_"), [("su", "longrope"), ("yarn", "longrope"), ("longrope", "longrope")])
def test_phi3_calls_longrope_by_older_names(name: str, type_: str) -> None:
    scaling = {"type": name, "short_factor": [1.0] * 32, "long_factor": [1.0] * 32}
    rope = rope_of(**llama(model_type="phi3", rope_scaling=scaling, original_max_position_embeddings=4096))
    assert rope.settings.rope_type == type_
    assert rope.settings.original_max_position_embeddings == 4096


def test_the_top_level_original_context_wins() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    rope = rope_of(**llama(rope_scaling=scaling, original_max_position_embeddings=2048))
    assert rope.settings.original_max_position_embeddings == 2048


def test_an_absent_original_context_is_the_present_one() -> None:
    settings = rope_of(**llama(rope_scaling={"rope_type": "yarn", "factor": 4.0})).settings
    assert settings.original_max_position_embeddings == 8192


def test_a_partial_factor_is_ignored_by_the_default_type_of_most_families() -> None:
    rope = rope_of(**llama(partial_rotary_factor=0.5))
    assert rope.settings.turning_width == 64
    assert "ignores it" in rope.notes[0]
    assert (
        rope_of(**llama(partial_rotary_factor=0.5, rope_scaling={"type": "linear", "factor": 2.0})).settings.pairs == 16
    )


@pytest.mark.parametrize(
    ("family", "width"),
    [
        *((name, 16) for name in ("qwen3_next", "qwen3_5_text", "gpt_neox", "stablelm")),
        *((name, 32) for name in ("glm", "glm4", "phi", "nemotron", "persimmon", "chatglm", "bamba")),
        *((name, 64) for name in ("phi3", "gpt_neox_japanese", "qwen", "embtool_static", "llama")),
    ],
)
def test_class_defaults_of_the_share(family: str, width: int) -> None:
    # heads of 64 whatever the family's own default: qwen3_next and others have class defaults of 256
    assert rope_of(**llama(model_type=family, head_dim=64)).settings.turning_width == width


def test_share_and_width_by_their_other_names() -> None:
    assert rope_of(**llama(model_type="gpt_neox", rotary_pct=0.5)).settings.turning_width == 32
    assert rope_of(**llama(model_type="gptj", rotary_dim=16)).settings.turning_width == 16
    assert rope_of(**llama(model_type="minimax_m2", head_dim=128, rotary_dim=64)).settings.turning_width == 64
    assert rope_of(**llama(model_type="phi", rotary_dim=8)).settings.turning_width == 32  # ignored, as phi-1 shows


def test_the_bundled_models_settings() -> None:
    raw = {
        "model_type": "embtool_static",
        "hidden_size": 128,
        "num_hidden_layers": 0,
        "num_attention_heads": 2,
        "head_dim": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25},
    }
    rope = rope_of(**raw)
    assert (rope.settings.turning_width, rope.settings.rope_theta, rope.settings.layout) == (16, 1e7, "half")
    assert rope.layers[0].layer_count == 0


@pytest.mark.parametrize(
    ("family", "theta"),
    [
        *((name, 5e5) for name in ("llama4_text", "cohere", "qwen3_vl_text", "ernie4_5", "bitnet", "flex_olmo")),
        *((name, 1e6) for name in ("mixtral", "minimax", "qwen2_vl_text", "qwen2_5_omni_text", "phimoe", "lfm2")),
        *(("gpt_oss", 1.5e5), ("minimax_m2", 5e6), ("smollm3", 2e6), ("apertus", 1.2e7), ("helium", 1e5)),
        *(("longcat_flash", 1e7), ("modernbert", 1.6e5), ("gemma3_text", 1e6), ("nomic_bert", 1e3), ("qwen3", 1e4)),
    ],
)
def test_class_defaults_of_theta(family: str, theta: float) -> None:
    rope = rope_of(model_type=family)
    assert rope.settings.rope_theta == theta
    assert rope.layers[0].origins["rope_theta"] == f"class default of {family}"


def test_theta_by_its_other_names() -> None:
    assert rope_of(**llama(model_type="gpt_neox", rotary_emb_base=777)).settings.rope_theta == 777
    assert rope_of(**llama(model_type="unheard-of", rotary_emb_base=777)).settings.rope_theta == 777
    assert rope_of(**llama(model_type="chatglm", rope_ratio=50)).settings.rope_theta == 500_000


def test_classes_with_a_whole_dictionary_of_their_own() -> None:
    assert rope_of(model_type="gpt_oss").settings.truncate is False
    assert rope_of(model_type="apertus").settings.rope_type == "llama3"
    assert rope_of(model_type="ministral3").settings.factor == 16
    assert rope_of(model_type="gpt_oss", rope_scaling={"type": "linear", "factor": 2.0}).settings.rope_type == "linear"


def test_hunyuans_alpha() -> None:
    scaling = {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}
    assert rope_of(**llama(model_type="hunyuan_v1_dense", rope_scaling=scaling)).settings.rope_type == "ntk_alpha"
    assert rope_of(**llama(rope_scaling={**scaling, "factor": 2.0})).settings.rope_type == "dynamic"


@pytest.mark.parametrize(
    ("family", "interleave", "layout"),
    [
        ("deepseek_v3", None, "interleaved-in-half-out"),
        ("deepseek_v3", False, "half"),
        ("deepseek_v2", None, "interleaved"),
        ("mistral4", None, "interleaved-in-half-out"),
        ("minicpm3", None, "half"),
        ("glm4_moe", None, "half"),
    ],
)
def test_layouts_of_kin_differ(family: str, interleave: bool | None, layout: str) -> None:  # noqa: FBT001
    fields = {} if interleave is None else {"rope_interleave": interleave}
    assert rope_of(**llama(model_type=family, **fields)).settings.layout == layout


def test_only_a_multimodal_family_reads_sections() -> None:
    scaling = {"type": "mrope", "mrope_section": [8, 12, 12]}
    settings = rope_of(**llama(model_type="qwen2_vl", rope_scaling=scaling)).settings
    assert (settings.mrope_section, settings.mrope_order) == ((8, 12, 12), "sectioned")
    plain = rope_of(**llama(rope_scaling=scaling))
    assert plain.settings.mrope_section is None
    assert "one position per token" in plain.notes[0]


def test_a_class_default_section_that_does_not_fit_is_left_out() -> None:
    rope = rope_of(**llama(model_type="qwen2_vl"))
    assert rope.settings.mrope_section is None
    assert "does not fit 32 pairs" in rope.notes[0]


# --- Layers -------------------------------------------------------------------------------------------------------


def test_qwen3_5_rotates_every_fourth_layer() -> None:
    rope = rope_of(**llama(model_type="qwen3_5_text", num_hidden_layers=64))
    (entry,) = rope.layers
    assert (entry.layer_type, entry.layer_count) == ("full_attention", 16)
    assert entry.layers is not None
    assert entry.layers[:3] == (3, 7, 11)
    assert rope.layer_counts == {"linear_attention": 48, "full_attention": 16}


def test_no_rope_layers_has_1_for_layers_with_rope() -> None:
    rope = rope_of(**llama(model_type="smollm3", no_rope_layers=[1, 0]))
    assert rope.nope_layers == (1,)


@pytest.mark.parametrize(("family", "silent"), [("llama4_text", (3, 7)), ("smollm3", (3, 7))])
def test_every_fourth_layer_is_silent_by_default(family: str, silent: tuple[int, ...]) -> None:
    assert rope_of(**llama(model_type=family, num_hidden_layers=8)).nope_layers == silent


def test_an_empty_list_is_the_default_to_llama_4_and_an_error_to_smollm3() -> None:
    fields = {"num_hidden_layers": 8, "no_rope_layers": []}
    assert rope_of(**llama(model_type="llama4_text", **fields)).nope_layers == (3, 7)
    with pytest.raises(ConfigError, match="no_rope_layers must have 8 entries, one per layer, not 0"):
        rope_of(**llama(model_type="smollm3", **fields))


def test_no_rope_layer_interval() -> None:
    rope = rope_of(**llama(model_type="smollm3", num_hidden_layers=6, no_rope_layer_interval=2))
    assert rope.nope_layers == (1, 3, 5)


@pytest.mark.parametrize("family", ["cohere2", "exaone4", "exaone_moe", "afmoe"])
def test_full_attention_is_silent_beside_a_sliding_window(family: str) -> None:
    windowed = rope_of(**llama(model_type=family, num_hidden_layers=8, sliding_window=4096))
    assert windowed.nope_layers == (3, 7)
    assert [(entry.layer_type, entry.layer_count) for entry in windowed.layers] == [("sliding_attention", 6)]
    assert rope_of(**llama(model_type=family, num_hidden_layers=8, sliding_window=None)).nope_layers == ()


def test_exaones_letters() -> None:
    fields = {"sliding_window": 4096, "sliding_window_pattern": "LLG", "num_hidden_layers": 6}
    assert rope_of(**llama(model_type="exaone4", **fields)).nope_layers == (2, 5)
    with pytest.raises(ConfigError, match="sliding_window_pattern must be a number or a string of L and G"):
        rope_of(**llama(model_type="exaone4", **{**fields, "sliding_window_pattern": "LXG"}))


def test_gemma_3_has_two_thetas() -> None:
    rope = rope_of(
        **llama(model_type="gemma3_text", num_hidden_layers=12, rope_scaling={"type": "linear", "factor": 8})
    )
    full, sliding = rope.layers
    assert (full.settings.rope_type, full.settings.rope_theta, full.layer_count) == ("linear", 1e6, 2)
    assert (sliding.settings.rope_type, sliding.settings.rope_theta, sliding.layer_count) == ("default", 1e4, 10)


def test_gemma_3_merges_a_legacy_dictionary_into_the_nested_one() -> None:
    nested = {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 100.0}}
    rope = rope_of(
        **llama(model_type="gemma3_text", rope_parameters=nested, rope_scaling={"type": "linear", "factor": 8})
    )
    full, sliding = rope.layers
    assert (full.settings.rope_type, full.settings.rope_theta) == ("linear", 5e5)
    assert (sliding.settings.rope_type, sliding.settings.rope_theta) == ("default", 100)


def test_gemma_4_has_two_widths_of_head() -> None:
    rope = rope_of(**llama(model_type="gemma4_text", head_dim=256, global_head_dim=512, num_hidden_layers=6))
    full, sliding = rope.layers
    assert (full.settings.head_dim, full.settings.rope_type, full.layer_count) == (512, "proportional", 1)
    assert (sliding.settings.head_dim, sliding.settings.rope_type, sliding.layer_count) == (256, "default", 5)


def test_modernbert_begins_with_full_attention() -> None:
    rope = rope_of(
        **llama(model_type="modernbert", num_hidden_layers=6, rope_scaling={"type": "linear", "factor": 2.0})
    )
    assert rope.layer("full_attention").layers == (0, 3)
    assert [entry.settings.rope_type for entry in rope.layers] == ["linear", "linear"]  # the dictionary is for both


def test_deepseek_v4_stretches_compressed_layers_only() -> None:
    scaling = {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 65_536}
    fields = {"head_dim": 512, "qk_rope_head_dim": 64, "rope_theta": 10_000, "compress_rope_theta": 160_000}
    rope = rope_of(**llama(model_type="deepseek_v4", rope_scaling=scaling, compress_ratios=[0, 4], **fields))
    main, compress = rope.layers
    assert (main.settings.rope_type, main.settings.rope_theta, main.layers) == ("default", 1e4, (0,))
    assert (compress.settings.rope_type, compress.settings.rope_theta, compress.layers) == ("yarn", 1.6e5, (1,))
    assert frequencies(compress.settings).attention_factor == 1
    assert channel_pairs(main.settings)[0].tolist() == [448, 449]


def test_null_for_a_layer_type_is_no_positions_there() -> None:
    nested = {"sliding_attention": {"rope_theta": 1e4}, "full_attention": None}
    types = ["sliding_attention", "full_attention"]
    rope = rope_of(**llama(model_type="unheard-of", layer_types=types, rope_parameters=nested))
    assert [entry.layer_type for entry in rope.layers] == ["sliding_attention"]
    assert rope.nope_layers == (1,)


def test_a_layer_type_that_does_not_rotate_is_named() -> None:
    with pytest.raises(NoRope, match="no layers of type 'linear_attention' rotate"):
        rope_of(**llama()).layer("linear_attention")


def test_the_api_rotates_with_the_first_layer_type() -> None:
    rope = rope_of(**llama())
    x = np.arange(64.0)
    assert np.array_equal(rope.rotate(x, position=1000), rotate(x, 1000, rope.settings))
    assert np.array_equal(rope.rotate(x, 5, layer_type="all", inverse=True), rotate(x, 5, rope.settings, inverse=True))
    assert np.array_equal(rope.frequencies().inv_freq, frequencies(rope.settings).inv_freq)


# --- Other schemes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "rows", "offset", "context"),
    [
        ({"model_type": "gpt2"}, 1024, 0, 1024),
        ({"model_type": "bert"}, 512, 0, 512),
        ({"model_type": "opt"}, 2050, 2, 2048),
        ({"model_type": "bart"}, 1026, 2, 1024),
        ({"model_type": "biogpt"}, 1026, 2, 1024),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 514, 2, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 514, 2, 512),
        ({"model_type": "whisper"}, 448, 0, 448),
    ],
)
def test_learned_tables(raw: dict[str, Any], rows: int, offset: int, context: int) -> None:
    found = positions_of(**raw)
    assert isinstance(found, Learned)
    assert (found.rows, found.row_offset, found.context_length) == (rows, offset, context)
    assert found.row(3) == 3 + offset


def test_sinusoids_have_sines_first() -> None:
    found = positions_of(model_type="marian", d_model=4)
    assert isinstance(found, Sinusoidal)
    assert found.vectors(0).tolist() == [0, 0, 1, 1]
    assert found.vectors([3]) == pytest.approx(np.array([[math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]]))


def test_xglm_begins_at_2_and_spans_its_waves_differently() -> None:
    found = positions_of(model_type="xglm", d_model=4)
    assert isinstance(found, Sinusoidal)
    assert found.vectors(1) == pytest.approx([math.sin(3), math.sin(3e-4), math.cos(3), math.cos(3e-4)])


def test_alibi_of_twelve_heads() -> None:
    slopes = alibi_slopes(12)
    assert slopes[:8] == tuple(2.0**-j for j in range(1, 9))
    assert slopes[8:] == tuple(2.0 ** -(j / 2) for j in (1, 3, 5, 7))


def test_falcon_chooses_and_rounds_its_slopes() -> None:
    assert isinstance(positions_of(model_type="falcon"), Rope)
    found = positions_of(model_type="falcon", alibi=True, num_attention_heads=16, hidden_size=1024)
    assert isinstance(found, Alibi)
    assert found.slopes == tuple(rounded(slope, "BF16") for slope in alibi_slopes(16))
    assert found.score_scale == 0.125


def test_mpt_has_alibi_whatever_learned_pos_emb_says() -> None:
    found = positions_of(
        model_type="mpt", n_heads=4, learned_pos_emb=True, attn_config={"alibi": True, "alibi_bias_max": 16}
    )
    assert isinstance(found, Alibi)
    assert found.slopes == (2.0**-4, 2.0**-8, 2.0**-12, 2.0**-16)
    assert isinstance(positions_of(model_type="mpt", attn_config={"alibi": False}), Learned)


def test_t5_buckets() -> None:
    found = positions_of(model_type="t5")
    assert isinstance(found, T5Buckets)
    assert (found.buckets, found.max_distance) == (32, 128)
    assert [found.bucket(d, both_ways=True) for d in (0, -1, 1, -8, 8, -127, 500)] == [0, 1, 17, 8, 24, 15, 31]
    assert [found.bucket(d, both_ways=False) for d in (0, 5, -15, -16, -127, -10_000)] == [0, 0, 15, 16, 31, 31]


@pytest.mark.parametrize(
    "raw",
    [
        {"model_type": "xlnet"},
        {"model_type": "deberta-v2", "relative_attention": True},
        {"model_type": "bert", "position_embedding_type": "relative_key_query"},
    ],
)
def test_other_relative_schemes(raw: dict[str, Any]) -> None:
    assert isinstance(positions_of(**raw), OtherRelative)


@pytest.mark.parametrize("family", ["mamba", "rwkv", "jamba", "nemotron_h", "granitemoehybrid"])
def test_models_without_positions(family: str) -> None:
    assert isinstance(positions_of(model_type=family, rope_theta=10_000), NoPositions)


def test_nemotron_h_says_that_its_fields_do_nothing() -> None:
    found = positions_of(model_type="nemotron_h", rope_theta=10_000, partial_rotary_factor=1.0)
    assert isinstance(found, NoPositions)
    assert "although its file has RoPE fields" in found.reason


def test_files_that_choose_their_scheme() -> None:
    assert positions_of(model_type="granitemoehybrid", position_embedding_type="rope").kind == "rope"
    assert positions_of(model_type="esm", position_embedding_type="rotary").kind == "rope"
    assert positions_of(model_type="xlm", sinusoidal_embeddings=True).kind == "sinusoidal"
    assert (
        positions_of(**{**llama(model_type="baichuan", model_max_length=4096), "max_position_embeddings": None}).kind
        == "alibi"
    )
    assert positions_of(**llama(model_type="baichuan", model_max_length=4096)).kind == "rope"
    assert positions_of(model_type="unheard-of", alibi=True, n_head=8).kind == "alibi"
    assert positions_of(model_type="unheard-of", hidden_size=8).kind == "unknown"
    assert positions_of(model_type="unheard-of", rope_theta=1e4, head_dim=8).kind == "rope"


def test_every_family_is_readable_from_its_name_alone() -> None:
    for family in known_families():
        # Qwen3-Omni's class defaults (2048 channels, 28 heads) do not divide
        sizes = {"head_dim": 64} if shape_of(family).hidden_size is None or "qwen3_omni_moe" in family else {}
        assert positions_of(model_type=family, **sizes).kind in SCHEMES


# --- Bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rope_scaling": {"rope_type": "xpos"}}, "config.json: rope_scaling.rope_type 'xpos' is not known"),
        ({"rope_scaling": {"type": "ntk"}}, "config.json: rope_scaling.type 'ntk' is not known"),
        ({"rope_scaling": {"type": 3}}, "config.json: rope_scaling.type must be a string, not 3"),
        ({"rope_scaling": [1]}, "config.json: rope_scaling must be an object, not a list of 1"),
        (
            {"rope_scaling": {"type": "linear", "factor": 0}},
            "config.json: rope_scaling.factor must be a finite number above 0, not 0",
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": "four"}},
            'config.json: rope_scaling.factor must be a number, not "four"',
        ),
        ({"rope_scaling": {"type": "linear"}}, "config.json: rope_scaling.factor is missing"),
        ({"rope_theta": 0}, "config.json: rope_theta must be a finite number above 0, not 0"),
        ({"rope_theta": "1e4"}, 'config.json: rope_theta must be a number, not "1e4"'),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
            "config.json: rope_scaling.short_factor must have 32 entries, one per pair, not 1",
        ),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": ["a"], "long_factor": [1.0]}},
            "config.json: rope_scaling.short_factor must be a list of numbers, not a list of 1",
        ),
        ({"head_dim": 63}, "config.json: head_dim: rotary_dim must be even"),
        ({"hidden_size": 257}, "config.json: head_dim is not in the file, and 257 channels do not divide into 4 heads"),
        (
            {"model_type": "phi", "partial_rotary_factor": 0.33},
            "config.json: partial_rotary_factor: rotary_dim must be even",
        ),
        (
            {"model_type": "phi", "partial_rotary_factor": 0.0},
            "config.json: partial_rotary_factor leaves 0 of 64 channels",
        ),
        ({"model_type": "phi", "partial_rotary_factor": 1.5}, "config.json: partial_rotary_factor leaves 96 of 64"),
        ({"layer_types": ["full_attention"]}, "config.json: layer_types must have 2 entries, one per layer, not 1"),
        ({"layer_types": "full"}, 'config.json: layer_types must be a list of strings, not "full"'),
        ({"num_hidden_layers": 10**9}, "config.json: num_hidden_layers must be at most 100000"),
        (
            {"model_type": "qwen2_vl", "rope_scaling": {"mrope_section": [1, 2, 3]}},
            "config.json: rope_scaling.mrope_section [1, 2, 3] must add up to the 32 pairs, not 6",
        ),
        (
            {"model_type": "gemma3_text", "rope_parameters": {"full_attention": {"rope_type": "yarm"}}},
            "config.json: rope_parameters.full_attention.rope_type 'yarm' is not known",
        ),
    ],
)
def test_bad_fields_are_named_with_their_file(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        positions_of(**llama(**fields))
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message


def test_an_unknown_type_is_never_the_default() -> None:
    with pytest.raises(UnsupportedRope):
        positions_of(**llama(rope_scaling={"rope_type": "yi"}))


def test_a_family_without_head_dim_says_so() -> None:
    with pytest.raises(ConfigError, match="head_dim is not in the file, and neither are"):
        positions_of(model_type="unheard-of", rope_theta=1e4)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 600)
    | st.floats()
    | st.sampled_from(
        ["default", "yarn", "llama3", "longrope", "dynamic", "linear", "proportional", "x", [], [1.0] * 8, {}, 10**30]
    )
)
KEYS = st.sampled_from(
    [
        *(
            "rope_type",
            "type",
            "factor",
            "rope_theta",
            "partial_rotary_factor",
            "mrope_section",
            "short_factor",
            "alpha",
        ),
        *("long_factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "beta_fast"),
        *("attention_factor", "mscale", "mscale_all_dim", "truncate", "full_attention", "sliding_attention", "main"),
    ]
)
TOP = st.sampled_from(
    [
        *(
            "hidden_size",
            "num_attention_heads",
            "num_hidden_layers",
            "head_dim",
            "max_position_embeddings",
            "rotary_dim",
        ),
        *("layer_types", "no_rope_layers", "sliding_window", "sliding_window_pattern", "rope_theta", "block_types"),
        *("compress_ratios", "hybrid_layer_pattern", "qk_rope_head_dim", "rope_ratio", "rotary_pct", "pad_token_id"),
        *(
            "relative_attention_num_buckets",
            "relative_attention_max_distance",
            "attn_config",
            "alibi",
            "rope_interleave",
        ),
        *("full_attn_idxs", "global_head_dim", "position_embedding_type", "use_dynamic_ntk", "partial_rotary_factor"),
    ]
)
DICTIONARIES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4), max_size=5)


@given(
    family=st.sampled_from([*known_families(), "unheard-of"]),
    top=st.dictionaries(TOP, VALUES, max_size=4),
    scaling=st.none() | DICTIONARIES,
    parameters=st.none() | DICTIONARIES,
)
def test_any_position_fields_give_a_scheme_or_an_error(
    family: str, top: dict[str, Any], scaling: Any, parameters: Any
) -> None:
    raw = {"model_type": family, **top, "rope_scaling": scaling, "rope_parameters": parameters}
    assert outcome(raw).startswith(("config.json: ", *SCHEMES))


def outcome(raw: dict[str, Any]) -> str:
    """The message of the error, or the kind of scheme, after computing with it."""
    try:
        found = positions_of(**raw)
        if isinstance(found, Rope) and found.layout_known:
            found.rotate(np.ones(found.settings.head_dim), 7)
    except ConfigError as error:
        return error.message if "\n" not in error.message else "several lines"
    return found.kind
