"""A file lock between processes: who fetches, while the others wait.

It only saves work. Should a file system grant it to everybody (Lustre, GPFS, some NFS:
https://github.com/huggingface/huggingface_hub/pull/4306), two processes write the same bytes to the same places.
"""

import errno
import os
import sys
from pathlib import Path

from embtool.storage.cache import open_kept

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
"""What the system answers when somebody else has the lock; any other answer means that it knows no locks."""


class FileLock:
    """A lock on a file of its own, given back by the system when its holder dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def try_acquire(self) -> bool:
        """Take the lock if it is free.

        Raises:
            OSError: the lock file cannot be opened.
        """
        try:
            descriptor = open_kept(self.path, os.O_RDWR | os.O_CREAT)
        except PermissionError:
            descriptor = open_kept(self.path)  # root's: it can be locked all the same
        if not _lock(descriptor) or not self._is_still_named(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_still_named(self, descriptor: int) -> bool:
        """Return whether the file that was locked is still the one that others would lock."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except OSError:
            return False


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD
    return True
