"""`embtool rope`, run as a person would."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import config, write_json

from embtool import open_model
from embtool.configs.config import parse_config
from embtool.errors import InvalidArgument
from embtool.positions import LayerRope, Rope, read_positions
from embtool.questions.rope import ask_rope
from embtool.questions.rotation import Manner, Rotary
from embtool.rope import RopeSettings, rotate
from embtool.vocabulary import Query

SMALL = ("-m", "small/")


@pytest.fixture
def configs(run: Program, tmp_path: Path) -> Any:
    """Write a folder with nothing but a config, and name it."""

    def write(**fields: Any) -> Path:
        folder = tmp_path / f"config-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write_json(folder / "config.json", fields)
        return folder

    del run
    return write


GEMMA = {
    "model_type": "gemma3_text",
    "head_dim": 16,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 6,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}

QWEN = {
    "model_type": "qwen3_5_text",
    "head_dim": 256,
    "hidden_size": 512,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "max_position_embeddings": 262_144,
    "rope_parameters": {"rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [11, 11, 10]},
}


# --- Without a position -------------------------------------------------------------------------------------------


def test_frequencies_of_a_model(run: Program) -> None:
    document = run("rope", *SMALL, "--json").ok().document
    assert document["schema"] == "embtool/rope@1"
    (layer,) = document["layers"]
    assert layer["layer_type"] == "all"
    assert (layer["rope_type"], layer["rope_theta"], layer["head_dim"], layer["rotary_dim"]) == ("default", 1e4, 8, 8)
    assert (layer["layout"], layer["attention_factor"], layer["mrope_section"]) == ("half", 1.0, None)
    assert layer["inv_freq"] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert layer["wavelength"] == pytest.approx([2 * math.pi * 10**i for i in range(4)])
    assert layer["positions"] == []
    assert layer["unfinished_pairs"] == [3]
    assert layer["origins"]["rope_theta"] == "rope_theta"


def test_frequencies_as_tsv(run: Program) -> None:
    head, *lines = run("rope", *SMALL).ok().cells
    assert head == ["layer_type", "pair", "dims", "inv_freq", "wavelength"]
    assert [line[:3] for line in lines] == [["all", str(i), f"{i},{i + 4}"] for i in range(4)]
    assert float(lines[1][3]) == pytest.approx(0.1)


def test_settings_without_a_model(run: Program) -> None:
    answer = run("rope", "--theta", "10000", "--dim", "4", "--layout", "interleaved", "--json").ok()
    assert answer.document["model"] is None
    assert answer.document["layers"][0]["inv_freq"] == pytest.approx([1, 0.01])
    assert answer.of("note") == []
    cells = run("rope", "--dim", "4", "--layout", "interleaved").ok().cells
    assert [line[2] for line in cells[1:]] == ["0,1", "2,3"]


def test_where_layer_types_differ_each_is_shown(run: Program, configs: Any) -> None:
    layers = run("rope", "-m", configs(**GEMMA), "--json").ok().document["layers"]
    assert [(layer["layer_type"], layer["layer_count"], layer["rope_type"]) for layer in layers] == [
        ("full_attention", 1, "linear"),
        ("sliding_attention", 5, "default"),
    ]


def test_a_picture_of_frequencies(run: Program) -> None:
    shown = run("rope", *SMALL, "-f", "table").ok().text
    assert "default, theta 10,000" in shown
    assert "all 8 channels turn, pairs (i, i + 4)" in shown
    assert "context 2,048 tokens, longest wavelength 6,283.19" in shown
    assert "pair 3 never completes a turn within the context" in shown
    assert "computed in float64" in shown
    assert "█" in shown


def test_a_long_list_shows_its_ends_and_its_middle(run: Program) -> None:
    shown = run("rope", "--dim", "128", "-f", "table").ok().text
    pairs = [line.split()[0] for line in shown.splitlines() if line.strip()[:1].isdigit() or line.strip() == "…"]
    assert pairs == ["0", "1", "2", "3", "…", "30", "31", "32", "33", "…", "60", "61", "62", "63"]
    assert len(run("rope", "--dim", "128").ok().cells) == 1 + 64


def test_channels_that_pass_through_are_named(run: Program, configs: Any) -> None:
    shown = run("rope", "-m", configs(**QWEN), "-f", "table").ok().text
    assert "channels 64..255 pass through unrotated" in shown
    assert "mRoPE, t 11, h 11, w 10 pairs: t, h, w in turn, the rest t" in shown
    assert "for text the three positions t, h, w are one" in shown


def test_layers_without_positions_are_listed(run: Program, configs: Any) -> None:
    folder = configs(**config(model_type="smollm3", num_hidden_layers=8))
    assert run("rope", "-m", folder, "--json").ok().document["nope_layers"] == [3, 7]
    assert "layers without positions: 3, 7" in run("rope", "-m", folder, "-f", "table").ok().text


# --- At a position ------------------------------------------------------------------------------------------------


def test_unit_pairs_become_cos_and_sin(run: Program) -> None:
    position = run("rope", *SMALL, "--pos", "1000", "--json").ok().document["layers"][0]["positions"][0]
    assert position["position"] == 1000
    assert position["vector"] == [1] * 4 + [0] * 4
    assert position["rotated"] == pytest.approx(position["cos"] + position["sin"])
    assert position["angle"][0] == pytest.approx(1000 % (2 * math.pi))


def test_columns_of_a_position(run: Program) -> None:
    head, *lines = run("rope", *SMALL, "--pos", "3").ok().cells
    turned = ["turns", "angle", "cos", "sin", "x", "y", "x_rotated", "y_rotated"]
    assert head == ["layer_type", "position", "pair", "dims", "inv_freq", "wavelength", *turned]
    numbers = dict(zip(head, lines[0], strict=True))
    assert float(numbers["turns"]) == pytest.approx(3 / (2 * math.pi))
    assert (float(numbers["cos"]), float(numbers["y_rotated"])) == pytest.approx((math.cos(3), math.sin(3)))


def test_ranges_lists_and_negative_positions(run: Program) -> None:
    def places(*arguments: str) -> list[str]:
        head, *lines = run("rope", "--dim", "2", *arguments).ok().cells
        return [line[head.index("position")] for line in lines]

    assert places("--pos", "0..3") == ["0", "1", "2", "3"]
    assert places("--pos", "-2..-1") == ["-2", "-1"]
    assert places("--pos", "5", "--pos", "7") == ["5", "7"]
    assert places("--pos", "-5") == ["-5"]


def test_jsonl_has_a_line_per_pair_with_its_position(run: Program) -> None:
    records = run("rope", *SMALL, "--pos", "0..1", "--jsonl").ok().records
    assert len(records) == 2 * 4
    assert {"model", "layer_type", "position", "pair", "angle", "x_rotated"} <= set(records[0])


def test_a_negative_position_turns_back(run: Program) -> None:
    there, back = (run("rope", "--dim", "4", "--pos", p, "--json").ok().document for p in ("5", "-5"))
    sines = [document["layers"][0]["positions"][0]["sin"] for document in (there, back)]
    assert sines[0] == pytest.approx([-sine for sine in sines[1]])


def test_dials_on_a_terminal(run: Program) -> None:
    one = run("rope", "--dim", "4", "--pos", "1", "-f", "table").ok().text
    assert "57.3" in one
    assert "↗" in one
    several = run("rope", "--dim", "4", "--pos", "0..8", "-f", "table").ok().text
    row = next(line for line in several.splitlines() if line.split()[:2] == ["0", "0,2"])
    assert row.split()[3:] == list("→↗↖←↙↓→↗↑")


def test_beyond_the_context_is_a_warning(run: Program) -> None:
    answer = run("rope", *SMALL, "--pos", "2048", "--json").ok()
    assert answer.of("warning") == ["position 2048 is beyond the context of 2,048 tokens"]
    assert run("rope", *SMALL, "--pos", "2047", "--json").ok().of("warning") == []


def test_a_sequence_shorter_than_its_positions_is_a_warning(run: Program) -> None:
    answer = run("rope", *SMALL, "--pos", "9", "--length", "5", "--json").ok()
    assert answer.of("warning") == ["a sequence of 5 tokens has no position 9"]
    answer = run("rope", *SMALL, "--length", "4096", "--json").ok()
    assert answer.of("warning") == ["a sequence of 4,096 tokens is longer than the context of 2,048"]


def test_three_positions(run: Program, configs: Any) -> None:
    folder = configs(**QWEN)
    position = run("rope", "-m", folder, "--pos", "5,7,11", "--json").ok().document["layers"][0]["positions"][0]
    assert position["position"] == [5, 7, 11]
    inv_freq = 1e7 ** (-np.arange(32) / 32)
    places = np.array([5, 7, 11])[np.arange(32) % 3]
    assert position["angle"] == pytest.approx((places * inv_freq) % (2 * math.pi))
    run("rope", *SMALL, "--pos", "5,7,11").refused(2, "three positions need mRoPE")


def test_a_position_that_could_be_one_number_or_three_is_refused(run: Program, configs: Any) -> None:
    asked = ("rope", "-m", configs(**QWEN), "--json", "--pos")
    run(*asked, "1,000,000").refused(2, "one number or three positions: 1000000, or '1, 000, 000'")
    for typed, position in (("1, 000, 000", [1, 0, 0]), ("5, 100, 200", [5, 100, 200]), ("1,000", 1000)):
        assert run(*asked, typed).ok().document["layers"][0]["positions"][0]["position"] == position
    plain = run("rope", *SMALL, "--json", "--pos", "1,000,000").ok().document["layers"][0]
    assert plain["positions"][0]["position"] == 10**6


# --- Vectors ------------------------------------------------------------------------------------------------------


def test_ones(run: Program) -> None:
    (position,) = (
        run("rope", *SMALL, "--vector", "ones", "--pos", "2", "--json").ok().document["layers"][0]["positions"]
    )
    assert position["vector"] == [1] * 8
    assert position["rotated"] == pytest.approx(rotate(np.ones(8), 2, RopeSettings(head_dim=8)).tolist())


def test_a_vector_from_a_file_or_a_pipe_is_cut_into_heads(run: Program, tmp_path: Path) -> None:
    values = np.arange(16.0)
    file = tmp_path / "v.npy"
    np.save(file, values)
    by_file = run("rope", *SMALL, "--vector", file, "--pos", "2", "--json").ok().document
    by_pipe = run("rope", *SMALL, "--vector", "-", "--pos", "2", "--json", stdin=json.dumps(list(values)).encode())
    heads = by_file["layers"][0]["positions"]
    assert [head["head"] for head in heads] == [0, 1]
    assert heads[1]["vector"] == list(range(8, 16))
    assert heads[1]["rotated"] == pytest.approx(rotate(values[8:], 2, RopeSettings(head_dim=8)).tolist())
    assert by_pipe.ok().document == by_file


def test_a_tokens_row_is_cut_into_heads_and_called_an_illustration(run: Program) -> None:
    answer = run("rope", *SMALL, "--token", "strawberry", "--pos", "3", "--exact", "--json")
    assert answer.status == 3
    answer = run("rope", *SMALL, "--token", "strawberry", "--pos", "3", "--json").ok()
    assert [line for line in answer.of("note") if "illustration" in line] == [
        "a model turns queries and keys inside each head, never a row: a row cut into heads is an illustration"
    ]
    heads = answer.document["layers"][0]["positions"]
    row = run("row", *SMALL, "strawberry", "--json").ok().document["rows"][0]
    assert [value for head in heads for value in head["vector"]] == row["values"]
    assert heads[0]["piece"] == row["piece"]
    assert heads[0]["bytes"] == b" strawberry".hex()


def test_the_inverse_undoes_the_rotation(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    file.write_text(json.dumps(list(range(8))))
    there = run("rope", *SMALL, "--vector", file, "--pos", "77", "--json").ok().document
    file.write_text(json.dumps(there["layers"][0]["positions"][0]["rotated"]))
    back = run("rope", *SMALL, "--vector", file, "--pos", "77", "--inverse", "--json").ok().document
    assert back["inverse"] is True
    assert back["layers"][0]["positions"][0]["rotated"] == pytest.approx(list(range(8)))


def test_float32_is_that_of_transformers(run: Program) -> None:
    document = run("rope", "--dim", "64", "--pos", "100000", "--precision", "float32", "--json").ok().document
    layer = document["layers"][0]
    assert layer["precision"] == "float32"
    angle = np.float32(100_000) * np.float32(layer["inv_freq"][1])
    assert layer["positions"][0]["cos"][1] == pytest.approx(float(np.cos(angle)), abs=1e-7)


def test_length_chooses_the_long_list(run: Program, configs: Any) -> None:
    lists = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    scaling = {"type": "longrope", "original_max_position_embeddings": 64, **lists}
    folder = configs(**config(model_type="phi3", rope_scaling=scaling))

    def first(*arguments: str) -> float:
        return float(run("rope", "-m", folder, *arguments, "--json").ok().document["layers"][0]["inv_freq"][0])

    assert first() == 1
    assert first("--length", "65") == 0.5
    assert first("--pos", "64") == 0.5
    assert first("--pos", "0", "--length", "65") == 0.5
    assert first("--pos", "63") == 1


# --- Only the distance counts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", [(), ("--vector", "ones"), ("--token", "king", "--token", "queen"), ("--token", "king")]
)
def test_the_dot_product_depends_on_the_distance(run: Program, what: tuple[str, ...]) -> None:
    document = run("rope", *SMALL, *what, "--relative", "7", "3", "--json").ok().document
    dots = document["layers"][0]["relative"]
    assert [(record["m"], record["n"]) for record in dots[:2]] == [(7, 3), (8, 4)]
    assert all(record["dot"] == pytest.approx(dots[0]["dot"]) for record in dots)
    assert {record["distance"] for record in dots} == {4}


def test_ones_have_the_dot_product_of_cosines(run: Program) -> None:
    cells = run("rope", "--dim", "4", "--relative", "7", "3").ok().cells
    assert cells[0] == ["layer_type", "m", "n", "distance", "dot"]
    assert float(cells[1][4]) == pytest.approx(2 * (math.cos(4) + math.cos(0.04)))


# --- Two models ---------------------------------------------------------------------------------------------------


def test_two_models_side_by_side(run: Program, configs: Any) -> None:
    other = configs(**config(rope_theta=5e5))
    document = run("rope", "compare", "small/", other, "--json").ok().document
    assert document["schema"] == "embtool/rope-compare@1"
    assert [model["layers"][0]["rope_theta"] for model in document["models"]] == [1e4, 5e5]
    fields = {record["field"] for record in document["differences"]}
    assert {"rope_theta", "wavelength[1]"} <= fields
    assert "head_dim" not in fields
    cells = run("rope", "compare", "small/", other).ok().cells
    assert cells[0] == ["layer_type", "field", "a", "b", "equal"]
    assert ["all", "rope_theta", "10000.0", "500000.0", "false"] in cells
    assert "differs" in run("rope", "compare", "small/", other, "-f", "table").ok().text


def test_models_with_other_layer_types(run: Program, configs: Any) -> None:
    records = run("rope", "compare", configs(**GEMMA), "small/", "--jsonl").ok().records
    assert [record["layer_type"] for record in records if record["field"] == "rope_type"] == [
        "full_attention / all",
        "sliding_attention",
    ]


# --- Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--pos", "x"), 2, "a position, a range A..B or three positions T,H,W, not 'x'"),
        (("--pos", "3..1"), 2, "not a range"),
        (("--pos", "0..10000000"), 2, "not a range of 1 to"),
        (("--pos", "9" * 30), 2, f"position {'9' * 30} is beyond 2^53"),
        (("--pos", "9" * 5000), 2, "--pos is a position"),
        (("--theta", "0", *SMALL), 2, "--theta must be a finite number above 0"),
        (("--dim", "63"), 2, "--dim must be even"),
        (("--dim", "4", "--theta", "0"), 2, "--theta must be a finite number above 0"),
        (("--inverse", *SMALL), 2, "say where the vector stands: --pos N"),
        (("--pos", "1", "--relative", "7", "3", *SMALL), 2, "leave out --pos"),
        (("--dim", "4", *SMALL), 2, "leave it out"),
        (("--dim", "4", "--token", "king", "--pos", "1"), 2, "no model to look tokens up in"),
        (("--token", "king", *SMALL), 2, "say where the vector stands: --pos N"),
        (("--token", "king", *SMALL, "--pos", "1", "--vector", "ones"), 2, "name no tokens beside it"),
        (("--vector", "no-such-file", "--pos", "1", *SMALL), 3, "no such file: no-such-file"),
        (("--length", "0", *SMALL), 2, "--length"),
        (("-m", "gpt2/"), 3, "gpt2/ has no rotary positions: it has a learned table"),
        (("-m", "gpt2/"), 3, "hint: embtool input TEXT -m gpt2/ shows what is added"),
        (("compare", "gpt2/", "gpt2/"), 3, "no rotary positions"),
        (
            ("compare", "small/", "small/", *SMALL),
            2,
            "name two models, both as arguments or both by -m: embtool rope compare A B",
        ),
        (("compare", "small/"), 2, "name two models"),
    ],
)
def test_refusals(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("rope", *arguments).refused(status, words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rope_scaling": {"rope_type": "xpos"}}, "rope_scaling.rope_type 'xpos' is not known"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling.factor must be"),
        ({"head_dim": "8"}, 'head_dim must be a whole number, not "8"'),
    ],
)
def test_bad_configs_are_one_line(run: Program, configs: Any, fields: dict[str, Any], words: str) -> None:
    run("rope", "-m", configs(**config(**fields))).refused(6, words)


def test_an_unknown_family_has_angles_but_no_rotation(run: Program, configs: Any) -> None:
    folder = configs(**config(model_type="unheard-of"))
    answer = run("rope", "-m", folder, "--pos", "3", "--json").ok()
    layer = answer.document["layers"][0]
    assert layer["layout"] is None
    assert layer["positions"][0]["rotated"] is None
    assert layer["positions"][0]["angle"][0] == 3
    assert "family unknown, layout not known" in answer.of("note")
    told = run("rope", "-m", folder, "--pos", "3", "--layout", "half", "--json").ok().document["layers"][0]
    assert told["positions"][0]["rotated"][0] == pytest.approx(math.cos(3))


def test_a_row_that_does_not_divide_into_heads(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    file.write_text("[1, 2, 3]")
    run("rope", *SMALL, "--vector", file, "--pos", "1").refused(6, "a row of 3 numbers does not divide into heads of 8")


def test_the_command_is_the_library(run: Program, models: Path) -> None:
    rope = read_positions(parse_config(json.loads((models / "small" / "config.json").read_text())))
    assert isinstance(rope, Rope)
    position = (
        run("rope", *SMALL, "--pos", "9", "--vector", "ones", "--json").ok().document["layers"][0]["positions"][0]
    )
    assert position["rotated"] == pytest.approx(rope.rotate(np.ones(8), position=9).tolist())


# --- The library ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"positions": [1.5]}, "a position is a whole number or three, not 1.5"),
        ({"positions": ["x"]}, "a position is a whole number or three, not 'x'"),
        ({"positions": [(1, 2)]}, "a position is a whole number or three"),
        ({"positions": [2**53 + 1]}, "beyond 2\\^53"),
        ({"positions": [(1, 2, 3)]}, "three positions need mRoPE"),
        ({"vector": "ones"}, "name some"),
        ({"positions": [1], "vector": "twos"}, "a vector is an array of numbers"),
        ({"positions": [1], "vector": np.ones(8), "tokens": ["king"]}, "name no tokens beside it"),
        ({"precision": "float16"}, "precision is one of float64, float32, not 'float16'"),
        ({"layout": "thirds"}, "layout is one of half"),
        ({"length": 0}, "length is 1 token or more"),
    ],
)
def test_wrong_arguments(models: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        open_model(models / "small").rope_table(**arguments)


def test_the_inverse_reads_pairs_where_the_rotation_stored_them() -> None:
    settings = RopeSettings(head_dim=4, layout="interleaved-in-half-out")
    rotary = Rotary(None, (LayerRope(layer_type="all", layers=None, settings=settings, origins={}),))
    (there,) = ask_rope(rotary, [5], [Query("v", vector=np.arange(1.0, 5))]).layers[0].positions
    assert there.rotated is not None
    back = ask_rope(rotary, [5], [Query("v", vector=there.rotated)], Manner(inverse=True))
    assert [(row.turn.x_rotated, row.turn.y_rotated) for row in back if row.turn is not None] == [
        pytest.approx((1, 2)),
        pytest.approx((3, 4)),
    ]
    turned: list[Any] = [(row.pair.dims, row.turn.x) for row in back if row.turn is not None]
    assert turned == [
        ("0,2>0,1", pytest.approx(there.rotated[0])),
        ("1,3>2,3", pytest.approx(there.rotated[1])),
    ]


def test_dials_where_there_are_no_arrows(run: Program) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    shown = run.outside("rope", "--dim", "4", "--pos", "0..2", "-f", "table", env=ascii_only).ok().text
    row = next(line for line in shown.splitlines() if line.split()[:2] == ["0", "0,2"])
    assert row.split()[3:] == ["E", "NE", "NW"]
    drawn = run.outside("input", *SMALL, " king queen", "-f", "table", env=ascii_only).ok().text
    assert "NE E E E" in drawn


@pytest.mark.parametrize(("typed", "meant"), [("1,000", 1000), ("1e3", 1000), ("1.5e3", 1500), ("-1e1", -10)])
def test_positions_are_understood_as_they_are_printed_and_said(run: Program, typed: str, meant: int) -> None:
    (layer,) = run("rope", "--dim", "4", "--pos", typed, "--json").ok().document["layers"]
    assert [place["position"] for place in layer["positions"]] == [meant]


@pytest.mark.parametrize("typed", ["1.5e0", "1e", "1.5", "1e99", "1..2..3", "1e0.5"])
def test_what_is_no_position_is_refused(run: Program, typed: str) -> None:
    run("rope", "--dim", "4", "--pos", typed).refused(2, "--pos", typed)
