"""The safetensors format: headers and the index of a sharded checkpoint, read strictly.

A file is 8 bytes of little-endian length N, N bytes of JSON, then the data. What is promised
(https://github.com/safetensors/safetensors) is checked here, once: the header is at most `Source.header_limit` bytes;
tensors follow each other from the first data byte to the last of the file, without holes, overlaps or trailing bytes;
every size is shape × dtype. Stricter than the library in one point: a name that stands twice is refused, because two
readers could disagree about which one counts.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from embtool.counts import plural
from embtool.errors import FormatError, TableNotFound, UnsupportedFormat
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.dtypes import DTYPES, DType
from embtool.storage.impostors import impostor, refuse
from embtool.storage.source import SMALL_FILE_LIMIT, Source, check_file_name, is_overfull

LENGTH_BYTES = 8
SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

CUT_FILES = ("consolidated.", "mp_rank_")
"""How files are called whose tensors were cut for several devices: Meta's, and Megatron's."""

FIRST_GUESS = 100_000
"""Bytes read first when nothing is known of a header: 97 % of all headers fit
(https://huggingface.co/docs/safetensors/metadata_parsing)."""

ENTRY_GUESS = 112
"""Bytes of a header entry beside its name: dtype, shape and offsets of a large checkpoint, generously."""

METADATA_GUESS = 512
"""Bytes of the `__metadata__` entry of a usual header."""

MOST_VALUES = 1 << 21
"""Values in a header, eight for each tensor, or in an index, one for each: 250,000 tensors in one shard."""

LARGEST_SIZE = 1 << 63
"""No shape or offset can be larger in a file system of today; Python's own integers have no limit."""


def parse_header(header: bytes, *, data_start: int, file_size: int, shard: str) -> dict[str, TensorInfo]:
    """Parse the JSON of a header into tensors; `data_start` and `file_size` are in bytes from the file's beginning.

    Raises:
        FormatError: the header breaks a promise of the format; the message names the shard and the tensor.
    """
    entries = strict_object(header, what=f"the header of {shard}")
    metadata = entries.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"__metadata__ in the header of {shard} is not a table of strings")
    tensors = [_parse_entry(name, entry, data_start, shard) for name, entry in entries.items()]
    _check_contiguous(tensors, data_start, file_size, shard)
    return {tensor.name: tensor for tensor in tensors}


def strict_object(text: bytes, *, what: str) -> dict[str, Any]:
    """Decode a JSON object: UTF-8, no duplicate keys, no half of a surrogate pair, no NaN, no nesting bomb.

    Raises:
        FormatError: it is anything else.
    """
    if what.endswith(".json"):
        refuse(text, what)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise FormatError(f"{what} names {twice!r} twice")
        if escaped:
            _check_text((key for key, _ in pairs), what)
            _check_text((value for _, value in pairs if isinstance(value, str)), what)
        return entries

    def no_number(constant: str) -> None:
        raise FormatError(f"{what} is not JSON: {constant} is not a number there")

    escaped = b"\\u" in text
    if is_overfull(text, MOST_VALUES):
        raise FormatError(f"{what} holds more than {MOST_VALUES:,} values, more than any model needs")
    try:
        decoded = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_number)
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 at byte {error.start}") from error
    except (RecursionError, ValueError) as error:  # JSONDecodeError, and integers of more digits than Python converts
        why = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
        raise FormatError(f"{what} {why}") from error
    if not isinstance(decoded, dict):
        raise FormatError(f"{what} is not a JSON object")
    return decoded


def _check_text(strings: Iterable[str], what: str) -> None:
    """Refuse half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    for string in strings:
        try:
            string.encode()
        except UnicodeEncodeError as error:
            raise FormatError(f"{what} names {string!r}, which is not text") from error


def _parse_entry(name: str, entry: object, data_start: int, shard: str) -> TensorInfo:
    """Parse one entry `{"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}`."""
    where = f"tensor {name} in {shard}"
    if not isinstance(entry, dict):
        raise FormatError(f"{where} is not described by a JSON object")
    dtype_name, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype_name, str):
        raise FormatError(f"{where} has no dtype")
    if not _are_sizes(shape):
        raise FormatError(f"{where} has a shape that is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise FormatError(f"{where} has data_offsets that are not two sizes")
    begin, end = offsets
    if begin > end:
        raise FormatError(f"{where} ends before it begins")
    dtype = DTYPES.get(dtype_name)
    if dtype is None:  # listed, never decoded: its size is what the offsets say
        dtype = DType(dtype_name, 1, 0)
    elif math.prod(shape) >= LARGEST_SIZE or dtype.nbytes(math.prod(shape)) != end - begin:
        raise FormatError(f"{where} has {end - begin:,} bytes, which is not shape × {dtype_name}")
    return TensorInfo(name, shard, dtype, tuple(shape), data_start + begin, end - begin)


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    """Return whether this is a list of non-negative integers that a file could have."""
    return isinstance(value, list) and all(type(size) is int and 0 <= size < LARGEST_SIZE for size in value)


def _check_contiguous(tensors: Iterable[TensorInfo], data_start: int, file_size: int, shard: str) -> None:
    """Check that the tensors cover the data exactly, from its first byte to the end of the file."""
    expected = data_start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != expected:
            problem = "overlaps another tensor" if tensor.start < expected else "leaves a hole before it"
            raise FormatError(f"tensor {tensor.name} in {shard} {problem}")
        expected = tensor.stop
    if expected > file_size:
        raise FormatError(
            f"{shard} is truncated: {file_size:,} of {expected:,} bytes", hint="delete it and fetch it again"
        )
    if expected < file_size:
        raise FormatError(f"{shard} has {file_size - expected:,} bytes after its last tensor")


def read_header(source: Source, shard: str, guess: int = FIRST_GUESS) -> dict[str, TensorInfo]:
    """Read a shard's header, in one read if `guess` bytes hold it, and parse it.

    Raises:
        FormatError: the file is not a safetensors file.
    """
    head = source.head(shard, max(guess, LENGTH_BYTES))
    size = source.size(shard)
    if len(head) < LENGTH_BYTES:
        raise FormatError(
            f"{shard} is not a safetensors file: it has {plural(len(head), 'byte')}",
            hint="delete it and fetch it again",
        )
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    stop = LENGTH_BYTES + length
    is_sized = length <= source.header_limit and stop <= size
    if not is_sized or (head[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{" and impostor(head) is not None):
        raise _no_header(head, shard, size, stop, source.header_limit)
    header = head[LENGTH_BYTES:stop]
    if len(head) < stop:
        header += source.read(shard, len(head), stop)
    return parse_header(header, data_start=stop, file_size=size, shard=shard)


def _no_header(head: bytes, shard: str, size: int, stop: int, limit: int) -> FormatError:
    """Say what a file is whose first eight bytes are no length of a header, which would end at byte `stop`."""
    other = impostor(head)
    if other is not None:
        return FormatError(f"{shard} is not a safetensors file: it looks like {other.what}", hint=other.hint)
    if stop - LENGTH_BYTES > limit:
        return FormatError(
            f"{shard} is not a safetensors file: its header would have {plural(stop - LENGTH_BYTES, 'byte')}"
        )
    return FormatError(
        f"{shard} is truncated: {plural(size, 'byte')}, its header alone has {stop:,}",
        hint="delete it and fetch it again",
    )


class SafetensorsCheckpoint(Checkpoint):
    """One or many safetensors files; the weight map, if there is one, says which tensor is in which shard."""

    format = "safetensors"

    def __init__(self, source: Source, shards: Sequence[str], weight_map: Mapping[str, str] | None = None) -> None:
        self.source = source
        self._shards = tuple(shards)
        self._headers: dict[str, dict[str, TensorInfo]] = {}
        if weight_map is None:
            weight_map = places = dict[str, str]()
            for shard in self._shards:
                self._headers[shard] = read_header(self.source, shard)
                for name in self._headers[shard]:
                    if name in places:
                        raise self._twice(name, places[name], shard)
                    places[name] = shard
        self._weight_map = weight_map

    @property
    def names(self) -> Sequence[str]:
        """Every tensor's name, in the order of the weight map."""
        return tuple(self._weight_map)

    @property
    def shards(self) -> Sequence[str]:
        """Every shard."""
        return self._shards

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor, reading the header of its shard at the first time."""
        shard = self._weight_map.get(name)
        if shard is None:
            raise TableNotFound(f"{self.source.name} has no tensor {name}")
        tensor = self._header(shard).get(name)
        if tensor is None:
            raise FormatError(f"the index says that tensor {name} is in {shard}, but it is not")
        return tensor

    def _header(self, shard: str) -> dict[str, TensorInfo]:
        """Read a header once, and hold it against the weight map."""
        if shard not in self._headers:
            names = [name for name, place in self._weight_map.items() if place == shard]
            guess = LENGTH_BYTES + METADATA_GUESS + sum(len(json.dumps(name)) + ENTRY_GUESS for name in names)
            header = read_header(self.source, shard, guess)
            for name in header:
                if self._weight_map.get(name, shard) != shard:
                    raise FormatError(
                        f"tensor {name} is in {shard}, but the index places it in {self._weight_map[name]}"
                    )
            self._headers[shard] = header
        return self._headers[shard]

    def _twice(self, name: str, first: str, second: str) -> FormatError:
        """Say that two files hold one tensor: pieces of it, where a model was cut for several devices."""
        shape = " × ".join(map(str, self._headers[second][name].shape)) or "scalar"
        message = f"tensor {name} is in two shards: {first} and {second}"
        cut = all(shard.startswith(CUT_FILES) for shard in (first, second))
        why = f", {shape} there: each is a piece of the tensor, cut for several devices" if cut else ""
        hint = "put the pieces together first, with the converter of the model's family" if cut else None
        return FormatError(message + why, hint=hint)


def parse_index(text: bytes, *, file: str) -> dict[str, str]:
    """Parse the index of a sharded checkpoint into its weight map, tensor name to shard.

    Raises:
        FormatError: it is malformed, or names a file that could be outside the model.
    """
    weight_map = strict_object(text, what=file).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise FormatError(f"{file} has no weight_map from tensor names to files")
    for shard in set(weight_map.values()):
        check_file_name(shard, said_by=file)
        if not shard.endswith(SUFFIX):
            raise UnsupportedFormat(f"{file} names {shard}, which is not a safetensors file")
    return weight_map


def open_index(source: Source, file: str) -> SafetensorsCheckpoint:
    """Open a sharded checkpoint by its index."""
    weight_map = parse_index(source.read_file(file, SMALL_FILE_LIMIT), file=file)
    folder = file.rpartition("/")[0]
    if folder:
        weight_map = {name: f"{folder}/{shard}" for name, shard in weight_map.items()}
    return SafetensorsCheckpoint(source, sorted(set(weight_map.values())), weight_map)


def open_file(source: Source, file: str) -> SafetensorsCheckpoint:
    """Open a checkpoint that is one file."""
    return SafetensorsCheckpoint(source, [file])


def open_checkpoint(source: Source) -> SafetensorsCheckpoint | None:
    """Open the safetensors files of a model, or return None if it has none.

    The usual names are tried first, because a repository can be asked for a file more cheaply than for its list of
    files; after them a single index of another name, then all `*.safetensors` of the top folder.
    """
    openers: tuple[tuple[str, Callable[[Source, str], SafetensorsCheckpoint]], ...] = (
        (INDEX, open_index),
        (SINGLE, open_file),
    )
    for file, opener in openers:
        if source.has(file):
            return opener(source, file)
    top = [file for file in source.files() if "/" not in file]
    indexes = [file for file in top if file.endswith(INDEX_SUFFIX)]
    if len(indexes) == 1:
        return open_index(source, indexes[0])
    shards = [file for file in top if file.endswith(SUFFIX)]
    return SafetensorsCheckpoint(source, shards) if shards else None
