"""The JSON Schema (draft 2020-12) of an answer's document, from the types of its fields.

Keys named by an answer are API. A document may hold more than its schema names, and a reader must not mind.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from embtool.answers.answer import Answer
from embtool.answers.fields import TOKEN_KEYS, inlined, specs
from embtool.arrays import Array
from embtool.vocabulary import Token

DIALECT = "https://json-schema.org/draft/2020-12/schema"

NUMBER: dict[str, Any] = {"type": ["number", "null"]}
"""A number: null stands for NaN and infinity, which JSON lacks."""

SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: NUMBER,
    Any: {},
    object: {},
    type(None): {"type": "null"},
}


def schema_of(kinds: Sequence[type[Answer]], title: str) -> dict[str, Any]:
    """Return the schema of what a command prints with --json; several kinds are alternatives."""
    variants = [variant for kind in kinds for variant in _documents(kind)]
    return {"$schema": DIALECT, "title": title, **(variants[0] if len(variants) == 1 else {"anyOf": variants})}


def _documents(kind: type[Answer]) -> list[dict[str, Any]]:
    """Return the schemas of the document of one answer, and of that of several."""
    head = {"schema": {"const": f"embtool/{kind.command}@1"}}
    whole = _object(kind)
    around = {name for name, spec in specs(kind) if spec.role == "context" and kind.always_many}
    documents = []
    if not kind.always_many:
        required = ["schema", *whole["required"]]
        documents.append({**whole, "properties": {**head, **whole["properties"]}, "required": required})
    if kind.many_key is not None:
        part = {
            **whole,
            "properties": {name: entry for name, entry in whole["properties"].items() if name not in around},
            "required": [name for name in whole["required"] if name not in around],
        }
        kept = {name: entry for name, entry in whole["properties"].items() if name in around}
        documents.append(
            {
                "type": "object",
                "properties": {**head, **kept, kind.many_key: {"type": "array", "items": part}},
                "required": ["schema", *kept, kind.many_key],
            }
        )
    return documents


def _object(kind: type) -> dict[str, Any]:
    """Return the schema of a record or a document; one in whose place a mapping stands may have other keys too."""
    hints = get_type_hints(kind, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    is_open: dict[str, Any] = {}
    for name, spec in specs(kind):
        if spec.role in ("python", "lines"):
            continue
        if spec.role == "token":
            properties |= {key: {"type": ["string", "null"]} for key in TOKEN_KEYS}
            required += list(TOKEN_KEYS)
        elif spec.role == "inline":
            inner = of_type(inlined(hints[name]))
            properties |= inner.get("properties", {})
            required += inner.get("required", []) if inlined(hints[name]) is hints[name] else []
            is_open |= {key: held for key, held in inner.items() if key == "additionalProperties"}
        else:
            schema = of_type(hints[name])
            properties[name] = {**schema, "description": spec.meaning} if spec.meaning else schema
            required += [] if spec.optional else [name]
    return {"type": "object", "properties": properties, "required": required, **is_open}


def of_type(kind: Any) -> dict[str, Any]:  # noqa: PLR0911 - one return for each kind of type
    """Return the schema of a type.

    >>> of_type(tuple[int | None, ...])
    {'type': 'array', 'items': {'type': ['integer', 'null']}}
    """
    if kind in SCALARS:
        return SCALARS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:  # `Matrix`: an array of arrays
        return {"type": "array", "items": of_type(arguments[0])}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _any_of([of_type(each) for each in arguments])
    if origin is Array:
        whole = arguments == (int,)
        return {"type": "array", "items": {"type": "integer"} if whole else NUMBER}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": of_type(arguments[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": of_type(arguments[0])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind is Token:
        return {"type": "object", "properties": {key: {"type": "string"} for key in TOKEN_KEYS}}
    assert dataclasses.is_dataclass(kind), kind
    return _object(kind) if isinstance(kind, type) else {}


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Join alternatives; those that are only types become one list of types."""
    if any(not schema for schema in schemas):
        return {}
    if all(schema.keys() == {"type"} for schema in schemas):
        named = [entry["type"] if isinstance(entry["type"], list) else [entry["type"]] for entry in schemas]
        return {"type": list(dict.fromkeys(name for names in named for name in names))}
    kept = [schema for number, schema in enumerate(schemas) if schema not in schemas[:number]]
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


def meanings(kinds: Iterable[type]) -> dict[str, str]:
    """Return what the keys of documents mean, wherever they stand; of several meanings the first."""
    found: dict[str, str] = {}
    waiting = list(kinds)
    seen: set[Any] = set()
    while waiting:
        kind = waiting.pop(0)
        if not dataclasses.is_dataclass(kind):
            waiting += [each for each in get_args(kind) if each not in seen]
        elif kind not in seen:
            hints = get_type_hints(kind)
            found = {name: spec.meaning for name, spec in specs(kind) if spec.meaning and spec.role != "python"} | found
            waiting += [hints[name] for name, spec in specs(kind) if spec.role not in ("python", "token")]
        seen.add(kind)
    return found
