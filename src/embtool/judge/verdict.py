"""Which mistakes explain a trace: the right engine first, then one mistake, then two."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from embtool.arrays import np
from embtool.errors import ConfigError
from embtool.judge.engine import NOT_COMPARABLE, Distance, Engine, distance, explains
from embtool.judge.mistakes import MISTAKES, Scene
from embtool.judge.trace import Trace

SEARCHED = (64, 12)
"""Positions that single mistakes are held against, and two at once; of more, the first and last ones and some between.
What explains these is held against all, and so is what is reported."""

MOST_NUMBERS, LEAST = 1 << 16, 3
"""Numbers of queries that each is held against, and positions all the same: heads can be very wide."""

KEPT = 12
"""Hypotheses that are reported."""

ALIKE = 1.5
"""Two explanations whose distances are within this are equally good."""


@dataclass(frozen=True)
class Hypothesis:
    """What an engine may have done.

    Attributes:
        mistakes: The names of the mistakes it makes; none where it is right.
        details: How it makes each.
        engine: What it then computes.
        distance: How far that is from the trace.
        explains: Whether the trace can be its work.
    """

    mistakes: tuple[str, ...]
    details: tuple[str, ...]
    engine: Engine
    distance: Distance
    explains: bool


@dataclass(frozen=True)
class Verdict:
    """What is found.

    Attributes:
        right: The right engine, held against the trace.
        best: What explains the trace: the right engine, or one with mistakes; None where nothing known does.
        equally: Other mistakes that explain it as well.
        nearest: The hypotheses that were nearest, the best first.
        unseen: Mistakes that this trace would not have shown, where it agrees.
    """

    right: Hypothesis
    best: Hypothesis | None
    equally: tuple[Hypothesis, ...]
    nearest: tuple[Hypothesis, ...]
    unseen: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the engine is right."""
        return self.best is self.right


def judge(trace: Trace, engine: Engine, scene: Scene) -> Verdict:
    """Find out whether an engine made a trace, or which mistakes it then made.

    Raises:
        ConfigError: the right engine's settings give no frequencies.
    """
    whole = distance(engine, trace)
    right = Hypothesis((), (), engine, whole, explains(engine, whole))
    single = list(_one(_some(trace, SEARCHED[0]), right, scene))
    if right.explains:
        kinds = dict.fromkeys(each.mistakes[0] for each in single)
        unseen = [kind for kind in kinds if all(each.explains for each in single if each.mistakes[0] == kind)]
        return Verdict(right, right, (), (), tuple(unseen))
    found, double = _confirmed(single, trace), []
    if not found:
        fewer = _some(trace, SEARCHED[1])
        double = [second for first in single for second in _one(fewer, first, scene)]
        found = _confirmed(double, trace)
    named = {frozenset(each.mistakes): each for each in reversed(found)}
    others = [
        each
        for each in reversed(named.values())
        if each is not found[0] and each.distance.typical <= ALIKE * found[0].distance.typical
    ]
    nearest = _nearest([*found, *(each for each in (*single, *double) if not each.explains)], trace)
    return Verdict(right, found[0] if found else None, tuple(others), nearest)


def _some(trace: Trace, most: int) -> Trace:
    """Take as many positions as are searched."""
    count = len(trace.positions)
    if trace.before is not None:
        most = max(min(most, MOST_NUMBERS // trace.before.shape[1]), LEAST)
    if count <= most:
        return trace
    return trace.only(np.unique(np.linspace(0, count - 1, most).round().astype(np.int64)))


def _one(trace: Trace, before: Hypothesis, scene: Scene) -> Iterator[Hypothesis]:
    """Yield every way to make one more mistake, of those that come later."""
    names, engine = list(MISTAKES), before.engine
    start = names.index(before.mistakes[-1]) + 1 if before.mistakes else 0
    for name in names[start:]:
        if not engine.turns and name != "layer-turned":
            continue  # of what is not turned, nothing else can be seen
        for detail, made in MISTAKES[name].ways(engine, scene):
            if made is None or made == engine:
                continue
            try:
                found = distance(made, trace)
            except ConfigError:
                found = NOT_COMPARABLE
            yield Hypothesis((*before.mistakes, name), (*before.details, detail), made, found, explains(made, found))


def _held(hypothesis: Hypothesis, trace: Trace) -> Hypothesis:
    """Hold a hypothesis against the whole trace."""
    far = distance(hypothesis.engine, trace)
    return replace(hypothesis, distance=far, explains=explains(hypothesis.engine, far))


def _confirmed(hypotheses: Sequence[Hypothesis], trace: Trace) -> list[Hypothesis]:
    """Keep those that explain the whole trace, the best first."""
    found = [held for held in (_held(each, trace) for each in hypotheses if each.explains) if held.explains]
    # an engine that rounds has more room: one that does not, and explains the trace as well, is the simpler one
    return sorted(found, key=lambda each: (each.engine.rounding is not None, each.distance.typical))


def _nearest(hypotheses: Sequence[Hypothesis], trace: Trace) -> tuple[Hypothesis, ...]:
    """Keep the nearest way of each mistake, or of each two, the nearest first."""
    best: dict[tuple[str, ...], Hypothesis] = {}
    for each in hypotheses:
        before = best.get(each.mistakes)
        if before is None or _rank(each) < _rank(before):
            best[each.mistakes] = each
    kept = sorted((each for each in best.values() if math.isfinite(each.distance.worst)), key=_rank)[:KEPT]
    return tuple(sorted((_held(each, trace) for each in kept), key=_rank))


def _rank(hypothesis: Hypothesis) -> tuple[bool, float]:
    return not hypothesis.explains, hypothesis.distance.typical
