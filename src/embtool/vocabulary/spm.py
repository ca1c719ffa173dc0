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
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.entries import Added, MemoryEntries, Traits, number
from embtool.vocabulary.ordinary import LONGEST_PIECE, MAPS
from embtool.vocabulary.protobuf import SentencePieceModel, parse_model
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
    names = {token.content: place for place, token in added.items()}
    begin = [processor.bos_id()] if processor.bos_id() >= 0 else []
    splitter = _Splitter(_split(processor, data, file), names, begin, [])
    return Vocabulary(f"{file}, sentencepiece", lambda: entries, lambda: splitter)


def checked_model(data: bytes, file: str) -> SentencePieceModel:
    """Parse a model that the library takes.

    Raises:
        MissingExtra: the sentencepiece library is not installed.
        FormatError: the bytes are no such model.
    """
    _load(data, file)
    return parse_model(data, file)


def read_marian(
    vocabulary: Mapping[str, int], data: bytes, tokens: Sequence[Mapping[str, Any]], file: str
) -> Vocabulary:
    """Read the vocabulary of a Marian: ids from vocab.json, text split by the SentencePiece model of the source.

    `tokens` are the special tokens, as tokenizer.json has them; a piece that vocab.json lacks is the unknown token.
    A language code such as `>>fra<<` stands for itself where it begins a text.
    """
    ids = dict(vocabulary)
    ids.update(
        zip(
            (token["content"] for token in tokens),
            number((token["content"] for token in tokens), vocabulary, len(vocabulary)),
            strict=True,
        )
    )
    added = {ids[token["content"]]: Added(token["content"], token["special"]) for token in tokens}
    unknown = vocabulary.get("<unk>")
    if unknown is None:
        raise FormatError(f"{file} has no <unk>, which Marian needs")
    entries = MemoryEntries(
        {place: piece for piece, place in vocabulary.items()},
        added,
        Traits(SPACES, None, unknown, faithful=False, composes=False),
    )

    def load() -> _Splitter:
        processor = _load(data, "source.spm")
        split = _split(processor, data, "source.spm")
        places = [ids.get(processor.id_to_piece(place), unknown) for place in range(processor.get_piece_size())]

        def encode(texts: Sequence[str]) -> list[list[int]]:
            codes = [CODE.match(text) for text in texts]
            rest = [text[code.end() :] if code is not None else text for code, text in zip(codes, texts, strict=True)]
            return [
                [*([ids.get(code[0], unknown)] if code is not None else []), *(places[place] for place in found)]
                for code, found in zip(codes, split(rest), strict=True)
            ]

        end = ids.get("</s>")
        return _Splitter(
            encode, {token["content"]: ids[token["content"]] for token in tokens}, [], [] if end is None else [end]
        )

    return Vocabulary(f"{file}, MarianTokenizer", lambda: entries, load)


CODE = re.compile(r">>.*?<<", re.DOTALL)
"""What a text for a Marian of several languages begins with."""


Batch = Callable[[Sequence[str]], list[list[int]]]
"""What splits several texts."""


def _split(processor: Any, data: bytes, file: str) -> Batch:
    """Return what splits texts: the library, or another process where the file could make it slow."""
    model = parse_model(data, file)
    known = not model.characters or hashlib.sha256(model.characters).hexdigest() in MAPS
    if known and all(len(piece) <= LONGEST_PIECE for piece in model.pieces):
        return lambda texts: processor.encode(list(texts)) if texts else []
    confined = Confined(data, file, "sentencepiece")
    return lambda texts: [found.ids for found in confined.encode_batch(texts)]


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


class _Splitter(Splitter):
    """Splits text: added tokens first, which stand for themselves, the rest by the library."""

    def __init__(self, split: Batch, added: Mapping[str, int], begin: list[int], end: list[int]) -> None:
        super().__init__(begin, end)
        self._split = split
        self._added = added
        listed = "|".join(re.escape(content) for content in sorted(added, key=len, reverse=True) if content)
        self._cut = re.compile(f"({listed})") if listed else None

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split several texts, all the parts between added tokens at once."""
        cut = [self._cut.split(text) if self._cut is not None else [text] for text in texts]
        rest = [part for parts in cut for part in parts if part and part not in self._added]
        found = iter(self._split(rest))
        return [
            [
                identity
                for part in parts
                if part
                for identity in ([self._added[part]] if part in self._added else next(found))
            ]
            for parts in cut
        ]
