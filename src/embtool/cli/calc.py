"""`embtool calc`: the nearest rows to an expression, king - man + woman."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
import typer.core

from embtool.arithmetic import add_up, combine, pool
from embtool.cli import completion
from embtool.cli.batch import NOT_FOUND, read_lines
from embtool.cli.messages import note, report, warn
from embtool.cli.options import (
    Metric,
    ModelOptions,
    OutputOptions,
    TableName,
    TokenOptions,
    Top,
    expand,
    find_table,
    token_fields,
)
from embtool.errors import EmbtoolError
from embtool.model import Model
from embtool.neighbors import Neighbors, nearest
from embtool.output import Column, Group, Listing, brief, count, visible
from embtool.table import EmbeddingTable, TableReader
from embtool.vocabulary import Query, Vocabulary, mixed_words, read_queries

SIGNS = {"+": 1.0, "-": -1.0, "−": -1.0}
SHOWN_SIGNS = {1.0: "+", -1.0: "-"}

GLUED = re.compile(r"-[a-z][^\W\d_]+")
"""What `king -man` gives: the parser would read it as the option -m with the value an."""


def _score(value: float) -> str:
    return f"{value:.4f}"


COLUMNS = (
    Column("query", terminal=False),
    Column("rank", title="", right=True, style="dim"),
    Column("id", right=True, show=count),
    Column("piece", terminal=False),
    Column("token", show=visible, style="bold"),
    Column("bytes", terminal=False),
    Column("score", right=True, show=_score),
)


class _Calc(typer.core.TyperCommand):
    """The command, which refuses `-man` before the parser makes an option of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a minus that is glued to its term."""
        for argument in args:
            if argument == "--":
                break
            if GLUED.fullmatch(argument):
                raise typer.BadParameter(
                    f"{argument} could be an option or a subtraction: write - {argument[1:]}, with a space, to subtract"
                )
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(add_completion=False)


def run(
    expression: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOKEN [+|- TOKEN]...",
            autocompletion=completion.tokens,
            help="Tokens with + and - between them; - alone reads stdin.",
        ),
    ] = None,
    *,
    top: Top = 10,
    metric: Annotated[Metric, typer.Option(help="How nearness is measured.")] = Metric.COSINE,
    table: TableName = "input",
    include_inputs: Annotated[
        bool, typer.Option("--include-inputs", help="Let the expression's own tokens be answered.")
    ] = False,
    no_normalize: Annotated[
        bool, typer.Option("--no-normalize", help="Add rows at the lengths they have, not at length 1.")
    ] = False,
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Rank the rows nearest to an expression: embtool calc ' king' - ' man' + ' woman'.

    A word inside a sentence is the token with a space before it, and quotes keep that space. Signs are arguments of
    their own, with spaces around them; one quoted argument is an expression too, and so is each line of stdin. Rows are
    scaled to length 1 before they are added, as gensim does. The tokens of the expression are left out of the answer,
    and a note says where they would stand. The token + itself is written piece:+
    """
    token.check()
    lines = None if expression and expression != ["-"] else read_lines()
    typed = parse_expression(expression or []) if lines is None else None
    opened = model.open()
    chosen = find_table(opened, table)
    failed: list[str] = []
    context = {"model": opened.name, "table": chosen.role, "metric": metric.value, "normalized": not no_normalize}
    with chosen.open() as reader:
        session = _Session(opened, chosen, reader, token, top, metric.value, not include_inputs, not no_normalize)

        def groups() -> Iterator[Group]:
            if typed is not None:
                yield session.answer(typed)
                return
            assert lines is not None
            for line in lines:
                try:
                    yield session.answer(parse_expression([line]))
                except (EmbtoolError, typer.BadParameter) as error:
                    if token.strict:
                        raise
                    report(error if isinstance(error, EmbtoolError) else EmbtoolError(error.message), about=line)
                    failed.append(line)

        output.emit(
            Listing(
                "calc",
                COLUMNS,
                groups(),
                records_key="neighbors",
                groups_key="queries",
                context=context,
                line=context,
            )
        )
    if failed:
        raise typer.Exit(NOT_FOUND)


app.command("calc", cls=_Calc, help=run.__doc__)(expand(run))


@dataclass(frozen=True)
class Term:
    """A sign, +1 or -1, and what was typed for a token."""

    sign: float
    text: str


def parse_expression(arguments: Sequence[str]) -> list[Term]:
    """Read tokens with signs between them; a single argument is cut at its signs that have spaces on both sides.

    >>> [(term.sign, term.text) for term in parse_expression(["king - man + woman"])]
    [(1.0, 'king'), (-1.0, 'man'), (1.0, 'woman')]

    Raises:
        BadParameter: a sign or a token is missing.
    """
    parts = _cut(arguments[0]) if len(arguments) == 1 else list(arguments)
    terms: list[Term] = []
    sign: float | None = None
    for part in parts:
        if part in SIGNS:
            if sign is not None:
                raise typer.BadParameter(f"two signs stand side by side; the token {part} itself is piece:{part}")
            sign = SIGNS[part]
            continue
        if sign is None and terms:
            raise typer.BadParameter(_missing_sign(terms[-1].text, part))
        terms.append(Term(1.0 if sign is None else sign, part))
        sign = None
    if sign is not None or not terms:
        raise typer.BadParameter("the expression ends with a sign: a token is missing")
    return terms


def _cut(text: str) -> list[str]:
    first = re.match(r"([+−-]) +(?=\S)", text)
    head = [] if first is None else [first[1]]
    rest = text if first is None else text[first.end() :]
    return head + [part for part in re.split(r"(?<=\S) +([+−-])(?: +(?=\S)| *$)", rest) if part]


def _missing_sign(before: str, after: str) -> str:
    if after[:1] in SIGNS:
        return f"{after!r} has no space after its sign: write {after[:1]} {after[1:]}"
    return f"no + or - stands between {before!r} and {after!r}; a token with a space in it needs quotes"


@dataclass(frozen=True)
class _Session:
    """What every expression of one run has in common."""

    model: Model
    table: EmbeddingTable
    reader: TableReader
    options: TokenOptions
    top: int
    metric: str
    exclude: bool
    normalize: bool

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The tokens that name the table's rows."""
        return self.model.vocabulary_of(self.table)

    def answer(self, terms: Sequence[Term]) -> Group:
        """Answer one expression."""
        queries = [self._look_up(term.text) for term in terms]
        mixed = mixed_words(queries)
        if mixed is not None:
            warn(mixed)
        signs = [term.sign for term in terms]
        rows = np.stack([self._row(query) for query in queries])
        vector = combine(rows, signs) if self.normalize else add_up(rows, signs)
        own = sorted({identity for query in queries for identity in query.ids})
        found = nearest(self.table, vector, self.top + len(own), metric=self.metric, reader=self.reader)
        ranks = {row: rank for rank, row in enumerate(found.ids.tolist(), 1)}
        records = self._records(found, own if self.exclude else [])
        inputs = [self._term(term, query, ranks) for term, query in zip(terms, queries, strict=True)]
        text = _formula([(term.sign, term.text) for term in terms])
        shown = _formula([(entry["sign"], brief(str(entry["token"] or entry["query"]))) for entry in inputs])
        title = f"{shown} in {self.model.name}: nearest by {self.metric}, {self.table.role} table"
        return Group(records, {"query": text, "terms": inputs}, {"query": text}, title, self._standing(inputs))

    def _look_up(self, text: str) -> Query:
        pooled = self.options.pool is not None
        needed = None if text.startswith("id:") else self.vocabulary
        queries = list(read_queries([text], needed, exact=self.options.exact, pool=pooled))
        if len(queries) != 1:
            raise typer.BadParameter(f"{text!r} is {len(queries)} rows: --pool mean makes one vector of them")
        self.table.check(queries[0].ids)
        if queries[0].note is not None:
            note(queries[0].note)
        return queries[0]

    def _row(self, query: Query) -> Any:
        rows = self.table.rows(query.ids)
        return pool(rows, self.options.pool or "mean") if len(query.ids) > 1 else rows[0]

    def _records(self, found: Neighbors, without: Sequence[int]) -> list[dict[str, object]]:
        kept = [place for place, row in enumerate(found.ids.tolist()) if row not in without][: self.top]
        return [
            {"rank": rank, **self._fields(int(found.ids[place])), "score": _finite(float(found.scores[place]))}
            for rank, place in enumerate(kept, 1)
        ]

    def _term(self, term: Term, query: Query, ranks: dict[int, int]) -> dict[str, Any]:
        """Describe a term, and where it would stand in the answer; null where that is beyond what was ranked."""
        single = len(query.ids) == 1
        fields = self._fields(query.ids[0]) if single else dict.fromkeys(("id", "piece", "token", "bytes"))
        rank = ranks.get(query.ids[0]) if single else None
        return {"sign": int(term.sign), "query": term.text, **fields, "rank": rank}

    def _fields(self, row: int) -> dict[str, object]:
        return token_fields(self.vocabulary.token(row) if self.vocabulary is not None else None, row)

    def _standing(self, inputs: Sequence[dict[str, Any]]) -> list[str]:
        """Say where the expression's own tokens would stand."""
        if not self.exclude:
            return []
        places = [
            f"{brief(str(entry['token'] or entry['query']))} would be number {entry['rank']}"
            for entry in inputs
            if entry["rank"] is not None
        ]
        return [f"  left out: {', '.join(places)}"] if places else []


def _formula(terms: Sequence[tuple[float, str]]) -> str:
    return " ".join(f"{SHOWN_SIGNS[float(sign)]} {text}" for sign, text in terms).removeprefix("+ ")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
