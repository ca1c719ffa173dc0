"""`embtool vocab`: search the vocabulary."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from embtool.categories import MEANINGS, Categorizer, Category, padding_ids
from embtool.cli import completion
from embtool.cli.options import ModelOptions, OutputOptions, token_fields
from embtool.errors import EmbtoolError
from embtool.model import Model
from embtool.output import Column, Format, Group, Listing, count, visible
from embtool.vocabulary import Token, Vocabulary, parse_ids, read_queries

SHOWN = 50
"""Rows of a table on a terminal; the other formats hold every match unless -k says otherwise."""

AT_ONCE = 4096
"""Tokens whose categories are told together, and printed."""

COLUMNS = (
    Column("id", right=True, show=count),
    Column("piece", show=visible),
    Column("token", show=visible, style="bold"),
    Column("bytes", style="dim", whole=True, worth=0),
    Column("category", style="cyan"),
)

COUNT_COLUMNS = (
    Column("category", style="bold"),
    Column("tokens", right=True, show=count),
    Column("meaning", machine=False, style="dim"),
)


def run(
    pattern: Annotated[
        str | None, typer.Argument(metavar="[PATTERN]", help="A regular expression that the token's text must match.")
    ] = None,
    *,
    piece: Annotated[
        bool, typer.Option("--piece", help="Match the tokenizer's own spelling instead of the text.")
    ] = False,
    ignore_case: Annotated[bool, typer.Option("-i", "--ignore-case", help="Let upper and lower case match.")] = False,
    category: Annotated[
        list[Category] | None,
        typer.Option(help="Only this kind: normal, byte, partial, special, added, unreachable, padding."),
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--id", metavar="A..B", help="Only these ids, such as 0..255.")
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            autocompletion=completion.tokens,
            help="Only what differs from this token in case or in spaces around it.",
        ),
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Only tokens whose text another token has too.")
    ] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Count what matches by category instead.")] = False,
    top: Annotated[int | None, typer.Option("-k", "--top", min=1, help="How many at most.")] = None,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Search the vocabulary: by regular expression, by category, by id, or for variants of a token.

    Without a PATTERN everything matches. A token is unreachable if its text, decoded and encoded again, becomes other
    tokens; padding rows have no token at all. A table on a terminal shows the first 50 matches, the other formats all.
    """
    wanted = _compile(pattern, ignore_case=ignore_case)
    opened = model.open()
    vocabulary = opened.vocabulary
    search = _Search(
        wanted,
        piece,
        frozenset(category or ()),
        None if identity is None else parse_ids(f"id:{identity}"),
        None if variants is None else _root(_find(variants, vocabulary)),
    )
    lines = search.lines(vocabulary, _padding(opened), duplicates=duplicates)
    context = {"model": opened.name}
    if counts:
        records = _counts(lines)
        output.emit(Listing("vocab", COUNT_COLUMNS, [Group(records)], "counts", context=context, line=context))
        return
    most = top if top is not None else SHOWN if output.format is Format.TABLE else None
    table = output.format is Format.TABLE
    groups = [_page(list(lines), most)] if table else _stream(lines, most)
    output.emit(Listing("vocab", COLUMNS, groups, "tokens", context=context, line=context))


@dataclass(frozen=True)
class _Search:
    """What is looked for."""

    pattern: re.Pattern[str] | None
    by_piece: bool
    categories: frozenset[Category]
    ids: range | None
    root: str | None

    def lines(self, vocabulary: Vocabulary, padding: Sequence[int], *, duplicates: bool) -> Iterator[dict[str, Any]]:
        """Yield a record of every match, in the order of ids; padding rows come last."""
        if self.categories != {Category.PADDING}:
            found = [token for token in vocabulary if self._matches(token)]
            found = _doubled(found) if duplicates else found
            yield from self._categorized(found, Categorizer(vocabulary))
        nameless = self.pattern is None and self.root is None and not duplicates
        if nameless and (not self.categories or Category.PADDING in self.categories):
            for row in padding:
                if self.ids is None or row in self.ids:
                    yield {**token_fields(None, row), "category": Category.PADDING.value}

    def _matches(self, token: Token) -> bool:
        if self.ids is not None and token.id not in self.ids:
            return False
        if self.root is not None and _root(token) != self.root:
            return False
        return self.pattern is None or self.pattern.search(token.piece if self.by_piece else token.text) is not None

    def _categorized(self, tokens: Sequence[Token], categorizer: Categorizer) -> Iterator[dict[str, Any]]:
        """Tell categories; where only some are wanted, a token that cannot be of one is not encoded."""
        if self.categories and not self.categories & {Category.NORMAL, Category.UNREACHABLE}:
            tokens = [token for token in tokens if categorizer.by_bytes(token) in self.categories]
        elif self.categories:
            possible = self.categories | {Category.NORMAL}
            tokens = [token for token in tokens if categorizer.by_bytes(token) in possible]
        for first in range(0, len(tokens), AT_ONCE):
            part = tokens[first : first + AT_ONCE]
            for token, category in zip(part, categorizer.each(part), strict=True):
                if not self.categories or category in self.categories:
                    yield {**token_fields(token, token.id), "category": category.value}


def _root(token: Token) -> str:
    """What variants of a token share: its text without spaces around it, in one case."""
    return token.bytes.decode("utf-8", "replace").strip().casefold()


def _find(text: str, vocabulary: Vocabulary) -> Token:
    query = next(iter(read_queries([text], vocabulary)))
    token = vocabulary.token(query.ids[0])
    if token is None:
        raise typer.BadParameter(f"--variants names a row that no token has: {text}")
    return token


def _doubled(tokens: Sequence[Token]) -> list[Token]:
    """Keep tokens whose text and bytes another has too, the same ones side by side."""
    key: Callable[[Token], tuple[str, bytes]] = lambda token: (token.text, token.bytes)  # noqa: E731 - used twice
    times = Counter(map(key, tokens))
    return sorted((token for token in tokens if times[key(token)] > 1), key=lambda token: (*key(token), token.id))


def _padding(model: Model) -> list[int]:
    """List the rows of the input table that no token has; none where the model has no weights that can be read."""
    try:
        return padding_ids(model.vocabulary, model.input_table.tensor.shape[0])
    except (EmbtoolError, IndexError):
        return []


def _compile(pattern: str | None, *, ignore_case: bool) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except (re.error, RecursionError, OverflowError) as error:
        raise typer.BadParameter(f"PATTERN is not a regular expression: {error}") from error


def _counts(lines: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count matches by category; every category is named, and the last line counts all."""
    times = Counter(line["category"] for line in lines)
    records = [
        {"category": category.value, "tokens": times[category.value], "meaning": MEANINGS[category]}
        for category in Category
    ]
    return [*records, {"category": "all", "tokens": times.total(), "meaning": ""}]


def _page(lines: Sequence[dict[str, Any]], most: int | None) -> Group:
    """Put the first matches on one page, and say how many more there are."""
    shown = lines[:most]
    more = len(lines) - len(shown)
    after = [f"  {count(more)} more; -k shows more of them, --tsv all"] if more else []
    return Group(shown, after=after if shown else ["  nothing matches"])


def _stream(lines: Iterator[dict[str, Any]], most: int | None) -> Iterator[Group]:
    """Print matches part by part."""
    part: list[dict[str, Any]] = []
    for place, line in enumerate(lines):
        if most is not None and place >= most:
            break
        part.append(line)
        if len(part) == AT_ONCE:
            yield Group(part)
            part = []
    yield Group(part)
