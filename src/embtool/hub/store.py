"""What was fetched from a hub, in embtool's own cache (`embtool.storage.cache` says where), and how it is found again.

      v1/hub/ENDPOINT/
        models--org--name/refs/REVISION.json            the commit that a branch or tag meant when it was last asked
        models--org--name/COMMIT/FILE.json              a file's content hash and size, or that there is no such file
        models--org--name/COMMIT/listing.json           the names and sizes of all files
        contents/ab/abcd.../about.json                  which file this is, for people
        contents/ab/abcd.../heads/0-14000.range         the beginning of the file
        contents/ab/abcd.../rows/START-STOP.range       rows
        contents/ab/abcd.../START-STOP.safetensors      a finished table; while it is fetched: .part, .journal, .lock

What a file holds is kept under the hash of its content, so that a new commit, a tag or a fork that did not change it
costs nothing. The endpoint stands above it: a part of a file cannot be checked against the hash of the whole, so what a
mirror said must not be read as the hub's word later. Small files lie in the cache that all Hugging Face tools share
(`embtool.hub.shared`); here is which content this endpoint said they have. No name in the cache is taken from a server:
hashes are checked to be hashes, everything else is hashed. What a hub said ends with a line that is the SHA-256 of the
line before. A record, a head or a row that is damaged, or that could not be written, is no error; it is fetched again.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embtool.errors import EmbtoolError
from embtool.hub.endpoint import Endpoint
from embtool.hub.reference import COMMIT
from embtool.storage.cache import LAYOUT, put, read_kept
from embtool.storage.kept import put_sealed, read_sealed
from embtool.storage.source import open_regular

HUB = "hub"
"""The folder, beside those of things derived."""

RECORD_LIMIT = 64 << 20
"""Bytes of a JSON file of this cache; the longest listing, of a repository with 100,000 files, has 20 MB."""

RANGE_LIMIT = 32 << 20
"""Bytes of a range that is kept: the longest header that is read remotely has 25 MB; larger ranges are tables."""

GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
"""What an ETag of the hub is: the SHA-1 of a git blob, or the SHA-256 of a large file."""

SPAN = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


@dataclass(frozen=True)
class FileRecord:
    """What the hub says about one file of a commit; `etag` is the hash of its content, something else, or empty."""

    file: str
    commit: str
    etag: str
    size: int
    digest: str = ""
    """The SHA-256 of the content, where the file was fetched whole and its ETag is no hash."""

    @property
    def content(self) -> str:
        """The hash of the content; empty if unknown."""
        return self.etag if is_hash(self.etag) else self.digest


def is_hash(etag: str) -> bool:
    """Return whether an ETag is the hash of a content."""
    return bool(GIT_SHA1.fullmatch(etag) or SHA256.fullmatch(etag))


def matches(content: str, data: bytes | None) -> bool:
    """Return whether bytes have the hash of a content; True if it is no hash, False without bytes.

    >>> matches("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"")
    True
    """
    if data is None:
        return False
    if SHA256.fullmatch(content):
        return hashlib.sha256(data).hexdigest() == content
    if GIT_SHA1.fullmatch(content):
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == content
    return True


def content_key(repo_id: str, record: FileRecord) -> str:
    """Name a content: by the hash that the hub gives it, or by a hash of what else is known about it."""
    if is_hash(record.etag):
        return record.etag
    known = json.dumps([repo_id, record.commit, record.file, record.etag, record.size])
    return "other-" + hashlib.sha256(known.encode()).hexdigest()


def seal(text: bytes) -> bytes:
    """Add a line that is the SHA-256 of a line, so that rot in it is noticed."""
    return b"%b\n%b" % (text, hashlib.sha256(text).hexdigest().encode())


def read_record(path: Path) -> Any:
    """Read JSON whose second line is its SHA-256; None if it is absent, damaged or too large."""
    data = read_kept(path, RECORD_LIMIT) or b""
    text = data.partition(b"\n")[0]
    try:
        return json.loads(text) if data == seal(text) else None
    except (ValueError, RecursionError):
        return None


def read_small(path: Path, limit: int) -> bytes | None:
    """Read a file of the shared cache, where links lead to files; None if it is absent, unreadable or too large."""
    try:
        descriptor = open_regular(path)
    except (EmbtoolError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read() if os.fstat(descriptor).st_size <= limit else None
        except OSError:
            return None


@dataclass(frozen=True)
class Store:
    """The part of the cache that belongs to one endpoint."""

    root: Path
    endpoint: Endpoint

    @property
    def folder(self) -> Path:
        """Where everything of this endpoint lies."""
        return self.root / LAYOUT / HUB / self.endpoint.key

    def commit(self, repo_id: str, revision: str) -> str | None:
        """Return which commit a branch or tag meant when the hub was last asked."""
        commit = _field(read_record(self._ref_path(repo_id, revision)), "commit")
        return commit if isinstance(commit, str) and COMMIT.fullmatch(commit) else None

    def keep_commit(self, repo_id: str, revision: str, commit: str) -> None:
        """Remember which commit a branch or tag means."""
        if self.commit(repo_id, revision) != commit:
            self._write_sealed(self._ref_path(repo_id, revision), {"revision": revision, "commit": commit})

    def record(self, repo_id: str, commit: str, file: str) -> FileRecord | None:
        """Return what the hub said about a file of a commit."""
        return _record(read_record(self._record_path(repo_id, commit, file)), commit, file)

    def keep_record(self, repo_id: str, record: FileRecord, *, is_small: bool = False) -> None:
        """Remember what the hub says about a file of a commit; no part of a small file is kept here."""
        known = {"file": record.file, "etag": record.etag, "size": record.size}
        self._write_sealed(self._record_path(repo_id, record.commit, record.file), {**known, "digest": record.digest})
        about = self.content(content_key(repo_id, record)) / "about.json"
        if not is_small and read_record(about) is None:
            text = {"model": repo_id, "commit": record.commit, **known, "endpoint": self.endpoint.shown}
            self._write_sealed(about, text)

    def lacks(self, repo_id: str, commit: str, file: str) -> bool:
        """Return whether the hub said that a commit has no such file."""
        known = read_record(self._record_path(repo_id, commit, file))
        return _field(known, "file") == file and _field(known, "is_absent") is True

    def keep_absence(self, repo_id: str, commit: str, file: str) -> None:
        """Remember that a commit has no such file."""
        self._write_sealed(self._record_path(repo_id, commit, file), {"file": file, "is_absent": True})

    def is_said_elsewhere(self, repo_id: str, commit: str, file: str, data: bytes) -> bool:
        """Return whether another endpoint said that this is the content of a file."""
        place = self._record_path(repo_id, commit, file).relative_to(self.folder)
        for name in _names(self.folder.parent):
            if name != self.folder.name:
                known = _record(read_record(self.folder.parent / name / place), commit, file)
                if known is not None and known.content and matches(known.content, data):
                    return True
        return False

    def listing(self, repo_id: str, commit: str) -> dict[str, int | None] | None:
        """Return the names of a commit's files, each with its size if the hub said it."""
        known = read_record(self._model(repo_id) / commit / "listing.json")
        if not isinstance(known, dict) or not all(size is None or _is_size(size) for size in known.values()):
            return None
        return known

    def keep_listing(self, repo_id: str, commit: str, listing: dict[str, int | None]) -> None:
        """Remember the names and sizes of a commit's files."""
        self._write_sealed(self._model(repo_id) / commit / "listing.json", listing)

    def content(self, key: str) -> Path:
        """Return the folder of everything that is known of one content."""
        return self.folder / "contents" / key.removeprefix("other-")[:2] / key

    def head(self, key: str, length: int, size: int) -> bytes | None:
        """Return the first `length` bytes, if they were kept."""
        wanted = min(length, size)
        for _start, stop, path in spans(self.content(key) / "heads", ".range"):
            if stop >= wanted and (data := _read_range(path, stop)) is not None:
                return data[:wanted]
        return None

    def keep_head(self, key: str, data: bytes) -> None:
        """Keep the beginning of a file in place of any shorter one."""
        folder = self.content(key) / "heads"
        shorter = [path for _start, stop, path in spans(folder, ".range") if stop < len(data)]
        if self._write_range(folder / f"0-{len(data)}.range", data):
            for path in shorter:
                with contextlib.suppress(OSError):
                    path.unlink()

    def row(self, key: str, start: int, stop: int) -> bytes | None:
        """Return bytes start..stop, if exactly they were kept."""
        return _read_range(self.content(key) / "rows" / f"{start}-{stop}.range", stop - start)

    def keep_row(self, key: str, start: int, data: bytes) -> None:
        """Keep the bytes from `start` on."""
        self._write_range(self.content(key) / "rows" / f"{start}-{start + len(data)}.range", data)

    def _model(self, repo_id: str) -> Path:
        return self.folder / f"models--{repo_id.replace('/', '--')}"

    def _ref_path(self, repo_id: str, revision: str) -> Path:
        return self._model(repo_id) / "refs" / f"{_hashed(revision)}.json"

    def _record_path(self, repo_id: str, commit: str, file: str) -> Path:
        return self._model(repo_id) / commit / f"{_hashed(file)}.json"

    def _write_range(self, path: Path, data: bytes) -> bool:
        return len(data) <= RANGE_LIMIT and put_sealed(path, data, tidy=False)

    def _write_sealed(self, path: Path, value: object) -> None:
        data = seal(json.dumps(value).encode())
        put(path, lambda file: file.write(data), tidy=False)


def spans(folder: Path, suffix: str) -> Iterator[tuple[int, int, Path]]:
    """Find the byte ranges that a folder holds, by their names `START-STOP.suffix`."""
    for name in _names(folder):
        match = SPAN.fullmatch(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if match is not None and int(match[1]) < int(match[2]):
            yield int(match[1]), int(match[2]), folder / name


def is_range_sound(path: Path) -> bool:
    """Return whether a kept range still is what was written."""
    match = SPAN.fullmatch(path.name.removesuffix(".range"))
    return match is not None and _read_range(path, int(match[2]) - int(match[1])) is not None


def _read_range(path: Path, length: int) -> bytes | None:
    """Read a kept range; None if it is absent or damaged."""
    data = read_sealed(path, length)
    return data if data is not None and len(data) == length else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are what is parsed
    except OSError:
        return []


def _record(known: Any, commit: str, file: str) -> FileRecord | None:
    etag, size, digest = (_field(known, name) for name in ("etag", "size", "digest"))
    if _field(known, "file") != file or not isinstance(etag, str) or not _is_size(size):
        return None
    return FileRecord(file, commit, etag, size, digest if isinstance(digest, str) else "")


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _hashed(name: str) -> str:
    """Make a file name of any text: case-insensitive file systems and reserved names cannot mix two up."""
    return hashlib.sha256(name.encode()).hexdigest()[:40]
