"""`embtool check`: is the table healthy, and does it fit its tokenizer?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embtool.answers import Format
from embtool.cli import completion
from embtool.cli.messages import note
from embtool.cli.options import ModelName, ModelOptions, OutputOptions
from embtool.questions.check import ask_check, explain_rule, list_rules
from embtool.questions.check.rule import RULES, Severity
from embtool.questions.check.sarif import to_sarif
from embtool.storage.places import is_file
from embtool.storage.replacing import whole

FOUND = 1
"""The exit status when a rule found something at or above the level."""

Names = list[str] | None


@dataclass(frozen=True)
class RuleOptions:
    """Which rules are looked at, what they find is worth, or what they say of themselves."""

    select: Annotated[
        Names,
        typer.Option(
            metavar="RULE",
            autocompletion=completion.choices(*RULES),
            help="Look at these rules only; several with commas.",
        ),
    ] = None
    ignore: Annotated[
        Names,
        typer.Option(
            metavar="RULE",
            autocompletion=completion.choices(*RULES),
            help="Leave out these rules; several with commas.",
        ),
    ] = None
    level: Annotated[
        Severity, typer.Option(help="End with status 1 from this severity on: error, warning or info.")
    ] = Severity.WARNING
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="RULE", autocompletion=completion.choices(*RULES), help="Say what a rule holds and why it matters."
        ),
    ] = None
    listed: Annotated[bool, typer.Option("--rules", help="List every rule.")] = False

    @property
    def chosen(self) -> dict[str, list[str]]:
        """The rules selected and ignored, each by its name."""
        typed = {"select": self.select, "ignore": self.ignore}
        return {
            what: [part.strip() for name in names or [] for part in name.split(",") if part.strip()]
            for what, names in typed.items()
        }


def run(
    named: ModelName = None,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the tables too, not only headers and small files.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="The model it was made from: rows, ids and positions must be kept.",
        ),
    ] = None,
    draft_for: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Does it fit this model as its draft for speculative decoding? Looks at that alone.",
        ),
    ] = None,
    rules: RuleOptions,
    sarif: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the findings as SARIF 2.1.0 too, for code hosts; replaces the file."),
    ] = None,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Check that a model's table is healthy and fits its tokenizer and config, for people and for CI.

    Headers and small files are read; with --deep the tables too. The exit status is 1 if a rule found something at or
    above --level, 0 if not. `embtool check --rules` lists the rules, --explain tells of one why it matters.

    With --draft-for: does it fit another model as its draft, by the rules of llama.cpp, vLLM, SGLang and transformers,
    by the tokens that both have, or by an EAGLE head's map? Only the rules about that are looked at.
    """
    if rules.explain is not None:
        output.emit(explain_rule(rules.explain))
        return
    if rules.listed:
        output.emit(list_rules())
        return
    before = None if base is None else model.open_named(base)
    target = None if draft_for is None else model.open_named(draft_for)
    opened = model.open(named)
    report = ask_check(opened, base=before, draft_for=target, deep=deep, **rules.chosen)
    if report.draft is not None and output.format not in (Format.TABLE, Format.MARKDOWN, Format.JSON):
        for line in report.draft.lines:
            note(line)
    output.emit(report)
    if sarif is not None:
        place = Path(opened.name)
        folder = place.parent if is_file(place) else place
        is_here = opened.source.local and not place.is_absolute() and folder != Path()
        with whole(sarif) as file:  # with the folder from the working one; nothing for a model that is elsewhere
            file.write(to_sarif(report.findings, folder.as_posix() if is_here else "").encode())
    if report.at_least(rules.level):
        raise typer.Exit(FOUND)
