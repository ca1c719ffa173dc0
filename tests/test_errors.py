from __future__ import annotations

import inspect
import re

import pytest

from embtool import errors
from embtool.errors import EmbtoolError

CLASSES: dict[str, type[EmbtoolError]] = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, EmbtoolError)
}

STATUS = {
    "EmbtoolError": 6,
    "SourceError": 5,
    "ModelNotFound": 3,
    "FileNotInModel": 3,
    "NoSuchFile": 3,
    "AccessDenied": 4,
    "Unreachable": 5,
    "LocalFailure": 7,
    "MissingExtra": 7,
    "TooLarge": 7,
    "FormatError": 6,
    "UnsupportedFormat": 6,
    "UnsupportedDType": 6,
    "ConfigError": 6,
    "UnsupportedRope": 6,
    "NoRope": 3,
    "TableNotFound": 3,
    "NoVocabulary": 3,
    "BadReference": 2,
    "InvalidArgument": 2,
    "Unlike": 2,
    "UnknownToken": 3,
    "TokenIdOutOfRange": 3,
}
"""The contract's exit statuses: a class here and none there, or the other way round, is a decision to be made."""


def test_every_class_has_the_status_of_the_contract() -> None:
    assert {name: kind.exit_status for name, kind in CLASSES.items()} == STATUS


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        matched = re.match(r"( {4,})([A-Z]\w+)(\s|$)", line)
        if matched is None:
            continue
        depth = len(matched[1])
        path = [step for step in path if step[0] < depth]
        drawn[matched[2]] = path[-1][1] if path else None
        path.append((depth, matched[2]))
    tree = {
        name: next((base.__name__ for base in kind.__bases__ if issubclass(base, EmbtoolError)), None)
        for name, kind in CLASSES.items()
    }
    assert drawn == tree


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_what_it_is_and_what_is_wrong(name: str) -> None:
    kind = CLASSES[name]
    assert kind.__doc__
    assert kind.__doc__.endswith(".")
    error = kind("the message", hint="try this")
    assert (str(error), error.message, error.hint) == ("the message", "the message", "try this")
    assert kind("m").hint is None


def test_some_are_what_python_programs_expect() -> None:
    assert issubclass(errors.UnknownToken, KeyError)
    assert issubclass(errors.TokenIdOutOfRange, IndexError)
    assert issubclass(errors.BadReference, ValueError)
