"""The nearest rows to a token or a vector, ranked."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from embtool.answers import Column, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.text import bar, brief, count, fixed, title_of
from embtool.arguments import check_numbers, checked
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.tables.metric import Metric
from embtool.tables.neighbors import Neighbors, nearest_each
from embtool.tables.scan import Mask
from embtool.tables.survey import mean_row
from embtool.tables.table import TableReader
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query, Token, root_of

if TYPE_CHECKING:
    from embtool.tables.final_norm import FinalNorm

MORE = 4
"""How many times more rows are ranked at a time where variants are left out."""

BAR = 16
"""Characters of the longest bar."""

BELOW = 0.15
"""How far below the last score bars begin, as a share of the scores' range: so that its bar is seen, too."""

LEAST_SPAN = 0.05
"""The least difference of cosines that a whole bar stands for: smaller ones are not to look large."""


@dataclass(frozen=True)
class Neighbor:
    """One row of a ranking."""

    rank: int = column("place in the ranking, from 1", title="", right=True, style="dim")
    id: int = identity()
    token: Token | None = token_column()
    score: float = column(
        "by the metric; null where a row has none",
        right=True,
        show=fixed,
    )


@dataclass(frozen=True, repr=False, eq=False)
class NeighborsAnswer(Listing[Neighbor]):
    """The rows nearest to one query, best first.

    Rows without a score (all zero under cosine, or not finite) come last with NaN.
    """

    command = "neighbors"
    many_key = "queries"
    always_many = True
    line_types: ClassVar[Mapping[str, Any]] = {"query": str, "query_id": int | None}
    line_columns = (Column("query", terminal=False), Column("query_id", terminal=False))

    model: str = context("the model, as it was named")
    table: str = context("the role of the table whose row is the query")
    against: str = context("the role of the table that is ranked")
    metric: Metric = context("how nearness is measured: cosine, dot or euclidean")
    query: str = value("what was typed")
    id: int | None = value("the query's own row; null where it has none or several")
    token: Token | None = token_column()
    neighbors: tuple[Neighbor, ...] = records("the nearest rows, best first", default=())
    through_norm: str | None = value(
        "the final norm that the query passed before: the raw logit lens", optional=True, default=None
    )
    centered: bool = python(default=False)
    notes: tuple[str, ...] = python(default=())
    warnings: tuple[str, ...] = python(default=())

    def line(self) -> dict[str, object]:
        """Return what stands on every line beside the record."""
        return {**super().line(), "query": self.query, "query_id": self.id}

    def columns(self) -> Sequence[Column]:
        """Return the columns, and a bar that shows the differences of the scores, where these are cosines."""
        scores = [each.score for each in self.neighbors if math.isfinite(each.score)]
        least, most = min(scores, default=0.0), max(scores, default=0.0)
        if self.metric != "cosine" or most == least:
            return super().columns()
        low = min(least - BELOW * (most - least), most - LEAST_SPAN)
        drawn = Column(
            "score",
            title=f"{low:.2f} to {most:.2f}",
            show=lambda score: bar((score - low) / (most - low), BAR),
            machine=False,
            style="cyan",
            missing="",
            whole=True,
            worth=0,
        )
        return [*super().columns(), drawn]

    def title(self) -> str:
        """Return what was asked."""
        name = brief(self.query) if self.token is None else title_of(self.token.text, self.token.bytes)
        where = f", row {count(self.id)}" if self.id is not None else ""
        centered = ", mean removed" if self.centered else ""
        centered += f", raw lens through {self.through_norm}" if self.through_norm is not None else ""
        return f"{name}{where} of {self.model}: nearest by {self.metric}{centered}, {self.against} table"

    def after(self) -> Sequence[str]:
        """Say so where nothing was found."""
        return () if self.neighbors else ("  no row passes the filters",)


@checked
@dataclass(frozen=True)
class Filters:
    """Which rows may be answered.

    Attributes:
        only: only tokens whose text matches this regular expression.
        special: special tokens too.
        padding: rows that no token has, too.
        own: the query's own rows too.
        words: only whole words, such as ` king`, no parts of words.
        distinct: one of the variants of a token in case and spaces, and none of the query's.
    """

    only: str | None = None
    special: bool = True
    padding: bool = True
    own: bool = False
    words: bool = False
    distinct: bool = False

    def allowed(self, ranked: TokenTable) -> Mask | None:
        """Return which rows of a table may be answered: bool (rows,), or None where all may.

        Raises:
            InvalidArgument: `only` is no regular expression.
        """
        pattern = compile_pattern(self.only, "only")
        if pattern is None and self.special and self.padding and not self.words:
            return None
        vocabulary, count_of_rows = ranked.need_vocabulary(), ranked.table.shape[0]
        allowed = np.ones(count_of_rows, np.bool_)
        if not self.padding or pattern is not None or self.words:
            allowed[:] = False
            ids = vocabulary.ids
            if pattern is not None or self.words:
                found = (each for each in vocabulary if pattern is None or pattern.search(each.text))
                ids = np.array([each.id for each in found if not self.words or vocabulary.is_word(each)], np.int64)
            known = np.asarray(ids, np.int64)
            allowed[known[known < count_of_rows]] = True
        if not self.special:
            allowed[vocabulary.special_ids[vocabulary.special_ids < count_of_rows]] = False
        return allowed


def compile_pattern(pattern: str | None, name: str) -> re.Pattern[str] | None:
    """Compile a regular expression that somebody typed.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return None if pattern is None else re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidArgument(f"{name} is not a regular expression: {error}") from error


@dataclass(frozen=True)
class Ranking:
    """What all queries of one run have in common; `answer` asks several in one pass over the table."""

    asked: TokenTable
    ranked: TokenTable
    reader: TableReader
    k: int
    metric: Metric
    reading: Reading
    filters: Filters
    allowed: Mask | None
    mean: Doubles | None
    through: "FinalNorm | None" = None

    def answer(self, queries: Sequence[Query]) -> list[NeighborsAnswer]:
        """Answer queries together, in one pass over the table; with `distinct`, in as many as it takes."""
        if not self.filters.distinct:
            return [self._describe(*each) for each in zip(queries, self._nearest(queries, self.k), strict=True)]
        answers: dict[int, NeighborsAnswer] = {}
        most, waiting = self.k, list(range(len(queries)))
        while waiting:
            most = min(MORE * most, self.reader.row_count)
            for place, found in zip(waiting, self._nearest([queries[place] for place in waiting], most), strict=True):
                kept = self._distinct(queries[place], found)
                if len(kept.ids) == self.k or len(found.ids) < most or most == self.reader.row_count:
                    answers[place] = self._describe(queries[place], kept)
            waiting = [place for place in waiting if place not in answers]
        return [answers[place] for place in range(len(queries))]

    def _nearest(self, queries: Sequence[Query], most: int) -> list[Neighbors]:
        own = self.filters.own or self.asked.table.tensor != self.ranked.table.tensor
        vectors = [self.asked.finite(query, self.reading) for query in queries]
        return nearest_each(
            self.ranked.table,
            vectors if self.through is None else [self.through.apply(vector) for vector in vectors],
            most,
            metric=self.metric,
            allowed=self.allowed,
            exclude=[() if own else query.ids for query in queries],
            mean=self.mean,
            reader=self.reader,
        )

    def _distinct(self, query: Query, found: Neighbors) -> Neighbors:
        """Keep the first k rows that are no variants of the query or of a row before them."""
        own = () if self.filters.own or self.asked.vocabulary is None else query.ids
        seen = {root_of(token) for token in map(self.asked.token, own) if token is not None}
        kept: list[int] = []
        for place, row in enumerate(found.ids.tolist()):
            token = self.ranked.token(row)
            root = root_of(token) if token is not None else str(row)
            if root not in seen and len(kept) < self.k:
                seen.add(root)
                kept.append(place)
        return replace(found, ids=found.ids[kept], scores=found.scores[kept])

    @property
    def blank(self) -> NeighborsAnswer:
        """An answer to nothing."""
        return self._describe(Query(""), Neighbors(np.empty(0, np.int64), np.empty(0)))

    def _describe(self, query: Query, found: Neighbors) -> NeighborsAnswer:
        notes, warnings, ranked = list[str](), list[str](), self.ranked.table
        if query.id is not None and query.token is None and self.asked.vocabulary is not None:
            notes.append(f"row {query.id} has no token: it is padding")
        if self.through is not None:
            notes.append("raw logit lens: the final norm, then this table; no block of the model was run")
            bias = f"{ranked.tensor.name.removesuffix('.weight')}.bias"
            if bias in ranked.checkpoint.names:
                notes.append(f"{bias}, which the model adds to the scores, is left out")
        if found.nonfinite:
            told = f"rows of {ranked.tensor.name} that hold NaN or infinity, ranked last: {count(found.nonfinite)}"
            warnings.append(told)
        # Of a query of zeros every row scores alike, and the order is that of ids.
        is_flat = self.metric != "euclidean" and len(found.scores) and not np.nan_to_num(found.scores).any()
        if is_flat and not self.asked.vector(query, self.reading).any():
            told = "is a row of zeros: it has no direction, and nothing is near it; rows follow by id"
            warnings.append(f"{query.text!r} {told}")
        return NeighborsAnswer(
            model=self.ranked.model,
            table=self.asked.role,
            against=self.ranked.role,
            metric=self.metric,
            query=query.text,
            id=query.id,
            token=query.token,
            neighbors=tuple(
                Neighbor(rank, row, self.ranked.token(row), score)
                for rank, (row, score) in enumerate(zip(found.ids.tolist(), found.scores.tolist(), strict=True), 1)
            ),
            through_norm=None if self.through is None else self.through.name,
            centered=self.mean is not None,
            notes=tuple(notes),
            warnings=tuple(warnings),
        )


@contextmanager
def open_ranking(
    asked: TokenTable,
    ranked: TokenTable,
    *,
    k: int = 10,
    metric: Metric | None = None,
    center: bool = False,
    reading: Reading | None = None,
    filters: Filters | None = None,
    through: "FinalNorm | None" = None,
) -> Iterator[Ranking]:
    """Open a table for ranking.

    Args:
        asked: the table whose rows are the queries.
        ranked: the table whose rows are ranked.
        k: how many rows are answered to each query.
        metric: `cosine` and `dot` (the larger the nearer) or `euclidean` (the smaller the nearer); by default `cosine`,
            and `dot` behind a norm.
        center: remove the mean row of the ranked table from queries and rows first.
        reading: how typed texts are read.
        filters: which rows may be answered.
        through: the norm that queries pass first.

    Raises:
        InvalidArgument: a filter or a metric is none.
    """
    filters = filters or Filters()
    allowed = filters.allowed(ranked)
    with ranked.open() as reader:
        mean = mean_row(ranked.table, reader) if center else None
        used = metric or ("cosine" if through is None else "dot")
        yield Ranking(asked, ranked, reader, k, used, reading or Reading(), filters, allowed, mean, through)


def ask_neighbors(ranking: Ranking, query: str | int | Query | Doubles) -> NeighborsAnswer:
    """Rank the rows nearest to one query: a typed text, an id, or a vector (width,)."""
    if isinstance(query, str | int | Query):
        return ranking.answer([ranking.asked.one(query, ranking.reading)])[0]
    return ranking.answer([Query("vector 0", vector=check_numbers(query, "a vector"))])[0]
