"""The sequence that the first block reads: for each token its row, and what its position adds."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embtool.answers import Block, Column, Listing, column, context, identity, python, records, token_column, value
from embtool.answers.fields import record_of
from embtool.answers.text import abridge, dial, fixed, plural, shell
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.positions import Rope
from embtool.questions.positions import closing, in_words
from embtool.rope import frequencies
from embtool.tables.sequence import InputSequence, SequenceTables, cosines, read_sequence, sequence_tables
from embtool.vocabulary import Token

if TYPE_CHECKING:
    from embtool.positioned import Positioned

LONGEST_NAME = 30
"""Characters of a model's name in a title."""

HANDS = 4
"""Pairs whose turn is drawn beside each token: like the hands of a clock, from fast to slow."""

SPACED = "both texts are read with a space before them, so that the same words are the same tokens"


def _hands(pairs: int) -> list[int]:
    """Choose some pairs from the fastest to the slower ones: the first of each doubling."""
    return sorted({min(pairs - 1, place) for place in (0, *(2**step for step in range(HANDS - 1)))})


def _dials(angles: Doubles) -> str:
    return "".join(dial(float(angles[pair])) for pair in _hands(len(angles)))


def _same(equal: bool) -> str:  # noqa: FBT001 - what a column shows
    return "same" if equal else "differs"


@dataclass(frozen=True)
class InputToken:
    """One token of the sequence; `values`, float64 (width,), is what the first block reads."""

    position: int = column("where it stands", right=True)
    id: int = identity()
    token: Token | None = token_column()
    token_norm: float = column("length of its row, scaled", title="token row", right=True, show=fixed)
    position_norm: float | None = column(
        "length of what is added for its position; null where nothing is", title="position row", right=True, show=fixed
    )
    norm: float = column("length of the sum", title="sum", right=True, show=fixed)
    cosine: float = column("cosine of its row and the sum; null where one is zero", right=True, show=fixed)
    angle: Doubles | None = column(
        "how far its position turns each pair, in radians, less than a turn; only with rotary positions",
        title="turned",
        show=_dials,
        machine=False,
        style="cyan",
        optional=True,
    )
    values: Doubles = column("the sum, in full precision", terminal=False, spread=0)


@dataclass(frozen=True)
class MatchedToken:
    """A token of one text and the same token of another; what one lacks is None."""

    id: int = identity()
    token: Token | None = token_column()
    position: int | None = column("where it stands in the first text", default=None, title="in A", right=True)
    position_against: int | None = column("where it stands in the other one", default=None, title="in B", right=True)
    rows_equal: bool | None = column("whether its row is the same", default=None, title="row", show=_same)
    inputs_equal: bool | None = column(
        "whether what the first block reads is the same", default=None, title="input", show=_same
    )
    cosine: float | None = column("cosine of what the first block reads", default=None, right=True, show=fixed)
    distance: float | None = column("distance of the two", default=None, terminal=False)
    ours: InputToken | None = python(default=None)
    theirs: InputToken | None = python(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class InputAnswer(Listing[InputToken]):
    """What the first block reads of a text; `remarks` is what the numbers do not say."""

    command = "input"

    model: str = context("the model, as it was named")
    position_kind: str = context("how it knows order: rope, learned, sinusoidal, alibi, relative, none or unknown")
    scale: float = context("what rows are multiplied by")
    rows: tuple[InputToken, ...] = records("the tokens in order")
    sequence: InputSequence = python()
    remarks: tuple[str, ...] = python(default=())

    def columns(self) -> Sequence[Column]:
        """Return the columns: a terminal shows those of positions where they add something, dials where they turn."""
        added = self.sequence.position_rows is not None or self.sequence.token_type_row is not None
        shown = {**dict.fromkeys(("position_norm", "norm", "cosine"), added), "angle": self.position_kind == "rope"}
        return [
            replace(each, spread=self.sequence.rows.shape[1])
            if each.spread is not None
            else replace(each, terminal=shown.get(each.key, each.terminal))
            for each in super().columns()
        ]

    def title(self) -> str:
        """Return what is shown."""
        return f"{abridge(self.model, LONGEST_NAME)}   what the first block reads"

    def after(self) -> Sequence[str]:
        """Return the remarks, and what the columns show."""
        added = any(each.key == "norm" and each.terminal for each in self.columns())
        told = "token row, position row, sum: their lengths; cosine: of the token row and the sum"
        return closing([*self.remarks, told if added else "token row: its length", *_about_dials(self.rows)])


@dataclass(frozen=True)
class OtherText:
    """The text that another is set beside."""

    rows: tuple[InputToken, ...] = value("the tokens in order")


@dataclass(frozen=True, repr=False, eq=False)
class InputComparison(Listing[MatchedToken]):
    """Two texts: each token of the first beside the same token of the other."""

    command = "input"

    model: str = context("the model, as it was named")
    position_kind: str = context("how it knows order: rope, learned, sinusoidal, alibi, relative, none or unknown")
    scale: float = context("what rows are multiplied by")
    rows: tuple[InputToken, ...] = value("the tokens of the first text")
    against: OtherText = value("the other text")
    pairs: tuple[MatchedToken, ...] = records("each token with its like, in order; one that has none stands alone")
    sequence: InputSequence = python()
    remarks: tuple[str, ...] = python(default=())
    notes: tuple[str, ...] = python(default=())

    def blocks(self) -> Iterator[Block]:
        """Yield the pairs, with dials where positions turn."""
        shown = self.shown_columns()
        found = [record_of(pair) for pair in self.pairs]
        if self.position_kind == "rope":
            shown += [Column("ours", title="turned in A", machine=False, style="cyan")]
            shown += [Column("theirs", title="in B", machine=False, style="cyan")]
            for record, pair in zip(found, self.pairs, strict=True):
                for name, side in (("ours", pair.ours), ("theirs", pair.theirs)):
                    record[name] = None if side is None or side.angle is None else _dials(side.angle)
        title = f"{abridge(self.model, LONGEST_NAME)}   A and B: the same tokens at other positions"
        yield Block(title, shown, found, after=closing([*self.remarks, *_about_dials(self.rows)]))


def _about_dials(tokens: Sequence[InputToken]) -> list[str]:
    """Say which pairs the dials show."""
    if not tokens or tokens[0].angle is None:
        return []
    return [f"turned: pairs {', '.join(map(str, _hands(len(tokens[0].angle))))}, fast to slow"]


def ask_input(model: "Positioned", text: str, *, start: int = 0, special: bool = False) -> InputAnswer:
    """Tell what the first block reads of a text.

    Args:
        model: the model.
        text: the text.
        start: the position of the first token.
        special: add what the tokenizer puts around a text.

    Raises:
        InvalidArgument: the text is empty, or the start below 0.
        TokenIdOutOfRange: a position has no row.
    """
    tables = sequence_tables(model.tables, model.positions, model.config)
    ids = _ids(model, text, special=special)
    sequence = _read(model, tables, ids, start)
    left_out = () if special else _left_out(model, text, ids)
    remarks = [*_remarks(model, sequence), *left_out, *_begins_bare(model, text), *sequence.notes]
    read = _tokens(model, sequence)
    return InputAnswer(model.name, sequence.position_kind, sequence.scale, read, sequence, tuple(remarks))


def compare_inputs(
    model: "Positioned", text: str, other: str, *, start: int = 0, special: bool = False
) -> InputComparison:
    """Set what the first block reads of two texts side by side.

    They are read so that they share as many tokens as they can: most tokenizers spell a word at the beginning of a text
    otherwise than after a space, and a space before both makes the same words the same tokens.

    Raises:
        InvalidArgument: a text is empty, or the start below 0.
        TokenIdOutOfRange: a position has no row.
    """
    tables = sequence_tables(model.tables, model.positions, model.config)
    pair, spaced = ([_ids(model, space + each, special=special) for each in (text, other)] for space in ("", " "))
    is_nearer = _lonely(*spaced) < _lonely(*pair)
    a, b = (_read(model, tables, ids, start) for ids in (spaced if is_nearer else pair))
    ours, theirs = _tokens(model, a), _tokens(model, b)
    return InputComparison(
        *(model.name, a.position_kind, a.scale, ours, OtherText(theirs), tuple(_matched(ours, theirs)), a),
        remarks=(*_remarks(model, a), *a.notes),
        notes=(SPACED,) if is_nearer else (),
    )


def _ids(model: "Positioned", text: str, *, special: bool) -> list[int]:
    return [token.id for token in model.vocabulary.encode(text, special=special)]


def _read(model: "Positioned", tables: SequenceTables, ids: list[int], start: int) -> InputSequence:
    if not ids:
        raise InvalidArgument("the text is empty: it has no tokens")
    if start < 0:
        raise InvalidArgument(f"start is 0 or more, not {start}")
    return read_sequence(ids, tables, model.positions, model.config, start=start)


def _tokens(model: "Positioned", sequence: InputSequence) -> tuple[InputToken, ...]:
    """Return a record for each token; `angle` is that of the first kind of layer."""
    size = len(sequence.ids)
    angles: Sequence[Any] = [None] * size
    if isinstance(model.positions, Rope):
        turning = frequencies(model.positions.settings, max(sequence.positions) + 1)
        angles = list(np.asarray(turning.angles(np.array(sequence.positions)), np.float64) % (2 * math.pi))
    added = sequence.position_norms
    columns = zip(
        sequence.positions,
        sequence.ids,
        map(model.vocabulary.token, sequence.ids),
        sequence.token_norms.tolist(),
        [None] * size if added is None else added.tolist(),
        sequence.norms.tolist(),
        sequence.cosines.tolist(),
        angles,
        sequence.rows,
        strict=True,
    )
    return tuple(InputToken(*each) for each in columns)


def _remarks(model: "Positioned", sequence: InputSequence) -> Iterator[str]:
    """Yield what the numbers do not say."""
    yield in_words(model.positions)
    if sequence.scale != 1:
        scale = None if model.config is None else model.config.embedding_scale
        rounded = " rounded to the dtype of the weights" if scale is not None and scale.rounded else ""
        yield f"rows are multiplied by {sequence.scale:g} first ({scale.origin if scale else ''}{rounded})"
    if sequence.token_type_row is not None:
        yield "every token also gets row 0 of the token-type table, which is in the sum"
    if sequence.followed_by is not None:
        yield f"the model normalizes the sum next ({sequence.followed_by}); that is not shown"
    longest = model.positions.context_length
    if longest is not None and sequence.positions[-1] >= longest:
        yield f"position {sequence.positions[-1]} is beyond the context of {plural(longest, 'token')}"


def _left_out(model: "Positioned", text: str, ids: list[int]) -> Iterator[str]:
    """Name what the tokenizer would put around a text, if anything."""
    whole = list(model.vocabulary.encode(text, special=True))
    start = next((at for at in range(len(whole)) if [token.id for token in whole[at:][: len(ids)]] == ids), None)
    if start is None or len(whole) == len(ids):
        return
    before, after = ([token.text for token in part] for part in (whole[:start], whole[start + len(ids) :]))
    where = "around it" if before and after else "before it" if before else "after it"
    shown = " … ".join(" ".join(part) for part in (before, after) if part)
    moved = ", and the positions would move" if before else ""
    yield f"the tokenizer would put {shown} {where}{moved}: --special"


def _begins_bare(model: "Positioned", text: str) -> Iterator[str]:
    """Say that the first word is split otherwise than inside a text, where a space before it makes fewer tokens."""
    word = next(iter(text.split()), "")
    if text.startswith(word) and model.vocabulary.marks_words(word):
        bare, inside = (len(_ids(model, space + word, special=False)) for space in ("", " "))
        if inside < bare:
            yield (
                f"{word!r} begins the text without a space before it, and is {plural(bare, 'token')} so; inside a text "
                f"it is {plural(inside, 'token')}: {shell(['input', f' {text}'])}"
            )


def _lonely(one: list[int], other: list[int]) -> int:
    """Count the tokens of two texts that have no like in the other one."""
    return len(one) + len(other) - 2 * sum((Counter(one) & Counter(other)).values())


def _matched(ours: Sequence[InputToken], theirs: Sequence[InputToken]) -> Iterator[MatchedToken]:
    """Yield each token with its like in the other text, in order; one that has none stands alone."""
    waiting: dict[int, list[InputToken]] = {}
    for token in theirs:
        waiting.setdefault(token.id, []).append(token)
    for token in ours:
        if not waiting.get(token.id):
            yield MatchedToken(token.id, token.token, token.position, ours=token)
            continue
        like = waiting[token.id].pop(0)
        yield MatchedToken(
            token.id,
            token.token,
            token.position,
            like.position,
            rows_equal=True,
            inputs_equal=np.array_equal(token.values, like.values),
            cosine=float(cosines(token.values, like.values)),
            distance=float(np.linalg.norm(token.values - like.values)),
            ours=token,
            theirs=like,
        )
    for token in (token for rest in waiting.values() for token in rest):
        yield MatchedToken(token.id, token.token, position_against=token.position, theirs=token)
