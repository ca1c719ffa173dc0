"""`embtool neighbors`: the nearest rows, ranked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import combine, pool
from embtool.cli import completion
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_neighbors
from embtool.cli.messages import note, warn
from embtool.cli.options import (
    ExplainOptions,
    Metric,
    ModelOptions,
    OutputOptions,
    TableName,
    Texts,
    TokenOptions,
    Top,
    find_table,
    token_fields,
)
from embtool.cli.reading import read_input
from embtool.dtypes import Doubles
from embtool.model import Model
from embtool.neighbors import Neighbors, nearest_each
from embtool.output import Column, Group, Listing, brief, count, unescape, visible
from embtool.scan import Mask, mean_row
from embtool.table import EmbeddingTable, TableReader
from embtool.vectors import parse_vectors
from embtool.vocabulary import Query

BAR = 20
"""Characters of the bar that shows a cosine of 1."""

FILTERS = "Candidates"


def _score(value: float) -> str:
    return f"{value:.4f}"


def _bar(value: float) -> str:
    """Draw a cosine as a bar; a negative one has none."""
    return "█" * round(BAR * max(0.0, value))


COLUMNS = (
    Column("query", terminal=False),
    Column("query_id", terminal=False),
    Column("rank", title="", right=True, style="dim"),
    Column("id", right=True, show=count),
    Column("piece", terminal=False),
    Column("token", show=visible, style="bold"),
    Column("bytes", terminal=False),
    Column("score", right=True, show=_score),
    Column("score", title="", show=_bar, machine=False, style="cyan", missing="", whole=True, worth=0),
)


def run(
    tokens: Texts = None,
    *,
    top: Top = 10,
    metric: Annotated[Metric, typer.Option(help="How nearness is measured.")] = Metric.COSINE,
    table: TableName = "input",
    against: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.tables,
            help="Rank this table's rows instead: input or output.",
            rich_help_panel="Model",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Ask for every row of the table, in the order of ids; the same as id:0..LAST.")
    ] = False,
    plus: Annotated[
        list[str] | None,
        typer.Option("--plus", autocompletion=completion.tokens, help="Add a token to the query; may be given again."),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option("--minus", autocompletion=completion.tokens, help="Subtract a token; may be given again."),
    ] = None,
    vector: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Query with numbers: npy, JSON or the TSV of `row`; - is stdin.")
    ] = None,
    center: Annotated[
        bool, typer.Option("--center", help="Remove the table's mean row from query and rows first.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Answer only tokens whose text matches.", rich_help_panel=FILTERS),
    ] = None,
    no_special: Annotated[
        bool, typer.Option("--no-special", help="Leave out special tokens.", rich_help_panel=FILTERS)
    ] = False,
    no_padding: Annotated[
        bool, typer.Option("--no-padding", help="Leave out rows that no token has.", rich_help_panel=FILTERS)
    ] = False,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Let the query's own rows be answered.", rich_help_panel=FILTERS)
    ] = False,
    token: TokenOptions,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Rank the rows nearest to a token's row, exactly.

    Several tokens are several queries. With --plus and --minus they are one expression, as in
    `embtool neighbors ' king' --minus ' man' --plus ' woman'`. Without a TOKEN, each line of stdin is a query.
    """
    pattern = _compile(only)
    opened = model.open()
    asked = find_table(opened, table)
    ranked = asked if against is None else find_table(opened, against)
    allowed = _allowed(opened, ranked, pattern, special=not no_special, padding=not no_padding)
    expression = bool(plus or minus)
    if vector is not None and (tokens or expression or every):
        raise typer.BadParameter("--vector is the query: name no tokens beside it")
    if every and (tokens or expression):
        raise typer.BadParameter("--all asks for every row: name no tokens beside it")
    # An expression is one query: its tokens are looked up together, and a line of stdin is not asked for.
    typed = [f"id:0..{asked.shape[0] - 1}"] if every else [*(tokens or []), *(plus or []), *(minus or [])]
    batch = None if vector is not None else Batch(typed or tokens, token, asked, opened)

    with ranked.open() as reader:
        mean = mean_row(ranked, reader) if center else None
        session = _Session(opened, ranked, reader, top, metric.value, allowed, mean)

        def rows_of(query: Query) -> Any:
            return pool(asked.rows(query.ids), token.pool or "mean") if len(query.ids) > 1 else asked.rows(query.ids)[0]

        own = include_self or asked.tensor != ranked.tensor

        def answer(queries: Sequence[Query]) -> list[Group]:
            return session.answer(
                [_Question(query.text, query.ids, rows_of(query), () if own else query.ids) for query in queries]
            )

        if vector is not None:
            brought = parse_vectors(read_input(vector, "--vector"), file=str(vector), unescape=unescape)
            groups: Iterator[Group] = iter(
                session.answer(
                    [
                        _Question(named.name or f"vector {place}", (), named.values)
                        for place, named in enumerate(brought)
                    ]
                )
            )
        elif batch is not None and expression:
            question = _expression(batch.all(), len(minus or []), rows_of, own=own)
            groups = iter(session.answer([question]))
        else:
            assert batch is not None
            groups = batch.groups(answer)
        context = {"model": opened.name, "table": asked.role, "against": ranked.role, "metric": metric.value}
        output.emit(
            Listing(
                "neighbors",
                COLUMNS if metric is Metric.COSINE else COLUMNS[:-1],
                groups,
                records_key="neighbors",
                groups_key="queries",
                context=context,
                line=context,
            )
        )
    if explain.explain:
        about = About(opened, model.reached, asked, None if batch is None else batch.first)
        explained = explain_neighbors(about, metric.value, centered=center, expression=expression)
        explained.show(output.format)
    if batch is not None:
        batch.finish()


@dataclass(frozen=True)
class _Question:
    """One query: its text, the rows it names, its vector, ids never answered, and its name on a terminal."""

    text: str
    ids: tuple[int, ...]
    vector: Any
    exclude: tuple[int, ...] = ()
    shown: str | None = None


class _Session:
    """What every query of one run has in common."""

    def __init__(
        self,
        model: Model,
        table: EmbeddingTable,
        reader: TableReader,
        top: int,
        metric: str,
        allowed: Mask | None,
        mean: Doubles | None,
    ) -> None:
        self.model = model
        self.table = table
        self.reader = reader
        self.top = top
        self.metric = metric
        self.allowed = allowed
        self.mean = mean
        self.vocabulary = model.vocabulary_of(table)
        self.warned = False
        self.noted = False

    def answer(self, questions: Sequence[_Question]) -> list[Group]:
        """Answer questions together, in one pass over the table."""
        answers = nearest_each(
            self.table,
            [question.vector for question in questions],
            self.top,
            metric=self.metric,
            allowed=self.allowed,
            exclude=[question.exclude for question in questions],
            mean=self.mean,
            reader=self.reader,
        )
        return [self._group(question, found) for question, found in zip(questions, answers, strict=True)]

    def _group(self, question: _Question, found: Neighbors) -> Group:
        """Describe one answer."""
        self._warn(found)
        identity = question.ids[0] if len(question.ids) == 1 else None
        entry = self.vocabulary.token(identity) if self.vocabulary is not None and identity is not None else None
        fields = (
            token_fields(entry, identity) if identity is not None else dict.fromkeys(("id", "piece", "token", "bytes"))
        )
        if self.vocabulary is not None and identity is not None and entry is None and not self.noted:
            self.noted = True
            note(f"row {identity} has no token: it is padding")
        records = [
            self._record(rank, row, score)
            for rank, (row, score) in enumerate(zip(found.ids.tolist(), found.scores.tolist(), strict=True), 1)
        ]
        name = question.shown or brief(entry.text if entry is not None else question.text)
        where = f", row {count(identity)}" if identity is not None else ""
        centered = ", mean removed" if self.mean is not None else ""
        title = f"{name}{where} of {self.model.name}: nearest by {self.metric}{centered}, {self.table.role} table"
        line = {"query": question.text, "query_id": identity}
        after = () if records else ("  no row passes the filters",)
        return Group(records, {"query": question.text, **fields}, line, title, after)

    def _record(self, rank: int, row: int, score: float) -> dict[str, object]:
        entry = self.vocabulary.token(row) if self.vocabulary is not None else None
        return {"rank": rank, **token_fields(entry, row), "score": score if np.isfinite(score) else None}

    def _warn(self, found: Neighbors) -> None:
        if found.nonfinite and not self.warned:
            self.warned = True
            warn(f"rows of {self.table.tensor.name} that hold NaN or infinity, ranked last: {count(found.nonfinite)}")


def _expression(queries: list[Query], subtracted: int, rows_of: Any, *, own: bool) -> _Question:
    """Make one question of an expression; the last `subtracted` queries are subtracted."""
    added = len(queries) - subtracted
    signs = [1.0] * added + [-1.0] * subtracted
    rows = np.stack([rows_of(query) for query in queries])
    terms = [("+" if sign > 0 else "-", query.text) for sign, query in zip(signs, queries, strict=True)]
    text = " ".join(f"{sign} {term}" for sign, term in terms).removeprefix("+ ")
    shown = " ".join(f"{sign} {brief(term)}" for sign, term in terms).removeprefix("+ ")
    exclude = () if own else tuple(identity for query in queries for identity in query.ids)
    return _Question(text, (), combine(rows, signs), exclude, shown)


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise typer.BadParameter(f"--only is not a regular expression: {error}") from error


def _allowed(
    model: Model, table: EmbeddingTable, pattern: re.Pattern[str] | None, *, special: bool, padding: bool
) -> Mask | None:
    """Decide which rows may be answered: bool (rows,), or None where all may."""
    if pattern is None and special and padding:
        return None
    vocabulary, rows = model.vocabulary, table.shape[0]
    allowed = np.ones(rows, np.bool_)
    if not padding or pattern is not None:
        allowed[:] = False
        ids = vocabulary.ids if pattern is None else [entry.id for entry in vocabulary if pattern.search(entry.text)]
        known = np.asarray(ids, np.int64)
        allowed[known[known < rows]] = True
    if not special:
        allowed[vocabulary.special_ids[vocabulary.special_ids < rows]] = False
    return allowed
