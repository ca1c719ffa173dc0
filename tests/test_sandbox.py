"""Nothing gets in: what the program opens, imports, runs and connects to, written down by Python itself while it runs.

Every command of `every.EVERY` is run in a process of its own whose audit events are recorded (`forked`). Libraries of
machine code are not seen there; none is given a path of the model: they are handed bytes (tokenizers, sentencepiece) or
files of the program's own cache (SQLite).
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import every
import pytest
from forked import Ended, Forks
from hubstub import HubStub
from program import Program
from small_models import (
    WIDTH,
    bfloat16,
    config,
    table,
    tokenizer_json,
    write_gpt2,
    write_json,
    write_model,
    write_single,
)

import embtool
from embtool.cli import COMMANDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc")

INPUT = "model.embed_tokens.weight"

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.startfile")

MARK = "ran"
"""A file that every trap makes when it is run."""


class Trap:
    """A pickle that, once loaded, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def set_traps(folder: Path, mark: Path) -> list[str]:
    """Put what is run by others when they load a model into a folder; give the names."""
    code = f"import os\nos.mkdir({str(mark)!r})\n"
    modules = ("modeling_x", "configuration_x", "tokenization_x", "tokenizer", "__init__", "sitecustomize", "conftest")
    shadows = ("numpy", "tokenizers", "rich", "huggingface_hub", "sentencepiece", "gguf", "resvg_py", "json")
    pickles = ("pytorch_model.bin", "optimizer.pt", "scheduler.pkl", "training_args.bin", "last.ckpt", "x.pth")
    for name in (*modules, *shadows):
        (folder / f"{name}.py").write_text(code)
    for name in pickles:
        (folder / name).write_bytes(pickle.dumps(Trap(mark)))
    (folder / "x.pth").write_text(f"import os; os.mkdir({str(mark)!r})\n")
    return [*(f"{name}.py" for name in (*modules, *shadows)), *pickles]


def remote_code() -> dict[str, Any]:
    """Settings that ask for code from the repository to be run."""
    mapped = {"AutoConfig": "configuration_x.X", "AutoModel": "modeling_x.X", "AutoTokenizer": ["tokenizer.X", None]}
    return {"auto_map": mapped, "trust_remote_code": True, "custom_pipelines": {"x": {"impl": "modeling_x.X"}}}


@dataclasses.dataclass
class Cell:
    """A person's machine, watched: a home, a folder for what is written, and one for models."""

    forks: Forks
    root: Path

    def __post_init__(self) -> None:
        self.models, self.out, self.home = (self.root / name for name in ("models", "out", "home"))
        for folder in (self.models, self.out, self.home):
            folder.mkdir()
        self.inputs = every.write_inputs(self.root / "inputs", WIDTH, [])
        write_model(self.models / "other")
        self.program = Program(self.home, self.models)

    def run(
        self, line: str, model: Path | str, folder: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a line of `every` on a model."""
        shutil.rmtree(self.out)
        self.out.mkdir()
        places: dict[str, str | list[str]] = {
            "MODEL": str(model),
            "OTHER": str(self.models / "other"),
            "OUT": str(self.out),
            "INPUTS": str(self.inputs),
            "TOKENS": ["king", "id:3"],
        }
        asked = every.words(line, places)
        return self.forks.run(*asked, folder=folder or self.models, env=self.program.environment(env), watch=True)

    def holds(self, ended: Ended, *models: Path, statuses: tuple[int, ...] = (0, 1, 3)) -> None:
        """Hold that a run opened nothing but these models, Python's own files and what is the user's own."""
        assert ended.status in statuses, (ended.status, ended.err[-1000:])
        assert b"Traceback" not in ended.err
        assert not ended.named(*NETWORK, *PROCESSES, "pickle.find_class")
        mine = [*OWN, self.home, self.out, self.inputs, self.models / "other", *models]
        for path in ended.opened:
            assert is_below(path, mine), path
        for path, *_ in ended.named("exec"):
            assert path.startswith("<") or is_below(path, OWN), path
        for _, path in ended.named("compile"):
            assert path.startswith("<") or is_below(path, OWN), path


OWN = [
    Path(str(place)).resolve()
    for place in (
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        Path(embtool.__file__).parent,
        os.devnull,
        "/usr/share/zoneinfo",
        "/proc/self",
        "/proc/cpuinfo",
        "/sys",
    )
]
"""Where Python, the libraries and the program itself are, and what the system tells about itself."""


def is_below(path: str, folders: list[Path]) -> bool:
    """Tell whether a file, its links followed, is in one of some folders."""
    if path.isdigit():  # a descriptor that is open already
        return True
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(Path(os.path.realpath(folder))) for folder in folders)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as started:
        yield started


@pytest.fixture
def cell(forks: Forks, tmp_path: Path) -> Cell:
    return Cell(forks, tmp_path)


def test_every_command_is_in_the_table() -> None:
    assert every.EVERY.keys() == COMMANDS.keys(), "a new command needs its command lines in every.EVERY"
    for command, line in every.lines():
        assert line.split()[0] == command


@pytest.mark.parametrize("command", every.EVERY)
def test_no_command_opens_runs_or_unpickles_what_lies_beside_a_model(cell: Cell, command: str) -> None:
    model, mark = cell.models / "model", cell.root / MARK
    write_model(model, **remote_code())
    write_json(model / "tokenizer_config.json", {**remote_code(), "tokenizer_class": "X", "chat_template": "{{ 1 }}"})
    traps = set_traps(model, mark)
    for line in every.EVERY[command]:
        ended = cell.run(line, ".", model)
        cell.holds(ended, model)
        assert not {Path(path).name for path in ended.opened if is_below(path, [model])} & set(traps)
        assert not mark.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.gguf"])
def test_a_pickle_is_refused_whatever_it_is_called(cell: Cell, name: str) -> None:
    model, mark = cell.models / "model", cell.root / MARK
    model.mkdir()
    write_json(model / "config.json", config(**remote_code()))
    write_json(model / "tokenizer.json", tokenizer_json())
    (model / name).write_bytes(pickle.dumps(Trap(mark)))
    for asked in every.EVERY.values() if name.endswith(".bin") else ():
        ended = cell.run(asked[0], model)
        cell.holds(ended, model, statuses=(0, 1, 3, 6))
        assert not any(path.endswith(name) for path in ended.opened)
    for place in (model, model / name):
        cell.holds(cell.run("row id:3 -m MODEL", place), model, statuses=(6,))
    assert not mark.exists()


OUTSIDE = (
    "../outside/model.safetensors",
    "sub/../../outside/model.safetensors",
    "{root}/outside/model.safetensors",
    "file://{root}/outside/model.safetensors",
    "//{root}/outside/model.safetensors",
    "./../outside/model.safetensors",
    "..\\outside\\model.safetensors",
    "C:\\outside\\model.safetensors",
    "C:model.safetensors",
    "\\\\host\\share\\model.safetensors",
    "//host/share/model.safetensors",
    "..\0/../outside/model.safetensors",
    "%2e%2e/outside/model.safetensors",
    "model.safetensors?x#y",
    "model.safetensors\0",
    "\u202emodel.safetensors",
    "/dev/stdin.safetensors",
    "/proc/self/environ.safetensors",
    "NUL.safetensors",
    "../outside/model.safetensors\n",
)
"""Names in a weight map that lead out of the model, or are none; a good model lies where the first ones lead."""


def write_outside(cell: Cell) -> bytes:
    """Write a table outside of every model, and give its bytes."""
    content = dict.fromkeys([INPUT], ("BF16", table("input").shape, bfloat16(table("input"))))
    for folder in (cell.root / "outside", cell.home):
        write_single(folder, content)
    return (cell.root / "outside" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_weight_map_leads_nowhere(cell: Cell, name: str) -> None:
    model = cell.models / "a" / "model"
    write_model(model)
    write_outside(cell)
    shutil.move(cell.root / "outside", cell.models / "a" / "outside")
    place = name.format(root=cell.models / "a")
    index = {"weight_map": dict.fromkeys((INPUT, "lm_head.weight"), place)}
    write_json(model / "model.safetensors.index.json", index)
    for command in ("info MODEL", "row id:3 -m MODEL"):
        for asked in (model, model / "model.safetensors.index.json"):
            ended = cell.run(command, asked)
            cell.holds(ended, model, statuses=(6,))
            assert not any(path.endswith(".safetensors") for path in ended.opened if is_below(path, [model]))


def out_by_map(model: Path) -> None:
    write_json(model / "model.safetensors.index.json", {"weight_map": {INPUT: "../outside/model.safetensors"}})


def out_by_folder(model: Path) -> None:
    (model / "sub").symlink_to(model.parent / "outside")
    write_json(model / "model.safetensors.index.json", {"weight_map": {INPUT: "sub/model.safetensors"}})


def out_by_link(*names: str) -> Callable[[Path], None]:
    """Make links of files of a model to those outside."""

    def link(model: Path) -> None:
        for name in names:
            (model / name).unlink(missing_ok=True)
            (model / name).symlink_to(model.parent / "outside" / name)

    return link


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

WAYS_OUT: dict[str, tuple[Callable[[Path], None], str, int, str]] = {
    "weight map": (out_by_map, "row id:3 -m MODEL", 6, "unsafe name"),
    "folder": (out_by_folder, "row id:3 -m MODEL", 7, "link to a place outside"),
    "shards": (out_by_link(*SHARDS), "row id:3 -m MODEL", 7, "link to a place outside"),
    "index": (out_by_link("model.safetensors.index.json"), "row id:3 -m MODEL", 7, "link to a place outside"),
    "config": (out_by_link("config.json"), "rope -m MODEL", 7, "link to a place outside"),
    "tokenizer": (out_by_link("tokenizer.json"), "tokens king -m MODEL", 7, "link to a place outside"),
}
"""How a model can try to lead out of its folder, and a command line that must refuse: its status, and what it says."""


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.slow
def test_no_command_leaves_the_folder_of_a_model(cell: Cell, way: str) -> None:
    model = cell.models / "model"
    write_model(model)
    write_model(cell.models / "outside")
    lead, refusing, status, words = WAYS_OUT[way]
    lead(model)
    refused = cell.run(refusing, model)
    assert (refused.status, words in refused.err.decode()) == (status, True), refused.err
    for asked in every.EVERY.values() if way in ("weight map", "shards") else ():
        cell.holds(cell.run(asked[0], model), model, statuses=(0, 1, 3, 6, 7))


def test_in_a_folder_of_strangers_python_itself_imports_nothing(cell: Cell) -> None:
    """`python -m embtool` would look for modules in the working folder first."""
    model, mark = cell.models / "model", cell.root / MARK
    write_model(model)
    set_traps(model, mark)
    environment = cell.program.environment()
    command = [sys.executable, "-m", "embtool", "neighbors", "id:3", "-k", "1", "-m", ".", "-f", "table"]
    ended = subprocess.run(command, cwd=model, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not mark.exists()


# --- a model of a hub -------------------------------------------------------------------------------------------------

TOKEN = "hf_ThisIsNobodysSecret"  # noqa: S105 - of the test hub
SIGNATURE = "Signature="
"""What the test hub's signed addresses have in their query, as those of real storage hosts do."""


@dataclasses.dataclass
class Online:
    """The same machine with a hub in reach, and a token."""

    cell: Cell
    hub: HubStub

    def run(self, line: str) -> Ended:
        settings = {
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
            "HF_HUB_ETAG_TIMEOUT": "2",
            "EMBTOOL_RETRIES": "1",
            "EMBTOOL_DEBUG": "1",
        }
        ended = self.cell.run(line.replace("OTHER", "acme/gpt2"), "acme/small", env=settings)
        self.keeps_its_secrets(ended)
        return ended

    def keeps_its_secrets(self, ended: Ended) -> None:
        """Hold that neither the token nor a signed address was printed, is anywhere on the disk, or went elsewhere."""
        for secret in (TOKEN.encode(), SIGNATURE.encode()):
            assert secret not in ended.out
            assert secret not in ended.err
            for path in self.cell.root.rglob("*"):
                assert secret not in os.fsencode(path.name)
                assert not path.is_file() or secret not in path.read_bytes(), path
        for request in self.hub.requests():
            shown = json.dumps([request.path, request.query, request.headers, request.body.decode()])
            assert TOKEN not in shown.replace(f'"Bearer {TOKEN}"', "") if request.where == "hub" else TOKEN not in shown


@pytest.fixture
def online(cell: Cell) -> Iterator[Online]:
    with HubStub(tokens=(TOKEN,)) as hub:
        write_gpt2(cell.root / "gpt2")
        for name, folder in (("small", cell.models / "other"), ("gpt2", cell.root / "gpt2")):
            hub.add(f"acme/{name}", {path.name: path for path in folder.iterdir()}, private=True)
        yield Online(cell, hub)


ASKED_OF_A_HUB = re.compile(
    r"/acme/(small|gpt2)/resolve/(main|[0-9a-f]{40})/[\w.-]+"
    r"|/api/resolve-cache/models/acme/(small|gpt2)/[0-9a-f]{40}/[\w.-]+"
    r"|/api/models/acme/(small|gpt2)/revision/(main|[0-9a-f]{40})"
)
"""Everything that is ever asked of a hub: a file, what it is redirected to, the list of a model's files."""

TOLD = {"accept", "accept-encoding", "authorization", "connection", "host", "range", "user-agent"}
TOLD |= {"x-amzn-trace-id", "x-hf-download-counter"}
"""Everything that a request may tell of who asks; huggingface_hub adds a random number and a 1."""


@pytest.mark.parametrize("command", every.EVERY)
def test_a_hub_is_asked_for_files_of_the_model_and_nothing_else(online: Online, command: str) -> None:
    for line in every.EVERY[command][: 2 if command in ("neighbors", "export") else 1]:
        ended = online.run(line)
        assert ended.status in (0, 1, 3), ended.err
        assert not ended.named(*PROCESSES, "pickle.find_class")
        for _, address in ended.named("socket.connect"):
            assert address.startswith("('127.0.0.1', "), address
    for request in online.hub.requests():
        assert request.where != "stranger"
        assert request.method in ("GET", "HEAD")
        assert request.headers.keys() <= TOLD, request.headers
        if request.where == "hub":
            assert ASKED_OF_A_HUB.fullmatch(request.path), request.path
        agent = request.headers.get("user-agent", "")
        assert agent == f"embtool/{embtool.__version__}"
    assert not online.hub.leaks()


FAULTS: list[dict[str, Any]] = [
    {"kind": "expired", "where": "storage"},
    {"kind": "status", "where": "storage", "code": 503},
    {"kind": "status", "where": "hub", "code": 503},
    {"kind": "status", "where": "hub", "code": 401, "headers": {"X-Error-Message": "no"}},
    {"kind": "drop", "where": "storage", "after": 0},
    {"kind": "drop", "where": "hub", "path": "resolve-cache", "after": 3, "times": 1},
    {"kind": "wrong_range", "where": "storage"},
    {"kind": "html", "where": "storage"},
    {"kind": "no_location", "where": "storage"},
    {"kind": "redirect", "where": "storage", "location": "file:///etc/passwd?Signature=x"},
    {"kind": "redirect", "where": "hub", "location": "ftp://127.0.0.1/x?Signature=x"},
    {"kind": "redirect", "where": "hub", "location": "http://x:Signature=@127.0.0.1:1/x?Signature=x"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']} {fault['where']}")
def test_no_failure_shows_a_secret(online: Online, fault: dict[str, Any]) -> None:
    settings = {"times": None, **fault}
    online.hub.fault(settings.pop("kind"), **settings)
    for line in ("neighbors id:3 -m MODEL", "neighbors id:3 --dry-run -m MODEL"):
        assert online.run(line).status in (0, 4, 5, 6)


def test_a_redirect_to_a_stranger_takes_no_secret_along(online: Online) -> None:
    online.hub.fault(
        "redirect", where="hub", path="/resolve/.*safetensors$", times=None, location=f"{online.hub.stranger}/blobs/x"
    )
    assert online.run("neighbors id:3 -m MODEL").status in (4, 5, 6)
    assert online.hub.count("stranger")
    assert not online.hub.leaks()


@pytest.mark.slow
def test_a_local_model_is_asked_without_a_word_to_a_hub(online: Online) -> None:
    settings = {"HF_ENDPOINT": online.hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    for asked in every.EVERY.values():
        online.cell.holds(online.cell.run(asked[0], online.cell.models / "other", env=settings))
    assert online.hub.count() == 0
