"""What a model's embedding tables are, from its headers."""

import math
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embtool.answers import Card, Section, plain, python, value
from embtool.answers.text import count, percent, plural, size
from embtool.errors import ConfigError, EmbtoolError, FileNotInModel, FormatError
from embtool.formats.folders import hint_of_folders
from embtool.questions.adapter import AdapterInfo, DraftInfo
from embtool.questions.parts import Parts, left_out, open_parts
from embtool.questions.positions import ModelPositions, describe_positions, position_lines
from embtool.questions.size import ConfigTable, Totals, totals_of
from embtool.storage.checkpoint import TensorInfo
from embtool.tables.table import EmbeddingTable
from embtool.tables.table_roles import Tables, Tying
from embtool.tables.unknown_tables import hint_of_candidates
from embtool.vocabulary import Vocabulary

if TYPE_CHECKING:
    from embtool.model import Model

LISTED_RANGES = 8
"""Ranges of padding rows named on a terminal; JSON has them all."""

LISTED_ALIKE = 4
"""Tables of one role named on a terminal; JSON has them all."""

COUNTS = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads")
"""Keys of what a config counts."""

SIDES = 2
"""Dimensions of a table: rows and columns."""


@dataclass(frozen=True)
class TableInfo:
    """One table: `shape` is that of its rows, `stored_shape` that of the tensor."""

    role: str = value("what the table is for")
    tensor: str = value("its name in the checkpoint")
    file: str = value("the file it is in")
    shape: tuple[int, ...] = value("rows and width")
    stored_shape: tuple[int, ...] = value("the shape of what is stored")
    dtype: str = value("how its numbers are stored")
    bytes: int = value("how many bytes it takes")
    bits_per_weight: float | None = value("how many bits a number takes")
    parameters_share: float | None = value("its share of all parameters, 0 to 1")
    bytes_share: float | None = value("its share of all bytes, 0 to 1")
    per_layer: tuple[int, int] | None = value(
        "of a table per layer: its layers, and how wide the rows of one are", optional=True, default=None
    )
    multiplied_by: float | None = value(
        "of a table per layer: what its rows are multiplied by when they are read", optional=True, default=None
    )
    same_as: str | None = value("the role of the table that it repeats", optional=True, default=None)

    @classmethod
    def of(cls, table: EmbeddingTable, totals: Totals | None, tables: Tables) -> "TableInfo":
        """Describe a table of a model of this size."""
        tensor = table.tensor
        try:
            shape: tuple[int, ...] = table.shape
        except EmbtoolError:  # not a plain matrix: listed as it is stored, refused when a row is asked for
            shape = tensor.shape
        bits = tensor.nbytes * 8 / math.prod(shape) if math.prod(shape) else None
        stored = tuple(tensor.stored_shape)
        layers, width = tables.layers, shape[-1] if shape else 0
        each = (layers, width // layers) if table.role == "per_layer" and layers and width % layers == 0 else None
        return cls(
            role=table.role,
            tensor=tensor.name,
            file=tensor.shard,
            shape=tuple(shape),
            stored_shape=stored,
            dtype=tensor.dtype.name,
            bytes=tensor.nbytes,
            bits_per_weight=bits,
            parameters_share=_share(math.prod(shape), totals.parameters if totals is not None else None),
            bytes_share=_share(tensor.nbytes, totals.bytes if totals is not None else None),
            per_layer=each,
            multiplied_by=None if each is None else math.sqrt(each[1]),  # transformers 5.24, Gemma 3n and 4
            same_as=tables.repeated(table),
        )

    def lines(self) -> list[tuple[str, str]]:
        """Describe it for a reader; how many bits a number takes where that is no whole number of bytes."""
        shape = " × ".join(map(count, self.shape)) or "scalar"
        bits, packed = self.bits_per_weight, self.stored_shape != self.shape
        known = f"   {bits:.4g} bits a number" if bits and (bits % 8 or packed) else ""
        stored = f", stored as {' × '.join(map(count, self.stored_shape))}" if packed else ""
        of_layers = []
        if self.per_layer is not None:
            layers, width = self.per_layer
            times = "" if self.multiplied_by is None else f", multiplied by {self.multiplied_by:.6g} when it is read"
            of_layers = [("", f"{plural(layers, 'layer')} × {count(width)}{times}: --table per_layer:{layers - 1}")]
        same = f"   the same as the {self.same_as} table" if self.same_as is not None else ""
        # Its part of the model; of the bytes only where that is another part.
        shares = {"parameters": self.parameters_share, "bytes": self.bytes_share}
        said = {what: percent(share) for what, share in shares.items() if share is not None}
        if said.get("parameters") == said.get("bytes"):
            said.pop("bytes", None)
        part = f"   {', '.join(f'{share} of the {what}' for what, share in said.items())}" if said else ""
        return [
            (self.role, f"{shape}   {self.dtype}   {size(self.bytes)}{known}{stored}{part}{same}"),
            ("", f"{self.tensor} in {self.file}"),
            *of_layers,
        ]


def _share(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class TyingInfo(Tying):
    """Whether input and output table are one."""

    config: bool | None = value("what the config says")
    stored: str = value("which tables are stored: input, output, both or none")
    verdict: str = value("tied, untied, no output table or no input table")
    origin: str | None = value("where what the config says was read: a field, or the default of the family")


@dataclass(frozen=True)
class VocabularyInfo:
    """Which rows have no token, and which tokens no row."""

    file: str | None = value("the tokenizer's file", optional=True)
    rows: int | None = value("rows of the table")
    tokens: int | None = value("how many tokens there are")
    added: int | None = value("how many of them were added beside the trained vocabulary")
    padding_rows: int | None = value("rows that no token has")
    padding: tuple[tuple[int, int], ...] | None = value("ranges of rows that no token has, each [first, last]")
    tokens_without_row: int | None = value("tokens whose ids are beyond the table", optional=True, default=None)


@dataclass(frozen=True)
class Cost:
    """What reading has cost so far."""

    requests: int
    bytes: int


@dataclass(frozen=True)
class BrokenPart:
    """A part that cannot be read."""

    part: str = value("config, tokenizer, weights or positions")
    message: str = value("what is wrong with it")
    hint: str | None = value("what to try")
    status: int = value("the exit status that stands for it")


@dataclass(frozen=True)
class InfoRecord:
    """A model in one line: its input table, or its output table where there is no other, and its first rotation."""

    model: str = value("the model, as it was named")
    commit: str | None = value("the commit that was read")
    architecture: str | None = value("the class that the config names")
    model_type: str | None = value("its family")
    rows: int | None = value("rows of the table")
    width: int | None = value("numbers in a row")
    dtype: str | None = value("how they are stored")
    bytes: int | None = value("how many bytes the table takes")
    tensor: str | None = value("its name in the checkpoint")
    tied: str | None = value("whether input and output table are one: the verdict")
    tokens: int | None = value("how many tokens there are")
    padding_rows: int | None = value("rows that no token has")
    position: str | None = value("how it knows order: rope, learned, sinusoidal, alibi, relative, none or unknown")
    rope_type: str | None = value("how the frequencies are made, as transformers names it")
    rope_theta: float | None = value("the base of the frequencies")
    head_dim: int | None = value("channels of a head")
    rotary_dim: int | None = value("channels of a head that are paired")
    context_length: int | None = value("the longest sequence the model is made for, in tokens")
    parameters: int | None = value("how many parameters it has")
    total_bytes: int | None = value("how many bytes all its weights take")
    parameters_share: float | None = value("the table's share of all parameters, 0 to 1")
    hidden_size: int | None = value("how wide its hidden states are, by its config")
    num_hidden_layers: int | None = value("how many layers it has, by its config")
    num_attention_heads: int | None = value("how many heads a layer has, by its config")
    num_key_value_heads: int | None = value("how many of them have keys and values of their own")


@dataclass(frozen=True, repr=False, eq=False)
class InfoAnswer(Card):
    """What is known of a model; a part that it lacks is None."""

    command = "info"
    many_key = "models"
    record_kind = InfoRecord

    model: str = value("the model, as it was named")
    revision: str | None = value("the branch or tag that was asked for")
    commit: str | None = value("the commit that was read")
    architecture: str | None = value("the class that the config names")
    model_type: str | None = value("its family")
    hidden_size: int | None = value("how wide its hidden states are, by its config")
    num_hidden_layers: int | None = value("how many layers it has, by its config")
    num_attention_heads: int | None = value("how many heads a layer has, by its config")
    num_key_value_heads: int | None = value(
        "how many of them have keys and values of their own, where its config says so"
    )
    head_dim: int | None = value("channels of a head")
    format: str | None = value("the format of its weights")
    shards: int = value("in how many files they are")
    totals: Totals | None = value("how large all its weights are, by the headers of every file")
    tables: tuple[TableInfo, ...] = value("every table, the input table first")
    by_config: ConfigTable | None = value("the table that its config implies, where no weights are here")
    tied: TyingInfo | None = value("whether input and output table are one")
    vocabulary: VocabularyInfo | None = value("its tokens, held against the table's rows")
    position: ModelPositions | None = value("how it knows the order of tokens")
    cost: Cost = value("what reading has cost so far")
    broken: tuple[BrokenPart, ...] | None = value(
        "the parts that cannot be read, each with what is wrong with it", optional=True, default=None
    )
    files_left_out: tuple[str, ...] | None = value(
        "weight files of a local folder that lie beside those that are read", optional=True, default=None
    )
    candidates: tuple[str, ...] | None = value(
        "tensors that look like a table of tokens under a name that is not known", optional=True, default=None
    )
    adapter: AdapterInfo | None = value("what an adapter is, and which rows it brings", optional=True, default=None)
    draft: DraftInfo | None = value("what a draft head is", optional=True, default=None)
    hint: str | None = python(default=None)
    vocab_size: int | None = python(default=None)
    notes: tuple[str, ...] = python(default=())
    warnings: tuple[str, ...] = python(default=())

    @property
    def status(self) -> int:
        """The exit status of what is broken, 0 where nothing is."""
        return max((part.status for part in self.broken or ()), default=0)

    def title(self) -> str:
        """Return its name."""
        return self.model

    def outcome(self) -> dict[str, Any]:
        """Return which parts cannot be read, in the fields of an error's record."""
        error = "; ".join(f"{part.part}: {part.message}" for part in self.broken or ())
        hint = "; ".join(dict.fromkeys(part.hint for part in self.broken or () if part.hint))
        return {"error": error or None, "hint": hint or None, "status": self.status}

    def to_record(self) -> dict[str, Any]:
        """Return the line of TSV and CSV: the input table, or the output table where there is no other."""
        by_role = {table.role: table for table in reversed(self.tables)}
        table = by_role.get("input") or by_role.get("output")
        layer = self.position.layers[0] if self.position is not None and self.position.layers else None
        shape = (*(table.shape if table is not None else ()), None, None)
        record = InfoRecord(
            **{
                **{key: getattr(self, key) for key in ("model", "commit", "architecture", "model_type")},
                "rows": shape[0],
                "width": shape[1],
                **{key: getattr(table, key, None) for key in ("dtype", "bytes", "tensor")},
                "tied": self.tied.verdict if self.tied is not None else None,
                **{key: getattr(self.vocabulary, key, None) for key in ("tokens", "padding_rows")},
                "position": getattr(self.position, "kind", None),
                **{key: getattr(layer, key, None) for key in ("rope_type", "rope_theta", "head_dim", "rotary_dim")},
                "context_length": getattr(self.position, "context_length", None),
                "parameters": self.totals.parameters if self.totals is not None else None,
                "total_bytes": self.totals.bytes if self.totals is not None else None,
                "parameters_share": table.parameters_share if table is not None else None,
                **{key: getattr(self, key) for key in ("hidden_size", *COUNTS)},
            }
        )
        found: dict[str, Any] = plain(record)
        return found

    def sections(self) -> Sequence[Section]:
        """Return the model, its tables, its vocabulary, its positions."""
        by_role: dict[str, list[TableInfo]] = {}
        for table in self.tables:
            by_role.setdefault(table.role, []).append(table)
        tables: list[tuple[str, str]] = []
        for role, alike in by_role.items():
            tables += [line for table in alike[:LISTED_ALIKE] for line in table.lines()]
            if len(alike) > LISTED_ALIKE:
                tables.append((role, f"and {len(alike) - LISTED_ALIKE} more, which --json lists"))
        broken = self._broken_lines("weights")
        if not tables and self.candidates and self.hint is not None:
            tables = [("none known", self.hint)]
        elif not tables and self.format is None and not broken:
            tables = [("none", "no weights here")] if self.by_config is None else self.by_config.lines()
        tying = []
        if self.tied is not None and self.tables:
            tying = [("tying", self.tied.sentence), ("", f"{self.tied.says}; stored: {self.tied.stored}")]
        parts = {"adapter": self.adapter, "draft head": self.draft}
        adapter = [Section(name, part.lines()) for name, part in parts.items() if part is not None]
        return [
            Section("model", self._model_lines()),
            *adapter,
            Section("tables", [*tables, *broken, *tying]),
            Section("vocabulary", self._broken_lines("tokenizer") or self._vocabulary_lines()),
            Section("position", self._broken_lines("config", "positions") or position_lines(self.position)),
        ]

    def _model_lines(self) -> list[tuple[str, str]]:
        lines = []
        if self.architecture or self.model_type:
            lines.append(("architecture", f"{self.architecture or 'not named'} ({self.model_type or 'no type'})"))
        if self.commit is not None:
            lines.append(("commit", f"{self.commit}{f' ({self.revision})' if self.revision else ''}"))
        if self.format is not None:
            lines.append(("weights", f"{self.format}, {plural(self.shards, 'file')}"))
        if self.files_left_out:
            lines.append(("left out", ", ".join(self.files_left_out)))
        if self.totals is not None:
            lines.append(("size", self.totals.line()))
        if self.hidden_size is not None:
            lines.append(("hidden size", count(self.hidden_size)))
        if self.num_hidden_layers is not None:
            lines.append(("layers", count(self.num_hidden_layers)))
        if self.num_attention_heads is not None:
            shared = (
                f", {count(self.num_key_value_heads)} for keys and values"
                if self.num_key_value_heads is not None
                else ""
            )
            wide = f", each {count(self.head_dim)} wide" if self.head_dim is not None else ""
            lines.append(("heads", f"{count(self.num_attention_heads)}{shared}{wide}"))
        return lines

    def _broken_lines(self, *names: str) -> list[tuple[str, str]]:
        """Say what is wrong with parts, where something is."""
        return [("cannot be read", part.message) for part in self.broken or () if part.part in names]

    def _vocabulary_lines(self) -> list[tuple[str, str]]:
        words = self.vocabulary
        if words is None:
            return [("tokens", "no tokenizer here")]
        if words.tokens is None or words.added is None:
            return [("tokens", "no tokenizer here; rows are named by id:")]
        lines = [("tokens", f"{count(words.tokens)}, of which {count(words.added)} added   ({words.file})")]
        if words.rows is None:
            return lines
        if words.padding_rows:
            ranges = [f"{count(a)}–{count(b)}" if b > a else count(a) for a, b in words.padding or ()]
            more = f" and {len(ranges) - LISTED_RANGES} more ranges" if len(ranges) > LISTED_RANGES else ""
            shown = f"{', '.join(ranges[:LISTED_RANGES])}{more}"
            lines.append(("padding", f"{count(words.padding_rows)} of {count(words.rows)} rows have no token: {shown}"))
        else:
            lines.append(("padding", "none: every row has a token"))
        if words.tokens_without_row:
            beyond = f"{count(words.tokens_without_row)} tokens have no row: their ids are beyond the table"
            lines.append(("beyond", beyond))
        if self.vocab_size is not None and self.vocab_size != words.rows:
            lines.append(
                ("vocab_size", f"{count(self.vocab_size)} in the config, {count(words.rows)} rows in the table")
            )
        return lines


def ask_info(model: "Model") -> InfoAnswer:
    """Put together what is known of a model, from config.json and headers; no weights are read.

    A part that cannot be read is told in `broken`; the others are as always.

    Raises:
        FileNotInModel: it has neither a config nor weights nor a tokenizer.
    """
    adapter, model = _adapter(model), model.alone
    parts = open_parts(model)
    if isinstance(adapter, FormatError | ConfigError):
        parts.damage.setdefault("config", [adapter])
    if parts.is_empty:
        raise _nothing_to_show(model, parts)
    config, tables, vocabulary = parts.config, parts.tables, parts.vocabulary
    notes = list(parts.notes)
    if vocabulary is not None and vocabulary.unread:
        notes.append(f"beside the tokenizer, and not read: {', '.join(vocabulary.unread)}")
    if config is None and "config" not in parts.damage and adapter is None:
        notes.append(f"{model.name} has no config.json{': shapes come from the tensors' if tables is not None else ''}")
    totals = totals_of(model, tables, notes)
    found = tables.stored if tables is not None else ()
    dtype = found[0].tensor.dtype.name if found else None
    position = _position(model, dtype, parts)
    broken = tuple(
        BrokenPart(part, error.message, error.hint, error.exit_status)
        for part, errors in parts.damage.items()
        for error in errors
    )
    candidates: list[TensorInfo] = []
    is_named = any(table.role in ("input", "output") for table in found)
    if tables is not None and not is_named and adapter is None and model.draft is None:
        candidates = tables.candidates(*(() if vocabulary is None else (len(vocabulary),)))
    beside = tuple(left_out(model.source, model.checkpoint)) if tables is not None and model.source.local else ()
    return InfoAnswer(
        model=model.name,
        revision=model.source.revision,
        commit=model.source.commit,
        **{key: getattr(config, key, None) for key in ("architecture", "model_type", "hidden_size", *COUNTS)},
        head_dim=getattr(config, "query_dim", None),
        format=tables.checkpoint.format if tables is not None else None,
        shards=len(tables.checkpoint.shards) if tables is not None else 0,
        totals=totals,
        tables=() if tables is None else tuple(TableInfo.of(table, totals, tables) for table in found),
        by_config=ConfigTable.of(config) if config is not None and tables is None else None,
        tied=TyingInfo(**vars(tables.tying)) if tables is not None else None,
        vocabulary=_vocabulary(vocabulary, found),
        position=position,
        cost=Cost(model.source.cost.requests, model.source.cost.bytes),
        broken=broken or None,
        files_left_out=beside or None,
        candidates=tuple(tensor.name for tensor in candidates) or None,
        hint=hint_of_candidates(candidates),
        draft=None if model.draft is None else DraftInfo.of(model.draft),
        adapter=adapter if isinstance(adapter, AdapterInfo) else None,
        vocab_size=config.vocab_size if config is not None else None,
        notes=tuple(notes),
        warnings=tuple(f"{part.part}: {part.message}{f' ({part.hint})' if part.hint else ''}" for part in broken),
    )


def _position(model: "Model", dtype: str | None, parts: Parts) -> ModelPositions | None:
    """Describe how a model knows positions; why that cannot be told is added to what is wrong with its parts."""
    try:
        return None if parts.config is None else describe_positions(model, dtype)
    except ConfigError as error:
        parts.damage["positions"] = [copy(error)]
        return None


def _nothing_to_show(model: "Model", parts: Parts) -> EmbtoolError:
    """Return what is wrong with the parts of a model none of which can be read, or that it is no model."""
    if parts.damage:
        return next(iter(parts.damage.values()))[0]
    message = f"{model.name} has no config.json, no *.safetensors and no tokenizer: it is not a model"
    return FileNotInModel(message, hint=hint_of_folders(model.source))


def _adapter(model: "Model") -> AdapterInfo | FormatError | ConfigError | None:
    """Describe what an adapter brings; where its settings cannot be read, the error that says so."""
    try:
        return None if model.adapter is None else AdapterInfo.of(model.adapter)
    except (FormatError, ConfigError) as error:
        return copy(error)


def _vocabulary(vocabulary: Vocabulary | None, tables: Sequence[EmbeddingTable]) -> VocabularyInfo | None:
    """Hold the vocabulary against the table: which rows no token has, and which tokens have no row."""
    of_tokens = (table.tensor.shape for table in tables if table.role in ("input", "output"))
    rows = next((shape[0] for shape in of_tokens if len(shape) == SIDES and all(shape)), None)
    if vocabulary is None:
        return None if rows is None else VocabularyInfo(None, rows, None, None, None, None)
    ids = vocabulary.id_ranges
    padding = () if rows is None else tuple(without(ids, rows))
    return VocabularyInfo(
        file=vocabulary.file,
        rows=rows,
        tokens=len(vocabulary),
        added=vocabulary.added,
        padding_rows=sum(last - first + 1 for first, last in padding),
        padding=padding,
        tokens_without_row=0 if rows is None else sum(max(0, last - max(first, rows) + 1) for first, last in ids),
    )


def without(ids: Iterable[tuple[int, int]], rows: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of rows that have no token, the first and the last of each."""
    start = 0
    for first, last in (*ids, (rows, rows)):
        if start < min(first, rows):
            yield start, min(first, rows) - 1
        start = last + 1
