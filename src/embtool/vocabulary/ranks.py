"""tiktoken's vocabulary files: one token a line, its bytes in base64 and its rank, which is its id.

The file does not say how text is cut before bytes are merged, nor which special tokens stand beyond the ranks. That is
known for those whose number of ranks is known (`FLAVOURS`); of others the tokens are still found by text, bytes and id.
Text is split by the tiktoken library (https://github.com/openai/tiktoken), an extra.

A piece is spelled as byte-level tokenizers spell it (`Ġcat`), because bytes have no spelling of their own here.
"""

import base64
import binascii
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from embtool.errors import FormatError, MissingExtra, NoVocabulary
from embtool.vocabulary.cuts import GPT4O, KIMI, LLAMA3, QWEN2
from embtool.vocabulary.entries import LARGEST_ID, Added, MemoryEntries, Traits
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.spelling import ByteLevel
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.whisper import added_names
from embtool.vocabulary.words import Vocabulary

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Flavour:
    """How text is cut, and which special tokens there are beside the ranks.

    Attributes:
        cut: an expression.
        special: those behind the last rank, in their order; an empty text is an id that no token has.
        inside: those at a rank that the file leaves out, by id.
        reserved: how many ids behind the ranks have a token, `<|reserved_token_ID|>` where nothing names another.
        begin: the special tokens that begin a sequence.
        composes: whether text is normalised to NFC first.
    """

    cut: str
    special: tuple[str, ...] = ()
    inside: Mapping[int, str] = field(default_factory=dict)
    reserved: int = 0
    begin: tuple[str, ...] = ()
    composes: bool = False


def _reserved(count: int, start: int = 0, name: str = "") -> tuple[str, ...]:
    return tuple(f"<|{name}reserved_special_token_{place}|>" for place in range(start, start + count))


def _named(names: str) -> tuple[str, ...]:
    return tuple(f"<|{name}|>" for name in names.split())


LLAMA3_SPECIAL = (
    *_named("begin_of_text end_of_text"),
    *_reserved(4),
    *_named("start_header_id end_header_id"),
    *_reserved(1, 4),
    "<|eot_id|>",
    *_reserved(246, 5),
)
"""Llama 3's 256 special tokens (https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py)."""


_LLAMA4 = (
    *_named("begin_of_text end_of_text fim_prefix fim_middle fim_suffix header_start header_end eom eot step"),
    *_reserved(6, 0, "text_post_train_"),
    *_named("python_start python_end finetune_right_pad"),
    *_reserved(61, 8, "text_post_train_"),
    *_named("image_start image_end"),
    *_reserved(2, 0, "vision_"),
    *_named("tile_x_separator tile_y_separator"),
    *_reserved(4, 2, "vision_"),
    "<|image|>",
    *_reserved(1, 6, "vision_"),
    "<|patch|>",
    *_reserved(1041, 7, "vision_"),
    *_reserved(8, 0, "reasoning_"),
    *_named("reasoning_thinking_start reasoning_thinking_end"),
)
LLAMA4_SPECIAL = (*_LLAMA4, *_reserved(2048 - len(_LLAMA4)))
"""Llama 4's 2,048 special tokens (https://github.com/meta-llama/llama-models)."""


QWEN = Flavour(
    QWEN2,
    (*_named("endoftext im_start im_end"), *(f"<|extra_{place}|>" for place in range(205))),
    composes=True,
)
_END_OF_PROMPT = (*[""] * 15, "<|endofprompt|>")

FLAVOURS: Mapping[int, Flavour] = MappingProxyType(
    {
        50_256: Flavour(GPT2, ("<|endoftext|>",)),
        50_280: Flavour(GPT2, inside={50_256: "<|endoftext|>"}),
        100_256: Flavour(LLAMA3, ("", *_named("endoftext fim_prefix fim_middle fim_suffix"), *_END_OF_PROMPT)),
        128_000: Flavour(LLAMA3, LLAMA3_SPECIAL, begin=("<|begin_of_text|>",)),
        151_329: Flavour(LLAMA3, begin=("[gMASK]", "<sop>")),
        151_643: QWEN,
        163_584: Flavour(KIMI, reserved=256),
        199_998: Flavour(GPT4O, ("", "<|endoftext|>", "", "", "", *_END_OF_PROMPT)),
        200_000: Flavour(GPT4O, LLAMA4_SPECIAL, begin=("<|begin_of_text|>",)),
    }
)
"""What is known of a file by its number of ranks: GPT-2 (r50k_base), p50k_base, GPT-4 (cl100k_base), Llama 3, GLM-4,
Qwen, Kimi, GPT-4o (o200k_base), Llama 4. Of tiktoken's openai_public.py and the models' own tokenizers."""

CLASS_FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {"QWenTokenizer": QWEN, "TikTokenTokenizer": FLAVOURS[163_584]}
)
"""What is known by the class that the folder names, where the number of ranks is not known."""


def parse_ranks(data: bytes, file: str) -> dict[bytes, int]:
    """Parse the lines of a file into tokens and ranks.

    A line may have a rank without a token, as OpenAI's file for Whisper has: that is the empty one.

    Raises:
        FormatError: a line is not base64 and a number, or a token or rank stands twice.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        token, _, rank = line.partition(b" ")
        try:
            decoded = base64.b64decode(b"" if token == b"=" else token, validate=True)
        except binascii.Error as error:
            raise FormatError(f"line {number:,} of {file} is not a token in base64 and its rank") from error
        if not rank.strip().isdigit():  # `int` takes `1_0` too
            raise FormatError(f"line {number:,} of {file} is not a token in base64 and its rank")
        value = int(rank)
        if (not decoded and token != b"=") or not 0 <= value <= LARGEST_ID or decoded in ranks:
            raise FormatError(f"line {number:,} of {file} has an invalid token or rank")
        ranks[decoded] = value
    if not any(ranks):
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


def read_ranks(data: bytes, file: str, settings: Settings) -> Vocabulary:
    """Read the vocabulary of a tiktoken file; `settings` name the class, special tokens, and how many rows there are.

    Raises:
        FormatError: the file is malformed.
    """
    ranks = parse_ranks(data, file)
    name, size = settings.name, settings.config().get("vocab_size")
    added = settings.added_by_id()
    last = max(ranks.values())
    is_whisper = ranks.pop(b"", None) is not None or name == "WhisperTokenizer"
    flavour = (
        Flavour(GPT2, _named(" ".join(added_names(last + 1, size))))
        if is_whisper
        else FLAVOURS.get(len(ranks)) or CLASS_FLAVOURS.get(name or "")
    )
    special = dict(added)
    if flavour is not None and not added:
        special = {last + 1 + place: Added(text, special=True) for place, text in enumerate(flavour.special) if text}
        special |= {place: Added(text, special=True) for place, text in flavour.inside.items()}
    if flavour is not None:
        for place in range(len(ranks), len(ranks) + flavour.reserved):
            special.setdefault(place, Added(f"<|reserved_token_{place}|>", special=True))
    spelling = ByteLevel()
    pieces = {rank: spelling.to_pieces(token)[0] for token, rank in ranks.items()}
    is_faithful = flavour is None or not flavour.composes
    traits = Traits({"type": "ByteLevel"}, None, None, faithful=True, composes=not is_faithful)
    entries = MemoryEntries(pieces, special, traits)

    def load() -> _Splitter:
        return _Splitter(ranks, special, flavour, file, splits_special=settings.splits_special)

    return Vocabulary(f"{file}, tiktoken", lambda: entries, load)


class _Splitter(Splitter):
    """Splits text with the tiktoken library."""

    def __init__(
        self,
        ranks: Mapping[bytes, int],
        special: Mapping[int, Added],
        flavour: Flavour | None,
        file: str,
        *,
        splits_special: bool,
    ) -> None:
        if flavour is None:
            raise NoVocabulary(
                f"{file} does not say how text is cut, and no known tokenizer has {len(ranks):,} ranks",
                hint="name one token by its text, by piece: or by id:",
            )
        names = {token.content: place for place, token in special.items()}
        super().__init__([names[token] for token in flavour.begin if token in names])
        self._encoding = _encoding(ranks, names, flavour, file)
        self._composes = flavour.composes
        looked_for = (token.content for token in special.values() if not (splits_special and token.special))
        self._looked_for = frozenset(looked_for)

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split texts; special tokens in them are those tokens, where they are looked for."""
        normal = [unicodedata.normalize("NFC", text) for text in texts] if self._composes else texts
        return [self._encoding.encode(text, allowed_special=self._looked_for, disallowed_special=()) for text in normal]


def _encoding(ranks: Mapping[bytes, int], names: Mapping[str, int], flavour: Flavour, file: str) -> Any:
    try:
        from tiktoken import Encoding  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra.of(
            "tiktoken", f"splitting text for {file} needs", otherwise="name one token by its text, by piece: or by id:"
        ) from error
    return Encoding(file, pat_str=flavour.cut, mergeable_ranks=dict(ranks), special_tokens=dict(names))
