from __future__ import annotations

import gc
import json
import re
import sqlite3
import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from small_models import BERT_WORDS, END_OF_TEXT, merges, pieces, texts, tokenizer_json
from sources import Memory
from tokenizers import Tokenizer

from embtool.errors import EmbtoolError, FormatError, NoVocabulary, TokenIdOutOfRange, UnknownToken
from embtool.questions.info import without
from embtool.storage.source import Folder
from embtool.vocabulary import Vocabulary, parse_ids, read_queries, read_vocabulary
from embtool.vocabulary.entries import runs


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("EMBTOOL_CACHE", str(folder))
        yield folder


def vocabulary(state: Mapping[str, Any] | None = None) -> Vocabulary:
    state = tokenizer_json() if state is None else state
    return read_vocabulary(Memory({"tokenizer.json": json.dumps(state).encode()}))


@pytest.fixture(scope="module")
def small_words() -> Vocabulary:
    return vocabulary()


# --- looking up -------------------------------------------------------------------------------------------------------


def test_every_id_has_its_piece_text_and_bytes(small_words: Vocabulary) -> None:
    tokens = list(small_words)
    assert [token.id for token in tokens] == list(range(len(texts()))) == small_words.ids.tolist()
    assert [token.piece for token in tokens] == [*pieces(), END_OF_TEXT]
    assert [token.text for token in tokens] == [*texts()]
    assert [token.bytes.decode("utf-8", "replace") for token in tokens] == [*texts()]
    assert sorted(token.bytes for token in tokens[:256]) == [bytes([byte]) for byte in range(256)]
    assert [token.special for token in tokens] == [False] * len(pieces()) + [True]
    assert len(small_words) == len(texts())
    assert small_words.added == 1
    assert small_words.special_ids.tolist() == [len(pieces())]


@pytest.mark.parametrize("identity", [-1, 320, 1 << 32, 1 << 70])
def test_a_padding_row_has_no_token(small_words: Vocabulary, identity: int) -> None:
    assert small_words.token(identity) is None


def ids(words: Vocabulary, *typed: str, **options: bool) -> list[tuple[int, ...]]:
    return [query.ids for query in read_queries(typed, words, **options)]


def test_what_a_person_types(small_words: Vocabulary) -> None:
    spaced, bare = texts().index(" king"), texts().index("king")
    strawberry = texts().index(" strawberry")
    assert ids(small_words, "king", " king") == [(spaced,), (spaced,)]
    assert ids(small_words, "king", exact=True) == [(bare,)]
    assert ids(small_words, "strawberry", " strawberry") == [(strawberry,)] * 2
    assert ids(small_words, "id:3", "id:5..7") == [(3,), (5,), (6,), (7,)]
    assert ids(small_words, "id:5..7", pool=True) == [(5, 6, 7)]
    assert ids(small_words, "piece:Ġking", "bytes:206b696e67", "bytes:20 6B 69 6E 67") == [(spaced,)] * 3
    assert ids(small_words, "bytes:ff") == [(pieces().index("ÿ"),)]
    assert ids(small_words, END_OF_TEXT) == [(len(pieces()),)]
    assert ids(small_words, "id:9999999") == [(9999999,)], "whether there is such a row is the table's business"
    assert ids(small_words, " ", "bytes:20") == [(texts().index(" "),)] * 2
    assert ids(small_words, " king!", pool=True) == [(spaced, texts().index("!"))]


def test_a_guess_is_told(small_words: Vocabulary) -> None:
    (word,) = read_queries(["strawberry"], small_words)
    assert (word.note, word.bare) == (None, False)
    (bare,) = read_queries(["berry"], small_words)
    assert (bare.note, bare.bare) == (None, True)
    (typed,) = read_queries([" strawberry"], small_words)
    assert typed.note is None
    (pooled,) = read_queries([" king!"], small_words, pool=True)
    assert pooled.note == "' king!' is 2 tokens: ' king' + '!'"


REFUSED: dict[str, tuple[str, type[EmbtoolError], tuple[str, ...]]] = {
    "several tokens": (" kingmaker", UnknownToken, ("6 tokens", "' king' + 'm' + 'a'")),
    "a typing error": ("strawbery", UnknownToken, ("near: ", "strawberry")),
    "an empty text": ("", UnknownToken, ("empty",)),
    "no such piece": ("piece:Ġqueens", UnknownToken, ("'Ġqueens'", "queen")),
    "no such bytes": ("bytes:ffff", UnknownToken, ("ffff",)),
    "odd hex": ("bytes:123", UnknownToken, ("hexadecimal",)),
    "no hex": ("bytes:zz", UnknownToken, ("hexadecimal",)),
    "no number": ("id:x", UnknownToken, ("'id:x'", "id:70135")),
    "an empty number": ("id:", UnknownToken, ("id:",)),
    "a number of many digits": ("id:" + "9" * 99, UnknownToken, ("id:",)),
    "digits of another script": ("id:٣", UnknownToken, ("id:",)),
    "half a range": ("id:1..", UnknownToken, ("id:",)),
    "a negative row": ("id:-1", TokenIdOutOfRange, ("no row -1",)),
    "a range backwards": ("id:5..3", TokenIdOutOfRange, ("range",)),
    "a range of everything": ("id:0..999999999999", TokenIdOutOfRange, ("range",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_token(small_words: Vocabulary, case: str) -> None:
    typed, kind, words = REFUSED[case]
    with pytest.raises(kind) as caught:
        ids(small_words, typed)
    for word in words:
        assert word in f"{caught.value.message} {caught.value.hint}"


def test_exact_forbids_the_guess(small_words: Vocabulary) -> None:
    assert ids(small_words, "king", " strawberry", exact=True)
    with pytest.raises(UnknownToken):
        ids(small_words, "strawberry", exact=True)
    with pytest.raises(UnknownToken):
        ids(small_words, "", exact=True)


def test_without_a_vocabulary_only_ids_are_known() -> None:
    assert [query.ids for query in read_queries(["id:1..2"], None)] == [(1,), (2,)]
    with pytest.raises(NoVocabulary, match="'king'"):
        list(read_queries(["king"], None))


@given(st.integers(0, 2**17), st.integers(0, 50))
def test_ids_are_parsed(first: int, more: int) -> None:
    assert parse_ids(f"id:{first}") == range(first, first + 1)
    assert parse_ids(f"id:{first}..{first + more}") == range(first, first + more + 1)
    assert parse_ids(f"{first}") is None


@given(st.text(max_size=8) | st.text("aeinkg! Ġ\udcff", max_size=8))
def test_any_text_is_found_or_refused(small_words: Vocabulary, text: str) -> None:
    for options in ({}, {"exact": True}, {"pool": True}):
        for typed in (text, f"piece:{text}", f"bytes:{text}", f"id:{text}"):
            try:
                found = ids(small_words, typed, **options)
            except (UnknownToken, TokenIdOutOfRange):
                continue
            assert found


# --- as the library says ----------------------------------------------------------------------------------------------


@given(
    st.text(max_size=12)
    | st.lists(st.sampled_from([" king", "straw", "berry", "é", "\n", END_OF_TEXT, " "])).map("".join)
)
def test_text_is_split_as_the_library_splits_it(small_words: Vocabulary, text: str) -> None:
    library = Tokenizer.from_str(json.dumps(tokenizer_json()))
    encoded = library.encode(text, add_special_tokens=False)
    tokens = small_words.encode(text)
    assert [token.id for token in tokens] == encoded.ids
    assert [token.piece for token in tokens] == encoded.tokens
    assert b"".join(token.bytes for token in tokens) == text.encode()


@given(st.text(max_size=6) | st.sampled_from(texts()))
def test_a_text_is_one_token_exactly_where_the_library_says_so(small_words: Vocabulary, text: str) -> None:
    split = small_words.encode(text)
    try:
        token = small_words.find(text, exact=True)
    except UnknownToken:
        assert len(split) != 1
    else:
        assert token.text == text
        assert len(split) != 1 or split[0].id == token.id


def test_padding_and_truncation_of_a_sentence_model_are_left_out() -> None:
    state = tokenizer_json()
    state["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    state["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    }
    assert len(vocabulary(state).encode(" king king king")) == 3


# --- files ------------------------------------------------------------------------------------------------------------


def test_vocab_json_and_merges_are_the_same_as_tokenizer_json(models: Path, small_words: Vocabulary) -> None:
    older = read_vocabulary(Folder(models / "gpt2"))
    assert older.file == "vocab.json"
    assert list(older) == list(small_words)
    for text in (" strawberry king", "né", END_OF_TEXT, "  x\n"):
        assert older.encode(text) == small_words.encode(text)


def test_vocab_txt_is_word_piece(models: Path) -> None:
    words = read_vocabulary(Folder(models / "bert"))
    assert [token.piece for token in words] == list(BERT_WORDS)
    assert [token.text for token in words.encode("Strawberrys KING")] == ["strawberry", "##s", "king"]
    assert words.find("King").id == BERT_WORDS.index("king")
    assert words.find("##berry").id == BERT_WORDS.index("##berry")
    assert words.token(BERT_WORDS.index("##berry")).bytes == b"berry"  # type: ignore[union-attr]
    assert words.special_ids.tolist() == [0, 1, 2, 3, 4]
    assert words.unknown == 1
    with pytest.raises(UnknownToken, match="not a token"):
        words.find("東")
    with pytest.raises(UnknownToken):
        words.find("King", exact=True)


def test_words_without_an_unknown_token() -> None:
    words = read_vocabulary(Memory({"vocab.txt": b"king\nqueen\n"}))
    assert words.find("king").id == 0
    with pytest.raises(FormatError, match=r"vocab\.txt"):
        words.find("banana")


def test_added_tokens_come_from_the_tokenizers_config() -> None:
    added = {"2": {"content": "<s>", "special": True}, "3": {"content": " tool "}}
    config = json.dumps({"added_tokens_decoder": added}).encode()
    words = read_vocabulary(Memory({"vocab.txt": b"[UNK]\nking\n", "tokenizer_config.json": config}))
    assert [(token.piece, token.special) for token in words][1:] == [("king", False), ("<s>", True), (" tool ", False)]


def broken(**changes: Any) -> bytes:
    return json.dumps({**tokenizer_json(), **changes}).encode()


BROKEN: dict[str, dict[str, bytes]] = {
    "tokenizer.json is empty": {"tokenizer.json": b""},
    "tokenizer.json is no JSON": {"tokenizer.json": b"{"},
    "tokenizer.json is a list": {"tokenizer.json": b"[]"},
    "tokenizer.json is not UTF-8": {"tokenizer.json": b'{"a": "\xff"}'},
    "tokenizer.json is nested": {"tokenizer.json": b"[" * 100_000},
    "no model": {"tokenizer.json": b"{}"},
    "no vocabulary": {"tokenizer.json": broken(model={"type": "BPE"})},
    "a text for an id": {"tokenizer.json": broken(model={"type": "BPE", "vocab": {"a": "0"}, "merges": []})},
    "a negative id": {"tokenizer.json": broken(model={"type": "BPE", "vocab": {"a": -1}, "merges": []})},
    "a large id": {"tokenizer.json": broken(model={"type": "BPE", "vocab": {"a": 1 << 40}, "merges": []})},
    "a true id": {"tokenizer.json": broken(model={"type": "BPE", "vocab": {"a": True}, "merges": []})},
    "Unigram without pieces": {"tokenizer.json": broken(model={"type": "Unigram", "vocab": [[1, 2]]})},
    "an added token without content": {"tokenizer.json": broken(added_tokens=[{"id": 1}])},
    "an added token that is none": {"tokenizer.json": broken(added_tokens=[7])},
    "vocab.json of lists": {"vocab.json": b'{"a": []}', "merges.txt": b""},
    "merges of three": {"vocab.json": b'{"a": 0}', "merges.txt": b"a b c\n"},
    "merges of unknown pieces": {"vocab.json": b'{"a": 0}', "merges.txt": b"a b\n"},
    "vocab.txt is not UTF-8": {"vocab.txt": b"a\n\xff\n"},
    "added tokens that are a list": {"vocab.txt": b"[UNK]\n", "tokenizer_config.json": b'{"added_tokens_decoder": []}'},
    "tokenizer_config.json is no JSON": {"vocab.txt": b"[UNK]\n", "tokenizer_config.json": b"x"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named(case: str) -> None:
    files = BROKEN[case]
    with pytest.raises(FormatError) as caught:
        read_vocabulary(Memory(files))
    assert any(file in caught.value.message for file in files)


def test_what_only_the_library_refuses_is_refused_when_text_is_split() -> None:
    words = vocabulary({**tokenizer_json(), "pre_tokenizer": {"type": "Nothing"}})
    assert words.token(3) is not None
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        words.encode("king")


def test_a_model_without_a_tokenizer() -> None:
    with pytest.raises(NoVocabulary, match="no tokenizer"):
        read_vocabulary(Memory({}))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_found_as_it_is(name: str) -> None:
    text = HOSTILE[name]
    words = vocabulary(tokenizer_json({text: False, END_OF_TEXT: True}))
    token = words.token(len(pieces()))
    assert token is not None
    assert (token.piece, token.text, token.bytes) == (text, text, text.encode())
    assert words.find(text) == words.find_piece(text) == words.find_bytes(text.encode()) == token


def test_added_tokens_have_the_ids_of_the_library_not_those_of_the_file() -> None:
    state = tokenizer_json({})
    like = tokenizer_json()["added_tokens"][0]
    state["added_tokens"] = [{**like, "id": 5000, "content": "<far>"}, {**like, "id": 6000, "content": "a"}]
    words, library = vocabulary(state), Tokenizer.from_str(json.dumps(state))
    assert {token.piece: token.id for token in words} == library.get_vocab()
    assert [token.id for token in words.encode("a<far>a")] == library.encode("a<far>a").ids
    assert words.find("<far>").id == len(pieces())
    assert words.token(5000) is None
    assert words.ids.tolist() == [*range(len(pieces()) + 1)]


def test_a_gap_in_the_ids_of_the_tokenizers_config_is_not_kept() -> None:
    config = b'{"added_tokens_decoder": {"7": {"content": "<s>"}}}'
    words = read_vocabulary(Memory({"vocab.txt": b"[UNK]\n", "tokenizer_config.json": config}))
    assert words.find("<s>").id == 1
    assert words.token(7) is None


# --- the index --------------------------------------------------------------------------------------------------------


def index_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.sqlite"))


def read_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Vocabulary:
    monkeypatch.setenv("EMBTOOL_CACHE", str(folder))
    return vocabulary()


def test_the_index_gives_the_same_as_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(read_in(tmp_path, monkeypatch))
    (path,) = index_files(tmp_path)
    written = path.stat().st_mtime_ns
    second = read_in(tmp_path, monkeypatch)
    assert list(second) == first
    assert second.find("king").text == " king"
    assert second.special_ids.tolist() == [len(pieces())]
    assert second.encode(" king")[0].text == " king"
    assert path.stat().st_mtime_ns == written


def test_a_damaged_index_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(read_in(tmp_path, monkeypatch))
    (path,) = index_files(tmp_path)
    whole = path.read_bytes()
    lost = [whole[:place] + bytes(4096) + whole[place + 4096 :] for place in range(0, len(whole), 4096)]
    cut = [b"", b"nothing", whole[:100], whole[:-1], whole[: len(whole) // 2], whole + b"x", whole[:-4096]]
    for content in (*cut, *lost):
        path.write_bytes(content)
        words = read_in(tmp_path, monkeypatch)
        assert [words.token(identity) for identity in range(len(expected))] == expected
        assert [words.find(text).text for text in (" queen", "king")] == [" queen", " king"]
        assert list(words) == expected


@pytest.mark.parametrize(
    "ids", ["[[0, 1000000000000]]", "[[5, 1]]", "[[-4, 2]]", "[[0]]", "[[0, 1.5]]", "7", "{", "[[0, null]]"]
)
def test_ids_that_another_hand_wrote_into_an_index_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    expected = list(read_in(tmp_path, monkeypatch))
    (path,) = index_files(tmp_path)
    database = sqlite3.connect(path)
    database.execute("UPDATE facts SET value = ? WHERE name = 'ids'", (ids.encode(),))
    database.commit()
    database.close()
    monkeypatch.setattr("embtool.vocabulary.databases.has_named_sum", lambda _: True)
    words = read_in(tmp_path, monkeypatch)
    assert len(words) == len(expected)
    assert words.ids.tolist() == [token.id for token in expected]


@given(st.sets(st.integers(0, 60)), st.integers(0, 70))
def test_ids_are_kept_as_runs(ids: set[int], rows: int) -> None:
    found = runs(ids)
    assert [identity for first, last in found for identity in range(first, last + 1)] == sorted(ids)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
    gaps = [row for first, last in without(found, rows) for row in range(first, last + 1)]
    assert gaps == [row for row in range(rows) if row not in ids]


def test_an_index_of_another_version_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_in(tmp_path, monkeypatch)
    (path,) = index_files(tmp_path)
    database = sqlite3.connect(path)
    database.execute("UPDATE tokens SET piece = 'x'")
    database.commit()
    database.execute("PRAGMA user_version=999")
    database.close()
    assert read_in(tmp_path, monkeypatch).token(0).piece == pieces()[0]  # type: ignore[union-attr]


def test_without_a_place_for_the_index_the_vocabulary_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    words = read_in(tmp_path / "file" / "cache", monkeypatch)
    assert words.find("king").text == " king"


def test_merges_make_the_words_of_the_small_model() -> None:
    assert len(pieces()) == len(set(pieces())) == 256 + len(merges())


def test_a_sentencepiece_spelling_of_other_bytes_is_not_taken_for_them() -> None:
    state = tokenizer_json({})
    pieces_of = {"▁": 0, "▁king": 1, "k": 2, "<0x0A>": 3, "<0xFF>": 4, "king": 5}
    state["model"] = {**state["model"], "vocab": pieces_of, "merges": [], "byte_fallback": True}
    state["pre_tokenizer"] = None
    state["decoder"] = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    words = vocabulary(state)
    assert [words.find_bytes(data).id for data in (b" ", b" king", b"\n", b"\xff", b"king")] == [0, 1, 3, 4, 5]
    for data in ("▁".encode(), "▁king".encode()):
        with pytest.raises(UnknownToken):
            words.find_bytes(data)
    assert words.find("\n", exact=True).id == 3
    with pytest.raises(UnknownToken):
        words.find("▁king", exact=True)


def test_an_index_may_be_collected_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_in(tmp_path, monkeypatch)
    kept = [read_in(tmp_path, monkeypatch)]
    assert kept[0].find("king").text == " king"
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert read_in(tmp_path, monkeypatch).find("king").text == " king"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("id:1e3", (1000, 1000)),
        ("id:1.5e3", (1500, 1500)),
        ("id:1,000..1,010", (1000, 1010)),
        ("id:1e3..2E3", (1000, 2000)),
    ],
)
def test_ids_are_understood_as_they_are_printed_and_said(typed: str, meant: tuple[int, int]) -> None:
    found = parse_ids(typed)
    assert found is not None
    assert (found[0], found[-1]) == meant


@pytest.mark.parametrize(
    "typed", ["id:1e", "id:1.5", "id:1e-3", "id:10,00", "id:1..2..3", "id:..3", "id:3..", "id:", "id:1e99"]
)
def test_what_is_no_id_is_refused(typed: str) -> None:
    with pytest.raises(EmbtoolError, match=re.escape(repr(typed))):
        parse_ids(typed)
