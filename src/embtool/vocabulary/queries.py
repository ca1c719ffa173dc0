"""What a person types for a token, turned into token ids: one grammar for the shell, for files and for the library.

`king` is the word as it stands inside a sentence, ` king`, where that is one token, else the bare text. A text with a
space in it is exactly that text, and so is every text with `exact`. `id:3`, `id:0..255`, `piece:Ġking` and
`bytes:206b696e67` name rows and tokens outright.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from embtool.counts import plain_number
from embtool.errors import InvalidArgument, NoVocabulary, TokenIdOutOfRange, UnknownToken
from embtool.vocabulary.words import Token, Vocabulary

POOLS = ("mean", "sum", "first", "last")
"""How several rows can become one vector."""

LONGEST_RANGE = 1 << 24
"""Ids in one `id:A..B`; no table has more rows, and a typing error must not exhaust the memory."""

ID = re.compile(r"-?[0-9]{1,18}")
"""The digits of an id; as it is printed or said, 70,135 or 1e3, it becomes these."""


@dataclass(frozen=True)
class Query:
    """What a person typed for one vector, and the rows it stands for.

    Attributes:
        text: what was typed.
        ids: the rows: one, several to be pooled, or none where a vector was brought.
        token: the token of the only row; None for padding, for several rows and for a vector.
        bare: whether the text was taken as typed because there is no whole-word form of it, though one was looked for.
        vector: the numbers that were brought, float64 (width,).
        note: which tokens are pooled.
    """

    text: str
    ids: tuple[int, ...] = ()
    token: Token | None = None
    bare: bool = False
    vector: Any = None
    note: str | None = None

    @property
    def id(self) -> int | None:
        """The only row, or None where there are several or none."""
        return self.ids[0] if len(self.ids) == 1 else None


def parse_hex(text: str) -> bytes:
    """Parse the hexadecimal digits of `bytes:`.

    Raises:
        UnknownToken: they are none.
    """
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UnknownToken(f"bytes:{text} is not pairs of hexadecimal digits") from error


def parse_ids(text: str) -> range | None:
    """Parse `id:70135`, `id:70,135` or `id:0..255` into a range of ids; None if the text does not begin with `id:`.

    >>> list(parse_ids("id:3..5")), parse_ids("id:1e3"), parse_ids("id:1,000..1,001")
    ([3, 4, 5], range(1000, 1001), range(1000, 1002))

    Raises:
        UnknownToken: what follows `id:` is no number.
        TokenIdOutOfRange: it is below 0, or the range is empty or longer than any table.
    """
    if not text.startswith("id:"):
        return None
    start, between, end = text.removeprefix("id:").partition("..")
    ends = [plain_number(number) for number in (start, end if between else start)]
    if not all(map(ID.fullmatch, ends)):
        raise UnknownToken(f"{text!r} is not a token id", hint="write id:70135, or id:0..255 for a range")
    first, last = map(int, ends)
    if first < 0:
        raise TokenIdOutOfRange(f"no row {first}: ids begin at 0")
    if last < first or last - first >= LONGEST_RANGE:
        raise TokenIdOutOfRange(f"{text!r} is not a range of ids")
    return range(first, last + 1)


def read_query(text: str, vocabulary: Vocabulary | None, *, exact: bool = False, pool: bool = False) -> Iterable[Query]:
    """Return the queries that one typed text stands for: one, or one for each id of a range, made as it is needed.

    Args:
        text: what was typed.
        vocabulary: the tokens that name the rows; `id:` needs none.
        exact: take the text as typed, with no mark of a word's start put before it.
        pool: let a text of several tokens, or a range of ids, be one query.

    Raises:
        UnknownToken: the text is no token, or several without `pool`.
        NoVocabulary: it needs a vocabulary and there is none.
    """
    ids = parse_ids(text)
    if ids is not None:
        if pool and len(ids) > 1:
            return (Query(text, tuple(ids)),)
        return (
            Query(f"id:{identity}", (identity,), vocabulary.token(identity) if vocabulary is not None else None)
            for identity in ids
        )
    if vocabulary is None:
        raise NoVocabulary(f"the model has no tokenizer to look up {text!r}", hint="name rows by id:, such as id:70135")
    return (_look_up(text, vocabulary, exact=exact, pool=pool),)


def read_queries(
    texts: Iterable[str], vocabulary: Vocabulary | None, *, exact: bool = False, pool: bool = False
) -> Iterator[Query]:
    """Yield the queries of several texts; see `read_query`."""
    for text in texts:
        yield from read_query(text, vocabulary, exact=exact, pool=pool)


def _look_up(text: str, vocabulary: Vocabulary, *, exact: bool, pool: bool) -> Query:
    """Find the token of a text, or with `pool` all its tokens."""
    kind, _, rest = text.partition(":")
    if kind == "piece" and rest:
        found = vocabulary.find_piece(rest)
    elif kind == "bytes" and rest:
        found = vocabulary.find_bytes(parse_hex(rest))
    else:
        try:
            found = vocabulary.find(text, exact=exact)
        except UnknownToken:
            tokens = vocabulary.encode(text) if pool else []
            if not tokens or all(token.id == vocabulary.unknown for token in tokens):
                raise
            ids = tuple(token.id for token in tokens)
            if len(ids) == 1:
                return Query(text, ids, tokens[0])
            return Query(text, ids, note=f"{text!r} is {len(ids)} tokens: {' + '.join(repr(t.text) for t in tokens)}")
        return Query(text, (found.id,), found, bare=not exact and found.text == text and vocabulary.marks_words(text))
    return Query(text, (found.id,), found)


def note_of_bare(queries: Iterable[Query], most: int = 5) -> str | None:
    """Say once for a whole call which words were taken as typed, because they have no whole-word form; None if none.

    Only where others have that form: of words that are all alike there is nothing to say.
    """
    listed = [query for query in queries if query.token is not None]
    bare = [query.text for query in listed if query.bare]
    if not bare or len(bare) == len(listed):
        return None
    names = ", ".join(map(repr, bare[:most])) + (f" and {len(bare) - most} more" if len(bare) > most else "")
    return f"{names}: no token with a space before it, so the text is taken as typed"


SIGNS = {"+": 1.0, "-": -1.0, "−": -1.0}


@dataclass(frozen=True)
class Term:
    """A sign, +1 or -1, and what was typed for a token."""

    sign: float
    text: str


def parse_expression(arguments: Sequence[str]) -> list[Term]:
    """Read tokens with signs between them; a single argument is cut at its signs that have spaces on both sides.

    >>> [(term.sign, term.text) for term in parse_expression(["king - man + woman"])]
    [(1.0, 'king'), (-1.0, 'man'), (1.0, 'woman')]

    Raises:
        InvalidArgument: a sign or a token is missing.
    """
    parts = list(arguments)
    if len(arguments) == 1:
        first = re.match(r"([+−-]) +(?=\S)", arguments[0])  # a sign before the first token has a space behind it only
        rest = arguments[0] if first is None else arguments[0][first.end() :]
        split = re.split(r"(?<=\S) +([+−-])(?: +(?=\S)| *$)", rest)
        parts = [part for part in ("" if first is None else first[1], *split) if part]
    terms: list[Term] = []
    sign: float | None = None
    for part in parts:
        if part in SIGNS:
            if sign is not None:
                raise InvalidArgument(f"two signs stand side by side; the token {part} itself is piece:{part}")
            sign = SIGNS[part]
            continue
        if sign is None and terms:
            if part[:1] in SIGNS:
                raise InvalidArgument(f"{part!r} has no space after its sign: write {part[:1]} {part[1:]}")
            raise InvalidArgument(
                f"no + or - stands between {terms[-1].text!r} and {part!r}; a token with a space in it needs quotes"
            )
        terms.append(Term(1.0 if sign is None else sign, part))
        sign = None
    if sign is not None or not terms:
        raise InvalidArgument("the expression ends with a sign: a token is missing")
    return terms
