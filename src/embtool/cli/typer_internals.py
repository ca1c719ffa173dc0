"""Everything of typer that its documentation does not promise, in one place.

Each function says why no public way serves; `tests/test_typer_internals.py` fails where a version of typer has moved
what is used here. No other module touches a private name of typer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import typer.core
from typer import _completion_shared
from typer._click import shell_completion
from typer._click.shell_completion import CompletionItem, ShellComplete

__all__ = [
    "ASKED",
    "CompletionItem",
    "ShellComplete",
    "bounds",
    "pass_texts",
    "rejected_value",
    "replace_shells",
    "resolve_completion",
    "shell_name",
    "show_argument_as",
    "takes_files",
    "value_type",
]

# --- parameters ---------------------------------------------------------------------------------------------------


def value_type(parameter: Any) -> Any:
    """Return the type that a parameter's value is turned into."""
    return parameter.type_descriptor.annotation


def bounds(parameter: Any) -> tuple[float | None, float | None]:
    """Return the least and the largest number that a parameter takes."""
    return parameter.min, parameter.max


def takes_files(parameter: Any) -> bool:
    """Return whether a parameter's value is a path or a file; what is no parameter takes none."""
    descriptor = getattr(parameter, "type_descriptor", None)
    return descriptor is not None and bool(descriptor.is_path or descriptor.is_file)


def rejected_value(error: typer.TyperException) -> str | None:
    """Return the text that was refused for its type, or None if the error is about something else."""
    details: Any = getattr(error.__cause__, "errors", None)
    return None if details is None else str(details()[0]["input"])


def show_argument_as(argument: Any, shown: str) -> None:
    """Write an argument so in the line of usage, and no type beside it: typer would write `[TOKEN...]` twice."""
    vars(argument)["get_usage_pieces"] = lambda _: [shown]
    vars(argument)["display_type_rich"] = lambda **_: ""


# --- starting quickly ---------------------------------------------------------------------------------------------

SEAM = "get_runtime_param"
"""The method that makes a parameter's check."""


def pass_texts() -> None:
    """Let texts and defaults pass without typer's check, for every parameter of this process.

    typer 0.29 checks every value of the command line with pydantic, even one that was not given, and loading pydantic
    takes as long as all of typer. A text that is wanted as a text needs no check, nor does a default; typer's own check
    is loaded for the rest: numbers, choices, paths. Where typer has no such method any more, nothing is done here, and
    commands only start more slowly.
    """
    parameter = getattr(typer.core, "_TyperParameter", None)
    check = getattr(parameter, SEAM, None)
    if check is not None and not isinstance(check, _Seam):
        setattr(parameter, SEAM, _Seam(check))


class _Seam:
    """The method itself, put in place of typer's."""

    def __init__(self, check: Callable[[Any], Any]) -> None:
        self._check = check

    def __get__(self, parameter: Any, owner: type | None = None) -> Any:
        if parameter is None:
            return self
        return lambda: _Direct(parameter, self._check)


NUMBERS = (int, float, tuple[int, int])
"""The types of values that are understood as they are printed: 1,000."""


class _Direct:
    """Stands where typer keeps a parameter's check, and asks the real one only about what needs it.

    Numbers are understood as they are printed.
    """

    def __init__(self, parameter: Any, check: Callable[[Any], Any]) -> None:
        self._parameter = parameter
        self._check = check

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as its parameter wants it."""
        several = self._parameter.multiple or self._parameter.nargs == -1
        wanted = value_type(self._parameter)
        if value is None:
            return () if several else None
        if isinstance(wanted, type) and type(value) is wanted:
            return value
        if several and wanted == list[str] and all(type(entry) is str for entry in value):
            return list(value)
        if wanted in NUMBERS:
            from embtool.answers.text import plain_number  # noqa: PLC0415 - numpy comes with it

            value = plain_number(value) if isinstance(value, str) else [*map(plain_number, value)]
        return self._check(self._parameter).coerce(value, param=param, ctx=ctx)


# --- completion ---------------------------------------------------------------------------------------------------

ASKED = "_EMBTOOL_COMPLETE"
"""The variable by which a shell asks for completions: typer makes it of the program's name."""


def replace_shells(shells: Mapping[str, type[ShellComplete]], scripts: Mapping[str, str]) -> None:
    """Put shells and their scripts in the place of all of typer's; to be called after typer has made its command.

    typer has no public way to bring a script, and its own leave the answers unquoted.
    """
    for mine, theirs in (
        (scripts, _completion_shared._completion_scripts),  # noqa: SLF001
        (shells, shell_completion._available_shells),  # noqa: SLF001
    ):
        theirs.clear()
        theirs.update(mine)  # type: ignore[arg-type] # two tables of different values


def resolve_completion(shell: ShellComplete, args: list[str], incomplete: str) -> tuple[Any, Any, str]:
    """Return the context of a command line, what of it is completed, and the part of the last word that is."""
    context = shell_completion._resolve_context(shell.cli, shell.ctx_args, shell.prog_name, args)  # noqa: SLF001
    asked, part = shell_completion._resolve_incomplete(context, args, incomplete)  # noqa: SLF001
    return context, asked, part


def shell_name() -> str | None:
    """Return the name of the shell that runs the program, or None if that cannot be found out."""
    return _completion_shared._get_shell_name()  # noqa: SLF001
