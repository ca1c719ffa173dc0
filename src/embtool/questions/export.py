"""The table in files for other tools: which rows, by which names, in which format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embtool.answers import Listing, column, context, python, records, value
from embtool.answers.text import plural, printable, size
from embtool.arguments import check_count
from embtool.arrays import Doubles, np
from embtool.errors import InvalidArgument
from embtool.questions.neighbors import Filters
from embtool.tables.categories import Categorizer, Category
from embtool.tables.export import PROJECTOR_LIMIT, WRITERS, Export, Nearest, RowName
from embtool.tables.metric import MOST_QUERIES
from embtool.tables.neighbors import nearest_each
from embtool.tables.scan import Ids
from embtool.tables.token_table import Reading, TokenTable

SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".csv": "csv",
    ".w2v": "word2vec",
    ".txt": "word2vec",
    ".vec": "word2vec",
}
"""The format that a file's name asks for."""

FARTHEST = 2.0
"""The distance of two rows that point away from each other."""

SEED = 0
"""Of the sample: the same rows every time."""


@dataclass(frozen=True)
class WrittenFile:
    """One file that was written."""

    path: str = column("where it is")
    bytes: int = column("how large it is", right=True, show=size)


@dataclass(frozen=True, repr=False, eq=False)
class ExportAnswer(Listing[WrittenFile]):
    """The files that were written, and what is in them."""

    command = "export"

    model: str = context("the model, as it was named")
    table: str = context("the role of the table")
    tensor: str = value("its name in the checkpoint")
    files: tuple[WrittenFile, ...] = records("the files")
    rows: int = value("how many rows were written")
    width: int = value("how many numbers a row has")
    notes: tuple[str, ...] = python(default=())


def choose_format(kind: str | None, path: Path) -> str:
    """Choose the format: the one named, or that of the file's name.

    Raises:
        InvalidArgument: there is no such format, or the name does not say which.
    """
    if kind is None:
        kind = SUFFIXES.get(path.suffix)
        if kind is None:
            told = f"the name {path.name} does not say which; one that ends in {', '.join(SUFFIXES)} does"
            raise InvalidArgument(f"format is one of {', '.join(WRITERS)}; {told}")
    if kind not in WRITERS:
        raise InvalidArgument(f"format is one of {', '.join(WRITERS)}, not {kind}")
    return kind


def choose_rows(
    asked: TokenTable,
    kind: str,
    *,
    tokens: Sequence[str] = (),
    filters: Filters | None = None,
    sample: int | None = None,
) -> Ids:
    """Choose the rows that are written, by id, int64 (n,).

    Args:
        asked: the table.
        kind: the format, which may hold so many rows only.
        tokens: only these rows.
        filters: only rows that pass these; a row's own query does not matter here.
        sample: only so many, chosen at random, the same every time.

    Raises:
        InvalidArgument: no row is left, or more than the format holds.
    """
    kept = np.ones(asked.table.shape[0], np.bool_)
    if tokens:
        kept[:] = False
        for text in tokens:
            for query in asked.read(text, Reading(can_pool=False)):
                kept[list(query.ids)] = True
    if filters is not None and filters != Filters():
        asked.need_vocabulary()
        allowed = filters.allowed(asked)
        kept &= True if allowed is None else allowed
    ids = np.flatnonzero(kept).astype(np.int64)
    if sample is not None:
        check_count(sample, "sample")
    if sample is not None and len(ids) > sample:
        ids = np.sort(np.random.default_rng(SEED).choice(ids, sample, replace=False))
    if kind == "projector" and len(ids) > PROJECTOR_LIMIT:
        raise InvalidArgument(
            f"the projector shows at most {PROJECTOR_LIMIT:,} rows, not {len(ids):,}: choose with --sample or --only"
        )
    if not len(ids):
        raise InvalidArgument("no row is left to write")
    return ids


def write_export(asked: TokenTable, ids: Ids, kind: str, path: Path, *, neighbors: int | None = None) -> ExportAnswer:
    """Write rows as float32, each with its names where the format has room for them; safetensors keeps the dtype.

    A file appears under its name only when it is whole. With `neighbors`, Parquet has for each row those nearest to it
    of the rows written, by cosine, in the column that embedding-atlas reads.

    Raises:
        InvalidArgument: the format has no room for neighbors, or there are none.
        LocalFailure: the system does not let it be written.
        MissingExtra: the format needs a library that is not installed.
    """
    categorizer = None if asked.vocabulary is None else Categorizer(asked.vocabulary)
    nearest = None if neighbors is None else _nearest(asked, ids, kind, neighbors)

    def name(rows: Sequence[int]) -> list[RowName]:
        if categorizer is None:
            return [RowName(row, None, None, None, "row") for row in rows]
        tokens = [categorizer.vocabulary.token(row) for row in rows]
        return [
            RowName(row, None, None, None, Category.PADDING.value)
            if token is None
            else RowName(row, token.piece, token.text, token.bytes.hex(), "" if category is None else category.value)
            for row, token, category in zip(rows, tokens, categorizer.of_rows(tokens), strict=True)
        ]

    export = Export(asked.table, ids.tolist(), name, printable, asked.model, lambda _: asked.open(), nearest)
    written = tuple(WrittenFile(str(place), place.stat().st_size) for place in WRITERS[kind](export, path))
    rows_written, width = len(ids), asked.table.shape[1]
    notes = (
        f"wrote {written[0].path} ({kind}, {size(written[0].bytes)})",
        *(f"wrote {file.path} ({size(file.bytes)})" for file in written[1:]),
        f"{plural(rows_written, 'row')} of {plural(width, 'number')} from {asked.table.tensor.name}",
        *(() if categorizer is None else categorizer.notes),
    )
    return ExportAnswer(asked.model, asked.role, asked.table.tensor.name, written, rows_written, width, notes)


def _nearest(asked: TokenTable, ids: Ids, kind: str, k: int) -> Nearest:
    """Make what finds the k rows nearest to a row of those written, itself first, as embedding-atlas has them.

    The distance is 1 - cosine; that of and to a row without a direction is the longest, 2. No row has fewer than
    another: what reads the file makes a matrix of them.
    """
    check_count(k, "neighbors")
    if kind != "parquet":
        raise InvalidArgument("neighbors are a column of Parquet: name a file that ends in .parquet")
    allowed = np.zeros(asked.table.shape[0], np.bool_)
    allowed[ids] = True
    k = min(k, len(ids) - 1)

    def find(rows: Sequence[int]) -> tuple[Ids, Doubles]:
        places = np.empty((len(rows), k + 1), np.int64)
        distances = np.zeros((len(rows), k + 1))
        places[:, 0] = np.searchsorted(ids, rows)
        for first in range(0, len(rows) if k else 0, MOST_QUERIES):
            part = list(rows[first : first + MOST_QUERIES])
            vectors = asked.table.rows(part)
            vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0)
            found = nearest_each(asked.table, vectors, k, allowed=allowed, exclude=[[row] for row in part])
            for place, each in enumerate(found, first):
                places[place, 1:] = np.searchsorted(ids, each.ids)
                distances[place, 1:] = np.where(np.isfinite(each.scores), 1 - each.scores, FARTHEST)
        return places, distances

    return find
