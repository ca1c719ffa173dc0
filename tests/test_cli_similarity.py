from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from program import Program
from small_models import config, table, texts, tokenizer_json, write_single

import embtool

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


def test_rows_along_a_direction(run: Program) -> None:
    words = ("king", "queen", "cherry", "blue")
    found = run("similarity", *words, "--along", "man", "--minus", "woman", "-m", "small/", "--json").ok().document
    assert found["schema"] == "embtool/similarity-along@1"
    rows = table("input").astype(np.float64)
    man, woman = (rows[texts().index(f" {word}")] for word in ("man", "woman"))
    direction = man / np.linalg.norm(man) - woman / np.linalg.norm(woman)
    direction /= np.linalg.norm(direction)
    assert [item["query"] for item in found["along"] + found["minus"]] == ["man", "woman"]
    cosines = [item["cosine"] for item in found["items"]]
    assert cosines == sorted(cosines, reverse=True)
    assert {item["query"] for item in found["items"]} == set(words)
    for item in found["items"]:
        row = rows[item["id"]]
        assert item["projection"] == pytest.approx(row @ direction)
        assert item["cosine"] == pytest.approx(row @ direction / np.linalg.norm(row))


def test_a_direction_of_several_rows(run: Program) -> None:
    one = run("similarity", "cherry", "--along", "king", "--along", "man", "-m", "small/", "--json").ok().document
    rows = table("input").astype(np.float64)
    king, man, cherry = (rows[texts().index(f" {word}")] for word in ("king", "man", "cherry"))
    direction = king / np.linalg.norm(king) + man / np.linalg.norm(man)
    expected = cherry @ direction / np.linalg.norm(cherry) / np.linalg.norm(direction)
    assert one["items"][0]["cosine"] == pytest.approx(expected)
    shown = run("similarity", "cherry", "--along", "king", "--minus", "man", "-m", "small/", "-f", "table").ok().text
    assert "along ␣king - ␣man in small/" in shown
    assert "above 0: more like ␣king; below 0: more like ␣man" in shown


def test_what_is_no_direction(run: Program) -> None:
    run("similarity", "king", "queen", "--minus", "man", "-m", "small/").refused(2, "--along")
    run("similarity", "king", "--along", "man", "--minus", "man", "-m", "small/").refused(6, "cancel")
    run("similarity", "king", "--along", "!", "-m", "small/").refused(6, "all zero")
    run("similarity", "king", "--along", "nonsenseword", "-m", "small/").refused(3, "nonsenseword")
    zero = run("similarity", "king", "!", "--along", "man", "-m", "small/", "--json").ok().document["items"][-1]
    assert (zero["query"], zero["cosine"], zero["projection"]) == ("!", None, 0)


def test_weat_is_the_effect_size_of_projections(models: Path) -> None:
    names = texts()
    rows = table("input")
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    words = [name for name in names if name.startswith(" ") and np.any(rows[names.index(name)])][:12]
    x, y, a, b = words[:4], words[4:8], words[8:10], words[10:12]
    answer = embtool.open_model(models / "small").projections(*x, *y, along=a, minus=b)
    cosines = {item.query: item.cosine for item in answer}

    def association(word: str) -> float:
        near, far = (units[[names.index(each) for each in group]] @ units[names.index(word)] for group in (a, b))
        return float(near.mean() - far.mean())

    def effect(of: dict[str, float]) -> float:
        first, second = ([of[word] for word in group] for group in (x, y))
        return float((np.mean(first) - np.mean(second)) / np.std([*first, *second], ddof=1))

    projected = {word: cosine for word, cosine in cosines.items() if cosine is not None}
    assert effect(projected) == pytest.approx(effect({word: association(word) for word in (*x, *y)}), rel=1e-6)
