"""A partial file that survives any death of the program that fills it.

A `Part` has its final size from the beginning and is written at offsets by several threads. A `Journal` beside it says
which blocks of it are complete. The order makes it safe: blocks are flushed to the disk before the journal claims them.
The journal also has its final size from the beginning and is written in place, two slots in turn, each with a checksum:
on a full disk it can still be written, and a write that is cut short leaves the other slot. It claims a block with the
block's own CRC-32, so that the next run can hold what it finds against it.
"""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from embtool.storage.cache import open_kept, read_kept
from embtool.storage.kept import LARGEST

BLOCK = 1 << 20
"""Bytes of one block: what at most is fetched again per connection after a death; 2,500 bits for a 2.5 GB table."""

MAGIC = b"EMBJRNL2"
PAGE = 4096
"""Bytes. A slot begins on a page of its own, so that writing one never touches the other."""

FIELDS = struct.Struct("<8s32sQQ")
LAST = (1 << 63) - 1
"""The highest number of a claim that is believed: no journal counts so far, and the next one must still fit."""

CHECKSUM = struct.Struct("<I")

OPEN = os.O_RDWR | os.O_CREAT


class Part:
    """A file of known size that several threads write at offsets."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = open_kept(path, OPEN)
        self._lock = threading.Lock()
        self._users = 0
        self._is_closing = False
        try:
            self.is_new = os.fstat(self._descriptor).st_size != size
            if self.is_new:
                os.ftruncate(self._descriptor, 0)
                os.ftruncate(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def allocated(self) -> int:
        """Bytes that already have a place on the disk."""
        blocks = getattr(os.fstat(self._descriptor), "st_blocks", 0)
        return int(blocks) * 512

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the file open while a thread writes, even if that thread was left behind."""
        with self._lock:
            if self._is_closing:
                raise ValueError("the file is closed")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_idle()

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at an offset.

        The last bytes of a full disk make a short count and no error, so the count is looked at.

        Raises:
            OSError: the disk is full, or fails.
        """
        write_at(self._descriptor, offset, data, self._lock)

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes back; fewer if the file is shorter."""
        return read_at(self._descriptor, offset, length, self._lock)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        sync(self._descriptor)

    def close(self) -> None:
        """Close the file as soon as no thread uses it any more."""
        with self._lock:
            self._is_closing = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closing and not self._users and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Journal:
    """Which blocks of a part are complete; `identity` (32 bytes) says which part, so that no other's claims count."""

    def __init__(self, path: Path, identity: bytes, length: int) -> None:
        self.path = path
        self._identity = identity
        self._length = length
        self._sequence = 0
        self._lock = threading.Lock()
        self._layout = _Layout.of(length)
        self.sums = [0] * self._layout.blocks
        """The CRC-32 of each block that is complete; it is set before the block is claimed."""
        self._descriptor = open_kept(path, OPEN)
        try:
            if os.fstat(self._descriptor).st_size != 2 * self._layout.slot:
                os.ftruncate(self._descriptor, 0)
                write_at(self._descriptor, 0, memoryview(bytes(2 * self._layout.slot)), self._lock)
        except BaseException:
            os.close(self._descriptor)
            raise

    def load(self) -> bytearray:
        """Read the newest sound claim: a bit per block, lowest bit first; all zeros if there is none."""
        data = read_at(self._descriptor, 0, 2 * self._layout.slot, self._lock)
        newest = _newest(data, self._identity, self._length)
        self._sequence, self.sums = newest.sequence, list(newest.sums)
        return bytearray(newest.bitmap)

    def clear(self) -> None:
        """Forget every claim, in both slots."""
        empty = bytes(self._layout.bitmap)
        self.save(empty)
        self.save(empty)
        sync(self._descriptor)

    def save(self, bitmap: bytes) -> None:
        """Claim blocks. They must be on the disk before.

        Raises:
            OSError: the disk fails.
        """
        self._sequence += 1
        claim = FIELDS.pack(MAGIC, self._identity, self._length, self._sequence) + bitmap
        claim += struct.pack(f"<{self._layout.blocks}I", *self.sums)
        claim += CHECKSUM.pack(zlib.crc32(claim))
        slot = self._sequence % 2 * self._layout.slot
        write_at(self._descriptor, slot, memoryview(claim), self._lock)

    def close(self) -> None:
        """Close the journal."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def peek(path: Path, identity: bytes, length: int) -> bytes:
    """Read which blocks a journal claims, without taking part: for a plan, or while another process fetches."""
    return _newest(read_kept(path, LARGEST) or b"", identity, length).bitmap


def find_damage(part: Path, journal: Path, length: int) -> str | None:
    """Hold the claims of a journal against the part, and tell what is wrong; None if all is as it was written.

    Raises:
        OSError: the part cannot be read.
    """
    data, layout = read_kept(journal, LARGEST) or b"", _Layout.of(length)
    for slot in (data[: layout.slot], data[layout.slot :]):
        if any(slot) and (_claim(slot, layout) is None or any(slot[layout.claim + CHECKSUM.size :])):
            return "its journal is damaged"
    newest, bad = _newest(data, None, length), 0
    with os.fdopen(open_kept(part), "rb") as file:
        offset = os.fstat(file.fileno()).st_size - length
        for block, total in enumerate(newest.sums):
            if is_claimed(newest.bitmap, block):
                file.seek(offset + block * BLOCK)
                bad += zlib.crc32(file.read(min(BLOCK, length - block * BLOCK))) != total
    return f"{bad} of its blocks are damaged, and will be fetched again" if bad else None


def is_claimed(bitmap: bytes | bytearray, block: int) -> bool:
    """Tell whether a block is claimed."""
    return bool(bitmap[block // 8] >> block % 8 & 1)


def claimed_bytes(bitmap: bytes, length: int) -> int:
    """Count the bytes in the blocks of a bitmap."""
    blocks = -(-length // BLOCK)
    count = int.from_bytes(bitmap, "little").bit_count() * BLOCK
    last = blocks - 1
    if blocks and is_claimed(bitmap, last):
        count -= blocks * BLOCK - length
    return count


def write_at(descriptor: int, offset: int, data: memoryview, lock: threading.Lock) -> None:
    """Write all of `data` at an offset, however few bytes the system takes at a time."""
    while data:
        if hasattr(os, "pwrite"):
            count = os.pwrite(descriptor, data, offset)
        else:
            with lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                count = os.write(descriptor, data)
        offset += count
        data = data[count:]


def read_at(descriptor: int, offset: int, length: int, lock: threading.Lock) -> bytes:
    """Read up to `length` bytes at an offset; fewer only at the end of the file."""
    parts = []
    while length > 0:
        if hasattr(os, "pread"):
            data = os.pread(descriptor, length, offset)
        else:
            with lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                data = os.read(descriptor, length)
        if not data:
            break
        parts.append(data)
        offset += len(data)
        length -= len(data)
    return b"".join(parts)


def sync(descriptor: int) -> None:
    """Wait until a file's bytes are on the disk."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


class _Layout(NamedTuple):
    """How large the pieces of a journal are: all but `blocks`, a count, in bytes."""

    blocks: int
    bitmap: int
    claim: int
    slot: int

    @staticmethod
    def of(length: int) -> "_Layout":
        blocks = -(-length // BLOCK)
        bitmap = (blocks + 7) // 8
        claim = FIELDS.size + bitmap + 4 * blocks
        return _Layout(blocks, bitmap, claim, -(-(claim + CHECKSUM.size) // PAGE) * PAGE)


class _Claim(NamedTuple):
    """What one slot of a journal says."""

    sequence: int
    identity: bytes
    length: int
    bitmap: bytes
    sums: Sequence[int]


def _claim(slot: bytes, layout: _Layout) -> _Claim | None:
    """Read one slot; None if it is not what was written."""
    claim, checksum = slot[: layout.claim], slot[layout.claim :][: CHECKSUM.size]
    if checksum != CHECKSUM.pack(zlib.crc32(claim)) or not claim.startswith(MAGIC):
        return None
    _, identity, length, sequence = FIELDS.unpack_from(claim)
    after = FIELDS.size + layout.bitmap
    sums = struct.unpack_from(f"<{layout.blocks}I", claim, after)
    return _Claim(sequence, identity, length, claim[FIELDS.size : after], sums)


def _newest(data: bytes, identity: bytes | None, length: int) -> _Claim:
    """Find the newest of two sound slots about this part (None: about any); where there is none, claim nothing."""
    layout = _Layout.of(length)
    best = _Claim(0, b"", length, bytes(layout.bitmap), [0] * layout.blocks)
    if len(data) != 2 * layout.slot:
        return best
    for slot in (data[: layout.slot], data[layout.slot :]):
        claim = _claim(slot, layout)
        if claim is None or claim.length != length or identity not in (None, claim.identity):
            continue
        if best.sequence < claim.sequence <= LAST and not int.from_bytes(claim.bitmap, "little") >> layout.blocks:
            best = claim
    return best
