"""A model's parts, each read when it is first asked for, and refused alone where it is damaged."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from embtool.adapters import may_be_adapter, may_be_draft
from embtool.arguments import checked
from embtool.arrays import Floats, np
from embtool.configs.config import Config, parse_config_text
from embtool.errors import (
    BadReference,
    ConfigError,
    EmbtoolError,
    FileNotInModel,
    FormatError,
    MissingExtra,
    NoVocabulary,
    TableNotFound,
    told_of,
)
from embtool.formats import (
    SelfDescribing,
    open_checkpoint,
    open_file,
    whole_tables,
)
from embtool.opening import Opening, Reach
from embtool.positions import Positions, UnknownPositions, read_positions
from embtool.references import base_reference, find_source, tokenizer_beside
from embtool.storage.checkpoint import Checkpoint
from embtool.storage.impostors import seems
from embtool.storage.source import CONFIG_LIMIT, Progress, Source
from embtool.tables.further_tables import of_tokens
from embtool.tables.table import EmbeddingTable, TableReader
from embtool.tables.table_roles import Tables, find_tables
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from embtool.adapters.description import Adapter
    from embtool.adapters.drafts import Draft
    from embtool.tables.final_norm import FinalNorm

CONFIG = "config.json"


@checked
class Opened:
    """A model as its files have it: config, vocabulary, tables and positions, each read when first asked for.

    A part that the model does not have raises only when it is asked for, so that a folder with
    no weights still has a vocabulary, and one without a tokenizer still has tables.

    Attributes:
        source: where its bytes are; `source.cost` counts the requests and bytes that reading has cost so far.
        open_base: opens the base that an adapter names, given its reference and revision.
    """

    def __init__(
        self,
        source: Source,
        file: str | None = None,
        *,
        progress: Progress | None = None,
        words: Callable[[], Vocabulary] | None = None,
        base: Self | None = None,
        alone: bool = False,
        opening: Opening | None = None,
    ) -> None:
        self.source = source
        self._opening = opening
        self.open_base: Callable[[str, str | None], Any] = self.opener(Reach())
        self._base = base
        self._alone = alone
        self._file = file
        self._words = words
        self._progress = progress

    @classmethod
    def opener(cls, reach: Reach) -> Callable[[str, str | None], Any]:
        """Make what opens the base of an adapter, reached as the adapter is."""

        def opened(reference: str, revision: str | None) -> Opened:
            return cls(*find_source(reference, replace(reach, revision=revision)), progress=reach.progress)

        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections, if it has any, and forget what was read of it: asked again, it is read again."""
        checkpoint = self.__dict__.get("checkpoint")
        if checkpoint is not None:
            checkpoint.mappings.close()
        close = getattr(self.source, "close", None)
        if close is not None:
            close()
        base = self.__dict__.get("base")
        for own in (self.__dict__.get("_own_files"), base if self._base is None else None):
            if own is not None:  # a base that was given is its giver's to close
                own.close()
        for name in [name for name in self.__dict__ if isinstance(getattr(type(self), name, None), cached_property)]:
            del self.__dict__[name]

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.source.name

    @cached_property
    def adapter(self) -> "Adapter | None":
        """What its tensors change in another model, its base; None where it is a model of its own.

        Raises:
            FormatError: its adapter_config.json cannot be read.
        """
        if self._alone:
            return None
        with suppress(ConfigError, FormatError):
            _ = self._own_config  # first, so that what cannot be reached is told of the file that everybody asks for
        try:
            checkpoint = self.checkpoint
        except (TableNotFound, FormatError):
            return None
        if not may_be_adapter(checkpoint):
            return None
        from embtool.adapters.description import read_adapter  # noqa: PLC0415 - rare

        with told_of(self.name):
            return read_adapter(self.source, checkpoint)

    @cached_property
    def draft(self) -> "Draft | None":
        """What it is where it only guesses ahead for another model; None where it is a model of its own."""
        try:
            if not may_be_draft(self.checkpoint):
                return None
            from embtool.adapters.drafts import read_draft  # noqa: PLC0415 - rare

            return read_draft(self.checkpoint)
        except (TableNotFound, FormatError):
            return None

    @property
    def alone(self) -> Self:
        """Itself, or of an adapter its own files, without the base."""
        return self._own_files or self

    @cached_property
    def _own_files(self) -> Self | None:
        """The files of an adapter as a model without its base; None where it is no adapter."""
        with suppress(ConfigError, FormatError):
            if self.adapter is None:
                return None
        return type(self)(self.source, self._file, progress=self._progress, words=self._words, alone=True)

    @cached_property
    def base(self) -> Self | None:
        """The model that it is an adapter of: the one given, or, where rows are not known without, the one it names.

        Raises:
            BadReference: it names none, or one that is an adapter too.
        """
        adapter = self.adapter
        if adapter is None and self._base is not None:
            raise BadReference(f"{self.name} is no adapter: it has no base", hint=f"leave out {self._base.name}")
        if adapter is None or (self._base is None and not adapter.needs_base):
            return None
        if self._base is None and adapter.base is None:
            raise BadReference(f"{self.name} is an adapter, and names no base", hint="name one: --base MODEL")
        found: Self | None = self._base
        if found is None:
            assert adapter.base is not None
            found = self.open_base(base_reference(adapter.base, self.source), adapter.revision)
        assert found is not None
        try:
            chained = found.adapter is not None
        except EmbtoolError as error:
            whose = f"{found.name} is the base of {self.name}; --base MODEL names another place for it"
            error.hint = f"{whose}; {error.hint}" if error.hint else whose
            raise
        if chained:
            raise BadReference(f"{found.name}, the base of {self.name}, is an adapter itself")
        return found

    @cached_property
    def config(self) -> Config | None:
        """Its config.json, or what its weights say of themselves; None where there is neither.

        An adapter has its base's, with as many rows as the table that it brings.

        Raises:
            ConfigError: the file is there but cannot be read.
        """
        if self._own_config is not None or self.adapter is None or self.base is None:
            return self._own_config
        config, rows = self.base.config, self.adapter.rows
        return config if config is None or rows is None else replace(config, vocab_size=rows)

    @cached_property
    def _own_config(self) -> Config | None:
        with told_of(self.name):
            if self._file is not None and self._described is not None:
                return self._described.read_config()
            try:
                data = self.source.read_file(CONFIG, CONFIG_LIMIT)
            except FileNotInModel:
                if self._described is not None:
                    return self._described.read_config()
                from embtool.configs.params import read_params  # noqa: PLC0415 - where there is no config.json

                return read_params(self.source)
            if (other := seems(data)) is not None:
                raise ConfigError(f"{CONFIG} is not JSON: it looks like {other}")
            return parse_config_text(data, file=CONFIG)

    @cached_property
    def _described(self) -> SelfDescribing | None:
        """Its checkpoint, where that brings a config and a vocabulary of its own."""
        try:
            checkpoint = self.checkpoint
        except (TableNotFound, FormatError):
            if self._file is not None:
                raise
            return None
        return checkpoint if isinstance(checkpoint, SelfDescribing) else None

    @property
    def has_other_tokenizer(self) -> bool:
        """Whether its vocabulary was named beside it, and is not its own."""
        return self._words is not None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokens, from tokenizer.json or an older tokenizer's files, or from a GGUF file.

        Raises:
            NoVocabulary: it has no tokenizer that embtool reads.
            FormatError: its tokenizer cannot be read.
        """
        if self._words is not None:
            return self._words()
        with told_of(self.name):
            if (
                self._base is not None
                and self.base is not None
                and self.adapter is not None
                and self.adapter.stands_alone
            ):
                return self.base.vocabulary
            if self._file is not None and self._described is not None:
                own = self._described.read_vocabulary()
                if own is not None:
                    return own
            try:
                return read_vocabulary(self.source, self._raw_config)
            except (NoVocabulary, MissingExtra):
                own = self._described.read_vocabulary() if self._described is not None else None
                if own is None and (beside := tokenizer_beside(self.source)) is not None:
                    own = read_vocabulary(beside[0], self._raw_config)
                    own.file = f"../{beside[1]}/{own.file}"
                if own is None and self.base is not None:
                    return self.base.vocabulary
                if own is None:
                    raise
                return own

    def _raw_config(self) -> Mapping[str, Any]:
        """Return its config.json as it stands; empty where there is none that can be read."""
        try:
            return self._own_config.raw if self._own_config is not None else {}
        except ConfigError:
            return {}

    @property
    def vocabulary_if_any(self) -> Vocabulary | None:
        """Its tokens, or None where it has no tokenizer."""
        return self.vocabulary if self._no_vocabulary is None else None

    @cached_property
    def _no_vocabulary(self) -> EmbtoolError | None:
        """Why it has no tokens, if it has none."""
        try:
            _ = self.vocabulary
        except (NoVocabulary, MissingExtra) as error:
            return copy(error)  # without the frames it came through, which hold the model
        return None

    def vocabulary_of(self, table: EmbeddingTable) -> Vocabulary | None:
        """Its tokens if they name the rows of this table, or None: the rows of a position table are no tokens."""
        words = self.vocabulary_if_any if of_tokens(table.role) else None
        if words is None or table.role != "output" or self.draft is None or self.draft.mapping is None:
            return words
        return words.chosen(self.draft.token_ids().tolist())

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its tensors, by name; headers only.

        Raises:
            UnsupportedFormat: its weights are in a format that embtool does not read.
            TableNotFound: it has no weights.
        """
        with told_of(self.name):
            return open_checkpoint(self.source) if self._file is None else open_file(self.source, self._file)

    @cached_property
    def tables(self) -> Tables:
        """Its embedding tables, as they are stored, and whether input and output are tied.

        Raises:
            UnsupportedFormat: its weights are in a format that embtool does not read.
            TableNotFound: it has no weights.
        """
        with told_of(self.name):
            if self.base is not None and self.adapter is not None:
                from embtool.adapters.adapted import adapt  # noqa: PLC0415 - rare

                return find_tables(adapt(self.adapter, self.name, self.base.tables), self.config)
            return find_tables(whole_tables(self.checkpoint, self.config), self.config)

    @property
    def input_table(self) -> EmbeddingTable:
        """The table that turns token ids into vectors.

        Raises:
            TableNotFound: it has none.
        """
        return self.tables.find("input")

    @property
    def output_table(self) -> EmbeddingTable:
        """The table that turns the last vector into scores of tokens; the input table where the two are tied.

        Raises:
            TableNotFound: it has none.
        """
        return self.tables.find("output")

    @cached_property
    def final_norm(self) -> "FinalNorm":
        """The norm between its last block and its output table; its `apply` takes vectors and gives float64.

        Raises:
            ConfigError: it is not known what the norm of such a model does.
            TableNotFound: the norm is not among its weights.
        """
        from embtool.tables.final_norm import find_final_norm  # noqa: PLC0415 - asked for by one command

        with told_of(self.name):
            return find_final_norm(self.checkpoint, self.config, self.name)

    def open_table(self, table: EmbeddingTable) -> AbstractContextManager[TableReader]:
        """Open a table for a pass, as `EmbeddingTable.open`; who was to be told how far it is will be."""
        return table.open(self._progress)

    def token_table(self, name: str = "input") -> TokenTable:
        """Find a table by its role or its tensor's name, with the tokens that name its rows.

        Raises:
            TableNotFound: it has none.
        """
        table = self.tables.find(name)
        vocabulary = self.vocabulary_of(table)
        unnamed = vocabulary is None and self.vocabulary_if_any is not None
        return TokenTable(self.name, table, vocabulary, unnamed, self._no_vocabulary, self._progress)

    def __getitem__(self, token: str | int) -> Floats:
        """Read the row of a token, by the rules of what is typed for one: float32 (width,).

        Raises:
            UnknownToken: it is no token, or several.
            TokenIdOutOfRange: there is no such row.
        """
        asked, reading = self.token_table(), Reading()
        return asked.vector(asked.one(token, reading), reading).astype(np.float32, copy=False)

    def padding_rows(self) -> list[int]:
        """List the rows of the input table that no token has; none where the model has no weights that can be read."""
        from embtool.tables.categories import padding_ids  # noqa: PLC0415 - rare

        try:
            return padding_ids(self.vocabulary, self.input_table.shape[0])
        except (EmbtoolError, IndexError):
            return []

    @cached_property
    def positions(self) -> Positions:
        """How it knows the order of tokens.

        `positions.kind` is rope, learned, sinusoidal, alibi, relative, none or unknown.

        Raises:
            ConfigError: it has no config.json, or one that does not say.
        """
        if self.config is None:
            raise ConfigError(f"{self.name} has no {CONFIG}: nothing says how it knows positions")
        with told_of(self.name):
            found = read_positions(self.config)
        if isinstance(found, UnknownPositions):
            with suppress(EmbtoolError):
                table = self.tables.find("position").tensor.name
                found = replace(found, reason=f"{found.reason}; {table} is stored, from which row on is not known")
        return found
