"""Several processes at once: the same answers, a cache that is whole. `benchmarks/load.py` does it with hundreds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from program import Program
from small_models import write_model

WORDS = b"".join(b"w%d %d 1 2\n" % (place, place) for place in range(20_000))

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("tokens", " king queen", "-m", "m/"), id="the index of a tokenizer", marks=pytest.mark.slow),
        pytest.param(("neighbors", "w7", "-k", "3", "-m", "words.vec"), id="the numbers of word vectors"),
    ],
)
def test_many_processes_derive_the_same_at_once(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "home").mkdir()
    write_model(tmp_path / "m")
    (tmp_path / "words.vec").write_bytes(b"20000 3\n" + WORDS)
    run = Program(tmp_path / "home", tmp_path)
    processes = [run.start(*arguments) for _ in range(8)]
    ends = [(process.communicate(timeout=100), process.returncode) for process in processes]
    assert [status for _, status in ends] == [0] * 8, ends
    assert len({out for (out, _), _ in ends}) == 1
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert kept
    assert not [path for path in kept if TEMPORARY.fullmatch(path.name)]
    assert run(*arguments).ok().out == ends[0][0][0]
    assert sum(path.is_file() for path in (tmp_path / "home").rglob("*")) == len(kept) + 1


@pytest.mark.slow
def test_one_default_model_is_saved_by_many(tmp_path: Path, models: Path) -> None:
    (tmp_path / "home").mkdir()
    run = Program(tmp_path / "home", models)
    processes = [run.start("use", name) for name in ("small/", "gpt2/", "tied/") * 2]
    assert [process.wait(100) for process in processes] == [0] * 6
    for process in processes:
        process.communicate()
    assert run("use", "--json").ok().document["model"] in [str(models / name) for name in ("small", "gpt2", "tied")]
