"""Is the table healthy, and does it fit its tokenizer and its config? A linter for embedding tables.

Floors, from the bottom: `small_files`, `shapes`, `surveys` and `heads` (what the parts of a model say), `llama_cpp` (a
vocabulary as llama.cpp has it), `subject` (a model as far as it could be opened), `rule` (what a rule is), then the
rules by theme: `files`, `tables`, `vocabulary`, `tokens`, `special`, `rotations`, `settings` (params.json), `numbers`,
`base`, `adapters`, `draft`; and `sarif`, findings for code hosts. To add a rule: one function under `@rule`, and in its
test a model in which it alone finds something.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embtool.answers import Block, Card, Column, Listing, Section, column, context, plain, python, records, value
from embtool.answers.text import plural
from embtool.errors import ConfigError, FileNotInModel, FormatError, InvalidArgument, NoVocabulary
from embtool.formats.folders import hint_of_folders
from embtool.questions.check import adapters as adapter_rules
from embtool.questions.check import base as base_rules
from embtool.questions.check import draft as draft_rules
from embtool.questions.check import files, numbers, rotations, settings, special, tables, tokens, vocabulary
from embtool.questions.check.draft import DraftFit
from embtool.questions.check.rule import ORDER, RULES, SEVERITY_STYLES, Finding, Rule, Severity
from embtool.questions.check.subject import Subject
from embtool.questions.check.surveys import Surveys
from embtool.questions.parts import open_parts

if TYPE_CHECKING:
    from embtool.model import Model

THEMES = (
    *(files, tables, vocabulary, tokens, special, rotations, settings, numbers),
    *(base_rules, adapter_rules, draft_rules),
)
"""The modules of rules, in the order in which they are listed and run."""

_NAMES = [theme.__name__ for theme in THEMES]
for _rule in sorted(RULES.values(), key=lambda each: _NAMES.index(each.look.__module__)):
    RULES[_rule.name] = RULES.pop(_rule.name)

LACKING = {
    "surveys": "only with --deep",
    "base": "only with --base",
    "target": "only with --draft-for",
    "both_vocabularies": "draft and target need a tokenizer each",
    "draft_sizes": "draft and target need a config each that says vocab_size",
    "draft_head": "it is no draft head",
    "vocabulary": "the model has no tokenizer",
    "config": "the model has no config.json",
    "positions": "the position settings cannot be read",
    "adapter": "it is no adapter",
    "gguf": "it is no GGUF file",
    "generates": "the model writes no text",
    "input": "there is no input table that can be read",
    "output": "there is no output table that can be read",
    "has_input": "what stands in the place of the input table is told by another rule",
    "has_output": "what stands in the place of the output table is told by another rule",
}
"""Why a rule was not looked at, by what it needs; everything else is a part of the weights."""


@dataclass(frozen=True)
class CheckSummary:
    """How a model stands, in one line."""

    model: str = value("the model, as it was named")
    verdict: str | None = value("sound, doubtful or faulty, as far as was looked; null where nothing was")
    errors: int = value("findings that break a load or a run")
    warnings: int = value("findings that may")
    infos: int = value("findings that are good to know")
    rules: tuple[str, ...] = value("the rules that found something, the worst first")
    looked: tuple[str, ...] = value("the rules that were looked at")
    skipped: tuple[str, ...] = value("the rules that were not, since the model lacks what they need")
    deep: bool = value("whether the tables were read")


@dataclass(frozen=True, repr=False, eq=False)
class CheckAnswer(Listing[Finding]):
    """What came of a check: the findings, the rules that were looked at, and those that were skipped."""

    command = "check"
    record_kind = CheckSummary

    model: str = context("the model, as it was named")
    deep: bool = value("whether the tables were read")
    findings: tuple[Finding, ...] = records("what was found")
    looked: tuple[str, ...] = value("the rules that were looked at")
    skipped: tuple[str, ...] = value("the rules that were not, since the model lacks what they need")
    unread: tuple[str, ...] = value("those of the skipped rules that read whole tables: --deep looks at them")
    draft: DraftFit | None = value("with a target: whether it fits as its draft", optional=True, default=None)
    notes: tuple[str, ...] = python(default=())
    warnings: tuple[str, ...] = python(default=())

    def at_least(self, level: Severity) -> list[Finding]:
        """List the findings of this severity and above."""
        return [found for found in self.findings if ORDER.index(found.severity) >= ORDER.index(level)]

    @property
    def verdict(self) -> str | None:
        """How the model stands by the worst finding: sound, doubtful or faulty; None where nothing was looked at."""
        worst = max((found.severity for found in self.findings), key=ORDER.index, default=Severity.INFO)
        named = {Severity.ERROR: "faulty", Severity.WARNING: "doubtful", Severity.INFO: "sound"}[worst]
        return named if self.looked else None

    def to_record(self) -> dict[str, Any]:
        """Return how the model stands as one flat record."""
        severities = [found.severity for found in self.findings]
        summary = CheckSummary(
            model=self.model,
            verdict=self.verdict,
            errors=severities.count(Severity.ERROR),
            warnings=severities.count(Severity.WARNING),
            infos=severities.count(Severity.INFO),
            rules=tuple(dict.fromkeys(found.rule for found in self.findings)),
            looked=self.looked,
            skipped=self.skipped,
            deep=self.deep,
        )
        found: dict[str, Any] = plain(summary)
        return found

    def columns(self) -> Sequence[Column]:
        """Return the columns, the severity first."""
        rule, severity, *rest = super().columns()
        return severity, rule, *rest

    def blocks(self) -> Iterator[Block]:
        """Yield a line for each finding, a summary, and what was not looked at."""
        unread = [f"not looked at without --deep: {', '.join(self.unread)}"] if self.unread else []
        fits = [] if self.draft is None else self.draft.lines
        (block,) = super().blocks()
        faults = self.at_least(Severity.WARNING)
        said = {(found.rule, found.advice): f"{found.rule}: {found.why}" for found in faults}
        advised = [f"{what} To do: {advice}." if advice else what for (_, advice), what in said.items()]
        yield replace(block, after=[*advised, *fits, self._summary(), *unread])

    def _summary(self) -> str:
        """Say in one line how the model stands, by how many rules, and why others were not looked at."""
        severities = [found.severity for found in self.findings]
        counts = [
            f"{severities.count(Severity.INFO)} info"
            if severity is Severity.INFO
            else plural(severities.count(severity), severity.value)
            for severity in reversed(ORDER)
            if severity in severities
        ]
        verdict = self.verdict
        if verdict is None:
            return f"{self.model}: nothing looked at; {plural(len(self.skipped), 'rule')} skipped"
        found = ", ".join(counts) or "nothing found"
        as_far = f" as far as {plural(len(self.looked), 'rule')} can tell" if verdict == "sound" else ""
        looked = "" if as_far else f" by {plural(len(self.looked), 'rule')}"
        skipped = len(self.skipped) - len(self.unread)
        rest = {"do not apply": skipped, "only with --deep": len(self.unread)}
        others = ", ".join(f"{number} {why}" for why, number in rest.items() if number)
        left = f"; of the other rules {others}" if others else ""
        return f"{self.model}: {verdict}{as_far}: {found}{looked}{left}"


@dataclass(frozen=True)
class RuleRecord:
    """What a rule is."""

    rule: str = column("its name", style="bold")
    severity: Severity = column("how much a finding matters", style=SEVERITY_STYLES.__getitem__)
    deep: bool = column("whether it needs the tables", show=lambda deep: "deep" if deep else "")
    summary: str = column("what it holds", prose=True, worth=2)
    why: str = column("why that matters", terminal=False)
    advice: str = column("what to do", terminal=False)

    @classmethod
    def of(cls, rule: Rule) -> "RuleRecord":
        """Describe a rule."""
        return cls(rule.name, rule.severity, rule.deep, rule.summary, rule.why, rule.advice)


@dataclass(frozen=True, repr=False, eq=False)
class RulesAnswer(Listing[RuleRecord]):
    """Every rule."""

    command = "check"

    rules: tuple[RuleRecord, ...] = records("the rules")


@dataclass(frozen=True, repr=False, eq=False)
class RuleAnswer(Card):
    """One rule, explained."""

    command = "check"
    record_kind = RuleRecord

    rules: tuple[RuleRecord] = value("the rule")

    def to_record(self) -> dict[str, object]:
        """Return the rule as one record."""
        rule = self.rules[0]
        return {
            "rule": rule.rule,
            "severity": rule.severity.value,
            "deep": rule.deep,
            "summary": rule.summary,
            "why": rule.why,
            "advice": rule.advice,
        }

    def title(self) -> str:
        """Return its name."""
        return self.rules[0].rule

    def sections(self) -> Sequence[Section]:
        """Return what it holds and why."""
        rule = self.rules[0]
        looked = "only with --deep" if rule.deep else "always"
        lines = [("holds", rule.summary), ("severity", rule.severity), ("looked at", looked), ("why", rule.why)]
        lines += [("to do", rule.advice)] if rule.advice else []
        return [Section("rule", lines)]


def list_rules() -> RulesAnswer:
    """List every rule."""
    return RulesAnswer(tuple(map(RuleRecord.of, RULES.values())))


def explain_rule(name: str) -> RuleAnswer:
    """Explain a rule.

    Raises:
        InvalidArgument: there is none of this name.
    """
    return RuleAnswer((RuleRecord.of(find_rule(name)),))


def find_rule(name: str) -> Rule:
    """Find a rule by its name.

    Raises:
        InvalidArgument: there is none.
    """
    if name not in RULES:
        raise InvalidArgument(f"no rule {name!r}: embtool check --rules lists them")
    return RULES[name]


def choose_rules(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[Rule]:
    """Choose the rules to look at: all, or the selected ones, without the ignored ones."""
    wanted = {find_rule(name).name for name in select} or set(RULES)
    unwanted = {find_rule(name).name for name in ignore}
    return [each for each in RULES.values() if each.name in wanted - unwanted]


def ask_check(
    model: "Model",
    *,
    base: "Model | None" = None,
    draft_for: "Model | None" = None,
    deep: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> CheckAnswer:
    """Look at a model with every rule, or with those selected and not ignored.

    A rule that needs what the model lacks, or the tables where they are not to be read, is skipped. As the draft for a
    target only the rules about that are looked at, unless others are selected.

    Raises:
        NoVocabulary: whether a draft fits cannot be told, since it or its target has no tokenizer.
        FileNotInModel: it has neither a config nor weights nor a tokenizer.
        UnsupportedFormat: its weights are in a format that embtool does not read.
        InvalidArgument: there is no such rule.
    """
    chosen = choose_rules(select or (draft_rules.DRAFT_RULES if draft_for is not None else ()), ignore)
    notes: list[str] = []
    before = None if base is None else subject_of(base, notes)
    target = None if draft_for is None else subject_of(draft_for, notes)
    subject = replace(subject_of(model, notes, base=before, deep=deep), target=target)
    if target is not None:
        _check_comparable(subject, target)
    looked, found, warnings = [], [], list[str]()
    for each in (each for each in chosen if not each.lacking(subject)):
        try:
            found += each.check(subject)
            looked.append(each)
        except (FormatError, ConfigError) as error:  # what this rule reads is damaged: the others go on
            warnings.append(f"{each.name} was not looked at: {error.message}")
    skipped = [each for each in chosen if each not in looked]
    findings = tuple(sorted(found, key=lambda finding: -ORDER.index(finding.severity)))
    for each in (each for each in skipped if select and each.lacking(subject)):
        why = dict.fromkeys(LACKING.get(need, "the weights are not there") for need in each.lacking(subject))
        warnings.append(f"{each.name} was not looked at: {', '.join(why)}")
    return CheckAnswer(
        model=subject.name,
        deep=deep,
        findings=findings,
        looked=tuple(each.name for each in looked),
        skipped=tuple(each.name for each in skipped),
        unread=tuple(each.name for each in skipped if each.lacking(subject) == ["surveys"]),
        draft=None if target is None else draft_rules.fit(subject, [each.name for each in looked], findings),
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _check_comparable(draft: Subject, target: Subject) -> None:
    """Raise NoVocabulary where neither tokens nor a head's map can be held against a target."""
    if draft.draft_head is not None and target.vocab_size is not None:
        return
    for whose, each in (("draft", draft), ("target", target)):
        for error in each.damage.get("tokenizer", ()):
            raise error
        if not each.vocabulary:
            lack = "has no tokenizer" if each.vocabulary is None else f"has no tokens in {each.vocabulary.file}"
            raise NoVocabulary(f"the {whose} {each.name} {lack}: whether the one fits the other cannot be told")


def subject_of(model: "Model", notes: list[str], *, base: Subject | None = None, deep: bool = False) -> Subject:
    """Open a model as far as it can be opened; what it lacks is told in `notes`.

    Raises:
        FileNotInModel: it has neither a config nor weights nor a tokenizer.
        UnsupportedFormat: its weights are in a format that embtool does not read.
    """
    adapter, unreadable = None, None
    try:
        adapter = model.adapter
    except (FormatError, ConfigError) as error:
        unreadable = copy(error)
    model = model.alone
    parts = open_parts(model)
    if unreadable is not None:
        parts.damage["config"] = [unreadable]
    if parts.is_empty and not parts.damage:
        raise FileNotInModel(
            f"{model.name} has no config.json, no weights and no tokenizer: it is not a model",
            hint=hint_of_folders(model.source),
        )
    notes += parts.notes
    if adapter is not None and base is None and not adapter.stands_alone:
        notes.append(
            f"{model.name} is an adapter of {adapter.base or 'a model that it does not name'}: --base compares"
        )
    return Subject(
        name=model.name,
        source=model.source,
        config=parts.config,
        vocabulary=parts.vocabulary,
        checkpoint=parts.checkpoint,
        tables=parts.tables,
        damage={part: tuple(errors) for part, errors in parts.damage.items()},
        base=base,
        surveys=Surveys(model.open_table) if deep else None,
        adapter=adapter,
        draft=model.draft,
    )
