"""Small SQLite databases in the cache, one of a kind for a content: made at once, in memory, and never changed.

SQLite has no checksums of its own, so each has one of its bytes in its name, and is read once, 3 ms for 10 MB, and held
against that before it is used.
"""

import contextlib
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from embtool.storage.cache import derived, put
from embtool.storage.kept import has_named_sum, named_sum


def place(key: str, kind: str, checksum: str) -> Path:
    """Return the path of a database: `key` is the hash of the content that it is of, `checksum` that of its bytes."""
    return derived("vocabularies", key).with_suffix(f".{kind}-{checksum}.sqlite")


def keep(key: str, kind: str, schema: str, fill: Callable[[sqlite3.Connection], object]) -> bool:
    """Make a database with these tables, which `fill` fills, and keep it; tell whether that could be done."""
    try:
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.executescript(schema)
            database.execute("BEGIN")
            fill(database)
            database.execute("COMMIT")
            data = database.serialize()
    except (sqlite3.Error, ValueError):  # such as half a surrogate pair
        return False
    return put(place(key, kind, named_sum(data)), lambda file: file.write(data))


def kept(key: str, kind: str) -> Iterator[Path]:
    """Yield the databases of a content that are whole."""
    pattern = place(key, kind, "*")
    yield from filter(has_named_sum, pattern.parent.glob(pattern.name))


def connect(path: Path, owner: object) -> sqlite3.Connection:
    """Open a database to read it, in any thread; it is closed when its owner is collected, in whichever thread."""
    # `immutable` reads without locks: the file is never changed, only replaced.
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    weakref.finalize(owner, database.close)
    return database
