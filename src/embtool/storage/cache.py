"""Where embtool keeps what it has derived or fetched, how a file is put there, and how it is opened again.

The folder is `EMBTOOL_CACHE`, else `assets/embtool` in the user's Hugging Face home, where people already have room
for large files. The rules about that home are huggingface_hub's
(https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables), followed here so that a command
which asks no hub does not load it. Nothing kept here is needed: a cache that is damaged, of another version, or cannot
be written is passed over.

So is a cache that somebody else could have written. Its folder, each folder in it and each file must belong to the user
or to root, and nobody else may be able to write to them; a folder in which everybody may make files but nobody may
touch another's (`/tmp`) will do, since the files are looked at one by one. No link is followed below the cache's own
folder, and no pipe is opened. `refusal` tells what was passed over for this. Windows has no owners of this kind, so
there only links and kinds are looked at.
"""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from embtool.storage.replacing import OWN_MODE, renewing

LAYOUT = "v1"
"""Raise it when the meaning of a path or of a file's content changes; older folders are then left alone."""

CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# This is the cache of embtool: https://bford.info/cachedir/\n"
)
"""Tells backup programs that nothing here needs to be saved."""

FOLDER_MODE = 0o755
"""What others may do with a folder of the cache, whatever the umask: look into it."""

OPEN = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""How a kept file is opened: no link is followed, no pipe waited for."""

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotOurs(OSError):
    """A place in the cache is a link, a pipe, or could have been written by somebody else."""


def cache_root() -> Path:
    """Return where the cache is; not an absolute path where that is not known, for lack of a home folder."""
    if chosen := os.environ.get("EMBTOOL_CACHE"):
        return _absolute(chosen)
    if assets := os.environ.get("HF_ASSETS_CACHE"):
        return _absolute(os.path.expandvars(assets)) / "embtool"
    return _home() / "assets" / "embtool"


def shared_cache() -> Path:
    """Return where the cache is that all Hugging Face tools share; `HF_HUB_CACHE` names it."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return _absolute(os.path.expandvars(named)) if named else _home() / "hub"


def _home() -> Path:
    """Return where the user's Hugging Face home is."""
    home = os.environ.get("HF_HOME")
    if not home:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.path.join(base, "huggingface")  # noqa: PTH118 - still to be expanded
    return _absolute(os.path.expandvars(home))


def _absolute(text: str) -> Path:
    """Make a path absolute, but for a `~` of which nobody knows where it is: no folder of that name is made."""
    expanded = os.path.expanduser(text)  # noqa: PTH111 - pathlib raises where there is no home
    return Path(expanded) if expanded.startswith("~") else Path(expanded).absolute()


def derived(kind: str, key: str) -> Path:
    """Return the place of something derived from a content: `key` is the content's hash, in hexadecimal digits."""
    return cache_root() / LAYOUT / kind / key[:2] / key


def put(path: Path, write: Callable[[BinaryIO], object], *, tidy: bool = True) -> bool:
    """Put a file in its place at once: `write` fills it under another name first. Tell whether that could be done.

    Two processes that make the same file do not disturb each other: the later one replaces the same content. Without
    `tidy` nobody looks for what dead processes left: for folders of thousands of small files.
    """
    try:
        make_folder(path.parent)
        with renewing(path, tidy=tidy) as file:
            write(file)
    except OSError:
        return False
    return True


def read_kept(path: Path, limit: int) -> bytes | None:
    """Read a file of the cache whole; None if it is absent, not ours, unreadable or larger than `limit` bytes."""
    try:
        descriptor = open_kept(path)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read() if os.fstat(descriptor).st_size <= limit else None
        except OSError:
            return None


def open_kept(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file of the cache and return its descriptor; where it may be made, it takes the place of what is not ours.

    Raises:
        NotOurs: it, or a folder above it, is a link or could have been written by somebody else.
        OSError: it is not there, or the system does not let it be opened.
    """
    _check_folders(path.parent)
    with contextlib.suppress(FileNotFoundError):
        objection = _objection(path, os.lstat(path), stat.S_IFREG)
        if objection is not None and not flags & os.O_CREAT:
            raise NotOurs(objection)
        if objection is not None:
            path.unlink()
    descriptor = os.open(path, flags | OPEN, OWN_MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was exchanged just now
        os.close(descriptor)
        raise NotOurs(f"{path} is not a regular file")
    return descriptor


def make_folder(folder: Path) -> None:
    """Make a folder of the cache, and the cache itself, marked for backup programs, where they are not there yet.

    Raises:
        NotOurs: a folder above it is a link or could have been written by somebody else.
        OSError: the system does not let it be made.
    """
    _check_folders(folder)
    root = _root_of(folder)
    if not os.path.lexists(root / "CACHEDIR.TAG"):
        root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        _check_folders(root)
        with renewing(root / "CACHEDIR.TAG") as file:
            file.write(CACHEDIR_TAG)
    for part in reversed([folder, *folder.parents][: len(folder.parts) - len(root.parts)]):
        with contextlib.suppress(FileExistsError):
            part.mkdir(FOLDER_MODE)
    _check_folders(folder)


def objection_to(root: Path) -> str | None:
    """Say why a cache is not used: whose it is, or who may write to it; None if it may be used, or is not there.

    Raises:
        OSError: the system does not let it be looked at.
    """
    if not root.is_absolute():
        return "there is no home folder"
    try:
        link, status = os.lstat(root), os.stat(root)  # noqa: PTH116 - a person may make the cache a link
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _whose(root, link, 0) or _objection(root, status, stat.S_IFDIR)


_refused: list[str] = []


def refusal() -> str | None:
    """Tell, once, why the cache or a part of it was passed over since this was last asked; None if nothing was."""
    first = _refused[0] if _refused else None
    _refused.clear()
    return first


def _root_of(path: Path) -> Path:
    """Return the cache's folder from a path in it."""
    for folder in (path, *path.parents):
        if folder.name == LAYOUT:
            return folder.parent
    return path


def _check_folders(folder: Path) -> None:
    """Hold the cache and each folder in it, down to this one, against the rule; those that are not there are passed.

    Raises:
        NotOurs: one breaks it.
        OSError: the system does not let one be looked at.
    """
    root = _root_of(folder)
    objection = objection_to(root)
    for part in reversed([folder, *folder.parents][: len(folder.parts) - len(root.parts)]):
        if objection is not None:
            break
        try:
            objection = _objection(part, os.lstat(part), stat.S_IFDIR)
        except (FileNotFoundError, NotADirectoryError):
            return
    if objection is not None:
        if not _refused:
            _refused.append(objection)
        raise NotOurs(objection)


def _objection(path: Path, status: os.stat_result, kind: int) -> str | None:
    """Say what is wrong with something in the cache that should be of a kind, as `stat.S_IFMT` tells it."""
    if stat.S_IFMT(status.st_mode) != kind:
        what = "a link" if stat.S_ISLNK(status.st_mode) else "no folder" if kind == stat.S_IFDIR else "no regular file"
        return f"{path} is {what}"
    is_shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return _whose(path, status, 0 if is_shared else OTHERS_WRITE)


def _whose(path: Path, status: os.stat_result, forbidden: int) -> str | None:
    """Say whether something is another user's, or gives others a right that is forbidden."""
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to another user"
    return f"others may write to {path} (`chmod go-w` forbids it)" if status.st_mode & forbidden else None
