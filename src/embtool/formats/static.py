"""Static embeddings: a vector for each word, in the files of word2vec, GloVe and fastText.

word2vec's text begins with the number of words and of dimensions, then has a word and its numbers a line; fastText's
`.vec` is the same, GloVe's files lack the first line. word2vec's binary has the numbers as little-endian float32
(https://code.google.com/archive/p/word2vec/, https://nlp.stanford.edu/projects/glove/,
https://fasttext.cc/docs/en/crawl-vectors.html). A row of such a file is found only by reading all before it. So a file
is read through once, and its numbers and words are kept in embtool's cache as a safetensors file, from which rows are
read like any others; the file itself is only read again when it has changed.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from embtool.arrays import Bytes
from embtool.configs.config import Config, parse_config
from embtool.counts import plural
from embtool.errors import LocalFailure, TableNotFound, UnsupportedFormat, trying_to
from embtool.formats.records import LOOKED_AT, Layout, Records, not_words, read_records, recognise
from embtool.formats.safetensors import SafetensorsCheckpoint
from embtool.storage.cache import derived, put
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.impostors import impostor
from embtool.storage.kept import checksum, is_sound, read_metadata, seal_metadata, stamp
from embtool.storage.replacing import flush
from embtool.storage.source import Folder, LocalRange, RangeReader, Source
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.plain import is_utf8, read_words

SUFFIX = ".vec"

VERSION = 3
"""Raise it when the files below are read in another way: what was kept before is then not found."""

TABLE = "embeddings"
WORDS = "words"

HEADER_BYTES = 1024
"""Bytes kept for the header of the safetensors file, whose sizes are known only when all is written."""

NOT_UTF8, DOUBLED = "not_utf8", "doubled"
"""What is counted while a file is read, by its name in the metadata of what is kept."""


class StaticCheckpoint(Checkpoint):
    """A file of words and vectors; its rows are read from what was kept of it."""

    def __init__(self, source: Source, file: str, layout: Layout) -> None:
        self.source = source
        self.file = file
        self.layout = layout

    @property
    def format(self) -> str:  # type: ignore[override]
        """How it is written, and, once it has been read, what is odd about its words."""
        head = read_metadata(self._place) if "_kept" in vars(self) else None
        about = head.about if head is not None else {}
        not_utf8, doubled = (int(about.get(key, "0")) for key in (NOT_UTF8, DOUBLED))
        parts = [
            self.layout.kind,
            plural(not_utf8, "word is not UTF-8", "words are not UTF-8") if not_utf8 else "",
            plural(doubled, "word stands there again", "words stand there again") if doubled else "",
        ]
        return ", ".join(filter(None, parts))

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
        path = self._place
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

    @property
    def _place(self) -> Path:
        return derived("static", self._key).with_suffix(f".v{VERSION}.safetensors")

    @cached_property
    def _key(self) -> str:
        """The identity of the file: its place, its size and when it was changed."""
        path = self.source.path(self.file)
        if path is None or not self.source.local:
            raise UnsupportedFormat(
                f"{self.file} is read as a whole: embtool opens such a file only on this machine",
                hint="fetch it first, with `hf download`",
            )
        with trying_to(f"read {path}"):
            state = os.stat(path)  # noqa: PTH116 - a descriptor's worth of facts
        known = [os.path.realpath(path), state.st_size, state.st_mtime_ns, state.st_ino]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def _convert(self, file: BinaryIO, moment: int) -> None:
        _Writer(file, self.layout.width, moment).write(read_records(self.source, self.file, self.layout))
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

        def words() -> list[bytes]:
            tensor = self._kept.tensor(WORDS)
            data = self._kept.source.read(tensor.shard, tensor.start, tensor.stop)
            return data.split(b"\n")

        return read_words(words, self.file, key=f"{self._key}{VERSION:02x}")


@dataclass
class _Writer:
    """Writes words and vectors as a safetensors file."""

    file: BinaryIO
    width: int
    moment: int
    """The second at which it is sealed."""
    words: list[bytes] = field(default_factory=list)

    def write(self, records: Records) -> None:
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
        bad = 0 if is_utf8(text) else sum(not is_utf8(word) for word in self.words)
        counts = {NOT_UTF8: str(bad), DOUBLED: str(len(self.words) - len(set(self.words)))}
        self._write_header(tensors, seal_metadata(moment=self.moment) | counts)
        total = checksum(self.file, HEADER_BYTES, HEADER_BYTES + size + len(text))
        self._write_header(tensors, seal_metadata(total, self.moment) | counts)

    def _write_header(self, tensors: Mapping[str, object], metadata: Mapping[str, str]) -> None:
        """Write the header, and stand at the beginning of the file."""
        header = json.dumps({"__metadata__": metadata, **tensors}).encode().ljust(HEADER_BYTES - 8)
        self.file.seek(0)
        self.file.write((HEADER_BYTES - 8).to_bytes(8, "little") + header)
        self.file.seek(0)


def open_file(source: Source, file: str) -> StaticCheckpoint:
    """Open a file of words and vectors.

    Raises:
        FormatError: it is none.
        UnsupportedFormat: it is another kind of file, such as a model of fastText.
    """
    head = source.head(file, LOOKED_AT)
    other = impostor(head)
    if other is not None:
        raise UnsupportedFormat(f"{file} is {other.what}", hint=other.hint)
    layout = recognise(head)
    if layout is None:
        raise not_words(head, file)
    return StaticCheckpoint(source, file, layout)


def open_checkpoint(source: Source) -> StaticCheckpoint | None:
    """Open the only `.vec` file of a folder, or return None if it has none, or several."""
    files = [file for file in source.files() if "/" not in file and file.endswith(SUFFIX)]
    return open_file(source, files[0]) if len(files) == 1 else None
