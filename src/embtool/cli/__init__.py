"""The command line: one file a command, over the library.

`COMMANDS` names the commands in the order of `embtool --help`; a command's module is imported when it is run. To add
one: write `cli/x.py` with a function `run` (or, where it has subcommands, a `typer.Typer` called `app`) and name it
here.

`main` is where every error ends: one line on stderr, and the exit status that the error's class carries.
"""

import contextlib
import errno
import gc
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
import typer.core

from embtool import __version__
from embtool.cli.messages import complain, hush, note, report
from embtool.cli.typer_internals import ASKED, pass_texts
from embtool.errors import EmbtoolError, LocalFailure, SourceError
from embtool.storage.cache import refusal

COMMANDS: dict[str, tuple[str, str]] = {
    "learn": ("Learn", "A lesson in eight steps: guess, then see it measured on your own model."),
    "view": ("Learn", "The lesson, the tokens and the positions of a model as one page, to open or to send."),
    "info": ("Look", "Tables, tying, vocabulary and positions of a model, from its headers."),
    "tokens": ("Look", "Text to token ids."),
    "vocab": ("Look", "Search the vocabulary."),
    "row": ("Look", "The vector of a token."),
    "neighbors": ("Ask", "The nearest rows to a token or a vector, ranked."),
    "similarity": ("Ask", "Cosine, dot and Euclidean distance between tokens, and which belongs least."),
    "calc": ("Ask", "The nearest rows to an expression: king - man + woman; analogy tests."),
    "map": ("Ask", "A two-dimensional shadow of rows, in the terminal or in a file."),
    "check": ("Table", "Is the table healthy, and does it fit its tokenizer? For CI."),
    "diff": ("Table", "Which tokens two models share, and which rows moved; is a copy good enough?"),
    "norms": ("Table", "How long the rows are, and what they have in common."),
    "undertrained": ("Table", "Tokens that training hardly touched, without running the model."),
    "export": ("Table", "The table for other tools: numpy, safetensors, Parquet, CSV, projector, word2vec."),
    "rope": ("Position", "How rotary positions turn a vector: frequencies, wavelengths, angles."),
    "input": ("Position", "The sequence that the first block reads: token row and position."),
    "schema": ("Set up", "The JSON Schema of what a command prints."),
    "cache": ("Set up", "What was fetched and derived: list, check, remove."),
    "use": ("Set up", "Choose the default model."),
}
"""Every command: the panel it stands in, and what it answers."""

OUTPUT_GONE = 141
"""The exit status when the reader of a pipe went away: 128 + SIGPIPE, as a shell reports it."""

USAGE = 2
DISK_FULL = 7
INTERRUPTED = 130
TERMINATED = 143

SELDOM = (100_000, 50, 50)
"""New objects after which the youngest are looked through for cycles, and so on with the older ones."""


class _ReaderGone(Exception):
    """The reader of stdout closed it."""


class _Group(typer.core.TyperGroup):
    """The program: lists its commands without importing them, and imports the one that is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "help": _flowing(settings.get("help") or "")})
        if not sys.stdout.isatty():
            self.rich_markup_mode = None  # as of its commands, in `help.tidy`
        for name, (panel, summary) in COMMANDS.items():
            self.add_command(typer.core.TyperCommand(name, help=summary, short_help=summary, rich_help_panel=panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            from embtool.cli.help import tidy  # noqa: PLC0415 - `embtool --help` needs no command's examples

            command = _load(args[0])
            tidy(command, ctx, args[0])
            self.add_command(command, args[0])
        return super().resolve_command(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        for parameter in self.params:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""  # a flag has no value to name
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EINVAL if os.name == "nt" else errno.EPIPE):
                raise _ReaderGone from error
            if error.errno == errno.ENOSPC:
                raise _OutputFull from error
            raise
        return result


class _OutputFull(Exception):
    """There is no space left where stdout goes."""


def _load(name: str) -> Any:
    """Import a command's module and make it a command of typer."""
    from embtool.cli.options import expand  # noqa: PLC0415 - `embtool --help` needs no command's options

    module = import_module(f"embtool.cli.{name.replace('-', '_')}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name, help=module.run.__doc__)(expand(module.run))
    command = typer.main.get_command(app)
    command.name = name
    command.help = _flowing(command.help or "")
    return command


def _flowing(text: str) -> str:
    """Join the lines of each paragraph, so that they break where the terminal ends and not where the source does."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def print_version(value: bool) -> None:  # noqa: FBT001 - the signature typer calls
    """Answer --version, and end."""
    if value:
        print(f"embtool {__version__}")  # noqa: T201 - the answer
        raise typer.Exit


app = typer.Typer(
    cls=_Group, no_args_is_help=False, add_completion=True, context_settings={"help_option_names": ["--help", "-h"]}
)


@app.callback()
def embtool(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look inside the embedding tables of language models.

    A token id is only a row number; the row, a learned vector, is what a model reads. Try
    `embtool neighbors strawberry`, then the same on a model of yours: `embtool neighbors strawberry -m FOLDER`.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its status.

    A command makes hardly any garbage in cycles, so it is looked for seldom, and what is left at the end is not looked
    through: that is a fifth of what a short command takes.
    """
    gc.set_threshold(*SELDOM)
    status = run(sys.argv[1:] if arguments is None else list(arguments))
    gc.freeze()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run the program and return its exit status; every error a user can cause ends here."""
    pass_texts()
    hush()
    _prepare_process()
    try:
        status = (
            _complete(arguments)
            if ASKED in os.environ or arguments[:1] in (["--show-completion"], ["--install-completion"])
            else _call(arguments)
        )
        sys.stdout.flush()
    except _ReaderGone:
        status = OUTPUT_GONE
    except _OutputFull:
        complain("error", "cannot write the output: no space left")
        status = DISK_FULL
    except BrokenPipeError:
        status = OUTPUT_GONE
    except SystemExit as end:  # which typer and rich make of a closed pipe, where help is printed
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        status = OUTPUT_GONE
    except OSError as error:
        if error.errno == errno.ENOSPC:
            complain("error", "cannot write the output: no space left")
        else:  # what nobody expected of this machine, such as a disk that fails
            failure = LocalFailure(f"{error.filename or 'this machine'}: {error.strerror or error}")
            failure.__cause__ = error
            report(failure)
        status = DISK_FULL
    if status in (OUTPUT_GONE, DISK_FULL):
        _silence(sys.stdout)
    try:
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads the complaints: the status says what there is to say
        _silence(sys.stderr)
    return status


def _complete(arguments: list[str]) -> int:
    """Answer a shell that asks what can be typed, or print or install its script."""
    from embtool.cli import shells  # noqa: PLC0415 - only where a shell asks
    from embtool.cli.typer_internals import shell_name  # noqa: PLC0415 - as above

    command = typer.main.get_command(app)
    if ASKED in os.environ:
        return shells.answer(command)
    shells.take_over()
    if ASKED not in os.environ and arguments[1:] and arguments[1] in shells.SHELLS and arguments[1] != shell_name():
        complain("error", f"this shell is {shell_name() or 'unknown'}: run it in {arguments[1]}")
        return USAGE
    if unknown := shells.unknown_shell():
        complain("error", f"completion is for {', '.join(shells.SHELLS)}, and this shell is {unknown}")
        return USAGE
    return _call(arguments, command)


def _call(arguments: list[str], command: Any = None) -> int:
    """Run the program and turn its errors into lines and statuses; with nothing to do, it says what it can."""
    if not arguments or ("-h" in arguments and _print_short_help(arguments)):
        return 0 if arguments else _offer_help([])
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    try:
        command = command or typer.main.get_command(app)
        result = command.main(arguments, prog_name="embtool", standalone_mode=False)
    except EmbtoolError as error:
        from embtool.cli.usage import glued_option, meant  # noqa: PLC0415 - only where something went wrong

        glued = glued_option(arguments, "m") if isinstance(error, SourceError) else None
        report(error, hint=glued or meant(arguments, error))
        return error.exit_status
    except typer.TyperException as error:
        return _refuse(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except MemoryError:
        complain("error", "out of memory")
        return DISK_FULL
    finally:
        if (reason := refusal()) is not None:
            note(f"the cache is not used: {reason}; EMBTOOL_CACHE names another folder")
    return result if isinstance(result, int) else 0


def _print_short_help(arguments: list[str]) -> bool:
    """Print the short help of the command that is named before `-h`; where there is none of it, return False."""
    from embtool.cli import help as texts  # noqa: PLC0415 - only where it is asked for

    words = [word for word in arguments[: arguments.index("-h")] if not word.startswith("-")]
    width = shutil.get_terminal_size().columns
    if not words:
        panels: dict[str, list[str]] = {}
        for name, (panel, _) in COMMANDS.items():
            panels.setdefault(panel, []).append(name)
        print(texts.short_root(panels, width))  # noqa: T201 - the answer
        return True
    name = " ".join(words[:2]) if " ".join(words[:2]) in texts.EXAMPLES else words[0]
    if not texts.EXAMPLES.get(name):
        return False
    command = _load(words[0])
    command = getattr(command, "commands", {}).get(name.partition(" ")[2], command)
    print(texts.short_help(command, name, width))  # noqa: T201 - the answer
    return True


def _refuse(error: typer.TyperException, arguments: list[str]) -> int:
    """Say what is wrong with the usage; of a group of commands without one of them, what there is."""
    from embtool.cli import usage  # noqa: PLC0415 - only where something went wrong

    if error.format_message() == "Missing command.":
        return _offer_help(arguments)
    found = usage.moved(arguments)
    if found is not None:
        complain("error", found[0])
        complain("hint", found[1])
        return USAGE
    complain("error", usage.sentence(error))
    complain("hint", usage.hint(error, arguments, arguments[0] if arguments[0] in COMMANDS else ""))
    return error.exit_code


NOBODY_READS = (OSError, SystemExit, _ReaderGone, _OutputFull)
"""What becomes of help whose reader is gone, by typer, rich and this module: a closed stderr hides no status."""


def _offer_help(arguments: list[str]) -> int:
    """Say on stderr what can be done, where nothing was asked."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(*NOBODY_READS):
        typer.main.get_command(app).main([*arguments, "--help"], prog_name="embtool", standalone_mode=False)
    return USAGE


def _prepare_process() -> None:
    """Print what a stream's encoding lacks as an escape, and end quietly when a terminal or a supervisor says so.

    Each matrix product is kept in one thread: a pass over a table has threads of its own, and on a busy machine those
    of a BLAS library wait for each other ten times as long as they compute. numpy reads this when it is imported.
    """
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    os.environ["RUST_BACKTRACE"] = "0"  # a panic of a library is an error of one line
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller; print(file=None) would write to the other one
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    with contextlib.suppress(ValueError):  # not in the main thread: a test, or someone's own program
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def _silence(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter's last flush does not complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
