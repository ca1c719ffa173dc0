"""Rules that a healthy model keeps: a linter for embedding tables and their tokenizers.

A rule is a function that looks at a `Subject` and yields what it finds, a message each; its name and severity never
change their meaning. Rules that need only headers and small files run always; `deep` ones look at `Surveys`, what one
pass over a table finds. A rule that needs a part which the model lacks is skipped, and said to be.

To add a rule: one function under `@rule`, and in its test a model in which it alone finds something.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from embtool.categories import padding_ids
from embtool.checkpoint import Checkpoint
from embtool.config import Config
from embtool.dtypes import Doubles
from embtool.errors import ConfigError, EmbtoolError, FileNotInModel, FormatError
from embtool.positions import Learned, Positions, Rope, read_positions
from embtool.source import Source, is_overfull
from embtool.survey import Opener, Survey, equal_rows, survey
from embtool.table import BARE_MODEL, EmbeddingTable, Tables
from embtool.vocabulary import Vocabulary

CAUSAL = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration)$")
"""Architectures that cannot work without an output table."""

SPECIAL_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "image_token_id",
    "video_token_id",
    "audio_token_id",
)
"""Fields of config.json and generation_config.json that name token ids."""

TEMPLATE_TOKEN = re.compile(r"<\|[^|<>{}\s]{1,60}\|>")
"""What can only be meant as one token in a chat template."""

MEAN_LIKE = 0.01
"""A row that is nearer to the mean row than this share of the mean's length was set to it when the table grew."""

NAMED = 8
"""Ids or names listed in one message; a finding carries all."""

ROPE_FIELDS = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor")

SAME_TYPES = ({"su", "longrope"}, {"mrope", "default"})
"""Pairs of `type` and `rope_type` that older and newer configs write for one thing."""

COMPARED_FIELDS = ("rope_theta", "partial_rotary_factor", "rope_type", "factor", "original_max_position_embeddings")
"""Fields that a config can state in several places, all of which are read by somebody."""


class Severity(StrEnum):
    """How much a finding matters: an error breaks a load or a run, a warning may, an info is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


ORDER = (Severity.INFO, Severity.WARNING, Severity.ERROR)


@dataclass(frozen=True)
class Finding:
    """What a rule found: one line, and the token ids it is about."""

    rule: str
    severity: Severity
    message: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A model as far as it could be opened; a part that it lacks is None.

    `broken` are errors met where the weights were opened; `base` is the model it was made from, if that is known.
    """

    name: str
    source: Source
    config: Config | None
    vocabulary: Vocabulary | None
    checkpoint: Checkpoint | None
    tables: Tables | None
    broken: tuple[EmbtoolError, ...] = ()
    base: "Subject | None" = None
    surveys: "Surveys | None" = None

    @cached_property
    def input(self) -> EmbeddingTable | None:
        """The input table, or where it is tied the one table there is."""
        stored = () if self.tables is None else self.tables.stored
        roles = {table.role: table for table in reversed(stored)}
        found = roles.get("input") or roles.get("output")
        return found if found is not None and len(found.tensor.shape) == 2 else None  # noqa: PLR2004 - rows, columns

    @property
    def rows(self) -> int | None:
        """Rows of the input table."""
        return None if self.input is None else self.input.tensor.shape[0]

    @property
    def has_input(self) -> bool | None:
        """Whether there is an input table, or None where its weights are there but could not be read."""
        return None if self.tables is None and self.broken else self.input is not None

    @cached_property
    def token_ids(self) -> frozenset[int] | None:
        """Every id that a token has, or None without a tokenizer."""
        return None if self.vocabulary is None else frozenset(self.vocabulary.ids.tolist())

    @cached_property
    def positions(self) -> Positions | None:
        """How the model knows order, or None where its config does not say."""
        try:
            return None if self.config is None else read_positions(self.config)
        except ConfigError:
            return None

    def json(self, file: str) -> Mapping[str, Any]:
        """Read a small file of the model as a JSON object; an absent or broken one is empty."""
        if not self.source.has(file):
            return {}
        try:
            data = self.source.read_file(file)
            found = None if is_overfull(data) else json.loads(data)
        except (ValueError, RecursionError, EmbtoolError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def special_ids(self) -> list[tuple[str, int]]:
        """Token ids that the configs name, each with the field that does; -1 stands for none."""
        places: list[tuple[str, Mapping[str, Any]]] = []
        if self.config is not None:
            places = [(self.config.file, self.config.raw), (self.config.file, self.config.text)]
        places.append(("generation_config.json", self.json("generation_config.json")))
        found: dict[tuple[str, int], None] = {}
        for file, fields in places:
            for key in SPECIAL_IDS:
                value = fields.get(key)
                for identity in value if isinstance(value, list) else [value]:
                    if type(identity) is int and identity != -1:
                        found[f"{key} in {file}", identity] = None
        return list(found)

    @cached_property
    def chat_template(self) -> str:
        """The text of all chat templates."""
        texts: list[object] = []
        if self.source.has("chat_template.jinja"):
            with contextlib.suppress(EmbtoolError):
                texts.append(self.source.read_file("chat_template.jinja").decode("utf-8", "replace"))
        template = self.json("tokenizer_config.json").get("chat_template")
        entries = template if isinstance(template, list) else [template]
        texts += [entry.get("template") if isinstance(entry, dict) else entry for entry in entries]
        return "\n".join(text for text in texts if isinstance(text, str))

    @cached_property
    def used_ids(self) -> dict[int, str]:
        """Special tokens that are used: by the chat template or as the end of a text; each with its name.

        A padding token is masked, and its row may well be zero; so it is not among them.
        """
        vocabulary = self.vocabulary
        if vocabulary is None:
            return {}
        pads = {identity for field_name, identity in self.special_ids if field_name.startswith("pad_token_id")}
        named = {identity for field_name, identity in self.special_ids if field_name.startswith(("eos", "bos"))}
        added = [vocabulary.token(identity) for identity in vocabulary.added_ids.tolist()]
        template = self.chat_template
        found = {token.id: token.piece for token in added if token is not None and token.piece in template}
        for identity in named - pads:
            token = vocabulary.token(identity)
            if token is not None:
                found[identity] = token.piece
        return found


class Surveys:
    """What one pass over each table finds, made when first asked for."""

    def __init__(self, opener: Opener = EmbeddingTable.open) -> None:
        self._open = opener
        self._found: dict[str, Survey] = {}
        self._groups: dict[str, list[list[int]]] = {}

    def of(self, table: EmbeddingTable) -> Survey:
        """Survey a table."""
        if table.tensor.name not in self._found:
            with self._open(table) as reader:
                found = survey(table, reader)
                distinct = np.ones(len(found.norms), np.bool_)
                distinct[found.zero] = False
                groups = equal_rows(reader, found.keys, distinct)
            self._found[table.tensor.name] = found
            self._groups[table.tensor.name] = [group.tolist() for group in groups]
        return self._found[table.tensor.name]

    def groups(self, table: EmbeddingTable) -> list[list[int]]:
        """List groups of identical rows that are not zero."""
        self.of(table)
        return self._groups[table.tensor.name]


Look = Callable[[Subject], Iterator[tuple[str, Iterable[int]]]]


@dataclass(frozen=True)
class Rule:
    """A rule: what it holds in a line, why that matters, and what it needs to be looked at."""

    name: str
    severity: Severity
    summary: str
    why: str
    look: Look = field(repr=False)
    deep: bool = False
    needs: tuple[str, ...] = ()

    def applies(self, subject: Subject) -> bool:
        """Tell whether the model has what the rule needs."""
        return not self.lacking(subject)

    def lacking(self, subject: Subject) -> list[str]:
        """Name what the rule needs and the model lacks."""
        return [need for need in self.needs if getattr(subject, need) is None]

    def check(self, subject: Subject) -> list[Finding]:
        """Look at a model."""
        return [Finding(self.name, self.severity, message, tuple(map(int, ids))) for message, ids in self.look(subject)]


RULES: dict[str, Rule] = {}
"""Every rule by its name, in the order in which they are run."""


def rule(
    name: str, severity: Severity, summary: str, why: str, *, deep: bool = False, needs: tuple[str, ...] = ()
) -> Callable[[Look], Look]:
    """Make a rule of a function."""

    def register(look: Look) -> Look:
        RULES[name] = Rule(name, severity, summary, why, look, deep, (*needs, "surveys") if deep else needs)
        return look

    return register


def _some(values: Iterable[object]) -> str:
    """Name the first of several things."""
    listed = list(values)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(map(str, listed[:NAMED])) + more


def _ids(ids: Iterable[int]) -> str:
    """Name ids, neighbours as ranges."""
    runs: list[tuple[int, int]] = []
    for identity in sorted(ids):
        if runs and identity == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], identity)
        else:
            runs.append((identity, identity))
    return "ids " + _some(f"{first}..{last}" if last > first else f"{first}" for first, last in runs)


def _plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


# --- the files --------------------------------------------------------------------------------------------------------


@rule(
    "missing-shard",
    Severity.ERROR,
    "every shard that the index names is there",
    "A checkpoint without one of its shards cannot be loaded; an upload or a download was probably cut off.",
    needs=("checkpoint",),
)
def _missing_shard(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.checkpoint is not None
    missing = [shard for shard in subject.checkpoint.shards if not subject.source.has(shard)]
    if missing:
        yield f"{_plural(len(missing), 'shard')} of {len(subject.checkpoint.shards)} not there: {_some(missing)}", ()


@rule(
    "damaged-shard",
    Severity.ERROR,
    "every shard's header fits the file and the index",
    "A truncated file or a header that contradicts the index gives wrong numbers or a crash in the middle of a load.",
)
def _damaged_shard(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    told = [error.message for error in subject.broken if isinstance(error, FormatError)]
    for name in () if subject.checkpoint is None else subject.checkpoint.names:
        try:
            subject.checkpoint.tensor(name)  # type: ignore[union-attr]
        except FileNotInModel:
            continue  # that is a missing shard
        except FormatError as error:
            told.append(error.message)
    for message in dict.fromkeys(told):
        yield message, ()


@rule(
    "missing-table",
    Severity.ERROR,
    "there is an input table",
    "Without a table that turns token ids into vectors nothing can be run; the tensors may have unusual names.",
    needs=("has_input",),
)
def _missing_table(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    if subject.checkpoint is None:
        yield "no weights here: the files that hold the tables were perhaps not uploaded", ()
    elif not subject.has_input:
        yield "no tensor looks like a table from token ids to vectors", ()


# --- sizes ------------------------------------------------------------------------------------------------------------


@rule(
    "tokens-beyond-table",
    Severity.ERROR,
    "every token id has a row",
    "A text with such a token ends in an index error, on a GPU often without a word about why. "
    "Tokens were added to the tokenizer and the table was not resized.",
    needs=("vocabulary",),
)
def _tokens_beyond_table(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.vocabulary is not None
    said = subject.config.vocab_size if subject.config is not None else None
    rows = subject.rows if subject.rows is not None else said
    beyond = [] if rows is None else subject.vocabulary.ids[subject.vocabulary.ids >= rows].tolist()
    if beyond:
        where = "the table has" if subject.rows is not None else "the config says"
        yield f"{_plural(len(beyond), 'token')} beyond the last row, {where} {rows:,} rows: {_ids(beyond)}", beyond


@rule(
    "padding-rows",
    Severity.INFO,
    "every row has a token",
    "Rows without a token are usual: tables are padded for speed. But a model can predict such a row, and a tokenizer "
    "that decodes it fails; and tokens added later take these rows over, with what is in them.",
    needs=("vocabulary", "input"),
)
def _padding_rows(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.vocabulary is not None
    assert subject.rows is not None
    padding = padding_ids(subject.vocabulary, subject.rows)
    if padding:
        yield f"{_plural(len(padding), 'row')} of {subject.rows:,} without a token: {_ids(padding)}", padding


@rule(
    "vocab-size",
    Severity.ERROR,
    "the config's vocab_size is the number of rows",
    "A library that makes the table by the config and then loads the tensor finds another shape, and refuses or "
    "initialises the rest at random.",
    needs=("config", "input"),
)
def _vocab_size(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    stated = subject.config.vocab_size
    if stated is not None and stated != subject.rows:
        yield f"vocab_size is {stated:,} in {subject.config.file}, the table has {subject.rows:,} rows", ()


@rule(
    "table-width",
    Severity.ERROR,
    "the rows are as wide as the config says",
    "The first layer expects vectors of hidden_size numbers, or of embedding_size where rows are projected first.",
    needs=("config", "input"),
)
def _table_width(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    assert subject.input is not None
    stated = subject.config.embedding_size or subject.config.hidden_size
    try:
        width = subject.input.shape[1]
    except EmbtoolError:
        return
    if stated is not None and width != stated:
        yield f"the rows have {width:,} numbers, {subject.config.file} says {stated:,}", ()


@rule(
    "position-rows",
    Severity.ERROR,
    "a learned position table has a row for every position",
    "A text as long as max_position_embeddings promises ends in an index error.",
    needs=("config", "tables", "positions"),
)
def _position_rows(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.tables is not None
    if not isinstance(subject.positions, Learned) or subject.positions.rows is None:
        return
    for table in subject.tables.stored:
        if table.role == "position" and table.tensor.shape[0] < subject.positions.rows:
            rows = table.tensor.shape[0]
            yield f"{table.tensor.name} has {rows:,} rows, the config needs {subject.positions.rows:,}", ()


# --- tying ------------------------------------------------------------------------------------------------------------


@rule(
    "tied-but-different",
    Severity.ERROR,
    "tables tied by the config are the same if both are stored",
    "A library that ties them throws one of the two away, and which one differs between libraries: the model that "
    "is run is not the model that was trained.",
    needs=("tables",),
)
def _tied_but_different(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.tables is not None
    tying = subject.tables.tying
    if tying.config is not True or tying.stored != "both":
        return
    if tying.verdict == "untied" or (subject.surveys is not None and not _identical(subject, subject.surveys)):
        yield "the config says tied, but input and output table are stored both and differ", ()


@rule(
    "untied-but-identical",
    Severity.WARNING,
    "tables that the config says are untied differ",
    "Two equal tables take twice the memory for nothing, and training moves them apart: the config was probably not "
    "saved with tie_word_embeddings.",
    deep=True,
    needs=("tables",),
)
def _untied_but_identical(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.tables is not None
    assert subject.surveys is not None
    tying = subject.tables.tying
    if tying.config is not True and tying.stored == "both" and _identical(subject, subject.surveys):
        yield "the config does not say tied, but input and output table hold the same numbers", ()


def _identical(subject: Subject, surveys: Surveys) -> bool:
    """Compare both stored tables by the keys of all their rows."""
    assert subject.tables is not None
    pair = [table for table in subject.tables.stored if table.role in ("input", "output")]
    if len({(table.tensor.shape, table.tensor.dtype.name) for table in pair}) != 1:
        return False
    first, second = (surveys.of(table) for table in pair)
    return bool((first.keys == second.keys).all())


@rule(
    "missing-output-table",
    Severity.ERROR,
    "a model that predicts tokens has an output table",
    "The output table would be initialised at random, and the model predicts nonsense.",
    needs=("config", "tables"),
)
def _missing_output_table(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    assert subject.tables is not None
    architecture = subject.config.architecture or ""
    predicts = CAUSAL.search(architecture) is not None and BARE_MODEL.search(architecture) is None
    tying = subject.tables.tying
    if predicts and tying.config is False and tying.stored == "input":
        yield f"{architecture} needs an output table; none is stored, and the config says that it is not tied", ()


# --- special tokens ---------------------------------------------------------------------------------------------------


@rule(
    "special-id",
    Severity.ERROR,
    "the token ids that the configs name have a row and a token",
    "Generation never stops, or begins with an index error, when the end or the beginning of a text is an id that the "
    "table or the tokenizer does not have.",
)
def _special_id(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    for field_name, identity in subject.special_ids:
        if identity < 0 or (subject.rows is not None and identity >= subject.rows):
            yield f"{field_name} is {identity}, which is no row of the table", (identity,)
        elif subject.vocabulary is not None and subject.vocabulary.token(identity) is None:
            yield f"{field_name} is {identity}, which no token of {subject.vocabulary.file} has", (identity,)


@rule(
    "template-token",
    Severity.WARNING,
    "what the chat template writes as one token is one token",
    "A marker such as <|im_start|> that the tokenizer does not know is split into ordinary pieces: the model sees "
    "something else than it was trained on.",
    needs=("vocabulary",),
)
def _template_token(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.vocabulary is not None
    for text in dict.fromkeys(TEMPLATE_TOKEN.findall(subject.chat_template)):
        if not subject.vocabulary.has_piece(text):
            yield f"the chat template writes {text}, which is not a token", ()


# --- the base model ---------------------------------------------------------------------------------------------------


@rule(
    "shrunk-table",
    Severity.ERROR,
    "the table has at least as many rows as the base model's",
    "Resizing a padded table to the number of tokens drops rows: adapters made for the base do not fit any more, and "
    "merges and quantised files fail on the shape.",
    needs=("base", "input"),
)
def _shrunk_table(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.base is not None
    before, now = subject.base.rows, subject.rows
    if before is not None and now is not None and now < before:
        yield f"{now:,} rows, {subject.base.name} has {before:,}: {before - now:,} were dropped", ()


@rule(
    "moved-token",
    Severity.ERROR,
    "tokens of the base model have kept their ids",
    "A token with another id reads another row: what the base model knew of it is lost.",
    needs=("base", "vocabulary"),
)
def _moved_token(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.base is not None
    assert subject.vocabulary is not None
    if subject.base.vocabulary is None:
        return
    now = {token.piece: token.id for token in subject.vocabulary}
    moved = [token for token in subject.base.vocabulary if now.get(token.piece, token.id) != token.id]
    if moved:
        names = _some(repr(token.text) for token in moved)
        yield (
            f"{_plural(len(moved), 'token')} of {subject.base.name} with another id here: {names}",
            [now[token.piece] for token in moved],
        )


# --- positions --------------------------------------------------------------------------------------------------------


@rule(
    "rope-invalid",
    Severity.ERROR,
    "the position settings can be read",
    "Settings that are missing, of a wrong type or of an unknown kind are treated as the default by some libraries and "
    "refused by others.",
    needs=("config",),
)
def _rope_invalid(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    try:
        read_positions(subject.config)
    except ConfigError as error:
        yield error.message, ()


@rule(
    "rope-conflict",
    Severity.ERROR,
    "the RoPE settings do not contradict each other",
    "Libraries read different fields: one that is stated twice with two values gives two models.",
    needs=("config",),
)
def _rope_conflict(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    for name, values in _stated(subject.config.text).items():
        distinct = {json.dumps(value) for value in values.values()}
        if len(distinct) > 1 and set(map(str, values.values())) not in SAME_TYPES:
            said = " and ".join(f"{json.dumps(value)[:40]} in {place}" for place, value in values.items())
            yield f"{name} is {said}", ()


def _stated(text: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect the fields that are stated in several places: for each the place and the value."""
    found: dict[str, dict[str, Any]] = {}
    for place in ("", "rope_parameters", "rope_scaling"):
        fields = text.get(place) if place else text
        if not isinstance(fields, Mapping):
            continue
        for name in COMPARED_FIELDS:
            if fields.get(name) is not None and (place or name in ROPE_FIELDS):
                found.setdefault(name, {})[f"{place or 'the config'}"] = fields[name]
        if place and fields.get("type") is not None:
            found.setdefault("rope_type", {})[f"{place} as type"] = fields["type"]
    return {
        name: {place: float(value) if type(value) is int else value for place, value in values.items()}
        for name, values in found.items()
        if len(values) > 1
    }


@rule(
    "rope-ignored",
    Severity.WARNING,
    "every RoPE setting in the file has an effect",
    "Somebody set it in the belief that it does something; other libraries may well use it.",
    needs=("config", "positions"),
)
def _rope_ignored(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    if isinstance(subject.positions, Rope):
        for note in subject.positions.notes:
            if " is in the file, but " in note:
                yield note, ()


@rule(
    "rope-unused",
    Severity.INFO,
    "a model without rotary positions states no RoPE settings",
    "They are left over from a default or from another model, and mislead whoever reads the file.",
    needs=("config", "positions"),
)
def _rope_unused(subject: Subject) -> Iterator[tuple[str, Iterable[int]]]:
    assert subject.config is not None
    assert subject.positions is not None
    if isinstance(subject.positions, Rope):
        return
    stated = [name for name in ROPE_FIELDS if subject.config.text.get(name) is not None]
    if stated:
        yield f"{_some(stated)} in {subject.config.file}, but positions are {subject.positions.kind}", ()


# --- the numbers ------------------------------------------------------------------------------------------------------


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
            yield f"{_plural(len(ids), 'row')} of {table.tensor.name} with NaN or infinity: {_ids(ids)}", ids


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
            yield f"{_plural(len(ids), 'row')} of {table.tensor.name} all zero: {_ids(ids)}", ids


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
                yield f"{len(ids):,} rows of {table.tensor.name} are the same: {_ids(ids)}", ids


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
            yield f"{name} (id {identity}) has the same row as {_plural(shared[identity] - 1, 'other')}", (identity,)
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


# --- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """What came of a check: the findings, the rules that were looked at, and those that were skipped."""

    findings: tuple[Finding, ...]
    looked: tuple[str, ...]
    skipped: tuple[str, ...]

    def at_least(self, level: Severity) -> list[Finding]:
        """List the findings of this severity and above."""
        return [found for found in self.findings if ORDER.index(found.severity) >= ORDER.index(level)]


def check_model(subject: Subject, rules: Iterable[Rule]) -> Report:
    """Look at a model with these rules; one that needs what the model lacks, or a survey not asked for, is skipped."""
    findings: list[Finding] = []
    looked, skipped = [], []
    for each in rules:
        if not each.applies(subject):
            skipped.append(each.name)
            continue
        looked.append(each.name)
        findings += each.check(subject)
    return Report(tuple(findings), tuple(looked), tuple(skipped))
