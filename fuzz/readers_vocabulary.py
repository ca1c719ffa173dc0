"""Targets: the files of tokenizers, splitting text with them, and the index that is derived from them."""

import contextlib
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from random import Random
from typing import Any
from unittest import mock

import gguf_document
from mutate import document, lines, mixed, octets
from sources import Memory
from target import scratch, target

from embtool.errors import EmbtoolError, FormatError, UnknownToken
from embtool.formats.gguf import GgufCheckpoint
from embtool.vocabulary import Vocabulary, child, confined, files, ggml, index, read_vocabulary
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.splitter import Ids
from embtool.vocabulary.words import is_of_library

SAMPLED = 4


@contextlib.contextmanager
def without_index() -> Iterator[None]:
    """Keep tokenizers from being indexed in the cache: that is a target of its own, with the cache in `scratch`.

    Panics of Rust code, which are caught, do not describe where they came from: it would take 100 MB of memory.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, RUST_BACKTRACE="0"))
        for module in (files, ggml):
            stack.enter_context(mock.patch.object(module, "write_index", return_value=False))
            stack.enter_context(mock.patch.object(module, "open_index", return_value=None))
        stack.enter_context(mock.patch.object(index, "derived", lambda kind, key: scratch() / kind / key))
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
        assert token.id == identity
        assert token.piece == piece
        found = vocabulary.find_piece(piece)
        assert found.piece == piece
        assert found.id <= identity
        with contextlib.suppress(UnknownToken):  # `##berry` has the bytes of `berry`, which may be no token
            assert vocabulary.find_bytes(token.bytes).bytes == token.bytes
        vocabulary.word(token.text)
    assert vocabulary.token(1 << 40) is None


WORDS = (
    *("model", "vocab", "merges", "type", "unk_token", "unk_id", "added_tokens", "id", "content", "special", "decoder"),
    *("normalizer", "pre_tokenizer", "post_processor", "byte_fallback", "prefix", "replacement", "pattern", "String"),
    *("Regex", "decoders", "normalizers", "pretokenizers", "add_prefix_space", "behavior", "version", "truncation"),
    *("continuing_subword_prefix", "max_input_chars_per_word", "ignore_merges", "fuse_unk", "dropout", "scores"),
)
VALUES = (
    *(
        "BPE",
        "WordPiece",
        "Unigram",
        "WordLevel",
        "ByteLevel",
        "Metaspace",
        "Replace",
        "Sequence",
        "NFC",
        "Split",
        "Fuse",
    ),
    *(
        "Removed",
        "Isolated",
        "[UNK]",
        "<unk>",
        "a",
        "Ġa",
        "▁a",
        "##a",
        0,
        1,
        2,
        ["a", "b"],
        "a b",
        ["a", -1.5],
        "\ud800",
    ),
    *({"type": "ByteLevel"}, {"type": "WordPiece", "prefix": "##"}, {"type": "Metaspace", "replacement": "▁"}),
    *(
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "NFC"},
        {"type": "Sequence", "decoders": []},
    ),
    *({"id": 3, "content": "<s>", "special": True}, {"a": 0, "b": 1, "ab": 2}, [["a", -1.0], ["b", -2.0]], 1 << 32),
)
TOKENIZER = document(WORDS, VALUES)


@target("tokenizer", "tokenizer.json", mutate=TOKENIZER)
def read_tokenizer(case: bytes) -> None:
    """Read the entries of a tokenizer.json."""
    check_vocabulary(read_vocabulary(Memory({"tokenizer.json": case})))


@target(
    "splitting",
    "splitting text as tokenizer.json says, by the tokenizers library",
    mutate=TOKENIZER,
    milliseconds=400,
    share=1.5,
)
def split(case: bytes) -> None:
    """Split a text, several texts at once, and find a word."""
    with mock.patch.object(files, "Confined", _Here):
        vocabulary = read_vocabulary(Memory({"tokenizer.json": case}))
        _split(vocabulary)


LENGTHENED = 1 << 14
"""Characters that a short text may become here; the process itself may have more memory than a case."""


class _Here:
    """What the process for unusual tokenizers does, step by step in this one: a hundred times as many cases."""

    def __init__(self, data: bytes, file: str) -> None:
        self._data = data
        self._file = file

    @cached_property
    def _words(self) -> child._Words:
        try:
            return child._Words(self._data, LENGTHENED, confined.LONGER)
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


TEXTS = ("ab a b", "Ünï \ud800 🍓", "", "<s>a</s>", "a" * 300)


def _split(vocabulary: Vocabulary) -> None:
    vocabulary.encode(TEXTS[0], special=True)
    assert len(vocabulary.encode_each(TEXTS)) == len(TEXTS)
    for word in ("ab", "strawberry"):
        with contextlib.suppress(UnknownToken):
            assert vocabulary.token(vocabulary.find(word).id) is not None


PIECES = (*("a", "b", "ab", "Ġ", "Ġa", "▁a", "##a", "[UNK]", "[CLS]", "[unused1]", "<s>", "A", "é"), "\ud800", "x" * 60)
FOLDER_WORDS = (
    *("vocab.json", "merges.txt", "vocab.txt", "tokenizer_config.json", "added_tokens_decoder", "content", "special"),
    *("do_lower_case", "unk_token", "0", "1", "3", "99", "x", *PIECES),
)
FOLDER_VALUES = (
    *PIECES,
    "a b\nab a\n",
    "#version: 0.2\na b",
    "[UNK]\na\n##b\n",
    0,
    1,
    2,
    5,
    {"content": "<s>", "special": True},
)


@target(
    "tokenizer-files",
    "vocab.json with merges.txt, vocab.txt, tokenizer_config.json",
    mutate=document(FOLDER_WORDS, FOLDER_VALUES),
    milliseconds=200,
)
def read_tokenizer_files(case: bytes) -> None:
    """Read the tokenizer of a folder without tokenizer.json."""
    from readers_checkpoint import folder_of  # noqa: PLC0415 - that module imports this one

    check_vocabulary(read_vocabulary(Memory(folder_of(case))))


GGML_VALUES = (
    *(
        "gpt2",
        "llama",
        "bert",
        "t5",
        "qwen2",
        "llama3",
        "deepseek-v3",
        "[UNK]",
        "▁a",
        "<0x41>",
        "ab",
        0,
        1,
        2,
        3,
        4,
        5,
        6,
    ),
    *(
        ["tokenizer.ggml.unknown_token_id", 4, 0],
        ["tokenizer.ggml.bos_token_id", 4, 1],
        ["tokenizer.ggml.pre", 8, "qwen2"],
    ),
    *(["tokenizer.ggml.token_type", 9, [5, [2, 3, 1, 1, 1]]], ["tokenizer.ggml.scores", 9, [6, [0, 0, -1, -2, -3]]]),
    *(
        ["tokenizer.ggml.merges", 9, [8, ["a b"]]],
        ["tokenizer.ggml.precompiled_charsmap", 9, [0, [4, 0, 0, 0, 1, 2, 3, 4, 65, 0]]],
    ),
    *(
        ["tokenizer.ggml.add_bos_token", 7, 1],
        ["tokenizer.ggml.add_space_prefix", 7, 1],
        ["tokenizer.ggml.add_eos_token", 7, 1],
    ),
)


@target(
    "gguf-splitting",
    "splitting text as the metadata of a GGUF file say",
    mutate=document(("metadata", "tensors"), GGML_VALUES),
    milliseconds=400,
)
def split_gguf(case: bytes) -> None:
    """Split text with the vocabulary of the file that a document describes."""
    try:
        described = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    data = gguf_document.encode(described)
    vocabulary = GgufCheckpoint(Memory({"x.gguf": data}), ["x.gguf"]).read_vocabulary()
    if vocabulary is not None:
        with mock.patch.object(files, "Confined", _Here):
            _split(vocabulary)


# --- Binary models ----------------------------------------------------------------------------------------------------


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            break
    return number, place


def _varint_of(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def _fields(data: bytes) -> list[tuple[int, bytes]] | None:
    """Cut a protocol buffer into its fields: the key, and the value with its length before it."""
    found, place = [], 0
    while place < len(data):
        key, place = _varint(data, place)
        start = place
        if key & 7 == 0:
            _, place = _varint(data, place)
            found.append((key, data[start:place]))
        elif key & 7 == 2:
            length, start = _varint(data, place)
            place = start + length
            found.append((key, data[start:place]))
        elif key & 7 in (1, 5):
            place += 8 if key & 7 == 1 else 4
            found.append((key, data[start:place]))
        else:
            return None
    return found


def change_protocol_buffer(case: bytes, random: Random) -> bytes:
    """Change the fields of a protocol buffer, and of the messages inside."""
    found = _fields(case)
    if not found:
        return octets(case, random)
    place = random.randrange(len(found))
    key, value = found[place]
    kind = random.randrange(6)
    if kind == 0:
        del found[place]
    elif kind == 1:
        found.insert(random.randrange(len(found)), found[place])
    elif kind == 2 and key & 7 == 2:
        found[place] = (key, change_protocol_buffer(value, random))
    elif kind == 3:
        other = random.choice((0, 1, 127, 1 << 31, (1 << 64) - 1, random.randrange(300)))
        found[place] = (key & ~7, _varint_of(other))
    elif kind == 4:
        found[place] = (random.randrange(1, 60) << 3 | key & 7, value)
    else:
        found[place] = (key, octets(value, random))
    parts = ((key, _varint_of(len(value)) + value if key & 7 == 2 else value) for key, value in found)
    return b"".join(_varint_of(key) + value for key, value in parts)


@target(
    "sentencepiece", "SentencePiece's tokenizer.model", mutate=mixed(change_protocol_buffer, octets), milliseconds=200
)
def read_sentencepiece(case: bytes) -> None:
    """Read the model, and split text with it."""
    vocabulary = read_vocabulary(Memory({"tokenizer.model": case}))
    check_vocabulary(vocabulary)
    _split(vocabulary)


@target(
    "tiktoken", "tiktoken's lines of tokens and ranks", mutate=mixed(lines(("YQ==", "Yg==", "YWI=", "!", "0")), octets)
)
def read_ranks(case: bytes) -> None:
    """Read the ranks."""
    check_vocabulary(read_vocabulary(Memory({"x.tiktoken": case})))


# --- The index in the cache -------------------------------------------------------------------------------------------

KEY = hashlib.sha256(b"fuzz").hexdigest()


def _ids(text: str) -> bytes:
    try:
        listed = json.loads(text)
    except ValueError:
        return text.encode("utf-8", "surrogatepass")
    numbers = [number for number in listed if type(number) is int] if isinstance(listed, list) else []
    return b"".join((number & ((1 << 64) - 1)).to_bytes(8, "little") for number in numbers)


@cache
def _empty() -> bytes:
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        database.executescript(index.SCHEMA)
        return database.serialize()
    finally:
        database.close()


INSERTS = {
    "tokens": "INSERT OR REPLACE INTO tokens VALUES (?, ?)",
    "facts": "INSERT OR REPLACE INTO facts VALUES (?, ?)",
}


def _database(described: Any) -> bytes:
    """Write a database with whatever a document says."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        database.deserialize(_empty())
        for table, insert in INSERTS.items():
            rows = described.get(table) if isinstance(described, dict) else None
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, list) and len(row) == 2:
                    with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
                        database.execute(insert, _cells(*row))
        return database.serialize()
    finally:
        database.close()


def _cells(name: Any, value: Any) -> tuple[Any, Any]:
    """Write a row as the index has it: facts are JSON in bytes, ids are integers of eight bytes."""
    written = json.dumps(value) if isinstance(value, list | dict) else value
    if name == "ids" and isinstance(written, str):
        written = _ids(written)
    elif name in ("added", "traits") and isinstance(written, str):
        written = written.encode("utf-8", "surrogatepass")
    return json.dumps(name) if isinstance(name, list | dict) else name, written


INDEX_WORDS = ("tokens", "facts", "ids", "added", "traits")
INDEX_VALUES = (
    *(
        "ids",
        "added",
        "traits",
        [0, 1],
        ["added", {}],
        ["traits", [None, None, None, True, False]],
        {"3": ["<s>", True]},
    ),
    *(
        [{"type": "ByteLevel"}, None, 0, True, False],
        [0, "a"],
        "a",
        {"type": "Sequence", "decoders": [{"type": "Fuse"}]},
    ),
)


def change_index(case: bytes, random: Random) -> bytes:
    """Change a description, or now and then the bytes of the database it stands for."""
    if case.startswith(b"SQLite") or random.random() < 0.05:
        try:
            return octets(case if case.startswith(b"SQLite") else _database(json.loads(case)), random)
        except (ValueError, RecursionError):
            return octets(case, random)
    return document(INDEX_WORDS, INDEX_VALUES)(case, random)


@target("index", "the index of a tokenizer, read back from the cache", mutate=change_index, longest=1 << 15, share=0.5)
def read_index(case: bytes) -> None:
    """Put a database into the cache and look tokens up in it; a damaged one is passed over, or read anew."""
    try:
        data = case if case.startswith(b"SQLite") else _database(json.loads(case))
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    path = index._name(KEY, f"{zlib.crc32(data):08x}")
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
            assert isinstance(token.piece, str)
            assert isinstance(token.bytes, bytes)
            vocabulary.has_piece(token.piece)
    vocabulary.has_piece("\ud800")
    assert all(isinstance(flag, bool) for flag in (vocabulary.added >= 0, len(vocabulary.special_ids) >= 0))
    with contextlib.suppress(EmbtoolError):
        vocabulary.find_bytes(b"a")
