"""Files of the cache that show whether they still are what was written.

A small file ends with the SHA-256 of what is before it, and is held against that whenever it is read.

One that another library reads, such as a database of SQLite, has its CRC-32 at the end of its name.

A table is a safetensors file (https://github.com/huggingface/safetensors#format: eight bytes of length, that many bytes
of JSON padded with spaces, then the tensors). Its `__metadata__` have a CRC-32 of the header and of each block of the
rest, and the second at which it was written, which is also the file's time of change. A table of up to 32 MiB is held
against its sum when it is opened. That would take seconds for one of gigabytes; so it is done there only where the
file's time of change is another one: what a disk does to a file under an unchanged time, `embtool cache verify` finds.

The sums find rot, which is what a disk does. Somebody who can write to the cache could write the sums, too.
"""

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from embtool.storage.cache import open_kept, put, read_kept

BLOCK = 1 << 20
"""Bytes that are summed up at a time."""

DIGEST = hashlib.sha256().digest_size

LARGEST = 1 << 31
"""Bytes. No file that is read whole is nearly as large."""

ALWAYS_READ = 32 << 20
"""Bytes of a table up to which it is read whole when it is opened, in some hundredths of a second."""

HEADER_LIMIT = 4 << 20
"""Bytes. A header has one page, or a few where a name or an address is long."""

LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
NO_CHECKSUM = "0" * 8

_known: set[tuple[str, int, int, int, int]] = set()
"""The tables that this process has read whole: their path, device, inode, size and time of change."""


def put_sealed(path: Path, data: bytes, *, tidy: bool = True) -> bool:
    """Put a small file in its place, with its SHA-256 at the end; tell whether that could be done."""
    digest = hashlib.sha256(data).digest()
    return put(path, lambda file: file.write(data + digest), tidy=tidy)


def read_sealed(path: Path, limit: int) -> bytes | None:
    """Read what `put_sealed` wrote; None if it is absent, damaged, or has more than `limit` bytes."""
    data = read_kept(path, limit + DIGEST) or b""
    content, digest = data[:-DIGEST], data[-DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def is_sealed(path: Path) -> bool:
    """Tell whether a small file is what `put_sealed` wrote."""
    return read_sealed(path, LARGEST) is not None


def has_named_sum(path: Path) -> bool:
    """Tell whether a file has the CRC-32 at the end of its name, `NAME-xxxxxxxx.suffix`."""
    data = read_kept(path, LARGEST)
    return data is not None and named_sum(data) == path.stem.rpartition("-")[2]


def named_sum(data: bytes) -> str:
    """Sum a file up for its name."""
    return f"{zlib.crc32(data):08x}"


class TableHead(NamedTuple):
    """What a table says of itself."""

    offset: int
    """Where its tensors begin."""
    about: dict[str, str]
    """Its metadata."""
    size: int
    """The bytes of the file."""


def seal_metadata(checksum: str = NO_CHECKSUM, moment: int = 0) -> dict[str, str]:
    """Write the metadata with which a table is sealed; how long they are depends neither on the sum nor on the time."""
    return {"crc32": checksum, "sealed": f"{moment:012d}"}


def read_metadata(path: Path) -> TableHead | None:
    """Read what a table says of itself; None where it is absent or damaged."""
    with contextlib.suppress(OSError), _open(path) as file:
        return _read_head(file)
    return None


def is_sound(path: Path, *, whole: bool = False) -> bool:
    """Tell whether a table is what was written, by reading all of it where it is small or was touched, or with `whole`.

    Raises:
        OSError: it cannot be read.
    """
    with _open(path) as file:
        status = os.fstat(file.fileno())
        identity = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        head = _read_head(file)
        if head is None or not head.about.get("sealed", "").isdecimal():
            return False
        moment = int(head.about["sealed"]) * 10**9
        is_untouched = status.st_mtime_ns == moment and status.st_size > ALWAYS_READ
        if not whole and (is_untouched or identity in _known):
            return True
        file.seek(0)
        if checksum(file, head.offset, head.size) != head.about.get("crc32"):
            return False
        if status.st_mtime_ns != moment:
            stamp(path, moment // 10**9)  # a copy, say: from now on it is known again
        _known.add(identity)
        return True


def stamp(path: Path, moment: int) -> None:
    """Give a table the time of change that its header names, where the system lets us."""
    with contextlib.suppress(OSError, OverflowError):
        os.utime(path, (moment, moment))


def checksum(file: BinaryIO, offset: int, size: int) -> str:
    """Sum up a table from its beginning: its header of `offset` bytes, and the rest up to `size`, block by block."""
    header = file.read(offset)
    return join_checksums(header, (zlib.crc32(file.read(min(BLOCK, size - at))) for at in range(offset, size, BLOCK)))


def join_checksums(header: bytes, blocks: Iterable[int]) -> str:
    """Sum a table up by its header and the CRC-32 of its blocks, so that it can be done while they arrive in any order.

    The sum itself stands in the header; it counts as zeros.
    """
    start = b'"crc32": "'
    before, found, after = header.partition(start)
    empty = before + found + NO_CHECKSUM.encode() + after[len(NO_CHECKSUM) :] if found else header
    return f"{zlib.crc32(b''.join(CHECKSUM.pack(checksum) for checksum in (zlib.crc32(empty), *blocks))):08x}"


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(open_kept(path), "rb") as file:
        yield file


def _read_head(file: BinaryIO) -> TableHead | None:
    size = os.fstat(file.fileno()).st_size
    try:
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        header: Any = json.loads(file.read(length)) if length < min(size, HEADER_LIMIT) else None
    except (ValueError, struct.error, RecursionError):
        return None
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        return None
    return TableHead(LENGTH.size + length, about, size)
