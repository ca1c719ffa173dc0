"""The model under the lesson: which of its words the lesson speaks of, and what is measured on its rows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from embtool.answers.text import abridge, count, title_of
from embtool.arrays import Doubles, np
from embtool.errors import ConfigError, EmbtoolError, FormatError, TableNotFound
from embtool.model import Model, open_model
from embtool.positions import Learned, Positions, Rope, UnknownPositions
from embtool.questions.size import ConfigTable
from embtool.tables.neighbors import Neighbors, nearest
from embtool.tables.norms import row_norms
from embtool.tables.sequence import InputSequence, cosines, read_sequence, sequence_tables
from embtool.tables.survey import norms
from embtool.tables.table import EmbeddingTable
from embtool.tables.undertrained import Kind, find_reference
from embtool.vocabulary import Token, Vocabulary

FIRST_WORDS = ("strawberry", "pod", "king", "hello", "the")
"""Words for the first step; the first that is one token."""

COMPANY = (
    ("pod", ("container", "Pod", "whale", "node")),
    ("pod", ("king", "container", "node", "queen")),
    ("king", ("apple", "queen", "blue", "green")),
    ("strawberry", ("king", "raspberry", "blue", "man")),
)
"""A word, and four that may stand near it; the first set whose words are all single tokens."""

STRANGERS = (("king", "queen"), ("man", "woman"))
"""Two words that are far from the others and near each other; the first whose words are tokens."""

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

NEAR_FIRST = 60
"""Rows near the first one from which those are chosen that somebody may take for the nearest."""

FOREIGN = ("id:", "piece:", "bytes:", "-")
"""Beginnings of a text that would be read as something else on a command line."""


SCHEMES = {
    "learned": "this model adds a row of a second, learned table for the position",
    "rope": "this model turns queries and keys by an angle for each position, so that attention sees distances",
    "sinusoidal": "this model adds a fixed pattern of waves for the position",
    "alibi": "this model lowers attention with the distance of two tokens (ALiBi)",
    "relative": "this model raises or lowers attention by a learned number for the distance of two tokens",
    "none": "this model has no positions; what it knows of order comes from reading one by one, or not at all",
}
UNSAID = "what tells the place, the files of this model do not say"


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

    @property
    def place_told(self) -> str:
        """How it knows where a token stands, as a clause."""
        known = self.positions
        if known is None or isinstance(known, UnknownPositions):
            return UNSAID
        if isinstance(known, Rope) and known.is_idle:
            return "this model would turn queries and keys, but has no layers, so that nothing of it does"
        return SCHEMES[known.kind]

    @cached_property
    def by_config(self) -> ConfigTable | None:
        """The table that its config implies, where it has no weights; None where it has some.

        Raises:
            TableNotFound: it has none, and no config that says how large a table would be.
        """
        try:
            _ = self.model.tables
        except TableNotFound:
            config = self.model.config
            implied = None if config is None else ConfigTable.of(config)
            if implied is None:
                raise
            return implied
        return None

    # --- what a step is told on: this model, or where it lacks what the step teaches, one that comes with embtool

    @cached_property
    def with_rows(self) -> "Told":
        """A model whose rows can be read."""
        return Told(self) if self.by_config is None else Told.bundled("mini", f"{self.name} has no weights here")

    @cached_property
    def with_order(self) -> "Told":
        """A model that reads texts, and tells two orders of the same tokens apart."""
        if self.by_config is not None:
            return Told.bundled(SMALL_GPT, f"{self.name} has no weights here")
        return (
            Told.bundled(SMALL_GPT, f"{self.name} has no blocks, the layers that would read its rows")
            if self.is_idle
            else Told(self)
        )

    @cached_property
    def with_large_table(self) -> "Told":
        """A model whose table is worth a guess: the bundled one is a toy."""
        return Told.bundled(LARGE, "mini is a toy") if self.model.name == "mini" else Told(self)

    @cached_property
    def with_added_positions(self) -> "Told":
        """A model that adds a row of a table for each position."""
        is_own = isinstance(self.positions, Learned) and self.position_table is not None
        return Told(self) if is_own else Told.bundled(SMALL_GPT)

    @cached_property
    def with_turned_positions(self) -> "Told":
        """A model that turns queries and keys."""
        return Told(self) if isinstance(self.positions, Rope) and not self.is_idle else Told.bundled(LARGE)

    @property
    def is_idle(self) -> bool:
        """Whether its config names a rotation, and it has no layers that could turn anything."""
        return isinstance(self.positions, Rope) and self.positions.is_idle

    # --- tokens

    def token(self, identity: int) -> Token | None:
        """The token of a row."""
        return None if self.vocabulary is None else self.vocabulary.token(identity)

    def shown(self, identity: int) -> str:
        """Return a row's name for a reader: its token, a part of a character by its bytes, padding by its number."""
        token = self.token(identity)
        if token is None:
            return f"row {count(identity)}"
        return title_of(token.text, token.bytes)

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
        word = token.text.strip()
        if word.isalnum() and self._word(word) == identity:
            return word
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
        """Ids of tokens that are words in plain letters, as they stand in a sentence."""
        vocabulary = self.vocabulary
        if vocabulary is None:
            return
        for token in vocabulary:
            text = token.text.strip()
            plain = text.isascii() and len(text) >= SHORTEST_WORD and vocabulary.is_word(token)
            if plain and not token.special and token.id < self.table.shape[0] and token.text.encode() == token.bytes:
                yield token.id

    @cached_property
    def company(self) -> tuple[int, list[int]]:
        """A row, and some that may be near it."""
        for word, others in COMPANY:
            found = self._words((word, *others))
            if len(set(found)) == 1 + len(others):
                return found[0], found[1:]
        row, words = self.first, set(self._ordinary())
        near = [each for each in self.neighbors(row, NEAR_FIRST).ids.tolist() if each in words or not words]
        near = near[:: max(1, len(near) // 3)][:3]
        far = [each for each in self.own if each not in (row, *near)]
        return row, sorted([*near, *far[:: max(1, len(far) // 4)]][:4])

    @cached_property
    def strangers(self) -> tuple[int, int]:
        """Two rows that may be far from the company's, and near each other; else the two of it that are farthest."""
        row, others = self.company
        for words in STRANGERS:
            found = self._words(words)
            if len(set(found)) == len(words) and row not in found:
                return found[0], found[1]
        one, other = sorted(others, key=lambda each: self.cosine(row, each))[:2]
        return one, other

    def words(self, texts: Sequence[str]) -> list[int] | None:
        """Return the ids of words, or None where one of them is no single token."""
        found = self._words(texts)
        return found if len(found) == len(texts) else None

    @cached_property
    def sentences(self) -> tuple[str, str] | None:
        """Two texts of the same tokens in another order; None where no text can be split."""
        if self.vocabulary is None:
            return None
        try:
            if not self._ids("a"):
                return None
        except EmbtoolError:  # some files name a way of splitting that embtool does not know
            return None
        own = [self.vocabulary.token(identity) for identity in self.own[:3]]
        usual = [*SENTENCES, tuple(token.text.strip() for token in own if token is not None)]
        found: list[tuple[int, tuple[str, str]]] = []
        for words in usual:
            one, other = (" ".join(order) for order in (words, words[::-1]))
            for pair in ((one, other), (f" {one}", f" {other}")):
                counted = [Counter(self._ids(text)) for text in pair]
                if counted[0] == counted[1] and len(counted[0]) > 1 and max(counted[0]) < self.table.shape[0]:
                    found.append((counted[0].total(), pair))
        few = [pair for total, pair in found if total <= FEW_TOKENS]
        return few[0] if few else min(found, default=(0, None))[1]

    def _ids(self, text: str) -> list[int]:
        assert self.vocabulary is not None
        return [token.id for token in self.vocabulary.encode(text)]

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


SMALL_GPT, LARGE = "mini-gpt2", "qwen3.6-settings"


@dataclass(frozen=True)
class Told:
    """The model that a step is told on; `why` says to the reader why it is not their own, if it is not."""

    subject: Subject
    why: tuple[str, ...] = ()

    @classmethod
    def bundled(cls, name: str, reason: str = "") -> "Told":
        """Take one of the models that come with embtool."""
        why = (f"{reason}, so this is told on {name}, which comes with embtool.",) if reason else ()
        return cls(Subject(open_model(name)), why)
