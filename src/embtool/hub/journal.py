"""A partial file that survives any death of the program that fills it.

A `Part` has its final size from the beginning and is written at offsets by several threads. A `Journal` beside it says
which blocks of it are complete. The order makes it safe: blocks are flushed to the disk before the journal claims them.
The journal also has its final size from the beginning and is written in place, two slots in turn, each with a checksum:
on a full disk it can still be written, and a write that is cut short leaves the other slot.
"""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 20
"""Bytes of one block: what at most is fetched again per connection after a death; 2,500 bits for a 2.5 GB table."""

MAGIC = b"EMBJRNL1"
PAGE = 4096
"""Bytes. A slot begins on a page of its own, so that writing one never touches the other."""

FIELDS = struct.Struct("<8s32sQQ")
LAST = (1 << 63) - 1
"""The highest number of a claim that is believed: no journal counts so far, and the next one must still fit."""

CHECKSUM = struct.Struct("<I")

OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

MODE = 0o666
"""The umask decides: caches are shared by groups (https://github.com/huggingface/huggingface_hub/pull/3714)."""


class Part:
    """A file of known size that several threads write at offsets."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = os.open(path, OPEN, MODE)
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
        self._bitmap_size = (-(-length // BLOCK) + 7) // 8
        self._slot_size = _slot_size(self._bitmap_size)
        self._descriptor = os.open(path, OPEN, MODE)
        try:
            if os.fstat(self._descriptor).st_size != 2 * self._slot_size:
                os.ftruncate(self._descriptor, 0)
                write_at(self._descriptor, 0, memoryview(bytes(2 * self._slot_size)), self._lock)
        except BaseException:
            os.close(self._descriptor)
            raise

    def load(self) -> bytearray:
        """Read the newest sound claim: a bit per block, lowest bit first; all zeros if there is none."""
        data = read_at(self._descriptor, 0, 2 * self._slot_size, self._lock)
        self._sequence, bitmap = _newest(data, self._slot_size, self._identity, self._length)
        return bytearray(bitmap)

    def clear(self) -> None:
        """Forget every claim, in both slots."""
        empty = bytes(self._bitmap_size)
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
        claim += CHECKSUM.pack(zlib.crc32(claim))
        slot = self._sequence % 2 * self._slot_size
        write_at(self._descriptor, slot, memoryview(claim), self._lock)

    def close(self) -> None:
        """Close the journal."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def peek(path: Path, identity: bytes, length: int) -> bytes:
    """Read which blocks a journal claims, without taking part: for a plan, or while another process fetches."""
    bitmap_size = (-(-length // BLOCK) + 7) // 8
    try:
        data = path.read_bytes()
    except OSError:
        return bytes(bitmap_size)
    return _newest(data, _slot_size(bitmap_size), identity, length)[1]


def claimed_bytes(bitmap: bytes, length: int) -> int:
    """Count the bytes in the blocks of a bitmap."""
    blocks = -(-length // BLOCK)
    count = int.from_bytes(bitmap, "little").bit_count() * BLOCK
    last = blocks - 1
    if blocks and bitmap[last // 8] >> last % 8 & 1:
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


def _slot_size(bitmap_size: int) -> int:
    used = FIELDS.size + bitmap_size + CHECKSUM.size
    return -(-used // PAGE) * PAGE


def _newest(data: bytes, slot_size: int, identity: bytes, length: int) -> tuple[int, bytes]:
    """Find the newest of two slots that is sound and about this part: its number and its bitmap."""
    blocks = -(-length // BLOCK)
    bitmap_size = (blocks + 7) // 8
    best = (0, bytes(bitmap_size))
    if len(data) != 2 * slot_size:
        return best
    for slot in (data[:slot_size], data[slot_size:]):
        end = FIELDS.size + bitmap_size
        claim, checksum = slot[:end], slot[end : end + CHECKSUM.size]
        magic, whose, how_long, sequence = FIELDS.unpack_from(claim)
        if checksum != CHECKSUM.pack(zlib.crc32(claim)) or (magic, whose, how_long) != (MAGIC, identity, length):
            continue
        if best[0] < sequence <= LAST and not int.from_bytes(claim[FIELDS.size :], "little") >> blocks:
            best = (sequence, claim[FIELDS.size :])
    return best
