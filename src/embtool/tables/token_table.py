"""A table whose rows are tokens: its rows, the names of its rows, and what a typed word means in it."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass

from embtool.arguments import check_numbers
from embtool.arrays import Doubles, Floats, np
from embtool.errors import EmbtoolError, FormatError, InvalidArgument, NoVocabulary, UnknownToken
from embtool.storage.source import Progress
from embtool.tables.arithmetic import pool
from embtool.tables.table import EmbeddingTable, TableReader
from embtool.vocabulary import POOLS, Query, Token, Vocabulary, parse_ids, read_query

POOLED = "one vector of them is their rows' mean (--pool mean)"


@dataclass(frozen=True)
class Reading:
    """How typed texts are read: `exact` takes them as they stand, `pool` makes one vector of several tokens.

    `can_pool` is False where only single tokens have a meaning, so that pooling is not advised.
    """

    exact: bool = False
    pool: str | None = None
    can_pool: bool = True

    def __post_init__(self) -> None:
        if self.pool is not None and self.pool not in POOLS:
            raise InvalidArgument(f"pool is one of {', '.join(POOLS)}, not {self.pool!r}")


@dataclass(frozen=True)
class TokenTable:
    """A table of a model, with the tokens that name its rows.

    Attributes:
        model: the model's name.
        table: the table.
        vocabulary: the tokens of its rows; None where nothing names them, or where they are something else than tokens.
        unnamed: whether the model has tokens, but the rows of this table are others.
        lacking: why the model has no tokens, where it has none.
        progress: told how far a long pass is.
    """

    model: str
    table: EmbeddingTable
    vocabulary: Vocabulary | None
    unnamed: bool = False
    lacking: EmbtoolError | None = None
    progress: Progress | None = None

    @property
    def role(self) -> str:
        """What the table is for."""
        return self.table.role

    def open(self) -> AbstractContextManager[TableReader]:
        """Open the table for a pass."""
        return self.table.open(self.progress)

    def need_vocabulary(self) -> Vocabulary:
        """Return the vocabulary.

        Raises:
            NoVocabulary: nothing names the rows.
            MissingExtra: the library that reads their names is not installed.
        """
        if self.lacking is not None:
            raise copy(self.lacking)  # with frames that hold this table it would hold itself
        if self.vocabulary is None:
            why = f"the rows of its {self.role} table are no tokens" if self.unnamed else "it has no tokenizer"
            raise NoVocabulary(f"{self.model}: {why}")
        return self.vocabulary

    def token(self, identity: int) -> Token | None:
        """Return the token of a row; None for padding, and where nothing names rows."""
        return self.vocabulary.token(identity) if self.vocabulary is not None else None

    def read(self, text: str, reading: Reading) -> Iterable[Query]:
        """Return the queries that a typed text stands for, each with rows of this table; see `read_query`.

        Raises:
            UnknownToken: it is no token, or several that are not to be pooled, or rows here have no tokens.
            TokenIdOutOfRange: the table has no such row.
            NoVocabulary: the model has no tokens.
            MissingExtra: the library that reads them is not installed.
        """
        ids = parse_ids(text)
        if ids is not None:
            self.table.check((ids[0], ids[-1]))
        elif self.lacking is not None:
            raise type(self.lacking)(f"{text!r} names no row: {self.lacking.message}", hint=self.lacking.hint)
        elif self.unnamed:
            raise UnknownToken(
                f"{text!r} names no row: those of a {self.role} table are no tokens",
                hint="name rows by id:, such as id:0",
            )
        try:
            queries = read_query(text, self.vocabulary, exact=reading.exact, pool=reading.pool is not None)
        except UnknownToken as error:
            if error.pieces > 1 and reading.can_pool:
                error.hint = "; ".join(filter(None, [error.hint, POOLED]))
            raise
        if ids is None:
            queries = list(queries)
            self.table.check([identity for query in queries for identity in query.ids])
        return queries

    def one(self, asked: str | int | Query, reading: Reading) -> Query:
        """Return the one query that a text or an id stands for.

        Raises:
            InvalidArgument: it is a range of rows.
            UnknownToken: it is no token.
        """
        if isinstance(asked, Query):
            return asked
        queries = list(self.read(f"id:{asked}" if isinstance(asked, int | np.integer) else asked, reading))
        if len(queries) != 1:
            raise InvalidArgument(f"{asked!r} is {len(queries)} rows: pool mean makes one vector of them")
        return queries[0]

    def finite(self, query: Query, reading: Reading) -> Floats | Doubles:
        """Return the vector of a query for what needs numbers.

        Raises:
            FormatError: a row of it holds NaN or infinity.
        """
        vector = self.vector(query, reading)
        if query.vector is None and not np.isfinite(vector).all():
            rows = ", ".join(map(str, query.ids))
            raise FormatError(f"{query.text!r}: row {rows} of {self.table.tensor.name} holds NaN or infinity")
        return vector

    def vector(self, query: Query, reading: Reading) -> Floats | Doubles:
        """Return the vector of a query: its row, float32 (width,), or several pooled, or the one brought, float64."""
        if query.vector is not None:
            return check_numbers(query.vector, "a vector").astype(np.float64)
        rows = self.table.rows(query.ids)
        return pool(rows, reading.pool or "mean") if len(query.ids) > 1 else rows[0]
