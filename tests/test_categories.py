"""What kind each token is, and `embtool vocab`, which searches by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from program import Program
from small_models import BERT_WORDS, END_OF_TEXT, PADDING, config, texts, tokenizer_json, write_json

from embtool.model import open_model
from embtool.tables.categories import Categorizer, Category, is_byte, never_in_text, padding_ids
from embtool.vocabulary import Token, Vocabulary


def categories(vocabulary: Vocabulary) -> dict[str, Category | None]:
    tokens = list(vocabulary)
    return {token.piece: category for token, category in zip(tokens, Categorizer(vocabulary).each(tokens), strict=True)}


def test_kinds_of_a_byte_level_vocabulary(small: Path) -> None:
    found = categories(open_model(small).vocabulary)
    assert found["Ġking"] is Category.NORMAL
    assert found[END_OF_TEXT] is Category.SPECIAL
    assert found["Ã"] is Category.BYTE
    assert found["a"] is Category.NORMAL
    assert sum(category is Category.BYTE for category in found.values()) == 128
    # Every beginning of a word is a token that a text can end with.
    assert Category.UNREACHABLE not in found.values()


def test_a_token_that_no_merge_makes_is_unreachable(tmp_path: Path) -> None:
    tokenizer = tokenizer_json({END_OF_TEXT: True, "<tool>": False})
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Ġunheard"] = len(vocabulary)
    vocabulary["ÃĥÃ"] = len(vocabulary)
    write_json(tmp_path / "tokenizer.json", tokenizer)
    found = categories(open_model(tmp_path).vocabulary)
    assert found["Ġunheard"] is Category.UNREACHABLE
    assert found["ÃĥÃ"] is Category.PARTIAL
    assert found["<tool>"] is Category.ADDED


def test_pieces_inside_a_word_are_reached_after_a_letter(models: Path) -> None:
    found = categories(open_model(models / "bert").vocabulary)
    assert found["##s"] is Category.NORMAL
    assert found["king"] is Category.NORMAL
    assert found["[CLS]"] is Category.SPECIAL
    assert set(found) == set(BERT_WORDS)


def sentencepiece() -> dict[str, Any]:
    """Describe a tokenizer in SentencePiece's spelling with a byte as a fallback."""
    pieces = ["<unk>", "<0x41>", "<0xFF>", "▁a", "b", "▁", "a", "«"]
    return {
        "added_tokens": [],
        "normalizer": {"type": "Prepend", "prepend": "▁"},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}]},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "vocab": {piece: identity for identity, piece in enumerate(pieces)},
            "merges": [["▁", "a"]],
            "byte_fallback": True,
        },
    }


def test_a_prefix_that_the_tokenizer_puts_before_a_text_hides_no_token(tmp_path: Path) -> None:
    write_json(tmp_path / "tokenizer.json", sentencepiece())
    vocabulary = open_model(tmp_path).vocabulary
    found = categories(vocabulary)
    assert found["<0x41>"] is found["<0xFF>"] is Category.BYTE
    assert found["b"] is Category.NORMAL
    bytes_never = [token.piece for token in vocabulary if never_in_text(token)]
    assert bytes_never == ["<0xFF>"]


def test_bytes_that_utf8_never_uses() -> None:
    never = [byte for byte in range(256) if never_in_text(Token(byte, "x", "x", bytes([byte])))]
    assert len(never) == 13
    for byte in range(256):
        anywhere = any(bytes([byte]) in chr(code).encode() for code in (*range(0x900), 0xFFFF, 0x10FFFF, 0x40000))
        assert not (anywhere and byte in never)
    assert not is_byte(Token(0, "a", "a", b"a"))


def test_padding_is_what_no_token_has(small: Path) -> None:
    rows = len(texts()) + PADDING
    assert padding_ids(open_model(small).vocabulary, rows) == list(range(len(texts()), rows))


def test_vocab_searches_text_pieces_and_ids(run: Program) -> None:
    document = run("vocab", "^ king$", "-m", "small/", "--json").ok().document
    assert document["schema"] == "embtool/vocab@1"
    assert [token["piece"] for token in document["tokens"]] == ["Ġking"]
    assert document["tokens"][0]["category"] == "normal"
    assert run("vocab", "--piece", "^Ġking$", "-m", "small/", "--json").ok().document == document
    assert run("vocab", "-i", "^ KING$", "-m", "small/", "--json").ok().document == document
    ids = [int(cells[0]) for cells in run("vocab", "--id", "3..5", "-m", "small/").ok().cells[1:]]
    assert ids == [3, 4, 5]


def test_vocab_lists_everything_in_a_pipe_and_a_page_on_a_terminal(run: Program) -> None:
    everything = run("vocab", "-m", "small/").ok().cells
    assert len(everything) == 1 + len(texts()) + PADDING
    assert everything[-1] == [str(len(texts()) + PADDING - 1), "", "", "", "padding"]
    page = run("vocab", "-m", "small/", "-f", "table").ok().text
    assert f"{len(texts()) + PADDING - 50} more" in page
    assert len(run("vocab", "-m", "small/", "-k", "7", "--jsonl").ok().records) == 7


def test_vocab_counts_by_category(run: Program) -> None:
    document = run("vocab", "--counts", "-m", "small/", "--json").ok().document
    counts = {record["category"]: record["tokens"] for record in document["counts"]}
    assert counts == {
        "normal": len(texts()) - 129,
        "byte": 128,
        "partial": 0,
        "special": 1,
        "added": 0,
        "unreachable": 0,
        "padding": PADDING,
        "all": len(texts()) + PADDING,
    }


def test_vocab_by_category(run: Program) -> None:
    def pieces(*arguments: str) -> list[str]:
        return [token["piece"] for token in run("vocab", *arguments, "-m", "small/", "--json").ok().document["tokens"]]

    assert pieces("--category", "special") == [END_OF_TEXT]
    assert len(pieces("--category", "byte")) == 128
    assert pieces("--category", "padding") == [None] * PADDING
    assert pieces("king$", "--category", "normal", "--category", "special") == ["Ġking", "king"]
    assert pieces("--variants", "king") == ["Ġking", "king"]


def test_duplicates_stand_side_by_side(run: Program, tmp_path: Path) -> None:
    tokenizer = tokenizer_json({" king": False})
    write_json(tmp_path / "tokenizer.json", tokenizer)
    found = run("vocab", "--duplicates", "-m", tmp_path, "--json").ok().document["tokens"]
    assert [token["piece"] for token in found] == ["Ġking", " king"]
    assert "nothing matches" in run("vocab", "--duplicates", "-m", "small/", "-f", "table").ok().text


def test_a_model_without_weights_has_a_vocabulary(run: Program) -> None:
    found = run("vocab", "-m", "only-tokenizer/", "--counts", "--json").ok().document["counts"]
    assert found[-1] == {"category": "all", "tokens": len(texts()), "meaning": ""}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("[",), 2, "not a regular expression"),
        (("--id", "x"), 3, "not a token id"),
        (("--category", "nonsense"), 2, "nonsense"),
        (("--variants", "no such token"), 3, "tokens"),
        (("-m", "only-config/", "a"), 2, "one model"),
    ],
)
def test_vocab_refuses(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("vocab", *arguments, "-m", "small/").refused(status, words)


def test_a_model_without_a_tokenizer_has_no_vocabulary(run: Program) -> None:
    run("vocab", "-m", "only-config/").refused(3, "no tokenizer")


def test_hostile_pieces_are_escaped(run: Program, tmp_path: Path) -> None:
    tokenizer = tokenizer_json({"\x1b[31m\u202e[bold]": True})
    write_json(tmp_path / "tokenizer.json", tokenizer)
    write_json(tmp_path / "config.json", config())
    shown = run("vocab", "bold", "-m", tmp_path, "-f", "table").ok()
    assert "\\x1b[31m\\u202e[bold]" in shown.text
    assert b"\x1b" not in shown.out
    record = json.loads(run("vocab", "bold", "-m", tmp_path, "--jsonl").ok().out)
    assert record["piece"] == "\x1b[31m\u202e[bold]"
