"""Search the vocabulary: by regular expression, by category, by id, or for variants of a token."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from embtool.answers import Listing, column, context, identity, python, records, token_column
from embtool.answers.text import count
from embtool.arguments import check_count, checked, quoted
from embtool.errors import InvalidArgument
from embtool.tables.categories import MEANINGS, Categorizer, Category
from embtool.vocabulary import Token, Vocabulary, parse_ids, read_queries, root_of

AT_ONCE = 4096
"""Tokens whose categories are told together."""


@dataclass(frozen=True)
class Match:
    """One token that was looked for, or a padding row."""

    id: int = identity()
    token: Token | None = token_column("piece", "token", "bytes")
    category: Category | None = column("the kind of token", style="cyan")


@dataclass(frozen=True, repr=False, eq=False)
class VocabAnswer(Listing[Match]):
    """The tokens that match, in the order of ids; padding rows come last."""

    command = "vocab"

    model: str = context("the model, as it was named")
    tokens: Sequence[Match] = records("what matches")
    hidden: int = python(default=0)
    notes: tuple[str, ...] = python(default=())

    def after(self) -> Sequence[str]:
        """Say how many matches are left out."""
        if not self.tokens:
            return ["  nothing matches"]
        return [f"  {count(self.hidden)} more; -k shows more of them, --tsv all"] if self.hidden else []


@dataclass(frozen=True)
class CategoryCount:
    """How many of the matches are of a category."""

    category: str = column("the kind of token", style="bold")
    tokens: int = column("how many match", right=True, show=count)
    meaning: str = column("what the category means", machine=False, style="dim", prose=True)


@dataclass(frozen=True, repr=False, eq=False)
class VocabCounts(Listing[CategoryCount]):
    """The matches, counted by category; the last record counts all."""

    command = "vocab"

    model: str = context("the model, as it was named")
    counts: tuple[CategoryCount, ...] = records("every category, then all")
    notes: tuple[str, ...] = python(default=())


@checked
@dataclass(frozen=True)
class Search:
    """What is looked for; everything matches where nothing is said.

    Attributes:
        pattern: a regular expression that the token's text must match.
        by_piece: match the tokenizer's own spelling instead.
        ignore_case: let upper and lower case match.
        categories: only these kinds.
        ids: only these ids, such as `0..255`.
        variants: only what differs from this token in case or in spaces around it.
        duplicates: only tokens whose text another token has too.
    """

    pattern: str | None = None
    by_piece: bool = False
    ignore_case: bool = False
    categories: frozenset[Category] = frozenset()
    ids: str | None = None
    variants: str | None = None
    duplicates: bool = False

    def matches(
        self, vocabulary: Vocabulary, padding: Sequence[int] = (), categorizer: Categorizer | None = None
    ) -> Iterator[Match]:
        """Yield every match, in the order of ids; the `padding` rows, if they are wanted, come last.

        A `categorizer` that is given can be asked afterwards what was left open.

        Raises:
            InvalidArgument: the pattern is no regular expression.
            UnknownToken: `ids` or `variants` names nothing.
        """
        flags = re.IGNORECASE if self.ignore_case else re.NOFLAG
        try:
            pattern = None if self.pattern is None else re.compile(self.pattern, flags)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidArgument(f"{quoted(self.pattern)} is not a regular expression: {error}") from error
        ids = None if self.ids is None else parse_ids(f"id:{self.ids}")
        root = None
        if self.variants is not None:
            token = next(iter(read_queries([self.variants], vocabulary))).token
            if token is None:
                raise InvalidArgument(f"variants of a row that no token has: {self.variants}")
            root = root_of(token)
        return self._found(categorizer or Categorizer(vocabulary), padding, pattern, ids, root)

    def _found(
        self,
        categorizer: Categorizer,
        padding: Sequence[int],
        pattern: re.Pattern[str] | None,
        ids: range | None,
        root: str | None,
    ) -> Iterator[Match]:
        if self.categories != {Category.PADDING}:
            found = [
                token
                for token in categorizer.vocabulary
                if (ids is None or token.id in ids)
                and (root is None or root_of(token) == root)
                and (pattern is None or pattern.search(token.piece if self.by_piece else token.text) is not None)
            ]
            if self.duplicates:  # those whose text and bytes another has too, the same ones side by side
                times = Counter((token.text, token.bytes) for token in found)
                found = [token for token in found if times[token.text, token.bytes] > 1]
                found.sort(key=lambda token: (token.text, token.bytes, token.id))
            yield from self._categorized(found, categorizer)
        nameless = pattern is None and root is None and not self.duplicates
        if nameless and (not self.categories or Category.PADDING in self.categories):
            yield from (Match(row, None, Category.PADDING) for row in padding if ids is None or row in ids)

    def _categorized(self, tokens: Sequence[Token], categorizer: Categorizer) -> Iterator[Match]:
        """Find categories; where only some are wanted, a token that cannot be of one is not encoded."""
        if self.categories:
            split = self.categories & {Category.NORMAL, Category.UNREACHABLE}
            possible = self.categories | {Category.NORMAL} if split else self.categories
            tokens = [token for token in tokens if categorizer.by_bytes(token) in possible]
        only_bytes = bool(self.categories) and not self.categories & {Category.NORMAL, Category.UNREACHABLE}
        for first in range(0, len(tokens), AT_ONCE):
            part = tokens[first : first + AT_ONCE]
            categories: Iterable[Category | None] = (
                map(categorizer.by_bytes, part) if only_bytes else categorizer.each(part)
            )
            for token, category in zip(part, categories, strict=True):
                if not self.categories or category in self.categories:
                    yield Match(token.id, token, category)


def ask_vocab(
    model: str, vocabulary: Vocabulary, search: Search, *, padding: Sequence[int] = (), k: int | None = None
) -> VocabAnswer:
    """List the tokens that match, the first `k` of them."""
    if k is not None:
        check_count(k, "k")
    categorizer = Categorizer(vocabulary)
    found = list(search.matches(vocabulary, padding, categorizer))
    shown = found if k is None else found[:k]
    return VocabAnswer(model, shown, len(found) - len(shown), categorizer.notes)


def count_categories(model: str, vocabulary: Vocabulary, search: Search, *, padding: Sequence[int] = ()) -> VocabCounts:
    """Count the tokens that match by category; every category is named, and the last record counts all.

    What is left open is counted as `open`, where there is any.
    """
    categorizer = Categorizer(vocabulary)
    times = Counter(match.category for match in search.matches(vocabulary, padding, categorizer))
    counted = [CategoryCount(category.value, times[category], MEANINGS[category]) for category in Category]
    if times[None]:
        counted.append(CategoryCount("open", times[None], "normal or unreachable: text cannot be split to tell it"))
    return VocabCounts(model, (*counted, CategoryCount("all", times.total(), "")), categorizer.notes)
