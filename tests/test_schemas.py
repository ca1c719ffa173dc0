"""The JSON Schemas hold what the program really prints, and they name every key of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from program import Program

from embtool.answers.schema import schema_of
from embtool.cli import COMMANDS
from embtool.cli.schema import kinds_of
from embtool.questions import ANSWERS

GOLDEN = Path(__file__).parent / "golden"

LIVE: dict[str, list[str]] = {
    "info-bundled": ["info", "mini"],
    "input-bundled": ["input", "king and queen", "-m", "mini"],
    "rope-bundled": ["rope", "--pos", "1000", "-m", "mini"],
    "rope-relative": ["rope", "--relative", "7", "3", "-m", "mini"],
    "rope-golden": ["rope", "mini", "--golden", "-"],
    "rope-judge": ["rope", "--dim", "4", "--judge", "-"],
    "vocab-count": ["vocab", "-m", "small/", "--count", "questions.txt"],
    "rope-token": ["rope", "small/", "--token", " king", "--pos", "5"],
    "norms-bare": ["norms", "-m", "bare/"],
    "norms-list": ["norms", "--list", "-m", "small/"],
    "row-bare": ["row", "id:3", "-m", "bare/"],
    "row-pooled": ["row", "king and queen", "--pool", "mean", "-m", "small/"],
    "vocab-padding": ["vocab", "--category", "padding", "-m", "small/"],
    "undertrained-padding": ["undertrained", "--padding", "--percent", "100", "-m", "small/"],
    "similarity-zero": ["similarity", "!", " king", "-m", "small/"],
    "check-deep": ["check", "--deep", "tied/"],
    "cache-ls": ["cache", "ls"],
    "cache-rm": ["cache", "rm", "--all"],
    "cache-verify": ["cache", "verify"],
    "learn-bert": ["learn", "all", "-m", "bert/"],
    "use": ["use"],
}

STDIN = {"rope-judge": b'{"positions": [1, 2], "inv_freq": [1, 0.1]}'}
"""What is piped in."""


def schema(name: str) -> dict[str, Any]:
    return schema_of(kinds_of(name), name)


def documents() -> set[str]:
    return {kind.command for command in ANSWERS for kind in kinds_of(command)}


def closed(found: Any) -> Any:
    """The same schema, where every object may have only the keys that are named."""
    if isinstance(found, list):
        return [closed(entry) for entry in found]
    if not isinstance(found, dict):
        return found
    inner = {key: closed(entry) for key, entry in found.items()}
    if found.get("type") == "object" and isinstance(found.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner


def check(document: dict[str, Any], command: str) -> None:
    name = document["schema"].removeprefix("embtool/").removesuffix("@1")
    assert name in {kind.command for kind in kinds_of(command)}, (name, command)
    Draft202012Validator(closed(schema(name))).validate(document)
    Draft202012Validator(schema(command)).validate(document)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_documents_fit(path: Path) -> None:
    text = path.read_text("utf-8")
    if path.stem.startswith("schema-") and path.stem != "schema-list":
        return  # a schema, not a document of embtool's
    check(json.loads(text.splitlines()[0]), path.stem.split("-")[0])


@pytest.mark.parametrize("case", LIVE)
@pytest.mark.few(15)
def test_live_documents_fit(case: str, run: Program) -> None:
    answer = run(*LIVE[case], "--json", stdin=STDIN.get(case))
    assert answer.status in (0, 1), answer.errors
    check(answer.document, LIVE[case][0])


def test_every_command_has_a_schema() -> None:
    assert COMMANDS.keys() - ANSWERS.keys() == {"export", "view"}, "they write files"
    assert ANSWERS.keys() - COMMANDS.keys() == {"plan"}


def test_every_document_is_held_against_something_printed(run: Program) -> None:
    golden = {
        json.loads(path.read_text("utf-8").splitlines()[0]).get("schema")
        for path in GOLDEN.glob("*.json")
        if path.stem != "schema-row"
    }
    cases = ("cache-ls", "cache-rm", "cache-verify", "rope-golden", "rope-judge", "vocab-count")
    live = {run(*LIVE[case], "--json", stdin=STDIN.get(case)).document["schema"] for case in cases}
    assert documents() - {str(name).removeprefix("embtool/").removesuffix("@1") for name in golden | live} == {"plan"}


@pytest.mark.parametrize("command", [*ANSWERS])
def test_every_schema_is_one(command: str, run: Program) -> None:
    printed = run("schema", command).ok().text
    Draft202012Validator.check_schema(json.loads(printed))
    assert json.loads(printed)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_wrong_document_does_not_fit(run: Program) -> None:
    document = run("row", "king", "--json", "-m", "small/").ok().document
    for wrong in (
        {**document, "schema": "embtool/row@2"},
        {key: value for key, value in document.items() if key != "tensor"},
        {**document, "rows": [{**document["rows"][0], "id": "8"}]},
    ):
        with pytest.raises(ValidationError):
            Draft202012Validator(schema("row")).validate(wrong)


def test_more_keys_are_no_fault(run: Program) -> None:
    document = run("row", "king", "--json", "-m", "small/").ok().document
    Draft202012Validator(schema("row")).validate({**document, "more": 1})


def test_what_has_no_schema_is_said(run: Program) -> None:
    run("schema", "export").refused(2, "writes files")
    run("schema", "nothing").refused(2, "'nothing'")
    run("schema", "row", "--tsv").refused(2, "JSON")
