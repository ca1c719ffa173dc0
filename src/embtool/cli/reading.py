"""Files that a user names beside the model: vectors, questions."""

import sys
from pathlib import Path

import typer

from embtool.answers.text import unescape
from embtool.errors import FormatError
from embtool.storage.places import read_up_to
from embtool.storage.source import SMALL_FILE_LIMIT
from embtool.tables.vectors import NamedVector
from embtool.vector_files import parse_file, read_some
from embtool.vocabulary import Query


def read_input(path: Path, option: str) -> bytes:
    """Read a file, or stdin for `-`; `option` is what named it.

    Raises:
        BadParameter: it is stdin, and nothing is piped in.
        NoSuchFile: it is not there.
        LocalFailure: the system does not let it be read.
        FormatError: it is too large to be what it should be.
    """
    if str(path) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise typer.BadParameter(f"{option} - reads stdin, and nothing is piped in")
        data = sys.stdin.buffer.read(SMALL_FILE_LIMIT + 1)
    else:
        data = read_up_to(path, SMALL_FILE_LIMIT)
    if len(data) > SMALL_FILE_LIMIT:
        raise FormatError(f"{path} is too large: {option} reads up to {SMALL_FILE_LIMIT:,} bytes")
    return data


def read_vectors(file: Path) -> list[Query]:
    """Read the vectors of --vector as queries, named as they are there or by their place; see `vector_files`."""

    def whole(name: str) -> list[NamedVector]:
        return parse_file(read_input(Path(name), "--vector"), name, unescape)

    found = whole("-") if str(file) == "-" else read_some(str(file), whole)
    return [Query(each.name or "", vector=each.values) for each in found]
