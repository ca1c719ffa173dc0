"""Tokens that training hardly touched, told from the table alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from embtool.answers import Column, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.text import abridge, count, fixed, plural, visible
from embtool.arguments import check_count
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.tables.categories import Categorizer, Category
from embtool.tables.table_roles import Tying
from embtool.tables.token_table import Reading, TokenTable
from embtool.tables.undertrained import (
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
from embtool.vocabulary import Token, Vocabulary

AUTOMATIC = (Kind.PADDING, Kind.BYTES, Kind.NAMES)

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A control character, alone."""

LEFT_OUT = (
    "row before these that no text is split into, or a control character",
    "rows before these that no text is split into, or control characters",
)

CAUTION = "these are candidates: no model was run"

SMALL = "of {} the share that is looked at would be none: the lowest are listed, whatever that says of so few"

NONE = "of {} the share asked for is less than one: none is listed, --percent takes more"

WITHIN_SHOWN = 36
"""Characters of the longer tokens named on a terminal, so that the other columns keep their width."""


@dataclass(frozen=True)
class Candidate:
    """One row that training may hardly have touched."""

    rank: int = column("place in the ranking, from 1, the least trained first", title="", right=True, style="dim")
    id: int = identity()
    token: Token | None = token_column()
    category: Category | None = column("the kind of its token", style="cyan")
    score: float = column("by the indicator: the smaller, the less trained it looks", right=True, show=fixed)
    percentile: float = column("share of rows that are lower, in percent", right=True, show=lambda held: f"{held:.2f}")
    reference: Kind | None = column("why it is a reference row, if it is one", style="dim")
    within: tuple[str, ...] = column(
        "longer tokens that contain it: a merge may have left it behind",
        show=lambda tokens: abridge(", ".join(map(visible, tokens)), WITHIN_SHOWN),
        style="dim",
    )


@dataclass(frozen=True, repr=False, eq=False)
class UndertrainedAnswer(Listing[Candidate]):
    """Candidates, the least trained first. No model was run."""

    command = "undertrained"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    indicator: Indicator = context("what tells: norm, or distance to the mean of the reference rows")
    why: str = value("why this indicator")
    verified: bool = value("whether a model was run: never")
    reference: dict[str, int] = value("how many rows surely were never trained, by why")
    left_out: int = value("rows that look less trained than the last one listed, and are no ordinary tokens")
    tokens: tuple[Candidate, ...] = records("the candidates")
    notes: tuple[str, ...] = python(default=())

    def columns(self) -> Sequence[Column]:
        """Return the columns; the score is called what it is."""
        return [
            replace(each, title=self.indicator.value) if each.key == "score" else each for each in super().columns()
        ]

    def title(self) -> str:
        """Return what was asked, and why by this indicator."""
        return f"least trained rows of {self.model}, {self.table} table, by {self.indicator} ({self.why})"

    def after(self) -> Sequence[str]:
        """Say how to read it, and what the rows are compared with."""
        named = [f"{count(number)} {KIND_MEANINGS[Kind(kind)]}" for kind, number in self.reference.items() if number]
        return [
            f"  the smaller the {self.indicator}, the less trained; percentile: percent of rows with a smaller one",
            f"  reference: {', '.join(named) or 'no rows'}",
            *([f"  left out: {plural(self.left_out, *LEFT_OUT)}: --all lists them"] if self.left_out else []),
            f"  {CAUTION}",
        ]


def ask_undertrained(
    asked: TokenTable,
    tying: Tying,
    *,
    k: int = 10,
    indicator: Indicator | str | None = None,
    reference: Sequence[str] = ("auto",),
    percent: float | None = None,
    normal: bool = True,
    padding: bool = False,
) -> UndertrainedAnswer:
    """Rank the rows that training hardly touched, after Land and Bartolo, "Fishing for Magikarp" (2024).

    Args:
        asked: the table.
        tying: whether input and output table are one, which decides what tells.
        k: how many rows are listed.
        indicator: `norm` or `distance`; by default what fits the table.
        reference: rows that surely were never trained: `auto`, `padding`, `bytes`, `names`, or tokens.
        percent: no row beyond this share of the table is listed; by default 2, of a small table at least `k` rows.
        normal: only ordinary tokens: those that a text is split into, but for single control characters.
        padding: rows that no token has, too.

    Raises:
        NoVocabulary: the model has no tokenizer.
        InvalidArgument: there is no such indicator.
    """
    check_count(k, "k")
    vocabulary = asked.need_vocabulary()
    known = _reference(asked, vocabulary, reference)
    used, why = _choose(asked, tying, indicator, known)
    with asked.open() as reader:
        scores = untrained_scores(asked.table, reader, used, known)
    allowed = np.isin(np.arange(len(scores)), vocabulary.ids) | padding
    within = int(len(scores) * (CANDIDATE_PERCENT if percent is None else percent) / 100)
    is_small = percent is None and within < 1
    ids = rank_untrained(scores, len(scores) if is_small else within, allowed).tolist()
    categorizer = Categorizer(vocabulary)
    kept, left_out = _kept(ids, vocabulary, categorizer, k, normal=normal)
    candidates = _candidates(kept, scores, known, vocabulary)
    counts = {kind.value: known.count(kind) for kind in Kind}
    return UndertrainedAnswer(
        *(asked.model, asked.role, used, why),
        verified=False,
        reference=counts,
        left_out=left_out,
        tokens=candidates,
        notes=(*((SMALL if is_small else NONE).format(plural(len(scores), "row")),) * (within < 1), *categorizer.notes),
    )


Row = tuple[int, Token | None, Category | None]


def _kept(
    ids: list[int], vocabulary: Vocabulary, categorizer: Categorizer, k: int, *, normal: bool
) -> tuple[list[Row], int]:
    """Take the first `k` rows, or ordinary tokens; count the rows before the last of these that are none."""
    entries = [vocabulary.token(row) for row in (ids if normal else ids[:k])]
    kept: list[Row] = []
    for row, entry, category in zip(ids, entries, categorizer.of_rows(entries), strict=False):
        # Padding that was asked for, or a token of texts; no category where no text can be split.
        ordinary = entry is None or (category in (None, Category.NORMAL) and not CONTROL.fullmatch(entry.text))
        if len(kept) < k and (ordinary or not normal):
            kept.append((row, entry, category))
    return kept, ids.index(kept[-1][0]) + 1 - len(kept) if kept else len(ids) if normal else 0


def _candidates(
    kept: Sequence[Row], scores: Doubles, known: Reference, vocabulary: Vocabulary
) -> tuple[Candidate, ...]:
    """Describe rows: where their scores stand, and which longer tokens contain them."""
    longer = containing(vocabulary, [entry for _, entry, _ in kept if entry is not None])
    percentiles = percentiles_of(scores, [row for row, _, _ in kept]).tolist()
    return tuple(
        Candidate(
            rank,
            row,
            entry,
            category,
            float(scores[row]),
            percentiles[rank - 1],
            known.kinds.get(row),
            tuple(token.text for token in longer.get(row, [])),
        )
        for rank, (row, entry, category) in enumerate(kept, 1)
    )


def _reference(asked: TokenTable, vocabulary: Vocabulary, names: Sequence[str]) -> Reference:
    """Find the reference rows: by kind, or those given by name."""
    kinds: set[Kind] = set()
    given: dict[int, Kind] = {}
    for text in names:
        if text == "auto":
            kinds.update(AUTOMATIC)
        elif text in AUTOMATIC:
            kinds.add(Kind(text))
        else:
            given |= {row: Kind.GIVEN for query in asked.read(text, Reading(can_pool=False)) for row in query.ids}
    return Reference({**find_reference(vocabulary, asked.table.shape[0], kinds).kinds, **given})


def _choose(
    asked: TokenTable, tying: Tying, indicator: Indicator | str | None, reference: Reference
) -> tuple[Indicator, str]:
    """Choose what tells an untrained row of this table, and say why."""
    if indicator is not None:
        if indicator not in list(Indicator):
            raise InvalidArgument(f"indicator is one of {', '.join(Indicator)}, not {indicator!r}")
        return Indicator(indicator), "as asked"
    if asked.role == "input" and tying.verdict != "tied" and not tying.would_be_tied:
        return Indicator.NORM, tying.sentence
    why = "the table predicts tokens" if asked.role == "output" else tying.sentence
    if not reference.kinds:
        return Indicator.NORM, f"{why}; but no row surely was never trained"
    return Indicator.DISTANCE, why
