"""SentencePiece's own model file, `tokenizer.model`, read by the sentencepiece library.

The file is a protocol buffer with pieces, scores and the rules by which a text is normalised before it is split
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). The library is an extra; it gives
both the entries and the splitting. Tokens that a model has added beside the file are those of tokenizer_config.json.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from embtool.errors import FormatError, MissingExtra
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.ordinary import LONGEST_PIECE, MAPS
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary

SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}


def read_sentencepiece(data: bytes, file: str, added: Mapping[int, Added]) -> Vocabulary:
    """Read the vocabulary of a SentencePiece model; `added` are the tokens beside it, by id.

    Raises:
        MissingExtra: the sentencepiece library is not installed.
        FormatError: the bytes are no such model.
    """
    processor = _load(data, file)
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
    is_ordinary = all(len(piece) <= LONGEST_PIECE for piece in pieces.values()) and _has_known_map(data)
    confined = Confined(data, file, "sentencepiece")
    split = processor.encode if is_ordinary else lambda text: confined.encode(text).ids
    splitter = _Splitter(split, processor.bos_id(), {token.content: place for place, token in added.items()})
    return Vocabulary(f"{file}, sentencepiece", lambda: entries, lambda: splitter)


def _load(data: bytes, file: str) -> Any:
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
        raise FormatError(f"{file} is not a SentencePiece model") from error
    if not loaded or not processor.get_piece_size():
        raise FormatError(f"{file} is not a SentencePiece model")
    return processor


NORMALIZER, CHARACTERS = 3, 2
"""Fields of the protocol buffer: of a model its normalizer, of that the map of characters."""


def _has_known_map(data: bytes) -> bool:
    """Return whether a model changes characters as SentencePiece itself does, or not at all."""
    maps = [
        characters
        for normalizer in _messages(data, NORMALIZER)
        for characters in _messages(normalizer, CHARACTERS)
        if characters
    ]
    return all(hashlib.sha256(characters).hexdigest() in MAPS for characters in maps)


def _messages(data: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the bytes of a field of a protocol buffer (https://protobuf.dev/programming-guides/encoding/)."""
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        if key & 7 == BYTES:
            length, place = _number(data, place)
            if key >> 3 == wanted:
                yield data[place : place + length]
            place += length
        elif key & 7 == VARINT:
            _, place = _number(data, place)
        else:
            place += 4 if key & 7 == FOUR else 8


VARINT, BYTES, FOUR = 0, 2, 5
"""Kinds of fields in a protocol buffer: a number, so many bytes, four bytes."""


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, and tell where it ends."""
    number = shift = 0
    while place < len(data):
        number |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:  # noqa: PLR2004 - the eighth bit says that there are more
            break
    return number, place


class _Splitter(Splitter):
    """Splits text: added tokens first, which stand for themselves, the rest by the library."""

    def __init__(self, split: Callable[[str], list[int]], start: int, added: Mapping[str, int]) -> None:
        self._split = split
        self._start = start
        self._added = added
        listed = "|".join(re.escape(content) for content in sorted(added, key=len, reverse=True) if content)
        self._cut = re.compile(f"({listed})") if listed else None

    def begin(self) -> list[int]:
        """Return the beginning, which models with such a file expect."""
        return [self._start] if self._start >= 0 else []

    def split(self, text: str) -> list[int]:
        """Split a text."""
        ids: list[int] = []
        for part in self._cut.split(text) if self._cut is not None else [text]:
            if part in self._added:
                ids.append(self._added[part])
            elif part:
                ids += self._split(part)
        return ids
