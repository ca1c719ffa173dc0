"""Run a command for the documentation and print it with what it printed: used by cog, in README.md and docs/.

The command runs on a terminal of its own, 100 columns wide and without colours, so that a reader sees what they will
see; with an empty cache and home, so that what was done on this machine before does not show. Where a page makes files
and goes on with them, its commands share a folder, which is empty at first but for the project's tools.
"""

import atexit
import functools
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = 100
ROOT = Path(__file__).parent.parent


def show(
    command: str, *, lines: int | None = None, stderr: bool = False, folder: str | None = None, status: int = 0
) -> None:
    """Print a command of embtool, or a pipe of such, and its output as a block of Markdown.

    `lines` cuts the output after that many lines, and says so; `stderr` shows its notes too; `folder` names a folder
    that several commands share, and in which this one runs; `status` is the exit status that it must have.
    """
    text = run(command, stderr=stderr, folder=folder, status=status)
    shown = text.splitlines()
    if lines is not None and len(shown) > lines:
        shown = [*shown[:lines], "…"]
    print("```console")
    print(f"$ {command}")
    if shown:
        print("\n".join(line.rstrip() for line in shown).strip("\n"))
    print("```")


def listing(file: str) -> None:
    """Print a file of the project as a block of Markdown."""
    print(f"```{Path(file).suffix.removeprefix('.').replace('py', 'python')}")
    print((ROOT / file).read_text("utf-8").rstrip("\n"))
    print("```")


@functools.cache
def workplace(folder: str) -> Path:
    """Make a folder for the commands of a page; it is gone when all pages are written."""
    path = Path(tempfile.mkdtemp(prefix=f"{folder}-"))
    atexit.register(shutil.rmtree, path)
    (path / "tools").symlink_to(ROOT / "tools")
    return path


def run(command: str, *, stderr: bool = False, folder: str | None = None, status: int = 0, colour: bool = False) -> str:
    """Run a shell command on a terminal and return what it printed; with `colour` as the terminal gets it."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "HOME": home,
            "HF_HUB_OFFLINE": "1",
            "EMBTOOL_CACHE": f"{home}/cache",
            "COLUMNS": str(COLUMNS),
            **({"TERM": "xterm-256color"} if colour else {"TERM": "xterm", "NO_COLOR": "1"}),
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
        }
        reader, writer = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer if stderr else subprocess.DEVNULL,
            env=environment,
            cwd=None if folder is None else workplace(folder),
        )
        os.close(writer)
        output = b"".join(iter(lambda: _read(reader), b""))
        os.close(reader)
        if process.wait() != status:
            raise SystemExit(f"{shlex.quote(command)} failed with status {process.returncode}")
    text = output.decode().replace("\r\n", "\n").replace(home, "~")
    return text if colour else re.sub(r"\x1b\[[0-9;]*m", "", text)  # bold and dim stay without colours


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""
