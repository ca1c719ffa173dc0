"""A vocabulary in a file: one token can be looked up without reading the others.

Loading a tokenizer of 248,000 tokens takes about a second; finding one row takes a hundredth. So the entries are
derived once from a tokenizer file, into a small SQLite database in embtool's cache, keyed by the hash of that file's
content. SQLite comes with Python, is read page by page, and says so when a file is damaged; a database that is damaged,
of another version or cannot be written is passed over, and the entries are held in memory instead.
"""

import json
import sqlite3
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from embtool.vocabulary import databases
from embtool.vocabulary.entries import LARGEST_ID, Added, Entries, MemoryEntries, Ranges, Traits

VERSION = 4
"""Raise it when the meaning of the tables below changes: a database of another version is not read."""

SCHEMA = """
CREATE TABLE tokens (id INTEGER PRIMARY KEY, piece TEXT NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


AT_ONCE = 200
"""Tokens that one statement inserts: half the time that one for each takes."""


class DamagedIndexError(Exception):
    """The database turned out to be unreadable while it was in use."""


def write_index(key: str, entries: MemoryEntries) -> bool:
    """Write the index of a tokenizer file, by the hash of that; tell whether that could be done."""
    traits = entries.traits
    facts = {
        "ids": entries.ranges,
        "added": {str(identity): [token.content, token.special] for identity, token in entries.added.items()},
        "traits": [traits.decoder, traits.pre_tokenizer, traits.unknown, traits.faithful, traits.composes],
    }

    def fill(database: sqlite3.Connection) -> None:
        tokens = [*entries.items()]
        for first in range(0, len(tokens), AT_ONCE):
            part = tokens[first : first + AT_ONCE]
            places = ", ".join(["(?, ?)"] * len(part))
            database.execute(f"INSERT INTO tokens VALUES {places}", [*chain.from_iterable(part)])  # noqa: S608 - no text
        written = ((name, json.dumps(fact).encode()) for name, fact in facts.items())
        database.executemany("INSERT INTO facts VALUES (?, ?)", written)
        database.execute("CREATE INDEX pieces ON tokens (piece)")

    return databases.keep(key, f"v{VERSION}", SCHEMA, fill)


def open_index(key: str) -> "IndexedEntries | None":
    """Open the index of a tokenizer file, or return None where there is none that is whole."""
    try:
        return next(map(IndexedEntries, databases.kept(key, f"v{VERSION}")), None)
    except (sqlite3.Error, DamagedIndexError, OSError):
        return None


class IndexedEntries(Entries):
    """Entries in a database, looked up one by one.

    Raises:
        DamagedIndexError: by any lookup, if a page of the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.index = path.name
        self._size = path.stat().st_size
        """Bytes, of which each token takes some."""
        self._database = databases.connect(path, self)
        try:
            decoder, pre_tokenizer, unknown, faithful, composes = json.loads(self._fact("traits"))
            added = [(int(identity), *token) for identity, token in json.loads(self._fact("added")).items()]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedIndexError from error
        self.traits = Traits(decoder, pre_tokenizer, _checked(unknown, int, type(None)), bool(faithful), bool(composes))
        self.added = {}
        for identity, *token in added:
            if len(token) != 2 or not 0 <= identity <= LARGEST_ID:  # noqa: PLR2004 - as they are written
                raise DamagedIndexError
            content, special = token
            self.added[identity] = Added(_checked(content, str), _checked(special, bool))

    def _fact(self, name: str) -> bytes:
        value: bytes = _checked(self._one("SELECT value FROM facts WHERE name = ?", name), bytes)
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
    def ranges(self) -> Ranges:
        """Every id."""
        try:
            found = tuple((_checked(first, int), _checked(last, int)) for first, last in json.loads(self._fact("ids")))
        except (ValueError, TypeError, RecursionError) as error:
            raise DamagedIndexError from error
        tokens = sum(last - first + 1 for first, last in found)
        if not all(0 <= first <= last for first, last in found) or tokens > self._size:
            raise DamagedIndexError
        return found

    def piece(self, identity: int) -> str | None:
        """Return the piece of an id."""
        piece: str | None = _checked(self._one("SELECT piece FROM tokens WHERE id = ?", identity), str, type(None))
        return piece

    def id(self, piece: str) -> int | None:
        """Return the id of a piece."""
        identity: int | None = self._one("SELECT min(id) FROM tokens WHERE piece = ?", piece)
        return identity

    def items(self) -> Iterable[tuple[int, str]]:
        """Yield every id with its piece, in the order of ids."""
        try:
            found = self._database.execute("SELECT id, piece FROM tokens ORDER BY id").fetchall()
        except sqlite3.Error as error:
            raise DamagedIndexError from error
        if {type(piece) for _, piece in found} - {str}:
            raise DamagedIndexError
        return found

    def beginning(self, start: str, most: int) -> list[tuple[int, str]]:
        """List the first entries, in the order of ids, whose piece begins so."""
        query = "SELECT id, piece FROM tokens WHERE piece >= ? AND piece < ? ORDER BY id LIMIT ?"
        try:
            found = self._database.execute(query, (start, start + "\U0010ffff", most)).fetchall()
        except sqlite3.Error as error:
            raise DamagedIndexError from error
        except UnicodeEncodeError:  # a text that no database holds
            return []
        return [(identity, _checked(piece, str)) for identity, piece in found]


def _checked(value: Any, *kinds: type[Any]) -> Any:
    """Return a value of one of these types: a database that another hand made can hold any.

    Raises:
        DamagedIndexError: it has another type.
    """
    if type(value) not in kinds:
        raise DamagedIndexError
    return value
