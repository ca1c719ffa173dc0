"""Rows that training hardly touched, told from the table alone.

After Land and Bartolo, "Fishing for Magikarp: Automatically Detecting Under-trained Tokens in Large Language Models"
(2024, https://arxiv.org/abs/2405.05417). A row that was never read stays near where it began, or decays: where the
input table is a table of its own, its norm is small. A table that also predicts tokens moves the rows of all tokens
that never occur in one direction: there, what tells is the distance to the mean of rows that surely were never used.

What is found are candidates. No model is run, and only a prompt can show whether a model cannot repeat a token.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from embtool.arrays import Doubles, np
from embtool.errors import FormatError
from embtool.tables.categories import never_in_text, padding_ids
from embtool.tables.scan import Ids, Mask, in_parts
from embtool.tables.survey import distances, least, norms
from embtool.tables.table import EmbeddingTable, TableReader
from embtool.vocabulary import Token, Vocabulary

UNUSED_NAMES = re.compile(
    r"[\[<]\W*\w*(unused|reserved|placeholder|dummy|not_?used)\w*\W*[\]>]|madeupword\d+|<\|extra_\d+\|>|<special_\d+>",
    re.IGNORECASE,
)
"""Names that tokenizers give to entries kept for later: [unused7], <|reserved_special_token_3|>, madeupword0001,
<|extra_0|>, <SPECIAL_12>. A word of the language, such as `reserved`, is none."""

LIKELY_STARTS = frozenset("[<mM")
"""What such a name begins with; so does `<0x41>`."""

LONGEST_NAME = 64
"""Characters of such a name at most: to look at a longer piece would take the square of its length."""

CANDIDATE_PERCENT = 2.0
"""The share of rows that the paper takes as candidates before it verifies them by running the model."""

READ_AT_ONCE = 1024
"""Reference rows in hand while they are averaged."""

INSIDE_WORD = "##"
"""What WordPiece puts before a piece inside a word."""

FEW, LONG = 64, 32
"""So many texts are few to look for; a text of more characters is long."""

MOST_CONTAINING = 3
"""Longer tokens named that contain a candidate."""


class Indicator(StrEnum):
    """What tells an untrained row: a small norm, or a small distance to the mean of the reference rows."""

    NORM = "norm"
    DISTANCE = "distance"


class Kind(StrEnum):
    """Why a row is in the reference set."""

    PADDING = "padding"
    BYTES = "bytes"
    NAMES = "names"
    GIVEN = "given"


KIND_MEANINGS = {
    Kind.PADDING: "rows that no token has",
    Kind.BYTES: "bytes that UTF-8 never uses",
    Kind.NAMES: "names such as unused or reserved",
    Kind.GIVEN: "given with --reference",
}


@dataclass(frozen=True)
class Reference:
    """Rows that surely were never trained: for each id why."""

    kinds: Mapping[int, Kind]

    @property
    def ids(self) -> list[int]:
        """Their ids, sorted."""
        return sorted(self.kinds)

    def count(self, kind: Kind) -> int:
        """Count those of a kind."""
        return sum(found is kind for found in self.kinds.values())


def find_reference(vocabulary: Vocabulary, rows: int, kinds: Iterable[Kind]) -> Reference:
    """Find the rows of a table that surely were never trained."""
    wanted = set(kinds)
    found: dict[int, Kind] = {}
    if Kind.PADDING in wanted:
        found |= dict.fromkeys(padding_ids(vocabulary, rows), Kind.PADDING)
    pieces = vocabulary.pieces() if wanted & {Kind.BYTES, Kind.NAMES} else []
    likely = [(row, piece) for row, piece in pieces if len(piece) == 1 or piece[:1] in LIKELY_STARTS]
    for row, piece in ((row, piece) for row, piece in likely if row < rows):
        if Kind.BYTES in wanted and (len(piece) == 1 or piece.startswith("<0x")):
            token = vocabulary.token(row)
            if token is not None and never_in_text(token):
                found[row] = Kind.BYTES
        elif Kind.NAMES in wanted and len(piece) <= LONGEST_NAME and UNUSED_NAMES.fullmatch(piece):
            found[row] = Kind.NAMES
    return Reference(found)


def untrained_scores(table: EmbeddingTable, reader: TableReader, indicator: Indicator, reference: Reference) -> Doubles:
    """Score every row, float64 (rows,): the smaller, the less trained it looks; NaN where a row is not finite.

    Raises:
        FormatError: the indicator needs reference rows, and there are none that are finite.
    """
    if indicator is Indicator.NORM:
        lengths = norms(table, reader)
        return np.where(np.isfinite(lengths), lengths, np.nan)
    total, count = np.zeros(table.shape[1]), 0
    for part in in_parts(np.array(reference.ids, np.int64), READ_AT_ONCE):
        rows = table.rows(part.tolist())
        finite = rows[np.isfinite(rows).all(axis=1)]
        total += finite.sum(axis=0, dtype=np.float64)
        count += len(finite)
    if not count:
        raise FormatError(
            "there are no rows that surely were never trained to compare with",
            hint="name some with --reference, such as id:177..187, or use --indicator norm",
        )
    mean: Doubles = total / count
    return distances(table, reader, mean)


def rank_untrained(scores: Doubles, count: int, allowed: Mask | None = None) -> Ids:
    """List the ids of the rows with the smallest scores, ties by id, of those that are finite and allowed."""
    usable = np.isfinite(scores) if allowed is None else np.isfinite(scores) & allowed
    ids = np.flatnonzero(usable).astype(np.int64)
    return ids[least(scores[ids], count)]


def percentiles_of(scores: Doubles, rows: Sequence[int]) -> Doubles:
    """Return for each of these rows the share of all finite rows, in percent, whose score is lower."""
    finite = np.sort(scores[np.isfinite(scores)])
    shares: Doubles = 100.0 * np.searchsorted(finite, scores[rows]) / max(len(finite), 1)
    return shares


def containing(vocabulary: Vocabulary, tokens: Sequence[Token]) -> dict[int, list[Token]]:
    """Find for each token the shortest longer tokens that contain it: a merge may have left it behind."""
    found: dict[int, list[Token]] = {token.id: [] for token in tokens}
    by_core: dict[str, list[Token]] = {}
    for token in tokens:
        if len(token.bytes) > 1:
            by_core.setdefault(token.piece.removeprefix(INSIDE_WORD), []).append(token)
    inside = _holding(vocabulary.pieces(), by_core)
    longer = [other for other in map(vocabulary.token, inside) if other is not None]
    for other in sorted(longer, key=lambda other: (len(other.bytes), other.id)):
        for token in (token for core in inside[other.id] for token in by_core[core]):
            named = found[token.id]
            if len(named) < MOST_CONTAINING and other.id != token.id and len(other.bytes) > len(token.bytes):
                named.append(other)
    return found


def _holding(pieces: Sequence[tuple[int, str]], cores: Collection[str]) -> dict[int, list[str]]:
    """Find for each piece, by its id, which of some texts are in it; a piece that holds none is left out.

    Of many texts, every part of a piece is looked up, which takes a time that does not grow with their number. Long
    ones, which are rare, are looked for one by one, and so are all if they are few.
    """
    longest = LONG if len(cores) > FEW else 0
    short = {core for core in cores if len(core) <= longest}
    lengths = sorted({len(core) for core in short})
    found = _searched(pieces, [core for core in cores if len(core) > longest])
    for row, piece in pieces if short else []:
        parts = (piece[at : at + length] for length in lengths for at in range(len(piece) - length + 1))
        if held := {part for part in parts if part in short}:
            found.setdefault(row, []).extend(sorted(held))
    return found


def _searched(pieces: Sequence[tuple[int, str]], cores: Collection[str]) -> dict[int, list[str]]:
    """Do so by a search for each text through all pieces at once."""
    joined = "\n".join([piece for _, piece in pieces])
    ends = list(accumulate(len(piece) + 1 for _, piece in pieces))
    found: dict[int, list[str]] = {}
    for core in cores:
        at = joined.find(core)
        while at >= 0:
            place = bisect_right(ends, at)
            is_inside = at + len(core) < ends[place]  # not one that goes on into the next piece
            if is_inside:
                found.setdefault(pieces[place][0], []).append(core)
            at = joined.find(core, ends[place] if is_inside else at + 1)
    return found
