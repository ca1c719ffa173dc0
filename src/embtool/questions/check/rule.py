"""What a rule is, and the words that findings are made of.

A rule is a function that looks at a `Subject` and yields what it finds, a message each; its name and severity never
change their meaning. Rules that need only headers and small files run always; `deep` ones look at `Surveys`, what one
pass over a table finds. A rule that needs a part which the model lacks is skipped, and said to be.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from embtool.answers import column
from embtool.checkpoint import runs
from embtool.questions.check.subject import Subject

NAMED = 8
"""Ids or names listed in one message; a finding carries all."""


class Severity(StrEnum):
    """How much a finding matters: an error breaks a load or a run, a warning may, an info is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}

ORDER = (Severity.INFO, Severity.WARNING, Severity.ERROR)


@dataclass(frozen=True)
class Finding:
    """What a rule found: one line, and the token ids it is about."""

    rule: str = column("the rule", style="cyan")
    severity: Severity = column("how much it matters", style=SEVERITY_STYLES.__getitem__)
    message: str = column("what was found", prose=True, worth=2)
    ids: tuple[int, ...] = column("the token ids it is about", terminal=False, default=())


Look = Callable[[Subject], Iterator[tuple[str, Iterable[int]]]]


@dataclass(frozen=True)
class Rule:
    """A rule: what it holds in a line, why that matters, and what it needs to be looked at."""

    name: str
    severity: Severity
    summary: str
    why: str
    look: Look = field(repr=False)
    deep: bool = False
    needs: tuple[str, ...] = ()

    def applies(self, subject: Subject) -> bool:
        """Tell whether the model has what the rule needs."""
        return not self.lacking(subject)

    def lacking(self, subject: Subject) -> list[str]:
        """Name what the rule needs and the model lacks."""
        return [need for need in self.needs if getattr(subject, need) is None]

    def check(self, subject: Subject) -> list[Finding]:
        """Look at a model."""
        return [Finding(self.name, self.severity, message, tuple(map(int, ids))) for message, ids in self.look(subject)]


RULES: dict[str, Rule] = {}
"""Every rule by its name, in the order in which they are run."""


def rule(
    name: str, severity: Severity, summary: str, why: str, *, deep: bool = False, needs: tuple[str, ...] = ()
) -> Callable[[Look], Look]:
    """Make a rule of a function."""

    def register(look: Look) -> Look:
        RULES[name] = Rule(name, severity, summary, why, look, deep, (*needs, "surveys") if deep else needs)
        return look

    return register


def some(values: Iterable[object]) -> str:
    """Name the first of several things."""
    listed = list(values)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(map(str, listed[:NAMED])) + more


def ids_in_words(ids: Iterable[int]) -> str:
    """Return ids as a text, neighbours as ranges."""
    return "ids " + some(f"{first}..{last}" if last > first else f"{first}" for first, last in runs(sorted(ids)))
