"""`embtool check`: is the table healthy, and does it fit its tokenizer?"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from embtool.check import RULES, Report, Rule, Severity, Subject, Surveys, check_model
from embtool.checkpoint import Checkpoint
from embtool.cli import completion
from embtool.cli.messages import note, warn
from embtool.cli.options import OutputOptions, SourceOptions
from embtool.cli.watching import watched
from embtool.errors import EmbtoolError, FileNotInModel, TableNotFound, UnsupportedFormat
from embtool.model import Model
from embtool.output import Card, Column, Group, Listing, Section
from embtool.table import Tables

FOUND = 1
"""The exit status when a rule found something at or above the level."""

COLUMNS = (
    Column("severity", style="bold"),
    Column("rule", style="cyan"),
    Column("message", machine=True, terminal=False),
    Column("ids", terminal=False),
)

RULE_COLUMNS = (
    Column("rule", style="bold"),
    Column("severity"),
    Column("deep", show=lambda deep: "deep" if deep else ""),
    Column("summary"),
    Column("why", terminal=False),
)

LACKING = {
    "surveys": "only with --deep",
    "base": "only with --base",
    "vocabulary": "the model has no tokenizer",
    "config": "the model has no config.json",
    "positions": "the position settings cannot be read",
}
"""Why a rule was not looked at, by what it needs; everything else is a part of the weights."""

Names = list[str] | None


def run(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", autocompletion=completion.models, help="A folder, a file or a repository."),
    ] = None,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the tables too, not only headers and small files.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="The model it was made from: rows and ids must be kept.",
        ),
    ] = None,
    select: Annotated[
        Names,
        typer.Option(
            metavar="RULE",
            autocompletion=completion.choices(*RULES),
            help="Look at these rules only; several with commas.",
        ),
    ] = None,
    ignore: Annotated[
        Names,
        typer.Option(
            metavar="RULE",
            autocompletion=completion.choices(*RULES),
            help="Leave out these rules; several with commas.",
        ),
    ] = None,
    level: Annotated[
        Severity, typer.Option(help="End with status 1 from this severity on: error, warning or info.")
    ] = Severity.WARNING,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="RULE", autocompletion=completion.choices(*RULES), help="Say what a rule holds and why it matters."
        ),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List every rule.")] = False,
    source: SourceOptions,
    output: OutputOptions,
) -> None:
    """Check that a model's table is healthy and fits its tokenizer and config, for people and for CI.

    Headers and small files are read; with --deep the tables too. The exit status is 1 if a rule found something at or
    above --level, 0 if not. `embtool check --rules` lists the rules, --explain tells of one why it matters.
    """
    if explain is not None:
        output.emit(_explanation(_known(explain)))
        return
    if rules:
        records = [_rule_record(each) for each in RULES.values()]
        output.emit(Listing("check", RULE_COLUMNS, [Group(records)], "rules"))
        return
    if model is None:
        raise typer.BadParameter("name a MODEL, such as: embtool check ./my-finetune")
    chosen = _chosen(select, ignore)
    opened = source.open_named(model)
    before = None if base is None else subject_of(source.open_named(base))
    subject = subject_of(opened, base=before, deep=deep)
    report = check_model(subject, chosen)
    if select:
        for name in report.skipped:
            why = dict.fromkeys(LACKING.get(need, "the weights are not there") for need in RULES[name].lacking(subject))
            warn(f"{name} was not looked at: {', '.join(why)}")
    output.emit(_listing(subject, report, deep=deep))
    if report.at_least(level):
        raise typer.Exit(FOUND)


def subject_of(model: Model, *, base: Subject | None = None, deep: bool = False) -> Subject:
    """Open a model as far as it can be opened.

    Raises:
        FileNotInModel: it has neither a config nor weights nor a tokenizer.
        UnsupportedFormat: its weights are in a format that embtool does not read.
    """
    broken: list[EmbtoolError] = []
    checkpoint: Checkpoint | None = None
    tables: Tables | None = None
    try:
        checkpoint = model.checkpoint
        tables = model.tables
    except UnsupportedFormat:
        raise
    except TableNotFound as error:
        note(error.message)
    except EmbtoolError as error:
        if error.exit_status not in (FileNotInModel.exit_status, EmbtoolError.exit_status):
            raise  # the network, or this machine: nothing is known of the model
        broken.append(error)
    config, vocabulary = model.config, model.vocabulary_if_any
    if config is None and vocabulary is None and checkpoint is None and not broken:
        raise FileNotInModel(f"{model.name} has no config.json, no weights and no tokenizer: it is not a model")
    return Subject(
        name=model.name,
        source=model.source,
        config=config,
        vocabulary=vocabulary,
        checkpoint=checkpoint,
        tables=tables,
        broken=tuple(broken),
        base=base,
        surveys=Surveys(watched) if deep else None,
    )


def _known(name: str) -> Rule:
    if name not in RULES:
        raise typer.BadParameter(f"no rule {name!r}: embtool check --rules lists them")
    return RULES[name]


def _chosen(select: Names, ignore: Names) -> list[Rule]:
    """Choose the rules to look at."""
    wanted = {_known(name).name for name in _split(select)} or set(RULES)
    unwanted = {_known(name).name for name in _split(ignore)}
    return [each for each in RULES.values() if each.name in wanted - unwanted]


def _split(names: Names) -> list[str]:
    return [part.strip() for name in names or [] for part in name.split(",") if part.strip()]


def _rule_record(each: Rule) -> dict[str, Any]:
    return {
        "rule": each.name,
        "severity": each.severity.value,
        "deep": each.deep,
        "summary": each.summary,
        "why": each.why,
    }


def _explanation(each: Rule) -> Card:
    """Tell of a rule what it holds and why."""
    looked = "only with --deep" if each.deep else "always"
    lines = [("holds", each.summary), ("severity", each.severity.value), ("looked at", looked), ("why", each.why)]
    return Card("check", each.name, {"rules": [_rule_record(each)]}, [Section("rule", lines)], _rule_record(each))


def _listing(subject: Subject, report: Report, *, deep: bool) -> Listing:
    """Describe a report: a table of findings, each with its message below on a terminal."""
    records = [
        {
            "rule": found.rule,
            "severity": found.severity.value,
            "message": found.message,
            "ids": list(found.ids),
        }
        for found in report.findings
    ]
    context = {"model": subject.name}
    document = {
        **context,
        "deep": deep,
        "findings": records,
        "looked": list(report.looked),
        "skipped": list(report.skipped),
    }
    lines = [_line(record) for record in records]
    return Listing(
        "check",
        COLUMNS,
        [Group(records)],
        "findings",
        line=context,
        document=lambda: document,
        terminal=Listing("check", (), [Group([], after=[*lines, _summary(subject, report, deep=deep)])], "findings"),
    )


def _line(record: dict[str, Any]) -> str:
    return f"{record['severity']:7}  {record['rule']}: {record['message']}"


def _summary(subject: Subject, report: Report, *, deep: bool) -> str:
    """Say how many findings there are, and how many rules were looked at."""
    counts = [
        _counted(len([found for found in report.findings if found.severity is severity]), severity)
        for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)
    ]
    nothing = "nothing found" if report.looked else "nothing looked at"
    found = ", ".join(counts) if report.findings else nothing
    unread = "" if deep else "; --deep reads the tables too"
    return f"{subject.name}: {found}; {len(report.looked)} rules looked at, {_skipped(report.skipped)}{unread}"


def _counted(number: int, severity: Severity) -> str:
    plural = "" if number == 1 or severity is Severity.INFO else "s"
    return f"{number} {severity.value}{plural}"


def _skipped(names: Sequence[str]) -> str:
    return f"{len(names)} skipped"
