"""Wrong usage in plain words: one line that names the option, the wish and the value, and a hint that helps."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from enum import Enum
from itertools import pairwise

import typer

from embtool.answers.text import shell
from embtool.cli.typer_internals import bounds, rejected_value, value_type

MODEL_FIRST = ("info", "check", "diff", "export", "use")
"""Commands that are about models: they take them as arguments."""


MOVED = {"odd": "similarity", "analogy": "calc --questions"}
"""Commands of 0.1.0 that are another one's now."""


def moved(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Recognise a command or an option of 0.1.0: return what is wrong and the command line to type, or None."""
    name, *rest = arguments
    if name in MOVED:
        kept = [word for word in rest if word not in ("--spaced", "--answers")]
        line = shell([*MOVED[name].split(), *kept, *(["--each"] if "--answers" in rest else [])])
        return f"`{name}` is `{MOVED[name]}` now", line
    signs = {"--plus": "+", "--minus": "-"}
    if name == "neighbors" and not signs.keys().isdisjoint(word.split("=")[0] for word in rest):
        terms: list[str] = []
        for word in rest:
            option, _, glued = word.partition("=")
            terms += [signs[option], *([glued] if glued else [])] if option in signs else [word]
        return "an expression is `calc` now", shell(["calc", *(terms[1:] if terms[0] == "+" else terms)])
    return None


def sentence(error: typer.TyperException) -> str:
    """Write a usage error as one lower-case line without a full stop."""
    text = _wish(error) or error.format_message().removeprefix("Invalid value: ")
    if getattr(error, "possibilities", None):
        text = error.message
    text = " ".join(text.split()).rstrip(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def hint(error: typer.TyperException, arguments: Sequence[str], command: str) -> str:
    """Say what to do instead."""
    option = str(getattr(error, "option_name", ""))
    glued = re.search(r"(?:no such option: |'?)-([a-z])\b", sentence(error))
    subtracted = None if glued is None else glued_option(arguments, glued[1])
    if subtracted is not None:
        return subtracted
    if command in MODEL_FIRST and option in ("-m", "--model"):
        named = [after for word, after in pairwise(arguments) if word == option]
        models = "MODEL MODEL" if command == "diff" else named[0] if named else "MODEL"
        return f"{command} takes the model as its argument: embtool {command} {models}"
    if "no TOKEN given" in error.message and any(word.split("=")[0] == "--token" for word in arguments):
        return f"--token is a credential of the hub; a token of the vocabulary is an argument: embtool {command} TOKEN"
    full = f"embtool {command} --help" if command else "embtool --help"
    near = sorted(getattr(error, "possibilities", None) or (), key=lambda name: -_likeness(option, name))
    return f"did you mean {near[0]}? {full} lists all options" if near else full


def glued_option(arguments: Sequence[str], letter: str) -> str | None:
    """Recognise `king -man`: it was read as the option `-m` with the value `an`."""
    for argument in arguments:
        if re.fullmatch(rf"-{letter}[^\W\d_]+", argument):
            token = argument[1:]
            return f"{argument} was read as the option -{letter}; to subtract a token write calc … - {token}"
    return None


def _likeness(typed: str, name: str) -> float:
    """Tell how near a name is to what was typed: two letters swapped are nearest."""
    same_letters = 1.0 if sorted(typed) == sorted(name) else 0.0
    return same_letters + SequenceMatcher(None, typed, name).ratio()


def _wish(error: typer.TyperException) -> str | None:
    """Say what an option is, and what it is not, where its value was refused for its type."""
    refused, parameter = rejected_value(error), getattr(error, "param", None)
    if refused is None or parameter is None:
        return None
    name = "/".join(sorted(parameter.opts, key=lambda option: option.startswith("--")))
    kind, (least, most) = value_type(parameter), bounds(parameter)
    if isinstance(kind, type) and issubclass(kind, Enum):
        *others, last = [choice.value for choice in kind]
        wish = f"{', '.join(others)} or {last}"
    elif kind in (int, float):
        wish = "a whole number" if kind is int else "a number"
        wish += f" from {least}" if least is not None else ""
        wish += f" to {most}" if most is not None else ""
    else:
        return None
    return f"{name} is {wish}, not {refused!r}"
