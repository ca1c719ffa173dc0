"""Which tokens two models share, and which of their rows moved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from embtool.answers import Block, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.fields import record_of
from embtool.answers.text import count, fixed, plural, ranges, spelled, visible
from embtool.arguments import check_count, checked
from embtool.arrays import np
from embtool.errors import InvalidArgument
from embtool.questions.diff_both import Both, Matching
from embtool.questions.diff_copy import SAMPLE, CopyAnswer, ask_copy
from embtool.questions.diff_vocabulary import (
    VocabularyAnswer,
    VocabularySummary,
    answer_vocabularies,
    compare_vocabularies,
)
from embtool.tables.table_diff import Moved, TableDifference, compare_tables
from embtool.tables.token_table import TokenTable
from embtool.vocabulary import Token

if TYPE_CHECKING:
    from embtool.model import Model


class Status(StrEnum):
    """What became of a row."""

    CHANGED = "changed"
    ONLY_A = "only-a"
    ONLY_B = "only-b"
    REASSIGNED = "reassigned"


class Side(StrEnum):
    """Which of two rows holds NaN or infinity."""

    A = "a"
    B = "b"
    BOTH = "both"


SHOWN_SIDES = {Side.A: "NaN or infinity in A", Side.B: "NaN or infinity in B", Side.BOTH: "NaN or infinity in both"}

MOST_SD, MOST_PERCENT, MOST_FIXED = 1e3, 100.0, 1e6
"""Figures beyond which a reader is told no more than that: a row that was scaled by 1e30 is simply far away."""


def deviations(held: float) -> str:
    """Write how many standard deviations something is away."""
    if abs(held) <= MOST_SD:
        return f"{held:+.1f} sd"
    return f"> {MOST_SD:,.0f} sd" if held > 0 else f"< -{MOST_SD:,.0f} sd"


@dataclass(frozen=True)
class Difference:
    """One row that differs."""

    status: Status = column("what became of it: changed, only-a, only-b or reassigned", style="cyan")
    rank: int | None = column("place among those that changed, from 1", title="", right=True, style="dim")
    id: int | None = identity()
    id_b: int | None = column("its id in B", right=True, show=count)
    token: Token | None = token_column()
    token_b: str | None = column("its token in B, where that is another", show=visible)
    distance: float | None = column(
        "Euclidean distance of the two rows",
        right=True,
        show=lambda held: fixed(held) if held < MOST_FIXED else f"{held:.3g}",
    )
    relative: float | None = column(
        "the distance by the length of A's row",
        right=True,
        show=lambda held: f"{held:.2%}" if held <= MOST_PERCENT else f"> {MOST_PERCENT:,.0%}",
    )
    cosine: float | None = column("cosine of the two rows", right=True, show=fixed)
    outlying: float | None = column(
        "robust standard deviations beyond the median of those that changed",
        right=True,
        show=deviations,
    )
    not_finite: Side | None = column(
        "which of the two rows holds NaN or infinity: a, b or both; they come first, without measures",
        title="",
        show=SHOWN_SIDES.__getitem__,
        style="bold red",
        missing="",
        whole=True,
        worth=2,
    )


@dataclass(frozen=True)
class RowCounts:
    """How many rows there are of each kind."""

    a: int
    b: int
    same: int
    changed: int
    only_a: int
    only_b: int
    reassigned: int
    not_finite: int


@dataclass(frozen=True)
class Medians:
    """How far a row that changed moved, in the median."""

    relative: float | None
    distance: float | None
    cosine: float | None


@dataclass(frozen=True, repr=False, eq=False)
class DiffAnswer(Listing[Difference]):
    """How two tables differ, in rows or in the tokens of ids; `comparison` holds the figures of every row."""

    command = "diff"

    a: str = context("the model before")
    b: str = context("the model after")
    table: str = context("the role of the table")
    by: Matching = context("what makes two rows counterparts: token or id")
    rank: Moved = context("how far a row moved is measured by")
    vocabulary: VocabularySummary | None = value("how the vocabularies differ; null where one has none")
    rows: RowCounts = value("how many rows are the same, changed, only here, only there")
    median: Medians = value("how far a row that changed moved, in the median")
    differences: tuple[Difference, ...] = records("the rows of each kind, those that moved farthest first")
    comparison: TableDifference = python(travels=False)
    differs: bool = python()
    shown: tuple[Difference, ...] = python()
    nameless: tuple[str, ...] = python(default=())
    notes: tuple[str, ...] = python(default=())

    def blocks(self) -> Iterator[Block]:
        """Yield how the vocabularies differ, then the rows that have a token, without columns that say nothing."""
        hidden = set()
        if all(each.id_b in (None, each.id) for each in self.shown):
            hidden.add("id_b")
        if all(each.token_b is None for each in self.shown):
            hidden.add("token_b")
        hidden |= {
            name
            for name in ("rank", "distance", "relative", "cosine", "outlying", "not_finite")
            if all(getattr(each, name) is None for each in self.shown)
        }
        if all(each.status is Status.CHANGED for each in self.shown):
            hidden.add("status")
        # where room is scarce, which and by how much
        worth = {"token": 4, "token_b": 4, "status": 3, self.rank.value: 3, "outlying": 2}
        columns = [replace(each, worth=worth.get(each.key, each.worth)) for each in self.shown_columns(*hidden)]
        if self.vocabulary is not None:
            yield self.vocabulary.block(self.a, self.b)
        shown = [record_of(each) for each in self.shown]
        lines = []
        if self.median.relative is not None and self.median.distance is not None:
            usual = f"{self.median.distance:.4g} in the median, {self.median.relative:.2%} of its length"
            lines.append(f"  a row that changed moved by {usual}")
            lines.append(f"  ranked by {self.rank}; sd is a robust standard deviation of those that changed")
        if self.rows.not_finite:
            lines.append(f"  rows with NaN or infinity, which come first: {count(self.rows.not_finite)}")
        yield Block(self.title(), columns, shown, after=[*self.nameless, *lines])

    def title(self) -> str:
        """Return the counts in one sentence."""
        found = self.rows
        whose = f"{self.a} and {self.b}" if self.vocabulary is None else f"{self.table} tables"
        others = f", {count(found.reassigned)} ids with another token" if self.by is Matching.TOKEN else ""
        return (
            f"{whose}: {count(found.same)} rows the same, {count(found.changed)} changed, "
            f"{count(found.only_a)} only in the first, {count(found.only_b)} only in the second{others}"
        )


@checked
def diff(
    a: "Model",
    b: "Model",
    *,
    k: int = 10,
    by: str = "token",
    rank: str = "relative",
    table: str = "input",
    vocab: bool = False,
    neighbors: int | None = None,
    max_error: float | None = None,
    sample: int = SAMPLE,
) -> DiffAnswer | VocabularyAnswer | CopyAnswer:
    """Compare the vocabularies of two models, then their tables row by row.

    Args:
        a: the model before.
        b: the model after.
        k: how many rows, or tokens, of each kind are listed.
        by: what makes two rows counterparts, `token` or `id`.
        rank: how far a row moved is measured by: `relative` to its length, `distance`, or `cosine`.
        table: the role of the table.
        vocab: compare the vocabularies alone, of models with or without weights.
        neighbors: judge B as a copy of A: of how many nearest rows of each row it is told which the copy kept.
        max_error: judge B as a copy of A: the most that 1 - cosine of any row to its original may be.
        sample: how many rows' neighbours are compared, the same ones every time.

    Returns:
        A `DiffAnswer`; a `VocabularyAnswer` where only the vocabularies are compared, because `vocab` says so or the
        rows are not of one width; a `CopyAnswer` with `neighbors` or `max_error`.

    Raises:
        Unlike: their rows are not of one width, and nothing names them.
        InvalidArgument: `k`, `by` or `rank` cannot be meant.
        TableNotFound: one of them has no such table.
        NoVocabulary: with `vocab`, one of them has no tokenizer.
    """
    for name, given, kinds in (("by", by, list(Matching)), ("rank", rank, list(Moved))):
        if given not in kinds:
            raise InvalidArgument(f"{name} is one of {', '.join(kinds)}, not {given!r}")
    if vocab:
        return ask_vocabularies(a, b, k=k)
    both = Both(a, b, a.token_table(table), b.token_table(table))
    if neighbors is not None or max_error is not None:
        return ask_copy(both, k=k, by=Matching(by), neighbors=neighbors, max_error=max_error, sample=sample)
    return ask_diff(both, k=k, by=Matching(by), rank=Moved(rank))


def ask_vocabularies(a: "Model", b: "Model", *, k: int = 10) -> VocabularyAnswer:
    """Compare two vocabularies; no weights are read.

    Raises:
        NoVocabulary: one has no tokenizer that embtool reads.
        FormatError: a tokenizer cannot be read, or has no tokens.
        InvalidArgument: `k` is below 0.
    """
    return answer_vocabularies(a.name, b.name, compare_vocabularies(a, b), k=k)


def ask_diff(
    both: Both, *, k: int = 10, by: Matching = Matching.TOKEN, rank: Moved = Moved.RELATIVE
) -> DiffAnswer | VocabularyAnswer:
    """Compare two tables row by row, in one pass over both; `k` limits how many rows of each kind are listed.

    Rows are matched by their tokens, or by id where a model has no tokenizer, which a note says. Where they are not of
    one width, the vocabularies alone are compared.

    Raises:
        Unlike: their rows are not of one width, and nothing names them.
        InvalidArgument: `k` is below 0.
    """
    check_count(k, "k", 0)
    ours, theirs = both.ours, both.theirs
    if both.widths[0] != both.widths[1] and both.words is not None:
        note = "rows of {:,} numbers and of {:,} do not compare: the vocabularies alone do".format(*both.widths)
        return answer_vocabularies(ours.model, theirs.model, both.words, k=k, is_other=True, notes=(note,))
    alignment, by, notes = both.align(by)
    found = compare_tables(
        ours.table, theirs.table, alignment, exact=lambda rough: rough.near(rank, k), opener=lambda _: ours.open()
    )
    listed = _Listed(ours, theirs, found, rank, k)
    named: list[list[int]] = []  # those of the rows of one side alone that have a token
    for asked, alone in ((ours, alignment.only_a), (theirs, alignment.only_b)):
        ids = np.empty(0, np.int64) if asked.vocabulary is None or not len(alone) else asked.vocabulary.ids
        named.append(alone[np.isin(alone, ids, assume_unique=True)].tolist())
    return DiffAnswer(
        a=ours.model,
        b=theirs.model,
        table=ours.role,
        by=by,
        rank=rank,
        vocabulary=None if both.words is None else both.words.summary,
        rows=RowCounts(
            ours.table.shape[0],
            theirs.table.shape[0],
            same=int(found.same.sum()),
            changed=len(found.changed),
            only_a=len(alignment.only_a),
            only_b=len(alignment.only_b),
            reassigned=len(alignment.reassigned),
            not_finite=int((found.broken_a | found.broken_b)[found.changed].sum()),
        ),
        median=Medians(*(found.median(Moved(name)) for name in ("relative", "distance", "cosine"))),
        differences=listed.records(alignment.only_a.tolist(), alignment.only_b.tolist()),
        comparison=found,
        differs=found.differs or (both.words is not None and both.words.summary.differs),
        shown=tuple(map(listed.spelled, listed.records(*named))),
        nameless=tuple(
            f"  only in {side}: {plural(len(rest), 'row')} without a token, {ranges(rest)}"
            for side, alone, known in zip("AB", (alignment.only_a, alignment.only_b), named, strict=True)
            if (rest := sorted(set(alone.tolist()) - set(known)))
        ),
        notes=notes,
    )


@dataclass(frozen=True)
class _Listed:
    """Describes rows that differ."""

    ours: TokenTable
    theirs: TokenTable
    found: TableDifference
    rank: Moved
    k: int

    def records(self, only_a: Sequence[int], only_b: Sequence[int]) -> tuple[Difference, ...]:
        """List the rows of each kind, as many as asked."""
        reassigned = self.found.alignment.reassigned[: self.k].tolist()
        return (
            *self._changed,
            *(self._row(Status.ONLY_A, row, None) for row in only_a[: self.k]),
            *(self._row(Status.ONLY_B, None, row) for row in only_b[: self.k]),
            *(self._row(Status.REASSIGNED, row, row) for row in reassigned),
        )

    @cached_property
    def _changed(self) -> list[Difference]:
        outlying = self.found.outlying(self.rank)
        changed = []
        for place, row in enumerate(self.found.farthest(self.rank, self.k).tolist(), 1):
            figures = (self.found.distance, self.found.relative, self.found.cosine, outlying)
            numbers = [float(held[row]) if np.isfinite(held[row]) else None for held in figures]
            other = int(self.found.alignment.counterpart[row])
            broken = bool(self.found.broken_a[row]), bool(self.found.broken_b[row])
            side = {(True, True): Side.BOTH, (True, False): Side.A, (False, True): Side.B}.get(broken)
            changed.append(self._row(Status.CHANGED, row, other, place, side, numbers))
        return changed

    def _row(
        self,
        status: Status,
        row: int | None,
        other: int | None,
        place: int | None = None,
        not_finite: Side | None = None,
        figures: Sequence[float | None] = (None,) * 4,
    ) -> Difference:
        ours = None if row is None else self.ours.token(row)
        theirs = None if other is None else self.theirs.token(other)
        same = ours is not None and theirs is not None and ours.bytes == theirs.bytes
        token_b = None if theirs is None or same else theirs.text
        distance, relative, cosine, outlying = figures
        return Difference(
            status, place, row, other, ours, token_b, distance, relative, cosine, outlying, not_finite=not_finite
        )

    def spelled(self, each: Difference) -> Difference:
        """Write B's token for a reader, with bytes that are no character by their numbers."""
        theirs = self.theirs.token(each.id_b) if each.token_b is not None and each.id_b is not None else None
        return each if theirs is None else replace(each, token_b=spelled(theirs.text, theirs.bytes.hex()))
