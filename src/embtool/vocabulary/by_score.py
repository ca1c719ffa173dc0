"""SentencePiece's byte pairs as llama.cpp merges them: of two pieces with one score, what stands further left first.

The tokenizers library merges by a list of pairs of pieces, which cannot say that. So this is for vocabularies in which
pieces share a score, as those do that were extended by thousands of words with the score 0, and for those that have
pieces of characters which are none themselves.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import groupby

from embtool.vocabulary.entries import State
from embtool.vocabulary.splitter import Splitter

WORD = "▁"

SPACES = " \t\n\v\f\r"
"""What C calls a space."""


def needs_scores(scores: Mapping[str, float]) -> bool:
    """Return whether no list of pairs says how pieces are merged.

    So it is where several share a score, other than runs of one character, of which the longest may come first, and
    where one is made of characters that are no pieces.
    """
    made = [piece for piece in scores if len(piece) > 1]
    if not scores.keys() >= set().union(*made):
        return True
    groups = groupby(sorted(made, key=scores.__getitem__), key=scores.__getitem__)
    return any(
        len(group) > 1 and any(piece.strip(piece[0]) for piece in group)
        for group in (list(group) for _, group in groups)
    )


class ByScore(Splitter):
    """Splits text: at the added tokens, the longest first, and what is between them by merging characters.

    Args:
        ids: the ids of the pieces.
        scores: their scores.
        added: the added tokens, as tokenizer.json has them.
        unknown: what stands for a character that has no piece and whose bytes have none.
        prefix: whether a space is put before a text, and behind each added token.
        begin: what begins a sequence.
        end: what ends it.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        scores: Mapping[str, float],
        added: Sequence[State],
        *,
        unknown: int | None,
        prefix: bool,
        begin: Sequence[int],
        end: Sequence[int],
    ) -> None:
        super().__init__(begin, end)
        self._ids = ids
        self._scores = scores
        named = (token for token in added if token["content"])
        self._added = sorted(named, key=lambda token: -len(token["content"].encode()))
        self._unknown = unknown
        self._prefix = WORD if prefix else ""

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split texts."""
        found = []
        for text in texts:
            parts: list[str | int] = [text]
            for token in self._added:
                if token["content"] in text:
                    parts = [new for part in parts for new in (_cut(part, token) if isinstance(part, str) else [part])]
            split = ([part] if isinstance(part, int) else self._merged(part) for part in parts if part != "")
            found.append([place for places in split for place in places])
        return found

    def _merged(self, text: str) -> list[int]:
        found: list[int | None] = []
        for piece in merge(f"{self._prefix}{text.replace(' ', WORD)}", self._scores):
            places = [self._ids.get(piece)]
            if places == [None]:
                places = [self._ids.get(f"<0x{byte:02X}>") for byte in piece.encode()]
            if None in places:
                places = [self._unknown] if found[-1:] != [self._unknown] else []
            found += places
        return [place for place in found if place is not None]


def _cut(text: str, token: State) -> list[str | int]:
    """Cut a text wherever a token stands, which may take the spaces beside it."""
    parts: list[str | int] = []
    while True:
        before, found, text = text.partition(token["content"])
        parts.append(before.rstrip(SPACES) if found and token["lstrip"] else before)
        if not found:
            return parts
        parts.append(token["id"])
        text = text.lstrip(SPACES) if token["rstrip"] else text


def merge(text: str, scores: Mapping[str, float]) -> list[str]:
    """Merge neighbours, those with the best score of what they make first, and of several the leftmost."""
    symbols = list(text)
    before, behind = [*range(-1, len(symbols) - 1)], [*range(1, len(symbols) + 1)]
    queue: list[tuple[float, int, str]] = []

    def look(place: int) -> None:
        if place >= 0 and behind[place] < len(symbols):
            made = symbols[place] + symbols[behind[place]]
            if made in scores:
                heappush(queue, (-scores[made], place, made))

    for place in range(len(symbols)):
        look(place)
    while queue:
        _, place, made = heappop(queue)
        other = behind[place]
        if not symbols[place] or other >= len(symbols) or symbols[place] + symbols[other] != made:
            continue
        symbols[place], symbols[other] = made, ""
        behind[place] = behind[other]
        if behind[place] < len(symbols):
            before[behind[place]] = place
        look(before[place])
        look(place)
    return [symbol for symbol in symbols if symbol]
