"""`embtool rope -o`: drawn hands stand where the recorded frequencies put them, and nothing is cut off."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pixels import read_png, text_widths
from program import Program
from small_models import config, write_json

from embtool.counts import spread
from embtool.drawings.dial import MOST_DIALS, MOST_ROWS
from embtool.drawings.drawing import DARK, LIGHT, Ink
from embtool.drawings.picture import Box

DATA = Path(__file__).parent / "data"
CASES: dict[str, Any] = json.loads((DATA / "rope_oracle.json").read_text())["cases"]
RECORDED = (
    "qwen3.6-27b-nvfp4",
    "gemma-3-27b-it",
    "gemma-4-26b-a4b",
    "deepseek-v4-flash",
    "llama-3.1-8b",
    "defaults-nanochat",
)
SVG = "{http://www.w3.org/2000/svg}"


def parse(file: Path) -> ET.Element:
    return ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - written here


def hands(drawing: ET.Element) -> list[tuple[int, str, float]]:
    """Read each hand: its pair, its position, and the angle at which it is drawn, counter-clockwise from the right."""
    found = []
    for line in drawing.iter(f"{SVG}line"):
        if "data-hand" in line.attrib:
            x1, y1, x2, y2 = (float(line.attrib[key]) for key in ("x1", "y1", "x2", "y2"))
            found.append((int(line.attrib["data-hand"]), line.attrib["data-position"], math.atan2(y1 - y2, x2 - x1)))
    return found


def words(drawing: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in drawing.iter(f"{SVG}text")]


def apart(one: float, other: float) -> float:
    """How far two angles are apart."""
    return abs(math.remainder(one - other, 2 * math.pi))


def draw(run: Program, file: Path, *arguments: str | Path) -> ET.Element:
    answer = run("rope", *arguments, "-o", file).ok()
    assert answer.out == b""
    assert any(line.startswith(f"wrote {file}") for line in answer.of("note"))
    return parse(file)


def folder(path: Path, settings: dict[str, Any]) -> Path:
    path.mkdir(parents=True)
    write_json(path / "config.json", settings)
    return path


@pytest.mark.parametrize("name", RECORDED)
def test_hands_stand_where_the_recorded_frequencies_put_them(run: Program, tmp_path: Path, name: str) -> None:
    model = folder(tmp_path / "model", CASES[name]["config"])
    drawing = draw(run, tmp_path / "x.svg", "-m", model, "--pos", "0", "--pos", "7", "--pos", "1000")
    layers = run("rope", "-m", model, "--json").ok().document["layers"]
    found = hands(drawing)
    with np.load(DATA / "rope_oracle.npz") as archive:
        kinds = ["all" if len(layers) == 1 else layer["layer_type"] for layer in layers]
        recorded = [archive[f"{name}/{kind}/inv_freq"].astype(float) for kind in kinds]
    expected = []
    for layer, inv_freq in zip(layers, recorded, strict=True):
        sense = -1 if layer["direction"] == "clockwise" else 1
        moving = np.flatnonzero(inv_freq)
        chosen = moving[spread(len(moving), MOST_DIALS)]
        expected += [(pair, at, sense * at * inv_freq[pair]) for at in (0, 7, 1000) for pair in chosen]
    assert [(pair, position) for pair, position, _ in found] == [(pair, f"{at:,}") for pair, at, _ in expected]
    for (pair, position, angle), (*_, exact) in zip(found, expected, strict=True):
        assert apart(angle, exact) < 1e-3, (pair, position)


def test_the_first_pair_spins_and_the_last_hardly_moves(run: Program, tmp_path: Path) -> None:
    drawing = draw(run, tmp_path / "x.svg", "--dim", "128", "--theta", "1e6", "--pos", "1..4")
    turned = hands(drawing)
    assert [apart(angle, int(position)) < 1e-4 for pair, position, angle in turned if pair == 0] == [True] * 4
    assert [angle < 1e-3 for pair, _, angle in turned if pair == 63] == [True] * 4


def test_backwards_and_below_zero(run: Program, tmp_path: Path) -> None:
    forth = hands(draw(run, tmp_path / "x.svg", "--dim", "4", "--pos", "2"))
    back = hands(draw(run, tmp_path / "y.svg", "--dim", "4", "--pos", "2", "--inverse"))
    below = hands(draw(run, tmp_path / "z.svg", "--dim", "4", "--pos", "-2"))
    assert forth[0][2] == pytest.approx(2, abs=1e-4)
    assert [hand[2] for hand in back] == pytest.approx([-hand[2] for hand in forth])
    assert [hand[2] for hand in below] == pytest.approx([-hand[2] for hand in forth])


def test_three_positions_turn_each_pair_by_its_own_axis(run: Program, tmp_path: Path) -> None:
    model = folder(tmp_path / "model", CASES["qwen3.6-27b-nvfp4"]["config"])
    drawing = draw(run, tmp_path / "x.svg", "-m", model, "--pos", "5,7,11")
    with np.load(DATA / "rope_oracle.npz") as archive:
        inv_freq = archive["qwen3.6-27b-nvfp4/all/inv_freq"].astype(float)
    for pair, position, angle in hands(drawing):
        assert position == "5, 7, 11"
        assert apart(angle, (5, 7, 11)[pair % 3] * inv_freq[pair]) < 1e-3
    assert {"0 t", "4 h"} <= set(words(drawing))


def test_channels_that_pass_through_are_shown(run: Program, tmp_path: Path) -> None:
    model = folder(tmp_path / "model", config(partial_rotary_factor=0.5, model_type="glm", head_dim=16))
    drawing = draw(run, tmp_path / "x.svg", "-m", model, "--pos", "3")
    runs = [
        (bar.attrib["data-channels"], bar.attrib["data-turning"], float(bar.attrib["width"]))
        for bar in drawing.iter(f"{SVG}rect")
        if "data-channels" in bar.attrib
    ]
    assert [run[:2] for run in runs] == [("0..7", "true"), ("8..15", "false")]
    assert runs[0][2] == runs[1][2]
    assert {"8 channels", "pass through", "channels 8..15 pass through unrotated"} <= set(words(drawing))
    whole = words(draw(run, tmp_path / "y.svg", "--dim", "8", "--pos", "3"))
    assert not any("pass through" in text for text in whole)


def test_pairs_that_stand_still_have_no_hand(run: Program, tmp_path: Path) -> None:
    model = folder(tmp_path / "model", CASES["gemma-4-26b-a4b"]["config"])
    drawing = draw(run, tmp_path / "x.svg", "-m", model, "--pos", "3")
    bars = [bar.attrib["data-channels"] for bar in drawing.iter(f"{SVG}rect") if bar.get("data-turning") == "true"]
    assert bars == ["0..63", "256..319"]
    assert max(pair for pair, *_ in hands(drawing)[:MOST_DIALS]) == 63
    assert {"384 channels", "full_attention, 5 layers", "sliding_attention, 25 layers"} <= set(words(drawing))


def test_figures_are_those_of_the_table(run: Program, tmp_path: Path) -> None:
    written = words(draw(run, tmp_path / "x.svg", "--dim", "16", "--pos", "1000"))
    shown = run("rope", "--dim", "16", "--pos", "1000", "-f", "table").ok().text
    rows = [line.split() for line in shown.splitlines() if re.match(r" +\d+ +\d", line)]
    assert len(rows) == 8
    for pair, _, wavelength, turns, angle, *_ in rows:
        assert {pair, wavelength, turns, angle} <= set(written)
    assert "default, theta 10,000" in written


def test_of_many_pairs_and_positions_some_are_drawn_and_it_says_so(run: Program, tmp_path: Path) -> None:
    drawing = draw(run, tmp_path / "x.svg", "--dim", "256", "--pos", "0..99")
    pairs = sorted({pair for pair, *_ in hands(drawing)})
    positions = list(dict.fromkeys(position for _, position, _ in hands(drawing)))
    assert (len(pairs), pairs[0], pairs[-1]) == (MOST_DIALS, 0, 127)
    assert (len(positions), positions[0], positions[-1]) == (MOST_ROWS, "0", "99")
    said = " ".join(words(drawing))
    assert "8 of 128 pairs are drawn, evenly spaced" in said
    assert "12 of 100 positions are drawn, evenly spaced." in said


@pytest.mark.parametrize(("count", "most"), [(0, 8), (1, 8), (8, 8), (9, 8), (128, 8), (10_000, 12)])
def test_evenly_spaced(count: int, most: int) -> None:
    chosen = spread(count, most)
    steps = np.diff(chosen)
    assert len(chosen) == min(count, most)
    assert chosen[:1] == list(range(count))[:1]
    assert chosen[-1:] == list(range(count))[-1:]
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_nothing_is_written_beyond_the_sheet_or_on_another_text(run: Program, tmp_path: Path) -> None:
    model = folder(tmp_path / f"{'W' * 60}", CASES["qwen3.6-27b-nvfp4"]["config"])
    for file, arguments in (("x.svg", ("-m", model, "--length", "9")), ("y.svg", ("--dim", "4"))):
        drawing = draw(run, tmp_path / file, *arguments, "--pos", str(2**53), "--pos", "1")
        sheet = Box(0, 0, float(drawing.attrib["width"]), float(drawing.attrib["height"]))
        boxes: list[Box] = []
        texts = [("".join(text.itertext()), text) for text in drawing.iter(f"{SVG}text")]
        widths = text_widths([(written, float(text.attrib["font-size"])) for written, text in texts])
        for (written, text), wide in zip(texts, widths, strict=True):
            x, y, size = (float(text.attrib[key]) for key in ("x", "y", "font-size"))
            left = x - wide / 2 if text.get("text-anchor") == "middle" else x
            boxes.append(Box(left, y - 0.75 * size, wide, 0.75 * size))
            assert boxes[-1].inside(sheet), written
            assert not any(boxes[-1].meets(box) for box in boxes[:-1]), written


def test_the_name_of_a_model_is_only_a_name(run: Program, tmp_path: Path) -> None:
    name = "a<script>alert(1)&\"'\u202e"
    folder(tmp_path / name, CASES["qwen3.6-27b-nvfp4"]["config"])
    Program(run.home, tmp_path)("rope", "-m", f"{name}/", "--pos", "3", "-o", "x.svg").ok()
    drawing = parse(tmp_path / "x.svg")
    assert {element.tag.removeprefix(SVG) for element in drawing.iter()} == {
        *("svg", "title", "desc", "style", "rect", "text", "line", "circle", "path")
    }
    assert any("<script>" in text and "\\u202e" in text for text in words(drawing))
    content = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|@font-face|href|<script", content)


def test_it_is_readable_on_light_and_on_dark() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        darker, lighter = sorted((luminance(one), luminance(other)))
        return (lighter + 0.05) / (darker + 0.05)

    for palette in (LIGHT, DARK):
        assert set(palette) == set(Ink)
        for ground in (Ink.PAGE, Ink.FAINT):
            for ink in (Ink.TEXT, Ink.SOFT):
                assert contrast(palette[ink], palette[ground]) >= 4.5, ink
        for ground in (Ink.PAGE, Ink.FAINT, Ink.TINT):
            assert contrast(palette[Ink.MARK], palette[ground]) >= 3


def test_the_same_every_time(run: Program, tmp_path: Path) -> None:
    for file in ("x.svg", "y.svg"):
        draw(run, tmp_path / file, "-m", "small/", "--pos", "0..3")
    assert (tmp_path / "x.svg").read_bytes() == (tmp_path / "y.svg").read_bytes()


def inks(content: bytes) -> set[Ink]:
    """The inks of the light palette that a PNG shows."""
    seen = {tuple(colour) for colour in np.unique(read_png(content)[..., :3].reshape(-1, 3), axis=0).tolist()}
    return {ink for ink in Ink if tuple(bytes.fromhex(LIGHT[ink][1:])) in seen}


@pytest.mark.slow
def test_a_png(run: Program, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    for file in ("x.png", "y.png"):
        run("rope", "-m", "small/", "--pos", "0..3", "-o", tmp_path / file).ok()
    content = (tmp_path / "x.png").read_bytes()
    assert content == (tmp_path / "y.png").read_bytes()
    assert {Ink.MARK, Ink.TINT, Ink.PAGE} <= inks(content)


def test_without_resvg_there_is_svg(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    draw(run, tmp_path / "x.svg", "--dim", "8", "--pos", "3")
    run("rope", "--dim", "8", "--pos", "3", "-o", tmp_path / "x.png").refused(
        7, "needs resvg-py", "pip install 'embtool[plot]'"
    )
    assert not (tmp_path / "x.png").exists()


def test_what_is_there_is_not_replaced_unasked(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    file.write_text("mine")
    asked = ("rope", "--dim", "8", "--pos", "3", "-o", file)
    run(*asked).refused(2, "is there already", "--force")
    assert file.read_text() == "mine"
    run(*asked, "--force").ok()
    assert hands(parse(file))


def test_the_picture_and_the_angles(run: Program, tmp_path: Path) -> None:
    answer = run("rope", "--dim", "8", "--pos", "3", "-o", tmp_path / "x.svg", "--json").ok()
    (layer,) = answer.document["layers"]
    drawn = [angle % (2 * math.pi) for *_, angle in hands(parse(tmp_path / "x.svg"))]
    assert drawn == pytest.approx(layer["positions"][0]["angle"], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("-o", "x.svg"), 2, "name --pos"),
        (("-o", "x.svg", "--relative", "3", "1"), 2, "--relative"),
        (("-o", "x.svg", "--pos", "3", "--vector", "ones"), 2, "--vector"),
        (("-o", "x.html", "--pos", "3"), 2, ".svg, .png"),
        (("-o", "no/folder/x.svg", "--pos", "3"), 7, "cannot write"),
    ],
)
def test_refusals(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("rope", "--dim", "8", *arguments).refused(status, words)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to open the picture with")
@pytest.mark.slow
def test_a_browser_opens_it(run: Program, tmp_path: Path) -> None:
    draw(run, tmp_path / "x.svg", "--dim", "8", "--pos", "0..2")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--disable-quic", "--hide-scrollbars"]
    flags += [f"--user-data-dir={tmp_path / 'browser'}", "--window-size=700,500"]
    picture = tmp_path / "seen.png"
    command = [str(BROWSER), *flags, f"--screenshot={picture}", (tmp_path / "x.svg").as_uri()]
    subprocess.run(command, capture_output=True, timeout=100, check=True)
    assert {Ink.MARK, Ink.TINT, Ink.PAGE} <= inks(picture.read_bytes())
