"""Step 6: where a token stands, in both worlds: a row that is added, and a rotation that knows the distance."""

import math

from embtool.answers.text import count
from embtool.arrays import np
from embtool.lesson.drawings import Beside, Grid, Hands
from embtool.lesson.parts import Kind, Outcome, Question, figure
from embtool.lesson.subject import Subject, Told
from embtool.positions import Learned, Rope
from embtool.questions.rope_relative import SHIFTS
from embtool.rope import RopeSettings, frequencies, turn
from embtool.tables.sequence import cosines
from embtool.tables.table import EmbeddingTable

FAR = 1000
"""The position that the lesson turns to, where the model reads that far."""

SMALL_TURN = 0.02
"""The part of a turn that a guess may be off: to say 0 of a pair that hardly moved is right."""

QUERY, KEY = 7, 3
"""Where the query and the key stand whose dot product is shown."""

PLACES_SHOWN = (0, 1, 2, 3, 10, 100)
"""Positions at which the hands are drawn, before the one that is asked about."""

PAIRS_SHOWN = (0, 4, 8, 16)
"""Pairs whose hands are drawn, before the slowest."""

APART = (1, 2, 4, 8, 16, 32)
"""How far apart two places are that are compared in both worlds."""


def position(subject: Subject) -> list[Question]:
    """A table that is added, then a rotation: the reader's own where it has them."""
    added, turned = subject.with_added_positions, subject.with_turned_positions
    own: tuple[str, ...] = ()
    if subject not in (added.subject, turned.subject):
        no_blocks = f"{subject.name}, which has no blocks, cannot be told"
        told = f", and {no_blocks}." if subject.is_idle else f". As to {subject.name}: {subject.place_told}."
        own = (f"A row does not know where its token stands{told}",)
    questions = _added(added, own, is_own=added.subject is subject)
    rope = turned.subject.positions
    assert isinstance(rope, Rope)
    begun = _told_of_rotation(turned.subject, rope, is_own=turned.subject is subject)
    questions += _turns(turned.subject, rope, begun)
    if rope.settings.layout is not None:
        questions.append(_distance_only(turned.subject, rope.settings, added.subject))
    return questions


# --- added ------------------------------------------------------------------------------------------------------------


def _added(on: Told, own: tuple[str, ...], *, is_own: bool) -> list[Question]:
    """The table of positions: how long it is, and how alike two places side by side are."""
    subject, known = on.subject, on.subject.positions
    table = subject.position_table
    assert table is not None
    assert isinstance(known, Learned)
    rows = table.shape[0]
    longest = rows - known.row_offset
    first = known.row(min(10, longest - 2)) if longest > 1 else known.row(0)
    second = min(first + 1, rows - 1)
    whose = "This model" if is_own else f"One world: {subject.name}, which comes with embtool,"

    def alike() -> Outcome:
        a, b = table.rows([first, second]).astype(np.float64)
        found = float(cosines(a, b))
        if not math.isfinite(found):
            return Outcome("no cosine: a row is all zeros")
        drawn = _alike_by_place(subject, table, known)
        lines = ["These rows are trained like any other: what they say of a place, they had to learn."]
        lines += ["Here are places so far apart, from two starts:"] if drawn is not None else []
        return Outcome(found, tuple(lines), drawn)

    return [
        Question(
            "How many rows has that table?",
            lambda: Outcome(
                rows,
                (f"So position {count(longest)}, counted from 0, has no row: a longer text cannot be read at all.",),
            ),
            (
                *own,
                f"{whose} has a second table, {table.tensor.name}: a row for each position, added to the token's row.",
            ),
            unit="rows",
            commands=(subject.about("info"),),
        ),
        Question(
            f"What is the cosine of its rows {count(first)} and {count(second)}, two places side by side?",
            alike,
            kind=Kind.COSINE,
            commands=(subject.command("similarity", f"id:{first}", f"id:{second}", "--table", "position"),),
        ),
    ]


def _alike_by_place(subject: Subject, table: EmbeddingTable, known: Learned) -> Grid | None:
    """Compare places that are so far apart, from two starts; None where the table is too short, or a row is zero."""
    longest = table.shape[0] - known.row_offset
    starts = (longest // 10, longest // 2)
    apart = [each for each in APART if starts[1] + each < longest]
    if not apart or starts[0] == starts[1]:
        return None
    rows = table.rows([known.row(place) for place in range(longest)]).astype(np.float64)
    found = [[float(cosines(rows[start], rows[start + each])) for start in starts] for each in apart]
    if not np.isfinite(found).all():
        return None
    return Grid(
        f"added: {subject.name}, cosine",
        ("apart", *(f"from {count(start)}" for start in starts)),
        tuple((str(each), *(f"{value:.3f}" for value in values)) for each, values in zip(apart, found, strict=True)),
    )


# --- turned -----------------------------------------------------------------------------------------------------------


def _told_of_rotation(subject: Subject, rope: Rope, *, is_own: bool) -> tuple[str, ...]:
    settings = rope.settings
    whose = "By its config, this model rotates" if is_own else f"The other world: models like {subject.name} rotate"
    facts = [f"{settings.rotary_dim} of {settings.head_dim} channels turn, theta {settings.rope_theta:,.0f}"]
    layers, every = rope.layers[0].layer_count, rope.num_hidden_layers
    if layers is not None and every is not None and layers < every:
        facts.append(f"in {layers} of {every} layers")
    if rope.context_length is not None:
        facts.append(f"for texts of up to {count(rope.context_length)} tokens")
    return (
        (
            f"{whose}: nothing is added. In a block each token asks with a list of numbers, its query, and is asked "
            "by another, its key; the dot product of the two says how much one heeds the other. Before that both are "
            f"turned: in each head their channels go two by two, {settings.pairs} pairs, and each pair turns like the "
            "hand of a clock (the clock is a comparison, the angle is real): a step further, a bit further round. "
            "Pair 0 is the fastest hand."
        ),
        f"Here {', '.join(facts)}. The larger theta, the slower the last hands.",
    )


def _turns(subject: Subject, rope: Rope, told: tuple[str, ...]) -> list[Question]:
    """How far the hands of two pairs go, the fastest and the slowest."""
    place = FAR if rope.context_length is None else min(FAR, rope.context_length - 1)
    turning = frequencies(rope.settings, place + 1)
    last = max(rope.settings.live_pairs - 1, 0)
    commands = (subject.command("rope", "--pos", str(place)),)

    def outcome(pair: int) -> Outcome:
        turns = float(np.asarray(turning.angles(place), np.float64)[pair]) / (2 * math.pi)
        wave = float(turning.wavelength[pair])
        return Outcome(turns, (f"Pair {pair} needs {figure(wave)} tokens for one turn.",))

    def slow() -> Outcome:
        found = outcome(last)
        said = "Fast pairs tell neighbours apart, slow ones the near from the far; together they tell places apart."
        pairs = (*(pair for pair in PAIRS_SHOWN if pair < last), last)
        places = (*(each for each in PLACES_SHOWN if each < place), place)
        angles = tuple(tuple(float(turning.angles(each)[pair]) for pair in pairs) for each in places)
        hands = Hands("hands: a column for each pair, fast to slow", places, pairs, angles)
        return Outcome(found.answer, (*found.lines, said), hands)

    return [
        Question(
            f"How many times has pair 0 gone round at position {count(place)}?",
            lambda: outcome(0),
            told,
            kind=Kind.TURNS,
            unit="turns",
            slack=SMALL_TURN,
            commands=commands,
        ),
        Question(
            f"And pair {last}, the last that turns?",
            slow,
            kind=Kind.TURNS,
            unit="turns",
            slack=SMALL_TURN,
            commands=commands,
        ),
    ]


def _distance_only(subject: Subject, settings: RopeSettings, added: Subject) -> Question:
    """What a dot product sees of the rotation."""

    def find() -> Outcome:
        here, there = (_dot(settings, QUERY + shift, KEY + shift) for shift in (0, FAR))
        lines = (
            f"At {QUERY} and {KEY}: {here:.6f}. At {count(QUERY + FAR)} and {count(KEY + FAR)}: {there:.6f}.",
            (
                "Both hands went on by the same angle, so the angle between them stayed. The dot product sees the "
                f"distance, {QUERY - KEY}, and not the place: position became relative without a table. A table that "
                "was added knows places, and had to learn what a distance is."
            ),
        )
        return Outcome(2, lines, _both_worlds(subject, settings, added))

    return Question(
        f"A query of ones stands at {QUERY}, a key of ones at {KEY}. Move both {count(FAR)} further: their dot product "
        "…",
        find,
        ("So much for the hands. What does the dot product see of them?",),
        kind=Kind.CHOICE,
        choices=("grows", "shrinks", "stays"),
        remarks=(
            "Both turn on, but by the same angle.",
            "It is not how far from the start they are that counts.",
            "",
        ),
        commands=(subject.command("rope", "--relative", str(QUERY), str(KEY)),),
    )


def _dot(settings: RopeSettings, query: int, key: int) -> float:
    """The dot product of ones that stand at two places, in a text as long as `rope --relative` takes it to be."""
    turning = frequencies(settings, QUERY + max(SHIFTS) + 1)
    ones = np.ones(settings.head_dim)
    at, to = (turn(ones, turning.angles(place), settings, turning.attention_factor) for place in (query, key))
    return float((at.astype(np.float64) * to.astype(np.float64)).sum())


def _both_worlds(subject: Subject, settings: RopeSettings, added: Subject) -> Beside | None:
    """Put side by side how alike two places are where a table is added, and where hands are turned."""
    table, known = added.position_table, added.positions
    if table is None or not isinstance(known, Learned):
        return None
    left = _alike_by_place(added, table, known)
    if left is None:
        return None
    starts = (QUERY, QUERY + FAR)
    return Beside(
        left,
        Grid(
            f"turned: {subject.name}, dot product",
            ("apart", *(f"from {count(start)}" for start in starts)),
            tuple(
                (row[0], *(f"{_dot(settings, start + int(row[0]), start):.3f}" for start in starts))
                for row in left.rows
            ),
        ),
    )
