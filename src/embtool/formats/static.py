"""Static embeddings: a vector for each word, in the files of word2vec, GloVe and fastText, and model2vec's tensors.

word2vec's text begins with the number of words and of dimensions, then has a word and its numbers a line; fastText's
`.vec` is the same, GloVe's files lack the first line. word2vec's binary has the numbers as little-endian float32
(https://code.google.com/archive/p/word2vec/, https://nlp.stanford.edu/projects/glove/,
https://fasttext.cc/docs/en/crawl-vectors.html). A row of such a file is found only by reading all before it. So a file
is read through once, and its numbers and words are kept in embtool's cache as a safetensors file, from which rows are
read like any others; the file itself is only read again when it has changed.

model2vec (https://github.com/MinishLab/model2vec) has tensors: `embeddings`, and where many tokens share a row or are
weighted, `mapping` and `weights`, one entry for each token.
"""

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from embtool.cache import derived, put
from embtool.checkpoint import Checkpoint, Part, RowMap, TensorInfo
from embtool.config import Config, parse_config
from embtool.counts import plural
from embtool.dtypes import Bytes, DType, Floats
from embtool.errors import FormatError, LocalFailure, TableNotFound, UnsupportedFormat
from embtool.formats.packed import Pieces, Recipe
from embtool.formats.safetensors import SafetensorsCheckpoint
from embtool.kept import checksum, is_sound, seal_metadata, stamp
from embtool.replacing import flush
from embtool.source import Folder, LocalRange, RangeReader, Source
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.plain import read_words

SUFFIX = ".vec"

VERSION = 2
"""Raise it when the files below are read in another way: what was kept before is then not found."""

TABLE = "embeddings"
WORDS = "words"

CHUNK = 8 << 20
"""Bytes read at a time."""

LINES = 2048
"""Lines whose numbers are parsed at a time."""

LONGEST_WORD = 4096
"""Bytes of a word; beyond that the file is no table of words."""

LOOKED_AT = 2 << 20
"""Bytes of a file's beginning that tell what it is: two lines of the longest vectors."""

LONGEST_LINE = 8 << 20
"""Bytes of a line: 65,536 numbers of a hundred digits would still fit."""

MOST_DIMENSIONS = 65_536
LEAST_DIMENSIONS = 2

HEADER_BYTES = 1024
"""Bytes kept for the header of the safetensors file, whose sizes are known only when all is written."""

HEADER = re.compile(rb"^(\d{1,12}) (\d{1,6})\s*$")
NUMBER = re.compile(rb"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")

FASTTEXT_BINARY = (793_712_314).to_bytes(4, "little")
"""What fastText's own `.bin` begins with: a model with word parts, which is no table of words."""


@dataclass(frozen=True)
class Layout:
    """What the first line of a file tells: how it is written, how many words it says it has, how long a vector is."""

    kind: str
    words: int | None
    width: int


def recognise(head: bytes, file: str) -> Layout | None:
    """Return the layout of a file from its first bytes, or None if it is no table of words.

    Raises:
        UnsupportedFormat: it is fastText's binary model.
    """
    if head.startswith(FASTTEXT_BINARY):
        raise UnsupportedFormat(
            f"{file} is a binary model of fastText, whose words are made of parts",
            hint="fetch the .vec file of the same model, or write one with fastText's bin_to_vec.py",
        )
    first, newline, rest = head.partition(b"\n")
    header = HEADER.match(first)
    if header is not None and newline:
        words, width = int(header[1]), int(header[2])
        second = rest.partition(b"\n")[0].rstrip().split(b" ")
        is_text = len(second) > width and all(NUMBER.match(part) for part in second[-width:])
        kind = ("fastText or word2vec text" if is_text else "word2vec binary") if width else "?"
        return Layout(kind, words, width) if LEAST_DIMENSIONS <= width <= MOST_DIMENSIONS else None
    fields = first.rstrip().split(b" ")
    width = len(fields) - 1
    plausible = newline and LEAST_DIMENSIONS <= width <= MOST_DIMENSIONS
    if plausible and all(NUMBER.match(part) for part in fields[1:]):
        return Layout("GloVe text", None, width)
    return None


class StaticCheckpoint(Checkpoint):
    """A file of words and vectors; its rows are read from what was kept of it."""

    def __init__(self, source: Source, file: str, layout: Layout) -> None:
        self.source = source
        self.file = file
        self.layout = layout
        self.format = layout.kind

    @property
    def names(self) -> Sequence[str]:
        """The one table."""
        return (TABLE,)

    @property
    def shards(self) -> Sequence[str]:
        """The one file."""
        return (self.file,)

    @cached_property
    def _kept(self) -> "SafetensorsCheckpoint":
        """What is kept of the file, made if it is not there.

        Raises:
            FormatError: the file is malformed.
            LocalFailure: the cache cannot be written.
        """
        path = derived("static", self._key).with_suffix(f".v{VERSION}.safetensors")
        with suppress(OSError):  # what is not there, or no longer what was written, is made anew
            if is_sound(path):
                return SafetensorsCheckpoint(Folder(path.parent, self.source.name), [path.name])
        moment = int(time.time())
        if not put(path, lambda file: self._convert(file, moment)):
            raise LocalFailure(
                f"{self.file} must be read once into the cache, and {path.parent} cannot be written",
                hint="EMBTOOL_CACHE names another folder for it",
            )
        stamp(path, moment)
        return SafetensorsCheckpoint(Folder(path.parent, self.source.name), [path.name])

    @cached_property
    def _key(self) -> str:
        """The identity of the file: its place, its size and when it was changed."""
        path = self.source.path(self.file)
        if path is None or not self.source.local:
            raise UnsupportedFormat(
                f"{self.file} is read as a whole: embtool opens such a file only on this machine",
                hint="fetch it first, with `hf download`",
            )
        try:
            state = os.stat(path)  # noqa: PTH116 - a descriptor's worth of facts
        except OSError as error:
            raise LocalFailure(f"cannot read {path}: {error.strerror or error}") from error
        known = [os.path.realpath(path), state.st_size, state.st_mtime_ns, state.st_ino]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def _convert(self, file: BinaryIO, moment: int) -> None:
        _Writer(file, self.layout.width, moment).write(_records(self.source, self.file, self.layout))
        flush(file)  # a large one is not held against its sum whenever it is opened

    def tensor(self, name: str) -> TensorInfo:
        """Find the table.

        Raises:
            TableNotFound: another name was asked for.
        """
        if name not in self.names:
            raise TableNotFound(f"{self.source.name} has no tensor {name}")
        kept = self._kept.tensor(TABLE)
        return TensorInfo(name, self.file, kept.dtype, kept.shape, kept.start, kept.nbytes)

    def rows(self, tensor: TensorInfo, ids: Sequence[int]) -> Bytes:
        """Read rows from what was kept."""
        del tensor
        return self._kept.rows(self._kept.tensor(TABLE), ids)

    def local_range(self, tensor: TensorInfo) -> LocalRange:
        """Return the place of what was kept."""
        del tensor
        return self._kept.local_range(self._kept.tensor(TABLE))

    @contextmanager
    def open(self, tensor: TensorInfo) -> Iterator[tuple[RangeReader, int]]:
        """Open what was kept."""
        del tensor
        with self._kept.open(self._kept.tensor(TABLE)) as opened:
            yield opened

    def read_config(self) -> Config:
        """Say of the file what a config says: how many words, how long a vector, no positions."""
        rows, width = self._kept.tensor(TABLE).shape
        raw = {"model_type": "static", "vocab_size": rows, "hidden_size": width, "tie_word_embeddings": False}
        spelled = {"vocab_size": "words", "hidden_size": "numbers a line", "tie_word_embeddings": "one table"}
        return parse_config(raw, file=self.file, spelled=spelled)

    def read_vocabulary(self) -> Vocabulary:
        """Read the words."""

        def words() -> list[str]:
            tensor = self._kept.tensor(WORDS)
            data = self._kept.source.read(tensor.shard, tensor.start, tensor.stop)
            return data.decode().split("\n")

        return read_words(words, self.file, key=f"{self._key}{VERSION:02x}")


@dataclass
class _Writer:
    """Writes words and vectors as a safetensors file."""

    file: BinaryIO
    width: int
    moment: int
    """The second at which it is sealed."""
    words: list[bytes] = field(default_factory=list)

    def write(self, records: Iterator[tuple[list[bytes], Floats]]) -> None:
        """Write all records, then the words, then the header before them, twice: without its sum and with it."""
        self.file.write(bytes(HEADER_BYTES))
        for words, vectors in records:
            self.words += words
            self.file.write(vectors.astype("<f4").tobytes())
        text = b"\n".join(self.words)
        self.file.write(text)
        size = len(self.words) * self.width * 4
        tensors = {
            TABLE: {"dtype": "F32", "shape": [len(self.words), self.width], "data_offsets": [0, size]},
            WORDS: {"dtype": "U8", "shape": [len(text)], "data_offsets": [size, size + len(text)]},
        }
        self._write_header(tensors, seal_metadata(moment=self.moment))
        total = checksum(self.file, HEADER_BYTES, HEADER_BYTES + size + len(text))
        self._write_header(tensors, seal_metadata(total, self.moment))

    def _write_header(self, tensors: Mapping[str, object], metadata: Mapping[str, str]) -> None:
        """Write the header, and stand at the beginning of the file."""
        header = json.dumps({"__metadata__": metadata, **tensors}).encode().ljust(HEADER_BYTES - 8)
        self.file.seek(0)
        self.file.write((HEADER_BYTES - 8).to_bytes(8, "little") + header)
        self.file.seek(0)


def _records(source: Source, file: str, layout: Layout) -> Iterator[tuple[list[bytes], Floats]]:
    """Read a file's words and vectors, some at a time, and check that they are as many as it says.

    Raises:
        FormatError: a record is malformed, or there are fewer or more of them.
    """
    found = 0
    read = _binary if layout.kind == "word2vec binary" else _text
    for words, vectors in read(source, file, layout):
        found += len(words)
        if layout.words is not None and found > layout.words:
            raise FormatError(f"{file} has more words than the {layout.words:,} that its first line says")
        yield words, vectors
    if layout.words is not None and found < layout.words:
        raise FormatError(
            f"{file} is truncated: its first line says {plural(layout.words, 'word')}, it has {found:,}",
            hint="delete it and fetch it again",
        )
    if not found:
        raise FormatError(f"{file} has no words")


def _chunks(source: Source, file: str) -> Iterator[bytes]:
    """Read a file from its beginning to its end."""
    size = source.size(file)
    for start in range(0, size, CHUNK):
        yield source.read(file, start, min(start + CHUNK, size))


def _lines(source: Source, file: str) -> Iterator[tuple[int, bytes]]:
    """Yield a file's lines with their numbers, without their ends; empty ones are passed over."""
    rest, number = b"", 0
    for chunk in _chunks(source, file):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line.rstrip()
        if len(rest) > LONGEST_LINE:
            raise FormatError(f"line {number + 1:,} of {file} is longer than {LONGEST_LINE:,} bytes")
    if rest.strip():
        yield number + 1, rest.rstrip()


def _text(source: Source, file: str, layout: Layout) -> Iterator[tuple[list[bytes], Floats]]:
    lines = _lines(source, file)
    if layout.words is not None:
        next(lines, None)
    block: list[tuple[int, bytes]] = []
    for numbered in lines:
        block.append(numbered)
        if len(block) == LINES:
            yield _parse(block, file, layout.width)
            block = []
    if block:
        yield _parse(block, file, layout.width)


def _parse(block: Sequence[tuple[int, bytes]], file: str, width: int) -> tuple[list[bytes], Floats]:
    """Parse lines: the last `width` fields are numbers, what is before them is the word, spaces and all."""
    words, numbers = [], []
    for number, line in block:
        word, _, rest = line.partition(b" ")
        if rest.count(b" ") != width - 1:
            word, rest = _cut(line, width)
        words.append(_checked(word, f"line {number:,} of {file}"))
        numbers.append(rest)
    vectors = _numbers(b" ".join(numbers))
    if vectors is None or vectors.size != width * len(block):
        for (number, _), text in zip(block, numbers, strict=True):
            own = _numbers(text)
            if own is None or own.size != width:
                raise FormatError(f"line {number:,} of {file} is not a word and {plural(width, 'number')}")
        raise FormatError(f"{file} has a line that is not a word and {plural(width, 'number')}")
    return words, vectors.reshape(-1, width)


def _cut(line: bytes, width: int) -> tuple[bytes, bytes]:
    """Cut a line before its last `width` fields."""
    fields = line.rsplit(b" ", width)
    return fields[0], b" ".join(fields[1:])


def _numbers(text: bytes) -> Floats | None:
    """Parse numbers with spaces between, each rounded once to float32; None if something else is among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            with np.errstate(over="ignore"):  # beyond float32 is infinity, which is counted later
                found: Floats = np.fromstring(text.decode("ascii"), np.float64, sep=" ").astype(np.float32)
        except (DeprecationWarning, ValueError):
            return None
    return found


def _checked(word: bytes, where: str) -> bytes:
    """Return a word, or refuse it: too long, or not text."""
    if not word or len(word) > LONGEST_WORD or b"\n" in word:
        raise FormatError(f"{where} has no word, or one of more than {LONGEST_WORD:,} bytes")
    try:
        word.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} has a word that is not UTF-8") from error
    return word


def _binary(source: Source, file: str, layout: Layout) -> Iterator[tuple[list[bytes], Floats]]:
    """Read word2vec's binary records: a word, a space, the numbers; some writers end each with a newline."""
    size = layout.width * 4
    data, words, vectors = b"", [], []
    found, first = 0, True
    for chunk in _chunks(source, file):
        data += chunk
        place = data.index(b"\n") + 1 if first else 0
        first = False
        while True:
            space = data.find(b" ", place, place + LONGEST_WORD + 2)
            if space < 0 and len(data) - place > LONGEST_WORD + 1:
                raise FormatError(f"word {found + 1:,} of {file} has more than {LONGEST_WORD:,} bytes")
            if space < 0 or len(data) - space - 1 < size:
                break
            found += 1
            words.append(_checked(data[place:space].lstrip(b"\n"), f"word {found:,} of {file}"))
            vectors.append(data[space + 1 : space + 1 + size])
            place = space + 1 + size
        data = data[place:]
        if words:
            yield words, np.frombuffer(b"".join(vectors), "<f4").reshape(-1, layout.width).astype(np.float32)
            words, vectors = [], []
    if data.strip(b"\n"):
        raise FormatError(
            f"{file} is truncated: it ends inside word {found + 1:,}", hint="delete it and fetch it again"
        )


def open_file(source: Source, file: str) -> StaticCheckpoint:
    """Open a file of words and vectors.

    Raises:
        FormatError: it is none.
        UnsupportedFormat: it is a model of fastText.
    """
    layout = recognise(source.head(file, LOOKED_AT), file)
    if layout is None:
        raise FormatError(f"{file} is not a table of words: its first lines are not a word and numbers")
    return StaticCheckpoint(source, file, layout)


def open_checkpoint(source: Source) -> StaticCheckpoint | None:
    """Open the only `.vec` file of a folder, or return None if it has none, or several."""
    files = [file for file in source.files() if "/" not in file and file.endswith(SUFFIX)]
    return open_file(source, files[0]) if len(files) == 1 else None


def is_static(source: Source, file: str) -> bool:
    """Return whether a file is one of words and vectors, by its first bytes."""
    return recognise(source.head(file, LOOKED_AT), file) is not None


# --- model2vec


@dataclass(frozen=True)
class _Weighted:
    """Decodes a row of an embedding followed by its token's weight."""

    row_bytes: int
    rows: DType
    weights: DType

    def __call__(self, stored: Bytes) -> Floats:
        numbers = self.rows.to_float32(stored[..., : self.row_bytes])
        return numbers * self.weights.to_float32(stored[..., self.row_bytes :])


INTEGERS = {"I64": "<i8", "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2"}


def join_model2vec(pieces: Pieces) -> TensorInfo:
    """Put together a table with a row for each token: the row that the token is mapped to, times its weight.

    Raises:
        FormatError: the tensors do not fit each other.
    """
    table = pieces.get("embeddings")
    pieces.check_table(table)
    tokens = table.shape[0]
    through: RowMap | None = None
    if pieces.has("mapping"):
        mapping = pieces.get("mapping")
        if len(mapping.shape) != 1 or mapping.dtype.name not in INTEGERS:
            raise pieces.error(f"has a {mapping.name} of {mapping.dtype.name} that is not a list of rows")
        tokens = mapping.shape[0]
        through = RowMap(lambda: _read_mapping(pieces, mapping, table.shape[0]))
    if not pieces.has("weights"):
        decode = table.dtype.decode
        return pieces.join(
            table.dtype.name + ", mapped", table.shape[1], [Part(table, through=through)], decode, rows=tokens
        )
    weights = pieces.get("weights")
    if weights.shape not in ((tokens,), (tokens, 1)) or weights.dtype.decode is None:
        raise pieces.error(f"has {weights.name} that are not one number for each of {tokens:,} tokens")
    decoder = _Weighted(table.row_bytes, table.dtype, weights.dtype)
    parts = [Part(table, through=through), Part(weights)]
    return pieces.join(f"{table.dtype.name}, weighted", table.shape[1], parts, decoder, rows=tokens)


def _read_mapping(pieces: Pieces, mapping: TensorInfo, rows: int) -> NDArray[np.int64]:
    """Read which row each token has.

    Raises:
        FormatError: one of them is beyond the table.
    """
    data = pieces.checkpoint.source.read(mapping.shard, mapping.start, mapping.stop)
    found: NDArray[Any] = np.frombuffer(data, INTEGERS[mapping.dtype.name])
    if found.size and not 0 <= int(found.min()) <= int(found.max()) < rows:
        raise pieces.error(f"has a {mapping.name} to a row beyond its {rows:,}")
    return found.astype(np.int64)


MODEL2VEC = (
    Recipe(("mapping", "embeddings"), ("weights",), join_model2vec, "embeddings"),
    Recipe(("weights", "embeddings"), ("mapping",), join_model2vec, "embeddings"),
)
