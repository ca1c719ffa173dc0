"""Rules about the numbers in the tables, which a pass over them finds."""

from collections.abc import Iterator

from embtool.answers.text import plural
from embtool.arrays import Doubles, np
from embtool.questions.check.rule import Found, Severity, ids_in_words, rule
from embtool.questions.check.subject import Subject
from embtool.questions.check.surveys import Surveys
from embtool.tables.survey import Survey
from embtool.tables.table import EmbeddingTable

MEAN_LIKE = 0.01

FAINT = 1e-6
"""Length of a row beside the median one below which it is nothing."""

NEARLY_ZERO = (
    "nearly zero is shorter than a millionth of the median row. The shortest row of a trained token has 0.029 of that "
    "length in WordLlama's 32,000 × 256, 0.013 and 0.012 in mini's tables; rows that only weight decay has touched "
    "have 1e-10 of it and less"
)


@rule(
    "nonfinite-rows",
    Severity.ERROR,
    "every number is finite",
    "One NaN in a row makes every text with its token NaN; training diverged, or a conversion overflowed.",
    advice="take the rows from an earlier checkpoint or from the base model, and look for the step that broke them",
    deep=True,
    needs=("tables",),
)
def nonfinite_rows(subject: Subject) -> Iterator[Found]:
    for table, found in _surveyed(subject):
        if len(found.nonfinite):
            ids = found.nonfinite.tolist()
            yield _of(table, f"{plural(len(ids), 'row')} of {table.tensor.name} with NaN or infinity", ids)


@rule(
    "zero-rows",
    Severity.WARNING,
    "the row of every token holds something",
    "A row of zeros carries no meaning: it was never initialised, or pruned. The padding token's may be zero.",
    advice="initialise the rows from the mean of the others and train them, if the tokens are to be used",
    measured=NEARLY_ZERO,
    deep=True,
    needs=("tables",),
)
def zero_rows(subject: Subject) -> Iterator[Found]:
    left_out = subject.pad_ids | set(subject.used_ids)
    for table, found in _surveyed(subject):
        ids = [row for row in found.zero.tolist() if row not in left_out and _has_token(subject, row)]
        if ids:
            yield _of(table, f"{plural(len(ids), 'row')} of {table.tensor.name} all zero", ids)
        ids = [row for row in faint(found) if row not in left_out and _has_token(subject, row)]
        if ids:
            yield _of(table, f"{plural(len(ids), 'row')} of {table.tensor.name} nearly zero", ids)


@rule(
    "identical-rows",
    Severity.WARNING,
    "no two tokens have the same row",
    "The model cannot tell such tokens apart. Tokens that were added and never trained are often all alike.",
    advice="initialise the rows differently and train them, if the tokens are to be used",
    deep=True,
    needs=("tables",),
)
def identical_rows(subject: Subject, surveys: Surveys) -> Iterator[Found]:
    for table, _ in _surveyed(subject):
        for group in surveys.groups(table):
            ids = [row for row in group if row not in subject.used_ids and _has_token(subject, row)]
            if len(ids) > 1:
                yield _of(table, f"{len(ids):,} rows of {table.tensor.name} are the same", ids)


@rule(
    "untrained-special",
    Severity.WARNING,
    "the special tokens that are used have trained rows",
    "A chat template whose markers have empty or mean rows makes a model that never learned where a turn begins or "
    "ends: fine-tuning without training the table leaves them so, as does quantising around them.",
    advice="train the table too, or initialise these rows from tokens of the same meaning",
    measured=NEARLY_ZERO,
    threads=(
        "unslothai/unsloth#1258",
        "unslothai/unsloth#658",
        "unslothai/unsloth#1053",
        "unslothai/unsloth-zoo#1237",
    ),
    deep=True,
    needs=("tables", "vocabulary", "input"),
)
def untrained_special(subject: Subject, surveys: Surveys) -> Iterator[Found]:
    assert subject.input is not None
    if subject.input not in subject.readable:
        return
    found = surveys.of(subject.input)
    nearly = set(faint(found))
    shared = {row: len(group) for group in surveys.groups(subject.input) for row in group}
    zero = set(found.zero.tolist())
    for identity, name in sorted(subject.used_ids.items()):
        if identity >= len(found.norms):
            continue
        row = subject.input.rows([identity])[0].astype(np.float64)
        has = None
        if identity in zero:
            has = "a row of zeros"
        elif identity in nearly:
            has = f"a row of nearly zeros: its length is {found.norms[identity]:.2g}"
        elif identity in shared:
            has = f"the same row as {plural(shared[identity] - 1, 'other')}"
        elif is_mean(row, found.mean):
            has = "the mean of all rows"
        if has is not None:
            tensor = subject.input.tensor
            yield Found(f"{name} (id {identity}) has {has}", (identity,), file=tensor.shard, tensor=tensor.name)


def is_mean(row: Doubles, mean: Doubles) -> bool:
    """Tell whether a row is the mean of all rows, but for what a resize adds at random."""
    length = float(np.linalg.norm(mean))
    return length > 0 and float(np.linalg.norm(row - mean)) < MEAN_LIKE * length


def _of(table: EmbeddingTable, what: str, ids: list[int]) -> Found:
    """Say of which rows of a table something is true."""
    return Found(f"{what}: {ids_in_words(ids)}", ids, file=table.tensor.shard, tensor=table.tensor.name)


def _surveyed(subject: Subject) -> Iterator[tuple[EmbeddingTable, Survey]]:
    """Survey the input and the output table, as far as they can be read; tied ones once."""
    assert subject.surveys is not None
    for table in subject.readable:
        yield table, subject.surveys.of(table)


def faint(found: Survey) -> list[int]:
    """List the rows that are nearly zero beside the others, and not zero."""
    lengths = found.norms[np.isfinite(found.norms) & (found.norms > 0)]
    if not len(lengths):
        return []
    bound = FAINT * float(np.median(lengths))
    with np.errstate(invalid="ignore"):
        rows: list[int] = np.flatnonzero((found.norms > 0) & (found.norms < bound)).tolist()
    return rows


def _has_token(subject: Subject, row: int) -> bool:
    return subject.token_ids is None or row in subject.token_ids
