from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from embtool import cli

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "embtool"
OPTIONAL = ("gguf", "pyarrow", "resvg_py", "sentencepiece", "tiktoken")

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason="only a checkout can be packed")


def build(folder: Path, when: float) -> Path:
    """Pack a copy of the project whose files were last changed at `when`; return the wheel."""
    project = folder / "project"
    project.mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(SOURCE.parent, project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for path in project.rglob("*"):
        os.utime(path, (when, when))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling packs the project: pip install hatchling")
    return build(tmp_path_factory.mktemp("first"), 1_700_000_000)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {f"embtool/{path.relative_to(SOURCE).as_posix()}" for path in SOURCE.rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    rest = names - package
    assert package <= names
    stem = wheel.name.removesuffix("-py3-none-any.whl")
    allowed = rf"{stem}\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)"
    manual = rf"{stem}\.data/data/share/man/man1/embtool\.1"
    assert [name for name in sorted(rest) if not re.fullmatch(f"{allowed}|{manual}", name)] == []
    assert {name.rsplit("/", 1)[-1] for name in rest} >= {"LICENSE", "METADATA", "entry_points.txt", "embtool.1"}


@pytest.mark.slow
def test_the_wheel_holds_a_man_page_that_names_every_command(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    (name,) = (name for name in packed.namelist() if name.endswith("share/man/man1/embtool.1"))
    page = packed.read(name)
    assert re.findall(r"^\.TP\n\\fB(\S+)\\fP$", page.decode(), re.MULTILINE) == list(cli.COMMANDS)
    if groff := shutil.which("groff"):
        done = subprocess.run([groff, "-Tutf8", "-man", "-ww", "-z"], input=page, capture_output=True, check=True)
        assert done.stderr == b""


@pytest.mark.slow
def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 15_000_000


@pytest.mark.slow
def test_the_same_sources_make_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path, 1_800_000_000).read_bytes() == wheel.read_bytes()


SMOKE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {optional!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
sys.path = [{folder!r}] + [entry for entry in sys.path if entry != {source!r}]
import embtool
assert embtool.__file__.startswith({folder!r}), embtool.__file__
from embtool.cli import run
sys.exit(run({arguments!r}))
"""

COMMANDS = (
    ("--version",),
    ("info", "mini"),
    ("neighbors", "strawberry"),
    ("rope", "--pos", "1000"),
    ("check", "mini"),
    ("map", "strawberry", "king"),
    ("export", "mini", "-o", "table.npy"),
)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_the_wheel_works_without_any_extra(wheel: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = smoke(wheel, arguments, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert done.stdout or arguments[0] == "export"


NEEDY = {
    "pyarrow": ("export", "mini", "-o", "table.parquet"),
    "resvg-py": ("map", "strawberry", "king", "queen", "-o", "map.png"),
}


@pytest.mark.slow
@pytest.mark.parametrize("library", NEEDY)
def test_what_needs_a_library_says_which(wheel: Path, library: str, tmp_path: Path) -> None:
    done = smoke(wheel, NEEDY[library], tmp_path)
    assert done.returncode == 7
    assert "Traceback" not in done.stderr
    assert f"{library}, which is not installed" in done.stderr
    assert f"pipx inject embtool {library}, or uv tool install --with {library} embtool" in done.stderr


def smoke(wheel: Path, arguments: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the packed program, with none of the extras to be found."""
    unpacked = wheel.parent / "unpacked"
    if not unpacked.exists():
        zipfile.ZipFile(wheel).extractall(unpacked)
    code = SMOKE.format(optional=OPTIONAL, folder=str(unpacked), source=str(SOURCE.parent), arguments=list(arguments))
    home = folder / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("EMBTOOL", "HF_", "PYTHON"))},
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "EMBTOOL_CACHE": str(home / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_dependency_is_on_the_page_of_dependencies() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([\w-]+) \| `([^`]*)` \|", page, re.MULTILINE))
    assert listed == {Requirement(line).name: line.removeprefix(Requirement(line).name) for line in lines}
    assert page.count("not stated") == 0
