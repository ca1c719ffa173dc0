"""Answers for programs: JSON, JSON Lines, TSV and CSV, in full precision."""

import csv
import json
from collections.abc import Iterable
from itertools import chain
from typing import Any, TextIO

from embtool.answers.answer import Answer, Failure, document
from embtool.answers.fields import plain
from embtool.answers.text import printable

Answers = Iterable[Answer | Failure]


def to_json(value: Any) -> str:
    """Write a value as JSON on one line, in ASCII: no character of a stranger reaches a terminal."""
    return json.dumps(plain(value), ensure_ascii=True, allow_nan=False)


def write_json(
    answers: Answers, stream: TextIO, *, header: bool, many: bool, blank: Answer | type[Answer] | None
) -> None:
    """Write one document; what failed is not in it, since everything in it has one shape."""
    del header
    answered = [answer for answer in answers if isinstance(answer, Answer)]
    print(to_json(document(answered, many=many, blank=blank)), file=stream)


def write_jsonl(
    answers: Answers, stream: TextIO, *, header: bool, many: bool, blank: Answer | type[Answer] | None
) -> None:
    """Write a line for each record; what one answer says is flushed together."""
    del header, many, blank
    for answer in answers:
        for record in [answer.to_record()] if isinstance(answer, Failure) else answer.each_record():
            print(json.dumps(record, ensure_ascii=True, allow_nan=False), file=stream)
        stream.flush()


def cell(value: Any) -> str:
    """Write a value into a cell of TSV or CSV: whole, escaped, on one line."""
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return printable(json.dumps(value))
    return printable(value if isinstance(value, str) else repr(value))


def _tables(answers: Answers, blank: Answer | type[Answer] | None, *, header: bool) -> Iterable[Iterable[list[str]]]:
    """Yield the cells of each answer, the heads before the first; nothing before that is answered, lest it fail."""
    for answer in answers:
        if isinstance(answer, Failure):
            continue  # told on stderr: a table has no place for it
        heads, lines = answer.lines()
        yield chain([heads] if header else [], ([cell(value) for value in line] for line in lines))
        header, blank = False, None
    if isinstance(blank, Answer) and header:
        yield [blank.lines()[0]]


def write_tsv(
    answers: Answers, stream: TextIO, *, header: bool, many: bool, blank: Answer | type[Answer] | None
) -> None:
    """Write tab-separated values."""
    del many
    for table in _tables(answers, blank, header=header):
        stream.writelines("\t".join(line) + "\n" for line in table)
        stream.flush()


def write_csv(
    answers: Answers, stream: TextIO, *, header: bool, many: bool, blank: Answer | type[Answer] | None
) -> None:
    """Write comma-separated values."""
    del many
    for table in _tables(answers, blank, header=header):
        csv.writer(stream, lineterminator="\n").writerows(table)
        stream.flush()
