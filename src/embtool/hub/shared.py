"""One repository in the cache that all Hugging Face tools share: where its files are, and how one is put there.

The layout is huggingface_hub's (https://huggingface.co/docs/huggingface_hub/guides/manage-cache):

    models--org--name/blobs/HASH                    a file's bytes, under the hash of its content
    models--org--name/snapshots/COMMIT/config.json  a link to them; a copy where links are not supported
    models--org--name/refs/main                     the commit that a branch or tag meant
    models--org--name/.no_exist/COMMIT/vocab.json   the commit has no such file

Everything is put in place at once, so no lock is needed: what another program puts there at the same time is the same.
What lies here is not known to be any server's word: huggingface_hub fills it from whatever `HF_ENDPOINT` named.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from embtool.errors import FormatError
from embtool.hub.failures import from_os_error
from embtool.hub.reference import COMMIT
from embtool.hub.store import matches, read_small
from embtool.storage.places import is_file
from embtool.storage.source import SMALL_FILE_LIMIT

LONGEST_STEM = 100
"""Characters of a file's name that stand in the name of its unfinished copy: file systems end at 255 bytes."""

COMMIT_LIMIT = 100
"""Bytes of a file that holds a commit."""


@dataclass(frozen=True)
class Copy:
    """A small file of this cache, read and held against its hash."""

    path: Path
    data: bytes


@dataclass(frozen=True)
class SharedCache:
    """What the shared cache has of one repository."""

    root: Path
    repo_id: str

    @property
    def folder(self) -> Path:
        """The repository's folder."""
        return self.root / f"models--{self.repo_id.replace('/', '--')}"

    def commit(self, revision: str) -> str | None:
        """Tell which commit a branch or tag meant when a program last asked."""
        path = self.folder / "refs" / revision
        data = read_small(path, COMMIT_LIMIT) if is_file(path) else None
        commit = (data or b"").decode("ascii", "replace").strip()
        return commit if COMMIT.fullmatch(commit) else None

    def path(self, commit: str, file: str) -> Path | None:
        """Tell where a file of a commit is, if it is here."""
        path = self._place(commit, file)
        return path if is_file(path) else None

    def lacks(self, commit: str, file: str) -> bool:
        """Tell whether a program was told that a commit has no such file."""
        return is_file(self.folder / ".no_exist" / commit / file)

    def names(self, commit: str) -> tuple[str, ...]:
        """Name the files of a commit that are here."""
        folder = self.folder / "snapshots" / commit
        return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_file(path)))

    def find(self, commit: str, file: str, content: str, limit: int) -> Copy | None:
        """Read a file whose content has this hash; None if it is not here, damaged, or larger than `limit` bytes."""
        for path in (self._place(commit, file), self._blob(content)):
            data = read_small(path, limit)
            if data is not None and matches(content, data):
                return Copy(path, data)
        return None

    def read(self, commit: str, file: str, limit: int) -> Copy | None:
        """Read a file as another program left it; None if it is not here or larger than `limit` bytes.

        Raises:
            FormatError: its bytes do not have the hash under which they lie.
        """
        path = self._place(commit, file)
        data = read_small(path, limit)
        if data is None:
            return None
        if not matches(blob_name(path), data):
            raise FormatError(
                f"{file} does not match its hash: {path} is damaged", hint="it is fetched again where that is allowed"
            )
        return Copy(path, data)

    def keep_commit(self, revision: str, commit: str) -> None:
        """Note what a branch or tag means; where that cannot be written, it is passed over."""
        if revision != commit and self.commit(revision) != commit:
            with contextlib.suppress(OSError):
                _put(self.folder / "refs" / revision, commit.encode())

    def keep(self, commit: str, file: str, content: str, data: bytes, *, is_first: bool) -> Copy:
        """Keep a file under the hash of its content; with `is_first` it replaces what another server has sent.

        Raises:
            LocalFailure: it cannot be written.
        """
        place, blob = self._place(commit, file), self._blob(content)
        try:
            if not matches(content, read_small(blob, len(data))):
                _put(blob, data)
            if is_first or not matches(blob_name(place), read_small(place, SMALL_FILE_LIMIT)):
                _link(place, blob, data)
        except OSError as error:
            failure = from_os_error(error, f"cannot keep {file} of {self.repo_id}")
            failure.hint = "HF_HUB_CACHE or HF_HOME names the folder in which small files are kept"
            raise failure from error
        return Copy(place if matches(content, read_small(place, len(data))) else blob, data)

    def _place(self, commit: str, file: str) -> Path:
        return self.folder / "snapshots" / commit / file

    def _blob(self, content: str) -> Path:
        return self.folder / "blobs" / content


def blob_name(path: Path) -> str:
    """Tell the name of the blob to which a file of a snapshot is a link; empty where it is none."""
    with contextlib.suppress(OSError):
        return Path(os.readlink(path)).name  # noqa: PTH115 - without resolving further
    return ""


def _put(path: Path, data: bytes) -> None:
    """Put a file in its place at once; a link under its name is replaced, not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _new_name(path)
    try:
        new.write_bytes(data)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _link(place: Path, blob: Path, data: bytes) -> None:
    """Let a file of a snapshot lead to its blob; where links are not supported it is a copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    new = _new_name(place)
    try:
        if not constants.HF_HUB_DISABLE_SYMLINKS:
            new.symlink_to(os.path.relpath(blob, place.parent))
            new.replace(place)
            return
    except OSError:
        new.unlink(missing_ok=True)
    _put(place, data)


def _new_name(path: Path) -> Path:
    """Name a file beside another that no other process writes, as huggingface_hub names what is not finished."""
    return path.with_name(f"{path.name[:LONGEST_STEM]}.{os.urandom(8).hex()}.incomplete")
