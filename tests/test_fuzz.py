"""The harness in fuzz/: it runs every target, counts, and finds what is planted."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embtool import vocabulary
from embtool.errors import FormatError
from embtool.formats import gguf, safetensors
from embtool.vocabulary import index
from fuzz import __main__ as runner
from fuzz.engine import ACCEPTED, DIFFERENT, REFUSED, Campaign, Disagreement, Target, load, seeds
from fuzz.vocabularies import INDEXING, isolated

ROOT = Path(__file__).parent.parent
TARGETS = load()
CASES = 250
SEED = 20


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def ran(name: str, folder: Path, cases: int = CASES) -> Campaign:
    campaign = Campaign(TARGETS[name], folder)
    campaign.at_random(cases=cases, seed=SEED)
    return campaign


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_some_cases(name: str, tmp_path: Path) -> None:
    TARGETS[name].run(seeds(name)[0])
    assert len(seeds(name)[0]) <= TARGETS[name].longest
    campaign = ran(name, tmp_path)
    counts = campaign.counts
    assert campaign.finds == {}
    assert counts[ACCEPTED] + counts[REFUSED] + counts[DIFFERENT] == CASES
    assert counts[ACCEPTED] > 0
    assert counts[REFUSED] > 0


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    def cases(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        campaign = Campaign(Target("x", seen.append), tmp_path, seeds("gguf-fields"))
        campaign.at_random(cases=100, seed=seed)
        return seen

    assert cases(1) == cases(1)
    assert cases(1) != cases(2)


def test_no_index_of_a_case_is_kept() -> None:
    names = [found.name for found in pkgutil.iter_modules(vocabulary.__path__, "embtool.vocabulary.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith((".index", ".child"))]
    assert {module for module in modules if "write_index" in vars(module)} == set(INDEXING)
    assert all(module.write_index is not index.write_index for module in INDEXING)


# --- what is planted is found ---------------------------------------------------------------------------------------


def test_a_bug_in_a_reader_is_found_and_its_shortest_case_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = safetensors._parse_entry

    def broken(name: str, entry: object, *values: object) -> object:
        if isinstance(entry, dict) and "BF16" in entry.values():
            raise ValueError("planted")
        return whole(name, entry, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(safetensors, "_parse_entry", broken)
    campaign = ran("safetensors", tmp_path)
    ((kind, path),) = campaign.finds.items()
    assert kind.startswith("ValueError: safetensors.py")
    assert campaign.counts["finds"] > 1
    assert set(tmp_path.iterdir()) == {path, campaign.last}
    with pytest.raises(ValueError, match="planted"):
        TARGETS["safetensors"].run(path.read_bytes())


@pytest.mark.parametrize(
    ("module", "check", "instead", "name", "kind"),
    [
        (safetensors, "_check_contiguous", lambda *_: None, "safetensors", "AssertionError"),
        (gguf, "_check_magic", lambda *_: 1 / 0, "gguf-fields", "ZeroDivisionError"),
    ],
)
def test_what_is_believed_too_much_is_found(
    module: object,
    check: str,
    instead: Callable[..., object],
    name: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module, check, instead)
    assert kind in {found.partition(":")[0] for found in ran(name, tmp_path, 800).finds}


def planted(run: Callable[[bytes], None], folder: Path, milliseconds: int = 1000) -> Campaign:
    change = lambda case, _, __: case + b"x"  # noqa: E731
    campaign = Campaign(Target("planted", run, change, milliseconds), folder, (b"x",))
    campaign.at_random(cases=3)
    return campaign


def busy(case: bytes) -> None:
    del case
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass


def panic(case: bytes) -> None:
    class Panic(BaseException):
        pass

    raise Panic(case)


def ask_for_memory() -> None:
    raise MemoryError


def without_memory(case: bytes) -> None:
    try:
        ask_for_memory()
    except MemoryError as error:
        raise FormatError(f"{case!r} is no file") from error


@pytest.mark.parametrize(
    ("run", "kind"),
    [(busy, "slow"), (panic, "Panic"), (without_memory, "MemoryError")],
    ids=["slow", "panic", "memory"],
)
def test_what_is_no_plain_exception_is_found(run: Callable[[bytes], None], kind: str, tmp_path: Path) -> None:
    assert [found.partition(":")[0] for found in planted(run, tmp_path, 5).finds] == [kind]


@pytest.mark.skipif(sys.platform == "win32", reason="a process does not tell its peak of memory there")
def test_a_case_that_takes_much_memory_is_found(tmp_path: Path) -> None:
    kept: list[bytes] = []
    # what other tests have had before is freed but counts in the peak: only more than that is seen
    campaign = planted(lambda _: None if kept else kept.append(b"x" * (1 << 29)), tmp_path)
    assert any(kind.startswith("memory") for kind in campaign.finds)


def test_a_disagreement_is_counted_and_no_find(tmp_path: Path) -> None:
    def differ(case: bytes) -> None:
        raise Disagreement(repr(case))

    campaign = planted(differ, tmp_path)
    assert campaign.counts == {DIFFERENT: 3}
    assert campaign.finds == {}


# --- the command ----------------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fuzz", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_command_runs_targets_in_processes_and_replays_a_case(tmp_path: Path) -> None:
    done = command("vectors", "listing", "--seconds", 2, "--folder", tmp_path)
    assert done.returncode == 0, done.stdout
    _, vectors, listing = done.stdout.splitlines()
    assert int(vectors.split()[1].replace(",", "")) > 0
    assert listing.startswith("listing ")
    case = tmp_path / "vectors-0123"
    case.write_bytes(b"[1, 2]")
    assert command("vectors", "--replay", case).stdout == "accepted\n"
    case.write_bytes(b"[")
    assert "FormatError" in command("vectors", "--replay", case).stderr


@pytest.mark.parametrize("ending", ["os.abort()", "time.sleep(60)"])
def test_a_process_that_hangs_or_dies_is_told_with_its_last_case(
    ending: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, time\n{ending}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(runner, "GRACE", 1)
    assert runner.run_apart("vectors", 0, Namespace(seed=1, folder=tmp_path))
    assert "vectors-last" in capsys.readouterr().out
