"""Lines of stdin: of any number, in bounded memory, and one that is too long hides no other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from program import Program

from embtool.cli import lines
from embtool.cli.lines import LONGEST_LINE, cut_lines, gather
from embtool.errors import FormatError

LONG = b"a" * (LONGEST_LINE + 1)
TOO_LONG = f"is longer than {LONGEST_LINE:,} bytes"


@pytest.mark.parametrize(
    "arguments",
    [["tokens"], ["neighbors", "-k", "1"], ["row"], ["norms", "--token"], ["calc", "-k", "1"]],
    ids=lambda arguments: arguments[0],
)
def test_a_line_that_is_too_long_is_reported_and_the_rest_goes_on(run: Program, arguments: list[str]) -> None:
    answer = run(*arguments, "-", "-m", "small/", "--tsv", stdin=b" king\n\n" + LONG + b"\n king\n" + LONG)
    assert answer.status == 3
    assert answer.of("error") == [f"line {number} of stdin {TOO_LONG}" for number in (3, 5)]
    assert len([cells for cells in answer.cells if " king" in cells]) == 2


@pytest.mark.parametrize("command", ["similarity", "map", "calc --questions", "info", "input"])
def test_commands_that_want_all_lines_refuse(run: Program, command: str) -> None:
    model = () if command == "info" else ("-m", "small/")
    run(*command.split(), "-", *model, stdin=LONG).refused(
        6, "longer than" if command == "input" else "line 1 of", "1,048,576"
    )


def test_strict_stops_at_it(run: Program) -> None:
    answer = run("row", "-", "--strict", "-m", "small/", "--tsv", stdin=LONG + b"\n king\n")
    assert answer.status == 6
    assert answer.of("error") == [f"line 1 of stdin {TOO_LONG}"]
    assert b"king" not in answer.out


def test_a_file_of_questions(run: Program) -> None:
    (run.folder / "q.txt").write_bytes(b": section\n" + b"a " * LONGEST_LINE + b"\n")
    run("calc", "--questions", "q.txt", "-m", "small/").refused(6, "line 2 of q.txt " + TOO_LONG)


@pytest.mark.parametrize("line", [b"\0", b"\xff\xfe\x80", b"\x1b[31m", b"a\0b\r", bytes(range(1, 10))])
def test_what_is_no_text_is_a_line_as_any_other(run: Program, line: bytes) -> None:
    answer = run("row", "-", "-m", "small/", "--tsv", stdin=line + b"\n king\r\n")
    assert answer.status in (0, 3)
    assert len([cells for cells in answer.cells if " king" in cells]) == 1
    assert b"\x1b" not in answer.out + answer.err
    assert b"\0" not in answer.out + answer.err


def test_a_line_at_its_limit_is_a_line() -> None:
    data = b"a" * LONGEST_LINE
    assert list(cut_lines(data + b"\nb", "x")) == [data.decode(), "b"]
    with pytest.raises(FormatError, match="line 2 of x"):
        list(cut_lines(b"b\n" + data + b"a", "x"))


def test_a_line_without_an_end_is_not_held() -> None:
    """The rest of it is passed over: what has been read can be thrown away as it comes."""
    held: list[int] = []

    def arrivals() -> Iterator[bytes]:
        for place in range(1000):
            if place == 100:
                held.append(place)
            yield b"a" * (1 << 16)
        yield b"\nlast\n"

    found = lines._entries(arrivals())
    first = next(found)
    assert isinstance(first, FormatError)
    assert not held  # it is told at once
    assert list(found) == ["last"]


def test_lines_that_wait_are_bounded_by_their_length() -> None:
    taken = itertools.count()
    made = -1

    def long_lines() -> Iterator[str]:
        nonlocal made
        for made in taken:
            if made == 64:
                return
            yield "a" * LONGEST_LINE

    gathered = gather(long_lines(), 1000)
    assert len(next(gathered)) <= lines.MOST_WAITING // LONGEST_LINE + 1
    assert made <= 3 * lines.MOST_WAITING // LONGEST_LINE
    assert sum(map(len, gathered)) >= 64 - lines.MOST_WAITING // LONGEST_LINE - 1
