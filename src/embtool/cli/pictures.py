"""Pictures in files: what `map -o` and `rope -o` share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import typer

from embtool.cli.writing import check_free

What = TypeVar("What")


def drawer(
    out: Path | None, kinds: Mapping[str, Callable[[What], bytes]], *, force: bool
) -> Callable[[What], bytes] | None:
    """Choose what draws a picture by the end of the file's name, and refuse to replace a file unasked."""
    draw = None if out is None else kinds.get(out.suffix.lower())
    if out is not None and draw is None:
        raise typer.BadParameter(f"a picture's name ends in {', '.join(kinds)}, not {out.name}")
    check_free(out, force=force)
    return draw
