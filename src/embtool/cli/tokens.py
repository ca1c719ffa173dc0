"""`embtool tokens`: text to token ids."""

from collections.abc import Iterator
from typing import Annotated

import typer

from embtool.cli.batch import read_lines
from embtool.cli.options import ModelOptions, OutputOptions, token_fields
from embtool.output import Column, Group, Listing, brief, count, visible

COLUMNS = (
    Column("position", right=True),
    Column("id", right=True, show=count),
    Column("piece", show=visible),
    Column("token", show=visible, style="bold"),
    Column("bytes", style="dim", whole=True, worth=0),
)


def run(
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT...", help="The text; - reads lines from stdin.")
    ] = None,
    *,
    special: Annotated[
        bool, typer.Option("--special", help="Add what the tokenizer puts around a text, such as its beginning.")
    ] = False,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Split text into tokens: position, token id, piece, text and bytes of each.

    The id is the row of the embedding table that the model reads for it.
    """
    opened = model.open()
    vocabulary = opened.vocabulary
    texts = read_lines() if not text or text == ["-"] else text
    single = text is not None and len(text) == 1 and text != ["-"]

    def groups() -> Iterator[Group]:
        for line in texts:
            records = [
                {"position": position, **token_fields(token, token.id)}
                for position, token in enumerate(vocabulary.encode(line, special=special))
            ]
            named = {} if single else {"text": line}
            yield Group(records, fields=named, line=named, title=None if single else brief(line))

    output.emit(
        Listing(
            "tokens",
            COLUMNS if single else (Column("text", terminal=False), *COLUMNS),
            groups(),
            records_key="tokens",
            groups_key=None if single else "texts",
            context={"model": opened.name},
            line={"model": opened.name},
        )
    )
