"""Where embtool keeps what it has derived or fetched, and how a file is put there.

The folder is `EMBTOOL_CACHE`, else `assets/embtool` in the user's Hugging Face home, where people already have room
for large files. The rules about that home are huggingface_hub's
(https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables), followed here so that a command
which asks no hub does not load it. Nothing kept here is needed: a cache that is damaged, of another version, or cannot
be written is passed over.
"""

import os
from collections.abc import Callable
from pathlib import Path

from embtool.replacing import replacing

LAYOUT = "v1"
"""Raise it when the meaning of a path or of a file's content changes; older folders are then left alone."""

CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# This is the cache of embtool: https://bford.info/cachedir/\n"
)
"""Tells backup programs that nothing here needs to be saved."""


def cache_root() -> Path:
    """Tell where the cache is."""
    if chosen := os.environ.get("EMBTOOL_CACHE"):
        return Path(chosen).expanduser().absolute()
    if assets := os.environ.get("HF_ASSETS_CACHE"):
        return Path(os.path.expandvars(assets)).expanduser().absolute() / "embtool"
    return _home() / "assets" / "embtool"


def shared_cache() -> Path:
    """Tell where the cache is that all Hugging Face tools share; `HF_HUB_CACHE` names it."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(named)).expanduser().absolute() if named else _home() / "hub"


def _home() -> Path:
    """Tell where the user's Hugging Face home is."""
    home = os.environ.get("HF_HOME")
    if not home:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        home = os.path.join(base, "huggingface")  # noqa: PTH118 - still to be expanded
    return Path(os.path.expandvars(home)).expanduser().absolute()


def derived(kind: str, key: str) -> Path:
    """Name the place of something derived from a content: `key` is the content's hash, in hexadecimal digits."""
    return cache_root() / LAYOUT / kind / key[:2] / key


def put(path: Path, write: Callable[[Path], None], *, tidy: bool = True) -> bool:
    """Put a file in its place at once: `write` makes it under another name first. Tell whether that could be done.

    Two processes that make the same file do not disturb each other: the later one replaces the same content. Without
    `tidy` nobody looks for what dead processes left: for folders of thousands of small files.
    """
    try:
        tag_root()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, tidy=tidy) as temporary:
            write(temporary)
    except OSError:
        return False
    return True


def tag_root() -> None:
    """Make the cache's folder, marked for backup programs."""
    root = cache_root()
    tag = root / "CACHEDIR.TAG"
    if not tag.exists():
        root.mkdir(parents=True, exist_ok=True)
        with replacing(tag) as temporary:
            temporary.write_bytes(CACHEDIR_TAG)
