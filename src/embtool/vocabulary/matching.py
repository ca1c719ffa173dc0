"""Which tokens two vocabularies share, by their bytes: however each spells and numbers them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from embtool.arrays import Flags, Ints, np
from embtool.vocabulary.words import Vocabulary

Ids = Ints
Entry = tuple[int, str, bytes]
"""An id, its piece, and its bytes."""

NOWHERE = -1
"""The counterpart of a token, or of a row, that has none."""


@dataclass(frozen=True)
class TokenMatch:
    """Which token of B stands for the same bytes as a token of A, one for one.

    Attributes:
        ids: Every id of A, sorted: int64 (tokens of A,).
        counterpart: For each of them the id in B, or NOWHERE: int64 (tokens of A,).
        ids_b: Every id of B, sorted: int64 (tokens of B,).
    """

    ids: Ids
    counterpart: Ids
    ids_b: Ids

    @cached_property
    def same(self) -> Ids:
        """Ids that are the same token in both."""
        found: Ids = self.ids[self.counterpart == self.ids]
        return found

    @cached_property
    def moved(self) -> Ids:
        """Ids of A whose token has another id in B."""
        found: Ids = self.ids[(self.counterpart != self.ids) & (self.counterpart != NOWHERE)]
        return found

    @cached_property
    def only_a(self) -> Ids:
        """Ids of tokens that B lacks."""
        found: Ids = self.ids[self.counterpart == NOWHERE]
        return found

    @cached_property
    def only_b(self) -> Ids:
        """Ids of tokens that A lacks."""
        if np.array_equal(self.ids_b, self.counterpart):  # which is quick
            return np.empty(0, np.int64)
        return np.setdiff1d(self.ids_b, self.counterpart, assume_unique=True)

    @cached_property
    def reassigned(self) -> Ids:
        """Ids that both have, with different tokens."""
        unlike = self.ids[self.counterpart != self.ids]  # few, or none
        found: Ids = unlike[np.isin(unlike, self.ids_b, assume_unique=True)]
        return found

    def in_b(self, ids: Ids) -> Ids:
        """Return the counterparts of ids of A: int64, as many."""
        found: Ids = self.counterpart[np.searchsorted(self.ids, ids)]
        return found


def match_tokens(a: Vocabulary, b: Vocabulary) -> TokenMatch:
    """Match the tokens of two vocabularies that stand for the same bytes, each with one at most.

    What has the same bytes under the same id belongs together first; of the others, what has the same piece too, as `A`
    and `<0x41>` have the same bytes; of equals the smaller ids.
    """
    if a.index is not None and a.index == b.index:
        return TokenMatch(a.ids, a.ids, a.ids)
    pieces, others = a.pieces(), b.pieces()
    ids, ids_b = (np.fromiter((identity for identity, _ in each), np.int64, len(each)) for each in (pieces, others))
    counterpart = np.full(len(ids), NOWHERE, np.int64)
    same = _spelled_alike(a, b, pieces, others)
    counterpart[same] = ids[same]
    left = ~same
    if left.any():
        taken = set(ids[same].tolist())
        ours = [entry for entry, is_left in zip(a.entries(), left.tolist(), strict=True) if is_left]
        theirs = {entry[0]: entry for entry in b.entries() if entry[0] not in taken}
        for key in (itemgetter(0, 2), itemgetter(1, 2), itemgetter(2)):  # id and bytes; piece and bytes; bytes
            _match(counterpart, ids, ours, theirs, key)
    return TokenMatch(ids, counterpart, ids_b)


def _spelled_alike(
    a: Vocabulary, b: Vocabulary, pieces: Sequence[tuple[int, str]], others: Sequence[tuple[int, str]]
) -> Flags:
    """Find the tokens whose bytes are the same because id, piece and spelling are: bool (tokens of A,)."""
    if a.spelled_by != b.spelled_by:
        return np.zeros(len(pieces), np.bool_)
    unlike = set(a.added_ids.tolist()) ^ set(b.added_ids.tolist())  # an added token's piece stands for itself
    if not unlike and pieces == others:
        return np.ones(len(pieces), np.bool_)
    there = dict(others)
    return np.fromiter(
        (there.get(identity) == piece and identity not in unlike for identity, piece in pieces), np.bool_, len(pieces)
    )


def _match(
    counterpart: Ids, ids: Ids, ours: list[Entry], theirs: dict[int, Entry], key: Callable[[Entry], object]
) -> None:
    """Match the tokens that are still alone and share a key, the smaller ids first; both lose what is matched."""
    waiting: dict[object, list[int]] = {}
    for entry in reversed(theirs.values()):
        waiting.setdefault(key(entry), []).append(entry[0])
    alone: list[Entry] = []
    found_ids, found = [], []
    for entry in ours:
        candidates = waiting.get(key(entry))
        if candidates:
            found_ids.append(entry[0])
            found.append(candidates.pop())
        else:
            alone.append(entry)
    counterpart[np.searchsorted(ids, found_ids)] = found
    ours[:] = alone
    for identity in found:
        del theirs[identity]
