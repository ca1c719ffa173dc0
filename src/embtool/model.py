"""Open a model: the one place that wires the floors together.

A model is what the user names: a folder, a file, a repository, or `mini`, the one that comes with embtool. Opening it
reads nothing; each part (config, vocabulary, checkpoint, tables, positions) is read when it is first asked for, and a
model without one part still answers what the others can.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from embtool.adapters import may_be_adapter, may_be_draft
from embtool.arguments import checked
from embtool.asking import Questions
from embtool.checkpoint import Checkpoint
from embtool.config import Config, parse_config_text
from embtool.dtypes import Floats
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
from embtool.final_norm import FinalNorm, find_final_norm
from embtool.formats import (
    OPENERS,
    SelfDescribing,
    open_checkpoint,
    open_file,
    whole_tables,
)
from embtool.further_tables import of_tokens
from embtool.hub.limit import Limit
from embtool.impostors import LONGEST_MAGIC, seems
from embtool.opening import Opening, Reach
from embtool.params import PARAMS, parse_params
from embtool.places import expand, is_folder, is_there
from embtool.positions import Positions, Rope, UnknownPositions, read_positions
from embtool.references import base_reference, find_source, tokenizer_beside
from embtool.settings import BUNDLED
from embtool.source import CONFIG_LIMIT, Confirm, Folder, Progress, Source
from embtool.table import EmbeddingTable, TableReader
from embtool.table_roles import Tables, find_tables
from embtool.token_table import Reading, TokenTable
from embtool.vocabulary import Vocabulary, read_vocabulary, read_vocabulary_file
from embtool.vocabulary.files import MODEL_FILES

if TYPE_CHECKING:
    from embtool.adapters.description import Adapter
    from embtool.adapters.drafts import Draft

CONFIG = "config.json"

TOKENIZERS = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", *MODEL_FILES)
"""Files of tokenizers, in which something else may be found."""


@checked
class Model(Questions):
    """One model: its config, vocabulary, tables and positions, each read when first asked for.

    `open_model` makes it. A part that the model does not have raises only when it is asked for, so that a folder with
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
        base: "Model | None" = None,
        alone: bool = False,
        opening: Opening | None = None,
    ) -> None:
        self.source = source
        self._opening = opening
        self.open_base: Callable[[str, str | None], Model] = _open_base(Reach())
        self._base = base
        self._alone = alone
        self._file = file
        self._words = words
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections, if it has any, and take its tables out of memory."""
        checkpoint = self.__dict__.get("checkpoint")
        if checkpoint is not None:
            checkpoint.mappings.close()
        close = getattr(self.source, "close", None)
        if close is not None:
            close()
        base = self.__dict__.get("base")
        if base is not None and self._base is None:  # one that was given is its giver's to close
            base.close()

    def __reduce__(self) -> tuple[Callable[[Opening], "Model"], tuple[Opening]]:
        """Return how it is opened again where a pickle of it arrives: see `embtool.opening`."""
        if self._opening is None:
            raise TypeError(f"{self!r} was not opened by open_model: it cannot be opened again elsewhere")
        return _reopen, (self._opening.of(self.source),)

    def __repr__(self) -> str:
        return f"<model {self.name!r}>"

    def _repr_html_(self) -> str:
        """Show itself in a notebook as what `info` tells, or by its name where that cannot be told."""
        try:
            return self.info()._repr_html_()
        except EmbtoolError:
            return escape(repr(self))

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

    @cached_property
    def alone(self) -> "Model":
        """Itself, or of an adapter its own files, without the base."""
        with suppress(ConfigError, FormatError):
            if self.adapter is None:
                return self
        return Model(self.source, self._file, progress=self._progress, words=self._words, alone=True)

    @cached_property
    def base(self) -> "Model | None":
        """The model that it is an adapter of: the one given, or, where rows are not known without, the one it names.

        Raises:
            BadReference: it names none, or one that is an adapter too.
        """
        adapter = self.adapter
        if adapter is None and self._base is not None:
            raise BadReference(f"{self.name} is no adapter: it has no base", hint=f"leave out {self._base.name}")
        if adapter is None or (self._base is None and not adapter.needs_base):
            return None
        found = self._base
        if found is None:
            if adapter.base is None:
                raise BadReference(f"{self.name} is an adapter, and names no base", hint="name one: --base MODEL")
            found = self.open_base(base_reference(adapter.base, self.source), adapter.revision)
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
                return self._config_without_file()
            if (other := seems(data)) is not None:
                raise ConfigError(f"{CONFIG} is not JSON: it looks like {other}")
            return parse_config_text(data, file=CONFIG)

    def _config_without_file(self) -> Config | None:
        """Its config where there is no config.json: what its weights say, or params.json beside them."""
        if self._described is not None:
            return self._described.read_config()
        return parse_params(self.source.read_file(PARAMS, CONFIG_LIMIT)) if self.source.has(PARAMS) else None

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
            except FormatError as error:
                raise self._named(error) from error
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

    def _named(self, error: FormatError) -> FormatError:
        """Say of a tokenizer's file that is something else what it looks like."""
        for file in TOKENIZERS:
            if file in error.message and self.source.has(file):
                other = seems(self.source.head(file, LONGEST_MAGIC))
                return error if other is None else FormatError(f"{file} is no tokenizer: it looks like {other}")
        return error

    def _raw_config(self) -> Mapping[str, Any]:
        """Return its config.json as it stands; empty where there is none that can be read."""
        try:
            return self._own_config.raw if self._own_config is not None else {}
        except ConfigError:
            return {}

    @property
    def vocabulary_if_any(self) -> Vocabulary | None:
        """Its tokens, or None where it has no tokenizer."""
        try:
            return self.vocabulary
        except (NoVocabulary, MissingExtra):
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
    def final_norm(self) -> FinalNorm:
        """The norm between its last block and its output table; its `apply` takes vectors and gives float64.

        Raises:
            ConfigError: it is not known what the norm of such a model does.
            TableNotFound: the norm is not among its weights.
        """
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
        return TokenTable(self.name, table, vocabulary, unnamed, self._progress)

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
        from embtool.categories import padding_ids  # noqa: PLC0415 - rare

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

    @property
    def rope(self) -> Rope:
        """Its rotary positions; `rope.rotate` turns a vector as the model turns queries and keys.

        Raises:
            NoRope: it knows positions in another way, or not at all.
            ConfigError: it has no config.json, or one that does not say.
        """
        positions = self.positions
        if not isinstance(positions, Rope):
            from embtool.questions.positions import no_rope  # noqa: PLC0415 - as above

            raise no_rope(self.name, positions)
        return positions


@checked
def open_model(
    reference: str | Path = BUNDLED,
    *,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    base: "Model | str | Path | None" = None,
    offline: bool = False,
    token: str | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    plan_only: bool = False,
    limit: Limit | None = None,
) -> Model:
    """Open a model by the name a user gives it; of a local model nothing is read yet, and nothing of it is ever run.

    Args:
        reference: `mini`, a folder, a `.safetensors` file or its index, a `.gguf` file, or a Hugging Face repository;
            `#` and a folder of it after a folder or a repository, such as `org/name#text_encoder`.
        revision: a branch, tag or commit of a repository.
        tokenizer: where its vocabulary is instead of in the model: a folder, a tokenizer's file, or another model.
        base: of an adapter, the model that it changes, in the place of the one that it names.
        offline: answer from what is cached, ask nobody.
        token: who asks; by default huggingface_hub's, as `HF_TOKEN` or `hf auth login` set it.
        max_bytes: the most bytes that one question may fetch, unless `confirm` allows more; by default 4 GB.
        progress: told how far a long fetch is.
        confirm: asked before more than `max_bytes` are fetched.
        plan_only: read small files and headers, but do not fetch rows and tables; `source.plan` says what would be.
        limit: what requests to the hub wait for, shared with others: an `embtool.hub.limit.RequestLimit`, or its like.

    Raises:
        BadReference: it cannot be the name of a model, or the revision not that of a revision.
        ModelNotFound: there is no such file or folder. Whether there is a repository is seen when it is first read.
        UnsupportedFormat: the file named is of a kind that embtool does not read.
    """
    reach = Reach(revision, offline, token, max_bytes, progress, confirm, plan_only, limit)
    words = None if tokenizer is None else functools.partial(_vocabulary_of, tokenizer, replace(reach, revision=None))
    source, file = find_source(reference, reach)
    opener = _open_base(replace(reach, revision=None))
    below = opener(str(base), None) if isinstance(base, str | Path) else base
    opening = Opening(reference, tokenizer, reach, base=base)
    model = Model(source, file, progress=progress, words=words, base=below, opening=opening)
    model.open_base = opener
    return model


def _reopen(opening: Opening) -> Model:
    """Open a model again, where a pickle of it has arrived."""
    model = open_model(opening.reference, tokenizer=opening.tokenizer, base=opening.base, **vars(opening.reach))
    opening.settle(model.source)
    return model


def _open_base(reach: Reach) -> Callable[[str, str | None], Model]:
    """Make what opens the base of an adapter, reached as the adapter is."""

    def opened(reference: str, revision: str | None) -> Model:
        return Model(*find_source(reference, replace(reach, revision=revision)), progress=reach.progress)

    return opened


def _vocabulary_of(reference: str | Path, reach: Reach) -> Vocabulary:
    """Read the tokenizer that is named beside a model: a file of one, or that of a folder or of another model."""
    path = expand(str(reference))
    if is_there(path) and not is_folder(path) and not path.name.endswith(tuple(OPENERS)):
        return read_vocabulary_file(Folder(path.parent, str(reference), named=path.name), path.name)
    source, file = find_source(reference, reach)
    return Model(source, file).vocabulary
