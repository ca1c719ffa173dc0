"""`embtool diff`: which tokens two models share, and which of their rows moved."""

from dataclasses import dataclass
from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.explanations import About, explain_diff
from embtool.cli.options import ExplainOptions, OutputOptions, RowOptions, TableName, Top, find_table
from embtool.errors import TableNotFound
from embtool.questions.diff import DiffAnswer, ask_diff, ask_vocabularies
from embtool.questions.diff_both import Both, Matching
from embtool.questions.diff_copy import MOST_ERROR, SAMPLE, CopyAnswer, ask_copy
from embtool.questions.diff_vocabulary import VocabularyAnswer
from embtool.tables.table_diff import Moved

FOUND = 1
"""The exit status of --exit-code when there is a difference."""


@dataclass(frozen=True)
class CopyOptions:
    """Whether the second model is judged as a copy of the first, and how."""

    neighbors: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Judge B as a copy of A: how many of each row's K nearest rows it kept.",
            rich_help_panel="A copy",
        ),
    ] = None
    max_error: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST_ERROR,
            metavar="X",
            help="Judge B as a copy of A: the most that 1 - cosine of any row to its original may be.",
            rich_help_panel="A copy",
        ),
    ] = None
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f"Compare the neighbours of so many rows, the same ones every time. Default: {SAMPLE:,}.",
            rich_help_panel="A copy",
        ),
    ] = None

    @property
    def asked(self) -> bool:
        """Whether it is."""
        return self.neighbors is not None or self.max_error is not None

    def check(self, *, vocab: bool, by: Matching, rank: Moved) -> None:
        """Refuse options that contradict each other."""
        if vocab and self.asked:
            raise typer.BadParameter("--vocab reads no rows: leave out --neighbors and --max-error")
        if vocab and (by is not Matching.TOKEN or rank is not Moved.RELATIVE):
            raise typer.BadParameter("--vocab reads no rows: leave out --by and --rank")
        if self.asked and rank is not Moved.RELATIVE:
            raise typer.BadParameter("the rows of a copy are ranked by their error: leave out --rank")
        if self.sample is not None and self.neighbors is None:
            raise typer.BadParameter("--sample counts rows whose neighbours are compared: add --neighbors K")

    def judge(self, both: Both, *, k: int, by: Matching) -> CopyAnswer:
        """Judge the second model."""
        how_many = self.sample or SAMPLE
        return ask_copy(both, k=k, by=by, neighbors=self.neighbors, max_error=self.max_error, sample=how_many)


def run(
    typed: Annotated[
        list[str] | None,
        typer.Argument(metavar="A B", autocompletion=completion.models, help="The model before, and the one after."),
    ] = None,
    *,
    top: Top = 10,
    by: Annotated[Matching, typer.Option(help="Match rows by token, or by id.")] = Matching.TOKEN,
    rank: Annotated[
        Moved, typer.Option(help="How far a row moved: relative to its length, distance, or cosine.")
    ] = Moved.RELATIVE,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="End with status 1 if there is any difference, as git does; with --max-error, if a row is over.",
        ),
    ] = False,
    vocab: Annotated[
        bool,
        typer.Option("--vocab", help="Compare the vocabularies alone: no weights are read, and none need be there."),
    ] = False,
    copy: CopyOptions,
    table: TableName = "input",
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Compare two models: their vocabularies, then their tables row by row.

    Tokens are matched by their bytes, whatever their spelling and their ids, and rows by their tokens. First how the
    vocabularies stand to each other; then, where the rows are of one width, which are the same, changed, only here,
    only there; then the worst rows: those that hold NaN or infinity, then those that moved farthest, and how far that
    is beyond the median of all that changed, in robust standard deviations (sd). -k limits each kind; of vocabularies,
    TSV, CSV and JSON Lines have every pair of tokens.

    With --neighbors or --max-error, B is judged as a quantised or merged copy of A: each row's cosine to its original,
    the worst rows, and the worst of each kind of token. TSV, CSV and JSON Lines have every row, the worst first.
    """
    copy.check(vocab=vocab, by=by, rank=rank)
    first, second = model.two(typed, "embtool diff A B")
    if vocab:
        found: DiffAnswer | VocabularyAnswer | CopyAnswer = ask_vocabularies(first, second, k=top)
    else:
        try:
            both = Both(first, second, find_table(first, table), find_table(second, table))
        except TableNotFound as error:
            if first.vocabulary_if_any and second.vocabulary_if_any:
                raise TableNotFound(error.message, hint="--vocab compares the tokenizers alone") from error
            raise
        found = copy.judge(both, k=top, by=by) if copy.asked else ask_diff(both, k=top, by=by, rank=rank)
    output.emit(found)
    if explain.explain:
        tables = (None, None) if vocab else (both.ours.table, both.theirs.table)
        one, other = (About(each, model.reached, asked) for each, asked in zip((first, second), tables, strict=True))
        explain_diff(one, other, found).show(output.format)
    if exit_code and found.differs:
        raise typer.Exit(FOUND)
