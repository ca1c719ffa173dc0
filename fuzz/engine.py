"""What a target is; its cases are made, run and judged here.

A target's `run` is given the bytes of one case. It returns where the reader accepts them, raises an `EmbtoolError`
where it refuses them, and anything else is a find: another exception, a warning, too much time, too much memory. Where
the reader accepts, `run` goes on and asserts what an answer promises, so a failed assertion is a find too.
"""

import atexit
import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from fuzz.change import Change, document, octets, words_of

if sys.platform != "win32":
    import resource

MODULES = ("checkpoints", "configs", "vocabularies", "vectors", "hub")
"""Where targets are."""

ACCEPTED, REFUSED, DIFFERENT = USUAL = ("accepted", "refused", "differ")

GROWTH, GROWTH_PER_BYTE = 48 << 20, 400
"""Bytes by which a case may raise the process's peak of memory: at all, and for each of its own bytes."""

AGAIN = 3
"""How often a slow case is run again: other work on the machine makes any case slow once."""

Run = Callable[[bytes], None]


class Disagreement(Exception):
    """One of two libraries accepts a case that the other refuses: it is counted, and is no find."""


def both(theirs: Callable[[], Any], refusal: type[Exception], mine: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what another library reads and what embtool reads, where both accept."""
    read: list[Any] = []
    with contextlib.suppress(refusal):
        read.append(theirs())
    try:
        own = mine()
    except import_module("embtool.errors").EmbtoolError:
        if read:
            raise Disagreement("only the other library accepts") from None
        raise
    if not read:
        raise Disagreement("only embtool accepts")
    return read[0], own


@dataclass(frozen=True)
class Target:
    """One reader of foreign data."""

    name: str
    run: Run
    change: Change = document
    """Changes a case so that most of its structure stays; beside the engine's changes to single bytes."""
    milliseconds: int = 250
    """Of processor time that one case may take."""
    longest: int = 4096
    """Bytes of the longest case."""


TARGETS: dict[str, Target] = {}


def target(name: str, change: Change = document, **limits: int) -> Callable[[Run], Run]:
    """Register a function as a target."""

    def register(run: Run) -> Run:
        TARGETS[name] = Target(name, run, change, **limits)
        return run

    return register


def load() -> dict[str, Target]:
    """Import every module with targets, and return all of them by name."""
    for module in MODULES:
        import_module(f"fuzz.{module}")
    return TARGETS


def read_object(case: bytes) -> dict[str, Any]:
    """Read a case as a JSON object; what is none is refused."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(case), dict):
            return found
    raise import_module("embtool.errors").FormatError("no document")


@cache
def seeds(name: str) -> tuple[bytes, ...]:
    """Return good and hostile cases of a target, the finds of the past among them."""
    finds = import_module("test_fuzz_finds").FINDS.values()
    return (*import_module("fuzz.seeds").seeds(name), *(case for found, case in finds if found == name))


@cache
def scratch() -> Path:
    """Make a folder for what can only be read from a disk; it is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="embtool-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Campaign:
    """The cases of one target, counted; in `folder` the last case, and the shortest one of each kind of find."""

    def __init__(self, target: Target, folder: Path, start: tuple[bytes, ...] | None = None) -> None:
        self.target = target
        self.seeds = seeds(target.name) if start is None else start
        self.counts: Counter[str] = Counter()
        self.finds: dict[str, Path] = {}
        self.last = folder / f"{target.name}-last"
        self._words = words_of(self.seeds)
        self._refusal = import_module("embtool.errors").EmbtoolError  # not before the engine watches its import

    def run(self, case: bytes) -> None:
        """Run one case; keep it if it is a find, and the first or the shortest of its kind."""
        self.last.write_bytes(case)
        highest, limit = peak_memory(), self.target.milliseconds / 1000
        kind, seconds = self._judge(case)
        if seconds > limit and all(self._judge(case)[1] > limit for _ in range(AGAIN)):
            kind = f"slow: over {self.target.milliseconds} ms"
        if peak_memory() - highest > GROWTH + GROWTH_PER_BYTE * len(case):
            kind = f"memory: over {GROWTH >> 20} MB"
        self.counts[kind if kind in USUAL else "finds"] += 1
        if kind not in USUAL and (kind not in self.finds or len(case) < self.finds[kind].stat().st_size):
            name = f"{self.target.name}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
            self.finds[kind] = self.last.with_name(name)
            self.finds[kind].write_bytes(case)

    def changed(self, case: bytes, random: Random) -> bytes:
        """Return another case, made of one."""
        for _ in range(random.choice((1, 1, 2, 4))):
            change = octets if random.random() < 0.2 else self.target.change
            case = change(case, random, self._words)[: self.target.longest]
        return case

    def at_random(self, *, cases: int = 1 << 60, seconds: float = 1e9, seed: int = 1) -> None:
        """Run the seeds, then change them without guidance; the same seed gives the same cases on every machine."""
        random, end = Random(seed), time.monotonic() + seconds
        for case in self.seeds:
            self.run(case)
        while self.counts.total() < cases and time.monotonic() < end:
            self.run(self.changed(random.choice(self.seeds), random))

    def _judge(self, case: bytes) -> tuple[str, float]:
        """Return what becomes of a case, and the seconds of processor time it takes."""
        begin, kind = time.thread_time(), ACCEPTED
        try:
            self.target.run(case)
        except self._refusal as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, MemoryError):
                cause = cause.__cause__ or cause.__context__
            kind = REFUSED if cause is None else place_of(cause)  # memory that could not be had is no refusal
        except Disagreement:
            kind = DIFFERENT
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - every other one is a find, a panic of Rust code too
            kind = place_of(error)
        return kind, time.thread_time() - begin


def place_of(error: BaseException) -> str:
    """Return an error's kind, and the deepest place of embtool, or else of the target, at which it came up."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if "embtool" in Path(frame.filename).parts), frames[-1])
    return f"{type(error).__name__}: {Path(last.filename).name}, {last.name}, line {last.lineno}"


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
