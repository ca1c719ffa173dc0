"""What a step is made of, and how a guess is held against the answer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from embtool.lesson.subject import Subject

NUMBER = re.compile(r"([-+]?(?:\d[\d,_]*(?:\.\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(k\b)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")

EXACT, CLOSE = 1.02, 1.25
"""Factors within which a guess of a number counts as exact, and as close."""

NEAR = 0.1
"""How far a guessed cosine may be from the measured one and still count as close."""


class Kind(StrEnum):
    """How a question is answered."""

    NUMBER = "number"
    COSINE = "cosine"
    CHOICE = "choice"
    OPEN = "open"


@dataclass(frozen=True)
class Outcome:
    """What was measured: the answer (a number, the place of a choice, or a text), and what it shows."""

    answer: float | int | str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One guess: what is told first, what is asked, and how the answer is found when the guess is made.

    A number may be off by `slack`, in its unit, and still be close.
    `commands` are ordinary command lines, without the program's name, that show the same.
    """

    ask: str
    find: Callable[[], Outcome]
    told: tuple[str, ...] = ()
    kind: Kind = Kind.NUMBER
    choices: tuple[str, ...] = ()
    unit: str = ""
    slack: float = 0.0
    commands: tuple[tuple[str, ...], ...] = ()

    def written(self, outcome: Outcome) -> str:
        """Write an answer for a reader."""
        answer = outcome.answer
        if isinstance(answer, str):
            return answer
        if self.kind is Kind.CHOICE:
            return self.choices[int(answer)]
        shown = f"{answer:.2f}" if self.kind is Kind.COSINE else figure(answer)
        return f"{shown} {self.unit}".rstrip()


@dataclass(frozen=True)
class Step:
    """One step of the lesson; `recall` is asked before it, about what came earlier."""

    number: int
    name: str
    title: str
    asks: str
    make: Callable[[Subject], Sequence[Question]]
    recall: Question | None = None


@dataclass(frozen=True)
class Verdict:
    """How a guess compares: whether it was right (None where that has no meaning), and in words."""

    right: bool | None
    text: str


def figure(value: float) -> str:
    """Write a number with as many digits as help.

    >>> figure(32000), figure(159.1549), figure(0.00012)
    ('32,000', '159', '0.00012')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits are enough


def parse_number(text: str) -> float | None:
    """Find the number in a guess, or None where there is none.

    A comma groups thousands where three digits follow, and is a decimal mark elsewhere; 32k is 32,000.

    >>> parse_number("about 1,000 turns"), parse_number("0,9"), parse_number("32k"), parse_number("many")
    (1000.0, 0.9, 32000.0, None)
    """
    found = NUMBER.search(text)
    if found is None:
        return None
    digits = found[1].replace("_", "")
    grouped = THOUSANDS.fullmatch(digits) or digits.count(",") > 1
    value = float(digits.replace(",", "" if grouped or "." in digits else "."))
    return value * 1000 if found[2] else value


def parse_choice(text: str, choices: Sequence[str]) -> int | None:
    """Find the choice meant: its letter, its place from 1, or its beginning; None where that is no single one.

    >>> parse_choice("B", ["north", "south"]), parse_choice("n", ["north", "south"]), parse_choice("2", ["x", "y"])
    (1, 0, 1)
    """
    wanted = text.strip().casefold()
    places = {chr(ord("a") + place): place for place in range(len(choices))}
    places |= {str(place + 1): place for place in range(len(choices))}
    if wanted in places:
        return places[wanted]
    begun = [
        place for place, choice in enumerate(choices) if wanted and choice.strip("␣").casefold().startswith(wanted)
    ]
    return begun[0] if len(begun) == 1 else None


def understood(question: Question, guess: str) -> bool:
    """Return whether a guess can be held against an answer."""
    if question.kind is Kind.OPEN:
        return True
    if question.kind is Kind.CHOICE:
        return parse_choice(guess, question.choices) is not None
    number = parse_number(guess)
    return number is not None and (question.kind is not Kind.COSINE or -1 <= number <= 1)


def judge(question: Question, outcome: Outcome, guess: str) -> Verdict:
    """Hold a guess against the answer; an empty one is a wish to see it."""
    if question.kind is Kind.OPEN or isinstance(outcome.answer, str):
        return Verdict(None, "Compare yours with this one:" if guess.strip() else "One way to say it:")
    if not guess.strip() or not understood(question, guess):
        return Verdict(None, "No guess.")
    if question.kind is Kind.CHOICE:
        right = parse_choice(guess, question.choices) == outcome.answer
        return Verdict(right, "Yes." if right else "Not this one.")
    number = parse_number(guess)
    assert number is not None
    if question.kind is Kind.COSINE:
        return _judge_difference(number, outcome.answer)
    if number != outcome.answer and abs(number - outcome.answer) <= question.slack:
        return Verdict(True, "Close.")  # noqa: FBT003 - a field, by its place
    return _judge_factor(number, outcome.answer)


def _judge_difference(guess: float, answer: float) -> Verdict:
    off = abs(guess - answer)
    if off <= NEAR:
        return Verdict(True, f"Close: {off:.2f} off.")  # noqa: FBT003 - a field, by its place
    return Verdict(False, f"{off:.2f} too {'high' if guess > answer else 'low'}.")  # noqa: FBT003 - as above


def _judge_factor(guess: float, answer: float) -> Verdict:
    if guess == answer:
        return Verdict(True, "Exactly.")  # noqa: FBT003 - as above
    if not guess or not answer or (guess < 0) != (answer < 0):
        return Verdict(False, "Far from it.")  # noqa: FBT003 - as above
    factor = max(guess / answer, answer / guess)
    if factor <= CLOSE:
        return Verdict(True, "As good as exact." if factor <= EXACT else "Close.")  # noqa: FBT003 - as above
    way = "high" if abs(guess) > abs(answer) else "low"
    return Verdict(False, f"Too {way}, by a factor of {figure(round(factor, 1))}.")  # noqa: FBT003 - as above
