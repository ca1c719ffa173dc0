"""The model under the lesson: which of its words the lesson speaks of, and what is measured on its rows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from embtool.answers.text import abridge, brief, count
from embtool.dtypes import Doubles
from embtool.errors import ConfigError, EmbtoolError, FormatError, TableNotFound
from embtool.model import Model
from embtool.neighbors import Neighbors, nearest
from embtool.norms import row_norms
from embtool.positions import Positions
from embtool.sequence import InputSequence, cosines, read_sequence, sequence_tables
from embtool.survey import norms
from embtool.table import EmbeddingTable
from embtool.undertrained import Kind, find_reference
from embtool.vocabulary import Token, Vocabulary

FIRST_WORDS = ("strawberry", "pod", "king", "hello", "the")
"""Words for the first step; the first that is one token."""

COMPANY = (
    ("pod", ("king", "container", "node", "queen")),
    ("king", ("apple", "queen", "blue", "green")),
    ("strawberry", ("king", "raspberry", "blue", "man")),
)
"""A word, and four that may stand near it; the first set whose words are all single tokens."""

SENTENCES = (("pod", "restarts", "node"), ("king", "greets", "queen"))
"""Three words that make a sentence both ways round."""

LONGEST_NAME = 40
"""Characters of a model's name in a sentence."""

FEW_TOKENS = 6
"""Tokens of a sentence that a reader still follows one by one."""

FEWEST_ROWS = 8
"""Rows of a table from which a word and four others can be chosen."""

SHORTEST_WORD = 3
OWN_WORDS = 24
"""Words of the model's own vocabulary in hand where none of the usual ones is a token."""

FOREIGN = ("id:", "piece:", "bytes:", "-")
"""Beginnings of a text that would be read as something else on a command line."""


class Subject:
    """A model, and the words of its own that the lesson uses; everything is read when first asked for.

    Args:
        model: the model.
        reached: the options beside its name with which it was opened, such as `--revision`; commands repeat them.
    """

    def __init__(self, model: Model, reached: Sequence[str] = ()) -> None:
        self.model = model
        self.reached = tuple(reached)

    @property
    def name(self) -> str:
        """What the user called the model, short enough for a sentence."""
        return abridge(self.model.name, LONGEST_NAME)

    def command(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Write a command line about this model."""
        return (name, *arguments, "-m", self.model.name, *self.reached)

    def about(self, name: str) -> tuple[str, ...]:
        """Write the command line of a command that takes models as its arguments."""
        return (name, self.model.name, *self.reached)

    # --- its parts

    @cached_property
    def table(self) -> EmbeddingTable:
        """The input table.

        Raises:
            FormatError: it has too few rows to compare any.
        """
        table = self.model.input_table
        if table.shape[0] < FEWEST_ROWS:
            raise FormatError(f"{table.tensor.name} has {table.shape[0]} rows: too few for a lesson")
        return table

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """Its tokens, if it has a tokenizer."""
        return self.model.vocabulary_if_any

    @cached_property
    def positions(self) -> Positions | None:
        """How it knows order; None where its files do not say."""
        try:
            return self.model.positions
        except ConfigError:
            return None

    @cached_property
    def position_table(self) -> EmbeddingTable | None:
        """Its table of positions, if one is stored."""
        try:
            return self.model.tables.find("position")
        except TableNotFound:
            return None

    # --- tokens

    def token(self, identity: int) -> Token | None:
        """The token of a row."""
        return None if self.vocabulary is None else self.vocabulary.token(identity)

    def shown(self, identity: int) -> str:
        """Return a row's name for a reader: its token, a part of a character by its bytes, padding by its number."""
        token = self.token(identity)
        if token is None:
            return f"row {count(identity)}"
        return f"<{token.bytes.hex()}>" if "\ufffd" in token.text else brief(token.text)

    def of_row(self, identity: int) -> str:
        """Return a row's name in a sentence: that of its token, or its number."""
        token = self.token(identity)
        return f"row {count(identity)}" if token is None else f"the row of {self.shown(identity)}"

    def typed(self, identity: int) -> str:
        """Return a row's name on a command line: its text where that is sure to be read as this token, else its id."""
        token = self.token(identity)
        if token is None or self.vocabulary is None or token.text.encode("utf-8", "replace") != token.bytes:
            return f"id:{identity}"
        if not token.text.isprintable() or token.text.startswith(FOREIGN):
            return f"id:{identity}"
        try:
            return token.text if self.vocabulary.find(token.text, exact=True).id == identity else f"id:{identity}"
        except EmbtoolError:  # several tokens, or a tokenizer that embtool cannot split with
            return f"id:{identity}"

    def _word(self, text: str) -> int | None:
        """The id of a word, as it stands inside a sentence if that is a token, or None if it is several tokens."""
        assert self.vocabulary is not None
        try:
            token = self.vocabulary.word(text) or self.vocabulary.find(text)
        except EmbtoolError:  # as above
            return None
        return token.id if token.id < self.table.shape[0] else None

    def _words(self, texts: Sequence[str]) -> list[int]:
        if self.vocabulary is None:
            return []
        return [identity for text in texts if (identity := self._word(text)) is not None]

    @cached_property
    def first(self) -> int:
        """The row that the lesson begins with."""
        return next(iter(self._words(FIRST_WORDS) or self.own))

    @cached_property
    def own(self) -> list[int]:
        """Rows of ordinary words, spread over the vocabulary; without a tokenizer, rows spread over the table."""
        rows = self.table.shape[0]
        found = list(self._ordinary()) or list(range(rows))
        step = max(1, len(found) // OWN_WORDS)
        return found[step // 2 :: step][:OWN_WORDS] or found

    def _ordinary(self) -> Iterator[int]:
        """Ids of tokens that are words in plain letters."""
        for token in self.vocabulary or ():
            text = token.text.strip()
            plain = text.isascii() and text.isalpha() and len(text) >= SHORTEST_WORD
            if plain and not token.special and token.id < self.table.shape[0] and token.text.encode() == token.bytes:
                yield token.id

    @cached_property
    def company(self) -> tuple[int, list[int]]:
        """A row, and some that may be near it."""
        for word, others in COMPANY:
            found = self._words((word, *others))
            if len(set(found)) == 1 + len(others):
                return found[0], found[1:]
        row = self.first
        near = [identity for identity in self.neighbors(row, 1).ids.tolist() if identity != row]
        far = [identity for identity in self.own if identity not in (row, *near)]
        return row, sorted([*near, *far[:: max(1, len(far) // 3)][:3]])

    @cached_property
    def sentences(self) -> tuple[str, str] | None:
        """Two texts of the same tokens in another order; None where no text can be split."""
        if self.vocabulary is None or not self._splits:
            return None
        own = [self.vocabulary.token(identity) for identity in self.own[:3]]
        usual = [*SENTENCES, tuple(token.text.strip() for token in own if token is not None)]
        found: list[tuple[int, tuple[str, str]]] = []
        for words in usual:
            one, other = (" ".join(order) for order in (words, words[::-1]))
            for pair in ((one, other), (f" {one}", f" {other}")):
                counted = [Counter(self._ids(text)) for text in pair]
                if counted[0] == counted[1] and len(counted[0]) > 1 and self._fits(counted[0]):
                    found.append((counted[0].total(), pair))
        few = [pair for total, pair in found if total <= FEW_TOKENS]
        return few[0] if few else min(found, default=(0, None))[1]

    @property
    def _splits(self) -> bool:
        """Whether texts can be split: some files name a way of splitting that embtool does not know."""
        try:
            return bool(self._ids("a"))
        except EmbtoolError:
            return False

    def _ids(self, text: str) -> list[int]:
        assert self.vocabulary is not None
        return [token.id for token in self.vocabulary.encode(text)]

    def _fits(self, ids: Counter[int]) -> bool:
        return max(ids) < self.table.shape[0]

    # --- what is measured

    def row(self, identity: int) -> Doubles:
        """One row of the input table: float64 (width,)."""
        found: Doubles = self.table.rows([identity])[0].astype(np.float64)
        return found

    def length(self, identity: int) -> float:
        """The length of a row."""
        return float(np.linalg.norm(self.row(identity)))

    def cosine(self, one: int, other: int) -> float:
        """The cosine of two rows; NaN where one is zero."""
        return float(cosines(self.row(one), self.row(other)))

    def neighbors(self, identity: int, k: int) -> Neighbors:
        """The rows nearest to one row."""
        return nearest(self.table, self.row(identity), k, exclude=[identity])

    @cached_property
    def norms(self) -> Doubles:
        """The length of every row: float64 (rows,)."""
        if self.model.source.local:
            return row_norms(self.table)
        with self.table.open() as reader:
            return norms(self.table, reader)

    @cached_property
    def untrained(self) -> tuple[int, Kind | None]:
        """A row that surely was never trained, and why that is certain; else the shortest row, which only may be."""
        usable = np.isfinite(self.norms) & (self.norms > 0)
        if self.vocabulary is not None:
            reference = find_reference(self.vocabulary, self.table.shape[0], (Kind.PADDING, Kind.BYTES, Kind.NAMES))
            for identity in reference.ids:
                if usable[identity]:
                    return identity, reference.kinds[identity]
        lengths = np.where(usable, self.norms, np.inf)
        return int(lengths.argmin()), None

    def sequence(self, text: str) -> InputSequence:
        """What the first block reads for a text."""
        assert self.positions is not None
        tables = sequence_tables(self.model.tables, self.positions, self.model.config, self.table)
        return read_sequence(self._ids(text), tables, self.positions, self.model.config)
