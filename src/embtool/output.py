"""Results, described once and printed in every format.

A command describes what it found as a `Card` (one thing, in sections) or a `Listing` (many of a kind); each output
format is one function over that, named in `RENDERERS`. The terminal gets a rounded, abridged table; JSON, JSON Lines,
TSV and CSV get everything, in full precision.

Strings from a model's files can hold anything: control characters, bidirectional marks, terminal commands, markup. None
reaches a terminal as it is: every string printed passes through `printable` or `safe`, here, at the exit.

To add a format: write one function and name it in `RENDERERS`.
"""

import csv
import errno
import io
import json
import math
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

Record = Mapping[str, Any]

LONGEST_CELL = 60
"""Characters of one cell in a table on a terminal; machine formats cut nothing."""

MOST_MARKS = 3
"""Combining marks that may stack on one character on a terminal: no script needs more, and many hide other lines."""

LEAST_CELL = 10
"""Columns of a terminal that a text in a table keeps at least, if it is that long."""

GAPS = (3, 2)
"""Blanks between the columns of a table: the usual ones, and those where room is scarce."""

MOST_NAMED = 6
"""Columns named among those for which a terminal has no room; of more, the first."""

REPLACEMENT = "\ufffd"
"""What stands in a decoded text for bytes that are no character."""

ORNAMENTS = {"␣": "_", "×": "x", "…": "...", "·": "-", "–": "-", "─": "-", "→": "->", "≥": ">=", "█": "#", "•": "o"}
ORNAMENTS |= {"“": '"', "”": '"', "‖": "|", "√": "sqrt", "₀": "0", "₁": "1", "²": "^2"}
ORNAMENTS |= zip("▁▂▃▄▅▆▇", ".:-=+*%", strict=True)
"""Characters of this program's own that a stream may lack, and what stands for them then."""

MACHINE_WIDTH = 100
"""Columns of a table that is not printed on a terminal."""

PROSE_WIDTH = 88
"""Columns of a paragraph: longer lines are hard to read, however wide the terminal is."""


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    CSV = "csv"


@dataclass(frozen=True)
class Column:
    """One column: the record's `key`, its `title` on a terminal, and how the terminal abridges a value.

    With `spread`, the value is a list of that many numbers, which fill columns v0, v1, ... of TSV and CSV. `missing` is
    what a terminal shows where there is no value.

    Where a terminal is too narrow, texts are cut; numbers (`right`) and what is `whole` never are. If that is not
    enough, columns are left out: those of the least `worth` first, and of equals the last.
    """

    key: str
    title: str | None = None
    show: Callable[[Any], str] | None = None
    right: bool = False
    terminal: bool = True
    machine: bool = True
    style: str = ""
    spread: int | None = None
    missing: str = "–"
    whole: bool = False
    worth: int = 1

    @property
    def name(self) -> str:
        """What a sentence calls it: its title, or what its key says."""
        return self.title or ("bar" if self.title is not None and not self.machine else self.key)


@dataclass(frozen=True)
class Group:
    """Records that answer one question.

    `fields` are the keys of the object around them in JSON; `line` are the keys that each record gets in JSON Lines,
    TSV and CSV, so that a line can be used alone; `title` stands above them on a terminal, `after` below.
    """

    records: Sequence[Record]
    fields: Record = field(default_factory=dict)
    line: Record = field(default_factory=dict)
    title: str | None = None
    after: Sequence["str | RenderableType"] = ()


@dataclass(frozen=True)
class Listing:
    """Many results of a kind, group by group as they come.

    In JSON a group is an object in `groups_key` that holds its records in `records_key`; without `groups_key` the
    records of all groups stand in `records_key` at the top. `document` replaces that where the JSON shape is another,
    `terminal` where a reader is better served by another listing of the same.
    """

    command: str
    columns: Sequence[Column]
    groups: Iterable[Group]
    records_key: str
    groups_key: str | None = None
    context: Record = field(default_factory=dict)
    line: Record = field(default_factory=dict)
    document: Callable[[], Record] | None = None
    terminal: "Listing | None" = None


@dataclass(frozen=True)
class Section:
    """A part of a card: a title, and lines of a label and its value."""

    title: str
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Card:
    """One thing: its whole `document` for JSON, its `sections` for a reader, one flat `record` for TSV and CSV."""

    command: str
    title: str
    document: Record
    sections: Sequence[Section]
    record: Record


@dataclass(frozen=True)
class Deck:
    """Cards of a kind, as they come; in JSON they stand in a list, `key`, or without one the only card stands alone."""

    command: str
    cards: Iterable[Card]
    key: str | None


Result = Card | Deck | Listing


def emit(result: Result, output_format: Format, *, header: bool = True, stream: TextIO | None = None) -> None:
    """Print a result; each group or card is flushed as it comes."""
    RENDERERS[output_format](_deck(result), header=header, stream=stream or sys.stdout)


def _deck(result: Result) -> Deck | Listing:
    return Deck(result.command, [result], None) if isinstance(result, Card) else result


# --- strings of strangers ---------------------------------------------------------------------------------------------


def safe(text: str) -> str:
    r"""Escape every character that a terminal would obey or that no reader can see.

    >>> safe("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def printable(text: str) -> str:
    r"""Escape text so that it is safe, stands on one line, and can be read back with `unescape`.

    >>> printable("a\tb\\")
    'a\\tb\\\\'
    """
    return safe(text.replace("\\", "\\\\")) if "\\" in text else safe(text)


def unescape(text: str) -> str:
    r"""Undo `printable`: for those who read the TSV.

    >>> unescape(printable("a\tb\\\u2028"))
    'a\tb\\\u2028'
    """
    names = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}

    def character(match: re.Match[str]) -> str:
        digits = match[2] or match[3] or match[4]
        return chr(int(digits, 16)) if digits else names[match[1]]

    return re.sub(r"\\(?:([tnr\\])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))", character, text)


BYTE, PLANE = 0xFF, 0xFFFF


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    letter, digits = ("x", 2) if code <= BYTE else ("u", 4) if code <= PLANE else ("U", 8)
    return f"\\{letter}{code:0{digits}x}"


def visible(text: str | None) -> str:
    """Write a token for a reader: its spaces as ␣, everything unprintable escaped, stacks of marks cut."""
    return "" if text is None else _unstack(printable(text)).replace(" ", "␣")


def spelled(text: str, stored: str | None) -> str:
    """Give a token's text with those of its bytes that are no character by their numbers; `stored` are all, in hex.

    >>> spelled("a\ufffd", "61fe")
    'a<FE>'
    """
    if stored is None or REPLACEMENT not in text:
        return text
    decoded = bytes.fromhex(stored).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda lone: f"<{ord(lone[0]) - 0xDC00:02X}>", decoded)


def _unstack(text: str) -> str:
    """Escape the combining marks of a character beyond the first few."""
    if text.isascii():
        return text
    marks, result = 0, []
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        result.append(character if marks <= MOST_MARKS else f"\\u{ord(character):04x}")
    return "".join(result)


def abridge(text: str, longest: int = LONGEST_CELL) -> str:
    """Cut a text in the middle so that it has at most `longest` characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}…{text[len(text) - (longest - 1 - longest * 2 // 3) :]}"


def brief(text: str | None) -> str:
    """Write a token for a title: visible, and never longer than a cell."""
    return abridge(visible(text))


def count(number: int) -> str:
    """Write an integer for a reader: 248,320."""
    return f"{number:,}"


def size(nbytes: int) -> str:
    """Write a number of bytes for a reader, in decimal units: 2.54 GB."""
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":  # noqa: PLR2004 - decimal units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


PLAIN = re.compile(r"[\w./:=@+,-]+", re.ASCII)
"""An argument that every shell takes as it is."""

QUOTABLE = re.compile(r"""[^"$`!\\\x00-\x1f]+""")
"""An argument that double quotes are enough for, in every shell."""


def shell(arguments: Sequence[str]) -> str:
    r"""Write a command line as it can be typed, quoted only where it must be.

    >>> shell(["row", " pod", "-m", "mini"])
    'embtool row " pod" -m mini'
    """
    return " ".join(["embtool", *map(_quoted, arguments)])


def _quoted(argument: str) -> str:
    if PLAIN.fullmatch(argument):
        return argument
    return f'"{argument}"' if QUOTABLE.fullmatch(argument) else shlex.quote(argument)


# --- machine formats --------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """Turn a value into what JSON has: numpy numbers and arrays into Python's, NaN and infinity into None."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def to_json(value: Any) -> str:
    """Write a value as JSON on one line, in ASCII: no character of a stranger reaches a terminal."""
    return json.dumps(plain(value), ensure_ascii=True, allow_nan=False)


def _write_json(result: Deck | Listing, *, header: bool, stream: TextIO) -> None:
    del header
    print(to_json(document(result)), file=stream)


def document(result: Deck | Listing) -> Record:
    """Put together the one JSON document of a result."""
    schema = {"schema": f"embtool/{result.command}@1"}
    if isinstance(result, Deck):
        cards = [card.document for card in result.cards]
        return {**schema, **cards[0]} if result.key is None else {**schema, result.key: cards}
    if result.document is not None:
        return {**schema, **result.document()}
    if result.groups_key is None:
        records = [record for group in result.groups for record in group.records]
        return {**schema, **result.context, result.records_key: records}
    groups = [{**group.fields, result.records_key: list(group.records)} for group in result.groups]
    return {**schema, **result.context, result.groups_key: groups}


def _write_jsonl(result: Deck | Listing, *, header: bool, stream: TextIO) -> None:
    del header
    if isinstance(result, Deck):
        for card in result.cards:
            print(to_json(card.document), file=stream, flush=True)
        return
    for group in result.groups:
        for record in group.records:
            print(to_json({**result.line, **group.line, **record}), file=stream)
        stream.flush()


def cell(value: Any) -> str:
    """Write a value into a cell of TSV or CSV: whole, escaped, on one line."""
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return printable(json.dumps(value))
    return printable(value if isinstance(value, str) else repr(value))


def _lines(result: Deck | Listing) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the heads and the cells of each card or group; nothing before the first is answered, lest it fail."""
    if isinstance(result, Deck):
        for card in result.cards:
            yield list(card.record), [[cell(value) for value in card.record.values()]]
        return
    columns = [column for column in result.columns if column.machine]
    heads = [head for column in columns for head in _heads(column)]
    answered = False
    for group in result.groups:
        records = ({**group.line, **record} for record in group.records)
        yield heads, [[text for column in columns for text in _cells(column, record)] for record in records]
        answered = True
    if not answered:
        yield heads, []


def _heads(column: Column) -> list[str]:
    return [column.key] if column.spread is None else [f"v{place}" for place in range(column.spread)]


def _cells(column: Column, record: Record) -> list[str]:
    value = record.get(column.key)
    return [cell(value)] if column.spread is None else [cell(number) for number in plain(value)]


def _write_tsv(result: Deck | Listing, *, header: bool, stream: TextIO) -> None:
    for heads, lines in _lines(result):
        stream.writelines("\t".join(line) + "\n" for line in ([heads, *lines] if header else lines))
        header = False
        stream.flush()


def _write_csv(result: Deck | Listing, *, header: bool, stream: TextIO) -> None:
    for heads, lines in _lines(result):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([heads, *lines] if header else lines)
        stream.write(buffer.getvalue())
        header = False
        stream.flush()


# --- the terminal -----------------------------------------------------------------------------------------------------


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
    encoding = getattr(stream, "encoding", None) or "utf-8"
    for ornament, substitute in ORNAMENTS.items():
        if ornament in text and not _encodes(ornament, encoding):
            text = text.replace(ornament, substitute)
    return text


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write_table(result: Deck | Listing, *, header: bool, stream: TextIO) -> None:
    console = make_console(stream)
    if isinstance(result, Deck):
        for order, card in enumerate(result.cards):
            if order:
                console.print()
            _print_card(card, console, stream)
        return
    listing = result.terminal or result
    columns = [column for column in listing.columns if column.terminal]
    for order, group in enumerate(listing.groups):
        if order:
            console.print()
        _print_group(group, columns, console, stream, header=header)
        stream.flush()


def _print_group(group: Group, columns: Sequence[Column], console: "Console", stream: TextIO, *, header: bool) -> None:
    if group.title is not None:
        _print_hanging(group.title, 2, console, stream, style="bold")
    if group.records and columns:
        _Grid(columns, group.records, console, stream, header=header).print()
    for extra in group.after:
        if isinstance(extra, str):
            _print_hanging(extra, _indent(extra), console, stream)
        else:
            console.print(extra)


class _Grid:
    """Records as a table that fits a terminal."""

    def __init__(
        self, columns: Sequence[Column], records: Sequence[Record], console: "Console", stream: TextIO, *, header: bool
    ) -> None:
        from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - as above

        self._console = console
        self._stream = stream
        self._header = header
        self._measure, self._resize = cell_len, set_cell_size
        self._columns = columns
        titles = [column.title if column.title is not None else column.key for column in columns]
        self._titles = [self._text(title) for title in titles]
        self._cells = [[self._text(_shown(column, record)) for record in records] for column in columns]
        self._full, self._least = self._extents()
        self._kept, self._gap = self._choose()
        self._widths = self._share()

    def _text(self, text: str) -> str:
        return encodable(safe(text), self._stream)

    def _extents(self) -> tuple[list[int], list[int]]:
        """Measure each column: as it is, and as narrow as it may become."""
        full, least = [], []
        for column, title, cells in zip(self._columns, self._titles, self._cells, strict=True):
            head = self._measure(title) if self._header else 0
            body = max(map(self._measure, cells))
            full.append(max(head, body))
            firm = body if column.right or column.whole else min(body, LEAST_CELL)
            least.append(max(firm, min(head, LEAST_CELL)))
        return full, least

    def _choose(self) -> tuple[list[int], int]:
        """Choose the places of the columns that fit, the worthiest first and one at least, and the gap between them."""
        for gap in GAPS:
            if self._needs(self._full, gap) <= self._console.width:
                return list(range(len(self._columns))), gap
        kept: list[int] = []
        for place in sorted(range(len(self._columns)), key=lambda place: -self._columns[place].worth):
            wanted = [*kept, place]
            if not kept or self._needs([self._least[each] for each in wanted], gap) <= self._console.width:
                kept = wanted
        return sorted(kept), gap

    def _needs(self, widths: Sequence[int], gap: int) -> int:
        return 1 + sum(widths) + gap * (len(widths) - 1)

    def _share(self) -> list[int]:
        """Give each column that is kept its width: the widest texts shrink first."""
        widths = [self._full[place] for place in self._kept]
        over = self._needs(widths, self._gap) - self._console.width
        for _ in range(over):
            soft = [each for each, place in enumerate(self._kept) if widths[each] > self._least[place]]
            if not soft:
                break
            widths[max(soft, key=lambda each: widths[each])] -= 1
        return widths

    def print(self) -> None:
        """Print the table, no blanks at the ends of its lines, and name the columns for which there is no room."""
        columns = [self._columns[place] for place in self._kept]
        self._console.print()
        if self._header:
            self._line([self._titles[place] for place in self._kept], ["dim"] * len(columns))
            self._print(self._text(" " + "─" * (self._needs(self._widths, self._gap) - 1)))
        styles = [column.style for column in columns]
        for cells in zip(*(self._cells[place] for place in self._kept), strict=True):
            self._line(cells, styles)
        self._console.print()
        left_out = [column.name for place, column in enumerate(self._columns) if place not in self._kept]
        if left_out:
            named = ", ".join(left_out[:MOST_NAMED])
            more = f" and {count(len(left_out) - MOST_NAMED)} more" if len(left_out) > MOST_NAMED else ""
            note = f"  no room for {named}{more}: a wider terminal shows more, -f tsv all"
            _print_hanging(note, 2, self._console, self._stream)

    def _line(self, cells: Sequence[str], styles: Sequence[str]) -> None:
        from rich.text import Text  # noqa: PLC0415 - as above

        line = Text(" ")
        for order, (place, text, style) in enumerate(zip(self._kept, cells, styles, strict=True)):
            shown = self._cut(text, self._widths[order])
            blank = " " * (self._widths[order] - self._measure(shown))
            line.append(" " * self._gap if order else "")
            line.append(blank if self._columns[place].right else "").append(shown, style)
            line.append("" if self._columns[place].right else blank)
        self._print(line)

    def _cut(self, text: str, width: int) -> str:
        if self._measure(text) <= width:
            return text
        mark = self._text("…")
        return self._resize(text, width - len(mark)).rstrip() + mark

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
    for order, line in enumerate(rest.wrap(console, max(console.width - max(indent, label.cell_len), 1))):
        _print_line(label + line if not order else Text(" " * indent) + line, console)


def _indent(line: str) -> int:
    """Find where the text of a line begins: behind its blanks, and behind a label that blanks stand after."""
    found = re.match(r" *(?:\S+ {2,})?", line)
    return len(found[0]) if found is not None and found[0] != line else 0


def _shown(column: Column, record: Record) -> str:
    value = record.get(column.key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return column.missing
    if column.key == "token" and isinstance(value, str):
        value = spelled(value, record.get("bytes"))
    return abridge(column.show(value) if column.show is not None else str(value))


def _print_card(card: Card, console: "Console", stream: TextIO) -> None:
    _print_hanging(card.title, 0, console, stream, style="bold")
    width = max((len(label) for section in card.sections for label, _ in section.lines), default=0)
    for section in card.sections:
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

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Print a paragraph."""
        for part in self._text(text, style).wrap(self._console, self._width - indent):
            part.rstrip()
            part.pad_left(indent)
            self._console.print(part, soft_wrap=True)

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


Renderer = Callable[..., None]

RENDERERS: dict[Format, Renderer] = {
    Format.TABLE: _write_table,
    Format.JSON: _write_json,
    Format.JSONL: _write_jsonl,
    Format.TSV: _write_tsv,
    Format.CSV: _write_csv,
}
