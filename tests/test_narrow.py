"""Every command's table on terminals of every width: nothing too long, no number cut, nothing gone without a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from every import ONE_FORMAT, lines, words, write_inputs
from program import Program
from rich.cells import cell_len
from test_golden import CASES

from embtool.cli import COMMANDS

WIDTHS = (40, 60, 80, 100, 200)
WIDEST = 2000

ASKED = [line for _, line in lines() if not line.startswith((*ONE_FORMAT, "learn ")) and "OUT/" not in line]
"""Command lines that print a table; the lesson is prose, with tables of its own."""

GOLDEN = [
    arguments
    for command, cases in CASES.items()
    for arguments, formats in cases.values()
    if command != "learn" and "table" in formats
]

COMMAND_LINE = "  $ embtool "
"""How a line begins that is to be copied, and is whole, however long."""

CUT_NUMBER = re.compile(r"(?:^|\s)[-+<]?\d[\d,.]*…(?:\s|$)")
NOTE = re.compile(r"no room for (.*?): a wider terminal shows more, --no-truncate or -f tsv all")
MORE = re.compile(r" and [\d,]+ more$")
RULE = re.compile(r" ─+")


@pytest.fixture
def places(models: Path, tmp_path: Path) -> dict[str, str | list[str]]:
    inputs = write_inputs(tmp_path / "inputs", 32, ["king", "queen"])
    return {
        "MODEL": str(models / "small"),
        "OTHER": str(models / "tied"),
        "INPUTS": str(inputs),
        "TOKENS": [" king", " queen", "!"],
    }


def tables(text: str) -> list[tuple[list[str], list[list[str]], str]]:
    """Give the tables of an output: the headings, the cells of each row, and what follows.

    A line that has only the last column, or lacks the number that each row begins with, goes on with the line before.
    """
    found = []
    printed = text.split("\n")
    for place, line in enumerate(printed):
        if RULE.fullmatch(line):
            end = printed.index("", place)
            heads = re.split(r" {2,}", printed[place - 1].strip())
            last = printed[place - 1].rindex(heads[-1]) if len(heads) > 1 else 0
            first = printed[place - 1].index(heads[0])  # beyond the edge where the first column, a number, has no name
            whole = [
                row
                for row in printed[place + 1 : end]
                if (not last or row[:last].strip()) and (first <= 1 or row[:first].strip())
            ]
            rows = [re.split(r" {2,}", row.strip()) for row in whole]
            found.append((heads, rows, " ".join(printed[end:])))
    return found


def narrowed(run: Program, arguments: list[str]) -> None:
    """Hold a table of each width against the same one with room for everything."""
    wide = run(*arguments, "-f", "table", env={"COLUMNS": str(WIDEST)})
    full = tables(wide.text)
    for width in WIDTHS:
        answer = run(*arguments, "-f", "table", env={"COLUMNS": str(width)})
        assert answer.status == wide.status
        for line in answer.text.split("\n"):
            assert cell_len(line) <= width or line.startswith(COMMAND_LINE), (width, line)
            assert line == line.rstrip()
            assert not CUT_NUMBER.search(line), (width, line)
        shown = tables(answer.text)
        assert len(shown) == len(full)
        for (heads, rows, after), (all_heads, all_rows, _) in zip(shown, full, strict=True):
            kept = {cell for row in rows for cell in row}
            note = NOTE.search(" ".join(after.split()))
            names = set(MORE.sub("", note[1]).split(", ")) if note else set()
            assert len(rows) == len(all_rows)
            gone = {head for head in all_heads if not any(whole(head, other) for other in heads)}
            assert len(gone) <= len(names) or (note and MORE.search(note[1])), (width, gone, names)
            if not note:
                numbers = {cell for row in all_rows for cell in row if re.fullmatch(r"[-+<]?[\d,.]+( ?%)?", cell)}
                assert numbers <= kept, (width, numbers - kept)


def whole(head: str, shown: str) -> bool:
    """Tell whether a heading is shown, be it cut."""
    return head == shown or (shown.endswith("…") and head.startswith(shown[:-1]))


@pytest.mark.few(3)
@pytest.mark.parametrize("line", ASKED)
def test_every_command_on_every_width(line: str, run: Program, places: dict[str, str | list[str]]) -> None:
    narrowed(run, words(line, places))


@pytest.mark.few(4)
@pytest.mark.parametrize("arguments", GOLDEN, ids=" ".join)
def test_every_golden_case_on_every_width(arguments: list[str], run: Program) -> None:
    narrowed(run, arguments)


def test_no_command_is_left_out() -> None:
    assert COMMANDS.keys() - {line.split(" ")[0] for line in ASKED} <= {"learn", "export", "schema", "view"}


def test_the_list_of_the_lesson_keeps_its_numbers(run: Program) -> None:
    narrowed(run, ["learn"])
