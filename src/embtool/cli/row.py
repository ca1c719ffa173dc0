"""`embtool row`: the vector of a token."""

import sys
from typing import Annotated

import typer

from embtool.answers import Format
from embtool.arrays import np
from embtool.cli.batch import Batch
from embtool.cli.explanations import About, explain_row
from embtool.cli.options import (
    ExplainOptions,
    OutputOptions,
    RowOptions,
    TableName,
    Texts,
    TokenOptions,
    find_table,
)
from embtool.cli.writing import Force, RowsFile, check_free, write_rows
from embtool.questions.row import RowAnswer, ask_row, blank_row
from embtool.tables.norms import row_norms
from embtool.vocabulary import Query


def run(
    tokens: Texts = None,
    *,
    npy: RowsFile = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the rows to stdout as little-endian float32.")] = False,
    force: Force = False,
    table: TableName = "input",
    token: TokenOptions,
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Show the vector of each token: its numbers, its norm, and where that norm stands among all rows.

    A table on a terminal is abridged; every other format holds all numbers.
    """
    if raw and npy is not None:
        raise typer.BadParameter("--raw and --npy are two formats: choose one")
    check_free(npy, force=force)
    opened = model.open()
    asked = find_table(opened, table)
    batch = Batch(tokens, token, asked)
    reading = token.reading
    on_terminal = not raw and npy is None and output.format is Format.TABLE
    norms = row_norms(asked.table) if on_terminal and opened.source.local else None

    def answer(query: Query) -> RowAnswer:
        return ask_row(asked, query, reading, norms)

    answers = batch.each(answer)
    if raw or npy is not None:
        rows = [found[0].values.astype("<f4") for found in answers if isinstance(found, RowAnswer)]
        stacked = np.stack(rows) if rows else np.empty((0, asked.table.shape[1]), "<f4")
        if npy is not None:
            write_rows(stacked, npy, model.run)
        else:
            sys.stdout.buffer.write(stacked.tobytes())
            sys.stdout.buffer.flush()
    else:
        output.emit(answers, blank=blank_row(asked))
    if explain.explain:
        explained = explain_row(About(opened, model.reached, asked.table, batch.first))
        explained.show(Format.TABLE if on_terminal else Format.TSV)
    batch.finish()
