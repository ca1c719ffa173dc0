"""Pictures in files: what `map -o` and `rope -o` share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import typer

from embtool.cli.command_run import CommandRun
from embtool.cli.writing import check_free, write

What = TypeVar("What")


def drawer(
    out: Path | None, kinds: Mapping[str, Callable[[What], bytes]], run: CommandRun, *, force: bool
) -> Callable[[What, str], None] | None:
    """Return what draws a picture into a file and says what it is, by the end of the file's name; None without a file.

    Raises:
        BadParameter: the name has no such end, or the file is there, and is not to be replaced.
    """
    if out is None:
        return None
    draw = kinds.get(out.suffix.lower())
    if draw is None:
        raise typer.BadParameter(f"a picture's name ends in {', '.join(kinds)}, not {out.name}")
    check_free(out, force=force)
    return lambda what, about: write(draw(what), out, run, about=f": {about}")
