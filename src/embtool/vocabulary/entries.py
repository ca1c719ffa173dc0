"""The entries of a vocabulary: which id has which piece.

Read from tokenizer.json itself, because that takes a fifth of the time in which the tokenizers library builds the whole
machine; the tests hold the two against each other. `MemoryEntries` holds them all; `embtool.vocabulary.index` keeps
them in a file, where one can be looked up without reading the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

from embtool.errors import FormatError
from embtool.vocabulary.spelling import END_MARKED, Spelling, choose_spelling, parts, pattern

State = dict[str, Any]
"""A part of a tokenizer as tokenizer.json has it."""

LARGEST_ID = (1 << 32) - 1
"""Token ids are 32-bit in the tokenizers library."""


@dataclass(frozen=True)
class Added:
    """A token added beside the trained vocabulary; its content stands for itself, whatever the spelling."""

    content: str
    special: bool


@dataclass(frozen=True)
class Traits:
    """What else of a tokenizer matters to look up a token.

    `faithful`: text is split into pieces whose bytes are exactly the text, so that a text which is no entry is not one
    token. `composes`: the same after Unicode normalization to NFC.
    """

    decoder: Any
    pre_tokenizer: Any
    unknown: int | None
    faithful: bool
    composes: bool

    @cached_property
    def spelling(self) -> Spelling:
        """How the tokenizer writes bytes as pieces."""
        return choose_spelling(self.decoder, self.pre_tokenizer)


Ranges = tuple[tuple[int, int], ...]
"""Whole numbers, as the first and the last of each run without a gap."""


def runs(numbers: Collection[int]) -> Ranges:
    """Return different whole numbers as runs.

    >>> runs([7, 1, 2, 3])
    ((1, 3), (7, 7))
    """
    if not numbers or max(numbers) - min(numbers) == len(numbers) - 1:
        return ((min(numbers), max(numbers)),) if numbers else ()
    found = sorted(numbers)
    breaks = [place for place in range(1, len(found)) if found[place] - found[place - 1] > 1]
    return tuple((found[first], found[last - 1]) for first, last in pairwise([0, *breaks, len(found)]))


class Entries(ABC):
    """Piece and id of every token."""

    traits: Traits
    added: Mapping[int, Added]
    index: str | None = None

    @property
    @abstractmethod
    def ranges(self) -> Ranges:
        """Every id: the first and the last of each run without a gap, in their order."""

    @abstractmethod
    def piece(self, identity: int) -> str | None:
        """Return the piece of an id."""

    @abstractmethod
    def id(self, piece: str) -> int | None:
        """Return the id of a piece."""

    @abstractmethod
    def items(self) -> Iterable[tuple[int, str]]:
        """Yield every id with its piece, in the order of ids."""

    def beginning(self, start: str, most: int) -> list[tuple[int, str]]:
        """List the first entries, in the order of ids, whose piece begins so."""
        return list(islice((entry for entry in self.items() if entry[1].startswith(start)), most))


class MemoryEntries(Entries):
    """Entries held in memory; of two ids with one piece the smaller is found by it."""

    def __init__(self, pieces: Mapping[int, str], added: Mapping[int, Added], traits: Traits) -> None:
        self.traits = traits
        self.added = added
        self._pieces = {**pieces, **{identity: token.content for identity, token in added.items()}}

    @cached_property
    def ranges(self) -> Ranges:
        """Every id."""
        return runs(self._pieces)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: identity for identity, piece in sorted(self._pieces.items(), reverse=True)}

    def piece(self, identity: int) -> str | None:
        """Return the piece of an id."""
        return self._pieces.get(identity)

    def id(self, piece: str) -> int | None:
        """Return the id of a piece."""
        return self._ids.get(piece)

    def items(self) -> Iterable[tuple[int, str]]:
        """Yield every id with its piece, in the order of ids."""
        return sorted(self._pieces.items())


def parse_tokenizer(state: Mapping[str, Any], file: str) -> MemoryEntries:
    """Read the entries of a decoded tokenizer.json.

    Raises:
        FormatError: it is not what a tokenizer.json holds.
    """
    model = state.get("model")
    if not isinstance(model, dict):
        raise FormatError(f"{file} has no model: it is not a tokenizer")
    pieces, unknown = _pieces(model.get("vocab"), model, file)
    suffix, decoder = model.get("end_of_word_suffix"), state.get("decoder")
    if isinstance(suffix, str) and suffix:
        decoder = {"type": END_MARKED, "suffix": suffix, "decoder": decoder}
    traits = Traits(
        decoder=decoder,
        pre_tokenizer=state.get("pre_tokenizer"),
        unknown=unknown,
        faithful=_faithful(state),
        composes=any(part.get("type") == "NFC" for part in parts(state.get("normalizer"))),
    )
    vocabulary = model["vocab"]
    ids = vocabulary if isinstance(vocabulary, dict) else {piece: place for place, piece in pieces.items()}
    return MemoryEntries(pieces, _added(state.get("added_tokens"), ids, len(vocabulary), file), traits)


def _pieces(vocabulary: Any, model: Mapping[str, Any], file: str) -> tuple[dict[int, str], int | None]:
    """Read the trained vocabulary: a table from pieces to ids, or Unigram's list of pieces and scores.

    Of two places in a list with one piece the library knows the last.
    """
    if isinstance(vocabulary, dict):
        if not all(type(identity) is int and 0 <= identity <= LARGEST_ID for identity in vocabulary.values()):
            raise FormatError(f"{file} has a vocabulary with an invalid id")
        unknown = model.get("unk_token")
        return (
            {identity: piece for piece, identity in vocabulary.items()},
            vocabulary.get(unknown) if isinstance(unknown, str) else None,
        )
    if isinstance(vocabulary, list):
        if not all(isinstance(entry, list) and entry and isinstance(entry[0], str) for entry in vocabulary):
            raise FormatError(f"{file} has a vocabulary with an entry that is not a piece and a score")
        unknown = model.get("unk_id")
        places = {entry[0]: place for place, entry in enumerate(vocabulary)}
        return {place: piece for piece, place in places.items()}, unknown if type(unknown) is int else None
    raise FormatError(f"{file} has no vocabulary: it is not a tokenizer")


def _added(tokens: Any, ids: Mapping[str, int], size: int, file: str) -> dict[int, Added]:
    """Read the tokens added beside the trained vocabulary, under the ids that the library gives them."""
    contents: list[str] = []
    special: list[bool] = []
    for token in tokens if isinstance(tokens, list) else []:
        identity, content = (token.get("id"), token.get("content")) if isinstance(token, dict) else (None, None)
        if type(identity) is not int or not 0 <= identity <= LARGEST_ID or not isinstance(content, str):
            raise FormatError(f"{file} has an added token without an id or a content")
        contents.append(content)
        special.append(token.get("special") is True)
    found = zip(number(contents, ids, size), contents, special, strict=True)
    return {identity: Added(content, kind) for identity, content, kind in found if content}


def number(contents: Iterable[str], ids: Mapping[str, int], size: int) -> list[int]:
    """Return the ids that the tokenizers library gives to added tokens, whatever a file says of them.

    One whose content is a piece has that piece's id; the others follow the `size` entries of the vocabulary in turn,
    even where an id there is taken.
    """
    known: dict[str, int] = {}
    following = size
    found = []
    for content in contents:
        if content not in known:
            known[content] = ids.get(content, following)
            following += bool(content) and content not in ids
        found.append(known[content])
    return found


def _faithful(state: Mapping[str, Any]) -> bool:
    """Return whether text is split into pieces whose bytes are the text: nothing folded, nothing put before it."""
    for part in parts(state.get("normalizer")):
        plain = part.get("type") == "NFC"
        spaces = part.get("type") == "Replace" and pattern(part) == " " and part.get("content") == "▁"
        if not (plain or spaces):
            return False
    splitters = parts(state.get("pre_tokenizer"))
    kept = ("ByteLevel", "Split", "Digits", "Punctuation")
    if any(part.get("type") not in kept or part.get("add_prefix_space") for part in splitters):
        return False
    if any(part.get("behavior") == "Removed" for part in splitters):
        return False
    model = state["model"]
    byte_level = any(part.get("type") == "ByteLevel" for part in splitters)
    return model.get("type", "BPE") == "BPE" and (byte_level or model.get("byte_fallback") is True)
