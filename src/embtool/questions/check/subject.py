"""A model as a check sees it: its parts as far as they could be opened."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embtool.adapters.description import Adapter
from embtool.adapters.drafts import Draft
from embtool.configs.architectures import Architecture
from embtool.configs.config import Config
from embtool.configs.families import UNKNOWN
from embtool.errors import ConfigError, EmbtoolError
from embtool.positions import Positions, read_positions
from embtool.questions.check.heads import DraftHead, read_head
from embtool.questions.check.llama_cpp import LlamaVocabulary, of_folder, of_gguf
from embtool.questions.check.shapes import Misshapen, find_misshapen, named_output
from embtool.questions.check.small_files import GENERATION, SmallFiles, SpecialId
from embtool.questions.check.surveys import Surveys
from embtool.storage.checkpoint import Checkpoint
from embtool.storage.source import Source
from embtool.tables.table import EmbeddingTable, has_too_many_rows
from embtool.tables.table_roles import PREDICTS, Tables
from embtool.vocabulary import Vocabulary

CAUSAL = re.compile(r"(ForCausalLM|LMHeadModel)$")
"""Architectures whose output table has a row for every token that they read; others may speak in another vocabulary."""


@dataclass(frozen=True)
class Subject:
    """A model as far as it could be opened; a part that it lacks is None.

    `damage` is what is wrong with the parts that cannot be read: config, tokenizer, weights; `base` is the model it was
    made from, if that is known, and `target` the one that it is to draft for; `adapter` and `draft` say what it is
    where it is no model of its own.
    """

    name: str
    source: Source
    config: Config | None
    vocabulary: Vocabulary | None
    checkpoint: Checkpoint | None
    tables: Tables | None
    damage: Mapping[str, tuple[EmbtoolError, ...]]
    base: "Subject | None" = None
    surveys: Surveys | None = None
    adapter: Adapter | None = None
    draft: Draft | None = None
    target: "Subject | None" = None

    @property
    def recorded(self) -> Architecture | None:
        """What was seen of its architecture; None where transformers does not know it."""
        return self.config.recorded if self.config is not None else None

    @property
    def knows_family(self) -> bool:
        """Whether it is known how its architecture is built."""
        return self.config is None or self.recorded is not None or self.config.family is not UNKNOWN

    @property
    def broken(self) -> tuple[EmbtoolError, ...]:
        """What is wrong with the weights."""
        return self.damage.get("weights", ())

    def damage_of(self, part: str) -> list[EmbtoolError]:
        """List what is wrong with a part, without what is said of the weights: they may be the same file."""
        told = {error.message for error in self.broken}
        return [error for error in self.damage.get(part, ()) if error.message not in told]

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of a GGUF file; empty for other formats."""
        found = getattr(self.checkpoint, "metadata", None)
        return found if isinstance(found, Mapping) else {}

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return bool(self.metadata)

    @cached_property
    def gguf(self) -> Mapping[str, Any] | None:
        """The same, or None for other formats."""
        return self.metadata or None

    @cached_property
    def small(self) -> SmallFiles:
        """Its small files."""
        shards = () if self.checkpoint is None else self.checkpoint.shards
        file = next(iter(shards), "")
        return SmallFiles(self.name, self.source, self.config, self.vocabulary, self.metadata, file)

    @cached_property
    def misshapen(self) -> list[Misshapen]:
        """What stands in the place of a table and is none."""
        if self.tables is None or self.checkpoint is None or self.is_gguf:
            return []
        largest = None if self.vocabulary is None or not len(self.vocabulary) else int(self.vocabulary.ids[-1])
        return find_misshapen(self.tables, self.checkpoint, self.config, largest)

    def is_misshapen(self, role: str) -> bool:
        """Tell whether something that is no table stands in the place of the table of a role."""
        return any(each.role == role for each in self.misshapen)

    @cached_property
    def input(self) -> EmbeddingTable | None:
        """The input table, or where it is tied the one table there is."""
        stored = () if self.tables is None else self.tables.stored
        roles = {table.role: table for table in reversed(stored)}
        tied = self.tables is not None and self.tables.tying.config is not False
        found = roles.get("input") or (roles.get("output") if tied else None)
        if found is None or self.is_misshapen(found.role):
            return None
        is_table = len(found.tensor.shape) == 2  # noqa: PLR2004 - rows, columns
        return found if is_table and not has_too_many_rows(found) else None

    @cached_property
    def output(self) -> EmbeddingTable | None:
        """The output table, where one is stored, be it one with so few rows that `find_tables` takes it for none."""
        if self.tables is None:
            return None
        found = next((table for table in self.tables.stored if table.role == "output"), None)
        architecture = None if self.config is None else self.config.architecture
        if found is None and CAUSAL.search(architecture or "") and not self.is_gguf:
            tensor = named_output(self.tables.checkpoint)
            if tensor is not None and len(tensor.shape) == 2:  # noqa: PLR2004 - rows, columns
                found = EmbeddingTable("output", tensor, self.tables.checkpoint)
        return None if found is None or self.is_misshapen("output") or has_too_many_rows(found) else found

    @property
    def rows(self) -> int | None:
        """Rows of the input table."""
        return None if self.input is None else self.input.tensor.shape[0]

    @property
    def has_input(self) -> bool | None:
        """Whether there is an input table, or None where that cannot be told, or where an adapter needs none."""
        unknown = (
            self.adapter is not None
            or self.draft is not None
            or (self.tables is None and self.broken)
            or self.is_misshapen("input")
        )
        return None if unknown and self.input is None else self.input is not None

    @property
    def has_output(self) -> bool | None:
        """Whether an output table is stored, or None where that cannot be told."""
        known = self.tables is not None and any(table.role == "output" for table in self.tables.stored)
        unknown = self.broken or self.draft is not None or self.is_misshapen("output") or self.output is not None
        return True if known else None if unknown else False

    @cached_property
    def readable(self) -> tuple[EmbeddingTable, ...]:
        """The input and the output table as far as their rows can be decoded; tied ones once."""
        tables = [table for table in (self.input, self.output) if table is not None]
        tied = self.tables is not None and self.tables.tying.verdict == "tied"
        found = []
        for table in dict.fromkeys(tables):
            with suppress(EmbtoolError):  # which tells that rows cannot be decoded
                found += [table] if table.role != "projection" and table.shape[0] > 0 else []
        return tuple(found[:1] if tied else found)

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

    @property
    def generates(self) -> bool | None:
        """Whether the model writes text, or None where it only reads: CLIP's configs name an end that is none."""
        architecture = None if self.config is None else self.config.architecture
        writes = architecture is None or PREDICTS.search(architecture) or self.source.has(GENERATION)
        return True if writes else None

    @cached_property
    def draft_head(self) -> DraftHead | None:
        """Its maps into a target's vocabulary, where it is a draft head."""
        return read_head(self.checkpoint, self.config, self.draft)

    @property
    def both_vocabularies(self) -> tuple[Vocabulary, Vocabulary] | None:
        """The tokens of a draft and of its target; None where one has none, or the draft is but a head."""
        words = self.vocabulary, None if self.target is None else self.target.vocabulary
        if self.draft_head is not None or not words[0] or not words[1]:
            return None
        return words[0], words[1]

    @property
    def vocab_size(self) -> int | None:
        """How many tokens it has: by its config, else rows of its input table, else of its tokens."""
        known = None if self.config is None else self.config.vocab_size
        tokens = None if not self.vocabulary else int(self.vocabulary.ids[-1]) + 1
        return next((size for size in (known, self.rows, tokens) if size is not None), None)

    @property
    def draft_sizes(self) -> tuple[int, int] | None:
        """vocab_size of the configs of a draft and of its target; None where one does not say, or of a head."""
        configs = self.config, None if self.target is None else self.target.config
        sizes = [None if config is None else config.vocab_size for config in configs]
        if self.draft_head is not None or sizes[0] is None or sizes[1] is None:
            return None
        return sizes[0], sizes[1]

    @cached_property
    def llama_cpp(self) -> LlamaVocabulary:
        """Its vocabulary as llama.cpp has it.

        Raises:
            ConfigError: how llama.cpp's converter would write it is not known.
        """
        if self.vocabulary is None:
            raise ConfigError(f"{self.name} has no tokenizer")
        if self.is_gguf:
            return of_gguf(self.metadata, self.small.gguf_file)
        return of_folder(self.vocabulary, self.small, self.config)

    def named_special(self, name: str) -> tuple[int, ...]:
        """Return the ids that its files name as a kind of special token, such as eos."""
        return self.small.named_ids(name)

    @property
    def special_ids(self) -> list[SpecialId]:
        """Token ids that its small files name."""
        return self.small.special_ids

    @property
    def chat_template(self) -> str:
        """The text of all chat templates."""
        return self.small.chat_template

    @cached_property
    def pad_ids(self) -> frozenset[int]:
        """The ids of padding, those of the parts of a composite model too."""
        named = {special.id for special in self.special_ids if special.kind == "pad_token_id"}
        return frozenset(named | set(_nested_ids({} if self.config is None else self.config.raw)))

    @cached_property
    def used_ids(self) -> dict[int, str]:
        """Special tokens that are used: by the chat template or as the end of a text; each with its name.

        A padding token is masked, and its row may well be zero; so it is not among them.
        """
        vocabulary = self.vocabulary
        if vocabulary is None:
            return {}
        named = {special.id for special in self.special_ids if special.kind in ("eos_token_id", "bos_token_id")}
        added = [vocabulary.token(identity) for identity in vocabulary.added_ids.tolist()]
        template = self.chat_template
        found = {token.id: token.piece for token in added if token is not None and token.piece in template}
        for identity in named - self.pad_ids:
            token = vocabulary.token(identity)
            if token is not None:
                found[identity] = token.piece
        return found


MOST_NESTED = 4
"""Configs inside each other: a composite of a composite has three."""


def _nested_ids(fields: Mapping[str, Any], depth: int = 1) -> Iterator[int]:
    """Yield the ids of padding in a config and in the configs inside it."""
    for key, value in fields.items():
        if isinstance(value, Mapping) and depth < MOST_NESTED:
            yield from _nested_ids(value, depth + 1)
        elif key.endswith(("pad_token_id", "padding_idx")) and type(value) is int:
            yield value
