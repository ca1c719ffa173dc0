"""What a person types for a token, turned into token ids."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from embtool.errors import NoVocabulary, TokenIdOutOfRange, UnknownToken
from embtool.vocabulary.words import Vocabulary

POOLS = ("mean", "sum", "first", "last")
"""How several rows can become one vector."""

LONGEST_RANGE = 1 << 24
"""Ids in one `id:A..B`; no table has more rows, and a typing error must not exhaust the memory."""


@dataclass(frozen=True)
class Query:
    """What a person typed for one vector, and the rows it stands for: one, or several to be pooled.

    Attributes:
        text: what was typed.
        ids: the rows.
        note: what should be said of the choice of a token.
        word: where the text was taken as typed, the same word with a space before it, if that is a token too.
        is_word: whether the token has a space before it, as a word inside a sentence has.
    """

    text: str
    ids: tuple[int, ...]
    note: str | None = None
    word: str | None = None
    is_word: bool = False


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
    """Parse `id:70135` or `id:0..255` into a range of ids, or return None if the text is neither.

    >>> list(parse_ids("id:3..5"))
    [3, 4, 5]
    """
    if not text.startswith("id:"):
        return None
    matched = re.fullmatch(r"(-?\d{1,18})(?:\.\.(-?\d{1,18}))?", text.removeprefix("id:"), re.ASCII)
    if matched is None:
        raise UnknownToken(f"{text!r} is not a token id", hint="write id:70135, or id:0..255 for a range")
    first = int(matched[1])
    last = int(matched[2]) if matched[2] is not None else first
    if first < 0:
        raise TokenIdOutOfRange(f"no row {first}: ids begin at 0")
    if last < first or last - first >= LONGEST_RANGE:
        raise TokenIdOutOfRange(f"{text!r} is not a range of ids")
    return range(first, last + 1)


def read_queries(
    texts: Iterable[str], vocabulary: Vocabulary | None, *, exact: bool = False, pool: bool = False
) -> Iterator[Query]:
    """Turn what a person typed, or the lines of a file, into queries; `id:` needs no vocabulary.

    Raises:
        UnknownToken: a text is no token, or several without `pool`.
        NoVocabulary: a text needs a vocabulary and the model has none.
    """
    for text in texts:
        ids = parse_ids(text)
        if ids is not None:
            if pool and len(ids) > 1:
                yield Query(text, tuple(ids))
            else:
                yield from (Query(f"id:{identity}", (identity,)) for identity in ids)
            continue
        if vocabulary is None:
            raise NoVocabulary(
                f"the model has no tokenizer to look up {text!r}", hint="name rows by id:, such as id:70135"
            )
        found = _look_up(text, vocabulary, exact=exact, pool=pool)
        yield _describe(text, found, vocabulary)


def mixed_words(queries: Iterable[Query]) -> str | None:
    """Say that words with and without a space before them stand side by side, though each has both forms, or None.

    >>> mixed_words([Query("king", (1,), word=" king"), Query(" man", (2,), is_word=True)])
    "' man' has a space before it, as inside a sentence, and 'king' has none: write ' king'"
    """
    bare: dict[str, str] = {}
    words: list[str] = []
    for query in queries:
        if query.word is not None:
            bare[query.text] = query.word
        elif query.is_word:
            words.append(" " + query.text.lstrip(" "))
    if not bare or not words:
        return None
    names, forms = ", ".join(map(repr, bare)), ", ".join(map(repr, bare.values()))
    have = "has" if len(bare) == 1 else "have"
    return f"{words[0]!r} has a space before it, as inside a sentence, and {names} {have} none: write {forms}"


def _look_up(text: str, vocabulary: Vocabulary, *, exact: bool, pool: bool) -> tuple[int, ...]:
    """Find the id of a text, or with `pool` the ids of all its tokens."""
    kind, _, rest = text.partition(":")
    if kind == "piece" and rest:
        return (vocabulary.find_piece(rest).id,)
    if kind == "bytes" and rest:
        return (vocabulary.find_bytes(parse_hex(rest)).id,)
    try:
        return (vocabulary.find(text, exact=exact).id,)
    except UnknownToken:
        tokens = vocabulary.encode(text) if pool else []
        if not tokens or all(token.id == vocabulary.unknown for token in tokens):
            raise
        return tuple(token.id for token in tokens)


def _describe(text: str, ids: tuple[int, ...], vocabulary: Vocabulary) -> Query:
    """Say which token was taken where it is not the text typed, or where the same word with a space is another."""
    if text.startswith(("piece:", "bytes:")):
        return Query(text, ids)
    tokens = [token for token in map(vocabulary.token, ids) if token is not None]
    if len(tokens) != 1:
        return Query(text, ids, f"{text!r} is {len(tokens)} tokens: {' + '.join(repr(token.text) for token in tokens)}")
    token = tokens[0]
    if token.text != text:
        read = f"{text!r} is read as the token {token.text!r} (id {token.id})"
        return Query(text, ids, read, is_word=token.text.startswith(" "))
    word = vocabulary.word(text)
    if word is None:
        return Query(text, ids, is_word=text.startswith(" "))
    advice = f"{text!r} is id {token.id}; the word inside a sentence is {word.text!r} (id {word.id})"
    return Query(text, ids, advice, word.text)
