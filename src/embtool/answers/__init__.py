"""Answers: described once as frozen dataclasses, printed in every format.

`emit` prints them; each format is one function, named in `RENDERERS`. The terminal gets rounded, abridged tables; JSON,
JSON Lines, TSV and CSV get everything, in full precision.

Floors, from the bottom: `text` (strings made safe), `fields` (what a field says of itself), `answer` (listings, cards,
documents), then `machine`, `terminal`, `markup` and `schema`, each one way to show an answer.
"""

import functools
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TextIO

from embtool.answers.answer import Answer, Block, Card, Failure, Listing, Section, document
from embtool.answers.fields import (
    Column,
    Matrix,
    column,
    context,
    identity,
    inline,
    plain,
    python,
    records,
    token_column,
    token_fields,
    value,
)
from embtool.answers.machine import to_json, write_csv, write_json, write_jsonl, write_tsv

__all__ = [
    "Answer",
    "Block",
    "Card",
    "Column",
    "Failure",
    "Format",
    "Listing",
    "Matrix",
    "Section",
    "column",
    "context",
    "document",
    "emit",
    "identity",
    "inline",
    "plain",
    "python",
    "records",
    "to_json",
    "token_column",
    "token_fields",
    "value",
]


class Format(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    JSONL = "jsonl"
    TSV = "tsv"
    CSV = "csv"


def _write_table(
    answers: Iterable[Answer | Failure],
    stream: TextIO,
    *,
    header: bool,
    many: bool,
    blank: Answer | type[Answer] | None,
    whole: bool = False,
) -> None:
    from embtool.answers.terminal import make_console, print_blocks  # noqa: PLC0415 - machine formats need no rich

    del many, blank
    blocks = (block for answer in answers if isinstance(answer, Answer) for block in answer.blocks())
    print_blocks(blocks, make_console(stream), stream, header=header, whole=whole)


def _write_markdown(
    answers: Iterable[Answer | Failure],
    stream: TextIO,
    *,
    header: bool,
    many: bool,
    blank: Answer | type[Answer] | None,
) -> None:
    from embtool.answers.markup import write_markdown  # noqa: PLC0415 - as above

    write_markdown(answers, stream, header=header, many=many, blank=blank)


RENDERERS: dict[Format, Callable[..., None]] = {
    Format.TABLE: _write_table,
    Format.MARKDOWN: _write_markdown,
    Format.JSON: write_json,
    Format.JSONL: write_jsonl,
    Format.TSV: write_tsv,
    Format.CSV: write_csv,
}


def emit(
    answers: Answer | Iterable[Answer | Failure],
    output_format: Format,
    *,
    header: bool = True,
    blank: Answer | type[Answer] | None = None,
    stream: TextIO | None = None,
    whole: bool = False,
) -> None:
    """Print an answer, or several of one kind as they come; each is flushed.

    A single `Answer` is one document; an iterable is what several questions gave, however many those are. `blank` is an
    answer without records, from which the head is taken where nothing was answered. With `whole` a table keeps every
    column and text, however wide it becomes.
    """
    render = functools.partial(_write_table, whole=True) if whole and output_format is Format.TABLE else None
    many = not isinstance(answers, Answer)
    several = [answers] if isinstance(answers, Answer) else answers
    (render or RENDERERS[output_format])(several, stream or sys.stdout, header=header, many=many, blank=blank)
