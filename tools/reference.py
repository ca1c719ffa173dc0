"""Write the reference from the program: the pages under docs/reference, through cog, and the man pages in man/.

`program()` reads every command, argument and option out of the command line itself. The rest of this module turns that,
the tree of errors and the JSON shapes into Markdown; `manual.py` turns it into man pages. What the program does not say
of itself (examples, what a status is for, who reads an environment variable) stands in the tables below, and the tests
hold those against the program.
"""

import ast
import contextlib
import inspect
import json
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from jsonschema import Draft202012Validator
from show import run, show

import embtool
from embtool import cli, errors
from embtool.cli.help import EXAMPLES
from embtool.cli.options import ExplainOptions, ModelOptions, OutputOptions, TokenOptions, expand
from embtool.cli.reading import read_input
from embtool.diff import align_by_id, compare_tables
from embtool.errors import EmbtoolError
from embtool.schemas import MEANINGS, SHAPES, Shape, schema

# --- what the program does not say of itself --------------------------------------------------------------------------

OF_THIS_MACHINE = "cache"
"""The command whose examples are not run: what they print is one machine's."""

STATUSES: dict[int, str] = {
    0: "Answered.",
    1: "`check` found something, or the tables of `diff --exit-code` differ. A traceback, which is a bug, too.",
    2: "Wrong usage: an option, a number or a name that cannot be.",
    3: "Not found: a model, a revision, a file, a table, a row, a token. After a batch: some lines had no answer.",
    4: "No access: a gated, private or disabled repository, or a token that is refused.",
    5: "The network or the server: unreachable, too slow, or offline and not in the cache. What was fetched is kept.",
    6: "Bad data: malformed, truncated, hostile, or of an unsupported kind; a server that breaks the protocol.",
    7: "This machine: a full disk, a permission, a lock, too little memory, or more bytes than `--max-bytes` allows.",
    cli.INTERRUPTED: "Interrupted (Ctrl-C).",
    cli.OUTPUT_GONE: "The reader of a pipe went away, as `head` does; nothing is said.",
    cli.TERMINATED: "Terminated by another program.",
}
"""What each exit status is for."""

STATUS_EXAMPLES: dict[int, str] = {
    0: "embtool row id:0 --json > /dev/null; echo $?",
    1: "embtool check mini --level info > /dev/null; echo $?",
    2: "embtool neighbors king -k 0; echo $?",
    3: "embtool row id:99999; echo $?",
    5: "embtool info org/model --offline; echo $?",
    6: "printf 'not a checkpoint' > broken.safetensors; embtool info broken.safetensors; echo $?",
    7: "embtool neighbors --vector . ; echo $?",
}
"""Command lines that end with each status, where a moment offline is enough to reach it."""

OWN_STATUSES: dict[str, str] = {
    "check": "1 if a rule found something at or above `--level`, 0 if none did",
    "diff": "1 if the tables differ and `--exit-code` asks",
    "cache verify": "6 if something is damaged",
}
"""Where a command uses a status for an answer of its own."""


@dataclass(frozen=True)
class Variable:
    """An environment variable: who reads it, and what it does."""

    name: str
    reader: str
    meaning: str


VARIABLES: tuple[Variable, ...] = (
    Variable("EMBTOOL_MODEL", "embtool", "The model of commands that name none; it comes before `embtool use`."),
    Variable("EMBTOOL_CACHE", "embtool", "The folder for what embtool has fetched and derived."),
    Variable("EMBTOOL_MAX_BYTES", "embtool", "The most bytes that are fetched without a question, such as `4GB`."),
    Variable("EMBTOOL_RETRIES", "embtool", "How often a request that failed is tried again."),
    Variable("EMBTOOL_DEBUG", "embtool", "If set, the traceback of an error is printed before it."),
    Variable("HF_HOME", "embtool", "Hugging Face's folder; the caches below are in it unless they are named."),
    Variable("HF_HUB_CACHE", "embtool", "The cache of whole files, shared by all Hugging Face tools."),
    Variable("HUGGINGFACE_HUB_CACHE", "embtool", "The older name of `HF_HUB_CACHE`."),
    Variable("HF_ASSETS_CACHE", "embtool", "Where tools keep what they derive; embtool's cache is in `embtool` there."),
    Variable("HF_TOKEN", "huggingface_hub", "The token for gated and private repositories."),
    Variable("HF_TOKEN_PATH", "huggingface_hub", "The file in which `hf auth login` keeps the token."),
    Variable("HF_ENDPOINT", "huggingface_hub", "The hub's address: a mirror, or a hub of your own."),
    Variable("HF_HUB_OFFLINE", "huggingface_hub", "If 1, nothing is asked of any network, as with `--offline`."),
    Variable("HF_HUB_ETAG_TIMEOUT", "huggingface_hub", "Seconds to wait for a connection."),
    Variable("HF_HUB_DOWNLOAD_TIMEOUT", "huggingface_hub", "Seconds to wait for bytes."),
    Variable("XDG_CACHE_HOME", "embtool", "Where Hugging Face's folder is unless `HF_HOME` is set."),
    Variable("XDG_CONFIG_HOME", "platformdirs", "Where the choice of `embtool use` is kept, on Linux."),
    Variable(
        "HTTPS_PROXY", "httpx2", "The proxy for https addresses; `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` hold too."
    ),
    Variable("NO_COLOR", "rich", "If set, no colours."),
    Variable("FORCE_COLOR", "rich", "If set, colours even where the output is no terminal."),
    Variable("TERM", "rich", "If `dumb` or `unknown`, no colours and no progress bar."),
    Variable("COLUMNS", "embtool", "The width of tables; in a pipe it is asked for with `-f table`."),
    Variable("LINES", "embtool", "The height of the picture of `map`."),
    Variable(
        "OMP_NUM_THREADS", "embtool", "Threads of one matrix product: 1 unless set, as a pass has its own threads."
    ),
    Variable("OPENBLAS_NUM_THREADS", "embtool", "The same for OpenBLAS."),
    Variable("MKL_NUM_THREADS", "embtool", "The same for MKL."),
)
"""Every environment variable that changes what a command does."""

MODEL_FORMS: tuple[tuple[str, str], ...] = (
    ("mini", "the bundled model: offline, right after the install"),
    ("./dir, /dir, dir/", "a folder with config.json and *.safetensors"),
    ("x.safetensors, model.safetensors.index.json", "one file, or the index of a sharded checkpoint"),
    ("x.gguf", "a GGUF file, which is its own config and tokenizer"),
    ("x.txt, x.vec, x.bin, x.npz", "word vectors: GloVe, fastText, word2vec"),
    ("org/name, org/name@revision", "a repository of the Hugging Face hub"),
    ("hf://org/name/file.gguf", "one file of a repository"),
)
"""The forms of MODEL."""

TOKEN_FORMS: tuple[tuple[str, str], ...] = (
    ("strawberry", "the text, if it is one token; else the text with a space before it, if that is one"),
    ("' strawberry'", "exactly this text, as a word inside a sentence has it"),
    ("id:70135, id:0..255", "a row by its number, or a range of rows"),
    ("piece:Ġking", "the tokenizer's own spelling"),
    ("bytes:206b696e67", "the bytes, in hexadecimal"),
    ("-", "read tokens from stdin, one a line"),
)
"""The forms of TOKEN."""

SHARED: dict[str, tuple[str, type[Any]]] = {
    "Which model": ("Every command that opens a model", ModelOptions),
    "Which token": ("Every command that looks up tokens", TokenOptions),
    "How it is printed": ("Every command that prints a result", OutputOptions),
    "Explained": ("Commands that compute something", ExplainOptions),
}
"""Bundles of options that many commands take: their heading, who takes them, and the bundle."""


# --- the command line as data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """An argument or option: how it is written, what follows it, and what it does."""

    names: tuple[str, ...]
    value: str
    about: str
    default: str = ""
    panel: str = ""
    required: bool = False

    @property
    def written(self) -> str:
        """How it is written: `-k, --top N`."""
        return " ".join(part for part in (", ".join(self.names), self.value) if part)


@dataclass(frozen=True)
class Command:
    """A command, or one inside a command: `cache ls`."""

    name: str
    panel: str
    summary: str
    about: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    commands: tuple["Command", ...] = ()

    @property
    def usage(self) -> str:
        """How it is written as a whole."""
        arguments = [_bracketed(argument) for argument in self.arguments]
        words = ["embtool", *self.name.split(), "[OPTIONS]", *arguments]
        return " ".join([*words[:-1], "COMMAND ..."] if self.commands else words)

    @property
    def panels(self) -> dict[str, list[Parameter]]:
        """Its options by the panel they stand in, its own first."""
        found: dict[str, list[Parameter]] = {"Options": []}
        for option in self.options:
            found.setdefault(option.panel or "Options", []).append(option)
        return {panel: options for panel, options in found.items() if options}

    def walk(self) -> Iterator["Command"]:
        """Yield it and the commands inside it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def program() -> Command:
    """Read the whole command line."""
    group: Any = typer.main.get_command(cli.app)
    context = group.make_context("embtool", ["info"], resilient_parsing=True)
    found = [
        _command(group.resolve_command(context, [name])[1], name, panel, summary)
        for name, (panel, summary) in cli.COMMANDS.items()
    ]
    top = _command(group, "", "", "Look inside the embedding tables of language models.")
    return replace(top, commands=tuple(found))


def _command(command: Any, name: str, panel: str, summary: str = "") -> Command:
    """Read one command."""
    first, *rest = [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]
    parameters = [(parameter.param_type_name, _parameter(parameter)) for parameter in command.params]
    inner = () if not name else tuple(getattr(command, "commands", {}).items())
    return Command(
        name,
        panel,
        summary or first,
        (first, *rest),
        tuple(parameter for kind, parameter in parameters if kind == "argument"),
        tuple(parameter for kind, parameter in parameters if kind == "option"),
        tuple(_command(within, f"{name} {word}", panel) for word, within in inner),
    )


def _parameter(parameter: Any) -> Parameter:
    """Read one argument or option."""
    about = " ".join((parameter.help or "").split())
    if parameter.param_type_name == "argument":
        return Parameter((parameter.metavar or parameter.name.upper(),), "", about, required=parameter.required)
    flag = parameter.is_flag
    default = parameter.default
    if flag:
        default = "" if not parameter.secondary_opts else (parameter.opts if default else parameter.secondary_opts)[0]
    elif isinstance(default, Enum):
        default = default.value
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=lambda name: name.startswith("--"))
    return Parameter(
        tuple(names),
        "" if flag else parameter.metavar or _value(parameter.type_descriptor.annotation, parameter.min, parameter.max),
        about,
        "" if default is None else str(default),
        parameter.rich_help_panel or "",
        parameter.required,
    )


def _value(kind: Any, least: float | None, most: float | None) -> str:
    """Name the value of an option by its type."""
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "|".join(choice.value for choice in kind)
    if kind in (int, float):
        return f"{least}..{most}" if least is not None and most is not None else "N" if kind is int else "X"
    return "TEXT"


def _bracketed(argument: Parameter) -> str:
    (name,) = argument.names
    return name if argument.required or name.startswith("[") else f"[{name}]"


def bundle(kind: type[Any]) -> tuple[Parameter, ...]:
    """Read the options of a bundle that commands share."""

    def take(*, options: Any) -> None:
        del options

    take.__annotations__["options"] = kind
    own = typer.Typer(add_completion=False)
    own.command()(expand(take))
    return _command(typer.main.get_command(own), "", "").options


# --- docs/reference/commands.md ---------------------------------------------------------------------------------------


def contents() -> None:
    """Print the table of commands, with links to their sections."""
    print("| command | answers |\n|---|---|")
    for command in program().commands:
        print(f"| [`{command.name}`](#{anchor(f'embtool {command.name}')}) | {prose(command.summary)} |")


def forms(of: Sequence[tuple[str, str]]) -> None:
    """Print the forms in which something is named."""
    print("| typed | means |\n|---|---|")
    for typed, meaning in of:
        print(f"| {', '.join(f'`{form}`' for form in typed.split(', '))} | {prose(meaning)} |")


def shared_options() -> None:
    """Print the options that many commands share, each bundle once."""
    for title, (who, kind) in SHARED.items():
        print(f"### {title}\n\n{who}:\n")
        _options(bundle(kind))
        print()


def top_options() -> None:
    """Print the options of the program itself."""
    _options((*program().options, Parameter(("-h", "--help"), "", "Show what can be asked, and exit.")))


def commands() -> None:
    """Print a section for every command."""
    panel = ""
    for command in program().commands:
        if command.panel != panel:
            panel = command.panel
            print(f"## {panel}\n")
        _section(command, "###")
        for within in command.commands:
            _section(within, "####")


def _section(command: Command, level: str) -> None:
    """Print the section of one command."""
    print(f"{level} embtool {command.name}\n")
    print("\n\n".join(prose(paragraph) for paragraph in command.about))
    print(f"\n```text\n{command.usage}\n```\n")
    if command.arguments:
        print("| argument | means |\n|---|---|")
        for argument in command.arguments:
            print(f"| `{cell(argument.written)}` | {cell(prose(argument.about))} |")
        print()
    if command.options:
        known = {title: bundle(kind) for title, (_, kind) in SHARED.items()}
        repeated = {option for options in known.values() for option in options}
        own = replace(command, options=tuple(option for option in command.options if option not in repeated))
        for panel, listed in own.panels.items():
            _options(listed, panel)
            print()
        for title, options in known.items():
            taken = [option for option in options if option in command.options]
            if taken:
                names = ", ".join(f"`{'/'.join(option.names)}`" for option in taken)
                print(f"- [{title}](#{anchor(title)}): {names}")
        print()
    if command.name in OWN_STATUSES:
        print(f"[Exit status](exit-statuses.md): {OWN_STATUSES[command.name]}.\n")
    examples = EXAMPLES[command.name]
    if command.name.split()[0] == OF_THIS_MACHINE and examples:
        print("```sh\n" + "\n".join(examples) + "\n```\n")
        return
    for example in examples:
        show(example, lines=30, stderr=command.name == "export", folder="reference")
        print()


def _options(options: Iterable[Parameter], panel: str = "Options") -> None:
    """Print options as a table."""
    print(f"| {panel.lower()} | means |\n|---|---|")
    for option in options:
        print(f"| `{cell(option.written)}` | {cell(prose(described(option)))} |")


def described(option: Parameter) -> str:
    """Say what an option does, with its default."""
    if option.required:
        return f"{option.about} Required."
    return f"{option.about} Default: {option.default}." if option.default else option.about


# --- docs/reference/exit-statuses.md, errors.md, environment.md -------------------------------------------------------


def statuses() -> None:
    """Print what each exit status is for, and the errors that end with it."""
    print("| status | when | errors |\n|---|---|---|")
    for status, when in STATUSES.items():
        names = ", ".join(
            f"[`{name}`](errors.md#{anchor(name)})" for name, kind in tree() if kind.exit_status == status
        )
        print(f"| {status} | {when} | {names} |")


def status_examples() -> None:
    """Print command lines that end with each status."""
    for example in STATUS_EXAMPLES.values():
        show(example, stderr=True, folder="statuses")
        print()


def tree() -> list[tuple[str, type[EmbtoolError]]]:
    """List the classes of errors, in the order of their module."""
    return [
        (name, kind) for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, EmbtoolError)
    ]


def error_tree() -> None:
    """Print the tree of errors as their module draws it."""
    drawn = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    print("```text\n" + textwrap.dedent("\n".join(drawn)) + "\n```")


def error_classes() -> None:
    """Print a section for each class of error: its status, its bases, and an example that is really raised."""
    for name, kind in tree():
        bases = ", ".join(
            f"[`{base.__name__}`](#{anchor(base.__name__)})" if issubclass(base, EmbtoolError) else f"`{base.__name__}`"
            for base in kind.__bases__
        )
        about = (kind.__doc__ or "").split("\n")[0]
        print(f"## {name}\n\n{prose(about)} Exit status {kind.exit_status}; a kind of {bases}.\n")
        if kind in CAUSES:
            error = raised(kind)
            hint = f"\nembtool: hint: {error.hint}" if error.hint else ""
            print(f"```text\nembtool: error: {error.message}{hint}\n```\n")


def raised(kind: type[EmbtoolError]) -> EmbtoolError:
    """Cause an error of a class, in an empty folder, and return it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            CAUSES[kind]()
        except EmbtoolError as error:
            if type(error) is kind:
                return error
            raise
    raise SystemExit(f"nothing raised {kind.__name__}")


def _folder(**files: Any) -> embtool.Model:
    """Open a model of a few files: JSON for a value, a text as it is."""
    Path("model").mkdir()
    for name, content in files.items():
        file = Path("model") / name.replace("_json", ".json").replace("_safetensors", ".safetensors")
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return embtool.open_model("./model")


def _not_a_file() -> object:
    Path("config.json").mkdir()
    return embtool.open_model(Path()).config


def _tensor(dtype: str) -> str:
    """Write a checkpoint of one table of 4 × 2 numbers of 4 bytes."""
    entry = {"dtype": dtype, "shape": [4, 2], "data_offsets": [0, 32]}
    header = json.dumps({"model.embed_tokens.weight": entry}).ljust(120)
    return chr(len(header)) + "\0" * 7 + header + "\0" * 32


def _without_sentencepiece() -> object:
    """Ask a model whose tokenizer is SentencePiece's for its tokens, as if that library were not installed."""
    present = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "sentencepiece"}
    try:
        sys.modules.update({"sentencepiece": None})  # type: ignore[dict-item] # how Python marks what is not there
        return _folder(**{"spiece.model": "\n\x0e\n\x05<unk>"}).vocabulary
    finally:
        del sys.modules["sentencepiece"]
        sys.modules.update(present)


def _refused_by_hub() -> object:
    from embtool.hub.endpoint import Endpoint  # noqa: PLC0415 - the network stack, for one example
    from embtool.hub.failures import Asked, from_status  # noqa: PLC0415 - as above

    asked = Asked(Endpoint.parse("https://huggingface.co"), "org/model", "main", "config.json")
    raise from_status(403, {"X-Error-Code": "GatedRepo"}, asked)


def _too_large() -> object:
    from embtool.hub import HubSource  # noqa: PLC0415 - as above

    source = HubSource("org/model", offline=True, max_bytes=4_000_000_000)
    source._allow("model.embed_tokens.weight of org/model", 5_242_880_000)  # noqa: SLF001 - the hub is not asked here
    return source


CAUSES: dict[type[EmbtoolError], Callable[[], object]] = {
    errors.ModelNotFound: lambda: embtool.open_model("./nowhere"),
    errors.FileNotInModel: lambda: _folder(config_json={}).source.read_file("merges.txt"),
    errors.NoSuchFile: lambda: read_input(Path("none.npy"), "--vector"),
    errors.AccessDenied: _refused_by_hub,
    errors.Unreachable: lambda: embtool.open_model("org/model", offline=True).config,
    errors.LocalFailure: _not_a_file,
    errors.TooLarge: _too_large,
    errors.FormatError: lambda: _folder(model_safetensors="not a checkpoint").input_table.shape,
    errors.UnsupportedFormat: lambda: _folder(**{"pytorch_model.bin": ""}).input_table,
    errors.UnsupportedDType: lambda: _folder(model_safetensors=_tensor("F4_UNKNOWN")).input_table.rows([0]),
    errors.ConfigError: lambda: _folder(config_json={"vocab_size": "many"}).config.vocab_size,  # type: ignore[union-attr]
    errors.UnsupportedRope: lambda: (
        _folder(
            config_json={
                "model_type": "llama",
                "hidden_size": 64,
                "num_attention_heads": 1,
                "rope_scaling": {"rope_type": "warp"},
            }
        ).rope
    ),
    errors.NoRope: lambda: _folder(config_json={"model_type": "gpt2", "n_positions": 1024}).rope,
    errors.TableNotFound: lambda: embtool.open_model("mini").tables.find("position"),
    errors.NoVocabulary: lambda: _folder(config_json={}).vocabulary,
    errors.MissingLibrary: _without_sentencepiece,
    errors.BadReference: lambda: embtool.open_model("org/na me"),
    errors.Unlike: lambda: compare_tables(
        embtool.open_model("mini").input_table,
        _folder(model_safetensors=_tensor("F32")).input_table,
        align_by_id(4, 4),
    ),
    errors.UnknownToken: lambda: embtool.open_model("mini").vocabulary.find("strawbery"),
    errors.TokenIdOutOfRange: lambda: embtool.open_model("mini").input_table.rows([99_999]),
}
"""How each error is met."""


def variables() -> None:
    """Print the environment variables, by who reads them."""
    print("| variable | means | read by |\n|---|---|---|")
    for variable in VARIABLES:
        print(f"| `{variable.name}` | {variable.meaning} | {variable.reader} |")


# --- docs/reference/json.md -------------------------------------------------------------------------------------------

DOCUMENTS: dict[str, tuple[str, ...]] = {
    "info": ("embtool info mini --json", "embtool info mini mini --json"),
    "tokens": ("embtool tokens 'the pod' --json", "embtool tokens the pod --json"),
    "vocab": ("embtool vocab '^ strawb' --json", "embtool vocab --counts --json"),
    "row": ("embtool row ' king' --json",),
    "neighbors": ("embtool neighbors ' king' -k 2 --json",),
    "similarity": ("embtool similarity ' king' ' queen' --json",),
    "calc": ("embtool calc ' king' - ' man' -k 2 --json",),
    "odd": ("embtool odd ' breakfast' ' lunch' ' pod' --json",),
    "analogy": (
        "echo 'Paris France Rome Italy' | embtool analogy - --spaced --json",
        "echo 'Paris France Rome Italy' | embtool analogy - --spaced --answers --json",
    ),
    "map": ("embtool map ' king' ' queen' ' apple' --json",),
    "check": ("embtool check mini --json", "embtool check --rules --json"),
    "diff": ("embtool diff mini mini --json",),
    "norms": ("embtool norms -k 2 --json", "embtool norms ' king' --json"),
    "undertrained": ("embtool undertrained -k 2 --json",),
    "rope": ("embtool rope -m mini --pos 7 --json", "embtool rope --theta 10000 --dim 4 --relative 7 3 --json"),
    "rope-compare": ("embtool rope compare mini mini --json",),
    "input": ("embtool input 'the pod' -m mini --json", "embtool input 'the pod' --against 'a pod' -m mini --json"),
    "learn": ("embtool learn 1 --json",),
    "schema": ("embtool schema --json",),
    "cache-ls": ("embtool cache ls --json",),
    "cache-rm": ("embtool cache rm --all --json",),
    "cache-verify": ("embtool cache verify --json",),
    "use": ("embtool use mini --json",),
    "plan": ("embtool neighbors ' king' --dry-run --json",),
}
"""Command lines that print each document, in each of its shapes."""

KEPT = 2
"""Entries of a list that an example keeps."""

WIDTH = 100
"""Columns of an example."""

DIGITS = 6
"""Digits of a number in an example: not every machine adds up in the same order."""

FILL_CACHE = "embtool row id:0 > /dev/null 2>&1; find $EMBTOOL_CACHE -exec touch -d 2026-01-01T00:00:00Z {} + ; "
"""Before a document of the cache: something in it, of a date that is the same everywhere."""


def meanings() -> None:
    """Print what keys mean wherever they stand."""
    print("| key | means |\n|---|---|")
    for key, meaning in sorted(MEANINGS.items()):
        print(f"| `{key}` | {meaning} |")


def documents() -> None:
    """Print every document: its shapes, and an example of each."""
    for name, shape in SHAPES.items():
        print(f"## embtool/{name}@1\n")
        shapes = shape if isinstance(shape, tuple) else (shape,)
        for place, (one, command) in enumerate(zip(shapes, DOCUMENTS[name], strict=True)):
            print(f"`{command}`:\n")
            lines = drawn({"schema": f'"embtool/{name}@1"', **_without(one, shapes[0])})
            print("```ts\n" + "\n".join(lines) + "\n```\n")
            if one is shapes[0] or _without(one, shapes[0]) == one:
                print("```json\n" + "\n".join(written(example(name, place))) + "\n```\n")


def _without(shape: Any, other: Shape) -> Any:
    """Replace, inside a shape, another that was drawn before it."""
    if isinstance(shape, dict):
        return {
            key: "as above, without schema" if entry is other or entry == [other] else entry
            for key, entry in shape.items()
        }
    return shape


def example(name: str, place: int = 0) -> Any:
    """Run the command that prints a document, hold it against its schema, and cut it short."""
    before = FILL_CACHE if name.startswith("cache") else ""
    document = json.loads(run(f"{before}{DOCUMENTS[name][place]}"))
    cut = shortened(document)
    whole = schema(name)
    validator = Draft202012Validator(whole.get("anyOf", [whole])[place])
    validator.validate(document)
    validator.validate(cut)
    return cut


def shortened(value: Any) -> Any:
    """Keep the first entries of every list, and the first digits of every number."""
    if isinstance(value, list):
        return [shortened(entry) for entry in value[:KEPT]]
    if isinstance(value, dict):
        return {key: shortened(entry) for key, entry in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def written(value: Any, indent: str = "", before: str = "", after: str = "") -> list[str]:
    """Write JSON in lines of at most `WIDTH` columns where that can be: what fits stands in one line."""
    line = f"{indent}{before}{json.dumps(value, ensure_ascii=False)}{after}"
    if len(line) <= WIDTH or not isinstance(value, list | dict) or not value:
        return [line]
    opened, closed = ("[", "]") if isinstance(value, list) else ("{", "}")
    items = [("", entry) for entry in value] if isinstance(value, list) else [*value.items()]
    lines = [f"{indent}{before}{opened}"]
    for place, (key, entry) in enumerate(items, 1):
        comma = "," if place < len(items) else ""
        lines += written(entry, f"{indent}  ", f"{json.dumps(key)}: " if key else "", comma)
    return [*lines, f"{indent}{closed}{after}"]


def drawn(shape: Shape, indent: str = "", before: str = "", after: str = "") -> list[str]:
    """Draw a shape in lines of at most `WIDTH` columns where that can be."""
    line = f"{indent}{before}{in_line(shape)}{after}"
    if len(line) <= WIDTH or isinstance(shape, str):
        return [line]
    if isinstance(shape, list):
        return drawn(shape[0], indent, before, f"[]{after}")
    if isinstance(shape, tuple):
        first, *others = shape
        return drawn(first, indent, before, f" | {' | '.join(map(in_line, others))}{after}")
    inner = [line for key, entry in shape.items() for line in drawn(entry, f"{indent}  ", f"{_key(key)}: ", ",")]
    return [f"{indent}{before}{{", *inner, f"{indent}}}{after}"]


def in_line(shape: Shape) -> str:
    """Draw a shape in one line, in the notation of TypeScript."""
    if isinstance(shape, str):
        return f"{shape.removesuffix('?').replace('|', ' | ')}{' | null' if shape.endswith('?') else ''}"
    if isinstance(shape, list):
        inner = in_line(shape[0])
        return f"({inner})[]" if " | " in inner and not inner.startswith("{") else f"{inner}[]"
    if isinstance(shape, tuple):
        return " | ".join(in_line(entry) for entry in shape)
    return "{" + ", ".join(f"{_key(key)}: {in_line(entry)}" for key, entry in shape.items()) + "}"


def _key(key: str) -> str:
    return "[key: string]" if key == "..." else key


# --- docs/reference/python.md -----------------------------------------------------------------------------------------


def api(name: str) -> None:
    """Print a public object as its source has it, without the code: signatures, fields and docstrings.

    On the site the same place holds what autodoc makes of it (docs/conf.py).
    """
    source = textwrap.dedent(inspect.getsource(getattr(embtool, name)))
    (node,) = ast.parse(source).body
    lines = source.splitlines()
    print("```python")
    print("\n".join(_head(node, lines)))
    for member in node.body[1:] if isinstance(node, ast.ClassDef) else ():
        shown = _head(member, lines)
        if shown:
            print("\n".join(["", *shown] if isinstance(member, ast.FunctionDef) else shown))
    print("```")


def _head(node: ast.stmt, lines: Sequence[str]) -> Sequence[str]:
    """Give the lines of a definition up to the end of its docstring, or of a field; nothing of what is private."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return () if node.target.id.startswith("_") else lines[node.lineno - 1 : node.end_lineno]
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or ast.get_docstring(node) is None:
        return ()
    if re.match(r"_[^_]", node.name):
        return ()
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return lines[first - 1 : node.body[0].end_lineno]


# --- words ------------------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """Write a plain text of the program in Markdown: what is not code is escaped, an address is a link."""
    parts = re.split(r"(`[^`]*`|https?://[^\s,;)]*[^\s,;.)]|(?<![\w-])--?[a-z][a-z-]*)", text)
    return "".join(
        (part if part[0] == "`" else f"`{part}`" if part[0] == "-" else f"<{part}>")
        if place % 2
        else re.sub(r"([\\*_<>\[\]])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def cell(text: str) -> str:
    """Write a text for a cell of a table."""
    return text.replace("|", "\\|")


def anchor(title: str) -> str:
    """Name the place of a heading as GitHub does."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
