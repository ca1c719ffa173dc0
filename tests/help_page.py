"""What --help says of a command: an account of the command line that the reference had no part in."""

from __future__ import annotations

import re

from program import Program


def options_in_help(run: Program, *command: str) -> set[str]:
    """List the options of a command, read from the panels of its --help."""
    text = run(*command, "--help", env={"COLUMNS": "200"}).ok().text
    listed = re.findall(r"^│ (?:\* )? *(--?\S+(?: +-\w\b)?)", text, re.MULTILINE)
    assert listed
    return {name for entry in listed for name in entry.split()}
