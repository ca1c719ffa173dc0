"""A bare word is the word as it stands inside a sentence, in every kind of vocabulary; the judge is tokenizers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from sources import Memory
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import embtool
from embtool.vocabulary import Vocabulary, read_vocabulary

REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere"))

WORDS = (Path(__file__).parent / "everyday.txt").read_text().split()
"""Everyday English words, each of which is one token with a space, or as a whole word, in all these vocabularies."""

END, UNKNOWN = "<|endoftext|>", "[UNK]"

CLIP_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def clip() -> Tokenizer:
    """Build CLIP's tokenizer from its merges, as transformers' converter does: the marks of words' ends are kept."""
    lines = (REAL / "files" / "clip_vocab.bpe").read_text("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), END]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: place for place, piece in enumerate(pieces)},
            merges,
            end_of_word_suffix="</w>",
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def bert() -> Tokenizer:
    """Build BERT's tokenizer from its vocabulary."""
    lines = (REAL / "tokenizers" / "bert-base-cased" / "vocab.txt").read_text("utf-8").split("\n")
    tokenizer = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(lines)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(UNKNOWN, special=True)])
    return tokenizer


@cache
def judged(name: str) -> Tokenizer:
    """Return the library's own tokenizer."""
    if name == "mini":
        return Tokenizer.from_file(str(files("embtool") / "bundled" / "mini" / "tokenizer.json"))
    if not REAL.is_dir():
        pytest.skip("the tokenizers of published models are not part of the project: EMBTOOL_TEST_REAL")
    if name in ("clip", "bert-base-cased"):
        return clip() if name == "clip" else bert()
    return Tokenizer.from_file(str(REAL / "tokenizers" / name / "tokenizer.json"))


@cache
def asked(name: str) -> Vocabulary:
    """Return embtool's vocabulary of the same."""
    if name == "mini":
        return embtool.open_model("mini").vocabulary
    return read_vocabulary(Memory({"tokenizer.json": judged(name).to_str().encode()}))


def in_a_sentence(tokenizer: Tokenizer, word: str) -> list[int]:
    """Return the ids of a word inside a sentence, by the places of its letters."""
    before = "We said that "
    encoded = tokenizer.encode(f"{before}{word} and this", add_special_tokens=False)
    inside = range(len(before), len(before) + len(word))
    return [
        identity
        for identity, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True)
        if start < inside.stop and stop > inside.start and stop > start
    ]


@pytest.mark.parametrize("name", ["gpt2", "mini", "qwen3", "llama2", "clip", "bert-base-cased"])
@pytest.mark.few(1)
def test_a_bare_word_is_the_word_inside_a_sentence(name: str) -> None:
    tokenizer, vocabulary = judged(name), asked(name)
    assert len(WORDS) == len(set(WORDS)) == 300
    for word in WORDS:
        found = vocabulary.find(word)
        assert [found.id] == in_a_sentence(tokenizer, word), word
        assert vocabulary.is_word(found)


def test_marks_of_the_end_are_read() -> None:
    judged("clip")
    vocabulary = asked("clip")
    assert (vocabulary.find("cat").piece, vocabulary.find("cat", exact=True).piece) == ("cat</w>", "cat")
    assert (vocabulary.find("cat").text, vocabulary.find("cat").bytes) == ("cat ", b"cat ")
    assert vocabulary.find("cat ").piece == vocabulary.find_piece("cat</w>").piece == "cat</w>"
    assert not vocabulary.is_word(vocabulary.find_piece("cat"))
    assert vocabulary.is_word(vocabulary.find_piece("cat</w>"))
    assert not vocabulary.is_word(vocabulary.find_piece("!</w>"))
