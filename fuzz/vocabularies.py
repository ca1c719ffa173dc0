"""Targets: the files of tokenizers, splitting text with them, and the index that is derived from them."""

import contextlib
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any
from unittest import mock

from sources import Memory

from embtool.errors import EmbtoolError, FormatError, UnknownToken
from embtool.vocabulary import (
    Vocabulary,
    child,
    confined,
    databases,
    files,
    ggml,
    index,
    loading,
    older,
    plain,
    read_vocabulary,
)
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.splitter import Ids
from embtool.vocabulary.words import is_of_library
from fuzz.engine import octets, read_object, scratch, target

SAMPLED = 4
TEXTS = ("ab a b", "Ünï \ud800 🍓", "", "<s>a</s>", "a" * 300)
LENGTHENED = 1 << 14
"""Characters that a short text may become here; the process for unusual tokenizers may have more memory than a case."""


class _Here:
    """What the process for unusual tokenizers does, step by step in this one: a hundred times as many cases."""

    def __init__(self, data: bytes, file: str, *, splits_special: bool = False) -> None:
        self._data, self._file, self._splits_special = data, file, splits_special

    @cached_property
    def _words(self) -> child._Words:
        try:
            return child._Words(self._data, LENGTHENED, confined.LONGER, splits_special=self._splits_special)
        except BaseException as error:
            if not is_of_library(error):
                raise
            raise FormatError(f"{self._file} is not a tokenizer") from error

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Ids:
        """Split a text."""
        with mock.patch.object(child, "_send"):
            return Ids(self._words.ids(text, special=add_special_tokens, slow=True))

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts."""
        return [self.encode(text, add_special_tokens=add_special_tokens) for text in texts]


INDEXING = (files, ggml, older, plain)
"""The modules that keep an index in the cache."""


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Keep tokenizers from being indexed in the cache: that is a target of its own, with the cache in `scratch`.

    Panics of Rust code, which are caught, do not describe where they came from: it would take 100 MB of memory.
    """
    kept: dict[str, Any] = {"write_index": lambda *_: False, "open_index": lambda *_: None}
    with (
        contextlib.ExitStack() as patches,
        mock.patch.dict(os.environ, RUST_BACKTRACE="0"),
        mock.patch.object(databases, "derived", lambda kind, key: scratch() / kind / key),
    ):
        for module in INDEXING:
            patches.enter_context(mock.patch.multiple(module, **kept))
        yield


def check_vocabulary(vocabulary: Vocabulary) -> None:
    """Assert that every token is found by its id and by its piece, and that the lists of ids agree."""
    ids = vocabulary.ids.tolist()
    assert ids == sorted(set(ids)), "ids that are not sorted, or one that stands twice"
    assert len(vocabulary) == len(ids)
    pieces = vocabulary.pieces()
    assert [identity for identity, _ in pieces] == ids
    assert set(vocabulary.special_ids.tolist()) <= set(vocabulary.added_ids.tolist())
    assert set(vocabulary.added_ids.tolist()) <= set(ids)
    for identity, piece in pieces[:SAMPLED] + pieces[-SAMPLED:]:
        token = vocabulary.token(identity)
        assert token is not None, "an id without a token"
        assert (token.id, token.piece) == (identity, piece)
        assert vocabulary.find_piece(piece).piece == piece
        assert vocabulary.find_piece(piece).id <= identity
        with contextlib.suppress(UnknownToken):  # `##berry` has the bytes of `berry`, which may be no token
            assert vocabulary.find_bytes(token.bytes).bytes == token.bytes
        vocabulary.word(token.text)
    assert vocabulary.token(1 << 40) is None


def check_splitting(vocabulary: Vocabulary) -> None:
    """Assert that texts, one and several at once, are split into tokens, and that a word that is found is one."""
    with mock.patch.object(loading, "Confined", _Here):
        vocabulary.encode(TEXTS[0], special=True)
        assert len(vocabulary.encode_each(TEXTS)) == len(TEXTS)
    for word in ("ab", "strawberry"):
        with contextlib.suppress(UnknownToken):
            assert vocabulary.token(vocabulary.find(word).id) is not None


@target("tokenizer")
def read_tokenizer(case: bytes) -> None:
    """Read the entries of a tokenizer.json."""
    check_vocabulary(read_vocabulary(Memory({"tokenizer.json": case})))


@target("splitting", milliseconds=400)
def split(case: bytes) -> None:
    """Split a text, several texts at once, and find a word."""
    check_splitting(read_vocabulary(Memory({"tokenizer.json": case})))


@target("sentencepiece", octets)
def read_sentencepiece(case: bytes) -> None:
    """Read the model, and split text with it."""
    vocabulary = read_vocabulary(Memory({"tokenizer.model": case}))
    check_vocabulary(vocabulary)
    check_splitting(vocabulary)


@target("tiktoken", octets)
def read_ranks(case: bytes) -> None:
    """Read the ranks."""
    check_vocabulary(read_vocabulary(Memory({"x.tiktoken": case})))


KEY = hashlib.sha256(b"fuzz").hexdigest()


def _database(described: dict[str, Any]) -> bytes:
    """Write an index with whatever a document says: facts are JSON in bytes, ids are integers of eight bytes."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(index.SCHEMA)
        for table in ("tokens", "facts"):
            insert = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608 - one of the two above
            for row in rows if isinstance(rows := described.get(table), list) else ():
                with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeEncodeError, TypeError, ValueError):
                    key, value = row
                    database.execute(insert, (key, _cell(key, value)))
        return database.serialize()


def _cell(key: Any, value: Any) -> Any:
    if key == "ids" and isinstance(value, list):
        return b"".join((number & ((1 << 64) - 1)).to_bytes(8, "little") for number in value if type(number) is int)
    text = json.dumps(value) if isinstance(value, list | dict) else value
    return text.encode("utf-8", "surrogatepass") if key in ("added", "traits") and isinstance(text, str) else text


@target("index", longest=1 << 15)
def read_index(case: bytes) -> None:
    """Put a database into the cache and look tokens up in it; a damaged one is passed over, or read anew."""
    data = case if case.startswith(b"SQLite") else _database(read_object(case))
    path = databases.place(KEY, f"v{index.VERSION}", f"{zlib.crc32(data):08x}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    whole = MemoryEntries(
        {0: "a", 1: "b"}, {1: Added("b", special=True)}, Traits(None, None, None, faithful=True, composes=False)
    )
    try:
        entries = index.open_index(KEY)
        if entries is None:
            raise FormatError("no index")
        vocabulary = Vocabulary("x", lambda: whole, lambda: None, quick=lambda: entries)
        use_index(vocabulary)
    finally:
        path.unlink()


def use_index(vocabulary: Vocabulary) -> None:
    """Ask everything that an index answers; what it answers is only as true as what was written into it."""
    list(vocabulary)
    for identity in (*vocabulary.ids.tolist()[:SAMPLED], 0, 1, -1, 1 << 70):
        token = vocabulary.token(identity)
        if token is not None:
            assert (type(token.piece), type(token.bytes)) == (str, bytes)
            vocabulary.has_piece(token.piece)
    vocabulary.has_piece("\ud800")
    with contextlib.suppress(EmbtoolError):
        vocabulary.find_bytes(b"a")
