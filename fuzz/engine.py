"""What a target is; its cases are made, run and judged here.

A target's `run` is given the bytes of one case. It returns where the reader accepts them, raises an `EmbtoolError`
where it refuses them, and anything else is a find: another exception, a warning, too much time, too much memory. Where
the reader accepts, `run` goes on and asserts what an answer promises, so a failed assertion is a find too.

A change takes a case, a random generator and the words of the target's seeds, and returns another case that keeps most
of the structure, so that a reader is met behind its first check.
"""

import atexit
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

if sys.platform != "win32":
    import resource

Change = Callable[[bytes, Random, Sequence[Any]], bytes]

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 127, 128, 255, 256, 1000, 4096, 65_535, 65_536, 100_001),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e-9, 1e9, 1e38, 1e300, 1.7976931348623157e308, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS: tuple[Any, ...] = (
    *("", " ", "a", "0", "-1", "true", "null", "\0", "\n", "\ud800", "\udc00\ud800", "é", "▁", "Ġ", "##", "<0x41>"),
    *("../x", "/etc/passwd", "a/b", "con", "..", "x" * 300, "\u202e", "\U0001d4b3", "1e999", "nan", "0x10", "1_0", "٣"),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {}}, [0] * 40, [[[[[[]]]]]])
ODD_BYTES = (b"\0", b"\xff", b"\n", b" ", b'"', b"\\", b"{", b"[", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"9" * 30)
FIELD = re.compile(rb"[^\s,]+")
LEAF = re.compile(r'"[^"\\]*"|[^\s,:\[\]{}"]+')
INNERMOST = re.compile(r"\[[^\[\]{}]{0,200}\]|\{[^\[\]{}]{0,200}\}")
MOST_WORDS = 300
MODULES = ("checkpoints", "vocabularies", "vectors", "hub")
"""Where targets are."""

ACCEPTED, REFUSED, DIFFERENT = USUAL = ("accepted", "refused", "differ")

GROWTH, GROWTH_PER_BYTE = 48 << 20, 400
"""Bytes by which a case may raise the process's peak of memory: at all, and for each of its own bytes."""

AGAIN = 3
"""How often a slow case is run again: other work on the machine makes any case slow once."""

Run = Callable[[bytes], None]


def octets(case: bytes, random: Random, words: Sequence[Any] = ("",)) -> bytes:
    """Change bytes, or fields between blanks and commas: cut, repeat, swap, insert, turn a bit."""
    for _ in range(random.choice((1, 1, 2, 4))):
        start = random.randrange(len(case) + 1)
        stop = random.choice((start, start + random.choice((1, 1, 2, 8, 64))))
        if random.random() < 0.4 and (field := FIELD.search(case, start)):
            start, stop = field.start(), random.choice(field.span())
        word = str(random.choice(random.choice((words, TEXTS, NUMBERS[:-4])))).encode("utf-8", "surrogatepass")
        number = random.choice((0, 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, random.randrange(300)))
        size, reverse = random.choice((2, 4, 8)), random.choice((1, 1, -1))
        packed = (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")[::reverse]
        turned = bytes(byte ^ (1 << random.randrange(8)) for byte in case[start : start + 1])
        other = random.choice((b"", case[start : start + size], random.choice(ODD_BYTES), packed, turned, word))
        case = case[:start] + other + case[stop:]
    return case


def framed(start: int, size: int, change: Change) -> Change:
    """Change the part of a case whose length stands at `start`, in `size` bytes, and keep that length true."""

    def changed(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
        begin = start + size
        stop = begin + int.from_bytes(case[start:begin], "little")
        body = change(case[begin:stop], random, words)[: (1 << 8 * size) - 1]
        return case[:start] + len(body).to_bytes(size, "little") + body + case[stop:]

    return changed


def words_of(cases: Iterable[bytes]) -> list[Any]:
    """Return what stands between blanks, commas and brackets, and lists and objects that have no others in them."""
    found = {}
    for case in cases:
        text = case.decode("utf-8", "replace")
        for word in (*LEAF.findall(text)[:MOST_WORDS], *INNERMOST.findall(text)[:MOST_WORDS]):
            found[word] = word
            with contextlib.suppress(ValueError, RecursionError):
                found[word] = json.loads(word)
    return list(found.values()) or [""]


def document(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
    """Change places of a JSON document, the deeper ones as likely as the others."""
    try:
        value = json.loads(case)
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            _edit(value, random, words)
        text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=(",", ":"))
    except (ValueError, RecursionError):
        return octets(case, random)
    place, kind = text.find(":") + 1, random.randrange(60)
    if kind == 0:
        text = text.replace("{", '{"a":1,"a":2,', 1)
    elif kind == 1:  # more digits than Python converts to an integer
        text = text[:place] + "7" * 5000 + text[place:].lstrip("0123456789")
    elif kind == 2:
        text = text[:place] + "[" * 1200 + "]" * 1200 + ',"x":' + text[place:]
    data = text.encode("utf-8", "surrogatepass")
    return octets(data, random) if kind == 3 else data


def _edit(value: Any, random: Random, words: Sequence[Any]) -> None:
    """Change one place in a list or an object."""
    while isinstance(value, dict | list) and value:
        key: Any = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and random.random() < 0.7:
            value = value[key]
            continue
        kind, other = random.randrange(8), _other(value[key], random, words)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list) and len(value) < 200:
            value *= random.choice((2, 3, 8))
        elif kind <= 3 and isinstance(value, list):
            value.insert(key, other)
        elif kind <= 3 and isinstance(value, dict):
            value[str(random.choice((*words, *TEXTS)))] = value.pop(key) if kind == 1 else other
        else:
            value[key] = other
        return


def _other(value: Any, random: Random, words: Sequence[Any]) -> Any:
    """Return another value in place of one: near it, one of the words, or an odd one."""
    near = random.random() < 0.4
    if near and isinstance(value, int) and not isinstance(value, bool):
        return random.choice((value + 1, value - 1, -value, value // 2, value * 1000))
    if near and isinstance(value, float):
        return random.choice((value + 0.5, -value, value * 1000))
    if near and isinstance(value, str) and value:
        place = random.randrange(len(value))
        return value[:place] + random.choice((*TEXTS, chr(random.randrange(0x3000)))) + value[place + 1 :]
    chosen = random.choice((words, words, words, NUMBERS, TEXTS, OTHERS))
    return json.loads(json.dumps(random.choice(chosen)))  # a copy, since it may be changed too


def mixed(*choices: Change) -> Change:
    """Change a case in one of several ways."""
    return lambda case, random, words: random.choice(choices)(case, random, words)


class Disagreement(Exception):
    """One of two libraries accepts a case that the other refuses: it is counted, and is no find."""


def both(theirs: Callable[[], Any], refusal: type[Exception], mine: Callable[[], Any]) -> list[Any]:
    """Return what another library reads and what embtool reads, where both accept."""
    read, refused = [], []
    for ask, kind in ((theirs, refusal), (mine, import_module("embtool.errors").EmbtoolError)):
        try:
            read.append(ask())
        except kind as error:
            refused.append(error)
    if read and refused:
        raise Disagreement from refused[0]
    if refused:
        raise refused[1]
    return read


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
