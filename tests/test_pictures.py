"""docs/pictures: every file is made by tools/capture.py, and shows what the command answers today."""

from __future__ import annotations

import importlib
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import Program

ROOT = Path(__file__).parent.parent
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*"))
SVG = "{http://www.w3.org/2000/svg}"
LETTER, LINE = 20.0, 24.4
"""How high a letter and a line of a screen are."""


@pytest.fixture(scope="module")
def capture() -> Iterator[Any]:
    pytest.importorskip("pty", reason="no terminals to capture here")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("capture")


def names(table: str) -> list[str]:
    """Read the names of a table of the tool without running it, so that there is a test for each."""
    source = (ROOT / "tools" / "capture.py").read_text(encoding="utf-8")
    found = re.search(rf"^{table}: .*?^}}$", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r'^    "([^"]+)": ', found[0], re.MULTILINE)


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - written here


def words(drawing: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in drawing.iter(f"{SVG}text")]


def test_every_picture_is_made_by_the_tool(capture: Any) -> None:
    assert [path.name for path in PICTURES] == sorted(f"{name}.svg" for name in capture.MAKERS)
    assert set(capture.MAKERS) == {*names("SCREENS"), *names("DRAWINGS")}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_stands_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    drawing = parse(text)
    assert drawing.tag == f"{SVG}svg"
    assert drawing.attrib["aria-label"]
    assert drawing.attrib["viewBox"] == f"0 0 {drawing.attrib['width']} {drawing.attrib['height']}"
    assert not re.search(r"url\(|@import|@font-face|href|<script|<image|/tmp|/root|/home", text)
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def seen(drawing: ET.Element, aspect: float) -> list[str]:
    """Read a screen as the lines of characters that it shows; a bar is full blocks."""
    column = LETTER * aspect
    cells: dict[int, dict[int, str]] = {}
    for element in drawing.iter():
        if element.get("class", "").endswith("-title") or "class" not in element.attrib or element.tag == f"{SVG}g":
            continue
        left = round(float(element.attrib["x"]) / column)
        if element.tag == f"{SVG}rect":
            base, text = float(element.attrib["y"]) + 13, "█" * round(float(element.attrib["width"]) / column)
        else:
            base, text = float(element.attrib["y"]), "".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ")
        cells.setdefault(round((base - LETTER) / LINE), {})[left] = text
    lines = []
    for number in range(max(cells) + 1):
        line = ""
        for left, text in sorted(cells.get(number, {}).items()):
            line = line.ljust(left) + text
        lines.append(line.rstrip())
    return lines


@pytest.mark.parametrize("name", names("SCREENS"))
def test_a_screen_shows_what_the_command_prints(run: Program, capture: Any, name: str) -> None:
    command = capture.SCREENS[name]
    printed = run(*shlex.split(command)[1:], "-f", "table").ok().text.strip().splitlines()
    picture = parse((ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8"))
    assert seen(picture, capture.ASPECT) == [f"$ {command}", *(line.rstrip() for line in printed)]


@pytest.mark.parametrize("name", names("DRAWINGS"))
def test_a_drawing_is_what_the_command_draws(run: Program, capture: Any, tmp_path: Path, name: str) -> None:
    run(*shlex.split(capture.DRAWINGS[name])[1:], "-o", tmp_path / "x.svg").ok()
    drawn = parse((tmp_path / "x.svg").read_text(encoding="utf-8"))
    kept = parse((ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8"))
    assert words(drawn) == words(kept)
    assert [element.tag for element in drawn.iter()] == [element.tag for element in kept.iter()]


def test_a_screen_is_captured_again(capture: Any) -> None:
    path = ROOT / "docs" / "pictures" / "neighbors.svg"
    assert words(parse(capture.screen("neighbors"))) == words(parse(path.read_text(encoding="utf-8")))
