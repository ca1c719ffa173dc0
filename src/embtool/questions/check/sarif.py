"""Findings as SARIF 2.1.0, which code hosts read (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html)."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import embtool
from embtool.answers import plain
from embtool.answers.text import safe
from embtool.questions.check.rule import RULES, Finding, Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
"""What SARIF calls the severities."""

WHOLE = "config.json"
"""The file that a finding about no one file is shown at: a code host shows none without a place."""


def to_sarif(findings: Iterable[Finding], folder: str = "") -> str:
    """Write findings as a SARIF log of one run; `folder` is where the model's files are, from the repository's top."""
    names = list(RULES)
    run = {
        "tool": {
            "driver": {
                "name": "embtool",
                "semanticVersion": embtool.__version__,
                "rules": [
                    {
                        "id": rule.name,
                        "shortDescription": {"text": rule.summary},
                        "fullDescription": {"text": rule.why},
                        "help": {"text": rule.advice or rule.why},
                        "defaultConfiguration": {"level": LEVELS[rule.severity]},
                    }
                    for rule in RULES.values()
                ],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(found, names.index(found.rule), folder) for found in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(found: Finding, index: int, folder: str) -> dict[str, Any]:
    """Describe a finding; its place is a file, and the field or the tensor in it by name."""
    path = "/".join(part for part in (folder, found.file or WHOLE) if part)
    named = [(found.field, "member"), (found.tensor, "resource")]
    names = [{"fullyQualifiedName": safe(name), "kind": kind} for name, kind in named if name]
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(path)}, "region": {"startLine": 1}},
    }
    return {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": LEVELS[found.severity],
        "message": {"text": safe(". ".join(part for part in (found.message, found.advice) if part))},
        "locations": [{**place, "logicalLocations": names} if names else place],
        "properties": {"ids": plain(found.ids)},
    }
