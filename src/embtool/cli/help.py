"""What `--help` says beside the docstrings: examples, and the values of options in words a reader knows."""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, get_args

from embtool.cli.typer_internals import show_argument_as, value_type

HUB = "Hub"
"""The panel of the options that only matter for a repository; it comes last."""

SHARED = (HUB, "Output", "Tokens", "Model")
"""Panels of options that most commands have."""


class Example(NamedTuple):
    """A command line that shows a command at work, and what it is for."""

    why: str
    line: str


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "info": (
        Example("tables, tying, tokens, positions of the bundled model", "embtool info mini"),
        Example("the same for a program", "embtool info mini --json"),
        Example("what was read, by which formula, and what to ask next", "embtool info mini --explain"),
    ),
    "tokens": (
        Example("a text as the model sees it", "embtool tokens 'the pod restarts the node'"),
        Example("each line of a pipe is a text", "printf '%s\\n' one two | embtool tokens - --tsv"),
        Example("with what the tokenizer puts around a text", "embtool tokens 'the pod' --special --json"),
    ),
    "vocab": (
        Example("tokens that begin a word with straw", "embtool vocab '^ straw'"),
        Example("how many tokens of which kind", "embtool vocab --counts"),
        Example("the same word in other cases and with other spaces", "embtool vocab --variants king"),
    ),
    "row": (
        Example("the vector of a word, and how long it is among all", "embtool row strawberry"),
        Example("rows by their numbers, every digit", "embtool row id:0..3 --tsv"),
        Example("two rows for numpy", "embtool row king queen --npy two.npy"),
    ),
    "neighbors": (
        Example("the five rows nearest to a word", "embtool neighbors strawberry -k 5"),
        Example(
            "whole words only, no variants, without what all rows share",
            "embtool neighbors king queen -k 3 --words --distinct --center",
        ),
        Example("a query a line", "printf '%s\\n' king pod | embtool neighbors - -k 2 --tsv"),
    ),
    "similarity": (
        Example("how alike are two words?", "embtool similarity king queen"),
        Example("all pairs, and which belongs least", "embtool similarity breakfast lunch dinner kubernetes"),
        Example("the pairs for a program", "embtool similarity king queen man --csv"),
    ),
    "calc": (
        Example("the old question", "embtool calc king - man + woman -k 3"),
        Example("and its sister", "embtool calc Paris - France + Italy -k 3"),
        Example("rows at the lengths that they have", "embtool calc king - man + woman -k 3 --no-normalize"),
    ),
    "map": (
        Example("six words on a plane", "embtool map king queen apple cherry pod node"),
        Example("with their neighbours, as a picture", "embtool map king queen apple --neighbors 3 -o map.svg"),
        Example("the coordinates", "embtool map king queen apple --tsv"),
    ),
    "view": (
        Example("the bundled model as a page", "embtool view mini -o mini.html"),
        Example(
            "its map shows these words and their nearest", "embtool view mini --token king --token pod -o words.html"
        ),
        Example("a page of a small model is quick", "embtool view mini --tokens 200 -o small.html --force"),
    ),
    "check": (
        Example("headers and small files", "embtool check mini"),
        Example("the tables too", "embtool check mini --deep"),
        Example("what a rule holds, and why it matters", "embtool check --explain tokens-beyond-table"),
    ),
    "diff": (
        Example("a model to try it on: mini after a careless fine-tuning", "embtool learn --stand-ins tuned"),
        Example("what that did to which rows", "embtool diff mini tuned"),
        Example("is it good enough as a copy?", "embtool diff mini tuned -k 3 --neighbors 10 --max-error 0.05"),
    ),
    "norms": (
        Example("how long the rows are, and what they have in common", "embtool norms -k 1"),
        Example("where two words stand among all", "embtool norms --token king --token the"),
        Example("every row's norm", "embtool norms mini --list --csv"),
    ),
    "undertrained": (
        Example("candidates for glitch tokens", "embtool undertrained -k 5"),
        Example("single bytes, unused names and special tokens too", "embtool undertrained -k 5 --all"),
        Example("told by another measure", "embtool undertrained -k 5 --indicator distance"),
    ),
    "export": (
        Example(
            "rows for numpy, with a file of names beside them", "embtool export mini --rows id:0..255 -o bytes.npy"
        ),
        Example(
            "a table for a spreadsheet, or duckdb: FROM 'bytes.csv'",
            "embtool export mini --rows id:0..255 -o bytes.csv",
        ),
        Example("for gensim: KeyedVectors.load_word2vec_format", "embtool export mini --rows id:256..511 -o words.txt"),
    ),
    "rope": (
        Example("how fast each pair of channels turns", "embtool rope --theta 10000 --dim 8"),
        Example("how far each has turned at a position", "embtool rope --theta 10000 --dim 8 --pos 100"),
        Example("that only the distance counts", "embtool rope mini --relative 7 3"),
    ),
    "rope compare": (
        Example(
            "settings side by side; embtool learn --stand-ins tuned makes the second", "embtool rope compare mini tuned"
        ),
        Example("one model, as it is and stretched", "embtool rope compare mini --scaling yarn:4"),
        Example("the same for a program", "embtool rope compare mini tuned --json"),
    ),
    "input": (
        Example("what the first block reads", "embtool input 'the pod restarts' -m mini"),
        Example("does another order give other rows?", "embtool input 'the pod restarts' --against 'restarts the pod'"),
        Example("the rows for numpy", "embtool input 'the pod restarts' --npy input.npy"),
    ),
    "learn": (
        Example("the eight steps, and which are done", "embtool learn"),
        Example("the first of them", "embtool learn 1"),
        Example("the fifth, on a model that is named", "embtool learn 5 qwen3.6-settings"),
    ),
    "schema": (
        Example("every document there is", "embtool schema"),
        Example("the JSON Schema of one", "embtool schema use"),
        Example("of one command's records", "embtool schema neighbors"),
    ),
    "cache": (
        Example("what is kept, and how large it is", "embtool cache ls"),
        Example("forget a repository", "embtool cache rm org/name"),
        Example("where it is", "embtool cache path"),
    ),
    "cache ls": (
        Example("what is kept, and how large it is", "embtool cache ls"),
        Example("of one repository", "embtool cache ls org/name"),
    ),
    "cache rm": (
        Example("forget a repository", "embtool cache rm org/name"),
        Example("what was begun and never finished", "embtool cache rm --unfinished"),
    ),
    "cache path": (
        Example("where it is", "embtool cache path"),
        Example("how large that is", "du -sh $(embtool cache path)"),
    ),
    "cache verify": (Example("is all of it what was written?", "embtool cache verify"),),
    "use": (
        Example("ask this model from now on", "embtool use mini"),
        Example("which one is asked?", "embtool use"),
        Example("forget the choice", "embtool use --clear"),
    ),
}
"""Command lines that show each command on the bundled model; the pages print what they print."""

FIRST = (
    Example("the nearest rows to a word", "embtool neighbors strawberry"),
    Example("the same on a model of yours", "embtool neighbors strawberry -m FOLDER"),
    Example("what a model's tables are, from its headers", "embtool info FOLDER"),
)


class Form(NamedTuple):
    """A way to call a command that is told by itself: its usage, what it answers, and the options that bear on it."""

    usage: str
    summary: str
    options: tuple[str, ...]


FORMS = {
    "rope compare": Form(
        "A B",
        "Set the rotary positions of two models side by side: each setting, and where their frequencies part.",
        ("scaling", "theta", "partial", "length", "precision"),
    )
}
"""Those that are no command of their own, by their names."""

SHORT_LINES = 23
"""Lines of the short help: a small terminal shows them and the prompt below."""

LONG_CHOICE = 26
"""Characters of a list of choices beyond which a narrow terminal breaks it, and it must not break inside a word."""


def tidy(command: Any, context: Any, name: str) -> None:
    """Make a command's help readable: flags without a type, values by a letter, examples, the hub's options last."""
    if not sys.stdout.isatty():
        command.rich_markup_mode = None  # lines without boxes, for a pager, a file or a search
    if EXAMPLES[name]:
        command.epilog = "\n\n".join(("Examples:", *(example.line for example in EXAMPLES[name])))
    command.get_help_option(context).metavar = ""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            usage = shown if parameter.required or shown.startswith("[") else f"[{shown}]"
            show_argument_as(parameter, usage)
        elif parameter.metavar is None:
            parameter.metavar = "" if parameter.is_flag else _value(parameter)
    command.params.sort(key=lambda parameter: getattr(parameter, "rich_help_panel", None) == HUB)
    for word, inner in getattr(command, "commands", {}).items():
        tidy(inner, context, f"{name} {word}")


def _value(option: Any) -> str:
    """Name the value of an option: its choices, N, X or TEXT."""
    kind = value_type(option)
    kind = next(iter(get_args(kind)), kind)  # of a list, its elements
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [choice.value for choice in kind]
        return ("|" if len("|".join(choices)) <= LONG_CHOICE else " | ").join(choices)
    return "N" if kind is int else "X" if kind is float else "TEXT"


def short_help(command: Any, name: str, width: int) -> str:
    """Write the short help of a command: examples, what it answers, and its own options as far as lines allow."""
    form = FORMS.get(name)
    commands = getattr(command, "commands", {})
    arguments = [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    arguments = [form.usage] if form is not None else ["COMMAND"] if commands else arguments
    usage = " ".join(["Usage:", "embtool", *name.split(), *arguments])
    lines = [line for example in EXAMPLES.get(name, ()) for line in (f"# {example.why}", example.line)]
    told = (command.help or "").split("\n\n", 1)[0] if form is None else form.summary
    summary = textwrap.wrap(told, width)
    shown = []
    for each in command.params:
        is_shared = each.name == "help" or getattr(each, "rich_help_panel", None) in SHARED
        if each.param_type_name == "argument" or is_shared or (form is not None and each.name not in form.options):
            continue
        taken = "" if each.is_flag else f" {each.metavar or _value(each)}"
        shown.append((min(each.opts, key=len) + (taken if len(taken) < LONG_CHOICE else ""), each.help or ""))
    shown += [(word, (inner.help or "").split("\n\n", 1)[0]) for word, inner in commands.items()]
    room = SHORT_LINES - len(lines) - len(summary) - len(("", "", "", "usage", "last"))
    last = f"embtool {name if form is None else name.split(maxsplit=1)[0]} --help tells everything"
    if len(shown) > room:
        last, shown = f"{last}; not here: {' '.join(option.split()[0] for option, _ in shown[room:])}", shown[:room]
    indent = max((len(option) for option, _ in shown), default=0) + 2
    listed = [_clipped(f"{option:<{indent}}{text}", width) for option, text in shown]
    parts = [*(_clipped(line, width) for line in lines), "", *summary, "", usage, *listed, "", _clipped(last, width)]
    return "\n".join(parts)


def _clipped(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def short_root(panels: Mapping[str, Sequence[str]], width: int) -> str:
    """Write the short help of the program: examples, and the commands by what they are for."""
    lines = [line for example in FIRST for line in (f"# {example.why}", example.line)]
    indent = max(map(len, panels)) + 2
    named = [f"{panel:<{indent}}{' '.join(names)}" for panel, names in panels.items()]
    last = ["embtool COMMAND -h is short, embtool COMMAND --help whole; embtool --help says what each answers"]
    return "\n".join([*lines, "", "Usage: embtool COMMAND ...", "", *named, "", *textwrap.wrap(last[0], width)])
