"""What is under a name in the file system.

`Path.exists`, `is_file` and `is_dir` raise what the system says unless it is one of four things, so that a folder that
may not be entered, or a name that is too long, would end the program with a traceback. These say what they cannot see.
"""

import errno
import os
import stat
from pathlib import Path

from embtool.errors import LocalFailure, NoSuchFile, trying_to

NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EBADF})
"""What the system says where nothing is, or can be: also of a name that is too long, or has characters of no name."""


def is_there(path: Path) -> bool:
    """Tell whether something has this name, at the end of all links.

    Raises:
        LocalFailure: the system does not let us look: a folder on the way may not be entered.
    """
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Tell whether a folder has this name, at the end of all links.

    Raises:
        LocalFailure: the system does not let us look.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_file(path: Path) -> bool:
    """Tell whether a regular file has this name, at the end of all links.

    Raises:
        LocalFailure: the system does not let us look.
    """
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def expand(text: str) -> Path:
    """Replace a leading `~`; that of a user who does not exist stays, and no such file is found."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_there_or_elsewhere(path: Path, *, is_path: bool) -> bool:
    """Tell whether something is at a place; in a working folder that is closed, a name that can be a hub's is one."""
    try:
        return is_there(path)
    except LocalFailure:
        if is_path or os.access(os.curdir, os.X_OK):
            raise
        return False


def read_regular(path: Path, limit: int) -> bytes:
    """Read a small file of the user's own, links followed; a pipe or a device is refused, not waited for.

    Raises:
        OSError: it is not there, no regular file, or may not be read.
        ValueError: it is larger than `limit` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > limit:
            raise ValueError(f"{path} has more than {limit:,} bytes")
        return file.read()


def read_up_to(path: str | Path, limit: int) -> bytes:
    """Read a file that a user names, or its first `limit` bytes and one more; a pipe is read, too.

    Raises:
        NoSuchFile: it is not there.
        LocalFailure: the system does not let it be read.
    """
    with trying_to(f"read {path}"):
        try:
            with Path(path).open("rb") as file:
                return file.read(limit + 1)
        except FileNotFoundError as error:
            raise NoSuchFile(f"no such file: {path}") from error


def _mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - the one place
    except ValueError:  # a NUL
        return None
    except OSError as error:
        if error.errno in NOTHING_THERE:
            return None
        raise LocalFailure(f"cannot reach {path}: {error.strerror or error}") from error
