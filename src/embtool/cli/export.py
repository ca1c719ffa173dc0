"""`embtool export`: the table for other tools."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embtool.categories import Categorizer, Category
from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import SourceOptions, TableName, find_table
from embtool.cli.reach import current
from embtool.cli.watching import watched
from embtool.cli.writing import Force, check_free
from embtool.export import PROJECTOR_LIMIT, WRITERS, Export, RowName
from embtool.model import Model
from embtool.output import count, printable, size
from embtool.scan import Ids
from embtool.table import EmbeddingTable
from embtool.vocabulary import Vocabulary, read_queries

SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".csv": "csv",
    ".w2v": "word2vec",
    ".txt": "word2vec",
}
"""The format that a file's name asks for."""

SEED = 0
"""Of the sample: the same rows every time."""


def run(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", autocompletion=completion.models, help="A folder, a file or a repository.")
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to; for projector a folder.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            autocompletion=completion.choices(*WRITERS),
            help=f"{', '.join(WRITERS)}. Default: what the file's name ends in.",
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            metavar="TOKEN",
            autocompletion=completion.tokens,
            help="Only these rows, as id:0..255; again for more.",
        ),
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="REGEX", help="Only tokens whose text matches.")] = None,
    no_special: Annotated[bool, typer.Option("--no-special", help="Leave out special tokens.")] = False,
    no_padding: Annotated[bool, typer.Option("--no-padding", help="Leave out rows that no token has.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only so many, chosen at random, the same every time.")
    ] = None,
    force: Force = False,
    table: TableName = "input",
    source: SourceOptions,
) -> None:
    """Write a table for other tools: numpy, safetensors, Parquet, CSV, TensorFlow's projector, word2vec text.

    Rows are float32, in the order of their ids, each with id, piece, token, bytes and category where the format has
    room for names; npy gets a file of names beside it, safetensors keeps the stored dtype. A file appears only when it
    is whole. Parquet opens in DuckDB and pandas, word2vec text in gensim, the projector's folder on
    https://projector.tensorflow.org.
    """
    used = _format(kind, out)
    check_free(out, force=force, is_folder=used == "projector")
    opened = source.open_named(model)
    chosen = find_table(opened, table)
    vocabulary = opened.vocabulary_of(chosen)
    ids = _choose(opened, chosen, vocabulary, rows, only, special=not no_special, padding=not no_padding)
    ids = _sampled(ids, sample)
    if used == "projector" and len(ids) > PROJECTOR_LIMIT:
        raise typer.BadParameter(
            f"the projector shows at most {PROJECTOR_LIMIT:,} rows, not {len(ids):,}: choose with --sample or --only"
        )
    if not len(ids):
        raise typer.BadParameter("no row is left to write")
    export = Export(chosen, ids.tolist(), _namer(vocabulary), printable, opened.name, watched)
    if current().is_rehearsal:
        with chosen.open():
            return
    for path in WRITERS[used](export, out):
        note(f"wrote {path} ({size(path.stat().st_size)})")
    note(f"{count(len(ids))} rows of {count(chosen.shape[1])} numbers from {chosen.tensor.name}")


def _format(kind: str | None, out: Path) -> str:
    """Choose the format: the one named, or that of the file's name."""
    if kind is None:
        kind = SUFFIXES.get(out.suffix)
        if kind is None:
            raise typer.BadParameter(f"--format is one of {', '.join(WRITERS)}; the name {out.name} does not say which")
    if kind not in WRITERS:
        raise typer.BadParameter(f"--format is one of {', '.join(WRITERS)}, not {kind}")
    return kind


def _choose(
    model: Model,
    table: EmbeddingTable,
    vocabulary: Vocabulary | None,
    asked: list[str] | None,
    only: str | None,
    *,
    special: bool,
    padding: bool,
) -> Ids:
    """Choose the rows that are written, by id."""
    count_of_rows = table.shape[0]
    kept = np.ones(count_of_rows, np.bool_)
    if asked:
        kept[:] = False
        for query in read_queries(asked, vocabulary):
            table.check(query.ids)
            kept[list(query.ids)] = True
    if only is not None or not special or not padding:
        words = model.vocabulary if vocabulary is None else vocabulary
        pattern = _compile(only)
        named = np.zeros(count_of_rows, np.bool_)
        ids = [token.id for token in words if pattern.search(token.text)] if only is not None else words.ids.tolist()
        named[[row for row in ids if row < count_of_rows]] = True
        if only is not None or not padding:
            kept &= named
        if not special:
            kept[words.special_ids[words.special_ids < count_of_rows]] = False
    return np.flatnonzero(kept).astype(np.int64)


def _compile(pattern: str | None) -> re.Pattern[str]:
    try:
        return re.compile(pattern or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise typer.BadParameter(f"--only is not a regular expression: {error}") from error


def _sampled(ids: Ids, most: int | None) -> Ids:
    if most is None or len(ids) <= most:
        return ids
    return np.sort(np.random.default_rng(SEED).choice(ids, most, replace=False))


def _namer(vocabulary: Vocabulary | None) -> Callable[[Sequence[int]], list[RowName]]:
    """Make what names rows: by their tokens, or by nothing but their ids."""
    if vocabulary is None:
        return lambda ids: [RowName(row, None, None, None, "row") for row in ids]
    categorizer = Categorizer(vocabulary)

    def name(ids: Sequence[int]) -> list[RowName]:
        tokens = [vocabulary.token(row) for row in ids]
        found = iter(categorizer.each([token for token in tokens if token is not None]))
        return [
            RowName(row, None, None, None, Category.PADDING.value)
            if token is None
            else RowName(row, token.piece, token.text, token.bytes.hex(), next(found).value)
            for row, token in zip(ids, tokens, strict=True)
        ]

    return name
