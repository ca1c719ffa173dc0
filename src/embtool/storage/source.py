"""Where the bytes of a model are: list files, read byte ranges.

A `Source` is the only thing above the disk and the network that the rest of the program knows. `Folder` is the one for
local files; `embtool.hub` has the one for repositories. A source moves bytes and checks that it got the ones asked for;
what they mean is the business of `embtool.formats`.

To add a place where models can be: subclass `Source` and name it in `embtool.model.open_model`.
"""

import contextlib
import os
import re
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from embtool.errors import FileNotInModel, FormatError, LocalFailure, ModelNotFound, trying_to
from embtool.storage.mapped import Leased, Mappings
from embtool.storage.places import is_folder, is_there

SMALL_FILE_LIMIT = 64 << 20
"""Bytes. The largest file read whole: a real tokenizer.json reaches 35 MB; beyond this it is an attack or a mistake."""

CONFIG_LIMIT = 16 << 20
"""Bytes. The largest real config.json known (a quantised mixture of experts) has 3 MB."""

MOST_VALUES = 1 << 22
"""Values of a JSON file; a real tokenizer.json reaches 1.8 million. Python needs 60 to 130 bytes for each."""

UNSAFE = re.compile(r'[\\:*?"<>|%#]')
"""What stands in no name: a drive, a stream, a pattern, or a part of a URL."""

WINDOWS_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
)


@dataclass
class Cost:
    """What answering has cost so far: requests sent and bytes read (body bytes, over the network or from disk)."""

    requests: int = 0
    bytes: int = 0


class RangeReader(Protocol):
    """An open local file, read at absolute offsets; safe to share between threads."""

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer from byte `start` of the file, or raise."""


class Lender(ABC):
    """An open local file that may lend bytes instead of copying them, while a pass lasts."""

    @abstractmethod
    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer from byte `start` of the file, or raise."""

    @abstractmethod
    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass over the file: what is lent is lent within one."""

    @abstractmethod
    def lend(self, start: int, stop: int) -> AbstractContextManager[memoryview | None]:
        """Lend bytes start..stop of the file, only to be read, until the context ends; None where they must be read."""


class Progress(Protocol):
    """Told now and then how far a long fetch is; `what` names it, the rest is bytes."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""


class Confirm(Protocol):
    """Asked before much is fetched: whether these bytes, of what is named, may be."""

    def __call__(self, what: str, nbytes: int) -> bool:
        """Decide."""


class NotFetched(Exception):
    """A table was not fetched, because only a plan was asked for."""


@dataclass(frozen=True)
class LocalRange:
    """Bytes start..stop of a local file: where a table can be scanned, whatever place it came from."""

    path: Path
    start: int
    stop: int

    @contextlib.contextmanager
    def open(self, mappings: Mappings | None = None) -> Iterator[RangeReader]:
        """Open the file; on leaving, fail if it changed meanwhile.

        With `mappings` its bytes are lent without a copy while nobody can cut the file, and mapped for the next time.
        """
        descriptor = open_regular(self.path)
        try:
            before = os.fstat(descriptor)
            if mappings is None:
                yield _Descriptor(descriptor, self.path)
            else:
                yield _Lending(descriptor, self.path, leased=Leased(descriptor, self.start, self.stop, mappings))
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise FormatError(f"{self.path} changed while it was being read")
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class TensorDescription:
    """What the bytes of a local range are, so that a fetched copy of them can describe itself."""

    name: str
    dtype: str
    """As the checkpoint spells it, e.g. `BF16` or `Q8_0`."""
    shape: tuple[int, ...]


class Source(ABC):
    """The files of one model."""

    name: str
    """What the user called it."""

    revision: str | None = None
    commit: str | None = None

    local: bool = False
    """Whether reading costs no request: then whole tables may be read for a figure beside the answer."""

    header_limit: int = 100_000_000
    """Bytes. The longest header accepted: the limit of the safetensors library itself."""

    def __init__(self) -> None:
        self.cost = Cost()

    def __repr__(self) -> str:
        return f"<files of {self.name!r}>"

    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Return all files, as POSIX paths inside the model, sorted."""

    @abstractmethod
    def has(self, file: str) -> bool:
        """Return whether the model has this file."""

    @abstractmethod
    def size(self, file: str) -> int:
        """Return a file's size in bytes."""

    @abstractmethod
    def read_file(self, file: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
        """Read a small file whole; one larger than `limit` bytes raises."""

    @abstractmethod
    def head(self, file: str, length: int) -> bytes:
        """Read the first `length` bytes, or fewer if the file is shorter."""

    @abstractmethod
    def read_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges [start, stop) of one file, in the order given; each exactly, or raise."""

    @abstractmethod
    def local_range(self, file: str, start: int, stop: int, *, describe: TensorDescription | None = None) -> LocalRange:
        """Make bytes start..stop readable on this machine, fetching them if need be, and say where."""

    def path(self, file: str) -> Path | None:
        """Return the local path of a small file where it has one, for libraries that want a path."""
        del file
        return None

    def read(self, file: str, start: int, stop: int) -> bytes:
        """Read bytes start..stop of a file, exactly."""
        return self.read_ranges(file, [(start, stop)])[0]


def is_overfull(text: bytes, most: int = MOST_VALUES) -> bool:
    """Tell, before JSON is parsed, whether it may hold more than `most` values, which would fill the memory.

    A value begins a list or an object, or follows a comma; commas inside of strings are counted, too.

    >>> is_overfull(b"[1, 2, 3]", most=2), is_overfull(b"[1, 2, 3]", most=3)
    (True, False)
    """
    return text.count(b",") + text.count(b"[") + text.count(b"{") > most


def check_file_name(name: str, *, said_by: str) -> str:
    r"""Return a file name that came from a file of the model, or refuse it.

    It must be a relative POSIX path without empty, `.` or `..` parts, backslashes, colons, control characters, or the
    device names of Windows: a weight map is written by strangers.

    >>> check_file_name("model-00001-of-00002.safetensors", said_by="model.safetensors.index.json")
    'model-00001-of-00002.safetensors'
    """
    parts = name.split("/")
    if (
        not name
        or any(part in ("", ".", "..") for part in parts)
        or UNSAFE.search(name)
        or not name.isprintable()
        or any(part.split(".")[0].upper() in WINDOWS_DEVICES or part.endswith((" ", ".")) for part in parts)
    ):
        raise FormatError(f"{said_by} names a file outside the model or with an unsafe name: {name!r}")
    return name


def open_regular(path: Path) -> int:
    """Open a regular file and return its descriptor; a pipe, a device or a folder is refused, not waited for."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise LocalFailure(f"{path} is not a regular file")
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotInModel(f"no such file: {path}") from error
    except OSError as error:
        raise LocalFailure(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LocalFailure(f"{path} is not a regular file")
    return descriptor


@dataclass
class _Descriptor:
    """A descriptor read at offsets: pread where the system has it, seek under a lock elsewhere."""

    descriptor: int
    path: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_into(self, start: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            try:
                if hasattr(os, "preadv"):
                    count = os.preadv(self.descriptor, [buffer[done:]], start + done)
                else:
                    with self.lock:
                        os.lseek(self.descriptor, start + done, os.SEEK_SET)
                        data = os.read(self.descriptor, len(buffer) - done)
                    count = len(data)
                    buffer[done : done + count] = data
            except OSError as error:
                raise LocalFailure(f"cannot read {self.path}: {error.strerror or error}") from error
            if count == 0:
                raise FormatError(
                    f"{self.path} is truncated: it ends at byte {start + done:,}, before byte {start + len(buffer):,}",
                    hint="delete it and fetch it again",
                )
            done += count


@dataclass
class _Lending(_Descriptor, Lender):
    """A descriptor whose bytes are lent as long as there is a lease."""

    leased: Leased = field(kw_only=True)

    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass."""
        return self.leased.passing()

    def lend(self, start: int, stop: int) -> AbstractContextManager[memoryview | None]:
        """Lend bytes as long as there is a lease."""
        return self.leased.lend(start, stop)


class Folder(Source):
    """The files of a local folder, or one file of it with its neighbours.

    Links are followed inside the folder and into the blobs of a Hugging Face cache, where snapshots are links; a link
    to anywhere else is refused, unless it is the file that the user `named`.
    """

    local = True

    def __init__(self, folder: Path, name: str | None = None, *, named: str | None = None) -> None:
        super().__init__()
        self.name = name if name is not None else str(folder)
        self.folder = folder
        self.named = named
        if not is_folder(folder):
            raise ModelNotFound(f"no such folder: {folder}")

    def files(self) -> tuple[str, ...]:
        """Return all files below the folder, hidden ones and folders' links left out, sorted."""
        found: list[str] = []
        with trying_to(f"list {self.folder}"):
            for root, folders, names in os.walk(self.folder, onerror=_raise):
                folders[:] = [entry for entry in folders if not entry.startswith(".")]
                below = Path(root).relative_to(self.folder)
                found += [(below / name).as_posix() for name in names if not name.startswith(".")]
        return tuple(sorted(found))

    def has(self, file: str) -> bool:
        """Return whether there is such a file."""
        return is_there(self.folder / file)

    def path(self, file: str) -> Path:
        """Return where a file is, after checking that its links stay inside the model."""
        path = self.folder / file
        if file == self.named:
            return path
        real, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.folder))
        if not real.is_relative_to(root) and not real.is_relative_to(_blobs(root)):
            raise LocalFailure(f"{path} is a link to a place outside the model: {real}")
        return path

    def size(self, file: str) -> int:
        """Return a file's size in bytes."""
        with self._open(file) as descriptor:
            return os.fstat(descriptor).st_size

    def read_file(self, file: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
        """Read a small file whole."""
        with self._open(file) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise FormatError(f"{self.folder / file} is too large: {size:,} bytes, the limit is {limit:,}")
            return self._exact(descriptor, file, 0, size)

    def head(self, file: str, length: int) -> bytes:
        """Read the first bytes."""
        with self._open(file) as descriptor:
            return self._exact(descriptor, file, 0, min(length, os.fstat(descriptor).st_size))

    def read_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read ranges one after the other: the page cache makes that quick."""
        with self._open(file) as descriptor:
            return [self._exact(descriptor, file, start, stop) for start, stop in ranges]

    def local_range(self, file: str, start: int, stop: int, *, describe: TensorDescription | None = None) -> LocalRange:
        """Return the file itself: it is here already."""
        del describe
        return LocalRange(self.path(file), start, stop)

    @contextlib.contextmanager
    def _open(self, file: str) -> Iterator[int]:
        descriptor = open_regular(self.path(file))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _exact(self, descriptor: int, file: str, start: int, stop: int) -> bytes:
        buffer = bytearray(stop - start)
        _Descriptor(descriptor, self.folder / file).read_into(start, memoryview(buffer))
        self.cost.bytes += len(buffer)
        return bytes(buffer)


class Below(Source):
    """A folder of a model's files, as a model of its own: `DIR#text_encoder`, `hf://org/name#text_encoder`."""

    def __init__(self, whole: Source, folder: str, name: str) -> None:
        super().__init__()
        self.whole = whole
        self.name = name
        self.local = whole.local
        self.header_limit = whole.header_limit
        self.cost = whole.cost
        self.folder = folder
        self._start = f"{folder}/"

    @property
    def revision(self) -> str | None:  # type: ignore[override]
        """The revision of the whole."""
        return self.whole.revision

    @property
    def commit(self) -> str | None:  # type: ignore[override]
        """The commit of the whole."""
        return self.whole.commit

    def close(self) -> None:
        """Close the connections of the whole, if it has any."""
        close = getattr(self.whole, "close", None)
        if close is not None:
            close()

    def files(self) -> tuple[str, ...]:
        """Return the files of the folder."""
        start = self._start
        return tuple(file.removeprefix(start) for file in self.whole.files() if file.startswith(start))

    def has(self, file: str) -> bool:
        """Return whether the folder has this file."""
        return self.whole.has(self._start + file)

    def size(self, file: str) -> int:
        """Return a file's size in bytes."""
        return self.whole.size(self._start + file)

    def read_file(self, file: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
        """Read a small file whole."""
        return self.whole.read_file(self._start + file, limit)

    def head(self, file: str, length: int) -> bytes:
        """Read the first bytes."""
        return self.whole.head(self._start + file, length)

    def read_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read ranges."""
        return self.whole.read_ranges(self._start + file, ranges)

    def local_range(self, file: str, start: int, stop: int, *, describe: TensorDescription | None = None) -> LocalRange:
        """Make a range readable on this machine."""
        return self.whole.local_range(self._start + file, start, stop, describe=describe)

    def path(self, file: str) -> Path | None:
        """Return the local path of a small file where it has one."""
        return self.whole.path(self._start + file)


def _blobs(folder: Path) -> Path:
    """Return where the links of a Hugging Face cache snapshot point: models--x/snapshots/COMMIT -> models--x/blobs.

    The folder may be one of the snapshot's own, such as snapshots/COMMIT/text_encoder.
    """
    snapshot = next((part for part in (folder, *folder.parents) if part.parent.name == "snapshots"), None)
    return folder if snapshot is None else snapshot.parent.parent / "blobs"


def _raise(error: OSError) -> None:
    raise error
