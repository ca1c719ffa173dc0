"""The harness in fuzz/: it runs every target, counts, and finds what is planted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import run as harness
from campaign import SHARED_SIZE, Campaign, Plan, at_random, place_of
from gguf_document import encode
from target import CORPUS, Disagreement, Target, isolated, load, seeds

from embtool.errors import FormatError
from embtool.formats import gguf, safetensors

TARGETS = load()
CASES = 1000
SEED = 20


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with isolated():
        yield


def campaign(target: Target, folder: Path, cases: int = CASES) -> Campaign:
    return Campaign(target, Plan(target.name, cases, 60, SEED, "random", folder))


def finds(folder: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "finds").glob("*.json"))]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_some_cases(name: str, tmp_path: Path) -> None:
    ran = campaign(TARGETS[name], tmp_path)
    at_random(ran)
    tally = ran.tally
    assert finds(tmp_path) == []
    assert tally.cases == CASES
    assert tally.accepted + tally.refused + tally.differences.total() == CASES
    assert tally.accepted > 0
    assert tally.refused > 0


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert all(len(seeds(name)) > 1 for name in TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 300_000


def test_the_same_seed_gives_the_same_cases(tmp_path: Path) -> None:
    def cases(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        target = TARGETS["gguf-fields"]
        listening = Target("x", "", seen.append, target.mutate, 100, 4096, 1)
        made = Campaign(listening, Plan("x", 200, 60, seed, "random", tmp_path))
        at_random(made)
        return seen

    assert cases(1) == cases(1)
    assert cases(1) != cases(2)


# --- what is planted is found ---------------------------------------------------------------------------------------


def test_a_bug_in_a_reader_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = safetensors._parse_entry

    def broken(name: str, entry: object, data_start: int, shard: str) -> object:
        if isinstance(entry, dict) and entry.get("dtype") == "BF16":
            raise ValueError("planted")
        return whole(name, entry, data_start, shard)

    monkeypatch.setattr(safetensors, "_parse_entry", broken)
    ran = campaign(TARGETS["safetensors"], tmp_path)
    at_random(ran)
    (found,) = finds(tmp_path)
    assert found["kind"] == "ValueError"
    assert "safetensors.py" in found["where"]
    assert ran.tally.finds > 1
    (case,) = (path for path in (tmp_path / "finds").iterdir() if not path.suffix)
    with pytest.raises(ValueError, match="planted"):
        TARGETS["safetensors"].run(case.read_bytes())


def test_a_header_that_is_believed_too_much_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(safetensors, "_check_contiguous", lambda *_: None)
    at_random(campaign(TARGETS["safetensors"], tmp_path))
    assert "AssertionError" in {found["kind"] for found in finds(tmp_path)}


def test_a_bug_in_the_metadata_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gguf, "_check_magic", lambda *_: 1 / 0)
    at_random(campaign(TARGETS["gguf-fields"], tmp_path, 100))
    (found,) = finds(tmp_path)
    assert found["kind"] == "ZeroDivisionError"


def of(run: Callable[[bytes], None], milliseconds: int = 1000) -> Target:
    return Target("planted", "", run, lambda case, _: case + b"x", milliseconds, 4096, 1)


def planted(run: Callable[[bytes], None], folder: Path, milliseconds: int = 1000) -> list[dict[str, str]]:
    at_random(campaign(of(run, milliseconds), folder, 3))
    return finds(folder)


def test_a_slow_case_is_found(tmp_path: Path) -> None:
    def busy(case: bytes) -> None:
        del case
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    assert [found["kind"] for found in planted(busy, tmp_path, 5)] == ["slow"]


@pytest.mark.skipif(sys.platform == "win32", reason="a process does not tell its peak of memory there")
def test_a_case_that_takes_much_memory_is_found(tmp_path: Path) -> None:
    kept: list[bytes] = []
    # what other tests have had before is freed but counts in the peak: only more than that is seen
    assert "memory" in [found["kind"] for found in planted(lambda _: kept.append(b"x" * (1 << 29)), tmp_path)]


def test_memory_that_was_not_had_is_no_refusal(tmp_path: Path) -> None:
    def ask() -> None:
        raise MemoryError

    def refuse(case: bytes) -> None:
        try:
            ask()
        except MemoryError as error:
            raise FormatError(f"{case!r} is no file") from error

    assert [found["kind"] for found in planted(refuse, tmp_path)] == ["MemoryError"]


def test_what_is_no_exception_is_found(tmp_path: Path) -> None:
    class Panic(BaseException):
        pass

    def panic(case: bytes) -> None:
        raise Panic(case)

    assert [found["kind"] for found in planted(panic, tmp_path)] == ["Panic"]


def test_a_disagreement_is_counted_and_its_shortest_case_kept(tmp_path: Path) -> None:
    def differ(case: bytes) -> None:
        raise Disagreement(f"kind {len(case) % 2}")

    ran = campaign(of(differ), tmp_path, 20)
    at_random(ran)
    assert ran.tally.differences.total() == 20
    assert finds(tmp_path) == []
    lengths = [path.stat().st_size for path in (tmp_path / "differences").iterdir() if not path.suffix]
    assert len(lengths) == len(ran.tally.differences)


@pytest.mark.parametrize(
    ("program", "ending"),
    [("while True: pass", "hang"), ("import os; os.abort()", "exit status"), ("", None)],
)
def test_a_process_that_hangs_or_dies_is_seen(
    program: str, ending: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "LOADING", 0.3)
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        seen = harness.watch(process, bytearray(SHARED_SIZE))
    assert (seen or "").startswith(ending or "")
    assert (seen is None) == (ending is None)


def test_where_an_error_came_up() -> None:
    with pytest.raises(FormatError) as caught:
        gguf.parse_header(b"GGUX" + bytes(99), file_size=103, shard="x")
    assert "gguf.py" in place_of(caught.value)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_counts_into_a_file(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    for _ in range(2):
        asked = ["vectors", "--cases", "300", "--engine", "random", "--folder", tmp_path, "--add", counts]
        done = subprocess.run(
            [sys.executable, harness.__file__, *map(str, asked)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    found = json.loads(counts.read_text())
    assert found["cases"] == found["targets"]["vectors"]["cases"] == 600


def test_the_results_are_those_that_were_counted() -> None:
    counts = json.loads((CORPUS.parent / "results.json").read_text(encoding="utf-8"))
    page = (CORPUS.parent / "RESULTS.md").read_text(encoding="utf-8")
    assert harness.table(counts) in page
    assert counts["targets"].keys() == TARGETS.keys()


def test_a_case_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = tmp_path / "gguf-0123"
    case.write_bytes(encode({"metadata": [["general.architecture", 8, "llama"]], "tensors": []}))
    harness.replay(case, list(TARGETS.values()))
    assert capsys.readouterr().out.endswith("ms\naccepted\n")
    case.write_bytes(b"GGUF")
    with pytest.raises(FormatError, match="truncated"):
        harness.replay(case, list(TARGETS.values()))
