"""Vocabularies that are not tokenizer.json: SentencePiece's and tiktoken's files, against those libraries."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from small_models import byte_characters, pieces, write_json, write_model
from sources import Memory

from embtool.errors import EmbtoolError, FormatError, MissingExtra, NoVocabulary, UnknownToken
from embtool.vocabulary import Vocabulary, read_vocabulary
from embtool.vocabulary.ranks import FLAVOURS, Flavour, looks_like_ranks, parse_ranks

TEXTS = ("the cat sat", " two  spaces", "naïve 12345!", "日本語 🍓", "")
LINES = ["the cat sat on the mat", "a king and a queen", "strawberry and raspberry", "the man, the woman"] * 20


# --- SentencePiece


def library() -> Any:
    """Give the sentencepiece library, or skip."""
    return pytest.importorskip("sentencepiece", reason="this file is sentencepiece's: pip install sentencepiece")


def trained(kind: str) -> bytes:
    """Train a small SentencePiece model."""
    spm = library()
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=written,
        vocab_size=300 if kind == "bpe" else 60,
        model_type=kind,
        byte_fallback=kind == "bpe",
        hard_vocab_limit=False,
        user_defined_symbols=["<sep>"],
        minloglevel=2,
    )
    return written.getvalue()


@pytest.mark.parametrize("file", ["tokenizer.model", "spiece.model"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_says_the_same(kind: str, file: str) -> None:
    data = trained(kind)
    own = library().SentencePieceProcessor(model_proto=data)
    vocabulary = read_vocabulary(Memory({file: data}))
    assert vocabulary.file == f"{file}, sentencepiece"
    assert len(vocabulary) == own.get_piece_size()
    assert [token.piece for token in vocabulary] == [own.id_to_piece(place) for place in range(len(vocabulary))]
    for text in TEXTS:
        assert [token.id for token in vocabulary.encode(text)] == own.encode(text), text
        assert [token.id for token in vocabulary.encode(text, special=True)][:1] == [own.bos_id()]
    assert vocabulary.encode_each(TEXTS) == [own.encode(text) for text in TEXTS]
    assert vocabulary.unknown == own.unk_id() == 0
    assert vocabulary.special_ids.tolist() == [1, 2]
    for token in vocabulary:
        assert vocabulary.find_piece(token.piece).id == token.id
    if kind == "bpe":
        assert vocabulary.find("the").piece == "▁the"


def test_tokens_that_a_model_added_are_tokens() -> None:
    data = trained("bpe")
    count = len(read_vocabulary(Memory({"tokenizer.model": data})))
    added = {str(count): {"content": "<|im_start|>", "special": True}, str(count + 1): {"content": "<fim>"}}
    config = json.dumps({"added_tokens_decoder": added}).encode()
    vocabulary = read_vocabulary(Memory({"tokenizer.model": data, "tokenizer_config.json": config}))
    assert len(vocabulary) == count + 2
    assert vocabulary.find("<fim>").id == count + 1
    ids = [token.id for token in vocabulary.encode("<|im_start|>the cat<fim>")]
    assert (ids[0], ids[-1]) == (count, count + 1)


def test_the_program_opens_a_model_with_only_a_sentencepiece_file(run: Program, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", tokenizer={})
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(trained("bpe"))
    words = run("info", folder, "--json").ok().document["vocabulary"]
    assert words["file"] == "tokenizer.model, sentencepiece"
    (row,) = run("row", "-m", folder, "the", "--json").ok().document["rows"]
    assert row["piece"] == "▁the"


def test_no_sentencepiece_model_is_refused(run: Program, tmp_path: Path) -> None:
    library()
    for data, told in ((b"", "is empty"), (b"\x0a\xff", "SentencePiece"), (b"nothing of the kind", "SentencePiece")):
        folder = tmp_path / f"m{data.hex()}"
        folder.mkdir()
        (folder / "tokenizer.model").write_bytes(data)
        run("tokens", "-m", folder, "x").refused(6, "tokenizer.model", told)


def test_without_its_library_the_way_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtra, match="needs sentencepiece") as caught:
        read_vocabulary(Memory({"tokenizer.model": b"\x0a\x0a"}))
    assert "pip install 'embtool[tokenizers]'" in str(caught.value.hint)


def test_info_names_the_library_that_is_missing(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    folder = write_model(tmp_path / "m", tokenizer={})
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0a")
    answer = run("info", folder, "--json").ok()
    assert "pip install 'embtool[tokenizers]'" in answer.of("note")[-1]
    assert answer.document["vocabulary"]["tokens"] is None


# --- tiktoken


def ranks() -> dict[bytes, int]:
    """Rank the bytes and the merged pieces of the small tokenizer."""
    byte = {character: place for place, character in byte_characters().items()}
    return {bytes(byte[character] for character in piece): place for place, piece in enumerate(pieces())}


def lines(table: Mapping[bytes, int]) -> bytes:
    """Write tiktoken's lines."""
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in table.items())


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Flavour:
    """Let the small file be a known one, with two special tokens after a gap."""
    flavour = Flavour(FLAVOURS[100_256].cut, ("", "<|endoftext|>", "<|fim|>"))
    monkeypatch.setattr("embtool.vocabulary.ranks.FLAVOURS", {len(ranks()): flavour})
    return flavour


def small(data: bytes | None = None, file: str = "x.tiktoken") -> Vocabulary:
    """Read the small file."""
    return read_vocabulary(Memory({file: lines(ranks()) if data is None else data}))


@pytest.mark.parametrize("file", ["qwen.tiktoken", "tokenizer.model", "tiktoken.model"])
def test_tiktoken_says_the_same(known: Flavour, file: str) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken splits this text: pip install tiktoken")
    count = len(ranks())
    special = {"<|endoftext|>": count + 1, "<|fim|>": count + 2}
    own = tiktoken.Encoding("own", pat_str=known.cut, mergeable_ranks=ranks(), special_tokens=special)
    vocabulary = small(file=file)
    assert vocabulary.file == f"{file}, tiktoken"
    assert len(vocabulary) == count + 2
    for rank in range(count):
        token = vocabulary.token(rank)
        assert token is not None
        assert token.bytes == own.decode_single_token_bytes(rank)
    for text in (*TEXTS, " strawberry king", "<|endoftext|>a"):
        assert [token.id for token in vocabulary.encode(text)] == own.encode(text, allowed_special="all"), text
    assert vocabulary.encode_each(TEXTS) == [own.encode(text) for text in TEXTS]
    assert vocabulary.token(count) is None
    assert vocabulary.special_ids.tolist() == [count + 1, count + 2]


def test_a_token_is_found_without_the_library(monkeypatch: pytest.MonkeyPatch, known: Flavour) -> None:
    del known
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    vocabulary = small()
    assert vocabulary.find("strawberry").text == " strawberry"
    assert vocabulary.find_piece("Ġking").bytes == b" king"
    with pytest.raises(MissingExtra, match="needs tiktoken") as caught:
        vocabulary.encode("two words")
    assert "uv tool install --with tiktoken embtool" in str(caught.value.hint)


def test_how_an_unknown_file_cuts_text_is_not_guessed() -> None:
    vocabulary = small()
    assert vocabulary.find("king").bytes == b" king"
    with pytest.raises(NoVocabulary, match="does not say how text is cut"):
        vocabulary.encode("two words")


def test_special_tokens_are_those_that_the_model_names(known: Flavour) -> None:
    del known
    added = json.dumps({"added_tokens_decoder": {"9000": {"content": "<far>", "special": True}}}).encode()
    vocabulary = read_vocabulary(Memory({"x.tiktoken": lines(ranks()), "tokenizer_config.json": added}))
    assert vocabulary.find("<far>").id == 9000
    with pytest.raises(UnknownToken):
        vocabulary.find_bytes(b"<|endoftext|>")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"YQ== 0\nYg==\n", "line 2"),
        (b"YQ== 0\n!!!! 1\n", "line 2"),
        (b"YQ== 0\nYQ== 1\n", "line 2"),
        (b"YQ== 0\nYg== -1\n", "line 2"),
        (b"YQ== 0\nYg== 99999999999999\n", "line 2"),
        (b"YQ== 0\nYg== 0\n", "one rank for two"),
        (b"\n\n", "no tokens"),
    ],
)
def test_broken_lines_are_refused(data: bytes, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        parse_ranks(data, "x.tiktoken")


def test_lines_are_told_from_a_protocol_buffer() -> None:
    assert looks_like_ranks(lines(ranks()))
    for other in (b"", b"\x0a\x0e\x0a\x05<unk>", b"# comment", b"YQ==", b"a b"):
        assert not looks_like_ranks(other)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_vocabulary_or_refused(data: bytes) -> None:
    try:
        len(read_vocabulary(Memory({"x.tiktoken": b"YQ== 0\n" + data})))
    except EmbtoolError:
        return


def test_gpt2_cuts_text_as_tiktoken_does() -> None:
    public = pytest.importorskip("tiktoken_ext.openai_public", reason="tiktoken names its own expressions")
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken cuts this text")
    cuts = [
        tiktoken.Encoding("x", pat_str=cut, mergeable_ranks=ranks(), special_tokens={})
        for cut in (public.r50k_pat_str, FLAVOURS[50_256].cut)
    ]
    for text in (*TEXTS, "it's we'll  x \n\n y  ", "a1b22 c333  "):
        one, other = (cut.encode(text) for cut in cuts)
        assert one == other


def test_config_beside_it_is_checked(tmp_path: Path) -> None:
    broken: tuple[Any, ...] = ([], {"1": {}}, {"1": "x"})
    for added in broken:
        config: dict[str, Any] = {"added_tokens_decoder": added}
        write_json(tmp_path / "c.json", config)
        with pytest.raises(FormatError, match="tokenizer_config"):
            read_vocabulary(
                Memory({"x.tiktoken": lines(ranks()), "tokenizer_config.json": (tmp_path / "c.json").read_bytes()})
            )
