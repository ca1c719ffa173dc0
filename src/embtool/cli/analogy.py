"""`embtool analogy`: how many questions of an analogy test a table answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.arithmetic import Analogy, combine, parse_analogies
from embtool.cli.batch import read_lines
from embtool.cli.messages import note
from embtool.cli.options import ModelOptions, OutputOptions, TableName, find_table
from embtool.cli.reading import read_input
from embtool.errors import UnknownToken
from embtool.neighbors import nearest_each
from embtool.output import Column, Group, Listing, count, visible
from embtool.table import EmbeddingTable, TableReader
from embtool.vocabulary import Vocabulary

QUESTIONS_AT_ONCE = 1024
"""Questions answered by one pass over the table."""

SHOWN_UNKNOWN = 5
"""Words without a token that the note names."""

TOTAL = "all"


def _percent(value: float) -> str:
    return f"{value:.1%}"


COLUMNS = (
    Column("section", show=visible, style="bold"),
    Column("correct", right=True, show=count),
    Column("asked", right=True, show=count),
    Column("skipped", right=True, show=count),
    Column("accuracy", right=True, show=_percent),
)

ANSWER_COLUMNS = (
    Column("section", show=visible),
    Column("first", show=visible),
    Column("second", show=visible),
    Column("third", show=visible),
    Column("fourth", title="expected", show=visible),
    Column("answer", show=visible, style="bold"),
    Column("id", right=True, show=count),
    Column("score", right=True, show=lambda value: f"{value:.4f}"),
    Column("correct", show=lambda value: "yes" if value else "no"),
)


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Questions in word2vec's format; - is stdin.")],
    *,
    answers: Annotated[bool, typer.Option("--answers", help="List every question with its answer instead.")] = False,
    spaced: Annotated[
        bool, typer.Option("--spaced", help="Take each word with a space before it where that is a token.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Take each word as it is typed.")] = False,
    table: TableName = "input",
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Answer an analogy test, such as word2vec's questions-words.txt, and count what is right, section by section.

    A line `Athens Greece Oslo Norway` asks for the row nearest by cosine to Greece - Athens + Oslo; these three are
    left out of the answer. A question with a word that is not one token is skipped and counted.
    """
    if spaced and exact:
        raise typer.BadParameter("--spaced and --exact contradict each other: choose one")
    opened = model.open()
    chosen = find_table(opened, table)
    questions = parse_analogies(_read(file), file=str(file))
    words = _Words(opened.vocabulary, chosen.shape[0], spaced=spaced, exact=exact)
    with chosen.open() as reader:
        results = list(_answer(questions, words, chosen, reader))
    words.tell()
    context = {"model": opened.name, "table": chosen.role, "metric": "cosine", "file": str(file)}
    if answers:
        records = [_answered(result, opened.vocabulary) for result in results]
        output.emit(
            Listing("analogy", ANSWER_COLUMNS, [Group(records)], records_key="questions", context=context, line=context)
        )
        return
    sections = _count(results)
    output.emit(
        Listing(
            "analogy",
            COLUMNS,
            [Group(sections, title=f"analogies of {file} in {opened.name}, {chosen.role} table")],
            records_key="sections",
            line=context,
            document=lambda: {**context, "sections": sections[:-1], "total": sections[-1]},
        )
    )


@dataclass(frozen=True)
class _Result:
    """A question, the ids of its words (None: skipped), and the row that was nearest."""

    question: Analogy
    ids: tuple[int, ...] | None
    answer: int | None = None
    score: float | None = None

    @property
    def correct(self) -> bool:
        return self.ids is not None and self.answer == self.ids[3]


@dataclass
class _Words:
    """The ids of words, each looked up once."""

    vocabulary: Vocabulary
    rows: int
    spaced: bool
    exact: bool
    known: dict[str, int | None] = field(default_factory=dict)

    def ids(self, question: Analogy) -> tuple[int, ...] | None:
        """Find the rows of a question's four words, or None where one of them is not a token with a row."""
        found = [self._id(word) for word in (question.first, question.second, question.third, question.fourth)]
        known = tuple(identity for identity in found if identity is not None)
        return known if len(known) == len(found) else None

    def _id(self, word: str) -> int | None:
        if word not in self.known:
            self.known[word] = self._find(word)
        return self.known[word]

    def _find(self, word: str) -> int | None:
        token = self.vocabulary.word(word) if self.spaced else None
        try:
            token = token or self.vocabulary.find(word, exact=self.exact)
        except UnknownToken:
            return None
        return token.id if token.id < self.rows else None

    def tell(self) -> None:
        """Say which words are not tokens."""
        unknown = [word for word, identity in self.known.items() if identity is None]
        if unknown:
            more = f" and {len(unknown) - SHOWN_UNKNOWN} more" if len(unknown) > SHOWN_UNKNOWN else ""
            named = ", ".join(map(repr, unknown[:SHOWN_UNKNOWN]))
            note(f"questions with words that are not one token are skipped, {len(unknown)} such words: {named}{more}")


def _answer(
    questions: Sequence[Analogy], words: _Words, table: EmbeddingTable, reader: TableReader
) -> Iterator[_Result]:
    """Answer questions, many in one pass over the table."""
    for first in range(0, len(questions), QUESTIONS_AT_ONCE):
        chunk = [(question, words.ids(question)) for question in questions[first : first + QUESTIONS_AT_ONCE]]
        asked = [(question, ids) for question, ids in chunk if ids is not None]
        needed = sorted({row for _, ids in asked for row in ids[:3]})
        rows = dict(zip(needed, table.rows(needed), strict=True))
        vectors = [combine(np.stack([rows[row] for row in ids[:3]]), (-1, 1, 1)) for _, ids in asked]
        found = iter(nearest_each(table, vectors, 1, exclude=[ids[:3] for _, ids in asked], reader=reader))
        for question, ids in chunk:
            if ids is None:
                yield _Result(question, None)
                continue
            answer = next(found)
            scored = len(answer.ids) > 0
            yield _Result(
                question, ids, int(answer.ids[0]) if scored else None, float(answer.scores[0]) if scored else None
            )


def _count(results: Sequence[_Result]) -> list[dict[str, Any]]:
    """Count right answers by section, in the order of the file; the last line counts all."""
    names = list(dict.fromkeys(result.question.section for result in results))
    parts = [(name, [result for result in results if result.question.section == name]) for name in names]
    lines = []
    for name, part in [*parts, (TOTAL, list(results))]:
        asked = [result for result in part if result.ids is not None]
        correct = sum(result.correct for result in asked)
        lines.append(
            {
                "section": name,
                "correct": correct,
                "asked": len(asked),
                "skipped": len(part) - len(asked),
                "accuracy": correct / len(asked) if asked else None,
            }
        )
    return lines


def _answered(result: _Result, vocabulary: Vocabulary) -> dict[str, Any]:
    question = result.question
    entry = vocabulary.token(result.answer) if result.answer is not None else None
    return {
        "section": question.section,
        "first": question.first,
        "second": question.second,
        "third": question.third,
        "fourth": question.fourth,
        "answer": entry.text if entry is not None else None,
        "id": result.answer,
        "score": result.score,
        "correct": result.correct if result.ids is not None else None,
    }


def _read(file: Path) -> list[str]:
    """Read the lines of a file of questions."""
    if str(file) == "-":
        return list(read_lines())
    return read_input(file, "FILE").decode("utf-8", "replace").splitlines()
