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

ORNAMENTS = {"␣": "_", "×": "x", "…": "...", "·": "-", "–": "-", "→": "->", "≥": ">=", "█": "#", "•": "o"}
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
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def text(value: str, style: str = "") -> Text:
        return Text(encodable(safe(value), stream), style=style, no_wrap=True, overflow="ellipsis")

    if group.title is not None:
        console.print(text(group.title, "bold"))
    if group.records and columns:
        table = Table(box=box.SIMPLE_HEAD, show_header=header, pad_edge=False, header_style="dim")
        for column in columns:
            title = text(column.title if column.title is not None else column.key)
            table.add_column(title, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis")
        for record in group.records:
            table.add_row(*(text(_shown(column, record.get(column.key)), column.style) for column in columns))
        console.print(table)
    for extra in group.after:
        console.print(text(extra) if isinstance(extra, str) else extra)


def _shown(column: Column, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return column.missing
    return abridge(column.show(value) if column.show is not None else str(value))


def _print_card(card: Card, console: "Console", stream: TextIO) -> None:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    console.print(Text(encodable(safe(card.title), stream), style="bold"))
    width = max((len(label) for section in card.sections for label, _ in section.lines), default=0)
    for section in card.sections:
        if not section.lines:
            continue
        console.print()
        if section.title:
            console.print(Text(encodable(safe(section.title), stream), style="bold cyan"))
        table = Table.grid(padding=(0, 2, 0, 0), expand=False)
        table.add_column(min_width=width + 2, style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, value in section.lines:
            table.add_row(Text("  " + safe(label)), Text(encodable(safe(value), stream)))
        console.print(table)


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
