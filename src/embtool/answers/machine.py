"""Answers for programs: JSON, JSON Lines, TSV and CSV, in full precision."""

import json
import re
import unicodedata
from collections.abc import Iterable
from itertools import chain
from typing import Any, TextIO

from embtool.answers.answer import Answer, Failure, document
from embtool.answers.fields import plain
from embtool.answers.text import MOST_MARKS, printable

Answers = Iterable[Answer | Failure]

FLAT_LIST = re.compile(r"\[\n[^\[\]{}]*\]")
"""A list of numbers or texts, an element a line: a real line break stands in no text."""

BEYOND_ASCII = re.compile(r"[^\x00-\x7e]+")


def to_json(value: Any) -> str:
    """Write a value as JSON on one line, in ASCII: no character of a stranger reaches a terminal."""
    return json.dumps(plain(value), ensure_ascii=True, allow_nan=False)


def write_json(
    answers: Answers, stream: TextIO, *, header: bool, many: bool, blank: Answer | type[Answer] | None
) -> None:
    """Write one document; what failed is not in it, since everything in it has one shape."""
    del header
    answered = [answer for answer in answers if isinstance(answer, Answer)]
    said = document(answered, many=many, blank=blank)
    print(to_readable_json(plain(said), stream.encoding) if stream.isatty() else to_json(said), file=stream)


def to_readable_json(value: Any, encoding: str) -> str:
    """Write a plain value as JSON for a reader: indented, lists of numbers on one line, letters where that is safe."""
    indented = json.dumps(value, indent=2, ensure_ascii=not is_unicode(encoding), allow_nan=False)
    flat = FLAT_LIST.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), indented)
    return BEYOND_ASCII.sub(lambda found: escaped(found[0]), flat)


def is_unicode(encoding: str) -> bool:
    """Return whether an encoding has every character."""
    return encoding.lower().replace("-", "") == "utf8"


def escaped(text: str) -> str:
    """Write characters beyond ASCII for JSON: letters themselves, and escapes for what a terminal would obey."""
    marks, result = 0, []
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        is_safe = character.isprintable() and marks <= MOST_MARKS
        result.append(character if is_safe else json.dumps(character)[1:-1])
    return "".join(result)


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
    import csv  # noqa: PLC0415 - rarely asked for

    del many
    for table in _tables(answers, blank, header=header):
        csv.writer(stream, lineterminator="\n").writerows(table)
        stream.flush()
