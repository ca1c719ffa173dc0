"""A file that is there whole or not at all: written under another name, then put in its place at once.

There are two ways, and the caller chooses. `replacing` is for a file that a person named: a link leads to the file
meant, and a pipe or a device is written to. `renewing` is for a file of the program's own, such as those of its cache:
whatever stands under the name, a link, a pipe, is taken away, and nothing is followed or written to.

What kills the program in between leaves at most a hidden file, `.NAME.` and 16 hexadecimal digits, which the next one
who writes NAME removes once nobody has touched it for an hour.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from embtool.errors import LocalFailure

LONGEST_STEM = 50
"""Characters of a file's name that stand in its temporary name: file systems end at 255 bytes."""

ABANDONED = 3600
"""Seconds after which a temporary file that nobody has written to is what a dead process left."""

NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EROFS})
"""What the system says of a pipe or a device that it cannot flush to a disk."""

OWN_MODE = 0o644
"""What others may do with a file of the program's own, whatever the umask: read it."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write a file under; it takes the place on leaving, and nothing is left on failure.

    A link is followed. A device or a pipe is no file that could be replaced: it is written to itself.

    Raises:
        OSError: the system does not let it be written.
        LocalFailure: no file can have this name.
    """
    try:
        real = Path(os.path.realpath(path))
    except ValueError as error:  # half a surrogate pair, or a NUL
        raise LocalFailure(f"no file can have the name {str(path)!r}") from error
    if _is_special(real):
        yield real
        return
    with _put_in_place(real, tidy=True) as temporary:
        yield temporary


@contextlib.contextmanager
def renewing(path: Path, *, tidy: bool = True) -> Iterator[BinaryIO]:
    """Open a new file, to write and read, that takes the place of whatever has this name; nothing is left on failure.

    Nothing is followed: a link is replaced, and so are a pipe and a device. With `tidy`, what dead processes left of
    the same file is removed first, which costs a look at its folder.

    Raises:
        OSError: the system does not let it be written.
    """
    with (
        _put_in_place(path, tidy=tidy) as temporary,
        open(temporary, "x+b", opener=_open_own) as file,
    ):
        yield file


@contextlib.contextmanager
def _put_in_place(path: Path, *, tidy: bool) -> Iterator[Path]:
    start = f".{path.name[:LONGEST_STEM]}."
    if tidy:
        _remove_abandoned(path.parent, start)
    temporary = path.with_name(start + os.urandom(8).hex())
    try:
        yield temporary
        temporary.replace(path)
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


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags, OWN_MODE)


def _is_special(path: Path) -> bool:
    """Return whether this is something that is neither a file nor a folder."""
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
