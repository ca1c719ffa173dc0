"""The pages leave nothing out, and what they point at is there. That commands print what stands there, cog checks."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import re
import shlex
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from program import Program

import embtool
from embtool import cli, errors
from embtool.cli.help import EXAMPLES
from embtool.errors import EmbtoolError
from embtool.hub import HubSource
from embtool.positions import Rope

ROOT = Path(__file__).parent.parent
DOCS, SOURCE = ROOT / "docs", ROOT / "src" / "embtool"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, EmbtoolError)]


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text("utf-8")


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_names_documented_are_the_public_ones() -> None:
    text = reference("python")
    for written in (r"^### (\w+)$", r"^\| \[`(\w+)`\]", r"^\.\. auto\w+:: embtool\.(\w+)$"):
        assert sorted(re.findall(written, text, re.MULTILINE)) == sorted(embtool.__all__), written


def test_the_examples_in_python_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(re.findall(r"^```pycon\n(.*?)^```", reference("python"), re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "python.md", "python.md", 0)
    assert len(test.examples) > 30
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)


def test_every_command_has_its_section_and_an_example() -> None:
    assert {name.split()[0] for name in EXAMPLES} == set(cli.COMMANDS)
    sections = set(re.findall(r"^#+ embtool (.+)$", reference("commands"), re.MULTILINE))
    assert sections == set(EXAMPLES)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_its_section_and_stands_beside_its_status(kind: type[EmbtoolError]) -> None:
    name, about = kind.__name__, (kind.__doc__ or "").split("\n")[0]
    text = reference("errors").replace("\\", "")
    assert f"## {name}\n\n{about} Exit status {kind.exit_status}; a kind of " in text
    row = re.search(rf"^\| {kind.exit_status} \|.*$", reference("exit-statuses"), re.MULTILINE)
    assert row is not None
    assert f"[`{name}`](errors.md#{name.lower()})" in row[0]


def test_every_status_is_told() -> None:
    told = {int(status) for status in re.findall(r"^\| (\d+) \|", reference("exit-statuses"), re.MULTILINE)}
    of_program = {0, 1, cli.OUTPUT_GONE, cli.USAGE, cli.DISK_FULL, cli.INTERRUPTED, cli.TERMINATED}
    assert told == of_program | {kind.exit_status for kind in KINDS}


def test_every_variable_of_the_program_is_told() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", reference("environment"), re.MULTILINE))
    text = "\n".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    found = set(re.findall(r"\b(?:EMBTOOL|HF|XDG)_[A-Z_]*[A-Z]\b|(?<=environ.get\(\")[A-Z_]+", text)) - {"HF_HUB"}
    assert {name for name in found if not name.startswith("_")} <= rows.keys()
    for name, reader in rows.items():
        assert reader != "embtool" or (name in text or name.removesuffix("_NUM_THREADS") in text), name


def test_every_document_has_an_example_that_fits_its_schema(run: Program) -> None:
    names = [line.split("\t")[1] for line in run("schema", "--tsv", "--no-header").ok().text.splitlines()]
    sections = re.split(r"^## (embtool/\S+)$", reference("json"), flags=re.MULTILINE)[1:]
    assert sections[::2] == names
    for name, section in zip(names, sections[1::2], strict=True):
        schema = json.loads(run("schema", name.removeprefix("embtool/").removesuffix("@1")).ok().text)
        examples = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
        assert examples, name
        for example in examples:
            Draft202012Validator(schema).validate(json.loads(example))


# --- README, pictures -------------------------------------------------------------------------------------------------


def test_the_two_commands_of_the_readme_are_what_the_recipes_and_the_checks_run() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    main_job, tests = [block for block in blocks if "-m venv" in block]
    assert main_job.endswith("embtool neighbors strawberry")
    assert tests in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    recipes = (ROOT / "Makefile").read_text("utf-8").replace("$(PYTHON)", "python3").replace("$(BIN)", ".venv/bin")
    for step in f"{main_job} && {tests}".split(" && "):
        assert step in recipes


@pytest.mark.parametrize("path", sorted((DOCS / "pictures").glob("*.svg")), ids=lambda path: path.stem)
@pytest.mark.few(3)
def test_a_picture_stands_alone_and_is_what_its_recipe_makes(run: Program, tmp_path: Path, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ET.fromstring(text).attrib["aria-label"]  # noqa: S314 - written here
    assert not re.search(r"url\(|@import|@font-face|href|<script|<image|/tmp|/root|/home", text)
    recipe = re.search(
        rf"^\t\S*/embtool (.*) --force -o docs/pictures/{path.name}$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    if recipe is None:
        capture = pytest.importorskip("capture", exc_type=ImportError, reason="no terminals to capture here")
        again = capture.screen(path.stem)
    else:
        run(*shlex.split(recipe[1]), "-o", tmp_path / "x.svg").ok()
        again = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert re.findall(r"<text[^>]*>(.*?)</text>", again) == re.findall(r"<text[^>]*>(.*?)</text>", text)


@pytest.mark.skipif(sys.platform == "win32", reason="commands of the documentation are run on a terminal of Unix")
def test_commands_of_a_page_share_a_folder_and_must_end_as_said(capsys: pytest.CaptureFixture[str]) -> None:
    show = importlib.import_module("show")
    show.show("echo one > made", folder="test-page")
    show.show("cat made; ls; echo no such row >&2; exit 3", folder="test-page", stderr=True, status=3)
    assert "one\nmade  tools\nno such row\n```" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="failed with status 3"):
        show.show("exit 3")


# --- what prose points at ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file = target.partition("#")[0]
        assert not file or file.startswith(("http:", "https:", "mailto:")) or (page.parent / file).exists(), target


def prose() -> Iterator[tuple[Path, str]]:
    """Every page, and every docstring and comment of the source."""
    for page in PAGES:
        if page.name != "changelog.md":  # what was there once may be named there
            yield page, re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for path in SOURCE.rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield path, node.value.value
        yield path, "\n".join(re.findall(r"# (.*)$", source, re.MULTILINE))


MODULES = {path.stem for path in SOURCE.iterdir()}
ENDINGS = {"py", "md", "json", "jinja", "safetensors", "model"}
"""What is the end of a file's name, not a thing in a module."""

FOREIGN = {
    "bin_to_vec.py",
    "convert_hf_to_gguf.py",
    "convert_llama_ggml_to_gguf.py",
    "encoder.py",
    "modeling_x.py",
    "numpy.py",
    "openai_public.py",
}
FOREIGN |= {"tensor_mapping.py", "tokenization_qwen.py", "tokenizer.py", "cli/x.py", "formats/x.py"}
"""Files of other projects that are named without an address, and those that are still to be written."""

HELD = (embtool.open_model("mini"), HubSource("org/model", offline=True), Rope)
"""What prose names as `model.config`, `source.cost`, `positions.kind`."""


def named() -> Iterator[tuple[Path, str]]:
    """What prose names in code: a Python file, a page, a thing of the package."""
    for path, text in prose():
        text = re.sub(r"https?://\S+", "", text)  # noqa: PLW2901 - another project's
        for word in re.findall(r"(?<![\w/.-])(?:[\w-]+/)*[\w-]+\.(?:py|md)\b(?![\w/])", text):
            yield path, word
        for word in re.findall(r"\bembtool(?:\.\w+)+", text):
            yield path, word
        for word in re.findall(r"`((?:\w+\.)+\w+)(?:\([^`]*\))?`", text):
            if word.split(".")[0] in MODULES and word.rpartition(".")[2] not in ENDINGS:
                yield path, f"embtool.{word}"


def exists(path: Path, word: str) -> bool:
    """Whether a file is there, from the root, the package or the folder of the one that names it; or a name is."""
    if word.endswith((".py", ".md")):
        known = (ROOT / word, SOURCE / word, SOURCE.parent / word, DOCS / word, path.parent / word)
        return any(one.exists() for one in known) or ("/" not in word and word in ALL_FILES)
    parts = word.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return any(part in dir(held) for held in HELD)
            found = getattr(found, part)
        return True
    return False


ALL_FILES = {
    path.name for folder in (SOURCE, DOCS, ROOT / "tests", ROOT / "tools", ROOT / "fuzz") for path in folder.rglob("*")
}


def test_every_file_and_name_in_prose_exists() -> None:
    found = set(named())
    assert len(found) > 100
    missing = {
        (str(path.relative_to(ROOT)), word) for path, word in found if word not in FOREIGN and not exists(path, word)
    }
    assert not missing
