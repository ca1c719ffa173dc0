"""The list of the steps, and the script of the lesson with its answers, for machines and readers without a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embtool.answers import Listing, column, context, inline, python, records, value
from embtool.answers.text import abridge, shell
from embtool.lesson.drawings import written
from embtool.lesson.parts import Question, Step
from embtool.lesson.progress import Done
from embtool.lesson.subject import Subject

LONGEST_NAME = 14
"""Characters of a model's name in the list of steps, so that all of it fits 80 columns."""

DRAWN = 76
"""Columns of a drawing in a script."""


@dataclass(frozen=True)
class StepRecord:
    """One step, and whether it is done."""

    number: int = column("its number", title="", right=True)
    name: str = column("its name", terminal=False)
    title: str = column("what it is about", style="bold", prose=True)
    asks: str = column("what is guessed", title="you guess", prose=True)
    done: bool = column("whether it was walked", terminal=False)
    done_on: str | None = column(
        "the model it was walked on",
        title="done on",
        show=lambda model: abridge(model, LONGEST_NAME),
        style="green",
        missing="",
    )
    right: int | None = column("guesses that were right or close", terminal=False)
    asked: int | None = column("guesses that were asked for", terminal=False)

    @classmethod
    def of(cls, step: Step, done: Done | None) -> "StepRecord":
        """Describe a step."""
        walked = (None, None, None) if done is None else (done.model, done.right, done.asked)
        return cls(step.number, step.name, step.title, step.asks, done is not None, *walked)


@dataclass(frozen=True, repr=False, eq=False)
class StepsAnswer(Listing[StepRecord]):
    """The steps, and what is done."""

    command = "learn"

    steps: tuple[StepRecord, ...] = records("the steps")
    subject: Subject | None = python(default=None)

    def title(self) -> str:
        """Return what the lesson is."""
        on_which = "" if self.subject is None else f", on {self.subject.name}"
        return f"from a number to what a model reads{on_which}: guess first, then see"

    def after(self) -> Sequence[str]:
        """Say what comes next."""
        following = next((step.number for step in self.steps if not step.done), None)
        if following is None:
            return [f"  all done; once more, or on another model: {shell(['learn', 'all', '-m', 'MODEL'])}"]
        command = ("learn", str(following))
        return [f"  next: {shell(command if self.subject is None else self.subject.command(*command))}"]


@dataclass(frozen=True)
class AnsweredQuestion:
    """One question of the lesson with its answer, as measured on the model."""

    told: tuple[str, ...] = value("what is told before it")
    kind: str = column("how it is answered: number, count, turns, cosine, choice or open")
    ask: str = column("the question")
    choices: tuple[str, ...] = column("what can be chosen")
    unit: str | None = column("of the number")
    answer: float | int | str = column("a number, the place of a choice counted from 0, or a text")
    shown: str = column("the answer as it is written")
    lines: tuple[str, ...] = column("what is measured beside it")
    drawing: tuple[str, ...] = value("what is drawn beside it, as lines of text")
    ideas: tuple[str, ...] = value("what an answer in your own words should name")
    commands: tuple[str, ...] = column("what shows it again")

    @classmethod
    def of(cls, question: Question) -> "AnsweredQuestion":
        """Measure the answer to a question."""
        outcome = question.find()
        return cls(
            tuple(question.told),
            question.kind.value,
            question.ask,
            tuple(question.choices),
            question.unit or None,
            outcome.answer,
            question.written(outcome),
            tuple(outcome.lines),
            () if outcome.drawing is None else tuple(written(outcome.drawing, DRAWN)),
            tuple(idea.said for idea in question.ideas),
            tuple(shell(command) for command in question.commands),
        )


@dataclass(frozen=True)
class PlacedQuestion:
    """One question, and where it stands in the lesson."""

    step: int = column("the number of its step")
    name: str = column("the name of its step")
    place: int = column("its place in the step, from 1")
    question: AnsweredQuestion = inline()


@dataclass(frozen=True)
class AnsweredStep:
    """One step with its questions answered."""

    step: StepRecord = inline()
    recall: AnsweredQuestion | None = value("what it asks of an earlier step")
    questions: tuple[AnsweredQuestion, ...] = value("its questions")


@dataclass(frozen=True, repr=False, eq=False)
class ScriptAnswer(Listing[PlacedQuestion]):
    """The whole script of some steps, with every answer as measured on one model."""

    command = "learn"

    model: str = context("the model, as it was named")
    steps: tuple[AnsweredStep, ...] = value("the steps")
    questions: tuple[PlacedQuestion, ...] = records("their questions", in_document=False)


def list_steps(steps: Sequence[Step], done: Mapping[int, Done], subject: Subject | None = None) -> StepsAnswer:
    """List the steps and what is done; `subject` is the model that was named, for what is advised."""
    return StepsAnswer(tuple(StepRecord.of(step, done.get(step.number)) for step in steps), subject)


def write_script(subject: Subject, steps: Sequence[Step], done: Mapping[int, Done]) -> ScriptAnswer:
    """Measure every answer of some steps."""
    answered = tuple(
        AnsweredStep(
            StepRecord.of(step, done.get(step.number)),
            None if step.recall is None else AnsweredQuestion.of(step.recall),
            tuple(map(AnsweredQuestion.of, step.make(subject))),
        )
        for step in steps
    )
    placed = tuple(
        PlacedQuestion(each.step.number, each.step.name, place, question)
        for each in answered
        for place, question in enumerate(each.questions, 1)
    )
    return ScriptAnswer(subject.model.name, answered, placed)
