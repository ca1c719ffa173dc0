"""One pass over a table, at memory speed.

A pass goes through the stored bytes block by block, in as many threads as help, and never holds more than the blocks in
hand.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from embtool.arrays import Bytes, Flags, Ints, np
from embtool.tables.table import TableReader

Ids = Ints
Mask = Flags
State = TypeVar("State")

BLOCK_BYTES = 8 << 20
"""Bytes a thread reads at a time: few calls, and most of it is still in a cache when it is scored."""

MOST_THREADS = 8
"""Memory bandwidth, not arithmetic, is the limit: more readers than this do not add any."""

SERIAL_BYTES = 32 << 20
"""Bytes. A smaller table is done before a second thread has started."""

LANES = 8
"""Parts of a table that are summed each by itself: as many as threads ever, so that the order of a sum is fixed."""


def read_rows(reader: TableReader, ids: Ids) -> Bytes:
    """Read scattered rows from an open table: uint8 (len(ids), row_bytes)."""
    rows = np.empty((len(ids), reader.row_bytes), np.uint8)
    for place, row in enumerate(ids.tolist()):
        reader.read(row, rows[place : place + 1])
    return rows


def in_parts(ids: Ids, size: int) -> Iterator[Ids]:
    """Cut ids into parts of at most `size`."""
    for first in range(0, len(ids), size):
        yield ids[first : first + size]


def scan(
    reader: TableReader,
    start: Callable[[], State],
    visit: Callable[[State, int, Bytes], None],
    *,
    block_bytes: int = BLOCK_BYTES,
) -> list[State]:
    """Visit every block of a table once; each thread has a state of its own, made by `start` and returned.

    `visit` gets the state, the id of the block's first row, and the block, uint8 (n, row_bytes). It may only
    read the block, and keep nothing of it: it can be a part of the file itself.
    """
    block_rows = max(1, block_bytes // max(1, reader.row_bytes, reader.row_cost))
    firsts = iter(range(0, reader.row_count, block_rows))
    lock = threading.Lock()
    stop = threading.Event()

    def work() -> State:
        state = start()
        buffer = np.empty((min(block_rows, reader.row_count), reader.row_bytes), np.uint8)
        while not stop.is_set():
            with lock:
                first = next(firsts, None)
            if first is None:
                break
            with reader.rows(first, buffer[: min(block_rows, reader.row_count - first)]) as block:
                visit(state, first, block)
        return state

    threads = _threads(reader)
    with reader.passing():
        return [work()] if threads == 1 else _in_threads(threads, [work] * threads, stop)


def scan_in_order(
    reader: TableReader,
    start: Callable[[], State],
    visit: Callable[[State, int, Bytes], None],
    *,
    block_bytes: int = BLOCK_BYTES,
    lanes: int = LANES,
) -> list[State]:
    """Visit every block of a table once, like `scan`, so that floating-point sums come out the same every time.

    The table is cut into `lanes` parts; each has a state of its own and is visited from its first block to its last, by
    whatever thread. The states are returned in the order of the parts.
    """
    edges = [reader.row_count * lane // lanes for lane in range(lanes + 1)]
    block_rows = max(1, block_bytes // max(1, reader.row_bytes, reader.row_cost))
    stop = threading.Event()

    def work(lane: int) -> State:
        state = start()
        first, last = edges[lane], edges[lane + 1]
        buffer = np.empty((min(block_rows, last - first), reader.row_bytes), np.uint8)
        while first < last and not stop.is_set():
            with reader.rows(first, buffer[: min(block_rows, last - first)]) as block:
                visit(state, first, block)
            first += len(block)
        return state

    threads, parts = min(_threads(reader), lanes), [partial(work, lane) for lane in range(lanes)]
    with reader.passing():
        return [part() for part in parts] if threads == 1 else _in_threads(threads, parts, stop)


def _threads(reader: TableReader) -> int:
    return min(MOST_THREADS, _cpus()) if reader.row_count * reader.row_bytes > SERIAL_BYTES else 1


def _in_threads(threads: int, work: Sequence[Callable[[], State]], stop: threading.Event) -> list[State]:
    """Do all work in so many threads; where one part fails, the others are told to stop."""
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(part) for part in work]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            raise


def _cpus() -> int:
    """Count the processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1
