"""`embtool undertrained`: tokens that training hardly touched, without running the model."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from embtool.categories import Categorizer, Category
from embtool.cli.explanations import About, explain_undertrained
from embtool.cli.messages import note
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions, TableName, Top, find_table, token_fields
from embtool.cli.watching import watched
from embtool.dtypes import Doubles
from embtool.model import Model
from embtool.output import Column, Format, Group, Listing, abridge, count, visible
from embtool.table import EmbeddingTable
from embtool.undertrained import (
    CANDIDATE_PERCENT,
    KIND_MEANINGS,
    Indicator,
    Kind,
    Reference,
    containing,
    find_reference,
    percentiles_of,
    rank_untrained,
    untrained_scores,
)
from embtool.vocabulary import Token, read_queries

AUTOMATIC = (Kind.PADDING, Kind.BYTES, Kind.NAMES)

NO_OUTPUT = "there is no output table"

CAUTION = "these are candidates: no model was run"

WITHIN_SHOWN = 36
"""Characters of the longer tokens named on a terminal, so that the other columns keep their width."""


def run(
    *,
    top: Top = 10,
    indicator: Annotated[
        Indicator | None, typer.Option(help="What tells: norm, or distance to the reference rows' mean.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="auto|padding|bytes|names|TOKEN",
            help="Rows that surely were never trained; may be given again, as id:177..187 too.",
        ),
    ] = None,
    percent: Annotated[
        float, typer.Option(min=0, max=100, help="List no row beyond this share of the table, in percent.")
    ] = CANDIDATE_PERCENT,
    normal: Annotated[
        bool, typer.Option("--normal", help="Only ordinary tokens: those that a text can contain.")
    ] = False,
    padding: Annotated[bool, typer.Option("--padding", help="List rows that no token has, too.")] = False,
    table: TableName = "input",
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """List the tokens whose rows training hardly touched ("glitch tokens"), told from the table alone.

    After Land and Bartolo, "Fishing for Magikarp" (2024). Where input and output table differ, a small norm of the
    input row tells; where they are one, and for an output table, the distance to the mean of rows that surely were
    never trained: those without a token, bytes that UTF-8 never uses, names such as <|reserved_special_token_3|>. These
    are candidates: no model is run, and only a prompt can show whether a model cannot repeat a token.
    """
    opened = model.open()
    chosen = find_table(opened, table)
    known = _reference(opened, chosen, reference or ["auto"])
    used, why = _choose(opened, chosen, indicator, known)
    with watched(chosen) as reader:
        scores = untrained_scores(chosen, reader, used, known)
    listed = _Listed(opened, scores, known, normal=normal, padding=padding)
    records = listed.records(top, percent)
    described = {kind.value: known.count(kind) for kind in Kind}
    context = {"model": opened.name, "table": chosen.role, "indicator": used.value}
    if output.format is not Format.TABLE:
        note(CAUTION)
    named = ", ".join(f"{count(known.count(kind))} {KIND_MEANINGS[kind]}" for kind in Kind if known.count(kind))
    title = f"least trained rows of {opened.name}, {chosen.role} table, by {used.value}: {why}"
    legend = f"the smaller the {used.value}, the less trained; percentile: percent of rows with a smaller one"
    after = [f"  {legend}", f"  reference: {named or 'no rows'}", f"  {CAUTION}"]
    document = {**context, "why": why, "verified": False, "reference": described, "tokens": records}
    output.emit(
        Listing(
            "undertrained",
            _columns(used),
            [Group(records, title=title, after=after)],
            "tokens",
            line=context,
            document=lambda: document,
        )
    )
    if explain.explain:
        about = About(opened, model.reached, chosen)
        explained = explain_undertrained(about, used.value, records[0]["id"] if records else None)
        explained.show(output.format)


def _columns(indicator: Indicator) -> list[Column]:
    return [
        Column("rank", title="", right=True, style="dim"),
        Column("id", right=True, show=count),
        Column("piece", terminal=False),
        Column("token", show=visible, style="bold"),
        Column("bytes", terminal=False),
        Column("category", style="cyan"),
        Column("score", title=indicator.value, right=True, show=lambda value: f"{value:.4f}"),
        Column("percentile", right=True, show=lambda value: f"{value:.2f}"),
        Column("reference", style="dim"),
        Column("within", show=lambda tokens: abridge(", ".join(map(visible, tokens)), WITHIN_SHOWN), style="dim"),
    ]


def _reference(model: Model, table: EmbeddingTable, asked: Sequence[str]) -> Reference:
    """Find the reference rows: by kind, or those given by name."""
    kinds: set[Kind] = set()
    given: dict[int, Kind] = {}
    for text in asked:
        if text == "auto":
            kinds.update(AUTOMATIC)
        elif text in AUTOMATIC:
            kinds.add(Kind(text))
        else:
            queries = list(read_queries([text], model.vocabulary_if_any))
            for query in queries:
                table.check(query.ids)
                given |= dict.fromkeys(query.ids, Kind.GIVEN)
    return Reference({**find_reference(model.vocabulary, table.shape[0], kinds).kinds, **given})


def _choose(
    model: Model, table: EmbeddingTable, asked: Indicator | None, reference: Reference
) -> tuple[Indicator, str]:
    """Choose what tells an untrained row of this table, and say why."""
    if asked is not None:
        return asked, "as asked"
    tying = model.tables.tying
    implied = tying.stored == "input" and tying.config
    if table.role == "input" and tying.verdict != "tied" and not implied:
        return Indicator.NORM, NO_OUTPUT if tying.stored == "input" else "input and output table are two"
    one = "input and output table are one" if tying.verdict == "tied" else f"{NO_OUTPUT}; it would be tied to this one"
    why = "the table predicts tokens" if table.role == "output" else one
    if not reference.kinds:
        return Indicator.NORM, f"{why}, but no row surely was never trained"
    return Indicator.DISTANCE, why


class _Listed:
    """Which rows are listed, and what is said of each."""

    def __init__(self, model: Model, scores: Doubles, reference: Reference, *, normal: bool, padding: bool) -> None:
        self.vocabulary = model.vocabulary
        self.scores = scores
        self.reference = reference
        self.normal = normal
        self.allowed = np.ones(len(scores), np.bool_)
        if not padding or normal:
            self.allowed[:] = False
            ids = self.vocabulary.ids
            self.allowed[ids[ids < len(scores)]] = True

    def records(self, top: int, percent: float) -> list[dict[str, Any]]:
        """List the first rows, up to a share of the table."""
        most = int(len(self.scores) * percent / 100)
        ids = rank_untrained(self.scores, most, self.allowed).tolist()
        entries = [self.vocabulary.token(row) for row in (ids if self.normal else ids[:top])]
        categories = self._categories(entries)
        kept = [
            (row, entry, category)
            for row, entry, category in zip(ids, entries, categories, strict=False)
            if not self.normal or category is Category.NORMAL
        ][:top]
        longer = containing(self.vocabulary, [entry for _, entry, _ in kept if entry is not None])
        percentiles = percentiles_of(self.scores, [row for row, _, _ in kept]).tolist()
        return [
            {
                "rank": rank,
                **token_fields(entry, row),
                "category": category.value,
                "score": float(self.scores[row]),
                "percentile": percentiles[rank - 1],
                "reference": self.reference.kinds[row].value if row in self.reference.kinds else None,
                "within": [token.text for token in longer.get(row, [])],
            }
            for rank, (row, entry, category) in enumerate(kept, 1)
        ]

    def _categories(self, entries: Sequence[Token | None]) -> list[Category]:
        tokens = [entry for entry in entries if entry is not None]
        found = iter(Categorizer(self.vocabulary).each(tokens))
        return [Category.PADDING if entry is None else next(found) for entry in entries]
