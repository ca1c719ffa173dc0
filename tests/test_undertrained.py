"""`embtool undertrained`, on tables whose untrained rows are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import END_OF_TEXT, PADDING, config, float32, pieces, texts, tokenizer_json, write_single

from embtool.model import open_model
from embtool.tables.undertrained import (
    UNUSED_NAMES,
    Indicator,
    Kind,
    Reference,
    containing,
    find_reference,
    percentiles_of,
    rank_untrained,
    untrained_scores,
)

UNTRAINED = (" strawberr", " kin", " raspb", "[unused0]", "<|reserved_special_token_7|>")
WIDTH = 32


def write_trained(folder: Path, *, tied: bool) -> list[int]:
    """Write a model whose rows were trained, but for a few, those without a token, and bytes that no text holds."""
    tokenizer = tokenizer_json({END_OF_TEXT: True, UNTRAINED[3]: True, UNTRAINED[4]: False})
    names = [*texts(), *UNTRAINED[3:]]
    rows = len(names) + PADDING
    random = np.random.default_rng(4)
    values = random.standard_normal((rows, WIDTH)) + 0.5
    untrained = [names.index(name) for name in UNTRAINED] + list(range(len(names), rows))
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}
    spelled = {piece: place for place, piece in enumerate(pieces())}
    untrained += [spelled[chr(byte)] for byte in never]
    # As training with a softmax leaves them: near each other, away from zero where the table also predicts.
    values[untrained] = random.standard_normal((len(untrained), WIDTH)) * 0.05 + (2.0 if tied else 0.0)
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values.astype("<f4")))}
    if not tied:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    settings = config(vocab_size=rows, hidden_size=WIDTH, tie_word_embeddings=tied)
    write_single(folder, tensors, config=settings, tokenizer=tokenizer)
    return sorted(untrained)


@pytest.mark.parametrize("tied", [True, False])
def test_the_untrained_rows_come_first(tmp_path: Path, run: Program, tied: bool) -> None:  # noqa: FBT001
    untrained = write_trained(tmp_path, tied=tied)
    count = len(untrained)
    answer = run(
        "undertrained", "-m", tmp_path, "-k", str(count), "--percent", "50", "--all", "--padding", "--json"
    ).ok()
    document = answer.document
    assert document["schema"] == "embtool/undertrained@1"
    assert document["indicator"] == ("distance" if tied else "norm")
    assert sorted(record["id"] for record in document["tokens"]) == untrained
    assert document["reference"] == {"padding": PADDING, "bytes": 13, "names": 2, "given": 0}
    assert document["verified"] is False
    assert any("candidates: no model was run" in line for line in answer.of("note"))
    scores = [record["score"] for record in document["tokens"]]
    assert scores == sorted(scores)


def test_the_default_is_the_first_two_percent_without_padding(tmp_path: Path, run: Program) -> None:
    write_trained(tmp_path, tied=True)
    records = run("undertrained", "-m", tmp_path, "-k", "1000", "--all", "--jsonl").ok().records
    assert len(records) == int((len(texts()) + 2 + PADDING) * 0.02)
    assert all(record["piece"] is not None for record in records)
    assert all(record["percentile"] <= 15 for record in records)


def test_ordinary_tokens_with_what_contains_them(tmp_path: Path, run: Program) -> None:
    write_trained(tmp_path, tied=False)
    document = run("undertrained", "-m", tmp_path, "--percent", "50", "-k", "3", "--json").ok().document
    by_text = {record["token"]: record for record in document["tokens"]}
    assert set(by_text) == set(UNTRAINED[:3])
    assert by_text[" raspb"]["within"] == [" raspbe", " raspber", " raspberr"]
    assert by_text[" raspb"]["category"] == "normal"
    assert by_text[" raspb"]["reference"] is None
    shown = run("undertrained", "-m", tmp_path, "-f", "table").ok()
    assert "13 bytes that UTF-8 never uses" in shown.text
    assert "these are candidates: no model was run" in shown.text
    assert not [line for line in shown.of("note") if "candidates" in line]


def test_the_scores_are_those_of_numpy(tmp_path: Path) -> None:
    untrained = write_trained(tmp_path, tied=True)
    model = open_model(tmp_path)
    chosen = model.input_table
    values = chosen.rows(range(chosen.shape[0])).astype(np.float64)
    reference = Reference(dict.fromkeys(untrained[:5], Kind.GIVEN))
    with chosen.open() as reader:
        near = untrained_scores(chosen, reader, Indicator.DISTANCE, reference)
        norms = untrained_scores(chosen, reader, Indicator.NORM, Reference({}))
    expected = np.linalg.norm(values - values[untrained[:5]].mean(axis=0), axis=1)
    np.testing.assert_allclose(near, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norms, np.linalg.norm(values, axis=1), rtol=1e-6)


def test_a_reference_can_be_given(tmp_path: Path, run: Program) -> None:
    write_trained(tmp_path, tied=True)
    rows = len(texts()) + 2 + PADDING
    given = run("undertrained", "-m", tmp_path, "--reference", f"id:{rows - 3}..{rows - 1}", "--json").ok().document
    assert given["reference"] == {"padding": 0, "bytes": 0, "names": 0, "given": 3}
    named = run("undertrained", "-m", tmp_path, "--reference", "names", "--json").ok().document
    assert named["reference"]["names"] == 2
    assert named["reference"]["padding"] == 0
    run("undertrained", "-m", tmp_path, "--reference", "id:999999").refused(3, "no row 999999")


def test_an_output_table_is_judged_by_distance(tmp_path: Path, run: Program) -> None:
    write_trained(tmp_path, tied=False)
    document = run("undertrained", "-m", tmp_path, "--table", "output", "--json").ok().document
    assert (document["table"], document["indicator"]) == ("output", "distance")


def test_without_reference_rows_the_norm_has_to_do(run: Program) -> None:
    document = run("undertrained", "-m", "bert/", "--percent", "100", "--json").ok().document
    assert document["indicator"] == "norm"
    run("undertrained", "-m", "bert/", "--indicator", "distance").refused(6, "surely were never trained")


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("[unused1]", True),
        ("<unused99>", True),
        ("<|reserved_special_token_12|>", True),
        ("madeupword0001", True),
        ("<|extra_7|>", True),
        ("<SPECIAL_12>", True),
        ("<|placeholder3|>", True),
        ("<|dummy_85|>", True),
        ("reserved", False),
        ("Ġunused", False),
        ("[CLS]", False),
        ("<|im_start|>", False),
        ("<extra_id_0>", False),
    ],
)
def test_names_of_entries_kept_for_later(name: str, unused: bool) -> None:  # noqa: FBT001
    assert (UNUSED_NAMES.fullmatch(name) is not None) is unused


def test_ranks_leave_out_what_is_not_finite() -> None:
    scores = np.array([3.0, np.nan, 1, 1, 2])
    assert rank_untrained(scores, 3).tolist() == [2, 3, 4]
    allowed = np.array([True, True, False, True, True])
    assert rank_untrained(scores, 9, allowed).tolist() == [3, 4, 0]
    assert percentiles_of(scores, [4, 0]).tolist() == [50, 75]


def test_containing_names_the_shortest_first(small: Path) -> None:
    vocabulary = open_model(small).vocabulary
    token: Any = vocabulary.find_piece("Ġki")
    assert [other.text for other in containing(vocabulary, [token])[token.id]] == [" kin", " king"]
    assert find_reference(vocabulary, 3, [Kind.PADDING]).ids == []


def test_many_tokens_are_found_in_the_same_tokens_as_one(small: Path) -> None:
    vocabulary = open_model(small).vocabulary
    tokens = list(vocabulary)
    together = containing(vocabulary, tokens)
    assert together == {token.id: containing(vocabulary, [token])[token.id] for token in tokens}
    assert any(together.values())


def test_the_unused_rows_of_a_real_model_are_found(run: Program) -> None:
    folder = Path(__file__).parent.parent / ".models" / "minilm"
    if not folder.is_dir():
        pytest.skip("make models fetches it")
    records = run("undertrained", "-m", folder, "-k", "30", "--all", "--jsonl").ok().records
    assert sum("[unused" in record["piece"] for record in records) >= 15


@pytest.mark.slow
def test_what_a_text_can_contain_comes_first_and_the_rest_is_counted(run: Program) -> None:
    ordinary = run("undertrained", "mini", "-k", "20", "--json").ok().document
    assert {record["category"] for record in ordinary["tokens"]} == {"normal"}
    assert not any(record["token"] in map(chr, range(32)) for record in ordinary["tokens"])
    everything = run("undertrained", "mini", "-k", "1000", "--all", "--json").ok().document
    ids = [record["id"] for record in everything["tokens"]]
    assert everything["left_out"] == 0
    assert ordinary["left_out"] == ids.index(ordinary["tokens"][-1]["id"]) + 1 - 20 > 0
    assert [record["id"] for record in ordinary["tokens"]] == [
        row for row in ids if row in {record["id"] for record in ordinary["tokens"]}
    ]
    shown = run("undertrained", "mini", "-k", "20", "-f", "table").ok().text
    assert f"left out: {ordinary['left_out']} rows" in shown
    assert "--all lists them" in shown
    padded = run("undertrained", "mini", "-k", "20", "--padding", "--json").ok().document
    assert {record["category"] for record in padded["tokens"]} == {"normal", "padding"}


@pytest.mark.parametrize("rows", [22, 41, 49])
def test_a_tiny_table_lists_its_lowest(run: Program, tmp_path: Path, rows: int) -> None:
    random = np.random.default_rng(7)
    values = (random.standard_normal((rows, WIDTH)) + 0.5).astype(np.float32)
    values[7] *= 0.01
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values))}
    write_single(tmp_path, tensors, config=config(tie_word_embeddings=False), tokenizer=tokenizer_json())
    answer = run("undertrained", "-m", tmp_path, "-k", "5", "--all", "--json").ok()
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    assert [row["id"] for row in answer.document["tokens"]] == np.argsort(norms)[:5].tolist()
    assert any(f"of {rows} rows" in note for note in answer.of("note"))
    assert not run("undertrained", "-m", tmp_path, "--percent", "2", "--json").ok().document["tokens"]


def test_a_table_of_few_rows_lists_its_lowest(tmp_path: Path, run: Program) -> None:
    """Of its ordinary tokens as many as are asked for, whatever stands before them; a share of no row is told."""
    tokenizer = tokenizer_json()
    first = pieces()[:9]
    tokenizer["model"] |= {"vocab": {piece: place for place, piece in enumerate(first)}, "merges": []}
    tokenizer["added_tokens"] = [{**tokenizer["added_tokens"][0], "id": 9}]
    values = np.random.default_rng(3).standard_normal((10, 4)).astype("<f4")
    values[9] /= 100
    settings = config(vocab_size=10, tie_word_embeddings=True)
    write_single(
        tmp_path, {"wte.weight": ("F32", values.shape, values.tobytes())}, config=settings, tokenizer=tokenizer
    )
    line = ("undertrained", "-m", tmp_path, "--indicator", "norm")
    answer = run(*line, "-k", "3", "--json").ok()
    lowest = np.argsort(np.linalg.norm(values[:9].astype(np.float64), axis=1), kind="stable")
    assert [each["id"] for each in answer.document["tokens"]] == lowest[:3].tolist()
    assert answer.document["left_out"] == 1
    assert any("of 10 rows the share that is looked at would be none" in told for told in answer.of("note"))
    every = run(*line, "-k", "3", "--all", "--json").ok().document
    assert [each["id"] for each in every["tokens"]] == [9, *lowest[:2].tolist()]
    none = run(*line, "--percent", "2", "--json").ok()
    assert none.document["tokens"] == []
    assert any("of 10 rows the share asked for is less than one" in told for told in none.of("note"))
    assert len(run(*line, "--percent", "50", "--all", "--json").ok().document["tokens"]) == 5
