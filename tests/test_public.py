from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from program import Program

import embtool

HEAVY = ("numpy", "rich", "tokenizers", "huggingface_hub", "httpx2", "numkong", "sqlite3")


def test_all_names_what_there_is() -> None:
    assert sorted(embtool.__all__) == embtool.__all__
    for name in embtool.__all__:
        assert getattr(embtool, name).__name__ == name
        assert name in dir(embtool)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = embtool.nothing


def loaded(code: str, run: Program) -> set[str]:
    """Run code in a new interpreter and tell which heavy packages it loaded."""
    script = f"import sys\n{code}\nprint()\nprint('loaded', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=run.environment(),
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


PROGRAM = "from embtool.cli import run\nassert run({!r}) == {}"

LOADS: dict[str, tuple[str, set[str]]] = {
    "import": ("import embtool", set()),
    "the names alone": ("import embtool; dir(embtool); embtool.__all__", set()),
    "--version": (PROGRAM.format(["--version"], 0), set()),
    "a token by id": (PROGRAM.format(["row", "id:3", "-m", "small/"], 0), {"numpy", "sqlite3"}),
    "neighbours": (PROGRAM.format(["neighbors", "king", "-m", "small/"], 0), {"numpy", "numkong", "sqlite3"}),
}


@pytest.mark.parametrize("case", LOADS)
def test_only_what_is_needed_is_loaded(case: str, run: Program) -> None:
    code, allowed = LOADS[case]
    assert loaded(code, run) <= allowed


def test_the_network_is_not_loaded_for_a_local_model(run: Program) -> None:
    code = PROGRAM.format(["info", "small/", "-f", "table"], 0)
    assert not loaded(code, run) & {"huggingface_hub", "httpx2", "tokenizers", "numkong"}


def test_the_package_is_typed() -> None:
    assert (Path(embtool.__file__).parent / "py.typed").is_file()
