"""`embtool cache`: what was fetched and derived is listed, checked, and removed."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Column, Listing, column, inline, python, records
from embtool.answers.text import count, plural, size
from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import OutputOptions, expand
from embtool.errors import EmbtoolError, ModelNotFound
from embtool.hub.inventory import Entry, entries, remove, verify
from embtool.storage.cache import cache_root

DAMAGED = 6
"""The exit status of `verify` when something is not what was written: bad data."""

app = typer.Typer(add_completion=False, help="List, check and remove what embtool has fetched and derived.")

Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL...", autocompletion=completion.kept_models, help="Models, as org/name."),
]


AGES = (("s", 60), ("min", 60), ("h", 24), ("days", 31))
"""Units of ages, and how many of one are told in the next; what is older has a date."""


def age(modified: str, now: dt.datetime | None = None) -> str:
    """Say for a reader how long ago a moment was, given in ISO 8601.

    >>> age("2026-11-26T10:00:00+00:00", dt.datetime(2026, 11, 26, 10, 3, 20, tzinfo=dt.UTC))
    '3 min ago'
    """
    moment = dt.datetime.fromisoformat(modified)
    passed = max(0, int(((now or dt.datetime.now(dt.UTC)) - moment).total_seconds()))
    for unit, most in AGES:
        if passed < most:
            return "1 day ago" if (unit, passed) == ("days", 1) else f"{passed} {unit} ago"
        passed //= most
    return moment.astimezone().date().isoformat()


@dataclass(frozen=True)
class CacheEntry:
    """One thing that is kept."""

    kind: str = column("what it is")
    model: str | None = column("the model it belongs to", style="bold")
    file: str | None = column("the file it comes from", terminal=False)
    about: str | None = column("what it holds")
    bytes: int = column("how large it is", right=True, show=size)
    modified: str = column("when it was written", show=age, whole=True)
    path: str = column("where it is", terminal=False)

    @classmethod
    def of(cls, entry: Entry) -> "CacheEntry":
        """Describe an entry."""
        modified = dt.datetime.fromtimestamp(entry.modified, dt.UTC).isoformat(timespec="seconds")
        return cls(entry.kind, entry.model, entry.file, entry.about, entry.bytes, modified, str(Path(entry.path)))


@dataclass(frozen=True, repr=False, eq=False)
class CacheAnswer(Listing[CacheEntry]):
    """What is kept."""

    command = "cache-ls"

    entries: tuple[CacheEntry, ...] = records("what is kept")

    def after(self) -> Sequence[str]:
        """Return the total."""
        return [f"  {_entries(self.entries)}, {size(sum(entry.bytes for entry in self.entries))}"]


@dataclass(frozen=True, repr=False, eq=False)
class RemovedAnswer(Listing[CacheEntry]):
    """What was removed."""

    command = "cache-rm"

    entries: tuple[CacheEntry, ...] = records("what was removed")
    freed: int = python(default=0)

    def after(self) -> Sequence[str]:
        """Return the total."""
        return [f"  {_entries(self.entries)} removed, {size(self.freed)} freed"]


def _entries(entries: Sequence[CacheEntry]) -> str:
    return f"{count(len(entries))} {'entry' if len(entries) == 1 else 'entries'}"


@dataclass(frozen=True)
class CheckedEntry:
    """One thing that is kept, read again."""

    entry: CacheEntry = inline()
    verdict: str = column("sound, or what is wrong")


@dataclass(frozen=True, repr=False, eq=False)
class VerifyAnswer(Listing[CheckedEntry]):
    """What is kept, read again and held against its checksums."""

    command = "cache-verify"

    entries: tuple[CheckedEntry, ...] = records("what is kept")

    def columns(self) -> Sequence[Column]:
        """Return the columns, the verdict before the size."""
        *before, verdict = super().columns()
        return *before[:4], verdict, *before[4:]


def ls(models: Models = None, *, output: OutputOptions) -> None:
    """List what is kept: tables, unfinished tables, headers and rows, records, and what was derived from files.

    Without a MODEL all of it.
    Whole files are not here but in the cache that all Hugging Face tools share: `hf cache ls`.
    """
    output.emit(CacheAnswer(tuple(map(CacheEntry.of, _chosen(models)))))


def rm(
    models: Models = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Remove only tables that are not finished.")] = False,
    output: OutputOptions,
) -> None:
    """Remove what is kept of models, or with --all everything; it is fetched again when it is wanted again."""
    if not models and not everything and not unfinished:
        raise typer.BadParameter("name a MODEL, or say --all or --unfinished")
    if models and everything:
        raise typer.BadParameter("--all and MODEL exclude each other")
    found = [entry for entry in _chosen(models) if entry.kind == "unfinished" or not unfinished]
    freed = sum(remove(entry) for entry in found)
    output.emit(RemovedAnswer(tuple(map(CacheEntry.of, found)), freed))


def path(*, output: OutputOptions) -> None:
    """Say where the cache is; EMBTOOL_CACHE moves it."""
    del output
    print(cache_root())  # noqa: T201 - the answer


def check(models: Models = None, *, output: OutputOptions) -> None:
    """Read everything again and hold it against its checksums; ends with status 6 if something is damaged."""
    found = _chosen(models)
    bad, listed = 0, []
    for entry in found:
        try:
            wrong = verify(entry)
        except EmbtoolError as error:
            wrong = error.message
        bad += wrong is not None
        listed.append(CheckedEntry(CacheEntry.of(entry), wrong or "sound"))
    output.emit(VerifyAnswer(tuple(listed)))
    if bad:
        told = f"{count(bad)} of {plural(len(found), 'entry', 'entries')} {'is' if bad == 1 else 'are'} damaged"
        note(f"{told}; `embtool cache rm MODEL` removes them")
        raise typer.Exit(DAMAGED)


for name, command in (("ls", ls), ("rm", rm), ("path", path), ("verify", check)):
    app.command(name, help=command.__doc__)(expand(command))


def _chosen(models: list[str] | None) -> list[Entry]:
    """Find the entries of the models named.

    Raises:
        ModelNotFound: nothing is kept of one.
    """
    found = entries(cache_root())
    for model in models or ():
        if not any(entry.model == model for entry in found):
            raise ModelNotFound(f"nothing is kept of {model}", hint="embtool cache ls")
    return [entry for entry in found if not models or entry.model in models]
