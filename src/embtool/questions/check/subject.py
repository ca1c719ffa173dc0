"""A model as a check sees it: its parts as far as they could be opened, and what one pass over its tables finds."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from embtool.checkpoint import Checkpoint
from embtool.config import Config
from embtool.errors import ConfigError, EmbtoolError, told_of
from embtool.positions import Positions, read_positions
from embtool.source import Source
from embtool.survey import Opener, Survey, equal_rows, survey
from embtool.table import EmbeddingTable, Tables, has_too_many_rows
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.files import decode_json

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


@dataclass(frozen=True)
class Subject:
    """A model as far as it could be opened; a part that it lacks is None.

    `broken` are errors met where the weights were opened; `base` is the model it was made from, if that is known;
    `unreadable` are files that rules wanted to read, each with what is wrong with it.
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
    unreadable: dict[str, str] = field(default_factory=dict)

    @cached_property
    def input(self) -> EmbeddingTable | None:
        """The input table, or where it is tied the one table there is."""
        stored = () if self.tables is None else self.tables.stored
        roles = {table.role: table for table in reversed(stored)}
        found = roles.get("input") or roles.get("output")
        is_table = found is not None and len(found.tensor.shape) == 2  # noqa: PLR2004 - rows, columns
        return found if is_table and not has_too_many_rows(found) else None

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
        """Read a small file of the model as a JSON object; an absent or broken one is empty; a broken one is noted."""
        if not self.source.has(file):
            return {}
        try:
            with told_of(self.name):
                return decode_json(self.source.read_file(file), file)
        except EmbtoolError as error:
            self.unreadable[file] = error.message
            return {}

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
