"""Showing how far a pass over a large table is."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from embtool.cli.reach import current
from embtool.source import RangeReader
from embtool.table import EmbeddingTable, TableReader

WATCHED_BYTES = 256 << 20
"""Bytes. A pass over a smaller table is over before a bar has been read."""

TOLD_BYTES = 16 << 20
"""Bytes read between two looks at the bar."""


@contextlib.contextmanager
def watched(table: EmbeddingTable) -> Iterator[TableReader]:
    """Open a table like `EmbeddingTable.open`; on a terminal a bar shows how far each pass over a large one is."""
    with table.open() as reader:
        total = reader.row_bytes * reader.row_count
        if total < WATCHED_BYTES:
            yield reader
            return
        try:
            yield replace(reader, reader=_Watched(reader.reader, f"reading {table.tensor.name}", total))
        finally:
            current().end_progress()


@dataclass
class _Watched:
    """Reads like the reader it stands for, and tells what has been read."""

    reader: RangeReader
    what: str
    total: int
    done: int = 0
    told: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer."""
        self.reader.read_into(start, buffer)
        with self.lock:
            self.done += len(buffer)
            if self.done - self.told < TOLD_BYTES:
                return
            self.told = self.done
            current().progress(self.what, self.done % self.total, self.total)
