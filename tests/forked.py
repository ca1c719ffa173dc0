"""Running the program many times, each in a process of its own that is watched, limited, or killed at a chosen step.

One interpreter loads everything once (`serve`, below, run as a script) and forks for every run, so that a run costs
some hundredths of a second. The forked process can be watched through Python's audit events
(https://docs.python.org/3/library/audit_events.html): what it opened, imported, executed, connected to. And something
can happen to it at the n-th step that changes the disk: it is killed, before that step or in the middle of a write, or
the disk is full from there on. Linux only: it forks, and asks /proc what a descriptor is.

    with Forks() as forks:
        ended = forks.run("info", "small/", folder=models, env=..., mishap=Mishap("kill", 3, below=home))
        assert ended.status == -9 and ended.opened
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import ctypes
import errno
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

WATCHED = (
    "open",
    "import",
    "exec",
    "compile",
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.startfile",
    "ctypes.dlopen",
    "sqlite3.connect",
    "urllib.Request",
)
"""Events that are reported; a change of the disk is a step besides."""

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "shutil.rmtree")
"""Events that change the disk, beside an `open` for writing; each names a path first."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


FAILING = {
    "full": (errno.ENOSPC, {"os.remove", "os.rmdir", "os.rename"}),
    "denied": (errno.EACCES, {"os.remove", "os.rmdir", "write", "pwrite", "fsync", "fdatasync", "ftruncate"}),
}
"""What a step fails with, and which steps do not fail."""


@dataclass(frozen=True)
class Mishap:
    """What happens at the n-th step, counted from 0, that changes something below a folder.

    `kill` ends the process before the step, `half` in the middle of it where it is a write. `full` lets this step and
    all later ones fail as on a full disk, `denied` lets what needs a permission fail; on neither is it forbidden to
    remove a file. With `count` nothing happens: the steps are listed.
    """

    kind: str
    step: int
    below: str


@dataclass(frozen=True)
class Ended:
    """How a run ended, what it printed, what it did, and what it cost."""

    status: int
    out: bytes
    err: bytes
    seconds: float
    """Of the processor, not of the clock: a busy machine changes nothing."""
    megabytes: float
    """The most memory it had at a time."""
    events: Sequence[tuple[str, list[str]]] = field(default_factory=list)
    steps: Sequence[str] = field(default_factory=list)
    """What changed the disk, in order: `write`, `fsync`, `open`, `os.rename` and so on."""

    @property
    def opened(self) -> list[str]:
        """The paths of all files that were opened."""
        return [values[0] for event, values in self.events if event == "open"]

    def named(self, *events: str) -> list[list[str]]:
        """The arguments of some events."""
        return [values for event, values in self.events if event in events]


class Forks:
    """The interpreter that forks for each run."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def run(
        self,
        *arguments: str | Path,
        folder: Path,
        env: Mapping[str, str],
        stdin: bytes = b"",
        mishap: Mishap | None = None,
        watch: bool = False,
        most_bytes: int | None = None,
        is_mortal: bool = False,
    ) -> Ended:
        """Run the program in a folder; with `most_bytes` a file that grows beyond them kills it, as a signal does.

        With `is_mortal` permissions hold for it even if the tests are run by root.
        """
        job = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "env": dict(env),
            "stdin": base64.b64encode(stdin).decode(),
            "mishap": None if mishap is None else asdict(mishap),
            "watch": watch,
            "most_bytes": most_bytes,
            "is_mortal": is_mortal,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        for stream in ("out", "err"):
            answer[stream] = base64.b64decode(answer[stream])
        answer["events"] = [(event, values) for event, values in answer["events"]]
        return Ended(**answer)


# What follows runs in the interpreter that forks, and in what it forked.


def serve() -> None:
    """Load everything, then fork for each job that comes in on stdin."""
    with os.fdopen(os.dup(0), "rb") as jobs, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        _load()
        for line in jobs:
            answers.write(json.dumps(_run_forked(json.loads(line))).encode() + b"\n")
            answers.flush()


def _run_forked(job: Mapping[str, Any]) -> dict[str, Any]:
    """Fork for a job, wait for its end, and describe it."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(4)]
        files[0].write(base64.b64decode(job["stdin"]))
        files[0].seek(0)
        pid = os.fork()
        if pid == 0:
            _be_forked(job, [file.fileno() for file in files])
        _, status, usage = os.wait4(pid, 0)
        contents = []
        for file in files[1:]:
            file.seek(0)
            contents.append(file.read())
    report = [json.loads(text) for text in contents[2].splitlines()]
    return {
        "status": os.waitstatus_to_exitcode(status),
        "out": base64.b64encode(contents[0]).decode(),
        "err": base64.b64encode(contents[1]).decode(),
        "seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / 1024,
        "events": [entry for entry in report if isinstance(entry, list)],
        "steps": [entry for entry in report if isinstance(entry, str)],
    }


def _load() -> None:
    """Import what commands import, but nothing that starts threads or reads the environment."""
    from importlib import import_module  # noqa: PLC0415 - here and nowhere else

    from embtool.cli import COMMANDS  # noqa: PLC0415

    for command in COMMANDS:
        import_module(f"embtool.cli.{command.replace('-', '_')}")
    tables = ("tables.export", "tables.norms", "tables.survey", "tables.scan")
    formats = ("formats.gguf", "formats.static", "formats.recipes")
    vocabularies = ("vocabulary.files", "vocabulary.spm", "vocabulary.ranks")
    for module in ("model", *tables, *formats, *vocabularies, "hub.inventory"):
        import_module(f"embtool.{module}")
    for module in ("rich.table", "rich.text", "numkong", "tokenizers", "platformdirs.unix"):
        import_module(module)


def _be_forked(job: Mapping[str, Any], files: Sequence[int]) -> None:
    """Be the process of one run, and end with its status."""
    status = 70
    try:
        for place, file in enumerate(files[:3]):
            os.dup2(file, place)
        os.environ.clear()
        os.environ.update(job["env"])
        os.chdir(job["folder"])
        if job["most_bytes"] is not None:
            import resource  # noqa: PLC0415 - this file is imported on Windows, too

            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["most_bytes"], job["most_bytes"]))
        if job["is_mortal"] and os.geteuid() == 0:
            _drop_capabilities()
        watcher = _Watcher(files[3], job["mishap"], watch=job["watch"])
        from embtool.cli import run  # noqa: PLC0415 - after the environment is there

        if job["watch"] or job["mishap"] is not None:
            watcher.start()
        status = _run(job["arguments"], run)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - a bug of the program: shown as it would be
        import traceback  # noqa: PLC0415 - as above

        status = 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _drop_capabilities() -> None:
    """Give up what makes root more than an owner of files (capabilities(7)); the interpreter's own stay readable."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version of the call, this process
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


def _run(arguments: list[str], run: Callable[[list[str]], int]) -> int:
    """Run the command line, or with `-c` some code that may call it by the name `run`."""
    if arguments[:1] != ["-c"]:
        return run(arguments)
    names: dict[str, Any] = {"run": run}
    exec(arguments[1], names)  # noqa: S102 - code of a test
    return int(names.get("status", 0))


class _Watcher:
    """Writes down what happens, and lets something happen."""

    def __init__(self, report: int, mishap: Mapping[str, Any] | None, *, watch: bool) -> None:
        self.report = report
        self.mishap = None if mishap is None else Mishap(**mishap)
        self.watch = watch
        self.seen = 0
        self.busy = False

    def start(self) -> None:
        sys.addaudithook(self.hook)
        if self.mishap is not None:
            for name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate"):
                if hasattr(os, name):
                    setattr(os, name, self.stepped(getattr(os, name), name))
            builtins.open = io.open = self.open

    def hook(self, event: str, values: tuple[Any, ...]) -> None:
        if self.busy:
            return
        self.busy = True
        try:
            if self.watch and event in WATCHED:
                shown = [_shown(value) for value in values[:2]]
                if event == "open" and not shown[0].isdigit():  # a descriptor is open already
                    shown[0] = os.path.join(os.getcwd(), shown[0])  # noqa: PTH109, PTH118 - links and dots as they are
                self.note([event, shown])
            if self.mishap is not None:
                changes = event in CHANGES or (event == "open" and _is_writing(values))
                if changes and self.is_mine(values[0]):
                    self.step(event)
        finally:
            self.busy = False

    def note(self, entry: object) -> None:
        os_write(self.report, json.dumps(entry).encode() + b"\n")

    def is_mine(self, place: Any) -> bool:
        if isinstance(place, int):
            place = os.readlink(f"/proc/self/fd/{place}")  # noqa: PTH115 - what it names may be gone
        path = os.path.realpath(os.fsdecode(place))
        assert self.mishap is not None
        return path.startswith(os.path.realpath(self.mishap.below) + os.sep)

    def step(self, name: str, half: Callable[[], object] | None = None) -> None:
        """Count a step, and let happen what is to happen at this one."""
        mishap = self.mishap
        assert mishap is not None
        number, self.seen = self.seen, self.seen + 1
        self.note(name)
        if mishap.kind == "count" or number < mishap.step:
            return
        if mishap.kind in FAILING:
            code, spared = FAILING[mishap.kind]
            if name not in spared:
                raise OSError(code, os.strerror(code))
            return
        if half is not None and mishap.kind == "half":
            half()
        os.kill(os.getpid(), signal.SIGKILL)

    def stepped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Make a function of `os` that takes a descriptor count as a step."""

        def call(descriptor: int, *values: Any) -> Any:
            if not self.busy and self.is_mine(descriptor):
                half = None
                if "write" in name:
                    data = memoryview(values[0])
                    half = lambda: function(descriptor, data[: len(data) // 2], *values[1:])  # noqa: E731
                self.step(name, half)
            return function(descriptor, *values)

        return call

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *values: Any, **named: Any) -> Any:
        """Open a file so that each write that reaches the system is a step."""
        opened = io_open(file, mode, buffering, *values, **named)
        if isinstance(file, int) or not set(mode) & set("wax+") or not self.is_mine(file):
            return opened
        opened.close()
        raw = _Stepping(self, file, "a" if "a" in mode else "r+")
        if buffering == 0:
            return raw
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *values, **named)


class _Stepping(io.FileIO):
    """A file whose writes are steps."""

    def __init__(self, watcher: _Watcher, file: Any, mode: str) -> None:
        super().__init__(file, mode)
        self.watcher = watcher

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.watcher.step("write", lambda: io.FileIO.write(self, view[: len(view) // 2]))
        return super().write(data)


os_write, io_open = os.write, io.open


def _is_writing(values: tuple[Any, ...]) -> bool:
    mode, flags = values[1], values[2]
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(flags & WRITING)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if hasattr(value, "co_filename"):
        return str(value.co_filename)
    return str(value)[:2000]


if __name__ == "__main__":
    serve()
