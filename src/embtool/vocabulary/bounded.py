"""A tokenizer that may lengthen a text, kept from doing so without end.

A replacement that puts a character between all others doubles a text, and thirty in a row make gigabytes of one word.
The tokenizers library does what the file says, and where the memory ends, it ends the process.
"""

import base64
import json
from collections.abc import Sequence
from math import prod
from typing import Any

from embtool.errors import FormatError

LONGEST = 1 << 20
"""Characters that any text may have after each step of its normalizer."""

LONGER = 64
"""How many times its own length a longer text may have then."""


def bounded(tokenizer: Any, file: str) -> Any:
    """Return a tokenizer that refuses to make a text far longer: the tokenizer itself, where it cannot."""
    normalizer = tokenizer.normalizer
    if normalizer is None:
        return tokenizer
    state = json.loads(normalizer.__getstate__())
    if state["type"] == "Sequence":
        steps = [(normalizer[place], one) for place, one in enumerate(state["normalizers"])]
    else:
        steps = [(normalizer, state)]
    growth = [(step, _growth(one)) for step, one in steps]
    return tokenizer if all(factor == 1 for _, factor in growth) else _Bounded(tokenizer, growth, file)


def _growth(state: dict[str, Any]) -> int:
    """How many characters a step can make of one, as far as the file decides; Unicode's own forms make a few."""
    if state["type"] == "Replace":
        return 1 + len(state["content"])
    if state["type"] == "Precompiled":
        return _longest_replacement(base64.b64decode(state["precompiled_charsmap"]))
    return 1


def _longest_replacement(data: bytes) -> int:
    """The bytes of the longest text in SentencePiece's map of characters: the size of a trie, the trie, the texts.

    Each text ends with NUL: https://github.com/google/sentencepiece/blob/master/src/normalizer.cc.
    """
    texts = data[4 + int.from_bytes(data[:4], "little") :]
    return max(map(len, texts.split(b"\0")))


class _Bounded:
    """Looks at a text before the tokenizer does; the same calls as `splitter.Splitter`."""

    def __init__(self, tokenizer: Any, growth: Sequence[tuple[Any, int]], file: str) -> None:
        self._tokenizer = tokenizer
        self._growth = growth
        self._most = prod(factor for _, factor in growth)
        self._file = file

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Any:
        """Split a text."""
        self._check(text)
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> Any:
        """Split several texts."""
        for text in texts:
            self._check(text)
        return self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)

    def _check(self, text: str) -> None:
        """Go through the normalizer step by step, where all of it could make the text too long."""
        most = max(LONGEST, LONGER * len(text))
        if len(text) * self._most <= most:
            return
        for step, factor in self._growth:
            if type(step).__name__ == "Replace" and (len(text) + 1) * factor > most:
                raise FormatError(f"{self._file} makes a text longer at every step: more than {most:,} characters")
            text = step.normalize_str(text)
