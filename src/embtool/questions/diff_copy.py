"""Is a quantised or merged copy of a table good enough? Each row's cosine to its original, the neighbours it kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embtool.answers import Block, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.fields import record_of
from embtool.answers.text import count, fixed, percent, plural
from embtool.arguments import check_count
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.questions.diff_both import Both, Matching
from embtool.questions.diff_vocabulary import VocabularySummary
from embtool.tables.categories import Categorizer, Category
from embtool.tables.neighbors import nearest_each
from embtool.tables.scan import Ids, Mask
from embtool.tables.table_diff import Alignment, TableDifference, compare_tables
from embtool.tables.token_table import TokenTable
from embtool.vocabulary import Token
from embtool.vocabulary.matching import NOWHERE

SAMPLE = 1000
"""Rows whose neighbours are compared, unless more are asked for: the share that is kept is then known to a percent."""

SEED = 7
"""Of the sample: the same rows every time."""

MOST_ERROR = 2.0
"""1 - the cosine of two opposite rows."""


def _error(held: float) -> str:
    return f"{held:.3g}"


@dataclass(frozen=True)
class CopiedRow:
    """A row of A and its copy in B."""

    rank: int = column("place among all rows, the worst first, from 1", title="", right=True, style="dim")
    id: int = identity()
    id_b: int | None = column("its id in B; null where B has no such row", right=True, show=count)
    token: Token | None = token_column()
    category: Category | None = column("the kind of token", style="cyan", missing="")
    error: float | None = column(
        "1 - cosine of the copy and the original; null where there is no cosine",
        right=True,
        show=_error,
        missing="none",
    )
    cosine: float | None = column("the cosine", right=True, show=fixed, worth=0)
    relative: float | None = column(
        "Euclidean distance of the two by the length of the original", right=True, show=lambda held: f"{held:.2%}"
    )
    kept: float | None = column(
        "share of the nearest rows that the copy has among its own; null where that was not looked at",
        right=True,
        show=percent,
        worth=2,
    )
    over: bool | None = column(
        "whether the error is beyond the line; null without one",
        title="",
        show=lambda over: "over" if over else "",
        missing="",
        style="bold red",
        worth=2,
    )


@dataclass(frozen=True)
class CategoryErrors:
    """The errors of one kind of token, and its worst row."""

    category: Category | None = column("the kind of token", style="cyan", missing="left open")
    rows: int = column("how many rows are of this kind", right=True, show=count)
    over: int | None = column("how many of them are beyond the line; null without one", right=True, show=count)
    mean: float | None = column("their error on average", right=True, show=_error)
    worst: float | None = column(
        "the largest error; null where a row has no cosine", right=True, show=_error, missing="none"
    )
    id: int = identity()
    token: Token | None = token_column()


@dataclass(frozen=True)
class CopyCounts:
    """How many rows there are of each kind.

    `missing` are rows of A that B has not, `unmeasured` those without a cosine, where one of the two
    is zero or not finite and the other not the same.
    """

    compared: int
    same: int
    missing: int
    unmeasured: int
    over: int | None


@dataclass(frozen=True)
class CopyErrors:
    """1 - cosine over all rows that have one."""

    mean: float | None
    median: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True)
class Kept:
    """How many of the nearest rows are kept, over a sample of rows."""

    neighbors: int
    sampled: int
    mean: float | None
    least: float | None


@dataclass(frozen=True, repr=False, eq=False)
class CopyAnswer(Listing[CopiedRow]):
    """How good a copy is; its records are all rows, the worst first."""

    command = "diff"

    a: str = context("the original")
    b: str = context("the copy")
    table: str = context("the role of the table")
    by: Matching = context("what makes two rows counterparts: token or id")
    max_error: float | None = value("the most that any row may have; null where no line was drawn")
    accepted: bool | None = value("whether no row is beyond the line; null without one")
    vocabulary: VocabularySummary | None = value("how the vocabularies differ; null where one has none")
    rows: CopyCounts = value("how many rows are compared, the same, missing, over the line")
    error: CopyErrors = value("1 - cosine of the copy and the original, over all rows")
    kept: Kept | None = value("how many of the nearest rows the copy kept; null where that was not asked")
    categories: tuple[CategoryErrors, ...] = value("the errors of each kind of token, and its worst row")
    worst: tuple[CopiedRow, ...] = value("the worst rows")
    copies: Sequence[CopiedRow] = records("every row of A, the worst first", in_document=False)
    comparison: TableDifference = python(travels=False)
    is_other: bool = python()
    notes: tuple[str, ...] = python(default=())

    @property
    def differs(self) -> bool:
        """Whether the copy is refused; without a line, whether it is another table at all."""
        return self.is_other if self.accepted is None else not self.accepted

    def blocks(self) -> Iterator[Block]:
        """Yield the verdict with the worst rows, then the kinds of tokens."""
        if self.vocabulary is not None:
            yield self.vocabulary.block(self.a, self.b)
        shown = self.worst
        hidden: set[str] = set()
        if all(each.id_b == each.id for each in shown):
            hidden.add("id_b")
        if all(each.category is None for each in shown):
            hidden.add("category")
        if self.kept is None:
            hidden.add("kept")
        if self.max_error is None:
            hidden.add("over")
        records = [record_of(each) for each in shown]
        yield Block(self.title(), self.shown_columns(*hidden), records, after=self._sums())
        kinds = _Kinds(self.categories)
        yield Block("by kind of token, each with its worst", kinds.shown_columns(*hidden & {"over"}), kinds.flat)

    def title(self) -> str:
        """Return the verdict."""
        found = self.rows
        whole = f"{self.b} as a copy of {self.a}, {self.table} table"
        if self.accepted is None:
            return f"{whole}: {plural(found.compared, 'row')}, {count(found.same)} of them the same"
        if self.accepted:
            return f"{whole}: accepted: no row of {count(found.compared)} is more than {self.max_error:g} off"
        beyond = plural(found.over or 0, "row")
        return f"{whole}: refused: {beyond} of {count(found.compared)} more than {self.max_error:g} off"

    def _sums(self) -> list[str]:
        found, errors = self.rows, self.error
        lines = ["  error is 1 - cosine of the copy and the original"]
        if errors.max is not None:
            lines.append(
                f"  errors: {errors.mean:.3g} on average, {errors.median:.3g} in the median, {errors.p99:.3g} at 99 % "
                f"of the rows, {errors.max:.3g} at most"
            )
        if found.unmeasured:
            lines.append(
                f"  without a cosine, as one of the two is zero or not finite: {plural(found.unmeasured, 'row')}"
            )
        if found.missing:
            lines.append(f"  not in the copy: {plural(found.missing, 'row')}")
        if self.kept is not None and self.kept.mean is not None and self.kept.least is not None:
            lines.append(
                f"  of the {plural(self.kept.neighbors, 'nearest row')} {percent(self.kept.mean)} are kept on average, "
                f"{percent(self.kept.least)} at least, of {plural(self.kept.sampled, 'row')} looked at"
            )
        return lines


@dataclass(frozen=True, repr=False, eq=False)
class _Kinds(Listing[CategoryErrors]):
    """The kinds of tokens, as a table of their own."""

    command = "diff"

    kinds: tuple[CategoryErrors, ...] = records()


def ask_copy(
    both: Both,
    *,
    k: int = 10,
    by: Matching = Matching.TOKEN,
    neighbors: int | None = None,
    max_error: float | None = None,
    sample: int = SAMPLE,
) -> CopyAnswer:
    """Tell how good a copy of a table is: the cosine of every row to its original, and the neighbours that rows kept.

    Args:
        both: the original and the copy.
        k: how many of the worst rows a document lists.
        by: what makes two rows counterparts.
        neighbors: of how many nearest rows it is told which the copy kept; None does not look.
        max_error: the most that 1 - cosine of any row may be. A row that the copy lacks, or that has no cosine
            since one of the two is zero or not finite and the other not the same, is beyond every line.
        sample: how many rows' neighbours are compared, the same ones every time; those of the worst rows are as well.

    Raises:
        Unlike: the rows are not of one width.
        InvalidArgument: a number cannot be meant.
    """
    check_count(k, "k", 0)
    check_count(sample, "sample")
    if neighbors is not None:
        check_count(neighbors, "neighbors")
    if max_error is not None and not 0 <= max_error <= MOST_ERROR:
        raise InvalidArgument(f"max_error is a number from 0 to 2, not {max_error!r}")
    alignment, by, notes = both.align(by)
    ours, theirs = both.ours, both.theirs
    found = compare_tables(ours.table, theirs.table, alignment, roughly=False, opener=lambda _: ours.open())
    copies = _Copies(ours, found, alignment, max_error)
    kept = None
    if neighbors is not None:
        kept = copies.keep(theirs, neighbors, sample, k)
    listed = copies.records()
    over = None if max_error is None else int(copies.over.sum())
    return CopyAnswer(
        a=ours.model,
        b=theirs.model,
        table=ours.role,
        by=by,
        max_error=max_error,
        accepted=None if over is None else over == 0,
        vocabulary=None if both.words is None else both.words.summary,
        rows=copies.counts(over),
        error=copies.errors_summed_up(),
        kept=kept,
        categories=copies.by_category(),
        worst=tuple(listed[:k]),
        copies=listed,
        comparison=found,
        is_other=found.differs,
        notes=(*notes, *copies.notes),
    )


class _Copies:
    """The rows that are judged: those of A that have a token, or all where nothing names them.

    Attributes:
        ids: Their ids: int64 (n,).
        errors: 1 - cosine of each, 0 where both rows hold the same, infinity where there is no cosine: float64 (n,).
        over: Which are beyond the line: bool (n,).
        order: Places of `ids`, the worst first; ties by id.
    """

    def __init__(self, ours: TokenTable, found: TableDifference, alignment: Alignment, max_error: float | None) -> None:
        self.ours, self.found, self.alignment, self.max_error = ours, found, alignment, max_error
        rows = len(alignment.counterpart)
        ids = ours.vocabulary.ids if ours.vocabulary else np.arange(rows, dtype=np.int64)
        self.ids: Ids = ids[ids < rows]
        cosine = found.cosine[self.ids]
        errors = np.where(np.isfinite(cosine), 1.0 - cosine, np.inf)
        self.errors: Doubles = np.where(found.same[self.ids], 0.0, errors)
        self.over: Mask = self.errors > (np.inf if max_error is None else max_error)
        self.order = np.argsort(-self.errors, kind="stable")
        self.kept: dict[int, float] = {}

    @cached_property
    def tokens(self) -> list[Token | None]:
        """The token of each row."""
        if not self.ours.vocabulary:
            return [None] * len(self.ids)
        rows = len(self.alignment.counterpart)
        return [token for token in self.ours.vocabulary if token.id < rows]

    @cached_property
    def _categorized(self) -> tuple[list[Category | None], tuple[str, ...]]:
        if not self.ours.vocabulary:
            return [None] * len(self.ids), ()
        categorizer = Categorizer(self.ours.vocabulary)
        return categorizer.of_rows(self.tokens), categorizer.notes

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the categories should know."""
        return self._categorized[1]

    def counts(self, over: int | None) -> CopyCounts:
        """Count the rows of each kind, given how many are beyond the line."""
        missing = self.alignment.counterpart[self.ids] == NOWHERE
        return CopyCounts(
            compared=len(self.ids),
            same=int(self.found.same[self.ids].sum()),
            missing=int(missing.sum()),
            unmeasured=int((np.isinf(self.errors) & ~missing).sum()),
            over=over,
        )

    def errors_summed_up(self) -> CopyErrors:
        """Sum up the errors of all rows that have one."""
        errors = self.errors[np.isfinite(self.errors)]
        if not len(errors):
            return CopyErrors(None, None, None, None)
        median, p99 = map(float, np.percentile(errors, (50, 99)))
        return CopyErrors(float(errors.mean()), median, p99, float(errors.max()))

    def keep(self, theirs: TokenTable, neighbors: int, sample: int, worst: int) -> Kept:
        """Compare the neighbours of some rows and of the worst, and keep the share of each that is kept.

        A sampled row that has no direction in one of the two tables has no neighbours to keep.
        """
        counterpart = self.alignment.counterpart
        usable = self.ids[np.isfinite(self.found.cosine[self.ids])]
        drawn = usable
        if len(usable) > sample:
            drawn = np.sort(np.random.default_rng(SEED).choice(usable, sample, replace=False))
        chosen = np.zeros(len(counterpart), np.bool_)
        chosen[self.ids[self.order[:worst]]] = True
        chosen &= np.isfinite(self.found.cosine)
        chosen[drawn] = True
        ids = np.flatnonzero(chosen)
        allowed = np.zeros(len(counterpart), np.bool_)
        allowed[self.ids] = True
        allowed &= counterpart != NOWHERE
        allowed_b = np.zeros(theirs.table.shape[0], np.bool_)
        allowed_b[counterpart[allowed]] = True
        here = self._nearest(self.ours, ids, neighbors, allowed)
        there = self._nearest(theirs, counterpart[ids], neighbors, allowed_b)
        for row, ours, others in zip(ids.tolist(), here, there, strict=True):
            if len(ours):
                self.kept[row] = len(np.intersect1d(counterpart[ours], others)) / len(ours)
        shares = [self.kept[row] for row in drawn.tolist() if row in self.kept]
        mean, least = (float(np.mean(shares)), min(shares)) if shares else (None, None)
        return Kept(neighbors, len(shares), mean, least)

    @staticmethod
    def _nearest(asked: TokenTable, ids: Ids, neighbors: int, allowed: Mask) -> list[Ids]:
        """List the nearest rows of each of some, by cosine, itself left out."""
        found = nearest_each(
            asked.table,
            asked.table.rows(ids.tolist()),
            neighbors,
            allowed=allowed,
            exclude=[[row] for row in ids.tolist()],
        )
        return [each.ids[np.isfinite(each.scores)] for each in found]

    def records(self) -> "_Rows":
        """List every row, the worst first."""
        return _Rows(self, self._categorized[0])

    def record(self, rank: int, place: int, category: Category | None) -> CopiedRow:
        """Describe a row by its place in `ids`."""
        row = int(self.ids[place])
        other = int(self.alignment.counterpart[row])
        error = float(self.errors[place])
        cosine, relative = float(self.found.cosine[row]), float(self.found.relative[row])
        return CopiedRow(
            rank=rank,
            id=row,
            id_b=None if other == NOWHERE else other,
            token=self.tokens[place],
            category=category,
            error=error if np.isfinite(error) else None,
            cosine=cosine if np.isfinite(cosine) else None,
            relative=relative if np.isfinite(relative) else None,
            kept=self.kept.get(row),
            over=None if self.max_error is None else bool(self.over[place]),
        )

    def by_category(self) -> tuple[CategoryErrors, ...]:
        """Sum up the errors of each kind of token, that with the worst row first."""
        groups: dict[Category | None, list[int]] = {}
        for place in self.order.tolist():
            groups.setdefault(self._categorized[0][place], []).append(place)
        listed = []
        for category, places in groups.items():
            errors = self.errors[places]
            measured = errors[np.isfinite(errors)]
            listed.append(
                CategoryErrors(
                    category,
                    len(places),
                    None if self.max_error is None else int(self.over[places].sum()),
                    float(measured.mean()) if len(measured) else None,
                    float(errors[0]) if np.isfinite(errors[0]) else None,
                    int(self.ids[places[0]]),
                    self.tokens[places[0]],
                )
            )
        return tuple(listed)


class _Rows(Sequence[CopiedRow]):
    """Every row, the worst first, each described when it is asked for."""

    def __init__(self, copies: _Copies, categories: Sequence[Category | None]) -> None:
        self._copies, self._categories = copies, categories

    def __len__(self) -> int:
        return len(self._copies.ids)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return tuple(self[place] for place in range(*at.indices(len(self))))
        place = int(self._copies.order[at])
        return self._copies.record(range(1, len(self) + 1)[at], place, self._categories[place])
