"""Files that a user names beside the model: vectors, questions."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from embtool.answers.text import plural, unescape
from embtool.errors import (
    FormatError,
    InvalidArgument,
    LocalFailure,
    NoSuchFile,
    TableNotFound,
    TokenIdOutOfRange,
    UnsupportedFormat,
)
from embtool.formats import PICKLES
from embtool.model import open_model
from embtool.places import is_there
from embtool.source import SMALL_FILE_LIMIT
from embtool.table import EmbeddingTable
from embtool.vectors import parse_vectors
from embtool.vocabulary import Query, parse_ids


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
        try:
            with path.open("rb") as file:
                data = file.read(SMALL_FILE_LIMIT + 1)
        except FileNotFoundError as error:
            raise NoSuchFile(f"no such file: {path}") from error
        except OSError as error:
            raise LocalFailure(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > SMALL_FILE_LIMIT:
        raise FormatError(f"{path} is too large: {option} reads up to {SMALL_FILE_LIMIT:,} bytes")
    return data


ROWS_OF = re.compile(r"(?P<file>.+?\.(?:safetensors(?:\.index\.json)?|gguf))(?::(?P<tensor>[^#]+))?(?:#(?P<rows>.+))?")
"""A file of tensors, one of them, and rows of it: x.safetensors:TENSOR#0..3."""

MOST_ROWS = 10_000
"""Rows taken as vectors from one tensor: a query each, and a typing error must not exhaust the memory."""

ZIP, PICKLE = b"PK\x03\x04", b"\x80"


def read_vectors(file: Path) -> list[Query]:
    """Read the vectors of --vector as queries, named as they are there or by their place.

    They are those of an npy file, of JSON, of the TSV that `row` writes, or rows of a tensor of a model's file; `#ROWS`
    takes some of them only.

    Raises:
        FormatError: they are no vectors.
        UnsupportedFormat: they are in a pickle, which is never loaded.
        TableNotFound: the file has no such tensor.
        TokenIdOutOfRange: there are no such rows.
    """
    text = str(file)
    of_tensor = None if text == "-" else ROWS_OF.fullmatch(text)
    if of_tensor is not None:
        return _rows_of_tensor(of_tensor["file"], of_tensor["tensor"], of_tensor["rows"])
    name, _, rows = text.rpartition("#")
    if name and not is_there(file):
        queries = read_vectors(Path(name))
        return [queries[row] for row in _asked(rows, len(queries), text)]
    if file.suffix in PICKLES and file.suffix != ".bin":
        raise _pickle(text)
    data = read_input(file, "--vector")
    if data.startswith((ZIP, PICKLE)):
        raise _pickle(text)
    brought = parse_vectors(data, file=text, unescape=unescape)
    return [Query(each.name or f"vector {place}", vector=each.values) for place, each in enumerate(brought)]


def _rows_of_tensor(file: str, name: str | None, rows: str | None) -> list[Query]:
    """Read rows of a tensor; a list of numbers is one row. A file of one tensor needs no name of it."""
    with open_model(Path(file)) as model:
        names = model.checkpoint.names
        if name is None and len(names) != 1:
            raise TableNotFound(
                f"{file} has {len(names):,} tensors: which one?",
                hint=f"--vector {file}:TENSOR#ROWS, such as {file}:{names[0] if names else 'x'}#0..3",
            )
        tensor = model.checkpoint.tensor(names[0] if name is None else name)
        if len(tensor.shape) == 1:
            tensor = replace(tensor, shape=(1, *tensor.shape))
        table = EmbeddingTable("tensor", tensor, model.checkpoint)
        asked = _asked(rows, table.shape[0], file)
        vectors = table.rows(asked).astype(np.float64)
    if not np.isfinite(vectors).all():
        raise FormatError(f"{tensor.name} of {file} holds a row with NaN or infinity")
    return [Query(f"{tensor.name}#{row}", vector=vector) for row, vector in zip(asked, vectors, strict=True)]


def _asked(rows: str | None, count: int, file: str) -> range:
    """Read which rows are asked for: all, or #3, or #0..3."""
    asked = range(count) if rows is None else parse_ids(f"id:{rows}")
    assert asked is not None, "what begins with id: is read as ids"
    if len(asked) > MOST_ROWS:
        raise InvalidArgument(f"{file} gives {len(asked):,} vectors, at most {MOST_ROWS:,} are read: name rows, #0..99")
    if rows is not None and asked[-1] >= count:
        raise TokenIdOutOfRange(f"no row {asked[-1]} in {file}: it has {plural(count, 'row')}")
    return asked


def _pickle(file: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{file} is a pickle or an archive, which embtool never loads",
        hint="save the numbers as .npy (numpy.save) or .safetensors",
    )
