"""`embtool undertrained`: tokens that training hardly touched, without running the model."""

from typing import Annotated

import typer

from embtool.answers import Format
from embtool.cli.explanations import About, explain_undertrained
from embtool.cli.messages import note
from embtool.cli.options import ExplainOptions, ModelName, OutputOptions, RowOptions, TableName, Top, find_table
from embtool.questions.undertrained import CAUTION, ask_undertrained
from embtool.tables.undertrained import Indicator


def run(
    named: ModelName = None,
    *,
    top: Top = 10,
    indicator: Annotated[
        Indicator | None, typer.Option(help="What tells: norm, or distance to the reference rows' mean.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="auto|padding|bytes|names|TOKEN",
            help="Rows that surely were never trained; may be given again, as id:177..187 too.",
        ),
    ] = None,
    percent: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="List no row beyond this share of the table, in percent; 2 unless said, of a tiny table -k rows.",
        ),
    ] = None,
    normal: Annotated[
        bool,
        typer.Option(
            "--normal/--all", help="Only tokens that a text can contain; or single bytes, unused names and others too."
        ),
    ] = True,
    padding: Annotated[bool, typer.Option("--padding", help="List rows that no token has, too.")] = False,
    table: TableName = "input",
    model: RowOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """List the tokens whose rows training hardly touched ("glitch tokens"), told from the table alone.

    After Land and Bartolo, "Fishing for Magikarp" (2024). Where input and output table differ, a small norm of the
    input row tells; where they are one, and for an output table, the distance to the mean of rows that surely were
    never trained: those without a token, bytes that UTF-8 never uses, names such as <|reserved_special_token_3|>. These
    are candidates: no model is run, and only a prompt can show whether a model cannot repeat a token.
    """
    opened = model.open(named)
    asked = find_table(opened, table)
    found = ask_undertrained(
        asked,
        opened.tables.tying,
        k=top,
        indicator=indicator,
        reference=reference or ("auto",),
        percent=percent,
        normal=normal,
        padding=padding,
    )
    if output.format is not Format.TABLE:
        note(CAUTION)
    output.emit(found)
    if explain.explain:
        about = About(opened, model.reached, asked.table)
        explain_undertrained(about, found.indicator.value, found[0].id if found else None).show(output.format)
