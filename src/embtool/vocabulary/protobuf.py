"""SentencePiece's model file, as far as it is needed to split text as it says.

The file is a protocol buffer (https://protobuf.dev/programming-guides/encoding/) with pieces, scores and the rules by
which a text is normalised before it is split; the numbers of the fields are those of
https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embtool.errors import FormatError
from embtool.vocabulary.entries import LARGEST_ID

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""Kinds of fields: a number, eight bytes, so many bytes, four bytes."""

PIECES, TRAINER, NORMALIZER = 1, 2, 3
"""Fields of a model."""

PIECE, SCORE, TYPE = 1, 2, 3
"""Fields of a piece."""

MODEL_TYPE, BYTE_FALLBACK, UNKNOWN_ID, BEGIN_ID, END_ID = 3, 35, 40, 41, 42
"""Fields of what the trainer was told."""

CHARACTERS, DUMMY_PREFIX, REMOVE_SPACES = 2, 3, 4
"""Fields of the normalizer."""

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of a piece; llama.cpp gives them the same numbers."""

UNIGRAM, BPE = 1, 2
"""Types of a model; the others, words and characters, are not split by tokenizers."""


@dataclass(frozen=True)
class SentencePieceModel:
    """What a file says; pieces, scores and types in the order of ids.

    Attributes:
        kind: `UNIGRAM` or `BPE`, or another number.
        characters: the map of characters that are changed first; empty where none are.
        begin, end: ids of the pieces for the beginning and the end of a text, -1 where there is none.
    """

    pieces: list[str]
    scores: list[float]
    types: list[int]
    kind: int
    unknown: int
    begin: int
    end: int
    byte_fallback: bool
    characters: bytes
    dummy_prefix: bool
    remove_spaces: bool


def parse_model(data: bytes, file: str) -> SentencePieceModel:
    """Parse a file.

    Raises:
        FormatError: it is no SentencePiece model.
    """
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    try:
        for number, value in fields(data):
            if number == PIECES:
                piece = dict(fields(value))
                pieces.append(piece[PIECE].decode())
                scores.append(piece.get(SCORE, 0.0))
                types.append(piece.get(TYPE, NORMAL))
            elif number in (TRAINER, NORMALIZER):
                (trainer if number == TRAINER else normalizer).update(fields(value))
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} has a piece that is not UTF-8") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error) as error:
        raise FormatError(f"{file} is not a SentencePiece model") from error
    if not pieces:
        raise FormatError(f"{file} is not a SentencePiece model")
    return SentencePieceModel(
        pieces,
        scores,
        types,
        kind=trainer.get(MODEL_TYPE, UNIGRAM),
        unknown=types.index(UNKNOWN) if UNKNOWN in types else _signed(trainer.get(UNKNOWN_ID, 0)),
        begin=_signed(trainer.get(BEGIN_ID, 1)),
        end=_signed(trainer.get(END_ID, 2)),
        byte_fallback=bool(trainer.get(BYTE_FALLBACK, 0)),
        characters=normalizer.get(CHARACTERS, b""),
        dummy_prefix=bool(normalizer.get(DUMMY_PREFIX, 1)),
        remove_spaces=bool(normalizer.get(REMOVE_SPACES, 1)),
    )


def _signed(value: int) -> int:
    """Read an id; one below 0, which says that there is no such piece, is written as a very large number."""
    return value if value <= LARGEST_ID else -1


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number of each field of a message with its value: a number, a float, or bytes.

    Raises:
        ValueError: the message is cut off, or holds what no such file holds.
    """
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _number(data, place)
            yield key >> 3, value
            continue
        if kind == BYTES:
            length, place = _number(data, place)
        elif kind in (FOUR, EIGHT):
            length = 4 if kind == FOUR else 8
        else:
            raise ValueError(kind)
        if place + length > len(data):
            raise ValueError(length)
        found = data[place : place + length]
        place += length
        yield key >> 3, struct.unpack("<f", found)[0] if kind == FOUR else found


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, and tell where it ends."""
    number = data[place]
    place += 1
    if number < 128:  # noqa: PLR2004 - the eighth bit says that there are more
        return number, place
    number &= 127
    shift = 7
    while shift < 70:  # noqa: PLR2004 - 64 bits are ten bytes
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - as above
            return number, place
        shift += 7
    raise ValueError(number)
