"""`embtool diff`: which rows moved between two models."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
import typer

from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import OutputOptions, SourceOptions, TableName, Top, find_table, token_fields
from embtool.cli.position import ranges
from embtool.cli.watching import watched
from embtool.diff import Alignment, Moved, TableDifference, align_by_id, align_by_token, compare_tables
from embtool.model import Model
from embtool.output import Column, Group, Listing, Record, count, spelled, visible
from embtool.table import EmbeddingTable
from embtool.vocabulary import Vocabulary

FOUND = 1
"""The exit status of --exit-code when there is a difference."""


class Matching(StrEnum):
    """What makes two rows counterparts."""

    TOKEN = "token"  # noqa: S105 - a token of a vocabulary
    ID = "id"


class Status(StrEnum):
    """What became of a row."""

    CHANGED = "changed"
    ONLY_A = "only-a"
    ONLY_B = "only-b"
    REASSIGNED = "reassigned"


COLUMNS = (
    Column("status", style="cyan"),
    Column("rank", title="", right=True, style="dim"),
    Column("id", right=True, show=count),
    Column("id_b", right=True, show=count),
    Column("piece", terminal=False),
    Column("token", show=visible, style="bold"),
    Column("bytes", terminal=False),
    Column("token_b", show=visible),
    Column("distance", right=True, show=lambda value: f"{value:.4f}"),
    Column("relative", right=True, show=lambda value: f"{value:.2%}"),
    Column("cosine", right=True, show=lambda value: f"{value:.4f}"),
    Column("outlying", right=True, show=lambda value: f"{value:+.1f} sd"),
)


def _columns(shown: Sequence[Record]) -> list[Column]:
    """Leave out what says of B only what is said of A."""
    same_id = all(record["id_b"] in (None, record["id"]) for record in shown)
    same_token = all(record["token_b"] is None for record in shown)
    hidden = {key for key, same in (("id_b", same_id), ("token_b", same_token)) if same}
    return [column for column in COLUMNS if column.key not in hidden]


def run(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", autocompletion=completion.models, help="The model before: a folder, a file or a repository."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", autocompletion=completion.models, help="The model after.")],
    *,
    top: Top = 10,
    by: Annotated[Matching, typer.Option(help="Match rows by token, or by id.")] = Matching.TOKEN,
    rank: Annotated[
        Moved, typer.Option(help="How far a row moved: relative to its length, distance, or cosine.")
    ] = Moved.RELATIVE,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with status 1 if there is any difference, as git does.")
    ] = False,
    table: TableName = "input",
    source: SourceOptions,
    output: OutputOptions,
) -> None:
    """Compare the tables of two models, row by row: a base and its fine-tune, or an original and a quantised copy.

    Rows are matched by their tokens. First what is the same, changed, only here, only there, and which ids have another
    token; then the rows that moved farthest, and how far that is beyond the median of all that changed, in robust
    standard deviations (sd). -k limits each kind.
    """
    first, second = source.open_named(a), source.open_named(b)
    ours, theirs = find_table(first, table), find_table(second, table)
    alignment, used = _align(first, ours, second, theirs, by)
    found = compare_tables(ours, theirs, alignment, opener=watched)
    lines = _Lines(first.vocabulary_of(ours), second.vocabulary_of(theirs), found, rank, top)
    records = lines.records()
    context = {"a": first.name, "b": second.name, "table": ours.role, "by": used.value, "rank": rank.value}
    shown = lines.named()
    rows, median = _rows(found, ours, theirs), {measure.value: found.median(measure) for measure in Moved}
    output.emit(
        Listing(
            "diff",
            COLUMNS,
            [Group(records)],
            "differences",
            line=context,
            document=lambda: {**context, "rows": rows, "median": median, "differences": records},
            terminal=Listing(
                "diff",
                _columns(shown),
                [
                    Group(
                        shown,
                        title=_title(first, second, rows),
                        after=[*lines.nameless(), *_after(rows, found, rank)],
                    )
                ],
                "differences",
            ),
        )
    )
    if exit_code and found.differs:
        raise typer.Exit(FOUND)


def _align(
    first: Model, ours: EmbeddingTable, second: Model, theirs: EmbeddingTable, by: Matching
) -> tuple[Alignment, Matching]:
    """Match rows as asked, or by id where a model has no tokenizer."""
    left, right = first.vocabulary_of(ours), second.vocabulary_of(theirs)
    if by is Matching.TOKEN and left is not None and right is not None:
        return align_by_token(left, ours.shape[0], right, theirs.shape[0]), Matching.TOKEN
    if by is Matching.TOKEN:
        name, role = (first.name, ours.role) if left is None else (second.name, theirs.role)
        note(f"nothing names the rows of {name}'s {role} table: they are matched by id")
    return align_by_id(ours.shape[0], theirs.shape[0]), Matching.ID


def _rows(found: TableDifference, ours: EmbeddingTable, theirs: EmbeddingTable) -> dict[str, int]:
    changed = found.changed
    return {
        "a": ours.shape[0],
        "b": theirs.shape[0],
        "same": int(found.same.sum()),
        "changed": len(changed),
        "only_a": len(found.alignment.only_a),
        "only_b": len(found.alignment.only_b),
        "reassigned": len(found.alignment.reassigned),
        "not_finite": int(np.isnan(found.distance[changed]).sum()),
    }


def _title(first: Model, second: Model, rows: dict[str, int]) -> str:
    return (
        f"{first.name} and {second.name}: {count(rows['same'])} rows the same, {count(rows['changed'])} changed, "
        f"{count(rows['only_a'])} only in the first, {count(rows['only_b'])} only in the second, "
        f"{count(rows['reassigned'])} ids with another token"
    )


def _after(rows: dict[str, int], found: TableDifference, rank: Moved) -> list[str]:
    """Say what a usual change is, below the table."""
    lines = []
    relative, distance = found.median(Moved.RELATIVE), found.median(Moved.DISTANCE)
    if relative is not None and distance is not None:
        lines.append(f"  a row that changed moved by {distance:.4g} in the median, {relative:.2%} of its length")
        lines.append(f"  ranked by {rank.value}; sd is a robust standard deviation of those that changed")
    if rows["not_finite"]:
        lines.append(f"  {count(rows['not_finite'])} rows hold NaN or infinity and come last")
    return lines


class _Lines:
    """Describes rows that differ."""

    def __init__(
        self, a: Vocabulary | None, b: Vocabulary | None, found: TableDifference, rank: Moved, top: int
    ) -> None:
        self.a = a
        self.b = b
        self.found = found
        self.rank = rank
        self.top = top
        self.outlying = found.outlying(rank)

    def records(self) -> list[dict[str, Any]]:
        """List the rows of each kind, as many as asked."""
        alignment = self.found.alignment
        return self._described(alignment.only_a.tolist(), alignment.only_b.tolist())

    def named(self) -> list[dict[str, Any]]:
        """List the same, but of the rows that only one side has those with a token."""
        records = self._described(*(named for _, _, named in self._sides()))
        for record in records:
            theirs = self.b.token(record["id_b"]) if self.b is not None and record["token_b"] is not None else None
            if theirs is not None:
                record["token_b"] = spelled(theirs.text, theirs.bytes.hex())
        return records

    def nameless(self) -> list[str]:
        """Say how many rows without a token only one side has."""
        lines = []
        for side, rows, named in self._sides():
            rest = sorted(set(rows) - set(named))
            noun = "row" if len(rest) == 1 else "rows"
            if rest:
                lines.append(f"  only in {side}: {count(len(rest))} {noun} without a token, {ranges(rest)}")
        return lines

    def _sides(self) -> Iterator[tuple[str, list[int], list[int]]]:
        """Give for each side its name, the rows that only it has, and those of them that have a token."""
        alignment = self.found.alignment
        for side, vocabulary, alone in (("A", self.a, alignment.only_a), ("B", self.b, alignment.only_b)):
            tokens = np.empty(0, np.int64) if vocabulary is None else vocabulary.ids
            yield side, alone.tolist(), np.intersect1d(alone, tokens).tolist()

    def _described(self, only_a: Sequence[int], only_b: Sequence[int]) -> list[dict[str, Any]]:
        farthest = self.found.farthest(self.rank, self.top).tolist()
        reassigned = self.found.alignment.reassigned[: self.top].tolist()
        return [
            *(self._changed(place, row) for place, row in enumerate(farthest, 1)),
            *(self._alone(Status.ONLY_A, row, None) for row in only_a[: self.top]),
            *(self._alone(Status.ONLY_B, None, row) for row in only_b[: self.top]),
            *(self._alone(Status.REASSIGNED, row, row) for row in reassigned),
        ]

    def _changed(self, place: int, row: int) -> dict[str, Any]:
        figures = {
            "distance": self.found.distance,
            "relative": self.found.relative,
            "cosine": self.found.cosine,
            "outlying": self.outlying,
        }
        other = int(self.found.alignment.counterpart[row])
        return self._record(Status.CHANGED, place, row, other) | {
            name: float(values[row]) if np.isfinite(values[row]) else None for name, values in figures.items()
        }

    def _alone(self, status: Status, row: int | None, other: int | None) -> dict[str, Any]:
        return self._record(status, None, row, other) | dict.fromkeys(("distance", "relative", "cosine", "outlying"))

    def _record(self, status: Status, place: int | None, row: int | None, other: int | None) -> dict[str, Any]:
        ours = None if self.a is None or row is None else self.a.token(row)
        theirs = None if self.b is None or other is None else self.b.token(other)
        named = token_fields(ours, row) if row is not None else dict.fromkeys(("id", "piece", "token", "bytes"))
        same = ours is not None and theirs is not None and ours.bytes == theirs.bytes
        return {
            "status": status.value,
            "rank": place,
            **named,
            "id_b": other,
            "token_b": None if theirs is None or same else theirs.text,
        }
