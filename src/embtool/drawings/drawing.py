"""Shapes on a sheet, written as SVG or PNG: what `picture` and `dial` draw with.

A shape names an ink, not a colour. The SVG has two palettes and its own background, so that it is readable on a light
page and on a dark one; it loads nothing, and its letters are those of the reader's system. A PNG is the same SVG,
rendered in the light one.
Texts come ready to be shown on one line; what XML obeys is escaped here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import Any, Literal

from embtool.errors import LocalFailure, MissingExtra


class Ink(StrEnum):
    """What a colour is for."""

    PAGE = "page"
    TEXT = "text"
    SOFT = "soft"
    MARK = "mark"
    BLUE = "blue"
    ORANGE = "orange"
    GREEN = "green"
    PURPLE = "purple"
    RED = "red"
    TEAL = "teal"
    LINE = "line"
    TINT = "tint"
    FAINT = "faint"


LIGHT: Mapping[Ink, str] = {
    Ink.PAGE: "#ffffff",
    Ink.TEXT: "#1b2733",
    Ink.SOFT: "#566675",
    Ink.MARK: "#0b63ce",
    Ink.BLUE: "#0b63ce",
    Ink.ORANGE: "#b45f06",
    Ink.GREEN: "#2e7d32",
    Ink.PURPLE: "#7b3fb5",
    Ink.RED: "#c62842",
    Ink.TEAL: "#00796b",
    Ink.LINE: "#cdd6e0",
    Ink.TINT: "#c4dcf8",
    Ink.FAINT: "#eef4fb",
}

DARK: Mapping[Ink, str] = {
    Ink.PAGE: "#12181f",
    Ink.TEXT: "#e3e9f0",
    Ink.SOFT: "#9aabbb",
    Ink.MARK: "#6db0ff",
    Ink.BLUE: "#6db0ff",
    Ink.ORANGE: "#f0a04b",
    Ink.GREEN: "#7bc67e",
    Ink.PURPLE: "#c08bf0",
    Ink.RED: "#f27a8c",
    Ink.TEAL: "#5cc9b9",
    Ink.LINE: "#3a4958",
    Ink.TINT: "#214468",
    Ink.FAINT: "#18232f",
}

FONTS = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", "Liberation Sans", '
    "Arial, sans-serif"
)
"""The last are for resvg, which takes families by their names alone."""

FIGURES = "text{font-variant-numeric:tabular-nums}"
"""Digits of one width."""

HALO = 4.0
"""Width of the edge, in the colour of the page, that keeps a text legible on a line."""

DASHES = (3.0, 4.0)

LETTER = 0.6
"""How wide a letter is on average, in heights, in the widest of the usual fonts."""

SHARPNESS = 2
"""Dots of the PNG for each unit of length."""

Spot = tuple[float, float]
"""A place on the sheet: to the right, downwards."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all shapes have: facts that a program can read, and a text that shows on hover."""

    facts: Mapping[str, str] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True)
class Line(Shape):
    """A straight line."""

    start: Spot
    end: Spot
    ink: Ink
    width: float = 1.0


@dataclass(frozen=True)
class Curve(Shape):
    """Straight lines from spot to spot."""

    spots: Sequence[Spot]
    ink: Ink
    width: float = 1.0


@dataclass(frozen=True)
class Disc(Shape):
    """A circle, filled, outlined, or both."""

    centre: Spot
    radius: float
    fill: Ink | None = None
    edge: Ink | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Sector(Shape):
    """The part of a disc between the right and an angle in radians: above 0 counter-clockwise, less than a turn."""

    centre: Spot
    radius: float
    angle: float
    fill: Ink


@dataclass(frozen=True)
class Rectangle(Shape):
    """A rectangle, filled, outlined, or both."""

    corner: Spot
    width: float
    height: float
    fill: Ink | None = None
    edge: Ink | None = None
    rounding: float = 0.0


@dataclass(frozen=True)
class Words(Shape):
    """A text on one line, its baseline at a spot; `halo` keeps it legible on lines."""

    spot: Spot
    text: str
    size: float
    ink: Ink = Ink.TEXT
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    halo: bool = False


@dataclass(frozen=True)
class Drawing:
    """Shapes on a sheet, the later ones above the earlier, and what they show in words, for those who cannot see it."""

    title: str
    about: str
    width: float
    height: float
    shapes: Sequence[Shape]


def fitted(text: str, size: float, room: float) -> float:
    """Choose the size of a text: the one wanted, or the largest that fits the room."""
    return min(size, room / (LETTER * max(len(text), 1)))


# --- SVG --------------------------------------------------------------------------------------------------------------


def to_svg(drawing: Drawing) -> bytes:
    """Write a drawing as an SVG that stands alone."""
    width, height = _number(drawing.width), _number(drawing.height)
    sheet = Rectangle((0.5, 0.5), drawing.width - 1, drawing.height - 1, Ink.PAGE, Ink.LINE, rounding=10)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    spoken = f'role="img" aria-label="{escape(drawing.title)}"'
    lines = [
        f"<svg xmlns=\"http://www.w3.org/2000/svg\" {size} {spoken} font-family='{FONTS}'>",
        f"<title>{escape(drawing.title)}</title>",
        f"<desc>{escape(drawing.about)}</desc>",
        f"<style>{_rules(LIGHT)}@media (prefers-color-scheme: dark){{{_rules(DARK)}}}{FIGURES}</style>",
        *map(_element, (sheet, *drawing.shapes)),
        "</svg>",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _rules(palette: Mapping[Ink, str]) -> str:
    """Write a palette as CSS: a class for what is filled with an ink, one for what is drawn with it."""
    return "".join(f".{ink}{{fill:{colour}}}.{ink}-line{{stroke:{colour}}}" for ink, colour in palette.items())


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _element(shape: Shape) -> str:
    """Write a shape as an element."""
    name, attributes, content = _described(shape)
    attributes |= {f"data-{key}": value for key, value in shape.facts.items()}
    written = "".join(
        f' {key}="{escape(_number(value) if isinstance(value, float | int) else value)}"'
        for key, value in attributes.items()
    )
    inner = (f"<title>{escape(shape.about)}</title>" if shape.about else "") + escape(content)
    return f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>"


def _described(shape: Shape) -> tuple[str, dict[str, Any], str]:
    """Return the name of a shape's element, its attributes and its text."""
    match shape:
        case Line((x1, y1), (x2, y2), ink, width):
            ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
            return "line", {**_inks(None, ink), **ends, "stroke-width": width, "stroke-linecap": "round"}, ""
        case Curve(spots, ink, width):
            points = " ".join(f"{_number(x)},{_number(y)}" for x, y in spots)
            return "polyline", {**_inks(None, ink), "points": points, "stroke-width": width}, ""
        case Disc((x, y), radius, fill, edge):
            dashes = {"stroke-dasharray": " ".join(map(_number, DASHES))} if shape.dashed else {}
            return "circle", {**_inks(fill, edge), "cx": x, "cy": y, "r": radius, **dashes}, ""
        case Sector((x, y), radius, angle, fill):
            across, down = _number(x + radius * math.cos(angle)), _number(y - radius * math.sin(angle))
            large, downwards, reach = int(abs(angle) > math.pi), int(angle < 0), _number(radius)
            arc = f"M{_number(x)} {_number(y)}h{reach}A{reach} {reach} 0 {large} {downwards} {across} {down}z"
            return "path", {**_inks(fill, None), "d": arc}, ""
        case Rectangle((x, y), width, height, fill, edge):
            rounding = {"rx": shape.rounding} if shape.rounding else {}
            return "rect", {**_inks(fill, edge), "x": x, "y": y, "width": width, "height": height, **rounding}, ""
        case Words((x, y), text, size, ink):
            anchor = {"text-anchor": shape.anchor} if shape.anchor != "start" else {}
            weight = {"font-weight": "600"} if shape.bold else {}
            halo = {"stroke-width": HALO, "stroke-linejoin": "round", "paint-order": "stroke"} if shape.halo else {}
            inks = _inks(ink, Ink.PAGE if shape.halo else None)
            return "text", {**inks, "x": x, "y": y, "font-size": size, **halo, **anchor, **weight}, text
    raise TypeError(f"no shape: {shape!r}")


def _inks(fill: Ink | None, edge: Ink | None) -> dict[str, Any]:
    classes = [*([fill] if fill else []), *([f"{edge}-line"] if edge else [])]
    return {"class": " ".join(classes), **({} if fill else {"fill": "none"})}


# --- PNG --------------------------------------------------------------------------------------------------------------


def to_png(drawing: Drawing) -> bytes:
    """Return a drawing as a PNG: its SVG, in the light palette, rendered by resvg with the fonts of this machine.

    Raises:
        MissingExtra: resvg-py is not installed.
        LocalFailure: this machine has none of the fonts, without which resvg leaves texts out and says nothing.
    """
    try:
        from resvg_py import svg_to_bytes  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra.of("resvg-py", "a picture as png needs", otherwise="as svg it needs nothing") from error
    if svg_to_bytes(svg_string=PROBE.format("A")) == svg_to_bytes(svg_string=PROBE.format("")):
        raise LocalFailure(
            "a picture as png needs a font for its texts, and this machine has none that is known; svg needs nothing",
            hint="install DejaVu Sans (fonts-dejavu-core on Debian)",
        )
    return svg_to_bytes(svg_string=to_svg(drawing).decode(), zoom=SHARPNESS, background=LIGHT[Ink.PAGE])


PROBE = (
    f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><style>text{{{{font-family:{FONTS}}}}}</style>"
    "<text y='8'>{}</text></svg>"
)
"""A text that shows whether there are fonts."""
