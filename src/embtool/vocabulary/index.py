"""A vocabulary in a file: one token can be looked up without reading the others.

Loading a tokenizer of 248,000 tokens takes about a second; finding one row takes a hundredth. So the entries are
derived once from a tokenizer file, into a small SQLite database in embtool's cache, keyed by the hash of that file's
content. SQLite comes with Python, is read page by page, and says so when a file is damaged; a database that is damaged,
of another version or cannot be written is passed over, and the entries are held in memory instead.
"""

import json
import sqlite3
import weakref
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embtool.cache import derived, put
from embtool.vocabulary.entries import Added, Entries, MemoryEntries, Traits

VERSION = 1
"""Raise it when the meaning of the tables below changes: a database of another version is not read."""

SCHEMA = """
CREATE TABLE tokens (id INTEGER PRIMARY KEY, piece TEXT NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class DamagedIndexError(Exception):
    """The database turned out to be unreadable while it was in use."""


def index_path(key: str) -> Path:
    """Tell where the index of a tokenizer file is, by the hash of the file."""
    return derived("vocabularies", key).with_suffix(f".v{VERSION}.sqlite")


def write_index(key: str, entries: MemoryEntries) -> bool:
    """Write the index of a tokenizer file; tell whether that could be done."""

    def write(path: Path) -> None:
        try:
            database = sqlite3.connect(path, isolation_level=None)
            try:
                # The file appears under its name only when it is complete, so it needs no journal of its own.
                database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {SCHEMA}")
                database.execute("BEGIN")
                database.executemany("INSERT INTO tokens VALUES (?, ?)", entries.items())
                database.executemany("INSERT INTO facts VALUES (?, ?)", _facts(entries).items())
                database.execute("CREATE INDEX pieces ON tokens (piece)")
                database.execute("COMMIT")
                database.execute(f"PRAGMA user_version={VERSION}")
            finally:
                database.close()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise OSError(f"cannot write an index: {error}") from error

    return put(index_path(key), write)


def _facts(entries: MemoryEntries) -> dict[str, bytes]:
    """Collect what else is kept: the sorted ids, the added tokens, the tokenizer's traits."""
    traits = entries.traits
    added = {str(identity): [token.content, token.special] for identity, token in entries.added.items()}
    kept = [traits.decoder, traits.pre_tokenizer, traits.unknown, traits.faithful, traits.composes]
    return {
        "ids": entries.ids.astype("<i8").tobytes(),
        "added": json.dumps(added).encode(),
        "traits": json.dumps(kept).encode(),
    }


def open_index(key: str) -> "IndexedEntries | None":
    """Open the index of a tokenizer file, or return None where there is none that can be read."""
    path = index_path(key)
    if not path.is_file():
        return None
    try:
        return IndexedEntries(path)
    except (sqlite3.Error, DamagedIndexError, ValueError, TypeError, KeyError, OSError):
        return None


class IndexedEntries(Entries):
    """Entries in a database, looked up one by one.

    Raises:
        DamagedIndexError: by any lookup, if a page of the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        # `immutable` reads without locks: the file is never changed, only replaced.
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        weakref.finalize(self, self._database.close)
        if self._database.execute("PRAGMA user_version").fetchone() != (VERSION,):
            raise ValueError("an index of another version")
        pages, size = (self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if pages * size != path.stat().st_size:
            raise ValueError("an index that was cut off")
        decoder, pre_tokenizer, unknown, faithful, composes = json.loads(self._fact("traits"))
        self.traits = Traits(decoder, pre_tokenizer, unknown, faithful, composes)
        self.added = {
            int(identity): Added(content, special)
            for identity, (content, special) in json.loads(self._fact("added")).items()
        }

    def _fact(self, name: str) -> bytes:
        value: bytes | None = self._one("SELECT value FROM facts WHERE name = ?", name)
        if value is None:
            raise DamagedIndexError
        return value

    def _one(self, query: str, value: object) -> Any:
        try:
            found = self._database.execute(query, (value,)).fetchone()
        except sqlite3.Error as error:
            raise DamagedIndexError from error
        except (OverflowError, UnicodeEncodeError):  # an id or a text that no database holds
            return None
        return None if found is None else found[0]

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """Every id, sorted."""
        return np.frombuffer(self._fact("ids"), "<i8").astype(np.int64)

    def piece(self, identity: int) -> str | None:
        """Tell the piece of an id."""
        piece: str | None = self._one("SELECT piece FROM tokens WHERE id = ?", identity)
        return piece

    def id(self, piece: str) -> int | None:
        """Tell the id of a piece."""
        identity: int | None = self._one("SELECT min(id) FROM tokens WHERE piece = ?", piece)
        return identity

    def items(self) -> Iterable[tuple[int, str]]:
        """Yield every id with its piece, in the order of ids."""
        try:
            yield from self._database.execute("SELECT id, piece FROM tokens ORDER BY id")
        except sqlite3.Error as error:
            raise DamagedIndexError from error
