"""A tokenizer that is not ordinary, run in a process of its own, where it can be stopped.

The process (`child`) is started when the first text is split and lives as long as the tokenizer. It is held to a time
and, where the system does that, to a memory. Only numbers and short texts come back. One text is split step by step, so
that a step that fails can be named; several are split at once, and where that fails, once more step by step.
"""

import json
import os
import subprocess
import sys
import threading
import time
import weakref
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from embtool.errors import FormatError, LocalFailure
from embtool.vocabulary import child
from embtool.vocabulary.splitter import Ids

SECONDS = 10.0
"""What an unusual tokenizer may take in a run, loading and splitting, beside what its bytes take."""

SECONDS_PER_BYTE = 20e-6
"""What each byte of the file, and of each text, adds to that. The slowest known tokenizer takes a tenth on one core."""

MEMORY = 768 << 20
"""Bytes of address space for Python, the library and what it makes of a text: a million tokens take some 150 MB."""

MEMORY_PER_BYTE = 24
"""What each byte of the file adds to that: a vocabulary takes ten to fifteen times its size."""

LONGEST = 1 << 20
"""Characters, or tokens, that any text may become."""

LONGER = 64
"""How many times its own length a longer text may become."""

AT_ONCE = 256
"""Texts of one request."""

LIMITED = sys.platform == "linux"
"""Whether the system holds a process to its memory. Elsewhere all texts are split step by step, which is slower."""

KEPT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP")
"""Variables that the process is given; it needs no secret."""


class Confined:
    """Splits text in another process; the same calls as `splitter.Splitter`.

    Args:
        data: the file, as the library reads it.
        file: its name, for messages.
        library: the one that reads it.
        splits_special: whether that of tokenizers splits a special token in a text like any other text.
    """

    def __init__(self, data: bytes, file: str, library: str = "tokenizers", *, splits_special: bool = False) -> None:
        self._data = data
        self._file = file
        self._library = library
        self._splits_special = splits_special
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._bytes = len(data)
        self._spent = 0.0
        self._stopped = False
        self._step = ""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Ids:
        """Split a text.

        Raises:
            FormatError: it takes too long or too much memory, or makes the text too long.
            LocalFailure: no process can be started.
        """
        return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts; raises as `encode` does."""
        found: list[Ids] = []
        with self._lock:
            for first in range(0, len(texts), AT_ONCE):
                found += self._split(texts[first : first + AT_ONCE], special=add_special_tokens)
        return found

    def _split(self, texts: Sequence[str], *, special: bool) -> list[Ids]:
        """Split texts: one step by step, several at once; where that fails, step by step from then on."""
        self._bytes += sum(map(len, texts))
        if LIMITED and len(texts) > 1 and not self._stopped:
            with suppress(_StoppedError):
                return self._ask(texts, special=special, slow=False)
        try:
            return self._ask(texts, special=special, slow=True)
        except _StoppedError as error:
            self._step = error.step or self._step
            where = f", at {self._step}" if self._step else ""
            raise FormatError(f"{self._file} {error}{where}") from error

    def _ask(self, texts: Sequence[str], *, special: bool, slow: bool) -> list[Ids]:
        """Ask the process, which is started where there is none, and ended where it fails."""
        most = SECONDS + SECONDS_PER_BYTE * self._bytes
        left = (2 if self._stopped else 1) * most - self._spent
        late = f"takes more than {most:.0f} seconds to split text"
        begin = time.monotonic()
        self._stopped = True
        try:
            if left <= 0:
                raise _StoppedError(late)
            self._child = self._child or _Child(self._how(most))
            with self._child.watched(left):
                if not self._child.loaded:
                    self._child.load(self._data, self._file)
                found = self._child.ask(texts, special=special, slow=slow)
        except (OSError, EOFError) as error:
            if time.monotonic() - begin >= left:
                raise _StoppedError(late, self._child.slowest() if self._child is not None else "") from error
            memory = _memory(len(self._data)) >> 20
            step = self._child.step if self._child is not None else ""
            raise _StoppedError(f"cannot split a text in {memory:,} MB of memory", step) from error
        except _LibraryError:
            self._stopped = False
            raise
        else:
            self._stopped = False
            return found
        finally:
            self._spent += time.monotonic() - begin
            if self._stopped and self._child is not None:  # what is under way would answer the next question
                self._child.end()
                self._child = None

    def _how(self, seconds: float) -> dict[str, Any]:
        return {
            "path": sys.path,
            "library": self._library,
            "memory": _memory(len(self._data)),
            "seconds": round(2 * seconds) + 1,
            "least": LONGEST,
            "times": LONGER,
            "splits_special": self._splits_special,
        }


def _memory(size: int) -> int:
    return MEMORY + MEMORY_PER_BYTE * size


class _StoppedError(Exception):
    """The process was ended, ended itself, or was not started; the message says why, `step` at what."""

    def __init__(self, message: str, step: str = "") -> None:
        super().__init__(message)
        self.step = step


class _LibraryError(Exception):
    """What the library says against a text."""


class _Child:
    """One process, and what is said to it and by it."""

    def __init__(self, how: dict[str, Any]) -> None:
        self.loaded = False
        self.step = ""
        self._begun = time.monotonic()
        self._times: dict[str, float] = defaultdict(float)
        if not sys.executable:  # Python inside of another program
            raise LocalFailure("cannot start a process to split text: it is not known where Python is")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a file of ours
                [sys.executable, "-I", child.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in KEPT if name in os.environ} | {"TOKENIZERS_PARALLELISM": "0"},
            )
        except OSError as error:
            raise LocalFailure(f"cannot start a process to split text: {error.strerror or error}") from error
        self.end = weakref.finalize(self, _end, self._process)
        self._how = how

    @contextmanager
    def watched(self, seconds: float) -> Iterator[None]:
        """End the process after some seconds, whatever it is doing."""
        watch = threading.Timer(seconds, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def load(self, data: bytes, file: str) -> None:
        """Let it load the file.

        Raises:
            FormatError: it is no tokenizer.
        """
        self._write(json.dumps(self._how).encode())
        self._write(data)
        try:
            self._read(0)
        except _LibraryError as error:
            raise FormatError(f"{file} is not a tokenizer: {error}") from error
        self.loaded = True

    def ask(self, texts: Sequence[str], *, special: bool, slow: bool) -> list[Ids]:
        """Let it split texts, all of them, even where the library cannot split the first."""
        self._write(json.dumps({"texts": list(texts), "special": special, "slow": slow}).encode())
        found: list[Ids] = []
        failure: _LibraryError | None = None
        for text in texts:
            try:
                found.append(Ids(self._read(max(LONGEST, LONGER * len(text)))))
            except _LibraryError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return found

    def _write(self, payload: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(len(payload).to_bytes(4, "little") + payload)
        self._process.stdin.flush()

    def _read(self, most: int) -> list[int]:
        """Read the ids of one text, of which there may be so many."""
        assert self._process.stdout is not None
        while True:
            head = self._process.stdout.read(5)
            kind, size = head[:1], int.from_bytes(head[1:], "little")
            payload = self._process.stdout.read(size)
            if len(head) < 5 or len(payload) < size:  # noqa: PLR2004 - a frame's head
                raise EOFError
            if kind in b"ie":
                self._begin("")
            if kind == b"i" and len(payload) <= 4 * most:
                return array("I", payload).tolist()
            if kind == b"e":
                raise _LibraryError(payload.decode("utf-8", "replace"))
            if kind != b"s":
                step = payload.decode() if kind == b"g" else ""
                raise _StoppedError(f"makes a text longer than {most:,} characters or tokens", step)
            self._begin(payload.decode("utf-8", "replace"))

    def _begin(self, step: str) -> None:
        """Note that a step begins, and how long the one before it took."""
        now = time.monotonic()
        self._times[self.step] += now - self._begun
        self.step, self._begun = step, now

    def slowest(self) -> str:
        """Tell which step took the longest so far; the model is asked with all that comes before it once more."""
        self._begin("")
        del self._times[""]  # nothing was asked, or not step by step
        before = sum(
            spent for step, spent in self._times.items() if "normalizer, " in step or "pre_tokenizer, " in step
        )
        times = {step: spent - before * step.startswith("its model") for step, spent in self._times.items()}
        return max(times, key=times.__getitem__, default="")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and wait until it is gone."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # what was not read any more is not missed
            if stream is not None:
                stream.close()
    process.wait()
