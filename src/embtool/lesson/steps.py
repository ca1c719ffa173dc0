"""The seven steps, as data: what is told, what is asked, and what is measured for the answer.

Every number is measured on the subject when its step is walked, by the functions that the ordinary commands use. Where
a sentence is a comparison and not a measurement, it says so.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from embtool.answers.text import count, plural, size
from embtool.errors import TableNotFound
from embtool.lesson.parts import Kind, Outcome, Question, Step, figure
from embtool.lesson.subject import Subject
from embtool.positions import Learned, Rope, UnknownPositions
from embtool.rope import Frequencies, RopeSettings, frequencies, turn
from embtool.sequence import InputSequence, cosines
from embtool.undertrained import KIND_MEANINGS

FAR = 1000
"""The position that the lesson turns to, where the model reads that far."""

SMALL_TURN = 0.02
"""The part of a turn that a guess may be off: to say 0 of a pair that hardly moved is right."""

QUERY, KEY = 7, 3
"""Where the query and the key stand whose dot product is shown."""

USUAL_ROPE = RopeSettings(head_dim=64, rope_theta=10_000.0, layout="half")
"""The rotation shown where the model itself has none."""

USUAL_TYPED = ("--theta", "10000", "--dim", "64")
"""The same, as options of `embtool rope`."""

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1))
NEIGHBORS_SHOWN = 5


def choice(ask: str, choices: Sequence[str], right: int, why: str) -> Question:
    """Make a question whose answer is known beforehand: for recall."""
    return Question(ask, lambda: Outcome(right, (why,)), kind=Kind.CHOICE, choices=tuple(choices))


def _listed(subject: Subject, ids: Sequence[int], scores: Sequence[float]) -> str:
    """Write rows and their scores in one line."""
    pairs = zip(ids, scores, strict=True)
    return ", ".join(
        subject.shown(row) + (f" {score:.3f}" if math.isfinite(score) else " (no score)") for row, score in pairs
    )


# --- 1. the mechanism -------------------------------------------------------------------------------------------------


def mechanism(subject: Subject) -> list[Question]:
    """A token id is an address."""
    row = subject.first
    name, number = subject.shown(row), count(row)
    told = (
        "A model never sees letters. The tokenizer cuts a text into tokens, and each token is a number, its id. For "
        f"{name} in {subject.name} the number is {number}."
        if subject.token(row) is not None
        else f"A model never sees letters: a tokenizer turns text into numbers, token ids. {subject.name} has no "
        f"tokenizer here, so take an id as it is: {number}.",
        (
            "What happens to that number? No adding, no multiplying. It says which row of a table to read, as a house "
            "number says where to ring (that much is a comparison). The row itself is real: a list of numbers, learned "
            "in training."
        ),
    )
    return [
        Question(
            f"How many numbers are in {subject.of_row(row)}?",
            lambda: _row(subject, row),
            told,
            unit="numbers",
            commands=(subject.command("row", subject.typed(row)),),
        ),
        _next_door(subject, row),
    ]


def _row(subject: Subject, row: int) -> Outcome:
    values, tensor = subject.row(row), subject.table.tensor
    shown = " ".join(f"{value:+.3f}" for value in values[:4])
    lines = [f"Row {count(row)} begins {shown} … and is {size(tensor.row_bytes)} of {tensor.dtype.name} in the file."]
    if not tensor.parts:
        lines.append(
            f"Its place: {count(row)} × {count(tensor.row_bytes)} = {count(row * tensor.row_bytes)} bytes into the "
            "table. That product is all the arithmetic that an id ever meets."
        )
    return Outcome(len(values), tuple(lines))


def _next_door(subject: Subject, row: int) -> Question:
    rows = subject.table.shape[0]
    other = next((near for near in (row + 1, row - 1, row + 2) if 0 <= near < rows and subject.length(near) > 0), row)

    named = "" if subject.token(other) is None else f", {subject.shown(other)},"

    def find() -> Outcome:
        found = subject.cosine(row, other)
        if not math.isfinite(found):
            return Outcome("no cosine: a row is all zeros", ("A row of zeros has no direction.",))
        said = "They happen to point a similar way here" if found > 0.5 else "Next door, and no close relation"  # noqa: PLR2004
        return Outcome(found, (f"{said}: ids are handed out by the tokenizer, not by meaning.",))

    return Question(
        f"What is the cosine of row {count(row)} and row {count(other)}, from -1 to 1?",
        find,
        (
            (
                f"Row {count(other)}{named} is next door. A cosine of 1 means that two rows point the same way, 0 that "
                "they have nothing in common, -1 that they are opposite."
            ),
        ),
        kind=Kind.COSINE,
        commands=(subject.command("similarity", f"id:{row}", f"id:{other}"),),
    )


# --- 2. what the vector encodes ---------------------------------------------------------------------------------------


def meaning(subject: Subject) -> list[Question]:
    """The nearest rows."""
    row, others = subject.company
    told: tuple[str, ...] = (
        (
            "Nobody wrote these numbers. Training moved each row, a little at a time, to where it served the task. So "
            "tokens used in the same company tend to end up with rows that point the same way. That is what people "
            "mean by meaning in a table; what is measured is an angle."
        ),
    )
    if subject.token(row) is None:
        told += ("There is no tokenizer here, so the rows have no names, and this guess is a blind one.",)

    def find() -> Outcome:
        scores = [subject.cosine(row, other) for other in others]
        best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0
        near = subject.neighbors(row, NEIGHBORS_SHOWN)
        return Outcome(
            best,
            (
                f"Cosines with {subject.shown(row)}: {_listed(subject, others, scores)}.",
                (
                    f"Nearest of all {count(subject.table.shape[0])} rows: "
                    f"{_listed(subject, near.ids.tolist(), near.scores.tolist())}."
                ),
            ),
        )

    typed = [subject.typed(other) for other in (row, *others)]
    return [
        Question(
            f"Which of these is nearest to {subject.of_row(row)}?",
            find,
            told,
            kind=Kind.CHOICE,
            choices=tuple(subject.shown(other) for other in others),
            commands=(
                subject.command("similarity", *typed),
                subject.command("neighbors", typed[0], "-k", str(NEIGHBORS_SHOWN)),
            ),
        ),
        *_far_together(subject, row, others),
    ]


def _far_together(subject: Subject, row: int, others: Sequence[int]) -> Iterator[Question]:
    """Ask how near two rows are to each other that are both far from a third; nothing of rows without a direction."""
    scores = {other: subject.cosine(row, other) for other in others}
    one, other = sorted(scores, key=lambda each: scores[each])[:2]
    if not np.isfinite([*scores.values(), subject.cosine(one, other)]).all():
        return

    def find() -> Outcome:
        found = subject.cosine(one, other)
        is_near = found > scores[other]
        said = "Far from one, near to each other" if is_near else "Far from one, and no nearer to each other"
        return Outcome(found, (f"{said}: a row is not near or far, but near to some and far from others.",))

    yield Question(
        f"What is the cosine of {subject.shown(one)} and {subject.shown(other)}, from -1 to 1?",
        find,
        (
            (
                f"{subject.shown(one)} and {subject.shown(other)} are the two that are farthest from "
                f"{subject.shown(row)}. And from each other?"
            ),
        ),
        kind=Kind.COSINE,
        commands=(subject.command("similarity", subject.typed(one), subject.typed(other)),),
    )


# --- 3. where the meaning comes from ----------------------------------------------------------------------------------


def training(subject: Subject) -> list[Question]:
    """Trained rows against one that training hardly touched."""
    row = subject.company[0]
    other, kind = subject.untrained
    why = (
        "It is one of those that surely were never trained: " + KIND_MEANINGS[kind] + "."
        if kind is not None
        else "Nothing marks a row of this model as surely untrained; this is the shortest one, a candidate and no more."
    )
    name = f"row {count(other)}" + (f" ({subject.shown(other)})" if subject.token(other) is not None else "")
    length = subject.length(row)
    return [
        Question(
            f"The length of {subject.of_row(row)} is {length:.3f}. How long is {name}?",
            lambda: _lengths(subject, row, other),
            (
                (
                    "If meaning comes from training, a row that training never reached should have none. Look at "
                    f"{name}. {why}"
                ),
            ),
            commands=(subject.command("row", subject.typed(row), f"id:{other}"),),
        ),
        Question(
            f"What cosine has the row nearest to {name}?",
            lambda: _nearest_to(subject, row, other),
            kind=Kind.COSINE,
            commands=tuple(
                subject.command("neighbors", f"id:{identity}", "-k", str(NEIGHBORS_SHOWN)) for identity in (other, row)
            ),
        ),
    ]


def _lengths(subject: Subject, row: int, other: int) -> Outcome:
    length, finite = subject.length(other), subject.norms[np.isfinite(subject.norms)]
    median, below = float(np.median(finite)), 100 * float((finite < length).mean())
    lines = [f"Half of all rows are longer than {median:.3f}; {below:.0f} % are shorter than this one."]
    if subject.model.tables.tying.verdict == "tied":
        lines.append(
            "This table also predicts tokens, so training pushed even unread rows about: length alone proves nothing "
            "here."
        )
    else:
        lines.append(f"{subject.shown(row)}: {subject.length(row):.3f}. A short row is a sign, not a proof.")
    return Outcome(length, tuple(lines))


def _nearest_to(subject: Subject, row: int, other: int) -> Outcome:
    found, known = subject.neighbors(other, NEIGHBORS_SHOWN), subject.neighbors(row, NEIGHBORS_SHOWN)
    lines = (
        f"Near row {count(other)}: {_listed(subject, found.ids.tolist(), found.scores.tolist())}.",
        f"Near {subject.shown(row)}: {_listed(subject, known.ids.tolist(), known.scores.tolist())}.",
        (
            "Read the names, not the numbers. A row never trained keeps company by accident, or with others like it; a "
            "trained row keeps company by use. Were all rows shuffled, the table would have the same numbers and mean "
            "nothing."
        ),
    )
    scores = found.scores[np.isfinite(found.scores)]
    return Outcome(float(scores[0]) if len(scores) else "no cosine: nothing to rank", lines)


# --- 4. what is missing -----------------------------------------------------------------------------------------------


def order(subject: Subject) -> list[Question]:
    """The same rows in another order."""
    pair = subject.sentences
    if pair is None:
        return [_order_of_ids(subject)]
    one, other = pair
    ids = [token.id for token in subject.model.vocabulary.encode(one)]
    typed = subject.command("input", one, "--against", other)
    found = subject.positions is not None
    commands = (typed,) if found else (subject.command("tokens", one, other),)
    questions = [
        Question(
            f"Of the {plural(len(ids), 'row')} read for “{one.strip()}”, how many are read for “{other.strip()}” too?",
            lambda: Outcome(
                len(ids),
                (
                    "All of them: " + ", ".join(dict.fromkeys(map(subject.shown, ids))) + ".",
                    "A row belongs to a token, not to a place. Looked up and summed, both texts would be the same.",
                ),
            ),
            (
                (
                    f"Two texts: “{one.strip()}” and “{other.strip()}”. They do not say the same. Each token is looked "
                    "up by itself."
                ),
            ),
            unit="rows",
            commands=commands,
        )
    ]
    return [*questions, _what_blocks_read(subject, pair, commands)] if found else questions


def _order_of_ids(subject: Subject) -> Question:
    ids = [*dict.fromkeys([subject.first, *subject.own])][:3]
    named = [f"id:{identity}" for identity in ids]
    return Question(
        f"Ids {', '.join(map(str, ids))}, then the same backwards: how many rows do both read?",
        lambda: Outcome(len(ids), ("All of them. A row belongs to a token, not to a place.",)),
        ("No text can be cut into tokens here, so take ids as they are. Each is looked up by itself.",),
        unit="rows",
        commands=(subject.command("row", *named),),
    )


def _what_blocks_read(subject: Subject, pair: tuple[str, str], commands: tuple[tuple[str, ...], ...]) -> Question:
    """What the first block reads of the two texts: the same, or not."""

    def find() -> Outcome:
        try:
            a, b = (subject.sequence(text) for text in pair)
        except TableNotFound as error:
            return Outcome("not measured", (f"{error.message}.",))
        equal = _met_again(a, b)
        return Outcome(equal, (_told_of_order(subject, a, b),))

    return Question(
        "Now as the first block reads them. How many inputs of the one are, to the last digit, inputs of the other?",
        find,
        ("Something must tell the two apart, and it has to come from where each token stands.",),
        unit="inputs",
        commands=commands,
    )


def _met_again(a: InputSequence, b: InputSequence) -> int:
    """How many inputs of one text are inputs of the other, wherever they stand."""
    left = [row.tobytes() for row in b.rows]
    found = 0
    for row in a.rows:
        if row.tobytes() in left:
            left.remove(row.tobytes())
            found += 1
    return found


def _told_of_order(subject: Subject, a: InputSequence, b: InputSequence) -> str:
    """What makes the two texts differ in this model."""
    kind = a.position_kind
    if a.position_rows is not None:
        place = next(place for place, identity in enumerate(a.ids) if identity != b.ids[place])
        there = b.ids.index(a.ids[place])
        return (
            f"This model adds a row for the position ({kind}). {subject.shown(a.ids[place])} at {place} and the same "
            f"at {there} have inputs with cosine {float(cosines(a.rows[place], b.rows[there])):.3f}; only a token at "
            "the same place in both stays what it was."
        )
    if isinstance(subject.positions, Rope) and subject.positions.is_idle:
        return (
            "This model adds nothing here, and it has no layers that could turn anything (RoPE, step 6): it cannot "
            "tell the two apart. In a model with layers order comes in where tokens look at each other."
        )
    if kind == "rope":
        return (
            "This model adds nothing here. Its blocks turn queries and keys by an angle for each position (RoPE, step "
            "6): order comes in where tokens look at each other."
        )
    if kind == "none":
        return f"Nothing was added: {_place(subject)}."
    return f"Nothing was added: {_place(subject)}. Order enters later, in attention."


# --- 5. the table, real -----------------------------------------------------------------------------------------------

TIED = ("one table for both", "two tables", "there is no second table")
VERDICTS = {"tied": 0, "untied": 1, "no output table": 2}


def real_table(subject: Subject) -> list[Question]:
    """How large the table is."""
    tensor = subject.table.tensor
    unit, divisor = next(pair for pair in UNITS if tensor.nbytes >= pair[1] or pair[1] == 1)
    rows, width = subject.table.shape

    def find() -> Outcome:
        lines = [f"{count(rows)} rows × {count(width)} numbers in {tensor.dtype.name}: {count(tensor.nbytes)} bytes."]
        if not tensor.parts:
            lines.append(f"{count(rows)} × {count(tensor.row_bytes)} bytes a row, as the header of the file says.")
        lines += _padding(subject, rows)
        return Outcome(tensor.nbytes / divisor, tuple(lines))

    return [
        Question(
            f"How many {unit} is it?",
            find,
            (
                (
                    f"Here is the table itself: {tensor.name} in {tensor.shard}, {count(rows)} rows of {count(width)} "
                    f"numbers, stored as {tensor.dtype.name}."
                ),
            ),
            unit=unit,
            commands=(subject.about("info"),),
        ),
        _tied(subject),
    ]


def _padding(subject: Subject, rows: int) -> list[str]:
    if subject.vocabulary is None:
        return []
    ids = subject.vocabulary.ids
    free = rows - int((ids < rows).sum())
    if not free:
        return ["Every row has a token."]
    told = plural(free, "row has", "rows have")
    return [f"{told} no token: padding, most often so that their number suits the hardware."]


def _tied(subject: Subject) -> Question:
    def find() -> Outcome:
        tying = subject.model.tables.tying
        tensor = subject.table.tensor
        more = {"tied": f" So {size(tensor.nbytes)} are saved.", "untied": " The two need not agree."}
        told = f"{tying.sentence[0].upper()}{tying.sentence[1:]}.{more.get(tying.verdict, '')}"
        return Outcome(VERDICTS.get(tying.verdict, 2), (told,))

    return Question(
        "Does this model use one table for reading and predicting, or two?",
        find,
        (
            (
                "At its other end a language model needs a table too: it scores every token by the dot product of the "
                "last vector with that token's row."
            ),
        ),
        kind=Kind.CHOICE,
        choices=TIED,
        commands=(subject.about("info"),),
    )


# --- 6. position ------------------------------------------------------------------------------------------------------


def position(subject: Subject) -> list[Question]:
    """A learned table, a rotation, or neither."""
    known = subject.positions
    if isinstance(known, Rope):
        return _rotations(subject, known)
    own = _other_positions(subject)
    return [
        *own,
        *_rotation_elsewhere(() if own else (f"A row does not know where its token stands: {_place(subject)}.",)),
    ]


def _rotations(subject: Subject, rope: Rope) -> list[Question]:
    settings = rope.settings
    place = FAR if rope.context_length is None else min(FAR, rope.context_length - 1)
    turning = frequencies(settings, place + 1)
    typed = (subject.command("rope", "--pos", str(place)),)
    told: tuple[str, ...] = (
        (
            f"By its config, this model rotates. In each head it takes channels two by two, {settings.pairs} pairs, "
            "and turns each pair like the hand of a clock (the clock is a comparison, the angle is real): a step "
            "further, a bit further round. Pair 0 is the fastest hand."
        ),
    )
    if rope.is_idle:
        told += ("It has no layers, so nothing of it ever turns: take it as a demonstration.",)
    questions = _turns(turning, settings, place, typed, told)
    if settings.layout is not None:
        questions.append(_distance_only(settings, (subject.command("rope", "--relative", str(QUERY), str(KEY)),)))
    return questions


def _rotation_elsewhere(own: tuple[str, ...]) -> list[Question]:
    """The rotation that most newer models use, for a reader whose model has none; `own` is said of that before."""
    told = (
        *own,
        (
            "Most newer models do it in another way: they rotate. In each head channels go two by two, and each pair "
            "turns like the hand of a clock (a comparison), by an angle for each position. These are the usual "
            "settings, a base of 10,000 and heads of 64, and not those of your model."
        ),
    )
    typed = (("rope", "--pos", str(FAR), *USUAL_TYPED),)
    relative = (("rope", "--relative", str(QUERY), str(KEY), *USUAL_TYPED),)
    turning = frequencies(USUAL_ROPE, FAR + 1)
    return [*_turns(turning, USUAL_ROPE, FAR, typed, told), _distance_only(USUAL_ROPE, relative)]


def _turns(
    turning: Frequencies,
    settings: RopeSettings,
    place: int,
    commands: tuple[tuple[str, ...], ...],
    told: tuple[str, ...],
) -> list[Question]:
    last = max(settings.live_pairs - 1, 0)

    def outcome(pair: int) -> Outcome:
        turns = float(np.asarray(turning.angles(place), np.float64)[pair]) / (2 * math.pi)
        wave = float(turning.wavelength[pair])
        return Outcome(turns, (f"Pair {pair} needs {figure(wave)} tokens for one turn.",))

    def slow() -> Outcome:
        found = outcome(last)
        return Outcome(
            found.answer,
            (
                *found.lines,
                "Fast pairs tell neighbours apart, slow ones the near from the far; together they tell places apart.",
            ),
        )

    return [
        Question(
            f"How many times has pair 0 gone round at position {count(place)}?",
            lambda: outcome(0),
            told,
            unit="turns",
            slack=SMALL_TURN,
            commands=commands,
        ),
        Question(f"And pair {last}, the last that turns?", slow, unit="turns", slack=SMALL_TURN, commands=commands),
    ]


def _distance_only(settings: RopeSettings, commands: tuple[tuple[str, ...], ...]) -> Question:
    def find() -> Outcome:
        turning = frequencies(settings, QUERY + FAR + 1)
        ones = np.ones(settings.head_dim)

        def dot(shift: int) -> float:
            query, key = (
                turn(ones, turning.angles(at + shift), settings, turning.attention_factor) for at in (QUERY, KEY)
            )
            return float((query.astype(np.float64) * key.astype(np.float64)).sum())

        here, there = dot(0), dot(FAR)
        return Outcome(
            2,
            (
                f"At {QUERY} and {KEY}: {here:.6f}. At {count(QUERY + FAR)} and {count(KEY + FAR)}: {there:.6f}.",
                (
                    "Both hands went on by the same angle, so the angle between them stayed. The dot product sees the "
                    f"distance, {QUERY - KEY}, and not the place: position became relative without a table."
                ),
            ),
        )

    return Question(
        f"A query of ones stands at {QUERY}, a key of ones at {KEY}. Move both {count(FAR)} further: their dot product "
        "…",
        find,
        ("Attention compares a turned query with a turned key, by their dot product.",),
        kind=Kind.CHOICE,
        choices=("grows", "shrinks", "stays"),
        commands=commands,
    )


def _other_positions(subject: Subject) -> list[Question]:
    known = subject.positions
    if isinstance(known, Learned) and subject.position_table is not None:
        return _learned(subject, known)
    return []


def _learned(subject: Subject, known: Learned) -> list[Question]:
    table = subject.position_table
    assert table is not None
    rows = table.shape[0]
    longest = rows - known.row_offset
    first = known.row(min(10, longest - 2)) if longest > 1 else known.row(0)
    second = min(first + 1, rows - 1)
    typed = ("--table", "position")

    def alike() -> Outcome:
        a, b = table.rows([first, second]).astype(np.float64)
        found = float(cosines(a, b))
        if not math.isfinite(found):
            return Outcome("no cosine: a row is all zeros")
        return Outcome(found, ("These rows are trained like any other: what they say of a place, they had to learn.",))

    return [
        Question(
            "How many rows has that table?",
            lambda: Outcome(
                rows,
                (
                    (
                        f"So position {count(longest)}, counted from 0, has no row, and a longer text cannot be read "
                        "at all."
                    ),
                ),
            ),
            (
                (
                    f"This model has a second table, {table.tensor.name}: a row for each position, added to the "
                    "token's row."
                ),
            ),
            unit="rows",
            commands=(subject.about("info"),),
        ),
        Question(
            f"What is the cosine of its rows {count(first)} and {count(second)}, two places side by side?",
            alike,
            kind=Kind.COSINE,
            commands=(subject.command("similarity", f"id:{first}", f"id:{second}", *typed),),
        ),
    ]


# --- 7. teach it back -------------------------------------------------------------------------------------------------


def teach(subject: Subject) -> list[Question]:
    """An open question, and one answer to it."""
    row = subject.first
    pair = subject.sentences
    found = subject.positions is not None and pair is not None
    command = subject.command("input", pair[0]) if found and pair is not None else subject.about("info")
    return [
        Question(
            f"A colleague asks: how does a number like {count(row)} become something that a model can think with? "
            "Three sentences.",
            lambda: Outcome(_taught(subject, row)),
            (
                (
                    "The best test is to explain it. Write as you would say it; nobody reads it but you, and nothing "
                    "is kept."
                ),
            ),
            kind=Kind.OPEN,
            commands=(command,),
        )
    ]


def _taught(subject: Subject, row: int) -> str:
    rows, width = subject.table.shape
    return (
        f"The id {count(row)} only says which of the {count(rows)} rows to read, and that row, {count(width)} numbers, "
        "is what goes into the model. The numbers were learned, so tokens used alike have rows that point alike; a row "
        f"that training never reached says nothing. The row does not know where its token stands: {_place(subject)}."
    )


SCHEMES = {
    "learned": "this model adds a row of a second, learned table for the position",
    "rope": "this model turns queries and keys by an angle for each position, so that attention sees distances",
    "sinusoidal": "this model adds a fixed pattern of waves for the position",
    "alibi": "this model lowers attention with the distance of two tokens (ALiBi)",
    "relative": "this model raises or lowers attention by a learned number for the distance of two tokens",
    "none": "this model has no positions; what it knows of order comes from reading one by one, or not at all",
}
UNSAID = "what tells the place, the files of this model do not say"


def _place(subject: Subject) -> str:
    """How this model knows where a token stands, as a clause."""
    known = subject.positions
    if known is None or (isinstance(known, UnknownPositions)):
        return UNSAID
    if isinstance(known, Rope) and known.is_idle:
        return "this model would turn queries and keys, but has no layers, so that nothing of it does"
    return SCHEMES[known.kind]


# --- the lesson -------------------------------------------------------------------------------------------------------

STEPS = (
    Step(1, "mechanism", "A token id is an address", "the width of a row", mechanism),
    Step(
        2,
        "meaning",
        "What the numbers say",
        "the nearest of four tokens",
        meaning,
        choice(
            "What does a model compute with a token id?",
            ("it multiplies it by a weight", "only which row to read", "its logarithm"),
            1,
            "The id is an address; the numbers that count are in the row.",
        ),
    ),
    Step(
        3,
        "training",
        "Where the meaning comes from",
        "the length of such a row",
        training,
        choice(
            "Two rows have a cosine near 1. What has been measured?",
            ("that they point the same way", "that the tokens are synonyms", "that their ids are close"),
            0,
            "An angle. That it goes with use in the same company is the reading of it.",
        ),
    ),
    Step(
        4,
        "order",
        "What is missing",
        "what another order changes",
        order,
        choice(
            "Why do some rows have no sensible neighbours?",
            ("their ids are too large", "their dtype is too small", "training hardly touched them"),
            2,
            "Meaning comes from training; a row that was never read never got any.",
        ),
    ),
    Step(
        5,
        "table",
        "Your model's table, for real",
        "its size, and its tying",
        real_table,
        choice(
            "Take the rows of a text and add them up. What is lost?",
            ("the order of the tokens", "the width of the rows", "nothing"),
            0,
            "A sum does not know who came first.",
        ),
    ),
    Step(
        6,
        "position",
        "Where a token stands",
        "how far a pair turns",
        position,
        choice(
            "What makes a table twice as large?",
            ("texts twice as long", "rows twice as wide", "ids twice as high for the same tokens"),
            1,
            "Rows × width × bytes a number; the length of a text is nowhere in it.",
        ),
    ),
    Step(
        7,
        "teach",
        "Teach it back",
        "nothing: you explain",
        teach,
        choice(
            "Query and key are both moved 1,000 positions on, under rotation. Their dot product …",
            ("stays", "becomes 1,000 times smaller", "changes its sign"),
            0,
            "Only the distance between them counts.",
        ),
    ),
)
"""The lesson, in order."""
