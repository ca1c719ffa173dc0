"""`HubSource`: a repository of the hub as a `Source`.

What is asked first decides the commit, and everything after that is asked of that commit: a branch that moves in
between cannot mix two states of a model. Every question goes first to what is already on this machine: the cache that
all Hugging Face tools share (a file that is whole there is read there), then embtool's own (`embtool.hub.store`), then
the network.
"""

import json
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants

from embtool.counts import plural
from embtool.errors import AccessDenied, FileNotInModel, FormatError, TooLarge, Unreachable
from embtool.hub import table
from embtool.hub.crew import Crew, Job, Stop
from embtool.hub.endpoint import Credentials, Endpoint
from embtool.hub.environment import default_patience, look_up_token, shared_folder
from embtool.hub.failures import Asked, offline_error
from embtool.hub.known import WEIGHTS, Known
from embtool.hub.limit import Limit
from embtool.hub.listing import LISTING_LIMIT, parse_listing
from embtool.hub.reference import Reference, check_revision, parse_reference
from embtool.hub.remote_file import SIZE_LIMIT, RemoteFile
from embtool.hub.shared import Copy, SharedCache
from embtool.hub.small import SmallFile, too_large
from embtool.hub.store import RANGE_LIMIT, FileRecord, Store, content_key
from embtool.hub.transport import Meter, Patience, Transport
from embtool.storage.cache import cache_root
from embtool.storage.source import (
    SMALL_FILE_LIMIT,
    Confirm,
    LocalRange,
    NotFetched,
    Progress,
    Source,
    TensorDescription,
    check_file_name,
)

T = TypeVar("T")

MAX_BYTES = 4_000_000_000
"""Bytes that one question may fetch without being asked about: the table of the largest models of 2026 has 3.2 GB."""

GAP = 256 << 10
"""Bytes between two ranges that are fetched along: at 20 MB/s they cost 13 ms, less than a request's round trip."""

SIDE_BY_SIDE = 16
"""Connections for ranges: rows are short, so latency decides."""

HEADER_LIMIT = 25_000_000
"""Bytes of a header that is fetched: huggingface_hub's own limit; the longest known has 1 MB."""

SMALL = (".json", ".txt")
"""Ends of names of files that are fetched whole."""


@dataclass(frozen=True)
class Planned:
    """One thing that a command would fetch: bytes start..stop of a file, `missing` of them not on this machine."""

    file: str
    start: int
    stop: int
    missing: int
    path: Path | None
    """Where it is, as far as it is on this machine."""

    @property
    def is_cached(self) -> bool:
        """Whether nothing needs to be fetched."""
        return self.missing == 0


class HubSource(Source):
    """The files of one repository of the Hugging Face hub, at one commit.

    `progress` is told how far a long fetch is, from the thread that called; `confirm` is asked before more than
    `max_bytes` (4 GB) are fetched, and without it that is an error. Nothing is printed.

    With `plan_only`, small files and headers are read as ever, but rows and tables are not fetched: `plan` says what
    would be. Rows come as zeros then, and a table that is not here ends the work with `NotFetched`.
    """

    header_limit = HEADER_LIMIT

    def __init__(
        self,
        reference: str | Reference,
        revision: str | None = None,
        *,
        offline: bool = False,
        token: str | None = None,
        max_bytes: int | None = None,
        progress: Progress | None = None,
        confirm: Confirm | None = None,
        endpoint: str | None = None,
        hub_cache: Path | None = None,
        patience: Patience | None = None,
        plan_only: bool = False,
        limit: Limit | None = None,
    ) -> None:
        """Name a repository; nothing is asked of the hub yet.

        Raises:
            BadReference: the reference, the revision or the endpoint cannot be one.
        """
        super().__init__()
        parsed = parse_reference(reference) if isinstance(reference, str) else reference
        self.name = str(reference)
        self.repo_id = parsed.repo_id
        self.file = parsed.file
        """The one file that the reference names, if it names one."""
        wanted = revision if revision is not None else parsed.revision
        self.revision = check_revision(wanted) if wanted is not None else constants.DEFAULT_REVISION
        self.offline = offline or constants.is_offline_mode()
        self.max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        self.progress = progress
        self.confirm = confirm
        self.plan: list[Planned] | None = [] if plan_only else None
        """With `plan_only`: what rows and tables would have been fetched."""
        self.notes: list[str] = []
        """What the user should know although it is no error: a token that was not sent, an answer from the cache."""
        self.endpoint = Endpoint.parse(endpoint if endpoint is not None else constants.ENDPOINT)
        self.hub_cache = hub_cache if hub_cache is not None else shared_folder()
        self._store = Store(cache_root(), self.endpoint)
        self._credentials = Credentials(self.endpoint, token, lambda: look_up_token(self.notes))
        meter, patience = Meter(self.cost), default_patience() if patience is None else patience
        self._transport = Transport(self.endpoint, self._credentials, patience, meter, limit)
        self._finalizer = weakref.finalize(self, self._transport.close)
        shared = SharedCache(self.hub_cache, self.repo_id)
        self._known = Known(self.name, self.revision, self._store, shared, self.cost, offline=self.offline)
        self._remotes: dict[str, RemoteFile] = {}
        self._copies: dict[str, Copy] = {}
        self._absent: set[str] = set()
        self._heads: dict[str, int] = {}

    @property
    def commit(self) -> str | None:
        """The commit that all is asked of, once it is settled."""
        return self._known.commit

    @commit.setter
    def commit(self, commit: str | None) -> None:
        self._known.commit = commit

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def files(self) -> tuple[str, ...]:
        """Return the names of all files, as the hub lists them, by one request for each commit; else of those here."""
        known: Collection[str] | None = self._known.listing()
        if known is not None:
            return tuple(sorted(known))
        try:
            self._need_network(None)
            url = self.endpoint.listing_url(self.repo_id, self.commit or str(self.revision))
            data = self._transport.document(url, self._asked(None), LISTING_LIMIT)
        except Unreachable:
            self.commit = self.commit or self._known.remembered()
            here = self._known.listing() or (self.commit and self._known.shared.names(self.commit))
            if not here:
                raise
            if not self.offline:
                self._note_staleness()
            return tuple(sorted(here))
        commit, listed = parse_listing(data, self.repo_id)
        self._settle(commit)
        self._known.keep_listing(commit, listed)
        return tuple(sorted(listed))

    def has(self, file: str) -> bool:
        """Return whether the model has this file: from what is known here, else by one request.

        A small file is fetched: who asks for it wants to read it.
        """
        if file in self._copies or file in self._absent:
            return file in self._copies
        try:
            return self._look_for(file)
        except FileNotInModel:
            return False
        except Unreachable:
            if self._known.lacks(file):
                return False
            raise

    def _look_for(self, file: str) -> bool:
        listing = self._known.listing()
        if listing is not None:
            return file in listing
        if self.commit is not None and self._store.lacks(self.repo_id, self.commit, file):
            return False
        if self._known.local(file) is not None:
            return True
        if file.endswith(SMALL):
            self._fetched(file, SMALL_FILE_LIMIT)
        else:
            self._resolved(file)
        return True

    def size(self, file: str) -> int:
        """Return a file's size in bytes."""
        if (local := self._known.local(file)) is not None:
            return local.folder.size(local.name)
        known = (self._known.listing() or {}).get(file)
        return known if known is not None else self._resolved(file).size

    def read_file(self, file: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
        """Read a small file whole, from the shared cache or into it; checked against its hash.

        Raises:
            FileNotInModel: the model has no such file.
            FormatError: it is larger than `limit` bytes, or its bytes are not those that the hub has.
        """
        data = self._fetched(file, limit).data
        if len(data) > limit:
            raise too_large(self._asked(file), limit)
        return data

    def path(self, file: str) -> Path:
        """Return the local path of a small file, fetching it if need be; its bytes were checked against its hash."""
        return self._fetched(file, SMALL_FILE_LIMIT).path

    def head(self, file: str, length: int) -> bytes:
        """Read the first bytes: one request, and the question for the file's size with it."""
        if (local := self._known.local(file)) is not None:
            return local.folder.head(local.name, length)
        return self._or_remembered(lambda: self._head(file, length))

    def _head(self, file: str, length: int) -> bytes:
        remote = self._known_remote(file)
        if remote.record is not None:
            kept = self._store.head(content_key(self.repo_id, remote.record), length, remote.record.size)
            if kept is not None:
                self._heads[file] = len(kept)
                return kept
        self._need_network(file)
        data = remote.head(length)
        record = self._learn(file)
        self._heads[file] = len(data)
        if data:
            self._store.keep_head(content_key(self.repo_id, record), data)
        return data

    def read_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges: those that lie close together in one request, the rest side by side.

        Raises:
            TooLarge: more than `max_bytes` are missing, and nobody confirmed.
        """
        if (local := self._known.local(file)) is not None:
            return local.folder.read_ranges(local.name, ranges)
        have = {wanted: data for wanted in set(ranges) if (data := self._kept(file, *wanted)) is not None}
        missing = sorted(set(ranges) - have.keys())
        is_header = [start for start, _stop in ranges] == [self._heads.get(file)]  # what begins where the head ends
        if self.plan is not None and not is_header:
            self.plan += self.plan_ranges(file, ranges)
            return [have.get(wanted, bytes(wanted[1] - wanted[0])) for wanted in ranges]
        if missing:
            self._need_network(file)
            self._allow(f"rows of {file}", sum(stop - start for start, stop in merge(missing)))
            have |= self._fetch_ranges(file, missing)
        return [have[wanted] for wanted in ranges]

    def local_range(self, file: str, start: int, stop: int, *, describe: TensorDescription | None = None) -> LocalRange:
        """Fetch a long range once, and say where it is now; a shard that is whole in huggingface_hub's cache is it.

        Raises:
            TooLarge: more than `max_bytes` are missing, and nobody confirmed.
            LocalFailure: this machine has no space, no permission, or a lock is held for ever.
        """
        if (local := self._known.local(file)) is not None:
            return local.folder.local_range(local.name, start, stop)
        record = self._resolved(file)
        found = self._known.table(record, start, stop)
        if self.plan is not None:
            self.plan.append(self.plan_local_range(file, start, stop))
            if found is None:
                raise NotFetched
        if found is not None:
            return found
        if not 0 <= start < stop <= record.size:
            held = plural(record.size, "byte")
            raise FormatError(f"{file} of {self.repo_id} has {held}, not the range {start:,}-{stop:,}")
        self._need_network(file)
        target = table.Target(self._store, self.repo_id, record, start, stop, describe)
        self._allow(target.what, target.length - table.kept_bytes(target))
        patience = self._transport.patience.lock
        return table.fetch(target, self._remote(file), patience=patience, progress=self.progress)

    def plan_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[Planned]:
        """Say what `read_ranges` would fetch, request by request, without fetching."""
        if (local := self._known.local(file)) is not None:
            return [Planned(file, start, stop, 0, local.path) for start, stop in ranges]
        kept = [wanted for wanted in sorted(set(ranges)) if self._kept(file, *wanted) is not None]
        missing = sorted(set(ranges) - set(kept))
        plan = [Planned(file, start, stop, 0, self._store.root) for start, stop in kept]
        return plan + [Planned(file, start, stop, stop - start, None) for start, stop in merge(missing)]

    def plan_local_range(self, file: str, start: int, stop: int) -> Planned:
        """Say what `local_range` would fetch, without fetching the range (the file's hash may be asked for)."""
        if (local := self._known.local(file)) is not None:
            return Planned(file, start, stop, 0, local.path)
        record = self._resolved(file)
        if (found := self._known.table(record, start, stop)) is not None:
            return Planned(file, start, stop, 0, found.path)
        target = table.Target(self._store, self.repo_id, record, start, stop)
        kept = table.kept_bytes(target)
        return Planned(file, start, stop, target.length - kept, target.path(".part") if kept else None)

    def weights_size(self) -> int | None:
        """Return the bytes of all weights, as far as that was said by something that was read."""
        listing = self._known.listing()
        if listing is not None:
            return sum(size or 0 for file, size in listing.items() if file.endswith(WEIGHTS)) or None
        for file, copy in self._copies.items():
            if file.endswith(".index.json"):
                try:
                    total = json.loads(copy.data)["metadata"]["total_size"]
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
                if isinstance(total, int | float) and not isinstance(total, bool) and 0 < total < SIZE_LIMIT:
                    return int(total)
        sizes = [remote.record.size for remote in self._remotes.values() if remote.record is not None]
        return sum(sizes) or None

    def _fetched(self, file: str, limit: int) -> Copy:
        """Bring a small file into the shared cache, and settle the commit if this was the first question."""
        check_file_name(file, said_by=self.name)
        if file in self._absent:
            raise FileNotInModel(f"{self.repo_id} has no file {file}")
        if file not in self._copies:
            self._copies[file] = self._known.here(file, limit) or self._download(file, limit)
        return self._copies[file]

    def _download(self, file: str, limit: int) -> Copy:
        self._need_network(file)
        revision = self.commit or str(self.revision)
        remote = SmallFile(self._transport, self.repo_id, revision, file, None)
        try:
            commit, copy = self._known.small.fetch(remote, revision, limit)
        except FileNotInModel:
            self._absent.add(file)
            if remote.said_commit is not None:
                self._settle(remote.said_commit)
                self._store.keep_absence(self.repo_id, remote.said_commit, file)
            raise
        except (AccessDenied, Unreachable) as error:
            remembered = self.commit or self._known.remembered()
            if remembered is None:
                raise
            found = self._known.small.said(remembered, file, limit) or self._known.left(remembered, file, limit)
            if found is None:
                raise
            self._note_staleness(is_refused=isinstance(error, AccessDenied))
            commit, copy = remembered, found
        self._settle(commit)
        return copy

    def _settle(self, commit: str) -> None:
        """Pin the commit; a different one later is an error."""
        if self.commit is None:
            self.commit = commit
            self._store.keep_commit(self.repo_id, str(self.revision), commit)
        elif commit != self.commit:
            raise FormatError(f"{self.endpoint.shown} answers with commit {commit} where {self.commit} was asked for")
        if self._credentials.withheld and not self.notes:
            self.notes.append(
                f"the token was not sent: {self.endpoint.shown} is plain http, and anyone on the way could read it"
            )

    def _remote(self, file: str) -> RemoteFile:
        remote = self._remotes.get(file)
        if remote is None:
            check_file_name(file, said_by=self.name)
            commit = self._known.settled()
            record = self._store.record(self.repo_id, commit, file) if commit is not None else None
            revision = commit or str(self.revision)
            remote = self._remotes[file] = RemoteFile(self._transport, self.repo_id, revision, file, record)
        return remote

    def _kept(self, file: str, start: int, stop: int) -> bytes | None:
        """Find a range that is on this machine."""
        record = self._known_remote(file).record
        return None if record is None else self._known.range(record, start, stop)

    def _known_remote(self, file: str) -> RemoteFile:
        """Return a file as the hub knows it, asking what a branch means if an earlier meaning left something here."""
        if self.commit is None and not self.offline and self._store.commit(self.repo_id, str(self.revision)):
            self._resolved(file)
        return self._remote(file)

    def _resolved(self, file: str) -> FileRecord:
        """Return what the hub says about a file; asked once for each commit."""
        return self._or_remembered(lambda: self._resolve(file))

    def _resolve(self, file: str) -> FileRecord:
        remote = self._remote(file)
        if remote.record is None:
            self._need_network(file)
            try:
                remote.resolve()
            except FileNotInModel:
                self._absent.add(file)
                raise
        return self._learn(file)

    def _or_remembered(self, ask: Callable[[], T]) -> T:
        """Ask; if the hub cannot be reached, ask again about the commit that the revision meant last time."""
        try:
            return ask()
        except Unreachable:
            commit = self._known.remembered() if self.commit is None else None
            if commit is None:
                raise
            self.commit = commit
            self._remotes.clear()
            self._note_staleness()
            return ask()

    def _note_staleness(self, *, is_refused: bool = False) -> None:
        did = "refuses" if is_refused else "did not answer"
        text = f"{self.endpoint.shown} {did}: {self.repo_id} is shown as it was when last asked"
        if text not in self.notes:
            self.notes.append(text)

    def _learn(self, file: str) -> FileRecord:
        """Keep what the hub said about a file, and settle the commit if this was the first question."""
        record = self._remotes[file].record
        assert record is not None
        self._settle(record.commit)
        if self._store.record(self.repo_id, record.commit, file) != record:
            self._store.keep_record(self.repo_id, record)
        return record

    def _fetch_ranges(self, file: str, missing: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Fetch ranges that are sorted, and keep each one."""
        remote, have = self._remote(file), {}

        def job(start: int, stop: int) -> Job:
            def fetch(cancelled: Stop) -> None:
                data = remote.read(start, stop, cancelled)
                for first, last in missing:
                    if start <= first and last <= stop:
                        have[first, last] = data[first - start : last - start]

            return fetch

        Crew([job(start, stop) for start, stop in merge(missing)], SIDE_BY_SIDE).run()
        key = content_key(self.repo_id, self._learn(file))
        for (start, stop), data in have.items():
            if stop - start <= RANGE_LIMIT:
                self._store.keep_row(key, start, data)
        return have

    def _need_network(self, file: str | None) -> None:
        if self.offline:
            raise offline_error(Asked(self.endpoint, self.repo_id, self._known.settled() or str(self.revision), file))

    def _allow(self, what: str, count: int) -> None:
        if count <= self.max_bytes or (self.confirm is not None and self.confirm(what, count)):
            return
        raise TooLarge(
            f"{what}: {plural(count, 'byte')} would be fetched, the limit is {self.max_bytes:,}",
            hint="allow it with --max-bytes or EMBTOOL_MAX_BYTES",
        )

    def _asked(self, file: str | None) -> Asked:
        revision = self._known.settled() or str(self.revision)
        if self.offline:
            return Asked(self.endpoint, self.repo_id, revision, file)
        return self._transport.asked(self.repo_id, revision, file)


def merge(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join sorted ranges that overlap, touch, or lie closer together than a request is worth.

    >>> merge([(0, 10), (20, 30), (1_000_000, 1_000_010)])
    [(0, 30), (1000000, 1000010)]
    """
    merged: list[tuple[int, int]] = []
    for start, stop in ranges:
        if merged and start - merged[-1][1] <= GAP:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
