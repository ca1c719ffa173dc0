"""Words in two dimensions: groups of them, as `embtool map` places them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from embtool.errors import EmbtoolError
from embtool.lesson import Subject
from embtool.questions.map import MapAnswer, ask_map
from embtool.tables.token_table import Reading, TokenTable
from embtool.view.parts import Json, typed
from embtool.vocabulary import Query

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("crowns", ("king", "queen", "prince", "princess", "emperor")),
    ("people", ("man", "woman", "boy", "girl", "mother", "father")),
    ("fruit", ("apple", "cherry", "pear", "strawberry", "lemon", "banana")),
    ("water", ("river", "lake", "sea", "ocean", "island")),
    ("numbers", ("one", "two", "three", "four", "five", "six")),
    ("machines", ("pod", "container", "node", "server", "cluster")),
)
"""Everyday words in groups; those of them that are single tokens are drawn."""

FEWEST_WORDS = 2
"""Words of a group, and groups, below which the words are chosen by the model."""

FEWEST = 3
"""Points of a picture that shows anything."""

SEEDS = 6
NEAR_EACH = 4
"""Words of the model's own, and how many neighbours of each, where it lacks the everyday ones."""

NEAR_ASKED = 5
"""Neighbours of each token that the reader asked for."""


@dataclass(frozen=True)
class Shadow:
    """A picture: its points in the page's data, and the rows that it shows."""

    ids: tuple[int, ...]
    data: Json


def cast(subject: Subject, tokens: Sequence[str] = ()) -> Shadow | None:
    """Place the tokens asked for and their neighbours, or else everyday words; None where too few rows have a place.

    Raises:
        UnknownToken: what was asked for is no token.
    """
    asked = subject.model.token_table()
    if tokens:
        queries = [query for text in tokens for query in asked.read(text, Reading())]
        return _drawn(subject, ask_map(asked, queries, Reading(), neighbors=NEAR_ASKED), NEAR_ASKED)
    groups = _everyday(asked)
    try:
        if len(groups) >= FEWEST_WORDS:
            queries = [query for _, found in groups for query in found]
            names = [name for name, found in groups for _ in found]
            return _drawn(subject, ask_map(asked, queries, Reading()), 0, names)
        own = subject.own[:: max(1, len(subject.own) // SEEDS)][:SEEDS]
        queries = [Query(f"id:{row}", (row,), subject.token(row)) for row in own]
        return _drawn(subject, ask_map(asked, queries, Reading(), neighbors=NEAR_EACH), NEAR_EACH)
    except EmbtoolError:  # rows that are not finite have no place
        return None


def _everyday(asked: TokenTable) -> list[tuple[str, list[Query]]]:
    """List groups of words that are single tokens; a row stands in one only."""
    seen: set[int] = set()
    groups = []
    for name, words in GROUPS:
        found = []
        for word in words:
            with contextlib.suppress(EmbtoolError):  # several tokens, or a tokenizer that embtool cannot split with
                query = asked.one(word, Reading())
                if query.ids[0] not in seen:
                    found.append(query)
                    seen.add(query.ids[0])
        if len(found) >= FEWEST_WORDS:
            groups.append((name, found))
    return groups


def _drawn(subject: Subject, answer: MapAnswer, neighbors: int, names: Sequence[str] = ()) -> Shadow | None:
    """Write a picture; without names of groups, a token that was asked for and its neighbours are a group."""
    points = answer.points
    if len(points) < FEWEST:
        return None
    if not names:
        parents = [place if point.parent is None else point.parent for place, point in enumerate(points)]
        names = [points[place].name for place in parents]
    labels = list(dict.fromkeys(names))
    asked = [point.query for point in points if point.parent is None]
    more = ("--neighbors", str(neighbors)) if neighbors else ()
    data: Json = {
        "caption": answer.caption,
        "groups": labels,
        "command": typed(subject.command("map", *asked, *more)),
        "points": [
            {"name": point.name, "id": point.id, "x": point.x, "y": point.y, "parent": point.parent, "group": place}
            for point, place in zip(points, map(labels.index, names), strict=True)
        ],
    }
    return Shadow(tuple(point.id for point in points if point.id is not None), data)
