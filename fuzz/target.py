"""What a target is: a reader of foreign data, and what must hold whenever it has read something.

A target's `run` is given the bytes of one case. It returns where the reader accepts them, raises an `EmbtoolError`
where it refuses them, and anything else is a find: another exception, too much time, too much memory. Where the reader
accepts, `run` goes on and asserts what an answer promises, so a failed assertion is a find too.

To add one: write a function under `@target(...)` in one of the `readers_*` modules, and its seeds in `seeds.py`.
"""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
TESTS = str(HERE.parent / "tests")
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)  # their source in memory serves here, too

Run = Callable[[bytes], None]
Mutate = Callable[[bytes, Random], bytes]

MODULES = ("readers_checkpoint", "readers_config", "readers_vocabulary", "readers_hub", "readers_vectors", "peers")
"""Where targets are."""


class Disagreement(Exception):
    """A reader and its peer disagree, in a way that has a name: it is counted, and is no find."""


@dataclass(frozen=True)
class Target:
    """One reader of foreign data."""

    name: str
    about: str
    run: Run
    mutate: Mutate
    """Changes a case so that most of its structure stays; beside the engine's changes to single bytes."""
    milliseconds: int
    """Of processor time that one case may take."""
    longest: int
    """Bytes of the longest case."""
    share: float
    """How much of the time it gets: slow readers get more."""


TARGETS: dict[str, Target] = {}


def target(
    name: str, about: str, *, mutate: Mutate, milliseconds: int = 100, longest: int = 4096, share: float = 1
) -> Callable[[Run], Run]:
    """Register a function as a target."""

    def register(run: Run) -> Run:
        TARGETS[name] = Target(name, about, run, mutate, milliseconds, longest, share)
        return run

    return register


def load() -> dict[str, Target]:
    """Import every module with targets, and give all of them by name."""
    for module in MODULES:
        import_module(module)
    return TARGETS


def isolated() -> AbstractContextManager[None]:
    """Give the context in which targets run: nothing that they read is kept in the user's cache."""
    context: AbstractContextManager[None] = import_module("readers_vocabulary").without_index()
    return context


@cache
def scratch() -> Path:
    """Make a folder for what can only be read from a disk; it is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="embtool-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def seeds(name: str) -> list[bytes]:
    """Read the seeds of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
