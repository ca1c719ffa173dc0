"""What an answer is: a frozen dataclass of numbers and tokens, from which every format follows.

A `Listing` holds records of one kind and is a sequence of them; a `Card` is one thing, told in sections. Both turn into
a JSON document (`to_dict`), into the flat records of JSON Lines (`to_records`), and into `Block`s, which a terminal, a
notebook and Markdown draw. To add an answer: write the dataclass beside the question that makes it, decorated with
`@dataclass(frozen=True, repr=False, eq=False)`, and describe its fields with `embtool.answers.fields`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from embtool.answers.fields import Column, Records, columns_of, plain, record_of, specs
from embtool.errors import EmbtoolError, InvalidArgument

if TYPE_CHECKING:
    from rich.console import RenderableType

Record = TypeVar("Record", covariant=True)  # noqa: PLC0105 - read as what it is


@dataclass(frozen=True)
class Section:
    """A part of a card: a title, and lines of a label and its value."""

    title: str
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Block:
    """What stands together on a page: a title, a table, or lines of label and value, and what comes below."""

    title: str | None = None
    columns: Sequence[Column] = ()
    records: Records = ()
    sections: Sequence[Section] = ()
    after: Sequence["str | tuple[tuple[str, str], ...] | RenderableType"] = ()
    """Lines: texts that are wrapped, texts with their styles that are not, or what rich can draw."""


class Answer:
    """The answer to one question; see the module."""

    command: ClassVar[str]
    """The name in its schema: `embtool/COMMAND@1`."""

    many_key: ClassVar[str | None] = None
    """The key of a document that holds several answers of this kind; None where there is never more than one."""

    always_many: ClassVar[bool] = False
    """Whether a single answer stands under `many_key` too."""

    notes: tuple[str, ...] = ()
    """What a reader should be told beside it; a field of its own where a question has something to say."""

    warnings: tuple[str, ...] = ()
    """The same, where it bears on what the answer is worth."""

    record_kind: ClassVar[type | None] = None
    """The dataclass of what `to_record` returns, where that is neither the answer itself nor told by `paths`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `--json` prints: Python's own types only, NaN and infinity as None."""
        found: dict[str, Any] = document([self], many=False)
        return found

    def to_records(self) -> list[dict[str, Any]]:
        """Return its flat records, each with every key needed to use it alone: scalars and lists of scalars.

        They are the lines that `--jsonl` prints; of an answer that is one thing, whose line there is its whole
        document, the one record of `to_record`.
        """
        return list(self.each_record())

    def to_record(self) -> dict[str, Any]:
        """Return the one flat record that is the answer, or sums it up: of `info`, `norms` and `check`.

        Raises:
            InvalidArgument: nothing sums up an answer of this kind.
        """
        raise InvalidArgument(f"{type(self).__name__} has many records, and none that sums it up: see to_records")

    def outcome(self) -> dict[str, Any]:
        """Return what is wrong with it in the fields of an error's record: nothing, unless a part cannot be read."""
        return {"error": None, "hint": None, "status": 0}

    def to_arrow(self, *, summary: bool = False) -> Any:
        """Return its flat records as a `pyarrow.Table`, or with `summary` the one of `to_record`.

        Raises:
            MissingExtra: pyarrow is not installed.
            InvalidArgument: nothing sums up an answer of this kind.
        """
        from embtool.answers.arrow import to_arrow  # noqa: PLC0415 - loads an extra

        return to_arrow(self, summary=summary)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: all but what is as large as a table."""
        known = dict(specs(type(self)))
        kept = {name: held for name, held in vars(self).items() if name not in known or known[name].travels}
        for name, spec in known.items():  # records that are made as they are asked for need what they are made from
            if spec.role in ("rows", "lines"):
                kept[name] = tuple(kept[name])
        return kept

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            stayed = any(name == each and not spec.travels for each, spec in specs(type(self)))
            why = "is as large as a table, and stayed where it was pickled" if stayed else "does not exist"
            raise AttributeError(f"{name} of {type(self).__name__} {why}", name=name, obj=self)

    def each_record(self) -> Iterator[dict[str, Any]]:
        """Yield the same, each as it is made: there can be very many."""
        raise NotImplementedError

    def blocks(self) -> Iterator[Block]:
        """Yield what a reader sees, top to bottom."""
        raise NotImplementedError

    def lines(self) -> tuple[list[str], Iterable[Sequence[Any]]]:
        """Return the heads and the values of the lines of TSV and CSV."""
        raise NotImplementedError

    def __str__(self) -> str:
        from embtool.answers.terminal import as_text  # noqa: PLC0415 - loads rich

        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from embtool.answers.markup import to_html  # noqa: PLC0415 - only in a notebook

        return to_html(self)


class Listing(Answer, Generic[Record]):
    """An answer that is a sequence of records; the field declared as `rows` holds them."""

    line_keys: ClassVar[tuple[str, ...]] = ()
    """Fields that are no context and stand on every JSON line all the same."""

    line_types: ClassVar[Mapping[str, Any]] = {}
    """The types of what `line` adds to every JSON line, and of fields that do not say theirs."""

    line_columns: ClassVar[tuple[Column, ...]] = ()
    """Columns of TSV and CSV for what `line` says, before those of the records."""

    @property
    def records(self) -> Sequence[Record]:
        """Its records."""
        found: Sequence[Record] = getattr(self, rows_key(type(self)))
        return found

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @overload
    def __getitem__(self, place: int) -> Record: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...

    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        return self.records[place]

    def line(self) -> dict[str, Any]:
        """Return what stands on every JSON line beside the record."""
        kept = [name for name, spec in specs(type(self)) if spec.role == "context" or name in self.line_keys]
        return {name: getattr(self, name) for name in kept}

    def columns(self) -> Sequence[Column]:
        """Return the columns of its table."""
        return (*self.line_columns, *columns_of(record_type(type(self))))

    def shown_columns(self, *hidden: str) -> list[Column]:
        """List the columns of a terminal's table, without some that say nothing there."""
        return [each for each in self.columns() if each.terminal and each.key not in hidden]

    def title(self) -> str | None:
        """Return what stands above the table."""
        return None

    def after(self) -> Sequence["str | RenderableType"]:
        """Return what stands below the table."""
        return ()

    @property
    def flat(self) -> Records:
        """Its records as dicts of what they hold."""
        return [record_of(record) for record in self.records]

    def each_record(self) -> Iterator[dict[str, Any]]:
        """Yield the records that `--jsonl` prints, a line each."""
        line = plain(self.line())
        return ({**line, **plain(record)} for record in self.records)

    def blocks(self) -> Iterator[Block]:
        """Yield its table."""
        yield Block(self.title(), self.shown_columns(), self.flat, after=self.after())

    def lines(self) -> tuple[list[str], Iterable[Sequence[Any]]]:
        """Return the heads and the values of its lines."""
        columns = [column for column in self.columns() if column.machine]
        heads: list[str] = []
        for column in columns:
            heads += [column.key] if column.spread is None else [f"v{place}" for place in range(column.spread)]
        line = self.line()
        records = ({**line, **record_of(record)} for record in self.records)
        return heads, ([held for column in columns for held in _values(column, whole)] for whole in records)


class Card(Answer):
    """An answer about one thing: a document, told to a reader in sections, and one flat record."""

    paths: ClassVar[Mapping[str, str]] = {}
    """The keys of its flat record, and where in its document each is found: `norm.mean`; empty for its own fields."""

    def title(self) -> str:
        """Return what stands above its sections."""
        raise NotImplementedError

    def sections(self) -> Sequence[Section]:
        """Return what a reader sees."""
        raise NotImplementedError

    def to_record(self) -> dict[str, Any]:
        """Return it as one flat record: the line of TSV and CSV."""
        whole = plain(self)
        return {key: find(whole, path) for key, path in self.paths.items()} if self.paths else whole

    def to_records(self) -> list[dict[str, Any]]:
        """Return the one flat record."""
        return [self.to_record()]

    def each_record(self) -> Iterator[dict[str, Any]]:
        """Yield the line that `--jsonl` prints: the whole document."""
        yield plain(self)

    def blocks(self) -> Iterator[Block]:
        """Yield its sections."""
        yield Block(self.title(), sections=self.sections())

    def lines(self) -> tuple[list[str], Iterable[Sequence[Any]]]:
        """Return the heads and the values of its line."""
        record = self.to_record()
        return list(record), [list(record.values())]


@dataclass(frozen=True)
class Failure:
    """What stands in the place of an answer that one model, or one query, has not: the error as a record."""

    about: str
    """Which kind of thing: model or query."""

    name: str | None
    error: EmbtoolError

    def to_record(self) -> dict[str, Any]:
        """Return the error as a record."""
        error = self.error
        return {self.about: self.name, "error": error.message, "hint": error.hint, "status": error.exit_status}


def find(whole: Any, path: str) -> Any:
    """Return what a document holds at a path such as `norm.mean`; None where a key is missing."""
    for key in path.split("."):
        if isinstance(whole, list):
            whole = dict(enumerate(whole)).get(int(key))
        elif whole is not None:
            whole = whole.get(key)
    return whole


def rows_key(kind: type) -> str:
    """Return the key of a listing's records."""
    return next(name for name, spec in specs(kind) if spec.role in ("rows", "lines"))


def record_type(kind: type) -> type:
    """Return the type of a listing's records."""
    from typing import get_args, get_type_hints  # noqa: PLC0415 - once a kind

    found: type = get_args(get_type_hints(kind)[rows_key(kind)])[0]
    return found


def document(answers: Sequence[Answer], *, many: bool, blank: "Answer | type[Answer] | None" = None) -> dict[str, Any]:
    """Put together the one JSON document of the answers of a run, all of one kind.

    Args:
        answers: the answers.
        many: whether more than one was asked for; a kind that always stands in a list stands in it all the same.
        blank: an answer without records, or a kind, for the document's head where there is no other.
    """
    whole = answers[0] if answers else blank
    assert whole is not None, "a document needs an answer or a blank one"
    kind = whole if isinstance(whole, type) else type(whole)
    head = {"schema": f"embtool/{kind.command}@1"}
    if kind.many_key is not None and (many or kind.always_many):
        around = [name for name, spec in specs(kind) if spec.role == "context" and kind.always_many]
        kept = {} if isinstance(whole, type) else {name: plain(getattr(whole, name)) for name in around}
        return {**head, **kept, kind.many_key: [_part(answer, around) for answer in answers]}
    assert isinstance(whole, Answer), "a kind that stands alone needs an answer"
    if not many or not isinstance(whole, Listing):
        return {**head, **_part(whole)}
    key = rows_key(kind)  # one list, whoever asked for what
    merged = [plain(record) for answer in answers if isinstance(answer, Listing) for record in answer.flat]
    return {**head, **{name: merged if name == key else held for name, held in _part(whole).items()}}


def _part(answer: Answer, around: Sequence[str] = ()) -> dict[str, Any]:
    return {name: plain(held) for name, held in record_of(answer).items() if name not in around}


def _values(column: Column, record: Mapping[str, Any]) -> Iterable[Any]:
    held = record.get(column.key)
    return [held] if column.spread is None or held is None else list(held)
