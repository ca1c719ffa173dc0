"""What a field of an answer says of itself: how it is called, shown, rounded and aligned, and what it is worth.

An answer and its records are frozen dataclasses. Each field is described once, where it is declared, by one of the
functions below; the JSON document, its schema, the lines of TSV and CSV, and the tables on a terminal and in a notebook
follow from that. A field that holds a `Token` stands for three keys: piece, token and bytes.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from embtool.answers.text import count, visible
from embtool.arrays import Doubles, is_array, is_array_scalar
from embtool.vocabulary import Token

SPEC = "embtool"
"""The key of a field's description in its metadata."""

Matrix = Annotated[Doubles, "matrix"]
"""Numbers in rows: float64 (n, m)."""

TOKEN_KEYS = ("piece", "token", "bytes")
"""What a field that holds a token is in every machine format."""


@dataclass(frozen=True)
class Column:
    """One column: the record's `key`, its `title` on a terminal, and how the terminal abridges a value.

    With `spread`, the value is a list of that many numbers, which fill columns v0, v1, ... of TSV and CSV. `missing` is
    what a terminal shows where there is no value. A `style` can depend on the value. `prose` is wrapped, not cut.

    Where a terminal is too narrow, texts are cut; numbers (`right`) and what is `whole` never are. If that is not
    enough, columns are left out: those of the least `worth` first, and of equals the last.
    """

    key: str
    title: str | None = None
    show: Callable[[Any], str] | None = None
    right: bool = False
    terminal: bool = True
    machine: bool = True
    style: str | Callable[[Any], str] = ""
    spread: int | None = None
    missing: str = "–"
    whole: bool = False
    worth: int = 1
    prose: bool = False

    @property
    def name(self) -> str:
        """What a sentence calls it: its title, or what its key says."""
        return self.title or ("bar" if self.title is not None and not self.machine else self.key)


@dataclass(frozen=True)
class Spec:
    """A field's description.

    Attributes:
        role: `value` of a record or a document; `context`, which stands once around all groups and on every JSON line;
            `rows`, the records; `lines`, records that the document says in another way; `token`; `inline`, whose own
            fields, or keys, stand in its place, if it is there; `python`, which no format has.
        meaning: what it is, for the schema and the reference.
        columns: how it is shown in a table; more than one where a picture of it stands beside it.
        optional: left out of JSON where it is None.
        travels: whether it is in a pickle; what is as large as a table is not.
    """

    role: str = "value"
    meaning: str = ""
    columns: tuple[Column, ...] = ()
    optional: bool = False
    travels: bool = True


def _field(spec: Spec, default: Any) -> Any:
    metadata = {SPEC: spec}
    return (
        dataclasses.field(metadata=metadata)
        if default is ...
        else dataclasses.field(default=default, metadata=metadata)
    )


def value(meaning: str = "", *, optional: bool = False, default: Any = ...) -> Any:
    """Describe a field of a document that is no column of a table."""
    return _field(Spec("value", meaning, optional=optional), default)


def column(
    meaning: str = "", *, also: Column | None = None, optional: bool = False, default: Any = ..., **shown: Any
) -> Any:
    """Describe a field that is a column; `shown` are the fields of `Column` but its key, which is the field's name.

    `also` stands beside it on a terminal: a bar, say. Its key is filled in too.
    """
    columns = [Column("", **shown)] + ([also] if also is not None else [])
    return _field(Spec("value", meaning, tuple(columns), optional), default)


def context(meaning: str = "", *, default: Any = ...) -> Any:
    """Describe what stands once around all groups of a document, and on every JSON line."""
    return _field(Spec("context", meaning), default)


def records(meaning: str = "", *, in_document: bool = True, default: Any = ...) -> Any:
    """Describe the records of a listing: a tuple, or any sequence, of one dataclass.

    Where the document says the same in another way, they are not `in_document`, but lines of the other formats only.
    """
    return _field(Spec("rows" if in_document else "lines", meaning), default)


def inline(*, default: Any = ...) -> Any:
    """Describe a dataclass, or a mapping, whose fields stand in the place of this one; None has none."""
    return _field(Spec("inline"), default)


def python(*, travels: bool = True, default: Any = ...) -> Any:
    """Describe what only Python has: no format prints it, and what does not travel is in no pickle."""
    return _field(Spec("python", travels=travels), default)


def token_column(*shows: str, default: Any = ...) -> Any:
    """Describe the token of a row, None for padding: piece, token and bytes, of which a terminal `shows` the named."""
    shown = shows or ("token",)
    columns = (
        Column("piece", show=visible, terminal="piece" in shown),
        Column("token", show=visible, style="bold", terminal="token" in shown),
        Column("bytes", style="dim", whole=True, worth=0, terminal="bytes" in shown),
    )
    return _field(Spec("token", columns=columns), default)


def identity(*, terminal: bool = True, optional: bool = False, default: Any = ...) -> Any:
    """Describe a token id, which is a row's number."""
    return column(
        "token id, which is the row's number",
        right=True,
        show=count,
        terminal=terminal,
        optional=optional,
        default=default,
    )


def specs(kind: type) -> tuple[tuple[str, Spec], ...]:
    """List the fields of an answer or a record that are described, in the order declared, each with its description."""
    return _specs(kind)


@cache
def _specs(kind: Any) -> tuple[tuple[str, Spec], ...]:
    return tuple((field.name, field.metadata.get(SPEC, Spec())) for field in dataclasses.fields(kind))


@cache
def columns_of(kind: Any) -> tuple[Column, ...]:
    """List the columns of a record's type."""
    found: list[Column] = []
    for name, spec in specs(kind):
        if spec.role == "inline":
            found += columns_of(inlined(get_type_hints(kind)[name]))
        else:
            found += (column if column.key else dataclasses.replace(column, key=name) for column in spec.columns)
    return tuple(found)


def inlined(hint: Any) -> Any:
    """Return the dataclass whose fields stand in another's: it may be absent."""
    return next((each for each in get_args(hint) if dataclasses.is_dataclass(each)), hint)


def token_fields(entry: Token | None) -> dict[str, str | None]:
    """Return the keys that every record of a token carries beside its id; a padding row has none of them."""
    if entry is None:
        return dict.fromkeys(TOKEN_KEYS)
    return {"piece": entry.piece, "token": entry.text, "bytes": entry.bytes.hex()}


def record_of(entry: Any) -> dict[str, Any]:
    """Return a record's keys and values, as they are."""
    found: dict[str, Any] = {}
    for name, spec in specs(type(entry)):
        if spec.role in ("python", "lines"):
            continue
        held = getattr(entry, name)
        if spec.role == "token":
            found |= token_fields(held)
        elif spec.role == "inline":
            found |= held if isinstance(held, Mapping) else record_of(held) if held is not None else {}
        elif not (spec.optional and held is None):
            found[name] = held
    return found


def plain(held: Any) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """Turn a value into what JSON has: answers into dicts, numpy's into Python's, NaN and infinity into None."""
    if held is None or isinstance(held, bool | int) or type(held) is str:
        return held
    if is_array_scalar(held):
        return plain(held.item())
    if isinstance(held, float):
        return held if math.isfinite(held) else None
    if isinstance(held, Enum):
        return held.value
    if is_array(held):
        return plain(held.tolist())
    if isinstance(held, Mapping):
        return {str(key): plain(entry) for key, entry in held.items()}
    if dataclasses.is_dataclass(held):
        return {key: plain(entry) for key, entry in record_of(held).items()}
    if isinstance(held, Iterable) and not isinstance(held, str):
        return [plain(entry) for entry in held]
    return held


Records = Sequence[Mapping[str, Any]]
