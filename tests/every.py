"""Every command, in every way in which it reaches a model: what must hold for all of them is tested over this table.

In a command line `MODEL` stands for the model asked, `OTHER` for another one, `OUT` for a folder that may be written,
`TOKENS` for one or more arguments that name tokens, `INPUTS` for a folder with `vector.npy` and `questions.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

EVERY: dict[str, tuple[str, ...]] = {
    "info": ("info MODEL", "info MODEL OTHER", "info MODEL --explain"),
    "tokens": ("tokens TOKENS -m MODEL",),
    "vocab": (
        "vocab -k 400 -m MODEL",
        "vocab --counts -m MODEL",
        "vocab --variants king -m MODEL",
        "vocab --count INPUTS/questions.txt -m MODEL",
    ),
    "row": ("row TOKENS -m MODEL", "row TOKENS --npy OUT/row.npy -m MODEL", "row id:3 --explain -m MODEL"),
    "neighbors": (
        "neighbors TOKENS -k 20 -m MODEL",
        "neighbors --vector INPUTS/vector.npy -m MODEL",
        "neighbors id:3 --explain --center --only . -m MODEL",
    ),
    "similarity": ("similarity TOKENS id:4 id:5 -m MODEL", "similarity TOKENS --along id:4 --minus id:5 -m MODEL"),
    "calc": (
        "calc id:3 - id:4 + id:5 -k 400 -m MODEL",
        "calc --questions INPUTS/questions.txt -m MODEL",
        "calc --questions INPUTS/questions.txt --each -m MODEL",
    ),
    "map": ("map TOKENS id:4 id:5 -m MODEL", "map TOKENS id:4 id:5 -o OUT/map.svg -m MODEL"),
    "view": ("view MODEL -o OUT/page.html", "view MODEL --tokens 3 --token TOKENS -o OUT/words.html"),
    "check": ("check MODEL", "check MODEL --deep", "check MODEL --base OTHER", "check MODEL --draft-for OTHER"),
    "diff": (
        "diff MODEL OTHER",
        "diff OTHER MODEL -k 400",
        "diff MODEL OTHER --vocab -k 400",
        "diff MODEL OTHER --neighbors 3 --max-error 0.5 -k 400",
    ),
    "norms": ("norms -k 400 -m MODEL", "norms -m MODEL --token TOKENS", "norms --list -m MODEL"),
    "undertrained": ("undertrained -k 400 --percent 100 -m MODEL", "undertrained --explain -m MODEL"),
    "export": (
        "export MODEL -o OUT/table.npy",
        "export MODEL -o OUT/table.npz",
        "export MODEL -o OUT/table.safetensors",
        "export MODEL -o OUT/table.csv",
        "export MODEL -o OUT/table.w2v",
        "export MODEL -f projector -o OUT/projector",
    ),
    "rope": (
        "rope -m MODEL",
        "rope MODEL --token id:3 --pos 3",
        "rope compare MODEL OTHER",
        "rope --relative 7 3 -m MODEL",
        "rope MODEL --decay 0..20 --scaling linear:2",
        "rope MODEL --golden OUT/rope.json",
    ),
    "input": ("input king -m MODEL", "input king --against queen -m MODEL", "input king --npy OUT/in.npy -m MODEL"),
    "learn": ("learn 1 -m MODEL", "learn all -m MODEL", "learn"),
    "schema": ("schema", "schema info"),
    "cache": ("cache ls", "cache path", "cache verify"),
    "use": ("use MODEL", "use"),
}
"""Command lines of each command of `COMMANDS`; words are separated by spaces."""

ONE_FORMAT = ("export", "view", "schema", "cache path")
"""Beginnings of command lines that have one kind of output, whatever format is asked for."""


def lines() -> Iterator[tuple[str, str]]:
    """Give every command with each of its command lines."""
    for command, asked in EVERY.items():
        for line in asked:
            yield command, line


def words(line: str, places: Mapping[str, str | list[str]]) -> list[str]:
    """Cut a command line into arguments, and put in what stands for something."""
    found: list[str] = []
    for word in line.split(" "):
        first, slash, rest = word.partition("/")
        place = places.get(first, first)
        if isinstance(place, list) and found[-1] == "--token":
            found = [*found[:-1], *(part for each in place for part in ("--token", each))]
        else:
            found += place if isinstance(place, list) else [f"{place}{slash}{rest}"]
    return found


def write_inputs(folder: Path, width: int, names: list[str]) -> Path:
    """Write the files of `INPUTS`: a vector, and questions about these names."""
    folder.mkdir(parents=True)
    np.save(folder / "vector.npy", np.arange(1, width + 1, dtype="<f4"))
    names = [name for name in names if name and not any(character.isspace() for character in name)]
    questions = [": hostile \x1b[31m section", "king queen man woman", *(f"king {name} man woman" for name in names)]
    (folder / "questions.txt").write_bytes("\n".join(questions).encode("utf-8", "surrogatepass") + b"\n")
    return folder
