"""`embtool learn`: the lesson, walked with a reader at a terminal or printed as a script.

What is asked and measured stands in `embtool.lesson`; here it is shown, guesses are read, and progress is kept.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from embtool.answers import Format
from embtool.answers.terminal import Page
from embtool.answers.text import shell
from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import ModelOptions, OutputOptions
from embtool.lesson import (
    STEPS,
    Done,
    Question,
    Step,
    Subject,
    forget,
    judge,
    read_progress,
    save_progress,
)
from embtool.lesson.drawings import written
from embtool.lesson.parts import Kind, understood
from embtool.lesson.script import list_steps, write_script

INTERRUPTED = 130

MARGIN = "    "
"""What stands before the lines of a drawing."""

COLOURS = {True: "green", False: "yellow", None: "dim"}
"""Of what is said to a guess: right or close, wrong, and none."""

EVERY = "all"

LEAVE = "q"

LETTERS = "abcdefgh"

PROMPTS = {
    Kind.NUMBER: "a number> ",
    Kind.COUNT: "how many> ",
    Kind.TURNS: "how many turns> ",
    Kind.COSINE: "-1 to 1> ",
    Kind.OPEN: "> ",
}

ASIDES = {
    **dict.fromkeys((Kind.NUMBER, Kind.COUNT, Kind.TURNS), "A number, please; Enter alone shows the answer."),
    Kind.COSINE: "A number from -1 to 1, please; Enter alone shows the answer.",
    Kind.CHOICE: "One of the letters, please; Enter alone shows the answer.",
}


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STEP MODEL",
            autocompletion=completion.choices(*(str(step.number) for step in STEPS), EVERY, *(s.name for s in STEPS)),
            help="A step, 1 to 8, or all; without it the steps are listed. And a model.",
        ),
    ] = None,
    *,
    reset: Annotated[bool, typer.Option("--reset", help="Forget which steps are done.")] = False,
    stand_ins: Annotated[
        bool,
        typer.Option("--stand-ins", help="Make the models of the how-to pages here, or those named, instead."),
    ] = False,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Learn what an embedding table is, in eight steps: you guess, then it is measured on your own model.

    `embtool learn 1` begins; `embtool learn all` walks the whole way, about a quarter of an hour. Every number is
    computed when you see it, with the command that shows it again. Without a terminal the script of the lesson is
    printed, with its answers.
    """
    if reset:
        forget()
    if stand_ins:
        from embtool.lesson.stand_ins import make_stand_ins  # noqa: PLC0415 - rare

        for made in make_stand_ins(words or ()):
            note(f"made {made}")
        return
    chosen, named = _steps(words or ())
    if not chosen and output.asked is not Format.JSON:
        asked = None if named is None and not model.models else Subject(model.open(named), model.reached)
        if asked is not None:
            _ = asked.by_config  # a model that is none is told now
        output.emit(list_steps(STEPS, read_progress(), asked))
        return
    subject = Subject(model.open(named), model.reached)
    if output.asked not in (None, Format.TABLE):
        output.emit(write_script(subject, chosen or STEPS, read_progress()))
    elif sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        _Walk(subject, Page()).all(chosen)
    else:
        page = Page()
        for step in chosen:
            questions = step.make(subject)  # before its head: a model that lacks what it needs has no such step
            _head(page, step)
            for question in (*((step.recall,) if step.recall is not None else ()), *questions):
                _ask(page, question)
                _reveal(page, question, "")
            sys.stdout.flush()


def _steps(words: Sequence[str]) -> tuple[tuple[Step, ...], str | None]:
    """Read which steps are asked for, none where the list is, and of which model."""
    steps = {EVERY: STEPS} | {name: (step,) for step in STEPS for name in (str(step.number), step.name)}
    chosen = next((steps[word] for word in words if word in steps), ())
    others = [word for word in words if word not in steps]
    if len(words) - len(others) > 1 or len(others) > 1:
        raise typer.BadParameter("name one step, and one model")
    if others and not chosen and others[0].isdecimal():
        raise typer.BadParameter(f"there is no step {others[0]!r}: name one of 1 to {len(STEPS)}, or {EVERY}")
    return chosen, others[0] if others else None


# --- for readers ------------------------------------------------------------------------------------------------------


def _head(page: Page, step: Step) -> None:
    page.gap()
    page.say(f"{step.number} of {len(STEPS)}   {step.title}", "bold cyan")


def _ask(page: Page, question: Question) -> None:
    """Tell what comes before a question, and ask it."""
    page.gap()
    for paragraph in question.told:
        page.say(paragraph)
        page.gap()
    page.say(question.ask, "bold")
    for letter, option in zip(LETTERS, question.choices, strict=False):
        page.say(f"{letter}  {option}", indent=2)


def _reveal(page: Page, question: Question, guess: str) -> bool | None:
    """Measure, show how to see it again, and compare; tell whether the guess was right."""
    outcome = question.find()
    verdict = judge(question, outcome, guess)
    if guess:
        page.say(verdict.text, COLOURS[verdict.right], indent=2)
    for line in verdict.lines:
        page.say(line, indent=2)
    for command in question.commands:
        page.line(f"  $ {shell(command)}", "cyan")
    label = "One way to say it" if question.kind is Kind.OPEN else "Answer"
    page.say(f"{label}: {question.written(outcome)}", "bold", indent=2)
    for line in outcome.lines:
        page.say(line, indent=2)
    if outcome.drawing is not None:
        page.gap()
        for line in written(outcome.drawing, page.width - len(MARGIN)):
            page.line(f"{MARGIN}{line}")
    return verdict.right


class _Left(Exception):
    """The reader left."""


class _Walk:
    """Walks steps with a reader at the terminal."""

    def __init__(self, subject: Subject, page: Page) -> None:
        self.subject = subject
        self.page = page
        self.next = STEPS[0]

    def all(self, steps: Sequence[Step]) -> None:
        """Walk some steps, and on while the reader wants to; leaving is no failure, and what is done is kept."""
        try:
            self.page.say(f"Type a guess and Enter. Enter alone shows the answer, {LEAVE} leaves.", "dim")
            for step in steps:
                self._step(step)
            while (following := self._onward()) is not None:
                self._step(following)
        except (EOFError, _Left):
            self._farewell()
        except KeyboardInterrupt:
            self._farewell()
            raise typer.Exit(INTERRUPTED) from None

    def _farewell(self) -> None:
        self.page.gap()
        self.page.say("Until next time. The steps you finished are kept: embtool learn lists them.")
        self.page.line(f"  $ {shell(self.subject.command('learn', str(self.next.number)))}", "cyan")

    def _onward(self) -> Step | None:
        """Ask whether to go on with the step that follows; None after the last."""
        self.page.gap()
        if self.next is STEPS[0]:
            self.page.say("That was the last step. The same lesson on another model tells another story:")
            self.page.line(f"  $ {shell(['learn', EVERY, 'MODEL'])}", "cyan")
            self.page.say("And a page of this one, to play with or to send:")
            self.page.line(f"  $ {shell(self.subject.about('view'))}", "cyan")
            return None
        self.page.say(f"Next: step {self.next.number}, {self.next.title}.", "dim")
        self._read(f"Enter goes on, {LEAVE} leaves> ")
        return self.next

    def _step(self, step: Step) -> None:
        """Walk one step and keep that it was done."""
        self.next = step
        questions = step.make(self.subject)
        _head(self.page, step)
        verdicts: list[bool | None] = []
        if step.recall is not None and any(number < step.number for number in read_progress()):
            self.page.gap()
            self.page.say("First, do you remember?", "dim")
            verdicts.append(self._question(step.recall))
        verdicts += [self._question(question) for question in questions]
        counted = [verdict for verdict in verdicts if verdict is not None]
        done = Done(self.subject.model.name, sum(counted), len(counted))
        save_progress({**read_progress(), step.number: done})
        self.next = STEPS[step.number % len(STEPS)]
        if counted:
            self.page.gap()
            self.page.say(f"Step {step.number} done: {done.right} of {done.asked} guesses right or close.", "dim")

    def _question(self, question: Question) -> bool | None:
        """Ask it, until the guess can be held against the answer, and tell that."""
        _ask(self.page, question)
        if question.kind is Kind.OPEN:
            self.page.say("In your words; an empty line ends.", "dim")
            guess = "\n".join(iter(lambda: self._read(PROMPTS[Kind.OPEN]), ""))
        else:
            prompt = PROMPTS.get(question.kind) or f"a to {LETTERS[len(question.choices) - 1]}> "
            while (guess := self._read(prompt)) and not understood(question, guess):
                self.page.say(ASIDES[question.kind], "dim")
        return _reveal(self.page, question, guess)

    def _read(self, prompt: str) -> str:
        self.page.prompt(prompt)
        text = input().strip()
        if text == LEAVE:
            raise _Left
        return text
