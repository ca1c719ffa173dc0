"""What kind each token is: an ordinary one, a byte, a special token, one that no text can reach, and so on.

The kinds follow Land and Bartolo, "Fishing for Magikarp" (2024, https://arxiv.org/abs/2405.05417): a token is decoded,
its text is encoded again, and a token that does not come back is *unreachable*. What is one token may depend on what
stands before it and behind it, so a text is also tried between a few contexts: a character that the tokenizer keeps for
itself. Where text cannot be split, what bytes do not tell is left open.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cached_property

from embtool.arrays import np
from embtool.errors import FormatError, MissingExtra, NoVocabulary
from embtool.vocabulary import Token, Vocabulary

CONTEXTS = ("«", "\n", "1", ".")
"""Texts tried before a token's own and behind it, after nothing and letters that begin few pieces."""

BARREN = 2
"""Contexts that may help no token before the others are not tried any more."""

RARE_LETTERS = 3
"""Letters of the vocabulary tried as contexts: those inside words, such as `##ing`, come only beside one."""

TRIED_LETTERS = 64
"""Letters looked at for those."""

LETTER = 4
"""Characters of a piece that is one letter at most: UTF-8 has four bytes for one."""

CASED = ("Ll", "Lu", "Lm")
"""Unicode categories of letters that stand together as words; an ideograph is a word by itself."""

ENCODED_AT_ONCE = 8192
"""Texts in hand while they are encoded."""

ASCII_END = 0x80
"""Bytes below this are characters by themselves."""

NEVER_IN_UTF8 = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])
"""Bytes that no UTF-8 text holds (RFC 3629, section 1): two would begin overlong forms, eleven exceed U+10FFFF."""


class Category(StrEnum):
    """The kind of a row."""

    NORMAL = "normal"
    BYTE = "byte"
    PARTIAL = "partial"
    SPECIAL = "special"
    ADDED = "added"
    UNREACHABLE = "unreachable"
    PADDING = "padding"


MEANINGS = {
    Category.NORMAL: "its text is split into this token",
    Category.BYTE: "one byte that is no character by itself, or that stands for a character the vocabulary lacks",
    Category.PARTIAL: "several bytes, not all of them whole UTF-8 characters",
    Category.SPECIAL: "a control token, added beside the trained vocabulary",
    Category.ADDED: "added beside the trained vocabulary, but not special",
    Category.UNREACHABLE: "its text is split into other tokens",
    Category.PADDING: "a row that no token has",
}


class Categorizer:
    """Finds the category of tokens of one vocabulary.

    `left_open` says why normal and unreachable tokens are not told from each other, once that turned out.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.left_open: str | None = None
        self._added = frozenset(vocabulary.added_ids.tolist())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the categories should know."""
        if self.left_open is None:
            return ()
        return (f"which tokens are normal and which are unreachable is left open: {self.left_open}",)

    def each(self, tokens: Sequence[Token]) -> list[Category | None]:
        """Return the category of each token, encoding only those whose text must be tried; None where it is open."""
        found: list[Category | None] = [self.by_bytes(token) for token in tokens]
        tried = [token for token, category in zip(tokens, found, strict=True) if category is Category.NORMAL]
        lost: set[int] = set()
        try:
            for first in range(0, 0 if self.left_open else len(tried), ENCODED_AT_ONCE):
                lost |= self._unreachable(tried[first : first + ENCODED_AT_ONCE])
        except (NoVocabulary, FormatError, MissingExtra) as error:
            self.left_open = error.message
        if self.left_open is not None:
            return [None if category is Category.NORMAL else category for category in found]
        return [
            Category.UNREACHABLE if category is Category.NORMAL and token.id in lost else category
            for token, category in zip(tokens, found, strict=True)
        ]

    def of_rows(self, entries: Sequence[Token | None]) -> list[Category | None]:
        """Return the category of each row's token; a row without one is padding."""
        found = iter(self.each([entry for entry in entries if entry is not None]))
        return [Category.PADDING if entry is None else next(found) for entry in entries]

    def by_bytes(self, token: Token) -> Category:
        """Return the category of a token as far as that needs no encoding: an unreachable one counts as normal."""
        if token.special:
            return Category.SPECIAL
        if token.id in self._added:
            return Category.ADDED
        if is_byte(token):
            return Category.BYTE
        try:
            token.bytes.decode()
        except UnicodeDecodeError:
            return Category.PARTIAL
        return Category.NORMAL

    def _unreachable(self, tokens: Sequence[Token]) -> set[int]:
        """Find the tokens whose text is never split into them, in no context."""
        left = self._lost_between("", tokens, "")
        inside = any(token.text != _bare(token) for token in left)
        before = [(context, "") for context in (*(self._letters if inside and left else ()), *CONTEXTS)]
        left = self._tried(before, left)
        letters = self._letters if left else []
        behind = [*(("", letter) for letter in letters), *((letter, letter) for letter in letters[:1])]
        left = self._tried([*behind, *(("", context) for context in CONTEXTS)], left)
        return {token.id for token in left}

    def _tried(self, contexts: Sequence[tuple[str, str]], tokens: Sequence[Token]) -> list[Token]:
        """Keep the tokens that no context helps, trying contexts as long as they help some."""
        left = list(tokens)
        barren = 0
        for before, behind in contexts:
            if not left or barren == BARREN:
                break
            still = self._lost_between(before, left, behind)
            barren = barren + 1 if len(still) == len(left) else 0
            left = still
        return left

    def _lost_between(self, before: str, tokens: Sequence[Token], behind: str) -> list[Token]:
        """Keep the tokens that do not come back when their text is encoded between two others."""
        found = self.vocabulary.encode_each([before + _bare(token) + behind for token in tokens])
        return [token for token, ids in zip(tokens, found, strict=True) if token.id not in ids]

    @cached_property
    def _letters(self) -> list[str]:
        pieces, to_text = self.vocabulary.pieces(), self.vocabulary.spelling.to_text
        first = _first_letters([piece for _, piece in pieces], to_text)
        beginnings: Counter[str] = Counter()
        for text, number in first.values():
            beginnings[text[:1]] += number
        added = set(self.vocabulary.added_ids.tolist())
        whole = {
            piece for identity, piece in pieces if len(piece) <= LETTER and piece in first and identity not in added
        }
        alone = {
            text for text, _ in map(first.__getitem__, whole) if len(text) == 1 and unicodedata.category(text) in CASED
        }
        ranked = sorted(alone, key=lambda letter: (beginnings[letter], letter))[:TRIED_LETTERS]
        kept = [
            letter
            for letter in ranked
            if "".join(token.text for token in self.vocabulary.encode(letter)).strip() == letter
        ]
        return kept[:RARE_LETTERS]


def is_byte(token: Token) -> bool:
    """Return whether a token is one byte: beyond ASCII, or spelled `<0xNN>` beside the character itself."""
    if len(token.bytes) != 1:
        return False
    return token.bytes[0] >= ASCII_END or token.piece.startswith("<0x")


def never_in_text(token: Token) -> bool:
    """Return whether a token holds a byte that no UTF-8 text has."""
    return len(token.bytes) == 1 and is_byte(token) and token.bytes[0] in NEVER_IN_UTF8


def padding_ids(vocabulary: Vocabulary, rows: int) -> list[int]:
    """List the rows of a table that no token has."""
    free = np.ones(rows, np.bool_)
    free[vocabulary.ids[vocabulary.ids < rows]] = False
    found: list[int] = np.flatnonzero(free).tolist()
    return found


def _bare(token: Token) -> str:
    """The text that a piece stands for in a sentence: of `##ing`, what is written is `ing`."""
    return token.bytes.decode("utf-8", "replace")


def _first_letters(pieces: Sequence[str], to_text: Callable[[str], str]) -> dict[str, tuple[str, int]]:
    """Find the shortest beginning of each piece that has a whole letter: its text, and how many pieces have it."""
    found: dict[str, tuple[str, int]] = {}
    for size in range(1, LETTER + 1):
        starts = Counter([piece[:size] for piece in pieces])
        texts = {start: to_text(start) for start in starts}
        found |= {
            start: (text, starts[start]) for start, text in texts.items() if "\ufffd" not in text or size == LETTER
        }
        pieces = [piece for piece in pieces if piece[:size] not in found]
    return found
