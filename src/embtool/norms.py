"""The length of every row of a table, kept once it is known.

Finding where one row's norm stands among all takes a pass over the whole table; the norms themselves are a thousandth
of its size. So they are kept in embtool's cache, under the identity of the file they were computed from: its place,
size and time of change. A file that was touched has another identity, and its norms are computed anew.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from embtool.cache import derived, put
from embtool.dtypes import Doubles
from embtool.scan import norms
from embtool.table import EmbeddingTable

KEPT_BYTES = 32 << 20
"""Bytes of a table from which on its norms are worth keeping: a smaller one is scanned as quickly as they are read."""

VERSION = 1
"""Raise it when the norms' meaning or their file's layout changes."""


def row_norms(table: EmbeddingTable) -> Doubles:
    """Tell the Euclidean norm of every row: float64 (rows,), to about 1e-6 relative; NaN where a row has one."""
    path = _place(table) if table.tensor.nbytes >= KEPT_BYTES else None
    kept = None if path is None else _read(path, table.shape[0])
    if kept is not None:
        return kept
    with table.open() as reader:
        found = norms(table, reader)
    if path is not None:
        put(path, lambda temporary: _write(temporary, found))
    return found


def _place(table: EmbeddingTable) -> Path:
    """Name the place of a table's norms by the identity of its file."""
    where = table.checkpoint.local_range(table.tensor)
    state = where.path.stat()
    known = [str(where.path.resolve()), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns]
    identity = json.dumps([*known, where.start, where.stop, table.tensor.dtype.name, table.tensor.shape])
    return derived("norms", hashlib.sha256(identity.encode()).hexdigest()).with_suffix(f".v{VERSION}.npy")


def _read(path: Path, rows: int) -> Doubles | None:
    """Read kept norms, or None where there are none that fit."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float64 and found.shape == (rows,) else None


def _write(path: Path, found: Doubles) -> None:
    with path.open("wb") as file:
        np.save(file, found, allow_pickle=False)
