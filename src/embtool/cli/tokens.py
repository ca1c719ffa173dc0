"""`embtool tokens`: text to token ids."""

from collections.abc import Iterator
from typing import Annotated

import typer

from embtool.answers import Answer, Failure
from embtool.answers.text import shell
from embtool.cli.batch import NOT_FOUND
from embtool.cli.explanations import explain_tokens
from embtool.cli.lines import Line, checked, read_entries
from embtool.cli.messages import note, report
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions
from embtool.errors import EmbtoolError
from embtool.questions.tokens import TextTokens, ask_text_tokens, ask_tokens


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
    explain: ExplainOptions,
) -> None:
    """Split text into tokens: position, token id, piece, text and bytes of each.

    The id is the row of the embedding table that the model reads for it.
    """
    opened = model.open()
    vocabulary = opened.vocabulary
    if text is not None and len(text) == 1 and text != ["-"]:
        found = ask_tokens(opened.name, vocabulary, text[0], special=special)
        output.emit(found)
        if explain.explain:
            explain_tokens(opened, model.reached, found[0].id if found else None).show(output.format)
        return
    typed = None if not text or text == ["-"] else text
    if typed is not None:
        note(f"each argument is a text of its own; as one text: {shell(['tokens', ' '.join(typed)])}")
    failed: list[Line] = []

    def answers() -> Iterator[Answer | Failure]:
        for line in typed or read_entries():
            try:
                yield ask_text_tokens(opened.name, vocabulary, checked(line), special=special)
            except EmbtoolError as error:
                if typed is not None:
                    raise
                report(error, about=line if isinstance(line, str) else None)
                failed.append(line)
                yield Failure("text", line if isinstance(line, str) else None, error)

    output.emit(answers(), blank=TextTokens(opened.name, "", ()))
    if explain.explain:
        explain_tokens(opened, model.reached, None).show(output.format)
    if failed:
        raise typer.Exit(NOT_FOUND)
