"""`embtool diff`, held against numpy on whole tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from program import Program
from small_models import (
    END_OF_TEXT,
    PADDING,
    bfloat16,
    config,
    float32,
    pieces,
    table,
    texts,
    tokenizer_json,
    write_json,
    write_single,
)
from tables import on_disk

from embtool.answers.fields import columns_of
from embtool.answers.terminal import shown
from embtool.errors import Unlike
from embtool.model import open_model
from embtool.questions.diff import Difference
from embtool.tables.table_diff import Alignment, Moved, align_by_id, align_by_token, compare_tables
from embtool.vocabulary.matching import NOWHERE

INPUT = "model.embed_tokens.weight"
ROWS = len(texts()) + PADDING


def write(folder: Path, values: NDArray[np.float64], tokenizer: dict[str, Any] | None = None) -> Path:
    tensors = {INPUT: ("F32", values.shape, float32(values))}
    settings = config(vocab_size=len(values))
    return write_single(folder, tensors, config=settings, tokenizer=tokenizer or tokenizer_json())


def moved(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move every row a little, two of them far, and leave three as they are."""
    after = values + np.random.default_rng(0).standard_normal(values.shape) * 0.01
    after[[3, 4, 5]] = values[[3, 4, 5]]
    after[40] += 1
    after[41] *= -1
    return after


def test_the_figures_are_those_of_numpy(tmp_path: Path, run: Program) -> None:
    before, after = table("input"), moved(table("input"))
    write(tmp_path / "a", before)
    write(tmp_path / "b", after)
    held = after.astype("<f4").astype(np.float64)
    document = run("diff", tmp_path / "a", tmp_path / "b", "--json").ok().document
    assert document["schema"] == "embtool/diff@1"
    distance = np.linalg.norm(held - before, axis=1)
    lengths = np.linalg.norm(before, axis=1)
    same = int((distance == 0).sum())
    assert document["rows"] == {
        "a": ROWS,
        "b": ROWS,
        "same": same,
        "changed": ROWS - same,
        "only_a": 0,
        "only_b": 0,
        "reassigned": 0,
        "not_finite": 0,
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = distance / lengths
    usable = np.isfinite(relative) & (distance > 0)
    assert document["median"]["distance"] == pytest.approx(np.median(distance[distance > 0]))
    assert document["median"]["relative"] == pytest.approx(np.median(relative[usable]))
    order = [row for row in np.argsort(-relative, kind="stable").tolist() if usable[row]]
    first = document["differences"][:10]
    assert [record["id"] for record in first] == order[:10]
    assert first[0]["id"] in (40, 41)
    spread = 1.4826 * np.median(np.abs(relative[usable] - np.median(relative[usable])))
    for record in first:
        row = record["id"]
        assert record["distance"] == pytest.approx(distance[row], rel=1e-6)
        assert record["relative"] == pytest.approx(relative[row], rel=1e-6)
        assert record["outlying"] == pytest.approx((relative[row] - np.median(relative[usable])) / spread, rel=1e-3)
        cosine = held[row] @ before[row] / np.linalg.norm(held[row]) / lengths[row]
        assert record["cosine"] == pytest.approx(cosine, rel=1e-6)


def test_other_ranks(tmp_path: Path, run: Program) -> None:
    write(tmp_path / "a", table("input"))
    write(tmp_path / "b", moved(table("input")))
    arguments = ("diff", tmp_path / "a", tmp_path / "b", "-k", "1", "--jsonl")
    assert run(*arguments, "--rank", "cosine").ok().records[0]["id"] == 41
    assert run(*arguments, "--rank", "distance").ok().records[0]["id"] in (40, 41)


def test_a_model_and_itself(run: Program) -> None:
    answer = run("diff", "small/", "small/", "--exit-code", "--json").ok()
    assert answer.document["rows"]["same"] == ROWS
    assert answer.document["differences"] == []
    assert answer.document["median"] == {"relative": None, "distance": None, "cosine": None}
    assert f"{ROWS} rows the same, 0 changed" in run("diff", "small/", "small/", "-f", "table").ok().text


def test_a_reader_sees_rows_without_a_token_in_one_line(run: Program) -> None:
    arguments = ("diff", "small/", "gpt2/", "-k", "3")
    text = run(*arguments, "-f", "table").ok().text
    assert "only in A: 6 rows without a token, 320..325" in text
    assert "id_b" not in text
    assert "only-a" not in text
    records = run(*arguments, "--jsonl").ok().records
    assert [record["id"] for record in records if record["status"] == "only-a"] == [320, 321, 322]


def test_numbers_are_compared_across_dtypes(tmp_path: Path, run: Program) -> None:
    values = table("input")
    write(tmp_path / "a", values)
    tensors = {INPUT: ("BF16", values.shape, bfloat16(values))}
    write_single(tmp_path / "b", tensors, config=config(), tokenizer=tokenizer_json())
    assert run("diff", tmp_path / "a", tmp_path / "b", "--exit-code", "--json").ok().document["rows"]["same"] == ROWS


def test_rows_are_matched_by_token(tmp_path: Path, run: Program) -> None:
    """The second tokenizer has its added tokens the other way round, one fewer and one more."""
    names_a, names_b = {END_OF_TEXT: True, "<a>": False, "<b>": False}, {"<b>": False, END_OF_TEXT: True, "<c>": False}
    count = len(pieces()) + 3
    values = table("input", rows=count)
    values[len(pieces()) :] = np.arange(3)[:, None] + 5
    swapped = values.copy()
    first = len(pieces())
    swapped[[first, first + 1]] = values[[first + 2, first]]
    write(tmp_path / "a", values, tokenizer_json(names_a))
    write(tmp_path / "b", swapped, tokenizer_json(names_b))
    answer = run("diff", tmp_path / "a", tmp_path / "b", "--exit-code", "--json")
    assert answer.status == 1
    rows = answer.document["rows"]
    assert (rows["same"], rows["changed"], rows["only_a"], rows["only_b"], rows["reassigned"]) == (
        count - 1,
        0,
        1,
        1,
        3,
    )
    kinds = {(record["status"], record["token"], record["token_b"]) for record in answer.document["differences"]}
    assert ("only-a", "<a>", None) in kinds
    assert ("only-b", None, "<c>") in kinds
    assert ("reassigned", END_OF_TEXT, "<b>") in kinds
    by_id = run("diff", tmp_path / "a", tmp_path / "b", "--by", "id", "--json").ok().document
    assert by_id["rows"]["changed"] == 2
    assert by_id["differences"][0]["token_b"] is not None


def test_spellings_do_not_matter(tmp_path: Path) -> None:
    """`Ġa` of a byte-level tokenizer is `▁a` of SentencePiece's; `<0x41>` is not `A`."""
    vocabulary = {"<0x41>": 0, "A": 1, "▁king": 2, "é": 3}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True}
    (tmp_path / "s").mkdir()
    (tmp_path / "b").mkdir()
    decoder = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    write_json(tmp_path / "s" / "tokenizer.json", {"decoder": decoder, "model": model})
    write_json(tmp_path / "b" / "tokenizer.json", tokenizer_json())
    bytelevel, sentencepiece = (open_model(tmp_path / name).vocabulary for name in ("b", "s"))
    found = align_by_token(sentencepiece, 4, bytelevel, ROWS).counterpart.tolist()
    assert found[:3] == [NOWHERE, pieces().index("A"), pieces().index("Ġking")]
    again = align_by_token(sentencepiece, 4, sentencepiece, 4)
    assert again.counterpart.tolist() == [0, 1, 2, 3]


@given(st.integers(0, 6), st.integers(0, 6))
def test_matching_by_id(rows_a: int, rows_b: int) -> None:
    found = align_by_id(rows_a, rows_b)
    both = min(rows_a, rows_b)
    assert found.counterpart.tolist() == [*range(both), *[NOWHERE] * (rows_a - both)]
    assert (found.only_a.tolist(), found.only_b.tolist()) == ([*range(both, rows_a)], [*range(both, rows_b)])


def test_rows_in_any_order_and_in_many_blocks(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    values = random.standard_normal((500, 8))
    order = random.permutation(500)
    values[7, 0] = np.nan
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, _ = on_disk(tmp_path / "a", values, "F32")
    b, _ = on_disk(tmp_path / "b", values[order], "F32")
    where = np.argsort(order).astype(np.int64)
    where[9] = NOWHERE
    nothing = np.empty(0, np.int64)
    found = compare_tables(a, b, Alignment(where, np.array([9]), nothing, nothing), block_bytes=100)
    assert found.same.sum() == 499
    assert np.isnan(found.distance[9])
    assert found.differs


def test_rows_that_are_not_finite_come_first(tmp_path: Path, run: Program) -> None:
    before, after = table("input"), moved(table("input"))
    after[50, 0], after[70, 3] = np.nan, np.inf
    before[60, 1] = before[70, 3] = -np.inf
    after[80] = before[80]
    before[80, 2] = after[80, 2] = np.nan
    write(tmp_path / "a", before)
    write(tmp_path / "b", after)
    pair = ("diff", tmp_path / "a", tmp_path / "b")
    records = run(*pair, "-k", str(ROWS), "--jsonl").ok().records
    assert [(record["id"], record["not_finite"]) for record in records[:3]] == [(50, "b"), (60, "a"), (70, "both")]
    assert {record[key] for record in records[:3] for key in ("distance", "relative", "cosine", "outlying")} == {None}
    assert {record["not_finite"] for record in records[3:]} == {None}
    assert [record["rank"] for record in records] == [*range(1, len(records) + 1)]
    assert all(record["distance"] is not None for record in records[3:])
    assert records[-1]["id"] == texts().index("!"), "a row of zeros has no relative distance"
    assert 80 not in {record["id"] for record in records}, "the same NaN in both is no change"
    assert [record["id"] for record in run(*pair, "-k", "2", "--jsonl").ok().records] == [50, 60]
    text = run(*pair, "-f", "table").ok().text
    for word in ("NaN or infinity in A", "NaN or infinity in B", "NaN or infinity in both", "which come first: 3"):
        assert word in text
    red = run(*pair, "-f", "table", env={"NO_COLOR": "", "FORCE_COLOR": "1", "TERM": "xterm"}).ok().text
    assert "\x1b[1;31mNaN or infinity in B" in red


def test_figures_beyond_reading_are_capped_for_people_only(tmp_path: Path, run: Program) -> None:
    before = table("input")
    after = before * 1.25
    after[50] = before[50] * 2.0**60
    write(tmp_path / "a", before)
    write(tmp_path / "b", after)
    pair = ("diff", tmp_path / "a", tmp_path / "b", "-k", "1")
    (record,) = run(*pair, "--jsonl").ok().records
    assert record["outlying"] is None or record["outlying"] > 1e6
    assert record["relative"] == pytest.approx(2.0**60 - 1)
    text = run(*pair, "-f", "table").ok().text
    assert "> 10,000%" in text
    (line,) = (line for line in text.splitlines() if re.match(r" +1 ", line))
    assert len(line) < 100
    (column,) = (each for each in columns_of(Difference) if each.key == "outlying")
    assert [shown(column, {"outlying": held}) for held in (400024649.2, 1000.0, 2.25, -5e9)] == [
        "> 1,000 sd",
        "+1000.0 sd",
        "+2.2 sd",
        "< -1,000 sd",
    ]


def test_refusals(tmp_path: Path, run: Program) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, _ = on_disk(tmp_path / "a", np.ones((2, 3)), "F32")
    b, _ = on_disk(tmp_path / "b", np.ones((2, 4)), "F32")
    with pytest.raises(Unlike, match="do not compare"):
        compare_tables(a, b, align_by_id(2, 2))
    answer = run("diff", "bare/", "small/", "--json").ok()
    assert answer.document["by"] == "id"
    assert any("matched by id" in line for line in answer.of("note"))
    run("diff", "bare/", "mini").refused(2, "rows of 16 numbers", "and of 128", "do not compare")
    run("diff", "small/").refused(2, "name two models")
    run("diff", "small/", "only-config/").refused(3, "only-config")


def test_nothing_to_measure_by() -> None:
    nothing = np.empty(0, np.int64)
    with np.errstate(all="raise"):
        assert np.isnan(_unchanged(nothing).outlying(Moved.DISTANCE)).all()


def _unchanged(nothing: Any) -> Any:
    from embtool.tables.table_diff import TableDifference  # noqa: PLC0415 - for this test alone

    zeros = np.zeros(2)
    same = np.ones(2, np.bool_)
    return TableDifference(
        Alignment(np.arange(2), nothing, nothing, nothing), same, zeros, zeros, zeros + 1, ~same, ~same, zeros
    )


def test_two_models_are_named_in_one_way(run: Program) -> None:
    """Of one argument and one -m nobody could say which comes first."""
    by_argument = run("diff", "small/", "tied/", "--json").ok().document
    assert run("diff", "-m", "small/", "-m", "tied/", "--json").ok().document == by_argument
    for command in (("diff",), ("rope", "compare")):
        run(*command, "-m", "small/", "tied/").refused(2, "both as arguments or both by -m")


@pytest.mark.parametrize("rank", ["relative", "distance", "cosine"])
def test_a_narrow_terminal_keeps_the_token_and_what_it_is_ranked_by(run: Program, rank: str) -> None:
    shown = run("diff", "tied/", "tuned/", "--rank", rank, "-f", "table", env={"COLUMNS": "42"}).ok().text
    (heads,) = (line for line in shown.split("\n") if " id " in line)
    assert {"token", rank} <= set(heads.split())
    assert "status" not in heads


def test_a_deviation_is_capped_whatever_it_is_ranked_by(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    run = Program(tmp_path / "home", tmp_path)
    run("learn", "--stand-ins", "tuned").ok()
    shown = run("diff", "mini", "tuned", "--rank", "cosine", "-f", "table").ok().text
    assert "> 1,000 sd" in shown
    assert not re.search(r"\d{4} sd", shown)


def test_a_narrow_terminal_names_the_tokens_of_both_models(tmp_path: Path, run: Program) -> None:
    """A row that only the second has is nothing but its token there."""
    swapped = tokenizer_json()
    (end,) = swapped["added_tokens"]
    swapped["added_tokens"] = [end, {**end, "id": end["id"] + 1, "content": "<there>"}]
    for name, tokenizer in (("a", tokenizer_json()), ("b", swapped)):
        rows = np.ones((len(pieces()) + 2, 8))
        write(tmp_path / name, rows, tokenizer)
    shown = run("diff", str(tmp_path / "a"), str(tmp_path / "b"), "-f", "table", env={"COLUMNS": "50"}).ok().text
    assert "<there>" in shown
    assert "only-b" in shown
