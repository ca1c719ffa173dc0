"""tiktoken's vocabulary files: one token a line, its bytes in base64 and its rank, which is its id.

The file does not say how text is cut before bytes are merged, nor which special tokens stand beyond the ranks. That is
known for those whose number of ranks is known (`FLAVOURS`); of others the tokens are still found by text, bytes and id.
Text is split by the tiktoken library (https://github.com/openai/tiktoken), an extra.

A piece is spelled as byte-level tokenizers spell it (`Ġcat`), because bytes have no spelling of their own here.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from embtool.errors import FormatError, MissingExtra, NoVocabulary
from embtool.vocabulary.cuts import GPT4O, LLAMA3, QWEN2
from embtool.vocabulary.entries import LARGEST_ID, Added, MemoryEntries, Traits
from embtool.vocabulary.spelling import ByteLevel
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Flavour:
    """How text is cut, and which special tokens follow the ranks, by their distance from the last rank."""

    cut: str
    special: tuple[str, ...] = ()


def _llama3() -> tuple[str, ...]:
    """Return Llama 3's 256 special tokens (https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py)."""
    named = ("begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1")
    more = ("reserved_special_token_2", "reserved_special_token_3", "start_header_id", "end_header_id")
    last = ("reserved_special_token_4", "eot_id", *(f"reserved_special_token_{place}" for place in range(5, 251)))
    return tuple(f"<|{name}|>" for name in (*named, *more, *last))


FLAVOURS: Mapping[int, Flavour] = MappingProxyType(
    {
        50_256: Flavour(GPT2, ("<|endoftext|>",)),
        100_256: Flavour(LLAMA3, ("", "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")),
        128_000: Flavour(LLAMA3, _llama3()),
        151_643: Flavour(
            QWEN2, ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{place}|>" for place in range(205)))
        ),
        199_998: Flavour(GPT4O, ("", "<|endoftext|>")),
    }
)
"""What is known of a file by its number of ranks: GPT-2 (r50k_base), GPT-4 (cl100k_base), Llama 3, Qwen, GPT-4o
(o200k_base). Of tiktoken's openai_public.py, Llama 3's tokenizer.py and Qwen's tokenization_qwen.py; an empty text is
an id that no token has."""


def parse_ranks(data: bytes, file: str) -> dict[bytes, int]:
    """Parse the lines of a file into tokens and ranks.

    Raises:
        FormatError: a line is not base64 and a number, or a token or rank stands twice.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        token, _, rank = line.partition(b" ")
        try:
            decoded, value = base64.b64decode(token, validate=True), int(rank)
        except (binascii.Error, ValueError) as error:
            raise FormatError(f"line {number:,} of {file} is not a token in base64 and its rank") from error
        if not decoded or not 0 <= value <= LARGEST_ID or decoded in ranks:
            raise FormatError(f"line {number:,} of {file} has an invalid token or rank")
        ranks[decoded] = value
    if not ranks:
        raise FormatError(f"{file} has no tokens")
    if len(set(ranks.values())) != len(ranks):
        raise FormatError(f"{file} has one rank for two tokens")
    return ranks


def looks_like_ranks(head: bytes) -> bool:
    """Return whether these are tiktoken's lines, not a protocol buffer, by the first of them."""
    token, space, rank = head.split(b"\n", 1)[0].rstrip(b"\r").partition(b" ")
    try:
        return bool(space and base64.b64decode(token, validate=True)) and rank.isdigit()
    except binascii.Error:
        return False


def read_ranks(data: bytes, file: str, added: Mapping[int, Added]) -> Vocabulary:
    """Read the vocabulary of a tiktoken file; `added` are the special tokens that a model names beside it.

    Raises:
        FormatError: the file is malformed.
    """
    ranks = parse_ranks(data, file)
    flavour = FLAVOURS.get(len(ranks))
    special = dict(added)
    if flavour is not None and not added:
        start = max(ranks.values()) + 1
        special = {start + place: Added(text, special=True) for place, text in enumerate(flavour.special) if text}
    spelling = ByteLevel()
    pieces = {rank: spelling.to_pieces(token)[0] for token, rank in ranks.items()}
    traits = Traits({"type": "ByteLevel"}, None, None, faithful=True, composes=False)
    entries = MemoryEntries(pieces, special, traits)

    def load() -> _Splitter:
        return _Splitter(ranks, special, flavour, file)

    return Vocabulary(f"{file}, tiktoken", lambda: entries, load)


class _Splitter(Splitter):
    """Splits text with the tiktoken library."""

    def __init__(
        self, ranks: Mapping[bytes, int], special: Mapping[int, Added], flavour: Flavour | None, file: str
    ) -> None:
        if flavour is None:
            raise NoVocabulary(
                f"{file} does not say how text is cut, and no known tokenizer has {len(ranks):,} ranks",
                hint="name one token by its text, by piece: or by id:",
            )
        self._encoding = _encoding(ranks, special, flavour, file)

    def split(self, text: str) -> list[int]:
        """Split a text; special tokens in it are those tokens."""
        found: list[int] = self._encoding.encode(text, allowed_special="all")
        return found


def _encoding(ranks: Mapping[bytes, int], special: Mapping[int, Added], flavour: Flavour, file: str) -> Any:
    try:
        from tiktoken import Encoding  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra.of(
            "tiktoken", f"splitting text for {file} needs", otherwise="name one token by its text, by piece: or by id:"
        ) from error
    names = {token.content: place for place, token in special.items()}
    return Encoding(file, pat_str=flavour.cut, mergeable_ranks=dict(ranks), special_tokens=names)
