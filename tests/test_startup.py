"""What a command loads: no time is measured, modules are counted, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LISTED = """
import json, sys
from embtool.cli import run
status = run(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""

COMPLETE = "complete"
"""What stands before the words that a shell asks to be completed."""

ALWAYS = {"typer", "platformdirs"}

BUDGETS: dict[tuple[str, ...], tuple[int, set[str]]] = {
    ("--version",): (8, {"typer"}),
    ("info", "mini", "--json"): (82, ALWAYS),
    ("rope", "--json"): (100, {*ALWAYS, "numpy"}),
    ("tokens", "king", "-m", "mini", "--json"): (82, {*ALWAYS, "tokenizers"}),
    ("row", "king", "-m", "mini", "--json"): (84, {*ALWAYS, "numpy"}),
    ("neighbors", "king", "-m", "mini", "--json"): (88, {*ALWAYS, "numpy", "numkong"}),
    (COMPLETE, "inf"): (12, ALWAYS),
    (COMPLETE, "info", "min"): (87, ALWAYS),
    (COMPLETE, "neighbors", "kin"): (86, ALWAYS),
    (COMPLETE, "row", "id:70"): (82, ALWAYS),
}
"""For each command line: modules of embtool at most, and libraries that may be loaded."""

LIBRARIES = {
    "numpy", "numkong", "typer", "rich", "pydantic", "tokenizers", "sentencepiece", "tiktoken", "gguf", "pyarrow",
    "platformdirs", "huggingface_hub", "httpx2", "httpcore2", "resvg_py", "jinja2", "regex",
}  # fmt: skip


@pytest.mark.parametrize("words", BUDGETS, ids=" ".join)
def test_a_command_loads_no_more_than_it_needs(words: tuple[str, ...]) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    if words[0] == COMPLETE:
        env |= {"_EMBTOOL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "\n".join(("embtool", *words[1:]))}
    typed = () if words[0] == COMPLETE else words
    done = subprocess.run([sys.executable, "-c", LISTED, *typed], env=env, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert status == 0
    assert done.stdout
    most, allowed = BUDGETS[words]
    own = [name for name in modules if name.split(".")[0] == "embtool"]
    assert len(own) <= most, own
    assert {name.split(".")[0] for name in modules} & LIBRARIES <= allowed
