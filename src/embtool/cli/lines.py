"""Lines of stdin, as they arrive, each of bounded length.

A line that is too long is never held: what is more than the limit is passed over to the next line's beginning, and an
error with its number stands in its place. Whoever answers line by line reports it and goes on.
"""

import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import typer

from embtool.errors import FormatError

LONGEST_LINE = 1 << 20
"""Bytes of a line, or of a text that is read whole: a book, and a hundred times more than a question."""

MOST_WAITING = 4 << 20
"""Bytes of lines that have been read and are not answered yet."""

ARRIVAL_BYTES = 1 << 16
"""Bytes of stdin taken at a time: what a pipe of Linux holds."""

Line = str | FormatError
"""A line, or what is wrong with it."""


def read_lines() -> Iterator[str]:
    """Yield the lines of stdin that are not empty.

    Raises:
        BadParameter: there is nobody to read from, or nothing to read.
        FormatError: a line is too long.
    """
    return map(checked, read_entries())


def read_entries() -> Iterator[Line]:
    """Yield the lines of stdin that are not empty, and an error for each that is too long.

    Raises:
        BadParameter: there is nobody to read from, or nothing to read.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("no TOKEN given, and nothing is piped in")
    return _entries(_arrivals(sys.stdin.buffer))


def checked(line: Line) -> str:
    """Return a line, if it is one.

    Raises:
        FormatError: it is too long.
    """
    if isinstance(line, FormatError):
        raise line
    return line


def read_text() -> str:
    """Read stdin as one text, without the line's end that a shell puts behind it.

    Raises:
        BadParameter: nothing is piped in.
        FormatError: it is too long.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("- reads stdin, and nothing is piped in")
    data = sys.stdin.buffer.read(LONGEST_LINE + 1)
    if len(data) > LONGEST_LINE:
        raise FormatError(f"the text on stdin is longer than {LONGEST_LINE:,} bytes")
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def cut_lines(data: bytes, file: str) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        FormatError: one is too long.
    """
    for line in _split([data], file):
        yield line.decode("utf-8", "replace") if isinstance(line, bytes) else checked(line)


@dataclass(frozen=True)
class _End:
    """Behind the last line: what ended them, if it was an error."""

    error: BaseException | None = None


class _Waiting(queue.Queue[Line | _End]):
    """A queue that is full by the length of its lines."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.length = 0

    def _qsize(self) -> int:
        return self.length

    def _put(self, item: Line | _End) -> None:
        super()._put(item)
        self.length += _weight(item)

    def _get(self) -> Line | _End:
        item: Line | _End = super()._get()
        self.length -= _weight(item)
        return item


def _weight(item: object) -> int:
    return 1 + len(item) if isinstance(item, str) else 1


def gather(lines: Iterator[Line], most: int) -> Iterator[list[Line]]:
    """Wait for a line, then take with it those that are there already, up to `most`.

    A thread reads, because no system can tell everywhere how many lines a pipe holds.
    """
    waiting = _Waiting(MOST_WAITING)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(_End())
        except BaseException as error:  # noqa: BLE001 - raised again where the lines are used
            waiting.put(_End(error))

    threading.Thread(target=read, daemon=True).start()
    end: _End | None = None
    while end is None:
        taken: list[Line] = []
        length = 0
        while len(taken) < most and length < MOST_WAITING and end is None:
            try:
                line = waiting.get(block=not taken)
            except queue.Empty:
                break
            if isinstance(line, _End):
                end = line
            else:
                taken.append(line)
                length += _weight(line)
        if taken:
            yield taken
    if end.error is not None:
        raise end.error


def _arrivals(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what has arrived, as it arrives.

    The descriptor is read and not the stream: a thread that waits inside a buffered stream holds its lock, and makes
    Python abort when the program ends before the pipe does.
    """
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file: a program of someone's own has put something else there
        while data := stream.read(ARRIVAL_BYTES):
            yield data
        return
    while data := os.read(descriptor, ARRIVAL_BYTES):
        yield data


def _split(arrivals: Iterable[bytes], file: str) -> Iterator[bytes | FormatError]:
    """Cut what arrives into lines, without their ends; a line that is too long is an error as soon as it is."""
    begun: list[bytes] = []
    length, number = 0, 1
    for data in arrivals:
        first, *others = data.split(b"\n")
        for place, part in enumerate((first, *others)):
            if place:
                if length <= LONGEST_LINE:
                    yield b"".join(begun)
                begun, length, number = [], 0, number + 1
            was_short = length <= LONGEST_LINE
            length += len(part)
            if length <= LONGEST_LINE:
                begun.append(part)
            elif was_short:
                begun = []
                yield FormatError(f"line {number:,} of {file} is longer than {LONGEST_LINE:,} bytes")
    if length <= LONGEST_LINE:
        yield b"".join(begun)


def _entries(arrivals: Iterable[bytes]) -> Iterator[Line]:
    empty = True
    for line in _split(arrivals, "stdin"):
        entry = line if isinstance(line, FormatError) else line.decode("utf-8", "surrogateescape").rstrip("\r")
        if entry:
            empty = False
            yield entry
    if empty:
        raise typer.BadParameter("no TOKEN given, and stdin is empty")
