"""The lesson as cards: what is asked, and the answers as they were measured on the model."""

from collections.abc import Iterator

from embtool.errors import EmbtoolError
from embtool.lesson import STEPS, Question, Step, Subject
from embtool.view.parts import Json, typed

IDEAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("An id is an address: it says which row to read.", ("row", "address", "look", "index", "read")),
    ("The row is a list of numbers that were learned in training.", ("learn", "train")),
    (
        "Tokens used alike have rows that point alike.",
        ("alike", "similar", "near", "angle", "direction", "point", "meaning"),
    ),
    ("A row that training never reached says nothing.", ("never", "untrained", "not trained", "nothing", "glitch")),
    (
        "The row does not know its place: position is added, or turned in.",
        ("position", "place", "order", "turn", "rotat"),
    ),
)
"""What an explanation of the whole should say, and words by which it is seen to."""


def deal(subject: Subject) -> Json:
    """Measure the steps that the model can teach, and say why it cannot teach the others."""
    steps, left_out = [], []
    for step in STEPS:
        try:
            steps.append(_step(step, subject))
        except EmbtoolError as error:
            left_out.append({"number": step.number, "title": step.title, "why": error.message})
    return {"steps": steps, "left_out": left_out, "ideas": [[idea, list(words)] for idea, words in IDEAS]}


def _step(step: Step, subject: Subject) -> Json:
    return {
        "number": step.number,
        "name": step.name,
        "title": step.title,
        "command": typed(subject.command("learn", str(step.number))),
        "cards": list(_cards(step, subject)),
    }


def _cards(step: Step, subject: Subject) -> Iterator[Json]:
    """Yield the cards: first what is asked of an earlier step."""
    questions = step.make(subject)
    if step.recall is not None:
        yield {**_card(step.recall), "recall": True}
    yield from map(_card, questions)


def _card(question: Question) -> Json:
    outcome = question.find()
    return {
        "kind": question.kind.value,
        "told": list(question.told),
        "ask": question.ask,
        "choices": list(question.choices),
        "unit": question.unit,
        "slack": question.slack,
        "answer": outcome.answer,
        "shown": question.written(outcome),
        "lines": list(outcome.lines),
        "commands": [typed(command) for command in question.commands],
    }
