"""Vectors in files that somebody names: npy, JSON, TSV, or rows of a tensor, `x.safetensors:TENSOR#ROWS`."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from embtool.arguments import checked
from embtool.arrays import np
from embtool.counts import plural
from embtool.errors import (
    FormatError,
    InvalidArgument,
    TableNotFound,
    TokenIdOutOfRange,
    UnknownToken,
    UnsupportedFormat,
)
from embtool.formats import PICKLES
from embtool.model import open_model
from embtool.storage.impostors import impostor
from embtool.storage.places import is_there, read_up_to
from embtool.storage.source import SMALL_FILE_LIMIT
from embtool.tables.table import EmbeddingTable
from embtool.tables.vectors import NPY_MAGIC, NamedVector, parse_vectors, rows_shape
from embtool.vocabulary import parse_ids

ROWS_OF = re.compile(r"(?P<file>.+?\.(?:safetensors(?:\.index\.json)?|gguf))(?::(?P<tensor>.+?))?(?:#(?P<rows>[^#]*))?")
"""A file of tensors, one of them, and rows of it: x.safetensors:TENSOR#0..3."""

MOST_ROWS = 10_000
"""Rows taken as vectors from one tensor: a query each, and a typing error must not exhaust the memory."""

MOST_NAMES = 8
"""Tensors named where the one asked for is not there."""

PICKLE = b"\x80"


def read_some(file: str, whole: Callable[[str], list[NamedVector]]) -> list[NamedVector]:
    """Read vectors; `whole` reads a file of them that is no file of tensors.

    Raises:
        FormatError, UnsupportedFormat, TableNotFound, TokenIdOutOfRange: as `read_vectors`.
    """
    of_tensor = ROWS_OF.fullmatch(file)
    if of_tensor is not None:
        return _rows_of_tensor(of_tensor["file"], of_tensor["tensor"], of_tensor["rows"])
    name, _, rows = file.rpartition("#")
    if name and not is_there(Path(file)):
        vectors = read_some(name, whole)
        return [vectors[row] for row in _asked(rows, len(vectors), name)]
    if Path(file).suffix in PICKLES and Path(file).suffix != ".bin":
        raise _pickle(file)
    return whole(file)


def parse_file(data: bytes, file: str, unescape: Callable[[str], str] = str) -> list[NamedVector]:
    """Parse the bytes of a file of vectors; those without a name are named by their place.

    Raises:
        FormatError: they are no vectors.
        UnsupportedFormat: they are in a pickle, which is never loaded.
    """
    other = None if data.startswith(NPY_MAGIC) else impostor(data)
    if other is not None:
        raise UnsupportedFormat(f"{file} is {other.what}", hint=other.hint)
    if data.startswith(PICKLE):
        raise _pickle(file)
    vectors = parse_vectors(data, file=file, unescape=unescape)
    return [NamedVector(each.name or f"vector {place}", each.values) for place, each in enumerate(vectors)]


@checked
def read_vectors(file: str | Path) -> list[NamedVector]:
    """Read the vectors of a file, each with a `name` and its `values`, float64 (width,).

    They are those of an npy file, of JSON, of the TSV that `embtool row` writes, or rows of a tensor of a model's file,
    `x.safetensors:TENSOR`; `#3` or `#0..99` behind it takes some of them only.

    Raises:
        NoSuchFile: it is not there.
        FormatError: they are no vectors.
        UnsupportedFormat: they are in a pickle, which is never loaded.
        TableNotFound: the file has no such tensor.
        TokenIdOutOfRange: there are no such rows.
    """
    return read_some(str(file), _read_whole)


def _read_whole(file: str) -> list[NamedVector]:
    data = read_up_to(file, SMALL_FILE_LIMIT)
    if len(data) > SMALL_FILE_LIMIT:
        raise FormatError(f"{file} is too large: up to {SMALL_FILE_LIMIT:,} bytes are read")
    return parse_file(data, file)


def _rows_of_tensor(file: str, name: str | None, rows: str | None) -> list[NamedVector]:
    """Read rows of a tensor; a list of numbers is one row. A file of one tensor needs no name of it."""
    with open_model(Path(file)) as model:
        names = model.checkpoint.names
        if name is not None and f"{name}#{rows}" in names:
            name, rows = f"{name}#{rows}", None
        if name is None and len(names) != 1:
            raise TableNotFound(
                f"{file} has {len(names):,} tensors: which one?",
                hint=f"{file}:TENSOR#ROWS, such as {file}:{names[0] if names else 'x'}#0..3",
            )
        if name is not None and name not in names:
            held = ", ".join(sorted(names)[:MOST_NAMES]) + (", …" if len(names) > MOST_NAMES else "")
            raise TableNotFound(f"{file} has no tensor {name}", hint=f"its tensors: {held or 'none'}")
        tensor = model.checkpoint.tensor(names[0] if name is None else name)
        tensor = replace(tensor, shape=rows_shape(tensor.shape))
        table = EmbeddingTable("tensor", tensor, model.checkpoint)
        if not table.shape[0]:
            raise FormatError(f"{tensor.name} of {file} has no rows")
        asked = _asked(rows, table.shape[0], f"{tensor.name} of {file}")
        vectors = table.rows(asked).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FormatError(f"row {asked[broken[0]]:,} of {tensor.name} of {file} holds NaN or infinity")
    return [NamedVector(f"{tensor.name}#{row}", vector) for row, vector in zip(asked, vectors, strict=True)]


def _asked(rows: str | None, count: int, what: str) -> range:
    """Read which rows are asked for: all, or #3, or #0..3."""
    try:
        asked = range(count) if rows is None else parse_ids(f"id:{rows}")
    except (UnknownToken, TokenIdOutOfRange) as error:
        raise type(error)(f"#{rows} names no rows of {what}", hint="one row is #3, several are #0..99") from error
    assert asked is not None, "what begins with id: is read as ids"
    if len(asked) > MOST_ROWS:
        raise InvalidArgument(f"{what} gives {len(asked):,} vectors, at most {MOST_ROWS:,} are read: name rows, #0..99")
    if rows is not None and asked[-1] >= count:
        raise TokenIdOutOfRange(f"no row {asked[-1]} in {what}: it has {plural(count, 'row')}")
    return asked


def _pickle(file: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{file} is a pickle or an archive, which embtool never loads",
        hint="save the numbers as .npy (numpy.save) or .safetensors",
    )
