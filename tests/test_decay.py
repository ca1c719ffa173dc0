"""What is left of a dot product with distance: against its closed form, and against rotations that are carried out."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import write_json

from embtool import RopeOverride, open_model, rope_decay
from embtool.errors import InvalidArgument


def llama(tmp_path: Path, **fields: Any) -> Path:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 6, "max_position_embeddings": 16384}
    folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "llama", "rope_theta": 5e5, **sizes, **fields})
    return folder


def test_the_closed_form(tmp_path: Path) -> None:
    with open_model(llama(tmp_path)) as model:
        answer = rope_decay(model, 500)
    assert len(answer) == 501
    for row in answer:
        expected = sum(math.cos(row.distance * 5e5 ** (-2 * i / 64)) for i in range(32)) / 32
        assert row.left == pytest.approx(expected, abs=1e-9)
        assert row.turned == pytest.approx(expected, abs=1e-9)
    assert answer.layers[0].form.startswith("closed form")
    assert answer.layers[0].halved_at == next(row.distance for row in answer if row.left <= 0.5)
    assert answer.layers[0].least == min(row.left for row in answer)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 32,
    "long_factor": [1.0 + pair for pair in range(32)],
    "original_max_position_embeddings": 64,
}

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "partial": {"model_type": "stablelm", "partial_rotary_factor": 0.25},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "yarn": {"rope_scaling": YARN},
    "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}, "max_position_embeddings": 32},
    "longrope": {"rope_scaling": LONG},
    "interleaved": {"model_type": "cohere"},
    "gemma3": {"model_type": "gemma3_text", "head_dim": 64, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_rotations_that_are_carried_out(kind: str, tmp_path: Path) -> None:
    """A query and a key, the same in every channel, each turned to its place in a sequence that ends at the query."""
    with open_model(llama(tmp_path, **KINDS[kind])) as model:
        answer = rope_decay(model, 100)
        for layer in answer.layers:
            query = np.full(64, 1 / 8)
            left = {row.distance: row.left for row in answer if row.layer_type == layer.layer_type}
            name = layer.layer_type if len(answer.layers) > 1 else None

            def turned(place: int, name: str | None = name, query: Any = query) -> Any:
                return model.rope.rotate(query, place, layer_type=name, sequence_length=101)

            whole = turned(100) @ turned(100)
            for distance in (0, 1, 2, 17, 63, 100):
                expected = float(turned(100) @ turned(100 - distance) / whole)
                assert left[distance] == pytest.approx(expected, abs=1e-9), (layer.layer_type, distance)
    assert {row.layer_type for row in answer} == {layer.layer_type for layer in answer.layers}


def test_channels_that_pass_through_lose_nothing(tmp_path: Path) -> None:
    with open_model(llama(tmp_path, **KINDS["partial"])) as model:
        answer = rope_decay(model, 1000)
        assert "48 channels pass through" in " ".join(answer.remarks(answer.layers[0]))
    for row in answer:
        assert row.left == pytest.approx((16 * row.turned + 48) / 64)


def test_pairs_that_never_complete_a_turn(run: Program, tmp_path: Path) -> None:
    shown = run("rope", llama(tmp_path), "--decay", "0..4096", "-f", "table").ok().text
    unfinished = [i for i in range(32) if 2 * math.pi * 5e5 ** (2 * i / 64) > 16384]
    assert f"pairs {unfinished[0]}..31 never complete a turn within the context of 16,384 tokens" in shown
    assert "closed form" in shown


def test_long_ranges_are_spaced_evenly_and_that_is_said(run: Program, tmp_path: Path) -> None:
    answer = run("rope", llama(tmp_path), "--decay", "0..1000000", "--json").ok()
    distances = [row["distance"] for row in answer.document["distances"]]
    assert len(distances) == 4097
    assert (distances[0], distances[-1]) == (0, 1_000_000)
    assert distances == sorted(set(distances))
    assert "4,097 of 1,000,001 distances, evenly spaced" in answer.of("note")


def test_the_picture_shows_each_kind_of_layer(run: Program, tmp_path: Path) -> None:
    folder, file = llama(tmp_path, **KINDS["gemma3"]), tmp_path / "decay.svg"
    run("rope", folder, "--decay", "0..200", "-o", file).ok()
    with open_model(folder) as model:
        answer = rope_decay(model, 200)
    lines = [each for each in ET.parse(file).iter() if each.tag.endswith("polyline")]  # noqa: S314 - our own file
    assert [each.get("data-series") for each in lines] == ["full_attention", "sliding_attention"]
    for line, layer in zip(lines, answer.layers, strict=True):
        spots = [tuple(map(float, spot.split(","))) for spot in (line.get("points") or "").split()]
        left = [row.left for row in answer if row.layer_type == layer.layer_type]
        assert len(spots) == len(left) == 201
        x, y = np.array(spots).T
        assert np.ptp(np.diff(x)) < 0.01
        scale = (y[0] - y[100]) / (left[0] - left[100])
        assert (y - y[0]) / scale == pytest.approx(np.array(left) - left[0], abs=0.01)
    run("rope", folder, "--decay", "0..200", "-o", tmp_path / "decay.txt").refused(2, "a picture's name ends in")


def test_what_if(tmp_path: Path) -> None:
    with open_model(llama(tmp_path)) as model:
        plain, slower = rope_decay(model, 400), rope_decay(model, 400, override=RopeOverride(scaling="linear:4"))
    assert [row.left for row in slower][::4] == pytest.approx([row.left for row in plain][:101])


@pytest.mark.parametrize("text", ["x", "5", "5..", "-1..4", "9..3", "0..99999999999999999999"])
def test_no_range(text: str, run: Program, tmp_path: Path) -> None:
    run("rope", llama(tmp_path), f"--decay={text}").refused(2)


def test_the_library_refuses_too(tmp_path: Path) -> None:
    with open_model(llama(tmp_path)) as model, pytest.raises(InvalidArgument, match="distances are a range"):
        rope_decay(model, 3, first=9)
