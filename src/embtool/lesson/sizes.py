"""Step 5: how large a table is, and whether there is a second one."""

import math
import re
from dataclasses import dataclass

from embtool.answers.text import brief, count, percent, plural, size
from embtool.lesson.parts import Kind, Outcome, Question, unit_of
from embtool.lesson.subject import Subject

TIED = ("one table for both", "two tables", "none to predict: it only reads")
VERDICTS = {"tied": 0, "untied": 1, "no output table": 2}

BILLIONS = re.compile(r"-(\d+(?:\.\d+)?)B\b")
"""How a name says of how many numbers a model is made."""


@dataclass(frozen=True)
class Sized:
    """A table, as its file or its config says it is."""

    shown: str
    rows: int
    width: int
    dtype: str | None
    nbytes: int | None
    verdict: int | None
    tying: str

    @property
    def each(self) -> str:
        """How many bytes a number takes, where all take as many."""
        whole, rest = divmod(self.nbytes or 1, self.rows * self.width)
        return "" if rest else f", {plural(whole, 'byte')} a number"

    @classmethod
    def of(cls, subject: Subject) -> "Sized":
        """Read it from the header of a file, or where there is none from the config."""
        implied = subject.by_config
        if implied is None:
            tensor, tying = subject.table.tensor, subject.model.tables.tying
            place = f"{tensor.name} in {tensor.shard}"
            known = VERDICTS.get(tying.verdict, 2)
            return cls(place, *subject.table.shape, tensor.dtype.name, tensor.nbytes, known, tying.sentence)
        verdict = None if implied.tied is None or not implied.predicts else int(not implied.tied)
        name = f"the table of {subject.name}, by its config"
        return cls(name, implied.rows, implied.width, implied.dtype, implied.bytes, verdict, implied.says)


def real_table(subject: Subject) -> list[Question]:
    """How large the table is, and whether there is a second one."""
    on = subject.with_large_table
    subject, table = on.subject, Sized.of(on.subject)
    told = (
        *on.why,
        f"Here is {table.shown}: {count(table.rows)} rows of {count(table.width)} numbers"
        + (f", stored as {table.dtype}{table.each}." if table.dtype is not None else "."),
    )
    questions = [_how_large(subject, table, told)]
    if table.verdict is not None:
        questions.append(_tied(subject, table))
    if table.verdict == VERDICTS["untied"] and table.nbytes is not None:
        questions.append(_both(subject, table))
    return questions


def _how_large(subject: Subject, table: Sized, told: tuple[str, ...]) -> Question:
    numbers = table.rows * table.width
    shape = f"{count(table.rows)} rows × {count(table.width)} numbers"
    if table.nbytes is None:
        found = Outcome(numbers / 10**6, (f"{shape}; how they are stored, the config does not say.",))
        ask = "How many million numbers is it?"
        return Question(ask, lambda: found, told, unit="million numbers", commands=(subject.about("info"),))
    unit, divisor = unit_of(table.nbytes)
    lines = [f"{shape} in {table.dtype}: {count(table.nbytes)} bytes."]
    if subject.by_config is None and not subject.table.tensor.parts:
        row = subject.table.tensor.row_bytes
        lines.append(f"{count(table.rows)} × {count(row)} bytes a row, as the header of the file says.")
    if subject.vocabulary is not None:
        free = table.rows - int((subject.vocabulary.ids < table.rows).sum())
        padding = "no token: padding, most often so that their number suits the hardware."
        lines.append(f"{plural(free, 'row has', 'rows have')} {padding}" if free else "Every row has a token.")
    outcome = Outcome(table.nbytes / divisor, tuple(lines))
    return Question(f"How many {unit} is it?", lambda: outcome, told, unit=unit, commands=(subject.about("info"),))


def _tied(subject: Subject, table: Sized) -> Question:
    saved = "" if table.nbytes is None else f" So {size(table.nbytes)} are saved."
    more = {VERDICTS["tied"]: saved, VERDICTS["untied"]: " The two need not agree."}
    assert table.verdict is not None
    told = f"{table.tying[0].upper()}{table.tying[1:]}.{more.get(table.verdict, '')}"
    outcome = Outcome(table.verdict, (told,))
    return Question(
        "Does this model use one table for reading and predicting, or two?",
        lambda: outcome,
        (
            (
                "At its other end a language model needs a table too: it scores every token by the dot product "
                "(number times number, all added up) of the last vector with that token's row. If one table does "
                "both, the two are tied."
            ),
        ),
        kind=Kind.CHOICE,
        choices=TIED,
        commands=(subject.about("info"),),
    )


def _both(subject: Subject, table: Sized) -> Question:
    """How large the two are together, and of how much that is a part."""
    assert table.nbytes is not None
    numbers, second = table.rows * table.width, table.nbytes
    if subject.by_config is None:
        output = subject.model.output_table
        second, numbers = output.tensor.nbytes, numbers + math.prod(output.shape)
    else:
        numbers *= 2
    unit, divisor = unit_of(table.nbytes + second)
    outcome = Outcome(
        (table.nbytes + second) / divisor,
        (
            f"{size(table.nbytes)} to read and {size(second)} to predict, beside everything between.",
            *_part(subject, numbers),
            f"A row is read at a time, though: {size(table.nbytes // table.rows)}.",
        ),
    )
    return Question(
        f"How many {unit} are the two together?",
        lambda: outcome,
        unit=unit,
        commands=(subject.about("info"),),
    )


def _part(subject: Subject, numbers: int) -> tuple[str, ...]:
    """Say which part so many numbers are of those that the model has by its name, or by that in its config."""
    config = subject.model.config
    names = (subject.model.name, "" if config is None else str(config.raw.get("_name_or_path", "")))
    for name in names:
        billions = BILLIONS.search(name)
        if billions is not None and numbers < float(billions[1]) * 10**9:
            part = percent(numbers / (float(billions[1]) * 10**9))
            return (
                f"{count(numbers)} numbers: {part} of the {billions[1]} billion that the name {brief(name)} tells.",
            )
    return ()
