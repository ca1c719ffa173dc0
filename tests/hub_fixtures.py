"""A hub with one model on it, and sources that ask it with little patience."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hubstub import HubStub
from huggingface_hub import constants

from embtool.hub import HubSource
from embtool.hub.transport import Patience
from embtool.storage.source import LocalRange, TensorDescription

MODEL = "acme/tiny"
SHARD = "model.safetensors"
ROWS, ROW_BYTES = 2501, 4096
"""A table of 9.8 MiB, so that its last block is not whole."""

HURRY = Patience(connect=60, read=60, attempts=4, pause=0.01, longest_pause=0.03, longest_wait=5, lock=1)
"""Quick to try again, and patient with a server that answers: a busy machine is no failure."""

BRIEF = dataclasses.replace(HURRY, read=1)
"""For a server that never answers."""


def shard(seed: int = 0) -> bytes:
    """A safetensors file of one BF16 table and two small tensors."""
    table, norm = ROWS * ROW_BYTES, 64
    names = {
        "model.embed_tokens.weight": {"dtype": "BF16", "shape": [ROWS, ROW_BYTES // 2], "data_offsets": [0, table]},
        "model.norm.weight": {"dtype": "F32", "shape": [norm // 4], "data_offsets": [table, table + norm]},
    }
    header = json.dumps(names).encode()
    # Numbers near 0.1 of both signs, in a pattern that no block and no row repeats.
    values = bytes(
        part
        for number in range(2047)
        for part in ((seed + number * number // 7) % 251, (0x3D, 0xBD, 0x3E)[number * number // 11 % 3])
    )
    data = (values * (table // len(values) + 1))[:table] + bytes(norm)
    return len(header).to_bytes(8, "little") + header + data


@dataclass
class Case:
    """A model on a test hub, and what asking for it comes to."""

    hub: HubStub
    folder: Path
    data: bytes

    def __post_init__(self) -> None:
        length = 8 + int.from_bytes(self.data[:8], "little")
        self.start, self.stop = length, length + ROWS * ROW_BYTES
        self.commit = self.hub.add(MODEL, self.files())

    def files(self, **changes: bytes) -> dict[str, bytes | Path]:
        return {
            "config.json": b'{"model_type": "llama"}',
            "tokenizer.json": b'{"model": {}}',
            SHARD: self.data,
            **changes,
        }

    @property
    def table(self) -> bytes:
        return self.data[self.start : self.stop]

    @property
    def hub_cache(self) -> Path:
        return self.folder / "hub"

    @property
    def cache(self) -> Path:
        return self.folder / "embtool"

    def source(self, reference: str = MODEL, **options: Any) -> HubSource:
        settings = {"endpoint": self.hub.endpoint, "hub_cache": self.hub_cache, "patience": HURRY, **options}
        return HubSource(reference, **settings)

    def place(self, source: HubSource | None = None, **options: Any) -> LocalRange:
        """Fetch the table."""
        asked = source if source is not None else self.source(**options)
        describe = TensorDescription("model.embed_tokens.weight", "BF16", (ROWS, ROW_BYTES // 2))
        return asked.local_range(SHARD, self.start, self.stop, describe=describe)

    def fetch(self, source: HubSource | None = None, **options: Any) -> bytes:
        """Fetch the table and read it."""
        return read(self.place(source, **options))

    def row(self, number: int, source: HubSource | None = None) -> bytes:
        """Fetch one row."""
        start = self.start + number * ROW_BYTES
        return (source or self.source()).read(SHARD, start, start + ROW_BYTES)

    def true_row(self, number: int) -> bytes:
        return self.table[number * ROW_BYTES : (number + 1) * ROW_BYTES]

    def holds(self, *, requests: int) -> None:
        """Hold what is true whatever the hub did: no secret shown to anybody, and a bound on the requests."""
        assert not self.hub.leaks()
        assert self.hub.count() <= requests, [(r.where, r.method, r.path, r.status) for r in self.hub.requests()]

    def kept(self, ending: str) -> list[Path]:
        return sorted(self.cache.rglob(f"*{ending}"))

    def program(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Fetch the table in a process of its own, which prints the SHA-256 of what it got."""
        settings = {
            "endpoint": self.hub.endpoint,
            "hub_cache": str(self.hub_cache),
            "shard": SHARD,
            "start": self.start,
            "stop": self.stop,
            "model": MODEL,
        }
        variables = {**os.environ, "EMBTOOL_CACHE": str(self.cache), "PYTHONUNBUFFERED": "1", **environment}
        variables.pop("HF_HUB_OFFLINE", None)
        command = [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(settings)]
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


PROGRAM = """
import hashlib, json, signal, sys
from pathlib import Path
from embtool.errors import EmbtoolError
from embtool.hub import HubSource
from embtool.hub import journal, table
from embtool.hub.transport import Patience
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
table.SAVE_EVERY = 0.05
settings = json.loads(sys.argv[1])
try:
    source = HubSource(settings["model"], endpoint=settings["endpoint"], hub_cache=Path(settings["hub_cache"]),
                       patience=Patience(connect=60, read=1000, pause=0.05, lock=100))
    print("ready", flush=True)
    place = source.local_range(settings["shard"], settings["start"], settings["stop"])
    with place.open() as reader:
        data = bytearray(place.stop - place.start)
        reader.read_into(place.start, memoryview(data))
    print(hashlib.sha256(data).hexdigest())
except EmbtoolError as error:
    print(error, error.hint, file=sys.stderr)
    sys.exit(error.exit_status)
except KeyboardInterrupt:
    sys.exit(130)
"""


def read(place: LocalRange) -> bytes:
    data = bytearray(place.stop - place.start)
    with place.open() as reader:
        reader.read_into(place.start, memoryview(data))
    return bytes(data)


def wait_until(condition: Any, seconds: float = 100) -> None:
    """Wait for what will happen; the seconds are there so that a mistake does not hang."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def shard_data() -> bytes:
    return shard()


@pytest.fixture
def hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for every cache, and nothing of this machine's user."""
    home = tmp_path / "caches"  # what is written beside it is found at once
    home.mkdir()
    monkeypatch.setenv("EMBTOOL_CACHE", str(home / "embtool"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # where huggingface_hub is asked as the judge
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return home


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub pause for moments instead of seconds."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))


@pytest.fixture
def case(hub_home: Path, shard_data: bytes) -> Iterator[Case]:
    with HubStub() as hub:
        yield Case(hub, hub_home, shard_data)


@pytest.fixture
def mirror(hub_home: Path, shard_data: bytes) -> Iterator[Case]:
    """The same on a mirror that does not redirect."""
    with HubStub(direct=True) as hub:
        yield Case(hub, hub_home, shard_data)


def end(process: "subprocess.Popen[bytes]", how: signal.Signals | None = None) -> tuple[int, str, str]:
    """Send a signal, wait for the end, and give status and streams."""
    if how is not None:
        process.send_signal(how)
    out, err = process.communicate(timeout=100)
    return process.returncode, out.decode(), err.decode()
