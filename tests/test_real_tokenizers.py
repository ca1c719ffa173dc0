"""Tokenizers of published models, against the tokenizers library."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import Memory
from tokenizers import Tokenizer

from embtool.errors import EmbtoolError, UnknownToken
from embtool.storage.source import Folder
from embtool.vocabulary import Vocabulary, read_queries, read_vocabulary

FOLDER = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere")) / "tokenizers"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the tokenizers of published models are not part of the project: EMBTOOL_TEST_REAL"
)

QWEN3 = pytest.param("qwen3", marks=pytest.mark.slow)  # five seconds to load, and the library as many
NAMES = ("falcon", "gpt2", "llama2", QWEN3, "t5-small")
TEXTS = (
    "",
    " ",
    "A strawberry, please.",
    "  def f(x):\n\treturn x\r\n",
    "naïve café, 東京 🍓 \u200d\ufeff",
    "e\u0301 Å ﬁ ①",
    "1234567890 3.14",
    "<|endoftext|> </s> <0x0A> ▁ Ġ",
    "kingmaker Kingmaker KINGMAKER",
)
WORDS = (
    "strawberry",
    " strawberry",
    "king",
    " king",
    "The",
    "the",
    "é",
    "東",
    "\n",
    " ",
    "Ġ",
    "▁",
    "</s>",
    "12",
    "ﬁ",
    "Å",
)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


LOADED: dict[str, tuple[Vocabulary, Tokenizer]] = {}


def both(name: str) -> tuple[Vocabulary, Tokenizer]:
    """Load a tokenizer with embtool and with the library, once."""
    if name not in LOADED:
        library = Tokenizer.from_file(str(FOLDER / name / "tokenizer.json"))
        library.no_padding()
        library.no_truncation()
        LOADED[name] = read_vocabulary(Folder(FOLDER / name)), library
    return LOADED[name]


@functools.cache
def pieces_of(name: str) -> dict[int, str]:
    """Return what the library calls each id."""
    return {identity: piece for piece, identity in both(name)[1].get_vocab(with_added_tokens=True).items()}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NAMES)
def test_every_id_and_piece_is_that_of_the_library(name: str) -> None:
    words, library = both(name)
    pieces = pieces_of(name)
    assert words.ids.tolist() == sorted(pieces)
    assert {token.id: token.piece for token in words} == pieces
    added = library.get_added_tokens_decoder()
    assert words.special_ids.tolist() == sorted(identity for identity, token in added.items() if token.special)
    assert words.added == len(added)


@pytest.mark.few(15)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_split_as_the_library_splits_them(name: str, text: str) -> None:
    words, library = both(name)
    for special in (False, True):
        encoded = library.encode(text, add_special_tokens=special)
        tokens = words.encode(text, special=special)
        assert [token.id for token in tokens] == encoded.ids
        assert [token.piece for token in tokens] == [pieces_of(name)[identity] for identity in encoded.ids]


@pytest.mark.parametrize("name", ["falcon", "gpt2", "llama2", QWEN3])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.few(20)
def test_the_bytes_of_the_tokens_are_those_of_the_text(name: str, text: str) -> None:
    if name == "llama2" and "</s>" in text:
        pytest.skip("its special tokens eat the spaces around them")
    words, library = both(name)
    tokens = words.encode(text)
    joined = b"".join(token.bytes for token in tokens)
    expected = library.normalizer.normalize_str(text) if library.normalizer is not None else text
    assert joined.decode().replace("▁", " ") == expected.replace("▁", " ")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.few(13)
def test_a_word_is_one_token_where_the_library_says_so(name: str, word: str) -> None:
    words, library = both(name)

    def alone(text: str) -> int | None:
        ids = library.encode(text, add_special_tokens=False).ids
        return ids[0] if len(ids) == 1 and ids[0] != words.unknown else None

    try:
        token = words.find(word)
    except UnknownToken:
        assert alone(word) is None
        assert word.startswith(" ") or alone(" " + word) is None
        return
    spaced = None if any(map(str.isspace, word)) else words.word(word)
    if spaced is not None:
        assert token.id == spaced.id, "the word as it stands inside a sentence"
    assert token.text == word or token.id in (alone(word), alone(" " + word), getattr(spaced, "id", None))
    if word not in words and alone(word) is None:
        with pytest.raises(UnknownToken):
            words.find(word, exact=True)


def test_strawberry_of_gpt2() -> None:
    words, _ = both("gpt2")
    assert words.find(" strawberry").id == 41236
    (query,) = read_queries(["strawberry"], words)
    assert query.ids == (41236,)
    assert query.note is None
    assert words.find_piece("Ġstrawberry").id == words.find_bytes(b" strawberry").id == 41236
    with pytest.raises(UnknownToken, match="tokens"):
        words.find("strawberry", exact=True)


def test_strawberry_of_qwen3() -> None:
    words = read_vocabulary(Folder(FOLDER / "qwen3"))
    token = words.find(" strawberry")
    assert (token.piece, token.text) == ("Ġstrawberry", " strawberry")


def test_bytes_of_llama2_are_tokens() -> None:
    words, library = both("llama2")
    assert words.find_bytes(b"\xff").id == library.token_to_id("<0xFF>")
    assert words.find_bytes(b"\n").id == library.token_to_id("<0x0A>")
    assert words.find_piece("<0xE6>").bytes == b"\xe6"
    assert words.find("\n").bytes == b"\n"


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
def test_every_token_is_found_by_its_own_piece(name: str) -> None:
    words, _ = both(name)
    for token in list(words)[:: max(1, len(words) // 400)]:
        assert words.find_piece(token.piece).piece == token.piece
        try:
            found = words.find_bytes(token.bytes)
        except EmbtoolError as error:
            raise AssertionError(f"no token has the bytes of {token!r}") from error
        assert found.bytes == token.bytes


@pytest.mark.slow
def test_gpt2_of_vocab_json_and_merges_is_that_of_tokenizer_json() -> None:
    state = json.loads((FOLDER / "gpt2" / "tokenizer.json").read_text(encoding="utf-8"))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["model"]["merges"]]
    added = {str(token["id"]): token for token in state["added_tokens"]}
    files = {
        "vocab.json": json.dumps(state["model"]["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
        "tokenizer_config.json": json.dumps({"added_tokens_decoder": added}).encode(),
    }
    older, (words, _) = read_vocabulary(Memory(files)), both("gpt2")
    assert list(older) == list(words)
    for text in TEXTS:
        assert older.encode(text) == words.encode(text)


def test_bert_of_vocab_txt_is_cased() -> None:
    words = read_vocabulary(Folder(FOLDER / "bert-base-cased"))
    lines = (FOLDER / "bert-base-cased" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert [token.piece for token in words] == [line for line in lines if line]
    assert words.encode("Paris naïve")[0].piece == "Paris"
    assert words.find("Paris").id == lines.index("Paris")
    assert words.find("##ing").bytes == b"ing"
