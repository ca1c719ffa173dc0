"""`embtool calc`: the nearest rows to an expression, king - man + woman, and analogy tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from embtool.answers import Answer, Failure
from embtool.cli import completion
from embtool.cli.batch import NOT_FOUND, tell_readings
from embtool.cli.explanations import About, explain_analogies, explain_calc
from embtool.cli.lines import Line, checked, cut_lines, read_entries
from embtool.cli.messages import report
from embtool.cli.options import (
    ExplainOptions,
    Metric,
    OutputOptions,
    RowOptions,
    TableName,
    TokenOptions,
    Top,
    expand,
    find_table,
)
from embtool.cli.reading import read_input
from embtool.errors import EmbtoolError
from embtool.questions.analogy import ask_analogies
from embtool.questions.calc import CalcAnswer, Calculator
from embtool.vocabulary import parse_expression

TEST = "Analogy test"

GLUED = re.compile(r"-[a-z][^\W\d_]+")
"""What `king -man` gives: the parser would read it as the option -m with the value an."""


class _Calc(typer.core.TyperCommand):
    """The command, which refuses `-man` before the parser makes an option of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse a minus that is glued to its term."""
        for argument in args:
            if argument == "--":
                break
            if GLUED.fullmatch(argument):
                raise typer.BadParameter(
                    f"{argument} could be an option or a subtraction: write - {argument[1:]}, with a space, to subtract"
                )
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


@dataclass(frozen=True)
class SumOptions:
    """How rows are added up, and whether those of the expression may be answered."""

    include_inputs: Annotated[
        bool, typer.Option("--include-inputs", help="Let the expression's own tokens be answered.")
    ] = False
    no_normalize: Annotated[
        bool, typer.Option("--no-normalize", help="Under cosine too, add rows at the lengths they have.")
    ] = False


@dataclass(frozen=True)
class TestOptions:
    """A test of analogies in place of an expression."""

    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Answer an analogy test in word2vec's format, and count what is right; - is stdin.",
            rich_help_panel=TEST,
            readable=False,
        ),
    ] = None
    each: Annotated[
        bool, typer.Option("--each", help="List every question with its answer instead.", rich_help_panel=TEST)
    ] = False


app = typer.Typer(add_completion=False)


def run(
    expression: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOKEN [+|- TOKEN]...",
            autocompletion=completion.tokens,
            help="Tokens with + and - between them; - alone reads stdin.",
        ),
    ] = None,
    *,
    top: Top = 10,
    metric: Annotated[Metric, typer.Option(help="How nearness is measured.")] = Metric.COSINE,
    table: TableName = "input",
    adding: SumOptions,
    test: TestOptions,
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Rank the rows nearest to an expression: embtool calc king - man + woman.

    Signs are arguments of their own, with spaces around them; one quoted argument is an expression too, and so is each
    line of stdin. Under cosine rows are scaled to length 1 before they are added, as gensim does. The tokens of the
    expression are left out, and a note says where they would stand. The token + itself is written piece:+

    With --questions, lines such as `Athens Greece Oslo Norway` ask for the row nearest to Greece - Athens + Oslo; a
    question with a word that is not one token is skipped and counted.
    """
    if test.questions is not None:
        if expression:
            raise typer.BadParameter("--questions asks its own: name no tokens beside it")
        _answer_test(test.questions, test, table, token, model, output, explain)
        return
    if test.each:
        raise typer.BadParameter("--each lists the questions of --questions FILE")
    lines = None if expression and expression != ["-"] else read_entries()
    if lines is None:
        parse_expression(expression or [])  # before a model is opened
    opened = model.open()
    asked = find_table(opened, table)
    found: CalcAnswer | None = None
    failed: list[Line] = []
    with asked.open() as reader:
        calculator = Calculator(
            asked,
            reader,
            top,
            metric.value,
            token.reading,
            adding.include_inputs,
            False if adding.no_normalize else None,
        )
        if lines is None:
            found = calculator.answer(expression or [])
            if token.verbose:
                tell_readings(asked.vocabulary, ((term.query, term.token) for term in found.terms))
            output.emit([found])
        else:
            answers = _answers(lines, calculator, failed, strict=token.strict)
            output.emit(answers, blank=calculator.blank)
    if explain.explain:
        explain_calc(About(opened, model.reached, asked.table), found).show(output.format)
    if failed:
        raise typer.Exit(NOT_FOUND)


app.command("calc", cls=_Calc, help=run.__doc__)(expand(run))


def _answer_test(
    file: Path,
    test: TestOptions,
    table: str,
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Answer an analogy test, and print the counts or every question."""
    opened = model.open()
    asked = find_table(opened, table)
    lines = cut_lines(read_input(file, "FILE"), str(file))
    found = ask_analogies(asked, lines, file=str(file), reading=token.reading)
    output.emit(found.each if test.each else found)
    if explain.explain:
        about = About(opened, model.reached, asked.table)
        explain_analogies(about, str(file), each=test.each).show(output.format)


def _answers(
    lines: Iterator[Line], calculator: Calculator, failed: list[Line], *, strict: bool
) -> Iterator[Answer | Failure]:
    """Answer each line of stdin as it comes; one that fails is reported and kept, and the rest goes on."""
    for line in lines:
        try:
            yield calculator.answer(checked(line))
        except EmbtoolError as error:
            if strict:
                raise
            text = line if isinstance(line, str) else None
            report(error, about=text)
            failed.append(line)
            yield Failure("query", text, error)
