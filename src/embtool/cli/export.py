"""`embtool export`: the table for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import ModelName, Quiet, RowOptions, TableName, find_table
from embtool.cli.writing import Force, check_free
from embtool.questions.export import choose_format, choose_rows, write_export
from embtool.questions.neighbors import Filters
from embtool.tables.export import WRITERS


def run(
    named: ModelName = None,
    *,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to; for projector a folder.", readable=False)
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            autocompletion=completion.choices(*WRITERS),
            help=f"{', '.join(WRITERS)}. Default: what the file's name ends in.",
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            metavar="TOKEN",
            autocompletion=completion.tokens,
            help="Only these rows, as id:0..255; again for more.",
        ),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="REGEX", help="Only tokens whose text matches.")] = None,
    no_special: Annotated[bool, typer.Option("--no-special", help="Leave out special tokens.")] = False,
    no_padding: Annotated[bool, typer.Option("--no-padding", help="Leave out rows that no token has.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only so many, chosen at random, the same every time.")
    ] = None,
    neighbors: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Parquet: with the K nearest of each row by cosine, as embedding-atlas reads them."
        ),
    ] = None,
    quiet: Quiet = False,
    force: Force = False,
    table: TableName = "input",
    model: RowOptions,
) -> None:
    """Write a table for other tools: numpy, safetensors, Parquet, CSV, TensorFlow's projector, word2vec text.

    Rows are float32, in the order of their ids, each with id, piece, token, bytes and category where the format has
    room for names; npy gets a file of names beside it, safetensors keeps the stored dtype. A file appears only when it
    is whole. Parquet opens in DuckDB and pandas, word2vec text in gensim, the projector's folder on
    https://projector.tensorflow.org.
    """
    del quiet  # `expand` has seen to it
    used = choose_format(kind, out)
    check_free(out, force=force, wants_folder=used == "projector")
    asked = find_table(model.open(named), table)
    filters = Filters(only, special=not no_special, padding=not no_padding)
    ids = choose_rows(asked, used, tokens=rows or (), filters=filters, sample=sample)
    if model.run.dry_run:
        with asked.open():
            return
    for text in write_export(asked, ids, used, out, neighbors=neighbors).notes:
        note(text)
