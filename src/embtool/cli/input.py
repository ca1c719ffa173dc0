"""`embtool input`: the sequence that the first block reads."""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embtool.cli.dials import dials
from embtool.cli.explanations import About, explain_input
from embtool.cli.messages import note
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions, token_fields
from embtool.cli.position import closing, in_words
from embtool.cli.writing import Force, check_free, write_rows
from embtool.errors import TableNotFound
from embtool.model import Model
from embtool.output import Column, Format, Group, Listing, abridge, count, visible
from embtool.positions import Positions, Rope
from embtool.rope import frequencies
from embtool.sequence import InputSequence, SequenceTables, cosines, read_sequence
from embtool.table import EmbeddingTable
from embtool.vocabulary import Token

LONGEST_NAME = 30
"""Characters of a model's name in a title."""

HANDS = 4
"""Pairs whose turn is drawn beside each token: like the hands of a clock, from fast to slow."""


def run(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from stdin.")],
    *,
    against: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Set another text beside it, token by token.")
    ] = None,
    start: Annotated[int, typer.Option(min=0, metavar="N", help="The position of the first token.")] = 0,
    special: Annotated[
        bool, typer.Option("--special", help="Add what the tokenizer puts around a text, such as its beginning.")
    ] = False,
    npy: Annotated[
        Path | None,
        typer.Option(
            "--npy", metavar="FILE", help="Write the rows as a numpy file, float32 (tokens, width); - is stdout."
        ),
    ] = None,
    force: Force = False,
    model: ModelOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show the sequence that the first block reads: for each token its row, and what its position adds.

    GPT-2 and BERT add a row of a trained table. Models with rotary positions add nothing: their rows stay as they are,
    and the angles that await their queries and keys are shown. --against sets two texts side by side: the same tokens
    at other positions.
    """
    check_free(npy, force=force)
    opened = model.open()
    reader = _Reader(opened, start=start, special=special)
    typed = _text(text)
    if against is not None:
        if npy is not None:
            raise typer.BadParameter("--npy writes one text: leave out --against")
        sequence, other = reader.read_both(typed, against)
        output.emit(_Answer(reader, sequence).against(other))
    else:
        sequence = reader.read(typed)
        if npy is not None:
            write_rows(sequence.rows, npy)
        else:
            for line in reader.remarks(sequence) if output.format is not Format.TABLE else ():
                note(line)
            output.emit(_Answer(reader, sequence).listing())
    if explain.explain:
        about = About(opened, model.reached)
        explained = explain_input(about, sequence, typed, against=against is not None)
        explained.show(output.format if npy is None else Format.TSV)


def _text(text: str) -> str:
    if text != "-":
        return text
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("- reads stdin, and nothing is piped in")
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape").rstrip("\r\n")


class _Reader:
    """Turns texts into sequences, with one model."""

    def __init__(self, model: Model, *, start: int, special: bool) -> None:
        self.model = model
        self.start = start
        self.special = special
        self.left_out: str | None = None
        self.positions: Positions = model.positions
        self.tables = SequenceTables(model.input_table, self._table("position"), self._table("token_type"))

    def _table(self, role: str) -> EmbeddingTable | None:
        try:
            return self.model.tables.find(role)
        except TableNotFound:
            return None

    def tokens(self, sequence: InputSequence) -> list[Token | None]:
        """The tokens of a sequence."""
        return [self.model.vocabulary.token(identity) for identity in sequence.ids]

    def read(self, text: str) -> InputSequence:
        """Read a text."""
        ids = self._ids(text)
        self.left_out = None if self.special else self._around(text, ids)
        return self._read(ids)

    def read_both(self, one: str, other: str) -> tuple[InputSequence, InputSequence]:
        """Read two texts so that they share as many tokens as they can.

        Most tokenizers spell a word at the beginning of a text otherwise than after a space; a space before both makes
        the same words the same tokens.
        """
        pair, spaced = ([self._ids(space + text) for text in (one, other)] for space in ("", " "))
        if _lonely(*spaced) < _lonely(*pair):
            note("both texts are read with a space before them, so that the same words are the same tokens")
            pair = spaced
        return self._read(pair[0]), self._read(pair[1])

    def _ids(self, text: str) -> list[int]:
        return [token.id for token in self.model.vocabulary.encode(text, special=self.special)]

    def _around(self, text: str, ids: list[int]) -> str | None:
        """Name what the tokenizer would put around a text, or None where it puts nothing."""
        whole = self.model.vocabulary.encode(text, special=True)
        start = next((at for at in range(len(whole)) if [token.id for token in whole[at:][: len(ids)]] == ids), None)
        if start is None or len(whole) == len(ids):
            return None
        before, after = ([token.text for token in part] for part in (whole[:start], whole[start + len(ids) :]))
        where = "around it" if before and after else "before it" if before else "after it"
        shown = " … ".join(" ".join(part) for part in (before, after) if part)
        return (
            f"the tokenizer would put {shown} {where}, and the positions would move: --special"
            if before
            else (f"the tokenizer would put {shown} {where}: --special")
        )

    def _read(self, ids: list[int]) -> InputSequence:
        if not ids:
            raise typer.BadParameter("the text is empty: it has no tokens")
        return read_sequence(ids, self.tables, self.positions, self.model.config, start=self.start)

    def angles(self, sequence: InputSequence) -> list[list[float]] | None:
        """How far each pair of the first layer type turns at each position, in radians mod 2 pi; None without RoPE."""
        if not isinstance(self.positions, Rope):
            return None
        turning = frequencies(self.positions.settings, max(sequence.positions) + 1)
        turned = np.asarray(turning.angles(np.array(sequence.positions)), np.float64)
        angles: list[list[float]] = (turned % (2 * math.pi)).tolist()
        return angles

    def remarks(self, sequence: InputSequence) -> list[str]:
        """What the numbers do not say."""
        lines = [in_words(self.positions)]
        if sequence.scale != 1:
            assert self.model.config is not None
            scale = self.model.config.embedding_scale
            rounded = " rounded to the dtype of the weights" if scale is not None and scale.rounded else ""
            lines.append(f"rows are multiplied by {sequence.scale:g} first ({scale.origin if scale else ''}{rounded})")
        if sequence.token_type_row is not None:
            lines.append("every token also gets row 0 of the token-type table, which is in the sum")
        if sequence.followed_by is not None:
            lines.append(f"the model normalizes the sum next ({sequence.followed_by}); that is not shown")
        context = self.positions.context_length
        if context is not None and sequence.positions[-1] >= context:
            lines.append(f"position {sequence.positions[-1]} is beyond the context of {count(context)} tokens")
        if self.left_out is not None:
            lines.append(self.left_out)
        return [*lines, *sequence.notes]


class _Answer:
    """One sequence, or two side by side, as a listing."""

    def __init__(self, reader: _Reader, sequence: InputSequence) -> None:
        self.reader = reader
        self.sequence = sequence

    def _context(self) -> dict[str, Any]:
        return {
            "model": self.reader.model.name,
            "position_kind": self.sequence.position_kind,
            "scale": self.sequence.scale,
        }

    def _records(self, sequence: InputSequence) -> list[dict[str, Any]]:
        """One record per token."""
        angles, position_norms = self.reader.angles(sequence), sequence.position_norms
        token_norms, norms, cosine = sequence.token_norms, sequence.norms, sequence.cosines
        return [
            {
                "position": place,
                **token_fields(token, identity),
                "token_norm": float(token_norms[i]),
                "position_norm": None if position_norms is None else float(position_norms[i]),
                "norm": float(norms[i]),
                "cosine": float(cosine[i]),
                **({} if angles is None else {"angle": angles[i]}),
                "values": sequence.rows[i],
            }
            for i, (place, identity, token) in enumerate(
                zip(sequence.positions, sequence.ids, self.reader.tokens(sequence), strict=True)
            )
        ]

    def _columns(self) -> list[Column]:
        added = self.sequence.position_rows is not None or self.sequence.token_type_row is not None
        return [
            Column("position", right=True),
            Column("id", right=True, show=count),
            Column("piece", terminal=False),
            Column("token", show=visible, style="bold"),
            Column("bytes", terminal=False),
            Column("token_norm", title="token row", right=True, show=_short),
            Column("position_norm", title="position row", right=True, show=_short, terminal=added),
            Column("norm", title="sum", right=True, show=_short, terminal=added),
            Column("cosine", title="cosine", right=True, show=_short, terminal=added),
            *self._dial_columns(("dials",), ("turned",)),
            Column("values", terminal=False, spread=self.sequence.rows.shape[1]),
        ]

    def _dial_columns(self, keys: Sequence[str], titles: Sequence[str]) -> list[Column]:
        if not isinstance(self.reader.positions, Rope):
            return []
        return [Column(key, title=title, machine=False, style="cyan") for key, title in zip(keys, titles, strict=True)]

    def listing(self) -> Listing:
        """One sequence."""
        context = self._context()
        plain = self._records(self.sequence)
        records = [{**record, **_drawn("dials", record.get("angle"))} for record in plain]
        title = f"{abridge(self.reader.model.name, LONGEST_NAME)}   what the first block reads"
        after = closing([*self.reader.remarks(self.sequence), *self._legend()])
        shown = Listing("input", self._columns(), [Group(records, title=title, after=after)], "rows")
        return Listing(
            "input",
            self._columns(),
            [Group(plain)],
            "rows",
            context=context,
            line=context,
            document=None,
            terminal=shown,
        )

    def _legend(self) -> list[str]:
        """What the columns show."""
        added = self.sequence.position_rows is not None or self.sequence.token_type_row is not None
        cosine = "; cosine: of the token row and the sum" if added else ""
        return [f"token row{', position row, sum: their lengths' if added else ': its length'}{cosine}", *self._hands()]

    def _hands(self) -> list[str]:
        """Which pairs the dials show."""
        if not isinstance(self.reader.positions, Rope):
            return []
        chosen = ", ".join(map(str, _hands(self.reader.positions.settings.pairs)))
        return [f"turned: pairs {chosen}, fast to slow"]

    def against(self, other: InputSequence) -> Listing:
        """Two sequences: each token of the first beside the same token of the second."""
        ours, theirs = self._records(self.sequence), self._records(other)
        pairs = list(self._matched(ours, theirs))
        columns = [
            Column("id", right=True, show=count),
            Column("piece", terminal=False),
            Column("token", show=visible, style="bold"),
            Column("bytes", terminal=False),
            Column("position", title="in A", right=True),
            Column("position_against", title="in B", right=True),
            Column("rows_equal", title="row", show=lambda equal: "same" if equal else "differs"),
            Column("inputs_equal", title="input", show=lambda equal: "same" if equal else "differs"),
            Column("cosine", title="cosine", right=True, show=_short),
            Column("distance", terminal=False),
            *self._dial_columns(("dials", "dials_against"), ("turned in A", "in B")),
        ]
        keys = [column.key for column in columns if column.machine]
        plain = [{key: record[key] for key in keys} for record in pairs]

        def document() -> dict[str, Any]:
            return {**self._context(), "rows": ours, "against": {"rows": theirs}, "pairs": plain}

        after = closing([*self.reader.remarks(self.sequence), *self._hands()])
        title = f"{abridge(self.reader.model.name, LONGEST_NAME)}   A and B: the same tokens at other positions"
        shown = Listing("input", columns, [Group(pairs, title=title, after=after)], "pairs")
        context = self._context()
        return Listing(
            "input", columns, [Group(plain)], "pairs", context=context, line=context, document=document, terminal=shown
        )

    def _matched(self, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Each token with its like in the other text, in order; one that has none stands alone."""
        waiting: dict[int, list[dict[str, Any]]] = {}
        for record in theirs:
            waiting.setdefault(record["id"], []).append(record)
        for record in ours:
            alike = waiting.get(record["id"])
            yield self._pair(record, alike.pop(0) if alike else None)
        for rest in waiting.values():
            for record in rest:
                yield self._pair(None, record)

    def _pair(self, ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> dict[str, Any]:
        named = ours or theirs or {}
        both = ours is not None and theirs is not None
        a, b = (np.asarray(side["values"]) if side else np.zeros(0) for side in (ours, theirs))
        return {
            **{key: named[key] for key in ("id", "piece", "token", "bytes")},
            "position": ours["position"] if ours else None,
            "position_against": theirs["position"] if theirs else None,
            "rows_equal": True if both else None,
            "inputs_equal": bool(np.array_equal(a, b)) if both else None,
            "cosine": float(cosines(a, b)) if both else None,
            "distance": float(np.linalg.norm(a - b)) if both else None,
            **_drawn("dials", ours.get("angle") if ours else None),
            **_drawn("dials_against", theirs.get("angle") if theirs else None),
        }


def _lonely(one: list[int], other: list[int]) -> int:
    """How many tokens of two texts have no like in the other one."""
    shared = sum((Counter(one) & Counter(other)).values())
    return len(one) + len(other) - 2 * shared


def _hands(pairs: int) -> list[int]:
    """Some pairs from the fastest to the slower ones: the first of each doubling."""
    return sorted({min(pairs - 1, place) for place in (0, *(2**step for step in range(HANDS - 1)))})


def _drawn(key: str, angles: list[float] | None) -> dict[str, str]:
    """Draw the turn of some pairs."""
    if angles is None:
        return {}
    return {key: dials([angles[pair] for pair in _hands(len(angles))])}


def _short(value: float) -> str:
    return f"{value:.4f}"
