"""The length of every row of a table, kept once it is known.

Finding where one row's norm stands among all takes a pass over the whole table; the norms themselves are a thousandth
of its size. So they are kept in embtool's cache, under the identity of the file they were computed from: its place,
size and time of change. A file that was touched has another identity, and its norms are computed anew. What is kept are
the numbers, little-endian float64, and their SHA-256.
"""

import contextlib
import hashlib
import json
import os

from embtool.arrays import Doubles, np
from embtool.storage.cache import derived
from embtool.storage.kept import put_sealed, read_sealed
from embtool.tables.survey import norms
from embtool.tables.table import EmbeddingTable

KEPT_BYTES = 32 << 20
"""Bytes of a table from which on its norms are worth keeping: a smaller one is scanned as quickly as they are read."""

VERSION = 2
"""Raise it when the norms' meaning or their file's layout changes."""


def row_norms(table: EmbeddingTable) -> Doubles:
    """Return the Euclidean norm of every row: float64 (rows,), to about 1e-6 relative; NaN where a row has one."""
    path = None
    if table.tensor.nbytes >= KEPT_BYTES:
        with contextlib.suppress(OSError):  # the pass over the table says what is wrong
            where = table.checkpoint.local_range(table.tensor)
            state = os.stat(where.path)  # noqa: PTH116 - what is known of a file, not whether it is there
            known = [os.path.realpath(where.path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns]
            identity = json.dumps([*known, where.start, where.stop, table.tensor.dtype.name, table.tensor.shape])
            path = derived("norms", hashlib.sha256(identity.encode()).hexdigest()).with_suffix(f".v{VERSION}.norms")
    kept = None if path is None else read_sealed(path, table.shape[0] * 8)
    if kept is not None and len(kept) == table.shape[0] * 8:
        return np.frombuffer(kept, "<f8").astype(np.float64)
    with table.open() as reader:
        found = norms(table, reader)
    if path is not None:
        put_sealed(path, found.astype("<f8").tobytes())
    return found
