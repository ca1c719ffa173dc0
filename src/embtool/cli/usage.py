"""Wrong usage in plain words: one line that names the option, the wish and the value, and a hint that helps."""

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from enum import Enum
from pathlib import Path

import typer

from embtool.answers.text import shell
from embtool.cli import COMMANDS
from embtool.cli.typer_internals import bounds, rejected_value, value_type
from embtool.errors import AccessDenied, EmbtoolError, ModelNotFound, UnknownToken, Unreachable
from embtool.model import open_model
from embtool.references import is_model
from embtool.settings import BUNDLED_MODELS, choose_model
from embtool.storage.places import is_file

MODEL_FIRST = ("info", "check", "diff", "export", "norms", "undertrained", "rope", "learn", "view", "use")
"""Commands that are about models: they take them as arguments, and tokens with --token."""

WITH_TOKEN = ("norms", "rope")
"""Those of them that take a token."""


HABITS = {
    "-n": "-k",
    "--topn": "-k",
    "--limit": "-k",
    "-V": "embtool --version",
    "-v": "embtool --version",
    "-w": "--words",
}
HABITS |= {
    "-w": "--words",
    "version": "embtool --version",
    "show": "info",
    "ls": "cache ls",
    "list": "vocab",
    "encode": "tokens",
}
HABITS |= dict.fromkeys(("nn", "knn", "most_similar", "most-similar"), "neighbors")
"""What users of other tools type, and what it is here."""

CHOICE_REFUSED = re.compile(
    r"Invalid value for '(?:-\w' / ')?(--\S+)': Value error, (.*) is not one of (.*)", re.DOTALL
)

NEAR = 0.6
"""How alike two names must be (difflib's ratio) for one to be offered for the other."""

PAGES = (".html", ".htm")

KEPT = ("-m", "--model", "-o", "--output", "--revision")
VALUED = (*KEPT, "--neighbors", "--metric", "--basis", "--table", "--pool", "-f", "--format", "--tokenizer")
"""Options of `map` that `view` has too, and those that have a value."""

LEAST_TOKENS = {"similarity": 2, "map": 2, "calc": 1 << 10}
"""Tokens that must be left for a command line to be worth showing; that of `calc` lacks a term without the model."""

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
    if name == "map" and any(word.lower().endswith(PAGES) for word in rest):
        return "a page that zooms is `view` now", shell(["view", *_of_page(rest)])
    return None


def _of_page(words: Sequence[str]) -> Iterator[str]:
    """Yield the arguments of `view` for those of `map -o x.html`: its model, its tokens, and the page."""
    waiting = list(words)
    while waiting:
        option, _, value = waiting.pop(0).partition("=")
        if not option.startswith("-") or option == "-":
            yield from ("--token", option)
            continue
        if option in VALUED and not value:
            value = waiting.pop(0) if waiting else ""
        if option in KEPT:
            yield from (option, value)


def sentence(error: typer.TyperException) -> str:
    """Write a usage error as one lower-case line without a full stop."""
    text = _wish(error) or error.format_message().removeprefix("Invalid value: ")
    several = CHOICE_REFUSED.fullmatch(text)
    if several is not None:
        *others, last = several[3].replace("'", "").rstrip(".").split(", ")
        text = f"{several[1]} is {', '.join(others)} or {last}, not {several[2]}"
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
    if option == "--token":
        token = "it takes none" if command in MODEL_FIRST else f"an argument: embtool {command} TOKEN"
        return f"the hub's credential is --hub-token; a token of the vocabulary is {token}"
    if "one model" in error.message:
        return f"embtool {command} MODEL"
    full = f"embtool {command} --help" if command else "embtool --help"
    if not command and option in ("-m", "--model", "--json", "-f", "--format", "-k", "-q"):
        named = next((word for word in arguments if word in COMMANDS), "COMMAND")
        return f"options stand after the command: embtool {named} {option} ..."
    if command == "export" and "'-o'" in error.format_message() and len(arguments) > len(("export", "MODEL")):
        return f"did you mean -o {arguments[-1]}?"
    if command:
        near = max(getattr(error, "possibilities", None) or [""], key=lambda name: _likeness(option, name))
        near = HABITS.get(option) or (near if _likeness(option, near) >= NEAR else "")
    else:
        near = HABITS.get(arguments[0], "")
        begun = [name for name in COMMANDS if name.startswith(arguments[0])]
        near = near or next(iter([*begun, *get_close_matches(arguments[0], COMMANDS, 1, NEAR)]), "")
    return f"did you mean {near}? {full} lists all" if near else full


def meant(arguments: Sequence[str], error: EmbtoolError) -> str | None:
    """Recognise a model typed where a token stands, or a token where a model stands: return the command line meant."""
    command, *words = arguments
    typed = [word for word in words if not word.startswith("-")]
    if isinstance(error, UnknownToken) and command not in MODEL_FIRST and not {"-m", "--model"}.intersection(words):
        unknown = [word for word in typed if repr(word) in error.message]
        model = next((word for word in unknown if word in BUNDLED_MODELS or is_model(Path(word))), None)
        if model is not None:
            rest = list(words)
            rest.remove(model)
            kept = sum(word != model for word in typed)
            line = shell([command, *rest, "-m", model]) if kept >= LEAST_TOKENS.get(command, 1) else ""
            return f"a model is named with -m: {line or f'embtool {command} TOKEN... -m {shlex.quote(model)}'}"
        glued = next((word for word in unknown if command == "calc" and re.search(r"\w[+-]\w", word)), None)
        if glued is not None:
            apart = re.sub(r"(?<=\w)([+-])(?=\w)", r" \1 ", glued)
            return f"put spaces around + and -: {shell([command, apart])}"
        file = next((word.removeprefix("@") for word in unknown if is_file(Path(word.removeprefix("@")))), None)
        if file is not None:
            return f"a file of tokens, one a line, is read from stdin: {shell([command, '-'])} < {shlex.quote(file)}"
    asked = next((word for word in typed if re.search(rf"(?<!\w){re.escape(word)}$", error.message)), None)
    if isinstance(error, ModelNotFound | Unreachable | AccessDenied) and command in MODEL_FIRST and asked is not None:
        with contextlib.suppress(EmbtoolError):
            open_model(choose_model()[0], offline=True).vocabulary.find(asked)
            if command in WITH_TOKEN and "compare" not in typed:
                words[words.index(asked) : words.index(asked) + 1] = ["--token", asked]
                return f"a token is named with --token: {shell([command, *words])}"
            return f"{command} takes a model; the row of a token: {shell(['row', asked])}"
    return None


def glued_option(arguments: Sequence[str], letter: str) -> str | None:
    """Recognise `king -man`: it was read as the option `-m` with the value `an`."""
    for argument in arguments:
        if re.fullmatch(rf"-{letter}[^\W\d_]+", argument):
            token = argument[1:]
            return f"{argument} was read as the option -{letter}; to subtract a token write calc … - {token}"
    return None


def _likeness(typed: str, name: str) -> float:
    """Tell how near a name is to what was typed: two letters swapped are nearest."""
    typed, name = typed.strip("-"), name.strip("-")
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
