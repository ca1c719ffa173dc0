"""How many questions of an analogy test a table answers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from embtool.answers import Listing, column, context, identity, python, records, value
from embtool.answers.text import count, fixed, plural, visible
from embtool.arrays import np
from embtool.errors import UnknownToken
from embtool.tables.arithmetic import Analogy, combine, parse_analogies
from embtool.tables.metric import Metric
from embtool.tables.neighbors import nearest_each
from embtool.tables.table import TableReader
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Query

QUESTIONS_AT_ONCE = 1024
"""Questions answered by one pass over the table."""

SHOWN_UNKNOWN = 5
"""Words without a token that the note names."""

TOTAL = "all"


@dataclass(frozen=True)
class Tally:
    """How many questions of a section were answered right."""

    section: str = column("the section's name", show=visible, style="bold")
    correct: int = column("questions answered right", right=True, show=count)
    asked: int = column("questions asked", right=True, show=count)
    skipped: int = column("questions with a word that is not one token", right=True, show=count)
    accuracy: float | None = column("the share that is right", right=True, show=lambda held: f"{held:.1%}")


@dataclass(frozen=True)
class Answered:
    """One question and its answer."""

    section: str = column("the section's name", show=visible)
    first: str = column("Athens", show=visible)
    second: str = column("Greece", show=visible)
    third: str = column("Oslo", show=visible)
    fourth: str = column("Norway, which is expected", title="expected", show=visible)
    answer: str | None = column("the nearest row's text", show=visible, style="bold")
    id: int | None = identity()
    score: float | None = column("its cosine with the expression", right=True, show=fixed)
    correct: bool | None = column(
        "whether it is the fourth; null where the question was skipped", show=lambda held: "yes" if held else "no"
    )


@dataclass(frozen=True, repr=False, eq=False)
class AnalogyAnswer(Listing[Tally]):
    """An analogy test, counted section by section."""

    command = "calc-questions"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    metric: Metric = context("cosine")
    file: str = context("the file of questions")
    sections: tuple[Tally, ...] = value("each section")
    total: Tally = value("all questions")
    lines_of_all: tuple[Tally, ...] = records("each section, then all", in_document=False)
    answered: tuple[Answered, ...] = python(default=())
    notes: tuple[str, ...] = python(default=())

    def title(self) -> str:
        """Return what was asked."""
        return f"analogies of {self.file} in {self.model}, {self.table} table"

    @property
    def each(self) -> "AnsweredQuestions":
        """Every question with its answer."""
        return AnsweredQuestions(self.model, self.table, self.metric, self.file, self.answered, self.notes)


@dataclass(frozen=True, repr=False, eq=False)
class AnsweredQuestions(Listing[Answered]):
    """Every question of an analogy test with its answer."""

    command = "calc-questions"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    metric: Metric = context("cosine")
    file: str = context("the file of questions")
    questions: tuple[Answered, ...] = records("every question")
    notes: tuple[str, ...] = python(default=())


def ask_analogies(asked: TokenTable, lines: Iterable[str], *, file: str, reading: Reading) -> AnalogyAnswer:
    """Answer the questions of a test in word2vec's format: `: section`, then four words a line.

    `Athens Greece Oslo Norway` asks for the row nearest by cosine to Greece - Athens + Oslo; these three are left out
    of the answer. A question with a word that is not one token is skipped and counted.

    Raises:
        FormatError: a line is neither a section nor four words.
    """
    questions = parse_analogies(lines, file=file)
    words: dict[str, Query | None] = dict.fromkeys(word for question in questions for word in question.words)
    for word in words:
        with suppress(UnknownToken, IndexError):
            query = asked.one(word, reading)
            words[word] = None if query.id is None else query
    with asked.open() as reader:
        answered = tuple(_answer(questions, words, asked, reader))
    sections = tuple(
        _count(name, [each for each in answered if each.section == name])
        for name in dict.fromkeys(question.section for question in questions)
    )
    total = _count(TOTAL, answered)
    unknown = [word for word, query in words.items() if query is None]
    more = f" and {len(unknown) - SHOWN_UNKNOWN} more" if len(unknown) > SHOWN_UNKNOWN else ""
    told = f"questions with words that are not one token are skipped, {plural(len(unknown), 'such word')}: "
    notes = (told + ", ".join(map(repr, unknown[:SHOWN_UNKNOWN])) + more,) if unknown else ()
    lines_of_all = (*sections, total)
    return AnalogyAnswer(asked.model, asked.role, "cosine", file, sections, total, lines_of_all, answered, notes)


def _answer(
    questions: Sequence[Analogy], words: dict[str, Query | None], asked: TokenTable, reader: TableReader
) -> Iterator[Answered]:
    """Answer questions, many in one pass over the table."""
    for first in range(0, len(questions), QUESTIONS_AT_ONCE):
        chunk = [
            (question, [query.ids[0] for query in map(words.get, question.words) if query is not None])
            for question in questions[first : first + QUESTIONS_AT_ONCE]
        ]
        whole = [ids for question, ids in chunk if len(ids) == len(question.words)]
        needed = sorted({row for ids in whole for row in ids[:3]})
        read = dict(zip(needed, asked.table.rows(needed), strict=True))
        vectors = [combine(np.stack([read[row] for row in ids[:3]]), (-1, 1, 1)) for ids in whole]
        found = iter(nearest_each(asked.table, vectors, 1, exclude=[ids[:3] for ids in whole], reader=reader))
        for question, ids in chunk:
            blank = Answered(question.section, *question.words, answer=None, id=None, score=None, correct=None)
            if len(ids) < len(question.words):
                yield blank
                continue
            nearest = next(found)
            best = int(nearest.ids[0]) if len(nearest.ids) else None
            token = asked.token(best) if best is not None else None
            yield replace(
                blank,
                answer=token.text if token is not None else None,
                id=best,
                score=float(nearest.scores[0]) if best is not None else None,
                correct=best == ids[3],
            )


def _count(name: str, answered: Sequence[Answered]) -> Tally:
    asked = [each for each in answered if each.correct is not None]
    correct = sum(bool(each.correct) for each in asked)
    return Tally(name, correct, len(asked), len(answered) - len(asked), correct / len(asked) if asked else None)
