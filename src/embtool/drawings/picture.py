"""Points with names, drawn as shapes for a PNG or SVG.

Names come ready to be shown on one line. Labels are placed beside their points so
that none covers another or comes so near another point that it could be taken for its name. A label for which there is
no room is left out, and its point stays.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embtool.drawings.drawing import LETTER, Disc, Drawing, Ink, Line, Words, fitted

PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where a label may stand beside its point, the best first: right, left, below, above, then the corners."""

CHARACTER_ASPECT = 2.0
"""How much taller than wide a character of a terminal is."""

MARGIN = 0.08
"""The share of the picture left free on each side."""

WIDTH, HEIGHT = 960, 720
EDGE = 32
TITLE_ROOM, CAPTION_ROOM = 60, 52
"""Where points stand, in pixels: so far from the edges, below the title, above the caption."""

LEGEND = "Small points are nearest rows of the point they are joined to."

GROUPS = (Ink.BLUE, Ink.ORANGE, Ink.GREEN, Ink.PURPLE, Ink.RED, Ink.TEAL)
"""Of a point that was asked for and its neighbours, in turn."""

FAR = (14.0, 26.0, 38.0, 50.0)
"""How far from its mark a name stands, at the end of a leader, where there is no room beside it; in pixels."""

STEP = 6.0
"""Every so many pixels of a line are kept free of names, if there is room elsewhere."""

FONT = 15
MARK = 12.0
"""The height of a name's letters and the room that a point takes, in pixels."""

WIDE = frozenset("WF")
"""East Asian widths that fill two characters of a terminal (https://www.unicode.org/reports/tr11/)."""


@dataclass(frozen=True)
class Point:
    """A point: its name, where it stands, and the point it was drawn for, if it is a neighbour."""

    name: str
    about: str
    x: float
    y: float
    parent: int | None = None


@dataclass(frozen=True)
class Picture:
    """Points, a title, and a caption that says how much they leave out."""

    title: str
    caption: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Box:
    """A rectangle, in whatever unit; `y` grows downwards."""

    left: float
    top: float
    width: float
    height: float

    def grown(self, x: float, y: float) -> "Box":
        """Make it larger by so much on every side."""
        return Box(self.left - x, self.top - y, self.width + 2 * x, self.height + 2 * y)

    def meets(self, other: "Box") -> bool:
        """Return whether two rectangles have an area in common."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )

    def inside(self, other: "Box") -> bool:
        """Return whether this rectangle is within another."""
        return (
            self.left >= other.left
            and self.top >= other.top
            and self.left + self.width <= other.left + other.width
            and self.top + self.height <= other.top + other.height
        )


def place_labels(
    marks: Sequence[Box],
    sizes: Sequence[tuple[float, float] | None],
    frame: Box,
    gap: float,
    air: tuple[float, float],
    *,
    far: Sequence[float] = (),
    avoided: Sequence[Box] = (),
) -> list[Box | None]:
    """Place a label, of width and height, beside each mark that has one, the earlier first, so that nothing is covered.

    A label keeps so much air, across and down, to every mark but its own, and across to other labels. Where there is no
    room beside its mark, it stands so `far` away. What is `avoided` it covers only where there is no other place.

    Returns a box for each label, or None where there is no room for it inside the frame.
    """
    across, down = air
    found: list[Box | None] = []
    for place, (mark, size) in enumerate(zip(marks, sizes, strict=True)):
        others = [other for each, other in enumerate(marks) if each != place]
        labels = [label for label in found if label is not None]

        def free(spot: Box, mark: Box = mark, others: list[Box] = others, labels: list[Box] = labels) -> bool:
            around, beside = spot.grown(across, down), spot.grown(across, 0)
            return not (
                spot.meets(mark)
                or any(around.meets(other) for other in others)
                or any(beside.meets(label) for label in labels)
            )

        around = [mark, *(mark.grown(more, more) for more in far)]
        spots = [] if size is None else [spot for each in around for spot in _spots(each, size, gap)]
        possible = [spot for spot in spots if spot.inside(frame) and free(spot)]
        clear = (spot for spot in possible if not any(spot.meets(other) for other in avoided))
        found.append(next(clear, next(iter(possible), None)))
    return found


def _spots(mark: Box, size: tuple[float, float], gap: float) -> Iterator[Box]:
    """Yield the places for a label beside a mark."""
    width, height = size
    for right, down in PLACES:
        left = mark.left + mark.width / 2 - width / 2
        left = mark.left + mark.width + gap if right > 0 else mark.left - gap - width if right < 0 else left
        top = mark.top + mark.height / 2 - height / 2
        top = mark.top + mark.height if down > 0 else mark.top - height if down < 0 else top
        yield Box(left, top, width, height)


def fit(points: Sequence[Point], width: float, height: float, *, is_equal: bool = True) -> list[tuple[float, float]]:
    """Scale points into a frame, equally along both axes or each by itself, y downwards."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    spread_x, spread_y = max(xs) - min(xs), max(ys) - min(ys)
    room_x, room_y = width * (1 - 2 * MARGIN), height * (1 - 2 * MARGIN)
    scales = [room / spread for room, spread in ((room_x, spread_x), (room_y, spread_y)) if spread > 0]
    scale = min(scales, default=1.0)
    scale_x, scale_y = (scale, scale) if is_equal else (room_x / (spread_x or 1), room_y / (spread_y or 1))
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    across = [width / 2 + (x - middle_x) * scale_x for x in xs]
    return [*zip(across, (height / 2 - (y - middle_y) * scale_y for y in ys), strict=True)]


# --- characters -------------------------------------------------------------------------------------------------------


def columns(text: str) -> int:
    """Count the columns that a text fills on a terminal."""
    shown = [character for character in text if unicodedata.category(character) not in ("Mn", "Me", "Cf")]
    return len(shown) + sum(unicodedata.east_asian_width(character) in WIDE for character in shown)


# --- PNG and SVG ------------------------------------------------------------------------------------------------------


def to_drawing(picture: Picture) -> Drawing:
    """Draw a picture with shapes, which `drawing` writes as SVG or PNG."""
    frame = Box(EDGE, TITLE_ROOM, WIDTH - 2 * EDGE, HEIGHT - TITLE_ROOM - CAPTION_ROOM)
    placed = [(frame.left + x, frame.top + y) for x, y in fit(picture.points, frame.width, frame.height)]
    asked = [place for place, point in enumerate(picture.points) if point.parent is None]
    inks = {place: GROUPS[order % len(GROUPS)] for order, place in enumerate(asked)}
    lines, leaders, discs, names = [], [], [], []
    for place, (spot, point) in enumerate(zip(placed, picture.points, strict=True)):
        ink = inks[place if point.parent is None else point.parent]
        if point.parent is not None:
            lines.append(Line(placed[point.parent], spot, Ink.LINE, 1.2))
        radius = 5.5 if point.parent is None else 3.5
        discs.append(Disc(spot, radius, ink, about=f"{point.name}  {point.about}".strip()))
    marks = [Box(x - MARK / 2, y - MARK / 2, MARK, MARK) for x, y in placed]
    sizes = [(columns(point.name) * LETTER * FONT, 1.25 * FONT) for point in picture.points]
    steps: list[Box] = []  # small boxes along the lines
    for line in lines:
        (x, y), (end_x, end_y) = line.start, line.end
        many = int(math.hypot(end_x - x, end_y - y) / STEP)
        along = ((x + (end_x - x) * step / many, y + (end_y - y) * step / many) for step in range(1, many))
        steps += [Box(left - 1, top - 1, 2, 2) for left, top in along]
    labels = place_labels(marks, sizes, frame, MARK / 3, (FONT / 2, MARK / 4), far=FAR, avoided=steps)
    for label, mark, point in zip(labels, marks, picture.points, strict=True):
        if label is None:
            continue
        name = _beside(label, mark, point.name, Ink.TEXT if point.parent is None else Ink.SOFT)
        if not label.grown(MARK, MARK).meets(mark):
            x, y = mark.left + MARK / 2, mark.top + MARK / 2
            near = min(max(x, label.left), label.left + label.width), min(max(y, label.top), label.top + label.height)
            leaders.append(Line(near, (x, y), Ink.SOFT, 0.8))
        names.append(name)
    room = WIDTH - 2 * EDGE
    title = Words((EDGE, 40), picture.title, fitted(picture.title, 18, room), bold=True)
    said = f"{_sentence(picture.caption)} {LEGEND}" if lines else _sentence(picture.caption)
    caption = Words((EDGE, HEIGHT - 24), said, fitted(said, 13, room), Ink.SOFT)
    return Drawing(picture.title, said, WIDTH, HEIGHT, [*lines, *leaders, *discs, *names, title, caption])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _beside(label: Box, mark: Box, name: str, ink: Ink) -> Words:
    """Write a name into its box; letters are narrower than the room kept for them, and stay near their mark."""
    baseline = label.top + FONT
    if label.left >= mark.left + mark.width:
        return Words((label.left, baseline), name, FONT, ink, halo=True)
    if label.left + label.width <= mark.left:
        return Words((label.left + label.width, baseline), name, FONT, ink, "end", halo=True)
    return Words((label.left + label.width / 2, baseline), name, FONT, ink, "middle", halo=True)
