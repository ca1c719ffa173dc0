"""Make pictures of what a terminal shows of a command; they load nothing. Part of `make pictures`."""

import io
import re
from html import escape

from rich.console import Console
from rich.text import Text
from show import ROOT, run

PICTURES = {"neighbors": ("embtool neighbors strawberry", ()), "guess": ("embtool learn 5", ("1",))}
"""A picture's name, what is run, and what is guessed."""

SECOND = "\n\nAt its other end"
"""Where a picture of a guess ends: before the next question."""

FONTS = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace'
UNUSED = r'@font-face {.*?}|<!--.*?-->|<defs>.*?</defs>| clip-path="[^"]*"|<text [^>]*>\n</text>'
BAR = r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="([^"]*)">(█*[▏▎▍▌▋▊▉]?)</text>'
"""A bar of blocks and a last eighth, as rich writes it."""


def screen(name: str) -> str:
    """Draw what the command of a picture shows on a terminal."""
    command, guesses = PICTURES[name]
    lines = [Text.assemble(("$ ", "bold green"), (command, "bold"))]
    shown = run(command, colour=True, typed=guesses or None).partition(SECOND)[0]
    lines += Text.from_ansi(shown.strip()).split("\n", allow_blank=True)
    for line in lines:
        line.rstrip()
    width = max(line.cell_len for line in lines)
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    console.print(Text("\n").join([*lines, Text()]), soft_wrap=True)
    drawn = console.export_svg(title="embtool", unique_id="screen")
    drawn = re.sub(UNUSED, "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
    drawn = re.sub(BAR, _bar, drawn).replace("<svg ", f'<svg role="img" aria-label="{escape(command)}" ', 1)
    return "".join(f"{line.strip()}\n" for line in drawn.splitlines() if line.strip())


def _bar(found: re.Match[str]) -> str:
    """Draw a bar as a rectangle: how high a full block is differs from font to font, and bars would touch."""
    css, x, baseline, room, drawn = found.groups()
    eighths = sum(8 if block == "█" else " ▏▎▍▌▋▊▉".index(block) for block in drawn)
    width = f"{float(room) / max(len(drawn), 1) * eighths / 8:g}"
    return f'<rect class="{css}" x="{x}" y="{float(baseline) - 13:g}" width="{width}" height="13" rx="1"/>\n'


if __name__ == "__main__":
    for picture in PICTURES:
        (ROOT / "docs" / "pictures" / f"{picture}.svg").write_text(screen(picture), "utf-8")
