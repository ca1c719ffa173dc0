"""Run commands for the documentation and print what they printed: used by cog, in README.md and docs/.

A command runs on a terminal of its own, 100 columns wide and without colours, as its reader will run it, with an empty
cache and home. Where a page makes files and goes on with them, its commands share a folder, empty but for tools/.
"""

import atexit
import functools
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILL_CACHE = "embtool row id:0 > /dev/null 2>&1; find $EMBTOOL_CACHE -exec touch -d 2026-01-01T00:00:00Z {} + ; "
"""Before a document of the cache: something in it, of a date that is the same everywhere."""


def show(
    command: str,
    *,
    lines: int | None = None,
    decimals: int | None = None,
    stderr: bool = False,
    folder: str | None = None,
    status: int = 0,
) -> None:
    """Print a shell command and its output as a block of Markdown.

    `lines` cuts the output after that many lines, `decimals` each number after that many: further ones can differ from
    processor to processor; `stderr` shows its notes too; `folder` names the folder in which it runs, shared by several
    commands; `status` is the exit status that it must have.
    """
    shown = [line.rstrip() for line in run(command, stderr=stderr, folder=folder, status=status).splitlines()]
    if decimals is not None:
        shown = [re.sub(rf"(\.\d{{{decimals}}})\d+", r"\1…", line) for line in shown]
    cut = [*shown[:lines], "…"] if lines is not None and len(shown) > lines else shown
    print("\n".join(["```console", f"$ {command}", *"\n".join(cut).strip("\n").splitlines(), "```"]))


def document(command: str, *, fill_cache: bool = False) -> None:
    """Print a command and the JSON document that it prints: two entries of each list, four digits of each number."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(entry) for entry in value[:2]]
        if isinstance(value, dict):
            return {key: cut(entry) for key, entry in value.items()}
        return value if not isinstance(value, float) or value.is_integer() else float(f"{value:.4g}")

    text = json.dumps(cut(json.loads(run(FILL_CACHE * fill_cache + command))), ensure_ascii=False, indent=2)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    print(f"`{command}`:\n\n```json\n{text}\n```")


@functools.cache
def workplace(folder: str) -> Path:
    """Make a folder for the commands of a page; it is gone when all pages are written."""
    path = Path(tempfile.mkdtemp(prefix=f"{folder}-"))
    atexit.register(shutil.rmtree, path)
    (path / "tools").symlink_to(ROOT / "tools")
    return path


def run(
    command: str,
    *,
    stderr: bool = False,
    folder: str | None = None,
    status: int = 0,
    colour: bool = False,
    typed: Sequence[str] | None = None,
) -> str:
    """Run a shell command on a terminal and return what it printed; with `colour` as the terminal gets it.

    `typed` are lines for a command that asks, one at each of its prompts; then its input ends.
    """
    with tempfile.TemporaryDirectory() as home:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        fixed = {"HF_HUB_OFFLINE": "1", "COLUMNS": "100", "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore"}
        style = {"TERM": "xterm-256color"} if colour else {"TERM": "xterm", "NO_COLOR": "1"}
        reader, writer = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL if typed is None else writer,
            stdout=writer,
            stderr=writer if stderr else subprocess.DEVNULL,
            env={"PATH": path, "HOME": home, "EMBTOOL_CACHE": f"{home}/cache", **fixed, **style},
            cwd=None if folder is None else workplace(folder),
        )
        os.close(writer)
        output, lines = b"", iter(typed or ())
        while data := _read(reader):
            output += data
            if typed is not None and output.endswith(b"> "):
                os.write(reader, next((f"{line}\n" for line in lines), "\x04").encode())
        os.close(reader)
        if process.wait() != status:
            raise SystemExit(f"{command!r} failed with status {process.returncode}")
    text = output.decode().replace("\r\n", "\n").replace(home, "~")
    return text if colour else re.sub(r"\x1b\[[0-9;]*m", "", text)  # bold and dim stay without colours


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""
