"""Rules about the numbers in the tables, which a pass over them finds."""

from collections.abc import Iterable, Iterator

import numpy as np

from embtool.answers.text import plural
from embtool.dtypes import Doubles
from embtool.questions.check.rule import Severity, ids_in_words, rule
from embtool.questions.check.subject import Subject
from embtool.survey import Survey
from embtool.table import EmbeddingTable

MEAN_LIKE = 0.01


@rule(
    "nonfinite-rows",
    Severity.ERROR,
    "every number is finite",
    "One NaN in a row makes every text with its token NaN; training diverged, or a conversion overflowed.",
    deep=True,
    needs=("tables",),
)
def _nonfinite_rows(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    for table, found in _surveyed(subject):
        if len(found.nonfinite):
            ids = found.nonfinite.tolist()
            yield f"{plural(len(ids), 'row')} of {table.tensor.name} with NaN or infinity: {ids_in_words(ids)}", ids


@rule(
    "zero-rows",
    Severity.WARNING,
    "the row of every token holds something",
    "A row of zeros carries no meaning: it was never initialised, or pruned. The padding token's may be zero.",
    deep=True,
    needs=("tables",),
)
def _zero_rows(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    pads = {identity for field_name, identity in subject.special_ids if field_name.startswith("pad_token_id")}
    left_out = pads | set(subject.used_ids)
    for table, found in _surveyed(subject):
        ids = [row for row in found.zero.tolist() if row not in left_out and _has_token(subject, row)]
        if ids:
            yield f"{plural(len(ids), 'row')} of {table.tensor.name} all zero: {ids_in_words(ids)}", ids


@rule(
    "identical-rows",
    Severity.WARNING,
    "no two tokens have the same row",
    "The model cannot tell such tokens apart. Tokens that were added and never trained are often all alike.",
    deep=True,
    needs=("tables",),
)
def _identical_rows(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.surveys is not None
    for table, _ in _surveyed(subject):
        for group in subject.surveys.groups(table):
            ids = [row for row in group if row not in subject.used_ids and _has_token(subject, row)]
            if len(ids) > 1:
                yield f"{len(ids):,} rows of {table.tensor.name} are the same: {ids_in_words(ids)}", ids


@rule(
    "untrained-special",
    Severity.WARNING,
    "the special tokens that are used have trained rows",
    "A chat template whose markers have empty or mean rows makes a model that never learned where a turn begins or "
    "ends: fine-tuning without training the table leaves them so, as does quantising around them.",
    deep=True,
    needs=("tables", "vocabulary", "input"),
)
def _untrained_special(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.surveys is not None
    assert subject.input is not None
    found = subject.surveys.of(subject.input)
    shared = {row: len(group) for group in subject.surveys.groups(subject.input) for row in group}
    zero = set(found.zero.tolist())
    for identity, name in sorted(subject.used_ids.items()):
        if identity >= len(found.norms):
            continue
        row = subject.input.rows([identity])[0].astype(np.float64)
        if identity in zero:
            yield f"{name} (id {identity}) has a row of zeros", (identity,)
        elif identity in shared:
            yield f"{name} (id {identity}) has the same row as {plural(shared[identity] - 1, 'other')}", (identity,)
        elif _is_mean(row, found.mean):
            yield f"{name} (id {identity}) has the mean of all rows", (identity,)


def _is_mean(row: Doubles, mean: Doubles) -> bool:
    length = float(np.linalg.norm(mean))
    return length > 0 and float(np.linalg.norm(row - mean)) < MEAN_LIKE * length


def _surveyed(subject: Subject) -> Iterator[tuple[EmbeddingTable, Survey]]:
    """Survey the input and the output table; tied ones once."""
    assert subject.surveys is not None
    assert subject.tables is not None
    tied = subject.tables.tying.verdict == "tied"
    stored = [table for table in subject.tables.stored if table.role in ("input", "output")]
    for table in stored[:1] if tied else stored:
        yield table, subject.surveys.of(table)


def _has_token(subject: Subject, row: int) -> bool:
    return subject.token_ids is None or row in subject.token_ids
