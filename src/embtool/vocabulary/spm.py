"""SentencePiece's own model file, `tokenizer.model`, read by the sentencepiece library.

The file is a protocol buffer with pieces, scores and the rules by which a text is normalised before it is split
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). The library is an extra; it gives
both the entries and the splitting. Tokens that a model has added beside the file are those of tokenizer_config.json.
"""

import re
from collections.abc import Mapping
from typing import Any

from embtool.errors import FormatError, MissingLibrary
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.splitter import Splitter
from embtool.vocabulary.words import Vocabulary

SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}


def read_sentencepiece(data: bytes, file: str, added: Mapping[int, Added]) -> Vocabulary:
    """Read the vocabulary of a SentencePiece model; `added` are the tokens beside it, by id.

    Raises:
        MissingLibrary: the sentencepiece library is not installed.
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
    splitter = _Splitter(processor, {token.content: place for place, token in added.items()})
    return Vocabulary(f"{file}, sentencepiece", lambda: entries, lambda: splitter)


def _load(data: bytes, file: str) -> Any:
    try:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingLibrary(
            f"{file} is read by the sentencepiece library, which is not installed",
            hint="pip install sentencepiece, or name rows by id:, such as id:70135",
        ) from error
    processor = SentencePieceProcessor()
    try:
        loaded = bool(data) and processor.LoadFromSerializedProto(data)
    except (RuntimeError, OSError, ValueError) as error:
        raise FormatError(f"{file} is not a SentencePiece model") from error
    if not loaded or not processor.get_piece_size():
        raise FormatError(f"{file} is not a SentencePiece model")
    return processor


class _Splitter(Splitter):
    """Splits text: added tokens first, which stand for themselves, the rest by the library."""

    def __init__(self, processor: Any, added: Mapping[str, int]) -> None:
        self._processor = processor
        self._added = added
        listed = "|".join(re.escape(content) for content in sorted(added, key=len, reverse=True) if content)
        self._cut = re.compile(f"({listed})") if listed else None

    def begin(self) -> list[int]:
        """Give the beginning, which models with such a file expect."""
        start = self._processor.bos_id()
        return [start] if start >= 0 else []

    def split(self, text: str) -> list[int]:
        """Split a text."""
        ids: list[int] = []
        for part in self._cut.split(text) if self._cut is not None else [text]:
            if part in self._added:
                ids.append(self._added[part])
            elif part:
                ids += self._processor.encode(part)
        return ids
