"""Small inputs that stand for public threads, each with its right outcome: what `check` and `info` say of them.

They are no part of the project; `EMBTOOL_TEST_REPORTS` names their folder, or that of real files has it beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from program import Program

REAL = os.environ.get("EMBTOOL_TEST_REAL", "")
REPORTS = Path(os.environ.get("EMBTOOL_TEST_REPORTS", str(Path(REAL).parent / "reports") if REAL else "absent"))

pytestmark = pytest.mark.skipif(not REPORTS.is_dir(), reason="EMBTOOL_TEST_REPORTS names no folder of reports")

CHECKED: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "04-output-has-other-rows/m": ((), {"output-shape": "290"}),
    "07-added-tokens-json/m": ((), {"tokens-beyond-table": ""}),
    "09-mostly-rows-without-token/m": ((), {"foreign-tokenizer": "260 rows of 300"}),
    "10-pad-is-named-otherwise/m": ((), {"eos-differs": "288"}),
    "11-generation-config-lacks-turn-end/m": ((), {"eos-differs": "<|im_end|>"}),
    "13-added-id-moved-at-load/m": ((), {"added-id": "library 286"}),
    "15-added-token-has-other-id-in-vocab/m": ((), {"added-id": "library 286"}),
    "18-tied-and-stored-twice/m": (("--level", "info"), {"stored-twice": "lm_head.weight"}),
    "19-tied-differs-in-added-rows/m": (("--deep",), {"tied-but-different": ""}),
    "20-only-head-stored-untied/m": ((), {"missing-table": "lm_head.weight"}),
    "25-gguf-lost-theta/m/model.gguf": (("--base", "25-gguf-lost-theta/m/hf"), {"positions-differ": "1,000,000"}),
    "27-yarn-factor-against-context/m": ((), {"rope-factor": "1.25"}),
    "33-merged-config-lost-scaling/m/merged": (
        ("--base", "33-merged-config-lost-scaling/m/base"),
        {"positions-differ": "yarn", "context-differs": "131,072"},
    ),
    "35-lfs-pointer-tokenizer/m/a": ((), {"damaged-tokenizer": "Git LFS pointer"}),
    "35-lfs-pointer-tokenizer/m/b": ((), {"damaged-tokenizer": "Git LFS pointer"}),
    "42-stray-single-file/m": ((), {"rival-weights": "model.safetensors", "stray-weights": "consolidated"}),
    "47-fsdp-flattened/m": (("--deep",), {"flat-table": "[2400]"}),
    "49-zero3-empty-2d-and-head/m/a": ((), {"empty-table": "lm_head.weight"}),
    "49-zero3-empty-2d-and-head/m/b": ((), {"empty-table": "[0, 16]"}),
    "49-zero3-empty-2d-and-head/m/c": ((), {"empty-table": "[1]"}),
    "50-orig-mod/m": ((), {"odd-prefix": "_orig_mod."}),
    "59-meta-consolidated-parts/m": ((), {"damaged-shard": "a piece of the tensor"}),
    "68-transposed/m": ((), {"transposed-table": "16 × 300"}),
    "72-bnb-nf4/m": (("--level", "info"), {"unread-table": "bitsandbytes 4-bit"}),
    "78-near-zero-rows/m": (("--deep",), {"untrained-special": "nearly zeros"}),
    "82-gguf-duplicate-tokens/m/model.gguf": ((), {"gguf-duplicate-token": "295, 296"}),
    "a9-deep-with-unreadable-head/m": (("--deep",), {"nonfinite-rows": "ids 9", "unread-table": "GPTQ"}),
    "b2-rope-unknown-keys/m": ((), {"rope-unknown-key": "beta_fasst"}),
    "c2-gguf-template-without-tokens/m/model.gguf": ((), {"template-token": "<|im_", "ordinary-eos": "ordinary"}),
    "d0-reserved-token-renamed/m": ((), {"added-id": "library 287"}),
    "d2-pad-token-not-a-token/m": ((), {"tokens-beyond-table": "289"}),
    "d4-tokenizer-files-disagree/m": ((), {"tokenizers-differ": "vocab.json"}),
    "e1-fp8-scale-lost/m": ((), {"lost-quantization": "F8_E4M3"}),
}
"""For each input the options of `check`, the rules that find something, and what they say."""

BESIDE = {"missing-table", "missing-output-table", "vocab-size", "table-width", "tied-but-different"}
"""Rules that say nothing where another one says what it really is."""


@pytest.mark.parametrize("name", CHECKED)
def test_a_report_is_found_by_its_rule(run: Program, name: str) -> None:
    options, rules = CHECKED[name]
    places = [REPORTS / option if "/" in option else option for option in options]
    answer = run("check", REPORTS / name, *places, "--json")
    assert answer.status == 1
    found = answer.document["findings"]
    for rule, words in rules.items():
        assert any(each["rule"] == rule and words in each["message"] for each in found), found
    assert not {each["rule"] for each in found} & BESIDE - set(rules)
    assert all(each["advice"] for each in found)


@pytest.mark.parametrize(
    "name", ["33-merged-config-lost-scaling/m/base", "57-mistral-consolidated/m", "69-wte-bare/m/gpt2"]
)
def test_a_sound_report_is_left_alone(run: Program, name: str) -> None:
    found = run("check", REPORTS / name, "--deep", "--json").ok().document["findings"]
    assert {each["severity"] for each in found} <= {"info"}


def test_params_json_is_read(run: Program) -> None:
    document = run("info", REPORTS / "57-mistral-consolidated/m", "--json").ok().document
    assert document["position"]["layers"][0]["rope_theta"] == 1_000_000
    assert document["position"]["context_length"] == 131_072
    assert document["num_hidden_layers"] == 2


@pytest.mark.parametrize(
    ("name", "part", "words"),
    [
        ("35-lfs-pointer-tokenizer/m/a", "tokenizer", "Git LFS pointer"),
        ("35-lfs-pointer-tokenizer/m/b", "tokenizer", "Git LFS pointer"),
        ("c7-rope-broken-rows-still-read/m", "positions", "low_freq_factor"),
        ("59-meta-consolidated-parts/m", "weights", "a piece of the tensor"),
    ],
)
def test_info_shows_what_is_whole(run: Program, name: str, part: str, words: str) -> None:
    answer = run("info", REPORTS / name, "--json")
    assert answer.status == 6
    (broken,) = answer.document["broken"]
    assert broken["part"] == part
    assert words in broken["message"]
    assert part == "weights" or len(answer.document["tables"]) == 2


def test_info_names_the_files_that_are_left_out(run: Program) -> None:
    document = run("info", REPORTS / "42-stray-single-file/m", "--json").ok().document
    assert document["files_left_out"] == ["consolidated.safetensors", "model.safetensors"]


def test_info_of_a_gguf_file_says_what_is_not_in_it(run: Program) -> None:
    shown = run("info", REPORTS / "25-gguf-lost-theta/m/model.gguf", "-f", "table").ok().text
    assert "rope_theta: llama.cpp's default" in " ".join(shown.split())


def test_a_flat_table_has_no_rows(run: Program) -> None:
    vocabulary = run("info", REPORTS / "47-fsdp-flattened/m", "--json").document["vocabulary"]
    assert vocabulary["rows"] is None
    assert vocabulary["padding_rows"] == 0


# --- the others -----------------------------------------------------------------------------------------------------


def test_a_table_with_rows_by_design_is_sound(run: Program) -> None:
    """Mllama's input table has 8 rows more than its output table; that is told, and is no fault."""
    place = REPORTS / "03-mllama-healthy/m"
    found = run("check", place, "--deep", "--json").ok().document["findings"]
    assert {each["severity"] for each in found} <= {"info"}
    tables = run("info", place, "--json").ok().document["tables"]
    assert [table["shape"][0] for table in tables] == [308, 300]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("84-old-ggml/m/model.gguf", "GGML"),
        ("84-old-ggml/m/model.bin", "GGML"),
        ("89-vec-is-html/m/w.vec", "HTML"),
        ("89-vec-is-html/m/w.txt", "HTML"),
        ("89-vec-is-html/m/model.safetensors", "HTML"),
        ("89-vec-is-html/m/x.gguf", "HTML"),
        ("90-vec-sparse/m/ppmi.vec", "line 2 of ppmi.vec: field 2, '1:0.5'"),
        ("a4-h5-msgpack/m/tf", "tf_model.h5 is an HDF5 file"),
        ("a4-h5-msgpack/m/flax", "msgpack"),
        ("a4-h5-msgpack/m/tf/tf_model.h5", "HDF5"),
        ("a4-h5-msgpack/m/flax/flax_model.msgpack", "msgpack"),
        ("a4-h5-msgpack/m/x.onnx", "ONNX"),
        ("a4-h5-msgpack/m/x.npz", "npz"),
    ],
)
def test_what_is_no_model_is_refused_by_its_name(run: Program, name: str, words: str) -> None:
    run("info", REPORTS / name).refused(6, words)
    answer = run("check", REPORTS / name)  # a file that is broken is a finding, one of a kind that is not read none
    assert answer.status in (1, 6)
    assert words in answer.text + answer.errors
    assert answer.text.count(words) <= 1


def test_onnx_in_a_folder_is_named(run: Program) -> None:
    place = REPORTS / "46-only-onnx-or-h5/m"
    assert any("onnx/model.onnx is of ONNX" in line for line in run("info", place).ok().of("note"))
    (found,) = run("check", place, "--json").document["findings"]
    assert found["rule"] == "missing-table"
    assert "onnx/model.onnx is of ONNX" in found["message"]


@pytest.mark.parametrize(
    ("name", "kind", "ways"),
    [
        ("53-adapter-with-tables/m/adapter", "LORA", [("input", "whole table", 303), ("output", "whole table", 303)]),
        ("54-adapter-lora-only/m/plain", "LORA", []),
        ("54-adapter-lora-only/m/emb", "LORA", [("input", "LoRA", 300)]),
        ("55-trainable-tokens/m", "LORA", [("input", "rows of tokens", 3)]),
        ("66-textual-inversion/m/a.safetensors", "textual inversion", [("input", "new rows", 1)]),
        ("66-textual-inversion/m/b.safetensors", "textual inversion", [("input", "new rows", 2)] * 2),
    ],
)
def test_an_adapter_is_told_to_be_one(run: Program, name: str, kind: str, ways: list[tuple[str, str, int]]) -> None:
    adapter = run("info", REPORTS / name, "--json").ok().document["adapter"]
    assert adapter["kind"] == kind
    assert adapter["base"] == ("org/base" if kind == "LORA" else None)
    assert [(table["role"], table["way"], table["rows"]) for table in adapter["tables"]] == ways
    run("check", REPORTS / name).ok()


def test_an_adapter_is_held_against_its_base(run: Program) -> None:
    base = REPORTS / "53-adapter-with-tables/m/base"
    found = run("check", REPORTS / "53-adapter-with-tables/m/adapter", "--base", base, "--json")
    assert found.status == 1
    assert {each["rule"] for each in found.document["findings"]} == {"adapter-rows"}
    assert "303 rows" in found.document["findings"][0]["message"]
    changed = run("diff", REPORTS / "55-trainable-tokens/m", "--base", base, "--json").ok().document
    assert sorted(each["id"] for each in changed["differences"]) == [286, 287, 288]
    run("row", "a", "-m", REPORTS / "53-adapter-with-tables/m/adapter").ok()


def test_a_word_of_an_inversion_is_read(run: Program) -> None:
    row = run("row", "<cat-toy>", "-m", REPORTS / "66-textual-inversion/m/a.safetensors", "--json").ok()
    assert len(row.document["rows"][0]["values"]) == 16
    place = REPORTS / "66-textual-inversion/m/b.safetensors"
    assert len(run("row", "id:1", "-m", place, "--table", "clip_g", "--json").ok().document["rows"][0]["values"]) == 24


def test_a_table_under_a_name_of_its_own_is_named(run: Program) -> None:
    place = REPORTS / "56-own-names/m"
    assert run("info", place, "--json").ok().document["candidates"] == ["tok_emb.weight", "out_head.weight"]
    (found,) = run("check", place, "--json").document["findings"]
    assert "--table tok_emb.weight" in found["message"]
    assert "tok_emb.weight, 300 × 16" in run("row", "id:3", "-m", place).of("hint")[0]
    run("row", "id:3", "-m", place, "--table", "tok_emb.weight").ok()
    run("neighbors", "id:3", "-m", place, "--table", "tok_emb.weight", "-k", "2").ok()


@pytest.mark.parametrize("command", ["info", "check"])
@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("60-diffusers-pipeline/m", "#text_encoder"),
        ("c5-parent-folders/m/out", "#checkpoint-500"),
        ("c5-parent-folders/m/models--org--name", "#snapshots/"),
    ],
)
def test_a_folder_of_models_names_them(run: Program, command: str, name: str, below: str) -> None:
    run(command, REPORTS / name).refused(3, f"{REPORTS / name}{below}")


def test_a_text_encoder_finds_its_tokenizer(run: Program) -> None:
    for place in ("m/text_encoder", "m#text_encoder"):
        name = f"{REPORTS}/60-diffusers-pipeline/{place}"
        assert run("info", name, "--json").ok().document["vocabulary"]["file"] == "../tokenizer/tokenizer.json"
        assert run("row", "cat", "-m", name, "--json").ok().document["rows"][0]["piece"] == "Ġcat"


@pytest.mark.parametrize("name", ["69-wte-bare/m/gpt2", "69-wte-bare/m/openai"])
def test_bare_names_open(run: Program, name: str) -> None:
    tables = run("info", REPORTS / name, "--json").ok().document["tables"]
    assert [table["role"] for table in tables] == ["input", "position"]
    run("check", REPORTS / name, "--deep").ok()


def test_bits_follow_the_shapes(run: Program) -> None:
    place = REPORTS / "75-mlx-mixed-bits/m"
    row = run("row", "id:3", "-m", place, "--json").ok().document["rows"][0]
    np.testing.assert_allclose(row["values"], np.load(place / "truth_row3.npy").reshape(-1), rtol=1e-6)
    run("check", place).ok()


def test_a_word_that_is_not_utf8_keeps_its_bytes(run: Program) -> None:
    place = REPORTS / "91-vec-not-utf8/m/l1.vec"
    assert run("row", "id:2", "-m", place, "--json").ok().document["rows"][0]["bytes"] == "636166e9"
    run("neighbors", "w3", "-m", place, "-k", "4").ok()


def test_a_row_of_zeros_is_near_nothing(run: Program) -> None:
    place = REPORTS / "96-neighbours-zero-query/m"
    for command in (("neighbors", "id:270", "-k", "3"), ("similarity", "id:270", "id:3")):
        assert "is a row of zeros" in run(*command, "-m", place).ok().of("warning")[0]
    assert not run("neighbors", "id:270", "-k", "3", "--metric", "euclidean", "-m", place).ok().of("warning")


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_the_same_numbers_in_another_dtype_are_the_same(run: Program, deep: tuple[str, ...]) -> None:
    place = REPORTS / "a8-head-in-other-dtype/m"
    found = run("check", place, *deep, "--json").ok().document["findings"]
    assert {each["rule"] for each in found} == {"padding-rows", "stored-twice"}
    assert run("info", place, "--json").ok().document["tied"]["verdict"] == "tied"


def test_rows_are_read_beside_broken_positions(run: Program) -> None:
    place = REPORTS / "c7-rope-broken-rows-still-read/m"
    run("row", " cat", "-m", place).ok()
    run("neighbors", " cat", "-m", place, "-k", "2").ok()


def test_every_report_has_a_test() -> None:
    names = {place.name for place in REPORTS.iterdir() if (place / "expect.txt").is_file()}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in names if f"{name}/" not in source} == set()


# --- sound models -----------------------------------------------------------------------------------------------------

FOLDERS = sorted(
    folder
    for pattern in ("configs/*", "synthetic/*", "tokenizers/*")
    for folder in (Path(REAL).glob(pattern) if REAL else ())
    if folder.is_dir()
)


@pytest.mark.skipif(not FOLDERS, reason="EMBTOOL_TEST_REAL names no folder of real files")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
@pytest.mark.few(15)
def test_real_configs_and_tokenizers_are_sound(run: Program, folder: Path) -> None:
    found = run("check", folder, "--ignore", "missing-table", "--json").document["findings"]
    above = [each for each in found if each["severity"] != "info"]
    ignored = folder.name == "rope-default-partial-ignored"  # made to hold what its class does not read
    assert [each["rule"] for each in above] == (["rope-ignored"] if ignored else [])
