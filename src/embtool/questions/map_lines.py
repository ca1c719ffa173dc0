"""A map drawn with characters: every point, its name beside it or at the end of a leader, on as many lines as it takes.

Each height is tried, the flattest first, until every name has its place. Where not even the highest picture has room,
names are listed by what they belong to instead: a list can be read, and a crowd cannot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from embtool.picture import CHARACTER_ASPECT, Picture, Point, columns, fit

Span = tuple[str, str]
"""A text and its style."""

STYLES = ("cyan", "magenta", "yellow", "green", "red", "blue")
"""Of a query and its neighbours, in turn."""

LEAST_LINES = 5

CELLS_ASIDE = 3
"""How far a mark may stand from where its point falls, where another has its cell."""

ASIDE = sorted(
    ((across, down) for across in range(-CELLS_ASIDE, CELLS_ASIDE + 1) for down in (0, 1, -1)),
    key=lambda way: (abs(way[0]) + 2 * abs(way[1]), way),
)
"""The ways there, the shortest first."""

REACH = 24
"""Columns that a leader bridges at most."""

MOST_DRAWN = 60
"""Points that are drawn; more names than these are no picture."""

WAYS_DOWN = (0, 1, -1, 2, -2, 3, -3)
"""Lines that a leader goes down, the best first."""

TRIED = 12
"""Heights tried, about."""

LEADER_COST, LINE_COST, TOUCH_COST, STRETCH_COST = 1.0, 1.5, 4.0, 8.0
"""What a cell of a leader, a line of the picture, two marks side by side, and axes of two scales cost: the cheapest
picture that names every point is drawn."""

LEFT_OUT = 0.25
"""The share of names without a place from which on a list is better than a picture."""

Cell = tuple[int, int]


@dataclass
class _Grid:
    """Cells of a picture: what stands in each, and the group that it belongs to."""

    width: int
    height: int
    cells: dict[Cell, tuple[str, int | None]] = field(default_factory=dict)

    def has_room(self, left: int, size: int, line: int) -> bool:
        """Return whether a name fits here, with a blank before and behind it."""
        beside = ((left - 1, line), (left + size, line))
        return self.is_free(left, left + size, line) and not any(cell in self.cells for cell in beside)

    def is_free(self, left: int, right: int, line: int) -> bool:
        """Return whether cells of a line are inside and empty."""
        inside = 0 <= line < self.height and left >= 0 and right <= self.width
        return inside and not any((column, line) in self.cells for column in range(left, right))

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
        tall = max(most_lines, LEAST_LINES)
        heights = range(LEAST_LINES, tall + 1, max(1, (tall - LEAST_LINES) // TRIED))
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
    placed = fit(points, width, height * CHARACTER_ASPECT, is_equal=is_equal)
    marks: dict[int, Cell] = {}
    for place, (x, y) in enumerate(placed):
        wanted = (min(max(int(x), 0), width - 1), min(max(int(y / CHARACTER_ASPECT), 0), height - 1))
        cell = next((cell for cell in _around(wanted) if grid.is_free(cell[0], cell[0] + 1, cell[1])), None)
        if cell is not None:
            marks[place] = cell
            grid.write("•" if points[place].parent is None else "·", *cell, _group(points, place))
    unnamed, leaders = [point for place, point in enumerate(points) if place not in marks], 0
    for place in sorted(marks, key=lambda place: points[place].parent is not None):  # what was typed chooses first
        name, group = points[place].name, _group(points, place)
        spot = next(_spots(grid, marks[place], columns(name)), None)
        if spot is None:
            unnamed.append(points[place])
            continue
        left, line, leader = spot
        for cell in leader:
            grid.write("┄", *cell, group)
        grid.write(name, left, line, group)
        leaders += len(leader)
    cropped = _cropped(grid)
    touching = sum((x + 1, y) in marks.values() for x, y in marks.values())
    cost = LEADER_COST * leaders + LINE_COST * cropped.height + TOUCH_COST * touching + STRETCH_COST * (not is_equal)
    return _Attempt(cropped, unnamed, cost)


def _group(points: Sequence[Point], place: int) -> int:
    """Return the number of the query that a point belongs to, among the queries."""
    parent = points[place].parent
    return sum(point.parent is None for point in points[: place if parent is None else parent])


def _around(cell: Cell) -> Iterator[Cell]:
    """Yield a cell and those around it, the nearest first."""
    near = range(-CELLS_ASIDE, CELLS_ASIDE + 1)
    for across, down in sorted(
        ((a, d) for a in near for d in near), key=lambda way: (abs(way[0]) + 2 * abs(way[1]), way)
    ):
        yield cell[0] + across, cell[1] + down


def _spots(grid: _Grid, mark: Cell, size: int) -> Iterator[tuple[int, int, list[Cell]]]:
    """Yield places for a name of `size` columns: its first column, its line, and the cells of its leader."""
    x, y = mark
    for reach in (1, *range(3, REACH, 2)):
        for down in (0,) if reach == 1 else WAYS_DOWN:
            for step in (1, -1):
                left = x + reach + 1 if step > 0 else x - reach - size
                path = [(x + step * far, y + round(down * far / reach)) for far in range(1, reach)]
                is_clear = all(grid.is_free(column, column + 1, line) for column, line in path)
                if is_clear and grid.has_room(left, size, y + down):
                    yield left, y + down, path


def _cropped(grid: _Grid) -> _Grid:
    """Take away the lines above and below everything."""
    used = [line for _, line in grid.cells]
    first, last = min(used, default=0), max(used, default=0)
    moved = {(column, line - first): value for (column, line), value in grid.cells.items()}
    return _Grid(grid.width, last - first + 1, moved)


def _listed(points: Sequence[Point]) -> Iterator[str]:
    """Yield a paragraph for each query with its neighbours, from left to right, and one for those without."""
    yield "  too many names for this room; from left to right:"
    order = sorted(range(len(points)), key=lambda place: points[place].x)
    near = {place: [points[each].name for each in order if points[each].parent == place] for place in order}
    yield from (f"  • {points[place].name}: {', '.join(near[place])}" for place in order if near[place])
    alone = [points[place].name for place in order if not near[place] and points[place].parent is None]
    if alone:
        yield f"  • {', '.join(alone)}"
