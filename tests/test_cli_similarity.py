from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from program import Program
from small_models import config, table, texts, tokenizer_json, write_single

WORDS = (" king", " queen", " blue")


def test_the_keys_of_the_contract(run: Program) -> None:
    document = run("similarity", *WORDS, "-m", "small/", "--json").ok().document
    assert [document[key] for key in ("schema", "model", "table")] == ["embtool/similarity@1", "small/", "input"]
    ids = [texts().index(word) for word in WORDS]
    assert [(item["query"], item["id"], item["token"]) for item in document["items"]] == list(
        zip(WORDS, ids, WORDS, strict=True)
    )
    rows = table("input")[ids]
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(document["dot"], rows @ rows.T, rtol=1e-12)
    np.testing.assert_allclose(document["cosine"], units @ units.T, rtol=1e-12)
    away = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.testing.assert_allclose(document["euclidean"], away, rtol=1e-12)


def test_a_pair_a_line(run: Program) -> None:
    document = run("similarity", *WORDS, "-m", "small/", "--json").ok().document
    records = run("similarity", *WORDS, "-m", "small/", "--jsonl").ok().records
    assert [(record["a"], record["b"]) for record in records] == [
        (" king", " queen"),
        (" king", " blue"),
        (" queen", " blue"),
    ]
    assert [record["cosine"] for record in records] == [document["cosine"][a][b] for a, b in ((0, 1), (0, 2), (1, 2))]
    head, *lines = run("similarity", *WORDS, "-m", "small/", "--tsv").ok().cells
    assert [float(line[head.index("dot")]) for line in lines] == [record["dot"] for record in records]


def test_zero_rows_have_no_angle(run: Program) -> None:
    document = run("similarity", "!", "king", "-m", "small/", "--json").ok().document
    assert document["cosine"][0] == [None, None]
    assert document["dot"][0] == [0.0, 0.0]


def test_rows_that_are_not_finite_have_no_score_and_are_named(run: Program, tmp_path: Path) -> None:
    values = table("input").astype("<f4")
    values[5], values[6] = np.inf, np.nan
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, values.tobytes())}
    write_single(tmp_path / "m", tensors, config=config(), tokenizer=tokenizer_json())
    answer = run("similarity", "id:4..6", "-m", tmp_path / "m", "--json").ok()
    assert answer.document["cosine"][1] == [None, None, None]
    assert answer.of("warning") == [
        f"the row of 'id:{row}' holds NaN or infinity: it is like nothing" for row in (5, 6)
    ]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_a_matrix_for_a_reader(run: Program, metric: str) -> None:
    text = run("similarity", *WORDS, "-m", "small/", "-f", "table", "--metric", metric).ok().text
    assert metric in text
    assert text.count("king") == 2


def test_lines_of_stdin_and_pools(run: Program) -> None:
    piped = run("similarity", "-m", "small/", "--json", stdin="\n".join(WORDS).encode()).ok().document
    assert piped == run("similarity", *WORDS, "-m", "small/", "--json").ok().document
    pooled = run("similarity", " king!", "king", "--pool", "first", "-m", "small/", "--json").ok().document
    assert pooled["items"][0]["id"] is None
    spaced = run("similarity", " king", "king", "-m", "small/", "--json").ok().document
    assert pooled["cosine"][0][1] == spaced["cosine"][0][1]
    run("similarity", "-m", "small/", stdin=b"king\n").refused(2, "two")
