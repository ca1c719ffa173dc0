"""`embtool view`: the model's table and positions as one page that stands alone."""

from pathlib import Path
from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import ModelName, ModelOptions, Quiet
from embtool.cli.writing import Force, check_free
from embtool.view import make_view, write_view

USUAL_NAME = Path("page.html")


def run(
    named: ModelName = None,
    *,
    out: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; its name ends in .html.", readable=False),
    ] = USUAL_NAME,
    exact: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            metavar="N",
            help="For how many tokens the nearest rows are computed; 2,000 unless said, of small tables more.",
        ),
    ] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            autocompletion=completion.tokens,
            help="Show this one on the map, with its nearest rows; again for more.",
            rich_help_panel="Tokens",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    model: ModelOptions,
) -> None:
    """Make a page of the model: the lesson as cards, its tokens, a map, its positions; to open, to send, to print.

    The page is one file: it opens from disk, works without a network, and asks nobody. Its numbers are measured on the
    model while it is made, each with the command that shows it again. The neighbours of the most ordinary tokens are
    exact; for other tokens the page carries a few bits of each row, says that its answer is approximate, and names the
    command that is exact. With --token the map shows those tokens and their nearest rows.
    """
    del quiet  # `expand` has seen to it
    if out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"the name of a page ends in .html, not {out.name}")
    check_free(out, force=force)
    opened = model.open(named)
    if model.run.dry_run:
        with opened.open_table(opened.input_table):
            return
    made = make_view(opened, tokens or (), exact=exact, reached=model.reached)
    for text in write_view(made, opened, out).notes:
        note(text)
