"""One target's cases, in a process of its own: make them, run them, count them, write down what is found.

The engine is atheris (https://github.com/google/atheris), libFuzzer for Python: cases that reach a new place of
embtool's code are kept and changed further. A quarter of the changes are libFuzzer's own, the others those of the
target, which keep the structure. Without atheris, or where a run must be the same everywhere, seeds are changed at
random.

Before each case its bytes and its number are written into memory that is shared with the process that started this one,
which so knows what a case was that hangs or ends the process.
"""

import contextlib
import hashlib
import json
import mmap
import os
import random
import struct
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mutate import octets
from target import Disagreement, Target, isolated, load, seeds

if sys.platform != "win32":
    import resource

SHARED = struct.Struct("<QI")
"""The number of the case that is run now, and its length; its bytes follow."""

SHARED_SIZE = 1 << 20

ROOM = 2 << 30
"""Bytes of address space above what the process has when it begins; beyond it memory cannot be had."""

GROWTH = 48 << 20
"""Bytes by which a case may raise the process's peak, besides what follows from its length."""

GROWTH_PER_BYTE = 400

AGAIN = 3
"""How often a slow case is run again: other work on the machine makes any case slow once."""

WRITE_EVERY = 8192
"""Cases between two writes of the counts: what is lost of them at most when the process ends by itself."""


@dataclass(frozen=True)
class Plan:
    """What a campaign is asked to do; what it finds is put into `folder`."""

    target: str
    cases: int
    seconds: float
    seed: int
    engine: str
    folder: Path
    voice: int = 2
    """The descriptor on which a find is said: libraries in Rust and C++ write whatever they like to the usual one."""


@dataclass
class Tally:
    """What has been counted so far; `differences` are ways in which a reader and its peer disagree."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    finds: int = 0
    differences: Counter[str] = field(default_factory=Counter)


class Campaign:
    """The cases of one target."""

    def __init__(self, target: Target, plan: Plan, shared: mmap.mmap | None = None) -> None:
        self.target = target
        self.plan = plan
        self.tally = Tally()
        self._shared = shared
        self._started = time.monotonic()
        self._shortest: dict[str, int] = {}
        self._refusal = import_module("embtool.errors").EmbtoolError  # not before the engine watches its import

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    @property
    def is_over(self) -> bool:
        """Whether enough was done."""
        return self.tally.cases >= self.plan.cases or (self.tally.cases % 64 == 0 and self.seconds > self.plan.seconds)

    def run(self, case: bytes) -> None:
        """Run one case and judge what comes of it."""
        case = case[: self.target.longest]
        self.tally.cases += 1
        if self._shared is not None:
            SHARED.pack_into(self._shared, 0, self.tally.cases, len(case))
            self._shared[SHARED.size : SHARED.size + len(case)] = case
        highest, begin = peak_memory(), time.thread_time()
        problem = self._judge(case)
        taken = (time.thread_time() - begin) * 1000
        if problem is not None:
            self._report(case, *problem)
        elif taken > self.target.milliseconds and self._is_slow(case):
            self._report(case, "slow", f"over {self.target.milliseconds} ms")
        if peak_memory() - highest > GROWTH + GROWTH_PER_BYTE * len(case):
            self._report(case, "memory", f"over {GROWTH >> 20} MB")

    def _judge(self, case: bytes) -> tuple[str, str] | None:
        """Run the target; None where it holds what it promises, else what kind of find it is and where."""
        try:
            self.target.run(case)
        except self._refusal as error:
            self.tally.refused += 1
            return _hidden(error)
        except Disagreement as disagreement:
            self._count(case, str(disagreement))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - every other one is a find, a panic of Rust code too
            return type(error).__name__, place_of(error)
        else:
            self.tally.accepted += 1
        return None

    def _is_slow(self, case: bytes) -> bool:
        kept = self.tally.accepted, self.tally.refused
        times = []
        for _ in range(AGAIN):
            begin = time.thread_time()
            self._judge(case)
            times.append(time.thread_time() - begin)
        self.tally.accepted, self.tally.refused = kept
        return min(times) * 1000 > self.target.milliseconds

    def _count(self, case: bytes, kind: str) -> None:
        """Count a disagreement, and keep the shortest case of its kind."""
        self.tally.differences[kind] += 1
        if len(case) < self._shortest.get(kind, 1 << 62):
            self._shortest[kind] = len(case)
            keep(self.plan.folder / "differences", self.target.name, case, {"kind": kind})

    def _report(self, case: bytes, kind: str, where: str) -> None:
        """Write a find down: the first of its kind at its place, and every shorter one."""
        self.tally.finds += 1
        key = f"{kind} {where}"
        if len(case) < self._shortest.get(key, 1 << 62):
            self._shortest[key] = len(case)
            path = keep(self.plan.folder / "finds", self.target.name, case, {"kind": kind, "where": where})
            os.write(self.plan.voice, f"{self.target.name}: {kind}, {where}: {path}\n".encode())

    def result(self) -> dict[str, Any]:
        """Give what was counted."""
        tally = self.tally
        return {
            "cases": tally.cases,
            "accepted": tally.accepted,
            "refused": tally.refused,
            "differences": dict(tally.differences),
            "finds": tally.finds,
            "seconds": round(self.seconds, 1),
        }


def keep(folder: Path, target: str, case: bytes, facts: dict[str, str]) -> Path:
    """Write a case into a folder, with what is known of it beside it; a later case of the same kind replaces it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"
    path.write_bytes(case)
    path.with_suffix(".json").write_text(json.dumps({"target": target, **facts}, indent=1) + "\n", encoding="utf-8")
    return path


def _hidden(error: BaseException) -> tuple[str, str] | None:
    """Find what a refusal must not stand for: memory that could not be had."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "MemoryError", place_of(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def place_of(error: BaseException) -> str:
    """Name the deepest place of embtool, or else of the target, at which an error came up."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if "embtool" in Path(frame.filename).parts), frames[-1])
    return f"{Path(last.filename).name}, {last.name}, line {last.lineno}"


def peak_memory() -> int:
    """Tell the most memory that this process has had, in bytes."""
    if sys.platform == "win32":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def at_random(campaign: Campaign) -> None:
    """Change seeds, and what earlier runs by coverage have added to them, at random until enough was done.

    The same seed gives the same cases, as long as nothing was added.
    """
    generator = random.Random(campaign.plan.seed)
    grown = campaign.plan.folder / "corpus" / campaign.target.name
    corpus = [*seeds(campaign.target.name), *(path.read_bytes() for path in sorted(grown.glob("*")))] or [b""]
    for case in corpus:
        campaign.run(case)
    while not campaign.is_over:
        case = generator.choice(corpus)
        for _ in range(generator.choice((1, 1, 2, 4))):
            change = octets if generator.random() < 0.2 else campaign.target.mutate
            case = change(case, generator)[: campaign.target.longest]
        campaign.run(case)


def by_coverage(campaign: Campaign, ending: "Ending") -> None:
    """Let libFuzzer choose the cases; it would end the process in its own way, so the last case ends it."""
    import atheris  # noqa: PLC0415 - not installed where seeds are changed at random

    generator = random.Random()
    grown = campaign.plan.folder / "corpus" / campaign.target.name
    grown.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(campaign.target.name)):
        (grown / f"seed-{number}").write_bytes(seed)

    def one(case: bytes) -> None:
        campaign.run(case)
        if campaign.is_over:
            ending()
        if campaign.tally.cases % WRITE_EVERY == 0:
            ending.write()

    def change(case: bytes, longest: int, seed: int) -> bytes:
        generator.seed(seed)
        if seed % 4 == 0:
            return bytes(atheris.Mutate(case, longest))
        changed = campaign.target.mutate(bytes(case), generator)
        return changed[:longest]

    settings = {"max_len": campaign.target.longest, "seed": campaign.plan.seed or 1, "rss_limit_mb": 0, "reload": 0}
    flags = [f"-{name}={value}" for name, value in {**settings, "timeout": 100_000, "verbosity": 0}.items()]
    flags.append(f"-artifact_prefix={grown.parent.parent}/libfuzzer-")
    atheris.Setup([sys.argv[0], *flags, str(grown)], one, custom_mutator=change, internal_libfuzzer=True)
    atheris.Fuzz()


class Ending:
    """Writes down what a campaign counted; called, it ends the process as well."""

    def __init__(self, campaign: Campaign, file: Path) -> None:
        self.campaign = campaign
        self.file = file

    def write(self) -> None:
        """Write the counts."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.campaign.result()), encoding="utf-8")
        new.replace(self.file)

    def __call__(self) -> None:
        """Write the counts and end."""
        self.write()
        os._exit(0)


def _load(engine: str) -> dict[str, Target]:
    """Import the targets, and with them embtool, so that the engine sees which places of it are reached."""
    if engine != "atheris":
        return load()
    import atheris  # noqa: PLC0415 - as above

    with atheris.instrument_imports(include=["embtool"]):
        return load()


def _warm_up(target: Target, cases: Sequence[bytes]) -> None:
    """Run the seeds once: what libraries need when they are loaded is no case's time or memory."""
    for case in cases:
        with contextlib.suppress(Exception):
            target.run(case)


def _limit_memory() -> None:
    """Let no case have more address space than `ROOM`."""
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


def work(plan: Plan, shared: mmap.mmap, result: Path) -> None:
    """Run a campaign in this process, which it has to itself, and end it."""
    plan = replace(plan, voice=os.dup(sys.stderr.fileno()))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    targets = _load(plan.engine)
    warnings.simplefilter("error")  # what a user would see on the terminal is a find
    chosen = targets[plan.target]
    with isolated():
        _warm_up(chosen, seeds(plan.target))
        _limit_memory()
        campaign = Campaign(chosen, plan, shared)
        ending = Ending(campaign, result)
        if plan.engine == "atheris":
            by_coverage(campaign, ending)
        else:
            at_random(campaign)
        ending()
