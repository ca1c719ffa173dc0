"""Which tokenizers are ordinary: bounded in time and in growth, whatever the text.

The tokenizers library does what a file says, deaf to signals, and where the memory ends it ends the process. A file can
say much: an expression that tries every way to cut a text, a step that makes two characters of one thirty times over, a
template that repeats a text. Such a file is not refused, but run where it can be stopped (`confined`). What is judged
here is read from the file's text, before the library sees it, and without parsing the vocabulary, which is most of it.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from embtool.vocabulary.cuts import ACROSS, AT_SPACES, EXPRESSIONS, HANGUL

LONGEST = 16 << 20
"""Bytes that a text may have after its steps, by the worst that these can do, to be split in this process: some 2 GB in
the library. Published tokenizers, by the same reckoning, make 4 to 130 times of a text, ALBERT's 4,800."""

MOST_GROWTH = 8192
"""How many times its own length a text may become by the worst that ordinary steps can do; ALBERT's can do 4,800."""

MOST_STEPS = 32
"""Steps of each part of a tokenizer. The longest known has ten."""

LONGEST_NAME = 512
"""Characters of an added or unknown token, which the library copies each time that it stands for a short text. The
longest known are runs of 128 spaces."""

MOST_ADDED = 1 << 20
"""Characters of all added tokens; the library builds an automaton of them, with more than a hundred bytes for each."""

LONGEST_AFFIX = 16
"""Characters that are put before or after each piece of a word, such as `##`."""

LONGEST_WORD = 1000
"""Characters of a word that WordPiece tries to cut in every way: time grows with the square. BERT's limit is 100."""

LONGEST_PIECE = 1024
"""Characters of a piece with which Unigram splits any text; the longest known has 128 spaces."""

MAPS = frozenset(
    {
        "0942789e0111452f1cc446f70036e26d24458c3c7858c53cc12ca4d87531279b",
        "1e2c7b43d3ee9755ceaa2ac335e253d8703604e0249ee1e81156c92b46423844",
        "2c03512e62f9ed965ec90d85314211b63b5b8aa0395311ea2147eec9ff738907",
        "51d3684747b35ef99cd4802f37cc1ee0c6bec4d060814f774efb1066d3c167f2",
        "7e46d9e08af4b6a37991b04fb8388644c1595a0abcd0f26d6a5d575e2a3663ea",
        "d8dfef3d6db0eef0742f8b55a73aee7fce6c1e21d26a09b8d3d4b52c42a791cb",
        "ec4a65fa10ad2a465f4f30ac3ee83a4ba4e9f507a4b092e07ff790c1c7c318af",
    }
)
"""SHA-256 of SentencePiece's own maps of characters: nmt_nfkc, nfkc, and both with folded case, of several versions."""

COMPATIBLE = 11
"""Bytes that Unicode's compatible forms make of one, at most: U+FDFA becomes 18 letters."""

PLAIN_STEPS = {
    **dict.fromkeys(("Strip", "StripAccents", "Nmt", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"), 1),
    **dict.fromkeys(("BertPreTokenizer", "UnicodeScripts", "CharDelimiterSplit", "FixedLength"), 1),
    **dict.fromkeys(("ByteFallback", "Fuse", "WordPiece", "BPEDecoder", "CTC"), 1),
    **dict.fromkeys(("NFC", "NFD"), 3),
    **dict.fromkeys(("NFKC", "NFKD"), COMPATIBLE),
    **dict.fromkeys(("BertProcessing", "RobertaProcessing"), 1),
    "Lowercase": 2,
    "BertNormalizer": 6,  # two spaces beside a character, accents cut off, lower case
    "ByteLevel": 4,  # each byte is a character of two, a space may be put before
    "Metaspace": 6,  # a space is three bytes, and three may be put before
}
"""Steps that depend on the text only, and how many bytes each makes of one, at most."""


@dataclass(frozen=True)
class Judgement:
    """What a tokenizer's steps can do to a text.

    Attributes:
        growth: how many bytes they make of one, at most.
        unusual: the step that bars it from this process, if one does.
    """

    growth: int
    unusual: str | None = None


class _UnusualError(Exception):
    """A step that is not known to be harmless."""


def judge(data: bytes) -> Judgement:
    """Judge a tokenizer by the text of its tokenizer.json."""
    try:
        if re.search(rb"\\u00[2-7]", data):
            raise _UnusualError("letters that are written as numbers")  # noqa: TRY301 - one place tells what is unusual
        _check_words(data)
        growth = prod(
            _steps(part, name)
            for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")
            for part in _values(data, name, b"{")
        )
    except _UnusualError as error:
        return Judgement(0, str(error))
    return Judgement(growth, "the growth of a text by all its steps" if growth > MOST_GROWTH else None)


def parts_at_spaces(data: bytes) -> bool:
    """Return whether a tokenizer is known to look at no two words together: not in its steps, nor in added tokens.

    Then a token ends before every space that follows what is no space, and what follows has the tokens that it has by
    itself, with that space. An added token that is a word of its own looks at the letter before it, which is in another
    word if it begins with a space.

    Args:
        data: the text of a tokenizer.json that `judge` finds usual.
    """
    normal, cutters = (
        [step for part in _values(data, name, b"{") for step in _flat(part, name, MOST_STEPS)]
        for name in ("normalizer", "pre_tokenizer")
    )
    seen = next((at + 1 for at, step in enumerate(cutters) if step["type"] == "ByteLevel"), len(cutters))
    return (
        all(step["type"] in LOCAL for step in normal)
        and all(
            (step["type"] in LOCAL_CUTTERS and step.get("behavior", "Isolated") in ("Isolated", "Contiguous"))
            or _is_cut(step, EXPRESSIONS - ACROSS)
            for step in cutters
        )
        and any(step.get("use_regex") or _is_cut(step, AT_SPACES) for step in cutters[:seen])
        and not any(
            token.get("rstrip") or re.search(r"\S ", "x" * bool(token.get("single_word")) + str(token.get("content")))
            for listed in _values(data, "added_tokens", b"[")
            for token in listed
        )
        and not any(isinstance(value, float) and value for value in _values(data, "dropout", b"0123456789"))
    )


def _is_cut(step: dict[str, Any], expressions: frozenset[str]) -> bool:
    """Return whether a step makes words of what one of these expressions finds, and of what is between."""
    is_split = (step["type"], step.get("behavior"), step.get("invert")) == ("Split", "Isolated", False)
    return is_split and step["pattern"].get("Regex") in expressions


def _values(data: bytes, name: str, start: bytes) -> Iterator[Any]:
    """Yield all values under a name, wherever it stands, whose first byte is one of these; a token has a number."""
    place, key, text = 0, f'"{name}"'.encode(), ""
    while (place := data.find(key, place)) >= 0:
        place += len(key)
        found = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=(.))", re.DOTALL).match(data, place)
        if found is not None and found[1] in start:
            text = text or data.decode("latin-1")  # where a value ends is the same, and a place is that of the bytes
            try:
                end = json.JSONDecoder().raw_decode(text, found.end())[1]
                yield json.loads(data[found.end() : end].decode("utf-8", "replace"))
            except (ValueError, RecursionError) as error:
                raise _UnusualError(f"its {name}, which is no JSON") from error


def listed_tokens(data: bytes) -> dict[str, Any]:
    """Return the added tokens in the text of a tokenizer.json by their contents; none where they cannot be read."""
    try:
        lists = list(_values(data, "added_tokens", b"["))
    except _UnusualError:
        return {}
    return {str(token.get("content")): token for listed in lists for token in listed if isinstance(token, dict)}


def said_everywhere(data: bytes, switch: str, value: bool | None) -> bool:  # noqa: FBT001 - what is compared
    """Return whether a switch has this value wherever it stands in the text of a tokenizer.json."""
    try:
        return all(found is value for found in _values(data, switch, b"tfn"))
    except _UnusualError:
        return False


def _check_words(data: bytes) -> None:
    """Check what is copied or tried again and again: added tokens, unknown ones, prefixes, the longest word."""
    for listed in _values(data, "added_tokens", b"["):
        contents = [str(token.get("content")) if isinstance(token, dict) else "" for token in listed]
        if max(map(len, contents), default=0) > LONGEST_NAME:
            raise _UnusualError("its added tokens, one of which is very long")
        if sum(map(len, contents)) > MOST_ADDED:
            raise _UnusualError("its added tokens, which are very many")
    for name, most in (
        ("unk_token", LONGEST_NAME),
        ("continuing_subword_prefix", LONGEST_AFFIX),
        ("end_of_word_suffix", LONGEST_AFFIX),
    ):
        if any(len(value) > most for value in _values(data, name, b'"')):
            raise _UnusualError(f"its {name}, which is very long")
    for value in _values(data, "max_input_chars_per_word", b"0123456789"):
        if value > LONGEST_WORD:
            raise _UnusualError("its max_input_chars_per_word, which is very large")


def _steps(part: Any, name: str) -> int:
    """Tell how many bytes the steps of a part make of one, at most."""
    steps = list(_flat(part, name, MOST_STEPS))
    if len(steps) > MOST_STEPS:
        raise _UnusualError(f"its {name}, which has many steps")
    growth = 1
    for step in steps:
        kind = step.get("type")
        rule = RULES.get(kind) if isinstance(kind, str) else None
        try:
            factor = PLAIN_STEPS[str(kind)] if rule is None else rule(step)
        except (KeyError, TypeError, ValueError, AttributeError):
            factor = None
        if factor is None:
            raise _UnusualError(f"its {name}'s {kind}" if isinstance(kind, str) else f"its {name}")
        growth *= factor if name in GROWING or kind not in PLAIN_STEPS else 1
    return growth


def _flat(part: Any, name: str, depth: int) -> Iterator[dict[str, Any]]:
    if not isinstance(part, dict) or not depth:
        raise _UnusualError(f"its {name}")
    if part.get("type") != "Sequence":
        yield part
        return
    for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        inner = part.get(key, [])
        for step in inner if isinstance(inner, list) else [None]:
            yield from _flat(step, name, depth - 1)


def _pattern(step: dict[str, Any]) -> str | None:
    """Give the text that a step looks for; None for an expression, if it is one of published tokenizers.

    Raises:
        ValueError: it is another.
    """
    pattern = step["pattern"]
    if "Regex" in pattern:
        if len(pattern) != 1 or pattern["Regex"] not in EXPRESSIONS:
            raise ValueError
        return None
    return str(pattern["String"])


def _replace(step: dict[str, Any]) -> int:
    """Count a replacement against what it replaces, which is a byte or more; nothing can be replaced everywhere."""
    wanted, put = _pattern(step), len(step["content"].encode())
    if wanted == "":
        raise ValueError
    least = 3 if step["pattern"].get("Regex") in HANGUL else 1
    return max(1, -(-put // (least if wanted is None else len(wanted.encode()))))


def _precompiled(step: dict[str, Any]) -> int | None:
    try:
        data = base64.b64decode(step["precompiled_charsmap"], validate=True)
    except binascii.Error:
        return None
    return COMPATIBLE if hashlib.sha256(data).hexdigest() in MAPS else None


def _template(step: dict[str, Any]) -> int:
    """Count what a template puts around a text, and how often it puts the text itself."""
    special = step["special_tokens"]
    if any(len(name) > LONGEST_NAME for entry in special.values() for name in entry["tokens"]):
        raise ValueError
    return max(
        1,
        sum(1 if "Sequence" in piece else len(special[piece["SpecialToken"]["id"]]["ids"]) for piece in step["single"]),
    )


LOCAL = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase"})
"""Steps that make the same of what stands before a space, and from it on, apart and together."""

LOCAL_CUTTERS = frozenset({"ByteLevel", "Digits", "Punctuation"})
"""Steps that cut what stands on either side of such a space as they would cut it alone."""

GROWING = ("normalizer", "pre_tokenizer")
"""Parts whose steps make another text; a post-processor only puts tokens around it, and a decoder is never run."""

RULES: dict[str, Callable[[dict[str, Any]], int | None]] = {
    "Prepend": lambda step: 1 + len(step["prepend"].encode()),
    "Replace": _replace,
    "Split": lambda step: None if _pattern(step) == "" else 1,
    "Precompiled": _precompiled,
    "TemplateProcessing": _template,
}
"""Steps that depend on what the file says: how many bytes each makes of one, or None where that is not known."""
