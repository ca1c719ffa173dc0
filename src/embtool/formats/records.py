"""The records of files of word vectors: a word and its numbers, as text or as word2vec's binary, some at a time.

A word is bytes. Some are not UTF-8: word2vec's own program cuts words at 100 bytes, inside a character, and older
corpora are in other encodings. The numbers of a line are its last fields, so that a word can have spaces in it.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

from embtool.arrays import Bytes, Floats, np
from embtool.counts import plural
from embtool.errors import FormatError
from embtool.formats.decimals import WRITTEN, NotANumberError, parse
from embtool.storage.source import Source

CHUNK = 8 << 20
"""Bytes read at a time."""

LOOKED_AT = 2 << 20
"""Bytes of a file's beginning that tell what it is: two lines of the longest vectors."""

BLOCK = 256 << 10
"""Bytes of lines that are parsed at a time: few enough for the caches of a processor, many for calls of numpy."""

LONGEST_WORD = 4096
"""Bytes of a word; beyond that the file is no table of words."""

LONGEST_LINE = 8 << 20
"""Bytes of a line: 65,536 numbers of a hundred digits would still fit."""

MOST_THREADS = 8
"""Beyond that, putting the words in order takes longer than parsing the numbers."""

QUOTED = 40
"""Bytes of a field that an error quotes."""

BOM = b"\xef\xbb\xbf"

NEWLINE, SPACE = b"\n "

BLANK = np.zeros(256, np.bool_)
BLANK[list(b" \t\r\v\f")] = True
"""What does not count at the end of a line."""

BINARY = "word2vec binary"

NOT_TEXT = re.compile(rb"[^\t\n\r -~]")
SURELY = 12
"""Bytes of a binary vector that are not all printable by chance."""

MOST_DIMENSIONS = 65_536
LEAST_DIMENSIONS = 2

HEADER = re.compile(rb"^(\d{1,12}) (\d{1,6})\s*$")
NUMBER = re.compile(rb"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")

Records = Iterator[tuple[list[bytes], Floats]]


@dataclass(frozen=True)
class Layout:
    """What the first line of a file tells: how it is written, how many words it says it has, how long a vector is."""

    kind: str
    words: int | None
    width: int


def recognise(head: bytes) -> Layout | None:
    """Return the layout of a file from its first bytes, or None if it is no table of words."""
    first, newline, rest = head.partition(b"\n")
    header = HEADER.match(first)
    if header is not None and newline:
        words, width = int(header[1]), int(header[2])
        if not LEAST_DIMENSIONS <= width <= MOST_DIMENSIONS:
            return None
        return Layout("fastText or word2vec text" if _is_text(rest, width) else BINARY, words, width)
    fields = first.rstrip().split(b" ")
    width = len(fields) - 1
    plausible = newline and LEAST_DIMENSIONS <= width <= MOST_DIMENSIONS
    if plausible and all(map(WRITTEN.fullmatch, fields[1:])) and any(map(NUMBER.match, fields[1:])):
        return Layout("GloVe text", None, width)
    return None


def _is_text(rest: bytes, width: int) -> bool:
    """Tell whether a record after a first line is text, be it broken: numbers to its end, or printable where bytes are.

    A word may be in any encoding; what counts is behind the first space.
    """
    second = rest.partition(b"\n")[0].rstrip().replace(b"\t", b" ").split(b" ")
    if len(second) > 1 and all(WRITTEN.fullmatch(part) for part in second[1:][-width:]):
        return True
    numbers = rest.partition(b" ")[2][: 4 * width]
    return len(numbers) >= SURELY and NOT_TEXT.search(numbers) is None


def not_words(head: bytes, file: str) -> FormatError:
    """Say why a file is no table of words: a field of its first line that is no number, where there are some."""
    first, newline, _ = head.partition(b"\n")
    if first.startswith(BOM):
        return FormatError(f"{file} begins with a byte order mark: it is no part of a word", hint="save it without one")
    if b"\t" in first.strip():
        return _separated(f"the first line of {file}", "tabs", "\\t")
    fields = first.rstrip().split(b" ")
    if newline and first.count(b",") >= LEAST_DIMENSIONS and len(fields) == 1 and NOT_TEXT.search(first) is None:
        return _separated(f"the first line of {file}", "commas", ",")
    odd = next((place for place, field in enumerate(fields[1:], 2) if not WRITTEN.fullmatch(field)), None)
    if newline and odd is not None and len(fields) > LEAST_DIMENSIONS:
        shown = fields[odd - 1].decode("utf-8", "surrogateescape")
        if shown.isprintable():  # text, in whatever script, and not bytes of another kind of file
            return FormatError(f"{file} is not a table of words: in its first line {_quoted(fields[odd - 1], odd)}")
    return FormatError(f"{file} is not a table of words: its first lines are not a word and numbers")


def read_records(source: Source, file: str, layout: Layout) -> Records:
    """Read a file's words and vectors, float32 (n, width), some at a time; check that they are as many as it says.

    Raises:
        FormatError: a record is malformed, or there are fewer or more of them.
    """
    found = 0
    for words, vectors in (_binary if layout.kind == BINARY else _text)(source, file, layout):
        found += len(words)
        if layout.words is not None and found > layout.words:
            raise FormatError(f"{file} has more words than the {layout.words:,} that its first line says")
        yield words, vectors
    if layout.words is not None and found < layout.words:
        raise FormatError(
            f"{file} is truncated: its first line says {plural(layout.words, 'word')}, it has {found:,}",
            hint="delete it and fetch it again",
        )
    if not found:
        raise FormatError(f"{file} has no words")


def _chunks(source: Source, file: str) -> Iterator[bytes]:
    """Read a file from its beginning to its end."""
    size = source.size(file)
    for start in range(0, size, CHUNK):
        yield source.read(file, start, min(start + CHUNK, size))


def _text(source: Source, file: str, layout: Layout) -> Records:
    """Read lines; blocks of them are parsed side by side, and given in their order."""
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        for blocks in _blocks(source, file):
            for words, vectors in pool.map(partial(_parse, file=file, layout=layout), blocks):
                if words:
                    yield words, vectors


def _blocks(source: Source, file: str) -> Iterator[list[tuple[int, bytes]]]:
    """Cut each chunk of a file into blocks of whole lines, each with the number of its first."""
    rest, number = b"", 1
    for chunk in _chunks(source, file):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > LONGEST_LINE:
            number += lines.count(b"\n") + len(newline)
            raise FormatError(f"line {number:,} of {file} is longer than {LONGEST_LINE:,} bytes")
        blocks, start = [], 0
        lines += newline
        while start < len(lines):
            stop = lines.find(b"\n", min(start + BLOCK, len(lines) - 1)) + 1
            blocks.append((number, lines[start:stop]))
            number += lines.count(b"\n", start, stop)
            start = stop
        yield blocks
    if rest.strip():
        yield [(number, rest + b"\n")]


def _parse(block: tuple[int, bytes], file: str, layout: Layout) -> tuple[list[bytes], Floats]:
    """Parse lines: the last `width` fields are numbers, what is before them is the word, spaces and all."""
    first, text = block
    width = layout.width
    data: Bytes = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(data == NEWLINE)
    starts = np.concatenate([[0], stops[:-1] + 1])
    while (blank := (stops > starts) & BLANK[data[stops - 1]]).any():
        stops = stops - blank
    lines = np.flatnonzero(stops > starts)
    if first == 1 and layout.words is not None:
        lines = lines[lines > 0]  # the first one has been read
    starts, stops = starts[lines], stops[lines]
    spaces = np.flatnonzero(data == SPACE)
    ends = np.searchsorted(spaces, stops)
    counts = ends - np.searchsorted(spaces, starts)

    def where(place: int) -> str:
        return f"line {first + int(lines[place]):,} of {file}"

    for place in np.flatnonzero(counts < width)[:1].tolist():
        raise _short(text[starts[place] : stops[place]], where(place), layout)
    breaks = spaces[ends[:, None] - width + np.arange(width)].reshape(-1, width)
    fields = (breaks + 1).reshape(-1), np.column_stack([breaks[:, 1:], stops]).reshape(-1)
    try:
        numbers = parse(data, *fields) if len(lines) else np.empty(0)
    except NotANumberError as error:
        place, field = divmod(error.place, width)
        bad = text[fields[0][error.place] : fields[1][error.place]]
        raise _not_a_number(bad, int(counts[place]) - width + field + 2, where(place)) from None
    with np.errstate(over="ignore"):  # rounded once more: beyond float32 is infinity, which is counted later
        vectors = numbers.astype(np.float32)
    words = [text[start:stop] for start, stop in zip(starts.tolist(), breaks[:, 0].tolist(), strict=True)]
    lengths = breaks[:, 0] - starts
    for place in np.flatnonzero((lengths < 1) | (lengths > LONGEST_WORD))[:1].tolist():
        raise FormatError(f"{where(place)} has no word, or one of more than {LONGEST_WORD:,} bytes")
    for place in np.flatnonzero(counts > width).tolist():
        more = sum(1 for _ in takewhile(WRITTEN.fullmatch, reversed(words[place].split(b" ")[1:])))
        if more:  # the word, which has spaces, ends in numbers
            raise FormatError(f"{where(place)} has {width + more:,} numbers after its word, {_wanted(layout)}")
    return words, vectors.reshape(-1, width)


def _short(line: bytes, where: str, layout: Layout) -> FormatError:
    """Say what is wrong with a line that has too few fields: one that is no number, or that they are few."""
    if b"\t" in line:
        return _separated(where, "tabs", "\\t")
    fields = line.split(b" ")[1:]
    for place, field in enumerate(fields):
        if not WRITTEN.fullmatch(field):
            return _not_a_number(field, place + 2, where)
    return FormatError(f"{where} has {plural(len(fields), 'number')} after its word, {_wanted(layout)}")


def _separated(where: str, marks: str, mark: str) -> FormatError:
    return FormatError(
        f"{where} has {marks} between its fields, where word vectors have spaces", hint=f"tr '{mark}' ' '"
    )


def _not_a_number(field: bytes, number: int, where: str) -> FormatError:
    return FormatError(f"{where}: {_quoted(field, number)}")


def _quoted(field: bytes, number: int) -> str:
    if not field:
        return f"field {number:,} is empty: two spaces follow each other"
    quoted = field[:QUOTED].decode("utf-8", "replace") + ("…" if len(field) > QUOTED else "")
    return f"field {number:,}, {quoted!r}, is not a decimal number"


def _wanted(layout: Layout) -> str:
    return f"where the first line {'says' if layout.words is not None else 'has'} {layout.width:,}"


def _binary(source: Source, file: str, layout: Layout) -> Records:
    """Read word2vec's binary records: a word, a space, the numbers; some writers end each with a newline."""
    size = layout.width * 4
    data, words, vectors = b"", list[bytes](), list[bytes]()
    found, first = 0, True
    for chunk in _chunks(source, file):
        data += chunk
        place = data.index(b"\n") + 1 if first else 0
        first = False
        while True:
            space = data.find(b" ", place, place + LONGEST_WORD + 2)
            if space < 0 and len(data) - place > LONGEST_WORD + 1:
                raise FormatError(f"word {found + 1:,} of {file} has more than {LONGEST_WORD:,} bytes")
            if space < 0 or len(data) - space - 1 < size:
                break
            found += 1
            word = data[place:space].lstrip(b"\n")
            where = f"word {found:,} of {file}"
            if b"\0" in word:
                raise FormatError(f"{where} has a zero byte in it: the numbers are not as many as the first line says")
            if not word or len(word) > LONGEST_WORD or b"\n" in word:
                raise FormatError(f"{where} has no word, or one of more than {LONGEST_WORD:,} bytes")
            words.append(word)
            vectors.append(data[space + 1 : space + 1 + size])
            place = space + 1 + size
        data = data[place:]
        if words:
            yield words, np.frombuffer(b"".join(vectors), "<f4").reshape(-1, layout.width).astype(np.float32)
            words, vectors = [], []
    if data.strip(b"\n"):
        raise FormatError(
            f"{file} is truncated: it ends inside word {found + 1:,}", hint="delete it and fetch it again"
        )
