"""The GGUF format: a header with metadata and tensors, read strictly; llama.cpp's and Ollama's files.

A file is `GGUF`, a version, the two counts, the metadata (key, type, value), the tensors (name, dimensions innermost
first, type, offset), padding to `general.alignment`, then the data
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Versions 2 and 3 in little-endian order are read. The
header does not say how long it is, so it is read in steps, never beyond `Source.header_limit`; a long array of strings,
such as the tokens, is passed over and decoded only when asked for. A model can be split over several files, each with a
header of its own, the metadata in the first.
"""

import dataclasses
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embtool.arrays import Ints, np
from embtool.configs.config import Config
from embtool.counts import plural
from embtool.errors import FileNotInModel, FormatError, TableNotFound, UnsupportedFormat
from embtool.formats import gguf_config
from embtool.formats.ggml import type_of
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.impostors import impostor
from embtool.storage.source import Source
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.ggml import TokenizerMetadata, read_ggml

SUFFIX = ".gguf"
MAGIC = b"GGUF"
VERSIONS = (2, 3)

STEPS = (1 << 20, 8 << 20, 32 << 20, 1 << 40)
"""Bytes read of a header, then again if that was not all: a large vocabulary makes one of 6 to 16 MB. The last step is
as far as the source allows."""

KEY_LIMIT = 65_535
"""Bytes of a key: the format's own limit."""

NAME_LIMIT = 4096
"""Bytes of a tensor's name: the format allows 64, some writers went beyond it."""

MOST_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
LARGEST_SIZE = 1 << 63

MOST_TENSORS, MOST_ENTRIES = 1 << 17, 1 << 16
"""In one file; real ones have some thousands and less than a hundred."""

LEAST_ENTRY = 13
"""Bytes of the shortest metadata entry: an empty key, its type and one byte of value."""

DEEPEST_ARRAY = 4
"""Arrays within arrays; no known key has one within another."""

SPLIT = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
"""One file of a split model, as llama-gguf-split names it."""

PROJECTOR = re.compile(r"(^|[/\-_.])mmproj", re.IGNORECASE)
"""Files of a vision tower that lie beside a model: no model of their own."""

SCALE = ".scale"
"""The end of the name of a factor for a whole tensor, as converters of NVFP4 models write it."""

SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
"""Types of metadata values, for struct, by their number; 8 is a string, 9 an array."""

STRING, ARRAY, BOOL = 8, 9, 7

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""`general.file_type`: how most tensors of a file are stored (llama.h, `llama_ftype`)."""


class _TooShort(Exception):
    """The bytes in hand end before the header does."""


@dataclass(frozen=True)
class Strings(Sequence[str]):
    """An array of strings in a header: where each begins and how long it is; decoded when asked for."""

    data: bytes
    starts: Ints
    lengths: Ints
    what: str

    def __len__(self) -> int:
        return len(self.starts)

    def raw(self, place: int) -> bytes:
        """Return the bytes of one string."""
        start = int(self.starts[place])
        return self.data[start : start + int(self.lengths[place])]

    def __getitem__(self, place: Any) -> Any:
        """Return one string.

        Raises:
            FormatError: its bytes are not UTF-8.
        """
        return _text(self.raw(place), f"entry {place:,} of {self.what}")

    def __iter__(self) -> Iterator[str]:
        starts, lengths = self.starts.tolist(), self.lengths.tolist()
        for place, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            yield _text(self.data[start : start + length], f"entry {place:,} of {self.what}")


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself: its metadata by key, and its tensors by name."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


def read_header(source: Source, shard: str) -> Header:
    """Read a file's header, in as few reads as its length allows.

    Raises:
        FormatError: it is no GGUF file, of another version or byte order, truncated, or longer than is accepted.
    """
    for step in STEPS:
        length = min(step, source.header_limit)
        data = source.head(shard, length)
        size = source.size(shard)  # after the first bytes, which on a hub bring it with them
        try:
            return parse_header(data, file_size=size, shard=shard)
        except _TooShort:
            if len(data) >= size:
                raise FormatError(
                    f"{shard} is truncated: its {size:,} bytes end inside its header",
                    hint="delete it and fetch it again",
                ) from None
            if length == source.header_limit:
                break
    raise FormatError(f"the header of {shard} is longer than {source.header_limit:,} bytes, the most that is read")


def parse_header(data: bytes, *, file_size: int, shard: str) -> Header:
    """Parse a header; `file_size` is in bytes.

    Raises:
        FormatError: it breaks a promise of the format.
        _TooShort: it is longer than the bytes given.
    """
    cursor = _Cursor(data, shard)
    _check_magic(data, shard)
    cursor.place = len(MAGIC)
    version = cursor.scalar("<I")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        other = "is in big-endian order" if swapped else f"has version {version}"
        raise UnsupportedFormat(
            f"{shard} {other}: embtool reads GGUF of version 2 and 3 in little-endian order",
            hint="convert it with llama.cpp's gguf-py scripts, or fetch a newer one",
        )
    tensor_count, entry_count = cursor.scalar("<Q"), cursor.scalar("<Q")
    claimed = f"{plural(tensor_count, 'tensor')} and {plural(entry_count, 'entry', 'entries')}"
    if (tensor_count + entry_count) * LEAST_ENTRY > file_size:
        raise FormatError(f"{shard} claims {claimed}, more than its bytes")
    if tensor_count > MOST_TENSORS or entry_count > MOST_ENTRIES:
        raise FormatError(f"{shard} claims {claimed}, more than a model has")
    metadata: dict[str, Any] = {}
    for _ in range(entry_count):
        key = cursor.text("a key", KEY_LIMIT)
        if key in metadata:
            raise FormatError(f"{cursor.shard} has the key {key} twice")
        metadata[key] = cursor.value(cursor.scalar("<I"), key)
    entries = []
    for _ in range(tensor_count):
        name = cursor.text("the name of a tensor", NAME_LIMIT)
        dimensions = cursor.scalar("<I")
        if dimensions > MOST_DIMENSIONS:
            raise FormatError(f"tensor {name} in {shard} has {dimensions} dimensions")
        shape = tuple(cursor.scalar("<Q") for _ in range(dimensions))
        entries.append(_Entry(name, shape[::-1], cursor.scalar("<I"), cursor.scalar("<Q")))
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1) or alignment > 1 << 20:  # noqa: PLR2004
        raise FormatError(f"general.alignment in {shard} is not a power of two of at least 8")
    start = -(-cursor.place // alignment) * alignment
    return Header(metadata, _tensors(entries, start, alignment, file_size, shard))


def _check_magic(data: bytes, shard: str) -> None:
    if data.startswith(MAGIC):
        return
    if len(data) < len(MAGIC) and MAGIC.startswith(data):
        held = plural(len(data), "byte")
        raise FormatError(f"{shard} is truncated: it has {held}", hint="delete it and fetch it again")
    other = impostor(data)
    raise FormatError(
        f"{shard} is not a GGUF file{f': it looks like {other.what}' if other else ''}",
        hint=other.hint if other else None,
    )


class _Cursor:
    """Reads values one after the other; raises `_TooShort` at the end of the bytes in hand."""

    def __init__(self, data: bytes, shard: str) -> None:
        self.data = data
        self.shard = shard
        self.place = 0

    def take(self, count: int) -> bytes:
        stop = self.place + count
        if stop > len(self.data):
            raise _TooShort
        taken = self.data[self.place : stop]
        self.place = stop
        return taken

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, what: str, limit: int) -> str:
        length = self.scalar("<Q")
        if length > limit:
            raise FormatError(f"{what} in {self.shard} has {length:,} bytes, the limit is {limit:,}")
        return _text(self.take(length), f"{what} in {self.shard}")

    def value(self, kind: int, key: str, depth: int = 0) -> Any:
        if kind == STRING:
            return _text(self.take(self.scalar("<Q")), f"{key} in {self.shard}")
        if kind == ARRAY:
            return self._array(key, depth)
        form = SCALARS.get(kind)
        if form is None:
            raise FormatError(f"{key} in {self.shard} has the unknown value type {kind}")
        if kind != BOOL:
            return self.scalar(form)
        byte = self.take(1)[0]
        if byte > 1:
            raise FormatError(f"{key} in {self.shard} is neither true nor false")
        return bool(byte)

    def _array(self, key: str, depth: int) -> Any:
        kind, count = self.scalar("<I"), self.scalar("<Q")
        if kind == STRING:
            return self._strings(count, key)
        if kind == ARRAY:
            if depth == DEEPEST_ARRAY:
                raise FormatError(f"{key} in {self.shard} is nested too deeply")
            self._check_room(count, 12)
            return [self._array(key, depth + 1) for _ in range(count)]
        form = SCALARS.get(kind)
        if form is None:
            raise FormatError(f"{key} in {self.shard} is an array of the unknown value type {kind}")
        size = struct.calcsize(form)
        self._check_room(count, size)
        return np.frombuffer(self.take(count * size), np.dtype(form if form != "?" else "u1"))

    def _check_room(self, count: int, size: int) -> None:
        if count * size > len(self.data) - self.place:
            raise _TooShort

    def _strings(self, count: int, key: str) -> Strings:
        """Pass over an array of strings, noting where each is."""
        self._check_room(count, 8)
        data, place, size = self.data, self.place, len(self.data)
        unpack = struct.Struct("<Q").unpack_from
        starts, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
        for order in range(count):
            if place + 8 > size:
                raise _TooShort
            (length,) = unpack(data, place)
            place += 8
            if length > size - place:
                raise _TooShort
            starts[order], lengths[order] = place, length
            place += length
        self.place = place
        return Strings(data, starts, lengths, f"{key} in {self.shard}")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 at byte {error.start}") from error


@dataclass(frozen=True)
class _Entry:
    """A tensor as the header describes it: its shape in rows and columns, its place relative to the data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _tensors(
    entries: Sequence[_Entry], start: int, alignment: int, file_size: int, shard: str
) -> dict[str, TensorInfo]:
    """Place the tensors in the file, and check that each fits, alone and beside the others."""
    tensors: dict[str, TensorInfo] = {}
    for entry in entries:
        where = f"tensor {entry.name} in {shard}"
        if entry.name in tensors:
            raise FormatError(f"{where} is described twice")
        if entry.offset % alignment:
            raise FormatError(f"{where} does not begin at a multiple of {alignment}")
        dtype, size = type_of(entry.kind), math.prod(entry.shape)
        if size >= LARGEST_SIZE or entry.offset >= LARGEST_SIZE:
            raise FormatError(f"{where} is larger than any file")
        if entry.shape and entry.shape[-1] % dtype.values:
            raise FormatError(f"{where} has rows of {entry.shape[-1]:,} numbers, not whole blocks of {dtype.name}")
        nbytes = dtype.nbytes(size)
        if nbytes is None:
            raise FormatError(f"{where} is a single number, which {dtype.name} has no block for")
        tensors[entry.name] = TensorInfo(entry.name, shard, dtype, entry.shape, start + entry.offset, nbytes)
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start < end:
            raise FormatError(f"tensor {tensor.name} in {shard} overlaps another tensor")
        if tensor.stop > file_size:
            raise FormatError(
                f"tensor {tensor.name} in {shard} ends at byte {tensor.stop:,}, beyond the file's {file_size:,}",
                hint="the file is truncated: delete it and fetch it again",
            )
        end = tensor.stop
    return tensors


class GgufCheckpoint(Checkpoint):
    """One GGUF file, or the files of a split model; the first one's metadata is the config and the tokenizer."""

    def __init__(self, source: Source, shards: Sequence[str]) -> None:
        self.source = source
        self._shards = tuple(shards)

    @property
    def format(self) -> str:  # type: ignore[override]
        """The format's name, with the type that most tensors have."""
        kind = self.metadata.get("general.file_type")
        name = FILE_TYPES.get(kind) if isinstance(kind, int) else None
        return f"GGUF, mostly {name}" if name is not None else "GGUF"

    @cached_property
    def _headers(self) -> dict[str, Header]:
        headers = {shard: read_header(self.source, shard) for shard in self._shards}
        count = headers[self._shards[0]].metadata.get("split.count", 0)
        if type(count) is not int:
            raise FormatError(f"split.count in {self._shards[0]} is not a number")
        if count and count != len(self._shards):
            raise FormatError(
                f"{self._shards[0]} is one of {count} files of a model, of which {len(self._shards)} are named"
            )
        return headers

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of the first file."""
        return self._headers[self._shards[0]].metadata

    @cached_property
    def _tensors(self) -> dict[str, TensorInfo]:
        tensors: dict[str, TensorInfo] = {}
        for shard, header in self._headers.items():
            for name, tensor in header.tensors.items():
                if name in tensors:
                    raise FormatError(f"tensor {name} is in two files: {tensors[name].shard} and {shard}")
                tensors[name] = tensor
        return tensors

    @property
    def names(self) -> Sequence[str]:
        """Every tensor's name."""
        return tuple(self._tensors)

    @property
    def shards(self) -> Sequence[str]:
        """Every file."""
        return self._shards

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor by name."""
        found = self._tensors.get(name)
        if found is None:
            raise TableNotFound(f"{self.source.name} has no tensor {name}")
        if f"{name.removesuffix('.weight')}{SCALE}" in self._tensors:
            # What is in the blocks is then not yet the row, and the library does not know the scale.
            return dataclasses.replace(
                found,
                dtype=dataclasses.replace(found.dtype, name=f"{found.dtype.name} with a scale beside it", decode=None),
            )
        return found

    def read_config(self) -> Config:
        """Read the config from the `{architecture}.*` keys.

        Raises:
            ConfigError: a key has a value of the wrong type.
        """
        shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        return gguf_config.read_config(self.metadata, self._shards[0], shapes, self._numbers)

    def read_vocabulary(self) -> Vocabulary | None:
        """Read the tokens from the `tokenizer.ggml.*` keys; None where there are none.

        Raises:
            FormatError: they make no vocabulary.
        """
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, Strings):
            return None
        table = self._tensors.get("token_embd.weight")
        if table is not None and table.shape and table.shape[0] != len(tokens):
            raise FormatError(
                f"{self._shards[0]} has {plural(len(tokens), 'token')} for the {plural(table.shape[0], 'row')} "
                f"of {table.name}"
            )
        return read_ggml(TokenizerMetadata(self.metadata, self._shards[0]))

    def _numbers(self, name: str) -> list[float] | None:
        """Read a small tensor whole, such as the factors of the rotary frequencies."""
        tensor = self._tensors.get(name)
        if tensor is None or math.prod(tensor.shape) > gguf_config.MOST_FACTORS:
            return None
        stored = np.frombuffer(self.source.read(tensor.shard, tensor.start, tensor.stop), np.uint8)
        return [float(value) for value in tensor.dtype.to_float32(stored)]


def open_file(source: Source, file: str) -> GgufCheckpoint:
    """Open a GGUF file, and the others of a split model beside it.

    Raises:
        FileNotInModel: a file of the split is missing.
    """
    split = SPLIT.match(file)
    if split is None:
        return GgufCheckpoint(source, [file])
    count = int(split["count"])
    shards = [f"{split['stem']}-{number:05d}-of-{count:05d}{SUFFIX}" for number in range(1, count + 1)]
    missing = next((shard for shard in shards if not source.has(shard)), None)
    if missing is not None:
        raise FileNotInModel(f"{source.name} is split over {count} files, of which {missing} is missing")
    return GgufCheckpoint(source, shards)


def open_checkpoint(source: Source) -> GgufCheckpoint | None:
    """Open the only GGUF model of a folder or repository, or return None if it has none.

    Raises:
        TableNotFound: it has several, each a model of its own.
    """
    files = [file for file in source.files() if "/" not in file and file.endswith(SUFFIX)]
    models = [  # of the files of a split the first
        file
        for file in files
        if not PROJECTOR.search(file) and ((split := SPLIT.match(file)) is None or int(split["number"]) == 1)
    ]
    if len(models) > 1:
        listed = ", ".join(models[:LISTED]) + (f" and {len(models) - LISTED} more" if len(models) > LISTED else "")
        raise TableNotFound(
            f"{source.name} has {len(models)} GGUF files, each a model of its own: name one", hint=listed
        )
    return open_file(source, models[0]) if models else None


LISTED = 6
"""Files named in the hint."""
