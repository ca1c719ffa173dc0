"""What pictures show, pixel by pixel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
import pytest

from embtool.drawings.drawing import FONTS


def read_png(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a PNG, (height, width, 4): red, green, blue, opacity."""
    image = pytest.importorskip("PIL.Image")
    with image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGBA"))


def text_widths(texts: Sequence[tuple[str, float]]) -> list[float]:
    """Return how wide texts, each with its size, are drawn with the fonts of this machine, in pixels."""
    resvg = pytest.importorskip("resvg_py")
    height = 2 * max(size for _, size in texts)
    lines = "".join(
        f'<text x="20" y="{(place + 0.75) * height}" font-size="{size}">{escape(text)}</text>'
        for place, (text, size) in enumerate(texts)
    )
    box = f'width="2000" height="{height * len(texts)}"'
    sheet = f"<svg xmlns=\"http://www.w3.org/2000/svg\" {box} font-family='{FONTS}'>{lines}</svg>"
    ink = read_png(resvg.svg_to_bytes(svg_string=sheet))[..., 3] > 0
    if not ink.any():
        pytest.skip("no fonts here")
    columns = [np.flatnonzero(ink[int(p * height) : int((p + 1) * height)].any(axis=0)) for p in range(len(texts))]
    return [float(found[-1] - found[0] + 1) for found in columns]
