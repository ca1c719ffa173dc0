"""Running the command line, in this process or in one of its own, with nothing of this machine in its environment."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embtool.cli import run as run_command

UNSET = ("FORCE_COLOR", "TERM", "LINES", "PYTHONIOENCODING", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE")


def is_almighty() -> bool:
    """Tell whether permissions mean nothing to this process: it is root, and has root's capabilities."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True
    return f"CapEff:\t{'0' * 16}" not in status


@dataclass(frozen=True)
class Answer:
    """What a run of the program came to."""

    status: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Stdout as text."""
        return self.out.decode()

    @property
    def errors(self) -> str:
        """Stderr as text."""
        return self.err.decode()

    @property
    def document(self) -> Any:
        """Stdout as one strict JSON document in ASCII."""
        return strict_json(self.out.decode("ascii"))

    @property
    def records(self) -> list[Any]:
        """Stdout as JSON Lines."""
        return [strict_json(line) for line in self.out.decode("ascii").splitlines()]

    @property
    def cells(self) -> list[list[str]]:
        """Stdout as the cells of TSV."""
        assert self.text.endswith("\n")
        return [line.split("\t") for line in self.text.removesuffix("\n").split("\n")]

    def of(self, kind: str) -> list[str]:
        """Give the lines of stderr of a kind: error, hint, note, warning."""
        start = f"embtool: {kind}: "
        return [line.removeprefix(start) for line in self.errors.splitlines() if line.startswith(start)]

    def ok(self) -> Answer:
        """Hold that the program answered."""
        assert self.status == 0, self.errors
        return self

    def refused(self, status: int, *words: str) -> str:
        """Hold that the program refused in one line that has these words, and printed nothing else; give the line."""
        assert self.status == status, (self.status, self.out, self.errors)
        assert self.out == b""
        others = [line for line in self.errors.splitlines() if not line.startswith("embtool: note: ")]
        assert [line.split(": ")[1] for line in others] in (["error"], ["error", "hint"]), self.errors
        for word in words:
            assert word in self.errors, (word, self.errors)
        return self.of("error")[0]


def strict_json(text: str) -> Any:
    """Read JSON that holds no NaN and no key twice."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


class Program:
    """Runs the program in a folder, with a home of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the environment: this one's, without what concerns the program, and with a home of its own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in UNSET and not name.startswith(("EMBTOOL_", "XDG_", "HF_"))
        }
        own = {
            "HOME": self.home,
            "USERPROFILE": self.home,
            "APPDATA": self.home,
            "LOCALAPPDATA": self.home,
            "XDG_CONFIG_HOME": self.home / "config",
            "XDG_CACHE_HOME": self.home / "cache",
            "HF_HOME": self.home / "hf",
        }
        fixed = {"HF_HUB_OFFLINE": "1", "COLUMNS": "100", "NO_COLOR": "1"}
        return kept | {name: str(path) for name, path in own.items()} | fixed | dict(changes or {})

    def __call__(
        self, *arguments: str | Path, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Answer:
        """Run it in this process; without `stdin` there is none."""
        out, err = io.BytesIO(), io.BytesIO()
        with pytest.MonkeyPatch.context() as patch, _kept_signals():
            for name in set(os.environ) - set(self.environment(env)):
                patch.delenv(name)
            for name, value in self.environment(env).items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, "utf-8", newline="\n"))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, "utf-8", newline="\n"))
            try:
                status = run_command([str(argument) for argument in arguments])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                written, complained = out.getvalue(), err.getvalue()
        return Answer(status, written, complained)

    def start(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        """Start it in a process of its own, its streams piped unless `settings` say otherwise."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "embtool", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(env),
            **{**streams, **settings},
        )

    def outside(
        self, *arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, **settings: Any
    ) -> Answer:
        """Run it in a process of its own."""
        with self.start(*arguments, env=env, **settings) as process:
            out, err = process.communicate(stdin, timeout=60)
        return Answer(process.returncode, out or b"", err or b"")


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Put back what the program does about being terminated."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, where it was not changed either
            signal.signal(signal.SIGTERM, before)
