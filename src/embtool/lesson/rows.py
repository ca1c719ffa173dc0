"""Steps 1 to 3: a token id is an address, what the row there says, and where that comes from."""

import math
from collections.abc import Iterator, Sequence

from embtool.answers.text import count, percent, size
from embtool.arrays import np
from embtool.lesson.drawings import Plane
from embtool.lesson.parts import Kind, Outcome, Question, unit_of
from embtool.lesson.subject import Subject
from embtool.tables.undertrained import KIND_MEANINGS

NEIGHBORS_SHOWN = 5

UNRELATED = 0.2
"""A cosine below which two rows have next to nothing in common."""

AN_ID = 70_135
"""An id for a model that has neither rows nor tokens here; where its table has fewer rows, the one in the middle."""


def _listed(subject: Subject, ids: Sequence[int], scores: Sequence[float]) -> str:
    """Write rows and their scores in one line."""
    pairs = zip(ids, scores, strict=True)
    return ", ".join(
        subject.shown(row) + (f" {score:.3f}" if math.isfinite(score) else " (no score)") for row, score in pairs
    )


# --- 1. the mechanism -------------------------------------------------------------------------------------------------

ADDRESS = (
    "What happens to that number? Nothing is computed from it. It says which row of a table to read, as a house number "
    "says where to ring (that much is a comparison). The row itself is real: a list of numbers, learned in training."
)


SPACE = " (␣ is a space: the word as it stands after another.)"


def mechanism(subject: Subject) -> list[Question]:
    """A token id is an address."""
    if subject.by_config is not None:
        return _by_config(subject)
    row = subject.first
    name, number = subject.shown(row), count(row)
    told = (
        "A model never sees letters. The tokenizer cuts a text into tokens, and each token is a number, its id. For "
        f"{name} in {subject.name} the number is {number}." + (SPACE if name.startswith("␣") else "")
        if subject.token(row) is not None
        else f"A model never sees letters: a tokenizer turns text into numbers, token ids. {subject.name} has no "
        f"tokenizer here, so take an id as it is: {number}.",
        ADDRESS,
    )

    def find() -> Outcome:
        values, tensor = subject.row(row), subject.table.tensor
        shown = " ".join(f"{value:+.3f}" for value in values[:4])
        begin = f"Row {count(row)} begins {shown} … and is {size(tensor.row_bytes)} of {tensor.dtype.name} in the file."
        place = (
            f"Its place: {count(row)} × {count(tensor.row_bytes)} = {count(row * tensor.row_bytes)} bytes into the "
            "table. That product is all the arithmetic that an id ever meets."
        )
        return Outcome(len(values), (begin,) if tensor.parts else (begin, place))

    return [
        Question(
            f"How many numbers are in {subject.of_row(row)}?",
            find,
            told,
            unit="numbers",
            commands=(subject.command("row", subject.typed(row)),),
        ),
        _next_door(subject, row),
    ]


def _by_config(subject: Subject) -> list[Question]:
    """The same of a model whose weights are not here: its config says how large the table is."""
    table = subject.by_config
    assert table is not None
    row = AN_ID if table.rows > AN_ID else table.rows // 2
    commands = (subject.about("info"),)
    width = Question(
        f"How many numbers are in row {count(row)}?",
        lambda: Outcome(table.width, ("A row for each token, all of the same width.",)),
        (
            (
                f"A model never sees letters: a tokenizer turns text into numbers, token ids. {subject.name} has no "
                f"weights here, but its config says that its table has {count(table.rows)} rows. Take an id: "
                f"{count(row)}."
            ),
            ADDRESS,
        ),
        unit="numbers",
        commands=commands,
    )
    if table.bytes is None:
        return [width]
    each = table.bytes // table.rows
    unit, divisor = unit_of(row * each)
    begins = Outcome(
        row * each / divisor,
        (
            (
                f"{count(row)} × {count(each)} bytes a row = {count(row * each)}. That product is all the arithmetic "
                "that an id ever meets; who knows it can fetch the row alone, and leave the rest of the model where "
                "it is."
            ),
        ),
    )
    told = (f"Its numbers are stored as {table.dtype}, {each // table.width} bytes each, row after row.",)
    ask = f"How many {unit} into the table does row {count(row)} begin?"
    return [width, Question(ask, lambda: begins, told, unit=unit, commands=commands)]


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
    """The nearest rows, and two that are far from these and near each other."""
    on = subject.with_rows
    subject = on.subject
    row, others = subject.company
    told: tuple[str, ...] = (
        *on.why,
        (
            "Nobody wrote these numbers. Training moved each row, a little at a time, to where it served the task. "
            "So tokens used in the same company tend to end up with rows that point the same way. That is what "
            "people mean by meaning in a table; what is measured is an angle."
        ),
    )
    if subject.token(row) is None:
        told += ("There is no tokenizer here, so the rows have no names, and this guess is a blind one.",)
    typed = [subject.typed(other) for other in (row, *others)]

    def find() -> Outcome:
        scores = [subject.cosine(row, other) for other in others]
        best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0
        near = subject.neighbors(row, NEIGHBORS_SHOWN)
        listed = _listed(subject, near.ids.tolist(), near.scores.tolist())
        lines = [
            f"Cosines with {subject.shown(row)}: {_listed(subject, others, scores)}.",
            f"Nearest of all {count(subject.table.shape[0])} rows: {listed}.",
        ]
        if subject.token(row) is not None:
            lines.append("To the table a capital, a plural or a space is another row: what it shares is its company.")
        return Outcome(best, tuple(lines))

    nearest = Question(
        f"Which of these is nearest to {subject.of_row(row)}?",
        find,
        told,
        kind=Kind.CHOICE,
        choices=tuple(subject.shown(other) for other in others),
        commands=(
            subject.command("similarity", *typed),
            subject.command("neighbors", typed[0], "-k", str(NEIGHBORS_SHOWN)),
        ),
    )
    return [nearest, *_strangers(subject, row, others)]


def _strangers(subject: Subject, row: int, others: Sequence[int]) -> Iterator[Question]:
    """Ask how near two rows are to each other that are both far from a third; nothing of rows without a direction."""
    one, other = subject.strangers
    far = [subject.cosine(row, each) for each in (one, other)]
    if not np.isfinite([*far, subject.cosine(one, other)]).all():
        return
    drawn = [subject.typed(each) for each in dict.fromkeys((row, *others, one, other))]
    from_there = "Seen from there, both are nothing. " if max(map(abs, far)) < UNRELATED else ""

    def find() -> Outcome:
        found = subject.cosine(one, other)
        said = "Far from one, near to each other" if found > max(far) else "Far from one, and no nearer to each other"
        lines = (
            f"{said}: a row is not near or far, but near to some and far from others.",
            "Drawn flat, along the two directions in which these rows differ most:",
        )
        return Outcome(found, lines, Plane(subject.model.map(*drawn).picture()))

    names = f"{subject.shown(one)} and {subject.shown(other)}"
    yield Question(
        f"What is the cosine of {names}, from -1 to 1?",
        find,
        (
            (
                f"{names}: their cosines with {subject.shown(row)} are {far[0]:.2f} and {far[1]:.2f}. "
                f"{from_there}And seen from each other?"
            ),
        ),
        kind=Kind.COSINE,
        commands=(
            subject.command("similarity", subject.typed(one), subject.typed(other)),
            subject.command("map", *drawn),
        ),
    )


# --- 3. where the meaning comes from ----------------------------------------------------------------------------------


def training(subject: Subject) -> list[Question]:
    """Trained rows against one that training hardly touched."""
    on = subject.with_rows
    subject = on.subject
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
                *on.why,
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
    median, below = float(np.median(finite)), float((finite < length).mean())
    lines = [f"Half of all rows are longer than {median:.3f}; {percent(below)} are shorter than this one."]
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
