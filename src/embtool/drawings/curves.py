"""Curves over distances, drawn: a frame, two axes, and a line for each series with its name.

Knows no model: the numbers, and every text, come from the caller, ready to be shown on one line.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embtool.drawings.drawing import Curve, Drawing, Ink, Line, Rectangle, Shape, Words, fitted

EDGE, GUTTER = 28.0, 52.0
"""Room around the sheet, and at the left for the numbers of the axis."""

WIDTH, HEIGHT = 640.0, 300.0
"""The frame."""

INKS = (Ink.BLUE, Ink.ORANGE, Ink.GREEN, Ink.PURPLE, Ink.RED, Ink.TEAL)
"""One for each series, again from the first where there are more."""

SMALL, LEADING, PROSE = 12.0, 18.0, 0.53

DRAWN = 1200
"""Numbers of a series that are drawn: two for each unit of width."""


@dataclass(frozen=True)
class Series:
    """One line: its name, and the height at each place of the axis."""

    name: str
    heights: Sequence[float]


def to_drawing(
    title: str, places: Sequence[int], series: Sequence[Series], axis: str, remarks: Sequence[str]
) -> Drawing:
    """Draw series over the same places, from the lowest height, or 0, to 1."""
    lowest = min(0.0, *(min(each.heights) for each in series))
    bottom = math.floor(lowest * 4) / 4
    left, top = EDGE + GUTTER, 64.0
    right, base = left + WIDTH, top + HEIGHT
    shapes: list[Shape] = [Words((EDGE, 40), title, fitted(title, 18, WIDTH + GUTTER), bold=True)]
    shapes += _frame((left, top), (bottom, places), axis)

    def spot(place: int, height: float) -> tuple[float, float]:
        across = (place - places[0]) / max(places[-1] - places[0], 1)
        return left + across * WIDTH, base - (height - bottom) / (1 - bottom) * HEIGHT

    step = max(1, math.ceil(len(places) / DRAWN))
    for number, each in enumerate(series):
        ink = INKS[number % len(INKS)]
        spots = [spot(place, height) for place, height in zip(places[::step], each.heights[::step], strict=True)]
        shapes.append(Curve(spots, ink, 1.6, facts={"series": each.name}, about=each.name))
        name = fitted(each.name, SMALL, WIDTH / 2)
        shapes.append(
            Words((right - 8, top + LEADING * (number + 1)), each.name, name, ink, "end", bold=True, halo=True)
        )
    lines = [line for text in remarks for line in textwrap.wrap(text, int((WIDTH + GUTTER) / (PROSE * SMALL)))]
    below = base + 48
    shapes += [Words((EDGE, below + LEADING * place), line, SMALL, Ink.SOFT) for place, line in enumerate(lines, 1)]
    height = below + LEADING * len(lines) + EDGE
    return Drawing(title, " ".join(remarks), right + EDGE, height, shapes)


def _frame(corner: tuple[float, float], ranges: tuple[float, Sequence[int]], axis: str) -> Iterator[Shape]:
    """Draw the frame, with lines at every quarter of height and numbers at five places."""
    (left, top), (bottom, places) = corner, ranges
    yield Rectangle(corner, WIDTH, HEIGHT, None, Ink.LINE)
    quarters = round((1 - bottom) * 4)
    for quarter in range(quarters + 1):
        height = bottom + quarter / 4
        y = top + HEIGHT - quarter / quarters * HEIGHT
        yield Line((left, y), (left + WIDTH, y), Ink.SOFT if height == 0 else Ink.LINE)
        yield Words((left - 8, y + 4), f"{height:g}", SMALL, Ink.SOFT, "end")
    for part in range(5):
        place = places[0] + (places[-1] - places[0]) * part / 4
        x = left + WIDTH * part / 4
        yield Line((x, top + HEIGHT), (x, top + HEIGHT + 5), Ink.LINE)
        yield Words((x, top + HEIGHT + 20), f"{place:,.0f}", SMALL, Ink.SOFT, "middle")
    yield Words((left + WIDTH / 2, top + HEIGHT + 40), axis, SMALL, Ink.SOFT, "middle")
