"""Open a model: the one place that wires the floors together.

A model is what the user names: a folder, a file, a repository, or `mini`, the one that comes with embtool. Opening it
reads nothing; each part (config, vocabulary, checkpoint, tables, positions) is read when it is first asked for, and a
model without one part still answers what the others can.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from embtool.arguments import checked
from embtool.arrays import Doubles
from embtool.errors import (
    EmbtoolError,
)
from embtool.formats import (
    OPENERS,
)
from embtool.hub.limit import Limit
from embtool.opened import Opened
from embtool.opening import Opening, Reach
from embtool.positions import Rope
from embtool.references import find_source
from embtool.settings import BUNDLED
from embtool.storage.places import expand, is_folder, is_there
from embtool.storage.source import Confirm, Folder, Progress
from embtool.tables.metric import Metric
from embtool.tables.token_table import Reading
from embtool.vocabulary import Vocabulary, read_vocabulary_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from embtool.positions import RopeOverride
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


@checked
class Model(Opened):
    """One model, and what can be asked of it: each question is a file of `embtool.questions`, loaded when first asked.

    `open_model` makes it.
    """

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
            from html import escape  # noqa: PLC0415 - in a notebook only

            return escape(repr(self))

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
            exact: for how many tokens the neighbours are computed; 2,000 unless said, of small tables more.

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
    opener = Model.opener(replace(reach, revision=None))
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


def _vocabulary_of(reference: str | Path, reach: Reach) -> Vocabulary:
    """Read the tokenizer that is named beside a model: a file of one, or that of a folder or of another model."""
    path = expand(str(reference))
    if is_there(path) and not is_folder(path) and not path.name.endswith(tuple(OPENERS)):
        return read_vocabulary_file(Folder(path.parent, str(reference), named=path.name), path.name)
    source, file = find_source(reference, reach)
    return Model(source, file).vocabulary
