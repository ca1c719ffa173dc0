"""What if a model were stretched: settings that are given in place of its own, and one model compared with itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import write_json

from embtool import RopeOverride, compare_rope, open_model
from embtool.configs.config import parse_config
from embtool.errors import InvalidArgument
from embtool.positions import Rope, override, read_positions
from embtool.rope import STRETCHING, frequencies

DATA = Path(__file__).parent / "data"
ORACLE: dict[str, Any] = json.loads((DATA / "rope_oracle.json").read_text())["cases"]
FIELDS = ("rope_scaling", "rope_parameters")


@pytest.fixture(scope="module")
def recorded() -> Any:
    with np.load(DATA / "rope_oracle.npz") as file:
        return dict(file)


def _flat(config: dict[str, Any]) -> dict[str, Any] | None:
    """Find the dictionary of a file that stretches every layer alike; None where there is none."""
    found = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        return None
    return found if found.get("rope_type", found.get("type")) in {*STRETCHING, "su"} - {"default"} else None


STRETCHED = sorted(
    name
    for name, case in ORACLE.items()
    if _flat(case["config"]) is not None and set(case["expected"]["layers"]) == {"all"}
)


@pytest.mark.parametrize("name", STRETCHED)
def test_given_scaling_turns_as_the_file_that_states_it(name: str, recorded: Any) -> None:
    """A file without its scaling, to which that scaling is given, has the frequencies transformers found for it."""
    config = {key: value for key, value in ORACLE[name]["config"].items() if key not in FIELDS}
    scaling = dict(_flat(ORACLE[name]["config"]) or {})
    if "original_max_position_embeddings" in config:  # at the top level of a file it wins, so that is what is given
        scaling["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    if config.get("model_type") == "phi3":
        scaling["rope_type"] = "longrope"
    stated = read_positions(parse_config(ORACLE[name]["config"]))
    plain = parse_config(config)
    found = read_positions(plain)
    assert isinstance(found, Rope)
    assert isinstance(stated, Rope)
    if stated.settings.rope_type != scaling.get("rope_type", scaling.get("type", "")).replace("su", "longrope"):
        pytest.skip("a family that reads this type as another one")
    made = override(found.layers, found.context_length, plain, RopeOverride(scaling=json.dumps(scaling)))
    settings = made.layers[0].settings
    turning = frequencies(settings)
    expected = ORACLE[name]["expected"]["layers"]["all"]
    assert settings.turning_width == expected["rotary_dim"]
    assert turning.inv_freq == pytest.approx(recorded[f"{name}/all/inv_freq"], rel=2e-6, abs=1e-12)
    if settings.short_mscale is None:
        assert turning.attention_factor == pytest.approx(expected["attention_scaling"])


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _folder(tmp_path: Path, **fields: Any) -> Path:
    config = {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 2}
    folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    write_json(folder / "config.json", {**config, "max_position_embeddings": 4096, "rope_theta": 5e5, **fields})
    return folder


def test_nothing_of_the_files_scaling_stays(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path, rope_scaling=LLAMA3)) as model:
        answer = model.rope_table(override=RopeOverride(scaling="yarn:4"))
    (layer,) = answer.layers
    assert layer.rope_theta == 5e5
    assert layer.stretching["factor"] == 4
    assert "low_freq_factor" not in layer.stretching
    assert layer.stretching["original_max_position_embeddings"] == 8192
    assert answer.context_length == 4 * 8192
    assert layer.origins["factor"] == layer.origins["rope_type"] == "--scaling"
    assert layer.origins["original_max_position_embeddings"].endswith("original_max_position_embeddings")
    assert not {"low_freq_factor", "high_freq_factor"} & set(layer.origins)


def test_each_given_value_is_shown_as_given(run: Program, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    asked = ("rope", folder, "--scaling", "linear:2", "--theta", "10000", "--partial", "0.5")
    document = run(*asked, "--json").ok().document
    assert document["given"] == "--scaling linear:2 --theta 10000.0 --partial 0.5"
    (layer,) = document["layers"]
    assert (layer["rope_type"], layer["factor"], layer["rope_theta"], layer["rotary_dim"]) == ("linear", 2, 1e4, 32)
    assert [layer["origins"][name] for name in ("rope_type", "factor", "rope_theta", "rotary_dim")] == [
        *("--scaling", "--scaling", "--theta", "--partial")
    ]
    shown = run(*asked, "-f", "table").ok().text
    assert "given, not the model's own" in shown
    assert "given" not in run("rope", folder, "--json").ok().document


def test_a_flat_scaling_goes_where_the_family_reads_one(tmp_path: Path) -> None:
    gemma = _folder(tmp_path, model_type="gemma3_text", head_dim=64, num_hidden_layers=6)
    with open_model(gemma) as model:
        kinds = {layer.layer_type: layer.rope_type for layer in model.rope_table(override=_given("linear:2")).layers}
        nested = RopeOverride(scaling={"sliding_attention": {"rope_type": "linear", "factor": 3}})
        both = {layer.layer_type: layer.rope_type for layer in model.rope_table(override=nested).layers}
        with pytest.raises(InvalidArgument, match="no layers of type 'other' turn here"):
            model.rope_table(override=RopeOverride(scaling={"other": {"rope_type": "default"}}))
    assert kinds == {"full_attention": "linear", "sliding_attention": "default"}
    assert both == {"full_attention": "default", "sliding_attention": "linear"}


def _given(scaling: str) -> RopeOverride:
    return RopeOverride(scaling=scaling)


def test_without_a_model(run: Program) -> None:
    document = run("rope", "--dim", "8", "--theta", "10000", "--scaling", "linear:4", "--json").ok().document
    assert document["model"] is None
    assert document["layers"][0]["inv_freq"] == pytest.approx([0.25, 0.025, 0.0025, 0.00025])


BAD = {
    "yarn": "--scaling: factor is missing, and rope_type 'yarn' needs it",
    "yarn:x": "--scaling is TYPE:FACTOR, such as yarn:4, or a JSON object, as engines take it, not 'yarn:x'",
    "yarn:nan": "--scaling: factor must be a number, not NaN",
    "foo:2": "--scaling: rope_type 'foo' is not known",
    "longrope": "--scaling: short_factor is missing, and rope_type 'longrope' needs it",
    '{"rope_type": "llama3", "factor": 8}': "--scaling: low_freq_factor is missing, and rope_type 'llama3' needs it",
    '{"rope_type": "yarn", "facter": 4}': "--scaling: 'facter' is no field of RoPE",
    '{"rope_type": "linear", "factor": -1}': "--scaling: factor must be a finite number above 0, not -1",
    '{"rope_type": "linear", "factor": "4"}': '--scaling: factor must be a number, not "4"',
    '{"factor": 4}': "--scaling: rope_type is missing",
    '{"rope_type": "linear", "factor": 4, "factor": 5}': "--scaling is not JSON: 'factor' is given twice",
    "{": "--scaling is not JSON",
    '{"a":' * 5000: "--scaling is not JSON",
}


@pytest.mark.parametrize("scaling", BAD)
def test_what_no_formula_can_use_is_refused_by_name(scaling: str, run: Program, tmp_path: Path) -> None:
    run("rope", _folder(tmp_path), "--scaling", scaling).refused(2, BAD[scaling])


def test_theta_twice_and_an_odd_share(run: Program, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    scaling = '{"rope_type": "default", "rope_theta": 6}'
    run("rope", folder, "--theta", "5", "--scaling", scaling).refused(2, "--theta is given twice")
    run("rope", folder, "--theta", "0").refused(2, "--theta must be a finite number above 0")
    run("rope", folder, "--partial", "0").refused(2, "--partial must be above 0 and at most 1")
    run("rope", folder, "--partial", "0.3").refused(2, "--partial: rotary_dim must be even")


# --- Compared ---------------------------------------------------------------------------------------------------------


def test_one_model_as_it_is_and_stretched(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path)) as model:
        found = compare_rope(model, model, override=_given("yarn:4"))
    a, b = (side.layers[0].inv_freq for side in found.models)
    changes = [pair.change for pair in found.pairs]
    assert changes[0] == "untouched"
    assert changes[-1] == "slowed"
    assert list(dict.fromkeys(changes)) == ["untouched", "ramp", "slowed"]
    assert [pair.slower for pair in found.pairs] == pytest.approx(a / b)
    assert found.pairs[-1].slower == pytest.approx(4)
    assert [pair.turns_a for pair in found.pairs] == pytest.approx(4096 * a / (2 * math.pi))
    assert [pair.turns_b for pair in found.pairs] == pytest.approx(16384 * b / (2 * math.pi))
    assert [side.context_length for side in found.models] == [4096, 16384]
    assert [turned.position for turned in found.cosines] == [1024, 4096, 8192, 16384]
    # the fixed query has 1/8 in all 64 channels, so that the cosine is the mean of cos of the difference of the angles
    expected = [np.cos(turned.position * (a - b)).mean() for turned in found.cosines]
    assert [turned.cosine for turned in found.cosines] == pytest.approx(expected, abs=1e-12)
    assert found.to_dict()["query"] == "1/sqrt(head_dim) in every channel"
    assert found.models[1].layers[0].attention_factor == pytest.approx(0.1 * math.log(4) + 1)


def test_the_same_twice_differs_nowhere(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path)) as model:
        found = compare_rope(model, model)
    assert not found.differences
    assert {pair.change for pair in found.pairs} == {"untouched"}
    assert [turned.cosine for turned in found.cosines] == pytest.approx([1] * len(found.cosines))


def test_a_smaller_theta_is_faster(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path)) as model:
        found = compare_rope(model, model, override=RopeOverride(theta=1e4))
    assert [pair.change for pair in found.pairs] == ["untouched"] + ["faster"] * 31


def test_one_name_is_enough_where_something_is_given(run: Program, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    once = run("rope", "compare", folder, "--scaling", "yarn:4", "--json").ok().document
    assert once == run("rope", "compare", folder, folder, "--scaling", "yarn:4", "--json").ok().document
    assert once["models"][1]["given"] == "--scaling yarn:4"
    assert once["models"][0]["given"] is None
    shown = run("rope", "compare", folder, "--scaling", "yarn:4", "-f", "table").ok().text
    assert "slowed:" in shown
    assert "the query is 1/sqrt(head_dim) in every channel" in shown
    assert run("rope", "compare", folder).status == 2


def test_a_learned_table_beside_rope(run: Program, tmp_path: Path) -> None:
    gpt2 = _folder(tmp_path, model_type="gpt2", n_embd=256, n_head=4, n_layer=2, max_position_embeddings=1024)
    rotates = _folder(tmp_path)
    found = run("rope", "compare", gpt2, rotates, "--json").ok()
    assert [side["kind"] for side in found.document["models"]] == ["learned", "rope"]
    assert found.document["cosines"] == found.document["pairs"] == []
    context = next(each for each in found.document["differences"] if each["field"] == "context_length")
    assert (context["a"], context["b"]) == (1024, 4096)
    assert "only the contexts compare" in found.of("note")[0]
    assert run("rope", "compare", gpt2, gpt2).status != 0


def test_heads_of_other_widths_turn_no_common_query(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path)) as one, open_model(_folder(tmp_path, head_dim=128)) as other:
        found = compare_rope(one, other)
    assert not found.cosines
    assert found.notes == ("no cosines: heads of 64 and 128 channels turn no query that both have",)


def test_a_length_is_the_context_of_what_is_given(tmp_path: Path) -> None:
    with open_model(_folder(tmp_path)) as model:
        found = compare_rope(model, model, override=RopeOverride(scaling=LLAMA3), length=50_000)
        asked = model.rope_table(override=RopeOverride(scaling="dynamic:2"), length=20_000)
    assert [side.context_length for side in found.models] == [4096, 50_000]
    assert found.notes == ("the context is taken to be 50,000 tokens: --length",)
    assert found.pairs[0].turns_b == pytest.approx(50_000 / (2 * math.pi))
    assert asked.context_length == 20_000
    assert asked.layers[0].inv_freq[-1] == pytest.approx(5e5 ** (-62 / 64) / (2 * 20_000 / 4096 - 1), rel=1e-9)
