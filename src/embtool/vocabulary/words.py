"""The tokens of one model, and finding the one that a person meant."""

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from embtool.arguments import check_count, checked
from embtool.arrays import Ints, np
from embtool.counts import plain_number
from embtool.errors import EmbtoolError, FormatError, NoVocabulary, UnknownToken
from embtool.vocabulary.entries import Entries, MemoryEntries, Ranges
from embtool.vocabulary.index import DamagedIndexError
from embtool.vocabulary.spelling import Spelling

Answer = TypeVar("Answer")

NEAR_NAMES = 5
LISTED_PIECES = 12

NEAR_LENGTH = 2
"""Tokens whose length differs by more than this are not offered as near names."""

NEAR_ENOUGH = 0.75
"""The least likeness, as difflib measures it, of a name that is offered."""


QUOTED = 100
"""Characters of a text that an error quotes."""


JOINTS = dict.fromkeys(map(ord, "'\u2019-_"))
"""What can stand inside a word beside letters."""

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How Unicode begins the names of letters of scripts that write words without spaces, or that vocabularies cut so."""


@dataclass(frozen=True)
class Token:
    """One entry of the vocabulary.

    Attributes:
        id: its number, which is that of its row.
        piece: the tokenizer's own spelling, `Ġcat`.
        text: what the piece decodes to, ` cat`; lossy where a token is part of a UTF-8 character.
        bytes: the same, exact.
        special: whether it is a control token, such as the end of a text.
    """

    id: int
    piece: str
    text: str
    bytes: bytes
    special: bool = False


def root_of(token: Token) -> str:
    """Return what variants of a token share: its text without spaces around it, in one case."""
    return token.bytes.decode("utf-8", "replace").strip().casefold()


@checked
class Vocabulary:
    """The tokens of one tokenizer: a sequence in the order of ids, and the ways to find one.

    `len` counts them; a loop yields every `Token`. Ids need not be without gaps. `unread` names files of a tokenizer
    that are beside it and were not read.

    Args:
        file: the tokenizer's file in the model.
        parse: reads the entries.
        load: builds the whole tokenizer, which splits text.
        quick: finds the entries where they have been derived before, or returns None.
    """

    def __init__(
        self,
        file: str,
        parse: Callable[[], Entries],
        load: Callable[[], Any],
        *,
        quick: Callable[[], Entries | None] = lambda: None,
    ) -> None:
        self.file = file
        self._parse = parse
        self._load = load
        self._entries = quick() or parse()
        self.unread: tuple[str, ...] = ()
        self.implied = False
        """Whether no file of a tokenizer is there, and the type of the model alone says what its tokens are."""

    def _ask(self, question: Callable[[Entries], Answer]) -> Answer:
        """Ask the entries; if their index turns out to be damaged, read them anew and ask again."""
        try:
            return question(self._entries)
        except DamagedIndexError:
            self._entries = self._parse()
            return question(self._entries)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._load()

    @cached_property
    def ids(self) -> Ints:
        """Every token id, sorted, int64 (tokens,)."""
        return np.concatenate([np.arange(first, last + 1) for first, last in self.id_ranges] or [np.empty(0, np.int64)])

    @property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary lacks, if there is one."""
        return self._entries.traits.unknown

    @cached_property
    def special_ids(self) -> Ints:
        """The ids of special tokens, such as the end of the text, sorted, int64 (n,)."""
        added = self._entries.added
        return np.array(sorted(identity for identity, token in added.items() if token.special), np.int64)

    @cached_property
    def added_ids(self) -> Ints:
        """The ids of tokens added beside the trained vocabulary, special or not, sorted, int64 (n,)."""
        return np.array(sorted(self._entries.added), np.int64)

    @property
    def id_ranges(self) -> Ranges:
        """The first and the last token id of each run without a gap, in their order."""
        return self._ask(lambda entries: entries.ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.id_ranges)

    def __iter__(self) -> Iterator[Token]:
        """Yield every token in the order of ids."""
        for identity, piece in self._ask(lambda entries: list(entries.items())):
            yield self._make(identity, piece)

    def pieces(self) -> list[tuple[int, str]]:
        """List every id with its piece, in the order of ids: ten times as quick as all tokens with their texts."""
        return self._pieces

    @cached_property
    def _pieces(self) -> list[tuple[int, str]]:
        return self._ask(lambda entries: list(entries.items()))

    @property
    def index(self) -> str | None:
        """The name of the index that it is read from, if it is. Two vocabularies of one index are the same."""
        return self._entries.index

    def entries(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield every id with its piece and its bytes, in the order of ids."""
        added, spelling = self._entries.added, self._entries.traits.spelling
        for identity, piece in self.pieces():
            if identity in added:
                content = added[identity].content
                yield identity, content, content.encode("utf-8", "surrogatepass")
            else:
                yield identity, piece, spelling.to_bytes(piece)

    @property
    def spelled_by(self) -> tuple[Any, Any]:
        """The decoder and the pre-tokenizer, as in tokenizer.json, which decide how it writes bytes as pieces."""
        return self._entries.traits.decoder, self._entries.traits.pre_tokenizer

    @property
    def spelling(self) -> Spelling:
        """How it writes bytes as pieces."""
        return self._entries.traits.spelling

    @property
    def added(self) -> int:
        """How many tokens were added beside the trained vocabulary, special and user-defined ones."""
        return len(self._entries.added)

    def token(self, identity: int) -> Token | None:
        """Look up a token by id; None for a padding row, which no token has."""
        piece = self._ask(lambda entries: entries.piece(identity))
        return None if piece is None else self._make(identity, piece)

    def _make(self, identity: int, piece: str) -> Token:
        added = self._entries.added.get(identity)
        if added is not None:
            content = added.content
            return Token(identity, content, content, content.encode("utf-8", "surrogatepass"), added.special)
        spelling = self._entries.traits.spelling
        return Token(identity, piece, spelling.to_text(piece), spelling.to_bytes(piece))

    @cached_property
    def _added_by_text(self) -> dict[str, int]:
        return {token.content: identity for identity, token in self._entries.added.items()}

    def encode(self, text: str, *, special: bool = False) -> list[Token]:
        """Split text into tokens; `special` adds what the tokenizer puts around a sequence, such as a beginning.

        Raises:
            FormatError: the tokenizer cannot split it, such as one that lacks its own unknown token.
        """
        tokenizer = self._tokenizer
        try:
            ids = tokenizer.encode(_well_formed(text), add_special_tokens=special).ids
        except BaseException as error:
            if not is_of_library(error):
                raise
            raise FormatError(f"{self.file} cannot split {_cut(text)!r}: {error}") from error
        return [self._known(identity, text) for identity in ids]

    def _known(self, identity: int, text: str) -> Token:
        token = self.token(identity)
        if token is None:
            raise FormatError(f"{self.file} splits {_cut(text)!r} into the id {identity}, which no token has")
        return token

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split many texts at once, in all threads of the machine: the token ids of each, nothing put around them.

        Raises:
            FormatError: the tokenizer cannot split one of them.
        """
        formed = [_well_formed(text) for text in texts]
        tokenizer = self._tokenizer
        try:
            return [found.ids for found in tokenizer.encode_batch(formed, add_special_tokens=False)]
        except BaseException as error:
            if not is_of_library(error):
                raise
            raise FormatError(f"{self.file} cannot split text: {error}") from error

    @property
    def parts_at_spaces(self) -> bool:
        """Whether a text is known to have, cut before a space that follows what is none, the tokens of both parts."""
        return bool(getattr(self._tokenizer, "parts_at_spaces", False))

    def __contains__(self, text: object) -> bool:
        """Tell whether a text, exactly as it stands, is one token."""
        return isinstance(text, str) and self._by_text(text) is not None

    def __getitem__(self, text: str) -> Token:
        """Return the token whose text is exactly this one.

        Raises:
            UnknownToken: no token has this text.
        """
        token = self._by_text(text) if hasattr(text, "encode") else None
        if token is None:
            raise UnknownToken(f"no token of {self.file} has the text {text!r}")
        return token

    def __repr__(self) -> str:
        return f"<vocabulary {self.file!r}: {len(self):,} tokens>"

    def _by_text(self, text: str) -> Token | None:
        token = self._by_bytes(text.encode("utf-8", "surrogatepass"))
        if token is None:
            token = self._by_piece(text)
        return token if token is not None and token.text == text else None

    def find(self, text: str, *, exact: bool = False) -> Token:
        """Find the token a person meant: the word as it stands inside a sentence, else the text itself.

        The word is the text with the vocabulary's mark of a word's start, or end. `exact`, or a space in the text,
        forbids that: the token's text must be the one typed.

        Raises:
            UnknownToken: the text is several tokens, or none; it lists the pieces and near names.
        """
        if not text:
            raise UnknownToken("an empty text is no token", hint="a single space is written ' ', or bytes:20")
        unsplit: NoVocabulary | None = None
        word = self._entries.traits.spelling.to_word(text)
        for guess in (word, text) if not exact and self.marks_words(text) else (text,):
            try:
                token = self._one(guess, exact=exact or " " in text)
            except NoVocabulary as error:  # its tokens are known, but not how a text is split
                token, unsplit = None, error
            if token is not None:
                return token
        raise unsplit or self._unknown_token(text)

    def marks_words(self, text: str) -> bool:
        """Return whether a text can stand inside a sentence with a mark of a word's start or end."""
        spelling = self._entries.traits.spelling
        return spelling.marks_words and not any(map(str.isspace, text)) and text not in self._added_by_text

    def is_word(self, token: Token) -> bool:
        """Return whether a token is a whole word: letters, as they stand inside a sentence, not a part of a word."""
        core = token.text.strip(" ")
        letters = core.translate(JOINTS)
        if not letters.isalpha() or not core[0].isalpha():
            return False
        is_marked = token.text == self._entries.traits.spelling.to_word(core)
        return is_marked or (token.text == core and unicodedata.name(core[0], "").startswith(UNSPACED))

    def find_piece(self, piece: str) -> Token:
        """Find a token by the tokenizer's own spelling, such as `Ġcat`.

        Raises:
            UnknownToken: there is no such piece.
        """
        token = self._by_piece(piece)
        if token is None:
            raise UnknownToken(f"no piece {piece!r} in {self.file}", hint=self._near(piece))
        return token

    def has_piece(self, piece: str) -> bool:
        """Return whether a token has this spelling."""
        return self._ask(lambda entries: entries.id(piece)) is not None

    def find_bytes(self, data: bytes) -> Token:
        """Find a token by its exact bytes.

        Raises:
            UnknownToken: no token has these bytes.
        """
        token = self._by_bytes(data)
        if token is None:
            raise UnknownToken(f"no token has the bytes {data.hex()}")
        return token

    def beginning(self, data: bytes, most: int) -> list[Token]:
        """List the first tokens, `most` of them, in the order of ids, whose bytes begin so."""
        found = {
            token.id: token
            for piece in self._entries.traits.spelling.to_pieces(data)
            for token in self.beginning_piece(piece, most)
            if token.bytes.startswith(data) or token.text.encode("utf-8", "replace").startswith(data)
        }
        return [found[identity] for identity in sorted(found)]

    def beginning_piece(self, piece: str, most: int) -> list[Token]:
        """List the first tokens, `most` of them, in the order of ids, whose piece begins so."""
        check_count(most, "most", 0)
        most = min(most, len(self))
        return [self._make(*entry) for entry in self._ask(lambda entries: entries.beginning(piece, most))]

    def chosen(self, ids: Sequence[int]) -> "Vocabulary":
        """Return the vocabulary of a table whose rows are these tokens, in this order; its text cannot be split.

        Numbers that no token has are left out.
        """
        entries = self._entries
        pieces = {row: piece for row, each in enumerate(ids) if (piece := entries.piece(each)) is not None}
        added = {row: entries.added[each] for row, each in enumerate(ids) if each in entries.added}
        found = MemoryEntries(pieces, added, replace(entries.traits, unknown=None))

        def load() -> Any:
            raise NoVocabulary(
                "text is not split into a part of the tokens", hint="name one of them whole, or a row by id:"
            )

        return Vocabulary(f"{self.file}, a part", lambda: found, load)

    def word(self, text: str) -> Token | None:
        """Find the token that a text is as a word inside a sentence, if there is one."""
        word = self._entries.traits.spelling.to_word(text)
        return None if text.startswith(" ") else self._by_bytes(word.encode("utf-8", "surrogatepass"))

    def _by_bytes(self, data: bytes) -> Token | None:
        added = self._added_by_text.get(data.decode("utf-8", "surrogateescape"))
        if added is not None:
            return self.token(added)
        for piece in self._entries.traits.spelling.to_pieces(data):
            token = self._by_piece(piece)
            if (
                token is not None and token.bytes == data
            ):  # a text may be spelled like a piece of other bytes, as `▁` is
                return token
        return None

    def _by_piece(self, piece: str) -> Token | None:
        identity = self._ask(lambda entries: entries.id(piece))
        return None if identity is None else self.token(identity)

    def _one(self, text: str, *, exact: bool) -> Token | None:
        """Find the one token that a text is, by its spelling or by splitting it (which also folds case)."""
        token = self._by_bytes(text.encode("utf-8", "surrogatepass"))
        if token is not None or self._is_several(text):
            return token
        token = self._by_piece(text)
        if token is not None and token.text == text:  # `##berry`, which is no text, but is shown as one
            return token
        tokens = self.encode(text)
        if len(tokens) == 1 and tokens[0].id != self.unknown and (not exact or tokens[0].text == text):
            return tokens[0]
        return None

    def _is_several(self, text: str) -> bool:
        """Tell, without splitting it, that a text which is no entry is not one token."""
        traits = self._entries.traits
        return traits.faithful and (not traits.composes or unicodedata.is_normalized("NFC", text))

    def _unknown_token(self, text: str) -> UnknownToken:
        """Say what the tokenizer makes of a text that is not one token."""
        tokens = self.encode(text)
        if not tokens or all(token.id == self.unknown for token in tokens):
            hints = (_quoted(text), _numbered(text), self._near(text))
            return UnknownToken(f"{text!r} is not a token of {self.file}", hint=_joined(hints))
        listed = " + ".join(map(_shown, tokens[:LISTED_PIECES]))
        more = f" + {len(tokens) - LISTED_PIECES} more" if len(tokens) > LISTED_PIECES else ""
        if len(tokens) == 1:
            return UnknownToken(f"{text!r} is not a token; the nearest reading is {listed}")
        return UnknownToken(
            f"{text!r} is {len(tokens)} tokens: {listed}{more}",
            hint=_joined((_quoted(text), _numbered(text), self._near(text))),
            pieces=len(tokens),
        )

    def _near(self, text: str) -> str | None:
        """Return tokens that are spelled nearly like a text, a typing error away, or None."""
        wanted = text.strip().strip("Ġ▁#").casefold()
        if not wanted:
            return None
        names: dict[str, str] = {}
        for _, piece in self._ask(lambda entries: list(entries.items())):
            bare = piece.strip("Ġ▁# ").casefold()
            if bare[:1] == wanted[:1] and abs(len(bare) - len(wanted)) <= NEAR_LENGTH:
                names.setdefault(bare, bare)
        near = difflib.get_close_matches(wanted, list(names), n=NEAR_NAMES, cutoff=NEAR_ENOUGH)
        near = [name for name in near if name != wanted]
        return f"near: {', '.join(near)}" if near else None


QUOTES = "'\"`\u2018\u2019\u201c\u201d"
"""Marks that come around a word by mistake: a shell takes quotes away once only."""


def _quoted(text: str) -> str | None:
    """Ask whether the quotes around a text, or commas at its ends, belong to it."""
    bare = text.strip(",;")
    if bare[:1] and bare[0] in QUOTES and bare[-1] in QUOTES:
        bare = bare.strip(QUOTES)
    return f"quotes and commas are part of the text; did you mean {bare!r}" if bare.strip() and bare != text else None


def _numbered(text: str) -> str | None:
    """Say how a row is named by its number, where a number was typed."""
    digits = plain_number(text)
    return f"a row by its number is id:{digits}" if digits.isdecimal() and digits.isascii() else None


def _shown(token: Token) -> str:
    """Quote a token's text, or its bytes where they are a part of a character."""
    if "\ufffd" in token.text:
        return "".join(f"<{byte:02X}>" for byte in token.bytes)
    return repr(token.text)


def _joined(hints: Iterable[str | None]) -> str | None:
    """Make one hint of several."""
    return "; ".join(hint for hint in hints if hint is not None) or None


def is_of_library(error: BaseException) -> bool:
    """Return whether an error is one of the libraries that split text: a bare Exception, or a panic of Rust code."""
    return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError | EmbtoolError)


def _cut(text: str) -> str:
    """Shorten a text to what an error may quote."""
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
