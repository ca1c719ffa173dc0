"""What a user may not read, enter or write, and names that no disk has: one line and the contract's status.

Root may do everything, so the runs give that up (`Forks.run(is_mortal=True)`), and the tests hold for root and others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forked import Ended, Forks
from program import Program
from small_models import write_model

from embtool import settings
from embtool.errors import LocalFailure
from embtool.lesson import progress
from embtool.storage import cache

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and drops capabilities")

LONG = "x" * 300
"""More bytes than a name can have."""

MODEL_COMMANDS = (
    "info {0}",
    "check {0}",
    "neighbors id:1 -m {0}",
    "row a -m {0}",
    "similarity a b -m {0}",
    "calc a + b -m {0}",
    "similarity a b c -m {0}",
    "calc --questions questions.txt -m {0}",
    "map a b c -m {0}",
    "undertrained -m {0}",
    "vocab --counts -m {0}",
    "norms -m {0}",
    "norms {0} --token a",
    "tokens ab -m {0}",
    "input ab -m {0}",
    "rope -m {0}",
    "diff {0} small",
    "diff small {0}",
    "export {0} -o out.csv",
    "learn all -m {0}",
    "neighbors king -m {0}/words.vec",
    "info {0}/table.gguf",
)

WRITERS = (
    "map king queen man -m small -o {0}.svg",
    "export small -o {0}.csv",
    "export small -o {0}.npy",
    "export small -o {0}.safetensors",
    "export small -f projector -o {0}",
    "row king -m small --npy {0}.npy",
    "input king -m small --npy {0}.npy",
    "rope -m small --pos 0..3 -o {0}.svg",
)

READERS = ("neighbors --vector {0} -m small", "calc --questions {0} -m small", "rope --vector {0} --pos 1 -m small")


class Desk:
    """A machine of one user, on which some things are closed."""

    def __init__(self, forks: Forks, root: Path) -> None:
        self.forks, self.folder, self.home = forks, root / "work", root / "home"
        self.home.mkdir(parents=True)
        write_model(self.folder / "small")
        write_model(self.folder / "closed")
        (self.folder / "closed" / "words.vec").write_text("a 1 2\nb 2 1\n")
        (self.folder / "closed" / "questions.txt").write_text(": s\na b c d\n")
        np.save(self.folder / "closed" / "v.npy", np.ones(8, np.float32))
        (self.folder / "shut").write_text("[1, 2]")
        (self.folder / "shut").chmod(0)
        (self.folder / "questions.txt").write_text(": s\nking queen man woman\n")
        (self.folder / "closed").chmod(0)

    def run(self, line: str, **variables: str | Path) -> Ended:
        environment = {**Program(self.home, self.folder).environment(), **{k: str(v) for k, v in variables.items()}}
        return self.forks.run(*line.split(), folder=self.folder, env=environment, is_mortal=True)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def desk(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(forks, tmp_path_factory.mktemp("desk"))
    yield made
    (made.folder / "closed").chmod(0o700)  # so that it can be removed


def refused(ended: Ended, *statuses: int) -> str:
    """Hold that a run ended in one line of error and one of these statuses; give the line."""
    errors = [
        line
        for line in ended.err.decode().splitlines()
        if not line.startswith(("embtool: note: ", "embtool: warning: "))
    ]
    assert ended.status in statuses, (ended.status, errors)
    assert [line.split(": ")[1] for line in errors] in (["error"], ["error", "hint"]), errors
    return errors[0]


@pytest.mark.few(4)
@pytest.mark.parametrize("line", MODEL_COMMANDS)
def test_a_model_that_may_not_be_entered(desk: Desk, line: str) -> None:
    assert "Permission denied" in refused(desk.run(line.format("closed")), 7)


@pytest.mark.few(6)
@pytest.mark.parametrize("line", MODEL_COMMANDS)
def test_a_model_of_a_name_that_no_disk_has(desk: Desk, line: str) -> None:
    refused(desk.run(line.format(f"./{LONG}")), 3, 7)


@pytest.mark.few(6)
@pytest.mark.parametrize("line", MODEL_COMMANDS)
def test_a_model_whose_files_may_not_be_read(desk: Desk, line: str) -> None:
    if line.endswith(("words.vec", "gguf")):
        pytest.skip("another file")
    folder = desk.folder / "unreadable"
    if not folder.exists():
        write_model(folder)
        for path in folder.iterdir():
            path.chmod(0)
    assert "Permission denied" in refused(desk.run(line.format("unreadable")), 3, 7)


@pytest.mark.few(6)
@pytest.mark.parametrize("line", WRITERS)
@pytest.mark.parametrize("place", ["closed/a", LONG, f"small/{LONG}", "small/config.json/a", "nowhere/a"])
def test_a_place_that_may_not_be_written(desk: Desk, line: str, place: str) -> None:
    assert "cannot" in refused(desk.run(line.format(place)), 7)


@pytest.mark.few(6)
@pytest.mark.parametrize("line", READERS)
@pytest.mark.parametrize("place", ["closed/v.npy", "closed", "shut", LONG, "small/config.json/a", "nowhere"])
def test_a_file_that_may_not_be_read(desk: Desk, line: str, place: str) -> None:
    refused(desk.run(line.format(place)), 3, 7)


@pytest.mark.parametrize("place", ["closed", "closed/below", LONG])
def test_a_cache_that_may_not_be_used_is_passed_over(desk: Desk, place: str) -> None:
    for line in ("norms small --token king", "row king -m small", "tokens king -m small"):
        assert desk.run(line, EMBTOOL_CACHE=desk.folder / place).status == 0


@pytest.mark.parametrize("line", ["cache ls", "cache verify", "cache rm --all"])
@pytest.mark.parametrize("place", ["closed", "closed/below"])
def test_of_a_cache_that_may_not_be_read_nothing_is_claimed(desk: Desk, line: str, place: str) -> None:
    assert "Permission denied" in refused(desk.run(line, EMBTOOL_CACHE=desk.folder / place), 7)


def test_a_folder_inside_the_cache_that_may_not_be_read(desk: Desk, tmp_path: Path) -> None:
    desk.run("row king -m small", EMBTOOL_CACHE=tmp_path / "c").err.decode()
    shelf = next((tmp_path / "c" / "v1" / "vocabularies").iterdir())
    shelf.chmod(0)
    try:
        for line in ("cache ls", "cache verify", "cache rm --all"):
            assert "Permission denied" in refused(desk.run(line, EMBTOOL_CACHE=tmp_path / "c"), 7)
        assert desk.run("row king -m small", EMBTOOL_CACHE=tmp_path / "c").status == 0
    finally:
        shelf.chmod(0o755)


@pytest.mark.parametrize("place", ["closed", "closed/below", LONG, "questions.txt"])
def test_settings_that_may_not_be_read_or_written(desk: Desk, place: str) -> None:
    where = desk.folder / place
    places = {"XDG_CONFIG_HOME": where, "XDG_STATE_HOME": where}
    refused(desk.run("use small", **places), 7)
    if place.startswith("closed"):
        for line in ("row king", "use", "learn"):
            ended = desk.run(line, **places)
            assert "Permission denied" in refused(ended, 7)


@pytest.mark.parametrize("place", ["closed", "closed/below"])
@pytest.mark.few(1)
def test_a_shared_cache_that_may_not_be_read(desk: Desk, place: str) -> None:
    for line in ("info acme/small", "info acme/small@main", "row king -m acme/small"):
        ended = desk.run(line, HF_HUB_CACHE=desk.folder / place, HF_HUB_OFFLINE="1")
        assert "Permission denied" in refused(ended, 7)


def test_completion_says_nothing_of_what_is_closed(desk: Desk) -> None:
    ended = desk.run(
        "",
        _EMBTOOL_COMPLETE="complete_bash",
        _TYPER_COMPLETE_ARGS="embtool info ",
        EMBTOOL_CACHE=desk.folder / "closed",
        HF_HUB_CACHE=desk.folder / "closed",
    )
    assert (ended.status, ended.err) == (0, b"")
    assert b"mini" in ended.out


def test_a_working_folder_that_is_closed(desk: Desk) -> None:
    closed = desk.folder / "closed"
    closed.chmod(0o700)
    code = f"import os; os.chdir({str(closed)!r}); os.chmod('.', 0); status = run(['info', 'acme/small'])"
    try:
        environment = {**Program(desk.home, desk.folder).environment(), "HF_HUB_OFFLINE": "1"}
        ended = desk.forks.run("-c", code, folder=desk.folder, env=environment, is_mortal=True)
    finally:
        closed.chmod(0)
    assert "not in the cache" in refused(ended, 5) or "offline" in ended.err.decode()


def test_without_a_home_nothing_is_made_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("XDG_", "HF_", "EMBTOOL_")) or name == "HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    monkeypatch.chdir(tmp_path)
    place = cache.derived("norms", "ab" * 32)
    assert not cache.put(place, lambda file: file.write(b"x"))
    assert cache.read_kept(place, 10) is None
    assert "home" in str(cache.refusal())
    assert settings.saved_model() is None
    assert progress.read_progress() == {}
    with pytest.raises(LocalFailure, match="no home folder"):
        settings.save_model("x")
    assert list(tmp_path.iterdir()) == []
