"""A tokenizer cut down to what one text needs: loaded in milliseconds, it gives the ids of the whole one.

The tokenizers library takes a second to load 248,000 pieces and as many merges, to use a hundred of them. Byte-pair
encoding makes of a word nothing but parts of that word: a piece that is no part of it, and a merge that makes none, can
be left out without another id. So the pieces and merges of a tokenizer are kept beside its index, in a database that
finds them by their text; from those that are parts of a text's words a small tokenizer is built, with the same steps
before. What makes words of a text is the library's own code, asked first.

A text in which an added token stands, or a character that has no piece, and a long one, goes to the whole tokenizer; so
does everything where the model is not one of byte pairs, or leaves merges out by chance.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from embtool.storage.cache import make_folder
from embtool.vocabulary import databases
from embtool.vocabulary.entries import MemoryEntries, State
from embtool.vocabulary.loading import tokenizer_of
from embtool.vocabulary.ordinary import LONGEST, judge
from embtool.vocabulary.words import is_of_library

VERSION = 2
"""Raise it when the meaning of the tables below changes."""

SCHEMA = """
CREATE TABLE pieces (piece TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE merges (piece TEXT, left INTEGER, rank INTEGER, PRIMARY KEY (piece, rank)) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

LONGEST_TEXT = 1 << 14
"""Characters of a text for which an excerpt is made."""

LONGEST_BYTES = 4
"""Bytes of a character."""

MOST_PARTS = 50_000
"""Parts of words that are looked up: more take as long as loading the whole tokenizer."""


class Excerpts:
    """The kept pieces and merges of one tokenizer."""

    def __init__(self, path: Path) -> None:
        self._database = databases.connect(path, self)
        facts = dict(self._database.execute("SELECT name, value FROM facts"))
        self._state: State | None = json.loads(facts["state"])
        self._added: list[str] = json.loads(facts["added"])
        self._longest = int(facts["longest"])

    def tokenizer_for(self, text: str) -> Any | None:
        """Build what splits a text as the whole tokenizer does; None where an excerpt will not do."""
        if self._state is None or len(text) > LONGEST_TEXT:
            return None
        normal = self._normalized(text)
        if any(content in text or content in normal for content in self._contents):
            return None
        cutter, model = self._steps.pre_tokenizer, self._state["model"]
        words = {normal} if cutter is None else {word for word, _ in cutter.pre_tokenize_str(normal)}
        ended = {f"{word}{model.get('end_of_word_suffix') or ''}": len(word) for word in words if word}
        if sum(len(word) * min(len(word), self._longest) for word in ended) > MOST_PARTS:
            return None
        query = "SELECT id FROM pieces WHERE piece = ?"
        ends = {word: [min(len(word), at + self._longest) + 1 for at in range(len(word))] for word in ended}
        texts = {word[at:end] for word in ended for at, last in enumerate(ends[word]) for end in range(at + 1, last)}
        rows = ((text, self._database.execute(query, (text,)).fetchone()) for text in texts)
        found = {text: row[0] for text, row in rows if row is not None}
        if any({*word[: length - 1], word[length - 1 :]} - found.keys() for word, length in ended.items()):
            return None  # a character without a piece: what stands for it can be merged, too
        query = "SELECT left, rank FROM merges WHERE piece = ?"
        merges = sorted(
            (rank, piece[:left], piece[left:])
            for piece in found
            for left, rank in self._database.execute(query, (piece,))
            if piece[:left] in found and piece[left:] in found
        )
        held = {"vocab": found, "merges": [[left, right] for _, left, right in merges]}
        return _build({**self._state, "model": {**model, **held}})

    @cached_property
    def _contents(self) -> set[str]:
        """Every added token, as it stands and as it is once it is normalized, without a mark put before it.

        One of which nothing is left is found everywhere.
        """
        added = {content for content in self._added if content}
        normal = {self._normalized(content) for content in added}
        return added | normal | ({content.removeprefix("▁") for content in normal} - {""})

    def _normalized(self, text: str) -> str:
        normalizer = self._steps.normalizer
        normal: str = text if normalizer is None else normalizer.normalize_str(text)
        return normal

    @cached_property
    def _steps(self) -> Any:
        return _build(self._state or {})


class Excerpted:
    """A tokenizer that is loaded whole only when a text needs that.

    Args:
        excerpts: what is kept of it, if it was loaded before.
        load: loads it whole.
        keep: keeps what its excerpts will be made of.
    """

    def __init__(self, excerpts: Excerpts | None, load: Callable[[], Any], keep: Callable[[], None]) -> None:
        self._excerpts = excerpts
        self._load = load
        self._keep = keep

    @cached_property
    def _whole(self) -> Any:
        whole = self._load()
        if self._excerpts is None:
            self._keep()
        return whole

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Any:
        """Split a text."""
        if self._excerpts is not None and not add_special_tokens and "_whole" not in self.__dict__:
            try:
                small = self._excerpts.tokenizer_for(text)
                if small is not None:
                    return small.encode(text, add_special_tokens=False)
            except BaseException as error:
                if not is_of_library(error):  # whatever is wrong with what is kept, the whole tokenizer is asked
                    raise
        return self._whole.encode(text, add_special_tokens=add_special_tokens)

    @property
    def parts_at_spaces(self) -> bool:
        """Whether the whole tokenizer looks at no two words together."""
        return bool(getattr(self._whole, "parts_at_spaces", False))

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> Any:
        """Split several texts."""
        return self._whole.encode_batch(texts, add_special_tokens=add_special_tokens)


def open_excerpts(key: str) -> Excerpts | None:
    """Open what is kept of a tokenizer, by the hash of its file; None where nothing is, or it is damaged."""
    try:
        return next(map(Excerpts, databases.kept(key, f"merges{VERSION}")), None)
    except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def can_be_kept(key: str) -> bool:
    """Tell whether anything can be kept in the cache: what is kept takes longer to make than to load the tokenizer."""
    folder = databases.place(key, f"merges{VERSION}", "").parent
    try:
        make_folder(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def keep_excerpts(key: str, state: State, entries: MemoryEntries, whole: bytes) -> bool:
    """Keep the pieces and merges of a tokenizer.json, decoded and as it is; tell whether that could be done.

    Of one that has no excerpts, or whose steps must not run in this process, it is kept that there are none.
    """
    judgement = judge(whole)
    is_ordinary = judgement.unusual is None and judgement.growth * LONGEST_BYTES * LONGEST_TEXT <= LONGEST
    has_excerpts = is_ordinary and can_be_cut(state["model"])

    def fill(database: sqlite3.Connection) -> None:
        facts: Mapping[str, Any] = {"state": None, "added": [], "longest": 0}
        if has_excerpts:
            model = state["model"]
            pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
            steps = {name: state.get(name) for name in ("normalizer", "pre_tokenizer")}
            empty = {**model, "vocab": {}, "merges": [], "unk_token": None}
            facts = {
                "state": {"version": "1.0", "added_tokens": [], **steps, "model": empty},
                "added": [token.content for token in entries.added.values()],
                "longest": max(map(len, model["vocab"])),
            }
            database.executemany("INSERT INTO pieces VALUES (?, ?)", sorted(model["vocab"].items()))
            merges = sorted((left + right, len(left), rank) for rank, (left, right) in enumerate(pairs))
            database.executemany("INSERT INTO merges VALUES (?, ?, ?)", merges)
        written = ((name, json.dumps(fact)) for name, fact in facts.items())
        database.executemany("INSERT INTO facts VALUES (?, ?)", written)

    return databases.keep(key, f"merges{VERSION}", SCHEMA, fill)


def can_be_cut(model: State) -> bool:
    """Tell whether a model makes of a word nothing but its parts, by merges alone."""
    return (
        model.get("type") == "BPE"
        and not model.get("dropout")
        and not model.get("continuing_subword_prefix")
        and isinstance(vocabulary := model.get("vocab"), dict)
        and isinstance(model.get("merges"), list)
        and len(set(vocabulary.values())) == len(vocabulary)  # merges are of ids: what joins one joins its double
    )


def _build(state: State) -> Any:
    return tokenizer_of(json.dumps(state).encode())
