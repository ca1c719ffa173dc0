"""A file that is there whole or not at all: written under another name, then put in its place at once.

What kills the program in between leaves at most a hidden file, `.NAME.` and 16 hexadecimal digits, which the next one
who writes NAME removes once nobody has touched it for an hour.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from embtool.errors import LocalFailure

LONGEST_STEM = 50
"""Characters of a file's name that stand in its temporary name: file systems end at 255 bytes."""

ABANDONED = 3600
"""Seconds after which a temporary file that nobody has written to is what a dead process left."""

NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EROFS})
"""What the system says of a pipe or a device that it cannot flush to a disk."""


@contextlib.contextmanager
def replacing(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """Give another name to write a file under, and let it take the file's place on leaving; nothing is left on failure.

    A link is followed. A device or a pipe is no file that could be replaced: it is written to itself. With `tidy`, what
    dead processes left of the same file is removed first, which costs a look at its folder.

    Raises:
        OSError: the system does not let it be written.
    """
    real = Path(os.path.realpath(path))
    if _is_special(real):
        yield real
        return
    start = f".{real.name[:LONGEST_STEM]}."
    if tidy:
        _remove_abandoned(real.parent, start)
    temporary = real.with_name(start + secrets.token_hex(8))
    try:
        yield temporary
        temporary.replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is written to its end; nothing is left where that fails.

    Raises:
        LocalFailure: the system does not let it be written.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            yield file
            flush(file)
    except OSError as error:
        raise LocalFailure(f"cannot write {path}: {error.strerror or error}") from error


def flush(file: IO[Any]) -> None:
    """Wait until what was written is on the disk, so that a power cut after the replacement cannot empty the file.

    Raises:
        OSError: the disk is full, or fails.
    """
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def _is_special(path: Path) -> bool:
    """Tell whether this is something that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _remove_abandoned(folder: Path, start: str) -> None:
    pattern = re.compile(re.escape(start) + "[0-9a-f]{16}")
    oldest = time.time() - ABANDONED
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108 - a name that was listed just now
