"""What a rule is, and the words that findings are made of.

A rule is a function that looks at a `Subject`, or at those parts of one that its parameters are named after, and yields
what it finds, a `Found` each; its name and severity never change their meaning. What follows from a finding and what to
do is said in the rule's declaration, for all of them; a `Found` can say better. Rules that need only headers and small
files run always; `deep` ones look at `Surveys`, what one pass over a table finds. A rule that needs a part which the
model lacks is skipped, and said to be.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import signature

from embtool.answers import column
from embtool.questions.check.subject import Subject
from embtool.storage.checkpoint import runs

WHOLE = "subject"
"""The parameter of a rule that is given the whole subject."""

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
class Found:
    """What a rule finds: a sentence, where it is, and what to do if the rule's own advice does not fit."""

    message: str
    ids: Iterable[int] = ()
    file: str | None = None
    field: str | None = None
    tensor: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a rule found: one line, where it is, what follows, and what to do."""

    rule: str = column("the rule", style="cyan")
    severity: Severity = column("how much it matters", style=SEVERITY_STYLES.__getitem__)
    message: str = column("what was found", prose=True, worth=2)
    ids: tuple[int, ...] = column("the token ids it is about", terminal=False, default=())
    file: str | None = column("the file it is in", terminal=False, optional=True, default=None)
    field: str | None = column("the field of the file", terminal=False, optional=True, default=None)
    tensor: str | None = column("the tensor it is about", terminal=False, optional=True, default=None)
    why: str = column("what follows from it", terminal=False, machine=False, default="")
    advice: str = column("what to do", terminal=False, default="")


Look = Callable[..., Iterable[Found]]
"""A rule's function; its parameters are parts of the subject by their names, and the `subject` itself."""


@dataclass(frozen=True)
class Rule:
    """A rule: what it holds in a line, why that matters, what to do, and what it needs to be looked at."""

    name: str
    severity: Severity
    summary: str
    why: str
    look: Look = field(repr=False)
    deep: bool = False
    needs: tuple[str, ...] = ()
    advice: str = ""
    threads: tuple[str, ...] = ()
    """Public threads of those who met it, such as org/project#1."""
    measured: str = ""
    """Where it draws a line, and the figures of sound models and of others on which that rests."""

    def lacking(self, subject: Subject) -> list[str]:
        """Name what the rule needs and the model lacks."""
        return [need for need in self.needs if getattr(subject, need) is None]

    def check(self, subject: Subject) -> list[Finding]:
        """Look at a model."""
        softened = self.name in BY_FAMILY and self.severity is Severity.ERROR and not subject.knows_family
        severity = Severity.WARNING if softened else self.severity
        parts = {name: subject if name == WHOLE else getattr(subject, name) for name in signature(self.look).parameters}
        return [
            Finding(
                self.name,
                severity,
                found.message,
                tuple(map(int, found.ids)),
                found.file,
                found.field,
                found.tensor,
                self.why,
                found.advice or self.advice,
            )
            for found in self.look(**parts)
        ]


BY_FAMILY = frozenset(
    {"missing-table", "missing-output-table", "position-rows", "rope-invalid", "table-width", "tied-but-different"}
    | {"vocab-size"}
)
"""Rules that rest on what is known of an architecture: of one that nobody knows, they warn at most."""

RULES: dict[str, Rule] = {}
"""Every rule by its name, in the order in which they are run."""


def rule(
    name: str,
    severity: Severity,
    summary: str,
    why: str,
    *,
    advice: str = "",
    threads: tuple[str, ...] = (),
    measured: str = "",
    deep: bool = False,
    needs: tuple[str, ...] = (),
) -> Callable[[Look], Look]:
    """Make a rule of a function.

    The parts that it is given are what it needs, beside `needs`, and for a `deep` one the surveys: where the model
    lacks one, the rule is skipped.
    """

    def register(look: Look) -> Look:
        given = (name for name in signature(look).parameters if name != WHOLE)
        all_needs = tuple(dict.fromkeys((*given, *needs, *(("surveys",) if deep else ()))))
        RULES[name] = Rule(name, severity, summary, why, look, deep, all_needs, advice, threads, measured)
        return look

    return register


def some(values: Iterable[object]) -> str:
    """Name the first of several things."""
    listed = list(values)
    more = f" and {len(listed) - NAMED:,} more" if len(listed) > NAMED else ""
    return ", ".join(map(str, listed[:NAMED])) + more


def ids_in_words(ids: Iterable[int]) -> str:
    """Return ids as a text, neighbours as ranges."""
    return "ids " + some(f"{first}..{last}" if last > first else f"{first}" for first, last in runs(sorted(ids)))
