"""Step 8: a direction made of the difference of two rows."""

from embtool.answers.text import plural
from embtool.arrays import np
from embtool.lesson.drawings import Bars
from embtool.lesson.parts import Kind, Outcome, Question
from embtool.lesson.subject import Subject, Told
from embtool.questions.direction import DirectionAnswer

PAIRS = (("cat", "cats"), ("dog", "dogs"), ("tree", "trees"))
"""One, and many of the same."""

ASKED = ("one", "two", "three", "many")
"""Words that had no part in the direction, and in which there is a number."""

FOLLOWS = 0.1
"""A cosine from which on a row follows an arrow that it had no part in."""

ALONE = "a"
"""A word for one, shown beside them."""


def direction(subject: Subject) -> list[Question]:
    """What the difference of two rows says of others."""
    on = subject.with_rows
    words = [word for pair in PAIRS for word in pair] + [*ASKED, ALONE]
    ids = on.subject.words(words)
    if ids is None or len(set(ids)) < len(words) or not all(on.subject.length(each) > 0 for each in ids):
        on = Told.bundled("mini", f"{subject.name} has no single token for each of the words that this needs")
    subject = on.subject
    (one, many), (other, others), _ = PAIRS
    typed = subject.command("similarity", *ASKED, ALONE, "--along", many, "--minus", one)
    plus = (part for _, added in PAIRS for part in ("--along", added))  # of all pairs: what is added up,
    less = (part for taken, _ in PAIRS for part in ("--minus", taken))  # and what is taken away
    farthest = Question(
        f"Which of these reaches farthest along {many} − {one}?",
        lambda: _farthest(subject),
        (
            *on.why,
            (
                f"Take the row of {many}, number by number, and take the row of {one} away. What is left is an arrow "
                "from one to the other; all that both have in common, the fur and the milk, is gone. Does it point "
                "from one cat to more cats, or from one to many? Ask rows that had no part in it: the dot product "
                "with the arrow, at length 1, says how far they reach along it."
            ),
        ),
        kind=Kind.CHOICE,
        choices=ASKED,
        commands=(typed,),
    )
    doubt = Question(
        f"What is the cosine of {others} with the arrow {many} − {one}, from -1 to 1?",
        lambda: _another(subject),
        (
            (
                f"And {others}, which are neither {many} nor a number? {other}'s cosine with the arrow is "
                f"{_cosine(subject, other):.2f}."
            ),
        ),
        kind=Kind.COSINE,
        commands=(
            subject.command("similarity", others, other, "--along", many, "--minus", one),
            subject.command("similarity", *ASKED, ALONE, *plus, *less),
        ),
    )
    return [farthest, doubt]


def _along(subject: Subject, words: tuple[str, ...], pairs: int) -> DirectionAnswer:
    chosen = PAIRS[:pairs]
    return subject.model.projections(*words, along=[many for _, many in chosen], minus=[one for one, _ in chosen])


def _reaches(subject: Subject, pairs: int) -> dict[str, float]:
    """How far each word reaches along the direction of so many pairs."""
    return {item.query: item.projection for item in _along(subject, (*ASKED, ALONE), pairs).items}


def _cosine(subject: Subject, word: str) -> float:
    return _along(subject, (word,), 1).items[0].cosine or 0.0


def _farthest(subject: Subject) -> Outcome:
    reach = _reaches(subject, 1)
    best = int(np.argmax([reach[word] for word in ASKED]))
    in_order = [reach[word] for word in ASKED] == sorted(reach[word] for word in ASKED)
    apart = " on the other side" if reach[ALONE] < 0 < reach[ASKED[best]] else ""
    told = f"{ALONE} lies at {reach[ALONE]:+.2f}, {ASKED[best]}{apart} at {reach[ASKED[best]]:+.2f}: " + (
        "and all in the order of counting, which nobody told the table."
        if in_order
        else "but not all in the order of counting. One pair makes a shaky arrow: there is more in it than number."
    )
    one, many = PAIRS[0]
    drawn = tuple((word, reach[word]) for word in (ALONE, *ASKED))
    return Outcome(best, (told,), Bars(f"dot products with {many} − {one}", drawn))


def _another(subject: Subject) -> Outcome:
    found, reach = _cosine(subject, PAIRS[1][1]), _reaches(subject, len(PAIRS))
    counted = [reach[word] for word in (ALONE, *ASKED)]
    about = "So it was not about cats." if found > FOLLOWS else "So it was about cats, more than about number."
    pairs = f"{plural(len(PAIRS), 'pair')}, {', '.join(f'{many} − {one}' for one, many in PAIRS)}"
    told = (
        f"What a pair has beside number is its own, and averages out. With {pairs}, {ALONE} lies lowest and "
        f"{ASKED[-1]} highest."
        if min(counted) == reach[ALONE] and max(counted) == reach[ASKED[-1]]
        else f"With {pairs}, the words still do not stand by number: this table keeps it elsewhere, or not at all."
    )
    drawn = tuple((word, reach[word]) for word in (ALONE, *ASKED))
    return Outcome(found, (about, told), Bars(f"dot products with the arrow of {plural(len(PAIRS), 'pair')}", drawn))
