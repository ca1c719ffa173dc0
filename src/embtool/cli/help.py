"""What `--help` says beside the docstrings: examples, and the values of options in words a reader knows."""

from enum import Enum
from typing import Any

from embtool.cli.typer_internals import show_argument_as, value_type

HUB = "Hub"
"""The panel of the options that only matter for a repository; it comes last."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "info": ("embtool info mini",),
    "tokens": ("embtool tokens 'the pod restarts the node'",),
    "vocab": ("embtool vocab '^ straw'", "embtool vocab --counts"),
    "row": ("embtool row strawberry", "embtool row king queen --npy two.npy"),
    "neighbors": (
        "embtool neighbors strawberry -k 5",
        "embtool neighbors king queen -k 3 --center",
        "printf '%s\\n' king pod | embtool neighbors - -k 2 --tsv",
    ),
    "similarity": ("embtool similarity king queen", "embtool similarity breakfast lunch dinner kubernetes"),
    "calc": ("embtool calc king - man + woman -k 3", "embtool calc Paris - France + Italy -k 3"),
    "map": (
        "embtool map king queen apple cherry pod node",
        "embtool map king queen apple --neighbors 3 -o map.svg",
    ),
    "check": ("embtool check mini", "embtool check --explain tokens-beyond-table"),
    "diff": ("embtool diff mini mini", "embtool diff mini mini --exit-code"),
    "norms": ("embtool norms -k 1", "embtool norms --token king --token the"),
    "undertrained": ("embtool undertrained -k 5",),
    "export": (
        "embtool export mini --rows id:0..255 -o bytes.npy",
        "embtool export mini --rows id:0..255 -o bytes.csv",
    ),
    "rope": ("embtool rope --theta 10000 --dim 8", "embtool rope --theta 10000 --dim 8 --pos 100"),
    "input": ("embtool input 'the pod restarts' -m mini",),
    "learn": ("embtool learn",),
    "schema": ("embtool schema use",),
    "cache": (),
    "cache ls": ("embtool cache ls", "embtool cache ls org/name"),
    "cache rm": ("embtool cache rm org/name", "embtool cache rm --unfinished"),
    "cache path": ("embtool cache path", "du -sh $(embtool cache path)"),
    "cache verify": ("embtool cache verify",),
    "use": ("embtool use mini",),
}
"""Command lines that show each command on the bundled model; the pages print what they print."""

LONG_CHOICE = 26
"""Characters of a list of choices beyond which a narrow terminal breaks it, and it must not break inside a word."""


def tidy(command: Any, context: Any, name: str) -> None:
    """Make a command's help readable: flags without a type, values by a letter, examples, the hub's options last."""
    if EXAMPLES[name]:
        command.epilog = "\n\n".join(("Examples:", *EXAMPLES[name]))
    command.get_help_option(context).metavar = ""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            _tidy_argument(parameter)
        elif parameter.metavar is None:
            parameter.metavar = "" if parameter.is_flag else _value(parameter)
    command.params.sort(key=lambda parameter: getattr(parameter, "rich_help_panel", None) == HUB)
    for word, inner in getattr(command, "commands", {}).items():
        tidy(inner, context, f"{name} {word}")


def _tidy_argument(argument: Any) -> None:
    """Write `[TOKEN...]` once, and no type: what an argument is stands in its name."""
    shown = argument.metavar or argument.name.upper()
    usage = shown if argument.required or shown.startswith("[") else f"[{shown}]"
    show_argument_as(argument, usage)


def _value(option: Any) -> str:
    """Name the value of an option: its choices, N, X or TEXT."""
    kind = value_type(option)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
        return ("|" if len("|".join(choices)) <= LONG_CHOICE else " | ").join(choices)
    return "N" if kind is int else "X" if kind is float else "TEXT"
