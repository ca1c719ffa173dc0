"""What a step is made of, and how a guess is held against the answer."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from embtool.answers.text import percent
from embtool.arrays import np
from embtool.lesson.drawings import Drawing
from embtool.lesson.subject import Subject

NUMBER = re.compile(r"([-+]?(?:\d[\d,_]*(?:\.\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(k\b)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")

EXACT, CLOSE = 1.02, 1.25
"""Factors within which a guess of a number counts as exact, and as close."""

DOUBLE = 2.0
"""The factor from which on it is said how many times a guess is off, and below how many percent."""

ENOUGH_IDEAS = 4
"""Ideas that an explanation must name to count as right."""

NEAR = 0.1
"""How far a guessed cosine may be from the measured one and still count as close."""


class Kind(StrEnum):
    """How a question is answered, and so how a guess is held against the answer."""

    NUMBER = "number"
    """A size: what counts is by which factor a guess is off."""
    COUNT = "count"
    """A small whole number: right, or so many too few or too many."""
    TURNS = "turns"
    """How often a hand has gone round: 0 is right for one that hardly moved."""
    COSINE = "cosine"
    """From -1 to 1: what counts is the difference."""
    CHOICE = "choice"
    OPEN = "open"
    """In the reader's own words: what counts are the ideas that are named."""


@dataclass(frozen=True)
class Outcome:
    """What was measured: the answer (a number, the place of a choice, or a text), what it shows, and a drawing."""

    answer: float | int | str
    lines: tuple[str, ...] = ()
    drawing: Drawing | None = None


@dataclass(frozen=True)
class Idea:
    """Something that an answer in the reader's own words may name: what it is, and the words that show it was named."""

    name: str
    said: str
    words: re.Pattern[str]


@dataclass(frozen=True)
class Question:
    """One guess: what is told first, what is asked, and how the answer is found when the guess is made.

    A number may be off by `slack`, in its unit, and still be close.
    `remarks` are said to those who made each of the choices.
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
    remarks: tuple[str, ...] = ()
    ideas: tuple[Idea, ...] = ()

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
    """How a guess compares: whether it was right (None where that has no meaning), in words, and what to say to it."""

    right: bool | None
    text: str
    lines: tuple[str, ...] = ()


def choice(ask: str, choices: Mapping[str, str], right: str) -> Question:
    """Make a question whose answer is known beforehand, for recall: `choices` are what is said to who makes each."""
    options, remarks = tuple(choices), tuple(choices.values())
    place = options.index(right)
    found = Outcome(place, (remarks[place],))
    return Question(ask, lambda: found, kind=Kind.CHOICE, choices=options, remarks=remarks)


UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1))


def unit_of(nbytes: int) -> tuple[str, int]:
    """Choose the unit in which so many bytes are asked for, and how many bytes it is."""
    return next(pair for pair in UNITS if nbytes >= pair[1] or pair[1] == 1)


def figure(value: float) -> str:
    """Write a number with as many digits as help.

    >>> figure(32000), figure(159.1549), figure(0.0000263)
    ('32,000', '159', '0.0000263')
    """
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 100:  # noqa: PLR2004 - three digits are enough
        return f"{value:,.0f}"
    return np.format_float_positional(value, 3, fractional=False, trim="-")


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
    answer = outcome.answer
    if question.kind is Kind.OPEN:
        if not guess.strip():
            return Verdict(None, "No guess.")
        named = [idea.words.search(guess) is not None for idea in question.ideas]
        lines = tuple(
            f"{'✓' if found else '·'} {idea.name}: {idea.said}"
            for found, idea in zip(named, question.ideas, strict=True)
        )
        text = f"By its words yours names {sum(named)} of {len(question.ideas)} ideas."
        return Verdict(sum(named) >= ENOUGH_IDEAS, text, lines)
    if isinstance(answer, str) or not guess.strip() or not understood(question, guess):
        return Verdict(None, "No guess." if not guess.strip() else "Nothing to compare with.")
    if question.kind is Kind.CHOICE:
        chosen = parse_choice(guess, question.choices)
        if chosen == int(answer):
            return Verdict(right=True, text="Yes.")
        assert chosen is not None
        remark = question.remarks[chosen] if question.remarks else ""
        return Verdict(right=False, text="Not this one.", lines=(remark,) if remark else ())
    number = parse_number(guess)
    assert number is not None
    return JUDGES[question.kind](number, answer, question.slack)


def _judge_difference(guess: float, answer: float, _: float) -> Verdict:
    off = abs(guess - answer)
    if off <= NEAR:
        return Verdict(right=True, text=f"Close: {off:.2f} off.")
    return Verdict(right=False, text=f"{off:.2f} too {'high' if guess > answer else 'low'}.")


def _judge_count(guess: float, answer: float, _: float) -> Verdict:
    if guess == answer:
        return Verdict(right=True, text="Exactly.")
    return Verdict(right=False, text=f"{figure(abs(guess - answer))} too {'many' if guess > answer else 'few'}.")


def _judge_turns(guess: float, answer: float, slack: float) -> Verdict:
    if abs(guess - answer) <= slack:
        return Verdict(right=True, text="Close." if guess != answer else "Exactly.")
    if answer <= slack < guess:
        return Verdict(right=False, text="Too high: it has hardly moved.")
    if answer < 1 <= guess:
        return Verdict(right=False, text="Too high: it has not gone round once.")
    return _judge_factor(guess, answer, slack)


def _judge_factor(guess: float, answer: float, slack: float) -> Verdict:
    if guess == answer:
        return Verdict(right=True, text="Exactly.")
    if abs(guess - answer) <= slack:
        return Verdict(right=True, text="Close.")
    if not guess or not answer or (guess < 0) != (answer < 0):
        return Verdict(right=False, text="Far from it.")
    factor = max(guess / answer, answer / guess)
    if factor <= CLOSE:
        return Verdict(right=True, text="As good as exact." if factor <= EXACT else "Close.")
    way = "high" if abs(guess) > abs(answer) else "low"
    if factor < DOUBLE:
        return Verdict(right=False, text=f"{percent(abs(guess / answer - 1))} too {way}.")
    return Verdict(right=False, text=f"Too {way}, by a factor of {figure(round(factor, 1))}.")


JUDGES: Mapping[Kind, Callable[[float, float, float], Verdict]] = {
    Kind.NUMBER: _judge_factor,
    Kind.COUNT: _judge_count,
    Kind.TURNS: _judge_turns,
    Kind.COSINE: _judge_difference,
}
"""How a guessed number is held against the answer."""
