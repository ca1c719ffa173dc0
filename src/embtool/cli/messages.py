"""What goes to stderr: errors, hints, warnings and notes, each escaped, on one line or wrapped to the terminal."""

import contextlib
import os
import shutil
import sys
import textwrap

from embtool.errors import EmbtoolError

LONGEST_MESSAGE = 2000
"""Characters of an error line; a hostile file must not fill the terminal."""

QUIET_VARIABLE = "EMBTOOL_QUIET"

COLORS = {"error": "31", "hint": "0", "warning": "33", "note": "2"}
"""ECMA-48's numbers for red, plain, yellow and dim."""

NARROWEST = 20
"""Columns of a terminal below which nothing is wrapped."""

_hushed = False
"""Whether notes, warnings and progress are left out in this run."""


def hush(is_quiet: bool | None = None) -> None:  # noqa: FBT001 - read as a sentence
    """Leave out everything but errors from now on, or not; None is what the environment says."""
    global _hushed  # noqa: PLW0603 - what a stream of the process shows is a state of the process
    _hushed = os.environ.get(QUIET_VARIABLE, "") not in ("", "0") if is_quiet is None else is_quiet


def is_hushed() -> bool:
    """Return whether only errors are told."""
    return _hushed


def report(error: EmbtoolError, *, hint: str | None = None, about: str | None = None) -> None:
    """Print an error as one line, its hint as a second, and the traceback if EMBTOOL_DEBUG asks for it.

    `about` is the line of a batch that the error belongs to; it is named where the message does not name it itself.
    """
    if os.environ.get("EMBTOOL_DEBUG"):
        import traceback  # noqa: PLC0415 - only for those who ask

        from embtool.answers.text import safe  # noqa: PLC0415 - as above

        for line in "".join(traceback.format_exception(error)).splitlines():
            print(safe(line), file=sys.stderr)  # noqa: T201 - stderr is for this
    named = about is None or repr(about) in error.message or about in error.message
    complain("error", error.message if named else f"{about!r}: {error.message}")
    hint = hint or error.hint
    if hint:
        complain("hint", hint)


def complain(kind: str, message: str) -> None:
    """Print one escaped message on stderr: an error, a hint, a warning or a note.

    In a pipe it is one line; on a terminal its lines break at words and it has the colour of its kind.
    """
    from embtool.answers.text import safe  # noqa: PLC0415 - numpy comes with it, and `--version` complains of nothing

    if _hushed and kind in ("note", "warning"):
        return
    line = safe(message.replace("\n", " "))
    if len(line) > LONGEST_MESSAGE:
        line = line[:LONGEST_MESSAGE] + "…"
    with contextlib.suppress(OSError, ValueError):  # a closed stderr must not hide the status
        print(_dressed(f"embtool: {kind}: {line}", kind), file=sys.stderr, flush=True)  # noqa: T201 - the one place


def note(message: str) -> None:
    """Tell the user something beside the result."""
    complain("note", message)


def warn(message: str) -> None:
    """Warn the user of something that the result does not show."""
    complain("warning", message)


def _dressed(line: str, kind: str) -> str:
    """Wrap and colour a message as the terminal wants it."""
    is_terminal = sys.stderr.isatty()
    if is_terminal:
        width = shutil.get_terminal_size().columns
        if width >= NARROWEST:
            line = textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    wants_color = bool(os.environ.get("FORCE_COLOR")) or (is_terminal and os.environ.get("TERM") not in ("dumb", None))
    if os.environ.get("NO_COLOR") or not wants_color or COLORS[kind] == "0":
        return line
    return f"\x1b[{COLORS[kind]}m{line}\x1b[0m"
