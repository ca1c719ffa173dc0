"""Files mapped into memory, so that a pass looks at their bytes without copying them.

A mapping is only looked at under a lease (`leases`), which lasts as long as a pass. Where there is none to be had, or
it is asked for back in the middle of a pass, the rest is read: the same bytes, by a copy. The mapping itself stays for
as long as the model is open, so that the next pass finds the pages where they are.

Before a block is lent for the first time the kernel is asked for all its pages (MADV_POPULATE_READ, Linux 5.14): what a
disk does not give is an error of that call, not the end of the process; the block is then read, which says what is
wrong. A block that is not in memory is read as well: a disk is quicker when it is asked for much at once.
"""

import contextlib
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from embtool.storage.leases import give_back, is_held, is_in_memory, is_local, take_lease

POPULATE = 22
"""MADV_POPULATE_READ, which Python has no name for yet."""

LEAST_BYTES = 16 << 20
"""Bytes of a range from which on it is worth mapping: fewer are read in some milliseconds."""


MAPPED = "mapped: under a lease, which keeps others from cutting the file, its bytes were looked at without a copy"
READ = "read: no lease was to be had that keeps others from cutting the file"
ASKED_BACK = "mapped, then read: in the middle of a pass another process asked for the file"


@dataclass
class _Mapping:
    """A range of a file in memory, from byte `first` on, which begins a page; `ready` are the blocks that were lent."""

    memory: mmap.mmap
    first: int
    ready: set[tuple[int, int]] = field(default_factory=set)

    def view(self, start: int, stop: int) -> memoryview | None:
        """Show bytes start..stop of the file, or None if the kernel does not get them all."""
        if (start, stop) not in self.ready:
            page = (start - self.first) - (start - self.first) % mmap.PAGESIZE
            try:
                self.memory.madvise(POPULATE, page, stop - self.first - page)
            except OSError:
                return None
            self.ready.add((start, stop))
        return memoryview(self.memory)[start - self.first : stop - self.first]


@dataclass
class Mappings:
    """What is mapped of the files of one model.

    Attributes:
        told: How the last pass went through its bytes; None before the first, and where a table is not worth it.
    """

    told: str | None = None
    _found: dict[tuple[int, int, int, int], _Mapping] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, descriptor: int, start: int, stop: int) -> _Mapping | None:
        """Return a range of an open file, mapped; None where that cannot be."""
        state = os.fstat(descriptor)
        key = (state.st_dev, state.st_ino, start, stop)
        if state.st_size < stop:
            return None
        with self._lock:
            if key not in self._found:
                first = start - start % mmap.ALLOCATIONGRANULARITY
                try:
                    if not is_local(descriptor):
                        return None
                    memory = mmap.mmap(descriptor, stop - first, mmap.MAP_SHARED, mmap.PROT_READ, offset=first)
                    memory.madvise(POPULATE, 0, mmap.PAGESIZE)
                except (OSError, ValueError, AttributeError, OverflowError):
                    return None
                self._found[key] = _Mapping(memory, first)
            return self._found[key]

    def close(self) -> None:
        """Forget the mappings: each ends when nobody looks at it any more."""
        with self._lock:
            self._found.clear()


@dataclass
class Leased:
    """A range of an open file that is lent block by block, for as long as the lease on the file is held."""

    descriptor: int
    start: int
    stop: int
    mappings: Mappings
    _mapping: _Mapping | None = None
    _passes: int = 0
    _lent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Hold a lease for a pass, if there is one to be had; nothing is left of it behind."""
        with self._lock:
            if self._passes == 0 and self.stop - self.start >= LEAST_BYTES:
                held = take_lease(self.descriptor)
                self._mapping = self.mappings.find(self.descriptor, self.start, self.stop) if held else None
                self.mappings.told = MAPPED if self._mapping is not None else READ
                self._give_back_unless_used()
            self._passes += 1
        try:
            yield
        finally:
            with self._lock:
                self._passes -= 1
                if self._passes == 0:
                    self._mapping = None
                    self._give_back_unless_used()

    @contextlib.contextmanager
    def lend(self, start: int, stop: int) -> Iterator[memoryview | None]:
        """Lend bytes start..stop of the file, until the end of the context; None where they are to be read."""
        with self._lock:
            if self._mapping is not None and not is_held(self.descriptor):
                self._mapping = None
                self.mappings.told = ASKED_BACK
                self._give_back_unless_used()
            mapping = self._mapping
            self._lent += mapping is not None
        if mapping is None:
            yield None
            return
        try:
            yield mapping.view(start, stop) if is_in_memory(self.descriptor, start, stop) else None
        finally:
            with self._lock:
                self._lent -= 1
                self._give_back_unless_used()

    def _give_back_unless_used(self) -> None:
        """Give the lease back if the mapping is not to be lent any more, and nothing of it is lent."""
        if self._mapping is None and self._lent == 0:
            give_back(self.descriptor)
