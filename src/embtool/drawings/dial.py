"""Rotary positions, drawn: every pair of channels is a hand on a dial, and a position turns it so far.

A row of dials is one position, a column one pair, so that fast and slow pairs stand side by side. Knows no model: the
angles, and every text, come from the caller, ready to be shown on one line.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from embtool.drawings.drawing import LETTER, Disc, Drawing, Ink, Line, Rectangle, Sector, Shape, Words, fitted

MOST_DIALS = 8
"""Pairs drawn side by side."""

MOST_ROWS = 12
"""Positions drawn one below the other."""

EDGE = 28.0
GUTTER = 112.0
"""Room at the left for the names of rows, in pixels."""

RADIUS = 34.0
COLUMN = 88.0
ROW = 2 * RADIUS + 50
BAR = 10.0

LEAST_COLUMNS = 5
"""The sheet is at least as wide as these, for the texts."""

LARGE, USUAL, SMALL = 18.0, 13.0, 12.0
"""Heights of letters, in pixels."""

LEADING = 18.0
"""From one line of text to the next."""

PROSE = 0.53
"""How wide a letter of a sentence is on average, in heights."""


@dataclass(frozen=True)
class Hand:
    """Where a pair stands at a position.

    Attributes:
        angle: Radians it has turned, above 0 counter-clockwise; whole turns count.
        label: The angle within a turn, in words.
        turns: How often it has been round, in words.
    """

    angle: float
    label: str
    turns: str


@dataclass(frozen=True)
class Pair:
    """A column: a pair of channels, the axis it follows if there are several, tokens per turn, and its hands."""

    number: int
    axis: str
    wavelength: str
    hands: Sequence[Hand]


@dataclass(frozen=True)
class Resting:
    """A column without hands: channels that no position turns."""

    name: str
    about: str


@dataclass(frozen=True)
class Head:
    """The dials of one kind of layer.

    Attributes:
        title: What it is, or nothing where there is only one.
        positions: The name of each row.
        columns: Its pairs, and what stands still.
        turning: For each channel of a head whether it turns; None where that is not known.
        remarks: What is said below, a line each.
    """

    title: str
    positions: Sequence[str]
    columns: Sequence[Pair | Resting]
    turning: Sequence[bool] | None
    remarks: Sequence[str]


def to_drawing(title: str, heads: Sequence[Head], footer: str) -> Drawing:
    """Draw the dials of every kind of layer, one below the other."""
    width = GUTTER + COLUMN * max(LEAST_COLUMNS, *(len(head.columns) for head in heads))
    shapes: list[Shape] = [Words((EDGE, 40), title, fitted(title, LARGE, width), bold=True)]
    top = 56.0
    for place, head in enumerate(heads):
        if place:
            shapes.append(Line((EDGE, top + 8), (EDGE + width, top + 8), Ink.LINE))
            top += 22
        if head.title:
            shapes.append(Words((EDGE, top + 20), head.title, fitted(head.title, 15, width), bold=True))
            top += 28
        if head.turning is not None and not all(head.turning):
            shapes += _channels(head.turning, top + 12, width - GUTTER)
            top += 46
        shapes += _names(head.columns, top + 18)
        top += 48
        for row, position in enumerate(head.positions):
            shapes += _row(row, position, head.columns, top)
            top += ROW
        drawn, top = _paragraphs(head.remarks, top, width)
        shapes += drawn
        top += 10
    drawn, top = _paragraphs([footer], top, width)
    about = " ".join([*(f"{head.title}: {'; '.join(head.remarks)}.".removeprefix(": ") for head in heads), footer])
    return Drawing(title, about, width + 2 * EDGE, top + EDGE, [*shapes, *drawn])


def _paragraphs(texts: Sequence[str], top: float, width: float) -> tuple[list[Shape], float]:
    """Write texts below each other, and say where they end."""
    lines = [line for text in texts for line in textwrap.wrap(text, int(width / (PROSE * SMALL)))]
    shapes: list[Shape] = [
        Words((EDGE, top + LEADING * place), line, SMALL, Ink.SOFT) for place, line in enumerate(lines, 1)
    ]
    return shapes, top + LEADING * len(lines)


def _channels(turning: Sequence[bool], top: float, width: float) -> Iterator[Shape]:
    """Draw the channels of a head side by side: those that turn filled, those that pass through empty."""
    left = EDGE + GUTTER
    yield Words((EDGE, top + BAR), "channels", SMALL, Ink.SOFT)
    share, first = width / len(turning), 0
    for turns, run in groupby(turning):
        number = len(list(run))
        last = first + number - 1
        what = f"{first}..{last} {'turn' if turns else 'pass through'}"
        inks = (Ink.MARK, None) if turns else (None, Ink.LINE)
        facts = {"channels": f"{first}..{last}", "turning": str(turns).lower()}
        yield Rectangle((left + first * share, top), number * share, BAR, *inks, facts=facts, about=f"channels {what}")
        if len(what) * LETTER * SMALL <= number * share:  # there is room for it below
            yield Words((left + first * share, top + BAR + 14), what, SMALL, Ink.TEXT if turns else Ink.SOFT)
        first = last + 1


def _centre(column: int) -> float:
    return EDGE + GUTTER + COLUMN * (column + 0.5)


def _names(columns: Sequence[Pair | Resting], top: float) -> Iterator[Shape]:
    """Write the heads of the columns."""
    yield Words((EDGE, top), "pair", SMALL, Ink.SOFT)
    yield Words((EDGE, top + LEADING), "tokens per turn", SMALL, Ink.SOFT)
    for place, column in enumerate(columns):
        name, about = (
            (f"{column.number} {column.axis}".strip(), column.wavelength)
            if isinstance(column, Pair)
            else (column.name, column.about)
        )
        size = USUAL if isinstance(column, Pair) else SMALL
        for line, text in enumerate((name, about)):
            ink, bold = (Ink.TEXT, isinstance(column, Pair)) if line == 0 else (Ink.SOFT, False)
            written = fitted(text, size if line == 0 else SMALL, COLUMN - 6)
            yield Words((_centre(place), top + line * LEADING), text, written, ink, "middle", bold=bold)


def _row(row: int, position: str, columns: Sequence[Pair | Resting], top: float) -> Iterator[Shape]:
    """Draw every pair at one position: where the hand started, what it swept since its last full turn, where it is."""
    middle = top + RADIUS + 4
    yield Words((EDGE, middle - 6), "position", SMALL, Ink.SOFT)
    yield Words((EDGE, middle + 12), position, fitted(position, 15, GUTTER - 8), bold=True)
    below = middle + RADIUS + 16
    yield Words((EDGE, below), "angle", SMALL, Ink.SOFT)
    yield Words((EDGE, below + 15), "turns", SMALL, Ink.SOFT)
    for place, column in enumerate(columns):
        centre = (_centre(place), middle)
        if isinstance(column, Resting):
            yield Disc(centre, RADIUS, edge=Ink.LINE, dashed=True, about=f"{column.name} {column.about}")
            continue
        hand = column.hands[row]
        pair, (x, y) = str(column.number), centre
        within = math.fmod(hand.angle, 2 * math.pi)
        been_round = abs(hand.angle) >= 2 * math.pi
        what = f"pair {pair} at position {position}: {hand.label}, {hand.turns} turns"
        yield Disc(centre, RADIUS, Ink.FAINT if been_round else None, Ink.LINE, about=what)
        if abs(within) * RADIUS >= 1:
            yield Sector(centre, RADIUS - 1, within, Ink.TINT)
        for quarter in range(4):
            towards = (math.cos(quarter * math.pi / 2), math.sin(quarter * math.pi / 2))
            start, end = ((x + reach * towards[0], y + reach * towards[1]) for reach in (RADIUS - 5, RADIUS))
            yield Line(start, end, Ink.SOFT if quarter == 0 else Ink.LINE)
        tip = (x + (RADIUS - 6) * math.cos(within), y - (RADIUS - 6) * math.sin(within))
        yield Line(centre, tip, Ink.MARK, 2.5, facts={"hand": pair, "position": position})
        yield Disc(centre, 3, Ink.MARK)
        label, turns = (fitted(text, size, COLUMN - 8) for text, size in ((hand.label, USUAL), (hand.turns, SMALL)))
        yield Words((centre[0], below), hand.label, label, anchor="middle")
        yield Words((centre[0], below + 15), hand.turns, turns, Ink.SOFT, "middle")
