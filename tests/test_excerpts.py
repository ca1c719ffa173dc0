"""A tokenizer cut down to what a text needs gives the ids of the whole one, which the tokenizers library gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources import Memory
from tokenizers import Tokenizer

from embtool.storage.cache import cache_root, refusal
from embtool.storage.kept import named_sum
from embtool.storage.source import Folder
from embtool.vocabulary import Vocabulary, read_vocabulary
from embtool.vocabulary.cuts import LLAMA3
from embtool.vocabulary.excerpts import _filled

ROOT = Path(__file__).parent.parent
REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere")) / "tokenizers"
MINI = (ROOT / "src" / "embtool" / "bundled" / "mini" / "tokenizer.json").read_bytes()
STATE: dict[str, Any] = json.loads(MINI)

LINES = [line for page in ("README.md", "docs/tutorial.md") for line in (ROOT / page).read_text().splitlines() if line]
ODD = (
    "",
    " ",
    "  def f(x):\n\treturn x\r\n",
    "naïve café, 東京 🍓 \u200d\ufeff e\u0301 Å ﬁ ①",
    "1234567890 3.14 can't WON'T",
    "</s> <0x0A> ▁ Ġ \x00 \x7f",
    "привет, мир! שלום مرحبا 한국어 日本語のテキスト",
    "a" * 300,
    "\ud800 lone",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("embtool.vocabulary.files.SLOW_BYTES", 0)


def read(state: dict[str, Any]) -> Vocabulary:
    return read_vocabulary(Memory({"tokenizer.json": json.dumps(state).encode()}))


def kept(again: Callable[[], Vocabulary]) -> Vocabulary:
    """Load a tokenizer whole, so that its pieces and merges are kept, and read it anew."""
    again().encode("king")
    return again()


def is_whole(words: Vocabulary) -> bool:
    return "_whole" in vars(words._tokenizer)


def ids(words: Vocabulary, text: str) -> list[int]:
    return [token.id for token in words.encode(text)]


@pytest.mark.skipif(not REAL.is_dir(), reason="published tokenizers are not part of the project: EMBTOOL_TEST_REAL")
@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        pytest.param("falcon", marks=pytest.mark.slow),
        pytest.param("qwen3", marks=pytest.mark.slow),
        pytest.param("llama2", marks=pytest.mark.slow),
    ],
)
def test_a_published_tokenizer_is_cut_down(name: str) -> None:
    library = Tokenizer.from_file(str(REAL / name / "tokenizer.json"))
    words = kept(lambda: read_vocabulary(Folder(REAL / name)))
    added = [token.content for token in library.get_added_tokens_decoder().values()]
    texts = [*LINES, *ODD[:-1], "\n".join(LINES[:20])]
    for text in (text for text in texts if not any(content in text for content in added)):
        assert ids(words, text) == library.encode(text, add_special_tokens=False).ids, text
    assert is_whole(words) == (name == "llama2"), "which spells a tab by its byte"
    words = read_vocabulary(Folder(REAL / name))
    text = f"a {added[0]} b"
    assert ids(words, text) == library.encode(text, add_special_tokens=False).ids
    assert is_whole(words), "an added token is in the text"


@pytest.mark.parametrize("name", ["t5-small"])
@pytest.mark.skipif(not REAL.is_dir(), reason="published tokenizers are not part of the project: EMBTOOL_TEST_REAL")
@pytest.mark.slow
def test_one_that_cannot_be_cut_is_loaded_whole_and_looked_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Tokenizer.from_file(str(REAL / name / "tokenizer.json"))
    words = kept(lambda: read_vocabulary(Folder(REAL / name)))
    monkeypatch.setattr("embtool.vocabulary.excerpts.keep_excerpts", lambda *_, **__: pytest.fail("looked at again"))
    for text in ODD[:4]:
        assert ids(words, text) == library.encode(text, add_special_tokens=False).ids
    assert is_whole(words)


def variants() -> dict[str, dict[str, Any]]:
    cuts = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
    bytes_after = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    removed = {"type": "Split", "pattern": {"String": "in"}, "behavior": "Removed", "invert": False}
    model, pieces = STATE["model"], {f"<0x{byte:02X}>": 60_000 + byte for byte in range(256)}
    spaces = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    ended = {piece: at for at, piece in enumerate(["a", "b", "c", "a</w>", "b</w>", "ab", "ab</w>", "abab</w>", "?"])}
    merges = [["a", "b"], ["a", "b</w>"], ["ab", "ab</w>"]]
    return {
        "as it is": {},
        "NFC": {"normalizer": {"type": "NFC"}},
        "lower case": {"normalizer": {"type": "Lowercase"}},
        "whole words first": {"model": {**model, "ignore_merges": True}},
        "cut otherwise": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [cuts, bytes_after]}},
        "something left out": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [removed, bytes_after]}},
        "a space before": {"pre_tokenizer": {**bytes_after, "add_prefix_space": True, "use_regex": True}},
        "an unknown token": {"model": {**model, "unk_token": "!"}, "pre_tokenizer": None},
        "bytes for what has no piece": {
            "normalizer": {"type": "Sequence", "normalizers": spaces},
            "pre_tokenizer": None,
            "model": {**model, "vocab": {**model["vocab"], "▁": 70_000, **pieces}, "byte_fallback": True},
        },
        "words with an end": {
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "model": {**model, "vocab": ended, "merges": merges, "end_of_word_suffix": "</w>", "unk_token": "?"},
        },
    }


@pytest.mark.few(4)
@pytest.mark.parametrize("name", variants())
def test_every_text_has_the_ids_of_the_whole(name: str) -> None:
    state = {**STATE, **variants()[name]}
    library = Tokenizer.from_str(json.dumps(state))
    words = kept(lambda: read(state))

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.text(max_size=60) | st.lists(st.sampled_from(LINES), max_size=3).map(" ".join) | st.text("ab ", max_size=30)
    )
    def check(text: str) -> None:
        if any(token["content"] in text for token in state["added_tokens"]) or any(
            "\ud800" <= c <= "\udfff" for c in text
        ):
            return
        assert ids(words, text) == library.encode(text, add_special_tokens=False).ids

    check()
    words = read(state)
    ordinary = "ab ab" if name == "words with an end" else "king" if name == "an unknown token" else "a king of men"
    assert ids(words, ordinary) == library.encode(ordinary, add_special_tokens=False).ids
    assert not is_whole(words)
    assert ids(words, ODD[-1]) == ids(read(STATE) if name == "as it is" else words, ODD[-1])


def small(model: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Describe a small tokenizer."""
    return {"version": "1.0", "added_tokens": [], **parts, "model": {"type": "BPE", "merges": [], **model}}


def added(content: str, **flags: bool) -> dict[str, Any]:
    """Describe an added token."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 0, "content": content, **plain, **flags}


@pytest.mark.parametrize(
    ("state", "texts"),
    [
        (small({"vocab": {"a": 0, "b": 1, "c": 1, "ab": 2}, "merges": [["a", "b"]]}), ("ac", "ab", "cab")),
        (
            small(
                {"vocab": {"a": 0, "b": 1, " ": 2}},
                normalizer={"type": "Replace", "pattern": {"String": " "}, "content": ""},
                added_tokens=[added(" ", normalized=True, rstrip=True), added("q")],
            ),
            ("a\nb", "ab", "a b"),
        ),
    ],
    ids=["what joins a piece joins the other of the same id", "a token of which nothing is left is found everywhere"],
)
def test_what_no_excerpt_can_show_needs_the_whole(state: dict[str, Any], texts: tuple[str, ...]) -> None:
    library = Tokenizer.from_str(json.dumps(state))
    for text in texts:
        words = kept(lambda: read(state))
        assert ids(words, text) == library.encode(text, add_special_tokens=False).ids
        assert is_whole(words)


def test_steps_that_make_a_text_very_long_are_not_run_here() -> None:
    grows = [
        {"type": "Replace", "pattern": {"String": wanted}, "content": put * 64} for wanted, put in ("ab", "bc", "cd")
    ]
    vocab = {letter: place for place, letter in enumerate("abcdx")}
    for steps in (grows[:1], grows[:2]):
        state = small({"vocab": vocab}, normalizer={"type": "Sequence", "normalizers": steps})
        words = kept(partial(read, state))
        assert len(ids(words, "ax")) == 64 ** len(steps) + 1
        assert is_whole(words) == (len(steps) > 1)


def test_merges_left_out_by_chance_need_the_whole() -> None:
    words = kept(lambda: read({**STATE, "model": {**STATE["model"], "dropout": 0.5}}))
    ids(words, "king in the North")
    assert is_whole(words)


def test_special_tokens_and_long_texts_and_many_need_the_whole() -> None:
    library = Tokenizer.from_str(MINI.decode())
    words = kept(lambda: read(STATE))
    assert [token.id for token in words.encode("king", special=True)] == library.encode("king").ids
    assert is_whole(words)
    long = "".join(map(chr, range(0x4E00, 0x9000)))
    words = kept(lambda: read(STATE))
    assert ids(words, long) == library.encode(long, add_special_tokens=False).ids
    assert is_whole(words)
    words = kept(lambda: read(STATE))
    assert words.encode_each(["king", "queen"]) == [
        found.ids for found in library.encode_batch(["king", "queen"], add_special_tokens=False)
    ]


def test_what_is_kept_and_damaged_is_passed_over() -> None:
    words = kept(lambda: read(STATE))
    expected = ids(words, "the king of the North")
    (path,) = cache_root().rglob("*.merges*.sqlite")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", bytes(len(whole))):
        path.chmod(0o600)
        path.write_bytes(damaged)
        words = read(STATE)
        assert ids(words, "the king of the North") == expected
        assert is_whole(words)


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "[" * 100_000},
        {"state": "3"},
        {"state": "{}"},
        {"state": '{"model": {"type": "WordPiece"}}'},
        {"state": '{"model": {}}', "added": "3"},
        {"longest": "x"},
    ],
)
def test_what_another_hand_kept_is_passed_over(facts: dict[str, Any]) -> None:
    words = kept(lambda: read(STATE))
    expected = ids(words, "the king of the North")
    (path,) = cache_root().rglob("*.merges*.sqlite")
    path.unlink()
    data = _filled({"state": '{"model": {}}', "added": "[]", "longest": "5", **facts})
    path.with_name(f"{path.name.rpartition('-')[0]}-{named_sum(data)}.sqlite").write_bytes(data)
    words = read(STATE)
    assert ids(words, "the king of the North") == expected
    assert is_whole(words)


def test_nothing_is_made_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("embtool.vocabulary.excerpts.keep_excerpts", lambda *_, **__: pytest.fail("made in vain"))
    library = Tokenizer.from_str(MINI.decode())
    assert ids(kept(lambda: read(STATE)), "the king") == library.encode("the king", add_special_tokens=False).ids
    assert "is no folder" in (refusal() or ""), "which the next command of this process would tell"
