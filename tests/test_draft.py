"""`check --draft-for`: llama.cpp's rule written once more, EAGLE heads, folders as the gguf library reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import (
    OUTPUT,
    ROWS,
    START,
    edit,
    head,
    in_tokenizer,
    numbers,
    put_tensor,
    rename_most,
    swap_first,
    tensor,
    write_gguf,
    write_llama,
)
from numpy.typing import NDArray
from program import Program
from small_models import END_OF_TEXT, added_token, pieces, safetensors, tokenizer_json, write_json

from embtool.errors import NoVocabulary
from embtool.model import open_model
from embtool.questions.check import subject_of
from embtool.questions.check.draft import shared_texts

gguf = pytest.importorskip("gguf", reason="the gguf library reads folders as llama.cpp's converter does")

REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere")) / "tokenizers"
real = pytest.mark.skipif(
    not REAL.is_dir(), reason="published tokenizers are not part of the project: EMBTOOL_TEST_REAL"
)


def verdicts(answer: Any) -> dict[str, str]:
    return {each["engine"]: each["verdict"] for each in answer.document["draft"]["engines"]}


# --- llama.cpp's own rule, as its source has it ----------------------------------------------------------------------


def are_compatible(target: dict[str, Any], draft: dict[str, Any]) -> bool:
    """Decide as common_speculative_are_compatible does (common/speculative.cpp)."""
    if target["type"] != draft["type"]:
        return False
    for name in ("bos", "eos"):
        if target[f"add_{name}"] != draft[f"add_{name}"]:
            return False
        if target[f"add_{name}"] and target[name] != draft[name]:
            return False
    if abs(len(target["texts"]) - len(draft["texts"])) > 128:
        return False
    both = min(len(target["texts"]), len(draft["texts"]))
    return all(target["texts"][place] == draft["texts"][place] for place in range(5, both))


def vocabulary(**changes: Any) -> dict[str, Any]:
    texts = [*pieces(), END_OF_TEXT, START]
    return {"type": "gpt2", "add_bos": False, "add_eos": False, "bos": 3, "eos": 4, "texts": texts, **changes}


def write(folder: Path, held: dict[str, Any]) -> Path:
    """Write a GGUF file with such a vocabulary."""
    folder.mkdir(parents=True)
    writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
    writer.add_embedding_length(32)
    writer.add_head_count(1)
    writer.add_tokenizer_model(held["type"])
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(held["texts"])
    writer.add_token_types([1] * len(held["texts"]))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(held["bos"])
    writer.add_eos_token_id(held["eos"])
    writer.add_add_bos_token(held["add_bos"])
    writer.add_add_eos_token(held["add_eos"])
    writer.add_tensor("token_embd.weight", np.ones((len(held["texts"]), 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "x.gguf"


def swapped(first: int, second: int) -> list[str]:
    texts = list(vocabulary()["texts"])
    texts[first], texts[second] = texts[second], texts[first]
    return texts


DRAFTS: dict[str, dict[str, Any]] = {
    "the same": {},
    "another type": {"type": "llama"},
    "one type under two names": {"type": "whitespace"},
    "adds bos": {"add_bos": True},
    "adds eos": {"add_eos": True},
    "another bos that is not added": {"bos": 7},
    "another eos that is not added": {"eos": 7},
    "two of the first five exchanged": {"texts": swapped(0, 4)},
    "the fifth and sixth exchanged": {"texts": swapped(4, 5)},
    "two at the end exchanged": {"texts": swapped(ROWS - 2, ROWS - 1)},
    "a tail of 128": {"texts": [*vocabulary()["texts"], *(f"more {place}" for place in range(128))]},
    "a tail of 129": {"texts": [*vocabulary()["texts"], *(f"more {place}" for place in range(129))]},
    "cut by 128": {"texts": vocabulary()["texts"][:-128]},
    "cut by 129": {"texts": vocabulary()["texts"][:-129]},
}


@pytest.mark.parametrize("around", [{}, {"add_bos": True, "add_eos": True}])
@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.few(22)
def test_llama_cpp_decides_as_its_source_does(run: Program, tmp_path: Path, name: str, around: dict[str, bool]) -> None:
    target, draft = vocabulary(**around), vocabulary(**{**around, **DRAFTS[name]})
    kinds = {"whitespace": "gpt2"}
    wanted = are_compatible(target, {**draft, "type": kinds.get(draft["type"], draft["type"])})
    pair = write(tmp_path / "draft", draft), "--draft-for", write(tmp_path / "target", target)
    answer = run("check", *pair, "--select", "draft-llama-cpp", "--json")
    assert (answer.status, answer.document["draft"]["fits"]) == (0 if wanted else 1, wanted)
    assert verdicts(answer)["llama.cpp"] == ("fits" if wanted else "does not fit")
    assert all("llama.cpp refuses" in found["message"] for found in answer.document["findings"])


def test_a_folder_and_its_gguf_fit_each_other(run: Program, tmp_path: Path) -> None:
    write_llama(tmp_path / "folder")
    write_gguf(tmp_path / "file")
    for one, other in (("folder", "file"), ("file", "folder"), ("file", "file")):
        answer = run("check", tmp_path / one, "--draft-for", tmp_path / other, "--json").ok()
        assert set(verdicts(answer).values()) == {"fits"}
        assert answer.document["draft"]["of_draft"] == 1.0


# --- what the converter would write, held against the library that it reads folders with ------------------------------

TEMPLATES: dict[str, Any] = {
    "nothing": None,
    "before": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": START}}, {"Sequence": {"id": "A"}}]},
    "behind": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": START}}]},
    "text alone": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]},
    "roberta": {"type": "RobertaProcessing", "cls": [START, 0], "sep": [END_OF_TEXT, 0]},
    "in a sequence": {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": START}}, {"Sequence": {"id": "A"}}]},
        ],
    },
}
SETTINGS: dict[str, Any] = {
    "none": None,
    "texts": {"bos_token": START, "eos_token": END_OF_TEXT},
    "objects": {"bos_token": {"content": START}, "eos_token": {"content": END_OF_TEXT}},
    "switches": {"bos_token": END_OF_TEXT, "add_bos_token": False, "add_eos_token": True},
    "cls and sep": {"cls_token": START, "sep_token": END_OF_TEXT},
    "unknown": {"bos_token": "<nobody>", "eos_token": None},
}


@pytest.mark.parametrize("config", [{}, {"bos_token_id": 9, "eos_token_id": [1, 2]}])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.few(20)
def test_a_folder_is_read_as_the_library_reads_it(
    tmp_path: Path, template: str, settings: str, config: dict[str, Any]
) -> None:
    state = tokenizer_json({END_OF_TEXT: True, START: True})
    write_json(tmp_path / "tokenizer.json", {**state, "post_processor": TEMPLATES[template]})
    if SETTINGS[settings] is not None:
        write_json(tmp_path / "tokenizer_config.json", SETTINGS[settings])
    write_json(tmp_path / "config.json", {"model_type": "llama", "vocab_size": ROWS, "hidden_size": 16, **config})
    judge = gguf.SpecialVocab(tmp_path)
    mine = subject_of(open_model(tmp_path), []).llama_cpp
    assert (mine.adds_bos, mine.adds_eos) == tuple(judge.add_special_token.get(name, False) for name in ("bos", "eos"))
    assert (mine.bos, mine.eos) == tuple(judge.special_token_ids.get(name, 11) for name in ("bos", "eos"))


@real
@pytest.mark.parametrize(
    ("name", "type", "size"),
    [("gpt2", "BPE", 50257), ("qwen3", "BPE", 151936), ("llama2", "SPM", 32000), ("t5-small", "UGM", 32100)],
)
@pytest.mark.few(1)
def test_published_folders_are_read_as_the_library_reads_them(name: str, type: str, size: int) -> None:  # noqa: A002
    judge = gguf.SpecialVocab(REAL / name)
    mine = subject_of(open_model(REAL / name), []).llama_cpp
    assert (mine.type, mine.size) == (type, size)
    for each in ("bos", "eos"):
        if each in judge.special_token_ids:
            assert getattr(mine, each) == judge.special_token_ids[each]
        if each in judge.add_special_token:
            assert getattr(mine, f"adds_{each}") == judge.add_special_token[each]


@real
@pytest.mark.parametrize(
    ("draft", "target", "shared"),
    [("qwen3", "gpt2", 42257), ("llama2", "qwen3", 22274), ("gpt2", "falcon", 42466), ("llama2", "t5-small", 11890)],
)
@pytest.mark.few(3)
def test_the_intersection_is_that_of_transformers(draft: str, target: str, shared: int) -> None:
    """The figures are those of transformers 5.24.0: AssistantToTargetTranslator on the same files."""
    assert shared_texts(open_model(REAL / draft).vocabulary, open_model(REAL / target).vocabulary) == shared


# --- the other engines ------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    write_llama(tmp_path / "draft")
    write_llama(tmp_path / "target")
    return tmp_path / "draft", tmp_path / "target"


def test_whose_rule_refuses_is_named(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    answer = run("check", draft, "--draft-for", target, "--json").ok()
    assert answer.document["findings"] == []
    assert answer.document["draft"]["target"] == str(target)
    assert set(verdicts(answer)) == {"llama.cpp", "vLLM", "SGLang", "transformers", "token-level intersection"}
    edit(draft / "config.json", vocab_size=ROWS + 64)
    answer = run("check", draft, "--draft-for", target, "--json")
    assert answer.status == 1
    assert verdicts(answer) == {
        "llama.cpp": "fits",
        "vLLM": "does not fit",
        "SGLang": "does not fit",
        "transformers": "fits",
        "token-level intersection": "fits",
    }
    shown = " ".join(run("check", draft, "--draft-for", target, "-f", "table").text.split())
    assert f"vLLM and SGLang refuse: vocab_size is {ROWS + 64}, the target's {ROWS}" in shown
    assert "fits by llama.cpp, does not fit by vLLM" in shown
    in_tokenizer(swap_first)(draft)
    edit(draft / "config.json", vocab_size=ROWS)
    answer = run("check", draft, "--draft-for", target, "--json")
    assert verdicts(answer) == {
        "llama.cpp": "fits",
        "vLLM": "fits",
        "SGLang": "does not fit",
        "transformers": "does not fit",
        "token-level intersection": "fits",
    }
    assert answer.document["findings"][0]["ids"] == [0, 1]
    assert run("check", draft, "--draft-for", target, "--select", "draft-vocab-size").status == 0


def test_without_a_config_vllm_is_not_known(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    for file in draft.iterdir():
        if file.name != "tokenizer.json":
            file.unlink()
    answer = run("check", draft, "--draft-for", target, "--json").ok()
    assert verdicts(answer)["vLLM"] == "not known"
    assert verdicts(answer)["SGLang"] == "not known"
    assert verdicts(answer)["llama.cpp"] == "fits"


def test_sarif_has_the_findings(run: Program, pair: tuple[Path, Path], tmp_path: Path) -> None:
    draft, target = pair
    edit(draft / "config.json", vocab_size=ROWS + 64)
    assert run("check", draft, "--draft-for", target, "--sarif", tmp_path / "x.sarif").status == 1
    (found,) = json.loads((tmp_path / "x.sarif").read_text())["runs"][0]["results"]
    assert found["ruleId"] == "draft-vocab-size"


def test_only_a_target_is_looked_at_unless_more_is_selected(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    edit(draft / "config.json", hidden_size=32)
    looked = run("check", draft, "--draft-for", target, "--json").ok().document["looked"]
    assert all(rule.startswith("draft-") for rule in looked)
    chosen = ("--select", "table-width,draft-tokens")
    answer = run("check", draft, "--draft-for", target, *chosen, "--json")
    assert (answer.status, answer.document["looked"]) == (1, ["table-width", "draft-tokens"])
    assert "draft" not in run("check", draft, "--json").document


@pytest.mark.parametrize("lacking", ["draft", "target"])
def test_what_cannot_be_told_is_no_fit(run: Program, pair: tuple[Path, Path], lacking: str) -> None:
    """A model without a tokenizer, or with one without tokens, is refused in one line."""
    draft, target = pair
    folder = draft if lacking == "draft" else target
    (folder / "tokenizer.json").unlink()
    run("check", draft, "--draft-for", target).refused(3, f"the {lacking}", "has no tokenizer", "cannot be told")
    empty = tokenizer_json({})
    empty["model"] |= {"vocab": {}, "merges": []}
    write_json(folder / "tokenizer.json", empty)
    run("check", draft, "--draft-for", target).refused(3, f"the {lacking}", "has no tokens", "cannot be told")
    (folder / "tokenizer.json").write_text("{")
    run("check", draft, "--draft-for", target).refused(6, "tokenizer.json")
    run("check", draft, "--draft-for", folder / "nowhere/").refused(3, "nowhere")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NoVocabulary):
        open_model(draft).check(draft_for=open_model(target))


# --- draft heads ------------------------------------------------------------------------------------------------------

EVERY_THIRD = np.arange(0, 120, 3)
OFFSETS = EVERY_THIRD - np.arange(40)
MARKS = np.isin(np.arange(ROWS), EVERY_THIRD)

HEADS: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "sound": (head(OFFSETS, MARKS), None),
    "the ids themselves": (head(EVERY_THIRD, MARKS), "seems to hold the target's ids themselves"),
    "beyond the target": (head(np.arange(40) + ROWS - 60, np.isin(np.arange(ROWS), [1])), "beyond"),
    "below zero": (head(OFFSETS - 1, MARKS), "beyond"),
    "one twice": (head(np.where(np.arange(40) == 7, OFFSETS - 3, OFFSETS), MARKS), "where another leads already"),
    "marks of others": (head(OFFSETS, ~MARKS), "disagree"),
    "too few marks": (head(OFFSETS, MARKS[:-1]), f"is of {ROWS - 1} tokens"),
    "a map of another head": (head(OFFSETS[:-1], MARKS, 40), "maps 39 ids"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(run: Program, pair: tuple[Path, Path], name: str) -> None:
    draft, target = pair
    mutate, words = HEADS[name]
    mutate(draft)
    answer = run("check", draft, "--draft-for", target, "--json")
    assert verdicts(answer) == {"EAGLE": "fits" if words is None else "does not fit"}
    assert answer.status == (0 if words is None else 1)
    messages = " ".join(found["message"] for found in answer.document["findings"])
    assert (words or "") in messages
    assert {found["rule"] for found in answer.document["findings"]} <= {"draft-head"}


def test_a_head_that_holds_ids_is_told_so(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    ids = np.arange(40) * 8
    head(ids, np.isin(np.arange(ROWS), ids))(draft)
    (found,) = run("check", draft, "--draft-for", target, "--json").document["findings"]
    assert "seems to hold the target's ids themselves" in found["message"]
    assert found["tensor"] == "d2t"


def test_a_head_without_its_map(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    head(OFFSETS, MARKS)(draft)
    index = json.loads((draft / "model.safetensors.index.json").read_text())
    del index["weight_map"]["d2t"], index["weight_map"]["t2d"]
    write_json(draft / "model.safetensors.index.json", index)
    answer = run("check", draft, "--draft-for", target, "--json")
    assert answer.status == 1
    assert "and no d2t maps them" in answer.document["findings"][0]["message"]
    (target / "config.json").unlink()
    assert run("check", draft, "--draft-for", target, "--json").status == 1, "its rows are counted"


def test_a_head_needs_no_tokenizer(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    head(OFFSETS, MARKS)(draft)
    (draft / "tokenizer.json").unlink()
    run("check", draft, "--draft-for", target).ok()
    edit(target / "config.json", vocab_size=ROWS + 1)
    (finding, *_) = run("check", draft, "--draft-for", target, "--json").document["findings"]
    assert f"the head was made for {ROWS} tokens" in finding["message"]


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [
        ({"d2t": ("F32", (40,), bytes(160))}, "d2t in part-1.safetensors is 40 F32"),
        ({"d2t": ("I64", (2, 20), bytes(320))}, "d2t in part-1.safetensors is 2 × 20 I64"),
        ({"d2t": ("I64", (), bytes(8))}, "d2t in part-1.safetensors is one number, I64"),
        ({"t2d": ("BOOL", (1, ROWS), bytes(ROWS))}, f"t2d in part-1.safetensors is 1 × {ROWS} BOOL"),
    ],
)
def test_a_map_that_is_none_does_not_fit(
    run: Program, pair: tuple[Path, Path], wrong: dict[str, Any], shape: str
) -> None:
    draft, target = pair
    head(OFFSETS, MARKS)(draft)
    beside = {"d2t": ("I64", (40,), OFFSETS.tobytes()), "t2d": ("BOOL", (ROWS,), MARKS.tobytes())}
    put_tensor(OUTPUT, tensor(np.ones((40, 16))), beside | wrong)(draft)
    answer = run("check", draft, "--draft-for", target, "--json")
    assert answer.status == 1
    assert verdicts(answer) == {"EAGLE": "does not fit"}
    assert [each["message"] for each in answer.document["findings"]] == [f"{shape}: it is no map of ids"]


@pytest.mark.parametrize("prefix", ["", "medusa_head."])
def test_medusas_heads_predict_all_tokens_of_the_target(
    run: Program, pair: tuple[Path, Path], tmp_path: Path, prefix: str
) -> None:
    for rows, wanted in ((ROWS, "fits"), (ROWS + 1, "does not fit")):
        layers = {f"{prefix}{at}.0.linear.weight": tensor(np.ones((16, 16))) for at in range(2)}
        tables = {f"{prefix}{at}.1.weight": tensor(numbers("output", rows)) for at in range(2)}
        (tmp_path / f"{rows}.safetensors").write_bytes(safetensors({**layers, **tables}))
        answer = run("check", tmp_path / f"{rows}.safetensors", "--draft-for", pair[1], "--json")
        assert verdicts(answer) == {"Medusa": wanted}
        assert answer.status == (0 if wanted == "fits" else 1)


def test_a_head_of_which_nothing_is_told_is_not_known(run: Program, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """EAGLE's first heads have no output table of their own, and this one no config."""
    (tmp_path / "x.safetensors").write_bytes(safetensors({"fc.weight": tensor(np.ones((16, 32)))}))
    answer = run("check", tmp_path / "x.safetensors", "--draft-for", pair[1], "--json").ok()
    assert verdicts(answer) == {"EAGLE": "not known"}
    assert any("nothing says how many tokens" in told for told in answer.of("warning"))


def write_gguf_head(file: Path, mapped: NDArray[np.int64], vocab_size: int = ROWS) -> Path:
    """Write an EAGLE-3 head as llama.cpp's converter does: d2t is the target's ids, and there is no t2d."""
    writer = gguf.GGUFWriter(file, "eagle3")
    writer.add_embedding_length(16)
    writer.add_head_count(2)
    writer.add_vocab_size(vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary()["texts"])
    writer.add_token_types([1] * ROWS)
    writer.add_token_merges(["a b"])
    writer.add_tensor("fc.weight", np.ones((16, 48), np.float32))
    writer.add_tensor("output.weight", numbers("output", len(mapped)).astype(np.float32))
    writer.add_tensor("d2t", mapped, raw_dtype=gguf.GGMLQuantizationType.I64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_head_in_a_gguf_file_holds_the_targets_ids(run: Program, pair: tuple[Path, Path], tmp_path: Path) -> None:
    target = pair[1]
    sound = write_gguf_head(tmp_path / "sound.gguf", EVERY_THIRD)
    assert verdicts(run("check", sound, "--draft-for", target, "--json").ok()) == {"EAGLE": "fits"}
    named = open_model(sound).token_table("output").vocabulary
    assert named is not None
    assert [piece for _, piece in named.pieces()] == [vocabulary()["texts"][place] for place in EVERY_THIRD]
    near = run("neighbors", "id:7", "--table", "output", "-k", "1", "-m", sound, "--json").ok().document
    assert near["queries"][0]["piece"] == vocabulary()["texts"][EVERY_THIRD[7]]
    for name, mapped, words in (
        ("distances", np.repeat([0, 40], 20), "seems to hold the distance to the target's ids"),
        ("beyond", EVERY_THIRD + ROWS - 100, "beyond"),
        ("twice", np.where(np.arange(40) == 7, 3, EVERY_THIRD), "1 id where another leads already"),
    ):
        answer = run("check", write_gguf_head(tmp_path / f"{name}.gguf", mapped), "--draft-for", target, "--json")
        (found,) = answer.document["findings"]
        assert (answer.status, words in found["message"]) == (1, True)


@pytest.mark.parametrize("seed", range(8))
def test_maps_are_judged_as_sets_judge_them(pair: tuple[Path, Path], seed: int) -> None:
    """Random maps and marks, some beyond the target, some of two ids to one token, against sets of Python."""
    draft, target = pair
    draw = np.random.default_rng(seed)
    ids = draw.integers(-2 * (seed % 2), ROWS + 3 * (seed % 3), 40)
    marks = draw.random(ROWS) < 0.2
    marks[[place for place in ids if 0 <= place < ROWS]] ^= draw.random(sum((ids >= 0) & (ids < ROWS))) < 0.9
    head(ids - np.arange(40), marks)(draft)
    found = open_model(draft).check(draft_for=open_model(target), select=["draft-head"]).findings
    first: dict[int, int] = {}
    wrong = []
    for place, token in enumerate(ids.tolist()):
        if not 0 <= token < ROWS or first.setdefault(token, place) != place:
            wrong.append(place)
    wanted = [wrong] if wrong else []
    beyond = any(not 0 <= token < ROWS for token in ids.tolist())
    unlike = sorted(set(ids.tolist()) ^ set(np.flatnonzero(marks).tolist()))
    wanted += [unlike] if unlike and not beyond else []
    assert [list(each.ids) for each in found] == wanted


def test_in_a_pipe_the_verdicts_stand_beside_the_findings(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    for form in ("tsv", "csv", "jsonl"):
        (verdict, shares) = run("check", draft, "--draft-for", target, "-f", form).ok().of("note")
        assert "fits by llama.cpp, fits by vLLM" in verdict
        assert "100 % of the draft's tokens" in shares
    assert run("check", draft, "--draft-for", target, "--json").ok().of("note") == []
    assert run("check", draft, "-f", "tsv").of("note") == []


def test_every_refusal_says_whose_it_is(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    edit(draft / "config.json", vocab_size=ROWS + 200)
    in_tokenizer(rename_most)(draft)
    found = run("check", draft, "--draft-for", target, "--json").document["findings"]
    assert {each["rule"] for each in found} == {
        "draft-llama-cpp",
        "draft-vocab-size",
        "draft-tokens",
        "draft-intersection",
    }
    assert all(any(name in each["message"] for name in ("llama.cpp", "vLLM", "SGLang")) for each in found)


def test_added_tokens_count_as_they_are_loaded(run: Program, pair: tuple[Path, Path]) -> None:
    draft, target = pair
    state = json.loads((draft / "tokenizer.json").read_text())
    state["added_tokens"].append(added_token(ROWS, "<tool>", special=False))
    write_json(draft / "tokenizer.json", state)
    answer = run("check", draft, "--draft-for", target, "--json")
    messages = [found["message"] for found in answer.document["findings"] if found["rule"] == "draft-tokens"]
    assert messages == [f"SGLang refuses: 1 id that only the draft has: {ROWS} '<tool>'"]
