"""Step 4: the same rows in another order, and what tells the two apart."""

from embtool.answers.text import count, plural
from embtool.errors import TableNotFound
from embtool.lesson.drawings import Grid
from embtool.lesson.parts import Kind, Outcome, Question
from embtool.lesson.subject import Subject
from embtool.tables.sequence import InputSequence, cosines

CHANNELS_SHOWN = 4

INSIDE = ("rope", "alibi", "relative")
"""Ways of knowing order that leave the rows alone and come in where tokens look at each other."""

SOURCES = {
    "a row of numbers for each position, added before the first block": "Then the inputs would have differed.",
    "the blocks, where one token looks at another": "",
    "the ids: another order is another list of ids": "The ids are the same too, each read by itself.",
}
"""Where order may come from, and what is said to who thinks so of a model whose blocks know."""


def order(subject: Subject) -> list[Question]:
    """The same rows in another order."""
    on = subject.with_order
    subject = on.subject
    pair = subject.sentences
    if pair is None:
        return [_order_of_ids(subject)]
    one, other = pair
    ids = [token.id for token in subject.model.vocabulary.encode(one)]
    cut = f"{plural(len(ids), 'token')}, {', '.join(map(subject.shown, ids))}"
    found = subject.positions is not None
    typed = subject.command("input", one, "--against", other) if found else subject.command("tokens", one, other)
    questions = [
        Question(
            f"Of the {plural(len(ids), 'row')} read for “{one.strip()}”, how many are read for “{other.strip()}” too?",
            lambda: Outcome(
                len(ids),
                (
                    "All of them, in another order.",
                    "A row belongs to a token, not to a place. Looked up and summed, both texts would be the same.",
                ),
            ),
            (
                *on.why,
                (
                    f"Two texts: “{one.strip()}” and “{other.strip()}”. They do not say the same. The one is cut into "
                    f"{cut}, and each is looked up by itself."
                ),
            ),
            kind=Kind.COUNT,
            unit="rows",
            commands=(typed,),
        )
    ]
    if found:
        questions.append(_what_blocks_read(subject, pair, typed))
    if subject.positions is not None and subject.positions.kind in INSIDE:
        choices = tuple(SOURCES)
        right = choices.index("the blocks, where one token looks at another")
        told = subject.place_told
        questions.append(
            Question(
                "So where does this model get the order from?",
                lambda: Outcome(right, (f"{told[0].upper()}{told[1:]}. Step 6 shows it.",)),
                ("The inputs do not tell the two texts apart, and yet the model does.",),
                kind=Kind.CHOICE,
                choices=choices,
                remarks=tuple(SOURCES.values()),
                commands=(subject.about("info"),),
            )
        )
    return questions


def _order_of_ids(subject: Subject) -> Question:
    ids = [*dict.fromkeys([subject.first, *subject.own])][:3]
    named = [f"id:{identity}" for identity in ids]
    return Question(
        f"Ids {', '.join(map(str, ids))}, then the same backwards: how many rows do both read?",
        lambda: Outcome(len(ids), ("All of them. A row belongs to a token, not to a place.",)),
        ("No text can be cut into tokens here, so take ids as they are. Each is looked up by itself.",),
        kind=Kind.COUNT,
        unit="rows",
        commands=(subject.command("row", *named),),
    )


def _what_blocks_read(subject: Subject, pair: tuple[str, str], command: tuple[str, ...]) -> Question:
    """What the first block reads of the two texts: the same, or not."""

    def find() -> Outcome:
        try:
            a, b = (subject.sequence(text) for text in pair)
        except TableNotFound as error:
            return Outcome("not measured", (f"{error.message}.",))
        left = [row.tobytes() for row in b.rows]
        found = 0
        for row in a.rows:
            if row.tobytes() in left:
                left.remove(row.tobytes())
                found += 1
        return Outcome(found, (_told_of_order(subject, a, b),), _sums(subject, a, b))

    return Question(
        "How many inputs of the one text are, to the last digit, inputs of the other?",
        find,
        (
            (
                "The rows are the same ones. But a model is a pile of blocks, layers in which each token looks at "
                "others, and what the first of them reads, its input, may be more than the rows: some models add "
                "something for the place, others do not."
            ),
        ),
        kind=Kind.COUNT,
        unit="inputs",
        commands=(command,),
    )


def _moved(a: InputSequence, b: InputSequence) -> tuple[int, int]:
    """Find a token that stands at two places: where in the one text, and where in the other."""
    place = next(place for place, identity in enumerate(a.ids) if identity != b.ids[place])
    return place, b.ids.index(a.ids[place])


def _told_of_order(subject: Subject, a: InputSequence, b: InputSequence) -> str:
    """What makes the two texts differ in this model."""
    kind = a.position_kind
    if a.position_rows is not None:
        place, there = _moved(a, b)
        same = ", ".join(subject.shown(row) for row, new in zip(a.ids, b.ids, strict=True) if row == new)
        stayed = f"equal is only what kept its place: {same}" if same else "no token kept its place"
        alike = float(cosines(a.rows[place], b.rows[there]))
        return (
            f"This model adds a row for the position ({kind}). {subject.shown(a.ids[place])} at {place} and the same "
            f"at {there} have inputs with cosine {alike:.3f}; {stayed}. So the order is there before any block looks."
        )
    if kind in INSIDE:
        return "Nothing is added: to the first block the two texts are the same inputs, in another order."
    return f"Nothing was added: {subject.place_told}."


def _sums(subject: Subject, a: InputSequence, b: InputSequence) -> Grid | None:
    """Show the sum for a token at two places, as far as its first channels go; None where nothing is added."""
    if a.position_rows is None:
        return None
    place, there = _moved(a, b)
    name = subject.shown(a.ids[place])
    rows = [(f"{name}, its row", a.token_rows[place])]
    for sequence, at in ((a, place), (b, there)):
        assert sequence.position_rows is not None
        rows.append((f"+ position {sequence.positions[at]}", sequence.position_rows[at]))
        if sequence.token_type_row is not None:
            rows.append(("+ token type 0", sequence.token_type_row))
        rows.append(("= input", sequence.rows[at]))
    shown = tuple((label, *(f"{value:+.3f}" for value in values[:CHANNELS_SHOWN])) for label, values in rows)
    head = tuple(f"[{channel}]" for channel in range(min(CHANNELS_SHOWN, a.rows.shape[1])))
    return Grid(f"the first of {count(a.rows.shape[1])} channels, twice", ("", *head), shown)
