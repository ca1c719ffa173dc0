"""Classes that transformers has in plain Python only: ids are what it gives.

`data/python_tokenizers.json.gz` holds small folders and the ids that transformers 5.24 gives texts with them;
`tools/record_python_tokenizers.py` writes it.
"""

from __future__ import annotations

import gzip
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from program import Program
from small_models import write_single
from sources import Memory

from embtool.errors import FormatError, NoVocabulary
from embtool.tables.categories import Categorizer, Category
from embtool.vocabulary import Vocabulary, read_vocabulary, read_vocabulary_file
from embtool.vocabulary.classes import CLASSES, named_class
from embtool.vocabulary.refused import REFUSED, REFUSED_TYPES
from embtool.vocabulary.subwords import join

KNOWN = json.loads(gzip.decompress((Path(__file__).parent / "data" / "python_tokenizers.json.gz").read_bytes()))
TEXTS: list[str] = KNOWN["texts"]
FOLDERS: dict[str, dict[str, Any]] = KNOWN["folders"]


def files_of(name: str) -> dict[str, bytes]:
    """Give the files of a recorded folder."""
    return {file: content.encode() for file, content in FOLDERS[name]["files"].items()}


def ids(vocabulary: Vocabulary, text: str, *, special: bool = False) -> list[int]:
    return [token.id for token in vocabulary.encode(text, special=special)]


def test_there_are_texts_of_many_kinds() -> None:
    assert len(TEXTS) >= 340


@pytest.mark.parametrize("name", FOLDERS)
def test_texts_are_split_as_transformers_splits_them(name: str) -> None:
    words, folder = read_vocabulary(Memory(files_of(name))), FOLDERS[name]
    for text, plain, special in zip(TEXTS, folder["plain"], folder["special"], strict=True):
        assert ids(words, text) == plain, text
        assert ids(words, text, special=True) == special, text
    assert words.encode_each(TEXTS) == folder["plain"]


@pytest.mark.parametrize("name", FOLDERS)
def test_tokens_have_the_ids_and_names_of_transformers(name: str) -> None:
    words, folder = read_vocabulary(Memory(files_of(name))), FOLDERS[name]
    named = dict(words.pieces())
    assert set(folder["ids"]) <= set(named)
    assert named == {place: folder["names"][place] for place in named}
    assert set(words.special_ids.tolist()) == set(folder["special_ids"])


def with_settings(name: str, **settings: Any) -> dict[str, bytes]:
    """Give the files of a recorded folder, with other settings."""
    files = files_of(name)
    known = json.loads(files["tokenizer_config.json"])
    return files | {"tokenizer_config.json": json.dumps({**known, **settings}).encode()}


@pytest.mark.parametrize("base", sorted({folder["base"] for folder in KNOWN["mixed"]}))
def test_tokens_that_files_add_are_found_as_transformers_finds_them(base: str) -> None:
    mixed = [folder for folder in KNOWN["mixed"] if folder["base"] == base]
    assert len(mixed) >= 15
    for folder in mixed:
        words = read_vocabulary(
            Memory(files_of(base) | {file: text.encode() for file, text in folder["files"].items()})
        )
        for text, plain, special in zip(folder["texts"], folder["plain"], folder["special"], strict=True):
            assert ids(words, text) == plain, (folder["files"], text)
            assert ids(words, text, special=True) == special, (folder["files"], text)


E, A = "extra_special_tokens", "additional_special_tokens"
LISTS: list[tuple[dict[str, Any], dict[str, Any], list[str], list[str] | None]] = [
    ({}, {}, [], ["<extra_id_0>"]),
    ({}, {A: None}, [], ["<extra_id_0>"]),
    ({}, {A: []}, [], []),
    ({}, {A: ["<sa>"]}, ["<sa>"], None),
    ({}, {E: [], A: ["<sa>"]}, [], None),
    ({A: []}, {}, [], []),
    ({A: None}, {}, [], []),
    ({A: None}, {A: ["<sa>"]}, [], None),
    ({A: []}, {A: ["<sa>"]}, [], None),
    ({A: ["<a>"]}, {A: ["<sa>"]}, ["<a>"], None),
    ({A: ["<a>"]}, {E: ["<se>"]}, ["<a>", "<se>"], ["<a>", "<se>"]),
    ({E: [], A: ["<a>"]}, {A: ["<sa>"]}, ["<a>"], None),
    ({E: ["<e>"], A: ["<a>"]}, {}, ["<e>"], None),
    ({E: {"image_token": "<i>"}}, {}, ["<i>"], ["<i>", "<extra_id_0>"]),
    ({E: {"image_token": "<i>"}, A: ["<a>"]}, {}, ["<i>", "<a>"], None),
    ({E: {"image_token": "<i>"}, A: ["<a>"]}, {A: []}, ["<i>"], ["<i>"]),
    ({E: {"image_token": "<i>"}, A: ["<a>"]}, {E: []}, ["<i>"], None),
    ({E: {"image_token": "<i>"}, A: []}, {A: ["<sa>"]}, ["<i>", "<sa>"], None),
]
"""What both files list, and what transformers 5.24 adds to a Perceiver and to a ByT5; None where it refuses that."""


@pytest.mark.parametrize(("config", "special", "added", "of_byt5"), LISTS)
def test_which_list_of_further_tokens_counts(
    config: dict[str, Any], special: dict[str, Any], added: list[str], of_byt5: list[str] | None
) -> None:
    def read(name: str, **settings: Any) -> list[str]:
        files = {
            "tokenizer_config.json": {"tokenizer_class": name, **settings, **config},
            "special_tokens_map.json": special,
        }
        words = read_vocabulary(Memory({file: json.dumps(content).encode() for file, content in files.items()}))
        return [token.piece for token in words if token.id >= {"ByT5Tokenizer": 259, "PerceiverTokenizer": 262}[name]]

    assert read("PerceiverTokenizer") == added
    if of_byt5 is not None:
        assert read("ByT5Tokenizer", extra_ids=1) == of_byt5


# --- words joined of letters


def joined_in_rounds(symbols: list[str], pairs: dict[tuple[str, str], int]) -> list[str]:
    """Join as is written down: the first pair of the list that stands there, everywhere, and again from the start."""
    while known := [pair for pair in pairwise(symbols) if pair in pairs]:
        first = min(known, key=pairs.__getitem__)
        found: list[str] = []
        place = 0
        while place < len(symbols):
            is_pair = tuple(symbols[place : place + 2]) == first
            found.append("".join(first) if is_pair else symbols[place])
            place += 2 if is_pair else 1
        symbols = found
    return symbols


@pytest.mark.parametrize("seed", range(60))
def test_pairs_in_any_order_are_joined_everywhere_at_once(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    symbols = list("ab0" if seed % 2 else "abc")
    listed = []
    for _ in range(chance.randint(1, 25)):
        listed.append((chance.choice(symbols), chance.choice(symbols)))
        symbols.append("".join(listed[-1]))
    chance.shuffle(listed)
    pairs = {pair: place for place, pair in enumerate(listed)}
    for _ in range(40):
        word = [chance.choice("ab0" if seed % 2 else "abc") for _ in range(chance.randint(1, 30))]
        assert join(word, pairs) == joined_in_rounds(word, pairs)


def test_a_word_that_is_very_long_is_joined_at_once() -> None:
    words = read_vocabulary(Memory(files_of("ctrl")))
    text = "the" * 100_000
    assert len(words.encode(text)) > 1000


@pytest.mark.parametrize("name", ["phobert", "ctrl", "blenderbot-small"])
def test_a_mark_says_that_a_word_goes_on(name: str) -> None:
    words = read_vocabulary(Memory(files_of(name)))
    inside, whole = words.find_piece("the@@"), words.find("the")
    assert (inside.text, whole.text, whole.piece) == ("the", "the ", "the")
    assert words.is_word(whole)
    assert not words.is_word(inside)
    categorizer = Categorizer(words)
    assert categorizer.each([whole]) == [Category.NORMAL]
    assert categorizer.left_open is None


@pytest.mark.parametrize(
    ("name", "file"), [("phobert", "bpe.codes"), ("ctrl", "merges.txt"), ("blenderbot-small", "merges.txt")]
)
def test_without_the_pairs_tokens_are_listed(name: str, file: str) -> None:
    files = files_of(name)
    whole = read_vocabulary(Memory(files))
    del files[file]
    words = read_vocabulary(Memory(files))
    assert words.pieces() == whole.pieces()
    with pytest.raises(NoVocabulary, match=f"needs {file} too"):
        words.encode("the cat")


def test_gpt2s_table_alone_is_listed_too() -> None:
    files = {
        "vocab.json": b'{"the": 0, "\\u0120cat": 1}',
        "tokenizer_config.json": b'{"tokenizer_class": "GPT2Tokenizer"}',
    }
    words = read_vocabulary(Memory(files))
    assert words.find("cat").text == " cat"
    with pytest.raises(NoVocabulary, match=r"GPT2Tokenizer, needs merges\.txt too"):
        words.encode("the cat and")
    del files["tokenizer_config.json"]
    with pytest.raises(NoVocabulary, match=r"nothing says which class reads it"):
        read_vocabulary(Memory(files))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab.txt", "the 1\ncat\n", "line 2 of vocab.txt is not a piece and its count"),
        ("bpe.codes", "a b 1\n" * 1_100_000, "more than 1,048,576 lines"),
        ("bpe.codes", b"\xff", "not UTF-8"),
    ],
)
def test_broken_files_are_named(file: str, content: str | bytes, message: str) -> None:
    files = files_of("phobert") | {file: content if isinstance(content, bytes) else content.encode()}
    with pytest.raises(FormatError, match=message):
        read_vocabulary(Memory(files)).encode("the cat")


def test_a_table_without_what_is_unknown_splits_what_it_knows() -> None:
    files = with_settings("ctrl", unk_token="<none>")  # noqa: S106 - a token of a vocabulary is no password
    words = read_vocabulary(Memory(files))
    assert ids(words, "the") == ids(read_vocabulary(Memory(files_of("ctrl"))), "the")
    with pytest.raises(FormatError, match="no piece for what is unknown"):
        words.encode("\u1234")


def test_what_a_class_is_not_known_to_do_is_refused() -> None:
    words = read_vocabulary(Memory(with_settings("bertweet", normalization=True)))
    assert words.find_piece("the@@").text == "the"
    with pytest.raises(NoVocabulary, match="BertweetTokenizer splits text with normalization"):
        words.encode("the cat")


# --- bytes


def test_tokens_are_bytes() -> None:
    words = read_vocabulary(Memory({"config.json": b'{"model_type": "perceiver"}'}))
    assert len(words) == 262
    assert [token.bytes for token in words.encode("é")] == [b"\xc3", b"\xa9"]
    assert words.find_bytes(b"\xc3").id == 6 + 0xC3
    assert words.find("A").id == 6 + ord("A")
    found = Categorizer(words).each(list(words))
    assert found.count(Category.BYTE) == 128
    assert found.count(Category.SPECIAL) == 6


# --- every class of transformers

FILES = {
    "vocab.json with merges.txt": {
        "vocab.json": b'{"the</w>": 0, "cat</w>": 1, "t": 2}',
        "merges.txt": b"#version: 0.2\n",
    },
    "vocab.json": {"vocab.json": b'{"the": 0, "cat": 1, "t": 2}'},
    "vocab.txt": {"vocab.txt": b"the\ncat\n[UNK]\n"},
    "vocab-src.json": {"vocab-src.json": b'{"the</w>": 0, "cat</w>": 1, "t": 2}', "merges.txt": b""},
}
ELSEWHERE = sorted({*KNOWN["classes"], *REFUSED} - set(CLASSES))


def test_every_class_is_known_or_has_its_own_tokenizer_json() -> None:
    assert len(KNOWN["classes"]) > 95
    by_json = {"EsmcTokenizer", "LasrTokenizer", "ParakeetTokenizer", "Tipsv2Tokenizer", "VideoPrismTokenizer"}
    by_json |= {"Siglip2Tokenizer", "NougatTokenizer", "SeamlessM4TTokenizer", "LukeTokenizer", "PLBartTokenizer"}
    by_json |= {"BartphoTokenizer", "BertJapaneseTokenizer"}
    assert set(KNOWN["classes"]) <= {*CLASSES, *REFUSED, *by_json}
    assert not set(CLASSES) & set(REFUSED)
    assert set(REFUSED_TYPES.values()) <= set(REFUSED)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_class_that_is_not_split_is_refused_by_its_name_and_listed(name: str, kind: str) -> None:
    for written in (name, f"{name}Fast"):
        files = FILES[kind] | {"tokenizer_config.json": json.dumps({"tokenizer_class": written}).encode()}
        words = read_vocabulary(Memory(files))
        assert words.find("the").id == 0
        with pytest.raises(NoVocabulary, match=name):
            words.encode("the cat")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_class_without_files_is_named(name: str) -> None:
    with pytest.raises(NoVocabulary, match=f"its class, {name}, "):
        read_vocabulary(Memory({"config.json": json.dumps({"tokenizer_class": name}).encode()}))


ALIKE = {
    ("RobertaTokenizer", "BartTokenizer"),
    ("T5Tokenizer", "MT5Tokenizer"),
    ("LxmertTokenizer", "BertTokenizer"),
    ("MobileBertTokenizer", "BertTokenizer"),
}


@pytest.mark.parametrize(("kind", "name"), KNOWN["types"].items())
def test_a_type_of_model_has_the_class_that_transformers_takes(kind: str, name: str) -> None:
    found = named_class({}, {"model_type": kind})
    if name in CLASSES or name in REFUSED:
        assert found == name or (name, found) in ALIKE
    else:
        assert found is None


def test_two_vocabularies_are_not_taken_for_one() -> None:
    files = {
        "vocab-src.json": b'{"the</w>": 0, "cat": 1}',
        "vocab-tgt.json": b'{"die</w>": 0, "Katze": 1}',
        "merges.txt": b"",
        "config.json": b'{"model_type": "fsmt"}',
    }
    with pytest.raises(NoVocabulary, match=r"two vocabularies.*FSMTTokenizer, cuts text by the rules of Moses"):
        read_vocabulary(Memory(files))
    for file, word in (("vocab-src.json", "the"), ("vocab-tgt.json", "die")):
        assert read_vocabulary_file(Memory(files), file).find(word).text == f"{word} "
    files["vocab-tgt.json"] = files["vocab-src.json"]
    assert len(read_vocabulary(Memory(files))) == 2


def test_vocabularies_of_several_languages_are_no_tokens() -> None:
    files = {"vocab.json": b'{"eng": {"a": 0}, "deu": {"a": 0}}', "config.json": b'{"model_type": "wav2vec2"}'}
    with pytest.raises(NoVocabulary, match=r"several vocabularies, and its class, Wav2Vec2CTCTokenizer"):
        read_vocabulary(Memory(files))


def test_a_word_of_a_class_that_is_refused_says_why(run: Program, tmp_path: Path) -> None:
    folder = tmp_path / "canine"
    write_single(folder, {"model.embed_tokens.weight": ("F32", (2, 2), bytes(16))}, config={"model_type": "canine"})
    for words in (("row", "abc", "-m", folder), ("undertrained", folder), ("neighbors", "abc", "-m", folder)):
        run(*words).refused(3, "CanineTokenizer", "code points")
    assert run("row", "id:1", "-m", folder, "--json").ok().document["rows"][0]["id"] == 1
