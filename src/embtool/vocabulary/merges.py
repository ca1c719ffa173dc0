"""The merges of a byte-pair model that its file leaves out, found from its pieces."""

from collections.abc import Mapping, Sequence

LONGEST_MERGED = 512
"""Characters of a piece for whose merges is looked, by cutting it at every place; the longest known has 128 spaces."""


def merges_by_score(
    vocabulary: Mapping[str, int], scores: Sequence[float], ordinary: set[str]
) -> list[tuple[str, str]]:
    """List all pairs of pieces that join to a piece, the best-scored first; ties by id, as a vocabulary lists them."""
    found: list[tuple[float, int, int, int, str, str]] = []
    for piece in ordinary:
        if len(piece) > LONGEST_MERGED:
            continue
        identity = vocabulary[piece]
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ordinary and right in ordinary:
                found.append((-scores[identity], identity, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def byte_merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """List all pairs of tokens that join to a token, in the order of its rank, as tiktoken merges them."""
    found: list[tuple[int, int, int, bytes, bytes]] = []
    for token, rank in ranks.items():
        for cut in range(1, min(len(token), LONGEST_MERGED)):
            left, right = token[:cut], token[cut:]
            if left in ranks and right in ranks:
                found.append((rank, ranks[left], ranks[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
