"""What a reveal may draw, as data: points on a plane, hands of a clock, bars, figures in a grid, two side by side.

A terminal writes them as lines (`written`); a page may draw them as it likes.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

from embtool.answers.text import bar, count, dial
from embtool.drawings.picture import Picture, columns
from embtool.questions.map_lines import draw

BAR = 16
"""Characters of the longest bar."""

GAP = 4
"""Blanks between two drawings that stand side by side."""

PLANE_LINES = 12
"""Lines of a plane, at most."""


@dataclass(frozen=True)
class Plane:
    """Points on a plane, with their names, and a caption."""

    picture: Picture


@dataclass(frozen=True)
class Hands:
    """Hands of a clock: a row for each position, a column for each pair of channels; angles in radians."""

    title: str
    positions: tuple[int, ...]
    pairs: tuple[int, ...]
    angles: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Bars:
    """Numbers with names, as bars on both sides of zero."""

    title: str
    items: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Grid:
    """Figures in rows and columns: the first column names the rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Beside:
    """Two drawings that are meant to be compared."""

    left: "Grid | Hands"
    right: "Grid | Hands"


Drawing: TypeAlias = Plane | Hands | Bars | Grid | Beside


def written(drawing: Drawing, width: int) -> list[str]:
    """Write a drawing on lines of `width` columns, as far as that is possible."""
    match drawing:
        case Plane(picture):
            drawn = draw(picture, width, PLANE_LINES)
            lines = [line if isinstance(line, str) else "".join(text for text, _ in line) for line in drawn]
            return [*lines, "", *textwrap.wrap(picture.caption, width)]
        case Hands():
            head = ("position", *map(str, drawing.pairs))
            rows = zip(drawing.positions, drawing.angles, strict=True)
            return _aligned(drawing.title, head, [(count(place), *map(dial, angles)) for place, angles in rows])
        case Bars():
            return [drawing.title, *_bars(drawing.items)]
        case Grid():
            return _aligned(drawing.title, drawing.head, drawing.rows)
        case Beside(left, right):
            first, second = written(left, width), written(right, width)
            room = max(map(columns, first)) + GAP
            if room + max(map(columns, second)) > width:
                return [*first, "", *second]
            pairs = zip_longest(first, second, fillvalue="")
            return [line + " " * (room - columns(line)) + other for line, other in pairs]


def _aligned(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells at their right ends."""
    widths = [max(map(columns, column)) for column in zip(head, *rows, strict=True)]
    return [
        title,
        *(
            "  ".join(" " * (width - columns(cell)) + cell for cell, width in zip(row, widths, strict=True))
            for row in (head, *rows)
        ),
    ]


def _bars(items: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Yield a line for each number: its name, itself, and a bar to the left or the right of zero."""
    longest = max((abs(value) for _, value in items if math.isfinite(value)), default=0.0) or 1.0
    name = max((columns(label) for label, _ in items), default=0)
    below = any(value < 0 for _, value in items)
    for label, value in items:
        left = f"{'█' * round(max(-value, 0.0) / longest * BAR / 2):>{BAR // 2}}" if below else ""
        right = bar(max(value, 0.0) / longest, BAR)
        yield f"{label}{' ' * (name - columns(label))}  {value:+.2f}  {left}│{right}"
