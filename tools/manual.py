"""Write the man pages, man/embtool.1 and one for each command, from the program: `make man`.

They are committed and are in the wheel, under share/man/man1, so that `man embtool` answers after an install; a test
holds them against the program. The language is man(7): https://man7.org/linux/man-pages/man7/man.7.html.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from reference import (
    MODEL_FORMS,
    OWN_STATUSES,
    STATUSES,
    TOKEN_FORMS,
    VARIABLES,
    Command,
    Parameter,
    described,
    program,
)

import embtool
from embtool.cli.help import EXAMPLES

MAN = Path(__file__).parent.parent / "man"

Definition = tuple[str, str]
"""A term, already in man(7), and a plain text that says what it is."""

HELP = Parameter(("-h", "--help"), "", "Show what can be asked, and exit.")


def pages() -> dict[str, str]:
    """Write every page: the name of its file, and its text."""
    top = program()
    found = {"embtool.1": _top(top)}
    for command in top.commands:
        found[f"embtool-{command.name}.1"] = _page(command)
    return found


def _top(top: Command) -> str:
    """Write the page of the program."""
    panels: dict[str, list[Command]] = {}
    for command in top.commands:
        panels.setdefault(command.panel, []).append(command)
    lines = [
        *_title("embtool", top.summary),
        *_section("SYNOPSIS", [f"{bold('embtool')} {italic('COMMAND')} [{italic('OPTIONS')}] [{italic('ARGUMENTS')}]"]),
        *_section("DESCRIPTION", _paragraphs(top.about[1:])),
    ]
    lines += _section(
        "COMMANDS",
        [
            line
            for panel, commands in panels.items()
            for line in (
                f".SS {panel}",
                *_definitions((bold(f"embtool-{one.name}") + "(1)", one.summary) for one in commands),
            )
        ],
    )
    lines += _section("OPTIONS", _options((*top.options, HELP)))
    lines += _section("NAMING A MODEL", _definitions((bold(form), meaning) for form, meaning in MODEL_FORMS))
    lines += _section("NAMING A TOKEN", _definitions((bold(form), meaning) for form, meaning in TOKEN_FORMS))
    lines += _section("ENVIRONMENT", _definitions((bold(one.name), one.meaning) for one in VARIABLES))
    lines += _section("EXIT STATUS", _definitions((bold(str(status)), when) for status, when in STATUSES.items()))
    lines += _section("EXAMPLES", _examples(EXAMPLES["info"] + EXAMPLES["neighbors"]))
    return _whole(lines)


def _page(command: Command) -> str:
    """Write the page of one command."""
    lines = [
        *_title(f"embtool-{command.name}", command.summary),
        *_section(
            "SYNOPSIS", [line for one in command.walk() if not one.commands for line in (_usage(one), ".br")][:-1]
        ),
        *_section("DESCRIPTION", _paragraphs(command.about)),
    ]
    shared = [option for option in (command.commands or [command])[-1].options if _is_shared(option, command)]
    for one in command.commands:
        own = [option for option in one.options if option not in shared]
        arguments = _definitions((_argument(argument), argument.about) for argument in one.arguments)
        lines += _section(f"embtool {one.name}", [*_paragraphs(one.about), *arguments, *_options(own)])
    if command.arguments:
        lines += _section("ARGUMENTS", _definitions((_argument(one), one.about) for one in command.arguments))
    lines += _section("OPTIONS", _panels(shared))
    told = [
        line
        for one in command.walk()
        if one.name in OWN_STATUSES
        for line in _text(f"{'' if one is command else f'`{one.name}`: '}{OWN_STATUSES[one.name]}.")
    ]
    lines += _section("EXIT STATUS", [*told, f"All statuses are listed in {bold('embtool')}(1)."])
    examples = [example for one in command.walk() for example in EXAMPLES[one.name]]
    lines += _section("EXAMPLES", _examples(examples)) if examples else []
    lines += _section("SEE ALSO", [f"{bold('embtool')}(1)"])
    return _whole(lines)


def _is_shared(option: Parameter, command: Command) -> bool:
    """Tell whether a command has an option itself, or every command inside it has it."""
    return all(option in one.options for one in command.commands or [command])


def _panels(options: Sequence[Parameter]) -> Iterator[str]:
    """Write options, each panel but the first under a heading."""
    panels: dict[str, list[Parameter]] = {"": []}
    for option in options:
        panels.setdefault(option.panel, []).append(option)
    for panel, within in panels.items():
        if panel:
            yield f".SS {panel}"
        yield from _options(within if panel else [*within, HELP])


def _options(options: Iterable[Parameter]) -> Iterator[str]:
    """Write options."""
    return _definitions(
        (", ".join(map(bold, one.names)) + (f" {italic(one.value)}" if one.value else ""), described(one))
        for one in options
    )


def _argument(argument: Parameter) -> str:
    return italic(argument.names[0])


def _usage(command: Command) -> str:
    """Write how a command is written."""
    words = command.usage.split(" ")
    fixed = 1 + len(command.name.split())
    return " ".join([bold(" ".join(words[:fixed])), *map(italic, words[fixed:])])


def _title(name: str, summary: str) -> list[str]:
    """Write the head of a page; its date stays empty, so that a page changes only with the program."""
    version = f"embtool {embtool.__version__}"
    named = summary[:1].lower() + summary[1:].rstrip(".")
    return [
        f'.TH {escape(name.upper())} 1 "" "{version}" "User Commands"',
        ".nh",
        ".ad l",
        *_section("NAME", [f"{escape(name)} \\- {escape(named)}"]),
    ]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f".SH {escape(title)}", *lines]


def _paragraphs(texts: Sequence[str]) -> Iterator[str]:
    for place, text in enumerate(texts):
        if place:
            yield ".PP"
        yield from _text(text)


def _definitions(entries: Iterable[Definition]) -> Iterator[str]:
    """Write terms, each with what it means below it."""
    for term, meaning in entries:
        yield from (".TP", term, *_text(meaning))


def _examples(examples: Iterable[str]) -> Iterator[str]:
    """Write command lines, to be copied as they are."""
    for example in examples:
        yield from (".PP", ".EX", *(f"  {escape(line)}" for line in f"$ {example}".splitlines()), ".EE")


def _text(text: str) -> Iterator[str]:
    """Write a plain text, a sentence a line; what stands between backticks is bold."""
    for sentence in re.split(r"(?<=[.:;?]) (?=[A-Z`])", text):
        parts = re.split(r"`([^`]*)`", sentence)
        yield "".join(bold(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def bold(text: str) -> str:
    """Write bold text."""
    return f"\\fB{_inside(text)}\\fP"


def italic(text: str) -> str:
    """Write text to be replaced, which man shows underlined."""
    return f"\\fI{_inside(text)}\\fP"


def escape(text: str) -> str:
    """Write a plain text at the beginning of a line."""
    written = _inside(text)
    return rf"\&{written}" if written.startswith((".", "'", r"\(aq")) else written


def _inside(text: str) -> str:
    """Write a plain text: a hyphen is a minus, which can be searched and copied, and no sign means something else."""
    signs = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
    return "".join(signs.get(sign, sign) for sign in text)


def _whole(lines: Iterable[str]) -> str:
    about = r".\" Written from the program by tools/manual.py: change it there, and run make man."
    return "\n".join([about, *lines]) + "\n"


def write() -> None:
    """Write the folder of pages anew."""
    MAN.mkdir(exist_ok=True)
    for old in MAN.glob("*.1"):
        old.unlink()
    for name, text in pages().items():
        (MAN / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write()
