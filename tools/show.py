"""Run a command for the documentation and print it with what it printed: used by cog, in README.md and docs/.

The command runs on a terminal of its own, 100 columns wide and without colours, so that a reader sees what they will
see; with an empty cache and home, so that what was done on this machine before does not show.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = 100


def show(command: str, *, lines: int | None = None, stderr: bool = False) -> None:
    """Print a command of embtool, or a pipe of such, and its output as a block of Markdown.

    `lines` cuts the output after that many lines, and says so; `stderr` shows its notes too.
    """
    text = run(command, stderr=stderr)
    shown = text.splitlines()
    if lines is not None and len(shown) > lines:
        shown = [*shown[:lines], "…"]
    print("```console")
    print(f"$ {command}")
    print("\n".join(line.rstrip() for line in shown).strip("\n"))
    print("```")


def run(command: str, *, stderr: bool = False) -> str:
    """Run a shell command on a terminal and return what it printed."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "HOME": home,
            "HF_HUB_OFFLINE": "1",
            "EMBTOOL_CACHE": f"{home}/cache",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm",
            "NO_COLOR": "1",
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
        )
        os.close(writer)
        output = b"".join(iter(lambda: _read(reader), b""))
        os.close(reader)
        if process.wait() != 0:
            raise SystemExit(f"{shlex.quote(command)} failed with status {process.returncode}")
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode().replace("\r\n", "\n"))  # bold and dim stay without colours


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""
