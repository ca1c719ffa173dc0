"""Leases: another process that would cut a file off waits until it is no longer looked at.

A file that is cut off while it is mapped into memory ends the process that looks at it (SIGBUS). On Linux the owner of
a file, or who has CAP_LEASE, can take a *read lease* on it (fcntl(2), "Leases"): whoever then opens the file for
writing or cuts it off is made to wait by the kernel, until the lease is given back, or for `lease-break-time`, 45
seconds. No lease is granted on a file that somebody has open for writing, or mapped so.

The kernel tells the holder by a signal. None of this process's is used: the lease is asked for with one that is ignored
unless a program wants it (SIGURG), and as soon as it is held nobody is told at all. Whether it is asked for back is
looked up instead, before each block.

Only file systems of this machine count. A file of a server or of FUSE can be cut off where this kernel does not see it.
"""

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

if sys.platform == "linux":
    import fcntl

LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "overlay"})
"""File systems on which nobody changes a file but through this kernel."""

BREAK_TIME = Path("/proc/sys/fs/lease-break-time")

LEAST_PATIENCE = 10
"""Seconds that the kernel must let pass before it takes a lease away: a block is done in a hundredth of one."""

NOBODY = 0
"""Who is told that a lease is asked for back."""


def take_lease(descriptor: int) -> bool:
    """Take a read lease on a file that is open for reading only; False where there is none to be had."""
    if sys.platform != "linux" or not _is_patient():
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, NOBODY)
    except OSError:
        give_back(descriptor)
        return False
    return True


def _is_patient() -> bool:
    """Tell whether the kernel waits long enough for a lease to be given back; 0 is for ever."""
    try:
        seconds = int(BREAK_TIME.read_text())
    except (OSError, ValueError):
        return False
    return seconds == 0 or seconds >= LEAST_PATIENCE


def is_held(descriptor: int) -> bool:
    """Tell whether a lease is held, and nobody asks for it."""
    if sys.platform != "linux":
        return False
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    except OSError:
        return False


def give_back(descriptor: int) -> None:
    """Give a lease back, if there is one: who waits for it goes on."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def is_local(descriptor: int) -> bool:
    """Tell whether an open file lies in a file system of this machine."""
    try:
        number = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_text(), re.MULTILINE)
        mounts = Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    for line in mounts:
        known, _, rest = line.partition(" - ")
        if number is not None and known.split(" ", 1)[0] == number[1]:
            return rest.split(" ", 1)[0] in LOCAL
    return False


def is_in_memory(descriptor: int, start: int, stop: int) -> bool:
    """Tell whether the first and the last byte of a range can be had without waiting for a disk, as far as is known."""
    byte = bytearray(1)
    try:
        for place in (start, stop - 1):
            os.preadv(descriptor, [byte], place, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # the file system does not say
        return True
    return True
