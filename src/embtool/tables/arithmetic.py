"""Arithmetic on rows: king - man + woman, the odd one out, and the questions of an analogy test.

As in gensim's `most_similar(positive, negative)`, each row is scaled to unit length first, so that a long row does not
drown the others, and the result is their signed mean.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embtool.arrays import Doubles, Floats, np
from embtool.errors import FormatError


def combine(rows: Floats | Doubles, signs: Sequence[float]) -> Doubles:
    """Add and subtract rows, (n, width), each at unit length, by their signs: float64 (width,).

    Raises:
        FormatError: a row is all zero or not finite, so it has no direction to add.
    """
    return add_up(to_unit_length(rows), signs)


def add_up(rows: Floats | Doubles, signs: Sequence[float]) -> Doubles:
    """Add and subtract rows, (n, width), at the lengths they have, by their signs: float64 (width,)."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, and is refused as a query
        total: Doubles = (np.asarray(signs, np.float64)[:, None] * rows.astype(np.float64)).sum(axis=0)
    return total


def to_unit_length(rows: Floats | Doubles) -> Doubles:
    """Scale each row, (n, width), to length 1: float64.

    Raises:
        FormatError: a row is all zero or not finite, so it has no direction.
    """
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise FormatError("a row of the expression is all zero or not finite: it has no direction")
    scaled: Doubles = wide / lengths[:, None]
    return scaled


def belonging(rows: Floats | Doubles) -> Doubles:
    """Return how well each row, (n, width), fits the others: its cosine with the mean of all at unit length, (n,).

    The lowest one is the odd one out, as in gensim's `doesnt_match`.

    Raises:
        FormatError: a row is all zero or not finite, or the rows cancel each other out.
    """
    units = to_unit_length(rows)
    centre = units.mean(axis=0)
    length = np.linalg.norm(centre)
    if not length:
        raise FormatError("the rows cancel each other out: they have no common direction")
    fits: Doubles = (units * centre).sum(axis=1) / length
    return fits


def pool(rows: Floats, how: str) -> Doubles:
    """Make one vector, float64 (width,), of several rows, (n, width): their mean, their sum, the first or the last."""
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, and is shown as that
        pooled: Doubles = {
            "mean": lambda: wide.mean(axis=0),
            "sum": lambda: wide.sum(axis=0),
            "first": lambda: wide[0],
            "last": lambda: wide[-1],
        }[how]()
    return pooled


@dataclass(frozen=True)
class Analogy:
    """One question of a test: `first` is to `second` as `third` is to `fourth`."""

    section: str
    first: str
    second: str
    third: str
    fourth: str

    @property
    def words(self) -> tuple[str, str, str, str]:
        """Its four words."""
        return self.first, self.second, self.third, self.fourth


ANALOGY_WORDS = 4


def parse_analogies(lines: Iterable[str], *, file: str) -> list[Analogy]:
    """Parse questions in the format of word2vec's questions-words.txt: `: section`, then four words a line.

    Raises:
        FormatError: a line is neither; the message names it.
    """
    section = ""
    questions: list[Analogy] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and words[0].startswith(":"):
            section = " ".join(words).removeprefix(":").strip()
        elif len(words) == ANALOGY_WORDS:
            questions.append(Analogy(section, *words))
        elif words:
            raise FormatError(f"line {number} of {file} is neither a section nor four words: {line.strip()[:60]!r}")
    if not questions:
        raise FormatError(f"{file} holds no question", hint="a question is four words: Athens Greece Oslo Norway")
    return questions
