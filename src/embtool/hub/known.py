"""What is known of one repository on this machine: the commit that was settled, and the files and ranges that are here.

Nobody is asked. A file that is whole in the cache that all Hugging Face tools share is read there; what embtool fetched
itself is in its own (`embtool.hub.store`).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from embtool.errors import FileNotInModel
from embtool.hub.reference import COMMIT
from embtool.hub.shared import Copy, SharedCache, blob_name
from embtool.hub.small import SmallFiles
from embtool.hub.store import FileRecord, Store, content_key
from embtool.hub.tablefile import find
from embtool.storage.source import Cost, Folder, LocalRange

WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True)
class Whole:
    """A file that huggingface_hub's cache has whole."""

    path: Path
    folder: Folder

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self.path.name


class Known:
    """One repository as this machine knows it, at the commit that its revision is settled to be."""

    def __init__(
        self, name: str, revision: str, store: Store, shared: SharedCache, cost: Cost, *, offline: bool
    ) -> None:
        self.commit = revision if COMMIT.fullmatch(revision) else None
        self.store = store
        self.shared = shared
        self.small = SmallFiles(store, shared)
        self.repo_id = shared.repo_id
        self._name = name
        self._revision = revision
        self._cost = cost
        self._offline = offline
        self._listings: dict[str, dict[str, int | None]] = {}

    def local(self, file: str) -> Whole | None:
        """Find a file that is whole in the shared cache, at this commit, unless the hub said that it is another."""
        commit = self.settled()
        path = self.shared.path(commit, file) if commit is not None else None
        if commit is None or path is None:
            return None
        said, content = self.store.record(self.repo_id, commit, file), blob_name(path)
        if said is not None and content and said.content not in ("", content):
            return None
        if said is None and not self._offline and not file.endswith(WEIGHTS):
            return None
        # The links of that cache may lead to a store that several caches share: follow them here, where it is trusted.
        real = Path(os.path.realpath(path))
        folder = Folder(real.parent, self._name)
        folder.cost = self._cost
        return Whole(real, folder)

    def range(self, record: FileRecord, start: int, stop: int) -> bytes | None:
        """Find a range in embtool's cache: among the rows, in the head, or in a finished table."""
        if start == stop:
            return b""
        key = content_key(self.repo_id, record)
        data = self.store.row(key, start, stop)
        if data is None and (head := self.store.head(key, stop, record.size)) is not None and len(head) >= stop:
            data = head[start:stop]
        if data is None and (found := self.table(record, start, stop)) is not None:
            buffer = bytearray(stop - start)
            with found.open() as reader:
                reader.read_into(found.start, memoryview(buffer))
            data = bytes(buffer)
        return data

    def table(self, record: FileRecord, start: int, stop: int) -> LocalRange | None:
        """Find a range in a table that was fetched whole."""
        key = content_key(self.repo_id, record)
        return find(self.store.content(key), key, start, stop)

    def listing(self) -> dict[str, int | None] | None:
        """Return the files of the commit with their sizes, if the hub has listed them."""
        if self.commit is not None and self.commit not in self._listings:
            kept = self.store.listing(self.repo_id, self.commit)
            if kept is not None:
                self._listings[self.commit] = kept
        return self._listings.get(self.commit or "")

    def lacks(self, file: str) -> bool:
        """Tell, offline, whether another program has fetched the whole model, weights and all, but no such file."""
        commit = self.settled() if self._offline else None
        here = self.shared.names(commit) if commit is not None else ()
        return any(name.endswith(WEIGHTS) for name in here) and file not in here

    def settled(self) -> str | None:
        """Settle, when the network may not be used, for the commit that the revision meant when it was last asked."""
        if self.commit is None and self._offline:
            self.commit = self.remembered()
        return self.commit

    def remembered(self) -> str | None:
        """Return the commit that the revision meant when somebody last asked."""
        return self.store.commit(self.repo_id, self._revision) or self.shared.commit(self._revision)

    def keep_listing(self, commit: str, listing: dict[str, int | None]) -> None:
        """Keep the files of a commit, as the hub lists them."""
        self.store.keep_listing(self.repo_id, commit, listing)
        self._listings[commit] = listing

    def here(self, file: str, limit: int) -> Copy | None:
        """Find a small file without asking: as the endpoint has described it, or, offline, as other programs left it.

        Raises:
            FileNotInModel: it is known that the model has no such file.
            FormatError: it is here, offline, and damaged.
        """
        commit = self.settled()
        if commit is None:
            return None
        listing = self.listing()
        if self.store.lacks(self.repo_id, commit, file) or (listing is not None and file not in listing):
            raise FileNotInModel(f"{self.repo_id} has no file {file}")
        return self.small.said(commit, file, limit) or (self.left(commit, file, limit) if self._offline else None)

    def left(self, commit: str, file: str, limit: int) -> Copy | None:
        """Find a small file of other programs, where the hub may not or cannot be asked about it."""
        copy = self.small.left_by_others(commit, file, limit)
        if copy is None and (self.shared.lacks(commit, file) or self.lacks(file)):
            raise FileNotInModel(f"{self.repo_id} has no file {file}, as far as it is here")
        return copy
