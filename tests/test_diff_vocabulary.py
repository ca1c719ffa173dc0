"""`diff --vocab`, held against set algebra on published tokenizers and on ones derived from them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import (
    END_OF_TEXT,
    PADDING,
    bfloat16,
    byte_characters,
    config,
    pieces,
    table,
    texts,
    tokenizer_json,
    write_json,
    write_single,
)

import embtool
from embtool.errors import FormatError, NoVocabulary
from embtool.model import open_model
from embtool.questions.diff_vocabulary import VocabularyAnswer
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.matching import NOWHERE, match_tokens

REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere")) / "tokenizers"
real = pytest.mark.skipif(not REAL.is_dir(), reason="published tokenizers are not part of it: EMBTOOL_TEST_REAL")

NAMES = ("bert-base-cased", "falcon", "gpt2", "llama2", "qwen3", "t5-small")
INPUT = "model.embed_tokens.weight"


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def by_bytes(words: Vocabulary) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = {}
    for token in words:
        found.setdefault(token.bytes, []).append(token.id)
    return found


@pytest.mark.few(1)
@real
@pytest.mark.parametrize(("a", "b"), [(a, b) for place, a in enumerate(NAMES) for b in NAMES[place:]])
def test_published_vocabularies_are_matched_by_set_algebra(a: str, b: str) -> None:
    ours, theirs = (open_model(REAL / name).vocabulary for name in (a, b))
    one, other = by_bytes(ours), by_bytes(theirs)
    match = match_tokens(ours, theirs)
    shared = sum(min(len(ids), len(other[key])) for key, ids in one.items() if key in other)
    same = {token.id for token in ours} & {token.id for token in theirs}
    same = {place for key, ids in one.items() for place in ids if place in same and place in other.get(key, ())}
    assert set(match.same.tolist()) == same
    assert len(match.same) + len(match.moved) == shared
    assert len(match.only_a) == len(ours) - shared
    assert len(match.only_b) == len(theirs) - shared
    paired = match.counterpart[match.counterpart != NOWHERE].tolist()
    assert len(set(paired)) == len(paired), "one for one"
    content, there = ({place: key for key, ids in each.items() for place in ids} for each in (one, other))
    pairs = zip(match.ids.tolist(), match.counterpart.tolist(), strict=True)
    assert all(content[row] == there[place] for row, place in pairs if place != NOWHERE)


def test_vocabularies_of_one_index_are_matched_without_a_look_at_their_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        write_single(tmp_path / name, {}, config=config(), tokenizer=tokenizer_json())
    read = match_tokens(*(open_model(tmp_path / name).vocabulary for name in "ab"))
    ours, theirs = (open_model(tmp_path / name).vocabulary for name in "ab")
    assert ours.index is not None
    assert ours.index == theirs.index
    monkeypatch.setattr(Vocabulary, "pieces", None)
    monkeypatch.setattr(Vocabulary, "entries", None)
    match = match_tokens(ours, theirs)
    for name in ("ids", "counterpart", "ids_b", "same", "moved", "only_a", "only_b", "reassigned"):
        np.testing.assert_array_equal(getattr(match, name), getattr(read, name))
    assert len(match.same) == len(ours)


# --- derived ones -----------------------------------------------------------------------------------------------------

BASE = tokenizer_json()
TOKENS = len(pieces()) + 1


def vocab_of(state: dict[str, Any]) -> dict[str, int]:
    vocabulary: dict[str, int] = state["model"]["vocab"]
    return vocabulary


def permute(state: dict[str, Any]) -> None:
    last = len(pieces()) - 1
    state["model"]["vocab"] = {piece: last - place for piece, place in vocab_of(state).items()}


def cut(state: dict[str, Any]) -> None:
    state["model"]["vocab"] = {piece: place for piece, place in vocab_of(state).items() if place < 300}
    state["added_tokens"] = []


def swap(state: dict[str, Any]) -> None:
    vocabulary, (first, second) = vocab_of(state), pieces()[300:302]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def rename(state: dict[str, Any]) -> None:
    vocabulary = vocab_of(state)
    vocabulary["somethingelse"] = vocabulary.pop(pieces()[300])


def swap_and_rename(state: dict[str, Any]) -> None:
    swap(state)
    rename(state)


def rename_nearly_all(state: dict[str, Any]) -> None:
    state["model"]["vocab"] = {piece if place < 20 else f"一{piece}": place for piece, place in vocab_of(state).items()}


def add(state: dict[str, Any]) -> None:
    state["added_tokens"].append({**state["added_tokens"][0], "id": TOKENS, "content": "<tool>"})


def respell(state: dict[str, Any]) -> None:
    """Write the same bytes as SentencePiece does, where it can."""
    byte = {character: number for number, character in byte_characters().items()}
    state["decoder"] = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    state["pre_tokenizer"] = None
    state["model"]["vocab"] = {spell(piece, byte): place for piece, place in vocab_of(state).items()}


def spell(piece: str, byte: dict[str, int]) -> str:
    data = bytes(byte[character] for character in piece)
    return f"<0x{data[0]:02X}>" if len(data) == 1 else data.decode().replace(" ", "▁")


DERIVED: dict[str, tuple[Callable[[dict[str, Any]], None], str, dict[str, int]]] = {
    "itself": (lambda _: None, "identical", {"same": TOKENS}),
    "permuted": (permute, "moved-ids", {"same": 2, "moved": TOKENS - 2}),
    "cut": (cut, "longer-tail", {"same": 300, "only_a": TOKENS - 300}),
    "one id swapped": (swap, "moved-ids", {"same": TOKENS - 2, "moved": 2, "reassigned": 2}),
    "one renamed": (rename, "shared", {"same": TOKENS - 1, "only_a": 1, "only_b": 1, "reassigned": 1}),
    "nearly all renamed": (rename_nearly_all, "unrelated", {"same": 21}),
    "one added": (add, "longer-tail", {"same": TOKENS, "only_b": 1}),
    "spelled otherwise": (respell, "identical", {"same": TOKENS}),
}


def write(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    state = copy.deepcopy(BASE)
    change(state)
    write_json(folder / "tokenizer.json", state)
    if settings:
        write_json(folder / "config.json", config(**settings))
    return folder


@pytest.mark.parametrize("name", DERIVED)
def test_derived_vocabularies(run: Program, tmp_path: Path, name: str) -> None:
    change, verdict, counts = DERIVED[name]
    a, b = write(tmp_path / "a"), write(tmp_path / "b", change)
    answer = run("diff", a, b, "--vocab", "--exit-code", "--json")
    assert answer.status == (0 if verdict == "identical" else 1)
    found = answer.document["vocabulary"]
    assert found["verdict"] == verdict
    assert {key: found["tokens"][key] for key in counts} == counts
    tokens = found["tokens"]
    assert tokens["same"] + tokens["moved"] + tokens["only_a"] == tokens["a"]
    assert tokens["same"] + tokens["moved"] + tokens["only_b"] == tokens["b"]
    assert found["shared"]["a"] == (tokens["same"] + tokens["moved"]) / tokens["a"]
    back = run("diff", b, a, "--vocab", "--json").document["vocabulary"]
    assert (back["verdict"], back["tokens"]["only_a"]) == (verdict, tokens["only_b"])


def test_every_pair_is_a_line(run: Program, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", swap_and_rename)
    records = run("diff", a, b, "--vocab", "-k", "1", "--jsonl").ok().records
    assert len(records) == TOKENS + 1
    assert [record["id"] for record in records[:TOKENS]] == list(range(TOKENS))
    assert [record["status"] for record in records[299:302]] == ["same", "only-a", "moved"]
    assert (records[301]["id"], records[301]["id_b"]) == (301, 300)
    assert (records[-1]["status"], records[-1]["id"], records[-1]["id_b"], records[-1]["piece"]) == (
        "only-b",
        None,
        301,
        "somethingelse",
    )
    document = run("diff", a, b, "--vocab", "-k", "1", "--json").document
    assert [len(document[key]) for key in ("moved", "only_a", "only_b")] == [1, 1, 1]
    assert len(run("diff", a, b, "--vocab", "--tsv").ok().cells) == TOKENS + 2


def test_verdicts_in_words(run: Program, tmp_path: Path) -> None:
    a = write(tmp_path / "a", vocab_size=TOKENS)
    b = write(tmp_path / "b", vocab_size=TOKENS + 8)
    answer = run("diff", a, b, "--vocab", "--exit-code", "-f", "table")
    assert answer.status == 1
    shown = " ".join(answer.text.split())
    assert f"identical but for padding: {TOKENS} tokens in both, tables of {TOKENS} and {TOKENS + 8} rows" in shown
    cases = {
        "permuted": "moved ids: all tokens are shared,",
        "cut": "same ids and a longer tail",
        "one renamed": "shared in part: 99.69 %",
    }
    for name, words in cases.items():
        other = write(tmp_path / name, DERIVED[name][0])
        assert words in " ".join(run("diff", a, other, "--vocab", "-f", "table").ok().text.split())


def test_moved_ids_of_a_smaller_vocabulary(run: Program, tmp_path: Path) -> None:
    def cut_and_swapped(state: dict[str, Any]) -> None:
        swap(state)
        state["model"]["vocab"] = {piece: place for piece, place in vocab_of(state).items() if place < 310}

    a, b = write(tmp_path / "a"), write(tmp_path / "b", cut_and_swapped)
    shown = " ".join(run("diff", a, b, "--vocab", "-f", "table").ok().text.split())
    assert "moved ids: all tokens of the smaller vocabulary are shared, 3 of them under another id" in shown


def test_special_tokens_are_told_by_name(run: Program, tmp_path: Path) -> None:
    a = write(tmp_path / "a", eos_token_id=TOKENS - 1, bos_token_id=3)
    b = write(tmp_path / "b", eos_token_id=[TOKENS - 1, 5], pad_token_id=900)
    write_json(b / "tokenizer_config.json", {"bos_token": END_OF_TEXT})
    listed = run("diff", a, b, "--vocab", "--json").ok().document["vocabulary"]["special"]
    special = {each["name"]: each for each in listed}
    assert set(special) == {"eos", "bos", "pad"}
    assert (special["eos"]["ids_a"], special["eos"]["ids_b"], special["eos"]["same"]) == (
        [TOKENS - 1],
        [5, TOKENS - 1],
        False,
    )
    assert (special["bos"]["ids_a"], special["bos"]["ids_b"]) == ([3], [TOKENS - 1])
    assert special["bos"]["tokens_b"] == [END_OF_TEXT]
    assert (special["pad"]["ids_b"], special["pad"]["tokens_b"], special["pad"]["same"]) == ([900], [None], None)
    assert run("diff", a, b, "--vocab", "--exit-code").status == 1, "another end is a difference"
    shown = run("diff", a, b, "--vocab", "-f", "table").text
    assert "pad: not named in the first, 900, no token in the second" in shown


# --- vocabularies and rows --------------------------------------------------------------------------------------------


def test_a_diff_says_how_the_vocabularies_stand_first(run: Program, tmp_path: Path) -> None:
    values = table("input")
    for name, change in (("a", lambda _: None), ("b", swap)):
        state = copy.deepcopy(BASE)
        change(state)
        tensors = {INPUT: ("BF16", values.shape, bfloat16(values))}
        write_single(tmp_path / name, tensors, config=config(), tokenizer=state)
    pair = ("diff", tmp_path / "a", tmp_path / "b")
    document = run(*pair, "--json").ok().document
    assert document["vocabulary"]["verdict"] == "moved-ids"
    assert document["vocabulary"]["table_rows"] == {"a": len(values), "b": len(values)}
    assert document["rows"]["changed"] == 2
    shown = run(*pair, "-f", "table").ok().text
    assert shown.index("moved ids") < shown.index("rows the same")
    by_id = run(*pair, "--by", "id", "--exit-code", "--json")
    assert by_id.document["rows"]["changed"] == 0
    assert by_id.status == 1, "the rows are the same, the tokens are not"
    shown = run(*pair, "--by", "id", "-f", "table").ok().text
    assert "moved ids" in shown
    assert "0 ids with another token" not in " ".join(shown.split())


def test_other_widths_and_other_special_tokens_are_differences(run: Program, tmp_path: Path) -> None:
    """Though every token is the same under the same id."""
    for name, width, end in (("a", 4, 3), ("wide", 8, 3), ("ends", 4, 5)):
        values = np.ones((TOKENS, width), np.float32)
        settings = config(vocab_size=TOKENS, hidden_size=width, eos_token_id=end)
        write_single(
            tmp_path / name,
            {INPUT: ("F32", values.shape, values.tobytes())},
            config=settings,
            tokenizer=tokenizer_json(),
        )
    assert run("diff", tmp_path / "a", tmp_path / "a", "--exit-code").status == 0
    assert run("diff", tmp_path / "a", tmp_path / "wide", "--exit-code").status == 1
    assert run("diff", tmp_path / "a", tmp_path / "wide", "--vocab", "--exit-code").status == 0
    assert run("diff", tmp_path / "a", tmp_path / "ends", "--exit-code").status == 1
    shown = run("diff", tmp_path / "a", tmp_path / "ends", "-f", "table").ok().text
    assert "eos: 3" in shown


@pytest.mark.slow
def test_rows_of_two_widths_leave_the_vocabularies(run: Program) -> None:
    answer = run("diff", "small/", "mini", "--json").ok()
    assert answer.document == run("diff", "small/", "mini", "--vocab", "--json").document | {
        "vocabulary": answer.document["vocabulary"]
    }
    assert any("rows of 16 numbers and of 128 do not compare" in line for line in answer.of("note"))
    assert run("diff", "small/", "mini", "--exit-code").status == 1
    run("diff", "small/", "mini", "--max-error", "0.1").refused(2, "rows of 16 numbers", "do not compare")
    found = embtool.diff(open_model("mini"), open_model("mini"), vocab=True)
    assert isinstance(found, VocabularyAnswer)
    assert found.vocabulary.tokens.moved == 0
    assert len(found) == found.vocabulary.tokens.a


def test_missing_weights_are_no_hindrance(run: Program, tmp_path: Path) -> None:
    """A folder with a tokenizer only, and one whose shards are gone."""
    only = write(tmp_path / "only")
    gone = write(tmp_path / "gone", vocab_size=TOKENS)
    write_json(gone / "model.safetensors.index.json", {"weight_map": {INPUT: "part-0.safetensors"}})
    for pair in ((only, gone), (gone, only), (gone, "small/")):
        assert run("diff", *pair, "--vocab", "--json").ok().document["vocabulary"]["tokens"]["same"] == TOKENS
    assert run("diff", only, gone).status in (3, 6), "without --vocab rows are wanted"
    run("diff", only, "small/").refused(3, "no tables to read", "--vocab compares the tokenizers alone")
    run("diff", only, "bare/").refused(3, "no tables to read", "a folder that holds the model's weights")


def test_refusals(run: Program, tmp_path: Path) -> None:
    whole, bare = write(tmp_path / "whole"), tmp_path / "bare"
    write_single(bare, {INPUT: ("F32", (2, 2), bytes(16))}, config=config())
    nothing = {**BASE["model"], "vocab": {}}
    empty = write(tmp_path / "empty", lambda state: state.update(added_tokens=[], model=nothing))
    run("diff", whole, bare, "--vocab").refused(3, "has no tokenizer")
    run("diff", empty, whole, "--vocab").refused(6, "empty", "has no tokens")
    run("diff", whole, empty, "--vocab").refused(6, "empty", "has no tokens")
    run("diff", whole, tmp_path / "nowhere/", "--vocab").refused(3, "nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    run("diff", whole, tmp_path / "broken", "--vocab").refused(6, "tokenizer.json")
    run("diff", whole, whole, "--vocab", "--neighbors", "3").refused(2, "--vocab reads no rows")
    run("diff", whole, whole, "--vocab", "--by", "id").refused(2, "--vocab reads no rows", "--by")
    run("diff", whole, whole, "--vocab", "--rank", "cosine").refused(2, "--vocab reads no rows", "--rank")
    run("diff", whole, whole, "--max-error", "1", "--rank", "cosine").refused(2, "ranked by their error")
    with pytest.raises(NoVocabulary):
        embtool.diff(open_model(whole), open_model(bare), vocab=True)
    with pytest.raises(FormatError):
        embtool.diff(open_model(whole), open_model(empty), vocab=True)


def test_an_empty_vocabulary_names_no_rows(run: Program, tmp_path: Path) -> None:
    values = table("input")
    for name, vocabulary in (("a", {}), ("b", {piece: place for place, piece in enumerate(pieces())})):
        state = {**tokenizer_json({}), "model": {**BASE["model"], "vocab": vocabulary}}
        tensors = {INPUT: ("BF16", values.shape, bfloat16(values))}
        write_single(tmp_path / name, tensors, config=config(), tokenizer=state)
    answer = run("diff", tmp_path / "a", tmp_path / "b", "--json").ok()
    assert (answer.document["by"], answer.document["vocabulary"]) == ("id", None)
    assert answer.document["rows"]["same"] == len(texts()) + PADDING
    assert any("matched by id" in line for line in answer.of("note"))
    assert json.loads(answer.out)["rows"]["only_a"] == 0
