"""Vocabularies of GGUF files, held against what llama.cpp does (llama-vocab.cpp)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import llama, write
from program import Program
from small_models import byte_characters
from tokenizers import Regex, pre_tokenizers

from embtool import open_model
from embtool.errors import NoVocabulary
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.cuts import CUTS, LONG_CUTS

SAMPLE = "It's 12345 héllo WORLDwide  \n\n x=y+1; 日本語カナ 한국 …\t!"
BERT_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁straw", "berry", "▁strawberry", "▁king", "s"]
BERT_TYPES = [3, 3, 3, 3, 1, 1, 1, 1, 1]


def tokens_of(folder: Path, pieces: list[str], **keys: Any) -> Vocabulary:
    """Read the vocabulary of a small file; `types` are those of its pieces, `general_name` is the model's."""
    types = keys.pop("types", None)
    general = {"general.name": name} if (name := keys.pop("general_name", None)) else {}
    listed = {f"tokenizer.ggml.{key.replace('__', '.')}": value for key, value in keys.items()}
    listed |= {"tokenizer.ggml.tokens": pieces} | ({"tokenizer.ggml.token_type": types} if types else {})
    write(
        folder / "t.gguf",
        {"token_embd.weight": (np.ones((len(pieces), 64), np.float32), None)},
        settings=llama(),
        vocabulary={**listed, **general},
    )
    return open_model(folder / "t.gguf").vocabulary


def ids_of(vocabulary: Vocabulary, text: str, *, special: bool = False) -> list[int]:
    return [token.id for token in vocabulary.encode(text, special=special)]


BYTES = list(byte_characters().values())
HI = [*BYTES, "hi", "Ġthere", "<s>", "</s>"]
HI_TYPES = [1] * 258 + [3, 3]


def in_bytes(text: str) -> list[int]:
    """Give the ids of a text that is not merged at all."""
    return [BYTES.index(byte_characters()[byte]) for byte in text.encode()]


@pytest.mark.parametrize("pre", ["glm4", "tekken", "midm-2.0", "llama-bpe", "minicpm5", "youtu", "jina-v5-nano"])
def test_whole_words_come_first(pre: str, tmp_path: Path) -> None:
    words = tokens_of(
        tmp_path, [*HI, "Ġt"], types=[*HI_TYPES, 1], model="gpt2", pre=pre, merges=["Ġ t"], bos_token_id=258
    )
    assert ids_of(words, "hi there") == [256, 257]
    begins = pre in ("tekken", "midm-2.0", "llama-bpe", "jina-v5-nano")
    assert ids_of(words, "hi there", special=True) == [*([258] if begins else []), 256, 257]


def test_what_begins_and_ends_is_llama_cpps_where_the_file_says_nothing(tmp_path: Path) -> None:
    merged = {"types": HI_TYPES, "model": "gpt2", "merges": ["h i"]}
    plain = tokens_of(tmp_path, HI, pre="gpt-2", **merged)
    assert ids_of(plain, "hi", special=True) == [256]
    asked = tokens_of(tmp_path, HI, pre="gpt-2", add_bos_token=True, add_eos_token=True, eos_token_id=259, **merged)
    assert ids_of(asked, "hi", special=True) == [11, 256, 259], "11 is what llama.cpp takes for the beginning"
    off = tokens_of(tmp_path, HI, pre="llama-bpe", add_bos_token=False, bos_token_id=258, **merged)
    assert ids_of(off, "hi", special=True) == [256]
    glm = tokens_of(tmp_path, HI, pre="glm4", add_bos_token=True, **merged)
    assert ids_of(glm, "hi", special=True) == [256], "this one has no beginning unless the file names it"


def test_bert_begins_with_its_own_token(tmp_path: Path) -> None:
    keys = {"model": "bert", "unknown_token_id": 1, "cls_token_id": 2, "seperator_token_id": 3, "types": BERT_TYPES}
    assert ids_of(tokens_of(tmp_path, BERT_PIECES, **keys), "kings", special=True) == [2, 7, 8, 3]
    pieces = [*(f"[unused{place}]" for place in range(100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁king"]
    keys = {"model": "bert", "types": [1] * 100 + [3] * 4 + [1]}
    assert ids_of(tokens_of(tmp_path, pieces, **keys), "king x", special=True) == [101, 104, 100, 102]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [3, 3]),
        ({"normalizer__lowercase": False}, [2, 5]),
        ({"normalizer__strip_accents": False}, [3, 4]),
        ({"normalizer__lowercase": False, "normalizer__strip_accents": True}, [2, 2]),
    ],
)
def test_case_and_accents_are_kept_where_the_file_says_so(
    keys: dict[str, bool], expected: list[int], tmp_path: Path
) -> None:
    pieces = ["[UNK]", "[SEP]", "▁Schon", "▁schon", "▁schön", "▁Schön"]
    words = tokens_of(tmp_path, pieces, types=[3, 3, 1, 1, 1, 1], model="bert", unknown_token_id=0, **keys)
    assert ids_of(words, "Schon Schön") == expected


def test_a_file_without_a_way_to_cut_text_is_cut_the_default_way(tmp_path: Path) -> None:
    pieces = [*BYTES, "hi", "==", "12", "34", "a+"]
    words = tokens_of(tmp_path, pieces, model="gpt2", merges=["h i", "= =", "1 2", "3 4", "a +"])
    assert ids_of(words, "hi") == [256]
    assert ids_of(words, "a+==") == [*in_bytes("a+"), 257], "marks stand alone"
    assert ids_of(words, "12345") == [258, *in_bytes("345")], "digits in threes"


def test_the_unknown_token_in_a_text_is_that_token(tmp_path: Path) -> None:
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "▁a", "<", "u", "n", "k", ">"]
    types = [2, 3, 3, *([1] * 8)]
    scores = [0.0, 0.0, 0.0, *(-float(place) for place in range(1, 9))]
    keys: dict[str, Any] = {"types": types, "scores": scores, "model": "llama"}
    words = tokens_of(tmp_path, pieces, **keys)
    assert ids_of(words, "a<unk>a") == [5, 0, 5]
    assert ids_of(words, "<unk>", special=True) == [1, 0]
    assert words.unknown == 0
    phi = tokens_of(tmp_path, pieces, general_name="Phi-3 mini", **keys)
    assert ids_of(phi, "</s> a") == [2, 5]
    assert ids_of(words, "</s> a") == [2, 3, 5]


@pytest.mark.parametrize(("kind", "shift"), [(5, 0), (5, -1), (2, 0)])
def test_places_at_the_end_that_were_filled_up_are_no_tokens(kind: int, shift: int, tmp_path: Path) -> None:
    pieces = [*HI, *(f"[PAD{place + shift}]" for place in (260, 261, 262))]
    words = tokens_of(tmp_path, pieces, types=[*HI_TYPES, kind, kind, kind], model="gpt2", pre="gpt-2", merges=["h i"])
    assert words.ids.tolist() == list(range(260))
    assert list(open_model(tmp_path / "t.gguf").padding_rows()) == [260, 261, 262]


def test_gemma4_merges_whole_lines(tmp_path: Path) -> None:
    pieces = ["<pad>", "<bos>", "▁", "a", "b", "▁a", "a▁a", "\n", "\n\n", "<0xC3>", "<0xA9>"]
    types = [3, 3, *([1] * 7), 6, 6]
    merges = ["▁ a", "a ▁a"]
    words = tokens_of(tmp_path, pieces, types=types, model="gemma4", merges=merges, bos_token_id=1, add_bos_token=False)
    assert ids_of(words, "a a") == [6]
    assert ids_of(words, "b\n\nb\n") == [4, 8, 4, 7]
    assert ids_of(words, "é", special=True) == [1, 9, 10]
    assert words.find_piece("▁a").text == " a"


def test_whitespace_is_dropped_by_the_kind_of_that_name(tmp_path: Path) -> None:
    pieces = ["a", "b", "ab", "中", "A"]
    merged: dict[str, Any] = {"model": "whitespace", "pre": "whitespace", "merges": ["a b"]}
    assert ids_of(tokens_of(tmp_path, pieces, **merged), "ab a\n中A?") == [2, 0, 3, 4]
    lowered = tokens_of(tmp_path, pieces, normalizer__lowercase=True, **merged)
    assert ids_of(lowered, "AB A") == [2, 0]


def test_rwkvs_pieces_are_cut_longest_first(tmp_path: Path) -> None:
    pieces = ["<s>", "a", " ", "ab", "\\n", "\\xe6\\x97", "日", "\\\\"]
    words = tokens_of(tmp_path, pieces, types=[3, *([1] * 7)], model="rwkv")
    assert ids_of(words, "aba \n日\\") == [3, 1, 2, 4, 6, 7]
    assert words.find_bytes(b"\xe6\x97").id == 5
    with pytest.raises(NoVocabulary, match="rwkv"):
        words.encode("z")


def test_tokens_of_kinds_that_are_not_split_have_their_bytes(tmp_path: Path) -> None:
    pieces = ["<|plamo:unk|>", "<0x0A>", "▁a", "あ"]
    plamo = tokens_of(tmp_path, pieces, types=[2, 6, 1, 1], model="plamo2")
    assert [token.bytes for token in plamo] == [b"<|plamo:unk|>", b"\n", "▁a".encode(), "あ".encode()]
    dna = tokens_of(tmp_path, ["Ġthe", "<oov>", "ACGTAC\ue000"], types=[1, 3, 1], model="hybriddna")
    assert [token.text for token in dna] == [" the", "<oov>", "ACGTAC"]


def test_kinds_whose_text_cannot_be_split_are_listed(run: Program, tmp_path: Path) -> None:
    for kind in ("plamo2", "hybriddna"):
        words = tokens_of(tmp_path, ["a", "b"], model=kind)
        assert words.find("a").id == 0
        with pytest.raises(NoVocabulary, match=kind):
            words.encode("ab")
        answer = run("vocab", "-m", tmp_path / "t.gguf", "a", "--json").ok()
        assert [(token["id"], token["category"]) for token in answer.document["tokens"]] == [(0, None)]
        assert kind in answer.of("note")[-1]
    model = tmp_path / "t.gguf"
    counted = run("vocab", "-m", model, "--counts", "--json").ok().document["counts"]
    assert {record["category"]: record["tokens"] for record in counted} | {"open": 2, "all": 2, "normal": 0} == {
        record["category"]: record["tokens"] for record in counted
    }
    assert run("undertrained", "-m", model, "--percent", "100", "--json").ok().document["tokens"][0]["category"] is None
    for form in ("npy", "csv", "projector"):
        run("export", model, "-f", form, "-o", tmp_path / f"e.{form}").ok()


CUT = {
    "superbpe": ["It's ", "12", "345", " héllo WORLDwide  \n\n x=y+", "1"],
    "viking": ["It's", " ", "1", "2", "3", "4", "5", " héllo"],
    "bloom": ["It's", " 12345", " héllo", " WORLDwide", "  \n\n", " x=y+1;"],
    "kimi-k2": ["It's", " ", "123", "45", " héllo", " WORLDwide", "  \n\n", " x", "=y", "+", "1", ";", " ", "日本語"],
    "deepseek-llm": ["It", "'", "s", " ", "12345", " h", "é", "llo", " WORLDwide"],
    "afmoe": ["It", "'s", " ", "12", "345", " héllo"],
    "seed-coder": ["It", "'s", " ", "1", "2"],
    "laguna": ["It", "'s", " ", "1", "2", "3", "4", "5", " héllo", " WORLDwide", "  ", "\n\n"],
    "default": ["It", "'", "s", " ", "123", "45", " héllo"],
}


@pytest.mark.parametrize("name", CUT)
def test_text_is_cut_as_newer_names_say(name: str) -> None:
    steps = [pre_tokenizers.Split(Regex(cut), "isolated") for cut in {**CUTS, **LONG_CUTS}[name]]
    words = [word for word, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(SAMPLE)]
    assert words[: len(CUT[name])] == CUT[name]


# --- ids that llama.cpp's own library gives

WRITTEN = [f"<0x{byte:02X}>" for byte in range(256)]


def scored(
    folder: Path, pieces: list[str], scores: list[float], types: list[int] | None = None, **keys: Any
) -> Vocabulary:
    """Read a file of scored pieces, behind which come an unknown token and all bytes."""
    return tokens_of(
        folder,
        [*pieces, "<unk>", *WRITTEN],
        types=[*(types or [1] * len(pieces)), 2, *([6] * 256)],
        scores=[*scores, *([0.0] * 257)],
        model="llama",
        unknown_token_id=len(pieces),
        **keys,
    )


def test_runs_of_spaces_grow_from_the_left(tmp_path: Path) -> None:
    """Gemma's have all the same score; they were joined two by two."""
    pieces = ["▁", "x", "▁x", *("▁" * length for length in range(2, 32))]
    scores = [-5.0, -6.0, -1.0, *([-1000.0] * 30)]
    words = scored(tmp_path, pieces, scores, [1, 1, 1, *([4] * 30)], add_space_prefix=False)
    assert ids_of(words, " " * 40) == [32, 10]
    assert ids_of(words, " " * 70 + "x") == [32, 32, 8, 2]


def test_of_pieces_with_one_score_the_leftmost_is_merged_first(tmp_path: Path) -> None:
    pieces, scores = ["a", "b", "c", "d", "bc", "ab", "cd", "▁"], [-1.0, -2.0, -3.0, -4.0, 0.0, 0.0, 0.0, -5.0]
    words = scored(tmp_path, pieces, scores)
    for text, expected in {
        "abcd": [7, 5, 6],
        "bcd": [7, 4, 3],
        "dabc abc": [7, 3, 5, 2, 7, 5, 2],
        "é<unk>ab": [7, 204, 178, 8, 7, 5],
        "aé": [7, 0, 204, 178],
        "": [],
    }.items():
        assert ids_of(words, text) == expected
    assert words.encode_each(["abcd", "", "bcd"]) == [[7, 5, 6], [], [7, 4, 3]]


@pytest.mark.slow
def test_a_long_text_is_merged_in_bounded_time(tmp_path: Path) -> None:
    words = scored(tmp_path, ["a", "b", "c", "bc", "ab", "▁"], [-1.0, -2.0, -3.0, 0.0, 0.0, -5.0])
    assert len(ids_of(words, "abc" * 100_000)) == 200_001


def test_what_joins_to_a_piece_need_not_be_one(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"add_space_prefix": False, "bos_token_id": 4}
    words = scored(tmp_path, ["a", "ab", "abc", "▁", "<s>"], [-1.0, -2.0, -3.0, -4.0, 0.0], [1, 1, 1, 1, 3], **keys)
    assert ids_of(words, "abc") == [2]
    assert ids_of(words, "ab c") == [1, 3, 6 + ord("c")]
    assert ids_of(words, "<s>abcab", special=True) == [4, 4, 2, 1]


@pytest.mark.parametrize(("name", "expected"), [("Phi-3 mini", [4, 1]), ("other", [4, 3, 3, 3, 1])])
def test_a_token_takes_spaces_however_pieces_are_merged(name: str, expected: list[int], tmp_path: Path) -> None:
    pieces, types = ["a", "ab", "cd", "▁", "<|end|>"], [1, 1, 1, 1, 4]
    words = scored(tmp_path, pieces, [0.0] * 5, types, add_space_prefix=False, general_name=name)
    assert ids_of(words, "<|end|>   ab") == expected


def test_of_two_places_of_a_merge_the_first_counts(tmp_path: Path) -> None:
    pieces = [*BYTES, "ab", "bc"]
    words = tokens_of(tmp_path, pieces, model="gpt2", pre="gpt-2", merges=["a b", "b c", "a b"])
    assert ids_of(words, "abc") == [256, BYTES.index("c")]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"add_space_prefix": True},
            {"a b": [3, 8], " a": [3, 6], "   ": [9], "  a   b ": [3, 3, 6, 3, 3, 7, 3], "ab aab": [10, 3, 6, 10]},
        ),
        ({}, {"a b": [8], " a": [6], "   ": [9], "  a   b ": [3, 6, 3, 3, 7, 3], "ab aab": [10, 6, 10]}),
        (
            {"remove_extra_whitespaces": True},
            {"a b": [3, 8], " a": [6], "   ": [], "  a   b ": [3, 8], "ab aab": [10, 6, 10]},
        ),
    ],
)
def test_a_piece_may_have_spaces_inside(keys: dict[str, bool], expected: dict[str, list[int]], tmp_path: Path) -> None:
    pieces = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "▁b", "a▁b", "▁▁▁", "ab"]
    words = tokens_of(
        tmp_path,
        pieces,
        types=[3, 3, 2, *([1] * 7), 4],
        scores=[0.0, 0.0, 0.0, -3.0, -4.0, -5.0, -3.5, -4.0, -2.0, -6.0, -30.0],
        model="t5",
        **keys,
    )
    assert {text: ids_of(words, text) for text in expected} == expected


def test_a_word_that_was_added_to_berts_is_one(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁ab", "▁a", "b", "▁abb", "▁c"]
    words = tokens_of(tmp_path, pieces, types=[3, 3, 3, 3, 1, 1, 1, 4, 4], model="bert", unknown_token_id=1)
    assert ids_of(words, "abb ab") == [7, 4]
    assert ids_of(words, "C abbb") == [8, 7, 6]
    assert ids_of(words, "ABB c") == [7, 8]
    assert words.find("abb").piece == "abb"
