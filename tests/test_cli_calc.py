"""`embtool calc`, its analogy tests, and the odd one of `similarity`, held against gensim on the same vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from small_models import SPACED, ZERO_ROW, table, texts
from tables import ranked, scores

from embtool.errors import FormatError
from embtool.model import open_model
from embtool.tables.arithmetic import add_up, belonging, parse_analogies
from embtool.tables.metric import Metric
from embtool.vocabulary import Term, parse_expression

ROYAL = (" king", "-", " man", "+", " woman")


def vectors() -> Any:
    """Give the small model's rows to gensim, those without a direction left out, since it divides by their length."""
    gensim = pytest.importorskip("gensim.models")
    rows = table("input")
    names = [*texts(), *(f"padding {place}" for place in range(len(rows) - len(texts())))]
    kept = [place for place, row in enumerate(rows) if row.any()]
    keyed = gensim.KeyedVectors(rows.shape[1])
    keyed.add_vectors([f"{place}" for place in kept], rows[kept].astype(np.float32))
    return keyed, names


@pytest.mark.slow
def test_calc_is_what_gensim_answers(run: Program) -> None:
    keyed, names = vectors()
    king, man, woman = (str(names.index(name)) for name in (" king", " man", " woman"))
    expected = keyed.most_similar(positive=[king, woman], negative=[man], topn=10)
    found = run("calc", *ROYAL, "-m", "small/", "--json").ok().document["queries"][0]["neighbors"]
    assert [str(record["id"]) for record in found] == [name for name, _ in expected]
    assert [record["score"] for record in found] == pytest.approx([score for _, score in expected], abs=1e-6)


def test_the_odd_one_is_what_gensim_says(run: Program) -> None:
    keyed, names = vectors()
    for words in ((" cherry", " apple", " king", " raspberry"), (" blue", " green", " queen")):
        keys = [str(names.index(word)) for word in words]
        expected = [int(key) for _, key in reversed(keyed.rank_by_centrality(keys))]
        document = run("similarity", *words, "-m", "small/", "--json").ok().document
        items = sorted(document["items"], key=lambda item: item["belongs"])
        assert [item["id"] for item in items] == expected


def test_analogies_are_counted_as_gensim_counts_them(run: Program, tmp_path: Path) -> None:
    keyed, names = vectors()
    words = [word for word in SPACED if word != "king"]
    questions = [(a, b, c, d) for a in words[:4] for b in words[4:] for c in words[2:5] for d in words[3:6]]
    questions = [question for question in questions if len(set(question)) == 4]
    file = tmp_path / "questions.txt"
    file.write_text(
        ": one\n" + "\n".join(map(" ".join, questions[::2])) + "\n: two\n" + "\n".join(map(" ".join, questions[1::2]))
    )
    keys = [" ".join(str(names.index(" " + word)) for word in question) for question in questions]
    theirs = tmp_path / "keys.txt"
    theirs.write_text(": one\n" + "\n".join(keys[::2]) + "\n: two\n" + "\n".join(keys[1::2]))
    _, sections = keyed.evaluate_word_analogies(str(theirs), case_insensitive=False)
    document = run("calc", "--questions", file, "-m", "small/", "--json").ok().document
    assert [(entry["section"], entry["correct"], entry["asked"]) for entry in document["sections"]] == [
        (entry["section"], len(entry["correct"]), len(entry["correct"]) + len(entry["incorrect"]))
        for entry in sections[:2]
    ]
    assert 0 < document["total"]["correct"] < document["total"]["asked"] == len(questions)


def test_calc_says_where_its_own_tokens_would_stand(run: Program) -> None:
    answer = run("calc", *ROYAL, "-m", "small/", "--json").ok().document
    assert answer["schema"] == "embtool/calc@1"
    query = answer["queries"][0]
    assert query["query"] == " king -  man +  woman"
    assert [(term["sign"], term["token"]) for term in query["terms"]] == [(1, " king"), (-1, " man"), (1, " woman")]
    own = {term["id"] for term in query["terms"]}
    assert not own & {record["id"] for record in query["neighbors"]}
    whole = run("calc", *ROYAL, "-m", "small/", "--include-inputs", "-k", "13", "--json").ok().document["queries"][0]
    ranks = {record["id"]: record["rank"] for record in whole["neighbors"]}
    assert [term["rank"] for term in query["terms"]] == [ranks.get(term["id"]) for term in query["terms"]]
    shown = run("calc", *ROYAL, "-m", "small/", "-f", "table").ok().text
    assert "␣king - ␣man + ␣woman in small/: nearest by cosine, input table" in shown
    assert "left out: ␣king would be number" in shown


def test_lengths_count_without_normalizing(run: Program) -> None:
    names = texts()
    wanted = table("input")[[names.index(" king"), names.index(" man")]]
    found = run("calc", " king", "-", " man", "-m", "small/", "--no-normalize", "--metric", "dot", "--tsv").ok().cells
    best = float((table("input") @ add_up(wanted, (1, -1))).max())
    scores = [float(cells[-1]) for cells in found[1:]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= best


def test_lines_of_stdin_are_expressions(run: Program) -> None:
    lines = b"id:280 - id:281 + id:282\nking -\n\n- id:280 + id:281\n"
    answer = run("calc", "-m", "small/", "-k", "1", "--jsonl", stdin=lines)
    assert answer.status == 3
    assert [record["query"] for record in answer.records] == ["id:280 - id:281 + id:282", "king -", "- id:280 + id:281"]
    assert answer.records[1]["status"] == 2
    assert "'king -'" in answer.of("error")[0]
    run("calc", "-m", "small/", "--strict", stdin=b"king -\n").refused(2, "ends with a sign")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("king", "-man", "+", "woman"), 2, "write - man, with a space"),
        (("king", "-", "man", "+woman"), 2, "write + woman"),
        (("king", "queen"), 2, "no + or - stands between"),
        (("king", "-"), 2, "ends with a sign"),
        (("king", "-", "-", "man"), 2, "piece:-"),
        (("id:0..3", "-", "king"), 2, "'id:0..3' is 4 rows"),
        (("piece:" + ZERO_ROW, "+", "king"), 6, "no direction"),
        (("id:99999", "+", "king"), 3, "no row 99999"),
        (("kingqueen", "+", "king"), 3, "is"),
    ],
)
def test_calc_refuses(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("calc", *arguments, "-m", "small/").refused(status, words)


@given(st.lists(st.tuples(st.sampled_from("+-"), st.from_regex(r"\w{1,5}", fullmatch=True)), min_size=1, max_size=5))
def test_an_expression_reads_the_same_in_one_argument_and_in_many(terms: list[tuple[str, str]]) -> None:
    parts = [part for term in terms for part in term]
    expected = [Term(1.0 if sign == "+" else -1.0, text) for sign, text in terms]
    assert parse_expression(parts) == expected
    assert parse_expression([" ".join(parts)]) == expected
    if terms[0][0] == "+":
        assert parse_expression(parts[1:]) == expected


def test_rows_that_cancel_belong_nowhere(run: Program) -> None:
    with pytest.raises(FormatError, match="cancel"):
        belonging(np.array([[1.0, 0], [-1, 0]]))
    document = run("similarity", "piece:!", " king", " queen", "-m", "small/", "--json").ok().document
    assert not any("belongs" in item for item in document["items"]), "one of them has no direction"


def test_the_one_that_belongs_least_is_named(run: Program) -> None:
    shown = run("similarity", "cherry", "apple", "king", "raspberry", "-m", "small/", "-f", "table").ok().text
    assert "␣king belongs least: cosine" in shown


def test_analogy_lists_every_answer_and_what_it_skipped(run: Program) -> None:
    lines = b": people\nking queen man woman\nking queen man unheard\n"
    answer = run("calc", "--questions", "-", "-m", "small/", "--each", "--json", stdin=lines).ok()
    first, second = answer.document["questions"]
    assert (first["section"], first["fourth"]) == ("people", "woman")
    assert first["correct"] is (first["answer"] == " woman")
    assert (second["answer"], second["correct"]) == (None, None)
    assert any("'unheard'" in line for line in answer.of("note"))
    counts = run("calc", "--questions", "-", "-m", "small/", stdin=lines).ok().cells
    assert counts[0] == ["section", "correct", "asked", "skipped", "accuracy"]
    assert [line[2:4] for line in counts[1:]] == [["1", "1"], ["1", "1"]]


@pytest.mark.parametrize("lines", [["a b c"], [": only a section"], []])
def test_files_without_questions_are_refused(lines: list[str]) -> None:
    with pytest.raises(FormatError, match=r"q\.txt"):
        parse_analogies(lines, file="q.txt")


def test_questions_refuse(run: Program, tmp_path: Path) -> None:
    run("calc", "--questions", tmp_path / "none.txt", "-m", "small/").refused(3, "no such file")
    run("calc", "king", "--questions", "-", "-m", "small/", stdin=b"a b c d").refused(2, "name no tokens beside it")
    run("calc", "--each", "-m", "small/", stdin=b"a b c d").refused(2, "--questions")


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_a_sum_is_ranked_as_the_sum_that_it_is(run: Program, metric: Metric) -> None:
    """Under cosine of rows at length 1, else of rows as they are: a shorter sum would be near to padding."""
    answer = run("calc", "king", "-", "man", "+", "woman", "--metric", metric, "-m", "mini", "-k", "9", "--json").ok()
    (query,) = answer.document["queries"]
    model = open_model("mini")
    rows = model.input_table.rows(range(len(model.input_table))).astype(float)
    ids = [model.vocabulary.find(word).id for word in ("king", "man", "woman")]
    terms = rows[ids] / np.linalg.norm(rows[ids], axis=1)[:, None] if metric == "cosine" else rows[ids]
    expected = scores(rows, terms[0] - terms[1] + terms[2], metric)
    best = [row for row in ranked(expected, 12, metric) if row not in ids][:9]
    assert [found["id"] for found in query["neighbors"]] == best
    np.testing.assert_allclose([found["score"] for found in query["neighbors"]], expected[best], rtol=1e-6)
    assert answer.document["normalized"] is (metric == "cosine")
