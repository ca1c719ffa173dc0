"""What every command prints, in every format, on the small models: the files in tests/golden.

A command of `COMMANDS` without a case fails. To add one: name its cases in `CASES`, run pytest with --update-golden,
and read what was written before keeping it. Long numbers are rounded, because not every machine adds up in the same
order; blanks at the ends of lines, which pad the columns of a terminal, are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import Program

from embtool.cli import COMMANDS

GOLDEN = Path(__file__).parent / "golden"
FORMATS = ("table", "markdown", "json", "jsonl", "tsv", "csv")

CASES: dict[str, dict[str, tuple[list[str], tuple[str, ...]]]] = {
    "info": {
        "sharded": (["info", "small/"], FORMATS),
        "two": (["info", "gpt2/", "bert/"], FORMATS),
        "parts": (["info", "only-config/", "only-tokenizer/", "bare/", "tied/"], FORMATS),
    },
    "tokens": {
        "one": (["tokens", " strawberry king!\n", "-m", "small/"], FORMATS),
        "two": (["tokens", " king", "né", "-m", "small/"], FORMATS),
    },
    "row": {
        "two": (["row", "king", " king", "-m", "small/"], FORMATS),
        "pooled": (["row", " king queen", "--pool", "mean", "-m", "small/"], FORMATS),
        "explained": (["row", "king", "--explain", "-m", "small/"], ("table", "json")),
        "padding": (["row", "id:325", "!", "-m", "small/"], FORMATS),
    },
    "neighbors": {
        "two": (["neighbors", "strawberry", "king", "-k", "4", "-m", "small/"], FORMATS),
        "distance": (["neighbors", " blue", "-k", "3", "--metric", "euclidean", "-m", "small/"], FORMATS),
        "zero-and-padding": (["neighbors", "!", "id:320", "-k", "2", "-m", "small/"], FORMATS),
        "against": (["neighbors", " king", "-k", "3", "--against", "output", "-m", "small/"], FORMATS),
        "centered": (["neighbors", "king", "--center", "-m", "small/"], FORMATS),
        "nothing": (["neighbors", "king", "--only", "nothing at all", "-m", "small/"], FORMATS),
    },
    "similarity": {
        "pair": (["similarity", "king", " queen", "-m", "small/"], FORMATS),
        "along": (["similarity", "king", "queen", "!", "--along", "man", "--minus", "woman", "-m", "small/"], FORMATS),
        "matrix": (["similarity", "king", " queen", " blue", "!", "-m", "small/"], FORMATS),
    },
    "calc": {
        "king": (["calc", "king", "-", "man", "+", "woman", "-k", "3", "-m", "small/"], FORMATS),
        "sections": (["calc", "--questions", "questions.txt", "-m", "small/"], FORMATS),
        "each": (["calc", "--questions", "questions.txt", "--each", "-m", "small/"], FORMATS),
    },
    "map": {
        "words": (["map", " king", " queen", " cherry", " apple", " blue", "-m", "small/"], FORMATS),
        "neighbors": (["map", " king", " cherry", "--neighbors", "3", "--basis", "table", "-m", "small/"], FORMATS),
    },
    "vocab": {
        "found": (["vocab", "^ k", "-m", "small/"], FORMATS),
        "counts": (["vocab", "--counts", "-m", "bert/"], FORMATS),
    },
    "norms": {
        "table": (["norms", "-k", "3", "-m", "small/"], FORMATS),
        "tokens": (["norms", "small/", "--token", " king", "--token", "!"], FORMATS),
        "list": (["norms", "--list", "-m", "bert/"], FORMATS),
    },
    "undertrained": {
        "tied": (["undertrained", "-k", "4", "--all", "--percent", "100", "-m", "tied/"], FORMATS),
        "untied": (["undertrained", "-k", "4", "-m", "small/"], FORMATS),
    },
    "check": {
        "found": (["check", "small/"], FORMATS),
        "healthy": (["check", "gpt2/"], FORMATS),
        "explained": (["check", "--explain", "zero-rows"], FORMATS),
        "rules": (["check", "--rules"], FORMATS),
        "draft": (["check", "small/", "--draft-for", "tied/"], FORMATS),
    },
    "diff": {
        "tuned": (["diff", "tied/", "tuned/"], FORMATS),
        "shorter": (["diff", "tied/", "gpt2/", "-k", "2"], FORMATS),
        "vocabularies": (["diff", "gpt2/", "bert/", "--vocab", "-k", "2"], FORMATS),
        "copy": (["diff", "tied/", "tuned/", "--neighbors", "3", "--max-error", "0.5", "-k", "3"], FORMATS),
    },
    "rope": {
        "frequencies": (["rope", "-m", "small/"], FORMATS),
        "settings": (["rope", "--theta", "10000", "--dim", "6", "--layout", "interleaved"], FORMATS),
        "position": (["rope", "--pos", "12", "-m", "small/"], FORMATS),
        "positions": (["rope", "--pos", "-2..6", "--dim", "4"], FORMATS),
        "token": (["rope", "small/", "--token", " king", "--pos", "2500"], FORMATS),
        "back": (
            ["rope", "--vector", "ones", "--pos", "3", "--inverse", "--precision", "float32", "--dim", "4"],
            FORMATS,
        ),
        "relative": (["rope", "--relative", "7", "3", "-m", "small/"], FORMATS),
        "compare": (["rope", "compare", "small/", "tied/"], FORMATS),
        "what-if": (["rope", "compare", "small/", "--scaling", "yarn:4"], FORMATS),
        "decay": (["rope", "small/", "--decay", "0..8"], FORMATS),
    },
    "input": {
        "learned": (["input", " king queen", "-m", "gpt2/"], FORMATS),
        "rotary": (["input", " king queen", "-m", "small/"], FORMATS),
        "against": (["input", " king queen", "--against", " queen king", "-m", "gpt2/"], FORMATS),
    },
    "learn": {
        "steps": (["learn"], ("table", "jsonl", "tsv", "csv")),
        "all": (["learn", "all", "-m", "small/"], FORMATS),
        "learned": (["learn", "6", "-m", "gpt2/"], ("table", "json")),
    },
    "schema": {
        "list": (["schema"], FORMATS),
        "row": (["schema", "row"], ("json",)),
    },
    "use": {
        "shown": (["use"], FORMATS),
        "cleared": (["use", "--clear"], FORMATS),
    },
}
"""For each command and case: the command line, and the formats that are compared."""

PARAMETERS = [
    (command, case, form)
    for command, cases in CASES.items()
    for case, (_, formats) in cases.items()
    for form in formats
]


WAITING = {"cache"}
"""Commands so new that their cases are still to be written."""

SILENT = {"export", "view"}
"""Commands whose answer is a file."""

LONG_NUMBER = re.compile(r"-?\d+\.\d{10,}(?:e[-+]?\d+)?")


def steady(printed: str, run: Program) -> str:
    """Leave out what differs between machines: the home folder, the last digits of long numbers, padding."""
    printed = LONG_NUMBER.sub(lambda number: f"{float(number[0]):.9g}", printed.replace(str(run.home), "HOME"))
    return "".join(f"{line.rstrip(' ')}\n" for line in printed.splitlines())


@pytest.mark.parametrize(("command", "case", "form"), PARAMETERS, ids=["-".join(names) for names in PARAMETERS])
def test_golden(command: str, case: str, form: str, run: Program, request: pytest.FixtureRequest) -> None:
    arguments, _ = CASES[command][case]
    answer = run(*arguments, "-f", form, env={"COLUMNS": "300" if command == "use" else "100"}).ok()
    printed = steady(answer.text + "".join(f"stderr: {line}\n" for line in answer.errors.splitlines()), run)
    path = GOLDEN / f"{command}-{case}.{form}"
    if request.config.getoption("--update-golden"):
        path.write_text(printed, encoding="utf-8", newline="\n")
    assert path.is_file(), f"no {path.name}: run pytest --update-golden and read what it writes"
    assert printed == path.read_text(encoding="utf-8")


def test_every_command_has_golden_files_of_every_format() -> None:
    assert COMMANDS.keys() - CASES.keys() - SILENT <= WAITING, "a new command needs its cases"
    assert CASES.keys() <= COMMANDS.keys()
    assert not CASES.keys() & WAITING, "they have cases now: take them off the list"
    for command, cases in CASES.items():
        covered = {form for _, formats in cases.values() for form in formats}
        assert covered == set(FORMATS), f"{command} lacks {set(FORMATS) - covered}"


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{command}-{case}.{form}" for command, case, form in PARAMETERS
    }
