"""The nearest rows to an expression, king - man + woman."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embtool.answers import Column, Listing, context, identity, python, records, token_column, value
from embtool.answers.text import brief
from embtool.arrays import Doubles, np
from embtool.questions.neighbors import Neighbor
from embtool.tables.arithmetic import add_up, combine
from embtool.tables.metric import Metric, check_metric
from embtool.tables.neighbors import nearest
from embtool.tables.table import TableReader
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Token, note_of_bare, parse_expression


@dataclass(frozen=True)
class CalcTerm:
    """One term of an expression, and where its own row would stand in the answer."""

    sign: int = value("+1 or -1")
    query: str = value("what was typed")
    id: int | None = identity()
    token: Token | None = token_column()
    rank: int | None = value("where its own row would stand; null where that is beyond what was ranked")

    @property
    def shown(self) -> str:
        """What a reader sees of it."""
        return brief(self.token.text if self.token is not None else self.query)


@dataclass(frozen=True, repr=False, eq=False)
class CalcAnswer(Listing[Neighbor]):
    """The rows nearest to one expression, best first."""

    command = "calc"
    many_key = "queries"
    always_many = True
    line_keys = ("query",)
    line_columns = (Column("query", terminal=False),)

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    metric: Metric = context("how nearness is measured: cosine, dot or euclidean")
    normalized: bool = context("whether rows were scaled to length 1 before they were added")
    query: str = value("the expression")
    terms: tuple[CalcTerm, ...] = value("its terms", default=())
    neighbors: tuple[Neighbor, ...] = records("the nearest rows, best first", default=())
    inputs_left_out: bool = python(default=True)
    notes: tuple[str, ...] = python(default=())

    def title(self) -> str:
        """Return what was asked."""
        formula = _formula((term.sign, term.shown) for term in self.terms)
        return f"{formula} in {self.model}: nearest by {self.metric}, {self.table} table"

    def after(self) -> Sequence[str]:
        """Say where the expression's own tokens would stand."""
        places = [f"{term.shown} would be number {term.rank}" for term in self.terms if term.rank is not None]
        return [f"  left out: {', '.join(places)}"] if places and self.inputs_left_out else []


@dataclass(frozen=True)
class Calculator:
    """What the expressions of one run have in common.

    Attributes:
        asked: the table.
        reader: the table, open.
        k: how many rows are answered.
        metric: how nearness is measured.
        reading: how typed tokens are read.
        include_inputs: let the expression's own rows be answered.
        normalize: scale rows to length 1 before they are added, as gensim does; by default under cosine only, because a
            sum of such rows has not the length of a row, by which the other metrics measure.
    """

    asked: TokenTable
    reader: TableReader
    k: int = 10
    metric: Metric = "cosine"
    reading: Reading = Reading()
    include_inputs: bool = False
    normalize: bool | None = None

    @property
    def normalized(self) -> bool:
        """Whether rows are scaled to length 1."""
        return self.metric == "cosine" if self.normalize is None else self.normalize

    def answer(self, expression: str | Sequence[str]) -> CalcAnswer:
        """Answer one expression: a text, or its tokens and signs.

        Raises:
            InvalidArgument: a sign or a token is missing.
            UnknownToken: a term is no token.
        """
        check_metric(self.metric)
        terms = parse_expression([expression] if isinstance(expression, str) else expression)
        queries = [self.asked.one(term.text, self.reading) for term in terms]
        signs = [term.sign for term in terms]
        stacked: Doubles = np.stack([self.asked.finite(query, self.reading).astype(np.float64) for query in queries])
        vector = combine(stacked, signs) if self.normalized else add_up(stacked, signs)
        own = {identity for query in queries for identity in query.ids}
        found = nearest(self.asked.table, vector, self.k + len(own), metric=self.metric, reader=self.reader)
        ranks: dict[int | None, int] = {row: rank for rank, row in enumerate(found.ids.tolist(), 1)}
        scored = zip(found.ids.tolist(), found.scores.tolist(), strict=True)
        kept = [(row, score) for row, score in scored if self.include_inputs or row not in own][: self.k]
        return CalcAnswer(
            model=self.asked.model,
            table=self.asked.role,
            metric=self.metric,
            normalized=self.normalized,
            query=_formula((int(term.sign), term.text) for term in terms),
            terms=tuple(
                CalcTerm(int(term.sign), query.text, query.id, query.token, ranks.get(query.id))
                for term, query in zip(terms, queries, strict=True)
            ),
            neighbors=tuple(
                Neighbor(rank, row, self.asked.token(row), score) for rank, (row, score) in enumerate(kept, 1)
            ),
            inputs_left_out=not self.include_inputs,
            notes=tuple(note for note in (note_of_bare(queries), *(query.note for query in queries)) if note),
        )

    @property
    def blank(self) -> CalcAnswer:
        """An answer to nothing."""
        return CalcAnswer(self.asked.model, self.asked.role, self.metric, self.normalized, "")


def _formula(terms: Iterable[tuple[int, str]]) -> str:
    return " ".join(f"{'+' if sign > 0 else '-'} {text}" for sign, text in terms).removeprefix("+ ")
