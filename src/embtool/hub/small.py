"""Small files, whole: fetched by the same client as byte ranges, kept in the cache that all Hugging Face tools share.

huggingface_hub's own download function is not used: where an answer says that a file is in Xet storage it hands over to
another client, which asks whom the answer names, with the user's token, and takes its word for where to write. Here one
client sends everything, and what a server says of Xet is not read.

What lies in the shared cache may be anybody's word, a mirror's or the hub's. A file there is believed if the endpoint
that is asked has said that its content has this hash, and only as long as it does have it.
"""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import httpx2

from embtool.errors import EmbtoolError, FormatError
from embtool.hub.crew import Stop
from embtool.hub.failures import NOT_A_HUB, Asked, host_of
from embtool.hub.reference import COMMIT
from embtool.hub.remote_file import Refused, RemoteFile
from embtool.hub.shared import Copy, SharedCache
from embtool.hub.store import FileRecord, Store, is_hash, matches
from embtool.hub.transport import OK, Again

WHOLE = {"Accept-Encoding": "gzip"}
"""What is sent with a question for a file: no range."""


class Answer(NamedTuple):
    """What the hub says about a small file, and its bytes if they were not here."""

    record: FileRecord
    data: bytes | None


class SmallFile(RemoteFile):
    """One file of one revision, fetched whole and held against its hash."""

    said_commit: str | None = None
    """The commit that the last answer of the hub names, even one that says that there is no such file."""

    def fetch(self, limit: int, is_here: Callable[[FileRecord], bool]) -> Answer:
        """Ask what the file is, and fetch it unless what is said of it `is_here`.

        Raises:
            FileNotInModel, ModelNotFound, AccessDenied, Unreachable: as the hub says.
            FormatError: the server is no hub, the file has more than `limit` bytes, or they do not match their hash.
        """
        return self._transport.patiently(lambda: self._fetch_once(limit, is_here), Stop())

    def _fetch_once(self, limit: int, is_here: Callable[[FileRecord], bool]) -> Answer:
        asked = self._transport.asked(self._repo_id, self._revision, self._file)
        with ExitStack() as stack:
            try:
                response, url = self._ask(stack, WHOLE)
                said = self.record or FileRecord(self._file, self._revision, self._etag, 0)
                if is_hash(said.etag) and is_here(said):
                    return Answer(said, None)
                if said.size > limit:
                    raise too_large(asked, limit)
                if response is None:
                    response, url = self._follow(stack, url, WHOLE)
                    self._complain(response, url, asked)
            except Refused as refused:
                raise Again(self._refused(refused)) from refused
            data = _body(response, url, asked, limit)
        if not matches(said.etag, data) or (self.record is not None and len(data) != said.size):
            raise FormatError(
                f"{asked} was altered on the way: its bytes do not match the hash that the hub has",
                hint="a proxy or a mirror changes files; try another network or HF_ENDPOINT",
            )
        digest = "" if is_hash(said.etag) else hashlib.sha256(data).hexdigest()
        return Answer(replace(said, size=len(data), digest=digest), data)

    def _complain(self, response: httpx2.Response, url: str, asked: Asked) -> None:
        commit = response.headers.get("x-repo-commit", "")
        if self._transport.endpoint.is_origin_of(url) and COMMIT.fullmatch(commit):
            self.said_commit = commit
        super()._complain(response, url, asked)


class SmallFiles:
    """The small files of one repository, as one endpoint has them."""

    def __init__(self, store: Store, shared: SharedCache) -> None:
        self._store = store
        self._shared = shared

    def said(self, commit: str, file: str, limit: int) -> Copy | None:
        """Find a file that the endpoint has described before, and that is here as it was described."""
        record = self._store.record(self._shared.repo_id, commit, file)
        return self._shared.find(commit, file, record.content, limit) if record and record.content else None

    def left_by_others(self, commit: str, file: str, limit: int) -> Copy | None:
        """Find a file that another program has fetched; one that another endpoint has sent is not taken.

        Raises:
            FormatError: its bytes do not have the hash under which they lie.
        """
        copy = self._shared.read(commit, file, limit)
        if copy is not None and self._store.is_said_elsewhere(self._shared.repo_id, commit, file, copy.data):
            return None
        return copy

    def fetch(self, remote: SmallFile, revision: str, limit: int) -> tuple[str, Copy]:
        """Ask the hub for a file, keep it, and tell the commit that it belongs to.

        Raises:
            LocalFailure: it cannot be kept.
            EmbtoolError: as `SmallFile.fetch`.
        """
        here: list[Copy] = []

        def is_here(said: FileRecord) -> bool:
            copy = self._shared.find(said.commit, said.file, said.content, limit)
            here.extend([copy] if copy is not None else [])
            return copy is not None

        record, data = remote.fetch(limit, is_here)
        if data is None:
            data = here[-1].data
            record = replace(record, size=len(data))
        copy = self._shared.keep(
            record.commit, record.file, record.content, data, is_first=self._store.endpoint.is_default
        )
        if self._store.record(self._shared.repo_id, record.commit, record.file) != record:
            self._store.keep_record(self._shared.repo_id, record, is_small=True)
        self._shared.keep_commit(revision, record.commit)
        return record.commit, copy


def too_large(asked: Asked, limit: int) -> EmbtoolError:
    """Say that a file is larger than a small file can be."""
    return FormatError(f"{asked} is too large: the limit is {limit:,} bytes")


def _body(response: httpx2.Response, url: str, asked: Asked, limit: int) -> bytes:
    """Read an answer whole, unpacked; its length is believed only where it is too much."""
    host, headers = host_of(url), response.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
        raise FormatError(f"{host} {NOT_A_HUB}: a web page came instead of {asked}")
    if response.status_code != OK:
        raise FormatError(f"{host} sent a part of {asked}, although all of it was asked for")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise too_large(asked, limit)
    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                raise too_large(asked, limit)
    except httpx2.DecodingError as error:
        raise FormatError(f"{asked} was altered on the way: {host} sent it packed, and it does not unpack") from error
    return bytes(body)
