"""Rules about the model that this one was made from: rows, ids, positions and tying are kept, new rows are trained."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from embtool.answers.text import plural
from embtool.arrays import Doubles, np
from embtool.errors import EmbtoolError
from embtool.positions import Positions, Rope
from embtool.questions.check.numbers import is_mean
from embtool.questions.check.rule import Found, Severity, ids_in_words, rule, some
from embtool.questions.check.subject import Subject
from embtool.rope import frequencies
from embtool.tables.table_roles import Tables
from embtool.vocabulary import Vocabulary

CLOSE = 1e-6
"""Relative difference of two frequencies that are one: GGUF files hold numbers in 32 bits."""

COMPARED = ("rope_type", "rope_theta", "rotary_dim", "factor", "original_max_position_embeddings")
"""Settings of a rotation that are named where frequencies differ."""


@rule(
    "shrunk-table",
    Severity.ERROR,
    "the table has at least as many rows as the base model's",
    "Resizing a padded table to the number of tokens drops rows: adapters made for the base do not fit any more, and "
    "merges and quantised files fail on the shape.",
    advice="keep the base's number of rows: pad_to_multiple_of in resize_token_embeddings, or no resize at all",
    threads=(
        "unslothai/unsloth#978",
        "huggingface/peft#1457",
    ),
    needs=("input",),
)
def shrunk_table(subject: Subject, base: Subject) -> Iterator[Found]:
    before, now = base.rows, subject.rows
    if before is not None and now is not None and now < before:
        yield Found(f"{now:,} rows, {base.name} has {before:,}: {before - now:,} were dropped")


@rule(
    "moved-token",
    Severity.ERROR,
    "tokens of the base model have kept their ids",
    "A token with another id reads another row: what the base model knew of it is lost.",
    advice="take the base's tokenizer, and add new tokens behind its last id",
)
def moved_token(base: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    if base.vocabulary is None:
        return
    now = {token.piece: token.id for token in vocabulary}
    moved = [token for token in base.vocabulary if now.get(token.piece, token.id) != token.id]
    if moved:
        names = some(repr(token.text) for token in moved)
        yield Found(
            f"{plural(len(moved), 'token')} of {base.name} with another id here: {names}",
            [now[token.piece] for token in moved],
        )


@rule(
    "positions-differ",
    Severity.ERROR,
    "positions are those of the base model",
    "Queries and keys are turned by other angles than in training: answers get worse with the distance, or are "
    "nonsense from the first word. Merges, conversions and hand-written configs lose theta and the stretching.",
    advice="take the RoPE settings of the base's config.json; `embtool rope compare BASE MODEL` shows every number",
    threads=(
        "ggml-org/llama.cpp#2773",
        "ggml-org/llama.cpp#2768",
        "unslothai/unsloth-zoo#1073",
        "meta-llama/codellama#188",
    ),
    needs=("positions",),
)
def positions_differ(subject: Subject, base: Subject) -> Iterator[Found]:
    now, before = subject.positions, base.positions
    unknown = now is not None and now.kind == "none" and not getattr(now, "known", True)
    if now is None or before is None or unknown:
        return
    file = None if subject.config is None else subject.config.file
    if now.kind != before.kind:
        yield Found(f"positions are {now.kind}, those of {base.name} {before.kind}", file=file)
    elif isinstance(now, Rope) and isinstance(before, Rope):
        changes = _changes(now, before, same_format=subject.is_gguf == base.is_gguf)
        if changes:
            yield Found(f"RoPE is not that of {base.name}: {'; '.join(changes)}", file=file)


def _changes(now: Rope, before: Rope, *, same_format: bool) -> list[str]:
    """Say what differs in the rotation of each kind of layer; nothing where every frequency is the same.

    The layouts of a GGUF file and of the model it was made from differ, as do the tables that are turned.
    """
    pairs = list(zip(now.layers, before.layers, strict=False))
    if len(now.layers) != len(before.layers):
        return [f"{plural(len(now.layers), 'kind')} of layers turn, {len(before.layers)} there"]
    found: dict[str, None] = {}
    for one, other in pairs:
        mine, theirs = frequencies(one.settings), frequencies(other.settings)
        as_many = mine.inv_freq.shape == theirs.inv_freq.shape
        if not (as_many and np.allclose(mine.inv_freq, theirs.inv_freq, rtol=CLOSE, atol=0)):
            differ = [(name, getattr(one.settings, name), getattr(other.settings, name)) for name in COMPARED]
            named = [f"{name} {_written(a)}, there {_written(b)}" for name, a, b in differ if a != b]
            if not named:
                apart = np.flatnonzero(~np.isclose(mine.inv_freq, theirs.inv_freq, rtol=CLOSE, atol=0))
                named = [f"{plural(len(apart), 'frequency', 'frequencies')} of {len(mine.inv_freq)}"]
            found |= dict.fromkeys(named)
        if not np.isclose(mine.attention_factor, theirs.attention_factor, rtol=CLOSE, atol=0):
            found[f"attention factor {mine.attention_factor:.6g}, there {theirs.attention_factor:.6g}"] = None
        layouts = (one.settings.layout, other.settings.layout)
        if same_format and None not in layouts and layouts[0] != layouts[1]:
            found[f"layout {layouts[0]}, there {layouts[1]}"] = None
    return list(found)


def _written(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, int | float) else "none" if value is None else str(value)


@rule(
    "context-differs",
    Severity.WARNING,
    "the context is as long as the base model's",
    "A shorter one cuts texts that the model could read; a longer one, with the frequencies as they were, promises "
    "what was never trained.",
    advice="write the base's max_position_embeddings, or leave it where the model was trained further",
)
def context_differs(subject: Subject, base: Subject, positions: Positions) -> Iterator[Found]:
    now = positions.context_length
    before = None if base.positions is None else base.positions.context_length
    if now is not None and before is not None and now != before:
        file = None if subject.config is None else subject.config.file
        yield Found(f"the context is {now:,} tokens, that of {base.name} {before:,}", file=file)


@rule(
    "tying-differs",
    Severity.WARNING,
    "the tables are tied as in the base model",
    "A merge that unties writes a second table, one that ties throws the trained one away.",
    advice="write the base's tie_word_embeddings into config.json, and save again",
)
def tying_differs(subject: Subject, base: Subject, tables: Tables) -> Iterator[Found]:
    before = None if base.tables is None else base.tables.tying.verdict
    now = tables.tying.verdict
    if {now, before} == {"tied", "untied"} and subject.adapter is None:
        yield Found(f"input and output table are {now}, those of {base.name} {before}")


# --- new tokens -------------------------------------------------------------------------------------------------------

MANY = 4096
"""New tokens whose rows are read; more than that are a new vocabulary."""


@dataclass(frozen=True)
class _New:
    """The rows of new tokens, and what they are held against."""

    ids: list[int]
    rows: Doubles
    mean: Doubles
    before: dict[int, Doubles]
    """Rows of the base with these ids, which were padding there."""

    def kinds(self) -> Iterator[tuple[str, list[int]]]:
        """Yield each way in which rows were left, and the ids of those that were."""
        left = dict(zip(self.ids, self.rows, strict=True))
        before = self.before
        tests: Mapping[str, Callable[[int, Doubles], bool]] = {
            "all zeros: the table was enlarged and the rows never written": lambda _, row: not row.any(),
            "still the padding rows of the base: the table was never resized, and they were never trained": (
                lambda identity, row: identity in before and np.array_equal(before[identity], row)
            ),
            "the mean of the table: resized with mean_resizing, and never trained": (
                lambda _, row: is_mean(row, self.mean)
            ),
        }
        for what, test in tests.items():
            found = [identity for identity in left if test(identity, left[identity])]
            if found:
                yield what, found
            left = {identity: row for identity, row in left.items() if identity not in found}
        alike: dict[bytes, list[int]] = {}
        for identity, row in left.items():
            alike.setdefault(row.tobytes(), []).append(identity)
        same = [identity for group in alike.values() if len(group) > 1 for identity in group]
        if same:
            yield "equal to each other: written with one start value, and never trained", same


@rule(
    "new-token-rows",
    Severity.WARNING,
    "the rows of new tokens were initialised and trained",
    "A token that was added to the tokenizer alone reads a row that means nothing: the model does not know it, and "
    "training without the table leaves it so.",
    advice="initialise the rows from the tokens' descriptions, and train the tables too (modules_to_save or "
    "trainable_token_indices in PEFT)",
    deep=True,
    needs=("base", "input"),
)
def new_token_rows(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    new = _new_rows(subject)
    if new is None:
        return
    for what, ids in new.kinds():
        tokens = [vocabulary.token(identity) for identity in ids]
        names = some(repr(token.text) for token in tokens if token is not None)
        was = "the row of 1 new token is" if len(ids) == 1 else f"the rows of {len(ids):,} new tokens are"
        assert subject.input is not None
        yield Found(f"{was} {what}: {names} ({ids_in_words(ids)})", ids, tensor=subject.input.tensor.name)


def _new_rows(subject: Subject) -> _New | None:
    """Read the rows of tokens that the base does not have; None where there are none, or they cannot be read."""
    base, words, table = subject.base, subject.vocabulary, subject.input
    assert base is not None
    assert words is not None
    if base.vocabulary is None or table is None or table not in subject.readable or subject.surveys is None:
        return None
    ids = [identity for identity, piece in words.pieces() if not base.vocabulary.has_piece(piece)]
    ids = [identity for identity in ids if identity < table.shape[0]]
    if not 0 < len(ids) <= MANY:
        return None
    kept: dict[int, Doubles] = {}
    if base.input is not None and base.input in base.readable and base.input.shape[1] == table.shape[1]:
        padding = [row for row in ids if row < base.input.shape[0] and base.vocabulary.token(row) is None]
        try:
            kept = dict(zip(padding, base.input.rows(padding).astype(np.float64), strict=True)) if padding else {}
        except EmbtoolError:
            kept = {}
    return _New(ids, table.rows(ids).astype(np.float64), subject.surveys.of(table).mean, kept)
