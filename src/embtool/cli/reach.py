"""How commands reach a hub: a progress bar, a question before much is fetched, a plan, and what it has cost.

`visit` stands around every command. It collects the sources that the command opens and, when the command has ended,
says on stderr what they have to say: notes, and what was asked and received. With `--dry-run` the command runs with its
output thrown away and nothing large fetched, and the plan is printed in its place.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from embtool.cli.messages import note
from embtool.errors import EmbtoolError, SourceError
from embtool.model import Model
from embtool.output import Bar, Column, Format, Group, Listing, count, emit, size
from embtool.source import NotFetched, Source

if TYPE_CHECKING:
    from embtool.hub import HubSource

LIMIT_VARIABLE = "EMBTOOL_MAX_BYTES"

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

PLAN = (
    Column("file"),
    Column("start", right=True, show=count),
    Column("stop", right=True, show=count),
    Column("bytes", right=True, show=size),
    Column("missing", right=True, show=size),
    Column("cached", show=lambda cached: "yes" if cached else "no"),
    Column("path", terminal=False),
)


class Visit:
    """What one run of a command has to do with hubs."""

    def __init__(self) -> None:
        self.sources: list[HubSource] = []
        self.is_rehearsal = False
        self._bar: Bar | None = None

    def add(self, source: Source) -> None:
        """Remember a source of a hub that the command has opened."""
        from embtool.hub import HubSource  # noqa: PLC0415 - loads the network stack, which a hub's source has loaded

        assert isinstance(source, HubSource)
        self.sources.append(source)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a fetch is, on a terminal only."""
        if self._bar is None:
            self._bar = Bar(sys.stderr)
        self._bar(what, done, total)

    def confirm(self, what: str, nbytes: int) -> bool:
        """Ask a person whether so much may be fetched; nobody is asked where nobody is."""
        if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        note(f"{what}: {size(nbytes)} would be fetched")
        print("Fetch it? [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a question is no result
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def report(self) -> None:
        """Say what the sources have to say, and what they have cost."""
        for text in dict.fromkeys(text for source in self.sources for text in source.notes):
            note(text)
        requests = sum(source.cost.requests for source in self.sources)
        if requests:
            sizes = [source.weights_size() or 0 for source in self.sources]
            whole = f" of {size(sum(sizes))}" if all(sizes) else ""
            received = size(sum(source.cost.bytes for source in self.sources))
            note(f"{count(requests)} {'request' if requests == 1 else 'requests'}, {received}{whole}")

    def close(self) -> None:
        """Close every connection."""
        self.end_progress()
        for source in self.sources:
            source.close()


_visits: list[Visit] = []
"""The command that runs, and those around it: one program runs one, tests may run several."""


def current() -> Visit:
    """Give the visit of the command that runs."""
    return _visits[-1] if _visits else Visit()


def visit(command: Callable[[], Any], *, dry_run: bool, output_format: Format | None, header: bool) -> Any:
    """Run a command, and end it with what its sources have to say."""
    visited = Visit()
    _visits.append(visited)
    try:
        try:
            if dry_run:
                command = functools.partial(_rehearse, command, visited, output_format, header=header)
            result = command()
        except typer.Exit:
            visited.end_progress()
            visited.report()
            raise
        except SourceError as error:
            for source in visited.sources:
                _doubt(error, source)
            raise
        except (KeyboardInterrupt, SystemExit) as error:  # the latter is how a termination ends the program
            visited.end_progress()
            for text in getattr(error, "__notes__", ()):  # what a fetch has kept
                note(text)
            raise
        visited.end_progress()
        visited.report()
        return result
    finally:
        _visits.pop()
        visited.close()


def doubt(error: EmbtoolError, model: Model | None) -> None:
    """Add to the hint of an error that a repository which nobody has answered for may be a mistyped path."""
    if model is not None:
        _doubt(error, model.source)


def _doubt(error: EmbtoolError, source: Source) -> None:
    if not isinstance(error, SourceError) or source.local or source.commit is not None or "://" in source.name:
        return
    taken = f"there is no file or folder {source.name!r} here, so it was taken for a repository of the hub"
    if taken not in (error.hint or ""):
        error.hint = f"{taken}; {error.hint}" if error.hint else taken


def _rehearse(command: Callable[[], Any], visited: Visit, output_format: Format | None, *, header: bool) -> None:
    """Run a command for its plan."""
    visited.is_rehearsal = True
    chosen = output_format or (Format.TABLE if sys.stdout.isatty() else Format.TSV)
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - in the next line
    with nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(NotFetched):
        command()
    planned = [(source, entry) for source in visited.sources for entry in source.plan or ()]
    records = [
        {
            "model": source.name,
            "file": entry.file,
            "start": entry.start,
            "stop": entry.stop,
            "bytes": None if entry.stop is None else entry.stop - entry.start,
            "missing": entry.missing,
            "cached": entry.is_cached,
            "path": None if entry.path is None else str(entry.path),
        }
        for source, entry in planned
    ]
    emit(Listing("plan", PLAN, [Group(records)], records_key="ranges"), chosen, header=header)
    missing = [entry for _, entry in planned if not entry.is_cached]
    files = len({(source.name, entry.file) for source, entry in planned if not entry.is_cached})
    if missing:
        total = size(sum(entry.missing or 0 for entry in missing))
        ranges = f"{count(len(missing))} {'range' if len(missing) == 1 else 'ranges'}"
        note(f"would fetch {total} in {ranges} of {count(files)} {'file' if files == 1 else 'files'}")
    else:
        note("would fetch nothing")


def read_limit(text: str | None) -> int | None:
    """Read a number of bytes such as `4GB` or `500000`, from the option or else from the environment.

    Raises:
        BadParameter: it is not one.

    >>> read_limit("2.5 GB"), read_limit("1KiB")
    (2500000000, 1024)
    """
    name = "--max-bytes"
    if text is None:
        text, name = os.environ.get(LIMIT_VARIABLE), LIMIT_VARIABLE
    if text is None or not text.strip():
        return None
    match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    unit = UNITS.get(match[2].lower()) if match is not None else None
    if match is None or unit is None:
        raise typer.BadParameter(f"{name} is a number of bytes such as 4GB or 500MB, not {text[:50]!r}")
    return int(float(match[1]) * unit)
