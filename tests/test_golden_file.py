"""Golden files of rotations, read by the reader that the documentation shows, held against transformers' figures."""

from __future__ import annotations

import json
import math
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import write_json

from embtool import RopeOverride, open_model, rope_golden
from embtool.configs.config import parse_config
from embtool.positions import Rope, read_positions
from embtool.questions.rope_golden import ask_golden, golden_positions, golden_query
from embtool.questions.rotation import Manner, Rotary

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parent.parent / "docs" / "howto" / "engines.md"
ORACLE: dict[str, Any] = json.loads((DATA / "rope_oracle.json").read_text())["cases"]
REAL = os.environ.get("EMBTOOL_TEST_REAL")
RECORDED = sorted(name for name, case in ORACLE.items() if case["expected"]["layers"])


@cache
def figures() -> dict[str, np.ndarray]:
    with np.load(DATA / "rope_oracle.npz") as archive:
        return dict(archive)


@cache
def reader() -> dict[str, Any]:
    """Run the Python reader of the how-to."""
    found: dict[str, Any] = {}
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def golden" in block
    )
    exec(code, found)  # noqa: S102 - the reader of our own page
    return found


def _document(rope: Rope, name: str) -> dict[str, Any]:
    rotary = Rotary(name, rope.layers, rope.context_length, rope.nope_layers)
    made = ask_golden(rotary, rope.first_position, Manner())
    found: dict[str, Any] = json.loads(json.dumps(made.to_dict()))
    return found


LAYOUTS = {"half": "half split", "interleaved": "interleaved pairs", "interleaved-in-half-out": "pairs read"}


def _hold(document: dict[str, Any], expected: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Hold a golden document against what transformers computed: frequencies, widths, and turned queries."""
    for kind, layer in expected["layers"].items():
        entries = [each for each in document["layers"] if kind in ("all", each["layer_type"])]
        first, last = entries[0], entries[-1]
        assert first["rotary_dim"] == layer["rotary_dim"]
        assert layer["layout"].startswith(LAYOUTS[first["layout"]])
        assert first["attention_factor"] == pytest.approx(layer["attention_scaling"])
        recorded = arrays[f"{kind}/inv_freq"]
        sections = first["mrope_axes"] is not None and first["mrope_axes"][:2] == ["h", "w"]
        recorded = np.sort(recorded)[::-1] if sections else recorded  # ERNIE keeps those of a section side by side
        assert first["inv_freq"] == pytest.approx(recorded, rel=1e-6, abs=0)
        if f"{kind}/inv_freq_long" in arrays:
            assert last["inv_freq"] == pytest.approx(arrays[f"{kind}/inv_freq_long"], rel=1e-6)
        query = np.random.RandomState(0).standard_normal(layer["vector_length"]).astype(np.float32)
        speeds = np.array(first["inv_freq"])
        for key, values in arrays.items():
            if not key.startswith(f"{kind}/rotated/"):
                continue
            position = int(key.rpartition("/")[2])
            entry = first if (first["sequence_length"] or math.inf) > position else last
            turned = reader()["turned"](entry, query.tolist(), position)
            off = 4e-6 + position * float((speeds * (8 + 4 * np.arange(len(speeds)))).max()) * 2.0**-24
            assert np.abs(np.array(turned) - values).max() <= 4 * entry["attention_factor"] * off, key


@pytest.mark.parametrize("name", RECORDED)
def test_golden_numbers_are_those_of_transformers(name: str) -> None:
    rope = read_positions(parse_config(ORACLE[name]["config"]))
    assert isinstance(rope, Rope)
    arrays = {key.removeprefix(f"{name}/"): held for key, held in figures().items() if key.startswith(f"{name}/")}
    _hold(_document(rope, name), ORACLE[name]["expected"], arrays)


def _real() -> list[str]:
    folder = Path(REAL or "") / "configs"
    return sorted(each.name for each in folder.iterdir() if each.is_dir()) if REAL else []


@pytest.mark.parametrize("name", _real() or ["none"])
def test_golden_files_of_whole_configs_equal_the_recorded_oracle(name: str, run: Program, tmp_path: Path) -> None:
    if REAL is None:
        pytest.skip("EMBTOOL_TEST_REAL names no folder of whole configs")
    entry = json.loads((Path(REAL) / "oracle.json").read_text())["models"][name]
    layers = entry.get("layer_types")
    if not layers:
        pytest.skip("transformers refuses this file, or the model does not rotate")
    file = tmp_path / "model.rope.json"
    run("rope", Path(REAL) / "configs" / name, "--golden", file).ok()
    arrays: dict[str, np.ndarray] = {}
    for kind, layer in layers.items():
        for key in ("inv_freq", "inv_freq_long"):
            if layer.get(key):
                arrays[f"{kind}/{key}"] = np.array(layer[key])
        for position, values in layer["rotated_q"].items():
            arrays[f"{kind}/rotated/{position}"] = np.array(values)
    _hold(json.loads(file.read_text()), {"layers": layers}, arrays)


def _llama(tmp_path: Path, **fields: Any) -> Path:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 4, "max_position_embeddings": 16384}
    folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "llama", "rope_theta": 5e5, **sizes, **fields})
    return folder


def test_what_is_in_a_golden_file(tmp_path: Path) -> None:
    with open_model(_llama(tmp_path)) as model:
        document = rope_golden(model).to_dict()
        (layer,) = document["layers"]
        turned = model.rope.rotate(np.array(layer["query"]), np.array(layer["positions"]))
    assert document["schema"] == "embtool/rope-golden@1"
    assert (document["context_length"], document["first_position"], document["nope_layers"]) == (16384, 0, [])
    assert len(layer["positions"]) == 12
    assert layer["positions"][-1] == 16383
    assert np.array(layer["rotated"]) == pytest.approx(turned, abs=1e-9)
    bits = np.array(layer["query"], np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    assert all(layer["query"][i] != layer["query"][i + 32] for i in range(32))
    assert all(layer["query"][2 * i] != layer["query"][2 * i + 1] for i in range(32))
    assert next(iter(reader()["golden"](document)))[1] == 0
    for query, position, rotated, tolerance in reader()["golden"](document):
        single = np.array(query, np.float32)
        made = np.array(reader()["turned"](layer, single.tolist(), position), np.float32)
        assert np.abs(made - rotated).max() <= tolerance


@pytest.mark.parametrize("length", [1, 2, 5, 12, 13, 4096, 8008, 131_072])
def test_positions_are_within_the_context(length: int) -> None:
    places = golden_positions(length)
    assert list(places) == sorted(set(places))
    assert (places[0], places[-1], len(places)) == (0, length - 1, min(length, 12))


@pytest.mark.parametrize("head_dim", [2, 64, 128, 254, 256, 512])
def test_no_two_channels_of_a_pair_are_alike(head_dim: int) -> None:
    query = golden_query(head_dim)
    assert (query[: head_dim // 2] != query[head_dim // 2 :]).all()
    assert (query[::2] != query[1::2]).all()
    assert (query != 0).all()


def test_both_lengths_of_longrope(tmp_path: Path) -> None:
    scaling = {"rope_type": "longrope", "short_factor": [1.0] * 32, "long_factor": [4.0] * 32}
    folder = _llama(tmp_path, rope_scaling={**scaling, "original_max_position_embeddings": 4096})
    with open_model(folder) as model:
        layers = rope_golden(model).layers
    assert [layer.sequence_length for layer in layers] == [4096, 16384]
    assert layers[0].inv_freq[0] == pytest.approx(4 * layers[1].inv_freq[0])


def test_written_and_printed_alike(run: Program, tmp_path: Path) -> None:
    folder, file = _llama(tmp_path), tmp_path / "x.json"
    assert "wrote" in run("rope", folder, "--golden", file).ok().errors
    printed = run("rope", folder, "--golden", "-").ok()
    assert printed.text == file.read_text()
    run("rope", folder, "--golden", file).refused(2, "is there already: --force replaces it")
    run("rope", folder, "--golden", file, "--force", "--scaling", "yarn:4").ok()
    assert json.loads(file.read_text())["given"] == "--scaling yarn:4"
    with open_model(folder) as model:
        given = rope_golden(model, override=RopeOverride(scaling="yarn:4")).to_dict()
    assert json.loads(file.read_text())["layers"] == json.loads(json.dumps(given["layers"]))
    run("rope", folder, "--golden", "-", "--pos", "3").refused(2, "choose positions and queries themselves")
