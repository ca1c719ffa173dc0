"""Two models that are compared, and which rows of their tables belong together."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from embtool.questions.diff_vocabulary import VocabularyComparison, compare_vocabularies
from embtool.tables.table_diff import Alignment, align_by_id, align_tokens
from embtool.tables.token_table import TokenTable

if TYPE_CHECKING:
    from embtool.model import Model


class Matching(StrEnum):
    """What makes two rows counterparts."""

    TOKEN = "token"  # noqa: S105 - a token of a vocabulary
    ID = "id"


@dataclass(frozen=True)
class Both:
    """Two models, and the table of each that is compared."""

    a: "Model"
    b: "Model"
    ours: TokenTable
    theirs: TokenTable

    @cached_property
    def words(self) -> VocabularyComparison | None:
        """Their vocabularies, held against each other; None where the rows of one are not named by tokens."""
        if not self.ours.vocabulary or not self.theirs.vocabulary:
            return None
        return compare_vocabularies(self.a, self.b, rows=(self.ours.table.shape[0], self.theirs.table.shape[0]))

    @property
    def widths(self) -> tuple[int, int]:
        """How many numbers the rows of each have."""
        return self.ours.table.shape[1], self.theirs.table.shape[1]

    def align(self, by: Matching) -> tuple[Alignment, Matching, tuple[str, ...]]:
        """Match their rows: by token where tokens name them; say by what, and why if not as asked."""
        rows = self.ours.table.shape[0], self.theirs.table.shape[0]
        if by is Matching.TOKEN and self.words is not None:
            return align_tokens(self.words.match, *rows), by, ()
        without = self.theirs if self.ours.vocabulary else self.ours
        note = f"nothing names the rows of {without.model}'s {without.role} table: they are matched by id"
        return align_by_id(*rows), Matching.ID, (note,) if by is Matching.TOKEN else ()
