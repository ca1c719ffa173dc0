"""How near tokens are to each other, and which of several belongs least."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embtool.answers import (
    Block,
    Column,
    Listing,
    Matrix,
    column,
    context,
    identity,
    python,
    records,
    token_column,
    value,
)
from embtool.answers.text import brief, fixed, spelled, visible
from embtool.arrays import np
from embtool.errors import FormatError, InvalidArgument
from embtool.tables.arithmetic import belonging
from embtool.tables.metric import METRICS, Metric, check_metric
from embtool.tables.neighbors import score_rows
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query, Token

PAIR = 2


@dataclass(frozen=True)
class Item:
    """One of the tokens compared."""

    query: str = column("what was typed", terminal=False)
    id: int | None = identity(terminal=False)
    token: Token | None = token_column()
    belongs: float | None = value(
        "cosine of the row with the mean of all, each at unit length; the least is the odd one",
        optional=True,
        default=None,
    )

    @property
    def name(self) -> str:
        """The token's text, or what was typed where there is none."""
        return self.query if self.token is None else self.token.text

    @property
    def shown(self) -> str:
        """The same for a reader, with bytes that are no character by their numbers."""
        return self.name if self.token is None else spelled(self.token.text, self.token.bytes.hex())


@dataclass(frozen=True)
class Pair:
    """Two of the tokens, and how near they are."""

    a_id: int | None = column("the first one's row", terminal=False)
    a: str = column("the first one", show=visible, style="bold")
    b_id: int | None = column("the other one's row", terminal=False)
    b: str = column("the other one", show=visible, style="bold")
    cosine: float = column("cosine of the angle between the rows; null where one is zero", right=True, show=fixed)
    dot: float = column("dot product of the rows", right=True, show=fixed)
    euclidean: float = column("distance between the rows", right=True, show=fixed)


@dataclass(frozen=True, repr=False, eq=False)
class SimilarityAnswer(Listing[Pair]):
    """Several rows and each pair of them: cosine, dot and euclidean are float64 (n, n)."""

    command = "similarity"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    items: tuple[Item, ...] = value("the tokens, in the order typed")
    cosine: Matrix = value("cosine of each with each; null where one is zero")
    dot: Matrix = value("dot product of each with each")
    euclidean: Matrix = value("distance of each from each")
    pairs: tuple[Pair, ...] = records("every pair once, in the order typed", in_document=False)
    metric: Metric = python(default="cosine")
    notes: tuple[str, ...] = python(default=())
    warnings: tuple[str, ...] = python(default=())

    @property
    def odd(self) -> Item | None:
        """The one that belongs least; None of two, or where it cannot be told."""
        fits = [item for item in self.items if item.belongs is not None]
        return min(fits, key=lambda item: item.belongs or 0.0, default=None)

    def blocks(self) -> Iterator[Block]:
        """Yield the pair, or for three tokens and more the matrix of one metric and which of them belongs least."""
        shown = [
            {"a": one.shown, "b": other.shown, **{name: pair[name] for name in METRICS}}
            for pair, (one, other) in zip(self.flat, itertools.combinations(self.items, 2), strict=True)
        ]
        if len(self.items) == PAIR:
            yield Block(columns=self.shown_columns(), records=shown)
            return
        heads = [
            Column(f"m{place}", title=brief(item.shown), show=fixed, right=True)
            for place, item in enumerate(self.items)
        ]
        lines = [
            {"name": brief(item.shown), **{f"m{place}": float(held) for place, held in enumerate(line)}}
            for item, line in zip(self.items, getattr(self, self.metric), strict=True)
        ]
        odd = self.odd
        belongs = [] if odd is None else [f"  {brief(odd.shown)} belongs least: cosine {odd.belongs:.4f} with the mean"]
        yield Block(columns=[Column("name", title=self.metric, style="bold"), *heads], records=lines, after=belongs)


def ask_similarity(
    asked: TokenTable, queries: Sequence[Query], reading: Reading, metric: Metric = "cosine"
) -> SimilarityAnswer:
    """Compare every pair of queries; `metric` is the one whose matrix a terminal shows.

    Raises:
        InvalidArgument: there are fewer than two, or the metric is none.
    """
    if len(queries) < PAIR:
        raise InvalidArgument("name at least two tokens")
    check_metric(metric)
    vectors = np.stack([asked.vector(query, reading).astype(np.float64) for query in queries])
    matrices = {name: np.stack([score_rows(vectors, vector, name) for vector in vectors]) for name in METRICS}
    fits: Sequence[float | None] = [None] * len(queries)
    if len(queries) > PAIR:
        with contextlib.suppress(FormatError):  # a row without a direction belongs nowhere
            fits = belonging(vectors).tolist()
    items = tuple(Item(query.text, query.id, query.token, fit) for query, fit in zip(queries, fits, strict=True))
    pairs = tuple(
        Pair(items[i].id, items[i].name, items[j].id, items[j].name, *(float(matrices[name][i, j]) for name in METRICS))
        for i, j in itertools.combinations(range(len(items)), 2)
    )
    cosine, dot, euclidean = (matrices[name] for name in METRICS)
    lost = [query.text for query, vector in zip(queries, vectors, strict=True) if not np.isfinite(vector).all()]
    warnings = tuple(f"the row of {text!r} holds NaN or infinity: it is like nothing" for text in lost)
    zero = [query.text for query, vector in zip(queries, vectors, strict=True) if not vector.any()]
    warnings += tuple(f"{text!r} is a row of zeros: it has no direction, and no cosine" for text in zero)
    return SimilarityAnswer(asked.model, asked.role, items, cosine, dot, euclidean, pairs, metric, warnings=warnings)
