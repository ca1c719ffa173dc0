"""Nothing is lost: whatever ends the program, what it wrote before is whole, and the next run gives the right answer.

Every way in which something is written is run once to list the steps that change the disk, then again and again: killed
at a step, killed in the middle of one, on a disk that is full from one on, or in a folder that may not be written
(`forked`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import Ended, Forks, Mishap
from hubstub import HubStub
from program import Program
from small_models import write_gpt2, write_model

from embtool.formats import static as static_module
from embtool.storage.replacing import ABANDONED
from embtool.tables import export as export_module
from embtool.tables import norms as norms_module
from embtool.vocabulary import index as index_module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc")

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}")
"""What a dead process leaves behind."""

WORDS = b"3 4\nking 1 2 3 4\nqueen 2 3 4 5\nberry 4 -3 2 1\n"


@dataclass(frozen=True)
class Writing:
    """A way in which something is written: command lines, and whether the program can do without it."""

    before: tuple[str, ...]
    """What is written first, so that there is something to lose."""
    after: tuple[str, ...]
    is_cache: bool = False


def to(path: str, *arguments: str) -> tuple[str, ...]:
    return (*arguments, path, "--force")


def code(text: str) -> tuple[str, ...]:
    return ("-c", text)


PROGRESS = "from embtool.lesson.progress import Done, save_progress\nsave_progress({})"
NORMS = (
    "from embtool.tables import norms\nnorms.KEPT_BYTES = 0\nstatus = run(['row', 'id:3', '-f', 'table', '-m', {!r}])"
)

WRITINGS = {
    "use": Writing(("use", "gpt2/"), ("use", "small/")),
    "lesson": Writing(code(PROGRESS.format("{}")), code(PROGRESS.format("{1: Done('small/', 1, 2)}"))),
    "row": Writing(
        to("x.npy", "row", "id:3", "-m", "small/", "--npy"), to("x.npy", "row", "id:4", "-m", "small/", "--npy")
    ),
    "input": Writing(
        to("x.npy", "input", "king", "-m", "small/", "--npy"), to("x.npy", "input", "queen", "-m", "small/", "--npy")
    ),
    "map": Writing(
        to("x.svg", "map", "id:3", "id:4", "-m", "small/", "-o"),
        to("x.svg", "map", "id:5", "id:4", "-m", "small/", "-o"),
    ),
    "view": Writing(
        to("x.html", "view", "small/", "--token", "id:3", "-o"),
        to("x.html", "view", "small/", "--token", "id:4", "-o"),
    ),
    "npy": Writing(to("x.npy", "export", "gpt2/", "-o"), to("x.npy", "export", "small/", "-o")),
    "index": Writing(("tokens", " king", "-m", "small/"), ("row", "king", "-m", "tied/"), is_cache=True),
    "norms": Writing(code(NORMS.format("small/")), code(NORMS.format("gpt2/")), is_cache=True),
    "words": Writing(("neighbors", "king", "-m", "old.vec"), ("neighbors", "king", "-m", "new.vec")),
}


SEALED = re.compile(rb'"crc32": "[0-9a-f]{8}", "sealed": "[0-9]{12}"')
"""When a table of the cache was written, and its sum, which counts that."""


class Desk:
    """A person's machine: a home, and a folder of models in which the program runs and writes."""

    def __init__(self, forks: Forks, root: Path) -> None:
        self.forks = forks
        self.root = root
        self.program = Program(root / "home", root / "work")
        (root / "home").mkdir()
        write_model(root / "work" / "small")
        write_model(root / "work" / "tied", tokenizer=None, tie_word_embeddings=True)
        tokenizer = root / "work" / "tied" / "tokenizer.json"
        tokenizer.write_bytes(tokenizer.read_bytes() + b" ")  # another content
        write_gpt2(root / "work" / "gpt2")
        for name in ("old.vec", "new.vec"):
            (root / "work" / name).write_bytes(WORDS)

    def run(self, *arguments: str, mishap: tuple[str, int] | None = None, most_bytes: int | None = None) -> Ended:
        happens = None if mishap is None else Mishap(*mishap, str(self.root))
        return self.forks.run(
            *arguments,
            folder=self.root / "work",
            env=self.program.environment(),
            mishap=happens,
            most_bytes=most_bytes,
        )

    def files(self) -> dict[str, bytes]:
        """Everything that is on this machine, by its path, but what dead processes left."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not TEMPORARY.fullmatch(path.name)
        }

    def remains(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if TEMPORARY.fullmatch(path.name)]

    def restore(self, files: dict[str, bytes]) -> None:
        """Make this machine what it was."""
        for path in self.root.rglob("*"):
            if path.is_file() and (str(path.relative_to(self.root)) not in files or not is_model(path)):
                path.unlink()
        for folder, _, _ in os.walk(self.root / "home", topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        self.program.home.mkdir(exist_ok=True)
        for name, content in files.items():
            if not (self.root / name).exists():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                (self.root / name).write_bytes(content)


def is_model(path: Path) -> bool:
    """Tell whether this is a file of a model, which nobody writes: its time of change stands in the names of caches."""
    return path.parent.name in ("small", "tied", "gpt2") or path.suffix == ".vec"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as started:
        yield started


@pytest.fixture
def desk(forks: Forks, tmp_path: Path) -> Desk:
    return Desk(forks, tmp_path)


def rehearse(desk: Desk, writing: Writing) -> tuple[dict[str, bytes], dict[str, bytes], Ended]:
    """Write what there is before, then what there is after: the files of both, and how it went."""
    assert desk.run(*writing.before).status == 0
    before = desk.files()
    ended = desk.run(*writing.after, mishap=("count", 0))
    assert ended.status == 0, ended.err
    after = desk.files()
    assert len(ended.steps) >= 3
    assert before != after
    assert not desk.remains()
    desk.restore(before)
    return before, after, ended


def is_between(found: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    """Tell whether every file is as it was before or as it is to be."""
    found, before, after = map(timeless, (found, before, after))
    return all(found.get(name) in (before.get(name), after.get(name)) for name in {*found, *before, *after})


def timeless(files: dict[str, bytes]) -> dict[str, bytes]:
    """Take out of the tables of the cache in which second they were written."""
    return {name: SEALED.sub(b"", content) for name, content in files.items()}


def chosen(steps: Sequence[str]) -> list[tuple[int, str]]:
    """Choose the last step of each kind, and the first write: the others are like them."""
    last = {kind: place for place, kind in enumerate(steps)}
    return sorted({(place, kind) for kind, place in last.items()} | {(steps.index("write"), "write")})


@pytest.mark.parametrize("name", WRITINGS)
@pytest.mark.slow
def test_killed_at_any_step_nothing_is_half_written(desk: Desk, name: str) -> None:
    writing = WRITINGS[name]
    before, after, whole = rehearse(desk, writing)
    for step, kind in chosen(whole.steps):
        for mishap in ("kill", "half") if "write" in kind else ("kill",):
            ended = desk.run(*writing.after, mishap=(mishap, step))
            assert ended.status == -9, (mishap, step, kind)
            assert is_between(desk.files(), before, after), (mishap, step, kind)
            for path in desk.remains():
                os.utime(path, (0, time.time() - ABANDONED - 1))
            again = desk.run(*writing.after)
            assert (again.status, again.out) == (0, whole.out), (mishap, step, kind, again.err)
            assert timeless(desk.files()) == timeless(after)
            assert not desk.remains(), "what a dead process left is removed by the next"
            desk.restore(before)


@pytest.mark.parametrize("mishap", ["full", "denied"])
@pytest.mark.parametrize("name", WRITINGS)
def test_where_nothing_can_be_written_nothing_is_lost(desk: Desk, name: str, mishap: str) -> None:
    writing = WRITINGS[name]
    before, after, whole = rehearse(desk, writing)
    for step, kind in chosen(whole.steps):
        if kind == "os.rename" and mishap == "full":
            continue
        ended = desk.run(*writing.after, mishap=(mishap, step))
        if ended.status == 0:  # what is kept for the next run only, it can do without
            assert ended.out == whole.out
        elif name != "lesson":
            assert (ended.status, writing.is_cache) == (7, False), (step, kind, ended.err)
            complaints = [line for line in ended.err.decode().splitlines() if "embtool: error: " in line]
            assert len(complaints) == 1
            assert b"Traceback" not in ended.err
        assert is_between(desk.files(), before, after), (step, kind)
        assert not desk.remains()
        desk.restore(before)


@pytest.mark.parametrize("kind", export_module.WRITERS)
@pytest.mark.slow
def test_killed_at_any_byte_an_export_is_whole_or_as_before(desk: Desk, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    arguments = ("-f", kind, "-o", "x", "--force")
    before, after, _ = rehearse(desk, Writing(("export", "gpt2/", *arguments), ("export", "small/", *arguments)))
    sizes = [len(content) for name, content in after.items() if content != before.get(name)]
    place = random.Random(kind)  # noqa: S311 - places in a file
    for most in (0, *(place.randrange(max(sizes)) for _ in range(2)), max(sizes) - 1):
        ended = desk.run("export", "small/", *arguments, most_bytes=most)
        assert ended.status < 0, most
        assert is_between(desk.files(), before, after), most
        assert desk.run("export", "small/", *arguments).status == 0
        assert timeless(desk.files()) == timeless(after)
        desk.restore(before)


# --- what is in the way -----------------------------------------------------------------------------------------------

FILES = {
    "export": ("export", "small/", "-f", "npy", "-o"),
    "view": ("view", "small/", "-o"),
    "row": ("row", "id:3", "-m", "small/", "--npy"),
    "input": ("input", "king", "-m", "small/", "--npy"),
}
"""Command lines that end with the name of a file that is written."""


@pytest.fixture
def place(tmp_path: Path, run: Program) -> Path:
    del run
    return tmp_path / "x.html"


@pytest.mark.parametrize("command", FILES)
def test_a_file_is_replaced_only_when_that_is_asked(run: Program, place: Path, command: str) -> None:
    place.write_bytes(b"mine")
    run(*FILES[command], place).refused(2, "is there already", "--force")
    assert place.read_bytes() == b"mine"
    run(*FILES[command], place, "--force").ok()
    assert place.read_bytes() != b"mine"
    assert "--force" in run(command, "--help").text


@pytest.mark.parametrize("command", FILES)
def test_a_folder_in_the_place_of_a_file(run: Program, place: Path, command: str) -> None:
    place.mkdir()
    (place / "kept").write_bytes(b"mine")
    run(*FILES[command], place, "--force").refused(2, "is a folder")
    assert (place / "kept").read_bytes() == b"mine"


@pytest.mark.parametrize("command", FILES)
def test_a_link_is_followed_and_a_device_is_not_replaced(run: Program, place: Path, command: str) -> None:
    target = place.with_name("target")
    target.write_bytes(b"mine")
    place.symlink_to(target)
    run(*FILES[command], place, "--force").ok()
    assert place.is_symlink()
    assert target.read_bytes() != b"mine"
    pipe = place.with_name("pipe.html")
    os.mkfifo(pipe)
    arrived: list[bytes] = []
    reader = threading.Thread(target=lambda: arrived.append(pipe.read_bytes()))
    reader.start()
    run(*FILES[command], pipe).ok()
    reader.join(60)
    assert arrived
    assert arrived[0]
    assert pipe.is_fifo()


@pytest.mark.parametrize("command", FILES)
def test_a_dry_run_writes_nothing(run: Program, place: Path, command: str) -> None:
    run(*FILES[command], place, "--dry-run").ok()
    assert not place.exists()


@pytest.mark.parametrize("command", FILES)
def test_a_name_as_long_as_a_name_can_be(run: Program, place: Path, command: str) -> None:
    long = place.with_name("n" * 230 + ".html")
    run(*FILES[command], long).ok()
    assert long.stat().st_size > 50


def test_what_is_written_just_now_by_another_is_not_taken_for_a_remain(run: Program, place: Path) -> None:
    living = place.with_name(f".{place.name}.{'a' * 16}")
    dead = place.with_name(f".{place.name}.{'b' * 16}")
    other = place.with_name(".x.html.backup")
    for path in (living, dead, other):
        path.write_bytes(b"")
    for path in (dead, other):
        os.utime(path, (0, time.time() - ABANDONED - 1))
    run(*FILES["row"], place).ok()
    assert living.exists()
    assert other.exists()
    assert not dead.exists()


# --- versions side by side --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["index", "norms", "words"])
def test_two_versions_of_a_cache_do_not_touch_each_other(desk: Desk, name: str) -> None:
    module = {"index": index_module, "norms": norms_module, "words": static_module}[name]
    arguments = WRITINGS[name].before
    first = desk.run(*arguments)
    ours = desk.files()
    body = arguments[1] if arguments[0] == "-c" else f"status = run({list(arguments)!r})"
    newer = f"import {module.__name__} as changed\nchanged.VERSION += 1\n{body}"
    assert desk.run("-c", newer).out == first.out
    both = desk.files()
    assert {name: both[name] for name in ours} == ours
    assert len(both) == len(ours) + (2 if name == "words" else 1), "the newer one made its own"
    assert desk.run(*arguments).out == first.out
    assert timeless(desk.files()) == timeless(both)
    for path in set(both) - set(ours):  # a newer version may write anything there
        (desk.root / path).write_bytes(b"\0" * 5000)
    assert desk.run(*arguments).out == first.out


def test_what_another_version_has_saved_is_kept(desk: Desk) -> None:
    assert desk.run("use", "small/").status == 0
    (settings,) = (desk.root / "home").rglob("settings.json")
    settings.write_text(json.dumps({"model": "gpt2/", "newer": {"a": [1]}}))
    assert desk.run("use", "small/").status == 0
    assert json.loads(settings.read_text())["newer"] == {"a": [1]}
    assert desk.run("use", "--clear").status == 0
    assert json.loads(settings.read_text()) == {"newer": {"a": [1]}}


# --- a table of a hub -------------------------------------------------------------------------------------------------


@dataclass
class Online:
    """The same desk, and a hub in reach."""

    desk: Desk
    hub: HubStub

    ARGUMENTS = ("neighbors", "id:3", "-m", "acme/small")

    def run(self, *arguments: str, mishap: tuple[str, int] | None = None) -> Ended:
        cache = self.desk.root / "cache"
        env = {
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_CACHE": str(self.desk.root / "hub"),
            "EMBTOOL_CACHE": str(cache),
        }
        happens = None if mishap is None else Mishap(*mishap, str(cache))
        return self.desk.forks.run(
            *(arguments or self.ARGUMENTS),
            folder=self.desk.root / "work",
            env=self.desk.program.environment(env),
            mishap=happens,
        )


@pytest.fixture
def online(desk: Desk) -> Iterator[Online]:
    with HubStub() as hub:
        hub.add("acme/small", {path.name: path for path in (desk.root / "work" / "small").iterdir()})
        yield Online(desk, hub)


@pytest.mark.slow
def test_killed_or_full_at_any_step_a_fetch_goes_on(online: Online) -> None:
    whole = online.run(mishap=("count", 0))
    assert whole.status == 0, whole.err
    assert {"pwrite", "fdatasync", "os.rename", "ftruncate", "write"} <= set(whole.steps)
    moments = random.Random(1).sample(range(len(whole.steps)), 6)  # noqa: S311 - moments
    for step, mishap in zip(sorted(moments), ["kill", "half", "full"] * 2, strict=True):
        shutil.rmtree(online.desk.root / "cache")
        ended = online.run(mishap=(mishap, step))
        assert ended.status in ((-9,) if mishap != "full" else (0, 7)), (step, mishap, ended.err)
        if ended.status == 0:
            assert ended.out == whole.out
        again = online.run()
        assert (again.status, again.out) == (0, whole.out), (step, mishap, again.err)
        assert online.run("cache", "verify").status == 0
        assert not list((online.desk.root / "cache").rglob("*.part"))
    assert online.run("cache", "rm", "--all").status == 0
    left = [path.name for path in (online.desk.root / "cache").rglob("*") if path.is_file()]
    assert left == ["CACHEDIR.TAG"], "what dead processes left goes with the rest"
