"""The reference under docs/reference says what the program says of itself, and leaves nothing out.

That its examples print what is written there is held by `make check-docs`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
from pathlib import Path

import pytest
import reference
from help_page import options_in_help
from jsonschema import Draft202012Validator
from program import Program

import embtool
from embtool import cli
from embtool.cli.help import EXAMPLES
from embtool.errors import EmbtoolError, SourceError
from embtool.schemas import SHAPES, schema

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "reference"
SOURCE = Path(embtool.__file__).parent
COMMANDS = [command for top in reference.program().commands for command in top.walk()]


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.commands], ids=lambda one: one.name)
def test_every_option_of_a_command_stands_in_its_section(command: reference.Command, run: Program) -> None:
    below = section(page("commands"), f"embtool {command.name}")
    written = set(re.findall(r"--?[a-z][a-z-]*", " ".join(re.findall(r"^(?:\||- \[).*?$", below, re.MULTILINE))))
    options = options_in_help(run, *command.name.split()) - {"--help", "-h"}
    assert options, command.name
    assert options <= written


@pytest.mark.parametrize("title", reference.SHARED)
def test_the_shared_options_are_described_once(title: str) -> None:
    described = section(page("commands"), title)
    for option in reference.bundle(reference.SHARED[title][1]):
        assert f"`{option.written}`".replace("|", "\\|") in described


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == {command.name for command in COMMANDS}
    without = {name for name, examples in EXAMPLES.items() if not examples}
    assert without == {command.name for command in COMMANDS if command.commands}


@pytest.mark.parametrize("name", ["contents", "shared_options", "top_options"])
def test_what_is_quick_to_write_is_up_to_date(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(reference, name)()
    assert capsys.readouterr().out.strip() in page("commands")


# --- statuses and errors ----------------------------------------------------------------------------------------------


def test_every_status_is_told() -> None:
    of_errors = {kind.exit_status for _, kind in reference.tree()}
    of_program = {cli.OUTPUT_GONE, cli.USAGE, cli.DISK_FULL, cli.INTERRUPTED, cli.TERMINATED}
    assert reference.STATUSES.keys() == {0, 1} | of_errors | of_program
    assert reference.OWN_STATUSES.keys() <= {command.name for command in COMMANDS}


@pytest.mark.parametrize("name", ["error_tree", "error_classes"])
def test_the_page_of_errors_is_up_to_date(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(reference, name)()
    assert capsys.readouterr().out.strip() in page("errors")


def test_every_error_is_really_raised() -> None:
    assert reference.CAUSES.keys() == {kind for _, kind in reference.tree()} - {EmbtoolError, SourceError}


# --- environment ------------------------------------------------------------------------------------------------------


OF_COMPLETION = re.compile(r"_EMBTOOL_|_TYPER_COMPLETE_")
"""Variables by which a shell and the program talk while a word is completed: nobody sets them by hand."""


def names_read(path: Path) -> set[str]:
    """The environment variables that a module reads, by the syntax tree; an f-string's hole is `*`."""
    tree = ast.parse(path.read_text("utf-8"))

    def environment(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr.lstrip("_") == "environ"

    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if environment(node.func.value) or node.func.attr == "getenv":
                found.append(node.args[0])
        elif isinstance(node, ast.Subscript) and environment(node.value):
            found.append(node.slice)
        elif isinstance(node, ast.Compare) and environment(node.comparators[0]):
            found.append(node.left)
    module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    return {_name(key, module) for key in found}


def _name(key: ast.expr, module: str) -> str:
    if isinstance(key, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in key.values)
    if isinstance(key, ast.Name):
        return str(getattr(importlib.import_module(module), key.id))
    assert isinstance(key, ast.Constant), ast.dump(key)
    return str(key.value)


def test_every_variable_that_the_program_reads_is_told() -> None:
    read = {name for path in SOURCE.rglob("*.py") for name in names_read(path) if not OF_COMPLETION.match(name)}
    told = {variable.name for variable in reference.VARIABLES if variable.reader == "embtool"}
    threads = {name for name in told if name.endswith("_NUM_THREADS")}
    assert read - {"*_NUM_THREADS"} == told - threads
    text = (SOURCE / "cli" / "__init__.py").read_text("utf-8")
    assert {f"{library}_NUM_THREADS" for library in re.findall(r'"([A-Z]+)"[,)]', text)} == threads


def test_every_variable_that_the_program_names_is_told() -> None:
    named = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r"\b(?:EMBTOOL|HF)_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    assert named - {"HF_HUB"} <= {variable.name for variable in reference.VARIABLES}


@pytest.mark.parametrize("variable", [one for one in reference.VARIABLES if one.reader != "embtool"], ids=str)
def test_the_library_named_reads_the_variable(variable: reference.Variable) -> None:
    found = importlib.util.find_spec(variable.reader)
    assert found is not None
    assert found.origin is not None
    texts = [path.read_text("utf-8") for path in Path(found.origin).parent.rglob("*.py")]
    wanted = "getproxies" if variable.name == "HTTPS_PROXY" else variable.name
    assert any(wanted in text for text in texts)


def test_the_page_of_variables_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    reference.variables()
    assert capsys.readouterr().out.strip() in page("environment")


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_the_examples_of_a_document_fit_its_schema(name: str) -> None:
    shape = SHAPES[name]
    shapes = shape if isinstance(shape, tuple) else (shape,)
    assert len(reference.DOCUMENTS[name]) == len(shapes)
    below = section(page("json"), f"embtool/{name}@1")
    drawn = re.findall(r"```ts\n(.*?)```", below, re.DOTALL)
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", below, re.DOTALL)]
    assert len(drawn) == len(shapes)
    assert examples
    for example in examples:
        assert example["schema"] == f"embtool/{name}@1"
        Draft202012Validator(schema(name)).validate(example)
        assert set(example) <= set(re.findall(r"(\w+)\??:", " ".join(drawn))), "a key that is not drawn"


def test_every_key_of_a_shape_is_drawn() -> None:
    assert reference.in_line({"a?": "integer?", "b": ["number|string"], "...": "any"}) == (
        "{a?: integer | null, b: (number | string)[], [key: string]: any}"
    )
    lines = reference.drawn({f"key{place}": ("integer", [{"inner": "string"}]) for place in range(5)})
    assert lines == ["{", *(f"  key{place}: integer | {{inner: string}}[]," for place in range(5)), "}"]


def test_an_example_is_shortened_and_stays_json() -> None:
    value = {"numbers": [1 / 3, 2, 3], "nested": [{"text": "x" * 60}, {"text": "y" * 60}], "none": None}
    assert json.loads("\n".join(reference.written(reference.shortened(value)))) == {
        "numbers": [0.333333, 2],
        "nested": [{"text": "x" * 60}, {"text": "y" * 60}],
        "none": None,
    }


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_plain_text_becomes_markdown() -> None:
    assert reference.prose("a_b --plus `x_y` on https://example.org/a_b, [1] - 2") == (
        r"a\_b `--plus` `x_y` on <https://example.org/a_b>, \[1\] - 2"
    )
    assert reference.anchor("embtool/tokens@1 and B") == "embtooltokens1-and-b"
