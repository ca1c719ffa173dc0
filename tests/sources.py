"""A model's files held in memory, for tests: every read is written down, and one that was not allowed fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embtool.errors import FileNotInModel, FormatError
from embtool.formats.safetensors import read_header
from embtool.storage.checkpoint import TensorInfo
from embtool.storage.source import SMALL_FILE_LIMIT, LocalRange, Source, TensorDescription


@dataclass(frozen=True)
class Read:
    """One read: bytes start..stop of a file."""

    file: str
    start: int
    stop: int


class Memory(Source):
    """Files in memory; `reads` lists what was read of them."""

    def __init__(self, files: Mapping[str, bytes], name: str = "memory") -> None:
        super().__init__()
        self.name = name
        self.contents = dict(files)
        self.reads: list[Read] = []

    def files(self) -> tuple[str, ...]:
        return tuple(sorted(self.contents))

    def has(self, file: str) -> bool:
        return file in self.contents

    def size(self, file: str) -> int:
        return len(self._content(file))

    def read_file(self, file: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
        if self.size(file) > limit:
            raise FormatError(f"{file} is too large")
        return self._read(file, 0, self.size(file))

    def head(self, file: str, length: int) -> bytes:
        return self._read(file, 0, min(length, self.size(file)))

    def read_ranges(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._read(file, start, stop) for start, stop in ranges]

    def local_range(self, file: str, start: int, stop: int, *, describe: TensorDescription | None = None) -> LocalRange:
        raise AssertionError(f"{file} {start}..{stop} ({describe}) was asked for whole")

    def _content(self, file: str) -> bytes:
        if file not in self.contents:
            raise FileNotInModel(f"no such file: {file}")
        return self.contents[file]

    def _read(self, file: str, start: int, stop: int) -> bytes:
        content = self._content(file)
        assert 0 <= start <= stop <= len(content), f"{file} has {len(content)} bytes, {start}..{stop} were asked for"
        self.reads.append(Read(file, start, stop))
        self.cost.bytes += stop - start
        return content[start:stop]


def header_of(content: bytes) -> dict[str, TensorInfo]:
    """Parse the header of a safetensors file with embtool."""
    return read_header(Memory({"x.safetensors": content}), "x.safetensors")
