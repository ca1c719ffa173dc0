"""Which tokens two models share, and under which ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from embtool.answers import (
    Block,
    Listing,
    column,
    context,
    identity,
    python,
    records,
    token_column,
    value,
)
from embtool.answers.text import brief, count, percent, plural, visible
from embtool.arguments import check_count
from embtool.arrays import np
from embtool.errors import ConfigError, FormatError
from embtool.questions.check.small_files import NAMED, SPECIAL_IDS, SmallFiles
from embtool.vocabulary import Token, Vocabulary
from embtool.vocabulary.matching import NOWHERE, TokenMatch, match_tokens

if TYPE_CHECKING:
    from embtool.model import Model

UNRELATED = 0.1
"""Two vocabularies that share less of the smaller one than this are not of one family, nor of one kind of text: of the
real ones that were compared, GPT-2's and T5's share 59 %, T5's and BERT's 15 %."""


class Verdict(StrEnum):
    """How two vocabularies stand to each other."""

    IDENTICAL = "identical"
    PADDING = "identical-but-for-padding"
    TAIL = "longer-tail"
    MOVED = "moved-ids"
    SHARED = "shared"
    UNRELATED = "unrelated"


class PairStatus(StrEnum):
    """What became of a token."""

    SAME = "same"
    MOVED = "moved"
    ONLY_A = "only-a"
    ONLY_B = "only-b"


@dataclass(frozen=True)
class TokenPair:
    """A token of A and what stands for the same bytes in B; of one that A lacks, that of B."""

    status: PairStatus = column("what became of it: same, moved, only-a or only-b", style="cyan")
    id: int | None = identity()
    id_b: int | None = column("its id in B", right=True, show=count)
    token: Token | None = token_column()
    piece_b: str | None = column("B's spelling of it, where that is another", show=visible, worth=0)


@dataclass(frozen=True)
class TokenCounts:
    """How many tokens there are of each kind; `reassigned` counts ids that both have, with different tokens."""

    a: int
    b: int
    same: int
    moved: int
    only_a: int
    only_b: int
    reassigned: int


@dataclass(frozen=True)
class SharedPart:
    """The shared tokens as a part of each vocabulary."""

    a: float
    b: float


@dataclass(frozen=True)
class TableRows:
    """How many rows the tables have, or are to have by the config; None where nothing says so."""

    a: int | None
    b: int | None


@dataclass(frozen=True)
class SpecialPair:
    """The ids that the files of each model name as one kind of special token, such as eos, and their texts.

    `same` is whether both name the same; None where one of them names none.
    """

    name: str
    ids_a: tuple[int, ...]
    ids_b: tuple[int, ...]
    tokens_a: tuple[str | None, ...]
    tokens_b: tuple[str | None, ...]
    same: bool | None


@dataclass(frozen=True)
class VocabularySummary:
    """How two vocabularies differ, in figures."""

    verdict: Verdict = value("how they stand to each other")
    tokens: TokenCounts = value("how many tokens are the same, moved, only here, only there, by their bytes")
    shared: SharedPart = value("the shared tokens as a part of each vocabulary")
    table_rows: TableRows = value("the rows of each table, or the vocab_size of its config")
    special: tuple[SpecialPair, ...] = value("special tokens by name, as the small files of each model name them")

    @property
    def differs(self) -> bool:
        """Whether there is any difference: a token, an id, a row, or a special token that both name."""
        return self.verdict is not Verdict.IDENTICAL or any(each.same is False for each in self.special)

    @property
    def sentence(self) -> str:
        """Say how they stand to each other."""
        tokens, rows = self.tokens, self.table_rows
        longer, more = ("second", tokens.only_b) if tokens.only_b else ("first", tokens.only_a)
        parts = f"{percent(self.shared.a)} of the first's tokens and {percent(self.shared.b)} of the second's"
        return {
            Verdict.IDENTICAL: f"identical vocabularies of {plural(tokens.a, 'token')}",
            Verdict.PADDING: f"vocabularies identical but for padding: {plural(tokens.a, 'token')} in both, "
            f"tables of {count(rows.a or 0)} and {count(rows.b or 0)} rows",
            Verdict.TAIL: f"same ids and a longer tail: {plural(tokens.same, 'token')} in both, "
            f"{count(more)} more behind them in the {longer}",
            Verdict.MOVED: f"moved ids: all tokens{'' if tokens.a == tokens.b else ' of the smaller vocabulary'} are "
            f"shared, {count(tokens.moved)} of them under another id",
            Verdict.SHARED: f"vocabularies shared in part: {parts}",
            Verdict.UNRELATED: f"unrelated vocabularies: {parts}",
        }[self.verdict]

    @property
    def counted(self) -> str:
        """Say how many tokens are of each kind."""
        tokens = self.tokens
        return (
            f"{plural(tokens.same, 'token')} under the same id, {count(tokens.moved)} moved, "
            f"{count(tokens.only_a)} only in the first, {count(tokens.only_b)} only in the second"
        )

    def block(self, a: str, b: str, *, every: bool = False) -> Block:
        """Say how they stand, and which special tokens each model names: all of them, or those that differ."""
        special = []
        for each in (each for each in self.special if every or each.same is False):
            ours, theirs = (
                ", ".join(
                    f"{count(place)} {brief(text)}" if text is not None else f"{count(place)}, no token"
                    for place, text in zip(ids, texts, strict=True)
                )
                or "not named"
                for ids, texts in ((each.ids_a, each.tokens_a), (each.ids_b, each.tokens_b))
            )
            special.append(f"  {each.name}: {ours if each.same else f'{ours} in the first, {theirs} in the second'}")
        return Block(f"{a} and {b}: {self.sentence}", after=[f"  {self.counted}", *special])


@dataclass(frozen=True)
class VocabularyComparison:
    """Two vocabularies held against each other."""

    ours: Vocabulary
    theirs: Vocabulary
    match: TokenMatch
    summary: VocabularySummary


class _Pairs(Sequence[TokenPair]):
    """Every token of A with its counterpart, then those that only B has, each made when it is asked for."""

    def __init__(self, found: VocabularyComparison) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found.match.ids) + len(self._found.match.only_b)

    def __iter__(self) -> Iterator[TokenPair]:
        found, there = self._found, dict(self._found.theirs.pieces())
        for token, other in zip(found.ours, found.match.counterpart.tolist(), strict=True):
            yield _pair(token, None if other == NOWHERE else other, there.get(other))
        alone = set(found.match.only_b.tolist())
        for token in found.theirs:
            if token.id in alone:
                yield TokenPair(PairStatus.ONLY_B, None, token.id, token, None)

    def __getitem__(self, at: Any) -> Any:
        return tuple(self)[at]


def _pair(token: Token, other: int | None, piece: str | None) -> TokenPair:
    status = PairStatus.ONLY_A if other is None else PairStatus.SAME if other == token.id else PairStatus.MOVED
    return TokenPair(status, token.id, other, token, None if piece == token.piece else piece)


@dataclass(frozen=True, repr=False, eq=False)
class VocabularyAnswer(Listing[TokenPair]):
    """How two vocabularies differ; its records are all pairs of tokens."""

    command = "diff"

    a: str = context("the model before")
    b: str = context("the model after")
    vocabulary: VocabularySummary = value("how the vocabularies differ")
    moved: tuple[TokenPair, ...] = value("the first tokens with another id in B")
    only_a: tuple[TokenPair, ...] = value("the first tokens that B lacks")
    only_b: tuple[TokenPair, ...] = value("the first tokens that A lacks")
    pairs: Sequence[TokenPair] = records(
        "every token of A with its counterpart, then those of B alone", in_document=False
    )
    is_other: bool = python(default=False)
    notes: tuple[str, ...] = python(default=())

    @property
    def differs(self) -> bool:
        """Whether there is any difference, of the vocabularies or of the widths of the tables."""
        return self.is_other or self.vocabulary.differs

    def blocks(self) -> Iterator[Block]:
        """Yield the verdict, the first tokens of each kind, and the special tokens."""
        shown = (*self.moved, *self.only_a, *self.only_b)
        hidden = set() if any(each.piece_b is not None for each in shown) else {"piece_b"}
        whole = self.vocabulary.block(self.a, self.b, every=True)
        yield replace(whole, columns=self.shown_columns(*hidden), records=replace(self, pairs=shown).flat)


def compare_vocabularies(a: "Model", b: "Model", *, rows: tuple[int, int] | None = None) -> VocabularyComparison:
    """Hold the vocabularies of two models against each other; no weights are read.

    Args:
        a: the model before.
        b: the model after.
        rows: the rows of their tables; by default what their configs say.

    Raises:
        NoVocabulary: one has no tokenizer that embtool reads.
        FormatError: a tokenizer cannot be read, or has no tokens.
    """
    for model in (a, b):
        if not len(model.vocabulary):
            raise FormatError(f"{model.name}: {model.vocabulary.file} has no tokens")
    match = match_tokens(a.vocabulary, b.vocabulary)
    sizes = TableRows(*rows) if rows is not None else TableRows(_vocab_size(a), _vocab_size(b))
    counts = TokenCounts(
        len(match.ids),
        len(match.ids_b),
        *map(len, (match.same, match.moved, match.only_a, match.only_b, match.reassigned)),
    )
    common = counts.same + counts.moved
    ours, theirs = small_files(a), small_files(b)
    special = []
    for name in NAMES:
        ids_a, ids_b = ours.named_ids(name), theirs.named_ids(name)
        if ids_a or ids_b:
            is_same = (ids_a == ids_b and bool(np.isin(ids_a, match.same).all())) if ids_a and ids_b else None
            special.append(SpecialPair(name, ids_a, ids_b, _texts(ours, ids_a), _texts(theirs, ids_b), is_same))
    summary = VocabularySummary(
        verdict=_judge(match, counts, sizes),
        tokens=counts,
        shared=SharedPart(common / counts.a, common / counts.b),
        table_rows=sizes,
        special=tuple(special),
    )
    return VocabularyComparison(a.vocabulary, b.vocabulary, match, summary)


def _vocab_size(model: "Model") -> int | None:
    try:
        return None if model.config is None else model.config.vocab_size
    except ConfigError:
        return None


def _judge(match: TokenMatch, counts: TokenCounts, rows: TableRows) -> Verdict:
    common = counts.same + counts.moved
    if counts.same == counts.a == counts.b:
        known = rows.a is not None and rows.b is not None
        return Verdict.PADDING if known and rows.a != rows.b else Verdict.IDENTICAL
    if counts.same == min(counts.a, counts.b):
        more, shorter = (match.only_b, match.ids) if counts.b > counts.a else (match.only_a, match.ids_b)
        if more[0] > shorter[-1]:
            return Verdict.TAIL
    if counts.moved and common == min(counts.a, counts.b):
        return Verdict.MOVED
    return Verdict.UNRELATED if common < UNRELATED * min(counts.a, counts.b) else Verdict.SHARED


def small_files(model: "Model") -> SmallFiles:
    """Return what the small files of a model say; of a GGUF file, its metadata."""
    try:
        config = model.config
    except ConfigError:
        config = None
    metadata: Any = {}
    file = "" if config is None else config.file
    if file.endswith(".gguf"):
        metadata = getattr(model.checkpoint, "metadata", {})
    return SmallFiles(model.name, model.source, config, model.vocabulary, metadata, file)


NAMES = tuple(
    dict.fromkeys(
        [*(kind.removesuffix("_token") for kind in NAMED), *(kind.removesuffix("_token_id") for kind in SPECIAL_IDS)]
    )
)
"""Kinds of special tokens."""


def _texts(small: SmallFiles, ids: tuple[int, ...]) -> tuple[str | None, ...]:
    found = (None if small.vocabulary is None else small.vocabulary.token(each) for each in ids)
    return tuple(None if token is None else token.text for token in found)


def answer_vocabularies(
    a: str, b: str, found: VocabularyComparison, *, k: int = 10, is_other: bool = False, notes: tuple[str, ...] = ()
) -> VocabularyAnswer:
    """Tell how two vocabularies differ; `k` limits how many tokens of each kind a document lists.

    `is_other` says that the tables differ in a way that the vocabularies do not show.

    Raises:
        InvalidArgument: `k` is below 0.
    """
    check_count(k, "k", 0)
    match, words = found.match, found.ours

    def first(ids: Any, others: Any) -> tuple[TokenPair, ...]:
        pairs = zip(ids[:k].tolist(), others[:k].tolist(), strict=True)
        listed = []
        for row, other in pairs:
            token = words.token(row)
            if token is not None:
                there = found.theirs.token(other) if other != NOWHERE else None
                listed.append(_pair(token, None if there is None else other, None if there is None else there.piece))
        return tuple(listed)

    alone = (found.theirs.token(row) for row in match.only_b[:k].tolist())
    return VocabularyAnswer(
        a=a,
        b=b,
        vocabulary=found.summary,
        moved=first(match.moved, match.in_b(match.moved)),
        only_a=first(match.only_a, match.in_b(match.only_a)),
        only_b=tuple(TokenPair(PairStatus.ONLY_B, None, token.id, token, None) for token in alone if token is not None),
        pairs=_Pairs(found),
        is_other=is_other,
        notes=notes,
    )
