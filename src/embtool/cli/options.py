"""Arguments and options that several commands share.

A command takes a bundle, such as `ModelOptions`, as one parameter; `expand` shows its fields to typer as options of
their own and puts them together again for the call. So a shared option is written once, and no command has thirty
parameters.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, TextIO, get_type_hints

import typer

from embtool.answers import Answer, Failure, Format, emit
from embtool.cli import completion
from embtool.cli.command_run import CommandRun, call, read_limit
from embtool.cli.help import HUB
from embtool.cli.messages import hush, note, warn
from embtool.errors import EmbtoolError
from embtool.model import Model, open_model
from embtool.settings import BUNDLED_MODELS, SAVED, choose_model
from embtool.tables.token_table import Reading, TokenTable
from embtool.vocabulary import POOLS

RUN = "run"
"""The field of a bundle that is no option: the run of the command."""


def expand(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter whose type is a dataclass by that dataclass's fields, for typer to read."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, type[Any]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = hints[name]
        if not (isinstance(hint, type) and is_dataclass(hint)):
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        bundles[name] = hint
        inner = get_type_hints(hint, include_extras=True)
        for part in fields(hint):
            if part.name == RUN:
                continue
            default = inspect.Parameter.empty if part.default is MISSING else part.default
            parameters.append(
                inspect.Parameter(
                    part.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=inner[part.name]
                )
            )

    @functools.wraps(command)
    def invoke(**values: Any) -> Any:
        run = CommandRun(dry_run=bool(values.get("dry_run")))
        if values.get("quiet"):
            hush(is_quiet=True)
        bundled = {
            name: bundle(
                **{part.name: run if part.name == RUN else values.pop(part.name) for part in fields(bundle)},
            )
            for name, bundle in bundles.items()
        }
        output = next((bundle for bundle in bundled.values() if isinstance(bundle, OutputOptions)), None)
        return call(
            lambda: command(**values, **bundled),
            run,
            output_format=output.format if output is not None else None,
            header=output is None or not output.no_header,
        )

    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(invoke)["__signature__"] = inspect.Signature(parameters)
    del vars(invoke)["__wrapped__"]
    return invoke


MODEL_HELP = (
    "A folder, a .safetensors or .gguf file, word vectors, a Hugging Face repository, or one that comes along: "
    f"{', '.join(BUNDLED_MODELS)}."
)

Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Tell errors only: no notes, no warnings.", rich_help_panel="Output")
]


@dataclass(frozen=True)
class OutputOptions:
    """How the result is printed."""

    output_format: Annotated[
        Format | None,
        typer.Option(
            "-f",
            "--format",
            help="Print as table, markdown, json, jsonl, tsv or csv. Default: a table on a terminal, TSV in a pipe.",
            rich_help_panel="Output",
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel="Output")] = False
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print JSON Lines, one record a line.", rich_help_panel="Output")
    ] = False
    as_tsv: Annotated[bool, typer.Option("--tsv", help="Print tab-separated values.", rich_help_panel="Output")] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.", rich_help_panel="Output")] = (
        False
    )
    no_header: Annotated[
        bool, typer.Option("--no-header", help="Leave out the line of column names.", rich_help_panel="Output")
    ] = False

    quiet: Quiet = False
    no_truncate: Annotated[
        bool,
        typer.Option("--no-truncate", help="Show a table whole, however wide it becomes.", rich_help_panel="Output"),
    ] = False

    @property
    def format(self) -> Format:
        """The format asked for, or the one that fits where stdout goes."""
        return self.asked or (Format.TABLE if sys.stdout.isatty() else Format.TSV)

    @property
    def asked(self) -> Format | None:
        """The format asked for, if one was.

        Raises:
            BadParameter: two formats were asked for.
        """
        flags = {
            Format.JSON: self.as_json,
            Format.JSONL: self.as_jsonl,
            Format.TSV: self.as_tsv,
            Format.CSV: self.as_csv,
        }
        asked = {chosen for chosen, flag in flags.items() if flag}
        if self.output_format is not None:
            asked.add(self.output_format)
        if len(asked) > 1:
            raise typer.BadParameter(f"one output format at a time, not {' and '.join(sorted(asked))}")
        return asked.pop() if asked else None

    def emit(
        self,
        answers: Answer | Iterable[Answer | Failure],
        *,
        blank: Answer | type[Answer] | None = None,
        only_notes: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        """Print an answer, or several as they come, and on stderr what they have to say, each thing once.

        With `only_notes` nothing is printed on stdout: the answer went into a file.
        """
        if isinstance(answers, Answer):
            for _ in self.with_notes([answers]):  # all there is to say
                pass
            if not only_notes:
                emit(answers, self.format, header=not self.no_header, whole=self.no_truncate, stream=stream)
        else:
            told = self.with_notes(answers)
            emit(told, self.format, header=not self.no_header, blank=blank, whole=self.no_truncate, stream=stream)

    @staticmethod
    def with_notes(answers: Iterable[Answer | Failure]) -> Iterator[Answer | Failure]:
        """Give answers as they come, and say on stderr what each has to say before it, each thing once."""
        told: set[str] = set()
        for answer in answers:
            if isinstance(answer, Answer):
                for say, texts in ((note, answer.notes), (warn, answer.warnings)):
                    for text in texts:
                        if text not in told:
                            told.add(text)
                            say(text)
            yield answer


@dataclass(frozen=True)
class ExplainOptions:
    """Whether the result is explained; the texts are in `explanations`."""

    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say below what was computed, the formula, and what to try next; in machine formats on stderr.",
            rich_help_panel="Output",
        ),
    ] = False


@dataclass(frozen=True)
class SourceOptions:
    """How a model is reached."""

    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a repository.", rich_help_panel=HUB)
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Answer from what is cached; ask nobody.", rich_help_panel=HUB)
    ] = False
    hub_token: Annotated[
        str | None,
        typer.Option(
            metavar="HF_TOKEN",
            help="Credential of the hub. Better: the variable HF_TOKEN or `hf auth login`, which others on this "
            "machine cannot see.",
            rich_help_panel=HUB,
        ),
    ] = None
    max_bytes: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Ask before fetching more; a script is refused. Default: EMBTOOL_MAX_BYTES, else 4GB.",
            rich_help_panel=HUB,
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be fetched, and fetch only small files.", rich_help_panel=HUB),
    ] = False
    run: CommandRun = field(default_factory=CommandRun)

    @property
    def reached(self) -> tuple[str, ...]:
        """The options that a command shown to the user must repeat to reach the same model."""
        revision = () if self.revision is None else ("--revision", self.revision)
        return (*revision, *(("--offline",) if self.offline else ()))

    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|FILE",
            autocompletion=completion.models,
            help="Take the vocabulary from here instead: a folder, a tokenizer.json, or another model.",
            rich_help_panel="Model",
        ),
    ] = None

    def open_named(self, reference: str, base: Model | None = None) -> Model:
        """Open a model by name; `base` is that of an adapter, where it was named."""
        model = self._open(self.run.meant(reference), self.tokenizer, self.revision, base)
        model.open_base = lambda named, revision: self._open(named, None, revision)
        return model

    def _open(self, reference: str, tokenizer: str | None, revision: str | None, base: Model | None = None) -> Model:
        model = open_model(
            reference,
            tokenizer=tokenizer,
            base=base,
            revision=revision,
            offline=self.offline,
            token=self.hub_token,
            max_bytes=read_limit(self.max_bytes),
            progress=self.run.progress,
            confirm=self.run.confirm,
            plan_only=self.dry_run,
            limit=self.run.limit,
        )
        if not model.source.local:
            self.run.add(model.source)
        return model


@dataclass(frozen=True)
class ModelOptions(SourceOptions):
    """Which model is asked: of a command about tokens, by -m."""

    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            autocompletion=completion.models,
            help=MODEL_HELP,
            rich_help_panel="Model",
        ),
    ] = None

    def two(self, named: Sequence[str] | None, usage: str) -> tuple[Model, Model]:
        """Open two models, named as arguments or both by -m: of one each way nobody could say which comes first.

        Raises:
            BadParameter: there are not two, or they are named in two ways.
        """
        names = [*(named or ()), *(self.models or ())]
        if len(names) != len("AB") or (named and self.models):
            raise typer.BadParameter(f"name two models, both as arguments or both by -m: {usage}")
        return self.open_named(names[0]), self.open_named(names[1])

    def open(self, named: str | None = None) -> Model:
        """Open the model named here or by -m, or the default one with a note that says which and why.

        Raises:
            BadParameter: two are named; `king -man -m MODEL` is read as that, and must not be answered for king alone.
        """
        names = [*([] if named is None else [named]), *(self.models or ())]
        if len(names) > 1:
            option = "-m names one model" if named is None else "one model is asked"
            raise typer.BadParameter(f"{option}, not {' and '.join(map(repr, names))}")
        if names:
            return self.open_named(names[0])
        reference, why = choose_model()
        note(f"model {reference} ({why})")
        try:
            return self.open_named(reference)
        except EmbtoolError as error:
            if why == SAVED:
                error.hint = f"{reference} is the default that was saved: `embtool use --clear` forgets it"
            raise


@dataclass(frozen=True)
class RowOptions(ModelOptions):
    """Which model is asked for rows: where it is an adapter, on top of which base."""

    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Of an adapter: the model that it changes, if not the one that it names.",
            rich_help_panel="Model",
        ),
    ] = None

    def open_named(self, reference: str, base: Model | None = None) -> Model:
        """Open a model by name, an adapter on top of its base."""
        below = super().open_named(self.base) if base is None and self.base is not None else base
        return super().open_named(reference, below)

    def two(self, named: Sequence[str] | None, usage: str) -> tuple[Model, Model]:
        """Open two models, or a base and the adapter that is named alone with it.

        Raises:
            BadParameter: there are not two.
        """
        names = [*(named or ()), *(self.models or ())]
        if self.base is None:
            return super().two(named, usage)
        if len(names) != 1:
            raise typer.BadParameter("with --base one adapter is named, which is compared with it")
        base = super().open_named(self.base)
        return base, super().open_named(names[0], base)


@dataclass(frozen=True)
class TokenOptions:
    """How a token is found from what was typed."""

    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Take each text as typed; no mark of a word's start is put before it.",
            rich_help_panel="Tokens",
        ),
    ] = False
    pool: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(POOLS),
            autocompletion=completion.choices(*POOLS),
            help="Make one vector of a text of several tokens: mean, sum, first or last.",
            rich_help_panel="Tokens",
        ),
    ] = None
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Say which other token a word could have been.", rich_help_panel="Tokens"),
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line of stdin that fails.", rich_help_panel="Tokens")
    ] = False

    @property
    def reading(self) -> Reading:
        """How texts are read.

        Raises:
            InvalidArgument: there is no such way of pooling.
        """
        return Reading(self.exact, self.pool)


class Metric(StrEnum):
    """How nearness is measured."""

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"


TableName = Annotated[
    str,
    typer.Option(
        "--table",
        autocompletion=completion.tables,
        help="The table asked: input, output, position, or a tensor's name.",
        rich_help_panel="Model",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        autocompletion=completion.models,
        help=MODEL_HELP,
    ),
]
TokensAsked = Annotated[
    list[str] | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        autocompletion=completion.tokens,
        help="A token, id:N or id:A..B; again for more; - reads them from stdin.",
        rich_help_panel="Tokens",
    ),
]
Top = Annotated[int, typer.Option("-k", "--top", min=1, help="How many results.")]
Texts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TOKEN...", autocompletion=completion.tokens, help="Tokens, id:N or id:A..B; - reads them from stdin."
    ),
]


def find_table(model: Model, name: str) -> TokenTable:
    """Find a table by its role or its tensor's name; say so where a tied output table is the input table."""
    asked = model.token_table(name)
    if model.base is not None:
        note(f"{model.name} is an adapter: these are the rows of {model.base.name} as it changes them")
    if model.has_other_tokenizer and asked.vocabulary is not None and len(asked.vocabulary) != len(asked.table):
        counts = f"{len(asked.vocabulary):,} tokens, and the table {len(asked.table):,} rows"
        warn(f"{asked.vocabulary.file} has {counts}: is it the tokenizer of this model?")
    if name in ("input", "output") and asked.table.tensor not in [
        kept.tensor for kept in model.tables.stored if kept.role == name
    ]:
        note(f"{model.name} has one table for input and output: {asked.table.tensor.name}")
    return asked
