"""How long the rows of a table are, what they have in common, and where one row stands among all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from embtool.answers import Card, Listing, Section, column, context, identity, python, records, token_column, value
from embtool.answers.text import bar, count, fixed, plural, title_of
from embtool.arguments import check_count
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.questions.vocab import Search
from embtool.tables.categories import Categorizer, padding_ids
from embtool.tables.norms import row_norms
from embtool.tables.scan import Mask
from embtool.tables.statistics import PERCENTILES, Lengths, TableStatistics, describe_table, extremes, standing, sum_up
from embtool.tables.survey import distances
from embtool.tables.token_table import TokenTable
from embtool.vocabulary import Query, Token

BINS = 12
"""Bars of the histogram."""

BAR = 22
"""Characters of its longest bar."""

LISTED = 20
"""Groups of identical rows, the largest first, and ids of rows of a kind, that JSON lists; their number is in full."""

SHOWN_GROUPS = 3
SHOWN_IDS = 3


@dataclass(frozen=True)
class RowNorm:
    """The length of one row."""

    id: int = identity()
    token: Token | None = token_column()
    norm: float = column("Euclidean length of the row; null where it is not finite", right=True, show=fixed)


@dataclass(frozen=True, repr=False, eq=False)
class RowNormsAnswer(Listing[RowNorm]):
    """The length of every row, in the order of ids."""

    command = "norms"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    rows: Sequence[RowNorm] = records("every row")
    notes: tuple[str, ...] = python(default=())


@dataclass(frozen=True)
class StandingNorm:
    """The length of one row, and where it stands among all."""

    query: str = column("what was typed", terminal=False)
    id: int = identity()
    token: Token | None = token_column()
    norm: float = column("Euclidean length of the row; null where it is not finite", right=True, show=fixed)
    percentile: float | None = column(
        "share of rows that are shorter, in percent",
        title="longer than",
        right=True,
        show=lambda held: f"{held:.2f} % of rows",
    )
    shorter: int | None = column("how many rows are shorter", terminal=False)


@dataclass(frozen=True, repr=False, eq=False)
class TokenNormsAnswer(Listing[StandingNorm]):
    """The lengths of some rows among those of all."""

    command = "norms"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    rows: tuple[StandingNorm, ...] = records("the rows asked for")


@dataclass(frozen=True)
class MeanRow:
    """The mean of all rows."""

    norm: float
    share: float | None


@dataclass(frozen=True)
class Spectrum:
    """How the variance spreads over directions."""

    effective_rank: float | None
    exact: bool
    variance: float
    shares: Doubles
    sample: int | None
    rank_error: float | None
    share_errors: Doubles | None


@dataclass(frozen=True)
class Some:
    """Rows of a kind: how many, and the first of them."""

    count: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Duplicates:
    """Rows that are the same bit by bit."""

    groups: int
    rows: int
    largest: tuple[Some, ...]


@dataclass(frozen=True)
class Chosen:
    """The rows that match: how many there are, and how long."""

    rows: int
    norm: Lengths | None


@dataclass(frozen=True, repr=False, eq=False)
class NormsAnswer(Card):
    """A table in numbers; `statistics` holds the arrays behind them."""

    command = "norms"
    paths: ClassVar[Mapping[str, str]] = {
        **{key: key for key in ("model", "table", "rows", "width")},
        **{key: f"norm.{key}" for key in ("mean", "deviation", "least", "greatest")},
        **{f"p{part}": f"norm.percentiles.{part}" for part in PERCENTILES},
        "mean_norm": "mean_row.norm",
        "mean_share": "mean_row.share",
        "average_cosine": "average_cosine",
        "effective_rank": "spectrum.effective_rank",
        "variance": "spectrum.variance",
        "zero": "zero.count",
        "nonfinite": "nonfinite.count",
        "duplicate_groups": "duplicates.groups",
        "duplicate_rows": "duplicates.rows",
    }

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    tensor: str = value("its name in the checkpoint")
    rows: int = value("how many rows it has")
    width: int = value("how many numbers a row has")
    norm: Lengths | None = value("the lengths of the finite rows, summed up")
    mean_row: MeanRow = value("the mean of all rows: its length, and its share of all squared lengths")
    average_cosine: float | None = value("cosine of two rows, on average over all pairs")
    spectrum: Spectrum | None = value("how the variance spreads over directions")
    zero: Some = value("rows that are all zero")
    nonfinite: Some = value("rows that hold NaN or infinity")
    duplicates: Duplicates = value("rows that are the same bit by bit")
    chosen: Chosen | None = value("the rows that match, where some were asked for", optional=True)
    shortest: tuple[RowNorm, ...] = value("the shortest rows, of those that match, the shortest first")
    longest: tuple[RowNorm, ...] = value("the longest of them, the longest first")
    statistics: TableStatistics = python(travels=False)
    named: dict[int, Token | None] = python()
    histogram: tuple[tuple[str, str], ...] = python()
    notes: tuple[str, ...] = python(default=())

    def title(self) -> str:
        """Return which table it is."""
        return f"{self.table} table of {self.model}: {plural(self.rows, 'row')} of {count(self.width)}"

    def sections(self) -> Sequence[Section]:
        """Return the lengths, the extremes, what rows have in common, and odd rows."""
        histogram = [Section("histogram", self.histogram)] if self.norm is not None else []
        chosen = []
        if self.chosen is not None:
            lines = _length_lines(self.chosen.norm) if self.chosen.rows else [("none", "no row matches")]
            chosen = [Section(f"{plural(self.chosen.rows, 'row')} chosen", lines)]
        same = self.duplicates
        odd = [
            ("zero", self._some(self.zero)),
            ("not finite", self._some(self.nonfinite)),
            ("identical", f"{plural(same.rows, 'row')} in {plural(same.groups, 'group')}" if same.rows else "none"),
            *(("", self._some(group)) for group in same.largest[:SHOWN_GROUPS]),
        ]
        if not (same.rows or self.zero.count or self.nonfinite.count):
            odd = [("none", "no row is zero, not finite, or the same as another")]
        ends = (("shortest", self.shortest), ("longest", self.longest))
        return [
            Section("norms", _length_lines(self.norm)),
            *chosen,
            Section("in common", self._common_lines()),
            Section("odd rows", odd),
            *(Section(title, [(fixed(row.norm), self._name(row.id)) for row in part]) for title, part in ends),
            *histogram,
        ]

    def _name(self, row: int) -> str:
        token = self.named.get(row)
        name = "no token" if token is None else title_of(token.text, token.bytes)
        return f"{name}   id {count(row)}"

    def _common_lines(self) -> list[tuple[str, str]]:
        lines = []
        if self.mean_row.share is not None:
            lines.append(
                ("mean row", f"norm {self.mean_row.norm:.4f}; {self.mean_row.share:.1%} of all squared lengths")
            )
        if self.average_cosine is not None:
            lines.append(("cosine", f"{self.average_cosine:+.4f} on average between two rows"))
        if self.spectrum is not None and self.spectrum.effective_rank is not None:
            how = "all axes computed" if self.spectrum.exact else "estimated"
            if self.spectrum.sample is not None:
                how = f"± {self.spectrum.rank_error:.1f}, from a sample of {self.spectrum.sample:,} rows"
            lines.append(("effective rank", f"{self.spectrum.effective_rank:.1f} of {self.width:,} ({how})"))
            shares = self.spectrum.shares
            first = ", ".join(f"{share:.1%}" for share in shares[:5])
            lines.append(("variance", f"{first} along the first axes; {shares.sum():.1%} along {len(shares)}"))
        return lines or [("none", "no row is finite")]

    def _some(self, some: Some) -> str:
        if not some.count:
            return "none"
        shown = ", ".join(self._name(row).replace("   ", " ") for row in some.ids[:SHOWN_IDS])
        return f"{count(some.count)}: {shown}{', …' if some.count > SHOWN_IDS else ''}"


def ask_norms(
    asked: TokenTable,
    *,
    k: int = 10,
    spectrum: bool = True,
    all_rows: bool = False,
    search: Search | None = None,
) -> NormsAnswer:
    """Describe a table: lengths, the `k` shortest and longest rows, what rows have in common, odd rows.

    With `search`, the shortest and longest are those of the rows that match. Without `spectrum` the variance along axes
    is left out. Of a large table it is that of a sample of the rows, with standard errors; with `all_rows` all axes are
    computed from all rows.
    """
    check_count(k, "k", 0)
    allowed, notes = _allowed(asked, search)
    with asked.open() as reader:
        found = describe_table(asked.table, reader, spectrum=spectrum, all_rows=all_rows)
    groups = sorted(found.duplicates, key=lambda group: (-len(group), int(group[0])))
    norms = found.norms if allowed is None else np.where(allowed, found.norms, np.nan)
    shortest, longest = extremes(norms, k)
    zero, nonfinite, *largest = (
        Some(len(ids), tuple(map(int, ids[:LISTED]))) for ids in (found.zero, found.nonfinite, *groups[:LISTED])
    )
    named = [*shortest, *longest, *(row for some in (zero, nonfinite, *largest) for row in some.ids[:SHOWN_IDS])]
    tokens = {int(row): asked.token(int(row)) for row in named}

    def ends(ids: Any) -> tuple[RowNorm, ...]:
        return tuple(RowNorm(row, tokens[row], float(found.norms[row])) for row in ids.tolist())

    axes = found.axes
    return NormsAnswer(
        model=asked.model,
        table=asked.role,
        tensor=asked.table.tensor.name,
        rows=asked.table.shape[0],
        width=asked.table.shape[1],
        norm=found.lengths,
        mean_row=MeanRow(found.mean_norm, found.mean_share),
        average_cosine=found.average_cosine,
        spectrum=None
        if axes is None
        else Spectrum(
            *(found.effective_rank, axes.exact, axes.total, found.leading_shares),
            *(axes.sample, found.rank_error, found.share_errors),
        ),
        zero=zero,
        nonfinite=nonfinite,
        duplicates=Duplicates(len(groups), sum(map(len, groups)), tuple(largest)),
        chosen=None if allowed is None else Chosen(int(allowed.sum()), sum_up(norms)),
        shortest=ends(shortest),
        longest=ends(longest),
        statistics=found,
        named=tokens,
        notes=notes,
        histogram=_histogram(found.norms),
    )


def _allowed(asked: TokenTable, search: Search | None) -> tuple[Mask | None, tuple[str, ...]]:
    """Return which rows match, bool (rows,), None where all may, and what is to be told of that."""
    if search is None or search == Search():
        return None, ()
    vocabulary, rows = asked.need_vocabulary(), asked.table.shape[0]
    categorizer, allowed = Categorizer(vocabulary), np.zeros(rows, np.bool_)
    found = search.matches(vocabulary, padding_ids(vocabulary, rows), categorizer)
    allowed[[match.id for match in found if match.id < rows]] = True
    return allowed, categorizer.notes


def ask_row_norms(asked: TokenTable, search: Search | None = None) -> RowNormsAnswer:
    """List every row that matches with its length, in one pass."""
    allowed, notes = _allowed(asked, search)
    with asked.open() as reader:
        lengths = distances(asked.table, reader, np.zeros(asked.table.shape[1]))
    ids = np.arange(len(lengths)) if allowed is None else np.flatnonzero(allowed)
    listed = [
        RowNorm(row, asked.token(row), norm) for row, norm in zip(ids.tolist(), lengths[ids].tolist(), strict=True)
    ]
    return RowNormsAnswer(asked.model, asked.role, listed, notes)


def ask_token_norms(asked: TokenTable, queries: Sequence[Query], norms: Doubles | None = None) -> TokenNormsAnswer:
    """Tell where the lengths of some rows stand among those of all.

    Raises:
        InvalidArgument: a query is several rows.
    """
    if any(query.id is None for query in queries):
        raise InvalidArgument("a norm is that of one row: pool none")
    norms = row_norms(asked.table) if norms is None else norms
    own = np.linalg.norm(asked.table.rows([query.ids[0] for query in queries]).astype(np.float64), axis=1)
    listed = []
    for query, norm in zip(queries, own.tolist(), strict=True):
        place = standing(float(norms[query.ids[0]]), norms)
        known = (None, None) if place is None else (place.percentile, place.shorter)
        listed.append(StandingNorm(query.text, query.ids[0], query.token, norm, *known))
    return TokenNormsAnswer(asked.model, asked.role, tuple(listed))


def _length_lines(norm: Lengths | None) -> list[tuple[str, str]]:
    if norm is None:
        return [("none", "no row is finite")]
    parts = [*norm.percentiles.items()]
    lines = [parts[at : at + 3] for at in range(0, len(parts), 3)]
    return [
        ("mean", f"{norm.mean:.4f}, standard deviation {norm.deviation:.4f}"),
        ("range", f"{norm.least:.4f} to {norm.greatest:.4f}"),
        *(
            (", ".join(str(part) for part, _ in line) + " %", "  ".join(f"{held:.4f}" for _, held in line))
            for line in lines
        ),
    ]


def _histogram(norms: Doubles) -> tuple[tuple[str, str], ...]:
    """Draw how many rows have which length, a bar a line; nothing where no row is finite."""
    finite = norms[np.isfinite(norms)]
    if not len(finite):
        return ()
    least, greatest = float(finite.min()), float(finite.max())
    if greatest - least <= BINS * np.spacing(greatest):  # equal but for rounding: there is nothing to divide
        return ((fixed(least), f"{count(len(finite))} {bar(1, BAR)}"),)
    heights, edges = np.histogram(finite, BINS)
    most = int(heights.max())
    digits = len(count(most))
    return tuple(
        (f"{edge:.4f}", f"{count(int(height)):>{digits}} {bar(int(height) / most, BAR)}".rstrip())
        for height, edge in zip(heights, edges[:-1], strict=True)
    )
