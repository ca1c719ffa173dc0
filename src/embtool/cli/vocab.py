"""`embtool vocab`: search the vocabulary."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Format
from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import ModelOptions, OutputOptions
from embtool.questions.vocab import AT_ONCE, Search, VocabAnswer, ask_vocab, count_categories
from embtool.tables.categories import Categorizer, Category

SHOWN = 50
"""Rows of a table on a terminal; the other formats hold every match unless -k says otherwise."""


@dataclass(frozen=True)
class SearchOptions:
    """Which tokens match."""

    piece: Annotated[bool, typer.Option("--piece", help="Match the tokenizer's own spelling instead of the text.")] = (
        False
    )
    ignore_case: Annotated[bool, typer.Option("-i", "--ignore-case", help="Let upper and lower case match.")] = False
    category: Annotated[list[Category] | None, typer.Option(help="Only this kind; again for more.")] = None
    identity: Annotated[str | None, typer.Option("--id", metavar="A..B", help="Only these ids, such as 0..255.")] = None
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            autocompletion=completion.tokens,
            help="Only what differs from this token in case or in spaces around it.",
        ),
    ] = None
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Only tokens whose text another token has too.")] = (
        False
    )

    def search(self, pattern: str | None) -> Search:
        """What is looked for, with a pattern."""
        kinds = frozenset(self.category or ())
        return Search(pattern, self.piece, self.ignore_case, kinds, self.identity, self.variants, self.duplicates)


@dataclass(frozen=True)
class CorpusOptions:
    """The texts whose tokens are counted."""

    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--count",
            metavar="FILE...",
            help="Count how often these texts use each row instead, the most used first; - is stdin.",
            readable=False,
        ),
    ] = None
    lines: Annotated[
        bool, typer.Option("--lines", help="With --count: each line is a text of its own, without its end.")
    ] = False


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN]",
            help="A regular expression that the token's text must match; with --count, more files.",
        ),
    ] = None,
    *,
    filtering: SearchOptions,
    counts: Annotated[bool, typer.Option("--counts", help="Count what matches by category instead.")] = False,
    counting: CorpusOptions,
    top: Annotated[int | None, typer.Option("-k", "--top", min=1, help="How many at most.")] = None,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Search the vocabulary: by regular expression, by category, by id, or for variants of a token.

    Without a PATTERN everything matches. A token is unreachable if its text, decoded and encoded again, becomes other
    tokens; padding rows have no token at all. A table on a terminal shows the first 50 matches, the other formats all.

    With --count, how often a corpus uses each row, zeros included: each FILE is one text, of any size, split as the
    tokenizer splits it whole, with nothing put around it.
    """
    corpus = counting.files
    if counting.lines and not corpus:
        raise typer.BadParameter("--lines says how the files of --count are read: name --count too")
    if counts and corpus:
        raise typer.BadParameter("--counts counts the vocabulary, --count a corpus: one of them")
    if words and len(words) > 1 and not corpus:
        raise typer.BadParameter(f"one PATTERN, not {len(words)}: a|b matches either; files to count follow --count")
    search = filtering.search(words[0] if words and not corpus else None)
    opened = model.open()
    is_shown = output.format in (Format.TABLE, Format.MARKDOWN)
    if corpus:
        most = SHOWN if is_shown and top is None else top
        used = opened.count(*corpus, *(words or ()), lines=counting.lines, search=search, k=most)
        for line in () if is_shown else used.summary:
            note(line)
        output.emit(used)
        return
    name, vocabulary, padding = opened.name, opened.vocabulary, opened.padding_rows()
    if counts:
        output.emit(count_categories(name, vocabulary, search, padding=padding))
    elif is_shown:
        output.emit(ask_vocab(name, vocabulary, search, padding=padding, k=SHOWN if top is None else top))
    else:
        categorizer = Categorizer(vocabulary)
        found = islice(search.matches(vocabulary, padding, categorizer), top)
        parts: Iterator[VocabAnswer] = (
            VocabAnswer(name, part) for part in iter(lambda: list(islice(found, AT_ONCE)), [])
        )
        output.emit(parts, blank=VocabAnswer(name, ()))
        for text in categorizer.notes:
            note(text)
