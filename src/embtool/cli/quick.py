"""Starting quickly: no value is checked by a library that takes longer to load than the answer takes.

typer 0.29 checks every value of the command line with pydantic, even one that was not given, and loading pydantic takes
as long as all of typer. A text that is wanted as a text needs no check, nor does a default; so these pass, and typer's
own check is loaded for the rest: numbers, choices, paths. Where typer has no such seam any more, nothing is done here,
and commands only start more slowly.
"""

from collections.abc import Callable
from typing import Any

import typer.core

SEAM = "get_runtime_param"
"""The method that makes a parameter's check."""


def pass_texts() -> None:
    """Let texts and defaults pass without typer's check, for every parameter of this process."""
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


class _Direct:
    """Stands where typer keeps a parameter's check, and asks the real one only about what needs it."""

    def __init__(self, parameter: Any, check: Callable[[Any], Any]) -> None:
        self._parameter = parameter
        self._check = check

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value as its parameter wants it."""
        several = self._parameter.multiple or self._parameter.nargs == -1
        wanted = self._parameter.type_descriptor.annotation
        if value is None:
            return () if several else None
        if isinstance(wanted, type) and type(value) is wanted:
            return value
        if several and wanted == list[str] and all(type(entry) is str for entry in value):
            return list(value)
        return self._check(self._parameter).coerce(value, param=param, ctx=ctx)
