"""What an adapter is, of which base, which rows it brings, and what makes it large: a part of `info`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embtool.adapters import INVERSION
from embtool.answers import value
from embtool.answers.text import count, percent, plural, ranges, size
from embtool.storage.checkpoint import TensorInfo

if TYPE_CHECKING:
    from embtool.adapters.description import Adapter
    from embtool.adapters.drafts import Draft

MOST_IDS = 6
"""Ranges of ids named on a terminal; JSON has all."""


@dataclass(frozen=True)
class AdapterTable:
    """What it brings for one table of its base."""

    role: str = value("what the table is for")
    module: str | None = value("its module in the base")
    way: str = value("how it is changed: whole table, LoRA, DoRA, rows of tokens, new rows, or vectors before the text")
    rows: int | None = value("rows that it brings, or of the table for which LoRA was made")
    rank: int | None = value("the rank of LoRA")
    ids: tuple[int, ...] | None = value("the ids whose rows it brings, where these are single ones")
    bytes: int = value("how many bytes that takes")

    def line(self) -> tuple[str, str]:
        """Describe it for a reader."""
        module = f"   {self.module}" if self.module is not None else ""
        rank = f" of rank {self.rank}" if self.rank is not None else ""
        rows = "" if self.rows is None else f", {plural(self.rows, 'row')}"
        ids = f": ids {ranges(self.ids)}" if self.ids else ""
        return self.role, f"{self.way}{rank}{rows}{ids}   {size(self.bytes)}{module}"


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter is and brings; `bytes` of all its tensors, and of those that make it large."""

    kind: str = value("what kind it is, as PEFT names it")
    base: str | None = value("the model it was made for, as its file names it")
    revision: str | None = value("the revision of that model")
    tables: tuple[AdapterTable, ...] = value("what it brings for tables")
    bytes: int = value("how many bytes all its tensors take")
    table_bytes: int = value("how many of them are tables or rows of tables")
    unused_bytes: int = value("how many of them are copies of tables that no loader needs")
    unloaded: tuple[str, ...] = value("tensors whose names PEFT's loader passes over")

    @classmethod
    def of(cls, adapter: "Adapter") -> "AdapterInfo":
        """Describe an adapter."""
        tables = tuple(_tables(adapter))
        unused = sum(tensor.nbytes for change in adapter.changes for tensor in change.unused)
        return cls(
            kind=adapter.kind,
            base=adapter.base,
            revision=adapter.revision,
            tables=tables,
            bytes=_bytes(adapter.checkpoint.tensor(name) for name in adapter.checkpoint.names),
            table_bytes=sum(table.bytes for table in tables),
            unused_bytes=unused,
            unloaded=tuple(adapter.misnamed),
        )

    def lines(self) -> list[tuple[str, str]]:
        """Describe it for a reader."""
        base = "a base that it does not name" if self.base is None else self.base
        what = f"{self.kind}, an adapter of {base}"
        if self.kind == INVERSION:
            what = f"{self.kind}: rows of new words for a text encoder, which --base names"
        at = f" at {self.revision}" if self.revision is not None else ""
        lines = [("kind", f"{what}{at}"), *(table.line() for table in self.tables)]
        if not self.tables:
            lines.append(("tables", "it changes none: rows are the base's"))
        rest = self.bytes - self.table_bytes - self.unused_bytes
        shares = {"tables and rows of them": self.table_bytes, "the layers between": rest}
        if self.unused_bytes:
            shares["copies of tables that no loader needs"] = self.unused_bytes
        large = [f"{what} {size(part)} ({percent(part / self.bytes)})" for what, part in shares.items() if part]
        lines.append(("takes", ", ".join(large)))
        if self.unloaded:
            lines.append(("not loaded", f"{plural(len(self.unloaded), 'tensor')} named otherwise than PEFT loads"))
        return lines


@dataclass(frozen=True)
class DraftInfo:
    """What a draft head is."""

    kind: str = value("EAGLE-3, EAGLE or Medusa")
    rows: int | None = value("how many of the target's tokens it predicts, where it is a part of them")
    target_rows: int | None = value("how many tokens the target has, where that is told")

    @classmethod
    def of(cls, draft: "Draft") -> "DraftInfo":
        """Describe a draft head."""
        return cls(draft.kind, draft.rows, draft.target_rows)

    def lines(self) -> list[tuple[str, str]]:
        """Describe it for a reader."""
        lines = [("kind", f"{self.kind}: it guesses ahead for another model, whose tables it needs where it has none")]
        if self.rows is not None:
            whole = "" if self.target_rows is None else f" of {count(self.target_rows)}"
            lines.append(
                (
                    "predicts",
                    f"{count(self.rows)}{whole} tokens: which of them row n of its output table is, d2t[n] tells",
                )
            )
        return lines


def _bytes(tensors: Iterable[TensorInfo | None]) -> int:
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _tables(adapter: "Adapter") -> Iterable[AdapterTable]:
    """Yield what an adapter brings for each table, a line for each way."""
    for change in adapter.changes:
        ways: list[tuple[str, int | None, int | None, tuple[int, ...] | None, int]] = []
        if change.whole is not None:
            rows = change.whole.shape[0] if change.whole.shape else None
            ways.append(("whole table", rows, None, None, change.whole.nbytes))
        if change.low_rank is not None:
            a, b = change.low_rank
            way, rank = "LoRA" if change.magnitude is None else "DoRA", a.shape[0] if a.shape else 0
            ways.append((way, change.rows, rank, None, _bytes((a, b, change.magnitude))))
        if change.tokens is not None:
            rows = change.tokens.shape[0] if change.tokens.shape else 0
            ways.append(("rows of tokens", rows, None, change.ids, change.tokens.nbytes))
        ways.extend((f"{end}, which is not read", None, None, None, change.parts[end].nbytes) for end in change.unread)
        yield from (AdapterTable(change.role, change.module, *way) for way in ways)
    for role, tensors in adapter.appended.items():
        for tensor in tensors:
            rows = tensor.shape[0] if tensor.shape else 0
            yield AdapterTable(role, tensor.name, "new rows", rows, None, None, tensor.nbytes)
    if adapter.prompt is not None:
        rows = adapter.prompt.shape[0] if adapter.prompt.shape else 0
        yield AdapterTable("prompt", None, "vectors before the text", rows, None, None, adapter.prompt.nbytes)
