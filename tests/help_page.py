"""What --help says of a command: an account of the command line that the reference had no part in."""

from __future__ import annotations

import os
import re

import pytest
from program import Program


def options_in_help(run: Program, *command: str) -> set[str]:
    """List the options of a command, read from its --help."""
    text = run(*command, "--help", env={"COLUMNS": "200"}).ok().text
    listed = re.findall(r"^  (?:(-\w), )?(--[\w-]+)", text, re.MULTILINE)
    assert listed
    return {name for entry in listed for name in entry if name}


def on_terminal(run: Program, *command: str) -> str:
    """Return what a command prints on a terminal, without its colours."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    shown = b""
    with run.start(*command, stdout=theirs, env={"TERM": "dumb", "COLUMNS": "80"}) as process:
        os.close(theirs)
        while part := _read(ours):
            shown += part
        assert process.wait(100) == 0
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""
