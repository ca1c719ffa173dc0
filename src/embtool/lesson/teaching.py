"""Step 7: teach it back, and see which of the five ideas the explanation names."""

import re

from embtool.answers.text import count
from embtool.lesson.parts import Idea, Kind, Outcome, Question
from embtool.lesson.subject import Subject


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})", re.IGNORECASE)


IDEAS = (
    Idea(
        "address",
        "an id only says which row of a table to read",
        _words(
            r"address|rows?\b|lines?\b|fetch|look(?:s|ed|ing)?[ -]?(?:it |them )?up|index|entry|picks?\b|selects?\b"
        ),
    ),
    Idea(
        "learned",
        "the numbers in a row come from training",
        _words(r"learn|train|gradient|optimi[sz]|adjust|fitted|tuned|backprop"),
    ),
    Idea(
        "company",
        "tokens used alike have rows that point alike",
        _words(r"similar|alike|near|close|cosine|neighbo|same (?:way|direction)|point|company|related|cluster"),
    ),
    Idea(
        "order",
        "a row does not know where its token stands",
        _words(r"order|position|place[sd]?\b|where (?:it|the|a|each)|sequence|comes? first"),
    ),
    Idea(
        "place",
        "so the place is added as a row of its own, or queries and keys are turned by an angle",
        _words(
            r"add(?:s|ed|ing)?\b|plus\b|sum(?:med|s)?\b|rotat|turn(?:s|ed|ing)?\b|rope\b|second table|distance|"
            r"relative|angle|clock|spin|spun"
        ),
    ),
)
"""What an explanation should name, and the beginnings of words by which it is taken to."""


def teach(subject: Subject) -> list[Question]:
    """An open question: which ideas the reader's answer names, and one answer to compare it with."""
    on = subject.with_rows
    subject = on.subject
    row, pair = subject.first, subject.sentences
    found = subject.positions is not None and pair is not None
    command = subject.command("input", pair[0]) if found and pair is not None else subject.about("info")
    rows, width = subject.table.shape
    place = BOTH_WAYS if subject.is_idle else subject.place_told
    taught = (
        f"The id {count(row)} only says which of the {count(rows)} rows to read, and that row, {count(width)} numbers, "
        "is what goes into the model. The numbers were learned, so tokens used alike have rows that point alike; a row "
        f"that training never reached says nothing. The row does not know where its token stands: {place}."
    )
    return [
        Question(
            f"A colleague asks: how does a number like {count(row)} become something that a model can think with? "
            "Three sentences.",
            lambda: Outcome(taught),
            (
                *on.why,
                (
                    "The best test is to explain it. Write as you would say it: your words are looked through for "
                    "five ideas, and go nowhere else."
                ),
            ),
            kind=Kind.OPEN,
            commands=(command,),
            ideas=IDEAS,
        )
    ]


BOTH_WAYS = (
    "some models add a row for the place, others turn queries and keys by an angle, so that attention sees distances"
)
