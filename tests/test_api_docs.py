"""docs/reference/python.md documents the public names, no more and no fewer, and its examples run."""

from __future__ import annotations

import builtins
import doctest
import inspect
import re
from pathlib import Path

import pytest
import reference

import embtool
from embtool import errors

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "python.md"
TEXT = PAGE.read_text("utf-8")
BLOCK = re.compile(r'reference\.api\("(\w+)"\) \]\]\] -->\n(.*?)\n<!-- \[\[\[end\]\]\] -->', re.DOTALL)


def test_the_names_documented_are_the_public_ones() -> None:
    headings = re.findall(r"^### (\w+)$", TEXT, re.MULTILINE)
    assert sorted(headings) == sorted(embtool.__all__)
    assert [name for name, _ in BLOCK.findall(TEXT)] == headings
    assert set(re.findall(r"^\| \[`(\w+)`\]", TEXT, re.MULTILINE)) == set(embtool.__all__)


@pytest.mark.parametrize("name", embtool.__all__)
def test_what_is_said_of_a_name_is_its_source(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference.api(name)
    assert dict(BLOCK.findall(TEXT))[name] == capsys.readouterr().out.rstrip("\n")


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(re.findall(r"^```pycon\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, PAGE.name, 0)
    assert len(test.examples) > 30
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", embtool.__all__)
def test_every_public_member_says_what_it_is(name: str) -> None:
    found = getattr(embtool, name)
    members = {name: found}
    if inspect.isclass(found):
        members |= {f"{name}.{key}": value for key, value in vars(found).items() if not key.startswith("_")}
    for path, member in members.items():
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member
        if inspect.isclass(function) or inspect.isfunction(function):
            text = inspect.getdoc(function)
            assert text, path
            assert re.match(r"[A-Z].*[.:]$", text.split("\n\n")[0].replace("\n", " ")), path
            raised = re.search(r"Raises:\n(.*)", text, re.DOTALL)
            for kind in re.findall(r"^ +(\w+): ", raised[1], re.MULTILINE) if raised else ():
                assert hasattr(errors, kind) or hasattr(builtins, kind), (path, kind)


@pytest.mark.parametrize("name", ["Token", "Neighbors", "EmbeddingTable"])
def test_every_field_is_described(name: str) -> None:
    kind = getattr(embtool, name)
    described = re.findall(r"^ {4}(\w+): ", (inspect.getdoc(kind) or "").split("Attributes:")[1], re.MULTILINE)
    assert described == [field for field in kind.__dataclass_fields__ if field != "_"]
