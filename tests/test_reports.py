"""Small inputs that stand for public threads, each with its right outcome: what `check` and `info` say of them.

They are no part of the project; `EMBTOOL_TEST_REPORTS` names their folder, or that of real files has it beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

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


# --- sound models -----------------------------------------------------------------------------------------------------

FOLDERS = sorted(
    folder
    for pattern in ("configs/*", "synthetic/*", "tokenizers/*")
    for folder in (Path(REAL).glob(pattern) if REAL else ())
    if folder.is_dir()
)


@pytest.mark.skipif(not FOLDERS, reason="EMBTOOL_TEST_REAL names no folder of real files")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_real_configs_and_tokenizers_are_sound(run: Program, folder: Path) -> None:
    found = run("check", folder, "--ignore", "missing-table", "--json").document["findings"]
    above = [each for each in found if each["severity"] != "info"]
    ignored = folder.name == "rope-default-partial-ignored"  # made to hold what its class does not read
    assert [each["rule"] for each in above] == (["rope-ignored"] if ignored else [])
