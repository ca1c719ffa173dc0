"""What an engine computes for a trace, rightly or with a known mistake, and how far from a trace that is.

Distances are multiples of what the precision of the trace allows: an engine that computed it is nowhere beyond 1.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from embtool.arrays import Doubles, np
from embtool.judge.trace import UNITS, Trace
from embtool.rope import RopeSettings, channel_pairs, frequencies, mrope_axes, stored_pairs, turn
from embtool.storage.dtypes import to_bfloat16

Rounding: TypeAlias = Literal["inv_freq", "positions", "angles", "both"]
"""What an engine rounds before it takes cos and sin: the frequencies, the positions, their product, or all of these."""

STEPS, GROWTH = 8, 4
"""Roundings in float32 on the way to an angle: some, and a few more for each pair where an engine multiplies on."""

OUTPUTS = {"after": 5.5, "cos": 2.5, "inv_freq": 1.5}
"""Roundings of an engine on the way from an angle to each output: x and cos, the products, their sum; and so on."""

FLOOR = 2.0**-22
"""What any number of about 1 may be off."""


@dataclass(frozen=True)
class Engine:
    """How an engine turns; the defaults are right.

    Attributes:
        settings: How a head turns.
        turns: Whether it turns anything.
        backwards: Whether it turns the other way round.
        shift: What it adds to every position.
        factor: The attention factor that it applies, where that does not follow from the settings.
        power: The power to which it applies the attention factor.
        length: The tokens it takes the sequence to have.
        axes: Which of the three positions it takes for t, h and w.
        rounding: What it rounds before cos and sin.
        dtype: To which precision.
    """

    settings: RopeSettings
    turns: bool = True
    backwards: bool = False
    shift: int = 0
    factor: float | None = None
    power: int = 1
    length: int | None = None
    axes: tuple[int, int, int] = (0, 1, 2)
    rounding: Rounding | None = None
    dtype: str = "bfloat16"


def _to_float16(values: Doubles) -> Doubles:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float64)


ROUND: Mapping[str, Callable[[Doubles], Doubles]] = {
    "bfloat16": lambda values: to_bfloat16(values.astype(np.float32)).astype(np.float64),
    "float16": _to_float16,
}


@dataclass(frozen=True, eq=False)
class Waves:
    """Angles of an engine at the positions of a trace, (n, pairs), and how far off float32 may bring each."""

    inv_freq: Doubles
    angles: Doubles
    slack: Doubles
    factor: float


_frequencies = functools.lru_cache(maxsize=1024)(frequencies)
"""Two mistakes at once are made of the same settings again and again."""


def slack_per_token(inv_freq: Doubles) -> Doubles:
    """How far off an angle may be for each token of the position, in float32, whichever way an engine makes powers."""
    return inv_freq * (STEPS + GROWTH * np.arange(len(inv_freq))) * UNITS["float32"]


def waves(engine: Engine, trace: Trace) -> Waves:
    """Return the angles of an engine.

    Raises:
        ConfigError: its settings give no frequencies.
    """
    settings = engine.settings
    turning = _frequencies(settings, engine.length if engine.length is not None else trace.length)
    inv_freq = np.asarray(turning.inv_freq, np.float64)
    factor = (turning.attention_factor if engine.factor is None else engine.factor) ** engine.power
    places = trace.positions + engine.shift
    if places.ndim > 1:
        places = places[:, list(engine.axes)]
        axes = mrope_axes(settings) if settings.mrope_section is not None else np.zeros(settings.pairs, np.int64)
        places = places[:, axes]
    else:
        places = np.broadcast_to(places[:, np.newaxis], (len(places), len(inv_freq)))
    used = inv_freq
    if engine.rounding is not None:
        rounded = ROUND[engine.dtype]
        used = rounded(inv_freq) if engine.rounding in ("inv_freq", "both") else inv_freq
        places = rounded(np.asarray(places)) if engine.rounding in ("positions", "both") else places
    with np.errstate(invalid="ignore", over="ignore"):
        angles = places * used
        if engine.rounding in ("angles", "both"):
            angles = ROUND[engine.dtype](angles)
        slack = np.abs(places) * slack_per_token(used) + FLOOR
    return Waves(used, angles, slack, factor)


# --- how far an engine is from a trace --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Distance:
    """How far what an engine computes is from a trace, as multiples of what its precision allows.

    Attributes:
        worst: The largest multiple; infinite where the shapes differ.
        typical: Their root mean square.
        outliers: The share of numbers beyond 1.
        pairs: For each pair the largest multiple; None where there are no pairs to tell.
    """

    worst: float
    typical: float
    outliers: float
    pairs: Doubles | None = None


NOT_COMPARABLE = Distance(math.inf, math.inf, 1.0)

EXACT_SHARE, ROUNDED_SHARE = 0.0, 0.02
"""The share of numbers that may be beyond what precision allows: where angles are rounded, some fall the other way."""


def explains(engine: Engine, distance: Distance) -> bool:
    """Whether an engine that far from a trace can have made it."""
    return distance.outliers <= (EXACT_SHARE if engine.rounding is None else ROUNDED_SHARE)


def distance(engine: Engine, trace: Trace) -> Distance:
    """Return how far an engine is from a trace.

    Raises:
        ConfigError: its settings give no frequencies.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # an engine that rounds positions to F16 has infinite ones
        made = waves(engine, trace) if engine.turns else None
        multiples: list[Doubles] = []
        by_pair: list[Doubles] = []
        for part in trace.parts:
            unit = UNITS[trace.precision(part)]
            if engine.rounding is not None:
                unit = max(unit, UNITS[engine.dtype])
            found = PARTS[part](engine, made, trace, unit * OUTPUTS[part])
            if found is None:
                return NOT_COMPARABLE
            multiples.append(found.ravel())
            if part != "after" and made is not None:
                by_pair.append(found.reshape(-1, len(made.inv_freq)).max(axis=0))
        every = np.concatenate(multiples)
        every[np.isnan(every)] = math.inf
        worst = float(every.max())
        typical = float(np.sqrt(np.mean(np.minimum(every, 1e9) ** 2)))
        return Distance(worst, typical, float((every > 1).mean()), np.max(by_pair, axis=0) if by_pair else None)


def _after(engine: Engine, made: Waves | None, trace: Trace, unit: float) -> Doubles | None:
    """Hold turned queries against the trace: a number for each channel."""
    before, after = trace.before, trace.after
    assert before is not None
    assert after is not None
    if before.shape[1] != engine.settings.head_dim:
        return None
    sizes = np.abs(before)
    tolerance = sizes * unit + float(sizes.max()) * UNITS["float32"]
    if made is None:
        return np.abs(after - before) / tolerance
    settings = replace(engine.settings, clockwise=engine.settings.clockwise != engine.backwards)
    read, stored = channel_pairs(settings), stored_pairs(settings)
    # what a channel may be off: what its pair holds, turned by a little, and rounded
    held = made.factor * (sizes[:, read[:, 0]] + sizes[:, read[:, 1]]) * (made.slack + unit)
    tolerance[:, stored[:, 0]] += held
    tolerance[:, stored[:, 1]] += held
    return np.abs(after - turn(before, made.angles, settings, made.factor)) / tolerance


def _cos(engine: Engine, made: Waves | None, trace: Trace, unit: float) -> Doubles | None:
    """Hold cos and sin against the trace: the larger of both multiples for each pair."""
    cos, sin = trace.cos, trace.sin
    assert cos is not None
    assert sin is not None
    if made is None:
        return np.maximum(np.abs(cos - 1), np.abs(sin)) / (unit + FLOOR)
    if cos.shape[1] != made.angles.shape[1]:
        return None
    way = -1.0 if engine.backwards else 1.0
    found = []
    for held, wave in ((cos, np.cos(made.angles)), (sin, way * np.sin(made.angles))):
        expected = made.factor * wave
        found.append(np.abs(held - expected) / (made.factor * made.slack + np.abs(expected) * unit))
    return np.maximum(*found)


def _inv_freq(engine: Engine, made: Waves | None, trace: Trace, unit: float) -> Doubles | None:
    """Hold frequencies against the trace."""
    del engine
    held = trace.inv_freq
    assert held is not None
    if made is None:
        return np.where(held == 0, 0.0, math.inf)
    if len(held) != len(made.inv_freq):
        return None
    tolerance = slack_per_token(made.inv_freq) + made.inv_freq * unit + np.finfo(np.float32).tiny
    return np.abs(held - made.inv_freq) / tolerance


PARTS: Mapping[str, Callable[[Engine, Waves | None, Trace, float], Doubles | None]] = {
    "after": _after,
    "cos": _cos,
    "inv_freq": _inv_freq,
}
