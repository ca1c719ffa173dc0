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
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from embtool.adapters import may_be_adapter, may_be_draft
from embtool.arguments import checked
from embtool.checkpoint import Checkpoint
from embtool.config import Config, parse_config_text
from embtool.dtypes import Doubles, Floats
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
from embtool.metric import Metric
from embtool.opening import Opening, Reach
from embtool.params import PARAMS, parse_params
from embtool.places import expand, is_folder, is_there
from embtool.positions import Positions, Rope, RopeOverride, UnknownPositions, read_positions
from embtool.references import base_reference, find_source, tokenizer_beside
from embtool.settings import BUNDLED
from embtool.source import CONFIG_LIMIT, Confirm, Folder, Progress, Source
from embtool.table import EmbeddingTable, TableReader
from embtool.table_roles import Tables, find_tables
from embtool.token_table import Reading, TokenTable
from embtool.vocabulary import Vocabulary, read_vocabulary, read_vocabulary_file
from embtool.vocabulary.files import MODEL_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from embtool.adapters.description import Adapter
    from embtool.adapters.drafts import Draft
    from embtool.questions.analogy import AnalogyAnswer
    from embtool.questions.calc import CalcAnswer
    from embtool.questions.check import CheckAnswer
    from embtool.questions.direction import DirectionAnswer
    from embtool.questions.export import ExportAnswer
    from embtool.questions.info import InfoAnswer
    from embtool.questions.input import InputAnswer, InputComparison
    from embtool.questions.map import Basis, MapAnswer
    from embtool.questions.neighbors import Filters, NeighborsAnswer
    from embtool.questions.norms import NormsAnswer
    from embtool.questions.rope import RopeAnswer
    from embtool.questions.rope_relative import RelativeAnswer
    from embtool.questions.rotation import Place
    from embtool.questions.row import RowAnswer
    from embtool.questions.similarity import SimilarityAnswer
    from embtool.questions.tokens import TokensAnswer
    from embtool.questions.undertrained import UndertrainedAnswer
    from embtool.questions.usage import UsageAnswer
    from embtool.questions.vocab import Search, VocabAnswer
    from embtool.rope import Layout, Precision
    from embtool.view import ViewAnswer

CONFIG = "config.json"

TOKENIZERS = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", *MODEL_FILES)
"""Files of tokenizers, in which something else may be found."""


@checked
class Model:
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

    # --- questions: each is a file of `embtool.questions`, loaded when it is first asked

    def calc(
        self,
        expression: "str | Sequence[str]",
        k: int = 10,
        *,
        table: str = "input",
        metric: Metric = "cosine",
        include_inputs: bool = False,
        normalize: bool | None = None,
        exact: bool = False,
        pool: str | None = None,
    ) -> "CalcAnswer":
        """Rank the rows nearest to an expression such as `king - man + woman`; see `embtool.questions.calc`.

        Raises:
            InvalidArgument: a sign or a token is missing.
            UnknownToken: a term is no token, or several without `pool`.
        """
        from embtool.questions.calc import Calculator  # noqa: PLC0415 - as above

        asked, reading = self.token_table(table), Reading(exact=exact, pool=pool)
        with asked.open() as reader:
            return Calculator(asked, reader, k, metric, reading, include_inputs, normalize).answer(expression)

    def analogies(
        self, questions: "Iterable[str]", *, file: str = "questions", table: str = "input", exact: bool = False
    ) -> "AnalogyAnswer":
        """Answer the lines of an analogy test in word2vec's format; see `embtool.questions.analogy`.

        Raises:
            FormatError: a line is neither a section nor four words.
        """
        from embtool.questions.analogy import ask_analogies  # noqa: PLC0415 - as above

        return ask_analogies(self.token_table(table), questions, file=file, reading=Reading(exact=exact))

    def check(
        self,
        base: "Model | None" = None,
        *,
        draft_for: "Model | None" = None,
        deep: bool = False,
        select: "Sequence[str]" = (),
        ignore: "Sequence[str]" = (),
    ) -> "CheckAnswer":
        """Check that its table is healthy and fits its tokenizer and config; see `embtool.questions.check`.

        Args:
            base: the model it was made from.
            draft_for: the model that it is to draft for in speculative decoding: only that is looked at.
            deep: read the tables too.
            select: the rules to look at.
            ignore: rules to leave out.

        Raises:
            InvalidArgument: there is no such rule.
            NoVocabulary: whether a draft fits cannot be told.
        """
        from embtool.questions.check import ask_check  # noqa: PLC0415 - as above

        return ask_check(self, base=base, draft_for=draft_for, deep=deep, select=select, ignore=ignore)

    def compare_inputs(self, text: str, other: str, *, start: int = 0, special: bool = False) -> "InputComparison":
        """Set what the first block reads of two texts side by side: the same tokens at other positions.

        Args:
            text: a text.
            other: another one.
            start: the position of the first token of each.
            special: add what the tokenizer puts around a text.

        Raises:
            InvalidArgument: a text is empty, or the start below 0.
            TokenIdOutOfRange: a position has no row.
        """
        from embtool.questions.input import compare_inputs  # noqa: PLC0415 - as above

        return compare_inputs(self, text, other, start=start, special=special)

    def count(
        self,
        *files: str | Path,
        texts: "Iterable[str]" = (),
        lines: bool = False,
        search: "Search | None" = None,
        k: int | None = None,
    ) -> "UsageAnswer":
        """Count how often a corpus uses each row, zeros included; see `embtool.questions.usage`.

        Args:
            files: each is one text, split as a whole, of any size.
            texts: more texts.
            lines: each line of a file is a text of its own, without its end.
            search: only rows that match.
            k: only so many, the most used.

        Raises:
            NoVocabulary: the model has no tokenizer.
            NoSuchFile: a file is not there.
            FormatError: there is nothing to count, or a file is no text.
        """
        from embtool.questions.usage import ask_usage  # noqa: PLC0415 - as above

        try:
            table = self.input_table
        except EmbtoolError:  # a tokenizer alone has something to count, too
            table = None
        return ask_usage(self.name, self.vocabulary, table, files, texts=texts, lines=lines, search=search, k=k)

    def export(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002 - it is called so on the command line
        tokens: "Sequence[str]" = (),
        filters: "Filters | None" = None,
        sample: int | None = None,
        neighbors: int | None = None,
        table: str = "input",
    ) -> "ExportAnswer":
        """Write a table for other tools; see `embtool.questions.export`. A file that is there is replaced.

        With `neighbors`, Parquet holds so many nearest rows of each row, in the column that embedding-atlas reads.

        Raises:
            InvalidArgument: there is no such format, or no row is left.
            LocalFailure: the system does not let it be written.
        """
        from embtool.questions.export import choose_format, choose_rows, write_export  # noqa: PLC0415 - as above

        asked, place = self.token_table(table), Path(path)
        kind = choose_format(format, place)
        ids = choose_rows(asked, kind, tokens=tokens, filters=filters, sample=sample)
        return write_export(asked, ids, kind, place, neighbors=neighbors)

    def info(self) -> "InfoAnswer":
        """Put together what is known of the model, from config.json and headers; see `embtool.questions.info`.

        Raises:
            FileNotInModel: it has neither a config nor weights nor a tokenizer.
        """
        from embtool.questions.info import ask_info  # noqa: PLC0415 - as above

        return ask_info(self)

    def input(self, text: str, *, start: int = 0, special: bool = False) -> "InputAnswer":
        """Tell what the first block reads of a text: for each token its row, and what its position adds.

        Args:
            text: the text.
            start: the position of the first token.
            special: add what the tokenizer puts around a text, such as its beginning.

        Raises:
            InvalidArgument: the text is empty, or the start below 0.
            TokenIdOutOfRange: a position has no row.
            ConfigError: it has no config.json, which says how it knows positions.
        """
        from embtool.questions.input import ask_input  # noqa: PLC0415 - as above

        return ask_input(self, text, start=start, special=special)

    def map(
        self,
        *tokens: str | int,
        basis: "Basis" = "tokens",
        neighbors: int = 0,
        metric: Metric = "cosine",
        table: str = "input",
        exact: bool = False,
        pool: str | None = None,
    ) -> "MapAnswer":
        """Project the rows of tokens on two principal components; see `embtool.questions.map`.

        Raises:
            UnknownToken: one is no token, or several without `pool`.
            InvalidArgument: there are fewer than two rows.
        """
        from embtool.questions.map import ask_map  # noqa: PLC0415 - as above

        asked, reading = self.token_table(table), Reading(exact=exact, pool=pool)
        queries = [asked.one(token, reading) for token in tokens]
        return ask_map(asked, queries, reading, basis=basis, neighbors=neighbors, metric=metric)

    def neighbors(
        self,
        query: "str | int | Doubles",
        k: int = 10,
        *,
        table: str = "input",
        against: str | None = None,
        metric: Metric | None = None,
        center: bool = False,
        through_norm: bool = False,
        filters: "Filters | None" = None,
        exact: bool = False,
        pool: str | None = None,
    ) -> "NeighborsAnswer":
        """Rank the rows nearest to a token's row or to a vector, exactly; see `embtool.questions.neighbors`.

        With `through_norm` the vector passes the model's final norm, and the output table is ranked by the dot product,
        unless `against` and `metric` say otherwise: the raw logit lens. Else the metric is the cosine.

        Raises:
            UnknownToken: it is no token, or several without `pool`.
            InvalidArgument: `k`, `metric`, `pool` or a filter cannot be meant.
        """
        from embtool.questions.neighbors import ask_neighbors, open_ranking  # noqa: PLC0415 - as above

        through = self.final_norm if through_norm else None
        asked = self.token_table(table)
        ranked = self.token_table(against or "output") if against or through else asked
        reading = Reading(exact=exact, pool=pool)
        with open_ranking(
            asked, ranked, k=k, metric=metric, center=center, reading=reading, filters=filters, through=through
        ) as ranking:
            return ask_neighbors(ranking, query)

    def norms(
        self,
        *,
        k: int = 10,
        spectrum: bool = True,
        all_rows: bool = False,
        table: str = "input",
        search: "Search | None" = None,
    ) -> "NormsAnswer":
        """Describe a table in numbers, and its shortest and longest rows that match; see `embtool.questions.norms`.

        `norms().statistics.norms` holds the length of every row: float64 (rows,).
        """
        from embtool.questions.norms import ask_norms  # noqa: PLC0415 - as above

        return ask_norms(self.token_table(table), k=k, spectrum=spectrum, all_rows=all_rows, search=search)

    def rope_relative(
        self,
        m: int,
        n: int,
        tokens: "Sequence[str | int]" = (),
        *,
        vector: "npt.ArrayLike | None" = None,
        layout: "Layout | None" = None,
        length: int | None = None,
        precision: "Precision" = "float64",
        exact: bool = False,
        pool: str | None = None,
    ) -> "RelativeAnswer":
        """Show that the dot product of a query at m and a key at n depends on m - n only.

        Args:
            m: where the query stands.
            n: where the key stands.
            tokens: whose rows are the query and the key, cut into heads; without them both are ones.
            vector: the query and the key, (2, width), or one for both, (width,).
            layout: which two channels make a pair, where the family is not known.
            length: tokens of the sequence, on which some types depend.
            precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.
            exact: take tokens as typed.
            pool: make one vector of a text of several tokens.

        Raises:
            NoRope: it has no rotary positions.
            InvalidArgument: a position or an option cannot be meant.
        """
        from embtool.questions.rope_relative import ask_relative  # noqa: PLC0415 - as above
        from embtool.questions.rotation import Manner, rotary_of, vectors_of  # noqa: PLC0415 - as above

        vectors = vectors_of(self, tokens, vector, Reading(exact=exact, pool=pool))
        return ask_relative(rotary_of(self, layout), m, n, vectors, Manner(length, precision))

    def rope_table(
        self,
        positions: "Iterable[Place]" = (),
        tokens: "Sequence[str | int]" = (),
        *,
        vector: "npt.ArrayLike | None" = None,
        inverse: bool = False,
        layout: "Layout | None" = None,
        override: "RopeOverride | None" = None,
        length: int | None = None,
        precision: "Precision" = "float64",
        exact: bool = False,
        pool: str | None = None,
    ) -> "RopeAnswer":
        """Tell how fast pairs of channels turn, and how far they have turned at positions.

        Args:
            positions: whole numbers, or three for a token of an image; none for the frequencies alone.
            tokens: whose rows are turned, cut into heads: an illustration. Without them a vector along the first
                channel of each pair is, so that what comes out is cos and sin.
            vector: turn these numbers, (width,) or (vectors, width), or "ones".
            inverse: turn back.
            layout: which two channels make a pair, where the family is not known.
            override: settings that take the place of its own: what if it were stretched?
            length: tokens of the sequence, on which some types depend; by default as many as the positions need.
            precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.
            exact: take tokens as typed.
            pool: make one vector of a text of several tokens.

        Raises:
            NoRope: it has no rotary positions.
            InvalidArgument: a position or an option cannot be meant.
            ConfigError: vectors do not divide into heads, or it is not known which two channels make a pair.
        """
        from embtool.questions.rope import ask_rope  # noqa: PLC0415 - as above
        from embtool.questions.rotation import Manner, rotary_of, vectors_of  # noqa: PLC0415 - as above

        vectors = vectors_of(self, tokens, vector, Reading(exact=exact, pool=pool))
        return ask_rope(
            rotary_of(self, layout, override, length), positions, vectors, Manner(length, precision, inverse)
        )

    def row(
        self, token: str | int, *, table: str = "input", exact: bool = False, pool: str | None = None
    ) -> "RowAnswer":
        """Read the vector of a token, with its norm; see `embtool.questions.row`. `model[token]` is the numbers alone.

        Raises:
            UnknownToken: it is no token, or several without `pool`.
        """
        from embtool.questions.row import ask_row  # noqa: PLC0415 - as above

        asked, reading = self.token_table(table), Reading(exact=exact, pool=pool)
        return ask_row(asked, asked.one(token, reading), reading)

    def similarity(
        self,
        *tokens: str | int,
        metric: Metric = "cosine",
        table: str = "input",
        exact: bool = False,
        pool: str | None = None,
    ) -> "SimilarityAnswer":
        """Compare every pair of tokens, and tell which belongs least; see `embtool.questions.similarity`.

        Raises:
            UnknownToken: one is no token, or several without `pool`.
            InvalidArgument: there are fewer than two, or the metric is none.
        """
        from embtool.questions.similarity import ask_similarity  # noqa: PLC0415 - as above

        asked, reading = self.token_table(table), Reading(exact=exact, pool=pool)
        return ask_similarity(asked, [asked.one(token, reading) for token in tokens], reading, metric)

    def projections(
        self,
        *tokens: str | int,
        along: "str | int | Sequence[str | int]",
        minus: "str | int | Sequence[str | int]" = (),
        table: str = "input",
        exact: bool = False,
        pool: str | None = None,
    ) -> "DirectionAnswer":
        """Tell how far the rows of tokens lie along a direction; see `embtool.questions.direction`.

        Args:
            tokens: the tokens.
            along: one token or several, whose rows at length 1 are added up to the direction.
            minus: those that are subtracted from it.
            table: the role of the table.
            exact: take each text as typed.
            pool: make one vector of a text of several tokens.

        Raises:
            UnknownToken: one is no token, or several without `pool`.
            InvalidArgument: no token is named.
            FormatError: a row is not finite, or the direction has no length.
        """
        from embtool.questions.direction import ask_direction  # noqa: PLC0415 - as above

        asked, reading = self.token_table(table), Reading(exact=exact, pool=pool)
        named = ([each] if isinstance(each, str | int) else each for each in (tokens, along, minus))
        queries, plus, less = ([asked.one(token, reading) for token in each] for each in named)
        return ask_direction(asked, queries, plus, less, reading)

    def tokens(self, text: str, *, special: bool = False) -> "TokensAnswer":
        """Split a text into tokens; see `embtool.questions.tokens`. `special` adds what the tokenizer puts around it.

        Raises:
            NoVocabulary: the model has no tokenizer.
        """
        from embtool.questions.tokens import ask_tokens  # noqa: PLC0415 - as above

        return ask_tokens(self.name, self.vocabulary, text, special=special)

    def undertrained(
        self,
        k: int = 10,
        *,
        indicator: str | None = None,
        reference: "Sequence[str]" = ("auto",),
        percent: float | None = None,
        normal: bool = True,
        padding: bool = False,
        table: str = "input",
    ) -> "UndertrainedAnswer":
        """Rank the tokens that training hardly touched; see `embtool.questions.undertrained`. No model is run.

        Raises:
            NoVocabulary: the model has no tokenizer.
            InvalidArgument: there is no such indicator.
        """
        from embtool.questions.undertrained import ask_undertrained  # noqa: PLC0415 - as above

        return ask_undertrained(
            self.token_table(table),
            self.tables.tying,
            k=k,
            indicator=indicator,
            reference=reference,
            percent=percent,
            normal=normal,
            padding=padding,
        )

    def view(self, path: str | Path, tokens: "Sequence[str]" = (), *, exact: int | None = None) -> "ViewAnswer":
        """Write a page that stands alone: the lesson, tokens, a map, positions. A file that is there is replaced.

        Args:
            path: where to.
            tokens: whose rows and neighbours the map shows; everyday words unless some are named.
            exact: for how many tokens the neighbours are computed; 2,000 unless said.

        Raises:
            UnknownToken: one of the tokens is none.
            LocalFailure: the system does not let it be written.
        """
        pages = import_module(
            "embtool.view"
        )  # two floors up, as a name: it is made of the lesson, which is about models
        written: ViewAnswer = pages.write_view(pages.make_view(self, tokens, exact=exact), self, Path(path))
        return written

    def vocab(self, search: "Search | str | None" = None, *, k: int | None = None) -> "VocabAnswer":
        """Search the vocabulary by a regular expression or more; see `embtool.questions.vocab`.

        Raises:
            NoVocabulary: the model has no tokenizer.
            InvalidArgument: the pattern is no regular expression.
        """
        from embtool.questions.vocab import Search, ask_vocab  # noqa: PLC0415 - as above

        wanted = search if isinstance(search, Search) else Search(search)
        return ask_vocab(self.name, self.vocabulary, wanted, padding=self.padding_rows(), k=k)

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
