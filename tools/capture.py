"""Make the pictures of docs/pictures: `python tools/capture.py` makes all, `python tools/capture.py neighbors` one.

Every picture is made by a command of embtool, named in `SCREENS` and `DRAWINGS`: a screen is what the command shows on
a terminal, as it would be seen there; a drawing is a file that the command writes itself. Commands run as for the pages
(see `show.py`), so the same pictures come out every time. An SVG loads nothing, and its letters are those of the
reader's system; the colours of a screen are its own, on light pages and on dark ones.
"""

import io
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from show import ROOT, run

PICTURES = ROOT / "docs" / "pictures"

WORDS = "' king' ' queen' ' man' ' woman' ' prince' ' apple' ' cherry' ' pear' ' river' ' lake'"

SCREENS: Mapping[str, str] = {
    "neighbors": "embtool neighbors strawberry",
    "info": "embtool info mini",
    "rope": "embtool rope --pos 1000",
    "learn": "embtool learn 2",
    "map-terminal": f"embtool map {WORDS}",
}
"""What is seen on a terminal, by the name of the picture."""

DRAWINGS: Mapping[str, str] = {
    "map": f"embtool map {WORDS} --neighbors 3",
    "dial": "embtool rope --pos 1000",
    "dial-steps": "embtool rope --dim 8 --pos 0..3 --pos 10 --pos 100 --pos 1000",
}
"""What a command writes with -o, by the name of the picture."""

LEAST_COLUMNS = 72
"""A screen is at least this wide, so that the letters of all are alike."""

FONTS = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace'
ASPECT = 0.602
"""How wide a letter of these fonts is, in heights."""

THEME = TerminalTheme(
    background=(18, 24, 31),
    foreground=(227, 233, 240),
    normal=[
        *((58, 73, 88), (255, 123, 114), (126, 211, 143), (229, 192, 104)),
        *((109, 176, 255), (201, 160, 255), (98, 200, 214), (200, 209, 219)),
    ],
    bright=[
        *((110, 126, 142), (255, 161, 152), (159, 230, 171), (240, 210, 140)),
        *((150, 199, 255), (219, 190, 255), (140, 222, 233), (255, 255, 255)),
    ],
)

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{ font-family: FONTS; font-size: {char_height}px }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 17px; font-weight: bold }}
{styles}
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONTS", FONTS)
"""What rich puts a screen into; its own names a font of the web."""


def screen(name: str) -> str:
    """Draw what a command shows on a terminal."""
    command = SCREENS[name]
    lines = list(Text.from_ansi(run(command, colour=True).strip()).split("\n", allow_blank=True))
    for line in lines:
        line.rstrip()
    prompt = Text.assemble(("$ ", "bold green"), (command, "bold"))
    width = max(LEAST_COLUMNS, *(line.cell_len for line in (prompt, *lines)))
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    console.print(Text("\n").join([prompt, *lines, Text()]), soft_wrap=True)
    drawn = console.export_svg(
        title="embtool", theme=THEME, code_format=FRAME, font_aspect_ratio=ASPECT, unique_id=name
    )
    drawn = drawn.replace('role="img"', f'role="img" aria-label="{escape(command)}"', 1)
    drawn = re.sub(r' clip-path="[^"]*"', "", drawn)
    drawn = re.sub(r"<text [^>]*>\n</text>", "", drawn)
    drawn = re.sub(BAR, _bar, drawn).replace("</text><text", "</text>\n<text")
    return "".join(f"{line.strip()}\n" for line in drawn.splitlines() if line.strip())


BAR = r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="([^"]*)">█+</text>'
"""A bar of full blocks, as rich writes it."""


def _bar(found: re.Match[str]) -> str:
    """Draw a bar as a rectangle: how high a full block is differs from font to font, and bars would touch."""
    css, x, baseline, width = found.groups()
    return f'<rect class="{css}" x="{x}" y="{float(baseline) - 13:g}" width="{width}" height="13" rx="1"/>\n'


def drawing(name: str) -> str:
    """Let a command write a picture."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.svg")
        run(f"{DRAWINGS[name]} -o {file}")
        return file.read_text("utf-8")


MAKERS: Mapping[str, Callable[[str], str]] = {**dict.fromkeys(SCREENS, screen), **dict.fromkeys(DRAWINGS, drawing)}
"""What makes each picture."""


def main(names: list[str]) -> None:
    """Make these pictures, or all."""
    PICTURES.mkdir(exist_ok=True)
    for name in names or MAKERS:
        if name not in MAKERS:
            raise SystemExit(f"no picture is called {name}: {', '.join(MAKERS)}")
        (PICTURES / f"{name}.svg").write_text(MAKERS[name](name), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
