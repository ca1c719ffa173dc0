"""A result that goes into a file: in any format of stdout, and as Parquet, which is no text."""

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Answer, Failure, Format
from embtool.cli.messages import note
from embtool.cli.options import OutputOptions
from embtool.cli.writing import Force, check_free
from embtool.storage.replacing import whole


class FileFormat(StrEnum):
    """How answers are printed, or written into a file."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    CSV = "csv"
    PARQUET = "parquet"


SUFFIXES = {".md": FileFormat.MARKDOWN, ".txt": FileFormat.TABLE}
"""Ends of names that are not the format's own."""


@dataclass(frozen=True)
class FileOutputOptions(OutputOptions):
    """How the result is printed, and into which file."""

    output_format: Annotated[
        FileFormat | None,
        typer.Option(
            "-f",
            "--format",
            help="Print as table, markdown, json, jsonl, tsv, csv or parquet. Default: what the end of -o's name says, "
            "a table on a terminal, TSV in a pipe.",
            rich_help_panel="Output",
        ),
    ] = None  # type: ignore[assignment]  # one format more
    file: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the result into a file, which appears when it is whole; one row a model in Parquet.",
            readable=False,
            rich_help_panel="Output",
        ),
    ] = None
    force: Force = False

    @property
    def is_parquet(self) -> bool:
        """Whether the result is to be Parquet.

        Raises:
            BadParameter: another format is asked for too, or the file's name says none.
        """
        return self._chosen is FileFormat.PARQUET

    @property
    def asked(self) -> Format | None:
        """The format of text asked for, if one was."""
        chosen = self._chosen
        return None if chosen is None or chosen is FileFormat.PARQUET else Format(chosen.value)

    @property
    def _chosen(self) -> FileFormat | None:
        flags = {"json": self.as_json, "jsonl": self.as_jsonl, "tsv": self.as_tsv, "csv": self.as_csv}
        asked = {FileFormat(name) for name, flag in flags.items() if flag}
        asked |= set() if self.output_format is None else {self.output_format}
        if len(asked) > 1:
            raise typer.BadParameter(f"one output format at a time, not {' and '.join(sorted(asked))}")
        if asked or self.file is None:
            return next(iter(asked), None)
        suffix = self.file.suffix.lower()
        if suffix.removeprefix(".") not in list(FileFormat) and suffix not in SUFFIXES:
            raise typer.BadParameter(f"the name {self.file} says no format: -f names one")
        return SUFFIXES.get(suffix) or FileFormat(suffix.removeprefix("."))

    def check(self) -> None:
        """Refuse what cannot be written, before anything is asked.

        Raises:
            BadParameter: something is there already, or Parquet would go to a terminal.
            MissingExtra: Parquet needs a library that is not installed.
        """
        check_free(self.file, force=self.force)
        if self.is_parquet:
            from embtool.answers.arrow import need_pyarrow  # noqa: PLC0415 - most answers are text

            need_pyarrow()
            if self.file is None and sys.stdout.isatty():
                raise typer.BadParameter("Parquet is not for a terminal: -o names a file")

    def write(self, answers: Answer | Iterable[Answer | Failure], blank: type[Answer], *, is_dry: bool) -> None:
        """Print an answer, or several as they come, or write them into the file; a dry run writes nothing.

        Raises:
            LocalFailure: the system does not let it be written.
        """
        if is_dry:
            self.emit(answers, blank=blank)
            return
        with contextlib.nullcontext(sys.stdout.buffer) if self.file is None else whole(self.file) as file:
            if self.is_parquet:
                from embtool.answers.arrow import outcomes, schema_of, write_parquet  # noqa: PLC0415 - as above

                several = [answers] if isinstance(answers, Answer) else answers
                records = (record for answer in self.with_notes(several) for record in outcomes(answer, summary=True))
                write_parquet(records, schema_of(blank, summary=True, failures=True), file)
            elif self.file is None:
                self.emit(answers, blank=blank)
            else:
                text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="", write_through=True)
                self.emit(answers, blank=blank, stream=text)
                text.detach()
        if self.file is None:
            sys.stdout.buffer.flush()
        else:
            note(f"wrote {self.file}")
