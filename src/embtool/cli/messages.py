"""What goes to stderr: errors, hints, warnings and notes, one escaped line each."""

import contextlib
import os
import sys

from embtool.errors import EmbtoolError

LONGEST_MESSAGE = 2000
"""Characters of an error line; a hostile file must not fill the terminal."""


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
    """Print one escaped line on stderr: an error, a hint, a warning or a note."""
    from embtool.answers.text import safe  # noqa: PLC0415 - numpy comes with it, and `--version` complains of nothing

    line = safe(message.replace("\n", " "))
    if len(line) > LONGEST_MESSAGE:
        line = line[:LONGEST_MESSAGE] + "…"
    with contextlib.suppress(OSError, ValueError):  # a closed stderr must not hide the status
        print(f"embtool: {kind}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the one place


def note(message: str) -> None:
    """Tell the user something beside the result."""
    complain("note", message)


def warn(message: str) -> None:
    """Warn the user of something that the result does not show."""
    complain("warning", message)
