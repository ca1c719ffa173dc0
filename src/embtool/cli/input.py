"""`embtool input`: the sequence that the first block reads."""

from typing import Annotated

import typer

from embtool.answers import Format
from embtool.cli.explanations import About, explain_input
from embtool.cli.lines import read_text
from embtool.cli.messages import note
from embtool.cli.options import ExplainOptions, OutputOptions, RowOptions
from embtool.cli.writing import Force, RowsFile, check_free, write_rows
from embtool.questions.input import InputAnswer, InputComparison


def run(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from stdin.")],
    *,
    against: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Set another text beside it, token by token.")
    ] = None,
    start: Annotated[int, typer.Option(min=0, metavar="N", help="The position of the first token.")] = 0,
    special: Annotated[
        bool, typer.Option("--special", help="Add what the tokenizer puts around a text, such as its beginning.")
    ] = False,
    npy: RowsFile = None,
    force: Force = False,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show the sequence that the first block reads: for each token its row, and what its position adds.

    GPT-2 and BERT add a row of a trained table. Models with rotary positions add nothing: their rows stay as they are,
    and the angles that await their queries and keys are shown. --against sets two texts side by side: the same tokens
    at other positions.
    """
    check_free(npy, force=force)
    if against is not None and npy is not None:
        raise typer.BadParameter("--npy writes one text: leave out --against")
    opened, typed = model.open(), read_text() if text == "-" else text
    answer: InputAnswer | InputComparison
    if against is None:
        answer = opened.input(typed, start=start, special=special)
    else:
        answer = opened.compare_inputs(typed, against, start=start, special=special)
    if npy is not None:
        write_rows(answer.sequence.rows, npy, model.run)
    else:
        for remark in answer.remarks if output.format not in (Format.TABLE, Format.MARKDOWN) else ():
            note(remark)
        output.emit(answer)
    if explain.explain:
        about = About(opened, model.reached)
        explained = explain_input(about, answer.sequence, typed, against=against is not None)
        explained.show(output.format if npy is None else Format.TSV)
