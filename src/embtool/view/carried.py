"""The slice of the table that a page carries: names, lengths, rows in few bits, and some tokens' neighbours, exact.

The rows of the most ordinary tokens stand in the page in as many bits a number as there is room for: enough for a bar
code, and for cosines and neighbours that are said to be approximate. For the first of them the nearest of all rows are
computed here, in passes over the whole table that answer many queries each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from embtool.answers.text import count
from embtool.arrays import Doubles, Floats, np
from embtool.lesson import Subject
from embtool.tables.categories import Categorizer, Category
from embtool.tables.metric import MOST_QUERIES
from embtool.tables.neighbors import Neighbors, nearest_each
from embtool.tables.scan import Ids, Mask, in_parts, read_rows
from embtool.tables.table import TableReader
from embtool.view.parts import Json, coded, decoded, name_of, packed, printed_parts
from embtool.vocabulary import Token

MOST_CARRIED = 20_000
"""Tokens of a slice."""

ROOM = 3_600_000
"""Bytes for rows and neighbours; a third more as base64, and a page of less than 6 MB with the names."""

LEAST_ROOM = 500_000
"""Bytes for rows, however many neighbours are asked for."""

FEW_ROWS = 1 << 16
"""Rows of a table up to which two bytes hold an id."""

LEAST_EXACT = 2_000
"""Tokens whose neighbours are computed at least, unless another number is asked for."""

USUAL_WORK = 13 * 10**9
"""Products that are spent on more of them, where the table is small: seconds."""

NEAREST = 10
"""Neighbours of each."""

BINS = 60
"""Bars of the histogram of lengths."""

PAIRS_TRIED = 2_000
"""Pairs of rows whose carried cosine is held against the exact one."""

MOST_OFF = 99
"""Of so many in 100 pairs the error is told."""

SEED = 0
"""Of the pairs."""


@dataclass(frozen=True)
class Slice:
    """What is carried: `ids` of the tokens, of which the first `exact` have exact neighbours; `data` is the page's."""

    ids: tuple[int, ...]
    exact: int
    data: Json


@dataclass(frozen=True)
class _Entry:
    """A row of a slice: its token, if it has one, and whether that is a whole word."""

    id: int
    token: Token | None
    is_word: bool

    @property
    def name(self) -> str:
        return name_of(self.id, self.token)


def carry(subject: Subject, wanted: Sequence[int], exact: int | None = None) -> Slice:
    """Choose the tokens and measure them.

    Args:
        subject: the model.
        wanted: rows that must be among them, because the page speaks of them.
        exact: how many tokens' neighbours are computed; as many as take seconds, and 2,000 at least, unless said.
    """
    rows, width = subject.table.shape
    chosen = _choose(subject, wanted, MOST_CARRIED if exact is None else max(MOST_CARRIED, exact))
    usual = max(LEAST_EXACT, USUAL_WORK // (rows * width) // 1000 * 1000)
    exact = min(len(chosen), max(usual if exact is None else exact, len(wanted)))
    kind = "u2" if rows <= FEW_ROWS else "u4"
    room = max(LEAST_ROOM, ROOM - exact * NEAREST * (int(kind[1]) + 2))
    fitting = {bits: room // -(-width * bits // 8) for bits in (8, 4, 2)}
    bits = 8 if fitting[8] >= len(chosen) else 4 if fitting[4] >= exact else 2
    carried = chosen[: max(exact, min(len(chosen), fitting[bits]))]
    ids = [entry.id for entry in carried]
    tensor, (rows, width) = subject.table.tensor, subject.table.shape
    with subject.model.open_table(subject.table) as reader:
        values: Floats = tensor.dtype.to_float32(read_rows(reader, np.array(ids, np.int64)))
        found = list(_nearest(subject, reader, values[:exact], ids[:exact]))
    data = {
        "rows": rows,
        "width": width,
        "dtype": tensor.dtype.name,
        "tensor": tensor.name,
        "file": tensor.shard,
        **_names(subject, carried, found),
        "exact": exact,
        "nearest": NEAREST,
        **_lengths(subject, values),
        **_coded(values[: fitting[bits]], bits),
        "neighbors": packed(np.array([_padded(each.ids, 0) for each in found]), kind),
        "scores": packed(printed_parts(np.array([_padded(each.scores, np.nan) for each in found])), "i2"),
    }
    return Slice(tuple(ids), exact, data)


def _choose(subject: Subject, wanted: Sequence[int], most: int) -> list[_Entry]:
    """List rows, those wanted first, then whole words and other plain tokens, the more frequent before the rarer.

    A vocabulary is ordered by how early, and so how often, its pieces were met.
    """
    rows, vocabulary = subject.table.shape[0], subject.vocabulary
    if vocabulary is None:
        ids = dict.fromkeys([*wanted, *range(0, rows, max(1, rows // most))])
        return [_Entry(row, None, is_word=False) for row in ids][:most]
    found: dict[int, _Entry] = {}
    for row in wanted:
        token = vocabulary.token(row)
        found[row] = _Entry(row, token, is_word=token is not None and vocabulary.is_word(token))
    kinds = Categorizer(vocabulary)
    # Characters, and neither special nor added.
    ordinary = (token for token in vocabulary if token.id < rows and kinds.by_bytes(token) is Category.NORMAL)
    plain = [_Entry(token.id, token, vocabulary.is_word(token)) for token in ordinary if token.id not in found]
    plain.sort(key=lambda entry: not entry.is_word)  # stable: in the order of the vocabulary
    return [*found.values(), *plain][:most]


def _nearest(subject: Subject, reader: TableReader, values: Floats, ids: Sequence[int]) -> Iterator[Neighbors]:
    """Yield the neighbours of rows, as many queries in a pass as a pass answers; none of a row that is not finite."""
    finite: Mask = np.asarray(np.isfinite(values).all(axis=1))
    progress = subject.model.token_table().progress
    nothing = Neighbors(np.empty(0, np.int64), np.empty(0))
    for part in in_parts(np.arange(len(values)), MOST_QUERIES):
        asked = part[finite[part]]
        answers = nearest_each(
            subject.table, values[asked], NEAREST, exclude=[[ids[place]] for place in asked.tolist()], reader=reader
        )
        by_place = dict(zip(asked.tolist(), answers, strict=True))
        if progress is not None:
            progress("neighbours", int(part[-1]) + 1, len(values))
        yield from (by_place.get(place, nothing) for place in part.tolist())


def _padded(values: Doubles | Ids, with_what: float) -> Doubles:
    """Return ids or scores as `NEAREST` numbers."""
    found: Doubles = np.pad(values.astype(np.float64), (0, NEAREST - len(values)), constant_values=with_what)
    return found


def _names(subject: Subject, entries: Sequence[_Entry], found: Iterable[Neighbors]) -> Json:
    """Write the tokens' names; the text of one only where it is not its name with spaces for their marks."""
    others = {row for each in found for row in each.ids.tolist()} - {entry.id for entry in entries}
    names = [entry.name for entry in entries]
    odd = {
        place: entry.token.text
        for place, (entry, name) in enumerate(zip(entries, names, strict=True))
        if entry.token is not None and entry.token.text != name.replace("␣", " ")
    }
    return {
        "count": len(entries),
        "named": subject.vocabulary is not None,
        "ids": packed(np.array([entry.id for entry in entries]), "u4"),
        "names": names,
        "texts": odd,
        "words": packed(np.packbits([entry.is_word for entry in entries], bitorder="little"), "u1"),
        "others": {str(row): name_of(row, subject.token(row)) for row in sorted(others)},
    }


def _lengths(subject: Subject, values: Floats) -> Json:
    """Write the rows' lengths, and where they stand among those of all rows."""
    finite = np.sort(subject.norms[np.isfinite(subject.norms)])
    own = np.sqrt(np.square(values.astype(np.float64)).sum(axis=1))
    low, high = (float(finite[0]), float(finite[-1])) if len(finite) else (0.0, 0.0)
    bars, _ = np.histogram(finite, BINS, (low, high if high > low else low + 1))
    below = np.searchsorted(finite, own) / max(len(finite), 1) * 100
    return {
        "norms": packed(own, "f8"),
        "shorter": packed(np.array([round(float(f"{share:.0f}")) for share in below]), "u1"),
        "lengths": {
            "bars": bars.tolist(),
            "low": low,
            "high": high,
            "median": float(np.median(finite)) if len(finite) else None,
            "of": count(len(finite)),
        },
    }


def _coded(values: Floats, bits: int) -> Json:
    """Write rows in few bits, and how far cosines of what is carried are off."""
    codes, steps = coded(values, bits)
    carried = decoded(codes, steps, bits, values.shape[1])
    chance = np.random.default_rng(SEED)
    a, b = chance.integers(0, len(values), (2, PAIRS_TRIED))
    with np.errstate(invalid="ignore", divide="ignore"):
        exact, found = (
            (one * other).sum(axis=1) / np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
            for one, other in ((values[a].astype(np.float64), values[b].astype(np.float64)), (carried[a], carried[b]))
        )
    off = np.abs(exact - found)[np.isfinite(exact) & np.isfinite(found) & (a != b)]
    return {
        "bits": bits,
        "drawn": len(values),
        "codes": packed(codes, "u1"),
        "steps": packed(steps, "f4"),
        "off": float(np.percentile(off, MOST_OFF)) if len(off) else None,
    }
