"""`diff --neighbors K --max-error X`: copies, held against numpy and the gguf library's own decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import Program
from small_models import END_OF_TEXT, bfloat16, config, float32, pieces, table, tokenizer_json, write_single

import embtool
from embtool.errors import InvalidArgument
from embtool.model import open_model
from embtool.questions.diff_copy import CopyAnswer

INPUT = "model.embed_tokens.weight"
TOKENS = len(pieces()) + 1
WIDE = 32


def write(folder: Path, values: NDArray[Any], dtype: str = "F32", added: dict[str, bool] | None = None) -> Path:
    data = bfloat16(values) if dtype == "BF16" else float32(values)
    settings = config(vocab_size=len(values), hidden_size=values.shape[1])
    tensors = {INPUT: (dtype, values.shape, data)}
    return write_single(folder, tensors, config=settings, tokenizer=tokenizer_json(added))


def cosines(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    one, other = one.astype("<f4").astype(float), other.astype("<f4").astype(float)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: NDArray[np.float64] = (one * other).sum(axis=1) / lengths
    return found


def nearest(rows: NDArray[Any], row: int, k: int) -> set[int]:
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = units @ units[row]
    scores[row] = -np.inf
    return set(np.argsort(-scores, kind="stable")[:k].tolist())


def rows_of(width: int = WIDE, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((TOKENS, width)).astype("<f4").astype(float)


def test_a_quantised_copy_against_the_librarys_own_decoding(run: Program, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf library writes and decodes the copy")
    from gguf_files import llama, vocabulary_of  # noqa: PLC0415 - the module is skipped where gguf is not there
    from gguf_files import write as write_gguf  # noqa: PLC0415

    values = rows_of()
    original = write(tmp_path / "a", values)
    kind = gguf.GGMLQuantizationType.Q4_0
    settings = llama(**{"embedding_length": WIDE, "attention.head_count": 2, "rope.dimension_count": 8})
    (tmp_path / "b").mkdir()
    write_gguf(
        tmp_path / "b" / "x.gguf",
        {"token_embd.weight": (values, kind)},
        settings=settings,
        vocabulary=vocabulary_of(original / "tokenizer.json"),
    )
    decoded = gguf.quants.dequantize(gguf.quants.quantize(values.astype("f4"), kind), kind)
    errors = 1 - cosines(values, decoded)
    pair = ("diff", original, tmp_path / "b" / "x.gguf", "--neighbors", "5")
    document = run(*pair, "--json").ok().document
    assert document["vocabulary"]["verdict"] == "identical"
    assert document["rows"] == {"compared": TOKENS, "same": 0, "missing": 0, "unmeasured": 0, "over": None}
    wanted = (errors.mean(), np.median(errors), np.percentile(errors, 99), errors.max())
    assert [document["error"][key] for key in ("mean", "median", "p99", "max")] == pytest.approx(wanted, rel=1e-6)
    records = run(*pair, "--jsonl").ok().records
    assert [record["id"] for record in records] == np.argsort(-errors, kind="stable").tolist()
    assert [record["error"] for record in records] == pytest.approx(sorted(errors, reverse=True), rel=1e-6)
    kept = [len(nearest(values, row, 5) & nearest(decoded, row, 5)) / 5 for row in range(TOKENS)]
    assert [record["kept"] for record in records] == [kept[record["id"]] for record in records]
    assert document["kept"] == {
        "neighbors": 5,
        "sampled": TOKENS,
        "mean": pytest.approx(np.mean(kept)),
        "least": min(kept),
    }
    line = float(np.sort(errors)[-3])  # the third largest is on the line, two are beyond it
    answer = run(*pair, "--max-error", repr(line * (1 + 1e-9)), "--exit-code", "--json")
    assert (answer.status, answer.document["accepted"], answer.document["rows"]["over"]) == (1, False, 2)
    assert run(*pair, "--max-error", repr(float(errors.max()) + 1e-9), "--exit-code").status == 0


def half(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut numbers down to what BF16 holds."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4") & 0xFFFF0000
    return bits.view("<f4").astype(np.float64)


def test_a_merged_copy_in_the_same_dtype_is_judged_in_float64(run: Program, tmp_path: Path) -> None:
    values = half(rows_of(96))
    after = half(values + np.random.default_rng(3).standard_normal(values.shape) * 0.05)
    a, b = write(tmp_path / "a", values, "BF16"), write(tmp_path / "b", after, "BF16")
    held = [np.asarray(open_model(folder).input_table) for folder in (a, b)]
    errors = 1 - cosines(*held)
    records = run("diff", a, b, "--max-error", "0.001", "--jsonl").ok().records
    assert [record["error"] for record in records] == pytest.approx(np.sort(errors)[::-1], rel=1e-9)
    assert [record["over"] for record in records] == (np.sort(errors)[::-1] > 0.001).tolist()


def test_worst_tokens_by_kind(run: Program, tmp_path: Path) -> None:
    values = table("input") + 1
    after = values.copy()
    after[5] += 3
    after[128] *= -1
    after[TOKENS - 1, 0] += 1
    after[TOKENS] += 9  # a row without a token is not judged
    a, b = write(tmp_path / "a", values), write(tmp_path / "b", after)
    document = run("diff", a, b, "--max-error", "0.5", "--json").ok().document
    kinds = {each["category"]: each for each in document["categories"]}
    assert [each["id"] for each in document["worst"][:3]] == [128, 5, TOKENS - 1] or document["worst"][0]["id"] == 128
    assert kinds["byte"]["id"] == 128
    assert kinds["byte"]["worst"] == pytest.approx(2)
    assert kinds["special"]["token"] == END_OF_TEXT
    assert kinds["normal"]["over"] == sum(each["over"] for each in document["worst"] if each["category"] == "normal")
    assert sum(each["rows"] for each in kinds.values()) == TOKENS
    assert document["rows"]["over"] == sum(each["over"] for each in kinds.values())
    shown = run("diff", a, b, "--max-error", "0.5", "-f", "table").ok().text
    assert "refused" in shown
    assert "by kind of token, each with its worst" in shown


LOST: dict[str, tuple[Any, Any]] = {
    "a copy of zeros": (1.0, 0.0),
    "a copy of zeros that are": (0.0, 1.0),
    "a copy with NaN": (1.0, np.nan),
    "a copy with infinity": (1.0, np.inf),
    "an original with NaN": (np.nan, 1.0),
}


@pytest.mark.parametrize("name", LOST)
def test_a_row_without_a_cosine_is_beyond_every_line(run: Program, tmp_path: Path, name: str) -> None:
    values = rows_of()
    after = values.copy()
    values[7], after[7] = LOST[name]
    a, b = write(tmp_path / "a", values), write(tmp_path / "b", after)
    answer = run("diff", a, b, "--max-error", "2", "--neighbors", "3", "--exit-code", "--json")
    assert answer.status == 1
    assert answer.document["rows"]["unmeasured"] == answer.document["rows"]["over"] == 1
    worst = answer.document["worst"][0]
    assert (worst["id"], worst["error"], worst["over"], worst["kept"]) == (7, None, True, None)
    assert answer.document["error"]["max"] == 0


def test_rows_that_are_the_same_have_no_error(run: Program, tmp_path: Path) -> None:
    values = rows_of()
    values[3], values[4, 2] = 0, np.nan
    a, b = write(tmp_path / "a", values), write(tmp_path / "b", values)
    document = run("diff", a, b, "--max-error", "0", "--exit-code", "--json").ok().document
    assert (document["accepted"], document["rows"]["same"]) == (True, TOKENS)


def test_a_lost_token_is_beyond_every_line(run: Program, tmp_path: Path) -> None:
    values = rows_of()
    a = write(tmp_path / "a", values)
    b = write(tmp_path / "b", values[:-1], added={})
    answer = run("diff", a, b, "--max-error", "2", "--exit-code", "--json")
    assert (answer.status, answer.document["rows"]["missing"]) == (1, 1)
    assert answer.document["worst"][0]["id_b"] is None
    assert run("diff", b, a, "--max-error", "0", "--exit-code").status == 0, "more tokens are no fault of a copy"


def test_rows_that_moved_are_matched_by_token(run: Program, tmp_path: Path) -> None:
    values = rows_of()
    order = np.arange(TOKENS)
    order[[-2, -1]] = order[[-1, -2]]
    a = write(tmp_path / "a", np.vstack([values, values[:1]]), added={END_OF_TEXT: True, "<x>": False})
    moved = np.vstack([values[:-1], values[:1], values[-1:]])
    b = write(tmp_path / "b", moved, added={"<x>": False, END_OF_TEXT: True})
    document = run("diff", a, b, "--max-error", "0", "--exit-code", "--neighbors", "4", "--json").ok().document
    assert document["kept"]["mean"] == 1
    assert document["vocabulary"]["tokens"]["moved"] == 2
    assert run("diff", a, b, "--max-error", "0", "--by", "id", "--exit-code").status == 1


def test_a_sample_is_the_same_every_time(run: Program, tmp_path: Path) -> None:
    values = rows_of()
    a, b = write(tmp_path / "a", values), write(tmp_path / "b", values + rows_of(seed=1) * 0.3)
    pair = ("diff", a, b, "--neighbors", "5", "--sample", "20", "-k", "3")
    records = run(*pair, "--jsonl").ok().records
    assert records == run(*pair, "--jsonl").ok().records
    kept = [record for record in records if record["kept"] is not None]
    assert 20 <= len(kept) <= 23
    assert all(record["kept"] is not None for record in records[:3]), "the worst are always looked at"
    assert run(*pair, "--json").document["kept"]["sampled"] == 20
    run("diff", a, b, "--max-error", "1", "--sample", "20").refused(2, "--sample")
    answer = embtool.diff(open_model(a), open_model(b), k=3, neighbors=5, sample=20)
    assert isinstance(answer, CopyAnswer)
    assert answer.to_dict() == run(*pair, "--json").document | {"a": str(a), "b": str(b)}
    assert answer[0].rank == 1
    assert len(answer) == TOKENS


def test_without_a_line_a_difference_counts(run: Program, tmp_path: Path) -> None:
    values = rows_of()
    a, b = write(tmp_path / "a", values), write(tmp_path / "b", values * 2)
    answer = run("diff", a, b, "--neighbors", "2", "--exit-code", "--json")
    assert (answer.status, answer.document["accepted"]) == (1, None)
    assert answer.document["error"]["max"] < 1e-15
    run("diff", a, a, "--neighbors", "2", "--exit-code").ok()


def test_refusals(run: Program, tmp_path: Path) -> None:
    a = write(tmp_path / "a", rows_of())
    for wrong in ("-1", "3", "nan", "inf", "much"):
        run("diff", a, a, "--max-error", wrong).refused(2, "max")
    run("diff", a, a, "--neighbors", "0").refused(2, "--neighbors")
    for options in ({"max_error": 3.0}, {"neighbors": 0}, {"neighbors": 2, "sample": 0}):
        with pytest.raises(InvalidArgument):
            embtool.diff(open_model(a), open_model(a), **options)
    bare = tmp_path / "bare"
    write_single(bare, {INPUT: ("F32", (TOKENS, WIDE), float32(rows_of()))}, config=config(hidden_size=WIDE))
    answer = run("diff", bare, a, "--max-error", "0", "--neighbors", "2", "--json").ok()
    assert (answer.document["by"], answer.document["accepted"]) == ("id", True)
    assert [each["category"] for each in answer.document["categories"]] == [None]
