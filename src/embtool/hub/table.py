"""One long range of a remote file, fetched once, into a file that describes itself.

The range is cut into spans that are fetched side by side into one partial file of the final size, with a journal beside
it (`embtool.hub.journal`). Whatever ends the program, the next run fetches only what the journal does not claim. One
process fetches; others wait for it and then read what it left. What the finished file is, `embtool.hub.tablefile` says.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from embtool.errors import EmbtoolError, FormatError, LocalFailure
from embtool.hub.crew import TICK, Crew, Job, Stop
from embtool.hub.failures import from_os_error
from embtool.hub.journal import BLOCK, Journal, Part, claimed_bytes, is_claimed, peek
from embtool.hub.lock import FileLock
from embtool.hub.remote_file import RemoteFile
from embtool.hub.store import FileRecord, Store, content_key
from embtool.hub.tablefile import find, make_header
from embtool.storage.cache import NotOurs, make_folder
from embtool.storage.kept import NO_CHECKSUM, join_checksums, stamp
from embtool.storage.source import LocalRange, Progress, TensorDescription

SPAN = 64 << 20
"""Bytes asked for at a time: 40 requests for a 2.5 GB table, and a broken connection is noticed soon."""

WORKERS = 8
"""Connections side by side at most: one fills at most 1 Gbit/s over a long way, eight fill most lines."""

FAST = 100_000_000
"""Bytes a second. What comes faster is limited by this machine, as is what keeps its processor busy half of the time:
another connection would only disturb."""

LOOK_EVERY = 0.3
"""Seconds between two decisions about another connection: eight are there after two seconds."""

SAVE_EVERY = 1.0
"""Seconds between two claims in the journal: what a SIGKILL costs."""

SYNC_SHARE = 4
"""Waiting for the disk takes at most one part in this many plus one: claims come less often on a slow disk."""

SPARE_SPACE = 1 << 20
"""Bytes that must stay free beside the table: for the journal and the lock."""


@dataclass(frozen=True)
class Target:
    """Which bytes are wanted, of what, and where they will lie."""

    store: Store
    repo_id: str
    record: FileRecord
    start: int
    stop: int
    describe: TensorDescription | None = None

    @property
    def key(self) -> str:
        """The content's name in the cache."""
        return content_key(self.repo_id, self.record)

    @property
    def length(self) -> int:
        """How many bytes are wanted."""
        return self.stop - self.start

    @property
    def what(self) -> str:
        """The target's name in messages."""
        name = f"{self.describe.name} in " if self.describe is not None else ""
        return f"{name}{self.record.file} of {self.repo_id}"

    @property
    def identity(self) -> bytes:
        """What a journal must be about to be believed."""
        text = json.dumps([self.store.endpoint.shown, self.key, self.start, self.stop])
        return hashlib.sha256(text.encode()).digest()

    def path(self, suffix: str) -> Path:
        """Return the path of one of the target's files."""
        return self.store.content(self.key) / f"{self.start}-{self.stop}{suffix}"

    def header(self, checksum: str = NO_CHECKSUM, moment: int = 0) -> bytes:
        """Write the first bytes of the safetensors file; their length depends on neither sum nor second."""
        metadata = {
            "endpoint": self.store.endpoint.shown,
            "model": self.repo_id,
            "commit": self.record.commit,
            "file": self.record.file,
            "content": self.key,
            "start": str(self.start),
            "stop": str(self.stop),
        }
        return make_header(metadata, self.describe, self.length, checksum, moment)


def kept_bytes(target: Target) -> int:
    """Return how much of an unfinished table is there."""
    try:
        size = target.path(".part").lstat().st_size
    except OSError:
        return 0
    if size != len(target.header()) + target.length:
        return 0
    return claimed_bytes(peek(target.path(".journal"), target.identity, target.length), target.length)


def fetch(target: Target, remote: RemoteFile, *, patience: float, progress: Progress | None) -> LocalRange:
    """Fetch a table, or wait until another process has; `patience` in seconds, for one that makes no progress.

    Raises:
        LocalFailure: the disk is full, the cache cannot be written, or a lock is held for ever.
        Unreachable, AccessDenied, FormatError: as the server says; what was fetched is kept.
    """
    lock = FileLock(target.path(".lock"))
    try:
        make_folder(lock.path.parent)
        if not _acquire(lock, target, patience, progress):
            found = find(target.store.content(target.key), target.key, target.start, target.stop)
            if found is not None:
                return found
    except OSError as error:
        raise _local(error, target) from error
    try:
        found = find(target.store.content(target.key), target.key, target.start, target.stop)
        return found if found is not None else _Fetch(target, remote, progress).run()
    except OSError as error:
        raise _with_hint(_local(error, target), target) from error
    except EmbtoolError as error:
        raise _with_hint(error, target) from error.__cause__
    except BaseException as error:
        error.add_note(_kept(target))
        raise
    finally:
        lock.release()


def _acquire(lock: FileLock, target: Target, patience: float, progress: Progress | None) -> bool:
    """Take the lock, or wait until the table is finished: True if the lock is ours."""
    pulse, since = _pulse(target), time.monotonic()
    while not lock.try_acquire():
        if find(target.store.content(target.key), target.key, target.start, target.stop) is not None:
            return False
        if progress is not None:
            progress(target.what, kept_bytes(target), target.length)
        if pulse != (pulse := _pulse(target)):
            since = time.monotonic()
        if time.monotonic() - since > patience:
            raise LocalFailure(
                f"another process holds {lock.path} and has made no progress for {patience:g} s",
                hint="end it, or set EMBTOOL_CACHE to another folder",
            )
        time.sleep(TICK)
    return True


def _pulse(target: Target) -> int:
    """Return when the process that fetches last touched its journal."""
    with contextlib.suppress(OSError):
        return target.path(".journal").stat().st_mtime_ns
    return 0


class _Overtaken(Exception):
    """A file system lends the lock to everybody, and another process has finished the same table."""


@dataclass
class _Fetch:
    """One table being fetched by this process."""

    target: Target
    remote: RemoteFile
    progress: Progress | None
    received: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> LocalRange:
        header = self.target.header()
        self.offset = len(header)
        self.final = self.target.path(".safetensors")
        with contextlib.suppress(FileNotFoundError, PermissionError):
            self.final.unlink()  # one that was cut or is not what its name says; a sound one would have been found
        self.part = Part(self.target.path(".part"), self.offset + self.target.length)
        try:
            self.journal = Journal(self.target.path(".journal"), self.target.identity, self.target.length)
            try:
                self._fill(header)
                moment = int(time.time())  # the final header has the checksum of all blocks
                total = join_checksums(self.target.header(moment=moment), self.journal.sums)
                self.part.write(0, memoryview(self.target.header(total, moment)))
                self.part.sync()
                stamp(self.part.path, moment)
            except _Overtaken:
                pass
            finally:
                self.journal.close()
        finally:
            self.part.close()
        return self._finish()

    def _fill(self, header: bytes) -> None:
        self.done = self.journal.load()
        if self.part.is_new:
            self.done = bytearray(len(self.done))
            self.journal.clear()
        self.received = claimed_bytes(bytes(self.done), self.target.length)
        self.saved, self.saved_at, self.sync_took = bytes(self.done), time.monotonic(), 0.0
        self.measured = (time.monotonic(), time.process_time(), float(self.received))
        for block in range(len(self.journal.sums)):  # an earlier run's claims, for what may not be on the disk
            if is_claimed(self.done, block):
                self._tick()
                length = min(BLOCK, self.target.length - block * BLOCK)
                data = self.part.read(self.offset + block * BLOCK, length)
                if zlib.crc32(data) != self.journal.sums[block]:
                    self.done[block // 8] &= ~(1 << block % 8)
                    self.received -= length
        missing = self.part.size - max(self.part.allocated, self.received)
        free = shutil.disk_usage(self.part.path.parent).free
        if missing + SPARE_SPACE > free and self.received < self.target.length:
            raise LocalFailure(
                f"the disk is too full for {self.target.what}: {missing:,} bytes more are needed, {free:,} are free "
                f"in {self.part.path.parent}",
                hint="free some space, or set EMBTOOL_CACHE to a folder on another disk",
            )
        self.part.write(0, memoryview(header))
        try:
            Crew(self._jobs(), WORKERS, first=1, may_grow=self._is_slow).run(self._tick)
        finally:
            self._save()

    def _jobs(self) -> Iterator[Job]:
        """Cut what is missing into spans."""
        blocks = -(-self.target.length // BLOCK)
        first = 0
        while first < blocks:
            if is_claimed(self.done, first):
                first += 1
                continue
            last = first + 1
            while last < blocks and last - first < SPAN // BLOCK and not is_claimed(self.done, last):
                last += 1
            yield partial(self._fetch_span, first * BLOCK, min(last * BLOCK, self.target.length))
            first = last

    def _fetch_span(self, first: int, last: int, stop: Stop) -> None:
        """Write bytes first..last of the table where they belong, and note each block that is complete.

        Pieces are written and summed as they arrive, while the processor still has them at hand.
        """
        at, checksum, begin = first, 0, self.target.start
        pieces = self.remote.chunks(begin + first, begin + last, stop)
        with self.part.in_use(), contextlib.closing(pieces):
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    now = rest[: BLOCK - at % BLOCK]
                    self.part.write(self.offset + at, now)
                    checksum = zlib.crc32(now, checksum)
                    at += len(now)
                    rest = rest[len(now) :]
                    if at % BLOCK == 0 or at == last:
                        block = (at - 1) // BLOCK
                        with self.lock:
                            self.journal.sums[block] = checksum
                            self.done[block // 8] |= 1 << block % 8
                        checksum = 0
                self.received += len(piece)  # an estimate for the progress: threads may lose an update

    def _is_slow(self) -> bool:
        """Return whether another connection could help, by what came and what it cost since this was last decided."""
        now = (time.monotonic(), time.process_time(), float(self.received))
        seconds, busy, received = (after - before for after, before in zip(now, self.measured, strict=True))
        if seconds < LOOK_EVERY:
            return False
        self.measured = now
        return received < FAST * seconds and busy < seconds / 2

    def _tick(self) -> None:
        if os.path.lexists(self.final):
            raise _Overtaken
        if self.progress is not None:
            self.progress(self.target.what, min(self.received, self.target.length), self.target.length)
        if time.monotonic() - self.saved_at >= max(SAVE_EVERY, SYNC_SHARE * self.sync_took):
            self._save()

    def _save(self) -> None:
        """Claim what is complete, after it is on the disk; also how those who wait see that it goes on."""
        with self.lock:
            done = bytes(self.done)
        began = time.monotonic()
        if done != self.saved:
            self.part.sync()
            self.journal.save(done)
            self.saved = done
        else:
            with contextlib.suppress(OSError):
                os.utime(self.journal.path)
        self.saved_at = time.monotonic()
        self.sync_took = self.saved_at - began

    def _finish(self) -> LocalRange:
        """Rename the finished file, and clear away the journal."""
        try:
            if not os.path.lexists(self.final):
                self.part.path.replace(self.final)
        except FileNotFoundError:
            pass  # another process has finished the same bytes
        except PermissionError:
            if not os.path.lexists(self.final):
                raise
        for suffix in (".journal", ".lock"):
            with contextlib.suppress(OSError):
                self.target.path(suffix).unlink()
        found = find(self.target.store.content(self.target.key), self.target.key, self.target.start, self.target.stop)
        if found is None:
            raise FormatError(f"{self.final} does not hold what was just written to it", hint="check the disk")
        return found


def _local(error: OSError, target: Target) -> EmbtoolError:
    place = "" if isinstance(error, NotOurs) else f" in {target.store.content(target.key)}"  # which names it itself
    failure = from_os_error(error, f"cannot keep {target.what}{place}")
    failure.hint = failure.hint or "set EMBTOOL_CACHE to a folder that can be written"
    return failure


def _with_hint(error: EmbtoolError, target: Target) -> EmbtoolError:
    """Add to an error what was kept."""
    error.hint = f"{error.hint}; {_kept(target)}" if error.hint else _kept(target)
    return error


def _kept(target: Target) -> str:
    with contextlib.suppress(OSError):
        kept = kept_bytes(target)
        return f"{kept:,} of {target.length:,} bytes are kept; run the same command again to go on"
    return "run the same command again to go on"
