"""What holds for every module of the source: how long it is, what it leaves to others, what it may touch.

All of it is parsed once. A bound here is what has been reached: lower it when you reach less, never raise it.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import embtool

SOURCE = Path(embtool.__file__).parent

LONGEST_MODULE, LONGEST_FUNCTION = 500, 60
"""Lines."""

USED_ONCE = 0.133
"""The part of all functions that are private and named at one place besides their own, or, by a decorator, at none."""


@cache
def modules() -> dict[Path, list[ast.AST]]:
    """Every module with all that stands in it."""
    return {path: [*ast.walk(ast.parse(path.read_text("utf-8")))] for path in SOURCE.rglob("*.py")}


def test_modules_and_functions_are_short() -> None:
    for path, nodes in modules().items():
        assert path.read_text("utf-8").count("\n") <= LONGEST_MODULE, path
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, (path, node.name)


def test_few_functions_are_a_mere_step_of_another() -> None:
    """A helper that is called once earns its name by hiding a thought."""
    functions = once = 0
    for nodes in modules().values():
        named = Counter(node.id for node in nodes if isinstance(node, ast.Name))
        named += Counter(node.attr for node in nodes if isinstance(node, ast.Attribute))
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        functions += len(names)
        once += sum(name.startswith("_") and not name.startswith("__") and named[name] <= 1 for name in names)
    assert once <= USED_ONCE * functions, f"{once} of {functions}"


def test_of_huggingface_hub_only_constants_are_used() -> None:
    """Whatever else it offers may speak to a network on its own."""
    used = set()
    for nodes in modules().values():
        for node in nodes:
            if isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names if alias.name.startswith(("huggingface_hub", "hf_xet"))}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("huggingface_hub", "hf_xet")):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert used == {"huggingface_hub.constants"}


def test_what_is_private_of_others_is_touched_in_one_place() -> None:
    for path, nodes in modules().items():
        if path.name in ("typer_internals.py", "line.py"):  # the latter reads HTTP_PROXY as httpx2 does, tested so
            continue
        for node in nodes:
            named = []
            if isinstance(node, ast.ImportFrom):
                named = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Import):
                named = [part for alias in node.names for part in alias.name.split(".")]
            private = [name for name in named if name.startswith("_") and not name.startswith("__")]
            assert not private, (path, private)
            assert not (isinstance(node, ast.Attribute) and node.attr == "type_descriptor"), path


def test_nobody_asks_pathlib_whether_something_is_there() -> None:
    """`Path.exists` and its like raise where a folder may not be entered; `embtool.storage.places` says so shortly."""
    asked = {"exists", "is_file", "is_dir", "is_symlink", "is_mount", "samefile"}
    found = [
        f"{path.name}:{node.lineno}"
        for path, nodes in modules().items()
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in asked
        # but of an entry of os.scandir
        if not any(keyword.arg == "follow_symlinks" for keyword in node.keywords)
    ]
    assert found == []
