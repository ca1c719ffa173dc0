"""A real published model, all-MiniLM-L6-v2, against float64 arithmetic over the rows that safetensors reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import Program
from safetensors import safe_open
from tokenizers import Tokenizer

from embtool.model import Model, open_model
from embtool.tables.metric import Metric
from embtool.tables.neighbors import nearest_each

FOLDER = Path(os.environ.get("EMBTOOL_TEST_MINILM") or Path(__file__).parent.parent / ".models" / "minilm")

pytestmark = pytest.mark.skipif(
    not (FOLDER / "model.safetensors").is_file(),
    reason="all-MiniLM-L6-v2 is not here: `make models` fetches it, or EMBTOOL_TEST_MINILM names its folder",
)

WORDS = "embeddings.word_embeddings.weight"
QUERIES = ("strawberry", "king", "paris", "doctor", "the", "##ing", "2018", "東", "[CLS]", "!")

Doubles = NDArray[np.float64]


@pytest.fixture(scope="module")
def rows() -> Doubles:
    with safe_open(FOLDER / "model.safetensors", "np") as file:
        return np.asarray(file.get_tensor(WORDS), np.float64)


@pytest.fixture(scope="module")
def library() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield open_model(FOLDER)


def brute_force(rows: Doubles, query: Doubles, metric: Metric) -> Doubles:
    """Score every row; the larger the nearer."""
    if metric == "euclidean":
        return -np.asarray(np.linalg.norm(rows - query, axis=1))
    dots: Doubles = (rows * query).sum(axis=1)
    return dots if metric == "dot" else dots / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))


def id_of(word: str, library: Tokenizer) -> int:
    identity = library.token_to_id(word)
    assert identity is not None
    return identity


def test_info_names_its_three_tables(run: Program) -> None:
    document = run("info", FOLDER, "--json").ok().document
    keys = ("role", "tensor", "shape", "dtype", "bytes")
    assert [tuple(table[key] for key in keys) for table in document["tables"]] == [
        ("input", WORDS, [30522, 384], "F32", 30522 * 384 * 4),
        ("position", "embeddings.position_embeddings.weight", [512, 384], "F32", 512 * 384 * 4),
        ("token_type", "embeddings.token_type_embeddings.weight", [2, 384], "F32", 2 * 384 * 4),
    ]
    assert {table["file"] for table in document["tables"]} == {"model.safetensors"}
    assert document["tied"]["verdict"] == "no output table"
    assert document["architecture"] == "BertModel"
    assert document["hidden_size"] == 384
    assert document["vocabulary"]["tokens"] == document["vocabulary"]["rows"] == 30522
    assert document["vocabulary"]["padding_rows"] == 0
    assert (document["position"]["kind"], document["position"]["context_length"]) == ("learned", 512)
    others = sum((FOLDER / name).stat().st_size for name in ("tokenizer.json", "config.json"))
    assert 0 < document["cost"]["bytes"] - others < 200_000, "headers only"


@pytest.mark.few(4)
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("word", QUERIES)
def test_neighbors_equal_brute_force(
    run: Program, rows: Doubles, library: Tokenizer, word: str, metric: Metric
) -> None:
    identity = id_of(word, library)
    answer = run("neighbors", f"id:{identity}", "-m", FOLDER, "--json", "-k", "25", "--metric", metric).ok()
    (query,) = answer.document["queries"]
    assert query["piece"] == library.id_to_token(identity)
    scores = brute_force(rows, rows[identity], metric)
    order = np.argsort(-scores, kind="stable")
    best = order[order != identity][:25]
    assert [found["id"] for found in query["neighbors"]] == best.tolist()
    signed = -scores[best] if metric == "euclidean" else scores[best]
    np.testing.assert_allclose([found["score"] for found in query["neighbors"]], signed, rtol=0, atol=1e-5)
    assert [found["piece"] for found in query["neighbors"]] == [library.id_to_token(int(found)) for found in best]


def test_a_word_is_found_as_typed(run: Program, library: Tokenizer) -> None:
    (query,) = run("neighbors", "strawberry", "-m", FOLDER, "--json").ok().document["queries"]
    assert query["id"] == library.token_to_id("strawberry")
    assert {"berries", "mango", "cherry"} <= {found["token"] for found in query["neighbors"]}


def test_all_at_once_equals_one_by_one(rows: Doubles, model: Model) -> None:
    chosen = np.random.default_rng(0).integers(0, len(rows), 12)
    for row, found in zip(chosen.tolist(), nearest_each(model.input_table, rows[chosen], 8), strict=True):
        order = np.argsort(-brute_force(rows, rows[row], "cosine"), kind="stable")
        assert found.ids.tolist() == order[:8].tolist()


@pytest.mark.slow
def test_an_expression_equals_that_of_gensim(run: Program, rows: Doubles, library: Tokenizer) -> None:
    vectors_of = pytest.importorskip("gensim.models").KeyedVectors
    vectors = vectors_of(rows.shape[1], dtype=np.float64)
    vectors.add_vectors([library.id_to_token(row) for row in range(len(rows))], rows)
    expected = vectors.most_similar(positive=["king", "woman"], negative=["man"], topn=10)
    arguments = ["calc", "king", "+", "woman", "-", "man", "-m", str(FOLDER), "--json"]
    (query,) = run(*arguments).ok().document["queries"]
    assert [found["piece"] for found in query["neighbors"]] == [word for word, _ in expected]
    scores = [found["score"] for found in query["neighbors"]]
    np.testing.assert_allclose(scores, [score for _, score in expected], atol=1e-5)
    for word in ("strawberry", "king", "doctor"):
        (query,) = run("neighbors", word, "-m", FOLDER, "--json").ok().document["queries"]
        similar = vectors.most_similar(word, topn=10)
        assert [found["piece"] for found in query["neighbors"]] == [name for name, _ in similar]
        scores = [found["score"] for found in query["neighbors"]]
        np.testing.assert_allclose(scores, [score for _, score in similar], atol=1e-5)


def test_rows_are_those_of_safetensors(run: Program, rows: Doubles) -> None:
    records = run("row", "id:0..9", "id:30521", "-m", FOLDER, "--jsonl").ok().records
    values = np.array([record["values"] for record in records])
    assert np.array_equal(values, rows[[*range(10), 30521]])
    np.testing.assert_allclose([record["norm"] for record in records], np.linalg.norm(values, axis=1), rtol=1e-12)


def test_similarity(run: Program, rows: Doubles, library: Tokenizer) -> None:
    words = ["king", "queen", "strawberry"]
    chosen = rows[[id_of(word, library) for word in words]]
    document = run("similarity", *words, "-m", FOLDER, "--json").ok().document
    np.testing.assert_allclose(document["dot"], chosen @ chosen.T, rtol=1e-12)
    units = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    np.testing.assert_allclose(document["cosine"], units @ units.T, rtol=1e-12)


def test_tokens_are_those_of_the_library(run: Program, library: Tokenizer) -> None:
    library.no_padding()
    text = "Strawberries aren't naïve, 東京! " * 40
    tokens = run("tokens", text, "-m", FOLDER, "--json").ok().document["tokens"]
    encoded = library.encode(text, add_special_tokens=False)
    assert [token["id"] for token in tokens][: len(encoded.ids)] == encoded.ids[: len(tokens)]
    library.no_truncation()
    assert [token["id"] for token in tokens] == library.encode(text, add_special_tokens=False).ids
    whole = run("tokens", text, "--special", "-m", FOLDER, "--json").ok().document["tokens"]
    assert [whole[0]["piece"], whole[-1]["piece"]] == ["[CLS]", "[SEP]"]


def test_vocab_txt_gives_the_same_vocabulary(model: Model, tmp_path: Path, rows: Doubles) -> None:
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    older = open_model(tmp_path).vocabulary
    assert [(token.id, token.piece, token.text) for token in older] == [
        (token.id, token.piece, token.text) for token in model.vocabulary
    ]
    assert len(older) == len(rows)
    for text in ("Strawberries aren't naïve, 東京!", "king", "[MASK] x"):
        assert [token.id for token in older.encode(text)] == [token.id for token in model.vocabulary.encode(text)]
