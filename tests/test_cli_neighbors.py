from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Answer, Program
from small_models import END_OF_TEXT, PADDING, config, table, texts, tokenizer_json, write_single
from tables import ranked, scores

from embtool.model import open_model
from embtool.tables.metric import Metric

WORDS = texts()
KING = WORDS.index(" king")


def ids(answer: Answer) -> list[int]:
    (query,) = answer.ok().document["queries"]
    return [found["id"] for found in query["neighbors"]]


def expected(
    query: Any, k: int, metric: Metric = "cosine", without: tuple[int, ...] = (), kind: str = "input"
) -> list[int]:
    rows = table(kind)
    allowed = np.ones(len(rows), np.bool_)
    allowed[list(without)] = False
    return ranked(scores(rows, np.asarray(query, np.float64), metric), k, metric, allowed)


def ask(run: Program, *arguments: str, stdin: bytes | None = None) -> Answer:
    return run("neighbors", *arguments, "-m", "small/", "--json", stdin=stdin)


def test_the_keys_of_the_contract(run: Program) -> None:
    document = ask(run, "king", "-k", "2").ok().document
    assert {key: document[key] for key in ("schema", "model", "table", "against", "metric")} == {
        "schema": "embtool/neighbors@1",
        "model": "small/",
        "table": "input",
        "against": "input",
        "metric": "cosine",
    }
    (query,) = document["queries"]
    assert [query[key] for key in ("query", "id", "piece", "token", "bytes")] == [
        "king",
        KING,
        "Ġking",
        " king",
        "206b696e67",
    ]
    first = query["neighbors"][0]
    assert list(first) == ["rank", "id", "piece", "token", "bytes", "score"]
    assert (first["rank"], first["token"], first["bytes"]) == (1, WORDS[first["id"]], WORDS[first["id"]].encode().hex())
    (line, _) = run("neighbors", "king", "-k", "2", "-m", "small/", "--jsonl").ok().records
    assert line | {"query": "king", "metric": "cosine", "model": "small/", **first} == line


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_the_nearest_rows_are_those_of_a_full_sort(run: Program, metric: Metric) -> None:
    answer = ask(run, "king", "--metric", metric, "-k", "400")
    assert ids(answer) == expected(table("input")[KING], 400, metric, (KING,))
    (query,) = answer.document["queries"]
    given = [found["score"] for found in query["neighbors"]]
    if metric == "cosine":
        assert given[-1] is None
        assert query["neighbors"][-1]["bytes"] == b"!".hex()
        given.pop()
    np.testing.assert_allclose(given, scores(table("input"), table("input")[KING], metric)[ids(answer)[: len(given)]])


def test_ten_by_default_and_not_itself(run: Program) -> None:
    assert len(ids(ask(run, "king"))) == 10
    assert KING not in ids(ask(run, "king", "-k", "400"))
    assert ids(ask(run, "king", "--include-self"))[0] == KING


def test_the_other_table(run: Program) -> None:
    query = table("input")[KING]
    assert ids(ask(run, "king", "--against", "output")) == expected(query, 10, kind="output")
    assert ids(ask(run, "king", "--table", "output")) == expected(
        table("output")[KING], 10, without=(KING,), kind="output"
    )
    assert ids(ask(run, "king", "--table", "output", "--against", "input")) == expected(table("output")[KING], 10)
    tied = run("neighbors", "king", "--against", "output", "-m", "tied/", "--json")
    assert ids(tied) == expected(query, 10, without=(KING,))
    assert "one table" in tied.of("note")[0]


def test_the_mean_is_removed(run: Program) -> None:
    rows = table("input")
    mean = rows.mean(axis=0)
    answer = ask(run, "king", "--center", "-k", "20")
    found = scores(rows, rows[KING], "cosine", mean)
    assert ids(answer) == [row for row in ranked(found, 21, "cosine") if row != KING][:20]


FILTERS: dict[str, tuple[list[str], set[int]]] = {
    "padding": (["--no-padding"], set(range(len(WORDS)))),
    "special": (["--no-special"], set(range(len(WORDS) + PADDING)) - {WORDS.index(END_OF_TEXT)}),
    "only": (["--only", "^ "], {place for place, word in enumerate(WORDS) if word.startswith(" ")}),
    "both": (["--only", ".", "--no-special"], {place for place, word in enumerate(WORDS[:-1]) if word != "\n"}),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters(run: Program, case: str) -> None:
    options, allowed = FILTERS[case]
    every = expected(table("input")[KING], 400, without=(KING,))
    assert ids(ask(run, "king", "-k", "400", *options)) == [row for row in every if row in allowed]


def test_a_filter_that_lets_nothing_through(run: Program) -> None:
    assert ids(ask(run, "king", "--only", "nothing at all")) == []
    assert "no row passes" in run("neighbors", "king", "--only", "zzz", "-m", "small/", "-f", "table").ok().text


def npy(values: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, values)
    return made.getvalue()


def test_a_vector_from_a_file_or_a_pipe(run: Program, tmp_path: Path) -> None:
    values = table("input")[KING]
    wanted = expected(values, 10)
    contents = {
        "v.npy": npy(values),
        "v.json": json.dumps(values.tolist()).encode(),
        "v.txt": " ".join(map(repr, values.tolist())).encode(),
        "row.tsv": run("row", "king", "-m", "small/", "--tsv").out,
        "bare.tsv": run("row", "king", "-m", "small/", "--tsv", "--no-header").out,
        "row.json": run("row", "king", "-m", "small/", "--json").out,
        "row.jsonl": run("row", "king", "-m", "small/", "--jsonl").out,
        "saved.npy": run("row", "king", "-m", "small/", "--npy", "-").out,
        "number.tsv": run("row", "1", "-m", "small/", "--tsv", "--no-header").out,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        rows = expected(table("input")[WORDS.index("1")], 10) if name == "number.tsv" else wanted
        assert ids(ask(run, "--vector", str(tmp_path / name))) == rows, name
        assert ids(ask(run, "--vector", "-", stdin=content)) == rows, name


def test_the_name_of_a_vector_is_the_one_that_row_wrote(run: Program, tmp_path: Path) -> None:
    names = ["a\tb\\t", "\x1b[31m", "c\u2028d", "\\", "\U0010ffff"]
    words = tokenizer_json(dict.fromkeys(names, False))
    values = np.eye(len(words["model"]["vocab"]) + len(names), 4, dtype="<f4") + 1
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, values.tobytes())}
    write_single(tmp_path / "m", tensors, tokenizer=words)
    rows = [f"piece:{name}" for name in names]
    for options in ([], ["--no-header"]):
        piped = run("row", *rows, "-m", tmp_path / "m", "--tsv", *options).ok().out
        answer = run("neighbors", "--vector", "-", "-k", "1", "-m", tmp_path / "m", "--json", stdin=piped).ok()
        assert [query["query"] for query in answer.document["queries"]] == rows


def test_several_vectors_are_several_queries(run: Program) -> None:
    answer = ask(run, "--vector", "-", stdin=run("row", "king", " blue", "-m", "small/").out).ok()
    assert [query["query"] for query in answer.document["queries"]] == ["king", " blue"]
    unnamed = ask(run, "--vector", "-", stdin=npy(table("input")[:2])).ok()
    assert [query["id"] for query in unnamed.document["queries"]] == [None, None]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no vector"),
        (b"1 2 3", "3 numbers"),
        (npy(np.array([{}], dtype=object)), "npy"),
        (npy(np.full(16, np.nan)), "NaN"),
        (npy(np.full(16, 1e300)), "float32"),
        (b"\x80\4.", "never loads"),
        (b"\x81\4.", "neither"),
    ],
)
def test_a_vector_that_is_none(run: Program, content: bytes, word: str) -> None:
    ask(run, "--vector", "-", stdin=content).refused(6, word)


def test_rows_that_are_not_finite_are_last_and_warned_of(run: Program, tmp_path: Path) -> None:
    values = table("input").astype("<f4")
    values[5, 2] = np.nan
    values[6] = np.inf
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, values.tobytes())}
    write_single(tmp_path / "m", tensors, config=config(), tokenizer=tokenizer_json())
    for metric in ("cosine", "dot", "euclidean"):
        answer = run(
            "neighbors", " king", " queen", "-m", tmp_path / "m", "--json", "-k", "400", "--metric", metric
        ).ok()
        for query in answer.document["queries"]:
            assert [found["id"] for found in query["neighbors"]][-2:] == [5, 6]
            assert [found["score"] for found in query["neighbors"]][-2:] == [None, None]
        assert len(answer.of("warning")) == 1
        assert answer.of("warning")[0].endswith("ranked last: 2")
    run("neighbors", "id:5", "-m", tmp_path / "m").refused(6, "NaN")


def test_a_zero_query_has_no_nearest(run: Program) -> None:
    assert {found["score"] for found in ask(run, "!").ok().document["queries"][0]["neighbors"]} == {None}


def test_many_queries_at_once_are_the_same_as_one_by_one(run: Program) -> None:
    many = run("neighbors", "id:300..318", "-m", "small/", "--json", "-k", "7").ok().document["queries"]
    for identity, query in zip(range(300, 319), many, strict=True):
        assert [found["id"] for found in query["neighbors"]] == ids(ask(run, f"id:{identity}", "-k", "7"))


def test_neighbours_in_the_position_table_are_no_tokens(run: Program) -> None:
    (query,) = run("neighbors", "id:3", "--table", "position", "-m", "gpt2/", "--json").ok().document["queries"]
    assert query["token"] is None
    assert {found["token"] for found in query["neighbors"]} == {None}


def test_a_model_without_a_tokenizer(run: Program) -> None:
    (query,) = run("neighbors", f"id:{KING}", "-m", "bare/", "--json").ok().document["queries"]
    assert [found["id"] for found in query["neighbors"]] == expected(table("input")[KING], 10, without=(KING,))
    assert query["neighbors"][0]["token"] is None


@pytest.mark.slow
def test_whole_words_only(run: Program) -> None:
    vocabulary = open_model("mini").vocabulary
    found = ids(run("neighbors", "cat", "-m", "mini", "-k", "300", "--words", "--json"))
    everything = ids(run("neighbors", "cat", "-m", "mini", "-k", "32000", "--json"))
    words = [row for row in everything if (token := vocabulary.token(row)) is not None and vocabulary.is_word(token)]
    assert found == words[:300]
    assert len(words) < len(everything) - 1000
    assert "erpillar" not in {token.text for token in map(vocabulary.token, found) if token is not None}


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_variants_are_left_out(run: Program, metric: str) -> None:
    vocabulary = open_model("mini").vocabulary
    options = ("-m", "mini", "--metric", metric, "--include-self")
    everything = ids(run("neighbors", "Python", "--json", *options, "-k", "32000"))
    expected: dict[str, int] = {}
    for row in everything:
        token = vocabulary.token(row)
        expected.setdefault(str(row) if token is None else token.text.strip().casefold(), row)
    assert (
        ids(run("neighbors", "Python", "--json", *options, "-k", "200", "--distinct")) == list(expected.values())[:200]
    )
    without_own = [row for root, row in expected.items() if root != "python"]
    found = run("neighbors", "Python", "--json", *options[:-1], "-k", "200", "--distinct")
    assert ids(found) == without_own[:200]


def test_variants_are_left_out_to_the_last_row(run: Program) -> None:
    everything = ask(run, "king", "-k", "400", "--distinct")
    roots = [
        found["token"].strip().casefold() for found in everything.document["queries"][0]["neighbors"] if found["token"]
    ]
    assert len(roots) == len(set(roots)) > 50
    assert "king" not in roots


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A model whose row of ` king` is not finite."""
    values = table("input").copy()
    values[KING, 3] = np.nan
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, values.astype("<f4").tobytes())}
    return write_single(tmp_path / "m", tensors, config=config(), tokenizer=tokenizer_json())


@pytest.mark.parametrize("line", ["neighbors {}", "calc {} - queen + man", "map {} queen man"])
def test_a_row_that_is_not_finite_is_named(run: Program, broken: Path, line: str) -> None:
    answer = run(*line.format("king").split(), "-m", broken)
    answer.refused(6, f"'king': row {KING} of model.embed_tokens.weight holds NaN or infinity")


def test_a_comparison_with_a_row_that_is_not_finite_says_so(run: Program, broken: Path) -> None:
    answer = run("similarity", "king", "queen", "man", "-m", broken, "--tsv").ok()
    assert answer.of("warning") == ["the row of 'king' holds NaN or infinity: it is like nothing"]


def test_a_bar_stands_for_a_difference_that_counts(run: Program) -> None:
    """Two scores a two-hundredth apart do not look as if one were an eighth of the other."""
    shown = run("neighbors", "id:125", "-k", "2", "-m", "mini", "-f", "table").ok().text
    first, last = (line.count("█") for line in shown.split("\n") if "█" in line)
    assert first == 16
    assert last >= 14


def test_a_tokenizer_of_another_size_is_warned_of(run: Program) -> None:
    answer = run("neighbors", "id:5", "-m", "small/", "--tokenizer", "mini", "-k", "1").ok()
    assert [text for text in answer.of("warning") if "is it the tokenizer of this model?" in text]
    own = run("neighbors", "id:5", "-m", "small/", "-k", "1").ok()
    assert own.of("warning") == []
