"""Answers on a terminal: tables that fit it, cards, prose, and a bar for what takes long.

Only this module draws with rich. It interprets nothing in the texts it is given, and every one is made safe.
"""

import errno
import io
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from embtool.answers.answer import Answer, Block, Section
from embtool.answers.fields import Column
from embtool.answers.text import ARROWS, abridge, count, safe, spelled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LEAST_CELL = 10
"""Columns of a terminal that a text in a table keeps at least, if it is that long."""

GAPS = (3, 2)
"""Blanks between the columns of a table: the usual ones, and those where room is scarce."""

MOST_NAMED = 6
"""Columns named among those for which a terminal has no room; of more, the first."""

ORNAMENTS = {"␣": "_", "×": "x", "…": "...", "·": "-", "–": "-", "─": "-", "→": "->", "≥": ">=", "█": "#", "•": "o"}
ORNAMENTS |= {"“": '"', "”": '"', "┄": ".", "‖": "|", "│": "|", "√": "sqrt", "₀": "0", "₁": "1", "²": "^2"}
ORNAMENTS |= zip("▁▂▃▄▅▆▇", ".:-=+*%", strict=True)
ORNAMENTS |= zip("▏▎▍▌▋▊▉", (".", ".", ":", ":", "+", "+", "+"), strict=True)
"""Characters of this program's own that a stream may lack, and what stands for them then."""

COMPASS = dict(zip(ARROWS, ("E", "NE", "N", "NW", "W", "SW", "S", "SE"), strict=True))
"""What stands for the arrows of dials where a stream lacks them."""

MACHINE_WIDTH = 100
"""Columns of a table that is not printed on a terminal."""

PROSE_WIDTH = 88
"""Columns of a paragraph: longer lines are hard to read, however wide the terminal is."""


def make_console(stream: TextIO) -> "Console":
    """Make a console that obeys NO_COLOR, FORCE_COLOR and TERM, and interprets nothing in the text it is given."""
    from rich.console import Console  # noqa: PLC0415 - 50 ms that machine formats need not pay

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:  # rich would end the program here, with status 1
            raise BrokenPipeError(errno.EPIPE, "the reader went away")

    console = PipeConsole(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:  # noqa: SLF001 - rich has no public way to ask
        console.width = MACHINE_WIDTH
    return console


def encodable(text: str, stream: TextIO) -> str:
    """Replace this program's own ornaments where a stream's encoding lacks them."""
    for ornament, substitute in ORNAMENTS.items():
        if ornament in text and not _encodes(ornament, _encoding(stream)):
            text = text.replace(ornament, substitute)
    return text


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def print_blocks(
    blocks: Iterable[Block], console: "Console", stream: TextIO, *, header: bool = True, whole: bool = False
) -> None:
    """Print blocks, an empty line between them; each is flushed as it comes. `whole` cuts no column and no text."""
    for order, block in enumerate(blocks):
        if order:
            console.print()
        if block.title is not None:
            _print_hanging(block.title, 0 if block.sections else 2, console, stream, style="bold")
        if block.records and block.columns:
            _Grid(block.columns, block.records, console, stream, header=header, whole=whole).print()
        _print_sections(block.sections, console, stream)
        for extra in block.after:
            if isinstance(extra, str):
                begun = re.match(r" *(?:• |\S+ {2,})?", extra)  # blanks, and a label that blanks stand after
                indent = len(begun[0]) if begun is not None and begun[0] != extra else 0
                _print_hanging(extra, indent, console, stream)
            elif isinstance(extra, tuple):
                from rich.text import Text  # noqa: PLC0415 - as above

                _print_line(Text.assemble(*((encodable(safe(text), stream), style) for text, style in extra)), console)
            else:
                console.print(extra)
        stream.flush()


def as_text(answer: Answer) -> str:
    """Return what a terminal shows of an answer, without colour."""
    stream = io.StringIO()
    print_blocks(answer.blocks(), make_console(stream), stream)
    return stream.getvalue().strip("\n")


class _Grid:
    """Records as a table that fits a terminal."""

    def __init__(
        self,
        columns: Sequence[Column],
        records: Sequence[Mapping[str, Any]],
        console: "Console",
        stream: TextIO,
        *,
        header: bool,
        whole: bool,
    ) -> None:
        from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - as above

        self._console = console
        self._stream = stream
        self._header = header
        self._whole = whole
        self._width = sys.maxsize if whole else console.width
        self._is_cut = False
        self._measure, self._resize = cell_len, set_cell_size
        self._columns = columns
        titles = [column.title if column.title is not None else column.key for column in columns]
        self._titles = [self._text(title) for title in titles]
        self._cells = [[self._cell(column, record) for record in records] for column in columns]
        self._styles = [[styled(column, record) for record in records] for column in columns]
        # Each column as it is, and as narrow as it may become.
        full, least = [], []
        for column, title, cells in zip(self._columns, self._titles, self._cells, strict=True):
            head = self._measure(title) if self._header else 0
            body = max(map(self._measure, cells))
            full.append(max(head, body))
            firm = body if column.right or column.whole else min(body, LEAST_CELL)
            least.append(max(firm, min(head, LEAST_CELL)))
        self._full, self._least = full, least
        self._kept, self._gap = self._choose()
        # Each column that is kept gets its width: the widest texts shrink first.
        widths = [self._full[place] for place in self._kept]
        over = self._needs(widths, self._gap) - self._width
        for _ in range(over):
            soft = [each for each, place in enumerate(self._kept) if widths[each] > self._least[place]]
            if not soft:
                break
            widths[max(soft, key=lambda each: widths[each])] -= 1
        self._widths = widths

    def _text(self, text: str) -> str:
        return encodable(safe(text), self._stream)

    def _cell(self, column: Column, record: Mapping[str, Any]) -> str:
        """Return what a cell shows; dials as points of the compass where the stream lacks arrows."""
        text = shown(column, record, whole=self._whole)
        if not column.machine and COMPASS.keys() >= set(text) and not _encodes(ARROWS, _encoding(self._stream)):
            return " ".join(COMPASS[arrow] for arrow in text)
        return self._text(text)

    def _choose(self) -> tuple[list[int], int]:
        """Choose the places of the columns that fit, the worthiest first and one at least, and the gap between them."""
        for gap in GAPS:
            if self._needs(self._full, gap) <= self._width:
                return list(range(len(self._columns))), gap
        kept: list[int] = []
        for place in sorted(range(len(self._columns)), key=lambda place: -self._columns[place].worth):
            wanted = [*kept, place]
            if not kept or self._needs([self._least[each] for each in wanted], gap) <= self._width:
                kept = wanted
        return sorted(kept), gap

    def _needs(self, widths: Sequence[int], gap: int) -> int:
        return 1 + sum(widths) + gap * (len(widths) - 1)

    def print(self) -> None:
        """Print the table, no blanks at the ends of its lines, and name the columns for which there is no room."""
        columns = [self._columns[place] for place in self._kept]
        self._console.print()
        if self._header:
            self._line([self._titles[place] for place in self._kept], ["dim"] * len(columns))
            self._print(self._text(" " + "─" * (self._needs(self._widths, self._gap) - 1)))
        shown, styles = ([held[place] for place in self._kept] for held in (self._cells, self._styles))
        for cells, looks in zip(zip(*shown, strict=True), zip(*styles, strict=True), strict=True):
            wrapped = [
                folded(text, width) if column.prose and self._measure(text) > width else [text]
                for column, text, width in zip(columns, cells, self._widths, strict=True)
            ]
            for line in zip_longest(*wrapped, fillvalue=""):
                self._line(line, looks)
        self._console.print()
        left_out = [column.name for place, column in enumerate(self._columns) if place not in self._kept]
        if left_out:
            named = ", ".join(left_out[:MOST_NAMED])
            more = f" and {count(len(left_out) - MOST_NAMED)} more" if len(left_out) > MOST_NAMED else ""
            note = f"  no room for {named}{more}: a wider terminal shows more, --no-truncate or -f tsv all"
            _print_hanging(note, 2, self._console, self._stream)
        elif self._is_cut:
            _print_hanging("  texts are cut: --no-truncate shows them whole", 2, self._console, self._stream)

    def _line(self, cells: Sequence[str], styles: Sequence[str]) -> None:
        from rich.text import Text  # noqa: PLC0415 - as above

        line = Text(" ")
        for order, (place, text, style) in enumerate(zip(self._kept, cells, styles, strict=True)):
            width = self._widths[order]
            if self._measure(text) <= width:
                shown = text
            else:
                self._is_cut = True
                mark = self._text("…")
                shown = self._resize(text, width - len(mark)).rstrip() + mark
            blank = " " * (self._widths[order] - self._measure(shown))
            line.append(" " * self._gap if order else "")
            line.append(blank if self._columns[place].right else "").append(shown, style)
            line.append("" if self._columns[place].right else blank)
        self._print(line)

    def _print(self, line: "str | Text") -> None:
        _print_line(line, self._console)


def _print_line(line: "str | Text", console: "Console") -> None:
    """Print a line as it is, however long, without the blanks at its end."""
    from rich.text import Text  # noqa: PLC0415 - as above

    text = Text(line) if isinstance(line, str) else line
    text.rstrip()
    console.print(text, soft_wrap=True)


def _print_hanging(
    text: str, indent: int, console: "Console", stream: TextIO, *, style: str = "", label_style: str = ""
) -> None:
    """Print a paragraph whose lines after the first are indented; what stands in that room on the first is a label."""
    from rich.text import Text  # noqa: PLC0415 - as above

    shown = Text(encodable(safe(text), stream), style=style)
    label, rest = shown.divide([indent])
    label.stylize(label_style)
    for order, line in enumerate(folded(rest.plain, max(console.width - max(indent, label.cell_len), 1))):
        _print_line((label if not order else Text(" " * indent)) + Text(line, style=style), console)


PIECE = re.compile(r" *(?:[^ ]| %)+")
"""The blanks before a word and the word; a percent sign stays with its number."""

JOINT = re.compile(r"[./_:,-](?=.)")
"""Where a name that is wider than a line is broken."""


def folded(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` columns, at blanks, and a longer name behind a dot, dash or slash.

    >>> folded("tensor model.embed_tokens.weight is 50 % of it", 20)
    ['tensor', 'model.embed_tokens.', 'weight is 50 % of it']
    """
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    lines, line = [], ""
    for piece in PIECE.findall(text):
        if cell_len(line + piece) <= width:
            line += piece
            continue
        lines.append(line)
        line = piece.lstrip()
        while cell_len(line) > width:
            room = _room(line, width)
            cut = max((found.end() for found in JOINT.finditer(line, 0, room + 1) if found.end() <= room), default=room)
            lines.append(line[:cut])
            line = line[cut:]
    return [each for each in [*lines, line] if each] or [""]


def _room(text: str, width: int) -> int:
    """Count the characters of a text that fill `width` columns, one at least."""
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    filled = 0
    for place, character in enumerate(text):
        filled += cell_len(character)
        if filled > width:
            return max(place, 1)
    return len(text)


def shown(column: Column, record: Mapping[str, Any], *, whole: bool = False) -> str:
    """Return what a cell shows of a record."""
    if column.key not in record:
        return ""
    value = record[column.key]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return column.missing
    if column.key == "token" and isinstance(value, str):
        value = spelled(value, record.get("bytes"))
    text = column.show(value) if column.show is not None else str(value)
    return text if whole or column.prose else abridge(text)


def styled(column: Column, record: Mapping[str, Any]) -> str:
    """Return how a cell looks."""
    return column.style if isinstance(column.style, str) else column.style(record.get(column.key))


def _print_sections(sections: Sequence[Section], console: "Console", stream: TextIO) -> None:
    width = max((len(label) for section in sections for label, _ in section.lines), default=0)
    for section in sections:
        if not section.lines:
            continue
        console.print()
        if section.title:
            _print_hanging(section.title, 0, console, stream, style="bold cyan")
        for label, value in section.lines:
            head = f"  {safe(label)}".ljust(width + 4)
            _print_hanging(head + value, len(head), console, stream, label_style="dim")


class Page:
    """Prose for a reader: paragraphs wrapped to the terminal, command lines in one piece, every text escaped."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console = make_console(self._stream)
        self._width = min(self._console.width, PROSE_WIDTH)

    @property
    def width(self) -> int:
        """How many columns a paragraph has."""
        return self._width

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Print a paragraph."""
        for part in folded(self._text(text, style).plain, self._width - indent):
            self._console.print(self._text(" " * indent + part, style), soft_wrap=True)

    def line(self, text: str, style: str = "") -> None:
        """Print one line as it is, however long, so that it can be copied."""
        self._console.print(self._text(text, style), soft_wrap=True)

    def prompt(self, text: str) -> None:
        """Print what stands before an answer that is typed."""
        self._stream.write(encodable(safe(text), self._stream))
        self._stream.flush()

    def gap(self) -> None:
        """Print an empty line."""
        self._console.print()

    def _text(self, text: str, style: str) -> "Text":
        from rich.text import Text  # noqa: PLC0415 - as above

        return Text(encodable(safe(text), self._stream), style=style)


class Bar:
    """How far a long fetch is, as a line on a terminal: percent, size, rate and time left. Elsewhere it is silent."""

    def __init__(self, stream: TextIO) -> None:
        self._progress: Any = None
        console = make_console(stream)
        if console.is_terminal and not console.is_dumb_terminal:
            from rich import progress  # noqa: PLC0415 - as above

            self._progress = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._progress.start()
        self._tasks: dict[str, Any] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` bytes of something are here."""
        if self._progress is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(abridge(safe(what)), total=total)
        self._progress.update(self._tasks[what], completed=done)

    def close(self) -> None:
        """Take the line away."""
        if self._progress is not None:
            self._progress.stop()
