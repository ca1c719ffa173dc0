"""`embtool map`: the projection held against numpy, labels that cover nothing, and pages that obey no name."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixels import read_png, text_widths
from program import Program
from small_models import END_OF_TEXT, SPACED, config, float32, table, texts, tokenizer_json, write_single

from embtool.drawings.picture import Box, Picture, Point, columns, place_labels
from embtool.errors import FormatError
from embtool.questions.map_lines import draw
from embtool.tables.projection import project_on_own, project_on_table
from embtool.tables.spectrum import Axes

WORDS = [f" {word}" for word in SPACED]
SVG = "{http://www.w3.org/2000/svg}"


def test_own_components_are_those_of_numpy() -> None:
    rows = np.random.default_rng(0).standard_normal((9, 5)) * [5, 3, 1, 1, 1]
    found = project_on_own(rows)
    centered = rows - rows.mean(axis=0)
    variances = np.linalg.eigvalsh(centered.T @ centered)[::-1]
    np.testing.assert_allclose(np.square(found.points).sum(axis=0), variances[:2])
    np.testing.assert_allclose(found.shares, variances[:2] / variances.sum())
    assert found.kept == pytest.approx(variances[:2].sum() / variances.sum())
    again = project_on_own(rows.astype(np.float32) * -1)
    np.testing.assert_allclose(np.abs(again.points), np.abs(found.points), atol=1e-5)


def test_rows_on_given_axes() -> None:
    axes = Axes(np.array([3.0, 1]), np.eye(4)[:2], 5.0, 10.0, exact=True)
    found = project_on_table(np.array([[1.0, 2, 2, 0], [0, 1, 0, 0]]), np.array([0.0, 1, 0, 0]), axes)
    assert found.points.tolist() == [[1, 1], [0, 0]]
    assert found.shares.tolist() == [1 / 6, 1 / 6]


def test_what_has_no_shadow() -> None:
    assert project_on_own(np.ones((3, 4))).kept == 0
    assert project_on_own(np.array([[1.0], [3.0]])).points.tolist() == [[-1, 0], [1, 0]]
    with pytest.raises(FormatError, match="two rows"):
        project_on_own(np.ones((1, 4)))
    with pytest.raises(FormatError, match="NaN"):
        project_on_own(np.array([[1.0], [np.inf]]))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 12)), max_size=25))
def test_a_label_covers_nothing_and_belongs_to_one_point(spots: list[tuple[int, int, int]]) -> None:
    marks = [Box(x, y, 1, 1) for x, y, _ in spots]
    frame = Box(0, 0, 40, 14)
    placed = place_labels(marks, [(width, 1) for *_, width in spots], frame, 1, (1, 1))
    kept = [label for label in placed if label is not None]
    for place, label in enumerate(kept):
        assert label.inside(frame)
        assert not any(label.grown(1, 0).meets(other) for other in kept[place + 1 :])
    for own, spot in enumerate(placed):
        if spot is not None:
            assert not spot.meets(marks[own])
            assert spot.grown(1.1, 0.1).meets(marks[own])
            assert not any(spot.grown(1, 1).meets(mark) for place, mark in enumerate(marks) if place != own)
    if len(spots) == 1:
        assert len(kept) == 1


def point(name: str, x: float, y: float, parent: int | None = None) -> Point:
    return Point(name, "id 1", x, y, parent)


def drawn(points: list[Point], width: int, height: int) -> list[str]:
    """Draw points and return the lines without their styles."""
    lines = draw(Picture("", "", points), width, height)
    return [line if isinstance(line, str) else "".join(text for text, _ in line) for line in lines]


def test_a_picture_of_characters() -> None:
    lines = drawn([point("left", -1, 0), point("right", 1, 0), point("up", 0, 0.5, 0)], 30, 9)
    assert len(lines) <= 9
    assert re.fullmatch(r" +• left +(• right|right •)", lines[-1])
    assert re.fullmatch(r" +· up", lines[0])


@given(
    st.lists(
        st.tuples(st.text("aé日本🙂\u0301", min_size=1, max_size=6), st.floats(-3, 3), st.floats(-3, 3)),
        min_size=1,
        max_size=14,
    ),
    st.sampled_from([50, 80, 120]),
)
def test_every_name_is_shown_whole_and_no_line_is_too_wide(points: list[tuple[str, float, float]], width: int) -> None:
    lines = drawn([point(*entry) for entry in points], width, 16)
    picture = [line for line in lines if not line.startswith("  ") or "•" in line]
    assert all(columns(line) <= width for line in picture)
    assert all(line == line.rstrip() for line in lines)
    text = "\n".join(lines)
    for name, _, _ in points:
        assert name in text


def test_names_have_blanks_around_them_and_colours_of_their_query() -> None:
    points = [
        point(name, x, y) for name, x, y in (("far", 0, 0), ("one", 9.99, 5), ("same", 10, 5), ("beside", 9.7, 5))
    ]
    near = [point("near one", 9.9, 5.1, 1), point("near far", 0.1, 0.1, 0)]
    lines = [line for line in draw(Picture("", "", [*points, *near]), 60, 14) if not isinstance(line, str)]
    styles = {text.strip(" •·┄"): style for line in lines for text, style in line if text.strip(" •·┄")}
    assert set(styles) == {each.name for each in [*points, *near]}
    assert styles["near one"] == styles["one"] != styles["far"] == styles["near far"]
    text = "\n".join("".join(span for span, _ in line) for line in lines)
    assert sum(text.count(sign) for sign in "•·") == len(points) + len(near)
    for name in ("one", "same", "beside", "far"):
        assert re.search(rf"(^|[ ┄]){name}($|[ ┄])", text, re.MULTILINE)


def test_a_flat_picture_has_few_lines_and_the_same_ones_again() -> None:
    points = [point(f"w{place}", place, 0) for place in range(5)]
    assert drawn(points, 80, 40) == drawn(points, 80, 40)
    assert len(drawn(points, 80, 40)) == 1


def test_more_points_than_a_picture_holds_are_listed() -> None:
    crowd = [point(f"w{place}", place % 20, place // 20) for place in range(100)]
    lines = drawn([*crowd, point("child", 0, 0, 7)], 40, 12)
    assert "too many names" in lines[0]
    assert "  • w7: child" in lines
    assert all(f"w{place}" in "\n".join(lines) for place in range(100))


def test_columns_of_a_terminal() -> None:
    assert [columns(text) for text in ("abc", "日本", "e\u0301", "🙂")] == [3, 4, 1, 2]


def run_map(run: Program, *arguments: str | Path, **settings: Any) -> Any:
    return run("map", *WORDS, "-m", "small/", *arguments, **settings)


def test_points_are_those_of_the_library(run: Program) -> None:
    document = run_map(run, "--json").ok().document
    assert document["schema"] == "embtool/map@1"
    expected = project_on_own(table("input")[[texts().index(word) for word in WORDS]])
    np.testing.assert_allclose([(point["x"], point["y"]) for point in document["points"]], expected.points)
    assert document["kept"] == pytest.approx(expected.kept)
    assert document["table_shares"] is None
    cells = run_map(run).ok().cells
    assert cells[0] == ["query", "rank", "id", "piece", "token", "bytes", "x", "y"]
    assert len(cells) == 1 + len(WORDS)


def test_the_axes_of_the_table(run: Program) -> None:
    document = run_map(run, "--basis", "table", "--json").ok().document
    rows = table("input")
    variances, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    np.testing.assert_allclose(document["table_shares"], variances[::-1][:2] / variances.sum(), rtol=1e-5)
    chosen = rows[[texts().index(word) for word in WORDS]] - rows.mean(axis=0)
    points = np.array([(point["x"], point["y"]) for point in document["points"]])
    np.testing.assert_allclose(np.abs(points), np.abs(chosen @ vectors[:, ::-1][:, :2]), atol=1e-4)


def test_neighbours_stand_with_their_token(run: Program) -> None:
    document = run("map", " king", " cherry", "-m", "small/", "--neighbors", "3", "--json").ok().document
    ranks = [(point["query"], point["rank"]) for point in document["points"]]
    assert ranks[:2] == [(" king", None), (" cherry", None)]
    assert {query for query, rank in ranks if rank is not None} == {" king", " cherry"}
    ids = [point["id"] for point in document["points"]]
    assert len(set(ids)) == len(ids)
    nearest = run("neighbors", " king", "-m", "small/", "-k", "3", "--json").ok().document["queries"][0]["neighbors"]
    assert [point["id"] for point in document["points"] if point["query"] == " king"][1:] == [
        neighbor["id"] for neighbor in nearest
    ]


def test_the_terminal_shows_names_and_what_is_kept(run: Program) -> None:
    shown = run_map(run, "-f", "table").ok().text
    assert "␣strawberry" in shown
    assert re.search(r"keeps \d+\.\d% \(.*\) of the variance of these 10 rows", shown)
    assert max(map(len, shown.split("\n"))) <= 100
    small = run_map(run, "-f", "table", env={"COLUMNS": "50", "LINES": "20"}).ok().text
    assert max(map(len, small.split("\n"))) <= 50


def test_how_much_is_kept_is_said_in_a_pipe_too(run: Program) -> None:
    assert any("keeps" in line for line in run_map(run, "--tsv").ok().of("note"))


HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{points}}", "&amp;\"'", "$\\frac$")


def hostile_model(folder: Path) -> Path:
    tokenizer = tokenizer_json({END_OF_TEXT: True, **dict.fromkeys(HOSTILE, False)})
    rows = len(texts()) + len(HOSTILE)
    values = np.random.default_rng(0).standard_normal((rows, 4))
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values))}
    return write_single(folder, tensors, config=config(vocab_size=rows), tokenizer=tokenizer)


def test_a_png_is_the_svg_with_its_texts(run: Program, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    model = hostile_model(tmp_path / "model")
    names = [f"piece:{name}" for name in HOSTILE]
    for file in ("x.png", "y.png", "x.svg"):
        run("map", *names, "-m", model, "--neighbors", "2", "-o", tmp_path / file).ok()
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()
    pixels = read_png((tmp_path / "x.png").read_bytes())
    drawing = ET.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))  # noqa: S314 - written here
    assert pixels.shape[:2] == (2 * float(drawing.attrib["height"]), 2 * float(drawing.attrib["width"]))
    for text in drawing.iter(f"{SVG}text"):
        x, y, size = (round(2 * float(text.attrib[key])) for key in ("x", "y", "font-size"))
        left, right = {"start": (0, 1), "middle": (-0.5, 0.5), "end": (-1, 0)}[text.get("text-anchor", "start")]
        seen = pixels[y - size : y, max(int(x + left * size), 0) : int(x + right * size), :3]
        assert (seen < 200).all(axis=-1).any(), "".join(text.itertext())


def test_a_png_without_fonts_is_refused(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resvg = pytest.importorskip("resvg_py")
    monkeypatch.setattr(resvg, "svg_to_bytes", functools.partial(resvg.svg_to_bytes, skip_system_fonts=True))
    run_map(run, "-o", tmp_path / "x.png").refused(7, "needs a font", "svg needs nothing")
    assert not (tmp_path / "x.png").exists()


def test_an_svg_is_drawn_and_obeys_no_name(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    model = hostile_model(tmp_path / "model")
    names = [f"piece:{name}" for name in HOSTILE]
    for file in ("x.svg", "y.svg"):
        run("map", *names, "-m", model, "--neighbors", "2", "-o", tmp_path / file).ok()
    content = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert content == (tmp_path / "y.svg").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|@font-face|href|<script", content)
    drawing = ET.fromstring(content)  # noqa: S314 - written here
    written = ["".join(element.itertext()) for element in drawing.iter(f"{SVG}text")]
    assert any(text.startswith("Keeps ") for text in written)
    assert HOSTILE[0].replace(" ", "␣") in written
    assert {element.tag.removeprefix(SVG) for element in drawing.iter()} == {
        *("svg", "title", "desc", "style", "rect", "text", "line", "circle")
    }


def test_an_svg_has_the_points_of_the_answer(run: Program, tmp_path: Path) -> None:
    answer = run_map(run, "-o", tmp_path / "x.svg", "--json").ok()
    points = np.array([(point["x"], -point["y"]) for point in answer.document["points"]])
    drawing = ET.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))  # noqa: S314 - written here
    drawn = np.array([(float(disc.attrib["cx"]), float(disc.attrib["cy"])) for disc in drawing.iter(f"{SVG}circle")])
    scale = np.linalg.norm(drawn[0] - drawn[1]) / np.linalg.norm(points[0] - points[1])
    np.testing.assert_allclose(drawn - drawn[0], scale * (points - points[0]), atol=0.01)


def test_names_of_an_svg_do_not_cover_each_other(run: Program, tmp_path: Path) -> None:
    run_map(run, "--neighbors", "3", "-o", tmp_path / "x.svg").ok()
    drawing = ET.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))  # noqa: S314 - written here
    boxes = []
    texts = list(drawing.iter(f"{SVG}text"))
    widths = text_widths([("".join(text.itertext()), float(text.attrib["font-size"])) for text in texts])
    for text, wide in zip(texts, widths, strict=True):
        x, y, size = (float(text.attrib[key]) for key in ("x", "y", "font-size"))
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
        boxes.append(Box(left, y - size, wide, size))
    frame = Box(0, 0, float(drawing.attrib["width"]), float(drawing.attrib["height"]))
    assert len(boxes) > len(WORDS)
    for place, box in enumerate(boxes):
        assert box.inside(frame)
        assert not any(box.meets(other) for other in boxes[place + 1 :])


def test_what_is_there_is_not_replaced_unasked(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    file.write_text("mine")
    run_map(run, "-o", file).refused(2, "is there already", "--force")
    assert file.read_text() == "mine"
    run_map(run, "-o", file, "--force").ok()
    assert "<svg" in file.read_text(encoding="utf-8")


def test_without_resvg_it_says_how_to_get_it(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    run_map(run, "-o", tmp_path / "x.png").refused(7, "needs resvg-py", "pip install 'embtool[plot]'")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((" king",), 2, "at least two tokens"),
        ((" king", " king"), 2, "at least two tokens"),
        ((" king", " queen", "-o", "x.gif"), 2, ".png, .svg"),
        ((" king", " queen", "-o", "no/folder/x.svg"), 7, "cannot write"),
        ((" king", "kingqueenman"), 3, "tokens"),
    ],
)
def test_map_refuses(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("map", *arguments, "-m", "small/").refused(status, words)


def test_a_page_is_made_by_another_command(run: Program) -> None:
    asked = (" king", "--neighbors", "3", "queen", "-m", "small/", "-o")
    line = 'embtool view --token " king" --token queen -m small/ -o x.html'
    run("map", *asked, "x.html").refused(2, "`view` now", line)
    run("map", *asked, "x.HTML").refused(2, "`view` now")


def test_leaders_are_level_and_belong_to_one_name() -> None:
    crowd = [point(f"word{place}", 0.1 * (place % 3), 0.1 * (place // 3), 0 if place else None) for place in range(15)]
    lines = [line for line in draw(Picture("", "", [*crowd, point("far", 9, 9)]), 80, 16) if not isinstance(line, str)]
    text = ["".join(span for span, _ in line) for line in lines]
    assert sum(line.count("·") + line.count("•") for line in text) == 16
    for line in text:
        for found in re.finditer("┄+", line):
            beside = line[: found.start()][-1:] + line[found.end() :][:1]
            assert sorted(beside.replace("•", "·")) == [" ", "·"], line


def test_a_larger_terminal_has_a_larger_picture_without_being_empty() -> None:
    points = [point(name, x, y) for name, x, y in (("a", 0, 0), ("b", 1, 2), ("c", 5, 1), ("d", 6, 3), ("e", 2, 3))]
    heights = [len(drawn(points, width, lines)) for width, lines in ((50, 16), (80, 16), (120, 42))]
    assert heights[0] < heights[1] < heights[2] <= 22


def test_many_names_are_listed_by_the_part_they_fall_in() -> None:
    corners = {"top left": (-9, 9), "top right": (9, 9), "bottom left": (-9, -9), "bottom right": (9, -9)}
    points = [point(f"{part} {each}", *spot) for part, spot in corners.items() for each in range(20)]
    lines = drawn(points, 60, 16)
    for part in corners:
        assert f"  • {part}: {', '.join(f'{part} {each}' for each in range(20))}" in lines


def boxes(drawing: ET.Element) -> list[tuple[str, Box]]:
    """Return the names in a picture, each with the room that its letters may fill at most."""
    found = []
    for text in drawing.iter(f"{SVG}text"):
        x, y, size = (float(text.attrib[key]) for key in ("x", "y", "font-size"))
        width = 0.6 * size * columns("".join(text.itertext()))
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
        found.append(("".join(text.itertext()), Box(left, y - 0.8 * size, width, size)))
    return found


def test_a_crowded_picture_names_its_points_and_covers_none(run: Program, tmp_path: Path) -> None:
    words = ("king", "queen", "man", "woman", "prince", "apple", "cherry", "pear", "river", "lake")
    run("map", *words, "--neighbors", "3", "-m", "mini", "-o", tmp_path / "x.svg").ok()
    drawing = ET.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))  # noqa: S314 - written here
    names = boxes(drawing)[:-2]  # without title and caption
    discs = list(drawing.iter(f"{SVG}circle"))
    assert len(names) == len(discs)
    for place, (_, box) in enumerate(names):
        assert not any(box.meets(other) for _, other in names[place + 1 :])
        spots = [(float(disc.attrib["cx"]), float(disc.attrib["cy"])) for disc in discs]
        assert not any(box.meets(Box(x - 3, y - 3, 6, 6)) for x, y in spots)
    inks = {disc.attrib["class"] for disc in discs}
    assert len(inks) == 6
