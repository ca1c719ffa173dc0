"""`embtool info`: what a model's tables are, from its headers."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import typer

from embtool.cli import completion
from embtool.cli.batch import read_lines
from embtool.cli.explanations import explain_info
from embtool.cli.messages import note, report
from embtool.cli.options import ExplainOptions, OutputOptions, SourceOptions
from embtool.cli.position import describe_positions
from embtool.cli.reach import doubt
from embtool.config import Config
from embtool.errors import EmbtoolError, FileNotInModel, MissingLibrary, NoVocabulary, TableNotFound
from embtool.hub.crew import in_order
from embtool.model import Model
from embtool.output import Card, Deck, Section, count, size
from embtool.table import EmbeddingTable, Tables
from embtool.vocabulary import Vocabulary

NOT_FOUND = 3

SIDE_BY_SIDE = 6
"""Models looked at at a time: each costs some ten short requests, and a hub allows hundreds in a minute."""

LISTED_RANGES = 8
"""Ranges of padding rows named on a terminal; JSON has them all."""


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", autocompletion=completion.models, help="Models; - reads them from stdin."),
    ] = None,
    *,
    source: SourceOptions,
    output: OutputOptions,
    explain: ExplainOptions,
) -> None:
    """Tell what a model's embedding tables are, from config.json and headers; the weights are never read.

    Shape, dtype, size and file of every table; whether input and output are tied; which rows no token has; how
    positions work; the context length.
    """
    names = _names(models)
    failed: list[str] = []
    opened: dict[str, Model] = {}

    def look(name: str) -> tuple[list[str], Card | EmbtoolError]:
        notes: list[str] = []  # said when it is this model's turn, whichever was read first
        try:
            opened[name] = source.open_named(name)
            return notes, describe(opened[name], tell=notes.append)
        except EmbtoolError as error:
            doubt(error, opened.get(name))
            return notes, error

    def cards() -> Iterator[Card]:
        for name, (notes, found) in zip(names, in_order(names, look, SIDE_BY_SIDE), strict=True):
            for line in notes:
                note(line)
            if isinstance(found, Card):
                yield found
            elif len(names) == 1:
                raise found
            else:
                report(found, about=name)
                failed.append(name)

    output.emit(Deck("info", cards(), "models" if len(names) > 1 else None))
    if explain.explain:
        _explain([opened[name] for name in names if name not in failed], source, output)
    if failed:
        raise typer.Exit(NOT_FOUND)


def _names(models: list[str] | None) -> list[str]:
    if not models:
        raise typer.BadParameter("name a MODEL, such as: embtool info mini")
    return list(read_lines()) if models == ["-"] else models


def _explain(models: list[Model], source: SourceOptions, output: OutputOptions) -> None:
    """Explain the result, with the first model that was read as the example."""
    for model in models[:1]:
        explain_info(model, source.reached).show(output.format)


def describe(model: Model, *, tell: Callable[[str], None] = note) -> Card:
    """Put together what is known of a model; a part that it lacks is left out, and `tell` is told so.

    Raises:
        FileNotInModel: it has neither a config nor weights nor a tokenizer.
    """
    config = model.config
    tables = _tables(model, tell)
    vocabulary = _vocabulary_of(model)
    if config is None and tables is None and vocabulary is None:
        raise FileNotInModel(f"{model.name} has no config.json, no *.safetensors and no tokenizer: it is not a model")
    if config is None:
        tell(f"{model.name} has no config.json{': shapes come from the tensors' if tables is not None else ''}")
    found = tables.stored if tables is not None else ()
    position, position_lines = describe_positions(model, found[0].tensor.dtype.name if found else None)
    rows = next((table.tensor.shape[0] for table in found if _is_of_tokens(table)), None)
    words = _vocabulary(vocabulary, rows)
    document = {
        "model": model.name,
        "revision": model.source.revision,
        "commit": model.source.commit,
        "architecture": config.architecture if config is not None else None,
        "model_type": config.model_type if config is not None else None,
        "hidden_size": config.hidden_size if config is not None else None,
        "format": model.checkpoint.format if tables is not None else None,
        "shards": len(model.checkpoint.shards) if tables is not None else 0,
        "tables": [_table(table) for table in found],
        "tied": _tied(tables, config),
        "vocabulary": words,
        "position": position,
        "cost": {"requests": model.source.cost.requests, "bytes": model.source.cost.bytes},
    }
    sections = [
        Section("model", _model_lines(model, document)),
        Section("tables", [*_table_lines(found), *_tied_lines(tables, config)] or [("none", "no weights here")]),
        Section("vocabulary", _vocabulary_lines(words, config.vocab_size if config is not None else None)),
        Section("position", position_lines),
    ]
    return Card("info", model.name, document, sections, _record(document))


def _tables(model: Model, tell: Callable[[str], None]) -> Tables | None:
    """Find the tables, or None where the model has no weights at all."""
    try:
        return model.tables
    except TableNotFound as error:
        tell(error.message)
        return None


def _vocabulary_of(model: Model) -> Vocabulary | None:
    """Read the tokens, or say which library that needs."""
    try:
        return model.vocabulary
    except MissingLibrary as error:
        note(f"{error.message}: {error.hint}")
    except NoVocabulary:
        pass
    return None


def _is_of_tokens(table: EmbeddingTable) -> bool:
    return table.role in ("input", "output") and len(table.tensor.shape) > 0


def _table(table: EmbeddingTable) -> dict[str, Any]:
    """Describe one table; `shape` is that of its rows, `stored_shape` that of the tensor."""
    tensor = table.tensor
    try:
        shape = list(table.shape)
    except EmbtoolError:  # not a plain matrix: listed as it is stored, refused when a row is asked for
        shape = list(tensor.shape)
    return {
        "role": table.role,
        "tensor": tensor.name,
        "file": tensor.shard,
        "shape": shape,
        "stored_shape": list(tensor.stored_shape),
        "dtype": tensor.dtype.name,
        "bytes": tensor.nbytes,
        "bits_per_weight": tensor.nbytes * 8 / math.prod(shape) if math.prod(shape) else None,
    }


def _tied(tables: Tables | None, config: Config | None) -> dict[str, Any] | None:
    if tables is None:
        return None
    return {
        "config": tables.tying.config,
        "stored": tables.tying.stored,
        "verdict": tables.tying.verdict,
        "origin": _tying_origin(tables, config),
    }


def _vocabulary(vocabulary: Vocabulary | None, rows: int | None) -> dict[str, Any] | None:
    """Hold the vocabulary against the table: which rows no token has, and which tokens have no row."""
    if vocabulary is None:
        return (
            None
            if rows is None
            else {"rows": rows, "tokens": None, "added": None, "padding_rows": None, "padding": None}
        )
    ids = vocabulary.ids
    padding = [] if rows is None else _gaps(ids, rows)
    return {
        "file": vocabulary.file,
        "rows": rows,
        "tokens": len(ids),
        "added": vocabulary.added,
        "padding_rows": sum(last - first + 1 for first, last in padding),
        "padding": padding,
        "tokens_without_row": 0 if rows is None else int((ids >= rows).sum()),
    }


def _gaps(ids: Any, rows: int) -> list[list[int]]:
    """List the ranges of rows that no id names, each [first, last]."""
    edges = np.concatenate([[-1], ids[ids < rows], [rows]])
    gaps = np.flatnonzero(np.diff(edges) > 1)
    return [[int(edges[gap]) + 1, int(edges[gap + 1]) - 1] for gap in gaps]


def _model_lines(model: Model, document: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    if document["architecture"] or document["model_type"]:
        lines.append(
            ("architecture", f"{document['architecture'] or 'not named'} ({document['model_type'] or 'no type'})")
        )
    if model.source.commit is not None:
        lines.append(
            ("commit", f"{model.source.commit}{f' ({model.source.revision})' if model.source.revision else ''}")
        )
    if document["format"] is not None:
        files = document["shards"]
        lines.append(("weights", f"{document['format']}, {count(files)} {'file' if files == 1 else 'files'}"))
    return lines


def _table_lines(tables: tuple[EmbeddingTable, ...]) -> list[tuple[str, str]]:
    lines = []
    for entry in map(_table, tables):
        shape = " × ".join(map(count, entry["shape"])) or "scalar"
        lines.append((entry["role"], f"{shape}   {entry['dtype']}   {size(entry['bytes'])}{_packing(entry)}"))
        lines.append(("", f"{entry['tensor']} in {entry['file']}"))
    return lines


def _packing(entry: dict[str, Any]) -> str:
    """Say how many bits a number takes where that is no whole number of bytes, and the shape of what is stored."""
    bits, stored = entry["bits_per_weight"], entry["stored_shape"]
    known = f"   {bits:.4g} bits a number" if bits and (bits % 8 or stored != entry["shape"]) else ""
    return known + (f", stored as {' × '.join(map(count, stored))}" if stored != entry["shape"] else "")


VERDICTS = {
    "tied": "tied: the same table reads and predicts tokens",
    "untied": "untied: one table reads tokens, another predicts them",
    "no output table": "no output table",
    "no input table": "no input table",
}


def _tying_origin(tables: Tables, config: Config | None) -> str | None:
    """Tell where what the config says of tying was read: a field, or the default of the model's family."""
    return None if config is None or tables.tying.config is None else config.origins.get("tie_word_embeddings")


def _tied_lines(tables: Tables | None, config: Config | None) -> list[tuple[str, str]]:
    if tables is None or not tables.stored:
        return []
    said = {True: "tied", False: "untied", None: "nothing"}[tables.tying.config]
    is_default = (_tying_origin(tables, config) or "").startswith("class default")
    says = f"config does not say, the family's default is {said}" if is_default else f"config says {said}"
    return [("tying", VERDICTS[tables.tying.verdict]), ("", f"{says}; stored: {tables.tying.stored}")]


def _vocabulary_lines(words: dict[str, Any] | None, vocab_size: int | None) -> list[tuple[str, str]]:
    if words is None:
        return [("tokens", "no tokenizer here")]
    if words["tokens"] is None:
        return [("tokens", "no tokenizer here; rows are named by id:")]
    lines = [("tokens", f"{count(words['tokens'])}, of which {count(words['added'])} added   ({words['file']})")]
    if words["rows"] is None:
        return lines
    if words["padding_rows"]:
        ranges = [f"{count(first)}–{count(last)}" if last > first else count(first) for first, last in words["padding"]]
        more = f" and {len(ranges) - LISTED_RANGES} more ranges" if len(ranges) > LISTED_RANGES else ""
        shown = f"{', '.join(ranges[:LISTED_RANGES])}{more}"
        lines.append(
            ("padding", f"{count(words['padding_rows'])} of {count(words['rows'])} rows have no token: {shown}")
        )
    else:
        lines.append(("padding", "none: every row has a token"))
    if words["tokens_without_row"]:
        lines.append(
            ("beyond", f"{count(words['tokens_without_row'])} tokens have no row: their ids are beyond the table")
        )
    if vocab_size is not None and vocab_size != words["rows"]:
        lines.append(("vocab_size", f"{count(vocab_size)} in the config, {count(words['rows'])} rows in the table"))
    return lines


def _record(document: dict[str, Any]) -> dict[str, Any]:
    """Flatten a document into one line."""
    by_role = {table["role"]: table for table in reversed(document["tables"])}
    table = by_role.get("input") or by_role.get("output") or {}
    shape = [*(table.get("shape") or []), None, None]
    words, position = document["vocabulary"] or {}, document["position"] or {}
    layer = (position.get("layers") or [{}])[0]
    return {
        "model": document["model"],
        "commit": document["commit"],
        "architecture": document["architecture"],
        "model_type": document["model_type"],
        "rows": shape[0],
        "width": shape[1],
        "dtype": table.get("dtype"),
        "bytes": table.get("bytes"),
        "tensor": table.get("tensor"),
        "tied": (document["tied"] or {}).get("verdict"),
        "tokens": words.get("tokens"),
        "padding_rows": words.get("padding_rows"),
        "position": position.get("kind"),
        "rope_type": layer.get("rope_type"),
        "rope_theta": layer.get("rope_theta"),
        "head_dim": layer.get("head_dim"),
        "rotary_dim": layer.get("rotary_dim"),
        "context_length": position.get("context_length"),
    }
