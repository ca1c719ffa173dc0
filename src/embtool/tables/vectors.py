"""Vectors that a user brings: npy files, JSON, or the TSV that `embtool row` writes.

What they are is told from their first bytes, so that a pipe needs no name.
"""

import io
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from embtool.arrays import AnyArray, Doubles, np
from embtool.counts import plural
from embtool.errors import FormatError
from embtool.storage.source import MOST_VALUES, is_overfull

NPY_MAGIC = b"\x93NUMPY"
NPY_HEADERS = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}
"""What of `numpy.lib.format` reads a header; version 3 is for names of fields, which vectors have none of."""

SHOWN = 100
"""Characters of a strange header that an error quotes."""

VALUE_COLUMN = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class NamedVector:
    """A vector, float64 (width,), and what its file calls it, if anything."""

    name: str | None
    values: Doubles


def parse_vectors(data: bytes, *, file: str, unescape: Callable[[str], str] = str) -> list[NamedVector]:
    """Parse vectors from the bytes of an npy file, JSON, JSON Lines, or TSV, whose names `unescape` reads.

    Raises:
        FormatError: it is none of these, or a number in it is not one.
    """
    if data.startswith(NPY_MAGIC):
        vectors = _from_npy(data, file)
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{file} is neither an npy file nor text") from error
        start = text.lstrip()[:1]
        vectors = _from_json(text, file) if start in ("[", "{") else _from_tsv(text, file, unescape)
    if not vectors:
        raise FormatError(f"{file} holds no vector")
    if not all(np.isfinite(vector.values).all() for vector in vectors):
        raise FormatError(f"{file} holds a vector with NaN or infinity")
    return vectors


def rows_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array as rows: one vector is one row, and a batch of one is what is in it.

    >>> rows_shape((4,)), rows_shape((2, 4)), rows_shape((1, 2, 4)), rows_shape((3, 2, 4))
    ((1, 4), (2, 4), (2, 4), (3, 2, 4))
    """
    if len(shape) == 1:
        return (1, *shape)
    while len(shape) > 2 and shape[0] == 1:  # noqa: PLR2004 - rows and width
        shape = shape[1:]
    return shape


def _from_npy(data: bytes, file: str) -> list[NamedVector]:
    """Parse an npy file of one vector or of rows."""
    array = read_npy(data, file)
    shape = rows_shape(array.shape)
    if array.dtype.kind in "fiu" and len(shape) == 2 and 0 in shape:  # noqa: PLR2004 - rows and width
        raise FormatError(f"{file} holds no vector: its shape is {_cut(str(shape))}")
    if array.dtype.kind not in "fiu" or len(shape) != 2:  # noqa: PLR2004 - as above
        raise FormatError(f"{file} holds {_cut(str(array.dtype))} of shape {_cut(str(shape))}, not vectors of numbers")
    with np.errstate(all="ignore"):  # what float64 cannot hold is infinite or NaN in it, which is refused
        rows = array.reshape(shape).astype(np.float64)
    return [NamedVector(None, row) for row in rows]


def read_npy(data: bytes, file: str) -> AnyArray:
    """Read the array of an npy file; one of objects would be a pickle and is refused.

    Raises:
        FormatError: it is no such file, or holds less than its header says.
    """
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that a header was written by Python 2
            read = getattr(np.lib.format, NPY_HEADERS[np.lib.format.read_magic(stream)])
            shape, is_transposed, dtype = read(stream)
    except Exception as error:  # numpy reads the header as Python source, and that can fail in many ways
        raise FormatError(f"{file} is not a readable npy file: {_cut(str(error))}") from error
    if dtype.hasobject:
        raise FormatError(f"{file} is an npy file with a pickle inside: embtool never loads a pickle, only numbers")
    if min(shape, default=0) < 0 or not dtype.itemsize:
        raise FormatError(f"{file} holds {_cut(str(dtype))} of shape {_cut(str(shape))}, not vectors of numbers")
    count, start = math.prod(shape), stream.tell()
    if count * dtype.itemsize > len(data) - start:
        raise FormatError(f"{file} is a truncated npy file: its header says {_cut(str(shape))} numbers")
    array = np.frombuffer(data, dtype, count, start)
    return array.reshape(shape, order="F" if is_transposed else "C")


def _cut(text: str) -> str:
    """Shorten what a file says to what an error may quote."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _from_json(text: str, file: str) -> list[NamedVector]:
    """Parse a list of numbers, a list of such lists, or what `embtool row` writes as JSON or JSON Lines."""
    if is_overfull(text.encode()):
        raise FormatError(f"{file} holds more than {MOST_VALUES:,} values")
    try:
        decoded = [json.loads(text)]
    except RecursionError as error:
        raise FormatError(f"{file} is nested too deeply") from error
    except ValueError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        try:
            decoded = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            raise FormatError(f"{file} is not JSON: {error}") from error
    vectors: list[NamedVector] = []
    for value in decoded:
        entries: Iterable[Any] = value.get("rows", [value]) if isinstance(value, dict) else [value]
        if isinstance(value, list) and value and isinstance(value[0], list | dict):
            entries = value
        if not isinstance(entries, list):
            raise FormatError(f"rows in {file} is not a list")
        vectors += [_json_vector(entry, file) for entry in entries]
    return vectors


def _json_vector(entry: Any, file: str) -> NamedVector:
    name = None
    if isinstance(entry, dict):
        name = entry.get("query") if isinstance(entry.get("query"), str) else None
        entry = entry.get("values")
    if not isinstance(entry, list) or not entry or not all(type(value) in (int, float) for value in entry):
        raise FormatError(f"{file} holds something that is not a list of numbers")
    try:
        return NamedVector(name, np.array(entry, np.float64))
    except OverflowError as error:
        raise FormatError(f"{file} holds a number too large for a float") from error


def _from_tsv(text: str, file: str, unescape: Callable[[str], str]) -> list[NamedVector]:
    """Parse lines of numbers, between tabs, commas or spaces; with the header of `row`, its columns v0, v1, ..."""
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    heads = lines[0][1].split("\t") if lines else []
    columns = [place for place, head in enumerate(heads) if VALUE_COLUMN.fullmatch(head)]
    if columns:
        name_column = heads.index("query") if "query" in heads else None
        vectors = []
        for number, line in lines[1:]:
            cells, where = line.split("\t"), f"line {number:,} of {file}"
            if max(columns) >= len(cells):
                raise FormatError(f"{where} has {plural(len(cells), 'cell')} where its header has more")
            name = None if name_column is None else cells[name_column]
            vectors.append(NamedVector(name, _numbers({column + 1: cells[column] for column in columns}, where)))
    else:
        vectors = [_bare_vector(line, f"line {number:,} of {file}") for number, line in lines]
    return [NamedVector(vector.name and unescape(vector.name), vector.values) for vector in vectors]


def _bare_vector(line: str, where: str) -> NamedVector:
    """Parse a line without a header: its numbers, after the text columns of `row --no-header` if there are any.

    Fields stand between tabs, or else between commas, or else between spaces. So `1,5 2,5` is refused at `5 2`.
    """
    cells = line.split("\t")
    if _is_row(cells):
        values = dict(enumerate(cells[_TEXT_COLUMNS:], _TEXT_COLUMNS + 1))
        return NamedVector(cells[0], _numbers(values, where))
    mark = next((mark for mark in "\t," if mark in line.strip()), None)
    return NamedVector(None, _numbers(dict(enumerate(line.strip().split(mark), 1)), where))


def _is_row(cells: list[str]) -> bool:
    """Return whether a line is one of `row`: an id, bytes in hexadecimal, and the norm of the numbers that follow."""
    if not cells[_TEXT_COLUMNS:] or not (re.fullmatch("[0-9]+", cells[1]) and re.fullmatch("([0-9a-f]{2})*", cells[4])):
        return False
    if not all(map(_is_number, cells[_TEXT_COLUMNS - 1 :])):
        return False
    norm, *values = map(float, cells[_TEXT_COLUMNS - 1 :])
    return math.isclose(norm, math.hypot(*values), rel_tol=1e-5)


_TEXT_COLUMNS = 6
"""The columns of `embtool row` before its numbers: query, id, piece, token, bytes, norm."""


def _is_number(cell: str) -> bool:
    """Return whether a cell is a decimal number; `float` would take `1_0` and digits of other scripts too."""
    return _written().fullmatch(cell.encode("utf-8", "surrogatepass")) is not None


@cache
def _written() -> re.Pattern[bytes]:
    from embtool.formats.decimals import WRITTEN  # noqa: PLC0415 - only where numbers are read from text

    return WRITTEN


def _numbers(cells: Mapping[int, str], where: str) -> Doubles:
    """Read the fields of a line, by their number."""
    stripped = {field: cell.strip() for field, cell in cells.items()}
    for field, cell in stripped.items():
        if not cell:
            raise FormatError(f"{where}: field {field:,} is empty")
        if not _is_number(cell):
            raise FormatError(f"{where}: field {field:,}, {_cut(cell)!r}, is not a decimal number")
        if not math.isfinite(float(cell)):
            raise FormatError(f"{where}: field {field:,}, {_cut(cell)!r}, is NaN or infinity")
    return np.array([float(cell) for cell in stripped.values()], np.float64)
