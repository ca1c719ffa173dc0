"""Targets: what a user brings: vectors as npy, JSON or TSV, and queries."""

import io
import json
import warnings
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from small_models import tokenizer_json
from sources import Memory

from embtool.answers.text import printable, unescape
from embtool.errors import EmbtoolError, FormatError
from embtool.tables.vectors import NPY_MAGIC, parse_vectors
from embtool.vocabulary import read_vocabulary
from embtool.vocabulary.queries import parse_ids, read_queries
from fuzz.engine import both, document, framed, mixed, octets, target

NPY = mixed(framed(len(NPY_MAGIC) + 2, 2, octets), octets)


def change_vectors(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
    """Change a file of vectors in the way of its format."""
    change = NPY if case.startswith(NPY_MAGIC) else document if case[:1] in (b"[", b"{") else octets
    return change(case, random, words)


@target("vectors", change_vectors)
def read_vectors(case: bytes) -> None:
    """Read the vectors: each has numbers, and all of them are finite."""
    found = parse_vectors(case, file="x", unescape=unescape)
    assert found
    for vector in found:
        assert (vector.values.ndim, vector.values.dtype) == (1, np.dtype(float))
        assert vector.values.size > 0, "a vector without numbers"
        assert np.isfinite(vector.values).all()
        assert vector.name is None or isinstance(vector.name, str)


@target("npy-peer", NPY)
def compare_npy(case: bytes) -> None:
    """Read vectors twice; where both accept them, they must be the same numbers."""
    if not case.startswith(NPY_MAGIC):
        raise FormatError("no npy file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's own, as it refuses by many kinds of exceptions
        theirs, mine = both(
            lambda: np.load(io.BytesIO(case), allow_pickle=False),
            Exception,
            lambda: np.array([vector.values for vector in parse_vectors(case, file="x")]),
        )
    assert np.array_equal(mine, np.atleast_2d(theirs).astype(np.float64)), "both accept, and see different numbers"


VOCABULARY = read_vocabulary(Memory({"tokenizer.json": json.dumps(tokenizer_json()).encode()}))


@target("queries", octets)
def read_query(case: bytes) -> None:
    """Read lines as queries: each is tokens of the vocabulary, ids, or refused; as TSV each comes back."""
    refusals = 0
    for line in case.decode("utf-8", "surrogateescape").split("\n")[:20]:
        assert unescape(printable(line)) == line
        unescape(line)
        try:
            ids = parse_ids(line)
            assert ids is None or 0 <= ids.start < ids.stop
            for query in read_queries([line], VOCABULARY, pool=True):
                assert query.ids
                assert min(query.ids) >= 0
        except EmbtoolError:
            refusals += 1
    if refusals:
        raise FormatError("refused in part")
