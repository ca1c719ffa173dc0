"""How tokenizers write bytes as pieces: `Ġcat`, `▁cat`, `##cat`.

To add a spelling: write a class with both directions and name it in `choose_spelling`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar


class Spelling(ABC):
    """How a tokenizer writes bytes as pieces."""

    marks_words: ClassVar[bool] = True
    """Whether a word inside a sentence has a mark of its start, a space; else the bare piece is the whole word."""

    def to_word(self, text: str) -> str:
        """Write a text as the word that it is inside a sentence."""
        return f" {text}" if self.marks_words else text

    @abstractmethod
    def to_bytes(self, piece: str) -> bytes:
        """Return which bytes a piece stands for."""

    @abstractmethod
    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Spell bytes as one piece, in every way this spelling has; the usual one first."""

    def to_text(self, piece: str) -> str:
        """Decode a piece for a reader; bytes that are no UTF-8 become U+FFFD."""
        return self.to_bytes(piece).decode("utf-8", "replace")


class ByteLevel(Spelling):
    """Every byte is one printable character: the printable ones stand for themselves, the others are shifted to U+0100.

    The table is that of GPT-2 (https://github.com/openai/gpt-2, encoder.py): a space is `Ġ`.
    """

    def __init__(self) -> None:
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in printable]
        self._character = {byte: chr(byte) for byte in printable}
        self._character |= {byte: chr(0x100 + order) for order, byte in enumerate(others)}
        foreign = dict.fromkeys(range(0x100), 0xFFFF)  # not in latin-1, as whatever lies beyond
        self._byte = foreign | {ord(character): byte for byte, character in self._character.items()}

    def to_bytes(self, piece: str) -> bytes:
        """Map each character to its byte; a piece with a foreign character stands for itself."""
        try:
            return piece.translate(self._byte).encode("latin-1")
        except UnicodeEncodeError:
            return piece.encode("utf-8", "surrogatepass")

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Map each byte to its character."""
        return ("".join(self._character[byte] for byte in text),)


class Metaspace(Spelling):
    """A space is `▁`; a byte that has no piece of its own is `<0xNN>` (SentencePiece)."""

    BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")

    def __init__(self, space: str = "▁") -> None:
        self.space = space

    def to_bytes(self, piece: str) -> bytes:
        """Read `<0xNN>` as that byte and `▁` as a space."""
        byte = self.BYTE.fullmatch(piece)
        if byte is not None:
            return bytes([int(byte[1], 16)])
        return piece.replace(self.space, " ").encode("utf-8", "surrogatepass")

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Write spaces as `▁`; a single byte can be `<0xNN>` too."""
        byte = (f"<0x{text[0]:02X}>",) if len(text) == 1 else ()
        try:
            return (text.decode().replace(" ", self.space), *byte)
        except UnicodeDecodeError:
            return byte


class WordPiece(Spelling):
    """A piece inside a word begins with `##`, which is kept in its text so that two tokens never look the same."""

    marks_words = False

    def __init__(self, prefix: str = "##") -> None:
        self.prefix = prefix

    def to_bytes(self, piece: str) -> bytes:
        """Drop the prefix."""
        return piece.removeprefix(self.prefix).encode("utf-8", "surrogatepass")

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Spell a whole word: as it is."""
        try:
            return (text.decode(),)
        except UnicodeDecodeError:
            return ()

    def to_text(self, piece: str) -> str:
        """Show the piece as it is."""
        return piece


class EndMarked(Spelling):
    """The last piece of a word ends with `</w>`, which stands for a space behind it, as in CLIP and OpenAI-GPT."""

    def __init__(self, inner: Spelling, suffix: str) -> None:
        self.inner = inner
        self.suffix = suffix

    def to_word(self, text: str) -> str:
        """Put the space behind."""
        return f"{text} "

    def to_bytes(self, piece: str) -> bytes:
        """Read the mark as a space."""
        if piece.endswith(self.suffix) and piece != self.suffix:
            return self.inner.to_bytes(piece.removesuffix(self.suffix)) + b" "
        return self.inner.to_bytes(piece)

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Write a space at the end as the mark."""
        if text.endswith(b" "):
            return tuple(piece + self.suffix for piece in self.inner.to_pieces(text[:-1]))
        return self.inner.to_pieces(text)


class Continued(Spelling):
    """A piece that another one of its word follows ends with a mark; a space stands behind the others."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def to_word(self, text: str) -> str:
        """Put the space behind."""
        return f"{text} "

    def to_bytes(self, piece: str) -> bytes:
        """Drop the mark, or put the space behind."""
        is_continued = piece.endswith(self.mark) and piece != self.mark
        return (piece.removesuffix(self.mark) if is_continued else f"{piece} ").encode("utf-8", "surrogatepass")

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Drop a space at the end, or put the mark."""
        return tuple(
            piece.removesuffix(" ") if piece.endswith(" ") else f"{piece}{self.mark}"
            for piece in Words().to_pieces(text)
        )


class Latin(Spelling):
    """Every byte is the character of its number, as in ByT5."""

    marks_words = False

    def to_bytes(self, piece: str) -> bytes:
        """Read each character as a byte; a piece with another one stands for itself."""
        try:
            return piece.encode("latin-1")
        except UnicodeEncodeError:
            return piece.encode("utf-8", "surrogatepass")

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Write each byte as a character."""
        return (text.decode("latin-1"),)


HEX = re.compile(r"(?:[0-9a-f]{2})+")


class Words(Spelling):
    """A piece is a word and stands for itself, as in static embeddings; `others` has other pieces' bytes, in hex."""

    marks_words = False

    def __init__(self, others: Any = None) -> None:
        listed = others.items() if isinstance(others, dict) else ()
        self._bytes = {piece: bytes.fromhex(digits) for piece, digits in listed if HEX.fullmatch(str(digits))}
        self._pieces = {data: piece for piece, data in self._bytes.items()}

    def to_bytes(self, piece: str) -> bytes:
        """Encode the word."""
        found = self._bytes.get(piece)
        return piece.encode("utf-8", "surrogatepass") if found is None else found

    def to_pieces(self, text: bytes) -> tuple[str, ...]:
        """Decode the word."""
        try:
            return (text.decode(),)
        except UnicodeDecodeError:
            return (self._pieces[text],) if text in self._pieces else ()


WORDS = {"type": "Words"}
"""How a decoder is described that leaves words as they are; no tokenizer.json has one."""

CONTINUED = {"type": "Continued", "mark": "@@"}
"""How a decoder is described whose pieces say that their word goes on; no tokenizer.json has one."""

LATIN = {"type": "Latin"}
"""How a decoder is described whose pieces are bytes; no tokenizer.json has one."""

PLAIN: dict[Any, Callable[[dict[str, Any]], Spelling]] = {
    WORDS["type"]: lambda part: Words(part.get("bytes")),
    "ByteLevel": lambda _: ByteLevel(),
    CONTINUED["type"]: lambda part: Continued(text(part.get("mark"), "@@")),
    LATIN["type"]: lambda _: Latin(),
}
"""Spellings that one component decides, by its type."""

END_MARKED = "EndMarked"
"""How a decoder is described whose pieces bear the mark of a word's end that the model names."""


def choose_spelling(decoder: Any, pre_tokenizer: Any) -> Spelling:
    """Return how a tokenizer spells, by its decoder, or by its pre-tokenizer where it has no decoder.

    Both are given as in tokenizer.json: a JSON object with a type, or a sequence of such.
    """
    if isinstance(decoder, dict) and decoder.get("type") == END_MARKED:
        inner = choose_spelling(decoder.get("decoder"), pre_tokenizer)
        return EndMarked(inner if isinstance(inner, ByteLevel) else Words(), text(decoder.get("suffix"), "</w>"))
    for component in (decoder, pre_tokenizer):
        for part in parts(component):
            kind = part.get("type")
            if kind in PLAIN:
                return PLAIN[kind](part)
            if kind == "WordPiece":
                return WordPiece(text(part.get("prefix"), "##"))
            if kind == "Metaspace":
                return Metaspace(text(part.get("replacement"), "▁"))
            if kind == "Replace" and part.get("content") == " ":
                return Metaspace(pattern(part) or "▁")
    return Metaspace()


def parts(component: Any) -> list[dict[str, Any]]:
    """List the parts of a component of tokenizer.json: those of a sequence, or the one it is."""
    if not isinstance(component, dict):
        return []
    if component.get("type") == "Sequence":
        found: list[dict[str, Any]] = []
        for key in ("normalizers", "pretokenizers", "decoders"):
            inner = component.get(key)
            found += [part for part in inner if isinstance(part, dict)] if isinstance(inner, list) else []
        return found
    return [component]


def pattern(part: dict[str, Any]) -> str | None:
    """Read what a Replace part replaces, where that is a plain text."""
    wanted = part.get("pattern")
    return text(wanted.get("String"), "") or None if isinstance(wanted, dict) else None


def text(value: Any, otherwise: str) -> str:
    """Take a value from JSON if it is a text that is not empty."""
    return value if isinstance(value, str) and value else otherwise
