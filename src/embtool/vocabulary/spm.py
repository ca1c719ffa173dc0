"""SentencePiece's own model file, `tokenizer.model`, read by the sentencepiece library.

The file is a protocol buffer with pieces, scores and the rules by which a text is normalised before it is split
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). The library is an extra; it gives
both the entries and the splitting. Tokens that a model has added beside the file are those of tokenizer_config.json.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embtool.errors import FormatError, MissingExtra
from embtool.storage.impostors import refuse
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.ordinary import LONGEST_PIECE, MAPS
from embtool.vocabulary.protobuf import SentencePieceModel, parse_model
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary

SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}


def read_sentencepiece(data: bytes, file: str, settings: Settings) -> Vocabulary:
    """Read the vocabulary of a SentencePiece model; `settings` name the tokens beside it.

    Raises:
        MissingExtra: the sentencepiece library is not installed.
        FormatError: the bytes are no such model.
    """
    processor = load_model(data, file)
    added = settings.added_by_id()
    try:
        pieces = {place: processor.id_to_piece(place) for place in range(processor.get_piece_size())}
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} has a piece that is not UTF-8") from error
    marked = {
        place: Added(piece, processor.is_control(place))
        for place, piece in pieces.items()
        if processor.is_control(place) or processor.is_unknown(place)
    }
    unknown = processor.unk_id()
    traits = Traits(SPACES, None, unknown if unknown >= 0 else None, faithful=False, composes=False)
    entries = MemoryEntries(pieces, {**marked, **added}, traits)
    names = {token.content: place for place, token in added.items() if not (settings.splits_special and token.special)}
    begin = [processor.bos_id()] if processor.bos_id() >= 0 else []
    splitter = TokenSplitter(batch(processor, data, file), names, begin, [])
    return Vocabulary(f"{file}, sentencepiece", lambda: entries, lambda: splitter)


def checked_model(data: bytes, file: str) -> SentencePieceModel:
    """Parse a model that the library takes.

    Raises:
        MissingExtra: the sentencepiece library is not installed.
        FormatError: the bytes are no such model.
    """
    load_model(data, file)
    return parse_model(data, file)


Batch = Callable[[Sequence[str]], list[list[int]]]
"""What splits several texts."""


def batch(processor: Any, data: bytes, file: str) -> Batch:
    """Return what splits texts: the library, or another process where the file could make it slow."""
    model = parse_model(data, file)
    known = not model.characters or hashlib.sha256(model.characters).hexdigest() in MAPS
    if known and all(len(piece) <= LONGEST_PIECE for piece in model.pieces):
        return lambda texts: processor.encode(list(texts)) if texts else []
    confined = Confined(data, file, "sentencepiece")
    return lambda texts: [found.ids for found in confined.encode_batch(texts)]


def load_model(data: bytes, file: str) -> Any:
    """Load a model into the library.

    Raises:
        MissingExtra: the library is not installed.
        FormatError: the bytes are no such model.
    """
    try:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra.of(
            "sentencepiece", f"reading {file} needs", otherwise="name rows by id:, such as id:70135"
        ) from error
    processor = SentencePieceProcessor()
    try:
        loaded = bool(data) and processor.LoadFromSerializedProto(data)
    except (RuntimeError, OSError, ValueError) as error:
        refuse(data, file)
        raise FormatError(f"{file} is not a SentencePiece model") from error
    if not loaded or not processor.get_piece_size():
        raise FormatError(f"{file} is not a SentencePiece model")
    return processor


class TokenSplitter(Splitter):
    """Splits text: added tokens first, which stand for themselves, the rest by the library.

    Args:
        split: splits the rest.
        added: the added tokens, and their ids.
        begin: what begins a sequence.
        end: what ends it.
        strips: those of the added tokens to which the spaces before them belong, and those behind them.
    """

    def __init__(
        self,
        split: Batch,
        added: Mapping[str, int],
        begin: Sequence[int],
        end: Sequence[int],
        strips: Mapping[str, tuple[bool, bool]] | None = None,
    ) -> None:
        super().__init__(begin, end)
        self.split = split
        self.added = added
        self._strips = strips or {}
        listed = "|".join(re.escape(content) for content in sorted(added, key=len, reverse=True) if content)
        self._cut = re.compile(f"({listed})") if listed else None

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split several texts, all the parts between added tokens at once."""
        cut = [self.parts(text) for text in texts]
        rest = [part for parts in cut for part in parts[::2] if part]
        found = iter(self.split(rest))
        return [
            [
                identity
                for place, part in enumerate(parts)
                if part
                for identity in ([self.added[part]] if place % 2 else next(found))
            ]
            for parts in cut
        ]

    def parts(self, text: str) -> list[str]:
        """Cut a text: what is between the added tokens, and these in every second place."""
        if self._cut is None:
            return [text]
        parts = self._cut.split(text)
        for place in range(1, len(parts), 2):
            before, behind = self._strips.get(parts[place], (False, False))
            parts[place - 1] = parts[place - 1].rstrip() if before else parts[place - 1]
            parts[place + 1] = parts[place + 1].lstrip() if behind else parts[place + 1]
        return parts


def checked_map(values: Any, file: str) -> bytes:
    """Return the table of replacements that a GGUF file has, if it is one: a trie, its length before it, then text.

    Raises:
        FormatError: it is none.
    """
    data = values.tobytes() if getattr(values, "itemsize", 0) == 1 else b""
    length = int.from_bytes(data[:4], "little")
    if not 0 < length <= len(data) - 4 or length % 4:
        raise FormatError(f"tokenizer.ggml.precompiled_charsmap in {file} is not a table of replacements")
    return data
