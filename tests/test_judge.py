"""The judge of positions: traces of right engines, of wrong ones, and of none.

Two kinds of traces are judged: those in `data/rope_traces.npz`, made by transformers with mistakes injected
(`tools/rope_traces.py`), and those made here by a few lines of numpy that share nothing with what they judge.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import write_json

from embtool import RopeOverride, judge_rope, open_model
from embtool.configs.config import parse_config
from embtool.errors import FormatError, InvalidArgument
from embtool.judge import MISTAKES, trace_of
from embtool.positions import Rope, read_positions
from embtool.questions.rope_judge import RopeJudgement, ask_judge
from embtool.questions.rotation import Rotary

DATA = Path(__file__).parent / "data" / "rope_traces.npz"


# --- Traces of transformers -------------------------------------------------------------------------------------------


@cache
def recorded() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(DATA) as archive:
        arrays = dict(archive)
    return json.loads(bytes(arrays.pop("about"))), arrays


def _unpacked(values: np.ndarray) -> np.ndarray:
    """BF16 is kept as the upper half of a float32."""
    return (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values


def _judged(entry: dict[str, Any]) -> RopeJudgement:
    about, arrays = recorded()
    family, kind = entry["family"], about["kinds"][entry["family"]]
    rope = read_positions(parse_config(about["families"][family]))
    assert isinstance(rope, Rope)
    rotary = Rotary(family, rope.layers, rope.context_length, rope.nope_layers)
    held = {
        "positions": arrays[f"{family}/positions"],
        "before": _unpacked(arrays[entry["before"]]),
        "after": _unpacked(arrays[f"{entry['key']}/after"]),
        **({} if kind == "all" else {"layer_type": kind}),
    }
    return ask_judge(rotary, trace_of(held), entry["key"], rope)


FAMILIES = sorted(recorded()[0]["families"])


def _entries(family: str, number: int) -> list[dict[str, Any]]:
    traces = recorded()[0]["traces"]
    return [entry for entry in traces if entry["family"] == family and len(entry["mistakes"]) == number]


def test_at_least_twelve_families_in_three_precisions() -> None:
    about, _ = recorded()
    assert len(about["families"]) >= 12
    assert {entry["precision"] for entry in about["traces"]} == {"float32", "bfloat16", "float16"}
    made = {name for entry in about["traces"] for name in entry["mistakes"]}
    assert len(made) >= 14
    assert made <= set(MISTAKES)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_right_trace_is_blamed(family: str) -> None:
    right = _entries(family, 0)
    assert len(right) == 3
    assert not [entry["key"] for entry in right if not _judged(entry).agrees]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_mistake_is_named(family: str) -> None:
    wrong = _entries(family, 1)
    assert len(wrong) >= 5
    for entry in wrong:
        assert [each.mistake for each in _judged(entry).found] == entry["mistakes"], entry["key"]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_mistakes_are_named(family: str) -> None:
    """Both are named, but where one of them alone makes the same trace: then that one is."""
    for entry in _entries(family, 2):
        named = {each.mistake for each in _judged(entry).found}
        assert named in [set(entry["mistakes"]), *map(set, entry["same"])], entry["key"]


# --- Traces of a few lines of numpy -----------------------------------------------------------------------------------

PLACES = np.array([0, 1, 3, 17, 100, 999, 5000, 12_345])


def llama(tmp_path: Path, **fields: Any) -> Path:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 4, "max_position_embeddings": 16384}
    folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "llama", "rope_theta": 5e5, **sizes, **fields})
    return folder


def turned(
    theta: float = 5e5, dim: int = 64, shift: int = 0, slower: float = 1.0, grown: float = 1.0
) -> dict[str, Any]:
    """Queries before and after a rotation of pairs (i, i + dim/2), written out."""
    queries = np.random.default_rng(7).standard_normal((len(PLACES), dim))
    after = np.empty_like(queries)
    for row, place in enumerate(PLACES):
        for pair in range(dim // 2):
            angle = (int(place) + shift) * theta ** (-2 * pair / dim) / slower
            x, y = queries[row, pair], queries[row, pair + dim // 2]
            after[row, pair] = grown * (x * math.cos(angle) - y * math.sin(angle))
            after[row, pair + dim // 2] = grown * (y * math.cos(angle) + x * math.sin(angle))
    return {"positions": PLACES, "before": queries.astype(np.float32), "after": after.astype(np.float32)}


def waves(theta: float = 5e5, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    angles = PLACES[:, None] * theta ** (-np.arange(0, dim, 2) / dim)
    return np.cos(angles), np.sin(angles)


def found(folder: Path, trace: dict[str, Any], **options: Any) -> list[str]:
    with open_model(folder) as model:
        answer = judge_rope(model, trace, **options)
    return [answer.verdict] if not answer.found else [each.mistake for each in answer.found]


def test_each_kind_of_evidence(tmp_path: Path) -> None:
    folder = llama(tmp_path)
    cos, sin = waves()
    speeds = 5e5 ** (-np.arange(0, 64, 2) / 64)
    for part in (
        turned(),
        {"positions": PLACES, "cos": cos, "sin": sin},
        {"positions": PLACES, "cos": np.hstack([cos, cos]), "sin": np.hstack([sin, sin])},
        {"positions": PLACES, "cos": np.repeat(cos, 2, axis=1), "sin": np.repeat(sin, 2, axis=1)},
        {"positions": PLACES, "inv_freq": speeds.astype(np.float32)},
    ):
        assert found(folder, part) == ["agrees"]
    cos, sin = waves(theta=1e4)
    assert found(folder, turned(theta=1e4)) == ["theta"]
    assert found(folder, {"positions": PLACES, "cos": cos, "sin": sin}) == ["theta"]
    assert found(folder, {"positions": PLACES, "inv_freq": 1e4 ** (-np.arange(0, 64, 2) / 64)}) == ["theta"]
    assert found(folder, {"positions": PLACES, "cos": waves()[0], "sin": -waves()[1]}) == ["direction"]


def test_one_query_for_all_positions(tmp_path: Path) -> None:
    trace = turned()
    same = {**trace, "before": trace["before"][:1]}
    with open_model(llama(tmp_path)) as model:
        assert judge_rope(model, same).verdict == "unexplained"
        cos, sin = waves()
        x, y = np.full((8, 32), 0.5), np.full((8, 32), -0.25)
        after = np.hstack([x * cos - y * sin, y * cos + x * sin])
        assert judge_rope(model, {**same, "before": np.hstack([x, y])[:1], "after": after}).agrees


def test_what_no_known_mistake_explains(tmp_path: Path) -> None:
    trace = turned()
    trace["after"] = trace["after"] + np.float32(0.5)
    with open_model(llama(tmp_path)) as model:
        answer = judge_rope(model, trace)
    assert answer.verdict == "unexplained"
    assert "no known mistake explains this" in answer.title()
    assert not answer.found
    assert answer.hypotheses[0].mistakes == ()
    assert (answer.hypotheses[0].worst or 0) > 1
    assert answer.worst is not None
    assert answer.worst.cosine < 1


def test_the_evidence(tmp_path: Path) -> None:
    with open_model(llama(tmp_path)) as model:
        answer = judge_rope(model, turned(shift=1))
    assert [each.mistake for each in answer.found] == ["position-off-by-one"]
    assert answer.found[0].detail == "one too large"
    right, best = answer.hypotheses[:2]
    assert (right.mistakes, right.explains) == ((), False)
    assert (best.mistakes, best.explains) == (("position-off-by-one",), True)
    assert best.worst is not None
    assert right.worst is not None
    assert best.worst <= 1 < right.worst
    assert answer.precisions == {"after": "float32"}


def test_pairs_that_are_off_are_named(tmp_path: Path) -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
    cos, sin = waves()
    with open_model(llama(tmp_path, rope_scaling=scaling)) as model:
        answer = judge_rope(model, {"positions": PLACES, "cos": cos, "sin": sin})
        plain = judge_rope(model, {"positions": PLACES, "inv_freq": 5e5 ** (-np.arange(0, 64, 2) / 64)})
        b = model.rope_table().layers[0].inv_freq
    assert [each.mistake for each in answer.found] == ["scaling-ignored"]
    slowed = np.flatnonzero(~np.isclose(b, 5e5 ** (-np.arange(0, 64, 2) / 64), rtol=1e-5)).tolist()
    assert list(plain.pairs_off or ()) == slowed


def test_two_mistakes_of_numpy(tmp_path: Path) -> None:
    assert found(llama(tmp_path), turned(theta=1e4, shift=1)) == ["theta", "position-off-by-one"]


def test_an_engine_that_was_given_other_settings_is_judged_by_these(tmp_path: Path) -> None:
    folder = llama(tmp_path)
    assert found(folder, turned(slower=4.0), override=RopeOverride(scaling="linear:4")) == ["agrees"]
    assert found(folder, turned(), override=RopeOverride(scaling="linear:4")) == ["scaling-ignored"]


def test_what_short_traces_cannot_show_is_said(tmp_path: Path) -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, "attention_factor": 1.0}
    folder = llama(tmp_path, rope_scaling=scaling)
    with open_model(folder) as model:
        made = model.rope.rotate(np.ones(64), [0, 1])
        short = {"positions": [0, 1], "before": np.ones(64), "after": made.astype(np.float16)}
        answer = judge_rope(model, short)
    assert answer.agrees
    assert "scaling-ignored" in answer.unseen
    assert "one position only" in " ".join(answer.notes)
    assert "layout" not in answer.unseen or np.allclose(made[1, :32], made[1, 32:])


def test_a_layer_that_should_not_turn(tmp_path: Path) -> None:
    folder = llama(tmp_path, model_type="smollm3", no_rope_layers=[1, 1, 1, 0])
    trace = turned()
    still = {**trace, "after": trace["before"]}
    assert found(folder, {**trace, "layer": 0}) == ["agrees"]
    assert found(folder, {**still, "layer": 3}) == ["agrees"]
    assert found(folder, {**trace, "layer": 3}) == ["layer-turned"]
    assert found(folder, {**still, "layer": 0}) == ["layer-not-turned"]
    with open_model(folder) as model, pytest.raises(InvalidArgument, match="layer 9 is named, and there are 4 layers"):
        judge_rope(model, {**trace, "layer": 9})


def test_kinds_of_layer(tmp_path: Path) -> None:
    folder = llama(tmp_path, model_type="gemma3_text", head_dim=64, num_hidden_layers=6, rope_theta=5e5)
    trace = turned()
    assert found(folder, trace) == ["agrees"]
    assert found(folder, {**trace, "layer_type": "sliding_attention"}) == ["layer-type"]
    assert found(folder, {**turned(theta=1e4), "layer_type": "sliding_attention"}) == ["agrees"]
    with open_model(folder) as model, pytest.raises(InvalidArgument, match="of a layer of type 'other'"):
        judge_rope(model, {**trace, "layer_type": "other"})


def test_three_positions(tmp_path: Path) -> None:
    section = {"rope_type": "default", "rope_theta": 5e5, "mrope_section": [8, 12, 12]}
    folder = llama(tmp_path, model_type="qwen2_vl_text", rope_parameters=section)
    places = np.array([[0, 4, 9], [3, 11, 2], [100, 7, 40]])
    axis = np.repeat([0, 1, 2], [8, 12, 12])
    speeds = 5e5 ** (-np.arange(0, 64, 2) / 64)
    right = places[:, axis] * speeds
    swapped = places[:, np.array([0, 2, 1])[axis]] * speeds
    for angles, verdict in ((right, "agrees"), (swapped, "mrope-sections")):
        trace = {"positions": places, "cos": np.cos(angles), "sin": np.sin(angles)}
        assert found(folder, trace) == [verdict]
    with open_model(llama(tmp_path)) as model, pytest.raises(InvalidArgument, match="three positions"):
        judge_rope(model, {"positions": places, "cos": np.cos(right), "sin": np.sin(right)})


# --- Files ------------------------------------------------------------------------------------------------------------


def _safetensors(arrays: dict[str, tuple[str, np.ndarray]], **metadata: str) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, array) in arrays.items():
        raw = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_every_kind_of_file(run: Program, tmp_path: Path) -> None:
    folder, trace = llama(tmp_path), turned()
    np.savez(tmp_path / "plain.npz", **trace)
    np.savez_compressed(tmp_path / "small.npz", **trace, layer_type=np.array("all"))
    (tmp_path / "lists.json").write_text(json.dumps({name: held.tolist() for name, held in trace.items()}))
    bits = {name: (trace[name].view(np.uint32) >> 16).astype(np.uint16) for name in ("before", "after")}
    tensors = {"positions": ("I64", trace["positions"]), "before": ("BF16", bits["before"])}
    before = (bits["before"].astype(np.uint32) << 16).view(np.float32)
    cos, sin = waves()
    x, y = before[:, :32], before[:, 32:]
    after = np.hstack([x * cos - y * sin, y * cos + x * sin]).astype(np.float32)
    tensors["after"] = ("BF16", (after.view(np.uint32) >> 16).astype(np.uint16))
    (tmp_path / "some.safetensors").write_bytes(_safetensors(tensors, layer_type="all"))
    for name in ("plain.npz", "small.npz", "lists.json", "some.safetensors"):
        answer = run("rope", folder, "--judge", tmp_path / name, "--json").ok().document
        assert answer["schema"] == "embtool/rope-judge@1"
        assert answer["verdict"] == "agrees", name
    assert answer["precisions"] == {"after": "bfloat16"}


def test_status_1_where_the_engine_is_wrong(run: Program, tmp_path: Path) -> None:
    folder = llama(tmp_path)
    np.savez(tmp_path / "trace.npz", **turned(theta=1e4))
    wrong = run("rope", folder, "--judge", tmp_path / "trace.npz", "-f", "table")
    assert wrong.status == 1
    assert "another theta is used (10,000 in place of 500,000)" in " ".join(wrong.text.split())
    assert run("rope", folder, "--judge", tmp_path / "trace.npz", "--theta", "10000").status == 0


GOOD = {"positions": [0, 5], "cos": [[1.0] * 32, [0.5] * 32], "sin": [[0.0] * 32, [0.1] * 32]}

BAD: dict[str, tuple[Any, str]] = {
    "no positions": ({**GOOD, "positions": None}, "has no positions"),
    "nothing": ({"positions": [0, 1]}, "has nothing to judge"),
    "half": ({**GOOD, "sin": None}, "has cos without the other"),
    "width": ({**GOOD, "cos": [[1.0] * 40] * 2, "sin": [[0.5] * 40] * 2}, "cos has 20 columns"),
    "count": ({**GOOD, "positions": [0, 1, 2]}, "cos has shape (2, 32), and there are 3 positions"),
    "ragged": ({**GOOD, "cos": [[1.0], [1.0, 2.0]]}, "cos is no list of numbers"),
    "text": ({**GOOD, "cos": "abc"}, "cos is no list of numbers"),
    "deep": ({**GOOD, "cos": [[[[1.0]]]]}, "cos is no list of numbers"),
    "fraction": ({**GOOD, "positions": [0.5, 1]}, "positions are whole numbers from 0 to 2^53"),
    "negative": ({**GOOD, "positions": [-1, 1]}, "positions are whole numbers from 0 to 2^53"),
    "position 0": ({**GOOD, "positions": [0, 0]}, "has position 0 only"),
    "channels": ({"positions": [1], "before": [[1.0] * 8], "after": [[1.0] * 8]}, "after has 8 channels"),
    "zeros": ({"positions": [1], "before": [[0.0] * 64], "after": [[0.0] * 64]}, "before is all zeros"),
    "list": ([1, 2], "is no trace"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_trace_is_refused_by_name(case: str, run: Program, tmp_path: Path) -> None:
    held, words = BAD[case]
    file = tmp_path / "trace.json"
    if case == "width":
        held = {**held, "cos": np.arange(80.0).reshape(2, 40).tolist(), "sin": np.arange(80.0).reshape(2, 40).tolist()}
        words = "cos has 40 columns that are not twice the same, and a head has at most 32 pairs"
    file.write_text(json.dumps(held))
    run("rope", llama(tmp_path), "--judge", file).refused(6, words)


def test_nan_is_named(tmp_path: Path, run: Program) -> None:
    file = tmp_path / "trace.json"
    file.write_text(json.dumps({**GOOD, "cos": [[math.nan] * 32] * 2}))
    run("rope", llama(tmp_path), "--judge", file).refused(6, "cos holds NaN or infinity, first at [0, 0]")


def test_a_pickle_is_never_loaded(tmp_path: Path, run: Program) -> None:
    np.savez(tmp_path / "trace.npz", positions=np.array([{}], dtype=object))
    run("rope", llama(tmp_path), "--judge", tmp_path / "trace.npz").refused(6, "pickle")


def test_hostile_files(tmp_path: Path, run: Program) -> None:
    folder = llama(tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("positions.npy", b"\0" * (80 << 20))
    run("rope", folder, "--judge", tmp_path / "bomb.npz").refused(6, "too large")
    whole = io.BytesIO()
    np.savez(whole, **turned())
    for name, data in {
        "cut.npz": whole.getvalue()[:200],
        "cut.safetensors": _safetensors({"positions": ("I64", np.arange(3))})[:-4],
        "long.safetensors": struct.pack("<Q", 1 << 60) + b"{}",
        "noise.json": b"\xff\xfe\x00",
        "nested.json": b"[" * 100_000,
        "empty.json": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        run("rope", folder, "--judge", tmp_path / name).refused(6)


def test_the_library_refuses_what_is_no_array(tmp_path: Path) -> None:
    with open_model(llama(tmp_path)) as model:
        for held in ({"positions": "x"}, {"positions": [0, 1], "inv_freq": [[1.0]] * 2}, {"positions": [object()]}):
            with pytest.raises(FormatError):
                judge_rope(model, held)
