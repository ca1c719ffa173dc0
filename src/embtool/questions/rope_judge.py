"""Did an engine turn its queries as the model says, and if not, which known mistake explains its numbers?"""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embtool.answers import Block, Listing, column, context, records, value
from embtool.answers.fields import columns_of, record_of
from embtool.answers.text import plural, ranges
from embtool.arguments import checked
from embtool.arrays import np
from embtool.configs.families import family_of, known_families
from embtool.errors import ConfigError, FormatError, InvalidArgument
from embtool.judge import MISTAKES, Engine, Hypothesis, Scene, Trace, judge, trace_of
from embtool.judge.engine import waves
from embtool.judge.mistakes import USUAL_THETAS
from embtool.positions import LayerRope, Rope, RopeOverride
from embtool.questions.rotation import Rotary, rotary_of
from embtool.rope import Layout, RopeSettings, turn

if TYPE_CHECKING:
    from embtool.model import Model

RIGHT = "none: as the model says"
"""What the right engine is called among the hypotheses."""


@dataclass(frozen=True)
class Judged:
    """One hypothesis, held against the trace."""

    mistakes: tuple[str, ...] = value("the mistakes an engine would make; none is the right engine")
    hypothesis: str = column("the same in words", prose=True)
    explains: bool = column("whether the trace can be its work", show=lambda held: "yes" if held else "", whole=True)
    worst: float | None = column(
        "the largest difference, as a multiple of what the precision of the trace allows",
        right=True,
        show=lambda held: f"{held:.3g}",
    )
    typical: float | None = column("their root mean square", right=True, show=lambda held: f"{held:.3g}", worth=0)
    outliers: float = column(
        "the share of numbers beyond what the precision allows", right=True, show=lambda held: f"{held:.1%}"
    )


@dataclass(frozen=True)
class Named:
    """A mistake that the engine makes."""

    mistake: str = value("its name")
    words: str = value("what it is, in words")
    detail: str = value("how it is made")


@dataclass(frozen=True)
class Worst:
    """Where the trace is least like the right rotation."""

    position: int | tuple[int, ...] = value("the position, or the three of a token of an image")
    cosine: float = value("between what the engine has there and what is right")


@dataclass(frozen=True, repr=False, eq=False)
class RopeJudgement(Listing[Judged]):
    """Whether a trace is right, or which known mistakes explain it."""

    command = "rope-judge"

    model: str | None = context("the model, as it was named; null where settings were typed")
    given: str | None = value("the options whose settings take the place of the model's own", optional=True)
    trace: str = context("the file of the trace")
    verdict: str = value("agrees, mistake or unexplained; in check sound, or what is wrong")
    layer_type: str = value("the kind of layer, as the config names it; all where every layer rotates alike")
    layer_turns: bool = value("whether that layer turns queries at all")
    parts: tuple[str, ...] = value("what was judged: after (with before), cos (with sin), inv_freq")
    precisions: Mapping[str, str] = value("how each part was rounded, by the numbers themselves")
    position_count: int = value("how many positions the trace has")
    sequence_length: int = value("tokens of the sequence, on which some types depend")
    found: tuple[Named, ...] = value("the mistakes that explain the trace")
    equally: tuple[tuple[str, ...], ...] = value("other mistakes that explain it as well")
    unseen: tuple[str, ...] = value("mistakes that a trace of these positions would not show, where it agrees")
    pairs_off: tuple[int, ...] | None = value("the pairs that are not right; null where there are no pairs to tell")
    worst: Worst | None = value("where the trace is least like the right rotation; null without vectors or waves")
    hypotheses: tuple[Judged, ...] = records("the right engine, and the mistakes that come nearest")
    notes: tuple[str, ...] = value("what a reader should know besides", default=())

    @property
    def agrees(self) -> bool:
        """Whether the engine is right, as far as the trace shows."""
        return self.verdict == "agrees"

    def title(self) -> str:
        """Return the verdict in words."""
        if self.agrees:
            return f"{self.trace} agrees with {self.model or 'the settings'}"
        if not self.found:
            return f"{self.trace} does not agree with {self.model or 'the settings'}: no known mistake explains this"
        words = "; ".join(f"{each.words} ({each.detail})" for each in self.found)
        return f"{self.trace} does not agree with {self.model or 'the settings'}: {words}"

    def blocks(self) -> Iterator[Block]:
        """Yield the verdict, and the evidence."""
        shown = [record_of(each) for each in self.hypotheses]
        yield Block(self.title(), columns_of(Judged), shown, after=[f"  {line}" for line in self._after()])

    def _after(self) -> Iterator[str]:
        named = "" if self.layer_type == "all" else f" of a layer of type {self.layer_type}"
        parts = ", ".join(f"{PARTS[part]} in {self.precisions[part]}" for part in self.parts)
        yield f"{plural(self.position_count, 'position')}{named}: {parts}"
        yield "worst, typical: differences, as multiples of what that precision allows; up to 1 is agreement"
        for mistakes in self.equally:
            yield f"as well explained by {' with '.join(mistakes)}"
        if self.pairs_off:
            yield f"pairs that are not right: {ranges(self.pairs_off)}"
        if self.worst is not None and not self.agrees:
            yield f"least alike at position {self.worst.position}: cosine {self.worst.cosine:.6f}"


PARTS = {"after": "queries", "cos": "cos and sin", "inv_freq": "frequencies"}


@checked
def judge_rope(
    model: "Model",
    trace: Mapping[str, Any],
    *,
    layout: Layout | None = None,
    override: RopeOverride | None = None,
    name: str = "the trace",
) -> RopeJudgement:
    """Judge what an engine computed: does it agree with a model, or which known mistake explains it?

    Args:
        model: the model.
        trace: arrays by name: `positions`, (n,) or (n, 3), and any of `before` with `after`, (n, head_dim) or one row
            before; `cos` with `sin`, (n, pairs) or (n, channels); `inv_freq`, (pairs,). Besides `layer_type`, `layer`
            and `sequence_length`. `numpy.load` of an npz file is such a mapping.
        layout: which two channels make a pair, where the family is not known.
        override: settings that take the place of its own, as given to the engine.
        name: what the answer calls the trace.

    Raises:
        NoRope: it has no rotary positions.
        FormatError: the trace is none, or of another width.
        InvalidArgument: the trace names a layer that the model has not.
    """
    return ask_judge(rotary_of(model, layout, override), trace_of(trace), name, model.rope)


def ask_judge(
    rotary: Rotary, trace: Trace, name: str, rope: Rope | None = None, *, length: int | None = None
) -> RopeJudgement:
    """Judge a trace, of a sequence of `length` tokens where it does not say; `rope` tells which layers turn.

    Raises:
        FormatError: the trace is of another width.
        InvalidArgument: it names a layer that there is not.
    """
    if trace.sequence_length is None and length is not None:
        trace = replace(trace, sequence_length=length)
    layer, turns = _layer_of(trace, rotary, rope)
    settings = layer.settings
    if settings.layout is None:
        if trace.after is not None:
            raise ConfigError(
                f"the family of {rotary.name} is not known, and so not which two channels make a pair",
                hint="say which: --layout half or interleaved or interleaved-in-half-out",
            )
        settings = replace(settings, layout="half")
    _check_widths(trace, settings, name)
    if trace.inv_freq is None and not trace.positions.any():
        raise FormatError(f"{name} has position 0 only, which turns nothing: it cannot be judged")
    others = {each.layer_type: each.settings for each in rotary.layers if each.settings != layer.settings}
    scene = Scene(others, _thetas(), rotary.context_length, turns)
    verdict = judge(trace, Engine(settings, turns=turns), scene)
    found = verdict.best
    pairs = verdict.right.distance.pairs
    named = () if found is None else zip(found.mistakes, found.details, strict=True)
    notes = [*rotary.notes]
    moved = np.unique(trace.positions[np.any(np.atleast_2d(trace.positions.T) != 0, axis=0)], axis=0)
    if trace.inv_freq is None and len(moved) == 1:
        notes.append(
            "the trace has one position only, which cannot tell theta from scaling in every case: record several"
        )
    if verdict.unseen:
        notes.append(f"a trace of these positions would not show {', '.join(verdict.unseen)}")
    return RopeJudgement(
        model=rotary.name,
        given=rotary.given,
        trace=name,
        verdict="agrees" if verdict.agrees else "mistake" if found is not None else "unexplained",
        layer_type=trace.layer_type or layer.layer_type,
        layer_turns=turns,
        parts=trace.parts,
        precisions={part: trace.precision(part) for part in trace.parts},
        position_count=len(trace.positions),
        sequence_length=trace.length,
        found=tuple(Named(mistake, MISTAKES[mistake].words, detail) for mistake, detail in named),
        equally=tuple(each.mistakes for each in verdict.equally),
        unseen=verdict.unseen,
        pairs_off=None if pairs is None else tuple(np.flatnonzero(pairs > 1).tolist()),
        worst=_worst(trace, verdict.right.engine),
        hypotheses=tuple(_judged(each) for each in (verdict.right, *verdict.nearest)),
        notes=tuple(notes),
    )


@functools.cache
def _thetas() -> tuple[float, ...]:
    """List the bases that families assume where a file states none, and those that models usually state."""
    families = [family_of(name) for name in known_families()]
    assumed = [theta for family in families for theta in (family.rope_theta, family.local_theta) if theta is not None]
    return tuple(sorted({*assumed, *USUAL_THETAS}))


def _layer_of(trace: Trace, rotary: Rotary, rope: Rope | None) -> tuple[LayerRope, bool]:
    """Find the kind of layer that a trace is of, and whether it turns; the first kind where the trace does not say."""
    first = rotary.layers[0]
    silent = rotary.nope_layers
    if trace.layer is not None:
        count = None if rope is None else rope.num_hidden_layers
        if count is not None and trace.layer >= count:
            raise InvalidArgument(f"layer {trace.layer} is named, and there are {plural(count, 'layer')}")
        if trace.layer in silent:
            return first, False
        kinds = [each for each in rotary.layers if each.layers is None or trace.layer in each.layers]
        if not kinds:
            return first, False
        if trace.layer_type is None:
            return kinds[0], True
    if trace.layer_type is None:
        return first, True
    for each in rotary.layers:
        if each.layer_type in (trace.layer_type, "all"):
            return each, True
    if rope is not None and trace.layer_type in rope.layer_counts:
        return first, False
    known = ", ".join(
        dict.fromkeys([*(each.layer_type for each in rotary.layers), *(rope.layer_counts if rope else ())])
    )
    raise InvalidArgument(f"the trace is of a layer of type {trace.layer_type[:40]!r}; there are {known}")


def _check_widths(trace: Trace, settings: RopeSettings, name: str) -> None:
    """Refuse what no engine of this model computes, whatever its mistakes."""
    if trace.after is not None and trace.after.shape[1] != settings.head_dim:
        raise FormatError(f"{name}: after has {trace.after.shape[1]} channels, and a head has {settings.head_dim}")
    for part, held in (("cos", trace.cos), ("inv_freq", trace.inv_freq)):
        if held is not None and held.shape[-1] > settings.head_dim:
            raise FormatError(
                f"{name}: {part} has {held.shape[-1]} columns, and a head has {settings.head_dim} channels"
            )
        if held is not None and 2 * held.shape[-1] > settings.head_dim:
            raise FormatError(
                f"{name}: {part} has {held.shape[-1]} columns that are not twice the same, "
                f"and a head has at most {settings.head_dim // 2} pairs"
            )
    if trace.positions.ndim > 1 and settings.mrope_section is None:
        raise InvalidArgument(f"{name} has three positions for each token, and the model has one")


def _judged(each: Hypothesis) -> Judged:
    words = "; ".join(
        f"{MISTAKES[mistake].words}: {detail}" for mistake, detail in zip(each.mistakes, each.details, strict=True)
    )
    far = each.distance
    worst, typical = (held if math.isfinite(held) else None for held in (far.worst, far.typical))
    return Judged(each.mistakes, words or RIGHT, each.explains, worst, typical, far.outliers)


def _worst(trace: Trace, right: Engine) -> Worst | None:
    """Find the position at which the engine is least like the right one, by the angle between their vectors."""
    made = waves(right, trace)
    if trace.after is not None and trace.before is not None:
        one = trace.after
        other = turn(trace.before, made.angles, right.settings, made.factor) if right.turns else trace.before
    elif trace.cos is not None and trace.sin is not None and trace.cos.shape[1] == made.angles.shape[1]:
        one, other = np.hstack([trace.cos, trace.sin]), np.hstack([np.cos(made.angles), np.sin(made.angles)])
    else:
        return None
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.where(lengths > 0, (one * other).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0.0)
    least = int(np.argmin(cosines))
    place = trace.positions[least]
    return Worst(tuple(map(int, place)) if place.ndim else int(place), min(float(cosines[least]), 1.0))
