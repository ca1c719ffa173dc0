"""What an engine computed at some positions: a `Trace`, from an npz, a safetensors or a JSON file, or from arrays."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from embtool.arguments import is_whole
from embtool.arrays import Doubles, Ints, np
from embtool.counts import plural
from embtool.errors import EmbtoolError, FormatError
from embtool.formats.safetensors import LENGTH_BYTES, parse_header, strict_object
from embtool.storage.source import MOST_VALUES, SMALL_FILE_LIMIT, is_overfull
from embtool.tables.vectors import read_npy

ZIP = b"PK\x03\x04"

ARRAYS = ("positions", "before", "after", "cos", "sin", "inv_freq")
WORDS = ("layer_type", "layer", "sequence_length")
"""What a trace may say besides."""

MOST_NUMBERS = 1 << 22
"""Numbers of one array: a thousand positions of the widest head."""

MOST_POSITIONS = 1 << 14

LARGEST = 2**53
"""The largest position: beyond it neighbouring positions are one number."""

UNITS: Mapping[str, float] = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-9}
"""The largest relative error of one rounding to each precision."""

INTEGERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"}


@dataclass(frozen=True, eq=False)
class Trace:
    """What an engine computed.

    Attributes:
        positions: Shape (n,), or (n, 3) for tokens of an image.
        before: Queries before the rotation, (n, head_dim).
        after: The same after it.
        cos: A number for each pair at each position, (n, pairs).
        sin: The same.
        inv_freq: Radians per token, (pairs,).
        layer_type: The kind of layer, where it was said.
        layer: The number of the layer, where it was said.
        sequence_length: Tokens of the sequence, where it was said.
        precisions: How each array was rounded: a key of `UNITS`.
    """

    positions: Doubles
    before: Doubles | None = None
    after: Doubles | None = None
    cos: Doubles | None = None
    sin: Doubles | None = None
    inv_freq: Doubles | None = None
    layer_type: str | None = None
    layer: int | None = None
    sequence_length: int | None = None
    precisions: Mapping[str, str] | None = None

    @property
    def length(self) -> int:
        """Tokens of the sequence: as said, or as many as the positions need."""
        return self.sequence_length if self.sequence_length is not None else max(int(self.positions.max()) + 1, 1)

    @property
    def parts(self) -> tuple[str, ...]:
        """What can be judged of it."""
        pairs = (("after", self.after), ("cos", self.cos), ("inv_freq", self.inv_freq))
        return tuple(name for name, held in pairs if held is not None)

    def precision(self, part: str) -> str:
        """How a part was rounded."""
        return (self.precisions or {}).get(part, "float32")

    def only(self, rows: Ints) -> "Trace":
        """Some of its positions; the length stays."""
        taken = {name: getattr(self, name) for name in ("positions", "before", "after", "cos", "sin")}
        shorter: dict[str, Any] = {name: None if held is None else held[rows] for name, held in taken.items()}
        return replace(self, **shorter, sequence_length=self.length)


def parse_trace(data: bytes, *, file: str) -> Trace:
    """Read a trace from the bytes of an npz, a safetensors or a JSON file; which, its first bytes tell.

    Raises:
        FormatError: it is none of these, or no trace; the message names what is wrong.
    """
    if data.startswith(ZIP):
        held = _from_npz(data, file)
    elif data[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{" and not data.lstrip().startswith(b"{"):
        held = _from_safetensors(data, file)
    else:
        held = _from_json(data, file)
    return trace_of(held, file=file)


def trace_of(held: Mapping[str, Any], *, file: str = "the trace") -> Trace:
    """Make a trace of arrays by their names.

    Raises:
        FormatError: they are no trace; the message names the array.
    """
    reader = _Reader(held, file)
    positions = reader.positions()
    if positions is None:
        raise reader.error("has no positions", hint=f"a trace has positions, and any of {', '.join(PARTS)}")
    before, after, cos, sin, inv_freq = (reader.numbers(name) for name in ARRAYS[1:])
    if (before is None) != (after is None):
        raise reader.error(f"has {'after' if before is None else 'before'} without the other")
    if (cos is None) != (sin is None):
        raise reader.error(f"has {'sin' if cos is None else 'cos'} without the other")
    if after is None and cos is None and inv_freq is None:
        raise reader.error("has nothing to judge", hint=f"beside positions it has any of {', '.join(PARTS)}")
    count = len(positions)
    if before is not None and after is not None:
        before, after = reader.vectors(before, after, count)
    if cos is not None and sin is not None:
        cos, sin = reader.waves(cos, sin, count)
    if inv_freq is not None:
        if inv_freq.ndim != 1 or not inv_freq.size or (inv_freq < 0).any():
            raise reader.error(f"inv_freq of shape {inv_freq.shape} is no list of frequencies")
        reader.precisions["inv_freq"] = _rounded_to(inv_freq)
    kind, layer, length = reader.word("layer_type"), reader.whole("layer"), reader.whole("sequence_length")
    return Trace(positions, before, after, cos, sin, inv_freq, kind, layer, length, reader.precisions)


PARTS = ("before with after", "cos with sin", "inv_freq")


class _Reader:
    """Reads the arrays of a trace, and says what is wrong with one."""

    def __init__(self, held: Mapping[str, Any], file: str) -> None:
        self.held, self.file = held, file
        self.precisions: dict[str, str] = {}

    def error(self, what: str, hint: str | None = None) -> FormatError:
        """Name the file in an error."""
        return FormatError(f"{self.file} {what}" if what.startswith("has ") else f"{self.file}: {what}", hint=hint)

    def numbers(self, name: str) -> Doubles | None:
        """An array of finite numbers, without leading dimensions of one."""
        held = self.held.get(name)
        if held is None:
            return None
        try:
            array = np.asarray(held)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.error(f"{name} is no array of numbers") from error
        if array.dtype.kind not in "iuf":
            raise self.error(f"{name} is no array of numbers")
        if array.size > MOST_NUMBERS:
            raise self.error(f"{name} has {array.size:,} numbers, at most {MOST_NUMBERS:,} are read")
        while array.ndim > (1 if name in ("positions", "inv_freq") else 2) and array.shape[0] == 1:
            array = array[0]
        with np.errstate(all="ignore"):
            read = array.astype(np.float64)
        if not np.isfinite(read).all():
            where = np.argwhere(~np.isfinite(read))[0].tolist()
            raise self.error(f"{name} holds NaN or infinity, first at {where}")
        return read

    def positions(self) -> Doubles | None:
        """Whole numbers, (n,) or (n, 3)."""
        read = self.numbers("positions")
        if read is None:
            return None
        if read.ndim == 2 and read.shape[0] == 3 and read.shape[1] != 3:  # noqa: PLR2004 - transformers has axes first
            read = read.T
        three = read.ndim == 2 and read.shape[1] == 3  # noqa: PLR2004 - t, h, w
        if not (read.ndim == 1 or three) or not read.size:
            raise self.error(f"positions of shape {read.shape} are neither n numbers nor n times three")
        if len(read) > MOST_POSITIONS:
            raise self.error(f"has {len(read):,} positions, at most {MOST_POSITIONS:,} are read")
        if (read != np.floor(read)).any() or (np.abs(read) > LARGEST).any() or (read < 0).any():
            raise self.error("positions are whole numbers from 0 to 2^53")
        return read[:, 0] if three and (read == read[:, :1]).all() else read

    def vectors(self, before: Doubles, after: Doubles, count: int) -> tuple[Doubles, Doubles]:
        """Queries before and after, a row for each position; one before may stand for all."""
        after = after[np.newaxis] if after.ndim == 1 else after
        before = before[np.newaxis] if before.ndim == 1 else before
        if after.ndim != 2 or len(after) != count:  # noqa: PLR2004 - rows and channels
            raise self.error(f"after has shape {after.shape}, and there are {plural(count, 'position')}")
        if before.ndim != 2 or before.shape[1] != after.shape[1] or len(before) not in (1, count):  # noqa: PLR2004
            raise self.error(f"before has shape {before.shape}, and after {after.shape}")
        if not before.any():
            raise self.error("before is all zeros: nothing can be seen to turn")
        self.precisions["after"] = _rounded_to(after)
        return np.broadcast_to(before, after.shape), after

    def waves(self, cos: Doubles, sin: Doubles, count: int) -> tuple[Doubles, Doubles]:
        """Cos and sin, a number for each pair; where each stands twice, once for each channel, the first of both."""
        cos, sin = (held[np.newaxis] if held.ndim == 1 and count == 1 else held for held in (cos, sin))
        if cos.shape != sin.shape:
            raise self.error(f"cos has shape {cos.shape}, and sin {sin.shape}")
        if cos.ndim != 2 or len(cos) != count:  # noqa: PLR2004 - rows and channels
            raise self.error(f"cos has shape {cos.shape}, and there are {plural(count, 'position')}")
        self.precisions["cos"] = _rounded_to(np.concatenate([cos, sin]))
        half, odd = divmod(cos.shape[1], 2)
        if not odd:
            both = np.stack([cos, sin])
            if (both[..., :half] == both[..., half:]).all():
                return cos[:, :half], sin[:, :half]
            if (both[..., ::2] == both[..., 1::2]).all():
                return cos[:, ::2], sin[:, ::2]
        return cos, sin

    def word(self, name: str) -> str | None:
        """A text."""
        held = self.held.get(name)
        if isinstance(held, np.ndarray) and held.ndim == 0:
            held = held.item()
        if held is not None and not isinstance(held, str):
            raise self.error(f"{name} is no text")
        return held

    def whole(self, name: str) -> int | None:
        """A whole number from 0."""
        held = self.held.get(name)
        if isinstance(held, np.ndarray) and held.size == 1:
            held = held.reshape(()).item()
        if isinstance(held, str) and held.isascii() and held.isdecimal() and len(held) < len(str(LARGEST)):
            held = int(held)
        if held is None:
            return None
        if not is_whole(held) or not 0 <= int(held) <= LARGEST:
            raise self.error(f"{name} is no whole number")
        return int(held)


def _rounded_to(values: Doubles) -> str:
    """Tell which precision holds all of these numbers: an engine's own, however they were saved."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
        half = single.astype(np.float16).astype(np.float64)
    if (single == values).all() and not (single.view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    return "float16" if (half == values).all() else "float32"


# --- files ------------------------------------------------------------------------------------------------------------


def _from_npz(data: bytes, file: str) -> dict[str, Any]:
    """Read the arrays of an npz file that a trace has."""
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in (*ARRAYS, *WORDS):
                member = next((each for each in archive.infolist() if each.filename == f"{name}.npy"), None)
                if member is None:
                    continue
                if member.file_size > SMALL_FILE_LIMIT:
                    raise FormatError(f"{name} in {file} is too large: {member.file_size:,} bytes")
                with archive.open(member) as stream:
                    found[name] = read_npy(stream.read(SMALL_FILE_LIMIT), f"{name} in {file}")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise FormatError(f"{file} is not a readable npz file: {error}") from error
    return found


def _from_safetensors(data: bytes, file: str) -> dict[str, Any]:
    """Read the tensors of a safetensors file that a trace has; its texts stand in the metadata."""
    stop = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    if stop > len(data):
        raise FormatError(f"{file} is truncated: {len(data):,} bytes, its header alone has {stop:,}")
    header = data[LENGTH_BYTES:stop]
    tensors = parse_header(header, data_start=stop, file_size=len(data), shard=file)
    found: dict[str, Any] = dict(strict_object(header, what=f"the header of {file}").get("__metadata__") or {})
    found = {name: held for name, held in found.items() if name in WORDS}
    for name in (*ARRAYS, *WORDS):
        tensor = tensors.get(name)
        if tensor is None:
            continue
        stored = np.frombuffer(data, np.uint8, tensor.nbytes, tensor.start)
        layout = "<f8" if tensor.dtype.name == "F64" else INTEGERS.get(tensor.dtype.name)
        try:
            read = stored.view(layout) if layout is not None else tensor.dtype.to_float32(stored)
        except EmbtoolError as error:
            raise FormatError(f"{name} in {file}: dtype {tensor.dtype.name} is not read") from error
        found[name] = read.reshape(tensor.shape)
    return found


def _from_json(data: bytes, file: str) -> dict[str, Any]:
    """Read the lists of a JSON file that a trace has."""
    if is_overfull(data):
        raise FormatError(f"{file} holds more than {MOST_VALUES:,} values")
    try:
        held = json.loads(data)
    except RecursionError as error:
        raise FormatError(f"{file} is nested too deeply") from error
    except ValueError as error:
        raise FormatError(f"{file} is neither an npz, nor a safetensors file, nor JSON: {error}") from error
    if not isinstance(held, dict):
        raise FormatError(f"{file} is no trace: it holds no JSON object")
    for name in ARRAYS:
        if held.get(name) is not None and not _are_numbers(held[name]):
            raise FormatError(f"{file}: {name} is no list of numbers, nor one of such lists of one length")
    return {name: held.get(name) for name in (*ARRAYS, *WORDS)}


def _are_numbers(held: Any, deepest: int = 3) -> bool:
    """Whether this is a list of numbers, or of lists of as many numbers each; NaN is told later."""
    if not isinstance(held, list) or not held or not deepest:
        return False
    if all(isinstance(each, list) for each in held):
        return len({len(each) for each in held}) == 1 and all(_are_numbers(each, deepest - 1) for each in held)
    return all(type(each) is float or (type(each) is int and abs(each) <= LARGEST) for each in held)
