"""Answers as Arrow tables: a flat record a row, in columns whose types follow from the answer's own.

Every column is nullable, and there however few records there are: what one record leaves out is null in its row. Texts
are text, counts int64, measures float64, several of a kind a list of them; what can be a number or a text is a text. A
whole number beyond 64 bits is null. A schema's metadata says, under
keys that begin with the program's name, which document the records belong to, which of its records they are, and by
which version they were made.
"""

import contextlib
import dataclasses
import itertools
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any, Literal, Union, get_args, get_origin, get_type_hints

from embtool import __version__
from embtool.answers.answer import Answer, Card, Failure, Listing, record_type
from embtool.answers.fields import TOKEN_KEYS, inlined, specs
from embtool.arrays import Array
from embtool.errors import InvalidArgument, MissingExtra

RECORDS_VERSION = 1
"""Of the columns: raised when one is taken away, renamed or of another type; more can come without it."""

LONG = 1 << 63
"""Whole numbers from minus this up to it, exclusive, fit int64."""

NUMBERS = {bool: "bool", int: "int64", float: "float64"}
"""The names of Arrow's types for Python's."""


@dataclass(frozen=True)
class ArrowColumn:
    """A column: its key in the flat records, the name of its type (`int64`, `list<string>`), and what it is."""

    key: str
    type: str
    meaning: str = ""


GROUP_ROWS = 1000
"""Rows of a Parquet file that are held until they are written together."""

FAILURES = (
    ArrowColumn("error", "string", "why there is no answer, or which part of it is missing; null where all is there"),
    ArrowColumn("hint", "string", "what to try"),
    ArrowColumn("status", "int64", "the exit status that stands for it; 0 where all is there"),
)
"""What stands beside the answers of several models, of which one can have failed."""


def columns_of(kind: type[Answer], *, summary: bool = False) -> list[ArrowColumn]:
    """List the columns of the flat records of a kind of answer, or those of the one record that sums it up.

    Raises:
        InvalidArgument: nothing sums up answers of this kind.
    """
    if kind.record_kind is not None and (summary or not issubclass(kind, Listing)):
        return list(_fields(kind.record_kind))
    if issubclass(kind, Listing):
        if summary:
            raise InvalidArgument(f"{kind.__name__} has many records, and none that sums it up")
        hints = get_type_hints(kind)
        around = {name: spec for name, spec in specs(kind) if spec.role == "context" or name in kind.line_keys}
        known = {
            **{name: ArrowColumn(name, type_of(hints[name]), spec.meaning) for name, spec in around.items()},
            **{each.key: each for each in _fields(record_type(kind))},
        }
        known |= {name: ArrowColumn(name, type_of(hint)) for name, hint in kind.line_types.items()}
        return list(known.values())
    paths = kind.paths if issubclass(kind, Card) else {}
    return [_at(kind, key, path) for key, path in paths.items()] if paths else list(_fields(kind))


def _fields(kind: Any) -> Iterator[ArrowColumn]:
    """Yield the columns of a dataclass's fields."""
    hints = get_type_hints(kind)
    for name, spec in specs(kind):
        if spec.role == "token":
            yield from (ArrowColumn(key, "string") for key in TOKEN_KEYS)
        elif spec.role == "inline":
            yield from _fields(inlined(hints[name]))
        elif spec.role not in ("python", "lines"):
            yield ArrowColumn(name, type_of(hints[name]), spec.meaning)


def _at(kind: Any, key: str, path: str) -> ArrowColumn:
    """Describe what stands at a path such as `norm.mean` in a document of this kind."""
    meaning = ""
    for step in path.split("."):
        (kind,) = _members(kind)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            meaning = dict(specs(kind))[step].meaning or meaning
            kind = get_type_hints(kind)[step]
        else:
            kind = get_args(kind)[1]
    return ArrowColumn(key, type_of(kind), meaning)


def _members(hint: Any) -> list[Any]:
    """List the alternatives of a type, without None."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [part for part in parts if part is not type(None)]


def type_of(hint: Any) -> str:
    """Name the Arrow type of what a field holds.

    >>> type_of(int | None), type_of(tuple[float, ...]), type_of(int | str)
    ('int64', 'list<float64>', 'string')
    """
    members = _members(hint)
    kind = members[0] if len(members) == 1 else Any
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in NUMBERS:
        return NUMBERS[kind]
    if origin is Array:
        return "list<int64>" if arguments == (int,) else "list<float64>"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"list<{type_of(arguments[0])}>"
    is_text = kind in (str, Any) or origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum))
    assert is_text, f"{hint} is not flat"
    return "string"


def schema_of(kind: type[Answer], *, summary: bool = False, failures: bool = False, **metadata: str) -> Any:
    """Return the `pyarrow.Schema` of a kind of answer; with `failures`, of many answers of which some can be errors.

    `metadata` stands in the schema's beside what the module says of it.

    Raises:
        MissingExtra: pyarrow is not installed.
        InvalidArgument: nothing sums up answers of this kind.
    """
    pa = need_pyarrow()
    columns = [*columns_of(kind, summary=summary), *(FAILURES if failures else ())]
    if failures and all(each.key != "model" for each in columns):
        columns.insert(0, ArrowColumn("model", "string", "the model, as it was named"))
    names = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64()}
    names |= {f"list<{name}>": pa.list_(each) for name, each in names.items()}
    about = {
        "embtool:schema": f"embtool/{kind.command}@1",
        "embtool:records": f"{'record' if summary else 'records'}@{RECORDS_VERSION}",
        "embtool:version": __version__,
        **metadata,
    }
    said = {each.key: {"description": each.meaning} if each.meaning else None for each in columns}
    return pa.schema([pa.field(each.key, names[each.type], metadata=said[each.key]) for each in columns], about)


def table_of(records: Iterable[Mapping[str, Any]], schema: Any) -> Any:
    """Return flat records as a `pyarrow.Table` of a schema; what a record lacks is null."""
    pa = need_pyarrow()
    held = list(records)
    arrays = [pa.array([fitted(each.get(field.name), field.type) for each in held], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def to_arrow(answer: Answer, *, summary: bool = False) -> Any:
    """Return an answer's flat records as a `pyarrow.Table`, or the one record that sums it up; see the module.

    Raises:
        MissingExtra: pyarrow is not installed.
        InvalidArgument: nothing sums up answers of this kind.
    """
    schema = schema_of(type(answer), summary=summary)
    return table_of([answer.to_record()] if summary else answer.to_records(), schema)


def outcomes(answer: Answer | Failure, *, summary: bool = False) -> list[dict[str, Any]]:
    """Return the flat records of an answer among many, each with what is wrong with it, or the one of an error."""
    if isinstance(answer, Failure):
        return [answer.to_record()]
    wrong = answer.outcome()
    return [{**record, **wrong} for record in ([answer.to_record()] if summary else answer.to_records())]


def write_parquet(records: Iterable[Mapping[str, Any]], schema: Any, file: IO[bytes]) -> None:
    """Write flat records into a Parquet file as they come, a group of rows at a time.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    need_pyarrow()
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    waiting = iter(records)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(itertools.islice(waiting, GROUP_ROWS)):
            writer.write_table(table_of(group, schema))


def fitted(held: Any, kind: Any) -> Any:
    """Return a plain value as a column of this Arrow type holds it; None where it cannot.

    Raises nothing: a field of a strange file must not lose the answers beside it.
    """
    name = str(kind)
    if held is None:
        return None
    if name == "string":
        return (held if isinstance(held, str) else json.dumps(held)).encode("utf-8", "backslashreplace").decode()
    if name.startswith("list<") and isinstance(held, list):
        return [fitted(each, kind.value_type) for each in held]
    if isinstance(held, bool) or name == "bool":
        return held if isinstance(held, bool) and name == "bool" else None
    with contextlib.suppress(OverflowError):
        if name == "double" and isinstance(held, int | float):
            return float(held)
    return held if name == "int64" and isinstance(held, int) and -LONG <= held < LONG else None


def need_pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow  # noqa: ICN001, PLC0415 - an extra: 100 MB that every other format can do without
    except ImportError as error:
        raise MissingExtra.of("pyarrow", "Arrow and Parquet need") from error
    return pyarrow
