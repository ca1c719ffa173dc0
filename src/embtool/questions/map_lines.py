"""A map drawn with characters: every point, its name beside it or at the end of a leader, in the colour of its query.

Each height is tried, up to what so many names need, and the picture that moves marks and stretches leaders least is
drawn. Where not even that has room, names are listed by what they belong to instead: a list can be read, and a crowd
cannot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from embtool.drawings.picture import CHARACTER_ASPECT, Picture, Point, columns, fit

Span = tuple[str, str]
"""A text and its style."""

STYLES = ("cyan", "magenta", "yellow", "green", "red", "blue")
"""Of a query and its neighbours, in turn."""

LEAST_LINES = 5

LINES_EACH = 2
"""Lines of a picture for each point: with more it would only be emptier."""

ASIDE = sorted(
    ((across, down) for across in range(-4, 5) for down in range(-3, 4)),
    key=lambda way: (abs(way[0]) + 2 * abs(way[1]), way),
)
"""How far a mark may stand from where its point falls, where it or its name has no room there; the nearest first."""

LONGEST_LEADER = 20

MOST_DRAWN = 60
"""Points that are drawn; more names than these are no picture."""

TRIED = 12
"""Heights tried, about."""

MOVE_COST, LEADER_COST, LINE_COST, STRETCH_COST = 2.0, 1.0, 0.75, 8.0
"""What a mark that stands a column aside, a cell of a leader, a line beyond the usual ones, and axes of two scales
cost; the cheapest picture that names every point is drawn."""

COLUMNS_A_LINE = 6
"""A picture has usually one line for so many columns: of more, most would be empty."""

LEFT_OUT = 0.25
"""The share of names without a place from which on a list is better than a picture."""

Cell = tuple[int, int]


class _Spot(NamedTuple):
    """Where a name can stand: what that costs, the cell of its mark, its first column, and the leader between."""

    cost: float
    mark: Cell
    name: int
    leader: int
    leader_from: int


@dataclass
class _Grid:
    """Cells of a picture: what stands in each, and the group that it belongs to."""

    width: int
    height: int
    cells: dict[Cell, tuple[str, int | None]] = field(default_factory=dict)

    def is_free(self, left: int, right: int, line: int) -> bool:
        """Return whether cells of a line are inside and empty."""
        inside = 0 <= line < self.height and left >= 0 and right <= self.width
        return inside and not any((column, line) in self.cells for column in range(left, right))

    def has_room(self, left: int, right: int, line: int, *, name_first: bool) -> bool:
        """Return whether a mark and its name fit here, a blank beyond the name, and beyond that no other name."""
        far, farther, behind = (left - 1, left - 2, right) if name_first else (right, right + 1, left - 1)
        if not self.is_free(left, right, line) or (far, line) in self.cells:
            return False
        return all(self.cells.get((column, line), " ")[0] in " •·" for column in (farther, behind))

    def write(self, text: str, left: int, line: int, group: int | None) -> None:
        """Write a text into the cells of a line; what has no width joins the character before it."""
        column = left
        for character in text:
            wide = columns(character)
            if wide == 0:
                before = self.cells.get((column - 1, line), ("", group))
                self.cells[column - 1, line] = (before[0] + character, group)
                continue
            self.cells[column, line] = (character, group)
            for more in range(1, wide):
                self.cells[column + more, line] = ("", group)
            column += wide

    def spans(self, line: int) -> tuple[Span, ...]:
        """Return a line as texts of one style each."""
        found: list[tuple[str, int | None]] = []
        last = max((column for column, at in self.cells if at == line), default=-1)
        for column in range(last + 1):
            text, group = self.cells.get((column, line), (" ", None))
            if found and found[-1][1] == group:
                found[-1] = (found[-1][0] + text, group)
            else:
                found.append((text, group))
        return tuple((text, "" if group is None else STYLES[group % len(STYLES)]) for text, group in found)


def draw(picture: Picture, width: int, most_lines: int) -> list[tuple[Span, ...] | str]:
    """Draw a picture on lines of at most `width` columns, `most_lines` of them at most, or list what is in it."""
    points = picture.points
    if len(points) <= MOST_DRAWN:
        wanted = max(min(most_lines, LINES_EACH * (len(points) + 3)), LEAST_LINES)
        heights = range(wanted, LEAST_LINES - 1, -max(1, wanted // TRIED))
        tried = [_attempt(points, width, height, is_equal=way) for way in (True, False) for height in heights]
        whole = [attempt for attempt in tried if not attempt.unnamed]
        if whole:
            return [*min(whole, key=lambda attempt: attempt.cost).lines()]
        least = min(tried, key=lambda attempt: len(attempt.unnamed))
        if len(least.unnamed) <= LEFT_OUT * len(points):
            names = ", ".join(point.name for point in least.unnamed)
            return [*least.lines(), ((f"  no room for the names of {names}", "dim"),)]
    return [*_listed(points)]


@dataclass(frozen=True)
class _Attempt:
    """A picture of one height."""

    grid: _Grid
    unnamed: list[Point]
    cost: float

    def lines(self) -> list[tuple[Span, ...]]:
        return [self.grid.spans(line) for line in range(self.grid.height)]


def _attempt(points: Sequence[Point], width: int, height: int, *, is_equal: bool) -> _Attempt:
    """Place marks and names at one height, and take away the lines above and below everything."""
    grid = _Grid(width, height)
    marks: dict[int, Cell] = {}
    for place, (x, y) in enumerate(fit(points, width, height * CHARACTER_ASPECT, is_equal=is_equal)):
        wanted = (min(max(int(x), 0), width - 1), min(max(int(y / CHARACTER_ASPECT), 0), height - 1))
        around = ((wanted[0] + across, wanted[1] + down) for across, down in ASIDE)
        cell = next((cell for cell in around if grid.is_free(cell[0], cell[0] + 1, cell[1])), None)
        if cell is not None:
            marks[place] = cell
            parent = points[place].parent
            group = sum(point.parent is None for point in points[: place if parent is None else parent])
            grid.write("•" if parent is None else "·", *cell, group)
    unnamed, cost = [point for place, point in enumerate(points) if place not in marks], STRETCH_COST * (not is_equal)
    for place in sorted(marks, key=lambda place: points[place].parent is not None):  # what was typed chooses first
        name, mark = points[place].name, grid.cells.pop(marks[place])
        spot = _spot(grid, marks[place], columns(name))
        grid.cells[marks[place] if spot is None else spot.mark] = mark
        if spot is None:
            unnamed.append(points[place])
            continue
        cost += spot.cost
        grid.write("┄" * spot.leader, spot.leader_from, spot.mark[1], mark[1])
        grid.write(name, spot.name, spot.mark[1], mark[1])
    used = [line for _, line in grid.cells]
    first, last = min(used, default=0), max(used, default=0)
    moved = {(column, line - first): value for (column, line), value in grid.cells.items()}
    cropped = _Grid(grid.width, last - first + 1, moved)
    cost += LINE_COST * max(cropped.height - width // COLUMNS_A_LINE, 0)
    return _Attempt(cropped, unnamed, cost)


WAYS = sorted(
    (MOVE_COST * (abs(across) + CHARACTER_ASPECT * abs(down)) + LEADER_COST * leader, across, down, leader, side)
    for across, down in ASIDE
    for leader in (0, *range(1, LONGEST_LEADER, 2))
    for side in (0, 1)
)
"""Every way to stand: its cost, how far the mark moves, the cells of the leader, and 0 for a name on the right."""


def _spot(grid: _Grid, wanted: Cell, size: int) -> _Spot | None:
    """Find the cheapest place for a mark and its name of `size` columns, in one line, with blanks on both sides."""
    for cost, across, down, leader, side in WAYS:
        x, y = wanted[0] + across, wanted[1] + down
        apart = leader + 1  # the leader and a blank
        if side == 0 and grid.has_room(x, x + apart + size + 1, y, name_first=False):
            return _Spot(cost, (x, y), x + apart + 1, leader, x + 1)
        if side == 1 and grid.has_room(x - apart - size, x + 1, y, name_first=True):
            return _Spot(cost, (x, y), x - apart - size, leader, x - leader)
    return None


def _listed(points: Sequence[Point]) -> Iterator[str]:
    """Yield a paragraph for each query with its neighbours, from left to right, and one for each part of the others."""
    yield "  too many names for this room; from left to right:"
    order = sorted(range(len(points)), key=lambda place: points[place].x)
    near = {place: [points[each].name for each in order if points[each].parent == place] for place in order}
    yield from (f"  • {points[place].name}: {', '.join(near[place])}" for place in order if near[place])
    alone = [points[place] for place in order if not near[place] and points[place].parent is None]
    inside: dict[str, list[str]] = {part: [] for part in PARTS}
    for point in alone:
        across, up = _third(point.x, [each.x for each in points]), _third(point.y, [each.y for each in points])
        inside[PARTS[len(ACROSS) * (2 - up) + across]].append(point.name)
    yield from (f"  • {part}: {', '.join(names)}" for part, names in inside.items() if names)


ACROSS, DOWN = ("left", "middle", "right"), ("top", "middle", "bottom")
PARTS = [" ".join(dict.fromkeys((down, across))) for down in DOWN for across in ACROSS]
"""The nine parts of a picture, line by line."""


def _third(value: float, among: Sequence[float]) -> int:
    least, spread = min(among), max(among) - min(among)
    return min(int(3 * (value - least) / spread), 2) if spread else 1
