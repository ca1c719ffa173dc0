"""RWKV's vocabulary: a line for each token, its id, its text as Python writes it, and its length in bytes.

A text is cut greedily: at each place the longest token that stands there (https://github.com/BlinkDL/ChatRWKV). A piece
is spelled as byte-level tokenizers spell it, because bytes have no spelling of their own here.
"""

import ast
import re
from collections.abc import Mapping, Sequence

from embtool.errors import FormatError, NoVocabulary
from embtool.vocabulary.entries import LARGEST_ID, MemoryEntries, Traits
from embtool.vocabulary.spelling import ByteLevel
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary

LINE = re.compile(r"([0-9]{1,10}) (b?(?:'[^\n]*'|\"[^\n]*\")) ([0-9]{1,4})")

LONGEST_LINE = 8192
"""Characters of a line; the longest token has 128 bytes."""


def looks_like_world(data: bytes) -> bool:
    """Return whether a file begins with such a line."""
    first = data[:LONGEST_LINE].split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    return LINE.fullmatch(first) is not None


def read_world(data: bytes, file: str) -> Vocabulary:
    """Read the vocabulary.

    Raises:
        FormatError: a line is not one of a token.
    """
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 at byte {error.start}") from error
    tokens: dict[bytes, int] = {}
    for place, written in enumerate(lines, 1):
        line = written.rstrip("\r")
        if not line.strip():
            continue
        found = LINE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        try:
            value = ast.literal_eval(found[2]) if found is not None else None
        except (ValueError, SyntaxError) as error:
            raise FormatError(f"line {place:,} of {file} has no text as Python writes it") from error
        token = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        if found is None or not token or len(token) != int(found[3]) or int(found[1]) > LARGEST_ID:
            raise FormatError(f"line {place:,} of {file} is not an id, a text and its length")
        tokens[token] = int(found[1])
    spelling = ByteLevel()
    pieces = {identity: spelling.to_pieces(token)[0] for token, identity in tokens.items()}
    traits = Traits({"type": "ByteLevel"}, None, None, faithful=False, composes=False)
    entries = MemoryEntries(pieces, {}, traits)
    return Vocabulary(f"{file}, RWKV", lambda: entries, lambda: LongestFirst(tokens, file))


class LongestFirst(Splitter):
    """Cuts the longest token from the front of a text, again and again.

    A byte that no token begins with is `unknown`; where there is no such token the text is refused.
    """

    def __init__(self, tokens: Mapping[bytes, int], file: str, unknown: int | None = None) -> None:
        super().__init__()
        self._tokens = tokens
        self._file = file
        self._unknown = unknown
        lengths: dict[int, set[int]] = {}
        for token in filter(None, tokens):
            lengths.setdefault(token[0], set()).add(len(token))
        self._lengths = {byte: sorted(found, reverse=True) for byte, found in lengths.items()}

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split texts.

        Raises:
            NoVocabulary: one of them has a byte that no token has.
        """
        ids: list[list[int]] = []
        for data in map(str.encode, texts):
            ids.append([])
            place = 0
            while place < len(data):
                lengths = self._lengths.get(data[place], [])
                length = next((length for length in lengths if data[place : place + length] in self._tokens), 0)
                found = self._tokens[data[place : place + length]] if length else self._unknown
                if found is None:
                    raise NoVocabulary(f"{self._file} has no token for the byte {data[place]:#04x}")
                ids[-1].append(found)
                place += length or 1
        return ids
