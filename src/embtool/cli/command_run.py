"""One run of a command: its sources, progress, questions, what a dry run would fetch, and what it all has cost.

`call` makes a `CommandRun` for each command; option bundles hand it on to what opens models and writes files. When the
command has ended, the run says on stderr what its sources have to say: notes, and what was asked and received. With
`--dry-run` the command runs with its output thrown away and nothing large fetched, and the plan is printed instead.
"""

import contextlib
import difflib
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from embtool.answers import Format, Listing, column, emit, records
from embtool.answers.text import count, plural, safe, size
from embtool.cli.messages import is_hushed, note
from embtool.errors import EmbtoolError, SourceError
from embtool.hub.limit import RequestLimit
from embtool.references import is_model
from embtool.settings import BUNDLED_MODELS
from embtool.storage.places import is_there
from embtool.storage.source import Below, NotFetched, Source

if TYPE_CHECKING:
    from embtool.answers.terminal import Bar
    from embtool.hub import HubSource

NEAR = 0.75
"""How alike a name must be to the one typed (difflib's ratio): a letter wrong or missing in a short word."""

LIMIT_VARIABLE = "EMBTOOL_MAX_BYTES"

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class PlannedRange:
    """One range of a file that would be read."""

    model: str = column("the model, as it was named", terminal=False, machine=False)
    file: str = column("the file")
    start: int | None = column("the first byte", right=True, show=count)
    stop: int | None = column("the byte after the last", right=True, show=count)
    bytes: int | None = column("how many that are", right=True, show=size)
    missing: int | None = column("how many of them are not here", right=True, show=size)
    cached: bool = column("whether all are here", show=lambda cached: "yes" if cached else "no")
    path: str | None = column("where it is kept", terminal=False)


@dataclass(frozen=True, repr=False, eq=False)
class PlanAnswer(Listing[PlannedRange]):
    """What a command would fetch."""

    command = "plan"

    ranges: tuple[PlannedRange, ...] = records("the ranges")


@dataclass
class Spent:
    """What sources have to say, and what they have cost.

    Attributes:
        weights: the bytes of their weights; None where it is not known of one.
    """

    notes: dict[str, None] = field(default_factory=dict)
    requests: int = 0
    bytes: int = 0
    weights: int | None = 0

    def add(self, source: "HubSource") -> None:
        """Count a source in."""
        self.notes |= dict.fromkeys(source.notes)
        self.requests += source.cost.requests
        self.bytes += source.cost.bytes
        weights = source.weights_size()
        self.weights = None if self.weights is None or not weights else self.weights + weights


@dataclass
class CommandRun:
    """What one run of a command has to do with hubs and files.

    Attributes:
        dry_run: whether nothing large is fetched and nothing written.
        sources: the sources of hubs that the command has opened, and not let go.
        limit: what their requests wait for: one that is told to leave a hub alone holds them all.
    """

    dry_run: bool = False
    sources: list["HubSource"] = field(default_factory=list)
    limit: RequestLimit = field(default_factory=lambda: RequestLimit(None))
    _spent: Spent = field(default_factory=Spent)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _bar: "Bar | None" = None

    def add(self, source: Source) -> None:
        """Remember a source of a hub that the command has opened."""
        from embtool.hub import HubSource  # noqa: PLC0415 - loads the network stack, which a hub's source has loaded

        source = source.whole if isinstance(source, Below) else source
        assert isinstance(source, HubSource)
        self.sources.append(source)

    def let_go(self, source: Source) -> None:
        """Close a source that has answered, and keep only what is told of it at the end: of many, each holds files."""
        whole = source.whole if isinstance(source, Below) else source
        with self._lock:
            for each in [each for each in self.sources if each is whole and not self.dry_run]:
                each.close()
                self._spent.add(each)
                self.sources.remove(each)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far something long is, on a terminal only; the bar goes when it is done."""
        if is_hushed():
            return
        if self._bar is None:
            from embtool.answers.terminal import Bar  # noqa: PLC0415 - only where something takes long

            self._bar = Bar(sys.stderr)
        self._bar(what, done, total)
        if done >= total:
            self.end_progress()

    def confirm(self, what: str, nbytes: int) -> bool:
        """Ask a person whether so much may be fetched; nobody is asked where nobody is."""
        if not self._is_watched():
            return False
        note(f"{what}: {size(nbytes)} would be fetched")
        return self._ask("Fetch it? [y/N] ") in ("y", "yes")

    def meant(self, reference: str) -> str:
        """Return the model that was meant: a person who mistyped the name of a folder here is asked before a hub is."""
        near = near_folder(reference)
        if near is None or not self._is_watched():
            return reference
        wants_near = self._ask(f"There is no {reference} here. Did you mean {near}? [Y/n] ") in ("", "y", "yes")
        return near if wants_near else reference

    @staticmethod
    def _ask(question: str) -> str:
        print(safe(question), end="", file=sys.stderr, flush=True)  # noqa: T201 - a question is no result
        return sys.stdin.readline().strip().lower()

    @staticmethod
    def _is_watched() -> bool:
        """Return whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def report(self) -> None:
        """Say what the sources have to say, and what they have cost."""
        for source in list(self.sources):
            self._spent.add(source)
        spent = self._spent
        for text in spent.notes:
            note(text)
        if spent.requests:
            whole = f" of {size(spent.weights)}" if spent.weights is not None else ""
            note(f"{plural(spent.requests, 'request')}, {size(spent.bytes)}{whole}")

    def plan(self) -> PlanAnswer:
        """Return what would be fetched."""
        return PlanAnswer(
            tuple(
                PlannedRange(
                    model=source.name,
                    file=entry.file,
                    start=entry.start,
                    stop=entry.stop,
                    bytes=entry.stop - entry.start,
                    missing=entry.missing,
                    cached=entry.is_cached,
                    path=None if entry.path is None else str(entry.path),
                )
                for source in self.sources
                for entry in source.plan or ()
            )
        )

    def close(self) -> None:
        """Close every connection."""
        self.end_progress()
        for source in self.sources:
            source.close()


def call(command: Callable[[], Any], run: CommandRun, *, output_format: Format | None, header: bool) -> Any:
    """Run a command, and end it with what its sources have to say."""
    try:
        if run.dry_run:
            _plan(command, run, output_format, header=header)
            result = None
        else:
            result = command()
    except typer.Exit:
        run.end_progress()
        run.report()
        raise
    except SourceError as error:
        for source in run.sources:
            hint_mistyped_path(error, source)
        raise
    except (KeyboardInterrupt, SystemExit) as error:  # the latter is how a termination ends the program
        run.end_progress()
        for text in getattr(error, "__notes__", ()):  # what a fetch has kept
            note(text)
        raise
    else:
        run.end_progress()
        run.report()
        return result
    finally:
        run.close()


def hint_mistyped_path(error: EmbtoolError, source: Source | None) -> None:
    """Add to the hint of an error that a repository which nobody has answered for may be a mistyped path."""
    if source is None or not isinstance(error, SourceError):
        return
    if source.local or source.commit is not None or "://" in source.name:
        return
    near = near_folder(source.name)
    meant = "" if near is None else f"; did you mean {near}?"
    taken = f"there is no file or folder {source.name!r} here, so it was taken for a repository of the hub{meant}"
    if taken not in (error.hint or ""):
        error.hint = f"{taken}; {error.hint}" if error.hint else taken


def near_folder(reference: str) -> str | None:
    """Return the model in the working folder whose name is nearly the one typed, where there is none of that name."""
    if "/" in reference or os.sep in reference or reference in BUNDLED_MODELS:
        return None
    with contextlib.suppress(OSError, EmbtoolError):
        if not is_there(Path(reference)):
            names = [entry.name for entry in os.scandir() if is_model(Path(entry.name))]
            return next((f"./{name}" for name in difflib.get_close_matches(reference, names, 1, NEAR)), None)
    return None


def _plan(command: Callable[[], Any], run: CommandRun, output_format: Format | None, *, header: bool) -> None:
    """Run a command with its output thrown away, and print its plan."""
    chosen = output_format or (Format.TABLE if sys.stdout.isatty() else Format.TSV)
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - in the next line
    with nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(NotFetched):
        command()
    planned = run.plan()
    emit(planned, chosen, header=header)
    missing = [entry for entry in planned if not entry.cached]
    if missing:
        total = size(sum(entry.missing or 0 for entry in missing))
        files = len({(entry.model, entry.file) for entry in missing})
        note(f"would fetch {total} in {plural(len(missing), 'range')} of {plural(files, 'file')}")
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
